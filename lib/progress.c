// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One line on standard error that says how far long work is, rewritten in place:
 * only on a terminal, only after two seconds, four times a second at most. Its end
 * erases it, so that what comes next begins on a clean line.
 *
 * Work that counts something tells so itself (progress_add()). Work that waits for others
 * has nothing to tell meanwhile: a thread shows once in a second what is waited for, and
 * how long. Where nothing is shown there is no thread.
 */
#include "lib/progress.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/mem.h"
#include "lib/proc.h"

#define SILENT_MS 2000
#define EVERY_MS 250
#define WAIT_EVERY_MS 1000

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

/**
 * struct progress_wait - what is waited for
 * @lock:  of @what and @over
 * @what:  borrowed
 * @over:  the thread ends
 * @shown: the thread's own, until it has ended
 */
struct progress_wait {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t change;
	const char *what;
	bool over, shown;
};

/* Return: false when it is over before */
static bool pause_for(struct progress_wait *w, uint64_t ms)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	while (!w->over && !rc)
		rc = pthread_cond_timedwait(&w->change, &w->lock, &until);
	return !w->over;
}

static void *show_wait(void *arg)
{
	struct progress_wait *w = arg;
	uint64_t start_ms = clock_ms();
	bool on;

	pthread_mutex_lock(&w->lock);
	for (on = pause_for(w, SILENT_MS); on; on = pause_for(w, WAIT_EVERY_MS)) {
		dprintf(STDERR_FILENO, "\r\033[K%s: %llu s", w->what,
			(unsigned long long)(clock_ms() - start_ms) / 1000);
		w->shown = true;
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int start_thread(struct progress_wait *w)
{
	sigset_t all, before;
	int rc;

	/* Signals are for who waits. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&w->thread, NULL, show_wait, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

static void wait_free(struct progress_wait *w)
{
	pthread_cond_destroy(&w->change);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/**
 * progress_wait() - begin to wait for others
 * @what: shown with the seconds since; borrowed
 *
 * Return: for progress_wait_end(), which must come before anything is written to the
 * terminal; NULL: nothing is shown, which is no failure
 */
struct progress_wait *progress_wait(const char *what)
{
	struct progress_wait *w = isatty(STDERR_FILENO) ? mem_new(struct progress_wait) : NULL;
	pthread_condattr_t monotonic;

	if (!w)
		return NULL;
	w->what = what;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&w->change, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (start_thread(w)) {
		wait_free(w);
		return NULL;
	}
	return w;
}

/**
 * progress_wait_next() - something else is waited for now
 * @w: may be NULL
 */
void progress_wait_next(struct progress_wait *w, const char *what)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->what = what;
	pthread_mutex_unlock(&w->lock);
}

/**
 * progress_wait_end() - erase the line
 * @w: may be NULL
 */
void progress_wait_end(struct progress_wait *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->over = true;
	pthread_cond_signal(&w->change);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	if (w->shown)
		dprintf(STDERR_FILENO, "\r\033[K");
	wait_free(w);
}
