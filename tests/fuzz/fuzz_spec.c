// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of the config.json parser: the input is the file, the bundle is an
 * empty directory that holds "rootfs" alone. What parses is packed, unpacked
 * and packed again, since the agent gets it so. Anything but an error or a spec
 * is a find: a crash, a leak, an error without text.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/spec_impl.h"
#include "tests/fuzz/home.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int bundle(void)
{
	bool fresh;
	int fd = fuzz_home(&fresh);

	if (fresh && mkdirat(fd, "rootfs", 0755) < 0)
		abort();
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
