// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Every field of the runtime specification (1.0 to 1.2, and what 1.3 has added) is a
 * row: honoured, with the line of the agent's message or of the plan that it becomes,
 * or refused, with the whole message. A row changes the configuration that has nearly
 * everything (tests/fuzz/corpus/spec/full.json) by a JSON merge patch (RFC 7396; quotes
 * are single ones here). Honoured rows must ask for what that configuration does not ask
 * for already. `fields` names them all, so that none can be forgotten; `podvm features`
 * must list what the rows say and nothing else.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cpus.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/spec.h"
#include "runtime/spec_impl.h"
#include "tests/kit/kit.h"
#include "tests/kit/pbtext.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

#define FULL "tests/fuzz/corpus/spec/full.json"

static char bundle[] = "/tmp/podvm-fields-XXXXXX";
static int bundle_fd = -1;

static void setup(void)
{
	strcpy(bundle + sizeof(bundle) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(bundle));
	bundle_fd = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert(!mkdirat(bundle_fd, "rootfs", 0755) && !mkdirat(bundle_fd, "other", 0755));
}

static void teardown(void)
{
	ck_assert(!dir_remove(AT_FDCWD, bundle, NULL));
	close(bundle_fd);
}

/* ---- every field ------------------------------------------------------------- */

static const char *const fields[] = {
	"ociVersion", "root.path", "root.readonly", "hostname", "domainname", "annotations",
	"solaris", "windows", "vm", "zos", "freebsd",
	"mounts.destination", "mounts.type", "mounts.source", "mounts.options",
	"mounts.uidMappings", "mounts.gidMappings",
	"hooks.prestart", "hooks.createRuntime", "hooks.createContainer",
	"hooks.startContainer", "hooks.poststart", "hooks.poststop", "hooks.path",
	"hooks.args", "hooks.env", "hooks.timeout",
	"process.terminal", "process.consoleSize", "process.cwd", "process.env",
	"process.args", "process.commandLine", "process.rlimits", "process.apparmorProfile",
	"process.capabilities.bounding", "process.capabilities.effective",
	"process.capabilities.inheritable", "process.capabilities.permitted",
	"process.capabilities.ambient", "process.noNewPrivileges", "process.oomScoreAdj",
	"process.scheduler.policy", "process.scheduler.nice", "process.scheduler.priority",
	"process.scheduler.flags", "process.scheduler.runtime", "process.scheduler.deadline",
	"process.scheduler.period", "process.selinuxLabel", "process.ioPriority.class",
	"process.ioPriority.priority", "process.execCPUAffinity.initial",
	"process.execCPUAffinity.final", "process.user.uid", "process.user.gid",
	"process.user.umask", "process.user.additionalGids", "process.user.username",
	"linux.namespaces.pid", "linux.namespaces.network", "linux.namespaces.mount",
	"linux.namespaces.ipc", "linux.namespaces.uts", "linux.namespaces.user",
	"linux.namespaces.cgroup", "linux.namespaces.time", "linux.namespaces.path",
	"linux.uidMappings", "linux.gidMappings", "linux.timeOffsets",
	"linux.devices.type", "linux.devices.path", "linux.devices.major",
	"linux.devices.minor", "linux.devices.fileMode", "linux.devices.uid",
	"linux.devices.gid", "linux.netDevices", "linux.cgroupsPath",
	"linux.resources.devices.allow", "linux.resources.devices.type",
	"linux.resources.devices.major", "linux.resources.devices.minor",
	"linux.resources.devices.access", "linux.resources.memory.limit",
	"linux.resources.memory.reservation", "linux.resources.memory.swap",
	"linux.resources.memory.kernel", "linux.resources.memory.kernelTCP",
	"linux.resources.memory.swappiness", "linux.resources.memory.disableOOMKiller",
	"linux.resources.memory.useHierarchy", "linux.resources.memory.checkBeforeUpdate",
	"linux.resources.cpu.shares", "linux.resources.cpu.quota", "linux.resources.cpu.burst",
	"linux.resources.cpu.period", "linux.resources.cpu.realtimeRuntime",
	"linux.resources.cpu.realtimePeriod", "linux.resources.cpu.cpus",
	"linux.resources.cpu.mems", "linux.resources.cpu.idle", "linux.resources.pids.limit",
	"linux.resources.blockIO.weight", "linux.resources.blockIO.leafWeight",
	"linux.resources.blockIO.weightDevice", "linux.resources.blockIO.throttleReadBpsDevice",
	"linux.resources.blockIO.throttleWriteBpsDevice",
	"linux.resources.blockIO.throttleReadIOPSDevice",
	"linux.resources.blockIO.throttleWriteIOPSDevice", "linux.resources.hugepageLimits",
	"linux.resources.network.classID", "linux.resources.network.priorities",
	"linux.resources.rdma", "linux.resources.unified", "linux.sysctl",
	"linux.seccomp.defaultAction", "linux.seccomp.defaultErrnoRet",
	"linux.seccomp.architectures", "linux.seccomp.flags", "linux.seccomp.listenerPath",
	"linux.seccomp.listenerMetadata", "linux.seccomp.syscalls.names",
	"linux.seccomp.syscalls.action", "linux.seccomp.syscalls.errnoRet",
	"linux.seccomp.syscalls.args", "linux.rootfsPropagation", "linux.maskedPaths",
	"linux.readonlyPaths", "linux.mountLabel", "linux.intelRdt", "linux.memoryPolicy",
	"linux.personality.domain", "linux.personality.flags",
};

/**
 * struct row - what becomes of a field
 * @field: of `fields`
 * @patch: of the configuration
 * @want:  line of flat(), "...*" for its beginning; or the message of the refusal
 * @list, @word: array of `podvm features` and its word that says so; NULL: it has none
 */
struct row {
	const char *field, *patch, *want, *list, *word;
};

#define PROCESS(p) "{'process':{" p "}}"
#define LINUX(p) "{'linux':{" p "}}"
#define RES(p) LINUX("'resources':{" p "}")
#define MOUNT(p) "{'mounts':[{'destination':'/m','type':'tmpfs'," p "}]}"
#define SECCOMP(p) LINUX("'seccomp':{" p "}")
#define RULE(p) SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['getppid']," p "}]")
#define HOOK(kind, p) "{'hooks':{'" kind "':[{'path':'/bin/sh'" p "}]}}"
#define NS(p) LINUX("'namespaces':[{'type':'pid'},{'type':'network'},{'type':'ipc'}," \
		    "{'type':'uts'},{'type':'mount'}" p "]")
#define SPACES "'namespaces':[{'type':'pid'},{'type':'network'},{'type':'ipc'},{'type':'uts'},{'type':'mount'}"
#define USER(map) LINUX(SPACES ",{'type':'user'}],'uidMappings':[" map "]," \
			"'gidMappings':[{'containerID':0,'hostID':200000,'size':65536}]")
/* With a user namespace: a change of the process, and one of the linux section. */
#define USERNS(process, linux) "{'process':{" process "},'linux':{" SPACES ",{'type':'user'}]," \
	"'uidMappings':[{'containerID':0,'hostID':100000,'size':65536}]," \
	"'gidMappings':[{'containerID':0,'hostID':200000,'size':65536}]" linux "}}"
#define TIME(p) LINUX(SPACES ",{'type':'time'}],'timeOffsets':{" p "}")
#define DEV(p) LINUX("'devices':[{" p "}]")
#define RULES(p) RES("'devices':[{" p "}]")

