// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Puts the machine together, in the order that KVM likes (vmm/kvm.c):
 *
 *   memory -> KVM -> vCPUs -> kernel, ACPI, boot information -> devices ->
 *   threads -> filter
 *
 * or, from a template (vmm/template.c),
 *
 *   memory -> KVM -> vCPUs -> their state -> devices -> their state -> threads -> filter
 *
 * With the last step, at the end of CONFIG, the process is confined
 * (vmm/sandbox.c stage 2); the guest enters at START. Devices that come later are
 * made under the filter.
 *
 * Threads: one per vCPU, the workers of shares (virtio/fs-pool.c), and the I/O thread,
 * which is main()'s and runs the loop.
 * Locks, outermost first: PCI, device, MSI-X. The event lock is innermost too.
 * The end comes in this order: vCPU threads are joined, devices stop and close
 * what they have, then the loop, the virtual machine and its memory go.
 */
#include "vmm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "vmm/acpi.h"
#include "vmm/batch.h"
#include "vmm/boot.h"
#include "vmm/metrics.h"
#include "vmm/sandbox.h"
#include "vmm/template.h"
#include "vmm/virtio/fs.h"

/* How long the end of a guest waits for its disks. */
#define SETTLE_MS 5000

/* struct bus's event: any vCPU thread. */
static void on_event(void *arg, enum vmm_event what, const char *text)
{
	struct machine *m = arg;

	pthread_mutex_lock(&m->lock);
	if (m->event == VMM_EVENT_NONE) {
		m->event = what;
		snprintf(m->text, sizeof(m->text), "%s", text);
		eventfd_write(m->event_fd, 1);
	}
	pthread_mutex_unlock(&m->lock);
}

/**
 * machine_init() - before CONFIG
 *
 * Return: 0 or minus errno; machine_done() is fine in both cases
 */
int machine_init(struct machine *m, struct err *e)
{
	memset(m, 0, sizeof(*m));
	m->broker = m->template = -1;
	m->kvm.sys = m->kvm.vm = -1;
	pthread_mutex_init(&m->lock, NULL);
	m->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->event_fd < 0)
		return err_sys(e, "eventfd");
	return loop_new(&m->loop, e);
}

static int load_kernel(struct machine *m, const int *fds, struct err *e)
{
	struct boot b;
	uint64_t rsdp;
	int rc;

	if ((rc = boot_load_kernel(&m->mem, fds[MACHINE_KERNEL], &b, e)) < 0 ||
	    (rc = boot_load_initramfs(&m->mem, fds[MACHINE_INITRAMFS], &b, e)) < 0 ||
	    (rc = acpi_write(&m->mem, BOOT_ACPI_GPA, BOOT_ACPI_END - BOOT_ACPI_GPA,
			     m->config.vcpus, &rsdp, e)) < 0 ||
	    (rc = boot_write_info(&m->mem, &b, m->config.cmdline, rsdp, e)) < 0)
		return rc;
	if (b.how == BOOT_LINUX)
		return kvm_vcpu_boot64(m->cpus.v[0].fd, b.entry, BOOT_INFO_GPA, BOOT_PAGES_GPA,
				       BOOT_GDT_GPA, BOOT_GDT_BYTES, e);
	return kvm_vcpu_boot(m->cpus.v[0].fd, (uint32_t)b.entry, BOOT_INFO_GPA, e);
}

static struct vpci **find(struct machine *m, const char *name)
{
	struct vpci **at = &m->devices;

	while (*at && strcmp((*at)->name, name))
		at = &(*at)->next;
	return at;
}

/* What a request names. Return: 0; -ENOENT */
static int find_named(struct machine *m, const char *name, struct vpci ***ret, struct err *e)
{
	struct vpci **at = find(m, name);

	if (!*name || !*at)
		return err_set(e, ENOENT, "no device is called %s", name);
	*ret = at;
	return 0;
}

/*
 * Puts a device on the bus under a name, or under none (""). It is ours in any
 * case: after a failure it has been freed.
 */
