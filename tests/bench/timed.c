// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Runs a command and prints the milliseconds from before its fork to its end.
 * Its standard output goes to our standard error. Exits with 1, and prints
 * nothing, when the command fails: a failure is no figure.
 */
#include <stdio.h>

#include "lib/fd.h"
#include "lib/proc.h"
#include "tests/bench/bench.h"

#define TIMEOUT_MS 120000

int main(int argc, char **argv)
{
	struct proc_fd map[] = { { 2, 1 }, { 2, 2 } };
	struct proc_spec s = { .fds = map, .n_fds = 2 };
	_cleanup_close_ int pidfd = -1;
	uint64_t start, end;
	struct err e;
	int status;

	if (argc < 2) {
		fprintf(stderr, "usage: bench-timed PROGRAM ARGUMENT...\n");
		return 1;
	}
	s.path = argv[1];
	s.argv = argv + 1;
	start = bench_now_ns();
	if (proc_spawn(&s, NULL, &pidfd, &e) < 0 || proc_wait(pidfd, TIMEOUT_MS, &status, &e) < 0) {
		fprintf(stderr, "bench-timed: %s\n", e.text);
		return 1;
	}
	end = bench_now_ns();
	if (status) {
		fprintf(stderr, "bench-timed: %s: exit status %d\n", argv[1], status);
		return 1;
	}
	printf("%.3f\n", (double)(end - start) / 1e6);
	return 0;
}
