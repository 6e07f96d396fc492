// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Just enough rtnetlink: one request, one acknowledgement, in order, on a
 * blocking socket; the kernel answers at once. The kernel's own explanation
 * (extended acknowledgement) becomes part of the error. The distribution has
 * no static libmnl, hence the uapi's macros.
 *
 * Sources: netlink(7), rtnetlink(7), linux/netlink.h.
 */
#include <errno.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"

#define LINKS_MAX 1024

/**
 * rtm_open() - a socket for rtm_talk()
 *
 * Return: descriptor owned by the caller, or minus errno
 */
int rtm_open(struct err *e)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK };
	int one = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, "rtnetlink");
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	return fd_steal(&fd);
}

/**
 * rtm_start() - begin a message
 * @head: family header (struct ifinfomsg, …), @head_len bytes
 */
void rtm_start(struct rtm_msg *m, uint16_t type, uint16_t flags, const void *head,
	      size_t head_len)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)m->b;

	memset(m, 0, sizeof(*m));
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	memcpy(m->b + NLMSG_HDRLEN, head, head_len);
	m->len = NLMSG_HDRLEN + NLMSG_ALIGN(head_len);
}

/**
 * rtm_put() - append an attribute; one that does not fit fails rtm_talk()
 */
void rtm_put(struct rtm_msg *m, uint16_t type, const void *data, size_t len)
{
	struct nlattr a = { .nla_type = type };
	size_t room = sizeof(m->b) - m->len;

	if (m->overflow || len > 1024 || room < NLA_HDRLEN + NLA_ALIGN(len)) {
		m->overflow = true;
		return;
	}
	a.nla_len = (uint16_t)(NLA_HDRLEN + len);
	memcpy(m->b + m->len, &a, sizeof(a));
	if (len)
		memcpy(m->b + m->len + NLA_HDRLEN, data, len);
	m->len += NLA_HDRLEN + NLA_ALIGN(len);
}

/**
 * rtm_put_u32() - append a 32-bit attribute
 */
void rtm_put_u32(struct rtm_msg *m, uint16_t type, uint32_t v)
{
	rtm_put(m, type, &v, sizeof(v));
}

/**
 * rtm_nest() - begin a nested attribute
 *
 * Return: for rtm_nest_end()
 */
size_t rtm_nest(struct rtm_msg *m, uint16_t type)
{
	size_t at = m->len;

	rtm_put(m, type | NLA_F_NESTED, NULL, 0);
	return at;
}

/**
 * rtm_put_head() - append a header of a list inside an attribute
 * @head: its first 16 bits are its length, with all that follows
 *
 * Return: for rtm_nest_end(), which writes the length
 */
size_t rtm_put_head(struct rtm_msg *m, const void *head, size_t len)
{
	size_t at = m->len;

	if (m->overflow || sizeof(m->b) - at < NLA_ALIGN(len)) {
		m->overflow = true;
		return at;
	}
	memcpy(m->b + at, head, len);
	m->len += NLA_ALIGN(len);
	return at;
}

/**
 * rtm_nest_end() - end the nested attribute that began at @at
 */
void rtm_nest_end(struct rtm_msg *m, size_t at)
{
	uint16_t len = (uint16_t)(m->len - at);

	if (!m->overflow)
		memcpy(m->b + at, &len, sizeof(len));
}

/* The kernel's explanation in an acknowledgement; NULL when it has none. */
static const char *ack_text(const struct nlmsghdr *h, size_t len)
{
	size_t at = NLMSG_HDRLEN + sizeof(struct nlmsgerr);

	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	while (at + NLA_HDRLEN <= len) {
		struct nlattr a;
		const char *text = (const char *)h + at + NLA_HDRLEN;

		memcpy(&a, (const char *)h + at, sizeof(a));
		if (a.nla_len < NLA_HDRLEN || a.nla_len > len - at)
			return NULL;
		if ((a.nla_type & NLA_TYPE_MASK) == NLMSGERR_ATTR_MSG &&
		    memchr(text, 0, a.nla_len - NLA_HDRLEN))
			return text;
		at += NLA_ALIGN(a.nla_len);
	}
	return NULL;
}

