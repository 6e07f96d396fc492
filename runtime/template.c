// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Templates lie below the state directory, beside the pods:
 *
 *	templates/KEY/memory    guest RAM, as large as that, and sparse
 *	templates/KEY/state     of processors and devices, as the monitor wrote it
 *	templates/KEY/machine.json   what the two depend on
 *	templates/new.*, old.*  one that is being made, one that is being removed
 *
 * What a saved machine depends on is written down as one text: its configuration, which
 * files monitor, kernel and initramfs are, the version, and the boot of the host, whose
 * kernel and processors the state is of. KEY is a digest of that text, to have a short name;
 * that it is the right one is found by comparing the texts. So none is out of date:
 * what has changed has another name, and the old one is the least recently used some day. (But for a
 * kvm module that is loaded again with other parameters, or microcode that comes late: after
 * those, remove them.)
 *
 * Who makes or removes holds the lock of the folder: flock(2) of the directory itself, so
 * that there is no file that has to stay. It is removed when it is empty, hence who has
 * got the lock looks whether it is still that of the folder. Users take no lock: they open
 * KEY, then both files in it; KEY appears and goes as a whole by rename(2), and a new one
 * is another directory, so they never get one file of each. What they have opened stays
 * theirs when it is removed.
 *
 * Who holds the lock finds no other that is making: all that is no KEY is what somebody
 * left who was killed.
 */
#include "runtime/template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"

#define FOLDER "templates"
#define ABOUT_MAX_BYTES 65536

/* How often it is tried to get a lock that somebody holds. */
#define LOCK_POLL_NS 5000000

/* Free space that is left to others beside what a guest has written when it is up. */
#define SPARE_BYTES (128ull << 20)
#define SPARE_SHARE 32

/* ---- which one ------------------------------------------------------------------------ */

static int put_file(struct json_out *o, const char *what, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "%s: stat", what);
	json_out_obj(o, what);
	json_out_u64(o, "dev", st.st_dev);
	json_out_u64(o, "ino", st.st_ino);
	json_out_i64(o, "size", st.st_size);
	json_out_i64(o, "mtime", st.st_mtim.tv_sec);
	json_out_i64(o, "mtimeNs", st.st_mtim.tv_nsec);
	json_out_i64(o, "ctime", st.st_ctim.tv_sec);
	json_out_i64(o, "ctimeNs", st.st_ctim.tv_nsec);
	json_out_end(o);
	return 0;
}

static int put_about(struct json_out *o, const struct vmm_config *c, int vmm, int kernel,
		     int initramfs, struct err *e)
{
	char boot[PROC_BOOT_ID_BYTES];
	int rc = proc_boot_id(boot, e);

	if (rc < 0)
		return rc;
	json_out_str(o, "version", PODVM_VERSION);
	json_out_str(o, "boot", boot);
	json_out_u64(o, "ramBytes", c->ram_bytes);
	json_out_u64(o, "hotplugBytes", c->hotplug_bytes);
	json_out_u64(o, "vcpus", c->vcpus);
	json_out_u64(o, "guestCid", c->guest_cid);
	json_out_u64(o, "pages", c->pages);
	json_out_u64(o, "merge", c->merge);
	json_out_u64(o, "prefault", c->prefault);
	json_out_str(o, "cmdline", c->cmdline);
	if ((rc = put_file(o, "vmm", vmm, e)) < 0 || (rc = put_file(o, "kernel", kernel, e)) < 0)
		return rc;
	return put_file(o, "initramfs", initramfs, e);
}

/**
 * template_id() - which template a machine can be made of
 * @vmm, @kernel, @initramfs: open files, also by O_PATH; borrowed
 * @ret: owned by the caller, template_id_done()
 *
 * Return: 0 or minus errno
 */
int template_id(const struct vmm_config *c, int vmm, int kernel, int initramfs,
		struct template_id *ret, struct err *e)
{
	struct json_out *o = json_out_new();
	char *about;
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	rc = put_about(o, c, vmm, kernel, initramfs, e);
	if (!rc)
		rc = json_out_text(o, false, &about, e);
	json_out_free(o);
	if (rc < 0)
		return rc;
	snprintf(ret->key, sizeof(ret->key), "%016llx",
		 (unsigned long long)XXH3_64bits(about, strlen(about)));
	ret->about = about;
	ret->ram_bytes = c->ram_bytes;
	return 0;
}

