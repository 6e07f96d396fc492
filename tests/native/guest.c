// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A guest without a machine: a second network namespace with the kernel's own stack,
 * which the agent's code (guest/agent/net.c) configures as netplug's plan says. Each
 * port's tap in the pod's namespace gets a tap in the guest's, and frames are carried
 * between the two with their virtio header, as a monitor's network card does:
 *
 *	network == interface == tap ~~ this program ~~ tap == guest's stack
 *
 *   native-guest [OPTION]... POD GUEST
 *
 * POD and GUEST are paths of namespaces. "ready" on standard output says that the
 * guest is configured. TERM undoes what was done to POD, by the journal in --dir, and
 * ends the program. With --undo that is all that it does, for what a killed one left.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/opt.h"
#include "netplug/netplug.h"

/* Longest frame of a tap, and its header. */
#define FRAME_BYTES (65536 + 64)

/* Frames that one direction may carry before the others have their turn. */
#define TURN 64

/* What a guest's driver negotiates; a monitor asks the tap for it. */
#define OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)

/* The two ends of a queue pair. */
struct pipe {
	int pod, guest;
};

struct guest {
	const char *dir, *pod, *guest;
	const char *model;
	uint64_t queues;
	bool undo, help;
	struct journal *j;
	struct netplug_port port[NETPLUG_PORTS_MAX];
	size_t n_ports;
	struct pipe pipe[NETPLUG_PORTS_MAX * NETPLUG_TAPS_MAX];
	size_t n_pipes;
	unsigned long long carried, lost;
};

/**
 * disk_rescan() - the agent's: look for devices that were plugged; there is no bus here
 */
void disk_rescan(void)
{
}

static int undo_one(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	return netplug_undo(r, e);
}

static int set_header(int fd, struct err *e)
{
	int size = sizeof(struct virtio_net_hdr_mrg_rxbuf);

	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(fd, TUNSETOFFLOAD, OFFLOADS) < 0)
		return err_sys(e, "offloads of a tap");
	return 0;
}

/* Gives the guest's tap the MAC of the port, by which the agent finds it. */
static int set_mac(const char *name, const uint8_t mac[6], struct err *e)
{
	_cleanup_close_ int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	memcpy(ifr.ifr_hwaddr.sa_data, mac, 6);
	return s < 0 || ioctl(s, SIOCSIFHWADDR, &ifr) < 0 ? err_sys(e, "MAC of %s", name) : 0;
}

/* One network card, in the guest's namespace, where the caller is. */
static int plug(struct guest *g, const struct netplug_port *p, size_t number, struct err *e)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	size_t i;
	int rc = 0;

	if (p->n_taps > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "card%zu", number);
	for (i = 0; i < p->n_taps && rc >= 0; i++) {
		struct pipe *q = &g->pipe[g->n_pipes++];

		q->pod = p->tap_fd[i];
		rc = q->guest = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (rc < 0 || ioctl(q->guest, TUNSETIFF, &ifr) < 0)
			return err_sys(e, "make %s", ifr.ifr_name);
		rc = set_header(q->guest, e);
		if (rc >= 0)
			rc = set_header(q->pod, e);
	}
	return rc < 0 ? rc : set_mac(ifr.ifr_name, p->mac, e);
}

static int enter(const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		return err_sys(e, "namespace %s", path);
	return 0;
}

static int join(struct guest *g, struct err *e)
{
	_cleanup_close_ int netns = open(g->pod, O_RDONLY | O_CLOEXEC);
	struct netplug_options o = { .model = NETPLUG_TC };
	struct netplug_plan *p = NULL;
	size_t i;
	int rc;

	if (netns < 0)
		return err_sys(e, "namespace %s", g->pod);
	rc = netplug_model_parse(g->model, &o.model, e);
	if (!rc)
		rc = netplug_plan(netns, &o, &p, e);
	if (!rc)
		rc = netplug_apply(p, netns, g->pod, g->queues, g->j, g->port, &g->n_ports, e);
	if (!rc)
		rc = enter(g->guest, e);
	for (i = 0; i < g->n_ports && !rc; i++)
		rc = plug(g, &g->port[i], i, e);
	if (!rc)
		rc = net_loopback_up(e);
	if (!rc)
		rc = net_setup(netplug_plan_network(p), e);
	netplug_plan_free(p);
	return rc;
}

