// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * tree-list DIR - prints a line for each entry below a directory, in an order that does
 * not depend on the file system: name, type and mode, owner, size, time of modification,
 * device, target, which name before it is the same file, attributes with a hash of
 * their values, and a hash of the content. Two trees are the same if their lists are.
 *
 * It is static and needs nothing; so it runs in a container whose root file system is
 * the tree. Not listed are DIR itself and the names there that a container's mounts
 * are on or that are there to run it; directories of other file systems are not
 * entered. Of files above 1 MiB, the ends and 64 pieces between are read.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define WHOLE_BYTES (1 << 20)
#define PIECE_BYTES 4096
#define LIST_BYTES 65536

static const char *const skipped[] = { "proc", "sys", "dev", "run", "tmp", "tree-list" };

/* Files of several names that were listed. */
struct link {
	ino_t ino;
	dev_t dev;
	char *path;
};

static struct link *links;
static size_t n_links;
static dev_t root_dev;

static void print_text(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (s[i] > ' ' && s[i] < 0x7f && s[i] != '\\')
			putchar(s[i]);
		else
			printf("\\x%02x", (unsigned char)s[i]);
}

/* FNV-1a */
static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_xattrs(const char *path)
{
	static char list[LIST_BYTES], value[LIST_BYTES];
	ssize_t len = llistxattr(path, list, sizeof(list)), n;
	char *names[1024], *s;
	size_t i, count = 0;

	for (s = list; len > 0 && s < list + len && count < 1024; s += strlen(s) + 1)
		names[count++] = s;
	qsort(names, count, sizeof(*names), by_text);
	for (i = 0; i < count; i++) {
		n = lgetxattr(path, names[i], value, sizeof(value));
		putchar(' ');
		print_text(names[i], strlen(names[i]));
		printf("=%zd:%016llx", n, (unsigned long long)hash(0, value, n > 0 ? (size_t)n : 0));
	}
}

static void print_content(const char *path, off_t size)
{
	static char buf[WHOLE_BYTES];
	int fd = open(path, O_RDONLY | O_NOATIME | O_CLOEXEC);
	uint64_t h = 0;
	ssize_t n;
	int i;

	if (fd < 0) {
		printf(" open:%s", strerror(errno));
		return;
	}
	if (size <= WHOLE_BYTES) {
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			h = hash(h, buf, (size_t)n);
	} else {
		for (i = 0; i <= 65; i++) {
			n = pread(fd, buf, PIECE_BYTES, (size - PIECE_BYTES) / 65 * i);
			h = hash(h, buf, n > 0 ? (size_t)n : 0);
		}
		n = pread(fd, buf, PIECE_BYTES, size - 100);
		h = hash(h, buf, n > 0 ? (size_t)n : 0);
	}
	close(fd);
	printf(" content:%016llx", (unsigned long long)h);
}

static void print_link(const char *path, const struct stat *st)
{
	size_t i;

	for (i = 0; i < n_links; i++)
		if (links[i].ino == st->st_ino && links[i].dev == st->st_dev) {
			printf(" is:");
			print_text(links[i].path, strlen(links[i].path));
			return;
		}
	links = realloc(links, (n_links + 1) * sizeof(*links));
	if (!links)
		exit(1);
	links[n_links++] = (struct link){ st->st_ino, st->st_dev, strdup(path) };
}

static void print_entry(const char *path, const struct stat *st)
{
	char target[PATH_MAX + 1];
	ssize_t n;

	print_text(path, strlen(path));
	printf(" %o %u:%u %lld.%09ld", st->st_mode, st->st_uid, st->st_gid,
	       (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	if (!S_ISDIR(st->st_mode))
		printf(" %lld", (long long)st->st_size);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		printf(" dev:%llx", (unsigned long long)st->st_rdev);
	if (S_ISLNK(st->st_mode)) {
		n = readlink(path, target, sizeof(target));
		printf(" ->");
		print_text(target, n > 0 ? (size_t)n : 0);
	}
	if (!S_ISDIR(st->st_mode))
		print_link(path, st);
	print_xattrs(path);
	if (S_ISREG(st->st_mode))
		print_content(path, st->st_size);
	putchar('\n');
}

static bool is_skipped(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(skipped) / sizeof(*skipped); i++)
		if (!strcmp(name, skipped[i]))
			return true;
	return false;
}

static void list(const char *path, bool top)
{
	DIR *dir = opendir(path);
	char **names = NULL, child[PATH_MAX];
	size_t n = 0, i;
	struct dirent *d;
	struct stat st;

	if (!dir) {
		printf("opendir:%s\n", strerror(errno));
		return;
	}
	while ((d = readdir(dir))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") ||
		    (top && is_skipped(d->d_name)))
			continue;
		names = realloc(names, (n + 1) * sizeof(*names));
		if (!names)
			exit(1);
		names[n++] = strdup(d->d_name);
	}
	closedir(dir);
	if (n)
		qsort(names, n, sizeof(*names), by_text);
	for (i = 0; i < n; free(names[i++])) {
		snprintf(child, sizeof(child), "%s/%s", path, names[i]);
		/* overlayfs may list a whiteout, which is not there. */
		if (lstat(child, &st) < 0)
			continue;
		print_entry(child, &st);
		if (S_ISDIR(st.st_mode) && st.st_dev == root_dev)
			list(child, false);
	}
	free(names);
}

int main(int argc, char **argv)
{
	struct stat st;

	if (argc != 2 || chdir(argv[1]) < 0 || stat(".", &st) < 0) {
		fprintf(stderr, "usage: tree-list DIR\n");
		return 1;
	}
	root_dev = st.st_dev;
	list(".", true);
	return fflush(stdout) ? 1 : 0;
}
