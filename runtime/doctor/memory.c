// SPDX-License-Identifier: Apache-2.0
/* The host's memory, and what the configuration wants of it. */
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/doctor/doctor.h"

#define MIB (1ull << 20)

/* A line "NAME:   N kB" of /proc/meminfo, in bytes. */
static bool meminfo(const struct doctor_host *h, const char *name, uint64_t *ret)
{
	_cleanup_free_ char *text = doctor_read(h, "/proc/meminfo");
	const char *s = text ? strstr(text, name) : NULL;

	if (!s)
		return false;
	*ret = strtoull(s + strlen(name), NULL, 10) << 10;
	return true;
}

static bool reserved(const struct doctor *d)
{
	return d->config.pages == VMM_PAGES_2M || d->config.pages == VMM_PAGES_1G;
}

static void look_memory(struct doctor *d)
{
	unsigned long long ram = d->config.ram_bytes / MIB;
	uint64_t available, policy = 0;

	if (!meminfo(d->host, "MemAvailable:", &available)) {
		doctor_found(d, DOCTOR_WARNING, "/proc/meminfo does not tell how much memory is available");
		return;
	}
	if (!reserved(d) && available < d->config.ram_bytes) {
		doctor_found(d, d->config.prefault ? DOCTOR_ERROR : DOCTOR_WARNING,
			     "%llu MiB of memory are available: less than one pod of %llu MiB",
			     (unsigned long long)(available / MIB), ram);
		doctor_mend(d, "end what uses memory, or lower ram in the configuration");
	} else {
		doctor_found(d, DOCTOR_OK, "%llu MiB of memory are available; a pod that asks for nothing has %llu MiB",
			     (unsigned long long)(available / MIB), ram);
	}
	if (doctor_number(d->host, "/proc/sys/vm/overcommit_memory", &policy) && policy == 2) {
		doctor_found(d, DOCTOR_WARNING, "vm.overcommit_memory is 2: all of a pod's memory counts as used, whatever it takes");
		doctor_mend(d, "sysctl -w vm.overcommit_memory=0");
	}
}

static void reserved_pages(struct doctor *d)
{
	bool huge = d->config.pages == VMM_PAGES_1G;
	const char *dir = huge ? "/sys/kernel/mm/hugepages/hugepages-1048576kB" :
				 "/sys/kernel/mm/hugepages/hugepages-2048kB";
	uint64_t size = huge ? 1024 * MIB : 2 * MIB, free_pages = 0, need;
	char path[128];

	need = (d->config.ram_bytes + size - 1) / size;
	snprintf(path, sizeof(path), "%s/free_hugepages", dir);
	if (!doctor_number(d->host, path, &free_pages)) {
		doctor_found(d, DOCTOR_ERROR, "memory.hugepages is %s, which this host does not have", huge ? "1G" : "2M");
		doctor_mend(d, "set memory.hugepages to default in the configuration%s",
			    huge ? ", or boot the host with hugepagesz=1G hugepages=N" : "");
	} else if (free_pages < need) {
		doctor_found(d, DOCTOR_ERROR, "%llu reserved pages of %s are free: a pod of %llu MiB needs %llu",
			     (unsigned long long)free_pages, huge ? "1 GiB" : "2 MiB",
			     (unsigned long long)(d->config.ram_bytes / MIB), (unsigned long long)need);
		doctor_mend(d, "echo %llu > %s/nr_hugepages    # for each pod", (unsigned long long)need, dir);
	} else {
		doctor_found(d, DOCTOR_OK, "%llu reserved pages of %s are free: enough for %llu pods",
			     (unsigned long long)free_pages, huge ? "1 GiB" : "2 MiB",
			     (unsigned long long)(free_pages / need));
	}
}

static void look_hugepages(struct doctor *d)
{
	static const char enabled[] = "/sys/kernel/mm/transparent_hugepage/enabled";
	_cleanup_free_ char *text = doctor_read(d->host, enabled);
	bool never = !text || strstr(text, "[never]");

	if (reserved(d)) {
		reserved_pages(d);
	} else if (d->config.pages == VMM_PAGES_ALWAYS && never) {
		doctor_found(d, DOCTOR_WARNING, "memory.hugepages is always, but the host %s: pods get small pages",
			     text ? "never gives transparent huge pages" : "has no transparent huge pages");
		if (text)
			doctor_mend(d, "echo madvise > %s", enabled);
	} else {
		doctor_found(d, DOCTOR_OK, "the host's huge pages fit memory.hugepages of the configuration");
	}
}

static void look_ksm(struct doctor *d)
{
	static const char run[] = "/sys/kernel/mm/ksm/run";
	uint64_t on = 0;
	bool there = doctor_number(d->host, run, &on);

	if (!d->config.merge) {
		doctor_found(d, DOCTOR_OK, "pods' pages are not merged (memory.merge is off)");
	} else if (!there) {
		doctor_found(d, DOCTOR_WARNING, "memory.merge is on, but the host's kernel cannot merge pages");
		doctor_mend(d, "use a host kernel with CONFIG_KSM, or set memory.merge to false");
	} else if (on != 1) {
		doctor_found(d, DOCTOR_WARNING, "memory.merge is on, but the host does not merge: %s is %llu", run,
			     (unsigned long long)on);
		doctor_mend(d, "echo 1 > %s", run);
	} else {
		doctor_found(d, DOCTOR_OK, "the host merges equal pages, as memory.merge wants it");
	}
}

const struct doctor_check doctor_checks_memory[] = {
	{ "memory", "memory for a pod, and how the host counts it", look_memory },
	{ "hugepages", "reserved and transparent huge pages against memory.hugepages", look_hugepages },
	{ "ksm", "merging of equal pages against memory.merge", look_ksm },
	{ NULL, NULL, NULL },
};
