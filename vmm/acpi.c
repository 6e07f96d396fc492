// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * ACPI tables of a hardware-reduced machine: no fixed hardware, no SCI, no
 * firmware. There are
 *
 *   RSDP -> XSDT -> FADT (sleep and reset registers at I/O ports) -> DSDT
 *                -> MADT (one local APIC per vCPU, no I/O APIC: all devices use MSI-X)
 *                -> MCFG (where the configuration space of bus 0 is)
 *
 * The DSDT declares the PCI root with its one bus and its memory window, the
 * memory of the configuration space (Linux wants it reserved there, too), the
 * generation id of the machine, and \_S5. It is emitted by a few helpers, since
 * the length of an AML package is not fixed; `iasl -d` reads the result.
 *
 * The generation id (vmgenid) is 16 random bytes in front of the tables. Linux
 * mixes them into its entropy at boot. It has no way to tell that they changed: an
 * ACPI notification needs an interrupt of an I/O APIC. So a copy of a machine gets
 * its entropy from the agent's set-up, and this is a seed.
 *
 * Source: ACPI 6.5, chapters 5.2 (tables), 4.8.3.7 (sleep registers), 6.4
 * (resources) and 20.2 (AML); Microsoft, "Virtual Machine Generation ID".
 */
#include "vmm/acpi.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "vmm/pci.h"

#define OEM_ID "PODVM "
#define OEM_TABLE "PODVMTBL"
#define TABLES_MAX_BYTES 4096
#define LAPIC_BASE 0xfee00000u
#define GENERATION_BYTES 16

struct head {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct gas {
	uint8_t space, width, offset, access;
	uint64_t address;
} __attribute__((packed));

#define GAS_IO_BYTE(port) { .space = 1, .width = 8, .access = 1, .address = (port) }

/* Section 5.2.9; what is zero by definition here has no name. */
struct fadt {
	struct head h;
	uint32_t facs, dsdt;
	uint8_t zero1[64];
	uint8_t zero2;
	uint16_t boot_arch;
	uint8_t zero3;
	uint32_t flags;
	struct gas reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct gas fixed[8];
	struct gas sleep_control, sleep_status;
	char hypervisor[8];
} __attribute__((packed));
_Static_assert(offsetof(struct fadt, boot_arch) == 109, "FADT boot_arch");
_Static_assert(offsetof(struct fadt, reset) == 116, "FADT reset");
_Static_assert(offsetof(struct fadt, sleep_control) == 244, "FADT sleep_control");
_Static_assert(sizeof(struct fadt) == 276, "FADT revision 6");

#define BOOT_NO_VGA (1u << 2)
#define BOOT_NO_RTC (1u << 5)
#define FADT_WBINVD (1u << 0)
#define FADT_NO_POWER_BUTTON (1u << 4)
#define FADT_NO_SLEEP_BUTTON (1u << 5)
#define FADT_RESET_SUPPORTED (1u << 10)
#define FADT_HW_REDUCED (1u << 20)

struct madt_lapic {
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
} __attribute__((packed));

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t checksum_all, reserved[3];
} __attribute__((packed));

/* Bytes under construction; what does not fit sets @failed. */
struct bytes {
	uint8_t b[TABLES_MAX_BYTES];
	size_t n;
	bool failed;
};

static void put(struct bytes *o, const void *p, size_t n)
{
	if (n > sizeof(o->b) - o->n) {
		o->failed = true;
		return;
	}
	memcpy(o->b + o->n, p, n);
	o->n += n;
}

static void put_le(struct bytes *o, uint64_t v, size_t n)
{
	put(o, &v, n);
}

/*
 * AML package: @op, its length encoded in two bytes (section 20.2.4), and what
 * @from on was put. Lengths up to 4095.
 */
static void wrap(struct bytes *o, size_t from, const char *op, size_t op_len)
{
	size_t len = o->n - from + 2, head = op_len + 2;

	if (o->failed || head > sizeof(o->b) - o->n || len > 0xfff) {
		o->failed = true;
		return;
	}
	memmove(o->b + from + head, o->b + from, o->n - from);
	memcpy(o->b + from, op, op_len);
	o->b[from + op_len] = (uint8_t)(0x40 | (len & 15));
	o->b[from + op_len + 1] = (uint8_t)(len >> 4);
	o->n += head;
}

/* Name (NAME, integer) */
static void name_int(struct bytes *o, const char *name, uint32_t v)
{
	put(o, "\x08", 1);
	put(o, name, 4);
	put(o, "\x0c", 1);
	put_le(o, v, 4);
}

/* Name (NAME, "text") */
static void name_text(struct bytes *o, const char *name, const char *text)
{
	put(o, "\x08", 1);
	put(o, name, 4);
	put(o, "\x0d", 1);
	put(o, text, strlen(text) + 1);
}

