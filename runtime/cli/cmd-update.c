// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * update: the options become an object like linux.resources, or --resources has one; the
 * supervisor, which knows what limits the container has, does the rest. Options that other
 * runtimes have and we do not are in the table all the same, and are refused by their
 * names, here or by the place that converts limits (runtime/spec_resources.c).
 *
 * Source: runc-update(8).
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/cli/cli.h"

/* What fits into a request to the supervisor. */
#define RESOURCES_BYTES 60000

enum kind { COUNT, SIGNED, BYTES, TEXT };

enum option {
	BLKIO_WEIGHT, CPU_PERIOD, CPU_QUOTA, CPU_BURST, CPU_SHARE, CPU_IDLE, CPU_RT_PERIOD,
	CPU_RT_RUNTIME, CPUSET_CPUS, CPUSET_MEMS, MEMORY, MEMORY_RESERVATION, MEMORY_SWAP,
	KERNEL_MEMORY, KERNEL_MEMORY_TCP, PIDS_LIMIT, OPTIONS
};

/* By enum option, the members of a section one behind the other. */
static const struct {
	const char *name, *section, *member;
	enum kind kind;
} known[OPTIONS] = {
	[BLKIO_WEIGHT] = { "blkio-weight", "blockIO", "weight", COUNT },
	[CPU_PERIOD] = { "cpu-period", "cpu", "period", COUNT },
	[CPU_QUOTA] = { "cpu-quota", "cpu", "quota", SIGNED },
	[CPU_BURST] = { "cpu-burst", "cpu", "burst", COUNT },
	[CPU_SHARE] = { "cpu-share", "cpu", "shares", COUNT },
	[CPU_IDLE] = { "cpu-idle", "cpu", "idle", COUNT },
	[CPU_RT_PERIOD] = { "cpu-rt-period", "cpu", "realtimePeriod", COUNT },
	[CPU_RT_RUNTIME] = { "cpu-rt-runtime", "cpu", "realtimeRuntime", SIGNED },
	[CPUSET_CPUS] = { "cpuset-cpus", "cpu", "cpus", TEXT },
	[CPUSET_MEMS] = { "cpuset-mems", "cpu", "mems", TEXT },
	[MEMORY] = { "memory", "memory", "limit", BYTES },
	[MEMORY_RESERVATION] = { "memory-reservation", "memory", "reservation", BYTES },
	[MEMORY_SWAP] = { "memory-swap", "memory", "swap", BYTES },
	[KERNEL_MEMORY] = { "kernel-memory", "memory", "kernel", BYTES },
	[KERNEL_MEMORY_TCP] = { "kernel-memory-tcp", "memory", "kernelTCP", BYTES },
	[PIDS_LIMIT] = { "pids-limit", "pids", "limit", SIGNED },
};

struct update_args {
	const char *resources, *l3, *bandwidth;
	const char *value[OPTIONS];
};

/* 512, 512K, 512KB, 512KiB, as engines' people write it. */
static int bytes(const char *text, uint64_t *ret)
{
	char copy[32];
	size_t len = strlen(text);

	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, len + 1);
	if (len > 1 && toupper((unsigned char)copy[len - 1]) == 'B') {
		copy[--len] = 0;
		if (len > 1 && copy[len - 1] == 'i' && !isdigit((unsigned char)copy[len - 2]))
			copy[--len] = 0;
	}
	return parse_size(copy, ret);
}

static int add(struct json_out *o, enum option which, const char *text, struct err *e)
{
	const char *member = known[which].member;
	enum kind kind = known[which].kind;
	bool minus = kind != COUNT && text[0] == '-';
	uint64_t v = 0;
	int rc;

	if (kind == TEXT) {
		json_out_str(o, member, text);
		return 0;
	}
	rc = kind == BYTES && !minus ? bytes(text, &v) : parse_u64(text + minus, &v);
	/* The only number with a sign is the one that stands for no limit. */
	if (rc < 0 || v > INT64_MAX || (minus && v != 1))
		return err_set(e, EINVAL, "--%s: %s is not %s", known[which].name, text,
			       kind == BYTES ? "a size such as 512M, or -1 for no limit"
			       : kind == SIGNED ? "a number, or -1 for no limit" : "a number");
	json_out_i64(o, member, minus ? -(int64_t)v : (int64_t)v);
	return 0;
}

/* The options as JSON; *@ret stays NULL when there are none. */
static int from_options(const struct update_args *a, char **ret, struct err *e)
{
	struct json_out *o = json_out_new();
	const char *section = NULL;
	enum option i;
	int rc = 0;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < OPTIONS && !rc; i++) {
		if (!a->value[i])
			continue;
		if (!section || strcmp(section, known[i].section)) {
			if (section)
				json_out_end(o);
			section = known[i].section;
			json_out_obj(o, section);
		}
		rc = add(o, i, a->value[i], e);
	}
	if (!rc && section)
		rc = json_out_text(o, false, ret, e);
	json_out_free(o);
	return rc;
}

