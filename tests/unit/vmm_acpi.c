// SPDX-License-Identifier: Apache-2.0
/* ACPI tables: reachable from the root, checksums, and one APIC per vCPU. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "vmm/acpi.h"
#include "vmm/boot.h"
#include "vmm/pci.h"

#define ROOM (BOOT_ACPI_END - BOOT_ACPI_GPA)

Suite *vmm_acpi_suite(void);

static struct gmem mem;

static void setup(void)
{
	struct err e;

	ck_assert_int_eq(gmem_init(&mem, 32 << 20, &e), 0);
}

static void teardown(void)
{
	gmem_done(&mem);
}

static const uint8_t *at(uint64_t gpa)
{
	ck_assert_uint_ge(gpa, BOOT_ACPI_GPA);
	ck_assert_uint_lt(gpa, BOOT_ACPI_END);
	return mem.r[0].hva + gpa;
}

static uint64_t get(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return v;
}

static void sums_to_zero(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *p++);
	ck_assert_uint_eq(sum, 0);
}

static const uint8_t *table(uint64_t gpa, const char *signature)
{
	const uint8_t *p = at(gpa);

	ck_assert_int_eq(memcmp(p, signature, 4), 0);
	sums_to_zero(p, get(p + 4, 4));
	return p;
}

static const uint32_t vcpus[] = { 1, 2, 3, 64, 255 };

START_TEST(tables)
{
	const uint8_t *p, *xsdt, *fadt, *madt, *mcfg, *dsdt;
	struct err e;
	uint64_t rsdp;
	uint32_t i;

	ck_assert_int_eq(acpi_write(&mem, BOOT_ACPI_GPA, ROOM, vcpus[_i], &rsdp, &e), 0);
	ck_assert_uint_eq(rsdp % 16, 0);
	p = at(rsdp);
	ck_assert_int_eq(memcmp(p, "RSD PTR ", 8), 0);
	sums_to_zero(p, 20);
	sums_to_zero(p, 36);
	xsdt = table(get(p + 24, 8), "XSDT");
	fadt = table(get(xsdt + 36, 8), "FACP");
	madt = table(get(xsdt + 44, 8), "APIC");
	mcfg = table(get(xsdt + 52, 8), "MCFG");
	dsdt = table(get(fadt + 140, 8), "DSDT");
	ck_assert_uint_eq(get(fadt + 4, 4), 276);
	ck_assert_uint_eq(get(fadt + 112, 4) >> 20 & 1, 1);
	ck_assert_uint_eq(get(fadt + 120, 8), ACPI_PORT_RESET);
	ck_assert_uint_eq(get(fadt + 248, 8), ACPI_PORT_SLEEP_CONTROL);
	ck_assert_uint_eq(get(fadt + 260, 8), ACPI_PORT_SLEEP_STATUS);
	ck_assert_uint_eq(get(madt + 4, 4), 44 + 8 * vcpus[_i]);
	for (i = 0; i < vcpus[_i]; i++) {
		ck_assert_uint_eq(madt[44 + 8 * i + 3], i);
		ck_assert_uint_eq(get(madt + 44 + 8 * i + 4, 4), 1);
	}
	ck_assert_uint_eq(get(mcfg + 4, 4), 60);
	ck_assert_uint_eq(get(mcfg + 44, 8), PCI_ECAM_BASE);
	ck_assert_uint_eq(get(mcfg + 52, 8), 0);
	ck_assert_ptr_nonnull(memmem(dsdt, get(dsdt + 4, 4), "PCI0", 4));
	ck_assert_ptr_nonnull(memmem(dsdt, get(dsdt + 4, 4), "_S5_", 4));
}
END_TEST

/* 16 bytes that differ from machine to machine, and the address that is told for them. */
START_TEST(generation)
{
	const uint8_t *xsdt, *fadt, *dsdt, *addr;
	uint8_t first[16];
	struct err e;
	uint64_t rsdp;

	ck_assert_int_eq(acpi_write(&mem, BOOT_ACPI_GPA, ROOM, 1, &rsdp, &e), 0);
	xsdt = table(get(at(rsdp) + 24, 8), "XSDT");
	fadt = table(get(xsdt + 36, 8), "FACP");
	dsdt = table(get(fadt + 140, 8), "DSDT");
	ck_assert_ptr_nonnull(memmem(dsdt, get(dsdt + 4, 4), "_CID\x0dVM_Gen_Counter", 20));
	addr = memmem(dsdt, get(dsdt + 4, 4), "ADDR\x12", 5);
	ck_assert_ptr_nonnull(addr);
	ck_assert_uint_eq(get(addr + 9, 4), BOOT_ACPI_GPA);
	memcpy(first, at(BOOT_ACPI_GPA), 16);
	ck_assert_int_eq(acpi_write(&mem, BOOT_ACPI_GPA, ROOM, 1, &rsdp, &e), 0);
	ck_assert_int_ne(memcmp(first, at(BOOT_ACPI_GPA), 16), 0);
}
END_TEST

START_TEST(no_room)
{
	uint64_t rsdp = 7;
	struct err e;

	ck_assert_int_eq(acpi_write(&mem, BOOT_ACPI_GPA, 100, 1, &rsdp, &e), -E2BIG);
	ck_assert_int_eq(acpi_write(&mem, BOOT_ACPI_GPA, ROOM, 4096, &rsdp, &e), -E2BIG);
	ck_assert_int_eq(acpi_write(&mem, 0xf0000000u, ROOM, 1, &rsdp, &e), -E2BIG);
	ck_assert_uint_eq(rsdp, 7);
}
END_TEST

Suite *vmm_acpi_suite(void)
{
	Suite *s = suite_create("vmm_acpi");
	TCase *t = tcase_create("all");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, tables, 0, (int)(sizeof(vcpus) / sizeof(*vcpus)));
	tcase_add_test(t, generation);
	tcase_add_test(t, no_room);
	suite_add_tcase(s, t);
	return s;
}
