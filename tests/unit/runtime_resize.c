// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * runtime/supervisor/resize.c: the size of a machine that is to be made, and what
 * monitor and agent are asked for when it changes. Both are a thread that notes the
 * requests and answers as a row says.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/mem.h"
#include "runtime/supervisor/supervisor.h"
#include "tests/kit/machine.h"

#define MIB (1ull << 20)

Suite *runtime_resize_suite(void);

static struct pod pod;

/* ---- sizes ------------------------------------------------------------------------ */
static const struct {
	uint64_t spec_ram, spec_vcpus;	/* of the pod; 0: it does not say */
	uint64_t max, vcpus_max;	/* of the configuration */
	enum vmm_pages pages;
	uint64_t ram, hotplug;
	uint32_t vcpus;
	const char *args;
} sizes[] = {
	{ 0, 0, 0, 0, VMM_PAGES_HOST, 256 * MIB, 0, 2, "" },
	{ 1, 1, 0, 0, VMM_PAGES_HOST, 64 * MIB, 0, 1, "" },
	{ 100 * MIB + 1, 3, 0, 0, VMM_PAGES_2M, 102 * MIB, 0, 3, "" },
	{ 100 * MIB, 0, 0, 0, VMM_PAGES_1G, 1024 * MIB, 0, 2, "" },
	{ 0, 1000, 0, 0, VMM_PAGES_HOST, 256 * MIB, 0, VMM_VCPUS_MAX, "" },
	{ 0, 0, 0, 8, VMM_PAGES_HOST, 256 * MIB, 0, 8, " maxcpus=2" },
	{ 0, 8, 0, 8, VMM_PAGES_HOST, 256 * MIB, 0, 8, "" },
	{ 0, 9, 0, 8, VMM_PAGES_HOST, 256 * MIB, 0, 9, "" },
	{ 0, 0, 0, 1000, VMM_PAGES_HOST, 256 * MIB, 0, VMM_VCPUS_MAX, " maxcpus=2" },
	{ 0, 0, 256 * MIB, 0, VMM_PAGES_HOST, 256 * MIB, 0, 2, "" },
	{ 512 * MIB, 0, 256 * MIB, 0, VMM_PAGES_HOST, 512 * MIB, 0, 2, "" },
	{ 0, 0, 257 * MIB, 0, VMM_PAGES_HOST, 256 * MIB, 128 * MIB, 2,
	  " memory_hotplug.online_policy=auto-movable" },
	{ 0, 1, 512 * MIB, 4, VMM_PAGES_NEVER, 256 * MIB, 256 * MIB, 4,
	  " maxcpus=1 memory_hotplug.online_policy=auto-movable" },
};

START_TEST(size)
{
	struct spec *spec = mem_new(struct spec);
	struct vmm_config c = { .guest_cid = 3 };
	char args[MACHINE_ARGS_BYTES];
	struct pod p = { .config = { .ram_bytes = 256 * MIB, .vcpus = 2, .merge = true,
				     .ram_max_bytes = sizes[_i].max,
				     .vcpus_max = sizes[_i].vcpus_max,
				     .pages = sizes[_i].pages } };

	spec->ram_bytes = sizes[_i].spec_ram;
	spec->vcpus = sizes[_i].spec_vcpus;
	machine_size(&p, spec, &c, args);
	ck_assert_uint_eq(c.ram_bytes, sizes[_i].ram);
	ck_assert_uint_eq(c.hotplug_bytes, sizes[_i].hotplug);
	ck_assert_uint_eq(c.vcpus, sizes[_i].vcpus);
	ck_assert_str_eq(args, sizes[_i].args);
	ck_assert_int_eq(c.pages, sizes[_i].pages);
	ck_assert(c.merge && !c.prefault && c.guest_cid == 3);
	ck_assert_uint_eq(p.ram_bytes, sizes[_i].ram);
	ck_assert_uint_eq(p.hotplug_bytes, sizes[_i].hotplug);
	ck_assert_uint_eq(p.vcpus_max, sizes[_i].vcpus);
	free(spec);
}
END_TEST

/* Where the configuration does not say, pods of Kubernetes have room, others have none. */
static const struct {
	enum spec_role role;
	enum vmm_pages pages;
	bool sized, room;
} autos[] = {
	{ SPEC_ROLE_SINGLE, VMM_PAGES_HOST, false, false },
	{ SPEC_ROLE_CONTAINER, VMM_PAGES_HOST, false, true },
	{ SPEC_ROLE_SANDBOX, VMM_PAGES_ALWAYS, true, true },
	{ SPEC_ROLE_SANDBOX, VMM_PAGES_2M, false, false },
};

