// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A map is what stays of a rootfs while its VM lives: a sealed memfd with the
 * disk's table and metadata (lib/disktab.h), the layers' directories, and per
 * file that the disk refers to where it is and what it was. Trees and layout are
 * gone by then. Contents are never read here.
 *
 * storage_map_open() gives the descriptor of one file, by number, to a broker
 * that serves a hostile monitor. The path comes from the map, is resolved
 * beneath the layer's directory without symlinks or other mounts, and the file
 * must be what it was: device, inode, size, time of modification, and for the
 * layers below the upper one the time of change. (An engine may change modes in
 * the upper directory while it prepares a container; below it nobody may.)
 *
 * A map does not change between storage_map_rootfs() and storage_map_free(); so
 * storage_map_open() may run in any thread, and in several at a time.
 */
#include "storage/disk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/disktab.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/handover.h"
#include "storage/scratch.h"
#include "storage/source.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

static_assert(EROFS_BLOCK_BYTES == DISKTAB_BLOCK_BYTES, "a block is a block");

/* What follows the stem of a serial. */
#define SUFFIX_LOWER "-ro"
#define SUFFIX_SCRATCH "-rw"
#define SUFFIX_BLOCK "-dev"

/**
 * struct storage_map - a mapped rootfs
 * @layer_fd:  directories of the layers, topmost first, owned
 * @has_upper: layer 0 is the upper directory
 * @userxattr: of the mount
 * @cache:     of layers, owned; NULL without one
 * @files:     by number, owned
 * @names:     what files refer to, owned
 * @disks:     their descriptors are owned, but for that of @handover
 * @handover:  block device that was taken from the host, owned; NULL: none
 * @root:      how the guest mounts it
 */
struct storage_map {
	int *layer_fd;
	size_t n_layers;
	bool has_upper, userxattr;
	struct cache *cache;
	struct disk_file *files;
	uint32_t n_files;
	struct strbuf names;
	struct storage_disk disks[STORAGE_DISKS_MAX];
	size_t n_disks;
	struct storage_stats stats;
	struct handover *handover;
	struct storage_root root;
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int make_memfd(uint64_t bytes, struct err *e)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("podvm-disk", flags | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("podvm-disk", flags);
	if (fd < 0)
		return err_sys(e, "disk table: memfd");
	if (ftruncate(fd, (off_t)bytes) < 0) {
		int rc = err_sys(e, "disk table: %llu bytes", (unsigned long long)bytes);

		close(fd);
		return rc;
	}
	return fd;
}

static void write_table(const struct erofs *d, uint8_t *dst, uint64_t n_extents,
			uint64_t meta_at)
{
	struct disktab_head *h = (void *)dst;
	struct disktab_extent *x = (void *)(dst + sizeof(*h));
	uint32_t i;

	*h = (struct disktab_head){
		.magic = DISKTAB_MAGIC, .n_blocks = d->n_blocks,
		.n_extents = n_extents, .extents_offset = sizeof(*h),
		.n_files = d->n_files,
	};
	*x++ = (struct disktab_extent){
		.n_blocks = d->meta_blocks, .offset = meta_at, .file = DISKTAB_FILE_SELF,
	};
	for (i = 0; i < d->n_files; i++) {
		const struct tree_inode *f = d->file[i];

		tree_ahead(d->file, d->n_files, i);
		*x++ = (struct disktab_extent){
			.first_block = f->block,
			.n_blocks = (f->size - 1) / DISKTAB_BLOCK_BYTES + 1,
			.file = i,
		};
	}
}

/**
 * disk_table() - the sealed memfd that describes a disk
 * @ret_fd:      owned by the caller; untouched on failure
 * @ret_extents: entries of its table
 *
 * Return: 0 or minus errno
 */
int disk_table(const struct erofs *d, int *ret_fd, uint64_t *ret_extents,
	       struct err *e)
{
	uint64_t n = 1ull + d->n_files, meta_at, bytes;
	_cleanup_close_ int fd = -1;
	uint8_t *buf;
	int rc;

