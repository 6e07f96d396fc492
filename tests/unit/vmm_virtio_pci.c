// SPDX-License-Identifier: Apache-2.0
/* The virtio PCI transport against drivers that lie, without KVM. */
#include <check.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "tests/kit/kit.h"
#include "vmm/batch.h"
#include "vmm/virtio/pci.h"

#define MSIX 0x40		/* the first capability */
#define VERSION_1 1u		/* in the upper 32 feature bits */

Suite *vmm_virtio_pci_suite(void);

struct dev {
	struct virtio_dev d;
	int starts, stops, kicks, freed;
	uint16_t kicked;
	uint16_t takes;	/* requests at each notification */
	uint32_t cfg_writes;
	bool slow;	/* stop() cannot finish */
};

static struct dev dev;
static struct gmem mem;
static struct loop *loop;
static struct pci bus;
static struct vpci *v;
static int msis;
static uint64_t msi_address;
static uint32_t msi_data;
static int binds, bound;
static bool bind_fails;

static void config_read(struct virtio_dev *d, uint32_t offset, void *buf, uint32_t len)
{
	(void)d;
	ck_assert_uint_le(offset + len, VPCI_DEVICE_BYTES);
	memset(buf, 0xcc, len);
}

static void config_write(struct virtio_dev *d, uint32_t offset, const void *buf,
			 uint32_t len)
{
	(void)buf;
	ck_assert_uint_le(offset + len, VPCI_DEVICE_BYTES);
	((struct dev *)d)->cfg_writes++;
}

static void start(struct virtio_dev *d)
{
	((struct dev *)d)->starts++;
}

static bool stop(struct virtio_dev *d)
{
	((struct dev *)d)->stops++;
	return !((struct dev *)d)->slow;
}

static void kick(struct virtio_dev *d, uint16_t q)
{
	((struct dev *)d)->kicks++;
	((struct dev *)d)->kicked = q;
	d->q[q].s.next_avail = (uint16_t)(d->q[q].s.next_avail + ((struct dev *)d)->takes);
}

static void dev_free(struct virtio_dev *d)
{
	((struct dev *)d)->freed++;
	pthread_mutex_destroy(&d->lock);
}

static const struct virtio_ops dev_ops = {
	.name = "test", .device_id = 4, .pci_class = 0xff0000, .n_queues = 2,
	.config_read = config_read, .config_write = config_write, .start = start,
	.stop = stop, .kick = kick, .free = dev_free,
};

static void msi(void *arg, uint64_t address, uint32_t data)
{
	(void)arg;
	msis++;
	msi_address = address;
	msi_data = data;
}

static int bind_fd(void *arg, uint64_t gpa, int fd, bool on)
{
	(void)arg;
	(void)gpa;
	ck_assert_int_ge(fd, 0);
	if (on && bind_fails)
		return -EEXIST;
	binds++;
	bound += on ? 1 : -1;
	return 0;
}

static int wired = -1;
static uint32_t wired_data;

static int line_get(void *arg)
{
	(void)arg;
	return 0;
}

static void line_put(void *arg, int line)
{
	(void)arg;
	(void)line;
}

static int wire(void *arg, int line, int fd, uint64_t address, uint32_t data)
{
	(void)arg;
	(void)line;
	(void)address;
	wired = fd;
	wired_data = data;
	return 0;
}

static void unwire(void *arg, int line, int fd)
{
	(void)arg;
	(void)line;
	(void)fd;
	wired = -1;
}

static const struct irq_ops irq = { .msi = msi, .line_get = line_get, .line_put = line_put,
				    .wire = wire, .unwire = unwire };
static const struct vpci_host host = { .irq = &irq, .bind = bind_fd };

static uint32_t rd(uint32_t offset, uint32_t len)
{
	uint64_t x = 0;

	v->fn.ops->bar_read(&v->fn, offset, &x, len);
	return (uint32_t)x;
}

static void wr(uint32_t offset, uint32_t len, uint64_t x)
{
	v->fn.ops->bar_write(&v->fn, offset, &x, len);
}

