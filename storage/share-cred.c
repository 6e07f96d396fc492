// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * As whom a share's broker acts. All of it belongs to one thread: these are raw
 * system calls, and share_thread() gives each thread a umask of its own.
 *
 * The guest's kernel has checked who may do what (it knows its processes'
 * groups and capabilities; we could only ask it). So the broker finds, opens and
 * changes files with root's rights over files, but with no others: no device
 * nodes, no quota or reserve overrun, no trusted attributes, no groups.
 *
 * What is made gets the user and group that the guest asks for (setfsuid(2)), and
 * so their quota, the group of a set-group-ID directory, and its ACL. Of root's
 * rights only that over permissions is left meanwhile, since the guest's process may
 * have been allowed by a supplementary group that the protocol does not carry;
 * CAP_FSETID and CAP_FOWNER are gone, as for any other user.
 *
 * Sources: capabilities(7), setfsuid(2), umask(2).
 */
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage/share.h"

#define CAP(name) (1u << (name))

/* SETUID and SETGID are what setfsuid() and setfsgid() need. */
#define KEPT                                                                                       \
	(CAP(CAP_CHOWN) | CAP(CAP_DAC_OVERRIDE) | CAP(CAP_DAC_READ_SEARCH) | CAP(CAP_FOWNER) |     \
	 CAP(CAP_FSETID) | CAP(CAP_SETUID) | CAP(CAP_SETGID) | CAP(CAP_SETFCAP))

#define NOBODY UINT32_MAX

static int set_caps(uint32_t effective)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	d[0].permitted &= KEPT;
	d[0].effective = d[0].permitted & effective;
	d[0].inheritable = 0;
	memset(&d[1], 0, sizeof(d[1]));
	return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

/* Return: 0; -EINVAL where there is no such user or group */
static int set_user(uint32_t uid, uint32_t gid)
{
	syscall(SYS_setfsgid, gid);
	if ((uint32_t)syscall(SYS_setfsgid, NOBODY) != gid)
		return -EINVAL;
	syscall(SYS_setfsuid, uid);
	return (uint32_t)syscall(SYS_setfsuid, NOBODY) != uid ? -EINVAL : 0;
}

static int act(uint32_t uid, uint32_t gid, uint32_t caps)
{
	int rc = set_user(uid, gid);

	if (rc >= 0)
		rc = set_caps(caps);
	if (rc < 0)
		cred_back();
	return rc;
}

/**
 * cred_act() - make files for a user of the guest, until cred_back()
 * @umask_bits: of the process that asks; a directory's default ACL overrides it
 *
 * Return: 0; -EINVAL for a user that does not exist; minus errno: nothing has changed
 */
int cred_act(uint32_t uid, uint32_t gid, uint32_t umask_bits)
{
	int rc = uid || gid ? act(uid, gid, uid ? CAP(CAP_DAC_OVERRIDE) : KEPT) : 0;

	if (rc >= 0)
		umask(umask_bits & 0777);
	return rc;
}

/**
 * cred_act_weak() - as cred_act(), without any right that the user does not have
 */
int cred_act_weak(uint32_t uid, uint32_t gid)
{
	return uid ? act(uid, gid, 0) : 0;
}

/**
 * cred_keep_no_bits() - changes clear set-user-ID and set-group-ID, until cred_back()
 */
void cred_keep_no_bits(void)
{
	set_caps(KEPT & ~CAP(CAP_FSETID));
}

/**
 * cred_back() - be the broker again
 */
void cred_back(void)
{
	set_user(0, 0);
	set_caps(KEPT);
	umask(0);
}

/**
 * share_thread() - prepare the calling thread for share_call()
 *
 * It keeps rights over files and loses all others, and its groups, for good.
 *
 * Return: 0 or minus errno: the thread must not serve
 * Context: a thread that serves shares and does nothing else
 */
int share_thread(struct err *e)
{
	int rc;

	if (unshare(CLONE_FS) < 0)
		return err_sys(e, "share: unshare");
	umask(0);
	if (syscall(SYS_setgroups, 0, NULL) < 0)
		return err_sys(e, "share: setgroups");
	rc = set_caps(KEPT);
	return rc < 0 ? err_set(e, -rc, "share: capabilities") : 0;
}
