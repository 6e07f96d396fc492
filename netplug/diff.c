// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Compares two plans of one namespace: which interfaces have gone, which are to be
 * joined, and what the guest must be told so that its network becomes that of the new
 * plan. A pure function; nothing is said twice, so what a container has changed in
 * the guest by itself stays, as far as the pod's network does not touch it.
 *
 * Links are known by their MAC address. One that is not settled (new, or plugged anew) or
 * has another name is told whole, and all that leads over it: with the old one the
 * guest's kernel has dropped that. What leads over a link that is gone is not taken
 * back: it has gone with it.
 *
 * What goes may take along what stays, in the guest's kernel as it did in the pod's, but at
 * another time: with an address its routes and secondary addresses. So all else of a link
 * that loses an address is told again, and the agent adds once more after it has removed.
 * An address whose flags change goes and comes; one that differs by its
 * lifetime is replaced, if that differs by more than the time between the plans. Where only the
 * kernel's own route of an address comes or goes (IFA_F_NOPREFIXROUTE), IPv6 does as the
 * address is told; IPv4 does not, and is told of the route.
 *
 * Rules are removed and added one by one as long as that leaves them in their order; else all are.
 * Sysctls that are what they were before are not told, and none is taken back: the
 * kernel does not tell of them, so that only what comes with other changes is seen.
 *
 * Objects are compared as messages: packed, sorted, side by side.
 */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/mem.h"
#include "netplug/plan.h"

/* By so many seconds lifetimes of plans may differ that were read at their own times. */
#define LIFETIME_SLACK_S 2

/**
 * struct item - an object of a plan
 * @m:     borrowed from the plan
 * @bytes: it, packed, @len of them; owned
 * @same:  the other plan has it, too
 */
struct item {
	const ProtobufCMessage *m;
	uint8_t *bytes;
	size_t len;
	bool same;
};

/**
 * struct diff - while two plans are compared
 * @told: by links of the new plan: they are told whole
 * @lost: by links of the new plan: they lose addresses
 * @sure: what the old plan has is in the guest
 */
struct diff {
	const struct netplug_plan *old, *now;
	bool told[NETPLUG_PORTS_MAX], lost[NETPLUG_PORTS_MAX];
	bool sure;
	struct netplug_diff *d;
};

/* ---- objects ---------------------------------------------------------------------- */

static void items_free(struct item *v, size_t n)
{
	size_t i;

	for (i = 0; v && i < n; i++)
		free(v[i].bytes);
	free(v);
}

/* Return: NULL when memory is short */
static struct item *items_of(void *list, size_t n)
{
	struct item *v = mem_new_n(struct item, n + 1);
	ProtobufCMessage **m = list;
	size_t i;

	for (i = 0; v && i < n; i++) {
		v[i].m = m[i];
		v[i].len = protobuf_c_message_get_packed_size(m[i]);
		v[i].bytes = malloc(v[i].len + 1);
		if (!v[i].bytes) {
			items_free(v, i);
			return NULL;
		}
		protobuf_c_message_pack(m[i], v[i].bytes);
	}
	return v;
}

static int compare(const void *a, const void *b)
{
	const struct item *const *pa = a, *const *pb = b;
	const struct item *x = *pa, *y = *pb;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return memcmp(x->bytes, y->bytes, x->len);
}

/* Marks what both have, as often as both have it. Return: false when memory is short */
static bool match(struct item *a, size_t n_a, struct item *b, size_t n_b)
{
	_cleanup_free_ struct item **x = mem_new_n(struct item *, n_a + 1);
	_cleanup_free_ struct item **y = mem_new_n(struct item *, n_b + 1);
	size_t i, k;

	if (!x || !y)
		return false;
	for (i = 0; i < n_a; i++)
		x[i] = &a[i];
	for (i = 0; i < n_b; i++)
		y[i] = &b[i];
	qsort(x, n_a, sizeof(struct item *), compare);
	qsort(y, n_b, sizeof(struct item *), compare);
	for (i = k = 0; i < n_a && k < n_b;) {
		int c = compare(&x[i], &y[k]);

		if (!c)
			x[i]->same = y[k]->same = true;
		i += c <= 0;
		k += c >= 0;
	}
	return true;
}

