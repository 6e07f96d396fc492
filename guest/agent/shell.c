// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A shell of the mini-OS, for who looks for a fault. The mini-OS has no program but the
 * agent, so the host brings one, in parts, which are kept in memory with the connection.
 * A file that somebody has open for writing cannot be executed: when all of it is there,
 * its only descriptor is replaced by one for reading. The memory goes back when the
 * process has ended.
 *
 * Limit: PROGRAM_MAX bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"

#define PROGRAM_MAX (16u << 20)

static int add_part(struct conn *c, const ProtobufCBinaryData *part, struct err *e)
{
	struct stat st = { 0 };
	int rc;

	if (!part->len)
		return 0;
	if (c->program < 0)
		c->program = memfd_create("shell", MFD_CLOEXEC);
	if (c->program < 0 || fstat(c->program, &st) < 0)
		return err_sys(e, "shell: program");
	if ((uint64_t)st.st_size + part->len > PROGRAM_MAX)
		return err_set(e, EFBIG, "shell: a program of more than %u MiB", PROGRAM_MAX >> 20);
	rc = write_full(c->program, part->data, part->len, e);
	return rc < 0 ? err_wrap(e, "shell: program") : 0;
}

/* From now on it can be executed. */
static int finish(struct conn *c, struct err *e)
{
	int fd;

	if (c->program < 0)
		return err_set(e, EINVAL, "shell: no program came before the process");
	fd = open(fd_path(c->program).s, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "shell: program");
	fd_close(&c->program);
	c->program = fd;
	return 0;
}

/**
 * shell_open() - take a part of a shell's program, or run it
 *
 * Return: 0: answered, now or when the process runs; minus errno
 */
int shell_open(struct conn *c, const Podvm__ShellOpen *m, struct err *e)
{
	int rc;

	if (c->main || c->owner)
		return err_set(e, EINVAL, "a process is owned by a connection of its own");
	rc = add_part(c, &m->program, e);
	if (rc >= 0 && !m->process) {
		conn_answer(c, NULL);
		return 0;
	}
	if (rc >= 0)
		rc = finish(c, e);
	if (rc >= 0)
		rc = container_shell(c->agent, m, c, e);
	fd_close(&c->program);
	return rc;
}
