// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What is read from outside of a monitor, whichever it is, so that one rule
 * holds for all.
 *
 * Memory: /proc/PID/smaps. Guest RAM is the mapping, or the run of writable mappings
 * without a gap, whose size is exactly that of guest RAM: all monitors here back RAM
 * by one private anonymous mapping of its own size, and the copy of a template by pieces
 * of that and of the template's file. Of these the anonymous pages count, which nobody
 * else has; Private_Clean and Private_Dirty of all
 * others are the monitor's. None of that size is an error, never a guess. What
 * the kernel itself keeps for the machine (page tables, KVM's structures) is no
 * process's memory and is not in these figures, for no monitor.
 *
 * Exits: /sys/kernel/debug/kvm/PID-FD/, where `exits` counts every exit of the
 * guest, those that KVM handles by itself included. They are the sum over all
 * vCPUs, and 0 of anything that this processor's KVM does not count.
 *
 * Sources: proc_pid_smaps(5); Linux Documentation/virt/kvm/api.rst, section
 * KVM_GET_STATS_FD, whose values debugfs shows.
 */
#include "tests/bench/bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"

#define KVM_FOLDER "/sys/kernel/debug/kvm"

/**
 * bench_now_ns() - the monotonic clock
 */
uint64_t bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int read_counter(const char *dir, const char *name, uint64_t *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char path[300];
	size_t len;
	int rc;

	snprintf(path, sizeof(path), KVM_FOLDER "/%s/%s", dir, name);
	rc = file_read(AT_FDCWD, path, 64, &text, &len, e);
	if (rc < 0)
		return rc;
	while (len && text[len - 1] == '\n')
		text[--len] = 0;
	return parse_u64(text, ret) < 0 ? err_set(e, EIO, "%s: not a number", path) : 0;
}

/* The folder of the one machine that @pid has. */
static int find_folder(pid_t pid, char *ret, size_t room, struct err *e)
{
	DIR *d = opendir(KVM_FOLDER);
	size_t found = 0;
	char prefix[24];
	struct dirent *en;

	if (!d)
		return err_sys(e, KVM_FOLDER " (is debugfs mounted?)");
	snprintf(prefix, sizeof(prefix), "%d-", pid);
	while ((en = readdir(d)))
		if (str_starts(en->d_name, prefix) && !str_copy(ret, room, en->d_name))
			found++;
	closedir(d);
	if (found != 1)
		return err_set(e, ENOENT, KVM_FOLDER ": %zu machines of process %d, not 1",
			       found, pid);
	return 0;
}

/**
 * bench_kvm_read() - what KVM has counted for the machine of a process
 *
 * Return: 0; -ENOENT when it has none, or more than one
 */
int bench_kvm_read(pid_t pid, struct bench_kvm *ret, struct err *e)
{
	struct bench_kvm k = { 0 };
	char dir[64];
	int rc = find_folder(pid, dir, sizeof(dir), e);

	if (rc < 0)
		return rc;
#define READ(name)                                              \
	if ((rc = read_counter(dir, #name, &k.name, e)) < 0)    \
		return rc;
	BENCH_COUNTERS(READ)
#undef READ
	*ret = k;
	return 0;
}

static bool value_kb(const char *line, const char *name, uint64_t *ret)
{
	unsigned long long kb;

	if (!str_starts(line, name) || sscanf(line + strlen(name), " %llu kB", &kb) != 1)
		return false;
	*ret = kb;
	return true;
}

/* A range of addresses. */
struct range {
	unsigned long long from, to;
};

/* The run of writable mappings that has exactly @bytes; all zero where there is none. */
static struct range find_ram(pid_t pid, uint64_t bytes)
{
	struct range run = { 0, 0 }, ram = { 0, 0 }, one;
	char path[40], line[512], mode[8];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx %7s", &one.from, &one.to, mode) != 3)
			continue;
		if (mode[1] != 'w')
			run = (struct range){ 0, 0 };
		else if (run.to == one.from)
			run.to = one.to;
		else
			run = one;
		if (one.to - one.from == bytes || run.to - run.from == bytes)
			ram = run.to - run.from == bytes ? run : one;
	}
	if (f)
		fclose(f);
	return ram;
}

/**
 * bench_memory_read() - a monitor's memory, and what its guest RAM takes
 * @ram_bytes: guest RAM is what is mapped in exactly this size
 *
 * Return: 0; -ENOENT when no mapping has that size; minus errno
 */
int bench_memory_read(pid_t pid, uint64_t ram_bytes, struct bench_memory *ret,
		      struct err *e)
{
	struct bench_memory m = { 0 };
	const struct range ram = find_ram(pid, ram_bytes);
	bool in_ram = false, in_file = false;
	char path[40], line[512], name[256];
	unsigned long long from, to;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	if (!f)
		return err_sys(e, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		uint64_t kb;

		name[0] = 0;
		if (sscanf(line, "%llx-%llx %*s %*s %*s %*s %255s", &from, &to, name) >= 2) {
			in_ram = from >= ram.from && to <= ram.to;
			in_file = name[0] == '/';
			m.mappings += !in_ram;
		} else if (value_kb(line, "Private_Clean:", &kb) ||
			   value_kb(line, "Private_Dirty:", &kb)) {
			m.private_kb += in_ram ? 0 : kb;
			m.file_kb += in_file && !in_ram ? kb : 0;
		} else if (value_kb(line, "Anonymous:", &kb) && in_ram) {
			m.guest_kb += kb;
		} else if (value_kb(line, "Pss:", &kb) && !in_ram) {
			m.process_kb += kb;
		}
	}
	fclose(f);
	if (!ram.to)
		return err_set(e, ENOENT, "%s: no mapping of exactly %llu bytes: which is guest RAM?",
			       path, (unsigned long long)ram_bytes);
	*ret = m;
	return 0;
}
