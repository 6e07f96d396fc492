// SPDX-License-Identifier: Apache-2.0
/*
 * tree-stack SEED DIR BASE - makes a stack of layers from a seed in a directory, with
 * the directory BASE as its lowest layer, and mounts it on DIR/rootfs. Prints what it is.
 *
 * The kit checks what it does with Check's assertions, which need a test to run in.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/kit/stack.h"

static char **args;

START_TEST(make)
{
	struct stack_made made;

	umask(022);
	ck_assert_int_eq(chdir(args[2]), 0);
	ck_assert_int_eq(mkdir("rootfs", 0755), 0);
	stack_make(strtoull(args[1], NULL, 0), "rootfs", args[3], &made);
	printf("%s, %u layers, %u entries\n", made.kind, made.layers, made.entries);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("tree-stack");
	TCase *t = tcase_create("make");
	SRunner *r;
	int failed;

	if (argc != 4) {
		fprintf(stderr, "usage: tree-stack SEED DIR BASE\n");
		return 1;
	}
	args = argv;
	tcase_add_test(t, make);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_SILENT);
	failed = srunner_ntests_failed(r);
	if (failed)
		srunner_print(r, CK_NORMAL);
	srunner_free(r);
	return failed ? 1 : 0;
}
