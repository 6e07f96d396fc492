// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One PCI bus with a host bridge at 00:00.0 and up to 255 functions behind it,
 * packed eight to a slot so that no bridges are needed; function 0 of each
 * slot says that it is not alone.
 *
 * Configuration space is memory at PCI_ECAM_BASE (MCFG), a page for each function,
 * and there are no ports for it. The guest gets that memory read-only, as a
 * memory slot: it reads without an exit, and only its writes arrive here, as exits.
 * Linux reads 670 times and writes 80 times while it boots with three devices,
 * and by ports each of them costs two exits. A rescan of the bus costs none.
 *
 * The pages of functions that do not exist read as ones. They are copies on
 * write of a few pages of ones, so that they cost no memory, and a function's
 * first byte makes its page. A function is seen as a whole: its number, which a
 * guest reads first, is written last. Since a read is no exit, nothing can happen
 * with it: see vmm/virtio/pci.c about pci_cfg_data.
 *
 * A function's configuration is an array of bytes and a mask of what the guest
 * may change; that alone makes BAR sizing work. BAR 0 has an address before the
 * guest sees it (there is no firmware). When the guest moves it, the device is
 * told once it decodes at the new address: Linux sizes BARs with decoding off,
 * and a notification costs KVM a grace period.
 *
 * A function appears while the guest runs when it is added; the guest finds it
 * by a rescan of the bus. One is removed while all vCPUs are paused, after the
 * guest let go of it.
 *
 * Source: PCI Local Bus Specification 3.0, chapter 6; PCI Firmware
 * Specification 3.0, section 4.1.
 */
#include "vmm/pci.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fd.h"

/* Pages of ones that stand for all functions that do not exist; divides PCI_ECAM_BYTES. */
#define ONES_BYTES 0x10000u

#define STATUS_CAPS 0x10
#define HEADER_MULTI 0x80
#define CAPS_FIRST 0x40

/* A host bridge without registers of its own; no driver binds to this number. */
#define HOST_VENDOR 0x1b36
#define HOST_DEVICE 0x0008
#define HOST_CLASS 0x060000

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/**
 * pci_fn_init() - the header of a function (type 0)
 * @bar_bytes: size of BAR 0 (32 bits, not prefetchable), 0 for none
 */
void pci_fn_init(struct pci_fn *f, const struct pci_fn_ops *ops, uint16_t vendor,
		 uint16_t device, uint32_t class_code, uint8_t revision,
		 uint32_t bar_bytes)
{
	uint32_t mask = bar_bytes ? ~(bar_bytes - 1) : 0;

	memset(f, 0, sizeof(*f));
	f->ops = ops;
	f->bar_bytes = bar_bytes;
	memcpy(f->config, &vendor, 2);
	memcpy(f->config + 2, &device, 2);
	f->config[8] = revision;
	f->config[9] = (uint8_t)class_code;
	f->config[10] = (uint8_t)(class_code >> 8);
	f->config[11] = (uint8_t)(class_code >> 16);
	memcpy(f->config + 0x2c, &vendor, 2);
	memcpy(f->config + 0x2e, &device, 2);
	f->writable[PCI_REG_COMMAND] = 0x06;		/* memory, bus master */
	f->writable[PCI_REG_COMMAND + 1] = 0x04;	/* interrupt disable */
	f->writable[0x0c] = 0xff;			/* cache line size */
	f->writable[0x3c] = 0xff;			/* interrupt line */
	memcpy(f->writable + PCI_REG_BAR0, &mask, 4);
}

/**
 * pci_fn_cap() - append a capability
 * @cap: bytes; the first is the id, the second is set here
 * @len: a multiple of 4; all of a function's fit behind CAPS_FIRST
 *
 * Return: its offset
 */
uint8_t pci_fn_cap(struct pci_fn *f, const void *cap, uint8_t len)
{
	uint8_t at = f->cap_link ? f->cap_end : CAPS_FIRST;

	f->config[f->cap_link ? f->cap_link : PCI_REG_CAPS] = at;
	f->config[PCI_REG_STATUS] |= STATUS_CAPS;
	memcpy(f->config + at, cap, len);
	f->config[at + 1] = 0;
	f->cap_link = (uint8_t)(at + 1);
	f->cap_end = (uint8_t)(at + len);
	return at;
}