static int plug(struct machine *m, struct virtio_dev *d, const char *name, struct err *e)
{
	struct vpci *v;
	int rc;

	if (*name && *find(m, name))
		rc = err_set(e, EEXIST, "%s: a device of that name is plugged already", name);
	else
		rc = vpci_new(d, &m->host, &v, e);
	if (rc < 0) {
		d->ops->free(d);
		return rc;
	}
	snprintf(v->name, sizeof(v->name), "%s", name);
	rc = pci_add(&m->bus.pci, &v->fn, e);
	if (rc < 0) {
		vpci_free(v);
		return rc;
	}
	v->next = m->devices;
	m->devices = v;
	return 0;
}

/* Free pages go back to the host, unless it gave them for good (vmm/gmem.c). */
static int plug_memory(struct machine *m, struct err *e)
{
	struct virtio_dev *d;
	int rc = balloon_new(!m->mem.reserved && !m->config.prefault, &m->mem, m->loop, &d, e);

	if (rc < 0 || (rc = plug(m, d, "", e)) < 0)
		return rc;
	m->balloon = d;
	if (!m->mem.hot.n)
		return 0;
	rc = vmem_new(&m->mem, kvm_add_memory, &m->kvm, m->loop, &d, e);
	if (rc < 0 || (rc = plug(m, d, "", e)) < 0)
		return rc;
	m->memory = d;
	return 0;
}

static int plug_basics(struct machine *m, int *console, struct err *e)
{
	struct virtio_dev *d;
	int rc;

	rc = console_new(*console, &m->mem, m->loop, &m->console, e);
	if (rc < 0)
		return rc;
	*console = -1;
	if ((rc = rng_new(&m->mem, m->loop, &d, e)) < 0 ||
	    (rc = plug(m, d, "", e)) < 0 ||
	    (rc = vsock_new(m->config.guest_cid, &m->mem, m->loop, &d, e)) < 0 ||
	    (rc = plug(m, d, "", e)) < 0)
		return rc;
	m->vsock = d;
	return plug_memory(m, e);
}

/* Before it is on the bus, it can still get ports. */
static int plug_console(struct machine *m, struct err *e)
{
	struct virtio_dev *console = m->console;

	m->console = NULL;
	return plug(m, console, "", e);
}

static int confine(struct machine *m, struct err *e)
{
	enum sandbox_kind kind = m->template < 0 ? SANDBOX_IO : SANDBOX_IO_SAVE;
	struct sandbox_filter vcpu = { 0 }, io = { 0 }, fs = { 0 };
	struct err late;
	int rc;

	if ((rc = sandbox_compile(SANDBOX_VCPU, &vcpu, e)) >= 0 &&
	    (rc = sandbox_compile(kind, &io, e)) >= 0 &&
	    (rc = sandbox_compile(SANDBOX_FS, &fs, e)) >= 0 &&
	    (rc = fs_pool_new(&m->shares, e)) >= 0 &&
	    (rc = fs_pool_start(m->shares, &fs, e)) >= 0 &&
	    (rc = vcpus_start(&m->cpus, &vcpu, e)) >= 0 &&
	    (rc = fs_pool_wait(m->shares, e)) >= 0) {
		batch_begin();
		rc = sandbox_enter(&io, e);
	}
	/* Whatever failed, no worker may need its filter any more. */
	if (rc < 0 && m->shares)
		fs_pool_wait(m->shares, &late);
	sandbox_done(&vcpu);
	sandbox_done(&io);
	sandbox_done(&fs);
	return rc;
}

static int check_config(const struct vmm_config *cfg, struct err *e)
{
	if (!cfg->vcpus || cfg->vcpus > VMM_VCPUS_MAX)
		return err_set(e, EINVAL, "%u vCPUs: give 1 to %d", cfg->vcpus, VMM_VCPUS_MAX);
	if (cfg->guest_cid < 3 || cfg->guest_cid == UINT32_MAX)
		return err_set(e, EINVAL, "guest_cid %u: give 3 or above", cfg->guest_cid);
	if (!memchr(cfg->cmdline, 0, sizeof(cfg->cmdline)))
		return err_set(e, EINVAL, "kernel command line does not end");
	return 0;
}

