// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Updates of limits: what they come to (runtime/spec_update.c), one row each; what the
 * supervisor sends of them and keeps (runtime/supervisor/limits.c), with a guest's agent
 * that is a thread and answers as a row says; and the command line, against a supervisor
 * that is a thread.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/cli/cli.h"
#include "runtime/spec_impl.h"
#include "runtime/supervisor/supervisor.h"
#include "tests/kit/dir.h"
#include "tests/kit/fakepod.h"
#include "tests/kit/fault.h"
#include "tests/kit/kit.h"

Suite *runtime_update_suite(void);

/* ---- what an update comes to ------------------------------------------------------ */
/* Files as "name=value" in their order, a blank between them. */
static const struct {
	const char *old, *given, *files, *kept;
} rows[] = {
	{ "{}", "{}", "", "{}" },
	{ "{}", "{\"memory\":{\"limit\":67108864}}", "memory.max=67108864",
	  "{\"memory\":{\"limit\":67108864}}" },
	{ NULL, "{\"pids\":{\"limit\":20}}", "pids.max=20", "{\"pids\":{\"limit\":20}}" },
	/* Only what is given and differs. */
	{ "{\"memory\":{\"limit\":1048576},\"pids\":{\"limit\":20}}", "{\"pids\":{\"limit\":30}}",
	  "pids.max=30", "{\"memory\":{\"limit\":1048576},\"pids\":{\"limit\":30}}" },
	{ "{\"pids\":{\"limit\":20}}", "{\"pids\":{\"limit\":20}}", "",
	  "{\"pids\":{\"limit\":20}}" },
	/* 0 and "" leave. */
	{ "{\"memory\":{\"limit\":1048576},\"cpu\":{\"cpus\":\"0\",\"shares\":512}}",
	  "{\"memory\":{\"limit\":0,\"swap\":0,\"reservation\":0},\"cpu\":{\"shares\":0,"
	  "\"quota\":0,\"cpus\":\"\",\"mems\":\"\"},\"pids\":{\"limit\":0},\"blockIO\":{\"weight\":0}}",
	  "", NULL },
	{ "{}", "{\"memory\":null,\"cpu\":{\"quota\":null}}", "", NULL },
	/* No limit. */
	{ "{\"memory\":{\"limit\":1048576}}", "{\"memory\":{\"limit\":-1}}",
	  "memory.max=max memory.swap.max=max", "{\"memory\":{\"limit\":-1,\"swap\":-1}}" },
	{ "{\"memory\":{\"limit\":1048576,\"swap\":2097152}}", "{\"memory\":{\"limit\":-1}}",
	  "memory.max=max memory.swap.max=max", NULL },
	{ "{\"pids\":{\"limit\":5}}", "{\"pids\":{\"limit\":-1}}", "pids.max=max", NULL },
	{ "{\"memory\":{\"reservation\":4096}}", "{\"memory\":{\"reservation\":-1}}",
	  "memory.low=0", NULL },
	/* Swap counts memory; one of the two decides with the other one of before. */
	{ "{\"memory\":{\"limit\":1048576}}", "{\"memory\":{\"swap\":3145728}}",
	  "memory.swap.max=2097152", "{\"memory\":{\"limit\":1048576,\"swap\":3145728}}" },
	{ "{\"memory\":{\"limit\":1048576,\"swap\":3145728}}", "{\"memory\":{\"limit\":2097152}}",
	  "memory.max=2097152 memory.swap.max=1048576", NULL },
	{ "{\"memory\":{\"limit\":1048576}}", "{\"memory\":{\"swap\":-1}}", "memory.swap.max=max",
	  NULL },
	{ "{\"memory\":{\"limit\":1048576,\"swap\":1048576}}",
	  "{\"memory\":{\"limit\":2097152,\"swap\":2097152}}", "memory.max=2097152", NULL },
	/* Quota and period, each with the other one of before. */
	{ "{}", "{\"cpu\":{\"quota\":50000}}", "cpu.max=50000 100000", NULL },
	{ "{\"cpu\":{\"quota\":50000}}", "{\"cpu\":{\"period\":200000}}", "cpu.max=50000 200000",
	  "{\"cpu\":{\"quota\":50000,\"period\":200000}}" },
	{ "{\"cpu\":{\"quota\":50000,\"period\":200000}}", "{\"cpu\":{\"quota\":20000}}",
	  "cpu.max=20000 200000", NULL },
	{ "{\"cpu\":{\"quota\":50000,\"period\":200000}}", "{\"cpu\":{\"period\":0}}",
	  "cpu.max=50000 100000", NULL },
	{ "{\"cpu\":{\"quota\":50000,\"period\":200000}}", "{\"cpu\":{\"quota\":-1}}",
	  "cpu.max=max 200000", NULL },
	{ "{\"cpu\":{\"period\":200000}}", "{\"cpu\":{\"period\":0}}", "cpu.max=max 100000", NULL },
	/* A burst is never above the quota. */
	{ "{\"cpu\":{\"quota\":50000}}", "{\"cpu\":{\"burst\":30000}}", "cpu.max.burst=30000", NULL },
	{ "{\"cpu\":{\"quota\":50000,\"burst\":30000}}", "{\"cpu\":{\"quota\":20000,\"burst\":10000}}",
	  "cpu.max.burst=0 cpu.max=20000 100000 cpu.max.burst=10000", NULL },
	{ "{\"cpu\":{\"quota\":50000,\"burst\":30000}}", "{\"cpu\":{\"burst\":0}}",
	  "cpu.max.burst=0", NULL },
	{ "{\"cpu\":{\"quota\":50000,\"burst\":30000}}", "{\"cpu\":{\"quota\":-1}}",
	  "cpu.max.burst=0 cpu.max=max 100000", "{\"cpu\":{\"quota\":-1}}" },
	{ "{}", "{\"cpu\":{\"quota\":50000,\"burst\":30000}}",
	  "cpu.max=50000 100000 cpu.max.burst=30000", NULL },
	/* Weights; an idle group takes none. */
	{ "{}", "{\"cpu\":{\"shares\":1024}}", "cpu.weight=39", NULL },
	{ "{}", "{\"cpu\":{\"shares\":2,\"idle\":1}}", "cpu.weight=1 cpu.idle=1", NULL },
	{ "{\"cpu\":{\"idle\":1}}", "{\"cpu\":{\"shares\":1024}}", "",
	  "{\"cpu\":{\"idle\":1,\"shares\":1024}}" },
	{ "{\"cpu\":{\"idle\":1,\"shares\":1024}}", "{\"cpu\":{\"idle\":0}}",
	  "cpu.idle=0 cpu.weight=39", NULL },
	{ "{\"cpu\":{\"idle\":1}}", "{\"cpu\":{\"idle\":0}}", "cpu.idle=0", NULL },
	{ "{}", "{\"blockIO\":{\"weight\":500}}", "io.weight=4950", NULL },
	/* The host's: the guest has no file of them. */
	{ "{}", "{\"cpu\":{\"cpus\":\"0-1\",\"mems\":\"0\"}}", "",
	  "{\"cpu\":{\"cpus\":\"0-1\",\"mems\":\"0\"}}" },
	{ "{\"unified\":{\"cpuset.cpus\":\"3\"}}", "{\"cpu\":{\"cpus\":\"0-1\"}}", "",
	  "{\"unified\":{},\"cpu\":{\"cpus\":\"0-1\"}}" },
	/* What is said by its name takes the place of an older file. */
	{ "{\"memory\":{\"limit\":1048576},\"unified\":{\"memory.max\":\"2097152\",\"memory.high\":\"9\"}}",
	  "{\"memory\":{\"limit\":4194304}}", "memory.max=4194304",
	  "{\"memory\":{\"limit\":4194304},\"unified\":{\"memory.high\":\"9\"}}" },
	{ "{\"memory\":{\"limit\":1048576}}", "{\"unified\":{\"memory.max\":\"2097152\"}}",
	  "memory.max=2097152", NULL },
	{ "{\"unified\":{\"memory.high\":\"9\"}}", "{\"unified\":{\"memory.low\":\"5\"}}",
	  "memory.low=5", "{\"unified\":{\"memory.high\":\"9\",\"memory.low\":\"5\"}}" },
	{ "{\"unified\":{\"io.max\":\"8:0 rbps=1\"}}", "{\"unified\":{\"io.max\":\"8:0 rbps=1\"}}", "",
	  NULL },
	/* What engines send along. */
	{ "{}", "{\"devices\":[{\"allow\":true,\"access\":\"rwm\"}],\"hugepageLimits\":"
	  "[{\"pageSize\":\"2MB\",\"limit\":0}],\"pids\":{\"limit\":7}}", "pids.max=7",
	  "{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":0}],\"pids\":{\"limit\":7}}" },
	{ "{}", "{\"memory\":{\"limit\":4096,\"checkBeforeUpdate\":true}}", "memory.max=4096",
	  "{\"memory\":{\"limit\":4096}}" },
};

