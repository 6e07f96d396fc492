// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Boots a guest with podvm-vmm and shares, without a supervisor: each share has the
 * supervisor's broker in this process. Other devices are added on request (plug.c), so
 * that a guest can have all of them. The guest's console goes to standard output.
 * Lines in it are commands:
 *
 *   PLUG, UNPLUG    the shares that are given with --hot; the run fails if the monitor
 *                   refuses to let them go
 *   BALLOON BYTES   that the guest shall give up
 *   MEMORY BYTES    that it shall plug
 *   LOOK            standard error gets the monitor's descriptors and private memory
 *
 * What the guest writes to the console port goes to standard output, too, a line at a
 * time behind "port|", and back to the guest. Counters of all devices go to standard
 * error at the end. Exit status: 0 when the guest switched itself off.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/opt.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "runtime/supervisor/supervisor.h"
#include "tests/share/plug.h"
#include "vmm/vmm.h"

#define SHARES_MAX 8
#define CHANNELS 3

/* As for a guest of 256 MiB: storage/storage.h. */
#define NODES_MAX 262144
#define FDS_MAX 1024
#define HELD_MAX 65536	/* files of an overlay, which has no handles */

struct options {
	const char *vmm, *append;
	struct opt_strs shares, hot, disks, taps;
	const char *port, *rootfs;
	uint64_t ram_mib, vcpus, timeout_s, hotplug_mib;
	bool help;
};

/**
 * struct line - a line that is not complete yet
 */
struct line {
	char text[8192];
	size_t len;
};

/**
 * struct run - one machine
 * @console: its output, owned
 * @port:    our end of the console port, owned; -1 for none
 * @line, @port_line: the lines that are being written to them
 * @files, @map: broker and disk of --rootfs, owned
 * @refused: UNPLUG failed
 */
struct run {
	const struct options *o;
	struct vmm v;
	struct share_broker broker[SHARES_MAX];
	unsigned int n_brokers;
	int console, port;
	struct line line, port_line;
	struct broker files;
	struct storage_map *map;
	bool refused;
};

static int call(struct run *r, struct vmm_request *rq, const int *fds, size_t n, struct err *e)
{
	struct vmm_reply rp;

	return vmm_call(&r->v, rq, fds, n, CALL_MS, &rp, e);
}

static bool has(const char *options, const char *end, const char *name)
{
	const char *at = strstr(options, name);

	return at && at < end;
}

/* TAG=DIR, with options between: TAG:ro:none=DIR. */
static int split(const char *text, struct vmm_share *ret, bool *ret_ro, const char **ret_dir,
		 struct err *e)
{
	const char *eq = strchr(text, '=');
	size_t len = strcspn(text, ":=");

	if (!eq || !len || len >= VMM_TAG_BYTES)
		return err_set(e, EINVAL, "share %s: give TAG=DIR, options behind the tag", text);
	*ret = (struct vmm_share){ .cache = has(text, eq, ":none")     ? VMM_CACHE_NONE
					    : has(text, eq, ":always") ? VMM_CACHE_ALWAYS
								       : VMM_CACHE_AUTO };
	memcpy(ret->tag, text, len);
	*ret_ro = has(text, eq, ":ro");
	*ret_dir = eq + 1;
	return 0;
}

static int plug_share(struct run *r, const char *text, struct err *e)
{
	struct share_config c = { .nodes_max = NODES_MAX, .fds_max = FDS_MAX,
				  .held_max = HELD_MAX };
	struct vmm_request rq = { .type = VMM_SHARE };
	_cleanup_close_ int dir = -1;
	int ends[SHARE_CHANNELS_MAX], rc, i;
	const char *path;

	rc = split(text, &rq.share, &c.readonly, &path, e);
	if (rc < 0)
		return rc;
	if (r->n_brokers == SHARES_MAX)
		return err_set(e, E2BIG, "more than %d shares", SHARES_MAX);
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, "%s", path);
	rc = share_broker_start(&r->broker[r->n_brokers], dir, &c, CHANNELS, ends, e);
	if (rc < 0)
		return rc;
	r->n_brokers++;
	rc = call(r, &rq, ends, CHANNELS, e);
	for (i = 0; i < CHANNELS; i++)
		fd_close(&ends[i]);
	return rc;
}

