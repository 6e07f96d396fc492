// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * struct err, text helpers and the log: texts that are too long, control
 * characters from outside, numbers at the edge of 64 bits.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cpus.h"
#include "lib/err.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "tests/kit/dir.h"
#include "tests/kit/fault.h"

Suite *lib_err_str_suite(void);

START_TEST(err_is_one_line)
{
	struct err e = { 0 };

	ck_assert_int_eq(err_set(&e, EPROTO, "a\nb\tc\x1b[31m\x7f%s", "\r"), -EPROTO);
	ck_assert_int_eq(e.code, EPROTO);
	ck_assert_str_eq(e.text, "a?b?c?[31m??");
	ck_assert_int_eq(err_wrap(&e, "x\ny"), -EPROTO);
	ck_assert_str_eq(e.text, "x?y: a?b?c?[31m??");
}
END_TEST

START_TEST(err_is_cut)
{
	char big[2 * ERR_TEXT_BYTES];
	struct err e = { 0 };

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	ck_assert_int_eq(err_set(&e, EIO, "%s", big), -EIO);
	ck_assert_uint_eq(strlen(e.text), ERR_TEXT_BYTES - 1);
	ck_assert_int_eq(err_wrap(&e, "%s", big), -EIO);
	ck_assert_uint_eq(strlen(e.text), ERR_TEXT_BYTES - 1);
	errno = ENOENT;
	ck_assert_int_eq(err_sys(&e, "%s", big), -ENOENT);
	ck_assert_uint_eq(strlen(e.text), ERR_TEXT_BYTES - 1);
}
END_TEST

START_TEST(err_never_looks_like_success)
{
	struct err e = { 0 };

	errno = 0;
	ck_assert_int_eq(err_sys(&e, "x"), -EIO);
	ck_assert_int_eq(e.code, EIO);
	e.code = 0;
	ck_assert_int_eq(err_wrap(&e, "x"), -EIO);
	ck_assert_int_eq(err_wrap(NULL, "x"), -EIO);
	ck_assert_int_eq(err_set(NULL, EBUSY, "x"), -EBUSY);
	errno = EPERM;
	ck_assert_int_eq(err_sys(NULL, "x"), -EPERM);
}
END_TEST

