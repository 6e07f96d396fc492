// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * storage/share*.c against a tree that others change meanwhile, as a hostile
 * monitor would use it: messages of any kind, one at a time or from several threads.
 * Each message is served by a thread that share_thread() has prepared; the test's
 * own thread is the host.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/share.h"
#include "storage/share.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"

#define ROOT FUSE_ROOT_ID
#define NO_RIGHTS 65534u

Suite *storage_share_suite(void);

/**
 * struct ask - one message and its answer
 * @rq:   op, node and len are set by ask()
 * @fd:   that came, closed by the next ask()
 * @body: data of the answer
 */
struct ask {
	struct share_request rq;
	struct share_reply rp;
	int fd;
	uint8_t msg[SHARE_MSG_BYTES + 8];
	size_t len;
	ssize_t got;
	uint8_t answer[SHARE_MSG_BYTES];
	uint8_t *body;
};

static struct share *share;
static struct ask a = { .fd = -1 };

/* What a thread ends with that may not serve. */
static char no_rights[] = "share_thread() failed";

static void *serve(void *arg)
{
	struct ask *k = arg;
	struct err e = { 0 };

	if (share_thread(&e) < 0)
		return no_rights;
	k->got = share_call(share, k->msg, k->len, k->answer, &k->fd);
	return NULL;
}

/* Sends @k->msg as it is. Return: error of the answer; 1 for no answer */
static int send_raw(struct ask *k)
{
	pthread_t t;
	void *why;

	fd_close(&k->fd);
	ck_assert_int_eq(pthread_create(&t, NULL, serve, k), 0);
	ck_assert_int_eq(pthread_join(t, &why), 0);
	ck_assert_msg(!why, "%s", (char *)why);
	if (k->got <= 0)
		return k->got ? (int)k->got : 1;
	memcpy(&k->rp, k->answer, sizeof(k->rp));
	k->body = k->answer + sizeof(k->rp);
	ck_assert_int_eq(k->got, (ssize_t)(sizeof(k->rp) + k->rp.len));
	ck_assert_uint_eq(k->rp.seq, k->rq.seq);
	ck_assert(!k->rp.error || (!k->rp.len && k->fd < 0 && !k->rp.n));
	return k->rp.error;
}

/* Asks with what else is in @a.rq, which is then cleared. */
static int ask(uint32_t op, uint64_t node, const void *data, size_t len)
{
	int rc;

	a.rq.op = op;
	a.rq.node = node;
	a.rq.len = (uint32_t)len;
	a.rq.seq++;
	memcpy(a.msg, &a.rq, sizeof(a.rq));
	memcpy(a.msg + sizeof(a.rq), data, len);
	a.len = sizeof(a.rq) + len;
	rc = send_raw(&a);
	a.rq = (struct share_request){ .seq = a.rq.seq };
	return rc;
}

static int ask_name(uint32_t op, uint64_t node, const char *name)
{
	return ask(op, node, name, strlen(name) + 1);
}

static int ask_names(uint32_t op, uint64_t node, const char *one, const char *two)
{
	char both[8200];
	size_t n = strlen(one) + 1, k = strlen(two) + 1;

	ck_assert_uint_le(n + k, sizeof(both));
	memcpy(both, one, n);
	memcpy(both + n, two, k);
	return ask(op, node, both, n + k);
}

static struct share_entry entry(void)
{
	struct share_entry x;

	ck_assert_uint_ge(a.rp.len, sizeof(x));
	memcpy(&x, a.body, sizeof(x));
	return x;
}

static struct fuse_attr attr(void)
{
	struct fuse_attr at;

	ck_assert_uint_eq(a.rp.len, sizeof(at));
	memcpy(&at, a.body, sizeof(at));
	return at;
}

/* Looks a name up: its node, or 0 with the error in *@error. */
static uint64_t look(uint64_t dir, const char *name, int *error)
{
	int rc = ask_name(SHARE_LOOKUP, dir, name);

	*error = rc < 0 ? rc : entry().error;
	return *error ? 0 : entry().node;
}

static uint64_t node(uint64_t dir, const char *name)
{
	int error;
	uint64_t id = look(dir, name, &error);

	ck_assert_msg(id, "%s: %s", name, strerror(-error));
	return id;
}

static int lookup_error(uint64_t dir, const char *name)
{
	int error;

	look(dir, name, &error);
	return error;
}

static struct fuse_attr attr_of(uint64_t id)
{
	ck_assert_int_eq(ask(SHARE_GETATTR, id, "", 0), 0);
	return attr();
}

static void forget(uint64_t id, uint64_t n)
{
	struct fuse_forget_one one = { .nodeid = id, .nlookup = n };

	ck_assert_int_eq(ask(SHARE_FORGET, 0, &one, sizeof(one)), 1);
}

static uint32_t n_nodes(void)
{
	uint32_t n, fds;

	share_count(share, &n, &fds);
	return n;
}

static uint32_t n_fds(void)
{
	uint32_t n, fds;

	share_count(share, &n, &fds);
	return fds;
}

static void open_share(bool readonly, uint32_t nodes, uint32_t fds)
{
	struct share_config c = { .readonly = readonly, .nodes_max = nodes, .fds_max = fds };
	_cleanup_close_ int dir = open("tree", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct err e = { 0 };

	share_free(share);
	share = NULL;
	ck_assert_msg(!share_new(dir, &c, &share, &e), "%s", e.text);
}

static void setup(void)
{
	kit_storage_enter();
	kit_dirs("tree/dir/sub");
	kit_dirs("outside/dir");
	kit_file("outside/secret", "secret", 6);
	kit_file("outside/dir/secret", "secret", 6);
	kit_file("tree/file", "content", 7);
	kit_file("tree/dir/below", "below", 5);
	ck_assert_int_eq(symlink("/etc", "tree/absolute"), 0);
	ck_assert_int_eq(symlink("../outside", "tree/relative"), 0);
	ck_assert_int_eq(symlink("file", "tree/inside"), 0);
	open_share(false, 1000, 100);
}

static void teardown(void)
{
	share_free(share);
	fd_close(&a.fd);
	kit_storage_leave();
}

/* ---- names and escapes -------------------------------------------------------- */

static char long_name[257];

static const struct {
	const char *name;
	int error;
} bad_names[] = {
	{ "", -ENOENT },
	{ ".", -EINVAL },
	{ "..", -EINVAL },
	{ "/", -EINVAL },
	{ "a/b", -EINVAL },
	{ "../outside", -EINVAL },
	{ "dir/", -EINVAL },
	{ "/etc", -EINVAL },
	{ "dir/../../outside", -EINVAL },
	{ long_name, -ENAMETOOLONG },
};

static const uint32_t name_ops[] = {
	SHARE_LOOKUP, SHARE_MKNOD, SHARE_MKDIR, SHARE_UNLINK, SHARE_RMDIR, SHARE_LINK, SHARE_CREATE,
};

START_TEST(name_is_refused)
{
	const char *name = bad_names[_i].name;
	uint64_t file = node(ROOT, "file");
	size_t i;

	memset(long_name, 'x', 256);
	for (i = 0; i < ARRAY_LEN(name_ops); i++) {
		a.rq.node2 = file;
		ck_assert_int_eq(ask_name(name_ops[i], ROOT, name), bad_names[_i].error);
	}
	ck_assert_int_eq(ask_names(SHARE_SYMLINK, ROOT, name, "target"), bad_names[_i].error);
	a.rq.node2 = ROOT;
	ck_assert_int_eq(ask_names(SHARE_RENAME, ROOT, name, "new"), bad_names[_i].error);
	a.rq.node2 = ROOT;
	ck_assert_int_eq(ask_names(SHARE_RENAME, ROOT, "file", name), bad_names[_i].error);
	ck_assert_int_eq(access("tree/file", F_OK), 0);
	ck_assert_int_eq(access("outside/secret", F_OK), 0);
}
END_TEST

START_TEST(name_of_255)
{
	char name[256];

	memset(name, 'y', 255);
	name[255] = 0;
	a.rq.mode = 0755;
	ck_assert_int_eq(ask_name(SHARE_MKDIR, ROOT, name), 0);
	ck_assert(node(ROOT, name) == entry().node);
	ck_assert_int_eq(ask_name(SHARE_RMDIR, ROOT, name), 0);
	ck_assert_int_eq(lookup_error(ROOT, name), -ENOENT);
}
END_TEST

static const char *const odd[] = {
	"new\nline", "\n", " ", "tab\tand\x7f", "\xff\xfe", "...", "..a", "-rf", "%s%n", "\\012",
	"\xe2\x80\xae",
};

/* Names are bytes: made, found, listed, moved and removed as they are. */
START_TEST(odd_name)
{
	char name[256], path[300], target[256] = "";

	snprintf(name, sizeof(name), "%s", odd[_i]);
	if (!strcmp(name, "\n"))
		memset(name, '\n', 255), name[255] = 0;
	a.rq.mode = 0755;
	ck_assert_int_eq(ask_name(SHARE_MKDIR, ROOT, name), 0);
	snprintf(path, sizeof(path), "tree/%s", name);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(ask_names(SHARE_SYMLINK, node(ROOT, name), name, name), 0);
	a.rq.node2 = ROOT;
	ck_assert_int_eq(ask_names(SHARE_RENAME, ROOT, name, "plain"), 0);
	ck_assert_int_eq(ask(SHARE_READLINK, node(node(ROOT, "plain"), name), "", 0), 0);
	ck_assert_uint_eq(a.rp.len, strlen(name));
	memcpy(target, a.body, a.rp.len);
	ck_assert_str_eq(target, name);
	ck_assert_int_eq(ask_name(SHARE_UNLINK, node(ROOT, "plain"), name), 0);
	a.rq.node2 = ROOT;
	ck_assert_int_eq(ask_names(SHARE_RENAME, ROOT, "plain", name), 0);
	ck_assert_int_eq(ask_name(SHARE_RMDIR, ROOT, name), 0);
}
END_TEST

static const char *const link_names[] = { "absolute", "relative", "inside" };

START_TEST(links_are_not_followed)
{
	uint64_t id = node(ROOT, link_names[_i]);
	char path[100], target[100];
	ssize_t n;

	ck_assert(S_ISLNK(entry().attr.mode));
	ck_assert_int_eq(lookup_error(id, "secret"), -ENOTDIR);
	ck_assert_int_eq(lookup_error(id, "passwd"), -ENOTDIR);
	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), -ELOOP);
	ck_assert_int_eq(ask(SHARE_OPENDIR, id, "", 0), -ENOTDIR);
	ck_assert_int_eq(ask_name(SHARE_MKDIR, id, "new"), -ENOTDIR);
	a.rq.flags = O_RDWR;
	ck_assert_int_eq(ask_name(SHARE_CREATE, ROOT, link_names[_i]), -ELOOP);
	a.rq.flags = O_RDWR | O_EXCL;
	ck_assert_int_eq(ask_name(SHARE_CREATE, ROOT, link_names[_i]), -EEXIST);
	ck_assert_int_eq(ask(SHARE_READLINK, id, "", 0), 0);
	snprintf(path, sizeof(path), "tree/%s", link_names[_i]);
	n = readlink(path, target, sizeof(target));
	ck_assert_int_eq(n, (ssize_t)a.rp.len);
	ck_assert_mem_eq(target, a.body, (size_t)n);
}
END_TEST