/* The guest reads configuration from memory, and only writes are exits. */
static uint32_t cfg(uint8_t reg, uint32_t len)
{
	uint32_t x = 0;

	memcpy(&x, bus.space + PCI_ECAM_FN_BYTES + reg, len);
	return x;
}

static void set(uint8_t reg, uint32_t len, uint32_t value)
{
	pci_mmio(&bus, PCI_ECAM_BASE + PCI_ECAM_FN_BYTES + reg, &value, len, true);
}

static void setup(void)
{
	struct err e;

	memset(&dev, 0, sizeof(dev));
	msis = binds = bound = 0;
	bind_fails = false;
	ck_assert_int_eq(gmem_init(&mem, 32 << 20, &e), 0);
	ck_assert_int_eq(loop_new(&loop, &e), 0);
	ck_assert_int_eq(pci_init(&bus, &e), 0);
	ck_assert_int_eq(virtio_init(&dev.d, &dev_ops, 0x3, &mem, loop), 0);
	ck_assert_int_eq(vpci_new(&dev.d, &host, &v, &e), 0);
	ck_assert_int_eq(pci_add(&bus, &v->fn, &e), 0);
}

static void teardown(void)
{
	vpci_free(v);
	ck_assert_int_eq(dev.freed, 1);
	pci_done(&bus);
	loop_free(loop);
	gmem_done(&mem);
}

static void queue(uint16_t q, uint16_t size, uint64_t at)
{
	wr(22, 2, q);
	wr(24, 2, size);
	wr(32, 4, (uint32_t)at);
	wr(36, 4, at >> 32);
	wr(40, 4, (uint32_t)(at + 0x1000));
	wr(44, 4, (at + 0x1000) >> 32);
	wr(48, 4, (uint32_t)(at + 0x2000));
	wr(52, 4, (at + 0x2000) >> 32);
}

static void negotiate(uint32_t low, uint32_t high)
{
	wr(20, 1, 0);
	wr(20, 1, 1);
	wr(20, 1, 3);
	wr(8, 4, 0);
	wr(12, 4, low);
	wr(8, 4, 1);
	wr(12, 4, high);
	wr(20, 1, 11);
}

static void drive(void)
{
	negotiate(1, VERSION_1);
	ck_assert_uint_eq(rd(20, 1), 11);
	queue(0, 8, 0x100000);
	wr(26, 2, 1);
	wr(28, 2, 1);
	wr(16, 2, 0);
	wr(20, 1, 15);
}

static void vector(uint16_t i, uint32_t address, uint32_t data, uint32_t control)
{
	wr(VPCI_TABLE + i * 16u, 4, address);
	wr(VPCI_TABLE + i * 16u + 4, 4, 0);
	wr(VPCI_TABLE + i * 16u + 8, 4, data);
	wr(VPCI_TABLE + i * 16u + 12, 4, control);
}

START_TEST(start_up)
{
	drive();
	ck_assert_uint_eq(rd(20, 1), 15);
	ck_assert_int_eq(dev.starts, 1);
	ck_assert(dev.d.running);
	ck_assert_uint_eq(rd(18, 2), 2);
	wr(20, 1, 0);
	ck_assert_uint_eq(rd(20, 1), 0);
	ck_assert(!dev.d.running);
	ck_assert_uint_eq(rd(28, 2), 0);
	ck_assert_uint_eq(rd(24, 2), VIRTQ_SIZE_MAX);
	ck_assert_uint_eq(rd(26, 2), VIRTQ_NO_VECTOR);
	ck_assert_uint_eq(rd(16, 2), VIRTQ_NO_VECTOR);
	drive();
	ck_assert_int_eq(dev.starts, 2);
}
END_TEST