static const struct {
	const char *text;
	int rc;
	uint64_t value;
} numbers[] = {
	{ "0", 0, 0 },
	{ "00", 0, 0 },
	{ "010", 0, 10 },
	{ "0x1f", 0, 31 },
	{ "0XFF", 0, 255 },
	{ "18446744073709551615", 0, UINT64_MAX },
	{ "0xffffffffffffffff", 0, UINT64_MAX },
	{ "18446744073709551616", -ERANGE, 0 },
	{ "0x10000000000000000", -ERANGE, 0 },
	{ "99999999999999999999999999", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ " 1", -EINVAL, 0 },
	{ "1 ", -EINVAL, 0 },
	{ "1\n", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
	{ "+1", -EINVAL, 0 },
	{ "0x", -EINVAL, 0 },
	{ "0x-1", -EINVAL, 0 },
	{ "0xg", -EINVAL, 0 },
	{ "x1", -EINVAL, 0 },
	{ "ff", -EINVAL, 0 },
	{ "1e3", -EINVAL, 0 },
	{ "1.0", -EINVAL, 0 },
	{ "1K", -EINVAL, 0 },
};

START_TEST(number)
{
	uint64_t v = 77;

	ck_assert_msg(parse_u64(numbers[_i].text, &v) == numbers[_i].rc, "%s",
		      numbers[_i].text);
	ck_assert_uint_eq(v, numbers[_i].rc ? 77 : numbers[_i].value);
}
END_TEST

static const struct {
	const char *text;
	int rc;
	uint64_t value;
} sizes[] = {
	{ "0", 0, 0 },
	{ "4096", 0, 4096 },
	{ "64K", 0, 65536 },
	{ "64k", 0, 65536 },
	{ "128M", 0, 128 << 20 },
	{ "2g", 0, 2ull << 30 },
	{ "1T", 0, 1ull << 40 },
	{ "0x10K", 0, 16384 },
	{ "16777215T", 0, 16777215ull << 40 },
	{ "16777216T", -ERANGE, 0 },
	{ "18014398509481983K", 0, UINT64_MAX - 1023 },
	{ "18014398509481984K", -ERANGE, 0 },
	{ "18446744073709551615", 0, UINT64_MAX },
	{ "18446744073709551616", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "K", -EINVAL, 0 },
	{ "0xK", -EINVAL, 0 },
	{ "1KK", -EINVAL, 0 },
	{ "1KB", -EINVAL, 0 },
	{ "1Ki", -EINVAL, 0 },
	{ "1P", -EINVAL, 0 },
	{ "1 K", -EINVAL, 0 },
	{ "-1K", -EINVAL, 0 },
	{ "1.5G", -EINVAL, 0 },
	{ "00000000000000000000000000000001", -EINVAL, 0 },
};

START_TEST(size)
{
	uint64_t v = 77;

	ck_assert_msg(parse_size(sizes[_i].text, &v) == sizes[_i].rc, "%s", sizes[_i].text);
	ck_assert_uint_eq(v, sizes[_i].rc ? 77 : sizes[_i].value);
}
END_TEST

static const struct {
	const char *text;
	int rc;
	uint64_t ns;
} durations[] = {
	{ "5s", 0, 5000000000 },
	{ "500ms", 0, 500000000 },
	{ "1m30s", 0, 90000000000 },
	{ "1.5h", 0, 5400000000000 },
	{ ".25s", 0, 250000000 },
	{ "0.0000019s", 0, 1000 },
	{ "1h1m1s1ms1us1ns", 0, 3661001001001 },
	{ "0s", 0, 0 },
	{ "1844674407370955160ns", 0, 1844674407370955160 },
	{ "5", -EINVAL, 0 },
	{ "", -EINVAL, 0 },
	{ "s", -EINVAL, 0 },
	{ ".s", -EINVAL, 0 },
	{ "-5s", -EINVAL, 0 },
	{ "5 s", -EINVAL, 0 },
	{ "5sec", -EINVAL, 0 },
	{ "5s ", -EINVAL, 0 },
	{ "5mss", -EINVAL, 0 },
	{ "1d", -EINVAL, 0 },
	{ "1.5.5s", -EINVAL, 0 },
	{ "5124096h", -ERANGE, 0 },
	{ "99999999999999999999ns", -ERANGE, 0 },
	{ "18446744073709551614ns9s", -ERANGE, 0 },
};

START_TEST(duration)
{
	uint64_t v = 77;

	ck_assert_msg(parse_duration(durations[_i].text, &v) == durations[_i].rc, "%s: %llu",
		      durations[_i].text, (unsigned long long)v);
	ck_assert_uint_eq(v, durations[_i].rc ? 77 : durations[_i].ns);
}
END_TEST

START_TEST(mac)
{
	static const char *const bad[] = {
		"", "0", "02:00:00:00:00", "02:00:00:00:00:", "02:00:00:00:00:0",
		"02:00:00:00:00:0g", "02:00:00:00:00:001", "02:00:00:00:00:00:",
		"02-00-00-00-00-00", " 02:00:00:00:00:00", "0x:00:00:00:00:00",
		"02:00:00:00:00:00 ", "2:0:0:0:0:0:", "-2:00:00:00:00:00",
	};
	uint8_t m[6] = { 9, 9, 9, 9, 9, 9 };
	size_t i;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		char *exact = strdup(bad[i]); /* so that a look behind the end shows */

		ck_assert_msg(parse_mac(exact, m) == -EINVAL, "%s", bad[i]);
		free(exact);
	}
	ck_assert_uint_eq(m[0], 9);
	ck_assert_int_eq(parse_mac("02:fF:00:a0:0b:ff", m), 0);
	ck_assert(!memcmp(m, "\x02\xff\x00\xa0\x0b\xff", 6));
}
END_TEST

START_TEST(quote)
{
	char room[64];
	size_t n;

	str_quote(room, sizeof(room), "a\"b\\c\n\x7f\x1b");
	ck_assert_str_eq(room, "\"a\\\"b\\\\c\\x0a\\x7f\\x1b\"");
	for (n = 3; n < 40; n++) { /* never behind the room, always closed */
		char *exact = malloc(n);

		str_quote(exact, n, "\n\n\n\n\n\n\n\n\n\n");
		ck_assert_uint_lt(strlen(exact), n);
		ck_assert_int_eq(exact[strlen(exact) - 1], '"');
		free(exact);
	}
}
END_TEST

