// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Boots one virtual machine up to its agent's hello, once, and prints what that
 * took as one JSON object. Three kinds:
 *
 *   podvm PROGRAM            podvm-vmm, driven over its control socket; the agent's
 *                            call arrives on the socket that VMM_LISTEN gave it
 *   clone PROGRAM            the same, as a copy of a template, which is made before the
 *                            clock starts (vmm/vmm.h)
 *   other PROGRAM ARG...     any monitor whose guest calls this kernel's vsock: QEMU
 *                            with vhost-vsock; the call arrives on AF_VSOCK
 *
 * The clock starts before the fork of the monitor and stops when the agent's
 * hello, of known protocol, has been read. Exits are read at once then, memory
 * after a pause (--settle) in which the guest is idle. Before the clock starts, memory
 * of --sweep MiB is written and freed: pages that the last machine ran code on are
 * overwritten there, which an emulator of processors is slow at (README.md). Both are read in the same
 * way for every monitor, see sample.c. Then the monitor is killed.
 *
 * Exit status 0; 1 with one line on standard error, and what the guest wrote
 * last on its console, when anything failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/agent.pb-c.h"
#include "lib/fd.h"
#include "lib/frame.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/opt.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "tests/bench/bench.h"
#include "tests/kit/saved.h"
#include "vmm/vmm.h"

#define CALL_MS 60000
#define CONSOLE_TAIL_BYTES 2000
#define PAGE_BYTES 4096

enum kind { PODVM, CLONE, OTHER, KINDS };

struct options {
	const char *kernel, *initramfs, *append, *console;
	uint64_t ram_mib, timeout_s, settle_ms, sweep_mib;
	bool help;
};

/**
 * struct boot - one machine
 * @v:        monitor; the socket is -1 unless it is podvm's
 * @agent:    the agent's connection, owned
 * @start_ns: before the fork
 * @hello_ns: after the hello
 * @boot_ns:  guest's clock at its call
 * @init_ns:  guest's clock when its user space began
 * @stats:    of podvm's monitor
 */
struct boot {
	struct vmm v;
	int agent;
	uint64_t start_ns, hello_ns, boot_ns, init_ns;
	struct vmm_stats stats;
	struct bench_kvm kvm;
	struct bench_memory memory;
};

