// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a container uses, as runc's events print it: a line of JSON made from the cgroup v2
 * files of its guest. Their text is guest data: numbers are parsed to their last
 * character, names are letters, digits and '_', and lines are counted; what breaks a rule
 * is an error, and no line. Where runc fills the members of cgroup v1 from v2, so does
 * this; members that v2 has nothing for are 0 or left out, as there.
 *
 * Sources: runc, types/events.go and libcontainer/cgroups/fs2 (names and units); kernel
 * Documentation/admin-guide/cgroup-v2.rst.
 */
#include "runtime/stats.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "lib/num.h"
#include "lib/str.h"

/* More than any kernel has, and less than would matter. */
#define KEYS_MAX 256
#define DEVICES_MAX 512
#define NAME_BYTES 48
#define LINE_BYTES 512

const char *const stats_files[] = {
	"cpu.stat", "memory.current", "memory.max", "memory.peak", "memory.swap.current",
	"memory.swap.max", "memory.stat", "memory.events", "pids.current", "pids.max",
	"io.stat", NULL,
};

/* One line of a text at a time; @line has no newline. */
struct lines {
	const char *at;
	const char *file;
	char line[LINE_BYTES];
};

static int strange(const char *file, struct err *e)
{
	return err_set(e, EPROTO, "the guest's agent sent a %s that is none", file);
}

static struct lines lines_of(const Podvm__CgroupFiles *f, const char *file)
{
	struct lines l = { .file = file };
	size_t i;

	for (i = 0; i < f->n_files; i++)
		if (f->files[i]->key && !strcmp(f->files[i]->key, file))
			l.at = f->files[i]->value;
	return l;
}

/* 1, 0 at the end, minus errno. */
static int next(struct lines *l, struct err *e)
{
	size_t len;

	if (!l->at || !*l->at)
		return 0;
	len = strcspn(l->at, "\n");
	if (len >= sizeof(l->line))
		return strange(l->file, e);
	memcpy(l->line, l->at, len);
	l->line[len] = 0;
	l->at += len + (l->at[len] == '\n');
	return 1;
}

/* A file with one number; "max" is the greatest, a missing one leaves @ret as it is. */
static int number(const Podvm__CgroupFiles *f, const char *file, uint64_t *ret, struct err *e)
{
	struct lines l = lines_of(f, file);
	int rc = next(&l, e);

	if (rc <= 0)
		return rc;
	if (!strcmp(l.line, "max"))
		*ret = UINT64_MAX;
	else if (parse_u64(l.line, ret) < 0)
		return strange(file, e);
	return 0;
}

/* Splits "key value". */
static int pair(struct lines *l, const char **ret_key, uint64_t *ret, struct err *e)
{
	size_t len = strspn(l->line, "abcdefghijklmnopqrstuvwxyz0123456789_");

	if (!len || len > NAME_BYTES || l->line[len] != ' ' ||
	    parse_u64(l->line + len + 1, ret) < 0)
		return strange(l->file, e);
	l->line[len] = 0;
	*ret_key = l->line;
	return 0;
}

struct wanted {
	const char *key;
	uint64_t *ret;
};

/* Numbers of a flat keyed file by their keys. */
static int keyed(const Podvm__CgroupFiles *f, const char *file, const struct wanted *want,
		 size_t n, struct err *e)
{
	struct lines l = lines_of(f, file);
	const char *key;
	uint64_t v;
	size_t i, count = 0;
	int rc;

	while ((rc = next(&l, e)) == 1) {
		if (count++ == KEYS_MAX)
			return strange(file, e);
		rc = pair(&l, &key, &v, e);
		if (rc < 0)
			return rc;
		for (i = 0; i < n; i++)
			if (!strcmp(key, want[i].key))
				*want[i].ret = v;
	}
	return rc;
}

static uint64_t times_1000(uint64_t v)
{
	return v > UINT64_MAX / 1000 ? UINT64_MAX : v * 1000;
}

/* As Go leaves a zero out. */
static void put(struct json_out *o, const char *key, uint64_t v)
{
	if (v)
		json_out_u64(o, key, v);
}

