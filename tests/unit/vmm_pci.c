// SPDX-License-Identifier: Apache-2.0
/* The PCI bus as a guest drives it: ports, sizing, moving BARs, a full bus. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kit/kit.h"
#include "vmm/pci.h"

Suite *vmm_pci_suite(void);

struct dev {
	struct pci_fn fn;
	uint64_t moved_to;
	int moved, reads, writes;
	uint32_t offset, len;
};

static struct pci bus;
static struct dev devs[PCI_FUNCTIONS];

static void bar_moved(struct pci_fn *f, uint64_t address)
{
	struct dev *d = (struct dev *)f;

	d->moved++;
	d->moved_to = address;
}

static void bar_read(struct pci_fn *f, uint32_t offset, void *data, uint32_t len)
{
	struct dev *d = (struct dev *)f;

	ck_assert_uint_le(offset + len, f->bar_bytes);
	d->reads++;
	d->offset = offset;
	d->len = len;
	memset(data, 0x11, len);
}

static void bar_write(struct pci_fn *f, uint32_t offset, const void *data, uint32_t len)
{
	struct dev *d = (struct dev *)f;

	(void)data;
	ck_assert_uint_le(offset + len, f->bar_bytes);
	d->writes++;
}

static const struct pci_fn_ops ops = { .bar_moved = bar_moved, .bar_read = bar_read,
				       .bar_write = bar_write };

static int add(int i, uint32_t bytes)
{
	struct err e;

	pci_fn_init(&devs[i].fn, &ops, 0x1af4, 0x1044, 0xff0000, 1, bytes);
	return pci_add(&bus, &devs[i].fn, &e);
}

static void setup(void)
{
	struct err e;

	memset(devs, 0, sizeof(devs));
	ck_assert_int_eq(pci_init(&bus, &e), 0);
	ck_assert_int_eq(add(0, 4096), 0);
	ck_assert_int_eq(add(1, 8192), 0);
}

static void teardown(void)
{
	pci_done(&bus);
}

/* The guest reads configuration from memory, and only writes are exits. */
static uint32_t cfg(uint8_t devfn, uint32_t reg)
{
	uint32_t v;

	memcpy(&v, bus.space + devfn * PCI_ECAM_FN_BYTES + reg, 4);
	return v;
}

static bool out(uint8_t devfn, uint32_t reg, uint64_t v, uint32_t len)
{
	return pci_mmio(&bus, PCI_ECAM_BASE + devfn * PCI_ECAM_FN_BYTES + reg, &v, len, true);
}

static void set(uint8_t devfn, uint32_t reg, uint32_t v)
{
	out(devfn, reg, v, 4);
}

START_TEST(space)
{
	uint64_t v = 0;
	uint32_t i;

	ck_assert_uint_eq(cfg(0, 0), 0x00081b36);
	ck_assert_uint_eq(cfg(0, 8), 0x06000000);
	ck_assert_uint_eq(cfg(0, 12) >> 16, 0x80);
	ck_assert_uint_eq(cfg(1, 0), 0x10441af4);
	ck_assert_uint_eq(cfg(1, PCI_CONFIG_BYTES), 0xffffffff);
	for (i = 0; i < PCI_ECAM_FN_BYTES; i += 4)
		ck_assert_uint_eq(cfg(3, i), 0xffffffff);
	/* What KVM cannot show from memory is read by an exit, and is the same. */
	for (i = 0; i < PCI_ECAM_BYTES; i += 8) {
		ck_assert(pci_mmio(&bus, PCI_ECAM_BASE + i, &v, 8, false));
		ck_assert_int_eq(memcmp(&v, bus.space + i, 8), 0);
	}
	ck_assert(!pci_mmio(&bus, PCI_ECAM_BASE + PCI_ECAM_BYTES, &v, 4, false));
	ck_assert(!pci_mmio(&bus, PCI_ECAM_BASE + PCI_ECAM_BYTES - 4, &v, 8, false));
	ck_assert_uint_eq(v, UINT64_MAX);
	ck_assert(!pci_mmio(&bus, PCI_ECAM_BASE - 4, &v, 8, true));
}
END_TEST