/* A driver may not reuse its memory before the status reads as zero. */
START_TEST(slow_reset)
{
	drive();
	dev.slow = true;
	wr(20, 1, 0);
	ck_assert(!dev.d.running);
	ck_assert_uint_eq(rd(20, 1), 15);
	/* Nothing that it does meanwhile counts. */
	wr(20, 1, 0);
	negotiate(1, VERSION_1);
	queue(0, 16, 0x200000);
	wr(28, 2, 1);
	ck_assert_uint_eq(rd(20, 1), 15);
	ck_assert_int_eq(dev.stops, 2);	/* drive() begins with one */
	ck_assert_int_eq(dev.starts, 1);
	dev.slow = false;
	pthread_mutex_lock(&dev.d.lock);
	virtio_reset_done(&dev.d);
	pthread_mutex_unlock(&dev.d.lock);
	ck_assert_uint_eq(rd(20, 1), 0);
	ck_assert_uint_eq(rd(24, 2), VIRTQ_SIZE_MAX);
	ck_assert_uint_eq(rd(28, 2), 0);
	drive();
	ck_assert_int_eq(dev.starts, 2);
	/* Without a reset under way it changes nothing. */
	pthread_mutex_lock(&dev.d.lock);
	virtio_reset_done(&dev.d);
	pthread_mutex_unlock(&dev.d.lock);
	ck_assert_uint_eq(rd(20, 1), 15);
}
END_TEST

/* Linux acknowledges a device again after it took its driver away. */
START_TEST(in_use)
{
	ck_assert(!vpci_in_use(v));
	wr(20, 1, 1);
	ck_assert(!vpci_in_use(v));
	wr(20, 1, 3);
	ck_assert(vpci_in_use(v));
	drive();
	ck_assert(vpci_in_use(v));
	dev.slow = true;
	wr(20, 1, 0);
	ck_assert(vpci_in_use(v));
	dev.slow = false;
	pthread_mutex_lock(&dev.d.lock);
	virtio_reset_done(&dev.d);
	pthread_mutex_unlock(&dev.d.lock);
	ck_assert(!vpci_in_use(v));
}
END_TEST

START_TEST(counters)
{
	struct vmm_device c;

	drive();
	wr(22, 2, 0);
	wr(24, 2, 3);		/* a locked register: no harm */
	wr(VPCI_NOTIFY, 4, 0);
	ck_assert_int_ge(loop_step(loop, 0, NULL), 0);
	pthread_mutex_lock(&dev.d.lock);
	virtio_broken(&dev.d, "a test");
	virtio_broken(&dev.d, "a test");
	pthread_mutex_unlock(&dev.d.lock);
	vpci_count(v, &c);
	ck_assert_str_eq(c.kind, "test");
	ck_assert_str_eq(c.name, "");
	ck_assert_uint_eq(c.kicks, 1);
	ck_assert_uint_eq(c.resets, 1);
	ck_assert_uint_eq(c.broken, 1);
	ck_assert_uint_eq(c.interrupts, 1);
	ck_assert_uint_eq(c.status, 15 | 64);
	ck_assert_uint_eq(c.queues, 2);
}
END_TEST

static const struct {
	uint32_t low, high;
	bool taken;
} features[] = {
	{ 0, VERSION_1, true }, { 3, VERSION_1, true }, { 0x30000003, VERSION_1, true },
	{ 3, 0, false }, { 4, VERSION_1, false }, { 0, VERSION_1 | 2, false },
	{ 0xffffffff, 0xffffffff, false }, { 0, 0, false },
};

START_TEST(feature_bits)
{
	negotiate(features[_i].low, features[_i].high);
	ck_assert_uint_eq(rd(20, 1), features[_i].taken ? 11 : 3);
	wr(20, 1, 15);
	if (!features[_i].taken) {
		ck_assert_uint_eq(rd(20, 1) & 0x44, 0x40);
		ck_assert_int_eq(dev.starts, 0);
	}
	wr(8, 4, 0);
	wr(12, 4, 0x1234);	/* too late */
	if (features[_i].taken)
		ck_assert_uint_eq(rd(12, 4), features[_i].low);
	wr(8, 4, 2);
	wr(12, 4, 7);
	ck_assert_uint_eq(rd(12, 4), 0);
	wr(0, 4, 5);
	ck_assert_uint_eq(rd(4, 4), 0);
}
END_TEST

START_TEST(clearing_status)
{
	drive();
	wr(20, 1, 3);
	ck_assert_uint_eq(rd(20, 1) & 0x40, 0x40);
	ck_assert(dev.d.q[0].broken);
	wr(20, 1, 15);		/* only a reset helps */
	ck_assert_int_eq(dev.starts, 1);
	drive();
	ck_assert_uint_eq(rd(20, 1), 15);
	ck_assert_int_eq(dev.starts, 2);
}
END_TEST

