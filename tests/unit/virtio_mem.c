// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * vmm/virtio/mem.c: good and hostile requests, and what is left of a block that is
 * unplugged under the hands of its users. Rows name blocks of a region of 64.
 */
#include <check.h>
#include <errno.h>
#include <linux/virtio_mem.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/mem.h"
#include "tests/kit/fakedrv.h"
#include "vmm/vmm.h"

#define FEATURES (FAKE_F_INDIRECT | FAKE_F_EVENT_IDX | \
		  1ull << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE)
#define BLOCK GMEM_BLOCK_MIN_BYTES
#define BLOCKS 64u
#define RAM (GMEM_LOW_MAX_BYTES + FAKEDRV_HIGH_BYTES)
#define BASE (6ull << 30)
#define WAIT_MS 10000

#define ACK VIRTIO_MEM_RESP_ACK
#define NACK VIRTIO_MEM_RESP_NACK
#define ERROR VIRTIO_MEM_RESP_ERROR

Suite *virtio_mem_suite(void);

static struct fakedrv f;
static uint64_t req, resp;

/* Pieces that became the guest's; the first failure that is due. */
static uint64_t pieces, piece_bytes;
static int map_fails;

static int map_piece(void *arg, uint32_t n, const struct gmem_region *r)
{
	ck_assert_ptr_eq(arg, &f);
	if (map_fails)
		return -map_fails;
	ck_assert_uint_lt(n, 64);
	ck_assert(!(pieces >> n & 1));
	ck_assert_uint_eq(r->gpa, BASE + n * r->len);
	ck_assert_ptr_eq(r->hva, f.mem.hot.r.hva + (r->gpa - BASE));
	pieces |= 1ull << n;
	piece_bytes = r->len;
	return 0;
}

static void begin(uint64_t hotplug_bytes)
{
	struct gmem_policy p = { .ram_bytes = RAM, .hotplug_bytes = hotplug_bytes };
	struct virtio_dev *d = NULL;
	struct err e = { 0 };

	fakedrv_init(&f);
	gmem_done(&f.mem);
	ck_assert_msg(!gmem_init_policy(&f.mem, &p, &e), "%s", e.text);
	req = fakedrv_alloc(&f, 4096);
	resp = fakedrv_alloc(&f, 4096);
	ck_assert_msg(!vmem_new(&f.mem, map_piece, &f, f.loop, &d, &e), "%s", e.text);
	fakedrv_attach(&f, d, FEATURES, 64);
}

static void setup(void)
{
	struct err e;

	begin(BLOCKS * BLOCK);
	ck_assert_int_eq(vmem_target(f.d, BLOCKS * BLOCK, &e), 0);
}

static void teardown(void)
{
	fakedrv_done(&f);
}

static struct virtio_mem_config config(void)
{
	struct virtio_mem_config c;

	f.d->ops->config_read(f.d, 0, &c, sizeof(c));
	return c;
}

static uint64_t plugged(void)
{
	struct vmm_memory m = { 0 };

	vmem_state(f.d, &m);
	ck_assert_uint_eq(config().plugged_size, m.plugged);
	ck_assert_uint_eq(gmem_hot_count(&f.mem, 0, f.mem.hot.n), m.plugged / m.block_bytes);
	return m.plugged / m.block_bytes;
}

static void put(uint16_t type, uint64_t addr, uint16_t n)
{
	struct virtio_mem_req r = { .type = type, .u.plug = { .addr = addr, .nb_blocks = n } };
	struct fakebuf b[2] = { { req, sizeof(r), false }, { resp, 10, true } };

	memset(r.padding, 0xff, sizeof(r.padding));	/* is to be ignored */
	memset(r.u.plug.padding, 0xff, sizeof(r.u.plug.padding));
	memcpy(fakedrv_ptr(&f, req, sizeof(r)), &r, sizeof(r));
	memset(fakedrv_ptr(&f, resp, 16), 0xee, 16);
	fakedrv_add(&f, 0, b, 2);
}

/* Waits for the answer. Return: its type; @ret_state may be NULL */
static int answer(uint16_t *ret_state)
{
	struct virtio_mem_resp r = { 0 };
	uint32_t len;

	while (!fakedrv_used(&f, 0, NULL, &len))
		ck_assert_int_gt(loop_step(f.loop, WAIT_MS, NULL), 0);
	ck_assert_uint_eq(len, 10);
	memcpy(&r, fakedrv_ptr(&f, resp, 10), 10);
	ck_assert_uint_eq(*(uint8_t *)fakedrv_ptr(&f, resp + 10, 1), 0xee);
	if (ret_state)
		*ret_state = r.u.state.state;
	return r.type;
}

