// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * How short-lived commands find, start and bury a pod's supervisor.
 *
 * A pod lives exactly as long as its supervisor holds the lock of the pod's
 * directory; the kernel lets go of it however the supervisor ends. Who gets
 * the lock of an existing directory has found a dead pod and puts things
 * right: ends what is left of its processes, undoes the journal, marks its
 * containers stopped, removes the directory. There is one such path
 * (pod_recover) for every kind of death. A cgroup that somebody is still in is no
 * reason to do without the rest: the directory stays with the journal that names it, as a
 * dead pod without containers, and each command that finds it tries again.
 *
 * After the host has been booted anew (a state directory on a disk outlives that) nothing is
 * left of what a kernel made, and what has its name or number now is somebody else's: pids,
 * cgroups, interfaces, mounts are left alone then. Which boot a pod belongs to is written
 * into its directory before anything is made.
 *
 * A new pod's lock is taken by the command that starts it and handed to the
 * supervisor as a descriptor, so there is no moment in which a second command
 * could take the pod for dead.
 */
#include "runtime/pod.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "netplug/netplug.h"
#include "runtime/cgroup.h"
#include "runtime/life.h"
#include "runtime/netns.h"
#include "runtime/template.h"
#include "storage/storage.h"

/* A pod that is being started by another command gets this long. */
#define POD_START_MS 90000

/* Until a killed process must have gone. */
#define POD_KILL_MS 5000

/* How long a pod that has ended may hold its lock before it counts as a new one. */
#define POD_SUCCESSOR_MS 2000

/**
 * pod_connect() - call a living pod's supervisor
 * @ret_sock: owned by the caller
 *
 * Return: 0; -ENOENT, -ECONNREFUSED when there is none
 */
int pod_connect(int rootfd, const char *pod, int *ret_sock, struct err *e)
{
	_cleanup_close_ int pods = -1, dir = -1;
	int rc = state_check_id(pod, e);

	if (rc < 0)
		return rc;
	pods = state_pods_open(rootfd, e);
	if (pods < 0)
		return pods;
	dir = openat(pods, pod, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, "pod %s", pod);
	return pod_call_open(dir, POD_ANSWER_MS, ret_sock, e);
}

/* Ends a process that a journal names, and waits until it has gone. */
static int undo_proc(const struct journal_rec *r, struct err *e)
{
	_cleanup_close_ int pidfd = -1;
	uint64_t pid, start;
	int status;

	if (r->n != 3 || parse_u64(r->word[1], &pid) < 0 ||
	    parse_u64(r->word[2], &start) < 0 || !pid || pid > INT32_MAX || !start)
		return err_set(e, EINVAL, "journal: damaged proc record");
	pidfd = proc_pidfd((pid_t)pid, start, NULL);
	if (pidfd < 0)
		return 0;
	proc_kill(pidfd, SIGKILL);
	/* Not our child, as a rule: wait for its end, and do not mind ECHILD. */
	if (proc_wait(pidfd, POD_KILL_MS, &status, NULL) == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "process %d does not die", (int)pid);
	return 0;
}

/* What cannot be had any more, such as a mount of what a guest has broken, is only told. */
static int undo_handover(const struct journal_rec *r, struct err *e)
{
	int rc = storage_undo_handover(r, e);

	if (rc > 0)
		log_warn("clean-up: %s", e ? e->text : "a rootfs was not mounted again");
	return rc < 0 ? rc : 0;
}

/* One that is in use is tried again by the next command, and told. */
static int undo_cgroup(struct pod_undo *u, const struct journal_rec *r, struct err *e)
{
	int rc = cgroup_undo(r, &u->busy, e);

	if (rc > 0)
		log_warn("clean-up: %s; the next command tries again", e ? e->text : r->word[1]);
	return rc;
}

/*
 * What undoes a kind of records; NULL: undo_cgroup(), which looks at several at once.
 * @kernels: what it names has gone with the kernel's end.
 */
static const struct {
	const char *kind;
	int (*undo)(const struct journal_rec *r, struct err *e);
	bool kernels;
} undoes[] = {
	{ "netplug", netplug_undo, true },
	{ "writeback", writeback_undo, false },
	{ "cgroup", NULL, true },
	{ "scope", NULL, true },
	{ "netns", netns_undo, true },
	{ "handover", undo_handover, true },
	{ "template", template_undo, false },
	{ "proc", undo_proc, true },
};

