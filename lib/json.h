/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_JSON_H
#define LIB_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/err.h"

struct json_doc;

/**
 * struct jnode - a value inside a parsed document; lives on the caller's stack
 * @obj:   the value, borrowed from the document
 * @up:    the value that holds it, borrowed; NULL at the root
 * @key:   member name in @up, borrowed; NULL for an array element
 * @index: position in @up when @key is NULL
 *
 * The chain of @up gives error messages their path (/process/args/0), so a
 * jnode must not outlive the jnode it came from.
 */
struct jnode {
	void *obj;
	const struct jnode *up;
	const char *key;
	size_t index;
};

int json_parse(const char *text, size_t len, struct json_doc **ret,
	       struct err *e);
void json_free(struct json_doc *doc);
struct jnode json_root(struct json_doc *doc);

/* Getters return 1 when found, 0 when absent or null, negative when wrong. */
int json_obj(const struct jnode *n, const char *key, struct jnode *ret,
	     struct err *e);
int json_arr(const struct jnode *n, const char *key, struct jnode *ret,
	     struct err *e);
int json_str(const struct jnode *n, const char *key, const char **ret,
	     struct err *e);
int json_flag(const struct jnode *n, const char *key, bool *ret, struct err *e);
int json_i64(const struct jnode *n, const char *key, int64_t *ret,
	     struct err *e);
int json_u64(const struct jnode *n, const char *key, uint64_t *ret,
	     struct err *e);

bool json_has(const struct jnode *n, const char *key);
size_t json_len(const struct jnode *n);
struct jnode json_at(const struct jnode *arr, size_t i);
int json_member(const struct jnode *obj, size_t i, struct jnode *ret);
int json_as_obj(const struct jnode *n, struct err *e);
int json_as_str(const struct jnode *n, const char **ret, struct err *e);
int json_as_u64(const struct jnode *n, uint64_t *ret, struct err *e);
int json_strv(const struct jnode *n, const char *key, char ***ret,
	      size_t *ret_n, struct err *e);
void json_show(const struct jnode *n, char *dst, size_t room);
int json_fail(const struct jnode *n, const char *key, struct err *e,
	      const char *fmt, ...) __attribute__((format(printf, 4, 5)));

struct json_out;

struct json_out *json_out_new(void);
void json_out_free(struct json_out *o);
void json_out_obj(struct json_out *o, const char *key);
void json_out_arr(struct json_out *o, const char *key);
void json_out_end(struct json_out *o);
void json_out_str(struct json_out *o, const char *key, const char *v);
void json_out_u64(struct json_out *o, const char *key, uint64_t v);
void json_out_i64(struct json_out *o, const char *key, int64_t v);
void json_out_double(struct json_out *o, const char *key, double v);
void json_out_bool(struct json_out *o, const char *key, bool v);
void json_out_copy(struct json_out *o, const char *key, const struct jnode *n);
void json_out_parsed(struct json_out *o, const char *key, const char *text);
int json_out_text(struct json_out *o, bool pretty, char **ret, struct err *e);
int json_out_print(struct json_out *o, bool pretty, FILE *f, struct err *e);

#endif
