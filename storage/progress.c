// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One line on standard error that says how far long work is, rewritten in place:
 * only on a terminal, only after two seconds, four times a second at most. Its end
 * erases it, so that what comes next begins on a clean line.
 */
#include "storage/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/proc.h"

#define SILENT_MS 2000
#define EVERY_MS 250

/**
 * progress_begin() - begin
 * @unit:  "bytes" or what is counted; borrowed, as @what
 * @total: 0: not known
 */
void progress_begin(struct progress *p, const char *what, const char *unit, uint64_t total)
{
	*p = (struct progress){.what = what,
			       .unit = unit,
			       .total = total,
			       .start_ms = clock_ms(),
			       .on = isatty(STDERR_FILENO)};
}

static void show(struct progress *p, uint64_t now)
{
	uint64_t div = strcmp(p->unit, "bytes") ? 1 : 1u << 20, s = now - p->start_ms;
	const char *unit = div == 1 ? p->unit : "MiB";

	fprintf(stderr, "\r\033[K%s: ", p->what);
	if (p->total)
		fprintf(stderr, "%3.0f %%, %llu of ", 100.0 * (double)p->done / (double)p->total,
			(unsigned long long)(p->done / div));
	fprintf(stderr, "%llu %s, %llu %s/s",
		(unsigned long long)((p->total ? p->total : p->done) / div), unit,
		(unsigned long long)(p->done * 1000 / s / div), unit);
	fflush(stderr);
	p->shown_ms = now;
	p->shown = true;
}

/**
 * progress_add() - so much more is done
 */
void progress_add(struct progress *p, uint64_t n)
{
	uint64_t now;

	p->done += n;
	if (!p->on)
		return;
	now = clock_ms();
	if (now - p->start_ms >= SILENT_MS && now - p->shown_ms >= EVERY_MS)
		show(p, now);
}

/**
 * progress_end() - erase the line
 */
void progress_end(struct progress *p)
{
	if (p->shown)
		fprintf(stderr, "\r\033[K");
	p->on = p->shown = false;
}