static int ask(uint16_t type, uint64_t addr, uint16_t n)
{
	put(type, addr, n);
	fakedrv_kick(&f, 0);
	return answer(NULL);
}

static int plug(uint32_t first, uint32_t n)
{
	return ask(VIRTIO_MEM_REQ_PLUG, BASE + first * BLOCK, (uint16_t)n);
}

static int unplug(uint32_t first, uint32_t n)
{
	return ask(VIRTIO_MEM_REQ_UNPLUG, BASE + first * BLOCK, (uint16_t)n);
}

START_TEST(test_config)
{
	struct virtio_mem_config c = config();
	uint8_t tail[8];

	ck_assert_uint_eq(c.block_size, BLOCK);
	ck_assert_uint_eq(c.addr, BASE);
	ck_assert_uint_eq(c.region_size, BLOCKS * BLOCK);
	ck_assert_uint_eq(c.usable_region_size, BLOCKS * BLOCK);
	ck_assert_uint_eq(c.plugged_size, 0);
	ck_assert_uint_eq(c.requested_size, BLOCKS * BLOCK);
	ck_assert(!(f.d->s.offered & 1ull << VIRTIO_MEM_F_ACPI_PXM));
	ck_assert_ptr_null(f.d->ops->config_write);
	f.d->ops->config_read(f.d, sizeof(c) - 4, tail, 8);
	ck_assert_mem_eq(tail + 4, "\0\0\0\0", 4);
}
END_TEST

/* Blocks 8 to 15 and 63 are plugged. */
static const struct {
	uint16_t type;
	uint64_t at;
	uint16_t n;
	int answer;
	uint64_t plugged;
} requests[] = {
	{ VIRTIO_MEM_REQ_PLUG, 0, 1, ACK, 10 },
	{ VIRTIO_MEM_REQ_PLUG, 0, 8, ACK, 17 },
	{ VIRTIO_MEM_REQ_PLUG, 16 * BLOCK, 47, ACK, 56 },
	{ VIRTIO_MEM_REQ_PLUG, 8 * BLOCK, 1, ERROR, 9 },	/* twice */
	{ VIRTIO_MEM_REQ_PLUG, 7 * BLOCK, 2, ERROR, 9 },	/* half of it */
	{ VIRTIO_MEM_REQ_PLUG, 15 * BLOCK, 2, ERROR, 9 },
	{ VIRTIO_MEM_REQ_PLUG, 0, 9, ERROR, 9 },
	{ VIRTIO_MEM_REQ_PLUG, 16 * BLOCK, 48, ERROR, 9 },
	{ VIRTIO_MEM_REQ_PLUG, 0, 0, ERROR, 9 },
	{ VIRTIO_MEM_REQ_PLUG, 1, 1, ERROR, 9 },
	{ VIRTIO_MEM_REQ_PLUG, BLOCK - 4096, 1, ERROR, 9 },
	{ VIRTIO_MEM_REQ_PLUG, 0, 65535, ERROR, 9 },
	{ VIRTIO_MEM_REQ_PLUG, 64 * BLOCK, 1, ERROR, 9 },
	{ VIRTIO_MEM_REQ_PLUG, 62 * BLOCK, 3, ERROR, 9 },
	{ VIRTIO_MEM_REQ_PLUG, -BLOCK, 1, ERROR, 9 },
	{ VIRTIO_MEM_REQ_PLUG, -BLOCK, 2, ERROR, 9 },
	{ VIRTIO_MEM_REQ_PLUG, -BASE, 1, ERROR, 9 },		/* RAM */
	{ VIRTIO_MEM_REQ_PLUG, GMEM_HIGH_GPA - BASE, 1, ERROR, 9 },
	{ VIRTIO_MEM_REQ_PLUG, UINT64_MAX - BASE + 1 - BLOCK, 1, ERROR, 9 },
	{ VIRTIO_MEM_REQ_UNPLUG, 8 * BLOCK, 8, ACK, 1 },
	{ VIRTIO_MEM_REQ_UNPLUG, 10 * BLOCK, 1, ACK, 8 },
	{ VIRTIO_MEM_REQ_UNPLUG, 63 * BLOCK, 1, ACK, 8 },
	{ VIRTIO_MEM_REQ_UNPLUG, 0, 1, ERROR, 9 },		/* twice */
	{ VIRTIO_MEM_REQ_UNPLUG, 7 * BLOCK, 2, ERROR, 9 },	/* half of it */
	{ VIRTIO_MEM_REQ_UNPLUG, 15 * BLOCK, 2, ERROR, 9 },
	{ VIRTIO_MEM_REQ_UNPLUG, 8 * BLOCK, 56, ERROR, 9 },
	{ VIRTIO_MEM_REQ_UNPLUG, 63 * BLOCK, 2, ERROR, 9 },
	{ VIRTIO_MEM_REQ_UNPLUG, 8 * BLOCK, 0, ERROR, 9 },
	{ VIRTIO_MEM_REQ_UNPLUG, 8 * BLOCK + 2048, 1, ERROR, 9 },
	{ VIRTIO_MEM_REQ_UNPLUG, -BASE, 1, ERROR, 9 },
	{ VIRTIO_MEM_REQ_UNPLUG_ALL, 5, 7, ACK, 0 },
	{ 4, 0, 1, ERROR, 9 }, { 65535, 0, 1, ERROR, 9 },
};

