// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * How a pod's machine follows its containers (runtime/supervisor/grow.c): first the plan,
 * row by row; then what monitor and agent are asked for when containers come, change and go.
 * Both are threads that note the requests; the guest takes what it is offered, or does not.
 */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cpus.h"
#include "lib/mem.h"
#include "runtime/supervisor/grow.h"
#include "runtime/supervisor/supervisor.h"
#include "tests/kit/fakehost.h"
#include "tests/kit/machine.h"

#define MIB (1ull << 20)

Suite *runtime_size_suite(void);

/* ---- plan ------------------------------------------------------------------------- */
/* Memory in MiB; quotas in thousandths of a processor; "i": the infra container. */
static const struct {
	const char *what;
	struct grow_base b;
	struct {
		uint64_t mib, milli;
		bool infra;
	} c[4];
	unsigned int n;
	uint64_t mib;
	uint32_t vcpus;
} plans[] = {
	{ "no container", { 256, 2048, 96, 160, 1, 8, 1 }, { { 0 } }, 0, 256, 1 },
	{ "one without limits", { 256, 2048, 96, 160, 1, 8, 1 }, { { 0 } }, 1, 256, 1 },
	{ "two of them have the rest together", { 256, 2048, 96, 160, 1, 8, 1 }, { { 0 } }, 2, 256, 1 },
	{ "the infra container needs none", { 256, 2048, 96, 160, 1, 8, 1 },
	  { { .infra = true }, { 64, 500, false } }, 2, 256, 1 },
	{ "one with, one without", { 256, 2048, 96, 160, 1, 8, 1 }, { { 0 }, { 512, 2000, false } },
	  2, 768, 3 },
	{ "limits add up", { 256, 2048, 96, 160, 1, 8, 1 },
	  { { 300, 1500, false }, { 200, 1500, false } }, 2, 596, 3 },
	{ "parts of processors add up", { 256, 2048, 96, 160, 1, 8, 1 },
	  { { 10, 300, false }, { 10, 300, false }, { 10, 300, false } }, 3, 256, 1 },
	{ "and are rounded up", { 256, 2048, 96, 160, 1, 8, 1 },
	  { { 10, 300, false }, { 10, 300, false }, { 10, 401, false } }, 3, 256, 2 },
	{ "a pod that said its size has counted them", { 608, 2048, 96, 0, 2, 8, 0 },
	  { { .infra = true }, { 0 }, { 512, 2000, false } }, 3, 608, 2 },
	{ "and grows when a limit is raised", { 608, 2048, 96, 0, 2, 8, 0 },
	  { { .infra = true }, { 0 }, { 1024, 3000, false } }, 3, 1120, 3 },
	{ "the sum may be more than there can be", { 256, 1024, 96, 160, 1, 2, 1 },
	  { { 900, 2000, false }, { 900, 2000, false } }, 2, 1024, 2 },
	{ "a machine that cannot grow", { 256, 256, 96, 160, 1, 1, 1 },
	  { { 0 }, { 100, 1000, false } }, 2, 256, 1 },
	{ "an operator's word is the least", { 1500, 2048, 96, 160, 4, 8, 1 }, { { 0 } }, 1, 1500, 4 },
	{ "and may be below the beginning", { 64, 2048, 96, 160, 1, 8, 1 }, { { 32, 1, false } }, 1, 128, 1 },
	{ "sums do not wrap", { 256, 2048, 96, 160, 1, 8, 1 },
	  { { UINT64_MAX / MIB, UINT64_MAX / 1000, false }, { UINT64_MAX / MIB, 1000, false } }, 2, 2048, 8 },
};

static struct grow_base in_bytes(struct grow_base b)
{
	b.memory_bytes *= MIB;
	b.memory_max *= MIB;
	b.overhead_bytes *= MIB;
	b.rest_bytes *= MIB;
	return b;
}

