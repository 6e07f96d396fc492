// SPDX-License-Identifier: Apache-2.0
#include "tests/kit/joined.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"

/**
 * kit_joined_new() - make the namespaces; the test sets them up, then kit_joined_plan()
 */
void kit_joined_new(struct kit_joined *t)
{
	memset(t, 0, sizeof(*t));
	t->taps = 1;
	kit_net_new(&t->n);
}

/**
 * kit_joined_plan() - open a journal, remember the namespace, and plan it
 * @o: NULL: the defaults
 */
void kit_joined_plan(struct kit_joined *t, const struct netplug_options *o)
{
	struct err e = { 0 };

	/* Duplicate address detection changes what ip(8) prints. */
	kit_run("while ip addr | grep -q tentative; do sleep 0.1; done");
	snprintf(t->dir, sizeof(t->dir), "/tmp/netplug-joined.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(t->dir));
	t->dirfd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(journal_open(t->dirfd, "journal", &t->j, &e), 0);
	t->before = kit_net_state();
	ck_assert_msg(!netplug_plan(t->n.pod, o, &t->p, &e), "%s", e.text);
}

/**
 * kit_joined_try() - apply the plan
 *
 * Return: as netplug_apply()
 */
int kit_joined_try(struct kit_joined *t, struct err *e)
{
	return netplug_apply(t->p, t->n.pod, t->n.path, t->taps, t->j, t->port, &t->n_ports, e);
}

/**
 * kit_joined_apply() - apply the plan, which must go well
 */
void kit_joined_apply(struct kit_joined *t)
{
	struct err e = { 0 };

	ck_assert_msg(!kit_joined_try(t, &e), "%s", e.text);
}

/**
 * kit_joined_limited() - apply in a child that may write @limit bytes of journal
 * @killed: one byte more kills it, else it is an error
 *
 * Return: it got through
 */
bool kit_joined_limited(struct kit_joined *t, rlim_t limit, bool killed)
{
	struct rlimit r = { .rlim_cur = limit, .rlim_max = RLIM_INFINITY };
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct rlimit none = { 0 };
		struct err e = { 0 };

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGXFSZ, killed ? SIG_DFL : SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &r);
		_exit(kit_joined_try(t, &e) < 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (killed)
		ck_assert(WIFEXITED(status) ? !WEXITSTATUS(status) :
			  WTERMSIG(status) == SIGXFSZ);
	else
		ck_assert(WIFEXITED(status));
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static int undo_one(void *arg, const struct journal_rec *r, struct err *e)
{
	int rc = netplug_undo(r, e);

	++*(size_t *)arg;
	/* Once more at once: what is undone already is a success. */
	return rc < 0 ? rc : netplug_undo(r, e);
}

/**
 * kit_joined_undo() - undo the journal, each record twice
 *
 * Return: number of records
 */
size_t kit_joined_undo(struct kit_joined *t)
{
	struct err e = { 0 };
	size_t count = 0;

	ck_assert_msg(!journal_undo(t->j, undo_one, &count, &e), "%s", e.text);
	return count;
}

/**
 * kit_joined_close_taps() - as a VM that ends
 */
void kit_joined_close_taps(struct kit_joined *t)
{
	while (t->n_ports)
		netplug_port_close(&t->port[--t->n_ports]);
}

/**
 * kit_joined_done() - free all of it
 */
void kit_joined_done(struct kit_joined *t)
{
	struct err e = { 0 };

	kit_joined_close_taps(t);
	journal_free(t->j);
	netplug_plan_free(t->p);
	free(t->before);
	close(t->dirfd);
	ck_assert_int_eq(dir_remove(AT_FDCWD, t->dir, &e), 0);
	close(t->n.pod);
	close(t->n.host);
}