static int cpu(struct json_out *o, const Podvm__CgroupFiles *f, struct err *e)
{
	uint64_t total = 0, user = 0, system = 0, periods = 0, throttled = 0, time = 0;
	const struct wanted want[] = {
		{ "usage_usec", &total }, { "user_usec", &user }, { "system_usec", &system },
		{ "nr_periods", &periods }, { "nr_throttled", &throttled },
		{ "throttled_usec", &time },
	};
	int rc = keyed(f, "cpu.stat", want, ARRAY_LEN(want), e);

	if (rc < 0)
		return rc;
	json_out_obj(o, "cpu");
	json_out_obj(o, "usage");
	put(o, "total", times_1000(total));
	json_out_u64(o, "kernel", times_1000(system));
	json_out_u64(o, "user", times_1000(user));
	json_out_end(o);
	json_out_obj(o, "throttling");
	put(o, "periods", periods);
	put(o, "throttledPeriods", throttled);
	put(o, "throttledTime", times_1000(time));
	json_out_end(o);
	json_out_end(o);
	return 0;
}

/* Of cgroup v1 alone, and always there. */
static void cpuset(struct json_out *o)
{
	static const char *const zero[] = {
		"cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate",
		"memory_spread_page", "memory_spread_slab", "memory_pressure",
		"sched_load_balance", "sched_relax_domain_level",
	};
	size_t i;

	json_out_obj(o, "cpuset");
	for (i = 0; i < ARRAY_LEN(zero); i++)
		json_out_u64(o, zero[i], 0);
	json_out_end(o);
}

struct entry {
	uint64_t limit, usage, max, failcnt;
};

static void put_entry(struct json_out *o, const char *key, const struct entry *m)
{
	json_out_obj(o, key);
	json_out_u64(o, "limit", m->limit);
	put(o, "usage", m->usage);
	put(o, "max", m->max);
	json_out_u64(o, "failcnt", m->failcnt);
	json_out_end(o);
}

static int raw(struct json_out *o, const Podvm__CgroupFiles *f, uint64_t *ret_file, struct err *e)
{
	struct lines l = lines_of(f, "memory.stat");
	const char *key;
	uint64_t v;
	size_t count = 0;
	int rc;

	json_out_obj(o, "raw");
	while ((rc = next(&l, e)) == 1) {
		if (count++ == KEYS_MAX)
			return strange(l.file, e);
		rc = pair(&l, &key, &v, e);
		if (rc < 0)
			return rc;
		if (!strcmp(key, "file"))
			*ret_file = v;
		json_out_u64(o, key, v);
	}
	json_out_end(o);
	return rc;
}

static int memory(struct json_out *o, const Podvm__CgroupFiles *f, struct err *e)
{
	struct entry usage = { 0 }, swap = { 0 }, none = { 0 };
	const struct wanted want[] = { { "max", &usage.failcnt } };
	uint64_t cache = 0;
	int rc;

	if ((rc = number(f, "memory.max", &usage.limit, e)) < 0 ||
	    (rc = number(f, "memory.current", &usage.usage, e)) < 0 ||
	    (rc = number(f, "memory.peak", &usage.max, e)) < 0 ||
	    (rc = number(f, "memory.swap.max", &swap.limit, e)) < 0 ||
	    (rc = number(f, "memory.swap.current", &swap.usage, e)) < 0 ||
	    (rc = keyed(f, "memory.events", want, ARRAY_LEN(want), e)) < 0)
		return rc;
	/* Of v1, where swap counts memory, too. */
	swap.limit = num_sum(swap.limit, usage.limit);
	swap.usage = num_sum(swap.usage, usage.usage);
	json_out_obj(o, "memory");
	put_entry(o, "usage", &usage);
	put_entry(o, "swap", &swap);
	put_entry(o, "kernel", &none);
	put_entry(o, "kernelTCP", &none);
	rc = raw(o, f, &cache, e);
	put(o, "cache", cache);
	json_out_end(o);
	return rc;
}

static int pids(struct json_out *o, const Podvm__CgroupFiles *f, struct err *e)
{
	uint64_t current = 0, limit = 0;
	int rc = number(f, "pids.current", &current, e);

	if (!rc)
		rc = number(f, "pids.max", &limit, e);
	if (rc < 0)
		return rc;
	json_out_obj(o, "pids");
	put(o, "current", current);
	put(o, "limit", limit == UINT64_MAX ? 0 : limit);
	json_out_end(o);
	return 0;
}

/* A device's line: "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 ..." */
struct device {
	uint64_t major, minor, bytes[2], count[2];
};

