// SPDX-License-Identifier: Apache-2.0
/*
 * bzImages: one that is right, each way to lie, and what a kernel that is entered
 * in 64-bit mode finds in memory.
 */
#include <asm/bootparam.h>
#include <check.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/mem.h"
#include "tests/kit/kit.h"
#include "vmm/boot.h"

#define MIB (1ull << 20)
#define RAM (64 * MIB)
#define PREF (16 * MIB)
#define INIT_SIZE (8u << 20)
#define KERNEL_BYTES 4096u
#define SETUP_BYTES 1024u

Suite *vmm_bzimage_suite(void);

/* A whole bzImage: boot sector and one setup sector, then the kernel. */
struct image {
	uint8_t zeros[0x1f1];
	struct setup_header h;
	uint8_t pad[SETUP_BYTES - 0x1f1 - sizeof(struct setup_header)];
	uint8_t kernel[KERNEL_BYTES];
};
_Static_assert(offsetof(struct image, kernel) == SETUP_BYTES, "layout");

static struct gmem mem;

static struct image good(void)
{
	struct image k = { 0 };

	k.h.setup_sects = 1;
	k.h.syssize = KERNEL_BYTES / 16;
	k.h.boot_flag = 0xaa55;
	k.h.jump = 0x6aeb;
	memcpy(&k.h.header, "HdrS", 4);
	k.h.version = 0x20f;
	k.h.loadflags = LOADED_HIGH;
	k.h.initrd_addr_max = 0x7fffffff;
	k.h.relocatable_kernel = 1;
	k.h.xloadflags = XLF_KERNEL_64;
	k.h.cmdline_size = 255;
	k.h.pref_address = PREF;
	k.h.init_size = INIT_SIZE;
	memset(k.kernel, 0x90, sizeof(k.kernel));
	return k;
}

static int load(const void *data, size_t len, struct boot *b, struct err *e)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC), rc;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	rc = boot_load_kernel(&mem, fd, b, e);
	close(fd);
	return rc;
}

static void setup(void)
{
	struct err e;

	ck_assert_int_eq(gmem_init(&mem, RAM, &e), 0);
}

static void teardown(void)
{
	gmem_done(&mem);
}

START_TEST(right)
{
	struct image k = good();
	struct boot b;
	struct err e;

	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), 0);
	ck_assert_int_eq(b.how, BOOT_LINUX);
	ck_assert_uint_eq(b.entry, PREF + 0x200);
	ck_assert_uint_eq(b.end, PREF + INIT_SIZE);
	ck_assert_uint_eq(b.initrd_end, 0x80000000);
	ck_assert_uint_eq(b.cmdline_max, 255);
	ck_assert_int_eq(memcmp(mem.r[0].hva + PREF, k.kernel, KERNEL_BYTES), 0);
	ck_assert_int_eq(mem.r[0].hva[PREF + KERNEL_BYTES], 0);
	ck_assert_int_eq(mem.r[0].hva[PREF - 1], 0);
}
END_TEST

/* What signers append is not loaded; the last paragraph may be cut. */
START_TEST(sizes)
{
	uint8_t longer[sizeof(struct image) + 100];
	struct image k = good();
	struct boot b;
	struct err e;

	memset(longer, 0xee, sizeof(longer));
	memcpy(longer, &k, sizeof(k));
	ck_assert_int_eq(load(longer, sizeof(longer), &b, &e), 0);
	ck_assert_int_eq(mem.r[0].hva[PREF + KERNEL_BYTES], 0);
	ck_assert_int_eq(load(&k, sizeof(k) - 15, &b, &e), 0);
	ck_assert_int_eq(load(&k, sizeof(k) - 16, &b, &e), -ENOEXEC);
}
END_TEST

/* Setup_sects of 0 are 4 (boot.rst). */
START_TEST(old_sects)
{
	uint8_t image[5 * 512 + 4096] = { 0 };
	struct image k = good();
	struct boot b;
	struct err e;

	k.h.setup_sects = 0;
	memcpy(image, &k, SETUP_BYTES);
	memset(image + 5 * 512, 0x90, 4096);
	ck_assert_int_eq(load(image, sizeof(image), &b, &e), 0);
	ck_assert_int_eq(mem.r[0].hva[PREF], 0x90);
}
END_TEST

