// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Limits of a container that is there, and what it uses: files of its cgroup. An update
 * remembers what each file says before it is written; when the kernel refuses a value,
 * those that were written are written back, the last one first, and the request fails.
 * What the host asks to read is handed over as the kernel has it; who asks knows the
 * formats.
 *
 * Source: kernel Documentation/admin-guide/cgroup-v2.rst.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"

#define FILES_MAX 64
#define FILE_BYTES 16384

/* What a file of a limit says is a line or two. */
#define LIMIT_BYTES 4096

static int write_back(int dir, const char *file, const char *text, struct err *e)
{
	Podvm__KeyValue kv = PODVM__KEY_VALUE__INIT;

	/* An empty list of processors is a line without any. */
	if (!*text || !strcmp(text, "\n"))
		return file_write(dir, file, "\n", e);
	kv.key = strdupa(file);
	kv.value = strdupa(text);
	return cgroup_write(dir, &kv, e);
}

/* @was: what the first @n files said */
static void take_back(int dir, Podvm__KeyValue *const *v, char *const *was, size_t n)
{
	struct err e;

	while (n--)
		if (write_back(dir, v[n]->key, was[n], &e) < 0)
			log_error("agent: %s cannot be set back: %s", v[n]->key, e.text);
}

/**
 * limits_set() - write files of a cgroup, all or none
 * @dir: of the cgroup, borrowed
 *
 * Return: 0; -ENOENT for a file that the kernel does not have; what the kernel says of
 * the first value that it refuses
 */
int limits_set(int dir, Podvm__KeyValue *const *v, size_t n, struct err *e)
{
	char *was[FILES_MAX];
	size_t i, done = 0;
	int rc = 0;

	if (n > FILES_MAX)
		return err_set(e, E2BIG, "more than %d limits", FILES_MAX);
	for (i = 0; rc >= 0 && i < n; i++) {
		rc = cgroup_check_name(v[i]->key, e);
		if (rc >= 0)
			rc = file_read(dir, v[i]->key, LIMIT_BYTES, &was[i], NULL, e);
		if (rc == -ENOENT)
			rc = err_set(e, ENOENT, "cgroup: the guest's kernel has no %s",
				     v[i]->key);
		if (rc < 0)
			break;
		done++;
		rc = cgroup_write(dir, v[i], e);
	}
	/* Of a value of several lines some may have been taken. */
	if (rc < 0)
		take_back(dir, v, was, done);
	while (done)
		free(was[--done]);
	return rc;
}

/**
 * limits_update() - carry out the request
 *
 * Return: 0: it is answered; minus errno: all limits are as they were
 */
int limits_update(struct conn *c, const Podvm__ContainerUpdate *m, struct err *e)
{
	struct task *init = task_running(c->agent, m->id, e);
	int rc;

	if (!init)
		return -e->code;
	rc = limits_set(init->ctr->cgroup_fd, m->cgroup, m->n_cgroup, e);
	if (rc >= 0)
		conn_answer(c, NULL);
	return rc;
}

static int add_file(Podvm__CgroupFiles *to, int dir, const char *name, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	Podvm__KeyValue *kv;
	int rc = cgroup_check_name(name, e);

	if (rc < 0)
		return rc;
	rc = file_read(dir, name, FILE_BYTES, &text, NULL, e);
	if (rc == -ENOENT || rc == -ENODEV || rc == -EOPNOTSUPP || rc == -EFBIG)
		return 0;
	if (rc < 0)
		return rc;
	kv = mem_new(Podvm__KeyValue);
	if (!kv)
		return err_set(e, ENOMEM, "out of memory");
	podvm__key_value__init(kv);
	kv->key = strdup(name);
	kv->value = mem_steal(text);
	to->files[to->n_files++] = kv;
	return kv->key ? 0 : err_set(e, ENOMEM, "out of memory");
}

/**
 * limits_read() - what files of a cgroup say
 * @dir: of the cgroup, borrowed
 * @ret: zero-initialised; limits_read_done(), also after a failure
 *
 * Return: 0; -EINVAL for what is no file of a controller; minus errno. Files that are not
 * there, or say too much, are left out
 */
int limits_read(int dir, char *const *names, size_t n, Podvm__CgroupFiles *ret, struct err *e)
{
	size_t i;
	int rc = 0;

	if (n > FILES_MAX)
		return err_set(e, E2BIG, "more than %d files", FILES_MAX);
	ret->files = mem_new_n(Podvm__KeyValue *, n + 1);
	if (!ret->files)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; rc >= 0 && i < n; i++)
		rc = add_file(ret, dir, names[i], e);
	return rc;
}

/**
 * limits_read_done() - free what limits_read() has made
 */
void limits_read_done(Podvm__CgroupFiles *f)
{
	while (f->n_files) {
		Podvm__KeyValue *kv = f->files[--f->n_files];

		free(kv->key);
		free(kv->value);
		free(kv);
	}
	free(f->files);
	f->files = NULL;
}

/**
 * limits_tell() - carry out the request to read files
 *
 * Return: 0: it is answered; minus errno
 */
int limits_tell(struct conn *c, const Podvm__CgroupRead *m, struct err *e)
{
	Podvm__Response r = PODVM__RESPONSE__INIT;
	Podvm__CgroupFiles files = PODVM__CGROUP_FILES__INIT;
	struct task *init = task_running(c->agent, m->id, e);
	int rc;

	if (!init)
		return -e->code;
	rc = limits_read(init->ctr->cgroup_fd, m->files, m->n_files, &files, e);
	if (rc >= 0) {
		r.body_case = PODVM__RESPONSE__BODY_CGROUP_FILES;
		r.cgroup_files = &files;
		c->busy = false;
		conn_send(c, &r);
	}
	limits_read_done(&files);
	return rc;
}
