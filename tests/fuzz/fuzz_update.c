// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of podvm update: the input is texts for --resources, one behind the other with
 * a NUL between them; each is an update of the limits that those before it have left.
 * One that is taken must say what it has come to in a text that the next one can begin
 * with, write each file by a name and a value, and have nothing to write when it is asked
 * for once more. One that is not taken has a text, and leaves nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "runtime/spec_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An update costs two texts that grow with those before. */
#define UPDATES_MAX 8

static void check_files(const struct spec_update *u)
{
	size_t i;

	for (i = 0; i < u->n_files; i++)
		if (!*u->files[i]->key || !*u->files[i]->value || strchr(u->files[i]->key, '/') ||
		    strchr(u->files[i]->value, '\n'))
			abort();
}

static void check_again(const char *now, const char *given, size_t len)
{
	struct spec_update u = { 0 };
	struct err e = { 0 };

	if (spec_update(now, given, len, &u, &e) < 0 || u.n_files)
		abort();
	spec_update_done(&u);
}

/* The limits afterwards, malloc'd, or NULL. */
static char *update(const char *now, const char *given, size_t len)
{
	struct spec_update u = { 0 };
	struct err e = { 0 };
	char *ret;

	if (spec_update(now, given, len, &u, &e) < 0) {
		if (!e.text[0] || u.n_files || u.resources)
			abort();
		return NULL;
	}
	if (!u.resources)
		abort();
	check_files(&u);
	check_again(u.resources, given, len);
	check_again(u.resources, "{}", 2);
	ret = mem_steal(u.resources);
	spec_update_done(&u);
	return ret;
}

/**
 * LLVMFuzzerTestOneInput() - update a container's limits, again and again
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size;
	char *now = NULL, *next;
	int left = UPDATES_MAX;

	while (at < end && left--) {
		size_t len = strnlen(at, (size_t)(end - at));

		next = update(now, at, len);
		if (next) {
			free(now);
			now = next;
		}
		at += len + 1;
	}
	free(now);
	return 0;
}
