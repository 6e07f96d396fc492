// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Scopes of systemd's (runtime/systemd.c, and runtime/cgroup.c above it). Systemd is a
 * thread that owns its name on a bus of the test's own and answers as a mode says; what it
 * is asked for is noted as text. The bus is dbus-daemon's.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "lib/mem.h"
#include "runtime/cgroup.h"
#include "runtime/systemd.h"
#include "tests/kit/dir.h"
#include "tests/kit/kit.h"

Suite *runtime_systemd_suite(void);

#define DAEMON "/usr/bin/dbus-daemon"
#define MANAGER "org.freedesktop.systemd1.Manager"

enum mode {
	DONE,		/* the job ends well */
	FAILED,		/* it does not */
	LONG_RESULT,	/* it ends with a word that is too long */
	SILENT,		/* it does not end */
	OTHER_FIRST,	/* another one ends before */
	EXISTED,	/* a unit of that name has failed before */
	EXISTS,		/* a unit of that name is there */
	NO_UNIT,	/* there is none to be stopped */
	REFUSED,	/* systemd says no */
	NO_JOB,		/* it answers without a job */
	LEAVES,		/* it goes away in the middle */
};

static struct {
	sd_bus *bus;
	pthread_t thread;
	pid_t daemon;
	enum mode mode;
	atomic_bool stop;
	char asked[2048];
	bool reset;
} fake;

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void note(const char *fmt, ...)
{
	size_t len = strlen(fake.asked);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(fake.asked + len, sizeof(fake.asked) - len, fmt, ap);
	va_end(ap);
}

static void note_value(sd_bus_message *m, const char *type)
{
	const char *s = NULL;
	uint64_t t = 0;
	uint32_t u = 0;
	int b = 0;

	if (sd_bus_message_enter_container(m, 'v', type) < 0)
		return;
	if (!strcmp(type, "s") && sd_bus_message_read(m, "s", &s) >= 0)
		note("%s ", s);
	else if (!strcmp(type, "b") && sd_bus_message_read(m, "b", &b) >= 0)
		note("%s ", b ? "yes" : "no");
	else if (!strcmp(type, "t") && sd_bus_message_read(m, "t", &t) >= 0)
		note("%llu ", (unsigned long long)t);
	else if (!strcmp(type, "au") && sd_bus_message_read(m, "au", 1, &u) >= 0)
		note("[%u] ", u);
	sd_bus_message_exit_container(m);
}

static void note_start(sd_bus_message *m)
{
	const char *unit, *job_mode, *name, *type;
	char kind;

	if (sd_bus_message_read(m, "ss", &unit, &job_mode) < 0)
		return;
	note("%s %s: ", unit, job_mode);
	if (sd_bus_message_enter_container(m, 'a', "(sv)") < 0)
		return;
	while (sd_bus_message_enter_container(m, 'r', "sv") > 0) {
		if (sd_bus_message_read(m, "s", &name) < 0 ||
		    sd_bus_message_peek_type(m, &kind, &type) < 0)
			return;
		note("%s=", name);
		note_value(m, type);
		sd_bus_message_exit_container(m);
	}
	sd_bus_message_exit_container(m);
}

static void tell_end(int job, const char *result)
{
	char path[80];

	snprintf(path, sizeof(path), "/org/freedesktop/systemd1/job/%d", job);
	sd_bus_emit_signal(fake.bus, "/org/freedesktop/systemd1", MANAGER, "JobRemoved", "uoss",
			   (uint32_t)job, path, "x.scope", result);
}

static int answer_job(sd_bus_message *m)
{
	static const char *const results[] = {
		[FAILED] = "failed", [LONG_RESULT] = "0123456789012345678901234567890123456789",
	};
	const char *result = fake.mode < ARRAY_LEN(results) ? results[fake.mode] : NULL;
	int rc;

	if (fake.mode == OTHER_FIRST)
		tell_end(6, "failed");
	rc = sd_bus_reply_method_return(m, "o", "/org/freedesktop/systemd1/job/7");
	if (fake.mode == OTHER_FIRST)
		tell_end(8, "failed");
	if (fake.mode == LEAVES) {
		sd_bus_flush(fake.bus);
		fake.stop = true;
	} else if (fake.mode != SILENT) {
		tell_end(7, result ? result : "done");
	}
	return rc;
}

