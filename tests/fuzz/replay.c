// SPDX-License-Identifier: Apache-2.0
/*
 * Stands for libFuzzer where there is none: runs the fuzzer once on each file, and
 * on each file of each directory, of the command line.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/fd.h"
#include "lib/mem.h"

#define INPUT_BYTES_MAX (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replayed;

static int replay(const char *path)
{
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	size_t len;

	if (file_read(AT_FDCWD, path, INPUT_BYTES_MAX, &text, &len, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	replayed++;
	return LLVMFuzzerTestOneInput((const uint8_t *)text, len);
}

static int replay_dir(const char *path, DIR *d)
{
	struct dirent *de;
	int bad = 0;

	while ((de = readdir(d))) {
		char name[PATH_MAX];

		if (de->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, de->d_name);
		bad |= replay(name);
	}
	return bad;
}

int main(int argc, char **argv)
{
	int i, bad = 0;

	for (i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);

		bad |= d ? replay_dir(argv[i], d) : replay(argv[i]);
		if (d)
			closedir(d);
	}
	printf("%d inputs\n", replayed);
	return bad || !replayed;
}
