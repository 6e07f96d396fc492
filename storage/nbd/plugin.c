// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A plugin of nbdkit that shows a synthetic disk to NBD clients. It stands where the
 * monitor of a pod stands: it has the disk's sealed table (lib/disktab.h) and a
 * connection to a broker (lib/broker.h), `podvm-storage serve`, and opens nothing by
 * itself; nbdkit runs as a user without rights by then. It ends when the broker ends.
 *
 * Why nbdkit: it speaks all of NBD (fixed newstyle, block sizes, structured replies,
 * extents, several connections), has fuzzers and years of use behind its parser, and
 * its filters (stats, delay, error, rate, ...) are what people test storage with. A
 * server of our own would have been 300 lines that face clients, a fuzzer, and no
 * filters. The price is one more program on hosts where `serve` is used; a pod needs
 * none of it.
 *
 * Reads run in several threads, one for each connection. Table and size never change. Descriptors
 * of files are kept in a table of their own, found by number; one that is in use is not closed, and
 * who finds its place taken opens, reads and closes by itself.
 *
 * Source: nbdkit-plugin(3), API version 2
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "lib/broker.h"
#include "lib/disktab.h"

/*
 * One request at a time on each connection, and several connections. With several on
 * one, nbdkit 1.32 ends by an assertion (raw_send_socket: sock >= 0) when a client
 * goes away while two of them answer.
 */
#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_REQUESTS

/* Descriptors that are kept: well below the usual limit of 1024. */
#define KEPT 256

/*
 * A file that is open. @users hold it; @fd is -1 while the place is free. @was is what
 * the broker has checked: a file that changes later is an error, not other content.
 */
struct kept {
	uint32_t file;
	unsigned int users;
	int fd;
	struct stat was;
};

static int table_fd = -1, broker_fd = -1, ready_fd = -1;
static const struct disktab_head *head;
static const struct disktab_extent *extents;
static struct kept kept[KEPT];
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;	/* of @kept */
static pthread_mutex_t broker_lock = PTHREAD_MUTEX_INITIALIZER; /* of one question */

/* Asks the broker: a descriptor, or minus errno. */
static int ask_broker(uint32_t file)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} c;
	struct broker_request rq = {.file = file};
	struct broker_reply rp;
	struct iovec iov = {&rp, sizeof(rp)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = c.room,
			   .msg_controllen = sizeof(c.room)};
	struct cmsghdr *h;
	ssize_t n = -1;
	int fd = -EIO;

	pthread_mutex_lock(&broker_lock);
	if (send(broker_fd, &rq, sizeof(rq), MSG_NOSIGNAL) == sizeof(rq))
		do {
			n = recvmsg(broker_fd, &m, MSG_CMSG_CLOEXEC);
		} while (n < 0 && errno == EINTR);
	pthread_mutex_unlock(&broker_lock);
	if (n != sizeof(rp) || rp.file != file)
		return -EIO;
	h = CMSG_FIRSTHDR(&m);
	if (h && h->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	return rp.error ? rp.error : fd;
}

/*
 * A file's descriptor, to be given back with release().
 * @ret_place: where it is kept; NULL: it is the caller's alone
 * @ret_was:   what it was when it was opened
 */
static int acquire(uint32_t file, struct kept **ret_place, struct stat *ret_was)
{
	struct kept *k = &kept[file % KEPT];
	int fd = -1;

	*ret_place = NULL;
	pthread_mutex_lock(&kept_lock);
	if (k->fd >= 0 && k->file == file) {
		k->users++;
		fd = k->fd;
		*ret_was = k->was;
		*ret_place = k;
	}
	pthread_mutex_unlock(&kept_lock);
	if (fd >= 0)
		return fd;
	fd = ask_broker(file);
	if (fd < 0)
		return fd;
	if (fstat(fd, ret_was) < 0) {
		close(fd);
		return -EIO;
	}
	pthread_mutex_lock(&kept_lock);
	if (!k->users) {
		if (k->fd >= 0)
			close(k->fd);
		*k = (struct kept){.file = file, .users = 1, .fd = fd, .was = *ret_was};
		*ret_place = k;
	}
	pthread_mutex_unlock(&kept_lock);
	return fd;
}

static void release(int fd, struct kept *place)
{
	if (!place) {
		close(fd);
		return;
	}
	pthread_mutex_lock(&kept_lock);
	place->users--;
	pthread_mutex_unlock(&kept_lock);
}

