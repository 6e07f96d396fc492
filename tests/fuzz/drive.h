/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_DRIVE_H
#define TESTS_FUZZ_DRIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/loop.h"
#include "vmm/gmem.h"
#include "vmm/virtio/pci.h"

/**
 * struct fuzz - what is left of an input
 */
struct fuzz {
	const uint8_t *data;
	size_t len;
};

/* Longest request that a fuzzer composes. */
#define DRIVE_MESSAGE_BYTES 4096

/**
 * struct message - a request that makes sense, but for what the input changes
 * @q:        queue
 * @out:      device-readable bytes
 * @out_len:  how many of them
 * @in_len:   device-writable bytes behind
 */
struct message {
	uint16_t q;
	uint8_t out[DRIVE_MESSAGE_BYTES];
	size_t out_len, in_len;
};

/**
 * struct drive - a virtio device on a bus without KVM, and its driver's memory
 * @mem:  RAM below and above the hole, and @hotplug_bytes that can be plugged
 * @host: @arg is this struct
 * @rings: guest address of the queues
 * @in:   the input, for @back_end
 * @compose:  a request; may be NULL
 * @back_end: something happens on the host's side of the device; may be NULL
 * @check:    what holds after each step; may be NULL
 * @waits:    how often the input may still wait for timers, as @back_end calls for it
 */
struct drive {
	uint64_t hotplug_bytes;
	struct gmem mem;
	struct loop *loop;
	struct pci bus;
	struct vpci_host host;
	struct vpci *v;
	uint64_t rings;
	struct fuzz in;
	void (*compose)(struct drive *t, struct message *m);
	void (*back_end)(struct drive *t, struct virtio_dev *d, uint8_t what);
	void (*check)(struct drive *t, struct virtio_dev *d);
	unsigned int waits;
};

uint64_t fuzz_take(struct fuzz *f, size_t bytes);
size_t fuzz_take_bytes(struct fuzz *f, void *dst, size_t len);

bool fuzz_odd(struct fuzz *f);
void message_add(struct message *m, const void *src, size_t len);
void drive_begin(struct drive *t, const uint8_t *data, size_t len);
void drive_run(struct drive *t, struct virtio_dev *d);
void drive_wait(struct drive *t, int ms);
void drive_end(struct drive *t);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