/* Waits until @fd can be read; a monitor that ends before is named. */
static int wait_readable(struct boot *b, int fd, uint64_t timeout_s, struct err *e)
{
	struct pollfd p[] = { { .fd = fd, .events = POLLIN },
			      { .fd = b->v.pidfd, .events = POLLIN } };
	int n, status;

	do {
		n = poll(p, 2, (int)(timeout_s * 1000));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(e, "poll");
	if (!n)
		return err_set(e, ETIMEDOUT, "the agent did not call within %" PRIu64 " s", timeout_s);
	if (p[0].revents)
		return 0;
	if (proc_wait(b->v.pidfd, -1, &status, e) < 0)
		return -e->code;
	fd_close(&b->v.pidfd);
	return err_set(e, EIO, "the monitor ended with status %d before the agent called", status);
}

static int take_hello(struct boot *b, uint64_t timeout_s, struct err *e)
{
	struct frame_rx rx = { 0 };
	Podvm__Response *r;
	int rc = wait_readable(b, b->agent, timeout_s, e);

	if (!rc)
		rc = frame_recv(b->agent, &rx, CALL_MS, e);
	if (rc < 0) {
		frame_done(&rx);
		return err_wrap(e, "hello");
	}
	b->hello_ns = bench_now_ns();
	r = podvm__response__unpack(NULL, rx.len, rx.buf);
	frame_done(&rx);
	if (!r || r->body_case != PODVM__RESPONSE__BODY_HELLO ||
	    r->hello->protocol != AGENT_PROTOCOL) {
		if (r)
			podvm__response__free_unpacked(r, NULL);
		return err_set(e, EPROTO, "the guest's first message is no hello of protocol %d",
			       AGENT_PROTOCOL);
	}
	b->boot_ns = r->hello->boot_ns;
	b->init_ns = r->hello->init_ns;
	podvm__response__free_unpacked(r, NULL);
	return 0;
}

static int open_console(const struct options *o, struct err *e)
{
	int fd = open(o->console, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd < 0 ? err_sys(e, "%s", o->console) : fd;
}

static int fill_config(struct vmm_config *c, const struct options *o, struct err *e)
{
	c->ram_bytes = o->ram_mib << 20;
	c->vcpus = 1;
	c->guest_cid = 3;
	if (str_copy(c->cmdline, sizeof(c->cmdline), o->append) < 0)
		return err_set(e, E2BIG, "--append is too long");
	return 0;
}

/* @t: what the machine becomes; NULL: no template */
static int podvm_config(struct boot *b, const struct options *o, const struct kit_saved *t,
			struct err *e)
{
	_cleanup_close_ int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int kernel = open(o->kernel, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int initramfs = open(o->initramfs, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int console = open_console(o, e);
	struct vmm_request rq = { .type = VMM_CONFIG };
	int fds[] = { kvm, kernel, initramfs, console, t ? t->memory : -1 };
	struct vmm_reply rp;

	if (kvm < 0)
		return err_set(e, ENODEV, "/dev/kvm cannot be opened");
	if (kernel < 0 || initramfs < 0)
		return err_set(e, ENOENT, "%s or %s cannot be read", o->kernel, o->initramfs);
	if (console < 0)
		return console;
	if (fill_config(&rq.config, o, e) < 0)
		return -e->code;
	return vmm_call(&b->v, &rq, fds, t ? 5 : 4, CALL_MS, &rp, e);
}

static int call(struct boot *b, enum vmm_type type, struct vmm_reply *rp, struct err *e)
{
	struct vmm_request rq = { .type = type };

	return vmm_call(&b->v, &rq, NULL, 0, CALL_MS, rp, e);
}

/* Until the guest has called for the first time. */
static int wait_call(struct boot *b, uint64_t timeout_s, struct err *e)
{
	const struct timespec nap = { 0, 5000000 };
	uint64_t end = clock_ms() + timeout_s * 1000;
	struct vmm_reply rp;
	int rc;

	do {
		nanosleep(&nap, NULL);
		rc = call(b, VMM_STATS, &rp, e);
	} while (!rc && !rp.stats.connect_ns && clock_ms() < end);
	return rc || rp.stats.connect_ns ? rc
		: err_set(e, ETIMEDOUT, "the agent did not call within %" PRIu64 " s", timeout_s);
}

/* Boots a machine up to its agent's first call, which nobody takes, and saves it. */
static int make_template(const struct options *o, char **argv, struct kit_saved *ret,
			 struct err *e)
{
	struct boot b = { .v = { .sock = -1, .pidfd = -1 } };
	struct vmm_spawn how = { .log_fd = 2, .cgroup_fd = -1 };
	struct vmm_reply rp;
	int rc;

	rc = kit_saved_new(ret, e);
	if (rc < 0)
		return rc;
	rc = vmm_spawn(argv[0], &how, &b.v, e);
	if (rc < 0)
		return rc;
	if ((rc = podvm_config(&b, o, ret, e)) < 0 || (rc = call(&b, VMM_START, &rp, e)) < 0 ||
	    (rc = wait_call(&b, o->timeout_s, e)) < 0 || (rc = kit_saved_take(ret, &b.v, e)) < 0)
		err_wrap(e, "template");
	vmm_done(&b.v);
	return rc;
}

static int podvm_restore(struct boot *b, const struct options *o, const struct kit_saved *t,
			 struct err *e)
{
	_cleanup_close_ int console = open_console(o, e);
	struct vmm_config c = { 0 };
	int rc = console < 0 ? console : fill_config(&c, o, e);

	return rc < 0 ? rc : kit_saved_restore(t, &b->v, &c, console, e);
}

/* @t: that the machine comes from; NULL: it boots */
static int boot_podvm(struct boot *b, const struct options *o, char **argv,
		      const struct kit_saved *t, struct err *e)
{
	struct vmm_request listen_rq = { .type = VMM_LISTEN, .port = AGENT_PORT };
	struct vmm_request start_rq = { .type = VMM_START };
	struct vmm_spawn how = { .log_fd = 2, .cgroup_fd = -1 };
	_cleanup_close_ int theirs = -1;
	struct vmm_reply rp;
	int s[2], rc;

	b->start_ns = bench_now_ns();
	rc = vmm_spawn(argv[0], &how, &b->v, e);
	if (rc < 0)
		return rc;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		return err_sys(e, "socketpair");
	b->agent = s[0];
	theirs = s[1];
	if ((rc = t ? podvm_restore(b, o, t, e) : podvm_config(b, o, NULL, e)) < 0 ||
	    (rc = vmm_call(&b->v, &listen_rq, &theirs, 1, CALL_MS, &rp, e)) < 0)
		return rc;
	/* Only the monitor may hold it, or its end would not show here. */
	fd_close(&theirs);
	return vmm_call(&b->v, &start_rq, NULL, 0, CALL_MS, &rp, e);
}

static int listen_vsock(struct err *e)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY,
				  .svm_port = AGENT_PORT };
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1) < 0)
		return err_sys(e, "vsock port %d (does this kernel have vhost_vsock?)",
			       AGENT_PORT);
	return fd_steal(&fd);
}

