// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Guest RAM is private anonymous memory inside one PROT_NONE reservation:
 *
 *   guard | RAM from 0 | guard | RAM from 4 GiB | guard
 *
 * so that an access that runs off either end faults instead of reaching other
 * memory of the monitor. Regions keep the guest's alignment modulo 2 MiB, as
 * huge pages need it. RAM is left out of core dumps. Every guest address goes
 * through gmem_span(), which is the only place where one becomes a pointer.
 *
 * Limits: 1 TiB of RAM, in steps of 2 MiB.
 */
#include "vmm/gmem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define STEP_BYTES (2ull << 20)
#define RAM_MIN_BYTES (32ull << 20)
#define RAM_MAX_BYTES (1ull << 40)

static int map_region(struct gmem *m, uint8_t *hva, uint64_t gpa, uint64_t len,
		      struct err *e)
{
	void *p = mmap(hva, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	if (p == MAP_FAILED)
		return err_sys(e, "guest RAM of %llu MiB", (unsigned long long)len >> 20);
	if (madvise(p, len, MADV_DONTDUMP) < 0)
		return err_sys(e, "guest RAM: MADV_DONTDUMP");
	m->r[m->n++] = (struct gmem_region){ .gpa = gpa, .len = len, .hva = p };
	return 0;
}

/**
 * gmem_init() - reserve and map guest RAM; nothing is touched yet
 * @m:         set on success only; owned by the caller, gmem_done()
 * @ram_bytes: multiple of 2 MiB, from 32 MiB to 1 TiB
 *
 * Return: 0; -EINVAL for a bad size; -ENOMEM
 */
int gmem_init(struct gmem *m, uint64_t ram_bytes, struct err *e)
{
	uint64_t low = ram_bytes < GMEM_LOW_MAX_BYTES ? ram_bytes : GMEM_LOW_MAX_BYTES;
	struct gmem g = { 0 };
	uint8_t *base;
	int rc;

	if (ram_bytes % STEP_BYTES || ram_bytes < RAM_MIN_BYTES || ram_bytes > RAM_MAX_BYTES)
		return err_set(e, EINVAL,
			       "%llu bytes of RAM: give a multiple of 2 MiB from 32 MiB to 1 TiB",
			       (unsigned long long)ram_bytes);
	g.map_len = ram_bytes + 4 * STEP_BYTES;
	g.map = mmap(NULL, g.map_len, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (g.map == MAP_FAILED)
		return err_sys(e, "guest RAM: reserve %zu bytes", g.map_len);
	base = (uint8_t *)(((uintptr_t)g.map + 2 * STEP_BYTES - 1) & ~(STEP_BYTES - 1));
	rc = map_region(&g, base, 0, low, e);
	if (!rc && ram_bytes > low)
		rc = map_region(&g, base + low + STEP_BYTES, GMEM_HIGH_GPA,
				ram_bytes - low, e);
	if (rc < 0) {
		gmem_done(&g);
		return rc;
	}
	*m = g;
	return 0;
}

/**
 * gmem_done() - give guest RAM back; a zeroed or done one is fine
 */
void gmem_done(struct gmem *m)
{
	if (m->map)
		munmap(m->map, m->map_len);
	memset(m, 0, sizeof(*m));
}

/**
 * gmem_span() - translate a guest range to host memory
 * @gpa:     guest physical address, bytes
 * @len:     length, bytes; 0 is refused
 * @ret_hva: host address, valid until gmem_done(); untouched on failure
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
	return -EFAULT;
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
