// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of the control socket: the supervisor's messages in any order, with fields,
 * lengths and descriptors that are mostly right, to a monitor whose KVM is
 * tests/fuzz/fakekvm.c. (Taps are there for root alone.) All messages of an input are
 * in the socket before the monitor runs, here on the same thread, and it ends where
 * they end. An input begins with
 *
 *	1 byte   bit 0: no CONFIG in front; bit 1: the guest ends when it is entered;
 *	         bit 2: a port for the console and START behind CONFIG
 *	2 bytes  which call of CALLS fails; 0: none
 *
 * The monitor trusts its supervisor, so this is about mistakes: each message gets one
 * answer, and an error has a text. A find is anything else: a crash, a leak, a
 * descriptor that is left, a hang.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/disktab.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "tests/fuzz/drive.h"
#include "tests/fuzz/fails.h"
#include "tests/fuzz/fakekvm.h"
#include "tests/fuzz/image.h"
#include "vmm/control.h"
#include "vmm/sandbox.h"
#include "vmm/vmm.h"

#define MIB (1ull << 20)

/* As many as fit into a socket, with their answers. */
#define MESSAGES_MAX 20
#define FDS_MAX 20
#define PEERS_MAX (MESSAGES_MAX * FDS_MAX)

/* Kinds of descriptors. */
enum { KIND_NULL, KIND_KERNEL, KIND_EMPTY, KIND_DISK, KIND_TABLE, KIND_STREAM, KIND_PACKETS,
       KIND_PIPE_IN, KIND_PIPE_OUT, KIND_DIRECTORY, KIND_EVENTS, KIND_DEAD, KIND_TAP, KIND_FRESH,
       KINDS };

static int kernel_fd = -1, empty_fd = -1, disk_fd = -1, table_fd = -1;
static bool has_tap;
static int peers[PEERS_MAX];
static size_t n_peers;

/* Types that were sent, in order; 0 for a message of another size. */
static uint32_t sent[MESSAGES_MAX + 3];
static size_t n_sent;

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_control: %s\n", what);
	abort();
}

#define CALLS(X) \
	X(void *, calloc, (size_t n, size_t size), (n, size), ENOMEM, NULL) \
	X(void *, malloc, (size_t n), (n), ENOMEM, NULL) \
	X(int, eventfd, (unsigned int n, int flags), (n, flags), EMFILE, -1) \
	X(int, timerfd_create, (int clock, int flags), (clock, flags), EMFILE, -1)

CALLS(WRAP)

typedef void *thread_fn(void *arg);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, thread_fn *fn, void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, thread_fn *fn, void *arg);
int __wrap_sandbox_enter(const struct sandbox_filter *f, struct err *e);

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, thread_fn *fn, void *arg)
{
	return fails() ? EAGAIN : __real_pthread_create(t, a, fn, arg);
}

/* Reads the whole filter, as the kernel does, and confines nobody. */
int __wrap_sandbox_enter(const struct sandbox_filter *f, struct err *e)
{
	const volatile uint8_t *p = (const volatile uint8_t *)f->code;
	size_t i;

	for (i = 0; i < f->n * 8u; i++)
		(void)p[i];
	return fails() ? err_set(e, EINVAL, "seccomp") : 0;
}

/* Return: -1 where there are no taps, or we may not have one */
static int open_tap(void)
{
	struct ifreq ifr = { .ifr_name = "tap0",
			     .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) < 0)
		fd_close(&fd);
	return fd;
}

/* In a network namespace of our own, since it stays: making one takes long. */
static void make_tap(void)
{
	_cleanup_close_ int fd = unshare(CLONE_NEWNET) < 0 ? -1 : open_tap();

	has_tap = fd >= 0 && !ioctl(fd, TUNSETPERSIST, 1ul);
}

