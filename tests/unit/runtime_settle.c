// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * How a container is settled on the supervisor's side (container.c, settle.c, wayback.c)
 * when its process has ended, or never began: what comes back, what the journal keeps, when
 * its shim may go. The machine, the agent and what storage lent are models here; the way
 * back is the real one, over an overlay of the test's own.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/delta.h"
#include "lib/fd.h"
#include "lib/journal.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/cgroup.h"
#include "runtime/shim/shim.h"
#include "runtime/supervisor/supervisor.h"
#include "tests/kit/dir.h"
#include "tests/kit/kit.h"
#include "tests/kit/storage.h"

Suite *runtime_settle_suite(void);

static struct pod pod;
static struct container *ctr;
static int guest = -1, shim_end = -1;

/**
 * struct model - what stands behind the supervisor
 * @agent_rc: of the next answers of the agent
 * @back_rc:  of giving the block device back
 * @root:     the root file system is a block device
 * @released: serials that the agent was asked to let go of
 */
static struct {
	int agent_rc, back_rc;
	bool root;
	unsigned int releases, n_released, given_back, unplugged;
	char released[8][STORAGE_SERIAL_BYTES];
} model;

static char volume_serial[] = "v7";

static int fake_agent(struct agent *a, const Podvm__Request *rq, int timeout_ms,
		      Podvm__Response **ret, struct err *e)
{
	size_t i;

	(void)a;
	(void)timeout_ms;
	(void)ret;
	if (rq->body_case == PODVM__REQUEST__BODY_DISKS_RELEASE) {
		model.releases++;
		model.n_released = (unsigned int)rq->disks_release->n_serials;
		for (i = 0; i < model.n_released; i++)
			ck_assert_int_eq(str_copy(model.released[i], STORAGE_SERIAL_BYTES,
						  rq->disks_release->serials[i]), 0);
	}
	return model.agent_rc ? err_set(e, -model.agent_rc, "the agent says no") : 0;
}

static int fake_connect(struct pod *p, int *ret_fd, struct err *e)
{
	int s[2];

	(void)p;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		return err_sys(e, "socketpair");
	guest = s[0];
	*ret_fd = s[1];
	return 0;
}

static int fake_give_back(struct storage_map *m, struct err *e)
{
	(void)m;
	model.given_back++;
	return model.back_rc ? err_set(e, -model.back_rc, "held") : 0;
}

static size_t fake_disks(const struct storage_map *m, const struct storage_disk **ret)
{
	static const struct storage_disk disk = { .serial = "root-disk" };

	ck_assert_ptr_nonnull(m);
	*ret = &disk;
	return 1;
}

static bool fake_root(const struct storage_map *m, struct storage_root *ret)
{
	(void)m;
	(void)ret;
	return model.root;
}

static size_t fake_serials(const struct container *c, char **ret, size_t room)
{
	ck_assert_uint_ge(room, c->n_rawvols);
	if (c->n_rawvols)
		*ret = volume_serial;
	return c->n_rawvols;
}

static void fake_unplug_volumes(struct pod *p, struct container *c)
{
	(void)p;
	model.unplugged += (unsigned int)c->n_rawvols;
	c->n_rawvols = 0;
}

/* What these tests do not come to. */
#define NEVER(...) { ck_abort_msg("not expected"); return __VA_ARGS__; }
static int fake_plug(struct pod *p, const struct storage_disk *d, uint32_t n, uint32_t *ret,
		     struct err *e) NEVER(((void)p, (void)d, (void)n, (void)ret, (void)e, 0))
static int fake_journal(struct pod *p, const struct vmm *v, struct err *e)
	NEVER(((void)p, (void)v, (void)e, 0))
static int fake_map(const struct storage_request *r, struct storage_map **m, struct err *e)
	NEVER(((void)r, (void)m, (void)e, 0))
static int fake_describe(Podvm__Rootfs *f, const struct storage_root *r, const char *s,
			 struct err *e) NEVER(((void)f, (void)r, (void)s, (void)e, 0))
static int fake_volumes(struct pod *p, struct container *c, struct spec *s, const char *b,
			struct err *e) NEVER(((void)p, (void)c, (void)s, (void)b, (void)e, 0))
static int fake_plug_volumes(struct pod *p, struct container *c, struct spec *s, struct err *e)
	NEVER(((void)p, (void)c, (void)s, (void)e, 0))
static void fake_broker_add(struct broker *b, uint32_t n, const struct storage_map *m)
	NEVER((void)b, (void)n, (void)m)

static int fake_unplug(struct pod *p, const char *name, struct err *e)
{
	(void)p;
	(void)name;
	(void)e;
	return 0;
}

static void fake_broker_remove(struct broker *b, uint32_t n)
{
	(void)b;
	(void)n;
}

