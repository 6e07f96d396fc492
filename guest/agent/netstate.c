// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Tells the host what the guest's network is now. Links, addresses, rules,
 * routes and neighbours go as the kernel's own netlink messages: the host reads
 * them with the code that reads the pod's network namespace, and so compares
 * like with like. What netlink does not tell is read beside them: offloads by
 * ethtool's ioctls, a few sysctls, and the resolv.conf of each container.
 *
 * All of it is bounded; where there is more, the answer says so. The order is
 * that of importance: links first, since without them the rest says nothing.
 *
 * A container's file is read by a child: what a container puts there may never
 * answer (a file system of its own), and this process must. A child that is
 * late is killed, and reaped by the loop as any other.
 *
 * Sources: rtnetlink(7); linux/ethtool.h; openat2(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/openat2.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/ethtool.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/proc.h"

/* Netlink messages that one answer carries; leaves room for the rest of the frame. */
#define MESSAGES_BYTES 786432u

/* How often a network that changes while it is read is read again. */
#define DUMP_TRIES 4

#define STATE_LINKS_MAX 64
#define RESOLVERS_MAX 16
#define RESOLVER_BYTES 4096

/* For the files of all containers together. */
#define RESOLVERS_MS 1500

static int dump_family(int nl, uint8_t family, struct rtm_dump *d, struct err *e)
{
	struct ifaddrmsg addr = { .ifa_family = family };
	struct rtmsg route = { .rtm_family = family };
	struct fib_rule_hdr rule = { .family = family };
	struct ndmsg neigh = { .ndm_family = family };
	const struct { uint16_t type; const void *head; size_t len; } ask[] = {
		{ RTM_GETADDR, &addr, sizeof(addr) },
		{ RTM_GETRULE, &rule, sizeof(rule) },
		{ RTM_GETROUTE, &route, sizeof(route) },
		{ RTM_GETNEIGH, &neigh, sizeof(neigh) },
	};
	size_t i;
	int rc = 0;

	for (i = 0; i < ARRAY_LEN(ask) && !rc; i++) {
		rc = rtm_dump(nl, ask[i].type, ask[i].head, ask[i].len, d, e);
		/* A kernel without IPv6, or without rules, has none. */
		if (rc == -EAFNOSUPPORT || rc == -EOPNOTSUPP)
			rc = 0;
	}
	return rc;
}

static int dump_all(int nl, struct rtm_dump *d, struct err *e)
{
	struct ifinfomsg link = { .ifi_family = AF_UNSPEC };
	int tries = 0, rc;

	do {
		d->len = 0;
		d->cut = d->changed = false;
		rc = rtm_dump(nl, RTM_GETLINK, &link, sizeof(link), d, e);
		if (!rc)
			rc = dump_family(nl, AF_INET, d, e);
		if (!rc)
			rc = dump_family(nl, AF_INET6, d, e);
	} while (!rc && d->changed && ++tries < DUMP_TRIES);
	return rc;
}

static uint32_t ipv6_setting(const char *link, const char *key, uint32_t absent)
{
	_cleanup_free_ char *text = NULL;
	char path[96];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", link, key);
	if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
		return absent;
	return (uint32_t)strtoul(text, NULL, 10);
}

static int add_links(int nl, Podvm__NetState *s, struct err *e)
{
	_cleanup_close_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	_cleanup_free_ struct rtm_link *v = NULL;
	size_t n, i;
	int rc = rtm_links(nl, &v, &n, e);

	if (rc < 0)
		return rc;
	s->truncated |= n > STATE_LINKS_MAX;
	n = n > STATE_LINKS_MAX ? STATE_LINKS_MAX : n;
	s->links = mem_new_n(Podvm__LinkState *, n + 1);
	for (i = 0; s->links && i < n; i++) {
		Podvm__LinkState *l = mem_new(Podvm__LinkState);

		if (!l)
			break;
		podvm__link_state__init(l);
		s->links[s->n_links++] = l;
		l->name = strdup(v[i].name);
		l->features = sock < 0 ? 0 : ethtool_features(sock, v[i].name);
		l->disable_ipv6 = ipv6_setting(v[i].name, "disable_ipv6", 1);
		l->accept_ra = ipv6_setting(v[i].name, "accept_ra", 0);
		if (!l->name)
			break;
	}
	return s->links && i == n ? 0 : err_set(e, ENOMEM, "out of memory");
}

/* In a child: copies the file's beginning into the pipe, behind a byte that says it is there ('+'). */
static void tell_resolver(pid_t pid, int out)
{
	char path[48], buf[RESOLVER_BYTES + 1] = "+";
	_cleanup_close_ int root = -1, fd = -1;
	struct stat st;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/root", pid);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root >= 0)
		fd = fd_openat2(root, "etc/resolv.conf", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
				0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		buf[0] = '-';
	n = buf[0] == '+' ? read(fd, buf + 1, RESOLVER_BYTES) : 0;
	if (n >= 0)
		n = write(out, buf, (size_t)n + 1);
}

/* Reads what the child tells until @end_ms. Return: bytes */
static size_t hear(int fd, uint8_t *buf, size_t room, uint64_t end_ms)
{
	size_t len = 0;

	while (len < room) {
		struct pollfd f = { .fd = fd, .events = POLLIN };
		uint64_t now = clock_ms();
		ssize_t n;

		if (now >= end_ms || poll(&f, 1, (int)(end_ms - now)) <= 0)
			break;
		n = read(fd, buf + len, room - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	return len;
}

static int add_resolver(const struct container *c, Podvm__NetState *s, uint64_t end_ms,
			struct err *e)
{
	Podvm__Resolver *r = mem_new(Podvm__Resolver);
	uint8_t buf[RESOLVER_BYTES + 1];
	_cleanup_close_ int rd = -1, wr = -1;
	int p[2];
	size_t len;
	pid_t pid;

	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	podvm__resolver__init(r);
	s->resolvers[s->n_resolvers++] = r;
	r->container = strdup(c->id);
	if (!r->container)
		return err_set(e, ENOMEM, "out of memory");
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	rd = p[0];
	wr = p[1];
	pid = fork();
	if (pid < 0)
		return err_sys(e, "fork");
	if (!pid) {
		tell_resolver(c->init->pid, wr);
		_exit(0);
	}
	fd_close(&wr);
	len = hear(rd, buf, sizeof(buf), end_ms);
	kill(pid, SIGKILL);
	/* Of one that is late nothing is known, and nothing is said. */
	if (!len) {
		podvm__resolver__free_unpacked(r, NULL);
		s->n_resolvers--;
		return 0;
	}
	r->present = buf[0] == '+';
	if (len == 1)
		return 0;
	r->text.data = malloc(len - 1);
	if (!r->text.data)
		return err_set(e, ENOMEM, "out of memory");
	r->text.len = len - 1;
	memcpy(r->text.data, buf + 1, len - 1);
	return 0;
}

static int add_resolvers(const struct agent *a, Podvm__NetState *s, struct err *e)
{
	uint64_t end_ms = clock_ms() + RESOLVERS_MS;
	const struct container *c;
	int rc = 0;

	s->resolvers = mem_new_n(Podvm__Resolver *, RESOLVERS_MAX);
	if (!s->resolvers)
		return err_set(e, ENOMEM, "out of memory");
	for (c = a->containers; c && !rc; c = c->next) {
		if (!c->init || c->init->state != TASK_RUNNING || !c->init->pid)
			continue;
		if (s->n_resolvers == RESOLVERS_MAX) {
			s->truncated = true;
			break;
		}
		rc = add_resolver(c, s, end_ms, e);
	}
	return rc;
}

/**
 * netstate_get() - what the guest's network is now
 * @ret: podvm__net_state__free_unpacked(..., NULL)
 *
 * Return: 0 or minus errno
 * Context: blocks for RESOLVERS_MS at most
 */
int netstate_get(const struct agent *a, Podvm__NetState **ret, struct err *e)
{
	struct rtm_dump d = { .buf = malloc(MESSAGES_BYTES), .room = MESSAGES_BYTES };
	Podvm__NetState *s = mem_new(Podvm__NetState);
	_cleanup_close_ int nl = -1;
	int rc;

	if (!d.buf || !s) {
		free(d.buf);
		free(s);
		return err_set(e, ENOMEM, "out of memory");
	}
	podvm__net_state__init(s);
	s->messages.data = d.buf;
	rc = nl = rtm_open(e);
	if (rc >= 0)
		rc = dump_all(nl, &d, e);
	s->messages.len = d.len;
	s->truncated = d.cut;
	if (!rc)
		rc = add_links(nl, s, e);
	if (!rc)
		rc = add_resolvers(a, s, e);
	if (rc < 0) {
		podvm__net_state__free_unpacked(s, NULL);
		return rc;
	}
	*ret = s;
	return 0;
}
