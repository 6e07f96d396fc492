// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Boots a kernel with podvm-vmm and nothing else around it: no supervisor, no
 * agent. The guest's console goes to standard output; the timeline and the exit
 * counters go to standard error when the guest has ended. A SIGUSR1 tells the monitor that
 * the first disk has grown. Exit status: 0 for a
 * shutdown, 3 for a reset, 4 for an error of the machine, 124 when the time was
 * up, 1 for anything else.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/opt.h"
#include "lib/proc.h"
#include "tests/kit/saved.h"
#include "vmm/vmm.h"

#define CALL_MS 60000
#define TICK_MS 200

struct options {
	const char *vmm, *append;
	struct opt_strs disks, hot;
	uint64_t ram_mib, vcpus, timeout_s, hot_ms, hotplug_mib;
	uint64_t template_ms;
	bool memory, direct, no_io_uring, help;
};

static volatile sig_atomic_t must_resize;

static void on_usr1(int unused)
{
	(void)unused;
	must_resize = 1;
}

static int say(const struct err *e)
{
	fprintf(stderr, "vmm-boot: %s\n", e->text);
	return 1;
}

static int plug(struct vmm *v, const struct options *o, const char *path, unsigned int n,
		struct err *e)
{
	struct vmm_request rq = { .type = VMM_DISK };
	struct vmm_reply rp;
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC | (o->direct ? O_DIRECT : 0));

	if (fd < 0)
		return err_sys(e, "%s", path);
	snprintf(rq.disk.serial, sizeof(rq.disk.serial), "disk%u", n);
	rq.disk.number = n;
	return vmm_call(v, &rq, &fd, 1, CALL_MS, &rp, e);
}

static int fill_config(struct vmm_config *c, const struct options *o, struct err *e)
{
	c->ram_bytes = o->ram_mib << 20;
	c->vcpus = (uint32_t)o->vcpus;
	c->hotplug_bytes = o->hotplug_mib << 20;
	c->guest_cid = 3;
	if (strlen(o->append) >= sizeof(c->cmdline))
		return err_set(e, E2BIG, "--append is too long");
	strcpy(c->cmdline, o->append);
	return 0;
}

/* @t: what the machine becomes; NULL: no template */
static int configure(struct vmm *v, const struct options *o, const char *kernel,
		     const char *initramfs, const struct kit_saved *t, struct err *e)
{
	_cleanup_close_ int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int k = open(kernel, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int i = initramfs ? open(initramfs, O_RDONLY | O_CLOEXEC)
					  : memfd_create("none", MFD_CLOEXEC);
	struct vmm_request rq = { .type = VMM_CONFIG };
	int fds[] = { kvm, k, i, 1, t ? t->memory : -1 };
	struct vmm_reply rp;

	if (kvm < 0)
		return err_sys(e, "/dev/kvm");
	if (k < 0)
		return err_sys(e, "%s", kernel);
	if (i < 0)
		return err_sys(e, "%s", initramfs ? initramfs : "memfd");
	if (fill_config(&rq.config, o, e) < 0)
		return -e->code;
	return vmm_call(v, &rq, fds, t ? 5 : 4, CALL_MS, &rp, e);
}

static int restore(struct vmm *v, const struct options *o, const struct kit_saved *t,
		   struct err *e)
{
	struct vmm_config c = { 0 };
	int rc = fill_config(&c, o, e);

	return rc < 0 ? rc : kit_saved_restore(t, v, &c, 1, e);
}

/* Lets the guest run for a while and saves it. */
static int make_template(const struct options *o, const char *kernel, const char *initramfs,
			 struct kit_saved *ret, struct err *e)
{
	struct timespec nap = { (time_t)(o->template_ms / 1000),
				(long)(o->template_ms % 1000) * 1000000 };
	struct vmm_request start = { .type = VMM_START };
	struct vmm_spawn how = { .log_fd = 2, .cgroup_fd = -1 };
	struct vmm v = { .sock = -1, .pidfd = -1 };
	struct vmm_reply rp;
	int rc = kit_saved_new(ret, e);

	if (rc < 0 || (rc = vmm_spawn(o->vmm, &how, &v, e)) < 0)
		return rc;
	if (!(rc = configure(&v, o, kernel, initramfs, ret, e)) &&
	    !(rc = vmm_call(&v, &start, NULL, 0, CALL_MS, &rp, e))) {
		nanosleep(&nap, NULL);
		rc = kit_saved_take(ret, &v, e);
	}
	vmm_done(&v);
	return rc < 0 ? err_wrap(e, "template") : 0;
}

static void print_stats(const struct vmm_stats *s, uint64_t spawned_ns)
{
	int i;

	fprintf(stderr, "vmm-boot: after the start of the monitor: main %.2f ms, configured %.2f ms, guest %.2f ms\n",
		(double)(s->start_ns - spawned_ns) / 1e6,
		(double)(s->config_ns - spawned_ns) / 1e6,
		(double)(s->run_ns - spawned_ns) / 1e6);
	fprintf(stderr, "vmm-boot: exits:");
	for (i = 0; i < VMM_EXIT_KINDS; i++)
		fprintf(stderr, " %s %" PRIu64, vmm_exit_name((enum vmm_exit)i), s->exits[i]);
	fprintf(stderr, "\n");
}

/* Memory of the monitor that is not guest RAM, from its smaps. */
static void print_memory(const struct vmm *v, uint64_t ram_bytes)
{
	char path[40], line[256];
	unsigned long long from, to, private = 0, kb, guest = 0;
	bool in_ram = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", v->pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
			in_ram = to - from >= (ram_bytes < 0xc0000000u ? ram_bytes : 0xc0000000u);
		else if (sscanf(line, "Private_Clean: %llu kB", &kb) == 1 ||
			 sscanf(line, "Private_Dirty: %llu kB", &kb) == 1)
			*(in_ram ? &guest : &private) += kb;
	}
	if (f)
		fclose(f);
	fprintf(stderr, "vmm-boot: monitor's own private memory %llu KiB, guest RAM in use %llu KiB\n",
		private, guest);
}

