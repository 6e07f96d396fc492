// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The commands "attach" and "detach": what the CNI plugin does, for people, and for VMMs
 * that no engine starts. Attachments are found again by namespace and interface. Each
 * command first takes away what killed ones have left, and the files of namespaces that
 * are gone. If one of several interfaces fails, those before it are detached again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/attach.h"
#include "netplug/cmd.h"
#include "netplug/target.h"

/**
 * struct job - one command
 * @s:     what is in the namespace now
 * @made:  attachments of this command
 */
struct job {
	struct target t;
	struct attach_ask ask;
	const char *ifname, *tap, *owner;
	uint64_t queues;
	int store;
	struct nl *nl;
	struct scan *s;
	char id[NETNS_ID_BYTES];
	struct attachment made[NETPLUG_PORTS_MAX];
	size_t n_made;
};

static int look(struct job *b, struct err *e)
{
	scan_free(b->s);
	b->s = NULL;
	return scan_read(b->nl, &b->s, e);
}

static bool is_whole(const struct job *b, const struct attach_about *about)
{
	struct netplug_plan *p = NULL;
	struct scan *s = b->s;
	struct err ignored;
	bool whole = !attach_plan(s, about->ifname, false, &p, &ignored) && p->port[0].there &&
		     !strcmp(p->port[0].tap, about->ask.tap);

	netplug_plan_free(p);
	return whole;
}

/* Whether an attachment's namespace is there. Return: 1, 0, minus errno */
static int is_there(const struct attach_about *about, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct nl *nl = NULL;
	int rc = apply_find_netns(about->path, about->id, &nl, &fd, e);

	nl_free(nl);
	return rc;
}

/* Undoes what is of no use any more; what somebody is at work on, or resists, stays. */
static int on_settle(void *arg, int dirfd, const char *name, struct err *e)
{
	struct attachment a = ATTACHMENT_INIT;
	struct attach_about about;
	struct job *b = arg;
	struct err ignored;

	(void)e;
	if (attachment_open(dirfd, name, false, &a, &ignored) < 0)
		return 0;
	if (!attachment_about(&a, &about, &ignored) &&
	    (!is_there(&about, &ignored) || (!strcmp(about.id, b->id) && !is_whole(b, &about))))
		attachment_undo(&a, &ignored);
	attachment_close(&a);
	return 0;
}

static int job_open(struct job *b, struct err *e)
{
	int rc;

	if (!b->t.word && !b->t.netns && b->t.pid == UINT64_MAX)
		return err_set(e, EINVAL,
			       "TARGET is missing: the pod's network namespace, as a path, a name "
			       "or a process's id");
	rc = target_open(&b->t, e);
	if (!rc)
		rc = attach_store(&b->store, e);
	if (!rc)
		rc = nl_open(b->t.netns_fd, &b->nl, e);
	if (!rc)
		rc = apply_netns_id(b->t.netns_fd, b->nl, b->id, e);
	if (!rc)
		rc = look(b, e);
	if (!rc)
		rc = attach_each(b->store, "attach:", on_settle, b, e);
	return rc ? rc : look(b, e);
}

static void job_close(struct job *b)
{
	while (b->n_made)
		attachment_close(&b->made[--b->n_made]);
	scan_free(b->s);
	nl_free(b->nl);
	fd_close(&b->store);
	target_close(&b->t);
}

static int parse_owner(const char *text, struct attach_ask *ask, struct err *e)
{
	char uid[16] = "";
	size_t len = strcspn(text, ":");
	uint64_t u = UINT32_MAX, g = UINT32_MAX;

	snprintf(uid, sizeof(uid), "%.*s", (int)(len < 15 ? len : 15), text);
	if ((*uid && (parse_u64(uid, &u) < 0 || u >= UINT32_MAX)) ||
	    (text[len] && (parse_u64(text + len + 1, &g) < 0 || g >= UINT32_MAX)) || len > 10)
		return err_set(e, EINVAL, "--owner: UID, UID:GID or :GID, as numbers");
	ask->uid = (uint32_t)u;
	ask->gid = (uint32_t)g;
	return 0;
}

