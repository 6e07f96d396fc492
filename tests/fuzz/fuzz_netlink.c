// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of what netplug reads from netlink. The first byte chooses:
 *
 *   0  a namespace is read and planned, and shown; the kernel is a socket of ours, whose
 *      answers are the input
 *   1  the messages of a guest, which may hold anything (scan_messages())
 *   2  a record of a journal is undone; its words come first, each ends with a zero
 *
 * An answer is an item of the input: a byte of kind, two of length, the bytes. A message
 * gets the type that the request asks for and its number, so that an input of nearly right
 * answers comes far; when there are no items left, every request is answered at once. The
 * path of a record's namespace is always this process's, so that no file is opened that
 * the input names. A find: a crash, a failure without a text.
 */
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/mem.h"
#include "netplug/cmd.h"
#include "netplug/netns.h"
#include "netplug/plan.h"
#include "netplug/show.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Kinds of items; others are messages. */
enum item { ITEM_MESSAGE, ITEM_CHANGED = 4, ITEM_RAW, ITEM_ERROR, ITEM_DONE, ITEM_KINDS };

#define NAMESPACE "/proc/self/ns/net"

/* What is left of the input, and the last request. */
static const uint8_t *left;
static size_t n_left;
static struct nlmsghdr asked;

/* ---- the socket; each stands for the call that it is named after --------------------- */

struct mnl_socket *__wrap_mnl_socket_open2(int bus, int flags);
int __wrap_mnl_socket_bind(struct mnl_socket *s, unsigned int groups, pid_t pid);
int __wrap_mnl_socket_setsockopt(const struct mnl_socket *s, int type, void *buf, socklen_t len);
int __wrap_mnl_socket_get_fd(const struct mnl_socket *s);
int __wrap_mnl_socket_close(struct mnl_socket *s);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *s, const void *buf, size_t len);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *s, void *buf, size_t len);
int __wrap_netns_enter(int netns_fd, int *ret_back, struct err *e);
void __wrap_netns_leave(int back);

struct mnl_socket *__wrap_mnl_socket_open2(int bus, int flags)
{
	(void)bus;
	(void)flags;
	return malloc(1);
}

int __wrap_mnl_socket_bind(struct mnl_socket *s, unsigned int groups, pid_t pid)
{
	(void)s;
	(void)groups;
	(void)pid;
	return 0;
}

int __wrap_mnl_socket_setsockopt(const struct mnl_socket *s, int type, void *buf, socklen_t len)
{
	(void)s;
	(void)type;
	(void)buf;
	(void)len;
	return 0;
}

int __wrap_mnl_socket_get_fd(const struct mnl_socket *s)
{
	(void)s;
	return -1;
}

int __wrap_mnl_socket_close(struct mnl_socket *s)
{
	free(s);
	return 0;
}

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *s, const void *buf, size_t len)
{
	(void)s;
	if (len < sizeof(asked))
		abort();
	memcpy(&asked, buf, sizeof(asked));
	if (asked.nlmsg_len != len)
		abort();
	return (ssize_t)len;
}

/* One message: a header, then @n bytes. */
static ssize_t message(void *buf, uint16_t type, uint16_t flags, const void *body, size_t n)
{
	struct nlmsghdr h = {.nlmsg_len = (uint32_t)(sizeof(h) + n),
			     .nlmsg_type = type,
			     .nlmsg_flags = flags,
			     .nlmsg_seq = asked.nlmsg_seq};

	memcpy(buf, &h, sizeof(h));
	if (n)
		memcpy((char *)buf + sizeof(h), body, n);
	return (ssize_t)(sizeof(h) + n);
}

