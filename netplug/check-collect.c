// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Collects, once, all that the checks judge: the pod's network namespace, the
 * caller's (as a rule the host's, where the other ends are), what the supervisor
 * and the guest tell, and what the guest should have: the plan of the namespace as
 * it is now, made of the interfaces that are joined. What the guest has is put into
 * the same form by the same code, so that the two can be compared word by word.
 *
 * That a guest does not answer, or has what no plan has a word for, is part of the
 * state; that a namespace cannot be read is a failure.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/check.h"
#include "netplug/joined.h"
#include "netplug/netns.h"

static void find_ports(struct check_state *s)
{
	const struct scan *pod = s->pod.scan, *host = s->host.scan;
	size_t i;

	for (i = 0; i < pod->n_links && s->n_ports < NETPLUG_PORTS_MAX; i++) {
		const struct scan_link *l = &pod->link[i];
		struct check_port *p = &s->port[s->n_ports];

		if (l->arphrd != ARPHRD_ETHER || joined_is_tap(l))
			continue;
		p->link = l;
		p->tap = joined_tap(pod, l);
		p->peer = host ? joined_peer(host, l) : NULL;
		if (p->peer && check_link(&s->host, p->peer->ifindex)->is_port)
			p->bridge = scan_link_at(host,
						 check_link(&s->host, p->peer->ifindex)->master);
		p->outer = p->bridge ? p->bridge : p->peer;
		s->n_ports++;
	}
}

static int on_way(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[RTA_MAX + 1];

	(void)e;
	if (nl_attrs(h, sizeof(struct rtmsg), tb, RTA_MAX + 1))
		*(uint32_t *)arg = nl_u32(tb[RTA_OIF], 0);
	return 0;
}

static void ask_way(struct nl *nl, struct check_way *w)
{
	size_t len = w->addr->family == AF_INET ? 4 : 16;
	struct rtmsg m = { .rtm_family = w->addr->family, .rtm_dst_len = (uint8_t)(len * 8) };
	struct nlmsghdr *h = nl_msg(nl, RTM_GETROUTE, 0, &m, sizeof(m));
	struct err none;

	mnl_attr_put(h, RTA_DST, len, w->addr->ip);
	nl_get(nl, on_way, &w->oif, &none);
}

