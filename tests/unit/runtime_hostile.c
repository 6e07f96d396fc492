// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A pod's supervisor against an agent that is hostile. The supervisor is the real one, on
 * this thread, asked over a control socket as podvm's commands do; only what stands on the
 * host's side of a container (cgroup, root file system, monitor) is missing. The agent is a
 * script on another thread, at the other end of the main connection. Each row says what the
 * agent does, what is asked meanwhile, what comes back, and what has become of the pod and
 * its container. For an agent that never answers nobody waits longer than SHORT_MS, and no
 * row may make the supervisor's memory grow by more than PEAK_KB.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/supervisor/supervisor.h"
#include "tests/kit/dir.h"

Suite *runtime_hostile_suite(void);

/* What is waited for an agent that never answers, and for one that does. */
#define SHORT_MS 80
#define LONG_MS 20000
#define PEAK_KB 300000

static int patience_ms;

static int patience(int ms)
{
	return ms < 0 || ms > patience_ms ? patience_ms : ms;
}

/* What the host's side would be. */
static int fake_cgroup(const char *path, const char *id, bool systemd, struct cgroup *ret,
		       struct err *e)
{
	(void)path;
	(void)id;
	(void)systemd;
	(void)e;
	*ret = (struct cgroup){ .begun = false };
	return 0;
}

static int fake_map(const struct storage_request *r, struct storage_map **m, struct err *e)
{
	(void)r;
	(void)m;
	return err_set(e, EOPNOTSUPP, "no disk");
}

static int fake_rootfs(struct pod *p, struct container *c, struct spec *spec, const char *why,
		       struct err *e)
{
	(void)p;
	(void)c;
	(void)spec;
	(void)why;
	(void)e;
	return 0;
}

static int fake_volumes(struct pod *p, struct container *c, struct spec *spec, struct err *e)
{
	(void)p;
	(void)c;
	(void)spec;
	(void)e;
	return 0;
}

/* What these tests do not come to, but for its names. */
#define nic_plug(p, port, e) ((void)(p), (void)(port), (void)(e), 0)
#define nic_taps(vcpus) ((size_t)(vcpus))
#define relayd_container(p, c) ((void)(p), (void)(c))
#define relayd_spawn(p, e) ((void)(p), (void)(e), 0)
#define relayd_stop(p) ((void)(p))
#define rawvols_plug fake_volumes
#define rawvols_serials(c, ret, room) ((void)(c), (void)(ret), (void)(room), (size_t)0)
#define rawvols_unplug(p, c) ((void)(p), (void)(c))
#define agent_call(a, rq, ms, ret, e) agent_call(a, rq, patience(ms), ret, e)
#define agent_hello(a, ms, ret, e) agent_hello(a, patience(ms), ret, e)
#define cgroup_of_container fake_cgroup
#define storage_map_rootfs fake_map
#define volume_rootfs fake_rootfs
#include "runtime/supervisor/control.c"
#include "runtime/supervisor/resize.c"
#include "runtime/supervisor/container.c"
#define on_event settle_on_event
#include "runtime/supervisor/settle.c"
#undef on_event
#define start wayback_start
#include "runtime/supervisor/wayback.c"
#undef start
#include "runtime/supervisor/machine.c"
#include "runtime/supervisor/template.c"
#include "runtime/supervisor/watchdog.c"
#include "runtime/supervisor/ending.c"
#include "runtime/supervisor/supervisor.c"

/* ---- a pod with one container, and its agent ------------------------------------- */

static struct pod pod;
static struct container *ctr;
static struct conn *conn;
static int client = -1, guest = -1;
static atomic_bool stop, played;

static void add_container(enum state_status status)
{
	struct spec spec = { .rootfs = strdupa("/r"), .oci_version = strdupa("1.2.0") };
	struct err e = { 0 };

	ctr = mem_new(struct container);
	strcpy(ctr->id, "c");
	ctr->back.hold = ctr->back.stream = -1;
	ck_assert_msg(!state_new("c", "p", "/bundle", &spec, &ctr->state, &e), "%s", e.text);
	ctr->committed = true;
	ctr->state->status = status;
	ck_assert_int_eq(state_save(pod.rootfd, ctr->state, &e), 0);
	pod.containers = ctr;
}

