// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A static program that uses disks and tells what it sees, for tests/e2e/66-disk.t. It
 * runs as the only program of a guest (/init), in a container, and on the host to look at
 * what a guest left behind. Its arguments are commands, with a "+" between them:
 *
 *   queues DISK               hardware queues of a disk of this machine
 *   verify DISK|FILE OPS SEED random writes, reads, flushes, zeroing and discards, by as many
 *                             processes as there are processors; each byte read is checked
 *   scatter DISK N            N single blocks through the page cache, then a flush: batches
 *   discard DISK              all of it
 *   grown DISK                waits until it is larger, and uses the new end
 *   errors DISK               reads and writes all of it, and counts failures
 *   files DISK                makes files on its ext4, "ACK n" after each file's fsync(); for ever
 *   check FOLDER LOG          every file that LOG acknowledges is there and whole
 *
 * A disk is a name in /dev. Each command prints one line; what fails is said in a line with
 * FAILED. As /init it powers the machine off at its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/mem.h"

#define BLOCK 4096u
#define BLOCKS_MAX 16u
#define FILES_PER_FOLDER 100u

/* A block whose content is not known: it was discarded. */
#define UNKNOWN UINT32_MAX

static int fail(const char *what, uint64_t where)
{
	printf("FAILED: %s at %" PRIu64 ": %s\n", what, where, strerror(errno));
	fflush(stdout);
	return 1;
}

static void path_of(const char *disk, char *path, size_t room)
{
	snprintf(path, room, "%s%s", *disk == '/' ? "" : "/dev/", disk);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* Content of block @n after its @generation-th write; zeros before the first. */
static void make_block(uint64_t *p, uint64_t n, uint32_t generation)
{
	size_t i;

	for (i = 0; i < BLOCK / sizeof(*p); i++)
		p[i] = generation ? mix(n << 32 ^ generation ^ (uint64_t)i << 20) : 0;
}

/* ---- verify ---- */

/**
 * struct area - the blocks of one process
 * @first, @n: of the disk
 * @generation: of each block
 * @buf:   BLOCKS_MAX blocks
 * @state: of the random numbers
 */
struct area {
	int fd;
	bool is_disk;
	uint64_t first, n;
	uint32_t *generation;
	uint64_t *buf;
	uint64_t state;
	uint64_t writes, reads, others;
};

static uint64_t draw(struct area *a, uint64_t below)
{
	a->state = mix(a->state + 0x9e3779b97f4a7c15ull);
	return a->state % below;
}

static int write_blocks(struct area *a, uint64_t at, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		uint32_t *g = &a->generation[at + i];

		*g = *g == UNKNOWN ? 1 : *g + 1;
		make_block(a->buf + (size_t)i * BLOCK / 8, a->first + at + i, *g);
	}
	a->writes++;
	if (pwrite(a->fd, a->buf, n * BLOCK, (off_t)((a->first + at) * BLOCK)) != n * BLOCK)
		return fail("write", a->first + at);
	return 0;
}

static int read_blocks(struct area *a, uint64_t at, unsigned int n)
{
	static uint64_t want[BLOCK / 8];
	unsigned int i;

	a->reads++;
	if (pread(a->fd, a->buf, n * BLOCK, (off_t)((a->first + at) * BLOCK)) != n * BLOCK)
		return fail("read", a->first + at);
	for (i = 0; i < n; i++) {
		if (a->generation[at + i] == UNKNOWN)
			continue;
		make_block(want, a->first + at + i, a->generation[at + i]);
		errno = 0;
		if (memcmp(want, a->buf + (size_t)i * BLOCK / 8, BLOCK))
			return fail("another content", a->first + at + i);
	}
	return 0;
}

static int clear_blocks(struct area *a, uint64_t at, unsigned int n, bool zeroes)
{
	uint64_t range[2] = { (a->first + at) * BLOCK, n * BLOCK };
	int mode = FALLOC_FL_KEEP_SIZE | (zeroes ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);
	unsigned int i;
	int rc;

	a->others++;
	rc = a->is_disk ? ioctl(a->fd, zeroes ? BLKZEROOUT : BLKDISCARD, range)
			: fallocate(a->fd, mode, (off_t)range[0], (off_t)range[1]);
	if (rc < 0)
		return fail(zeroes ? "zero" : "discard", a->first + at);
	for (i = 0; i < n; i++)
		a->generation[at + i] = zeroes ? 0 : UNKNOWN;
	return 0;
}

static int one_operation(struct area *a)
{
	unsigned int n = 1 + (unsigned int)draw(a, BLOCKS_MAX);
	uint64_t at = draw(a, a->n - n + 1), what = draw(a, 20);

	if (what < 10)
		return write_blocks(a, at, n);
	if (what < 16)
		return read_blocks(a, at, n);
	if (what < 18)
		return clear_blocks(a, at, n, what == 16);
	a->others++;
	return fdatasync(a->fd) < 0 ? fail("flush", 0) : 0;
}

