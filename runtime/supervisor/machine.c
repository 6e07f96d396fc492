// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The pod's machine: network namespace, taps, monitor, guest. The supervisor
 * opens what needs privilege and hands descriptors to the monitor; the guest's
 * agent calls back when it is up and then gets the pod's network, name, clock
 * and entropy before anything of a tenant runs.
 *
 * Where templates are wanted, the machine begins as a copy of a saved one (template.c). Such a
 * start may fail at any point up to a guest that is set up: then all of it is taken back, and
 * the machine is made anew without. Only when that has worked, the template is taken to be
 * to blame, and goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "netplug/netplug.h"
#include "runtime/netns.h"
#include "runtime/supervisor/supervisor.h"
#include "runtime/template.h"

#define AGENT_SETUP_MS 30000
#define SHUTDOWN_MS 3000
#define KILL_MS 5000

/* The agent of a restored machine has been up for long: it calls at once. */
#define RESTORED_MS 15000

/* The VM's own vsock address; each monitor has a vsock of its own. */
#define GUEST_CID 3

/*
 * No look for what the machine does not have: noearly spares 64 reads of ports by
 * which it has no PCI configuration, nr_uarts 24 to probe the debugging port
 * (earlyprintk and earlycon reach it all the same). numdummies: or each pod would have an
 * interface dummy0. noreplace-smp: a guest that begins with one processor would take the
 * lock prefixes out of its text, one by one at 2700 places by a mapping of its own for
 * each, and put them back when the second one comes. rcu_expedited: a container's end waits
 * for a dozen grace periods, each of them a tick of 4 ms or more of an idle processor.
 */
#define GUEST_CMDLINE \
	"console=hvc0 quiet panic=-1 reboot=t tsc=reliable no_timer_check pci=noearly 8250.nr_uarts=0 dummy.numdummies=0 noreplace-smp rcupdate.rcu_expedited=1"

/* One of the pod's own; with a name where hooks may put interfaces into it. */
static int own_netns(struct pod *p, const struct spec *spec, struct err *e)
{
	int rc = netns_new(&p->netns_fd, e);

	if (rc < 0 || (!spec->prestart.n && !spec->create_runtime.n))
		return rc;
	return netns_name(p->netns_fd, p->dirfd, p->journal, &p->netns_path, e);
}

static int pod_netns(struct pod *p, const struct spec *spec, struct err *e)
{
	struct stat own, pod;

	if (!spec->netns_path)
		return own_netns(p, spec, e);
	p->netns_path = strdup(spec->netns_path);
	if (!p->netns_path)
		return err_set(e, ENOMEM, "out of memory");
	p->netns_fd = open(spec->netns_path, O_RDONLY | O_CLOEXEC);
	if (p->netns_fd < 0 || fstat(p->netns_fd, &pod) < 0 ||
	    stat("/proc/thread-self/ns/net", &own) < 0)
		return err_sys(e, "/linux/namespaces: network namespace %s",
			       spec->netns_path);
	if (own.st_dev == pod.st_dev && own.st_ino == pod.st_ino)
		return err_set(e, ENOTSUP,
			       "/linux/namespaces: network namespace %s is the host's, which a machine of its own cannot join",
			       spec->netns_path);
	return 0;
}

static int plug_net(struct pod *p, const struct netplug_port *ports, size_t n, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < n && !rc; i++)
		rc = nic_plug(p, &ports[i], e);
	return rc;
}

static int open_parts(struct pod *p, const struct spec *spec, struct machine_parts *m,
		      struct err *e)
{
	char size_args[MACHINE_ARGS_BYTES];
	int n;

	m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm < 0)
		return err_sys(e, "/dev/kvm (podvm needs hardware virtualization and the kvm module)");
	m->kernel = open(p->config.kernel, O_RDONLY | O_CLOEXEC);
	if (m->kernel < 0)
		return err_sys(e, "guest kernel %s", p->config.kernel);
	m->initramfs = open(p->config.initramfs, O_RDONLY | O_CLOEXEC);
	if (m->initramfs < 0)
		return err_sys(e, "guest initramfs %s", p->config.initramfs);
	m->config.guest_cid = GUEST_CID;
	machine_size(p, spec, &m->config, size_args);
	n = snprintf(m->config.cmdline, sizeof(m->config.cmdline), "%s%s %s",
		     GUEST_CMDLINE, size_args, p->config.cmdline);
	if (n >= (int)sizeof(m->config.cmdline))
		return err_set(e, E2BIG, "configuration: cmdline is too long");
	memcpy(p->cmdline, m->config.cmdline, (size_t)n + 1);
	return 0;
}