static int make_file(const void *data, size_t len, off_t bytes, int seals)
{
	int fd = memfd_create("file", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	check(fd >= 0 && write(fd, data, len) == (ssize_t)len && !ftruncate(fd, bytes) &&
	      !fcntl(fd, F_ADD_SEALS, seals), "memfd");
	return fd;
}

static void begin(void)
{
	static const struct {
		struct disktab_head h;
		struct disktab_extent x;
	} table = { { DISKTAB_MAGIC, 16, 1, sizeof(struct disktab_head), 1, 0 },
		    { 0, 16, 0, 0, 0 } };
	uint8_t kernel[IMAGE_BYTES] = { 0 };

	signal(SIGPIPE, SIG_IGN); /* as main() does */
	log_open(-1, LOG_LEVEL_ERROR, false);
	kernel_fd = make_file(kernel, image_elf(kernel, true), sizeof(kernel), 0);
	make_tap();
	empty_fd = make_file("", 0, 0, 0);
	disk_fd = make_file("", 0, MIB, 0);
	table_fd = make_file(&table, sizeof(table), 4096,
			     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
}

static int make_pair(int type, bool dead)
{
	int s[2];

	check(!socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, s), "socketpair");
	if (dead || n_peers == PEERS_MAX)
		close(s[1]);
	else
		peers[n_peers++] = s[1];
	return s[0];
}

static int make_pipe(int end)
{
	int p[2];

	check(!pipe2(p, O_CLOEXEC), "pipe");
	close(p[!end]);
	return p[end];
}

/* Return: owned by the caller */
static int make_fd(uint8_t kind)
{
	switch (kind) {
	case KIND_KERNEL: return dup(kernel_fd);
	case KIND_EMPTY: return dup(empty_fd);
	case KIND_DISK: return dup(disk_fd);
	case KIND_TABLE: return dup(table_fd);
	case KIND_STREAM: return make_pair(SOCK_STREAM, false);
	case KIND_PACKETS: return make_pair(SOCK_SEQPACKET, false);
	case KIND_DEAD: return make_pair(SOCK_STREAM, true);
	case KIND_PIPE_IN: return make_pipe(0);
	case KIND_PIPE_OUT: return make_pipe(1);
	case KIND_DIRECTORY: return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case KIND_TAP: return has_tap ? open_tap() : dup(empty_fd);
	case KIND_FRESH: return make_file("", 0, 0, 0);
	case KIND_EVENTS: return __real_eventfd(0, EFD_CLOEXEC);
	default: return open("/dev/null", O_RDWR | O_CLOEXEC);
	}
}

/**
 * struct request - a message under construction
 * @len:   bytes of @rq that are sent, or zeros behind it
 * @kinds: of its descriptors
 */
struct request {
	struct {
		struct vmm_request rq;
		uint8_t more[16];
	} m;
	size_t len;
	uint8_t kinds[FDS_MAX];
	size_t n_fds;
};

static void send_request(int sock, const struct request *r)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} c = { .room = "" };
	struct iovec iov = { .iov_len = r->len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	uint8_t bytes[sizeof(r->m)];
	int fds[FDS_MAX];
	size_t i;

	memcpy(bytes, &r->m, sizeof(bytes));
	iov.iov_base = bytes;
	for (i = 0; i < r->n_fds; i++)
		fds[i] = make_fd(r->kinds[i]);
	if (r->n_fds) {
		m.msg_control = c.room;
		m.msg_controllen = CMSG_SPACE(r->n_fds * sizeof(int));
		c.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(r->n_fds * sizeof(int)),
					    .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&c.align), fds, r->n_fds * sizeof(int));
	}
	check(sendmsg(sock, &m, MSG_DONTWAIT) == (ssize_t)r->len, "the socket is too small");
	sent[n_sent++] = r->len == sizeof(r->m.rq) ? r->m.rq.type : 0;
	while (i)
		close(fds[--i]);
}

static void put_fds(struct request *r, const uint8_t *kinds, size_t n)
{
	memcpy(r->kinds, kinds, n);
	r->n_fds = n;
}

static void config(struct request *r, uint8_t what)
{
	static const uint8_t kinds[] = { KIND_NULL, KIND_KERNEL, KIND_EMPTY, KIND_NULL, KIND_FRESH };

	r->m.rq.type = VMM_CONFIG;
	r->m.rq.config = (struct vmm_config){ .ram_bytes = (what & 1 ? 64 : 32) * MIB,
					      .vcpus = 1 + (what >> 1 & 3), .guest_cid = 3,
					      .cmdline = "quiet" };
	if (what & 8)
		r->m.rq.config.hotplug_bytes = VMM_HOTPLUG_STEP_BYTES;
	put_fds(r, kinds, what & 32 ? 5 : 4);
	if (what & 16)
		r->kinds[3] = KIND_STREAM;
}