static int append(void *list, size_t *n, const void *item, struct err *e)
{
	void ***at = list, **more = realloc(*at, (*n + 1) * sizeof(*more));

	if (!more)
		return err_set(e, ENOMEM, "out of memory");
	*at = more;
	more[(*n)++] = (void *)(uintptr_t)item;
	return 0;
}

/* ---- links and addresses ---------------------------------------------------------- */

static const Podvm__Link *link_with(const Podvm__Network *n, const Podvm__Link *l)
{
	size_t i;

	for (i = 0; i < n->n_links; i++)
		if (!memcmp(n->links[i]->mac.data, l->mac.data, 6))
			return n->links[i];
	return NULL;
}

/* Number of a link of the new plan; as many as it has if there is none of that name. */
static size_t number_of(const struct diff *f, const char *name)
{
	const Podvm__Network *n = f->now->network;
	size_t i;

	for (i = 0; i < n->n_links && strcmp(n->links[i]->name, name); i++)
		;
	return i;
}

static bool is_told(const struct diff *f, const char *name)
{
	size_t i = number_of(f, name);

	return i < f->now->network->n_links && f->told[i];
}

static bool same_bytes(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len));
}

static bool same_address(const Podvm__Address *a, const Podvm__Address *b)
{
	return a->prefix_len == b->prefix_len && same_bytes(&a->ip, &b->ip) &&
	       same_bytes(&a->peer, &b->peer);
}

/* Duplicates are looked for once: later the flag has no meaning. */
static bool same_kind(const Podvm__Address *a, const Podvm__Address *b)
{
	return a->scope == b->scope && a->metric == b->metric && !strcmp(a->label, b->label) &&
	       !((a->flags ^ b->flags) & ~(uint32_t)(IFA_F_NODAD | IFA_F_NOPREFIXROUTE)) &&
	       same_bytes(&a->broadcast, &b->broadcast);
}

static bool other_route(const Podvm__Address *a, const Podvm__Address *b)
{
	return (a->flags ^ b->flags) & IFA_F_NOPREFIXROUTE;
}

/* A route as IPv4 makes it of an address; see take_connected() in plan-network.c. */
struct connected {
	Podvm__Route r;
	uint8_t dst[4];
};

static int diff_connected(struct diff *f, const Podvm__Link *l, const Podvm__Address *a,
			  const Podvm__Address *b, struct err *e)
{
	Podvm__Network *to = b->flags & IFA_F_NOPREFIXROUTE ? &f->d->remove : &f->d->add;
	struct connected *c;
	unsigned int i;

	if (b->ip.len != 4 || !other_route(a, b))
		return 0;
	c = mem_new(struct connected);
	if (!c || append(&f->d->made, &f->d->n_made, c, e) < 0) {
		free(c);
		return err_set(e, ENOMEM, "out of memory");
	}
	podvm__route__init(&c->r);
	memcpy(c->dst, b->peer.len == 4 ? b->peer.data : b->ip.data, 4);
	for (i = b->prefix_len; i < 32; i++)
		c->dst[i / 8] &= (uint8_t)~(0x80 >> i % 8);
	c->r.family = AF_INET;
	c->r.dst = (ProtobufCBinaryData){ .data = c->dst, .len = 4 };
	c->r.dst_len = b->prefix_len;
	c->r.prefsrc = b->ip;
	c->r.link = l->name;
	c->r.table = RT_TABLE_MAIN;
	c->r.protocol = RTPROT_KERNEL;
	c->r.scope = RT_SCOPE_LINK;
	c->r.priority = b->metric;
	c->r.type = RTN_UNICAST;
	return append(&to->routes, &to->n_routes, &c->r, e);
}

static bool same_time(uint32_t a, uint32_t b, uint64_t passed_s)
{
	if (a == UINT32_MAX || b == UINT32_MAX || !a || !b)
		return a == b || (!b && a <= passed_s + LIFETIME_SLACK_S);
	return b + passed_s + LIFETIME_SLACK_S >= a && b + passed_s <= (uint64_t)a + LIFETIME_SLACK_S;
}

