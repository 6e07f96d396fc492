// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The CNI commands, behind the checks of environment and configuration.
 *
 * ADD joins CNI_IFNAME, the interface that the chain was called for, and no other: what
 * else is in the sandbox belongs to other chains, which have podvm-netplug or not. Its
 * journal (attach-store.c) is found again by network, container and interface, and by
 * nothing else, so that DEL needs neither the namespace nor prevResult, and GC neither. A
 * result that could not be printed is taken back.
 *
 * DEL, and GC for what is not among the valid attachments, undo a journal. A namespace that
 * is gone has taken everything with it, which is a success. GC leaves alone what
 * another command has locked, and goes on behind a failure.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/capability.h>
#include <sys/syscall.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/cni.h"
#include "netplug/netns.h"

static int code_of(int rc, int otherwise)
{
	return rc == -EAGAIN ? CNI_TRY_AGAIN : otherwise;
}

static void file_name(const struct cni_env *env, const struct cni_conf *c, char name[NAME_MAX + 1])
{
	snprintf(name, NAME_MAX + 1, "cni:%s:%s:%s", c->name, env->id, env->ifname);
}

/* Opens the journal. Return: 0; -ENOENT without @e if there is none and @make is not set */
static int open_journal(const struct cni_env *env, const struct cni_conf *c, bool make,
			int *ret_store, struct attachment *ret, struct err *e)
{
	char name[NAME_MAX + 1];
	int rc = attach_store(ret_store, e);

	file_name(env, c, name);
	return rc < 0 ? rc : attachment_open(*ret_store, name, make, ret, e);
}

/* A network namespace that is not ours. Return: descriptor; minus errno */
static int open_sandbox(const struct cni_env *env, struct err *e)
{
	_cleanup_close_ int fd = netns_open(env->netns, e);
	_cleanup_close_ int own = fd < 0 ? -1 : netns_self(e);
	int back, rc;

	if (fd < 0 || own < 0)
		return -e->code;
	rc = netns_enter(fd, &back, e);
	if (rc < 0)
		return rc;
	netns_leave(back);
	rc = netns_same(fd, own, e);
	if (rc < 0)
		return rc;
	if (rc)
		return err_set(e, EINVAL, "it is the namespace of the caller, the node's own");
	return fd_steal(&fd);
}

/* Return: CNI_OK; a CNI error code */
static int open_netns(const struct cni_env *env, int *ret_fd, struct err *e)
{
	int fd = open_sandbox(env, e);

	if (fd < 0) {
		err_wrap(e, "CNI_NETNS");
		return CNI_BAD_ENVIRONMENT;
	}
	*ret_fd = fd;
	return CNI_OK;
}

static int print_result(const struct cni_env *env, const struct cni_conf *c,
			const struct plan_port *port, FILE *out, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int rc = cni_result(c, env, port, &text, e);

	if (rc < 0)
		return rc == -EEXIST ? CNI_BAD_CONFIG : CNI_IO_FAILURE;
	fprintf(out, "%s\n", text);
	if (!fflush(out) && !ferror(out))
		return CNI_OK;
	err_sys(e, "write the result");
	return CNI_IO_FAILURE;
}

static int check_same(const struct cni_env *env, const struct cni_conf *c, int netns_fd,
		      struct attach_about *about, struct err *e)
{
	struct netplug_plan *p = NULL;
	struct scan *s = NULL;
	struct nl *nl = NULL;
	char id[NETNS_ID_BYTES] = "";
	int rc = nl_open(netns_fd, &nl, e);

	if (!rc)
		rc = scan_read(nl, &s, e);
	if (!rc && about)
		rc = apply_netns_id(netns_fd, nl, id, e);
	if (!rc && about && !scan_link_named(s, about->ask.tap))
		rc = err_set(e, ESTALE, "interface %s: its tap %s is gone", env->ifname,
			     about->ask.tap);
	if (!rc)
		rc = attach_plan(s, env->ifname, false, &p, e);
	if (!rc && about && strcmp(id, about->id) != 0)
		rc = err_set(e, ESTALE, "CNI_NETNS is another namespace than that of ADD");
	if (!rc && about && (!p->port[0].there || strcmp(p->port[0].tap, about->ask.tap) != 0))
		rc = err_set(e, ESTALE, "interface %s: it is not joined to its tap %s", env->ifname,
			     about->ask.tap);
	if (!rc)
		rc = cni_prev_same(c, env, s, &p->port[0], about, e);
	netplug_plan_free(p);
	scan_free(s);
	nl_free(nl);
	return rc;
}

