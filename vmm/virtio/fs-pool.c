// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Files block: on their disk, on the network behind it, on the broker. So neither
 * the I/O thread nor a vCPU touches them, but a few workers, made once before the
 * monitor is confined, each with a filter of its own kind (vmm/filter.c). They serve
 * all shares. Whatever a guest asks, no more of it is under way than there are
 * workers; the rest stays in the queues.
 *
 * A share has as many workers at a time as it has channels to its broker, so one
 * whose disk hangs leaves workers to others if its supervisor gave it fewer channels
 * than FS_WORKERS. Shares take turns of FS_ROUND requests.
 *
 * What a worker may find to do for a share, in this order: the end of its session
 * (a reset waits for it, and it waits for the share's other workers), locks to be
 * tried again, requests.
 *
 * Locks: a device's lock is taken before the pool's; a worker that has the pool's
 * takes no other.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "lib/mem.h"
#include "vmm/virtio/fs.h"

/* Pauses between attempts to get a lock that somebody else has, the first and the last. */
#define RETRY_MIN_MS 10u
#define RETRY_MAX_MS 500u

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static bool retry_due(const struct fs *s)
{
	return s->turn.retry_ns && s->turn.retry_ns <= now_ns();
}

static bool has_work(const struct fs *s)
{
	if (!s->turn.channels)
		return false;
	if (s->turn.ending)
		return !s->turn.busy;
	return s->turn.ready || retry_due(s);
}

/* The first share that has work for a worker; it goes to the end of the list. */
static struct fs *next_share(struct fs_pool *p)
{
	struct fs **at = &p->shares, *s;

	while (*at && !has_work(*at))
		at = &(*at)->turn.next;
	s = *at;
	if (!s)
		return NULL;
	*at = s->turn.next;
	while (*at)
		at = &(*at)->turn.next;
	s->turn.next = NULL;
	*at = s;
	return s;
}

/* Waits until somebody signals, or a lock is to be tried again. */
static void wait_for_work(struct fs_pool *p)
{
	uint64_t end = UINT64_MAX;
	const struct fs *s;
	struct timespec t;

	for (s = p->shares; s; s = s->turn.next)
		if (s->turn.retry_ns && s->turn.channels && s->turn.retry_ns < end)
			end = s->turn.retry_ns;
	p->waiting++;
	if (end == UINT64_MAX) {
		pthread_cond_wait(&p->work, &p->lock);
	} else {
		t = (struct timespec){ .tv_sec = (time_t)(end / NS_PER_S),
				       .tv_nsec = (long)(end % NS_PER_S) };
		pthread_cond_timedwait(&p->work, &p->lock, &t);
	}
	p->waiting--;
}

/* One turn for @s, without the pool's lock in between. */
static void work_for(struct fs_pool *p, struct fs_worker *w, struct fs *s)
{
	unsigned int channel = (unsigned int)__builtin_ctz(s->turn.channels);
	bool ending = s->turn.ending, retry = retry_due(s);
	int sock = s->channel[channel];

	s->turn.channels &= ~(1u << channel);
	s->turn.busy++;
	s->turn.used = true;
	s->turn.ready = false;
	if (retry)
		s->turn.retry_ns = 0;
	pthread_mutex_unlock(&p->lock);
	if (ending) {
		session_end(s, w);
		fs_forget_all(w, sock);
	} else {
		if (retry)
			locks_retry(s, w, sock);
		fs_serve(s, w, sock);
	}
	pthread_mutex_lock(&p->lock);
	s->turn.busy--;
	s->turn.channels |= 1u << channel;
	if (ending) {
		s->turn.ending = s->turn.used = s->turn.ready = false;
		s->turn.retry_ns = 0;
		fs_ended(s);
	}
	pthread_cond_broadcast(&p->idle);
}

static void *thread(void *arg)
{
	struct fs_worker *w = arg;
	struct fs_pool *p = w->pool;
	struct err e;
	int rc = p->filter ? sandbox_enter(p->filter, &e) : 0;

	pthread_mutex_lock(&p->lock);
	if (rc < 0 && p->rc >= 0) {
		p->rc = rc;
		p->why = e;
	}
	p->ready++;
	pthread_cond_broadcast(&p->idle);
	while (rc >= 0 && !p->stop) {
		struct fs *s = next_share(p);

		if (s)
			work_for(p, w, s);
		else
			wait_for_work(p);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/**
 * fs_pool_new() - a pool without threads
 * @ret: owned by the caller, fs_pool_free()
 *
 * Return: 0 or minus errno
 */
int fs_pool_new(struct fs_pool **ret, struct err *e)
{
	struct fs_pool *p = mem_new(struct fs_pool);
	pthread_condattr_t a;

	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&p->work, &a);
	pthread_cond_init(&p->idle, NULL);
	pthread_condattr_destroy(&a);
	*ret = p;
	return 0;
}

/**
 * fs_pool_start() - make the workers; each confines itself and waits for work
 * @filter: borrowed until fs_pool_wait(); NULL where a test has none
 *
 * Return: 0 or minus errno
 * Context: before the filter of the calling thread
 */
int fs_pool_start(struct fs_pool *p, const struct sandbox_filter *filter, struct err *e)
{
	size_t stack = FS_STACK_BYTES;
	pthread_attr_t attr;
	int rc = 0;

	if (stack < (size_t)PTHREAD_STACK_MIN)
		stack = (size_t)PTHREAD_STACK_MIN;
	p->filter = filter;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, stack);
	while (p->n_workers < FS_WORKERS && !rc) {
		struct fs_worker *w = &p->worker[p->n_workers];

		w->pool = p;
		rc = pthread_create(&w->thread, &attr, thread, w);
		p->n_workers += !rc;
	}
	pthread_attr_destroy(&attr);
	return rc ? err_set(e, rc, "thread for shares") : 0;
}

/**
 * fs_pool_wait() - until all workers are confined
 *
 * Return: 0; the failure of the first one that could not confine itself
 *
 * #syscalls futex
 */
int fs_pool_wait(struct fs_pool *p, struct err *e)
{
	int rc;

	pthread_mutex_lock(&p->lock);
	while (p->ready < p->n_workers)
		pthread_cond_wait(&p->idle, &p->lock);
	rc = p->rc;
	if (rc < 0)
		*e = p->why;
	pthread_mutex_unlock(&p->lock);
	return rc;
}

/**
 * fs_pool_free() - end the workers; NULL is fine
 * Context: there are no shares any more
 */
void fs_pool_free(struct fs_pool *p)
{
	unsigned int i;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (i = 0; i < p->n_workers; i++)
		pthread_join(p->worker[i].thread, NULL);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->idle);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/**
 * fs_pool_add() - a share that the workers serve from now on
 */
void fs_pool_add(struct fs_pool *p, struct fs *s)
{
	pthread_mutex_lock(&p->lock);
	s->turn.channels = (1u << s->n_channels) - 1;
	s->turn.next = p->shares;
	p->shares = s;
	pthread_mutex_unlock(&p->lock);
}

/**
 * fs_pool_remove() - a share that ends; one that was never added is fine
 * Context: after its device's stop; waits for workers that are still at it
 */
void fs_pool_remove(struct fs_pool *p, struct fs *s)
{
	struct fs **at;

	pthread_mutex_lock(&p->lock);
	while (s->turn.busy || s->turn.ending)
		pthread_cond_wait(&p->idle, &p->lock);
	for (at = &p->shares; *at && *at != s;)
		at = &(*at)->turn.next;
	if (*at)
		*at = s->turn.next;
	pthread_mutex_unlock(&p->lock);
}

static void signal_one(struct fs_pool *p)
{
	if (p->waiting)
		pthread_cond_signal(&p->work);
}

/**
 * fs_pool_ready() - a queue of the share may have a request
 * Context: any thread, with or without the device's lock
 */
void fs_pool_ready(struct fs *s)
{
	pthread_mutex_lock(&s->pool->lock);
	s->turn.ready = true;
	signal_one(s->pool);
	pthread_mutex_unlock(&s->pool->lock);
}

/**
 * fs_pool_retry() - a request waits for a lock
 * @at_once: try it now: one was given back; else after a pause, a longer one each time
 * Context: any worker
 */
void fs_pool_retry(struct fs *s, bool at_once)
{
	struct fs_turn *t = &s->turn;

	pthread_mutex_lock(&s->pool->lock);
	if (at_once) {
		t->pause_ms = 0;
		t->retry_ns = now_ns();
	} else {
		t->pause_ms = t->pause_ms ? t->pause_ms * 2 : RETRY_MIN_MS;
		if (t->pause_ms > RETRY_MAX_MS)
			t->pause_ms = RETRY_MAX_MS;
		t->retry_ns = now_ns() + t->pause_ms * NS_PER_MS;
	}
	signal_one(s->pool);
	pthread_mutex_unlock(&s->pool->lock);
}

/**
 * fs_pool_end() - the driver resets the device, or its end has come
 *
 * Return: true if there is nothing to end; false: fs_ended() is called when it has
 * Context: the device's lock
 */
bool fs_pool_end(struct fs *s)
{
	bool used;

	pthread_mutex_lock(&s->pool->lock);
	used = s->turn.used;
	s->turn.ready = false;
	s->turn.ending = used;
	if (used)
		signal_one(s->pool);
	pthread_mutex_unlock(&s->pool->lock);
	return !used;
}
