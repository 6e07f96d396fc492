// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * netplug/nl.c and netns.c: answers of any shape, cut anywhere; the kernel's
 * texts; which namespace a thread is in afterwards. Random answers print their
 * seed.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "netplug/netns.h"
#include "netplug/netplug.h"
#include "netplug/nl.h"
#include "netplug/scan.h"
#include "tests/kit/kit.h"
#include "tests/kit/net.h"

Suite *netplug_nl_suite(void);

/* An error answer with a text, as the kernel writes it. */
static size_t make_error(char *buf, int type, int code, bool capped,
			 const char *text)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct nlmsgerr *m;

	h->nlmsg_type = (uint16_t)type;
	h->nlmsg_flags = NLM_F_ACK_TLVS | (capped ? NLM_F_CAPPED : 0);
	if (type == NLMSG_DONE) {
		memcpy(mnl_nlmsg_put_extra_header(h, sizeof(code)), &code,
		       sizeof(code));
	} else {
		m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
		m->error = code;
		m->msg.nlmsg_len = sizeof(m->msg) + 8;
		if (!capped)
			mnl_nlmsg_put_extra_header(h, 8);
	}
	if (text)
		mnl_attr_put_strz(h, NLMSGERR_ATTR_MSG, text);
	return h->nlmsg_len;
}

/* A copy of exactly @len bytes, so that a read behind it is found. */
static struct nlmsghdr *exact(const char *buf, size_t len)
{
	struct nlmsghdr *h = malloc(len);

	memcpy(h, buf, len);
	h->nlmsg_len = (uint32_t)len;
	return h;
}

START_TEST(error_text)
{
	static const struct { int type; bool capped; } rows[] = {
		{ NLMSG_ERROR, true }, { NLMSG_ERROR, false }, { NLMSG_DONE, false },
	};
	_Alignas(8) char buf[256];
	struct nlmsghdr *h;
	struct err e = { 0 };

	h = exact(buf, make_error(buf, rows[_i].type, -EBUSY, rows[_i].capped,
				  "it is in use"));
	ck_assert_int_eq(nl_reply_error(h, &e), -EBUSY);
	ck_assert_str_eq(e.text, "Device or resource busy: it is in use");
	free(h);
	h = exact(buf, make_error(buf, rows[_i].type, 0, rows[_i].capped, NULL));
	ck_assert_int_eq(nl_reply_error(h, &e), 0);
	free(h);
}
END_TEST

/* Every prefix of an answer is an error or an acknowledgement, never a crash. */
START_TEST(error_cut)
{
	_Alignas(8) char buf[256];
	size_t len = make_error(buf, NLMSG_ERROR, -EBUSY, false, "it is in use"), i;

	for (i = sizeof(struct nlmsghdr); i <= len; i++) {
		struct nlmsghdr *h = exact(buf, i);
		struct err e = { 0 };

		ck_assert_int_lt(nl_reply_error(h, &e), 0);
		free(h);
	}
}
END_TEST

START_TEST(error_lies)
{
	_Alignas(8) char buf[256];
	struct nlmsghdr *h;
	struct nlmsgerr *m;
	struct err e = { 0 };

	h = exact(buf, make_error(buf, NLMSG_ERROR, INT32_MIN, true, NULL));
	ck_assert_int_eq(nl_reply_error(h, &e), -EBADMSG);
	free(h);
	h = exact(buf, make_error(buf, NLMSG_ERROR, -EPERM, false, "text"));
	m = (void *)(h + 1);
	m->msg.nlmsg_len = UINT32_MAX; /* the quoted request ends far outside */
	ck_assert_int_eq(nl_reply_error(h, &e), -EPERM);
	free(h);
}
END_TEST

/* Random bytes as attributes: nothing outside of the message is read. */
START_TEST(attrs_random)
{
	uint64_t seed = kit_seed("netplug_nl");
	unsigned int i, k;

	srandom((unsigned int)seed);
	for (i = 0; i < 20000; i++) {
		const struct nlattr *tb[32], *in[32];
		size_t len = sizeof(struct nlmsghdr) + (size_t)random() % 96;
		struct nlmsghdr *h = malloc(len);
		char bytes[16], text[8];
		size_t b;

		for (b = 0; b < len; b++)
			((char *)h)[b] = (char)(random() & (random() % 2 ? 0x1f : 0xff));
		h->nlmsg_len = (uint32_t)len;
		if (nl_attrs(h, sizeof(struct ifinfomsg), tb, 32))
			for (k = 0; k < 32; k++) {
				nl_u32(tb[k], 0);
				nl_bytes(tb[k], bytes, sizeof(bytes));
				nl_struct(tb[k], bytes, sizeof(bytes));
				nl_str(tb[k], text, sizeof(text));
				ck_assert_uint_lt(strlen(text), sizeof(text));
				nl_nested(tb[k], in, 32);
			}
		h->nlmsg_type = random() % 2 ? NLMSG_ERROR : NLMSG_DONE;
		h->nlmsg_flags = (uint16_t)random();
		nl_reply_error(h, NULL);
		free(h);
	}
}
END_TEST