static void make_bundle(void)
{
	struct err e = { 0 };
	FILE *f;

	ck_assert(!mkdir("b", 0700) && !mkdir("b/rootfs", 0700));
	f = fopen("b/config.json", "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(spec_example_print(f, &e), 0);
	ck_assert(!fclose(f));
}

static void setup(void)
{
	struct err e = { 0 };
	struct loop_src *src;
	int s[2];

	kit_dir_enter();
	log_open(-1, LOG_LEVEL_ERROR, false);
	memset(&pod, 0, sizeof(pod));
	strcpy(pod.id, "p");
	pod.vmm.sock = pod.vmm.pidfd = pod.listen_fd = pod.netns_fd = -1;
	pod.relay.sock = pod.relay.pidfd = -1;
	pod.vcpus = pod.vcpus_now = pod.vcpus_max = 4;
	pod.rootfd = state_root_open("state", &e);
	ck_assert_int_ge(pod.rootfd, 0);
	ck_assert_int_eq(journal_open(AT_FDCWD, "journal", &pod.journal, &e), 0);
	ck_assert_int_eq(loop_new(&pod.loop, &e), 0);
	ck_assert(!settle_watch(&pod, &e) && !wayback_open(&pod, &e));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	pod.agent = (struct agent){ .fd = s[0], .on_event = on_event, .arg = &pod };
	guest = s[1];
	ck_assert_int_eq(loop_add(pod.loop, s[0], EPOLLIN, on_agent, &pod, &src, &e), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	client = s[1];
	conn = mem_new(struct conn);
	conn->pod = &pod;
	conn->fd = s[0];
	ck_assert(!loop_add(pod.loop, s[0], EPOLLIN, on_request, conn, &conn->src, &e));
	stop = played = false;
}

static void teardown(void)
{
	pod.dead = true;
	conn_close(conn);
	container_forget_all(&pod);
	agent_done(&pod.agent);
	fd_close(&guest);
	fd_close(&client);
	loop_free(pod.loop);
	fd_close(&pod.back_fd);
	fd_close(&pod.settle_event);
	fd_close(&pod.rootfd);
	journal_free(pod.journal);
	kit_dir_leave();
}

/* ---- what an agent can say -------------------------------------------------------- */

static void take(void)
{
	struct frame_rx rx = { 0 };

	frame_recv(guest, &rx, 5000, NULL);
	frame_done(&rx);
}

static void raw(const void *data, size_t len)
{
	size_t done = 0;
	ssize_t n = 1;

	for (; done < len && n > 0; done += (size_t)n)
		n = send(guest, (const char *)data + done, len - done, MSG_NOSIGNAL);
}

static void say(Podvm__Response *rs)
{
	frame_send(guest, &rs->base, 5000, NULL);
}

static void fine(void)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;

	say(&rs);
}

static void error(int32_t code, const char *text)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;

	rs.error = code;
	rs.text = (char *)(uintptr_t)text;
	say(&rs);
}

static void exited(const char *id, const char *exec_id, uint32_t code, uint32_t sig)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Exited x = PODVM__EXITED__INIT;

	x.id = (char *)(uintptr_t)id;
	x.exec_id = (char *)(uintptr_t)exec_id;
	x.code = code;
	x.signal = sig;
	rs.body_case = PODVM__RESPONSE__BODY_EVENT;
	rs.event = &x;
	say(&rs);
}

static void pids(size_t n)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Pids p = PODVM__PIDS__INIT;
	uint32_t *v = mem_new_n(uint32_t, n + 1);

	p.pids = v;
	p.n_pids = n;
	rs.body_case = PODVM__RESPONSE__BODY_PIDS;
	rs.pids = &p;
	say(&rs);
	free(v);
}

static void cpus(uint32_t online)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Cpus c = PODVM__CPUS__INIT;

	c.present = c.online = online;
	rs.body_case = PODVM__RESPONSE__BODY_CPUS;
	rs.cpus = &c;
	say(&rs);
}

static void hello(void)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Hello h = PODVM__HELLO__INIT;

	h.protocol = AGENT_PROTOCOL;
	rs.body_case = PODVM__RESPONSE__BODY_HELLO;
	rs.hello = &h;
	say(&rs);
}