/* Memory, KVM, processors. @clone: as of machine_make_memory() */
static int make(struct machine *m, const struct vmm_config *cfg, int fds[MACHINE_FDS],
		int clone, struct err *e)
{
	int rc, serial;

	m->stage = MACHINE_ENDED;
	rc = check_config(cfg, e);
	if (rc < 0)
		return rc;
	m->config = *cfg;
	m->host = (struct vpci_host){ .irq = &kvm_irq_ops, .bind = kvm_bind,
				      .arg = &m->kvm };
	m->bus.event = on_event;
	m->bus.arg = m;
	serial = fcntl(fds[MACHINE_CONSOLE], F_DUPFD_CLOEXEC, 0);
	if (serial < 0)
		return err_sys(e, "console output");
	rc = serial_init(&m->bus.serial, serial);
	if (rc < 0)
		return err_set(e, -rc, "serial port");
	if ((rc = pci_init(&m->bus.pci, e)) < 0 ||
	    (rc = machine_make_memory(m, clone, e)) < 0 ||
	    (rc = kvm_init(&m->kvm, fds[MACHINE_KVM], cfg->vcpus, e)) < 0)
		return rc;
	fds[MACHINE_KVM] = -1;
	if ((rc = kvm_set_memory(&m->kvm, &m->mem, e)) < 0 ||
	    (rc = kvm_set_readonly(&m->kvm, PCI_ECAM_BASE, m->bus.pci.space, PCI_ECAM_BYTES,
				   e)) < 0)
		return rc;
	return vcpus_init(&m->cpus, &m->kvm, &m->bus, cfg->vcpus, e);
}

static int take_template(struct machine *m, int *fd, struct err *e)
{
	struct sysinfo host;
	int rc = *fd < 0 ? 0 : gmem_file_make(*fd, m->config.ram_bytes, e);

	if (rc < 0)
		return rc;
	/* Asked now: the filter allows no such question. What is not known is taken for swap. */
	m->swap = sysinfo(&host) < 0 || host.totalswap;
	m->template = *fd;
	*fd = -1;
	return 0;
}

/* The last step of both ways to a machine. */
static int made(struct machine *m, struct err *e)
{
	int rc = confine(m, e);

	if (rc < 0)
		return rc;
	m->stage = MACHINE_CONFIGURED;
	metrics_stamp(METRICS_CONFIG);
	return 0;
}

/**
 * machine_config() - make the machine and confine the process
 * @fds: those that are kept become -1; the last one -1 unless the machine is to become
 *       a template
 *
 * Return: 0 or minus errno; after a failure only machine_done() is left
 * Context: I/O thread, the only thread so far
 */
int machine_config(struct machine *m, const struct vmm_config *cfg,
		   int fds[MACHINE_FDS_MAX], struct err *e)
{
	int rc = make(m, cfg, fds, -1, e);

	if (rc < 0 || (rc = take_template(m, &fds[MACHINE_TEMPLATE], e)) < 0 ||
	    (rc = load_kernel(m, fds, e)) < 0 ||
	    (rc = aio_new(m->loop, true, &m->aio, e)) < 0 ||
	    (rc = plug_basics(m, &fds[MACHINE_CONSOLE], e)) < 0)
		return rc;
	return made(m, e);
}

/**
 * machine_restore() - as machine_config(), from a template of the same configuration
 * @fds: of VMM_RESTORE; those that are kept become -1
 *
 * Its console can get no further ports.
 *
 * Return, Context: as machine_config()
 */
int machine_restore(struct machine *m, const struct vmm_config *cfg, int fds[MACHINE_FDS],
		    struct err *e)
{
	struct template t;
	int rc = make(m, cfg, fds, fds[MACHINE_CLONE], e);

	if (rc < 0)
		return rc;
	if ((rc = template_read(fds[MACHINE_STATE], &t, e)) >= 0 &&
	    (rc = template_load_cpus(m, &t, e)) >= 0 &&
	    (rc = aio_new(m->loop, true, &m->aio, e)) >= 0 &&
	    (rc = plug_basics(m, &fds[MACHINE_CONSOLE], e)) >= 0 &&
	    (rc = plug_console(m, e)) >= 0 && (rc = template_load_devices(m, &t, e)) >= 0)
		rc = made(m, e);
	template_done(&t);
	return rc;
}

