// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Goal: a virtio-fs device (virtio 1.2, section 5.11): a directory of the host that
 * the guest mounts by its tag. Queue 0 is for requests that must not wait behind
 * others, the rest are request queues. There is no notification queue and no DAX
 * window: files are cached by the guest's kernel, and mapped from there.
 *
 * A request is a chain: FUSE's header and arguments readable, room for FUSE's answer
 * behind it writable, cut wherever the driver likes. A worker (fs-pool.c) takes it
 * out of the queue, has it carried out (fuse.c) and gives it back; the order in which
 * requests end is theirs. A chain that is shorter than a header, or needs an answer
 * and has no room for one, breaks the device; all else that is wrong with a request
 * is an error in its answer.
 *
 * What a guest's mount has (open files, locks, the broker's nodes) is its session,
 * from FUSE's INIT to DESTROY, another INIT, or a reset. A reset takes as long as
 * requests that are under way: stop says so, a worker ends the session, and @wake has
 * the I/O thread tell the driver.
 *
 * Files: fs-broker.c asks the broker; fs-name.c, fs-attr.c carry out what takes
 * a name or privilege, through it; fs-file.c, fs-dir.c, fs-lock.c work on descriptors
 * that it gave us; fs-session.c keeps these.
 *
 * Owners: struct fs owns its channels, @wake, and its session.
 */
#include "vmm/virtio/fs.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "vmm/virtio/config.h"

/* Other mass storage. */
#define PCI_CLASS 0x018000

/* More request queues than this are of no use to FS_WORKERS workers. */
#define REQUEST_QUEUES_MAX 8u

static struct fs *fs_of(struct virtio_dev *d)
{
	return (struct fs *)d;
}

/* Takes a request out of a queue, of the first one first. */
static bool take(struct fs *s, struct fs_worker *w, uint16_t *ret_queue, bool *ret_more)
{
	struct virtio_dev *d = &s->d;
	struct err e;
	uint16_t i, k;
	int rc = 0;

	*ret_more = false;
	pthread_mutex_lock(&d->lock);
	for (i = 0; d->running && i < d->n_queues && !rc; i++) {
		rc = virtq_take(&d->q[i], &w->chain, &e);
		*ret_queue = i;
	}
	if (rc < 0)
		virtio_broken(d, e.text);
	/* Others may help with what else is there; for what comes later, a kick comes. */
	for (k = 0; rc > 0 && k < d->n_queues; k++)
		*ret_more |= virtq_enable_kicks(&d->q[k]);
	pthread_mutex_unlock(&d->lock);
	return rc > 0;
}

/**
 * fs_finish() - give a request back, unless the driver has reset the device meanwhile
 * @written: bytes of the answer
 * @taken:   bytes of data that came with the request
 * Context: a worker
 */
void fs_finish(struct fs *s, uint16_t queue, uint16_t head, uint32_t written, uint32_t taken)
{
	struct virtio_dev *d = &s->d;

	pthread_mutex_lock(&d->lock);
	if (d->running) {
		virtq_push(&d->q[queue], head, written);
		d->q[queue].count.out_bytes += taken;
		virtio_notify(d, queue);
	}
	pthread_mutex_unlock(&d->lock);
}

static void broken(struct fs *s)
{
	pthread_mutex_lock(&s->d.lock);
	if (s->d.running)
		virtio_broken(&s->d, "a request without a header, or without room for its answer");
	pthread_mutex_unlock(&s->d.lock);
}

/**
 * fs_serve() - a worker's turn: some requests of a share
 * @sock: the channel that it has for the while
 */
void fs_serve(struct fs *s, struct fs_worker *w, int sock)
{
	uint16_t queue = 0;
	bool more = false;
	unsigned int left;

	for (left = FS_ROUND; left && take(s, w, &queue, &more); left--) {
		uint32_t written = 0, taken = 0;
		int rc;

		if (more)
			fs_pool_ready(s);
		rc = fuse_serve(s, w, sock, queue, &written, &taken);
		if (rc < 0)
			broken(s);
		else if (rc != FUSE_PARKED)
			fs_finish(s, queue, w->chain.head, written, taken);
	}
	fs_forget_send(w, sock);
	if (!left)
		fs_pool_ready(s);
}

/**
 * fs_ended() - the session that a reset waited for has ended
 * Context: a worker, the pool's lock
 */
void fs_ended(struct fs *s)
{
	eventfd_write(s->wake, 1);
}

static void on_wake(void *arg, uint32_t events)
{
	struct fs *s = arg;
	eventfd_t n;
	bool ended;

	(void)events;
	eventfd_read(s->wake, &n);
	pthread_mutex_lock(&s->d.lock);
	pthread_mutex_lock(&s->pool->lock);
	ended = !s->turn.ending;
	pthread_mutex_unlock(&s->pool->lock);
	if (ended)
		virtio_reset_done(&s->d);
	pthread_mutex_unlock(&s->d.lock);
}

