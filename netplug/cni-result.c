// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Checks the result of the plugins before us, and makes ours of it. It came by way of the
 * engine, and may be of anybody's making: every member that the specification names is
 * checked, whether we use it or not, since it goes on under our name. What is of the wrong
 * type cannot be decoded (6); a bad address, name or index is an invalid configuration (7).
 *
 * Our result is the one before with the tap behind its interfaces, in the sandbox, with the
 * MAC that the guest takes (which is the tap's own, too) and, from 1.1.0 on, the MTU. The
 * specification has no place for members of a plugin's own, and libcni drops them, so that
 * there are none.
 *
 * Source: CNI specification 0.3.1 to 1.1.0, "Result Types": "Success"
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/cni.h"

/* Most interfaces of a result. */
#define INTERFACES_MAX 64

/* The release that an interface's MTU came with: 1.1.0. */
#define RELEASE_MTU 3

/* Whether a sandbox is the namespace that we were called for. */
static bool is_sandbox(const char *sandbox, const struct cni_env *env)
{
	struct stat a, b;

	return !strcmp(sandbox, env->netns) ||
	       (*sandbox && !stat(sandbox, &a) && !stat(env->netns, &b) && a.st_dev == b.st_dev &&
		a.st_ino == b.st_ino);
}

struct iface {
	const char *name, *mac, *sandbox;
	uint64_t mtu;
};

static int get_iface(const struct jnode *n, struct iface *ret, struct err *e)
{
	struct iface i = {.name = "", .mac = "", .sandbox = ""};
	uint8_t mac[6];
	int rc;

	if (json_str(n, "name", &i.name, e) < 0 || json_str(n, "mac", &i.mac, e) < 0 ||
	    json_str(n, "sandbox", &i.sandbox, e) < 0 || json_u64(n, "mtu", &i.mtu, e) < 0)
		return CNI_UNDECODABLE;
	if (!attach_name_ok(i.name))
		rc = json_fail(n, "name", e, "no name of an interface");
	else if (*i.mac && parse_mac(i.mac, mac) < 0)
		rc = json_fail(n, "mac", e, "no MAC address");
	else if (i.mtu > UINT32_MAX)
		rc = json_fail(n, "mtu", e, "too great");
	else
		rc = 0;
	*ret = i;
	return rc ? CNI_BAD_CONFIG : CNI_OK;
}

/* The interfaces' array. Return: how many there are; 0 without one; minus errno */
static int interfaces(const struct cni_conf *c, struct jnode *ret, struct err *e)
{
	int rc = json_arr(&c->prev, "interfaces", ret, e);

	return rc <= 0 ? rc
		       : (int)(json_len(ret) > INTERFACES_MAX ? INTERFACES_MAX + 1 : json_len(ret));
}

/* Finds the interface of a name in the sandbox. Return: 1, 0, minus errno */
static int find_iface(const struct cni_conf *c, const struct cni_env *env, const char *name,
		      struct iface *ret, size_t *ret_index, struct err *e)
{
	struct jnode list;
	int i, n = interfaces(c, &list, e);

	for (i = 0; i < n; i++) {
		struct jnode el = json_at(&list, (size_t)i);
		struct iface f;

		if (!get_iface(&el, &f, e) && !strcmp(f.name, name) && is_sandbox(f.sandbox, env)) {
			*ret = f;
			*ret_index = (size_t)i;
			return 1;
		}
	}
	return n < 0 ? n : 0;
}

/* An address; with @prefix also its length behind a slash. */
static bool is_ip(const char *text, bool prefix)
{
	const char *slash = strchr(text, '/');
	char ip[INET6_ADDRSTRLEN] = "";
	uint8_t bytes[16];
	uint64_t len;
	bool v6 = strchr(text, ':');

	if (!slash != !prefix)
		return false;
	if (slash && (parse_u64(slash + 1, &len) < 0 || len > (v6 ? 128 : 32)))
		return false;
	if ((size_t)(slash ? slash - text : (ptrdiff_t)strlen(text)) >= sizeof(ip))
		return false;
	memcpy(ip, text, slash ? (size_t)(slash - text) : strlen(text));
	return inet_pton(v6 ? AF_INET6 : AF_INET, ip, bytes) == 1;
}

/* A member that may be absent. */
static int check_ip(const struct jnode *n, const char *key, bool prefix, bool needed, struct err *e)
{
	const char *text = NULL;
	int rc = json_str(n, key, &text, e);

	if (rc < 0)
		return CNI_UNDECODABLE;
	if (rc ? is_ip(text, prefix) : !needed)
		return CNI_OK;
	json_fail(n, key, e, rc ? "no address%s" : "it is missing%s",
		  rc && prefix ? " with prefix length" : "");
	return CNI_BAD_CONFIG;
}

static int check_ips_at(const struct jnode *n, size_t n_interfaces, struct err *e)
{
	uint64_t index = 0;
	const char *version;
	int rc = json_as_obj(n, e) < 0 || json_str(n, "version", &version, e) < 0 ||
				 json_u64(n, "interface", &index, e) < 0
			 ? CNI_UNDECODABLE
			 : CNI_OK;

	if (!rc && json_has(n, "interface") && index >= n_interfaces) {
		json_fail(n, "interface", e, "there are %zu interfaces", n_interfaces);
		return CNI_BAD_CONFIG;
	}
	if (!rc)
		rc = check_ip(n, "address", true, true, e);
	return rc ? rc : check_ip(n, "gateway", false, false, e);
}

static int check_route_at(const struct jnode *n, struct err *e)
{
	static const char *const numbers[] = {"mtu", "advmss", "priority", "table", "scope"};
	uint64_t value = 0;
	size_t i;
	int rc;

	if (json_as_obj(n, e) < 0)
		return CNI_UNDECODABLE;
	for (i = 0; i < ARRAY_LEN(numbers); i++) {
		if (json_u64(n, numbers[i], &value, e) < 0)
			return CNI_UNDECODABLE;
		if (value > UINT32_MAX) {
			json_fail(n, numbers[i], e, "too great");
			return CNI_BAD_CONFIG;
		}
	}
	rc = check_ip(n, "dst", true, true, e);
	return rc ? rc : check_ip(n, "gw", false, false, e);
}

static int check_list(const struct jnode *of, const char *key, size_t n_interfaces, struct err *e)
{
	struct jnode list;
	size_t i;
	int rc = json_arr(of, key, &list, e);

	if (rc < 0)
		return CNI_UNDECODABLE;
	for (i = 0, rc = rc ? CNI_OK : -1; !rc && i < json_len(&list); i++) {
		struct jnode el = json_at(&list, i);

		rc = !strcmp(key, "ips") ? check_ips_at(&el, n_interfaces, e)
					 : check_route_at(&el, e);
	}
	return rc < 0 ? CNI_OK : rc;
}

static int check_dns(const struct jnode *of, struct err *e)
{
	static const char *const lists[] = {"nameservers", "search", "options"};
	const char *domain, *text;
	struct jnode dns, list;
	size_t i, k;
	int rc = json_obj(of, "dns", &dns, e);

	if (rc <= 0)
		return rc < 0 ? CNI_UNDECODABLE : CNI_OK;
	rc = json_str(&dns, "domain", &domain, e);
	for (i = 0; rc >= 0 && i < ARRAY_LEN(lists); i++) {
		rc = json_arr(&dns, lists[i], &list, e);
		for (k = 0; rc == 1 && k < json_len(&list); k++) {
			struct jnode el = json_at(&list, k);

			if (json_as_str(&el, &text, e) < 0)
				return CNI_UNDECODABLE;
		}
	}
	return rc < 0 ? CNI_UNDECODABLE : CNI_OK;
}

static int check_interfaces(const struct cni_conf *c, const struct cni_env *env, size_t *ret_n,
			    struct err *e)
{
	struct jnode list;
	bool found = false;
	int i, n = interfaces(c, &list, e), rc = CNI_OK;

	if (n > INTERFACES_MAX) {
		json_fail(&c->prev, "interfaces", e, "more than %d", INTERFACES_MAX);
		return CNI_BAD_CONFIG;
	}
	for (i = 0; i < n && !rc; i++) {
		struct jnode el = json_at(&list, (size_t)i);
		struct iface f;

		rc = json_as_obj(&el, e) < 0 ? (int)CNI_UNDECODABLE : get_iface(&el, &f, e);
		found |= !rc && !strcmp(f.name, env->ifname) && is_sandbox(f.sandbox, env);
	}
	if (n < 0 || rc)
		return rc ? rc : CNI_UNDECODABLE;
	if (!found) {
		json_fail(&c->prev, "interfaces", e, "no plugin before has made %s in %s",
			  env->ifname, env->netns);
		return CNI_BAD_CONFIG;
	}
	*ret_n = (size_t)n;
	return CNI_OK;
}

/**
 * cni_prev_check() - check prevResult by itself
 * @c: with prevResult
 *
 * Return: CNI_OK; CNI_UNDECODABLE; CNI_BAD_CONFIG
 */
int cni_prev_check(const struct cni_conf *c, const struct cni_env *env, struct err *e)
{
	const char *version = c->version;
	size_t n = 0;
	int rc;

	if (json_str(&c->prev, "cniVersion", &version, e) < 0)
		return CNI_UNDECODABLE;
	if (strcmp(version, c->version) != 0) {
		json_fail(&c->prev, "cniVersion", e, "it is not that of the configuration, %s",
			  c->version);
		return CNI_BAD_CONFIG;
	}
	rc = check_interfaces(c, env, &n, e);
	if (!rc)
		rc = check_list(&c->prev, "ips", n, e);
	if (!rc)
		rc = check_list(&c->prev, "routes", n, e);
	return rc ? rc : check_dns(&c->prev, e);
}

static void mac_text(const uint8_t m[6], char text[18])
{
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static int same_iface(const struct iface *f, const char *mac, uint32_t mtu, struct err *e)
{
	if (*f->mac && strcasecmp(f->mac, mac) != 0)
		return err_set(e, ESTALE, "interface %s: MAC %s in prevResult, but %s is there",
			       f->name, f->mac, mac);
	if (f->mtu && f->mtu != mtu)
		return err_set(e, ESTALE, "interface %s: MTU %llu in prevResult, but %u is there",
			       f->name, (unsigned long long)f->mtu, mtu);
	return 0;
}

static bool has_address(const struct scan *s, uint32_t ifindex, const char *address)
{
	char have[64], ip[48];
	uint8_t a[16], b[16];
	size_t i, len = strcspn(address, "/");

	snprintf(have, sizeof(have), "%.*s", (int)len, address);
	if (inet_pton(strchr(have, ':') ? AF_INET6 : AF_INET, have, a) != 1)
		return false;
	for (i = 0; i < s->n_addrs; i++) {
		const struct scan_addr *x = &s->addr[i];

		scan_ip_text(x->family, x->ip, ip);
		if (x->ifindex == ifindex && (x->family == AF_INET6) == !!strchr(have, ':') &&
		    inet_pton(x->family, ip, b) == 1 &&
		    !memcmp(a, b, x->family == AF_INET6 ? 16 : 4))
			return true;
	}
	return false;
}

static int same_addresses(const struct cni_conf *c, size_t index, const struct scan *s,
			  const struct plan_port *port, struct err *e)
{
	struct jnode list;
	size_t i;

	if (json_arr(&c->prev, "ips", &list, e) <= 0)
		return 0;
	for (i = 0; i < json_len(&list); i++) {
		struct jnode el = json_at(&list, i);
		uint64_t at = UINT64_MAX;
		const char *address = "";

		if (json_u64(&el, "interface", &at, e) == 1 && at == index &&
		    json_str(&el, "address", &address, e) == 1 &&
		    !has_address(s, port->ifindex, address))
			return err_set(e, ESTALE,
				       "interface %s: address %s of prevResult is not there",
				       port->name, address);
	}
	return 0;
}

/**
 * cni_prev_same() - compare prevResult with what is in the namespace
 * @c:   checked by cni_prev_check()
 * @s:   what is there
 * @tap: prevResult must name the tap as well, and its addresses are compared
 *
 * Return: 0; -ESTALE naming the difference
 */
int cni_prev_same(const struct cni_conf *c, const struct cni_env *env, const struct scan *s,
		  const struct plan_port *port, bool tap, struct err *e)
{
	struct iface f = {0};
	size_t index = 0, other;
	char mac[18];
	int rc = find_iface(c, env, env->ifname, &f, &index, e);

	mac_text(port->mac, mac);
	if (rc > 0)
		rc = same_iface(&f, mac, port->mtu, e);
	if (!rc && tap)
		rc = same_addresses(c, index, s, port, e);
	if (rc < 0 || !tap)
		return rc;
	rc = find_iface(c, env, port->tap, &f, &other, e);
	if (!rc)
		return err_set(e, ESTALE, "prevResult does not name the tap %s", port->tap);
	return same_iface(&f, mac, port->mtu, e);
}

/**
 * cni_result() - the result of the plugins before us, with the tap
 * @c:    checked by cni_prev_check()
 * @port: how the interface is joined
 * @ret:  owned by the caller
 *
 * Return: 0; -EEXIST if the result names the tap already; -ENOMEM
 */
int cni_result(const struct cni_conf *c, const struct cni_env *env, const struct plan_port *port,
	       char **ret, struct err *e)
{
	struct json_out *o;
	struct jnode list = {0}, n;
	struct iface f;
	size_t i, index;
	char mac[18];
	int rc = find_iface(c, env, port->tap, &f, &index, e);

	if (rc)
		return rc < 0 ? rc
			      : err_set(e, EEXIST,
					"prevResult names the tap %s already: is podvm-netplug "
					"twice in the chain?",
					port->tap);
	rc = json_arr(&c->prev, "interfaces", &list, e);
	o = rc < 0 ? NULL : json_out_new();
	if (!o)
		return rc < 0 ? rc : err_set(e, ENOMEM, "out of memory");
	mac_text(port->mac, mac);
	json_out_str(o, "cniVersion", c->version);
	json_out_arr(o, "interfaces");
	for (i = 0; rc && i < json_len(&list); i++) {
		n = json_at(&list, i);
		json_out_copy(o, NULL, &n);
	}
	json_out_obj(o, NULL);
	json_out_str(o, "name", port->tap);
	json_out_str(o, "mac", mac);
	if (c->release >= RELEASE_MTU)
		json_out_u64(o, "mtu", port->mtu);
	json_out_str(o, "sandbox", env->netns);
	json_out_end(o);
	json_out_end(o);
	for (i = 0; !json_member(&c->prev, i, &n); i++)
		if (strcmp(n.key, "cniVersion") != 0 && strcmp(n.key, "interfaces") != 0)
			json_out_copy(o, n.key, &n);
	rc = json_out_text(o, true, ret, e);
	json_out_free(o);
	return rc;
}
