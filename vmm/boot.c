// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Boots an uncompressed ELF64 kernel by its PVH entry: the note
 * XEN_ELFNOTE_PHYS32_ENTRY tells a 32-bit physical address that is entered in
 * protected mode without paging, with EBX pointing to struct hvm_start_info.
 * No firmware and no decompressor run.
 *
 * The file is read once, straight into guest RAM. Each header is copied out and
 * checked before it is used: a segment must lie in the file and in RAM above
 * 1 MiB and must not overlap another one; the entry must lie in the file part of
 * a segment. The initramfs goes to the top of low RAM. Boot information lies
 * where boot.h says, in memory that the memory map keeps from the guest.
 *
 * A random seed is not passed, since PVH has no place for one: the guest has
 * RDRAND and virtio-rng. bzImage is refused by name.
 *
 * Limits: 64 program headers, 64 KiB of notes, 2 GiB of kernel or initramfs.
 * Sources: System V ABI (ELF-64); Xen docs/misc/pvh.pandoc; Xen
 * public/arch-x86/hvm/start_info.h.
 */
#include "vmm/boot.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/mem.h"

#define PHDRS_MAX 64
#define NOTES_MAX_BYTES 65536u
#define FILE_MAX_BYTES (2ull << 30)
#define NOTE_PHYS32_ENTRY 18
#define PAGE_BYTES 4096ull

#define START_INFO_MAGIC 0x336ec578u
#define MEMMAP_RAM 1
#define MEMMAP_RESERVED 2

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct module_entry {
	uint64_t gpa, size, cmdline, reserved;
};

struct memmap_entry {
	uint64_t gpa, size;
	uint32_t type, reserved;
};

/* Everything at BOOT_INFO_GPA. */
struct info {
	struct start_info start;
	struct module_entry module;
	struct memmap_entry map[GMEM_REGIONS_MAX + 3];
};

static int read_at(int fd, void *buf, uint64_t len, uint64_t offset, struct err *e)
{
	uint64_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done,
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read");
		if (!n)
			return err_set(e, EINVAL, "the file ends early");
		done += (uint64_t)n;
	}
	return 0;
}

static int file_size(int fd, uint64_t *ret, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "fstat");
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "not a regular file");
	if ((uint64_t)st.st_size > FILE_MAX_BYTES)
		return err_set(e, EFBIG, "larger than 2 GiB");
	*ret = (uint64_t)st.st_size;
	return 0;
}

/* Tells people what they gave instead of an ELF file. */
static int refuse_format(int fd, const uint8_t *head, struct err *e)
{
	uint8_t magic[4] = { 0 };

	if (pread(fd, magic, 4, 0x202) == 4 && !memcmp(magic, "HdrS", 4))
		return err_set(e, ENOTSUP,
			       "this is a bzImage; give the uncompressed ELF vmlinux that is inside of it");
	if (head[0] == 0x1f && head[1] == 0x8b)
		return err_set(e, ENOTSUP, "this is gzip data; give the uncompressed ELF vmlinux");
	return err_set(e, ENOEXEC, "not an ELF file; give an uncompressed ELF64 vmlinux for x86-64");
}

static int read_head(int fd, uint64_t size, Elf64_Ehdr *h, struct err *e)
{
	int rc;

	if (size < sizeof(*h))
		return err_set(e, ENOEXEC, "not an ELF file: %llu bytes",
			       (unsigned long long)size);
	rc = read_at(fd, h, sizeof(*h), 0, e);
	if (rc < 0)
		return rc;
	if (memcmp(h->e_ident, ELFMAG, SELFMAG))
		return refuse_format(fd, h->e_ident, e);
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

		if (p[i].p_type != PT_LOAD || !p[i].p_memsz)
			continue;
		rc = check_segment(m, p, i, size, &hva, e);
		if (rc < 0)
			return rc;
		rc = read_at(fd, hva, p[i].p_filesz, p[i].p_offset, e);
		if (rc < 0)
			return err_wrap(e, "segment %zu", i);
		if (p[i].p_paddr + p[i].p_memsz > b->end)
			b->end = p[i].p_paddr + p[i].p_memsz;
	}
	return 0;
}

/*
 * Looks for the PVH note in a note segment.
 * Return: 1 and the entry; 0 if it is not there; -ENOEXEC for notes that lie
 */
static int parse_notes(const uint8_t *p, size_t len, size_t align, uint32_t *ret,
		       struct err *e)
{
	size_t at = 0;

	while (len - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr n;
		size_t name, desc;

		memcpy(&n, p + at, sizeof(n));
		name = at + sizeof(n);
		desc = name + (((size_t)n.n_namesz + align - 1) & ~(align - 1));
		if (desc > len || n.n_descsz > len - desc)
			return err_set(e, ENOEXEC, "a note lies outside of its segment");
		if (n.n_type == NOTE_PHYS32_ENTRY && n.n_namesz == 4 &&
		    !memcmp(p + name, "Xen", 4)) {
			uint64_t entry = 0;

			if (n.n_descsz != 4 && n.n_descsz != 8)
				return err_set(e, ENOEXEC, "PVH note of %u bytes", n.n_descsz);
			memcpy(&entry, p + desc, n.n_descsz);
			if (entry > UINT32_MAX)
				return err_set(e, ENOEXEC, "PVH entry %#llx is above 4 GiB",
					       (unsigned long long)entry);
			*ret = (uint32_t)entry;
			return 1;
		}
		at = desc + (((size_t)n.n_descsz + align - 1) & ~(align - 1));
		if (at > len)
			break;
	}
	return 0;
}