static atomic_bool done;

/* The host, or another guest of the volume, swaps a directory and a link. */
static void *swapper(void *unused)
{
	(void)unused;
	while (!done) {
		syscall(SYS_renameat2, AT_FDCWD, "tree/dir", AT_FDCWD, "tree/relative",
			RENAME_EXCHANGE);
		syscall(SYS_renameat2, AT_FDCWD, "tree/dir", AT_FDCWD, "tree/absolute",
			RENAME_EXCHANGE);
	}
	return NULL;
}

START_TEST(links_swapped_in)
{
	int i, found = 0, error;
	pthread_t t;

	done = false;
	ck_assert_int_eq(pthread_create(&t, NULL, swapper, NULL), 0);
	for (i = 0; i < (int)kit_rounds(600) || !found; i++) {
		uint64_t dir = look(ROOT, "dir", &error);

		if (!dir)
			continue;
		ck_assert(!look(dir, "secret", &error));
		ck_assert(!look(dir, "passwd", &error));
		found += look(dir, "below", &error) != 0;
		ck_assert_int_lt(ask_name(SHARE_UNLINK, dir, "secret"), 0);
		a.rq.flags = O_RDONLY;
		ck_assert_int_lt(ask(SHARE_OPEN, dir, "", 0), 0);
	}
	done = true;
	pthread_join(t, NULL);
	ck_assert_int_gt(found, 0);
	ck_assert_int_eq(access("outside/secret", F_OK), 0);
}
END_TEST

static void *file_swapper(void *unused)
{
	(void)unused;
	while (!done)
		syscall(SYS_renameat2, AT_FDCWD, "tree/file", AT_FDCWD, "tree/trap",
			RENAME_EXCHANGE);
	return NULL;
}

/* A name that is a file now and a link to the outside then, while it is made and opened. */
START_TEST(created_through_a_link)
{
	struct stat st;
	pthread_t t;
	int i, made = 0;

	ck_assert_int_eq(symlink("../outside/secret", "tree/trap"), 0);
	ck_assert_int_eq(stat("outside/secret", &st), 0);
	ck_assert_int_gt(st.st_size, 0);
	done = false;
	ck_assert_int_eq(pthread_create(&t, NULL, file_swapper, NULL), 0);
	for (i = 0; i < (int)kit_rounds(300) || !made; i++) {
		a.rq.flags = O_RDWR | O_TRUNC;
		a.rq.mode = 0644;
		made += !ask_name(SHARE_CREATE, ROOT, "file");
		a.rq.mode = S_IFREG | 0644;
		ck_assert_int_lt(ask_name(SHARE_MKNOD, ROOT, "file"), 0);
	}
	done = true;
	pthread_join(t, NULL);
	ck_assert_int_gt(made, 0);
	ck_assert_int_eq(stat("outside/secret", &st), 0);
	ck_assert_int_gt(st.st_size, 0);
}
END_TEST

START_TEST(moved_out_of_the_share)
{
	uint64_t dir = node(ROOT, "dir"), sub = node(dir, "sub"), file = node(dir, "below");

	ck_assert_int_eq(rename("tree/dir", "outside/moved"), 0);
	kit_file("outside/moved/sub/late", "x", 1);
	ck_assert_int_eq(lookup_error(dir, "below"), -ESTALE);
	ck_assert_int_eq(lookup_error(sub, "late"), -ESTALE);
	ck_assert_int_eq(ask(SHARE_OPENDIR, sub, "", 0), -ESTALE);
	ck_assert_int_eq(ask_name(SHARE_MKDIR, sub, "new"), -ESTALE);
	a.rq.node2 = ROOT;
	ck_assert_int_eq(ask_names(SHARE_RENAME, sub, "late", "mine"), -ESTALE);
	/* A file is what it was, as one that is open stays open. */
	ck_assert_uint_eq(attr_of(file).size, 5);
	ck_assert_int_eq(rename("outside/moved", "tree/again"), 0);
	ck_assert_uint_eq(node(dir, "below"), file);
	ck_assert_int_eq(lookup_error(sub, "late"), 0);
}
END_TEST

START_TEST(moved_within_the_share)
{
	uint64_t dir = node(ROOT, "dir"), sub = node(dir, "sub");

	a.rq.node2 = ROOT;
	ck_assert_int_eq(ask_names(SHARE_RENAME, dir, "sub", "up"), 0);
	ck_assert_uint_eq(node(ROOT, "up"), sub);
	a.rq.mode = 0755;
	ck_assert_int_eq(ask_name(SHARE_MKDIR, sub, "new"), 0);
	ck_assert_int_eq(access("tree/up/new", F_OK), 0);
}
END_TEST

/* What is mounted below is not of the share, whether before or after it was made. */
START_TEST(mounts_below)
{
	uint64_t dir;

	ck_assert_int_eq(mount("x", "tree/dir", "tmpfs", 0, NULL), 0);
	kit_file("tree/dir/hidden", "x", 1);
	open_share(false, 1000, 100);
	dir = node(ROOT, "dir");
	ck_assert_int_eq(lookup_error(dir, "hidden"), -ENOENT);
	ck_assert_int_eq(lookup_error(dir, "below"), 0);
	ck_assert_int_eq(umount("tree/dir"), 0);
	ck_assert_int_eq(mount("x", "tree/dir/sub", "tmpfs", 0, NULL), 0);
	kit_file("tree/dir/sub/late", "x", 1);
	ck_assert_int_eq(lookup_error(node(dir, "sub"), "late"), -ENOENT);
	ck_assert_int_eq(umount("tree/dir/sub"), 0);
}
END_TEST