	static_assert(sizeof(struct disktab_head) % 8 == 0, "extents are aligned");
	meta_at = sizeof(struct disktab_head) + n * sizeof(struct disktab_extent);
	meta_at = (meta_at + DISKTAB_BLOCK_BYTES - 1) & ~(DISKTAB_BLOCK_BYTES - 1ull);
	bytes = meta_at + (uint64_t)d->meta_blocks * DISKTAB_BLOCK_BYTES;
	fd = make_memfd(bytes, e);
	if (fd < 0)
		return fd;
	/* Through memory in huge pages: the memfd's own would be faulted in one by one. */
	buf = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buf == MAP_FAILED)
		return err_sys(e, "disk table: %llu bytes of memory", (unsigned long long)bytes);
	madvise(buf, bytes, MADV_HUGEPAGE);
	write_table(d, buf, n, meta_at);
	erofs_write(d, buf + meta_at);
	rc = write_full(fd, buf, bytes, e);
	munmap(buf, bytes);
	if (rc < 0)
		return err_wrap(e, "disk table");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE |
		  F_SEAL_SEAL) < 0)
		return err_sys(e, "disk table: seal");
	*ret_fd = fd_steal(&fd);
	*ret_extents = n;
	return 0;
}

/* Adds a NUL-terminated text to the names. Return: its offset. */
static uint32_t keep(struct storage_map *m, const char *text)
{
	size_t at = m->names.len;

	strbuf_add_bytes(&m->names, text, strlen(text) + 1);
	return (uint32_t)at;
}

/* Where the last file was, and its text in the map's names. */
struct last_dir {
	const struct tree_node *node;
	uint32_t at;
};

/* The directory of a file in its layer; files of one follow each other and share it. */
static int keep_dir(struct storage_map *m, const struct tree_inode *f,
		    struct last_dir *last, uint32_t *ret, struct err *e)
{
	const struct tree_node *up = f->home ? f->home->parent : NULL;
	char path[TREE_PATH_BYTES] = ".";

	if (!up || up != last->node) {
		if (up && tree_path(up, path) < 0)
			return err_set(e, ENAMETOOLONG, "a path is too long");
		last->at = keep(m, path);
		last->node = up;
	}
	*ret = last->at;
	return 0;
}

/* Remembers every file of the disk. */
static int take_files(struct storage_map *m, const struct erofs *d, struct err *e)
{
	struct last_dir last = { 0 };
	uint32_t dir = 0, i;
	int rc;

	m->files = d->n_files < 8192 ? malloc(d->n_files * sizeof(*m->files) + 1) :
				      tree_big_alloc(d->n_files * sizeof(*m->files));
	if (!m->files)
		return err_set(e, ENOMEM, "out of memory");
	m->n_files = d->n_files;
	for (i = 0; i < d->n_files; i++) {
		const struct tree_inode *f = d->file[i]->data ? d->file[i]->data :
								d->file[i];

		tree_ahead(d->file, d->n_files, i);
		rc = keep_dir(m, f, &last, &dir, e);
		if (rc < 0)
			return rc;
		m->files[i] = (struct disk_file){
			.dev = (uint32_t)f->dev, .ino = f->ino, .size = f->size,
			.mtime_s = f->mtime_s, .mtime_ns = f->mtime_ns,
			.ctime_s = f->ctime_s, .ctime_ns = f->ctime_ns,
			.dir = dir, .name = keep(m, f->home ? f->home->name : f->path),
			.layer = f->layer,
		};
		m->stats.data_bytes += f->size;
		if (m->names.failed || m->names.len > UINT32_MAX - 2 * TREE_PATH_BYTES)
			return err_set(e, ENOMEM, "out of memory for file names");
	}
	return 0;
}