/* Writes that are longer than a register, leave it, or have no function. */
START_TEST(bad_writes)
{
	uint8_t before[PCI_ECAM_BYTES / 64];

	memcpy(before, bus.space, sizeof(before));
	out(1, 0x10, UINT64_MAX, 8);
	out(1, 0x0e, 0xffffffff, 4);
	out(1, 0x0f, 0xffff, 2);
	out(1, 0x0d, 0xffffffff, 4);
	out(1, PCI_CONFIG_BYTES, 0xffffffff, 4);
	out(1, PCI_CONFIG_BYTES - 4 + 2, 0xffffffff, 4);
	out(1, PCI_ECAM_FN_BYTES - 4, 0xffffffff, 4);
	out(3, 4, 0xffffffff, 4);
	out(255, PCI_ECAM_FN_BYTES - 4, 0xffffffff, 4);
	ck_assert_int_eq(memcmp(before, bus.space, sizeof(before)), 0);
	out(1, 0x05, 0xff, 1);
	ck_assert_uint_eq(cfg(1, 4) & 0xffff, 0x0400);
	out(1, 0x04, 0x0006, 2);
	ck_assert_uint_eq(cfg(1, 4) & 0xffff, 0x0006);
}
END_TEST

START_TEST(read_only)
{
	uint32_t before[64], i;

	for (i = 0; i < 64; i++)
		before[i] = cfg(1, (uint8_t)(i * 4));
	for (i = 0; i < 64; i++)
		set(1, (uint8_t)(i * 4), 0xffffffff);
	for (i = 0; i < 64; i++) {
		uint32_t v = cfg(1, (uint8_t)(i * 4));

		if (i == 1)
			ck_assert_uint_eq(v, before[i] | 0x0406);
		else if (i == 4)
			ck_assert_uint_eq(v, 0xfffff000);
		else if (i != 3 && i != 15)
			ck_assert_uint_eq(v, before[i]);
	}
}
END_TEST

START_TEST(sizing)
{
	uint32_t at = cfg(2, 0x10);

	ck_assert_uint_eq(at % 8192, 0);
	ck_assert_int_eq(devs[1].moved, 1);
	ck_assert_uint_eq(devs[1].moved_to, at);
	set(2, 0x10, 0xffffffff);
	ck_assert_uint_eq(cfg(2, 0x10), 0xffffe000);
	set(2, 0x10, at);
	ck_assert_int_eq(devs[1].moved, 1);	/* decoding was off all the time */
	set(2, 4, 2);
	ck_assert_int_eq(devs[1].moved, 1);	/* and the address is the same */
	set(2, 0x10, 0xd0001234);
	ck_assert_int_eq(devs[1].moved, 2);
	ck_assert_uint_eq(devs[1].moved_to, 0xd0000000);
}
END_TEST

static const struct {
	uint64_t offset;
	uint32_t len;
	bool hit;
} accesses[] = {
	{ 0, 1, true }, { 0, 8, true }, { 4088, 8, true }, { 4095, 1, true },
	{ 4095, 2, false }, { 4089, 8, false }, { 4096, 1, false },
	{ (uint64_t)-1, 1, false }, { (uint64_t)-4, 8, false },
};

START_TEST(decode)
{
	uint64_t data = 0, at = cfg(1, 0x10);
	bool hit = accesses[_i].hit;

	ck_assert(!pci_mmio(&bus, at + accesses[_i].offset, &data, accesses[_i].len, false));
	ck_assert_uint_eq(data & 0xff, 0xff);
	set(1, 4, 2);
	ck_assert(pci_mmio(&bus, at + accesses[_i].offset, &data, accesses[_i].len, false) == hit);
	ck_assert(pci_mmio(&bus, at + accesses[_i].offset, &data, accesses[_i].len, true) == hit);
	ck_assert_int_eq(devs[0].reads, hit);
	ck_assert_int_eq(devs[0].writes, hit);
}
END_TEST