static const struct row honoured[] = {
	{ "ociVersion", "{'ociVersion':'1.2.1'}", "oci_version=1.2.1", NULL, NULL },
	{ "root.path", "{'root':{'path':'other'}}", "rootfs=*other", NULL, NULL },
	{ "root.readonly", "{'root':{'readonly':false}}", "create.rootfs.readonly=0", NULL, NULL },
	{ "hostname", "{'hostname':'web'}", "create.hostname=web", NULL, NULL },
	{ "domainname", "{'domainname':'pods.example'}", "create.domainname=pods.example", NULL, NULL },
	{ "annotations", "{'annotations':{'a.b/c':'d'}}", "annotation.a.b/c=d", NULL, NULL },

	{ "mounts.destination", MOUNT("'options':[]"), "create.mounts.0.destination=/m", NULL, NULL },
	{ "mounts.destination", "{'mounts':[{'destination':'a//b/','type':'tmpfs'}]}",
	  "create.mounts.0.destination=/a/b", NULL, NULL },
	{ "mounts.type", "{'mounts':[{'destination':'/sys/fs/cgroup','type':'cgroup2'}]}",
	  "create.mounts.0.type=cgroup2", NULL, NULL },
	{ "mounts.source", MOUNT("'source':'name'"), "create.mounts.0.source=name", NULL, NULL },
	{ "mounts.options", MOUNT("'options':['size=9m','ro']"), "create.mounts.0.data=size=9m", NULL, NULL },

	{ "hooks.prestart", HOOK("prestart", ""), "prestart.0.path=/bin/sh", "/hooks", "prestart" },
	{ "hooks.createRuntime", HOOK("createRuntime", ""), "createRuntime.0.path=/bin/sh",
	  "/hooks", "createRuntime" },
	{ "hooks.createContainer", HOOK("createContainer", ",'args':['a','b'],'env':['C=d'],'timeout':4"),
	  "create.create_hooks.hooks.0.args.1=b", "/hooks", "createContainer" },
	{ "hooks.createContainer", HOOK("createContainer", ",'env':['C=d']"),
	  "create.create_hooks.hooks.0.env.0=C=d", NULL, NULL },
	{ "hooks.startContainer", HOOK("startContainer", ",'timeout':4"),
	  "create.start_hooks.hooks.0.timeout_s=4", "/hooks", "startContainer" },
	{ "hooks.startContainer", HOOK("startContainer", ""), "create.start_hooks.hooks.0.path=/bin/sh",
	  NULL, NULL },
	{ "hooks.poststart", HOOK("poststart", ""), "poststart.0.path=/bin/sh", "/hooks", "poststart" },
	{ "hooks.poststop", HOOK("poststop", ""), "poststop.0.path=/bin/sh", "/hooks", "poststop" },
	{ "hooks.path", HOOK("poststop", ""), "poststop.0.path=/bin/sh", NULL, NULL },
	{ "hooks.args", HOOK("poststop", ",'args':['x','y']"), "poststop.0.args.1=y", NULL, NULL },
	{ "hooks.env", HOOK("poststop", ",'env':['X=y']"), "poststop.0.env.0=X=y", NULL, NULL },
	{ "hooks.timeout", HOOK("poststop", ",'timeout':7"), "poststop.0.timeout=7", NULL, NULL },

	{ "process.terminal", PROCESS("'terminal':false"), "create.process.terminal=0", NULL, NULL },
	{ "process.consoleSize", PROCESS("'consoleSize':{'height':30,'width':132}"),
	  "create.process.columns=132", NULL, NULL },
	{ "process.consoleSize", PROCESS("'terminal':false,'consoleSize':{'height':30,'width':132}"),
	  "create.process.rows=0", NULL, NULL },
	{ "process.cwd", PROCESS("'cwd':'/srv'"), "create.process.cwd=/srv", NULL, NULL },
	{ "process.env", PROCESS("'env':['A=b']"), "create.process.env.0=A=b", NULL, NULL },
	{ "process.args", PROCESS("'args':['ls','-l']"), "create.process.args.1=-l", NULL, NULL },
	{ "process.rlimits", PROCESS("'rlimits':[{'type':'RLIMIT_CORE','soft':1,'hard':2}]"),
	  "create.process.rlimits.0.hard=2", NULL, NULL },
	{ "process.apparmorProfile", PROCESS("'apparmorProfile':'unconfined','cwd':'/y'"),
	  "create.process.cwd=/y", NULL, NULL },
	{ "process.capabilities.bounding", PROCESS("'capabilities':{'bounding':['CAP_CHOWN']}"),
	  "create.process.capabilities.bounding=1", "/linux/capabilities", "CAP_CHOWN" },
	/* "Runtimes SHOULD NOT fail" over what the kernel does not have */
	{ "process.capabilities.bounding", PROCESS("'capabilities':{'bounding':['CAP_FLY','CAP_FOWNER']}"),
	  "create.process.capabilities.bounding=8", NULL, NULL },
	{ "process.capabilities.effective", PROCESS("'capabilities':{'effective':['CAP_KILL']}"),
	  "create.process.capabilities.effective=32", NULL, NULL },
	{ "process.capabilities.inheritable", PROCESS("'capabilities':{'inheritable':['CAP_KILL']}"),
	  "create.process.capabilities.inheritable=32", NULL, NULL },
	{ "process.capabilities.permitted",
	  PROCESS("'capabilities':{'permitted':['CAP_KILL'],'effective':[]}"),
	  "create.process.capabilities.permitted=32", NULL, NULL },
	{ "process.capabilities.ambient",
	  PROCESS("'capabilities':{'inheritable':['CAP_KILL'],'ambient':['CAP_KILL']}"),
	  "create.process.capabilities.ambient=32", NULL, NULL },
	{ "process.noNewPrivileges", PROCESS("'noNewPrivileges':false"),
	  "create.process.no_new_privileges=0", NULL, NULL },
	{ "process.oomScoreAdj", PROCESS("'oomScoreAdj':-500"),
	  "create.process.oom_score_adj=-500", NULL, NULL },
	{ "process.scheduler.policy", PROCESS("'scheduler':{'policy':'SCHED_BATCH'}"),
	  "create.process.scheduler.policy=3", NULL, NULL },
	{ "process.scheduler.policy", PROCESS("'scheduler':{'policy':'SCHED_IDLE'}"),
	  "create.process.scheduler.policy=5", NULL, NULL },
	{ "process.scheduler.policy", PROCESS("'scheduler':{'policy':'SCHED_OTHER'}"),
	  "create.process.scheduler.policy=0", NULL, NULL },
	{ "process.scheduler.nice", PROCESS("'scheduler':{'policy':'SCHED_OTHER','nice':-20}"),
	  "create.process.scheduler.nice=-20", NULL, NULL },
	{ "process.scheduler.priority", PROCESS("'scheduler':{'policy':'SCHED_RR','priority':99}"),
	  "create.process.scheduler.priority=99", NULL, NULL },
	{ "process.scheduler.flags",
	  PROCESS("'scheduler':{'policy':'SCHED_FIFO','priority':1,'flags':['SCHED_FLAG_RESET_ON_FORK',"
		  "'SCHED_FLAG_KEEP_PARAMS']}"),
	  "create.process.scheduler.flags=17", NULL, NULL },
	{ "process.scheduler.runtime",
	  PROCESS("'scheduler':{'policy':'SCHED_DEADLINE','runtime':5000000,'deadline':9000000}"),
	  "create.process.scheduler.runtime_ns=5000000", NULL, NULL },
	{ "process.scheduler.deadline",
	  PROCESS("'scheduler':{'policy':'SCHED_DEADLINE','runtime':5000000,'deadline':9000000}"),
	  "create.process.scheduler.deadline_ns=9000000", NULL, NULL },
	{ "process.scheduler.period",
	  PROCESS("'scheduler':{'policy':'SCHED_DEADLINE','runtime':1,'deadline':2,'period':3}"),
	  "create.process.scheduler.period_ns=3", NULL, NULL },
	{ "process.ioPriority.class", PROCESS("'ioPriority':{'class':'IOPRIO_CLASS_IDLE','priority':0}"),
	  "create.process.traits.io_priority=24576", NULL, NULL },
	{ "process.ioPriority.priority", PROCESS("'ioPriority':{'class':'IOPRIO_CLASS_BE','priority':7}"),
	  "create.process.traits.io_priority=16391", NULL, NULL },
	{ "process.execCPUAffinity.initial", PROCESS("'execCPUAffinity':{'initial':'3,0-1'}"),
	  "create.process.traits.cpus_initial.2=3", NULL, NULL },
	{ "process.execCPUAffinity.final", PROCESS("'execCPUAffinity':{'final':'1023'}"),
	  "create.process.traits.cpus_final.0=1023", NULL, NULL },
	{ "process.user.uid", PROCESS("'user':{'uid':1000}"), "create.process.uid=1000", NULL, NULL },
	{ "process.user.gid", PROCESS("'user':{'gid':100}"), "create.process.gid=100", NULL, NULL },
	{ "process.user.umask", PROCESS("'user':{'umask':63}"), "create.process.umask=63", NULL, NULL },
	{ "process.user.additionalGids", PROCESS("'user':{'additionalGids':[5,6]}"),
	  "create.process.additional_gids.1=6", NULL, NULL },

	{ "linux.namespaces.pid", NS(""), "namespace.pid=new", "/linux/namespaces", "pid" },
	{ "linux.namespaces.network", NS(""), "namespace.network=shared", "/linux/namespaces", "network" },
	{ "linux.namespaces.mount", NS(""), "namespace.mount=new", "/linux/namespaces", "mount" },
	{ "linux.namespaces.ipc", NS(""), "namespace.ipc=new", "/linux/namespaces", "ipc" },
	{ "linux.namespaces.uts", NS(""), "namespace.uts=new", "/linux/namespaces", "uts" },
	{ "linux.namespaces.cgroup", NS(",{'type':'cgroup'}"), "namespace.cgroup=new",
	  "/linux/namespaces", "cgroup" },
	{ "linux.namespaces.user", USERNS("", ""), "namespace.user=new", "/linux/namespaces", "user" },
	{ "linux.namespaces.time", TIME(""), "namespace.time=new", "/linux/namespaces", "time" },
	{ "linux.uidMappings", USERNS("", ""), "create.namespaces.5.uid_maps.0.outside=100000", NULL, NULL },
	{ "linux.uidMappings", USER("{'containerID':0,'hostID':1000,'size':1},"
				    "{'containerID':1,'hostID':100000,'size':9}"),
	  "create.namespaces.5.uid_maps.1.inside=1", NULL, NULL },
	{ "linux.gidMappings", USERNS("", ""), "create.namespaces.5.gid_maps.0.size=65536", NULL, NULL },
	/* What the machine's root makes for it has the machine's ids. */
	{ "linux.devices.uid", USERNS("", ",'devices':[{'type':'p','path':'/dev/q','uid':7}]"),
	  "create.devices.0.uid=100007", NULL, NULL },
	{ "mounts.options", USERNS("", "},'mounts':[{'destination':'/m','type':'tmpfs'}],'x':{"),
	  "create.mounts.0.data=uid=100000,gid=200000", NULL, NULL },
	{ "mounts.options",
	  USERNS("", "},'mounts':[{'destination':'/m','type':'tmpfs','options':['size=1m','gid=5']}],'x':{"),
	  "create.mounts.0.data=size=1m,gid=200005,uid=100000", NULL, NULL },
	{ "mounts.options",
	  USERNS("", "},'mounts':[{'destination':'/m','type':'devpts','options':['mode=620','gid=5']}],'x':{"),
	  "create.mounts.0.data=mode=620,gid=200005", NULL, NULL },
	{ "linux.timeOffsets", TIME("'monotonic':{'secs':5},'boottime':{'secs':-7,'nanosecs':3}"),
	  "create.time_offsets=monotonic 5 0?boottime -7 3?", NULL, NULL },
	{ "linux.namespaces.path",
	  "{'annotations':{'io.kubernetes.cri.container-type':'sandbox','io.kubernetes.cri.sandbox-id':'p'},"
	  "'linux':{'namespaces':[{'type':'pid'},{'type':'network'},{'type':'ipc','path':'/x'},"
	  "{'type':'uts'},{'type':'mount'}]}}", "namespace.ipc=shared", NULL, NULL },
	{ "linux.devices.type", DEV("'type':'p','path':'/dev/q'"), "create.devices.0.type=4096", NULL, NULL },
	{ "linux.devices.type", DEV("'type':'b','path':'/dev/q','major':8,'minor':1"),
	  "create.devices.0.type=24576", NULL, NULL },
	{ "linux.devices.path", DEV("'type':'u','path':'/dev/q','major':1,'minor':3"),
	  "create.devices.0.path=/dev/q", NULL, NULL },
	{ "linux.devices.major", DEV("'type':'c','path':'/dev/q','major':5,'minor':0"),
	  "create.devices.0.major=5", NULL, NULL },
	{ "linux.devices.minor", DEV("'type':'c','path':'/dev/q','major':10,'minor':200"),
	  "create.devices.0.minor=200", NULL, NULL },
	{ "linux.devices.fileMode", DEV("'type':'p','path':'/dev/q','fileMode':432"),
	  "create.devices.0.mode=432", NULL, NULL },
	{ "linux.devices.uid", DEV("'type':'p','path':'/dev/q','uid':7"), "create.devices.0.uid=7", NULL, NULL },
	{ "linux.devices.gid", DEV("'type':'p','path':'/dev/q','gid':8"), "create.devices.0.gid=8", NULL, NULL },
	{ "linux.cgroupsPath", LINUX("'cgroupsPath':'/a/b'"), "cgroups_path=/a/b", NULL, NULL },
	{ "linux.resources.devices.allow", RULES("'allow':false,'type':'c','major':1,'minor':3"),
	  "create.device_rules.1.allow=0", NULL, NULL },
	{ "linux.resources.devices.type", RULES("'allow':true,'type':'a'"),
	  "create.device_rules.1.type=97", NULL, NULL },
	{ "linux.resources.devices.major", RULES("'allow':true,'type':'c','major':10"),
	  "create.device_rules.1.major=10", NULL, NULL },
	{ "linux.resources.devices.minor", RULES("'allow':true,'type':'c','minor':229"),
	  "create.device_rules.1.minor=229", NULL, NULL },
	{ "linux.resources.devices.access", RULES("'allow':true,'type':'c','access':'m'"),
	  "create.device_rules.1.access=1", NULL, NULL },
	{ "linux.resources.memory.limit", RES("'memory':{'limit':1048576}"), "cgroup.memory.max=1048576", NULL, NULL },
	{ "linux.resources.memory.limit", RES("'memory':{'limit':-1}"), "cgroup.memory.max=max", NULL, NULL },
	{ "linux.resources.memory.reservation", RES("'memory':{'reservation':4096}"),
	  "cgroup.memory.low=4096", NULL, NULL },
	{ "linux.resources.memory.swap", RES("'memory':{'swap':268435457}"),
	  "cgroup.memory.swap.max=1", NULL, NULL },
	/* A new cgroup uses nothing, so there is nothing to check. */
	{ "linux.resources.memory.checkBeforeUpdate",
	  RES("'memory':{'checkBeforeUpdate':true,'limit':1}"), "cgroup.memory.max=1", NULL, NULL },
	{ "linux.resources.memory.useHierarchy", RES("'memory':{'useHierarchy':true,'limit':2}"),
	  "cgroup.memory.max=2", NULL, NULL },
	{ "linux.resources.cpu.shares", RES("'cpu':{'shares':2}"), "cgroup.cpu.weight=1", NULL, NULL },
	{ "linux.resources.cpu.quota", RES("'cpu':{'quota':50000}"), "cgroup.cpu.max=50000 100000", NULL, NULL },
	{ "linux.resources.cpu.period", RES("'cpu':{'period':50000}"), "cgroup.cpu.max=20000 50000", NULL, NULL },
	{ "linux.resources.cpu.burst", RES("'cpu':{'burst':2000}"), "cgroup.cpu.max.burst=2000", NULL, NULL },
	{ "linux.resources.cpu.cpus", RES("'cpu':{'cpus':'0'}"), "cpus=0", NULL, NULL },
	{ "linux.resources.cpu.mems", RES("'cpu':{'mems':'0-0'}"), "mems=0", NULL, NULL },
	{ "linux.resources.cpu.idle", RES("'cpu':{'idle':1}"), "cgroup.cpu.idle=1", NULL, NULL },
	{ "linux.resources.pids.limit", RES("'pids':{'limit':77}"), "cgroup.pids.max=77", NULL, NULL },
	{ "linux.resources.blockIO.weight", RES("'blockIO':{'weight':1000}"), "cgroup.io.weight=10000", NULL, NULL },
	{ "linux.resources.hugepageLimits",
	  RES("'hugepageLimits':[{'pageSize':'2MB','limit':0}],'pids':{'limit':3}"),
	  "cgroup.pids.max=3", NULL, NULL },
	{ "linux.resources.unified", RES("'unified':{'pids.max':'88'}"), "cgroup.pids.max=88", NULL, NULL },
	{ "linux.resources.unified", RES("'unified':{'cpuset.cpus':'4,2-3'}"), "cpus=2-4", NULL, NULL },
	{ "linux.resources.unified", RES("'unified':{'cpuset.mems':'1'}"), "mems=1", NULL, NULL },
	{ "linux.sysctl", LINUX("'sysctl':{'net.core.somaxconn':'9'}"),
	  "sysctl.net.core.somaxconn=9", NULL, NULL },
	{ "linux.seccomp.defaultAction", SECCOMP("'defaultAction':'SCMP_ACT_LOG'"),
	  "create.process.seccomp=*bytes", "/linux/seccomp/actions", "SCMP_ACT_LOG" },
	{ "linux.seccomp.defaultErrnoRet", SECCOMP("'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':38"),
	  "create.process.seccomp=*bytes", "/linux/seccomp/actions", "SCMP_ACT_ERRNO" },
	{ "linux.seccomp.architectures",
	  SECCOMP("'defaultAction':'SCMP_ACT_KILL','architectures':['SCMP_ARCH_X86','SCMP_ARCH_ARM']"),
	  "create.process.seccomp=*bytes", "/linux/seccomp/archs", "SCMP_ARCH_X86" },
	{ "linux.seccomp.flags", SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','flags':['SECCOMP_FILTER_FLAG_LOG']"),
	  "create.process.traits.seccomp_flags=2", "/linux/seccomp/supportedFlags", "SECCOMP_FILTER_FLAG_LOG" },
	{ "linux.seccomp.flags",
	  SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','flags':['SECCOMP_FILTER_FLAG_SPEC_ALLOW']"),
	  "create.process.traits.seccomp_flags=4", "/linux/seccomp/supportedFlags",
	  "SECCOMP_FILTER_FLAG_SPEC_ALLOW" },
	{ "linux.seccomp.flags", SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','flags':['SECCOMP_FILTER_FLAG_TSYNC']"),
	  "create.process.seccomp=*bytes", "/linux/seccomp/supportedFlags", "SECCOMP_FILTER_FLAG_TSYNC" },
	{ "linux.seccomp.syscalls.names", RULE("'action':'SCMP_ACT_TRAP'"), "create.process.seccomp=*bytes",
	  "/linux/seccomp/actions", "SCMP_ACT_TRAP" },
	{ "linux.seccomp.syscalls.action", RULE("'action':'SCMP_ACT_KILL_THREAD'"),
	  "create.process.seccomp=*bytes", "/linux/seccomp/actions", "SCMP_ACT_KILL_THREAD" },
	{ "linux.seccomp.syscalls.action", RULE("'action':'SCMP_ACT_KILL'"),
	  "create.process.seccomp=*bytes", "/linux/seccomp/actions", "SCMP_ACT_KILL" },
	{ "linux.seccomp.syscalls.action", RULE("'action':'SCMP_ACT_KILL_PROCESS'"),
	  "create.process.seccomp=*bytes", "/linux/seccomp/actions", "SCMP_ACT_KILL_PROCESS" },
	{ "linux.seccomp.syscalls.action", RULE("'action':'SCMP_ACT_ALLOW'"),
	  "create.process.seccomp=*bytes", "/linux/seccomp/actions", "SCMP_ACT_ALLOW" },
	{ "linux.seccomp.syscalls.errnoRet", RULE("'action':'SCMP_ACT_TRACE','errnoRet':7"),
	  "create.process.seccomp=*bytes", "/linux/seccomp/actions", "SCMP_ACT_TRACE" },
#define ARGS(op) { "linux.seccomp.syscalls.args", \
	  RULE("'action':'SCMP_ACT_ERRNO','args':[{'index':0,'value':1,'valueTwo':1,'op':'" op "'}]"), \
	  "create.process.seccomp=*bytes", "/linux/seccomp/operators", op }
	ARGS("SCMP_CMP_NE"), ARGS("SCMP_CMP_LT"), ARGS("SCMP_CMP_LE"), ARGS("SCMP_CMP_EQ"),
	ARGS("SCMP_CMP_GE"), ARGS("SCMP_CMP_GT"), ARGS("SCMP_CMP_MASKED_EQ"),
	{ "linux.seccomp.architectures",
	  SECCOMP("'defaultAction':'SCMP_ACT_KILL','architectures':['SCMP_ARCH_X86_64']"),
	  "create.process.seccomp=*bytes", "/linux/seccomp/archs", "SCMP_ARCH_X86_64" },
	{ "linux.seccomp.architectures",
	  SECCOMP("'defaultAction':'SCMP_ACT_KILL','architectures':['SCMP_ARCH_X32']"),
	  "create.process.seccomp=*bytes", "/linux/seccomp/archs", "SCMP_ARCH_X32" },
	{ "linux.rootfsPropagation", LINUX("'rootfsPropagation':'unbindable'"),
	  "create.rootfs.propagation=131072", NULL, NULL },
	{ "linux.maskedPaths", LINUX("'maskedPaths':['/secret']"), "create.masked_paths.0=/secret", NULL, NULL },
	{ "linux.readonlyPaths", LINUX("'readonlyPaths':['/fixed']"), "create.readonly_paths.0=/fixed", NULL, NULL },
	{ "linux.personality.domain", LINUX("'personality':{'domain':'LINUX32'}"),
	  "create.process.traits.personality=8", NULL, NULL },
	{ "linux.personality.domain", LINUX("'personality':{'domain':'LINUX'}"),
	  "create.process.traits.personality=0", NULL, NULL },
};

