// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A directory for a fuzzer whose target works on files: in memory, one for each
 * process, removed at its end. And a file without a name for one that reads a file.
 */
#include "tests/fuzz/home.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fd.h"

static char dir[] = "/dev/shm/podvm-fuzz-XXXXXX";

static void remove_dir(void)
{
	dir_remove(AT_FDCWD, dir, NULL);
}

/**
 * fuzz_home() - the directory; made when it is asked for first
 * @ret_fresh: it has just been made, and is empty; may be NULL
 *
 * Return: O_RDONLY descriptor, borrowed; aborts where it cannot be made
 */
int fuzz_home(bool *ret_fresh)
{
	static int fd = -1;

	if (ret_fresh)
		*ret_fresh = fd < 0;
	if (fd >= 0)
		return fd;
	if (!mkdtemp(dir))
		abort();
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		abort();
	atexit(remove_dir);
	return fd;
}

/**
 * fuzz_file() - a file with this content, in the place of the one before
 *
 * Return: its path, static; aborts where it cannot be written
 */
const char *fuzz_file(const void *data, size_t len)
{
	static char path[32];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("fuzz", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	if (fd < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, data, len, 0) != (ssize_t)len)
		abort();
	return path;
}
