// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Events of a container: what its guest's files become (runtime/stats.c), whatever a
 * hostile agent sends for them, and the command, against a pod whose agent is a thread
 * and follows a script.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/frame.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "runtime/cli/cli.h"
#include "runtime/stats.h"
#include "tests/kit/dir.h"
#include "tests/kit/fakepod.h"
#include "tests/kit/fault.h"
#include "tests/kit/kit.h"

Suite *runtime_events_suite(void);

/* ---- files to JSON ---------------------------------------------------------------- */
/* Pairs of names and texts, closed by NULL. */
struct files {
	Podvm__CgroupFiles m;
	Podvm__KeyValue kv[16], *list[16];
};

static void fill(struct files *f, const char *const *pairs)
{
	podvm__cgroup_files__init(&f->m);
	f->m.files = f->list;
	for (; *pairs; pairs += 2) {
		Podvm__KeyValue *kv = &f->kv[f->m.n_files];

		podvm__key_value__init(kv);
		kv->key = (char *)(uintptr_t)pairs[0];
		kv->value = (char *)(uintptr_t)pairs[1];
		f->list[f->m.n_files++] = kv;
	}
}

static const char *const usual[] = {
	"cpu.stat",
	"usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 7\nnr_throttled 6\nthrottled_usec 5\n",
	"memory.current", "4096\n", "memory.max", "67108864\n", "memory.peak", "8192\n",
	"memory.swap.current", "100\n", "memory.swap.max", "max\n",
	"memory.stat", "anon 1\nfile 2048\nkernel_stack 0\n",
	"memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
	"pids.current", "2\n", "pids.max", "50\n",
	"io.stat",
	"253:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n254:16 rbytes=5 wbytes=0 rios=6 wios=0 cost.usage=0.5\n",
	NULL,
};

/* Names, units and shape are runc's. */
static const char expected[] =
	"{\"type\":\"stats\",\"id\":\"c\",\"data\":{"
	"\"cpu\":{\"usage\":{\"total\":30000,\"kernel\":10000,\"user\":20000},"
	"\"throttling\":{\"periods\":7,\"throttledPeriods\":6,\"throttledTime\":5000}},"
	"\"cpuset\":{\"cpu_exclusive\":0,\"mem_hardwall\":0,\"mem_exclusive\":0,\"memory_migrate\":0,"
	"\"memory_spread_page\":0,\"memory_spread_slab\":0,\"memory_pressure\":0,"
	"\"sched_load_balance\":0,\"sched_relax_domain_level\":0},"
	"\"memory\":{\"usage\":{\"limit\":67108864,\"usage\":4096,\"max\":8192,\"failcnt\":3},"
	"\"swap\":{\"limit\":18446744073709551615,\"usage\":4196,\"failcnt\":0},"
	"\"kernel\":{\"limit\":0,\"failcnt\":0},\"kernelTCP\":{\"limit\":0,\"failcnt\":0},"
	"\"raw\":{\"anon\":1,\"file\":2048,\"kernel_stack\":0},\"cache\":2048},"
	"\"pids\":{\"current\":2,\"limit\":50},"
	"\"blkio\":{\"ioServiceBytesRecursive\":["
	"{\"major\":253,\"op\":\"Read\",\"value\":1},{\"major\":253,\"op\":\"Write\",\"value\":2},"
	"{\"major\":254,\"minor\":16,\"op\":\"Read\",\"value\":5},{\"major\":254,\"minor\":16,\"op\":\"Write\"}],"
	"\"ioServicedRecursive\":["
	"{\"major\":253,\"op\":\"Read\",\"value\":3},{\"major\":253,\"op\":\"Write\",\"value\":4},"
	"{\"major\":254,\"minor\":16,\"op\":\"Read\",\"value\":6},{\"major\":254,\"minor\":16,\"op\":\"Write\"}]},"
	"\"hugetlb\":{},\"intel_rdt\":{},\"network_interfaces\":[]}}";