#define MAPPED "ids of volumes are the host's in a pod; leave it out and change the owners of the source"
#define V2 "cgroup v2 "
#define NO_DISKS "not supported: the host's disks are not in the pod's virtual machine; leave it out"
#define BLKIO(field) { "linux.resources.blockIO." field, \
	RES("'blockIO':{'" field "':[{'major':8,'minor':0,'rate':1,'weight':10}]}"), \
	"/linux/resources/blockIO/" field ": " NO_DISKS, NULL, NULL }
#define NO_SELINUX "not supported: the pod's virtual machine has no SELinux; set label=disable in the engine"

static const struct row refused[] = {
	{ "ociVersion", "{'ociVersion':'2.0.0'}",
	  "/ociVersion: \"2.0.0\": not supported: the major version must be 1", NULL, NULL },
	{ "solaris", "{'solaris':{'milestone':'x'}}",
	  "/solaris: not supported: this is a runtime for Linux containers; leave the section out", NULL, NULL },
	{ "windows", "{'windows':{'layerFolders':['x']}}",
	  "/windows: not supported: this is a runtime for Linux containers; leave the section out", NULL, NULL },
	{ "vm", "{'vm':{'kernel':{'path':'/x'}}}",
	  "/vm: not supported: the virtual machine is podvm's own; leave the section out", NULL, NULL },
	{ "zos", "{'zos':{'namespaces':[{'type':'pid'}]}}",
	  "/zos: not supported: this is a runtime for Linux containers; leave the section out", NULL, NULL },
	{ "freebsd", "{'freebsd':{'jail':{}}}",
	  "/freebsd: not supported: this is a runtime for Linux containers; leave the section out", NULL, NULL },

	{ "mounts.type", "{'mounts':[{'destination':'/m','type':'nfs'}]}",
	  "/mounts/0/type: \"nfs\": not supported: a pod mounts proc, sysfs, tmpfs, devpts, mqueue, "
	  "cgroup, cgroup2, and bind", NULL, NULL },
	{ "mounts.destination", "{'mounts':[{'destination':'a/../../b','type':'tmpfs'}]}",
	  "/mounts/0/destination: \"a/../../b\": \"..\" is not allowed here", NULL, NULL },
	{ "mounts.options", MOUNT("'options':['idmap']"),
	  "/mounts/0/options/0: not supported: mount option \"idmap\": " MAPPED, "/mountOptions", "idmap" },
	{ "mounts.options", MOUNT("'options':['ridmap']"),
	  "/mounts/0/options/0: not supported: mount option \"ridmap\": " MAPPED, "/mountOptions", "ridmap" },
	{ "mounts.uidMappings", MOUNT("'uidMappings':[{'containerID':0,'hostID':1,'size':1}]"),
	  "/mounts/0/uidMappings: not supported: " MAPPED, NULL, NULL },
	{ "mounts.gidMappings", MOUNT("'gidMappings':[{'containerID':0,'hostID':1,'size':1}]"),
	  "/mounts/0/gidMappings: not supported: " MAPPED, NULL, NULL },
	{ "mounts.options", "{'mounts':[{'destination':'/m','source':'/x','options':['bind','rshared']}]}",
	  "/mounts/0/options: not supported: shared propagation: mounts of a container are made in the "
	  "pod's machine and cannot appear on the host; use rprivate or rslave", NULL, NULL },

	{ "process.commandLine", PROCESS("'commandLine':'a b'"),
	  "/process/commandLine: not supported: it is for Windows; give args", NULL, NULL },
	{ "process.rlimits", PROCESS("'rlimits':[{'type':'RLIMIT_FUN','soft':1,'hard':1}]"),
	  "/process/rlimits/0/type: unknown resource limit \"RLIMIT_FUN\"", NULL, NULL },
	{ "process.apparmorProfile", PROCESS("'apparmorProfile':'docker-default'"),
	  "/process/apparmorProfile: \"docker-default\": not supported: the pod's virtual machine has no "
	  "AppArmor; ask for \"unconfined\" (podman, docker: --security-opt apparmor=unconfined; "
	  "Kubernetes: appArmorProfile type Unconfined)", NULL, NULL },
	{ "process.selinuxLabel", PROCESS("'selinuxLabel':'u:r:t'"),
	  "/process/selinuxLabel: " NO_SELINUX, NULL, NULL },
	{ "process.user.username", PROCESS("'user':{'username':'joe'}"),
	  "/process/user/username: not supported: it is for Windows; give uid and gid", NULL, NULL },
	{ "process.scheduler.policy", PROCESS("'scheduler':{'policy':'SCHED_ISO'}"),
	  "/process/scheduler/policy: not supported: SCHED_ISO: Linux has no such policy; use SCHED_RR",
	  NULL, NULL },
	{ "process.scheduler.policy", PROCESS("'scheduler':{'nice':1}"),
	  "/process/scheduler/policy: missing", NULL, NULL },
	{ "process.scheduler.policy", PROCESS("'scheduler':{'policy':'SCHED_X'}"),
	  "/process/scheduler/policy: unknown policy \"SCHED_X\"", NULL, NULL },
	{ "process.scheduler.nice", PROCESS("'scheduler':{'policy':'SCHED_OTHER','nice':20}"),
	  "/process/scheduler/nice: must be -20 to 19", NULL, NULL },
	{ "process.scheduler.priority", PROCESS("'scheduler':{'policy':'SCHED_FIFO'}"),
	  "/process/scheduler/priority: must be 1 to 99 for this policy", NULL, NULL },
	{ "process.scheduler.priority", PROCESS("'scheduler':{'policy':'SCHED_IDLE','priority':1}"),
	  "/process/scheduler/priority: is for SCHED_FIFO and SCHED_RR; leave it out", NULL, NULL },
	{ "process.scheduler.flags",
	  PROCESS("'scheduler':{'policy':'SCHED_OTHER','flags':['SCHED_FLAG_UTIL_CLAMP_MIN']}"),
	  "/process/scheduler/flags/0: not supported: SCHED_FLAG_UTIL_CLAMP_MIN: no field has its value; "
	  "leave it out", NULL, NULL },
	{ "process.scheduler.flags",
	  PROCESS("'scheduler':{'policy':'SCHED_OTHER','flags':['SCHED_FLAG_UTIL_CLAMP_MAX']}"),
	  "/process/scheduler/flags/0: not supported: SCHED_FLAG_UTIL_CLAMP_MAX: no field has its value; "
	  "leave it out", NULL, NULL },
	{ "process.scheduler.flags", PROCESS("'scheduler':{'policy':'SCHED_OTHER','flags':['X']}"),
	  "/process/scheduler/flags/0: unknown flag \"X\"", NULL, NULL },
	{ "process.scheduler.runtime", PROCESS("'scheduler':{'policy':'SCHED_DEADLINE','deadline':5}"),
	  "/process/scheduler/runtime: must be above 0, at most the deadline, and that at most the period",
	  NULL, NULL },
	{ "process.scheduler.deadline", PROCESS("'scheduler':{'policy':'SCHED_OTHER','deadline':5}"),
	  "/process/scheduler/deadline: is for SCHED_DEADLINE; leave it out", NULL, NULL },
	{ "process.ioPriority.class", PROCESS("'ioPriority':{'class':'IOPRIO_CLASS_NONE','priority':0}"),
	  "/process/ioPriority/class: unknown class \"IOPRIO_CLASS_NONE\"", NULL, NULL },
	{ "process.ioPriority.priority", PROCESS("'ioPriority':{'class':'IOPRIO_CLASS_RT','priority':8}"),
	  "/process/ioPriority/priority: must be 0 to 7", NULL, NULL },
	{ "process.ioPriority.priority", PROCESS("'ioPriority':{'class':'IOPRIO_CLASS_RT'}"),
	  "/process/ioPriority/priority: must be 0 to 7", NULL, NULL },
#define CPUS(bad) { "process.execCPUAffinity.initial", PROCESS("'execCPUAffinity':{'initial':'" bad "'}"), \
	  "/process/execCPUAffinity/initial: must be a list such as 0-3,7 of processors of the pod's " \
	  "machine, below 1024", NULL, NULL }
	CPUS("a"), CPUS("1,"), CPUS(",1"), CPUS("3-1"), CPUS("1024"), CPUS("0-"), CPUS("-1"), CPUS("1-2-3"),
	CPUS("99999999"), CPUS("0-99999999"),
	{ "process.execCPUAffinity.final", PROCESS("'execCPUAffinity':{'final':'0 1'}"),
	  "/process/execCPUAffinity/final: must be a list such as 0-3,7 of processors of the pod's machine, "
	  "below 1024", NULL, NULL },

	{ "linux.namespaces.time", NS(",{'type':'time','path':'/x'}"),
	  "/linux/namespaces/5/path: not supported: joining the time namespace \"/x\": only containers of "
	  "one pod share namespaces", NULL, NULL },
	{ "linux.namespaces.time",
	  "{'annotations':{'io.kubernetes.cri.container-type':'sandbox','io.kubernetes.cri.sandbox-id':'p'},"
	  "'linux':{'namespaces':[{'type':'time','path':'/x'}]}}",
	  "/linux/namespaces/0/path: not supported: joining the time namespace \"/x\": each container has "
	  "its own; leave the path out", NULL, NULL },
	{ "linux.namespaces.user", NS(",{'type':'user','path':'/x'}"),
	  "/linux/namespaces/5/path: not supported: joining the user namespace \"/x\": only containers of "
	  "one pod share namespaces", NULL, NULL },
	{ "linux.namespaces.user", NS(",{'type':'user'}"),
	  "/linux/uidMappings: missing: the user namespace needs it", NULL, NULL },
	{ "linux.namespaces.path", NS(",{'type':'cgroup','path':'/x'}"),
	  "/linux/namespaces/5/path: not supported: joining the cgroup namespace \"/x\": only containers of "
	  "one pod share namespaces", NULL, NULL },
	{ "linux.uidMappings", LINUX("'uidMappings':[{'containerID':0,'hostID':1,'size':1}]"),
	  "/linux/uidMappings: not supported: there is no user namespace in linux.namespaces; add one, or "
	  "leave it out", NULL, NULL },
	{ "linux.gidMappings", LINUX("'gidMappings':[{'containerID':0,'hostID':1,'size':1}]"),
	  "/linux/gidMappings: not supported: there is no user namespace in linux.namespaces; add one, or "
	  "leave it out", NULL, NULL },
