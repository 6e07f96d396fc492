// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The containers of `podvm list` that were handed to the trusted runtime. What they
 * do is known by that runtime alone: it is asked once, by its own list command, for
 * all of them. One that does not answer leaves its containers as "unknown", and the
 * list goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "runtime/cli/cli.h"
#include "runtime/handed.h"

/* Until the trusted runtime must have told its list. */
#define ANSWER_MS 20000
#define ANSWER_MAX_BYTES (16u << 20)

/**
 * struct answer - what one runtime told
 * @runtime: its path; "": none was asked yet
 * @doc:     owned; NULL: it did not answer
 */
struct answer {
	char runtime[PATH_MAX];
	struct json_doc *doc;
};

struct print {
	const struct cli *cli;
	struct handed_rows rows;
	struct answer last;
};

static int read_answer(int fd, struct json_doc **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct json_doc *doc;
	struct jnode root;
	size_t len;
	int rc = file_read(AT_FDCWD, fd_path(fd).s, ANSWER_MAX_BYTES, &text, &len, e);

	if (!rc)
		rc = json_parse(text, len, &doc, e);
	if (rc < 0)
		return rc;
	root = json_root(doc);
	/* A list without containers is null in one runtime, an empty array in another. */
	if (root.obj && !json_as_obj(&root, NULL)) {
		json_free(doc);
		return err_set(e, EINVAL, "an object, not a list");
	}
	*ret = doc;
	return 0;
}

static int ask(const char *runtime, const char *state_root, struct json_doc **ret, struct err *e)
{
	_cleanup_close_ int out = memfd_create("list", MFD_CLOEXEC), pidfd = -1;
	char root[PATH_MAX];
	char *const argv[] = {strdupa(runtime),	   strdupa("--root"), root, strdupa("list"),
			      strdupa("--format"), strdupa("json"),   NULL};
	struct proc_fd map[] = {{out, 1}};
	struct proc_spec s = {.path = runtime, .argv = argv, .fds = map, .n_fds = 1};
	int rc, status;

	if (out < 0)
		return err_sys(e, "memfd_create");
	if (snprintf(root, sizeof(root), "%s/" HANDED_ROOT, state_root) >= (int)sizeof(root))
		return err_set(e, ENAMETOOLONG, "--root: path too long");
	rc = proc_spawn(&s, NULL, &pidfd, e);
	if (rc < 0)
		return rc;
	rc = proc_wait(pidfd, ANSWER_MS, &status, e);
	if (rc == -ETIMEDOUT) {
		proc_kill(pidfd, SIGKILL);
		proc_wait(pidfd, -1, &status, NULL);
	}
	if (!rc && status)
		rc = err_set(e, EIO, "exit status %d", status);
	return rc < 0 ? rc : read_answer(out, ret, e);
}

/* What the runtime told of a container; 1 when it did. */
static int entry(const struct jnode *list, const char *id, struct jnode *ret)
{
	const char *its;
	size_t i, n = list->obj ? json_len(list) : 0;

	for (i = 0; i < n; i++) {
		*ret = json_at(list, i);
		if (json_str(ret, "id", &its, NULL) == 1 && !strcmp(its, id))
			return 1;
	}
	return 0;
}

static void print_row(const struct handed *h, const struct jnode *n)
{
	const char *status = "unknown", *created = "";
	uint64_t pid = 0;

	if (n) {
		json_str(n, "status", &status, NULL);
		json_str(n, "created", &created, NULL);
		json_u64(n, "pid", &pid, NULL);
	}
	printf(CLI_LIST_ROW, h->id, (int)pid, status, h->bundle, created, STATE_OWNER, h->pod,
	       h->runtime);
}

static int print_object(const struct handed *h, const struct jnode *n, bool first, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct json_out *o = json_out_new();
	struct jnode m;
	size_t i;
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	if (!n) {
		json_out_str(o, "id", h->id);
		json_out_str(o, "status", "unknown");
		json_out_str(o, "bundle", h->bundle);
	}
	for (i = 0; n && !json_member(n, i, &m); i++)
		json_out_copy(o, m.key, &m);
	json_out_str(o, "pod", h->pod);
	json_out_str(o, "runtime", h->runtime);
	rc = json_out_text(o, true, &text, e);
	json_out_free(o);
	if (!rc)
		printf("%s%s", first ? "" : ",\n", text);
	return rc;
}

static int print_one(void *arg, const struct handed *h, struct err *e)
{
	struct print *p = arg;
	struct jnode root = {.obj = NULL}, n;
	struct err why;
	bool told;

	if (!*h->runtime)
		return 0; /* a machine that is being made */
	if (p->rows.quiet) {
		printf("%s\n", h->id);
		return 0;
	}
	if (strcmp(p->last.runtime, h->runtime)) {
		json_free(p->last.doc);
		p->last.doc = NULL;
		str_copy(p->last.runtime, sizeof(p->last.runtime), h->runtime);
		if (ask(h->runtime, p->cli->root, &p->last.doc, &why) < 0)
			log_warn("%s list: %s", h->runtime, why.text);
	}
	if (p->last.doc)
		root = json_root(p->last.doc);
	told = entry(&root, h->id, &n);
	if (p->rows.json)
		return print_object(h, told ? &n : NULL, !p->rows.n++, e);
	print_row(h, told ? &n : NULL);
	return 0;
}

/**
 * handed_list() - print the containers that the trusted runtime has
 * @rows: how, and how many were printed before
 *
 * Return: 0 or minus errno
 */
int handed_list(const struct cli *c, const struct handed_rows *rows, struct err *e)
{
	struct print p = {.cli = c, .rows = *rows};
	int rc = handed_each(c->rootfd, print_one, &p, e);

	json_free(p.last.doc);
	return rc;
}
