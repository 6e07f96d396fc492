// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The sysctls of a pod's network namespace that the guest gets: what CNI plugins
 * (tuning, the IPAM's own) and engines write there, and what the host has made its
 * default. A namespace does not tell which of them somebody has set, so all of the
 * tables below are looked at, and what is not the kernel's default is given.
 *
 * Settings of an interface come with its link (IFLA_AF_SPEC), as arrays that are
 * indexed by uapi's numbers; those of "all" and "default", and the single ones, are
 * files, which are the namespace's where the thread that opens them is in it.
 *
 * Some settings have no default that is the same on each machine (memory, the host's
 * choice): those are given where they are not what the host itself has.
 *
 * Writing one may change others: forwarding and disable_ipv6 of "all" go to each
 * interface, and IPv4's forwarding takes back accept_redirects of "all". So the order is:
 * single ones, "all" with forwarding first, "default", interfaces; and an
 * interface's is left out only where "all" and "default" have their defaults, too.
 *
 * addr_gen_mode is no plain setting: see plan-network.c. "stable_secret" goes with it.
 *
 * Sources: kernel Documentation/networking/ip-sysctl.rst; net/ipv4/devinet.c,
 * net/ipv6/addrconf.c, net/ipv4/tcp_ipv4.c (defaults); linux/ip.h, linux/ipv6.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "netplug/netns.h"
#include "netplug/plan.h"

/* Longest value that is read; ip_local_reserved_ports may have more, and is then refused. */
#define VALUE_BYTES 1024

/* Also of interest on the loopback interface. */
#define LO 1
/* Only "default": "all" is none, and an interface's is elsewhere. */
#define DEFAULT_ONLY 2

struct row {
	const char *name;
	uint8_t number, flags;
	int32_t all, dflt;	/* the kernel's defaults */
};

/* Forwarding is the first one in both. */
static const struct row conf4[] = {
	{ "forwarding", IPV4_DEVCONF_FORWARDING, LO, 0, 0 },
	{ "accept_local", IPV4_DEVCONF_ACCEPT_LOCAL, LO, 0, 0 },
	{ "accept_redirects", IPV4_DEVCONF_ACCEPT_REDIRECTS, 0, 1, 1 },
	{ "accept_source_route", IPV4_DEVCONF_ACCEPT_SOURCE_ROUTE, 0, 0, 1 },
	{ "arp_accept", IPV4_DEVCONF_ARP_ACCEPT, 0, 0, 0 },
	{ "arp_announce", IPV4_DEVCONF_ARP_ANNOUNCE, 0, 0, 0 },
	{ "arp_evict_nocarrier", IPV4_DEVCONF_ARP_EVICT_NOCARRIER, 0, 1, 1 },
	{ "arp_filter", IPV4_DEVCONF_ARPFILTER, 0, 0, 0 },
	{ "arp_ignore", IPV4_DEVCONF_ARP_IGNORE, LO, 0, 0 },
	{ "arp_notify", IPV4_DEVCONF_ARP_NOTIFY, 0, 0, 0 },
	{ "bc_forwarding", IPV4_DEVCONF_BC_FORWARDING, 0, 0, 0 },
	{ "drop_gratuitous_arp", IPV4_DEVCONF_DROP_GRATUITOUS_ARP, 0, 0, 0 },
	{ "drop_unicast_in_l2_multicast", IPV4_DEVCONF_DROP_UNICAST_IN_L2_MULTICAST, 0, 0, 0 },
	{ "force_igmp_version", IPV4_DEVCONF_FORCE_IGMP_VERSION, 0, 0, 0 },
	{ "ignore_routes_with_linkdown", IPV4_DEVCONF_IGNORE_ROUTES_WITH_LINKDOWN, 0, 0, 0 },
	{ "log_martians", IPV4_DEVCONF_LOG_MARTIANS, 0, 0, 0 },
	{ "promote_secondaries", IPV4_DEVCONF_PROMOTE_SECONDARIES, 0, 0, 0 },
	{ "proxy_arp", IPV4_DEVCONF_PROXY_ARP, 0, 0, 0 },
	{ "proxy_arp_pvlan", IPV4_DEVCONF_PROXY_ARP_PVLAN, 0, 0, 0 },
	{ "route_localnet", IPV4_DEVCONF_ROUTE_LOCALNET, LO, 0, 0 },
	{ "rp_filter", IPV4_DEVCONF_RP_FILTER, LO, 0, 0 },
	{ "secure_redirects", IPV4_DEVCONF_SECURE_REDIRECTS, 0, 1, 1 },
	{ "send_redirects", IPV4_DEVCONF_SEND_REDIRECTS, 0, 1, 1 },
	{ "shared_media", IPV4_DEVCONF_SHARED_MEDIA, 0, 1, 1 },
	{ "src_valid_mark", IPV4_DEVCONF_SRC_VMARK, LO, 0, 0 },
};

static const struct row conf6[] = {
	{ "forwarding", DEVCONF_FORWARDING, LO, 0, 0 },
	{ "disable_ipv6", DEVCONF_DISABLE_IPV6, LO, 0, 0 },
	{ "accept_dad", DEVCONF_ACCEPT_DAD, 0, 0, 1 },
	{ "accept_ra", DEVCONF_ACCEPT_RA, 0, 1, 1 },
	{ "accept_ra_defrtr", DEVCONF_ACCEPT_RA_DEFRTR, 0, 1, 1 },
	{ "accept_ra_from_local", DEVCONF_ACCEPT_RA_FROM_LOCAL, 0, 0, 0 },
	{ "accept_ra_min_hop_limit", DEVCONF_ACCEPT_RA_MIN_HOP_LIMIT, 0, 1, 1 },
	{ "accept_ra_mtu", DEVCONF_ACCEPT_RA_MTU, 0, 1, 1 },
	{ "accept_ra_pinfo", DEVCONF_ACCEPT_RA_PINFO, 0, 1, 1 },
	{ "accept_redirects", DEVCONF_ACCEPT_REDIRECTS, 0, 1, 1 },
	{ "accept_source_route", DEVCONF_ACCEPT_SOURCE_ROUTE, 0, 0, 0 },
	{ "addr_gen_mode", DEVCONF_ADDR_GEN_MODE, DEFAULT_ONLY, 0, 0 },
	{ "autoconf", DEVCONF_AUTOCONF, 0, 1, 1 },
	{ "dad_transmits", DEVCONF_DAD_TRANSMITS, 0, 1, 1 },
	{ "drop_unicast_in_l2_multicast", DEVCONF_DROP_UNICAST_IN_L2_MULTICAST, 0, 0, 0 },
	{ "drop_unsolicited_na", DEVCONF_DROP_UNSOLICITED_NA, 0, 0, 0 },
	{ "enhanced_dad", DEVCONF_ENHANCED_DAD, 0, 1, 1 },
	{ "force_mld_version", DEVCONF_FORCE_MLD_VERSION, 0, 0, 0 },
	{ "force_tllao", DEVCONF_FORCE_TLLAO, 0, 0, 0 },
	{ "hop_limit", DEVCONF_HOPLIMIT, LO, 64, 64 },
	{ "ignore_routes_with_linkdown", DEVCONF_IGNORE_ROUTES_WITH_LINKDOWN, 0, 0, 0 },
	{ "keep_addr_on_down", DEVCONF_KEEP_ADDR_ON_DOWN, 0, 0, 0 },
	{ "max_addresses", DEVCONF_MAX_ADDRESSES, 0, 16, 16 },
	{ "ndisc_evict_nocarrier", DEVCONF_NDISC_EVICT_NOCARRIER, 0, 1, 1 },
	{ "ndisc_notify", DEVCONF_NDISC_NOTIFY, 0, 0, 0 },
	{ "ndisc_tclass", DEVCONF_NDISC_TCLASS, 0, 0, 0 },
	{ "proxy_ndp", DEVCONF_PROXY_NDP, 0, 0, 0 },
	{ "router_solicitations", DEVCONF_RTR_SOLICITS, 0, -1, -1 },
	{ "seg6_enabled", DEVCONF_SEG6_ENABLED, LO, 0, 0 },
	{ "suppress_frag_ndisc", DEVCONF_SUPPRESS_FRAG_NDISC, 0, 1, 1 },
	{ "use_oif_addrs_only", DEVCONF_USE_OIF_ADDRS_ONLY, 0, 0, 0 },
	{ "use_tempaddr", DEVCONF_USE_TEMPADDR, 0, 0, 0 },
	{ "temp_prefered_lft", DEVCONF_TEMP_PREFERED_LFT, 0, 86400, 86400 },
	{ "temp_valid_lft", DEVCONF_TEMP_VALID_LFT, 0, 604800, 604800 },
};

static const struct family {
	const char *name;
	const struct row *row;
	size_t n;
} family[2] = {
	{ "ipv4", conf4, ARRAY_LEN(conf4) },
	{ "ipv6", conf6, ARRAY_LEN(conf6) },
};

/* Single settings of a namespace; without a default: where the host has another value. */
static const struct {
	const char *name, *dflt;
} other[] = {
	{ "core/somaxconn", "4096" },
	{ "ipv4/fib_multipath_hash_policy", "0" },
	{ "ipv4/fib_multipath_use_neigh", "0" },
	{ "ipv4/fwmark_reflect", "0" },
	{ "ipv4/icmp_echo_ignore_all", "0" },
	{ "ipv4/icmp_echo_ignore_broadcasts", "1" },
	{ "ipv4/icmp_errors_use_inbound_ifaddr", "0" },
	{ "ipv4/icmp_ignore_bogus_error_responses", "1" },
	{ "ipv4/icmp_ratelimit", "1000" },
	{ "ipv4/icmp_ratemask", "6168" },
	{ "ipv4/igmp_max_memberships", "20" },
	{ "ipv4/igmp_max_msf", "10" },
	{ "ipv4/ip_autobind_reuse", "0" },
	{ "ipv4/ip_default_ttl", "64" },
	{ "ipv4/ip_dynaddr", "0" },
	{ "ipv4/ip_early_demux", "1" },
	{ "ipv4/ip_forward_use_pmtu", "0" },
	{ "ipv4/ip_local_port_range", "32768\t60999" },
	{ "ipv4/ip_local_reserved_ports", "" },
	{ "ipv4/ip_no_pmtu_disc", "0" },
	{ "ipv4/ip_nonlocal_bind", "0" },
	{ "ipv4/ip_unprivileged_port_start", "1024" },
	{ "ipv4/ping_group_range", "1\t0" },
	{ "ipv4/tcp_abort_on_overflow", "0" },
	{ "ipv4/tcp_base_mss", "1024" },
	{ "ipv4/tcp_congestion_control", NULL },
	{ "ipv4/tcp_dsack", "1" },
	{ "ipv4/tcp_ecn", "2" },
	{ "ipv4/tcp_ecn_fallback", "1" },
	{ "ipv4/tcp_fastopen", "1" },
	{ "ipv4/tcp_fin_timeout", "60" },
	{ "ipv4/tcp_fwmark_accept", "0" },
	{ "ipv4/tcp_keepalive_intvl", "75" },
	{ "ipv4/tcp_keepalive_probes", "9" },
	{ "ipv4/tcp_keepalive_time", "7200" },
	{ "ipv4/tcp_limit_output_bytes", NULL },
	{ "ipv4/tcp_max_reordering", "300" },
	{ "ipv4/tcp_max_syn_backlog", NULL },
	{ "ipv4/tcp_max_tw_buckets", NULL },
	{ "ipv4/tcp_min_snd_mss", "48" },
	{ "ipv4/tcp_moderate_rcvbuf", "1" },
	{ "ipv4/tcp_mtu_probing", "0" },
	{ "ipv4/tcp_no_metrics_save", "0" },
	{ "ipv4/tcp_notsent_lowat", "4294967295" },
	{ "ipv4/tcp_orphan_retries", "0" },
	{ "ipv4/tcp_reordering", "3" },
	{ "ipv4/tcp_retries1", "3" },
	{ "ipv4/tcp_retries2", "15" },
	{ "ipv4/tcp_rfc1337", "0" },
	{ "ipv4/tcp_rmem", NULL },
	{ "ipv4/tcp_sack", "1" },
	{ "ipv4/tcp_slow_start_after_idle", "1" },
	{ "ipv4/tcp_stdurg", "0" },
	{ "ipv4/tcp_syn_retries", "6" },
	{ "ipv4/tcp_synack_retries", "5" },
	{ "ipv4/tcp_syncookies", "1" },
	{ "ipv4/tcp_timestamps", "1" },
	{ "ipv4/tcp_tw_reuse", "2" },
	{ "ipv4/tcp_window_scaling", "1" },
	{ "ipv4/tcp_wmem", NULL },
	{ "ipv4/udp_rmem_min", NULL },
	{ "ipv4/udp_wmem_min", NULL },
	{ "ipv6/auto_flowlabels", "1" },
	{ "ipv6/bindv6only", "0" },
	{ "ipv6/fib_multipath_hash_policy", "0" },
	{ "ipv6/flowlabel_consistency", "1" },
	{ "ipv6/fwmark_reflect", "0" },
	{ "ipv6/icmp/echo_ignore_all", "0" },
	{ "ipv6/icmp/ratelimit", "1000" },
	{ "ipv6/ip_nonlocal_bind", "0" },
};

_Static_assert(ARRAY_LEN(other) <= SYSCTL_OTHER_MAX, "room for all");
_Static_assert(ARRAY_LEN(conf4) <= SYSCTL_CONF_MAX && ARRAY_LEN(conf6) <= SYSCTL_CONF_MAX &&
	       (int)IPV4_DEVCONF_MAX < SYSCTL_CONF_MAX && (int)DEVCONF_MAX <= SYSCTL_CONF_MAX,
	       "room for all");

/* ---- read ------------------------------------------------------------------------ */

/* @first: number of the array's first setting */
static void read_array(const struct nlattr *a, size_t first, struct sysctl_conf *c)
{
	size_t i, n = a ? (a->nla_len - sizeof(*a)) / sizeof(int32_t) : 0;

	for (i = 0; i < SYSCTL_CONF_MAX; i++) {
		c->value[i] = SYSCTL_NONE;
		if (i >= first && i - first < n)
			memcpy(&c->value[i], (const char *)(a + 1) + (i - first) * sizeof(int32_t),
			       sizeof(int32_t));
	}
}

/**
 * sysctl_of_link() - the settings that came with a link
 * @af_spec: IFLA_AF_SPEC; may be NULL
 * @l:       gets them
 */
void sysctl_of_link(const struct nlattr *af_spec, struct scan_link *l)
{
	const struct nlattr *af[AF_INET6 + 1], *v4[IFLA_INET_MAX + 1], *v6[IFLA_INET6_MAX + 1];

	nl_nested(af_spec, af, ARRAY_LEN(af));
	nl_nested(af[AF_INET], v4, ARRAY_LEN(v4));
	nl_nested(af[AF_INET6], v6, ARRAY_LEN(v6));
	read_array(v4[IFLA_INET_CONF], 1, &l->conf[0]);
	read_array(v6[IFLA_INET6_CONF], 0, &l->conf[1]);
}

/* Return: @value with the file's text without its end of line; NULL if there is none */
static char *read_value(int dir, const char *path, char value[VALUE_BYTES])
{
	_cleanup_close_ int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, value, VALUE_BYTES - 1);

	if (n < 0)
		return NULL;
	value[n] = 0;
	value[strcspn(value, "\n")] = 0;
	return value;
}

