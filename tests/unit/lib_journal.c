// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The undo journal through crashes: cut at every byte, an undo that fails at
 * every record and is called again, one that leaves what is in use, a full disk, damaged
 * lines.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/journal.h"
#include "lib/str.h"
#include "tests/kit/dir.h"
#include "tests/kit/fault.h"

Suite *lib_journal_suite(void);

static struct journal *j;

static void reopen(void)
{
	struct err e = { 0 };

	journal_free(j);
	ck_assert_msg(!journal_open(AT_FDCWD, "j", &j, &e), "%s", e.text);
}

static void setup(void)
{
	kit_dir_enter();
	reopen();
}

static void teardown(void)
{
	journal_free(j);
	j = NULL;
	kit_dir_leave();
}

static void add(const char *kind, const char *arg)
{
	struct err e = { 0 };

	ck_assert_msg(!journal_add(j, &e, kind, arg, NULL), "%s", e.text);
}

struct log {
	struct strbuf text;
	int fail_at;	/* countdown; 0 fails never */
};

static int undo(void *arg, const struct journal_rec *r, struct err *e)
{
	struct log *l = arg;
	size_t i;

	if (l->fail_at && !--l->fail_at)
		return err_set(e, EBUSY, "not now");
	for (i = 0; i < r->n; i++)
		strbuf_add(&l->text, "%s%s", i ? "," : "", r->word[i]);
	strbuf_add(&l->text, ";");
	return 0;
}

static int undo_silently(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	(void)r;
	(void)e;
	return 0;
}

/* As undo(), but what is of kind "b" is in use. */
static int undo_unused(void *arg, const struct journal_rec *r, struct err *e)
{
	return !strcmp(r->word[0], "b") ? 1 : undo(arg, r, e);
}

static void expect(size_t mark, int rc, const char *text)
{
	struct log l = { .fail_at = 0 };
	struct err e = { 0 };
	int got = journal_undo_to(j, mark, undo, &l, &e);

	ck_assert_msg(got == rc, "%d: %s", got, e.text);
	ck_assert_str_eq(l.text.text ? l.text.text : "", text);
	strbuf_done(&l.text);
}

START_TEST(in_reverse)
{
	add("a", "1");
	add("b", "x y\n\"\\\x01\xc3\xa9");
	reopen();
	add("c", "");
	reopen();
	expect(0, 0, "c,;b,x y\n\"\\\x01\xc3\xa9;a,1;");
	expect(0, 0, "");
	ck_assert_uint_eq(journal_mark(j), 0);
}
END_TEST

START_TEST(fails_and_goes_on)
{
	struct log l = { .fail_at = _i };
	struct err e = { 0 };

	add("a", "1");
	add("b", "2");
	add("c", "3");
	ck_assert_int_eq(journal_undo(j, undo, &l, &e), -EBUSY);
	ck_assert_str_eq(e.text, "not now");
	reopen();
	ck_assert_int_eq(journal_undo(j, undo, &l, &e), 0);
	ck_assert_str_eq(l.text.text, "c,3;b,2;a,1;");
	strbuf_done(&l.text);
}
END_TEST

static const struct {
	const char *kinds;	/* one letter each; b: in use */
	const char *undone, *left;
} uses[] = {
	{ "b", "", "b,1;" },
	{ "ab", "a,1;", "b,2;" },
	{ "ba", "a,2;", "b,1;" },
	{ "abcb", "c,3;a,1;", "b,4;b,2;" },
	{ "babca", "a,5;c,4;a,2;", "b,3;b,1;" },
};

/* What is in use stays, whatever is before and behind it, and the rest is undone once. */
START_TEST(in_use)
{
	struct log l = { .fail_at = 0 };
	char kind[2] = "", n[2] = "1";
	struct err e = { 0 };
	size_t end;
	int i;

	for (i = 0; uses[_i].kinds[i]; i++, n[0]++) {
		kind[0] = uses[_i].kinds[i];
		add(kind, n);
	}
	for (i = 0; i < 3; i++, reopen())
		ck_assert_int_eq(i == 1 ? journal_undo_span(j, 0, journal_mark(j), undo_unused, &l, &e)
					: journal_undo(j, undo_unused, &l, &e), 1);
	ck_assert_str_eq(l.text.text ? l.text.text : "", uses[_i].undone);
	strbuf_done(&l.text);
	end = journal_mark(j);
	add("d", "9");
	expect(end, 0, "d,9;");
	expect(0, 0, uses[_i].left);
	ck_assert_uint_eq(journal_mark(j), 0);
}
END_TEST

