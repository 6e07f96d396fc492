// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The broker of one share (lib/share.h): each channel has a thread that takes a
 * message of the monitor, has storage serve it, and sends the answer. What a
 * message may do is storage's to decide (storage/share.c); here a channel that
 * brings nonsense is closed, and the share goes on with the others.
 *
 * The threads keep rights over files only (share_thread()), so that the
 * supervisor's others are out of reach of a mistake in there. They never see guest
 * memory. A file system that hangs holds up one channel each time, never the
 * supervisor's loop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "runtime/supervisor/supervisor.h"

/* What a file that a Linux guest knows takes of its memory, struct share_config. */
#define GUEST_NODE_BYTES 1024u
#define NODES_MAX (1u << 20)

/* Descriptors that nodes of the pod's share keep which could be opened again. */
#define FDS_MAX 4096u

/* One message; false at the end of the channel. */
static bool serve_one(struct share_channel *c, void *msg, void *reply)
{
	_cleanup_close_ int fd = -1;
	struct err e = { 0 };
	size_t n_fds = 0;
	ssize_t n = fd_recv(c->sock, msg, SHARE_MSG_BYTES, NULL, 0, &n_fds, &e);

	if (n <= 0)
		return false;
	n = share_call(c->share, msg, (size_t)n, reply, &fd);
	if (n < 0)
		log_warn("share: the monitor sent a message that makes no sense: channel closed");
	if (n <= 0)
		return !n;
	return fd_send(c->sock, reply, (size_t)n, &fd, fd < 0 ? 0 : 1, &e) >= 0;
}

static void *serve(void *arg)
{
	_cleanup_free_ void *msg = malloc(SHARE_MSG_BYTES), *reply = malloc(SHARE_MSG_BYTES);
	struct share_channel *c = arg;

	c->rc = share_thread(&c->why);
	if (c->rc >= 0 && (!msg || !reply))
		c->rc = err_set(&c->why, ENOMEM, "out of memory");
	sem_post(&c->ready);
	if (c->rc < 0)
		return NULL;
	while (serve_one(c, msg, reply))
		;
	/* A monitor that waits for an answer learns that none comes. */
	shutdown(c->sock, SHUT_RDWR);
	return NULL;
}

static int add_channel(struct share_broker *b, int *ret_vmm_end, struct err *e)
{
	struct share_channel *c = &b->channel[b->n];
	_cleanup_close_ int theirs = -1;
	int s[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
		return err_sys(e, "share: socketpair");
	theirs = s[1];
	*c = (struct share_channel){ .share = b->share, .sock = s[0] };
	sem_init(&c->ready, 0, 0);
	rc = pthread_create(&c->thread, NULL, serve, c);
	if (rc) {
		sem_destroy(&c->ready);
		fd_close(&c->sock);
		return err_set(e, rc, "share: cannot start a thread");
	}
	b->n++;
	while (sem_wait(&c->ready) < 0)
		;
	if (c->rc < 0) {
		*e = c->why;
		return c->rc;
	}
	*ret_vmm_end = fd_steal(&theirs);
	return 0;
}

/* Nodes are descriptors in part: take as many as we may. */
static void raise_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur == r.rlim_max)
		return;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		log_debug("share: RLIMIT_NOFILE: %m");
}

/**
 * share_broker_start() - serve a directory, or a set of trees
 * @b:            zero-initialised
 * @dirfd:        borrowed, not needed afterwards; -1: a set, share_add() to its share
 * @config:       limits
 * @n:            channels, 1 to SHARE_CHANNELS_MAX
 * @ret_vmm_ends: room for @n; the monitor's ends, owned by the caller
 *
 * Return: 0; minus errno, with nothing left behind
 */
int share_broker_start(struct share_broker *b, int dirfd, const struct share_config *config,
		       unsigned int n, int *ret_vmm_ends, struct err *e)
{
	int ends[SHARE_CHANNELS_MAX], rc;
	unsigned int made = 0;

	if (!n || n > SHARE_CHANNELS_MAX)
		return err_set(e, EINVAL, "share: %u channels: give 1 to %d", n,
			       SHARE_CHANNELS_MAX);
	raise_limit();
	rc = dirfd < 0 ? share_new_set(config, &b->share, e)
		       : share_new(dirfd, config, &b->share, e);
	while (rc >= 0 && made < n) {
		rc = add_channel(b, &ends[made], e);
		made += rc >= 0;
	}
	if (rc < 0) {
		while (made)
			fd_close(&ends[--made]);
		share_broker_stop(b);
		return rc;
	}
	memcpy(ret_vmm_ends, ends, n * sizeof(int));
	return 0;
}

static int plug(struct pod *p, const int *ends, size_t n, struct err *e)
{
	struct vmm_request rq = { .type = VMM_SHARE,
				  .share = { .tag = SHARE_POD_TAG, .cache = VMM_CACHE_AUTO } };
	struct vmm_reply rp;

	return vmm_call(&p->vmm, &rq, ends, n, VMM_ANSWER_MS, &rp, e);
}

/**
 * share_pod_start() - give the machine the share for the pod's volumes; fine when it has it
 *
 * Return: 0; minus errno, with nothing left behind
 */
int share_pod_start(struct pod *p, struct err *e)
{
	uint64_t nodes = (p->ram_bytes + p->hotplug_bytes) / GUEST_NODE_BYTES;
	struct share_config config = { .fds_max = FDS_MAX };
	struct rlimit r;
	int ends[SHARE_CHANNELS_MAX], rc, i;

	if (p->share.n)
		return 0;
	config.nodes_max = (uint32_t)(nodes < NODES_MAX ? nodes : NODES_MAX);
	config.held_max = config.nodes_max;
	if (!getrlimit(RLIMIT_NOFILE, &r) && r.rlim_max / 2 < config.held_max)
		config.held_max = (uint32_t)(r.rlim_max / 2);
	if (config.fds_max > config.held_max / 2)
		config.fds_max = config.held_max / 2;
	rc = share_broker_start(&p->share, -1, &config, SHARE_CHANNELS_MAX, ends, e);
	if (rc < 0)
		return rc;
	rc = plug(p, ends, SHARE_CHANNELS_MAX, e);
	for (i = 0; i < SHARE_CHANNELS_MAX; i++)
		fd_close(&ends[i]);
	if (rc < 0)
		share_broker_stop(&p->share);
	return rc;
}

/**
 * share_broker_stop() - end the threads and the share; fine when it was never started
 *
 * Context: waits for calls that are under way
 */
void share_broker_stop(struct share_broker *b)
{
	unsigned int i;

	for (i = 0; i < b->n; i++)
		shutdown(b->channel[i].sock, SHUT_RDWR);
	for (i = 0; i < b->n; i++) {
		pthread_join(b->channel[i].thread, NULL);
		sem_destroy(&b->channel[i].ready);
		fd_close(&b->channel[i].sock);
	}
	share_free(b->share);
	*b = (struct share_broker){ 0 };
}
