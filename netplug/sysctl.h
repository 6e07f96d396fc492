/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_SYSCTL_H
#define NETPLUG_SYSCTL_H

#include <stdint.h>

#include "lib/agent.pb-c.h"
#include "lib/err.h"

struct netplug_plan;
struct nlattr;
struct scan;
struct scan_link;

/* Room for the settings of one family that an interface has, by their numbers. */
#define SYSCTL_CONF_MAX 64

/* A setting that the kernel does not have. */
#define SYSCTL_NONE INT32_MIN

/* Rows of the table of single settings, at most. */
#define SYSCTL_OTHER_MAX 96

/**
 * struct sysctl_conf - net.ipv4.conf or net.ipv6.conf of an interface
 * @value: by IPV4_DEVCONF_* or DEVCONF_*; SYSCTL_NONE beyond what the kernel told
 */
struct sysctl_conf {
	int32_t value[SYSCTL_CONF_MAX];
};

/**
 * struct sysctls - what a namespace has beside the settings of its interfaces
 * @all, @dflt: net.FAMILY.conf.all and .default; IPv4, IPv6; by rows of the tables
 * @other:      by rows of their table, owned; NULL: the kernel has none of that name
 * @host:       the same in the namespace of the caller, where that is needed
 */
struct sysctls {
	int32_t all[2][SYSCTL_CONF_MAX], dflt[2][SYSCTL_CONF_MAX];
	char *other[SYSCTL_OTHER_MAX], *host[SYSCTL_OTHER_MAX];
};

void sysctl_of_link(const struct nlattr *af_spec, struct scan_link *l);
int sysctl_read(int netns_fd, struct scan *s, struct err *e);
void sysctl_free(struct sysctls *c);
int sysctl_plan(const struct scan *s, const struct netplug_plan *p, Podvm__Network *n,
		struct err *e);

#endif
