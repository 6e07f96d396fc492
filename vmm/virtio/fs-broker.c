// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A worker's side of a channel to a share's broker (lib/share.h): one question, one
 * answer. Both lie in buffers of the worker. The broker is trusted, but it may be
 * gone: then all questions have the answer -EIO. One that answers something
 * else than it was asked has its channel shut down, since nothing after it would fit.
 *
 * Forgotten nodes are gathered and go out as one message that has no answer.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "vmm/virtio/fs.h"

static struct share_request *head(struct fs_worker *w)
{
	return (struct share_request *)(void *)w->msg;
}

static struct share_request *begin(struct fs_worker *w, uint32_t op, uint64_t node)
{
	struct share_request *rq = head(w);

	*rq = (struct share_request){ .op = op, .seq = rq->seq + 1, .node = node };
	w->msg_len = sizeof(*rq);
	return rq;
}

/**
 * fs_rq() - begin a question
 * @op: enum share_op
 *
 * Return: for what else is to be asked; valid until the next one
 */
struct share_request *fs_rq(struct fuse_req *r, uint32_t op, uint64_t node)
{
	struct share_request *rq = begin(r->w, op, node);

	rq->uid = r->h.uid;
	rq->gid = r->h.gid;
	return rq;
}

/**
 * fs_rq_add() - add data to the question
 * @len: what does not fit makes fs_ask() say -E2BIG
 */
void fs_rq_add(struct fuse_req *r, const void *data, size_t len)
{
	struct fs_worker *w = r->w;

	if (len <= sizeof(w->msg) && w->msg_len <= sizeof(w->msg) - len) {
		memcpy(w->msg + w->msg_len, data, len);
		w->msg_len += len;
	} else {
		w->msg_len = sizeof(w->msg) + 1;
	}
}

/**
 * fs_rq_name() - add a name to the question
 */
void fs_rq_name(struct fuse_req *r, const char *name)
{
	fs_rq_add(r, name, strlen(name) + 1);
}

static int post(struct fs_worker *w, int sock)
{
	struct err e;

	head(w)->len = (uint32_t)(w->msg_len - sizeof(struct share_request));
	return fd_send(sock, w->msg, w->msg_len, NULL, 0, &e) < 0 ? -EIO : 0;
}

/* Takes the answer. Return: 0, with a descriptor or -1; its error; -EIO */
static int receive(struct fs_worker *w, int sock, int *ret_fd)
{
	struct share_reply rp;
	size_t n_fds = 0;
	int fd = -1, rc;
	struct err e;
	ssize_t n = fd_recv(sock, w->answer, sizeof(w->answer), &fd, 1, &n_fds, &e);

	if (n > 0 && (size_t)n >= sizeof(rp)) {
		memcpy(&rp, w->answer, sizeof(rp));
		rc = rp.error;
		if (rp.seq == head(w)->seq && rp.len == (size_t)n - sizeof(rp) && rc <= 0 &&
		    rc > -4096 && (!rc || !n_fds)) {
			*ret_fd = n_fds ? fd : -1;
			return rc;
		}
	}
	if (n_fds)
		fd_close(&fd);
	shutdown(sock, SHUT_RDWR);
	return -EIO;
}

/**
 * fs_ask() - ask the broker
 * @ret_fd: descriptor that came with the answer, owned by the caller; NULL: none is due
 *
 * Return: 0, and fs_reply() has the answer; minus errno of it; -EIO without a broker
 * Context: a worker; blocks
 *
 * #syscalls sendmsg recvmsg shutdown close
 */
int fs_ask(struct fuse_req *r, int *ret_fd)
{
	int fd = -1, rc;

	if (r->w->msg_len > sizeof(r->w->msg))
		return -E2BIG;
	rc = post(r->w, r->sock);
	if (rc >= 0)
		rc = receive(r->w, r->sock, &fd);
	if (rc < 0)
		return rc;
	if ((fd >= 0) != (ret_fd != NULL)) {
		fd_close(&fd);
		return -EIO;
	}
	if (ret_fd)
		*ret_fd = fd;
	return 0;
}

/**
 * fs_reply() - what the broker answered
 *
 * Return: its data, @ret->len bytes, valid until the next question
 */
const void *fs_reply(const struct fuse_req *r, struct share_reply *ret)
{
	memcpy(ret, r->w->answer, sizeof(*ret));
	return r->w->answer + sizeof(*ret);
}

/**
 * fs_forget_send() - tell the broker what was forgotten
 */
void fs_forget_send(struct fs_worker *w, int sock)
{
	size_t bytes = w->n_forget * sizeof(w->forget[0]);

	if (!w->n_forget)
		return;
	w->n_forget = 0;
	begin(w, SHARE_FORGET, 0);
	memcpy(w->msg + w->msg_len, w->forget, bytes);
	w->msg_len += bytes;
	post(w, sock);
}

/**
 * fs_forget() - a node is given back
 *
 * It goes out with others, at the end of the worker's turn at the latest.
 */
void fs_forget(struct fs_worker *w, int sock, uint64_t node, uint64_t nlookup)
{
	w->forget[w->n_forget++] = (struct fuse_forget_one){ node, nlookup };
	if (w->n_forget == SHARE_BATCH_MAX)
		fs_forget_send(w, sock);
}

/**
 * fs_forget_all() - the guest knows no node any more
 */
void fs_forget_all(struct fs_worker *w, int sock)
{
	int fd = -1;

	w->n_forget = 0;
	begin(w, SHARE_RESET, 0);
	if (post(w, sock) >= 0)
		receive(w, sock, &fd);
	fd_close(&fd);
}
