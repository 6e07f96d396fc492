// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What was handed to the trusted runtime, for the calls that come later. Below the
 * state directory:
 *
 *   handed/ID.json   a decision: pod, runtime, bundle, and which process decided
 *   trusted/         --root of the trusted runtime, which keeps ID/ there for as
 *                    long as its container exists (runc, crun)
 *
 * Whoever makes a container holds the lock of handed/ (flock on the directory) from
 * its look at what there is until its own record is written, so that two creates of
 * one id, or of one pod, cannot decide differently. A record is written before the
 * call becomes the runtime, and the runtime cannot take it away at the end. So a
 * record counts only while its container may exist:
 *
 *	the call that wrote it lives       it is being made, or runs in the foreground
 *	trusted/ID is there                the runtime has it
 *	neither                            the record is dead, and swept by the next
 *	                                   call that makes or lists containers
 *
 * in this order, for the call ends after it made trusted/ID. A call that was killed
 * before it became the runtime leaves such a dead record and nothing else.
 *
 * A machine that is being made has a record without a runtime until the container's
 * own record is there, so that the other containers of its pod follow it. Where no
 * trusted runtime is set, and none was, there are no records at all.
 */
#include "runtime/handed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"

#define HANDED_MAX_BYTES 16384

static int fill(struct handed *h, const struct jnode *n, struct err *e)
{
	const char *pod = "", *runtime = "", *bundle = "";
	int64_t pid = 0;

	if (json_str(n, "pod", &pod, e) < 0 || json_str(n, "runtime", &runtime, e) < 0 ||
	    json_str(n, "bundle", &bundle, e) < 0 || json_i64(n, "pid", &pid, e) < 0 ||
	    json_u64(n, "pidStart", &h->pid_start, e) < 0)
		return -EINVAL;
	if (pid <= 0 || pid > INT32_MAX || !h->pid_start || (*runtime && *runtime != '/') ||
	    str_copy(h->pod, sizeof(h->pod), pod) < 0 ||
	    str_copy(h->runtime, sizeof(h->runtime), runtime) < 0 ||
	    str_copy(h->bundle, sizeof(h->bundle), bundle) < 0)
		return err_set(e, EINVAL, "damaged record");
	h->pid = (pid_t)pid;
	return state_check_id(h->pod, e);
}

static int load(int dir, const char *id, struct handed *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char name[STATE_ID_BYTES + 8];
	struct handed h = {.pid = 0};
	struct json_doc *doc;
	struct jnode root;
	size_t len;
	int rc = state_check_id(id, e);

	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), "%s.json", id);
	rc = file_read(dir, name, HANDED_MAX_BYTES, &text, &len, e);
	if (!rc)
		rc = json_parse(text, len, &doc, e);
	if (rc < 0)
		return rc;
	str_copy(h.id, sizeof(h.id), id);
	root = json_root(doc);
	rc = fill(&h, &root, e);
	json_free(doc);
	if (!rc)
		*ret = h;
	return rc;
}

/* The order matters: see above. */
static bool alive(int rootfd, const struct handed *h)
{
	_cleanup_close_ int pidfd = proc_pidfd(h->pid, h->pid_start, NULL);
	char path[STATE_ID_BYTES + sizeof(HANDED_ROOT)];
	struct stat st;

	if (pidfd >= 0)
		return true;
	snprintf(path, sizeof(path), HANDED_ROOT "/%s", h->id);
	return *h->runtime && !fstatat(rootfd, path, &st, AT_SYMLINK_NOFOLLOW);
}

/**
 * handed_find() - whether a container was handed to the trusted runtime
 * @ret: filled when it was
 *
 * Return: 1 it was; 0 not; minus errno naming a damaged record
 */