/* With the journal open. Return: CNI code */
static int add(const struct cni_env *env, const struct cni_conf *c, int netns_fd,
	       struct attachment *a, FILE *out, struct err *e)
{
	struct plan_port port;
	struct err undo;
	bool made;
	int rc = attach_interface(netns_fd, env->netns, env->ifname, &c->ask, a, &port, &made, e);

	if (!rc)
		rc = check_same(env, c, netns_fd, NULL, e);
	else
		made = false;
	if (rc < 0)
		rc = code_of(rc, CNI_NOT_JOINED);
	else
		rc = print_result(env, c, &port, out, e);
	if (rc && made)
		attachment_undo(a, &undo);
	return rc;
}

/**
 * cni_add() - join CNI_IFNAME to a tap, and print the result
 *
 * Return: CNI_OK; a CNI error code with @e set, then nothing was changed
 */
int cni_add(const struct cni_env *env, const struct cni_conf *c, FILE *out, struct err *e)
{
	_cleanup_close_ int netns_fd = -1, store = -1;
	struct attachment a = ATTACHMENT_INIT;
	int rc = cni_prev_check(c, env, e);

	if (!rc)
		rc = open_netns(env, &netns_fd, e);
	if (rc)
		return rc;
	rc = open_journal(env, c, true, &store, &a, e);
	if (rc < 0)
		return code_of(rc, CNI_IO_FAILURE);
	rc = add(env, c, netns_fd, &a, out, e);
	attachment_close(&a);
	return rc;
}

/**
 * cni_del() - take the tap away
 *
 * Return: CNI_OK, also if it is gone already; a CNI error code with @e set
 */
int cni_del(const struct cni_env *env, const struct cni_conf *c, struct err *e)
{
	struct attachment a = ATTACHMENT_INIT;
	_cleanup_close_ int store = -1;
	int rc = open_journal(env, c, false, &store, &a, e);

	if (rc == -ENOENT)
		return CNI_OK;
	if (rc < 0)
		return code_of(rc, CNI_IO_FAILURE);
	rc = attachment_undo(&a, e);
	attachment_close(&a);
	return rc < 0 ? code_of(rc, CNI_NOT_UNDONE) : CNI_OK;
}

/**
 * cni_check() - compare what is there with prevResult, and with what ADD made
 *
 * Return: CNI_OK; a CNI error code with @e set
 */
int cni_check(const struct cni_env *env, const struct cni_conf *c, struct err *e)
{
	_cleanup_close_ int netns_fd = -1, store = -1;
	struct attachment a = ATTACHMENT_INIT;
	struct attach_about about;
	int rc = cni_prev_check(c, env, e);

	if (!rc)
		rc = open_netns(env, &netns_fd, e);
	if (rc)
		return rc;
	rc = open_journal(env, c, false, &store, &a, e);
	if (!rc)
		rc = attachment_about(&a, &about, e);
	if (!rc)
		rc = check_same(env, c, netns_fd, &about, e);
	attachment_close(&a);
	if (rc != -ENOENT)
		return rc < 0 ? code_of(rc, CNI_DIFFERS) : CNI_OK;
	err_set(e, ENOENT, "container %s has no attachment of interface %s to network %s", env->id,
		env->ifname, c->name);
	return CNI_UNKNOWN_CONTAINER;
}

struct gc {
	const struct cni_conf *c;
	int code;
	struct err *e; /* the first failure */
};

