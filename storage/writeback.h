/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_WRITEBACK_H
#define STORAGE_WRITEBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "lib/delta.h"
#include "lib/err.h"
#include "storage/mountopt.h"
#include "storage/source.h"
#include "storage/storage.h"

/* Names of what lies in the staging directory. */
#define WRITEBACK_NEW "new"
#define WRITEBACK_WORK "work"
#define WRITEBACK_MERGED "merged"

/* Staging directories are called this and 16 hexadecimal digits. */
#define WRITEBACK_PREFIX ".podvm-writeback."
#define WRITEBACK_NAME_BYTES sizeof(WRITEBACK_PREFIX "0123456789abcdef")

/* writeback-stage.c */
int upper_copy(int from, int to, struct err *e);

/* writeback-read.c */
struct delta_reader;
int delta_reader_new(int stream, uint64_t ms_max, struct delta_reader **ret, struct err *e);
void delta_reader_free(struct delta_reader *r);
int delta_read(struct delta_reader *r, struct delta_head *ret, char ret_name[DELTA_NAME_MAX + 1],
	       const uint8_t **ret_data, struct err *e);

/* writeback-links.c */

/**
 * struct delta_links - objects with several names; begins as all zero
 * @tree:  of tsearch(3), owned
 * @bytes: of memory that it takes
 */
struct delta_links {
	void *tree;
	size_t bytes;
};

int delta_links_add(struct delta_links *l, uint64_t id, const char *dir, const char *name,
		    struct err *e);
const char *delta_links_find(const struct delta_links *l, uint64_t id);
void delta_links_done(struct delta_links *l);

/* writeback-object.c */

#define OBJECT_CAPABILITY "security.capability"

/* Capabilities of a file as its attribute has them; @len is -1 without. */
struct object_caps {
	uint8_t value[64];
	ssize_t len;
};

/**
 * struct object_look - a directory's own attributes
 * @attrs: sum over the extended ones
 */
struct object_look {
	struct stat st;
	uint64_t attrs;
};

int object_failed(const char *name, const char *what, struct err *e);
int object_open(int at, const char *name, uint64_t flags);
bool object_may_set(const char *attr);
int object_strip(int fd, const char *name, struct err *e);
int object_clear(int dir, const char *name, struct object_caps *ret_caps, struct err *e);
int object_finish(int fd, const char *name, const struct delta_attr *x, struct err *e);
int object_look(int fd, struct object_look *ret, struct err *e);
bool object_same(const struct object_look *a, const struct object_look *b);

/* writeback-apply.c */
int delta_apply(int root, int stream, const struct writeback_config *config,
		struct writeback_stats *ret, struct err *e);

/* storage/writeback-mount.c */

/**
 * struct remount - a mount that is to be made anew
 * @point: where; NULL: it is left alone
 * @id:    of the mount that is there now
 */
struct remount {
	struct mount_opts opts;
	char *point, *source;
	uint64_t id;
};

void remount_look(const struct source *s, struct remount *ret);
int remount(const struct remount *r, struct err *e);
void remount_done(struct remount *r);

#endif
