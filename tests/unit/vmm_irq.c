// SPDX-License-Identifier: Apache-2.0
/*
 * Wires of vmm/irq.c: with a fake host that does as KVM's irqfds do, and with
 * KVM itself where there is one.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "tests/kit/kit.h"
#include "vmm/kvm.h"

#define VECTORS 4
#define MSI 0xfee00000u
#define LINES 8

Suite *vmm_irq_suite(void);

/* A line: what is bound to it, and the message; @sent counts. */
static struct line {
	bool taken;
	int fd;
	uint64_t address;
	uint32_t data;
} line[LINES];
static struct msix m;
static unsigned int sent, wires, unwires;
static uint32_t last_data;
static bool wire_fails;
static int fd;

static void msi(void *arg, uint64_t address, uint32_t data)
{
	(void)arg;
	(void)address;
	last_data = data;
	sent++;
}

/* What an irqfd does when its eventfd is signalled, or was when it was bound. */
static void run(void)
{
	eventfd_t n;
	int i;

	for (i = 0; i < LINES; i++)
		if (line[i].fd >= 0 && !eventfd_read(line[i].fd, &n))
			msi(NULL, line[i].address, line[i].data);
}

static int line_get(void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < LINES && line[i].taken; i++)
		;
	if (i == LINES)
		return -ENOSPC;
	line[i] = (struct line){ .taken = true, .fd = -1 };
	return i;
}

static void line_put(void *arg, int i)
{
	(void)arg;
	ck_assert(line[i].taken);
	ck_assert_int_lt(line[i].fd, 0);
	line[i].taken = false;
}

static int wire(void *arg, int i, int from, uint64_t address, uint32_t data)
{
	(void)arg;
	ck_assert(line[i].taken);
	ck_assert(line[i].fd < 0 || line[i].fd == from);
	if (wire_fails)
		return -ENOMEM;
	line[i].fd = from;
	line[i].address = address;
	line[i].data = data;
	wires++;
	run();
	return 0;
}

static void unwire(void *arg, int i, int from)
{
	(void)arg;
	ck_assert_int_eq(line[i].fd, from);
	line[i].fd = -1;
	unwires++;
}

static const struct irq_ops ops = { .msi = msi, .line_get = line_get, .line_put = line_put,
				    .wire = wire, .unwire = unwire };

static void entry(uint16_t v, uint32_t address, uint32_t data, uint32_t control)
{
	uint32_t at = v * MSIX_ENTRY_BYTES, high = 0;

	msix_table_write(&m, at, &address, 4);
	msix_table_write(&m, at + 4, &high, 4);
	msix_table_write(&m, at + 8, &data, 4);
	msix_table_write(&m, at + 12, &control, 4);
}

static void mask(uint16_t v, uint32_t on)
{
	msix_table_write(&m, v * MSIX_ENTRY_BYTES + 12u, &on, 4);
}

static uint64_t pending(void)
{
	uint64_t bits;

	msix_pba_read(&m, 0, &bits, 8);
	return bits;
}

static void signal_fd(void)
{
	ck_assert(!eventfd_write(fd, 1));
	run();
}

static void setup(void)
{
	int i;

	for (i = 0; i < LINES; i++)
		line[i] = (struct line){ .fd = -1 };
	ck_assert_int_eq(msix_init(&m, VECTORS, &ops, NULL), 0);
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_ge(fd, 0);
}

static void teardown(void)
{
	int i;

	for (i = 0; i < MSIX_VECTORS_MAX; i++)
		msix_unwire(&m, (uint16_t)i);
	for (i = 0; i < LINES; i++)
		ck_assert(!line[i].taken);
	msix_done(&m);
	close(fd);
}