/**
 * template_id_done() - free it; a zeroed one is fine
 */
void template_id_done(struct template_id *id)
{
	free(id->about);
	id->about = NULL;
}

static bool is_key(const char *name)
{
	return strlen(name) == TEMPLATE_KEY_BYTES - 1 &&
	       strspn(name, "0123456789abcdef") == TEMPLATE_KEY_BYTES - 1;
}

/* ---- use ------------------------------------------------------------------------------- */

static int open_folder(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* A regular file that is not empty. */
static int open_file(int dir, const char *name, int *ret, struct err *e)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "%s", name);
	if (!S_ISREG(st.st_mode) || !st.st_size)
		return err_set(e, EBADMSG, "%s: not a file with content", name);
	*ret = fd_steal(&fd);
	return 0;
}

static int same_about(int dir, const char *about, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int fd = -1, rc = open_file(dir, "machine.json", &fd, e);

	if (rc < 0)
		return rc;
	rc = file_read(AT_FDCWD, fd_path(fd).s, ABOUT_MAX_BYTES, &text, NULL, e);
	fd_close(&fd);
	if (rc < 0)
		return err_wrap(e, "machine.json");
	return strcmp(text, about) ? err_set(e, EBADMSG, "machine.json: of another machine") : 0;
}

static int open_files(int dir, const char *about, struct template *t, struct err *e)
{
	int rc = same_about(dir, about, e);

	if (!rc)
		rc = open_file(dir, "memory", &t->memory, e);
	return rc < 0 ? rc : open_file(dir, "state", &t->state, e);
}

