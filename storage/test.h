/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_TEST_H
#define STORAGE_TEST_H

#include <stdbool.h>

#include "storage/report.h"
#include "storage/workdir.h"

/* Static, so that it runs in any tree. */
#define TEST_BUSYBOX "/bin/busybox"

/**
 * struct test - a run of checks
 * @report: borrowed
 * @work:   borrowed
 * @vm:     also in virtual machines
 */
struct test {
	struct report *report;
	struct workdir *work;
	bool vm;
};

void test_tree(struct test *t, const char *prefix, const char *path);
void test_overlay(struct test *t);
void test_devicemapper(struct test *t);
void test_vm(struct test *t, const char *prefix, const char *path);
int test_mount_image(const char *image, const char *point, struct err *e);
int test_dir(const struct test *t, const char *name, char *ret_path, size_t room, struct err *e);
int test_busybox(int dir_fd, const char *path, struct err *e);
void test_remove(const struct test *t, const char *name);

#endif