static int parse_ask(struct job *b, struct err *e)
{
	if (!b->queues || b->queues > ATTACH_QUEUES_MAX)
		return err_set(e, EINVAL, "--queues: 1 to %d", ATTACH_QUEUES_MAX);
	b->ask.queues = (uint32_t)b->queues;
	if (b->tap && !attach_name_ok(b->tap))
		return err_set(e, EINVAL, "--tap: no name of an interface");
	if (b->tap)
		str_copy(b->ask.tap, sizeof(b->ask.tap), b->tap);
	return b->owner ? parse_owner(b->owner, &b->ask, e) : 0;
}

static int attach_one(struct job *b, struct plan_port *port, struct err *e)
{
	struct attachment *a = &b->made[b->n_made];
	char name[NAME_MAX + 1];
	bool made = false;
	int rc;

	snprintf(name, sizeof(name), "attach:%s:%s", b->id, port->name);
	rc = attachment_open(b->store, name, true, a, e);
	if (rc < 0)
		return rc;
	rc = attach_interface(b->t.netns_fd, b->t.path, port->name, &b->ask, a, port, &made, e);
	if (!rc && made)
		b->n_made++;
	else
		attachment_close(a);
	return rc;
}

/* Joins all that is asked for, or nothing. */
static int attach_all(struct job *b, struct err *e)
{
	struct netplug_plan *p = NULL;
	struct err undo;
	size_t i;
	int rc = attach_plan(b->s, b->ifname, true, &p, e);

	if (!rc && b->tap && p->n_ports > 1)
		rc = err_set(e, EINVAL,
			     "--tap names one tap, and there are %zu interfaces: say --interface",
			     p->n_ports);
	for (i = 0; !rc && i < p->n_ports; i++)
		rc = attach_one(b, &p->port[i], e);
	for (i = b->n_made; rc < 0 && i;)
		attachment_undo(&b->made[--i], &undo);
	netplug_plan_free(p);
	return rc;
}

static void print_ports(const struct netplug_plan *p)
{
	size_t i;

	printf("%-15s %-15s %6s  %-17s %6s\n", "INTERFACE", "TAP", "QUEUES", "MAC", "MTU");
	for (i = 0; i < p->n_ports; i++) {
		const struct plan_port *x = &p->port[i];

		printf("%-15s %-15s %6u  %02x:%02x:%02x:%02x:%02x:%02x %6u\n", x->name, x->tap,
		       x->queues, x->mac[0], x->mac[1], x->mac[2], x->mac[3], x->mac[4], x->mac[5],
		       x->mtu);
	}
	plan_print_guest(p, stdout);
}

/* What there is now, which is what a VMM needs to know. */
static int print_attached(struct job *b, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct netplug_plan *p = NULL;
	size_t i;
	int rc = look(b, e);

	if (!rc)
		rc = attach_plan(b->s, b->ifname, true, &p, e);
	for (i = 0; !rc && i < p->n_ports; i++)
		p->port[i].queues = b->ask.queues;
	if (!rc && b->t.json)
		rc = netplug_plan_json(p, &text, e);
	if (!rc && text)
		printf("%s\n", text);
	else if (!rc)
		print_ports(p);
	netplug_plan_free(p);
	return rc;
}

static int finish(const char *cmd, struct job *b, int rc, struct err *e)
{
	if (!rc && (fflush(stdout) || ferror(stdout)))
		rc = err_sys(e, "write the output");
	if (rc < 0 && b->t.netns_fd >= 0)
		err_wrap(e, "network namespace %s", b->t.shown);
	if (rc < 0)
		fprintf(stderr, "podvm-netplug %s: %s\n", cmd, e->text);
	job_close(b);
	return rc < 0;
}

#define JOB_INIT                                                                                   \
	{                                                                                          \
		.t = TARGET_INIT, .ask = ATTACH_ASK_INIT, .queues = 1, .store = -1                 \
	}

/**
 * cmd_attach() - the command "attach"
 *
 * Return: exit status
 */
