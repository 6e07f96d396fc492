/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_AGENT_AGENT_H
#define GUEST_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/agent.pb-c.h"
#include "lib/err.h"
#include "lib/frame.h"
#include "lib/loop.h"

/* Longest container or exec id, bytes; also a directory's name in the cgroup tree. */
#define AGENT_ID_BYTES 200

/* Most connections at a time; one process needs four (owner and three streams). */
#define AGENT_CONNS_MAX 4096

/* Most containers of a pod. */
#define AGENT_CONTAINERS_MAX 512

/* Answers that the host has not read yet, per connection, bytes. */
#define CONN_OUT_MAX (FRAME_MAX_BYTES + 65536u)

/* Buffer of one direction of one stream, bytes. */
#define STREAM_BUF_BYTES 16384u

/* Everything of the agent's own is under this folder of its root. */
#define AGENT_RUN "/run/podvm"

#define AGENT_CGROUP "/sys/fs/cgroup"
#define AGENT_CGROUP_PODS AGENT_CGROUP "/podvm"

struct conn;
struct container;
struct freeze;
struct opening;
struct relay;
struct release;
struct stream;
struct task;
struct watch;

/**
 * struct agent - the process
 * @set_up:      PodSetup has been carried out
 * @lost:        the supervisor is gone; the loop ends
 * @off:         PodShutdown is under way
 * @listen_fd, @signal_fd: owned
 * @pidns_fd:    the agent's own pid namespace, owned
 * @pause_pidfd: first process of the pod's shared pid namespace, owned; -1: none yet
 * @off_timer:   polls for the end of the containers, owned
 * @off_conn:    who waits for PodShutdown, borrowed; NULL: gone
 * @relay:       the host's relay, owned by relay.c; NULL: none
 * @openings:    connections to localhost under way, owned by relay.c
 * @init_ns:     CLOCK_BOOTTIME when main() began
 */
struct agent {
	struct loop *loop;
	bool set_up;
	bool lost;
	bool off;
	int listen_fd;
	int signal_fd;
	int pidns_fd;
	int pause_pidfd;
	pid_t pause_pid;
	int off_timer;
	uint64_t off_end_ms;
	struct loop_src *listen_src, *signal_src, *off_src;
	struct conn *off_conn;
	struct conn *main;
	struct conn *conns;
	size_t n_conns;
	struct container *containers;
	size_t n_containers;
	struct relay *relay;
	struct opening *openings;
	uint64_t init_ns;
};

/**
 * struct conn - a connection to the host that carries frames
 * @fd:      owned
 * @owner:   process that this connection owns, borrowed; NULL: none
 * @busy:    an answer is due later: the next request is not read before
 * @closing: close once @out is empty
 * @program: memfd with a part of the program of a shell, owned; -1: none
 */
struct conn {
	struct agent *agent;
	struct conn *next, *prev;
	int fd;
	struct loop_src *src;
	struct frame_rx rx;
	struct task *owner;
	bool main;
	bool busy;
	bool closing;
	int program;
	uint8_t *out;
	size_t out_len, out_off;
};

enum stream_kind { STREAM_IN, STREAM_OUT, STREAM_ERR, STREAM_TTY, STREAM_KINDS };

/* What a child tells before it becomes the container's program. */
enum report_kind { REPORT_READY = 1, REPORT_TTY, REPORT_FAILED, REPORT_UPPER, REPORT_DONE,
		   REPORT_USER };

/* What the agent tells a first process that waits for its start; one byte each. */
enum order { ORDER_START = 's', ORDER_CREATE_HOOKS = 'c', ORDER_START_HOOKS = 'h',
	     ORDER_MAPPED = 'u' };

struct report {
	int32_t kind;
	int32_t code;
	char text[ERR_TEXT_BYTES];
};

enum task_state { TASK_SETUP, TASK_READY, TASK_HOOKS, TASK_STARTING, TASK_RUNNING, TASK_ENDED };

