// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm doctor on hosts of files: one that is well, and one row for each thing that can
 * be wrong with it, with what must be said of it and what mends it. A row changes the
 * host that is well in one place; no other check may find anything then.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/doctor/doctor.h"
#include "tests/kit/dir.h"

Suite *runtime_doctor_suite(void);

#define MIB (1ull << 20)

/* What the calls of the host's answer; zeros: all is well. */
static struct answers {
	int kvm, tun, vhost;		/* errno of the open */
	int check, probe, images;	/* errno */
	struct doctor_space state, cache;
	int space_code;
	uint64_t files;
	unsigned int uid;
} say;

static char prefix[PATH_MAX], state_root[PATH_MAX + 16];
static struct doctor_host host;
static struct doctor doc;

static int open_device(const struct doctor_host *h, const char *path)
{
	int code = !strcmp(path, "/dev/kvm") ? say.kvm :
		   !strcmp(path, "/dev/net/tun") ? say.tun : say.vhost;

	(void)h;
	return code ? -code : open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int kvm_check(int fd, uint32_t vcpus, struct err *e)
{
	(void)fd;
	return say.check ? err_set(e, say.check, "lacks something for %u", vcpus) : 0;
}

static int kvm_probe(int fd, struct err *e)
{
	(void)fd;
	return say.probe ? err_set(e, say.probe, "int3 in kernel mode") : 0;
}

static int images(int kernel, int initramfs, uint64_t ram, struct err *e)
{
	(void)kernel;
	(void)initramfs;
	return say.images ? err_set(e, say.images, "no kernel for %llu MiB",
				    (unsigned long long)(ram / MIB)) : 0;
}

static int space(const struct doctor_host *h, const char *path, struct doctor_space *ret)
{
	(void)h;
	if (!strcmp(path, "/cache/layers"))
		return -ENOENT; /* not made yet: its parent counts */
	*ret = str_starts(path, "/cache") ? say.cache : say.state;
	return -say.space_code;
}

static uint64_t files_max(void)
{
	return say.files;
}

static unsigned int uid(void)
{
	return say.uid;
}

/* A file of the host; NULL: it goes; a text that ends in '*': a program. */
static void put(const char *path, const char *text)
{
	char full[PATH_MAX + 256], dir[PATH_MAX + 256];

	snprintf(full, sizeof(full), "%s%s", prefix, path);
	if (!text) {
		ck_assert_msg(!remove(full), "%s", full);
		return;
	}
	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(full, '/') - full), full);
	ck_assert_int_ge(dir_make(dir, 0755, NULL), 0);
	kit_put(full, text);
	if (*text && text[strlen(text) - 1] == '*')
		ck_assert(!chmod(full, 0755));
}

static const char *const well[][2] = {
	{ "/proc/cpuinfo", "flags\t\t: fpu vmx de\n" },
	{ "/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n" },
	{ "/proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable:  8000000 kB\n" },
	{ "/proc/sys/vm/overcommit_memory", "0\n" },
	{ "/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n" },
	{ "/sys/kernel/mm/ksm/run", "0\n" },
	{ "/proc/sys/kernel/osrelease", "6.1.0-9\n" },
	{ "/proc/sys/kernel/io_uring_disabled", "0\n" },
	{ "/proc/sys/kernel/seccomp/actions_avail", "kill_process kill_thread errno\n" },
	{ "/proc/sys/user/max_mnt_namespaces", "9999\n" },
	{ "/proc/sys/user/max_ipc_namespaces", "9999\n" },
	{ "/proc/sys/user/max_uts_namespaces", "9999\n" },
	{ "/proc/sys/user/max_net_namespaces", "9999\n" },
	{ "/proc/sys/fs/file-nr", "1000\t0\t100000\n" },
	{ "/proc/sys/kernel/pid_max", "32768\n" },
	{ "/proc/sys/kernel/threads-max", "32768\n" },
	{ "/proc/sys/fs/inotify/max_user_instances", "128\n" },
	{ "/proc/filesystems", "nodev\tproc\nnodev\toverlay\n" },
	{ "/dev/loop-control", "" },
	{ "/dev/mapper/control", "" },
	{ "/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n" },
	{ "/sys/fs/cgroup/cgroup.subtree_control", "cpu memory pids\n" },
	{ "/lib/modules/6.1.0-9/modules.dep", "kernel/drivers/net/macvtap.ko.xz: x.ko\nkernel/drivers/vhost/vhost_net.ko:\n" },
	{ "/lib/modules/6.1.0-9/modules.builtin", "kernel/a/b.ko\n" },
	{ "/etc/cni/net.d/10-a.conflist", "{\"name\":\"a\"}" },
	{ "/opt/cni/bin/bridge", "*" },
	{ "/usr/bin/podman", "*" },
	{ "/usr/local/bin/podvm", "*" },
	{ "/etc/containers/containers.conf", "[engine.runtimes]\npodvm = [ \"/usr/local/bin/podvm\" ]\n" },
	{ "/vmm", "*" },
	{ "/kernel", "k" },
	{ "/initramfs", "i" },
};

