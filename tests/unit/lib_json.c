// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The JSON reader against text that is cut, too long, too deep, not UTF-8, of
 * the wrong type or out of range, and the writer against lack of memory.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "tests/kit/fault.h"
#include "tests/kit/kit.h"

Suite *lib_json_suite(void);

/* A copy without a NUL behind it, so that ASan sees a read too far. */
static int parse_bytes(const char *text, size_t len, struct json_doc **ret,
		       struct err *e)
{
	char *exact = malloc(len ? len : 1);
	int rc;

	memcpy(exact, text, len);
	rc = json_parse(exact, len, ret, e);
	free(exact);
	return rc;
}

static struct json_doc *parse(const char *text)
{
	struct json_doc *doc = NULL;
	struct err e = { 0 };

	ck_assert_msg(!parse_bytes(text, strlen(text), &doc, &e), "%s: %s", text, e.text);
	return doc;
}

#define BYTES(s) { s, sizeof(s) - 1 }

static const struct {
	const char *text;
	size_t len;
} bad_texts[] = {
	BYTES(""), BYTES(" "), BYTES("{"), BYTES("}"), BYTES("["), BYTES("]"),
	BYTES("{\"a\""), BYTES("{\"a\":"), BYTES("{\"a\":1"), BYTES("{\"a\":1,"),
	BYTES("{\"a\":1,}"), BYTES("[1,]"), BYTES("[,1]"), BYTES("{a:1}"),
	BYTES("{'a':1}"), BYTES("['a']"), BYTES("\"a"), BYTES("\"a\\"),
	BYTES("\"\\u12"), BYTES("\"\\x\""), BYTES("tru"), BYTES("nul"), BYTES("TRUE"),
	BYTES("-"), BYTES("1e"), BYTES("01"), BYTES("0x1"), BYTES("1 2"), BYTES("{}{}"),
	BYTES("{} x"), BYTES("{}\0"), BYTES("{}\0\0"), BYTES("{}\0{}"), BYTES("1\0"),
	BYTES("\0"), BYTES("{\"a\"\0:1}"), BYTES("{\"a\":1\0}"), BYTES("[1\0,2]"),
	BYTES("\"a\0b\""), BYTES("{} // c"), BYTES("/* c */ {}"), BYTES("{/**/}"),
	BYTES("NaN"), BYTES("Infinity"), BYTES("[NaN]"), BYTES("[1]]"), BYTES("{}]"),
	BYTES("\"\xff\""), BYTES("\"\xc3\""), BYTES("{\"\xff\":1}"),
	BYTES("\xef\xbb\xbf{}"), BYTES("[18446744073709551616]"),
	BYTES("[-9223372036854775809]"), BYTES("\"a\nb\""),
};

START_TEST(bad_text)
{
	struct json_doc *doc = NULL;
	struct err e = { 0 };
	char shown[80];

	str_quote(shown, sizeof(shown), bad_texts[_i].text);
	ck_assert_msg(parse_bytes(bad_texts[_i].text, bad_texts[_i].len, &doc, &e) == -EINVAL,
		      "row %d: %s", _i, shown);
	ck_assert_ptr_nonnull(strstr(e.text, "not valid JSON at line"));
	ck_assert_ptr_null(doc);
}
END_TEST

static const char *const good_texts[] = {
	"{}", "[]", "0", "-0", "123", "-5", "1.5", "1e3", "true", "false", "null",
	"\"\"", " {} ", "\t\r\n[ ]\n\n", "12 ", "\"a\" ", "18446744073709551615",
	"-9223372036854775808", "\"\\u0000\"", "\"\\ud83d\\ude00\"", "{\"\":1}",
};

START_TEST(good_text)
{
	json_free(parse(good_texts[_i]));
}
END_TEST

START_TEST(line_of_the_mistake)
{
	struct json_doc *doc;
	struct err e = { 0 };
	const char *cut = "{\n\n\"a\": [1,\n2", *bad = "{\n\"a\": x\n}\n\n";

	ck_assert_int_eq(parse_bytes(cut, strlen(cut), &doc, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "line 4:"), "%s", e.text);
	ck_assert_int_eq(parse_bytes(bad, strlen(bad), &doc, &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "line 2:"), "%s", e.text);
}
END_TEST

/* Every prefix of a document is refused, whatever it was cut in. */
START_TEST(every_prefix)
{
	const char *text = "{\"a\":[1,-2.5e3,true,null,\"x\\u00e9\\n\"],\"b\":{\"c\":false}}";
	struct json_doc *doc;
	size_t i;

	for (i = 0; i < strlen(text); i++)
		ck_assert_msg(parse_bytes(text, i, &doc, NULL) == -EINVAL, "%zu bytes", i);
	json_free(parse(text));
}
END_TEST