/**
 * struct task - a container's first process or an exec
 * @exec_id:  empty for the container's first process
 * @pid:      in the agent's pid namespace; 0 once reaped
 * @pidfd:    owned
 * @report:   agent's end of the socket to the child before its exec, owned; -1: closed
 * @pending:  connection that waits for the report, borrowed; NULL: none
 * @owner:    connection that owns the process, borrowed; NULL: none now
 * @told:     @owner has got `exited`
 * @shell:    an exec that is in no container: in the mini-OS itself
 * @fd:       ends of the pipes, by enum stream_kind, or the terminal; owned
 * @stream:   attached streams, owned
 * @kill_sig: signal that ended a process before its start; 0: none
 */
struct task {
	struct container *ctr;
	struct task *next;
	char exec_id[AGENT_ID_BYTES + 1];
	enum task_state state;
	pid_t pid;
	int pidfd;
	int report;
	struct loop_src *report_src;
	struct conn *pending;
	struct conn *owner;
	bool told;
	bool terminal;
	bool shell;
	int fd[STREAM_KINDS];
	struct stream *stream[STREAM_KINDS];
	uint32_t code, sig, kill_sig;
	bool oom;
};

/**
 * struct container - one container
 * @init:     its first process; NULL once creation has failed
 * @execs:    list
 * @devfilter: program for the cgroup until it is attached, owned; -1: none
 * @upper:    its upper directory, which outlives its mounts, owned; -1: not kept
 * @teller:   child that tells what it changed; 0: none
 * @user:     its user namespace, owned; NULL: the machine's
 * @timens:   flag for setns(2) if it has a time namespace
 * @deleting: being undone; @timer polls until nothing holds it any more
 * @disks:    serials of its disks, for their removal; owned strings
 * @freeze:   pausing or resuming that is under way, owned; NULL: none
 * @watches:  who listens to it, owned by watch.c
 * @release:  disks that the host wants back before, owned; NULL: none
 * @pending:  who waits for the end of the deletion, borrowed; NULL: nobody
 * @failure:  what to answer @pending; code 0: success
 */
struct container {
	struct agent *agent;
	struct container *next;
	char id[AGENT_ID_BYTES + 1];
	struct task *init;
	struct task *execs;
	int cgroup_fd;
	int devfilter;
	int upper;
	pid_t teller;
	Podvm__Namespace *user;
	uint64_t timens;
	bool deleting;
	int timer;
	struct loop_src *timer_src;
	uint64_t end_ms;
	struct freeze *freeze;
	struct release *release;
	struct watch *watches;
	struct conn *pending;
	struct err failure;
	char **disks;
	size_t n_disks;
};

/* boot.c */
int boot_init(struct err *e);
void boot_power_off(void) __attribute__((noreturn));

/* cgroup.c */
int cgroup_boot(struct err *e);
int cgroup_make(const char *id, const Podvm__ContainerCreate *c, int *ret_fd,
		struct err *e);
int cgroup_check_name(const char *name, struct err *e);
int cgroup_write(int dir, const Podvm__KeyValue *kv, struct err *e);
int cgroup_kill(int cgroup_fd, struct err *e);
bool cgroup_populated(int cgroup_fd);
uint64_t cgroup_oom_kills(int cgroup_fd);
bool cgroup_frozen(int cgroup_fd);
int cgroup_freeze(int cgroup_fd, bool frozen, struct err *e);
int cgroup_pids(int cgroup_fd, uint32_t **ret, size_t *ret_n, struct err *e);
int cgroup_remove(const char *id, struct err *e);
void cgroup_figures(int cgroup_fd, Podvm__GuestContainer *ret);

/* copyup.c: runs in the child */
int copy_up(int from, int to, struct err *e);

/* cpu.c */
int cpu_set_online(const char *path, uint32_t want, uint32_t *ret_present,
		   uint32_t *ret_online, struct err *e);

/* devfilter.c */
struct bpf_insn;
size_t devfilter_build(Podvm__DeviceRule *const *rules, size_t n,
		       struct bpf_insn *ret, size_t room);
int devfilter_load(Podvm__DeviceRule *const *rules, size_t n, int *ret_fd,
		   struct err *e);
int devfilter_attach(int cgroup_fd, int prog_fd, struct err *e);

/* child.c: runs in the child */
void child_container(const Podvm__ContainerCreate *c, const int std[3],
		     int report) __attribute__((noreturn));