/* A file of ones that nobody else has. */
static int make_ones(int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("pci-ones", MFD_CLOEXEC);
	uint8_t ones[PCI_ECAM_FN_BYTES];
	uint32_t i;
	int rc = 0;

	if (fd < 0)
		return err_sys(e, "memfd_create");
	memset(ones, 0xff, sizeof(ones));
	for (i = 0; i < ONES_BYTES / sizeof(ones) && !rc; i++)
		rc = write_full(fd, ones, sizeof(ones), e);
	if (!rc)
		*ret_fd = fd_steal(&fd);
	return rc;
}

static int map_space(uint8_t **ret, struct err *e)
{
	_cleanup_close_ int ones = -1;
	uint8_t *space;
	uint32_t at;
	int rc = make_ones(&ones, e);

	if (rc < 0)
		return rc;
	space = mmap(NULL, PCI_ECAM_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (space == MAP_FAILED)
		return err_sys(e, "PCI configuration space");
	for (at = 0; at < PCI_ECAM_BYTES; at += ONES_BYTES)
		if (mmap(space + at, ONES_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
			 ones, 0) == MAP_FAILED) {
			rc = err_sys(e, "PCI configuration space");
			munmap(space, PCI_ECAM_BYTES);
			return rc;
		}
	*ret = space;
	return 0;
}

/**
 * pci_init() - an empty bus with its host bridge
 * @p: pci_done() is fine after a failure, too
 *
 * Return: 0 or minus errno
 *
 * #syscalls start: memfd_create write mmap munmap close
 */
int pci_init(struct pci *p, struct err *e)
{
	int rc;

	memset(p, 0, sizeof(*p));
	rc = pthread_mutex_init(&p->lock, NULL);
	if (rc)
		return err_set(e, rc, "pthread_mutex_init");
	rc = map_space(&p->space, e);
	if (rc < 0)
		return rc;
	pci_fn_init(&p->host, NULL, HOST_VENDOR, HOST_DEVICE, HOST_CLASS, 0, 0);
	return pci_add(p, &p->host, e);
}

/**
 * pci_done() - forget all functions; no vCPU runs any more
 */
void pci_done(struct pci *p)
{
	if (p->space)
		munmap(p->space, PCI_ECAM_BYTES);
	p->space = NULL;
	pthread_mutex_destroy(&p->lock);
	memset(p->fn, 0, sizeof(p->fn));
}

/* Shows the guest what a function's configuration is now. Lock held. */
static void show(struct pci *p, const struct pci_fn *f)
{
	uint8_t *page = p->space + f->devfn * PCI_ECAM_FN_BYTES;
	uint32_t id = get32(f->config);

	memcpy(page + 4, f->config + 4, PCI_CONFIG_BYTES - 4);
	__atomic_store_n((uint32_t *)(void *)page, id, __ATOMIC_RELEASE);
}

/* Takes a function away from the guest's sight, its number first. Lock held. */
static void hide(struct pci *p, const struct pci_fn *f)
{
	uint8_t *page = p->space + f->devfn * PCI_ECAM_FN_BYTES;

	__atomic_store_n((uint32_t *)(void *)page, UINT32_MAX, __ATOMIC_RELEASE);
	memset(page, 0xff, PCI_CONFIG_BYTES);
}

/* The lowest free number; so a slot's function 0 is there before the others are. */
static uint32_t free_devfn(const struct pci *p)
{
	uint32_t i;

	for (i = 0; i < PCI_FUNCTIONS && p->fn[i]; i++)
		;
	return i;
}

/**
 * pci_add() - put a function on the bus and give its BAR an address
 * @f: borrowed until pci_remove() or pci_done()
 *
 * Return: 0; -ENOSPC when the bus is full
 * Context: any thread, also while vCPUs run
 */
int pci_add(struct pci *p, struct pci_fn *f, struct err *e)
{
	uint32_t at, devfn;

	pthread_mutex_lock(&p->lock);
	devfn = free_devfn(p);
	if (devfn == PCI_FUNCTIONS) {
		pthread_mutex_unlock(&p->lock);
		return err_set(e, ENOSPC, "the PCI bus is full: %u functions at most",
			       PCI_FUNCTIONS - 1);
	}
	f->devfn = (uint8_t)devfn;
	if (!(devfn & 7))
		f->config[PCI_REG_HEADER] |= HEADER_MULTI;
	if (f->bar_bytes) {
		at = PCI_MMIO_BASE + devfn * PCI_BAR_MAX_BYTES;
		memcpy(f->config + PCI_REG_BAR0, &at, 4);
		f->bar_at = at;
		if (f->ops->bar_moved)
			f->ops->bar_moved(f, at);
	}
	p->fn[devfn] = f;
	if (devfn >= p->end)
		p->end = devfn + 1;
	show(p, f);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

/**
 * pci_remove() - take a function off the bus; its number is free again
 *
 * The guest has let go of it before, or finds all ones where it was.
 *
 * Context: I/O thread, while no vCPU runs: one could be inside of the function
 */
void pci_remove(struct pci *p, struct pci_fn *f)
{
	pthread_mutex_lock(&p->lock);
	p->fn[f->devfn] = NULL;
	hide(p, f);
	pthread_mutex_unlock(&p->lock);
}

/* Tells the device when BAR 0 decodes at another address than it knows. */
static void check_bar(struct pci_fn *f)
{
	uint32_t at = get32(f->config + PCI_REG_BAR0);

	if (!f->bar_bytes || !(f->config[PCI_REG_COMMAND] & PCI_COMMAND_MEM) ||
	    at == f->bar_at)
		return;
	f->bar_at = at;
	if (f->ops && f->ops->bar_moved)
		f->ops->bar_moved(f, at);
}

/*
 * A write to configuration space: one that lies in an aligned long of a function that
 * exists changes it, anything else is lost.
 */
static void config_write(struct pci *p, uint32_t offset, const uint8_t *data, uint32_t len)
{
	struct pci_fn *f = p->fn[offset / PCI_ECAM_FN_BYTES];
	uint32_t at = offset % PCI_ECAM_FN_BYTES, i;

	if (!f || at % 4 + len > 4 || at + len > PCI_CONFIG_BYTES)
		return;

	for (i = 0; i < len; i++)
		f->config[at + i] = (uint8_t)((f->config[at + i] & ~f->writable[at + i]) |
					      (data[i] & f->writable[at + i]));
	if (f->ops && f->ops->config_write)
		f->ops->config_write(f, at, len);
	check_bar(f);
	show(p, f);
}

/**
 * pci_load() - give a function the configuration that a guest had written
 * @f:      on the bus
 * @config: all bytes; those that a guest may not write are left out
 *
 * Context: any thread
 */
void pci_load(struct pci *p, struct pci_fn *f, const uint8_t config[PCI_CONFIG_BYTES])
{
	uint32_t at;

	pthread_mutex_lock(&p->lock);
	for (at = 0; at < PCI_CONFIG_BYTES; at += 4)
		config_write(p, f->devfn * PCI_ECAM_FN_BYTES + at, config + at, 4);
	pthread_mutex_unlock(&p->lock);
}

/* Reads come here only where KVM has no read-only memory. */
static void config_access(struct pci *p, uint32_t offset, void *data, uint32_t len, bool write)
{
	pthread_mutex_lock(&p->lock);
	if (write)
		config_write(p, offset, data, len);
	else
		memcpy(data, p->space + offset, len);
	pthread_mutex_unlock(&p->lock);
}

/* The lowest function whose enabled BAR 0 holds the whole access. */
static struct pci_fn *find(struct pci *p, uint64_t gpa, uint32_t len,
			   uint32_t *ret_offset)
{
	struct pci_fn *found = NULL;
	uint32_t i;

	pthread_mutex_lock(&p->lock);
	for (i = 0; i < p->end && !found; i++) {
		struct pci_fn *f = p->fn[i];
		uint32_t at = f ? get32(f->config + PCI_REG_BAR0) : 0;

		if (!f || !f->bar_bytes || !(f->config[PCI_REG_COMMAND] & PCI_COMMAND_MEM) ||
		    gpa < at || gpa - at >= f->bar_bytes ||
		    len > f->bar_bytes - (gpa - at))
			continue;
		*ret_offset = (uint32_t)(gpa - at);
		found = f;
	}
	pthread_mutex_unlock(&p->lock);
	return found;
}

/**
 * pci_mmio() - the guest accesses memory that is not RAM
 * @len: 1, 2, 4 or 8
 *
 * Return: false if no function decodes there; then a read gives ones
 */
bool pci_mmio(struct pci *p, uint64_t gpa, void *data, uint32_t len, bool write)
{
	uint32_t offset;
	struct pci_fn *f;

	if (gpa >= PCI_ECAM_BASE && gpa - PCI_ECAM_BASE <= PCI_ECAM_BYTES - len) {
		config_access(p, (uint32_t)(gpa - PCI_ECAM_BASE), data, len, write);
		return true;
	}
	f = find(p, gpa, len, &offset);
	if (!f) {
		if (!write)
			memset(data, 0xff, len);
		return false;
	}
	if (write)
		f->ops->bar_write(f, offset, data, len);
	else
		f->ops->bar_read(f, offset, data, len);
	return true;
}