static void setup(void)
{
	size_t i;

	kit_dir_enter();
	ck_assert_ptr_nonnull(getcwd(prefix, sizeof(prefix)));
	snprintf(state_root, sizeof(state_root), "%s/state", prefix);
	for (i = 0; i < ARRAY_LEN(well); i++)
		put(well[i][0], well[i][1]);
	unsetenv("PODVM_CONFIG");
	say = (struct answers){ .state = { 1000 * MIB, 100000 }, .cache = { 1000 * MIB, 100000 },
				.files = 100000 };
	host = (struct doctor_host){ .prefix = prefix, .open_device = open_device,
				     .kvm_check = kvm_check, .kvm_probe = kvm_probe,
				     .images = images, .space = space, .files_max = files_max,
				     .uid = uid };
	doc = (struct doctor){ .host = &host, .root = state_root };
	config_defaults(&doc.config);
	strcpy(doc.config.vmm, "/vmm");
	strcpy(doc.config.kernel, "/kernel");
	strcpy(doc.config.initramfs, "/initramfs");
	strcpy(doc.config.layer_cache, "/cache/layers");
}

static void teardown(void)
{
	doctor_done(&doc);
	kit_dir_leave();
}

START_TEST(all_well)
{
	size_t i;

	doctor_run(&doc);
	ck_assert(!doc.failed);
	ck_assert_uint_ge(doc.n, 25);
	for (i = 0; i < doc.n; i++)
		ck_assert_msg(doc.v[i].severity == DOCTOR_OK && !*doc.v[i].mend, "%s: %s",
			      doc.v[i].check, doc.v[i].text);
}
END_TEST

/* ---- what can be wrong ----------------------------------------------------------- */