START_TEST(test_follows)
{
	ck_assert_int_eq(msix_wire(&m, 7, fd, 1), 0);
	signal_fd();
	ck_assert_uint_eq(sent, 0);
	entry(1, MSI, 0x41, 0);
	ck_assert_uint_eq(sent, 0);		/* MSI-X is off */
	msix_control(&m, MSIX_CONTROL_ENABLE);
	ck_assert_uint_eq(sent, 1);
	ck_assert_uint_eq(last_data, 0x41);
	signal_fd();
	ck_assert_uint_eq(sent, 2);
	ck_assert_uint_eq(wires, 1);
	/* Another message, as when the interrupt moves to another CPU. */
	entry(1, MSI + 0x1000, 0x42, 0);
	signal_fd();
	ck_assert_uint_eq(sent, 3);
	ck_assert_uint_eq(last_data, 0x42);
	ck_assert_uint_eq(line[0].address, MSI + 0x1000);
	/* Vectors of others leave it alone. */
	wires = unwires = 0;
	entry(2, MSI, 0x50, 0);
	mask(0, 1);
	ck_assert_uint_eq(wires + unwires, 0);
}
END_TEST

static void by_entry(bool on)
{
	mask(1, on);
}

static void by_function(bool on)
{
	msix_control(&m, (uint16_t)(MSIX_CONTROL_ENABLE | (on ? MSIX_CONTROL_MASK : 0)));
}

static void by_disabling(bool on)
{
	msix_control(&m, on ? 0 : MSIX_CONTROL_ENABLE);
}

static void (*const ways[])(bool) = { by_entry, by_function, by_disabling };

/* Masked, by each way: pending once, delivered once. */
START_TEST(test_masked)
{
	msix_control(&m, MSIX_CONTROL_ENABLE);
	entry(1, MSI, 0x41, 0);
	ck_assert_int_eq(msix_wire(&m, 0, fd, 1), 0);
	ways[_i](true);
	ck_assert_uint_eq(pending(), 0);
	signal_fd();
	signal_fd();
	ck_assert_uint_eq(sent, 0);
	ck_assert_uint_eq(pending(), 1u << 1);
	ck_assert_uint_eq(pending(), 1u << 1);
	ways[_i](true);
	ck_assert_uint_eq(sent, 0);
	ways[_i](false);
	ck_assert_uint_eq(sent, 1);
	ck_assert_uint_eq(pending(), 0);
	signal_fd();
	ck_assert_uint_eq(sent, 2);
}
END_TEST

/* Addresses that are no local APIC's are never given to the host. */
START_TEST(test_stray_address)
{
	uint32_t high = 1;

	msix_control(&m, MSIX_CONTROL_ENABLE);
	ck_assert_int_eq(msix_wire(&m, 0, fd, 1), 0);
	entry(1, 0x1000, 0x41, 0);
	signal_fd();
	ck_assert_uint_eq(wires, 0);
	entry(1, MSI, 0x41, 0);
	ck_assert_uint_eq(sent, 1);
	msix_table_write(&m, 1 * MSIX_ENTRY_BYTES + 4, &high, 4);
	signal_fd();
	ck_assert_uint_eq(sent, 1);
	ck_assert_uint_eq(unwires, 1);
}
END_TEST

START_TEST(test_vector)
{
	msix_control(&m, MSIX_CONTROL_ENABLE);
	entry(1, MSI, 0x41, 0);
	entry(2, MSI, 0x42, 0);
	ck_assert_int_eq(msix_wire(&m, 0, fd, 0xffff), 0);
	signal_fd();
	ck_assert_uint_eq(sent, 0);
	ck_assert_uint_eq(pending(), 0);
	msix_rewire(&m, 0, VECTORS);
	ck_assert_uint_eq(sent, 0);
	msix_rewire(&m, 0, 1);
	ck_assert_uint_eq(sent, 1);
	msix_rewire(&m, 0, 2);
	signal_fd();
	ck_assert_uint_eq(last_data, 0x42);
	msix_rewire(&m, 0, 3);		/* masked since the beginning */
	signal_fd();
	ck_assert_uint_eq(sent, 2);
	ck_assert_uint_eq(pending(), 1u << 3);
	msix_rewire(&m, 5, 1);		/* no such wire */
	msix_unwire(&m, 5);
}
END_TEST

