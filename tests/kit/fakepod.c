// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Stands for a pod: its directory below a state directory of the test's own,
 * its control socket, and the agent of a guest. One thread serves all
 * connections, one message at a time.
 */
#include "tests/kit/fakepod.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/frame.h"

#define PEERS_MAX 24

struct peer {
	int fd;
	bool agent;
	struct frame_rx rx;
};

static void peer_close(struct peer *p)
{
	frame_done(&p->rx);
	fd_close(&p->fd);
}

static struct peer *peer_new(struct peer *v, int fd, bool agent)
{
	size_t i;

	for (i = 0; i < PEERS_MAX; i++)
		if (v[i].fd < 0) {
			v[i] = (struct peer){ .fd = fd, .agent = agent };
			return &v[i];
		}
	close(fd);
	return NULL;
}

/* One request to the supervisor. */
static void serve_control(struct fakepod *p, struct peer *v, struct peer *me)
{
	uint8_t buf[8192];
	Podvm__Pod__Response rs = PODVM__POD__RESPONSE__INIT;
	Podvm__Pod__Request *rq = NULL;
	int fds[2] = { p->netns, -1 }, pair[2], given = -1, got = -1;
	size_t n_fds, n = 1;
	bool agent;
	ssize_t len = fd_recv(me->fd, buf, sizeof(buf), &got, 1, &n_fds, NULL);

	if (got >= 0) {
		free(p->given);
		p->given = NULL;
		file_read(AT_FDCWD, fd_path(got).s, 1 << 20, &p->given, NULL, NULL);
		fd_close(&got);
	}
	if (len > 0)
		rq = podvm__pod__request__unpack(NULL, (size_t)len, buf);
	if (!rq) {
		peer_close(me);
		return;
	}
	agent = rq->body_case == PODVM__POD__REQUEST__BODY_STREAM ||
		rq->body_case == PODVM__POD__REQUEST__BODY_SHELL;
	if (rq->body_case == PODVM__POD__REQUEST__BODY_INFO)
		rs.info = p->info;
	if (rq->body_case == PODVM__POD__REQUEST__BODY_NETWORK) {
		rs.network = &p->network;
		agent = rq->network->agent;
	} else {
		n = 0;
	}
	if (!n && !agent && !rs.info)
		rs.error = p->control ? p->control(p->arg, rq) : 22;
	if (agent && p->agent && !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		fds[n++] = given = pair[0];
		peer_new(v, pair[1], true);
	}
	podvm__pod__request__free_unpacked(rq, NULL);
	len = (ssize_t)podvm__pod__response__pack(&rs, buf);
	/* As the supervisor has it: an empty packet would read as the end. */
	if (!len)
		buf[len++] = 0x08, buf[len++] = 0x00;
	fd_send(me->fd, buf, (size_t)len, fds, n, NULL);
	fd_close(&given);
}

static void serve_agent(struct fakepod *p, struct peer *me)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Request *rq = NULL;
	bool on = frame_recv(me->fd, &me->rx, 5000, NULL) >= 0;

	if (on)
		rq = podvm__request__unpack(NULL, me->rx.len, me->rx.buf);
	if (rq && p->take && p->take(p->arg, rq, me->fd)) {
		me->fd = -1;
		on = false;
	}
	on = me->fd >= 0 && rq && p->agent(p->arg, rq, &rs) && frame_send(me->fd, &rs.base, 5000, NULL) >= 0;
	if (rq)
		podvm__request__free_unpacked(rq, NULL);
	if (!on)
		peer_close(me);
}

static void *serve(void *arg)
{
	struct fakepod *p = arg;
	struct peer v[PEERS_MAX];
	struct pollfd f[PEERS_MAX + 2];
	size_t i;

	for (i = 0; i < PEERS_MAX; i++)
		v[i] = (struct peer){ .fd = -1 };
	for (;;) {
		f[0] = (struct pollfd){ .fd = p->stop_fd, .events = POLLIN };
		f[1] = (struct pollfd){ .fd = p->listen_fd, .events = POLLIN };
		for (i = 0; i < PEERS_MAX; i++)
			f[i + 2] = (struct pollfd){ .fd = v[i].fd, .events = POLLIN };
		if (poll(f, PEERS_MAX + 2, -1) < 0 || f[0].revents)
			break;
		if (f[1].revents)
			peer_new(v, accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC), false);
		for (i = 0; i < PEERS_MAX; i++)
			if (v[i].fd >= 0 && v[i].fd == f[i + 2].fd && f[i + 2].revents) {
				if (v[i].agent)
					serve_agent(p, &v[i]);
				else
					serve_control(p, v, &v[i]);
			}
	}
	for (i = 0; i < PEERS_MAX; i++)
		peer_close(&v[i]);
	return NULL;
}

/**
 * fakepod_init() - a state directory, and what fakepod_start() needs to know
 * @netns: borrowed until fakepod_stop()
 */
void fakepod_init(struct fakepod *p, int netns)
{
	char path[80];

	*p = (struct fakepod){ .netns = netns, .listen_fd = -1, .stop_fd = -1, .lock_fd = -1 };
	snprintf(p->root, sizeof(p->root), "/tmp/podvm-fakepod.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(p->root));
	snprintf(path, sizeof(path), "%s/pods", p->root);
	ck_assert(!mkdir(path, 0700));
	snprintf(path, sizeof(path), "%s/containers", p->root);
	ck_assert(!mkdir(path, 0700));
	podvm__pod__network__init(&p->network);
	snprintf(p->held, sizeof(p->held), "/proc/%d/fd/%d", getpid(), netns);
	p->network.netns_held = p->held;
}

/**
 * fakepod_start() - let the pod live
 */
void fakepod_start(struct fakepod *p, const char *id)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char path[120];

	snprintf(path, sizeof(path), "%s/pods/%s", p->root, id);
	ck_assert(!mkdir(path, 0700));
	snprintf(path, sizeof(path), "%s/pods/%s/lock", p->root, id);
	p->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert(p->lock_fd >= 0 && !flock(p->lock_fd, LOCK_EX));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/pods/%s/control.sock", p->root, id);
	p->stop_fd = eventfd(0, EFD_CLOEXEC);
	p->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert(!bind(p->listen_fd, (struct sockaddr *)&sa, sizeof(sa)));
	ck_assert(!listen(p->listen_fd, 16));
	ck_assert(!pthread_create(&p->thread, NULL, serve, p));
}

/**
 * fakepod_container() - write the record of a container
 */
void fakepod_container(const struct fakepod *p, const char *id, const char *json)
{
	char path[120];
	FILE *f;

	snprintf(path, sizeof(path), "%s/containers/%s.json", p->root, id);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fputs(json, f);
	ck_assert(!fclose(f));
}

/**
 * fakepod_end() - end the pod; its directory stays
 */
void fakepod_end(struct fakepod *p)
{
	uint64_t one = 1;

	if (p->stop_fd >= 0) {
		ck_assert_int_eq(write(p->stop_fd, &one, sizeof(one)), sizeof(one));
		ck_assert(!pthread_join(p->thread, NULL));
	}
	fd_close(&p->listen_fd);
	fd_close(&p->stop_fd);
	fd_close(&p->lock_fd);
}

/**
 * fakepod_stop() - end the pod, and remove the state directory
 */
void fakepod_stop(struct fakepod *p)
{
	fakepod_end(p);
	free(p->given);
	p->given = NULL;
	dir_remove(AT_FDCWD, p->root, NULL);
}
