// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What is tested of one root file system on the host: how it is mapped, that nothing
 * is copied, that every file behind the disk opens, and that the kernel's EROFS shows
 * the tree that its overlayfs shows. For that the disk is exported into the working
 * directory, and mounted from there; it needs the space of the contents.
 *
 * A check whose ground is missing is "not possible" with the reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/disktab.h"
#include "lib/fd.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "storage/compare.h"
#include "storage/disk.h"
#include "storage/export.h"
#include "storage/source.h"
#include "storage/stop.h"
#include "storage/test.h"

#define FSCK "/usr/bin/fsck.erofs"

/* How a row is called: what is tested, and the check. */
struct name {
	char text[48];
};

static struct name name(const char *prefix, const char *check)
{
	struct name n;

	snprintf(n.text, sizeof(n.text), "%s%s%s", prefix, prefix[0] ? ": " : "", check);
	return n;
}

/**
 * test_dir() - make a directory in the working directory
 */
int test_dir(const struct test *t, const char *dir, char *ret_path, size_t room, struct err *e)
{
	if (snprintf(ret_path, room, "%s/%s", t->work->path, dir) >= (int)room)
		return err_set(e, ENAMETOOLONG, "%s: path too long", dir);
	return dir_make(ret_path, 0755, e);
}

/**
 * test_remove() - remove what is called so in the working directory
 */
void test_remove(const struct test *t, const char *dir)
{
	struct err e;

	dir_remove(t->work->fd, dir, &e);
}