static int run_area(struct area *a, unsigned int ops)
{
	uint64_t at;

	a->generation = calloc(a->n, sizeof(*a->generation));
	a->buf = mmap(NULL, BLOCKS_MAX * BLOCK, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!a->generation || a->buf == MAP_FAILED)
		return fail("memory", a->n);
	while (ops--)
		if (one_operation(a))
			return 1;
	for (at = 0; at < a->n; at += BLOCKS_MAX)
		if (read_blocks(a, at, a->n - at < BLOCKS_MAX ? (unsigned int)(a->n - at)
							      : BLOCKS_MAX))
			return 1;
	printf("VERIFIED %" PRIu64 " writes, %" PRIu64 " reads, %" PRIu64 " others\n", a->writes,
	       a->reads, a->others);
	fflush(stdout);
	return 0;
}

static int size_of(int fd, bool *ret_is_disk, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	*ret_is_disk = S_ISBLK(st.st_mode);
	*ret = (uint64_t)st.st_size;
	return *ret_is_disk ? ioctl(fd, BLKGETSIZE64, ret) : 0;
}

static int cmd_verify(char **arg)
{
	unsigned int n = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN), i;
	struct area a = { .state = strtoull(arg[2], NULL, 0) };
	uint64_t bytes;
	char path[256];
	int bad = 0, status;

	path_of(arg[0], path, sizeof(path));
	a.fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (a.fd < 0 || size_of(a.fd, &a.is_disk, &bytes) < 0)
		return fail(path, 0);
	a.n = bytes / BLOCK / n;
	for (i = 0; i < n; i++) {
		a.first = i * a.n;
		a.state += i;
		if (!fork())
			_exit(run_area(&a, (unsigned int)atoi(arg[1])));
	}
	while (n--) {
		if (wait(&status) < 0 || status)
			bad = 1;
	}
	close(a.fd);
	return bad;
}

/* ---- others ---- */

static int cmd_queues(char **arg)
{
	char path[256];
	int n = 0;

	do
		snprintf(path, sizeof(path), "/sys/block/%s/mq/%d", arg[0], n);
	while (!access(path, F_OK) && ++n);
	printf("QUEUES %d\n", n);
	return !n;
}

static int open_disk(const char *disk, uint64_t *ret_bytes)
{
	bool is_disk;
	char path[256];
	int fd;

	path_of(disk, path, sizeof(path));
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || size_of(fd, &is_disk, ret_bytes) < 0) {
		fail(path, 0);
		return -1;
	}
	return fd;
}

static int cmd_discard(char **arg)
{
	uint64_t range[2] = { 0 };
	int fd = open_disk(arg[0], &range[1]);

	if (fd < 0 || ioctl(fd, BLKDISCARD, range) < 0)
		return fail("discard", range[1]);
	close(fd);
	printf("DISCARDED %" PRIu64 "\n", range[1]);
	return 0;
}

static _Alignas(4096) uint64_t block[BLOCK / 8];

static int cmd_scatter(char **arg)
{
	unsigned int n = (unsigned int)atoi(arg[1]), i;
	char path[256];
	int fd;

	path_of(arg[0], path, sizeof(path));
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return fail(path, 0);
	for (i = 0; i < n; i++) {
		make_block(block, i, 1);
		if (pwrite(fd, block, BLOCK, (off_t)i * 2 * BLOCK) != BLOCK)
			return fail("write", i);
	}
	if (fdatasync(fd) < 0)
		return fail("flush", 0);
	close(fd);
	printf("SCATTERED %u\n", n);
	return 0;
}

static int cmd_grown(char **arg)
{
	uint64_t before, now;
	int fd = open_disk(arg[0], &before);
	bool is_disk;

	if (fd < 0)
		return 1;
	printf("SMALL %" PRIu64 "\n", before);
	fflush(stdout);
	do {
		usleep(20000);
		if (size_of(fd, &is_disk, &now) < 0)
			return fail("size", 0);
	} while (now == before);
	make_block(block, 7, 7);
	if (pwrite(fd, block, BLOCK, (off_t)(now - BLOCK)) != BLOCK || fdatasync(fd) < 0)
		return fail("write", now);
	printf("GROWN %" PRIu64 "\n", now);
	close(fd);
	return 0;
}