static int add_disk(struct storage_map *m, const struct storage_request *req,
		    const char *suffix, struct storage_disk disk, struct err *e)
{
	struct storage_disk *d = &m->disks[m->n_disks];

	*d = disk;
	if (snprintf(d->serial, sizeof(d->serial), "%s%s", req->serial_stem, suffix) >=
	    (int)sizeof(d->serial)) {
		fd_close(&d->fd);
		return err_set(e, ENAMETOOLONG, "serial stem longer than 16 bytes");
	}
	m->n_disks++;
	return 0;
}

/* The merged layers, as they are mounted; @ret_cached: of them from the cache. */
static int read_once(const struct storage_map *m, const struct source *s, struct layers **ret,
		     size_t *ret_cached, struct err *e)
{
	struct layers *l = NULL;
	int rc = layers_read(s->overlay, m->cache, &l, e);

	if (rc < 0)
		return rc;
	*ret_cached = layers_cached(l);
	rc = layers_verify(l, s->fd, e);
	if (rc < 0) {
		layers_free(l);
		return rc;
	}
	*ret = l;
	return 0;
}

/*
 * If the layers are not those that are mounted, what is remembered of them may be
 * wrong (a file was changed in place): then it is forgotten, once.
 */
static int read_layers(const struct storage_map *m, const struct source *s,
		       struct layers **ret, struct err *e)
{
	struct err why = { 0 };
	size_t cached = 0, i;
	int rc = read_once(m, s, ret, &cached, &why);

	if (rc == -ESTALE && cached) {
		for (i = 0; i < s->overlay->n_layers; i++)
			cache_drop(m->cache, s->overlay->layer[i].fd, s->overlay->userxattr);
		return read_once(m, s, ret, &cached, e);
	}
	if (rc < 0 && e)
		*e = why;
	return rc;
}

/**
 * struct taking - take_files() in a thread of its own
 * @rc, @err: how it ended
 */
struct taking {
	struct storage_map *m;
	const struct erofs *d;
	int rc;
	struct err err;
};

static void *taking_thread(void *arg)
{
	struct taking *t = arg;

	t->rc = take_files(t->m, t->d, &t->err);
	return NULL;
}

/*
 * The table and the files' names both only read the layout, and take as long as each
 * other: one thread has the names meanwhile. Where none can be had, they follow.
 */
static int write_disk(struct storage_map *m, const struct erofs *d, int *ret_fd, struct err *e)
{
	struct taking t = { .m = m, .d = d };
	pthread_t id;
	bool beside = !pthread_create(&id, NULL, taking_thread, &t);
	int rc = disk_table(d, ret_fd, &m->stats.extents, e);

	if (beside)
		pthread_join(id, NULL);
	else
		taking_thread(&t);
	if (rc < 0)
		return rc;
	if (t.rc < 0) {
		fd_close(ret_fd);
		if (e)
			*e = t.err;
	}
	return t.rc;
}

static int map_lower(struct storage_map *m, const struct storage_request *req,
		     struct source *s, struct err *e)
{
	uint64_t start = now_us(), scanned;
	struct layers *l = NULL;
	struct erofs *d = NULL;
	int fd = -1, rc;
	size_t i;

	rc = read_layers(m, s, &l, e);
	scanned = now_us();
	if (!rc)
		rc = erofs_layout(layers_root(l), &d, e);
	if (!rc)
		rc = write_disk(m, d, &fd, e);
	if (!rc)
		rc = add_disk(m, req, SUFFIX_LOWER, (struct storage_disk){
			.kind = STORAGE_DISK_SYNTHETIC, .readonly = true, .fd = fd,
			.size_bytes = (uint64_t)d->n_blocks * DISKTAB_BLOCK_BYTES,
		}, e);
	if (!rc) {
		m->stats.layers = s->overlay->n_layers;
		m->stats.cached = layers_cached(l);
		for (i = 0; i < s->overlay->n_layers; i++)
			m->stats.layer_names += layers_count(l, i);
		m->stats.names = d->n_names;
		m->stats.inodes = d->n_inodes;
		m->stats.files = d->n_files;
		m->stats.meta_bytes = (uint64_t)d->meta_blocks * DISKTAB_BLOCK_BYTES;
		m->stats.scan_us = scanned - start;
	}
	erofs_free(d);
	layers_free(l);
	m->stats.layout_us = now_us() - scanned;
	return rc;
}