static int on_call(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	const char *text = "";

	(void)arg;
	(void)e;
	if (sd_bus_message_is_method_call(m, MANAGER, "ResetFailedUnit") > 0) {
		sd_bus_message_read(m, "s", &text);
		note("reset %s ", text);
		fake.reset = true;
		return sd_bus_reply_method_return(m, "");
	}
	if (sd_bus_message_is_method_call(m, MANAGER, "SetUnitProperties") > 0) {
		const char *name = "";
		uint64_t value = 0;
		int runtime = 0;

		sd_bus_message_read(m, "sba(sv)", &text, &runtime, 1, &name, "t", &value);
		note("set %s %d %s=%" PRIu64 " ", text, runtime, name, value);
		return fake.mode == DONE ? sd_bus_reply_method_return(m, "") :
		       sd_bus_reply_method_errorf(m, SD_BUS_ERROR_ACCESS_DENIED, "You may not.");
	}
	if (sd_bus_message_is_method_call(m, MANAGER, "StartTransientUnit") > 0) {
		note_start(m);
	} else if (sd_bus_message_is_method_call(m, MANAGER, "StopUnit") > 0) {
		sd_bus_message_read(m, "s", &text);
		note("stop %s ", text);
	} else {
		return 0;
	}
	if (fake.mode == EXISTS || (fake.mode == EXISTED && !fake.reset))
		return sd_bus_reply_method_errorf(m, "org.freedesktop.systemd1.UnitExists",
						  "Unit exists.");
	if (fake.mode == NO_UNIT)
		return sd_bus_reply_method_errorf(m, "org.freedesktop.systemd1.NoSuchUnit",
						  "Unit not loaded.");
	if (fake.mode == REFUSED)
		return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_ACCESS_DENIED, "You may not.");
	if (fake.mode == NO_JOB)
		return sd_bus_reply_method_return(m, "s", "thank you");
	return answer_job(m);
}

static void *serve(void *arg)
{
	(void)arg;
	while (!fake.stop) {
		int rc = sd_bus_process(fake.bus, NULL);

		if (rc < 0)
			break;
		if (!rc)
			sd_bus_wait(fake.bus, 20000);
	}
	sd_bus_flush_close_unref(fake.bus);
	return NULL;
}

static void start_daemon(const char *address)
{
	char config[2 * PATH_MAX], path[] = "--config-file=bus.conf", line[256];
	int p[2];

	snprintf(config, sizeof(config),
		 "<busconfig><type>session</type><listen>%s</listen><auth>EXTERNAL</auth>"
		 "<policy context=\"default\"><allow send_destination=\"*\"/>"
		 "<allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>", address);
	kit_put("bus.conf", config);
	ck_assert_int_eq(pipe(p), 0);
	fake.daemon = fork();
	if (!fake.daemon) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(p[1], 1);
		close(p[0]);
		execl(DAEMON, DAEMON, path, "--nofork", "--nopidfile", "--print-address=1", NULL);
		_exit(127);
	}
	close(p[1]);
	ck_assert_int_gt(read(p[0], line, sizeof(line)), 0); /* it listens */
	close(p[0]);
}

static void setup(void)
{
	char cwd[PATH_MAX], address[PATH_MAX + 32];

	kit_dir_enter();
	memset(&fake, 0, sizeof(fake));
	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(address, sizeof(address), "unix:path=%s/bus", cwd);
	start_daemon(address);
	ck_assert_int_eq(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1), 0);
	ck_assert_int_ge(sd_bus_new(&fake.bus), 0);
	ck_assert_int_ge(sd_bus_set_address(fake.bus, address), 0);
	ck_assert_int_ge(sd_bus_set_bus_client(fake.bus, 1), 0);
	ck_assert_int_ge(sd_bus_start(fake.bus), 0);
	ck_assert_int_ge(sd_bus_add_object(fake.bus, NULL, "/org/freedesktop/systemd1", on_call, NULL), 0);
	ck_assert_int_ge(sd_bus_request_name(fake.bus, "org.freedesktop.systemd1", 0), 0);
	ck_assert_int_eq(pthread_create(&fake.thread, NULL, serve, NULL), 0);
}

static void teardown(void)
{
	fake.stop = true;
	pthread_join(fake.thread, NULL);
	kill(fake.daemon, SIGKILL);
	waitpid(fake.daemon, NULL, 0);
	unlink("bus");
	kit_dir_leave();
}