int cmd_attach(int argc, char **argv)
{
	static const char help[] =
		"Usage: podvm-netplug attach TARGET [OPTION...]\n"
		"\n"
		"Joins the interfaces of a network namespace to taps that stay when nobody has\n"
		"them open, and tells what a VM that uses them must be given. podvm takes such\n"
		"a tap; another VMM opens it by its name in the namespace. Attaching once more\n"
		"changes nothing. The CNI plugin does the same in a chain.\n"
		"\n"
		"  podvm-netplug attach /run/netns/vm1 --queues 4 --owner 1000:1000 --json\n"
		"\n";
	struct job b = JOB_INIT;
	const struct opt table[] = {
		OPT_STR(0, "interface", &b.ifname, "NAME", "this interface alone"),
		OPT_STR(0, "tap", &b.tap, "NAME", "name of the tap"),
		OPT_U64(0, "queues", &b.queues, "N",
			"pairs of queues that the VM shall use (default 1)"),
		OPT_STR(0, "owner", &b.owner, "UID:GID", "who may open the tap beside root"),
		TARGET_OPTIONS(b.t),
		OPT_END,
	};
	struct err e = {0};
	int rc = target_parse(table, &b.t, argc, argv, help, &e);

	if (rc == 1)
		return 0;
	if (!rc)
		rc = parse_ask(&b, &e);
	if (!rc)
		rc = job_open(&b, &e);
	if (!rc)
		rc = attach_all(&b, &e);
	if (!rc)
		rc = print_attached(&b, &e);
	return finish("attach", &b, rc, &e);
}

/**
 * struct gone - what "detach" took away
 */
struct gone {
	struct job *b;
	struct json_out *o;
	size_t n;
};

static int on_detach(void *arg, int dirfd, const char *name, struct err *e)
{
	struct attachment a = ATTACHMENT_INIT;
	struct attach_about about;
	struct gone *g = arg;
	int rc = attachment_open(dirfd, name, false, &a, e);

	if (!rc)
		rc = attachment_about(&a, &about, e);
	if (!rc && g->b->ifname && strcmp(g->b->ifname, about.ifname) != 0)
		rc = -ENOENT;
	if (!rc)
		rc = attachment_undo(&a, e);
	attachment_close(&a);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	g->n++;
	if (g->o)
		json_out_str(g->o, NULL, about.ifname);
	else
		printf("%s: tap %s is gone\n", about.ifname, about.ask.tap);
	return 0;
}

static int detach_all(struct job *b, struct err *e)
{
	struct gone g = {.b = b, .o = b->t.json ? json_out_new() : NULL};
	char prefix[NETNS_ID_BYTES + 16];
	int rc;

	snprintf(prefix, sizeof(prefix), "attach:%s:", b->id);
	if (g.o)
		json_out_arr(g.o, "detached");
	rc = attach_each(b->store, prefix, on_detach, &g, e);
	if (!rc && g.o) {
		json_out_end(g.o);
		return json_out_print(g.o, true, stdout, e);
	}
	json_out_free(g.o);
	if (!rc && !g.n)
		printf("nothing is attached here by podvm-netplug attach\n");
	return rc;
}

/**
 * cmd_detach() - the command "detach"
 *
 * Return: exit status
 */
int cmd_detach(int argc, char **argv)
{
	static const char help[] =
		"Usage: podvm-netplug detach TARGET [OPTION...]\n"
		"\n"
		"Takes away the taps that \"attach\" has made in a network namespace, also from a\n"
		"VMM that has one open, and leaves the namespace as it was. What a CNI chain has\n"
		"made goes with the chain's DEL. That nothing is attached is no failure.\n"
		"\n"
		"  podvm-netplug detach /run/netns/vm1\n"
		"\n";
	struct job b = JOB_INIT;
	const struct opt table[] = {
		OPT_STR(0, "interface", &b.ifname, "NAME", "this interface alone"),
		TARGET_OPTIONS(b.t),
		OPT_END,
	};
	struct err e = {0};
	int rc = target_parse(table, &b.t, argc, argv, help, &e);

	if (rc == 1)
		return 0;
	if (!rc)
		rc = job_open(&b, &e);
	if (!rc)
		rc = detach_all(&b, &e);
	return finish("detach", &b, rc, &e);
}
