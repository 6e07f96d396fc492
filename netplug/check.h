/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_CHECK_H
#define NETPLUG_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "netplug/guest.h"
#include "netplug/plan.h"
#include "netplug/scan.h"
#include "netplug/target.h"

/**
 * struct check_link - what scan.c does not read of an interface
 * @master:     bridge that it is a port of, or another master; 0: none
 * @queue_len:  packets
 * @features:   Podvm__LinkState__Feature
 * @is_port:    of a bridge; @port_state and @pvid are valid
 * @pvid:       VLAN of untagged frames; 0: none
 * @vlan_aware: a bridge that filters by VLAN
 * @no_vnet_hdr: a tap without virtio headers
 * @rp_filter, @ipv6_off, @proxy_arp, @proxy_ndp: sysctls, 0 where there are none
 */
struct check_link {
	uint32_t ifindex, master, queue_len, features;
	bool is_port, vlan_aware, no_vnet_hdr;
	uint8_t port_state;
	uint16_t pvid;
	uint32_t rp_filter, ipv6_off, proxy_arp, proxy_ndp;
};

/**
 * struct check_place - a network namespace
 * @more: of the links of @scan, @n_more of them
 */
struct check_place {
	struct scan *scan;
	struct check_link *more;
	size_t n_more;
};

/**
 * struct check_port - an interface of the pod and what it is joined to
 * @tap:    NULL: none
 * @peer:   of a veth, in the host's namespace; NULL: elsewhere, or no veth
 * @bridge: that @peer is a port of, or NULL
 * @outer:  @bridge, else @peer: where the host's stack meets the pod
 * @fdb_at: port of @bridge other than @peer behind which it takes the MAC to be; 0: none
 */
struct check_port {
	const struct scan_link *link, *tap, *peer, *bridge, *outer;
	uint32_t fdb_at;
};

/**
 * struct check_way - by which interface the host sends to an address of the pod
 * @oif: 0: it has no route
 */
struct check_way {
	const struct check_port *port;
	const struct scan_addr *addr;
	uint32_t oif;
};

#define CHECK_WAYS_MAX 64

/**
 * struct check_firewall - a chain of nf_tables that drops what no rule lets through
 * @named: a rule of its table names an address or an interface of the pod
 */
struct check_firewall {
	uint8_t family;
	char table[64], chain[64];
	bool named;
};

#define CHECK_FIREWALLS_MAX 8

/**
 * struct check_state - all that the checks judge; collected once
 * @name:      the target as a command names it, quoted; with --root where it is not the default
 * @in:        what begins a command that is to run in the pod's namespace
 * @container: one of the pod, or empty
 * @host:      of the caller; its scan is NULL where the caller is in the pod's namespace
 * @machine:   what the supervisor told, or NULL
 * @moved_path: the engine's path of the namespace, which leads to another one; or empty
 * @guest_why: why there is no @guest; empty where the namespace is no pod's
 * @want, @has: what the guest should have and has; NULL: @want_why, @has_why say why
 * @nameserver: for a resolv.conf that has none
 * @conntrack: entries in use, and the most
 * @dead_pods: of them the first; they left a journal
 */
struct check_state {
	const struct target *t;
	char name[1100];
	char in[560];
	char container[NAME_MAX + 1];
	struct check_place pod, host;
	struct check_port port[NETPLUG_PORTS_MAX];
	size_t n_ports;
	struct check_way way[CHECK_WAYS_MAX];
	size_t n_ways;
	struct check_firewall firewall[CHECK_FIREWALLS_MAX];
	size_t n_firewalls;
	uint32_t ip_forward, ip6_forward, rp_filter;
	uint64_t conntrack, conntrack_max;
	bool has_vhost;
	char nameserver[64];
	Podvm__Pod__Response *machine;
	char moved_path[PATH_MAX];
	struct guest_half guest;
	struct err guest_why, want_why, has_why;
	Podvm__Network *want, *has;
	size_t n_dead_pods;
	char dead_pod[NAME_MAX + 1];
};

enum check_severity { CHECK_NOTE, CHECK_WARNING, CHECK_ERROR };

/**
 * struct check_finding - one thing that is wrong
 * @link: that it is about; empty: none
 * @text: a sentence
 * @mend: shell command
 */
struct check_finding {
	const char *code;
	enum check_severity severity;
	char link[SCAN_NAME_BYTES];
	char text[320];
	char mend[2048];
};

/**
 * struct check_findings - what has been found
 * @now:    rule under way
 * @failed: memory was short
 */
struct check_findings {
	struct check_finding *v;
	size_t n;
	const struct check_rule *now;
	bool failed;
};

/**
 * struct check_rule - one check
 * @code:  stable: programs may depend on it
 * @about: what it looks for
 * @judge: pure: looks at the state, reports with check_found()
 */
struct check_rule {
	const char *code;
	enum check_severity severity;
	const char *about;
	void (*judge)(const struct check_state *s, struct check_findings *f);
};

/* A name as the shell reads it. */
struct check_word {
	char s[512];
};

/* Visit every port as @p, every way as @w. */
#define CHECK_EACH_PORT(s) \
	for (const struct check_port *p = (s)->port; p < (s)->port + (s)->n_ports; p++)
#define CHECK_EACH_WAY(s) \
	for (const struct check_way *w = (s)->way; w < (s)->way + (s)->n_ways; w++)

int check_run(struct target *t, FILE *out, struct err *e);
int check_collect(const struct target *t, struct check_state *s, struct err *e);
void check_done(struct check_state *s);
int check_place_read(int netns_fd, struct check_place *p, struct err *e);
void check_place_done(struct check_place *p);
int check_firewalls(struct check_state *s, struct err *e);

const struct check_link *check_link(const struct check_place *p, uint32_t ifindex);
void check_found(struct check_findings *f, const char *link, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void check_mend(struct check_findings *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
struct check_word check_word(const char *name);
bool check_routes_here(const struct check_state *s, const struct check_way *w);
bool check_in_subnet(const uint8_t *ip, const uint8_t *net, unsigned int bits);

extern const struct check_rule check_rules_tap[], check_rules_host[], check_rules_node[],
	check_rules_guest[];
extern const size_t check_n_rules_tap, check_n_rules_host, check_n_rules_node,
	check_n_rules_guest;

#endif
