// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Carries a plan out and takes it back. What is done to one port, and the
 * journal's records, are described in tc.c, macvtap.c and park.c. Between plan and apply the
 * namespace may have changed: what is made is made exclusively, so a clash is
 * an error and nothing of anybody else is replaced, and an interface is checked
 * to be still the planned one.
 *
 * A failed apply takes back what it did, so that it leaves the namespace and
 * the journal as they were; if even that fails, the records stay, and undoing
 * the journal later tries again.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/apply.h"
#include "netplug/macvtap.h"
#include "netplug/netns.h"
#include "netplug/park.h"
#include "netplug/tc.h"

struct apply {
	struct nl *nl;
	int netns_fd;
	const char *path;
	char id[NETNS_ID_BYTES];
	size_t taps;
	struct journal *j;
};

/**
 * apply_netns_id() - a name for a network namespace that no other has, or will have
 * @netns_fd: the namespace, borrowed
 * @nl:       opened in it
 *
 * Device, inode, cookie: the first two are reused, the cookie never is.
 *
 * Return: 0 or minus errno
 */
int apply_netns_id(int netns_fd, const struct nl *nl, char id[NETNS_ID_BYTES], struct err *e)
{
	struct stat st;

	if (fstat(netns_fd, &st) < 0)
		return err_sys(e, "network namespace: stat");
	snprintf(id, NETNS_ID_BYTES, "%" PRIu64 ":%" PRIu64 ":%" PRIu64,
		 (uint64_t)st.st_dev, (uint64_t)st.st_ino, nl_netns_cookie(nl));
	return 0;
}

/* The journal names the namespace by a path, which must lead back to it. */
static int check_path(const struct apply *a, struct err *e)
{
	_cleanup_close_ int fd = netns_open(a->path, e);
	int rc = fd < 0 ? fd : netns_same(fd, a->netns_fd, e);

	if (rc == 0)
		return err_set(e, ESTALE, "network namespace %s: it is another one now",
			       a->path);
	return rc < 0 ? rc : 0;
}

struct port_check {
	const struct plan_port *p;
	uint32_t queue_len;	/* of the interface now, packets */
};

static int on_same(const struct nlmsghdr *h, void *arg, struct err *e)
{
	const struct nlattr *tb[IFLA_MAX + 1];
	struct port_check *c = arg;
	const struct plan_port *p = c->p;
	char name[SCAN_NAME_BYTES];
	uint8_t mac[6];

	if (!nl_attrs(h, sizeof(struct ifinfomsg), tb, IFLA_MAX + 1))
		return err_set(e, EBADMSG, "netlink: message is cut short");
	nl_str(tb[IFLA_IFNAME], name, sizeof(name));
	nl_bytes(tb[IFLA_ADDRESS], mac, sizeof(mac));
	if (strcmp(name, p->name) || memcmp(mac, p->mac, sizeof(mac)) ||
	    nl_u32(tb[IFLA_MTU], 0) != p->mtu)
		return err_set(e, ESTALE, "name, MAC or MTU changed after the plan was "
			       "made");
	c->queue_len = nl_u32(tb[IFLA_TXQLEN], 1);
	return 0;
}

static int check_port(struct nl *nl, const struct plan_port *p,
		      uint32_t *ret_queue_len, struct err *e)
{
	struct ifinfomsg m = { .ifi_index = (int)p->ifindex };
	struct port_check c = { .p = p };
	int rc;

	nl_msg(nl, RTM_GETLINK, 0, &m, sizeof(m));
	rc = nl_get(nl, on_same, &c, e);
	*ret_queue_len = c.queue_len;
	return rc;
}

static int undo_nothing(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	(void)r;
	(void)e;
	return 0;
}

/*
 * An ingress discipline bears no mark of ours: if somebody was faster, undoing
 * our record would take his. So the record goes when his is there; of all other failures
 * it is not known whether the kernel made ours (its answer may be lost).
 */
static int apply_hook(const struct apply *a, const struct plan_port *p,
		      const char *index, struct err *e)
{
	size_t mark = journal_mark(a->j);
	struct err cut = { 0 };
	int rc;

	rc = journal_add(a->j, e, "netplug", "ingress", a->path, a->id, p->name,
			 index, (const char *)NULL);
	if (rc < 0)
		return rc;
	rc = tc_hook_add(a->nl, p, e);
	if (rc == -EEXIST)
		journal_undo_to(a->j, mark, undo_nothing, NULL, &cut);
	return rc;
}

