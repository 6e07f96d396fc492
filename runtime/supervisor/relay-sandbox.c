// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The relay faces the guest's agent, so it gives up what it does not need. Stages:
 *
 *   1. relayd_isolate(): into the pod's network namespace for good; limits; a user of
 *      its own without groups; no capability but CAP_NET_BIND_SERVICE, for ports below
 *      1024; no_new_privs; not dumpable.
 *   2. relayd_filter(), before the agent is talked to: a system call that is not on the
 *      list ends the process. Nothing can be opened by a name, no process be made, and no
 *      socket but of IPv4 and IPv6.
 *
 * What the process can reach then is what is in the pod's network namespace, where the
 * pod's own packets come and go.
 *
 * The filter is written out as BPF for the reason that vmm/filter.c gives: libseccomp
 * takes milliseconds of each pod's start.
 *
 * Source: Linux Documentation/userspace-api/seccomp_filter.rst.
 */
#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/mem.h"
#include "runtime/supervisor/relay.h"

/* Each relay has a user of its own, as each monitor has (vmm/sandbox.h). */
#define UID_BASE 0x7e400000u
#define UID_MASK 0x003fffffu
#define UID_NOBODY 65534u

/* Two for each caller, one for each port and query, and some. */
#define FILES_MAX (2 * RELAYD_CALLERS_MAX + 2 * RELAY_PORTS_MAX + RELAY_QUERIES_MAX + 64)

#define ARG_LOW(n) (offsetof(struct seccomp_data, args) + 8 * (n))

static const uint32_t calls[] = {
	SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_ctl, SYS_read, SYS_write, SYS_recvfrom,
	SYS_sendto, SYS_recvmsg, SYS_sendmsg, SYS_accept4, SYS_bind, SYS_listen, SYS_connect,
	SYS_shutdown, SYS_setsockopt, SYS_getsockopt, SYS_close, SYS_timerfd_settime, SYS_poll,
	SYS_clock_gettime, SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_madvise, SYS_futex,
	SYS_getpid, SYS_gettid, SYS_tgkill, SYS_rt_sigprocmask, SYS_rt_sigreturn,
	SYS_restart_syscall, SYS_exit, SYS_exit_group,
};

static int set_limit(__rlimit_resource_t what, rlim_t value, struct err *e)
{
	struct rlimit r = { .rlim_cur = value, .rlim_max = value };

	return setrlimit(what, &r) < 0 ? err_sys(e, "setrlimit") : 0;
}

static int become(unsigned int id)
{
	return setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0 ? -errno : 0;
}

static int drop(struct err *e)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct some[2] = {
		{ .effective = 1u << CAP_NET_BIND_SERVICE,
		  .permitted = 1u << CAP_NET_BIND_SERVICE },
	};
	int rc;

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0)
		return err_sys(e, "give up groups");
	rc = become(UID_BASE + ((unsigned int)getpid() & UID_MASK));
	if (rc == -EINVAL) /* not mapped in our user namespace */
		rc = become(UID_NOBODY);
	if (rc < 0)
		return err_set(e, -rc, "become another user: %s", strerror(-rc));
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    syscall(SYS_capset, &h, some) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(e, "give up capabilities");
	return 0;
}

/**
 * relayd_isolate() - stage 1
 * @netns_fd: the pod's network namespace, closed
 *
 * Return: 0 or minus errno; after a failure the process must not meet a guest
 * Context: one thread only
 */
int relayd_isolate(int netns_fd, struct err *e)
{
	int rc;

	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return err_sys(e, "enter the pod's network namespace");
	close(netns_fd);
	if ((rc = set_limit(RLIMIT_NOFILE, FILES_MAX, e)) < 0 ||
	    (rc = set_limit(RLIMIT_CORE, 0, e)) < 0)
		return rc;
	return drop(e);
}

/**
 * relayd_filter() - stage 2
 *
 * Return: 0 or minus errno
 */
int relayd_filter(struct err *e)
{
	struct sock_filter f[2 * ARRAY_LEN(calls) + 16];
	struct sock_fprog prog = { .filter = f };
	unsigned short n = 0;
	size_t i;

	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					      offsetof(struct seccomp_data, arch));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					      offsetof(struct seccomp_data, nr));
	for (i = 0; i < ARRAY_LEN(calls); i++) {
		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
		f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 4);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG_LOW(0));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 1, 0);
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	prog.len = n;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) < 0)
		return err_sys(e, "seccomp filter");
	return 0;
}
