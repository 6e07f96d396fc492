/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_SUPERVISOR_SUPERVISOR_H
#define RUNTIME_SUPERVISOR_SUPERVISOR_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "lib/agent.h"
#include "lib/journal.h"
#include "lib/loop.h"
#include "lib/share.h"
#include "netplug/netplug.h"
#include "runtime/cgroup.h"
#include "runtime/config.h"
#include "runtime/life.h"
#include "runtime/pod.h"
#include "runtime/spec.h"
#include "storage/storage.h"
#include "vmm/vmm.h"

/*
 * How long the monitor may take for an answer. It takes milliseconds; but where a host
 * is out of processors or swaps, seconds, and a pod that fails then makes it worse.
 */
#define VMM_ANSWER_MS 30000

/* Events of a pod's timeline that are kept. */
#define POD_STAMPS_MAX 96

/* Disks that a pod has at a time: what bus 0 has room for. */
#define POD_DISKS_MAX 200

/*
 * And what the guest has interrupt vectors for: a processor has some 200
 * (arch/x86/include/asm/irq_vectors.h), of which a few are taken. For a disk with a
 * vector for each queue Linux keeps one on each processor, and one for its
 * configuration on any; for one of those beyond (VMM_DISKS_OWN_VECTORS) two on any.
 */
#define POD_DISK_VECTORS 188

/* Of these, what a share takes: its configuration's, and one for each of its queues. */
#define POD_SHARE_VECTORS 10

/* And what a machine takes that can grow: a guest with one vCPU took 91 disks, not 94; two for each container. */
#define POD_GROW_VECTORS 8

struct netwatch;
struct rawvol;
struct watchdog;

struct stamp {
	uint64_t ns;	/* CLOCK_MONOTONIC */
	char what[96];
};

/**
 * struct way_back - what a container changed comes back (wayback.c)
 * @way:     owned; NULL: nothing comes back
 * @config:  what may
 * @hold:    our end of the socket that its shim waits on, owned; -1
 * @due:     its first process has ended
 * @noted:   the journal has a record of its staging directory, at @mark
 * @stream:  connection that the changes come by, owned; -1
 * @running: @thread is to be joined; it alone uses @way, @stats, @rc and @why meanwhile
 * @done:    the thread has finished with all of them
 * @text:    for the engine's log; empty: nothing to say
 */
struct way_back {
	struct writeback *way;
	struct writeback_config config;
	struct writeback_stats stats;
	int hold, stream, wake_fd;
	size_t mark;
	bool due, noted, running;
	atomic_bool done;
	pthread_t thread;
	int rc;
	struct err why;
	char text[ERR_TEXT_BYTES + 128];
};

/**
 * struct container - one container of the pod; in the list of struct pod
 * @state:     its record, owned
 * @map:       its rootfs, owned
 * @disk:      numbers of its disks, as storage_map_disks() orders them
 * @n_disks:   how many of them are plugged
 * @trees:     numbers of its trees in the pod's share, owned, @n_trees of them
 * @mirrors:   keys of its mirrors, owned, @n_mirrors of them
 * @cgroup:    its place on the host (place.c)
 * @rawvols:   raw block volumes that it has; the list is owned
 * @owner:     connection of the command that creates it, until Commit
 * @committed: its shim is up and its record is visible
 * @lent:      the host has given something for it that must come back (settle.c)
 * @ended:     its init has ended; it counts as stopped when all that is back
 * @limits:    what it may use, by which the machine is sized (grow.c)
 * @infra:     it is the pod's infra container
 * @back:      the way back of what it changed
 * @resolv_conf: the host's file that is its resolv.conf, owned; NULL: its image's
 */
struct container {
	struct container *next;
	char id[STATE_ID_BYTES];
	struct state *state;
	struct storage_map *map;
	uint32_t disk[STORAGE_DISKS_MAX];
	size_t n_disks;
	uint32_t *trees;
	size_t n_trees;
	uint32_t *mirrors;
	size_t n_mirrors;
	struct cgroup cgroup;
	struct rawvol **rawvols;
	size_t n_rawvols;
	const void *owner;
	bool committed;
	bool lent, ended;
	struct spec_limits limits;
	bool infra;
	struct way_back back;
	char *resolv_conf;
};