static void not_root(void) { say.uid = 7; }
static void kvm_absent(void) { say.kvm = ENOENT; }
static void kvm_absent_amd(void) { say.kvm = ENOENT; put("/proc/cpuinfo", "flags : svm\n"); }
static void kvm_denied(void) { say.kvm = EACCES; }
static void kvm_busy(void) { say.kvm = EBUSY; }
static void kvm_lacks(void) { say.check = ENOTSUP; }
static void kvm_few_vcpus(void) { say.check = EINVAL; doc.config.vcpus_max = 1000; }
static void kvm_odd(void) { say.probe = ENOTSUP; }
static void config_wrong(void) { err_set(&doc.config_why, EINVAL, "configuration x: /memory/max: not a size"); }
static void cache_off(void) { doc.config.layer_cache[0] = 0; }
static void state_low(void) { say.state.bytes = 60 * MIB; }
static void state_full(void) { say.state.bytes = 0; }
static void state_no_files(void) { say.state.files = 0; }
static void state_odd(void) { say.space_code = EIO; }
static void cache_low(void) { say.cache.bytes = 200 * MIB; }
static void images_wrong(void) { say.images = ENOEXEC; doc.config.ram_bytes = 100 * MIB + 1; }
static void wants_much(void) { doc.config.ram_bytes = 1ull << 40; }
static void wants_all_now(void) { doc.config.ram_bytes = 1ull << 40; doc.config.prefault = true; }
static void wants_2m(void) { doc.config.pages = VMM_PAGES_2M; }
static void wants_1g(void) { doc.config.pages = VMM_PAGES_1G; }
static void few_2m(void)
{
	doc.config.pages = VMM_PAGES_2M;
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "127\n");
}
static void wants_thp(void) { doc.config.pages = VMM_PAGES_ALWAYS; }
static void wants_ksm(void) { doc.config.merge = true; }
static void few_files(void) { say.files = 4096; }
static void no_files(void) { say.files = 256; }
static void tun_absent(void) { say.tun = ENOENT; }
static void tun_no_driver(void) { say.tun = ENODEV; }
static void tun_denied(void) { say.tun = EPERM; }
static void vhost_absent(void) { say.vhost = ENOENT; }
static void no_vhost(void)
{
	say.vhost = ENOENT;
	put("/lib/modules/6.1.0-9/modules.dep", "kernel/drivers/net/macvtap.ko:\n");
}
static void wants_macvtap(void) { doc.config.network_model = NETPLUG_MACVTAP; }
static void no_cni_network(void) { put("/etc/cni/net.d/10-a.conflist", NULL); }
static void no_plugins(void)
{
	put("/opt/cni/bin/bridge", NULL);
	put("/opt/cni/bin", NULL);
}
static void no_engine(void)
{
	put("/usr/bin/podman", NULL);
	put("/etc/containers/containers.conf", NULL);
}
static void podvm_gone(void) { put("/usr/local/bin/podvm", NULL); }
static void no_v2(void)
{
	put("/sys/fs/cgroup/cgroup.controllers", NULL);
}
static void hybrid(void)
{
	no_v2();
	put("/sys/fs/cgroup/unified/cgroup.controllers", "");
	put("/sys/fs/cgroup/memory/cgroup.procs", "");
}
static void kernel_is(const char *release)
{
	char path[80];

	put("/proc/sys/kernel/osrelease", release);
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", release);
	put(path, "kernel/drivers/net/macvtap.ko:\n");
}
static void old_kernel(void) { kernel_is("5.11.9-x"); }
static void odd_kernel(void) { kernel_is("odd"); }
static void loadable(void)
{
	put("/dev/loop-control", NULL);
	put("/lib/modules/6.1.0-9/modules.dep", "kernel/drivers/net/macvtap.ko:\nkernel/drivers/block/loop.ko:\n");
}

