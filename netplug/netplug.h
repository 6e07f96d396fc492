/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_NETPLUG_H
#define NETPLUG_NETPLUG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/agent.pb-c.h"
#include "lib/err.h"
#include "lib/journal.h"

/* Ports of one pod; a namespace with more interfaces is refused by name. */
#define NETPLUG_PORTS_MAX 16

/* Ends of one tap: each serves a pair of queues of the VM. */
#define NETPLUG_TAPS_MAX 8

struct netplug_plan;
struct netplug_watch;

/* How an interface is joined. */
enum netplug_model {
	NETPLUG_AUTO,			/* tc, or macvtap where something is in tc's way */
	NETPLUG_TC,			/* a tap beside it, and redirects between them */
	NETPLUG_MACVTAP,		/* a macvtap on it, in bridge mode */
	NETPLUG_MACVTAP_PASSTHRU,	/* the same, in passthru mode */
	NETPLUG_MODELS
};

/**
 * struct netplug_options - what the caller chooses
 * @model: for each interface
 */
struct netplug_options {
	enum netplug_model model;
};

/**
 * struct netplug_port - one interface of the pod, joined to the VM
 * @name:   of the interface in the pod's network namespace
 * @mac:    that the guest takes
 * @mtu:    bytes
 * @ifindex: of the interface
 * @from, @to: its records in the journal, as journal_mark() counts
 * @n_taps: ends of its tap
 * @tap_fd: with IFF_VNET_HDR, and IFF_MULTI_QUEUE where there are several; owned by
 *          the holder of the port, netplug_port_close()
 */
struct netplug_port {
	char name[16];
	uint8_t mac[6];
	uint32_t mtu;
	uint32_t ifindex;
	size_t from, to;
	size_t n_taps;
	int tap_fd[NETPLUG_TAPS_MAX];
};

const char *netplug_model_name(enum netplug_model m);
int netplug_model_parse(const char *text, enum netplug_model *ret, struct err *e);
int netplug_plan(int netns_fd, const struct netplug_options *o, struct netplug_plan **ret,
		 struct err *e);
void netplug_plan_free(struct netplug_plan *p);
const Podvm__Network *netplug_plan_network(const struct netplug_plan *p);
int netplug_plan_json(const struct netplug_plan *p, char **ret, struct err *e);
int netplug_apply(const struct netplug_plan *p, int netns_fd,
		  const char *netns_path, size_t taps, struct journal *j,
		  struct netplug_port ret_ports[NETPLUG_PORTS_MAX],
		  size_t *ret_n_ports, struct err *e);
void netplug_port_close(struct netplug_port *p);
int netplug_undo(const struct journal_rec *r, struct err *e);

/* ---- a namespace that changes while the VM runs --------------------------------- */

/**
 * struct netplug_diff - what became of a plan
 * @gone:   indexes of interfaces that are not joined any more, or must be joined anew
 * @fresh:  numbers of ports of the new plan that are to be joined
 * @add:    what the guest must be told; what its arrays lead to is the new plan's
 * @remove: what it must take back; the old plan's
 * @made:   owned, @n_made messages that are of neither
 */
struct netplug_diff {
	uint32_t gone[NETPLUG_PORTS_MAX];
	size_t n_gone;
	size_t fresh[NETPLUG_PORTS_MAX];
	size_t n_fresh;
	Podvm__Network add, remove;
	void **made;
	size_t n_made;
};

int netplug_watch_new(int netns_fd, struct netplug_watch **ret, struct err *e);
void netplug_watch_free(struct netplug_watch *w);
int netplug_watch_fd(const struct netplug_watch *w);
bool netplug_watch_read(struct netplug_watch *w);

int netplug_plan_again(int netns_fd, const struct netplug_plan *now, const uint32_t *apart,
		       size_t n_apart, struct netplug_plan **ret, struct err *e);
const char *netplug_plan_note(const struct netplug_plan *p, size_t i);
void netplug_plan_settle(struct netplug_plan *p);
bool netplug_plan_follows(const struct netplug_plan *p);
size_t netplug_plan_ports(const struct netplug_plan *p);
void netplug_plan_port(const struct netplug_plan *p, size_t i, struct netplug_port *ret,
		       bool *ret_carrier);
int netplug_plan_link(const struct netplug_plan *p, size_t i, Podvm__Network *ret,
		      struct err *e);
int netplug_apply_port(struct netplug_plan *p, size_t i, int netns_fd, const char *netns_path,
		       size_t taps, struct journal *j, struct netplug_port *ret, struct err *e);
int netplug_leave(const struct netplug_port *port, struct journal *j, struct err *e);
int netplug_set_mtu(const struct netplug_plan *p, size_t i, int netns_fd, struct err *e);
int netplug_diff(const struct netplug_plan *old, const struct netplug_plan *now, bool sure,
		 struct netplug_diff *ret, struct err *e);
void netplug_diff_done(struct netplug_diff *d);
bool netplug_diff_tells(const struct netplug_diff *d);

#endif
