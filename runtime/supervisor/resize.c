// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a pod's machine has, and may get. It begins with the pod's memory and
 * processors; where the configuration allows more, the machine is made with room for
 * that (a region for virtio-mem, processors that are declared and sleep), which
 * costs next to nothing until it is used.
 *
 * One size of memory stands for two mechanisms: above what the machine began with it
 * is virtio-mem's, below it the balloon's. The guest follows when and as far as it
 * can; who wants to know asks until it has. Processors are a matter of the guest's
 * agent, and are there when it has answered.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "runtime/supervisor/supervisor.h"

/* Bringing a processor up takes tens of milliseconds on a slow machine. */
#define CPUS_MS 30000

#define RAM_MIN_BYTES (64ull << 20)
#define RAM_STEP_BYTES (2ull << 20)
#define GIB (1ull << 30)
#define PAGE_BYTES 4096ull

/*
 * Blocks that the guest gets online where they can be given back: mostly for what can
 * be moved away.
 */
#define GUEST_GROWS " memory_hotplug.online_policy=auto-movable"

/* What a pod of Kubernetes may grow to, at most, where the configuration does not say. */
#define AUTO_RAM_BYTES (512ull << 30)
#define AUTO_VCPUS 16

static uint64_t round_up(uint64_t v, uint64_t step)
{
	return (v + step - 1) / step * step;
}

static uint32_t at_most_max(uint64_t vcpus)
{
	return (uint32_t)(vcpus > VMM_VCPUS_MAX ? VMM_VCPUS_MAX : vcpus);
}

/**
 * machine_vcpus() - how many processors the machine that is to be made begins with
 * @spec: of the container that starts the pod
 */
uint32_t machine_vcpus(const struct pod *p, const struct spec *spec)
{
	return at_most_max(spec->vcpus ? spec->vcpus : p->config.vcpus);
}

static uint64_t memory_max(const struct pod *p, const struct spec *spec)
{
	bool reserved = p->config.pages == VMM_PAGES_2M || p->config.pages == VMM_PAGES_1G;
	struct sysinfo si;
	uint64_t all;

	if (p->config.ram_max_bytes != CONFIG_AUTO)
		return p->config.ram_max_bytes;
	if (spec->role == SPEC_ROLE_SINGLE || reserved || sysinfo(&si) < 0)
		return 0;
	all = (uint64_t)si.totalram * si.mem_unit;
	return all < AUTO_RAM_BYTES ? all : AUTO_RAM_BYTES;
}

static uint64_t vcpus_max(const struct pod *p, const struct spec *spec)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	if (p->config.vcpus_max != CONFIG_AUTO)
		return p->config.vcpus_max;
	if (spec->role == SPEC_ROLE_SINGLE || n < 1)
		return 0;
	return n < AUTO_VCPUS ? (uint64_t)n : AUTO_VCPUS;
}

/* What grow.c goes by. */
static void note_needs(struct pod *p, const struct spec *spec)
{
	p->overhead_bytes = spec->overhead_bytes;
	if (!spec->sized_memory && p->config.ram_bytes > spec->overhead_bytes)
		p->rest_bytes = p->config.ram_bytes - spec->overhead_bytes;
	if (!spec->sized_vcpus)
		p->rest_vcpus = at_most_max(p->config.vcpus);
}

/**
 * machine_size() - size of the machine that is to be made, in its configuration
 * @spec: of the container that starts the pod
 * @ret:  gets it
 * @args: gets what the guest kernel must know of it: arguments, a blank before each
 */
void machine_size(struct pod *p, const struct spec *spec, struct vmm_config *ret,
		  char args[MACHINE_ARGS_BYTES])
{
	uint64_t ram = spec->ram_bytes ? spec->ram_bytes : p->config.ram_bytes;
	uint32_t vcpus = machine_vcpus(p, spec);
	uint64_t step = p->config.pages == VMM_PAGES_1G ? GIB : RAM_STEP_BYTES;
	uint64_t max = memory_max(p, spec);
	char maxcpus[24] = "";

	ret->ram_bytes = round_up(ram < RAM_MIN_BYTES ? RAM_MIN_BYTES : ram, step);
	if (max > ret->ram_bytes)
		ret->hotplug_bytes = round_up(max - ret->ram_bytes, VMM_HOTPLUG_STEP_BYTES);
	ret->vcpus = at_most_max(vcpus_max(p, spec));
	if (ret->vcpus < vcpus)
		ret->vcpus = vcpus;
	ret->pages = (uint8_t)p->config.pages;
	ret->merge = p->config.merge;
	ret->prefault = p->config.prefault;
	if (vcpus < ret->vcpus)
		snprintf(maxcpus, sizeof(maxcpus), " maxcpus=%u", vcpus);
	snprintf(args, MACHINE_ARGS_BYTES, "%s%s", maxcpus,
		 ret->hotplug_bytes ? GUEST_GROWS : "");
	p->ram_bytes = p->memory_bytes = ret->ram_bytes;
	p->hotplug_bytes = ret->hotplug_bytes;
	p->vcpus = p->vcpus_now = vcpus;
	p->vcpus_max = ret->vcpus;
	note_needs(p, spec);
}