/* A monitor that was taken over has the descriptors: they end at the share, too. */
START_TEST(descriptors_end_at_the_share)
{
	struct stat st, top;
	int up;

	ck_assert_int_eq(ask(SHARE_OPENDIR, ROOT, "", 0), 0);
	ck_assert(!fstat(a.fd, &top));
	up = openat(a.fd, "../../..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert(up >= 0 && !fstat(up, &st));
	ck_assert(st.st_ino == top.st_ino && st.st_dev == top.st_dev);
	close(up);
	ck_assert_int_lt(openat(a.fd, "relative/secret", O_RDONLY), 0);
	ck_assert_int_lt(openat(a.fd, "absolute/passwd", O_RDONLY), 0);
}
END_TEST

/* ---- kinds of files ------------------------------------------------------------- */

static const struct {
	uint32_t mode, rdev;
	int error;
} kinds[] = {
	{ S_IFREG | 0640, 0, 0 },	   { 0600, 0, 0 },
	{ S_IFIFO | 0600, 0, 0 },	   { S_IFSOCK | 0600, 0, 0 },
	{ S_IFCHR | 0600, 0, 0 },	   { S_IFCHR | 0666, 0x103, -EPERM },
	{ S_IFBLK | 0666, 0x800, -EPERM }, { S_IFBLK | 0666, 0, -EPERM },
	{ S_IFDIR | 0700, 0, -EPERM },	   { S_IFLNK | 0777, 0, -EPERM },
	{ S_IFMT | 0777, 0, -EPERM },
};

START_TEST(make_kind)
{
	struct stat st;

	a.rq.mode = kinds[_i].mode;
	a.rq.rdev = kinds[_i].rdev;
	a.rq.umask = 022;
	ck_assert_int_eq(ask_name(SHARE_MKNOD, ROOT, "new"), kinds[_i].error);
	if (kinds[_i].error) {
		ck_assert_int_lt(lstat("tree/new", &st), 0);
		return;
	}
	ck_assert(!lstat("tree/new", &st));
	ck_assert_uint_eq(st.st_mode & 07777, kinds[_i].mode & 07777 & ~022u);
	ck_assert_uint_eq(entry().attr.mode, st.st_mode);
	ck_assert_uint_eq(st.st_rdev, 0);
}
END_TEST

/* Opening none of them may wait, or reach the device. */
START_TEST(special_files_are_not_opened)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "tree/sock" };
	_cleanup_close_ int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static const char *const names[] = { "fifo", "zero", "sock", "disk" };
	size_t i;

	ck_assert_int_eq(mkfifo("tree/fifo", 0666), 0);
	ck_assert_int_eq(mknod("tree/zero", S_IFCHR | 0666, makedev(1, 5)), 0);
	ck_assert_int_eq(mknod("tree/disk", S_IFBLK | 0666, makedev(7, 300)), 0);
	ck_assert_int_eq(bind(sock, (struct sockaddr *)&sa, sizeof(sa)), 0);
	for (i = 0; i < ARRAY_LEN(names); i++) {
		uint64_t id = node(ROOT, names[i]);
		uint32_t mode;

		for (mode = 0; mode < 3; mode++) {
			a.rq.flags = mode;
			ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), -ENXIO);
			a.rq.flags = mode;
			ck_assert_int_eq(ask_name(SHARE_CREATE, ROOT, names[i]), -ENXIO);
		}
		ck_assert_int_eq(ask(SHARE_OPENDIR, id, "", 0), -ENOTDIR);
	}
	ck_assert_uint_eq(attr_of(node(ROOT, "zero")).rdev, 1u << 8 | 5);
	ck_assert_uint_eq(attr_of(node(ROOT, "disk")).rdev, 7u << 8 | 44 | 0x100 << 12);
}
END_TEST

START_TEST(open_modes)
{
	uint64_t id = node(ROOT, "file");
	char text[8] = "";

	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), 0);
	ck_assert_int_eq(pread(a.fd, text, 8, 0), 7);
	ck_assert_str_eq(text, "content");
	ck_assert_int_lt(pwrite(a.fd, "x", 1, 0), 0);
	a.rq.flags = O_WRONLY;
	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), 0);
	ck_assert_int_lt(pread(a.fd, text, 8, 0), 0);
	a.rq.flags = O_ACCMODE;
	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), -EINVAL);
	/* Flags that would change what the descriptor does are dropped. */
	a.rq.flags = O_RDWR | O_APPEND | O_DIRECT | O_NONBLOCK | O_PATH | O_CREAT | O_TMPFILE;
	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), 0);
	ck_assert_int_eq(fcntl(a.fd, F_GETFL) & ~O_LARGEFILE & ~0100000, O_RDWR);
	a.rq.flags = O_WRONLY | O_TRUNC;
	ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), 0);
	ck_assert_uint_eq(attr_of(id).size, 0);
	ck_assert_int_eq(ask(SHARE_OPEN, node(ROOT, "dir"), "", 0), -EISDIR);
	ck_assert_int_eq(ask(SHARE_OPENDIR, id, "", 0), -ENOTDIR);
}
END_TEST

/* ---- owners and modes -------------------------------------------------------------- */

static void as(uint32_t uid, uint32_t gid)
{
	a.rq.uid = uid;
	a.rq.gid = gid;
}

START_TEST(made_for_a_user)
{
	struct fuse_attr at;

	as(1234, 2345);
	a.rq.mode = 0666;
	a.rq.umask = 027;
	a.rq.flags = O_RDWR;
	ck_assert_int_eq(ask_name(SHARE_CREATE, ROOT, "new"), 0);
	at = entry().attr;
	ck_assert_uint_eq(at.uid, 1234);
	ck_assert_uint_eq(at.gid, 2345);
	ck_assert_uint_eq(at.mode, S_IFREG | 0640);
	ck_assert_int_eq(pwrite(a.fd, "x", 1, 0), 1);
	as(0, 77);
	ck_assert_int_eq(ask_names(SHARE_SYMLINK, ROOT, "link", "somewhere"), 0);
	ck_assert_uint_eq(entry().attr.uid, 0);
	ck_assert_uint_eq(entry().attr.gid, 77);
	as(1234, 2345);
	a.rq.mode = 0777;
	ck_assert_int_eq(ask_name(SHARE_MKDIR, ROOT, "made"), 0);
	ck_assert_uint_eq(entry().attr.mode, S_IFDIR | 0777);
	ck_assert_uint_eq(entry().attr.uid, 1234);
	as(UINT32_MAX, 0);
	ck_assert_int_eq(ask_name(SHARE_MKDIR, ROOT, "nobody"), -EINVAL);
	as(0, UINT32_MAX);
	ck_assert_int_eq(ask_name(SHARE_MKDIR, ROOT, "nobody"), -EINVAL);
	/* What follows is the broker's again. */
	a.rq.mode = 0777;
	ck_assert_int_eq(ask_name(SHARE_MKDIR, ROOT, "own"), 0);
	ck_assert_uint_eq(entry().attr.uid, 0);
	ck_assert_uint_eq(entry().attr.mode, S_IFDIR | 0777);
}
END_TEST

/* A file of 0 permissions is made and opened, as open(2) does. */
START_TEST(made_without_permissions)
{
	as(1000, 1000);
	a.rq.flags = O_RDWR | O_EXCL;
	ck_assert_int_eq(ask_name(SHARE_CREATE, ROOT, "new"), 0);
	ck_assert_int_eq(pwrite(a.fd, "x", 1, 0), 1);
	ck_assert_uint_eq(entry().attr.mode, S_IFREG);
}
END_TEST

START_TEST(set_group_id_directory)
{
	uint64_t dir;

	ck_assert_int_eq(chown("tree/dir", 0, 500), 0);
	ck_assert_int_eq(chmod("tree/dir", 02777), 0);
	dir = node(ROOT, "dir");
	as(1000, 1000);
	a.rq.mode = 0666;
	a.rq.flags = O_RDWR;
	ck_assert_int_eq(ask_name(SHARE_CREATE, dir, "file"), 0);
	ck_assert_uint_eq(entry().attr.gid, 500);
	as(1000, 1000);
	a.rq.mode = 0755;
	ck_assert_int_eq(ask_name(SHARE_MKDIR, dir, "made"), 0);
	ck_assert_uint_eq(entry().attr.gid, 500);
	ck_assert_uint_eq(entry().attr.mode, S_IFDIR | 02755);
	/* Nobody but a member or root makes programs of that group. */
	as(1000, 1000);
	a.rq.mode = 02775;
	ck_assert_int_eq(ask_name(SHARE_MKNOD, dir, "program"), 0);
	ck_assert_uint_eq(entry().attr.mode, S_IFREG | 0775);
	a.rq.mode = 02775;
	ck_assert_int_eq(ask_name(SHARE_MKNOD, dir, "roots"), 0);
	ck_assert_uint_eq(entry().attr.mode, S_IFREG | 02775);
}
END_TEST

