// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The driver of a disk over tests/kit/fakedrv.c: makes requests and waits for them,
 * since they may take as long as they like. Whether io_uring or this thread carries
 * them out is the test's choice.
 */
#include "tests/kit/fakeblk.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The disk must answer within so many waits. */
#define WAITS_MAX 1000

/**
 * fakeblk_file() - a file without a name, in the current folder: O_DIRECT works there
 */
int fakeblk_file(off_t size)
{
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) {
		char name[] = "./virtio-blk-XXXXXX";

		fd = mkostemp(name, O_CLOEXEC);
		unlink(name);
	}
	ck_assert_int_ge(fd, 0);
	ck_assert(!ftruncate(fd, size));
	return fd;
}

/**
 * fakeblk_init() - memory, loop and buffers; no disk yet
 * @use_ring: by io_uring, which must be there
 */
void fakeblk_init(struct fakeblk *b, bool use_ring)
{
	struct err e = { 0 };

	memset(b, 0, sizeof(*b));
	fakedrv_init(&b->f);
	ck_assert_msg(!aio_new(b->f.loop, use_ring, &b->aio, &e), "%s", e.text);
	ck_assert(aio_has_ring(b->aio) == use_ring);
	b->host = (struct blk_host){ .mem = &b->f.mem, .loop = b->f.loop, .aio = b->aio,
				     .broker_fd = -1, .vcpus = 1 };
	b->hdr = fakedrv_alloc(&b->f, 1 << 16);
	b->data = fakedrv_alloc(&b->f, FAKEBLK_DATA_BYTES);
	b->status = fakedrv_alloc(&b->f, 1 << 16);
}

/**
 * fakeblk_done() - free everything
 */
void fakeblk_done(struct fakeblk *b)
{
	if (b->f.d) {
		fakedrv_reset(&b->f);
		b->f.d->ops->free(b->f.d);
		b->f.d = NULL;
	}
	ck_assert_uint_eq(aio_held(b->aio), 0);
	aio_free(b->aio);
	fakedrv_done(&b->f);
}

/**
 * fakeblk_new() - make a disk; it is not attached
 * @fd: taken over
 */
struct virtio_dev *fakeblk_new(struct fakeblk *b, const struct vmm_disk *cfg, int fd)
{
	struct virtio_dev *d = NULL;
	struct err e = { 0 };

	ck_assert_msg(!blk_new(cfg, fd, &b->host, &d, &e), "%s", e.text);
	return d;
}

/**
 * fakeblk_refuse() - a disk that cannot be made
 * @fd:   stays open
 * @text: that the error must hold
 */
void fakeblk_refuse(struct fakeblk *b, const struct vmm_disk *cfg, int fd, const char *text)
{
	struct virtio_dev *d = NULL;
	struct err e = { 0 };

	ck_assert_int_lt(blk_new(cfg, fd, &b->host, &d, &e), 0);
	ck_assert_msg(strstr(e.text, text), "%s", e.text);
	ck_assert_ptr_null(d);
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
}

/**
 * fakeblk_header() - write the header of request @slot
 */
void fakeblk_header(struct fakeblk *b, unsigned int slot, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };

	memcpy(fakedrv_ptr(&b->f, b->hdr + 16 * slot, sizeof(h)), &h, sizeof(h));
}

/**
 * fakeblk_add() - offer a request of header, data and status, in a buffer each
 * @slot: distinct for requests that are under way
 * @data: in guest memory
 * @len:  of it; 0: there is none
 */
void fakeblk_add(struct fakeblk *b, uint16_t q, unsigned int slot, uint32_t type,
		 uint64_t sector, uint64_t data, uint32_t len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct fakebuf v[3] = { { b->hdr + 16 * slot, 16, false },
				{ data, len, in },
				{ b->status + 16 * slot, 1, true } };

	fakeblk_header(b, slot, type, sector);
	*(uint8_t *)fakedrv_ptr(&b->f, b->status + 16 * slot, 1) = 0xee;
	if (!len)
		v[1] = v[2];
	fakedrv_add(&b->f, q, v, len ? 3 : 2);
}

/**
 * fakeblk_status() - of request @slot; 0xee: not answered
 */
uint8_t fakeblk_status(struct fakeblk *b, unsigned int slot)
{
	return *(uint8_t *)fakedrv_ptr(&b->f, b->status + 16 * slot, 1);
}

/**
 * fakeblk_wait() - run the I/O thread until queue @q gives a request back
 * @ret_len: may be NULL
 */
void fakeblk_wait(struct fakeblk *b, uint16_t q, uint32_t *ret_len)
{
	int i = 0;

	while (!fakedrv_used(&b->f, q, NULL, ret_len)) {
		ck_assert_msg(!fakedrv_is_broken(&b->f), "the device is broken");
		if (!loop_step(b->f.loop, 1000, NULL))
			ck_assert_msg(++i < WAITS_MAX, "no answer");
	}
}

/**
 * fakeblk_do() - one request in queue 0 with the data at @b->data, and its status
 */
int fakeblk_do(struct fakeblk *b, uint32_t type, uint64_t sector, uint32_t len)
{
	fakeblk_add(b, 0, 0, type, sector, b->data, len);
	fakedrv_kick(&b->f, 0);
	fakeblk_wait(b, 0, NULL);
	return fakeblk_status(b, 0);
}

/**
 * fakeblk_mem() - the data's first @len bytes
 */
uint8_t *fakeblk_mem(struct fakeblk *b, uint32_t len)
{
	return fakedrv_ptr(&b->f, b->data, len);
}