START_TEST(driver_cannot_set_needs_reset)
{
	wr(20, 1, 0x41);
	ck_assert_uint_eq(rd(20, 1), 1);
}
END_TEST

static const struct {
	uint16_t value;
	bool taken;
} queue_sizes[] = {
	{ 1, true }, { 2, true }, { 256, true }, { 128, true },
	{ 0, false }, { 3, false }, { 257, false }, { 512, false }, { 0x8000, false },
	{ 0xffff, false },
};

START_TEST(queue_size)
{
	negotiate(0, VERSION_1);
	wr(24, 2, queue_sizes[_i].value);
	if (queue_sizes[_i].taken)
		ck_assert_uint_eq(rd(24, 2), queue_sizes[_i].value);
	else
		ck_assert_uint_eq(rd(20, 1), 11 | 0x40);
}
END_TEST

static const uint64_t bad_rings[] = {
	0x100008, 0x1fff000, 0x2000000, 0xfffffffffffff000ull, 0x8000000000000000ull,
	0xfffffffffffffff0ull, 0x1ffe000,
};

START_TEST(bad_ring)
{
	negotiate(0, VERSION_1);
	queue(0, 256, bad_rings[_i]);
	wr(28, 2, 1);
	wr(20, 1, 15);
	ck_assert_uint_eq(rd(20, 1) & 0x40, 0x40);
	ck_assert_int_eq(dev.starts, 0);
	ck_assert(!dev.d.running);
}
END_TEST

START_TEST(locked)
{
	uint32_t offset;

	drive();
	for (offset = 24; offset < 56; offset += offset < 32 ? 2 : 4) {
		uint32_t len = offset < 32 ? 2 : 4, was = rd(offset, len);

		if (offset == 26)
			continue;	/* the vector may change */
		wr(offset, len, 0x40);
		ck_assert_uint_eq(rd(offset, len), was);
	}
	wr(22, 2, 1);		/* the other queue, which is not enabled */
	wr(28, 2, 1);
	ck_assert_uint_eq(rd(28, 2), 0);
	wr(22, 2, 2);		/* no queue */
	ck_assert_uint_eq(rd(24, 2), 0);
	ck_assert_uint_eq(rd(26, 2), VIRTQ_NO_VECTOR);
	wr(22, 2, 0xffff);
	wr(24, 2, 8);
	wr(28, 2, 1);
	ck_assert_uint_eq(rd(20, 1), 15);
}
END_TEST

START_TEST(enable_early)
{
	wr(20, 1, 1);
	wr(20, 1, 3);
	queue(0, 8, 0x100000);
	wr(28, 2, 1);
	ck_assert_uint_eq(rd(28, 2), 0);
	ck_assert_uint_eq(rd(20, 1) & 0x40, 0x40);
}
END_TEST

START_TEST(vectors)
{
	static const uint16_t values[] = { 0, 1, 2, 3, 4, 15, 16, 0x7ff, 0xfffe, 0xffff };
	size_t i;

	for (i = 0; i < sizeof(values) / sizeof(*values); i++) {
		uint16_t want = values[i] < 3 ? values[i] : VIRTQ_NO_VECTOR;

		wr(16, 2, values[i]);
		ck_assert_uint_eq(rd(16, 2), want);
		wr(26, 2, values[i]);
		ck_assert_uint_eq(rd(26, 2), want);
	}
	ck_assert_uint_eq(cfg(MSIX + 2, 2), 2);	/* three vectors */
}
END_TEST