/* A whole message of @unit, again and again, up to @len bytes. */
static void repeated(const char *unit, size_t n, uint32_t len)
{
	char *buf = malloc(len);
	size_t i;

	len -= len % (uint32_t)n;
	for (i = 0; i < len; i++)
		buf[i] = unit[i % n];
	raw(&len, 4);
	raw(buf, len);
	free(buf);
}

/* ---- scripts ------------------------------------------------------------------------ */

#define RAW(s) raw(s, sizeof(s) - 1)

static void length_4g(void) { take(); RAW("\xff\xff\xff\xff" "x"); }
static void length_1m_and_one(void) { take(); RAW("\x01\0\x10\0" "x"); }
static void cut_and_close(void) { take(); RAW("\x08\0\0\0\x08"); shutdown(guest, SHUT_RDWR); }
static void cut_and_stall(void) { take(); RAW("\x08\0\0\0\x08"); }
static void half_a_length(void) { take(); RAW("\x08\0"); }
static void cut_body(void) { take(); RAW("\2\0\0\0\x22\x05"); }
static void endless_number(void) { take(); RAW("\x0b\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"); }
static void wrong_wire_type(void) { take(); RAW("\2\0\0\0\x20\x01"); }
static void string_4g(void) { take(); RAW("\6\0\0\0\x12\xff\xff\xff\xff\x0f"); }
static void a_group(void) { take(); RAW("\2\0\0\0\x0b\x0c"); }
static void other_body(void) { take(); cpus(1); }
static void no_body(void) { take(); fine(); }
static void two_bodies(void) { take(); RAW("\6\0\0\0\x32\0\x3a\0\x22\0"); } /* pids, cpus, exited */
static void says_hello(void) { take(); hello(); }
static void many_pids(void) { take(); pids(1000000); }
static void pids_that_fit(void) { take(); pids(60000); }
static void silent(void) { take(); }
static void closes(void) { take(); shutdown(guest, SHUT_RDWR); }
static void closes_idle(void) { shutdown(guest, SHUT_RDWR); }
static void half_closes(void) { shutdown(guest, SHUT_WR); }
static void error_negative(void) { take(); error(-5, "x"); }
static void error_huge(void) { take(); error(INT32_MAX, "x"); }
static void error_drives_terminal(void)
{
	take();
	error(EIO, "a\nb\x1b]0;t\a\x7f\xc2\x9b" "2J\x9b\xff\xe2\x80\xae" "c\r");
}

static void error_nul(void)
{
	take();
	RAW("\x0b\0\0\0\x08\x05\x12\x07" "ab\0\ncd\x1b"); /* text with a NUL inside */
}

static void error_formats(void) { take(); error(EIO, "%s%n%99999d"); }

static void error_long(void)
{
	char *text = malloc(900001);

	memset(text, 'x', 900000);
	text[900000] = 0;
	take();
	error(EIO, text);
	free(text);
}

/* Its creation, and then its deletion. */
static void refuses_twice(void) { error_drives_terminal(); error_drives_terminal(); }

static void says_not_running(void) { take(); error(ESRCH, "container not running"); }
static void event_then_fine(void) { take(); exited("c", "", 7, 0); fine(); }
static void event_then_error(void) { take(); exited("c", "", 7, 0); error(EIO, "no"); }
static void event_within_delete(void) { take(); exited("c", "", 0, SIGKILL); fine(); }
static void event(void) { exited("c", "", 3, 0); }
static void events_differ(void) { exited("c", "", 3, 0); exited("c", "", 4, 9); exited("c", "", 0, 0); }
static void event_unknown(void) { exited("nobody", "", 1, 0); exited("", "", 1, 0); exited("../c", "", 1, 0); }
static void event_of_exec(void) { exited("c", "e1", 1, 0); }
static void event_empty(void) { RAW("\2\0\0\0\x2a\0"); }
static void event_numbers(void) { exited("c", "", UINT32_MAX, UINT32_MAX); }

static void event_long_id(void)
{
	char *id = malloc(1000001);

	memset(id, 'c', 1000000);
	id[1000000] = 0;
	exited(id, "", 1, 0);
	free(id);
}