static int map_scratch(struct storage_map *m, const struct storage_request *req,
		       const struct source *s, struct err *e)
{
	uint64_t start = now_us();
	int fd = -1, rc;

	if (!req->scratch_bytes)
		return 0;
	if (!s->overlay->has_upper)
		return err_set(e, EOPNOTSUPP, "rootfs is a read-only overlay: no upper directory whose file system could take a scratch disk: ask for memory (0 bytes)");
	rc = scratch_make(s->overlay->layer[0].fd, req->scratch_bytes, &fd, e);
	if (rc < 0)
		return rc;
	m->stats.scratch_us = now_us() - start;
	return add_disk(m, req, SUFFIX_SCRATCH, (struct storage_disk){
		.kind = STORAGE_DISK_RAW, .fd = fd,
		.size_bytes = req->scratch_bytes & ~4095ull,
	}, e);
}

/* The layers' descriptors outlive the source. */
static int take_layers(struct storage_map *m, struct source *s, struct err *e)
{
	size_t i;

	m->layer_fd = mem_new_n(int, s->overlay->n_layers);
	if (!m->layer_fd)
		return err_set(e, ENOMEM, "out of memory");
	m->n_layers = s->overlay->n_layers;
	m->has_upper = s->overlay->has_upper;
	m->userxattr = s->overlay->userxattr;
	for (i = 0; i < m->n_layers; i++)
		m->layer_fd[i] = fd_steal(&s->overlay->layer[i].fd);
	return 0;
}

/* Without a cache all goes on, only slower. */
static void take_cache(struct storage_map *m, const char *dir)
{
	struct err why;

	if (dir && cache_open(dir, &m->cache, &why) < 0)
		log_warn("storage: %s", why.text);
}

/* The device changes hands here; the directory is closed, or its mount would be busy. */
static int map_block(struct storage_map *m, const struct storage_request *req,
		     struct source *s, struct err *e)
{
	struct blockplan p = { 0 };
	int rc = blockplan_make(s->block, req->readonly, &p, e);

	if (rc < 0)
		return rc;
	if (strlen(req->serial_stem) + sizeof(SUFFIX_BLOCK) > STORAGE_SERIAL_BYTES)
		return err_set(e, ENAMETOOLONG, "serial stem longer than 16 bytes");
	if (p.mode != BLOCKPLAN_SHARED && !req->journal)
		return err_set(e, EOPNOTSUPP, "the host would have to give its mount up, which is not allowed here (podvm: blockRootfs in the configuration)");
	fd_close(&s->fd);
	rc = handover_take(s->block, &p, req->leave, req->journal, &m->handover, e);
	if (rc < 0)
		return rc;
	m->root = (struct storage_root){
		.type = p.guest_type, .flags = s->block->opts.mnt & ~(unsigned long)MS_RDONLY,
		.data = p.mode != BLOCKPLAN_EXCLUSIVE ? p.guest_data
			: str_listed(s->block->opts.data, "discard") ? "discard" : "",
		.lower = p.mode != BLOCKPLAN_EXCLUSIVE, .readonly = p.readonly_root,
	};
	return add_disk(m, req, SUFFIX_BLOCK, (struct storage_disk){
		.kind = STORAGE_DISK_RAW, .fd = handover_fd(m->handover),
		.readonly = p.mode != BLOCKPLAN_EXCLUSIVE,
		.size_bytes = s->block->dev.size_bytes,
	}, e);
}

