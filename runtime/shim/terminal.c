// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The line discipline that a program talks to is the guest's: the terminal on
 * the host is set raw and only carries bytes. With an engine, the host's side
 * is a pty pair whose master goes to the engine over its console socket (one
 * message: the slave's name and the master's descriptor, as runc does it); the
 * shim keeps the slave, as its controlling terminal, so that the engine's
 * TIOCSWINSZ on the master reaches it as SIGWINCH.
 */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/shim/shim.h"

/**
 * terminal_raw() - let bytes through as they are
 * @fd: terminal; anything else is left alone
 */
void terminal_raw(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t) < 0)
		return;
	cfmakeraw(&t);
	tcsetattr(fd, TCSANOW, &t);
}

/**
 * terminal_size() - window size
 * @fd: terminal
 *
 * Return: 0 or minus errno
 */
int terminal_size(int fd, uint32_t *ret_rows, uint32_t *ret_columns)
{
	struct winsize w;

	if (ioctl(fd, TIOCGWINSZ, &w) < 0)
		return -errno;
	*ret_rows = w.ws_row;
	*ret_columns = w.ws_col;
	return 0;
}

/**
 * terminal_to_engine() - make a pty, give its master to the engine
 * @console_sock: connected to the engine's console socket, borrowed
 * @ret_slave:    raw, and the caller's controlling terminal; owned by the caller
 *
 * Return: 0 or minus errno
 * Context: the caller leads its session and has no controlling terminal
 */
int terminal_to_engine(int console_sock, int *ret_slave, struct err *e)
{
	_cleanup_close_ int master = -1, slave = -1;
	char name[64];
	int rc;

	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
	    (rc = ptsname_r(master, name, sizeof(name))) != 0)
		return err_sys(e, "pty");
	slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_sys(e, "%s", name);
	terminal_raw(slave);
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_sys(e, "%s: controlling terminal", name);
	rc = fd_send(console_sock, name, strlen(name), &master, 1, e);
	if (rc < 0)
		return err_wrap(e, "console socket");
	*ret_slave = fd_steal(&slave);
	return 0;
}
