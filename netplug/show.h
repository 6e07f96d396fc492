/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_SHOW_H
#define NETPLUG_SHOW_H

#include <limits.h>
#include <stdio.h>

#include "netplug/guest.h"
#include "netplug/scan.h"
#include "netplug/target.h"

/**
 * struct show_view - a pod's network at one moment
 * @scan:      of its namespace, owned
 * @machine:   what the supervisor told, owned; NULL: nothing
 * @guest_why: why there is no @guest; empty where the namespace is no pod's
 * @pod:       its id, or empty
 * @ms:        when, of a clock that only goes forward
 */
struct show_view {
	struct scan *scan;
	Podvm__Pod__Response *machine;
	struct guest_half guest;
	struct err guest_why;
	char pod[NAME_MAX + 1];
	uint64_t ms;
};

enum show_how { SHOW_TEXT, SHOW_JSON, SHOW_JSON_LINE };

int show_print(const struct show_view *now, const struct show_view *was, const char *netns,
	       enum show_how how, FILE *f, struct err *e);

#endif
