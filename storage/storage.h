/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_STORAGE_H
#define STORAGE_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/journal.h"

/* A serial is at most 20 bytes (virtio 1.2, section 5.2.6.1). */
#define STORAGE_SERIAL_BYTES 21

/* Disks of one rootfs: the merged layers and the writable side. */
#define STORAGE_DISKS_MAX 2

enum storage_disk_kind {
	STORAGE_DISK_SYNTHETIC,	/* @fd is a table, lib/disktab.h */
	STORAGE_DISK_RAW,	/* @fd is the disk's content */
};

/**
 * struct storage_disk - one disk for the VM
 * @kind:       what @fd is
 * @serial:     that the guest finds it by; NUL-terminated
 * @readonly:   the guest must not write
 * @size_bytes: of the disk, a multiple of 512
 * @fd:         borrowed from the map
 */
struct storage_disk {
	enum storage_disk_kind kind;
	char serial[STORAGE_SERIAL_BYTES];
	bool readonly;
	uint64_t size_bytes;
	int fd;
};

/**
 * struct storage_request - what to map
 * @rootfs:        directory on the host, the mount point of an overlay or of a block device
 * @serial_stem:   at most 16 bytes; serials are it and a suffix
 * @scratch_bytes: capacity of the writable disk; 0: none (memory in the guest)
 * @cache_dir:     where layers are remembered, absolute; NULL: nowhere
 * @readonly:      the container must not write to its root
 * @leave:         a block device that the guest had is not mounted again on the host
 * @journal:       learns what is taken from the host, borrowed while the map lives; NULL:
 *                 nothing may be, a block device that cannot be shared is refused
 */
struct storage_request {
	const char *rootfs;
	const char *serial_stem;
	uint64_t scratch_bytes;
	const char *cache_dir;
	bool readonly;
	bool leave;
	struct journal *journal;
};

/**
 * struct storage_root - how the guest mounts a rootfs that is a block device's
 * @type, @data: of the file system, and its options; borrowed from the map
 * @flags:    MS_* of the host's mount
 * @lower:    it is read only, with memory above it where the guest needs to make
 *            mount points; else it is the root itself
 * @readonly: the root must be read-only, though the container did not ask for that
 */
struct storage_root {
	const char *type, *data;
	unsigned long flags;
	bool lower, readonly;
};

struct storage_map;

int storage_map_rootfs(const struct storage_request *req,
		       struct storage_map **ret, struct err *e);
size_t storage_map_disks(const struct storage_map *m,
			 const struct storage_disk **ret);
int storage_map_open(const struct storage_map *m, uint32_t file, int *ret_fd,
		     struct err *e);
bool storage_map_root(const struct storage_map *m, struct storage_root *ret);
int storage_map_give_back(struct storage_map *m, struct err *e);
void storage_map_free(struct storage_map *m);
int storage_rawvol_open(uint32_t major, uint32_t minor, bool readonly, int *ret_fd,
			struct err *e);
int storage_undo_handover(const struct journal_rec *r, struct err *e);

/**
 * struct share_config - limits of a shared directory
 * @readonly:  nothing below it is changed
 * @nodes_max: files that the guest may know at a time, about 140 bytes each. A Linux
 *             guest needs about 1 KiB of its memory for one, and forgets them when
 *             that is short: RAM / 1 KiB is never reached by an honest one
 * @fds_max:   descriptors that are kept for those that have lasting handles, so that
 *             they need not be opened again
 * @held_max:  descriptors for those that have none (overlayfs, network and FUSE file
 *             systems, mounts inside a recursive tree), one for each; 0: as @fds_max
 */
struct share_config {
	bool readonly;
	uint32_t nodes_max;
	uint32_t fds_max;
	uint32_t held_max;
};

/**
 * struct writeback_config - what may come back from a guest
 * @bytes_max: of content and attributes: what its writable side can hold
 * @names_max: of files, directories and all else
 * @ms_max:    what all of it may take, up to the exchange; 0: as long as the guest brings
 *             something
 * @devices:   the container may make device nodes (CAP_MKNOD)
 * @file_caps: it may give programs capabilities (CAP_SETFCAP)
 */
struct writeback_config {
	uint64_t bytes_max;
	uint64_t names_max;
	uint64_t ms_max;
	bool devices;
	bool file_caps;
};

/**
 * struct writeback_stats - what has come back
 * @names:    that were made, changed or removed
 * @bytes:    of content
 * @no_nodes: device nodes that were left out
 * @no_attrs: extended attributes that were left out
 * @changed:  there was anything at all: without it the upper directory was left alone
 */
struct writeback_stats {
	uint64_t names, bytes, no_nodes, no_attrs;
	bool changed;
};

struct writeback;

int writeback_new(const char *rootfs, struct writeback **ret, struct err *e);
const char *writeback_dir(const struct writeback *w);
const char *writeback_name(const struct writeback *w);
int writeback_run(struct writeback *w, int stream, const struct writeback_config *config,
		  struct writeback_stats *ret, struct err *e);
int writeback_clean(struct writeback *w, struct err *e);
void writeback_free(struct writeback *w);
int writeback_undo(const struct journal_rec *r, struct err *e);

struct share;

/* How share_add() shares a tree. */
enum {
	SHARE_READONLY = 1,  /* nothing in it is changed, on mounts inside it neither */
	SHARE_RECURSIVE = 2, /* with the mounts that are inside it now */
};

int share_new(int dirfd, const struct share_config *config, struct share **ret,
	      struct err *e);
int share_new_set(const struct share_config *config, struct share **ret, struct err *e);
int share_add(struct share *s, int fd, unsigned int flags, uint32_t *ret_number, struct err *e);
void share_remove(struct share *s, uint32_t number);
void share_free(struct share *s);
int share_thread(struct err *e);
ssize_t share_call(struct share *s, const void *msg, size_t len, void *reply, int *ret_fd);

#endif
