// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Loads an uncompressed ELF64 kernel. No firmware and no decompressor run. There
 * are two ways in, and the notes of the file tell which:
 *
 *   - a note of the owner "Linux" (each vmlinux since 4.19 has one): the ELF
 *     entry, in 64-bit mode with boot parameters, where the kernel's own
 *     decompressor and kexec enter it, too. It takes a random seed, and it does
 *     not look for Xen, which costs 256 CPUID exits;
 *   - else XEN_ELFNOTE_PHYS32_ENTRY: the PVH entry, a 32-bit physical address.
 *
 * Each header is copied out and checked before it is used: a segment must lie in
 * the file and in RAM above 1 MiB and must not overlap another one; the entry
 * must lie in the file part of a segment.
 *
 * Limits: 64 program headers, 64 KiB of notes.
 * Sources: System V ABI (ELF-64); Xen docs/misc/pvh.pandoc; Linux
 * arch/x86/kernel/head_64.S, startup_64.
 */
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lib/mem.h"
#include "vmm/boot-impl.h"

#define PHDRS_MAX 64
#define NOTES_MAX_BYTES 65536u
#define NOTE_PHYS32_ENTRY 18

/* What the notes of a file tell. */
struct notes {
	bool linux_kernel;
	bool pvh;
	uint32_t pvh_entry;
};

static int read_head(int fd, uint64_t size, Elf64_Ehdr *h, struct err *e)
{
	int rc;

	if (size < sizeof(*h))
		return err_set(e, ENOEXEC, "not an ELF file: %llu bytes",
			       (unsigned long long)size);
	rc = boot_read_at(fd, h, sizeof(*h), 0, e);
	if (rc < 0)
		return rc;
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB ||
	    h->e_machine != EM_X86_64)
		return err_set(e, ENOEXEC, "not an ELF64 file for x86-64");
	if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
		return err_set(e, ENOEXEC, "ELF type %u is not an executable", h->e_type);
	if (h->e_phentsize != sizeof(Elf64_Phdr) || !h->e_phnum || h->e_phnum > PHDRS_MAX)
		return err_set(e, ENOEXEC, "%u program headers of %u bytes: 1 to %d of %zu are taken",
			       h->e_phnum, h->e_phentsize, PHDRS_MAX, sizeof(Elf64_Phdr));
	if (h->e_phoff > size || h->e_phnum * sizeof(Elf64_Phdr) > size - h->e_phoff)
		return err_set(e, ENOEXEC, "program headers lie outside of the file");
	return 0;
}

/* Is the segment in the file, in RAM, and apart from the @n before it? */
static int check_segment(const struct gmem *m, const Elf64_Phdr *p, size_t n,
			 uint64_t size, void **ret_hva, struct err *e)
{
	const Elf64_Phdr *s = &p[n];
	size_t i;

	if (s->p_filesz > s->p_memsz)
		return err_set(e, ENOEXEC, "segment %zu: more bytes in the file than in memory", n);
	if (s->p_offset > size || s->p_filesz > size - s->p_offset)
		return err_set(e, ENOEXEC, "segment %zu lies outside of the file", n);
	if (s->p_paddr < BOOT_HIGH_GPA)
		return err_set(e, ENOEXEC, "segment %zu: address %#llx is below 1 MiB", n,
			       (unsigned long long)s->p_paddr);
	if (gmem_span(m, s->p_paddr, s->p_memsz, ret_hva) < 0)
		return err_set(e, ENOEXEC,
			       "segment %zu: %#llx bytes at %#llx do not fit into RAM; give the machine more memory",
			       n, (unsigned long long)s->p_memsz, (unsigned long long)s->p_paddr);
	for (i = 0; i < n; i++)
		if (p[i].p_type == PT_LOAD && p[i].p_memsz &&
		    s->p_paddr < p[i].p_paddr + p[i].p_memsz &&
		    p[i].p_paddr < s->p_paddr + s->p_memsz)
			return err_set(e, ENOEXEC, "segments %zu and %zu overlap", i, n);
	return 0;
}

static int load_segments(const struct gmem *m, int fd, uint64_t size,
			 const Elf64_Phdr *p, size_t n, struct boot *b, struct err *e)
{
	size_t i;

	for (i = 0; i < n; i++) {
		void *hva;
		int rc;

		if (p[i].p_type != PT_LOAD || (!p[i].p_memsz && !p[i].p_filesz))
			continue;
		rc = check_segment(m, p, i, size, &hva, e);
		if (rc < 0)
			return rc;
		rc = boot_read_at(fd, hva, p[i].p_filesz, p[i].p_offset, e);
		if (rc < 0)
			return err_wrap(e, "segment %zu", i);
		if (p[i].p_paddr + p[i].p_memsz > b->end)
			b->end = p[i].p_paddr + p[i].p_memsz;
	}
	return 0;
}

static bool is_owner(const uint8_t *name, uint32_t len, const char *owner)
{
	return len == strlen(owner) + 1 && !memcmp(name, owner, len);
}

