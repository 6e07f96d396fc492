// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Typed, strict access to JSON over json-c, the only place that includes it.
 * Input is parsed with JSON_TOKENER_STRICT and UTF-8 validation, capped in
 * size and depth. A getter that finds the wrong type says the path and both
 * types. An absent member and an explicit null are the same, as the OCI
 * runtime specification and Go's encoder have it.
 *
 * json_out builds a document member by member; a failed allocation is
 * remembered and reported once, by json_out_text().
 */
#include "lib/json.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/mem.h"

/* A config.json of Kubernetes is about 20 KiB; the cap leaves room for odd ones. */
#define JSON_MAX_BYTES (4u << 20)
#define JSON_MAX_DEPTH 32
#define JSON_OUT_DEPTH 16

struct json_doc {
	struct json_object *root;
};

/* Whether a whole number of @len characters does not fit 64 bits. */
static bool too_great(const char *num, size_t len)
{
	const char *max = "18446744073709551615";
	size_t n;

	if (*num == '-') {
		max = "9223372036854775808";
		num++;
		len--;
	}
	n = strlen(max);
	return len > n || (len == n && memcmp(num, max, n) > 0);
}

/*
 * Where a text that json-c has taken is no JSON: it takes 'a', NaN, Infinity
 * and control characters in strings, and replaces a number that is too great
 * by the greatest. @len if it is all JSON.
 */
static size_t lax_at(const char *text, size_t len)
{
	static const char number[] = "+-.0123456789Ee";
	bool in_string = false;
	size_t i, k;

	for (i = 0; i < len; i++) {
		char c = text[i];

		if (c == '"') {
			in_string = !in_string;
		} else if (in_string) {
			if ((unsigned char)c < 0x20)
				return i;
			i += c == '\\';
		} else if (c == '\'' || c == 'N' || c == 'I') {
			return i;
		} else if (c == '-' || (c >= '0' && c <= '9')) {
			for (k = i; k < len && memchr(number, text[k], sizeof(number) - 1);)
				k++;
			if (!memchr(text + i, '.', k - i) && !memchr(text + i, 'e', k - i) &&
			    !memchr(text + i, 'E', k - i) && too_great(text + i, k - i))
				return i;
			i = k - 1;
		}
	}
	return len;
}

/**
 * json_parse() - parse one JSON value
 * @text: need not be NUL-terminated
 * @len:  bytes, at most 4 MiB
 * @ret:  owned by the caller, json_free()
 *
 * Return: 0; -EINVAL with line and column; -EFBIG; -ENOMEM
 */
int json_parse(const char *text, size_t len, struct json_doc **ret,
	       struct err *e)
{
	struct json_tokener *tok;
	struct json_object *root;
	enum json_tokener_error why;
	struct json_doc *doc;
	size_t end = len, line = 1, i;

	if (len > JSON_MAX_BYTES)
		return err_set(e, EFBIG, "JSON text of %zu bytes, at most %u",
			       len, JSON_MAX_BYTES);
	tok = json_tokener_new_ex(JSON_MAX_DEPTH);
	doc = mem_new(struct json_doc);
	if (!tok || !doc) {
		if (tok)
			json_tokener_free(tok);
		free(doc);
		return err_set(e, ENOMEM, "out of memory");
	}
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	root = json_tokener_parse_ex(tok, text, (int)len);
	why = json_tokener_get_error(tok);
	/* A bare number at the end of input is complete only with its end. */
	if (why == json_tokener_continue) {
		root = json_tokener_parse_ex(tok, "\0", 1);
		why = json_tokener_get_error(tok);
	} else {
		end = json_tokener_get_parse_end(tok);
	}
	json_tokener_free(tok);
	for (i = end; why == json_tokener_success && i < len; i++)
		if (!strchr(" \t\r\n", text[i]) || !text[i])
			why = json_tokener_error_parse_unexpected;
	if (why == json_tokener_success && lax_at(text, len) < len) {
		end = lax_at(text, len);
		why = json_tokener_error_parse_unexpected;
	}
	if (why != json_tokener_success) {
		if (root)
			json_object_put(root);
		free(doc);
		for (i = 0; i < end && i < len; i++)
			line += text[i] == '\n';
		return err_set(e, EINVAL, "not valid JSON at line %zu: %s", line,
			       json_tokener_error_desc(why));
	}
	doc->root = root;
	*ret = doc;
	return 0;
}

/**
 * json_free() - free a document; every jnode of it dies; NULL is fine
 */
void json_free(struct json_doc *doc)
{
	if (!doc)
		return;
	json_object_put(doc->root);
	free(doc);
}

/**
 * json_root() - the document's outermost value
 */
struct jnode json_root(struct json_doc *doc)
{
	return (struct jnode){ .obj = doc->root };
}