#define BAD_MAP(map, want) { "linux.uidMappings", USER(map), "/linux/uidMappings" want, NULL, NULL }
	BAD_MAP("{'containerID':1,'hostID':1,'size':1}", ": must map 0, which is the container's root"),
	BAD_MAP("{'containerID':0,'hostID':1}", "/0/size: missing"),
	BAD_MAP("{'containerID':0,'size':1}", "/0/hostID: missing"),
	BAD_MAP("{'hostID':0,'size':1}", "/0/containerID: missing"),
	BAD_MAP("{'containerID':0,'hostID':1,'size':0}",
		"/0/size: must be 1 at least, and no id above 4294967294"),
	BAD_MAP("{'containerID':0,'hostID':4294967290,'size':6}",
		"/0/size: must be 1 at least, and no id above 4294967294"),
	BAD_MAP("{'containerID':0,'hostID':4294967295,'size':1}", "/0/hostID: must be below 4294967295"),
	BAD_MAP("{'containerID':0,'hostID':100,'size':10},{'containerID':9,'hostID':200,'size':1}",
		"/1: overlaps with entry 0"),
	BAD_MAP("{'containerID':0,'hostID':100,'size':10},{'containerID':50,'hostID':109,'size':1}",
		"/1: overlaps with entry 0"),
	{ "process.user.uid", USERNS("'user':{'uid':70000}", ""),
	  "/process/user/uid: 70000 is not in linux.uidMappings", NULL, NULL },
	{ "process.user.gid", USERNS("'user':{'gid':70000}", ""),
	  "/process/user/gid: 70000 is not in linux.gidMappings", NULL, NULL },
	{ "process.user.additionalGids", USERNS("'user':{'additionalGids':[1,70000]}", ""),
	  "/process/user/additionalGids/1: 70000 is not in linux.gidMappings", NULL, NULL },
	{ "linux.devices.uid", USERNS("", ",'devices':[{'type':'p','path':'/dev/q','uid':70000}]"),
	  "/linux/devices/0/uid: 70000 is not in linux.uidMappings", NULL, NULL },
	{ "linux.timeOffsets", LINUX("'timeOffsets':{'boottime':{'secs':1}}"),
	  "/linux/timeOffsets: not supported: there is no time namespace in linux.namespaces; add one, or "
	  "leave it out", NULL, NULL },
	{ "linux.timeOffsets", TIME("'realtime':{'secs':1}"),
	  "/linux/timeOffsets/realtime: unknown clock; \"monotonic\" and \"boottime\" can be set off",
	  NULL, NULL },
	{ "linux.timeOffsets", TIME("'boottime':{'nanosecs':1000000000}"),
	  "/linux/timeOffsets/boottime/nanosecs: must be below 1000000000", NULL, NULL },
	{ "linux.devices.major", DEV("'type':'c','path':'/dev/sg0','major':21,'minor':0"),
	  "/linux/devices/0: device \"/dev/sg0\" (character 21:0): not supported: the host's hardware is not "
	  "in the pod's virtual machine; leave it out or use a trusted runtime (trust.trustedRuntime in "
	  "podvm.json)", NULL, NULL },
	{ "linux.netDevices", LINUX("'netDevices':{'eth7':{}}"),
	  "/linux/netDevices: not supported: devices of the host cannot move into a pod; leave it out",
	  "/linux/netDevices/enabled", NULL },
	{ "linux.cgroupsPath", LINUX("'cgroupsPath':'/a/../b'"),
	  "/linux/cgroupsPath: \"/a/../b\": \"..\" is not allowed here", NULL, NULL },
	{ "linux.resources.devices.major", RULES("'allow':true,'type':'b','major':8,'minor':0"),
	  "/linux/resources/devices: block device 8:0: not supported: the host's numbers mean another device "
	  "in the pod's virtual machine; name the device in linux.devices, too, or leave it out", NULL, NULL },
	{ "linux.resources.memory.kernel", RES("'memory':{'kernel':5}"),
	  "/linux/resources/memory/kernel: not supported: " V2 "has no separate limit for kernel memory; "
	  "leave it out", NULL, NULL },
	{ "linux.resources.memory.kernelTCP", RES("'memory':{'kernelTCP':5}"),
	  "/linux/resources/memory/kernelTCP: not supported: " V2 "has no separate limit for TCP memory; "
	  "leave it out", NULL, NULL },
	{ "linux.resources.memory.swappiness", RES("'memory':{'swappiness':60}"),
	  "/linux/resources/memory/swappiness: not supported: " V2 "has no such setting; leave it out",
	  NULL, NULL },
	{ "linux.resources.memory.disableOOMKiller", RES("'memory':{'disableOOMKiller':true}"),
	  "/linux/resources/memory/disableOOMKiller: not supported: " V2 "cannot switch the OOM killer off; "
	  "leave it out", NULL, NULL },
	{ "linux.resources.memory.useHierarchy", RES("'memory':{'useHierarchy':false}"),
	  "/linux/resources/memory/useHierarchy: not supported: " V2 "is always hierarchical; leave it out",
	  NULL, NULL },
	{ "linux.resources.cpu.realtimeRuntime", RES("'cpu':{'realtimeRuntime':5}"),
	  "/linux/resources/cpu/realtimeRuntime: not supported: the guest's kernel has no real-time groups; "
	  "leave it out", NULL, NULL },
	{ "linux.resources.cpu.realtimePeriod", RES("'cpu':{'realtimePeriod':5}"),
	  "/linux/resources/cpu/realtimePeriod: not supported: the guest's kernel has no real-time groups; "
	  "leave it out", NULL, NULL },
	{ "linux.resources.blockIO.leafWeight", RES("'blockIO':{'leafWeight':10}"),
	  "/linux/resources/blockIO/leafWeight: not supported: " V2 "has no weight for leaves; leave it out",
	  NULL, NULL },
	BLKIO("weightDevice"), BLKIO("throttleReadBpsDevice"), BLKIO("throttleWriteBpsDevice"),
	BLKIO("throttleReadIOPSDevice"), BLKIO("throttleWriteIOPSDevice"),
	{ "linux.resources.hugepageLimits", RES("'hugepageLimits':[{'pageSize':'2MB','limit':1}]"),
	  "/linux/resources/hugepageLimits/0/limit: not supported: the pod's virtual machine reserves no "
	  "huge pages; leave it out", NULL, NULL },
	{ "linux.resources.network.classID", RES("'network':{'classID':1}"),
	  "/linux/resources/network/classID: not supported: " V2 "has no network classes; leave it out",
	  NULL, NULL },
	{ "linux.resources.network.priorities", RES("'network':{'priorities':[{'name':'a','priority':1}]}"),
	  "/linux/resources/network/priorities: not supported: " V2 "has no network priorities; leave it out",
	  NULL, NULL },
	{ "linux.resources.rdma", RES("'rdma':{'mlx5':{'hcaHandles':1}}"),
	  "/linux/resources/rdma: not supported: the host's RDMA devices are not in the pod's virtual machine; "
	  "leave it out", "/linux/cgroup/rdma", NULL },
	{ "linux.resources.cpu.cpus", RES("'cpu':{'cpus':'0-1024'}"),
	  "/linux/resources/cpu/cpus: \"0-1024\": must be a list such as 0-3,8, below 1024", NULL, NULL },
	{ "linux.resources.cpu.mems", RES("'cpu':{'mems':'x'}"),
	  "/linux/resources/cpu/mems: \"x\": must be a list such as 0-3,8, below 1024", NULL, NULL },
	{ "linux.resources.unified", RES("'unified':{'cpuset.cpus':'1-0'}"),
	  "/linux/resources/unified/cpuset.cpus: \"1-0\": must be a list such as 0-3,8, below 1024", NULL, NULL },
	{ "linux.resources.unified", RES("'unified':{'cpuset.cpus.partition':'root'}"),
	  "/linux/resources/unified/cpuset.cpus.partition: not supported: the host's processors are the whole pod's; leave it out",
	  NULL, NULL },
	{ "linux.resources.unified", RES("'unified':{'cgroup.freeze':'1'}"),
	  "/linux/resources/unified/cgroup.freeze: not supported: the pod's agent owns this file; leave it out",
	  NULL, NULL },
	{ "linux.sysctl", LINUX("'sysctl':{'vm.overcommit_memory':'1'}"),
	  "/linux/sysctl/vm.overcommit_memory: not supported: it belongs to no namespace and would change the "
	  "whole pod; net.*, fs.mqueue.* and kernel.{msg*,sem,shm*} do", NULL, NULL },
	{ "linux.seccomp.defaultAction", SECCOMP("'defaultAction':'SCMP_ACT_NOTIFY'"),
	  "/linux/seccomp/defaultAction: not supported: SCMP_ACT_NOTIFY: no listener on the host can answer for "
	  "a guest; use SCMP_ACT_ERRNO", "/linux/seccomp/actions", "SCMP_ACT_NOTIFY" },
	{ "linux.seccomp.syscalls.action", RULE("'action':'SCMP_ACT_NOTIFY'"),
	  "/linux/seccomp/syscalls/0/action: not supported: SCMP_ACT_NOTIFY: no listener on the host can answer "
	  "for a guest; use SCMP_ACT_ERRNO", "/linux/seccomp/actions", "SCMP_ACT_NOTIFY" },
	{ "linux.seccomp.flags",
	  SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','flags':['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV']"),
	  "/linux/seccomp/flags/0: not supported: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: it is for "
	  "SCMP_ACT_NOTIFY; leave it out", "/linux/seccomp/supportedFlags",
	  "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" },
	{ "linux.seccomp.listenerPath", SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','listenerPath':'/x'"),
	  "/linux/seccomp/listenerPath: not supported: no listener on the host can answer for a guest; "
	  "leave it out", NULL, NULL },
	{ "linux.seccomp.listenerMetadata", SECCOMP("'defaultAction':'SCMP_ACT_ALLOW','listenerMetadata':'x'"),
	  "/linux/seccomp/listenerMetadata: not supported: no listener on the host can answer for a guest; "
	  "leave it out", NULL, NULL },
	{ "linux.mountLabel", LINUX("'mountLabel':'x'"), "/linux/mountLabel: " NO_SELINUX,
	  "/linux/selinux/enabled", NULL },
	{ "linux.intelRdt", LINUX("'intelRdt':{'closID':'x'}"),
	  "/linux/intelRdt: not supported: cache and bandwidth classes are the host's; leave it out",
	  "/linux/intelRdt/enabled", NULL },
	{ "linux.memoryPolicy", LINUX("'memoryPolicy':{'mode':'MPOL_BIND','nodes':'0'}"),
	  "/linux/memoryPolicy: not supported: the host's memory nodes are not the virtual machine's; "
	  "leave it out", NULL, NULL },
	{ "linux.personality.domain", LINUX("'personality':{'domain':'BSD'}"),
	  "/linux/personality/domain: unknown domain \"BSD\"", NULL, NULL },
	{ "linux.personality.flags", LINUX("'personality':{'domain':'LINUX','flags':['ADDR_NO_RANDOMIZE']}"),
	  "/linux/personality/flags: not supported: the specification defines none; leave it out", NULL, NULL },
};