#define LIES(X) \
	X("boot flag", k->h.boot_flag = 0x55aa) \
	X("protocol 2.11", k->h.version = 0x20b) \
	X("protocol 0", k->h.version = 0) \
	X("zImage", k->h.loadflags = 0) \
	X("32 bits", k->h.xloadflags = XLF_CAN_BE_LOADED_ABOVE_4G) \
	X("header without init_size", k->h.jump = 0x5deb) \
	X("header of no bytes", k->h.jump = 0x00eb) \
	X("pref_address 0", k->h.pref_address = 0) \
	X("pref_address low", k->h.pref_address = 0x90000) \
	X("pref_address above RAM", k->h.pref_address = RAM) \
	X("pref_address at the end of RAM", k->h.pref_address = RAM - INIT_SIZE + 1) \
	X("pref_address at 1 GiB", k->h.pref_address = BOOT_MAPPED_BYTES) \
	X("pref_address above 1 GiB", k->h.pref_address = BOOT_MAPPED_BYTES + 1) \
	X("pref_address wraps", k->h.pref_address = UINT64_MAX - 4096) \
	X("init_size 0", k->h.init_size = 0) \
	X("init_size below the kernel", k->h.init_size = KERNEL_BYTES - 1) \
	X("init_size above RAM", k->h.init_size = RAM) \
	X("init_size huge", k->h.init_size = UINT32_MAX) \
	X("setup code outside", k->h.setup_sects = 200) \
	X("setup code to the end", k->h.setup_sects = (uint8_t)(sizeof(*k) / 512 - 1)) \
	X("kernel of no bytes", k->h.syssize = 0) \
	X("kernel without its entry", k->h.syssize = 0x200 / 16) \
	X("kernel longer than the file", k->h.syssize += 1) \
	X("kernel huge", k->h.syssize = UINT32_MAX)

#define LIE_NAME(name, code) name,
#define LIE_CASE(name, code) if (which == at++) { code; }

static const char *const lies[] = { LIES(LIE_NAME) };

static void lie(struct image *k, int which)
{
	int at = 0;

	LIES(LIE_CASE)
}

START_TEST(liar)
{
	struct image k = good();
	struct boot b = { .entry = 77 };
	struct err e = { 0 };

	lie(&k, _i);
	ck_assert_msg(load(&k, sizeof(k), &b, &e) < 0, "taken: %s", lies[_i]);
	ck_assert_msg(!strncmp(e.text, "kernel: ", 8), "%s: %s", lies[_i], e.text);
	ck_assert_uint_eq(b.entry, 77);
}
END_TEST

START_TEST(cut)
{
	struct image k = good();
	struct boot b;
	struct err e;
	size_t n;

	for (n = 0; n < sizeof(k) - 15; n += n < 0x290 ? 1 : 97)
		ck_assert_int_lt(load(&k, n, &b, &e), 0);
}
END_TEST

/* Any header at all: an error with a text, or a kernel inside of RAM. */
START_TEST(noise)
{
	unsigned int seed = (unsigned int)kit_seed("vmm_bzimage");
	int i, taken = 0;

	srandom(seed);
	for (i = 0; i < 20000; i++) {
		struct image k = good();
		struct err e = { 0 };
		struct boot b;
		int n = 1 + (int)(random() % 4);

		while (n--)
			((uint8_t *)&k)[0x1f1 + random() % 0x80] = (uint8_t)random();
		if (load(&k, sizeof(k), &b, &e) < 0) {
			ck_assert(e.text[0]);
			continue;
		}
		taken++;
		ck_assert_uint_ge(b.entry, BOOT_HIGH_GPA);
		ck_assert_uint_le(b.end, RAM);
		ck_assert_uint_lt(b.entry, b.end);
	}
	ck_assert_int_gt(taken, 0);
}
END_TEST

/* The initramfs ends where the kernel can still take it. */
START_TEST(initramfs)
{
	struct image k = good();
	int fd = memfd_create("initramfs", MFD_CLOEXEC);
	struct boot b;
	struct err e;

	k.h.initrd_addr_max = (uint32_t)(40 * MIB) - 1;
	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), 0);
	ck_assert_int_eq(ftruncate(fd, 5000), 0);
	ck_assert_int_eq(boot_load_initramfs(&mem, fd, &b, &e), 0);
	ck_assert_uint_eq(b.initrd, 40 * MIB - 8192);
	ck_assert_int_eq(ftruncate(fd, (off_t)(40 * MIB - PREF - INIT_SIZE)), 0);
	ck_assert_int_eq(boot_load_initramfs(&mem, fd, &b, &e), 0);
	ck_assert_uint_eq(b.initrd, PREF + INIT_SIZE);
	ck_assert_int_eq(ftruncate(fd, (off_t)(40 * MIB - PREF - INIT_SIZE + 1)), 0);
	ck_assert_int_eq(boot_load_initramfs(&mem, fd, &b, &e), -ENOMEM);
	close(fd);
}
END_TEST

static const void *at(uint64_t gpa)
{
	return mem.r[0].hva + gpa;
}

