// SPDX-License-Identifier: Apache-2.0
/* Loading kernels: one that is right, and each way to lie. */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/mem.h"
#include "vmm/boot.h"

#define MIB (1ull << 20)
#define RAM (64 * MIB)
#define TEXT_AT 0x1000
#define TEXT_BYTES 64
#define LOAD_GPA 0x200000ull
#define ENTRY (LOAD_GPA + 16)

Suite *vmm_boot_suite(void);

/* A whole kernel: header, two segments and the note, then their bytes. */
struct image {
	Elf64_Ehdr h;
	Elf64_Phdr p[3];
	struct {
		Elf64_Nhdr n;
		char name[4];
		uint64_t entry;
	} note;
	uint8_t pad[4096 - sizeof(Elf64_Ehdr) - 3 * sizeof(Elf64_Phdr) - 24];
	uint8_t text[TEXT_BYTES];
};
_Static_assert(offsetof(struct image, text) == TEXT_AT, "layout");

static struct gmem mem;

static struct image good(void)
{
	struct image k = { 0 };

	memcpy(k.h.e_ident, ELFMAG, SELFMAG);
	k.h.e_ident[EI_CLASS] = ELFCLASS64;
	k.h.e_ident[EI_DATA] = ELFDATA2LSB;
	k.h.e_type = ET_EXEC;
	k.h.e_machine = EM_X86_64;
	k.h.e_phoff = offsetof(struct image, p);
	k.h.e_phentsize = sizeof(Elf64_Phdr);
	k.h.e_phnum = 3;
	k.p[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = TEXT_AT, .p_paddr = LOAD_GPA,
			       .p_filesz = TEXT_BYTES, .p_memsz = 0x3000 };
	k.p[1] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = TEXT_AT, .p_paddr = LOAD_GPA + 0x3000,
			       .p_filesz = TEXT_BYTES, .p_memsz = TEXT_BYTES };
	k.p[2] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = offsetof(struct image, note),
			       .p_filesz = sizeof(k.note), .p_align = 4 };
	k.note.n = (Elf64_Nhdr){ 4, 8, 18 };
	memcpy(k.note.name, "Xen", 4);
	k.note.entry = ENTRY;
	memset(k.text, 0x90, sizeof(k.text));
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
	ck_assert_uint_eq(b.entry, ENTRY);
	ck_assert_uint_eq(b.end, LOAD_GPA + 0x3000 + TEXT_BYTES);
	ck_assert_int_eq(memcmp(mem.r[0].hva + LOAD_GPA, k.text, TEXT_BYTES), 0);
	ck_assert_int_eq(mem.r[0].hva[LOAD_GPA + TEXT_BYTES], 0);
}
END_TEST

/* Linux writes the note's address with 4 bytes when it is a 32-bit build. */
START_TEST(short_note)
{
	struct image k = good();
	struct boot b;
	struct err e;

	k.note.n.n_descsz = 4;
	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), 0);
	ck_assert_uint_eq(b.entry, ENTRY);
}
END_TEST

