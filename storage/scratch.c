// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The writable disk of a container is a sparse file without a name (O_TMPFILE)
 * in the file system of the overlay's upper directory: what the guest writes is
 * charged to the engine's storage volume, as it would be without a VM, and the
 * kernel frees it with the last descriptor, also after a crash. There is nothing
 * to undo. File systems that cannot do it are refused.
 *
 * It is formatted as ext4 by libext2fs, in process. Only what is not zero is
 * written: block group descriptors say that bitmaps and inode tables were never
 * used, and truthfully that the tables are zeroed, since holes read as zeros; so
 * the guest's kernel writes them neither at mount nor in the background. There
 * is no journal: the disk does not outlive the VM, so there is nothing to replay.
 *
 * Source: Linux Documentation/filesystems/ext4, "Lazy Block Group Initialization"
 */
#include "storage/scratch.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/fd.h"

#define BYTES_PER_INODE 16384u
#define INODE_SIZE 256
#define LOG_GROUPS_PER_FLEX 4

/* libext2fs returns its own codes or a positive errno. */
static int failed(errcode_t code, const char *what, struct err *e)
{
	return err_set(e, code > 0 && code < 4096 ? (int)code : EIO,
		       "scratch disk: ext4: %s: error %ld", what, (long)code);
}

static void describe(struct ext2_super_block *sb, uint64_t bytes)
{
	uint64_t inodes = bytes / BYTES_PER_INODE;

	memset(sb, 0, sizeof(*sb));
	sb->s_rev_level = EXT2_DYNAMIC_REV;
	sb->s_log_block_size = 2;
	sb->s_log_cluster_size = 2;
	sb->s_inode_size = INODE_SIZE;
	ext2fs_blocks_count_set(sb, bytes / 4096);
	sb->s_inodes_count = (uint32_t)(inodes < 1024 ? 1024 : inodes);
	sb->s_log_groups_per_flex = LOG_GROUPS_PER_FLEX;
	sb->s_feature_compat = EXT2_FEATURE_COMPAT_DIR_INDEX |
			       EXT2_FEATURE_COMPAT_EXT_ATTR;
	sb->s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE |
				 EXT3_FEATURE_INCOMPAT_EXTENTS |
				 EXT4_FEATURE_INCOMPAT_FLEX_BG;
	sb->s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER |
				  EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
				  EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
				  EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
				  EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |
				  EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
	sb->s_min_extra_isize = 32;
	sb->s_want_extra_isize = 32;
	sb->s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
	/* A host whose storage is full is no reason to stop the container's other writes. */
	sb->s_errors = EXT2_ERRORS_CONTINUE;
}

/* Identity, which must be there before any checksum is computed. */
static int identify(ext2_filsys fs, struct err *e)
{
	struct ext2_super_block *sb = fs->super;

	if (getrandom(sb->s_uuid, sizeof(sb->s_uuid), 0) < 0 ||
	    getrandom(sb->s_hash_seed, sizeof(sb->s_hash_seed), 0) < 0)
		return err_sys(e, "getrandom");
	sb->s_uuid[6] = (uint8_t)((sb->s_uuid[6] & 0x0f) | 0x40);
	sb->s_uuid[8] = (uint8_t)((sb->s_uuid[8] & 0x3f) | 0x80);
	sb->s_def_hash_version = EXT2_HASH_HALF_MD4;
	/* Not among what ext2fs_initialize() takes over. */
	sb->s_checksum_type = EXT2_CRC32C_CHKSUM;
	sb->s_max_mnt_count = -1;
	snprintf((char *)sb->s_volume_name, sizeof(sb->s_volume_name), "podvm-scratch");
	return ext2fs_init_csum_seed(fs), 0;
}

/* Inodes that ext4 reserves are in use from the start. */
static void reserve_inodes(ext2_filsys fs)
{
	ext2_ino_t i;

	for (i = EXT2_ROOT_INO + 1; i < EXT2_FIRST_INODE(fs->super); i++)
		ext2fs_inode_alloc_stats2(fs, i, +1, 0);
	ext2fs_inode_alloc_stats2(fs, EXT2_BAD_INO, +1, 0);
	ext2fs_mark_ib_dirty(fs);
}

static errcode_t fill(ext2_filsys fs, const char **ret_what)
{
	errcode_t code;
	dgrp_t g;

	*ret_what = "allocating tables";
	code = ext2fs_allocate_tables(fs);
	if (code)
		return code;
	for (g = 0; g < fs->group_desc_count; g++) {
		ext2fs_bg_flags_set(fs, g, EXT2_BG_INODE_ZEROED);
		ext2fs_group_desc_csum_set(fs, g);
	}
	*ret_what = "root directory";
	code = ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, NULL);
	if (code)
		return code;
	*ret_what = "lost+found";
	reserve_inodes(fs);
	code = ext2fs_mkdir(fs, EXT2_ROOT_INO, 0, "lost+found");
	if (code)
		return code;
	*ret_what = "bad block list";
	code = ext2fs_update_bb_inode(fs, NULL);
	return code;
}

static int format(int fd, uint64_t bytes, struct err *e)
{
	struct ext2_super_block sb;
	const char *what = "superblock";
	ext2_filsys fs = NULL;
	errcode_t code;
	int rc;

	describe(&sb, bytes);
	code = ext2fs_initialize(fd_path(fd).s, EXT2_FLAG_64BITS, &sb, unix_io_manager, &fs);
	if (code)
		return failed(code, what, e);
	rc = identify(fs, e);
	if (rc < 0) {
		ext2fs_free(fs);
		return rc;
	}
	code = fill(fs, &what);
	if (!code) {
		what = "writing";
		/* Nothing to make durable: the file goes with us. */
		code = ext2fs_close2(fs, EXT2_FLAG_FLUSH_NO_SYNC);
	}
	/* A failing ext2fs_close2() keeps the handle. */
	if (code)
		ext2fs_free(fs);
	return code ? failed(code, what, e) : 0;
}

/**
 * scratch_make() - a formatted writable disk
 * @dir_fd: directory whose file system takes the content; borrowed, may be O_PATH
 * @bytes:  capacity; rounded down to 4096
 * @ret_fd: read-write descriptor of a file without a name, owned by the caller;
 *          closing it gives the space back; untouched on failure
 *
 * Return: 0; -ERANGE; -EOPNOTSUPP where the file system has no O_TMPFILE; else
 * minus errno
 */
int scratch_make(int dir_fd, uint64_t bytes, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int rc;

	bytes &= ~4095ull;
	if (bytes < SCRATCH_BYTES_MIN || bytes > SCRATCH_BYTES_MAX)
		return err_set(e, ERANGE, "scratch disk: %llu bytes: must be 4 MiB to 16 TiB",
			       (unsigned long long)bytes);
	fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT))
		return err_set(e, EOPNOTSUPP, "scratch disk: the file system of the upper directory has no O_TMPFILE: put the engine's storage on ext4, xfs, btrfs or tmpfs, or ask for memory (0 bytes)");
	if (fd < 0)
		return err_sys(e, "scratch disk: file in the upper directory's file system");
	if (ftruncate(fd, (off_t)bytes) < 0)
		return err_sys(e, "scratch disk: %llu bytes", (unsigned long long)bytes);
	rc = format(fd, bytes, e);
	if (rc < 0)
		return rc;
	*ret_fd = fd_steal(&fd);
	return 0;
}