static int device(struct lines *l, struct device *ret, struct err *e)
{
	static const char *const keys[] = { "rbytes", "wbytes", "rios", "wios" };
	uint64_t *const to[] = { &ret->bytes[0], &ret->bytes[1], &ret->count[0], &ret->count[1] };
	char *save = NULL, *word = strtok_r(l->line, " ", &save), *mark;
	size_t i;

	mark = word ? strchr(word, ':') : NULL;
	if (!mark)
		return strange(l->file, e);
	*mark = 0;
	if (parse_u64(word, &ret->major) < 0 || parse_u64(mark + 1, &ret->minor) < 0)
		return strange(l->file, e);
	while ((word = strtok_r(NULL, " ", &save))) {
		mark = strchr(word, '=');
		if (!mark)
			return strange(l->file, e);
		*mark = 0;
		for (i = 0; i < ARRAY_LEN(keys) && strcmp(word, keys[i]); i++)
			;
		/* Some of the others are no whole numbers (io.cost). */
		if (i < ARRAY_LEN(keys) && parse_u64(mark + 1, to[i]) < 0)
			return strange(l->file, e);
	}
	return 0;
}

static void put_device(struct json_out *o, const struct device *d, bool bytes)
{
	static const char *const ops[] = { "Read", "Write" };
	size_t i;

	for (i = 0; i < 2; i++) {
		json_out_obj(o, NULL);
		put(o, "major", d->major);
		put(o, "minor", d->minor);
		json_out_str(o, "op", ops[i]);
		put(o, "value", bytes ? d->bytes[i] : d->count[i]);
		json_out_end(o);
	}
}

static int devices(struct json_out *o, const Podvm__CgroupFiles *f, bool bytes, struct err *e)
{
	struct lines l = lines_of(f, "io.stat");
	size_t count = 0;
	int rc;

	json_out_arr(o, bytes ? "ioServiceBytesRecursive" : "ioServicedRecursive");
	while ((rc = next(&l, e)) == 1) {
		struct device d = { 0 };

		/* A device that did nothing has its number alone, or no line. */
		if (count++ == DEVICES_MAX)
			return strange(l.file, e);
		rc = device(&l, &d, e);
		if (rc < 0)
			return rc;
		put_device(o, &d, bytes);
	}
	json_out_end(o);
	return rc;
}

static int block_io(struct json_out *o, const Podvm__CgroupFiles *f, struct err *e)
{
	int rc;

	json_out_obj(o, "blkio");
	rc = devices(o, f, true, e);
	if (!rc)
		rc = devices(o, f, false, e);
	json_out_end(o);
	return rc;
}

static int data(struct json_out *o, const Podvm__CgroupFiles *f, struct err *e)
{
	static const char *const empty[] = { "hugetlb", "intel_rdt" };
	size_t i;
	int rc = cpu(o, f, e);

	cpuset(o);
	if (!rc)
		rc = memory(o, f, e);
	if (!rc)
		rc = pids(o, f, e);
	if (!rc)
		rc = block_io(o, f, e);
	for (i = 0; i < ARRAY_LEN(empty); i++) {
		json_out_obj(o, empty[i]);
		json_out_end(o);
	}
	json_out_arr(o, "network_interfaces");
	json_out_end(o);
	return rc;
}

static struct json_out *event(const char *type, const char *id)
{
	struct json_out *o = json_out_new();

	if (o) {
		json_out_str(o, "type", type);
		json_out_str(o, "id", id);
	}
	return o;
}

/**
 * stats_event() - a container's statistics as a line of runc's events
 * @f:   what the guest's agent says of stats_files; hostile; one that is missing counts 0
 * @ret: JSON without a newline, malloc'd
 *
 * Return: 0; -EPROTO for what no kernel writes; -ENOMEM
 */
int stats_event(const char *id, const Podvm__CgroupFiles *f, char **ret, struct err *e)
{
	struct json_out *o = event("stats", id);
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_obj(o, "data");
	rc = data(o, f, e);
	json_out_end(o);
	if (!rc)
		rc = json_out_text(o, false, ret, e);
	json_out_free(o);
	return rc;
}

/**
 * oom_event() - a line of runc's events for a container that has run out of memory
 * @ret: JSON without a newline, malloc'd
 *
 * Return: 0 or -ENOMEM
 */
int oom_event(const char *id, char **ret, struct err *e)
{
	struct json_out *o = event("oom", id);
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	rc = json_out_text(o, false, ret, e);
	json_out_free(o);
	return rc;
}