/**
 * pod_undo() - undo one record of a pod's journal; a journal_undo_fn
 * @arg: struct pod_undo, for all records of one undo
 */
int pod_undo(void *arg, const struct journal_rec *r, struct err *e)
{
	struct pod_undo *u = arg;
	size_t i;

	for (i = 0; i < ARRAY_LEN(undoes); i++) {
		if (strcmp(r->word[0], undoes[i].kind))
			continue;
		if (u->rebooted && undoes[i].kernels)
			return 0;
		return undoes[i].undo ? undoes[i].undo(r, e) : undo_cgroup(u, r, e);
	}
	return err_set(e, EINVAL, "journal: unknown record %s", r->word[0]);
}

/*
 * Takes the lock of a pod's directory. 1: got it, the pod has no supervisor;
 * 0: somebody has it; -ENOENT: no such directory (and @make is false). The name
 * comes from annotations: it is checked before it becomes a path.
 */
static int take_lock(int pods, const char *pod, bool make, int *ret_dir,
		     int *ret_lock, struct err *e)
{
	int rc = state_check_id(pod, e);

	while (!rc) {
		_cleanup_close_ int dir = -1, lock = -1;
		struct stat a, b;

		if (make && mkdirat(pods, pod, 0700) < 0 && errno != EEXIST)
			return err_sys(e, "pod %s: mkdir", pod);
		dir = openat(pods, pod, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			return err_sys(e, "pod %s", pod);
		lock = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (lock < 0 && errno == ENOENT)
			continue; /* the directory was removed just now */
		if (lock < 0)
			return err_sys(e, "pod %s: lock", pod);
		if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
			if (errno != EWOULDBLOCK)
				return err_sys(e, "pod %s: flock", pod);
			*ret_dir = fd_steal(&dir);
			return 0;
		}
		if (fstat(dir, &a) < 0 || fstatat(pods, pod, &b, 0) < 0 ||
		    a.st_ino != b.st_ino)
			continue; /* locked a directory that is not there any more */
		*ret_dir = fd_steal(&dir);
		*ret_lock = fd_steal(&lock);
		return 1;
	}
	return rc;
}

/**
 * struct bury - a pod that is dead
 * @boot: of the host, now; empty: not known
 */
struct bury {
	int rootfd;
	const char *pod;
	char boot[PROC_BOOT_ID_BYTES];
};

static void bury_init(struct bury *b, int rootfd, const char *pod)
{
	*b = (struct bury){ .rootfd = rootfd, .pod = pod };
	if (proc_boot_id(b->boot, NULL) < 0)
		b->boot[0] = 0;
}

/* Whether @boot, of something that was written down, is another one. */
static bool is_other_boot(const struct bury *b, const char *boot)
{
	return boot && b->boot[0] && strcmp(boot, b->boot);
}

/* Ends a container's shim, if its pid is still that. */
static void bury_shim(const struct state *s)
{
	/* Without its start time it could be anybody's process. */
	_cleanup_close_ int pidfd = s->pid > 0 && s->pid_start ?
				    proc_pidfd(s->pid, s->pid_start, NULL) : -1;
	int status;

	if (pidfd < 0)
		return;
	proc_kill(pidfd, SIGKILL);
	proc_wait(pidfd, POD_KILL_MS, &status, NULL);
}

/* A container of the pod that is not recorded as stopped; NULL: another, or damaged. */
static struct state *not_buried(const struct bury *b, const char *id)
{
	struct state *s;

	if (state_load(b->rootfd, id, &s, NULL) < 0)
		return NULL; /* removed meanwhile, or damaged: delete --force removes it */
	if (!strcmp(s->pod, b->pod) && s->status != STATE_STOPPED)
		return s;
	state_free(s);
	return NULL;
}

static int end_shim(void *arg, const char *id, struct err *e)
{
	const struct bury *b = arg;
	struct state *s = not_buried(b, id);

	(void)e;
	if (s && !is_other_boot(b, s->boot))
		bury_shim(s);
	state_free(s);
	return 0;
}

