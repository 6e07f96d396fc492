// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * delete: with a living pod the supervisor does it; when that was the pod's
 * last container, the command waits until the supervisor has gone, so that
 * nothing of the pod is left when it returns. With a dead pod, pod_recover()
 * has undone everything but the record, which is removed here.
 */
#include <errno.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/cli/cli.h"
#include "runtime/hooks.h"

static void poststop(const struct state *s)
{
	struct spec *spec;

	if (!s->bundle || spec_load_hooks(s->bundle, &spec, NULL) < 0)
		return; /* the engine may have removed the bundle */
	hooks_poststop(spec, s);
	spec_free(spec);
}

static int delete_alive(struct cli *c, struct state *s, int sock, bool force,
			struct err *e)
{
	Podvm__Pod__Delete m = PODVM__POD__DELETE__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(delete_ = &m, DELETE);
	Podvm__Pod__Response *rs;
	bool ending;
	int rc;

	m.id = s->id;
	m.force = force;
	rc = pod_call(sock, &rq, NULL, 0, &rs, e);
	if (rc < 0)
		return rc;
	ending = rs->ending;
	podvm__pod__response__free_unpacked(rs, NULL);
	return ending ? pod_wait_end(c->rootfd, s->pod, sock, e) : 0;
}

/*
 * One try. -EAGAIN: the pod is neither alive nor dead yet (its supervisor is
 * on its way out and still holds the lock).
 */
static int delete_once(struct cli *c, struct state *s, bool force,
		       struct err *e)
{
	_cleanup_close_ int sock = -1;
	int rc = -EPIPE;

	if (!pod_connect(c->rootfd, s->pod, &sock, NULL))
		rc = delete_alive(c, s, sock, force, e);
	/* -ENOENT: a new pod of this id, which does not know the container. */
	if (rc != -EPIPE && rc != -ENOENT)
		return rc;
	if (rc == -EPIPE) {
		rc = pod_recover(c->rootfd, s->pod, e);
		if (rc)
			return rc < 0 ? rc : -EAGAIN;
	}
	return state_remove(c->rootfd, s->id, e);
}

/**
 * delete_container() - the whole of delete
 * @force: kill it first if it runs; a container that does not exist is a success
 *
 * Return: 0 or minus errno
 */
int delete_container(struct cli *c, const char *id, bool force, struct err *e)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	uint64_t end = clock_ms() + POD_END_MS;
	struct state *s;
	int rc = pod_load_state(c->rootfd, id, &s, e);

	if (rc == -ENOENT && force)
		return 0;
	if (rc == -EINVAL && force && !state_check_id(id, NULL))
		return state_remove(c->rootfd, id, e); /* a damaged record */
	if (rc < 0)
		return rc;
	while ((rc = delete_once(c, s, force, e)) == -EAGAIN) {
		if (clock_ms() > end) {
			rc = err_set(e, EBUSY, "container %s: its pod is busy; try again", id);
			break;
		}
		nanosleep(&pause, NULL);
	}
	if (!rc)
		poststop(s);
	state_free(s);
	return rc;
}

/**
 * cmd_delete() - podvm delete
 */
int cmd_delete(struct cli *c, int argc, char **argv, struct err *e)
{
	bool force = false;
	const struct opt t[] = {
		OPT_FLAG('f', "force", &force, "kill it if it runs; be content if it does not exist"),
		OPT_END
	};
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);

	return rc <= 0 ? rc : delete_container(c, argv[first], force, e);
}
