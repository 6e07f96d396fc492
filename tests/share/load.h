/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SHARE_LOAD_H
#define TESTS_SHARE_LOAD_H

#include <stdbool.h>
#include <stdint.h>

/* Names and results of one directory's test load, one line each; see load.c. */
void load_run(const char *dir, const char *prefix);
void load_list(const char *dir, const char *prefix);

/* load-guest.c */
void load_init(void) __attribute__((noreturn));

/* What the load's parts use. */
void say(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void say_rc(const char *name, long rc);
void say_stat(const char *name, const char *path);
long in_child(long (*fn)(void *arg), void *arg, uint32_t uid, uint32_t gid);
void put_file(const char *path, const char *text);

void load_names(void);
void load_attributes(void);
void load_data(void);
void load_locks(void);
void load_users(void);
void load_parallel(void);

#endif
