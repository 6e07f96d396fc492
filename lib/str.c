// SPDX-License-Identifier: Apache-2.0
#include "lib/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool strbuf_reserve(struct strbuf *b, size_t more)
{
	size_t room = b->room ? b->room : 128;
	char *text;

	if (b->failed)
		return false;
	while (room < b->len + more + 1)
		room *= 2;
	if (room != b->room) {
		text = realloc(b->text, room);
		if (!text) {
			b->failed = true;
			return false;
		}
		b->text = text;
		b->room = room;
		b->text[b->len] = 0;
	}
	return true;
}

/**
 * strbuf_add() - append formatted text
 * @b: zero-initialised or used before; check @b->failed once at the end
 */
void strbuf_add(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !strbuf_reserve(b, (size_t)n)) {
		b->failed = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(b->text + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

/**
 * strbuf_add_bytes() - append bytes as they are
 * @b:    as for strbuf_add()
 * @data: may hold NULs
 */
void strbuf_add_bytes(struct strbuf *b, const void *data, size_t len)
{
	if (!strbuf_reserve(b, len))
		return;
	memcpy(b->text + b->len, data, len);
	b->len += len;
	b->text[b->len] = 0;
}

/**
 * strbuf_done() - free the text; the buffer can be used again
 */
void strbuf_done(struct strbuf *b)
{
	free(b->text);
	memset(b, 0, sizeof(*b));
}

/**
 * parse_u64() - a whole string as an unsigned number, decimal or 0x hexadecimal
 * @s:   no sign, no blanks, nothing behind the number
 * @ret: untouched on failure
 *
 * Return: 0, -EINVAL or -ERANGE
 */
int parse_u64(const char *s, uint64_t *ret)
{
	int hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)s[0]))
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &end, hex ? 16 : 10);
	if (errno)
		return -errno;
	if (*end)
		return -EINVAL;
	*ret = v;
	return 0;
}

/**
 * parse_size() - a size such as 4096, 64K, 128M, 2G (powers of 1024)
 * @s:         whole string
 * @ret_bytes: untouched on failure
 *
 * Return: 0, -EINVAL or -ERANGE
 */
int parse_size(const char *s, uint64_t *ret_bytes)
{
	static const char units[] = "KMGT";
	char digits[24];
	size_t len = strlen(s);
	unsigned int shift = 0;
	const char *unit;
	uint64_t v;
	int rc;

	if (!len || len >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, s, len + 1);
	unit = strchr(units, toupper((unsigned char)s[len - 1]));
	if (unit && *unit) {
		shift = 10 * (unsigned int)(unit - units + 1);
		digits[len - 1] = 0;
	}
	rc = parse_u64(digits, &v);
	if (rc < 0)
		return rc;
	if (v > UINT64_MAX >> shift)
		return -ERANGE;
	*ret_bytes = v << shift;
	return 0;
}

struct unit {
	const char *name;
	uint64_t ns;
};