int handed_find(int rootfd, const char *id, struct handed *ret, struct err *e)
{
	_cleanup_close_ int dir = openat(rootfd, HANDED_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (dir < 0)
		return errno == ENOENT ? 0 : err_sys(e, HANDED_DIR);
	rc = load(dir, id, ret, e);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return err_wrap(e, "container %s: " HANDED_DIR "/%s.json", id, id);
	return *ret->runtime && alive(rootfd, ret);
}

/**
 * handed_open() - open the folder of records and lock it
 * @make: make it if there is none
 *
 * Return: descriptor owned by the caller, which is the lock, too; -ENOENT when
 * there is none; minus errno
 */
int handed_open(int rootfd, bool make, struct err *e)
{
	_cleanup_close_ int fd = -1;

	if (make && mkdirat(rootfd, HANDED_DIR, 0700) < 0 && errno != EEXIST)
		return err_sys(e, HANDED_DIR ": mkdir");
	fd = openat(rootfd, HANDED_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, HANDED_DIR);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(e, HANDED_DIR ": flock");
	return fd_steal(&fd);
}

/**
 * handed_forget() - remove a record
 * @dir: of handed_open()
 */
void handed_forget(int dir, const char *id)
{
	char name[STATE_ID_BYTES + 8];

	snprintf(name, sizeof(name), "%s.json", id);
	unlinkat(dir, name, 0);
}

struct walk {
	int rootfd, dir;
	bool sweep;
	handed_fn *fn;
	void *arg;
};

static int visit(void *arg, const char *id, struct err *e)
{
	const struct walk *w = arg;
	struct handed h;
	struct err bad;
	int rc = load(w->dir, id, &h, &bad);

	if (rc == -ENOENT)
		return 0; /* removed meanwhile */
	if (rc < 0) {
		log_warn(HANDED_DIR "/%s.json: %s", id, bad.text);
		return 0;
	}
	if (alive(w->rootfd, &h))
		return w->fn ? w->fn(w->arg, &h, e) : 0;
	if (w->sweep)
		handed_forget(w->dir, id);
	return 0;
}

/* With the lock held nobody is writing a record: a temporary file is of one who was killed. */
static void remove_temporary(int dir)
{
	struct dirent **list = NULL;
	int i, n = scandirat(dir, ".", &list, NULL, NULL);
	size_t len;

	for (i = 0; i < n; i++) {
		len = strlen(list[i]->d_name);
		if (len > 4 && !strcmp(list[i]->d_name + len - 4, ".tmp"))
			unlinkat(dir, list[i]->d_name, 0);
		free(list[i]);
	}
	free(list);
}

/**
 * handed_sweep() - remove dead records, and what was never finished
 * @dir: of handed_open(), for its lock
 *
 * Return: 0 or minus errno
 */
int handed_sweep(int rootfd, int dir, struct err *e)
{
	struct walk w = {.rootfd = rootfd, .dir = dir, .sweep = true};

	remove_temporary(dir);
	return state_each(dir, visit, &w, e);
}

/**
 * handed_each() - visit the containers that were handed over, sorted by id
 *
 * Return: 0 or the negative return of @fn
 */
int handed_each(int rootfd, handed_fn *fn, void *arg, struct err *e)
{
	_cleanup_close_ int dir = openat(rootfd, HANDED_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct walk w = {.rootfd = rootfd, .dir = dir, .fn = fn, .arg = arg};

	if (dir < 0)
		return errno == ENOENT ? 0 : err_sys(e, HANDED_DIR);
	return state_each(dir, visit, &w, e);
}

struct pod_query {
	int rootfd;
	const char *pod;
	enum trust_pod found;
	char *runtime;
};

static int ask_handed(void *arg, const struct handed *h, struct err *e)
{
	struct pod_query *q = arg;

	(void)e;
	if (strcmp(h->pod, q->pod))
		return 0;
	q->found = *h->runtime ? TRUST_POD_HANDED : TRUST_POD_MACHINE;
	str_copy(q->runtime, PATH_MAX, h->runtime);
	return 0;
}

static int ask_machine(void *arg, const char *id, struct err *e)
{
	struct pod_query *q = arg;
	struct state *s;

	(void)e;
	if (q->found != TRUST_POD_NEW || state_load(q->rootfd, id, &s, NULL) < 0)
		return 0;
	if (!strcmp(s->pod, q->pod))
		q->found = TRUST_POD_MACHINE;
	state_free(s);
	return 0;
}

/* Whether a pod has a machine, or a container that was in it. */
static int find_machine(struct pod_query *q, struct err *e)
{
	char path[STATE_ID_BYTES + 8];
	_cleanup_close_ int containers = -1;
	struct stat st;

	snprintf(path, sizeof(path), "pods/%s", q->pod);
	if (!fstatat(q->rootfd, path, &st, 0)) {
		q->found = TRUST_POD_MACHINE;
		return 0;
	}
	containers = openat(q->rootfd, "containers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (containers < 0)
		return errno == ENOENT ? 0 : err_sys(e, "containers");
	return state_each(containers, ask_machine, q, e);
}

/**
 * handed_pod() - what was decided for a pod
 * @dir:         of handed_open(), or -1 where there are no records
 * @ret_runtime: PATH_MAX bytes; set for TRUST_POD_HANDED
 *
 * Return: 0; -EINVAL for a name that is none; minus errno
 */
int handed_pod(int rootfd, int dir, const char *pod, enum trust_pod *ret, char *ret_runtime,
	       struct err *e)
{
	struct pod_query q = {.rootfd = rootfd, .pod = pod, .runtime = ret_runtime};
	struct walk w = {.rootfd = rootfd, .dir = dir, .fn = ask_handed, .arg = &q};
	int rc = state_check_id(pod, e);

	if (!rc && dir >= 0)
		rc = state_each(dir, visit, &w, e);
	if (!rc && q.found == TRUST_POD_NEW)
		rc = find_machine(&q, e);
	if (!rc)
		*ret = q.found;
	return rc;
}

static int write_record(int dir, const struct handed *h, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char name[STATE_ID_BYTES + 8];
	struct json_out *o = json_out_new();
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "pod", h->pod);
	json_out_str(o, "runtime", h->runtime);
	json_out_str(o, "bundle", h->bundle);
	json_out_i64(o, "pid", h->pid);
	json_out_u64(o, "pidStart", h->pid_start);
	rc = json_out_text(o, false, &text, e);
	json_out_free(o);
	snprintf(name, sizeof(name), "%s.json", h->id);
	return rc < 0 ? rc : file_replace(dir, name, text, strlen(text), 0600, e);
}

/**
 * handed_claim() - write a decision down
 * @dir: of handed_open(), whose lock was held when it was made
 * @h:   @pid and @pid_start are set to ours
 *
 * Return: 0; -EEXIST when there is a container of this id, of either kind; minus errno
 */
int handed_claim(int rootfd, int dir, struct handed *h, struct err *e)
{
	struct handed old;
	struct state *s;
	int rc = load(dir, h->id, &old, e);

	if (rc < 0 && rc != -ENOENT)
		return err_wrap(e, "container %s: " HANDED_DIR "/%s.json", h->id, h->id);
	if (!rc && alive(rootfd, &old))
		return err_set(e, EEXIST, "container %s exists already", h->id);
	if (!state_load(rootfd, h->id, &s, NULL)) {
		state_free(s);
		return err_set(e, EEXIST, "container %s exists already", h->id);
	}
	h->pid = getpid();
	rc = proc_start_ticks(h->pid, &h->pid_start, e);
	return rc < 0 ? rc : write_record(dir, h, e);
}

/**
 * handed_release() - take our own record back
 *
 * One of another process stays: it is not ours to take.
 */
void handed_release(int rootfd, const char *id)
{
	_cleanup_close_ int dir = handed_open(rootfd, false, NULL);
	struct handed h;

	if (dir >= 0 && !load(dir, id, &h, NULL) && h.pid == getpid())
		handed_forget(dir, id);
}