/* As a container engine's filter does it, for us and the monitor. */
static int forbid_io_uring(struct err *e)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { .len = sizeof(f) / sizeof(f[0]), .filter = f };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) < 0)
		return err_sys(e, "seccomp");
	return 0;
}

static int resize(struct vmm *v, struct err *e)
{
	struct vmm_request rq = { .type = VMM_RESIZE, .name = "disk0" };
	struct vmm_reply rp;

	must_resize = 0;
	return vmm_call(v, &rq, NULL, 0, CALL_MS, &rp, e);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Waits for the event, and plugs what is to be plugged meanwhile. */
static int watch(struct vmm *v, const struct options *o, struct vmm_reply *ev,
		 struct err *e)
{
	uint64_t start = clock_ms(), end = start + o->timeout_s * 1000;
	bool hot = o->hot.n, memory = o->memory;
	size_t i;
	int rc;

	for (;;) {
		struct pollfd p = { .fd = v->sock, .events = POLLIN };
		uint64_t now = clock_ms(), next = end;

		if (must_resize && (rc = resize(v, e)) < 0)
			return rc;
		if (hot || memory)
			next = start + o->hot_ms;
		/* A signal between the look at its flag and here is seen a bit later. */
		if (next > now + TICK_MS)
			next = now + TICK_MS;
		if (v->have_event || poll(&p, 1, next > now ? (int)(next - now) : 0) > 0)
			return vmm_event(v, ev, e);
		if (clock_ms() >= end)
			return err_set(e, ETIMEDOUT, "no end after %" PRIu64 " s", o->timeout_s);
		if (clock_ms() < start + o->hot_ms)
			continue;
		for (i = 0; hot && i < o->hot.n; i++) {
			rc = plug(v, o, o->hot.v[i], (unsigned int)(o->disks.n + i), e);

			if (rc < 0)
				return rc;
		}
		if (memory)
			print_memory(v, o->ram_mib << 20);
		hot = memory = false;
	}
}

static int boot(const struct options *o, const char *kernel, const char *initramfs)
{
	struct vmm_spawn how = { .log_fd = 2, .cgroup_fd = -1 };
	struct vmm v = { .sock = -1, .pidfd = -1 };
	struct vmm_request start = { .type = VMM_START }, stats = { .type = VMM_STATS };
	struct vmm_request grow = { .type = VMM_MEMORY, .bytes = o->hotplug_mib << 20 };
	struct kit_saved t = { -1, -1 };
	struct vmm_reply rp;
	uint64_t spawned = now_ns();
	struct err e;
	size_t i;
	int rc;

	if (o->template_ms && make_template(o, kernel, initramfs, &t, &e) < 0)
		return say(&e);
	if ((o->no_io_uring && forbid_io_uring(&e) < 0) || vmm_spawn(o->vmm, &how, &v, &e) < 0)
		return say(&e);
	rc = o->template_ms ? restore(&v, o, &t, &e)
			    : configure(&v, o, kernel, initramfs, NULL, &e);
	if (!rc && o->hotplug_mib)
		rc = vmm_call(&v, &grow, NULL, 0, CALL_MS, &rp, &e);
	for (i = 0; !rc && i < o->disks.n; i++)
		rc = plug(&v, o, o->disks.v[i], (unsigned int)i, &e);
	if (!rc)
		rc = vmm_call(&v, &start, NULL, 0, CALL_MS, &rp, &e);
	if (!rc)
		rc = watch(&v, o, &rp, &e);
	if (rc < 0) {
		say(&e);
		if (rc == -ETIMEDOUT && !vmm_call(&v, &stats, NULL, 0, CALL_MS, &rp, &e))
			print_stats(&rp.stats, spawned);
		vmm_done(&v);
		return rc == -ETIMEDOUT ? 124 : 1;
	}
	fprintf(stderr, "vmm-boot: event %u: %s\n", rp.event, rp.text);
	print_stats(&rp.stats, spawned);
	vmm_done(&v);
	return rp.event == VMM_EVENT_SHUTDOWN ? 0 : rp.event == VMM_EVENT_RESET ? 3 : 4;
}

int main(int argc, char **argv)
{
	struct options o = { .vmm = "build/release/podvm-vmm", .append = "console=hvc0",
			     .ram_mib = 256, .vcpus = 1, .timeout_s = 120, .hot_ms = 3000 };
	const struct opt table[] = {
		OPT_STR(0, "vmm", &o.vmm, "PATH", "the monitor"),
		OPT_STR(0, "append", &o.append, "TEXT", "kernel command line"),
		OPT_STRS(0, "disk", &o.disks, "FILE", "a raw disk; several may be given"),
		OPT_STRS(0, "hot-disk", &o.hot, "FILE", "a raw disk that is plugged while the guest runs"),
		OPT_FLAG(0, "direct", &o.direct, "open disks with O_DIRECT"),
		OPT_FLAG(0, "no-io-uring", &o.no_io_uring, "run the monitor under a filter that forbids it"),
		OPT_U64(0, "after", &o.hot_ms, "MS", "when to plug those and to show memory (3000)"),
		OPT_FLAG(0, "memory", &o.memory, "show the monitor's memory"),
		OPT_U64(0, "ram", &o.ram_mib, "MIB", "guest memory (256)"),
		OPT_U64(0, "hotplug", &o.hotplug_mib, "MIB", "memory that the guest may plug besides (0)"),
		OPT_U64(0, "vcpus", &o.vcpus, "N", "virtual processors (1)"),
		OPT_U64(0, "template", &o.template_ms, "MS", "save the guest after so long, and go on with a copy (0: no)"),
		OPT_U64(0, "timeout", &o.timeout_s, "S", "give up after so long (120)"),
		OPT_FLAG('h', "help", &o.help, "show this text"),
		OPT_END
	};
	struct err e;
	int first;

	if (opt_parse(table, argc, argv, &first, &e) < 0)
		return say(&e);
	signal(SIGUSR1, on_usr1);
	if (o.help || first >= argc || argc - first > 2) {
		fprintf(stderr, "usage: vmm-boot [OPTION]... KERNEL [INITRAMFS]\n");
		opt_help(stderr, table);
		return 1;
	}
	return boot(&o, argv[first], first + 1 < argc ? argv[first + 1] : NULL);
}