static void close_parts(struct machine_parts *m)
{
	fd_close(&m->kvm);
	fd_close(&m->kernel);
	fd_close(&m->initramfs);
}

/**
 * machine_console() - the file that a machine's console writes to, empty
 *
 * Return: descriptor owned by the caller, or minus errno
 */
int machine_console(struct pod *p, struct err *e)
{
	int fd = openat(p->dirfd, "console.log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd < 0 ? err_sys(e, "console.log") : fd;
}

/**
 * machine_configure() - have a monitor make the machine
 * @v:      the pod's, or one that makes a template
 * @memory: the file that its RAM is saved to, borrowed; -1: it is not to be saved
 *
 * Return: 0 or minus errno
 */
int machine_configure(struct pod *p, struct vmm *v, const struct machine_parts *m, int memory,
		      struct err *e)
{
	_cleanup_close_ int console = machine_console(p, e);
	struct vmm_request rq = { .type = VMM_CONFIG };
	int fds[] = { m->kvm, m->kernel, m->initramfs, console, memory };
	struct vmm_reply rp;

	if (console < 0)
		return console;
	rq.config = m->config;
	/* Reads the kernel, and may take all memory at once: a part of the boot. */
	return vmm_call(v, &rq, fds, memory < 0 ? 4 : 5, (int)p->config.boot_timeout_ms, &rp, e);
}

/* Hands one end of a fresh socket pair to the monitor for @type and @port. */
static int join_vsock(struct pod *p, enum vmm_type type, uint32_t port,
		      int *ret_fd, struct err *e)
{
	struct vmm_request rq = { .type = type, .port = port };
	_cleanup_close_ int ours = -1, theirs = -1;
	struct vmm_reply rp;
	int s[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		return err_sys(e, "socketpair");
	ours = s[0];
	theirs = s[1];
	rc = vmm_call(&p->vmm, &rq, &theirs, 1, VMM_ANSWER_MS, &rp, e);
	if (rc < 0)
		return rc;
	*ret_fd = fd_steal(&ours);
	return 0;
}

/**
 * machine_connect() - a new connection to the guest's agent
 * @ret_fd: stream socket, owned by the caller
 *
 * Return: 0 or minus errno
 */
int machine_connect(struct pod *p, int *ret_fd, struct err *e)
{
	return join_vsock(p, VMM_CONNECT, AGENT_PORT, ret_fd, e);
}

static int broker_plug(struct pod *p, struct err *e)
{
	struct vmm_request rq = { .type = VMM_BROKER };
	_cleanup_close_ int end = -1;
	struct vmm_reply rp;
	int rc = broker_start(&p->broker, &end, e);

	return rc < 0 ? rc : vmm_call(&p->vmm, &rq, &end, 1, VMM_ANSWER_MS, &rp, e);
}

/**
 * machine_last_words() - add what the guest wrote last, for a boot that failed
 */
void machine_last_words(struct pod *p, struct err *e)
{
	char text[4096], *line;
	size_t len;

	ending_console(p, text, sizeof(text));
	len = strlen(text);
	if (!len)
		return;
	while (len && text[len - 1] == '\n')
		text[--len] = 0;
	line = strrchr(text, '\n');
	err_wrap(e, "guest's last words: %.200s", line ? line + 1 : text);
}

/**
 * machine_ended() - the error of a machine whose monitor has an event instead of its agent's call
 *
 * Return: minus errno
 */
int machine_ended(struct vmm *v, struct err *e)
{
	struct vmm_reply ev;
	int rc = vmm_event(v, &ev, e);

	return rc < 0 ? rc : err_set(e, EIO, "the machine ended while it booted: %s", ev.text);
}

/* Waits for the agent's call, or the monitor's end. */
static int wait_agent(struct pod *p, uint64_t limit_ms, struct err *e)
{
	uint64_t end = clock_ms() + limit_ms;
	struct pollfd f[2] = { { .fd = p->agent.fd, .events = POLLIN },
			       { .fd = p->vmm.sock, .events = POLLIN } };
	Podvm__Response *rs;
	int rc;

	for (;;) {
		uint64_t now = clock_ms();
		/* One that came with an answer does not make the socket readable. */
		int n = p->vmm.have_event ? 1 : poll(f, 2, now >= end ? 0 : (int)(end - now));

		if (n < 0 && errno != EINTR)
			return err_sys(e, "poll");
		if (!n)
			return err_set(e, ETIMEDOUT, "the guest's agent did not call within %llu ms",
				       (unsigned long long)limit_ms);
		if (f[0].revents)
			break;
		if (f[1].revents || p->vmm.have_event)
			return machine_ended(&p->vmm, e);
	}
	rc = agent_hello(&p->agent, AGENT_SETUP_MS, &rs, e);
	if (rc < 0)
		return rc;
	pod_stamp(p, 0, "agent called (guest kernel %.40s, its clock %llu ms, in user space since %llu ms)",
		  rs->hello->kernel, (unsigned long long)(rs->hello->boot_ns / 1000000),
		  (unsigned long long)(rs->hello->init_ns / 1000000));
	snprintf(p->guest_kernel, sizeof(p->guest_kernel), "%s", rs->hello->kernel);
	str_mask(p->guest_kernel);
	podvm__response__free_unpacked(rs, NULL);
	return 0;
}

static int setup_guest(struct pod *p, const struct spec *spec,
		       const Podvm__Network *net, struct err *e)
{
	Podvm__PodSetup setup = PODVM__POD_SETUP__INIT;
	Podvm__Request rq = AGENT_REQUEST(pod_setup = &setup, POD_SETUP);
	uint8_t entropy[64];
	struct timespec now;

	if (getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy))
		return err_sys(e, "getrandom");
	clock_gettime(CLOCK_REALTIME, &now);
	setup.network = (Podvm__Network *)(uintptr_t)net;
	setup.hostname = spec->create->hostname;
	setup.domainname = spec->create->domainname;
	setup.sysctls = spec->create->sysctls;
	setup.n_sysctls = spec->create->n_sysctls;
	setup.entropy.data = entropy;
	setup.entropy.len = sizeof(entropy);
	setup.realtime_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	return agent_call(&p->agent, &rq, AGENT_SETUP_MS, NULL, e);
}

/**
 * machine_journal() - write a monitor into the journal, for the case that it outlives us
 *
 * Done again behind a record whose undo needs that the monitor has ended, since undo
 * begins with the last record.
 *
 * Return: 0 or minus errno
 */
int machine_journal(struct pod *p, const struct vmm *v, struct err *e)
{
	char pid[24], start[24];
	uint64_t ticks;
	int rc = proc_start_ticks(v->pid, &ticks, e);

	if (rc < 0)
		return rc;
	snprintf(pid, sizeof(pid), "%d", v->pid);
	snprintf(start, sizeof(start), "%llu", (unsigned long long)ticks);
	return journal_add(p->journal, e, "proc", pid, start, NULL);
}

/**
 * struct start - what a machine is started with
 * @ports: @n_ports of them, borrowed; open until the machine runs, for a second try
 * @net:   that the guest is set up with, borrowed
 */
struct start {
	const struct spec *spec;
	struct machine_parts parts;
	const struct netplug_port *ports;
	size_t n_ports;
	const Podvm__Network *net;
};

static int spawn_monitor(struct pod *p, struct err *e)
{
	struct vmm_spawn how = { .log_fd = 2, .cgroup_fd = p->cgroup_fd };
	int rc = vmm_spawn(p->config.vmm, &how, &p->vmm, e);

	if (rc < 0)
		return err_wrap(e, "monitor %s", p->config.vmm);
	rc = machine_journal(p, &p->vmm, e);
	return rc < 0 ? rc : place_monitor(p, e);
}

/* From a machine that is made or restored up to a guest that is set up. */
static int go(struct pod *p, const struct start *s, uint64_t limit_ms, struct err *e)
{
	struct vmm_request start = { .type = VMM_START };
	struct vmm_reply rp;
	int rc;

	if ((rc = plug_net(p, s->ports, s->n_ports, e)) < 0 || (rc = broker_plug(p, e)) < 0 ||
	    (rc = join_vsock(p, VMM_LISTEN, AGENT_PORT, &p->agent.fd, e)) < 0 ||
	    (rc = vmm_call(&p->vmm, &start, NULL, 0, VMM_ANSWER_MS, &rp, e)) < 0)
		return rc;
	pod_stamp(p, 0, "machine started (%zu network ports)", s->n_ports);
	rc = wait_agent(p, limit_ms, e);
	if (rc < 0)
		machine_last_words(p, e);
	return rc < 0 ? rc : setup_guest(p, s->spec, s->net, e);
}

static int boot_cold(struct pod *p, const struct start *s, struct err *e)
{
	int rc = spawn_monitor(p, e);

	if (!rc)
		rc = machine_configure(p, &p->vmm, &s->parts, -1, e);
	return rc < 0 ? rc : go(p, s, p->config.boot_timeout_ms, e);
}

static int boot_restored(struct pod *p, const struct start *s, const struct template_id *id,
			 const struct template *t, struct err *e)
{
	uint64_t limit = p->config.boot_timeout_ms;
	int rc = spawn_monitor(p, e);

	if (!rc)
		rc = template_restore(p, &s->parts, id, t, e);
	return rc < 0 ? rc : go(p, s, limit < RESTORED_MS ? limit : RESTORED_MS, e);
}

/**
 * machine_kill() - end a monitor, and its machine; fine where there is none
 */
void machine_kill(struct vmm *v)
{
	int status;

	if (v->pidfd >= 0) {
		proc_kill(v->pidfd, SIGKILL);
		proc_wait(v->pidfd, KILL_MS, &status, NULL);
	}
	vmm_done(v);
	v->have_event = false;
}

static void kill_monitor(struct pod *p)
{
	machine_kill(&p->vmm);
	broker_stop(&p->broker);
}

/* A pod has to start, whatever is the matter with templates. */
static int boot(struct pod *p, const struct start *s, struct err *e)
{
	struct template_id id = { .about = NULL };
	struct template t = TEMPLATE_NONE;
	struct err why;
	int warm = -ENOTSUP, rc;

	place_limit(p, p->memory_bytes);
	if (template_wanted(p)) {
		warm = template_get(p, &s->parts, &id, &t, &why);
		if (!warm)
			warm = boot_restored(p, s, &id, &t, &why);
		if (warm < 0) {
			log_warn("pod %s: it starts without a template: %s", p->id, why.text);
			pod_stamp(p, 0, "no template: %s", why.text);
			kill_monitor(p);
			agent_done(&p->agent);
		}
	}
	rc = warm < 0 ? boot_cold(p, s, e) : 0;
	if (warm < 0 && !rc && t.ino)
		template_drop(p, &id, &t);
	template_close(&t);
	template_id_done(&id);
	return rc;
}

/* The monitor's own timeline, on the same clock. */
static void stamp_vmm(struct pod *p)
{
	struct vmm_stats st;

	if (machine_stats(p, &st, NULL) < 0)
		return;
	pod_stamp(p, st.start_ns, "monitor: process began");
	pod_stamp(p, st.config_ns, "monitor: memory, vCPUs and kernel ready");
	pod_stamp(p, st.run_ns, "monitor: first vCPU entered the guest");
	if (st.connect_ns)
		pod_stamp(p, st.connect_ns, "monitor: guest's first vsock call");
}

static enum netplug_model network_model(const struct pod *p, const struct spec *spec)
{
	return spec->network_model < NETPLUG_MODELS ? spec->network_model :
						      p->config.network_model;
}

/**
 * machine_start() - make the pod's machine, up to a guest that is set up
 * @spec: of the container that starts the pod, borrowed
 *
 * Return: 0; what failed; then machine_stop() and the journal undo what was made
 */
int machine_start(struct pod *p, const struct spec *spec, struct err *e)
{
	struct netplug_port ports[NETPLUG_PORTS_MAX];
	struct netplug_options how = { .model = network_model(p, spec) };
	struct start s = { .spec = spec, .parts = { -1, -1, -1, { 0 } }, .ports = ports };
	struct netplug_plan *plan = NULL;
	size_t taps, i;
	int rc;

	rc = pod_netns(p, spec, e);
	if (rc < 0)
		return rc;
	taps = nic_taps(machine_vcpus(p, spec));
	rc = netwatch_open(p, p->netns_path, taps, e);
	if (rc < 0)
		return rc;
	rc = netplug_plan(p->netns_fd, &how, &plan, e);
	if (rc < 0)
		return err_wrap(e, "network");
	rc = netplug_apply(plan, p->netns_fd, p->netns_path ? p->netns_path : "", taps,
			   p->journal, ports, &s.n_ports, e);
	if (rc < 0)
		err_wrap(e, "network");
	else
		pod_stamp(p, 0, "network joined (%zu interfaces)", s.n_ports);
	if (!rc)
		rc = open_parts(p, spec, &s.parts, e);
	if (!rc) {
		s.net = netplug_plan_network(plan);
		rc = boot(p, &s, e);
	}
	close_parts(&s.parts);
	/* The monitor has copies now; ours would keep the taps alive after it. */
	for (i = 0; i < s.n_ports; i++)
		netplug_port_close(&ports[i]);
	if (rc < 0) {
		netplug_plan_free(plan);
		return rc;
	}
	netwatch_begin(p, plan, ports, s.n_ports);
	stamp_vmm(p);
	pod_stamp(p, 0, "guest set up: pod is ready");
	return 0;
}

/**
 * machine_plug() - give the machine a disk
 * @number: for the broker
 * @ret_devfn: where the guest finds it on PCI bus 0; untouched on failure
 *
 * Return: 0 or minus errno
 */
int machine_plug(struct pod *p, const struct storage_disk *d, uint32_t number,
		 uint32_t *ret_devfn, struct err *e)
{
	struct vmm_request rq = { .type = VMM_DISK };
	struct vmm_reply rp;
	int rc;

	if (str_copy(rq.disk.serial, sizeof(rq.disk.serial), d->serial) < 0)
		return err_set(e, EINVAL, "disk %s: serial too long", d->serial);
	rq.disk.synthetic = d->kind == STORAGE_DISK_SYNTHETIC;
	rq.disk.readonly = d->readonly;
	rq.disk.number = number;
	rc = vmm_call(&p->vmm, &rq, &d->fd, 1, VMM_ANSWER_MS, &rp, e);
	if (rc < 0)
		return err_wrap(e, "disk %s", d->serial);
	*ret_devfn = rp.devfn;
	return 0;
}

/**
 * machine_unplug() - take a device away that the guest has removed
 * @name: serial of a disk, MAC address of an interface
 *
 * Return: 0; -EBUSY while the guest still holds it; minus errno
 */
int machine_unplug(struct pod *p, const char *name, struct err *e)
{
	struct vmm_request rq = { .type = VMM_UNPLUG };
	struct vmm_reply rp;

	if (str_copy(rq.name, sizeof(rq.name), name) < 0)
		return err_set(e, EINVAL, "device %s: name too long", name);
	return vmm_call(&p->vmm, &rq, NULL, 0, VMM_ANSWER_MS, &rp, e);
}

/**
 * machine_stats() - the monitor's counters
 *
 * Return: 0 or minus errno
 */
int machine_stats(struct pod *p, struct vmm_stats *ret, struct err *e)
{
	struct vmm_request rq = { .type = VMM_STATS };
	struct vmm_reply rp;
	int rc = vmm_call(&p->vmm, &rq, NULL, 0, VMM_ANSWER_MS, &rp, e);

	if (!rc)
		*ret = rp.stats;
	return rc;
}

/**
 * machine_metrics() - the monitor's counters, with those of all devices
 * @ret: owned by the caller, vmm_metrics_done()
 *
 * Return: 0 or minus errno
 */
int machine_metrics(struct pod *p, struct vmm_metrics *ret, struct err *e)
{
	return vmm_metrics_get(&p->vmm, VMM_ANSWER_MS, ret, e);
}

/**
 * machine_stop() - end guest, monitor and broker; fine at any stage, also twice
 * @gently: let the agent end its containers and power off first
 */
void machine_stop(struct pod *p, bool gently)
{
	Podvm__PodShutdown off = PODVM__POD_SHUTDOWN__INIT;
	Podvm__Request rq = AGENT_REQUEST(pod_shutdown = &off, POD_SHUTDOWN);
	struct pollfd f = { .fd = p->vmm.sock, .events = POLLIN };

	watchdog_stop(p);
	/* The monitor reports the end of the guest and waits for ours. */
	if (gently && p->agent.fd >= 0 && !p->dead &&
	    !agent_call(&p->agent, &rq, SHUTDOWN_MS, NULL, NULL) && !p->vmm.have_event)
		poll(&f, 1, SHUTDOWN_MS);
	relayd_stop(p);
	kill_monitor(p);
	share_broker_stop(&p->share);
	mirrors_done(p);
	netwatch_done(p);
	netplug_plan_free(p->plan);
	p->plan = NULL;
	agent_done(&p->agent);
	fd_close(&p->netns_fd);
	free(p->netns_path);
	p->netns_path = NULL;
	fd_close(&p->cgroup_fd);
}
