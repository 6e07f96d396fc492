// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A hostile driver made of the fuzzer's bytes. A device sits behind its real
 * PCI transport; the input is a list of steps, one byte each with their
 * operands behind it: registers of any width and offset are read and written,
 * guest memory is written, descriptors and ring entries are laid out half
 * honestly (so that an input gets behind the first check), queues are notified,
 * the I/O thread's loop runs, the device is reset and set up again, the back end
 * does something.
 *
 * An input begins with the size of the queues and the features to take, and the
 * device is driven to DRIVER_OK with these, through its registers.
 *
 * Memory is fresh and zero for each input. What is a find: a sanitizer's report,
 * a loop that does not come to rest, a monitor that ended.
 */
#include "tests/fuzz/drive.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"

/* Where the parts of queues lie, one queue behind the other, and the buffers. */
#define RINGS_GPA 0x10000ull
#define RINGS_STEP 0x4000ull
#define AVAIL_AT 0x1000u
#define USED_AT 0x2000u
#define BUFFERS_GPA 0x100000ull
#define BUFFERS_BYTES 0x10000u

/* Registers of the common configuration (virtio 1.2, section 4.1.4.3). */
enum { FEATURE_SELECT = 0, FEATURE = 4, DRIVER_SELECT = 8, DRIVER = 12, STATUS = 20,
       SELECT = 22, SIZE = 24, VECTOR = 26, ENABLE = 28, ADDRESSES = 32 };

#define STATUS_DRIVER 3
#define STATUS_FEATURES_OK 11
#define STATUS_DRIVER_OK 15

/* Requests of one input, and turns of the loop after one step. */
#define STEPS_MAX 400
#define TURNS_MAX 20000

/* How often an input may wait for timers. */
#define WAITS_MAX 2

/**
 * fuzz_take() - the next number of an input, little endian; zeros behind its end
 * @bytes: up to 8
 */
uint64_t fuzz_take(struct fuzz *f, size_t bytes)
{
	uint64_t v = 0;

	fuzz_take_bytes(f, &v, bytes);
	return v;
}

/**
 * fuzz_take_bytes() - the next bytes of an input
 *
 * Return: how many there were
 */
size_t fuzz_take_bytes(struct fuzz *f, void *dst, size_t len)
{
	size_t n = len < f->len ? len : f->len;

	memcpy(dst, f->data, n);
	f->data += n;
	f->len -= n;
	return n;
}

/**
 * fuzz_odd() - true once in a while: here the input wants something strange
 */
bool fuzz_odd(struct fuzz *f)
{
	return fuzz_take(f, 1) > 240;
}

/**
 * message_add() - append device-readable bytes; what has no room is cut off
 */
void message_add(struct message *m, const void *src, size_t len)
{
	size_t room = sizeof(m->out) - m->out_len;

	len = len < room ? len : room;
	memcpy(m->out + m->out_len, src, len);
	m->out_len += len;
}

static void no_msi(void *arg, uint64_t address, uint32_t data)
{
	(void)arg;
	(void)address;
	(void)data;
}

/* Every other binding fails, so that notifications come both ways. */
static int bind_some(void *arg, uint64_t gpa, int fd, bool on)
{
	(void)arg;
	(void)fd;
	return on && gpa & VPCI_NOTIFY_STEP ? -ENOSPC : 0;
}

static void die(const char *what)
{
	fprintf(stderr, "drive: %s\n", what);
	abort();
}

/**
 * drive_begin() - memory, bus and loop for one input
 * @t: zeroed, but for @hotplug_bytes and its functions
 */