static bool same_lifetime(const struct diff *f, const Podvm__Address *a, const Podvm__Address *b)
{
	static const Podvm__Lifetime ever = { .valid = UINT32_MAX, .preferred = UINT32_MAX };
	const Podvm__Lifetime *x = a->lifetime ? a->lifetime : &ever;
	const Podvm__Lifetime *y = b->lifetime ? b->lifetime : &ever;
	uint64_t passed_s = (f->now->read_ms - f->old->read_ms) / 1000;

	return same_time(x->valid, y->valid, passed_s) &&
	       same_time(x->preferred, y->preferred, passed_s);
}

static const Podvm__Address *address_in(const Podvm__Link *l, const Podvm__Address *a)
{
	size_t i;

	for (i = 0; l && i < l->n_addresses; i++)
		if (same_address(l->addresses[i], a))
			return l->addresses[i];
	return NULL;
}

/* Puts a link with some of its addresses into a network; they are borrowed. */
static Podvm__Link *add_link(Podvm__Network *n, const Podvm__Link *l, struct err *e)
{
	Podvm__Link *copy = mem_new(Podvm__Link);

	if (!copy) {
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	*copy = *l;
	copy->addresses = NULL;
	copy->n_addresses = 0;
	if (append(&n->links, &n->n_links, copy, e) < 0) {
		free(copy);
		return NULL;
	}
	return copy;
}

static int remove_addresses(struct diff *f, size_t i, const Podvm__Link *was, struct err *e)
{
	const Podvm__Link *l = f->now->network->links[i];
	Podvm__Link *to = NULL;
	size_t k;
	int rc = 0;

	for (k = 0; k < was->n_addresses && !rc; k++) {
		const Podvm__Address *a = was->addresses[k], *b = address_in(l, a);

		if (b && same_kind(a, b)) {
			rc = diff_connected(f, l, a, b, e);
			continue;
		}
		if (!to && !(to = add_link(&f->d->remove, l, e)))
			return -ENOMEM;
		rc = append(&to->addresses, &to->n_addresses, a, e);
		f->lost[i] = true;
	}
	return rc;
}

static bool must_tell(const struct diff *f, size_t i, const Podvm__Link *was,
		      const Podvm__Address *b)
{
	const Podvm__Address *a = address_in(was, b);

	return f->told[i] || f->lost[i] || !f->sure || !a || !same_kind(a, b) ||
	       !same_lifetime(f, a, b) || (b->ip.len == 16 && other_route(a, b));
}

static int diff_link(struct diff *f, size_t i, struct err *e)
{
	const Podvm__Link *l = f->now->network->links[i], *was = link_with(f->old->network, l);
	Podvm__Link *to = NULL;
	size_t k;
	int rc = 0;

	f->told[i] = !f->now->port[i].settled || !was || strcmp(was->name, l->name);
	if (!f->told[i])
		rc = remove_addresses(f, i, was, e);
	if (!rc && (f->told[i] || !f->sure || was->mtu != l->mtu ||
		    was->addr_gen_mode != l->addr_gen_mode ||
		    was->tx_queue_len != l->tx_queue_len || was->no_arp != l->no_arp) &&
	    !(to = add_link(&f->d->add, l, e)))
		return -ENOMEM;
	for (k = 0; k < l->n_addresses && !rc; k++) {
		if (!must_tell(f, i, was, l->addresses[k]))
			continue;
		if (!to && !(to = add_link(&f->d->add, l, e)))
			return -ENOMEM;
		rc = append(&to->addresses, &to->n_addresses, l->addresses[k], e);
	}
	return rc;
}

/* ---- routes, neighbours, sysctls ---------------------------------------------------- */

static bool touches(const struct diff *f, const bool *links, const char *name)
{
	size_t i = number_of(f, name);

	return i < f->now->network->n_links && links[i];
}

static bool route_touches(const struct diff *f, const Podvm__Route *r, const bool *links)
{
	size_t i;

	if (touches(f, links, r->link))
		return true;
	for (i = 0; i < r->n_nexthops; i++)
		if (touches(f, links, r->nexthops[i]->link))
			return true;
	return false;
}

static int diff_routes(struct diff *f, struct item *a, size_t n_a, struct item *b, size_t n_b,
		       struct err *e)
{
	Podvm__Network *add = &f->d->add, *remove = &f->d->remove;
	size_t i;
	int rc = 0;

	for (i = 0; i < n_a && !rc; i++)
		if (!a[i].same)
			rc = append(&remove->routes, &remove->n_routes, a[i].m, e);
	for (i = 0; i < n_b && !rc; i++) {
		const Podvm__Route *r = (const void *)b[i].m;

		if (!b[i].same || !f->sure || route_touches(f, r, f->told) ||
		    route_touches(f, r, f->lost))
			rc = append(&add->routes, &add->n_routes, r, e);
	}
	return rc;
}

static bool has_neighbour(const Podvm__Network *n, const Podvm__Neighbour *g)
{
	size_t i;

	for (i = 0; i < n->n_neighbours; i++)
		if (!strcmp(n->neighbours[i]->link, g->link) &&
		    same_bytes(&n->neighbours[i]->ip, &g->ip))
			return true;
	return false;
}

/* Those that are not permanent are the guest's own business once it has them. */
static int diff_neighbours(struct diff *f, struct item *a, size_t n_a, struct item *b, size_t n_b,
			   struct err *e)
{
	Podvm__Network *add = &f->d->add, *remove = &f->d->remove;
	size_t i;
	int rc = 0;

	for (i = 0; i < n_a && !rc; i++) {
		const Podvm__Neighbour *g = (const void *)a[i].m;

		if (!a[i].same && !g->state && !has_neighbour(f->now->network, g))
			rc = append(&remove->neighbours, &remove->n_neighbours, g, e);
	}
	for (i = 0; i < n_b && !rc; i++) {
		const Podvm__Neighbour *g = (const void *)b[i].m;

		if ((!g->state && (!b[i].same || !f->sure)) || is_told(f, g->link))
			rc = append(&add->neighbours, &add->n_neighbours, g, e);
	}
	return rc;
}

static int diff_sysctls(struct diff *f, struct item *a, size_t n_a, struct item *b, size_t n_b,
			struct err *e)
{
	Podvm__Network *add = &f->d->add;
	size_t i;
	int rc = 0;

	(void)a;
	(void)n_a;
	for (i = 0; i < n_b && !rc; i++)
		if (!b[i].same)
			rc = append(&add->sysctls, &add->n_sysctls, b[i].m, e);
	return rc;
}

/* ---- rules -------------------------------------------------------------------------- */

static uint32_t priority_of(const Podvm__Rule *r)
{
	uint32_t v = 0;
	size_t i;

	for (i = 0; i < r->n_attributes; i++)
		if (r->attributes[i]->type == FRA_PRIORITY &&
		    r->attributes[i]->value.len == sizeof(v))
			memcpy(&v, r->attributes[i]->value.data, sizeof(v));
	return v;
}

/* The next rule from @i on that is there, of one family and priority, and of both plans or not. */
static size_t next_rule(const struct item *v, size_t n, size_t i, const Podvm__Rule *like,
			bool same)
{
	for (; i < n; i++) {
		const Podvm__Rule *r = (const void *)v[i].m;

		if (v[i].same == same && !r->remove && r->family == like->family &&
		    priority_of(r) == priority_of(like))
			break;
	}
	return i;
}

/*
 * Whether the rules come out in the order of the new plan when the guest's kernel puts
 * what is added behind what it has of the same priority.
 */
static bool order_holds(const struct item *a, size_t n_a, const struct item *b, size_t n_b)
{
	size_t i, k = 0;

	for (i = 0; i < n_b; i++) {
		const Podvm__Rule *r = (const void *)b[i].m;

		if (r->remove)
			continue;
		if (!i || priority_of((const void *)b[i - 1].m) != priority_of(r))
			k = 0;
		if (!b[i].same) {
			if (next_rule(b, n_b, i, r, true) < n_b)
				return false;
			continue;
		}
		k = next_rule(a, n_a, k, r, true);
		if (k == n_a || compare(&(const struct item *){ &a[k] },
					&(const struct item *){ &b[i] }))
			return false;
		k++;
	}
	return true;
}

static int diff_rules(struct diff *f, struct item *a, size_t n_a, struct item *b, size_t n_b,
		      struct err *e)
{
	Podvm__Network *add = &f->d->add, *remove = &f->d->remove;
	bool all = !order_holds(a, n_a, b, n_b);
	size_t i;
	int rc = 0;

	for (i = 0; i < n_a && !rc; i++)
		if (!a[i].same || all)
			rc = append(&remove->rules, &remove->n_rules, a[i].m, e);
	for (i = 0; i < n_b && !rc; i++)
		if (!b[i].same || all || !f->sure)
			rc = append(&add->rules, &add->n_rules, b[i].m, e);
	return rc;
}

/* ---- the whole ---------------------------------------------------------------------- */

typedef int list_fn(struct diff *f, struct item *a, size_t n_a, struct item *b, size_t n_b,
		    struct err *e);

static int diff_list(struct diff *f, void *old, size_t n_old, void *now, size_t n_now,
		     list_fn *fn, struct err *e)
{
	struct item *a = items_of(old, n_old), *b = items_of(now, n_now);
	int rc = -ENOMEM;

	if (a && b && match(a, n_old, b, n_now))
		rc = fn(f, a, n_old, b, n_now, e);
	else
		err_set(e, ENOMEM, "out of memory");
	items_free(a, n_old);
	items_free(b, n_now);
	return rc;
}

static int diff_networks(struct diff *f, struct err *e)
{
	const Podvm__Network *a = f->old->network, *b = f->now->network;
	size_t i;
	int rc = 0;

	for (i = 0; i < b->n_links && !rc; i++)
		rc = diff_link(f, i, e);
	if (!rc)
		rc = diff_list(f, a->routes, a->n_routes, b->routes, b->n_routes, diff_routes, e);
	if (!rc)
		rc = diff_list(f, a->neighbours, a->n_neighbours, b->neighbours, b->n_neighbours,
			       diff_neighbours, e);
	if (!rc)
		rc = diff_list(f, a->rules, a->n_rules, b->rules, b->n_rules, diff_rules, e);
	if (!rc)
		rc = diff_list(f, a->sysctls, a->n_sysctls, b->sysctls, b->n_sysctls,
			       diff_sysctls, e);
	return rc;
}

static void diff_ports(const struct netplug_plan *old, const struct netplug_plan *now,
		       struct netplug_diff *d)
{
	size_t i;

	for (i = 0; i < old->n_ports; i++) {
		const struct plan_port *to = plan_port_at(now, old->port[i].ifindex);

		if (old->port[i].joined && (!to || !to->joined))
			d->gone[d->n_gone++] = old->port[i].ifindex;
	}
	for (i = 0; i < now->n_ports; i++)
		if (!now->port[i].joined)
			d->fresh[d->n_fresh++] = i;
}

/**
 * netplug_diff() - compare two plans of one namespace
 * @old:  what has been carried out
 * @now:  from netplug_plan_again() with @old
 * @sure: the guest has what @old says; else all is told again
 * @ret:  netplug_diff_done(); borrows from both plans
 *
 * Return: 0 or -ENOMEM
 */
int netplug_diff(const struct netplug_plan *old, const struct netplug_plan *now, bool sure,
		 struct netplug_diff *ret, struct err *e)
{
	struct diff f = { .old = old, .now = now, .sure = sure, .d = ret };
	int rc;

	*ret = (struct netplug_diff){ .add = PODVM__NETWORK__INIT,
				      .remove = PODVM__NETWORK__INIT };
	diff_ports(old, now, ret);
	rc = diff_networks(&f, e);
	if (rc < 0)
		netplug_diff_done(ret);
	return rc;
}

static void network_done(Podvm__Network *n)
{
	size_t i;

	for (i = 0; i < n->n_links; i++) {
		free(n->links[i]->addresses);
		free(n->links[i]);
	}
	free(n->links);
	free(n->routes);
	free(n->neighbours);
	free(n->rules);
	free(n->sysctls);
	podvm__network__init(n);
}

/**
 * netplug_diff_done() - free what a comparison took; twice is fine
 */
void netplug_diff_done(struct netplug_diff *d)
{
	network_done(&d->add);
	network_done(&d->remove);
	while (d->n_made)
		free(d->made[--d->n_made]);
	free(d->made);
	d->made = NULL;
}

/**
 * netplug_diff_tells() - whether there is something to tell the guest
 */
bool netplug_diff_tells(const struct netplug_diff *d)
{
	const Podvm__Network *n = &d->add;
	bool remove = d->remove.n_links || d->remove.n_routes || d->remove.n_neighbours ||
		      d->remove.n_rules;

	return remove || n->n_links || n->n_routes || n->n_neighbours || n->n_rules ||
	       n->n_sysctls;
}