static char *shown(const struct spec_update *u)
{
	struct strbuf b = { 0 };
	size_t i;

	strbuf_add(&b, "%s", "");
	for (i = 0; i < u->n_files; i++)
		strbuf_add(&b, "%s%s=%s", i ? " " : "", u->files[i]->key, u->files[i]->value);
	return b.text;
}

START_TEST(comes_to)
{
	struct spec_update u = { 0 };
	struct err e = { 0 };
	char *files;
	int rc = spec_update(rows[_i].old, rows[_i].given, strlen(rows[_i].given), &u, &e);

	ck_assert_msg(!rc, "%s", e.text);
	files = shown(&u);
	ck_assert_str_eq(files, rows[_i].files);
	if (rows[_i].kept)
		ck_assert_str_eq(u.resources, rows[_i].kept);
	free(files);
	spec_update_done(&u);
}
END_TEST

/* Given twice, an update changes nothing the second time. */
START_TEST(comes_to_rest)
{
	struct spec_update u = { 0 }, again = { 0 };
	struct err e = { 0 };

	ck_assert_int_eq(spec_update(rows[_i].old, rows[_i].given, strlen(rows[_i].given), &u, &e), 0);
	ck_assert_msg(!spec_update(u.resources, rows[_i].given, strlen(rows[_i].given), &again, &e),
		      "%s", e.text);
	ck_assert_uint_eq(again.n_files, 0);
	spec_update_done(&u);
	spec_update_done(&again);
}
END_TEST