void child_exec(const Podvm__Process *p, const struct container *ctr, const int std[3],
		int report) __attribute__((noreturn));
void child_shell(const Podvm__Process *p, int program, const int std[3],
		 int report) __attribute__((noreturn));

/* conn.c */
int conn_new(struct agent *a, int fd, bool main, struct conn **ret, struct err *e);
void conn_free(struct conn *c);
int conn_take_fd(struct conn *c);
void conn_send(struct conn *c, const Podvm__Response *r);
void conn_answer(struct conn *c, const struct err *failure);
void conn_flushed(struct conn *c, int timeout_ms);

/* container.c */
struct container *container_find(struct agent *a, const char *id);
struct task *task_find(struct agent *a, const char *id, const char *exec_id,
		       struct err *e);
struct task *task_running(struct agent *a, const char *id, struct err *e);
int container_create(struct agent *a, const Podvm__ContainerCreate *m,
		     struct conn *c, struct err *e);
int container_start(struct agent *a, const char *id, struct conn *c,
		    struct err *e);
int container_hooks(struct agent *a, const Podvm__ContainerHooks *m, struct conn *c,
		    struct err *e);
int container_exec(struct agent *a, const Podvm__ProcessExec *m, struct conn *c,
		   struct err *e);
int container_shell(struct agent *a, const Podvm__ShellOpen *m, struct conn *c,
		    struct err *e);
int container_delete(struct agent *a, const char *id, struct conn *c,
		     struct err *e);
void container_undo(struct container *ctr, struct conn *pending,
		    const struct err *failure);
void container_forget_conn(struct agent *a, const struct conn *c);

/* changes.c */
int changes_root(const char *lower, const char *upper, struct err *e);
int changes_tell(struct conn *c, const char *id, struct err *e);
bool changes_reaped(struct agent *a, pid_t pid);
void changes_forget(struct container *c);

/* delta.c: runs in a child */
int delta_fail(int fd, const struct err *why);
int delta_tell(int upper, int fd, struct err *e);

/* disk.c */
int disk_tell(const char *serial, uint32_t devfn, struct err *e);
int disk_find(const char *serial, char *ret_path, size_t room, struct err *e);
int disk_wait(const char *serial, char *ret_path, size_t room, struct err *e);
int disk_number(const char *serial, uint32_t *ret_major, uint32_t *ret_minor,
		struct err *e);
bool disk_busy(const char *serial);
void disk_remove(const char *serial);
void disk_rescan(void);

/* dns.c */
struct dns;
int dns_new(struct agent *a, struct conn *to, struct dns **ret, struct err *e);
void dns_answer(struct dns *d, const Podvm__DnsMessage *m);
void dns_free(struct dns *d);

/* devices.c: runs in the child, but for the first */
int devices_number(const Podvm__ContainerCreate *c, struct err *e);
int devices_make(int root, const Podvm__ContainerCreate *c, struct err *e);
int devices_console(int tty, struct err *e);

/* hooks.c: runs in the child */
int hooks_inside(const Podvm__Hooks *h, const char *kind, int (*become)(void *arg), void *arg,
		 struct err *e);

/* limits.c */
int limits_set(int dir, Podvm__KeyValue *const *v, size_t n, struct err *e);
int limits_update(struct conn *c, const Podvm__ContainerUpdate *m, struct err *e);
int limits_read(int dir, char *const *names, size_t n, Podvm__CgroupFiles *ret, struct err *e);
void limits_read_done(Podvm__CgroupFiles *f);
int limits_tell(struct conn *c, const Podvm__CgroupRead *m, struct err *e);

/* mirror.c: mirror_open() runs in the child */
int mirror_put_in(int base, const Podvm__MirrorPut *m, struct err *e);
int mirror_put(const Podvm__MirrorPut *m, struct err *e);
int mirror_drop(const char *key, struct err *e);
int mirror_open(const char *key, struct err *e);

/* mount.c: runs in the child */
int path_open(int root, const char *path, struct err *e);
int path_make(int root, const char *path, bool dir, struct err *e);
int mounts_apply(int root, const Podvm__ContainerCreate *c, struct err *e);
int mounts_mask(int root, const Podvm__ContainerCreate *c, struct err *e);

