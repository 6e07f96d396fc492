/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_CGROUP_H
#define RUNTIME_CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/journal.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

/* Version 1 has at most one for each controller, and one of systemd's. */
#define CGROUP_HIERARCHIES_MAX 16

/* Longest name of a unit, with its NUL (systemd.unit(5)). */
#define CGROUP_UNIT_BYTES 256

/* Why a cgroup was not removed: it has processes, or children. */
#define CGROUP_BUSY 1
#define CGROUP_PARENT 2

/**
 * struct cgroup_hierarchy - one that processes are placed in
 * @dir:         where it is mounted, below CGROUP_ROOT
 * @controllers: of version 1, as the kernel lists them: "cpu,cpuacct"
 */
struct cgroup_hierarchy {
	char dir[64];
	char controllers[64];
};

/**
 * struct cgroup_host - the hierarchies of this host
 * @unified: it is one, of version 2
 */
struct cgroup_host {
	bool unified;
	size_t n;
	struct cgroup_hierarchy h[CGROUP_HIERARCHIES_MAX];
};

/**
 * struct cgroup - a place for processes on this host
 * @path:  below the root of each hierarchy; begins with a slash
 * @unit:  systemd's scope that it is; empty: it is made by us
 * @slice: of @unit
 * @begun: it is there
 * @scope_mark, @from, @to: its records in the journal
 */
struct cgroup {
	char path[PATH_MAX];
	char unit[CGROUP_UNIT_BYTES], slice[CGROUP_UNIT_BYTES];
	bool begun;
	size_t scope_mark, from, to;
};

/* cgroup_host.c */
int cgroup_host_read(struct cgroup_host *ret, struct err *e);
int cgroup_host_parse(char *mountinfo, struct cgroup_host *ret, struct err *e);
const struct cgroup_hierarchy *cgroup_host_find(const struct cgroup_host *h,
						const char *controller);

/* cgroup_name.c */
int cgroup_of_container(const char *cgroups_path, const char *id, bool systemd,
			struct cgroup *ret, struct err *e);
int cgroup_of_pod(const char *cgroups_path, const char *pod, bool systemd,
		  struct cgroup *ret, struct err *e);
uint64_t cgroup_weight(uint64_t shares);

/* cgroup.c */
int cgroup_make(const struct cgroup_host *h, const char *path, struct journal *j,
		size_t *ret_from, struct err *e);
int cgroup_enter(const struct cgroup_host *h, const char *path, pid_t pid, struct err *e);
int cgroup_open(const struct cgroup_host *h, const char *path, int *ret_fd, struct err *e);
void cgroup_enable(const struct cgroup_host *h, const char *path, const char *controller,
		   bool parents);
int cgroup_set(const struct cgroup_host *h, const char *path, const char *v2_file,
	       const char *v1_file, uint64_t value, struct err *e);
int cgroup_set_list(const struct cgroup_host *h, const char *path, const char *file,
		    const char *list, struct err *e);
int cgroup_weigh(const struct cgroup_host *h, const struct cgroup *c, uint64_t cpu_shares,
		 struct err *e);
int cgroup_remove(const char *dir, bool wait, struct err *e);
int cgroup_undo(const struct journal_rec *r, bool *busy, struct err *e);
int cgroup_begin(const struct cgroup_host *h, struct cgroup *c, const char *description,
		 pid_t pid, uint64_t cpu_shares, struct journal *j, struct err *e);
int cgroup_end(struct cgroup *c, struct journal *j, struct err *e);

#endif
