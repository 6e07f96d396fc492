// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A plan as JSON, for people and programs: "ports" is what will be done on the
 * host, "guest" is what the guest will be given. Members that are empty or
 * zero by default (a gateway, a metric) are left out.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lib/json.h"
#include "netplug/plan.h"

static void put_ip(struct json_out *o, const char *key,
		   const ProtobufCBinaryData *ip)
{
	char text[48];

	if (ip->len)
		json_out_str(o, key, scan_ip_text(ip->len == 16 ? AF_INET6 : AF_INET,
						  ip->data, text));
}

static void put_prefix(struct json_out *o, const char *key, uint32_t family,
		       const ProtobufCBinaryData *ip, uint32_t len)
{
	static const uint8_t any[16];
	char text[48], whole[64];

	snprintf(whole, sizeof(whole), "%s/%u",
		 scan_ip_text((uint8_t)family, ip->len ? ip->data : any, text), len);
	json_out_str(o, key, whole);
}

static void put_number(struct json_out *o, const char *key, uint64_t v)
{
	if (v)
		json_out_u64(o, key, v);
}

static void put_mac(struct json_out *o, const uint8_t *m)
{
	char text[18];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1],
		 m[2], m[3], m[4], m[5]);
	json_out_str(o, "mac", text);
}

static void put_port(struct json_out *o, const struct plan_port *p)
{
	static const char *const hooks[] = {
		[PLAN_HOOK_NONE] = "new ingress",
		[PLAN_HOOK_INGRESS] = "shared ingress",
		[PLAN_HOOK_CLSACT] = "shared clsact",
	};

	json_out_obj(o, NULL);
	json_out_str(o, "interface", p->name);
	json_out_u64(o, "ifindex", p->ifindex);
	json_out_str(o, "kind", p->kind);
	json_out_str(o, "model", netplug_model_name(p->model));
	json_out_str(o, "why", p->why);
	if (p->model == NETPLUG_TC)
		json_out_str(o, "hook", hooks[p->hook]);
	json_out_str(o, "tap", p->tap);
	if (p->there)
		json_out_bool(o, "there", true);
	put_number(o, "queues", p->queues);
	put_mac(o, p->mac);
	json_out_u64(o, "mtu", p->mtu);
	json_out_end(o);
}

static void put_link(struct json_out *o, const Podvm__Link *l)
{
	size_t i;

	json_out_obj(o, NULL);
	json_out_str(o, "name", l->name);
	put_mac(o, l->mac.data);
	json_out_u64(o, "mtu", l->mtu);
	json_out_arr(o, "addresses");
	for (i = 0; i < l->n_addresses; i++) {
		const Podvm__Address *a = l->addresses[i];

		json_out_obj(o, NULL);
		put_prefix(o, "address", a->ip.len == 16 ? AF_INET6 : AF_INET, &a->ip,
			   a->prefix_len);
		put_ip(o, "peer", &a->peer);
		put_ip(o, "broadcast", &a->broadcast);
		put_number(o, "scope", a->scope);
		put_number(o, "flags", a->flags);
		if (*a->label)
			json_out_str(o, "label", a->label);
		put_number(o, "metric", a->metric);
		if (a->lifetime) {
			json_out_u64(o, "validLifetime", a->lifetime->valid);
			json_out_u64(o, "preferredLifetime", a->lifetime->preferred);
		}
		json_out_end(o);
	}
	json_out_end(o);
	json_out_u64(o, "addrGenMode", l->addr_gen_mode);
	put_number(o, "txQueueLength", l->tx_queue_len);
	if (l->no_arp)
		json_out_bool(o, "noArp", true);
	json_out_end(o);
}

static void put_metrics(struct json_out *o, const Podvm__Route *r)
{
	size_t i;

	if (!r->n_metrics)
		return;
	json_out_arr(o, "metrics");
	for (i = 0; i < r->n_metrics; i++) {
		json_out_obj(o, NULL);
		json_out_u64(o, "number", r->metrics[i]->number);
		json_out_u64(o, "value", r->metrics[i]->value);
		json_out_end(o);
	}
	json_out_end(o);
}

static void put_nexthops(struct json_out *o, const Podvm__Route *r)
{
	size_t i;

	if (!r->n_nexthops)
		return;
	json_out_arr(o, "nexthops");
	for (i = 0; i < r->n_nexthops; i++) {
		json_out_obj(o, NULL);
		put_ip(o, "gateway", &r->nexthops[i]->gateway);
		json_out_str(o, "link", r->nexthops[i]->link);
		json_out_u64(o, "weight", r->nexthops[i]->weight + 1);
		put_number(o, "flags", r->nexthops[i]->flags);
		json_out_end(o);
	}
	json_out_end(o);
}