static struct systemd_scope scope = {
	.unit = "cri-c.scope", .slice = "kubepods-pod1.slice", .description = "a container",
	.pid = 4711, .timeout_ms = 5000,
};

#define PROPERTIES \
	"Description=a container Slice=kubepods-pod1.slice PIDs=[4711] DefaultDependencies=no " \
	"CollectMode=inactive-or-failed Delegate=yes CPUAccounting=yes MemoryAccounting=yes " \
	"TasksAccounting=yes IOAccounting=yes "

START_TEST(asks_for_a_scope)
{
	struct err e = { 0 };

	scope.cpu_weight = _i ? 39 : 0;
	ck_assert_msg(!systemd_scope_start(&scope, &e), "%s", e.text);
	ck_assert_str_eq(fake.asked, _i ? "cri-c.scope replace: " PROPERTIES "CPUWeight=39 " :
					  "cri-c.scope replace: " PROPERTIES);
}
END_TEST

static const struct {
	enum mode mode;
	int start, stop;
	const char *text;	/* of the start, if it fails; NULL: of neither */
} rows[] = {
	{ DONE, 0, 0, NULL },
	{ FAILED, -EIO, -EIO, "systemd: cri-c.scope: its job ended with \"failed\"; see journalctl -u cri-c.scope" },
	{ LONG_RESULT, -EIO, -EIO, "systemd: cri-c.scope: its job ended with \"?\"" },
	{ SILENT, -ETIMEDOUT, -ETIMEDOUT, "systemd: cri-c.scope: its job has not ended in 200 ms" },
	{ OTHER_FIRST, 0, 0, NULL },
	{ EXISTED, 0, 0, NULL },
	{ EXISTS, -EEXIST, -EEXIST, "systemd: cri-c.scope: Unit exists." },
	{ NO_UNIT, -ENOENT, 0, "systemd: cri-c.scope: Unit not loaded." },
	{ REFUSED, -EACCES, -EACCES, "systemd: cri-c.scope: You may not." },
	{ NO_JOB, -ENXIO, -ENXIO, "systemd: cri-c.scope: " },
	{ LEAVES, -ETIMEDOUT, -ETIMEDOUT, "systemd: cri-c.scope: its job has not ended" },
};

START_TEST(start)
{
	struct systemd_scope s = scope;
	struct err e = { 0 };
	int rc;

	fake.mode = rows[_i].mode;
	if (fake.mode == SILENT || fake.mode == LEAVES)
		s.timeout_ms = 200;
	rc = systemd_scope_start(&s, &e);
	ck_assert_msg(rc == rows[_i].start, "%d: %s", rc, e.text);
	if (rc < 0)
		ck_assert_msg(!strncmp(e.text, rows[_i].text, strlen(rows[_i].text)), "%s", e.text);
	ck_assert_int_eq(fake.reset, fake.mode == EXISTED || fake.mode == EXISTS);
}
END_TEST

START_TEST(stop)
{
	struct err e = { 0 };
	int rc;

	fake.mode = rows[_i].mode;
	fake.reset = fake.mode == EXISTED;
	rc = systemd_scope_stop("cri-c.scope", fake.mode == SILENT || fake.mode == LEAVES ? 200 : 5000, &e);
	ck_assert_msg(rc == rows[_i].stop, "%d: %s", rc, e.text);
	ck_assert_msg(!strncmp(fake.asked, "stop cri-c.scope ", 17), "%s", fake.asked);
	if (fake.mode != LEAVES)
		ck_assert_str_eq(fake.asked, "stop cri-c.scope reset cri-c.scope ");
}
END_TEST

START_TEST(weight)
{
	struct err e = { 0 };

	ck_assert_msg(!systemd_scope_weight("cri-c.scope", 77, 5000, &e), "%s", e.text);
	ck_assert_str_eq(fake.asked, "set cri-c.scope 1 CPUWeight=77 ");
	fake.mode = REFUSED;
	ck_assert_int_eq(systemd_scope_weight("cri-c.scope", 78, 5000, &e), -EACCES);
	ck_assert_str_eq(e.text, "systemd: cri-c.scope: You may not.");
}
END_TEST

/* No bus, and a bus without systemd: one clear error; nobody can be asked to stop. */
START_TEST(no_systemd)
{
	struct err e = { 0 };

	setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
	ck_assert_int_eq(systemd_scope_start(&scope, &e), -EHOSTDOWN);
	ck_assert_str_eq(e.text, "--systemd-cgroup: the system bus, by which systemd is reached, does not answer (No such file or directory); use the engine's cgroupfs manager on a host without systemd");
	ck_assert_int_eq(systemd_scope_weight("a.scope", 1, 1000, &e), -EHOSTDOWN);
	ck_assert_int_eq(systemd_scope_stop("a.scope", 1000, &e), 1);
}
END_TEST