/**
 * struct broker - serves the monitor's requests for files on a thread of its own
 * @sock: our end, owned
 * @lock: guards @map
 * @map:  by disk number; NULL: no such disk, or not synthetic
 */
struct broker {
	int sock;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	const struct storage_map *map[POD_DISKS_MAX];
};

/**
 * struct share_channel - one socket of a share and the thread that serves it
 * @sock:  our end, owned
 * @ready: posted when the thread serves, or cannot
 * @rc:    why it cannot; with @why
 */
struct share_channel {
	struct share *share;
	int sock;
	pthread_t thread;
	sem_t ready;
	int rc;
	struct err why;
};

/**
 * struct share_broker - serves one share to the monitor (lib/share.h)
 * @share:     owned
 * @channel:   @n of them
 */
struct share_broker {
	struct share *share;
	struct share_channel channel[SHARE_CHANNELS_MAX];
	unsigned int n;
};

/**
 * struct relay_child - the process of the pod's relay (relay.c)
 * @sock, @pidfd: owned; -1: there is none
 * @pid:      of @pidfd
 * @mark:     of its record in the journal, if it is @recorded
 * @starts:   how often it was started
 * @ready:    how often it has said that it knows the guest's ports
 * @dns:      a container has the engine's DNS stub in its resolv.conf
 */
struct relay_child {
	int sock, pidfd;
	pid_t pid;
	struct loop_src *src;
	size_t mark;
	unsigned int starts, ready;
	bool recorded, dns;
};

/**
 * struct pod - everything that a supervisor owns
 */
struct pod {
	char id[STATE_ID_BYTES];
	const char *root;		/* state directory */
	int rootfd, podsfd, dirfd;	/* owned */
	int netns_fd;			/* owned; of the pod */
	char *netns_path;		/* owned; that the engine gave, or ours, or NULL */
	struct cgroup_host cgroups;
	struct cgroup cgroup;		/* its place on the host (place.c) */
	char *cgroup_home;		/* owned; that we were in before; NULL: not known */
	int cgroup_fd;			/* owned; where the monitor starts; -1: it is moved */
	bool systemd;			/* the pod's place is a scope of systemd's */
	int listen_fd;			/* owned */
	int signal_fd;			/* owned */
	int back_fd;			/* owned; wakes the loop for wayback.c */
	int settle_event;		/* owned; a container that lent something has ended */
	struct config config;
	struct journal *journal;
	struct loop *loop;
	struct vmm vmm;
	struct agent agent;		/* main connection */
	struct broker broker;
	struct share_broker share;	/* for volumes, from the first one on */
	struct mirrors *mirrors;	/* owned; NULL: there was none yet */
	struct relay_child relay;
	struct netwatch *netwatch;	/* owned; NULL: the namespace is not watched */
	struct netplug_plan *plan;	/* owned; of a namespace that is not watched */
	struct container *containers;
	struct rawvol *rawvols;		/* plugged raw block volumes, owned */
	int uevent_fd;			/* owned; the kernel's events, while there are some */
	uint32_t vcpus;
	uint32_t n_disks;		/* that it ever had, for their serials */
	bool disk_used[POD_DISKS_MAX];	/* numbers that are taken */
	uint64_t ram_bytes;		/* that the machine began with */
	uint64_t hotplug_bytes;		/* that it can have besides */
	uint64_t memory_bytes;		/* that it was asked to have */
	uint32_t vcpus_max;
	uint32_t vcpus_now;		/* that it was asked to use */
	uint64_t overhead_bytes;	/* of its memory, what is for the guest itself */
	uint64_t rest_bytes;		/* for all containers without a limit; as rest_vcpus */
	uint32_t rest_vcpus;
	cpu_set_t cpus_now, mems_now;	/* of the host, that the monitor may use; none: all */
	uint64_t by_hand_bytes;		/* an operator's word; 0: none; as by_hand_vcpus */
	uint32_t by_hand_vcpus;
	struct watchdog *watchdog;	/* owned; NULL: there is none */
	bool dead;			/* the machine has ended: @end, @end_text */
	int told_fd;			/* owned; a timer of ending_told() */
	bool told_kill;			/* it has gone off once */
	enum life_end end;		/* with @end_text before @dead: it ends in order */
	char end_text[200];		/* its name and what is known of it; masked */
	bool ending;			/* the last container was deleted */
	uint64_t began_ns;		/* CLOCK_MONOTONIC */
	char guest_kernel[64];		/* masked, as the guest says */
	char cmdline[VMM_CMDLINE_BYTES];	/* of its kernel */
	uint64_t exits, oom_kills;	/* of containers */
	struct stamp stamps[POD_STAMPS_MAX];
	size_t n_stamps;
};

