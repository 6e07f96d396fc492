// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * events: what runc prints, a line of JSON for each: statistics once in an interval, and
 * "oom" when the container has run out of memory. Both are asked of the guest's agent, on
 * two connections that the supervisor opens: one that answers, and one that is told. Nothing
 * here counts what the host's cgroups say, which is the machine's. The command ends when
 * no process of the container is left, or its pod has gone.
 *
 * The guest can lie and flood: a line for "oom" is printed ten times a second at most,
 * since the kernel itself tells of no more than that many for long, and what does not
 * parse ends the command.
 *
 * Source: runc-events(8).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "lib/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "runtime/cli/cli.h"
#include "runtime/stats.h"

#define ANSWER_MS 20000
#define OOM_LINE_MS 100

/* Messages of the agent that are taken before statistics get their turn. */
#define ROUND 64

/**
 * struct events - one such command
 * @ask, @told: connections to the agent
 * @kills:      that were printed, or were before
 * @news:       more than that have been told
 * @known:      the first message, which has those of before, has come
 */
struct events {
	const char *id;
	struct agent ask, told;
	uint64_t kills, next_oom_ms;
	bool known, news, ended;
};

static int line(char *json, struct err *e)
{
	printf("%s\n", json);
	free(json);
	return fflush(stdout) ? err_sys(e, "standard output") : 0;
}

static int print_stats(struct events *ev, struct err *e)
{
	Podvm__CgroupRead m = PODVM__CGROUP_READ__INIT;
	Podvm__Request rq = AGENT_REQUEST(cgroup_read = &m, CGROUP_READ);
	Podvm__Response *rs;
	char *json = NULL;
	int rc;

	m.id = strdupa(ev->id);
	m.files = (char **)(uintptr_t)stats_files;
	while (stats_files[m.n_files])
		m.n_files++;
	rc = agent_call(&ev->ask, &rq, ANSWER_MS, &rs, e);
	if (rc < 0)
		return rc;
	if (rs->body_case != PODVM__RESPONSE__BODY_CGROUP_FILES)
		rc = err_set(e, EPROTO, "the guest's agent did not tell what the container uses");
	else
		rc = stats_event(ev->id, rs->cgroup_files, &json, e);
	podvm__response__free_unpacked(rs, NULL);
	return rc < 0 ? rc : line(json, e);
}

static int print_oom(struct events *ev, struct err *e)
{
	char *json;
	int rc = oom_event(ev->id, &json, e);

	ev->news = false;
	ev->next_oom_ms = clock_ms() + OOM_LINE_MS;
	return rc < 0 ? rc : line(json, e);
}

static int take(struct events *ev, struct err *e)
{
	Podvm__Response *rs;
	int rc = 1, left = ROUND;

	while (left-- && !ev->ended && (rc = agent_take(&ev->told, &rs, e)) == 1) {
		if (rs->body_case == PODVM__RESPONSE__BODY_WATCHED) {
			ev->news |= ev->known && rs->watched->oom_kills > ev->kills;
			if (rs->watched->oom_kills > ev->kills)
				ev->kills = rs->watched->oom_kills;
			ev->ended = rs->watched->ended;
			ev->known = true;
		}
		podvm__response__free_unpacked(rs, NULL);
	}
	return rc < 0 ? rc : 0;
}

/* The container has gone, and with it who could tell. */
static bool is_gone(int rc)
{
	return rc == -ESRCH || rc == -EPIPE || rc == -ECONNRESET;
}

static int until(uint64_t ms, uint64_t now)
{
	uint64_t left = ms > now ? ms - now : 0;

	return left > INT32_MAX ? INT32_MAX : (int)left;
}

static int wait_for(struct events *ev, uint64_t next_ms, struct err *e)
{
	struct pollfd f = { .fd = ev->told.fd, .events = POLLIN };
	uint64_t now = clock_ms();
	int ms = until(next_ms, now), oom = until(ev->next_oom_ms, now);

	if (poll(&f, 1, ev->news && oom < ms ? oom : ms) < 0 && errno != EINTR)
		return err_sys(e, "poll");
	return f.revents ? take(ev, e) : 0;
}

static int serve(struct events *ev, uint64_t interval_ms, struct err *e)
{
	uint64_t next_ms = clock_ms() + interval_ms;
	int rc = 0;

	while (!rc && !ev->ended) {
		rc = wait_for(ev, next_ms, e);
		if (ev->news && (rc || ev->ended || clock_ms() >= ev->next_oom_ms)) {
			int failed = print_oom(ev, e);

			rc = failed ? failed : rc;
		}
		if (rc || ev->ended || clock_ms() < next_ms)
			continue;
		rc = print_stats(ev, e);
		if (rc == -ETIMEDOUT) {
			log_warn("container %s: %s", ev->id, e->text);
			rc = 0;
		}
		next_ms = clock_ms() + interval_ms;
	}
	return is_gone(rc) ? 0 : rc;
}

static int run(struct events *ev, int sock, bool once, uint64_t interval_ms, struct err *e)
{
	Podvm__ContainerWatch m = PODVM__CONTAINER_WATCH__INIT;
	Podvm__Request rq = AGENT_REQUEST(container_watch = &m, CONTAINER_WATCH);
	int rc = pod_stream(sock, &ev->ask.fd, e);

	if (rc < 0 || once)
		return rc < 0 ? rc : print_stats(ev, e);
	m.id = strdupa(ev->id);
	rc = pod_stream(sock, &ev->told.fd, e);
	if (!rc)
		rc = agent_call(&ev->told, &rq, ANSWER_MS, NULL, e);
	return rc < 0 ? rc : serve(ev, interval_ms, e);
}

/**
 * cmd_events() - podvm events
 */
int cmd_events(struct cli *c, int argc, char **argv, struct err *e)
{
	struct events ev = { .ask = { .fd = -1 }, .told = { .fd = -1 } };
	const char *interval = "5s";
	bool once = false;
	const struct opt t[] = {
		OPT_STR(0, "interval", &interval, "TIME", "between statistics, as 500ms or 1m30s (5s)"),
		OPT_FLAG(0, "stats", &once, "print statistics once, and end"),
		OPT_END
	};
	_cleanup_close_ int sock = -1;
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);
	uint64_t ns = 0;
	struct state *s;

	if (rc <= 0)
		return rc;
	if (parse_duration(interval, &ns) < 0 || ns < 1000000)
		return err_set(e, EINVAL, "--interval %s: not a time such as 500ms, 5s or 1m30s",
			       interval);
	rc = cli_connect(c, argv[first], &s, &sock, e);
	if (rc < 0)
		return rc;
	ev.id = s->id;
	rc = s->status == STATE_STOPPED ? err_set(e, ESRCH, "container not running")
					: run(&ev, sock, once, ns / 1000000, e);
	agent_done(&ev.ask);
	agent_done(&ev.told);
	state_free(s);
	return rc;
}