static const struct {
	const char *old, *given, *says;
} refused[] = {
	{ "{}", "", "JSON" },
	{ "{}", "[]", "must be an object" },
	{ "{}", "{\"memory\":5}", "/resources/memory: must be object" },
	{ "{\"memory\":{\"limit\":4096}}", "{\"memory\":5}", "/resources/memory: must be object" },
	{ "{}", "{\"memory\":{\"limit\":\"1\"}}", "/resources/memory/limit: must be int" },
	{ "{}", "{\"memory\":{\"swap\":4096}}", "/resources/memory/swap: needs a memory limit" },
	{ "{\"memory\":{\"limit\":8192}}", "{\"memory\":{\"swap\":4096}}",
	  "/resources/memory/swap: must not be below" },
	{ "{\"memory\":{\"limit\":4096,\"swap\":8192}}", "{\"memory\":{\"limit\":16384}}",
	  "/resources/memory/swap: must not be below" },
	{ "{}", "{\"memory\":{\"kernel\":1}}", "/resources/memory/kernel: not supported" },
	{ "{}", "{\"memory\":{\"checkBeforeUpdate\":1}}", "/memory/checkBeforeUpdate: must be boolean" },
	{ "{}", "{\"cpu\":{\"quota\":999}}", "/resources/cpu/quota: must be at least 1000" },
	{ "{}", "{\"cpu\":{\"period\":999}}", "/resources/cpu/period: must be 1000 to" },
	{ "{}", "{\"cpu\":{\"burst\":1}}", "/resources/cpu/burst: needs a quota" },
	{ "{}", "{\"cpu\":{\"idle\":2}}", "/resources/cpu/idle: must be 0 or 1" },
	{ "{}", "{\"cpu\":{\"cpus\":\"all\"}}", "/resources/cpu/cpus" },
	{ "{}", "{\"cpu\":{\"realtimeRuntime\":1000}}", "/resources/cpu/realtimeRuntime: not supported" },
	{ "{}", "{\"blockIO\":{\"weight\":9}}", "/resources/blockIO/weight: must be 10 to 1000" },
	{ "{}", "{\"blockIO\":{\"weightDevice\":[{}]}}", "/resources/blockIO/weightDevice: not supported" },
	{ "{}", "{\"rdma\":{\"x\":{}}}", "/resources/rdma: not supported" },
	{ "{}", "{\"network\":{\"classID\":1}}", "/resources/network/classID: not supported" },
	{ "{}", "{\"unified\":{\"cgroup.freeze\":\"1\"}}", "cgroup.freeze: not supported" },
	{ "{}", "{\"unified\":{\"../x\":\"1\"}}", "not the name of a cgroup v2 file" },
	{ "{}", "{\"unified\":{\"io.max\":\"8:0 rbps=1\"}}", "/unified/io.max: not supported" },
	{ "{}", "{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":1}]}", "hugepageLimits/0/limit" },
};

