// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of a template's state (vmm/template.c): the state of a machine whose devices a
 * driver has set up, changed in places, is given to a machine whose KVM is
 * tests/fuzz/fakekvm.c. An input is
 *
 *	2 bytes  how much of the state file is left out at its end; 0: nothing
 *	then any number of
 *	1 byte   what is changed: a field of the head, a device, or any byte of all
 *	2 bytes  where in it
 *	1 byte   how many bytes, and these
 *
 * A machine that takes the state serves its queues for a while then, as it would when its
 * guest runs. A find is a crash, a leak, a descriptor that is left, a hang, or an error
 * without a text.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "tests/fuzz/drive.h"
#include "tests/fuzz/fakekvm.h"
#include "tests/fuzz/image.h"
#include "vmm/sandbox.h"
#include "vmm/template.h"

#define RAM_BYTES (32ull << 20)
#define RINGS 0x800000ull
#define RING_BYTES 0x4000ull
#define SIZE 16
#define TURNS 4

/* Registers of the common configuration (virtio 1.2, section 4.1.4.3). */
enum { DRIVER_SELECT = 8, DRIVER = 12, STATUS = 20, NUM_QUEUES = 18, SELECT = 22, QUEUE_SIZE = 24,
       QUEUE_VECTOR = 26, ENABLE = 28, DESC = 32, AVAIL = 40, USED = 48 };

int __wrap_sandbox_enter(const struct sandbox_filter *f, struct err *e);

/* Confines nobody. */
int __wrap_sandbox_enter(const struct sandbox_filter *f, struct err *e)
{
	(void)f;
	(void)e;
	return 0;
}

static const struct vmm_config config = { .ram_bytes = RAM_BYTES, .vcpus = 2, .guest_cid = 3,
					  .hotplug_bytes = VMM_HOTPLUG_STEP_BYTES };
static uint8_t *good;	/* a state file */
static size_t good_len;
static int memory_fd = -1;

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_template: %s\n", what);
	abort();
}

static void put(struct vpci *v, uint32_t at, uint64_t value, uint32_t len)
{
	v->fn.ops->bar_write(&v->fn, at, &value, len);
}

/* A driver that offers one buffer in each queue. */
static void drive(struct machine *m, struct vpci *v, uint64_t rings)
{
	uint16_t i;

	put(v, STATUS, 1, 1);
	put(v, STATUS, 3, 1);
	put(v, DRIVER_SELECT, 1, 4);
	put(v, DRIVER, 1, 4);
	put(v, STATUS, 11, 1);
	for (i = 0; i < v->dev->n_queues; i++) {
		uint64_t at = rings + i * RING_BYTES, buffer[2] = { at + 0x3000, 256 | 2ull << 32 };
		uint16_t avail = 1;

		put(v, SELECT, i, 2);
		put(v, QUEUE_SIZE, SIZE, 2);
		put(v, QUEUE_VECTOR, 1, 2);
		put(v, DESC, at, 4);
		put(v, AVAIL, at + 0x1000, 4);
		put(v, USED, at + 0x2000, 4);
		put(v, ENABLE, 1, 2);
		check(!gmem_write(&m->mem, at, buffer, sizeof(buffer)) &&
		      !gmem_write(&m->mem, at + 0x1002, &avail, sizeof(avail)), "rings");
	}
	put(v, STATUS, 15, 1);
}

static int make_file(const void *data, size_t len)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	check(fd >= 0 && write(fd, data, len) == (ssize_t)len && !lseek(fd, 0, SEEK_SET), "memfd");
	return fd;
}

/* Makes the template that inputs change. */
static void begin(void)
{
	uint8_t kernel[IMAGE_BYTES] = { 0 };
	int fds[MACHINE_FDS_MAX], state = memfd_create("state", MFD_CLOEXEC), i = 0;
	struct machine m;
	struct vpci *v;
	struct err e;

	log_open(-1, LOG_LEVEL_ERROR, false);
	fakekvm_begin(false);
	memory_fd = memfd_create("memory", MFD_CLOEXEC);
	fds[MACHINE_KVM] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[MACHINE_KERNEL] = make_file(kernel, image_elf(kernel, true));
	fds[MACHINE_INITRAMFS] = make_file("", 0);
	fds[MACHINE_CONSOLE] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[MACHINE_TEMPLATE] = dup(memory_fd);
	check(!machine_init(&m, &e) && !machine_config(&m, &config, fds, &e) &&
	      !machine_start(&m, &e), "a machine");
	for (v = m.devices; v; v = v->next)
		drive(&m, v, RINGS + (uint64_t)i++ * VIRTIO_QUEUES_MAX * RING_BYTES);
	machine_pause(&m);
	check(!machine_save(&m, state, &e), "a template");
	machine_done(&m);
	fd_close(&fds[MACHINE_KERNEL]);
	fd_close(&fds[MACHINE_INITRAMFS]);
	good_len = (size_t)lseek(state, 0, SEEK_END);
	good = malloc(good_len);
	check(good && pread(state, good, good_len, 0) == (ssize_t)good_len, "its state");
	close(state);
}

/* Where a change goes: the head, the devices at the end, or anywhere. */
static size_t place(uint8_t what, uint64_t at)
{
	size_t devices = 5 * sizeof(struct vpci_state);

	if (what % 4 == 0)
		return at % 64;
	return what % 4 == 3 ? at * 7 % good_len : good_len - devices + at % devices;
}

static size_t spoil(struct fuzz *f, uint8_t *state)
{
	size_t cut = fuzz_take(f, 2), at, len;

	while (f->len) {
		uint8_t what = (uint8_t)fuzz_take(f, 1);

		at = place(what, fuzz_take(f, 2));
		len = fuzz_take(f, 1) % 17;
		if (len > good_len - at)
			len = good_len - at;
		fuzz_take_bytes(f, state + at, len);
	}
	return good_len - cut % good_len;
}

static unsigned int count_fds(void)
{
	unsigned int n = 0;
	int fd;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void serve(struct machine *m)
{
	struct err e;
	int i;

	check(!machine_start(m, &e), "a copy does not start");
	for (i = 0; i < TURNS; i++)
		loop_step(m->loop, 0, &e);
	machine_stop(m);
}

/**
 * LLVMFuzzerTestOneInput() - a machine that begins in the state of an input
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, size };
	int fds[MACHINE_FDS], i, rc;
	struct machine m;
	unsigned int open_fds;
	struct err e = { 0 };
	uint8_t *state;

	if (!good)
		begin();
	open_fds = count_fds();
	state = malloc(good_len);
	check(state != NULL, "memory");
	memcpy(state, good, good_len);
	fds[MACHINE_STATE] = make_file(state, spoil(&f, state));
	free(state);
	fds[MACHINE_KVM] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[MACHINE_CLONE] = dup(memory_fd);
	fds[MACHINE_CONSOLE] = open("/dev/null", O_RDWR | O_CLOEXEC);
	rc = machine_init(&m, &e);
	if (!rc)
		rc = machine_restore(&m, &config, fds, &e);
	check(!rc || (rc == -e.code && e.text[0]), "an error without text");
	if (!rc)
		serve(&m);
	machine_done(&m);
	for (i = 0; i < MACHINE_FDS; i++)
		fd_close(&fds[i]);
	check(count_fds() == open_fds, "descriptors are left");
	return 0;
}
