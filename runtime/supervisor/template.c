// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A template is a pod's machine that was saved before anything of a tenant was in it:
 * kernel up, agent up and calling. A pod whose machine would be the same begins as a copy
 * of that (runtime/template.c keeps them); what makes it this pod's machine comes
 * afterwards, by the same calls as for any other: devices, then the agent's setup with
 * clock, entropy, name and network.
 *
 * The first pod that finds none makes one, with a monitor of its own. Nobody listens on the host's
 * port, so that the machine's agent, refused, calls again and again. That it has called once
 * tells that it is there. It is paused, saved, which writes its memory and the rest of its state into
 * two files, and killed. Who comes meanwhile and wants the same one waits for that. The maker's console is the
 * pod's, which a machine that is restored, or made without a template, begins anew.
 *
 * Maker and unfinished template are in the pod's journal while it works, and the records
 * are undone when it has worked, too: then there is nothing to undo any more. What the
 * template takes of the host's memory is of no pod, so the maker is not in the pod's cgroup.
 *
 * Whatever fails here, the caller goes on without: a template is never the reason
 * that a pod does not start.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "runtime/supervisor/supervisor.h"
#include "runtime/template.h"

/* How often a maker's machine is asked whether its agent has called. */
#define ASK_MS 2

/* How long another pod may take to make our template until we go on without; and how often we look. */
#define OTHERS_MS 20000
#define LOOK_MS 200

/* The same for who removes a broken one: the next pod will try again. */
#define DROP_MS 1000

/**
 * template_wanted() - whether the pod's machine shall come from a template
 *
 * Memory of reserved pages is no file's, and one that is taken at once is not shared.
 */
bool template_wanted(const struct pod *p)
{
	return p->config.templates && !p->config.prefault && p->config.pages != VMM_PAGES_2M &&
	       p->config.pages != VMM_PAGES_1G;
}

/* Waits for the agent's first call, which nobody takes. */
static int wait_call(struct pod *p, struct vmm *v, struct err *e)
{
	struct vmm_request rq = { .type = VMM_STATS };
	uint64_t end = clock_ms() + p->config.boot_timeout_ms;
	struct pollfd f = { .fd = v->sock, .events = POLLIN };
	struct vmm_reply rp;

	for (;;) {
		int rc = vmm_call(v, &rq, NULL, 0, VMM_ANSWER_MS, &rp, e);

		if (rc < 0)
			return rc;
		if (v->have_event)
			return machine_ended(v, e);
		if (rp.stats.connect_ns)
			return 0;
		if (clock_ms() >= end)
			return err_set(e, ETIMEDOUT, "the guest's agent did not call within %llu ms",
				       (unsigned long long)p->config.boot_timeout_ms);
		if (poll(&f, 1, ASK_MS) > 0)
			return machine_ended(v, e);
	}
}

static int save(struct pod *p, struct vmm *v, int state, struct err *e)
{
	struct vmm_request pause = { .type = VMM_PAUSE }, rq = { .type = VMM_SAVE };
	struct vmm_reply rp;
	int rc = vmm_call(v, &pause, NULL, 0, VMM_ANSWER_MS, &rp, e);

	if (!rc)
		rc = vmm_call(v, &rq, &state, 1, (int)p->config.boot_timeout_ms, &rp, e);
	/* One that has reset itself meanwhile is no machine to go on from. */
	return !rc && v->have_event ? machine_ended(v, e) : rc;
}

static int run_maker(struct pod *p, struct vmm *v, const struct machine_parts *m,
		     const struct template_new *n, struct err *e)
{
	struct vmm_request start = { .type = VMM_START };
	struct vmm_reply rp;
	int rc = machine_configure(p, v, m, n->memory, e);

	if (!rc)
		rc = vmm_call(v, &start, NULL, 0, VMM_ANSWER_MS, &rp, e);
	if (rc < 0)
		return rc;
	rc = wait_call(p, v, e);
	if (rc < 0)
		machine_last_words(p, e);
	return rc < 0 ? rc : save(p, v, n->state, e);
}

static int spawn_maker(struct pod *p, const struct machine_parts *m, const struct template_new *n,
		       struct err *e)
{
	struct vmm_spawn how = { .log_fd = 2, .cgroup_fd = -1 };
	struct vmm v = { .sock = -1, .pidfd = -1 };
	int rc = vmm_spawn(p->config.vmm, &how, &v, e);

	if (rc < 0)
		return err_wrap(e, "monitor %s", p->config.vmm);
	rc = machine_journal(p, &v, e);
	if (!rc) {
		place_nowhere(p, v.pid);
		rc = run_maker(p, &v, m, n, e);
	}
	machine_kill(&v);
	return rc;
}

