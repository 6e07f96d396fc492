// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Guest memory while the machine runs, by the supervisor's wish: smaller by the
 * balloon, larger by virtio-mem. Both only ask; what the guest does about it shows
 * in the state. A target holds until the next one, also across the driver's resets.
 */
#include <errno.h>

#include "vmm/machine.h"

/**
 * machine_make_memory() - map guest RAM as the configuration says
 * @clone: memory of the template that RAM is a copy of, borrowed; -1: it is empty
 *
 * Return: 0 or minus errno
 * Context: I/O thread, the only thread so far
 */
int machine_make_memory(struct machine *m, int clone, struct err *e)
{
	const struct vmm_config *cfg = &m->config;
	struct gmem_policy p = { .ram_bytes = cfg->ram_bytes,
				 .hotplug_bytes = cfg->hotplug_bytes,
				 .pages = (enum vmm_pages)cfg->pages,
				 .merge = cfg->merge,
				 .prefault = cfg->prefault,
				 .clone = clone >= 0,
				 .fd = clone };

	return gmem_init_policy(&m->mem, &p, e);
}

/**
 * machine_balloon() - ask the guest to give memory up
 * @bytes: multiple of 4096, less than its RAM; 0: take all back
 *
 * Return: 0; -EINVAL
 * Context: I/O thread
 */
int machine_balloon(struct machine *m, uint64_t bytes, struct err *e)
{
	return balloon_target(m->balloon, bytes, e);
}

/**
 * machine_memory() - ask the guest to plug so much memory beyond its RAM
 * @bytes: multiple of the block size, up to vmm_config.hotplug_bytes
 *
 * Return: 0; -EINVAL; -ENODEV where memory does not grow
 * Context: I/O thread
 */
int machine_memory(struct machine *m, uint64_t bytes, struct err *e)
{
	if (!m->memory)
		return err_set(e, ENODEV, "memory cannot grow: hotplug_bytes was 0 at CONFIG");
	return vmem_target(m->memory, bytes, e);
}

/**
 * machine_memory_state() - tell sizes and the guest's latest statistics
 *
 * The guest is asked for new ones; they are in a later answer.
 *
 * Context: I/O thread
 */
void machine_memory_state(struct machine *m, struct vmm_memory *ret)
{
	/* A CONFIG that failed may not have got so far. */
	if (m->balloon)
		balloon_state(m->balloon, ret);
	ret->ram_bytes = gmem_ram_bytes(&m->mem);
	if (m->memory)
		vmem_state(m->memory, ret);
}
