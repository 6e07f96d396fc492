// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A directory for a fuzzer whose target works on files: in memory, one for each
 * process, removed at its end.
 */
#include "tests/fuzz/home.h"

#include <fcntl.h>
#include <stdlib.h>

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
