// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The monitor cannot open files. For the data of a synthetic disk it asks by
 * disk and file number (lib/broker.h), and gets a read-only descriptor of that
 * layer's file, and nothing else. The broker has a thread of its own: the
 * guest's agent reads disks while the supervisor's loop waits for the agent's
 * answer. It never sees guest memory.
 */
#include <errno.h>
#include <sys/socket.h>

#include "lib/broker.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "runtime/supervisor/supervisor.h"

/* Refusals are logged, but not more of them than a person reads. */
#define BROKER_LOG_MAX 20

static int open_file(struct broker *b, const struct broker_request *rq,
		     int *ret_fd, struct err *e)
{
	int rc;

	pthread_mutex_lock(&b->lock);
	if (rq->disk >= POD_DISKS_MAX || !b->map[rq->disk])
		rc = err_set(e, ENOENT, "no synthetic disk %u", rq->disk);
	else
		rc = storage_map_open(b->map[rq->disk], rq->file, ret_fd, e);
	pthread_mutex_unlock(&b->lock);
	return rc;
}

static void *serve(void *arg)
{
	struct broker *b = arg;
	unsigned int logged = 0;

	for (;;) {
		_cleanup_close_ int fd = -1;
		struct broker_request rq;
		struct broker_reply rp;
		struct err e = { 0 };
		size_t n_fds = 0;
		ssize_t n = fd_recv(b->sock, &rq, sizeof(rq), NULL, 0, &n_fds, &e);

		if (n != sizeof(rq))
			return NULL; /* the monitor is gone, or talks nonsense */
		rp.file = rq.file;
		rp.error = open_file(b, &rq, &fd, &e);
		if (rp.error < 0 && logged++ < BROKER_LOG_MAX)
			log_warn("broker: disk %u file %u: %s", rq.disk, rq.file, e.text);
		if (fd_send(b->sock, &rp, sizeof(rp), &fd, rp.error ? 0 : 1, &e) < 0)
			return NULL;
	}
}

/**
 * broker_start() - make the socket and start the thread
 * @b:           zero-initialised
 * @ret_vmm_end: the monitor's end, owned by the caller
 *
 * Return: 0 or minus errno
 */
int broker_start(struct broker *b, int *ret_vmm_end, struct err *e)
{
	int s[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
		return err_sys(e, "socketpair");
	b->sock = s[0];
	pthread_mutex_init(&b->lock, NULL);
	rc = pthread_create(&b->thread, NULL, serve, b);
	if (rc) {
		fd_close(&s[0]);
		fd_close(&s[1]);
		b->sock = -1;
		return err_set(e, rc, "broker: cannot start a thread");
	}
	b->running = true;
	*ret_vmm_end = s[1];
	return 0;
}

/**
 * broker_add() - serve the files of a disk
 * @disk: number, below POD_DISKS_MAX
 * @m:    borrowed until broker_remove()
 */
void broker_add(struct broker *b, uint32_t disk, const struct storage_map *m)
{
	pthread_mutex_lock(&b->lock);
	b->map[disk] = m;
	pthread_mutex_unlock(&b->lock);
}

/**
 * broker_remove() - no more files of this disk; no request is under way afterwards
 */
void broker_remove(struct broker *b, uint32_t disk)
{
	broker_add(b, disk, NULL);
}

/**
 * broker_stop() - end the thread; fine when it was never started
 */
void broker_stop(struct broker *b)
{
	if (!b->running)
		return;
	shutdown(b->sock, SHUT_RDWR);
	pthread_join(b->thread, NULL);
	pthread_mutex_destroy(&b->lock);
	fd_close(&b->sock);
	b->running = false;
}