/* Whether container and interface of a file's name, "ID:INTERFACE", are valid ones. */
static bool is_valid(const struct cni_conf *c, const char *name)
{
	char want[NAME_MAX + 1];
	struct err ignored;
	size_t i;

	for (i = 0; i < json_len(&c->valid); i++) {
		struct jnode el = json_at(&c->valid, i);
		const char *id = "", *ifname = "";

		json_str(&el, "containerID", &id, &ignored);
		json_str(&el, "ifname", &ifname, &ignored);
		if (snprintf(want, sizeof(want), "%s:%s", id, ifname) < (int)sizeof(want) &&
		    !strcmp(want, name))
			return true;
	}
	return false;
}

static int on_gc(void *arg, int dirfd, const char *name, struct err *e)
{
	struct attachment a = ATTACHMENT_INIT;
	struct gc *gc = arg;
	int rc;

	/* "cni:NETWORK:ID:INTERFACE": the prefix was compared. */
	if (is_valid(gc->c, name + strlen("cni::") + strlen(gc->c->name)))
		return 0;
	rc = attachment_open(dirfd, name, false, &a, e);
	if (rc == -ENOENT || rc == -EAGAIN)
		return 0;
	if (!rc)
		rc = attachment_undo(&a, e);
	attachment_close(&a);
	if (rc < 0 && !gc->code) {
		gc->code = CNI_NOT_UNDONE;
		*gc->e = *e;
		err_wrap(gc->e, "%s", name);
	}
	return 0;
}

/* Every element has the two members, as strings: else a valid one could be removed. */
static int check_valid(const struct cni_conf *c, struct err *e)
{
	size_t i;

	for (i = 0; i < json_len(&c->valid); i++) {
		struct jnode el = json_at(&c->valid, i);
		const char *text;
		int rc = json_as_obj(&el, e) < 0 ? -1 : json_str(&el, "containerID", &text, e);

		if (rc == 1)
			rc = json_str(&el, "ifname", &text, e);
		if (!rc)
			json_fail(&el, NULL, e, "containerID or ifname is missing");
		if (rc != 1)
			return rc ? CNI_UNDECODABLE : CNI_BAD_CONFIG;
	}
	return CNI_OK;
}

/**
 * cni_gc() - take away what is not among the valid attachments of the network
 *
 * Return: CNI_OK; a CNI error code with @e set
 */
int cni_gc(const struct cni_conf *c, struct err *e)
{
	_cleanup_close_ int store = -1;
	struct err first = {0};
	struct gc gc = {.c = c, .e = &first};
	char prefix[CNI_NAME_MAX + 8];
	int rc = check_valid(c, e);

	if (rc)
		return rc;
	if (attach_store(&store, e) < 0)
		return CNI_IO_FAILURE;
	snprintf(prefix, sizeof(prefix), "cni:%s:", c->name);
	if (attach_each(store, prefix, on_gc, &gc, e) < 0)
		return CNI_IO_FAILURE;
	if (gc.code)
		*e = first;
	return gc.code;
}

static int check_privilege(struct err *e)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {0};

	if (syscall(SYS_capget, &h, d) < 0)
		return err_sys(e, "capget");
	if (!(d[0].effective & 1u << CAP_NET_ADMIN) || !(d[0].effective & 1u << CAP_SYS_ADMIN))
		return err_set(e, EPERM, "it needs CAP_NET_ADMIN and CAP_SYS_ADMIN (root)");
	return 0;
}

/**
 * cni_status() - whether ADD could work on this node
 *
 * Return: CNI_OK; CNI_NOT_AVAILABLE with @e set
 */
int cni_status(struct err *e)
{
	_cleanup_close_ int tun = -1, store = -1;

	if (check_privilege(e) < 0 || attach_store(&store, e) < 0)
		return CNI_NOT_AVAILABLE;
	if (faccessat(store, ".", W_OK, AT_EACCESS) < 0) {
		err_sys(e, ATTACH_STATE_DIR);
		return CNI_NOT_AVAILABLE;
	}
	tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (tun < 0) {
		err_sys(e, "/dev/net/tun (is the tun module loaded?)");
		return CNI_NOT_AVAILABLE;
	}
	return CNI_OK;
}
