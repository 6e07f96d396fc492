// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: a virtio-balloon (virtio 1.2, section 5.5), by which a guest gives memory
 * back to the host in two ways:
 *
 *   inflate  the host names a size (balloon_target()); the driver takes as many
 *            pages out of use and sends their numbers
 *   report   the driver sends ranges that are free anyway, all the time; it may
 *            use them again as soon as the device has answered, and then finds zeros,
 *            or in the copy of a template what that had (vmm/template.c)
 *
 * Either way the pages are discarded before the answer, and a page costs the host
 * nothing until the guest touches it again. So deflating is advice that needs no
 * work here, and MUST_TELL_HOST is not offered. DEFLATE_ON_OOM is: a guest takes its
 * pages back before it kills for want of them.
 *
 * Page numbers are sorted and joined into ranges, since a system call costs more
 * than what it does to one page. A number that is not RAM, a list that ends within
 * a number, and a report that has no range break the device. What the pages hold is
 * not looked at: they are the guest's own.
 *
 * Pace. Discarding takes time by pages and by ranges. After BUDGET units of it the
 * device pauses for PAUSE_MS, also in the middle of a request, whatever the guest
 * notifies meanwhile; requests wait in their rings. One request at a time is
 * under way, and the queues take turns.
 *
 * PAGE_POISON: a driver that fills free pages with a value other than 0 must find
 * it in reported pages (section 5.5.6.6), so those stay as they are.
 *
 * Statistics: the driver leaves one buffer in the queue; the device holds it, and
 * gives it back when the host asks (balloon_state()); the next buffer has the new
 * numbers. What is in them is guest data. Tags 10 to 15 are those of Linux 6.12.
 *
 * Queues: Linux numbers only those queues whose features were accepted, so the
 * reports of a driver that got no FREE_PAGE_HINT come in queue 3; by the
 * specification they come in queue 4. Both are taken.
 */
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <time.h>

#include "lib/mem.h"
#include "lib/proc.h"
#include "vmm/virtio/config.h"
#include "vmm/virtio/pace.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vmm.h"

#define PCI_CLASS 0xff0000	/* unassigned class */
#define PAGE_BYTES 4096ull

enum { INFLATE, DEFLATE, STATS, REPORT_LINUX, REPORT, QUEUES };
#define QUEUES_WITHOUT_REPORT 3

/* A unit is a system call, or this many pages; about 2 us. */
#define UNIT_PAGES 64
#define BUDGET 1024u
#define PAUSE_MS 10

/* Page numbers that are sorted at a time, and bytes that are discarded at once. */
#define BATCH 256
#define SLICE_BYTES (16ull << 20)

/* Entries of a statistics buffer that are looked at. */
#define STATS_MAX 64

/**
 * struct balloon
 * @mem:     guest memory, borrowed
 * @chain:   request under way, of @queue, while @busy
 * @at:      how far it is: bytes of the list of an inflate; of report: index of
 *           the range, and @offset into it
 * @turn:    queue that is looked at first
 * @left:    units that this round has left
 * @not_before_ms: clock_ms() at which the pause ends
 * @held:    a statistics buffer is here, with head @stats_head
 * @poison:  value of free pages; 0 where the driver did not say
 * @m:       what balloon_state() tells
 */
struct balloon {
	struct virtio_dev d;
	struct virtq_chain chain;
	uint16_t queue;
	bool busy;
	uint64_t at, offset;
	unsigned int turn;
	unsigned int left;
	uint64_t not_before_ms;
	struct pace pace;
	bool held;
	uint16_t stats_head;
	uint32_t num_pages, actual, poison;
	struct vmm_memory m;
};

static struct balloon *balloon_of(struct virtio_dev *d)
{
	return (struct balloon *)d;
}

static void spend(struct balloon *b, uint64_t units)
{
	b->left = units < b->left ? b->left - (unsigned int)units : 0;
}

/* Return: bytes that went back to the host */
static uint64_t give_back(struct balloon *b, void *hva, uint64_t len)
{
	spend(b, 1 + len / PAGE_BYTES / UNIT_PAGES);
	if (gmem_discard(b->d.mem, hva, len) < 0)
		return 0;
	b->m.discards++;
	return len;
}

