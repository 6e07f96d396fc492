// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Command lines, one row each: what engines write, and what must be refused.
 * A row's result is the targets as text, and the first argument left.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/opt.h"
#include "lib/str.h"

Suite *lib_opt_suite(void);

#define ARGS_MAX 8

static const struct {
	const char *args[ARGS_MAX];
	const char *result;	/* NULL: refused */
	const char *text;	/* part of the error */
} rows[] = {
	{ { NULL }, "d=0 r=- n=7 e= first=1", NULL },
	{ { "--debug" }, "d=1 r=- n=7 e= first=2", NULL },
	{ { "-debug" }, "d=1 r=- n=7 e= first=2", NULL },
	{ { "-d" }, "d=1 r=- n=7 e= first=2", NULL },
	{ { "--d" }, "d=1 r=- n=7 e= first=2", NULL },
	{ { "--debug=true" }, "d=1 r=- n=7 e= first=2", NULL },
	{ { "--debug", "--debug=false" }, "d=0 r=- n=7 e= first=3", NULL },
	{ { "--debug", "false" }, "d=1 r=- n=7 e= first=2", NULL },
	{ { "--root", "/x" }, "d=0 r=/x n=7 e= first=3", NULL },
	{ { "--root=/x" }, "d=0 r=/x n=7 e= first=2", NULL },
	{ { "-root=/x" }, "d=0 r=/x n=7 e= first=2", NULL },
	{ { "-root", "/x" }, "d=0 r=/x n=7 e= first=3", NULL },
	{ { "--root=" }, "d=0 r= n=7 e= first=2", NULL },
	{ { "--root=a=b" }, "d=0 r=a=b n=7 e= first=2", NULL },
	{ { "--root", "--debug" }, "d=0 r=--debug n=7 e= first=3", NULL },
	{ { "--root", "--" }, "d=0 r=-- n=7 e= first=3", NULL },
	{ { "--root", "" }, "d=0 r= n=7 e= first=3", NULL },
	{ { "--root=a", "--root=b" }, "d=0 r=b n=7 e= first=3", NULL },
	{ { "-n5" }, "d=0 r=- n=5 e= first=2", NULL },
	{ { "-n", "5" }, "d=0 r=- n=5 e= first=3", NULL },
	{ { "-n=5" }, "d=0 r=- n=5 e= first=2", NULL },
	{ { "--number=0x10" }, "d=0 r=- n=16 e= first=2", NULL },
	{ { "-ea=b", "-e", "c", "--env", "d", "--env=e=f" },
	  "d=0 r=- n=7 e=a=b,c,d,e=f, first=7", NULL },
	{ { "-e=x" }, "d=0 r=- n=7 e=x, first=2", NULL },
	{ { "id", "--debug" }, "d=0 r=- n=7 e= first=1", NULL },
	{ { "-d", "id", "-d" }, "d=1 r=- n=7 e= first=2", NULL },
	{ { "--", "--debug" }, "d=0 r=- n=7 e= first=2", NULL },
	{ { "-" }, "d=0 r=- n=7 e= first=1", NULL },
	{ { "" }, "d=0 r=- n=7 e= first=1", NULL },
	{ { "--debug=" }, NULL, "--debug takes no value, or true or false" },
	{ { "--debug=yes" }, NULL, "--debug takes no value" },
	{ { "-d=maybe" }, NULL, "--debug takes no value" },
	{ { "--root" }, NULL, "--root needs a value: DIR" },
	{ { "-e" }, NULL, "--env needs a value: KEY=VALUE" },
	{ { "--watch" }, "d=0 r=- n=1 e= first=2", NULL },
	{ { "--watch", "5" }, "d=0 r=- n=5 e= first=3", NULL },
	{ { "--watch=5", "id" }, "d=0 r=- n=5 e= first=2", NULL },
	{ { "-w", "id" }, "d=0 r=- n=1 e= first=2", NULL },
	{ { "-w5" }, "d=0 r=- n=5 e= first=2", NULL },
	{ { "--watch", "--debug" }, "d=1 r=- n=1 e= first=3", NULL },
	{ { "--watch", "5x" }, NULL, "--watch: \"5x\" is not a number" },
	{ { "--watch=" }, NULL, "is not a number" },
	{ { "--number=" }, NULL, "--number: \"\" is not a number" },
	{ { "--number", "5x" }, NULL, "--number: \"5x\" is not a number" },
	{ { "--number", "-5" }, NULL, "is not a number" },
	{ { "--number=18446744073709551616" }, NULL, "is not a number" },
	{ { "--none" }, NULL, "unknown option \"--none\"; see --help" },
	{ { "--debugg" }, NULL, "unknown option" },
	{ { "--debu" }, NULL, "unknown option" },
	{ { "--Debug" }, NULL, "unknown option" },
	{ { "--no-debug" }, NULL, "unknown option" },
	{ { "--=x" }, NULL, "unknown option" },
	{ { "-=x" }, NULL, "unknown option" },
	{ { "---debug" }, NULL, "unknown option" },
	{ { "-de" }, NULL, "unknown option" },
	{ { "-de=x" }, NULL, "unknown option" },
	{ { "-dn5" }, NULL, "unknown option" },
	{ { "-dfoo=bar" }, NULL, "unknown option" },
	{ { "-x" }, NULL, "unknown option" },
	{ { "--\x1b[2J" }, NULL, "unknown option \"--\\x1b[2J\"" },
	{ { "--rootless=auto" }, NULL, "unknown option" },
};