static int find_entry(int fd, uint64_t size, const Elf64_Phdr *p, size_t n,
		      uint32_t *ret, struct err *e)
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
		rc = read_at(fd, text, p[i].p_filesz, p[i].p_offset, e);
		if (!rc)
			rc = parse_notes(text, p[i].p_filesz, p[i].p_align == 8 ? 8 : 4, ret, e);
		if (rc)
			return rc < 0 ? rc : 0;
	}
	return err_set(e, ENOEXEC,
		       "no PVH entry; build the kernel with CONFIG_PVH=y and keep its notes");
}

static bool in_file_part(const Elf64_Phdr *p, size_t n, uint32_t entry)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (p[i].p_type == PT_LOAD && entry >= p[i].p_paddr &&
		    entry - p[i].p_paddr < p[i].p_filesz)
			return true;
	return false;
}

/**
 * boot_load_kernel() - read an ELF kernel into guest RAM
 * @m:   fresh guest RAM: what a segment has beyond the file is taken to be zero
 * @fd:  regular file, borrowed
 * @ret: entry and end; untouched on failure
 *
 * Return: 0; -ENOEXEC for an ELF that lies or has no PVH entry, -ENOTSUP for
 * another known format, minus errno
 */
int boot_load_kernel(const struct gmem *m, int fd, struct boot *ret, struct err *e)
{
	_cleanup_free_ Elf64_Phdr *p = NULL;
	struct boot b = { 0 };
	uint64_t size;
	Elf64_Ehdr h;
	int rc;

	if ((rc = file_size(fd, &size, e)) < 0 || (rc = read_head(fd, size, &h, e)) < 0)
		return err_wrap(e, "kernel");
	p = mem_new_n(Elf64_Phdr, h.e_phnum);
	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	if ((rc = read_at(fd, p, h.e_phnum * sizeof(*p), h.e_phoff, e)) < 0 ||
	    (rc = find_entry(fd, size, p, h.e_phnum, &b.entry, e)) < 0 ||
	    (rc = load_segments(m, fd, size, p, h.e_phnum, &b, e)) < 0)
		return err_wrap(e, "kernel");
	if (!in_file_part(p, h.e_phnum, b.entry))
		return err_set(e, ENOEXEC, "kernel: PVH entry %#x is not in a segment", b.entry);
	*ret = b;
	return 0;
}

/**
 * boot_load_initramfs() - read an initramfs to the top of low RAM
 * @fd: regular file, borrowed; an empty one is no initramfs
 * @b:  from boot_load_kernel(); gets @initrd, @initrd_bytes
 *
 * Return: 0; -ENOMEM if it does not fit; minus errno
 */
int boot_load_initramfs(const struct gmem *m, int fd, struct boot *b, struct err *e)
{
	uint64_t size, at, top = m->r[0].gpa + m->r[0].len;
	void *hva;
	int rc;

	rc = file_size(fd, &size, e);
	if (rc < 0)
		return err_wrap(e, "initramfs");
	b->initrd = 0;
	b->initrd_bytes = 0;
	if (!size)
		return 0;
	at = size > top ? 0 : (top - size) & ~(PAGE_BYTES - 1);
	if (at < b->end || gmem_span(m, at, size, &hva) < 0)
		return err_set(e, ENOMEM,
			       "initramfs of %llu KiB does not fit behind the kernel; give the machine more memory",
			       (unsigned long long)size >> 10);
	rc = read_at(fd, hva, size, 0, e);
	if (rc < 0)
		return err_wrap(e, "initramfs");
	b->initrd = at;
	b->initrd_bytes = size;
	return 0;
}

static void add_map(struct info *s, uint64_t gpa, uint64_t end, uint32_t type)
{
	s->map[s->start.memmap_entries++] = (struct memmap_entry){
		.gpa = gpa, .size = end - gpa, .type = type };
}

/**
 * boot_write_info() - write what the PVH entry wants to find
 * @cmdline:  shorter than a page
 * @rsdp_gpa: of the ACPI root pointer
 *
 * Return: 0; -E2BIG for a command line that does not fit
 */
int boot_write_info(const struct gmem *m, const struct boot *b, const char *cmdline,
		    uint64_t rsdp_gpa, struct err *e)
{
	struct info s = { .start = { .magic = START_INFO_MAGIC, .version = 1,
				     .cmdline = BOOT_CMDLINE_GPA, .rsdp = rsdp_gpa } };
	size_t len = strlen(cmdline) + 1, i;

	if (len > BOOT_ACPI_GPA - BOOT_CMDLINE_GPA)
		return err_set(e, E2BIG, "kernel command line of %zu bytes", len);
	s.start.memmap = BOOT_INFO_GPA + offsetof(struct info, map);
	if (b->initrd_bytes) {
		s.start.nr_modules = 1;
		s.start.modlist = BOOT_INFO_GPA + offsetof(struct info, module);
		s.module.gpa = b->initrd;
		s.module.size = b->initrd_bytes;
	}
	add_map(&s, 0, BOOT_INFO_GPA, MEMMAP_RAM);
	add_map(&s, BOOT_INFO_GPA, BOOT_HIGH_GPA, MEMMAP_RESERVED);
	add_map(&s, BOOT_HIGH_GPA, m->r[0].len, MEMMAP_RAM);
	for (i = 1; i < m->n; i++)
		add_map(&s, m->r[i].gpa, m->r[i].gpa + m->r[i].len, MEMMAP_RAM);
	if (gmem_write(m, BOOT_INFO_GPA, &s, sizeof(s)) < 0 ||
	    gmem_write(m, BOOT_CMDLINE_GPA, cmdline, len) < 0)
		return err_set(e, EFAULT, "boot information does not fit into RAM");
	return 0;
}