void drive_begin(struct drive *t, const uint8_t *data, size_t len)
{
	static const struct irq_ops irq = { .msi = no_msi };
	struct gmem_policy p = { .ram_bytes = GMEM_LOW_MAX_BYTES + (2ull << 20),
				 .hotplug_bytes = t->hotplug_bytes };
	struct err e;

	signal(SIGPIPE, SIG_IGN); /* as the monitor does */
	log_open(-1, LOG_LEVEL_ERROR, false);
	t->in = (struct fuzz){ data, len };
	t->host = (struct vpci_host){ .irq = &irq, .bind = bind_some, .arg = t };
	t->waits = WAITS_MAX;
	if (gmem_init_policy(&t->mem, &p, &e) < 0 ||
	    loop_new(&t->loop, &e) < 0 || pci_init(&t->bus, &e) < 0)
		die(e.text);
}

static void wr(struct drive *t, uint32_t offset, uint32_t len, uint64_t value)
{
	t->v->fn.ops->bar_write(&t->v->fn, offset, &value, len);
}

static void write_ram(struct drive *t, uint64_t gpa, const void *src, size_t len)
{
	gmem_write(&t->mem, gpa, src, len);
}

static uint64_t ring_gpa(const struct drive *t, uint16_t q)
{
	return t->rings + RINGS_STEP * q;
}

static void set_up_queue(struct drive *t, uint16_t q, uint16_t size)
{
	const uint64_t at[] = { ring_gpa(t, q), ring_gpa(t, q) + AVAIL_AT, ring_gpa(t, q) + USED_AT };
	uint32_t i;

	wr(t, SELECT, 2, q);
	wr(t, SIZE, 2, size);
	wr(t, VECTOR, 2, q);
	for (i = 0; i < ARRAY_LEN(at); i++) {
		wr(t, ADDRESSES + 8 * i, 4, (uint32_t)at[i]);
		wr(t, ADDRESSES + 8 * i + 4, 4, at[i] >> 32);
	}
	wr(t, ENABLE, 2, 1);
}

/*
 * Drives the device to DRIVER_OK as the input wants it, with queues in memory that
 * can be plugged, or not.
 */
static void set_up(struct drive *t)
{
	uint8_t how = (uint8_t)fuzz_take(&t->in, 1);
	uint16_t size = (uint16_t)(1u << (how & 7)), q;
	uint64_t features = fuzz_take(&t->in, 8);

	t->rings = RINGS_GPA + (how & 128 ? t->mem.hot.r.gpa : 0);
	wr(t, STATUS, 1, 0);
	wr(t, STATUS, 1, STATUS_DRIVER);
	features = (features & t->v->dev->s.offered) | 1ull << 32;
	wr(t, DRIVER_SELECT, 4, 0);
	wr(t, DRIVER, 4, (uint32_t)features);
	wr(t, DRIVER_SELECT, 4, 1);
	wr(t, DRIVER, 4, features >> 32);
	wr(t, STATUS, 1, STATUS_FEATURES_OK);
	for (q = 0; q < t->v->dev->n_queues; q++)
		set_up_queue(t, q, size);
	wr(t, STATUS, 1, STATUS_DRIVER_OK);
}

/* A guest address: mostly a buffer, sometimes an edge, seldom anything. */
static uint64_t take_gpa(struct drive *t)
{
	uint8_t kind = (uint8_t)fuzz_take(&t->in, 1);
	uint16_t offset = (uint16_t)fuzz_take(&t->in, 2);

	switch (kind) {
	case 249: return t->mem.hot.r.gpa + (fuzz_take(&t->in, 1) << 20) + offset;
	case 250: return GMEM_LOW_MAX_BYTES - offset;
	case 251: return GMEM_HIGH_GPA + offset;
	case 252: return GMEM_HIGH_GPA + (2ull << 20) - offset;
	case 253: return ring_gpa(t, 0) + offset;
	case 254: return UINT64_MAX - offset;
	case 255: return fuzz_take(&t->in, 8);
	default:  return BUFFERS_GPA + offset;
	}
}

static uint16_t take_queue(struct drive *t)
{
	return (uint16_t)(fuzz_take(&t->in, 1) % t->v->dev->n_queues);
}