START_TEST(is_refused)
{
	struct spec_update u = { .memory_check = 7 };
	struct err e = { 0 };

	ck_assert_int_lt(spec_update(refused[_i].old, refused[_i].given, strlen(refused[_i].given),
				     &u, &e), 0);
	ck_assert_msg(strstr(e.text, refused[_i].says) != NULL, "%s", e.text);
	ck_assert(u.memory_check == 7 && !u.files && !u.resources);
}
END_TEST

START_TEST(short_of_memory)
{
	static const char old[] = "{\"cpu\":{\"quota\":50000,\"burst\":30000}}";
	static const char given[] = "{\"cpu\":{\"quota\":20000},\"unified\":{\"memory.high\":\"9\"},"
				    "\"memory\":{\"limit\":4096}}";
	struct spec_update u = { 0 };
	bool fired = true;
	unsigned int n;
	int rc = -1;

	for (n = 0; fired && n < 10000; n++) {
		struct err e = { 0 };

		kit_fault_arm(KIT_FAULT_MEMORY, n + 1, 0);
		rc = spec_update(old, given, strlen(given), &u, &e);
		fired = kit_fault_fired();
		ck_assert_msg(rc == (fired ? -ENOMEM : 0), "%u: %d %s", n, rc, e.text);
		ck_assert(!fired || !u.files);
	}
	ck_assert_uint_gt(n, 20);
	ck_assert_uint_eq(u.n_files, 5);
	spec_update_done(&u);
}
END_TEST

/* ---- the supervisor --------------------------------------------------------------- */
static struct pod pod;
static struct container ctr;

/* The guest's agent: notes what is sent, answers as a test says. */
static struct {
	int fd;
	pthread_t thread;
	char got[256];
	unsigned int n_updates, n_reads;
	int error;		/* for the update */
	const char *in_use;	/* memory.current; NULL: something else is answered */
} guest;

static void note(const Podvm__ContainerUpdate *m)
{
	struct spec_update u = { .files = m->cgroup, .n_files = m->n_cgroup };
	char *text = shown(&u);

	guest.n_updates++;
	snprintf(guest.got, sizeof(guest.got), "%s: %s", m->id, text);
	free(text);
}

static void *agent_main(void *arg)
{
	struct frame_rx rx = { 0 };

	(void)arg;
	while (!frame_recv(guest.fd, &rx, -1, NULL)) {
		Podvm__Request *rq = podvm__request__unpack(NULL, rx.len, rx.buf);
		Podvm__Response rs = PODVM__RESPONSE__INIT;
		Podvm__CgroupFiles files = PODVM__CGROUP_FILES__INIT;
		Podvm__KeyValue kv = PODVM__KEY_VALUE__INIT, *list[] = { &kv };

		if (!rq)
			break;
		if (rq->body_case == PODVM__REQUEST__BODY_CONTAINER_UPDATE) {
			note(rq->container_update);
			rs.error = guest.error;
			rs.text = strdupa("no such device");
		} else if (rq->body_case == PODVM__REQUEST__BODY_CGROUP_READ) {
			guest.n_reads++;
			kv.key = strdupa("memory.current");
			if (guest.in_use) {
				kv.value = strdupa(guest.in_use);
				files.files = list;
				files.n_files = 1;
				rs.body_case = PODVM__RESPONSE__BODY_CGROUP_FILES;
				rs.cgroup_files = &files;
			}
		}
		podvm__request__free_unpacked(rq, NULL);
		if (frame_send(guest.fd, &rs.base, 1000, NULL) < 0)
			break;
	}
	frame_done(&rx);
	return NULL;
}

