// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Joins pods' namespaces to taps and takes that back, again and again, by netplug's
 * functions as the supervisor calls them: for what must not be left behind, and for how
 * long it takes.
 *
 *   native-attach [OPTION]... DIR POD...
 *
 * DIR is for journals, POD the path of a namespace. By default each POD is attached, one
 * after the other, all are held, and then all are detached; that is one cycle. With
 * --at-once each POD has a process of its own, and all begin in the same moment.
 *
 * Prints one object: microseconds per interface, in the order of the pods of the last
 * cycle and over all cycles; descriptors and bytes of memory before and after. Exit
 * status 1 with one line if anything failed, or more is there afterwards than before.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/opt.h"
#include "netplug/netplug.h"

/* Cycles of which the first is not counted: libraries and code are loaded then. */
#define WARM_UP 1

/**
 * struct pod - one namespace and what is attached to it
 * @attach_us, @detach_us: of its last cycle, per interface
 */
struct pod {
	const char *path;
	int dir, netns;
	char name[32];
	struct journal *j;
	struct netplug_port port[NETPLUG_PORTS_MAX];
	size_t n_ports;
	double attach_us, detach_us;
};

struct options {
	uint64_t cycles, queues;
	bool at_once, help;
	int dir;
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int undo_one(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	return netplug_undo(r, e);
}

static int attach(const struct options *o, struct pod *p, struct err *e)
{
	struct netplug_plan *plan = NULL;
	double t;
	int rc = journal_open(p->dir, p->name, &p->j, e);

	if (rc < 0)
		return rc;
	t = now_us();
	rc = netplug_plan(p->netns, NULL, &plan, e);
	if (!rc)
		rc = netplug_apply(plan, p->netns, p->path, o->queues, p->j, p->port, &p->n_ports, e);
	p->attach_us = p->n_ports ? (now_us() - t) / (double)p->n_ports : 0;
	netplug_plan_free(plan);
	return rc < 0 ? err_wrap(e, "%s", p->path) : 0;
}

/* The monitor lets go of the taps first, as it does when a pod ends. */
static int detach(struct pod *p, struct err *e)
{
	size_t n = p->n_ports;
	double t;
	int rc;

	while (p->n_ports)
		netplug_port_close(&p->port[--p->n_ports]);
	t = now_us();
	rc = journal_undo(p->j, undo_one, NULL, e);
	p->detach_us = n ? (now_us() - t) / (double)n : 0;
	journal_free(p->j);
	p->j = NULL;
	return rc < 0 ? err_wrap(e, "%s", p->path) : 0;
}

static size_t open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	while (d && readdir(d))
		n++;
	closedir(d);
	return n;
}

static size_t heap_bytes(void)
{
	return mallinfo2().uordblks;
}

/* ---- one after the other ------------------------------------------------------------ */

static int one_cycle(const struct options *o, struct pod *pod, size_t n, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < n && !rc; i++)
		rc = attach(o, &pod[i], e);
	for (i = 0; i < n && !rc; i++)
		rc = detach(&pod[i], e);
	return rc;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void print_spread(const char *name, double *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare);
	printf("\"%s\": {\"median\": %.0f, \"min\": %.0f, \"p95\": %.0f, \"max\": %.0f}", name, v[n / 2], v[0],
	       v[n * 95 / 100], v[n - 1]);
}

static int in_turn(const struct options *o, struct pod *pod, size_t n, struct err *e)
{
	size_t samples = n * o->cycles, k = 0, i, files = 0, heap = 0;
	_cleanup_free_ double *at = mem_new_n(double, samples + 1), *det = mem_new_n(double, samples + 1);
	uint64_t c;
	int rc = 0;

	if (!at || !det)
		return err_set(e, ENOMEM, "out of memory");
	for (c = 0; c < o->cycles + WARM_UP && !rc; c++) {
		if (c == WARM_UP) {
			files = open_files();
			heap = heap_bytes();
		}
		rc = one_cycle(o, pod, n, e);
		for (i = 0; i < n && c >= WARM_UP && !rc; i++) {
			at[k] = pod[i].attach_us;
			det[k++] = pod[i].detach_us;
		}
	}
	if (rc < 0)
		return rc;
	if (open_files() != files || heap_bytes() > heap)
		return err_set(e, EBUSY, "%zu descriptors and %zu bytes before, %zu and %zu after",
			       files, heap, open_files(), heap_bytes());
	printf("{\"pods\": %zu, \"cycles\": %llu, ", n, (unsigned long long)o->cycles);
	print_spread("attach_us", at, k);
	printf(", ");
	print_spread("detach_us", det, k);
	printf(", \"attach_us_by_pod\": [");
	for (i = 0; i < n; i++)
		printf("%s%.0f", i ? ", " : "", pod[i].attach_us);
	puts("]}");
	return 0;
}