/* The guest's kernel let a member of the directory's group through. */
START_TEST(allowed_by_a_group)
{
	uint64_t dir = node(ROOT, "dir");

	ck_assert_int_eq(chown("tree/dir", 0, 500), 0);
	ck_assert_int_eq(chmod("tree/dir", 0770), 0);
	as(1000, 1000);
	a.rq.mode = 0644;
	a.rq.flags = O_RDWR;
	ck_assert_int_eq(ask_name(SHARE_CREATE, dir, "file"), 0);
	ck_assert_uint_eq(entry().attr.uid, 1000);
}
END_TEST

static void setattr(struct fuse_setattr_in *in, uint32_t valid)
{
	in->valid = valid;
}

static int change(uint64_t id, const struct fuse_setattr_in *in)
{
	return ask(SHARE_SETATTR, id, in, sizeof(*in));
}

static const struct {
	const char *what;
	uint32_t mode;
	bool kill;
	uint32_t want;
} bits[] = {
	{ "truncate", 06755, false, 06755 }, { "truncate", 06755, true, 0755 },
	{ "open", 06755, false, 06755 },     { "open", 06755, true, 0755 },
	{ "chown", 06755, false, 0755 },     { "chown", 06755, true, 0755 },
	{ "chmod", 0, false, 06711 },
};

START_TEST(set_user_id)
{
	struct fuse_setattr_in in = { .size = 3, .uid = 5, .gid = 6, .mode = 06711 };
	const char *what = bits[_i].what;
	uint64_t id;

	/* The group is not one of the thread's, so that only CAP_FSETID decides. */
	ck_assert_int_eq(chown("tree/file", 7, 7), 0);
	ck_assert_int_eq(chmod("tree/file", bits[_i].mode), 0);
	id = node(ROOT, "file");
	setattr(&in, !strcmp(what, "truncate") ? FATTR_SIZE
		     : !strcmp(what, "chown")  ? FATTR_UID | FATTR_GID
					       : FATTR_MODE);
	if (bits[_i].kill)
		in.valid |= FATTR_KILL_SUIDGID;
	if (!strcmp(what, "open")) {
		a.rq.flags = O_WRONLY | O_TRUNC;
		a.rq.kill = bits[_i].kill;
		ck_assert_int_eq(ask(SHARE_OPEN, id, "", 0), 0);
	} else {
		ck_assert_int_eq(change(id, &in), 0);
	}
	ck_assert_uint_eq(attr_of(id).mode, S_IFREG | bits[_i].want);
}
END_TEST

START_TEST(set_attributes)
{
	struct fuse_setattr_in in = { .valid = FATTR_ATIME | FATTR_MTIME,
				      .atime = 1000000,
				      .mtime = (uint64_t)-5,
				      .atimensec = 7,
				      .mtimensec = 999999999 };
	uint64_t id = node(ROOT, "file"), link = node(ROOT, "absolute");
	struct fuse_attr at;
	struct stat st;

	ck_assert_int_eq(change(id, &in), 0);
	at = attr();
	ck_assert_uint_eq(at.atime, 1000000);
	ck_assert_uint_eq(at.atimensec, 7);
	ck_assert_int_eq((int64_t)at.mtime, -5);
	ck_assert_int_eq(change(link, &in), 0);
	ck_assert(!lstat("tree/absolute", &st));
	ck_assert_int_eq(st.st_mtim.tv_sec, -5);
	in.atimensec = 1000000000;
	ck_assert_int_eq(change(id, &in), -EINVAL);
	in = (struct fuse_setattr_in){ .valid = FATTR_MTIME | FATTR_MTIME_NOW };
	ck_assert_int_eq(change(id, &in), 0);
	ck_assert_int_gt((int64_t)attr().mtime, 1000000000);
	ck_assert_uint_eq(attr().atime, 1000000);
	in = (struct fuse_setattr_in){ .valid = FATTR_UID, .uid = 44, .gid = 45 };
	ck_assert_int_eq(change(link, &in), 0);
	ck_assert_uint_eq(attr().uid, 44);
	ck_assert_uint_eq(attr().gid, 0);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = 1ull << 63 };
	ck_assert_int_eq(change(id, &in), -EINVAL);
	in.size = 100;
	ck_assert_int_eq(change(node(ROOT, "dir"), &in), -EISDIR);
	ck_assert_int_eq(change(link, &in), -EINVAL);
	ck_assert_int_eq(change(id, &in), 0);
	ck_assert_uint_eq(attr().size, 100);
	in = (struct fuse_setattr_in){ .valid = FATTR_MODE, .mode = 0xffffffff };
	ck_assert_int_eq(change(id, &in), 0);
	ck_assert_uint_eq(attr().mode, S_IFREG | 07777);
}
END_TEST

/* A user's file system rights, without those of the broker. */
START_TEST(access_of_a_user)
{
	uint64_t id;

	ck_assert_int_eq(chown("tree/file", 1000, 1000), 0);
	ck_assert_int_eq(chmod("tree/file", 0640), 0);
	id = node(ROOT, "file");
	as(1000, 1);
	a.rq.mode = R_OK | W_OK;
	ck_assert_int_eq(ask(SHARE_ACCESS, id, "", 0), 0);
	as(1000, 1);
	a.rq.mode = X_OK;
	ck_assert_int_eq(ask(SHARE_ACCESS, id, "", 0), -EACCES);
	as(1, 1000);
	a.rq.mode = W_OK;
	ck_assert_int_eq(ask(SHARE_ACCESS, id, "", 0), -EACCES);
	as(1, 1);
	a.rq.mode = R_OK;
	ck_assert_int_eq(ask(SHARE_ACCESS, id, "", 0), -EACCES);
	a.rq.mode = R_OK | W_OK;
	ck_assert_int_eq(ask(SHARE_ACCESS, id, "", 0), 0);
	a.rq.mode = 8;
	ck_assert_int_eq(ask(SHARE_ACCESS, id, "", 0), -EINVAL);
}
END_TEST

static void *look_at_rights(void *ret)
{
	uint64_t *caps = ret;
	char line[200];
	struct err e;
	FILE *f;

	if (share_thread(&e) < 0)
		return no_rights;
	f = fopen("/proc/thread-self/status", "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "CapPrm:", 7))
			caps[0] = strtoull(line + 7, NULL, 16);
		if (!strncmp(line, "CapEff:", 7))
			caps[1] = strtoull(line + 7, NULL, 16);
		if (!strncmp(line, "Groups:", 7))
			caps[2] = strspn(line + 7, " \t\n") == strlen(line + 7);
	}
	if (f)
		fclose(f);
	return NULL;
}

START_TEST(rights_of_a_thread)
{
	/* chown, dac_override, dac_read_search, fowner, fsetid, setgid, setuid, setfcap */
	const uint64_t files = 0x1f | 3ull << 6 | 1ull << 31;
	uint64_t caps[3] = { 0 };
	gid_t group = 12;
	pthread_t t;
	void *why;

	ck_assert_int_eq(setgroups(1, &group), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, look_at_rights, caps), 0);
	ck_assert_int_eq(pthread_join(t, &why), 0);
	ck_assert_msg(!why, "%s", (char *)why);
	ck_assert_uint_eq(caps[0] & ~files, 0);
	ck_assert_uint_eq(caps[1], caps[0]);
	ck_assert_uint_eq(caps[2], 1);
	ck_assert_int_eq(getgroups(0, NULL), 1);
}
END_TEST

/* ---- changes of names ------------------------------------------------------------------ */

START_TEST(rename_flags)
{
	struct stat st;

	a.rq.node2 = ROOT;
	a.rq.flags = RENAME_NOREPLACE;
	ck_assert_int_eq(ask_names(SHARE_RENAME, ROOT, "file", "inside"), -EEXIST);
	a.rq.node2 = ROOT;
	a.rq.flags = RENAME_EXCHANGE;
	ck_assert_int_eq(ask_names(SHARE_RENAME, ROOT, "file", "dir"), 0);
	ck_assert(!lstat("tree/file", &st) && S_ISDIR(st.st_mode));
	a.rq.node2 = ROOT;
	a.rq.flags = RENAME_WHITEOUT;
	ck_assert_int_eq(ask_names(SHARE_RENAME, ROOT, "dir", "moved"), 0);
	ck_assert(!lstat("tree/dir", &st) && S_ISCHR(st.st_mode) && !st.st_rdev);
	a.rq.node2 = ROOT;
	a.rq.flags = 8;
	ck_assert_int_eq(ask_names(SHARE_RENAME, ROOT, "moved", "dir"), -EINVAL);
	a.rq.node2 = node(ROOT, "moved");
	ck_assert_int_eq(ask_names(SHARE_RENAME, ROOT, "moved", "x"), -ENOTDIR);
	a.rq.node2 = 12345;
	ck_assert_int_eq(ask_names(SHARE_RENAME, ROOT, "moved", "x"), -ESTALE);
}
END_TEST