static const struct ill {
	const char *path, *text;	/* file that is another; @text NULL: @path is removed */
	void (*make)(void);
	const char *check;
	enum doctor_severity severity;
	const char *says, *mend;
} ills[] = {
	{ NULL, NULL, not_root, "root", DOCTOR_ERROR, "user 7 is not root", "sudo" },
	{ NULL, NULL, kvm_absent, "kvm", DOCTOR_ERROR, "/dev/kvm: No such file", "modprobe kvm_intel" },
	{ NULL, NULL, kvm_absent_amd, "kvm", DOCTOR_ERROR, "/dev/kvm: No such file", "modprobe kvm_amd" },
	{ "/proc/cpuinfo", "flags : hypervisor\n", kvm_absent, "kvm", DOCTOR_ERROR, "/dev/kvm", "nested virtualization" },
	{ "/proc/cpuinfo", "flags : fpu\n", kvm_absent, "kvm", DOCTOR_ERROR, "/dev/kvm", "in the firmware" },
	{ NULL, NULL, kvm_denied, "kvm", DOCTOR_ERROR, "Permission denied", "--device /dev/kvm" },
	{ NULL, NULL, kvm_busy, "kvm", DOCTOR_ERROR, "busy", "other hypervisor" },
	{ NULL, NULL, kvm_lacks, "kvm", DOCTOR_ERROR, "lacks something for ", "newer host kernel" },
	{ NULL, NULL, kvm_few_vcpus, "kvm", DOCTOR_ERROR, "lacks something for 64", "vcpusMax" },
	{ NULL, NULL, kvm_odd, "kvm", DOCTOR_ERROR, "does not run Linux guests: int3", "paravirtual" },
	{ "/proc/cpuinfo", "flags : vmx hypervisor\n", NULL, "nested", DOCTOR_NOTE, "nested", "" },
	{ "/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n", NULL,
	  "clock", DOCTOR_WARNING, "clock source is hpet", "dmesg" },
	{ "/sys/devices/system/clocksource/clocksource0/current_clocksource", NULL, NULL,
	  "clock", DOCTOR_NOTE, "does not say", "" },
	{ NULL, NULL, config_wrong, "configuration", DOCTOR_ERROR, "/memory/max", "/etc/podvm/podvm.json" },
	{ "/vmm", NULL, NULL, "monitor", DOCTOR_ERROR, "/vmm does not exist", "set vmm" },
	{ "/kernel", NULL, NULL, "images", DOCTOR_ERROR, "kernel /kernel: No such file", "set kernel" },
	{ "/initramfs", NULL, NULL, "images", DOCTOR_ERROR, "initramfs /initramfs: No such", "set initramfs" },
	{ NULL, NULL, images_wrong, "images", DOCTOR_ERROR, "no kernel for 102 MiB (kernel /kernel", "bzImage" },
	{ NULL, NULL, state_low, "space", DOCTOR_WARNING, "state directory", "df -h" },
	{ NULL, NULL, state_full, "space", DOCTOR_ERROR, "0 MiB", "df -h" },
	{ NULL, NULL, state_no_files, "space", DOCTOR_ERROR, "0 files", "df -i" },
	{ NULL, NULL, state_odd, "space", DOCTOR_WARNING, "Input/output error", "" },
	{ NULL, NULL, cache_low, "space", DOCTOR_WARNING, "layer cache /cache/layers: 200 MiB", "make room in /cache;" },
	{ NULL, NULL, cache_off, "space", DOCTOR_NOTE, "layerCache is off", "" },
	{ "/proc/meminfo", "MemTotal: 1 kB\n", NULL, "memory", DOCTOR_WARNING, "does not tell", "" },
	{ NULL, NULL, wants_much, "memory", DOCTOR_WARNING, "less than one pod", "lower ram" },
	{ NULL, NULL, wants_all_now, "memory", DOCTOR_ERROR, "less than one pod", "lower ram" },
	{ "/proc/sys/vm/overcommit_memory", "2\n", NULL, "memory", DOCTOR_WARNING, "overcommit", "overcommit_memory=0" },
	{ NULL, NULL, wants_2m, "hugepages", DOCTOR_ERROR, "is 2M, which this host does not have", "to default" },
	{ NULL, NULL, wants_1g, "hugepages", DOCTOR_ERROR, "is 1G, which", "hugepagesz=1G" },
	{ NULL, NULL, few_2m, "hugepages", DOCTOR_ERROR, "127 reserved pages of 2 MiB are free: a pod of 256 MiB needs 128", "nr_hugepages" },
	{ "/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n", wants_thp,
	  "hugepages", DOCTOR_WARNING, "never gives", "echo madvise" },
	{ "/sys/kernel/mm/transparent_hugepage/enabled", NULL, wants_thp,
	  "hugepages", DOCTOR_WARNING, "has no transparent", "" },
	{ NULL, NULL, wants_ksm, "ksm", DOCTOR_WARNING, "/run is 0", "echo 1 > /sys/kernel/mm/ksm/run" },
	{ "/sys/kernel/mm/ksm/run", NULL, wants_ksm, "ksm", DOCTOR_WARNING, "cannot merge", "CONFIG_KSM" },
	{ NULL, NULL, old_kernel, "kernel", DOCTOR_ERROR, "5.11.9-x is too old", "newer" },
	{ NULL, NULL, odd_kernel, "kernel", DOCTOR_WARNING, "version", "" },
	{ "/proc/sys/kernel/io_uring_disabled", "2\n", NULL, "io_uring", DOCTOR_NOTE, "is 2", "io_uring_disabled=0" },
	{ "/proc/sys/kernel/seccomp/actions_avail", NULL, NULL, "seccomp", DOCTOR_ERROR, "no seccomp", "CONFIG_SECCOMP_FILTER" },
	{ "/proc/sys/user/max_uts_namespaces", "0\n", NULL, "namespaces", DOCTOR_ERROR, "max_uts_namespaces is 0", "sysctl -w user.max_uts" },
	{ "/proc/sys/user/max_net_namespaces", "10\n", NULL, "namespaces", DOCTOR_WARNING, "max_net_namespaces is 10", "sysctl" },
	{ "/proc/sys/user/max_ipc_namespaces", NULL, NULL, "namespaces", DOCTOR_WARNING, "max_ipc_namespaces is missing", "" },
	{ NULL, NULL, few_files, "limits", DOCTOR_WARNING, "4096 descriptors", "LimitNOFILE" },
	{ NULL, NULL, no_files, "limits", DOCTOR_ERROR, "256 descriptors", "ulimit" },
	{ "/proc/sys/fs/file-nr", "91000 0 100000\n", NULL, "limits", DOCTOR_WARNING, "91000 of at most 100000", "file-max=200000" },
	{ "/proc/sys/kernel/pid_max", "300\n", NULL, "limits", DOCTOR_WARNING, "kernel.pid_max is 300", "kernel.pid_max=16384" },
	{ "/proc/sys/kernel/threads-max", "300\n", NULL, "limits", DOCTOR_WARNING, "threads-max is 300", "threads-max=16384" },
	{ "/proc/sys/fs/inotify/max_user_instances", "8\n", NULL, "limits", DOCTOR_WARNING, "instances is 8", "=128" },
	{ "/proc/filesystems", "nodev\toverlays\n", NULL, "modules", DOCTOR_WARNING, "no overlay", "" },
	{ NULL, NULL, loadable, "modules", DOCTOR_NOTE, "loop is not loaded yet", "modprobe loop" },
	{ "/dev/mapper/control", NULL, NULL, "modules", DOCTOR_NOTE, "no dm_mod", "" },
	{ "/sys/fs/cgroup/cgroup.controllers", "cpu pids\n", NULL, "cgroup", DOCTOR_WARNING, "missing: memory:", "cgroup_enable=memory" },
	{ "/sys/fs/cgroup/cgroup.subtree_control", "memory\n", NULL, "cgroup", DOCTOR_NOTE, "root: +cpu +pids", "echo '+cpu +pids' >" },
	{ NULL, NULL, no_v2, "cgroup", DOCTOR_WARNING, "lacks: cpu memory pids", "unified_cgroup_hierarchy" },
	{ NULL, NULL, hybrid, "cgroup", DOCTOR_WARNING, "lacks: cpu pids", "unified_cgroup_hierarchy" },
	{ NULL, NULL, tun_absent, "tun", DOCTOR_ERROR, "No such file", "mknod" },
	{ NULL, NULL, tun_no_driver, "tun", DOCTOR_ERROR, "No such device", "modprobe tun" },
	{ NULL, NULL, tun_denied, "tun", DOCTOR_ERROR, "not permitted", "--device /dev/net/tun" },
	{ "/lib/modules/6.1.0-9/modules.dep", "kernel/a/xmacvtap.ko:\nmacvtap.ko\n", NULL, "macvtap",
	  DOCTOR_NOTE, "would fail", "" },
	{ "/lib/modules/6.1.0-9/modules.dep", NULL, wants_macvtap, "macvtap", DOCTOR_ERROR, "asks for it", "networkModel to auto" },
	{ NULL, NULL, vhost_absent, "vhost-net", DOCTOR_NOTE, "slower", "modprobe vhost_net" },
	{ NULL, NULL, no_vhost, "vhost-net", DOCTOR_NOTE, "slower", "CONFIG_VHOST_NET" },
	{ NULL, NULL, no_cni_network, "cni", DOCTOR_NOTE, "has no network", "cni-examples" },
	{ "/etc/cni/net.d/00-b.conf", "{", NULL, "cni", DOCTOR_WARNING, "00-b.conf, which engines take first", "correct or remove" },
	{ NULL, NULL, no_plugins, "cni", DOCTOR_NOTE, "no CNI plugins", "apt-get" },
	{ NULL, NULL, no_engine, "engines", DOCTOR_NOTE, "no engine is here", "" },
	{ NULL, NULL, podvm_gone, "engines", DOCTOR_WARNING, "which is no program", "correct /etc/containers" },
	{ "/usr/bin/crio", "*", NULL, "engines", DOCTOR_NOTE, "CRI-O is here", "runtime_path" },
	{ "/usr/bin/dockerd", "*", NULL, "engines", DOCTOR_NOTE, "docker is here", "daemon.json" },
	{ "/etc/containerd/config.toml", "# BinaryName = \"/usr/local/bin/podvm\"\n", NULL,
	  "engines", DOCTOR_NOTE, "containerd is here", "BinaryName" },
	{ "/etc/containers/containers.conf", "x = 'y' # \"/usr/local/bin/podvm\"\nz = \"/usr/local/bin/xpodvm\"\nw = \"/podvm/", NULL,
	  "engines", DOCTOR_NOTE, "podman is here", "--runtime" },
};

