// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Guest RAM is private memory, anonymous as a rule, inside one PROT_NONE reservation:
 *
 *   guard | RAM from 0 | guard | RAM from 4 GiB | guard | pluggable | guard
 *
 * so that an access that runs off either end faults instead of reaching other
 * memory of the monitor. Regions keep the guest's alignment modulo the size of
 * huge pages, as those need it. RAM is left out of core dumps. Every guest
 * address goes through gmem_span(), which is the only place where one becomes a
 * pointer. Regions are apart for the guest, too: no range spans two of them.
 *
 * What the pages are is the pod's choice (struct gmem_policy). Those that the
 * host has reserved are counted against its pool when RAM is mapped, so that
 * no later access can fail for want of one; that promise is used up with the
 * first access to a page, so such a page is never given back.
 *
 * RAM that is a copy of a template's is mapped from its file (vmm/gmem-file.c), and
 * private all the same.
 *
 * Limits: 1 TiB of RAM, in steps of 2 MiB; 1 TiB that can be plugged.
 * Source: madvise(2), mmap(2); Linux Documentation/admin-guide/mm.
 */
#include "vmm/gmem.h"

#include <errno.h>
#include <linux/mman.h>
#include <string.h>
#include <sys/mman.h>

#define STEP_BYTES (2ull << 20)
#define GIB (1ull << 30)
#define RAM_MIN_BYTES (32ull << 20)
#define RAM_MAX_BYTES (1ull << 40)

/* Linux hot-plugs in blocks of up to this size, which begin at its multiples. */
#define HOT_ALIGN_BYTES (2ull << 30)

/* Size of a page for alignment: what is smaller than 2 MiB is aligned to that. */
static uint64_t unit(enum vmm_pages pages)
{
	return pages == VMM_PAGES_1G ? GIB : STEP_BYTES;
}

static bool is_reserved(enum vmm_pages pages)
{
	return pages == VMM_PAGES_2M || pages == VMM_PAGES_1G;
}

static int page_flags(enum vmm_pages pages)
{
	switch (pages) {
	case VMM_PAGES_2M:
		return MAP_HUGETLB | MAP_HUGE_2MB;
	case VMM_PAGES_1G:
		return MAP_HUGETLB | MAP_HUGE_1GB;
	case VMM_PAGES_HOST:
	case VMM_PAGES_NEVER:
	case VMM_PAGES_ALWAYS:
	case VMM_PAGES_KINDS:
	default:
		return MAP_NORESERVE;
	}
}

static int no_pages(uint64_t len, enum vmm_pages pages, struct err *e)
{
	bool gib = pages == VMM_PAGES_1G;
	unsigned long long n = len / unit(pages);

	return err_set(e, errno,
		       "guest RAM: the host has not %llu free pages of %s: reserve them in /sys/kernel/mm/hugepages/hugepages-%skB/nr_hugepages, or choose other pages",
		       n, gib ? "1 GiB" : "2 MiB", gib ? "1048576" : "2048");
}

static int advise(void *p, uint64_t len, const struct gmem_policy *o, struct err *e)
{
	if (madvise(p, len, MADV_DONTDUMP) < 0)
		return err_sys(e, "guest RAM: MADV_DONTDUMP");
	if (o->pages == VMM_PAGES_ALWAYS && madvise(p, len, MADV_HUGEPAGE) < 0)
		return err_sys(e, "guest RAM: MADV_HUGEPAGE (the host's kernel has no transparent huge pages?)");
	/* A kernel that has none needs no such advice. */
	if (o->pages == VMM_PAGES_NEVER && madvise(p, len, MADV_NOHUGEPAGE) < 0 &&
	    errno != EINVAL)
		return err_sys(e, "guest RAM: MADV_NOHUGEPAGE");
	if (o->merge && madvise(p, len, MADV_MERGEABLE) < 0)
		return err_sys(e, "guest RAM: MADV_MERGEABLE (the host's kernel has no KSM?)");
	return 0;
}