/* ---- above it ------------------------------------------------------------------------ */
static int undo(void *arg, const struct journal_rec *r, struct err *e)
{
	bool busy = false;

	(void)arg;
	return cgroup_undo(r, &busy, e);
}

/* Hierarchies that are systemd's alone: we make nothing. */
static const struct cgroup_host host;

static void begin(struct cgroup *c, struct journal **j, int want)
{
	struct err e = { 0 };
	int rc;

	ck_assert_int_eq(journal_open(AT_FDCWD, "j", j, &e), 0);
	ck_assert_int_eq(cgroup_of_container("a-b.slice:p:n", "id", true, c, &e), 0);
	rc = cgroup_begin(&host, c, "a container", 4711, 1024, *j, &e);
	ck_assert_msg(rc == want, "%d: %s", rc, e.text);
}

START_TEST(place_comes_and_goes)
{
	struct err e = { 0 };
	struct journal *j;
	struct cgroup c;

	begin(&c, &j, 0);
	ck_assert_ptr_nonnull(strstr(fake.asked, "Slice=a-b.slice "));
	ck_assert_ptr_nonnull(strstr(fake.asked, "CPUWeight=39 "));
	fake.asked[0] = 0;
	ck_assert_int_eq(cgroup_end(&c, j, &e), 0);
	ck_assert_str_eq(fake.asked, "stop p-n.scope reset p-n.scope ");
	fake.asked[0] = 0;
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), 0);
	ck_assert_str_eq(fake.asked, ""); /* it was retired */
	journal_free(j);
}
END_TEST

/* Killed at any point behind the record: undo stops the scope, if there is one. */
START_TEST(place_is_undone)
{
	struct err e = { 0 };
	struct journal *j;
	struct cgroup c;

	fake.mode = _i ? FAILED : DONE;
	begin(&c, &j, _i ? -EIO : 0);
	fake.mode = _i ? NO_UNIT : DONE;
	fake.asked[0] = 0;
	ck_assert_msg(!journal_undo(j, undo, NULL, &e), "%s", e.text);
	ck_assert_str_eq(fake.asked, "stop p-n.scope reset p-n.scope ");
	journal_free(j);
}
END_TEST

/* A scope of somebody else's, with that name, is left alone. */
START_TEST(place_is_taken)
{
	struct err e = { 0 };
	struct journal *j;
	struct cgroup c;

	fake.mode = EXISTS;
	begin(&c, &j, -EEXIST);
	fake.asked[0] = 0;
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), 0);
	ck_assert_str_eq(fake.asked, "");
	journal_free(j);
}
END_TEST

/* Systemd does not stop it: the record stays for the next command. Without one: done. */
START_TEST(undo_waits_for_systemd)
{
	struct err e = { 0 };
	struct journal *j;
	struct cgroup c;

	begin(&c, &j, 0);
	fake.mode = REFUSED;
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), -EACCES);
	ck_assert_uint_gt(journal_mark(j), 0);
	setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
	ck_assert_int_eq(journal_undo(j, undo, NULL, &e), 0);
	ck_assert_uint_eq(journal_mark(j), 0);
	journal_free(j);
}
END_TEST

Suite *runtime_systemd_suite(void)
{
	Suite *s = suite_create("runtime_systemd");
	TCase *t = tcase_create("systemd");

	if (access(DAEMON, X_OK) < 0) {
		kit_skip("runtime_systemd", DAEMON " is not installed");
		return s;
	}
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, asks_for_a_scope, 0, 2);
	tcase_add_loop_test(t, start, 0, ARRAY_LEN(rows));
	tcase_add_loop_test(t, stop, 0, ARRAY_LEN(rows));
	tcase_add_test(t, no_systemd);
	tcase_add_test(t, weight);
	tcase_add_test(t, place_comes_and_goes);
	tcase_add_loop_test(t, place_is_undone, 0, 2);
	tcase_add_test(t, place_is_taken);
	tcase_add_test(t, undo_waits_for_systemd);
	tcase_set_timeout(t, 20);
	suite_add_tcase(s, t);
	return s;
}