/* By a loop device, which the kernel lets go of with its last user. */
static int mount_loop(const char *image, const char *point, struct err *e)
{
	_cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int file = open(image, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int loop = -1;
	struct loop_config c = {.fd = (uint32_t)file,
				.info = {.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR}};
	char path[32];
	int nr, tries;

	if (control < 0)
		return err_set(e, EOPNOTSUPP,
			       "/dev/loop-control: %s: a loop device is needed to mount the image",
			       strerror(errno));
	if (file < 0)
		return err_sys(e, "%s", image);
	/* Another process may take the device that was free. */
	for (tries = 0; tries < 16; tries++) {
		nr = ioctl(control, LOOP_CTL_GET_FREE);
		if (nr < 0)
			return err_set(e, EOPNOTSUPP, "no free loop device: %s", strerror(errno));
		snprintf(path, sizeof(path), "/dev/loop%d", nr);
		fd_close(&loop);
		loop = open(path, O_RDONLY | O_CLOEXEC);
		if (loop >= 0 && !ioctl(loop, LOOP_CONFIGURE, &c))
			return mount(path, point, "erofs", MS_RDONLY, NULL) < 0
				       ? err_sys(e, "mount of %s", path)
				       : 0;
		if (loop >= 0 && errno != EBUSY)
			break;
	}
	return err_set(e, EOPNOTSUPP, "%s: %s", path, strerror(errno));
}

/**
 * test_mount_image() - mount an EROFS image, from the file itself (Linux 6.12) or by a
 * loop device
 *
 * Return: 0; -EOPNOTSUPP where this kernel or container cannot; minus errno
 */
int test_mount_image(const char *image, const char *point, struct err *e)
{
	if (!mount(image, point, "erofs", MS_RDONLY, NULL))
		return 0;
	if (errno == ENODEV)
		return err_set(e, EOPNOTSUPP, "this kernel has no EROFS");
	if (errno == EPERM)
		return err_set(e, EOPNOTSUPP, "mounting is not permitted here");
	return mount_loop(image, point, e);
}

/* The table holds metadata alone: header, extents, blocks of metadata. */
static void check_copied(struct test *t, const char *prefix, const struct storage_map *m)
{
	const struct storage_stats *s = storage_map_stats(m);
	const struct storage_disk *d;
	struct stat st = {0};
	uint64_t most;

	storage_map_disks(m, &d);
	most = sizeof(struct disktab_head) + s->extents * sizeof(struct disktab_extent) +
	       DISKTAB_BLOCK_BYTES + s->meta_bytes;
	fstat(d->fd, &st);
	if ((uint64_t)st.st_size > most)
		report_add(t->report, VERDICT_FAIL, name(prefix, "nothing copied").text,
			   "the table has %lld bytes, its metadata accounts for %llu",
			   (long long)st.st_size, (unsigned long long)most);
	else
		report_add(t->report, VERDICT_PASS, name(prefix, "nothing copied").text,
			   "0 of %llu bytes of content; table and metadata are %lld bytes",
			   (unsigned long long)s->data_bytes, (long long)st.st_size);
}

static void check_files(struct test *t, const char *prefix, const struct storage_map *m)
{
	uint64_t n = storage_map_stats(m)->files, i;
	struct err e = {0};
	int rc = 0, fd;

	for (i = 0; !rc && i < n; i++) {
		rc = storage_map_open(m, (uint32_t)i, &fd, &e);
		if (!rc)
			close(fd);
		if (!rc)
			rc = stop_check(&e);
	}
	report_result(t->report, rc, name(prefix, "files open").text, &e,
		      "%llu files behind the disk, by number", (unsigned long long)n);
}

static int export_to(const struct storage_map *m, const char *image, struct err *e)
{
	_cleanup_close_ int fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	const struct storage_stats *s = storage_map_stats(m);
	struct export x = {.map = m, .out_fd = fd};
	struct progress p;
	struct statvfs v;
	int rc;

	if (fd < 0)
		return err_sys(e, "%s", image);
	if (!fstatvfs(fd, &v) && v.f_bavail * v.f_frsize < s->data_bytes + s->meta_bytes)
		return err_set(e, EOPNOTSUPP,
			       "the image may need %llu MiB in %s: TMPDIR may name another place",
			       (unsigned long long)(s->data_bytes + s->meta_bytes) >> 20, image);
	progress_begin(&p, "export", "bytes", s->data_bytes + s->meta_bytes);
	x.progress = &p;
	rc = export_disk(&x, e);
	progress_end(&p);
	return rc;
}

static void check_fsck(struct test *t, const char *prefix, const char *image)
{
	char *const argv[] = {(char *)(uintptr_t) "fsck.erofs", (char *)(uintptr_t)image, NULL};
	struct err e = {0};

	if (access(FSCK, X_OK))
		report_add(t->report, VERDICT_NOT_POSSIBLE, name(prefix, "fsck.erofs").text,
			   FSCK " is not installed: install erofs-utils");
	else
		report_result(t->report, proc_run(FSCK, argv, &e), name(prefix, "fsck.erofs").text,
			      &e, "accepts the image");
}

static void compare(struct test *t, const char *prefix, const char *path, const char *point,
		    uint64_t names)
{
	_cleanup_close_ int a = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int b = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct progress p;
	struct compare c = {.progress = &p};
	struct err e = {0};
	int rc;

	if (a < 0 || b < 0) {
		report_add(t->report, VERDICT_FAIL, name(prefix, "same tree").text, "%s",
			   strerror(errno));
		return;
	}
	progress_begin(&p, "compare", "names", names);
	rc = compare_trees(&c, a, b, &e);
	progress_end(&p);
	if (!rc && c.differ)
		report_add(t->report, VERDICT_FAIL, name(prefix, "same tree").text,
			   "%llu of %llu entries differ; the first: %s",
			   (unsigned long long)c.differ, (unsigned long long)c.entries, c.first);
	else
		report_result(t->report, rc, name(prefix, "same tree").text, &e,
			      "%llu entries, %llu bytes of content", (unsigned long long)c.entries,
			      (unsigned long long)c.bytes);
}

static void check_image(struct test *t, const char *prefix, const char *path,
			const struct storage_map *m)
{
	char image[PATH_MAX + 8], point[PATH_MAX];
	struct err e = {0};
	int rc = test_dir(t, "disk", point, sizeof(point), &e);

	snprintf(image, sizeof(image), "%s/image", t->work->path);
	if (!rc)
		rc = export_to(m, image, &e);
	report_result(t->report, rc, name(prefix, "image").text, &e, "exported");
	if (!rc) {
		check_fsck(t, prefix, image);
		rc = test_mount_image(image, point, &e);
		report_result(t->report, rc, name(prefix, "mount").text, &e,
			      "the kernel mounts it as EROFS");
	}
	if (!rc) {
		compare(t, prefix, path, point, storage_map_stats(m)->names);
		umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
	test_remove(t, "image");
	test_remove(t, "disk");
}

/**
 * test_tree() - test one root file system
 * @prefix: of the names of its rows; may be empty
 * @path:   the root of its mount
 */
void test_tree(struct test *t, const char *prefix, const char *path)
{
	struct storage_request req = {.rootfs = path, .serial_stem = "test"};
	const struct storage_stats *s;
	const struct storage_disk *d;
	struct storage_map *m = NULL;
	struct source *src = NULL;
	struct err e = {0};
	int rc = source_probe(path, &src, &e);

	report_result(t->report, rc, name(prefix, "inspect").text, &e, "%s: %s on %s",
		      rc ? "" : source_kind_name(src->kind), rc ? "" : src->fstype,
		      rc ? "" : src->device);
	if (!rc && src->kind == SOURCE_BLOCK) {
		rc = source_check(src, &e);
		report_result(t->report, rc, name(prefix, "hand-over").text, &e,
			      "nothing is in the way of it");
		report_add(t->report, VERDICT_NOT_POSSIBLE, name(prefix, "same tree").text,
			   "a block device is handed over as it is: there is no second tree to compare");
		rc = -EOPNOTSUPP;
	}
	source_free(src);
	if (rc < 0)
		return;
	rc = storage_map_rootfs(&req, &m, &e);
	if (rc < 0) {
		report_result(t->report, rc, name(prefix, "map").text, &e, " ");
		return;
	}
	s = storage_map_stats(m);
	storage_map_disks(m, &d);
	report_add(t->report, VERDICT_PASS, name(prefix, "map").text,
		   "%llu names of %llu layers in %llu us", (unsigned long long)s->names,
		   (unsigned long long)s->layers, (unsigned long long)s->total_us);
	if (d->kind == STORAGE_DISK_SYNTHETIC) {
		check_copied(t, prefix, m);
		check_files(t, prefix, m);
		check_image(t, prefix, path, m);
	} else {
		report_add(t->report, VERDICT_NOT_POSSIBLE, name(prefix, "same tree").text,
			   "a block device is handed over as it is: there is no second tree to "
			   "compare");
	}
	storage_map_free(m);
}