START_TEST(test_request)
{
	ck_assert_int_eq(plug(8, 8), ACK);
	ck_assert_int_eq(plug(63, 1), ACK);
	ck_assert_int_eq(ask(requests[_i].type, BASE + requests[_i].at, requests[_i].n),
			 requests[_i].answer);
	ck_assert_uint_eq(plugged(), requests[_i].plugged);
	ck_assert_uint_gt(f.irq[0], 0);
	ck_assert(!fakedrv_is_broken(&f));
}
END_TEST

static const struct {
	uint64_t at;
	uint16_t n;
	int answer;
	uint16_t state;
} states[] = {
	{ 8 * BLOCK, 8, ACK, VIRTIO_MEM_STATE_PLUGGED }, { 9 * BLOCK, 1, ACK, VIRTIO_MEM_STATE_PLUGGED },
	{ 0, 8, ACK, VIRTIO_MEM_STATE_UNPLUGGED }, { 0, 1, ACK, VIRTIO_MEM_STATE_UNPLUGGED },
	{ 0, 9, ACK, VIRTIO_MEM_STATE_MIXED }, { 15 * BLOCK, 2, ACK, VIRTIO_MEM_STATE_MIXED },
	{ 0, 64, ACK, VIRTIO_MEM_STATE_MIXED },
	{ 0, 65, ERROR, 0 }, { 0, 0, ERROR, 0 }, { 4096, 1, ERROR, 0 }, { 64 * BLOCK, 1, ERROR, 0 },
	{ -BLOCK, 1, ERROR, 0 },
};

START_TEST(test_state)
{
	uint16_t state;

	ck_assert_int_eq(plug(8, 8), ACK);
	put(VIRTIO_MEM_REQ_STATE, BASE + states[_i].at, states[_i].n);
	fakedrv_kick(&f, 0);
	ck_assert_int_eq(answer(&state), states[_i].answer);
	ck_assert_uint_eq(state, states[_i].state);
	ck_assert_uint_eq(plugged(), 8);
}
END_TEST

/* The size is the host's word, and holds for what comes after it. */
START_TEST(test_target)
{
	struct err e = { 0 };
	unsigned int before;

	f.d->s.config_vector = 1;
	before = f.irq[1];
	ck_assert_int_eq(vmem_target(f.d, 4 * BLOCK, &e), 0);
	ck_assert_uint_eq(f.irq[1], before + 1);
	ck_assert_uint_eq(config().requested_size, 4 * BLOCK);
	ck_assert_int_eq(plug(0, 5), NACK);
	ck_assert_int_eq(plug(0, 4), ACK);
	ck_assert_int_eq(plug(4, 1), NACK);
	ck_assert_int_eq(plug(3, 1), ERROR);
	ck_assert_int_eq(vmem_target(f.d, 2 * BLOCK, &e), 0);
	ck_assert_uint_eq(plugged(), 4);
	ck_assert_int_eq(unplug(0, 1), ACK);
	ck_assert_int_eq(plug(0, 1), NACK);
	ck_assert_int_eq(vmem_target(f.d, 0, &e), 0);
	ck_assert_int_eq(vmem_target(f.d, BLOCK / 2, &e), -EINVAL);
	ck_assert_int_eq(vmem_target(f.d, (BLOCKS + 1) * BLOCK, &e), -EINVAL);
	ck_assert_int_eq(vmem_target(f.d, -BLOCK, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "multiple of 2 MiB up to 128 MiB") != NULL, "%s", e.text);
	ck_assert_uint_eq(config().requested_size, 0);
}
END_TEST