static int unplug(struct run *r, const char *text, struct err *e)
{
	struct vmm_request rq = { .type = VMM_UNPLUG };
	struct vmm_share share;
	const char *path;
	bool ro;
	int rc = split(text, &share, &ro, &path, e);

	if (rc < 0)
		return rc;
	memcpy(rq.name, share.tag, sizeof(share.tag));
	return call(r, &rq, NULL, 0, e);
}

static int each(struct run *r, const struct opt_strs *s,
		int (*fn)(struct run *, const char *, struct err *), struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < s->n && rc >= 0; i++)
		rc = fn(r, s->v[i], e);
	return rc;
}

static int add_disk(struct run *r, const char *path, struct err *e)
{
	return plug_disk(&r->v, path, e);
}

/* A disk of the layers of an overlay, as a pod gets it; no raw disk has its number. */
static int add_rootfs(struct run *r, const char *path, struct err *e)
{
	struct storage_request want = { .rootfs = path, .serial_stem = "synthetic" };
	struct vmm_request broker = { .type = VMM_BROKER }, rq = { .type = VMM_DISK };
	const struct storage_disk *d;
	int end, rc = broker_start(&r->files, &end, e);

	if (rc < 0)
		return rc;
	rc = call(r, &broker, &end, 1, e);
	fd_close(&end);
	if (!rc)
		rc = storage_map_rootfs(&want, &r->map, e);
	if (rc < 0)
		return rc;
	rq.disk = (struct vmm_disk){ .synthetic = 1, .readonly = 1, .number = POD_DISKS_MAX - 1 };
	snprintf(rq.disk.serial, sizeof(rq.disk.serial), "synthetic");
	broker_add(&r->files, rq.disk.number, r->map);
	storage_map_disks(r->map, &d);
	return call(r, &rq, &d->fd, 1, e);
}

static int add_tap(struct run *r, const char *text, struct err *e)
{
	return plug_tap(&r->v, text, e);
}

static int plug_all(struct run *r, struct err *e)
{
	const struct options *o = r->o;
	int rc;

	if ((rc = each(r, &o->disks, add_disk, e)) < 0 ||
	    (rc = each(r, &o->taps, add_tap, e)) < 0 ||
	    (rc = each(r, &o->shares, plug_share, e)) < 0)
		return rc;
	if (o->rootfs && (rc = add_rootfs(r, o->rootfs, e)) < 0)
		return rc;
	if (o->port)
		rc = r->port = plug_port(&r->v, o->port, e);
	return rc < 0 ? rc : 0;
}

