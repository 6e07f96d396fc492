// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A function that can fail takes a struct err as its last parameter and
 * returns a negative errno. The innermost failure calls err_set() or
 * err_sys(); callers that can add context ("disk sda: ") put it in front with
 * err_wrap(). Only main() and cmd-*.c print the result. Nothing is allocated,
 * so nothing leaks and nothing can fail while failing. One failure is one line, and
 * what outside strings could do to a terminal is masked.
 */
#include "lib/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/str.h"

/**
 * err_set() - record a failure
 * @e:    caller's error, may be NULL when only the code matters
 * @code: positive errno
 * @fmt:  what failed and what to do, one line
 *
 * Return: -@code
 */
int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		e->code = code;
		va_start(ap, fmt);
		vsnprintf(e->text, sizeof(e->text), fmt, ap);
		va_end(ap);
		str_mask(e->text);
	}
	return -code;
}

/**
 * err_sys() - record the failure of a system call; reads errno first of all
 * @e:   caller's error, may be NULL
 * @fmt: what was tried; ": " and the errno's text are appended
 *
 * Return: -errno (-EIO if errno is 0, so that a failure never looks like success)
 */
int err_sys(struct err *e, const char *fmt, ...)
{
	int code = errno ? errno : EIO;
	size_t used;
	va_list ap;

	if (e) {
		e->code = code;
		va_start(ap, fmt);
		vsnprintf(e->text, sizeof(e->text), fmt, ap);
		va_end(ap);
		used = strlen(e->text);
		snprintf(e->text + used, sizeof(e->text) - used, ": %s",
			 strerror(code));
		str_mask(e->text);
	}
	return -code;
}

/**
 * err_wrap() - put the caller's context in front of a recorded failure
 * @e:   error that a callee has set, may be NULL
 * @fmt: context; ": " is put behind it
 *
 * Return: minus the recorded code, or -EIO if @e is NULL or empty
 */
int err_wrap(struct err *e, const char *fmt, ...)
{
	char old[ERR_TEXT_BYTES];
	size_t used;
	va_list ap;

	if (!e)
		return -EIO;
	memcpy(old, e->text, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	used = strlen(e->text);
	snprintf(e->text + used, sizeof(e->text) - used, ": %s", old);
	str_mask(e->text);
	return e->code ? -e->code : -EIO;
}