START_TEST(as_runc)
{
	struct err e = { 0 };
	struct files f;
	char *json;

	fill(&f, usual);
	ck_assert_msg(!stats_event("c", &f.m, &json, &e), "%s", e.text);
	ck_assert_str_eq(json, expected);
	free(json);
	f.m.n_files = 0;
	ck_assert_msg(!stats_event("c", &f.m, &json, &e), "%s", e.text);
	ck_assert_msg(strstr(json, "\"usage\":{\"limit\":0,\"failcnt\":0}") != NULL, "%s", json);
	free(json);
	ck_assert_int_eq(oom_event("c", &json, &e), 0);
	ck_assert_str_eq(json, "{\"type\":\"oom\",\"id\":\"c\"}");
	free(json);
}
END_TEST

/* One file with this text; what must be in the line, or NULL: refused. */
static const struct {
	const char *file, *text, *has;
} texts[] = {
	{ "memory.max", "max\n", "\"limit\":18446744073709551615" },
	{ "pids.max", "max\n", "\"pids\":{}" },
	{ "pids.max", "7", "\"limit\":7" },
	{ "memory.max", "", "\"limit\":0" },
	{ "cpu.stat", "usage_usec 18446744073709551615\n", "\"total\":18446744073709551615" },
	{ "memory.swap.current", "18446744073709551615\n", "\"usage\":18446744073709551615" },
	{ "other.file", "\x01\xff", "\"type\"" },
	{ "io.stat", "8:0\n", "\"op\":\"Read\"}" },
	{ "memory.max", "-1\n", NULL },
	{ "memory.max", "1 2\n", NULL },
	{ "memory.max", "maximal\n", NULL },
	{ "memory.max", "99999999999999999999\n", NULL },
	{ "cpu.stat", "usage_usec\n", NULL },
	{ "cpu.stat", "usage_usec x\n", NULL },
	{ "cpu.stat", " 5\n", NULL },
	{ "cpu.stat", "\n\n", NULL },
	{ "memory.stat", "anon\"x 5\n", NULL },
	{ "memory.stat", "anon\x1b[2J 5\n", NULL },
	{ "memory.stat", "a_name_of_more_than_forty_eight_characters_is_none_ 5\n", NULL },
	{ "memory.events", "max -1\n", NULL },
	{ "io.stat", "8 rbytes=1\n", NULL },
	{ "io.stat", "8:x rbytes=1\n", NULL },
	{ "io.stat", ":0\n", NULL },
	{ "io.stat", "8:0 rbytes\n", NULL },
	{ "io.stat", "8:0 rbytes=1x\n", NULL },
	{ "io.stat", " \n", NULL },
};

START_TEST(one_file)
{
	const char *const pairs[] = { texts[_i].file, texts[_i].text, NULL };
	struct err e = { 0 };
	struct files f;
	char *json = NULL;
	int rc;

	fill(&f, pairs);
	rc = stats_event("c", &f.m, &json, &e);
	if (texts[_i].has) {
		ck_assert_msg(!rc, "%s", e.text);
		ck_assert_msg(strstr(json, texts[_i].has) != NULL, "%s", json);
		free(json);
	} else {
		ck_assert_int_eq(rc, -EPROTO);
		ck_assert_msg(strstr(e.text, texts[_i].file) != NULL, "%s", e.text);
		ck_assert_ptr_null(json);
	}
}
END_TEST

