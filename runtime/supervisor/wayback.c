// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The way back of what a container changed (storage/writeback.c), from the supervisor's
 * side. Stages of a container:
 *   planned: at Create, if configuration and annotations want it: storage has looked at
 *            the mount, and the guest is told to keep the changes. A mount that cannot
 *            take them back is a warning, not a failure: the container runs without.
 *   due:     its first process has ended. It still counts as running, its shim waits
 *            on a socket of ours (the hold): engines must not look before all is there.
 *   coming:  a thread of its own asks the agent and carries out what comes, so that a
 *            slow guest keeps nobody else waiting. The staging directory is in the
 *            journal before the thread begins, and off it when it has gone. All of it
 *            has an end (writeBackTimeoutMs), up to which and some more the shim waits.
 *   settled: the shim gets one line for the engine's log, empty when all is well, and
 *            exits. What failed has left the old state. A shim that is let go without a
 *            line says so in the log: we were killed.
 * Who deletes by force, and the end of the machine, shut the connection down, which ends
 * the thread in the middle or lets it finish.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "runtime/shim/shim.h"
#include "runtime/supervisor/supervisor.h"

#define AGENT_ANSWER_MS 20000

/*
 * What a container takes to be settled besides: the loop has other work, disks are written
 * out, the agent lets go of a device that the host mounts again (settle.c).
 */
#define SETTLE_MS 120000

/* Descriptors of directories inside each other (storage/writeback-stage.c). */
#define FILES_WANTED 4096

/* What a name takes at least in the guest's file system, and some for small disks. */
#define BYTES_PER_NAME 4096
#define NAMES_MIN 8192

#define CAP_MKNOD_BIT 27
#define CAP_SETFCAP_BIT 31

static bool wanted(const struct pod *p, const struct spec *spec)
{
	if (spec->create->rootfs->readonly)
		return false;
	if (spec->write_back != SPEC_WRITE_BACK_DEFAULT)
		return spec->write_back == SPEC_WRITE_BACK_ON;
	if (p->config.write_back != CONFIG_WRITE_BACK_AUTO)
		return p->config.write_back == CONFIG_WRITE_BACK_ON;
	return spec->role == SPEC_ROLE_SINGLE && !spec->throwaway;
}

static bool may(const struct spec *spec, unsigned int cap)
{
	const Podvm__Capabilities *c = spec->create->process->capabilities;

	return c && (c->bounding >> cap & 1);
}

static void more_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur >= FILES_WANTED)
		return;
	r.rlim_cur = r.rlim_max < FILES_WANTED ? r.rlim_max : FILES_WANTED;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		log_debug("write-back: RLIMIT_NOFILE: %m");
}

/**
 * wayback_plan() - decide whether a container's changes come back
 * @scratch_bytes: of its writable disk
 *
 * Context: Create; @spec is told to keep the changes when they do
 */
void wayback_plan(struct pod *p, struct container *c, struct spec *spec, uint64_t scratch_bytes)
{
	struct way_back *b = &c->back;
	struct err e = { 0 };

	if (!wanted(p, spec))
		return;
	if (writeback_new(spec->rootfs, &b->way, &e) < 0) {
		snprintf(b->text, sizeof(b->text), "write-back is off: %s", e.text);
		log_warn("container %s: %s", c->id, b->text);
		pod_stamp(p, 0, "container %.32s: no write-back: %s", c->id, e.text);
		return;
	}
	b->config = (struct writeback_config){
		.bytes_max = scratch_bytes,
		.names_max = scratch_bytes / BYTES_PER_NAME + NAMES_MIN,
		.ms_max = p->config.write_back_ms,
		.devices = may(spec, CAP_MKNOD_BIT),
		.file_caps = may(spec, CAP_SETFCAP_BIT),
	};
	spec->create->rootfs->keep = true;
	more_files();
}

/**
 * wayback_hold() - a socket that a container's shim waits on before it exits
 * @ret_fd: the shim's end, owned by the caller
 *
 * Return: 0 or minus errno
 */
