// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What `podvm features` says. Lists come from the tables that the parser itself
 * uses, so that nothing is promised that a config.json cannot have.
 *
 * Source: OCI runtime-spec 1.2, features.md, features-linux.md.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/mem.h"
#include "runtime/spec_impl.h"

/* Prefixes and names of annotations that change what the runtime does. */
static const char *const unsafe_annotations[] = {
	"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID",
	"io.kubernetes.cri-o.PodLinuxOverhead",
	"io.kubernetes.cri-o.PodLinuxResources",
	"io.kubernetes.cri-o.TrustedSandbox", "io.kubernetes.cri.container-type",
	"io.kubernetes.cri.sandbox-", SPEC_DEBUG_SHELL, SPEC_RELAY, SPEC_SCRATCH_SIZE, SPEC_WRITE_BACK, "pod-linux-overhead.crio.io",
	"pod-linux-resources.crio.io",
};

static const char *const hook_names[] = {
	"prestart", "createRuntime", "createContainer", "startContainer", "poststart",
	"poststop",
};

static void names(struct json_out *o, const char *key,
		  const char *(*name)(size_t))
{
	size_t i;

	json_out_arr(o, key);
	for (i = 0; name(i); i++)
		json_out_str(o, NULL, name(i));
	json_out_end(o);
}

static void strings(struct json_out *o, const char *key, const char *const *v,
		    size_t n)
{
	size_t i;

	json_out_arr(o, key);
	for (i = 0; i < n; i++)
		json_out_str(o, NULL, v[i]);
	json_out_end(o);
}

static void enabled(struct json_out *o, const char *key, bool on)
{
	json_out_obj(o, key);
	json_out_bool(o, "enabled", on);
	json_out_end(o);
}

static void seccomp(struct json_out *o)
{
	static const struct {
		const char *key;
		enum seccomp_table table;
	} t[] = {
		{ "actions", SECCOMP_ACTIONS },
		{ "operators", SECCOMP_OPERATORS },
		{ "archs", SECCOMP_ARCHS },
		{ "knownFlags", SECCOMP_KNOWN_FLAGS },
		{ "supportedFlags", SECCOMP_FLAGS },
	};
	size_t i, k;

	json_out_obj(o, "seccomp");
	json_out_bool(o, "enabled", true);
	for (i = 0; i < ARRAY_LEN(t); i++) {
		json_out_arr(o, t[i].key);
		for (k = 0; spec_seccomp_name(t[i].table, k); k++)
			json_out_str(o, NULL, spec_seccomp_name(t[i].table, k));
		json_out_end(o);
	}
	json_out_end(o);
}

/* Of the host; the hierarchy in the guest is always v2. */
static void cgroup(struct json_out *o)
{
	json_out_obj(o, "cgroup");
	json_out_bool(o, "v1", true);
	json_out_bool(o, "v2", true);
	json_out_bool(o, "systemd", true);
	json_out_bool(o, "systemdUser", false);
	json_out_bool(o, "rdma", false);
	json_out_end(o);
}

static void linux_features(struct json_out *o)
{
	json_out_obj(o, "linux");
	names(o, "namespaces", spec_namespace_name);
	names(o, "capabilities", spec_capability_name);
	cgroup(o);
	seccomp(o);
	enabled(o, "apparmor", false);
	enabled(o, "selinux", false);
	enabled(o, "intelRdt", false);
	json_out_obj(o, "mountExtensions");
	enabled(o, "idmap", false);
	json_out_end(o);
	enabled(o, "netDevices", false);
	json_out_end(o);
}

/* Ends the document and writes it. */
static int print(struct json_out *o, FILE *f, struct err *e)
{
	int rc = json_out_print(o, true, f, e);

	if (!rc && (fflush(f) || ferror(f)))
		rc = err_sys(e, "standard output");
	return rc;
}

/**
 * spec_features_print() - write the features document
 * @f: where to
 *
 * Return: 0; -ENOMEM; the errno of a failed write
 * Source: OCI runtime-spec, features.md
 */
int spec_features_print(FILE *f, struct err *e)
{
	struct json_out *o = json_out_new();

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "ociVersionMin", "1.0.0");
	json_out_str(o, "ociVersionMax", "1.2.1");
	strings(o, "hooks", hook_names, ARRAY_LEN(hook_names));
	names(o, "mountOptions", spec_mount_option);
	linux_features(o);
	json_out_obj(o, "annotations");
	json_out_str(o, "org.podvm.version", PODVM_VERSION);
	json_out_end(o);
	strings(o, "potentiallyUnsafeConfigAnnotations", unsafe_annotations,
		ARRAY_LEN(unsafe_annotations));
	return print(o, f, e);
}

/* ---- the example of `podvm spec` ---------------------------------------- */

