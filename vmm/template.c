// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A template is a machine that was saved when its guest was up and had done nothing for
 * anybody: a file that is its memory (vmm/gmem-file.c), and one with the state of its
 * processors and devices, which is read and written here. Machines of the same
 * configuration begin as copies of it.
 *
 * The state file is a head and two arrays of fixed size. It is for the monitor that has
 * written it, on the host that it was written on, until that is booted anew: versions and
 * sizes are checked, no older ones are understood. Who keeps templates makes sure of that
 * (the runtime); what comes from elsewhere cannot do more here than a guest can: processors are
 * KVM's to check, and devices take their state through the registers that a
 * guest writes (vmm/virtio/pci-state.c).
 *
 * Only the devices that every machine has are saved, and these without anything that is
 * somebody's: no connection, no memory given up or plugged, no further console port.
 *
 * What a copy must not have in common with others (randomness, clock, names) its guest
 * gets anew before it does anything: that is the supervisor's part.
 */
#include "vmm/template.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"

#define MAGIC 0x4c504d5456444f50ull	/* "PODVTMPL" */
#define VERSION 1u

/* What the file begins with; sizes tell a monitor that was built otherwise. */
struct head {
	uint64_t magic;
	uint32_t version;
	uint32_t head_bytes, vcpu_bytes, device_bytes;
	uint32_t n_vcpus, n_devices;
	uint64_t clock_ns;
	struct serial_state serial;
	uint8_t host_bridge[PCI_CONFIG_BYTES];
	struct vmm_config config;
};

static struct head head_of(const struct template *t)
{
	struct head h;

	memset(&h, 0, sizeof(h));
	h.magic = MAGIC;
	h.version = VERSION;
	h.head_bytes = sizeof(h);
	h.vcpu_bytes = sizeof(*t->vcpu);
	h.device_bytes = sizeof(*t->device);
	h.n_vcpus = t->n_vcpus;
	h.n_devices = t->n_devices;
	h.clock_ns = t->clock_ns;
	h.serial = t->serial;
	memcpy(h.host_bridge, t->host_bridge, sizeof(h.host_bridge));
	h.config = t->config;
	return h;
}

static int check_head(const struct head *h, int fd, struct err *e)
{
	struct template none = { 0 };
	const struct head want = head_of(&none);
	struct stat st;

	if (h->magic != want.magic || h->version != want.version ||
	    h->head_bytes != want.head_bytes || h->vcpu_bytes != want.vcpu_bytes ||
	    h->device_bytes != want.device_bytes)
		return err_set(e, EINVAL, "template: no state of this monitor: make it anew");
	if (!h->n_vcpus || h->n_vcpus > VMM_VCPUS_MAX || h->n_devices > TEMPLATE_DEVICES_MAX)
		return err_set(e, EINVAL, "template: %u vCPUs and %u devices", h->n_vcpus,
			       h->n_devices);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "template");
	if ((uint64_t)st.st_size != sizeof(*h) + (uint64_t)h->n_vcpus * h->vcpu_bytes +
				    (uint64_t)h->n_devices * h->device_bytes)
		return err_set(e, EINVAL, "template: a state file of %lld bytes is cut off, or has something behind it",
			       (long long)st.st_size);
	return 0;
}

/**
 * template_read() - read a state file
 * @fd:  at its beginning, borrowed
 * @ret: owned by the caller, template_done(), also after a failure
 *
 * Return: 0; -EINVAL for what is no such file; -EPIPE for one that is cut off; minus errno
 *
 * #syscalls start: read fstat
 */
int template_read(int fd, struct template *ret, struct err *e)
{
	struct head h;
	int rc;

	memset(ret, 0, sizeof(*ret));
	if ((rc = read_full(fd, &h, sizeof(h), e)) < 0)
		return err_wrap(e, "template");
	if ((rc = check_head(&h, fd, e)) < 0)
		return rc;
	ret->config = h.config;
	ret->clock_ns = h.clock_ns;
	ret->serial = h.serial;
	memcpy(ret->host_bridge, h.host_bridge, sizeof(ret->host_bridge));
	ret->vcpu = mem_new_n(struct kvm_vcpu_state, h.n_vcpus);
	ret->device = mem_new_n(struct vpci_state, h.n_devices + 1);
	if (!ret->vcpu || !ret->device)
		return err_set(e, ENOMEM, "out of memory");
	ret->n_vcpus = h.n_vcpus;
	ret->n_devices = h.n_devices;
	if ((rc = read_full(fd, ret->vcpu, h.n_vcpus * sizeof(*ret->vcpu), e)) < 0 ||
	    (rc = read_full(fd, ret->device, h.n_devices * sizeof(*ret->device), e)) < 0)
		return err_wrap(e, "template");
	return 0;
}

/**
 * template_write() - write a state file
 * @fd: at its beginning, borrowed
 *
 * Return: 0 or minus errno
 *
 * #syscalls write
 */
int template_write(int fd, const struct template *t, struct err *e)
{
	struct head h = head_of(t);
	int rc;

	if ((rc = write_full(fd, &h, sizeof(h), e)) < 0 ||
	    (rc = write_full(fd, t->vcpu, t->n_vcpus * sizeof(*t->vcpu), e)) < 0 ||
	    (rc = write_full(fd, t->device, t->n_devices * sizeof(*t->device), e)) < 0)
		return err_wrap(e, "template");
	return 0;
}

/**
 * template_done() - free what a template has; a zeroed or done one is fine
 */
void template_done(struct template *t)
{
	free(t->vcpu);
	free(t->device);
	memset(t, 0, sizeof(*t));
}

