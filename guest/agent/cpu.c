// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * How many processors work. The machine declares all that the pod may ever have;
 * the kernel starts with as many as its command line says (maxcpus=), and
 * the host asks for more or fewer later. The lowest numbers are used, so that what
 * was learnt about a processor stays true for the longest time. The kernel moves
 * what runs on one that goes, and cpusets follow by themselves.
 *
 * Bringing one up takes some milliseconds, and nothing else is answered
 * meanwhile; at the first one that fails the rest is left as it is.
 *
 * Source: kernel Documentation/core-api/cpu_hotplug.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"

/* More than any kernel of a pod has. */
#define CPUS_MAX 1024u

/* Return: 1, 0, or -ENOENT for no such processor */
static int is_online(int dir, uint32_t n)
{
	_cleanup_free_ char *text = NULL;
	char path[32];

	snprintf(path, sizeof(path), "cpu%u/online", n);
	if (!file_read(dir, path, 16, &text, NULL, NULL))
		return text[0] == '1';
	/* One that cannot go has no such file. */
	snprintf(path, sizeof(path), "cpu%u", n);
	return faccessat(dir, path, F_OK, 0) < 0 ? -ENOENT : 1;
}

static int set_online(int dir, uint32_t n, bool on, struct err *e)
{
	char path[32];
	int rc;

	snprintf(path, sizeof(path), "cpu%u/online", n);
	rc = file_write(dir, path, on ? "1" : "0", e);
	return rc < 0 ? err_wrap(e, "processor %u cannot go %s", n, on ? "online" : "offline")
		      : 0;
}

static void count(int dir, uint32_t *ret_present, uint32_t *ret_online)
{
	uint32_t n, online = 0;
	int rc;

	for (n = 0; n < CPUS_MAX && (rc = is_online(dir, n)) >= 0; n++)
		online += (uint32_t)rc;
	*ret_present = n;
	*ret_online = online;
}

static int change(int dir, uint32_t want, uint32_t present, uint32_t online, struct err *e)
{
	uint32_t n;
	int rc = 0;

	for (n = 1; n < present && online < want && !rc; n++)
		if (!is_online(dir, n) && !(rc = set_online(dir, n, true, e)))
			online++;
	for (n = present - 1; n > 0 && online > want && !rc; n--)
		if (is_online(dir, n) == 1 && !(rc = set_online(dir, n, false, e)))
			online--;
	return rc;
}

/**
 * cpu_set_online() - let so many processors work
 * @path: /sys/devices/system/cpu
 * @want: 1 or more; 0: only count them
 * @ret_present, @ret_online: how many there are, and work now; set on success
 *
 * Return: 0; -EINVAL for more than there are; minus errno
 */
int cpu_set_online(const char *path, uint32_t want, uint32_t *ret_present,
		   uint32_t *ret_online, struct err *e)
{
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint32_t present, online;
	int rc;

	if (dir < 0)
		return err_sys(e, "%s", path);
	count(dir, &present, &online);
	if (want > present)
		return err_set(e, EINVAL, "%u processors: the machine has %u", want, present);
	rc = want ? change(dir, want, present, online, e) : 0;
	if (rc < 0)
		return rc;
	count(dir, ret_present, ret_online);
	return 0;
}