static void pod_setup(void)
{
	struct spec spec = { .rootfs = strdupa("/x"), .oci_version = strdupa("1.2.0"),
			     .resources = strdupa("{\"memory\":{\"limit\":1048576}}") };
	struct err e = { 0 };
	int s[2];

	kit_dir_enter();
	memset(&guest, 0, sizeof(guest));
	memset(&ctr, 0, sizeof(ctr));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	/* A machine that is large enough, and has no monitor. */
	pod = (struct pod){ .containers = &ctr, .agent = { .fd = s[0] }, .vmm = { .sock = -1 },
			    .ram_bytes = 1 << 30, .memory_bytes = 1 << 30,
			    .vcpus = 8, .vcpus_now = 8, .vcpus_max = 8 };
	guest.fd = s[1];
	pod.rootfd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	strcpy(ctr.id, "c");
	ctr.committed = true;
	ck_assert_msg(!state_new("c", "p", "/bundle", &spec, &ctr.state, &e), "%s", e.text);
	ctr.state->status = STATE_RUNNING;
	ck_assert_int_eq(pthread_create(&guest.thread, NULL, agent_main, NULL), 0);
}

static void pod_teardown(void)
{
	agent_done(&pod.agent);
	pthread_join(guest.thread, NULL);
	fd_close(&guest.fd);
	fd_close(&pod.rootfd);
	state_free(ctr.state);
	kit_dir_leave();
}

static char *saved(void)
{
	struct state *s;
	struct err e = { 0 };
	char *text;

	ck_assert_msg(!state_load(pod.rootfd, "c", &s, &e), "%s", e.text);
	text = strdup(s->resources);
	state_free(s);
	return text;
}

START_TEST(sent_and_kept)
{
	struct err e = { 0 };
	char *text;
	int status;

	for (status = STATE_CREATED; status <= STATE_PAUSED; status++) {
		if (status == STATE_STOPPED)
			continue;
		ctr.state->status = (enum state_status)status;
		snprintf(guest.got, sizeof(guest.got), "nothing");
		ck_assert_msg(!container_update(&pod, "c", status == STATE_CREATED ?
			"{\"pids\":{\"limit\":9}}" : status == STATE_RUNNING ?
			"{\"memory\":{\"limit\":2097152}}" : "{\"pids\":{\"limit\":10}}", &e),
			"%s", e.text);
		ck_assert_str_eq(guest.got, status == STATE_CREATED ? "c: pids.max=9" :
			status == STATE_RUNNING ? "c: memory.max=2097152" : "c: pids.max=10");
	}
	text = saved();
	ck_assert_str_eq(text, "{\"memory\":{\"limit\":2097152},\"pids\":{\"limit\":10}}");
	free(text);
	ck_assert_int_eq(state_json(ctr.state, &text, &e), 0);
	ck_assert_msg(strstr(text, "\"resources\"") && strstr(text, "2097152"), "%s", text);
	free(text);
	/* Nothing to send is a success without a word. */
	ck_assert_int_eq(container_update(&pod, "c", "{\"pids\":{\"limit\":10}}", &e), 0);
	ck_assert_uint_eq(guest.n_updates, 3);
	/* The machine's size follows these. */
	ck_assert_uint_eq(ctr.limits.memory_bytes, 2097152);
}
END_TEST

