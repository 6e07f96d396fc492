// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Tests the device-mapper driver of this host with a thin pool of our own on two loop
 * devices: what containerd's devmapper snapshotter and the devicemapper graph driver
 * make. A base is filled, a snapshot of it is taken, mounted, and tested as a root
 * file system. The pool's devices have names that begin with podvm-test; each is
 * written into the journal before it is made. Loop devices go with their last user.
 *
 * Source: Linux Documentation/admin-guide/device-mapper/thin-provisioning.rst
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "storage/source.h"
#include "storage/test.h"

#define DMSETUP "/usr/sbin/dmsetup"
#define MKFS "/usr/sbin/mkfs.ext4"

#define DATA_BYTES (256u << 20)
#define META_BYTES (8u << 20)
#define THIN_SECTORS ((128u << 20) / 512)

struct pool {
	struct test *t;
	int loop[2]; /* owned; metadata, data */
	char dev[2][32];
	char name[40], base[48], snap[48];
};

static int run(const char *path, const char *const *words, struct err *e)
{
	char *argv[12];
	size_t i;

	for (i = 0; i < ARRAY_LEN(argv) - 1 && words[i]; i++)
		argv[i] = (char *)(uintptr_t)words[i];
	argv[i] = NULL;
	return proc_run(path, argv, e);
}

