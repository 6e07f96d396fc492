// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * linux.resources, which speaks cgroup v1, becomes files of the container's
 * cgroup in the guest, which is v2, and rules for its device controller. 0 means
 * "not set" and a negative number "no limit", as engines use them. What v2 does
 * not have, or what would need the host's devices, is refused by name. The map
 * "unified" is v2 already and comes last, so that it overrides.
 *
 * Huge pages: the guest's kernel reserves none, so the limit 0, which kubelet
 * always sends, holds by itself; another one cannot be given.
 *
 * Processors and memory nodes (cpus, mems) are the host's, as engines and kubelet's CPU
 * manager number them; the guest has none of these numbers. The machine runs on what its
 * containers may use together (supervisor/grow.c).
 *
 * Sources: OCI runtime-spec 1.2, config-linux.md "Control groups"; Kubernetes
 * KEP-2254 (conversions of cpu.shares and blkio.weight); Linux
 * Documentation/admin-guide/cgroup-v2.rst.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/cpus.h"
#include "lib/mem.h"
#include "runtime/spec_impl.h"

#define PERIOD_DEFAULT_US 100000

/* BPF_DEVCG_ACC_* of linux/bpf.h, as the agent's message has them. */
#define ACCESS_MKNOD 1
#define ACCESS_READ 2
#define ACCESS_WRITE 4
#define ACCESS_ALL (ACCESS_MKNOD | ACCESS_READ | ACCESS_WRITE)

