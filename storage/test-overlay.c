// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Tests the overlay driver of this host end to end with layers of our own, so that no
 * engine and no image is needed. One stack has everything that overlayfs keeps in
 * plain layers; two more have what its options redirect_dir and metacopy leave behind.
 * Each is mounted by the kernel and then tested as any other root file system. Last, a
 * file of a layer is changed behind a mapped disk, which must not be given out.
 *
 * Source: Linux Documentation/filesystems/overlayfs.rst
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "storage/storage.h"
#include "storage/test.h"

/* Building goes on after a failure: the first one is told. */
struct build {
	int root; /* of the stack, borrowed */
	struct err *e;
	int rc;
};

static void note(struct build *b, int failed, const char *what)
{
	if (failed && !b->rc)
		b->rc = err_sys(b->e, "making %s", what);
}

static void dir(struct build *b, const char *path)
{
	note(b, mkdirat(b->root, path, 0755) && errno != EEXIST, path);
}

static void file(struct build *b, const char *path, const void *data, size_t len)
{
	_cleanup_close_ int fd =
		openat(b->root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	note(b, fd < 0 || (len && write(fd, data, len) != (ssize_t)len), path);
}

static void node(struct build *b, const char *path, mode_t mode, dev_t dev)
{
	note(b, mknodat(b->root, path, mode, dev), path);
}

static void attr(struct build *b, const char *path, const char *name, const void *value, size_t len)
{
	char full[128];

	snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", b->root, path);
	note(b, lsetxattr(full, name, value, len, 0), name);
}

static void kinds_of_files(struct build *b)
{
	static const unsigned char capability[20] = {1, 0, 0, 2, 0, 4};
	const struct timespec times[2] = {{1000000000, 123456789}, {1234567890, 987654321}};
	char name[256], text[5000];
	int fd;

	memset(name, 'n', 255);
	memcpy(name, "low/", 4);
	name[255] = 0;
	memset(text, 't', sizeof(text));
	file(b, name, "long", 4);
	file(b, "low/bytes \n\377\t\\", "x", 1);
	file(b, "low/empty", "", 0);
	file(b, "low/file", text, sizeof(text));
	note(b, linkat(b->root, "low/file", b->root, "low/hard", 0), "a hard link");
	note(b, utimensat(b->root, "low/file", times, 0), "times");
	note(b, symlinkat("file", b->root, "low/symlink"), "a symbolic link");
	text[4000] = 0;
	note(b, symlinkat(text, b->root, "low/long-symlink"), "a long symbolic link");
	file(b, "low/owned", "o", 1);
	note(b, fchownat(b->root, "low/owned", 70000, 4000000000u, 0), "an owner");
	note(b, fchmodat(b->root, "low/owned", 06755, 0), "a mode");
	attr(b, "low/owned", "security.capability", capability, sizeof(capability));
	attr(b, "low/file", "trusted.test", text, 2000);
	node(b, "low/fifo", S_IFIFO | 0600, 0);
	node(b, "low/socket", S_IFSOCK | 0755, 0);
	node(b, "low/device", S_IFCHR | 0666, makedev(1, 3));
	node(b, "low/block", S_IFBLK | 0660, makedev(259, 300000));
	file(b, "low/sparse", "begin", 5);
	fd = openat(b->root, "low/sparse", O_WRONLY | O_CLOEXEC);
	note(b, fd < 0 || pwrite(fd, "end", 3, 50 << 20) != 3, "a sparse file");
	fd_close(&fd);
	dir(b, "low/many");
	for (fd = 0; fd < 500; fd++) {
		snprintf(name, sizeof(name), "low/many/entry-%d", fd);
		file(b, name, name, (size_t)(fd % 24));
	}
}

/* What hides and changes names of the layers below. */
static void layers_above(struct build *b)
{
	file(b, "low/gone", "g", 1);
	dir(b, "low/gone-dir");
	file(b, "low/gone-dir/file", "g", 1);
	dir(b, "low/opaque");
	file(b, "low/opaque/hidden", "h", 1);
	dir(b, "low/turned");
	file(b, "low/turned/hidden", "h", 1);
	file(b, "low/turned-file", "f", 1);
	file(b, "low/again", "old", 3);
	node(b, "mid/gone", S_IFCHR, 0);
	node(b, "mid/gone-dir", S_IFCHR, 0);
	dir(b, "mid/opaque");
	attr(b, "mid/opaque", "trusted.overlay.opaque", "y", 1);
	file(b, "mid/opaque/seen", "s", 1);
	file(b, "mid/turned", "a file now", 10);
	dir(b, "mid/turned-file");
	file(b, "mid/turned-file/in", "i", 1);
	node(b, "mid/again", S_IFCHR, 0);
	file(b, "up/again", "new", 3);
}

/* For guests; layers without it are as good on the host. */
static void add_busybox(struct build *b)
{
	dir(b, "low/bin");
	if (!b->rc && !access(TEST_BUSYBOX, R_OK))
		b->rc = test_busybox(b->root, "low/bin/busybox", b->e);
}

/* Mounts low, mid and up of @stack at its m. */
static int mount_stack(const char *stack, const char *options, struct err *e)
{
	char text[4 * PATH_MAX + 200], point[PATH_MAX + 8];

	snprintf(point, sizeof(point), "%s/m", stack);
	snprintf(text, sizeof(text), "lowerdir=%s/mid:%s/low,upperdir=%s/up,workdir=%s/work%s%s",
		 stack, stack, stack, stack, options[0] ? "," : "", options);
	if (!mount("overlay", point, "overlay", 0, text))
		return 0;
	if (errno == ENODEV || errno == EPERM)
		return err_set(e, EOPNOTSUPP, "overlay cannot be mounted here: %s",
			       strerror(errno));
	if (errno == EINVAL)
		return err_set(e, EOPNOTSUPP,
			       "overlay with %s in %s: the kernel or that file system refuses it; "
			       "TMPDIR may name another place",
			       options[0] ? options : "an upper directory", stack);
	return err_sys(e, "mount of overlay");
}

static int begin(struct test *t, const char *name, char *ret_stack, size_t room, struct build *b,
		 struct err *e)
{
	static const char *const parts[] = {"low", "mid", "up", "work", "m"};
	size_t i;
	int rc = test_dir(t, name, ret_stack, room, e);

	*b = (struct build){.root = -1, .e = e};
	if (rc < 0)
		return rc;
	b->root = open(ret_stack, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->root < 0)
		return err_sys(e, "%s", ret_stack);
	for (i = 0; i < 5; i++)
		dir(b, parts[i]);
	return b->rc;
}

static void end(struct test *t, const char *name, struct build *b)
{
	char point[PATH_MAX + 64];

	fd_close(&b->root);
	snprintf(point, sizeof(point), "%s/%s/m", t->work->path, name);
	umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW);
	test_remove(t, name);
}