/* @ret_dev: path of a loop device on a new sparse file. */
static int make_loop(struct pool *p, int i, const char *file, uint64_t bytes, struct err *e)
{
	_cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int fd =
		openat(p->t->work->fd, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct loop_config c = {.fd = (uint32_t)fd, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
	int nr, tries;

	if (control < 0)
		return err_set(e, EOPNOTSUPP, "/dev/loop-control: %s", strerror(errno));
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
		return err_sys(e, "%s", file);
	for (tries = 0; tries < 16; tries++) {
		nr = ioctl(control, LOOP_CTL_GET_FREE);
		snprintf(p->dev[i], sizeof(p->dev[i]), "/dev/loop%d", nr);
		fd_close(&p->loop[i]);
		p->loop[i] = nr < 0 ? -1 : open(p->dev[i], O_RDWR | O_CLOEXEC);
		if (p->loop[i] >= 0 && !ioctl(p->loop[i], LOOP_CONFIGURE, &c))
			return 0;
		if (p->loop[i] < 0 || errno != EBUSY)
			break;
	}
	return err_set(e, EOPNOTSUPP, "no loop device: %s", strerror(errno));
}

/* A device and its node, also where no udev runs. */
static int create(struct pool *p, const char *name, const char *table, struct err *e)
{
	const char *const words[] = {"dmsetup", "--noudevrules", "--noudevsync", "create",
				     name,	"--table",	 table,		 NULL};
	const char *const nodes[] = {"dmsetup", "mknodes", name, NULL};
	int rc = journal_add(p->t->work->journal, e, "dm", name, NULL);

	if (!rc)
		rc = run(DMSETUP, words, e);
	return rc ? rc : run(DMSETUP, nodes, e);
}

static int message(const struct pool *p, const char *text, struct err *e)
{
	const char *const words[] = {"dmsetup", "message", p->name, "0", text, NULL};

	return run(DMSETUP, words, e);
}

static int make_pool(struct pool *p, struct err *e)
{
	_cleanup_close_ int control = -1;
	char table[200];
	int rc;

	if (access(DMSETUP, X_OK) || access(MKFS, X_OK))
		return err_set(e, EOPNOTSUPP,
			       "dmsetup and mkfs.ext4 are needed: install dmsetup and e2fsprogs");
	control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return err_set(
			e, EOPNOTSUPP,
			"/dev/mapper/control: %s: this kernel or container has no device mapper",
			strerror(errno));
	rc = make_loop(p, 0, "pool.meta", META_BYTES, e);
	if (!rc)
		rc = make_loop(p, 1, "pool.data", DATA_BYTES, e);
	if (rc < 0)
		return rc;
	snprintf(table, sizeof(table), "0 %u thin-pool %s %s 128 0 1 skip_block_zeroing",
		 DATA_BYTES / 512, p->dev[0], p->dev[1]);
	rc = create(p, p->name, table, e);
	return rc < 0 ? err_set(e, EOPNOTSUPP, "no thin pool: does this kernel have dm-thin-pool?")
		      : 0;
}

static int fill(const char *point, struct err *e)
{
	_cleanup_close_ int dir = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int i, rc = 0;

	if (dir < 0)
		return err_sys(e, "%s", point);
	for (i = 0; !rc && i < 100; i++) {
		_cleanup_close_ int fd = -1;
		char name[32];

		snprintf(name, sizeof(name), "file-%d", i);
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		rc = fd < 0 ? err_sys(e, "%s", name) : write_full(fd, name, strlen(name), e);
	}
	return rc;
}

static int thin(struct pool *p, const char *name, int id, struct err *e)
{
	char table[200];

	snprintf(table, sizeof(table), "0 %u thin /dev/mapper/%s %d", THIN_SECTORS, p->name, id);
	return create(p, name, table, e);
}

/* A base with files in it, and a snapshot of it. */
static int make_snapshot(struct pool *p, const char *point, struct err *e)
{
	char dev[80];
	const char *const mkfs[] = {"mkfs.ext4", "-q", dev, NULL};
	int rc = message(p, "create_thin 0", e);

	snprintf(dev, sizeof(dev), "/dev/mapper/%s", p->base);
	if (!rc)
		rc = thin(p, p->base, 0, e);
	if (!rc)
		rc = run(MKFS, mkfs, e);
	if (!rc && mount(dev, point, "ext4", 0, NULL) < 0)
		rc = err_sys(e, "mount of %s", dev);
	if (rc < 0)
		return rc;
	rc = fill(point, e);
	if (umount2(point, UMOUNT_NOFOLLOW) < 0 && !rc)
		rc = err_sys(e, "umount");
	if (!rc)
		rc = message(p, "create_snap 1 0", e);
	return rc ? rc : thin(p, p->snap, 1, e);
}

static void test_snapshot(struct pool *p, const char *point)
{
	struct source *s = NULL;
	struct err e = {0};
	char dev[80];
	int rc = 0;

	snprintf(dev, sizeof(dev), "/dev/mapper/%s", p->snap);
	if (mount(dev, point, "ext4", 0, NULL) < 0)
		rc = err_sys(&e, "mount of %s", dev);
	report_result(p->t->report, rc, "mount of the snapshot", &e, "%s", dev);
	if (rc < 0)
		return;
	rc = source_probe(point, &s, &e);
	if (!rc && (s->kind != SOURCE_BLOCK || !strstr(s->device, "device mapper")))
		rc = err_set(&e, EILSEQ, "seen as %s on %s", source_kind_name(s->kind), s->device);
	report_result(p->t->report, rc, "found out", &e, "%s", rc ? "" : s->device);
	source_free(s);
	test_tree(p->t, "thin snapshot", point);
	umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW);
}

/**
 * test_devicemapper() - test this host's device mapper with a pool of our own
 */
void test_devicemapper(struct test *t)
{
	struct pool p = {.t = t, .loop = {-1, -1}};
	char point[PATH_MAX];
	struct err e = {0};
	int rc = test_dir(t, "thin", point, sizeof(point), &e);

	snprintf(p.name, sizeof(p.name), "podvm-test-%d", getpid());
	snprintf(p.base, sizeof(p.base), "%s-base", p.name);
	snprintf(p.snap, sizeof(p.snap), "%s-snap", p.name);
	if (!rc)
		rc = make_pool(&p, &e);
	report_result(t->report, rc, "thin pool", &e, "%s on %s and %s", p.name, p.dev[0],
		      p.dev[1]);
	if (!rc) {
		rc = make_snapshot(&p, point, &e);
		report_result(t->report, rc, "thin snapshot", &e,
			      "a base with files, and a snapshot of it");
	}
	if (!rc)
		test_snapshot(&p, point);
	fd_close(&p.loop[0]);
	fd_close(&p.loop[1]);
}