/* As many lines as a message can hold, and a line that never ends. */
START_TEST(endless)
{
	static const char *const line[] = { "memory.stat", "a", " 1\n", "cpu.stat", "b", " 2\n",
					    "io.stat", "8:", " rbytes=1\n" };
	char *big = malloc(200000);
	struct err e = { 0 };
	struct files f;
	char *json;
	size_t i, k, used;

	for (i = 0; i < ARRAY_LEN(line); i += 3) {
		const char *const pairs[] = { line[i], big, NULL };

		for (k = used = 0; used < 190000; k++)
			used += (size_t)snprintf(big + used, 100, "%s%zu%s", line[i + 1], k,
						 line[i + 2]);
		fill(&f, pairs);
		ck_assert_int_eq(stats_event("c", &f.m, &json, &e), -EPROTO);
		memset(big, '1', 199999);
		big[199999] = 0;
		ck_assert_int_eq(stats_event("c", &f.m, &json, &e), -EPROTO);
	}
	free(big);
}
END_TEST

START_TEST(cut_anywhere)
{
	const char *pairs[ARRAY_LEN(usual)];
	struct err e = { 0 };
	struct files f;
	size_t i, n;

	for (i = 1; usual[i - 1]; i += 2)
		for (n = 0; n < strlen(usual[i]); n++) {
			char *exact = strndup(usual[i], n), *json;

			memcpy(pairs, usual, sizeof(usual));
			pairs[i] = exact;
			fill(&f, pairs);
			if (!stats_event("c", &f.m, &json, &e))
				free(json);
			free(exact);
		}
}
END_TEST

START_TEST(short_of_memory)
{
	bool fired = true;
	unsigned int n;
	struct files f;

	fill(&f, usual);
	for (n = 1; fired && n < 1000; n++) {
		struct err e = { 0 };
		char *json = NULL;
		int rc;

		kit_fault_arm(KIT_FAULT_MEMORY, n, 0);
		rc = stats_event("c", &f.m, &json, &e);
		fired = kit_fault_fired();
		ck_assert_int_eq(rc, fired ? -ENOMEM : 0);
		free(json);
	}
	ck_assert_uint_gt(n, 2);
}
END_TEST

/* ---- the command ------------------------------------------------------------------ */
static struct fakepod fake;

/* The agent: what it does when it is asked to watch, and for files. */
static struct {
	int watch;		/* owned; -1 */
	unsigned int reads;
	unsigned int end_after;	/* reads, that it ends the watch after; 0: never */
	int error;		/* for a read */
	bool other;		/* answers a read with something else */
	void (*script)(int fd);	/* for the watch, behind its answer */
	struct files files;
} guest;

static void say(int fd, uint64_t kills, bool ended)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Watched w = PODVM__WATCHED__INIT;

	w.oom_kills = kills;
	w.ended = ended;
	rs.body_case = PODVM__RESPONSE__BODY_WATCHED;
	rs.watched = &w;
	frame_send(fd, &rs.base, 1000, NULL);
}

static bool take_watch(void *arg, const Podvm__Request *rq, int fd)
{
	Podvm__Response ok = PODVM__RESPONSE__INIT;

	(void)arg;
	if (rq->body_case != PODVM__REQUEST__BODY_CONTAINER_WATCH)
		return false;
	guest.watch = fd;
	frame_send(fd, &ok.base, 1000, NULL);
	if (guest.script)
		guest.script(fd);
	return true;
}

static bool answer(void *arg, const Podvm__Request *rq, Podvm__Response *rs)
{
	static Podvm__Pids pids = PODVM__PIDS__INIT;
	static char no[] = "no";

	(void)arg;
	if (rq->body_case != PODVM__REQUEST__BODY_CGROUP_READ || strcmp(rq->cgroup_read->id, "c"))
		return false;
	rs->error = guest.error;
	rs->text = no;
	rs->body_case = guest.other ? PODVM__RESPONSE__BODY_PIDS : PODVM__RESPONSE__BODY_CGROUP_FILES;
	if (guest.other)
		rs->pids = &pids;
	else
		rs->cgroup_files = &guest.files.m;
	if (++guest.reads == guest.end_after)
		say(guest.watch, 0, true);
	return true;
}

static void setup(void)
{
	kit_dir_enter();
	memset(&guest, 0, sizeof(guest));
	guest.watch = -1;
	fill(&guest.files, usual);
	fakepod_init(&fake, 0);
	fake.agent = answer;
	fake.take = take_watch;
	fakepod_start(&fake, "p");
}

