// SPDX-License-Identifier: Apache-2.0
/*
 * Templates without KVM: a device that goes on as its copy, states that no driver could
 * have made, files that are none.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "tests/kit/kit.h"
#include "vmm/template.h"

#define MSIX 0x40		/* the first capability */
#define VERSION_1 1u		/* in the upper 32 feature bits */
#define RING 0x100000u
#define SIZE 8

Suite *vmm_template_suite(void);

/* One of two machines: what is saved, and its copy; they have the same memory here. */
struct side {
	struct virtio_dev d;
	struct pci bus;
	struct vpci *v;
	struct vpci_host host;
	int starts, kicks, msis;
	uint32_t msi_data;
	uint64_t bound;
};

static struct gmem mem;
static struct loop *loop;
static struct side was, now;

static struct side *side_of(struct virtio_dev *d)
{
	return (struct side *)d;
}

static void config_read(struct virtio_dev *d, uint32_t offset, void *buf, uint32_t len)
{
	(void)d;
	(void)offset;
	memset(buf, 0, len);
}

static void on_start(struct virtio_dev *d)
{
	side_of(d)->starts++;
}

static bool on_stop(struct virtio_dev *d)
{
	(void)d;
	return true;
}

static void on_kick(struct virtio_dev *d, uint16_t q)
{
	(void)q;
	side_of(d)->kicks++;
}

static void dev_free(struct virtio_dev *d)
{
	pthread_mutex_destroy(&d->lock);
}

static const struct virtio_ops dev_ops = {
	.name = "test", .device_id = 4, .pci_class = 0xff0000, .n_queues = 2,
	.config_read = config_read, .start = on_start, .stop = on_stop, .kick = on_kick,
	.free = dev_free,
};

static void msi(void *arg, uint64_t address, uint32_t data)
{
	struct side *s = arg;

	(void)address;
	s->msis++;
	s->msi_data = data;
}

static int bind_fd(void *arg, uint64_t gpa, int fd, bool on)
{
	struct side *s = arg;

	(void)fd;
	s->bound = on ? gpa : 0;
	return 0;
}

static const struct irq_ops irq = { .msi = msi };

static uint32_t rd(struct side *s, uint32_t offset, uint32_t len)
{
	uint64_t x = 0;

	s->v->fn.ops->bar_read(&s->v->fn, offset, &x, len);
	return (uint32_t)x;
}

static void wr(struct side *s, uint32_t offset, uint32_t len, uint64_t x)
{
	s->v->fn.ops->bar_write(&s->v->fn, offset, &x, len);
}

static uint32_t cfg(struct side *s, uint8_t reg, uint32_t len)
{
	uint32_t x = 0;

	memcpy(&x, s->bus.space + PCI_ECAM_FN_BYTES + reg, len);
	return x;
}

static void set(struct side *s, uint8_t reg, uint32_t len, uint32_t value)
{
	pci_mmio(&s->bus, PCI_ECAM_BASE + PCI_ECAM_FN_BYTES + reg, &value, len, true);
}

static void side_init(struct side *s)
{
	struct err e;

	memset(s, 0, sizeof(*s));
	s->host = (struct vpci_host){ .irq = &irq, .bind = bind_fd, .arg = s };
	ck_assert_int_eq(pci_init(&s->bus, &e), 0);
	ck_assert_int_eq(virtio_init(&s->d, &dev_ops, 0x3, &mem, loop), 0);
	ck_assert_int_eq(vpci_new(&s->d, &s->host, &s->v, &e), 0);
	ck_assert_int_eq(pci_add(&s->bus, &s->v->fn, &e), 0);
}

static void side_done(struct side *s)
{
	vpci_free(s->v);
	pci_done(&s->bus);
}

static void setup(void)
{
	struct err e;

	ck_assert_int_eq(gmem_init(&mem, 32 << 20, &e), 0);
	ck_assert_int_eq(loop_new(&loop, &e), 0);
	side_init(&was);
	side_init(&now);
}

static void teardown(void)
{
	side_done(&was);
	side_done(&now);
	loop_free(loop);
	gmem_done(&mem);
}

/* A driver that moved the BAR, took a feature, and runs queue 1 with EVENT_IDX. */
static void drive(struct side *s)
{
	set(s, 0x10, 4, 0xd0000000);
	set(s, 4, 2, 6);
	wr(s, 20, 1, 1);
	wr(s, 20, 1, 3);
	wr(s, 8, 4, 0);
	wr(s, 12, 4, 1 | 1u << 29);
	wr(s, 8, 4, 1);
	wr(s, 12, 4, VERSION_1);
	wr(s, 20, 1, 11);
	wr(s, 16, 2, 0);
	wr(s, 22, 2, 1);
	wr(s, 24, 2, SIZE);
	wr(s, 26, 2, 2);
	wr(s, 32, 4, RING);
	wr(s, 40, 4, RING + 0x1000);
	wr(s, 48, 4, RING + 0x2000);
	wr(s, 28, 2, 1);
	wr(s, 20, 1, 15);
	wr(s, VPCI_TABLE + 2 * 16u, 4, 0xfee01000);
	wr(s, VPCI_TABLE + 2 * 16u + 8, 4, 0x42);
	wr(s, VPCI_TABLE + 2 * 16u + 12, 4, 0);
	set(s, MSIX + 2, 2, 0x8000);
	ck_assert_uint_eq(rd(s, 20, 1), 15);
}