/* A device that interrupts seldom offers two, as many queues as it may have. */
START_TEST(one_vector)
{
	struct virtio_ops ops = dev_ops;

	ops.one_vector = true;
	vpci_free(v);
	pci_done(&bus);
	memset(&dev, 0, sizeof(dev));
	ck_assert_int_eq(pci_init(&bus, NULL), 0);
	ck_assert_int_eq(virtio_init(&dev.d, &ops, 0x3, &mem, loop), 0);
	virtio_set_queues(&dev.d, 5);
	ck_assert_int_eq(vpci_new(&dev.d, &host, &v, NULL), 0);
	ck_assert_int_eq(pci_add(&bus, &v->fn, NULL), 0);
	ck_assert_uint_eq(cfg(MSIX + 2, 2), 1);	/* two vectors */
	wr(22, 2, 4);
	wr(26, 2, 1);
	ck_assert_uint_eq(rd(26, 2), 1);
	wr(26, 2, 2);
	ck_assert_uint_eq(rd(26, 2), VIRTQ_NO_VECTOR);
	dev.d.ops = &dev_ops;
}
END_TEST

static void raise_queue(void)
{
	dev.d.interrupt(dev.d.transport, dev.d.q[0].s.vector);
}

START_TEST(interrupts)
{
	drive();
	vector(1, 0xfee01000, 0x41, 0);
	raise_queue();
	ck_assert_int_eq(msis, 0);		/* MSI-X is off */
	set(MSIX + 2, 2, 0x8000);
	raise_queue();
	ck_assert_int_eq(msis, 1);
	ck_assert_uint_eq(msi_address, 0xfee01000);
	ck_assert_uint_eq(msi_data, 0x41);
	vector(1, 0xfee01000, 0x41, 1);		/* masked: pending, then delivered once */
	raise_queue();
	raise_queue();
	ck_assert_int_eq(msis, 1);
	ck_assert_uint_eq(rd(VPCI_PBA, 4), 2);
	vector(1, 0xfee02000, 0x42, 0);
	ck_assert_int_eq(msis, 2);
	ck_assert_uint_eq(msi_data, 0x42);
	ck_assert_uint_eq(rd(VPCI_PBA, 8), 0);
	set(MSIX + 2, 2, 0xc000);		/* the whole function */
	raise_queue();
	ck_assert_int_eq(msis, 2);
	set(MSIX + 2, 2, 0x8000);
	ck_assert_int_eq(msis, 3);
	set(MSIX + 2, 2, 0xc000);		/* a reset forgets what is pending */
	raise_queue();
	wr(20, 1, 0);
	set(MSIX + 2, 2, 0x8000);
	ck_assert_int_eq(msis, 3);
}
END_TEST

/* An interrupt goes to the APICs or nowhere. */
START_TEST(stray_address)
{
	static const uint32_t low[] = { 0, 0x100000, 0xfed00000, 0xfef00000, 0xfffffffc };
	size_t i;

	drive();
	set(MSIX + 2, 2, 0x8000);
	for (i = 0; i < sizeof(low) / sizeof(*low); i++) {
		vector(1, low[i], 1, 0);
		raise_queue();
	}
	vector(1, 0xfee00000, 1, 1);
	wr(VPCI_TABLE + 20, 4, 1);	/* upper half */
	wr(VPCI_TABLE + 28, 4, 0);
	raise_queue();
	ck_assert_int_eq(msis, 0);
}
END_TEST

START_TEST(broken_interrupts)
{
	drive();
	vector(0, 0xfee00000, 0x30, 0);
	set(MSIX + 2, 2, 0x8000);
	pthread_mutex_lock(&dev.d.lock);
	virtio_broken(&dev.d, "test");
	virtio_broken(&dev.d, "test");
	pthread_mutex_unlock(&dev.d.lock);
	ck_assert_int_eq(msis, 1);
	ck_assert_uint_eq(msi_data, 0x30);
	ck_assert_uint_eq(rd(20, 1), 15 | 0x40);
	ck_assert_uint_eq(rd(21, 1), 1);
	ck_assert_uint_eq(rd(VPCI_ISR, 1), 2);
	ck_assert_uint_eq(rd(VPCI_ISR, 1), 0);
}
END_TEST