static void fake_volumes_remove(struct pod *p, struct container *c)
{
	(void)p;
	(void)c;
}

static void fake_map_free(struct storage_map *m)
{
	(void)m;
}

#define agent_call fake_agent
#define machine_connect fake_connect
#define machine_plug fake_plug
#define machine_unplug fake_unplug
#define machine_journal fake_journal
#define broker_add fake_broker_add
#define broker_remove fake_broker_remove
#define blockroot_describe fake_describe
#define storage_map_rootfs fake_map
#define storage_map_disks fake_disks
#define storage_map_root fake_root
#define storage_map_give_back fake_give_back
#define storage_map_free fake_map_free
#define rawvols_plug fake_plug_volumes
#define rawvols_serials fake_serials
#define rawvols_unplug fake_unplug_volumes
#define volumes_add fake_volumes
#define volume_rootfs(p, c, s, why, e) fake_volumes(p, c, s, why, e)
#define volumes_remove fake_volumes_remove
#define relayd_container(p, c) ((void)(p), (void)(c))
#define ending_settled(p) ((void)(p))
#include "runtime/supervisor/container.c"
#include "runtime/supervisor/settle.c"
#include "runtime/supervisor/wayback.c"

/* ---- a pod with one container ----------------------------------------------------- */

static void setup(void)
{
	struct spec spec = { .rootfs = strdupa("m"), .oci_version = strdupa("1.2.0") };
	struct err e = { 0 };

	kit_storage_enter();
	memset(&model, 0, sizeof(model));
	memset(&pod, 0, sizeof(pod));
	pod.vmm.sock = -1;
	pod.config.write_back_ms = 60000;
	pod.rootfd = state_root_open("state", &e);
	ck_assert_msg(pod.rootfd >= 0, "%s", e.text);
	ck_assert_int_eq(journal_open(AT_FDCWD, "journal", &pod.journal, &e), 0);
	ck_assert_int_eq(loop_new(&pod.loop, &e), 0);
	ck_assert_int_eq(settle_watch(&pod, &e), 0);
	ck_assert_int_eq(wayback_open(&pod, &e), 0);
	ctr = mem_new(struct container);
	strcpy(ctr->id, "c");
	ctr->back.hold = ctr->back.stream = -1;
	ck_assert_msg(!state_new("c", "p", "/bundle", &spec, &ctr->state, &e), "%s", e.text);
	ctr->committed = true;
	ctr->state->status = STATE_RUNNING;
	pod.containers = ctr;
	ck_assert_int_eq(wayback_hold(ctr, &shim_end, &e), 0);
}

static void teardown(void)
{
	fd_close(&guest);
	while (pod.containers)
		drop(&pod, pod.containers);
	loop_free(pod.loop);
	fd_close(&pod.back_fd);
	fd_close(&pod.settle_event);
	fd_close(&pod.rootfd);
	journal_free(pod.journal);
	fd_close(&shim_end);
	kit_storage_leave();
}

/* What the shim was told: "" while it is held. */
static const char *told(void)
{
	static char text[sizeof(ctr->back.text) + 1];
	ssize_t n = recv(shim_end, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[n < 0 ? 0 : n] = 0;
	return text;
}

static void run_until_stopped(void)
{
	struct err e = { 0 };

	while (ctr->state->status != STATE_STOPPED)
		ck_assert_int_ge(loop_step(pod.loop, -1, &e), 0);
}

static void process_ends(void)
{
	Podvm__Exited x = PODVM__EXITED__INIT;

	x.id = ctr->id;
	container_exited(&pod, &x);
}

static int count(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)e;
	ck_assert_str_eq(r->word[0], "writeback");
	++*(unsigned int *)arg;
	return writeback_undo(r, e);
}

/* Records that an undo would find, and undoes them. */
static unsigned int records(void)
{
	unsigned int n = 0;
	struct err e = { 0 };

	ck_assert_msg(!journal_undo(pod.journal, count, &n, &e), "%s", e.text);
	return n;
}

/* ---- a start that fails ------------------------------------------------------------- */

/* Nothing of it ran: its shim waits for nothing, and nothing is brought back. */
START_TEST(start_fails)
{
	struct err e = { 0 };

	ctr->state->status = STATE_CREATED;
	model.agent_rc = -EIO;
	ck_assert_int_eq(container_start(&pod, "c", &e), -EIO);
	ck_assert_int_eq(ctr->state->status, STATE_STOPPED);
	ck_assert_str_eq(told(), "+");
	ck_assert_int_eq(recv(shim_end, &e, 1, MSG_DONTWAIT), 0);
}
END_TEST

/* ---- out of memory ------------------------------------------------------------------ */

