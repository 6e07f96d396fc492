/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_ATTACH_H
#define NETPLUG_ATTACH_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/journal.h"
#include "netplug/apply.h"
#include "netplug/plan.h"

/* Journals of what was attached, one for each interface. */
#define ATTACH_STATE_DIR "/run/podvm/netplug"

/* Queues that a tap can have (MAX_TAP_QUEUES in the kernel's linux/if_tap.h). */
#define ATTACH_QUEUES_MAX 256

/**
 * struct attach_ask - what the tap shall be like
 * @tap:    its name; empty: one is chosen
 * @uid:    who may open it beside root; UINT32_MAX: nobody
 * @gid:    the same, of a group
 * @queues: pairs, 1 to ATTACH_QUEUES_MAX; with more than one the tap is a multi-queue one
 */
struct attach_ask {
	char tap[SCAN_NAME_BYTES];
	uint32_t uid, gid, queues;
};

#define ATTACH_ASK_INIT                                                                            \
	{                                                                                          \
		.uid = UINT32_MAX, .gid = UINT32_MAX, .queues = 1                                  \
	}

/**
 * struct attach_about - what a journal says of its attachment
 * @path: that led to the network namespace
 * @id:   of the namespace, apply_netns_id()
 * @ask:  @tap is the name that the tap has
 */
struct attach_about {
	char path[PATH_MAX];
	char id[NETNS_ID_BYTES];
	char ifname[SCAN_NAME_BYTES];
	struct attach_ask ask;
};

/**
 * struct attachment - one journal, locked
 * @dirfd: of the state directory, borrowed
 * @lock:  owned; -1: not open
 */
struct attachment {
	int dirfd;
	int lock;
	char name[NAME_MAX + 1];
	struct journal *j;
};

#define ATTACHMENT_INIT                                                                            \
	{                                                                                          \
		.lock = -1                                                                         \
	}

bool attach_name_ok(const char *name);
int attach_interface(int netns_fd, const char *path, const char *ifname,
		     const struct attach_ask *ask, struct attachment *a, struct plan_port *ret,
		     bool *ret_made, struct err *e);
int attach_plan(struct scan *s, const char *ifname, bool network, struct netplug_plan **ret,
		struct err *e);

int attach_store(int *ret_dirfd, struct err *e);
int attachment_open(int dirfd, const char *name, bool make, struct attachment *ret, struct err *e);
bool attachment_empty(const struct attachment *a);
int attachment_about(struct attachment *a, struct attach_about *ret, struct err *e);
int attachment_undo(struct attachment *a, struct err *e);
void attachment_close(struct attachment *a);
int attach_each(int dirfd, const char *prefix,
		int (*fn)(void *arg, int dirfd, const char *name, struct err *e), void *arg,
		struct err *e);
int attach_find(int dirfd, const char *id, const char *ifname, char ret_name[NAME_MAX + 1],
		struct attach_about *ret, struct err *e);

#endif