/**
 * storage_map_rootfs() - turn a container's root file system into disks
 * @req: what to map
 * @ret: owned by the caller, storage_map_free(); untouched on failure
 *
 * The host is only read, but for the scratch disk, a file without a name, and for a
 * block device, which the host's mount gives up; the journal knows that, and
 * storage_map_give_back() brings it back. There is nothing else to undo beyond
 * storage_map_free(), also after a crash.
 *
 * Return: 0; -EOPNOTSUPP for what cannot be mapped, with the reason and what to
 * do: it can be shared still; -EMEDIUMTYPE for a block device that is not handed
 * over; -ESTALE if the layers are not those mounted; else
 * minus errno
 * Context: starts threads and waits for them; blocks for file system access
 */
int storage_map_rootfs(const struct storage_request *req,
		       struct storage_map **ret, struct err *e)
{
	struct storage_map *m = mem_new(struct storage_map);
	struct source *s = NULL;
	uint64_t start = now_us();
	char shown[256];
	int rc;

	if (!m)
		return err_set(e, ENOMEM, "out of memory");
	rc = source_probe(req->rootfs, &s, e);
	if (!rc)
		rc = source_check(s, e);
	if (!rc) {
		bool block = s->kind == SOURCE_BLOCK;

		if (!block)
			take_cache(m, req->cache_dir);
		rc = block ? map_block(m, req, s, e) : map_lower(m, req, s, e);
		if (!rc && !block)
			rc = map_scratch(m, req, s, e);
		if (!rc && !block)
			rc = take_layers(m, s, e);
		if (rc < 0) {
			str_quote(shown, sizeof(shown), req->rootfs);
			err_wrap(e, "rootfs %s", shown);
		}
	}
	/* A device that is not handed over is refused: it is no rootfs to be shared. */
	if (rc == -EOPNOTSUPP && s && s->kind == SOURCE_BLOCK) {
		rc = -EMEDIUMTYPE;
		if (e)
			e->code = EMEDIUMTYPE;
	}
	source_free(s);
	if (rc < 0) {
		storage_map_give_back(m, NULL);
		storage_map_free(m);
		return rc;
	}
	m->stats.total_us = now_us() - start;
	*ret = m;
	return 0;
}

/**
 * storage_map_disks() - the disks of a map
 * @ret: the merged layers first, then the scratch disk if there is one; borrowed
 *
 * Return: how many
 */
size_t storage_map_disks(const struct storage_map *m,
			 const struct storage_disk **ret)
{
	*ret = m->disks;
	return m->n_disks;
}

/**
 * storage_map_root() - how the guest mounts the file system of a block device
 * @ret: lives as long as the map; untouched otherwise
 *
 * Return: false when the rootfs is none
 */
bool storage_map_root(const struct storage_map *m, struct storage_root *ret)
{
	if (m->handover)
		*ret = m->root;
	return m->handover;
}

/**
 * storage_map_give_back() - the guest has no disk of the map any more, for good
 *
 * What was taken from the host is the host's again.
 *
 * Return: 0, also when there was nothing, or it was done before; 1: the host has its
 * device, but not mounted, or not all that was written, for the reason in @e; minus
 * errno: not now, the journal keeps it
 * Context: waits some seconds for the device to be free
 */
int storage_map_give_back(struct storage_map *m, struct err *e)
{
	struct err ignored;

	return m->handover ? handover_give_back(m->handover, e ? e : &ignored) : 0;
}

/**
 * storage_undo_handover() - undo a "handover" record of the journal; may be repeated
 *
 * Return: as handover_undo(): 0; 1 with something to tell a person in @e; minus errno
 */
int storage_undo_handover(const struct journal_rec *r, struct err *e)
{
	return handover_undo(r, e);
}

/**
 * storage_map_stats() - what mapping took; borrowed from the map
 */
const struct storage_stats *storage_map_stats(const struct storage_map *m)
{
	return &m->stats;
}