static int save_cpus(struct machine *m, struct template *t, struct err *e)
{
	uint32_t i;
	int rc;

	t->vcpu = mem_new_n(struct kvm_vcpu_state, m->cpus.n);
	if (!t->vcpu)
		return err_set(e, ENOMEM, "out of memory");
	rc = kvm_clock_save(&m->kvm, &t->clock_ns, e);
	for (i = 0; !rc && i < m->cpus.n; i++) {
		struct kvm_vcpu_state *s = &t->vcpu[t->n_vcpus];

		s->id = m->cpus.v[i].id;
		rc = kvm_vcpu_save(&m->kvm, m->cpus.v[i].fd, s, e);
		if (s->mp.mp_state != KVM_MP_STATE_UNINITIALIZED)
			t->n_vcpus++;
		else
			memset(s, 0, sizeof(*s));
	}
	return rc;
}

/* What is somebody's, and hence in no template. Before anything is read: it asks for statistics. */
static int check_unused(struct machine *m, struct err *e)
{
	struct vmm_memory memory = { 0 };
	const struct vpci *v;

	for (v = m->devices; v; v = v->next)
		if (v->name[0])
			return err_set(e, EBUSY, "%s %s is plugged: a template has no disks, shares and network interfaces",
				       v->dev->ops->name, v->name);
	if (vsock_in_use(m->vsock))
		return err_set(e, EBUSY, "the guest has a connection: a template has none");
	/* A copy that gives a page back finds what the template had, not what it was promised. */
	if (m->balloon->s.acked & 1ull << VIRTIO_BALLOON_F_PAGE_POISON)
		return err_set(e, EBUSY, "the guest relies on what its free pages hold: leave init_on_free and page_poison out of its command line");
	machine_memory_state(m, &memory);
	if (memory.balloon_bytes || memory.balloon_actual || memory.plugged || memory.requested)
		return err_set(e, EBUSY, "the guest has given up or plugged memory: a template has all of its RAM and no more");
	return 0;
}

static int save_devices(struct machine *m, struct template *t, struct err *e)
{
	struct vpci *v;
	uint32_t n = 0;
	int rc = 0;

	for (v = m->devices; v; v = v->next)
		n++;
	if (n > TEMPLATE_DEVICES_MAX)
		return err_set(e, EBUSY, "%u devices: a template has %d at most", n,
			       TEMPLATE_DEVICES_MAX);
	t->device = mem_new_n(struct vpci_state, n + 1);
	if (!t->device)
		return err_set(e, ENOMEM, "out of memory");
	t->n_devices = n;
	/* The list has the newest first. */
	for (v = m->devices; v && !rc; v = v->next)
		rc = vpci_save(v, &t->device[--n], e);
	return rc;
}

/**
 * template_save() - the state of a machine that is paused
 * @ret: owned by the caller, template_done(), also after a failure; without the configuration
 *
 * Return: 0; -EBUSY naming what a template cannot have; minus errno
 * Context: I/O thread
 */
int template_save(struct machine *m, struct template *ret, struct err *e)
{
	int rc;

	memset(ret, 0, sizeof(*ret));
	ret->config = m->config;
	ret->serial = m->bus.serial.s;
	memcpy(ret->host_bridge, m->bus.pci.host.config, sizeof(ret->host_bridge));
	if ((rc = check_unused(m, e)) < 0 || (rc = save_devices(m, ret, e)) < 0)
		return rc;
	return save_cpus(m, ret, e);
}

/**
 * template_load_cpus() - put clock and processors into a template's state
 * @m: its RAM is a copy of the template's
 *
 * Return: 0; -EINVAL for a template of another configuration; minus errno
 * Context: I/O thread, the only thread so far
 */
int template_load_cpus(struct machine *m, const struct template *t, struct err *e)
{
	uint32_t i;
	int rc = 0;

	if (memcmp(&m->config, &t->config, sizeof(t->config)))
		return err_set(e, EINVAL, "template: of another configuration: make one of this");
	for (i = 0; !rc && i < m->cpus.n; i++)
		rc = kvm_vcpu_set_tsc(m->cpus.v[i].fd, !i, kvm_vcpu_tsc(&t->vcpu[0]), e);
	for (i = 0; !rc && i < t->n_vcpus; i++) {
		if (t->vcpu[i].id >= m->cpus.n || (i && t->vcpu[i].id <= t->vcpu[i - 1].id))
			return err_set(e, EINVAL, "template: vCPU %u of %u", t->vcpu[i].id, m->cpus.n);
		rc = kvm_vcpu_load(m->cpus.v[t->vcpu[i].id].fd, &t->vcpu[i], e);
	}
	if (!rc)
		rc = kvm_clock_load(&m->kvm, t->clock_ns, e);
	return rc < 0 ? err_wrap(e, "template") : 0;
}

/**
 * template_load_devices() - put devices into a template's state
 * @m: has the devices that every machine has, and its processors' state
 *
 * Return: 0; -EINVAL for a state that a device does not take
 * Context: I/O thread, the only thread so far
 */
int template_load_devices(struct machine *m, const struct template *t, struct err *e)
{
	uint32_t n = t->n_devices;
	struct vpci *v;
	int rc = 0;

	m->bus.serial.s = t->serial;
	pci_load(&m->bus.pci, &m->bus.pci.host, t->host_bridge);
	for (v = m->devices; v && n && !rc; v = v->next)
		rc = vpci_load(v, &m->bus.pci, &t->device[--n], e);
	if (!rc && (v || n))
		rc = err_set(e, EINVAL, "%u devices, not as many as this machine has", t->n_devices);
	return rc < 0 ? err_wrap(e, "template") : 0;
}
