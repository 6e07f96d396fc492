/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_DELTA_H
#define LIB_DELTA_H

#include <stdint.h>

/*
 * DOC: Deltas
 *
 * What a container changed in its root file system, as a stream of records from the
 * guest's agent to the host: the content of the guest's upper directory, in the order
 * of a walk. A record is a struct delta_head, its name (no NUL), and @len bytes that
 * its kind explains; numbers are little-endian. Nothing is answered.
 *
 *   stream  = dir, DONE            the root directory, with an empty name
 *   dir     = DIR, XATTR*, entry*, END
 *   entry   = dir | FILE, DATA*, XATTR*, END | SYMLINK, XATTR*, END | NODE, XATTR*, END
 *           | LINK | WHITEOUT
 *
 * FAIL may stand anywhere, and ends it; so does the end of the connection before
 * DONE, which is no delta. The host trusts none of it: names are single components,
 * objects lie where the walk stands, nothing names a path.
 */
enum delta_kind {
	DELTA_DIR = 1,	/* struct delta_attr */
	DELTA_FILE,	/* struct delta_attr */
	DELTA_SYMLINK,	/* struct delta_attr, target */
	DELTA_NODE,	/* struct delta_attr: FIFO, socket, device */
	DELTA_LINK,	/* uint64_t: @id of what it is one more name of */
	DELTA_WHITEOUT, /* the name was removed */
	DELTA_DATA,	/* uint64_t offset, bytes; offsets rise; what is left out is zero */
	DELTA_XATTR,	/* value; the record's name is the attribute's */
	DELTA_END,
	DELTA_DONE,
	DELTA_FAIL, /* text for a person */
};

/* Of a DIR: nothing of the layers below shows through. */
#define DELTA_OPAQUE 1u

#define DELTA_NAME_MAX 255u
#define DELTA_TARGET_MAX 4095u
#define DELTA_VALUE_MAX 65536u
#define DELTA_DATA_MAX 65536u
#define DELTA_TEXT_MAX 255u

/* Directories inside each other; a tree of images and packages has some 30. */
#define DELTA_DEPTH_MAX 400u

/**
 * struct delta_head - beginning of a record
 * @kind:     enum delta_kind
 * @flags:    DELTA_OPAQUE
 * @name_len: bytes of the name
 * @len:      bytes behind the name
 */
struct delta_head {
	uint8_t kind;
	uint8_t flags;
	uint16_t name_len;
	uint32_t len;
};

/**
 * struct delta_attr - what an object is
 * @mode: as in struct stat
 * @rdev: of a device: major << 20 | minor
 * @size: of a FILE
 * @id:   when it has more names than one: not 0, and the same in their LINK records
 */
struct delta_attr {
	uint32_t mode;
	uint32_t uid, gid;
	uint32_t rdev;
	int64_t mtime_s, atime_s;
	uint32_t mtime_ns, atime_ns;
	uint64_t size;
	uint64_t id;
};

#endif
