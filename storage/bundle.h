/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_BUNDLE_H
#define STORAGE_BUNDLE_H

#include <limits.h>
#include <stdbool.h>

#include "lib/err.h"

/**
 * struct bundle - where a root file system is
 * @bundle:   directory of config.json, as asked; NULL: a root file system was named
 * @rootfs:   its path
 * @readonly: root.readonly of the bundle
 */
struct bundle {
	const char *bundle;
	char rootfs[PATH_MAX];
	bool readonly;
};

int bundle_find(const char *path, struct bundle *ret, struct err *e);

#endif