static void ends_out_of_memory(uint32_t sig)
{
	Podvm__Exited x = PODVM__EXITED__INIT;

	x.id = ctr->id;
	x.signal = sig;
	x.oom = true;
	container_exited(&pod, &x);
}

static void use_bundle(const char *path)
{
	free(ctr->state->bundle);
	ctr->state->bundle = strdup(path);
	ck_assert_ptr_nonnull(ctr->state->bundle);
}

/* The bundle tells it before the shim goes; once, also if the guest says it again. */
START_TEST(bundle_tells_of_memory)
{
	ck_assert_int_eq(mkdir("bundle", 0755), 0);
	use_bundle("bundle");
	ctr->lent = _i; /* it is not stopped at once, then */
	ends_out_of_memory(SIGKILL);
	ck_assert_int_eq(access("bundle/oom", F_OK), 0);
	ck_assert_int_eq(unlink("bundle/oom"), 0);
	ends_out_of_memory(SIGKILL);
	run_until_stopped();
	ends_out_of_memory(SIGKILL);
	ck_assert_uint_eq(kit_count("bundle"), 0);
	ck_assert_int_eq(ctr->state->exit_code, 137);
	ck_assert_str_eq(told(), "+");
}
END_TEST

/* One that lived on without what was killed: told, with its own exit code. */
START_TEST(init_survives_memory)
{
	ck_assert_int_eq(mkdir("bundle", 0755), 0);
	use_bundle("bundle");
	ends_out_of_memory(0);
	ck_assert_int_eq(access("bundle/oom", F_OK), 0);
	ck_assert_int_eq(ctr->state->exit_code, 0);
}
END_TEST

/* Another container of the guest, or one that is unknown: no file for this one. */
START_TEST(others_memory)
{
	Podvm__Exited x = PODVM__EXITED__INIT;
	char other[] = "other", exec[] = "exec";

	ck_assert_int_eq(mkdir("bundle", 0755), 0);
	use_bundle("bundle");
	x.oom = true;
	x.id = other;
	container_exited(&pod, &x);
	x.id = ctr->id;
	x.exec_id = exec;
	container_exited(&pod, &x);
	process_ends();
	run_until_stopped();
	ck_assert_uint_eq(kit_count("bundle"), 0);
}
END_TEST

/* The engine's bundle is gone, or has something of that name already. */
START_TEST(bundle_cannot_tell)
{
	use_bundle("nowhere");
	oom_forget(ctr);
	oom_tell(ctr);
	ck_assert_int_eq(mkdir("bundle", 0755), 0);
	use_bundle("bundle");
	ck_assert_int_eq(symlink("../elsewhere", "bundle/oom"), 0);
	oom_tell(ctr);
	ck_assert_int_ne(access("elsewhere", F_OK), 0);
	oom_forget(ctr);
	ck_assert_uint_eq(kit_count("bundle"), 0);
	oom_tell(ctr);
	ck_assert_int_eq(access("bundle/oom", F_OK), 0);
	oom_forget(ctr);
	oom_forget(ctr);
	ck_assert_uint_eq(kit_count("bundle"), 0);
}
END_TEST

/* ---- what the host has lent ------------------------------------------------------------ */

/* A root file system that is shared has no map; the volume comes back all the same. */
START_TEST(shared_root_with_a_volume)
{
	struct rawvol *list[1] = { NULL };

	ctr->lent = true;
	ctr->rawvols = list;
	ctr->n_rawvols = 1;
	process_ends();
	ck_assert_str_eq(told(), "");
	run_until_stopped();
	ck_assert_uint_eq(model.n_released, 1);
	ck_assert_str_eq(model.released[0], "v7");
	ck_assert_uint_eq(model.unplugged, 1);
	ck_assert(!ctr->lent);
	ck_assert_str_eq(told(), "+");
	ctr->rawvols = NULL;
}
END_TEST

/* A device that the monitor holds is asked for again at deletion, and the engine's
 * container ends meanwhile. */
START_TEST(device_is_held)
{
	struct err e = { 0 };

	ctr->map = (struct storage_map *)ctr;
	ctr->n_disks = 1;
	ctr->lent = model.root = true;
	model.back_rc = -EAGAIN;
	process_ends();
	run_until_stopped();
	ck_assert_uint_eq(model.n_released, 1);
	ck_assert_str_eq(model.released[0], "root-disk");
	ck_assert(ctr->lent);
	ck_assert_str_eq(told(), "+");
	ctr->committed = false; /* there is no shim to wait for */
	model.back_rc = 0;
	ck_assert_uint_eq(model.given_back, 1);
	ck_assert_msg(!container_delete(&pod, "c", false, &e), "%s", e.text);
	ck_assert_uint_eq(model.given_back, 2);
	ck_assert_ptr_null(pod.containers);
}
END_TEST