static int send_msg(int fd, struct rtm_msg *m, struct err *e)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)m->b;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	static uint32_t seq;

	if (m->overflow)
		return err_set(e, EMSGSIZE, "rtnetlink message too long");
	h->nlmsg_len = (uint32_t)m->len;
	h->nlmsg_seq = ++seq;
	if (sendto(fd, m->b, m->len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return err_sys(e, "rtnetlink: send");
	return 0;
}

/**
 * rtm_talk() - send a request, wait for its acknowledgement
 * @fd: from rtm_open(), borrowed
 * @m:  request; NLM_F_ACK is added
 *
 * Return: 0 or the kernel's minus errno
 */
int rtm_talk(int fd, struct rtm_msg *m, struct err *e)
{
	struct nlmsghdr *req = (struct nlmsghdr *)(void *)m->b;
	union {
		struct nlmsghdr h;
		uint8_t b[8192];
	} in;
	struct nlmsgerr *ack = NLMSG_DATA(&in.h);
	const char *why;
	ssize_t n;
	int rc;

	req->nlmsg_flags |= NLM_F_ACK;
	rc = send_msg(fd, m, e);
	if (rc < 0)
		return rc;
	do {
		n = recv(fd, &in, sizeof(in), 0);
		if (n < 0 && errno != EINTR)
			return err_sys(e, "rtnetlink: receive");
	} while (n < (ssize_t)NLMSG_LENGTH(sizeof(*ack)) ||
		 in.h.nlmsg_type != NLMSG_ERROR || in.h.nlmsg_seq != req->nlmsg_seq);
	if (!ack->error)
		return 0;
	why = ack_text(&in.h, (size_t)n);
	return err_set(e, -ack->error, "%s%s%s", strerror(-ack->error),
		       why ? ": " : "", why ? why : "");
}

/**
 * rtm_failed() - of several failures the first is told
 * @rc:  of all so far
 * @one: of the next one, with @why
 * @e:   of the first that failed
 */
void rtm_failed(int *rc, int one, const struct err *why, struct err *e)
{
	if (*rc < 0 || one >= 0)
		return;
	*rc = one;
	if (e)
		*e = *why;
}

static void take_link(const struct nlmsghdr *h, struct rtm_link *l)
{
	const struct ifinfomsg *ifi = NLMSG_DATA(h);
	const struct rtattr *a = IFLA_RTA(ifi);
	unsigned int left = (unsigned int)IFLA_PAYLOAD(h);

	memset(l, 0, sizeof(*l));
	l->index = ifi->ifi_index;
	l->up = ifi->ifi_flags & IFF_UP;
	l->running = ifi->ifi_flags & IFF_RUNNING;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == IFLA_IFNAME)
			strncpy(l->name, RTA_DATA(a), sizeof(l->name) - 1);
		if (a->rta_type == IFLA_ADDRESS && RTA_PAYLOAD(a) == 6) {
			memcpy(l->mac, RTA_DATA(a), 6);
			l->has_mac = true;
		}
	}
}

/* One message of a dump: an object, or its end. */
typedef void take_fn(void *arg, const struct nlmsghdr *h);

/* One datagram of a dump. Return: 1: it was the last; 0; minus errno */
static int take_all(const struct nlmsghdr *h, unsigned int left, take_fn *take, void *arg,
		    struct err *e)
{
	for (; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		int code = 0;

		take(arg, h);
		if (h->nlmsg_type == NLMSG_ERROR)
			code = ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
		if (code)
			return err_set(e, -code, "rtnetlink: dump: %s", strerror(-code));
		if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
			return 1;
	}
	return 0;
}

static int dump(int fd, uint16_t type, const void *head, size_t head_len, take_fn *take, void *arg,
		struct err *e)
{
	_cleanup_free_ struct nlmsghdr *in = malloc(65536);
	struct rtm_msg m;
	int rc;

	if (!in)
		return err_set(e, ENOMEM, "out of memory");
	rtm_start(&m, type, NLM_F_DUMP, head, head_len);
	rc = send_msg(fd, &m, e);
	while (!rc) {
		ssize_t got = recv(fd, in, 65536, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, "rtnetlink: receive");
		rc = take_all(in, (unsigned int)got, take, arg, e);
	}
	return rc < 0 ? rc : 0;
}

struct links {
	struct rtm_link *v;
	size_t n;
};

static void keep_link(void *arg, const struct nlmsghdr *h)
{
	struct links *l = arg;

	if (h->nlmsg_type == RTM_NEWLINK && l->n < LINKS_MAX)
		take_link(h, &l->v[l->n++]);
}

/**
 * rtm_links() - all links of the network namespace
 * @ret: malloc'd, owned by the caller
 *
 * Return: 0 or minus errno
 */
int rtm_links(int fd, struct rtm_link **ret, size_t *ret_n, struct err *e)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	struct links l = { .v = mem_new_n(struct rtm_link, LINKS_MAX) };
	int rc;

	if (!l.v)
		return err_set(e, ENOMEM, "out of memory");
	rc = dump(fd, RTM_GETLINK, &ifi, sizeof(ifi), keep_link, &l, e);
	if (rc < 0) {
		free(l.v);
		return rc;
	}
	*ret = l.v;
	*ret_n = l.n;
	return 0;
}

static void keep_object(void *arg, const struct nlmsghdr *h)
{
	size_t len = NLMSG_ALIGN(h->nlmsg_len);
	struct rtm_dump *d = arg;

	/* Also that of the end. */
	d->changed |= !!(h->nlmsg_flags & NLM_F_DUMP_INTR);
	if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
		return;
	if (len > d->room - d->len) {
		d->cut = true;
		return;
	}
	memset(d->buf + d->len, 0, len);
	memcpy(d->buf + d->len, h, h->nlmsg_len);
	d->len += len;
}

/**
 * rtm_dump() - all objects of a sort, as the kernel gives them
 * @fd:   from rtm_open(), borrowed
 * @type: RTM_GET*
 * @head: family header, @head_len bytes
 * @d:    they are put behind what is there; what does not fit is left out whole
 *
 * Return: 0 or the kernel's minus errno
 */
int rtm_dump(int fd, uint16_t type, const void *head, size_t head_len, struct rtm_dump *d,
	     struct err *e)
{
	return dump(fd, type, head, head_len, keep_object, d, e);
}
