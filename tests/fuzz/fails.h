/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_FAILS_H
#define TESTS_FUZZ_FAILS_H

/*
 * Calls that fail if a fuzzer's input says so, once: the calls_left-th from then on;
 * 0: none. A fuzzer lists its own with WRAP, fuzz.mk has their names; those of the fuzzer
 * itself are __real_NAME.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

static atomic_uint calls_left;

static bool fails(void)
{
	unsigned int n = atomic_load(&calls_left);

	while (n && !atomic_compare_exchange_weak(&calls_left, &n, n - 1))
		;
	return n == 1;
}

#define WRAP(type, name, params, args, code, failure) \
	type __real_##name params; \
	type __wrap_##name params; \
	type __wrap_##name params \
	{ \
		if (!fails()) \
			return __real_##name args; \
		errno = code; \
		return failure; \
	}

#endif
