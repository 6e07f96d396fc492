/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_CONFIG_H
#define RUNTIME_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "netplug/netplug.h"
#include "runtime/trust.h"
#include "vmm/vmm.h"

/* Read when PODVM_CONFIG is not in the environment; it need not exist. */
#define CONFIG_PATH "/etc/podvm/podvm.json"

/* Where layers are remembered, unless "layerCache" says another directory or "off". */
#define CONFIG_LAYER_CACHE "/var/lib/podvm/cache/layers"

/* Of @vcpus_max and @ram_max_bytes: pods of Kubernetes can grow, others cannot. */
#define CONFIG_AUTO UINT64_MAX

/* Whether what a container changed comes back, where its annotations do not say. */
enum config_write_back {
	CONFIG_WRITE_BACK_AUTO,	/* not from containers of Kubernetes, which are never started again */
	CONFIG_WRITE_BACK_ON,
	CONFIG_WRITE_BACK_OFF,
};

/* What becomes of a rootfs that is mounted from a block device. */
enum config_block {
	CONFIG_BLOCK_RETURN,	/* the guest gets it; then the host mounts it again */
	CONFIG_BLOCK_LEAVE,	/* the same, but the host does not mount what a guest wrote */
	CONFIG_BLOCK_REFUSE,
};

/* Whether podvm pod shell may open a shell in a guest. */
enum config_shell {
	CONFIG_SHELL_ANNOTATION,	/* where an annotation of the pod allows it */
	CONFIG_SHELL_ON,
	CONFIG_SHELL_OFF,
};

/**
 * struct config - the host's settings; every one has a default
 * @vmm, @kernel, @initramfs: files
 * @cmdline:       appended to the guest kernel's command line
 * @ram_bytes:     of a pod's VM that asks for nothing
 * @vcpus:         of a pod's VM that asks for nothing
 * @vcpus_max:     up to which a pod's VM can grow; 0: it cannot; CONFIG_AUTO
 * @ram_max_bytes: the same for memory
 * @pages, @merge, @prefault: of guest RAM, as in vmm/vmm.h
 * @scratch_bytes: capacity of a container's writable disk (sparse)
 * @layer_cache:   directory where layers are remembered; "": nowhere
 * @write_back:    see enum config_write_back
 * @write_back_ms: what it may take
 * @boot_timeout_ms: until the agent must have called
 * @watchdog_period_ms: how often a guest's agent is asked whether it is there
 * @watchdog_limit_ms: after which silence it is given up; 0: never
 * @vhost_net:     let the kernel move a pod's packets where it can
 * @network_model: how a pod's interfaces are joined, where its annotation does not say
 * @block_rootfs:  see enum config_block
 * @debug_shell:   see enum config_shell
 * @relay:         what listens on a guest's localhost is reached on its pod's
 * @templates:     pods start from saved machines
 * @trust:         which pods get no machine
 */
struct config {
	char vmm[PATH_MAX];
	char kernel[PATH_MAX];
	char initramfs[PATH_MAX];
	char cmdline[1024];
	uint64_t ram_bytes;
	uint64_t vcpus;
	uint64_t vcpus_max;
	uint64_t ram_max_bytes;
	enum vmm_pages pages;
	bool merge;
	bool prefault;
	uint64_t scratch_bytes;
	char layer_cache[PATH_MAX];
	enum config_write_back write_back;
	uint64_t write_back_ms;
	uint64_t boot_timeout_ms;
	uint64_t watchdog_period_ms;
	uint64_t watchdog_limit_ms;
	bool vhost_net;
	enum netplug_model network_model;
	enum config_block block_rootfs;
	enum config_shell debug_shell;
	bool relay;
	bool templates;
	struct trust_config trust;
};

void config_defaults(struct config *ret);
int config_load(struct config *ret, struct err *e);
const char *config_pages_name(enum vmm_pages pages);
const char *config_level_name(enum trust_level level);
const char *config_untrusted_name(enum trust_untrusted untrusted);

#endif
