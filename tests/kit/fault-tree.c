// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The calls that change a tree of files, for tests/kit/fault.c; tests/kit/fakehost.c
 * stands in front of those that it needs itself.
 */
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/kit/fault.h"

#define WRAP(type, name, args, pass)                                                               \
	type __real_##name args;                                                                   \
	type __wrap_##name args;                                                                   \
	type __wrap_##name args                                                                    \
	{                                                                                          \
		return kit_fault_now(KIT_FAULT_TREE) ? -1 : __real_##name pass;                    \
	}

WRAP(int, mkdirat, (int d, const char *n, mode_t m), (d, n, m))
WRAP(int, linkat, (int a, const char *x, int b, const char *y, int f), (a, x, b, y, f))
WRAP(int, unlinkat, (int d, const char *n, int f), (d, n, f))
WRAP(int, mknodat, (int d, const char *n, mode_t m, dev_t v), (d, n, m, v))
WRAP(int, symlinkat, (const char *t, int d, const char *n), (t, d, n))
WRAP(int, renameat2, (int a, const char *x, int b, const char *y, unsigned int f), (a, x, b, y, f))
WRAP(int, fchown, (int d, uid_t u, gid_t g), (d, u, g))
WRAP(int, fchownat, (int d, const char *n, uid_t u, gid_t g, int f), (d, n, u, g, f))
WRAP(int, fchmod, (int d, mode_t m), (d, m))
WRAP(int, chmod, (const char *p, mode_t m), (p, m))
WRAP(int, futimens, (int d, const struct timespec t[2]), (d, t))
WRAP(int, utimensat, (int d, const char *n, const struct timespec t[2], int f), (d, n, t, f))
WRAP(int, fsetxattr, (int d, const char *n, const void *v, size_t l, int f), (d, n, v, l, f))
WRAP(int, setxattr, (const char *p, const char *n, const void *v, size_t l, int f), (p, n, v, l, f))
WRAP(ssize_t, pwrite64, (int d, const void *b, size_t l, off_t o), (d, b, l, o))
