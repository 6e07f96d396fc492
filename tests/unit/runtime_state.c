// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Records of containers: ids that are no file names, damaged records, walks
 * over folders with leftovers, the state's JSON, failures on the way.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/state.h"
#include "tests/kit/dir.h"
#include "tests/kit/fault.h"

Suite *runtime_state_suite(void);

static int root;

static void setup(void)
{
	struct err e = { 0 };

	kit_dir_enter();
	root = state_root_open("r/o/o/t", &e);
	ck_assert_msg(root >= 0, "%s", e.text);
	ck_assert_int_eq(chdir("r/o/o/t"), 0);
}

static void teardown(void)
{
	close(root);
	kit_dir_leave();
}

static struct state *make(const char *id)
{
	Podvm__KeyValue kv = PODVM__KEY_VALUE__INIT, *kvs[] = { &kv };
	struct spec spec = { .annotations = kvs, .n_annotations = 1 };
	struct state *s = NULL;
	struct err e = { 0 };

	kv.key = strdupa("io.x/\"k");
	kv.value = strdupa("v\n");
	spec.rootfs = strdupa("/rootfs");
	spec.oci_version = strdupa("1.2.0");
	ck_assert_msg(!state_new(id, "pod", "/b", &spec, &s, &e), "%s", e.text);
	return s;
}

START_TEST(bad_id)
{
	static const char *const bad[] = {
		"", ".", "..", ".hidden", "a/b", "/", "../x", "a b", "a\n", "a\\", "a:b",
		"\xc3\xa9", "a*", "$(x)", "a\x7f", "~",
	};
	struct state *s = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(state_check_id(bad[_i], &e), -EINVAL);
	ck_assert_int_eq(state_load(root, bad[_i], &s, &e), -EINVAL);
	ck_assert_int_eq(state_remove(root, bad[_i], &e), -EINVAL);
	ck_assert_ptr_null(strchr(e.text, '\n'));
}
END_TEST

START_TEST(longest_id)
{
	char id[STATE_ID_BYTES + 1];
	struct err e = { 0 };
	struct state *s;

	memset(id, 'a', sizeof(id));
	id[STATE_ID_BYTES] = 0;
	ck_assert_int_eq(state_check_id(id, &e), -EINVAL);
	id[STATE_ID_BYTES - 1] = 0;
	ck_assert_int_eq(state_check_id(id, &e), 0);
	s = make(id);
	ck_assert_msg(!state_save(root, s, &e), "%s", e.text);
	state_free(s);
	ck_assert_int_eq(state_load(root, id, &s, &e), 0);
	ck_assert_str_eq(s->id, id);
	state_free(s);
	ck_assert_int_eq(state_check_id("A_z+0-9.x", &e), 0);
}
END_TEST

START_TEST(round_trip)
{
	struct state *s = make("c"), *t = NULL;
	struct err e = { 0 };
	char *text = NULL;

	s->status = STATE_RUNNING;
	s->pid = 4194303;
	s->pid_start = UINT64_MAX;
	s->exit_code = 137;
	ck_assert_int_eq(state_save(root, s, &e), 0);
	ck_assert_msg(!state_load(root, "c", &t, &e), "%s", e.text);
	ck_assert(t->status == s->status && t->pid == s->pid && t->exit_code == 137 &&
		  t->pid_start == UINT64_MAX && !strcmp(t->pod, "pod"));
	ck_assert_int_eq(state_json(t, &text, &e), 0);
	ck_assert_ptr_nonnull(strstr(text, "\"status\": \"running\""));
	ck_assert_ptr_nonnull(strstr(text, "\"pid\": 4194303"));
	ck_assert_ptr_nonnull(strstr(text, "\"io.x/\\\"k\": \"v\\n\""));
	free(text);
	t->status = STATE_STOPPED;
	ck_assert_int_eq(state_json(t, &text, &e), 0);
	ck_assert_ptr_nonnull(strstr(text, "\"pid\": 0"));
	ck_assert_ptr_nonnull(strstr(text, "\"status\": \"stopped\""));
	free(text);
	state_free(s);
	state_free(t);
	state_free(NULL);
	ck_assert_int_eq(state_remove(root, "c", &e), 0);
	ck_assert_int_eq(state_remove(root, "c", &e), 0);
	ck_assert_int_eq(state_load(root, "c", &t, &e), -ENOENT);
	ck_assert_str_eq(e.text, "container c does not exist");
}
END_TEST

static const char *const damaged[] = {
	"", "{", "null", "[]", "7", "{}", "{\"pod\":\"\"}", "{\"pod\":\"../x\"}",
	"{\"pod\":1}", "{\"pod\":\"p\",\"status\":4}", "{\"pod\":\"p\",\"status\":-1}",
	"{\"pod\":\"p\",\"status\":\"running\"}", "{\"pod\":\"p\",\"pid\":-1}",
	"{\"pod\":\"p\",\"pid\":4294967297}", "{\"pod\":\"p\",\"pid\":1.5}",
	"{\"pod\":\"p\",\"pidStart\":-1}", "{\"pod\":\"p\",\"exitCode\":4294967296}",
	"{\"pod\":\"p\",\"bundle\":[]}", "{\"pod\":\"p\",\"bundle\":\"a\\u0000b\"}",
	"{\"pod\":\"p\"}{}",
};

