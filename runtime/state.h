/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_STATE_H
#define RUNTIME_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/json.h"
#include "runtime/spec.h"

/* Longest id of a container or pod; engines use 64 hexadecimal digits. */
#define STATE_ID_BYTES 129

/* Whose a container is: state directories are root's. */
#define STATE_OWNER "root"

enum state_status { STATE_CREATED, STATE_RUNNING, STATE_STOPPED, STATE_PAUSED };

/**
 * struct state - what is known of a container; strings are owned
 * @pid:       of its shim on the host
 * @pid_start: start time of that process, see proc_start_ticks()
 * @created:   RFC 3339
 * @annotations: JSON text of an object, or NULL
 * @resources: its limits as JSON text, as spec_update() takes them, or NULL
 * @ended:     how its pod's machine ended under it (runtime/life.h); NULL: it did not
 * @boot:      of the host, when @pid was written down, see proc_boot_id(); NULL: not known
 */
struct state {
	char id[STATE_ID_BYTES];
	char pod[STATE_ID_BYTES];
	char *bundle;
	char *rootfs;
	char *oci_version;
	char *created;
	char *annotations;
	char *resources;
	char *ended;
	char *boot;
	enum state_status status;
	pid_t pid;
	uint64_t pid_start;
	int exit_code;
};

/* Visits one entry; a negative return stops the walk. */
typedef int state_fn(void *arg, const char *id, struct err *e);

int state_check_id(const char *id, struct err *e);
int state_root_open(const char *root, struct err *e);
int state_containers_open(int rootfd, struct err *e);
int state_pods_open(int rootfd, struct err *e);
int state_new(const char *id, const char *pod, const char *bundle,
	      const struct spec *spec, struct state **ret, struct err *e);
int state_load(int rootfd, const char *id, struct state **ret, struct err *e);
int state_save(int rootfd, const struct state *s, struct err *e);
int state_remove(int rootfd, const char *id, struct err *e);
void state_sweep(int containers);
int state_each(int dirfd, state_fn *fn, void *arg, struct err *e);
int state_json(const struct state *s, char **ret, struct err *e);
int state_hook_json(const struct state *s, const char *status, char **ret, struct err *e);
int state_hooks(const struct state *s, const char *status, Podvm__Hooks *h, struct err *e);
const char *state_status_name(enum state_status s);
int state_end(struct state *s, int code, const char *ended, struct err *e);
void state_free(struct state *s);

#endif
