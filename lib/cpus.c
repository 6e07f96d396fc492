// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Lists of processors or of memory nodes, as cpuset(7) "List format" has them: 0-3,8. Sets
 * are those of sched.h, so that numbers end at CPU_SETSIZE - 1.
 */
#include "lib/cpus.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/str.h"

/* One number or range, of @len bytes. */
static int add(const char *from, size_t len, cpu_set_t *set)
{
	char text[16];
	uint64_t first, last;
	char *dash;

	if (len >= sizeof(text))
		return -EINVAL;
	memcpy(text, from, len);
	text[len] = 0;
	dash = strchr(text, '-');
	if (dash)
		*dash = 0;
	if (parse_u64(text, &first) < 0 || parse_u64(dash ? dash + 1 : text, &last) < 0 ||
	    first > last || last >= CPU_SETSIZE)
		return -EINVAL;
	for (; first <= last; first++)
		CPU_SET(first, set);
	return 0;
}

/**
 * cpus_parse() - a set from a list
 * @list: not empty
 * @ret:  untouched on failure
 *
 * Return: 0; -EINVAL: it is no list, or has a number beyond CPU_SETSIZE - 1
 * Source: cpuset(7), "List format"
 */
int cpus_parse(const char *list, cpu_set_t *ret)
{
	cpu_set_t set;
	const char *end;

	if (list[strspn(list, "0123456789,-")])
		return -EINVAL;
	CPU_ZERO(&set);
	for (;; list = end + 1) {
		end = strchrnul(list, ',');
		if (add(list, (size_t)(end - list), &set) < 0)
			return -EINVAL;
		if (!*end)
			break;
	}
	*ret = set;
	return 0;
}

/**
 * cpus_text() - a set as a list, the shortest one
 * @ret: "" for an empty set
 */
void cpus_text(const cpu_set_t *set, char ret[CPUS_TEXT_BYTES])
{
	int first, last, n = 0;

	ret[0] = 0;
	for (first = 0; first < CPU_SETSIZE; first = last + 1) {
		for (last = first; last < CPU_SETSIZE && CPU_ISSET(last, set); last++)
			;
		if (last == first)
			continue;
		n += snprintf(ret + n, (size_t)(CPUS_TEXT_BYTES - n),
			      last - 1 > first ? "%s%d-%d" : "%s%d", n ? "," : "", first, last - 1);
	}
}
