/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_PROC_H
#define LIB_PROC_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

/* Most descriptors of a spawned process's map. */
#define PROC_FDS_MAX 32

/* Room for an id of the host's boot. */
#define PROC_BOOT_ID_BYTES 40

/**
 * struct proc_fd - the child's descriptor @child is a copy of ours @fd
 */
struct proc_fd {
	int fd;		/* borrowed */
	int child;
};

/**
 * struct proc_spec - a program to start
 * @path:     program; used as given, not looked up in PATH
 * @argv:     NULL-terminated
 * @envp:     NULL-terminated; NULL keeps ours
 * @fds:      explicit map: every descriptor above 2 that is not here is closed;
 *            0, 1, 2 that are not here become /dev/null
 * @n_fds:    at most PROC_FDS_MAX; numbers in the child are below 512
 * @setsid:   new session and process group
 * @cgroup_fd: directory of the cgroup (v2) that it starts in, above 0, borrowed; 0: ours
 * @before_exec: runs in the child after the map, may be NULL; returns 0 or minus errno;
 *            async-signal-safe calls only if the parent has threads
 * @arg:      for @before_exec
 */
struct proc_spec {
	const char *path;
	char *const *argv;
	char *const *envp;
	const struct proc_fd *fds;
	size_t n_fds;
	int setsid;
	int cgroup_fd;
	int (*before_exec)(void *arg);
	void *arg;
};

int proc_spawn(const struct proc_spec *s, pid_t *ret_pid, int *ret_pidfd,
	       struct err *e);
int proc_wait(int pidfd, int timeout_ms, int *ret_status, struct err *e);
void proc_reap(pid_t pid);
int proc_run(const char *path, char *const *argv, struct err *e);
int proc_pidfd(pid_t pid, uint64_t start_ticks, struct err *e);
int proc_stat(pid_t pid, char **ret, const char **ret_fields);
int proc_start_ticks(pid_t pid, uint64_t *ret, struct err *e);
int proc_kill(int pidfd, int sig);
int proc_cgroup(char path[PATH_MAX]);
int proc_boot_id(char ret[PROC_BOOT_ID_BYTES], struct err *e);
uint64_t clock_ms(void);

#endif
