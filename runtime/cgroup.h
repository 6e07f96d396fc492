/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_CGROUP_H
#define RUNTIME_CGROUP_H

#include <stddef.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/journal.h"

int cgroup_of_container(const char *cgroups_path, const char *id, char *dst,
			size_t room, struct err *e);
int cgroup_of_pod(const char *cgroups_path, const char *pod, char *dst,
		  size_t room, struct err *e);
int cgroup_of_monitor(const char *pod_cgroup, char *dst, size_t room, struct err *e);
int cgroup_open(const char *path, int *ret_fd, struct err *e);
int cgroup_make(const char *path, struct journal *j, struct err *e);
int cgroup_enter(const char *path, pid_t pid, struct err *e);
int cgroup_remove(const char *path, struct err *e);
int cgroup_undo(const struct journal_rec *r, struct err *e);

#endif
