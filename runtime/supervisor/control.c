// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The pod's control socket: accepts podvm's commands and shims, carries out
 * one request after the other (lib/pod.proto), in the supervisor's loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "runtime/supervisor/supervisor.h"

struct conn {
	struct pod *pod;
	int fd;			/* owned */
	struct loop_src *src;
};

/* What one request gives back, beside an error. */
struct answer {
	Podvm__Pod__Response rs;
	int fds[3];		/* owned until sent */
	size_t n_fds;
	Podvm__Response *pids;	/* keeps rs.pids alive */
	Podvm__Pod__Stamp stamp[POD_STAMPS_MAX];
	Podvm__Pod__Stamp *stamps[POD_STAMPS_MAX];
	uint64_t exits[VMM_EXIT_KINDS];
	Podvm__Pod__Metrics metrics;
	struct vmm_metrics counted;	/* owned */
	struct device_out *devices;	/* owned; one for each of @counted */
	Podvm__Pod__Device **device_list; /* owned */
	Podvm__Pod__Size size;
	Podvm__Pod__Network network;
	char netns_held[48];
	Podvm__Pod__NetDevice *nics;	/* owned */
	Podvm__Pod__NetDevice **nic_list; /* owned */
	Podvm__Pod__Info *info;	/* owned */
};

#define COUNTER(field, unit, help) COUNTER_##field,
enum { VMM_DEVICE_COUNTERS(COUNTER) N_COUNTERS };
#undef COUNTER

struct device_out {
	Podvm__Pod__Device pb;
	uint64_t counters[N_COUNTERS];
};

static int give_agent(struct pod *p, const Podvm__Pod__Agent *rq,
		      struct answer *a, struct err *e)
{
	struct container *c = container_find(p, rq->id);
	int rc;

	if (!c)
		return err_set(e, ENOENT, "container %s does not exist", rq->id);
	if (p->dead || c->ended || c->state->status == STATE_STOPPED)
		return err_set(e, ESRCH, "container not running");
	rc = place_shim(p, c, (pid_t)rq->shim_pid, e);
	if (rc < 0)
		return rc;
	rc = machine_connect(p, &a->fds[0], e);
	if (rc < 0)
		return rc;
	a->n_fds = 1;
	a->fds[1] = dup(p->netns_fd);
	if (a->fds[1] < 0)
		return err_sys(e, "dup");
	a->n_fds = 2;
	if (!rq->hold)
		return 0;
	rc = wayback_hold(c, &a->fds[2], e);
	if (rc < 0)
		return rc;
	a->n_fds = 3;
	a->rs.settle_ms = wayback_hold_ms(p, c);
	a->rs.write_back = c->back.way != NULL;
	return 0;
}

static int give_pids(struct pod *p, const char *id, struct answer *a,
		     struct err *e)
{
	int rc = container_pids(p, id, &a->pids, e);

	if (rc < 0)
		return rc;
	if (a->pids->body_case != PODVM__RESPONSE__BODY_PIDS)
		return err_set(e, EPROTO, "the guest's agent did not tell the processes");
	a->rs.pids = a->pids->pids->pids;
	a->rs.n_pids = a->pids->pids->n_pids;
	return 0;
}

static int by_time(const void *x, const void *y)
{
	const struct stamp *a = x, *b = y;

	return a->ns < b->ns ? -1 : a->ns > b->ns;
}

static int give_timeline(struct pod *p, struct answer *a, struct err *e)
{
	struct vmm_stats st = { 0 };
	size_t i;

	if (!p->dead && machine_stats(p, &st, e) < 0)
		return -EIO;
	qsort(p->stamps, p->n_stamps, sizeof(p->stamps[0]), by_time);
	for (i = 0; i < p->n_stamps; i++) {
		podvm__pod__stamp__init(&a->stamp[i]);
		a->stamp[i].ns = p->stamps[i].ns;
		a->stamp[i].what = p->stamps[i].what;
		a->stamps[i] = &a->stamp[i];
	}
	a->rs.stamps = a->stamps;
	a->rs.n_stamps = p->n_stamps;
	memcpy(a->exits, st.exits, sizeof(a->exits));
	a->rs.exits = a->exits;
	a->rs.n_exits = VMM_EXIT_KINDS;
	return 0;
}

