/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_NETPOD_H
#define TESTS_KIT_NETPOD_H

#include <sys/types.h>

#include "netplug/netplug.h"
#include "tests/kit/net.h"
#include "tests/kit/netguest.h"

/* Commands that a test may run: their processes are made before its threads. */
#define NETPOD_RUNNERS 6

/**
 * struct netpod - a pod that netplug has joined to a guest, on two addresses
 *
 * Host 10.1.0.1 and 2001:db8::1 on h0; pod and guest 10.1.0.2 and 2001:db8::2. The test
 * is in the host's namespace.
 *
 * @dir:    where commands leave "out" and "err", borrowed
 * @runner: each waits at @go for what it shall run
 */
struct netpod {
	struct kit_net n;
	struct journal *j;
	struct netplug_plan *p;
	struct netplug_port port[NETPLUG_PORTS_MAX];
	size_t n_ports;
	struct netguest g;
	const char *dir;
	pid_t runner[NETPOD_RUNNERS];
	int go[NETPOD_RUNNERS];
	size_t n_run;
};

void netpod_start(struct netpod *t, const char *dir);
void netpod_end(struct netpod *t);
pid_t netpod_run(struct netpod *t, char **argv);
pid_t netpod_spawn(const char *dir, char **argv);
int netpod_status(pid_t pid);

#endif
