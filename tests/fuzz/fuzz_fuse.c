// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of a share, from FUSE's bytes to the file system: the input is what a guest
 * puts into the queue, one request after the other, each as
 *
 *	2 bytes  length of the request, little-endian
 *	2 bytes  room for its answer
 *	1 byte   pieces: buffers of so many bytes; 0: one for each side
 *	...      the request
 *
 * Every input finds the same tree, and a share and session as good as new, so that
 * node and file numbers come out the same each time. (They are not made anew: ending
 * a mount takes milliseconds.) The broker is the supervisor's, on a thread. A find is
 * a crash, a leak, an answer beyond its room, a node, file or descriptor that is left
 * at the end, or a change outside of the tree.
 *
 * fuzz_trees.c is the same for a share that is a set of trees: 1 is the tree's directory
 * "dir", 2 its file "file", 3 all of it, read-only. There, a record without a request
 * removes the tree that "room" has the number of.
 *
 * It needs root, as the broker does.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "runtime/supervisor/supervisor.h"
#include "storage/share.h"
#include "vmm/virtio/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a file may grow to; fallocate() is among the requests. */
#define FILE_BYTES_MAX (1u << 20)

#define SECRET "outside of the share"

#ifndef FUZZ_TREES
#define FUZZ_TREES 0
#endif

static char home[] = "/tmp/podvm-fuzz-XXXXXX";
static int home_fd = -1;
static struct fs_pool *pool;
static struct loop *loop;
static struct gmem mem;
static struct share_broker broker;
static struct virtio_dev *dev;

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_fuse: %s: %m\n", what);
	abort();
}

static void remove_home(void)
{
	if (dev)
		dev->ops->free(dev);
	share_broker_stop(&broker);
	dir_remove(AT_FDCWD, home, NULL);
	fs_pool_free(pool);
	loop_free(loop);
}