static void fill_device(struct vmm_device *from, struct device_out *to)
{
	const uint64_t counters[] = {
#define VALUE(field, unit, help) from->field,
		VMM_DEVICE_COUNTERS(VALUE)
#undef VALUE
	};

	podvm__pod__device__init(&to->pb);
	to->pb.kind = from->kind;
	to->pb.name = from->name;
	to->pb.status = from->status;
	to->pb.queues = from->queues;
	to->pb.kernel_queues = from->kernel_queues;
	memcpy(to->counters, counters, sizeof(counters));
	to->pb.counters = to->counters;
	to->pb.n_counters = N_COUNTERS;
}

static int give_stats(struct pod *p, struct answer *a, struct err *e)
{
	struct vmm_metrics *c = &a->counted;
	size_t i;
	int rc;

	if (p->dead)
		return err_set(e, ESRCH, "the pod's machine has ended");
	rc = machine_metrics(p, c, e);
	if (rc < 0)
		return rc;
	a->devices = mem_new_n(struct device_out, c->n_devices + 1);
	a->device_list = mem_new_n(Podvm__Pod__Device *, c->n_devices + 1);
	if (!a->devices || !a->device_list)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < c->n_devices; i++) {
		fill_device(&c->devices[i], &a->devices[i]);
		a->device_list[i] = &a->devices[i].pb;
	}
	podvm__pod__metrics__init(&a->metrics);
	a->metrics.exits = c->stats.exits;
	a->metrics.n_exits = VMM_EXIT_KINDS;
	a->metrics.start_ns = c->stats.start_ns;
	a->metrics.config_ns = c->stats.config_ns;
	a->metrics.run_ns = c->stats.run_ns;
	a->metrics.connect_ns = c->stats.connect_ns;
	a->metrics.devices = a->device_list;
	a->metrics.n_devices = c->n_devices;
	a->rs.metrics = &a->metrics;
	return 0;
}

static void fill_nic(struct vmm_device *from, Podvm__Pod__NetDevice *to)
{
	podvm__pod__net_device__init(to);
	to->mac = from->name;
	to->status = from->status;
	to->queues = from->queues;
	to->kernel_queues = from->kernel_queues;
	to->kicks = from->kicks;
	to->interrupts = from->interrupts;
	to->requests = from->requests;
	to->in_bytes = from->in_bytes;
	to->out_bytes = from->out_bytes;
	to->broken = from->broken;
}

static int give_nics(struct pod *p, struct answer *a, struct err *e)
{
	struct vmm_metrics *c = &a->counted;
	size_t i, n = 0;
	int rc = machine_metrics(p, c, e);

	if (rc < 0)
		return rc;
	a->nics = mem_new_n(Podvm__Pod__NetDevice, c->n_devices + 1);
	a->nic_list = mem_new_n(Podvm__Pod__NetDevice *, c->n_devices + 1);
	if (!a->nics || !a->nic_list)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < c->n_devices; i++) {
		if (strcmp(c->devices[i].kind, "net"))
			continue;
		fill_nic(&c->devices[i], &a->nics[n]);
		a->nic_list[n] = &a->nics[n];
		n++;
	}
	a->network.devices = a->nic_list;
	a->network.n_devices = n;
	return 0;
}

/* A dead machine still has its namespace, until the last container is deleted. */
static int give_network(struct pod *p, const Podvm__Pod__NetworkGet *rq, struct answer *a,
			struct err *e)
{
	int rc = 0;

	podvm__pod__network__init(&a->network);
	if (p->netns_path)
		a->network.netns_path = p->netns_path;
	snprintf(a->netns_held, sizeof(a->netns_held), "/proc/%d/fd/%d", getpid(), p->netns_fd);
	a->network.netns_held = a->netns_held;
	a->network.vhost_wanted = p->config.vhost_net;
	a->rs.network = &a->network;
	if (rq->devices && !p->dead)
		rc = give_nics(p, a, e);
	if (rc < 0)
		return rc;
	a->fds[0] = fcntl(p->netns_fd, F_DUPFD_CLOEXEC, 0);
	if (a->fds[0] < 0)
		return err_sys(e, "the pod's network namespace");
	a->n_fds = 1;
	if (rq->agent && !p->dead) {
		rc = machine_connect(p, &a->fds[1], e);
		a->n_fds += !rc;
	}
	return rc;
}

static int give_shell(struct pod *p, const Podvm__Pod__Shell *rq, struct answer *a,
		      struct err *e)
{
	int rc;