/**
 * machine_save() - make a template of a paused machine
 * @fd: an empty file for its state, borrowed; its memory goes to the file that CONFIG
 *      brought
 *
 * Return: 0; -EINVAL for a machine that CONFIG brought none for; -EBUSY; minus errno
 * Context: I/O thread
 */
int machine_save(struct machine *m, int fd, struct err *e)
{
	struct template t;
	int rc;

	if (m->template < 0)
		return err_set(e, EINVAL, "there is no file for the machine's memory: give one to CONFIG, and save it once");
	rc = template_save(m, &t, e);
	if (!rc && !(rc = template_write(fd, &t, e)))
		rc = gmem_file_write(&m->mem, m->template, m->swap, e);
	/* A second time would leave what has become zeros since. */
	fd_close(&m->template);
	template_done(&t);
	return rc;
}

/* Whether as many disks as shall have a vector for each queue have them (vmm/vmm.h). */
static bool vectors_are_short(const struct machine *m)
{
	const struct vpci *v;
	unsigned int n = 0;

	for (v = m->devices; v; v = v->next)
		n += v->dev->ops->device_id == VIRTIO_ID_BLOCK &&
		     v->dev->vectors == v->dev->n_queues + 1;
	return n >= VMM_DISKS_OWN_VECTORS;
}

/**
 * machine_disk() - plug a disk, also while the guest runs
 * @fd: -1 when it was taken over
 * @ret_devfn: its place on bus 0; untouched on failure
 *
 * Return: 0 or minus errno
 * Context: I/O thread
 */
int machine_disk(struct machine *m, const struct vmm_disk *cfg, int *fd, uint32_t *ret_devfn,
		 struct err *e)
{
	struct blk_host host = { .mem = &m->mem, .loop = m->loop, .aio = m->aio,
				 .broker_fd = m->broker, .vcpus = m->cpus.n,
				 .one_vector = vectors_are_short(m) };
	struct virtio_dev *d;
	int rc;

	if (!memchr(cfg->serial, 0, sizeof(cfg->serial)) || !cfg->serial[0])
		return err_set(e, EINVAL, "disk: give a serial of 1 to %d bytes",
			       VMM_SERIAL_BYTES - 1);
	rc = blk_new(cfg, *fd, &host, &d, e);
	if (rc < 0)
		return err_wrap(e, "disk %s", cfg->serial);
	*fd = -1;
	rc = plug(m, d, cfg->serial, e);
	if (!rc)
		*ret_devfn = m->devices->fn.devfn;
	return rc;
}

/**
 * machine_net() - plug a network interface, also while the guest runs
 * @fds: -1 when they were taken over
 *
 * Return: 0 or minus errno
 * Context: I/O thread
 */
int machine_net(struct machine *m, const struct vmm_net *cfg, int *fds, size_t n_fds,
		struct err *e)
{
	const uint8_t *mac = cfg->mac;
	char name[VMM_NAME_BYTES];
	struct virtio_dev *d;
	int rc;

	rc = net_new(cfg, fds, n_fds, &m->mem, m->loop, &d, e);
	if (rc < 0)
		return err_wrap(e, "network interface");
	snprintf(name, sizeof(name), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	return plug(m, d, name, e);
}

/**
 * machine_link() - set the link of a network interface up or down
 * @name: as vmm/vmm.h says
 *
 * Return: 0; -ENOENT; -EINVAL for another kind of device; -ENODEV when its tap is gone
 * Context: I/O thread
 */
int machine_link(struct machine *m, const char *name, bool up, struct err *e)
{
	struct vpci **at;
	int rc = find_named(m, name, &at, e);

	return rc < 0 ? rc : net_link((*at)->dev, up, e);
}

/**
 * machine_share() - share a directory, also while the guest runs
 * @fds: those that were taken over become -1
 *
 * Return: 0 or minus errno
 * Context: I/O thread
 */
int machine_share(struct machine *m, const struct vmm_share *cfg, int *fds, size_t n_fds,
		  struct err *e)
{
	struct virtio_dev *d;
	size_t i;
	int rc;

