// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Good configurations are files of tests/assets/ok-spec-*, as crun, podman,
 * CRI-O and containerd write them; bad ones are one change
 * each to a configuration that has nearly everything, tests/fuzz/corpus/spec/
 * full.json, and bundles of tests/assets/fail-spec-*, whose file "error" holds
 * what must be said. Compiled seccomp filters are installed and asked. Last come
 * configurations that are cut or damaged anywhere: they may fail, no more.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/spec.h"
#include "runtime/spec_impl.h"
#include "tests/kit/kit.h"

#define ASSETS "tests/assets/"
#define FULL "tests/fuzz/corpus/spec/full.json"

static char bundle[] = "/tmp/podvm-spec-XXXXXX";
static int bundle_fd = -1;

static void setup(void)
{
	strcpy(bundle + sizeof(bundle) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(bundle));
	bundle_fd = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(bundle_fd, 0);
	ck_assert_int_eq(mkdirat(bundle_fd, "rootfs", 0755), 0);
	ck_assert_int_eq(symlinkat("rootfs", bundle_fd, "inside"), 0);
	ck_assert_int_eq(symlinkat("../../etc", bundle_fd, "outside"), 0);
	ck_assert_int_eq(symlinkat("/etc", bundle_fd, "absolute"), 0);
	ck_assert_int_eq(file_write(bundle_fd, "file", "x", NULL), -ENOENT);
	ck_assert_int_eq(file_replace(bundle_fd, "file", "x", 1, 0644, NULL), 0);
}

static void teardown(void)
{
	struct err e = { 0 };

	ck_assert_msg(!dir_remove(AT_FDCWD, bundle, &e), "%s", e.text);
	close(bundle_fd);
}

static struct json_object *asset(const char *path)
{
	struct json_object *o = json_object_from_file(path);

	ck_assert_msg(o != NULL, "%s: %s", path, json_util_get_last_err());
	return o;
}

static void patch(struct json_object *o, const char *path, const char *json)
{
	struct json_object *v = strcmp(json, "null") ? json_tokener_parse(json) : NULL;

	ck_assert_msg(v || !strcmp(json, "null"), "%s: bad test value", json);
	ck_assert_msg(!json_pointer_set(&o, path, v), "%s: no such place", path);
}

/* Takes @o. */
static int load(struct json_object *o, struct spec **ret, struct err *e)
{
	const char *text = json_object_to_json_string(o);
	int rc = file_replace(bundle_fd, "config.json", text, strlen(text), 0644, e);

	json_object_put(o);
	return rc ? rc : spec_load(bundle, ret, e);
}

static struct spec *load_good(struct json_object *o)
{
	struct err e = { 0 };
	struct spec *s = NULL;
	int rc = load(o, &s, &e);

	ck_assert_msg(!rc, "%s", e.text);
	ck_assert_ptr_nonnull(s);
	return s;
}

static const char *cgroup(const struct spec *s, const char *file)
{
	const char *value = NULL;
	size_t i;

	for (i = 0; i < s->create->n_cgroup; i++)
		if (!strcmp(s->create->cgroup[i]->key, file))
			value = s->create->cgroup[i]->value;
	return value;
}

static const Podvm__Mount *mount_at(const struct spec *s, const char *where)
{
	size_t i;

	for (i = 0; i < s->create->n_mounts; i++)
		if (!strcmp(s->create->mounts[i]->destination, where))
			return s->create->mounts[i];
	ck_abort_msg("no mount at %s", where);
}

/* 0 new, 1 the pod's, -1 not there. */
static int shared(const struct spec *s, Podvm__Namespace__Type t)
{
	size_t i;

	for (i = 0; i < s->create->n_namespaces; i++)
		if (s->create->namespaces[i]->type == t)
			return s->create->namespaces[i]->shared;
	return -1;
}

/* ---- refusals -------------------------------------------------------------- */

