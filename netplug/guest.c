// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The guest's half of a pod's network, as its agent tells it. What comes is
 * guest data: it is parsed with the bounds of scan.c, an answer has FRAME_MAX_BYTES
 * at most and a few seconds, and names lose what could steer a terminal.
 */
#include "netplug/guest.h"

#include <ctype.h>
#include <errno.h>
#include <linux/neighbour.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/mem.h"

/* A guest that is busy answers late; one that does not answer is a finding of its own. */
#define ANSWER_MS 5000

static void mask(char *s)
{
	for (; *s; s++)
		if (!isprint((unsigned char)*s) || *s == '\'' || *s == '"' || *s == '\\')
			*s = '?';
}

static void mask_all(Podvm__NetState *n, struct scan *s)
{
	size_t i;

	for (i = 0; i < s->n_links; i++) {
		mask(s->link[i].name);
		mask(s->link[i].alias);
		mask(s->link[i].kind);
	}
	for (i = 0; i < n->n_links; i++)
		mask(n->links[i]->name);
	for (i = 0; i < n->n_resolvers; i++)
		mask(n->resolvers[i]->container);
}

/**
 * guest_get() - ask the guest of a pod for its network
 * @t:   open, borrowed
 * @ret: guest_done(); untouched on failure
 *
 * Return: 0; -ENOENT for a namespace that is no pod's; -ESRCH without a guest;
 * -ETIMEDOUT; minus errno
 */
int guest_get(const struct target *t, struct guest_half *ret, struct err *e)
{
	Podvm__NetStateGet m = PODVM__NET_STATE_GET__INIT;
	Podvm__Request rq = AGENT_REQUEST(net_state_get = &m, NET_STATE_GET);
	struct guest_half g = { .answer = NULL };
	struct agent a;
	int rc = target_agent(t, &a, e);

	if (rc < 0)
		return rc;
	rc = agent_call(&a, &rq, ANSWER_MS, &g.answer, e);
	agent_done(&a);
	if (rc < 0)
		return rc;
	if (g.answer->body_case != PODVM__RESPONSE__BODY_NET_STATE)
		rc = err_set(e, EPROTO, "the guest's agent answered something else; is it of another version?");
	else
		rc = scan_messages(g.answer->net_state->messages.data,
				   g.answer->net_state->messages.len, &g.scan, e);
	if (rc < 0) {
		guest_done(&g);
		return rc;
	}
	g.state = g.answer->net_state;
	mask_all(g.answer->net_state, g.scan);
	*ret = g;
	return 0;
}

/**
 * guest_link() - what netlink does not tell of a link
 *
 * Return: borrowed from @g, or NULL
 */
const Podvm__LinkState *guest_link(const struct guest_half *g, const char *name)
{
	size_t i;

	for (i = 0; g->state && i < g->state->n_links; i++)
		if (!strcmp(g->state->links[i]->name, name))
			return g->state->links[i];
	return NULL;
}

/**
 * guest_neigh_state() - what the guest knows of a neighbour
 * @ip: 4 or 16 bytes by @family
 *
 * Return: NUD_*; 0: nothing
 */
uint16_t guest_neigh_state(const struct guest_half *g, uint8_t family, const uint8_t *ip)
{
	const struct nlattr *tb[NDA_MAX + 1];
	uint8_t dst[16];
	uint16_t state = 0;
	size_t at, len = family == AF_INET6 ? 16 : 4;
	const struct nlmsghdr *h;

	/* guest_get() has checked the lengths. */
	for (at = 0; g->state && at < g->state->messages.len; at += NLMSG_ALIGN(h->nlmsg_len)) {
		const struct ndmsg *m;

		h = (const void *)(g->state->messages.data + at);
		m = h->nlmsg_type == RTM_NEWNEIGH ? nl_attrs(h, sizeof(*m), tb, NDA_MAX + 1) : NULL;
		if (m && m->ndm_family == family && nl_bytes(tb[NDA_DST], dst, len) == len &&
		    !memcmp(dst, ip, len))
			state = m->ndm_state;
	}
	return state;
}

/**
 * guest_done() - free what the guest told; twice is fine
 */
void guest_done(struct guest_half *g)
{
	scan_free(g->scan);
	if (g->answer)
		podvm__response__free_unpacked(g->answer, NULL);
	*g = (struct guest_half){ .answer = NULL };
}
