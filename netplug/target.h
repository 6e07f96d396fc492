/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_TARGET_H
#define NETPLUG_TARGET_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/agent.h"
#include "lib/err.h"
#include "lib/opt.h"
#include "lib/pod.h"

/**
 * struct target - the network namespace that a command is about, and its pod
 * @word:     TARGET as it was given, or NULL; as are --netns, --pid and --root
 * @pid:      UINT64_MAX if not given
 * @shown:    the namespace for people
 * @path:     leads to the namespace, for nsenter(1)
 * @netns_fd: owned; -1: not open
 * @pod:      whose namespace it is; empty: that of no pod below --root
 * @sock:     connection to the pod's supervisor, owned; -1: there is none
 */
struct target {
	const char *word;
	const char *netns;
	const char *root;
	uint64_t pid;
	bool json;
	bool help;
	char shown[192];
	char path[PATH_MAX];
	int netns_fd;
	char pod[NAME_MAX + 1];
	int sock;
};

#define TARGET_INIT { .pid = UINT64_MAX, .root = POD_DEFAULT_ROOT, .netns_fd = -1, .sock = -1 }

/* What --help says of TARGET, behind the text of the command. */
#define TARGET_HELP \
	"TARGET is a pod's or container's id as podvm list shows it, a network namespace\n" \
	"(a path, or a name as ip netns list shows it), or a process's id. Without one:\n" \
	"the namespace of the caller.\n" \
	"\n"

#define TARGET_OPTIONS(t) \
	OPT_STR(0, "netns", &(t).netns, "PATH", "network namespace, as /run/netns/NAME"), \
	OPT_U64(0, "pid", &(t).pid, "PID", "network namespace of a process"), \
	OPT_STR(0, "root", &(t).root, "DIR", "podvm's state directory (default " POD_DEFAULT_ROOT ")"), \
	OPT_FLAG(0, "json", &(t).json, "JSON instead of text"), \
	OPT_FLAG('h', "help", &(t).help, "this text")

int target_parse(const struct opt *table, struct target *t, int argc, char **argv,
		 const char *help, struct err *e);
int target_open(struct target *t, struct err *e);
int target_network(const struct target *t, Podvm__Pod__Response **ret, struct err *e);
int target_agent(const struct target *t, struct agent *ret, struct err *e);
int target_container_pod(int rootfd, const char *id, char pod[NAME_MAX + 1], struct err *e);
void target_close(struct target *t);

#endif