	if (!container_find(p, rq->id))
		return err_set(e, ENOENT, "container %s does not exist", rq->id);
	if (p->dead)
		return err_set(e, ESRCH, "the pod's machine has ended");
	rc = machine_connect(p, &a->fds[0], e);
	if (rc < 0)
		return rc;
	a->n_fds = 1;
	log_warn("pod %s: a shell is opened in the guest: %s", p->id, rq->command);
	return 0;
}

static int resize(struct pod *p, const Podvm__Pod__Resize *rq, struct answer *a,
		  struct err *e)
{
	int rc = 0;

	if (p->dead)
		return err_set(e, ESRCH, "the pod's machine has ended");
	podvm__pod__size__init(&a->size);
	if (rq->memory)
		rc = machine_set_memory(p, rq->memory, e);
	if (!rc)
		rc = machine_set_vcpus(p, rq->vcpus, &a->size.vcpus, e);
	if (!rc && rq->memory)
		p->by_hand_bytes = rq->memory;
	if (!rc && rq->vcpus)
		p->by_hand_vcpus = rq->vcpus;
	if (!rc)
		rc = machine_get_size(p, &a->size, e);
	if (!rc)
		a->rs.size = &a->size;
	return rc;
}

/* @given: its config.json, owned by the caller */
static int create(struct conn *c, const Podvm__Pod__Create *rq, int given, struct err *e)
{
	struct pod *p = c->pod;
	struct spec_source src;
	int rc;

	/* Its last container has gone in this round: a new pod can have this one. */
	if (p->ending || p->end)
		return err_set(e, ESHUTDOWN, "pod %s is ending", p->id);
	rc = spec_source_take(rq->bundle, given, &src, e);
	return rc < 0 ? rc : container_create(p, rq->id, &src, rq->systemd, c, e);
}

static int carry_out(struct conn *c, const Podvm__Pod__Request *rq, int given,
		     struct answer *a, struct err *e)
{
	struct pod *p = c->pod;
	int rc;

	switch (rq->body_case) {
	case PODVM__POD__REQUEST__BODY_CREATE:
		return create(c, rq->create, given, e);
	case PODVM__POD__REQUEST__BODY_COMMIT:
		return container_commit(p, rq->commit->id,
					(pid_t)rq->commit->shim_pid, c, e);
	case PODVM__POD__REQUEST__BODY_START:
		return container_start(p, rq->start->id, e);
	case PODVM__POD__REQUEST__BODY_SIGNAL:
		return container_signal(p, rq->signal->id, rq->signal->signal,
					rq->signal->all, e);
	case PODVM__POD__REQUEST__BODY_FREEZE:
		return container_freeze(p, rq->freeze->id, rq->freeze->frozen, e);
	case PODVM__POD__REQUEST__BODY_UPDATE:
		return container_update(p, rq->update->id, rq->update->resources, e);
	case PODVM__POD__REQUEST__BODY_DELETE:
		return container_delete(p, rq->delete_->id, rq->delete_->force, e);
	case PODVM__POD__REQUEST__BODY_AGENT:
		return give_agent(p, rq->agent, a, e);
	case PODVM__POD__REQUEST__BODY_STREAM:
		if (machine_connect(p, &a->fds[0], e) < 0)
			return -EIO;
		a->n_fds = 1;
		return 0;
	case PODVM__POD__REQUEST__BODY_PIDS:
		return give_pids(p, rq->pids->id, a, e);
	case PODVM__POD__REQUEST__BODY_TIMELINE:
		return give_timeline(p, a, e);
	case PODVM__POD__REQUEST__BODY_STATS:
		return give_stats(p, a, e);
	case PODVM__POD__REQUEST__BODY_RESIZE:
		return resize(p, rq->resize, a, e);
	case PODVM__POD__REQUEST__BODY_NETWORK:
		return give_network(p, rq->network, a, e);
	case PODVM__POD__REQUEST__BODY_INFO:
		rc = inspect_info(p, rq->info->details, &a->info, e);
		a->rs.info = a->info;
		return rc;
	case PODVM__POD__REQUEST__BODY_SHELL:
		return give_shell(p, rq->shell, a, e);
	case PODVM__POD__REQUEST__BODY_ABANDON:
		container_abandon(p, c);
		return 0;
	default:
		return err_set(e, EPROTO, "unknown request");
	}
}

