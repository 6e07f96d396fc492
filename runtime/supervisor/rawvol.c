// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Raw block volumes: block devices of the host among a container's devices. Each is
 * claimed (storage/rawvol.c) and plugged once per pod, and is a disk like any other;
 * containers of the pod that ask for the same device share it. The agent makes the
 * nodes, with the numbers that the disk has there. A container that may not write
 * gets a read-only disk; so one cannot be shared with a container that may.
 *
 * A device that grows (the kernel says so by an event to whoever listens) is made
 * known to the monitor, which looks at its size, and so to the guest.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/supervisor/supervisor.h"

/* The kernel's messages are shorter (UEVENT_BUFFER_SIZE, linux/kobject.h). */
#define UEVENT_BYTES 4096
#define UEVENT_GROUP 1

/* Messages that are taken before others get their turn. */
#define UEVENT_ROUND 64

/* Access bits of a device rule. */
#define ACCESS_WRITE 4u

/**
 * struct rawvol - a device of the host that is plugged; in the list of struct pod
 * @major, @minor: on the host
 * @number: of the disk
 * @devfn:  where it is on the guest's PCI bus
 * @refs:   containers that have it
 */
struct rawvol {
	struct rawvol *next;
	uint32_t major, minor;
	char serial[STORAGE_SERIAL_BYTES];
	uint32_t number, devfn;
	bool readonly;
	unsigned int refs;
	int fd;		/* owned; carries the claim */
};

/* ---- a device that grows ---------------------------------------------------- */

static void resize(struct pod *p, uint32_t major, uint32_t minor)
{
	struct vmm_request rq = { .type = VMM_RESIZE };
	struct vmm_reply rp;
	struct rawvol *v;
	struct err e;

	for (v = p->rawvols; v; v = v->next) {
		if (v->major != major || v->minor != minor || p->dead)
			continue;
		str_copy(rq.name, sizeof(rq.name), v->serial);
		if (vmm_call(&p->vmm, &rq, NULL, 0, VMM_ANSWER_MS, &rp, &e) < 0)
			log_warn("volume %u:%u: %s", major, minor, e.text);
	}
}

static void on_uevent(void *arg, uint32_t events)
{
	struct pod *p = arg;
	char msg[UEVENT_BYTES];
	struct sockaddr_nl from;
	uint32_t major, minor;
	int left = UEVENT_ROUND;

	(void)events;
	while (left--) {
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(p->uevent_fd, msg, sizeof(msg), 0,
				     (struct sockaddr *)&from, &size);

		if (n < 0 && errno == ENOBUFS)
			continue; /* some were lost: a later one tells the size, too */
		if (n <= 0)
			return;
		/* Processes may send to the group as well. */
		if (!from.nl_pid && uevent_block_change(msg, (size_t)n, &major, &minor))
			resize(p, major, minor);
	}
}

/* Listens from the first volume on. */
static int watch(struct pod *p, struct err *e)
{
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK, .nl_groups = UEVENT_GROUP };
	_cleanup_close_ int fd = -1;
	struct loop_src *src;
	int rc;

	if (p->uevent_fd >= 0)
		return 0;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, "events of the kernel");
	rc = loop_add(p->loop, fd, EPOLLIN, on_uevent, p, &src, e);
	if (rc < 0)
		return rc;
	p->uevent_fd = fd_steal(&fd);
	return 0;
}

/* ---- plugging ------------------------------------------------------------------ */

static struct rawvol *find(struct pod *p, const Podvm__Device *d)
{
	struct rawvol *v;

	for (v = p->rawvols; v && (v->major != d->major || v->minor != d->minor); v = v->next)
		;
	return v;
}

static int plug(struct pod *p, struct rawvol *v, struct err *e)
{
	struct storage_disk disk = { .kind = STORAGE_DISK_RAW, .readonly = v->readonly };
	int rc = container_take_number(p, &v->number, e);

	if (rc < 0)
		return rc;
	snprintf(v->serial, sizeof(v->serial), "v%u", p->n_disks++);
	strcpy(disk.serial, v->serial); /* same size */
	disk.fd = v->fd;
	rc = machine_plug(p, &disk, v->number, &v->devfn, e);
	if (rc < 0)
		p->disk_used[v->number] = false;
	return rc;
}

static int rawvol_new(struct pod *p, const Podvm__Device *d, bool readonly,
		      struct rawvol **ret, struct err *e)
{
	struct rawvol *v = mem_new(struct rawvol);
	int rc;

	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	v->major = d->major;
	v->minor = d->minor;
	v->readonly = readonly;
	v->fd = -1;
	rc = storage_rawvol_open(d->major, d->minor, readonly, &v->fd, e);
	if (!rc)
		rc = watch(p, e);
	if (!rc)
		rc = plug(p, v, e);
	if (rc < 0) {
		fd_close(&v->fd);
		free(v);
		return rc;
	}
	v->next = p->rawvols;
	p->rawvols = v;
	*ret = v;
	return 0;
}

