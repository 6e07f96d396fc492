// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A unix socket with a name. A name that nobody listens at any more, because its
 * server was killed, is taken over; one that somebody listens at is refused, and so is
 * whatever is no socket. Looking, removing and binding happen under a lock of the
 * directory (flock), so that of two servers one gets the name. A server at its end
 * removes the name only if nobody listens there by then; the number of its inode would
 * not do, since file systems give it to the next socket. The name is bound through the
 * directory's descriptor, so that its path may be longer than sun_path.
 */
#include "storage/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/str.h"

#define BACKLOG 64

static int address(struct sockaddr_un *sa, int dir_fd, const char *name)
{
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	return snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%s", dir_fd, name) <
			       (int)sizeof(sa->sun_path)
		       ? 0
		       : -ENAMETOOLONG;
}

/**
 * socket_dead() - whether a name is a socket that nobody listens at
 * @remove: and remove it then; the caller holds the lock of the directory
 *
 * Return: 1: it is (and is removed); 0: there is nothing of that name; -EADDRINUSE:
 * somebody listens; -EEXIST: no stream socket; minus errno
 */
int socket_dead(int dir_fd, const char *name, bool remove)
{
	_cleanup_close_ int s = -1;
	struct sockaddr_un sa;
	struct stat st;
	int rc = address(&sa, dir_fd, name);

	if (rc < 0)
		return rc;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return -errno;
	if (!connect(s, (struct sockaddr *)&sa, sizeof(sa)) || errno == EAGAIN)
		return -EADDRINUSE;
	if (errno != ECONNREFUSED)
		return errno == ENOENT ? 0 : errno == EPROTOTYPE ? -EEXIST : -errno;
	if (remove && unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return 1;
}

static int bind_locked(struct socket_place *p, struct err *e)
{
	struct sockaddr_un sa;
	mode_t mask;
	int rc = socket_dead(p->dir_fd, p->name, true);

	if (rc == -EADDRINUSE)
		return err_set(e, EADDRINUSE,
			       "another server listens there: end it, or choose another --socket");
	if (rc == -EEXIST)
		return err_set(e, EEXIST,
			       "is there and is no socket of a server: it is not removed; choose "
			       "another --socket");
	if (rc < 0 || address(&sa, p->dir_fd, p->name) < 0)
		return err_set(e, rc < 0 ? -rc : ENAMETOOLONG, "%s",
			       strerror(rc < 0 ? -rc : ENAMETOOLONG));
	mask = umask(0177);
	rc = bind(p->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? err_sys(e, "bind") : 0;
	umask(mask);
	p->bound = !rc;
	if (!rc && listen(p->fd, BACKLOG) < 0)
		rc = err_sys(e, "listen");
	return rc;
}

/**
 * socket_listen() - listen at a path that only our user may connect to
 * @p:    filled; socket_done() afterwards, also on failure
 * @path: its directory exists
 *
 * Return: 0; -EADDRINUSE; -EEXIST; minus errno
 */
int socket_listen(struct socket_place *p, const char *path, struct err *e)
{
	const char *base = strrchr(path, '/');
	char dir[PATH_MAX], shown[256];
	int rc;

	*p = (struct socket_place){.fd = -1, .dir_fd = -1};
	str_quote(shown, sizeof(shown), path);
	base = base ? base + 1 : path;
	if (!base[0] || str_copy(p->name, sizeof(p->name), base) < 0 ||
	    snprintf(dir, sizeof(dir), "%.*s", (int)(base - path), path) >= (int)sizeof(dir))
		return err_set(e, ENAMETOOLONG, "socket %s: not a name for a socket", shown);
	p->dir_fd = open(dir[0] ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir_fd < 0)
		return err_sys(e, "directory of socket %s", shown);
	p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->fd < 0)
		return err_sys(e, "socket");
	if (flock(p->dir_fd, LOCK_EX) < 0)
		return err_sys(e, "socket %s: lock of its directory", shown);
	rc = bind_locked(p, e);
	flock(p->dir_fd, LOCK_UN);
	return rc < 0 ? err_wrap(e, "socket %s", shown) : 0;
}

/**
 * socket_done() - stop listening and remove the name, if nobody else listens there now
 *
 * Whoever had a copy of the descriptor has closed it by then.
 */
void socket_done(struct socket_place *p)
{
	fd_close(&p->fd);
	if (p->bound && !flock(p->dir_fd, LOCK_EX)) {
		socket_dead(p->dir_fd, p->name, true);
		flock(p->dir_fd, LOCK_UN);
	}
	fd_close(&p->dir_fd);
}