static void step_memory(struct drive *t)
{
	uint64_t gpa = take_gpa(t);
	uint8_t bytes[256];
	size_t len = fuzz_take_bytes(&t->in, bytes, (size_t)fuzz_take(&t->in, 1));

	write_ram(t, gpa, bytes, len);
}

static void step_descriptor(struct drive *t)
{
	uint16_t q = take_queue(t), i = (uint16_t)fuzz_take(&t->in, 1);
	struct vring_desc d;

	d.addr = take_gpa(t);
	d.len = (uint32_t)fuzz_take(&t->in, fuzz_take(&t->in, 1) & 1 ? 4 : 2);
	d.flags = (uint16_t)fuzz_take(&t->in, 1);
	d.next = (uint16_t)fuzz_take(&t->in, 1);
	write_ram(t, ring_gpa(t, q) + sizeof(d) * i, &d, sizeof(d));
}

static void offer(struct drive *t, uint16_t q, uint16_t head)
{
	uint16_t size = t->v->dev->q[q].s.size, idx = 0;
	uint64_t avail = ring_gpa(t, q) + AVAIL_AT;

	gmem_read(&t->mem, avail + 2, &idx, sizeof(idx));
	write_ram(t, avail + 4 + 2ull * (size ? idx % size : 0), &head, sizeof(head));
	idx++;
	write_ram(t, avail + 2, &idx, sizeof(idx));
}

/* Offers a head, honest or not. */
static void step_offer(struct drive *t)
{
	uint16_t q = take_queue(t);

	offer(t, q, (uint16_t)fuzz_take(&t->in, 2));
}

/* A whole request: a chain over the buffers, readable ones first, and its offer. */
static void step_request(struct drive *t)
{
	uint16_t q = take_queue(t), head = (uint16_t)fuzz_take(&t->in, 1);
	uint16_t n = 1 + (fuzz_take(&t->in, 1) & 3), i;
	uint16_t n_in = (uint16_t)(fuzz_take(&t->in, 1) % (n + 1u));

	for (i = 0; i < n; i++) {
		struct vring_desc d = { .next = (uint16_t)(head + i + 1) };

		d.addr = BUFFERS_GPA + fuzz_take(&t->in, 2);
		d.len = (uint32_t)fuzz_take(&t->in, 2);
		if (i + n_in >= n)
			d.flags |= VRING_DESC_F_WRITE;
		if (i + 1u < n)
			d.flags |= VRING_DESC_F_NEXT;
		write_ram(t, ring_gpa(t, q) + sizeof(d) * (head + i), &d, sizeof(d));
	}
	offer(t, q, head);
	wr(t, VPCI_NOTIFY + q * VPCI_NOTIFY_STEP, 2, q);
}

static void put_descriptor(struct drive *t, uint16_t q, uint16_t i, uint64_t gpa, size_t len,
			   uint16_t flags)
{
	struct vring_desc d = { .addr = gpa, .len = (uint32_t)len, .flags = flags,
				.next = (uint16_t)(i + 1) };

	write_ram(t, ring_gpa(t, q) + sizeof(d) * i, &d, sizeof(d));
}

/* A composed request: its readable part in two pieces, then the writable part. */
static void step_message(struct drive *t)
{
	struct message m = { .q = 0 };
	uint64_t gpa = BUFFERS_GPA + fuzz_take(&t->in, 2);
	uint16_t i = (uint16_t)fuzz_take(&t->in, 1);
	size_t cut;

	t->compose(t, &m);
	if (m.q >= t->v->dev->n_queues)
		return;
	cut = fuzz_odd(&t->in) ? fuzz_take(&t->in, 2) % (m.out_len + 1) : m.out_len;
	write_ram(t, gpa, m.out, m.out_len);
	offer(t, m.q, i);
	put_descriptor(t, m.q, i, gpa, cut, m.out_len > cut || m.in_len ? VRING_DESC_F_NEXT : 0);
	if (m.out_len > cut)
		put_descriptor(t, m.q, ++i, gpa + cut, m.out_len - cut,
			       m.in_len ? VRING_DESC_F_NEXT : 0);
	if (m.in_len)
		put_descriptor(t, m.q, (uint16_t)(i + 1), BUFFERS_GPA + BUFFERS_BYTES, m.in_len,
			       VRING_DESC_F_WRITE);
	wr(t, VPCI_NOTIFY + m.q * VPCI_NOTIFY_STEP, 2, m.q);
}