/* ---- configurations ------------------------------------------------------------ */

static struct json_object *parse(const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	struct json_object *o;
	char *s;

	for (s = copy; (s = strchr(s, '\'')); s++)
		*s = '"';
	o = json_tokener_parse(copy);
	ck_assert_msg(o != NULL, "not JSON: %s", copy);
	return o;
}

/* RFC 7396; takes @patch. */
static void merge(struct json_object *o, struct json_object *patch)
{
	json_object_object_foreach(patch, key, v) {
		struct json_object *old = NULL;

		if (json_object_is_type(v, json_type_object) &&
		    json_object_object_get_ex(o, key, &old) &&
		    json_object_is_type(old, json_type_object))
			merge(old, json_object_get(v));
		else
			json_object_object_add(o, key, json_object_get(v));
	}
	json_object_put(patch);
}

static int load(const char *patch, struct spec **ret, struct err *e)
{
	struct json_object *o = json_object_from_file(FULL);
	const char *text;
	int rc;

	ck_assert_ptr_nonnull(o);
	if (patch)
		merge(o, parse(patch));
	text = json_object_to_json_string(o);
	rc = file_replace(bundle_fd, "config.json", text, strlen(text), 0644, e);
	json_object_put(o);
	return rc ? rc : spec_load(bundle, ret, e);
}