static int32_t read_number(int dir, const char *fam, const char *who, const char *name)
{
	char path[96], text[VALUE_BYTES], *end;
	long v;

	snprintf(path, sizeof(path), "%s/conf/%s/%s", fam, who, name);
	if (!read_value(dir, path, text))
		return SYSCTL_NONE;
	v = strtol(text, &end, 10);
	return *end || end == text || v < -INT32_MAX || v > INT32_MAX ? SYSCTL_NONE : (int32_t)v;
}

static void read_conf(int dir, struct sysctls *c)
{
	size_t f, i;

	for (f = 0; f < 2; f++)
		for (i = 0; i < family[f].n; i++) {
			const struct row *r = &family[f].row[i];

			c->all[f][i] = r->flags & DEFAULT_ONLY ? SYSCTL_NONE :
				read_number(dir, family[f].name, "all", r->name);
			c->dflt[f][i] = read_number(dir, family[f].name, "default", r->name);
		}
}

/* @unlike: only those that have no default of the kernel */
static int read_others(int dir, bool unlike, char **to, struct err *e)
{
	char value[VALUE_BYTES];
	size_t i;

	for (i = 0; i < ARRAY_LEN(other); i++) {
		if ((unlike && other[i].dflt) || !read_value(dir, other[i].name, value))
			continue;
		if (strlen(value) >= VALUE_BYTES - 2)
			return err_set(e, E2BIG, "sysctl net/%s: a value of more than %d characters cannot be given to the guest",
				       other[i].name, VALUE_BYTES - 2);
		to[i] = strdup(value);
		if (!to[i])
			return err_set(e, ENOMEM, "out of memory");
	}
	return 0;
}