START_TEST(size_auto)
{
	struct spec *spec = mem_new(struct spec);
	struct vmm_config c = { .guest_cid = 3 };
	char args[MACHINE_ARGS_BYTES];
	struct pod p = { .config = { .ram_bytes = 256 * MIB, .vcpus = 1,
				     .ram_max_bytes = CONFIG_AUTO, .vcpus_max = CONFIG_AUTO,
				     .pages = autos[_i].pages } };
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	uint32_t most = n > 16 ? 16 : (uint32_t)n;

	spec->role = autos[_i].role;
	spec->overhead_bytes = 96 * MIB;
	spec->sized_memory = spec->sized_vcpus = autos[_i].sized;
	machine_size(&p, spec, &c, args);
	ck_assert_int_eq(c.hotplug_bytes > 0, autos[_i].room);
	ck_assert_uint_eq(c.hotplug_bytes % VMM_HOTPLUG_STEP_BYTES, 0);
	ck_assert_uint_eq(c.vcpus, autos[_i].role == SPEC_ROLE_SINGLE ? 1 : most);
	ck_assert_uint_eq(p.vcpus_now, 1);
	ck_assert_uint_eq(p.overhead_bytes, 96 * MIB);
	ck_assert_uint_eq(p.rest_bytes, autos[_i].sized ? 0 : 160 * MIB);
	ck_assert_uint_eq(p.rest_vcpus, autos[_i].sized ? 0 : 1);
	free(spec);
}
END_TEST

/* ---- changes ---------------------------------------------------------------------- */
/* A monitor: notes the latest BALLOON and MEMORY; an agent: answers with @reply. */
static struct {
	struct kit_machine m;
	uint64_t balloon, memory;
	uint32_t n_balloon, n_memory, cpus;
	int fail;		/* errno for BALLOON */
	uint32_t reply_online;
	bool reply_other;	/* to an agent's request, with something else */
} fake;

static void *monitor(void *arg)
{
	struct vmm_request rq;

	(void)arg;
	while (recv(fake.m.vmm, &rq, sizeof(rq), 0) == sizeof(rq)) {
		struct vmm_reply rp = { .type = rq.type };

		if (rq.type == VMM_BALLOON) {
			fake.balloon = rq.bytes;
			fake.n_balloon++;
			rp.error = fake.fail;
		} else if (rq.type == VMM_MEMORY) {
			fake.memory = rq.bytes;
			fake.n_memory++;
		} else {
			rp.memory = (struct vmm_memory){
				.block_bytes = 4 * MIB, .plugged = 8 * MIB, .requested = 12 * MIB,
				.balloon_bytes = 3, .balloon_actual = 2, .reported = 5,
				.stats_mask = 1u << VMM_STAT_FREE,
			};
			rp.memory.stat[VMM_STAT_FREE] = 7;
			rp.memory.stat[VMM_STAT_TOTAL] = 8;	/* not in the mask */
		}
		if (send(fake.m.vmm, &rp, sizeof(rp), MSG_NOSIGNAL) < 0)
			break;
	}
	return NULL;
}

static void *guest(void *arg)
{
	struct frame_rx rx = { 0 };

	(void)arg;
	while (!frame_recv(fake.m.agent, &rx, -1, NULL)) {
		Podvm__Request *rq = podvm__request__unpack(NULL, rx.len, rx.buf);
		Podvm__Response rs = PODVM__RESPONSE__INIT;
		Podvm__Cpus cpus = PODVM__CPUS__INIT;

		if (!rq)
			break;
		fake.cpus = rq->body_case == PODVM__REQUEST__BODY_CPUS_ONLINE
				    ? rq->cpus_online->count : UINT32_MAX;
		podvm__request__free_unpacked(rq, NULL);
		cpus.present = 4;
		cpus.online = fake.reply_online;
		if (!fake.reply_other) {
			rs.body_case = PODVM__RESPONSE__BODY_CPUS;
			rs.cpus = &cpus;
		}
		if (frame_send(fake.m.agent, &rs.base, 1000, NULL) < 0)
			break;
	}
	frame_done(&rx);
	return NULL;
}

static void setup(void)
{
	memset(&fake, 0, sizeof(fake));
	pod = (struct pod){ .ram_bytes = 256 * MIB, .hotplug_bytes = 256 * MIB, .vcpus_max = 4,
			    .memory_bytes = 256 * MIB };
	kit_machine_begin(&fake.m, &pod, monitor, guest);
}

static void teardown(void)
{
	kit_machine_end(&fake.m, &pod);
}