static void carry(struct guest *g, int from, int to)
{
	static char buf[FRAME_BYTES];
	int i;

	for (i = 0; i < TURN; i++) {
		ssize_t n = read(from, buf, sizeof(buf));

		if (n <= 0)
			return;
		if (write(to, buf, (size_t)n) == n)
			g->carried++;
		else
			g->lost++;
	}
}

static int watch(int ep, int fd, uint64_t what, struct err *e)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = what};

	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0 ? err_sys(e, "epoll") : 0;
}

/* Carries frames until @stop is readable. */
static int run(struct guest *g, int stop, struct err *e)
{
	_cleanup_close_ int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev[16];
	size_t i;
	int n, k, rc = watch(ep, stop, UINT64_MAX, e);

	for (i = 0; i < g->n_pipes && !rc; i++) {
		rc = watch(ep, g->pipe[i].pod, i * 2, e);
		if (!rc)
			rc = watch(ep, g->pipe[i].guest, i * 2 + 1, e);
	}
	if (rc < 0)
		return rc;
	for (;;) {
		n = epoll_wait(ep, ev, 16, -1);
		if (n < 0 && errno != EINTR)
			return err_sys(e, "epoll");
		for (k = 0; k < n; k++) {
			const struct pipe *q = &g->pipe[ev[k].data.u64 / 2];

			if (ev[k].data.u64 == UINT64_MAX)
				return 0;
			if (ev[k].data.u64 & 1)
				carry(g, q->guest, q->pod);
			else
				carry(g, q->pod, q->guest);
		}
	}
}

static int live(struct guest *g, struct err *e)
{
	_cleanup_close_ int stop = -1;
	sigset_t set;
	int rc;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	stop = signalfd(-1, &set, SFD_CLOEXEC);
	rc = join(g, e);
	if (!rc) {
		puts("ready");
		fflush(stdout);
		rc = run(g, stop, e);
		printf("%llu frames carried, %llu lost\n", g->carried, g->lost);
	}
	return rc;
}

static int with_journal(struct guest *g, struct err *e)
{
	_cleanup_close_ int dir = open(g->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err undo = {0};
	int rc, rc2;

	if (dir < 0)
		return err_sys(e, "%s", g->dir);
	rc = journal_open(dir, "journal", &g->j, e);
	if (rc < 0)
		return rc;
	if (!g->undo)
		rc = live(g, e);
	rc2 = journal_undo(g->j, undo_one, NULL, &undo);
	journal_free(g->j);
	if (!rc && rc2 < 0)
		return err_set(e, undo.code, "%s", undo.text);
	return rc;
}

int main(int argc, char **argv)
{
	static struct guest g = {.queues = 1, .dir = ".", .model = "tc"};
	const struct opt table[] = {OPT_STR(0, "dir", &g.dir, "DIR", "where the journal is"),
				    OPT_STR(0, "model", &g.model, "MODEL", "as podvm.json says it (tc)"),
				    OPT_U64(0, "queues", &g.queues, "N", "pairs of queues (1)"),
				    OPT_FLAG(0, "undo", &g.undo, "only undo the journal"),
				    OPT_FLAG('h', "help", &g.help, "this text"), OPT_END};
	struct err e = {0};
	int first, rc = opt_parse(table, argc, argv, &first, &e);

	if (g.help) {
		puts("usage: native-guest [OPTION]... POD GUEST");
		opt_help(stdout, table);
		return 0;
	}
	if (!rc && argc - first != (g.undo ? 0 : 2))
		rc = err_set(&e, EINVAL, "POD and GUEST are needed");
	if (!rc && !g.undo) {
		g.pod = argv[first];
		g.guest = argv[first + 1];
	}
	if (!rc)
		rc = with_journal(&g, &e);
	if (rc < 0)
		fprintf(stderr, "native-guest: %s\n", e.text);
	return rc < 0;
}
