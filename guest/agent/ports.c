// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Which ports of the guest's localhost have a listener. /proc/net/tcp and tcp6 list
 * listeners first, so reading ends at the first other socket. A socket on [::] serves
 * IPv4 too unless it is for IPv6 only, which these files do not tell: it does if its
 * port on 127.0.0.1 cannot be bound.
 *
 * That something has changed is told by a small BPF program on the root of the cgroup
 * tree, which the kernel calls when a TCP socket begins to listen and when such a one
 * changes its state; it puts a byte into a ring that wakes the agent. So an idle guest
 * stays idle. Where the kernel has no such programs, the list is read every POLL_MS.
 *
 * Sources: linux/bpf.h (BPF_SOCK_OPS_TCP_LISTEN_CB, BPF_SOCK_OPS_STATE_CB);
 * Documentation/bpf/ringbuf.rst; Documentation/networking/proc_net_tcp.rst.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"

/*
 * A change is looked at after this time, together with those that follow it; and after
 * SETTLE_FACTOR times what the last look took, so that many changes of many sockets leave
 * the agent time for others.
 */
#define SETTLE_MS 10
#define SETTLE_FACTOR 10

/* Listeners of a family that are looked at; so many are somebody's mischief. */
#define LINES_MAX 8192

#define POLL_MS 250

/* As the kernel prints an address: words of 32 bits in the host's order. */
#define ANY4 "00000000"
#define LOCAL4 "0100007F"
#define ANY6 "00000000000000000000000000000000"
#define LOCAL6 "00000000000000000000000001000000"
#define MAPPED "0000000000000000FFFF0000"

#define STATE_LISTEN 0x0a

#define INSN(c, d, s, o, i)                                                                        \
	{                                                                                          \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)                \
	}

/**
 * struct ports_watch - tells when listeners come and go
 * @ring, @link: owned; the latter keeps the program at work; -1: it is polled
 * @consumer, @producer: positions in the ring; mapped
 */
struct ports_watch {
	struct agent *agent;
	ports_fn *fn;
	void *arg;
	int ring, link, timer;
	struct loop_src *ring_src, *timer_src;
	unsigned long *consumer;
	const unsigned long *producer;
	struct ports last;
	uint64_t took_ms;	/* by the last look */
};

static void set_port(struct ports *p, int family6, unsigned int port)
{
	p->bit[family6][port / 64] |= 1ull << port % 64;
}

/**
 * ports_has() - whether localhost of a family (1: IPv6) has a listener on a port
 */
bool ports_has(const struct ports *p, int family6, unsigned int port)
{
	return p->bit[family6][port / 64] >> port % 64 & 1;
}

static bool taken4(unsigned int port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 && errno == EADDRINUSE;
}

static void note(struct ports *p, const char *addr, unsigned int port)
{
	if (!strcmp(addr, ANY4) || !strcmp(addr, LOCAL4) || !strcmp(addr, MAPPED ANY4) ||
	    !strcmp(addr, MAPPED LOCAL4))
		set_port(p, 0, port);
	if (!strcmp(addr, ANY6) || !strcmp(addr, LOCAL6))
		set_port(p, 1, port);
	if (!strcmp(addr, ANY6) && !ports_has(p, 0, port) && taken4(port))
		set_port(p, 0, port);
}

static int read_list(const char *path, struct ports *p, struct err *e)
{
	char addr[33], *line = NULL;
	unsigned int port, state;
	FILE *f = fopen(path, "re");
	int left = LINES_MAX;
	size_t room = 0;

	if (!f)
		return err_sys(e, "%s", path);
	while (left-- && getline(&line, &room, f) > 0) {
		if (sscanf(line, " %*u: %32[0-9A-F]:%4x %*[0-9A-F:] %2x", addr, &port, &state) != 3)
			continue; /* its heading */
		if (state != STATE_LISTEN)
			break;
		note(p, addr, port);
	}
	free(line);
	fclose(f);
	return 0;
}

/**
 * ports_read() - the listeners of now
 * @ret: filled
 *
 * Return: 0 or minus errno
 */
int ports_read(struct ports *ret, struct err *e)
{
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = read_list("/proc/net/tcp", ret, e);
	if (rc >= 0)
		rc = read_list("/proc/net/tcp6", ret, e);
	/* A kernel without IPv6 does not have the latter. */
	return rc == -ENOENT ? 0 : rc;
}

static int bpf(int cmd, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static int load_prog(int ring)
{
	static const char licence[] = "Apache-2.0";
	const struct bpf_insn prog[] = { INSN(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 6, offsetof(struct bpf_sock_ops, op), 0),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 3, BPF_SOCK_OPS_TCP_LISTEN_CB),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 14, BPF_SOCK_OPS_STATE_CB),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 6, offsetof(struct bpf_sock_ops, args), 0),
		INSN(BPF_JMP | BPF_JA, 0, 0, 3, 0),
		/* It listens: its changes of state are wanted, too. */
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, BPF_SOCK_OPS_STATE_CB_FLAG),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_sock_ops_cb_flags_set),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, STATE_LISTEN),
		/* The state that it was in. */
		INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 8, STATE_LISTEN),
		INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 0),
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, ring),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -8),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 8),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_output),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0), };
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SOCK_OPS;
	attr.insn_cnt = ARRAY_LEN(prog);
	attr.insns = (uint64_t)(uintptr_t)prog;
	attr.license = (uint64_t)(uintptr_t)licence;
	return bpf(BPF_PROG_LOAD, &attr);
}