static void name(char *room, size_t bytes, uint8_t which)
{
	static const char *const names[] = { "one", "two", "three", "02:00:00:00:00:01", "" };

	memset(room, 0, bytes);
	memcpy(room, names[which % ARRAY_LEN(names)], strlen(names[which % ARRAY_LEN(names)]));
}

static void limit(struct fuzz *f, struct vmm_limit *l)
{
	l->bytes_per_s = fuzz_take(f, 3);
	l->ops_per_s = fuzz_take(f, 2);
	l->burst_bytes = fuzz_take(f, 3);
	l->burst_ops = fuzz_take(f, 1);
}

static void disk(struct fuzz *f, struct request *r)
{
	struct vmm_disk *d = &r->m.rq.disk;
	uint8_t what = (uint8_t)fuzz_take(f, 1);

	name(d->serial, sizeof(d->serial), what >> 4);
	d->synthetic = what & 1;
	d->readonly = what >> 1 & 1;
	put_fds(r, &(uint8_t){ what & 1 ? KIND_TABLE : KIND_DISK }, 1);
	if (what & 4)
		limit(f, &d->limit);
}

static void net(struct fuzz *f, struct request *r)
{
	struct vmm_net *n = &r->m.rq.net;
	uint8_t what = (uint8_t)fuzz_take(f, 1), i;

	*n = (struct vmm_net){ .mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500, .pairs = what & 3,
			       .vhost = what >> 2 & 1 };
	if (what & 8)
		limit(f, &n->rx);
	for (i = 0; i < n->pairs << n->vhost; i++)
		r->kinds[r->n_fds++] = i < n->pairs ? KIND_TAP : KIND_NULL;
}

static void share(struct fuzz *f, struct request *r)
{
	struct vmm_share *s = &r->m.rq.share;
	uint8_t what = (uint8_t)fuzz_take(f, 1), i;

	name(s->tag, sizeof(s->tag), what >> 4);
	s->cache = what & 3;
	for (i = 0; i <= (what >> 2 & 3); i++)
		r->kinds[r->n_fds++] = KIND_PACKETS;
}

/* What is right for @type, but for its fields. */
static void compose(struct fuzz *f, struct request *r)
{
	struct vmm_request *rq = &r->m.rq;
	uint32_t type = rq->type;

	switch (type) {
	case VMM_RESTORE:
	case VMM_CONFIG:
		config(r, (uint8_t)fuzz_take(f, 1));
		r->m.rq.type = type;
		break;
	case VMM_SAVE: put_fds(r, &(uint8_t){ KIND_FRESH }, 1); break;
	case VMM_DISK: disk(f, r); break;
	case VMM_NET: net(f, r); break;
	case VMM_SHARE: share(f, r); break;
	case VMM_BROKER: put_fds(r, &(uint8_t){ KIND_PACKETS }, 1); break;
	case VMM_LISTEN:
	case VMM_CONNECT:
		put_fds(r, &(uint8_t){ KIND_STREAM }, 1);
		rq->port = (uint32_t)fuzz_take(f, 1);
		break;
	case VMM_CONSOLE_PORT:
		put_fds(r, &(uint8_t){ KIND_STREAM }, 1);
		name(rq->name, sizeof(rq->name), (uint8_t)fuzz_take(f, 1));
		break;
	case VMM_LIMIT:
		name(rq->limit.name, sizeof(rq->limit.name), (uint8_t)fuzz_take(f, 1));
		limit(f, &rq->limit.limit);
		limit(f, &rq->limit.tx);
		break;
	case VMM_BALLOON: rq->bytes = fuzz_take(f, 2) * 4096; break;
	case VMM_MEMORY: rq->bytes = fuzz_take(f, 1) * 2 * MIB; break;
	case VMM_DEVICE: rq->port = (uint32_t)fuzz_take(f, 1); break;
	default:
		name(rq->name, sizeof(rq->name), (uint8_t)fuzz_take(f, 1));
		rq->port = (uint32_t)fuzz_take(f, 1) & 1;
	}
}

