// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * How large the pod's virtual machine should be. The pod's own word comes
 * first, as engines put it into annotations of the sandbox: containerd as
 * numbers, CRI-O as JSON of the CRI message LinuxContainerResources. Without
 * one, the limits of the container itself count. 0 means that nobody said
 * anything, and the default of the configuration holds.
 *
 * Memory is the workload's plus an overhead for the guest's kernel and agent: SPEC_OVERHEAD,
 * or a part of the pod's own (RuntimeClass overhead, which CRI-O tells; containerd does
 * not). kubelet limits a pod's memory on the host to workload and overhead, and in there is
 * not only the guest, whose page cache fills all that it has, but also what its machine
 * costs the host. That much of the overhead is left to the host; a pod whose guest had
 * all of it would be killed as soon as it had used its memory.
 * Processors are the quota rounded up; a pod without quota gets at least as
 * many as it requests by shares.
 *
 * Sources: containerd internal/cri/annotations; CRI-O ANNOTATION_MIGRATION.md;
 * Kubernetes CRI api.proto, message LinuxContainerResources.
 */
#include <errno.h>
#include <string.h>

#include "lib/mem.h"
#include "runtime/spec_impl.h"

#define SPEC_OVERHEAD_BYTES (96ull << 20)

/* No guest works with less, whatever its pod says. */
#define SPEC_OVERHEAD_MIN_BYTES (32ull << 20)

/*
 * Monitor, supervisor and relay have 3 MiB of their own, each shim half a MiB; the kernel's
 * tables for the machine take two 512ths of its memory, and vhost and sockets some more.
 */
#define SPEC_HOST_BYTES (16ull << 20)
#define SPEC_HOST_SHARE 64

/* A "limit" above this is an engine's way to say that there is none. */
#define SPEC_RAM_MAX_BYTES (1ull << 46)

#define SPEC_PERIOD_US 100000

/* CPU shares of one processor, by Kubernetes' convention. */
#define SHARES_PER_CPU 1024

struct size {
	uint64_t memory_bytes;
	uint64_t overhead_bytes;
	uint64_t quota_us;
	uint64_t period_us;
	uint64_t shares;
};

/**
 * spec_annotation() - value of an annotation; NULL when it is not there
 */
const char *spec_annotation(const struct spec *s, const char *key)
{
	size_t i;

	for (i = 0; i < s->n_annotations; i++)
		if (!strcmp(s->annotations[i]->key, key))
			return s->annotations[i]->value;
	return NULL;
}

/* A number in an annotation; a negative one means "no limit" and gives 0. */
static int number(const struct spec *s, const char *key, uint64_t *ret,
		  struct err *e)
{
	const char *text = spec_annotation(s, key);
	uint64_t v;

	if (!text || !*text)
		return 0;
	if (parse_u64(text + (text[0] == '-'), &v) < 0)
		return err_set(e, EINVAL, "/annotations/%s: must be a number, not %s",
			       key, SPEC_Q(text));
	*ret = text[0] == '-' ? 0 : v;
	return 1;
}

static int containerd(const struct spec *s, struct size *z, struct err *e)
{
	static const char stem[] = "io.kubernetes.cri.sandbox-";
	const struct {
		const char *key;
		uint64_t *ret;
	} t[] = {
		{ "memory", &z->memory_bytes },
		{ "cpu-quota", &z->quota_us },
		{ "cpu-period", &z->period_us },
		{ "cpu-shares", &z->shares },
	};
	char key[64];
	size_t i;

	for (i = 0; i < ARRAY_LEN(t); i++) {
		snprintf(key, sizeof(key), "%s%s", stem, t[i].key);
		if (number(s, key, t[i].ret, e) < 0)
			return -EINVAL;
	}
	return 0;
}

static int positive(const struct jnode *n, const char *key, uint64_t *ret,
		    struct err *e)
{
	int64_t v;
	int rc = json_i64(n, key, &v, e);

	if (rc > 0)
		*ret = v > 0 ? (uint64_t)v : 0;
	return rc < 0 ? rc : 0;
}

