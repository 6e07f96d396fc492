// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Makes the n-th call of a kind fail. The linker sends every call of a wrapped
 * function (UNIT_WRAPPED in tests/tests.mk) here, from all of our objects, not
 * from the shared libraries. A test arms n = 1, 2, … until nothing fired. A
 * write that fails has written half before, as one on a full disk does.
 */
#include "tests/kit/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
ssize_t __real_write(int fd, const void *buf, size_t len);
int __real_renameat(int a, const char *from, int b, const char *to);
int __real_ftruncate64(int fd, off_t len);
typedef void *thread_fn(void *arg);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, thread_fn *fn, void *arg);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
ssize_t __wrap_write(int fd, const void *buf, size_t len);
int __wrap_renameat(int a, const char *from, int b, const char *to);
int __wrap_ftruncate64(int fd, off_t len);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, thread_fn *fn, void *arg);

static unsigned int armed, left;
static int fault_code;
static bool fired, write_fails;

/**
 * kit_fault_arm() - make one call fail
 * @kinds: KIT_FAULT_*
 * @nth:   which of the calls from now on, 1 is the next
 * @code:  errno; memory always fails with ENOMEM; minus a signal: the process gets it
 *         instead
 */
void kit_fault_arm(unsigned int kinds, unsigned int nth, int code)
{
	armed = kinds;
	left = nth;
	fault_code = code;
	fired = false;
	write_fails = false;
}

/**
 * kit_fault_fired() - disarm; whether the call came
 */
bool kit_fault_fired(void)
{
	armed = 0;
	write_fails = false;
	return fired;
}

/**
 * kit_fault_armed() - whether a call of this kind is to fail, or has failed since
 */
bool kit_fault_armed(unsigned int kind)
{
	return armed & kind;
}

/**
 * kit_fault_now() - whether the call under way fails; errno is set then
 */
bool kit_fault_now(unsigned int kind)
{
	if (!(armed & kind) || fired || --left)
		return false;
	fired = true;
	if (fault_code < 0)
		kill(getpid(), -fault_code);
	errno = kind == KIT_FAULT_MEMORY ? ENOMEM : fault_code;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return kit_fault_now(KIT_FAULT_MEMORY) ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return kit_fault_now(KIT_FAULT_MEMORY) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return kit_fault_now(KIT_FAULT_MEMORY) ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
	return kit_fault_now(KIT_FAULT_MEMORY) ? NULL : __real_strdup(s);
}

ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
	if (write_fails) {
		errno = fault_code;
		return -1;
	}
	if (!kit_fault_now(KIT_FAULT_FILES))
		return __real_write(fd, buf, len);
	write_fails = true;
	return len > 1 ? __real_write(fd, buf, len / 2) : -1;
}

int __wrap_renameat(int a, const char *from, int b, const char *to)
{
	return kit_fault_now(KIT_FAULT_FILES) ? -1 : __real_renameat(a, from, b, to);
}

int __wrap_ftruncate64(int fd, off_t len)
{
	return kit_fault_now(KIT_FAULT_FILES) ? -1 : __real_ftruncate64(fd, len);
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, thread_fn *fn, void *arg)
{
	return kit_fault_now(KIT_FAULT_THREADS) ? fault_code : __real_pthread_create(t, a, fn, arg);
}
