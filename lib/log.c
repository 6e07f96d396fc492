// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One line per event, written with one write(2), so that lines of several
 * processes in one file do not mix. Text for people, JSON with the keys that
 * container engines read from a runtime's --log file (level, msg, time).
 */
#include "lib/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/str.h"

static int log_fd = 2;
static enum log_level log_max = LOG_LEVEL_WARN;
static bool log_json;

static const char *const level_names[] = { "error", "warning", "info", "debug" };

/**
 * log_open() - where the log goes
 * @fd:   descriptor that stays open for the process's life, borrowed; -1 for none
 * @max:  least important level that is written
 * @json: one JSON object per line instead of text
 */
void log_open(int fd, enum log_level max, bool json)
{
	log_fd = fd;
	log_max = max;
	log_json = json;
}

/**
 * log_get_fd() - where the log goes, for a process that is started; -1: nowhere; borrowed
 */
int log_get_fd(void)
{
	return log_fd;
}

/**
 * log_is_json() - whether it is JSON
 */
bool log_is_json(void)
{
	return log_json;
}

/* JSON string escapes of what is masked; cut to fit, always NUL-terminated. */
static void escape(char *dst, size_t room, const char *src)
{
	size_t n = 0;

	for (; *src && n + 7 < room; src++) {
		unsigned char c = (unsigned char)*src;

		if (c == '"' || c == '\\')
			n += (size_t)snprintf(dst + n, room - n, "\\%c", c);
		else
			dst[n++] = (char)c;
	}
	dst[n] = 0;
}

/**
 * log_write() - write one event; use the log_error() … log_debug() macros
 */
void log_write(enum log_level level, const char *fmt, ...)
{
	char msg[1024], line[2600], when[40];
	int saved = errno, n;
	struct timespec now;
	struct tm tm;
	va_list ap;

	if (level > log_max || log_fd < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	str_mask(msg); /* outside strings must not begin a line or drive a terminal */
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	if (log_json) {
		char esc[2200];

		escape(esc, sizeof(esc), msg);
		n = snprintf(line, sizeof(line),
			     "{\"level\":\"%s\",\"msg\":\"%s\",\"time\":\"%s.%06ldZ\"}\n",
			     level_names[level], esc, when, now.tv_nsec / 1000);
	} else {
		n = snprintf(line, sizeof(line), "%s.%06ldZ %s %s\n", when,
			     now.tv_nsec / 1000, level_names[level], msg);
	}
	if (n > 0 && write(log_fd, line, (size_t)n) < 0)
		errno = saved; /* a full or closed log must not stop a pod */
	errno = saved;
}
