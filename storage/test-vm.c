// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What is tested in a virtual machine, where this host runs one: podvm runs a bundle
 * whose root file system is an overlay of the layers under test, with one layer of our
 * own on top that brings busybox. The guest lists its tree and sums its contents; the
 * same busybox, the host's own, does the same on the host's mount. Nothing of the
 * layers under test is executed, neither here nor there.
 *
 * Then the guest writes, reads back after its caches were dropped, and tells how fast
 * it was. Whether the writes came back to the host's upper directory is looked at
 * after the container has stopped.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "storage/place.h"
#include "storage/source.h"
#include "storage/test.h"

#define IN_GUEST "/.podvm-test/busybox"

#define VM_MS (300 * 1000)
#define HOST_MS (600 * 1000)
#define BUSYBOX_BYTES_MAX (64u << 20)
#define OUTPUT_BYTES_MAX (512u << 20)

/* Entries but mount points of a container: type, mode, owner, size of files, time, target. */
static const char list[] =
	"cd \"$1\" && B=$2 && "
	"$B find . -xdev ! -path ./proc ! -path './proc/*' ! -path ./sys ! -path './sys/*' "
	"! -path ./dev ! -path './dev/*' ! -path . ! -path ./run ! -path ./tmp "
	"-exec $B stat -c '%N|%F|%f|%u:%g|%Y|%t:%T' {} + | $B sort; "
	"$B find . -xdev -type f ! -path './dev/*' ! -path './proc/*' ! -path './sys/*' "
	"-exec $B md5sum {} + | $B sort";

/* Prints figures as lines "name value". */
static const char writes[] =
	"set -e; B=$2; cd /; "
	"$B echo written > .podvm-test/new; "
	"$B dd if=/dev/urandom of=.podvm-test/big bs=1M count=16 2> /dev/null; "
	"a=$($B md5sum < .podvm-test/big); $B sync; "
	"echo 3 > /proc/sys/vm/drop_caches 2> /dev/null || :; "
	"b=$($B md5sum < .podvm-test/big); [ \"$a\" = \"$b\" ]; "
	"$B mv .podvm-test/big .podvm-test/moved; $B rm .podvm-test/moved; "
	"$B mkdir .podvm-test/dir; $B ln -s dir .podvm-test/link; "
	"[ \"$($B cat .podvm-test/new)\" = written ]; "
	"t() { $B sed 's/ .*//' /proc/uptime; }; "
	"s=$(t); $B find . -xdev -type f ! -path './proc/*' ! -path './sys/*' ! -path './dev/*' "
	"-exec $B cat {} + | $B wc -c | $B sed 's/^/read-bytes /'; "
	"echo read-begin $s; echo read-end $(t); "
	"s=$(t); $B dd if=/dev/zero of=.podvm-test/z bs=1M count=64 conv=fsync 2> /dev/null; "
	"echo write-begin $s; echo write-end $(t); $B rm .podvm-test/z; echo done";

/* A container under test. */
struct vm {
	struct test *t;
	const char *prefix;
	char program[PATH_MAX];
	char base[PATH_MAX]; /* holds tools, upper, work, bundle */
	char rootfs[PATH_MAX];
	char root[PATH_MAX]; /* podvm's state */
};

static void row(struct vm *v, int rc, const char *what, const struct err *e, const char *text)
{
	char name[48];

	snprintf(name, sizeof(name), "%s%sguest %s", v->prefix, v->prefix[0] ? ": " : "", what);
	report_result(v->t->report, rc, name, e, "%s", text);
}

/* Runs a program with standard output in a file of the base and a limit. */
static int run_to(struct vm *v, const char *path, char *const *argv, const char *out, int limit_ms,
		  int *ret_status, struct err *e)
{
	char file[PATH_MAX + 32], errors[PATH_MAX + 32];
	_cleanup_close_ int fd = -1, err_fd = -1, pidfd = -1;
	int rc;

	snprintf(file, sizeof(file), "%s/%s", v->base, out);
	snprintf(errors, sizeof(errors), "%s/errors", v->base);
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	err_fd = open(errors, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || err_fd < 0)
		return err_sys(e, "%s", file);
	struct proc_fd fds[] = {{fd, 1}, {err_fd, 2}};
	struct proc_spec s = {.path = path, .argv = argv, .fds = fds, .n_fds = 2};

	rc = proc_spawn(&s, NULL, &pidfd, e);
	if (rc < 0)
		return rc;
	rc = proc_wait(pidfd, limit_ms, ret_status, e);
	if (rc == -ETIMEDOUT) {
		proc_kill(pidfd, SIGKILL);
		proc_wait(pidfd, -1, ret_status, NULL);
	}
	return rc;
}

