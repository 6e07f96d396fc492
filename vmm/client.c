// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The supervisor's side of the control socket (vmm/vmm.h). Calls are
 * synchronous and one at a time: a request, then its reply. An event that
 * arrives in between is kept in struct vmm for vmm_event(); there is at most
 * one, since an event tells that the machine has come to its end. The monitor
 * is not trusted: a reply of another size or type ends the conversation, its
 * text is cut and masked, and descriptors that it sends are closed.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "vmm/vmm.h"

/* How long a monitor may take to end by itself once its socket is closed. */
#define END_MS 2000

/* What bus 0 has room for. */
#define DEVICES_MAX 255

/**
 * vmm_spawn() - start a monitor
 * @program: path of podvm-vmm
 * @ret:     owned by the caller, vmm_done()
 *
 * Return: 0 or minus errno
 */
int vmm_spawn(const char *program, const struct vmm_spawn *how, struct vmm *ret, struct err *e)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	char name[] = "podvm-vmm";
	char weak[] = "--weak-sandbox";
	char *argv[] = { name, how->weak_sandbox ? weak : NULL, NULL };
	char *envp[] = { NULL };
	struct proc_fd map[2];
	struct proc_spec s = { .path = program, .argv = argv, .envp = envp,
			       .fds = map, .n_fds = 2, .setsid = 1,
			       .cgroup_fd = how->cgroup_fd < 0 ? 0 : how->cgroup_fd };
	struct vmm v = { .sock = -1, .pidfd = -1 };
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "socketpair");
	ours = pair[0];
	theirs = pair[1];
	map[0] = (struct proc_fd){ .fd = theirs, .child = VMM_CONTROL_FD };
	map[1] = (struct proc_fd){ .fd = how->log_fd, .child = 2 };
	rc = proc_spawn(&s, &v.pid, &v.pidfd, e);
	if (rc < 0)
		return rc;
	v.sock = fd_steal(&ours);
	*ret = v;
	return 0;
}

/* One message within @timeout_ms (-1: for ever); -EPIPE when the monitor has ended. */
static int receive(struct vmm *v, int timeout_ms, struct vmm_reply *r,
		   struct err *e)
{
	uint64_t end = clock_ms() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);
	struct pollfd p = { .fd = v->sock, .events = POLLIN };
	size_t n_fds = 0;
	ssize_t n;
	int rc;

	do {
		uint64_t now = clock_ms();

		rc = poll(&p, 1, timeout_ms < 0 ? -1 : now >= end ? 0 : (int)(end - now));
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return err_sys(e, "poll");
	if (!rc)
		return err_set(e, ETIMEDOUT, "the monitor did not answer within %d ms",
			       timeout_ms);
	n = fd_recv(v->sock, r, sizeof(*r), NULL, 0, &n_fds, e);
	if (n == -ECONNRESET || !n)
		return err_set(e, EPIPE, "the monitor has ended; its log tells why");
	if (n < 0)
		return (int)n;
	if (n != sizeof(*r))
		return err_set(e, EPROTO, "the monitor sent %zd bytes, not %zu", n,
			       sizeof(*r));
	r->text[sizeof(r->text) - 1] = 0;
	return 0;
}

/**
 * vmm_call() - one request and its reply
 * @fds:        go with the request, borrowed: the monitor gets copies
 * @timeout_ms: -1 waits for ever
 * @ret:        the reply; untouched when none came
 *
 * Return: 0; minus the monitor's errno with its text; -ETIMEDOUT, -EPIPE,
 * -EPROTO: after these the monitor is of no use any more
 */