	rc = fs_new(cfg, fds, (unsigned int)n_fds, m->cpus.n, m->shares, &m->mem, m->loop, &d, e);
	if (rc < 0)
		return err_wrap(e, "share");
	for (i = 0; i < n_fds; i++)
		fds[i] = -1;
	return plug(m, d, cfg->tag, e);
}

/* All vCPUs are out: none of them is inside of the device, nor takes it meanwhile. */
static int take_away(struct machine *m, struct vpci **at, struct err *e)
{
	struct vpci *v = *at;

	if (vpci_in_use(v))
		return err_set(e, EBUSY, "%s: the guest uses it: have the guest remove it first",
			       v->name);
	pci_remove(&m->bus.pci, &v->fn);
	*at = v->next;
	vpci_unbind(v);
	vpci_free(v);
	return 0;
}

/**
 * machine_unplug() - take a device away that the guest has let go of
 * @name: as vmm/vmm.h says
 *
 * Return: 0; -ENOENT; -EBUSY while a driver holds it
 * Context: I/O thread; vCPUs pause for it
 */
int machine_unplug(struct machine *m, const char *name, struct err *e)
{
	struct vpci **at;
	int rc = find_named(m, name, &at, e);

	if (rc < 0)
		return rc;
	vcpus_pause(&m->cpus);
	rc = take_away(m, at, e);
	if (m->stage == MACHINE_RUNNING)
		vcpus_resume(&m->cpus);
	return rc;
}

/**
 * machine_resize() - a disk has grown: look at it, and tell the guest
 * @name: as vmm/vmm.h says
 *
 * Return: 0; -ENOENT; -ENOTSUP for what has no size; -EINVAL if it has shrunk
 * Context: I/O thread
 */
int machine_resize(struct machine *m, const char *name, struct err *e)
{
	struct virtio_dev *d;
	struct vpci **at;
	int rc = find_named(m, name, &at, e);

	if (rc < 0)
		return rc;
	d = (*at)->dev;
	if (!d->ops->resize)
		return err_set(e, ENOTSUP, "%s is no disk", name);
	pthread_mutex_lock(&d->lock);
	rc = d->ops->resize(d, e);
	pthread_mutex_unlock(&d->lock);
	return rc < 0 ? err_wrap(e, "%s", name) : 0;
}

/**
 * machine_limit() - change what a device may move
 * @cfg: its name has an end
 *
 * Return: 0; -ENOENT; -ENOTSUP for what takes no limit; -EINVAL for wrong figures
 * Context: I/O thread
 */
int machine_limit(struct machine *m, const struct vmm_set_limit *cfg, struct err *e)
{
	struct virtio_dev *d;
	struct vpci **at;
	int rc = find_named(m, cfg->name, &at, e);

	if (rc < 0)
		return rc;
	d = (*at)->dev;
	if (!d->ops->limit)
		return err_set(e, ENOTSUP, "%s takes no limits", cfg->name);
	pthread_mutex_lock(&d->lock);
	rc = d->ops->limit(d, cfg, e);
	pthread_mutex_unlock(&d->lock);
	return rc < 0 ? err_wrap(e, "%s", cfg->name) : 0;
}

/**
 * machine_console_port() - give the console a further port, before the guest runs
 * @name: VMM_NAME_BYTES of room
 * @fd:   -1 when it was taken over
 *
 * Return: 0; -ENOTSUP for a copy of a template; minus errno
 * Context: I/O thread
 */
int machine_console_port(struct machine *m, const char *name, int *fd, struct err *e)
{
	int rc = m->console ? console_add_port(m->console, name, *fd, e)
			    : err_set(e, ENOTSUP, "console port %s: a machine that comes from a template can have none",
				      name);

	if (!rc)
		*fd = -1;
	return rc;
}

/**
 * machine_start() - enter the guest
 *
 * Only now it is known how many ports, hence queues, the console has.
 *
 * Return: 0 or minus errno; after a failure only machine_done() is left
 * Context: I/O thread
 */
int machine_start(struct machine *m, struct err *e)
{
	int rc;

	m->stage = MACHINE_ENDED;
	rc = m->console ? plug_console(m, e) : 0;
	if (rc < 0)
		return rc;
	m->stage = MACHINE_RUNNING;
	vcpus_go(&m->cpus);
	return 0;
}

/**
 * machine_pause() - leave the guest until machine_resume(); devices go on
 * Context: I/O thread
 */
void machine_pause(struct machine *m)
{
	vcpus_pause(&m->cpus);
	m->stage = MACHINE_PAUSED;
}

/**
 * machine_resume() - go on after machine_pause()
 * Context: I/O thread
 */
void machine_resume(struct machine *m)
{
	vcpus_resume(&m->cpus);
	m->stage = MACHINE_RUNNING;
}

/* What disks have under way is carried out before the guest counts as ended. */
static void settle(struct machine *m)
{
	uint64_t end = clock_ms() + SETTLE_MS, now;
	struct err e;

	while (m->aio && aio_held(m->aio)) {
		now = clock_ms();
		if (now < end && aio_wait(m->aio, (int)(end - now), &e) >= 0)
			continue;
		log_warn("vmm: disks: the storage did not answer within %d s of the guest's end",
			 SETTLE_MS / 1000);
		break;
	}
}

/**
 * machine_stop() - leave the guest for good; twice is fine
 * Context: I/O thread; waits for disks
 */
void machine_stop(struct machine *m)
{
	vcpus_stop(&m->cpus);
	settle(m);
	m->stage = MACHINE_ENDED;
}

/**
 * machine_event() - how the guest ended
 * @text: what to tell people
 *
 * Return: VMM_EVENT_NONE while it runs
 */
enum vmm_event machine_event(struct machine *m, char *text, size_t room)
{
	enum vmm_event what;
	eventfd_t n;

