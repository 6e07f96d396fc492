// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Serves the control socket (vmm/vmm.h) from the I/O thread. One table says for
 * each request how many descriptors it brings and at which stages of the
 * machine it is allowed; what comes at another time is refused with a text that
 * says when to send it. Descriptors that nobody took are closed after each
 * request. The process ends with the socket, or after STOP.
 *
 * When the guest has ended, all vCPUs are stopped before the event is sent, so
 * that counters and disks are final by then.
 */
#include "vmm/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/share.h"
#include "vmm/machine.h"
#include "vmm/vmm.h"

#define AT(stage) (1u << (stage))
#define ALIVE (AT(MACHINE_CONFIGURED) | AT(MACHINE_RUNNING) | AT(MACHINE_PAUSED))

struct control {
	int sock;			/* borrowed */
	const struct err *refuse;	/* borrowed; NULL when all is well */
	size_t n_fds;			/* that the request brought */
	struct machine m;
};

typedef int serve_fn(struct control *c, const struct vmm_request *rq, int *fds,
		     struct vmm_reply *rp, struct err *e);

static int serve_config(struct control *c, const struct vmm_request *rq, int *fds,
			struct vmm_reply *rp, struct err *e)
{
	(void)rp;
	return machine_config(&c->m, &rq->config, fds, e);
}

static int serve_restore(struct control *c, const struct vmm_request *rq, int *fds,
			 struct vmm_reply *rp, struct err *e)
{
	(void)rp;
	return machine_restore(&c->m, &rq->config, fds, e);
}

static int serve_save(struct control *c, const struct vmm_request *rq, int *fds,
		      struct vmm_reply *rp, struct err *e)
{
	(void)rq;
	(void)rp;
	return machine_save(&c->m, fds[0], e);
}

static int serve_disk(struct control *c, const struct vmm_request *rq, int *fds,
		      struct vmm_reply *rp, struct err *e)
{
	return machine_disk(&c->m, &rq->disk, &fds[0], &rp->devfn, e);
}

static int serve_share(struct control *c, const struct vmm_request *rq, int *fds,
		       struct vmm_reply *rp, struct err *e)
{
	(void)rp;
	return machine_share(&c->m, &rq->share, fds, c->n_fds, e);
}

static int serve_net(struct control *c, const struct vmm_request *rq, int *fds,
		     struct vmm_reply *rp, struct err *e)
{
	(void)rp;
	return machine_net(&c->m, &rq->net, fds, c->n_fds, e);
}

static int serve_broker(struct control *c, const struct vmm_request *rq, int *fds,
			struct vmm_reply *rp, struct err *e)
{
	(void)rq;
	(void)rp;
	if (c->m.broker >= 0)
		return err_set(e, EEXIST, "there is a broker already: disks use it");
	c->m.broker = fd_steal(&fds[0]);
	return 0;
}

static int serve_console_port(struct control *c, const struct vmm_request *rq, int *fds,
			      struct vmm_reply *rp, struct err *e)
{
	(void)rp;
	return machine_console_port(&c->m, rq->name, &fds[0], e);
}

static int serve_listen(struct control *c, const struct vmm_request *rq, int *fds,
			struct vmm_reply *rp, struct err *e)
{
	int rc = vsock_listen(c->m.vsock, rq->port, fds[0], e);

	(void)rp;
	if (!rc)
		fds[0] = -1;
	return rc;
}

static int serve_connect(struct control *c, const struct vmm_request *rq, int *fds,
			 struct vmm_reply *rp, struct err *e)
{
	int rc = vsock_connect(c->m.vsock, rq->port, fds[0], e);

	(void)rp;
	if (!rc)
		fds[0] = -1;
	return rc;
}

static int serve_start(struct control *c, const struct vmm_request *rq, int *fds,
		       struct vmm_reply *rp, struct err *e)
{
	(void)rq;
	(void)fds;
	(void)rp;
	return machine_start(&c->m, e);
}

static int serve_pause(struct control *c, const struct vmm_request *rq, int *fds,
		       struct vmm_reply *rp, struct err *e)
{
	(void)fds;
	(void)rp;
	(void)e;
	if (rq->type == VMM_PAUSE)
		machine_pause(&c->m);
	else
		machine_resume(&c->m);
	return 0;
}

static int check_name(const char name[VMM_NAME_BYTES], struct err *e)
{
	return memchr(name, 0, VMM_NAME_BYTES) ? 0 : err_set(e, EINVAL, "the name does not end");
}

static int serve_unplug(struct control *c, const struct vmm_request *rq, int *fds,
			struct vmm_reply *rp, struct err *e)
{
	(void)fds;
	(void)rp;
	return check_name(rq->name, e) < 0 ? -EINVAL : machine_unplug(&c->m, rq->name, e);
}

static int serve_resize(struct control *c, const struct vmm_request *rq, int *fds,
			struct vmm_reply *rp, struct err *e)
{
	(void)fds;
	(void)rp;
	return check_name(rq->name, e) < 0 ? -EINVAL : machine_resize(&c->m, rq->name, e);
}

