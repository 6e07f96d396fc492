// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A block device changes hands on a host that is a model (tests/kit/fakehost.c).
 * Every call on the way there and back fails once, and the process dies before
 * every call once; each time the host must have its mount again, nobody a claim,
 * and the loop device be as it was: at once after a failure, after the journal's
 * undo when the process has died.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/journal.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "storage/handover.h"
#include "tests/kit/dir.h"
#include "tests/kit/fakehost.h"
#include "tests/kit/fault.h"

Suite *storage_handover_suite(void);

static char point[300], data[] = "discard";
static struct fakehost *host;
static struct journal *journal;
static struct blockmount mnt;
static struct blockplan plan;

static void setup(void)
{
	char cwd[200], source[] = "/dev/loop99";
	struct err e = { 0 };

	kit_dir_enter();
	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	snprintf(point, sizeof(point), "%s/rootfs", cwd);
	kit_put("keep", "");
	ck_assert_int_eq(mkdir(point, 0700), 0);
	ck_assert_int_eq(journal_open(AT_FDCWD, "journal", &journal, &e), 0);
	host = mmap(NULL, sizeof(*host), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(host, MAP_FAILED);
	*host = (struct fakehost){ .point = point, .mounted = true, .present = true,
				  .autoclear = true, .code = EIO };
	mnt = (struct blockmount){
		.dev = { .kind = BLOCKDEV_LOOP, .major = 7, .minor = 99, .seq = 5,
			 .node = "/dev/loop99", .size_bytes = 8192, .autoclear = true },
		.source = strdup(source), .point = point, .fstype = strdup("ext4"),
		.opts = { .mnt = MS_NOSUID | MS_NODEV, .data = data },
	};
	plan = (struct blockplan){ .mode = BLOCKPLAN_EXCLUSIVE, .guest_type = "ext4",
				   .guest_data = "" };
	kit_host = host;
}

static void teardown(void)
{
	kit_host = NULL;
	munmap(host, sizeof(*host));
	journal_free(journal);
	free(mnt.source);
	free(mnt.fstype);
	kit_dir_leave();
}

static int undo(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	return handover_undo(r, e);
}

/* The host as it was before. */
static void expect_home(const char *when, unsigned int n)
{
	ck_assert_msg(host->mounted, "%s %u: not mounted", when, n);
	ck_assert_msg(!kit_host_claimed(host), "%s %u: claimed", when, n);
	ck_assert_msg(host->autoclear, "%s %u: autoclear is off", when, n);
}

static void expect_undo_is_idle(const char *when, unsigned int n)
{
	struct err e = { 0 };
	bool mounted = host->mounted;

	ck_assert_msg(journal_undo(journal, undo, NULL, &e) == 0, "%s %u: %s", when, n, e.text);
	ck_assert_msg(host->mounted == mounted, "%s %u: undo did something", when, n);
}

static int take(struct handover **ret, struct err *e)
{
	return handover_take(&mnt, &plan, false, journal, ret, e);
}

START_TEST(there_and_back)
{
	struct handover *h = NULL;
	struct err e = { 0 };
	size_t fds = kit_fds();
	int round;

	for (round = 0; round < 3; round++) {
		ck_assert_msg(take(&h, &e) == 0, "%s", e.text);
		ck_assert(!host->mounted && kit_host_claimed(host) && !host->autoclear);
		ck_assert_int_eq(fcntl(handover_fd(h), F_GETFD), FD_CLOEXEC);
		ck_assert_msg(handover_give_back(h, &e) == 0, "%s", e.text);
		expect_home("back", 0);
		ck_assert_int_eq(handover_give_back(h, &e), 0);
		handover_free(h);
		host->mounted = false; /* by its engine */
		expect_undo_is_idle("after", 0);
		host->mounted = true;
	}
	ck_assert_uint_eq(kit_fds(), fds);
}
END_TEST

START_TEST(every_call_fails)
{
	struct handover *h = NULL;
	struct err e = { 0 };
	size_t fds = kit_fds();
	unsigned int n;
	int rc = -1;

	plan.mode = _i ? BLOCKPLAN_READONLY : BLOCKPLAN_EXCLUSIVE;
	for (n = 1; rc < 0; n++) {
		host->steps = 0;
		host->fail_at = n;
		rc = take(&h, &e);
		if (rc == 0)
			break;
		ck_assert_msg(e.text[0], "no reason");
		expect_home("failed at", n);
		ck_assert_uint_eq(kit_fds(), fds);
		expect_undo_is_idle("failed at", n);
	}
	ck_assert_uint_gt(n, 4);
	/* Nothing failed any more: the way back. */
	host->fail_at = 0;
	ck_assert_int_eq(handover_give_back(h, &e), 0);
	handover_free(h);
	expect_home("last", n);
}
END_TEST

START_TEST(every_call_back_fails)
{
	struct handover *h;
	struct err e = { 0 };
	unsigned int n, failed = 0;
	bool fired = true;

	for (n = 1; fired; n++) {
		int rc;

		host->fail_at = host->steps = 0;
		host->mounted = host->autoclear = true;
		ck_assert_int_eq(take(&h, &e), 0);
		host->steps = 0;
		host->fail_at = n;
		rc = handover_give_back(h, &e);
		fired = host->steps >= n;
		failed += rc != 0;
		ck_assert(rc == 0 || rc == 1);
		ck_assert(rc == 0 || e.text[0]);
		ck_assert(!kit_host_claimed(host));
		/* A mount that fails is not tried for ever; the device is free. */
		ck_assert(host->mounted || rc == 1);
		handover_free(h);
		expect_undo_is_idle("way back", n);
	}
	ck_assert_uint_ge(failed, 2);
}
END_TEST

START_TEST(no_memory_no_journal)
{
	static const unsigned int kinds[] = { KIT_FAULT_MEMORY, KIT_FAULT_FILES };
	struct handover *h;
	struct err e = { 0 };
	size_t fds = kit_fds();
	bool fired = true;
	unsigned int n;
	int rc;

	for (n = 1; fired; n++) {
		h = NULL;
		kit_fault_arm(kinds[_i], n, ENOSPC);
		rc = take(&h, &e);
		fired = kit_fault_fired();
		if (h)
			ck_assert_int_eq(handover_give_back(h, &e), 0);
		ck_assert(rc == 0 || rc == -ENOMEM || rc == -ENOSPC);
		handover_free(h);
		expect_home("short of something at", n);
		ck_assert_uint_eq(kit_fds(), fds);
		expect_undo_is_idle("short of something at", n);
	}
	ck_assert_uint_gt(n, 1);
}
END_TEST

static void expect_recovery(unsigned int n)
{
	struct journal *again = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(journal_open(AT_FDCWD, "journal", &again, &e), 0);
	ck_assert_msg(journal_undo(again, undo, NULL, &e) == 0, "killed at %u: %s", n, e.text);
	expect_home("killed at", n);
	ck_assert_int_eq(journal_undo(again, undo, NULL, &e), 0);
	expect_home("killed, undone twice at", n);
	journal_free(again);
}

/* A record is undone again when the one who undid it died before it was cut off. */
static void expect_replay(const char *text, unsigned int n)
{
	kit_put("journal", text);
	expect_recovery(n);
}

/* Runs @fn in a process that dies before the @n-th call. Return: it ended by itself. */
static bool life(void (*fn)(void), unsigned int n)
{
	int status = 0;
	pid_t pid;

	host->steps = 0;
	host->kill_at = n;
	pid = fork();
	if (!pid) {
		fn();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	host->kill_at = 0;
	ck_assert(WIFEXITED(status) && (WEXITSTATUS(status) == 9 || WEXITSTATUS(status) == 0));
	return WEXITSTATUS(status) == 0;
}

static void whole_life(void)
{
	struct journal *own = NULL;
	struct handover *h = NULL;
	struct err e = { 0 };

	if (journal_open(AT_FDCWD, "journal", &own, &e) < 0 ||
	    handover_take(&mnt, &plan, false, own, &h, &e) < 0 || handover_give_back(h, &e))
		_exit(1);
}

START_TEST(killed_anywhere)
{
	bool over = false;
	unsigned int n;

	for (n = 1; !over; n++) {
		_cleanup_free_ char *text = NULL;

		over = life(whole_life, n);
		text = kit_get("journal");
		expect_recovery(n);
		/* Not over: the undo is idempotent; over: a retired record does nothing. */
		expect_replay(text, n);
		ck_assert_int_eq(truncate("journal", 0), 0);
	}
	ck_assert_uint_gt(n, 8);
}
END_TEST

static void undo_all(void)
{
	struct journal *again = NULL;
	struct err e = { 0 };

	if (journal_open(AT_FDCWD, "journal", &again, &e) < 0 ||
	    journal_undo(again, undo, NULL, &e))
		_exit(1);
}

/* The undo itself dies before any of its calls. */
START_TEST(killed_in_undo)
{
	struct err e = { 0 };
	bool over = false;
	char text[600];
	uint64_t ns = 0;
	unsigned int n;

	ck_assert_int_eq(handover_namespace(&ns, &e), 0);
	snprintf(text, sizeof(text), "{\"r\":[\"handover\",\"7:99/5\",\"/dev/loop99\",\"%s\",\"ext4\","
		 "\"6/0/4\",\"discard\",\"%llu\"]}\n", point, (unsigned long long)ns);
	for (n = 1; !over; n++) {
		kit_put("journal", text);
		host->mounted = host->autoclear = false;
		over = life(undo_all, n);
		expect_recovery(n);
	}
	ck_assert_uint_gt(n, 3);
}
END_TEST

static const struct {
	const char *why;
	bool rival, busy, covered, dirty;
	unsigned int onlookers;
	enum blockplan_mode mode;
	const char *text;
} refusals[] = {
	{ "claimed", .rival = true, .text = "open elsewhere" },
	{ "in use", .busy = true, .text = "in use by \"cat\" (pid 7)" },
	{ "below", .covered = true, .text = "mounted below it" },
	{ "open", .onlookers = 1, .text = "open elsewhere, by \"cat\" (pid 7)" },
	{ "dirty", .dirty = true, .mode = BLOCKPLAN_READONLY, .text = "a journal to replay" },
};

START_TEST(refused)
{
	struct handover *h = NULL;
	struct err e = { 0 };

	host->rival = refusals[_i].rival;
	host->busy = refusals[_i].busy;
	host->covered = refusals[_i].covered;
	host->dirty = refusals[_i].dirty;
	host->onlookers = refusals[_i].onlookers;
	plan.mode = refusals[_i].mode;
	ck_assert_int_lt(take(&h, &e), 0);
	ck_assert_msg(strstr(e.text, refusals[_i].text), "%s: %s", refusals[_i].why, e.text);
	/* A rival keeps the host from mounting as long as it is there. */
	ck_assert(host->mounted == !refusals[_i].rival);
	host->rival = host->covered = false;
	ck_assert_int_eq(journal_undo(journal, undo, NULL, &e), 0);
	expect_home(refusals[_i].why, 0);
}
END_TEST

/* Only the plan can refuse it before anything is done; what came since is left as it is. */
START_TEST(stacked)
{
	struct handover *h = NULL;
	struct err e = { 0 };

	host->covered = true;
	ck_assert_int_eq(take(&h, &e), -EBUSY);
	expect_home("stacked", 0);
	expect_undo_is_idle("stacked", 0);
}
END_TEST

/* The monitor has its copy of the claim still: not given back, and asked for again. */
START_TEST(held_by_the_monitor)
{
	struct handover *h = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(take(&h, &e), 0);
	host->rival = true;
	ck_assert_int_eq(handover_give_back(h, &e), -EAGAIN);
	ck_assert_ptr_nonnull(strstr(e.text, "in use"));
	ck_assert(!host->mounted);
	ck_assert_int_eq(handover_give_back(h, &e), -EAGAIN);
	if (_i) {
		host->rival = false;
		ck_assert_msg(handover_give_back(h, &e) == 0, "%s", e.text);
		expect_home("let go", 0);
		expect_undo_is_idle("let go", 0);
	}
	handover_free(h);
	/* Nobody asked again: the journal, when the monitor has ended. */
	host->rival = false;
	ck_assert_int_eq(journal_undo(journal, undo, NULL, &e), 0);
	expect_home("undone", 0);
}
END_TEST

/* What the superblock, which the guest wrote, says the kernel shall do about errors. */
static const struct {
	const char *what, *fstype, *data;
	uint16_t errors;
	const char *opts, *mounted;
} supers[] = {
	{ "continue", "ext4", "discard", 1, "", "discard" },
	{ "read-only", "ext4", "discard", 2, "", "discard" },
	{ "panic", "ext4", "discard", 3, "", "discard,errors=remount-ro" },
	{ "panic, no options", "ext4", "", 3, "", "errors=remount-ro" },
	{ "nothing", "ext4", "", 0, "", "errors=remount-ro" },
	{ "nonsense", "ext4", "", 65535, "", "errors=remount-ro" },
	{ "options of its own", "ext4", "", 1, "errors=panic", "errors=remount-ro" },
	{ "panic, but not so mounted", "ext4", "errors=continue", 3, "", "errors=continue" },
	{ "the host said panic", "ext4", "errors=panic,discard", 1, "",
	  "errors=panic,discard,errors=remount-ro" },
	{ "no ext4", "xfs", "discard", 3, "", "discard" },
	{ "ends before", "ext4", "", 1, NULL, "errors=remount-ro" },
};

START_TEST(guests_superblock)
{
	_cleanup_free_ uint8_t *image = calloc(1, 2048);
	struct ext2_super_block *sb = (struct ext2_super_block *)(void *)(image + 1024);
	char opts[100];
	struct handover *h = NULL;
	struct err e = { 0 };
	FILE *f;

	sb->s_errors = supers[_i].errors;
	if (supers[_i].opts)
		memcpy(sb->s_mount_opts, supers[_i].opts, strlen(supers[_i].opts));
	f = fopen("super", "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(image, 1, supers[_i].opts ? 2048 : 1500, f),
			  supers[_i].opts ? 2048 : 1500);
	fclose(f);
	host->node = "super";
	free(mnt.fstype);
	mnt.fstype = strdup(supers[_i].fstype);
	snprintf(opts, sizeof(opts), "%s", supers[_i].data);
	mnt.opts.data = opts;
	ck_assert_int_eq(take(&h, &e), 0);
	ck_assert_int_eq(handover_give_back(h, &e), 0);
	handover_free(h);
	ck_assert_msg(!strcmp(host->data, supers[_i].mounted), "%s: %s", supers[_i].what,
		      host->data);
}
END_TEST

START_TEST(dirty_is_fine_for_a_writer)
{
	struct handover *h = NULL;
	struct err e = { 0 };

	host->dirty = true;
	ck_assert_int_eq(take(&h, &e), 0);
	ck_assert_int_eq(handover_give_back(h, &e), 0);
	handover_free(h);
}
END_TEST

START_TEST(shared)
{
	struct handover *h = NULL;
	struct err e = { 0 };
	size_t fds = kit_fds();

	plan.mode = BLOCKPLAN_SHARED;
	ck_assert_int_eq(take(&h, &e), 0);
	ck_assert(host->mounted && !kit_host_claimed(host) && host->autoclear);
	ck_assert_uint_eq(journal_mark(journal), 0);
	ck_assert_int_eq(handover_give_back(h, &e), 0);
	handover_free(h);
	ck_assert_uint_eq(kit_fds(), fds);
}
END_TEST

START_TEST(left_unmounted)
{
	struct handover *h = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(handover_take(&mnt, &plan, true, journal, &h, &e), 0);
	ck_assert_int_eq(handover_give_back(h, &e), 0);
	ck_assert(!host->mounted && !kit_host_claimed(host) && host->autoclear);
	handover_free(h);
	expect_undo_is_idle("left", 0);
	/* A start that fails is no reason to leave it. */
	host->mounted = true;
	host->onlookers = 1;
	ck_assert_int_eq(handover_take(&mnt, &plan, true, journal, &h, &e), -EBUSY);
	expect_home("failed", 0);
}
END_TEST

/* What happened between a crash and the undo. */
static const struct {
	const char *what;
	bool present, covered, asleep, rival, gone;
	int rc;
	bool mounted;
} meanwhile[] = {
	{ "nothing", .present = true, .rc = 0, .mounted = true },
	{ "the device went", .rc = 0 },
	{ "another file system came", .present = true, .covered = true, .rc = 1 },
	{ "the device was suspended", .present = true, .asleep = true, .rc = -EBUSY },
	{ "somebody took the device", .present = true, .rival = true, .rc = 1 },
	{ "the place went", .present = true, .gone = true, .rc = 0 },
};

START_TEST(undo_meanwhile)
{
	struct err e = { 0 };
	struct journal_rec r = { .word = { "handover", "7:99/5", "/dev/loop99", point, "ext4",
					   "6/0/1", "", NULL }, .n = 8 };
	char ns[24];
	uint64_t n = 0;

	ck_assert_int_eq(handover_namespace(&n, &e), 0);
	snprintf(ns, sizeof(ns), "%llu", (unsigned long long)n);
	r.word[7] = ns;
	host->mounted = false;
	host->present = meanwhile[_i].present;
	host->covered = meanwhile[_i].covered;
	host->asleep = meanwhile[_i].asleep;
	host->rival = meanwhile[_i].rival;
	if (meanwhile[_i].gone)
		ck_assert_int_eq(rmdir(point), 0);
	ck_assert_msg(handover_undo(&r, &e) == meanwhile[_i].rc, "%s: %s", meanwhile[_i].what,
		      e.text);
	ck_assert_msg(host->mounted == meanwhile[_i].mounted, "%s", meanwhile[_i].what);
	ck_assert(meanwhile[_i].rc == 0 || e.text[0]);
}
END_TEST

static const char *const damaged[][8] = {
	{ "handover" },
	{ "handover", "7:99/5", "s", "/p", "ext4", "6/0/4", "" },
	{ "handover", "7:99", "s", "/p", "ext4", "6/0/4", "", "1" },
	{ "handover", "7:99/5x", "s", "/p", "ext4", "6/0/4", "", "1" },
	{ "handover", "7:99/5", "s", "p", "ext4", "6/0/4", "", "1" },
	{ "handover", "7:99/5", "s", "/p", "ext4", "6/0", "", "1" },
	{ "handover", "7:99/5", "s", "/p", "ext4", "6/0/4 ", "", "1" },
	{ "handover", "7:99/5", "s", "/p", "ext4", "6/0/4", "", "x" },
};

START_TEST(undo_damaged)
{
	struct journal_rec r = { .n = 0 };
	struct err e = { 0 };

	while (r.n < 8 && damaged[_i][r.n]) {
		r.word[r.n] = damaged[_i][r.n];
		r.n++;
	}
	ck_assert_int_eq(handover_undo(&r, &e), -EINVAL);
	ck_assert_uint_eq(host->steps, 0);
}
END_TEST

START_TEST(undo_elsewhere)
{
	struct journal_rec r = { .word = { "handover", "7:99/5", "/dev/loop99", point, "ext4",
					   "6/0/1", "", "1" }, .n = 8 };
	struct err e = { 0 };

	/* A namespace that no process is in has gone, and the mount with it. */
	host->mounted = false;
	ck_assert_int_eq(handover_undo(&r, &e), 0);
	ck_assert(!host->mounted);
}
END_TEST

Suite *storage_handover_suite(void)
{
	Suite *s = suite_create("storage_handover");
	TCase *t = tcase_create("handover");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, there_and_back);
	tcase_add_loop_test(t, every_call_fails, 0, 2);
	tcase_add_test(t, every_call_back_fails);
	tcase_add_loop_test(t, no_memory_no_journal, 0, 2);
	tcase_add_test(t, killed_anywhere);
	tcase_add_test(t, killed_in_undo);
	tcase_add_loop_test(t, refused, 0, (int)ARRAY_LEN(refusals));
	tcase_add_test(t, stacked);
	tcase_add_loop_test(t, held_by_the_monitor, 0, 2);
	tcase_add_loop_test(t, guests_superblock, 0, (int)ARRAY_LEN(supers));
	tcase_add_test(t, dirty_is_fine_for_a_writer);
	tcase_add_test(t, shared);
	tcase_add_test(t, left_unmounted);
	tcase_add_loop_test(t, undo_meanwhile, 0, (int)ARRAY_LEN(meanwhile));
	tcase_add_loop_test(t, undo_damaged, 0, (int)ARRAY_LEN(damaged));
	tcase_add_test(t, undo_elsewhere);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return s;
}