/* What is left of outside strings on a terminal and in a log. */
static const struct {
	const char *from, *to;
} masks[] = {
	{ "", "" },
	{ "plain", "plain" },
	{ "a\nb\r\t\x1b[2J\x7f", "a?b???[2J?" },
	{ "gr\xc3\xb6\xc3\x9f" "e \xe2\x86\x92 \xf0\x9f\x90\xa7", "gr\xc3\xb6\xc3\x9f" "e \xe2\x86\x92 \xf0\x9f\x90\xa7" },
	{ "\xc2\x9b" "2J", "??2J" },			/* CSI in UTF-8 */
	{ "\x9b" "2J", "?2J" },				/* and in 8 bits */
	{ "\xc2\xa0", "\xc2\xa0" },			/* the first above the controls */
	{ "a\xe2\x80\xae" "b", "a???b" },		/* right to left */
	{ "a\xe2\x81\xa6" "b\xe2\x80\xa8", "a???b???" },
	{ "\xc0\xaf\xc1\x8a", "????" },			/* longer than need be */
	{ "\xe0\x82\x9b\xf0\x80\x82\x9b", "???????" },
	{ "\xed\xa0\x80", "???" },			/* half of a pair of UTF-16 */
	{ "\xf4\x90\x80\x80\xf8\x88\x80\x80\x80", "?????????" }, /* no Unicode */
	{ "cut\xe2\x86", "cut??" },
	{ "\xe2(\xa1", "?(?" },
	{ "\xff\xfe", "??" },
};

START_TEST(mask)
{
	char text[64];

	ck_assert_int_eq(str_copy(text, sizeof(text), masks[_i].from), 0);
	str_mask(text);
	ck_assert_str_eq(text, masks[_i].to);
	str_mask(text);
	ck_assert_str_eq(text, masks[_i].to);
}
END_TEST

START_TEST(copy)
{
	char room[4] = "old";

	ck_assert_int_eq(str_copy(room, sizeof(room), "four"), -ENAMETOOLONG);
	ck_assert_str_eq(room, "old");
	ck_assert_int_eq(str_copy(room, sizeof(room), "new"), 0);
	ck_assert_str_eq(room, "new");
	ck_assert(str_starts("abc", "ab"));
	ck_assert(str_starts("abc", ""));
	ck_assert(!str_starts("a", "ab"));
}
END_TEST

START_TEST(listed)
{
	static const char *const in[] = { "cpu", "cpu,cpuacct", "cpuacct,cpu", "a,cpu,b", "cpux,cpu" };
	static const char *const out[] = { "", "cpuacct", "xcpu", "a,cpux,xcpu", "cp,u", "cpu=1" };
	size_t i;

	for (i = 0; i < ARRAY_LEN(in); i++)
		ck_assert_msg(str_listed(in[i], "cpu"), "%s", in[i]);
	for (i = 0; i < ARRAY_LEN(out); i++)
		ck_assert_msg(!str_listed(out[i], "cpu"), "%s", out[i]);
}
END_TEST

START_TEST(buffer)
{
	struct strbuf b = { 0 };
	size_t i;

	strbuf_add_bytes(&b, "a\0b", 3);
	ck_assert_uint_eq(b.len, 3);
	strbuf_add(&b, "%s", "");
	for (i = 0; i < 10000; i++)
		strbuf_add(&b, "%zu,", i % 10);
	ck_assert(!b.failed);
	ck_assert_uint_eq(b.len, 20003);
	ck_assert(!memcmp(b.text, "a\0b0,1,", 7));
	ck_assert_int_eq(b.text[b.len], 0);
	strbuf_done(&b);
	ck_assert_ptr_null(b.text);

	/* A failure is remembered, whatever succeeds behind it. */
	strbuf_add(&b, "x");
	kit_fault_arm(KIT_FAULT_MEMORY, 1, 0);
	strbuf_add(&b, "%0500d", 1);
	ck_assert(kit_fault_fired());
	strbuf_add(&b, "y");
	ck_assert(b.failed);
	ck_assert_str_eq(b.text, "x");
	strbuf_done(&b);
}
END_TEST