/* Only a stable one has a secret; the file of any other cannot be read. */
static void read_secrets(int dir, struct scan *s)
{
	char path[96], value[VALUE_BYTES];
	size_t i;

	for (i = 0; i < s->n_links; i++) {
		struct scan_link *l = &s->link[i];

		if (l->conf[1].value[DEVCONF_ADDR_GEN_MODE] != IN6_ADDR_GEN_MODE_STABLE_PRIVACY)
			continue;
		snprintf(path, sizeof(path), "ipv6/conf/%s/stable_secret", l->name);
		if (read_value(dir, path, value) && strlen(value) < sizeof(l->secret))
			memcpy(l->secret, value, strlen(value) + 1);
	}
}

static int read_here(struct scan *s, struct sysctls *c, struct err *e)
{
	_cleanup_close_ int dir = open("/proc/sys/net", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return err_sys(e, "/proc/sys/net");
	read_conf(dir, c);
	read_secrets(dir, s);
	return read_others(dir, false, c->other, e);
}

/**
 * sysctl_read() - read the sysctls of a network namespace
 * @netns_fd: the namespace, borrowed
 * @s:        gets them; its links are read already
 *
 * Return: 0; -E2BIG; -ENOMEM; minus errno
 * Context: the calling thread is in the namespace while it reads
 */
int sysctl_read(int netns_fd, struct scan *s, struct err *e)
{
	_cleanup_close_ int own = open("/proc/sys/net", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct sysctls *c = mem_new(struct sysctls);
	int back, rc;

	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	rc = own < 0 ? err_sys(e, "/proc/sys/net") : read_others(own, true, c->host, e);
	if (!rc)
		rc = netns_enter(netns_fd, &back, e);
	if (!rc) {
		rc = read_here(s, c, e);
		netns_leave(back);
	}
	if (rc < 0) {
		sysctl_free(c);
		return rc;
	}
	s->sysctls = c;
	return 0;
}

/**
 * sysctl_free() - free what was read; NULL is fine
 */
void sysctl_free(struct sysctls *c)
{
	size_t i;

	for (i = 0; c && i < SYSCTL_OTHER_MAX; i++) {
		free(c->other[i]);
		free(c->host[i]);
	}
	free(c);
}

/* ---- plan ------------------------------------------------------------------------ */

static int give(Podvm__Network *n, const char *key, const char *value, struct err *e)
{
	Podvm__KeyValue *kv = plan_append(&n->sysctls, &n->n_sysctls, mem_new(Podvm__KeyValue));

	if (!kv)
		return err_set(e, ENOMEM, "out of memory");
	podvm__key_value__init(kv);
	kv->key = strdup(key);
	kv->value = strdup(value);
	return kv->key && kv->value ? 0 : err_set(e, ENOMEM, "out of memory");
}

/* As sysctl(8) has it: what is a dot in the name of an interface is a slash here. */
static int give_of(Podvm__Network *n, const char *fam, const char *who, const char *name,
		   const char *value, struct err *e)
{
	char key[96], dotless[SCAN_NAME_BYTES];
	size_t i;

	snprintf(dotless, sizeof(dotless), "%s", who);
	for (i = 0; dotless[i]; i++)
		if (dotless[i] == '.')
			dotless[i] = '/';
	snprintf(key, sizeof(key), "net.%s.conf.%s.%s", fam, dotless, name);
	return give(n, key, value, e);
}

static int give_number(Podvm__Network *n, size_t f, const char *who, const char *name,
		       int32_t value, struct err *e)
{
	char text[16];

	if (value == SYSCTL_NONE)
		return 0;
	snprintf(text, sizeof(text), "%d", value);
	return give_of(n, family[f].name, who, name, text, e);
}

static int plan_others(const struct sysctls *c, Podvm__Network *n, struct err *e)
{
	char key[96];
	size_t i, k;
	int rc = 0;

	for (i = 0; i < ARRAY_LEN(other) && !rc; i++) {
		const char *than = other[i].dflt ? other[i].dflt : c->host[i];

		if (!c->other[i] || (than && !strcmp(than, c->other[i])))
			continue;
		snprintf(key, sizeof(key), "net.%s", other[i].name);
		for (k = 0; key[k]; k++)
			if (key[k] == '/')
				key[k] = '.';
		rc = give(n, key, c->other[i], e);
	}
	return rc;
}

static bool is_default(int32_t value, int32_t than)
{
	return value == than || value == SYSCTL_NONE;
}

/* Whether what "all" has, or what writing it did, reaches further than its file. */
static bool all_plain(const struct sysctls *c, size_t f, size_t i)
{
	return is_default(c->all[f][i], family[f].row[i].all);
}

static int plan_conf(const struct sysctls *c, size_t f, Podvm__Network *n, struct err *e)
{
	bool forwards = !all_plain(c, f, 0);
	size_t i;
	int rc = 0;

	for (i = 0; i < family[f].n && !rc; i++) {
		const struct row *r = &family[f].row[i];

		if (!all_plain(c, f, i) ||
		    (forwards && !f && r->number == IPV4_DEVCONF_ACCEPT_REDIRECTS))
			rc = give_number(n, f, "all", r->name, c->all[f][i], e);
	}
	for (i = 0; i < family[f].n && !rc; i++)
		if (!is_default(c->dflt[f][i], family[f].row[i].dflt) || !all_plain(c, f, i))
			rc = give_number(n, f, "default", family[f].row[i].name, c->dflt[f][i], e);
	return rc;
}

static int plan_link(const struct sysctls *c, const struct scan_link *l, Podvm__Network *n,
		     struct err *e)
{
	bool lo = l->arphrd == ARPHRD_LOOPBACK;
	size_t f, i;
	int rc = 0;

	for (f = 0; f < 2; f++)
		for (i = 0; i < family[f].n && !rc; i++) {
			const struct row *r = &family[f].row[i];
			int32_t v = l->conf[f].value[r->number];

			if (r->flags & DEFAULT_ONLY || (lo && !(r->flags & LO)) ||
			    (is_default(v, r->dflt) && all_plain(c, f, i) &&
			     is_default(c->dflt[f][i], r->dflt)))
				continue;
			rc = give_number(n, f, l->name, r->name, v, e);
		}
	if (!rc && !lo && l->secret[0])
		rc = give_of(n, "ipv6", l->name, "stable_secret", l->secret, e);
	return rc;
}

/**
 * sysctl_plan() - the sysctls that the guest gets
 * @s: without sysctl_read() there are none
 * @n: they are appended here, in the order in which they must be written
 *
 * Return: 0 or -ENOMEM
 */
int sysctl_plan(const struct scan *s, const struct netplug_plan *p, Podvm__Network *n,
		struct err *e)
{
	const struct sysctls *c = s->sysctls;
	size_t i;
	int rc;

	if (!c)
		return 0;
	rc = plan_others(c, n, e);
	for (i = 0; i < 2 && !rc; i++)
		rc = plan_conf(c, i, n, e);
	for (i = 0; i < s->n_links && !rc; i++)
		if (s->link[i].arphrd == ARPHRD_LOOPBACK || plan_port_at(p, s->link[i].ifindex))
			rc = plan_link(c, &s->link[i], n, e);
	return rc;
}