/* With the lock. */
static int make_new(struct pod *p, int lock, const struct machine_parts *m,
		    const struct template_id *id, struct err *e)
{
	struct pod_undo u = { .busy = false };
	size_t mark = journal_mark(p->journal);
	struct template_new n;
	struct err undo;
	int rc = template_begin(lock, id, p->journal, &n, e);

	if (!rc)
		rc = spawn_maker(p, m, &n, e);
	template_new_done(&n);
	if (!rc)
		rc = template_finish(lock, id, &n, e);
	if (journal_undo_to(p->journal, mark, pod_undo, &u, &undo) < 0)
		log_error("pod %s: template %s: clean-up: %s", p->id, id->key, undo.text);
	return rc < 0 ? err_wrap(e, "template %s: not made", id->key) : 0;
}

/*
 * There is none: get the lock to make one. Somebody who makes the same one is waited for;
 * while another one is made, nobody waits.
 *
 * Return: 0 with a lock; 1: somebody has made it, it is open now; minus errno
 */
static int get_turn(struct pod *p, const struct template_id *id, struct template *ret,
		    int *ret_lock, struct err *e)
{
	uint64_t limit = p->config.boot_timeout_ms < OTHERS_MS ? p->config.boot_timeout_ms : OTHERS_MS;
	uint64_t end = clock_ms() + limit;
	int rc;

	do {
		rc = templates_lock(p->rootfd, true, LOOK_MS, ret_lock, e);
		if (rc != -ETIMEDOUT)
			return rc;
		rc = template_open(p->rootfd, id, ret, e);
		if (rc <= 0)
			return rc < 0 ? rc : 1;
		if (!template_in_making(p->rootfd, id))
			return err_set(e, EBUSY, "template %s: none yet, and another one is being made",
				       id->key);
	} while (clock_ms() < end);
	return err_set(e, ETIMEDOUT, "template %s: somebody has been making it for %llu ms", id->key,
		       (unsigned long long)limit);
}

/* One that somebody has made meanwhile is fine. */
static int get_new(struct pod *p, const struct machine_parts *m, const struct template_id *id,
		   struct template *ret, struct err *e)
{
	int lock = -1, rc = get_turn(p, id, ret, &lock, e);

	if (rc)
		return rc < 0 ? rc : 0;
	rc = template_open(p->rootfd, id, ret, e);
	if (rc == 1) {
		rc = make_new(p, lock, m, id, e);
		if (!rc) {
			pod_stamp(p, 0, "template %s made", id->key);
			rc = template_open(p->rootfd, id, ret, e);
		}
		if (rc == 1)
			rc = err_set(e, ENOENT, "template %s: it has gone", id->key);
	}
	templates_unlock(p->rootfd, &lock);
	return rc;
}

/**
 * template_get() - the template of a machine, made if there is none
 * @ret_id: template_id_done(), also after a failure
 * @ret:    template_close(), also after a failure; with @ino: one that is there and broken
 *
 * Return: 0 or minus errno
 */
int template_get(struct pod *p, const struct machine_parts *m, struct template_id *ret_id,
		 struct template *ret, struct err *e)
{
	_cleanup_close_ int vmm = open(p->config.vmm, O_PATH | O_CLOEXEC);
	int rc;

	if (vmm < 0)
		return err_sys(e, "monitor %s", p->config.vmm);
	rc = template_id(&m->config, vmm, m->kernel, m->initramfs, ret_id, e);
	if (!rc)
		rc = template_open(p->rootfd, ret_id, ret, e);
	return rc == 1 ? get_new(p, m, ret_id, ret, e) : rc;
}

/**
 * template_restore() - have the pod's monitor make its machine of a template
 *
 * Return: 0; minus errno: the monitor is of no use any more
 */
int template_restore(struct pod *p, const struct machine_parts *m, const struct template_id *id,
		     const struct template *t, struct err *e)
{
	_cleanup_close_ int console = machine_console(p, e);
	struct vmm_request rq = { .type = VMM_RESTORE };
	int fds[] = { m->kvm, t->memory, t->state, console };
	struct vmm_reply rp;
	int rc;

	if (console < 0)
		return console;
	rq.config = m->config;
	rc = vmm_call(&p->vmm, &rq, fds, 4, (int)p->config.boot_timeout_ms, &rp, e);
	if (rc < 0)
		return err_wrap(e, "template %s", id->key);
	pod_stamp(p, 0, "restored from template %s", id->key);
	return 0;
}

/**
 * template_drop() - remove a template that a pod could not start from, though it starts without
 */
void template_drop(struct pod *p, const struct template_id *id, const struct template *t)
{
	int lock = -1, rc;
	struct err e;

	rc = templates_lock(p->rootfd, false, DROP_MS, &lock, &e);
	if (!rc)
		rc = template_remove(lock, id->key, t->ino, &e);
	templates_unlock(p->rootfd, &lock);
	if (!rc)
		log_warn("pod %s: template %s: removed", p->id, id->key);
	else if (rc != -ENOENT) /* another pod was faster */
		log_warn("pod %s: template %s: stays: %s", p->id, id->key, e.text);
}