static int cmd_errors(char **arg)
{
	uint64_t bytes, at, reads = 0, writes = 0;
	int fd = open_disk(arg[0], &bytes), code = 0;

	if (fd < 0)
		return 1;
	for (at = 0; at + BLOCK <= bytes; at += 65536) {
		if (pwrite(fd, block, BLOCK, (off_t)at) != BLOCK) {
			code = errno;
			writes++;
		}
		if (pread(fd, block, BLOCK, (off_t)at) != BLOCK) {
			code = errno;
			reads++;
		}
	}
	printf("ERRORS %" PRIu64 " reads, %" PRIu64 " writes of %" PRIu64 ": %s\n", reads, writes,
	       bytes / 65536, code ? strerror(code) : "none");
	close(fd);
	return 0;
}

/* ---- files ---- */

static size_t file_bytes(unsigned int n)
{
	return 1 + mix(n) % 40000;
}

static void file_path(const char *folder, unsigned int n, char *path, size_t room)
{
	snprintf(path, room, "%s/%u/%u", folder, n / FILES_PER_FOLDER, n);
}

static void make_content(uint8_t *p, unsigned int n)
{
	size_t i, bytes = file_bytes(n);

	for (i = 0; i < bytes; i++)
		p[i] = (uint8_t)mix((uint64_t)n << 32 | i / 8);
}

static int make_file(const char *folder, unsigned int n)
{
	static uint8_t content[65536];
	char path[256];
	ssize_t bytes = (ssize_t)file_bytes(n);
	int fd;

	if (n % FILES_PER_FOLDER == 0) {
		snprintf(path, sizeof(path), "%s/%u", folder, n / FILES_PER_FOLDER);
		if (mkdir(path, 0755) < 0)
			return fail(path, n);
	}
	file_path(folder, n, path, sizeof(path));
	make_content(content, n);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, content, (size_t)bytes) != bytes || fsync(fd) < 0)
		return fail(path, n);
	close(fd);
	printf("ACK %u\n", n);
	fflush(stdout);
	return 0;
}

static int cmd_files(char **arg)
{
	char path[256];
	unsigned int n;

	path_of(arg[0], path, sizeof(path));
	if (mkdir("/disk", 0755) < 0 || mount(path, "/disk", "ext4", 0, NULL) < 0)
		return fail(path, 0);
	for (n = 0;; n++)
		if (make_file("/disk", n))
			return 1;
}

static int check_file(const char *folder, unsigned int n)
{
	static uint8_t content[65536], want[65536];
	ssize_t bytes = (ssize_t)file_bytes(n);
	char path[256];
	int fd;

	file_path(folder, n, path, sizeof(path));
	make_content(want, n);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(path, n);
	if (read(fd, content, sizeof(content)) != bytes || memcmp(content, want, (size_t)bytes))
		return fail("another content", n);
	close(fd);
	return 0;
}

static int cmd_check(char **arg)
{
	unsigned int n, acked = 0;
	FILE *f = fopen(arg[1], "re");
	char line[256];

	if (!f)
		return fail(arg[1], 0);
	while (fgets(line, sizeof(line), f)) {
		/* The last line may have lost its end. */
		if (sscanf(line, "ACK %u", &n) != 1 || !strchr(line, '\n'))
			continue;
		if (n != acked++)
			return fail("lost line", n);
		if (check_file(arg[0], n))
			return 1;
	}
	fclose(f);
	printf("CHECKED %u files\n", acked);
	return !acked;
}

/* ---- main ---- */

static const struct command {
	const char *name;
	int n_args;
	int (*run)(char **arg);
} commands[] = {
	{ "queues", 1, cmd_queues },   { "verify", 3, cmd_verify }, { "discard", 1, cmd_discard },
	{ "scatter", 2, cmd_scatter }, { "grown", 1, cmd_grown },     { "errors", 1, cmd_errors }, { "files", 1, cmd_files },
	{ "check", 2, cmd_check },
};

static int run(char **arg, int n)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(commands); i++)
		if (n == commands[i].n_args + 1 && !strcmp(arg[0], commands[i].name))
			return commands[i].run(arg + 1);
	printf("FAILED: no command %s with %d arguments\n", n ? arg[0] : "", n - 1);
	return 1;
}

static int run_all(char **arg, int n)
{
	int i, from = 0, rc = 0;

	for (i = 0; i <= n && !rc; i++) {
		if (i < n && strcmp(arg[i], "+"))
			continue;
		rc = run(arg + from, i - from);
		fflush(stdout);
		from = i + 1;
	}
	return rc;
}

int main(int argc, char **argv)
{
	int rc;

	if (getpid() == 1 && !access("/init", F_OK)) {
		mount("dev", "/dev", "devtmpfs", 0, NULL);
		mkdir("/proc", 0755);
		mkdir("/sys", 0755);
		mount("proc", "/proc", "proc", 0, NULL);
		mount("sys", "/sys", "sysfs", 0, NULL);
		rc = run_all(argv + 1, argc - 1);
		printf("END %d\n", rc);
		fflush(stdout);
		sync();
		reboot(RB_POWER_OFF);
	}
	return run_all(argv + 1, argc - 1);
}