/* ---- the way back --------------------------------------------------------------------- */

static void plan_way(void)
{
	char opts[1200], cwd[256];
	struct err e = { 0 };

	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	kit_dirs("low");
	kit_dirs("eng/up");
	kit_dirs("eng/work");
	kit_dirs("m");
	snprintf(opts, sizeof(opts), "lowerdir=%s/low,upperdir=%s/eng/up,workdir=%s/eng/work", cwd,
		 cwd, cwd);
	ck_assert_int_eq(kit_overlay(opts, "m"), 0);
	ck_assert_msg(!writeback_new("m", &ctr->back.way, &e), "%s", e.text);
	ctr->back.config = (struct writeback_config){ .bytes_max = 1 << 20, .names_max = 100,
						      .ms_max = pod.config.write_back_ms };
	ck_assert_uint_gt(wayback_hold_ms(&pod, ctr), pod.config.write_back_ms);
}

static void record(int kind, const char *name, const struct delta_attr *x)
{
	struct delta_head h = { .kind = (uint8_t)kind, .name_len = (uint16_t)strlen(name),
				.len = x ? sizeof(*x) : 0 };
	struct err e = { 0 };

	ck_assert(!write_full(guest, &h, sizeof(h), &e) && !write_full(guest, name, h.name_len, &e) &&
		  !write_full(guest, x, h.len, &e));
}

/* The beginning of a delta: a new directory in the root. */
static void tell(void)
{
	struct delta_attr dir = { .mode = S_IFDIR | 0755 };

	record(DELTA_DIR, "", &dir);
	record(DELTA_DIR, "new", &dir);
	record(DELTA_END, "", NULL);
}

static void begin_way(void)
{
	struct err e = { 0 };

	plan_way();
	process_ends();
	ck_assert(wayback_pending(ctr));
	while (!ctr->back.running)
		ck_assert_int_ge(loop_step(pod.loop, -1, &e), 0);
	tell();
}

/* What is done needs no undo: its staging directory's name may be another's one day. */
START_TEST(record_is_retired)
{
	struct stat st;

	begin_way();
	ck_assert_str_eq(told(), "");
	if (_i)
		record(DELTA_END, "", NULL);
	if (_i)
		record(DELTA_DONE, "", NULL);
	else
		shutdown(guest, SHUT_RDWR);
	run_until_stopped();
	ck_assert_int_eq(stat("eng/up/new", &st), _i ? 0 : -1);
	if (_i)
		ck_assert_str_eq(told(), "+");
	else
		ck_assert_ptr_nonnull(strstr(told(), "+write-back failed"));
	ck_assert_uint_eq(kit_count("eng"), 2);
	ck_assert_uint_gt(journal_mark(pod.journal), 0);
	ck_assert_uint_eq(records(), 0);
}
END_TEST

/* What cannot be removed stays in the journal. */
START_TEST(record_stays)
{
	char stage[300];

	begin_way();
	snprintf(stage, sizeof(stage), "eng/%s/" "merged", writeback_name(ctr->back.way));
	/* The thread is there when it asks for more. */
	while (access("eng/up/new", F_OK) && access(stage, F_OK))
		usleep(1000);
	while (mount("t", stage, "tmpfs", 0, NULL) < 0)
		usleep(1000);
	shutdown(guest, SHUT_RDWR);
	run_until_stopped();
	ck_assert_uint_eq(kit_count("eng"), 3);
	ck_assert_uint_eq(records(), 1);
	ck_assert_uint_eq(kit_count("eng"), 2);
}
END_TEST

/* A guest that says nothing: all of it has an end. */
START_TEST(takes_too_long)
{
	pod.config.write_back_ms = 50;
	begin_way();
	run_until_stopped();
	ck_assert_ptr_nonnull(strstr(told(), "longer than they may"));
	ck_assert_uint_eq(records(), 0);
}
END_TEST

Suite *runtime_settle_suite(void)
{
	Suite *s = suite_create("runtime_settle");
	const char *why = kit_storage_missing(false);
	TCase *t = tcase_create("settle");

	if (why) {
		kit_skip("runtime_settle", why);
		return s;
	}
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, start_fails);
	tcase_add_loop_test(t, bundle_tells_of_memory, 0, 2);
	tcase_add_test(t, init_survives_memory);
	tcase_add_test(t, others_memory);
	tcase_add_test(t, bundle_cannot_tell);
	tcase_add_test(t, shared_root_with_a_volume);
	tcase_add_test(t, device_is_held);
	tcase_add_loop_test(t, record_is_retired, 0, 2);
	tcase_add_test(t, record_stays);
	tcase_add_test(t, takes_too_long);
	suite_add_tcase(s, t);
	return s;
}