START_TEST(links)
{
	uint64_t file = node(ROOT, "file"), dir = node(ROOT, "dir"), link = node(ROOT, "absolute");

	a.rq.node2 = file;
	ck_assert_int_eq(ask_name(SHARE_LINK, dir, "hard"), 0);
	ck_assert_uint_eq(entry().node, file);
	ck_assert_uint_eq(entry().attr.nlink, 2);
	ck_assert_uint_eq(node(dir, "hard"), file);
	a.rq.node2 = link;
	ck_assert_int_eq(ask_name(SHARE_LINK, dir, "soft"), 0);
	ck_assert(S_ISLNK(entry().attr.mode));
	a.rq.node2 = dir;
	ck_assert_int_eq(ask_name(SHARE_LINK, dir, "loop"), -EPERM);
	a.rq.node2 = file;
	ck_assert_int_eq(ask_name(SHARE_LINK, dir, "hard"), -EEXIST);
	ck_assert_int_eq(ask_names(SHARE_SYMLINK, ROOT, "file", "x"), -EEXIST);
	ck_assert_int_eq(ask_names(SHARE_SYMLINK, ROOT, "empty", ""), -ENOENT);
}
END_TEST

START_TEST(link_targets)
{
	char target[4097];

	memset(target, 't', 4096);
	target[4096] = 0;
	ck_assert_int_eq(ask_names(SHARE_SYMLINK, ROOT, "long", target), -ENAMETOOLONG);
	target[4095] = 0;
	ck_assert_int_eq(ask_names(SHARE_SYMLINK, ROOT, "long", target), 0);
	ck_assert_int_eq(ask(SHARE_READLINK, entry().node, "", 0), 0);
	ck_assert_uint_eq(a.rp.len, 4095);
	ck_assert_int_eq(ask(SHARE_READLINK, node(ROOT, "file"), "", 0), -EINVAL);
	ck_assert_int_eq(ask(SHARE_READLINK, node(ROOT, "dir"), "", 0), -EINVAL);
}
END_TEST

START_TEST(remove_names)
{
	uint64_t dir = node(ROOT, "dir"), file = node(ROOT, "file");

	ck_assert_int_eq(ask_name(SHARE_RMDIR, ROOT, "dir"), -ENOTEMPTY);
	ck_assert_int_eq(ask_name(SHARE_UNLINK, ROOT, "dir"), -EISDIR);
	ck_assert_int_eq(ask_name(SHARE_RMDIR, ROOT, "file"), -ENOTDIR);
	ck_assert_int_eq(ask_name(SHARE_UNLINK, dir, "nothing"), -ENOENT);
	ck_assert_int_eq(ask_name(SHARE_UNLINK, ROOT, "absolute"), 0);
	ck_assert_int_eq(ask_name(SHARE_UNLINK, ROOT, "file"), 0);
	/* What was open by somebody would still be the same file. */
	a.rq.node2 = file;
	ck_assert_int_lt(ask_name(SHARE_LINK, ROOT, "back"), 0);
	kit_file("tree/file", "another", 7);
	ck_assert_uint_ne(node(ROOT, "file"), file);
}
END_TEST

START_TEST(nameless_file)
{
	uint64_t id, dir = node(ROOT, "dir");

	as(1000, 1000);
	a.rq.mode = 0640;
	a.rq.flags = O_RDWR;
	ck_assert_int_eq(ask(SHARE_TMPFILE, dir, "", 0), 0);
	id = entry().node;
	ck_assert_uint_eq(entry().attr.nlink, 0);
	ck_assert_uint_eq(entry().attr.uid, 1000);
	ck_assert_int_eq(pwrite(a.fd, "hello", 5, 0), 5);
	a.rq.node2 = id;
	ck_assert_int_eq(ask_name(SHARE_LINK, ROOT, "named"), 0);
	ck_assert_uint_eq(entry().attr.size, 5);
	ck_assert_int_eq(access("tree/named", F_OK), 0);
	a.rq.flags = O_RDONLY;
	ck_assert_int_eq(ask(SHARE_TMPFILE, ROOT, "", 0), -EINVAL);
	a.rq.flags = O_RDWR;
	ck_assert_int_eq(ask(SHARE_TMPFILE, id, "", 0), -ENOTDIR);
}
END_TEST

START_TEST(create_what_exists)
{
	uint64_t file = node(ROOT, "file");

	a.rq.flags = O_RDWR | O_EXCL;
	ck_assert_int_eq(ask_name(SHARE_CREATE, ROOT, "file"), -EEXIST);
	a.rq.flags = O_RDWR;
	ck_assert_int_eq(ask_name(SHARE_CREATE, ROOT, "file"), 0);
	ck_assert_uint_eq(entry().node, file);
	ck_assert_uint_eq(entry().attr.size, 7);
	a.rq.flags = O_RDWR | O_TRUNC;
	ck_assert_int_eq(ask_name(SHARE_CREATE, ROOT, "file"), 0);
	ck_assert_uint_eq(attr_of(file).size, 0);
	a.rq.flags = O_RDWR;
	ck_assert_int_eq(ask_name(SHARE_CREATE, ROOT, "dir"), -EISDIR);
	a.rq.flags = O_ACCMODE;
	ck_assert_int_eq(ask_name(SHARE_CREATE, ROOT, "new"), -EINVAL);
	ck_assert_int_lt(access("tree/new", F_OK), 0);
}
END_TEST

/* ---- read-only ----------------------------------------------------------------------------- */

START_TEST(read_only)
{
	struct fuse_setattr_in in = { .valid = FATTR_MODE, .mode = 0777 };
	static const uint32_t changes[] = { SHARE_MKNOD,    SHARE_MKDIR,      SHARE_UNLINK,
					    SHARE_RMDIR,    SHARE_LINK,	      SHARE_CREATE,
					    SHARE_SETXATTR, SHARE_REMOVEXATTR };
	uint64_t file;
	size_t i;

	open_share(true, 1000, 100);
	file = node(ROOT, "file");
	for (i = 0; i < ARRAY_LEN(changes); i++) {
		a.rq.node2 = file;
		a.rq.mode = 0755;
		ck_assert_int_eq(ask_name(changes[i], ROOT, "user.new"), -EROFS);
	}
	ck_assert_int_eq(ask_names(SHARE_SYMLINK, ROOT, "new", "x"), -EROFS);
	a.rq.node2 = ROOT;
	ck_assert_int_eq(ask_names(SHARE_RENAME, ROOT, "file", "x"), -EROFS);
	ck_assert_int_eq(change(file, &in), -EROFS);
	a.rq.flags = O_RDWR;
	ck_assert_int_eq(ask(SHARE_TMPFILE, ROOT, "", 0), -EROFS);
	a.rq.flags = O_WRONLY;
	ck_assert_int_eq(ask(SHARE_OPEN, file, "", 0), -EROFS);
	a.rq.flags = O_RDONLY | O_TRUNC;
	ck_assert_int_eq(ask(SHARE_OPEN, file, "", 0), -EROFS);
	a.rq.mode = W_OK;
	ck_assert_int_eq(ask(SHARE_ACCESS, file, "", 0), -EROFS);
	ck_assert_int_eq(ask(SHARE_SYNCFS, ROOT, "", 0), 0);
	ck_assert_int_eq(ask(SHARE_OPEN, file, "", 0), 0);
	/* The kernel refuses as well, whatever the broker did. */
	ck_assert_int_eq(ask(SHARE_OPENDIR, ROOT, "", 0), 0);
	ck_assert(mkdirat(a.fd, "new", 0755) < 0 && errno == EROFS);
	ck_assert_uint_eq(attr_of(node(ROOT, "file")).size, 7);
}
END_TEST

/* ---- nodes --------------------------------------------------------------------------------------
 */

