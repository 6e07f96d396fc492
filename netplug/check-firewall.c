// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Finds, in the caller's network namespace, the chains of nf_tables that drop what
 * is forwarded unless a rule lets it through (iptables' "-P FORWARD DROP" is one),
 * and whether a rule of the same table names the pod: one of its addresses, or one
 * of the interfaces that lead to it. What such a rule does is not judged.
 *
 * Rules are compared by their bytes: an address or a name stands in the message as
 * it is. A kernel without nf_tables has none; tables of the older ip_tables are not
 * seen.
 *
 * Sources: linux/netfilter/nf_tables.h, nfnetlink.h; libmnl's manual.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "netplug/check.h"

struct dump {
	struct check_state *s;
	struct check_firewall *f;	/* whose rules are read */
};

static int on_chain(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *tb[NFTA_CHAIN_MAX + 1], *hook[NFTA_HOOK_MAX + 1];
	struct check_state *s = ((struct dump *)arg)->s;
	const struct nfgenmsg *m = nl_attrs(h, sizeof(*m), tb, NFTA_CHAIN_MAX + 1);
	struct check_firewall *f = &s->firewall[s->n_firewalls];

	if (!m || !tb[NFTA_CHAIN_HOOK] || s->n_firewalls == CHECK_FIREWALLS_MAX)
		return MNL_CB_OK;
	nl_nested(tb[NFTA_CHAIN_HOOK], hook, NFTA_HOOK_MAX + 1);
	if (ntohl(nl_u32(hook[NFTA_HOOK_HOOKNUM], 0)) != NF_INET_FORWARD ||
	    ntohl(nl_u32(tb[NFTA_CHAIN_POLICY], htonl(NF_ACCEPT))) != NF_DROP)
		return MNL_CB_OK;
	if (m->nfgen_family != NFPROTO_IPV4 && m->nfgen_family != NFPROTO_IPV6 &&
	    m->nfgen_family != NFPROTO_INET)
		return MNL_CB_OK;
	f->family = m->nfgen_family;
	nl_str(tb[NFTA_CHAIN_TABLE], f->table, sizeof(f->table));
	nl_str(tb[NFTA_CHAIN_NAME], f->chain, sizeof(f->chain));
	s->n_firewalls++;
	return MNL_CB_OK;
}

static bool has_bytes(const struct nlmsghdr *h, const void *what, size_t len)
{
	return len && memmem(h + 1, h->nlmsg_len - sizeof(*h), what, len);
}

static int on_rule(const struct nlmsghdr *h, void *arg)
{
	struct dump *d = arg;
	const struct check_state *s = d->s;
	size_t i;

	for (i = 0; i < s->n_ways; i++)
		d->f->named |= has_bytes(h, s->way[i].addr->ip,
					 s->way[i].addr->family == AF_INET ? 4 : 16);
	for (i = 0; i < s->n_ports; i++) {
		const struct check_port *p = &s->port[i];

		/* With its NUL: eth1 is not eth10. */
		if (p->peer)
			d->f->named |= has_bytes(h, p->peer->name, strlen(p->peer->name) + 1);
		if (p->bridge)
			d->f->named |= has_bytes(h, p->bridge->name, strlen(p->bridge->name) + 1);
	}
	return MNL_CB_OK;
}

/* Reads all objects of a sort. Return: 0 or minus errno */
static int dump(struct mnl_socket *sock, uint16_t type, uint8_t family, const char *table,
		mnl_cb_t fn, struct dump *d, struct err *e)
{
	char buf[32768] __attribute__((aligned(8)));
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	ssize_t n = 1;
	int rc = MNL_CB_OK;

	h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = 1;
	m->nfgen_family = family;
	if (table)
		mnl_attr_put_strz(h, NFTA_RULE_TABLE, table);
	if (mnl_socket_sendto(sock, h, h->nlmsg_len) < 0)
		return err_sys(e, "nf_tables: send");
	while (rc == MNL_CB_OK && n > 0) {
		n = mnl_socket_recvfrom(sock, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			rc = mnl_cb_run(buf, (size_t)n, 1, 0, fn, d);
	}
	return n < 0 || rc < 0 ? -errno : 0;
}

/**
 * check_firewalls() - read the chains that may drop what the pod sends and gets
 * @s: its ports and ways are known
 *
 * Return: 0, also without nf_tables; minus errno
 * Context: in the host's namespace
 */
int check_firewalls(struct check_state *s, struct err *e)
{
	struct mnl_socket *sock = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	struct dump d = { .s = s };
	size_t i;
	int rc;

	if (!sock)
		return errno == EPROTONOSUPPORT ? 0 : err_sys(e, "nf_tables: socket");
	rc = mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
	if (!rc)
		rc = dump(sock, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NULL, on_chain, &d, e);
	for (i = 0; i < s->n_firewalls && !rc; i++) {
		d.f = &s->firewall[i];
		rc = dump(sock, NFT_MSG_GETRULE, d.f->family, d.f->table, on_rule, &d, e);
	}
	mnl_socket_close(sock);
	/* EINVAL, EOPNOTSUPP: the kernel has no nf_tables. */
	if (rc == -EINVAL || rc == -EOPNOTSUPP || rc == -EPROTONOSUPPORT || rc == -ENOENT)
		return 0;
	return rc < 0 ? err_set(e, -rc, "nf_tables: %s", strerror(-rc)) : 0;
}