START_TEST(getters_absent)
{
	char bytes[4] = "abc", text[4] = "abc";

	ck_assert_uint_eq(nl_u32(NULL, 7), 7);
	ck_assert_uint_eq(nl_bytes(NULL, bytes, sizeof(bytes)), 0);
	ck_assert_int_eq(bytes[0], 0);
	nl_str(NULL, text, sizeof(text));
	ck_assert_str_eq(text, "");
}
END_TEST

static ino_t netns_ino(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return st.st_ino;
}

static ino_t here(void)
{
	struct err e = { 0 };
	int fd = netns_self(&e);
	ino_t ino = netns_ino(fd);

	close(fd);
	return ino;
}

START_TEST(kernel_text)
{
	struct ifinfomsg m = { .ifi_index = 1 };
	struct err e = { 0 };
	struct nlmsghdr *h;
	struct kit_net n;
	struct nl *nl;
	int rc;

	kit_net_new(&n);
	ck_assert_int_eq(nl_open(n.pod, &nl, &e), 0);
	ck_assert_uint_ne(nl_netns_cookie(nl), 0);
	m.ifi_index = 2; /* eth0: a veth takes no MTU of 1 */
	h = nl_msg(nl, RTM_NEWLINK, 0, &m, sizeof(m));
	mnl_attr_put_u32(h, IFLA_MTU, 1);
	rc = nl_talk(nl, &e);
	ck_assert_int_eq(rc, -EINVAL);
	ck_assert_msg(strstr(e.text, "mtu less than device minimum"), "%s", e.text);
	/* The socket is of use after a failure. */
	m.ifi_index = 1;
	nl_msg(nl, RTM_GETLINK, 0, &m, sizeof(m));
	ck_assert_int_eq(nl_talk(nl, &e), 0);
	nl_free(nl);
}
END_TEST

START_TEST(not_a_netns)
{
	ino_t before = here();
	struct err e = { 0 };
	struct nl *nl = NULL;
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int uts = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	struct netplug_plan *p = NULL;

	ck_assert_int_eq(nl_open(null_fd, &nl, &e), -EINVAL);
	ck_assert_int_eq(nl_open(uts, &nl, &e), -EINVAL);
	ck_assert_int_eq(nl_open(-1, &nl, &e), -EBADF);
	ck_assert_int_eq(netplug_plan(null_fd, NULL, &p, &e), -EINVAL);
	ck_assert_ptr_null(nl);
	ck_assert_ptr_null(p);
	ck_assert_uint_eq(here(), before);
}
END_TEST

static void *plan_in_thread(void *arg)
{
	struct kit_net *n = arg;
	struct netplug_plan *p = NULL;
	struct err e = { 0 };
	ino_t own;

	/* A thread that is elsewhere than the process's first one. */
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	own = here();
	ck_assert_msg(!netplug_plan(n->pod, NULL, &p, &e), "%s", e.text);
	ck_assert_uint_eq(netplug_plan_network(p)->n_links, 1);
	netplug_plan_free(p);
	ck_assert_uint_eq(here(), own);
	return NULL;
}

START_TEST(thread_comes_back)
{
	struct kit_net n;
	pthread_t t;

	kit_net_new(&n);
	ck_assert_int_eq(pthread_create(&t, NULL, plan_in_thread, &n), 0);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	ck_assert_uint_eq(here(), netns_ino(n.pod));
}
END_TEST

Suite *netplug_nl_suite(void)
{
	Suite *s = suite_create("netplug_nl");
	TCase *t = tcase_create("answers"), *ns;
	const char *missing = kit_net_missing(false);

	tcase_add_loop_test(t, error_text, 0, 3);
	tcase_add_test(t, error_cut);
	tcase_add_test(t, error_lies);
	tcase_add_test(t, attrs_random);
	tcase_add_test(t, getters_absent);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	if (missing) {
		kit_skip("netplug_nl/netns", missing);
		return s;
	}
	ns = tcase_create("netns");
	tcase_add_test(ns, kernel_text);
	tcase_add_test(ns, not_a_netns);
	tcase_add_test(ns, thread_comes_back);
	tcase_set_timeout(ns, 30);
	suite_add_tcase(s, ns);
	return s;
}
