/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_FD_H
#define LIB_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

/* Most descriptors that one message carries. */
#define FD_PASS_MAX 16

void fd_close(int *fd);
int fd_steal(int *fd);

/* A local descriptor that is closed when its scope ends. */
#define _cleanup_close_ __attribute__((cleanup(fd_close)))

/**
 * struct fd_path - "/proc/self/fd/N": a way to reach the file of a descriptor by name
 */
struct fd_path {
	char s[32];
};

struct fd_path fd_path(int fd);
int fd_name(int fd, char *dst, size_t room);
int fd_openat2(int dirfd, const char *path, uint64_t flags, mode_t mode, uint64_t resolve);

int read_full(int fd, void *buf, size_t len, struct err *e);
int write_full(int fd, const void *buf, size_t len, struct err *e);
int pwrite_full(int fd, const void *buf, size_t len, uint64_t offset, struct err *e);
int fd_send(int sock, const void *buf, size_t len, const int *fds,
	    size_t n_fds, struct err *e);
ssize_t fd_recv(int sock, void *buf, size_t len, int *ret_fds, size_t max_fds,
		size_t *ret_n_fds, struct err *e);
int file_read(int dirfd, const char *path, size_t max_bytes, char **ret_text,
	      size_t *ret_len, struct err *e);
int file_write(int dirfd, const char *path, const char *text, struct err *e);
int file_replace(int dirfd, const char *path, const void *data, size_t len,
		 mode_t mode, struct err *e);
int dir_remove(int dirfd, const char *name, struct err *e);
int dir_make(const char *path, mode_t mode, struct err *e);

#endif
