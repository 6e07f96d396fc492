// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Network interfaces of the pod's machine: before the guest runs, and while it does.
 * A port's taps go to the monitor, and with them a /dev/vhost-net for each where
 * the configuration allows that and all of them can be opened; else the monitor
 * moves the packets. Both sides know an interface by its MAC address.
 *
 * A later one is plugged, then set up by the agent; it leaves in reverse. What
 * fails in between is taken back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "runtime/supervisor/supervisor.h"

#define AGENT_LINK_MS 20000

static void mac_name(const uint8_t mac[6], char name[VMM_NAME_BYTES])
{
	snprintf(name, VMM_NAME_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
}

/**
 * nic_taps() - how many ends a tap shall have
 * @vcpus: of the machine: each has queues of its own, as far as there are
 */
size_t nic_taps(uint64_t vcpus)
{
	size_t max = NETPLUG_TAPS_MAX < VMM_NET_PAIRS_MAX ? NETPLUG_TAPS_MAX : VMM_NET_PAIRS_MAX;

	return vcpus < 1 ? 1 : vcpus < max ? (size_t)vcpus : max;
}

/* All or none. Return: true with @fds */
static bool open_vhosts(const struct pod *p, int *fds, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		fds[i] = p->config.vhost_net ? open("/dev/vhost-net", O_RDWR | O_CLOEXEC) : -1;
		if (fds[i] >= 0)
			continue;
		/* That there is none is nothing to speak of. */
		if (p->config.vhost_net && errno != ENOENT && errno != ENODEV)
			log_info("pod %s: /dev/vhost-net: %m", p->id);
		while (i)
			fd_close(&fds[--i]);
		return false;
	}
	return true;
}

/**
 * nic_plug() - give the machine an interface
 * @port: borrowed; the monitor gets copies of its taps
 *
 * Return: 0; -EEXIST if it has one with that address; minus errno
 */
int nic_plug(struct pod *p, const struct netplug_port *port, struct err *e)
{
	struct vmm_request rq = { .type = VMM_NET };
	int fds[2 * NETPLUG_TAPS_MAX];
	size_t n = port->n_taps, i;
	struct vmm_reply rp;
	int rc;

	memcpy(rq.net.mac, port->mac, 6);
	rq.net.mtu = (uint16_t)(port->mtu > 65535 ? 65535 : port->mtu);
	rq.net.pairs = (uint16_t)n;
	memcpy(fds, port->tap_fd, n * sizeof(fds[0]));
	rq.net.vhost = open_vhosts(p, fds + n, n);
	rc = vmm_call(&p->vmm, &rq, fds, rq.net.vhost ? 2 * n : n, VMM_ANSWER_MS, &rp, e);
	for (i = 0; rq.net.vhost && i < n; i++)
		fd_close(&fds[n + i]);
	if (rc >= 0 && rq.net.vhost)
		vmm_batch_vhosts(p->cgroup_fd);
	return rc < 0 ? err_wrap(e, "interface %s", port->name) : 0;
}

static int agent_remove(struct pod *p, const uint8_t mac[6], struct err *e)
{
	Podvm__LinkRemove m = PODVM__LINK_REMOVE__INIT;
	Podvm__Request rq = AGENT_REQUEST(link_remove = &m, LINK_REMOVE);
	uint8_t copy[6];

	memcpy(copy, mac, 6);
	m.mac.data = copy;
	m.mac.len = 6;
	return agent_call(&p->agent, &rq, AGENT_LINK_MS, NULL, e);
}

/**
 * nic_add() - give a running guest an interface
 * @port: borrowed
 * @net:  of this link alone, borrowed
 *
 * Return: 0; minus errno, then the interface has been taken back
 */
int nic_add(struct pod *p, const struct netplug_port *port, const Podvm__Network *net,
	    struct err *e)
{
	Podvm__LinksAdd m = PODVM__LINKS_ADD__INIT;
	Podvm__Request rq = AGENT_REQUEST(links_add = &m, LINKS_ADD);
	struct err undo;
	int rc = nic_plug(p, port, e);

	if (rc < 0)
		return rc;
	m.network = (Podvm__Network *)(uintptr_t)net;
	rc = agent_call(&p->agent, &rq, AGENT_LINK_MS, NULL, e);
	if (rc < 0 && nic_remove(p, port->mac, &undo) < 0)
		log_warn("pod %s: interface %s stays: %s", p->id, port->name, undo.text);
	return rc < 0 ? err_wrap(e, "interface %s", port->name) : 0;
}

/**
 * nic_remove() - take an interface away from guest and machine
 *
 * Return: 0; -ENOENT; -EBUSY while the guest holds on to it; minus errno
 */
int nic_remove(struct pod *p, const uint8_t mac[6], struct err *e)
{
	char name[VMM_NAME_BYTES];
	int rc = agent_remove(p, mac, e);

	mac_name(mac, name);
	if (!rc)
		rc = machine_unplug(p, name, e);
	return rc < 0 ? err_wrap(e, "interface %s", name) : 0;
}

/**
 * nic_link() - set the link of an interface up or down
 *
 * Return: 0; -ENOENT; minus errno
 */
int nic_link(struct pod *p, const uint8_t mac[6], bool up, struct err *e)
{
	struct vmm_request rq = { .type = VMM_LINK, .port = up };
	struct vmm_reply rp;

	mac_name(mac, rq.name);
	return vmm_call(&p->vmm, &rq, NULL, 0, VMM_ANSWER_MS, &rp, e);
}
