/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_JOURNAL_H
#define LIB_JOURNAL_H

#include <stddef.h>

#include "lib/err.h"

/* Most words of one record, its kind included. */
#define JOURNAL_WORDS_MAX 8

struct journal;

/**
 * struct journal_rec - one thing that was about to be made
 * @word: @word[0] is the kind ("tap", "scratch", …), the rest its arguments; borrowed
 * @n:    number of words
 */
struct journal_rec {
	const char *word[JOURNAL_WORDS_MAX];
	size_t n;
};

/*
 * Undoes one record; idempotent: what is gone already is a success.
 * Return: 0; 1: not yet, it is to be tried again by a later undo; minus errno
 */
typedef int journal_undo_fn(void *arg, const struct journal_rec *r,
			    struct err *e);

int journal_open(int dirfd, const char *name, struct journal **ret,
		 struct err *e);
void journal_free(struct journal *j);
int journal_add(struct journal *j, struct err *e, ...)
	__attribute__((sentinel));
int journal_undo(struct journal *j, journal_undo_fn *fn, void *arg,
		 struct err *e);
int journal_each(struct journal *j, journal_undo_fn *fn, void *arg, struct err *e);
size_t journal_mark(const struct journal *j);
int journal_retire(struct journal *j, size_t mark, struct err *e);
int journal_undo_span(struct journal *j, size_t from, size_t to, journal_undo_fn *fn,
		      void *arg, struct err *e);
int journal_undo_to(struct journal *j, size_t mark, journal_undo_fn *fn,
		    void *arg, struct err *e);

#endif