static void put16(uint64_t gpa, uint16_t v)
{
	ck_assert_int_eq(gmem_write(&mem, gpa, &v, sizeof(v)), 0);
}

/* The driver offers @n requests of one byte each, from its available index @at on. */
static void offer(uint16_t at, uint16_t n)
{
	uint16_t i;

	for (i = 0; i < n; i++) {
		uint16_t slot = (uint16_t)(at + i) % SIZE;
		struct {
			uint64_t addr;
			uint32_t len;
			uint16_t flags, next;
		} desc = { .addr = 0x200000u + slot, .len = 1 };

		ck_assert_int_eq(gmem_write(&mem, RING + slot * 16u, &desc, sizeof(desc)), 0);
		put16(RING + 0x1000 + 4 + 2u * slot, slot);
	}
	put16(RING + 0x1000 + 2, (uint16_t)(at + n));
}

static uint16_t take(struct side *s)
{
	static struct virtq_chain c;
	struct err e;

	ck_assert_int_eq(virtq_pop(&s->d.q[1], &c, &e), 1);
	return c.head;
}

static void copy(void)
{
	struct vpci_state s;
	struct err e;

	ck_assert_int_eq(vpci_save(was.v, &s, &e), 0);
	ck_assert_msg(!vpci_load(now.v, &now.bus, &s, &e), "%s", e.text);
}

START_TEST(registers)
{
	static const uint8_t regs[] = { 0x04, 0x0c, 0x10, 0x3c, MSIX };
	uint32_t at;
	size_t i;

	drive(&was);
	copy();
	for (i = 0; i < ARRAY_LEN(regs); i++)
		ck_assert_uint_eq(cfg(&now, regs[i], 4), cfg(&was, regs[i], 4));
	for (at = 0; at < 56; at += at < 16 || at >= 32 ? 4 : 2) {
		uint32_t len = at < 16 || at >= 32 ? 4 : at == 20 ? 1 : 2;

		ck_assert_msg(rd(&now, at, len) == rd(&was, at, len), "register %u", at);
	}
	ck_assert_uint_eq(rd(&now, 20, 1), 15);
	ck_assert_uint_eq(rd(&now, 22, 2), 1);
	ck_assert_uint_eq(rd(&now, 48, 4), RING + 0x2000);
	ck_assert_uint_eq(now.d.s.acked, was.d.s.acked);
	ck_assert(now.d.q[1].event_idx);
	ck_assert_int_eq(now.starts, 1);
	ck_assert_uint_eq(now.bound, 0xd0000000 + VPCI_NOTIFY + 4);
	now.d.interrupt(now.d.transport, 2);
	ck_assert_int_eq(now.msis, 1);
	ck_assert_uint_eq(now.msi_data, 0x42);
}
END_TEST

/* A device that nobody drives, and one whose driver has only looked. */
START_TEST(untouched)
{
	if (_i) {
		wr(&was, 20, 1, 1);
		wr(&was, 20, 1, 3);
	}
	copy();
	ck_assert_uint_eq(rd(&now, 20, 1), _i ? 3 : 0);
	ck_assert_int_eq(now.starts, 0);
	/* And it can be driven then. */
	wr(&now, 20, 1, 0);
	drive(&now);
}
END_TEST

/* What was taken and not given back is taken again, in the same order. */
START_TEST(in_flight)
{
	struct err e;

	drive(&was);
	offer(0, 5);
	ck_assert_uint_eq(take(&was), 0);
	ck_assert_uint_eq(take(&was), 1);
	ck_assert_uint_eq(take(&was), 2);
	ck_assert_int_eq(virtq_push(&was.d.q[1], 0, 0), 0);
	copy();
	ck_assert_uint_eq(take(&now), 1);
	ck_assert_uint_eq(take(&now), 2);
	ck_assert_uint_eq(take(&now), 3);
	ck_assert_int_eq(virtq_push(&now.d.q[1], 1, 0), 0);
	ck_assert_uint_eq(now.d.q[1].s.next_used, 2);
	/* A look at the queue that the driver's notification may have been about. */
	ck_assert_int_ge(loop_step(loop, 0, &e), 0);
	ck_assert_int_ge(now.kicks, 1);
}
END_TEST