static int ask(struct pod *p, enum vmm_type type, uint64_t bytes, struct vmm_reply *rp,
	       struct err *e)
{
	struct vmm_request rq = { .type = type, .bytes = bytes };

	return vmm_call(&p->vmm, &rq, NULL, 0, VMM_ANSWER_MS, rp, e);
}

/**
 * machine_set_memory() - how much memory the guest shall have
 * @bytes: rounded up to what the machine can do
 *
 * Return: 0: it has been asked to; -ERANGE for what is not between 64 MiB and the
 * machine's most; minus errno
 */
int machine_set_memory(struct pod *p, uint64_t bytes, struct err *e)
{
	uint64_t max = p->ram_bytes + p->hotplug_bytes, more, less;
	struct vmm_reply rp;
	int rc;

	if (bytes < RAM_MIN_BYTES || bytes > max)
		return err_set(e, ERANGE,
			       "memory of %llu MiB: the pod can have 64 to %llu MiB (setting memory.max when it starts)",
			       (unsigned long long)bytes >> 20, (unsigned long long)max >> 20);
	rc = ask(p, VMM_MEMORY_STATE, 0, &rp, e);
	if (rc < 0)
		return rc;
	less = bytes < p->ram_bytes ? (p->ram_bytes - bytes) / PAGE_BYTES * PAGE_BYTES : 0;
	more = bytes > p->ram_bytes ? bytes - p->ram_bytes : 0;
	if (more)
		more = round_up(more, rp.memory.block_bytes ? rp.memory.block_bytes : 1);
	place_limit(p, p->ram_bytes + (more > rp.memory.plugged ? more : rp.memory.plugged));
	rc = ask(p, VMM_BALLOON, less, &rp, e);
	if (!rc && p->hotplug_bytes)
		rc = ask(p, VMM_MEMORY, more, &rp, e);
	if (!rc)
		p->memory_bytes = p->ram_bytes + more - less;
	return rc;
}

/**
 * machine_set_vcpus() - how many processors the guest shall use
 * @n:          0: only ask
 * @ret_online: that work now, by what the guest says
 *
 * Return: 0; -ERANGE for more than the machine has; minus errno
 */
int machine_set_vcpus(struct pod *p, uint32_t n, uint32_t *ret_online, struct err *e)
{
	Podvm__CpusOnline m = PODVM__CPUS_ONLINE__INIT;
	Podvm__Request rq = AGENT_REQUEST(cpus_online = &m, CPUS_ONLINE);
	Podvm__Response *rs;
	int rc;

	if (n > p->vcpus_max)
		return err_set(e, ERANGE,
			       "%u processors: the pod can have 1 to %u (setting vcpusMax when it starts)",
			       n, p->vcpus_max);
	m.count = n;
	rc = agent_call(&p->agent, &rq, CPUS_MS, &rs, e);
	if (rc < 0)
		return rc;
	if (n)
		p->vcpus_now = n;
	if (rs->body_case != PODVM__RESPONSE__BODY_CPUS)
		rc = err_set(e, EPROTO, "the guest's agent did not tell its processors");
	else if (rs->cpus->online > p->vcpus_max)
		rc = err_set(e, EPROTO, "the guest's agent tells of %u processors, and the machine has %u",
			     rs->cpus->online, p->vcpus_max);
	else
		*ret_online = rs->cpus->online;
	podvm__response__free_unpacked(rs, NULL);
	return rc;
}

static uint64_t stat_of(const struct vmm_memory *m, enum vmm_memory_stat which)
{
	return m->stats_mask >> which & 1 ? m->stat[which] : 0;
}

/**
 * machine_get_size() - what the machine has now
 *
 * Return: 0 or minus errno; @vcpus is left to machine_set_vcpus()
 */
int machine_get_size(struct pod *p, Podvm__Pod__Size *ret, struct err *e)
{
	struct vmm_reply rp;
	const struct vmm_memory *m = &rp.memory;
	int rc = ask(p, VMM_MEMORY_STATE, 0, &rp, e);

	if (rc < 0)
		return rc;
	ret->memory = p->memory_bytes;
	ret->memory_boot = p->ram_bytes;
	ret->memory_max = p->ram_bytes + p->hotplug_bytes;
	ret->plugged = m->plugged;
	ret->plug_target = m->requested;
	ret->balloon = m->balloon_actual;
	ret->balloon_target = m->balloon_bytes;
	ret->reported = m->reported;
	ret->guest_total = stat_of(m, VMM_STAT_TOTAL);
	ret->guest_free = stat_of(m, VMM_STAT_FREE);
	ret->guest_available = stat_of(m, VMM_STAT_AVAILABLE);
	ret->vcpus_max = p->vcpus_max;
	return 0;
}
