/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_STORAGE_H
#define TESTS_KIT_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/*
 * Kit of the storage suites: a temporary directory as working directory, in a
 * private mount namespace, and mounts of overlayfs and EROFS in it.
 */
const char *kit_storage_missing(bool erofs);
void kit_storage_enter(void);
void kit_storage_leave(void);

int kit_overlay(const char *options, const char *point);
int kit_export(const char *rootfs, const char *image, struct err *e);
int kit_export_cached(const char *rootfs, const char *cache, const char *image,
		      uint64_t *ret_cached, struct err *e);
void kit_time_shift(int64_t seconds);
void kit_no_tmpfile(void);
int kit_erofs(const char *image, const char *point);
int kit_fsck(const char *image, struct err *e);
int kit_dump(const char *image, struct err *e);

void kit_file(const char *path, const void *data, size_t len);
void kit_dirs(const char *path);
bool kit_kernel(unsigned int major, unsigned int minor);
uint64_t kit_random(uint64_t *state);
int kit_same_tree(const char *overlay, const char *erofs, struct err *e);

#endif
