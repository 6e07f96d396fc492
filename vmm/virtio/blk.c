// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: a virtio-blk device (virtio 1.2, section 5.2) over a raw file, a block
 * device, or a synthetic disk (synth.c). The content's format is never probed.
 *
 * A request is a chain: 16 bytes of header, data, and one status byte that is
 * the last writable one; the device cuts it at these places whatever the
 * driver's descriptors are (section 5.2.6.4). The header is copied out once. A
 * chain without room for a status breaks the device, since nothing could be
 * answered; whatever else is wrong with a request is answered in its status:
 * IOERR for a wrong length or place and for the host's failures, UNSUPP for
 * what we do not know.
 *
 * The capacity is what the disk had when it was plugged. No request reaches
 * behind it, so a file never grows.
 *
 * Requests are carried out on the I/O thread, one after the other, at most
 * BLK_ROUND before others get their turn; the rest is taken up through @wake.
 *
 * Owners: struct blk owns the disk's descriptor (raw), the synthetic disk, and
 * @wake. start and stop run on vCPU threads and so touch neither the loop nor
 * the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "vmm/virtio/config.h"
#include "vmm/virtio/synth.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vmm.h"

#define SECTOR_BYTES 512u
#define BLK_ROUND 32

/* Header and status need a descriptor each. */
#define SEG_MAX (VIRTQ_SIZE_MAX - 2)

/* Ranges of one DISCARD or WRITE_ZEROES request, and sectors of one range. */
#define RANGES_MAX 16
#define DISCARD_SECTORS_MAX (1u << 21)
#define ZEROES_SECTORS_MAX (1u << 15)

#define ZERO_BYTES 65536u

/* Failures of the host that are logged, per disk. */
#define LOG_MAX 20

static const uint8_t zeros[ZERO_BYTES];

struct blk {
	struct virtio_dev d;
	struct virtq_chain chain;
	struct virtio_blk_config config;
	struct synth *synth;	/* owned; NULL: raw */
	int fd;			/* owned; -1: synthetic */
	bool readonly;
	uint64_t sectors;
	char serial[VIRTIO_BLK_ID_BYTES];
	int wake;		/* eventfd, owned */
	struct loop_src *wake_src;
	unsigned int n_logged;
};

static struct blk *blk_of(struct virtio_dev *d)
{
	return (struct blk *)d;
}

static uint8_t host_failed(struct blk *b, const struct err *e)
{
	if (b->n_logged < LOG_MAX) {
		log_warn("blk: %.20s: %s", b->serial, e->text);
		if (++b->n_logged == LOG_MAX)
			log_warn("blk: %.20s: further failures are not logged", b->serial);
	}
	return VIRTIO_BLK_S_IOERR;
}

static bool in_range(const struct blk *b, uint64_t sector, uint64_t sectors)
{
	return sector <= b->sectors && sectors <= b->sectors - sector;
}

/* Moves all of @v, which is used up; a file that ends too early is -EIO. */
static int transfer(struct blk *b, bool to_disk, uint64_t offset,
		    struct iovec *v, size_t n, struct err *e)
{
	/* Without FLUSH, what was written must be safe (section 5.2.6.2). */
	int flags = b->d.s.acked & 1ull << VIRTIO_BLK_F_FLUSH ? 0 : RWF_DSYNC;