/* ---- inflate ------------------------------------------------------------------- */
static int discard_pages(struct balloon *b, uint64_t pfn, uint64_t n, struct err *e)
{
	void *hva;

	if (gmem_span(b->d.mem, pfn * PAGE_BYTES, n * PAGE_BYTES, &hva) < 0)
		return err_set(e, EPROTO, "a page number that is not RAM");
	b->m.inflated += give_back(b, hva, n * PAGE_BYTES);
	return 0;
}

/* Drivers send them in runs; @n is small. */
static void sort(uint32_t *v, size_t n)
{
	size_t i, k;

	for (i = 1; i < n; i++) {
		uint32_t x = v[i];

		for (k = i; k && v[k - 1] > x; k--)
			v[k] = v[k - 1];
		v[k] = x;
	}
}

static int discard_list(struct balloon *b, const uint32_t *pfn, size_t n, struct err *e)
{
	size_t i, from = 0;
	int rc = 0;

	for (i = 1; i <= n && !rc; i++) {
		/* A number that comes twice is no gap. */
		if (i < n && pfn[i] - pfn[i - 1] <= 1)
			continue;
		rc = discard_pages(b, pfn[from], pfn[i - 1] - pfn[from] + 1ull, e);
		from = i;
	}
	return rc;
}

/* Return: 1 at the end of the list; 0 if it goes on; -EPROTO */
static int inflate(struct balloon *b, struct err *e)
{
	uint32_t pfn[BATCH];
	size_t n;
	int rc;

	if (!b->chain.out_bytes || b->chain.out_bytes % sizeof(pfn[0]))
		return err_set(e, EPROTO, "a list of page numbers of %llu bytes",
			       (unsigned long long)b->chain.out_bytes);
	n = chain_read(&b->chain, b->at, pfn, sizeof(pfn));
	b->at += n;
	n /= sizeof(pfn[0]);
	sort(pfn, n);
	spend(b, n / UNIT_PAGES);
	rc = discard_list(b, pfn, n, e);
	return rc < 0 ? rc : b->at == b->chain.out_bytes;
}

/* ---- report -------------------------------------------------------------------- */
/* Takes the next piece of the ranges; those that follow on each other are one. */
static struct iovec next_piece(struct balloon *b)
{
	struct iovec v = { 0 };

	while (b->at < b->chain.n_in && v.iov_len < SLICE_BYTES) {
		const struct iovec *r = &b->chain.in[b->at];
		uint8_t *from = (uint8_t *)r->iov_base + b->offset;
		uint64_t len = r->iov_len - b->offset, room = SLICE_BYTES - v.iov_len;

		if (v.iov_len && from != (uint8_t *)v.iov_base + v.iov_len)
			break;
		if (!v.iov_len)
			v.iov_base = from;
		v.iov_len += len < room ? len : room;
		b->offset += len < room ? len : room;
		if (b->offset == r->iov_len) {
			b->at++;
			b->offset = 0;
		}
	}
	return v;
}

/* Return: as inflate() */
static int report(struct balloon *b, struct err *e)
{
	struct iovec v;
	uintptr_t from, to;

	if (!b->chain.in_bytes)
		return err_set(e, EPROTO, "a report without a range");
	if (b->poison)
		return 1;
	v = next_piece(b);
	/* Whole pages only. */
	from = ((uintptr_t)v.iov_base + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	to = ((uintptr_t)v.iov_base + v.iov_len) & ~(PAGE_BYTES - 1);
	spend(b, 1);
	if (from < to)
		b->m.reported += give_back(b, (void *)from, to - from);
	return b->at == b->chain.n_in;
}

/* ---- rounds -------------------------------------------------------------------- */
/* Takes a request from the queue whose turn it is. Return: as virtq_take() */
static int next_request(struct balloon *b, struct err *e)
{
	static const uint16_t queues[] = { INFLATE, DEFLATE, REPORT_LINUX, REPORT };
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(queues); i++) {
		uint16_t q = queues[(b->turn + i) % ARRAY_LEN(queues)];
		int rc = q < b->d.n_queues ? virtq_take(&b->d.q[q], &b->chain, e) : 0;

		if (!rc)
			continue;
		b->turn = (b->turn + i + 1) % ARRAY_LEN(queues);
		b->queue = q;
		b->busy = rc > 0;
		b->at = b->offset = 0;
		return rc;
	}
	return 0;
}