/* Reads what a file has; behind its end are zeros. 0 or minus errno. */
static int read_file(int fd, char *buf, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pread(fd, buf, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		buf += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	memset(buf, 0, len);
	return 0;
}

/* The first extent that ends behind @block; n_extents if none does. */
static uint64_t find_extent(uint64_t block)
{
	uint64_t lo = 0, hi = head->n_extents;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (extents[mid].first_block + extents[mid].n_blocks <= block)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/*
 * What is at @offset: how many bytes, @len at most, and the extent; NULL is zeros.
 */
static uint64_t look_up(uint64_t offset, uint64_t len, const struct disktab_extent **ret)
{
	uint64_t i = find_extent(offset / DISKTAB_BLOCK_BYTES), begin, end;

	*ret = NULL;
	if (i == head->n_extents)
		return len;
	begin = extents[i].first_block * DISKTAB_BLOCK_BYTES;
	end = begin + extents[i].n_blocks * DISKTAB_BLOCK_BYTES;
	if (begin > offset)
		return begin - offset < len ? begin - offset : len;
	*ret = &extents[i];
	return end - offset < len ? end - offset : len;
}

static int read_extent(const struct disktab_extent *x, char *buf, size_t len, uint64_t offset)
{
	uint64_t at = x->offset + (offset - x->first_block * DISKTAB_BLOCK_BYTES);
	struct stat was, is;
	struct kept *place;
	int fd, rc;

	if (x->file == DISKTAB_FILE_SELF)
		return read_file(table_fd, buf, len, at);
	fd = acquire(x->file, &place, &was);
	if (fd < 0)
		return fd;
	rc = read_file(fd, buf, len, at);
	if (!rc &&
	    (fstat(fd, &is) < 0 || is.st_size != was.st_size ||
	     is.st_mtim.tv_sec != was.st_mtim.tv_sec || is.st_mtim.tv_nsec != was.st_mtim.tv_nsec))
		rc = -ESTALE;
	release(fd, place);
	return rc;
}

static int disk_pread(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	char *dst = buf;
	int rc = 0;

	(void)handle;
	(void)flags;
	while (count && !rc) {
		const struct disktab_extent *x;
		uint32_t n = (uint32_t)look_up(offset, count, &x);

		if (x)
			rc = read_extent(x, dst, n, offset);
		else
			memset(dst, 0, n);
		dst += n;
		offset += n;
		count -= n;
	}
	if (!rc)
		return 0;
	nbdkit_error("read before %llu: %s", (unsigned long long)offset,
		     rc == -ESTALE ? "a file of the layers has changed since the disk was made"
				   : strerror(-rc));
	nbdkit_set_error(EIO);
	return -1;
}

static int disk_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
			struct nbdkit_extents *ret)
{
	uint64_t left = count;

	(void)handle;
	(void)flags;
	while (left) {
		const struct disktab_extent *x;
		uint64_t n = look_up(offset, left, &x);

		if (nbdkit_add_extent(ret, offset, n,
				      x ? 0 : NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO) < 0)
			return -1;
		offset += n;
		left -= n;
	}
	return 0;
}

static int disk_config(const char *key, const char *value)
{
	int *fd = !strcmp(key, "table")	   ? &table_fd
		  : !strcmp(key, "broker") ? &broker_fd
		  : !strcmp(key, "ready")  ? &ready_fd
					   : NULL;

	if (!fd) {
		nbdkit_error("%s: unknown parameter", key);
		return -1;
	}
	return nbdkit_parse_int(key, value, fd);
}

static int disk_ready(void)
{
	struct stat st;
	size_t i;

	if (table_fd < 0 || broker_fd < 0 || fstat(table_fd, &st) < 0 ||
	    st.st_size < (off_t)sizeof(*head)) {
		nbdkit_error("this plugin is used through podvm-storage serve");
		return -1;
	}
	head = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, table_fd, 0);
	if (head == MAP_FAILED || head->magic != DISKTAB_MAGIC) {
		nbdkit_error("no table of a disk");
		return -1;
	}
	extents = (const void *)((const char *)head + head->extents_offset);
	for (i = 0; i < KEPT; i++)
		kept[i].fd = -1;
	return 0;
}

/* Our broker's end is ours. */
static void *watch(void *arg)
{
	struct pollfd p = {.fd = broker_fd, .events = POLLRDHUP};

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	nbdkit_shutdown();
	return arg;
}

static int disk_after_fork(void)
{
	pthread_t id;
	int rc = pthread_create(&id, NULL, watch, NULL);

	if (rc) {
		nbdkit_error("thread: %s", strerror(rc));
		return -1;
	}
	pthread_detach(id);
	if (ready_fd >= 0) {
		if (write(ready_fd, "r", 1) < 0)
			return -1;
		close(ready_fd);
	}
	return 0;
}

static void *disk_open(int readonly)
{
	(void)readonly;
	return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t disk_size(void *handle)
{
	(void)handle;
	return (int64_t)(head->n_blocks * DISKTAB_BLOCK_BYTES);
}

static int disk_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
	(void)handle;
	*minimum = 1;
	*preferred = DISKTAB_BLOCK_BYTES;
	*maximum = UINT32_MAX;
	return 0;
}

static int yes(void *handle)
{
	(void)handle;
	return 1;
}

static struct nbdkit_plugin plugin = {
	.name = "podvm",
	.longname = "synthetic disk of podvm-storage",
	.version = PODVM_VERSION,
	.config = disk_config,
	.get_ready = disk_ready,
	.after_fork = disk_after_fork,
	.open = disk_open,
	.get_size = disk_size,
	.block_size = disk_block_size,
	.can_multi_conn = yes,
	.can_extents = yes,
	.pread = disk_pread,
	.extents = disk_extents,
};

NBDKIT_REGISTER_PLUGIN(plugin)