/* Writes the path of @n (and of @key below it) into @dst. */
static void path_of(const struct jnode *n, const char *key, char *dst,
		    size_t room)
{
	const struct jnode *chain[JSON_MAX_DEPTH + 2];
	size_t depth = 0, used = 0;

	for (; n && n->up && depth < ARRAY_LEN(chain); n = n->up)
		chain[depth++] = n;
	dst[0] = 0;
	while (depth && used < room) {
		n = chain[--depth];
		if (n->key)
			used += (size_t)snprintf(dst + used, room - used, "/%s", n->key);
		else
			used += (size_t)snprintf(dst + used, room - used, "/%zu", n->index);
	}
	if (key && used < room)
		snprintf(dst + used, room - used, "/%s", key);
	if (!dst[0])
		snprintf(dst, room, "/");
}

/**
 * json_fail() - refuse a value by its path
 * @n:   the value, or the object that holds it when @key is given
 * @key: member of @n, or NULL
 *
 * Return: -EINVAL
 */
int json_fail(const struct jnode *n, const char *key, struct err *e,
	      const char *fmt, ...)
{
	char path[256], text[400];
	va_list ap;

	path_of(n, key, path, sizeof(path));
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(e, EINVAL, "%s: %s", path, text);
}

/**
 * json_show() - a value as JSON, for a message; cut to fit
 * @room: at least 1 byte
 */
void json_show(const struct jnode *n, char *dst, size_t room)
{
	snprintf(dst, room, "%s", json_object_to_json_string_ext(n->obj, JSON_C_TO_STRING_PLAIN));
}

/* Finds a member; 1 found, 0 absent or null, -EINVAL wrong type. */
static int member(const struct jnode *n, const char *key, enum json_type want,
		  struct json_object **ret, struct err *e)
{
	struct json_object *o;

	if (json_object_get_type(n->obj) != json_type_object)
		return json_fail(n, NULL, e, "must be an object, not %s",
				 json_type_to_name(json_object_get_type(n->obj)));
	if (!json_object_object_get_ex(n->obj, key, &o) || !o)
		return 0;
	if (json_object_get_type(o) != want)
		return json_fail(n, key, e, "must be %s, not %s",
				 json_type_to_name(want),
				 json_type_to_name(json_object_get_type(o)));
	*ret = o;
	return 1;
}

/**
 * json_obj() - member that is an object
 *
 * Return: 1 found, 0 absent or null, -EINVAL
 */
int json_obj(const struct jnode *n, const char *key, struct jnode *ret,
	     struct err *e)
{
	struct json_object *o;
	int rc = member(n, key, json_type_object, &o, e);

	if (rc == 1)
		*ret = (struct jnode){ .obj = o, .up = n, .key = key };
	return rc;
}

/**
 * json_arr() - member that is an array
 *
 * Return: 1 found, 0 absent or null, -EINVAL
 */
int json_arr(const struct jnode *n, const char *key, struct jnode *ret,
	     struct err *e)
{
	struct json_object *o;
	int rc = member(n, key, json_type_array, &o, e);

	if (rc == 1)
		*ret = (struct jnode){ .obj = o, .up = n, .key = key };
	return rc;
}

/* A C string of a JSON string; one with a NUL inside is refused. */
static int str_of(const struct jnode *n, const char *key, struct json_object *o,
		  const char **ret, struct err *e)
{
	const char *s = json_object_get_string(o);

	if (strlen(s) != (size_t)json_object_get_string_len(o))
		return json_fail(n, key, e, "holds a NUL character");
	*ret = s;
	return 1;
}

/**
 * json_str() - member that is a string
 * @ret: borrowed from the document
 *
 * Return: 1 found, 0 absent or null, -EINVAL
 */
int json_str(const struct jnode *n, const char *key, const char **ret,
	     struct err *e)
{
	struct json_object *o;
	int rc = member(n, key, json_type_string, &o, e);

	return rc == 1 ? str_of(n, key, o, ret, e) : rc;
}

/**
 * json_flag() - member that is true or false
 *
 * Return: 1 found, 0 absent or null, -EINVAL
 */
int json_flag(const struct jnode *n, const char *key, bool *ret, struct err *e)
{
	struct json_object *o;
	int rc = member(n, key, json_type_boolean, &o, e);

	if (rc == 1)
		*ret = json_object_get_boolean(o);
	return rc;
}

/**
 * json_i64() - member that is a whole number
 *
 * Return: 1 found, 0 absent or null, -EINVAL, also when it does not fit
 */
int json_i64(const struct jnode *n, const char *key, int64_t *ret,
	     struct err *e)
{
	struct json_object *o;
	int rc = member(n, key, json_type_int, &o, e);
	int64_t v;