START_TEST(line)
{
	bool debug = false;
	const char *root = "-";
	uint64_t number = 7;
	struct opt_strs env = { .n = 0 };
	const struct opt table[] = {
		OPT_FLAG('d', "debug", &debug, "say more"),
		OPT_STR(0, "root", &root, "DIR", "state"),
		OPT_U64('n', "number", &number, "N", "how many"),
		OPT_MAYBE_U64('w', "watch", &number, "[N]", "how often"),
		OPT_STRS('e', "env", &env, "KEY=VALUE", "environment"),
		OPT_END
	};
	char *argv[ARGS_MAX + 2] = { strdup("podvm") };
	struct strbuf b = { 0 };
	struct err e = { 0 };
	int argc = 1, first = -77, i, rc;
	size_t k;

	for (i = 0; i < ARGS_MAX && rows[_i].args[i]; i++)
		argv[argc++] = strdup(rows[_i].args[i]);
	rc = opt_parse(table, argc, argv, &first, &e);
	strbuf_add(&b, "d=%d r=%s n=%llu e=", debug, root, (unsigned long long)number);
	for (k = 0; k < env.n; k++)
		strbuf_add(&b, "%s,", env.v[k]);
	strbuf_add(&b, " first=%d", first);
	if (rows[_i].result) {
		ck_assert_msg(!rc, "row %d: %s", _i, e.text);
		ck_assert_str_eq(b.text, rows[_i].result);
	} else {
		ck_assert_msg(rc == -EINVAL, "row %d accepted: %s", _i, b.text);
		ck_assert_msg(strstr(e.text, rows[_i].text), "%s", e.text);
		ck_assert_int_eq(first, -77);
	}
	strbuf_done(&b);
	while (argc)
		free(argv[--argc]);
}
END_TEST

START_TEST(too_many)
{
	struct opt_strs env = { .n = 0 };
	const struct opt table[] = { OPT_STRS('e', "env", &env, "X", "x"), OPT_END };
	char *argv[OPT_STRS_MAX + 2] = { strdupa("podvm") };
	struct err e = { 0 };
	int i, first;

	for (i = 1; i <= OPT_STRS_MAX + 1; i++)
		argv[i] = strdupa("-ex");
	ck_assert_int_eq(opt_parse(table, OPT_STRS_MAX + 1, argv, &first, &e), 0);
	ck_assert_uint_eq(env.n, OPT_STRS_MAX);
	env.n = 0;
	ck_assert_int_eq(opt_parse(table, OPT_STRS_MAX + 2, argv, &first, &e), -E2BIG);
}
END_TEST

START_TEST(help)
{
	bool flag;
	const char *str;
	const struct opt table[] = {
		OPT_FLAG('d', "debug", &flag, "say more"),
		OPT_STR(0, "a-name-that-is-longer-than-all-of-the-column-for-names-has-room",
			&str, "SOMETHING", "long"),
		OPT_END
	};
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	opt_help(f, table);
	fclose(f);
	ck_assert(str_starts(text, "  -d, --debug "));
	ck_assert_ptr_nonnull(strstr(text, "say more\n"));
	free(text);
}
END_TEST

Suite *lib_opt_suite(void)
{
	Suite *s = suite_create("lib_opt");
	TCase *t = tcase_create("opt");

	tcase_add_loop_test(t, line, 0, ARRAY_LEN(rows));
	tcase_add_test(t, too_many);
	tcase_add_test(t, help);
	suite_add_tcase(s, t);
	return s;
}