START_TEST(parameters)
{
	const struct boot_params *p = at(BOOT_INFO_GPA);
	const struct setup_data *d = at(BOOT_SEED_GPA);
	struct image k = good();
	uint8_t first[32];
	struct boot b;
	struct err e;

	k.h.type_of_loader = 0x21;
	k.h.loadflags = 0xff;
	k.h.setup_data = 0x1234;
	k.h.ramdisk_size = 99;
	k.h.kernel_info_offset = 0x55;
	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), 0);
	b.initrd = 0x2000000;
	b.initrd_bytes = 0x1234;
	ck_assert_int_eq(boot_write_info(&mem, &b, "quiet", 0x92340, &e), 0);
	ck_assert_int_eq(memcmp(&p->hdr.header, "HdrS", 4), 0);
	ck_assert_uint_eq(p->hdr.version, 0x20f);
	ck_assert_uint_eq(p->hdr.kernel_info_offset, 0x55);
	ck_assert_uint_eq(p->hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(p->hdr.loadflags, LOADED_HIGH);
	ck_assert_uint_eq(p->sentinel, 0);
	ck_assert_uint_eq(p->acpi_rsdp_addr, 0x92340);
	ck_assert_uint_eq(p->hdr.ramdisk_image, 0x2000000);
	ck_assert_uint_eq(p->hdr.ramdisk_size, 0x1234);
	ck_assert_str_eq(at(p->hdr.cmd_line_ptr), "quiet");
	ck_assert_uint_eq(p->hdr.setup_data, BOOT_SEED_GPA);
	ck_assert_uint_eq(d->next, 0);
	ck_assert_uint_eq(d->type, SETUP_RNG_SEED);
	ck_assert_uint_eq(d->len, 32);
	memcpy(first, d->data, 32);
	ck_assert_int_eq(boot_write_info(&mem, &b, "quiet", 0x92340, &e), 0);
	ck_assert_int_ne(memcmp(first, d->data, 32), 0);
}
END_TEST

/* A header that ends early leaves nothing of the code behind it in the parameters. */
START_TEST(short_header)
{
	const struct boot_params *p = at(BOOT_INFO_GPA);
	struct image k = good();
	struct boot b;
	struct err e;

	k.h.version = 0x20c;
	k.h.jump = 0x62eb;		/* up to init_size */
	k.h.handover_offset = 0x11111111;
	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), 0);
	ck_assert_int_eq(boot_write_info(&mem, &b, "", 0, &e), 0);
	ck_assert_uint_eq(p->hdr.init_size, INIT_SIZE);
	ck_assert_uint_eq(p->hdr.handover_offset, 0);
}
END_TEST

/* All RAM is told, once, and nothing of the boot information. */
START_TEST(memory_map)
{
	const struct boot_params *p = at(BOOT_INFO_GPA);
	struct image k = good();
	uint64_t last = 0;
	struct boot b;
	struct err e;
	int i;

	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), 0);
	ck_assert_int_eq(boot_write_info(&mem, &b, "", 0, &e), 0);
	ck_assert_int_ge(p->e820_entries, 3);
	for (i = 0; i < p->e820_entries; i++) {
		const struct boot_e820_entry *t = &p->e820_table[i];

		ck_assert_uint_ge(t->addr, last);
		last = t->addr + t->size;
		if (t->type == 1 && t->addr < RAM)
			ck_assert(t->addr + t->size <= BOOT_INFO_GPA ||
				  (t->addr >= BOOT_INFO_END && t->addr + t->size <= RAM));
	}
}
END_TEST

START_TEST(page_tables)
{
	const uint64_t *top = at(BOOT_PAGES_GPA), *next, *last;
	struct image k = good();
	struct boot b;
	struct err e;
	int i;

	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), 0);
	ck_assert_int_eq(boot_write_info(&mem, &b, "", 0, &e), 0);
	ck_assert_uint_eq(top[0] & 0xfff, 3);
	next = at(top[0] & ~0xfffull);
	ck_assert_uint_eq(next[0] & 0xfff, 3);
	last = at(next[0] & ~0xfffull);
	for (i = 0; i < 512; i++)
		ck_assert_uint_eq(last[i], (uint64_t)i << 21 | 0x83);
	ck_assert_uint_eq(next[1], 0);
	ck_assert_uint_lt(BOOT_PAGES_GPA + 3 * 4096, BOOT_GDT_GPA + 1);
	ck_assert_uint_eq(((const uint64_t *)at(BOOT_GDT_GPA))[2], 0x00af9b000000ffffull);
	ck_assert_uint_eq(((const uint64_t *)at(BOOT_GDT_GPA))[3], 0x00cf93000000ffffull);
}
END_TEST

START_TEST(command_line)
{
	struct image k = good();
	char line[300];
	struct boot b;
	struct err e;

	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), 0);
	memset(line, 'x', sizeof(line));
	line[255] = 0;
	ck_assert_int_eq(boot_write_info(&mem, &b, line, 0, &e), 0);
	line[255] = 'x';
	line[256] = 0;
	ck_assert_int_eq(boot_write_info(&mem, &b, line, 0, &e), -E2BIG);
}
END_TEST

Suite *vmm_bzimage_suite(void)
{
	Suite *s = suite_create("vmm_bzimage");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, right);
	tcase_add_test(t, sizes);
	tcase_add_test(t, old_sects);
	tcase_add_loop_test(t, liar, 0, (int)ARRAY_LEN(lies));
	tcase_add_test(t, cut);
	tcase_add_test(t, noise);
	tcase_add_test(t, initramfs);
	tcase_add_test(t, parameters);
	tcase_add_test(t, short_header);
	tcase_add_test(t, memory_map);
	tcase_add_test(t, page_tables);
	tcase_add_test(t, command_line);
	suite_add_tcase(s, t);
	return s;
}