int wayback_hold(struct container *c, int *ret_fd, struct err *e)
{
	int s[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
		return err_sys(e, "socketpair");
	fd_close(&c->back.hold);
	c->back.hold = s[0];
	*ret_fd = s[1];
	return 0;
}

/**
 * wayback_hold_ms() - how long a container's shim may be held after its process
 */
uint32_t wayback_hold_ms(const struct pod *p, const struct container *c)
{
	return SETTLE_MS + (c->back.way ? (uint32_t)p->config.write_back_ms : 0);
}

/* Lets the shim go: one that gets no packet knows that we were killed. */
static void let_go(struct way_back *b)
{
	char text[sizeof(b->text) + 1];
	int n = snprintf(text, sizeof(text), "%c%s", SHIM_SETTLED, b->text);

	if (b->hold >= 0 && send(b->hold, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("write-back: shim: %m");
	fd_close(&b->hold);
}

static void *come_back(void *arg)
{
	Podvm__ChangesOpen open = PODVM__CHANGES_OPEN__INIT;
	Podvm__Request rq = AGENT_REQUEST(changes_open = &open, CHANGES_OPEN);
	struct container *c = arg;
	struct way_back *b = &c->back;
	struct agent a = { .fd = b->stream };
	uint64_t one = 1;

	open.id = c->id;
	b->rc = agent_call(&a, &rq, AGENT_ANSWER_MS, NULL, &b->why);
	frame_done(&a.rx);
	if (b->rc >= 0)
		b->rc = writeback_run(b->way, b->stream, &b->config, &b->stats, &b->why);
	atomic_store(&b->done, true);
	/* A counter that is full has woken the loop already. */
	if (write(b->wake_fd, &one, sizeof(one)) < 0)
		log_debug("write-back: %m");
	return NULL;
}

static int start(struct pod *p, struct container *c, struct err *e)
{
	struct way_back *b = &c->back;
	int rc;

	b->mark = journal_mark(p->journal);
	rc = journal_add(p->journal, e, "writeback", writeback_dir(b->way),
			 writeback_name(b->way), NULL);
	if (rc < 0)
		return rc;
	b->noted = true;
	rc = machine_connect(p, &b->stream, e);
	if (rc < 0)
		return rc;
	b->wake_fd = p->back_fd;
	rc = pthread_create(&b->thread, NULL, come_back, c);
	if (rc)
		return err_set(e, rc, "cannot start a thread");
	b->running = true;
	pod_stamp(p, 0, "container %.32s: its changes come back", c->id);
	return 0;
}

static void tell_result(struct pod *p, struct container *c)
{
	struct way_back *b = &c->back;

	if (b->rc < 0) {
		snprintf(b->text, sizeof(b->text), "write-back failed, the root file system is as before the start: %s",
			 b->why.text);
		log_error("container %s: %s", c->id, b->text);
		pod_stamp(p, 0, "container %.32s: write-back failed: %s", c->id, b->why.text);
		return;
	}
	pod_stamp(p, 0, "container %.32s: %llu changes are back, %llu bytes", c->id,
		  (unsigned long long)b->stats.names, (unsigned long long)b->stats.bytes);
	if (!b->stats.no_nodes && !b->stats.no_attrs)
		return;
	snprintf(b->text, sizeof(b->text), "write-back left out %llu device nodes and %llu extended attributes that a container may not bring to the host",
		 (unsigned long long)b->stats.no_nodes, (unsigned long long)b->stats.no_attrs);
	log_warn("container %s: %s", c->id, b->text);
}

/* What cannot be removed now stays in the journal. */
static void clean(struct pod *p, struct container *c)
{
	struct way_back *b = &c->back;
	struct err e = { 0 };

	if (b->noted && (writeback_clean(b->way, &e) < 0 ||
			 journal_retire(p->journal, b->mark, &e) < 0))
		log_warn("container %s: clean-up of its write-back: %s", c->id, e.text);
	b->noted = false;
	writeback_free(b->way);
	b->way = NULL;
}

/* The thread has ended, or ends now. */
static void join(struct pod *p, struct container *c)
{
	struct way_back *b = &c->back;

	if (b->running) {
		pthread_join(b->thread, NULL);
		b->running = false;
		tell_result(p, c);
	}
	fd_close(&b->stream);
	clean(p, c);
}

static void on_wake(void *arg, uint32_t events)
{
	struct pod *p = arg;
	struct container *c;
	uint64_t n;

	(void)events;
	if (read(p->back_fd, &n, sizeof(n)) < 0)
		return;
	for (c = p->containers; c; c = c->next) {
		struct way_back *b = &c->back;

		if (b->due && !b->running) {
			b->due = false;
			b->rc = start(p, c, &b->why);
			if (b->rc >= 0)
				continue;
			tell_result(p, c);
		} else if (!b->running || !atomic_load(&b->done)) {
			continue;
		}
		join(p, c);
		container_settle(p, c);
	}
}

/**
 * wayback_open() - have the loop take care of what comes back
 *
 * Return: 0 or minus errno
 */
int wayback_open(struct pod *p, struct err *e)
{
	struct loop_src *src;

	p->back_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->back_fd < 0)
		return err_sys(e, "eventfd");
	return loop_add(p->loop, p->back_fd, EPOLLIN, on_wake, p, &src, e);
}

/**
 * wayback_begin() - a container's first process has ended
 *
 * Return: whether changes are to come; container_settle() is called then when they have
 * Context: also within a call to the agent: the work begins in the loop's next round
 */
bool wayback_begin(struct pod *p, struct container *c)
{
	uint64_t one = 1;

	if (!c->back.way || p->dead || write(p->back_fd, &one, sizeof(one)) != sizeof(one))
		return false;
	c->back.due = true;
	return true;
}

/**
 * wayback_pending() - whether a container that has ended waits for its changes
 */
bool wayback_pending(const struct container *c)
{
	return c->back.due || c->back.running;
}

/**
 * wayback_end() - give up what has not come back, and let the shim go
 *
 * What is under way ends soon: as failed, or as done.
 */
void wayback_end(struct pod *p, struct container *c)
{
	struct way_back *b = &c->back;

	if (p->dead && b->way && !b->running)
		snprintf(b->text, sizeof(b->text), "write-back failed, the root file system is as before the start: the pod's machine has ended: %s",
			 p->end_text);
	b->due = false;
	if (b->running)
		shutdown(b->stream, SHUT_RDWR);
	join(p, c);
	let_go(b);
}