START_TEST(checked_before)
{
	struct err e = { 0 };

	ck_assert_int_eq(container_update(&pod, "c", "{\"memory\":{\"swap\":1}}", &e), -EINVAL);
	ck_assert_int_eq(container_update(&pod, "c", "{\"pids\":", &e), -EINVAL);
	ck_assert_int_eq(container_update(&pod, "d", "{}", &e), -ENOENT);
	/* More than the machine can ever have. */
	ck_assert_int_eq(container_update(&pod, "c", "{\"memory\":{\"limit\":2147483648}}", &e),
			 -ERANGE);
	ck_assert_msg(strstr(e.text, "/linux/resources/memory/limit") != NULL, "%s", e.text);
	ctr.state->status = STATE_STOPPED;
	ck_assert_int_eq(container_update(&pod, "c", "{\"pids\":{\"limit\":9}}", &e), -ESRCH);
	ck_assert_str_eq(e.text, "container not running");
	ctr.state->status = STATE_RUNNING;
	ctr.ended = true;
	ck_assert_int_eq(container_update(&pod, "c", "{\"pids\":{\"limit\":9}}", &e), -ESRCH);
	ctr.ended = false;
	ctr.committed = false;
	ck_assert_int_eq(container_update(&pod, "c", "{\"pids\":{\"limit\":9}}", &e), -ENOENT);
	ctr.committed = true;
	pod.dead = true;
	ck_assert_int_eq(container_update(&pod, "c", "{\"pids\":{\"limit\":9}}", &e), -ESRCH);
	ck_assert_uint_eq(guest.n_updates, 0);
	ck_assert_str_eq(ctr.state->resources, "{\"memory\":{\"limit\":1048576}}");
}
END_TEST

START_TEST(refused_by_the_guest)
{
	struct err e = { 0 };

	guest.error = ENODEV;
	ctr.limits.memory_bytes = 77;
	ck_assert_int_eq(container_update(&pod, "c", "{\"pids\":{\"limit\":9}}", &e), -ENODEV);
	ck_assert_str_eq(e.text, "no such device");
	ck_assert_uint_eq(ctr.limits.memory_bytes, 77);
	ck_assert_str_eq(ctr.state->resources, "{\"memory\":{\"limit\":1048576}}");
	guest.error = 0;
	ck_assert_int_eq(container_update(&pod, "c", "{\"pids\":{\"limit\":9}}", &e), 0);
	shutdown(guest.fd, SHUT_RDWR);
	ck_assert_int_lt(container_update(&pod, "c", "{\"pids\":{\"limit\":8}}", &e), 0);
	ck_assert_str_eq(ctr.state->resources, "{\"memory\":{\"limit\":1048576},\"pids\":{\"limit\":9}}");
}
END_TEST

static const struct {
	const char *in_use;
	int rc;
} uses[] = {
	{ "4096\n", 0 }, { "8192\n", 0 }, { "8193\n", -EBUSY }, { "18446744073709551615", -EBUSY },
	{ "", -EPROTO }, { "max\n", -EPROTO }, { "-1", -EPROTO }, { "99999999999999999999", -EPROTO },
	{ NULL, -EPROTO },
};

START_TEST(memory_in_use)
{
	struct err e = { 0 };

	guest.in_use = uses[_i].in_use;
	ck_assert_int_eq(container_update(&pod, "c",
		"{\"memory\":{\"limit\":8192,\"checkBeforeUpdate\":true}}", &e), uses[_i].rc);
	ck_assert_uint_eq(guest.n_reads, 1);
	ck_assert_uint_eq(guest.n_updates, !uses[_i].rc);
}
END_TEST