static int open_beneath(int dir_fd, const char *path)
{
	/* O_NONBLOCK: what was a file might be a FIFO by now. */
	const uint64_t flags = O_RDONLY | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW;
	const uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
				 RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
	int fd = fd_openat2(dir_fd, path, flags | O_NOATIME, 0, resolve);

	/* Only the owner of a file may leave its access time alone. */
	if (fd < 0 && errno == EPERM)
		fd = fd_openat2(dir_fd, path, flags, 0, resolve);
	return fd;
}

static bool unchanged(const struct disk_file *f, const struct stat *st, bool upper)
{
	return S_ISREG(st->st_mode) && st->st_dev == f->dev && st->st_ino == f->ino &&
	       (uint64_t)st->st_size == f->size && st->st_mtim.tv_sec == f->mtime_s &&
	       (uint32_t)st->st_mtim.tv_nsec == f->mtime_ns &&
	       (upper || (st->st_ctim.tv_sec == f->ctime_s &&
			  (uint32_t)st->st_ctim.tv_nsec == f->ctime_ns));
}

/* A file that changed: what is remembered of its layer may be wrong, the next map reads it. */
static int stale(const struct storage_map *m, const struct disk_file *f, const char *path,
		 const char *why, struct err *e)
{
	char shown[400];

	if (m->cache)
		cache_drop(m->cache, m->layer_fd[f->layer], m->userxattr);
	str_quote(shown, sizeof(shown), path);
	return err_set(e, ESTALE, "layer %u: %s: %s", f->layer, shown, why);
}

/**
 * storage_map_open() - open a file behind a synthetic disk
 * @file:   its number in the disk's table; may come from a hostile monitor
 * @ret_fd: read-only, owned by the caller; untouched on failure
 *
 * Return: 0; -EINVAL for a number that the disk does not have; -ESTALE when the
 * file is not what it was; else minus errno
 * Context: any thread, several at a time; blocks for file system access
 */
int storage_map_open(const struct storage_map *m, uint32_t file, int *ret_fd,
		     struct err *e)
{
	_cleanup_close_ int fd = -1;
	const struct disk_file *f;
	char path[TREE_PATH_BYTES], shown[400];
	struct stat st;
	int flags, code;

	if (file >= m->n_files)
		return err_set(e, EINVAL, "file %u: the disk has %u", file, m->n_files);
	f = &m->files[file];
	if (snprintf(path, sizeof(path), "%s/%s", m->names.text + f->dir,
		     m->names.text + f->name) >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, "file %u: path too long", file);
	fd = open_beneath(m->layer_fd[f->layer], path);
	if (fd < 0 || fstat(fd, &st) < 0) {
		code = errno;
		if (code == ENOENT || code == ENOTDIR || code == ELOOP || code == EXDEV ||
		    code == ENXIO)
			return stale(m, f, path, strerror(code), e);
		str_quote(shown, sizeof(shown), path);
		return err_set(e, code, "layer %u: %s: %s", f->layer, shown, strerror(code));
	}
	if (!unchanged(f, &st, m->has_upper && !f->layer))
		return stale(m, f, path, "changed since its disk was made", e);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return err_sys(e, "fcntl");
	*ret_fd = fd_steal(&fd);
	return 0;
}

/**
 * storage_map_free() - let go of everything; NULL is fine
 *
 * A device that storage_map_give_back() has not given back is the journal's to do.
 *
 * Context: no storage_map_open() of the map may be running
 */
void storage_map_free(struct storage_map *m)
{
	size_t i;

	if (!m)
		return;
	for (i = 0; i < m->n_disks && !m->handover; i++)
		fd_close(&m->disks[i].fd);
	handover_free(m->handover);
	for (i = 0; i < m->n_layers; i++)
		fd_close(&m->layer_fd[i]);
	cache_free(m->cache);
	free(m->layer_fd);
	free(m->files);
	strbuf_done(&m->names);
	free(m);
}
