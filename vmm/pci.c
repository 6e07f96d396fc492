// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One PCI bus with a host bridge at 00:00.0 and up to 255 functions behind it,
 * packed eight to a slot so that no bridges are needed; function 0 of each
 * slot says that it is not alone.
 *
 * Configuration space is reached by ports 0xcf8/0xcfc only. A port exit tells
 * KVM width and value by itself, where MMCONFIG costs an instruction
 * emulation for each access; and virtio needs none of the extended space that
 * MMCONFIG adds. So there is no MCFG table.
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
 * Source: PCI Local Bus Specification 3.0, chapters 3.2.2.3 and 6.
 */
#include "vmm/pci.h"

#include <errno.h>
#include <string.h>

#define ADDRESS_ENABLE 0x80000000u
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

/**
 * pci_init() - an empty bus with its host bridge
 *
 * Return: 0 or minus errno
 */
int pci_init(struct pci *p, struct err *e)
{
	int rc;

	memset(p, 0, sizeof(*p));
	rc = pthread_mutex_init(&p->lock, NULL);
	if (rc)
		return err_set(e, rc, "pthread_mutex_init");
	pci_fn_init(&p->host, NULL, HOST_VENDOR, HOST_DEVICE, HOST_CLASS, 0, 0);
	rc = pci_add(p, &p->host, e);
	if (rc < 0)
		pthread_mutex_destroy(&p->lock);
	return rc;
}

/**
 * pci_done() - forget all functions; no vCPU runs any more
 */
void pci_done(struct pci *p)
{
	pthread_mutex_destroy(&p->lock);
	memset(p->fn, 0, sizeof(p->fn));
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
	pthread_mutex_unlock(&p->lock);
}

/* The function that CONFIG_ADDRESS selects; NULL for none. Lock held. */
static struct pci_fn *selected(struct pci *p)
{
	if (!(p->address & ADDRESS_ENABLE) || (p->address >> 16 & 0xff))
		return NULL;
	return p->fn[p->address >> 8 & 0xff];
}

/* Offset of a data port access in the selected function; -1 if it leaves the dword. */
static int data_offset(const struct pci *p, uint16_t port, uint32_t len)
{
	uint32_t at = port - PCI_PORT_DATA;

	if (len > 4 || at + len > 4)
		return -1;
	return (int)((p->address & 0xfc) + at);
}

/**
 * pci_port_read() - the guest reads one of the eight ports
 * @len: 1, 2 or 4; what does not exist reads as ones
 */
void pci_port_read(struct pci *p, uint16_t port, void *data, uint32_t len)
{
	struct pci_fn *f;
	int at;

	memset(data, 0xff, len);
	pthread_mutex_lock(&p->lock);
	if (port == PCI_PORT_ADDRESS && len == 4) {
		memcpy(data, &p->address, 4);
	} else if (port >= PCI_PORT_DATA && (f = selected(p)) &&
		   (at = data_offset(p, port, len)) >= 0) {
		if (f->ops && f->ops->config_read)
			f->ops->config_read(f, (uint32_t)at, len);
		memcpy(data, f->config + at, len);
	}
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

static void config_write(struct pci_fn *f, uint32_t at, const uint8_t *data,
			 uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++)
		f->config[at + i] = (uint8_t)((f->config[at + i] & ~f->writable[at + i]) |
					      (data[i] & f->writable[at + i]));
	if (f->ops && f->ops->config_write)
		f->ops->config_write(f, at, len);
	check_bar(f);
}

/**
 * pci_port_write() - the guest writes one of the eight ports
 * @len: 1, 2 or 4; what does not exist swallows the write
 */
void pci_port_write(struct pci *p, uint16_t port, const void *data, uint32_t len)
{
	struct pci_fn *f;
	int at;

	pthread_mutex_lock(&p->lock);
	if (port == PCI_PORT_ADDRESS && len == 4)
		p->address = get32(data) & 0x80fffffcu;
	else if (port >= PCI_PORT_DATA && (f = selected(p)) &&
		 (at = data_offset(p, port, len)) >= 0)
		config_write(f, (uint32_t)at, data, len);
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
	struct pci_fn *f = find(p, gpa, len, &offset);

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
