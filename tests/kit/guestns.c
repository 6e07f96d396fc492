// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The agent's own code in a network namespace that stands for the guest: it gives
 * the network, and tells it. One container, "nginx", sees the files of the test.
 */
#include "tests/kit/guestns.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "guest/agent/agent.h"	/* its code is compiled in tests/unit/agent_guest.c */

/**
 * guestns_give() - give the guest its network, as PodSetup does
 * @n: borrowed
 */
void guestns_give(int netns, const Podvm__Network *n)
{
	int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct err e = { 0 };

	ck_assert(!setns(netns, CLONE_NEWNET));
	ck_assert_msg(!net_setup(n, &e), "%s", e.text);
	ck_assert(!setns(back, CLONE_NEWNET));
	close(back);
}

static int tell(struct guestns *g, struct err *e)
{
	struct task init = { .state = TASK_RUNNING, .pid = getpid() };
	struct container c = { .id = "nginx", .init = &init };
	struct agent a = { .containers = &c };

	if (g->silent)
		return err_set(e, EIO, "out of order");
	guestns_done(g);
	return netstate_get(&a, &g->told, e);
}

/**
 * guestns_agent() - a fakepod_agent_fn
 * @arg: struct guestns
 */
bool guestns_agent(void *arg, const Podvm__Request *rq, Podvm__Response *rs)
{
	struct guestns *g = arg;
	struct err e = { 0 };
	int rc = -ENOSYS;

	if (setns(g->netns, CLONE_NEWNET) < 0)
		return false;
	if (rq->body_case == PODVM__REQUEST__BODY_LINKS_ADD) {
		rc = net_setup(rq->links_add->network, &e);
	} else if (rq->body_case == PODVM__REQUEST__BODY_NET_STATE_GET) {
		rc = tell(g, &e);
		if (!rc && g->liar)
			g->liar(g->told);
		if (!rc) {
			rs->body_case = PODVM__RESPONSE__BODY_NET_STATE;
			rs->net_state = g->told;
		}
	}
	if (rc < 0)
		fprintf(stderr, "agent: %s\n", e.text);
	rs->error = rc < 0 ? -rc : 0;
	return true;
}

/**
 * guestns_done() - free its last answer; twice is fine
 */
void guestns_done(struct guestns *g)
{
	if (g->told)
		podvm__net_state__free_unpacked(g->told, NULL);
	g->told = NULL;
}