/* The container's own list, in which each volume counts once. */
static int hold(struct container *c, struct rawvol *v, struct err *e)
{
	struct rawvol **more;
	size_t i;

	for (i = 0; i < c->n_rawvols; i++)
		if (c->rawvols[i] == v)
			return 0;
	more = realloc(c->rawvols, (c->n_rawvols + 1) * sizeof(struct rawvol *));
	if (!more)
		return err_set(e, ENOMEM, "out of memory");
	c->rawvols = more;
	c->rawvols[c->n_rawvols++] = v;
	c->lent = true;
	v->refs++;
	return 0;
}

static int set_serial(char **field, const struct rawvol *v, struct err *e)
{
	char *copy = strdup(v->serial);

	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	if (*field != protobuf_c_empty_string)
		free(*field);
	*field = copy;
	return 0;
}

/* Rules are told by the host's numbers: those of the device get its serial. */
static int name_rules(Podvm__ContainerCreate *m, const Podvm__Device *d,
		      const struct rawvol *v, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < m->n_device_rules; i++) {
		Podvm__DeviceRule *r = m->device_rules[i];

		if (r->type == 'b' && r->major == d->major && r->minor == d->minor)
			rc = set_serial(&r->serial, v, e);
	}
	return rc;
}

/* Without an owner it goes at once. */
static void drop(struct pod *p, struct rawvol *v)
{
	struct rawvol **at;
	struct err e;

	if (v->refs)
		return;
	if (!p->dead && p->vmm.sock >= 0 && machine_unplug(p, v->serial, &e) < 0)
		log_warn("volume %u:%u: stays until the pod ends: %s", v->major, v->minor, e.text);
	else
		p->disk_used[v->number] = false;
	for (at = &p->rawvols; *at != v; at = &(*at)->next)
		;
	*at = v->next;
	fd_close(&v->fd);
	free(v);
}

static int add(struct pod *p, struct container *c, struct spec *spec, Podvm__Device *d,
	       struct err *e)
{
	Podvm__ContainerCreate *m = spec->create;
	bool readonly = !(spec_block_access(m, d) & ACCESS_WRITE);
	struct rawvol *v = find(p, d);
	int rc = 0;

	if (v && v->readonly && !readonly)
		return err_set(e, EBUSY, "another container of the pod has the device read-only: give both the same access");
	if (!v)
		rc = rawvol_new(p, d, readonly, &v, e);
	if (rc < 0)
		return rc;
	rc = hold(c, v, e);
	if (!rc)
		rc = set_serial(&d->serial, v, e);
	if (!rc)
		rc = name_rules(m, d, v, e);
	if (!rc)
		rc = spec_disk_place(spec, v->serial, v->devfn, e);
	drop(p, v); /* no-op once it is held */
	return rc;
}

/**
 * rawvols_plug() - give the machine the block devices that a container asks for
 * @spec: devices and rules of its message that are about them get serials
 *
 * Return: 0; minus errno, naming the device; rawvols_unplug() takes back what was done
 */
int rawvols_plug(struct pod *p, struct container *c, struct spec *spec, struct err *e)
{
	size_t i;

	for (i = 0; i < spec->create->n_devices; i++) {
		Podvm__Device *d = spec->create->devices[i];

		if (d->type == S_IFBLK && add(p, c, spec, d, e) < 0)
			return err_wrap(e, "/linux/devices/%zu: block device %u:%u", i, d->major,
					d->minor);
	}
	return 0;
}

/**
 * rawvols_serials() - disks that no other container of the pod has
 * @ret:  gets at most @room of them, borrowed
 *
 * Return: how many
 */
size_t rawvols_serials(const struct container *c, char **ret, size_t room)
{
	size_t i, n = 0;

	for (i = 0; i < c->n_rawvols && n < room; i++)
		if (c->rawvols[i]->refs == 1)
			ret[n++] = c->rawvols[i]->serial;
	return n;
}

/**
 * rawvols_unplug() - a container has its volumes no more
 *
 * The agent has taken those that nobody else has off the guest's bus.
 */
void rawvols_unplug(struct pod *p, struct container *c)
{
	while (c->n_rawvols) {
		struct rawvol *v = c->rawvols[--c->n_rawvols];

		v->refs--;
		drop(p, v);
	}
	free(c->rawvols);
	c->rawvols = NULL;
}