/* All that an input can do wrong, but for what would take the host's memory. */
static void spoil(struct fuzz *f, struct request *r)
{
	struct vmm_config *c = &r->m.rq.config;
	size_t i;

	while (f->len && fuzz_odd(f)) {
		size_t at = fuzz_take(f, 2) % sizeof(r->m.rq), len = fuzz_take(f, 1);

		if (len > sizeof(r->m.rq) - at)
			len = sizeof(r->m.rq) - at;
		fuzz_take_bytes(f, (uint8_t *)&r->m.rq + at, len);
	}
	if (fuzz_odd(f))
		r->len = 1 + fuzz_take(f, 2) % sizeof(r->m);
	if (fuzz_odd(f)) {
		r->n_fds = fuzz_take(f, 1) % (FDS_MAX + 1);
		for (i = 0; i < r->n_fds; i++)
			r->kinds[i] = (uint8_t)(fuzz_take(f, 1) % KINDS);
	}
	if (r->m.rq.type == VMM_CONFIG && c->ram_bytes > 64 * MIB)
		c->prefault = 0;
}

static void send_next(struct fuzz *f, int sock)
{
	struct request r = { .len = sizeof(r.m.rq) };

	r.m.rq.type = (uint32_t)fuzz_take(f, 1) % (VMM_RESTORE + 2);
	compose(f, &r);
	spoil(f, &r);
	send_request(sock, &r);
}

static void send_first(struct fuzz *f, int sock, uint8_t how)
{
	struct request r = { .len = sizeof(r.m.rq) };

	if (how & 1)
		return;
	config(&r, (uint8_t)fuzz_take(f, 1));
	send_request(sock, &r);
	if (!(how & 4))
		return;
	r = (struct request){ .m.rq = { .type = VMM_CONSOLE_PORT, .name = "port" },
			      .len = sizeof(r.m.rq) };
	put_fds(&r, &(uint8_t){ KIND_STREAM }, 1);
	send_request(sock, &r);
	r = (struct request){ .m.rq.type = VMM_START, .len = sizeof(r.m.rq) };
	send_request(sock, &r);
}

/* Answers come in order, with at most one event among them. */
static void check_replies(int sock)
{
	struct vmm_reply rp;
	size_t n = 0, events = 0;
	ssize_t len;

	while ((len = recv(sock, &rp, sizeof(rp), MSG_DONTWAIT | MSG_TRUNC)) > 0) {
		check(len == sizeof(rp), "length of an answer");
		check(memchr(rp.text, 0, sizeof(rp.text)) != NULL, "a text without end");
		if (rp.type == VMM_EVENT && rp.event) {
			check(++events == 1 && rp.text[0], "event");
			continue;
		}
		check(n < n_sent && rp.type == sent[n], "an answer to something else");
		check(rp.error >= 0 && rp.error < 4096 && !rp.error == !rp.text[0],
		      "an error without text");
		n++;
	}
}

static unsigned int count_fds(void)
{
	unsigned int n = 0;
	int fd;

	for (fd = 0; fd < 512; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void run_monitor(int sock, unsigned int failing)
{
	struct err e = { 0 };
	int rc;

	atomic_store(&calls_left, failing);
	rc = control_run(sock, NULL, &e);
	atomic_store(&calls_left, 0);
	check(rc >= 0 || (rc == -e.code && e.text[0]), "an error without text");
}

/**
 * LLVMFuzzerTestOneInput() - a life of a monitor
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, size };
	uint8_t how = (uint8_t)fuzz_take(&f, 1);
	unsigned int failing = (unsigned int)fuzz_take(&f, 2), fds;
	int s[2], i;

	if (kernel_fd < 0)
		begin();
	fds = count_fds();
	n_sent = 0;
	fakekvm_begin(how & 2);
	check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), "socketpair");
	send_first(&f, s[0], how);
	for (i = 0; f.len && i < MESSAGES_MAX; i++)
		send_next(&f, s[0]);
	shutdown(s[0], SHUT_WR);
	run_monitor(s[1], failing);
	close(s[1]);
	check_replies(s[0]);
	close(s[0]);
	while (n_peers)
		close(peers[--n_peers]);
	check(count_fds() == fds, "descriptors are left");
	return 0;
}