static ssize_t answer_all(void *buf)
{
	struct nlmsgerr ok = {.msg = asked};
	bool dump = (asked.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;

	return dump ? message(buf, NLMSG_DONE, NLM_F_MULTI, &ok, sizeof(int))
		    : message(buf, NLMSG_ERROR, 0, &ok, sizeof(ok));
}

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *s, void *buf, size_t len)
{
	const uint8_t *body = left + 3;
	uint8_t kind;
	size_t n;

	(void)s;
	if (n_left < 3)
		return answer_all(buf);
	kind = left[0] % ITEM_KINDS;
	n = (size_t)left[1] | (size_t)left[2] << 8;
	n = n > n_left - 3 ? n_left - 3 : n;
	n = n > len - 64 ? len - 64 : n;
	left += 3 + n;
	n_left -= 3 + n;
	switch (kind) {
	case ITEM_CHANGED:
		return message(buf, (uint16_t)(asked.nlmsg_type - 2), NLM_F_MULTI | NLM_F_DUMP_INTR,
			       body, n);
	case ITEM_RAW:
		memcpy(buf, body, n);
		return (ssize_t)n;
	case ITEM_ERROR:
		return message(buf, NLMSG_ERROR, NLM_F_ACK_TLVS, body, n);
	case ITEM_DONE:
		return message(buf, NLMSG_DONE, NLM_F_MULTI, body, n);
	default:
		return message(buf, (uint16_t)(asked.nlmsg_type - 2), NLM_F_MULTI, body, n);
	}
}

int __wrap_netns_enter(int netns_fd, int *ret_back, struct err *e)
{
	(void)netns_fd;
	(void)e;
	*ret_back = -1;
	return 0;
}

void __wrap_netns_leave(int back)
{
	(void)back;
}

/* ---- what is done ----------------------------------------------------------------- */

static void failed(int rc, const struct err *e)
{
	if (rc < 0 && !e->text[0])
		abort();
}

/* All that is made of what was read. */
static void use(struct scan *s)
{
	const struct show_view v = { .scan = s };
	_cleanup_free_ char *text = NULL, *json = NULL;
	struct netplug_plan *p = NULL;
	struct err e = {0};
	size_t len;
	FILE *f = open_memstream(&text, &len);
	int rc;

	if (!f)
		abort();
	failed(show_print(&v, NULL, "x", SHOW_TEXT, f, &e), &e);
	failed(show_print(&v, NULL, "x", SHOW_JSON, f, &e), &e);
	rc = plan_make(s, NULL, &p, &e);
	failed(rc, &e);
	if (!rc) {
		plan_print(p, "x", f);
		failed(netplug_plan_json(p, &json, &e), &e);
	}
	netplug_plan_free(p);
	fclose(f);
}

static void read_namespace(void)
{
	struct scan *s = NULL;
	struct nl *nl = NULL;
	struct err e = {0};
	int rc = nl_open(-1, &nl, &e);

	if (rc < 0)
		abort();
	rc = scan_read(nl, &s, &e);
	failed(rc, &e);
	if (!rc)
		use(s);
	scan_free(s);
	nl_free(nl);
}

static void read_guest(void)
{
	_cleanup_free_ uint8_t *aligned = malloc(n_left + 1);
	struct scan *s = NULL;
	struct err e = {0};
	int rc;

	if (!aligned)
		abort();
	memcpy(aligned, left, n_left);
	rc = scan_messages(aligned, n_left, &s, &e);

	failed(rc, &e);
	if (!rc)
		use(s);
	scan_free(s);
}

static void undo(void)
{
	static char words[256], id[80];
	struct journal_rec r = {.n = 0};
	struct err e = {0};
	struct stat st;
	size_t n = n_left < sizeof(words) - 1 ? n_left : sizeof(words) - 1, at;

	memcpy(words, left, n);
	words[n] = 0;
	for (at = 0; at < n && r.n < JOURNAL_WORDS_MAX; at += strlen(words + at) + 1)
		r.word[r.n++] = words + at;
	at = at > n ? n : at;
	left += at;
	n_left -= at;
	if (stat(NAMESPACE, &st) < 0)
		abort();
	snprintf(id, sizeof(id), "%llu:%llu:0", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	if (r.n > 2)
		r.word[2] = NAMESPACE;
	if (r.n > 3)
		r.word[3] = id;
	/* That one is a file, and would be this machine's own. */
	if (r.n > 1 && !strcmp(r.word[1], "ra"))
		return;
	failed(netplug_undo(&r, &e), &e);
}

/**
 * LLVMFuzzerTestOneInput() - one namespace, guest or record
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	left = data + 1;
	n_left = size - 1;
	if (data[0] == 1)
		read_guest();
	else if (data[0] == 2)
		undo();
	else
		read_namespace();
	return 0;
}