static void floods(void)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Exited x = PODVM__EXITED__INIT;

	x.id = strdupa("nobody");
	rs.body_case = PODVM__RESPONSE__BODY_EVENT;
	rs.event = &x;
	while (!stop && !frame_send(guest, &rs.base, 1000, NULL))
		;
}

static void unasked(void) { fine(); }
static void unasked_hello(void) { hello(); }
static void answers_twice(void) { take(); pids(1); pids(2); }
static void answers_before(void) { pids(1); take(); pids(2); }

static void one_byte_at_a_time(void)
{
	take();
	RAW("\x00\x10\0\0");
	while (!stop && send(guest, "\x0a", 1, MSG_NOSIGNAL) == 1)
		usleep(1000);
}

static void unknown_fields(void) { take(); repeated("\xf8\x07\x01", 3, 1u << 20); }
static void empty_links(void) { take(); repeated("\x5a\x02\x12\x00", 4, 1u << 20); } /* net_state */

static void many_links(void)
{
	/* One net_state of 0xffff0 bytes, all of them empty messages. */
	static const char head[] = "\xf4\xff\x0f\x00\x5a\xf0\xff\x3f";
	char *buf = malloc(0xffff0);
	size_t i;

	for (i = 0; i < 0xffff0; i++)
		buf[i] = i % 2 ? 0 : 0x12;
	take();
	raw(head, sizeof(head) - 1);
	raw(buf, 0xffff0);
	free(buf);
}

static void many_cpus(void) { take(); cpus(UINT32_MAX); }
static void late(void) { take(); take(); pids(1); pids(2); }

/* ---- rows ---------------------------------------------------------------------------- */

enum ask { IDLE, PIDS, PIDS_TWICE, START, KILL, PAUSE, RESUME, DELETE, FORCE, VCPUS, CREATE };

/* Not STATE_*: the container and its record are gone. */
#define GONE 99