static const struct refusal {
	const char *path, *json, *want;
} refusals[] = {
	{ "/ociVersion", "null", "/ociVersion: missing" },
	{ "/ociVersion", "\"2.0.0\"", "/ociVersion: \"2.0.0\": not supported" },
	{ "/ociVersion", "\"1.x\"", "/ociVersion: \"1.x\": not a version" },
	{ "/ociVersion", "1", "/ociVersion: must be string" },
	{ "/vm", "{\"kernel\":{}}", "/vm: not supported" },
	{ "/windows", "{\"a\":1}", "/windows: not supported" },
	{ "/solaris", "{\"a\":1}", "/solaris: not supported" },
	{ "/zos", "{\"a\":1}", "/zos: not supported" },
	{ "/root", "null", "/root: missing" },
	{ "/root/path", "null", "/root/path: missing" },
	{ "/root/path", "\"\"", "/root/path: missing" },
	{ "/root/path", "\"nowhere\"", "/root/path: root file system \"nowhere\"" },
	{ "/root/path", "\"file\"", "/root/path: root file system \"file\"" },
	{ "/root/path", "\"../..\"", "/root/path: \"../..\": a path out of the bundle" },
	{ "/root/path", "\"rootfs/../../x\"", "a path out of the bundle" },
	{ "/root/path", "\"outside\"", "a path out of the bundle by a symbolic link" },
	{ "/root/path", "\"absolute\"", "a path out of the bundle by a symbolic link" },
	{ "/root/path", "\"/\"", "/root/path: not supported: it is the host's own" },
	{ "/root/path", "\"/proc/self/root\"", "/root/path: root file system" },
	{ "/root/readonly", "\"yes\"", "/root/readonly: must be boolean" },
	{ "/hostname", "\"a b\"", "/hostname: \"a b\"" },
	{ "/hostname", "\"-x\"", "/hostname: \"-x\"" },
	{ "/hostname", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
	  "/hostname: longer than 64" },
	{ "/domainname", "\"a/b\"", "/domainname: \"a/b\"" },
	{ "/annotations", "{\"a\":1}", "/annotations/a: must be string" },
	{ "/annotations", "{\"\":\"1\"}", "/annotations: a key must not be empty" },
	{ "/annotations", "{\"io.kubernetes.cri-o.ContainerType\":\"pod\"}",
	  "/annotations/io.kubernetes.cri-o.ContainerType: must be" },
	{ "/annotations", "{\"io.kubernetes.cri-o.ContainerType\":\"container\"}",
	  "/annotations/io.kubernetes.cri-o.SandboxID: missing" },
	{ "/annotations", "{\"io.kubernetes.cri.container-type\":\"container\"}",
	  "/annotations/io.kubernetes.cri.sandbox-id: missing" },
	{ "/annotations", "{\"io.kubernetes.cri.container-type\":\"container\","
	  "\"io.kubernetes.cri.sandbox-id\":\"../x\"}",
	  "/annotations/io.kubernetes.cri.sandbox-id: \"../x\": not a pod's name" },
	{ "/annotations", "{\"io.kubernetes.cri.container-type\":\"container\","
	  "\"io.kubernetes.cri.sandbox-id\":\"a\","
	  "\"io.kubernetes.cri-o.ContainerType\":\"container\","
	  "\"io.kubernetes.cri-o.SandboxID\":\"b\"}", "disagree" },
	{ "/annotations", "{\"io.kubernetes.container.name\":\"POD\","
	  "\"io.kubernetes.cri-o.ContainerType\":\"container\","
	  "\"io.kubernetes.cri-o.SandboxID\":\"another\"}",
	  "/annotations/io.kubernetes.cri-o.ContainerType: container, but "
	  "io.kubernetes.container.name says that it is its pod's sandbox" },
	{ "/annotations", "{\"io.podvm.network-model\":\"bridge\"}",
	  "/annotations/io.podvm.network-model: must be auto, tc, macvtap or macvtap-passthru, not \"bridge\"" },
	{ "/annotations", "{\"io.podvm.write-back\":\"yes\"}",
	  "/annotations/io.podvm.write-back: must be auto, on or off" },
	{ "/annotations", "{\"io.podvm.relay\":\"on\"}",
	  "/annotations/io.podvm.relay: must be auto or off" },
	{ "/annotations", "{\"io.podvm.relay\":\"\"}",
	  "/annotations/io.podvm.relay: must be auto or off" },
	{ "/annotations", "{\"io.podvm.scratch-size\":\"3M\"}",
	  "/annotations/io.podvm.scratch-size: must be a size" },
	{ "/annotations", "{\"io.podvm.scratch-size\":\"16001G\"}",
	  "/annotations/io.podvm.scratch-size: must be a size" },
	{ "/annotations", "{\"io.podvm.scratch-size\":\"\"}",
	  "/annotations/io.podvm.scratch-size: must be a size" },
	{ "/annotations", "{\"io.podvm.scratch-size\":\"10X\"}",
	  "/annotations/io.podvm.scratch-size: must be a size" },
	{ "/annotations", "{\"io.kubernetes.cri.sandbox-memory\":\"1G\"}",
	  "/annotations/io.kubernetes.cri.sandbox-memory: must be a number" },
	{ "/annotations", "{\"pod-linux-resources.crio.io\":\"{\"}",
	  "/annotations/pod-linux-resources.crio.io: not valid JSON" },
	{ "/annotations", "{\"pod-linux-overhead.crio.io\":\"{\\\"memory_limit_in_bytes\\\":\\\"1\\\"}\"}",
	  "/annotations/pod-linux-overhead.crio.io: /memory_limit_in_bytes" },
	{ "/process", "null", "/process: missing" },
	{ "/process", "[]", "/process: must be object" },
	{ "/process/args", "null", "/process/args: must name a program" },
	{ "/process/args", "[]", "/process/args: must name a program" },
	{ "/process/args", "[\"\"]", "/process/args: must name a program" },
	{ "/process/args", "[1]", "/process/args/0: must be string" },
	{ "/process/args", "[\"a\\u0000b\"]", "/process/args/0: holds a NUL" },
	{ "/process/cwd", "null", "/process/cwd: missing" },
	{ "/process/cwd", "\"tmp\"", "/process/cwd: must be an absolute path" },
	{ "/process/env", "[\"A=b\",\"PATH\"]", "/process/env: entry 1 must be" },
	{ "/process/env", "[\"=b\"]", "/process/env: entry 0 must be" },
	{ "/process/commandLine", "\"a b\"", "/process/commandLine: not supported" },
	{ "/process/user/uid", "4294967295", "/process/user/uid: must be below" },
	{ "/process/user/uid", "-1", "/process/user/uid: must not be negative" },
	{ "/process/user/gid", "\"0\"", "/process/user/gid: must be int" },
	{ "/process/user/umask", "512", "/process/user/umask: must be 0 to 511" },
	{ "/process/user/username", "\"root\"", "/process/user/username: not supported" },
	{ "/process/user/additionalGids", "[5,\"x\"]", "/process/user/additionalGids/1" },
	{ "/process/user/additionalGids", "[4294967295]",
	  "/process/user/additionalGids/0: must be below" },
	{ "/process/capabilities/bounding", "[\"CAP_KILL\",1]",
	  "/process/capabilities/bounding/1: must be string" },
	{ "/process/rlimits/0/type", "\"RLIMIT_FUN\"", "/process/rlimits/0/type: unknown" },
	{ "/process/rlimits/0/soft", "2000", "/process/rlimits/0/soft: must not be above" },
	{ "/process/rlimits/0/soft", "null", "/process/rlimits/0: RLIMIT_NOFILE needs" },
	{ "/process/rlimits/-", "{\"type\":\"RLIMIT_NOFILE\",\"soft\":1,\"hard\":1}",
	  "/process/rlimits/1/type: RLIMIT_NOFILE is given twice" },
	{ "/process/apparmorProfile", "\"crio-default\"",
	  "/process/apparmorProfile: \"crio-default\": not supported" },
	{ "/process/selinuxLabel", "\"system_u:system_r:container_t:s0\"",
	  "/process/selinuxLabel: not supported" },
	{ "/process/oomScoreAdj", "1001", "/process/oomScoreAdj: must be -1000" },
	{ "/process/consoleSize", "{\"height\":70000,\"width\":1}",
	  "/process/consoleSize: at most" },
	{ "/process/terminal", "1", "/process/terminal: must be boolean" },
	{ "/process/noNewPrivileges", "1", "/process/noNewPrivileges: must be boolean" },
	{ "/mounts/0", "{\"destination\":\"/x\",\"type\":\"none\",\"source\":\"/y\"}",
	  "/mounts/0/type: \"none\": not supported" },
	{ "/mounts/0", "{\"destination\":\"/x\",\"type\":\"bind\"}", "/mounts/0/source: missing" },
	{ "/mounts/0", "{\"destination\":\"/x\",\"options\":[\"bind\"],\"source\":\"\"}",
	  "/mounts/0/source: missing" },
	{ "/mounts/0", "{\"destination\":\"/x\",\"source\":\"/y\",\"options\":[\"bind\",\"size=1m\"]}",
	  "/mounts/0/options: \"size=1m\": means nothing to a bind mount" },
	{ "/mounts/0", "{\"destination\":\"/x\",\"source\":\"/y\",\"options\":[\"bind\",\"rshared\"]}",
	  "/mounts/0/options: not supported: shared propagation" },
	{ "/mounts/0", "{\"destination\":\"/x\",\"source\":\"/y\",\"options\":[\"bind\",\"shared\"]}",
	  "/mounts/0/options: not supported: shared propagation" },
	{ "/mounts/0", "{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/y\",\"options\":[\"unbindable\"]}",
	  "/mounts/0/options: not supported: unbindable" },
	{ "/mounts/0", "{\"destination\":\"/x\",\"source\":\"/y\",\"options\":[\"bind\",\"remount\"]}",
	  "/mounts/0/options: remount: means nothing" },
	{ "/mounts/0/type", "null", "/mounts/0/type: missing" },
	{ "/mounts/0/type", "\"ext4\"", "/mounts/0/type: \"ext4\": not supported" },
	{ "/mounts/0/destination", "null", "/mounts/0/destination: missing" },
	{ "/mounts/0/destination", "\"\"", "/mounts/0/destination: must lie below" },
	{ "/mounts/0/destination", "\"/a/../..\"", "/mounts/0/destination: \"/a/../..\"" },
	{ "/mounts/0/destination", "\"//.\"", "/mounts/0/destination: must lie below" },
	{ "/mounts/0/options", "[\"tmpcopyup\"]", "/mounts/0/options: tmpcopyup: is for a tmpfs" },
	{ "/mounts/0", "{\"destination\":\"/x\",\"source\":\"/y\",\"options\":[\"bind\",\"tmpcopyup\"]}",
	  "/mounts/0/options: tmpcopyup: is for a tmpfs" },
	{ "/mounts/1/options/0", "\"idmap\"", "/mounts/1/options/0: not supported" },
	{ "/mounts/1/options/0", "7", "/mounts/1/options/0: must be string" },
	{ "/mounts/0/uidMappings", "[{\"containerID\":0,\"hostID\":1,\"size\":1}]",
	  "/mounts/0/uidMappings: not supported" },
	{ "/mounts/0/gidMappings", "[{\"containerID\":0,\"hostID\":1,\"size\":1}]",
	  "/mounts/0/gidMappings: not supported" },
	{ "/hooks/createContainer", "[{\"path\":\"true\"}]",
	  "/hooks/createContainer/0/path: must be an absolute" },
	{ "/hooks/startContainer", "[{\"path\":\"/bin/true\",\"args\":[2]}]",
	  "/hooks/startContainer/0/args/0: must be" },
	{ "/hooks/prestart/0/path", "\"true\"", "/hooks/prestart/0/path: must be an absolute" },
	{ "/hooks/poststop/0/path", "null", "/hooks/poststop/0/path: missing" },
	{ "/hooks/poststart/0/timeout", "0", "/hooks/poststart/0/timeout: must be greater" },
	{ "/hooks/createRuntime/0/args", "[1]", "/hooks/createRuntime/0/args/0: must be" },
	{ "/hooks/createRuntime/0/env", "\"A=b\"", "/hooks/createRuntime/0/env: must be" },
	{ "/linux", "null", "/linux: missing" },
	{ "/linux/namespaces", "null", "/linux/namespaces: no \"network\"" },
	{ "/linux/namespaces/1", "{\"type\":\"cgroup\"}",
	  "/linux/namespaces: no \"network\": the host's network (hostNetwork" },
	{ "/linux/namespaces/0", "{\"type\":\"cgroup\"}", "/linux/namespaces: no \"pid\"" },
	{ "/linux/namespaces/2", "{\"type\":\"cgroup\"}", "/linux/namespaces: no \"ipc\"" },
	{ "/linux/namespaces/3", "{\"type\":\"cgroup\"}", "/linux/namespaces: no \"uts\"" },
	{ "/linux/namespaces/4", "{\"type\":\"cgroup\"}", "/linux/namespaces: no \"mount\"" },
	{ "/linux/namespaces/2", "{\"type\":\"ipx\"}",
	  "/linux/namespaces/2/type: unknown namespace \"ipx\"" },
	{ "/linux/namespaces/2", "{\"type\":\"pid\"}",
	  "/linux/namespaces/2/type: pid is given twice" },
	{ "/linux/namespaces/2", "{\"path\":\"/x\"}", "/linux/namespaces/2/type: missing" },
	{ "/linux/namespaces/-", "{\"type\":\"user\"}",
	  "/linux/uidMappings: missing: the user namespace needs it" },
	{ "/linux/namespaces/-", "{\"type\":\"user\",\"path\":\"/proc/1/ns/user\"}",
	  "/linux/namespaces/5/path: not supported: joining the user namespace" },
	{ "/linux/namespaces/1/path", "\"x\"", "/linux/namespaces/1/path: must be an absolute" },
	{ "/linux/namespaces/1/path", "\"/nowhere\"", "/linux/namespaces/1/path: network" },
	{ "/linux/namespaces/1/path", "\"/etc/passwd\"",
	  "/linux/namespaces/1/path: \"/etc/passwd\" is not a namespace" },
	{ "/linux/namespaces/1/path", "\"/proc/self/ns/pid\"", "is not a network namespace" },
	{ "/linux/namespaces/1/path", "\"/proc/self/ns/net\"",
	  "/linux/namespaces/1/path: \"/proc/self/ns/net\": not supported: it is the host's" },
	{ "/linux/namespaces/2/path", "\"/proc/1/ns/ipc\"",
	  "/linux/namespaces/2/path: not supported: joining the ipc namespace" },
	{ "/linux/namespaces/4/path", "\"/proc/1/ns/mnt\"",
	  "/linux/namespaces/4/path: not supported: joining the mount" },
	{ "/linux/uidMappings", "[{\"containerID\":0,\"hostID\":1,\"size\":1}]",
	  "/linux/uidMappings: not supported" },
	{ "/linux/gidMappings", "[{\"containerID\":0,\"hostID\":1,\"size\":1}]",
	  "/linux/gidMappings: not supported" },
	{ "/linux/timeOffsets", "{\"boottime\":{\"secs\":1}}", "/linux/timeOffsets: not" },
	{ "/linux/intelRdt", "{\"closID\":\"x\"}", "/linux/intelRdt: not supported" },
	{ "/linux/mountLabel", "\"x\"", "/linux/mountLabel: not supported" },
	{ "/linux/netDevices", "{\"eth0\":{}}", "/linux/netDevices: not supported" },
	{ "/linux/personality/flags", "[\"X\"]", "/linux/personality/flags: not supported" },
	{ "/linux/rootfsPropagation", "\"ro\"", "/linux/rootfsPropagation: unknown" },
	{ "/linux/cgroupsPath", "\"/a/../../b\"", "/linux/cgroupsPath: \"/a/../../b\"" },
	{ "/linux/maskedPaths/1", "\"proc\"", "/linux/maskedPaths/1: must be an absolute" },
	{ "/linux/readonlyPaths/0", "\"/../x\"", "/linux/readonlyPaths/0: \"/../x\"" },
	{ "/linux/sysctl", "{\"vm.swappiness\":\"0\"}", "/linux/sysctl/vm.swappiness: not" },
	{ "/linux/sysctl", "{\"kernel.core_pattern\":\"|x\"}",
	  "/linux/sysctl/kernel.core_pattern: not supported" },
	{ "/linux/sysctl", "{\"net..x\":\"0\"}", "/linux/sysctl/net..x: not a sysctl's name" },
	{ "/linux/sysctl", "{\"net.//.vm\":\"0\"}", "not a sysctl's name" },
	{ "/linux/sysctl", "{\"net/../vm/x\":\"0\"}", "not a sysctl's name" },
	{ "/linux/sysctl", "{\"net.ipv4\\n\":\"0\"}", "not a sysctl's name" },
	{ "/linux/sysctl", "{\"net.x\":0}", "/linux/sysctl/net.x: must be string" },
	{ "/linux/resources/devices/0", "{\"allow\":true,\"type\":\"b\",\"major\":8,\"minor\":0}",
	  "/linux/resources/devices: block device 8:0: not supported" },
	{ "/linux/resources/devices/0", "{\"allow\":true,\"type\":\"b\",\"major\":8}",
	  "/linux/resources/devices: block device 8:-1: not supported" },
	{ "/linux/devices/0", "{\"path\":\"/dev/nvidia0\",\"type\":\"c\",\"major\":195,\"minor\":0}",
	  "/linux/devices/0: device \"/dev/nvidia0\" (character 195:0)" },
	{ "/linux/devices/0/type", "\"x\"", "/linux/devices/0/type: must be" },
	{ "/linux/devices/0/path", "\"dev/x\"", "/linux/devices/0/path: must be an absolute" },
	{ "/linux/devices/0/major", "null", "/linux/devices/0/major: missing" },
	{ "/linux/devices/0/minor", "-1", "/linux/devices/0/minor: must be 0 to" },
	{ "/linux/devices/0/fileMode", "1000000", "/linux/devices/0/fileMode: not a file mode" },
	{ "/linux/resources/memory/swap", "1048576", "/linux/resources/memory/swap: must not" },
	{ "/linux/resources/memory", "{\"swap\":5}", "/linux/resources/memory/swap: needs" },
	{ "/linux/resources/memory/kernel", "5", "/linux/resources/memory/kernel: not" },
	{ "/linux/resources/memory/kernelTCP", "5", "/linux/resources/memory/kernelTCP: not" },
	{ "/linux/resources/memory/swappiness", "0", "/linux/resources/memory/swappiness: not" },
	{ "/linux/resources/memory/disableOOMKiller", "true",
	  "/linux/resources/memory/disableOOMKiller: not supported" },
	{ "/linux/resources/memory/useHierarchy", "false",
	  "/linux/resources/memory/useHierarchy: not supported" },
	{ "/linux/resources/memory/limit", "\"5\"", "/linux/resources/memory/limit: must be int" },
	{ "/linux/resources/cpu/period", "5", "/linux/resources/cpu/period: must be" },
	{ "/linux/resources/cpu/quota", "5", "/linux/resources/cpu/quota: must be" },
	{ "/linux/resources/cpu/quota", "0", "/linux/resources/cpu/burst: needs" },
	{ "/linux/resources/cpu/cpus", "\"all\"", "/linux/resources/cpu/cpus: \"all\"" },
	{ "/linux/resources/cpu/idle", "2", "/linux/resources/cpu/idle: must be 0 or 1" },
	{ "/linux/resources/cpu/realtimeRuntime", "5", "/linux/resources/cpu/realtimeRuntime: not" },
	{ "/linux/resources/blockIO/weight", "5", "/linux/resources/blockIO/weight: must be" },
	{ "/linux/resources/blockIO/leafWeight", "5", "/linux/resources/blockIO/leafWeight: not" },
	{ "/linux/resources/blockIO/throttleReadBpsDevice",
	  "[{\"major\":8,\"minor\":0,\"rate\":1}]",
	  "/linux/resources/blockIO/throttleReadBpsDevice: not supported" },
	{ "/linux/resources/hugepageLimits", "[{\"pageSize\":\"2MB\",\"limit\":9}]",
	  "/linux/resources/hugepageLimits/0/limit: not supported" },
	{ "/linux/resources/network/classID", "5", "/linux/resources/network/classID: not" },
	{ "/linux/resources/network/priorities", "[{\"name\":\"eth0\",\"priority\":1}]",
	  "/linux/resources/network/priorities: not supported" },
	{ "/linux/resources/rdma", "{\"mlx5\":{\"hcaHandles\":1}}", "/linux/resources/rdma: not" },
	{ "/linux/resources/unified", "{\"../x.y\":\"1\"}", "/linux/resources/unified/../x.y: not" },
	{ "/linux/resources/unified", "{\"cgroup.kill\":\"1\"}",
	  "/linux/resources/unified/cgroup.kill: not supported" },
	{ "/linux/resources/devices/0/type", "\"z\"", "/linux/resources/devices/0/type: must" },
	{ "/linux/resources/devices/0/access", "\"rx\"", "/linux/resources/devices/0/access" },
	{ "/linux/resources/devices/0/major", "-2", "/linux/resources/devices/0/major: not" },
	{ "/linux/seccomp", "{}", "/linux/seccomp/defaultAction: missing" },
	{ "/linux/seccomp", "{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}",
	  "/linux/seccomp/defaultAction: not supported: SCMP_ACT_NOTIFY" },
	{ "/linux/seccomp", "{\"defaultAction\":\"SCMP_ACT_X\"}",
	  "/linux/seccomp/defaultAction: unknown action" },
	{ "/linux/seccomp", "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultErrnoRet\":1}",
	  "/linux/seccomp/defaultErrnoRet: SCMP_ACT_ALLOW takes no" },
	{ "/linux/seccomp", "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":5000}",
	  "/linux/seccomp/defaultErrnoRet: must be" },
	{ "/linux/seccomp", "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_VAX\"]}",
	  "/linux/seccomp/architectures/0: unknown architecture" },
	{ "/linux/seccomp", "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_X\"]}",
	  "/linux/seccomp/flags/0: unknown flag" },
	{ "/linux/seccomp", "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/run/x\"}",
	  "/linux/seccomp/listenerPath: not supported" },
	{ "/linux/seccomp", "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[],\"action\":\"SCMP_ACT_KILL\"}]}",
	  "/linux/seccomp/syscalls/0/names: must name" },
	{ "/linux/seccomp", "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],"
	  "\"action\":\"SCMP_ACT_KILL\",\"args\":[{\"index\":6,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]}]}",
	  "/linux/seccomp/syscalls/0/args/0/index: must be 0 to 5" },
	{ "/linux/seccomp", "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],"
	  "\"action\":\"SCMP_ACT_KILL\",\"args\":[{\"index\":0,\"value\":1,\"op\":\"EQ\"}]}]}",
	  "/linux/seccomp/syscalls/0/args/0/op: unknown operator" },
	{ "/linux/seccomp", "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],"
	  "\"action\":\"SCMP_ACT_KILL\",\"args\":[{\"index\":0}]}]}",
	  "/linux/seccomp/syscalls/0/args/0: needs index, value and op" },
};

