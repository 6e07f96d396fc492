/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_NET_H
#define TESTS_KIT_NET_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct kit_net - a pod's network namespace and the host's, joined by a veth
 * @pod:  the pod's, with lo and eth0 up; borrowed from the kit until the test ends
 * @host: the other one, with h0, the peer of eth0
 * @path: leads to @pod as long as the process lives
 *
 * The test runs in the pod's namespace; kit_net_in() runs a command in either.
 */
struct kit_net {
	int pod, host;
	char path[64];
};

void kit_net_new(struct kit_net *n);
void kit_net_enter(int netns);
void kit_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void kit_run_in(int netns, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
bool kit_try(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *kit_output(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void kit_same_text(const char *got, const char *want);
char *kit_net_state(void);
bool kit_net_has_kind(const char *kind);
const char *kit_net_missing(bool tc);

#endif
