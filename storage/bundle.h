/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_BUNDLE_H
#define STORAGE_BUNDLE_H

#include "lib/err.h"
#include "lib/rootpath.h"

/**
 * struct bundle - where a root file system is
 * @bundle: directory of config.json, as asked; NULL: a root file system was named
 */
struct bundle {
	const char *bundle;
	struct rootpath root;
};

int bundle_find(const char *path, struct bundle *ret, struct err *e);

#endif