START_TEST(plan)
{
	struct grow_base b = in_bytes(plans[_i].b);
	struct grow_need need = { 0 };
	struct grow_plan p;
	unsigned int i;

	for (i = 0; i < plans[_i].n; i++) {
		struct spec_limits l = { .memory_bytes = plans[_i].c[i].mib * MIB,
					 .quota_us = plans[_i].c[i].milli * 100,
					 .period_us = 100000 };

		grow_add(&need, &l, plans[_i].c[i].infra);
	}
	grow_plan(&b, &need, &p);
	ck_assert_msg(p.memory_bytes == plans[_i].mib * MIB, "%s: %llu MiB", plans[_i].what,
		      (unsigned long long)p.memory_bytes >> 20);
	ck_assert_msg(p.vcpus == plans[_i].vcpus, "%s: %u processors", plans[_i].what, p.vcpus);
}
END_TEST

/* Processors of the host; "": one that names none. */
static const struct {
	const char *what, *c[3], *cpus;
} sets[] = {
	{ "no container", { NULL }, "" },
	{ "one", { "1-2" }, "1-2" },
	{ "what they name together", { "0", "4-5", "1,5" }, "0-1,4-5" },
	{ "one names none", { "0", "" }, "" },
};

START_TEST(host_processors)
{
	const struct grow_base b = in_bytes((struct grow_base){ 256, 1024, 96, 160, 1, 4, 1 });
	struct spec_limits infra = { 0 };
	struct grow_need need = { 0 };
	char text[CPUS_TEXT_BYTES];
	struct grow_plan p;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(sets[_i].c) && sets[_i].c[i]; i++) {
		struct spec_limits l = { 0 };

		if (*sets[_i].c[i])
			ck_assert(!cpus_parse(sets[_i].c[i], &l.cpus));
		grow_add(&need, &l, false);
	}
	/* The pod's infra container says nothing of what the others may use. */
	grow_add(&need, &infra, true);
	CPU_SET(7, &infra.cpus);
	grow_add(&need, &infra, true);
	grow_plan(&b, &need, &p);
	cpus_text(&p.cpus, text);
	ck_assert_msg(!strcmp(text, sets[_i].cpus), "%s: %s", sets[_i].what, text);
	ck_assert_int_eq(CPU_COUNT(&p.mems), 0);
}
END_TEST

static const struct {
	struct spec_limits l;
	const char *text;	/* NULL: it may have that */
} checks[] = {
	{ { 0 }, NULL },
	{ { .memory_bytes = 928 * MIB, .quota_us = 400000, .period_us = 100000 }, NULL },
	{ { .memory_bytes = 928 * MIB + 1 },
	  "/linux/resources/memory/limit: 928 MiB: a container of this pod can have 928 MiB, and the guest itself the 96 MiB beside them (setting memory.max when the pod starts)" },
	{ { .memory_bytes = UINT64_MAX }, "/linux/resources/memory/limit: " },
	{ { .quota_us = 400100, .period_us = 100000 },
	  "/linux/resources/cpu/quota: 5 processors: the pod can have 1 to 4 (setting vcpusMax when it starts)" },
	{ { .quota_us = 400100 }, "/linux/resources/cpu/quota: 5 processors" },
	{ { .quota_us = 400100, .period_us = 1000000 }, NULL },
	{ { .quota_us = UINT64_MAX, .period_us = 1000 }, "/linux/resources/cpu/quota: " },
};

START_TEST(check)
{
	struct grow_base b = in_bytes((struct grow_base){ 256, 1024, 96, 160, 1, 4, 1 });
	struct err e = { 0 };
	int rc = grow_check(&b, &checks[_i].l, &e);

	ck_assert_int_eq(rc, checks[_i].text ? -ERANGE : 0);
	if (checks[_i].text)
		ck_assert_msg(!strncmp(e.text, checks[_i].text, strlen(checks[_i].text)), "%s", e.text);
}
END_TEST

/* ---- machine ---------------------------------------------------------------------- */
static struct pod pod;
static struct container one, two;

/**
 * struct fake - a monitor and a guest
 * @stall:  the guest takes no memory
 * @broken: the guest's processors do not come
 * @memory, @cpus: that was asked for last
 */