#define LIES(X) \
	X("magic", k->h.e_ident[1] = 'X') \
	X("class", k->h.e_ident[EI_CLASS] = ELFCLASS32) \
	X("big endian", k->h.e_ident[EI_DATA] = ELFDATA2MSB) \
	X("machine", k->h.e_machine = EM_AARCH64) \
	X("type", k->h.e_type = ET_REL) \
	X("header size", k->h.e_phentsize = 1) \
	X("no headers", k->h.e_phnum = 0) \
	X("many headers", k->h.e_phnum = 65) \
	X("PN_XNUM", k->h.e_phnum = 0xffff) \
	X("headers outside", k->h.e_phoff = sizeof(*k) - 8) \
	X("headers far outside", k->h.e_phoff = UINT64_MAX - 8) \
	X("offset outside", k->p[0].p_offset = sizeof(*k) + 1) \
	X("offset wraps", k->p[0].p_offset = UINT64_MAX - 16) \
	X("file part outside", k->p[0].p_offset = sizeof(*k) - 1) \
	X("file part huge", k->p[0].p_filesz = k->p[0].p_memsz = UINT64_MAX) \
	X("file part above memory", k->p[0].p_memsz = TEXT_BYTES - 1) \
	X("file part without memory", k->p[0].p_memsz = 0) \
	X("memory huge", k->p[1].p_memsz = UINT64_MAX) \
	X("memory above RAM", k->p[1].p_memsz = RAM) \
	X("address above RAM", k->p[1].p_paddr = RAM) \
	X("address at the end of RAM", k->p[1].p_paddr = RAM - 1) \
	X("address wraps", k->p[1].p_paddr = UINT64_MAX - 4) \
	X("address over boot information", k->p[1].p_paddr = BOOT_INFO_GPA) \
	X("address zero", k->p[1].p_paddr = 0) \
	X("overlap in the middle", k->p[1].p_paddr = LOAD_GPA + 0x1000) \
	X("overlap by one byte", k->p[1].p_paddr = LOAD_GPA + 0x2fff) \
	X("the same place", k->p[1].p_paddr = LOAD_GPA) \
	X("no note", k->p[2].p_type = PT_NULL) \
	X("another note", k->note.n.n_type = 17) \
	X("another owner", k->note.name[0] = 'x') \
	X("note of 3 bytes", k->note.n.n_descsz = 3) \
	X("note's name outside", k->note.n.n_namesz = 0xfffffff0u) \
	X("note's name wraps", k->note.n.n_namesz = 0xffffffffu) \
	X("note's text outside", k->note.n.n_descsz = 9) \
	X("note's text huge", k->note.n.n_descsz = 0xffffffffu) \
	X("notes outside", k->p[2].p_offset = sizeof(*k) - 4) \
	X("notes huge", k->p[2].p_filesz = 1 << 20) \
	X("notes end in a header", k->p[2].p_filesz = 8) \
	X("entry above 4 GiB", k->note.entry = 1ull << 32 | ENTRY) \
	X("entry in no segment", k->note.entry = 0x100000) \
	X("entry behind the file part", k->note.entry = LOAD_GPA + TEXT_BYTES) \
	X("entry zero", k->note.entry = 0)

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

/* Cut at each byte: it never loads, and nothing is read behind the end. */
START_TEST(cut)
{
	struct image k = good();
	struct boot b;
	struct err e;
	size_t n;

	for (n = 0; n < sizeof(k); n += n < 300 ? 1 : 97)
		ck_assert_int_lt(load(&k, n, &b, &e), 0);
}
END_TEST

static const struct {
	const char *head;
	size_t len;
	int rc;
	const char *text;
} others[] = {
	{ "\x1f\x8b\x08", 3, -ENOTSUP, "gzip" },
	{ "\xfd" "7zXZ", 6, -ENOTSUP, "xz data" },
	{ "\x28\xb5\x2f\xfd", 4, -ENOTSUP, "zstd" },
	{ "BZh9", 4, -ENOTSUP, "bzip2" },
	{ "\x02\x21\x4c\x18", 4, -ENOTSUP, "lz4" },
	{ "070701", 6, -ENOTSUP, "cpio" },
	{ "MZ", 2, -ENOTSUP, "EFI" },
	{ "#!/bin/sh\n", 10, -ENOEXEC, "neither an ELF file nor a bzImage" },
	{ "\x7f" "EL", 3, -ENOEXEC, "neither an ELF file nor a bzImage" },
	{ "", 0, -ENOEXEC, "neither an ELF file nor a bzImage" },
	{ "B", 1, -ENOEXEC, "neither an ELF file nor a bzImage" },
};

START_TEST(other_formats)
{
	uint8_t image[4096] = { 0 };
	struct err e = { 0 };
	struct boot b;

	memcpy(image, others[_i].head, others[_i].len);
	ck_assert_int_eq(load(image, sizeof(image), &b, &e), others[_i].rc);
	ck_assert_msg(strstr(e.text, others[_i].text) != NULL, "%s", e.text);
	ck_assert_int_eq(load(image, others[_i].len, &b, &e), others[_i].rc);
	ck_assert_msg(strstr(e.text, others[_i].text) != NULL, "%s", e.text);
}
END_TEST

/* A vmlinux: it is entered at its ELF entry, with or without a PVH note. */
static struct image vmlinux(void)
{
	struct image k = good();

	k.note.n = (Elf64_Nhdr){ 6, 4, 0x101 };
	memcpy(&k.note.name, "Linux\0\0", 8);
	k.h.e_entry = LOAD_GPA;
	return k;
}