static int serve_limit(struct control *c, const struct vmm_request *rq, int *fds,
		       struct vmm_reply *rp, struct err *e)
{
	(void)fds;
	(void)rp;
	if (check_name(rq->limit.name, e) < 0)
		return -EINVAL;
	return machine_limit(&c->m, &rq->limit, e);
}

static int serve_link(struct control *c, const struct vmm_request *rq, int *fds,
		      struct vmm_reply *rp, struct err *e)
{
	(void)fds;
	(void)rp;
	if (check_name(rq->name, e) < 0)
		return -EINVAL;
	if (rq->port > 1)
		return err_set(e, EINVAL, "port %u: 1 is up, 0 is down", rq->port);
	return machine_link(&c->m, rq->name, rq->port, e);
}

static int serve_stats(struct control *c, const struct vmm_request *rq, int *fds,
		       struct vmm_reply *rp, struct err *e)
{
	(void)rq;
	(void)fds;
	(void)e;
	machine_stats(&c->m, &rp->stats);
	return 0;
}

static int serve_device(struct control *c, const struct vmm_request *rq, int *fds,
			struct vmm_reply *rp, struct err *e)
{
	(void)fds;
	return machine_device(&c->m, rq->port, &rp->device, e);
}

static int serve_balloon(struct control *c, const struct vmm_request *rq, int *fds,
			 struct vmm_reply *rp, struct err *e)
{
	(void)fds;
	(void)rp;
	return machine_balloon(&c->m, rq->bytes, e);
}

static int serve_memory(struct control *c, const struct vmm_request *rq, int *fds,
			struct vmm_reply *rp, struct err *e)
{
	(void)fds;
	(void)rp;
	return machine_memory(&c->m, rq->bytes, e);
}

static int serve_memory_state(struct control *c, const struct vmm_request *rq, int *fds,
			      struct vmm_reply *rp, struct err *e)
{
	(void)rq;
	(void)fds;
	(void)e;
	machine_memory_state(&c->m, &rp->memory);
	return 0;
}

static int serve_stop(struct control *c, const struct vmm_request *rq, int *fds,
		      struct vmm_reply *rp, struct err *e)
{
	(void)rq;
	(void)fds;
	(void)rp;
	(void)e;
	machine_stop(&c->m);
	loop_stop(c->m.loop);
	return 0;
}

static const struct request {
	const char *name;
	serve_fn *serve;
	size_t n_fds;		/* exactly, or up to @max_fds where that is set */
	unsigned int stages;
	const char *when;
	size_t max_fds;
} requests[] = {
	[VMM_CONFIG] = { "CONFIG", serve_config, MACHINE_FDS, AT(MACHINE_NEW),
			 "send it once, first of all", MACHINE_FDS_MAX },
	[VMM_RESTORE] = { "RESTORE", serve_restore, MACHINE_FDS, AT(MACHINE_NEW),
			  "send it once, first of all, in the place of CONFIG" },
	[VMM_SAVE] = { "SAVE", serve_save, 1, AT(MACHINE_PAUSED), "send it after PAUSE" },
	[VMM_DISK] = { "DISK", serve_disk, 1, ALIVE,
		       "send it after CONFIG and before the guest's end" },
	[VMM_NET] = { "NET", serve_net, 1, ALIVE,
		      "send it after CONFIG and before the guest's end", FD_PASS_MAX },
	[VMM_BROKER] = { "BROKER", serve_broker, 1, AT(MACHINE_CONFIGURED),
			 "send it between CONFIG and START" },
	[VMM_LISTEN] = { "LISTEN", serve_listen, 1, ALIVE,
			 "send it after CONFIG and before the guest's end" },
	[VMM_CONNECT] = { "CONNECT", serve_connect, 1, AT(MACHINE_RUNNING) | AT(MACHINE_PAUSED),
			  "send it while the guest runs" },
	[VMM_START] = { "START", serve_start, 0, AT(MACHINE_CONFIGURED),
			"send it once, after CONFIG" },
	[VMM_STATS] = { "STATS", serve_stats, 0, ALIVE | AT(MACHINE_ENDED),
			"send it after CONFIG" },
	[VMM_STOP] = { "STOP", serve_stop, 0, ALIVE | AT(MACHINE_NEW) | AT(MACHINE_ENDED),
		       "" },
	[VMM_PAUSE] = { "PAUSE", serve_pause, 0, AT(MACHINE_RUNNING),
			"send it while the guest runs" },
	[VMM_RESUME] = { "RESUME", serve_pause, 0, AT(MACHINE_PAUSED),
			 "send it after PAUSE" },
	[VMM_DEVICE] = { "DEVICE", serve_device, 0, ALIVE | AT(MACHINE_ENDED),
			 "send it after CONFIG" },
	[VMM_CONSOLE_PORT] = { "CONSOLE_PORT", serve_console_port, 1, AT(MACHINE_CONFIGURED),
			       "send it between CONFIG and START" },
	[VMM_SHARE] = { "SHARE", serve_share, 1, ALIVE,
			"send it after CONFIG and before the guest's end", SHARE_CHANNELS_MAX },
	[VMM_UNPLUG] = { "UNPLUG", serve_unplug, 0, ALIVE,
			 "send it after CONFIG and before the guest's end" },
	[VMM_RESIZE] = { "RESIZE", serve_resize, 0, ALIVE,
			 "send it after CONFIG and before the guest's end" },
	[VMM_LIMIT] = { "LIMIT", serve_limit, 0, ALIVE,
			"send it after CONFIG and before the guest's end" },
	[VMM_LINK] = { "LINK", serve_link, 0, ALIVE,
		       "send it after CONFIG and before the guest's end" },
	[VMM_BALLOON] = { "BALLOON", serve_balloon, 0, ALIVE,
			  "send it after CONFIG and before the guest's end" },
	[VMM_MEMORY] = { "MEMORY", serve_memory, 0, ALIVE,
			 "send it after CONFIG and before the guest's end" },
	[VMM_MEMORY_STATE] = { "MEMORY_STATE", serve_memory_state, 0,
			       ALIVE | AT(MACHINE_ENDED), "send it after CONFIG" },
};