static struct {
	struct kit_machine m;
	bool stall, broken;
	uint64_t memory, balloon;
	uint32_t cpus, n_memory, n_cpus;
} fake;

static void *monitor(void *arg)
{
	struct vmm_request rq;

	(void)arg;
	while (recv(fake.m.vmm, &rq, sizeof(rq), 0) == sizeof(rq)) {
		struct vmm_reply rp = { .type = rq.type };

		if (rq.type == VMM_MEMORY) {
			fake.memory = rq.bytes;
			fake.n_memory++;
		} else if (rq.type == VMM_BALLOON) {
			fake.balloon = rq.bytes;
		} else {
			rp.memory.block_bytes = 2 * MIB;
			rp.memory.requested = fake.memory;
			rp.memory.plugged = fake.stall ? 0 : fake.memory;
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

		if (!rq || rq->body_case != PODVM__REQUEST__BODY_CPUS_ONLINE)
			break;
		fake.cpus = rq->cpus_online->count;
		fake.n_cpus++;
		podvm__request__free_unpacked(rq, NULL);
		cpus.online = fake.broken ? 1 : fake.cpus;
		rs.body_case = PODVM__RESPONSE__BODY_CPUS;
		rs.cpus = &cpus;
		if (frame_send(fake.m.agent, &rs.base, 1000, NULL) < 0)
			break;
	}
	frame_done(&rx);
	return NULL;
}

static void setup(void)
{
	memset(&fake, 0, sizeof(fake));
	one = (struct container){ .id = "one" };
	two = (struct container){ .id = "two", .next = &one };
	pod = (struct pod){ .ram_bytes = 256 * MIB, .hotplug_bytes = 768 * MIB, .vcpus = 1,
			    .vcpus_now = 1, .vcpus_max = 4, .memory_bytes = 256 * MIB,
			    .overhead_bytes = 96 * MIB, .rest_bytes = 160 * MIB, .rest_vcpus = 1,
			    .containers = &two };
	kit_machine_begin(&fake.m, &pod, monitor, guest);
}

static void teardown(void)
{
	kit_machine_end(&fake.m, &pod);
}

static const struct spec_limits none,
	big = { .memory_bytes = 512 * MIB, .quota_us = 250000, .period_us = 100000 },
	small = { .memory_bytes = 32 * MIB, .quota_us = 50000, .period_us = 100000 };

/* Memory beyond 256 MiB, and processors, as monitor and guest were asked for last. */
static void expect(uint64_t more_mib, uint32_t cpus)
{
	ck_assert_uint_eq(fake.memory, more_mib * MIB);
	ck_assert_uint_eq(fake.cpus, cpus);
	ck_assert_uint_eq(pod.memory_bytes, (256 + more_mib) * MIB);
}

/* What is there suffices: nobody is asked. */
START_TEST(nothing_to_do)
{
	struct err e = { 0 };

	ck_assert_int_eq(pod_resize_for(&pod, &one, &none, &e), 0);
	ck_assert_int_eq(pod_resize_for(&pod, &two, &none, &e), 0);
	two.infra = true;
	ck_assert_int_eq(pod_resize_for(&pod, &one, &small, &e), 0);
	pod_resize_shrink(&pod);
	ck_assert_uint_eq(fake.n_memory + fake.n_cpus, 0);
}
END_TEST

START_TEST(comes_and_goes)
{
	struct err e = { 0 };

	ck_assert_msg(!pod_resize_for(&pod, &two, &big, &e), "%s", e.text);
	expect(512, 4); /* one has no limits: 96 + 160 + 512, 1 + 2.5 */
	ck_assert_msg(!pod_resize_for(&pod, &one, &small, &e), "%s", e.text);
	expect(512, 4); /* less than before, which shrinks by and by */
	pod_resize_shrink(&pod);
	expect(384, 3);
	pod.containers = &one;
	pod_resize_shrink(&pod);
	expect(0, 1);
	ck_assert_uint_eq(fake.balloon, 0);
}
END_TEST

/* One that has ended and is not deleted yet leaves its room to the next one. */
START_TEST(ended_counts_no_more)
{
	struct state s = { .status = STATE_STOPPED };
	struct err e = { 0 };

	two.infra = true;
	ck_assert_int_eq(pod_resize_for(&pod, &one, &big, &e), 0);
	expect(352, 3);
	one.state = &s;
	ck_assert_int_eq(pod_resize_for(&pod, &two, &big, &e), 0);
	expect(352, 3);
	pod_resize_shrink(&pod);
	expect(352, 3);
}
END_TEST

START_TEST(operator_decides_the_least)
{
	struct err e = { 0 };

	pod.by_hand_bytes = 512 * MIB;
	pod.by_hand_vcpus = 2;
	ck_assert_int_eq(machine_set_memory(&pod, 512 * MIB, &e), 0);
	ck_assert_int_eq(pod_resize_for(&pod, &one, &small, &e), 0);
	pod_resize_shrink(&pod);
	expect(256, 2);
}
END_TEST

START_TEST(too_much)
{
	const struct spec_limits l = { .memory_bytes = 1024 * MIB };
	struct err e = { 0 };

	one.limits = small;
	ck_assert_int_eq(pod_resize_for(&pod, &one, &l, &e), -ERANGE);
	ck_assert_ptr_nonnull(strstr(e.text, "memory/limit"));
	ck_assert_uint_eq(one.limits.memory_bytes, small.memory_bytes);
	ck_assert_uint_eq(fake.n_memory, 0);
}
END_TEST

/* A guest that takes no memory: an end to waiting, and nothing has changed. */
START_TEST(guest_does_not_follow)
{
	struct fakehost clock = { 0 };
	struct err e = { 0 };
	int rc;

	fake.stall = true;
	kit_host = &clock;
	rc = pod_resize_for(&pod, &two, &big, &e);
	kit_host = NULL;
	ck_assert_int_eq(rc, -ETIMEDOUT);
	ck_assert_str_eq(e.text, "the guest has taken 0 of the 512 MiB that the pod grows by in 15 s");
	ck_assert_uint_eq(two.limits.memory_bytes, 0);
	ck_assert_uint_eq(fake.memory, 0);
	ck_assert_uint_eq(pod.memory_bytes, 256 * MIB);
}
END_TEST

START_TEST(guest_lacks_processors)
{
	struct err e = { 0 };

	fake.broken = true;
	ck_assert_int_eq(pod_resize_for(&pod, &two, &big, &e), -EIO);
	ck_assert_str_eq(e.text, "the guest uses 1 of the 4 processors that the pod grew to");
	expect(0, 1);
}
END_TEST

/* A dead machine, or none yet: nothing hangs, nothing is asked. */
START_TEST(no_machine)
{
	struct err e = { 0 };

	one.limits = big;
	pod.memory_bytes = 900 * MIB;
	pod.dead = true;
	pod_resize_shrink(&pod);
	ck_assert_uint_eq(fake.n_memory, 0);
	pod.dead = false;
	shutdown(fake.m.vmm, SHUT_RDWR);
	pod.memory_bytes = 256 * MIB;
	ck_assert_int_lt(pod_resize_for(&pod, &two, &big, &e), 0);
	ck_assert_uint_eq(two.limits.memory_bytes, 0);
}
END_TEST

Suite *runtime_size_suite(void)
{
	Suite *s = suite_create("runtime_size");
	TCase *t = tcase_create("plan");

	tcase_add_loop_test(t, plan, 0, ARRAY_LEN(plans));
	tcase_add_loop_test(t, host_processors, 0, ARRAY_LEN(sets));
	tcase_add_loop_test(t, check, 0, ARRAY_LEN(checks));
	suite_add_tcase(s, t);
	t = tcase_create("machine");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, nothing_to_do);
	tcase_add_test(t, comes_and_goes);
	tcase_add_test(t, ended_counts_no_more);
	tcase_add_test(t, operator_decides_the_least);
	tcase_add_test(t, too_much);
	tcase_add_test(t, guest_does_not_follow);
	tcase_add_test(t, guest_lacks_processors);
	tcase_add_test(t, no_machine);
	suite_add_tcase(s, t);
	return s;
}