static int boot_other(struct boot *b, const struct options *o, char **argv, struct err *e)
{
	struct proc_fd map[] = { { 2, 2 } };
	struct proc_spec s = { .path = argv[0], .argv = argv, .fds = map, .n_fds = 1,
			       .setsid = 1 };
	_cleanup_close_ int listener = listen_vsock(e);
	int rc;

	if (listener < 0)
		return listener;
	b->start_ns = bench_now_ns();
	rc = proc_spawn(&s, &b->v.pid, &b->v.pidfd, e);
	if (rc < 0)
		return rc;
	rc = wait_readable(b, listener, o->timeout_s, e);
	if (rc < 0)
		return rc;
	b->agent = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return b->agent < 0 ? err_sys(e, "accept") : 0;
}

/* In large pages: a page cleared in the kernel is a page written. */
static int sweep(uint64_t mib, struct err *e)
{
	size_t bytes = mib << 20, i;
	char *p;

	if (!bytes)
		return 0;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return err_sys(e, "%" PRIu64 " MiB of memory", mib);
	madvise(p, bytes, MADV_HUGEPAGE);
	for (i = 0; i < bytes; i += PAGE_BYTES)
		*(volatile char *)(p + i) = 1;
	munmap(p, bytes);
	return 0;
}

static int start(struct boot *b, const struct options *o, char **argv, enum kind kind,
		 struct err *e)
{
	struct kit_saved t = { -1, -1 };
	int rc;

	rc = kind == CLONE ? make_template(o, argv, &t, e) : 0;
	if (!rc)
		rc = sweep(o->sweep_mib, e);
	if (!rc && kind == OTHER)
		rc = boot_other(b, o, argv, e);
	else if (!rc)
		rc = boot_podvm(b, o, argv, kind == CLONE ? &t : NULL, e);
	kit_saved_done(&t);
	return rc;
}

static int measure(struct boot *b, const struct options *o, char **argv, enum kind kind,
		   struct err *e)
{
	struct timespec pause = { (time_t)(o->settle_ms / 1000),
				  (long)(o->settle_ms % 1000) * 1000000 };
	struct vmm_request rq = { .type = VMM_STATS };
	struct vmm_reply rp;
	int rc;

	if ((rc = start(b, o, argv, kind, e)) < 0 ||
	    (rc = take_hello(b, o->timeout_s, e)) < 0 ||
	    (rc = bench_kvm_read(b->v.pid, &b->kvm, e)) < 0)
		return rc;
	if (kind != OTHER) {
		rc = vmm_call(&b->v, &rq, NULL, 0, CALL_MS, &rp, e);
		if (rc < 0)
			return rc;
		b->stats = rp.stats;
	}
	nanosleep(&pause, NULL);
	return bench_memory_read(b->v.pid, o->ram_mib << 20, &b->memory, e);
}

static double ms(uint64_t from, uint64_t to)
{
	return (double)(int64_t)(to - from) / 1e6;
}

static void add_stats(struct json_out *j, const struct boot *b)
{
	int i;

	json_out_obj(j, "user_exits");
	for (i = 0; i < VMM_EXIT_KINDS; i++)
		json_out_u64(j, vmm_exit_name((enum vmm_exit)i), b->stats.exits[i]);
	json_out_end(j);
	json_out_double(j, "main_ms", ms(b->start_ns, b->stats.start_ns));
	json_out_double(j, "config_ms", ms(b->start_ns, b->stats.config_ns));
	json_out_double(j, "run_ms", ms(b->start_ns, b->stats.run_ns));
	json_out_double(j, "call_ms", ms(b->start_ns, b->stats.connect_ns));
}