START_TEST(test_refusal)
{
	const struct refusal *r = &refusals[_i];
	struct json_object *o = asset(FULL);
	struct err e = { 0 };
	struct spec *s = NULL;
	int rc;

	patch(o, r->path, r->json);
	rc = load(o, &s, &e);
	ck_assert_msg(rc < 0, "%s = %s: accepted", r->path, r->json);
	ck_assert_int_eq(rc, -e.code);
	ck_assert_ptr_null(s);
	ck_assert_msg(strstr(e.text, r->want) != NULL, "want '%s', got '%s'",
		      r->want, e.text);
}
END_TEST

START_TEST(test_fail_bundles)
{
	DIR *d = opendir(ASSETS);
	struct dirent *de;
	int n = 0;

	ck_assert_ptr_nonnull(d);
	while ((de = readdir(d))) {
		_cleanup_free_ char *want = NULL;
		char path[PATH_MAX];
		struct err e = { 0 };
		struct spec *s = NULL;
		int rc;

		if (strncmp(de->d_name, "fail-spec-", 10))
			continue;
		snprintf(path, sizeof(path), ASSETS "%s/error", de->d_name);
		ck_assert_int_eq(file_read(AT_FDCWD, path, 1000, &want, NULL, NULL), 0);
		want[strcspn(want, "\n")] = 0;
		snprintf(path, sizeof(path), ASSETS "%s/config.json", de->d_name);
		rc = load(asset(path), &s, &e);
		ck_assert_msg(rc < 0, "%s: accepted", de->d_name);
		ck_assert_msg(strstr(e.text, want) != NULL, "%s: %s", de->d_name,
			      e.text);
		n++;
	}
	closedir(d);
	ck_assert_int_ge(n, 8);
}
END_TEST

