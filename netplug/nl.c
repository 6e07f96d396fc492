// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One socket, one request at a time. nl_msg() starts a request in the socket's
 * own buffer, libmnl adds the attributes, and nl_talk(), nl_get() or nl_dump()
 * sends it and reads the answer to its end. The kernel's error code and the
 * text of its extended acknowledgement become a struct err.
 *
 * A netlink socket belongs to the network namespace in which it was made, so
 * the calling thread is in the pod's namespace only while socket(2) runs.
 *
 * Strict checking is on, so that the kernel applies the filters in a dump's
 * header, or says that it cannot. A dump that changed while it was read ends
 * with -EAGAIN: whoever needs a consistent picture reads all of it again.
 *
 * Attributes are read by bounded getters: one that is absent or too short
 * reads as its default.
 *
 * Sources: netlink(7); linux/netlink.h (NLMSGERR_ATTR_*, NLM_F_DUMP_INTR).
 */
#include "netplug/nl.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "lib/mem.h"
#include "netplug/netns.h"

/* The kernel makes no dump buffer longer than this (af_netlink.c). */
#define NL_RX_BYTES 32768

/* Longest request: our own ones take a few hundred bytes. */
#define NL_TX_BYTES 4096

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

struct nl {
	struct mnl_socket *sock;	/* owned */
	uint32_t seq;
	uint64_t netns_cookie;
	union {
		struct nlmsghdr align;
		char tx[NL_TX_BYTES];
	};
	union {
		struct nlmsghdr align2;
		char rx[NL_RX_BYTES];
	};
};

/**
 * nl_open() - a route netlink socket in a network namespace
 * @netns_fd: the namespace, borrowed
 * @ret:      owned by the caller, nl_free()
 *
 * Return: 0 or minus errno
 * Context: changes the calling thread's namespace for the while, see netns_enter()
 */