	while (n) {
		ssize_t done = to_disk ? pwritev2(b->fd, v, (int)n, (off_t)offset, flags)
				       : preadv(b->fd, v, (int)n, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_sys(e, to_disk ? "write" : "read");
		if (!done)
			return err_set(e, EIO, "the disk has shrunk");
		offset += (uint64_t)done;
		n = iov_trim(v, n, (uint64_t)done, UINT64_MAX);
	}
	return 0;
}

/* IN and OUT: the chain's lists have been cut down to the data. */
static uint8_t read_write(struct blk *b, bool to_disk, uint64_t sector)
{
	struct virtq_chain *c = &b->chain;
	uint64_t bytes = to_disk ? c->out_bytes : c->in_bytes;
	struct err e = { 0 };
	int rc;

	if (to_disk && b->readonly)
		return VIRTIO_BLK_S_IOERR;
	if (bytes % SECTOR_BYTES || !in_range(b, sector, bytes / SECTOR_BYTES))
		return VIRTIO_BLK_S_IOERR;
	if (b->synth)
		rc = synth_read(b->synth, sector * SECTOR_BYTES, c->in, c->n_in, &e);
	else
		rc = transfer(b, to_disk, sector * SECTOR_BYTES,
			      to_disk ? c->out : c->in, to_disk ? c->n_out : c->n_in, &e);
	return rc < 0 ? host_failed(b, &e) : VIRTIO_BLK_S_OK;
}

static uint8_t flush(struct blk *b)
{
	struct err e = { 0 };

	if (b->readonly || !fdatasync(b->fd))
		return VIRTIO_BLK_S_OK;
	err_sys(&e, "flush");
	return host_failed(b, &e);
}

static int write_zeros(struct blk *b, uint64_t offset, uint64_t len, struct err *e)
{
	while (len) {
		struct iovec v = { (void *)(uintptr_t)zeros,
				   len < ZERO_BYTES ? len : ZERO_BYTES };
		uint64_t part = v.iov_len;
		int rc = transfer(b, true, offset, &v, 1, e);

		if (rc < 0)
			return rc;
		offset += part;
		len -= part;
	}
	return 0;
}

static int clear_range(struct blk *b, const struct virtio_blk_discard_write_zeroes *r,
		       bool zeroes, struct err *e)
{
	uint64_t offset = r->sector * SECTOR_BYTES;
	uint64_t len = (uint64_t)r->num_sectors * SECTOR_BYTES;
	bool unmap = !zeroes || r->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	int mode = FALLOC_FL_KEEP_SIZE |
		   (unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);

	if (!len)
		return 0;
	if (!fallocate(b->fd, mode, (off_t)offset, (off_t)len)) {
		if (b->d.s.acked & 1ull << VIRTIO_BLK_F_FLUSH || !fdatasync(b->fd))
			return 0;
		return err_sys(e, "flush");
	}
	if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
		return err_sys(e, zeroes ? "write zeroes" : "discard");
	/* A discard is a hint that the back end may not understand. */
	return zeroes ? write_zeros(b, offset, len, e) : 0;
}

static uint8_t check_range(const struct blk *b, bool zeroes,
			   const struct virtio_blk_discard_write_zeroes *r)
{
	uint32_t known = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;

	if (r->flags & ~known)
		return VIRTIO_BLK_S_UNSUPP;
	if (r->num_sectors > (zeroes ? ZEROES_SECTORS_MAX : DISCARD_SECTORS_MAX) ||
	    !in_range(b, r->sector, r->num_sectors))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

static uint8_t discard(struct blk *b, bool zeroes)
{
	struct virtio_blk_discard_write_zeroes r[RANGES_MAX];
	uint64_t bytes = b->chain.out_bytes;
	struct err e = { 0 };
	size_t i, n;

	if (b->readonly)
		return VIRTIO_BLK_S_IOERR;
	if (!bytes || bytes % sizeof(r[0]) || bytes > sizeof(r))
		return VIRTIO_BLK_S_IOERR;
	chain_read(&b->chain, 0, r, bytes);
	n = bytes / sizeof(r[0]);
	for (i = 0; i < n; i++) {
		uint8_t status = check_range(b, zeroes, &r[i]);

		if (status != VIRTIO_BLK_S_OK)
			return status;
	}
	for (i = 0; i < n; i++)
		if (clear_range(b, &r[i], zeroes, &e) < 0)
			return host_failed(b, &e);
	return VIRTIO_BLK_S_OK;
}

static uint8_t get_id(struct blk *b)
{
	if (b->chain.in_bytes < sizeof(b->serial))
		return VIRTIO_BLK_S_IOERR;
	chain_write(&b->chain, 0, b->serial, sizeof(b->serial));
	return VIRTIO_BLK_S_OK;
}

static uint8_t execute(struct blk *b, const struct virtio_blk_outhdr *h)
{
	switch (h->type) {
	case VIRTIO_BLK_T_IN:
		return read_write(b, false, h->sector);
	case VIRTIO_BLK_T_OUT:
		return read_write(b, true, h->sector);
	case VIRTIO_BLK_T_FLUSH:
		return flush(b);
	case VIRTIO_BLK_T_GET_ID:
		return get_id(b);
	case VIRTIO_BLK_T_DISCARD:
		return discard(b, false);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return discard(b, true);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

static void broken(struct blk *b, const char *why)
{
	b->d.q[0].broken = true;
	virtio_broken(&b->d, why);
}

/* Cuts the chain into header, data and status, and answers it. */
static int serve(struct blk *b)
{
	struct virtq_chain *c = &b->chain;
	struct virtio_blk_outhdr h;
	const struct iovec *last;
	uint8_t *status_at, status = VIRTIO_BLK_S_IOERR;
	uint64_t in_bytes = c->in_bytes;

	if (!in_bytes) {
		broken(b, "a request without room for its status");
		return -EPROTO;
	}
	last = &c->in[c->n_in - 1];
	status_at = (uint8_t *)last->iov_base + last->iov_len - 1;
	c->in_bytes--;
	c->n_in = (uint16_t)iov_trim(c->in, c->n_in, 0, c->in_bytes);
	if (chain_read(c, 0, &h, sizeof(h)) == sizeof(h)) {
		c->out_bytes -= sizeof(h);
		c->n_out = (uint16_t)iov_trim(c->out, c->n_out, sizeof(h), UINT64_MAX);
		status = execute(b, &h);
	}
	*status_at = status;
	/* After a failure nothing but the status is promised to be there. */
	virtq_push(&b->d.q[0], c->head,
		   status == VIRTIO_BLK_S_OK && in_bytes <= UINT32_MAX ?
		   (uint32_t)in_bytes : 1);
	return 0;
}

static void run_queue(struct blk *b)
{
	struct virtq *q = &b->d.q[0];
	unsigned int left;
	struct err e = { 0 };
	int rc = 1;

	if (!b->d.running)
		return;
	virtq_disable_kicks(q);
	for (left = BLK_ROUND; left && rc > 0; left--) {
		rc = virtq_take(q, &b->chain, &e);
		if (rc < 0)
			virtio_broken(&b->d, e.text);
		else if (rc && serve(b) < 0)
			rc = 0;
	}
	if (rc > 0)
		eventfd_write(b->wake, 1);
	virtio_notify(&b->d, 0);
}

static void on_wake(void *arg, uint32_t events)
{
	struct blk *b = arg;
	eventfd_t n;

	(void)events;
	pthread_mutex_lock(&b->d.lock);
	eventfd_read(b->wake, &n);
	run_queue(b);
	pthread_mutex_unlock(&b->d.lock);
}

static void blk_kick(struct virtio_dev *d, uint16_t q)
{
	if (q == 0)
		run_queue(blk_of(d));
}

static void blk_config_read(struct virtio_dev *d, uint32_t offset, void *buf,
			    uint32_t len)
{
	config_copy(&blk_of(d)->config, sizeof(blk_of(d)->config), offset, buf, len);
}

/* What the driver put in the queue before DRIVER_OK may come without a kick. */
static void blk_start(struct virtio_dev *d)
{
	eventfd_write(blk_of(d)->wake, 1);
}

/* Requests are done by the time that the lock is free, so none is left here. */
static bool blk_stop(struct virtio_dev *d)
{
	blk_of(d)->chain.n_out = blk_of(d)->chain.n_in = 0;
	return true;
}

static void blk_free(struct virtio_dev *d)
{
	struct blk *b = blk_of(d);

	loop_del(b->wake_src);
	fd_close(&b->wake);
	fd_close(&b->fd);
	synth_free(b->synth);
	free(b);
}

static const struct virtio_ops blk_ops = {
	.name = "blk",
	.device_id = VIRTIO_ID_BLOCK,
	.pci_class = 0x018000,
	.n_queues = 1,
	.config_read = blk_config_read,
	.start = blk_start,
	.stop = blk_stop,
	.kick = blk_kick,
	.free = blk_free,
};

static int raw_size(int fd, uint64_t *ret_bytes, uint32_t *ret_block, struct err *e)
{
	struct stat st;
	int block;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "fstat");
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(fd, BLKGETSIZE64, ret_bytes) < 0)
			return err_sys(e, "BLKGETSIZE64");
		if (ioctl(fd, BLKSSZGET, &block) < 0)
			return err_sys(e, "BLKSSZGET");
		*ret_block = (uint32_t)block;
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "neither a file nor a block device");
	*ret_bytes = (uint64_t)st.st_size;
	*ret_block = SECTOR_BYTES;
	return 0;
}

/* Size and access of a raw disk. */
static int probe_raw(struct blk *b, int fd, uint64_t *ret_bytes, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);
	uint32_t block = 0;
	int rc;