/* An empty object, array, string or null asks for nothing. */
START_TEST(test_empty_passes)
{
	static const char *const patches[][2] = {
		{ "/vm", "null" },
		{ "/windows", "{}" },
		{ "/process/selinuxLabel", "\"\"" },
		{ "/process/apparmorProfile", "\"unconfined\"" },
		{ "/process/user/username", "\"\"" },
		{ "/linux/uidMappings", "[]" },
		{ "/linux/mountLabel", "\"\"" },
		{ "/linux/seccomp", "null" },
		{ "/hooks/createContainer", "[]" },
		{ "/linux/resources/hugepageLimits", "[{\"pageSize\":\"2MB\",\"limit\":0}]" },
		{ "/linux/resources/memory/kernel", "-1" },
		{ "/linux/resources/memory/disableOOMKiller", "false" },
		{ "/linux/resources/blockIO/weightDevice", "[]" },
		{ "/mounts/0/uidMappings", "null" },
		{ "/unknownToTheSpecification", "{\"a\":1}" },
		{ "/linux/unknownToTheSpecification", "7" },
	};
	struct json_object *o = asset(FULL);
	size_t i;

	for (i = 0; i < ARRAY_LEN(patches); i++)
		patch(o, patches[i][0], patches[i][1]);
	spec_free(load_good(o));
}
END_TEST

/* ---- good ones ------------------------------------------------------------- */

START_TEST(test_full)
{
	struct spec *s = load_good(asset(FULL));
	Podvm__ContainerCreate *c = s->create;
	const Podvm__Mount *m;
	char root[64];

	snprintf(root, sizeof(root), "%s/rootfs", bundle);
	ck_assert_str_eq(s->rootfs, root);
	ck_assert_int_eq(s->role, SPEC_ROLE_SINGLE);
	ck_assert_ptr_null(s->sandbox_id);
	ck_assert_ptr_null(s->netns_path);
	ck_assert_str_eq(s->oci_version, "1.0.0");
	ck_assert(c->rootfs->readonly);
	ck_assert_uint_eq(c->rootfs->propagation, MS_SHARED | MS_REC);
	ck_assert_str_eq(c->hostname, "crun");
	ck_assert_str_eq(c->domainname, "example.org");
	ck_assert_uint_eq(c->process->rows, 24);
	ck_assert_uint_eq(c->process->columns, 80);
	ck_assert_uint_eq(c->process->umask, 022);
	ck_assert(c->process->terminal && c->process->no_new_privileges);
	/* ambient is there without inheritable */
	ck_assert_uint_eq(c->process->capabilities->ambient, 0);
	ck_assert_uint_eq(c->process->capabilities->bounding,
			  1ull << 5 | 1ull << 10 | 1ull << 29);
	ck_assert_uint_eq(c->process->rlimits[0]->resource, RLIMIT_NOFILE);
	ck_assert_str_eq(cgroup(s, "memory.max"), "268435456");
	ck_assert_str_eq(cgroup(s, "memory.swap.max"), "max");
	ck_assert_str_eq(cgroup(s, "memory.low"), "1048576");
	ck_assert_str_eq(cgroup(s, "cpu.weight"), "39");
	ck_assert_str_eq(cgroup(s, "cpu.max"), "20000 100000");
	ck_assert_str_eq(cgroup(s, "cpu.max.burst"), "1000");
	/* The host's. */
	ck_assert_ptr_null(cgroup(s, "cpuset.cpus"));
	ck_assert(CPU_COUNT(&s->limits.cpus) == 2 && CPU_ISSET(1, &s->limits.cpus));
	ck_assert(CPU_COUNT(&s->limits.mems) == 1 && CPU_ISSET(0, &s->limits.mems));
	ck_assert_str_eq(cgroup(s, "pids.max"), "9");
	ck_assert_str_eq(cgroup(s, "io.weight"), "4950");
	ck_assert_str_eq(cgroup(s, "memory.high"), "max");
	ck_assert_ptr_null(cgroup(s, "cpu.idle"));
	/* Deny all, ours, the default devices. */
	ck_assert_uint_eq(c->n_device_rules, 13);
	ck_assert(!c->device_rules[0]->allow);
	ck_assert_uint_eq(c->device_rules[0]->type, 'a');
	ck_assert_uint_eq(c->device_rules[1]->type, 'c');
	ck_assert_uint_eq(c->device_rules[1]->access, 2 | 4);
	ck_assert(c->device_rules[12]->allow);
	ck_assert_int_eq(c->device_rules[12]->major, 136);
	ck_assert_uint_eq(c->n_devices, 2);
	ck_assert_uint_eq(c->devices[0]->type, S_IFCHR);
	ck_assert_uint_eq(c->devices[0]->mode, 0666);
	ck_assert_uint_eq(c->devices[1]->type, S_IFIFO);
	ck_assert_str_eq(c->sysctls[1]->key, "kernel.shmmax");
	ck_assert_uint_eq(s->prestart.n, 1);
	ck_assert_str_eq(s->poststop.v[0].path, "/bin/true");
	ck_assert_str_eq(s->poststop.v[0].args[0], "true");
	ck_assert_ptr_null(s->poststop.v[0].args[1]);
	ck_assert_uint_eq(s->create_runtime.v[0].timeout_s, 3);
	ck_assert_uint_eq(s->ram_bytes, (256ull + 96) << 20);
	ck_assert_uint_eq(s->vcpus, 1);
	m = mount_at(s, "/dev/shm");
	ck_assert_uint_eq(m->flags, MS_NOSUID | MS_NOEXEC | MS_NODEV);
	ck_assert_str_eq(m->data, "mode=1777,size=65536k");
	ck_assert_str_eq(m->source, "shm");
	m = mount_at(s, "/dev");
	ck_assert_uint_eq(m->flags, MS_NOSUID | MS_STRICTATIME);
	ck_assert_uint_eq(mount_at(s, "/proc")->flags, 0);
	ck_assert_str_eq(mount_at(s, "/proc")->data, "");
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__NETWORK), 1);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__PID), 0);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__CGROUP), -1);
	spec_free(s);
}
END_TEST

