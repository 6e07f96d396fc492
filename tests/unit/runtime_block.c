// SPDX-License-Identifier: Apache-2.0
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/mem.h"
#include "runtime/spec_impl.h"
#include "runtime/supervisor/supervisor.h"

Suite *runtime_block_suite(void);

struct row {
	bool allow;
	char type;
	int64_t major, minor;
	uint32_t access;
};

/* A container with the block device 8:16, and rules; those with type 0 are none. */
static Podvm__ContainerCreate *container(const struct row *rules, size_t n)
{
	Podvm__ContainerCreate *c = mem_new(Podvm__ContainerCreate);
	Podvm__Device *d = mem_new(Podvm__Device);
	struct err e = { 0 };
	size_t i;

	podvm__container_create__init(c);
	podvm__device__init(d);
	d->type = S_IFBLK;
	d->major = 8;
	d->minor = 16;
	ck_assert_int_eq(spec_push(&c->devices, &c->n_devices, d, &e), 0);
	for (i = 0; i < n && rules[i].type; i++) {
		Podvm__DeviceRule *r = mem_new(Podvm__DeviceRule);

		podvm__device_rule__init(r);
		r->allow = rules[i].allow;
		r->type = (uint32_t)rules[i].type;
		r->major = rules[i].major;
		r->minor = rules[i].minor;
		r->access = rules[i].access;
		ck_assert_int_eq(spec_push(&c->device_rules, &c->n_device_rules, r, &e), 0);
	}
	return c;
}

static const struct {
	struct row rules[4];
	int rc;
	size_t left;
	uint32_t access;
	const char *text;
} cases[] = {
	{ { { false, 'a', -1, -1, 7 } }, 0, 1, 0, NULL },
	{ { { false, 'a', -1, -1, 7 }, { true, 'b', 8, 16, 7 } }, 0, 2, 7, NULL },
	{ { { false, 'a', -1, -1, 7 }, { true, 'b', 8, 16, 2 } }, 0, 2, 2, NULL },
	{ { { false, 'a', -1, -1, 7 }, { true, 'b', 8, 16, 7 }, { false, 'b', 8, 16, 4 } }, 0, 3, 3,
	  NULL },
	{ { { true, 'a', -1, -1, 7 } }, 0, 1, 7, NULL },
	{ { { true, 'b', -1, -1, 6 } }, 0, 1, 6, NULL },
	{ { { true, 'c', 8, 16, 7 } }, 0, 1, 0, NULL },
	{ { { true, 'c', 8, -1, 7 } }, 0, 1, 0, NULL },
	/* Of the host's, and not the container's. */
	{ { { true, 'b', 8, 17, 7 } }, -EINVAL, 1, 0, "block device 8:17" },
	{ { { true, 'b', 8, -1, 7 } }, -EINVAL, 1, 0, "block device 8:-1" },
	{ { { true, 'b', -1, 16, 7 } }, -EINVAL, 1, 0, "block device -1:16" },
	{ { { false, 'b', 8, 1, 7 }, { true, 'b', 9, 0, 7 }, { true, 'b', 8, 16, 7 } }, -EINVAL, 2, 0,
	  "block device 9:0" },
	/* What forbids them is left out: in the guest it would be another disk. */
	{ { { false, 'b', 8, 17, 7 }, { true, 'b', 8, 16, 6 } }, 0, 1, 6, NULL },
	{ { { true, 'b', 8, 16, 6 }, { false, 'b', 253, -1, 7 } }, 0, 1, 6, NULL },
};

START_TEST(rules)
{
	Podvm__ContainerCreate *c = container(cases[_i].rules, ARRAY_LEN(cases[_i].rules));
	struct jnode n = { 0 };
	struct err e = { 0 };

	ck_assert_msg(spec_block_rules(c, &n, &e) == cases[_i].rc, "%s", e.text);
	ck_assert_uint_eq(c->n_device_rules, cases[_i].left);
	if (cases[_i].rc)
		ck_assert_msg(strstr(e.text, cases[_i].text), "%s", e.text);
	else
		ck_assert_uint_eq(spec_block_access(c, c->devices[0]), cases[_i].access);
	podvm__container_create__free_unpacked(c, NULL);
}
END_TEST

