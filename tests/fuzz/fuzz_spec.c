// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of the config.json parser: the input is the file, the bundle is an
 * empty directory that holds "rootfs" alone. What parses is packed, unpacked
 * and packed again, since the agent gets it so. Anything but an error or a spec
 * is a find: a crash, a leak, an error without text.
 *
 * With libFuzzer, from the top of the tree:
 *
 *	clang -std=gnu17 -D_GNU_SOURCE -g -I. -Ibuild/gen \
 *		-DPODVM_VERSION='"fuzz"' -DFUZZ_LIBFUZZER \
 *		-fsanitize=fuzzer,address,undefined tests/fuzz/fuzz_spec.c \
 *		runtime/spec*.c runtime/seccomp.c lib/err.c lib/fd.c lib/json.c \
 *		lib/log.c lib/str.c build/gen/lib/agent.pb-c.c \
 *		-ljson-c -lprotobuf-c -lseccomp -o fuzz_spec
 *	./fuzz_spec tests/fuzz/corpus/spec
 *
 * Without it, main() replays the files and directories of the command line.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/spec_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/podvm-fuzz-XXXXXX";

static void remove_bundle(void)
{
	dir_remove(AT_FDCWD, dir, NULL);
}

static int bundle(void)
{
	static int fd = -1;

	if (fd >= 0)
		return fd;
	if (!mkdtemp(dir))
		abort();
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || mkdirat(fd, "rootfs", 0755) < 0)
		abort();
	atexit(remove_bundle);
	return fd;
}

static void round_trip(const struct spec *s)
{
	size_t len = podvm__container_create__get_packed_size(s->create);
	uint8_t *buf = malloc(len + 1);
	Podvm__ContainerCreate *c;

	if (!buf || podvm__container_create__pack(s->create, buf) != len)
		abort();
	c = podvm__container_create__unpack(NULL, len, buf);
	if (!c || podvm__container_create__get_packed_size(c) != len)
		abort();
	podvm__container_create__free_unpacked(c, NULL);
	free(buf);
}

/**
 * LLVMFuzzerTestOneInput() - parse one input
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = { 0 };
	struct spec *s = NULL;
	int rc = spec_parse((const char *)data, size, bundle(), &s, &e);

	if (rc < 0 && (s || !e.text[0] || rc != -e.code))
		abort();
	if (!rc) {
		if (!s->rootfs || !s->create->process)
			abort();
		round_trip(s);
	}
	spec_free(s);
	return 0;
}

#ifndef FUZZ_LIBFUZZER
static int replay(const char *path)
{
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	size_t len;

	if (file_read(AT_FDCWD, path, 16u << 20, &text, &len, &e) < 0) {
		fprintf(stderr, "fuzz_spec: %s\n", e.text);
		return 1;
	}
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
	return bad;
}
#endif
