// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-storage test: checks of one root file system, or of a storage driver of this
 * host with layers or a pool of its own, and a report of them (report.c). The checks
 * run in a mount namespace of their own; what else they make is in a journal
 * (workdir.c), so that nothing stays on the host, whatever ends them.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "lib/opt.h"
#include "storage/cmd.h"
#include "storage/gc.h"
#include "storage/stop.h"
#include "storage/test.h"

struct args {
	const char *path, *driver, *junit;
	bool json, no_vm;
};

static int own_mounts(struct err *e)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(e, "mount namespace: run it as root");
	return 0;
}

static void run(struct test *t, const struct args *a)
{
	if (!a->driver) {
		test_tree(t, "", a->path);
		if (t->vm)
			test_vm(t, "", a->path);
	} else if (!strcmp(a->driver, "overlay")) {
		test_overlay(t);
	} else {
		test_devicemapper(t);
	}
}

static int check(const struct args *a, struct report *r, struct err *e)
{
	struct workdir w;
	struct test t = {.report = r, .work = &w, .vm = !a->no_vm};
	struct err undo = {0};
	int rc = own_mounts(e);

	if (rc < 0)
		return rc;
	stop_catch();
	gc_tests();
	rc = workdir_make(&w, e);
	if (!rc)
		run(&t, a);
	/* What was mounted for the checks is gone; a failure to clean up is a finding. */
	if (workdir_done(&w, &undo) < 0)
		report_add(r, VERDICT_FAIL, "cleaning up", "%s", undo.text);
	if (!rc)
		rc = stop_check(e);
	return rc;
}

static int tell(const struct args *a, const struct report *r, struct err *e)
{
	int rc = a->json ? report_json(r, e) : report_table(r);

	if (!rc && a->junit)
		rc = report_junit(r, a->junit, e);
	return rc < 0 ? rc : report_status(r);
}

/**
 * cmd_test() - podvm-storage test PATH|--driver overlay|devmapper
 *
 * Return: 0: all passed; 1: a check failed; 3: something could not be tested; minus
 * errno
 */
int cmd_test(int argc, char **argv, struct err *e)
{
	struct args a = {0};
	const struct opt table[] = {
		OPT_STR('d', "driver", &a.driver, "DRIVER",
			"overlay or devmapper of this host, with layers of our own"),
		OPT_FLAG(0, "no-vm", &a.no_vm, "on the host alone, without a virtual machine"),
		OPT_FLAG('j', "json", &a.json, "print JSON"),
		OPT_STR(0, "junit", &a.junit, "FILE", "write a JUnit report too"),
		OPT_END,
	};
	struct report r;
	int rc = cmd_args(table, argc, argv, &a.path, e);

	if (rc <= 0)
		return rc;
	if (!a.path == !a.driver)
		return err_set(e, EINVAL, "needs a path or --driver; see test --help");
	if (a.driver && strcmp(a.driver, "overlay") && strcmp(a.driver, "devmapper"))
		return err_set(e, EINVAL, "--driver must be overlay or devmapper");
	report_begin(&r, a.path ? a.path : a.driver);
	rc = check(&a, &r, e);
	if (!rc)
		rc = tell(&a, &r, e);
	report_done(&r);
	return rc == -EINVAL ? -EIO : rc;
}