/* ---- the command line ------------------------------------------------------------- */
/* What the options ask for, as the supervisor gets it. */
static const struct {
	const char *argv[12];
	const char *sent;	/* NULL: refused, with @says */
	const char *says;
} commands[] = {
	{ { "--memory", "64M", "c" }, "{\"memory\":{\"limit\":67108864}}", NULL },
	{ { "--memory=64mb", "--memory-swap", "-1", "c" },
	  "{\"memory\":{\"limit\":67108864,\"swap\":-1}}", NULL },
	{ { "--memory-reservation", "1GiB", "c" }, "{\"memory\":{\"reservation\":1073741824}}", NULL },
	{ { "--pids-limit", "20", "--cpu-quota", "-1", "c" },
	  "{\"cpu\":{\"quota\":-1},\"pids\":{\"limit\":20}}", NULL },
	{ { "--blkio-weight=100", "--cpu-period=50000", "--cpu-burst=0", "--cpu-share=2",
	    "--cpu-idle=1", "--cpuset-cpus=0-1", "--cpuset-mems=0", "c" },
	  "{\"blockIO\":{\"weight\":100},\"cpu\":{\"period\":50000,\"burst\":0,\"shares\":2,\"idle\":1,"
	  "\"cpus\":\"0-1\",\"mems\":\"0\"}}", NULL },
	{ { "--cpu-rt-period", "1000", "--cpu-rt-runtime", "900", "c" },
	  "{\"cpu\":{\"realtimePeriod\":1000,\"realtimeRuntime\":900}}", NULL },
	{ { "--kernel-memory", "1M", "c" }, "{\"memory\":{\"kernel\":1048576}}", NULL },
	{ { "-r", "file", "c" }, "{\"pids\":{\"limit\":3}}\n", NULL },
	{ { "--resources", "file", "c" }, "{\"pids\":{\"limit\":3}}\n", NULL },
	{ { "--resources", "-", "c" }, "{\"pids\":{\"limit\":4}}", NULL },
	{ { "c" }, NULL, "needs a limit" },
	{ { "--resources", "file", "--memory", "1M", "c" }, NULL, "exclude each other" },
	{ { "--resources", "empty", "c" }, NULL, "empty, or not JSON" },
	{ { "--resources", "none", "c" }, NULL, "none: No such file" },
	{ { "--resources", "long", "c" }, NULL, "longer than 60000" },
	{ { "--memory", "64X", "c" }, NULL, "--memory: 64X is not a size" },
	{ { "--memory", "-2", "c" }, NULL, "--memory: -2 is not a size" },
	{ { "--memory", "i", "c" }, NULL, "--memory: i is not a size" },
	{ { "--memory", "9223372036854775808", "c" }, NULL, "is not a size" },
	{ { "--cpu-share", "-1", "c" }, NULL, "--cpu-share: -1 is not a number" },
	{ { "--pids-limit", "many", "c" }, NULL, "--pids-limit: many is not a number, or -1" },
	{ { "--l3-cache-schema", "L3:0=f", "c" }, NULL, "--l3-cache-schema: not supported" },
	{ { "--mem-bw-schema", "MB:0=20", "c" }, NULL, "--mem-bw-schema: not supported" },
	{ { "--memory", "1M" }, NULL, "usage: podvm update" },
	{ { "--memory", "1M", "c", "d" }, NULL, "usage: podvm update" },
};

static struct fakepod fake;
static char *got;

static int take_update(void *arg, const Podvm__Pod__Request *rq)
{
	(void)arg;
	if (rq->body_case != PODVM__POD__REQUEST__BODY_UPDATE || strcmp(rq->update->id, "c"))
		return EINVAL;
	got = strdup(rq->update->resources);
	return strstr(got, "666") ? ENODEV : 0;
}

static void cli_setup(void)
{
	static const char record[] = "{\"pod\":\"p\",\"bundle\":\"/b\",\"rootfs\":\"/r\","
				     "\"ociVersion\":\"1.2.0\",\"created\":\"now\",\"status\":1,\"pid\":1}";
	char *big = malloc(60002);

	got = NULL;
	kit_dir_enter();
	kit_put("file", "{\"pids\":{\"limit\":3}}\n");
	kit_put("stdin", "{\"pids\":{\"limit\":4}}");
	kit_put("empty", "");
	memset(big, ' ', 60001);
	big[60001] = 0;
	kit_put("long", big);
	free(big);
	fakepod_init(&fake, 0);
	fake.control = take_update;
	fakepod_start(&fake, "p");
	fakepod_container(&fake, "c", record);
}

static void cli_teardown(void)
{
	fakepod_stop(&fake);
	free(got);
	kit_dir_leave();
}

