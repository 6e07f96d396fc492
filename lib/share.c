// SPDX-License-Identifier: Apache-2.0
#include "lib/share.h"

#include <sys/sysmacros.h>

/* 32 bits, as Linux keeps device numbers on disk (new_encode_dev). */
static uint32_t device_of(dev_t d)
{
	return (minor(d) & 0xff) | (uint32_t)major(d) << 8 | (minor(d) & ~0xffu) << 12;
}

/**
 * share_attr() - what FUSE says of a file
 */
void share_attr(const struct stat *st, struct fuse_attr *ret)
{
	*ret = (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = device_of(st->st_rdev),
		.blksize = (uint32_t)st->st_blksize,
	};
}