START_TEST(linux_entry)
{
	struct image k = vmlinux();
	struct boot b;
	struct err e;

	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), 0);
	ck_assert_int_eq(b.how, BOOT_LINUX);
	ck_assert_uint_eq(b.entry, LOAD_GPA);
	ck_assert_uint_eq(b.header_bytes, 0);
	k.h.e_entry = LOAD_GPA + TEXT_BYTES;
	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), -ENOEXEC);
	ck_assert_ptr_nonnull(strstr(e.text, "ELF entry"));
	k.h.e_entry = 0xffffffff81000000ull;
	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), -ENOEXEC);
	k = vmlinux();
	k.note.name[0] = 'l';
	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), -ENOEXEC);
}
END_TEST

/* The page tables of the 64-bit entry end at 1 GiB; those of PVH do not exist. */
START_TEST(too_high)
{
	struct image k = vmlinux();
	struct boot b;
	struct err e;

	gmem_done(&mem);
	ck_assert_int_eq(gmem_init(&mem, 2048 * MIB, &e), 0);
	k.p[1].p_paddr = BOOT_MAPPED_BYTES - k.p[1].p_memsz;
	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), 0);
	k.p[1].p_paddr++;
	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), -ENOEXEC);
	k = good();
	k.p[1].p_paddr = BOOT_MAPPED_BYTES;
	ck_assert_int_eq(load(&k, sizeof(k), &b, &e), 0);
	ck_assert_int_eq(b.how, BOOT_PVH);
}
END_TEST

START_TEST(initramfs)
{
	struct boot b = { .end = 0x400000 };
	int fd = memfd_create("initramfs", MFD_CLOEXEC);
	struct err e;

	ck_assert_int_eq(boot_load_initramfs(&mem, fd, &b, &e), 0);
	ck_assert_uint_eq(b.initrd_bytes, 0);
	ck_assert_int_eq(write(fd, "0707", 4), 4);
	ck_assert_int_eq(ftruncate(fd, 5001), 0);
	ck_assert_int_eq(boot_load_initramfs(&mem, fd, &b, &e), 0);
	ck_assert_uint_eq(b.initrd, RAM - 8192);
	ck_assert_uint_eq(b.initrd_bytes, 5001);
	ck_assert_int_eq(memcmp(mem.r[0].hva + b.initrd, "0707", 5), 0);
	ck_assert_int_eq(ftruncate(fd, RAM), 0);
	ck_assert_int_eq(boot_load_initramfs(&mem, fd, &b, &e), -ENOMEM);
	ck_assert_int_eq(ftruncate(fd, RAM + 4096), 0);
	ck_assert_int_eq(boot_load_initramfs(&mem, fd, &b, &e), -ENOMEM);
	ck_assert_int_eq(ftruncate(fd, 3ll << 30), 0);
	ck_assert_int_eq(boot_load_initramfs(&mem, fd, &b, &e), -EFBIG);
	close(fd);
	fd = memfd_create("x", MFD_CLOEXEC);
	close(fd);
	ck_assert_int_lt(boot_load_initramfs(&mem, fd, &b, &e), 0);
}
END_TEST

START_TEST(info)
{
	static char longest[4097];
	struct boot b = { .entry = 1 };
	struct err e;
	uint32_t magic;

	ck_assert_int_eq(boot_write_info(&mem, &b, "quiet", 0x1234, &e), 0);
	ck_assert_int_eq(gmem_read(&mem, BOOT_INFO_GPA, &magic, 4), 0);
	ck_assert_uint_eq(magic, 0x336ec578);
	ck_assert_str_eq((char *)mem.r[0].hva + BOOT_CMDLINE_GPA, "quiet");
	memset(longest, 'x', 4096);
	ck_assert_int_eq(boot_write_info(&mem, &b, longest, 0, &e), -E2BIG);
}
END_TEST

Suite *vmm_boot_suite(void)
{
	Suite *s = suite_create("vmm_boot");
	TCase *t = tcase_create("all");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, right);
	tcase_add_test(t, short_note);
	tcase_add_loop_test(t, liar, 0, (int)ARRAY_LEN(lies));
	tcase_add_test(t, cut);
	tcase_add_loop_test(t, other_formats, 0, (int)ARRAY_LEN(others));
	tcase_add_test(t, linux_entry);
	tcase_add_test(t, too_high);
	tcase_add_test(t, initramfs);
	tcase_add_test(t, info);
	suite_add_tcase(s, t);
	return s;
}