/* A tap that is there is opened; whoever made it undoes it. */
static int take_port(const struct apply *a, const struct plan_port *p,
		     struct netplug_port *out, struct err *e)
{
	size_t n = p->many ? a->taps : 1;
	uint32_t queue_len;
	int rc = check_port(a->nl, p, &queue_len, e);

	if (!rc)
		rc = (p->model == NETPLUG_TC ? tc_tap_take : macvtap_take)(a->netns_fd, p, out->tap_fd,
									   n, e);
	if (rc < 0)
		return rc;
	out->n_taps = n;
	memcpy(out->name, p->name, sizeof(out->name));
	memcpy(out->mac, p->mac, sizeof(out->mac));
	out->mtu = p->mtu;
	out->ifindex = p->ifindex;
	return 0;
}

static int apply_tc(const struct apply *a, const struct plan_port *p, uint32_t queue_len,
		    struct netplug_port *out, struct err *e)
{
	char index[16];
	uint32_t tap;
	int rc;

	snprintf(index, sizeof(index), "%u", p->ifindex);
	rc = journal_add(a->j, e, "netplug", "tap", a->path, a->id, p->tap,
			 (const char *)NULL);
	if (rc < 0)
		return rc;
	rc = tc_tap_open(a->netns_fd, p->tap, out->tap_fd, a->taps, e);
	if (rc < 0)
		return rc;
	out->n_taps = a->taps;
	rc = tc_tap_setup(a->nl, p, &tap, e);
	/* Not before it bears our mark, by which undo knows it. */
	if (!rc && p->keep.on)
		rc = tc_tap_keep(out->tap_fd[0], &p->keep, e);
	/* The kernel replaces a queue length of 0 when a discipline is added. */
	if (!rc && p->hook == PLAN_HOOK_NONE && !queue_len)
		rc = journal_add(a->j, e, "netplug", "queue", a->path, a->id,
				 p->name, index, (const char *)NULL);
	if (!rc && p->hook == PLAN_HOOK_NONE)
		rc = apply_hook(a, p, index, e);
	if (!rc)
		rc = journal_add(a->j, e, "netplug", "filter", a->path, a->id,
				 p->name, index, (const char *)NULL);
	return rc < 0 ? rc : tc_filter_add(a->nl, p, tap, e);
}

/* One of that name that somebody else has made may be where ours would be: not ours. */
static int create_macvtap(const struct apply *a, const struct plan_port *p, struct err *e)
{
	size_t mark = journal_mark(a->j);
	struct err cut = { 0 };
	char index[16];
	int rc;

	snprintf(index, sizeof(index), "%u", p->ifindex);
	rc = journal_add(a->j, e, "netplug", "macvtap", a->path, a->id, p->tap, index,
			 (const char *)NULL);
	if (rc < 0)
		return rc;
	rc = macvtap_create(a->nl, p, a->taps, e);
	if (rc == -EEXIST)
		journal_undo_to(a->j, mark, undo_nothing, NULL, &cut);
	return rc;
}

static int apply_macvtap(const struct apply *a, const struct plan_port *p,
			 struct netplug_port *out, struct err *e)
{
	const struct park_place at = { .nl = a->nl, .netns_fd = a->netns_fd, .path = a->path,
				       .id = a->id, .j = a->j };
	uint32_t tap = 0;
	int rc = park_leave(&at, p, e);

	if (!rc)
		rc = create_macvtap(a, p, e);
	if (!rc)
		rc = macvtap_setup(a->nl, p, &tap, e);
	if (!rc)
		rc = macvtap_open(a->netns_fd, tap, out->tap_fd, a->taps, e);
	if (!rc)
		out->n_taps = a->taps;
	return rc;
}

static int apply_port(const struct apply *a, const struct plan_port *p,
		      struct netplug_port *out, struct err *e)
{
	uint32_t queue_len;
	int rc = check_port(a->nl, p, &queue_len, e);

	out->from = journal_mark(a->j);
	if (!rc)
		rc = p->model == NETPLUG_TC ? apply_tc(a, p, queue_len, out, e) :
					      apply_macvtap(a, p, out, e);
	if (rc < 0)
		return rc;
	memcpy(out->name, p->name, sizeof(out->name));
	memcpy(out->mac, p->mac, sizeof(out->mac));
	out->mtu = p->mtu;
	out->ifindex = p->ifindex;
	out->to = journal_mark(a->j);
	return 0;
}

static int undo_record(void *arg, const struct journal_rec *r, struct err *e)
{
	(void)arg;
	return netplug_undo(r, e);
}

static int apply_all(const struct netplug_plan *p, struct apply *a,
		     struct netplug_port *out, struct err *e)
{
	int rc = apply_netns_id(a->netns_fd, a->nl, a->id, e);
	size_t i;