static const struct doctor_finding *find(const char *check, const char *says)
{
	size_t i;

	for (i = 0; i < doc.n; i++)
		if (!strcmp(doc.v[i].check, check) && strstr(doc.v[i].text, says))
			return &doc.v[i];
	return NULL;
}

START_TEST(each_ill)
{
	const struct ill *x = &ills[_i];
	const struct doctor_finding *f;
	size_t i;

	if (x->path)
		put(x->path, x->text);
	if (x->make)
		x->make();
	doctor_run(&doc);
	f = find(x->check, x->says);
	ck_assert_msg(f, "%s does not say \"%s\"", x->check, x->says);
	ck_assert_int_eq(f->severity, x->severity);
	if (*x->mend)
		ck_assert_msg(strstr(f->mend, x->mend), "%s", f->mend);
	else
		ck_assert_str_eq(f->mend, "");
	for (i = 0; i < doc.n; i++)
		ck_assert_msg(doc.v[i].severity == DOCTOR_OK || !strcmp(doc.v[i].check, x->check) ||
				      !strcmp(doc.v[i].check, "nested"), "%s: %s", doc.v[i].check, doc.v[i].text);
	ck_assert_uint_eq(doctor_count(&doc, DOCTOR_ERROR) > 0, x->severity == DOCTOR_ERROR);
}
END_TEST