static int print(const struct boot *b, enum kind kind, struct err *e)
{
	struct json_out *j = json_out_new();
	_cleanup_free_ char *text = NULL;
	int rc;

	if (!j)
		return err_set(e, ENOMEM, "out of memory");
	json_out_double(j, "hello_ms", ms(b->start_ns, b->hello_ns));
	json_out_double(j, "guest_boot_ms", (double)b->boot_ns / 1e6);
	json_out_double(j, "guest_init_ms", (double)b->init_ns / 1e6);
	json_out_u64(j, "private_kb", b->memory.private_kb);
	json_out_u64(j, "private_file_kb", b->memory.file_kb);
	json_out_u64(j, "pss_kb", b->memory.process_kb);
	json_out_u64(j, "mappings", b->memory.mappings);
	json_out_u64(j, "guest_ram_kb", b->memory.guest_kb);
#define ADD(name) json_out_u64(j, #name, b->kvm.name);
	BENCH_COUNTERS(ADD)
#undef ADD
	if (kind != OTHER)
		add_stats(j, b);
	rc = json_out_text(j, false, &text, e);
	if (!rc)
		puts(text);
	json_out_free(j);
	return rc;
}

static void show_console(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[CONSOLE_TAIL_BYTES];
	off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	ssize_t n;

	if (end <= 0)
		return;
	n = pread(fd, text, sizeof(text), end > CONSOLE_TAIL_BYTES ? end - CONSOLE_TAIL_BYTES : 0);
	if (n > 0)
		fprintf(stderr, "bench-boot: the guest's console, its end:\n%.*s\n", (int)n, text);
}

int main(int argc, char **argv)
{
	struct options o = { .kernel = "build/kernel/vmlinux",
			     .initramfs = "build/release/initramfs.cpio",
			     .append = "console=hvc0", .console = "/dev/null",
			     .ram_mib = 256, .timeout_s = 60, .settle_ms = 300 };
	const struct opt table[] = {
		OPT_STR(0, "kernel", &o.kernel, "FILE", "guest kernel (podvm)"),
		OPT_STR(0, "initramfs", &o.initramfs, "FILE", "mini-OS (podvm)"),
		OPT_STR(0, "append", &o.append, "TEXT", "kernel command line (podvm)"),
		OPT_STR(0, "console", &o.console, "FILE", "guest's console; shown after a failure"),
		OPT_U64(0, "ram", &o.ram_mib, "MIB", "guest memory (256)"),
		OPT_U64(0, "timeout", &o.timeout_s, "S", "for the agent's call (60)"),
		OPT_U64(0, "settle", &o.settle_ms, "MS", "idle time before memory is read (300)"),
		OPT_U64(0, "sweep", &o.sweep_mib, "MIB", "memory to write and free before (0)"),
		OPT_FLAG('h', "help", &o.help, "show this text"),
		OPT_END
	};
	struct boot b = { .v = { .sock = -1, .pidfd = -1 }, .agent = -1 };
	static const char *const kinds[] = { "podvm", "clone", "other" };
	int kind = 0;
	struct err e;
	int first, rc;

	if (opt_parse(table, argc, argv, &first, &e) < 0) {
		fprintf(stderr, "bench-boot: %s\n", e.text);
		return 1;
	}
	while (first < argc && kind < KINDS && strcmp(argv[first], kinds[kind]))
		kind++;
	if (o.help || argc - first < 2 || kind == KINDS || (kind != OTHER && argc - first > 2)) {
		fprintf(stderr, "usage: bench-boot [OPTION]... podvm|clone PROGRAM\n"
				"       bench-boot [OPTION]... -- other PROGRAM ARGUMENT...\n");
		opt_help(stderr, table);
		return !o.help;
	}
	rc = measure(&b, &o, argv + first + 1, (enum kind)kind, &e);
	if (!rc)
		rc = print(&b, (enum kind)kind, &e);
	if (rc < 0) {
		fprintf(stderr, "bench-boot: %s: %s\n", argv[first + 1], e.text);
		show_console(o.console);
	}
	fd_close(&b.agent);
	if (b.v.pidfd >= 0)
		proc_kill(b.v.pidfd, SIGKILL);
	vmm_done(&b.v);
	return rc < 0;
}