static void step_register(struct drive *t, bool write)
{
	uint32_t offset = (uint32_t)fuzz_take(&t->in, 2) % VPCI_BAR_BYTES;
	uint32_t len = 1u << (fuzz_take(&t->in, 1) & 3);
	uint64_t value = 0;

	offset &= ~(len - 1);	/* the processor's accesses come split otherwise */
	if (write)
		wr(t, offset, len, fuzz_take(&t->in, len));
	else
		t->v->fn.ops->bar_read(&t->v->fn, offset, &value, len);
}

static void step_config(struct drive *t)
{
	uint32_t at = (uint32_t)fuzz_take(&t->in, 2);
	uint32_t len = 1u << fuzz_take(&t->in, 1) % 3, value = (uint32_t)fuzz_take(&t->in, 4);
	uint64_t gpa = PCI_ECAM_BASE + (at >> 8) * PCI_ECAM_FN_BYTES + (at & 0xfc) +
		       (value & 3 & ~(len - 1));

	pci_mmio(&t->bus, gpa, &value, len, true);
	pci_mmio(&t->bus, gpa, &value, len, false);
}

/* Until nothing is left to do at once. Timers that are not due are let be. */
static void turn(struct drive *t)
{
	int n = 0;

	while (loop_step(t->loop, 0, NULL) > 0)
		if (++n == TURNS_MAX)
			die("the loop does not come to rest");
}

/**
 * drive_wait() - let timers come that are due within @ms; for @back_end
 */
void drive_wait(struct drive *t, int ms)
{
	if (!t->waits)
		return;
	t->waits--;
	loop_step(t->loop, ms, NULL);
	turn(t);
}

static void step(struct drive *t)
{
	uint8_t what = (uint8_t)fuzz_take(&t->in, 1);

	switch (what & 15) {
	case 0:  step_memory(t); break;
	case 1:  step_descriptor(t); break;
	case 2:  step_offer(t); break;
	case 3:  wr(t, VPCI_NOTIFY + take_queue(t) * VPCI_NOTIFY_STEP, 2, 0); break;
	case 4:  step_register(t, false); break;
	case 5:  step_register(t, true); break;
	case 6:  step_config(t); break;
	case 7:  set_up(t); break;
	case 8:
	case 9:
		if (t->back_end)
			t->back_end(t, t->v->dev, what >> 4);
		break;
	case 10: turn(t); break;
	case 11:
	case 12: step_request(t); break;
	default:
		if (t->compose)
			step_message(t);
	}
}

/**
 * drive_run() - drive a device by the input, to the device's end
 * @d: taken over
 */
void drive_run(struct drive *t, struct virtio_dev *d)
{
	struct err e;
	int i;

	if (vpci_new(d, &t->host, &t->v, &e) < 0 || pci_add(&t->bus, &t->v->fn, &e) < 0)
		die(e.text);
	set_up(t);
	for (i = 0; t->in.len && i < STEPS_MAX; i++) {
		step(t);
		if (t->check)
			t->check(t, d);
	}
	turn(t);
	vpci_free(t->v);
}

/**
 * drive_end() - take apart what drive_begin() made
 */
void drive_end(struct drive *t)
{
	pci_done(&t->bus);
	loop_free(t->loop);
	gmem_done(&t->mem);
}