	if (flags < 0)
		return err_sys(e, "fcntl");
	if (!b->readonly && (flags & O_ACCMODE) != O_RDWR)
		return err_set(e, EINVAL, "the descriptor cannot be written and read: "
			       "open it read-write or plug the disk read-only");
	if ((flags & O_ACCMODE) == O_WRONLY)
		return err_set(e, EINVAL, "the descriptor cannot be read");
	if (flags & O_DIRECT)
		return err_set(e, EINVAL, "a descriptor with O_DIRECT is not supported: "
			       "open it without");
	rc = raw_size(fd, ret_bytes, &block, e);
	if (rc < 0)
		return rc;
	if (!*ret_bytes || *ret_bytes % block || *ret_bytes > INT64_MAX)
		return err_set(e, EINVAL, "size of %llu bytes is not a multiple of %u",
			       (unsigned long long)*ret_bytes, block);
	b->config.blk_size = block;
	return 0;
}

static void fill_config(struct blk *b, uint64_t bytes)
{
	struct virtio_blk_config *c = &b->config;

	b->sectors = bytes / SECTOR_BYTES;
	c->capacity = b->sectors;
	c->seg_max = SEG_MAX;
	c->num_queues = 1;
	if (b->readonly)
		return;
	c->max_discard_sectors = DISCARD_SECTORS_MAX;
	c->max_discard_seg = RANGES_MAX;
	c->discard_sector_alignment = c->blk_size / SECTOR_BYTES;
	c->max_write_zeroes_sectors = ZEROES_SECTORS_MAX;
	c->max_write_zeroes_seg = RANGES_MAX;
	c->write_zeroes_may_unmap = 1;
}