/* The unit that @s begins with; NULL: none. */
static const struct unit *unit_of(const char *s)
{
	static const struct unit units[] = {
		{ "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 },
		{ "m", 60000000000 }, { "h", 3600000000000 },
	};
	size_t len = strspn(s, "numsh"), i;

	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (len == strlen(units[i].name) && !strncmp(s, units[i].name, len))
			return &units[i];
	return NULL;
}

/**
 * parse_duration() - a time such as 5s, 500ms, 1m30s, 1.5h, as Go writes it
 * @s:      numbers, each with a unit (ns, us, ms, s, m, h) behind it
 * @ret_ns: nanoseconds; untouched on failure; of a fraction six digits count
 *
 * Return: 0, -EINVAL or -ERANGE
 */
int parse_duration(const char *s, uint64_t *ret_ns)
{
	uint64_t sum = 0;

	do {
		uint64_t whole = 0, part = 0, scale = 1, add;
		const struct unit *u;
		size_t digits = 0;

		for (; isdigit((unsigned char)*s); s++, digits++) {
			if (whole > UINT64_MAX / 10 - 1)
				return -ERANGE;
			whole = whole * 10 + (uint64_t)(*s - '0');
		}
		for (s += *s == '.'; isdigit((unsigned char)*s); s++, digits++) {
			if (scale == 1000000)
				continue;
			part = part * 10 + (uint64_t)(*s - '0');
			scale *= 10;
		}
		u = unit_of(s);
		if (!digits || !u)
			return -EINVAL;
		if (whole > UINT64_MAX / u->ns - 1)
			return -ERANGE;
		add = whole * u->ns + part * u->ns / scale;
		if (sum > UINT64_MAX - add)
			return -ERANGE;
		sum += add;
		s += strlen(u->name);
	} while (*s);
	*ret_ns = sum;
	return 0;
}

/**
 * parse_mac() - six hexadecimal bytes separated by colons
 * @ret_mac: untouched on failure
 *
 * Return: 0 or -EINVAL
 */
int parse_mac(const char *s, uint8_t ret_mac[6])
{
	uint8_t mac[6];
	size_t i;

	for (i = 0; i < 6; i++, s += 3) {
		char hex[3];

		if (!isxdigit((unsigned char)s[0]) ||
		    !isxdigit((unsigned char)s[1]) ||
		    s[2] != (i < 5 ? ':' : 0))
			return -EINVAL;
		memcpy(hex, s, 2);
		hex[2] = 0;
		mac[i] = (uint8_t)strtoul(hex, NULL, 16);
	}
	memcpy(ret_mac, mac, 6);
	return 0;
}

/**
 * str_time() - a point in time as RFC 3339 has it, in UTC
 * @s: of time(2)
 */
void str_time(int64_t s, char dst[STR_TIME_BYTES])
{
	time_t t = (time_t)s;
	struct tm tm;

	*dst = 0;
	if (gmtime_r(&t, &tm))
		strftime(dst, STR_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/**
 * str_quote() - an outside string for a message: quoted, escaped, cut to fit
 * @dst:  always NUL-terminated
 * @room: at least 3 bytes
 */
void str_quote(char *dst, size_t room, const char *src)
{
	size_t n = 0;

	dst[n++] = '"';
	for (; *src && n + 6 < room; src++) {
		unsigned char c = (unsigned char)*src;

		if (c == '"' || c == '\\')
			n += (size_t)snprintf(dst + n, room - n, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			n += (size_t)snprintf(dst + n, room - n, "\\x%02x", c);
		else
			dst[n++] = (char)c;
	}
	dst[n++] = '"';
	dst[n] = 0;
}

/* Whether a character drives a terminal, or turns the order of what stands around it. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* Bytes of the character that begins here; 0: it is none, or not to be shown. */
static size_t shown_bytes(const char *s)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = (unsigned char)s[0];
	size_t i, len = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t c = len < 2 ? first : first & (0x7fu >> len);

	for (i = 1; i < len; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | ((unsigned char)s[i] & 0x3f);
	}
	if (!len || c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return is_control(c) ? 0 : len;
}

/**
 * str_mask() - make an outside string one line that is safe to show
 * @s: in place: a '?' for each byte of what is no UTF-8, of control characters (those
 *     above 0x7f, too), and of what turns the direction of writing
 */
void str_mask(char *s)
{
	while (*s) {
		size_t n = shown_bytes(s);

		if (!n)
			*s = '?';
		s += n ? n : 1;
	}
}

/**
 * str_starts() - whether @s begins with @prefix
 */
bool str_starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

/**
 * str_listed() - whether @word is among the comma-separated ones of @list
 */
bool str_listed(const char *list, const char *word)
{
	size_t len = strlen(word);
	const char *at;

	for (at = list; (at = strstr(at, word)); at += len)
		if ((at == list || at[-1] == ',') && (!at[len] || at[len] == ','))
			return true;
	return false;
}

/**
 * str_copy() - copy a string that must fit
 * @dst: untouched on failure
 *
 * Return: 0 or -ENAMETOOLONG
 */
int str_copy(char *dst, size_t room, const char *src)
{
	size_t len = strlen(src);

	if (len >= room)
		return -ENAMETOOLONG;
	memcpy(dst, src, len + 1);
	return 0;
}

/**
 * path_climbs() - whether a path has a ".." component
 */
bool path_climbs(const char *path)
{
	while (*path) {
		size_t len = strcspn(path, "/");

		if (len == 2 && !memcmp(path, "..", 2))
			return true;
		path += len;
		path += strspn(path, "/");
	}
	return false;
}
