// SPDX-License-Identifier: Apache-2.0
/* The host's kernel: version, features, limits, cgroups. */
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "runtime/doctor/doctor.h"

/*
 * clone3 into a cgroup is of 5.7, close_range of 5.9, mount_setattr of 5.12; what is
 * newer is done without where it is missing.
 */
#define KERNEL_MAJOR 5
#define KERNEL_MINOR 12

/* The monitor wants SANDBOX_FILES_MAX (vmm/sandbox.h), a pod with few disks a fraction. */
#define FILES_LEAST 1024
#define FILES_WANTED 32768

/* A pod has about 20 threads on the host, a container two processes. */
#define PIDS_WANTED 16384

static void look_version(struct doctor *d)
{
	_cleanup_free_ char *release = doctor_read(d->host, "/proc/sys/kernel/osrelease");
	unsigned int major = 0, minor = 0;

	if (release)
		release[strcspn(release, "\n")] = 0;
	if (!release || sscanf(release, "%u.%u", &major, &minor) != 2) {
		doctor_found(d, DOCTOR_WARNING, "the kernel does not tell its version");
	} else if (major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR)) {
		doctor_found(d, DOCTOR_ERROR, "kernel %.60s is too old: podvm needs Linux %d.%d (mount_setattr)",
			     release, KERNEL_MAJOR, KERNEL_MINOR);
		doctor_mend(d, "use a newer host kernel; Debian 12 has 6.1");
	} else {
		doctor_found(d, DOCTOR_OK, "kernel %.60s", release);
	}
}

static void look_io_uring(struct doctor *d)
{
	uint64_t off = 0;

	if (!doctor_number(d->host, "/proc/sys/kernel/io_uring_disabled", &off) || !off) {
		doctor_found(d, DOCTOR_OK, "io_uring is not forbidden");
		return;
	}
	doctor_found(d, DOCTOR_NOTE, "kernel.io_uring_disabled is %llu: monitors, which have no privilege, read and write disks one request at a time",
		     (unsigned long long)off);
	doctor_mend(d, "sysctl -w kernel.io_uring_disabled=0");
}

static void look_seccomp(struct doctor *d)
{
	_cleanup_free_ char *actions = doctor_read(d->host, "/proc/sys/kernel/seccomp/actions_avail");

	if (actions && doctor_word(actions, "kill_process")) {
		doctor_found(d, DOCTOR_OK, "the kernel can confine monitors (seccomp filters)");
		return;
	}
	doctor_found(d, DOCTOR_ERROR, "the kernel has no seccomp filters, by which monitors are confined");
	doctor_mend(d, "use a host kernel with CONFIG_SECCOMP_FILTER");
}

static void look_namespaces(struct doctor *d)
{
	static const char *const needed[] = { "mnt", "ipc", "uts", "net" };
	size_t i, bad = 0;
	char path[64];

	for (i = 0; i < ARRAY_LEN(needed); i++) {
		uint64_t max = 1;

		snprintf(path, sizeof(path), "/proc/sys/user/max_%s_namespaces", needed[i]);
		if (!doctor_number(d->host, path, &max)) {
			doctor_found(d, DOCTOR_WARNING, "%s is missing: has the kernel no %s namespaces?",
				     path, needed[i]);
			bad++;
		} else if (max < 64) {
			doctor_found(d, max ? DOCTOR_WARNING : DOCTOR_ERROR,
				     "user.max_%s_namespaces is %llu: each pod needs one or two", needed[i],
				     (unsigned long long)max);
			doctor_mend(d, "sysctl -w user.max_%s_namespaces=16384", needed[i]);
			bad++;
		}
	}
	if (!bad)
		doctor_found(d, DOCTOR_OK, "namespaces can be made");
}

static void files_of_process(struct doctor *d)
{
	uint64_t max = d->host->files_max();

	if (max >= FILES_WANTED) {
		doctor_found(d, DOCTOR_OK, "a process may have %llu descriptors", (unsigned long long)max);
		return;
	}
	doctor_found(d, max < FILES_LEAST ? DOCTOR_ERROR : DOCTOR_WARNING,
		     "a process may have %llu descriptors; a pod with many disks and volumes needs up to %d",
		     (unsigned long long)max, FILES_WANTED);
	doctor_mend(d, "ulimit -Hn 1048576, or LimitNOFILE=1048576 in the engine's unit");
}

static void files_of_host(struct doctor *d)
{
	_cleanup_free_ char *nr = doctor_read(d->host, "/proc/sys/fs/file-nr");
	unsigned long long used = 0, unused = 0, max = 0;

	if (!nr || sscanf(nr, "%llu %llu %llu", &used, &unused, &max) != 3 || used < max / 10 * 9)
		return;
	doctor_found(d, DOCTOR_WARNING, "the host has %llu of at most %llu files open", used, max);
	doctor_mend(d, "sysctl -w fs.file-max=%llu", max > UINT64_MAX / 2 ? max : max * 2);
}

static void at_least(struct doctor *d, const char *path, const char *name, uint64_t want,
		     const char *what)
{
	uint64_t v;

	if (!doctor_number(d->host, path, &v) || v >= want)
		return;
	doctor_found(d, DOCTOR_WARNING, "%s is %llu: %s", name, (unsigned long long)v, what);
	doctor_mend(d, "sysctl -w %s=%llu", name, (unsigned long long)want);
}

