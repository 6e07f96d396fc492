// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Bind mounts on the supervisor's side (runtime/supervisor/volume.c): sources of every
 * kind, with a pod whose share is served and whose machine there is none of; what a
 * container had is gone with it, and after a failure what was made is in its list.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/supervisor/supervisor.h"
/* By itself: all else of the supervisor's would meet the monitor's names. */
#include "runtime/supervisor/volume.c"
#include "storage/share.h"
#include "tests/kit/fault.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"

Suite *runtime_volume_suite(void);

static struct pod pod;
static struct container ctr;
static struct spec spec;
static Podvm__ContainerCreate create;
static Podvm__Rootfs rootfs;
static Podvm__Mount mount_of[4], *mounts[4];
static char bundle[PATH_MAX];

static void setup(void)
{
	struct share_config c = { .nodes_max = 100, .fds_max = 100 };
	int end, i;
	struct err e = { 0 };

	kit_storage_enter();
	ck_assert_ptr_nonnull(getcwd(bundle, sizeof(bundle)));
	kit_dirs("dir/sub");
	kit_dirs("mem");
	kit_file("file", "x", 1);
	ck_assert_int_eq(symlink("dir", "link"), 0);
	ck_assert_int_eq(symlink("nowhere", "dangling"), 0);
	ck_assert_int_eq(symlink("loop", "loop"), 0);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	ck_assert_int_eq(mknod("disk", S_IFBLK | 0600, makedev(8, 0)), 0);
	ck_assert_int_eq(mknod("zero", S_IFCHR | 0600, makedev(1, 5)), 0);
	ck_assert_int_eq(mknod("odd", S_IFCHR | 0600, makedev(10, 200)), 0);
	ck_assert_int_eq(mount("m", "mem", "tmpfs", MS_NOEXEC, "size=64k,mode=1777"), 0);
	memset(&pod, 0, sizeof(pod));
	memset(&ctr, 0, sizeof(ctr));
	ck_assert_msg(!share_broker_start(&pod.share, -1, &c, 1, &end, &e), "%s", e.text);
	close(end);
	podvm__container_create__init(&create);
	podvm__rootfs__init(&rootfs);
	create.rootfs = &rootfs;
	spec.create = &create;
	create.mounts = mounts;
	create.n_mounts = 1;
	for (i = 0; i < (int)ARRAY_LEN(mounts); i++) {
		mounts[i] = &mount_of[i];
		podvm__mount__init(mounts[i]);
		mounts[i]->flags = MS_BIND;
		mounts[i]->destination = strdup("/x");
		mounts[i]->source = strdup("dir");
	}
}

static void teardown(void)
{
	size_t i;

	volumes_remove(&pod, &ctr);
	share_broker_stop(&pod.share);
	for (i = 0; i < ARRAY_LEN(mounts); i++) {
		free(mounts[i]->destination);
		free(mounts[i]->source);
		if (mounts[i]->data != protobuf_c_empty_string)
			free(mounts[i]->data);
	}
	ck_assert_int_eq(umount("mem"), 0);
	kit_storage_leave();
}

void pod_stamp(struct pod *p, uint64_t ns, const char *fmt, ...)
{
	va_list ap;

	(void)ns;
	va_start(ap, fmt);
	vsnprintf(p->stamps[0].what, sizeof(p->stamps[0].what), fmt, ap);
	va_end(ap);
}

static void set(char **at, const char *text)
{
	free(*at);
	*at = strdup(text);
}

static int add(struct err *e)
{
	return volumes_add(&pod, &ctr, &spec, bundle, e);
}

static const struct {
	const char *source, *destination;
	uint64_t flags;
	int rc;
	const char *says; /* the error, or the agent's source */
	uint64_t more;	  /* flags that the mount has besides */
} sources[] = {
	{ "dir", "/x", MS_BIND, 0, "share:1", 0 },
	{ "./dir/../dir", "/x", MS_BIND | MS_REC, 0, "share:1", 0 },
	{ "link", "/x", MS_BIND | MS_RDONLY, 0, "share:1", 0 },
	{ "file", "/x", MS_BIND, 0, "share:1", 0 },
	{ "mem", "/x", MS_BIND, 0, "share:1", MS_NOEXEC },
	{ "mem", "/dev/shm", MS_BIND | MS_REC, 0, "memory:", 0 },
	{ "dir", "/dev/shm", MS_BIND, 0, "share:1", 0 },
	{ "zero", "/x", MS_BIND, 0, "/dev/zero", 0 },
	{ "nowhere", "/x", MS_BIND, -ENOENT, "/mounts/0/source: \"nowhere\": cannot be opened", 0 },
	{ "dangling", "/x", MS_BIND, -ENOENT, "/mounts/0/source: \"dangling\"", 0 },
	{ "loop", "/x", MS_BIND, -ELOOP, "/mounts/0/source: \"loop\"", 0 },
	{ "file/x", "/x", MS_BIND, -ENOTDIR, "/mounts/0/source: \"file/x\"", 0 },
	{ "fifo", "/x", MS_BIND, -ENOTSUP, "is a FIFO", 0 },
	{ "socket", "/x", MS_BIND, -ENOTSUP, "is a socket", 0 },
	{ "disk", "/x", MS_BIND, -ENOTSUP, "is a block device", 0 },
	{ "odd", "/x", MS_BIND, -ENOTSUP, "is a device of the host (10:200)", 0 },
	{ "/proc/self/cwd", "/x", MS_BIND, -ELOOP, "/mounts/0/source", 0 },
	{ "/proc/sys", "/x", MS_BIND, -EACCES, "shows the host's kernel", 0 },
	{ "/proc/version", "/x", MS_BIND, -EACCES, "shows the host's kernel", 0 },
	{ "line\nfeed", "/x", MS_BIND, -ENOENT, "/mounts/0/source: \"line\\x0afeed\"", 0 },
};