/* net.c, netroute.c, nl.c */
int net_setup(const Podvm__Network *n, struct err *e);
int net_update(const Podvm__NetworkUpdate *m, struct err *e);
int net_remove(const ProtobufCBinaryData *mac, struct err *e);
int net_loopback_up(struct err *e);

struct rtm_msg {
	size_t len;
	bool overflow;
	union {
		uint8_t b[2048];
		uint64_t align;
	};
};

/* One link of RTM_GETLINK. */
struct rtm_link {
	int index;
	char name[16];
	uint8_t mac[6];
	bool has_mac;
	bool up, running;
};

/* Links by their names; @v is malloc'd. */
struct rtm_names {
	struct rtm_link *v;
	size_t n;
};

int neighbours_add(int nl, const struct rtm_names *l, const Podvm__Network *n, struct err *e);
int neighbours_del(int nl, const struct rtm_names *l, const Podvm__Network *n, struct err *e);
int routes_add(int nl, const struct rtm_names *l, const Podvm__Network *n, struct err *e);
int routes_del(int nl, const struct rtm_names *l, const Podvm__Network *n, struct err *e);
int rules_add(int nl, const Podvm__Network *n, uint16_t how, struct err *e);
int rules_del(int nl, const Podvm__Network *n, struct err *e);


/**
 * struct rtm_dump - objects of rtm_dump(), whole netlink messages
 * @cut:     there were more than fit
 * @changed: they changed while they were read
 */
struct rtm_dump {
	uint8_t *buf;
	size_t len, room;
	bool cut, changed;
};

int rtm_open(struct err *e);
void rtm_start(struct rtm_msg *m, uint16_t type, uint16_t flags, const void *head,
	      size_t head_len);
void rtm_put(struct rtm_msg *m, uint16_t type, const void *data, size_t len);
void rtm_put_u32(struct rtm_msg *m, uint16_t type, uint32_t v);
size_t rtm_nest(struct rtm_msg *m, uint16_t type);
size_t rtm_put_head(struct rtm_msg *m, const void *head, size_t len);
void rtm_nest_end(struct rtm_msg *m, size_t at);
int rtm_talk(int fd, struct rtm_msg *m, struct err *e);
void rtm_failed(int *rc, int one, const struct err *why, struct err *e);
int rtm_links(int fd, struct rtm_link **ret, size_t *ret_n, struct err *e);
int rtm_dump(int fd, uint16_t type, const void *head, size_t head_len, struct rtm_dump *d,
	     struct err *e);

/* netstate.c */
int netstate_get(const struct agent *a, Podvm__NetState **ret, struct err *e);

/**
 * struct ports - ports of localhost that have a listener
 * @bit: by family (0: IPv4, 1: IPv6) and number; ports_has()
 */
struct ports {
	uint64_t bit[2][65536 / 64];
};

/* ports.c */
struct ports_watch;
typedef void ports_fn(void *arg, const struct ports *now);
bool ports_has(const struct ports *p, int family6, unsigned int port);
int ports_read(struct ports *ret, struct err *e);
int ports_watch_new(struct agent *a, ports_fn *fn, void *arg, struct ports_watch **ret,
		    struct err *e);
const struct ports *ports_watch_now(const struct ports_watch *w);
void ports_watch_free(struct ports_watch *w);

/* relay.c */
int relay_open(struct conn *c, const Podvm__RelayOpen *m, struct err *e);
int relay_watch(struct conn *c, const Podvm__RelayWatch *m, struct err *e);
void relay_forget_conn(struct agent *a, const struct conn *c);

/* capture.c, capture-counters.c */
int capture_begin(struct conn *c, const Podvm__CaptureOpen *m, struct err *e);
bool capture_reaped(pid_t pid);
int capture_link(const ProtobufCBinaryData *mac, struct rtm_link *ret, struct err *e);
int capture_counters(const ProtobufCBinaryData *mac, Podvm__TraceTold *told, struct err *e);
void capture_counters_free(Podvm__TraceTold *told);

/* figures.c */
int figures_tell(struct conn *c, const Podvm__GuestGet *m, struct err *e);

