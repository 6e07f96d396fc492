/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_LOOP_H
#define LIB_LOOP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "lib/err.h"

struct loop;
struct loop_src;

/* Called with the EPOLL* events that came; may add, change and delete any source. */
typedef void loop_fn(void *arg, uint32_t events);

int loop_new(struct loop **ret, struct err *e);
void loop_free(struct loop *l);
int loop_add(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *arg,
	     struct loop_src **ret, struct err *e);
void loop_mod(struct loop_src *s, uint32_t events);
void loop_del(struct loop_src *s);
int loop_run(struct loop *l, struct err *e);
int loop_step(struct loop *l, int timeout_ms, struct err *e);
void loop_stop(struct loop *l);

int timer_new(struct err *e);
int timer_set(int fd, uint64_t ms, struct err *e);
void timer_ack(int fd);
int signals_new(const int *list, size_t n, struct err *e);

#endif