static bool link_local(const struct scan_addr *a)
{
	return a->family == AF_INET6 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

/* An entry of a bridge's table of addresses. */
static int on_fdb(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[NDA_MAX + 1];
	const struct ndmsg *m = nl_attrs(h, sizeof(*m), tb, NDA_MAX + 1);
	struct check_state *s = arg;
	uint8_t mac[6];
	size_t i;

	(void)e;
	if (!m || m->ndm_flags & NTF_SELF || nl_bytes(tb[NDA_LLADDR], mac, 6) != 6)
		return 0;
	for (i = 0; i < s->n_ports; i++) {
		struct check_port *p = &s->port[i];

		if (p->bridge && nl_u32(tb[NDA_MASTER], 0) == p->bridge->ifindex &&
		    (uint32_t)m->ndm_ifindex != p->peer->ifindex &&
		    (uint32_t)m->ndm_ifindex != p->bridge->ifindex && !memcmp(mac, p->link->mac, 6))
			p->fdb_at = (uint32_t)m->ndm_ifindex;
	}
	return 0;
}

static int find_macs(struct check_state *s, struct nl *nl, struct err *e)
{
	struct ndmsg m = { .ndm_family = AF_BRIDGE };
	int tries = 0, rc;

	do {
		nl_msg(nl, RTM_GETNEIGH, 0, &m, sizeof(m));
		rc = nl_dump(nl, on_fdb, s, e);
	} while (rc == -EAGAIN && ++tries < 8);
	return rc == -EOPNOTSUPP || rc == -EAGAIN ? 0 : rc;
}

/* The ways to all addresses of ports whose other end is here. */
static int find_ways(struct check_state *s, int host_fd, struct err *e)
{
	const struct scan *pod = s->pod.scan;
	struct nl *nl = NULL;
	size_t i, k;
	int rc = nl_open(host_fd, &nl, e);

	for (k = 0; k < s->n_ports && !rc; k++)
		for (i = 0; i < pod->n_addrs && s->n_ways < CHECK_WAYS_MAX; i++) {
			struct check_way *w = &s->way[s->n_ways];

			if (pod->addr[i].ifindex != s->port[k].link->ifindex || !s->port[k].peer ||
			    link_local(&pod->addr[i]))
				continue;
			w->port = &s->port[k];
			w->addr = &pod->addr[i];
			ask_way(nl, w);
			s->n_ways++;
		}
	if (!rc)
		rc = find_macs(s, nl, e);
	nl_free(nl);
	return rc;
}

static uint64_t number(const char *path)
{
	_cleanup_free_ char *text = NULL;

	if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
		return 0;
	return strtoull(text, NULL, 10);
}

static void read_settings(struct check_state *s)
{
	_cleanup_free_ char *text = NULL;
	char *line, *rest;

	s->has_vhost = !access("/dev/vhost-net", F_OK);
	s->ip_forward = (uint32_t)number("/proc/sys/net/ipv4/ip_forward");
	s->ip6_forward = (uint32_t)number("/proc/sys/net/ipv6/conf/all/forwarding");
	s->rp_filter = (uint32_t)number("/proc/sys/net/ipv4/conf/all/rp_filter");
	s->conntrack = number("/proc/sys/net/netfilter/nf_conntrack_count");
	s->conntrack_max = number("/proc/sys/net/netfilter/nf_conntrack_max");
	if (file_read(AT_FDCWD, "/etc/resolv.conf", 65536, &text, NULL, NULL) < 0)
		return;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (sscanf(line, " nameserver %63[0-9a-fA-F.:]", s->nameserver) == 1 &&
		    !str_starts(s->nameserver, "127."))
			return;
	snprintf(s->nameserver, sizeof(s->nameserver), "9.9.9.9");
}

static int read_host(struct check_state *s, struct err *e)
{
	_cleanup_close_ int fd = netns_self(e);
	int rc = fd < 0 ? fd : netns_same(fd, s->t->netns_fd, e);

	if (rc == 1)
		find_ports(s);
	if (rc)
		return rc < 0 ? rc : 0;
	rc = check_place_read(fd, &s->host, e);
	if (rc < 0)
		return err_wrap(e, "the host's network namespace");
	find_ports(s);
	rc = find_ways(s, fd, e);
	if (!rc)
		rc = check_firewalls(s, e);
	read_settings(s);
	return rc;
}

/* A plan of what leads to the ports alone: what else is there has findings of its own. */
static void plan_of(const struct scan *s, const struct netplug_plan *p, Podvm__Network **ret,
		    struct err *why)
{
	struct scan part = *s;
	size_t i;

	part.route = mem_new_n(struct scan_route, s->n_routes + 1);
	part.n_routes = 0;
	if (!part.route) {
		err_set(why, ENOMEM, "out of memory");
		return;
	}
	for (i = 0; i < s->n_routes; i++)
		if (!s->route[i].oif || plan_port_at(p, s->route[i].oif))
			part.route[part.n_routes++] = s->route[i];
	plan_network(&part, p, ret, why);
	free(part.route);
}

static void add_port(struct netplug_plan *p, const struct scan_link *l, const char *name)
{
	struct plan_port *port = &p->port[p->n_ports++];

	snprintf(port->name, sizeof(port->name), "%s", name);
	memcpy(port->mac, l->mac, sizeof(port->mac));
	port->ifindex = l->ifindex;
	port->mtu = l->mtu;
}

/* Interfaces are told apart by their MAC, and called as in the pod's namespace. */
static void compare(struct check_state *s)
{
	struct netplug_plan want = { .n_ports = 0 }, has = { .n_ports = 0 };
	const struct scan *g = s->guest.scan;
	size_t i, k;

	for (i = 0; i < s->n_ports; i++) {
		const struct scan_link *l = s->port[i].link;

		/* With a macvtap the namespace does not say any more what the guest has. */
		if (!s->port[i].tap || joined_is_macvtap(s->port[i].tap))
			continue;
		add_port(&want, l, l->name);
		for (k = 0; k < g->n_links; k++)
			if (g->link[k].arphrd == ARPHRD_ETHER &&
			    !memcmp(g->link[k].mac, l->mac, 6)) {
				add_port(&has, &g->link[k], l->name);
				break;
			}
	}
	plan_of(s->pod.scan, &want, &s->want, &s->want_why);
	plan_of(g, &has, &s->has, &s->has_why);
}

static void check_moved(struct check_state *s)
{
	const char *path = s->machine->network->netns_path;

	if (*path && !netns_leads(path, s->t->netns_fd))
		snprintf(s->moved_path, sizeof(s->moved_path), "%s", path);
}

/* A container of the pod, for commands that must run in its guest. */
static void find_container(struct check_state *s, int rootfd)
{
	_cleanup_close_ int dir = openat(rootfd, "containers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = dir < 0 ? NULL : fdopendir(dir);
	struct dirent *de;

	if (!d)
		return;
	dir = -1;
	while (!*s->container && (de = readdir(d))) {
		size_t n = strlen(de->d_name);
		char id[NAME_MAX + 1], pod[NAME_MAX + 1];

		if (n < 6 || de->d_name[0] == '.' || strcmp(de->d_name + n - 5, ".json"))
			continue;
		snprintf(id, sizeof(id), "%.*s", (int)n - 5, de->d_name);
		if (!target_container_pod(rootfd, id, pod, NULL) && !strcmp(pod, s->t->pod))
			snprintf(s->container, sizeof(s->container), "%s", id);
	}
	closedir(d);
}

/* Pods whose supervisor is dead, and whose journal says that something is left of them. */
static void find_dead_pods(struct check_state *s, int rootfd)
{
	_cleanup_close_ int pods = openat(rootfd, "pods", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = pods < 0 ? NULL : fdopendir(pods);
	struct dirent *de;

	if (!d)
		return;
	pods = -1;
	while ((de = readdir(d))) {
		_cleanup_close_ int dir = openat(dirfd(d), de->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		_cleanup_close_ int sock = -1;
		struct err ignored;
		struct stat st;

		/* One that starts has no socket yet. */
		if (dir < 0 || de->d_name[0] == '.' || fstatat(dir, "journal", &st, 0) < 0 ||
		    !st.st_size || pod_call_open(dir, 1000, &sock, &ignored) != -ECONNREFUSED)
			continue;
		if (!s->n_dead_pods++)
			snprintf(s->dead_pod, sizeof(s->dead_pod), "%s", de->d_name);
	}
	closedir(d);
}

static int ask_pod(struct check_state *s, int rootfd, struct err *e)
{
	int rc = target_network(s->t, &s->machine, e);

	if (rc < 0)
		return err_wrap(e, "pod %s", s->t->pod);
	check_moved(s);
	find_container(s, rootfd);
	if (!guest_get(s->t, &s->guest, &s->guest_why))
		compare(s);
	return 0;
}

/**
 * check_collect() - collect the state of a target and of its surroundings
 * @t: open, borrowed until check_done()
 * @s: zeroed; check_done(), also after a failure
 *
 * Return: 0 or minus errno
 * Context: the calling thread is in the pod's namespace for the while of single system calls
 */
int check_collect(const struct target *t, struct check_state *s, struct err *e)
{
	_cleanup_close_ int rootfd = open(t->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct check_word name = check_word(*t->pod ? t->pod : t->path), root = check_word(t->root);
	int rc;

	s->t = t;
	if (strlen(t->path) > 250 || strlen(t->root) > 250)
		return err_set(e, ENAMETOOLONG, "its path is too long to be put into commands");
	snprintf(s->in, sizeof(s->in), "nsenter --net=%s ", check_word(t->path).s);
	snprintf(s->name, sizeof(s->name), "%s%s%s", name.s,
		 strcmp(t->root, POD_DEFAULT_ROOT) ? " --root " : "",
		 strcmp(t->root, POD_DEFAULT_ROOT) ? root.s : "");
	rc = check_place_read(t->netns_fd, &s->pod, e);
	if (!rc)
		rc = read_host(s, e);
	if (rc < 0)
		return rc;
	find_dead_pods(s, rootfd);
	return t->sock >= 0 ? ask_pod(s, rootfd, e) : 0;
}

/**
 * check_done() - free what was collected; twice is fine
 */
void check_done(struct check_state *s)
{
	check_place_done(&s->pod);
	check_place_done(&s->host);
	guest_done(&s->guest);
	if (s->machine)
		podvm__pod__response__free_unpacked(s->machine, NULL);
	if (s->want)
		podvm__network__free_unpacked(s->want, NULL);
	if (s->has)
		podvm__network__free_unpacked(s->has, NULL);
	memset(s, 0, sizeof(*s));
}