static int map_region(struct gmem *m, uint8_t *hva, uint64_t gpa, uint64_t len,
		      const struct gmem_policy *o, struct err *e)
{
	void *p = mmap(hva, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | page_flags(o->pages), -1, 0);
	int rc;

	if (p == MAP_FAILED && is_reserved(o->pages))
		return no_pages(len, o->pages, e);
	if (p == MAP_FAILED)
		return err_sys(e, "guest RAM of %llu MiB", (unsigned long long)len >> 20);
	if (o->clone && (rc = gmem_file_map(p, gmem_ram_bytes(m), len, o->fd, e)) < 0)
		return rc;
	rc = advise(p, len, o, e);
	if (rc < 0)
		return rc;
	if (o->prefault && madvise(p, len, MADV_POPULATE_WRITE) < 0)
		return err_sys(e, "guest RAM: prefault of %llu MiB (a host kernel before 5.14 cannot)",
			       (unsigned long long)len >> 20);
	m->r[m->n++] = (struct gmem_region){ .gpa = gpa, .len = len, .hva = p };
	return 0;
}

static int check_policy(const struct gmem_policy *o, struct err *e)
{
	uint64_t step = unit(o->pages);

	if ((unsigned int)o->pages >= VMM_PAGES_KINDS)
		return err_set(e, EINVAL, "kind of pages %u is unknown", o->pages);
	if (o->ram_bytes % step || o->ram_bytes < RAM_MIN_BYTES || o->ram_bytes > RAM_MAX_BYTES)
		return err_set(e, EINVAL,
			       "%llu bytes of RAM: give a multiple of %llu MiB from 32 MiB to 1 TiB",
			       (unsigned long long)o->ram_bytes, (unsigned long long)step >> 20);
	if (o->hotplug_bytes % VMM_HOTPLUG_STEP_BYTES || o->hotplug_bytes > RAM_MAX_BYTES)
		return err_set(e, EINVAL,
			       "hotplug_bytes %llu: give a multiple of %llu MiB up to 1 TiB",
			       (unsigned long long)o->hotplug_bytes, VMM_HOTPLUG_STEP_BYTES >> 20);
	if (is_reserved(o->pages) && o->merge)
		return err_set(e, EINVAL, "reserved huge pages cannot be merged: choose one of the two");
	if (is_reserved(o->pages) && o->hotplug_bytes)
		return err_set(e, EINVAL, "memory of reserved huge pages cannot grow: choose other pages, or hotplug_bytes 0");
	if (!o->clone)
		return 0;
	if (is_reserved(o->pages) || o->prefault)
		return err_set(e, EINVAL, "a template's memory is neither of reserved huge pages nor prefaulted: choose other pages");
	return gmem_file_check(o->fd, o->ram_bytes, e);
}

/* The pluggable region is 4 GiB or above, and not the neighbour of RAM. */
static uint64_t hot_gpa(const struct gmem *m)
{
	const struct gmem_region *last = &m->r[m->n - 1];

	if (m->n == 1)
		return GMEM_HIGH_GPA;
	return (last->gpa + last->len + HOT_ALIGN_BYTES) & ~(HOT_ALIGN_BYTES - 1);
}

static int map_all(struct gmem *g, const struct gmem_policy *o, struct err *e)
{
	uint64_t low = o->ram_bytes < GMEM_LOW_MAX_BYTES ? o->ram_bytes : GMEM_LOW_MAX_BYTES;
	uint64_t high = o->ram_bytes - low, gap = unit(o->pages);
	uint8_t *at = (uint8_t *)(((uintptr_t)g->map + 2 * gap - 1) & ~(gap - 1));
	int rc = map_region(g, at, 0, low, o, e);

	at += low + gap;
	if (rc < 0)
		return rc;
	if (high) {
		rc = map_region(g, at, GMEM_HIGH_GPA, high, o, e);
		at += high + gap;
	}
	if (rc < 0 || !o->hotplug_bytes)
		return rc;
	rc = gmem_hot_init(g, at, hot_gpa(g), o->hotplug_bytes, e);
	return rc < 0 ? rc : advise(at, o->hotplug_bytes, o, e);
}

/**
 * gmem_init_policy() - reserve and map guest RAM
 * @m: set on success only; owned by the caller, gmem_done(); with a pluggable region
 *     it stays where it is until then
 * @p: only read here
 *
 * Nothing is touched yet, unless @p asks for it.
 *
 * Return: 0; -EINVAL for a bad size or choices that exclude each other; -ENOMEM,
 * also when the host's reserved pages do not suffice
 * Context: before other threads are made: with a pluggable region it sets the
 * process's handler of SIGSEGV
 */