static void add_hooks(struct strbuf *b, const char *name, const struct spec_hooks *h)
{
	size_t i, k;

	for (i = 0; i < h->n; i++) {
		const struct spec_hook *v = &h->v[i];

		strbuf_add(b, "%s.%zu.path=%s\n%s.%zu.timeout=%llu\n", name, i, v->path, name, i,
			   (unsigned long long)v->timeout_s);
		for (k = 0; v->args && v->args[k]; k++)
			strbuf_add(b, "%s.%zu.args.%zu=%s\n", name, i, k, v->args[k]);
		for (k = 0; v->env && v->env[k]; k++)
			strbuf_add(b, "%s.%zu.env.%zu=%s\n", name, i, k, v->env[k]);
	}
}

static void add_pairs(struct strbuf *b, const char *name, Podvm__KeyValue **v, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		strbuf_add(b, "%s.%s=%s\n", name, v[i]->key, v[i]->value);
}

/* All of a spec that the rest of podvm goes by, as lines; a newline first. */
static char *flat(const struct spec *s)
{
	const Podvm__ContainerCreate *c = s->create;
	char cpus[CPUS_TEXT_BYTES], mems[CPUS_TEXT_BYTES];
	struct strbuf b = { 0 };
	size_t i;

	cpus_text(&s->limits.cpus, cpus);
	cpus_text(&s->limits.mems, mems);
	strbuf_add(&b, "\ncpus=%s\nmems=%s", cpus, mems);
	strbuf_add(&b, "\noci_version=%s\nrootfs=%s\ncgroups_path=%s\nnetns_path=%s\n",
		   s->oci_version, s->rootfs, s->cgroups_path ? s->cgroups_path : "",
		   s->netns_path ? s->netns_path : "");
	add_hooks(&b, "prestart", &s->prestart);
	add_hooks(&b, "createRuntime", &s->create_runtime);
	add_hooks(&b, "poststart", &s->poststart);
	add_hooks(&b, "poststop", &s->poststop);
	add_pairs(&b, "annotation", s->annotations, s->n_annotations);
	add_pairs(&b, "cgroup", c->cgroup, c->n_cgroup);
	add_pairs(&b, "sysctl", c->sysctls, c->n_sysctls);
	for (i = 0; i < c->n_namespaces; i++)
		strbuf_add(&b, "namespace.%s=%s\n",
			   protobuf_c_enum_descriptor_get_value(&podvm__namespace__type__descriptor,
								c->namespaces[i]->type)->name,
			   c->namespaces[i]->shared ? "shared" : "new");
	pbtext(&b, "create", &c->base);
	ck_assert(!b.failed);
	for (i = 0; b.text[i]; i++)
		if (str_starts(b.text + i, "\nnamespace."))
			for (i += 11; b.text[i] != '='; i++)
				b.text[i] |= 0x20;
	return b.text;
}

