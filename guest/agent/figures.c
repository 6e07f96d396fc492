// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What the guest says of itself, in one answer: memory, load, the agent's own memory,
 * what each container uses and, if asked for, the end of the kernel's log. What cannot
 * be read is 0.
 *
 * Sources: proc(5); syslog(2); kernel cgroup-v2.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <time.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"

#define LOG_MAX (256u << 10)
#define LOG_READ_ALL 3	/* of syslog(2) */

/* The number behind NAME in a file of lines "NAME:  N kB", in bytes. */
static uint64_t kib(const char *text, const char *name)
{
	const char *s = text ? strstr(text, name) : NULL;

	return s ? strtoull(s + strlen(name), NULL, 10) << 10 : 0;
}

static void put_memory(Podvm__Guest *g)
{
	_cleanup_free_ char *mem = NULL, *own = NULL;

	file_read(AT_FDCWD, "/proc/meminfo", 1u << 16, &mem, NULL, NULL);
	g->memory_total = kib(mem, "MemTotal:");
	g->memory_available = kib(mem, "MemAvailable:");
	file_read(AT_FDCWD, "/proc/self/smaps_rollup", 1u << 16, &own, NULL, NULL);
	g->agent_memory = kib(own, "Private_Clean:") + kib(own, "Private_Dirty:");
}

static void put_load(Podvm__Guest *g)
{
	_cleanup_free_ char *text = NULL;
	struct timespec t;
	char *dot;

	clock_gettime(CLOCK_BOOTTIME, &t);
	g->uptime_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	/* As "0.42": always two digits behind the point. */
	if (file_read(AT_FDCWD, "/proc/loadavg", 256, &text, NULL, NULL) >= 0) {
		unsigned long whole = strtoul(text, &dot, 10);

		g->load_milli = (uint32_t)(whole * 1000 + (*dot ? strtoul(dot + 1, NULL, 10) * 10 : 0));
	}
}

static int put_containers(const struct agent *a, Podvm__Guest *g, Podvm__GuestContainer **ret,
			  struct err *e)
{
	const struct container *c;
	Podvm__GuestContainer *v = mem_new_n(Podvm__GuestContainer, a->n_containers + 1);

	g->containers = mem_new_n(Podvm__GuestContainer *, a->n_containers + 1);
	*ret = v;
	if (!v || !g->containers)
		return err_set(e, ENOMEM, "out of memory");
	for (c = a->containers; c && g->n_containers < a->n_containers; c = c->next) {
		Podvm__GuestContainer *x = &v[g->n_containers];

		podvm__guest_container__init(x);
		x->id = (char *)(uintptr_t)c->id;
		cgroup_figures(c->cgroup_fd, x);
		g->containers[g->n_containers++] = x;
	}
	return 0;
}

/* Nothing, where the kernel does not let us read it. */
static int put_log(Podvm__Guest *g, struct err *e)
{
	int n;

	g->log.data = malloc(LOG_MAX);
	if (!g->log.data)
		return err_set(e, ENOMEM, "out of memory");
	n = klogctl(LOG_READ_ALL, (char *)g->log.data, LOG_MAX);
	g->log.len = n < 0 ? 0 : (size_t)n;
	return 0;
}

/**
 * figures_tell() - answer GuestGet
 *
 * Return: 0: answered; -ENOMEM
 */
int figures_tell(struct conn *c, const Podvm__GuestGet *m, struct err *e)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__Guest g = PODVM__GUEST__INIT;
	Podvm__GuestContainer *v = NULL;
	int rc;

	put_memory(&g);
	put_load(&g);
	rc = put_containers(c->agent, &g, &v, e);
	if (rc >= 0 && m->log)
		rc = put_log(&g, e);
	if (rc >= 0) {
		r.body_case = PODVM__RESPONSE__BODY_GUEST;
		r.guest = &g;
		c->busy = false;
		conn_send(c, &r);
	}
	free(g.log.data);
	free(g.containers);
	free(v);
	return rc;
}
