/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_HOP_H
#define NETPLUG_HOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netplug/netplug.h"
#include "netplug/scan.h"

/* Where a packet of a pod can be seen, from the network to the guest. */
enum hop_side { HOP_HOST, HOP_POD, HOP_TAP, HOP_GUEST, HOP_SIDES };

#define HOPS_MAX (NETPLUG_PORTS_MAX * HOP_SIDES)

/**
 * struct hop - a device that packets pass
 * @name:       of the device
 * @port:       name of the pod's interface whose path it is on
 * @ifindex:    in its namespace: the caller's, the pod's, the pod's, the guest's (0)
 * @rx_inwards: what it receives goes to the guest; else what it sends
 */
struct hop {
	enum hop_side side;
	char name[SCAN_NAME_BYTES];
	char port[SCAN_NAME_BYTES];
	uint32_t ifindex;
	uint8_t mac[6];
	bool rx_inwards;
};

/**
 * struct hops - those of a pod, by port and then by side
 */
struct hops {
	struct hop hop[HOPS_MAX];
	size_t n;
};

const char *hop_side_name(enum hop_side side);
int hop_sides_parse(const char *list, unsigned int *ret_mask, struct err *e);
int hops_nsid(struct nl *nl, int netns_fd, int32_t *ret, struct err *e);
int hops_find(const struct scan *pod, const struct scan *host, int32_t host_nsid,
	      const char *port, struct hops *ret, struct err *e);
int hops_open(int netns_fd, const char *port, struct hops *ret, struct err *e);
const struct hop *hops_at(const struct hops *h, const char *port, enum hop_side side);

#endif