	if (rc != 1)
		return rc;
	errno = 0;
	v = json_object_get_int64(o);
	if (errno || (v == INT64_MAX && json_object_get_uint64(o) != INT64_MAX))
		return json_fail(n, key, e, "number out of range");
	*ret = v;
	return 1;
}

/**
 * json_u64() - member that is a whole number, zero or above
 *
 * Return: 1 found, 0 absent or null, -EINVAL, also when it does not fit
 */
int json_u64(const struct jnode *n, const char *key, uint64_t *ret,
	     struct err *e)
{
	struct json_object *o;
	int rc = member(n, key, json_type_int, &o, e);

	if (rc != 1)
		return rc;
	if (json_object_get_int64(o) < 0)
		return json_fail(n, key, e, "must not be negative");
	*ret = json_object_get_uint64(o);
	return 1;
}

/**
 * json_has() - whether a member is there and not null
 */
bool json_has(const struct jnode *n, const char *key)
{
	struct json_object *o;

	return json_object_get_type(n->obj) == json_type_object &&
	       json_object_object_get_ex(n->obj, key, &o) && o;
}

/**
 * json_len() - number of elements of an array or members of an object, else 0
 */
size_t json_len(const struct jnode *n)
{
	if (json_object_get_type(n->obj) == json_type_array)
		return json_object_array_length(n->obj);
	if (json_object_get_type(n->obj) == json_type_object)
		return (size_t)json_object_object_length(n->obj);
	return 0;
}

/**
 * json_at() - element of an array
 * @i: below json_len()
 */
struct jnode json_at(const struct jnode *arr, size_t i)
{
	return (struct jnode){ .obj = json_object_array_get_idx(arr->obj, i),
			       .up = arr, .index = i };
}

/**
 * json_member() - the i-th member of an object, for objects used as maps
 * @ret: its key and value
 *
 * Return: 0, or -ENOENT when @obj is no object or has fewer members
 */
int json_member(const struct jnode *obj, size_t i, struct jnode *ret)
{
	if (json_object_get_type(obj->obj) != json_type_object)
		return -ENOENT;
	json_object_object_foreach(obj->obj, key, val) {
		if (i-- == 0) {
			*ret = (struct jnode){ .obj = val, .up = obj, .key = key };
			return 0;
		}
	}
	return -ENOENT;
}

/**
 * json_as_obj() - check that a value is an object
 *
 * Return: 0 or -EINVAL
 */
int json_as_obj(const struct jnode *n, struct err *e)
{
	enum json_type t = json_object_get_type(n->obj);

	if (t != json_type_object)
		return json_fail(n, NULL, e, "must be an object, not %s",
				 json_type_to_name(t));
	return 0;
}

/**
 * json_as_str() - a value that must be a string
 * @ret: borrowed from the document
 *
 * Return: 0 or -EINVAL
 */
int json_as_str(const struct jnode *n, const char **ret, struct err *e)
{
	enum json_type t = json_object_get_type(n->obj);

	if (t != json_type_string)
		return json_fail(n, NULL, e, "must be string, not %s",
				 json_type_to_name(t));
	return str_of(n, NULL, n->obj, ret, e) < 0 ? -EINVAL : 0;
}

/**
 * json_as_u64() - a value that must be a whole number, zero or above
 *
 * Return: 0 or -EINVAL
 */
int json_as_u64(const struct jnode *n, uint64_t *ret, struct err *e)
{
	enum json_type t = json_object_get_type(n->obj);

	if (t != json_type_int || json_object_get_int64(n->obj) < 0)
		return json_fail(n, NULL, e, "must be a number, zero or above");
	*ret = json_object_get_uint64(n->obj);
	return 0;
}

/**
 * json_strv() - member that is an array of strings
 * @ret:   NULL-terminated array; it and its strings are malloc'd, owned by the
 *         caller; an absent member gives an empty array
 * @ret_n: number of strings
 *
 * Return: 1 found, 0 absent, -EINVAL, -ENOMEM
 */
int json_strv(const struct jnode *n, const char *key, char ***ret,
	      size_t *ret_n, struct err *e)
{
	struct jnode arr;
	size_t i, len = 0;
	char **v;
	int rc = json_arr(n, key, &arr, e);

	if (rc < 0)
		return rc;
	if (rc)
		len = json_len(&arr);
	v = mem_new_n(char *, len + 1);
	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < len; i++) {
		struct jnode el = json_at(&arr, i);
		const char *s;
		int bad = json_as_str(&el, &s, e);

		if (!bad && !(v[i] = strdup(s)))
			bad = err_set(e, ENOMEM, "out of memory");
		if (bad) {
			while (i)
				free(v[--i]);
			free(v);
			return bad;
		}
	}
	*ret = v;
	*ret_n = len;
	return rc;
}

struct json_out {
	struct json_object *stack[JSON_OUT_DEPTH];
	unsigned int depth;
	bool failed;
};