/* "a=*b" is a line that begins with "a=" and ends with "b". */
static bool has_line(const char *text, const char *want)
{
	const char *star = strchr(want, '*'), *line = text, *end;
	size_t head = star ? (size_t)(star - want) : strlen(want);
	size_t tail = star ? strlen(star + 1) : 0;

	for (; *line && (end = strchr(line + 1, '\n')); line = end) {
		size_t len = (size_t)(end - line - 1);

		if ((star ? len >= head + tail : len == head) && !memcmp(line + 1, want, head) &&
		    !memcmp(end - tail, star ? star + 1 : "", tail))
			return true;
	}
	return false;
}

/* ---- tests --------------------------------------------------------------------- */

START_TEST(test_honoured)
{
	const struct row *r = &honoured[_i];
	_cleanup_free_ char *text = NULL;
	struct spec *s = NULL;
	struct err e = { 0 };

	ck_assert_msg(!load(r->patch, &s, &e), "%s: %s", r->field, e.text);
	text = flat(s);
	ck_assert_msg(has_line(text, r->want), "%s: no line %s in%s", r->field, r->want, text);
	spec_free(s);
}
END_TEST

START_TEST(test_refused)
{
	const struct row *r = &refused[_i];
	struct spec *s = NULL;
	struct err e = { 0 };
	int rc = load(r->patch, &s, &e);

	ck_assert_msg(rc == -EINVAL && !s, "%s: accepted", r->field);
	ck_assert_msg(str_starts(e.text, "config.json: "), "%s", e.text);
	ck_assert_str_eq(e.text + strlen("config.json: "), r->want);
}
END_TEST

static bool in_rows(const struct row *t, size_t n, const char *field)
{
	size_t i;

	for (i = 0; i < n && strcmp(t[i].field, field); i++)
		;
	return i < n;
}

/* Each field has a row, and each row a field. */
START_TEST(test_rows_are_fields)
{
	size_t i, k;

	for (i = 0; i < ARRAY_LEN(fields); i++)
		ck_assert_msg(in_rows(honoured, ARRAY_LEN(honoured), fields[i]) ||
			      in_rows(refused, ARRAY_LEN(refused), fields[i]), "%s", fields[i]);
	for (i = 0; i < ARRAY_LEN(honoured) + ARRAY_LEN(refused); i++) {
		const struct row *r = i < ARRAY_LEN(honoured) ? &honoured[i]
							      : &refused[i - ARRAY_LEN(honoured)];

		for (k = 0; k < ARRAY_LEN(fields) && strcmp(fields[k], r->field); k++)
			;
		ck_assert_msg(k < ARRAY_LEN(fields), "%s", r->field);
	}
}
END_TEST

/* ---- mount options: the table of config.md, "Linux mount options" ----------------- */

enum { PLAIN, GONE, SPREAD, COPIES };

static const struct {
	const char *name;
	int kind;	/* a flag that is set, or gone again; propagation; of its own */
	uint64_t flags;
} options[] = {
	{ "async", GONE, MS_SYNCHRONOUS }, { "atime", GONE, MS_NOATIME },
	{ "defaults", PLAIN, 0 }, { "dev", GONE, MS_NODEV },
	{ "diratime", GONE, MS_NODIRATIME }, { "dirsync", PLAIN, MS_DIRSYNC },
	{ "exec", GONE, MS_NOEXEC }, { "iversion", PLAIN, MS_I_VERSION },
	{ "lazytime", PLAIN, MS_LAZYTIME }, { "loud", GONE, MS_SILENT },
	{ "mand", PLAIN, MS_MANDLOCK }, { "noatime", PLAIN, MS_NOATIME },
	{ "nodev", PLAIN, MS_NODEV }, { "nodiratime", PLAIN, MS_NODIRATIME },
	{ "noexec", PLAIN, MS_NOEXEC }, { "noiversion", GONE, MS_I_VERSION },
	{ "nolazytime", GONE, MS_LAZYTIME }, { "nomand", GONE, MS_MANDLOCK },
	{ "norelatime", GONE, MS_RELATIME }, { "nostrictatime", GONE, MS_STRICTATIME },
	{ "nosuid", PLAIN, MS_NOSUID }, { "nosymfollow", PLAIN, MS_NOSYMFOLLOW },
	{ "private", SPREAD, MS_PRIVATE }, { "ratime", GONE, MS_NOATIME },
	{ "rdev", GONE, MS_NODEV }, { "rdiratime", GONE, MS_NODIRATIME },
	{ "relatime", PLAIN, MS_RELATIME }, { "remount", PLAIN, MS_REMOUNT },
	{ "rexec", GONE, MS_NOEXEC }, { "rnoatime", PLAIN, MS_NOATIME },
	{ "rnodev", PLAIN, MS_NODEV }, { "rnodiratime", PLAIN, MS_NODIRATIME },
	{ "rnoexec", PLAIN, MS_NOEXEC }, { "rnorelatime", GONE, MS_RELATIME },
	{ "rnostrictatime", GONE, MS_STRICTATIME }, { "rnosuid", PLAIN, MS_NOSUID },
	{ "rnosymfollow", PLAIN, MS_NOSYMFOLLOW }, { "ro", PLAIN, MS_RDONLY },
	{ "rprivate", SPREAD, MS_PRIVATE | MS_REC }, { "rrelatime", PLAIN, MS_RELATIME },
	{ "rro", PLAIN, MS_RDONLY }, { "rrw", GONE, MS_RDONLY },
	{ "rshared", SPREAD, MS_SHARED | MS_REC }, { "rslave", SPREAD, MS_SLAVE | MS_REC },
	{ "rstrictatime", PLAIN, MS_STRICTATIME }, { "rsuid", GONE, MS_NOSUID },
	{ "rsymfollow", GONE, MS_NOSYMFOLLOW }, { "runbindable", SPREAD, MS_UNBINDABLE | MS_REC },
	{ "rw", GONE, MS_RDONLY }, { "shared", SPREAD, MS_SHARED },
	{ "silent", PLAIN, MS_SILENT }, { "slave", SPREAD, MS_SLAVE },
	{ "strictatime", PLAIN, MS_STRICTATIME }, { "suid", GONE, MS_NOSUID },
	{ "symfollow", GONE, MS_NOSYMFOLLOW }, { "sync", PLAIN, MS_SYNCHRONOUS },
	{ "tmpcopyup", COPIES, 0 }, { "unbindable", SPREAD, MS_UNBINDABLE },
	{ "bind", PLAIN, MS_BIND }, { "rbind", PLAIN, MS_BIND | MS_REC },
};

