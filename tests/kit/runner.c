// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One runner for all unit suites: the Makefile lists the files of tests/unit/
 * and declares one <file>_suite() each. A suite that cannot run here says so
 * with kit_skip() when it is made, by name and reason; a skip is counted, and
 * with REQUIRE=all in the environment it is a failure. Usage: unit [SUITE…], where a
 * SUITE is the name of one or the beginning of several; unit --list [SUITE…] prints
 * their names.
 *
 * A test that fails ends at once, without its teardown. So what tests make lies in one
 * directory, TMPDIR to them, which the runner removes at the end; it is said what could
 * not be removed.
 */
#include <check.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "tests/kit/kit.h"

#define SUITE(name) Suite *name##_suite(void);
#include "suites.h"
#undef SUITE

static int n_skipped;

/**
 * kit_skip() - say that tests of a suite cannot run here
 * @suite:  its name
 * @reason: what is missing
 */
void kit_skip(const char *suite, const char *reason)
{
	printf("SKIP %s: %s\n", suite, reason);
	n_skipped++;
}

/**
 * kit_seed() - seed for a suite's random data: SEED of the environment, else the time
 *
 * Printed, so that a failure can be replayed.
 */
uint64_t kit_seed(const char *suite)
{
	const char *env = getenv("SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0)
			    : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;

	printf("SEED %s: %llu\n", suite, (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

/**
 * kit_rounds() - how often a test does what differs by chance only: ROUNDS of the
 * environment, for a long run, else as often as is usual
 */
unsigned int kit_rounds(unsigned int usual)
{
	const char *env = getenv("ROUNDS");
	unsigned long n = env ? strtoul(env, NULL, 10) : 0;

	return n ? (unsigned int)n : usual;
}

/* ---- what AddressSanitizer asks; the name is its own ---- */
const char *__asan_default_options(void);

/*
 * Each test is a fork of this process and searches its memory for leaks: the freed
 * blocks that are kept, 256 MiB as a rule, would be most of that.
 */
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=8";
}

static bool is_name(const char *s)
{
#define SUITE(name) if (!strcmp(#name, s)) return true;
#include "suites.h"
#undef SUITE
	return false;
}

/* One that is called as it is written is that one alone. */
static bool wanted(const char *name, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (is_name(argv[i]) ? !strcmp(name, argv[i]) : !strncmp(name, argv[i], strlen(argv[i])))
			return true;
	return argc < 2;
}

static int list(int argc, char **argv)
{
#define SUITE(name) if (wanted(#name, argc, argv)) puts(#name);
#include "suites.h"
#undef SUITE
	return 0;
}

static void home_make(char *home, size_t room)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(home, room, "%.100s/podvm-unit.XXXXXX", tmp ? tmp : "/tmp");
	if (mkdtemp(home))
		setenv("TMPDIR", home, 1);
	else
		*home = 0;
}

static void home_remove(const char *home)
{
	struct err e = { 0 };

	if (*home && dir_remove(AT_FDCWD, home, &e) < 0)
		printf("# %s stays: %s\n", home, e.text);
}

int main(int argc, char **argv)
{
	const char *require = getenv("REQUIRE");
	char home[200];
	int run, failed;
	SRunner *r;

	/*
	 * A time limit ends what hangs, and no more: neither the 4 seconds that Check
	 * has by default nor what a suite asks for may fail a test on a busy machine.
	 */
	setenv("CK_DEFAULT_TIMEOUT", "60", 0);
	setenv("CK_TIMEOUT_MULTIPLIER", "5", 0);
	if (argc > 1 && !strcmp(argv[1], "--list"))
		return list(argc - 1, argv + 1);
	home_make(home, sizeof(home));
	r = srunner_create(NULL);
#define SUITE(name) if (wanted(#name, argc, argv)) srunner_add_suite(r, name##_suite());
#include "suites.h"
#undef SUITE
	srunner_run_all(r, CK_NORMAL);
	run = srunner_ntests_run(r);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	home_remove(home);
	printf("unit: %d passed, %d failed, %d skipped\n", run - failed, failed,
	       n_skipped);
	if (require && n_skipped)
		return 1;
	return failed || run + n_skipped == 0;
}