/* Free-running indices that have gone around. */
START_TEST(wrapped)
{
	uint16_t i;

	drive(&was);
	was.d.q[1].s.next_avail = was.d.q[1].s.next_used = 0xfffe;
	offer(0xfffe, 4);
	for (i = 0; i < 3; i++)
		ck_assert_int_eq(virtq_push(&was.d.q[1], take(&was), 0), 0);
	copy();
	ck_assert_uint_eq(now.d.q[1].s.next_used, 1);
	ck_assert_uint_eq(take(&now), 1);
}
END_TEST

/* An interrupt that waits for its vector to be unmasked. */
START_TEST(pending)
{
	drive(&was);
	wr(&was, VPCI_TABLE + 2 * 16u + 12, 4, 1);
	was.d.interrupt(was.d.transport, 2);
	ck_assert_int_eq(was.msis, 0);
	copy();
	ck_assert_int_eq(now.msis, 0);
	ck_assert_uint_eq(rd(&now, VPCI_PBA, 4), 4);
	wr(&now, VPCI_TABLE + 2 * 16u + 12, 4, 0);
	ck_assert_int_eq(now.msis, 1);
}
END_TEST

/* A window that would reset the device if it were written again. */
START_TEST(window)
{
	uint8_t at = was.v->cfg_cap;

	drive(&was);
	set(&was, (uint8_t)(at + 8), 4, 20);
	set(&was, (uint8_t)(at + 12), 4, 1);
	set(&was, (uint8_t)(at + 16), 1, 15);
	copy();
	ck_assert_uint_eq(rd(&now, 20, 1), 15);
	ck_assert_uint_eq(cfg(&now, (uint8_t)(at + 12), 4), 0);
}
END_TEST

START_TEST(not_saved)
{
	struct vpci_state s;
	struct err e = { 0 };

	drive(&was);
	if (_i == 0)
		was.v->kick[1].lent = true;
	else if (_i == 1)
		was.d.resetting = true;
	else
		wr(&was, 20, 1, 3);	/* clears bits: needs a reset */
	ck_assert_int_eq(vpci_save(was.v, &s, &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.text, "test"));
	was.v->kick[1].lent = false;
}
END_TEST

/* What no driver could have made, or is of another device. */
static const struct {
	size_t at, len;
	uint64_t value;
} lies[] = {
#define AT(field) offsetof(struct vpci_state, field), sizeof(((struct vpci_state *)0)->field)
	{ AT(kind[0]), 'x' }, { AT(devfn), 2 }, { AT(n_queues), 1 }, { AT(n_queues), 65535 },
	{ AT(virtio.acked), 1ull << 32 | 1ull << 40 },	/* not offered */
	{ AT(virtio.acked), 1 },			/* without VERSION_1 */
	{ AT(virtio.status), 7 }, { AT(virtio.status), 4 }, { AT(virtio.status), 8 },
	{ AT(virtio.status), 64 }, { AT(virtio.status), 79 }, { AT(virtio.status), 255 },
	{ AT(queue[1].size), 0 }, { AT(queue[1].size), 7 }, { AT(queue[1].size), 32768 },
	{ AT(queue[1].desc), UINT64_MAX }, { AT(queue[1].desc), RING + 1 },
	{ AT(queue[1].avail), 32 << 20 }, { AT(queue[1].used), (32 << 20) - 4 },
	{ AT(queue[1].enabled), 2 }, { AT(queue[1].enabled), 65535 },
	{ AT(queue[0].enabled), 1 },			/* of no memory */
#undef AT
};

START_TEST(hostile)
{
	struct vpci_state s;
	struct err e = { 0 };

	log_open(-1, LOG_LEVEL_ERROR, false);
	drive(&was);
	ck_assert_int_eq(vpci_save(was.v, &s, &e), 0);
	/* A queue of which nothing was said has no memory. */
	s.queue[0].desc = 1;
	memcpy((uint8_t *)&s + lies[_i].at, &lies[_i].value, lies[_i].len);
	ck_assert_int_eq(vpci_load(now.v, &now.bus, &s, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "test"));
}
END_TEST

/* Any bytes at all: refused or taken, and never more than a guest could do. */
START_TEST(noise)
{
	struct vpci_state good, s;
	struct err e;
	int i, k, n;

	srandom((unsigned int)kit_seed("vmm_template"));
	log_open(-1, LOG_LEVEL_ERROR, false);
	drive(&was);
	ck_assert_int_eq(vpci_save(was.v, &good, &e), 0);
	for (i = 0; i < 20000; i++) {
		s = good;
		n = 1 + (int)(random() % 4);
		for (k = 0; k < n; k++)
			((uint8_t *)&s)[16 + (size_t)random() % (sizeof(s) - 16)] =
				(uint8_t)random();
		wr(&now, 20, 1, 0);
		if (!vpci_load(now.v, &now.bus, &s, &e) && now.d.running)
			now.d.interrupt(now.d.transport, now.d.q[1].s.vector);
		if (!(i % 16))
			loop_step(loop, 0, &e);
	}
}
END_TEST