START_TEST(table_widths)
{
	vector(0, 0xfee00000, 7, 1);
	wr(VPCI_TABLE, 1, 0xff);
	wr(VPCI_TABLE, 2, 0xffff);
	wr(VPCI_TABLE + 2, 4, 0xffffffff);
	ck_assert_uint_eq(rd(VPCI_TABLE, 4), 0xfee00000);
	wr(VPCI_TABLE + 3 * 16, 4, 0x55);	/* behind the last vector */
	ck_assert_uint_eq(rd(VPCI_TABLE + 3 * 16, 4), 0);
	wr(VPCI_TABLE, 8, 0x100000000ull | 0xfee00003u);
	ck_assert_uint_eq(rd(VPCI_TABLE, 4), 0xfee00000);
	ck_assert_uint_eq(rd(VPCI_TABLE + 4, 4), 1);
	wr(VPCI_TABLE + 12, 4, 0xfffffffe);
	ck_assert_uint_eq(rd(VPCI_TABLE + 12, 4), 0);
	wr(VPCI_PBA, 4, 0xff);
	ck_assert_uint_eq(rd(VPCI_PBA, 4), 0);
}
END_TEST

/* Wrong widths change nothing and read as zeros. */
START_TEST(widths)
{
	static const uint32_t lens[] = { 1, 2, 4, 8 };
	uint32_t offset, i;

	for (offset = 0; offset < 64; offset++)
		for (i = 0; i < 4; i++) {
			uint32_t want = offset < 16 || offset >= 32 ? 4
				: offset == 20 || offset == 21 ? 1 : 2;

			if (lens[i] == want && !(offset % want))
				continue;
			if (offset >= 56)
				continue;
			wr(offset, lens[i], UINT64_MAX);
			ck_assert_uint_eq(rd(offset, lens[i]), 0);
		}
	ck_assert_uint_eq(rd(20, 1), 0);
	ck_assert_uint_eq(rd(0, 4), 0);
	ck_assert_uint_eq(rd(32, 4), 0);
	ck_assert_uint_eq(rd(24, 2), VIRTQ_SIZE_MAX);
}
END_TEST

START_TEST(device_config)
{
	ck_assert_uint_eq(rd(VPCI_DEVICE, 4), 0xcccccccc);
	ck_assert_uint_eq(rd(VPCI_DEVICE + VPCI_DEVICE_BYTES - 1, 1), 0xcc);
	ck_assert_uint_eq(rd(VPCI_DEVICE + VPCI_DEVICE_BYTES - 1, 2), 0);
	wr(VPCI_DEVICE + VPCI_DEVICE_BYTES - 4, 8, 0);
	ck_assert_uint_eq(dev.cfg_writes, 0);
	wr(VPCI_DEVICE, 1, 0);
	ck_assert_uint_eq(dev.cfg_writes, 1);
}
END_TEST

START_TEST(kicks)
{
	struct err e;

	wr(VPCI_NOTIFY, 2, 0);		/* nobody drives the device yet */
	ck_assert_int_ge(loop_step(loop, 0, &e), 0);
	ck_assert_int_eq(dev.kicks, 0);
	drive();
	wr(VPCI_NOTIFY, 2, 0);
	wr(VPCI_NOTIFY, 4, 0);
	ck_assert_int_ge(loop_step(loop, 0, &e), 0);
	ck_assert_int_eq(dev.kicks, 1);
	wr(VPCI_NOTIFY + 4, 2, 1);	/* a queue that is not enabled */
	wr(VPCI_NOTIFY + 2, 2, 0);
	wr(VPCI_NOTIFY + 8, 2, 0);
	wr(VPCI_NOTIFY + 0x3fc, 4, 0);
	ck_assert_int_ge(loop_step(loop, 0, &e), 0);
	ck_assert_int_eq(dev.kicks, 1);
	wr(20, 1, 0);
	wr(VPCI_NOTIFY, 2, 0);
	ck_assert_int_ge(loop_step(loop, 0, &e), 0);
	ck_assert_int_eq(dev.kicks, 1);
}
END_TEST

static int policy_after(uint16_t takes, unsigned int times)
{
	struct err e;

	dev.takes = takes;
	while (times--) {
		wr(VPCI_NOTIFY, 2, 0);
		ck_assert_int_ge(loop_step(loop, 0, &e), 0);
	}
	return sched_getscheduler(0);
}