static const struct {
	uint64_t bytes;
	uint64_t balloon, memory;	/* that the monitor is asked for */
	int rc;
} changes[] = {
	{ 256 * MIB, 0, 0, 0 },
	{ 257 * MIB, 0, 4 * MIB, 0 },
	{ 260 * MIB, 0, 4 * MIB, 0 },
	{ 260 * MIB + 1, 0, 8 * MIB, 0 },
	{ 512 * MIB, 0, 256 * MIB, 0 },
	{ 255 * MIB, 1 * MIB, 0, 0 },
	{ 64 * MIB, 192 * MIB, 0, 0 },
	{ 256 * MIB - 1, 0, 0, 0 },
	{ 256 * MIB - 5000, 4096, 0, 0 },
	{ 64 * MIB - 1, 0, 0, -ERANGE },
	{ 512 * MIB + 1, 0, 0, -ERANGE },
	{ UINT64_MAX, 0, 0, -ERANGE },
};

START_TEST(memory)
{
	struct err e = { 0 };

	ck_assert_int_eq(machine_set_memory(&pod, changes[_i].bytes, &e), changes[_i].rc);
	ck_assert_uint_eq(fake.balloon, changes[_i].balloon);
	ck_assert_uint_eq(fake.memory, changes[_i].memory);
	ck_assert_uint_eq(fake.n_memory, !changes[_i].rc);
	ck_assert_uint_eq(pod.memory_bytes, 256 * MIB + changes[_i].memory - changes[_i].balloon);
	if (changes[_i].rc)
		ck_assert_msg(strstr(e.text, "64 to 512 MiB (setting memory.max") != NULL, "%s",
			      e.text);
}
END_TEST

/* A machine that cannot grow is not asked to. */
START_TEST(memory_fixed)
{
	struct err e;

	pod.hotplug_bytes = 0;
	ck_assert_int_eq(machine_set_memory(&pod, 128 * MIB, &e), 0);
	ck_assert_uint_eq(fake.balloon, 128 * MIB);
	ck_assert_uint_eq(fake.n_memory, 0);
	ck_assert_int_eq(machine_set_memory(&pod, 258 * MIB, &e), -ERANGE);
}
END_TEST

START_TEST(memory_refused)
{
	struct err e;

	fake.fail = EINVAL;
	ck_assert_int_eq(machine_set_memory(&pod, 512 * MIB, &e), -EINVAL);
	ck_assert_uint_eq(fake.n_memory, 0);
	ck_assert_uint_eq(pod.memory_bytes, 256 * MIB);
}
END_TEST

START_TEST(get_size)
{
	Podvm__Pod__Size s = PODVM__POD__SIZE__INIT;
	struct err e;

	ck_assert_int_eq(machine_get_size(&pod, &s, &e), 0);
	ck_assert_uint_eq(s.memory, 256 * MIB);
	ck_assert_uint_eq(s.memory_boot, 256 * MIB);
	ck_assert_uint_eq(s.memory_max, 512 * MIB);
	ck_assert_uint_eq(s.plugged, 8 * MIB);
	ck_assert_uint_eq(s.plug_target, 12 * MIB);
	ck_assert_uint_eq(s.balloon, 2);
	ck_assert_uint_eq(s.balloon_target, 3);
	ck_assert_uint_eq(s.reported, 5);
	ck_assert_uint_eq(s.guest_free, 7);
	ck_assert_uint_eq(s.guest_total, 0);
	ck_assert_uint_eq(s.vcpus_max, 4);
}
END_TEST

START_TEST(vcpus)
{
	uint32_t online = 0;
	struct err e = { 0 };

	fake.reply_online = 3;
	ck_assert_int_eq(machine_set_vcpus(&pod, (uint32_t)_i, &online, &e), 0);
	ck_assert_uint_eq(fake.cpus, _i);
	ck_assert_uint_eq(online, 3);
}
END_TEST

START_TEST(vcpus_wrong)
{
	uint32_t online = 99;
	struct err e = { 0 };

	ck_assert_int_eq(machine_set_vcpus(&pod, 5, &online, &e), -ERANGE);
	ck_assert_msg(strstr(e.text, "1 to 4 (setting vcpusMax") != NULL, "%s", e.text);
	ck_assert_int_eq(machine_set_vcpus(&pod, UINT32_MAX, &online, &e), -ERANGE);
	fake.reply_other = true;
	ck_assert_int_eq(machine_set_vcpus(&pod, 2, &online, &e), -EPROTO);
	ck_assert_uint_eq(online, 99);
}
END_TEST

Suite *runtime_resize_suite(void)
{
	Suite *s = suite_create("runtime_resize");
	TCase *t = tcase_create("size"), *c = tcase_create("change");

	tcase_add_loop_test(t, size, 0, ARRAY_LEN(sizes));
	tcase_add_loop_test(t, size_auto, 0, ARRAY_LEN(autos));
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, memory, 0, ARRAY_LEN(changes));
	tcase_add_test(c, memory_fixed);
	tcase_add_test(c, memory_refused);
	tcase_add_test(c, get_size);
	tcase_add_loop_test(c, vcpus, 0, 5);
	tcase_add_test(c, vcpus_wrong);
	suite_add_tcase(s, c);
	return s;
}
