// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * config.json is read once in a create: between the trust decision and what is made of it
 * these tests write the file anew, put another bundle in its place, and change podvm.json.
 * The decision is compiled here once more, on a host that has KVM and with an exec that
 * comes back; the supervisor is a thread, which keeps what it was given.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/cli/cli.h"
#include "runtime/cli/handover.h"
#include "runtime/config.h"
#include "runtime/spec_impl.h"
#include "runtime/trust.h"
#include "tests/kit/dir.h"
#include "tests/kit/fakepod.h"

Suite *runtime_source_suite(void);

static char *executed;
static int loads;

static bool fake_kvm(struct err *e)
{
	(void)e;
	return true;
}

static int fake_execv(const char *path, char *const *argv)
{
	(void)argv;
	executed = strdup(path);
	errno = EACCES;
	return -1;
}

static int counted_load(struct config *ret, struct err *e)
{
	loads++;
	return config_load(ret, e);
}

#define trust_kvm_probe fake_kvm
#define execv fake_execv
#define config_load counted_load
#include "runtime/cli/decide.c"
#define gather handover_gather
#include "runtime/cli/handover.c"
#undef gather

static struct fakepod pod;
static char *first, *second;

/* Two that are alike but for what runs, and for what the second one says of trust. */
static void make_texts(void)
{
	size_t len;
	FILE *f = open_memstream(&first, &len);
	struct err e;
	char *at;

	ck_assert(!spec_example_print(f, &e) && !fclose(f));
	at = strstr(first, "\"sh\"");
	ck_assert_ptr_nonnull(at);
	ck_assert_int_gt(asprintf(&second, "%.*s\"evil\"%.*s,\"annotations\":{\"" TRUST_ANNOTATION "\":\"true\"}}",
				  (int)(at - first), first, (int)(strrchr(at, '}') - at - 4), at + 4), 0);
}

static void setup(void)
{
	kit_dir_enter();
	fakepod_init(&pod, -1);
	make_texts();
	ck_assert(!mkdir("b", 0755) && !mkdir("b/rootfs", 0755));
	kit_put("b/config.json", first);
	kit_put("podvm.json", "{\"trust\":{\"trustedRuntime\":\"/bin/true\"}}");
	setenv("PODVM_CONFIG", "podvm.json", 1);
	executed = NULL;
	loads = 0;
}

static void teardown(void)
{
	fakepod_stop(&pod);
	free(first);
	free(second);
	free(executed);
	kit_dir_leave();
}

static void check_args(const struct spec_source *src, const char *want)
{
	struct err e = { 0 };
	struct spec *s;

	ck_assert_msg(!spec_load_from(src, &s, &e), "%s", e.text);
	ck_assert_str_eq(s->create->process->args[0], want);
	spec_free(s);
}

/* ---- what was read ------------------------------------------------------------------- */

static void write_anew(void)
{
	kit_put("b/config.json", second);
}

static void move_away(void)
{
	ck_assert(!rename("b", "old") && !mkdir("b", 0755) && !mkdir("b/rootfs", 0755));
	write_anew();
}

static void take_away(void)
{
	ck_assert(!unlink("b/config.json"));
}

static void (*const changes[])(void) = { write_anew, move_away, take_away };

START_TEST(stays_as_it_was_read)
{
	struct spec_source src = SPEC_SOURCE_NONE;
	struct err e = { 0 };

	ck_assert_msg(!spec_source_read("b", &src, &e), "%s", e.text);
	changes[_i]();
	check_args(&src, "sh");
	ck_assert_int_lt(write(src.config, "x", 1), 0);
	ck_assert_int_lt(ftruncate(src.config, 0), 0);
	check_args(&src, "sh");
	spec_source_done(&src);
	spec_source_done(&src);
	ck_assert_int_eq(src.config, -1);
}
END_TEST

START_TEST(only_what_is_sealed_is_taken)
{
	struct spec_source src = SPEC_SOURCE_NONE, got = SPEC_SOURCE_NONE;
	struct err e = { 0 };
	char path[PATH_MAX + 1];
	int fds[] = { -1, memfd_create("open", MFD_ALLOW_SEALING), open("b/config.json", O_RDONLY),
		      socket(AF_UNIX, SOCK_STREAM, 0) };
	size_t i;

	memset(path, 'a', PATH_MAX);
	path[PATH_MAX] = 0;
	for (i = 0; i < ARRAY_LEN(fds); i++) {
		ck_assert_int_eq(spec_source_take("/b", fds[i], &got, &e), -EPROTO);
		ck_assert_str_eq(e.text, "no sealed config.json came with the request");
		ck_assert_int_eq(got.config, -1);
		if (fds[i] >= 0)
			close(fds[i]);
	}
	ck_assert(!spec_source_read("b", &src, &e));
	ck_assert_int_eq(spec_source_take(path, src.config, &got, &e), -ENAMETOOLONG);
	ck_assert(!spec_source_take(src.bundle, src.config, &got, &e));
	check_args(&got, "sh");
	spec_source_done(&got);
}
END_TEST

