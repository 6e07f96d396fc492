// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Cgroups of a host whose systemd owns them are asked for, not made: a scope is a unit
 * for processes that somebody else has started. It begins with StartTransientUnit, which
 * queues a job and names it; JobRemoved tells how that job ended. The scope is delegated,
 * so that what is below it is ours. It ends by itself with its last process, and is
 * forgotten even if it failed (CollectMode); stopping it only makes sure.
 *
 * The library is loaded when it is needed: every shim is this program, and most hosts
 * need it in none of them.
 *
 * Each call has a connection of its own, so that there is no state and nothing to
 * notice when systemd or the bus is restarted. DBUS_SYSTEM_BUS_ADDRESS is honoured.
 *
 * Sources: org.freedesktop.systemd1(5); systemd.resource-control(5); sd-bus(3).
 */
#include "runtime/systemd.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"

#define LIBRARY "libsystemd.so.0"

#define DESTINATION "org.freedesktop.systemd1"
#define OBJECT "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"
#define UNIT_EXISTS "org.freedesktop.systemd1.UnitExists"
#define NO_SUCH_UNIT "org.freedesktop.systemd1.NoSuchUnit"

#define CALLS(X) \
	X(sd_bus_open_system) X(sd_bus_flush_close_unref) X(sd_bus_match_signal) \
	X(sd_bus_message_new_method_call) X(sd_bus_message_append) \
	X(sd_bus_message_open_container) X(sd_bus_message_close_container) \
	X(sd_bus_message_read) X(sd_bus_message_unref) X(sd_bus_call) X(sd_bus_process) \
	X(sd_bus_wait) X(sd_bus_error_free) X(sd_bus_error_has_name)

/* Of the library; filled by load(). */
static struct {
	void *handle;
#define FIELD(name) __typeof__(name) *(name);
	CALLS(FIELD)
#undef FIELD
} sd;