START_TEST(depth_cap)
{
	char text[200];
	struct json_doc *doc;
	size_t n;
	bool refused = false;

	for (n = 1; n < 100; n++) {
		int rc;

		memset(text, '[', n);
		memset(text + n, ']', n);
		rc = parse_bytes(text, 2 * n, &doc, NULL);
		ck_assert_int_eq(rc, refused || rc ? -EINVAL : 0);
		refused = rc;
		if (rc)
			ck_assert_uint_ge(n, 30);
		else
			json_free(doc);
	}
	ck_assert(refused);
}
END_TEST

START_TEST(size_cap)
{
	size_t max = 4u << 20;
	char *text = malloc(max + 1);
	struct json_doc *doc;
	struct err e = { 0 };

	memset(text, ' ', max + 1);
	memcpy(text, "{}", 2);
	ck_assert_int_eq(json_parse(text, max + 1, &doc, &e), -EFBIG);
	ck_assert_int_eq(json_parse(text, SIZE_MAX, &doc, &e), -EFBIG);
	ck_assert_int_eq(json_parse(text, max, &doc, &e), 0);
	json_free(doc);
	free(text);
}
END_TEST

static const char types[] =
	"{\"s\":\"x\",\"n\":-1,\"u\":18446744073709551615,\"d\":1.0,\"t\":true,"
	"\"o\":{\"in\":[{\"deep\":5}]},\"a\":[\"x\",1],\"z\":null,\"nul\":\"a\\u0000b\","
	"\"big\":9223372036854775808,\"max\":9223372036854775807,\"big2\":1e3}";

enum getter { OBJ, ARR, STR, FLAG, I64, U64, STRV };

static int get(enum getter g, const struct jnode *n, const char *key, struct err *e)
{
	struct jnode sub;
	const char *s;
	char **v = NULL;
	bool b;
	int64_t i;
	uint64_t u;
	size_t len, k;
	int rc;

	switch (g) {
	case OBJ:
		return json_obj(n, key, &sub, e);
	case ARR:
		return json_arr(n, key, &sub, e);
	case STR:
		return json_str(n, key, &s, e);
	case FLAG:
		return json_flag(n, key, &b, e);
	case I64:
		return json_i64(n, key, &i, e);
	case U64:
		return json_u64(n, key, &u, e);
	default:
		rc = json_strv(n, key, &v, &len, e);
		for (k = 0; rc >= 0 && k < len; k++)
			free(v[k]);
		free(v);
		return rc;
	}
}

static const struct {
	enum getter g;
	const char *key;
	int rc;
	const char *text;
} typed[] = {
	{ OBJ, "o", 1, NULL }, { OBJ, "a", -EINVAL, "/a: must be object, not array" },
	{ OBJ, "z", 0, NULL }, { OBJ, "none", 0, NULL }, { OBJ, "s", -EINVAL, "/s: " },
	{ ARR, "a", 1, NULL }, { ARR, "o", -EINVAL, "/o: must be array, not object" },
	{ STR, "s", 1, NULL }, { STR, "n", -EINVAL, "/n: must be string, not int" },
	{ STR, "t", -EINVAL, "/t: must be string, not boolean" },
	{ STR, "nul", -EINVAL, "/nul: holds a NUL character" },
	{ FLAG, "t", 1, NULL }, { FLAG, "n", -EINVAL, "/n: must be boolean, not int" },
	{ FLAG, "s", -EINVAL, "/s: must be boolean, not string" },
	{ I64, "n", 1, NULL }, { I64, "d", -EINVAL, "/d: must be int, not double" },
	{ I64, "big2", -EINVAL, "/big2: must be int, not double" },
	{ I64, "s", -EINVAL, "/s: must be int, not string" },
	{ I64, "max", 1, NULL }, { I64, "big", -EINVAL, "/big: number out of range" },
	{ I64, "u", -EINVAL, "/u: number out of range" },
	{ U64, "u", 1, NULL }, { U64, "big", 1, NULL },
	{ U64, "n", -EINVAL, "/n: must not be negative" },
	{ STRV, "a", -EINVAL, "/a/1: must be string, not int" },
	{ STRV, "none", 0, NULL }, { STRV, "s", -EINVAL, "/s: must be array, not string" },
};