START_TEST(counted_exactly)
{
	uint64_t dir = node(ROOT, "dir"), again = node(ROOT, "dir"), next;

	ck_assert_uint_eq(dir, again);
	ck_assert_uint_eq(n_nodes(), 2);
	forget(dir, 1);
	ck_assert_uint_eq(attr_of(dir).mode & S_IFMT, S_IFDIR);
	forget(dir, 1);
	ck_assert_uint_eq(n_nodes(), 1);
	ck_assert_int_eq(ask(SHARE_GETATTR, dir, "", 0), -ESTALE);
	/* The slot is used again, the id is not. */
	next = node(ROOT, "dir");
	ck_assert_uint_ne(next, dir);
	ck_assert_uint_eq((uint32_t)next, (uint32_t)dir);
	forget(dir, 1);
	ck_assert_uint_eq(attr_of(next).mode & S_IFMT, S_IFDIR);
	forget(next, UINT64_MAX);
	ck_assert_uint_eq(n_nodes(), 1);
	forget(ROOT, UINT64_MAX);
	forget(0, 1);
	forget(UINT64_MAX, 1);
	ck_assert_uint_eq(attr_of(ROOT).mode & S_IFMT, S_IFDIR);
}
END_TEST

static const uint64_t never_given[] = { 0,	    2,		63,
					64,	    0xffffffff, 1ull << 32 | 1,
					1ull << 32, UINT64_MAX, 1ull << 63 | 1 };

START_TEST(ids_that_were_never_given)
{
	static const uint32_t plain[] = { SHARE_GETATTR, SHARE_READLINK, SHARE_OPEN,
					  SHARE_OPENDIR, SHARE_STATFS,	 SHARE_LISTXATTR,
					  SHARE_ACCESS,	 SHARE_TMPFILE };
	struct fuse_setattr_in in = { 0 };
	uint64_t id = never_given[_i];
	size_t i;

	for (i = 0; i < ARRAY_LEN(plain); i++)
		ck_assert_int_eq(ask(plain[i], id, "", 0), -ESTALE);
	for (i = 0; i < ARRAY_LEN(name_ops); i++) {
		a.rq.node2 = ROOT;
		ck_assert_int_eq(ask_name(name_ops[i], id, "name"), -ESTALE);
	}
	a.rq.node2 = id;
	ck_assert_int_eq(ask_name(SHARE_LINK, ROOT, "name"), -ESTALE);
	ck_assert_int_eq(ask_name(SHARE_GETXATTR, id, "user.x"), -ESTALE);
	ck_assert_int_eq(ask_name(SHARE_SETXATTR, id, "user.x"), -ESTALE);
	ck_assert_int_eq(change(id, &in), -ESTALE);
	a.rq.node2 = ROOT;
	ck_assert_int_eq(ask_names(SHARE_RENAME, id, "file", "x"), -ESTALE);
}
END_TEST

static void many_files(unsigned int n)
{
	char name[40];

	while (n--) {
		snprintf(name, sizeof(name), "tree/dir/many-%u", n);
		kit_file(name, &n, sizeof(n));
	}
}

/* More files than descriptors: handles bring them back. */
START_TEST(few_descriptors)
{
	uint64_t dir, id[200];
	unsigned int i, n;
	char name[20];

	open_share(false, 1000, 10);
	many_files(200);
	dir = node(ROOT, "dir");
	for (i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "many-%u", i);
		id[i] = node(dir, name);
		ck_assert_uint_le(n_fds(), 11);
	}
	ck_assert_uint_eq(n_nodes(), 202);
	ck_assert_int_eq(rename("tree/dir/many-3", "tree/dir/renamed"), 0);
	for (i = 0; i < 200; i++) {
		ck_assert_int_eq(ask(SHARE_OPEN, id[i], "", 0), 0);
		ck_assert_int_eq(pread(a.fd, &n, sizeof(n), 0), sizeof(n));
		ck_assert_uint_eq(n, i);
		ck_assert_uint_le(n_fds(), 11);
	}
	/* A file that is gone is gone, also where its inode number is another's now. */
	ck_assert_int_eq(unlink("tree/dir/many-5"), 0);
	many_files(5);
	ck_assert_int_eq(ask(SHARE_GETATTR, id[5], "", 0), -ESTALE);
	ck_assert_int_eq(ask(SHARE_RESET, 0, "", 0), 0);
	ck_assert_uint_eq(n_nodes(), 1);
	ck_assert_uint_eq(n_fds(), 1);
}
END_TEST

/* An inode number that comes back is not the file that had it. */
START_TEST(inode_numbers_come_back)
{
	uint64_t id[64], ino[64], back;
	int i, k, error;

	open_share(false, 1000, 1);
	for (i = 0; i < 64; i++) {
		kit_file("tree/it", "x", 1);
		id[i] = look(ROOT, "it", &error);
		ck_assert(id[i]);
		ino[i] = entry().attr.ino;
		for (k = 0; k < i; k++) {
			ck_assert_uint_ne(id[i], id[k]);
			if (ino[k] == ino[i])
				ck_assert_int_eq(ask(SHARE_GETATTR, id[k], "", 0), -ESTALE);
		}
		node(ROOT, "file"); /* takes the one descriptor */
		back = node(ROOT, "dir");
		forget(back, 1);
		ck_assert_int_eq(unlink("tree/it"), 0);
	}
}
END_TEST

START_TEST(too_many_nodes)
{
	uint64_t dir, first;
	int error;

	open_share(false, 4, 100);
	many_files(3);
	dir = node(ROOT, "dir");
	first = node(dir, "many-0");
	node(dir, "many-1");
	ck_assert(!look(dir, "many-2", &error));
	ck_assert_int_eq(error, -ENFILE);
	ck_assert_uint_eq(node(dir, "many-0"), first);
	forget(first, 2);
	node(dir, "many-2");
	ck_assert_uint_eq(n_nodes(), 4);
}
END_TEST

/* A file system without lasting handles: a descriptor each, and no more than that. */
START_TEST(descriptors_only)
{
	uint64_t dir, id, twin;
	int error;

	ck_assert_int_eq(mount("x", "tree", "ramfs", 0, NULL), 0);
	kit_dirs("tree/dir");
	many_files(10);
	open_share(false, 1000, 4);
	ck_assert(!share->top->handles);
	dir = node(ROOT, "dir");
	id = node(dir, "many-0");
	ck_assert_uint_eq(node(dir, "many-0"), id);
	twin = node(dir, "many-1");
	ck_assert(!look(dir, "many-2", &error));
	ck_assert_int_eq(error, -ENFILE);
	ck_assert_int_eq(unlink("tree/dir/many-1"), 0);
	ck_assert_uint_eq(attr_of(twin).nlink, 0);
	forget(twin, 1);
	node(dir, "many-2");
	ck_assert_uint_eq(n_fds(), 4);
}
END_TEST

START_TEST(batch)
{
	struct share_entry x[3];
	char names[SHARE_BATCH_MAX * 2 + 2];
	uint64_t file = node(ROOT, "file");
	int i;

	ck_assert_int_eq(ask(SHARE_LOOKUP, ROOT, "file\0none\0dir", 14), 0);
	ck_assert_uint_eq(a.rp.len, sizeof(x));
	memcpy(x, a.body, sizeof(x));
	ck_assert_uint_eq(x[0].node, file);
	ck_assert_int_eq(x[1].error, -ENOENT);
	ck_assert_uint_eq(x[1].node, 0);
	ck_assert(S_ISDIR(x[2].attr.mode));
	/* One bad name spoils them all, before any was counted. */
	ck_assert_int_eq(ask(SHARE_LOOKUP, ROOT, "file\0..\0dir", 12), -EINVAL);
	forget(file, 2);
	ck_assert_int_eq(ask(SHARE_GETATTR, file, "", 0), -ESTALE);
	for (i = 0; i < (int)sizeof(names); i += 2)
		memcpy(names + i, "z", 2);
	ck_assert_int_eq(ask(SHARE_LOOKUP, ROOT, names, sizeof(names)), -EPROTO);
	ck_assert_int_eq(ask(SHARE_LOOKUP, ROOT, names, sizeof(names) - 2), 0);
	ck_assert_uint_eq(a.rp.len, SHARE_BATCH_MAX * sizeof(struct share_entry));
}
END_TEST

