// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Who keeps a device or its mount busy: found through /proc, where every process
 * shows its open files, working directory and root. Used for the words of a
 * refusal, and to find openers of a device that the kernel does not count for us.
 * Processes come and go meanwhile; that is fine for both.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/blockdev.h"

/* A sentence names so many; there may be more. */
#define NAMED_MAX 3

/* Mount namespaces that are looked into. */
#define NAMESPACES_MAX 256
#define MOUNTINFO_BYTES_MAX (16u << 20)

struct search {
	dev_t dev;
	bool mounted;
	unsigned int found;
	struct strbuf *text;	/* NULL: only count */
};

/* Whether a file is the device itself, or lies in the file system on it. */
static bool hits(const struct search *s, int dir, const char *name)
{
	struct statx x;

	/* Without a word to a server that may not answer. */
	if (statx(dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &x) < 0)
		return false;
	if (s->mounted)
		return makedev(x.stx_dev_major, x.stx_dev_minor) == s->dev;
	return S_ISBLK(x.stx_mode) && makedev(x.stx_rdev_major, x.stx_rdev_minor) == s->dev;
}

static bool has_file(const struct search *s, int proc)
{
	_cleanup_close_ int fd = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *ent;
	bool found = false;
	DIR *list;

	if (s->mounted && (hits(s, proc, "cwd") || hits(s, proc, "root") || hits(s, proc, "exe")))
		return true;
	list = fd < 0 ? NULL : fdopendir(fd);
	if (!list)
		return false;
	fd_steal(&fd);
	while (!found && (ent = readdir(list)))
		found = isdigit((unsigned char)ent->d_name[0]) &&
			hits(s, dirfd(list), ent->d_name);
	closedir(list);
	return found;
}

static void add_name(struct search *s, const char *pid, int proc)
{
	_cleanup_free_ char *name = NULL;
	char shown[80];

	if (!s->text || s->found > NAMED_MAX)
		return;
	if (s->found == NAMED_MAX) {
		strbuf_add(s->text, ", …");
		return;
	}
	if (file_read(proc, "comm", 256, &name, NULL, NULL) < 0)
		return;
	name[strcspn(name, "\n")] = 0;
	str_quote(shown, sizeof(shown), name);
	strbuf_add(s->text, "%s%s (pid %s)", s->text->len ? ", " : "", shown, pid);
}

static void search(struct search *s)
{
	DIR *all = opendir("/proc");
	struct dirent *ent;

	while (all && (ent = readdir(all))) {
		_cleanup_close_ int proc = -1;

		if (!isdigit((unsigned char)ent->d_name[0]) ||
		    strtol(ent->d_name, NULL, 10) == getpid())
			continue;
		proc = openat(dirfd(all), ent->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (proc < 0 || !has_file(s, proc))
			continue;
		add_name(s, ent->d_name, proc);
		s->found++;
	}
	if (all)
		closedir(all);
}

/**
 * holders_name() - processes that keep a device busy, but for this one
 * @mounted: look for files of the file system on it, not for the device
 * @dst:     such as: sh (pid 12), …; empty when none is found
 */
void holders_name(uint32_t major, uint32_t minor, bool mounted, char *dst, size_t room)
{
	struct strbuf text = { 0 };
	struct search s = { .dev = makedev(major, minor), .mounted = mounted, .text = &text };

	search(&s);
	snprintf(dst, room, "%s", text.text ? text.text : "");
	strbuf_done(&text);
}

/**
 * holders_count() - processes that have a device open, but for this one
 */
unsigned int holders_count(uint32_t major, uint32_t minor)
{
	struct search s = { .dev = makedev(major, minor) };

	search(&s);
	return s.found;
}

/* Whether a process sees a mount of the device in its own mount namespace. */
static bool sees_mount(int proc, const char *number)
{
	_cleanup_free_ char *text = NULL;

	return !file_read(proc, "mountinfo", MOUNTINFO_BYTES_MAX, &text, NULL, NULL) &&
	       strstr(text, number);
}

/**
 * holders_mount() - a process of another mount namespace that has a device mounted
 * @dst: such as: sh (pid 12); empty when none is found
 */
void holders_mount(uint32_t major, uint32_t minor, char *dst, size_t room)
{
	uint64_t seen[NAMESPACES_MAX];
	struct strbuf text = { 0 };
	struct search s = { .text = &text };
	DIR *all = opendir("/proc");
	struct dirent *ent;
	char number[32];
	size_t n = 0, i;

	snprintf(number, sizeof(number), " %u:%u ", major, minor);
	while (all && !text.len && n < NAMESPACES_MAX && (ent = readdir(all))) {
		_cleanup_close_ int proc = -1;
		struct stat ns;

		if (!isdigit((unsigned char)ent->d_name[0]))
			continue;
		proc = openat(dirfd(all), ent->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (proc < 0 || fstatat(proc, "ns/mnt", &ns, 0) < 0)
			continue;
		for (i = 0; i < n && seen[i] != ns.st_ino; i++)
			;
		if (i < n)
			continue;
		seen[n++] = ns.st_ino;
		if (sees_mount(proc, number))
			add_name(&s, ent->d_name, proc);
	}
	if (all)
		closedir(all);
	snprintf(dst, room, "%s", text.text ? text.text : "");
	strbuf_done(&text);
}