static const struct row {
	const char *what;
	void (*agent)(void);
	enum ask ask;
	int begins, code;	/* enum state_status; errno of the answer */
	const char *text;	/* in the answer */
	bool dead;
	int ends, exit_code;
} rows[] = {
#define R STATE_RUNNING
#define C STATE_CREATED
#define S STATE_STOPPED
	/* Framing. */
	{ "a length of 4 GiB", length_4g, PIDS, R, EMSGSIZE, "4294967295 bytes, at most 1048576", true, R, 0 },
	{ "a length of 1 MiB and a byte", length_1m_and_one, PIDS, R, EMSGSIZE, "1048577 bytes", true, R, 0 },
	{ "closes in the middle of a message", cut_and_close, PIDS, R, EPIPE, "closed the connection", true, R, 0 },
	{ "stalls in the middle of a message", cut_and_stall, PIDS, R, ETIMEDOUT, "no answer in time", true, R, 0 },
	{ "stalls in the middle of a length", half_a_length, KILL, R, ETIMEDOUT, "no answer in time", true, R, 0 },
	{ "one byte at a time", one_byte_at_a_time, PIDS, R, ETIMEDOUT, "no answer in time", true, R, 0 },
	/* Protobuf. */
	{ "a body that is cut", cut_body, PIDS, R, EPROTO, "does not parse", false, R, 0 },
	{ "a number without an end", endless_number, PIDS, R, EPROTO, "does not parse", false, R, 0 },
	{ "a body with another wire type", wrong_wire_type, PIDS, R, EPROTO, "does not parse", false, R, 0 },
	{ "a text of 4 GiB", string_4g, START, C, EPROTO, "does not parse", false, S, 0 },
	{ "a group", a_group, PIDS, R, EPROTO, "does not parse", false, R, 0 },
	{ "350,000 unknown fields", unknown_fields, KILL, R, 0, NULL, false, R, 0 },
	{ "260,000 states of the network", empty_links, KILL, R, 0, NULL, false, R, 0 },
	{ "a state of 520,000 links", many_links, KILL, R, 0, NULL, false, R, 0 },
	/* Answers to something else. */
	{ "processors for processes", other_body, PIDS, R, EPROTO, "did not tell the processes", false, R, 0 },
	{ "nothing for processes", no_body, PIDS, R, EPROTO, "did not tell the processes", false, R, 0 },
	{ "three bodies at once", two_bodies, PIDS, R, EPROTO, "did not tell the processes", false, R, 0 },
	{ "hello for processes", says_hello, PIDS, R, EPROTO, "did not tell the processes", false, R, 0 },
	{ "nothing for processors", no_body, VCPUS, R, EPROTO, "did not tell its processors", false, R, 0 },
	{ "four billion processors", many_cpus, VCPUS, R, EPROTO, "4294967295 processors, and the machine has 4", false, R, 0 },
	{ "a million processes", many_pids, PIDS, R, EMSGSIZE, "the answer has 1000", false, R, 0 },
	{ "as many processes as fit", pids_that_fit, PIDS, R, 0, NULL, false, R, 0 },
	/* Texts and codes. */
	{ "a negative error", error_negative, KILL, R, EPROTO, "x", false, R, 0 },
	{ "an error that is no errno", error_huge, KILL, R, EPROTO, "x", false, R, 0 },
	{ "a text that drives a terminal", error_drives_terminal, KILL, R, EIO, "a?b?]0;t????2J?????c?", false, R, 0 },
	{ "a text with a NUL", error_nul, KILL, R, EIO, "ab", false, R, 0 },
	{ "a text that is a format", error_formats, KILL, R, EIO, "%s%n%99999d", false, R, 0 },
	{ "a text of 900 KB", error_long, KILL, R, EIO, "xxxx", false, R, 0 },
	{ "says that it does not run", says_not_running, KILL, R, ESRCH, "container not running", false, R, 0 },
	/* Silence, floods, ends. */
	{ "never answers", silent, PIDS, R, ETIMEDOUT, "no answer in time", false, R, 0 },
	{ "never answers a start", silent, START, C, ETIMEDOUT, "no answer in time", false, S, 0 },
	{ "never answers a creation", silent, CREATE, R, ETIMEDOUT, "no answer in time", false, R, 0 },
	{ "never answers a deletion", silent, DELETE, S, ETIMEDOUT, "no answer in time", false, S, 0 },
	{ "never answers a forced deletion", silent, FORCE, R, 0, NULL, false, GONE, 0 },
	{ "refuses a deletion", error_drives_terminal, DELETE, S, EIO, "a?b", false, S, 0 },
	{ "refuses a forced deletion", error_drives_terminal, FORCE, R, 0, NULL, false, GONE, 0 },
	{ "refuses a creation", refuses_twice, CREATE, R, EIO, "a?b", false, R, 0 },
	{ "floods with events meanwhile", floods, KILL, R, ETIMEDOUT, "no answer in time", false, R, 0 },
	{ "closes when it is asked", closes, PIDS, R, EPIPE, "closed the connection", true, R, 0 },
	{ "closes when it creates", closes, CREATE, R, EPIPE, "closed the connection", true, R, 0 },
	{ "closes when it starts", closes, START, C, EPIPE, "closed the connection", true, R, 0 },
	{ "closes by itself", closes_idle, IDLE, R, 0, NULL, true, R, 0 },
	{ "ends its half", half_closes, IDLE, R, 0, NULL, true, R, 0 },
	/* Order. */
	{ "answers what was not asked", unasked, IDLE, R, 0, NULL, true, R, 0 },
	{ "says hello again", unasked_hello, IDLE, R, 0, NULL, true, R, 0 },
	{ "answers twice", answers_twice, PIDS, R, 0, NULL, true, R, 0 },
	{ "answers before it is asked", answers_before, PIDS, R, -1, NULL, true, R, 0 },
	{ "answers late, then in time", late, PIDS_TWICE, R, 0, NULL, false, R, 0 },
	/* Ends of containers. */
	{ "the end of one that never ran", event, IDLE, C, 0, NULL, false, S, 3 },
	{ "three ends of one", events_differ, IDLE, R, 0, NULL, false, S, 3 },
	{ "ends of nobody", event_unknown, IDLE, R, 0, NULL, false, R, 0 },
	{ "the end of an exec", event_of_exec, IDLE, R, 0, NULL, false, R, 0 },
	{ "an end without a name", event_empty, IDLE, R, 0, NULL, false, R, 0 },
	{ "an end of a name of 1 MB", event_long_id, IDLE, R, 0, NULL, false, R, 0 },
	{ "an end with impossible numbers", event_numbers, IDLE, R, 0, NULL, false, S, 255 },
	{ "ends, and then was started", event_then_fine, START, C, 0, NULL, false, S, 7 },
	{ "ends, and could not be started", event_then_error, START, C, EIO, "no", false, S, 7 },
	{ "ends, and then was paused", event_then_fine, PAUSE, R, 0, NULL, false, S, 7 },
	{ "ends, and then was let run", event_then_fine, RESUME, STATE_PAUSED, 0, NULL, false, S, 7 },
	{ "ends within its deletion", event_within_delete, FORCE, R, 0, NULL, false, GONE, 0 },
#undef R
#undef C
#undef S
};