static void look_limits(struct doctor *d)
{
	files_of_process(d);
	files_of_host(d);
	at_least(d, "/proc/sys/kernel/pid_max", "kernel.pid_max", PIDS_WANTED,
		 "a pod has some twenty threads on the host");
	at_least(d, "/proc/sys/kernel/threads-max", "kernel.threads-max", PIDS_WANTED,
		 "a pod has some twenty threads on the host");
	at_least(d, "/proc/sys/fs/inotify/max_user_instances", "fs.inotify.max_user_instances", 128,
		 "each pod with configMaps or secrets needs one");
}

static void look_modules(struct doctor *d)
{
	static const struct {
		const char *module, *there, *what;
		enum doctor_severity severity;
	} modules[] = {
		{ "overlay", NULL, "root file systems of containers", DOCTOR_WARNING },
		{ "loop", "/dev/loop-control", "root file systems from images (loop devices)", DOCTOR_NOTE },
		{ "dm_mod", "/dev/mapper/control", "devmapper snapshotters and LVM volumes", DOCTOR_NOTE },
	};
	_cleanup_free_ char *types = doctor_read(d->host, "/proc/filesystems");
	size_t i;

	for (i = 0; i < ARRAY_LEN(modules); i++) {
		enum doctor_module m = doctor_module(d->host, modules[i].module);
		bool there = modules[i].there ? doctor_has(d->host, modules[i].there) :
						types && doctor_word(types, modules[i].module);

		if (there || m == DOCTOR_MODULE_THERE) {
			doctor_found(d, DOCTOR_OK, "%s is there, for %s", modules[i].module, modules[i].what);
		} else if (m == DOCTOR_MODULE_LOADABLE) {
			doctor_found(d, DOCTOR_NOTE, "%s is not loaded yet; it is for %s",
				     modules[i].module, modules[i].what);
			doctor_mend(d, "modprobe %s", modules[i].module);
		} else {
			doctor_found(d, modules[i].severity, "the kernel has no %s: no %s",
				     modules[i].module, modules[i].what);
		}
	}
}

/* Which controllers reach the cgroups of pods. */
static void controllers(struct doctor *d)
{
	static const char *const wanted[] = { "cpu", "memory", "pids" };
	_cleanup_free_ char *all = doctor_read(d->host, "/sys/fs/cgroup/cgroup.controllers");
	_cleanup_free_ char *on = doctor_read(d->host, "/sys/fs/cgroup/cgroup.subtree_control");
	char missing[64] = "", add[64] = "";
	size_t i, n = 0, k = 0;

	for (i = 0; i < ARRAY_LEN(wanted); i++) {
		if (!all || !doctor_word(all, wanted[i]))
			n += (size_t)snprintf(missing + n, sizeof(missing) - n, " %s", wanted[i]);
		else if (!on || !doctor_word(on, wanted[i]))
			k += (size_t)snprintf(add + k, sizeof(add) - k, " +%s", wanted[i]);
	}
	if (n) {
		doctor_found(d, DOCTOR_WARNING, "cgroup controllers are missing:%s: what limits them is not limited on the host", missing);
		doctor_mend(d, "boot the host with cgroup_enable=memory and systemd.unified_cgroup_hierarchy=1; a container needs them delegated");
	}
	if (k) {
		doctor_found(d, DOCTOR_NOTE, "cgroup controllers are not given to children of the root:%s", add);
		doctor_mend(d, "echo '%s' > /sys/fs/cgroup/cgroup.subtree_control", add + 1);
	}
	if (!n && !k)
		doctor_found(d, DOCTOR_OK, "cgroup v2, with cpu, memory and pids");
}

/* Version 1, or both: podvm places its processes in each hierarchy. */
static void look_cgroup_v1(struct doctor *d)
{
	static const char *const wanted[] = { "cpu", "memory", "pids" };
	char missing[64] = "", path[64];
	size_t i, n = 0;

	for (i = 0; i < ARRAY_LEN(wanted); i++) {
		snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/cgroup.procs", wanted[i]);
		if (!doctor_has(d->host, path))
			n += (size_t)snprintf(missing + n, sizeof(missing) - n, " %s", wanted[i]);
	}
	if (n) {
		doctor_found(d, DOCTOR_WARNING, "/sys/fs/cgroup is no cgroup v2 hierarchy, and as v1 it lacks:%s", missing);
		doctor_mend(d, "boot the host with systemd.unified_cgroup_hierarchy=1");
	} else {
		doctor_found(d, DOCTOR_OK, "cgroup v1, with cpu, memory and pids");
	}
}

static void look_cgroup(struct doctor *d)
{
	if (doctor_has(d->host, "/sys/fs/cgroup/cgroup.controllers"))
		controllers(d);
	else
		look_cgroup_v1(d);
}

const struct doctor_check doctor_checks_kernel[] = {
	{ "kernel", "version", look_version },
	{ "io_uring", "whether monitors may use io_uring", look_io_uring },
	{ "seccomp", "whether processes can be confined", look_seccomp },
	{ "namespaces", "limits of namespaces", look_namespaces },
	{ "limits", "descriptors, processes, watches", look_limits },
	{ "modules", "overlay, loop, dm", look_modules },
	{ "cgroup", "hierarchy and controllers", look_cgroup },
	{ NULL, NULL, NULL },
};