/* What the device takes from a queue at each notification decides about batches. */
START_TEST(batches)
{
	drive();
	dev.d.q[0].s.next_avail = UINT16_MAX;
	batch_begin();
	ck_assert_int_eq(policy_after(1, BATCH_LONE_MAX - 1), SCHED_BATCH);
	ck_assert_int_eq(policy_after(1, 1), SCHED_OTHER);
	ck_assert_int_eq(policy_after(0, 1), SCHED_OTHER);
	ck_assert_int_eq(policy_after(2, 1), SCHED_BATCH);
}
END_TEST

/* A lent queue: its kicks are not ours, and another's eventfd raises its vector. */
START_TEST(lent)
{
	struct vmm_device c;
	int call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), kick_fd;

	drive();
	set(MSIX + 2, 2, MSIX_CONTROL_ENABLE);
	vector(1, 0xfee00000, 0x41, 0);
	vector(2, 0xfee00000, 0x42, 0);
	kick_fd = dev.d.lend(v, 0, call);
	ck_assert_int_eq(kick_fd, v->kick[0].fd);
	ck_assert_int_eq(dev.d.lend(v, 0, call), -EBUSY);
	ck_assert_int_eq(wired, call);
	ck_assert_uint_eq(wired_data, 0x41);
	wr(22, 2, 0);
	wr(26, 2, 2);
	ck_assert_uint_eq(wired_data, 0x42);
	wr(26, 2, VIRTQ_NO_VECTOR);
	ck_assert_int_eq(wired, -1);
	wr(26, 2, 1);
	ck_assert_int_eq(wired, call);
	/* The driver notifies: nobody here looks, but the counters tell. */
	wr(VPCI_NOTIFY, 4, 0);
	wr(VPCI_NOTIFY, 4, 0);
	ck_assert_int_eq(loop_step(loop, 0, NULL), 0);
	ck_assert_int_eq(dev.kicks, 0);
	vpci_count(v, &c);
	ck_assert_uint_eq(c.kicks, 2);
	ck_assert_uint_eq(c.kernel_queues, 1);
	wr(VPCI_NOTIFY, 4, 0);
	dev.d.take_back(v, 0);
	dev.d.take_back(v, 0);
	ck_assert_int_eq(wired, -1);
	ck_assert_int_ge(loop_step(loop, 0, NULL), 1);
	ck_assert_int_eq(dev.kicks, 1);
	vpci_count(v, &c);
	ck_assert_uint_eq(c.kicks, 3);
	ck_assert_uint_eq(c.kernel_queues, 0);
	close(call);
}
END_TEST

START_TEST(bindings_follow)
{
	ck_assert_int_eq(bound, 2);
	set(4, 2, 2);
	ck_assert_int_eq(binds, 2);
	set(0x10, 4, 0xd0000000);
	ck_assert_int_eq(bound, 2);
	ck_assert_int_eq(binds, 6);
	ck_assert_uint_eq(v->kick[1].bound, 0xd0000000 + VPCI_NOTIFY + 4);
	bind_fails = true;
	set(0x10, 4, 0xd1000000);
	ck_assert_int_eq(bound, 0);
	ck_assert_uint_eq(v->kick[0].bound, 0);
	bind_fails = false;
	set(0x10, 4, 0xd2000000);
	ck_assert_int_eq(bound, 2);
}
END_TEST

static uint8_t find_cap(uint8_t type)
{
	uint8_t at = (uint8_t)cfg(0x34, 1);
	int n = 0;

	while (at && n++ < 48) {
		if (cfg(at, 1) == 9 && cfg((uint8_t)(at + 3), 1) == type)
			return at;
		at = (uint8_t)cfg((uint8_t)(at + 1), 1);
	}
	ck_abort_msg("capability %u is missing", type);
}

START_TEST(capabilities)
{
	uint8_t type, at;

	ck_assert_uint_eq(cfg(6, 2) & 0x10, 0x10);
	ck_assert_uint_eq(cfg(0, 4), 0x10441af4);
	ck_assert_uint_eq(cfg(0x3d, 1), 0);	/* no INTx */
	for (type = 1; type <= 5; type++) {
		at = find_cap(type);
		ck_assert_uint_eq(cfg((uint8_t)(at + 4), 1), 0);
		ck_assert_uint_le((uint64_t)cfg((uint8_t)(at + 8), 4) +
				  cfg((uint8_t)(at + 12), 4), VPCI_BAR_BYTES);
	}
}
END_TEST