static void *play(void *arg)
{
	const struct row *r = arg;

	r->agent();
	played = true;
	return NULL;
}

static long peak_kb(void)
{
	char *text = NULL, *at;
	long kb = 0;

	if (!file_read(AT_FDCWD, "/proc/self/status", 65536, &text, NULL, NULL) &&
	    (at = strstr(text, "VmHWM:")))
		kb = strtol(at + 6, NULL, 10);
	free(text);
	return kb;
}

static bool no_config;

/* One request, as a command sends it; its answer, or NULL. */
static Podvm__Pod__Response *put(const Podvm__Pod__Request *rq)
{
	static uint8_t buf[POD_MESSAGE_BYTES];
	size_t len = podvm__pod__request__pack(rq, buf), n_fds;
	struct spec_source src = SPEC_SOURCE_NONE;
	struct err e = { 0 };
	ssize_t n;

	if (rq->body_case == PODVM__POD__REQUEST__BODY_CREATE && !no_config)
		ck_assert_msg(!spec_source_read(rq->create->bundle, &src, &e), "%s", e.text);
	ck_assert_int_eq(fd_send(client, buf, len, &src.config, src.config >= 0, &e), 0);
	spec_source_done(&src);
	do {
		ck_assert_int_ge(loop_step(pod.loop, 20, &e), 0);
		n = recv(client, buf, 1, MSG_PEEK | MSG_DONTWAIT);
	} while (n < 0 && errno == EAGAIN);
	n = fd_recv(client, buf, sizeof(buf), NULL, 0, &n_fds, &e);
	return n > 0 ? podvm__pod__response__unpack(NULL, (size_t)n, buf) : NULL;
}

static Podvm__Pod__Response *request(enum ask what)
{
	Podvm__Pod__Pids ps = PODVM__POD__PIDS__INIT;
	Podvm__Pod__Start begin = PODVM__POD__START__INIT;
	Podvm__Pod__Signal sig = PODVM__POD__SIGNAL__INIT;
	Podvm__Pod__Freeze freeze = PODVM__POD__FREEZE__INIT;
	Podvm__Pod__Delete del = PODVM__POD__DELETE__INIT;
	Podvm__Pod__Resize size = PODVM__POD__RESIZE__INIT;
	Podvm__Pod__Create create = PODVM__POD__CREATE__INIT;
	char id[] = "c", other[] = "d", bundle[PATH_MAX];
	Podvm__Pod__Request rq = POD_REQUEST(pids = &ps, PIDS);

	ps.id = begin.id = sig.id = freeze.id = del.id = id;
	create.id = other;
	create.bundle = realpath("b", bundle);
	sig.signal = SIGTERM;
	freeze.frozen = what == PAUSE;
	del.force = what == FORCE;
	size.vcpus = 2;
	switch (what) {
	case START:
		rq = (Podvm__Pod__Request)POD_REQUEST(start = &begin, START);
		break;
	case KILL:
		rq = (Podvm__Pod__Request)POD_REQUEST(signal = &sig, SIGNAL);
		break;
	case PAUSE:
	case RESUME:
		rq = (Podvm__Pod__Request)POD_REQUEST(freeze = &freeze, FREEZE);
		break;
	case DELETE:
	case FORCE:
		rq = (Podvm__Pod__Request)POD_REQUEST(delete_ = &del, DELETE);
		break;
	case VCPUS:
		rq = (Podvm__Pod__Request)POD_REQUEST(resize = &size, RESIZE);
		break;
	case CREATE:
		rq = (Podvm__Pod__Request)POD_REQUEST(create = &create, CREATE);
		break;
	default:
		break;
	}
	return put(&rq);
}