/* One try. Return: as template_open(), or 2: it was exchanged meanwhile */
static int open_once(int folder, const struct template_id *id, struct template *t, struct err *e)
{
	const struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
	_cleanup_close_ int dir = -1;
	struct stat st;
	int rc;

	if (fstatat(folder, id->key, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 1 : err_sys(e, "stat");
	t->ino = st.st_ino;
	dir = open_folder(folder, id->key);
	if (dir < 0)
		return errno == ENOENT ? 2 : err_sys(e, "directory");
	if (fstat(dir, &st) < 0)
		return err_sys(e, "stat");
	t->ino = st.st_ino;
	rc = open_files(dir, id->about, t, e);
	if (!rc)
		futimens(dir, now); /* else it counts as used before */
	if (!rc)
		return 0;
	/* Removed right now: that is no fault of it. */
	if (fstatat(folder, id->key, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != t->ino)
		return 2;
	return rc;
}

/**
 * template_open() - open a template for a machine that is to be made of it
 * @rootfd: state directory, borrowed
 * @ret:    template_close(); after a failure it names what was there
 *
 * Return: 0; 1: there is none; minus errno: what is there is of no use
 */
int template_open(int rootfd, const struct template_id *id, struct template *ret, struct err *e)
{
	_cleanup_close_ int folder = open_folder(rootfd, FOLDER);
	int rc;

	*ret = TEMPLATE_NONE;
	if (folder < 0)
		return errno == ENOENT ? 1 : err_sys(e, FOLDER);
	do {
		template_close(ret);
		*ret = TEMPLATE_NONE;
		rc = open_once(folder, id, ret, e);
	} while (rc == 2);
	if (rc)
		template_close(ret);
	return rc < 0 ? err_wrap(e, "template %s", id->key) : rc;
}

/**
 * template_close() - close its files; fine at any stage
 */
void template_close(struct template *t)
{
	fd_close(&t->memory);
	fd_close(&t->state);
}

/**
 * template_in_making() - whether somebody is making this one now, or was killed by it
 */
bool template_in_making(int rootfd, const struct template_id *id)
{
	_cleanup_close_ int folder = open_folder(rootfd, FOLDER);
	struct dirent **list = NULL;
	int i, n = folder < 0 ? 0 : scandirat(folder, ".", &list, NULL, NULL);
	bool found = false;

	for (i = 0; i < n; i++) {
		int dir = str_starts(list[i]->d_name, "new.") ? open_folder(folder, list[i]->d_name) : -1;

		found |= dir >= 0 && !same_about(dir, id->about, NULL);
		fd_close(&dir);
		free(list[i]);
	}
	free(list);
	return found;
}

/* ---- make and remove ------------------------------------------------------------------- */

/* 1: got it; 0: somebody has it, or it was that of a folder that has gone */
static int try_lock(int rootfd, bool make, int *ret_lock, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct stat a, b;

	if (make && mkdirat(rootfd, FOLDER, 0700) < 0 && errno != EEXIST)
		return err_sys(e, FOLDER ": mkdir");
	fd = open_folder(rootfd, FOLDER);
	if (fd < 0)
		return make && errno == ENOENT ? 0 : err_sys(e, FOLDER);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 0 : err_sys(e, FOLDER ": flock");
	if (fstat(fd, &a) < 0 || fstatat(rootfd, FOLDER, &b, AT_SYMLINK_NOFOLLOW) < 0 ||
	    a.st_ino != b.st_ino)
		return 0;
	*ret_lock = fd_steal(&fd);
	return 1;
}

/**
 * templates_lock() - get the right to make and to remove templates
 * @make:       make the folder if there is none
 * @timeout_ms: how long somebody else may have it
 * @ret_lock:   the folder; templates_unlock()
 *
 * Return: 0; -ENOENT: there is no folder; -ETIMEDOUT; minus errno
 */
int templates_lock(int rootfd, bool make, int timeout_ms, int *ret_lock, struct err *e)
{
	const struct timespec pause = { .tv_nsec = LOCK_POLL_NS };
	uint64_t end = clock_ms() + (uint64_t)timeout_ms;
	int rc;

	while (!(rc = try_lock(rootfd, make, ret_lock, e))) {
		if (clock_ms() >= end)
			return err_set(e, ETIMEDOUT, FOLDER ": somebody else makes or removes one for more than %d ms",
				       timeout_ms);
		nanosleep(&pause, NULL);
	}
	return rc < 0 ? rc : 0;
}

/**
 * templates_unlock() - give the right back; an empty folder goes
 */
void templates_unlock(int rootfd, int *lock)
{
	if (*lock < 0)
		return;
	unlinkat(rootfd, FOLDER, AT_REMOVEDIR); /* fails where one is left */
	fd_close(lock);
}

static int random_name(const char *stem, char name[24], struct err *e)
{
	uint64_t v;

	if (getrandom(&v, sizeof(v), 0) != sizeof(v))
		return err_sys(e, "getrandom");
	snprintf(name, 24, "%s.%016llx", stem, (unsigned long long)v);
	return 0;
}

/* What was left by who was killed: we hold the lock. */
static void sweep(int lock)
{
	struct dirent **list = NULL;
	int i, n = scandirat(lock, ".", &list, NULL, NULL);

	for (i = 0; i < n; i++) {
		const char *name = list[i]->d_name;

		if (strcmp(name, ".") && strcmp(name, "..") && !is_key(name))
			dir_remove(lock, name, NULL);
		free(list[i]);
	}
	free(list);
}

/* Else the host would have no memory, or no disk, for its own. */
static int has_room(int lock, uint64_t ram_bytes, struct err *e)
{
	uint64_t want = SPARE_BYTES + ram_bytes / SPARE_SHARE, room;
	struct statfs fs;

	if (fstatfs(lock, &fs) < 0)
		return err_sys(e, FOLDER ": statfs");
	room = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	if (room < want)
		return err_set(e, ENOSPC, FOLDER ": %llu MiB are free in the state directory's file system, %llu needed",
			       (unsigned long long)room >> 20, (unsigned long long)want >> 20);
	return 0;
}

static int note(int lock, const char *name, struct journal *j, struct err *e)
{
	char folder[PATH_MAX], path[PATH_MAX];
	int rc = fd_name(lock, folder, sizeof(folder));

	if (rc < 0)
		return err_set(e, -rc, FOLDER ": its path");
	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, FOLDER ": its path is too long");
	return journal_add(j, e, "template", path, NULL);
}

static int new_files(int dir, const struct template_id *id, struct template_new *n, struct err *e)
{
	const int how = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;

	n->memory = openat(dir, "memory", how, 0600);
	n->state = openat(dir, "state", how, 0600);
	if (n->memory < 0 || n->state < 0)
		return err_sys(e, "a new file");
	return file_replace(dir, "machine.json", id->about, strlen(id->about), 0600, e);
}

/**
 * template_begin() - begin a new template
 * @lock: from templates_lock(), as below
 * @j:    gets a record by which template_undo() removes it
 * @ret:  template_new_done()
 *
 * Return: 0; -ENOSPC; minus errno
 */
int template_begin(int lock, const struct template_id *id, struct journal *j,
		   struct template_new *ret, struct err *e)
{
	_cleanup_close_ int dir = -1;
	int rc;

	*ret = TEMPLATE_NEW_NONE;
	sweep(lock);
	if ((rc = has_room(lock, id->ram_bytes, e)) < 0 ||
	    (rc = random_name("new", ret->name, e)) < 0 || (rc = note(lock, ret->name, j, e)) < 0)
		return rc;
	if (mkdirat(lock, ret->name, 0700) < 0)
		return err_sys(e, FOLDER ": mkdir");
	dir = open_folder(lock, ret->name);
	rc = dir < 0 ? err_sys(e, FOLDER ": new one") : new_files(dir, id, ret, e);
	if (rc < 0) {
		template_new_done(ret);
		dir_remove(lock, ret->name, NULL);
	}
	return rc;
}

/**
 * template_new_done() - close its files
 */
void template_new_done(struct template_new *n)
{
	fd_close(&n->memory);
	fd_close(&n->state);
}

static int64_t ns_of(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

/* The least recently used one but @but, of more than there may be. 1: in @ret; 0: none */
static int find_oldest(int lock, const char *but, char ret[TEMPLATE_KEY_BYTES])
{
	struct dirent **list = NULL;
	int i, keys = 0, found = 0, n = scandirat(lock, ".", &list, NULL, NULL);
	int64_t oldest = INT64_MAX;
	struct stat st;

	for (i = 0; i < n; i++) {
		const char *name = list[i]->d_name;

		keys += is_key(name);
		if (is_key(name) && strcmp(name, but) &&
		    !fstatat(lock, name, &st, AT_SYMLINK_NOFOLLOW) && ns_of(&st.st_mtim) < oldest) {
			oldest = ns_of(&st.st_mtim);
			found = !str_copy(ret, TEMPLATE_KEY_BYTES, name);
		}
		free(list[i]);
	}
	free(list);
	return keys > TEMPLATES_MAX && found;
}

static void trim(int lock, const char *but)
{
	char key[TEMPLATE_KEY_BYTES];

	while (find_oldest(lock, but, key) && !template_remove(lock, key, 0, NULL))
		;
}

/**
 * template_finish() - a new template is complete, and can be used from now on
 *
 * Those that are too many go.
 *
 * Return: 0 or minus errno
 */
int template_finish(int lock, const struct template_id *id, const struct template_new *n,
		    struct err *e)
{
	int rc = template_remove(lock, id->key, 0, e);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (renameat(lock, n->name, lock, id->key) < 0)
		return err_sys(e, "template %s: rename", id->key);
	trim(lock, id->key);
	return 0;
}

/**
 * template_remove() - remove a template; who uses it keeps what he has
 * @ino: of struct template: only if it is still that one; 0: whichever it is
 *
 * Return: 0; -ENOENT: there is none, or another one; minus errno
 */
int template_remove(int lock, const char *key, uint64_t ino, struct err *e)
{
	char name[24];
	struct stat st;
	int rc;

	if (!is_key(key) || fstatat(lock, key, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (ino && st.st_ino != ino))
		return err_set(e, ENOENT, "there is no template %.40s", key);
	rc = random_name("old", name, e);
	if (rc < 0)
		return rc;
	if (renameat(lock, key, lock, name) < 0)
		return err_sys(e, "template %s: rename", key);
	rc = dir_remove(lock, name, e);
	return rc < 0 ? err_wrap(e, "template %s", key) : 0;
}

/**
 * templates_remove_all() - remove all templates, and what was left of others
 *
 * Return: 0 or minus errno
 */
int templates_remove_all(int lock, struct err *e)
{
	struct dirent **list = NULL;
	int i, rc = 0, n = scandirat(lock, ".", &list, NULL, NULL);

	if (n < 0)
		return err_sys(e, FOLDER);
	for (i = 0; i < n; i++) {
		if (!rc && is_key(list[i]->d_name))
			rc = template_remove(lock, list[i]->d_name, 0, e);
		free(list[i]);
	}
	free(list);
	sweep(lock);
	return rc;
}

/**
 * template_undo() - undo a record of template_begin(): what was not finished goes
 *
 * No lock is needed: its name was never used before, and is never used again.
 *
 * Return: 0 or minus errno
 */
int template_undo(const struct journal_rec *r, struct err *e)
{
	const char *slash = r->n == 2 ? strrchr(r->word[1], '/') : NULL;

	if (!slash || r->word[1][0] != '/' || !str_starts(slash, "/new."))
		return err_set(e, EINVAL, "journal: damaged template record");
	return dir_remove(AT_FDCWD, r->word[1], e);
}

/* ---- look ------------------------------------------------------------------------------- */

static void read_about(int dir, struct template_info *t)
{
	_cleanup_free_ char *text = NULL;
	struct json_doc *doc;
	struct jnode n;
	int fd = -1;
	size_t len;

	t->damaged = true;
	if (open_file(dir, "machine.json", &fd, NULL) < 0)
		return;
	if (!file_read(AT_FDCWD, fd_path(fd).s, ABOUT_MAX_BYTES, &text, &len, NULL) &&
	    !json_parse(text, len, &doc, NULL)) {
		n = json_root(doc);
		t->damaged = json_u64(&n, "ramBytes", &t->ram_bytes, NULL) != 1 ||
			     json_u64(&n, "vcpus", &t->vcpus, NULL) != 1 ||
			     json_u64(&n, "hotplugBytes", &t->hotplug_bytes, NULL) != 1;
		json_free(doc);
	}
	fd_close(&fd);
}

/* Return: false: it has gone meanwhile */
static bool look(int folder, const char *key, struct template_info *t)
{
	_cleanup_close_ int dir = open_folder(folder, key);
	struct stat st;

	*t = (struct template_info){ .damaged = true };
	if (str_copy(t->key, sizeof(t->key), key) < 0 || fstatat(folder, key, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	t->used_s = t->made_s = st.st_mtime;
	if (dir < 0)
		return true;
	read_about(dir, t);
	if (fstatat(dir, "state", &st, AT_SYMLINK_NOFOLLOW) < 0)
		t->damaged = true;
	else
		t->made_s = st.st_mtime;
	if (fstatat(dir, "memory", &st, AT_SYMLINK_NOFOLLOW) < 0)
		t->damaged = true;
	else
		t->memory_bytes = (uint64_t)st.st_blocks * 512;
	return true;
}

/**
 * templates_each() - visit all templates, sorted by key; no folder is none
 *
 * Return: 0 or the negative return of @fn
 */
int templates_each(int rootfd, template_fn *fn, void *arg, struct err *e)
{
	_cleanup_close_ int folder = open_folder(rootfd, FOLDER);
	struct dirent **list = NULL;
	struct template_info t;
	int i, n, rc = 0;

	if (folder < 0)
		return errno == ENOENT ? 0 : err_sys(e, FOLDER);
	n = scandirat(folder, ".", &list, NULL, alphasort);
	if (n < 0)
		return err_sys(e, FOLDER);
	for (i = 0; i < n; i++) {
		if (!rc && is_key(list[i]->d_name) && look(folder, list[i]->d_name, &t))
			rc = fn(arg, &t, e);
		free(list[i]);
	}
	free(list);
	return rc;
}