START_TEST(source)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "socket" };
	_cleanup_close_ int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *says = sources[_i].says;
	struct err e = { 0 };
	int rc;

	ck_assert_int_eq(bind(s, (struct sockaddr *)&sa, sizeof(sa)), 0);
	set(&mounts[0]->source, sources[_i].source);
	set(&mounts[0]->destination, sources[_i].destination);
	mounts[0]->flags = sources[_i].flags;
	rc = add(&e);
	ck_assert_msg(rc == sources[_i].rc, "%d: %s", rc, e.text);
	if (rc < 0) {
		ck_assert_msg(strstr(e.text, says), "%s", e.text);
		ck_assert_uint_eq(ctr.n_trees, 0);
		return;
	}
	ck_assert_msg(str_starts(mounts[0]->source, says), "%s", mounts[0]->source);
	ck_assert_uint_eq(mounts[0]->flags & ~(uint64_t)(MS_NOSUID | MS_NODEV),
			  sources[_i].flags | sources[_i].more);
	ck_assert_uint_eq(ctr.n_trees, str_starts(says, "share:"));
	if (str_starts(says, "memory:"))
		ck_assert_str_eq(mounts[0]->data, "mode=1777,size=65536");
}
END_TEST

/* What is no bind mount is left alone. */
/* A source behind as many links as the kernel follows, and one more. */
START_TEST(deep_links)
{
	char from[16] = "dir", to[16];
	struct err e = { 0 };
	int i;

	for (i = 1; i <= 41; i++) {
		snprintf(to, sizeof(to), "l%d", i);
		ck_assert_int_eq(symlink(from, to), 0);
		strcpy(from, to);
	}
	set(&mount_of[0].source, _i ? "l41" : "l40");
	ck_assert_int_eq(add(&e), _i ? -ELOOP : 0);
	ck_assert_uint_eq(ctr.n_trees, !_i);
}
END_TEST

START_TEST(others)
{
	struct err e = { 0 };

	mounts[0]->flags = MS_NOSUID;
	ck_assert_int_eq(add(&e), 0);
	ck_assert_str_eq(mounts[0]->source, "dir");
	ck_assert_uint_eq(ctr.n_trees, 0);
}
END_TEST

START_TEST(third_fails)
{
	struct err e = { 0 };

	create.n_mounts = 4;
	set(&mounts[2]->source, "nowhere");
	ck_assert_int_eq(add(&e), -ENOENT);
	ck_assert_msg(str_starts(e.text, "/mounts/2/source"), "%s", e.text);
	ck_assert_uint_eq(ctr.n_trees, 2);
	ck_assert_uint_eq(pod.share.share->n_trees, 2);
	volumes_remove(&pod, &ctr);
	volumes_remove(&pod, &ctr);
	ck_assert_uint_eq(pod.share.share->n_trees, 0);
	ck_assert_ptr_null(ctr.trees);
}
END_TEST

START_TEST(memory_is_short)
{
	struct err e = { 0 };
	unsigned int nth;
	bool fired;
	int rc;

	for (nth = 1; nth < 100; nth++) {
		set(&mounts[0]->source, "dir");
		kit_fault_arm(KIT_FAULT_MEMORY, nth, 0);
		rc = add(&e);
		fired = kit_fault_fired();
		if (!fired)
			break;
		ck_assert_int_eq(rc, -ENOMEM);
		volumes_remove(&pod, &ctr);
		ck_assert_uint_eq(pod.share.share->n_trees, 0);
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_gt(nth, 2);
}
END_TEST

START_TEST(root)
{
	char path[PATH_MAX + 8];
	struct err e = { 0 };

	snprintf(path, sizeof(path), "%s/dir", bundle);
	spec.rootfs = path;
	rootfs.readonly = _i;
	ck_assert_int_eq(volume_rootfs(&pod, &ctr, &spec, "rootfs x: is a test", &e), 0);
	ck_assert_uint_eq(rootfs.share, 1);
	ck_assert_str_eq(pod.stamps[0].what, "container : rootfs shared: is a test");
	ck_assert(pod.share.share->trees->recursive);
	ck_assert_int_eq(pod.share.share->trees->readonly, _i);
	snprintf(path, sizeof(path), "%s/link", bundle);
	ck_assert_int_eq(volume_rootfs(&pod, &ctr, &spec, "", &e), -ENOTDIR);
	spec.rootfs = NULL;
}
END_TEST

Suite *runtime_volume_suite(void)
{
	Suite *s = suite_create("runtime_volume");
	const char *why = kit_storage_missing(false);
	TCase *t = tcase_create("volumes");

	if (why)
		kit_skip("runtime_volume", why);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, source, 0, (int)ARRAY_LEN(sources));
	tcase_add_loop_test(t, deep_links, 0, 2);
	tcase_add_test(t, others);
	tcase_add_test(t, third_fails);
	tcase_add_test(t, memory_is_short);
	tcase_add_loop_test(t, root, 0, 2);
	if (!why)
		suite_add_tcase(s, t);
	return s;
}