/* freeze.c */
int freeze_container(struct agent *a, const Podvm__ContainerFreeze *m, struct conn *c,
		     struct err *e);
void freeze_forget_conn(struct freeze *f, const struct conn *c);
void freeze_free(struct freeze *f);

/* release.c */
int release_disks(struct agent *a, const Podvm__DisksRelease *m, struct conn *c,
		  struct err *e);
void release_forget_conn(struct release *r, const struct conn *c);
void release_free(struct release *r);

/* request.c */
int request_handle(struct conn *c, const Podvm__Request *r, struct err *e);
void request_shutdown_poll(struct agent *a);

/* rootfs.c: runs in the child */
int rootfs_mount(const Podvm__Rootfs *r, int *ret_root, int *ret_upper, struct err *e);
int rootfs_enter(int root, const Podvm__Rootfs *r, struct err *e);
int rootfs_readonly(const Podvm__Rootfs *r, struct err *e);

/* share.c: volume_open() and memory_open() run in the child */
int volume_open(const char *number, struct err *e);
int memories_make(const Podvm__ContainerCreate *c, struct err *e);
int memory_open(const char *key, struct err *e);

/* shell.c */
int shell_open(struct conn *c, const Podvm__ShellOpen *m, struct err *e);

/* setup.c */
int sysctl_write(const char *key, const char *value, struct err *e);
int setup_pod(const Podvm__PodSetup *m, struct err *e);

/* stream.c */
int stream_attach(struct task *t, enum stream_kind kind, int fd, struct err *e);
void stream_start(struct stream *s);
void stream_free(struct stream *s);
void stream_drain(struct stream *s);
bool stream_delivered(const struct stream *s);

/* task.c */
int task_spawn(struct container *ctr, const char *exec_id,
	       const Podvm__ContainerCreate *create,
	       const Podvm__ProcessExec *exec, struct task **ret, struct err *e);
int task_shell(struct container *ctr, const char *exec_id, const Podvm__Process *p,
	       int program, struct task **ret, struct err *e);
void task_free(struct task *t);
void task_reaped(struct task *t, int status);
void task_output_done(struct task *t);
void task_owner_lost(struct task *t);
void task_own(struct task *t, struct conn *c);
int task_start(struct task *t, struct err *e);
int task_hooks(struct task *t, bool start, struct err *e);
int task_signal(struct task *t, int sig, bool all, struct err *e);
int task_resize(struct task *t, uint32_t rows, uint32_t columns, struct err *e);
int task_pause(struct agent *a, struct err *e);

/* traits.c: runs in the child */
int traits_set(const Podvm__Process *p, struct err *e);
int traits_cpus(const Podvm__Process *p, bool last, struct err *e);

/* userns.c */
const Podvm__Namespace *userns_of(const Podvm__ContainerCreate *c);
int userns_keep(const Podvm__Namespace *u, Podvm__Namespace **ret, struct err *e);
int userns_owner(const Podvm__Namespace *u, const Podvm__Process *p, uint32_t *ret_uid,
		 uint32_t *ret_gid, struct err *e);
int userns_write(pid_t pid, const Podvm__Namespace *u, struct err *e);
int userns_make(const Podvm__ContainerCreate *c, struct err *e);
int userns_root(struct err *e);
int userns_network(struct err *e);
int timens_begin(const Podvm__ContainerCreate *c, int *ret_back, struct err *e);
int timens_end(int back, struct err *e);
uint64_t timens_flag(const Podvm__ContainerCreate *c);

/* user.c: runs in the child */
int user_lookup(const Podvm__Process *p, const char *cwd, char **ret_path,
		struct err *e);
int user_home(const char *passwd, size_t len, uint32_t uid, char *ret,
	      size_t room);
int user_env(const Podvm__Process *p, char ***ret, struct err *e);
int user_limits(const Podvm__Process *p, struct err *e);
int user_become(const Podvm__Process *p, struct err *e);
int user_try(const Podvm__Process *p, struct err *e);
int user_untry(struct err *e);

/* watch.c */
int watch_container(struct conn *c, const Podvm__ContainerWatch *m, struct err *e);
void watch_forget_conn(struct container *ctr, const struct conn *c);
void watch_forget_all(struct container *ctr);

#endif