static int run(const char *const *args, struct err *e)
{
	struct cli c = { .root = fake.root };
	char *argv[16] = { strdupa("update") };
	int argc = 1, rc;

	while (args[argc - 1]) {
		argv[argc] = strdupa(args[argc - 1]);
		argc++;
	}
	c.rootfd = open(fake.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = cmd_update(&c, argc, argv, e);
	close(c.rootfd);
	return rc;
}

START_TEST(options)
{
	int in = open("stdin", O_RDONLY | O_CLOEXEC);
	struct err e = { 0 };
	int rc;

	ck_assert(in >= 0 && dup2(in, 0) == 0);
	close(in);
	rc = run(commands[_i].argv, &e);
	if (commands[_i].sent) {
		ck_assert_msg(!rc, "%s", e.text);
		ck_assert_str_eq(got, commands[_i].sent);
	} else {
		ck_assert_int_lt(rc, 0);
		ck_assert_msg(strstr(e.text, commands[_i].says) != NULL, "%s", e.text);
		ck_assert_ptr_null(got);
	}
}
END_TEST

START_TEST(supervisor_refuses)
{
	const char *const args[] = { "--pids-limit", "666", "c", NULL };
	const char *const other[] = { "--pids-limit", "6", "d", NULL };
	struct err e = { 0 };

	ck_assert_int_eq(run(args, &e), -ENODEV);
	ck_assert_int_eq(run(other, &e), -ENOENT);
	ck_assert_msg(strstr(e.text, "does not exist") != NULL, "%s", e.text);
}
END_TEST

/* --pidfd-socket, which other verbs have. */
START_TEST(pidfd_is_sent)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "pidfd" };
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = -1, peer;
	struct err e = { 0 };
	char text[16], path[200];
	size_t n = 0;

	ck_assert(!bind(l, (struct sockaddr *)&sa, sizeof(sa)) && !listen(l, 1));
	ck_assert_msg(!cli_send_pidfd("pidfd", l, &e), "%s", e.text);
	peer = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_eq(fd_recv(peer, text, sizeof(text), &fd, 1, &n, &e), 5);
	ck_assert(n == 1 && fd >= 0);
	ck_assert_int_eq(cli_send_pidfd(NULL, -1, &e), 0);
	ck_assert_int_eq(cli_send_pidfd("nobody", l, &e), -ENOENT);
	ck_assert_msg(strstr(e.text, "--pidfd-socket nobody") != NULL, "%s", e.text);
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = 0;
	ck_assert_int_eq(cli_send_pidfd(path, l, &e), -ENAMETOOLONG);
	ck_assert_int_eq(cli_no_fds(0, &e), 0);
	ck_assert_int_eq(cli_no_fds(1, &e), -ENOTSUP);
	close(fd);
	close(peer);
	close(l);
}
END_TEST

Suite *runtime_update_suite(void)
{
	Suite *s = suite_create("runtime_update");
	TCase *pure = tcase_create("pure"), *sup = tcase_create("supervisor");
	TCase *cli = tcase_create("cli");

	tcase_add_loop_test(pure, comes_to, 0, ARRAY_LEN(rows));
	tcase_add_loop_test(pure, comes_to_rest, 0, ARRAY_LEN(rows));
	tcase_add_loop_test(pure, is_refused, 0, ARRAY_LEN(refused));
	tcase_add_test(pure, short_of_memory);
	suite_add_tcase(s, pure);
	tcase_add_checked_fixture(sup, pod_setup, pod_teardown);
	tcase_add_test(sup, sent_and_kept);
	tcase_add_test(sup, checked_before);
	tcase_add_test(sup, refused_by_the_guest);
	tcase_add_loop_test(sup, memory_in_use, 0, ARRAY_LEN(uses));
	suite_add_tcase(s, sup);
	tcase_add_checked_fixture(cli, cli_setup, cli_teardown);
	tcase_add_loop_test(cli, options, 0, ARRAY_LEN(commands));
	tcase_add_test(cli, supervisor_refuses);
	tcase_add_test(cli, pidfd_is_sent);
	suite_add_tcase(s, cli);
	return s;
}