static int load(struct err *e)
{
	void *handle;

	if (sd.handle)
		return 0;
	handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return err_set(e, ENOTSUP,
			       "--systemd-cgroup: %s; use the engine's cgroupfs manager on a host without systemd",
			       dlerror());
#define FIND(name) \
	*(void **)&sd.name = dlsym(handle, #name); \
	if (!sd.name) { \
		dlclose(handle); \
		return err_set(e, ENOTSUP, "--systemd-cgroup: " LIBRARY " has no " #name); \
	}
	CALLS(FIND)
#undef FIND
	sd.handle = handle;
	return 0;
}

/**
 * struct call - a connection to systemd, and what became of a job
 * @job:    object path; NULL: none is known yet
 * @result: of it; empty: it has not ended
 */
struct call {
	sd_bus *bus;
	uint32_t timeout_ms;
	const char *job;
	char result[32];
};

static int on_job_removed(sd_bus_message *m, void *arg, sd_bus_error *ignored)
{
	const char *job, *unit, *result;
	struct call *c = arg;
	uint32_t id;

	(void)ignored;
	if (sd.sd_bus_message_read(m, "uoss", &id, &job, &unit, &result) >= 0 && c->job &&
	    !strcmp(job, c->job) && str_copy(c->result, sizeof(c->result), result) < 0)
		strcpy(c->result, "?"); /* its length is checked */
	return 0;
}

static int call_open(struct call *c, struct err *e)
{
	int rc = load(e);

	if (rc < 0)
		return rc;
	rc = sd.sd_bus_open_system(&c->bus);
	if (rc >= 0)
		rc = sd.sd_bus_match_signal(c->bus, NULL, DESTINATION, OBJECT, MANAGER,
					    "JobRemoved", on_job_removed, c);
	if (rc >= 0)
		return 0;
	return err_set(e, EHOSTDOWN,
		       "--systemd-cgroup: the system bus, by which systemd is reached, does not answer (%s); use the engine's cgroupfs manager on a host without systemd",
		       strerror(-rc));
}

static void call_close(struct call *c)
{
	if (c->bus)
		sd.sd_bus_flush_close_unref(c->bus);
}

static int method(struct call *c, const char *name, sd_bus_message **ret, struct err *e)
{
	int rc = sd.sd_bus_message_new_method_call(c->bus, ret, DESTINATION, OBJECT, MANAGER, name);

	return rc < 0 ? err_set(e, -rc, "systemd: %s: %s", name, strerror(-rc)) : 0;
}

/*
 * Sends @m, whose answer is a job, and waits for that. @unit is for messages.
 * Return: 0; -EEXIST, -ENOENT for units that are there, or are not; minus errno
 */
static int run_job(struct call *c, sd_bus_message *m, const char *unit, struct err *e)
{
	uint64_t end = clock_ms() + c->timeout_ms;
	sd_bus_error why = SD_BUS_ERROR_NULL;
	sd_bus_message *reply = NULL;
	int rc = sd.sd_bus_call(c->bus, m, c->timeout_ms * 1000ull, &why, &reply);

	if (rc >= 0)
		rc = sd.sd_bus_message_read(reply, "o", &c->job);
	else if (sd.sd_bus_error_has_name(&why, UNIT_EXISTS))
		rc = -EEXIST;
	else if (sd.sd_bus_error_has_name(&why, NO_SUCH_UNIT))
		rc = -ENOENT;
	if (rc < 0)
		err_set(e, -rc, "systemd: %s: %s", unit, why.message ? why.message : strerror(-rc));
	while (rc >= 0 && !c->result[0]) {
		uint64_t now = clock_ms();

		rc = sd.sd_bus_process(c->bus, NULL);
		if (!rc && now >= end)
			rc = err_set(e, ETIMEDOUT, "systemd: %s: its job has not ended in %u ms",
				     unit, c->timeout_ms);
		else if (!rc)
			rc = sd.sd_bus_wait(c->bus, (end - now) * 1000);
		if (rc < 0 && rc != -ETIMEDOUT)
			err_set(e, -rc, "systemd: %s: %s", unit, strerror(-rc));
	}
	if (rc >= 0 && strcmp(c->result, "done"))
		rc = err_set(e, EIO, "systemd: %s: its job ended with \"%s\"; see journalctl -u %s",
			     unit, c->result, unit);
	c->job = NULL;
	c->result[0] = 0;
	sd.sd_bus_message_unref(reply);
	sd.sd_bus_error_free(&why);
	return rc < 0 ? rc : 0;
}

/* Forgets that a unit has failed; one that has not, or is not there: nothing to do. */
static void reset_failed(struct call *c, const char *unit)
{
	sd_bus_error why = SD_BUS_ERROR_NULL;
	sd_bus_message *m = NULL, *reply = NULL;

	if (!method(c, "ResetFailedUnit", &m, NULL) &&
	    sd.sd_bus_message_append(m, "s", unit) >= 0 &&
	    sd.sd_bus_call(c->bus, m, c->timeout_ms * 1000ull, &why, &reply) >= 0)
		sd.sd_bus_message_unref(reply);
	sd.sd_bus_message_unref(m);
	sd.sd_bus_error_free(&why);
}

static int append_properties(sd_bus_message *m, const struct systemd_scope *s)
{
	static const char *const yes[] = { "Delegate", "CPUAccounting", "MemoryAccounting",
					   "TasksAccounting", "IOAccounting" };
	size_t i;
	int rc;

	if ((rc = sd.sd_bus_message_append(m, "(sv)", "Description", "s", s->description)) < 0 ||
	    (rc = sd.sd_bus_message_append(m, "(sv)", "Slice", "s", s->slice)) < 0 ||
	    (rc = sd.sd_bus_message_append(m, "(sv)", "PIDs", "au", 1, (uint32_t)s->pid)) < 0 ||
	    (rc = sd.sd_bus_message_append(m, "(sv)", "DefaultDependencies", "b", 0)) < 0 ||
	    (rc = sd.sd_bus_message_append(m, "(sv)", "CollectMode", "s",
					   "inactive-or-failed")) < 0)
		return rc;
	for (i = 0; i < ARRAY_LEN(yes) && rc >= 0; i++)
		rc = sd.sd_bus_message_append(m, "(sv)", yes[i], "b", 1);
	if (rc >= 0 && s->cpu_weight)
		rc = sd.sd_bus_message_append(m, "(sv)", "CPUWeight", "t", s->cpu_weight);
	return rc;
}

static int start_message(struct call *c, const struct systemd_scope *s, sd_bus_message **ret,
			 struct err *e)
{
	sd_bus_message *m = NULL;
	int rc = method(c, "StartTransientUnit", &m, e);

	if (rc < 0)
		return rc;
	if ((rc = sd.sd_bus_message_append(m, "ss", s->unit, "replace")) < 0 ||
	    (rc = sd.sd_bus_message_open_container(m, 'a', "(sv)")) < 0 ||
	    (rc = append_properties(m, s)) < 0 ||
	    (rc = sd.sd_bus_message_close_container(m)) < 0 ||
	    (rc = sd.sd_bus_message_append(m, "a(sa(sv))", 0)) < 0) {
		sd.sd_bus_message_unref(m);
		return err_set(e, -rc, "systemd: %s: %s", s->unit, strerror(-rc));
	}
	*ret = m;
	return 0;
}

static int start_once(struct call *c, const struct systemd_scope *s, struct err *e)
{
	sd_bus_message *m = NULL;
	int rc = start_message(c, s, &m, e);

	if (!rc)
		rc = run_job(c, m, s->unit, e);
	sd.sd_bus_message_unref(m);
	return rc;
}

/**
 * systemd_scope_start() - put a process into a new scope
 *
 * One of that name that has failed, which systemd remembers, is forgotten first.
 *
 * Return: 0: the process is in it; -ENOTSUP without the library, -EHOSTDOWN without the
 * bus, -EEXIST, -ETIMEDOUT, minus errno
 * Context: blocks, three times @s->timeout_ms at most
 */
int systemd_scope_start(const struct systemd_scope *s, struct err *e)
{
	struct call c = { .timeout_ms = s->timeout_ms };
	int rc = call_open(&c, e);

	if (!rc)
		rc = start_once(&c, s, e);
	if (rc == -EEXIST) {
		reset_failed(&c, s->unit);
		rc = start_once(&c, s, e);
	}
	call_close(&c);
	return rc;
}

/**
 * systemd_scope_weight() - change a scope's CPU weight, as long as it lives
 * @weight: 1 to 10000
 *
 * Return: 0; -EHOSTDOWN without the bus, minus errno
 * Context: blocks, @timeout_ms at most
 */
int systemd_scope_weight(const char *unit, uint64_t weight, uint32_t timeout_ms, struct err *e)
{
	struct call c = { .timeout_ms = timeout_ms };
	sd_bus_error why = SD_BUS_ERROR_NULL;
	sd_bus_message *m = NULL, *reply = NULL;
	int rc = call_open(&c, e);

	if (!rc)
		rc = method(&c, "SetUnitProperties", &m, e);
	if (!rc) {
		rc = sd.sd_bus_message_append(m, "sba(sv)", unit, 1, 1, "CPUWeight", "t", weight);
		if (rc >= 0)
			rc = sd.sd_bus_call(c.bus, m, c.timeout_ms * 1000ull, &why, &reply);
		if (rc < 0)
			err_set(e, -rc, "systemd: %s: %s", unit,
				why.message ? why.message : strerror(-rc));
		sd.sd_bus_message_unref(reply);
		sd.sd_bus_message_unref(m);
		sd.sd_bus_error_free(&why);
	}
	call_close(&c);
	return rc < 0 ? rc : 0;
}

/**
 * systemd_scope_stop() - end a scope, and forget it
 *
 * Return: 0, also when there is none; 1 when there is no systemd to ask, with @e set: the
 * scope ends by itself with its last process; -ETIMEDOUT, minus errno
 * Context: blocks, three times @timeout_ms at most
 */
int systemd_scope_stop(const char *unit, uint32_t timeout_ms, struct err *e)
{
	struct call c = { .timeout_ms = timeout_ms };
	sd_bus_message *m = NULL;
	int rc = call_open(&c, e);

	if (rc < 0) {
		call_close(&c);
		return 1;
	}
	rc = method(&c, "StopUnit", &m, e);
	if (!rc && (rc = sd.sd_bus_message_append(m, "ss", unit, "replace")) < 0)
		err_set(e, -rc, "systemd: %s: %s", unit, strerror(-rc));
	if (rc >= 0)
		rc = run_job(&c, m, unit, e);
	if (rc == -ENOENT)
		rc = 0;
	reset_failed(&c, unit);
	sd.sd_bus_message_unref(m);
	call_close(&c);
	return rc;
}
