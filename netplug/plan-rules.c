// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The policy routing rules that the guest gets. Its kernel makes rules of its own,
 * as the one of the namespace did: three for IPv4, two for IPv6. What is there
 * beside them is added, in its order, which decides among rules of one priority;
 * what of them is missing is removed. Attributes are handed on as the kernel gave
 * them: both ends speak the same interface (linux/fib_rules.h).
 *
 * A rule that asks for an interface must name one that the guest gets.
 */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/plan.h"

/* What every namespace begins with (fib_default_rules_init(), fib6_rules_net_init()). */
static const struct own_rule {
	uint8_t family;
	uint32_t priority, table;
} own[] = {
	{ AF_INET, 0, RT_TABLE_LOCAL },
	{ AF_INET, 32766, RT_TABLE_MAIN },
	{ AF_INET, 32767, RT_TABLE_DEFAULT },
	{ AF_INET6, 0, RT_TABLE_LOCAL },
	{ AF_INET6, 32766, RT_TABLE_MAIN },
};

#define N_OWN ARRAY_LEN(own)

/* Which of the kernel's own rules it is. Return: N_OWN for none */
static size_t own_index(const struct scan_rule *r)
{
	size_t i;

	for (i = 0; i < N_OWN; i++)
		if (r->plain && r->family == own[i].family &&
		    r->priority == own[i].priority && r->table == own[i].table)
			break;
	return i;
}

static const char *family_name(uint8_t family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

static int check_names(const struct scan *s, const struct netplug_plan *p,
		       const struct scan_rule *r, struct err *e)
{
	char name[SCAN_RULE_VALUE_BYTES + 1], shown[80];
	size_t i;

	for (i = 0; i < r->n_attrs; i++) {
		const struct scan_link *l;

		if (r->attr[i].type != FRA_IIFNAME && r->attr[i].type != FRA_OIFNAME)
			continue;
		memcpy(name, r->attr[i].value, SCAN_RULE_VALUE_BYTES);
		name[SCAN_RULE_VALUE_BYTES] = 0;
		l = scan_link_named(s, name);
		if (!strcmp(name, "lo") || (l && plan_port_at(p, l->ifindex)))
			continue;
		str_quote(shown, sizeof(shown), name);
		return err_set(e, EOPNOTSUPP, "%s rule %u (table %u): it asks for interface %s, which the guest does not get; remove the rule",
			       family_name(r->family), r->priority, r->table, shown);
	}
	return 0;
}

static int put_attr(Podvm__Rule *m, uint32_t type, const void *value, size_t len, struct err *e)
{
	Podvm__Attribute *a = plan_append(&m->attributes, &m->n_attributes,
					  mem_new(Podvm__Attribute));

	if (!a)
		return err_set(e, ENOMEM, "out of memory");
	podvm__attribute__init(a);
	a->type = type;
	return plan_set_bytes(&a->value, value, len) ? 0 : err_set(e, ENOMEM, "out of memory");
}

static Podvm__Rule *new_rule(Podvm__Network *n, uint8_t family, struct err *e)
{
	Podvm__Rule *m = plan_append(&n->rules, &n->n_rules, mem_new(Podvm__Rule));

	if (!m) {
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	podvm__rule__init(m);
	m->family = family;
	return m;
}

static int add_rule(const struct scan_rule *r, Podvm__Network *n, struct err *e)
{
	Podvm__Rule *m = new_rule(n, r->family, e);
	const uint32_t first = 0;
	size_t i;
	int rc = 0;

	if (!m)
		return -ENOMEM;
	m->dst_len = r->dst_len;
	m->src_len = r->src_len;
	m->tos = r->tos;
	m->table = r->head_table;
	m->action = r->action;
	m->flags = r->flags;
	/* The kernel does not tell a priority of 0, and takes another one for none. */
	if (!r->priority)
		rc = put_attr(m, FRA_PRIORITY, &first, sizeof(first), e);
	for (i = 0; i < r->n_attrs && !rc; i++)
		rc = put_attr(m, r->attr[i].type, r->attr[i].value, r->attr[i].len, e);
	return rc;
}

static int remove_rule(const struct own_rule *o, Podvm__Network *n, struct err *e)
{
	Podvm__Rule *m = new_rule(n, o->family, e);
	int rc;

	if (!m)
		return -ENOMEM;
	m->remove = true;
	m->table = o->table;
	m->action = FR_ACT_TO_TBL;
	rc = put_attr(m, FRA_PRIORITY, &o->priority, sizeof(o->priority), e);
	return rc < 0 ? rc : put_attr(m, FRA_TABLE, &o->table, sizeof(o->table), e);
}

/**
 * plan_rules() - the rules that the guest gets
 * @n: they are appended here
 *
 * Return: 0; -EOPNOTSUPP naming a rule that cannot be given; -ENOMEM
 */
int plan_rules(const struct scan *s, const struct netplug_plan *p, Podvm__Network *n,
	       struct err *e)
{
	bool there[N_OWN + 1] = { false }, any4 = false, any6 = false;
	size_t i, k;
	int rc = 0;

	for (i = 0; i < s->n_rules && !rc; i++) {
		const struct scan_rule *r = &s->rule[i];

		any4 |= r->family == AF_INET;
		any6 |= r->family == AF_INET6;
		k = own_index(r);
		if (k < N_OWN && !there[k]) {
			there[k] = true;
			continue;
		}
		rc = r->odd ? err_set(e, EOPNOTSUPP, "%s rule %u (table %u): it asks for %s, which cannot be given to the guest yet; remove the rule",
				      family_name(r->family), r->priority, r->table, r->odd) :
		     check_names(s, p, r, e);
		rc = plan_noted(p, rc, e);
		if (!rc)
			rc = add_rule(r, n, e);
		if (rc > 0)
			rc = 0;
	}
	/* A kernel without policy routing or IPv6 has none at all. */
	for (i = 0; i < N_OWN && !rc; i++)
		if (!there[i] && (own[i].family == AF_INET ? any4 : any6))
			rc = remove_rule(&own[i], n, e);
	return rc;
}