void pod_stamp(struct pod *p, uint64_t ns, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
uint64_t pod_now_ns(void);

void pod_die(struct pod *p, enum life_end how, const char *why);
void ending_told(struct pod *p);
void ending_settled(struct pod *p);
void ending_monitor(struct pod *p);
void ending_agent(struct pod *p, int rc, const char *why);
void ending_console(const struct pod *p, char *dst, size_t room);

int watchdog_start(struct pod *p, struct err *e);
bool watchdog_bit(const struct pod *p);
void watchdog_stop(struct pod *p);

int machine_start(struct pod *p, const struct spec *spec, struct err *e);
int machine_plug(struct pod *p, const struct storage_disk *d, uint32_t number,
		 uint32_t *ret_devfn, struct err *e);
int machine_unplug(struct pod *p, const char *name, struct err *e);
int machine_journal(struct pod *p, const struct vmm *v, struct err *e);
void machine_last_words(struct pod *p, struct err *e);
int machine_ended(struct vmm *v, struct err *e);
void machine_kill(struct vmm *v);
int machine_connect(struct pod *p, int *ret_fd, struct err *e);
void machine_stop(struct pod *p, bool gently);
/* Room for what machine_size() has for the guest kernel's command line. */
#define MACHINE_ARGS_BYTES 128

uint32_t machine_vcpus(const struct pod *p, const struct spec *spec);
void machine_size(struct pod *p, const struct spec *spec, struct vmm_config *ret,
		  char args[MACHINE_ARGS_BYTES]);
int machine_set_memory(struct pod *p, uint64_t bytes, struct err *e);
int machine_set_vcpus(struct pod *p, uint32_t n, uint32_t *ret_online, struct err *e);
int machine_get_size(struct pod *p, Podvm__Pod__Size *ret, struct err *e);
int machine_stats(struct pod *p, struct vmm_stats *ret, struct err *e);
int machine_metrics(struct pod *p, struct vmm_metrics *ret, struct err *e);

/**
 * struct machine_parts - what a machine is made of
 * @kvm, @kernel, @initramfs: open, owned; -1
 */
struct machine_parts {
	int kvm, kernel, initramfs;
	struct vmm_config config;
};

int machine_configure(struct pod *p, struct vmm *v, const struct machine_parts *m, int memory,
		      struct err *e);
int machine_console(struct pod *p, struct err *e);

struct template;
struct template_id;
bool template_wanted(const struct pod *p);
int template_get(struct pod *p, const struct machine_parts *m, struct template_id *ret_id,
		 struct template *ret, struct err *e);
int template_restore(struct pod *p, const struct machine_parts *m, const struct template_id *id,
		     const struct template *t, struct err *e);
void template_drop(struct pod *p, const struct template_id *id, const struct template *t);

void oom_forget(const struct container *c);
void oom_tell(const struct container *c);

int place_pod(struct pod *p, const struct spec *spec, struct err *e);
int place_monitor(struct pod *p, struct err *e);
void place_limit(struct pod *p, uint64_t bytes);
void place_nowhere(struct pod *p, pid_t pid);
int place_cpus(struct pod *p, const cpu_set_t *cpus, const cpu_set_t *mems, struct err *e);
void place_weight(struct pod *p, const struct container *c);
int place_shim(struct pod *p, struct container *c, pid_t pid, struct err *e);
void place_container_end(struct pod *p, struct container *c);
void place_leave(struct pod *p);

int pod_resize_for(struct pod *p, struct container *c, const struct spec_limits *limits,
		   struct err *e);
void pod_resize_shrink(struct pod *p);

size_t nic_taps(uint64_t vcpus);
int nic_plug(struct pod *p, const struct netplug_port *port, struct err *e);
int nic_add(struct pod *p, const struct netplug_port *port, const Podvm__Network *net,
	    struct err *e);
int nic_remove(struct pod *p, const uint8_t mac[6], struct err *e);
int nic_link(struct pod *p, const uint8_t mac[6], bool up, struct err *e);

int netwatch_open(struct pod *p, const char *path, size_t taps, struct err *e);
void netwatch_begin(struct pod *p, struct netplug_plan *plan, const struct netplug_port *ports,
		    size_t n);
void netwatch_settle(struct pod *p);
void netwatch_done(struct pod *p);
const struct netplug_plan *pod_plan(const struct pod *p);

int broker_start(struct broker *b, int *ret_vmm_end, struct err *e);
void broker_add(struct broker *b, uint32_t disk, const struct storage_map *m);
void broker_remove(struct broker *b, uint32_t disk);
void broker_stop(struct broker *b);

int share_broker_start(struct share_broker *b, int dirfd, const struct share_config *config,
		       unsigned int n, int *ret_vmm_ends, struct err *e);
int share_pod_start(struct pod *p, struct err *e);
void share_broker_stop(struct share_broker *b);

int volumes_add(struct pod *p, struct container *c, struct spec *spec, const char *bundle,
		struct err *e);
int volume_rootfs(struct pod *p, struct container *c, struct spec *spec, const char *why,
		  struct err *e);
void volumes_remove(struct pod *p, struct container *c);

int mirror_add(struct pod *p, int fd, uint32_t *ret_key, struct err *e);
void mirror_remove(struct pod *p, uint32_t key);
void mirrors_done(struct pod *p);

struct container *container_find(struct pod *p, const char *id);
int container_create(struct pod *p, const char *id, const struct spec_source *src, bool systemd,
		     const void *owner, struct err *e);
int container_commit(struct pod *p, const char *id, pid_t shim,
		     const void *owner, struct err *e);
int container_take_number(struct pod *p, uint32_t *ret, struct err *e);
void container_unplug(struct pod *p, struct container *c);
int container_start(struct pod *p, const char *id, struct err *e);
int container_freeze(struct pod *p, const char *id, bool frozen, struct err *e);
int container_update(struct pod *p, const char *id, const char *resources, struct err *e);
int container_signal(struct pod *p, const char *id, uint32_t sig, bool all,
		     struct err *e);
int container_delete(struct pod *p, const char *id, bool force, struct err *e);
int container_pids(struct pod *p, const char *id, Podvm__Response **ret,
		   struct err *e);
void container_exited(struct pod *p, const Podvm__Exited *x);
void container_settle(struct pod *p, struct container *c);
void container_stopped(struct pod *p, struct container *c);
void container_abandon(struct pod *p, const void *owner);
void container_forget_all(struct pod *p);

void wayback_plan(struct pod *p, struct container *c, struct spec *spec, uint64_t scratch_bytes);
int wayback_hold(struct container *c, int *ret_fd, struct err *e);
uint32_t wayback_hold_ms(const struct pod *p, const struct container *c);
int wayback_open(struct pod *p, struct err *e);
bool wayback_pending(const struct container *c);
bool wayback_begin(struct pod *p, struct container *c);
void wayback_end(struct pod *p, struct container *c);
int blockroot_describe(Podvm__Rootfs *fs, const struct storage_root *root, const char *serial,
		       struct err *e);

bool uevent_block_change(const char *msg, size_t len, uint32_t *ret_major, uint32_t *ret_minor);
int rawvols_plug(struct pod *p, struct container *c, struct spec *spec, struct err *e);
size_t rawvols_serials(const struct container *c, char **ret, size_t room);
void rawvols_unplug(struct pod *p, struct container *c);

int relayd_spawn(struct pod *p, struct err *e);
void relayd_stop(struct pod *p);
void relayd_container(struct pod *p, const struct container *c);
int relayd_main(void);

int settle_watch(struct pod *p, struct err *e);
void settle_later(struct pod *p, struct container *c);
void settle_now(struct pod *p, struct container *c, bool ask);

int inspect_info(struct pod *p, bool details, Podvm__Pod__Info **ret, struct err *e);

int control_open(struct pod *p, struct err *e);

int supervisor_main(const char *root, const char *pod, const char *bundle, bool systemd);

#endif