START_TEST(test_mount_options)
{
	struct json_object *o = asset(FULL);
	const Podvm__Mount *m;
	struct spec *s;

	patch(o, "/mounts/0/destination", "\"//a/./b//c/\"");
	patch(o, "/mounts/0/options",
	      "[\"ro\",\"noatime\",\"relatime\",\"nodev\",\"dev\",\"rslave\","
	      "\"private\",\"hidepid=2\",\"sync\",\"rnosuid\",\"defaults\",\"rw\"]");
	s = load_good(o);
	m = mount_at(s, "/a/b/c");
	ck_assert_uint_eq(m->flags, MS_RELATIME | MS_SYNCHRONOUS | MS_NOSUID);
	ck_assert_uint_eq(m->propagation, MS_PRIVATE);
	ck_assert_str_eq(m->data, "hidepid=2");
	spec_free(s);
}
END_TEST

static const struct {
	const char *type, *options;
	uint64_t flags, propagation;
} binds[] = {
	{ "\"bind\"", "[]", MS_BIND, 0 },
	{ "\"rbind\"", "[]", MS_BIND | MS_REC, 0 },
	{ "\"bind\"", "[\"rbind\"]", MS_BIND | MS_REC, 0 },
	{ "\"none\"", "[\"bind\"]", MS_BIND, 0 },
	{ "\"ext4\"", "[\"rbind\",\"ro\"]", MS_BIND | MS_REC | MS_RDONLY, 0 },
	{ "null", "[\"bind\",\"rro\"]", MS_BIND | MS_RDONLY, 0 },
	{ "null", "[\"bind\",\"ro\",\"rw\"]", MS_BIND, 0 },
	{ "\"bind\"", "[\"rbind\",\"rprivate\",\"nosuid\",\"nodev\",\"noexec\"]",
	  MS_BIND | MS_REC | MS_NOSUID | MS_NODEV | MS_NOEXEC, MS_PRIVATE | MS_REC },
	{ "\"bind\"", "[\"rbind\",\"rslave\"]", MS_BIND | MS_REC, MS_SLAVE | MS_REC },
};

/* The source stays as it is written: the supervisor resolves it. */
START_TEST(test_binds)
{
	struct json_object *o = asset(FULL);
	const Podvm__Mount *m;
	struct spec *s;

	patch(o, "/mounts/0/destination", "\"/volume\"");
	patch(o, "/mounts/0/source", "\"../a b/./c\"");
	patch(o, "/mounts/0/type", binds[_i].type);
	patch(o, "/mounts/0/options", binds[_i].options);
	s = load_good(o);
	m = mount_at(s, "/volume");
	ck_assert_str_eq(m->source, "../a b/./c");
	ck_assert_str_eq(m->type, "");
	ck_assert_str_eq(m->data, "");
	ck_assert_uint_eq(m->flags, binds[_i].flags);
	ck_assert_uint_eq(m->propagation, binds[_i].propagation);
	spec_free(s);
}
END_TEST

START_TEST(test_crun_and_podman)
{
	struct spec *s = load_good(asset(ASSETS "ok-spec-crun/config.json"));

	ck_assert_uint_eq(s->ram_bytes, 0);
	ck_assert_uint_eq(s->vcpus, 0);
	spec_free(s);
	s = load_good(asset(ASSETS "ok-spec-podman/config.json"));
	ck_assert_int_eq(s->role, SPEC_ROLE_SINGLE);
	ck_assert_uint_eq(s->ram_bytes, (256ull + 96) << 20);
	ck_assert_uint_eq(s->vcpus, 2);
	ck_assert(!s->sized_memory && !s->sized_vcpus);
	ck_assert_uint_eq(s->limits.memory_bytes, 256 << 20);
	ck_assert_uint_gt(s->limits.quota_us, s->limits.period_us);
	ck_assert_str_eq(cgroup(s, "memory.swap.max"), "268435456");
	ck_assert_uint_gt(s->create->process->seccomp.len, 100 * sizeof(struct sock_filter));
	ck_assert_uint_eq(s->create->process->seccomp.len % sizeof(struct sock_filter), 0);
	ck_assert(s->n_annotations > 3);
	ck_assert_str_eq(s->create->sysctls[0]->value, "0 0");
	spec_free(s);
}
END_TEST

START_TEST(test_absolute_root)
{
	struct json_object *o = asset(FULL);
	struct spec *s;
	char json[80], want[64];

	snprintf(json, sizeof(json), "\"%s/inside\"", bundle);
	patch(o, "/root/path", json);
	s = load_good(o);
	snprintf(want, sizeof(want), "%s/rootfs", bundle);
	ck_assert_str_eq(s->rootfs, want);
	spec_free(s);
	o = asset(FULL);
	patch(o, "/root/path", "\"inside\"");
	s = load_good(o);
	ck_assert_str_eq(s->rootfs, want);
	spec_free(s);
}
END_TEST

#define MIB(n) ((n) * 1048576ull)

/* What a pod says of its memory, and of its overhead; how much of that is the guest's. */
static const struct {
	uint64_t limit, overhead, guest;
} overheads[] = {
	{ MIB(256), 0, MIB(96) },
	{ MIB(256), MIB(160), MIB(160) - MIB(16) - MIB(416) / 64 },
	{ MIB(1024), MIB(160), MIB(160) - MIB(16) - MIB(1184) / 64 },
	{ MIB(64), MIB(64), MIB(64) - MIB(16) - MIB(2) },
	/* Too little for both: the guest has what it cannot do without. */
	{ MIB(64), MIB(49), MIB(32) },
	{ MIB(64), 1, MIB(32) },
	{ MIB(16384), MIB(160), MIB(32) },
	/* The container's own limit counts then, which is 256 MiB. */
	{ 0, MIB(160), MIB(160) - MIB(16) - MIB(416) / 64 },
	{ INT64_MAX, MIB(160), MIB(32) },
	/* An overhead that is none. */
	{ MIB(256), INT64_MAX, MIB(96) },
};

START_TEST(overhead)
{
	uint64_t limit = overheads[_i].limit;
	struct json_object *o = asset(FULL);
	char text[240];
	struct spec *s;

	snprintf(text, sizeof(text),
		 "{\"pod-linux-resources.crio.io\":\"{\\\"memory_limit_in_bytes\\\":%llu}\","
		 "\"pod-linux-overhead.crio.io\":\"{\\\"memory_limit_in_bytes\\\":%llu}\"}",
		 (unsigned long long)limit, (unsigned long long)overheads[_i].overhead);
	patch(o, "/annotations", text);
	s = load_good(o);
	ck_assert_uint_eq(s->overhead_bytes, overheads[_i].guest);
	if (limit && limit < INT64_MAX)
		ck_assert_uint_eq(s->ram_bytes, limit + overheads[_i].guest);
	/* What kubelet allows on the host has room for both, where the pod says enough. */
	if (limit && overheads[_i].guest > MIB(32) && overheads[_i].overhead && overheads[_i].guest != MIB(96))
		ck_assert_uint_le(s->ram_bytes + MIB(16), limit + overheads[_i].overhead);
	spec_free(s);
}
END_TEST