/* Requests that cannot be read or answered. */
static const struct fakebuf bad[][2] = {
	{ { 0x1000, 23, false }, { 0x2000, 10, true } },
	{ { 0x1000, 24, false }, { 0x2000, 9, true } },
	{ { 0x1000, 24, false }, { 0x2000, 10, false } },
	{ { 0x1000, 24, true }, { 0x2000, 10, true } },
	{ { 0x1000, 1, false }, { 0x2000, 1, true } },
};

START_TEST(test_bad_request)
{
	struct fakebuf b[2] = { bad[_i][0], bad[_i][1] };

	b[0].gpa = req;
	b[1].gpa = resp;
	fakedrv_add(&f, 0, b, 2);
	fakedrv_kick(&f, 0);
	ck_assert(fakedrv_is_broken(&f));
	ck_assert(!fakedrv_used(&f, 0, NULL, NULL));
	fakedrv_reset(&f);
	fakedrv_attach(&f, f.d, FEATURES, 8);
	ck_assert_int_eq(plug(0, 1), ACK);
}
END_TEST

/* In pieces that are no fields. */
START_TEST(test_in_parts)
{
	struct virtio_mem_req r = { .type = VIRTIO_MEM_REQ_PLUG,
				    .u.plug = { .addr = BASE, .nb_blocks = 3 } };
	struct fakebuf b[5] = { { req, 1, false }, { req + 1, 20, false }, { req + 21, 90, false },
				{ resp, 3, true }, { resp + 3, 90, true } };
	uint32_t len;

	memcpy(fakedrv_ptr(&f, req, sizeof(r)), &r, sizeof(r));
	fakedrv_add(&f, 0, b, 5);
	fakedrv_kick(&f, 0);
	ck_assert(fakedrv_used(&f, 0, NULL, &len));
	ck_assert_uint_eq(len, 10);
	ck_assert_uint_eq(plugged(), 3);
}
END_TEST

/* A block is memory from its plug to its unplug, and what was in it is gone then. */
START_TEST(test_memory)
{
	uint64_t v = 0x1122334455667788;
	unsigned char in;
	void *hva;

	ck_assert_int_eq(gmem_write(&f.mem, BASE, &v, 8), -EFAULT);
	ck_assert_int_eq(plug(0, 2), ACK);
	ck_assert_int_eq(gmem_write(&f.mem, BASE + BLOCK - 4, &v, 8), 0);
	ck_assert_int_eq(gmem_span(&f.mem, BASE, 2 * BLOCK, &hva), 0);
	ck_assert_int_eq(gmem_span(&f.mem, BASE, 2 * BLOCK + 1, &hva), -EFAULT);
	ck_assert_int_eq(unplug(0, 1), ACK);
	ck_assert_int_eq(gmem_read(&f.mem, BASE + BLOCK - 4, &v, 8), -EFAULT);
	ck_assert_int_eq(mincore((uint8_t *)hva + BLOCK - 4096, 4096, &in), 0);
	ck_assert_int_eq(in & 1, 0);
	ck_assert_int_eq(gmem_read(&f.mem, BASE + BLOCK, &v, 4), 0);
	ck_assert_uint_eq((uint32_t)v, 0x11223344);
	ck_assert_int_eq(plug(0, 1), ACK);
	ck_assert_int_eq(gmem_read(&f.mem, BASE + BLOCK - 4, &v, 4), 0);
	ck_assert_uint_eq((uint32_t)v, 0);
}
END_TEST

/* Resets leave blocks as they are; so does a driver that never comes back. */
START_TEST(test_reset)
{
	struct err e;

	ck_assert_int_eq(plug(5, 3), ACK);
	fakedrv_reset(&f);
	ck_assert_uint_eq(plugged(), 3);
	ck_assert_int_eq(vmem_target(f.d, 4 * BLOCK, &e), 0);
	fakedrv_kick(&f, 0);
	fakedrv_attach(&f, f.d, FEATURES, 8);
	ck_assert_uint_eq(config().requested_size, 4 * BLOCK);
	ck_assert_int_eq(plug(0, 2), NACK);
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0), ACK);
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0), ACK);
	ck_assert_int_eq(plug(0, 2), ACK);
}
END_TEST