/* The last line that a program has left on standard error. */
static void last_words(const struct vm *v, char *dst, size_t room)
{
	char path[PATH_MAX + 32], *text = NULL, *line;

	snprintf(path, sizeof(path), "%s/errors", v->base);
	snprintf(dst, room, "no reason told");
	if (file_read(AT_FDCWD, path, 1u << 20, &text, NULL, NULL) < 0)
		return;
	while (text[0] && text[strlen(text) - 1] == '\n')
		text[strlen(text) - 1] = 0;
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	if (line[0])
		snprintf(dst, room, "%s", line);
	free(text);
}

static void text_list(struct json_out *o, const char *key, const char *const *v)
{
	json_out_arr(o, key);
	for (; *v; v++)
		json_out_str(o, NULL, *v);
	json_out_end(o);
}

static void add_mount(struct json_out *o, const char *at, const char *type)
{
	json_out_obj(o, NULL);
	json_out_str(o, "destination", at);
	json_out_str(o, "type", type);
	json_out_str(o, "source", type);
	json_out_end(o);
}

static void process(struct json_out *o, const char *script)
{
	const char *args[] = {IN_GUEST, "sh", "-c", script, "test", "/", IN_GUEST, NULL};
	static const char *const caps[] = {"CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH",
					   "CAP_SYS_ADMIN",    "CAP_FOWNER",
					   "CAP_CHOWN",	       NULL};
	static const char *const sets[] = {"bounding", "effective", "permitted", NULL};
	size_t i;

	json_out_obj(o, "process");
	json_out_str(o, "cwd", "/");
	text_list(o, "args", args);
	json_out_obj(o, "user");
	json_out_u64(o, "uid", 0);
	json_out_u64(o, "gid", 0);
	json_out_end(o);
	json_out_obj(o, "capabilities");
	for (i = 0; sets[i]; i++)
		text_list(o, sets[i], caps);
	json_out_end(o);
	json_out_end(o);
}

static int write_config(const struct vm *v, const char *script, struct err *e)
{
	static const char *const spaces[] = {"pid", "network", "ipc", "uts", "mount", NULL};
	_cleanup_free_ char *text = NULL;
	struct json_out *o = json_out_new();
	char path[PATH_MAX + 32];
	size_t i;
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "ociVersion", "1.0.2");
	process(o, script);
	json_out_obj(o, "root");
	json_out_str(o, "path", v->rootfs);
	json_out_bool(o, "readonly", false);
	json_out_end(o);
	json_out_arr(o, "mounts");
	add_mount(o, "/proc", "proc");
	json_out_end(o);
	json_out_obj(o, "linux");
	json_out_arr(o, "namespaces");
	for (i = 0; spaces[i]; i++) {
		json_out_obj(o, NULL);
		json_out_str(o, "type", spaces[i]);
		json_out_end(o);
	}
	json_out_end(o);
	json_out_end(o);
	rc = json_out_text(o, true, &text, e);
	json_out_free(o);
	snprintf(path, sizeof(path), "%s/bundle/config.json", v->base);
	return rc < 0 ? rc : file_replace(AT_FDCWD, path, text, strlen(text), 0600, e);
}

/* Appends a path of a layer; the option's own characters are escaped. */
static void add_layer(struct strbuf *b, const char *path)
{
	strbuf_add(b, ":");
	for (; *path; path++)
		strbuf_add(b, strchr("\\:,", *path) ? "\\%c" : "%c", *path);
}

static int mount_rootfs(const struct vm *v, const struct overlay *o, struct err *e)
{
	struct strbuf b = {0};
	size_t i;
	int rc = 0;

	strbuf_add(&b, "lowerdir=%s/tools", v->base);
	for (i = 0; i < o->n_layers; i++) {
		if (o->layer[i].path[0] != '/')
			rc = err_set(e, EOPNOTSUPP, "the layers are named by relative paths");
		add_layer(&b, o->layer[i].path);
	}
	strbuf_add(&b, ",upperdir=%s/upper,workdir=%s/work", v->base, v->base);
	if (!rc && (b.failed || b.len >= 4096))
		rc = err_set(e, EOPNOTSUPP,
			     "the paths of the layers are too long to mount them once more");
	if (!rc && mount("overlay", v->rootfs, "overlay", 0, b.text) < 0)
		rc = err_set(e, EOPNOTSUPP, "mount of the layers once more: %s", strerror(errno));
	strbuf_done(&b);
	return rc;
}

/**
 * test_busybox() - copy the host's busybox, which is static
 * @path: in @dir_fd; made or replaced
 *
 * Return: 0; -EOPNOTSUPP where there is none; minus errno
 */
