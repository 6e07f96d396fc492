// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Stands for a virtual machine on a pod's tap: a thread carries frames, with their
 * virtio header, between the tap and another one, which is eth0 of a third network
 * namespace, the guest's. There the kernel's own stack answers, and the agent's own
 * code counts and captures. A fake supervisor leads to it.
 */
#include "tests/kit/netguest.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 * Its own code; what it calls of nl.c and conn.c is compiled in agent_guest.c and
 * runtime_relay.c. Its packets have the times of a clock that can be ahead.
 */
#include "lib/packet.h"
static int64_t ahead_ns;
static packet_fn *ahead_fn;

static int on_ahead(void *arg, const struct packet *k, struct err *e)
{
	struct packet later = *k;

	later.ts_ns += (uint64_t)ahead_ns;
	return ahead_fn(arg, &later, e);
}

static int packet_read_later(struct packet_reader *r, int fd, packet_fn *fn, void *arg,
			     struct err *e)
{
	ahead_fn = fn;
	return packet_read(r, fd, on_ahead, arg, e);
}
#define packet_read packet_read_later
#include "guest/agent/capture.c"
#undef packet_read
#include "guest/agent/capture-counters.c"

#include "lib/probe.h"
#include "tests/kit/tap.h"

#define FRAME_BYTES 70000

static void carry(int from, int to, bool lose, atomic_uint *count)
{
	static _Thread_local uint8_t frame[FRAME_BYTES];
	ssize_t n = read(from, frame, sizeof(frame));

	if (n <= 0 || lose)
		return;
	(*count)++;
	if (write(to, frame, (size_t)n) < 0)
		return; /* the other side is down */
}

static void *machine(void *arg)
{
	struct netguest *g = arg;

	while (!g->stop) {
		struct pollfd p[] = { { g->stuck ? -1 : g->outer, POLLIN, 0 },
				      { g->inner, POLLIN, 0 } };

		if (poll(p, 2, 20) <= 0)
			continue;
		if (p[0].revents)
			carry(g->outer, g->inner, g->deaf, &g->to_guest);
		g->device.requests = g->to_guest; /* what the guest says by itself does not count */
		if (p[1].revents)
			carry(g->inner, g->outer, g->mute, &g->from_guest);
	}
	return NULL;
}

/* On the thread of the fake pod, which needs no other namespace. */
static bool answer(void *arg, const Podvm__Request *rq, Podvm__Response *rs)
{
	struct netguest *g = arg;
	struct timespec now;
	struct err e = { 0 };

	if (rq->body_case != PODVM__REQUEST__BODY_TRACE_ASK)
		return false;
	ck_assert(!setns(g->netns, CLONE_NEWNET));
	capture_counters_free(&g->told);
	podvm__trace_told__init(&g->told);
	if ((rq->trace_ask->probe && probe_send(rq->trace_ask->probe, &e) < 0) ||
	    capture_counters(&rq->trace_ask->mac, &g->told, &e) < 0) {
		rs->error = e.code;
		snprintf(g->failure, sizeof(g->failure), "%.250s", e.text);
		rs->text = g->failure;
		return true;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	g->told.realtime_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec +
			      (uint64_t)g->ahead_ns;
	rs->body_case = PODVM__RESPONSE__BODY_TOLD;
	rs->told = &g->told;
	return true;
}

static bool take(void *arg, const Podvm__Request *rq, int fd)
{
	struct netguest *g = arg;
	struct conn c = { .fd = fd };
	struct err e = { 0 };

	if (rq->body_case != PODVM__REQUEST__BODY_CAPTURE_OPEN)
		return false;
	ahead_ns = g->ahead_ns;
	ck_assert(!setns(g->netns, CLONE_NEWNET));
	return !capture_begin(&c, rq->capture_open, &e);
}

/**
 * netguest_start() - let a guest live behind a tap, and its pod
 * @n:         the pod; the test's thread stays where it is
 * @tap_fd:    of the pod's tap, with IFF_VNET_HDR; borrowed
 * @mac:       of the guest's interface
 * @addresses: commands that give eth0 its addresses and routes
 */
void netguest_start(struct netguest *g, const struct kit_net *n, int tap_fd,
		    const uint8_t mac[6], const char *addresses)
{
	int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	memset(g, 0, sizeof(*g));
	g->outer = fcntl(tap_fd, F_DUPFD_CLOEXEC, 3);
	snprintf(g->mac, sizeof(g->mac), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	g->netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	g->inner = kit_tap_open("eth0", KIT_TAP_FLAGS);
	kit_run("ip link set lo up && ip link set eth0 address %s && ip link set eth0 up && %s",
		g->mac, addresses);
	kit_net_enter(back);
	close(back);
	fakepod_init(&g->pod, n->pod);
	podvm__pod__net_device__init(&g->device);
	podvm__trace_told__init(&g->told);
	g->device.mac = g->mac;
	g->devices[0] = &g->device;
	g->pod.network.devices = g->devices;
	g->pod.network.n_devices = 1;
	g->pod.agent = answer;
	g->pod.take = take;
	g->pod.arg = g;
	fakepod_start(&g->pod, "web");
	ck_assert(!pthread_create(&g->thread, NULL, machine, g));
}

/**
 * netguest_stop() - end guest and pod
 */
void netguest_stop(struct netguest *g)
{
	fakepod_stop(&g->pod);
	g->stop = true;
	ck_assert(!pthread_join(g->thread, NULL));
	capture_counters_free(&g->told);
	fd_close(&g->outer);
	fd_close(&g->inner);
	fd_close(&g->netns);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}