static void all_kinds(struct test *t)
{
	char stack[PATH_MAX], point[PATH_MAX + 8];
	struct err e = {0};
	struct build b;
	int rc = begin(t, "plain", stack, sizeof(stack), &b, &e);

	if (!rc) {
		kinds_of_files(&b);
		layers_above(&b);
		add_busybox(&b);
		rc = b.rc == -EOPNOTSUPP || b.rc == -EPERM
			     ? err_set(&e, EOPNOTSUPP,
				       "%s does not take what layers have: TMPDIR may name another "
				       "place",
				       stack)
			     : b.rc;
	}
	report_result(t->report, rc, "layers", &e, "made, with a file of each kind");
	if (!rc) {
		rc = mount_stack(stack, "", &e);
		report_result(t->report, rc, "overlay", &e, "the kernel merges them");
	}
	snprintf(point, sizeof(point), "%s/m", stack);
	if (!rc) {
		test_tree(t, "", point);
		if (t->vm)
			test_vm(t, "", point);
	}
	end(t, "plain", &b);
}

/* What a rename of a directory of a lower layer leaves in the upper one. */
static void redirects(struct test *t)
{
	char stack[PATH_MAX], point[PATH_MAX + 8];
	struct err e = {0};
	struct build b;
	int rc = begin(t, "redirect", stack, sizeof(stack), &b, &e);

	if (!rc) {
		dir(&b, "low/dir");
		dir(&b, "low/dir/sub");
		file(&b, "low/dir/sub/file", "content", 7);
		rc = b.rc;
	}
	if (!rc)
		rc = mount_stack(stack, "redirect_dir=on", &e);
	if (!rc && renameat(b.root, "m/dir", b.root, "m/renamed") < 0)
		rc = err_sys(&e, "rename");
	report_result(t->report, rc, "redirect_dir", &e, "a directory of a layer was renamed");
	snprintf(point, sizeof(point), "%s/m", stack);
	if (!rc)
		test_tree(t, "redirect_dir", point);
	end(t, "redirect", &b);
}

/* What a change of a mode leaves: metadata in the upper layer, content in the lower. */
static void metacopies(struct test *t)
{
	char stack[PATH_MAX], point[PATH_MAX + 8];
	struct err e = {0};
	struct build b;
	int rc = begin(t, "metacopy", stack, sizeof(stack), &b, &e);

	if (!rc) {
		file(&b, "low/file", "content", 7);
		rc = b.rc;
	}
	if (!rc)
		rc = mount_stack(stack, "metacopy=on,redirect_dir=on", &e);
	if (!rc && (fchmodat(b.root, "m/file", 0600, 0) < 0 ||
		    renameat(b.root, "m/file", b.root, "m/other") < 0))
		rc = err_sys(&e, "change of a file");
	report_result(t->report, rc, "metacopy", &e,
		      "mode and name of a layer's file were changed");
	snprintf(point, sizeof(point), "%s/m", stack);
	if (!rc)
		test_tree(t, "metacopy", point);
	end(t, "metacopy", &b);
}

static int open_after_change(struct build *b, const char *point, struct err *e)
{
	struct storage_request req = {.rootfs = point, .serial_stem = "test"};
	struct storage_map *m;
	struct err why = {0};
	int rc = storage_map_rootfs(&req, &m, e), fd;

	if (rc < 0)
		return rc;
	note(b, unlinkat(b->root, "low/file", 0), "the change");
	file(b, "low/file", "CONTENT", 7);
	rc = b->rc;
	if (!rc && !storage_map_open(m, 0, &fd, &why)) {
		close(fd);
		rc = err_set(e, EILSEQ, "a file was given out that is not the one that was mapped");
	}
	storage_map_free(m);
	return rc;
}

static void changes(struct test *t)
{
	char stack[PATH_MAX], point[PATH_MAX + 8];
	struct err e = {0};
	struct build b;
	int rc = begin(t, "changed", stack, sizeof(stack), &b, &e);

	if (!rc) {
		file(&b, "low/file", "content", 7);
		rc = b.rc ? b.rc : mount_stack(stack, "", &e);
	}
	snprintf(point, sizeof(point), "%s/m", stack);
	if (!rc)
		rc = open_after_change(&b, point, &e);
	report_result(t->report, rc, "changed layer", &e,
		      "a file that was replaced is not given out");
	end(t, "changed", &b);
}

/**
 * test_overlay() - test this host's overlay driver with layers of our own
 */
void test_overlay(struct test *t)
{
	all_kinds(t);
	redirects(t);
	metacopies(t);
	changes(t);
}