START_TEST(damage)
{
	struct state *s = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(mkdir("containers", 0700), 0);
	kit_put("containers/c.json", damaged[_i]);
	ck_assert_msg(state_load(root, "c", &s, &e) == -EINVAL, "row %d", _i);
	ck_assert_msg(str_starts(e.text, "container c: state: "), "%s", e.text);
	ck_assert_ptr_null(s);
	ck_assert_int_eq(state_remove(root, "c", &e), 0);
}
END_TEST

/* Members that are missing do not crash what prints them. */
START_TEST(sparse_record)
{
	struct state *s = NULL;
	struct err e = { 0 };
	char *text;

	ck_assert_int_eq(mkdir("containers", 0700), 0);
	kit_put("containers/c.json", "{\"pod\":\"p\",\"annotations\":\"{broken\"}");
	ck_assert_int_eq(state_load(root, "c", &s, &e), 0);
	ck_assert_int_eq(s->status, STATE_STOPPED);
	ck_assert_int_eq(state_json(s, &text, &e), 0);
	free(text);
	ck_assert_int_eq(state_save(root, s, &e), 0);
	state_free(s);
}
END_TEST

static int collect(void *arg, const char *id, struct err *e)
{
	strbuf_add(arg, "%s ", id);
	return strcmp(id, "stop") ? 0 : err_set(e, EBUSY, "stopped");
}

START_TEST(walk)
{
	struct strbuf b = { 0 };
	struct err e = { 0 };
	int dir = state_containers_open(root, &e);

	kit_put("containers/b.json", "{}");
	kit_put("containers/a.json", "{}");
	kit_put("containers/my.tmpfs.json", "{}");
	kit_put("containers/x.json.json", "{}");
	kit_put("containers/c.json.77.tmp", "{}"); /* a crash while writing */
	kit_put("containers/other", "{}");
	kit_put("containers/.json", "{}");
	kit_put("containers/bad id.json", "{}");
	ck_assert_int_eq(symlink("a.json", "containers/link.json"), 0);
	ck_assert_int_eq(state_each(dir, collect, &b, &e), 0);
	ck_assert_str_eq(b.text, "a b my.tmpfs x.json ");
	strbuf_done(&b);
	kit_put("containers/stop.json", "{}");
	ck_assert_int_eq(state_each(dir, collect, &b, &e), -EBUSY);
	ck_assert_str_eq(b.text, "a b my.tmpfs stop ");
	strbuf_done(&b);
	close(dir);
	dir = state_pods_open(root, &e); /* a pod's name may end in .json or .tmp */
	ck_assert(!mkdir("pods/p.json", 0700) && !mkdir("pods/q.tmp", 0700));
	ck_assert_int_eq(state_each(dir, collect, &b, &e), 0);
	ck_assert_str_eq(b.text, "p.json q.tmp ");
	strbuf_done(&b);
	close(dir);
	ck_assert_int_lt(state_each(-1, collect, &b, &e), 0);
}
END_TEST

START_TEST(save_fails_whole)
{
	bool fired = true;
	unsigned int n;

	for (n = 1; fired; n++) {
		struct state *s = make("c"), *t = NULL;
		struct err e = { 0 };
		int rc;

		kit_fault_arm(KIT_FAULT_FILES | KIT_FAULT_MEMORY, n, ENOSPC);
		rc = state_save(root, s, &e);
		if (!rc && !state_load(root, "c", &t, &e))
			state_free(t);
		fired = kit_fault_fired();
		ck_assert(fired || t);
		ck_assert_uint_le(kit_count("containers"), 1);
		state_free(s);
	}
	ck_assert_uint_gt(n, 6);
}
END_TEST

START_TEST(root_is_a_file)
{
	struct err e = { 0 };

	kit_put("file", "x");
	ck_assert_int_eq(state_root_open("file", &e), -ENOTDIR);
	kit_put("containers", "x");
	ck_assert_int_eq(state_containers_open(root, &e), -ENOTDIR);
}
END_TEST

Suite *runtime_state_suite(void)
{
	Suite *s = suite_create("runtime_state");
	TCase *t = tcase_create("state");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, bad_id, 0, 16);
	tcase_add_test(t, longest_id);
	tcase_add_test(t, round_trip);
	tcase_add_loop_test(t, damage, 0, ARRAY_LEN(damaged));
	tcase_add_test(t, sparse_record);
	tcase_add_test(t, walk);
	tcase_add_test(t, save_fails_whole);
	tcase_add_test(t, root_is_a_file);
	tcase_set_timeout(t, 20);
	suite_add_tcase(s, t);
	return s;
}
