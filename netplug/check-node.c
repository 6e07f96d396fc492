// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What can be wrong on the node as a whole: its firewall and connection table, the
 * names of namespaces, what dead pods have left, what its kernel lacks.
 * Every check looks at the collected state alone.
 */
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/mem.h"
#include "netplug/check.h"

static const char *family_name(uint8_t family)
{
	return family == NFPROTO_IPV4 ? "ip" : family == NFPROTO_IPV6 ? "ip6" : "inet";
}

static bool concerns(const struct check_firewall *w, uint8_t family)
{
	const char *name = family_name(w->family);

	return !strcmp(name, "inet") || (family == AF_INET) == !strcmp(name, "ip");
}

static void forward_drop(const struct check_state *s, struct check_findings *f)
{
	size_t i;

	for (i = 0; i < s->n_firewalls; i++)
		CHECK_EACH_WAY(s) {
			const struct check_firewall *fw = &s->firewall[i];
			const char *fam = family_name(fw->family);
			const struct check_word t = check_word(fw->table), c = check_word(fw->chain),
						l = check_word(w->port->outer->name);

			if (fw->named || !concerns(fw, w->addr->family) || !check_routes_here(s, w))
				continue;
			check_found(f, w->port->link->name, "the firewall drops what is forwarded (chain %s of table %s), and no rule of it names the pod or %s",
				    fw->chain, fw->table, w->port->outer->name);
			check_mend(f, "nft insert rule %s %s %s iifname '\"'%s'\"' accept && nft insert rule %s %s %s oifname '\"'%s'\"' accept",
				   fam, t.s, c.s, l.s, fam, t.s, c.s, l.s);
			break;
		}
}

static void conntrack_full(const struct check_state *s, struct check_findings *f)
{
	if (!s->conntrack_max || s->conntrack * 20 < s->conntrack_max * 19)
		return;
	check_found(f, "", "the host's connection table is nearly full (%llu of %llu): new connections of pods are dropped",
		    (unsigned long long)s->conntrack, (unsigned long long)s->conntrack_max);
	check_mend(f, "sysctl -w net.netfilter.nf_conntrack_max=%llu",
		   (unsigned long long)s->conntrack_max * 2);
}

static void netns_moved(const struct check_state *s, struct check_findings *f)
{
	const struct check_word path = check_word(s->moved_path);

	if (!*s->moved_path)
		return;
	check_found(f, "", "%.150s does not lead to the pod's network namespace any more: the engine and its CNI plugins work on another one", s->moved_path);
	check_mend(f, "{ umount -l %s || true; } 2> /dev/null && touch %s && mount --bind %s %s", path.s, path.s,
		   s->machine->network->netns_held, path.s);
}

static void stale_pod(const struct check_state *s, struct check_findings *f)
{
	if (!s->n_dead_pods)
		return;
	check_found(f, "", "%zu pods have ended without cleaning up (%.60s is one): their taps, filters and mounts may still be there",
		    s->n_dead_pods, s->dead_pod);
	check_mend(f, "podvm --root %s list", check_word(s->t->root).s);
}

static void no_vhost(const struct check_state *s, struct check_findings *f)
{
	size_t i;

	for (i = 0; s->machine && i < s->machine->network->n_devices; i++) {
		if (s->machine->network->devices[i]->kernel_queues ||
		    !s->machine->network->vhost_wanted || s->has_vhost)
			continue;
		check_found(f, "", "the host's kernel has no vhost-net: the monitor moves every packet; pods that start later use it once it is there");
		check_mend(f, "modprobe vhost_net");
		return;
	}
}

const struct check_rule check_rules_node[] = {
	{ "forward-drop", CHECK_ERROR, "the firewall drops what is forwarded", forward_drop },
	{ "conntrack-full", CHECK_ERROR, "the connection table is full", conntrack_full },
	{ "netns-moved", CHECK_ERROR, "the namespace's path leads elsewhere", netns_moved },
	{ "stale-pod", CHECK_WARNING, "a dead pod has left something", stale_pod },
	{ "no-vhost", CHECK_NOTE, "the kernel cannot move the packets", no_vhost },
};
const size_t check_n_rules_node = ARRAY_LEN(check_rules_node);