static uint64_t features(const struct blk *b)
{
	uint64_t f = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX |
		     1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_BLK_F_SEG_MAX |
		     1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_FLUSH;

	if (b->readonly)
		return f | 1ull << VIRTIO_BLK_F_RO;
	return f | 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
}

static int open_back_end(struct blk *b, const struct vmm_disk *cfg, int fd,
			 int broker_fd, struct err *e)
{
	uint64_t bytes = 0;
	int rc;

	if (cfg->synthetic && !cfg->readonly)
		return err_set(e, EINVAL, "a synthetic disk is read-only: plug it so");
	if (strnlen(cfg->serial, sizeof(cfg->serial)) > sizeof(b->serial))
		return err_set(e, EINVAL, "serial longer than %zu bytes", sizeof(b->serial));
	memcpy(b->serial, cfg->serial, strnlen(cfg->serial, sizeof(b->serial)));
	b->readonly = cfg->readonly;
	if (cfg->synthetic) {
		rc = synth_new(fd, broker_fd, cfg->number, &b->synth, e);
		if (rc < 0)
			return rc;
		bytes = synth_bytes(b->synth);
		b->config.blk_size = 4096;
	} else {
		rc = probe_raw(b, fd, &bytes, e);
		if (rc < 0)
			return rc;
	}
	fill_config(b, bytes);
	return 0;
}

/**
 * blk_new() - make a disk
 * @cfg:       copied
 * @fd:        raw: file or block device, taken over on success; synthetic: the
 *             sealed table, taken over and closed on success
 * @broker_fd: lib/broker.h socket of the pod, borrowed, outlives the device;
 *             -1 where no synthetic disk names files
 * @mem:       borrowed, outlives the device
 * @loop:      of the I/O thread, borrowed, outlives the device
 * @ret:       owned by the caller, freed by its ops
 *
 * Return: 0; -EINVAL with what is wrong with the disk; else minus errno
 * Context: I/O thread, or before it runs
 * Source: virtio 1.2, section 5.2
 *
 * #syscalls fstat ioctl fcntl mmap munmap eventfd2 epoll_ctl close read write
 * #syscalls preadv pwritev2 fdatasync fallocate
 */
int blk_new(const struct vmm_disk *cfg, int fd, int broker_fd,
	    const struct gmem *mem, struct loop *loop,
	    struct virtio_dev **ret, struct err *e)
{
	struct blk *b = mem_new(struct blk);
	int rc;

	if (!b)
		return err_set(e, ENOMEM, "out of memory");
	b->fd = -1;
	b->wake = -1;
	rc = open_back_end(b, cfg, fd, broker_fd, e);
	if (rc < 0)
		goto fail;
	b->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->wake < 0) {
		rc = err_sys(e, "eventfd");
		goto fail;
	}
	rc = virtio_init(&b->d, &blk_ops, features(b), mem, loop);
	if (rc < 0) {
		rc = err_set(e, -rc, "virtio device");
		goto fail;
	}
	rc = loop_add(loop, b->wake, EPOLLIN, on_wake, b, &b->wake_src, e);
	if (rc < 0)
		goto fail;
	if (b->synth)
		close(fd);
	else
		b->fd = fd;
	*ret = &b->d;
	return 0;
fail:
	blk_free(&b->d);
	return rc;
}
