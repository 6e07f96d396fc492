/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_NETPLUG_H
#define NETPLUG_NETPLUG_H

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
 * @n_taps: ends of its tap
 * @tap_fd: with IFF_VNET_HDR, and IFF_MULTI_QUEUE where there are several; owned by
 *          the holder of the port, netplug_port_close()
 */
struct netplug_port {
	char name[16];
	uint8_t mac[6];
	uint32_t mtu;
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

#endif
