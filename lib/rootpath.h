/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_ROOTPATH_H
#define LIB_ROOTPATH_H

#include <limits.h>
#include <stdbool.h>

#include "lib/err.h"
#include "lib/json.h"

/**
 * struct rootpath - where config.json says that the root file system is
 * @path:     absolute, of the directory that was found
 * @readonly: root.readonly
 */
struct rootpath {
	char path[PATH_MAX];
	bool readonly;
};

int rootpath_read(const struct jnode *top, int bundle_fd, struct rootpath *ret, struct err *e);

#endif