static void teardown(void)
{
	fakepod_stop(&fake);
	fd_close(&guest.watch);
	kit_dir_leave();
}

static void record(int status)
{
	char json[200];

	snprintf(json, sizeof(json), "{\"pod\":\"p\",\"bundle\":\"/b\",\"rootfs\":\"/r\",\"ociVersion\":"
		 "\"1.2.0\",\"created\":\"now\",\"status\":%d,\"pid\":1}", status);
	fakepod_container(&fake, "c", json);
}

/* Runs it, its output in the file "out". */
static int run(const char *const *args, struct err *e)
{
	int out = open("out", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), old, argc = 1, rc;
	struct cli c = { .root = fake.root };
	char *argv[8] = { strdupa("events") };

	while (args[argc - 1]) {
		argv[argc] = strdupa(args[argc - 1]);
		argc++;
	}
	c.rootfd = open(fake.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fflush(stdout);
	old = fcntl(1, F_DUPFD_CLOEXEC, 10);
	ck_assert(out >= 0 && old >= 0 && dup2(out, 1) == 1);
	rc = cmd_events(&c, argc, argv, e);
	fflush(stdout);
	dup2(old, 1);
	close(old);
	close(out);
	close(c.rootfd);
	return rc;
}

#define RUN(e, ...) run((const char *const[]){ __VA_ARGS__, NULL }, e)

static unsigned int lines(const char *with)
{
	char *text = kit_get("out"), *line, *save = NULL;
	unsigned int n = 0;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct json_doc *doc;

		ck_assert_msg(!json_parse(line, strlen(line), &doc, NULL), "%s", line);
		json_free(doc);
		n += strstr(line, with) != NULL;
	}
	free(text);
	return n;
}

START_TEST(once)
{
	struct err e = { 0 };
	char *text, *want;
	int status;

	for (status = STATE_CREATED; status <= STATE_PAUSED; status++) {
		record(status);
		if (status == STATE_STOPPED) {
			ck_assert_int_eq(RUN(&e, "--stats", "c"), -ESRCH);
			ck_assert_str_eq(e.text, "container not running");
			continue;
		}
		ck_assert_msg(!RUN(&e, "--stats", "c"), "%s", e.text);
		ck_assert_int_eq(asprintf(&want, "%s\n", expected) > 0, 1);
		text = kit_get("out");
		ck_assert_str_eq(text, want);
		free(text);
		free(want);
	}
	ck_assert_uint_eq(guest.reads, 3);
	ck_assert_int_eq(guest.watch, -1);
}
END_TEST

START_TEST(in_intervals)
{
	struct err e = { 0 };

	record(STATE_RUNNING);
	guest.end_after = 3;
	ck_assert_msg(!RUN(&e, "--interval", "2ms", "c"), "%s", e.text);
	ck_assert_uint_eq(lines("\"stats\""), 3);
	ck_assert_uint_eq(lines("\"oom\""), 0);
}
END_TEST

static void one_kill(int fd) { say(fd, 2, false); say(fd, 3, false); say(fd, 3, true); }
static void no_kill(int fd) { say(fd, 2, false); say(fd, 2, true); }
static void kill_at_end(int fd) { say(fd, 0, false); say(fd, 1, true); }
static void fewer(int fd) { say(fd, 9, false); say(fd, 1, false); say(fd, 9, true); }
static void hangs_up(int fd) { say(fd, 0, false); shutdown(fd, SHUT_RDWR); }
static void kill_and_hangs_up(int fd) { say(fd, 0, false); say(fd, 1, false); shutdown(fd, SHUT_RDWR); }

/* More than one round; the words in between are no news. */
static void floods(int fd)
{
	uint64_t i;

	for (i = 0; i < 1000; i++)
		say(fd, i, false);
	say(fd, i, true);
}