static int serve(struct control *c, const struct vmm_request *rq, int *fds,
		 size_t n_fds, struct vmm_reply *rp, struct err *e)
{
	const struct request *r;
	int rc;

	if (c->refuse && rq->type != VMM_STOP)
		return err_set(e, c->refuse->code, "sandbox: %s", c->refuse->text);
	if (rq->type >= ARRAY_LEN(requests) || !requests[rq->type].serve)
		return err_set(e, EINVAL, "request %u is unknown: use a supervisor of the same version",
			       rq->type);
	r = &requests[rq->type];
	if (!(r->stages & AT(c->m.stage)))
		return err_set(e, EBUSY, "%s out of order: %s", r->name, r->when);
	if (n_fds < r->n_fds || n_fds > (r->max_fds ? r->max_fds : r->n_fds))
		return err_set(e, EINVAL, "%s with %zu descriptors: it takes %zu%s", r->name,
			       n_fds, r->n_fds, r->max_fds ? " or a few more" : "");
	c->n_fds = n_fds;
	rc = r->serve(c, rq, fds, rp, e);
	return rc < 0 ? err_wrap(e, "%s", r->name) : 0;
}

static void on_request(void *arg, uint32_t events)
{
	struct control *c = arg;
	struct vmm_reply rp = { 0 };
	struct vmm_request rq;
	int fds[FD_PASS_MAX];
	size_t n_fds = 0, i;
	struct err e = { 0 };
	ssize_t n;
	int rc;

	(void)events;
	for (i = 0; i < FD_PASS_MAX; i++)
		fds[i] = -1;
	n = fd_recv(c->sock, &rq, sizeof(rq), fds, FD_PASS_MAX, &n_fds, &e);
	if (n <= 0) {
		if (n < 0)
			log_error("vmm: control socket: %s", e.text);
		loop_stop(c->m.loop);
		return;
	}
	if (n != sizeof(rq))
		rc = err_set(&e, EPROTO, "request of %zd bytes: use a supervisor of the same version",
			     n);
	else
		rc = serve(c, &rq, fds, n_fds, &rp, &e);
	for (i = 0; i < n_fds; i++)
		fd_close(&fds[i]);
	rp.type = n == sizeof(rq) ? rq.type : 0;
	if (rc < 0) {
		rp.error = -rc;
		snprintf(rp.text, sizeof(rp.text), "%.255s", e.text);
	}
	if (fd_send(c->sock, &rp, sizeof(rp), NULL, 0, &e) < 0)
		loop_stop(c->m.loop);
}

static void on_event(void *arg, uint32_t events)
{
	struct control *c = arg;
	struct vmm_reply rp = { .type = VMM_EVENT };
	struct err e;

	(void)events;
	rp.event = machine_event(&c->m, rp.text, sizeof(rp.text));
	machine_stop(&c->m);
	machine_stats(&c->m, &rp.stats);
	log_info("vmm: guest ended: %s", rp.text);
	if (fd_send(c->sock, &rp, sizeof(rp), NULL, 0, &e) < 0)
		loop_stop(c->m.loop);
}

/**
 * control_run() - serve the supervisor until it goes away or says STOP
 * @sock:   control socket, borrowed
 * @refuse: why no machine may be made, or NULL
 *
 * Return: 0 or minus errno
 * Context: the I/O thread; makes the vCPU threads and ends them
 */
int control_run(int sock, const struct err *refuse, struct err *e)
{
	struct control c = { .sock = sock, .refuse = refuse };
	struct loop_src *s;
	int rc;

	if ((rc = machine_init(&c.m, e)) >= 0 &&
	    (rc = loop_add(c.m.loop, sock, EPOLLIN, on_request, &c, &s, e)) >= 0 &&
	    (rc = loop_add(c.m.loop, c.m.event_fd, EPOLLIN, on_event, &c, &s, e)) >= 0)
		rc = loop_run(c.m.loop, e);
	machine_done(&c.m);
	return rc;
}