/* ---- at once ----------------------------------------------------------------------- */

/* In a child: waits for @go to end, attaches, and holds until @stop ends. */
static int hold(const struct options *o, struct pod *p, int go, int ready, int stop)
{
	struct err e = { 0 };
	char c;
	int rc = 0;

	if (read(go, &c, 1) != 0)
		rc = err_sys(&e, "read");
	if (!rc)
		rc = attach(o, p, &e);
	if (!rc && write(ready, "", 1) != 1)
		rc = err_sys(&e, "write");
	close(ready);
	if (!rc && read(stop, &c, 1) != 0)
		rc = err_sys(&e, "read");
	if (!rc)
		rc = detach(p, &e);
	if (rc < 0)
		fprintf(stderr, "native-attach: %s\n", e.text);
	return rc < 0;
}

static int wait_all(const pid_t *pid, size_t n, struct err *e)
{
	size_t i, bad = 0;
	int status;

	for (i = 0; i < n; i++)
		bad += pid[i] < 0 || waitpid(pid[i], &status, 0) < 0 || status;
	return bad ? err_set(e, EIO, "%zu of %zu pods failed", bad, n) : 0;
}

static int at_once(const struct options *o, struct pod *pod, size_t n, struct err *e)
{
	_cleanup_free_ pid_t *pid = mem_new_n(pid_t, n + 1);
	int go[2], ready[2], stop[2];
	size_t i;
	char c;

	if (!pid || pipe2(go, O_CLOEXEC) < 0 || pipe2(ready, O_CLOEXEC) < 0 || pipe2(stop, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	for (i = 0; i < n; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			/* What ends with the parent alone must be open nowhere else. */
			close(go[1]);
			close(stop[1]);
			_exit(hold(o, &pod[i], go[0], ready[1], stop[0]));
		}
	}
	close(ready[1]);
	close(go[1]);
	for (i = 0; i < n && read(ready[0], &c, 1) == 1; i++)
		;
	printf("{\"pods\": %zu, \"attached_at_once\": %zu}\n", n, i);
	close(stop[1]);
	return wait_all(pid, n, e);
}

/* ---- all ------------------------------------------------------------------------- */

static int open_pods(const struct options *o, char **paths, struct pod *pod, size_t n, struct err *e)
{
	size_t i;

	for (i = 0; i < n; i++) {
		pod[i].path = paths[i];
		pod[i].dir = o->dir;
		snprintf(pod[i].name, sizeof(pod[i].name), "journal%zu", i);
		pod[i].netns = open(paths[i], O_RDONLY | O_CLOEXEC);
		if (pod[i].netns < 0)
			return err_sys(e, "%s", paths[i]);
	}
	return 0;
}

static int run(struct options *o, char **words, size_t n, struct err *e)
{
	_cleanup_free_ struct pod *pod = mem_new_n(struct pod, n + 1);
	int rc;

	if (!pod)
		return err_set(e, ENOMEM, "out of memory");
	o->dir = open(words[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (o->dir < 0)
		return err_sys(e, "%s", words[0]);
	rc = open_pods(o, words + 1, pod, n, e);
	if (!rc)
		rc = o->at_once ? at_once(o, pod, n, e) : in_turn(o, pod, n, e);
	return rc;
}

int main(int argc, char **argv)
{
	struct options o = { .cycles = 1, .queues = 1 };
	const struct opt table[] = {
		OPT_U64(0, "cycles", &o.cycles, "N", "how often (1), after one that does not count"),
		OPT_U64(0, "queues", &o.queues, "N", "pairs of queues (1)"),
		OPT_FLAG(0, "at-once", &o.at_once, "all pods in the same moment, each in its process"),
		OPT_FLAG('h', "help", &o.help, "this text"),
		OPT_END
	};
	struct err e = { 0 };
	int first, rc = opt_parse(table, argc, argv, &first, &e);

	if (o.help) {
		puts("usage: native-attach [OPTION]... DIR POD...");
		opt_help(stdout, table);
		return 0;
	}
	if (!rc && (argc - first < 2 || !o.cycles))
		rc = err_set(&e, EINVAL, "DIR and a POD are needed, and a cycle");
	if (!rc)
		rc = run(&o, argv + first, (size_t)(argc - first - 1), &e);
	if (rc < 0)
		fprintf(stderr, "native-attach: %s\n", e.text);
	return rc < 0;
}