/* ---- files ----------------------------------------------------------------------- */
static struct template full(void)
{
	struct template t = { .config = { .ram_bytes = 64 << 20, .vcpus = 2, .guest_cid = 3 },
			      .clock_ns = 123456789, .n_vcpus = 2, .n_devices = 3 };

	t.vcpu = mem_new_n(struct kvm_vcpu_state, 2);
	t.device = mem_new_n(struct vpci_state, 3);
	t.vcpu[1].id = 1;
	t.vcpu[1].regs.rip = 0xffffffff81000000;
	t.device[2].devfn = 5;
	t.serial.reg[7] = 0x55;
	t.host_bridge[4] = 6;
	return t;
}

static int file(void)
{
	struct template t = full();
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct err e;

	ck_assert_int_eq(template_write(fd, &t, &e), 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	template_done(&t);
	return fd;
}

START_TEST(round_trip)
{
	struct template t = full(), r;
	int fd = file();
	struct err e;

	ck_assert_int_eq(template_read(fd, &r, &e), 0);
	ck_assert_int_eq(memcmp(&r.config, &t.config, sizeof(r.config)), 0);
	ck_assert_uint_eq(r.clock_ns, t.clock_ns);
	ck_assert_uint_eq(r.serial.reg[7], 0x55);
	ck_assert_uint_eq(r.host_bridge[4], 6);
	ck_assert_uint_eq(r.n_vcpus, 2);
	ck_assert_uint_eq(r.vcpu[1].regs.rip, t.vcpu[1].regs.rip);
	ck_assert_uint_eq(r.n_devices, 3);
	ck_assert_uint_eq(r.device[2].devfn, 5);
	template_done(&r);
	template_done(&r);
	template_done(&t);
	close(fd);
}
END_TEST

/* Cut off at any place that means something, or with something behind it. */
START_TEST(cut)
{
	int fd = file();
	off_t whole = lseek(fd, 0, SEEK_END);
	const off_t lens[] = { 0, 1, 8, 40, 2400, (off_t)sizeof(struct kvm_vcpu_state) + 2400,
			       whole - 1, whole + 1, whole * 2 };
	struct template t;
	struct err e = { 0 };
	int rc;

	ck_assert_int_eq(ftruncate(fd, lens[_i]), 0);
	lseek(fd, 0, SEEK_SET);
	rc = template_read(fd, &t, &e);
	ck_assert_msg(rc == -EINVAL || rc == -EPIPE, "%d", rc);
	ck_assert(str_starts(e.text, "template: "));
	template_done(&t);
	close(fd);
}
END_TEST

/* The head's numbers, each wrong by itself: magic, version, sizes, counts. */
START_TEST(head)
{
	const uint32_t values[] = { 0, 1, 65, 1000, 0x7fffffff, 0xffffffff };
	uint32_t was_there;
	struct template t;
	struct err e = { 0 };
	int fd = file();
	size_t i;

	ck_assert_int_eq(pread(fd, &was_there, 4, _i * 4), 4);
	for (i = 0; i < ARRAY_LEN(values); i++) {
		if (values[i] == was_there)
			continue;
		ck_assert_int_eq(pwrite(fd, &values[i], 4, _i * 4), 4);
		lseek(fd, 0, SEEK_SET);
		ck_assert_int_eq(template_read(fd, &t, &e), -EINVAL);
		ck_assert(str_starts(e.text, "template: "));
		template_done(&t);
	}
	close(fd);
}
END_TEST

Suite *vmm_template_suite(void)
{
	Suite *s = suite_create("vmm_template");
	TCase *d = tcase_create("devices"), *f = tcase_create("files");

	tcase_set_timeout(d, 60);
	tcase_add_checked_fixture(d, setup, teardown);
	tcase_add_test(d, registers);
	tcase_add_loop_test(d, untouched, 0, 2);
	tcase_add_test(d, in_flight);
	tcase_add_test(d, wrapped);
	tcase_add_test(d, pending);
	tcase_add_test(d, window);
	tcase_add_loop_test(d, not_saved, 0, 3);
	tcase_add_loop_test(d, hostile, 0, (int)ARRAY_LEN(lies));
	tcase_add_test(d, noise);
	suite_add_tcase(s, d);
	tcase_add_test(f, round_trip);
	tcase_add_loop_test(f, cut, 0, 9);
	tcase_add_loop_test(f, head, 0, 8);
	suite_add_tcase(s, f);
	return s;
}
