// SPDX-License-Identifier: Apache-2.0
/* Kernels of a few bytes that can be loaded, and do nothing. */
#include "tests/fuzz/image.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <string.h>

#define MIB (1ull << 20)
#define TEXT_AT 512u
#define TEXT_GPA (2 * MIB)
#define NOTE_AT 256u
#define BZIMAGE_BYTES 4096u
#define SETUP_BYTES 1024u

/**
 * image_elf() - an ELF kernel: two segments of code, the second with memory behind it
 * @image: zeros, IMAGE_BYTES of them
 * @pvh:   it has a PVH entry, else a note of Linux
 *
 * Return: its bytes
 */
size_t image_elf(uint8_t *image, bool pvh)
{
	static const struct {
		Elf64_Nhdr n;
		char name[8];
		uint32_t desc;
	} linux_note = { { 6, 4, 0x101 }, "Linux", 0 };
	static const struct {
		Elf64_Nhdr n;
		char name[4];
		uint32_t entry;
	} pvh_note = { { 4, 4, 18 }, "Xen", TEXT_GPA };
	Elf64_Ehdr h = { .e_ident = ELFMAG, .e_type = ET_EXEC, .e_machine = EM_X86_64,
			 .e_entry = TEXT_GPA, .e_phoff = sizeof(h),
			 .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 3 };
	Elf64_Phdr p[3] = {
		{ .p_type = PT_LOAD, .p_offset = TEXT_AT, .p_paddr = TEXT_GPA,
		  .p_filesz = TEXT_AT, .p_memsz = TEXT_AT },
		{ .p_type = PT_LOAD, .p_offset = TEXT_AT, .p_paddr = TEXT_GPA + 4096,
		  .p_filesz = TEXT_AT, .p_memsz = 8192 },
		{ .p_type = PT_NOTE, .p_offset = NOTE_AT, .p_align = 4,
		  .p_filesz = pvh ? sizeof(pvh_note) : sizeof(linux_note) },
	};

	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(image, &h, sizeof(h));
	memcpy(image + sizeof(h), p, sizeof(p));
	if (pvh)
		memcpy(image + NOTE_AT, &pvh_note, sizeof(pvh_note));
	else
		memcpy(image + NOTE_AT, &linux_note, sizeof(linux_note));
	memset(image + TEXT_AT, 0xf4, TEXT_AT);
	return (size_t)2 * TEXT_AT;
}

/**
 * image_bzimage() - as image_elf(), of the other format
 */
size_t image_bzimage(uint8_t *image)
{
	struct setup_header h = { .setup_sects = 1, .syssize = (BZIMAGE_BYTES - SETUP_BYTES) / 16,
				  .boot_flag = 0xaa55, .jump = 0x6aeb, .version = 0x20f,
				  .loadflags = LOADED_HIGH, .initrd_addr_max = 0x7fffffff,
				  .xloadflags = XLF_KERNEL_64, .cmdline_size = 2047,
				  .pref_address = 16 * MIB, .init_size = 8 << 20 };

	memcpy(&h.header, "HdrS", 4);
	memcpy(image + 0x1f1, &h, sizeof(h));
	memset(image + SETUP_BYTES, 0xf4, BZIMAGE_BYTES - SETUP_BYTES);
	return BZIMAGE_BYTES;
}
