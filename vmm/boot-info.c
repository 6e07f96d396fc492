// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a kernel finds in memory when it is entered, between BOOT_INFO_GPA and
 * BOOT_INFO_END, which the memory map keeps from it:
 *
 *   PVH     struct hvm_start_info, module list, memory map
 *   Linux   struct boot_params (the "zero page") with the memory map and the
 *           setup header; page tables that map the first 1 GiB one to one; a GDT
 *           with __BOOT_CS and __BOOT_DS; a random seed (SETUP_RNG_SEED), which
 *           the kernel credits and wipes
 *   both    the command line; ACPI tables (vmm/acpi.c)
 *
 * PVH has no place for a seed. The command line would be one, but every process
 * of the guest can read it; so PVH kernels have RDRAND, the generation id that
 * ACPI tells (mixed in, not credited) and virtio-rng.
 *
 * Sources: Xen docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h; Linux
 * Documentation/x86/boot.rst and zero-page.rst; Intel SDM 3A, 4.5 (4-level
 * paging) and 3.4.5 (segment descriptors).
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "lib/mem.h"
#include "vmm/boot.h"
#include "vmm/pci.h"

#define START_INFO_MAGIC 0x336ec578u
#define MAP_RAM 1
#define MAP_RESERVED 2
#define MAP_MAX (GMEM_REGIONS_MAX + 4)

#define PAGE_BYTES 4096ull
#define LARGE_PAGE_BYTES (2ull << 20)
#define PTE_PRESENT_WRITE 3ull
#define PTE_LARGE 0x80ull
#define ENTRIES 512

/* Flat segments of 4 GiB: code of 64 bits, execute and read; data, read and write. */
#define GDT_CODE 0x00af9b000000ffffull
#define GDT_DATA 0x00cf93000000ffffull

/* Of the parameters of an ELF kernel, which brings no header. */
#define PROTOCOL 0x20f

/* "An undefined boot loader", which is one that has no number. */
#define LOADER_UNDEFINED 0xff

#define SEED_BYTES 32

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct module_entry {
	uint64_t gpa, size, cmdline, reserved;
};

struct map_entry {
	uint64_t gpa, size;
	uint32_t type, reserved;
};

struct map {
	struct map_entry e[MAP_MAX];
	uint32_t n;
};

/* Everything at BOOT_INFO_GPA for PVH. */
struct info {
	struct start_info start;
	struct module_entry module;
	struct map_entry map[MAP_MAX];
};

static void add(struct map *t, uint64_t gpa, uint64_t end, uint32_t type)
{
	t->e[t->n++] = (struct map_entry){ .gpa = gpa, .size = end - gpa, .type = type };
}

static struct map make_map(const struct gmem *m)
{
	struct map t = { .n = 0 };
	size_t i;

	add(&t, 0, BOOT_INFO_GPA, MAP_RAM);
	add(&t, BOOT_INFO_GPA, BOOT_HIGH_GPA, MAP_RESERVED);
	add(&t, BOOT_HIGH_GPA, m->r[0].len, MAP_RAM);
	add(&t, PCI_ECAM_BASE, PCI_ECAM_BASE + PCI_ECAM_BYTES, MAP_RESERVED);
	for (i = 1; i < m->n; i++)
		add(&t, m->r[i].gpa, m->r[i].gpa + m->r[i].len, MAP_RAM);
	return t;
}

static int write_pvh(const struct gmem *m, const struct boot *b, uint64_t rsdp_gpa)
{
	struct map t = make_map(m);
	struct info s = { .start = { .magic = START_INFO_MAGIC, .version = 1,
				     .cmdline = BOOT_CMDLINE_GPA, .rsdp = rsdp_gpa,
				     .memmap_entries = t.n } };

	s.start.memmap = BOOT_INFO_GPA + offsetof(struct info, map);
	memcpy(s.map, t.e, sizeof(t.e));
	if (b->initrd_bytes) {
		s.start.nr_modules = 1;
		s.start.modlist = BOOT_INFO_GPA + offsetof(struct info, module);
		s.module.gpa = b->initrd;
		s.module.size = b->initrd_bytes;
	}
	return gmem_write(m, BOOT_INFO_GPA, &s, sizeof(s));
}

