// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The store of templates: a key for each machine, one maker at a time, what a killed one
 * leaves, the least recently used that goes, removal under a user's hands, and
 * contents that nobody of us has written.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/pod.h"
#include "runtime/state.h"
#include "runtime/template.h"
#include "tests/kit/dir.h"
#include "tests/kit/fault.h"

Suite *runtime_template_suite(void);

static int root;
static struct journal *journal;
static struct vmm_config config;

static void setup(void)
{
	struct err e = { 0 };

	kit_dir_enter();
	kit_put("vmm", "monitor");
	kit_put("kernel", "kernel");
	kit_put("initramfs", "agent");
	root = state_root_open("root", &e);
	ck_assert_msg(root >= 0, "%s", e.text);
	ck_assert_msg(!journal_open(AT_FDCWD, "journal", &journal, &e), "%s", e.text);
	config = (struct vmm_config){ .ram_bytes = 64 << 20, .vcpus = 1, .guest_cid = 3,
				      .cmdline = "quiet" };
}

static void teardown(void)
{
	journal_free(journal);
	close(root);
	kit_dir_leave();
}

static struct template_id id_of(void)
{
	_cleanup_close_ int vmm = open("vmm", O_PATH | O_CLOEXEC);
	_cleanup_close_ int kernel = open("kernel", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int initramfs = open("initramfs", O_RDONLY | O_CLOEXEC);
	struct template_id id = { .about = NULL };
	struct err e = { 0 };

	ck_assert_msg(!template_id(&config, vmm, kernel, initramfs, &id, &e), "%s", e.text);
	ck_assert_uint_eq(strlen(id.key), TEMPLATE_KEY_BYTES - 1);
	return id;
}

static int lock_now(void)
{
	struct err e = { 0 };
	int lock = -1;

	ck_assert_msg(!templates_lock(root, true, 0, &lock, &e), "%s", e.text);
	return lock;
}

/* A template whose files say @text. */
static void make(const struct template_id *id, const char *text)
{
	struct template_new n;
	struct err e = { 0 };
	int lock = lock_now();

	ck_assert_msg(!template_begin(lock, id, journal, &n, &e), "%s", e.text);
	ck_assert_int_eq(write(n.memory, text, strlen(text)), strlen(text));
	ck_assert_int_eq(write(n.state, text, strlen(text)), strlen(text));
	ck_assert_msg(!template_finish(lock, id, &n, &e), "%s", e.text);
	template_new_done(&n);
	templates_unlock(root, &lock);
}

static int open_of(const struct template_id *id, struct template *t)
{
	struct err e = { 0 };
	int rc = template_open(root, id, t, &e);

	ck_assert(rc >= 0 || strstr(e.text, id->key));
	return rc;
}

static bool there(const struct template_id *id)
{
	struct template t;
	int rc = open_of(id, &t);

	template_close(&t);
	return !rc;
}

static int count(void *arg, const struct template_info *t, struct err *e)
{
	(void)e;
	*(int *)arg += t->damaged ? 100 : 1;
	return 0;
}

static int counted(void)
{
	struct err e = { 0 };
	int n = 0;

	ck_assert_msg(!templates_each(root, count, &n, &e), "%s", e.text);
	return n;
}

/* ---- keys --------------------------------------------------------------------------- */

static void other_ram(void) { config.ram_bytes += 2 << 20; }
static void other_vcpus(void) { config.vcpus++; }
static void other_hotplug(void) { config.hotplug_bytes = VMM_HOTPLUG_STEP_BYTES; }
static void other_pages(void) { config.pages = VMM_PAGES_ALWAYS; }
static void other_merge(void) { config.merge = 1; }
static void other_prefault(void) { config.prefault = 1; }
static void other_cid(void) { config.guest_cid++; }
static void other_cmdline(void) { strcpy(config.cmdline, "quiet x"); }
static void other_size(void) { kit_put("vmm", "monitor, a new one"); }
static void other_content(void) { kit_put("kernel", "KERNEL"); }
static void other_time(void)
{
	const struct timespec old[2] = { { 1, 0 }, { 1, 0 } };

	ck_assert_int_eq(utimensat(AT_FDCWD, "initramfs", old, 0), 0);
}
static void other_file(void)
{
	kit_put("new", "kernel");
	ck_assert_int_eq(rename("new", "kernel"), 0);
}
static void other_mode(void) { ck_assert_int_eq(chmod("vmm", 0700), 0); } /* time of change */

static void (*const others[])(void) = {
	other_ram, other_vcpus, other_hotplug, other_pages, other_merge, other_prefault, other_cid,
	other_cmdline, other_size, other_content, other_time, other_file, other_mode,
};

START_TEST(keys)
{
	struct template_id a = id_of(), same = id_of(), b;
	const struct timespec grain = { .tv_nsec = 20000000 };
	struct template t;

	ck_assert_str_eq(a.key, same.key);
	ck_assert_str_eq(a.about, same.about);
	make(&a, "a");
	nanosleep(&grain, NULL);
	others[_i]();
	b = id_of();
	ck_assert_str_ne(a.key, b.key);
	ck_assert_int_eq(open_of(&b, &t), 1);
	ck_assert_uint_eq(t.ino, 0);
	template_id_done(&a);
	template_id_done(&same);
	template_id_done(&b);
}
END_TEST

/* The key is a name; what decides is the text. */
START_TEST(same_key)
{
	struct template_id a = id_of(), b = id_of();
	struct template t;

	make(&a, "a");
	b.about[2]++;
	ck_assert_int_eq(open_of(&b, &t), -EBADMSG);
	ck_assert_uint_ne(t.ino, 0);
	template_id_done(&a);
	template_id_done(&b);
}
END_TEST

/* ---- making --------------------------------------------------------------------------- */

START_TEST(made)
{
	struct template_id id = id_of();
	struct template t;
	struct stat st;
	char c;

	ck_assert_int_eq(open_of(&id, &t), 1);
	make(&id, "x");
	ck_assert_int_eq(open_of(&id, &t), 0);
	ck_assert(read(t.memory, &c, 1) == 1 && c == 'x' && read(t.state, &c, 1) == 1 && c == 'x');
	ck_assert(write(t.memory, "y", 1) < 0 && write(t.state, "y", 1) < 0);
	ck_assert(!fstat(t.memory, &st) && (st.st_mode & 0777) == 0600);
	template_close(&t);
	ck_assert(!stat("root/templates", &st) && (st.st_mode & 0777) == 0700);
	ck_assert_uint_eq(kit_count("root/templates"), 1);
	ck_assert_int_eq(counted(), 1);
	template_id_done(&id);
}
END_TEST

struct race {
	struct template_id *id;
	atomic_int made;
};

static void *race(void *arg)
{
	struct race *r = arg;
	struct template_new n;
	struct template t;
	struct err e = { 0 };
	int lock = -1;

	if (templates_lock(root, true, 10000, &lock, &e) < 0)
		return NULL;
	if (template_open(root, r->id, &t, &e) == 1 && !template_begin(lock, r->id, journal, &n, &e)) {
		if (write(n.memory, "m", 1) == 1 && write(n.state, "s", 1) == 1 &&
		    !template_finish(lock, r->id, &n, &e))
			r->made++;
		template_new_done(&n);
	}
	template_close(&t);
	templates_unlock(root, &lock);
	return NULL;
}

START_TEST(two_makers)
{
	struct template_id id = id_of();
	struct race r = { .id = &id };
	pthread_t t[4];
	size_t i;

	for (i = 0; i < ARRAY_LEN(t); i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, race, &r), 0);
	for (i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(r.made, 1);
	ck_assert(there(&id));
	ck_assert_uint_eq(kit_count("root/templates"), 1);
	template_id_done(&id);
}
END_TEST

START_TEST(lock_is_held)
{
	struct err e = { 0 };
	int lock = lock_now(), other = -1;

	ck_assert_int_eq(templates_lock(root, true, 20, &other, &e), -ETIMEDOUT);
	templates_unlock(root, &lock);
	/* The folder was empty: it has gone. */
	ck_assert_int_eq(access("root/templates", F_OK), -1);
	ck_assert_int_eq(templates_lock(root, false, 20, &other, &e), -ENOENT);
	lock = lock_now();
	templates_unlock(root, &lock);
	templates_unlock(root, &lock);
}
END_TEST

/* Killed: its lock is free, and its files stay. */
static void leave_half(const struct template_id *id)
{
	struct template_new n;
	struct err e = { 0 };
	int lock = lock_now();

	ck_assert_msg(!template_begin(lock, id, journal, &n, &e), "%s", e.text);
	ck_assert_int_eq(write(n.memory, "m", 1), 1);
	template_new_done(&n);
	close(lock);
	ck_assert_uint_eq(kit_count("root/templates"), 1);
}

START_TEST(killed_maker)
{
	struct template_id id = id_of();

	leave_half(&id);
	ck_assert(!there(&id));
	ck_assert_int_eq(counted(), 0);
	/* For all that can be seen it is being made; of another one nothing is there. */
	ck_assert(template_in_making(root, &id));
	id.about[1] ^= 1;
	ck_assert(!template_in_making(root, &id));
	id.about[1] ^= 1;
	make(&id, "x");
	ck_assert(!template_in_making(root, &id));
	ck_assert_uint_eq(kit_count("root/templates"), 1);
	ck_assert(there(&id));
	template_id_done(&id);
}
END_TEST

/* The next command undoes the pod's journal. */
START_TEST(killed_maker_undone)
{
	struct template_id id = id_of();
	struct pod_undo u = { .busy = false };
	struct err e = { 0 };

	leave_half(&id);
	ck_assert_msg(!journal_undo(journal, pod_undo, &u, &e), "%s", e.text);
	ck_assert_uint_eq(kit_count("root/templates"), 0);
	/* What is complete is not the journal's. */
	make(&id, "x");
	ck_assert_msg(!journal_undo(journal, pod_undo, &u, &e), "%s", e.text);
	ck_assert(there(&id));
	template_id_done(&id);
}
END_TEST

static const char *const bad_paths[] = { "/", "/etc", "new.1", "/x/old.1", "", "/new.1/../y" };

START_TEST(bad_records)
{
	const struct journal_rec r = { .word = { "template", bad_paths[_i] }, .n = 2 };
	const struct journal_rec one = { .word = { "template" }, .n = 1 };
	struct err e = { 0 };

	ck_assert_int_eq(template_undo(&r, &e), -EINVAL);
	ck_assert_int_eq(template_undo(&one, &e), -EINVAL);
}
END_TEST

START_TEST(no_room)
{
	struct template_id id = id_of();
	struct template_new n;
	struct err e = { 0 };
	int lock = lock_now();

	id.ram_bytes = 1ull << 62;
	ck_assert_int_eq(template_begin(lock, &id, journal, &n, &e), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(e.text, "MiB are free"));
	template_new_done(&n);
	templates_unlock(root, &lock);
	ck_assert_int_eq(access("root/templates", F_OK), -1);
	template_id_done(&id);
}
END_TEST

/* Each call that changes files fails once: nothing half is ever seen, and nothing leaks. */
START_TEST(faults)
{
	struct template_id id = id_of();
	size_t before = kit_fds();
	unsigned int nth;
	bool fired = true;

	for (nth = 1; fired; nth++) {
		struct template_new n = TEMPLATE_NEW_NONE;
		struct err e = { 0 };
		int lock = lock_now(), rc;

		kit_fault_arm(KIT_FAULT_MEMORY | KIT_FAULT_FILES | KIT_FAULT_TREE, nth, EIO);
		rc = template_begin(lock, &id, journal, &n, &e);
		if (!rc)
			rc = template_finish(lock, &id, &n, &e);
		fired = kit_fault_fired();
		kit_fault_arm(0, 0, 0);
		template_new_done(&n);
		templates_unlock(root, &lock);
		ck_assert(rc < 0 || counted() == 1);
		ck_assert_uint_eq(kit_fds(), before);
		if (!rc && fired) {
			lock = lock_now();
			ck_assert_int_eq(template_remove(lock, id.key, 0, &e), 0);
			templates_unlock(root, &lock);
		}
	}
	ck_assert_uint_gt(nth, 5);
	ck_assert_uint_eq(kit_count("root/templates"), 1);
	template_id_done(&id);
}
END_TEST

/* ---- removal --------------------------------------------------------------------------- */

static void age(const struct template_id *id, time_t s)
{
	const struct timespec t[2] = { { s, 0 }, { s, 0 } };
	char path[80];

	snprintf(path, sizeof(path), "root/templates/%s", id->key);
	ck_assert_int_eq(utimensat(AT_FDCWD, path, t, 0), 0);
}

START_TEST(least_recently_used)
{
	struct template_id id[TEMPLATES_MAX + 2];
	size_t i;

	for (i = 0; i < ARRAY_LEN(id); i++) {
		config.vcpus = (uint32_t)i + 1;
		id[i] = id_of();
	}
	for (i = 0; i < TEMPLATES_MAX; i++) {
		make(&id[i], "x");
		age(&id[i], (time_t)(1000 + i));
	}
	ck_assert(there(&id[0])); /* used now */
	make(&id[TEMPLATES_MAX], "x");
	ck_assert_uint_eq(kit_count("root/templates"), TEMPLATES_MAX);
	ck_assert(there(&id[0]) && !there(&id[1]) && there(&id[TEMPLATES_MAX]));
	/* The new one is not the one to go, however old it looks. */
	age(&id[0], 3000000000);
	age(&id[2], 3000000000);
	age(&id[3], 3000000000);
	age(&id[TEMPLATES_MAX], 3000000000);
	make(&id[TEMPLATES_MAX + 1], "x");
	ck_assert(there(&id[TEMPLATES_MAX + 1]));
	ck_assert_uint_eq(kit_count("root/templates"), TEMPLATES_MAX);
	for (i = 0; i < ARRAY_LEN(id); i++)
		template_id_done(&id[i]);
}
END_TEST

START_TEST(removed_while_used)
{
	struct template_id id = id_of();
	struct err e = { 0 };
	struct template t;
	int lock;
	char c;

	make(&id, "1");
	ck_assert_int_eq(open_of(&id, &t), 0);
	lock = lock_now();
	ck_assert_int_eq(template_remove(lock, id.key, t.ino + 1, &e), -ENOENT);
	ck_assert(there(&id));
	ck_assert_int_eq(template_remove(lock, id.key, t.ino, &e), 0);
	ck_assert_int_eq(template_remove(lock, id.key, 0, &e), -ENOENT);
	templates_unlock(root, &lock);
	ck_assert_int_eq(access("root/templates", F_OK), -1);
	make(&id, "2");
	/* Both files are of the one that was opened. */
	ck_assert(read(t.memory, &c, 1) == 1 && c == '1' && read(t.state, &c, 1) == 1 && c == '1');
	lock = lock_now();
	ck_assert_int_eq(template_remove(lock, id.key, t.ino, &e), -ENOENT);
	ck_assert_int_eq(template_remove(lock, "../state", 0, &e), -ENOENT);
	ck_assert_int_eq(templates_remove_all(lock, &e), 0);
	templates_unlock(root, &lock);
	ck_assert_int_eq(access("root/templates", F_OK), -1);
	template_close(&t);
	template_id_done(&id);
}
END_TEST

static atomic_bool stop;

static void *make_and_remove(void *arg)
{
	struct template_id *id = arg;
	struct err e;
	unsigned int i;
	char text[2] = "a";

	for (i = 0; i < 100; i++) {
		int lock;

		text[0] = (char)('a' + i % 26);
		make(id, text);
		lock = lock_now();
		template_remove(lock, id->key, 0, &e);
		templates_unlock(root, &lock);
	}
	stop = true;
	return NULL;
}

/* Whoever opens it gets both files of one template, or none, and never an error. */
START_TEST(removed_under_our_hands)
{
	struct template_id id = id_of();
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, make_and_remove, &id), 0);
	while (!stop) {
		struct template t;
		char a = 0, b = 0;
		int rc = open_of(&id, &t);

		ck_assert_int_ge(rc, 0);
		if (!rc)
			ck_assert(read(t.memory, &a, 1) == 1 && read(t.state, &b, 1) == 1 && a == b);
		template_close(&t);
	}
	pthread_join(thread, NULL);
	template_id_done(&id);
}
END_TEST

