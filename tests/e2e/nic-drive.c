// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Network interfaces that come and go while the guest runs, and macvtap as a back
 * end: the supervisor's own functions (runtime/supervisor) around a real machine,
 * without a container engine and without a pod's network. The caller has made
 * the network; a command of his tells whether the guest can be reached.
 *
 *   nic-drive [OPTION]... COMMAND...
 *
 * Each round: plug, set up, reachable; link down, not reachable; link up,
 * reachable; removed, and the monitor knows it no more. Prints what the monitor
 * says of the interface. Exit status 0, or 1 with one line on standard error.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/opt.h"
#include "lib/proc.h"
#include "runtime/supervisor/supervisor.h"

#define ANSWER_MS 10000

struct options {
	const char *tap, *macvtap, *mac, *address;
	uint64_t queues, rounds;
	bool help;
};

/* An end of the tap or macvtap; its interface exists already. */
static int open_end(const struct options *o, struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	_cleanup_close_ int fd = open(o->macvtap ? o->macvtap : "/dev/net/tun",
				      O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, "%s", o->macvtap ? o->macvtap : "/dev/net/tun");
	if (o->queues > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	if (o->tap)
		strncpy(ifr.ifr_name, o->tap, IFNAMSIZ - 1);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return err_sys(e, "TUNSETIFF");
	return fd_steal(&fd);
}

static int open_port(const struct options *o, struct netplug_port *p, struct err *e)
{
	unsigned int b[6];
	size_t i;
	int rc = 0;

	*p = (struct netplug_port){ .name = "eth7", .mtu = 1500 };
	if (sscanf(o->mac, "%x:%x:%x:%x:%x:%x", b, b + 1, b + 2, b + 3, b + 4, b + 5) != 6)
		return err_set(e, EINVAL, "--mac %s", o->mac);
	for (i = 0; i < 6; i++)
		p->mac[i] = (uint8_t)b[i];
	for (i = 0; i < o->queues && rc >= 0; i++) {
		rc = p->tap_fd[i] = open_end(o, e);
		p->n_taps += rc >= 0;
	}
	return rc < 0 ? rc : 0;
}

static int run(char **argv, bool want, struct err *e)
{
	struct proc_fd map[] = { { 2, 1 }, { 2, 2 } };
	struct proc_spec s = { .path = argv[0], .argv = argv, .envp = environ, .fds = map,
			       .n_fds = 2 };
	_cleanup_close_ int pidfd = -1;
	int status = 0, rc = proc_spawn(&s, NULL, &pidfd, e);

	if (!rc)
		rc = proc_wait(pidfd, -1, &status, e);
	if (rc < 0)
		return rc;
	if (!status == want)
		return 0;
	return err_set(e, EIO, "the guest is %sreachable", want ? "not " : "");
}

/* Finds the interface among the monitor's devices. */
static int find(struct pod *p, const char *name, struct vmm_device *ret, struct err *e)
{
	struct vmm_request rq = { .type = VMM_DEVICE };
	struct vmm_reply rp;
	int rc;

	for (;; rq.port++) {
		rc = vmm_call(&p->vmm, &rq, NULL, 0, ANSWER_MS, &rp, e);
		if (rc < 0)
			return rc;
		if (!strncmp(rp.device.name, name, sizeof(rp.device.name))) {
			*ret = rp.device;
			return 0;
		}
	}
}

static int check_device(struct pod *p, const struct options *o, bool vhost, struct err *e)
{
	struct vmm_device d;
	uint32_t want = vhost ? (uint32_t)o->queues * 2 : 0;
	int rc = find(p, o->mac, &d, e);

	if (rc < 0)
		return rc;
	printf("%s: %u queues, %u of them the kernel's, %llu kicks, %llu requests\n", d.name,
	       d.queues, d.kernel_queues, (unsigned long long)d.kicks,
	       (unsigned long long)d.requests);
	if (d.kernel_queues != want)
		return err_set(e, EIO, "%u queues are the kernel's, not %u", d.kernel_queues, want);
	return 0;
}

static int one_round(struct pod *p, const struct options *o, char **argv, struct err *e)
{
	Podvm__Network net = PODVM__NETWORK__INIT;
	Podvm__Address address = PODVM__ADDRESS__INIT, *addresses = &address;
	Podvm__Link link = PODVM__LINK__INIT, *links = &link;
	struct netplug_port port;
	struct vmm_device d;
	uint8_t ip[4];
	int rc = open_port(o, &port, e);

	if (rc >= 0 && inet_pton(AF_INET, o->address, ip) != 1)
		rc = err_set(e, EINVAL, "--address %s", o->address);
	link.name = port.name;
	link.mac = (ProtobufCBinaryData){ .data = port.mac, .len = 6 };
	link.mtu = port.mtu;
	address.ip = (ProtobufCBinaryData){ .data = ip, .len = 4 };
	address.prefix_len = 24;
	link.addresses = &addresses;
	link.n_addresses = 1;
	net.links = &links;
	net.n_links = 1;
	if (rc >= 0)
		rc = nic_add(p, &port, &net, e);
	netplug_port_close(&port);
	if (rc < 0 || (rc = run(argv, true, e)) < 0 ||
	    (rc = check_device(p, o, p->config.vhost_net, e)) < 0 ||
	    (rc = nic_link(p, port.mac, false, e)) < 0 || (rc = run(argv, false, e)) < 0 ||
	    (rc = nic_link(p, port.mac, true, e)) < 0 || (rc = run(argv, true, e)) < 0 ||
	    (rc = nic_remove(p, port.mac, e)) < 0)
		return rc;
	if (nic_remove(p, port.mac, e) != -ENOENT || find(p, o->mac, &d, e) != -ENOENT)
		return err_set(e, EIO, "the interface is still there");
	return 0;
}

static int drive(struct pod *p, const struct options *o, char **argv, struct err *e)
{
	Podvm__ContainerCreate create = PODVM__CONTAINER_CREATE__INIT;
	struct spec spec = { .create = &create, .vcpus = (uint32_t)o->queues };
	uint64_t i;
	int rc;

	if ((rc = config_load(&p->config, e)) < 0 ||
	    (rc = journal_open(p->dirfd, "journal", &p->journal, e)) < 0 ||
	    (rc = machine_start(p, &spec, e)) < 0)
		return rc;
	for (i = 0; i < o->rounds && rc >= 0; i++) {
		rc = one_round(p, o, argv, e);
		if (rc < 0)
			err_wrap(e, "round %llu", (unsigned long long)i + 1);
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct options o = { .mac = "02:00:00:00:07:07", .queues = 1, .rounds = 1 };
	const struct opt table[] = {
		OPT_STR(0, "tap", &o.tap, "NAME", "a tap that exists"),
		OPT_STR(0, "macvtap", &o.macvtap, "FILE", "of a macvtap: /dev/tapN"),
		OPT_STR(0, "mac", &o.mac, "MAC", "of the guest's interface"),
		OPT_STR(0, "address", &o.address, "IP", "IPv4 address of the guest, of 24 bits"),
		OPT_U64(0, "queues", &o.queues, "N", "pairs of queues, and vCPUs (1)"),
		OPT_U64(0, "rounds", &o.rounds, "N", "how often it comes and goes (1)"),
		OPT_FLAG('h', "help", &o.help, "show this text"),
		OPT_END
	};
	static struct pod p;
	char dir[] = "/tmp/nic-drive.XXXXXX";
	int first, rc;
	struct err e = { 0 };

	log_open(2, LOG_LEVEL_INFO, false);
	rc = opt_parse(table, argc, argv, &first, &e);
	if (!rc && (o.help || !o.address || !o.tap == !o.macvtap || first == argc ||
		    !o.queues || o.queues > NETPLUG_TAPS_MAX))
		rc = err_set(&e, EINVAL, "usage: nic-drive OPTION... COMMAND...");
	if (rc < 0) {
		fprintf(stderr, "nic-drive: %s\n", e.text);
		opt_help(stderr, table);
		return 1;
	}
	snprintf(p.id, sizeof(p.id), "nic-drive");
	p.rootfd = p.podsfd = p.netns_fd = p.listen_fd = p.signal_fd = -1;
	p.vmm.sock = p.vmm.pidfd = p.agent.fd = p.broker.sock = -1;
	p.dirfd = mkdtemp(dir) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	rc = p.dirfd < 0 ? err_sys(&e, "%s", dir) : drive(&p, &o, argv + first, &e);
	if (rc < 0)
		fprintf(stderr, "nic-drive: %s\n", e.text);
	machine_stop(&p, rc >= 0);
	journal_free(p.journal);
	dir_remove(AT_FDCWD, dir, NULL);
	return rc < 0;
}