int test_busybox(int dir_fd, const char *path, struct err *e)
{
	_cleanup_free_ char *data = NULL;
	size_t len;

	if (access(TEST_BUSYBOX, R_OK))
		return err_set(e, EOPNOTSUPP,
			       TEST_BUSYBOX " is not installed: install busybox-static");
	if (file_read(AT_FDCWD, TEST_BUSYBOX, BUSYBOX_BYTES_MAX, &data, &len, e) < 0)
		return -e->code;
	return file_replace(dir_fd, path, data, len, 0755, e);
}

static int prepare(struct vm *v, struct err *e)
{
	static const char *const dirs[] = {"vm",
					   "vm/tools",
					   "vm/tools/.podvm-test",
					   "vm/tools/proc",
					   "vm/tools/sys",
					   "vm/tools/dev",
					   "vm/upper",
					   "vm/work",
					   "vm/upper0",
					   "vm/work0",
					   "vm/bundle",
					   "vm/rootfs"};
	char made[PATH_MAX];
	size_t i;
	int rc = 0;

	if (access("/dev/kvm", R_OK | W_OK))
		return err_set(e, EOPNOTSUPP, "/dev/kvm: %s", strerror(errno));
	if (place_program(v->program, sizeof(v->program), "podvm", e) < 0)
		return err_set(e, EOPNOTSUPP, "podvm is not installed beside this program");
	for (i = 0; !rc && i < ARRAY_LEN(dirs); i++)
		rc = test_dir(v->t, dirs[i], made, sizeof(made), e);
	if (rc < 0)
		return rc;
	snprintf(v->base, sizeof(v->base), "%.*s/vm", PATH_MAX - 128, v->t->work->path);
	snprintf(v->rootfs, sizeof(v->rootfs), "%.*s/rootfs", PATH_MAX - 64, v->base);
	snprintf(v->root, sizeof(v->root), "%.*s/state", PATH_MAX - 64, v->base);
	rc = test_busybox(v->t->work->fd, "vm/tools" IN_GUEST, e);
	return rc ? rc : journal_add(v->t->work->journal, e, "pod", v->root, NULL);
}

/* Runs a script in a container of its own, to its end. */
static int run_guest(struct vm *v, const char *script, const char *out, struct err *e)
{
	char bundle[PATH_MAX + 32], why[300];
	char *const argv[] = {(char *)(uintptr_t) "podvm",
			      (char *)(uintptr_t) "--root",
			      v->root,
			      (char *)(uintptr_t) "run",
			      (char *)(uintptr_t) "--bundle",
			      bundle,
			      (char *)(uintptr_t) "test",
			      NULL};
	int rc, status = 0;

	snprintf(bundle, sizeof(bundle), "%s/bundle", v->base);
	rc = write_config(v, script, e);
	if (!rc)
		rc = run_to(v, v->program, argv, out, VM_MS, &status, e);
	if (rc < 0 || !status)
		return rc;
	last_words(v, why, sizeof(why));
	return err_set(e, EIO, "exit status %d: %s", status, why);
}

/*
 * A machine on the tools alone. Where that does not come to its end, nothing can be
 * said of the layers under test; where it does, what fails later is theirs.
 */
static int try_host(struct vm *v, struct err *e)
{
	char text[4 * PATH_MAX];
	int rc;

	snprintf(text, sizeof(text), "lowerdir=%s/tools,upperdir=%s/upper0,workdir=%s/work0",
		 v->base, v->base, v->base);
	if (mount("overlay", v->rootfs, "overlay", 0, text) < 0)
		return err_set(e, EOPNOTSUPP, "mount of an overlay: %s", strerror(errno));
	rc = run_guest(v, "exit 0", "guest.try", e);
	umount2(v->rootfs, MNT_DETACH | UMOUNT_NOFOLLOW);
	if (!rc)
		return 0;
	err_wrap(e, "this host runs no machine");
	e->code = EOPNOTSUPP;
	return -EOPNOTSUPP;
}

static int mount_layers(struct vm *v, const char *path, struct err *e)
{
	struct source *s = NULL;
	int rc = source_probe(path, &s, e);

	if (!rc && !s->overlay)
		rc = err_set(e, EOPNOTSUPP, "only overlays are tested in a machine yet");
	if (!rc)
		rc = mount_rootfs(v, s->overlay, e);
	source_free(s);
	return rc;
}

