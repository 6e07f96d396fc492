// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The monitor faces the guest, so it gives everything up that it does not need.
 * Stages, as main() and vmm/machine.c call them:
 *
 *   1. sandbox_isolate(), before the first message is read: limits; own mount,
 *      IPC and UTS namespaces; an empty read-only root; a user of its own without
 *      groups and capabilities; no_new_privs; not dumpable. After it the process
 *      can only use what arrives as descriptors, of which it has the control
 *      socket and the log.
 *   2. sandbox_enter() (vmm/filter.c), in each thread when the machine is made and
 *      before the guest runs: a system call that is not on the list ends the
 *      process. Nothing can be opened, no socket or process made any more.
 *
 * No network namespace: making one takes about as long as all the rest
 * together, and a process that can make no socket has no use for a network. No
 * file size limit: it would apply to the disks of the pod.
 *
 * A caller without privilege needs user namespaces; then the user stays the
 * caller's, and so do its groups. Where there are none, we refuse, unless told
 * to go on (--weak-sandbox) with stage 2 alone.
 */
#include "vmm/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/emptyroot.h"
#include "lib/fd.h"
#include "lib/mem.h"

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)

static int set_limit(int what, const char *name, rlim_t value, struct err *e)
{
	struct rlimit r;

	if (getrlimit((__rlimit_resource_t)what, &r) < 0)
		return err_sys(e, "getrlimit %s", name);
	if (r.rlim_max != RLIM_INFINITY && value > r.rlim_max && geteuid() != 0)
		value = r.rlim_max;
	r.rlim_cur = r.rlim_max = value;
	if (!setrlimit((__rlimit_resource_t)what, &r))
		return 0;
	/* Root of a container may not raise limits: take what there is. */
	if (getrlimit((__rlimit_resource_t)what, &r) < 0)
		return err_sys(e, "getrlimit %s", name);
	r.rlim_cur = r.rlim_max;
	return setrlimit((__rlimit_resource_t)what, &r) < 0 ? err_sys(e, "setrlimit %s", name)
							   : 0;
}

static int set_limits(struct err *e)
{
	int rc;

	if ((rc = set_limit(RLIMIT_NOFILE, "NOFILE", SANDBOX_FILES_MAX, e)) < 0 ||
	    (rc = set_limit(RLIMIT_NPROC, "NPROC", SANDBOX_PROCS_MAX, e)) < 0 ||
	    (rc = set_limit(RLIMIT_CORE, "CORE", 0, e)) < 0)
		return rc;
	return 0;
}

static int write_map(const char *path, unsigned int id, struct err *e)
{
	char text[40];

	snprintf(text, sizeof(text), "%u %u 1\n", id, id);
	return file_write(AT_FDCWD, path, text, e);
}

/* Return: 0; 1 if they were made in a user namespace of our own; minus errno */
static int unshare_all(struct err *e)
{
	unsigned int uid = geteuid(), gid = getegid();
	int rc;

	if (!unshare(NAMESPACES))
		return 0;
	if (errno != EPERM)
		return err_sys(e, "unshare");
	if (unshare(NAMESPACES | CLONE_NEWUSER) < 0)
		return err_sys(e, "user %u may make no namespaces: run as root or allow user namespaces; --weak-sandbox does without",
			       uid);
	if ((rc = file_write(AT_FDCWD, "/proc/self/setgroups", "deny", e)) < 0 ||
	    (rc = write_map("/proc/self/uid_map", uid, e)) < 0 ||
	    (rc = write_map("/proc/self/gid_map", gid, e)) < 0)
		return rc;
	return 1;
}

static int become(unsigned int id)
{
	if (setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
		return -errno;
	return 0;
}

static int drop_user(struct err *e)
{
	unsigned int id = SANDBOX_UID_BASE + ((unsigned int)getpid() & SANDBOX_UID_MASK);
	int rc;

	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0)
		return err_sys(e, "setgroups");
	rc = become(id);
	if (rc == -EINVAL)
		rc = become(SANDBOX_UID_NOBODY);
	return rc < 0 ? err_set(e, -rc, "cannot become user %u or %u: map one of them",
				id, SANDBOX_UID_NOBODY) : 0;
}

static int drop_privileges(struct err *e)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2];

	memset(none, 0, sizeof(none));
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_sys(e, "PR_CAP_AMBIENT");
	if (syscall(SYS_capset, &h, none) < 0)
		return err_sys(e, "capset");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, "PR_SET_NO_NEW_PRIVS");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(e, "PR_SET_DUMPABLE");
	return 0;
}

/**
 * sandbox_isolate() - stage 1, for the whole process
 * @weak: go on where namespaces cannot be made
 *
 * Return: 0 or minus errno; after a failure the process must not meet a guest
 * Context: one thread only
 */
int sandbox_isolate(bool weak, struct err *e)
{
	int rc, own_user;

	rc = set_limits(e);
	if (rc < 0)
		return rc;
	own_user = unshare_all(e);
	if (own_user < 0 && !weak)
		return own_user;
	if (own_user >= 0 && (rc = emptyroot_enter(e)) < 0)
		return rc;
	if (own_user <= 0 && (rc = drop_user(e)) < 0)
		return rc;
	return drop_privileges(e);
}