/* Return: descriptor that the program works as long as it is open; -1 */
static int attach(int prog)
{
	_cleanup_close_ int root = open(AGENT_CGROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	union bpf_attr attr;

	if (root < 0)
		return -1;
	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = (uint32_t)prog;
	attr.link_create.target_fd = (uint32_t)root;
	attr.link_create.attach_type = BPF_CGROUP_SOCK_OPS;
	return bpf(BPF_LINK_CREATE, &attr);
}

/* Return: false with errno, where it has to be polled */
static bool open_ring(struct ports_watch *w)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	_cleanup_close_ int prog = -1;
	union bpf_attr attr;
	void *at;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_RINGBUF;
	attr.max_entries = (uint32_t)page;
	w->ring = bpf(BPF_MAP_CREATE, &attr);
	if (w->ring < 0)
		return false;
	at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, w->ring, 0);
	if (at == MAP_FAILED)
		return false;
	w->consumer = at;
	at = mmap(NULL, page, PROT_READ, MAP_SHARED, w->ring, (off_t)page);
	if (at == MAP_FAILED)
		return false;
	w->producer = at;
	prog = load_prog(w->ring);
	w->link = prog < 0 ? -1 : attach(prog);
	return w->link >= 0;
}

static void close_ring(struct ports_watch *w)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	fd_close(&w->link);
	if (w->consumer)
		munmap(w->consumer, page);
	if (w->producer)
		munmap((void *)(uintptr_t)w->producer, page);
	w->consumer = NULL;
	w->producer = NULL;
	fd_close(&w->ring);
}

/* What is in the ring is of no interest; a timer that runs is not set back. */
static void on_ring(void *arg, uint32_t events)
{
	struct ports_watch *w = arg;
	struct err e;

	(void)events;
	__atomic_store_n(w->consumer, __atomic_load_n(w->producer, __ATOMIC_ACQUIRE),
			 __ATOMIC_RELEASE);
	loop_mod(w->ring_src, 0);
	timer_set(w->timer, SETTLE_MS + SETTLE_FACTOR * w->took_ms, &e);
}

static void on_timer(void *arg, uint32_t events)
{
	struct ports_watch *w = arg;
	uint64_t begin = clock_ms();
	struct ports now;
	struct err e;
	int rc;

	(void)events;
	timer_ack(w->timer);
	if (w->ring_src)
		loop_mod(w->ring_src, EPOLLIN);
	else
		timer_set(w->timer, POLL_MS, &e);
	rc = ports_read(&now, &e);
	w->took_ms = clock_ms() - begin;
	if (rc < 0) {
		log_warn("agent: listening sockets: %s", e.text);
		return;
	}
	if (!memcmp(&now, &w->last, sizeof(now)))
		return;
	w->last = now;
	w->fn(w->arg, &w->last);
}

/**
 * ports_watch_new() - be told when listeners come and go
 * @fn:  called from the loop after each change
 * @ret: with the listeners of now in ports_watch_now(); owned, ports_watch_free()
 *
 * Return: 0 or minus errno
 */
int ports_watch_new(struct agent *a, ports_fn *fn, void *arg, struct ports_watch **ret,
		    struct err *e)
{
	struct ports_watch *w = mem_new(struct ports_watch);
	int rc;

	if (!w)
		return err_set(e, ENOMEM, "out of memory");
	*w = (struct ports_watch){ .agent = a, .fn = fn, .arg = arg, .ring = -1, .link = -1, .timer = -1 };
	rc = w->timer = timer_new(e);
	if (rc >= 0)
		rc = loop_add(a->loop, w->timer, EPOLLIN, on_timer, w, &w->timer_src, e);
	if (rc >= 0 && !open_ring(w)) {
		log_info("agent: listening sockets are looked at every %d ms: %m", POLL_MS);
		close_ring(w);
		rc = timer_set(w->timer, POLL_MS, e);
	} else if (rc >= 0) {
		rc = loop_add(a->loop, w->ring, EPOLLIN, on_ring, w, &w->ring_src, e);
	}
	if (rc >= 0)
		rc = ports_read(&w->last, e);
	if (rc < 0) {
		ports_watch_free(w);
		return rc;
	}
	*ret = w;
	return 0;
}

/**
 * ports_watch_now() - the listeners as they were last seen; borrowed
 */
const struct ports *ports_watch_now(const struct ports_watch *w)
{
	return &w->last;
}

/**
 * ports_watch_free() - NULL is fine
 */
void ports_watch_free(struct ports_watch *w)
{
	if (!w)
		return;
	loop_del(w->ring_src);
	loop_del(w->timer_src);
	close_ring(w);
	fd_close(&w->timer);
	free(w);
}