/* A child in a network namespace of its own; its pid, or -1. */
static pid_t netns_child(void)
{
	int ready[2];
	char c = 0;
	pid_t pid;

	if (pipe(ready) < 0)
		return -1;
	pid = fork();
	if (!pid) {
		c = !unshare(CLONE_NEWNET) || !unshare(CLONE_NEWUSER | CLONE_NEWNET);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(ready[1], &c, 1) == 1 && c)
			pause();
		_exit(0);
	}
	if (pid > 0 && read(ready[0], &c, 1) == 1 && !c) {
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void netns_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Puts @pid's network namespace where the file names one. */
static struct spec *load_pod(const char *name, pid_t pid)
{
	char path[PATH_MAX], json[64];
	struct json_object *o, *list, *el, *type;
	size_t i;

	snprintf(path, sizeof(path), ASSETS "%s/config.json", name);
	o = asset(path);
	ck_assert(!json_pointer_get(o, "/linux/namespaces", &list));
	snprintf(json, sizeof(json), "/proc/%d/ns/net", pid);
	for (i = 0; i < json_object_array_length(list); i++) {
		el = json_object_array_get_idx(list, i);
		json_object_object_get_ex(el, "type", &type);
		if (!strcmp(json_object_get_string(type), "network"))
			json_object_object_add(el, "path",
					       json_object_new_string(json));
	}
	return load_good(o);
}

static const char sandbox_id[] =
	"0f3a6b1c5d7e8f90123456789abcdef00f3a6b1c5d7e8f90123456789abcdef0";

/* What CRI-O writes of a pod whose maker told it no resources. */
START_TEST(test_crio_no_size)
{
	static const char *const keys[] = {
		"/annotations/io.kubernetes.cri-o.PodLinuxOverhead",
		"/annotations/io.kubernetes.cri-o.PodLinuxResources",
	};
	struct json_object *o = asset(ASSETS "ok-spec-crio-sandbox/config.json");
	struct json_object *plain = asset(FULL), *map = NULL;
	struct spec *s;
	size_t i;

	for (i = 0; i < ARRAY_LEN(keys); i++)
		patch(o, keys[i], "\"null\"");
	ck_assert(json_object_object_get_ex(o, "annotations", &map));
	json_object_object_add(plain, "annotations", json_object_get(map));
	json_object_put(o);
	s = load_good(plain);
	ck_assert(!s->sized_memory && !s->sized_vcpus);
	ck_assert_int_eq(s->role, SPEC_ROLE_SANDBOX);
	spec_free(s);
}
END_TEST

START_TEST(test_crio)
{
	pid_t pid = netns_child();
	struct spec *s = load_pod("ok-spec-crio-sandbox", pid);
	struct err e = { 0 };

	ck_assert_int_eq(s->role, SPEC_ROLE_SANDBOX);
	ck_assert_str_eq(s->sandbox_id, sandbox_id);
	/* Of 640 MiB on the host 16 and a 64th are the host's. */
	ck_assert_uint_eq(s->ram_bytes, (640ull - 16 - 10) << 20);
	ck_assert_uint_eq(s->overhead_bytes, (128ull - 16 - 10) << 20);
	ck_assert_uint_eq(s->vcpus, 3);
	ck_assert(s->sized_memory && s->sized_vcpus);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__NETWORK), 1);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__PID), 1);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__IPC), 1);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__UTS), 1);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__MOUNT), 0);
	ck_assert(str_starts(s->netns_path, "/proc/"));
	ck_assert_str_eq(cgroup(s, "cpu.weight"), "1");
	ck_assert_str_eq(cgroup(s, "memory.oom.group"), "1");
	ck_assert_int_eq(s->create->process->oom_score_adj, -998);
	ck_assert_uint_eq(s->create->process->additional_gids[0], 65535);
	ck_assert_int_eq(spec_check_id(s, sandbox_id, &e), 0);
	ck_assert_int_eq(spec_check_id(s, "other", &e), -EINVAL);
	ck_assert_str_eq(e.text, "/annotations/io.kubernetes.cri-o.SandboxID: \"0f3a6b1c5d7e8f90123456789"
			 "abcdef00f3a6b1c5d7e8f90123456789abcdef0\", but the sandbox that CRI-O makes is "
			 "\"other\": the pod must not be annotated with io.kubernetes.cri-o.SandboxID");
	spec_free(s);
	s = load_pod("ok-spec-crio-container", pid);
	ck_assert_int_eq(spec_check_id(s, "any", &e), 0);
	ck_assert_int_eq(s->role, SPEC_ROLE_CONTAINER);
	ck_assert_str_eq(s->sandbox_id, sandbox_id);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__PID), 0);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__IPC), 1);
	ck_assert_str_eq(cgroup(s, "memory.swap.max"), "0");
	ck_assert_str_eq(cgroup(s, "pids.max"), "max");
	ck_assert_uint_eq(s->create->rootfs->propagation, MS_SLAVE | MS_REC);
	spec_free(s);
	netns_end(pid);
}
END_TEST

START_TEST(test_containerd)
{
	pid_t pid = netns_child();
	struct spec *s = load_pod("ok-spec-containerd-sandbox", pid);

	ck_assert_int_eq(s->role, SPEC_ROLE_SANDBOX);
	ck_assert_uint_eq(s->ram_bytes, (1024ull + 96) << 20);
	ck_assert_uint_eq(s->vcpus, 3);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__IPC), 1);
	spec_free(s);
	s = load_pod("ok-spec-containerd-container", pid);
	ck_assert_int_eq(s->role, SPEC_ROLE_CONTAINER);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__CGROUP), 0);
	ck_assert_str_eq(s->create->hostname, "");
	ck_assert_uint_eq(mount_at(s, "/cache")->flags, MS_NOEXEC);
	spec_free(s);
	netns_end(pid);
}
END_TEST

/* What two engines' annotations mean for a namespace without and with a path. */
START_TEST(test_pod_namespaces)
{
	struct json_object *o = asset(ASSETS "ok-spec-containerd-container/config.json");
	struct err e = { 0 };
	struct spec *s = NULL;

	patch(o, "/linux/namespaces/4/path", "null");
	ck_assert_int_eq(load(o, &s, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "/linux/namespaces/4: not supported: a container with "
			     "a network of its own"), "%s", e.text);
	o = asset(ASSETS "ok-spec-containerd-sandbox/config.json");
	patch(o, "/linux/namespaces/4/path", "null");
	patch(o, "/linux/namespaces/0/path", "\"/proc/1/ns/pid\"");
	ck_assert_int_eq(load(o, &s, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "/linux/namespaces/0/path: not supported"), "%s",
		      e.text);
}
END_TEST

/* The pod's processes are joined by the sandbox's; those that CRI-O keeps are one container's. */
START_TEST(test_target)
{
	pid_t pid = netns_child();
	struct json_object *o = asset(ASSETS "ok-spec-crio-container/config.json");
	char netns[64];
	struct err e = { 0 };
	struct spec *s = NULL;

	snprintf(netns, sizeof(netns), "\"/proc/%d/ns/net\"", pid);
	patch(o, "/linux/namespaces/1/path", netns);
	patch(o, "/linux/namespaces/0/path", "\"/var/run/pidns/pid2458162720\"");
	ck_assert_int_eq(load(o, &s, &e), -EINVAL);
	ck_assert_msg(str_starts(e.text, "config.json: /linux/namespaces/0/path: not supported: joining "
				 "the processes that \"/var/run/pidns/pid2458162720\" keeps, of one other "
				 "container (kubectl debug --target): leave"), "%s", e.text);
	o = asset(ASSETS "ok-spec-crio-container/config.json");
	patch(o, "/linux/namespaces/1/path", netns);
	patch(o, "/linux/namespaces/0/path", "\"/proc/4242/ns/pid\"");
	ck_assert_msg(!load(o, &s, &e), "%s", e.text);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__PID), 1);
	ck_assert_int_eq(s->pid_of, 4242);
	spec_free(s);
	netns_end(pid);
}
END_TEST

/* ---- bundle and file trouble -------------------------------------------------- */

START_TEST(test_bundle)
{
	struct err e = { 0 };
	struct spec *s = NULL;
	char path[64];

	ck_assert_int_eq(spec_load("/nowhere/at/all", &s, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.text, "/nowhere/at/all"));
	ck_assert_int_eq(spec_load(bundle, &s, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.text, "config.json"));
	ck_assert_int_eq(mkfifoat(bundle_fd, "config.json", 0644), 0);
	ck_assert_int_eq(spec_load(bundle, &s, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "regular file"));
	unlinkat(bundle_fd, "config.json", 0);
	ck_assert_int_eq(mkdirat(bundle_fd, "config.json", 0755), 0);
	ck_assert_int_eq(spec_load(bundle, &s, &e), -EINVAL);
	unlinkat(bundle_fd, "config.json", AT_REMOVEDIR);
	ck_assert_int_eq(file_replace(bundle_fd, "config.json", "[1]", 3, 0644, &e), 0);
	ck_assert_int_eq(spec_load(bundle, &s, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "must be an object"));
	snprintf(path, sizeof(path), "%s/config.json", bundle);
	ck_assert_int_eq(truncate(path, 5 << 20), 0);
	ck_assert_int_eq(spec_load(bundle, &s, &e), -EFBIG);
	ck_assert_int_eq(spec_load(path, &s, &e), -ENOTDIR);
	ck_assert_ptr_null(s);
	spec_free(NULL);
}
END_TEST

/* Rootfs and network namespace have gone: hooks must be there all the same. */
START_TEST(test_hooks_only)
{
	struct json_object *o = asset(FULL);
	struct err e = { 0 };
	struct spec *s = NULL;

	patch(o, "/root/path", "\"gone\"");
	patch(o, "/linux/namespaces/1/path", "\"/run/netns/gone\"");
	ck_assert_int_eq(load(json_object_get(o), &s, &e), -EINVAL);
	ck_assert_msg(!spec_load_hooks(bundle, &s, &e), "%s", e.text);
	ck_assert_uint_eq(s->poststop.n, 1);
	ck_assert_str_eq(s->poststop.v[0].path, "/bin/true");
	spec_free(s);
	s = NULL;
	patch(o, "/hooks/poststop/0/path", "\"true\"");
	load(o, &s, &e);
	ck_assert_int_eq(spec_load_hooks(bundle, &s, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "config.json: /hooks/poststop/0/path"));
	ck_assert_int_eq(spec_load_hooks("/nowhere", &s, &e), -ENOENT);
	ck_assert_ptr_null(s);
}
END_TEST