/* Access through configuration space, with offsets and lengths that lie. */
START_TEST(config_window)
{
	static const uint32_t offsets[] = { 4096, 4095, 0xffffffff, 0xfffffffc, 0x80000000 };
	uint8_t at = find_cap(5);
	uint32_t len;
	size_t i;

	set((uint8_t)(at + 8), 4, 18);
	set((uint8_t)(at + 12), 4, 2);
	ck_assert_uint_eq(cfg((uint8_t)(at + 16), 2), 2);
	set((uint8_t)(at + 8), 4, 20);
	set((uint8_t)(at + 12), 4, 1);
	set((uint8_t)(at + 16), 1, 1);
	ck_assert_uint_eq(rd(20, 1), 1);
	set((uint8_t)(at + 4), 1, 1);		/* another BAR */
	set((uint8_t)(at + 16), 1, 3);
	ck_assert_uint_eq(rd(20, 1), 1);
	set((uint8_t)(at + 4), 1, 0);
	for (i = 0; i < sizeof(offsets) / sizeof(*offsets); i++)
		for (len = 0; len < 12; len++) {
			set((uint8_t)(at + 12), 4, len);
			set((uint8_t)(at + 8), 4, offsets[i]);
			set((uint8_t)(at + 16), 4, 0xffffffff);
			cfg((uint8_t)(at + 16), 4);
		}
	set((uint8_t)(at + 12), 4, 0xffffffff);
	cfg((uint8_t)(at + 16), 4);
	ck_assert_uint_eq(rd(20, 1), 1);
}
END_TEST

/* Every offset, width and value, in any order, in every state. */
START_TEST(noise)
{
	static const uint32_t lens[] = { 1, 2, 4, 8 };
	struct err e;
	int i;

	srandom((unsigned int)kit_seed("vmm_virtio_pci"));
	log_open(-1, LOG_LEVEL_ERROR, false);
	for (i = 0; i < 300000; i++) {
		uint32_t len = lens[random() % 4];
		uint32_t offset = (uint32_t)(random() % 2 ? random() % 64 : random() % 4096);
		uint64_t x = random() % 2 ? (uint64_t)random() % 32
					  : (uint64_t)random() * (uint64_t)random();

		if (offset + len > VPCI_BAR_BYTES)
			continue;
		if (!(random() % 64))
			drive();
		if (random() % 2)
			wr(offset, len, x);
		else
			rd(offset, len);
		if (!(random() % 8))
			set((uint8_t)random(), 1, (uint32_t)x);
		if (!(random() % 16))
			loop_step(loop, 0, &e);
		if (dev.d.running)
			raise_queue();
	}
}
END_TEST

Suite *vmm_virtio_pci_suite(void)
{
	Suite *s = suite_create("vmm_virtio_pci");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, start_up);
	tcase_add_test(t, slow_reset);
	tcase_add_test(t, in_use);
	tcase_add_test(t, counters);
	tcase_add_loop_test(t, feature_bits, 0, (int)ARRAY_LEN(features));
	tcase_add_test(t, clearing_status);
	tcase_add_test(t, driver_cannot_set_needs_reset);
	tcase_add_loop_test(t, queue_size, 0, (int)ARRAY_LEN(queue_sizes));
	tcase_add_loop_test(t, bad_ring, 0, (int)ARRAY_LEN(bad_rings));
	tcase_add_test(t, locked);
	tcase_add_test(t, enable_early);
	tcase_add_test(t, vectors);
	tcase_add_test(t, one_vector);
	tcase_add_test(t, interrupts);
	tcase_add_test(t, stray_address);
	tcase_add_test(t, broken_interrupts);
	tcase_add_test(t, table_widths);
	tcase_add_test(t, widths);
	tcase_add_test(t, device_config);
	tcase_add_test(t, kicks);
	tcase_add_test(t, batches);
	tcase_add_test(t, lent);
	tcase_add_test(t, bindings_follow);
	tcase_add_test(t, capabilities);
	tcase_add_test(t, config_window);
	tcase_add_test(t, noise);
	suite_add_tcase(s, t);
	return s;
}
