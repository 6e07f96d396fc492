/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_DIR_H
#define TESTS_KIT_DIR_H

#include <stddef.h>

/* Checked fixtures: a new directory that becomes the working directory. */
void kit_dir_enter(void);
void kit_dir_leave(void);

void kit_put(const char *path, const char *text);
char *kit_get(const char *path);
size_t kit_count(const char *dir);
size_t kit_fds(void);

#endif