/* Works on the request under way. Return: 0 or -EPROTO */
static int work(struct balloon *b, struct err *e)
{
	int rc = 1;

	if (b->queue == INFLATE)
		rc = inflate(b, e);
	else if (b->queue == REPORT || b->queue == REPORT_LINUX)
		rc = report(b, e);
	if (rc <= 0)
		return rc;
	spend(b, 1);
	b->busy = false;
	virtq_push(&b->d.q[b->queue], b->chain.head, 0);
	virtio_notify(&b->d, b->queue);
	return 0;
}

static void serve(struct balloon *b)
{
	uint64_t now = clock_ms();
	struct err e;
	int rc = 1;

	if (now < b->not_before_ms) {
		pace_later(&b->pace, b->not_before_ms - now);
		return;
	}
	b->left = BUDGET;
	while (b->left && rc > 0) {
		rc = b->busy ? 1 : next_request(b, &e);
		if (rc > 0 && work(b, &e) < 0)
			rc = -EPROTO;
	}
	if (rc < 0) {
		virtio_broken(&b->d, e.text);
	} else if (rc) {
		b->not_before_ms = clock_ms() + PAUSE_MS;
		b->pace.queue = b->queue;
		pace_later(&b->pace, PAUSE_MS);
	}
}

/* ---- statistics ------------------------------------------------------------------ */
static void read_stats(struct balloon *b, const struct virtq_chain *c)
{
	struct virtio_balloon_stat s[STATS_MAX];
	size_t n = chain_read(c, 0, s, sizeof(s)) / sizeof(s[0]), i;
	struct timespec t;

	b->m.stats_mask = 0;
	for (i = 0; i < n; i++) {
		if (s[i].tag >= VMM_STAT_KINDS)
			continue;
		b->m.stat[s[i].tag] = s[i].val;
		b->m.stats_mask |= 1ull << s[i].tag;
	}
	clock_gettime(CLOCK_MONOTONIC, &t);
	b->m.stats_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Takes one buffer, and holds it. Others that a driver should not have sent wait. */
static void take_stats(struct balloon *b)
{
	struct virtq *q = &b->d.q[STATS];
	struct virtq_chain c;
	struct err e;
	int rc = b->held ? 0 : virtq_take(q, &c, &e);

	if (rc < 0)
		virtio_broken(&b->d, e.text);
	if (rc <= 0)
		return;
	read_stats(b, &c);
	b->held = true;
	b->stats_head = c.head;
	virtq_enable_kicks(q);
}

/* ---- device ---------------------------------------------------------------------- */
static void balloon_kick(struct virtio_dev *d, uint16_t q)
{
	if (q == STATS)
		take_stats(balloon_of(d));
	else
		serve(balloon_of(d));
}

static struct virtio_balloon_config config_of(const struct balloon *b)
{
	return (struct virtio_balloon_config){ .num_pages = b->num_pages, .actual = b->actual,
					       .poison_val = b->poison };
}

static void balloon_config_read(struct virtio_dev *d, uint32_t offset, void *buf, uint32_t len)
{
	struct virtio_balloon_config c = config_of(balloon_of(d));

	config_copy(&c, sizeof(c), offset, buf, len);
}

/* @actual at any time; @poison_val until DRIVER_OK (section 5.5.6.6.1); nothing else. */
static void balloon_config_write(struct virtio_dev *d, uint32_t offset, const void *buf,
				 uint32_t len)
{
	struct balloon *b = balloon_of(d);
	struct virtio_balloon_config c = config_of(b);

	if (offset >= sizeof(c) || len > sizeof(c) - offset)
		return;
	memcpy((uint8_t *)&c + offset, buf, len);
	b->actual = c.actual;
	if (!d->running && d->s.acked & 1ull << VIRTIO_BALLOON_F_PAGE_POISON)
		b->poison = c.poison_val;
}

/* What the driver put in the queues before DRIVER_OK may come without a kick. */
static void balloon_start(struct virtio_dev *d)
{
	pace_later(&balloon_of(d)->pace, 1);
}

/* The pause goes on, so that a driver does not get around it by resets. */
static bool balloon_stop(struct virtio_dev *d)
{
	struct balloon *b = balloon_of(d);

	b->busy = b->held = false;
	b->actual = b->poison = 0;
	return true;
}

static void balloon_free(struct virtio_dev *d)
{
	struct balloon *b = balloon_of(d);

	pace_done(&b->pace);
	pthread_mutex_destroy(&d->lock);
	free(b);
}

static const struct virtio_ops balloon_ops = {
	.name = "balloon",
	.device_id = VIRTIO_ID_BALLOON,
	.pci_class = PCI_CLASS,
	.n_queues = QUEUES,
	.one_vector = true,
	.config_read = balloon_config_read,
	.config_write = balloon_config_write,
	.start = balloon_start,
	.stop = balloon_stop,
	.kick = balloon_kick,
	.free = balloon_free,
};

/**
 * balloon_new() - a balloon that is empty
 * @report: offer free page reporting
 * @mem:    borrowed, outlives the device
 * @loop:   of the I/O thread, borrowed, outlives the device
 * @ret:    owned by the caller, freed by its ops
 *
 * Return: 0 or minus errno
 * Context: I/O thread, or before it runs
 * Source: virtio 1.2, section 5.5
 *
 * #syscalls madvise timerfd_create timerfd_settime epoll_ctl close
 */
int balloon_new(bool report_free, const struct gmem *mem, struct loop *loop,
		struct virtio_dev **ret, struct err *e)
{
	uint64_t f = 1ull << VIRTIO_BALLOON_F_STATS_VQ | 1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM;
	struct balloon *b = mem_new(struct balloon);
	int rc;

	if (!b)
		return err_set(e, ENOMEM, "out of memory");
	if (report_free)
		f |= 1ull << VIRTIO_BALLOON_F_REPORTING | 1ull << VIRTIO_BALLOON_F_PAGE_POISON;
	rc = virtio_init(&b->d, &balloon_ops, f, mem, loop);
	if (rc < 0) {
		free(b);
		return err_set(e, -rc, "balloon");
	}
	if (!report_free)
		virtio_set_queues(&b->d, QUEUES_WITHOUT_REPORT);
	rc = pace_init(&b->pace, &b->d, INFLATE, e);
	if (rc < 0) {
		pthread_mutex_destroy(&b->d.lock);
		free(b);
		return rc;
	}
	*ret = &b->d;
	return 0;
}

/**
 * balloon_target() - how much the guest shall give up
 * @bytes: multiple of 4096, less than its RAM
 *
 * Return: 0; -EINVAL
 * Context: I/O thread, @lock not held
 *
 * #syscalls none
 */
int balloon_target(struct virtio_dev *d, uint64_t bytes, struct err *e)
{
	uint64_t ram = gmem_ram_bytes(d->mem);

	if (bytes % PAGE_BYTES || bytes >= ram)
		return err_set(e, EINVAL, "balloon of %llu bytes: give a multiple of 4096 below %llu",
			       (unsigned long long)bytes, (unsigned long long)ram);
	pthread_mutex_lock(&d->lock);
	balloon_of(d)->num_pages = (uint32_t)(bytes / PAGE_BYTES);
	virtio_config_changed(d);
	pthread_mutex_unlock(&d->lock);
	return 0;
}

/**
 * balloon_state() - tell sizes and statistics, and ask the guest for new ones
 * @ret: the balloon's fields are set
 *
 * Context: I/O thread, @lock not held
 *
 * #syscalls none
 */
void balloon_state(struct virtio_dev *d, struct vmm_memory *ret)
{
	struct balloon *b = balloon_of(d);

	pthread_mutex_lock(&d->lock);
	take_stats(b);
	b->m.balloon_bytes = b->num_pages * PAGE_BYTES;
	b->m.balloon_actual = b->actual * PAGE_BYTES;
	*ret = b->m;
	if (b->held) {
		b->held = false;
		virtq_push(&d->q[STATS], b->stats_head, 0);
		virtio_notify(d, STATS);
	}
	pthread_mutex_unlock(&d->lock);
}