static void put_route(struct json_out *o, const Podvm__Route *r)
{
	json_out_obj(o, NULL);
	put_prefix(o, "destination", r->family, &r->dst, r->dst_len);
	put_ip(o, "gateway", &r->gateway);
	if (*r->link)
		json_out_str(o, "link", r->link);
	if (r->type != RTN_UNICAST)
		json_out_u64(o, "type", r->type);
	put_number(o, "tos", r->tos);
	put_ip(o, "source", &r->prefsrc);
	json_out_u64(o, "table", r->table);
	json_out_u64(o, "protocol", r->protocol);
	put_number(o, "scope", r->scope);
	put_number(o, "metric", r->priority);
	put_number(o, "flags", r->flags);
	put_number(o, "mtu", r->mtu);
	put_number(o, "advmss", r->advmss);
	put_metrics(o, r);
	put_nexthops(o, r);
	json_out_end(o);
}

/* Attributes by their numbers (FRA_*), values in hexadecimal, as the kernel has them. */
static void put_rule(struct json_out *o, const Podvm__Rule *r)
{
	size_t i, k;

	json_out_obj(o, NULL);
	json_out_u64(o, "family", r->family);
	put_number(o, "destinationLength", r->dst_len);
	put_number(o, "sourceLength", r->src_len);
	put_number(o, "tos", r->tos);
	json_out_u64(o, "action", r->action);
	put_number(o, "flags", r->flags);
	if (r->remove)
		json_out_bool(o, "remove", true);
	json_out_arr(o, "attributes");
	for (i = 0; i < r->n_attributes; i++) {
		const ProtobufCBinaryData *v = &r->attributes[i]->value;
		char hex[2 * SCAN_RULE_VALUE_BYTES + 1] = "";

		for (k = 0; k < v->len && k < SCAN_RULE_VALUE_BYTES; k++)
			snprintf(hex + 2 * k, 3, "%02x", v->data[k]);
		json_out_obj(o, NULL);
		json_out_u64(o, "type", r->attributes[i]->type);
		json_out_str(o, "value", hex);
		json_out_end(o);
	}
	json_out_end(o);
	json_out_end(o);
}

static void put_guest(struct json_out *o, const Podvm__Network *n)
{
	size_t i;

	json_out_obj(o, "guest");
	json_out_arr(o, "links");
	for (i = 0; i < n->n_links; i++)
		put_link(o, n->links[i]);
	json_out_end(o);
	json_out_arr(o, "routes");
	for (i = 0; i < n->n_routes; i++)
		put_route(o, n->routes[i]);
	json_out_end(o);
	json_out_arr(o, "rules");
	for (i = 0; i < n->n_rules; i++)
		put_rule(o, n->rules[i]);
	json_out_end(o);
	json_out_arr(o, "neighbours");
	for (i = 0; i < n->n_neighbours; i++) {
		json_out_obj(o, NULL);
		put_ip(o, "address", &n->neighbours[i]->ip);
		json_out_str(o, "link", n->neighbours[i]->link);
		put_mac(o, n->neighbours[i]->mac.data);
		put_number(o, "state", n->neighbours[i]->state);
		json_out_end(o);
	}
	json_out_end(o);
	json_out_arr(o, "sysctls");
	for (i = 0; i < n->n_sysctls; i++) {
		json_out_obj(o, NULL);
		json_out_str(o, "key", n->sysctls[i]->key);
		json_out_str(o, "value", n->sysctls[i]->value);
		json_out_end(o);
	}
	json_out_end(o);
	json_out_end(o);
}

/**
 * netplug_plan_json() - a plan as JSON text
 * @ret: malloc'd, owned by the caller; several lines, no newline at the end
 *
 * Return: 0 or -ENOMEM
 */
int netplug_plan_json(const struct netplug_plan *p, char **ret, struct err *e)
{
	struct json_out *o = json_out_new();
	size_t i;
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_arr(o, "ports");
	for (i = 0; i < p->n_ports; i++)
		put_port(o, &p->port[i]);
	json_out_end(o);
	put_guest(o, p->network);
	rc = json_out_text(o, true, ret, e);
	json_out_free(o);
	return rc;
}