/* Name (_CRS, ResourceTemplate () { bus 0; memory window }) */
static void crs(struct bytes *o)
{
	size_t buffer;
	uint32_t len = PCI_MMIO_END - PCI_MMIO_BASE;

	put(o, "\x08_CRS", 5);
	buffer = o->n;
	put(o, "\x0b", 1);		/* BufferSize: word constant */
	put_le(o, 16 + 26 + 2, 2);
	/* WordBusNumber, producer, fixed: bus 0 to 0 */
	put(o, "\x88\x0d\x00\x02\x0c\x00", 6);
	put(o, "\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00", 10);
	/* DWordMemory, producer, fixed, read-write, not cacheable */
	put(o, "\x87\x17\x00\x00\x0c\x01", 6);
	put_le(o, 0, 4);
	put_le(o, PCI_MMIO_BASE, 4);
	put_le(o, PCI_MMIO_END - 1, 4);
	put_le(o, 0, 4);
	put_le(o, len, 4);
	put(o, "\x79\x00", 2);		/* EndTag without checksum */
	wrap(o, buffer, "\x11", 1);	/* Buffer */
}

/* A motherboard resource: memory that is taken, here for the configuration space. */
static void board(struct bytes *o)
{
	size_t device = o->n, buffer;

	put(o, "MBRD", 4);
	name_int(o, "_HID", 0x020cd041);	/* EISAID ("PNP0C02") */
	put(o, "\x08_CRS", 5);
	buffer = o->n;
	put(o, "\x0b", 1);
	put_le(o, 12 + 2, 2);
	/* Memory32Fixed, read-write */
	put(o, "\x86\x09\x00\x01", 4);
	put_le(o, PCI_ECAM_BASE, 4);
	put_le(o, PCI_ECAM_BYTES, 4);
	put(o, "\x79\x00", 2);
	wrap(o, buffer, "\x11", 1);
	wrap(o, device, "\x5b\x82", 2);
}

/* Where the generation id is, low and high half: Name (ADDR, Package () { at, 0 }) */
static void generation(struct bytes *o, uint64_t gpa)
{
	size_t device = o->n, package;

	put(o, "VGEN", 4);
	name_text(o, "_HID", "PDVM0001");
	name_text(o, "_CID", "VM_Gen_Counter");
	name_text(o, "_DDN", "VM_Gen_Counter");
	put(o, "\x08" "ADDR", 5);
	package = o->n;
	put(o, "\x02\x0c", 2);			/* two elements; long constant */
	put_le(o, gpa, 4);
	put(o, "\x00", 1);			/* zero */
	wrap(o, package, "\x12", 1);
	wrap(o, device, "\x5b\x82", 2);
}

static void dsdt_body(struct bytes *o, uint64_t generation_gpa)
{
	size_t scope = o->n, device, package;

	put(o, "\\_SB_", 5);
	device = o->n;
	put(o, "PCI0", 4);
	name_int(o, "_HID", 0x030ad041);	/* EISAID ("PNP0A03") */
	name_int(o, "_UID", 0);
	name_int(o, "_SEG", 0);
	name_int(o, "_BBN", 0);
	crs(o);
	wrap(o, device, "\x5b\x82", 2);		/* Device */
	board(o);
	generation(o, generation_gpa);
	wrap(o, scope, "\x10", 1);		/* Scope */
	/* Name (\_S5, Package () { type, 0 }) */
	put(o, "\x08\\_S5_", 6);
	package = o->n;
	put(o, "\x02\x0a", 2);			/* two elements; byte constant */
	put_le(o, ACPI_SLEEP_TYPE_S5, 1);
	put(o, "\x00", 1);			/* zero */
	wrap(o, package, "\x12", 1);		/* Package */
}

static uint8_t checksum(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *b++);
	return (uint8_t)-sum;
}

static struct head head(const char *signature, uint8_t revision)
{
	struct head h = { .revision = revision, .oem_revision = 1,
			  .creator_revision = 1 };

	memcpy(h.signature, signature, 4);
	memcpy(h.oem_id, OEM_ID, 6);
	memcpy(h.oem_table, OEM_TABLE, 8);
	memcpy(h.creator, OEM_ID, 4);
	return h;
}

/* Length and checksum of the table that begins at @from; tables stay aligned. */
static void finish(struct bytes *o, size_t from)
{
	uint32_t len = (uint32_t)(o->n - from);

	if (o->failed)
		return;
	memcpy(o->b + from + offsetof(struct head, length), &len, 4);
	o->b[from + offsetof(struct head, checksum)] = checksum(o->b + from, len);
	while (o->n % 8 && !o->failed)
		put(o, "", 1);
}

