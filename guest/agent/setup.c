// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What makes a booted (or cloned) VM a certain pod: clock, fresh randomness,
 * host name, network, sysctls; in this order, before any container. A sysctl's
 * key is dotted; a dot inside one component (an interface's name) is written
 * as a slash, as sysctl(8) has it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"

#define ENTROPY_MAX 4096

/**
 * sysctl_write() - set a sysctl of the current namespaces
 * @key: dotted, "net.ipv4.ip_forward"
 *
 * Return: 0; -EINVAL for a key that is none; minus errno
 */
int sysctl_write(const char *key, const char *value, struct err *e)
{
	char path[PATH_MAX] = "/proc/sys/";
	size_t len = strlen(path), i;
	int rc;

	if (!*key || *key == '.' || *key == '/' || strstr(key, "..") ||
	    strstr(key, "//") || len + strlen(key) >= sizeof(path))
		return err_set(e, EINVAL, "sysctl %s: not a dotted key", key);
	for (i = 0; key[i]; i++)
		path[len + i] = key[i] == '.' ? '/' : key[i] == '/' ? '.' : key[i];
	path[len + i] = 0;
	if (strstr(path, "/.."))
		return err_set(e, EINVAL, "sysctl %s: not a dotted key", key);
	rc = file_write(AT_FDCWD, path, value, e);
	if (rc == -ENOENT)
		return err_set(e, ENOENT, "sysctl %s: the guest's kernel has none of that name",
			       key);
	return rc < 0 ? err_wrap(e, "sysctl %s", key) : 0;
}

static int set_clock(uint64_t ns, struct err *e)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000u),
			      .tv_nsec = (long)(ns % 1000000000u) };

	if (ns && clock_settime(CLOCK_REALTIME, &t) < 0)
		return err_sys(e, "clock");
	return 0;
}

/* The host's bytes count as full entropy; a clone must not go on with its template's. */
static int add_entropy(const ProtobufCBinaryData *d, struct err *e)
{
	_cleanup_free_ struct rand_pool_info *info = NULL;
	_cleanup_close_ int fd = -1;

	if (!d->len)
		return 0;
	if (d->len > ENTROPY_MAX)
		return err_set(e, E2BIG, "entropy: %zu bytes, at most %d", d->len, ENTROPY_MAX);
	info = calloc(1, sizeof(*info) + ENTROPY_MAX);
	if (!info)
		return err_set(e, ENOMEM, "out of memory");
	info->entropy_count = (int)d->len * 8;
	info->buf_size = (int)d->len;
	memcpy(info->buf, d->data, d->len);
	fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, info) < 0)
		return err_sys(e, "entropy: /dev/urandom");
	ioctl(fd, RNDRESEEDCRNG); /* kernels before 5.18 refuse it until they are seeded */
	return 0;
}

/**
 * setup_pod() - carry out PodSetup
 *
 * Return: 0 or minus errno, naming what failed
 */
int setup_pod(const Podvm__PodSetup *m, struct err *e)
{
	size_t i;
	int rc;

	rc = set_clock(m->realtime_ns, e);
	if (rc >= 0)
		rc = add_entropy(&m->entropy, e);
	if (rc >= 0 && *m->hostname && sethostname(m->hostname, strlen(m->hostname)) < 0)
		rc = err_sys(e, "hostname %s", m->hostname);
	if (rc >= 0 && *m->domainname && setdomainname(m->domainname, strlen(m->domainname)) < 0)
		rc = err_sys(e, "domainname %s", m->domainname);
	if (rc >= 0 && m->network)
		rc = net_setup(m->network, e);
	for (i = 0; rc >= 0 && i < m->n_sysctls; i++)
		rc = sysctl_write(m->sysctls[i]->key, m->sysctls[i]->value, e);
	return rc;
}