/* Two BARs at one place: one of them answers, nothing breaks. */
START_TEST(collision)
{
	uint32_t v = 0;

	set(1, 4, 2);
	set(2, 4, 2);
	set(1, 0x10, 0xd0000000);
	set(2, 0x10, 0xd0000000);
	ck_assert(pci_mmio(&bus, 0xd0000000, &v, 4, false));
	ck_assert(pci_mmio(&bus, 0xd0001000, &v, 4, false));
	ck_assert_int_eq(devs[0].reads, 1);
	ck_assert_int_eq(devs[1].reads, 1);
	set(1, 0x10, 0xfffff000);	/* the last page of 4 GiB */
	ck_assert(pci_mmio(&bus, 0xfffffff8, &v, 4, false));
	ck_assert(!pci_mmio(&bus, 0x100000000ull, &v, 4, false));
	ck_assert(!pci_mmio(&bus, UINT64_MAX, &v, 1, false));
}
END_TEST

START_TEST(full)
{
	int i;

	for (i = 2; i < 255; i++)
		ck_assert_int_eq(add(i, 4096), 0);
	ck_assert_int_eq(add(255, 4096), -ENOSPC);
	ck_assert_uint_eq(cfg(255, 0), 0x10441af4);
	for (i = 1; i < 256; i++)
		ck_assert_uint_eq(cfg((uint8_t)i, 12) >> 23 & 1, i % 8 == 0);
}
END_TEST

/* What is removed is gone; who comes next gets its place. */
START_TEST(removed)
{
	uint32_t data = 0, at = cfg(1, 0x10);
	int i;

	for (i = 2; i < 20; i++)
		ck_assert_int_eq(add(i, 4096), 0);
	set(1, 4, 2);
	ck_assert(pci_mmio(&bus, at, &data, 4, false));
	pci_remove(&bus, &devs[0].fn);
	pci_remove(&bus, &devs[7].fn);	/* function 0 of slot 1 */
	for (i = 0; i < (int)PCI_ECAM_FN_BYTES; i += 4)
		ck_assert_uint_eq(cfg(1, (uint32_t)i), 0xffffffff);
	set(1, 4, 2);
	ck_assert(!pci_mmio(&bus, at, &data, 4, false));
	ck_assert_int_eq(add(20, 4096), 0);
	ck_assert_uint_eq(devs[20].fn.devfn, 1);
	ck_assert_uint_eq(cfg(1, 0x10), at);
	ck_assert_int_eq(add(21, 65536), 0);
	ck_assert_uint_eq(devs[21].fn.devfn, 8);
	ck_assert_uint_eq(cfg(8, 12) >> 23 & 1, 1);
	ck_assert_int_eq(add(22, 4096), 0);
	ck_assert_uint_eq(devs[22].fn.devfn, 21);
}
END_TEST

/* Anything, in any order and width. */
START_TEST(noise)
{
	unsigned int seed = (unsigned int)kit_seed("vmm_pci");
	static const uint32_t lens[] = { 1, 2, 4, 8 };
	int i;

	srandom(seed);
	for (i = 0; i < 200000; i++) {
		uint32_t len = lens[random() % 4], v = (uint32_t)random() * 2u;
		uint8_t data[8];

		out((uint8_t)(random() % 5), (uint32_t)(random() % PCI_ECAM_FN_BYTES),
		    (uint64_t)v << random() % 32, len);
		out((uint8_t)(random() % 5), (uint32_t)(random() % 0x40), v, len);
		pci_mmio(&bus, (uint64_t)v << (random() % 3), data, len, random() % 2);
	}
}
END_TEST

Suite *vmm_pci_suite(void)
{
	Suite *s = suite_create("vmm_pci");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, space);
	tcase_add_test(t, bad_writes);
	tcase_add_test(t, read_only);
	tcase_add_test(t, sizing);
	tcase_add_loop_test(t, decode, 0, (int)(sizeof(accesses) / sizeof(*accesses)));
	tcase_add_test(t, collision);
	tcase_add_test(t, full);
	tcase_add_test(t, removed);
	tcase_add_test(t, noise);
	suite_add_tcase(s, t);
	return s;
}