/* ---- hostile contents --------------------------------------------------------------------- */

static void no_memory(void) { unlink("memory"); }
static void no_state(void) { unlink("state"); }
static void no_about(void) { unlink("machine.json"); }
static void empty_state(void) { ck_assert_int_eq(truncate("state", 0), 0); }
static void link_memory(void) { unlink("memory"); ck_assert_int_eq(symlink("state", "memory"), 0); }
static void link_state(void) { unlink("state"); ck_assert_int_eq(symlink("/etc/passwd", "state"), 0); }
static void fifo(void) { unlink("state"); ck_assert_int_eq(mkfifo("state", 0600), 0); }
static void folder(void) { unlink("memory"); ck_assert_int_eq(mkdir("memory", 0700), 0); }
static void other_about(void) { kit_put("machine.json", "{}"); }
static void great_about(void)
{
	ck_assert_int_eq(truncate("machine.json", 1 << 20), 0);
}

static void (*const harms[])(void) = {
	no_memory, no_state, no_about, empty_state, link_memory, link_state, fifo, folder, other_about,
	great_about,
};

START_TEST(harmed)
{
	struct template_id id = id_of();
	char path[80];
	struct template t;
	struct err e = { 0 };
	int lock;

	make(&id, "x");
	snprintf(path, sizeof(path), "root/templates/%s", id.key);
	ck_assert_int_eq(chdir(path), 0);
	harms[_i]();
	ck_assert_int_eq(chdir("../../.."), 0);
	ck_assert_int_lt(open_of(&id, &t), 0);
	ck_assert(t.memory == -1 && t.state == -1);
	ck_assert_int_ge(counted(), 1);
	lock = lock_now();
	ck_assert_msg(!template_remove(lock, id.key, t.ino, &e), "%s", e.text);
	templates_unlock(root, &lock);
	make(&id, "x");
	ck_assert(there(&id));
	template_id_done(&id);
}
END_TEST