static void expect_answer(const struct row *r, Podvm__Pod__Response *rs)
{
	char *masked;

	ck_assert_msg(rs, "%s: no answer", r->what);
	if (r->code >= 0)
		ck_assert_msg(rs->error == r->code, "%s: error %d, %s", r->what, rs->error, rs->text);
	if (r->text)
		ck_assert_msg(strstr(rs->text, r->text), "%s: %s", r->what, rs->text);
	masked = strdup(rs->text);
	str_mask(masked);
	ck_assert_str_eq(masked, rs->text);
	free(masked);
	podvm__pod__response__free_unpacked(rs, NULL);
}

static void expect_container(const struct row *r)
{
	struct state *s = NULL;
	struct err e = { 0 };

	if (r->ends == GONE) {
		ck_assert_ptr_null(container_find(&pod, "c"));
		ck_assert_int_eq(state_load(pod.rootfd, "c", &s, &e), -ENOENT);
		return;
	}
	ctr = container_find(&pod, "c");
	ck_assert_ptr_nonnull(ctr);
	ck_assert_msg((int)ctr->state->status == r->ends, "%s: %s", r->what,
		      state_status_name(ctr->state->status));
	ck_assert_int_eq(ctr->state->exit_code, r->exit_code);
	ck_assert_int_eq(state_load(pod.rootfd, "c", &s, &e), 0);
	ck_assert_int_eq(s->status, ctr->state->status);
	state_free(s);
	/* What could not be created has left nothing. */
	ck_assert_ptr_null(container_find(&pod, "d"));
}

/* The way down: what has not ended before has ended with the machine, and why is told. */
static void expect_buried(const struct row *r)
{
	_cleanup_free_ char *json = NULL;
	struct state *s = NULL;
	struct err e = { 0 };

	container_forget_all(&pod);
	ck_assert_int_eq(state_load(pod.rootfd, "c", &s, &e), 0);
	ck_assert_int_eq(s->status, STATE_STOPPED);
	ck_assert_int_eq(s->exit_code, r->ends == STATE_STOPPED ? r->exit_code : 255);
	ck_assert_int_eq(state_json(s, &json, &e), 0);
	ck_assert(r->ends == STATE_STOPPED ||
		  (!strcmp(s->ended, pod.end_text) && strstr(json, "\"io.podvm.ended\": \"agent-lost: ")));
	state_free(s);
}

START_TEST(agent_is_hostile)
{
	const struct row *r = &rows[_i];
	Podvm__Pod__Response *rs = NULL;
	struct err e = { 0 };
	long before;
	pthread_t t;
	int n;

	patience_ms = r->code == ETIMEDOUT || r->agent == silent ? SHORT_MS : LONG_MS;
	add_container((enum state_status)r->begins);
	if (r->ask == CREATE)
		make_bundle();
	before = peak_kb();
	ck_assert_int_eq(pthread_create(&t, NULL, play, (void *)(uintptr_t)r), 0);
	if (r->ask == PIDS_TWICE) {
		patience_ms = SHORT_MS;
		rs = request(PIDS);
		patience_ms = LONG_MS;
		ck_assert_int_eq(rs->error, ETIMEDOUT);
		podvm__pod__response__free_unpacked(rs, NULL);
	}
	if (r->ask != IDLE)
		expect_answer(r, request(r->ask));
	stop = true;
	/* What it has still to say is heard, up to its end, however late that comes. */
	for (n = 0; (n < 2 || (r->ask == IDLE && !played)) && !pod.dead; n = loop_step(pod.loop, 10, &e) ? 0 : n + 1)
		;
	shutdown(guest, SHUT_RDWR);
	pthread_join(t, NULL);
	ck_assert_msg(pod.dead == r->dead, "%s: the pod is %s", r->what, pod.dead ? "dead" : "alive");
	if (r->dead)
		ck_assert_msg(pod.end == LIFE_END_AGENT && str_starts(pod.end_text, "agent-lost: the guest's agent"),
			      "%s: %s", r->what, pod.end_text);
	expect_container(r);
	if (r->dead)
		expect_buried(r);
	ck_assert_msg(peak_kb() - before < PEAK_KB, "%s: %ld KB more", r->what, peak_kb() - before);
}
END_TEST

