// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of the way back: the input is what a guest tells of its changes, the tree is a
 * small directory with a link out of it. Whatever comes, what lies beside the tree stays
 * as it is, an error has a text, and the limits hold.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "storage/writeback.h"
#include "tests/fuzz/home.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BYTES_MAX (1u << 20)
#define NAMES_MAX 200

static void put(int at, const char *name)
{
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, "kept", 4) != 4)
		abort();
	close(fd);
}

static int home(void)
{
	bool fresh;
	int fd = fuzz_home(&fresh);

	if (!fresh)
		return fd;
	if (mkdirat(fd, "out", 0755) < 0)
		abort();
	put(fd, "out/kept");
	return fd;
}

static int make_tree(int at)
{
	int fd;

	if (mkdirat(at, "tree", 0755) < 0 || mkdirat(at, "tree/d", 0755) < 0 ||
	    symlinkat("../out", at, "tree/l") < 0)
		abort();
	put(at, "tree/a");
	put(at, "tree/d/x");
	fd = openat(at, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		abort();
	return fd;
}

static void check_outside(int at)
{
	_cleanup_free_ char *text = NULL;
	struct stat out, kept;
	struct dirent *e;
	size_t n = 0;
	DIR *d = fdopendir(openat(home(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	if (!d || file_read(at, "out/kept", 100, &text, NULL, NULL) < 0 || strcmp(text, "kept") ||
	    fstatat(at, "out", &out, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fstatat(at, "out/kept", &kept, AT_SYMLINK_NOFOLLOW) < 0 ||
	    out.st_mode != (S_IFDIR | 0755) || kept.st_mode != (S_IFREG | 0644) ||
	    kept.st_nlink != 1)
		abort();
	while ((e = readdir(d)))
		n++;
	closedir(d);
	if (n != 3)
		abort();
}

/**
 * LLVMFuzzerTestOneInput() - carry out one input
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct writeback_config config = { .bytes_max = BYTES_MAX,
							.names_max = NAMES_MAX };
	int at = home(), tree = make_tree(at), in = memfd_create("delta", MFD_CLOEXEC);
	struct writeback_stats st = { 0 };
	struct err e = { 0 };
	int rc;

	umask(022);
	if (in < 0 || write_full(in, data, size, &e) < 0 || lseek(in, 0, SEEK_SET))
		abort();
	rc = delta_apply(tree, in, &config, &st, &e);
	if (rc < 0 && (!e.text[0] || rc != -e.code))
		abort();
	if (st.names > NAMES_MAX + 1 || st.bytes > BYTES_MAX)
		abort();
	close(in);
	close(tree);
	if (dir_remove(at, "tree", &e) < 0)
		abort();
	check_outside(at);
	return 0;
}