/* The whole of a file, or of standard input. */
static int read_text(const char *path, char **ret, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct strbuf b = { 0 };
	char buf[4096];
	ssize_t n = 0;
	int rc;

	if (strcmp(path, "-")) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return err_sys(e, "--resources %s", path);
	}
	while (b.len <= RESOURCES_BYTES && (n = read(fd < 0 ? 0 : fd, buf, sizeof(buf))) > 0)
		strbuf_add_bytes(&b, buf, (size_t)n);
	if (n >= 0 && b.len && b.len <= RESOURCES_BYTES && !b.failed &&
	    !memchr(b.text, 0, b.len)) {
		*ret = b.text;
		return 0;
	}
	rc = n < 0	? err_sys(e, "--resources %s", path)
	     : b.failed ? err_set(e, ENOMEM, "out of memory")
	     : b.len > RESOURCES_BYTES
		     ? err_set(e, E2BIG, "--resources: longer than %d bytes", RESOURCES_BYTES)
		     : err_set(e, EINVAL, "--resources: empty, or not JSON");
	strbuf_done(&b);
	return rc;
}

static int get_resources(const struct update_args *a, char **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int rc;

	if (a->l3 || a->bandwidth)
		return err_set(e, ENOTSUP,
			       "--%s: not supported: cache and bandwidth classes are the host's; leave it out",
			       a->l3 ? "l3-cache-schema" : "mem-bw-schema");
	rc = from_options(a, &text, e);
	if (rc < 0)
		return rc;
	if (text && a->resources)
		return err_set(e, EINVAL, "--resources and other limits exclude each other");
	if (a->resources)
		return read_text(a->resources, ret, e);
	if (!text)
		return err_set(e, EINVAL, "update needs a limit, or --resources; see podvm update --help");
	*ret = mem_steal(text);
	return 0;
}

static int send_update(struct cli *c, const char *id, char *resources, struct err *e)
{
	Podvm__Pod__Update m = PODVM__POD__UPDATE__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(update = &m, UPDATE);
	_cleanup_close_ int sock = -1;
	struct state *s;
	int rc = cli_connect(c, id, &s, &sock, e);

	if (rc < 0)
		return rc;
	m.id = s->id;
	m.resources = resources;
	rc = pod_call(sock, &rq, NULL, 0, NULL, e);
	state_free(s);
	return rc;
}

/**
 * cmd_update() - podvm update
 */
int cmd_update(struct cli *c, int argc, char **argv, struct err *e)
{
	struct update_args a = { 0 };
	const struct opt t[] = {
		OPT_STR('r', "resources", &a.resources, "FILE",
			"object like linux.resources; -: standard input"),
		OPT_STR(0, "blkio-weight", &a.value[BLKIO_WEIGHT], "N", "weight of block I/O, 10 to 1000"),
		OPT_STR(0, "cpu-period", &a.value[CPU_PERIOD], "US", "period of the quota; 0: 100000"),
		OPT_STR(0, "cpu-quota", &a.value[CPU_QUOTA], "US", "CPU time in each period; -1: all"),
		OPT_STR(0, "cpu-burst", &a.value[CPU_BURST], "US", "CPU time saved up beside the quota"),
		OPT_STR(0, "cpu-share", &a.value[CPU_SHARE], "N", "weight among the pod's containers"),
		OPT_STR(0, "cpu-idle", &a.value[CPU_IDLE], "0|1", "1: only when nobody else has work"),
		OPT_STR(0, "cpu-rt-period", &a.value[CPU_RT_PERIOD], "US", "refused: no real-time groups"),
		OPT_STR(0, "cpu-rt-runtime", &a.value[CPU_RT_RUNTIME], "US", "refused: no real-time groups"),
		OPT_STR(0, "cpuset-cpus", &a.value[CPUSET_CPUS], "LIST", "processors of the host that the machine runs on, as 0-3,8"),
		OPT_STR(0, "cpuset-mems", &a.value[CPUSET_MEMS], "LIST", "memory nodes of the host, in the same way"),
		OPT_STR(0, "memory", &a.value[MEMORY], "SIZE", "memory; -1: no limit"),
		OPT_STR(0, "memory-reservation", &a.value[MEMORY_RESERVATION], "SIZE",
			"memory that stays when others need some"),
		OPT_STR(0, "memory-swap", &a.value[MEMORY_SWAP], "SIZE", "memory and swap together; -1: no limit"),
		OPT_STR(0, "kernel-memory", &a.value[KERNEL_MEMORY], "SIZE", "refused: not in cgroup v2"),
		OPT_STR(0, "kernel-memory-tcp", &a.value[KERNEL_MEMORY_TCP], "SIZE",
			"refused: not in cgroup v2"),
		OPT_STR(0, "pids-limit", &a.value[PIDS_LIMIT], "N", "processes and threads; -1: no limit"),
		OPT_STR(0, "l3-cache-schema", &a.l3, "SCHEMA", "refused: the host's"),
		OPT_STR(0, "mem-bw-schema", &a.bandwidth, "SCHEMA", "refused: the host's"),
		OPT_END
	};
	_cleanup_free_ char *resources = NULL;
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);

	if (rc <= 0)
		return rc;
	rc = get_resources(&a, &resources, e);
	return rc < 0 ? rc : send_update(c, argv[first], resources, e);
}