/* ---- attributes
 * ------------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	int set;
} attributes[] = {
	{ "user.colour", 0 },
	{ "trusted.overlay.opaque", -EOPNOTSUPP },
	{ "security.selinux", -EOPNOTSUPP },
	{ "security.ima", -EOPNOTSUPP },
	{ "system.advise", -EOPNOTSUPP },
	{ "nonsense", -EOPNOTSUPP },
	{ "", -ENOENT },
	{ "user./", 0 },
};

START_TEST(attribute)
{
	const char *name = attributes[_i].name;
	uint64_t id = node(ROOT, "file");
	int want = attributes[_i].set;

	ck_assert_int_eq(ask_names(SHARE_SETXATTR, id, name, "blue"), want);
	a.rq.size = 100;
	ck_assert_int_eq(ask_name(SHARE_GETXATTR, id, name), want);
	if (want) {
		ck_assert_int_eq(ask_name(SHARE_REMOVEXATTR, id, name), want);
		return;
	}
	ck_assert_uint_eq(a.rp.len, 5);
	ck_assert_str_eq((char *)a.body, "blue");
	ck_assert_int_eq(ask_name(SHARE_GETXATTR, id, name), 0);
	ck_assert_uint_eq(a.rp.len, 0);
	ck_assert_uint_eq(a.rp.n, 5);
	a.rq.size = 4;
	ck_assert_int_eq(ask_name(SHARE_GETXATTR, id, name), -ERANGE);
	a.rq.flags = XATTR_CREATE;
	ck_assert_int_eq(ask_names(SHARE_SETXATTR, id, name, "red"), -EEXIST);
	ck_assert_int_eq(ask_name(SHARE_REMOVEXATTR, id, name), 0);
	a.rq.flags = XATTR_REPLACE;
	ck_assert_int_eq(ask_names(SHARE_SETXATTR, id, name, "red"), -ENODATA);
	ck_assert_int_eq(ask_name(SHARE_REMOVEXATTR, id, name), -ENODATA);
}
END_TEST

START_TEST(attribute_list)
{
	uint64_t id;

	ck_assert_int_eq(setxattr("tree/file", "user.a", "1", 1, 0), 0);
	ck_assert_int_eq(setxattr("tree/file", "trusted.secret", "1", 1, 0), 0);
	ck_assert_int_eq(setxattr("tree/file", "user.b", "1", 1, 0), 0);
	id = node(ROOT, "file");
	ck_assert_int_eq(ask(SHARE_LISTXATTR, id, "", 0), 0);
	ck_assert_uint_eq(a.rp.n, 14);
	a.rq.size = 13;
	ck_assert_int_eq(ask(SHARE_LISTXATTR, id, "", 0), -ERANGE);
	a.rq.size = 14;
	ck_assert_int_eq(ask(SHARE_LISTXATTR, id, "", 0), 0);
	ck_assert_uint_eq(a.rp.len, 14);
	ck_assert(!memmem(a.body, 14, "trusted", 7));
	ck_assert(memmem(a.body, 14, "user.b", 7));
	/* Of a link itself; and one that is larger than any. */
	a.rq.size = 100;
	ck_assert_int_eq(ask(SHARE_LISTXATTR, node(ROOT, "absolute"), "", 0), 0);
	a.rq.size = UINT32_MAX;
	ck_assert_int_eq(ask(SHARE_LISTXATTR, id, "", 0), 0);
	a.rq.size = UINT32_MAX;
	ck_assert_int_eq(ask_name(SHARE_GETXATTR, id, "user.a"), 0);
	ck_assert_uint_eq(a.rp.len, 1);
}
END_TEST

/* ACL entries as xattr(7) has them: version 2; tag, permissions, id. */
#define ACL_ENTRY(tag, perm, id)                                                                   \
	(tag), 0, (perm), 0, (id)&0xff, (id) >> 8 & 0xff, (id) >> 16 & 0xff, (id) >> 24

static const uint8_t acl[] = {
	2,
	0,
	0,
	0,
	ACL_ENTRY(1, 7, 0xffffffffu),
	ACL_ENTRY(2, 6, 1000u),
	ACL_ENTRY(4, 7, 0xffffffffu),
	ACL_ENTRY(16, 7, 0xffffffffu),
	ACL_ENTRY(32, 0, 0xffffffffu),
};

static int set_acl(uint64_t id, const char *name)
{
	uint8_t both[100];
	size_t n = strlen(name) + 1;

	memcpy(both, name, n);
	memcpy(both + n, acl, sizeof(acl));
	return ask(SHARE_SETXATTR, id, both, n + sizeof(acl));
}

START_TEST(default_acl_and_umask)
{
	uint64_t dir = node(ROOT, "dir"), file = node(ROOT, "file");

	ck_assert_int_eq(set_acl(dir, "system.posix_acl_default"), 0);
	a.rq.mode = 0666;
	a.rq.umask = 077;
	a.rq.flags = O_RDWR;
	ck_assert_int_eq(ask_name(SHARE_CREATE, dir, "new"), 0);
	ck_assert_uint_eq(entry().attr.mode, S_IFREG | 0660);
	a.rq.mode = 0666;
	a.rq.umask = 077;
	a.rq.flags = O_RDWR;
	ck_assert_int_eq(ask_name(SHARE_CREATE, ROOT, "new"), 0);
	ck_assert_uint_eq(entry().attr.mode, S_IFREG | 0600);
	/* An ACL set without privilege takes the set-group-ID bit away. */
	ck_assert_int_eq(chown("tree/file", 7, 7), 0);
	ck_assert_int_eq(chmod("tree/file", 02755), 0);
	ck_assert_int_eq(set_acl(file, "system.posix_acl_access"), 0);
	ck_assert_uint_eq(attr_of(file).mode & 07000, 02000);
	a.rq.kill = 1;
	ck_assert_int_eq(set_acl(file, "system.posix_acl_access"), 0);
	ck_assert_uint_eq(attr_of(file).mode & 07000, 0);
}
END_TEST

START_TEST(no_acls)
{
	ck_assert_int_eq(mount("x", "tree", "ramfs", 0, NULL), 0);
	open_share(false, 1000, 100);
	a.rq.size = 100;
	ck_assert_int_eq(ask_name(SHARE_GETXATTR, ROOT, "system.posix_acl_access"), -ENODATA);
	ck_assert_int_eq(set_acl(ROOT, "system.posix_acl_access"), -EOPNOTSUPP);
}
END_TEST

START_TEST(file_system)
{
	struct fuse_kstatfs k;

	ck_assert_int_eq(ask(SHARE_STATFS, node(ROOT, "file"), "", 0), 0);
	ck_assert_uint_eq(a.rp.len, sizeof(k));
	memcpy(&k, a.body, sizeof(k));
	ck_assert_uint_eq(k.namelen, 255);
	ck_assert_uint_gt(k.blocks, 0);
	ck_assert_int_eq(ask(SHARE_SYNCFS, ROOT, "", 0), 0);
}
END_TEST

/* ---- messages
 * --------------------------------------------------------------------------------------- */

/* Every message, cut at every byte: an error, or nothing was missing. */
START_TEST(cut_short)
{
	struct fuse_setattr_in in = { 0 };
	uint8_t data[200] = "file\0other\0value";
	size_t len, whole = _i == SHARE_SETATTR ? sizeof(in) : _i == SHARE_FORGET ? 32 : 17;

	if (_i == SHARE_SETATTR || _i == SHARE_FORGET)
		memset(data, 0, sizeof(data));
	for (len = 0; len < sizeof(a.rq) + whole; len++) {
		a.rq = (struct share_request){
			.op = (uint32_t)_i,
			.node = ROOT,
			.len = (uint32_t)(len < sizeof(a.rq) ? 0 : len - sizeof(a.rq))
		};
		memcpy(a.msg, &a.rq, sizeof(a.rq));
		memcpy(a.msg + sizeof(a.rq), data, whole);
		memset(a.msg + len, 'x', 8);
		a.len = len;
		if (len < sizeof(a.rq))
			ck_assert_int_eq(send_raw(&a), -EPROTO);
		else
			send_raw(&a);
	}
	ck_assert_int_eq(access("outside/secret", F_OK), 0);
}
END_TEST