static int put(Podvm__ContainerCreate *c, const char *file, struct err *e,
	       const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static int put(Podvm__ContainerCreate *c, const char *file, struct err *e,
	       const char *fmt, ...)
{
	char value[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	return spec_kv(&c->cgroup, &c->n_cgroup, file, value, e);
}

/* A member that must not be above zero. */
static int refuse_number(const struct jnode *n, const char *key,
			 const char *why, struct err *e)
{
	int64_t v = 0;
	int rc = json_i64(n, key, &v, e);

	if (rc < 0)
		return rc;
	if (v > 0)
		return json_fail(n, key, e, "not supported: %s", why);
	return 0;
}

static int memory_flags(const struct jnode *m, struct err *e)
{
	bool no_kill = false, hierarchy = true, check;
	int rc = refuse_number(m, "kernel", "cgroup v2 has no separate limit for "
			       "kernel memory; leave it out", e);

	if (!rc)
		rc = refuse_number(m, "kernelTCP", "cgroup v2 has no separate limit "
				   "for TCP memory; leave it out", e);
	if (rc < 0)
		return rc;
	if (json_has(m, "swappiness"))
		return json_fail(m, "swappiness", e, "not supported: cgroup v2 has "
				 "no such setting; leave it out");
	if (json_flag(m, "disableOOMKiller", &no_kill, e) < 0 ||
	    json_flag(m, "useHierarchy", &hierarchy, e) < 0 ||
	    json_flag(m, "checkBeforeUpdate", &check, e) < 0)
		return -EINVAL;
	if (no_kill)
		return json_fail(m, "disableOOMKiller", e, "not supported: cgroup "
				 "v2 cannot switch the OOM killer off; leave it out");
	if (!hierarchy)
		return json_fail(m, "useHierarchy", e, "not supported: cgroup v2 is "
				 "always hierarchical; leave it out");
	return 0;
}

/* swap counts memory and swap together in v1, swap alone in v2. */
static int swap(Podvm__ContainerCreate *c, const struct jnode *m,
		int64_t limit, int64_t both, struct err *e)
{
	if (!both)
		return 0;
	if (both < 0)
		return put(c, "memory.swap.max", e, "max");
	if (limit <= 0)
		return json_fail(m, "swap", e, "needs a memory limit");
	if (both < limit)
		return json_fail(m, "swap", e, "must not be below the limit: it is "
				 "memory and swap together");
	return put(c, "memory.swap.max", e, "%" PRId64, both - limit);
}

static int memory(Podvm__ContainerCreate *c, const struct jnode *n,
		  struct spec_limits *l, struct err *e)
{
	int64_t limit = 0, both = 0, low = 0;
	struct jnode m;
	int rc = json_obj(n, "memory", &m, e);

	if (rc <= 0)
		return rc;
	rc = memory_flags(&m, e);
	if (rc < 0)
		return rc;
	if (json_i64(&m, "limit", &limit, e) < 0 ||
	    json_i64(&m, "swap", &both, e) < 0 ||
	    json_i64(&m, "reservation", &low, e) < 0)
		return -EINVAL;
	if (limit > 0) {
		l->memory_bytes = (uint64_t)limit;
		rc = put(c, "memory.max", e, "%" PRId64, limit);
	} else if (limit < 0) {
		rc = put(c, "memory.max", e, "max");
	}
	if (!rc && low > 0)
		rc = put(c, "memory.low", e, "%" PRId64, low);
	return rc ? rc : swap(c, &m, limit, both, e);
}

static int cpu_max(Podvm__ContainerCreate *c, const struct jnode *cpu,
		   struct spec_limits *l, struct err *e)
{
	uint64_t period = 0, burst = 0;
	int64_t quota = 0;
	int rc = 0;

	if (json_i64(cpu, "quota", &quota, e) < 0 ||
	    json_u64(cpu, "period", &period, e) < 0 ||
	    json_u64(cpu, "burst", &burst, e) < 0)
		return -EINVAL;
	if (period && (period < 1000 || period > 1000000))
		return json_fail(cpu, "period", e, "must be 1000 to 1000000 "
				 "microseconds");
	if (quota > 0 && quota < 1000)
		return json_fail(cpu, "quota", e, "must be at least 1000 "
				 "microseconds");
	if (quota <= 0 && burst)
		return json_fail(cpu, "burst", e, "needs a quota");
	if (quota <= 0 && !period && !quota)
		return 0;
	if (!period)
		period = PERIOD_DEFAULT_US;
	if (quota <= 0)
		return put(c, "cpu.max", e, "max %" PRIu64, period);
	l->quota_us = (uint64_t)quota;
	l->period_us = period;
	rc = put(c, "cpu.max", e, "%" PRId64 " %" PRIu64, quota, period);
	if (!rc && burst)
		rc = put(c, "cpu.max.burst", e, "%" PRIu64, burst);
	return rc;
}

/* Of the host, so that the guest is not told. */
static int set_of(const struct jnode *n, const char *key, const char *list, cpu_set_t *ret,
		  struct err *e)
{
	if (*list && cpus_parse(list, ret) < 0)
		return json_fail(n, key, e, "%s: must be a list such as 0-3,8, below %d",
				 SPEC_Q(list), CPU_SETSIZE);
	return 0;
}

static int cpuset(const struct jnode *cpu, const char *key, cpu_set_t *ret, struct err *e)
{
	const char *list;
	int rc = json_str(cpu, key, &list, e);

	return rc <= 0 ? rc : set_of(cpu, key, list, ret, e);
}

static int cpu(Podvm__ContainerCreate *c, const struct jnode *n,
	       struct spec_limits *l, struct err *e)
{
	static const char realtime[] = "the guest's kernel has no real-time groups; "
				       "leave it out";
	uint64_t shares = 0;
	int64_t idle = 0;
	struct jnode m;
	int rc = json_obj(n, "cpu", &m, e);

	if (rc <= 0)
		return rc;
	rc = refuse_number(&m, "realtimeRuntime", realtime, e);
	if (!rc)
		rc = refuse_number(&m, "realtimePeriod", realtime, e);
	if (!rc && (json_u64(&m, "shares", &shares, e) < 0 ||
		    json_i64(&m, "idle", &idle, e) < 0))
		return -EINVAL;
	if (rc < 0)
		return rc;
	if (idle < 0 || idle > 1)
		return json_fail(&m, "idle", e, "must be 0 or 1");
	l->shares = shares;
	if (shares) {
		/* The kernel's bounds for cpu.shares. */
		shares = shares < 2 ? 2 : shares > 262144 ? 262144 : shares;
		rc = put(c, "cpu.weight", e, "%" PRIu64,
			 1 + (shares - 2) * 9999 / 262142);
	}
	if (!rc && idle)
		rc = put(c, "cpu.idle", e, "1");
	if (!rc)
		rc = cpu_max(c, &m, l, e);
	if (!rc)
		rc = cpuset(&m, "cpus", &l->cpus, e);
	return rc ? rc : cpuset(&m, "mems", &l->mems, e);
}

static int pids(Podvm__ContainerCreate *c, const struct jnode *n,
		struct err *e)
{
	int64_t limit = 0;
	struct jnode p;
	int rc = json_obj(n, "pids", &p, e);

	if (rc <= 0)
		return rc;
	if (json_i64(&p, "limit", &limit, e) < 0)
		return -EINVAL;
	if (!limit)
		return 0;
	return limit > 0 ? put(c, "pids.max", e, "%" PRId64, limit)
			 : put(c, "pids.max", e, "max");
}

static int block_io(Podvm__ContainerCreate *c, const struct jnode *n,
		    struct err *e)
{
	static const char why[] = "the host's disks are not in the pod's virtual "
				  "machine; leave it out";
	static const struct spec_refusal by_device[] = {
		{ "weightDevice", why },
		{ "throttleReadBpsDevice", why },
		{ "throttleWriteBpsDevice", why },
		{ "throttleReadIOPSDevice", why },
		{ "throttleWriteIOPSDevice", why },
	};
	uint64_t weight = 0;
	struct jnode b;
	int rc = json_obj(n, "blockIO", &b, e);

	if (rc <= 0)
		return rc;
	rc = spec_refuse(&b, by_device, ARRAY_LEN(by_device), e);
	if (!rc)
		rc = refuse_number(&b, "leafWeight", "cgroup v2 has no weight for "
				   "leaves; leave it out", e);
	if (!rc && json_u64(&b, "weight", &weight, e) < 0)
		return -EINVAL;
	if (rc < 0 || !weight)
		return rc;
	if (weight < 10 || weight > 1000)
		return json_fail(&b, "weight", e, "must be 10 to 1000");
	return put(c, "io.weight", e, "%" PRIu64,
		   1 + (weight - 10) * 9999 / 990);
}

static int hugepages(const struct jnode *n, struct err *e)
{
	struct jnode arr, el;
	uint64_t limit;
	size_t i;
	int rc = json_arr(n, "hugepageLimits", &arr, e);

	if (rc <= 0)
		return rc;
	for (i = 0; i < json_len(&arr); i++) {
		el = json_at(&arr, i);
		limit = 0;
		rc = json_as_obj(&el, e);
		if (!rc)
			rc = json_u64(&el, "limit", &limit, e);
		if (rc < 0)
			return rc;
		if (limit)
			return json_fail(&el, "limit", e, "not supported: the pod's "
					 "virtual machine reserves no huge pages; leave it out");
	}
	return 0;
}

static int network(const struct jnode *n, struct err *e)
{
	static const struct spec_refusal priorities[] = {
		{ "priorities", "cgroup v2 has no network priorities; leave it out" },
	};
	struct jnode net;
	int rc = json_obj(n, "network", &net, e);

	if (rc <= 0)
		return rc;
	rc = refuse_number(&net, "classID", "cgroup v2 has no network classes; "
			   "leave it out", e);
	return rc ? rc : spec_refuse(&net, priorities, 1, e);
}

static int unified_one(Podvm__ContainerCreate *c, const struct jnode *n, const char *value,
		       struct spec_limits *l, struct err *e)
{
	if (!strcmp(n->key, "cpuset.cpus"))
		return set_of(n, NULL, value, &l->cpus, e);
	if (!strcmp(n->key, "cpuset.mems"))
		return set_of(n, NULL, value, &l->mems, e);
	if (str_starts(n->key, "cpuset."))
		return json_fail(n, NULL, e, "not supported: the host's processors are the whole "
				 "pod's; leave it out");
	if (str_starts(n->key, "cgroup."))
		return json_fail(n, NULL, e, "not supported: the pod's agent owns this file; leave "
				 "it out");
	return spec_kv(&c->cgroup, &c->n_cgroup, n->key, value, e);
}

static int unified(Podvm__ContainerCreate *c, const struct jnode *n, struct spec_limits *l,
		   struct err *e)
{
	struct jnode map, el;
	const char *value;
	size_t i;
	int rc = json_obj(n, "unified", &map, e);

	if (rc <= 0)
		return rc;
	if (json_len(&map) > 256)
		return json_fail(n, "unified", e, "more than 256");
	for (i = 0; !json_member(&map, i, &el); i++) {
		size_t len = strspn(el.key, "abcdefghijklmnopqrstuvwxyz"
					    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					    "0123456789_.");

		rc = json_as_str(&el, &value, e);
		if (rc < 0)
			return rc;
		if (el.key[len] || !strchr(el.key, '.') || el.key[0] == '.')
			return json_fail(&el, NULL, e, "not the name of a cgroup v2 "
					 "file");
		rc = unified_one(c, &el, value, l, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int rule_access(const struct jnode *n, uint32_t *ret, struct err *e)
{
	const char *text;
	uint32_t access = 0;
	int rc = json_str(n, "access", &text, e);

	if (rc < 0)
		return rc;
	if (!rc || !*text)
		text = "rwm";
	for (; *text; text++) {
		switch (*text) {
		case 'm':
			access |= ACCESS_MKNOD;
			break;
		case 'r':
			access |= ACCESS_READ;
			break;
		case 'w':
			access |= ACCESS_WRITE;
			break;
		default:
			return json_fail(n, "access", e, "must be of r, w, m");
		}
	}
	*ret = access;
	return 0;
}

static int rule(const struct jnode *n, Podvm__DeviceRule *r, struct err *e)
{
	const char *type = "a";
	bool allow = false;
	int rc = json_as_obj(n, e);

	if (rc < 0)
		return rc;
	r->major = r->minor = -1;
	if (json_flag(n, "allow", &allow, e) < 0 ||
	    json_str(n, "type", &type, e) < 0 ||
	    json_i64(n, "major", &r->major, e) < 0 ||
	    json_i64(n, "minor", &r->minor, e) < 0)
		return -EINVAL;
	if (!*type)
		type = "a";
	if (strlen(type) != 1 || !strchr("abc", type[0]))
		return json_fail(n, "type", e, "must be a, b or c, not %s",
				 SPEC_Q(type));
	if (r->major < -1 || r->major > UINT32_MAX)
		return json_fail(n, "major", e, "not a device number");
	if (r->minor < -1 || r->minor > UINT32_MAX)
		return json_fail(n, "minor", e, "not a device number");
	r->allow = allow;
	r->type = (uint32_t)type[0];
	return rule_access(n, &r->access, e);
}

static int push_rule(Podvm__ContainerCreate *c, Podvm__DeviceRule **ret,
		     struct err *e)
{
	Podvm__DeviceRule *r = mem_new(Podvm__DeviceRule);
	int rc;

	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	podvm__device_rule__init(r);
	rc = spec_push(&c->device_rules, &c->n_device_rules, r, e);
	if (rc < 0)
		free(r);
	else
		*ret = r;
	return rc;
}

static int rules(Podvm__ContainerCreate *c, const struct jnode *n,
		 struct err *e)
{
	struct jnode arr, el;
	Podvm__DeviceRule *r;
	size_t i;
	int rc = json_arr(n, "devices", &arr, e);

	if (rc <= 0)
		return rc;
	for (i = 0; i < json_len(&arr); i++) {
		rc = push_rule(c, &r, e);
		if (rc < 0)
			return rc;
		el = json_at(&arr, i);
		rc = rule(&el, r, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/*
 * What every container may use, whatever its rules say (config-linux.md,
 * "Default Devices"): the nodes that the agent makes in /dev, its terminals,
 * and mknod of anything, which gives no access.
 */
static const struct {
	uint32_t type;
	int64_t major, minor;
	uint32_t access;
} default_rules[] = {
	{ 'c', -1, -1, ACCESS_MKNOD },
	{ 'b', -1, -1, ACCESS_MKNOD },
	{ 'c', 1, 3, ACCESS_ALL },	/* null */
	{ 'c', 1, 5, ACCESS_ALL },	/* zero */
	{ 'c', 1, 7, ACCESS_ALL },	/* full */
	{ 'c', 1, 8, ACCESS_ALL },	/* random */
	{ 'c', 1, 9, ACCESS_ALL },	/* urandom */
	{ 'c', 5, 0, ACCESS_ALL },	/* tty */
	{ 'c', 5, 1, ACCESS_ALL },	/* console */
	{ 'c', 5, 2, ACCESS_ALL },	/* ptmx */
	{ 'c', 136, -1, ACCESS_ALL },	/* pts */
};

static int deny_all(Podvm__ContainerCreate *c, struct err *e)
{
	Podvm__DeviceRule *r;
	int rc = push_rule(c, &r, e);

	if (rc < 0)
		return rc;
	r->type = 'a';
	r->major = r->minor = -1;
	r->access = ACCESS_ALL;
	return 0;
}

static int allow_defaults(Podvm__ContainerCreate *c, struct err *e)
{
	Podvm__DeviceRule *r;
	size_t i;

	for (i = 0; i < ARRAY_LEN(default_rules); i++) {
		int rc = push_rule(c, &r, e);

		if (rc < 0)
			return rc;
		r->allow = true;
		r->type = default_rules[i].type;
		r->major = default_rules[i].major;
		r->minor = default_rules[i].minor;
		r->access = default_rules[i].access;
	}
	return 0;
}

static int limits(Podvm__ContainerCreate *c, const struct jnode *n,
		  struct spec_limits *l, struct err *e)
{
	static const struct spec_refusal others[] = {
		{ "rdma", "the host's RDMA devices are not in the pod's virtual "
		  "machine; leave it out" },
	};
	struct jnode r;
	int rc = json_obj(n, "resources", &r, e);

	if (rc <= 0)
		return rc;
	rc = spec_refuse(&r, others, ARRAY_LEN(others), e);
	if (!rc)
		rc = memory(c, &r, l, e);
	if (!rc)
		rc = cpu(c, &r, l, e);
	if (!rc)
		rc = pids(c, &r, e);
	if (!rc)
		rc = block_io(c, &r, e);
	if (!rc)
		rc = hugepages(&r, e);
	if (!rc)
		rc = network(&r, e);
	if (!rc)
		rc = rules(c, &r, e);
	return rc ? rc : unified(c, &r, l, e);
}

/**
 * spec_resources() - translate linux.resources
 * @n: the linux section
 * @l: gets the limits that size a VM
 *
 * The device rules begin with "deny all" and end with the default devices, so
 * that a container without rules has those and no other.
 *
 * Return: 0; -EINVAL with the JSON path; -ENOMEM
 * Source: OCI runtime-spec, config-linux.md "Control groups", "Default Devices"
 */
int spec_resources(Podvm__ContainerCreate *c, const struct jnode *n,
		   struct spec_limits *l, struct err *e)
{
	int rc = deny_all(c, e);

	if (!rc)
		rc = limits(c, n, l, e);
	return rc ? rc : allow_defaults(c, e);
}