static void is_file(const char *path) { kit_put(path, "x"); }
static void is_link(const char *path) { ck_assert_int_eq(symlink("/etc", path), 0); }
static void is_lost_link(const char *path) { ck_assert_int_eq(symlink("/nowhere", path), 0); }

static void (*const kinds[])(const char *path) = { is_file, is_link, is_lost_link };

/* Where a template should be is something else. */
START_TEST(no_directory)
{
	struct template_id id = id_of();
	char path[80];
	struct template t;
	struct err e = { 0 };
	int lock = lock_now();

	snprintf(path, sizeof(path), "root/templates/%s", id.key);
	kinds[_i](path);
	ck_assert_int_lt(open_of(&id, &t), 0);
	ck_assert_uint_ne(t.ino, 0);
	ck_assert_int_eq(counted(), 100);
	ck_assert_msg(!template_remove(lock, id.key, t.ino, &e), "%s", e.text);
	ck_assert_int_eq(access("/etc/passwd", F_OK), 0);
	templates_unlock(root, &lock);
	template_id_done(&id);
}
END_TEST

START_TEST(no_folder)
{
	struct template_id id = id_of();
	struct template t;
	struct err e = { 0 };
	int lock = -1;

	kinds[_i]("root/templates");
	ck_assert_int_lt(template_open(root, &id, &t, &e), 0);
	ck_assert_int_lt(templates_lock(root, true, 0, &lock, &e), 0);
	ck_assert_int_eq(lock, -1);
	template_id_done(&id);
}
END_TEST

Suite *runtime_template_suite(void)
{
	Suite *s = suite_create("runtime_template");
	TCase *t = tcase_create("template");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, keys, 0, ARRAY_LEN(others));
	tcase_add_test(t, same_key);
	tcase_add_test(t, made);
	tcase_add_test(t, two_makers);
	tcase_add_test(t, lock_is_held);
	tcase_add_test(t, killed_maker);
	tcase_add_test(t, killed_maker_undone);
	tcase_add_loop_test(t, bad_records, 0, ARRAY_LEN(bad_paths));
	tcase_add_test(t, no_room);
	tcase_add_test(t, faults);
	tcase_add_test(t, least_recently_used);
	tcase_add_test(t, removed_while_used);
	tcase_add_test(t, removed_under_our_hands);
	tcase_add_loop_test(t, harmed, 0, ARRAY_LEN(harms));
	tcase_add_loop_test(t, no_directory, 0, ARRAY_LEN(kinds));
	tcase_add_loop_test(t, no_folder, 0, ARRAY_LEN(kinds));
	suite_add_tcase(s, t);
	return s;
}
