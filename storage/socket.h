/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_SOCKET_H
#define STORAGE_SOCKET_H

#include <limits.h>
#include <stdbool.h>

#include "lib/err.h"

/**
 * struct socket_place - a unix socket that listens at a path
 * @fd:     owned
 * @dir_fd: directory, owned
 * @name:   in it
 * @bound:  the name was made
 */
struct socket_place {
	int fd;
	int dir_fd;
	char name[NAME_MAX + 1];
	bool bound;
};

int socket_listen(struct socket_place *p, const char *path, struct err *e);
int socket_dead(int dir_fd, const char *name, bool remove);
void socket_done(struct socket_place *p);

#endif