static int configure(struct run *r, const char *kernel, const char *initramfs, struct err *e)
{
	const struct options *o = r->o;
	_cleanup_close_ int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int k = open(kernel, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int i = open(initramfs, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int out = -1;
	struct vmm_request rq = { .type = VMM_CONFIG };
	int pair[2], fds[4];

	if (kvm < 0 || k < 0 || i < 0)
		return err_sys(e, "/dev/kvm, %s or %s", kernel, initramfs);
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	r->console = pair[0];
	out = pair[1];
	rq.config.ram_bytes = o->ram_mib << 20;
	rq.config.vcpus = (uint32_t)o->vcpus;
	rq.config.guest_cid = 3;
	rq.config.hotplug_bytes = o->hotplug_mib << 20;
	if (str_copy(rq.config.cmdline, sizeof(rq.config.cmdline), o->append) < 0)
		return err_set(e, E2BIG, "--append is too long");
	fds[0] = kvm;
	fds[1] = k;
	fds[2] = i;
	fds[3] = out;
	return call(r, &rq, fds, 4, e);
}

static int resize(struct run *r, enum vmm_type type, const char *bytes, struct err *e)
{
	struct vmm_request rq = { .type = (uint32_t)type };

	if (parse_u64(bytes, &rq.bytes) < 0)
		return err_set(e, EINVAL, "the guest asks for %.40s bytes", bytes);
	return call(r, &rq, NULL, 0, e);
}

static int on_line(struct run *r, const char *line, struct err *e)
{
	int rc;

	printf("%s\n", line);
	fflush(stdout);
	if (!strcmp(line, "PLUG"))
		return each(r, &r->o->hot, plug_share, e);
	if (str_starts(line, "BALLOON "))
		return resize(r, VMM_BALLOON, line + strlen("BALLOON "), e);
	if (str_starts(line, "MEMORY "))
		return resize(r, VMM_MEMORY, line + strlen("MEMORY "), e);
	if (!strcmp(line, "LOOK"))
		return look(&r->v, r->o->ram_mib << 20, e);
	if (strcmp(line, "UNPLUG"))
		return 0;
	rc = each(r, &r->o->hot, unplug, e);
	if (rc < 0)
		fprintf(stderr, "share-boot: %s\n", e->text);
	r->refused |= rc < 0;
	return 0;
}

static int on_port_line(struct run *r, const char *line, struct err *e)
{
	printf("port|%s\n", line);
	fflush(stdout);
	return dprintf(r->port, "%s\n", line) < 0 ? err_sys(e, "console port") : 0;
}

static int read_lines(struct run *r, int *fd, struct line *l,
		      int (*fn)(struct run *, const char *, struct err *), struct err *e)
{
	char buf[4096];
	ssize_t n = read(*fd, buf, sizeof(buf)), i;
	int rc = 0;

	if (n <= 0) {
		fd_close(fd);
		return 0;
	}
	for (i = 0; i < n && rc >= 0; i++) {
		if (buf[i] == '\r')
			continue;
		if (buf[i] != '\n' && l->len < sizeof(l->text) - 1) {
			l->text[l->len++] = buf[i];
			continue;
		}
		l->text[l->len] = 0;
		l->len = 0;
		rc = fn(r, l->text, e);
	}
	return rc;
}

static int read_console(struct run *r, struct err *e)
{
	return read_lines(r, &r->console, &r->line, on_line, e);
}

static int watch(struct run *r, struct vmm_reply *ev, struct err *e)
{
	uint64_t end = clock_ms() + r->o->timeout_s * 1000;

	for (;;) {
		struct pollfd p[3] = { { .fd = r->console, .events = POLLIN },
				       { .fd = r->v.sock, .events = POLLIN },
				       { .fd = r->port, .events = POLLIN } };
		uint64_t now = clock_ms();
		int rc = 0;

		if (now >= end)
			return err_set(e, ETIMEDOUT, "no end after %" PRIu64 " s", r->o->timeout_s);
		if (!r->v.have_event && poll(p, 3, (int)(end - now)) < 0 && errno != EINTR)
			return err_sys(e, "poll");
		if (p[0].revents)
			rc = read_console(r, e);
		else if (p[2].revents)
			rc = read_lines(r, &r->port, &r->port_line, on_port_line, e);
		else if (p[1].revents || r->v.have_event)
			return vmm_event(&r->v, ev, e);
		if (rc < 0)
			return rc;
	}
}

static void print_devices(struct run *r)
{
	struct vmm_request rq = { .type = VMM_DEVICE };
	struct vmm_reply rp;

	for (; !vmm_call(&r->v, &rq, NULL, 0, CALL_MS, &rp, NULL); rq.port++)
		fprintf(stderr,
			"share-boot: %.15s %.39s: %" PRIu64 " requests, %" PRIu64 " kicks, %" PRIu64
			" interrupts, %" PRIu64 " bytes in, %" PRIu64 " out, %" PRIu64
			" resets, %" PRIu64 " broken\n",
			rp.device.kind, rp.device.name, rp.device.requests, rp.device.kicks,
			rp.device.interrupts, rp.device.in_bytes, rp.device.out_bytes,
			rp.device.resets, rp.device.broken);
}

static int boot(struct run *r, const char *kernel, const char *initramfs, struct err *e)
{
	struct vmm_request start = { .type = VMM_START };
	struct vmm_spawn how = { .log_fd = 2, .cgroup_fd = -1 };
	struct vmm_reply ev = { 0 };
	int rc;

	if ((rc = vmm_spawn(r->o->vmm, &how, &r->v, e)) < 0 ||
	    (rc = configure(r, kernel, initramfs, e)) < 0 ||
	    (rc = plug_all(r, e)) < 0 || (rc = call(r, &start, NULL, 0, e)) < 0 ||
	    (rc = watch(r, &ev, e)) < 0)
		return rc;
	/* What the guest wrote last is in the pipe by now. */
	fcntl(r->console, F_SETFL, O_NONBLOCK);
	while (r->console >= 0 && read_console(r, e) >= 0)
		;
	print_devices(r);
	if (ev.event != VMM_EVENT_SHUTDOWN)
		return err_set(e, EIO, "event %u: %.200s", ev.event, ev.text);
	return r->refused ? err_set(e, EBUSY, "a share was not unplugged") : 0;
}

int main(int argc, char **argv)
{
	struct options o = {
		.vmm = "build/release/podvm-vmm",
		.append = "console=hvc0 quiet panic=-1 reboot=t tsc=reliable no_timer_check",
		.ram_mib = 256,
		.vcpus = 1,
		.timeout_s = 170
	};
	const struct opt table[] = { OPT_STR(0, "vmm", &o.vmm, "PATH", "the monitor"),
				     OPT_STR(0, "append", &o.append, "TEXT", "kernel command line"),
				     OPT_STRS(0, "share", &o.shares, "TAG[:ro][:none|:always]=DIR",
					      "a share; several may be given"),
				     OPT_STRS(0, "hot", &o.hot, "TAG[:ro][:none|:always]=DIR",
					      "a share that the guest asks for"),
				     OPT_STRS(0, "disk", &o.disks, "FILE", "a raw disk"),
				     OPT_STR(0, "rootfs", &o.rootfs, "DIR",
					     "a disk of the overlay that is mounted there"),
				     OPT_STRS(0, "tap", &o.taps, "NAME[,vhost]", "a tap interface"),
				     OPT_STR(0, "port", &o.port, "NAME", "a console port"),
				     OPT_U64(0, "hotplug", &o.hotplug_mib, "MIB",
					     "memory that the guest may plug besides (0)"),
				     OPT_U64(0, "ram", &o.ram_mib, "MIB", "guest memory (256)"),
				     OPT_U64(0, "vcpus", &o.vcpus, "N", "virtual processors (1)"),
				     OPT_U64(0, "timeout", &o.timeout_s, "S",
					     "give up after so long (170)"),
				     OPT_FLAG('h', "help", &o.help, "show this text"),
				     OPT_END };
	struct run r = { .o = &o, .v = { .sock = -1, .pidfd = -1 }, .console = -1,
			 .port = -1 };
	struct err e = { 0 };
	int first, rc;

	if (opt_parse(table, argc, argv, &first, &e) < 0 || o.help || argc - first != 2) {
		fprintf(stderr, "%s%susage: share-boot [OPTION]... KERNEL INITRAMFS\n", e.text,
			e.text[0] ? "\n" : "");
		opt_help(stderr, table);
		return 1;
	}
	log_open(2, LOG_LEVEL_INFO, false);
	rc = boot(&r, argv[first], argv[first + 1], &e);
	if (rc < 0)
		fprintf(stderr, "share-boot: %s\n", e.text);
	vmm_done(&r.v);
	while (r.n_brokers)
		share_broker_stop(&r.broker[--r.n_brokers]);
	broker_stop(&r.files);
	storage_map_free(r.map);
	fd_close(&r.console);
	fd_close(&r.port);
	return rc < 0;
}