static const struct {
	const char *path, *why;
	int rc;
} unread[] = {
	{ "nowhere", "bundle nowhere: No such file or directory", -ENOENT },
	{ "b/config.json", "/b/config.json: Not a directory", -ENOTDIR },
	{ "b/rootfs", "/b/rootfs: config.json: No such file or directory", -ENOENT },
	{ "odd", "/odd: config.json: must be a regular file", -EINVAL },
	{ "big", "/big: config.json: ", -EFBIG },
};

START_TEST(not_read)
{
	struct spec_source src = SPEC_SOURCE_NONE;
	struct err e = { 0 };
	size_t fds = kit_fds();

	ck_assert(!mkdir("odd", 0755) && !mkfifo("odd/config.json", 0600) && !mkdir("big", 0755));
	kit_put("big/config.json", "");
	ck_assert(!truncate("big/config.json", SPEC_MAX_BYTES + 1));
	ck_assert_int_eq(spec_source_read(unread[_i].path, &src, &e), unread[_i].rc);
	ck_assert_msg(strstr(e.text, unread[_i].why), "%s", e.text);
	ck_assert(src.config == -1 && kit_fds() == fds);
}
END_TEST

/* ---- from the decision to the supervisor ------------------------------------------------- */

static int decide(const char *verb, struct spec_source *ret, struct err *e)
{
	char *argv[] = { strdupa("podvm"), strdupa("--root"), pod.root, strdupa(verb),
			 strdupa("--bundle"), strdupa("b"), strdupa("c1"), NULL };

	return handover(7, argv, ret, e);
}

static void make_container(const struct spec_source *src, struct err *e)
{
	struct cli c = { .root = pod.root, .rootfd = state_root_open(pod.root, e), .source = src };
	struct create_args a = { .bundle = "b", .foreground = true };
	bool terminal;
	int shim = -1;

	ck_assert_int_ge(c.rootfd, 0);
	/* This supervisor refuses it, which is as far as it goes here. */
	ck_assert_int_lt(create_container(&c, &a, "c1", &shim, &terminal, e), 0);
	ck_assert_int_eq(shim, -1);
	close(c.rootfd);
}

static const char *const verbs[] = { "create", "run" };

#define MAKES ((size_t)_i / ARRAY_LEN(changes))
#define CHANGES ((size_t)_i % ARRAY_LEN(changes))

START_TEST(what_was_decided_is_made)
{
	struct spec_source src = SPEC_SOURCE_NONE;
	struct err e = { 0 };
	size_t fds;

	fakepod_start(&pod, "c1");
	fds = kit_fds();
	ck_assert_msg(!decide(verbs[MAKES], &src, &e), "%s", e.text);
	ck_assert_int_ge(src.config, 0);
	changes[CHANGES]();
	/* By these settings it would have been the trusted runtime's. */
	kit_put("podvm.json", "{\"trust\":{\"default\":\"trusted\",\"trustedRuntime\":\"/bin/true\"}}");
	make_container(&src, &e);
	ck_assert_pstr_eq(pod.given, first);
	ck_assert_int_eq(loads, 1);
	ck_assert_ptr_null(executed);
	spec_source_done(&src);
	fakepod_end(&pod);
	ck_assert_uint_le(kit_fds(), fds);
}
END_TEST

/* A command that nobody has decided for reads it itself, once as well. */
START_TEST(reads_it_itself)
{
	struct spec_source none = SPEC_SOURCE_NONE;
	struct err e = { 0 };

	fakepod_start(&pod, "c1");
	make_container(_i ? &none : NULL, &e);
	ck_assert_pstr_eq(pod.given, first);
}
END_TEST

static const struct {
	const char *verb, *config;
	int rc;
	bool executes;
} nothing_read[] = {
	{ "create", "{\"trust\":{\"default\":\"trusted\",\"trustedRuntime\":\"/bin/true\"}}", -EACCES, true },
	{ "create", "{\"trust\":{\"default\":\"trusted\",\"trustedRuntime\":\"/bin/none\"}}", -EPERM, false },
	{ "create", "{\"trust\":1}", -EINVAL, false },
	{ "start", "{}", 0, false },
	{ "delete", "{}", 0, false },
};

START_TEST(nothing_is_left_open)
{
	struct spec_source src = SPEC_SOURCE_NONE;
	struct err e = { 0 };
	size_t fds = kit_fds();

	kit_put("podvm.json", nothing_read[_i].config);
	ck_assert_int_eq(decide(nothing_read[_i].verb, &src, &e), nothing_read[_i].rc);
	ck_assert_int_eq(executed != NULL, nothing_read[_i].executes);
	ck_assert(src.config == -1 && kit_fds() == fds);
}
END_TEST

Suite *runtime_source_suite(void)
{
	Suite *s = suite_create("runtime_source");
	TCase *t = tcase_create("source");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, stays_as_it_was_read, 0, (int)ARRAY_LEN(changes));
	tcase_add_test(t, only_what_is_sealed_is_taken);
	tcase_add_loop_test(t, not_read, 0, (int)ARRAY_LEN(unread));
	tcase_add_loop_test(t, what_was_decided_is_made, 0, (int)(ARRAY_LEN(verbs) * ARRAY_LEN(changes)));
	tcase_add_loop_test(t, reads_it_itself, 0, 2);
	tcase_add_loop_test(t, nothing_is_left_open, 0, (int)ARRAY_LEN(nothing_read));
	suite_add_tcase(s, t);
	return s;
}
