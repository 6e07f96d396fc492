// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A descriptor is -1 or owned by exactly one variable. It is closed once,
 * never again on EINTR (Linux has freed it by then, close(2) NOTES), and errno
 * survives the closing. Descriptors travel between processes by SCM_RIGHTS and
 * arrive close-on-exec. Files that others read are replaced whole: written
 * under a temporary name, then renamed.
 */
#include "lib/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/mem.h"

/**
 * fd_path() - a path of the file itself, for calls that take no descriptor
 *
 * Of use where /proc is mounted, and while @fd is open.
 */
struct fd_path fd_path(int fd)
{
	struct fd_path p;

	snprintf(p.s, sizeof(p.s), "/proc/self/fd/%d", fd);
	return p;
}

/**
 * fd_name() - the path that a file has now
 * @dst: NUL-terminated; " (deleted)" may be behind it, and nothing says that it leads there
 *
 * Return: 0; -ENAMETOOLONG; minus errno
 */
int fd_name(int fd, char *dst, size_t room)
{
	ssize_t n = readlink(fd_path(fd).s, dst, room);

	if (n < 0)
		return -errno;
	if ((size_t)n == room) {
		errno = ENAMETOOLONG;
		return -ENAMETOOLONG;
	}
	dst[n] = 0;
	return 0;
}

/* Of a ".." that a rename or a mount, of anything on the machine, comes in between of. */
#define OPENAT2_TRIES 128

/**
 * fd_openat2() - openat2(2), which the C library does not have
 * @flags:   O_*; O_CLOEXEC is among them
 * @mode:    of a file that is made; else 0
 * @resolve: RESOLVE_*
 *
 * Where ".." may not lead out of @dirfd, the kernel gives up when a rename comes in
 * between, which is for the caller to try again (openat2(2), EAGAIN): done here.
 *
 * Return: descriptor, owned by the caller; -1 and errno
 */
int fd_openat2(int dirfd, const char *path, uint64_t flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve };
	int fd, tries = OPENAT2_TRIES;

	do
		fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN && resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) &&
	       --tries);
	return fd;
}

/**
 * fd_close() - close a descriptor and forget it
 * @fd: the variable that owns it; -1 is fine; set to -1; errno is kept
 */
void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

/**
 * fd_steal() - give a descriptor away
 * @fd: the variable that owns it; set to -1
 *
 * Return: the descriptor, now owned by the caller
 */
int fd_steal(int *fd)
{
	int got = *fd;

	*fd = -1;
	return got;
}

/**
 * read_full() - read exactly @len bytes
 * @fd:  blocking descriptor, borrowed
 * @buf: destination
 * @len: bytes
 *
 * Return: 0; -EPIPE on end of file before @len bytes; else minus errno
 */
int read_full(int fd, void *buf, size_t len, struct err *e)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read");
		if (!n)
			return err_set(e, EPIPE, "end of file after %zu of %zu bytes",
				       done, len);
		done += (size_t)n;
	}
	return 0;
}

/**
 * write_full() - write exactly @len bytes
 * @fd:  blocking descriptor, borrowed
 * @buf: source
 * @len: bytes
 *
 * Return: 0 or minus errno
 */
int write_full(int fd, const void *buf, size_t len, struct err *e)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, (const char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "write");
		done += (size_t)n;
	}
	return 0;
}

/**
 * pwrite_full() - write exactly @len bytes at a place of a file
 * @fd:     blocking descriptor, borrowed
 * @buf:    source
 * @len:    bytes
 * @offset: bytes
 *
 * Return: 0; -EIO for a file that takes nothing; else minus errno
 */
int pwrite_full(int fd, const void *buf, size_t len, uint64_t offset, struct err *e)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, (const char *)buf + done, len - done,
				   (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "write");
		if (!n)
			return err_set(e, EIO, "write: nothing was written");
		done += (size_t)n;
	}
	return 0;
}

/**
 * fd_send() - send one message with descriptors over a unix socket
 * @sock:  SOCK_SEQPACKET or SOCK_STREAM unix socket, borrowed
 * @buf:   message, at least one byte
 * @fds:   descriptors, borrowed; the peer gets copies
 * @n_fds: at most FD_PASS_MAX
 *
 * Return: 0 or minus errno; never raises SIGPIPE
 */