	/* Without an interface there are no records, so the path may be none. */
	if (!rc && p->n_ports)
		rc = check_path(a, e);
	for (i = 0; i < p->n_ports && !rc; i++) {
		rc = (p->port[i].there ? take_port : apply_port)(a, &p->port[i], &out[i], e);
		if (rc < 0)
			rc = err_wrap(e, "interface %s", p->port[i].name);
	}
	return rc;
}

/**
 * netplug_apply() - join the interfaces of a plan to taps
 * @p:           from netplug_plan() on the same namespace
 * @netns_fd:    the namespace, borrowed
 * @netns_path:  a path that leads to it, for the journal; of no meaning for a
 *               namespace without an interface
 * @taps:        ends of each tap, 1 to NETPLUG_TAPS_MAX
 * @j:           gets a record before each thing is made
 * @ret_ports:   one per interface; owned by the caller, netplug_port_close()
 * @ret_n_ports: how many
 *
 * On failure everything is taken back, and the outputs are untouched.
 *
 * Return: 0; -ESTALE if the namespace is not as planned; -EEXIST, -EBUSY if
 * somebody was faster; -ENOENT if the kernel lacks a part; minus errno
 * Context: the calling thread is in the namespace for the while of single system calls
 */
int netplug_apply(const struct netplug_plan *p, int netns_fd,
		  const char *netns_path, size_t taps, struct journal *j,
		  struct netplug_port ret_ports[NETPLUG_PORTS_MAX],
		  size_t *ret_n_ports, struct err *e)
{
	struct apply a = { .netns_fd = netns_fd, .path = netns_path, .taps = taps, .j = j };
	struct netplug_port out[NETPLUG_PORTS_MAX] = { 0 };
	size_t i, mark = journal_mark(j);
	struct err undo = { 0 };
	int rc;

	if (!taps || taps > NETPLUG_TAPS_MAX)
		return err_set(e, EINVAL, "%zu ends of a tap: 1 to %d are possible", taps,
			       NETPLUG_TAPS_MAX);
	rc = nl_open(netns_fd, &a.nl, e);
	if (rc < 0)
		return rc;
	rc = apply_all(p, &a, out, e);
	nl_free(a.nl);
	if (rc < 0) {
		for (i = 0; i < p->n_ports; i++)
			netplug_port_close(&out[i]);
		journal_undo_to(j, mark, undo_record, NULL, &undo);
		return rc;
	}
	memcpy(ret_ports, out, p->n_ports * sizeof(out[0]));
	*ret_n_ports = p->n_ports;
	return 0;
}

/**
 * netplug_apply_port() - join one interface of a plan to a tap
 * @p:   from netplug_plan_again()
 * @i:   one that is not joined
 * @ret: owned by the caller, netplug_port_close(), netplug_leave()
 *
 * The rest as for netplug_apply().
 */
int netplug_apply_port(struct netplug_plan *p, size_t i, int netns_fd, const char *netns_path,
		       size_t taps, struct journal *j, struct netplug_port *ret, struct err *e)
{
	struct netplug_port out[NETPLUG_PORTS_MAX];
	struct netplug_plan one = { .port = { p->port[i] }, .n_ports = 1 };
	size_t n;
	int rc = netplug_apply(&one, netns_fd, netns_path, taps, j, out, &n, e);

	if (rc < 0)
		return rc;
	p->port[i].joined = true;
	p->port[i].plug_mtu = p->port[i].mtu;
	*ret = out[0];
	return 0;
}

/**
 * netplug_leave() - take back what joins one interface, while the VM goes on
 * @port: as it was joined; nobody has its tap any more
 * @j:    in which its records are; they are not undone again
 *
 * Return: 0; minus errno: what could not be undone stays for the end
 * Context: as netplug_undo()
 */
int netplug_leave(const struct netplug_port *port, struct journal *j, struct err *e)
{
	if (journal_undo_span(j, port->from, port->to, undo_record, NULL, e) < 0)
		return err_wrap(e, "interface %s", port->name);
	return 0;
}

/**
 * netplug_set_mtu() - give the tap of an interface its MTU, which has changed
 * @p: from netplug_plan_again()
 * @i: one that is joined
 *
 * Return: 0 or minus errno
 */
int netplug_set_mtu(const struct netplug_plan *p, size_t i, int netns_fd, struct err *e)
{
	const struct plan_port *port = &p->port[i];
	struct nl *nl = NULL;
	int rc = nl_open(netns_fd, &nl, e);

	if (rc < 0)
		return rc;
	rc = tc_tap_mtu(nl, port, e);
	nl_free(nl);
	return rc < 0 ? err_wrap(e, "interface %s: tap %s: MTU %u", port->name, port->tap,
				 port->mtu) : 0;
}