static void config_read(struct virtio_dev *d, uint32_t offset, void *buf, uint32_t len)
{
	config_copy(&fs_of(d)->config, sizeof(fs_of(d)->config), offset, buf, len);
}

/* What the driver put in a queue before DRIVER_OK may come without a kick. */
static void start(struct virtio_dev *d)
{
	fs_pool_ready(fs_of(d));
}

static bool stop(struct virtio_dev *d)
{
	return fs_pool_end(fs_of(d));
}

static void kick(struct virtio_dev *d, uint16_t q)
{
	(void)q;
	fs_pool_ready(fs_of(d));
}

static void fs_free(struct virtio_dev *d)
{
	struct fs *s = fs_of(d);
	unsigned int i;

	fs_pool_remove(s->pool, s);
	loop_del(s->wake_src);
	fd_close(&s->wake);
	for (i = 0; i < s->n_channels; i++)
		fd_close(&s->channel[i]);
	session_done(&s->session);
	pthread_mutex_destroy(&d->lock);
	free(s);
}

static const struct virtio_ops ops = {
	.name = "fs",
	.device_id = VIRTIO_ID_FS,
	.pci_class = PCI_CLASS,
	.config_read = config_read,
	.start = start,
	.stop = stop,
	.kick = kick,
	.free = fs_free,
};

static bool is_channel(int fd)
{
	int type = 0, domain = 0;
	socklen_t n = sizeof(type), k = sizeof(domain);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) && type == SOCK_SEQPACKET &&
	       !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &k) && domain == AF_UNIX;
}

static int check(const struct vmm_share *cfg, const int *fds, unsigned int n_fds, struct err *e)
{
	size_t len = strnlen(cfg->tag, sizeof(cfg->tag)), i;

	if (!len || len == sizeof(cfg->tag))
		return err_set(e, EINVAL, "tag: give 1 to %d bytes", VMM_TAG_BYTES - 1);
	for (i = 0; i < len; i++)
		if ((uint8_t)cfg->tag[i] < ' ')
			return err_set(e, EINVAL, "tag: control characters are not for a tag");
	if (cfg->cache > VMM_CACHE_ALWAYS)
		return err_set(e, EINVAL, "cache: %u is none of enum vmm_cache", cfg->cache);
	if (!n_fds || n_fds > SHARE_CHANNELS_MAX)
		return err_set(e, EINVAL, "%u channels: give 1 to %d", n_fds, SHARE_CHANNELS_MAX);
	for (i = 0; i < n_fds; i++)
		if (!is_channel(fds[i]))
			return err_set(e, EINVAL, "channel %zu is not a SOCK_SEQPACKET unix socket",
				       i);
	return 0;
}

static int set_up(struct fs *s, const struct vmm_share *cfg, unsigned int queues, struct loop *loop,
		  struct err *e)
{
	memcpy(s->config.tag, cfg->tag, strlen(cfg->tag));
	s->config.num_request_queues = queues < REQUEST_QUEUES_MAX ? queues : REQUEST_QUEUES_MAX;
	virtio_set_queues(&s->d, (uint16_t)(1 + s->config.num_request_queues));
	s->cache = cfg->cache;
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake < 0)
		return err_sys(e, "eventfd");
	return loop_add(loop, s->wake, EPOLLIN, on_wake, s, &s->wake_src, e);
}

/**
 * fs_new() - share a directory with the guest
 * @cfg:    copied
 * @fds:    channels to the share's broker (lib/share.h), taken over on success
 * @n_fds:  1 to SHARE_CHANNELS_MAX: so many requests of it are under way at a time
 * @queues: request queues that are of use, one at least
 * @pool:   started; borrowed, outlives the device
 * @mem, @loop: borrowed, outlive the device
 * @ret:    owned by the caller, freed by its ops
 *
 * Return: 0; -EINVAL with what is wrong with the share; else minus errno
 * Context: I/O thread
 * Source: virtio 1.2, section 5.11
 *
 * #syscalls getsockopt eventfd2 epoll_ctl read write close futex
 */
int fs_new(const struct vmm_share *cfg, const int *fds, unsigned int n_fds, unsigned int queues,
	   struct fs_pool *pool, const struct gmem *mem, struct loop *loop, struct virtio_dev **ret,
	   struct err *e)
{
	struct fs *s;
	int rc = check(cfg, fds, n_fds, e);

	if (rc < 0)
		return rc;
	s = mem_new(struct fs);
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->pool = pool;
	s->wake = -1;
	session_init(&s->session);
	rc = virtio_init(&s->d, &ops, 0, mem, loop);
	rc = rc < 0 ? err_set(e, -rc, "virtio device") : set_up(s, cfg, queues, loop, e);
	if (rc < 0) {
		fs_free(&s->d);
		return rc;
	}
	memcpy(s->channel, fds, n_fds * sizeof(int));
	s->n_channels = n_fds;
	fs_pool_add(pool, s);
	*ret = &s->d;
	return 0;
}