int fd_send(int sock, const void *buf, size_t len, const int *fds,
	    size_t n_fds, struct err *e)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
	} c;
	struct iovec iov = { .iov_base = (void *)(unsigned long)buf,
			     .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (n_fds > FD_PASS_MAX)
		return err_set(e, EINVAL, "%zu descriptors in one message, at most %d",
			       n_fds, FD_PASS_MAX);
	if (n_fds) {
		memset(&c, 0, sizeof(c));
		m.msg_control = c.room;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, n_fds * sizeof(int));
	}
	do {
		n = sendmsg(sock, &m, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(e, "sendmsg");
	if ((size_t)n != len)
		return err_set(e, EIO, "sendmsg sent %zd of %zu bytes", n, len);
	return 0;
}

/* Takes the descriptors of one control message; those beyond @max are closed. */
static void take_fds(struct msghdr *m, int *fds, size_t max, size_t *n_fds)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t i, n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (*n_fds < max)
				fds[(*n_fds)++] = fd;
			else
				close(fd);
		}
	}
}

/**
 * fd_recv() - receive one message with descriptors
 * @sock:      unix socket, borrowed
 * @buf:       destination
 * @len:       its size; a longer SOCK_SEQPACKET message is refused
 * @ret_fds:   room for @max_fds descriptors, owned by the caller afterwards
 * @max_fds:   surplus descriptors are closed
 * @ret_n_fds: how many arrived; set on success only
 *
 * Return: bytes received, 0 when the peer closed; -EMSGSIZE for a message or
 * control data that did not fit; else minus errno (-EAGAIN passes through)
 */
ssize_t fd_recv(int sock, void *buf, size_t len, int *ret_fds, size_t max_fds,
		size_t *ret_n_fds, struct err *e)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
	} c;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = c.room,
			    .msg_controllen = sizeof(c.room) };
	size_t n_fds = 0;
	ssize_t n;

	do {
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(e, "recvmsg");
	take_fds(&m, ret_fds, max_fds, &n_fds);
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		while (n_fds)
			close(ret_fds[--n_fds]);
		return err_set(e, EMSGSIZE, "message longer than %zu bytes or %zu descriptors",
			       len, max_fds);
	}
	/* An empty packet looks like the end: what came with it must not leak. */
	while (!n && n_fds)
		close(ret_fds[--n_fds]);
	*ret_n_fds = n_fds;
	return n;
}

/**
 * file_read() - read a whole regular or pseudo file
 * @dirfd:     directory or AT_FDCWD
 * @path:      relative to @dirfd
 * @max_bytes: a longer file is refused with -EFBIG
 * @ret_text:  malloc'd, NUL-terminated, owned by the caller
 * @ret_len:   length without the NUL; may be NULL
 *
 * Return: 0 or minus errno
 */
int file_read(int dirfd, const char *path, size_t max_bytes, char **ret_text,
	      size_t *ret_len, struct err *e)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	size_t room = 4096, len = 0;

	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_sys(e, "%s", path);
	for (;;) {
		ssize_t n;

		if (!text || len + 1 >= room) {
			char *more;

			if (text)
				room *= 2;
			more = realloc(text, room);
			if (!more)
				return err_set(e, ENOMEM, "%s: out of memory", path);
			text = more;
		}
		n = read(fd, text + len, room - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "%s: read", path);
		if (!n)
			break;
		len += (size_t)n;
		if (len > max_bytes)
			return err_set(e, EFBIG, "%s: longer than %zu bytes",
				       path, max_bytes);
	}
	text[len] = 0;
	if (ret_len)
		*ret_len = len;
	*ret_text = mem_steal(text);
	return 0;
}

/**
 * file_write() - write a short text into an existing (pseudo) file in one call
 * @dirfd: directory or AT_FDCWD
 * @path:  relative to @dirfd; not created
 *
 * Return: 0 or minus errno
 */
int file_write(int dirfd, const char *path, const char *text, struct err *e)
{
	_cleanup_close_ int fd = -1;
	size_t len = strlen(text);

	fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_sys(e, "%s", path);
	if (write(fd, text, len) != (ssize_t)len)
		return err_sys(e, "%s: write", path);
	return 0;
}

