// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a bundle says about the relay of the pod's localhost: by its annotation, and by a
 * resolv.conf that names the DNS stub which its engine has in the pod's network namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/frame.h"
#include "lib/mem.h"
#include "runtime/spec_impl.h"

/* Longer ones are no resolv.conf (glibc reads three name servers of it). */
#define RESOLV_BYTES 65536

/**
 * spec_relay() - set @s->relay_off
 *
 * Return: 0; -EINVAL naming the annotation
 */
int spec_relay(struct spec *s, struct err *e)
{
	const char *text = spec_annotation(s, SPEC_RELAY);

	if (text && strcmp(text, "auto") && strcmp(text, "off"))
		return err_set(e, EINVAL,
			       "/annotations/" SPEC_RELAY ": must be auto or off, not %s",
			       SPEC_Q(text));
	s->relay_off = text && !strcmp(text, "off");
	return 0;
}

/* Whether a line is "nameserver RELAY_DNS_IP", as resolv.conf(5) has it. */
static bool names_stub(const char *line)
{
	static const char key[] = "nameserver";
	size_t len = strlen(RELAY_DNS_IP);

	if (!str_starts(line, key))
		return false;
	line += sizeof(key) - 1;
	if (*line != ' ' && *line != '\t')
		return false;
	line += strspn(line, " \t");
	return str_starts(line, RELAY_DNS_IP) && (!line[len] || strchr(" \t\r\n", line[len]));
}

/**
 * spec_names_stub() - whether a resolv.conf names RELAY_DNS_IP
 * @path: anything, of the bundle
 */
bool spec_names_stub(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ char *text = NULL;
	const char *line;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    file_read(AT_FDCWD, fd_path(fd).s, RESOLV_BYTES, &text, NULL, NULL) < 0)
		return false;
	for (line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (names_stub(line))
			return true;
	}
	return false;
}

/**
 * spec_resolv_conf() - the host's file that is the container's resolv.conf
 * @s: with the bundle's own mounts
 *
 * Return: @s's; NULL: the image's own
 */
const char *spec_resolv_conf(const struct spec *s)
{
	const Podvm__ContainerCreate *c = s->create;
	size_t i;

	for (i = c->n_mounts; i--;)
		if (!strcmp(c->mounts[i]->destination, "/etc/resolv.conf"))
			return c->mounts[i]->source;
	return NULL;
}
