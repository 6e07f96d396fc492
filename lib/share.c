// SPDX-License-Identifier: Apache-2.0
#include "lib/share.h"

#include <sys/sysmacros.h>

/* 32 bits, as Linux keeps device numbers on disk (new_encode_dev). */
static uint32_t device_of(dev_t d)
{
	return (minor(d) & 0xff) | (uint32_t)major(d) << 8 | (minor(d) & ~0xffu) << 12;
}

/**
 * share_ino() - inode number that the guest sees
 * @dev_index: of the file's device in its share
 * @dev, @ino: as the host has them; @dev may be 0 where it is not known
 *
 * Numbers below 2^48, which is nearly all there are, get the index in front of them and
 * so never meet; those of the share's first device stay as they are. Of the others,
 * and of devices without an index, 63 bits of a hash are left: they meet by a chance
 * that is no chance.
 */
uint64_t share_ino(uint32_t dev_index, uint64_t dev, uint64_t ino)
{
	uint64_t h;

	if (dev_index != SHARE_DEV_OTHER && !(ino >> 48))
		return (uint64_t)dev_index << 48 | ino;
	h = dev_index == SHARE_DEV_OTHER ? dev : dev_index;
	h += (ino ^ ino >> 31) * 0x9e3779b97f4a7c15ull;
	h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9ull;
	return (h ^ h >> 32) | 1ull << 63;
}

/**
 * share_attr() - what FUSE says of a file
 * @dev_index: as in share_ino()
 */
void share_attr(const struct stat *st, uint32_t dev_index, struct fuse_attr *ret)
{
	*ret = (struct fuse_attr){
		.ino = share_ino(dev_index, st->st_dev, st->st_ino),
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
