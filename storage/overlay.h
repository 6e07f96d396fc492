/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_OVERLAY_H
#define STORAGE_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

/* Overlayfs itself stacks no more (OVL_MAX_STACK), plus the upper one. */
#define OVERLAY_LAYERS_MAX 501

/**
 * struct overlay_layer - one directory of the stack
 * @path: as the mount option has it, unescaped; owned
 * @fd:   O_PATH directory, owned; -1 until overlay_open()
 */
struct overlay_layer {
	char *path;
	int fd;
};

/* An option that has a default which is the host's: see overlay_open(). */
enum overlay_choice { OVERLAY_DEFAULT, OVERLAY_OFF, OVERLAY_ON };

/**
 * struct overlay - an overlay mount's options
 * @layer:     topmost first; layer[0] is the upper directory if @has_upper; the
 *             data-only ones are the last
 * @n_layers:  at least 1 after overlay_parse()
 * @n_data:    of them data-only: their names are not merged, metadata-only copies
 *             refer to files in them
 * @has_upper: the mount has an upper directory
 * @userxattr: private attributes are user.overlay.*, not trusted.overlay.*
 * @follow:    redirects of directories and metadata-only copies are followed
 * @metacopy:  metadata-only copies are known
 * @index:     hard links that were copied up stay hard links
 * @work:      work directory, owned; NULL without an upper directory
 */
struct overlay {
	struct overlay_layer layer[OVERLAY_LAYERS_MAX];
	size_t n_layers;
	size_t n_data;
	bool has_upper;
	bool userxattr;
	enum overlay_choice follow, metacopy, index;
	char *work;
};

int overlay_parse(const char *super, struct overlay **ret, struct err *e);
int overlay_open(struct overlay *o, const char *point, struct err *e);
void overlay_free(struct overlay *o);

#endif
