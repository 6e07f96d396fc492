/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_SPEC_H
#define RUNTIME_SPEC_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "lib/agent.pb-c.h"
#include "lib/err.h"
#include "netplug/netplug.h"

/* What the annotations of CRI-O and containerd say a container is. */
enum spec_role {
	SPEC_ROLE_SINGLE,	/* no annotation: a VM of its own */
	SPEC_ROLE_SANDBOX,	/* the pod's infra container: a new VM */
	SPEC_ROLE_CONTAINER,	/* into the VM of @sandbox_id, which may have to start */
};

/* Annotations about the writable side (spec_storage.c). */
#define SPEC_WRITE_BACK "io.podvm.write-back"
#define SPEC_SCRATCH_SIZE "io.podvm.scratch-size"

/* Whether the guest's localhost is reached from the pod's (spec_relay.c). */
#define SPEC_RELAY "io.podvm.relay"

/* Whether podvm pod shell may open a shell in the pod's guest (spec_debug.c). */
#define SPEC_DEBUG_SHELL "io.podvm.debug-shell"

/* How the pod's interfaces are joined (spec_network.c). */
#define SPEC_NETWORK_MODEL "io.podvm.network-model"

/* What a writable disk can have (storage/scratch.c). */
#define SPEC_SCRATCH_BYTES_MIN (4ull << 20)
#define SPEC_SCRATCH_BYTES_MAX (16000ull << 30)

/* Whether what a container changed comes back to the engine's upper directory. */
enum spec_write_back {
	SPEC_WRITE_BACK_DEFAULT,	/* as the configuration says */
	SPEC_WRITE_BACK_ON,
	SPEC_WRITE_BACK_OFF,
};

/**
 * struct spec_trust - what a trust decision wants to know of a config.json
 * @mark:       value of TRUST_ANNOTATION, borrowed; NULL: it is not there
 * @alike:      an annotation whose name differs from it in case only, borrowed, or NULL
 * @privileged: it is made as engines make privileged containers
 * @said:       the annotation that is believed says that it is
 * @host:       TRUST_HOST_* of the namespaces that it does not have
 */
struct spec_trust {
	const char *mark;
	const char *alike;
	bool privileged;
	bool said;
	unsigned int host;
};

struct spec_hook {
	char *path;
	char **args;		/* NULL-terminated */
	char **env;		/* NULL-terminated */
	uint64_t timeout_s;	/* 0: none */
};

struct spec_hooks {
	struct spec_hook *v;
	size_t n;
};

/**
 * struct spec_limits - what the container's own limits say about the VM's size
 * @memory_bytes: linux.resources.memory.limit; 0: none
 * @quota_us, @period_us, @shares: of linux.resources.cpu; 0: none
 * @cpus, @mems: of linux.resources.cpu: processors and memory nodes of the host; none: all
 */
struct spec_limits {
	uint64_t memory_bytes;
	uint64_t quota_us;
	uint64_t period_us;
	uint64_t shares;
	cpu_set_t cpus, mems;
};

/**
 * struct spec - a bundle's config.json, checked; every pointer is owned
 * @role:         see enum spec_role
 * @sandbox_id:   pod that it belongs to; NULL for SPEC_ROLE_SINGLE
 * @rootfs:       absolute path of root.path, inside the file system as it was resolved
 * @netns_path:   of linux.namespaces; NULL: a new, empty one
 * @pid_of:       process on the host whose pid namespace it joins; 0: none is named
 * @cgroups_path: linux.cgroupsPath; NULL: none given
 * @create:       for the agent: all but @id and the serials of @rootfs
 * @prestart, @create_runtime, @poststart, @poststop: hooks that run on the host
 * @annotations:  all of them, for the state's JSON
 * @ram_bytes:    that the pod's VM should have by its annotations and limits; 0: default
 * @vcpus:        as above
 * @overhead_bytes: of @ram_bytes, what is for the guest itself
 * @sized_memory, @sized_vcpus: the pod's annotations say how much it should have
 * @cpu_shares:   of the pod, or of its only container; 0: none
 * @limits:       the container's own
 * @network_model: of its annotation; NETPLUG_MODELS: as the configuration says
 * @write_back:   of its annotation
 * @throwaway:    its engine removes it when it ends
 * @scratch_bytes: of its annotation; 0: as the configuration says
 * @relay_off:    of its annotation: no relay of the pod's localhost
 * @resources:    limits of linux.resources, as spec_update() takes them; NULL: none
 * @oci_version:  ociVersion
 */
struct spec {
	enum spec_role role;
	char *sandbox_id;
	char *rootfs;
	char *netns_path;
	pid_t pid_of;
	char *cgroups_path;
	Podvm__ContainerCreate *create;
	struct spec_hooks prestart, create_runtime, poststart, poststop;
	Podvm__KeyValue **annotations;
	size_t n_annotations;
	uint64_t ram_bytes;
	uint32_t vcpus;
	uint64_t overhead_bytes;
	bool sized_memory, sized_vcpus;
	uint64_t cpu_shares;
	struct spec_limits limits;
	enum netplug_model network_model;
	enum spec_write_back write_back;
	bool throwaway;
	uint64_t scratch_bytes;
	bool relay_off;
	char *resources;
	char *oci_version;
};

/**
 * struct spec_source - a config.json that was read (spec_source.c)
 * @bundle: absolute path of its directory
 * @config: its text, sealed, owned; -1: none
 */
struct spec_source {
	char bundle[PATH_MAX];
	int config;
};

#define SPEC_SOURCE_NONE { .config = -1 }

/**
 * struct spec_update - what an update of a container's limits comes to
 * @files:        cgroup v2 files that change, in the order of writing, owned
 * @resources:    all limits afterwards, for the next update, owned
 * @limits:       what all of them say about the machine's size
 * @memory_check: carried out only if the container has no more memory in use, bytes; 0: always
 */
struct spec_update {
	Podvm__KeyValue **files;
	size_t n_files;
	char *resources;
	struct spec_limits limits;
	uint64_t memory_check;
};

int spec_source_read(const char *bundle, struct spec_source *ret, struct err *e);
int spec_source_take(const char *bundle, int config, struct spec_source *ret, struct err *e);
void spec_source_done(struct spec_source *s);
int spec_load(const char *bundle, struct spec **ret, struct err *e);
int spec_load_from(const struct spec_source *src, struct spec **ret, struct err *e);
int spec_load_hooks(const char *bundle, struct spec **ret, struct err *e);
int spec_load_trust(const struct spec_source *src, const char *privileged_key,
		    struct spec_trust *ret_trust, struct spec **ret, struct err *e);
int spec_check_id(const struct spec *s, const char *id, struct err *e);
int spec_disk_place(struct spec *s, const char *serial, uint32_t devfn, struct err *e);
bool spec_names_stub(const char *path);
const char *spec_resolv_conf(const struct spec *s);
void spec_free(struct spec *s);
int spec_update(const char *old, const char *given, size_t len, struct spec_update *ret,
		struct err *e);
void spec_update_done(struct spec_update *u);
int spec_process_load(const char *path, Podvm__Process **ret, struct err *e);
int spec_inherit(Podvm__Process *p, Podvm__Process *own, struct err *e);
int spec_signal(const char *name, int *ret, struct err *e);
int spec_user(const char *text, Podvm__Process *p, struct err *e);
int spec_capability_add(const char *name, Podvm__Process *p, struct err *e);
uint32_t spec_block_access(const Podvm__ContainerCreate *c, const Podvm__Device *d);
int spec_features_print(FILE *f, struct err *e);
int spec_example_print(FILE *f, struct err *e);

#endif
