// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of exec --process: the input is the file. What is taken from it inherits what an
 * exec does from its container, gets a user and a capability by options, and must pass to
 * the agent and back; what is not has a text that names the file.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/spec_impl.h"
#include "tests/fuzz/home.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* That of the container, with something of everything that is inherited. */
static Podvm__Process *own(void)
{
	static const char text[] = "{\"args\":[\"sh\"],\"cwd\":\"/\",\"env\":[\"A=b\"],"
				   "\"noNewPrivileges\":true,\"oomScoreAdj\":5,"
				   "\"capabilities\":{\"bounding\":[\"CAP_CHOWN\"],\"effective\":[\"CAP_CHOWN\"]},"
				   "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":10,\"hard\":20}]}";
	Podvm__Process *p;

	if (spec_process_load(fuzz_file(text, sizeof(text) - 1), &p, NULL) < 0)
		abort();
	return p;
}

static void round_trip(const Podvm__Process *p)
{
	size_t len = podvm__process__get_packed_size(p);
	uint8_t *buf = malloc(len + 1);
	Podvm__Process *q;

	if (!buf || podvm__process__pack(p, buf) != len)
		abort();
	q = podvm__process__unpack(NULL, len, buf);
	if (!q || podvm__process__get_packed_size(q) != len)
		abort();
	podvm__process__free_unpacked(q, NULL);
	free(buf);
}

static void inherit(Podvm__Process *p)
{
	Podvm__Process *from = own();
	struct err e = { 0 };

	if (spec_inherit(p, from, &e) < 0 && !e.text[0])
		abort();
	spec_user("7:8", p, NULL);
	spec_capability_add("sys_admin", p, NULL);
	podvm__process__free_unpacked(from, NULL);
}

/**
 * LLVMFuzzerTestOneInput() - read one process
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Podvm__Process *p = NULL;
	const char *path = fuzz_file(data, size);
	struct err e = { 0 };
	int rc;

	rc = spec_process_load(path, &p, &e);
	if (rc < 0 && (p || rc != -e.code || !strstr(e.text, path)))
		abort();
	if (rc < 0)
		return 0;
	if (!p->n_args)
		abort();
	round_trip(p);
	inherit(p);
	round_trip(p);
	podvm__process__free_unpacked(p, NULL);
	return 0;
}