static int take_pvh(struct notes *r, const uint8_t *desc, uint32_t len, struct err *e)
{
	uint64_t entry = 0;

	if (len != 4 && len != 8)
		return err_set(e, ENOEXEC, "PVH note of %u bytes", len);
	memcpy(&entry, desc, len);
	if (entry > UINT32_MAX)
		return err_set(e, ENOEXEC, "PVH entry %#llx is above 4 GiB",
			       (unsigned long long)entry);
	r->pvh = true;
	r->pvh_entry = (uint32_t)entry;
	return 0;
}

static int parse_notes(const uint8_t *p, size_t len, size_t align, struct notes *r,
		       struct err *e)
{
	size_t at = 0;

	while (len - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr n;
		size_t name, desc;
		int rc;

		memcpy(&n, p + at, sizeof(n));
		name = at + sizeof(n);
		desc = name + (((size_t)n.n_namesz + align - 1) & ~(align - 1));
		if (desc > len || n.n_descsz > len - desc)
			return err_set(e, ENOEXEC, "a note lies outside of its segment");
		if (is_owner(p + name, n.n_namesz, "Linux"))
			r->linux_kernel = true;
		if (!r->pvh && n.n_type == NOTE_PHYS32_ENTRY && is_owner(p + name, n.n_namesz, "Xen")) {
			rc = take_pvh(r, p + desc, n.n_descsz, e);
			if (rc < 0)
				return rc;
		}
		at = desc + (((size_t)n.n_descsz + align - 1) & ~(align - 1));
		if (at > len)
			break;
	}
	return 0;
}

static int read_notes(int fd, uint64_t size, const Elf64_Phdr *p, size_t n, struct notes *ret,
		      struct err *e)
{
	size_t i;

	for (i = 0; i < n; i++) {
		_cleanup_free_ uint8_t *text = NULL;
		int rc;

		if (p[i].p_type != PT_NOTE || !p[i].p_filesz)
			continue;
		if (p[i].p_filesz > NOTES_MAX_BYTES)
			return err_set(e, ENOEXEC, "segment %zu: more than 64 KiB of notes", i);
		if (p[i].p_offset > size || p[i].p_filesz > size - p[i].p_offset)
			return err_set(e, ENOEXEC, "segment %zu lies outside of the file", i);
		text = malloc(p[i].p_filesz);
		if (!text)
			return err_set(e, ENOMEM, "out of memory");
		if ((rc = boot_read_at(fd, text, p[i].p_filesz, p[i].p_offset, e)) < 0 ||
		    (rc = parse_notes(text, p[i].p_filesz, p[i].p_align == 8 ? 8 : 4, ret, e)) < 0)
			return rc;
	}
	return 0;
}

static bool in_file_part(const Elf64_Phdr *p, size_t n, uint64_t entry)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (p[i].p_type == PT_LOAD && entry >= p[i].p_paddr &&
		    entry - p[i].p_paddr < p[i].p_filesz)
			return true;
	return false;
}

static int choose_entry(const Elf64_Ehdr *h, const Elf64_Phdr *p, const struct notes *notes,
			struct boot *b, struct err *e)
{
	if (!notes->linux_kernel && !notes->pvh)
		return err_set(e, ENOEXEC,
			       "neither a note of Linux nor a PVH entry; keep the notes of the kernel, or build it with CONFIG_PVH=y");
	b->how = notes->linux_kernel ? BOOT_LINUX : BOOT_PVH;
	b->entry = notes->linux_kernel ? h->e_entry : notes->pvh_entry;
	if (!in_file_part(p, h->e_phnum, b->entry))
		return err_set(e, ENOEXEC, "%s entry %#llx is not in a segment",
			       b->how == BOOT_LINUX ? "ELF" : "PVH",
			       (unsigned long long)b->entry);
	if (b->how == BOOT_LINUX && b->end > BOOT_MAPPED_BYTES)
		return err_set(e, ENOEXEC, "the kernel ends at %#llx; 1 GiB is the limit",
			       (unsigned long long)b->end);
	return 0;
}

/**
 * boot_elf_load() - read an ELF kernel into guest RAM
 * @m:    fresh guest RAM
 * @fd:   borrowed
 * @size: of the file, bytes
 * @ret:  zeroed; may be half filled on failure
 *
 * Return: 0; -ENOEXEC for an ELF that lies or has no entry that we know; minus errno
 */
int boot_elf_load(const struct gmem *m, int fd, uint64_t size, struct boot *ret, struct err *e)
{
	_cleanup_free_ Elf64_Phdr *p = NULL;
	struct notes notes = { 0 };
	Elf64_Ehdr h;
	int rc = read_head(fd, size, &h, e);

	if (rc < 0)
		return rc;
	p = mem_new_n(Elf64_Phdr, h.e_phnum);
	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	if ((rc = boot_read_at(fd, p, h.e_phnum * sizeof(*p), h.e_phoff, e)) < 0 ||
	    (rc = read_notes(fd, size, p, h.e_phnum, &notes, e)) < 0 ||
	    (rc = load_segments(m, fd, size, p, h.e_phnum, ret, e)) < 0)
		return rc;
	return choose_entry(&h, p, &notes, ret, e);
}
