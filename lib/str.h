/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_STR_H
#define LIB_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for "2026-01-31T23:59:59Z", and for years of more digits. */
#define STR_TIME_BYTES 32

/**
 * struct strbuf - growing text; after a failed allocation it stays failed
 * @text:   NUL-terminated, owned, NULL while empty
 * @len:    bytes without the NUL
 * @room:   bytes allocated
 * @failed: memory was short once: what is in @text is incomplete
 */
struct strbuf {
	char *text;
	size_t len;
	size_t room;
	bool failed;
};

void strbuf_add(struct strbuf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void strbuf_add_bytes(struct strbuf *b, const void *data, size_t len);
void strbuf_done(struct strbuf *b);

int parse_u64(const char *s, uint64_t *ret);
int parse_size(const char *s, uint64_t *ret_bytes);
int parse_duration(const char *s, uint64_t *ret_ns);
int parse_mac(const char *s, uint8_t ret_mac[6]);
void str_time(int64_t s, char dst[STR_TIME_BYTES]);
void str_quote(char *dst, size_t room, const char *src);
void str_mask(char *s);
bool str_starts(const char *s, const char *prefix);
bool str_listed(const char *list, const char *word);
int str_copy(char *dst, size_t room, const char *src);
bool path_climbs(const char *path);

#endif