/* Two wires may share a vector, as the queues of a driver that is short of them. */
START_TEST(test_shared)
{
	int other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	msix_control(&m, MSIX_CONTROL_ENABLE);
	entry(1, MSI, 0x41, 0);
	ck_assert_int_eq(msix_wire(&m, 0, fd, 1), 0);
	ck_assert_int_eq(msix_wire(&m, 1, other, 1), 0);
	signal_fd();
	ck_assert(!eventfd_write(other, 1));
	run();
	ck_assert_uint_eq(sent, 2);
	msix_unwire(&m, 0);
	signal_fd();
	ck_assert_uint_eq(sent, 2);
	/* Raised by us besides. */
	msix_raise(&m, 1);
	ck_assert_uint_eq(sent, 3);
	msix_unwire(&m, 1);
	close(other);
}
END_TEST

START_TEST(test_host_refuses)
{
	static const struct irq_ops none = { .msi = msi };
	int i;

	msix_control(&m, MSIX_CONTROL_ENABLE);
	entry(1, MSI, 0x41, 0);
	for (i = 0; i < LINES; i++)
		ck_assert_int_eq(msix_wire(&m, (uint16_t)i, fd + i, 0xffff), 0);
	ck_assert_int_eq(msix_wire(&m, LINES, fd, 1), -ENOSPC);
	for (i = 0; i < LINES; i++)
		msix_unwire(&m, (uint16_t)i);
	wire_fails = true;
	ck_assert_int_eq(msix_wire(&m, 0, fd, 1), 0);
	signal_fd();
	wire_fails = false;
	/* The next change of the table tries again. */
	mask(1, 1);
	mask(1, 0);
	ck_assert_uint_eq(sent, 1);
	m.ops = &none;
	ck_assert_int_eq(msix_wire(&m, 1, fd, 1), -ENOTSUP);
	m.ops = &ops;
}
END_TEST

static bool is_taken(int e)
{
	struct pollfd p = { .fd = e, .events = POLLIN };

	return !poll(&p, 1, 0);
}

/* KVM takes what is signalled as long as the line is wired. */
START_TEST(test_kvm)
{
	struct kvm k = { .sys = -1, .vm = -1 };
	int sys = open("/dev/kvm", O_RDWR | O_CLOEXEC), a, b;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct err e = { 0 };

	ck_assert_msg(!kvm_init(&k, sys, 1, &e), "%s", e.text);
	ck_assert_uint_gt(k.lines_max, 0);
	a = kvm_irq_ops.line_get(&k);
	b = kvm_irq_ops.line_get(&k);
	ck_assert_int_eq(a, 0);
	ck_assert_int_eq(b, 1);
	kvm_irq_ops.line_put(&k, a);
	ck_assert(!eventfd_write(fd, 1));
	ck_assert_int_eq(kvm_irq_ops.wire(&k, b, fd, MSI, 0x41), 0);
	ck_assert(is_taken(fd));
	ck_assert_int_eq(kvm_irq_ops.wire(&k, b, fd, MSI, 0x42), 0);
	ck_assert(!eventfd_write(fd, 1));
	ck_assert(is_taken(fd));
	kvm_irq_ops.unwire(&k, b, fd);
	ck_assert(!eventfd_write(fd, 1));
	ck_assert_int_eq(poll(&p, 1, 0), 1);
	ck_assert_int_eq(kvm_irq_ops.wire(&k, b, fd, MSI, 0x42), 0);
	ck_assert(is_taken(fd));
	kvm_irq_ops.unwire(&k, b, fd);
	kvm_irq_ops.line_put(&k, b);
	for (a = 0; a < (int)k.lines_max; a++)
		ck_assert_int_eq(kvm_irq_ops.line_get(&k), a);
	ck_assert_int_eq(kvm_irq_ops.line_get(&k), -ENOSPC);
	kvm_done(&k);
}
END_TEST

Suite *vmm_irq_suite(void)
{
	Suite *s = suite_create("vmm_irq");
	TCase *t = tcase_create("wires");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_follows);
	tcase_add_loop_test(t, test_masked, 0, (int)ARRAY_LEN(ways));
	tcase_add_test(t, test_stray_address);
	tcase_add_test(t, test_vector);
	tcase_add_test(t, test_shared);
	tcase_add_test(t, test_host_refuses);
	suite_add_tcase(s, t);
	if (access("/dev/kvm", R_OK | W_OK)) {
		kit_skip("vmm_irq/kvm", "no /dev/kvm");
		return s;
	}
	t = tcase_create("kvm");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_kvm);
	suite_add_tcase(s, t);
	return s;
}