/**
 * json_out_new() - start a document that is an object
 *
 * Return: NULL when memory is short; else owned by the caller, json_out_free()
 */
struct json_out *json_out_new(void)
{
	struct json_out *o = mem_new(struct json_out);

	if (o)
		o->stack[0] = json_object_new_object();
	if (o && !o->stack[0]) {
		free(o);
		o = NULL;
	}
	return o;
}

/**
 * json_out_free() - free a document and its builder; NULL is fine
 */
void json_out_free(struct json_out *o)
{
	if (!o)
		return;
	json_object_put(o->stack[0]);
	free(o);
}

/* Adds a value to the open container; an array ignores the key. */
static void put(struct json_out *o, const char *key, struct json_object *v)
{
	struct json_object *top = o->stack[o->depth];
	int rc = -1;

	if (v && json_object_get_type(top) == json_type_array)
		rc = json_object_array_add(top, v);
	else if (v && key)
		rc = json_object_object_add(top, key, v);
	if (rc) {
		o->failed = true;
		json_object_put(v);
	}
}

static void open_container(struct json_out *o, const char *key,
			   struct json_object *v)
{
	put(o, key, v);
	if (o->failed || o->depth + 1 >= JSON_OUT_DEPTH)
		o->failed = true;
	else
		o->stack[++o->depth] = v;
}

/**
 * json_out_obj() - open an object member (or element, @key NULL)
 */
void json_out_obj(struct json_out *o, const char *key)
{
	open_container(o, key, json_object_new_object());
}

/**
 * json_out_arr() - open an array member (or element, @key NULL)
 */
void json_out_arr(struct json_out *o, const char *key)
{
	open_container(o, key, json_object_new_array());
}

/**
 * json_out_end() - close what json_out_obj() or json_out_arr() opened
 */
void json_out_end(struct json_out *o)
{
	if (o->depth)
		o->depth--;
}

/**
 * json_out_str() - add a string; NULL adds nothing
 */
void json_out_str(struct json_out *o, const char *key, const char *v)
{
	if (v)
		put(o, key, json_object_new_string(v));
}

/**
 * json_out_u64() - add a number
 */
void json_out_u64(struct json_out *o, const char *key, uint64_t v)
{
	put(o, key, json_object_new_uint64(v));
}

/**
 * json_out_i64() - add a number with a sign
 */
void json_out_i64(struct json_out *o, const char *key, int64_t v)
{
	put(o, key, json_object_new_int64(v));
}

/**
 * json_out_double() - add a fraction
 */
void json_out_double(struct json_out *o, const char *key, double v)
{
	put(o, key, json_object_new_double(v));
}

/**
 * json_out_bool() - add true or false
 */
void json_out_bool(struct json_out *o, const char *key, bool v)
{
	put(o, key, json_object_new_boolean(v));
}

/**
 * json_out_copy() - add a parsed value as it is; null adds nothing
 * @n: its document may be freed before @o
 */
void json_out_copy(struct json_out *o, const char *key, const struct jnode *n)
{
	if (n->obj)
		put(o, key, json_object_get(n->obj));
}

/**
 * json_out_parsed() - add a value that is JSON text already
 * @text: NULL, or one that does not parse, adds nothing
 */
void json_out_parsed(struct json_out *o, const char *key, const char *text)
{
	struct json_doc *doc;
	struct jnode root;

	if (!text || json_parse(text, strlen(text), &doc, NULL) < 0)
		return;
	root = json_root(doc);
	json_out_copy(o, key, &root);
	json_free(doc);
}

/**
 * json_out_text() - the finished document
 * @pretty: indented over lines, else one line; no newline at the end
 * @ret:    malloc'd, owned by the caller
 *
 * Return: 0 or -ENOMEM
 */
int json_out_text(struct json_out *o, bool pretty, char **ret, struct err *e)
{
	int flags = JSON_C_TO_STRING_NOSLASHESCAPE |
		    (pretty ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED
			    : JSON_C_TO_STRING_PLAIN);
	const char *s = NULL;
	char *text = NULL;

	if (!o->failed)
		s = json_object_to_json_string_ext(o->stack[0], flags);
	if (s)
		text = strdup(s);
	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	*ret = text;
	return 0;
}

/**
 * json_out_print() - write the finished document, and a newline
 * @o:      freed; NULL is short memory
 * @pretty: as json_out_text()
 * @f:      borrowed; whether all could be written shows when it is flushed
 *
 * Return: 0 or -ENOMEM
 */
int json_out_print(struct json_out *o, bool pretty, FILE *f, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int rc = o ? json_out_text(o, pretty, &text, e) : err_set(e, ENOMEM, "out of memory");

	json_out_free(o);
	if (!rc)
		fprintf(f, "%s\n", text);
	return rc;
}