START_TEST(marks)
{
	size_t one, two;

	ck_assert_uint_eq(journal_mark(j), 0);
	add("a", "1");
	one = journal_mark(j);
	add("b", "2");
	two = journal_mark(j);
	add("c", "3");
	expect(two, 0, "c,3;");
	expect(two, 0, "");
	add("d", "4");
	expect(one, 0, "d,4;b,2;");
	expect(two, 0, ""); /* a mark behind the end: nothing, and nothing is cut */
	ck_assert_uint_eq(journal_mark(j), one);
	expect(0, 0, "a,1;");
}
END_TEST

/* The process died within the write of "b": at every byte of it. */
START_TEST(cut_anywhere)
{
	struct err e = { 0 };
	size_t one, two, at;

	for (at = 0;; at++) {
		add("a", "1");
		one = journal_mark(j);
		add("b", "2");
		two = journal_mark(j);
		if (one + at == two)
			break;
		ck_assert_int_eq(truncate("j", (off_t)(one + at)), 0);
		expect(one, 0, "");
		add("c", "3"); /* must not run into the rest of the line */
		expect(0, 0, "c,3;a,1;");
	}
	ck_assert_uint_gt(at, 10);
	expect(0, 0, "b,2;a,1;");
	/* Cut, and undone from the beginning with nothing whole before it. */
	kit_put("j", "{\"r\":[\"a\"");
	reopen();
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), 0);
	ck_assert_uint_eq(journal_mark(j), 0);
}
END_TEST

/* A disk that fills up within a record: no half line for the next one to join. */
START_TEST(full_disk)
{
	struct err e = { 0 };
	size_t before;

	add("a", "1");
	before = journal_mark(j);
	kit_fault_arm(KIT_FAULT_FILES, 1, ENOSPC);
	ck_assert_int_eq(journal_add(j, &e, "b", "2", NULL), -ENOSPC);
	ck_assert(kit_fault_fired());
	ck_assert_uint_eq(journal_mark(j), before);
	add("c", "3");
	kit_fault_arm(KIT_FAULT_FILES, 2, EIO); /* the second truncation */
	ck_assert_int_eq(journal_undo(j, undo_silently, NULL, &e), -EIO);
	ck_assert(kit_fault_fired());
	expect(0, 0, "a,1;"); /* undone, but still there: undone again */
}
END_TEST

static const char *const damaged[] = {
	"garbage\n", "\n", "{}\n", "[]\n", "{\"r\":[]}\n", "{\"r\":\"a\"}\n", "{\"r\":[1]}\n",
	"{\"r\":[\"a\",null]}\n", "{\"r\":[\"a\"]}{\"r\":[\"b\"]}\n", "{\"r\":[\"a\\u0000b\"]}\n",
	"{\"r\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}\n",
	"{\"x\":[\"a\"]}\n", "{\"r\":[\"\xff\"]}\n",
};

/* Never taken for nothing: what it named would stay for ever. */
START_TEST(damage)
{
	char text[200];

	snprintf(text, sizeof(text), "{\"r\":[\"first\"]}\n%s{\"r\":[\"last\"]}\n", damaged[_i]);
	kit_put("j", text);
	reopen();
	expect(0, -EINVAL, "last;");
	expect(0, -EINVAL, "");
	ck_assert_uint_eq(journal_mark(j), strlen("{\"r\":[\"first\"]}\n") + strlen(damaged[_i]));
}
END_TEST

START_TEST(refused_records)
{
	struct err e = { 0 };

	ck_assert_int_eq(journal_add(j, &e, "1", "2", "3", "4", "5", "6", "7", "8", "9", NULL),
			 -E2BIG);
	ck_assert_int_eq(journal_add(j, &e, "path", "/latin1/\xe9", NULL), -EINVAL);
	ck_assert_uint_eq(journal_mark(j), 0);
	ck_assert_int_eq(journal_add(j, &e, "1", "2", "3", "4", "5", "6", "7", "8", NULL), 0);
	expect(0, 0, "1,2,3,4,5,6,7,8;");
}
END_TEST

