/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_HANDOVER_H
#define STORAGE_HANDOVER_H

#include <stdbool.h>
#include <sys/types.h>
#include <ext2fs/ext2fs.h>

#include "lib/err.h"
#include "lib/journal.h"
#include "storage/blockdev.h"

struct handover;

int handover_take(const struct blockmount *m, const struct blockplan *p, bool leave,
		  struct journal *j, struct handover **ret, struct err *e);
int handover_fd(const struct handover *h);
int handover_give_back(struct handover *h, struct err *e);
void handover_free(struct handover *h);

/* handover-record.c: what the journal knows of it */

/* What else a record says. */
#define RECORD_SHARED 1u	/* mounts inside propagate */
#define RECORD_SLAVE 2u
#define RECORD_AUTOCLEAR 4u	/* a loop device that goes with its last opener */
#define RECORD_LEAVE 8u		/* do not mount it again */

/**
 * struct handover_record - a mount that the host has given up for a while
 * @ns: inode of the mount namespace that it was in
 * Strings are borrowed.
 */
struct handover_record {
	uint32_t major, minor;
	uint64_t seq;
	const char *source, *point, *fstype;
	struct mount_opts opts;
	unsigned int bits;
	uint64_t ns;
};

int handover_record_add(const struct handover_record *r, struct journal *j, struct err *e);
int handover_record_parse(const struct journal_rec *j, struct handover_record *ret,
			  struct err *e);
int handover_mount_over(const struct handover_record *r, struct err *e);
int handover_mount_back(const struct handover_record *r, struct err *e);
int handover_super(int fd, struct ext2_super_block *ret, struct err *e);
int handover_namespace(uint64_t *ret, struct err *e);
int handover_undo(const struct journal_rec *r, struct err *e);

#endif