/* Rings in a block that goes away: the device gets zeros, and the pod lives on. */
START_TEST(test_rings_unplugged)
{
	struct virtio_dev *other = f.d;
	struct virtq_state s;
	uint64_t brk = f.brk;
	struct virtio_dev *rng;
	struct err e;

	ck_assert_int_eq(plug(0, 1), ACK);
	ck_assert_int_eq(rng_new(&f.mem, f.loop, &rng, &e), 0);
	virtio_status_write(rng, 3);
	virtio_features_write(rng, 1, 1);
	virtio_status_write(rng, 11);
	f.d = rng;
	f.brk = 0;
	fakedrv_ring(&f, 1, 8, &s);
	f.brk = brk;
	s.desc += BASE;
	s.avail += BASE;
	s.used += BASE;
	rng->q[0].s = s;
	virtio_status_write(rng, 15);
	ck_assert(rng->running);
	memcpy(fakedrv_ptr(&f, s.avail + 2, 2), "\x01", 2);
	memcpy(fakedrv_ptr(&f, s.desc, 16), &(uint64_t[2]){ BASE + 65536, 0x200000040 }, 16);
	f.d = other;
	ck_assert_int_eq(unplug(0, 1), ACK);
	pthread_mutex_lock(&rng->lock);
	rng->ops->kick(rng, 0);
	rng->s.status |= 4;
	virtq_push(&rng->q[0], 0, 0);
	rng->ops->kick(rng, 0);
	pthread_mutex_unlock(&rng->lock);
	/* Swept by the timer that the late write has set. */
	while (f.mem.hot.astray)
		ck_assert_int_gt(loop_step(f.loop, WAIT_MS, NULL), 0);
	rng->ops->stop(rng);
	rng->ops->free(rng);
	ck_assert_int_eq(plug(0, 1), ACK);
}
END_TEST

/* The answer itself goes into the block that the request unplugs. */
START_TEST(test_unplug_own_answer)
{
	struct virtio_mem_req r = { .type = VIRTIO_MEM_REQ_UNPLUG,
				    .u.plug = { .addr = BASE, .nb_blocks = 1 } };
	struct fakebuf b[2] = { { req, sizeof(r), false }, { BASE + 4090, 10, true } };
	uint32_t len;

	ck_assert_int_eq(plug(0, 1), ACK);
	memcpy(fakedrv_ptr(&f, req, sizeof(r)), &r, sizeof(r));
	fakedrv_add(&f, 0, b, 2);
	fakedrv_kick(&f, 0);
	while (!fakedrv_used(&f, 0, NULL, &len))
		ck_assert_int_gt(loop_step(f.loop, WAIT_MS, NULL), 0);
	ck_assert(f.mem.hot.astray);
	while (f.mem.hot.astray)
		ck_assert_int_gt(loop_step(f.loop, WAIT_MS, NULL), 0);
	ck_assert_uint_eq(plugged(), 0);
}
END_TEST

/* ---- a large region ------------------------------------------------------------- */
#define LARGE (64ull << 30)

static void large_setup(void)
{
	struct err e;

	begin(LARGE);
	ck_assert_int_eq(vmem_target(f.d, LARGE, &e), 0);
}

START_TEST(test_large)
{
	uint64_t block = config().block_size;
	uint32_t n = f.mem.hot.n, i;

	ck_assert_uint_eq(block, 2 * BLOCK);
	ck_assert_uint_eq(n, GMEM_BLOCKS_MAX);
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_PLUG, BASE, (uint16_t)n), ACK);
	ck_assert_uint_eq(pieces, UINT64_MAX);
	ck_assert_uint_eq(piece_bytes, LARGE / 64);
	ck_assert_uint_eq(plugged(), n);
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_PLUG, BASE + LARGE, 1), ERROR);
	/* Holes, and pages in use far apart. */
	for (i = 0; i < n; i += 64) {
		*(uint8_t *)fakedrv_ptr(&f, BASE + i * block, 1) = 1;
		ck_assert_int_eq(ask(VIRTIO_MEM_REQ_UNPLUG, BASE + (i + 1) * block, 1), ACK);
	}
	ck_assert_uint_eq(plugged(), n - n / 64);
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0), ACK);
	ck_assert_uint_eq(plugged(), 0);
}
END_TEST