/* What sets the flag that an option takes away. */
static const char *opposite(uint64_t flag)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(options); i++)
		if (options[i].kind == PLAIN && options[i].flags == flag)
			return options[i].name;
	ck_abort_msg("nothing sets 0x%llx", (unsigned long long)flag);
}

START_TEST(test_option)
{
	uint64_t flags = options[_i].flags;
	const Podvm__Mount *m;
	struct spec *s = NULL;
	struct err e = { 0 };
	char patch[200];

	snprintf(patch, sizeof(patch), "{'mounts':[{'destination':'/m','type':'tmpfs','source':'/s',"
		 "'options':['%s','%s']}]}",
		 options[_i].kind == GONE ? opposite(flags) : "defaults", options[_i].name);
	ck_assert_msg(!load(patch, &s, &e), "%s", e.text);
	m = s->create->mounts[0];
	ck_assert_uint_eq(m->flags, options[_i].kind == PLAIN ? flags : 0);
	ck_assert_uint_eq(m->propagation, options[_i].kind == SPREAD ? flags : 0);
	ck_assert_int_eq(m->copy_up, options[_i].kind == COPIES);
	ck_assert_str_eq(m->data, "");
	spec_free(s);
}
END_TEST

/* ---- features ---------------------------------------------------------------------- */

static struct json_object *features(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct json_object *o;
	struct err e = { 0 };

	ck_assert_int_eq(spec_features_print(f, &e), 0);
	fclose(f);
	o = json_tokener_parse(text);
	ck_assert_ptr_nonnull(o);
	free(text);
	return o;
}

static bool lists(struct json_object *o, const char *list, const char *word)
{
	struct json_object *v = NULL;
	size_t i;

	ck_assert_msg(!json_pointer_get(o, list, &v), "features: no %s", list);
	if (!word)
		return json_object_get_boolean(v);
	for (i = 0; i < json_object_array_length(v); i++)
		if (!strcmp(json_object_get_string(json_object_array_get_idx(v, i)), word))
			return true;
	return false;
}

START_TEST(test_features_of_rows)
{
	struct json_object *o = features();
	size_t i;

	for (i = 0; i < ARRAY_LEN(honoured); i++)
		if (honoured[i].list)
			ck_assert_msg(lists(o, honoured[i].list, honoured[i].word), "%s",
				      honoured[i].field);
	for (i = 0; i < ARRAY_LEN(refused); i++)
		if (refused[i].list)
			ck_assert_msg(!lists(o, refused[i].list, refused[i].word), "%s",
				      refused[i].field);
	for (i = 0; i < ARRAY_LEN(options); i++)
		ck_assert_msg(lists(o, "/mountOptions", options[i].name), "%s", options[i].name);
	ck_assert(!lists(o, "/linux/mountExtensions/idmap/enabled", NULL));
	ck_assert(!lists(o, "/linux/apparmor/enabled", NULL));
	json_object_put(o);
}
END_TEST

/* Whether an honoured row, or an option, stands for a word of a list. */
static bool promised(const char *list, const char *word)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(options) && !strcmp(list, "/mountOptions"); i++)
		if (!strcmp(options[i].name, word))
			return true;
	for (i = 0; i < ARRAY_LEN(honoured); i++)
		if (honoured[i].list && honoured[i].word && !strcmp(honoured[i].list, list) &&
		    !strcmp(honoured[i].word, word))
			return true;
	return false;
}

static const char *const lists_of_features[] = {
	"/hooks", "/mountOptions", "/linux/namespaces", "/linux/seccomp/actions",
	"/linux/seccomp/operators", "/linux/seccomp/archs", "/linux/seccomp/supportedFlags",
};

/* Nothing is promised that no row shows. */
START_TEST(test_features_have_rows)
{
	struct json_object *o = features(), *v = NULL;
	const char *word;
	size_t i;

	ck_assert(!json_pointer_get(o, lists_of_features[_i], &v));
	ck_assert_uint_gt(json_object_array_length(v), 0);
	for (i = 0; i < json_object_array_length(v); i++) {
		word = json_object_get_string(json_object_array_get_idx(v, i));
		ck_assert_msg(promised(lists_of_features[_i], word), "%s: %s", lists_of_features[_i],
			      word);
	}
	json_object_put(o);
}
END_TEST

/* ---- exec -------------------------------------------------------------------------- */

/* What an exec's process leaves open is the container's; what it has no place for, always. */
START_TEST(test_inherit)
{
	struct spec *a = NULL, *b = NULL;
	Podvm__Process *p;
	struct err e = { 0 };

	ck_assert_int_eq(load("{'process':{'scheduler':{'policy':'SCHED_IDLE'},'ioPriority':{'class':"
			      "'IOPRIO_CLASS_RT','priority':1},'execCPUAffinity':{'final':'2'}},"
			      "'linux':{'personality':{'domain':'LINUX32'},'seccomp':{'defaultAction':"
			      "'SCMP_ACT_KILL','flags':['SECCOMP_FILTER_FLAG_LOG']}}}", &a, &e), 0);
	ck_assert_int_eq(load(NULL, &b, &e), 0);
	p = b->create->process;
	ck_assert_int_eq(spec_inherit(p, a->create->process, &e), 0);
	ck_assert_uint_eq(p->scheduler->policy, 5);
	ck_assert_uint_eq(p->traits->io_priority, 1 << 13 | 1);
	ck_assert_uint_eq(p->traits->n_cpus_final, 1);
	ck_assert_uint_eq(p->traits->personality, 8);
	ck_assert_uint_eq(p->traits->seccomp_flags, 2);
	ck_assert_uint_gt(p->seccomp.len, 0);
	spec_free(a);
	ck_assert_int_eq(load("{'process':{'scheduler':{'policy':'SCHED_BATCH'},'ioPriority':{'class':"
			      "'IOPRIO_CLASS_BE','priority':3},'execCPUAffinity':{'initial':'1'}}}", &a, &e), 0);
	ck_assert_int_eq(spec_inherit(a->create->process, p, &e), 0);
	p = a->create->process;
	ck_assert_uint_eq(p->scheduler->policy, 3);
	ck_assert_uint_eq(p->traits->io_priority, 2 << 13 | 3);
	ck_assert_uint_eq(p->traits->n_cpus_final, 0);
	ck_assert_uint_eq(p->traits->personality, 8);
	spec_free(a);
	spec_free(b);
}
END_TEST

Suite *runtime_fields_suite(void);

Suite *runtime_fields_suite(void)
{
	Suite *s = suite_create("runtime_fields");
	TCase *t = tcase_create("fields");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_rows_are_fields);
	tcase_add_loop_test(t, test_honoured, 0, (int)ARRAY_LEN(honoured));
	tcase_add_loop_test(t, test_refused, 0, (int)ARRAY_LEN(refused));
	tcase_add_loop_test(t, test_option, 0, (int)ARRAY_LEN(options));
	tcase_add_test(t, test_features_of_rows);
	tcase_add_loop_test(t, test_features_have_rows, 0, (int)ARRAY_LEN(lists_of_features));
	tcase_add_test(t, test_inherit);
	suite_add_tcase(s, t);
	return s;
}