/* Puts one container's record right after its pod has died. */
static int bury_container(void *arg, const char *id, struct err *e)
{
	const struct bury *b = arg;
	struct state *s = not_buried(b, id);
	enum life_end how;
	char text[100];
	int rc;

	if (!s)
		return 0;
	how = is_other_boot(b, s->boot) ? LIFE_END_REBOOT : LIFE_END_SUPERVISOR;
	snprintf(text, sizeof(text), "%s: %s", life_end_name(how),
		 how == LIFE_END_REBOOT ? "the host was booted anew"
					: "the pod's supervisor was killed");
	rc = state_end(s, life_end_code(how), text, e);
	if (!rc)
		rc = state_save(b->rootfd, s, e);
	state_free(s);
	return rc;
}

/*
 * Undoes a dead pod whose lock we hold, up to but without its directory.
 * Return: 0; 1: something is still in use, and in the journal; minus errno
 */
static int bury(int rootfd, int dir, const char *pod, struct err *e)
{
	_cleanup_close_ int containers = -1;
	_cleanup_free_ char *boot = NULL;
	struct pod_undo u = { .busy = false };
	struct journal *j;
	struct bury b;
	int rc, undone;

	bury_init(&b, rootfd, pod);
	file_read(dir, "boot", PROC_BOOT_ID_BYTES, &boot, NULL, NULL);
	u.rebooted = is_other_boot(&b, boot);
	containers = state_containers_open(rootfd, e);
	if (containers < 0)
		return containers;
	/* They end by themselves, but may take their time, and what is undone has them in it. */
	rc = state_each(containers, end_shim, &b, e);
	if (rc < 0)
		return rc;
	rc = journal_open(dir, "journal", &j, e);
	if (rc < 0)
		return rc;
	undone = journal_undo(j, pod_undo, &u, e);
	journal_free(j);
	if (undone < 0)
		return err_wrap(e, "pod %s: clean-up", pod);
	rc = state_each(containers, bury_container, &b, e);
	return rc < 0 ? rc : undone;
}

/* The pod is of this boot from now on; its directory is empty but for the lock. */
static int note_boot(int dir, struct err *e)
{
	char boot[PROC_BOOT_ID_BYTES];
	int rc = proc_boot_id(boot, e);

	return rc < 0 ? rc : file_replace(dir, "boot", boot, strlen(boot), 0600, e);
}

/* Of recover(): not even a directory. */
#define NO_DIRECTORY 2

/* A pod that has a directory. Return: as pod_recover(), NO_DIRECTORY when it has none */
static int recover(int rootfd, const char *pod, struct err *e)
{
	_cleanup_close_ int pods = -1, dir = -1, lock = -1;
	int rc;

	pods = state_pods_open(rootfd, e);
	if (pods < 0)
		return pods;
	rc = take_lock(pods, pod, false, &dir, &lock, e);
	if (rc == -ENOENT)
		return NO_DIRECTORY;
	if (rc <= 0)
		return rc < 0 ? rc : 1;
	rc = bury(rootfd, dir, pod, e);
	if (!rc)
		rc = dir_remove(pods, pod, e);
	return rc < 0 ? rc : 0;
}

/**
 * pod_recover() - if a pod's supervisor is dead, undo what it left behind
 * @pod: id; one that never was is fine
 *
 * Return: 1 the pod lives; 0 there is no such pod, any more, or nothing but a journal of what
 * is still in use; minus errno
 */
int pod_recover(int rootfd, const char *pod, struct err *e)
{
	_cleanup_close_ int containers = -1;
	struct bury b;
	int rc = recover(rootfd, pod, e);

	if (rc != NO_DIRECTORY)
		return rc;
	bury_init(&b, rootfd, pod);
	containers = state_containers_open(rootfd, e);
	rc = containers < 0 ? containers : state_each(containers, end_shim, &b, e);
	return rc < 0 ? rc : state_each(containers, bury_container, &b, e);
}