/* In the place of an answer that is too long. */
static int send_failure(struct conn *c, int code, size_t len)
{
	Podvm__Pod__Response rs = PODVM__POD__RESPONSE__INIT;
	uint8_t out[200];
	char text[120];
	struct err e;

	snprintf(text, sizeof(text), "the answer has %zu bytes, more than the %d of a message", len,
		 POD_MESSAGE_BYTES);
	rs.error = code;
	rs.text = text;
	rs.ending = c->pod->ending;
	return fd_send(c->fd, out, podvm__pod__response__pack(&rs, out), NULL, 0, &e);
}

static int send_answer(struct conn *c, struct answer *a, int rc,
		       const struct err *why)
{
	_cleanup_free_ uint8_t *out = malloc(POD_MESSAGE_BYTES);
	struct err e;
	size_t len;

	if (!out)
		return -ENOMEM;
	a->rs.ending = c->pod->ending;
	if (rc < 0) {
		a->rs.error = -rc;
		a->rs.text = (char *)(uintptr_t)why->text;
	}
	/* The guest decides how many processes it tells of. */
	len = podvm__pod__response__get_packed_size(&a->rs);
	if (len > POD_MESSAGE_BYTES)
		return send_failure(c, EMSGSIZE, len);
	len = podvm__pod__response__pack(&a->rs, out);
	/* An empty packet would read as the end of the connection. */
	if (!len)
		out[len++] = 0x08, out[len++] = 0x00;
	return fd_send(c->fd, out, len, a->fds, rc < 0 ? 0 : a->n_fds, &e);
}

static void conn_close(struct conn *c)
{
	struct pod *p = c->pod;

	loop_del(c->src);
	fd_close(&c->fd);
	container_abandon(p, c);
	free(c);
}

static void on_request(void *arg, uint32_t events)
{
	_cleanup_free_ uint8_t *buf = malloc(POD_MESSAGE_BYTES);
	struct answer *a = mem_new(struct answer);
	_cleanup_close_ int given = -1;
	struct err e = { 0 }, ignored;
	Podvm__Pod__Request *rq = NULL;
	struct conn *c = arg;
	size_t n_fds;
	ssize_t n = -1;
	int rc;

	(void)events;
	if (buf && a)
		n = fd_recv(c->fd, buf, POD_MESSAGE_BYTES, &given, 1, &n_fds, &ignored);
	if (n > 0)
		rq = podvm__pod__request__unpack(NULL, (size_t)n, buf);
	if (!rq) {
		free(a);
		conn_close(c);
		return;
	}
	podvm__pod__response__init(&a->rs);
	rc = carry_out(c, rq, given, a, &e);
	podvm__pod__request__free_unpacked(rq, NULL);
	rc = send_answer(c, a, rc, &e);
	while (a->n_fds)
		close(a->fds[--a->n_fds]);
	if (a->pids)
		podvm__response__free_unpacked(a->pids, NULL);
	vmm_metrics_done(&a->counted);
	free(a->devices);
	free(a->device_list);
	free(a->nics);
	free(a->nic_list);
	if (a->info)
		podvm__pod__info__free_unpacked(a->info, NULL);
	free(a);
	if (rc < 0)
		conn_close(c);
}

static void on_connect(void *arg, uint32_t events)
{
	struct pod *p = arg;
	struct conn *c = mem_new(struct conn);
	struct err e;

	(void)events;
	if (!c)
		return;
	c->pod = p;
	c->fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (c->fd < 0 ||
	    loop_add(p->loop, c->fd, EPOLLIN, on_request, c, &c->src, &e) < 0) {
		fd_close(&c->fd);
		free(c);
	}
}

/**
 * control_open() - make the control socket in the pod's directory
 * @p: dirfd and loop are ready; listen_fd is set
 *
 * Return: 0 or minus errno
 */
int control_open(struct pod *p, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct loop_src *src;
	int rc = pod_socket_path(p->dirfd, sa.sun_path, sizeof(sa.sun_path), e);

	if (rc < 0)
		return rc;
	p->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (p->listen_fd < 0)
		return err_sys(e, "socket");
	umask(077);
	if (bind(p->listen_fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(p->listen_fd, 64) < 0)
		return err_sys(e, "control.sock");
	return loop_add(p->loop, p->listen_fd, EPOLLIN, on_connect, p, &src, e);
}