START_TEST(retired)
{
	struct err e = { 0 };
	size_t a, b, c;

	a = journal_mark(j);
	add("a", "1");
	b = journal_mark(j);
	add("b", "2");
	c = journal_mark(j);
	ck_assert_int_eq(journal_retire(j, b, &e), 0);
	ck_assert_int_eq(journal_retire(j, b, &e), 0);
	ck_assert_int_eq(journal_retire(j, c, &e), -EINVAL);
	ck_assert_int_eq(journal_retire(j, b + 1, &e), -EINVAL);
	ck_assert_uint_eq(journal_mark(j), c);
	add("c", "3"); /* still goes to the end */
	reopen();
	expect(b, 0, "c,3;");
	expect(0, 0, "a,1;");
	ck_assert_uint_eq(a, 0);
}
END_TEST

static void expect_span(size_t from, size_t to, int rc, int fail_at, const char *text)
{
	struct log l = { .fail_at = fail_at };
	struct err e = { 0 };

	ck_assert_int_eq(journal_undo_span(j, from, to, undo, &l, &e), rc);
	ck_assert_str_eq(l.text.text ? l.text.text : "", text);
	strbuf_done(&l.text);
}

/* What is undone in the middle stays away; at the end it leaves nothing. */
START_TEST(span)
{
	size_t a, b, c, d;

	a = journal_mark(j);
	add("a", "1");
	b = journal_mark(j);
	add("b", "2");
	add("b", "3");
	c = journal_mark(j);
	add("c", "4");
	d = journal_mark(j);
	expect_span(b, c + 1, -EINVAL, 0, "");
	expect_span(b + 1, c, -EINVAL, 0, "");
	expect_span(c, b, -EINVAL, 0, "");
	expect_span(b, d + 9, -EINVAL, 0, "");
	expect_span(b, b, 0, 0, "");
	/* The first of the two fails: it stays, and comes again. */
	expect_span(b, c, -EBUSY, 2, "b,3;");
	expect_span(b, c, 0, 0, "b,2;");
	expect_span(b, c, 0, 0, "");
	ck_assert_uint_eq(journal_mark(j), d);
	add("d", "5");
	expect_span(d, journal_mark(j), 0, 0, "d,5;");
	ck_assert_uint_eq(journal_mark(j), d);
	/* Now the end: all that is retired before it goes as well. */
	expect_span(c, d, 0, 0, "c,4;");
	ck_assert_uint_eq(journal_mark(j), b);
	reopen();
	expect(a, 0, "a,1;");
}
END_TEST

START_TEST(no_memory)
{
	struct err e = { 0 };
	bool fired = true;
	unsigned int n;

	for (n = 1; fired; n++) {
		struct log l = { .fail_at = 0 };
		int rc, undone;

		add("a", "1");
		kit_fault_arm(KIT_FAULT_MEMORY, n, 0);
		rc = journal_add(j, &e, "b", "2", NULL);
		undone = journal_undo(j, undo, &l, &e);
		fired = kit_fault_fired();
		ck_assert(fired || (!rc && !undone));
		strbuf_done(&l.text);
		if (undone < 0)
			ck_assert_int_eq(journal_undo(j, undo_silently, NULL, &e), 0);
		ck_assert_uint_eq(journal_mark(j), 0);
	}
	ck_assert_uint_gt(n, 4);
}
END_TEST

START_TEST(bad_places)
{
	struct journal *other = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(journal_open(AT_FDCWD, "none/j", &other, &e), -ENOENT);
	ck_assert_int_eq(journal_open(AT_FDCWD, ".", &other, &e), -EISDIR);
	ck_assert_ptr_null(other);
	journal_free(NULL);
	ck_assert_int_eq(truncate("j", (16 << 20) + 1), 0);
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), -EFBIG);
}
END_TEST

Suite *lib_journal_suite(void)
{
	Suite *s = suite_create("lib_journal");
	TCase *t = tcase_create("journal");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, in_reverse);
	tcase_add_loop_test(t, fails_and_goes_on, 1, 4);
	tcase_add_loop_test(t, in_use, 0, (int)(sizeof(uses) / sizeof(*uses)));
	tcase_add_test(t, marks);
	tcase_add_test(t, cut_anywhere);
	tcase_add_test(t, full_disk);
	tcase_add_loop_test(t, damage, 0, (int)(sizeof(damaged) / sizeof(*damaged)));
	tcase_add_test(t, refused_records);
	tcase_add_test(t, retired);
	tcase_add_test(t, span);
	tcase_add_test(t, no_memory);
	tcase_add_test(t, bad_places);
	tcase_set_timeout(t, 20);
	suite_add_tcase(s, t);
	return s;
}