START_TEST(wrong_type)
{
	struct json_doc *doc = parse(types);
	struct jnode root = json_root(doc);
	struct err e = { 0 };

	ck_assert_msg(get(typed[_i].g, &root, typed[_i].key, &e) == typed[_i].rc,
		      "row %d: %s", _i, e.text);
	if (typed[_i].text)
		ck_assert_msg(str_starts(e.text, typed[_i].text), "%s", e.text);
	json_free(doc);
}
END_TEST

START_TEST(numbers_are_exact)
{
	struct json_doc *doc = parse(types);
	struct jnode root = json_root(doc), el;
	uint64_t u = 0;
	int64_t i = 0;

	ck_assert_int_eq(json_u64(&root, "u", &u, NULL), 1);
	ck_assert_uint_eq(u, UINT64_MAX);
	ck_assert_int_eq(json_i64(&root, "max", &i, NULL), 1);
	ck_assert_int_eq(i, INT64_MAX);
	ck_assert_int_eq(json_i64(&root, "n", &i, NULL), 1);
	ck_assert_int_eq(i, -1);
	ck_assert_int_eq(json_arr(&root, "a", &el, NULL), 1);
	el = json_at(&el, 5); /* behind the end: a null, not a crash */
	ck_assert_int_eq(json_as_u64(&el, &u, NULL), -EINVAL);
	ck_assert_int_eq(json_as_obj(&el, NULL), -EINVAL);
	json_free(doc);
}
END_TEST

START_TEST(path_of_an_error)
{
	struct json_doc *doc = parse(types);
	struct jnode root = json_root(doc), o, in, el;
	struct err e = { 0 };
	const char *s;

	ck_assert_int_eq(json_obj(&root, "o", &o, &e), 1);
	ck_assert_int_eq(json_arr(&o, "in", &in, &e), 1);
	el = json_at(&in, 0);
	ck_assert_int_eq(json_str(&el, "deep", &s, &e), -EINVAL);
	ck_assert_str_eq(e.text, "/o/in/0/deep: must be string, not int");
	ck_assert_int_eq(json_as_str(&el, &s, &e), -EINVAL);
	ck_assert_str_eq(e.text, "/o/in/0: must be string, not object");
	/* The path of a getter on something that is no object is its own. */
	ck_assert_int_eq(json_str(&in, "x", &s, &e), -EINVAL);
	ck_assert_str_eq(e.text, "/o/in: must be an object, not array");
	json_free(doc);
	doc = parse("[]");
	root = json_root(doc);
	ck_assert_int_eq(json_str(&root, "x", &s, &e), -EINVAL);
	ck_assert_str_eq(e.text, "/: must be an object, not array");
	json_free(doc);
	doc = parse("null");
	root = json_root(doc);
	ck_assert_int_eq(json_as_obj(&root, &e), -EINVAL);
	ck_assert_int_eq(json_member(&root, 0, &el), -ENOENT);
	ck_assert_uint_eq(json_len(&root), 0);
	ck_assert(!json_has(&root, "x"));
	json_free(doc);
}
END_TEST

START_TEST(hostile_keys)
{
	char text[5000];
	struct json_doc *doc;
	struct jnode root, m;
	struct err e = { 0 };
	const char *s;

	/* A long key, and one with control characters, in an error's path. */
	memset(text, 'k', sizeof(text));
	memcpy(text, "{\"\\n\\u001b[2J", 13);
	memcpy(text + sizeof(text) - 5, "\":1}", 5);
	doc = parse(text);
	root = json_root(doc);
	ck_assert_int_eq(json_member(&root, 0, &m), 0);
	ck_assert_int_eq(json_as_str(&m, &s, &e), -EINVAL);
	ck_assert(str_starts(e.text, "/??[2Jkkk"));
	ck_assert_int_eq(json_fail(&m, m.key, &e, "%s", m.key), -EINVAL);
	ck_assert_uint_lt(strlen(e.text), ERR_TEXT_BYTES);
	ck_assert_int_eq(json_member(&root, 1, &m), -ENOENT);
	json_free(doc);
}
END_TEST

static char *build(struct err *e)
{
	struct json_out *o = json_out_new();
	char *text = NULL;

	if (!o)
		return NULL;
	json_out_str(o, "s", "a/\"\n\x01");
	json_out_str(o, "none", NULL);
	json_out_arr(o, "a");
	json_out_obj(o, NULL);
	json_out_u64(o, "u", UINT64_MAX);
	json_out_i64(o, "i", INT64_MIN);
	json_out_end(o);
	json_out_bool(o, NULL, true);
	json_out_end(o);
	json_out_end(o); /* one too many: the root stays open */
	json_out_bool(o, "f", false);
	json_out_text(o, false, &text, e);
	json_out_free(o);
	return text;
}