/* What one frame cannot carry must be told before there is a VM. */
START_TEST(test_too_large)
{
	struct json_object *o = asset(FULL), *env;
	struct err e = { 0 };
	struct spec *s = NULL;
	char entry[20000];
	int i;

	memset(entry, 'x', sizeof(entry) - 1);
	entry[1] = '=';
	entry[sizeof(entry) - 1] = 0;
	ck_assert(!json_pointer_get(o, "/process/env", &env));
	for (i = 0; i < 60; i++)
		json_object_array_add(env, json_object_new_string(entry));
	ck_assert_int_eq(load(o, &s, &e), -E2BIG);
}
END_TEST

START_TEST(test_process_file)
{
	static const char good[] =
		"{\"args\":[\"ls\"],\"cwd\":\"/tmp\",\"env\":[\"A=b\"],\"terminal\":true,"
		"\"consoleSize\":{\"height\":3,\"width\":4},\"user\":{\"uid\":7,\"gid\":8}}";
	struct err e = { 0 };
	Podvm__Process *p = NULL;
	char path[64];

	snprintf(path, sizeof(path), "%s/process.json", bundle);
	ck_assert_int_eq(spec_process_load(path, &p, &e), -ENOENT);
	file_replace(bundle_fd, "process.json", good, sizeof(good) - 1, 0644, NULL);
	ck_assert_msg(!spec_process_load(path, &p, &e), "%s", e.text);
	ck_assert_uint_eq(p->uid, 7);
	ck_assert_uint_eq(p->rows, 3);
	ck_assert_ptr_null(p->capabilities);
	podvm__process__free_unpacked(p, NULL);
	p = NULL;
	file_replace(bundle_fd, "process.json", "{\"args\":[\"ls\"]}", 15, 0644, NULL);
	ck_assert_int_eq(spec_process_load(path, &p, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "/cwd: missing"));
	file_replace(bundle_fd, "process.json", "null", 4, 0644, NULL);
	ck_assert_int_eq(spec_process_load(path, &p, &e), -EINVAL);
	file_replace(bundle_fd, "process.json", good, 40, 0644, NULL);
	ck_assert_int_eq(spec_process_load(path, &p, &e), -EINVAL);
	ck_assert_ptr_null(p);
}
END_TEST

/* ---- command line words --------------------------------------------------------- */

START_TEST(test_signal)
{
	static const struct {
		const char *name;
		int want;
	} t[] = {
		{ "TERM", 15 }, { "SIGTERM", 15 }, { "sigterm", 15 }, { "15", 15 },
		{ "KILL", 9 }, { "64", 64 }, { "RTMIN", 34 }, { "SIGRTMIN+3", 37 },
		{ "RTMAX", 64 }, { "RTMAX-14", 50 }, { "CHLD", 17 }, { "CLD", 17 },
		{ "SYS", 31 }, { "0x9", 9 }, { "0", 0 }, { "65", 0 }, { "-1", 0 },
		{ "", 0 }, { "SIG", 0 }, { "SIGSIGTERM", 0 }, { "TERM ", 0 },
		{ "RTMIN-1", 0 }, { "RTMIN+31", 0 }, { "RTMIN+", 0 }, { "RTMAX+1", 0 },
		{ "RT", 0 }, { "99999999999999999999", 0 },
	};
	struct err e = { 0 };
	size_t i;

	for (i = 0; i < ARRAY_LEN(t); i++) {
		int got = 0, rc = spec_signal(t[i].name, &got, &e);

		ck_assert_msg(got == t[i].want && rc == (t[i].want ? 0 : -EINVAL),
			      "'%s': %d, %d", t[i].name, got, rc);
	}
}
END_TEST

START_TEST(test_user)
{
	Podvm__Process p = PODVM__PROCESS__INIT;
	struct err e = { 0 };
	static const char *const bad[] = {
		"", ":", "1:", ":1", "root", "1:x", "-1", "4294967295", "1:4294967295",
		"1 ", "1:2:3", "11111111111111111111111111111111111111",
	};
	size_t i;

	ck_assert_int_eq(spec_user("5:6", &p, &e), 0);
	ck_assert_uint_eq(p.uid, 5);
	ck_assert_uint_eq(p.gid, 6);
	ck_assert_int_eq(spec_user("7", &p, &e), 0);
	ck_assert_uint_eq(p.uid, 7);
	ck_assert_uint_eq(p.gid, 6);
	for (i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(spec_user(bad[i], &p, &e) == -EINVAL, "%s", bad[i]);
	ck_assert_uint_eq(p.uid, 7);
}
END_TEST

START_TEST(test_capability)
{
	Podvm__Process *p = mem_new(Podvm__Process);
	struct err e = { 0 };

	podvm__process__init(p);
	ck_assert_int_eq(spec_capability_add("CAP_FLY", p, &e), -EINVAL);
	ck_assert_int_eq(spec_capability_add("", p, &e), -EINVAL);
	ck_assert_int_eq(spec_capability_add("CAP_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", p,
					     &e), -EINVAL);
	ck_assert_ptr_null(p->capabilities);
	ck_assert_int_eq(spec_capability_add("net_admin", p, &e), 0);
	ck_assert_int_eq(spec_capability_add("CAP_CHECKPOINT_RESTORE", p, &e), 0);
	ck_assert_uint_eq(p->capabilities->effective, 1ull << 12 | 1ull << 40);
	ck_assert_uint_eq(p->capabilities->bounding, 1ull << 12 | 1ull << 40);
	ck_assert_uint_eq(p->capabilities->ambient, 0);
	podvm__process__free_unpacked(p, NULL);
}
END_TEST

/* ---- features, example -------------------------------------------------------------- */

START_TEST(test_features)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct json_object *o, *v;
	struct err e = { 0 };

	ck_assert_int_eq(spec_features_print(f, &e), 0);
	fclose(f);
	o = json_tokener_parse(text);
	ck_assert_ptr_nonnull(o);
	ck_assert(!json_pointer_get(o, "/ociVersionMin", &v));
	ck_assert(!json_pointer_get(o, "/linux/seccomp/actions/0", &v));
	ck_assert(!json_pointer_get(o, "/annotations/org.podvm.version", &v));
	ck_assert_str_eq(json_object_get_string(v), PODVM_VERSION);
	ck_assert(!json_pointer_get(o, "/linux/capabilities/40", &v));
	ck_assert_ptr_nonnull(strstr(text, "\"rbind\""));
	ck_assert_ptr_null(strstr(text, "NOTIFY"));
	ck_assert_ptr_nonnull(strstr(text, "\"unbindable\""));
	json_object_put(o);
	free(text);
	/* A full disk is not success. */
	f = fopen("/dev/full", "w");
	ck_assert_int_eq(spec_features_print(f, &e), -ENOSPC);
	fclose(f);
}
END_TEST

START_TEST(test_example)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct err e = { 0 };
	struct spec *s;

	ck_assert_int_eq(spec_example_print(f, &e), 0);
	fclose(f);
	s = load_good(json_tokener_parse(text));
	ck_assert_str_eq(s->create->process->args[0], "sh");
	ck_assert_uint_eq(s->create->n_mounts, 7);
	ck_assert_int_eq(shared(s, PODVM__NAMESPACE__TYPE__CGROUP), 0);
	spec_free(s);
	free(text);
}
END_TEST

/* ---- seccomp --------------------------------------------------------------------------- */

