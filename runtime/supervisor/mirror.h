/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_SUPERVISOR_MIRROR_H
#define RUNTIME_SUPERVISOR_MIRROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* What is mirrored at most; larger ones are shared. */
#define MIRROR_BYTES_MAX (4u << 20)
#define MIRROR_FILES_MAX 2000u
#define MIRROR_DEPTH_MAX 16u
#define MIRROR_LINKS_BYTES_MAX (256u << 10)

#define MIRROR_VERSION_BYTES 256

/**
 * struct mirror_file - one file of a mirrored directory
 * @path:     below the directory, owned; empty: the directory itself
 * @mode:     with its type: directory, regular file, symbolic link
 * @mtime_ns: since 1970
 * @data, @len: content of a file, target of a link; owned
 */
struct mirror_file {
	char *path;
	uint32_t mode, uid, gid;
	int64_t mtime_ns;
	uint8_t *data;
	size_t len;
};

/**
 * struct mirror_tree - a mirrored directory as it was at one time
 * @version: directory that "..data" leads to
 * @file:    the directory itself, then links beside "..data", then the content, parents
 *           before what is in them
 * @n:       all of them; @n_links: of the links
 * @bytes:   of data and paths
 */
struct mirror_tree {
	char version[MIRROR_VERSION_BYTES];
	struct mirror_file *file;
	size_t n, n_links;
	size_t bytes;
};

bool mirror_version(int dirfd, char ret[MIRROR_VERSION_BYTES]);
int mirror_read(int dirfd, struct mirror_tree *ret, struct err *e);
bool mirror_same_links(const struct mirror_tree *a, const struct mirror_tree *b);
void mirror_tree_done(struct mirror_tree *t);

#endif