START_TEST(log_is_one_line)
{
	int fd = open("log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	char big[4000];
	char *text, *line, *save = NULL;
	int n = 0;

	memset(big, '\n', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	log_open(fd, LOG_LEVEL_WARN, false);
	errno = EXDEV;
	log_warn("a\nforged %s", "\x1b[2J");
	log_warn("%s", big);
	log_info("not written");
	ck_assert_int_eq(errno, EXDEV);
	log_open(-1, LOG_LEVEL_DEBUG, false);
	log_error("nowhere");
	text = kit_get("log");
	ck_assert_ptr_nonnull(strstr(text, "warning a?forged ?[2J\n"));
	ck_assert_ptr_null(strstr(text, "not written"));
	for (line = text; (line = strchr(line, '\n')); line++)
		n++;
	ck_assert_int_eq(n, 2);
	free(text);

	ck_assert_int_eq(ftruncate(fd, 0), 0);
	log_open(fd, LOG_LEVEL_DEBUG, true);
	log_debug("a\n\"\\\x01%s", big);
	log_error("plain");
	text = kit_get("log");
	n = 0;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct err e = { 0 };
		struct json_doc *doc;

		ck_assert_msg(!json_parse(line, strlen(line), &doc, &e), "%s", e.text);
		json_free(doc);
		n++;
	}
	ck_assert_int_eq(n, 2);
	free(text);
	close(fd);
}
END_TEST

START_TEST(log_on_a_full_disk)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	log_open(fd, LOG_LEVEL_WARN, false);
	errno = EXDEV;
	log_error("x");
	ck_assert_int_eq(errno, EXDEV);
	close(fd);
	log_error("a closed descriptor");
	ck_assert_int_eq(errno, EXDEV);
}
END_TEST

static const struct {
	const char *list, *text;	/* NULL: none */
} cpu_lists[] = {
	{ "0", "0" },
	{ "1023", "1023" },
	{ "0-3,8", "0-3,8" },
	{ "8,3,1-2,0,2", "0-3,8" },
	{ "4-5", "4-5" },
	{ "0-1023", "0-1023" },
	{ "00-01", "0-1" },
	{ "", NULL },
	{ ",", NULL },
	{ "0,", NULL },
	{ ",0", NULL },
	{ "-", NULL },
	{ "1-", NULL },
	{ "-1", NULL },
	{ "2-1", NULL },
	{ "1-2-3", NULL },
	{ "1024", NULL },
	{ "0-1024", NULL },
	{ "18446744073709551616", NULL },
	{ "0-18446744073709551615", NULL },
	{ "0 1", NULL },
	{ "all", NULL },
	{ "0x1", NULL },
	{ "1\n", NULL },
};

START_TEST(lists_of_processors)
{
	const cpu_set_t before = { { 5 } };
	char text[CPUS_TEXT_BYTES];
	cpu_set_t set = before;
	int rc = cpus_parse(cpu_lists[_i].list, &set);

	if (!cpu_lists[_i].text) {
		ck_assert_int_eq(rc, -EINVAL);
		ck_assert(CPU_EQUAL(&set, &before));
		return;
	}
	ck_assert_int_eq(rc, 0);
	cpus_text(&set, text);
	ck_assert_str_eq(text, cpu_lists[_i].text);
}
END_TEST

/* The longest text of all sets has its room. */
START_TEST(lists_have_room)
{
	char text[CPUS_TEXT_BYTES];
	cpu_set_t set, again;
	int i;

	CPU_ZERO(&set);
	cpus_text(&set, text);
	ck_assert_str_eq(text, "");
	for (i = 0; i < CPU_SETSIZE; i++)
		if (i % 3)
			CPU_SET(i, &set);
		else
			CPU_CLR(i, &set);
	cpus_text(&set, text);
	ck_assert_int_eq(cpus_parse(text, &again), 0);
	ck_assert(CPU_EQUAL(&set, &again));
}
END_TEST

Suite *lib_err_str_suite(void)
{
	Suite *s = suite_create("lib_err_str");
	TCase *t = tcase_create("err_str");
	TCase *l = tcase_create("log");

	tcase_add_test(t, err_is_one_line);
	tcase_add_test(t, err_is_cut);
	tcase_add_test(t, err_never_looks_like_success);
	tcase_add_loop_test(t, number, 0, ARRAY_LEN(numbers));
	tcase_add_loop_test(t, size, 0, ARRAY_LEN(sizes));
	tcase_add_loop_test(t, duration, 0, ARRAY_LEN(durations));
	tcase_add_test(t, mac);
	tcase_add_test(t, quote);
	tcase_add_loop_test(t, mask, 0, ARRAY_LEN(masks));
	tcase_add_test(t, copy);
	tcase_add_test(t, listed);
	tcase_add_loop_test(t, lists_of_processors, 0, ARRAY_LEN(cpu_lists));
	tcase_add_test(t, lists_have_room);
	tcase_add_test(t, buffer);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(l, kit_dir_enter, kit_dir_leave);
	tcase_add_test(l, log_is_one_line);
	tcase_add_test(l, log_on_a_full_disk);
	suite_add_tcase(s, l);
	return s;
}
