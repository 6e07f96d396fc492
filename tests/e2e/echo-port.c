// SPDX-License-Identifier: Apache-2.0
/*
 * echo-port SOCKET TEXT - listens on a unix stream socket, sends TEXT as a line to the
 * first one that calls, and prints what that one sends up to the end of its line.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	char c = 0;

	if (argc != 3 || strlen(argv[1]) >= sizeof(sa.sun_path))
		return 2;
	strcpy(sa.sun_path, argv[1]);
	if (bind(l, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(l, 1) < 0)
		return 1;
	fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%s\n", argv[2]) < 0)
		return 1;
	while (c != '\n' && read(fd, &c, 1) == 1)
		putchar(c);
	return c != '\n';
}