static const char *const example_caps[] = {
	"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE",
};

static const char *const example_namespaces[] = {
	"cgroup", "ipc", "mount", "network", "pid", "uts",
};

static const char *const example_masked[] = {
	"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
	"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
	"/proc/sched_debug", "/proc/scsi", "/sys/firmware",
	"/sys/devices/virtual/powercap",
};

static const char *const example_readonly[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static const struct {
	const char *destination;
	const char *type;
	const char *source;
	const char *options[7];
} example_mounts[] = {
	{ "/proc", "proc", "proc", { "nosuid", "noexec", "nodev" } },
	{ "/dev", "tmpfs", "tmpfs",
	  { "nosuid", "strictatime", "mode=755", "size=65536k" } },
	{ "/dev/pts", "devpts", "devpts",
	  { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
	    "gid=5" } },
	{ "/dev/shm", "tmpfs", "shm",
	  { "nosuid", "noexec", "nodev", "mode=1777", "size=65536k" } },
	{ "/dev/mqueue", "mqueue", "mqueue", { "nosuid", "noexec", "nodev" } },
	{ "/sys", "sysfs", "sysfs", { "nosuid", "noexec", "nodev", "ro" } },
	{ "/sys/fs/cgroup", "cgroup", "cgroup",
	  { "nosuid", "noexec", "nodev", "relatime", "ro" } },
};

static void example_process(struct json_out *o)
{
	static const char *const args[] = { "sh" };
	static const char *const env[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"TERM=xterm",
	};
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	size_t i;

	json_out_obj(o, "process");
	json_out_bool(o, "terminal", true);
	json_out_obj(o, "user");
	json_out_u64(o, "uid", 0);
	json_out_u64(o, "gid", 0);
	json_out_end(o);
	strings(o, "args", args, ARRAY_LEN(args));
	strings(o, "env", env, ARRAY_LEN(env));
	json_out_str(o, "cwd", "/");
	json_out_obj(o, "capabilities");
	for (i = 0; i < ARRAY_LEN(sets); i++)
		strings(o, sets[i], example_caps, ARRAY_LEN(example_caps));
	json_out_end(o);
	json_out_arr(o, "rlimits");
	json_out_obj(o, NULL);
	json_out_str(o, "type", "RLIMIT_NOFILE");
	json_out_u64(o, "hard", 1024);
	json_out_u64(o, "soft", 1024);
	json_out_end(o);
	json_out_end(o);
	json_out_bool(o, "noNewPrivileges", true);
	json_out_end(o);
}

static void example_mount_list(struct json_out *o)
{
	size_t i, k;

	json_out_arr(o, "mounts");
	for (i = 0; i < ARRAY_LEN(example_mounts); i++) {
		json_out_obj(o, NULL);
		json_out_str(o, "destination", example_mounts[i].destination);
		json_out_str(o, "type", example_mounts[i].type);
		json_out_str(o, "source", example_mounts[i].source);
		json_out_arr(o, "options");
		for (k = 0; example_mounts[i].options[k]; k++)
			json_out_str(o, NULL, example_mounts[i].options[k]);
		json_out_end(o);
		json_out_end(o);
	}
	json_out_end(o);
}

static void example_linux(struct json_out *o)
{
	size_t i;

	json_out_obj(o, "linux");
	json_out_obj(o, "resources");
	json_out_arr(o, "devices");
	json_out_obj(o, NULL);
	json_out_bool(o, "allow", false);
	json_out_str(o, "access", "rwm");
	json_out_end(o);
	json_out_end(o);
	json_out_end(o);
	json_out_arr(o, "namespaces");
	for (i = 0; i < ARRAY_LEN(example_namespaces); i++) {
		json_out_obj(o, NULL);
		json_out_str(o, "type", example_namespaces[i]);
		json_out_end(o);
	}
	json_out_end(o);
	strings(o, "maskedPaths", example_masked, ARRAY_LEN(example_masked));
	strings(o, "readonlyPaths", example_readonly,
		ARRAY_LEN(example_readonly));
	json_out_end(o);
}

/**
 * spec_example_print() - write a config.json that a bundle can start from
 * @f: where to
 *
 * It runs a shell on a terminal in a virtual machine of its own.
 *
 * Return: 0; -ENOMEM; the errno of a failed write
 */
int spec_example_print(FILE *f, struct err *e)
{
	struct json_out *o = json_out_new();

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "ociVersion", "1.2.0");
	example_process(o);
	json_out_obj(o, "root");
	json_out_str(o, "path", "rootfs");
	json_out_bool(o, "readonly", true);
	json_out_end(o);
	json_out_str(o, "hostname", "podvm");
	example_mount_list(o);
	example_linux(o);
	return print(o, f, e);
}