int nl_open(int netns_fd, struct nl **ret, struct err *e)
{
	socklen_t len = sizeof(uint64_t);
	struct nl *nl = mem_new(struct nl);
	int back, on = 1, rc;

	if (!nl)
		return err_set(e, ENOMEM, "out of memory");
	rc = netns_enter(netns_fd, &back, e);
	if (rc < 0) {
		free(nl);
		return rc;
	}
	nl->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	rc = nl->sock ? 0 : err_sys(e, "netlink socket");
	netns_leave(back);
	if (!rc && mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0)
		rc = err_sys(e, "netlink socket: bind");
	if (rc < 0) {
		nl_free(nl);
		return rc;
	}
	/* Kernels before 4.20 lack some of these: texts are poorer then. */
	mnl_socket_setsockopt(nl->sock, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(nl->sock, NETLINK_CAP_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(nl->sock, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	if (getsockopt(mnl_socket_get_fd(nl->sock), SOL_SOCKET, SO_NETNS_COOKIE,
		       &nl->netns_cookie, &len) < 0)
		nl->netns_cookie = 0;
	*ret = nl;
	return 0;
}

/**
 * nl_free() - close a socket; NULL is fine
 */
void nl_free(struct nl *nl)
{
	if (!nl)
		return;
	if (nl->sock)
		mnl_socket_close(nl->sock);
	free(nl);
}

/**
 * nl_netns_cookie() - the namespace's number, which the kernel never gives to another
 *
 * Return: the number; 0 before kernel 5.14, which has none
 */
uint64_t nl_netns_cookie(const struct nl *nl)
{
	return nl->netns_cookie;
}

/**
 * nl_msg() - start a request
 * @type:     RTM_*
 * @flags:    NLM_F_* beside NLM_F_REQUEST
 * @head:     family header (struct ifinfomsg, tcmsg, ...), copied
 * @head_len: its size
 *
 * Return: the message, for mnl_attr_put*(); borrowed from @nl, until the next nl_msg()
 */
struct nlmsghdr *nl_msg(struct nl *nl, uint16_t type, uint16_t flags,
			const void *head, size_t head_len)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(nl->tx);

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = ++nl->seq;
	memcpy(mnl_nlmsg_put_extra_header(h, head_len), head, head_len);
	return h;
}

/* The attribute that starts @at bytes into the message, if it is whole. */
static const struct nlattr *attr_at(const struct nlmsghdr *h, size_t at)
{
	const struct nlattr *a = (const void *)((const char *)h + at);

	if (at + sizeof(*a) > h->nlmsg_len || a->nla_len < sizeof(*a) ||
	    a->nla_len > h->nlmsg_len - at)
		return NULL;
	return a;
}

/* Text of the extended acknowledgement at @at bytes into the message. */
static void extack_text(const struct nlmsghdr *h, size_t at, char *dst,
			size_t room)
{
	const struct nlattr *a;

	dst[0] = 0;
	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	for (; (a = attr_at(h, at)); at += NLA_ALIGN(a->nla_len))
		if ((a->nla_type & NLA_TYPE_MASK) == NLMSGERR_ATTR_MSG)
			nl_str(a, dst, room);
}

/**
 * nl_reply_error() - what an NLMSG_ERROR or NLMSG_DONE message says
 * @h: whole message: nlmsg_len bytes are there
 *
 * Return: 0 for an acknowledgement; minus the kernel's errno, with its text
 */
int nl_reply_error(const struct nlmsghdr *h, struct err *e)
{
	const struct nlmsgerr *m = (const void *)(h + 1);
	size_t at = sizeof(*h) + sizeof(int);
	char text[256];
	int code;

	if (h->nlmsg_len < at)
		return h->nlmsg_type == NLMSG_DONE ? 0 :
		       err_set(e, EBADMSG, "netlink: short answer");
	memcpy(&code, m, sizeof(code));
	if (code >= 0)
		return 0;
	if (code < -4095)
		return err_set(e, EBADMSG, "netlink: impossible error %d", code);
	if (h->nlmsg_type == NLMSG_ERROR) {
		at = sizeof(*h) + sizeof(*m);
		if (h->nlmsg_len < at)
			return err_set(e, -code, "%s", strerror(-code));
		if (!(h->nlmsg_flags & NLM_F_CAPPED) &&
		    m->msg.nlmsg_len > sizeof(m->msg))
			at += NLMSG_ALIGN((size_t)m->msg.nlmsg_len -
					  sizeof(m->msg));
	}
	extack_text(h, at, text, sizeof(text));
	return err_set(e, -code, "%s%s%s", strerror(-code), text[0] ? ": " : "",
		       text);
}

static int send_request(struct nl *nl, struct err *e)
{
	struct nlmsghdr *h = &nl->align;

	if (mnl_socket_sendto(nl->sock, h, h->nlmsg_len) < 0)
		return err_sys(e, "netlink: send");
	return 0;
}

/* Whether a whole message is there; mnl_nlmsg_ok() takes lengths from 2 GiB for negative ones. */
static bool message_ok(const struct nlmsghdr *h, int left)
{
	return left >= (int)sizeof(*h) && h->nlmsg_len >= sizeof(*h) &&
	       h->nlmsg_len <= (uint32_t)left;
}

/* Reads the answer to its end, also when @fn has failed on the way. */
static int read_answer(struct nl *nl, nl_fn *fn, void *arg, bool dump,
		       struct err *e)
{
	bool changed = false;
	int failed = 0;

	for (;;) {
		const struct nlmsghdr *h = &nl->align2;
		ssize_t n = mnl_socket_recvfrom(nl->sock, nl->rx, sizeof(nl->rx));
		int left = (int)n, rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "netlink: receive");
		for (; message_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			if (h->nlmsg_seq != nl->seq)
				continue;
			changed |= !!(h->nlmsg_flags & NLM_F_DUMP_INTR);
			if (h->nlmsg_type == NLMSG_ERROR ||
			    h->nlmsg_type == NLMSG_DONE) {
				rc = failed ? failed : nl_reply_error(h, e);
				if (!rc && changed && dump)
					rc = err_set(e, EAGAIN,
						     "changed while it was read");
				return rc;
			}
			if (fn && !failed)
				failed = fn(h, arg, e);
		}
	}
}

/**
 * nl_talk() - send the request that nl_msg() started; wait for its acknowledgement
 *
 * Return: 0; minus the kernel's errno with its text
 */
int nl_talk(struct nl *nl, struct err *e)
{
	return nl_get(nl, NULL, NULL, e);
}

/**
 * nl_get() - as nl_talk(), for a request that one message answers
 * @fn:  called for the answer; may be NULL
 * @arg: for @fn
 *
 * Return: 0; minus the kernel's errno; what @fn returned
 */
int nl_get(struct nl *nl, nl_fn *fn, void *arg, struct err *e)
{
	int rc;

	nl->align.nlmsg_flags |= NLM_F_ACK;
	rc = send_request(nl, e);
	return rc < 0 ? rc : read_answer(nl, fn, arg, false, e);
}

/**
 * nl_dump() - send the request that nl_msg() started as a dump
 * @fn:  called for each object
 * @arg: for @fn
 *
 * Return: 0; -EAGAIN when the objects changed meanwhile; minus the kernel's
 * errno; what @fn returned
 */
int nl_dump(struct nl *nl, nl_fn *fn, void *arg, struct err *e)
{
	int rc;

	nl->align.nlmsg_flags |= NLM_F_DUMP;
	rc = send_request(nl, e);
	return rc < 0 ? rc : read_answer(nl, fn, arg, true, e);
}

/* Sorts the attributes in [@at, @end) of memory by type. */
static void sort_attrs(const char *at, size_t len, const struct nlattr **tb,
		       size_t n)
{
	memset(tb, 0, n * sizeof(*tb));
	while (len >= sizeof(struct nlattr)) {
		const struct nlattr *a = (const void *)at;
		size_t step = NLA_ALIGN((size_t)a->nla_len);
		unsigned int type = a->nla_type & NLA_TYPE_MASK;

		if (a->nla_len < sizeof(*a) || a->nla_len > len)
			return;
		if (type < n)
			tb[type] = a;
		if (step > len)
			return;
		at += step;
		len -= step;
	}
}

/**
 * nl_attrs() - a message's family header and attributes
 * @head_len: size of the family header
 * @tb:       @n pointers into the message by attribute type, NULL where absent
 *
 * Return: the family header, borrowed from the message; NULL if it is cut short
 */
const void *nl_attrs(const struct nlmsghdr *h, size_t head_len,
		     const struct nlattr **tb, size_t n)
{
	size_t start = sizeof(*h) + NLMSG_ALIGN(head_len);

	memset(tb, 0, n * sizeof(*tb));
	if (h->nlmsg_len < sizeof(*h) + head_len)
		return NULL;
	if (h->nlmsg_len > start)
		sort_attrs((const char *)h + start, h->nlmsg_len - start, tb, n);
	return h + 1;
}

/**
 * nl_nested() - attributes inside an attribute
 * @nest: NULL reads as empty
 * @tb:   as for nl_attrs()
 */
void nl_nested(const struct nlattr *nest, const struct nlattr **tb, size_t n)
{
	if (nest)
		sort_attrs((const char *)(nest + 1),
			   nest->nla_len - sizeof(*nest), tb, n);
	else
		memset(tb, 0, n * sizeof(*tb));
}

/**
 * nl_u32() - a number of 32, 16 or 8 bits
 * @a:      may be NULL
 * @absent: what to return then
 */
uint32_t nl_u32(const struct nlattr *a, uint32_t absent)
{
	size_t len = a ? a->nla_len - sizeof(*a) : 0;
	uint32_t v32;
	uint16_t v16;

	if (len >= sizeof(v32)) {
		memcpy(&v32, a + 1, sizeof(v32));
		return v32;
	}
	if (len == sizeof(v16)) {
		memcpy(&v16, a + 1, sizeof(v16));
		return v16;
	}
	return len == 1 ? *(const uint8_t *)(a + 1) : absent;
}

/**
 * nl_bytes() - a copy of an attribute's bytes
 * @a:   may be NULL
 * @dst: @room bytes; what the attribute does not fill becomes zero
 *
 * Return: bytes of the attribute; 0 when it is absent or longer than @room
 */
size_t nl_bytes(const struct nlattr *a, void *dst, size_t room)
{
	size_t len = a ? a->nla_len - sizeof(*a) : 0;

	memset(dst, 0, room);
	if (len > room)
		return 0;
	if (len)
		memcpy(dst, a + 1, len);
	return len;
}

/**
 * nl_struct() - a copy of a structure that other kernels have shorter or longer
 * @a:   may be NULL
 * @dst: @size bytes; what the attribute does not fill becomes zero
 */
void nl_struct(const struct nlattr *a, void *dst, size_t size)
{
	size_t len = a ? a->nla_len - sizeof(*a) : 0;

	memset(dst, 0, size);
	if (len)
		memcpy(dst, a + 1, len < size ? len : size);
}

/**
 * nl_str() - a copy of a text attribute, cut to fit
 * @a:   may be NULL: empty text; need not end with a NUL
 * @dst: always ends with a NUL
 */
void nl_str(const struct nlattr *a, char *dst, size_t room)
{
	size_t len = a ? strnlen((const char *)(a + 1), a->nla_len - sizeof(*a)) : 0;

	if (len >= room)
		len = room - 1;
	if (len)
		memcpy(dst, a + 1, len);
	dst[len] = 0;
}