static int list_host(struct vm *v, struct err *e)
{
	char *const argv[] = {(char *)(uintptr_t) "busybox",   (char *)(uintptr_t) "sh",
			      (char *)(uintptr_t) "-c",	       (char *)(uintptr_t)list,
			      (char *)(uintptr_t) "test",      v->rootfs,
			      (char *)(uintptr_t)TEST_BUSYBOX, NULL};
	int status, rc = run_to(v, TEST_BUSYBOX, argv, "host.list", HOST_MS, &status, e);

	return rc < 0	? rc
	       : status ? err_set(e, EIO, "listing on the host: exit status %d", status)
			: 0;
}

/* The first line that differs; NULL if none does. @ret_n: lines. */
static char *first_difference(char *a, char *b, size_t *ret_n)
{
	char *la = strsep(&a, "\n"), *lb = strsep(&b, "\n");

	*ret_n = 0;
	while (la && lb && !strcmp(la, lb)) {
		++*ret_n;
		la = strsep(&a, "\n");
		lb = strsep(&b, "\n");
	}
	return la ? la : lb;
}

static int read_output(const struct vm *v, const char *name, char **ret, struct err *e)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", v->base, name);
	return file_read(AT_FDCWD, path, OUTPUT_BYTES_MAX, ret, NULL, e);
}

static void same_tree(struct vm *v)
{
	_cleanup_free_ char *host = NULL, *guest = NULL;
	char text[128], shown[300], *odd;
	struct err e = {0};
	size_t n = 0;
	int rc = list_host(v, &e);

	if (!rc)
		rc = read_output(v, "host.list", &host, &e);
	if (!rc)
		rc = read_output(v, "guest.list", &guest, &e);
	odd = rc ? NULL : first_difference(host, guest, &n);
	if (odd) {
		str_quote(shown, sizeof(shown), odd);
		rc = err_set(&e, EILSEQ, "line %zu differs: %s", n + 1, shown);
	}
	snprintf(text, sizeof(text), "%zu lines of entries and sums of contents", n);
	row(v, rc, "tree", &e, text);
}

static double figure(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtod(at + strlen(name), NULL) : 0;
}

static void io_row(struct vm *v, const char *text)
{
	double read_s = figure(text, "read-end ") - figure(text, "read-begin ");
	double write_s = figure(text, "write-end ") - figure(text, "write-begin ");
	double mib = figure(text, "read-bytes ") / (1 << 20);
	struct err e = {0};
	char shown[200];

	/* /proc/uptime has hundredths of a second. */
	snprintf(shown, sizeof(shown),
		 "reading all %.0f MiB: %.0f MiB/s; writing 64 MiB with fsync: %.0f MiB/s", mib,
		 mib / (read_s > 0.01 ? read_s : 0.01), 64 / (write_s > 0.01 ? write_s : 0.01));
	row(v, 0, "I/O", &e, shown);
}

/* Whether what the guest wrote is in the host's mount now. */
static void way_back(struct vm *v)
{
	char path[PATH_MAX + 64], *text = NULL;
	struct err e = {0};
	int rc;

	snprintf(path, sizeof(path), "%s/.podvm-test/new", v->rootfs);
	if (access(path, F_OK))
		rc = err_set(&e, EOPNOTSUPP, "this podvm keeps changes in the guest");
	else
		rc = file_read(AT_FDCWD, path, 4096, &text, NULL, &e);
	if (!rc && strcmp(text, "written\n"))
		rc = err_set(&e, EILSEQ, "what came back is not what was written");
	row(v, rc, "write-back", &e, "the host's upper directory has what was written");
	free(text);
}

static void check_writes(struct vm *v)
{
	_cleanup_free_ char *text = NULL;
	struct err e = {0};
	int rc = run_guest(v, writes, "guest.writes", &e);

	if (!rc)
		rc = read_output(v, "guest.writes", &text, &e);
	if (!rc && !strstr(text, "done"))
		rc = err_set(&e, EIO, "the guest's script did not come to its end");
	row(v, rc, "writes", &e, "written, renamed, removed, and read back");
	if (rc < 0)
		return;
	io_row(v, text);
	way_back(v);
}

/**
 * test_vm() - test a root file system in a virtual machine
 * @path: the root of an overlay mount
 */
void test_vm(struct test *t, const char *prefix, const char *path)
{
	struct vm v = {.t = t, .prefix = prefix};
	struct err e = {0};
	int rc = prepare(&v, &e);

	if (!rc)
		rc = try_host(&v, &e);
	if (!rc)
		rc = mount_layers(&v, path, &e);
	if (!rc)
		rc = run_guest(&v, list, "guest.list", &e);
	row(&v, rc, "boot", &e, "a machine ran a container on it");
	if (!rc) {
		same_tree(&v);
		check_writes(&v);
	}
	umount2(v.rootfs, MNT_DETACH | UMOUNT_NOFOLLOW);
	test_remove(t, "vm");
}