/* ---- things that are well in another way ----------------------------------------- */

static void not_a_guest(void) { put("/proc/cpuinfo", "flags : vmx\n"); }
static void has_config(void) { put("/etc/podvm/podvm.json", "{}"); }
static void enough_2m(void)
{
	doc.config.pages = VMM_PAGES_2M;
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "256\n");
}
static void ksm_runs(void)
{
	doc.config.merge = true;
	put("/sys/kernel/mm/ksm/run", "1\n");
}
static void kvm_clock(void) { put("/sys/devices/system/clocksource/clocksource0/current_clocksource", "kvm-clock\n"); }
static void vhost_off(void)
{
	say.vhost = ENOENT;
	doc.config.vhost_net = false;
}
static void macvtap_loaded(void)
{
	put("/lib/modules/6.1.0-9/modules.dep", NULL);
	put("/sys/module/macvtap/x", "");
}
static void overlay_builtin(void)
{
	put("/proc/filesystems", "nodev\tproc\n");
	put("/lib/modules/6.1.0-9/modules.builtin", "kernel/fs/overlayfs/overlay.ko\nkernel/drivers/md/dm-mod.ko\n");
	put("/dev/mapper/control", NULL);
}
static void in_conf_d(void)
{
	put("/usr/bin/crio", "*");
	put("/etc/crio/crio.conf.d/10.conf", "# nothing\n");
	put("/etc/crio/crio.conf.d/20.conf", "runtime_path = '/usr/local/bin/podvm'\n");
	put("/etc/crio/crio.conf.d/30.txt", "");
}
static void version_1(void)
{
	hybrid();
	put("/sys/fs/cgroup/cpu/cgroup.procs", "");
	put("/sys/fs/cgroup/pids/cgroup.procs", "");
}
static void in_json(void) { put("/etc/docker/daemon.json", "{\"runtimes\":{\"podvm\":{\"path\":\"/usr/local/bin/podvm\"}}}"); }