int vmm_call(struct vmm *v, const struct vmm_request *rq, const int *fds,
	     size_t n_fds, int timeout_ms, struct vmm_reply *ret, struct err *e)
{
	uint64_t end = clock_ms() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);
	struct vmm_reply r;
	int rc;

	rc = fd_send(v->sock, rq, sizeof(*rq), fds, n_fds, e);
	if (rc == -EPIPE || rc == -ECONNRESET)
		return err_set(e, EPIPE, "the monitor has ended; its log tells why");
	if (rc < 0)
		return err_wrap(e, "monitor");
	for (;;) {
		uint64_t now = clock_ms();

		rc = receive(v, timeout_ms < 0 ? -1 : now >= end ? 0 : (int)(end - now),
			     &r, e);
		if (rc < 0)
			return rc;
		if (r.type != VMM_EVENT)
			break;
		if (!v->have_event)
			v->event = r;
		v->have_event = true;
	}
	if (r.type != rq->type)
		return err_set(e, EPROTO, "the monitor answered request %u with %u",
			       rq->type, r.type);
	*ret = r;
	if (r.error)
		return err_set(e, r.error > 0 && r.error < 4096 ? r.error : EPROTO,
			       "monitor: %s", r.text);
	return 0;
}

/**
 * vmm_event() - take an event; waits for one
 *
 * Call it when @v->have_event is set or @v->sock is readable outside of vmm_call().
 *
 * Return: 0; -EPIPE when the monitor has ended without one; minus errno
 */
int vmm_event(struct vmm *v, struct vmm_reply *ret, struct err *e)
{
	struct vmm_reply r;
	int rc;

	if (v->have_event) {
		v->have_event = false;
		*ret = v->event;
		return 0;
	}
	rc = receive(v, -1, &r, e);
	if (rc < 0)
		return rc;
	if (r.type != VMM_EVENT)
		return err_set(e, EPROTO, "the monitor sent %u where an event was due",
			       r.type);
	*ret = r;
	return 0;
}

/* One more device; -ENOENT behind the last one. */
static int get_device(struct vmm *v, int timeout_ms, struct vmm_metrics *m, struct err *e)
{
	struct vmm_request rq = { .type = VMM_DEVICE, .port = (uint32_t)m->n_devices };
	struct vmm_device *d;
	struct vmm_reply rp;
	int rc = vmm_call(v, &rq, NULL, 0, timeout_ms, &rp, e);

	if (rc < 0)
		return rc;
	if (m->n_devices == DEVICES_MAX)
		return err_set(e, EPROTO, "the monitor tells of more than %d devices", DEVICES_MAX);
	d = realloc(m->devices, (m->n_devices + 1) * sizeof(*d));
	if (!d)
		return err_set(e, ENOMEM, "out of memory");
	rp.device.kind[sizeof(rp.device.kind) - 1] = 0;
	rp.device.name[sizeof(rp.device.name) - 1] = 0;
	d[m->n_devices++] = rp.device;
	m->devices = d;
	return 0;
}

/**
 * vmm_metrics_get() - ask a machine for all that it counts
 * @timeout_ms: for each answer
 * @ret:        owned by the caller, vmm_metrics_done()
 *
 * Return: 0 or minus errno
 */
int vmm_metrics_get(struct vmm *v, int timeout_ms, struct vmm_metrics *ret, struct err *e)
{
	struct vmm_request rq = { .type = VMM_STATS };
	struct vmm_metrics m = { .machine = NULL };
	struct vmm_reply rp;
	int rc = vmm_call(v, &rq, NULL, 0, timeout_ms, &rp, e);

	if (rc < 0)
		return rc;
	m.stats = rp.stats;
	do {
		rc = get_device(v, timeout_ms, &m, e);
	} while (!rc);
	if (rc != -ENOENT) {
		vmm_metrics_done(&m);
		return rc;
	}
	*ret = m;
	return 0;
}

/**
 * vmm_metrics_done() - free what vmm_metrics_get() made; a zeroed one is fine
 */
void vmm_metrics_done(struct vmm_metrics *m)
{
	free(m->devices);
	*m = (struct vmm_metrics){ .machine = NULL };
}

/**
 * vmm_done() - end the monitor, by force if need be, and reap it
 * @v: may be zeroed except for -1 descriptors; may be done twice
 */
void vmm_done(struct vmm *v)
{
	int status;

	fd_close(&v->sock);
	if (v->pidfd < 0)
		return;
	if (proc_wait(v->pidfd, END_MS, &status, NULL) == -ETIMEDOUT) {
		proc_kill(v->pidfd, SIGKILL);
		proc_wait(v->pidfd, -1, &status, NULL);
	}
	fd_close(&v->pidfd);
}