int gmem_init_policy(struct gmem *m, const struct gmem_policy *p, struct err *e)
{
	struct gmem g = { .reserved = is_reserved(p->pages), .hot.sweep_fd = -1 };
	int rc = check_policy(p, e);

	if (rc < 0)
		return rc;
	g.map_len = p->ram_bytes + p->hotplug_bytes + 5 * unit(p->pages);
	g.map = mmap(NULL, g.map_len, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (g.map == MAP_FAILED)
		return err_sys(e, "guest RAM: reserve %zu bytes", g.map_len);
	rc = map_all(&g, p, e);
	if (rc < 0) {
		gmem_done(&g);
		return rc;
	}
	*m = g;
	rc = m->hot.n ? gmem_hot_watch(m, e) : 0;
	if (rc < 0)
		gmem_done(m);
	return rc;
}

/**
 * gmem_init() - RAM of the host's usual pages that neither grows nor is merged
 *
 * As gmem_init_policy().
 */
int gmem_init(struct gmem *m, uint64_t ram_bytes, struct err *e)
{
	struct gmem_policy p = { .ram_bytes = ram_bytes };

	return gmem_init_policy(m, &p, e);
}

/**
 * gmem_done() - give guest RAM back; a zeroed or done one is fine
 */
void gmem_done(struct gmem *m)
{
	gmem_hot_done(m);
	if (m->map)
		munmap(m->map, m->map_len);
	memset(m, 0, sizeof(*m));
}

/**
 * gmem_ram_bytes() - RAM that the guest has from the start
 */
uint64_t gmem_ram_bytes(const struct gmem *m)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < m->n; i++)
		sum += m->r[i].len;
	return sum;
}

/**
 * gmem_span() - translate a guest range to host memory
 * @gpa:     guest physical address, bytes
 * @len:     length, bytes; 0 is refused
 * @ret_hva: host address, valid until gmem_done(); untouched on failure
 *
 * In the pluggable region only plugged blocks count. One that is unplugged later
 * may still be accessed by the address that was given out here (vmm/gmem-hot.c).
 *
 * Return: 0; -EFAULT if a byte of the range is not RAM or the sum wraps; -EINVAL if @len is 0
 * Context: any thread; does not block, allocate or log
 */
int gmem_span(const struct gmem *m, uint64_t gpa, uint64_t len, void **ret_hva)
{
	size_t i;

	if (!len)
		return -EINVAL;
	for (i = 0; i < m->n; i++) {
		const struct gmem_region *r = &m->r[i];

		if (gpa < r->gpa || gpa - r->gpa >= r->len)
			continue;
		if (len > r->len - (gpa - r->gpa))
			return -EFAULT;
		*ret_hva = r->hva + (gpa - r->gpa);
		return 0;
	}
	return gmem_hot_span(m, gpa, len, ret_hva);
}

/**
 * gmem_read() - copy out of guest RAM
 *
 * Return: 0; -EFAULT with @dst untouched
 */
int gmem_read(const struct gmem *m, uint64_t gpa, void *dst, size_t len)
{
	void *hva;

	if (!len)
		return 0;
	if (gmem_span(m, gpa, len, &hva) < 0)
		return -EFAULT;
	memcpy(dst, hva, len);
	return 0;
}

/**
 * gmem_write() - copy into guest RAM
 *
 * Return: 0; -EFAULT with guest RAM untouched
 */
int gmem_write(const struct gmem *m, uint64_t gpa, const void *src, size_t len)
{
	void *hva;

	if (!len)
		return 0;
	if (gmem_span(m, gpa, len, &hva) < 0)
		return -EFAULT;
	memcpy(hva, src, len);
	return 0;
}

/**
 * gmem_discard() - give pages of guest RAM back to the host
 * @hva: of a range from gmem_span(), a multiple of 4096, like @len
 *
 * They read as zeros then, or as in the template that RAM is a copy of.
 *
 * Return: 0; -EOPNOTSUPP for reserved pages, which stay as they are; minus errno
 * Context: any thread
 *
 * #syscalls madvise
 */
int gmem_discard(const struct gmem *m, void *hva, uint64_t len)
{
	if (m->reserved)
		return -EOPNOTSUPP;
	return madvise(hva, len, MADV_DONTNEED) < 0 ? -errno : 0;
}