static const struct {
	void (*make)(void);
	const char *check, *says;
} others[] = {
	{ not_a_guest, "nested", "no virtual machine" },
	{ has_config, "configuration", "/etc/podvm/podvm.json is valid" },
	{ enough_2m, "hugepages", "enough for 2 pods" },
	{ ksm_runs, "ksm", "merges equal pages" },
	{ kvm_clock, "clock", "kvm-clock" },
	{ vhost_off, "vhost-net", "vhostNet is off" },
	{ macvtap_loaded, "macvtap", "is there" },
	{ overlay_builtin, "modules", "dm_mod is there" },
	{ in_conf_d, "engines", "CRI-O: /etc/crio/crio.conf.d/20.conf names /usr/local/bin/podvm" },
	{ version_1, "cgroup", "cgroup v1, with cpu" },
	{ in_json, "engines", "docker: /etc/docker/daemon.json names" },
};

START_TEST(each_other)
{
	size_t i;

	others[_i].make();
	doctor_run(&doc);
	ck_assert_msg(find(others[_i].check, others[_i].says), "%s", others[_i].check);
	for (i = 0; i < doc.n; i++)
		ck_assert_msg(doc.v[i].severity == DOCTOR_OK, "%s", doc.v[i].text);
}
END_TEST

/* ---- what dead pods have left ------------------------------------------------------ */

static int make_pod(const char *id, bool socket_too)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "state/pods/%s", id);
	ck_assert_int_ge(dir_make(path, 0700, NULL), 0);
	snprintf(path, sizeof(path), "state/pods/%s/lock", id);
	kit_put(path, "");
	if (!socket_too)
		return -1;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "state/pods/%.40s/control.sock", id);
	ck_assert(!bind(fd, (struct sockaddr *)&sa, sizeof(sa)));
	ck_assert(!listen(fd, 4));
	return fd;
}

START_TEST(stale_pods)
{
	_cleanup_close_ int live = make_pod("live", true);
	_cleanup_close_ int dead = make_pod("dead", true);
	_cleanup_close_ int lock = -1;
	const struct doctor_finding *f;

	fd_close(&dead);
	make_pod("never", false);
	make_pod("starts", false);
	lock = open("state/pods/starts/lock", O_RDWR | O_CLOEXEC);
	ck_assert(!flock(lock, LOCK_EX | LOCK_NB));
	doctor_run(&doc);
	f = find("stale", "pod dead: its supervisor has died");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(f->severity, DOCTOR_WARNING);
	ck_assert_ptr_nonnull(strstr(f->mend, "state list"));
	ck_assert_ptr_nonnull(find("stale", "pod never:"));
	ck_assert_ptr_null(find("stale", "pod live"));
	ck_assert_ptr_null(find("stale", "pod starts"));
	/* It has taken nothing, and left everything. */
	ck_assert_uint_eq(kit_count("state/pods"), 4);
}
END_TEST