/**
 * pod_wait_end() - wait until a pod that says that it ends has gone
 *
 * The kernel closes what a dead supervisor had open one by one: its connections
 * may break before its lock is free, and a lock that is held may be that of a
 * new pod with the same id. So who holds it gets POD_SUCCESSOR_MS. A pod whose
 * directory has gone ended in order: no record is left of it that would have to be
 * looked for among those of all others.
 *
 * @sock: connection to its supervisor, borrowed
 *
 * Return: 0: as of pod_recover(); -ETIMEDOUT; minus errno
 */
int pod_wait_end(int rootfd, const char *pod, int sock, struct err *e)
{
	struct timespec pause = { .tv_nsec = 10000000 };
	struct pollfd f = { .fd = sock, .events = 0 };
	uint64_t end;
	int rc;

	while ((rc = poll(&f, 1, POD_END_MS)) < 0 && errno == EINTR)
		;
	if (!rc)
		return err_set(e, ETIMEDOUT, "pod %s does not end", pod);
	end = clock_ms() + POD_SUCCESSOR_MS;
	/* Its clean-up may have failed in the middle: then this goes on. */
	while ((rc = recover(rootfd, pod, e)) == 1 && clock_ms() < end)
		nanosleep(&pause, NULL);
	return rc < 0 ? rc : 0;
}

/**
 * pod_abandon() - give up what a connection has created and not committed
 *
 * If that leaves the pod without a container, the pod has gone afterwards.
 *
 * @sock: connection to its supervisor, borrowed
 *
 * Return: 0 or minus errno
 */
int pod_abandon(int rootfd, const char *pod, int sock, struct err *e)
{
	Podvm__Pod__Abandon m = PODVM__POD__ABANDON__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(abandon = &m, ABANDON);
	Podvm__Pod__Response *rs;
	bool ending;
	int rc = pod_call(sock, &rq, NULL, 0, &rs, e);

	if (rc == -EPIPE) /* the supervisor died: leave nothing of it */
		return pod_wait_end(rootfd, pod, sock, e);
	if (rc < 0)
		return rc;
	ending = rs->ending;
	podvm__pod__response__free_unpacked(rs, NULL);
	return ending ? pod_wait_end(rootfd, pod, sock, e) : 0;
}

static int recover_pod(void *arg, const char *pod, struct err *e)
{
	int rc = pod_recover(*(int *)arg, pod, e);

	return rc < 0 ? rc : 0;
}

static int recover_container(void *arg, const char *id, struct err *e)
{
	struct state *s;
	int rc = pod_load_state(*(int *)arg, id, &s, e);

	if (rc == -ENOENT)
		return 0;
	if (!rc)
		state_free(s);
	return rc;
}

/**
 * pod_recover_all() - pod_recover() for every pod that the state directory knows
 *
 * Return: 0 or minus errno
 */
int pod_recover_all(int rootfd, struct err *e)
{
	_cleanup_close_ int pods = -1, containers = -1;
	int rc;

	pods = state_pods_open(rootfd, e);
	if (pods < 0)
		return pods;
	rc = state_each(pods, recover_pod, &rootfd, e);
	if (rc < 0)
		return rc;
	containers = state_containers_open(rootfd, e);
	if (containers < 0)
		return containers;
	state_sweep(containers);
	return state_each(containers, recover_container, &rootfd, e);
}

/**
 * pod_load_state() - a container's record, put right if its pod has died
 * @ret: owned by the caller
 *
 * Return: 0; -ENOENT; minus errno
 */
int pod_load_state(int rootfd, const char *id, struct state **ret,
		   struct err *e)
{
	struct state *s;
	int rc = state_load(rootfd, id, &s, e);

	if (rc < 0)
		return rc;
	if (s->status != STATE_STOPPED) {
		char pod[STATE_ID_BYTES];

		strcpy(pod, s->pod); /* same size */
		state_free(s);
		rc = pod_recover(rootfd, pod, e);
		if (rc < 0)
			return rc;
		rc = state_load(rootfd, id, &s, e);
		if (rc < 0)
			return rc;
	}
	*ret = s;
	return 0;
}

/**
 * pod_say_ready() - a started process tells its starter how it went
 * @fd: write end of the pipe; closed
 * @e:  NULL: all is well
 */