	pthread_mutex_lock(&m->lock);
	what = m->event;
	snprintf(text, room, "%s", m->text);
	pthread_mutex_unlock(&m->lock);
	if (eventfd_read(m->event_fd, &n) < 0 && errno != EAGAIN)
		log_error("vmm: event: %m");
	return what;
}

/**
 * machine_stats() - counters and timeline
 * Context: I/O thread
 */
void machine_stats(struct machine *m, struct vmm_stats *ret)
{
	metrics_fill(ret);
	ret->connect_ns = m->vsock ? vsock_first_call_ns(m->vsock) : 0;
}

/**
 * machine_device() - counters of a device
 * @i: from 0, the oldest first
 *
 * Return: 0; -ENOENT behind the last one
 * Context: I/O thread
 */
int machine_device(struct machine *m, uint32_t i, struct vmm_device *ret, struct err *e)
{
	uint32_t n = 0;
	struct vpci *v;

	for (v = m->devices; v; v = v->next)
		n++;
	if (i >= n)
		return err_set(e, ENOENT, "there are %u devices", n);
	/* The list has the newest first. */
	for (v = m->devices; i < --n; v = v->next)
		;
	vpci_count(v, ret);
	return 0;
}

/**
 * machine_done() - take everything apart
 * Context: I/O thread
 */
void machine_done(struct machine *m)
{
	vcpus_done(&m->cpus);
	while (m->devices) {
		struct vpci *v = m->devices;

		m->devices = v->next;
		vpci_free(v);
	}
	m->vsock = m->balloon = m->memory = NULL;
	if (m->console)
		m->console->ops->free(m->console);
	m->console = NULL;
	aio_free(m->aio);
	m->aio = NULL;
	fs_pool_free(m->shares);
	m->shares = NULL;
	if (m->bus.event) {
		serial_done(&m->bus.serial);
		pci_done(&m->bus.pci);
		m->bus.event = NULL;
	}
	loop_free(m->loop);
	m->loop = NULL;
	kvm_done(&m->kvm);
	gmem_done(&m->mem);
	fd_close(&m->broker);
	fd_close(&m->template);
	fd_close(&m->event_fd);
	pthread_mutex_destroy(&m->lock);
}