/* One LinuxContainerResources; @key is the annotation that held it. */
static int resources(const char *text, struct size *z, struct err *e)
{
	struct json_doc *doc;
	struct jnode n;
	int rc = json_parse(text, strlen(text), &doc, e);

	if (rc < 0)
		return rc;
	n = json_root(doc);
	rc = json_as_obj(&n, e);
	if (!rc)
		rc = positive(&n, "memory_limit_in_bytes", &z->memory_bytes, e);
	if (!rc)
		rc = positive(&n, "cpu_quota", &z->quota_us, e);
	if (!rc)
		rc = positive(&n, "cpu_period", &z->period_us, e);
	if (!rc)
		rc = positive(&n, "cpu_shares", &z->shares, e);
	json_free(doc);
	return rc;
}

static int crio_one(const struct spec *s, const char *key, const char *old_key,
		    struct size *z, struct err *e)
{
	const char *text = spec_annotation(s, key);
	int rc;

	if (!text) {
		key = old_key;
		text = spec_annotation(s, key);
	}
	/* "null": CRI-O was told nothing by whoever made the pod. */
	if (!text || !*text || !strcmp(text, "null"))
		return 0;
	rc = resources(text, z, e);
	if (rc < 0)
		err_wrap(e, "/annotations/%s", key);
	return rc;
}

static int crio(const struct spec *s, struct size *z, struct err *e)
{
	struct size overhead = { 0 };
	int rc = crio_one(s, "pod-linux-resources.crio.io",
			  "io.kubernetes.cri-o.PodLinuxResources", z, e);

	if (!rc)
		rc = crio_one(s, "pod-linux-overhead.crio.io",
			      "io.kubernetes.cri-o.PodLinuxOverhead", &overhead, e);
	z->overhead_bytes = overhead.memory_bytes;
	return rc;
}

static uint32_t processors(const struct size *z)
{
	uint64_t period = z->period_us ? z->period_us : SPEC_PERIOD_US;
	uint64_t n = 0;

	if (z->quota_us)
		n = (z->quota_us - 1) / period + 1;
	else if (z->shares > SHARES_PER_CPU)
		n = (z->shares - 1) / SHARES_PER_CPU + 1;
	return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* What is for the guest itself. */
static uint64_t guest_overhead(const struct size *z)
{
	uint64_t host = SPEC_HOST_BYTES + (z->memory_bytes + z->overhead_bytes) / SPEC_HOST_SHARE;

	if (!z->overhead_bytes || z->overhead_bytes > SPEC_RAM_MAX_BYTES)
		return SPEC_OVERHEAD_BYTES;
	return z->overhead_bytes > host + SPEC_OVERHEAD_MIN_BYTES ? z->overhead_bytes - host
								   : SPEC_OVERHEAD_MIN_BYTES;
}

/**
 * spec_size() - set what @s says about the size of the VM
 * @l: limits of the container itself
 *
 * The caller caps both by what the host has.
 *
 * Return: 0; -EINVAL naming the annotation
 */
int spec_size(struct spec *s, const struct spec_limits *l, struct err *e)
{
	struct size z = { 0 };
	int rc = containerd(s, &z, e);

	if (!rc)
		rc = crio(s, &z, e);
	if (rc < 0)
		return rc;
	s->limits = *l;
	s->sized_memory = z.memory_bytes != 0;
	s->sized_vcpus = z.quota_us || z.shares;
	if (!z.memory_bytes)
		z.memory_bytes = l->memory_bytes;
	if (!z.quota_us && !z.shares) {
		z.quota_us = l->quota_us;
		z.period_us = l->period_us;
	}
	s->overhead_bytes = guest_overhead(&z);
	if (z.memory_bytes && z.memory_bytes <= SPEC_RAM_MAX_BYTES)
		s->ram_bytes = z.memory_bytes + s->overhead_bytes;
	s->vcpus = processors(&z);
	s->cpu_shares = z.shares ? z.shares : s->role == SPEC_ROLE_SINGLE ? l->shares : 0;
	return 0;
}