/* Pieces become the guest's with the first block that needs them, and once. */
START_TEST(test_pieces)
{
	uint64_t piece = LARGE / 64, blocks = piece / config().block_size;

	ck_assert_uint_eq(pieces, 0);
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_STATE, BASE, 1), ACK);
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0), ACK);
	ck_assert_uint_eq(pieces, 0);
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_PLUG, BASE + 3 * piece, 1), ACK);
	ck_assert_uint_eq(pieces, 1u << 3);
	ck_assert_uint_eq(piece_bytes, piece);
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_PLUG, BASE + 4 * piece, (uint16_t)(blocks + 1)), ACK);
	ck_assert_uint_eq(pieces, 7u << 3);
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0), ACK);
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_PLUG, BASE + 4 * piece - config().block_size, 2), ACK);
	ck_assert_uint_eq(pieces, 7u << 3);
	/* The host has no memory for one: later, perhaps. */
	map_fails = ENOMEM;
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_PLUG, BASE + 63 * piece, 1), VIRTIO_MEM_RESP_BUSY);
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_PLUG, BASE + 5 * piece, 1), ACK);
	ck_assert_uint_eq(plugged(), 3);
	map_fails = 0;
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_PLUG, BASE + 63 * piece, 1), ACK);
	ck_assert_uint_eq(pieces, 7u << 3 | 1ull << 63);
}
END_TEST

/* A reset in the middle of a long request: what is done is done, nothing more is. */
START_TEST(test_reset_while_busy)
{
	uint64_t left;

	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_PLUG, BASE, (uint16_t)f.mem.hot.n), ACK);
	put(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0);
	fakedrv_kick(&f, 0);
	/* What made all pieces the guest's may have used this round up. */
	while (plugged() == f.mem.hot.n)
		ck_assert_int_gt(loop_step(f.loop, WAIT_MS, NULL), 0);
	ck_assert(!fakedrv_used(&f, 0, NULL, NULL));
	fakedrv_reset(&f);
	left = plugged();
	ck_assert_uint_gt(left, 0);
	ck_assert_uint_lt(left, f.mem.hot.n);
	fakedrv_attach(&f, f.d, FEATURES, 8);
	while (loop_step(f.loop, 100, NULL) > 0)
		;
	ck_assert_uint_eq(plugged(), left);
	ck_assert(!fakedrv_used(&f, 0, NULL, NULL));
	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0), ACK);
	ck_assert_uint_eq(plugged(), 0);
}
END_TEST

/* Two long requests: one after the other, each answered when it is done. */
START_TEST(test_queue_while_busy)
{
	uint16_t half = (uint16_t)(f.mem.hot.n / 2);
	uint64_t block = config().block_size;

	ck_assert_int_eq(ask(VIRTIO_MEM_REQ_PLUG, BASE, (uint16_t)f.mem.hot.n), ACK);
	put(VIRTIO_MEM_REQ_UNPLUG, BASE, half);
	fakedrv_kick(&f, 0);
	req += 64;
	put(VIRTIO_MEM_REQ_UNPLUG, BASE + half * block, half);
	fakedrv_kick(&f, 0);
	fakedrv_kick(&f, 0);
	ck_assert_int_eq(answer(NULL), ACK);
	ck_assert_uint_ge(plugged(), 1);
	ck_assert_int_eq(answer(NULL), ACK);
	ck_assert_uint_eq(plugged(), 0);
}
END_TEST

Suite *virtio_mem_suite(void)
{
	Suite *s = suite_create("virtio_mem");
	TCase *t = tcase_create("mem"), *l = tcase_create("large");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_config);
	tcase_add_loop_test(t, test_request, 0, ARRAY_LEN(requests));
	tcase_add_loop_test(t, test_state, 0, ARRAY_LEN(states));
	tcase_add_test(t, test_target);
	tcase_add_loop_test(t, test_bad_request, 0, ARRAY_LEN(bad));
	tcase_add_test(t, test_in_parts);
	tcase_add_test(t, test_memory);
	tcase_add_test(t, test_reset);
	tcase_add_test(t, test_rings_unplugged);
	tcase_add_test(t, test_unplug_own_answer);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(l, large_setup, teardown);
	tcase_set_timeout(l, 60);
	tcase_add_test(l, test_large);
	tcase_add_test(l, test_pieces);
	tcase_add_test(l, test_reset_while_busy);
	tcase_add_test(l, test_queue_while_busy);
	suite_add_tcase(s, l);
	return s;
}