/**
 * file_replace() - make or replace a file so that readers see old or new, never half
 * @dirfd: directory or AT_FDCWD
 * @path:  relative to @dirfd
 * @mode:  permission bits of the new file
 *
 * Return: 0 or minus errno; on failure no temporary file is left
 */
int file_replace(int dirfd, const char *path, const void *data, size_t len,
		 mode_t mode, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char tmp[PATH_MAX];
	int rc;

	if (snprintf(tmp, sizeof(tmp), "%s.%d.tmp", path, getpid()) >= (int)sizeof(tmp))
		return err_set(e, ENAMETOOLONG, "%s: path too long", path);
	unlinkat(dirfd, tmp, 0);
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return err_sys(e, "%s: create", tmp);
	rc = write_full(fd, data, len, e);
	if (rc < 0) {
		err_wrap(e, "%s", tmp);
	} else if (renameat(dirfd, tmp, dirfd, path) < 0) {
		rc = err_sys(e, "%s: rename", path);
	}
	if (rc < 0)
		unlinkat(dirfd, tmp, 0);
	return rc;
}

/*
 * A mount point is refused before its content is touched. The first name may be a path,
 * with mounts on its way.
 */
static int open_tree(int dirfd, const char *name, bool first)
{
	int fd = fd_openat2(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
			    first ? 0 : RESOLVE_NO_XDEV);
	struct statx sx;

	if (fd < 0 || !first || (!statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &sx) &&
				 !(sx.stx_attributes & STATX_ATTR_MOUNT_ROOT)))
		return fd;
	close(fd);
	errno = EXDEV;
	return -1;
}

static int remove_tree(int dirfd, const char *name, bool first, struct err *e)
{
	struct dirent *d;
	int fd, why, rc = 0;
	DIR *dir;

	if (!unlinkat(dirfd, name, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_sys(e, "%s: unlink", name);
	why = errno;
	fd = open_tree(dirfd, name, first);
	if (fd < 0 && errno == ENOTDIR)
		errno = why; /* a file, and why it could not be removed */
	if (fd < 0)
		return err_sys(e, "%s", name);
	dir = fdopendir(fd);
	if (!dir) {
		rc = err_sys(e, "%s", name);
		close(fd);
		return rc;
	}
	while (rc >= 0 && (d = readdir(dir)))
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			rc = remove_tree(fd, d->d_name, false, e);
	closedir(dir);
	if (rc < 0)
		return err_wrap(e, "%s", name);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_sys(e, "%s: rmdir", name);
	return 0;
}

/**
 * dir_remove() - remove a file or a directory tree; a missing one is fine
 * @dirfd: directory or AT_FDCWD
 * @name:  entry in it; symlinks are removed, never followed; a mount inside makes
 *         it fail, and what is mounted stays whole
 *
 * Return: 0 or minus errno; -EXDEV for a directory that is a mount point
 */
int dir_remove(int dirfd, const char *name, struct err *e)
{
	return remove_tree(dirfd, name, true, e);
}

/**
 * dir_make() - make a directory and its missing parents
 * @path: absolute or relative
 * @mode: permission bits of what is made; existing directories keep theirs
 *
 * Return: 0; -ENOTDIR when the path leads to a file; minus errno
 */
int dir_make(const char *path, mode_t mode, struct err *e)
{
	struct stat st;
	char p[PATH_MAX];
	char *s;

	if (snprintf(p, sizeof(p), "%s", path) >= (int)sizeof(p) || !*p)
		return err_set(e, ENAMETOOLONG, "%s: bad path", path);
	for (s = p + 1;; s++) {
		char c = *s;

		if (c && c != '/')
			continue;
		*s = 0;
		if (mkdir(p, mode) < 0 && errno != EEXIST)
			return err_sys(e, "%s: mkdir", p);
		*s = c;
		if (!c)
			break;
	}
	if (stat(p, &st) < 0)
		return err_sys(e, "%s", p);
	return S_ISDIR(st.st_mode) ? 0 : err_set(e, ENOTDIR, "%s: not a directory", p);
}