START_TEST(writer)
{
	struct err e = { 0 };
	char *text = build(&e);

	ck_assert_str_eq(text, "{\"s\":\"a/\\\"\\n\\u0001\",\"a\":[{\"u\":18446744073709551615,"
			       "\"i\":-9223372036854775808},true],\"f\":false}");
	free(text);
}
END_TEST

START_TEST(writer_of_text)
{
	struct json_out *o = json_out_new();
	char *text = NULL;

	json_out_parsed(o, "a", "{\"b\":[1,\"x\"]}");
	json_out_parsed(o, "none", NULL);
	json_out_parsed(o, "bad", "{\"b\":");
	ck_assert_int_eq(json_out_text(o, false, &text, NULL), 0);
	ck_assert_str_eq(text, "{\"a\":{\"b\":[1,\"x\"]}}");
	free(text);
	json_out_free(o);
}
END_TEST

START_TEST(writer_misuse)
{
	struct json_out *o = json_out_new();
	char *text = NULL;
	int i;

	json_out_u64(o, NULL, 1); /* a member without a key */
	ck_assert_int_lt(json_out_text(o, false, &text, NULL), 0);
	json_out_free(o);
	o = json_out_new();
	for (i = 0; i < 40; i++)
		json_out_obj(o, "deeper");
	for (i = 0; i < 40; i++)
		json_out_end(o);
	json_out_str(o, "x", "y");
	ck_assert_int_lt(json_out_text(o, false, &text, NULL), 0);
	ck_assert_ptr_null(text);
	json_out_free(o);
	json_out_free(NULL);
	json_free(NULL);
}
END_TEST

START_TEST(no_memory)
{
	unsigned int n;
	bool fired = true;

	for (n = 1; fired; n++) {
		struct json_doc *doc = NULL;
		struct err e = { 0 };
		struct jnode root;
		char **v = NULL, *text;
		size_t len = 0;

		kit_fault_arm(KIT_FAULT_MEMORY, n, 0);
		if (!json_parse("{\"v\":[\"a\",\"b\"]}", 15, &doc, &e)) {
			root = json_root(doc);
			if (json_strv(&root, "v", &v, &len, &e) < 0)
				ck_assert_int_eq(e.code, ENOMEM);
			while (len)
				free(v[--len]);
			free(v);
			json_free(doc);
		} else {
			ck_assert_int_eq(e.code, ENOMEM);
		}
		text = build(&e);
		fired = kit_fault_fired();
		ck_assert(text || fired);
		free(text);
	}
	ck_assert_uint_gt(n, 5);
}
END_TEST

/* Damaged anywhere, a document may fail, no more. */
START_TEST(random_damage)
{
	uint64_t seed = kit_seed("lib_json");
	size_t i, k, len = sizeof(types) - 1;
	char text[sizeof(types)];
	struct json_doc *doc;
	struct jnode root;

	srandom((unsigned int)seed);
	for (i = 0; i < 3000; i++) {
		memcpy(text, types, sizeof(types));
		for (k = (size_t)random() % 4; k < 5; k++)
			text[(size_t)random() % len] = (char)random();
		if (parse_bytes(text, len, &doc, NULL) < 0)
			continue;
		root = json_root(doc);
		for (k = 0; k < ARRAY_LEN(typed); k++) {
			struct err e = { 0 };

			if (get(typed[k].g, &root, typed[k].key, &e) < 0)
				ck_assert_int_eq(e.code, EINVAL);
		}
		json_free(doc);
	}
}
END_TEST

Suite *lib_json_suite(void)
{
	Suite *s = suite_create("lib_json");
	TCase *t = tcase_create("json");

	tcase_add_loop_test(t, bad_text, 0, ARRAY_LEN(bad_texts));
	tcase_add_loop_test(t, good_text, 0, ARRAY_LEN(good_texts));
	tcase_add_test(t, line_of_the_mistake);
	tcase_add_test(t, every_prefix);
	tcase_add_test(t, depth_cap);
	tcase_add_test(t, size_cap);
	tcase_add_loop_test(t, wrong_type, 0, ARRAY_LEN(typed));
	tcase_add_test(t, numbers_are_exact);
	tcase_add_test(t, path_of_an_error);
	tcase_add_test(t, hostile_keys);
	tcase_add_test(t, writer);
	tcase_add_test(t, writer_of_text);
	tcase_add_test(t, writer_misuse);
	tcase_add_test(t, no_memory);
	tcase_add_test(t, random_damage);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	return s;
}