/* Installs the filter in a child and returns the errno that @ask gives there. */
static int with_filter(const ProtobufCBinaryData *b, int (*ask)(void))
{
	struct sock_filter code[4096];
	struct sock_fprog prog = { .len = (unsigned short)(b->len / sizeof(code[0])),
				   .filter = code };
	int status;
	pid_t pid;

	ck_assert_uint_le(b->len, sizeof(code));
	memcpy(code, b->data, b->len);
	pid = fork();
	if (!pid) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
			_exit(255);
		_exit(ask());
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int ask_getppid(void)
{
	return syscall(SYS_getppid) < 0 ? errno : 0;
}

static int ask_personality(unsigned long v)
{
	return syscall(SYS_personality, v) < 0 ? errno : 0;
}

static int ask_8(void) { return ask_personality(8); }
static int ask_9(void) { return ask_personality(9); }
static int ask_query(void) { return ask_personality(0xffffffff); }

static int ask_masked(void)
{
	return syscall(SYS_umask, 0123) < 0 ? errno : 0;
}

static int ask_unmasked(void)
{
	return syscall(SYS_umask, 0003) < 0 ? errno : 0;
}

static int ask_sethostname(void)
{
	return syscall(SYS_sethostname, "", 0xffffffffl) < 0 ? errno : 0;
}

START_TEST(test_seccomp_rules)
{
	struct json_object *o = asset(FULL);
	const ProtobufCBinaryData *b;
	struct spec *s;

	patch(o, "/linux/seccomp",
	      "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_TSYNC\"],"
	      "\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\","
	      "\"SCMP_ARCH_AARCH64\"],\"syscalls\":["
	      "{\"names\":[\"getppid\",\"not_a_system_call\"],\"action\":\"SCMP_ACT_ERRNO\","
	      "\"errnoRet\":61},"
	      "{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\"},"
	      "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":["
	      "{\"index\":0,\"value\":8,\"op\":\"SCMP_CMP_EQ\"},"
	      "{\"index\":0,\"value\":9,\"op\":\"SCMP_CMP_EQ\"}]},"
	      "{\"names\":[\"umask\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":62,\"args\":["
	      "{\"index\":0,\"value\":112,\"valueTwo\":80,\"op\":\"SCMP_CMP_MASKED_EQ\"}]}]}");
	s = load_good(o);
	b = &s->create->process->seccomp;
	ck_assert_int_eq(with_filter(b, ask_getppid), 61);
	ck_assert_int_eq(with_filter(b, ask_8), EPERM);
	ck_assert_int_eq(with_filter(b, ask_9), EPERM);
	ck_assert_int_eq(with_filter(b, ask_query), 0);
	ck_assert_int_eq(with_filter(b, ask_masked), 62);
	ck_assert_int_eq(with_filter(b, ask_unmasked), 0);
	spec_free(s);
}
END_TEST

/* A profile must not cost more than a large one does. */
START_TEST(test_seccomp_budget)
{
	struct json_object *o = asset(FULL), *list = json_object_new_array();
	struct err e = { 0 };
	struct spec *s = NULL;
	char rule[160];
	int i;

	for (i = 0; i < 1025; i++) {
		snprintf(rule, sizeof(rule), "{\"names\":[\"read\"],\"action\":\"SCMP_ACT_KILL\","
			 "\"args\":[{\"index\":1,\"value\":%d,\"op\":\"SCMP_CMP_EQ\"}]}", i);
		json_object_array_add(list, json_tokener_parse(rule));
	}
	patch(o, "/linux/seccomp", "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}");
	ck_assert(!json_pointer_set(&o, "/linux/seccomp/syscalls", list));
	ck_assert_int_eq(load(o, &s, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "/linux/seccomp/syscalls/1024/names/0: too many rules "
			     "with conditions"), "%s", e.text);
}
END_TEST

START_TEST(test_seccomp_podman)
{
	struct spec *s = load_good(asset(ASSETS "ok-spec-podman/config.json"));
	const ProtobufCBinaryData *b = &s->create->process->seccomp;

	ck_assert_int_eq(with_filter(b, ask_getppid), 0);
	ck_assert_int_eq(with_filter(b, ask_8), 0);
	ck_assert_int_eq(with_filter(b, ask_9), ENOSYS);
	ck_assert_int_eq(with_filter(b, ask_sethostname), EPERM);
	spec_free(s);
}
END_TEST

/* ---- damage ------------------------------------------------------------------------------ */

static const char *const damaged[] = {
	FULL, "tests/fuzz/corpus/spec/ok-podman.json",
	"tests/fuzz/corpus/spec/ok-crio-container.json",
};

static void try_text(const char *text, size_t len)
{
	struct err e = { 0 };
	struct spec *s = NULL;
	/* Exactly as long as it is, so that a read behind its end is seen. */
	char *copy = malloc(len + !len);
	int rc;

	memcpy(copy, text, len);
	rc = spec_parse(copy, len, bundle_fd, &s, &e);
	ck_assert(rc ? rc < 0 && e.code && e.text[0] && !s : s != NULL);
	spec_free(s);
	free(copy);
}

START_TEST(test_truncated)
{
	_cleanup_free_ char *text = NULL;
	size_t len, i;

	ck_assert_int_eq(file_read(AT_FDCWD, damaged[_i], 1 << 20, &text, &len, NULL), 0);
	for (i = 0; i < len; i++)
		try_text(text, i);
}
END_TEST

START_TEST(test_mutated)
{
	static const char bytes[] = "\0\"\\{}[]:,.-/0019eE \n\x80\xff\x7f" "azAZ";
	_cleanup_free_ char *text = NULL;
	unsigned int seed = (unsigned int)kit_seed("runtime_spec");
	size_t len, n, at;
	char was[4];
	int k;

	ck_assert_int_eq(file_read(AT_FDCWD, damaged[_i], 1 << 20, &text, &len, NULL), 0);
	for (n = 0; n < 1500; n++) {
		at = (size_t)rand_r(&seed) % (len - sizeof(was));
		memcpy(was, text + at, sizeof(was));
		for (k = rand_r(&seed) % 3; k >= 0; k--)
			text[at + (size_t)k] = bytes[(size_t)rand_r(&seed) %
						     (sizeof(bytes) - 1)];
		try_text(text, len);
		memcpy(text + at, was, sizeof(was));
	}
}
END_TEST

/* Every value anywhere, replaced by each kind of value in turn. */
static void walk(struct json_object *top, struct json_object *o)
{
	static const char *const values[] = {
		"null", "true", "-1", "18446744073709551615", "\"\"", "\"/x\"", "[]",
		"{}", "[null]", "[[]]", "{\"a\":null}",
	};
	struct json_object_iterator it, end;
	const char *text;
	size_t i, n;

	for (n = 0; n < ARRAY_LEN(values) && json_object_is_type(o, json_type_array); n++) {
		for (i = 0; i < json_object_array_length(o); i++) {
			struct json_object *was =
				json_object_get(json_object_array_get_idx(o, i));

			json_object_array_put_idx(o, i, json_tokener_parse(values[n]));
			text = json_object_to_json_string(top);
			try_text(text, strlen(text));
			json_object_array_put_idx(o, i, json_object_get(was));
			if (!n)
				walk(top, was);
			json_object_put(was);
		}
	}
	if (!json_object_is_type(o, json_type_object))
		return;
	it = json_object_iter_begin(o);
	end = json_object_iter_end(o);
	for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
		_cleanup_free_ char *key = strdup(json_object_iter_peek_name(&it));
		struct json_object *was = json_object_get(json_object_iter_peek_value(&it));

		for (n = 0; n < ARRAY_LEN(values); n++) {
			json_object_object_add(o, key, json_tokener_parse(values[n]));
			text = json_object_to_json_string(top);
			try_text(text, strlen(text));
		}
		json_object_object_add(o, key, json_object_get(was));
		walk(top, was);
		json_object_put(was);
	}
}

START_TEST(test_every_type)
{
	struct json_object *o = asset(FULL);

	patch(o, "/linux/seccomp",
	      "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":1,\"flags\":[],"
	      "\"architectures\":[\"SCMP_ARCH_X86_64\"],\"syscalls\":["
	      "{\"names\":[\"read\"],\"action\":\"SCMP_ACT_TRACE\",\"errnoRet\":2,\"args\":["
	      "{\"index\":0,\"value\":8,\"valueTwo\":3,\"op\":\"SCMP_CMP_EQ\"}]}]}");
	walk(o, o);
	json_object_put(o);
}
END_TEST

Suite *runtime_spec_suite(void);

Suite *runtime_spec_suite(void)
{
	Suite *s = suite_create("runtime_spec");
	TCase *t = tcase_create("good");
	pid_t pid = netns_child();

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, test_full);
	tcase_add_test(t, test_mount_options);
	tcase_add_loop_test(t, test_binds, 0, (int)ARRAY_LEN(binds));
	tcase_add_test(t, test_crun_and_podman);
	tcase_add_test(t, test_absolute_root);
	tcase_add_test(t, test_crio_no_size);
	tcase_add_test(t, test_empty_passes);
	tcase_add_test(t, test_pod_namespaces);
	tcase_add_test(t, test_target);
	tcase_add_test(t, test_hooks_only);
	tcase_add_test(t, test_process_file);
	tcase_add_test(t, test_signal);
	tcase_add_test(t, test_user);
	tcase_add_test(t, test_capability);
	tcase_add_test(t, test_features);
	tcase_add_test(t, test_example);
	tcase_add_test(t, test_seccomp_rules);
	tcase_add_test(t, test_seccomp_podman);
	if (pid > 0) {
		netns_end(pid);
	tcase_add_loop_test(t, overhead, 0, (int)ARRAY_LEN(overheads));
		tcase_add_test(t, test_crio);
		tcase_add_test(t, test_containerd);
	} else {
		kit_skip("runtime_spec", "no network namespace can be made");
	}
	suite_add_tcase(s, t);

	t = tcase_create("refused");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, test_refusal, 0, ARRAY_LEN(refusals));
	tcase_add_test(t, test_fail_bundles);
	tcase_add_test(t, test_bundle);
	tcase_add_test(t, test_too_large);
	tcase_add_test(t, test_seccomp_budget);
	suite_add_tcase(s, t);

	t = tcase_create("damaged");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, test_truncated, 0, ARRAY_LEN(damaged));
	tcase_add_loop_test(t, test_mutated, 0, ARRAY_LEN(damaged));
	tcase_add_test(t, test_every_type);
	suite_add_tcase(s, t);
	return s;
}