/* ---- the first message --------------------------------------------------------------- */

static void hello_escapes(void)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Hello h = PODVM__HELLO__INIT;

	h.protocol = AGENT_PROTOCOL;
	h.kernel = strdupa("6\x1b]0;t\a\n\xc2\x9b");
	rs.body_case = PODVM__RESPONSE__BODY_HELLO;
	rs.hello = &h;
	say(&rs);
}

static void hello_of_another(void) { RAW("\4\0\0\0\x1a\x02\x08\x63"); }
static void hello_4g(void) { RAW("\xff\xff\xff\xff"); }
static void nothing(void) { }

static const struct {
	const char *what;
	void (*agent)(void);
	int rc;
	const char *text;
} firsts[] = {
	{ "escapes", hello_escapes, 0, "guest kernel 6?]0;t????, its" },
	{ "another version", hello_of_another, -EPROTO, "speaks protocol 99" },
	{ "no hello", unasked, -EPROTO, "did not say hello" },
	{ "a length of 4 GiB", hello_4g, -EMSGSIZE, "4294967295 bytes" },
	{ "silence", nothing, -ETIMEDOUT, "did not call" },
	{ "half a length", half_a_length, -ETIMEDOUT, "no answer in time" },
	{ "an end", closes_idle, -EPIPE, "closed the connection" },
	{ "a flood", floods, -ETIMEDOUT, "no answer in time" },
};

/* The monitor's socket is silent. */
/* What a container is made of comes with the request, and is not looked for elsewhere. */
START_TEST(create_wants_its_config)
{
	Podvm__Pod__Response *rs;

	make_bundle();
	no_config = true;
	rs = request(CREATE);
	ck_assert_ptr_nonnull(rs);
	ck_assert_int_eq(rs->error, EPROTO);
	ck_assert_str_eq(rs->text, "no sealed config.json came with the request");
	ck_assert(!container_find(&pod, "d") && !pod.dead);
	podvm__pod__response__free_unpacked(rs, NULL);
}
END_TEST

START_TEST(first_message)
{
	struct err e = { 0 };
	pthread_t t;
	int rc, s[2];
	struct row r = { .agent = firsts[_i].agent };

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	pod.vmm.sock = s[0];
	patience_ms = firsts[_i].rc == -ETIMEDOUT ? SHORT_MS : LONG_MS;
	pod.config.boot_timeout_ms = (uint64_t)patience_ms;
	if (firsts[_i].agent == half_a_length)
		ck_assert_int_eq(send(pod.agent.fd, "\0\0\0\0", 4, 0), 4);
	ck_assert_int_eq(pthread_create(&t, NULL, play, &r), 0);
	rc = wait_agent(&pod, pod.config.boot_timeout_ms, &e);
	ck_assert_msg(rc == firsts[_i].rc, "%s: %s", firsts[_i].what, e.text);
	if (rc < 0)
		ck_assert_msg(strstr(e.text, firsts[_i].text), "%s: %s", firsts[_i].what, e.text);
	else
		ck_assert_msg(strstr(pod.stamps[0].what, firsts[_i].text), "%s", pod.stamps[0].what);
	stop = true;
	shutdown(guest, SHUT_RDWR);
	pthread_join(t, NULL);
	pod.vmm.sock = -1;
	close(s[0]);
	close(s[1]);
}
END_TEST

Suite *runtime_hostile_suite(void)
{
	Suite *s = suite_create("runtime_hostile");
	TCase *t = tcase_create("supervisor");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, agent_is_hostile, 0, (int)ARRAY_LEN(rows));
	tcase_add_test(t, create_wants_its_config);
	tcase_add_loop_test(t, first_message, 0, (int)ARRAY_LEN(firsts));
	suite_add_tcase(s, t);
	return s;
}