#define TEXT(s) s, sizeof(s)

static const struct {
	const char *msg;
	size_t len;
	bool is;
	uint32_t major, minor;
} events[] = {
	{ TEXT("change@/devices/virtual/block/dm-3\0ACTION=change\0SUBSYSTEM=block\0MAJOR=254\0MINOR=3\0RESIZE=1"),
	  true, 254, 3 },
	{ TEXT("change@/x\0MINOR=1048575\0MAJOR=4095\0SUBSYSTEM=block\0ACTION=change"), true, 4095, 1048575 },
	{ TEXT("add@/x\0ACTION=add\0SUBSYSTEM=block\0MAJOR=254\0MINOR=3"), false, 0, 0 },
	{ TEXT("change@/x\0ACTION=change\0SUBSYSTEM=net\0MAJOR=254\0MINOR=3"), false, 0, 0 },
	{ TEXT("change@/x\0ACTION=change\0SUBSYSTEM=block\0MAJOR=254"), false, 0, 0 },
	{ TEXT("change@/x\0ACTION=change\0SUBSYSTEM=block\0MAJOR=x\0MINOR=3"), false, 0, 0 },
	{ TEXT("change@/x\0ACTION=change\0SUBSYSTEM=block\0MAJOR=99999999999\0MINOR=3"), false, 0, 0 },
	{ TEXT("change@/x\0ACTION=changed\0SUBSYSTEM=block\0MAJOR=1\0MINOR=3"), false, 0, 0 },
	{ "ACTION=change\0SUBSYSTEM=block\0MAJOR=1\0MINOR=3", 45, false, 0, 0 }, /* no end */
	{ TEXT(""), false, 0, 0 },
	{ "", 0, false, 0, 0 },
	{ TEXT("\0\0\0"), false, 0, 0 },
};

START_TEST(uevents)
{
	uint32_t major = 0, minor = 0;
	/* Of its own size, so that a look behind its end shows. */
	_cleanup_free_ char *copy = malloc(events[_i].len + !events[_i].len);

	memcpy(copy, events[_i].msg, events[_i].len);
	ck_assert_int_eq(uevent_block_change(copy, events[_i].len, &major, &minor), events[_i].is);
	ck_assert_uint_eq(major, events[_i].major);
	ck_assert_uint_eq(minor, events[_i].minor);
}
END_TEST

static struct storage_root roots[] = {
	{ .type = "ext4", .data = "discard", .flags = 3 },
	{ .type = "ext4", .data = "noload", .lower = true },
	{ .type = "erofs", .data = "", .lower = true, .readonly = true },
};

START_TEST(described)
{
	const struct storage_root *r = &roots[_i];
	Podvm__Rootfs *fs = mem_new(Podvm__Rootfs);
	struct err e = { 0 };

	podvm__rootfs__init(fs);
	ck_assert_int_eq(blockroot_describe(fs, r, "d1-dev", &e), 0);
	ck_assert_int_eq(fs->readonly, r->readonly);
	ck_assert_str_eq(r->lower ? fs->lower_serial : fs->disk->serial, "d1-dev");
	ck_assert_str_eq(r->lower ? fs->lower_type : fs->disk->type, r->type);
	ck_assert_str_eq(r->lower ? fs->lower_data : fs->disk->data, r->data);
	ck_assert(r->lower ? !fs->disk : fs->disk->flags == r->flags);
	podvm__rootfs__free_unpacked(fs, NULL);
}
END_TEST

Suite *runtime_block_suite(void)
{
	Suite *s = suite_create("runtime_block");
	TCase *t = tcase_create("block");

	tcase_add_loop_test(t, rules, 0, (int)ARRAY_LEN(cases));
	tcase_add_loop_test(t, uevents, 0, (int)ARRAY_LEN(events));
	tcase_add_loop_test(t, described, 0, (int)ARRAY_LEN(roots));
	suite_add_tcase(s, t);
	return s;
}