static void put(const char *path, const char *text)
{
	_cleanup_close_ int fd =
		openat(home_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
}

static void begin_share(void)
{
	struct share_config config = { .nodes_max = 200, .fds_max = 20 };
	_cleanup_close_ int tree = openat(home_fd, "tree", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct vmm_share cfg = { .tag = "fuzz" };
	struct err e = { 0 };
	int end;

	check(tree >= 0, "tree");
	check(!share_broker_start(&broker, FUZZ_TREES ? -1 : tree, &config, 1, &end, &e), e.text);
	check(!fs_new(&cfg, &end, 1, 1, pool, &mem, loop, &dev, &e), e.text);
}

static void begin(void)
{
	struct rlimit r = { FILE_BYTES_MAX, RLIM_INFINITY };
	struct err e;

	check(geteuid() == 0, "it must run as root");
	log_open(2, LOG_LEVEL_ERROR, false);
	signal(SIGXFSZ, SIG_IGN);
	check(mkdtemp(home) != NULL, home);
	home_fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(home_fd >= 0, home);
	put("secret", SECRET);
	check(!mkdirat(home_fd, "tree", 0755), "tree");
	check(!fs_pool_new(&pool, &e) && !loop_new(&loop, &e), "begin");
	atexit(remove_home);
	setrlimit(RLIMIT_FSIZE, &r);
	begin_share();
}

static void empty_tree(void)
{
	DIR *dir = fdopendir(openat(home_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct err e = { 0 };
	struct dirent *d;

	check(dir != NULL, "tree");
	while ((d = readdir(dir)))
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			check(!dir_remove(dirfd(dir), d->d_name, &e), e.text);
	check(!fchown(dirfd(dir), 0, 0) && !fchmod(dirfd(dir), 0755), "tree");
	fremovexattr(dirfd(dir), "system.posix_acl_default");
	closedir(dir);
}

static void make_tree(void)
{
	empty_tree();
	check(!mkdirat(home_fd, "tree/dir", 02775), "tree");
	put("tree/file", "content");
	put("tree/dir/below", "below");
	check(!symlinkat("../secret", home_fd, "tree/link"), "link");
	check(!mkfifoat(home_fd, "tree/fifo", 0666), "fifo");
}

/**
 * struct guest - the buffers of one request; of their own, so that ASan sees their ends
 */
struct guest {
	uint8_t *out, *in;
	uint32_t room;
};

static uint16_t cut(struct iovec *v, uint8_t *buf, size_t len, uint8_t piece)
{
	size_t part = piece ? piece : len, at;
	uint16_t n = 0;

	/* The last of what fits into a chain takes the rest. */
	for (at = 0; at < len; at += v[n++].iov_len) {
		v[n].iov_base = buf + at;
		v[n].iov_len = n == VIRTQ_SIZE_MAX / 2 - 1 || len - at < part ? len - at : part;
	}
	return n;
}

static void serve(struct fs *s, const uint8_t *request, uint32_t len, uint32_t room, uint8_t piece)
{
	struct fs_worker *w = &pool->worker[0];
	struct guest g = { malloc(len + 1), malloc(room + 1), room };
	uint32_t written = 0, taken = 0;
	int rc;

	check(g.out && g.in, "memory");
	memcpy(g.out, request, len);
	g.in[room] = 0x5a;
	w->chain.n_out = cut(w->chain.out, g.out, len, piece);
	w->chain.n_in = cut(w->chain.in, g.in, room, piece);
	w->chain.out_bytes = len;
	w->chain.in_bytes = room;
	rc = fuse_serve(s, w, s->channel[0], 1, &written, &taken);
	check(rc == 0 || rc == FUSE_SILENT || rc == FUSE_PARKED || rc == -EPROTO, "result");
	check(written <= room && g.in[room] == 0x5a, "answer beyond its room");
	/* A parked one keeps where its answer goes, and gets none: nothing is running. */
	locks_end(s, w);
	free(g.out);
	free(g.in);
}

static void serve_all(struct fs *s, const uint8_t *data, size_t size)
{
	while (size >= 5) {
		uint32_t len = data[0] | (uint32_t)data[1] << 8;
		uint32_t room = data[2] | (uint32_t)data[3] << 8;
		uint8_t piece = data[4];

		data += 5;
		size -= 5;
		if (len > size)
			len = (uint32_t)size;
		if (FUZZ_TREES && !len)
			share_remove(broker.share, room);
		serve(s, data, len, room, piece);
		data += len;
		size -= len;
	}
}

static void check_outside(void)
{
	_cleanup_free_ char *text = NULL;
	struct dirent *d;
	unsigned int n = 0;
	DIR *dir = fdopendir(openat(home_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	check(dir != NULL, "home");
	while ((d = readdir(dir)))
		n++;
	closedir(dir);
	check(n == 4, "something new outside of the tree");
	check(!file_read(home_fd, "secret", 100, &text, NULL, NULL) && !strcmp(text, SECRET),
	      "a change outside of the tree");
}

/* As if nothing had been numbered yet. */
static void restart_numbers(struct fs *s)
{
	broker.share->next_number = 1;
	broker.share->n_slots = 2;
	broker.share->n_free = 0;
	s->session.number = 0;
	s->session.hint = 0;
}

static void add_tree(const char *path, unsigned int flags)
{
	_cleanup_close_ int fd = openat(home_fd, path, O_PATH | O_CLOEXEC);
	uint32_t number;
	struct err e;

	check(fd >= 0 && !share_add(broker.share, fd, flags, &number, &e), path);
}

static void make_trees(void)
{
	uint32_t n;

	for (n = 1; n <= 3; n++)
		share_remove(broker.share, n);
	broker.share->last_number = 0;
	add_tree("tree/dir", 0);
	add_tree("tree/file", 0);
	add_tree("tree", SHARE_RECURSIVE | SHARE_READONLY);
}

/**
 * LLVMFuzzerTestOneInput() - serve the requests of one input
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t nodes, fds;
	struct fs *s;

	if (home_fd < 0)
		begin();
	make_tree();
	s = (struct fs *)dev;
	if (FUZZ_TREES)
		make_trees();
	restart_numbers(s);
	serve_all(s, data, size);
	session_end(s, &pool->worker[0]);
	fs_forget_all(&pool->worker[0], s->channel[0]);
	share_count(broker.share, &nodes, &fds);
	check(nodes == 1 && fds == 1, "nodes are left");
	check(atomic_load(&pool->n_files) == 0, "files are left");
	check_outside();
	return 0;
}