void pod_say_ready(int fd, const struct err *e)
{
	char text[ERR_TEXT_BYTES + 16];
	int n = e ? snprintf(text, sizeof(text), "%d %s", e->code, e->text)
		  : snprintf(text, sizeof(text), "ok");

	write_full(fd, text, (size_t)n, NULL);
	close(fd);
}

/**
 * pod_wait_ready() - wait for pod_say_ready() of a process that was started
 * @fd: read end of the pipe, borrowed
 *
 * Return: 0; minus the errno it said, with its text; -EPIPE if it died
 */
int pod_wait_ready(int fd, struct err *e)
{
	char text[ERR_TEXT_BYTES + 16];
	size_t len = 0;
	ssize_t n;
	char *end;
	long code;

	do {
		n = read(fd, text + len, sizeof(text) - 1 - len);
		if (n > 0)
			len += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	text[len] = 0;
	if (!strcmp(text, "ok"))
		return 0;
	code = strtol(text, &end, 10);
	if (code <= 0 || *end != ' ')
		return err_set(e, EPIPE, "the process ended before it was ready");
	return err_set(e, (int)code, "%s", end + 1);
}

static int start_supervisor(const char *root, const char *pod, const struct spec_source *src,
			    bool systemd, int dir, int lock, struct err *e)
{
	_cleanup_close_ int rd = -1, wr = -1, log = -1, pidfd = -1;
	char *const argv[] = { strdupa("podvm"), strdupa("--root"), strdupa(root),
			       strdupa("supervisor"), strdupa(pod), strdupa(src->bundle),
			       systemd ? strdupa("systemd") : NULL, NULL };
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "pipe2");
	rd = p[0];
	wr = p[1];
	log = openat(dir, "supervisor.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
		     0600);
	if (log < 0)
		return err_sys(e, "pod %s: supervisor.log", pod);
	{
		struct proc_fd map[] = { { log, 2 }, { wr, POD_READY_FD },
					 { lock, POD_LOCK_FD }, { src->config, POD_CONFIG_FD } };
		struct proc_spec s = { .path = "/proc/self/exe", .argv = argv,
				       .fds = map, .n_fds = ARRAY_LEN(map),
				       .setsid = 1 };
		int rc = proc_spawn(&s, NULL, &pidfd, e);

		if (rc < 0)
			return rc;
	}
	fd_close(&wr);
	return pod_wait_ready(rd, e);
}

/**
 * pod_ensure() - call a pod's supervisor, and start the pod if there is none
 * @root:     state directory, for the supervisor's command line
 * @src:      config.json of the container that needs the pod, which shapes the VM
 * @systemd:  the pod's place in the host's cgroups is a scope of systemd's
 * @ret_sock: owned by the caller
 *
 * Return: 0; what failed while the pod was started, with nothing left behind
 */
int pod_ensure(const char *root, int rootfd, const char *pod, const struct spec_source *src,
	       bool systemd, int *ret_sock, struct err *e)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	uint64_t end = clock_ms() + POD_START_MS;
	_cleanup_close_ int pods = -1;

	pods = state_pods_open(rootfd, e);
	if (pods < 0)
		return pods;
	for (;;) {
		_cleanup_close_ int dir = -1, lock = -1;
		int rc = take_lock(pods, pod, true, &dir, &lock, e);

		if (rc < 0)
			return rc;
		if (rc == 1) {
			rc = bury(rootfd, dir, pod, e);
			/* What is still in use is undone with the new pod. */
			if (rc >= 0)
				rc = note_boot(dir, e);
			if (!rc)
				rc = start_supervisor(root, pod, src, systemd, dir, lock, e);
			if (rc < 0) {
				struct err undo;
				int left = bury(rootfd, dir, pod, &undo);

				if (left < 0)
					log_error("%s", undo.text);
				else if (!left)
					dir_remove(pods, pod, NULL);
				return rc;
			}
		}
		rc = pod_call_open(dir, POD_ANSWER_MS, ret_sock, e);
		if (rc != -ENOENT && rc != -ECONNREFUSED)
			return rc;
		if (clock_ms() > end)
			return err_set(e, ETIMEDOUT, "pod %s did not start in time", pod);
		nanosleep(&pause, NULL);
	}
}