static void other_words(int fd)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;

	rs.error = 5;
	frame_send(fd, &rs.base, 1000, NULL);
	say(fd, 0, false);
	say(fd, 0, true);
}

static void too_long(int fd)
{
	static const uint8_t head[4] = { 0xff, 0xff, 0xff, 0xff };

	ck_assert_int_eq(send(fd, head, 4, MSG_NOSIGNAL), 4);
}

static void garbage(int fd)
{
	static const uint8_t frame[] = { 3, 0, 0, 0, 0xff, 0xff, 0xff };

	ck_assert_int_eq(send(fd, frame, sizeof(frame), MSG_NOSIGNAL), sizeof(frame));
}

static const struct {
	void (*script)(int fd);
	unsigned int ooms, ooms_max;
	int rc;
} scripts[] = {
	{ one_kill, 1, 1, 0 }, { no_kill, 0, 0, 0 }, { kill_at_end, 1, 1, 0 }, { fewer, 0, 0, 0 },
	{ hangs_up, 0, 0, 0 }, { kill_and_hangs_up, 1, 1, 0 }, { floods, 1, 100, 0 },
	{ other_words, 0, 0, 0 }, { too_long, 0, 0, -1 }, { garbage, 0, 0, -EPROTO },
};

START_TEST(told)
{
	struct err e = { 0 };
	int rc;

	record(STATE_RUNNING);
	guest.script = scripts[_i].script;
	rc = RUN(&e, "--interval=1h", "c");
	if (scripts[_i].rc == -1)
		ck_assert_int_lt(rc, 0);
	else
		ck_assert_int_eq(rc, scripts[_i].rc);
	ck_assert_uint_ge(lines("{\"type\":\"oom\",\"id\":\"c\"}"), scripts[_i].ooms);
	ck_assert_uint_le(lines("\"oom\""), scripts[_i].ooms_max);
	ck_assert_uint_eq(lines("\"stats\""), 0);
}
END_TEST

START_TEST(wrong_answers)
{
	struct err e = { 0 };

	record(STATE_RUNNING);
	guest.other = true;
	ck_assert_int_eq(RUN(&e, "--stats", "c"), -EPROTO);
	guest.other = false;
	guest.error = ESRCH;
	ck_assert_int_eq(RUN(&e, "--stats", "c"), -ESRCH);
	ck_assert_int_eq(RUN(&e, "--interval", "1ms", "c"), 0); /* it has gone meanwhile */
	guest.error = EIO;
	ck_assert_int_eq(RUN(&e, "--interval", "1ms", "c"), -EIO);
	ck_assert_uint_eq(lines("stats"), 0);
	ck_assert_int_eq(RUN(&e, "--interval", "0s", "c"), -EINVAL);
	ck_assert_int_eq(RUN(&e, "--interval", "5", "c"), -EINVAL);
	ck_assert_msg(strstr(e.text, "--interval 5: not a time such as") != NULL, "%s", e.text);
	ck_assert_int_eq(RUN(&e, "d"), -ENOENT);
}
END_TEST

Suite *runtime_events_suite(void)
{
	Suite *s = suite_create("runtime_events");
	TCase *pure = tcase_create("pure"), *cmd = tcase_create("command");

	tcase_add_test(pure, as_runc);
	tcase_add_loop_test(pure, one_file, 0, ARRAY_LEN(texts));
	tcase_add_test(pure, endless);
	tcase_add_test(pure, cut_anywhere);
	tcase_add_test(pure, short_of_memory);
	suite_add_tcase(s, pure);
	tcase_add_checked_fixture(cmd, setup, teardown);
	tcase_add_test(cmd, once);
	tcase_add_test(cmd, in_intervals);
	tcase_add_loop_test(cmd, told, 0, ARRAY_LEN(scripts));
	tcase_add_test(cmd, wrong_answers);
	suite_add_tcase(s, cmd);
	return s;
}
