// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Extended attributes of a node, through /proc/self/fd/N as in share-attr.c.
 *
 * Those of users, ACLs and file capabilities are the guest's to read and change.
 * Trusted and other security attributes (overlayfs, SELinux, IMA) mean something
 * to the host and nothing to its guest: they are not supported, and not listed.
 *
 * A file system without ACLs has none: a guest that asked for POSIX ACLs takes any
 * other error of a look at one for the answer to whether a file may be used.
 */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "lib/str.h"
#include "storage/share.h"

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

static bool is_acl(const char *name)
{
	return !strcmp(name, ACL_ACCESS) || !strcmp(name, ACL_DEFAULT);
}

static bool supported(const char *name)
{
	return str_starts(name, "user.") || is_acl(name) || !strcmp(name, "security.capability");
}

/* Return: 0 with the node in use; -EOPNOTSUPP; minus errno */
static int begin(struct call *c, struct node **ret)
{
	return supported(c->name) ? node_use(c->s, c->rq.node, ret) : -EOPNOTSUPP;
}

/**
 * share_setxattr() - set an attribute
 *
 * Return: 0 or minus errno
 */
int share_setxattr(struct call *c)
{
	struct node *n;
	int rc = begin(c, &n);

	if (rc < 0)
		return rc;
	if (c->rq.kill)
		cred_keep_no_bits();
	if (setxattr(fd_path(n->fd).s, c->name, c->data, c->len, (int)c->rq.flags) < 0)
		rc = -errno;
	if (c->rq.kill)
		cred_back();
	node_drop(c->s, n);
	return rc;
}

/* The answer to a question for @got bytes, or how many there would be. */
static int answer_size(struct call *c, ssize_t got)
{
	if (got < 0)
		return -errno;
	if (c->rq.size)
		c->out_len = (uint32_t)got;
	c->n = (uint32_t)got;
	return 0;
}

static size_t wanted(const struct call *c)
{
	return c->rq.size < SHARE_VALUE_BYTES ? c->rq.size : SHARE_VALUE_BYTES;
}

/**
 * share_getxattr() - read an attribute, or its length
 *
 * Return: 0; -ERANGE if it is longer than asked for; minus errno
 */
int share_getxattr(struct call *c)
{
	struct node *n;
	int rc = begin(c, &n);

	if (rc < 0)
		return rc;
	rc = answer_size(c, getxattr(fd_path(n->fd).s, c->name, c->out, wanted(c)));
	if (rc == -EOPNOTSUPP && is_acl(c->name))
		rc = -ENODATA;
	node_drop(c->s, n);
	return rc;
}

/* Leaves what the guest may see of a list. Return: its bytes. */
static size_t filter(char *list, size_t len)
{
	size_t at = 0, kept = 0;

	while (at < len) {
		size_t n = strnlen(list + at, len - at) + 1;

		if (at + n > len)
			break;
		if (supported(list + at)) {
			memmove(list + kept, list + at, n);
			kept += n;
		}
		at += n;
	}
	return kept;
}

/**
 * share_listxattr() - names of attributes, or their length
 *
 * Return: 0; -ERANGE if they are longer than asked for; minus errno
 */
int share_listxattr(struct call *c)
{
	struct node *n;
	ssize_t got;
	int rc = node_use(c->s, c->rq.node, &n);

	if (rc < 0)
		return rc;
	got = listxattr(fd_path(n->fd).s, (char *)c->out, SHARE_VALUE_BYTES);
	if (got > 0)
		got = (ssize_t)filter((char *)c->out, (size_t)got);
	if (got > 0 && c->rq.size && (size_t)got > c->rq.size) {
		errno = ERANGE;
		got = -1;
	}
	rc = answer_size(c, got);
	node_drop(c->s, n);
	return rc;
}

/**
 * share_removexattr() - remove an attribute
 *
 * Return: 0 or minus errno
 */
int share_removexattr(struct call *c)
{
	struct node *n;
	int rc = begin(c, &n);

	if (rc < 0)
		return rc;
	if (removexattr(fd_path(n->fd).s, c->name) < 0)
		rc = -errno;
	node_drop(c->s, n);
	return rc;
}
