// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of undoing a journal: the first two bytes say after how many records undoing
 * fails, and how much stays; the rest is the file, as a crash or a broken disk left
 * it. Undoing goes on until nothing is left or a record is damaged. A find: a crash, a
 * record without a kind, a failure without a text, an end that moves up, a file that
 * is not empty after success.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/journal.h"
#include "tests/fuzz/home.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct undo {
	unsigned int left;
	bool failed;
};

static int undo(void *arg, const struct journal_rec *r, struct err *e)
{
	struct undo *u = arg;
	size_t i;

	if (!r->n || r->n > JOURNAL_WORDS_MAX)
		abort();
	for (i = 0; i < r->n; i++)
		if (strlen(r->word[i]) > 1 << 20)
			abort();
	u->failed = !u->left;
	if (u->failed)
		return err_set(e, 5, "asked to fail");
	u->left--;
	return 0;
}

static void put_file(const uint8_t *data, size_t size)
{
	int fd = openat(fuzz_home(NULL), "j", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

/**
 * LLVMFuzzerTestOneInput() - undo one journal
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct journal *j = NULL;
	struct err e = { 0 };
	struct undo u;
	size_t mark, before, end;
	int rc;

	if (size < 2)
		return 0;
	u = (struct undo){ .left = data[0] };
	mark = data[1];
	put_file(data + 2, size - 2);
	if (journal_open(fuzz_home(NULL), "j", &j, &e) < 0)
		abort();
	do {
		before = journal_mark(j);
		rc = journal_undo_to(j, mark < before ? mark : 0, undo, &u, &e);
		end = journal_mark(j);
		if (end > before || (rc < 0 && !e.text[0]))
			abort();
		if (!rc && mark >= before && end)
			abort();
		/* The failure of a record: it stays, and is undone the next time. */
		u.left = 255;
	} while (rc < 0 && u.failed && end < before);
	if (!rc && journal_add(j, &e, "kind", "word", NULL) < 0)
		abort();
	journal_free(j);
	return 0;
}