static void put_fadt(struct bytes *o, uint64_t dsdt_gpa)
{
	size_t from = o->n;
	struct fadt f = {
		.h = head("FACP", 6),
		.dsdt = (uint32_t)dsdt_gpa,
		.x_dsdt = dsdt_gpa,
		.minor = 5,
		.boot_arch = BOOT_NO_VGA | BOOT_NO_RTC,
		.flags = FADT_WBINVD | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON |
			 FADT_RESET_SUPPORTED | FADT_HW_REDUCED,
		.reset = GAS_IO_BYTE(ACPI_PORT_RESET),
		.reset_value = ACPI_RESET_VALUE,
		.sleep_control = GAS_IO_BYTE(ACPI_PORT_SLEEP_CONTROL),
		.sleep_status = GAS_IO_BYTE(ACPI_PORT_SLEEP_STATUS),
		.hypervisor = { 'P', 'O', 'D', 'V', 'M' },
	};

	put(o, &f, sizeof(f));
	finish(o, from);
}

static void put_madt(struct bytes *o, uint32_t vcpus)
{
	size_t from = o->n;
	struct head h = head("APIC", 5);
	uint32_t i;

	put(o, &h, sizeof(h));
	put_le(o, LAPIC_BASE, 4);
	put_le(o, 0, 4);	/* no 8259 pair */
	for (i = 0; i < vcpus; i++) {
		struct madt_lapic l = { .length = sizeof(l), .uid = (uint8_t)i,
					.apic_id = (uint8_t)i, .flags = 1 };

		put(o, &l, sizeof(l));
	}
	finish(o, from);
}

/* PCI Firmware Specification 3.0, section 4.1.2. */
static void put_mcfg(struct bytes *o)
{
	size_t from = o->n;
	struct head h = head("MCFG", 1);

	put(o, &h, sizeof(h));
	put_le(o, 0, 8);
	put_le(o, PCI_ECAM_BASE, 8);
	put_le(o, 0, 8);	/* segment 0, from bus 0 to bus 0 */
	finish(o, from);
}

static void put_xsdt(struct bytes *o, uint64_t fadt_gpa, uint64_t madt_gpa, uint64_t mcfg_gpa)
{
	size_t from = o->n;
	struct head h = head("XSDT", 1);

	put(o, &h, sizeof(h));
	put_le(o, fadt_gpa, 8);
	put_le(o, madt_gpa, 8);
	put_le(o, mcfg_gpa, 8);
	finish(o, from);
}

static void put_rsdp(struct bytes *o, uint64_t xsdt_gpa)
{
	struct rsdp r = { .revision = 2, .length = sizeof(r), .xsdt = xsdt_gpa };

	memcpy(r.signature, "RSD PTR ", 8);
	memcpy(r.oem_id, OEM_ID, 6);
	r.checksum = checksum(&r, 20);	/* the ACPI 1.0 part */
	r.checksum_all = checksum(&r, sizeof(r));
	put(o, &r, sizeof(r));
}

/**
 * acpi_write() - write all tables into guest RAM
 * @gpa:      below 4 GiB, a multiple of 16
 * @room:     bytes that may be used there
 * @vcpus:    APIC ids 0 to @vcpus - 1; 255 at most
 * @ret_rsdp: address of the root pointer
 *
 * Return: 0; -E2BIG if the tables do not fit; minus errno
 *
 * #syscalls start: getrandom
 */
int acpi_write(const struct gmem *m, uint64_t gpa, uint64_t room, uint32_t vcpus,
	       uint64_t *ret_rsdp, struct err *e)
{
	struct bytes o = { .n = GENERATION_BYTES };
	uint64_t dsdt, fadt, madt, mcfg, xsdt, rsdp;
	struct head h = head("DSDT", 2);

	if (getrandom(o.b, GENERATION_BYTES, 0) != GENERATION_BYTES)
		return err_sys(e, "getrandom");
	dsdt = gpa + o.n;
	put(&o, &h, sizeof(h));
	dsdt_body(&o, gpa);
	finish(&o, GENERATION_BYTES);
	fadt = gpa + o.n;
	put_fadt(&o, dsdt);
	madt = gpa + o.n;
	put_madt(&o, vcpus);
	mcfg = gpa + o.n;
	put_mcfg(&o);
	xsdt = gpa + o.n;
	put_xsdt(&o, fadt, madt, mcfg);
	while (o.n % 16)
		put(&o, "", 1);
	rsdp = gpa + o.n;
	put_rsdp(&o, xsdt);
	if (o.failed || o.n > room || gmem_write(m, gpa, o.b, o.n) < 0)
		return err_set(e, E2BIG, "ACPI tables of %u vCPUs do not fit", vcpus);
	*ret_rsdp = rsdp;
	return 0;
}
