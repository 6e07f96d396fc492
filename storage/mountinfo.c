// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * /proc/self/mountinfo has one mount per line; fields are separated by exactly
 * one space, optional fields end with a lone "-", and the kernel writes blanks,
 * newlines, '#' and backslashes inside a field as three octal digits. Mount
 * points and sources are chosen by whoever mounted, so nothing is assumed
 * beyond that: a line that does not follow the format is never half used.
 * Lines are cut in place, without allocation.
 *
 * Source: proc(5), section /proc/pid/mountinfo
 */
#include "storage/mountinfo.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool octal(char c)
{
	return c >= '0' && c <= '7';
}

/**
 * mountinfo_decode() - undo the octal escapes of one field, in place
 * @s: NUL-terminated; a backslash without three octal digits stays as it is
 *
 * Return: 0; -EINVAL for an escaped NUL or a value above 0377
 */
int mountinfo_decode(char *s)
{
	char *d = s;

	while (*s) {
		unsigned int c;

		if (s[0] != '\\' || !octal(s[1]) || !octal(s[2]) || !octal(s[3])) {
			*d++ = *s++;
			continue;
		}
		c = (unsigned int)(s[1] - '0') << 6 | (unsigned int)(s[2] - '0') << 3 |
		    (unsigned int)(s[3] - '0');
		if (!c || c > 0377)
			return -EINVAL;
		*d++ = (char)c;
		s += 4;
	}
	*d = 0;
	return 0;
}

/* Cuts the next field off; NULL when there is none. */
static char *field(char **rest)
{
	char *s = *rest, *end;

	if (!s)
		return NULL;
	end = strchr(s, ' ');
	if (end)
		*end++ = 0;
	*rest = end;
	return s;
}

/* A number that ends exactly where @end says. */
static int number(const char *s, char end, uint64_t *ret, const char **ret_rest)
{
	char *stop;

	if (!s || *s < '0' || *s > '9')
		return -EINVAL;
	errno = 0;
	*ret = strtoull(s, &stop, 10);
	if (errno || *stop != end)
		return -EINVAL;
	if (ret_rest)
		*ret_rest = stop + 1;
	return 0;
}

/**
 * mountinfo_parse() - take one line apart
 * @line: without its newline; is cut up and must live as long as @ret
 * @ret:  untouched on failure
 *
 * Return: 0 or -EINVAL
 */
int mountinfo_parse(char *line, struct mount_entry *ret)
{
	struct mount_entry m;
	const char *minor = NULL;
	uint64_t major_nr, minor_nr;
	char *opt;

	if (number(field(&line), 0, &m.id, NULL) < 0 ||
	    number(field(&line), 0, &m.parent, NULL) < 0 ||
	    number(field(&line), ':', &major_nr, &minor) < 0 ||
	    number(minor, 0, &minor_nr, NULL) < 0 ||
	    major_nr > UINT32_MAX || minor_nr > UINT32_MAX)
		return -EINVAL;
	m.major = (uint32_t)major_nr;
	m.minor = (uint32_t)minor_nr;
	m.root = field(&line);
	m.point = field(&line);
	m.opts = field(&line);
	if (!m.opts)
		return -EINVAL;
	m.shared = m.slave = false;
	while ((opt = field(&line)) && strcmp(opt, "-")) {
		m.shared |= !strncmp(opt, "shared:", 7);
		m.slave |= !strncmp(opt, "master:", 7);
	}
	m.fstype = field(&line);
	m.source = field(&line);
	m.super = field(&line);
	if (!m.super || line || mountinfo_decode(m.root) < 0 ||
	    mountinfo_decode(m.point) < 0 || mountinfo_decode(m.fstype) < 0 ||
	    mountinfo_decode(m.source) < 0)
		return -EINVAL;
	*ret = m;
	return 0;
}

/* Finds the line whose first or second number is @id, without cutting others. */
static int find(char *text, uint64_t id, bool parent, struct mount_entry *ret)
{
	char *line = text, *end, *second;

	for (; line && *line; line = end) {
		char *stop;

		end = strchr(line, '\n');
		second = strchr(line, ' ');
		if (second && (!end || second < end) &&
		    strtoull(parent ? second + 1 : line, &stop, 10) == id &&
		    *stop == ' ') {
			if (end)
				*end = 0;
			return mountinfo_parse(line, ret);
		}
		if (end)
			end++;
	}
	return -ENOENT;
}

/**
 * mountinfo_find() - the mount with an id
 * @text: content of mountinfo; the line found is cut up, so search it once
 * @ret:  borrows from @text; untouched on failure
 *
 * Return: 0; -ENOENT; -EINVAL if its line is malformed
 */
int mountinfo_find(char *text, uint64_t id, struct mount_entry *ret)
{
	return find(text, id, false, ret);
}

/**
 * mountinfo_child() - a mount that is mounted inside another one
 * @text: as for mountinfo_find()
 * @id:   of the outer mount
 *
 * Return: 0; -ENOENT when there is none; -EINVAL if its line is malformed
 */
int mountinfo_child(char *text, uint64_t id, struct mount_entry *ret)
{
	return find(text, id, true, ret);
}

/**
 * mountinfo_other() - another mount of the file system on a device
 * @text: as for mountinfo_find(); all of it is cut up
 * @id:   of the mount that does not count
 *
 * Return: 0; -ENOENT when there is none; -EINVAL if a line is malformed
 */
int mountinfo_other(char *text, uint64_t id, uint32_t major, uint32_t minor,
		    struct mount_entry *ret)
{
	struct mount_entry m;
	char *line;

	while ((line = strsep(&text, "\n"))) {
		if (!*line)
			continue;
		if (mountinfo_parse(line, &m) < 0)
			return -EINVAL;
		if (m.id == id || m.major != major || m.minor != minor)
			continue;
		*ret = m;
		return 0;
	}
	return -ENOENT;
}