/**
 * netplug_port_close() - close all ends of a port's tap; twice is fine
 */
void netplug_port_close(struct netplug_port *p)
{
	while (p->n_taps)
		fd_close(&p->tap_fd[--p->n_taps]);
}

/**
 * apply_find_netns() - open the namespace of a record
 * @path:   that led to it
 * @id:     from apply_netns_id()
 * @ret_nl: opened in it, owned by the caller
 * @ret_fd: the namespace, owned by the caller
 *
 * Return: 1; 0 if it is gone; minus errno
 */
int apply_find_netns(const char *path, const char *id, struct nl **ret_nl, int *ret_fd,
		     struct err *e)
{
	_cleanup_close_ int fd = netns_open(path, e);
	char prefix[NETNS_ID_BYTES], now[NETNS_ID_BYTES];
	struct nl *nl = NULL;
	struct stat st;
	int rc;

	/* ENOTDIR, ESRCH: a directory of the path or the process is gone. */
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ESRCH || fd == -ENXIO)
		return 0;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "network namespace %s: stat", path);
	snprintf(prefix, sizeof(prefix), "%" PRIu64 ":%" PRIu64 ":",
		 (uint64_t)st.st_dev, (uint64_t)st.st_ino);
	if (!str_starts(id, prefix))
		return 0;
	rc = nl_open(fd, &nl, e);
	if (!rc)
		rc = apply_netns_id(fd, nl, now, e);
	if (rc < 0) {
		nl_free(nl);
		return err_wrap(e, "network namespace %s", path);
	}
	if (strcmp(now, id)) {
		nl_free(nl);
		return 0;
	}
	*ret_nl = nl;
	*ret_fd = fd_steal(&fd);
	return 1;
}

static bool knows(const char *action)
{
	static const char *const known[] = { "tap", "queue", "ingress", "filter", "macvtap" };
	size_t i;

	for (i = 0; i < ARRAY_LEN(known); i++)
		if (!strcmp(action, known[i]))
			return true;
	return park_knows(action);
}

static int undo_in(struct nl *nl, int netns_fd, uint32_t ifindex, const struct journal_rec *r,
		   struct err *e)
{
	const char *action = r->word[1];

	if (!strcmp(action, "tap"))
		return tc_tap_del(nl, r->word[4], e);
	if (!strcmp(action, "queue"))
		return tc_queue_none(nl, ifindex, e);
	if (!strcmp(action, "ingress"))
		return tc_hook_del(nl, ifindex, e);
	if (!strcmp(action, "filter"))
		return tc_filter_del(nl, ifindex, e);
	if (!strcmp(action, "macvtap"))
		return macvtap_del(nl, r->word[4], ifindex, e);
	return park_return(nl, netns_fd, ifindex, r, e);
}

/**
 * netplug_undo() - undo one record of the journal
 * @r: of kind "netplug"
 *
 * Idempotent; what is gone, the namespace included, is a success, and so is
 * what somebody else has put in its place.
 *
 * Return: 0; -EINVAL for a record that netplug_apply() does not write; minus errno
 * Context: the calling thread is in the namespace for the while of one system call
 */
int netplug_undo(const struct journal_rec *r, struct err *e)
{
	_cleanup_close_ int netns_fd = -1;
	struct nl *nl = NULL;
	const char *action;
	uint64_t ifindex = 0;
	char shown[64];
	int rc;

	if (r->n < 5 || strcmp(r->word[0], "netplug"))
		return err_set(e, EINVAL, "journal: this is no record of netplug");
	action = r->word[1];
	if (!strcmp(action, "keep")) /* tells what the records behind it are for (attach.c) */
		return 0;
	str_quote(shown, sizeof(shown), action);
	if (!knows(action))
		return err_set(e, EINVAL, "journal: netplug: unknown action %s", shown);
	if (strcmp(action, "tap") &&
	    (r->n < 6 || parse_u64(r->word[5], &ifindex) < 0 ||
	     ifindex > INT32_MAX))
		return err_set(e, EINVAL, "journal: netplug: %s without an interface",
			       shown);
	rc = apply_find_netns(r->word[2], r->word[3], &nl, &netns_fd, e);
	if (rc <= 0)
		return rc;
	rc = undo_in(nl, netns_fd, (uint32_t)ifindex, r, e);
	nl_free(nl);
	return rc < 0 ? err_wrap(e, "undo %s of %s", shown, r->word[4]) : 0;
}