static const struct {
	const char *what;
	uint32_t op;
	const char *data;
	uint32_t len, said;
} lies[] = {
	{ "no op", 0, "", 0, 0 },
	{ "op behind the last", SHARE_OPS, "", 0, 0 },
	{ "any op", UINT32_MAX, "", 0, 0 },
	{ "less than it says", SHARE_GETATTR, "", 0, 1 },
	{ "much less than it says", SHARE_LOOKUP, "x", 2, UINT32_MAX },
	{ "more than it says", SHARE_LOOKUP, "x\0y", 4, 2 },
	{ "data for nothing", SHARE_GETATTR, "x", 2, 2 },
	{ "no name", SHARE_LOOKUP, "", 0, 0 },
	{ "name without its end", SHARE_LOOKUP, "name", 4, 4 },
	{ "two names, one end", SHARE_LOOKUP, "name\0x", 6, 6 },
	{ "more behind a name", SHARE_MKDIR, "name\0x", 7, 7 },
	{ "one name of two", SHARE_RENAME, "name", 5, 5 },
	{ "second without its end", SHARE_RENAME, "name\0x", 6, 6 },
	{ "no target", SHARE_SYMLINK, "name", 5, 5 },
	{ "half an attribute", SHARE_SETATTR, "12345678", 8, 8 },
	{ "half a forget", SHARE_FORGET, "12345678", 8, 8 },
	{ "attribute without a name", SHARE_SETXATTR, "name", 4, 4 },
};

START_TEST(message_lies)
{
	a.rq = (struct share_request){ .op = lies[_i].op, .node = ROOT, .len = lies[_i].said };
	memcpy(a.msg, &a.rq, sizeof(a.rq));
	memcpy(a.msg + sizeof(a.rq), lies[_i].data, lies[_i].len);
	a.len = sizeof(a.rq) + lies[_i].len;
	ck_assert_msg(send_raw(&a) == -EPROTO, "%s", lies[_i].what);
}
END_TEST

START_TEST(message_too_long)
{
	a.rq = (struct share_request){ .op = SHARE_SETXATTR,
				       .node = ROOT,
				       .len = SHARE_MSG_BYTES + 1 - sizeof(a.rq) };
	memcpy(a.msg, &a.rq, sizeof(a.rq));
	a.len = SHARE_MSG_BYTES + 1;
	ck_assert_int_eq(send_raw(&a), -EPROTO);
	a.rq.len = 0;
	a.rq.reserved = 1;
	memcpy(a.msg, &a.rq, sizeof(a.rq));
	a.len = sizeof(a.rq);
	ck_assert_int_eq(send_raw(&a), -EPROTO);
}
END_TEST

/* ---- many at a time
 * ------------------------------------------------------------------------------------ */

static uint64_t seed;

/* Makes, looks up, renames, removes and forgets what the others do as well. */
static void *worker(void *arg)
{
	static const uint32_t some[] = { SHARE_LOOKUP, SHARE_MKDIR,  SHARE_MKNOD,  SHARE_UNLINK,
					 SHARE_RMDIR,  SHARE_RENAME, SHARE_LOOKUP, SHARE_CREATE };
	uint64_t state = seed + (uintptr_t)arg, known = ROOT;
	struct ask *k = calloc(1, sizeof(*k));
	struct err e;
	int i;

	if (!k || share_thread(&e) < 0)
		return no_rights;
	for (i = 0; i < 4000; i++) {
		uint64_t r = kit_random(&state);
		struct share_request rq = { .op = some[r % ARRAY_LEN(some)],
					    .node = known,
					    .node2 = ROOT,
					    .mode = S_IFREG * (r >> 8 & 1) | 0755,
					    .flags = r >> 9 & 1 ? O_RDWR : 0,
					    .uid = r >> 10 & 1 ? NO_RIGHTS : 0 };
		char names[4] = { (char)('a' + (r >> 16) % 6), 0, (char)('a' + (r >> 24) % 6), 0 };
		struct share_entry x;
		int fd;

		if (rq.op == SHARE_RENAME)
			rq.flags = 0;
		rq.len = rq.op == SHARE_RENAME ? 4 : 2;
		memcpy(k->msg, &rq, sizeof(rq));
		memcpy(k->msg + sizeof(rq), names, 4);
		k->got = share_call(share, k->msg, sizeof(rq) + rq.len, k->answer, &fd);
		fd_close(&fd);
		if (k->got != (ssize_t)(sizeof(k->rp) + sizeof(x)))
			continue;
		memcpy(&x, k->answer + sizeof(k->rp), sizeof(x));
		if (x.error)
			continue;
		node_forget(share, known, 1);
		known = x.node;
	}
	node_forget(share, known, 1);
	free(k);
	return NULL;
}

START_TEST(threads)
{
	pthread_t t[4];
	uintptr_t i;
	void *why;

	open_share(false, 1000, 3);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, worker, (void *)i), 0);
	for (i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_join(t[i], &why), 0);
		ck_assert_msg(!why, "%s", (char *)why);
	}
	ck_assert_uint_eq(n_nodes(), 1);
	ck_assert_uint_eq(n_fds(), 1);
}
END_TEST

START_TEST(refused)
{
	struct share_config none = { .nodes_max = 0, .fds_max = 1 };
	_cleanup_close_ int file = open("tree/file", O_PATH | O_CLOEXEC);
	_cleanup_close_ int dir = open("tree", O_PATH | O_CLOEXEC);
	struct share *s = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(share_new(dir, &none, &s, &e), -EINVAL);
	none.nodes_max = 1;
	ck_assert_int_eq(share_new(file, &none, &s, &e), -ENOTDIR);
	ck_assert_int_eq(share_new(-1, &none, &s, &e), -EBADF);
	ck_assert_ptr_null(s);
}
END_TEST

static TCase *names_case(void)
{
	TCase *t = tcase_create("names");

	tcase_add_loop_test(t, name_is_refused, 0, (int)ARRAY_LEN(bad_names));
	tcase_add_test(t, name_of_255);
	tcase_add_loop_test(t, links_are_not_followed, 0, (int)ARRAY_LEN(link_names));
	tcase_add_test(t, links_swapped_in);
	tcase_add_loop_test(t, odd_name, 0, (int)ARRAY_LEN(odd));
	tcase_add_test(t, created_through_a_link);
	tcase_add_test(t, moved_out_of_the_share);
	tcase_add_test(t, moved_within_the_share);
	tcase_add_test(t, mounts_below);
	tcase_add_test(t, descriptors_end_at_the_share);
	tcase_add_test(t, rename_flags);
	tcase_add_test(t, links);
	tcase_add_test(t, link_targets);
	tcase_add_test(t, remove_names);
	tcase_add_test(t, nameless_file);
	tcase_add_test(t, create_what_exists);
	tcase_add_test(t, read_only);
	tcase_add_test(t, refused);
	return t;
}

static TCase *files_case(void)
{
	TCase *t = tcase_create("files");

	tcase_add_loop_test(t, make_kind, 0, (int)ARRAY_LEN(kinds));
	tcase_add_test(t, special_files_are_not_opened);
	tcase_add_test(t, open_modes);
	tcase_add_test(t, made_for_a_user);
	tcase_add_test(t, made_without_permissions);
	tcase_add_test(t, set_group_id_directory);
	tcase_add_test(t, allowed_by_a_group);
	tcase_add_loop_test(t, set_user_id, 0, (int)ARRAY_LEN(bits));
	tcase_add_test(t, set_attributes);
	tcase_add_test(t, access_of_a_user);
	tcase_add_test(t, rights_of_a_thread);
	tcase_add_loop_test(t, attribute, 0, (int)ARRAY_LEN(attributes));
	tcase_add_test(t, attribute_list);
	tcase_add_test(t, default_acl_and_umask);
	tcase_add_test(t, no_acls);
	tcase_add_test(t, file_system);
	return t;
}

static TCase *nodes_case(void)
{
	TCase *t = tcase_create("nodes");

	tcase_add_test(t, counted_exactly);
	tcase_add_loop_test(t, ids_that_were_never_given, 0, (int)ARRAY_LEN(never_given));
	tcase_add_test(t, few_descriptors);
	tcase_add_test(t, inode_numbers_come_back);
	tcase_add_test(t, too_many_nodes);
	tcase_add_test(t, descriptors_only);
	tcase_add_test(t, batch);
	tcase_add_loop_test(t, cut_short, 0, SHARE_OPS);
	tcase_add_loop_test(t, message_lies, 0, (int)ARRAY_LEN(lies));
	tcase_add_test(t, message_too_long);
	tcase_add_test(t, threads);
	return t;
}

Suite *storage_share_suite(void)
{
	Suite *s = suite_create("storage_share");
	const char *why = kit_storage_missing(false);
	TCase *t[] = { names_case(), files_case(), nodes_case() };
	size_t i;

	if (why)
		kit_skip("storage_share", why);
	else
		seed = kit_seed("storage_share");
	for (i = 0; i < ARRAY_LEN(t); i++) {
		tcase_add_checked_fixture(t[i], setup, teardown);
		tcase_set_timeout(t[i], 120);
		if (!why)
			suite_add_tcase(s, t[i]);
	}
	return s;
}