/* ---- output --------------------------------------------------------------------------- */

static char *printed(bool json)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (json)
		ck_assert(!doctor_print_json(&doc, f, NULL));
	else
		doctor_print(&doc, f);
	ck_assert(!fclose(f));
	return text;
}

START_TEST(output)
{
	_cleanup_free_ char *table = NULL, *json = NULL;
	struct json_doc *parsed;
	struct jnode root, list;
	uint64_t n;

	say.kvm = ENOENT;
	say.vhost = ENOENT;
	doctor_run(&doc);
	table = printed(false);
	ck_assert_ptr_nonnull(strstr(table, "kvm            error    /dev/kvm: No such file"));
	ck_assert_ptr_nonnull(strstr(table, "                        mend: modprobe kvm_intel\n"));
	ck_assert_ptr_nonnull(strstr(table, "\n1 errors, 0 warnings, 1 notes\n"));
	json = printed(true);
	ck_assert(!json_parse(json, strlen(json), &parsed, NULL));
	root = json_root(parsed);
	ck_assert(json_u64(&root, "errors", &n, NULL) == 1 && n == 1);
	ck_assert(json_arr(&root, "findings", &list, NULL) == 1);
	ck_assert_uint_eq(json_len(&list), doc.n);
	json_free(parsed);
}
END_TEST

/* ---- the real calls -------------------------------------------------------------------- */

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	ck_assert_int_eq(write_full(fd, data, len, NULL), 0);
	return fd;
}

START_TEST(real_images)
{
	_cleanup_close_ int gzip = file_of("\x1f\x8b\x08\0\0\0\0\0", 8);
	_cleanup_close_ int empty = file_of("", 0);
	struct err e = { 0 };

	ck_assert_int_eq(doctor_this_host.images(gzip, gzip, 64 * MIB, &e), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(e.text, "kernel: this is gzip data"));
	ck_assert_int_lt(doctor_this_host.images(empty, gzip, 64 * MIB, &e), 0);
}
END_TEST

START_TEST(real_kvm)
{
	_cleanup_close_ int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct err e = { 0 };

	ck_assert_int_eq(doctor_this_host.kvm_check(fd, 1, &e), -ENODEV);
	ck_assert_ptr_nonnull(strstr(e.text, "not /dev/kvm"));
	ck_assert_int_lt(doctor_this_host.kvm_probe(fd, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.text, "KVM_CREATE_VM"));
	ck_assert_int_eq(doctor_this_host.open_device(&host, "/nowhere"), -ENOENT);
}
END_TEST

START_TEST(real_space)
{
	struct doctor_space s = { 0 };

	ck_assert_int_eq(doctor_this_host.space(&host, "/proc", &s), 0);
	ck_assert_int_eq(doctor_this_host.space(&host, "/nowhere", &s), -ENOENT);
	ck_assert_uint_gt(doctor_this_host.files_max(), 0);
	ck_assert_uint_eq(doctor_this_host.uid(), geteuid());
}
END_TEST

Suite *runtime_doctor_suite(void)
{
	Suite *s = suite_create("runtime_doctor");
	TCase *t = tcase_create("host");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, all_well);
	tcase_add_loop_test(t, each_ill, 0, ARRAY_LEN(ills));
	tcase_add_loop_test(t, each_other, 0, ARRAY_LEN(others));
	tcase_add_test(t, stale_pods);
	tcase_add_test(t, output);
	tcase_add_test(t, real_images);
	tcase_add_test(t, real_kvm);
	tcase_add_test(t, real_space);
	suite_add_tcase(s, t);
	return s;
}
