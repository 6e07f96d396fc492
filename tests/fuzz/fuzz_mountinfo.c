// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzzer of mountinfo: the first byte is the id that is looked for, the rest the
 * file. What is found has all its fields, and its options go to the parser of
 * overlay mounts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "storage/mountinfo.h"
#include "storage/overlay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int rc, const struct mount_entry *m)
{
	struct overlay *o = NULL;
	struct err e = { 0 };

	if (rc == -ENOENT || rc == -EINVAL)
		return;
	if (rc || strlen(m->root) + strlen(m->point) + strlen(m->fstype) + strlen(m->source) +
		  strlen(m->super) > 1 << 20)
		abort();
	if (!overlay_parse(m->super, &o, &e))
		overlay_free(o);
}

/**
 * LLVMFuzzerTestOneInput() - look for a mount and for one inside it
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = NULL, *again = NULL;
	struct mount_entry m;
	uint64_t id;

	if (!size)
		return 0;
	id = data[0];
	text = strndup((const char *)data + 1, size - 1);
	again = strndup((const char *)data + 1, size - 1);
	if (!text || !again)
		abort();
	check(mountinfo_find(text, id, &m), &m);
	check(mountinfo_child(again, id, &m), &m);
	return 0;
}