static int write_params(const struct gmem *m, const struct boot *b, uint64_t rsdp_gpa)
{
	struct boot_params p = { .acpi_rsdp_addr = rsdp_gpa };
	struct map t = make_map(m);
	uint32_t i;

	if (b->header_bytes)
		memcpy(&p.hdr, b->header, sizeof(p.hdr));
	else
		p.hdr.version = PROTOCOL;
	p.hdr.type_of_loader = LOADER_UNDEFINED;
	p.hdr.loadflags &= LOADED_HIGH;
	p.hdr.cmd_line_ptr = BOOT_CMDLINE_GPA;
	p.hdr.ramdisk_image = (uint32_t)b->initrd;
	p.hdr.ramdisk_size = (uint32_t)b->initrd_bytes;
	p.hdr.setup_data = BOOT_SEED_GPA;
	p.hdr.code32_start = 0;
	for (i = 0; i < t.n; i++)
		p.e820_table[i] = (struct boot_e820_entry){ .addr = t.e[i].gpa,
							    .size = t.e[i].size,
							    .type = t.e[i].type };
	p.e820_entries = (uint8_t)t.n;
	return gmem_write(m, BOOT_INFO_GPA, &p, sizeof(p));
}

/* One table of each level; the last one maps 1 GiB by large pages. */
static int write_pages(const struct gmem *m)
{
	uint64_t top = BOOT_PAGES_GPA + PAGE_BYTES, next = top + PAGE_BYTES, t[ENTRIES];
	size_t i;

	top |= PTE_PRESENT_WRITE;
	next |= PTE_PRESENT_WRITE;
	for (i = 0; i < ENTRIES; i++)
		t[i] = i * LARGE_PAGE_BYTES | PTE_PRESENT_WRITE | PTE_LARGE;
	return gmem_write(m, BOOT_PAGES_GPA, &top, sizeof(top)) < 0 ||
	       gmem_write(m, BOOT_PAGES_GPA + PAGE_BYTES, &next, sizeof(next)) < 0 ||
	       gmem_write(m, BOOT_PAGES_GPA + 2 * PAGE_BYTES, t, sizeof(t)) < 0 ? -EFAULT : 0;
}

static int write_seed(const struct gmem *m, struct err *e)
{
	struct {
		struct setup_data head;
		uint8_t seed[SEED_BYTES];
	} s = { .head = { .type = SETUP_RNG_SEED, .len = SEED_BYTES } };
	int rc;

	if (getrandom(s.seed, sizeof(s.seed), 0) != SEED_BYTES)
		return err_sys(e, "getrandom");
	rc = gmem_write(m, BOOT_SEED_GPA, &s, sizeof(s));
	explicit_bzero(&s, sizeof(s));
	return rc < 0 ? err_set(e, EFAULT, "random seed does not fit into RAM") : 0;
}

static int write_linux(const struct gmem *m, const struct boot *b, uint64_t rsdp_gpa,
		       struct err *e)
{
	/* Selectors 0x10 and 0x18. */
	static const uint64_t gdt[BOOT_GDT_BYTES / 8] = { 0, 0, GDT_CODE, GDT_DATA };
	int rc = write_seed(m, e);

	if (rc < 0)
		return rc;
	if (write_params(m, b, rsdp_gpa) < 0 || write_pages(m) < 0 ||
	    gmem_write(m, BOOT_GDT_GPA, gdt, sizeof(gdt)) < 0)
		return -EFAULT;
	return 0;
}

/**
 * boot_write_info() - write what the kernel's entry wants to find
 * @b:        loaded, with its initramfs
 * @cmdline:  shorter than a page, and than the kernel takes
 * @rsdp_gpa: of the ACPI root pointer
 *
 * Return: 0; -E2BIG for a command line that does not fit; minus errno
 *
 * #syscalls start: getrandom
 */
int boot_write_info(const struct gmem *m, const struct boot *b, const char *cmdline,
		    uint64_t rsdp_gpa, struct err *e)
{
	size_t len = strlen(cmdline) + 1;
	int rc;

	if (len > BOOT_ACPI_GPA - BOOT_CMDLINE_GPA || (b->cmdline_max && len - 1 > b->cmdline_max))
		return err_set(e, E2BIG, "kernel command line of %zu bytes", len - 1);
	rc = b->how == BOOT_PVH ? write_pvh(m, b, rsdp_gpa) : write_linux(m, b, rsdp_gpa, e);
	if (rc == -EFAULT || gmem_write(m, BOOT_CMDLINE_GPA, cmdline, len) < 0)
		return err_set(e, EFAULT, "boot information does not fit into RAM");
	return rc;
}
