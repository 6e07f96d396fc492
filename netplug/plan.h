/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_PLAN_H
#define NETPLUG_PLAN_H

#include <stdbool.h>

#include "lib/agent.pb-c.h"
#include "netplug/netplug.h"
#include "netplug/scan.h"

/* What is at an interface's ingress hook before we come. */
enum plan_hook { PLAN_HOOK_NONE, PLAN_HOOK_INGRESS, PLAN_HOOK_CLSACT };

/**
 * struct plan_keep - of a tap that outlives its maker, for a VMM that comes later
 * @on:   it is one
 * @uid:  who may open it beside root; UINT32_MAX: nobody
 * @gid:  the same, of a group
 */
struct plan_keep {
	bool on;
	uint32_t uid, gid;
};

/**
 * struct plan_port - one interface that gets a tap beside it, or a macvtap on it
 * @name:    of the interface
 * @kind:    of it, as IFLA_INFO_KIND
 * @ifindex: of the interface
 * @tap:     name that the tap or macvtap gets
 * @model:   any but NETPLUG_AUTO
 * @why:     that model, for people
 * @hook:    of tc: shared where there is one, else an ingress qdisc is made
 * @carrier: it is up, and so is what it is connected with
 * @joined:  it has its tap; @plug_mtu is the MTU that it was joined with
 * @settled: the guest has been told all that the plan has of it
 * @keep:    of the tap that is made
 * @there:   @tap is there and joined already, kept by attach or the CNI plugin, or is the
 *           interface itself
 * @busy:    of a tap that is there: somebody holds it
 * @many:    of a tap that is there: it takes several queues
 * @queues:  of a tap that is there: pairs that its VM shall use; 0: not known
 */
struct plan_port {
	char name[SCAN_NAME_BYTES];
	char kind[SCAN_NAME_BYTES];
	char tap[SCAN_NAME_BYTES];
	uint32_t ifindex;
	uint32_t mtu;
	uint8_t mac[6];
	enum netplug_model model;
	char why[256];
	enum plan_hook hook;
	struct plan_keep keep;
	bool there, busy, many;
	uint32_t queues;
	bool carrier, joined, settled;
	uint32_t plug_mtu;
};

/* Reasons that are kept of what a later plan leaves out. */
#define PLAN_NOTES_MAX 32

/**
 * struct plan_notes - what a later plan leaves out, and why
 * @text: owned, @n of them; there may be more reasons
 */
struct plan_notes {
	char *text[PLAN_NOTES_MAX];
	size_t n;
};

/**
 * struct netplug_plan - what will be done and what the guest gets
 * @network: owned, malloc'd as protobuf-c unpacks it
 * @read_ms: when the namespace was read, of clock_ms()
 * @notes:   of a plan for a namespace that is joined already (plan-again.c), owned; NULL: what
 *           cannot be done is an error
 */
struct netplug_plan {
	struct plan_port port[NETPLUG_PORTS_MAX];
	size_t n_ports;
	Podvm__Network *network;
	struct plan_notes *notes;
	uint64_t read_ms;
};

bool plan_is_kept(const struct scan_link *l);
int plan_kept(const struct scan *s, const struct scan_link *l, struct plan_port *port,
	      struct err *e);
bool plan_ready(const struct scan_link *l, struct plan_port *port);
int plan_port_add(const struct scan *s, const struct scan_link *l, enum netplug_model wanted,
		  struct netplug_plan *p, struct err *e);
int plan_read(int netns_fd, struct scan **ret, struct err *e);
int plan_make(const struct scan *s, const struct netplug_options *o,
	      struct netplug_plan **ret, struct err *e);
int plan_unjoined(const struct scan *s, const struct scan_link *l, struct err *e);
int plan_model(const struct scan *s, const struct scan_link *l, enum netplug_model wanted,
	       struct plan_port *port, struct err *e);
int plan_decide(const struct scan *s, enum netplug_model wanted, struct netplug_plan *p,
		struct err *e);
int plan_make_again(struct scan *s, const struct netplug_plan *now, const uint32_t *apart,
		    size_t n_apart, struct netplug_plan **ret, struct err *e);
bool plan_carrier(const struct scan_link *l);
void plan_notes_free(struct plan_notes *n);
int plan_noted(const struct netplug_plan *p, int rc, const struct err *e);
int plan_network(const struct scan *s, const struct netplug_plan *p,
		 Podvm__Network **ret, struct err *e);
int plan_routes(const struct scan *s, const struct netplug_plan *p,
		uint8_t *taken, Podvm__Network *n, struct err *e);
int plan_rules(const struct scan *s, const struct netplug_plan *p, Podvm__Network *n,
	       struct err *e);
const struct plan_port *plan_port_at(const struct netplug_plan *p,
				     uint32_t ifindex);
bool plan_set_bytes(ProtobufCBinaryData *b, const void *data, size_t len);
void *plan_append(void *list, size_t *n, void *item);

#endif
