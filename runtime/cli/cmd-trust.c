// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm trust explain: the decision that create would make of a bundle, with all
 * that was looked at, the rules in their order, and what would change it. The last
 * is found by asking the rules again, each time with one thing changed. Nothing is
 * made or written; without root it says what it could not see.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/cli/cli.h"
#include "runtime/cli/decide.h"
#include "runtime/handed.h"

/* Exit status when the bundle would be refused. */
#define TRUST_REFUSED 3

/**
 * struct fact - a line of what was looked at
 * @key:  as JSON calls it
 * @what: as people call it
 */
struct fact {
	const char *key;
	const char *what;
	char value[PATH_MAX + ERR_TEXT_BYTES];
};

/* One thing that could be otherwise, in the order of explain's last part. */
struct change {
	const char *text;
	void (*apply)(struct trust_case *c);
};

static const char *const pods[] = {"new", "in a machine", "handed over"};

static void mark_none(struct trust_case *c)
{
	c->mark = TRUST_MARK_NONE;
}

static void mark_trusted(struct trust_case *c)
{
	c->mark = TRUST_MARK_TRUSTED;
}

static void mark_untrusted(struct trust_case *c)
{
	c->mark = TRUST_MARK_UNTRUSTED;
}

static void level_trusted(struct trust_case *c)
{
	c->level = TRUST_LEVEL_TRUSTED;
}

static void level_untrusted(struct trust_case *c)
{
	c->level = TRUST_LEVEL_UNTRUSTED;
}

static void unprivileged(struct trust_case *c)
{
	c->privileged = false;
}

static void privileged(struct trust_case *c)
{
	c->privileged = true;
}

static void no_host(struct trust_case *c)
{
	c->host = 0;
}

static void runtime_unset(struct trust_case *c)
{
	c->runtime = TRUST_RUNTIME_UNSET;
}

static void runtime_ready(struct trust_case *c)
{
	c->runtime = TRUST_RUNTIME_READY;
}

static void kvm_there(struct trust_case *c)
{
	c->kvm = true;
}

static void kvm_missing(struct trust_case *c)
{
	c->kvm = false;
}

static void untrusted_podvm(struct trust_case *c)
{
	c->untrusted = TRUST_UNTRUSTED_PODVM;
}

static void untrusted_trusted(struct trust_case *c)
{
	c->untrusted = TRUST_UNTRUSTED_TRUSTED;
}

static void pod_new(struct trust_case *c)
{
	c->pod = TRUST_POD_NEW;
}

static const struct change changes[] = {
	{"a pod that is made anew", pod_new},
	{"annotation " TRUST_ANNOTATION " left out", mark_none},
	{"annotation " TRUST_ANNOTATION ": \"true\"", mark_trusted},
	{"annotation " TRUST_ANNOTATION ": \"false\"", mark_untrusted},
	{"not privileged", unprivileged},
	{"privileged", privileged},
	{"network, pid and ipc namespaces of its own", no_host},
	{"trust.default: \"trusted\"", level_trusted},
	{"trust.default: \"untrusted\"", level_untrusted},
	{"trust.untrustedRuntime: \"podvm\"", untrusted_podvm},
	{"trust.untrustedRuntime: \"trusted\"", untrusted_trusted},
	{"no trust.trustedRuntime", runtime_unset},
	{"a trust.trustedRuntime that can be run", runtime_ready},
	{"a host with KVM", kvm_there},
	{"a host without KVM", kvm_missing},
};

/* Whether change @i leads to another decision. */
static bool would_change(const struct decision *d, size_t i, enum trust_choice *ret)
{
	struct trust_case c = d->in;
	struct trust_verdict v = {.rule = 0};

	changes[i].apply(&c);
	trust_decide(&c, &v);
	*ret = v.choice;
	return v.choice != d->verdict.choice;
}

static void annotation_fact(const struct decision *d, char *dst, size_t room)
{
	char shown[100];

	if (!d->trust.mark && d->trust.alike) {
		str_quote(shown, sizeof(shown), d->trust.alike);
		snprintf(dst, room, "not set (%s is another one)", shown);
	} else if (!d->trust.mark) {
		snprintf(dst, room, "not set");
	} else {
		str_quote(shown, sizeof(shown), d->trust.mark);
		snprintf(dst, room, "%s%s", shown,
			 d->in.mark == TRUST_MARK_UNTRUSTED && strcmp(d->trust.mark, "false")
				 ? " (not \"true\", so it is untrusted)"
				 : "");
	}
}

static void runtime_fact(const struct decision *d, char *dst, size_t room)
{
	if (d->in.runtime == TRUST_RUNTIME_READY)
		snprintf(dst, room, "%s", d->runtime);
	else
		snprintf(dst, room, "%s",
			 d->in.runtime == TRUST_RUNTIME_UNSET ? "not set" : d->runtime_why.text);
}

static void pod_fact(const struct decision *d, bool seen, char *dst, size_t room)
{
	static const char *const roles[] = {"none", "sandbox of", "container of"};
	bool member = d->spec->role == SPEC_ROLE_CONTAINER;

	snprintf(dst, room, "%s%s%s%s%s", roles[d->spec->role],
		 d->spec->role == SPEC_ROLE_SINGLE ? "" : " ",
		 d->spec->role == SPEC_ROLE_SINGLE ? "" : d->pod, member ? ", " : "",
		 !member ? ""
		 : seen	 ? pods[d->in.pod]
			 : "which this user cannot look for");
}

#define FACTS 8

static void gather(const struct decision *d, const struct trust_config *config, bool seen,
		   struct fact f[FACTS])
{
	static const struct {
		const char *key, *what;
	} names[FACTS] = {
		{"annotation", TRUST_ANNOTATION},
		{"privileged", "privileged"},
		{"host", "namespaces of the host"},
		{"pod", "pod"},
		{"default", "trust.default"},
		{"trustedRuntime", "trust.trustedRuntime"},
		{"untrustedRuntime", "trust.untrustedRuntime"},
		{"kvm", "/dev/kvm"},
	};
	size_t i, room = sizeof(f->value);

	for (i = 0; i < FACTS; i++) {
		f[i].key = names[i].key;
		f[i].what = names[i].what;
	}
	annotation_fact(d, f[0].value, room);
	snprintf(f[1].value, room, "%s",
		 d->trust.said	    ? "yes, says trust.privilegedAnnotation"
		 : d->in.privileged ? "yes"
				    : "no");
	trust_host_names(d->in.host, f[2].value, room);
	if (!*f[2].value)
		str_copy(f[2].value, room, "none");
	pod_fact(d, seen, f[3].value, room);
	snprintf(f[4].value, room, "%s", config_level_name(config->level));
	runtime_fact(d, f[5].value, room);
	snprintf(f[6].value, room, "%s", config_untrusted_name(config->untrusted));
	snprintf(f[7].value, room, "%s%s", d->in.kvm ? "usable" : d->kvm_why.text,
		 d->in.kvm && d->kvm_why.code ? ", as far as this user can tell" : "");
}

static const char *ruling(const struct decision *d, size_t i)
{
	if (i == d->verdict.rule)
		return "decides";
	if (i < d->verdict.rule)
		return "does not apply";
	return trust_rule_applies(i, &d->in) ? "would apply" : "would not apply";
}

static const char *runtime_of(const struct decision *d)
{
	return d->verdict.choice == TRUST_HAND_OVER ? d->runtime
						    : trust_choice_name(d->verdict.choice);
}

static void print_table(const struct decision *d, const struct fact *f)
{
	enum trust_choice then;
	size_t i, n = 0;

	printf("%-10s %s\n%-10s %s\n%-10s %s\n\nLOOKED AT\n", "bundle", d->source.bundle, "runtime",
	       runtime_of(d), "why", d->verdict.why);
	for (i = 0; i < FACTS; i++)
		printf("  %-36s %s\n", f[i].what, f[i].value);
	printf("\nRULES, of which the first that applies decides\n");
	for (i = 0; trust_rule_name(i); i++)
		printf("  %-17s %-15s %s\n", trust_rule_name(i), ruling(d, i), trust_rule_text(i));
	printf("\nWHAT WOULD CHANGE IT\n");
	for (i = 0; i < ARRAY_LEN(changes); i++) {
		if (!would_change(d, i, &then))
			continue;
		printf("  %-8s %s\n", trust_choice_name(then), changes[i].text);
		n++;
	}
	if (!n)
		printf("  no single thing\n");
}

static int print_json(const struct decision *d, const struct fact *f, struct err *e)
{
	struct json_out *o = json_out_new();
	enum trust_choice then;
	size_t i;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "bundle", d->source.bundle);
	json_out_str(o, "decision", trust_choice_name(d->verdict.choice));
	json_out_str(o, "runtime", runtime_of(d));
	json_out_str(o, "rule", trust_rule_name(d->verdict.rule));
	json_out_str(o, "why", d->verdict.why);
	json_out_obj(o, "lookedAt");
	for (i = 0; i < FACTS; i++)
		json_out_str(o, f[i].key, f[i].value);
	json_out_end(o);
	json_out_arr(o, "rules");
	for (i = 0; trust_rule_name(i); i++) {
		json_out_obj(o, NULL);
		json_out_str(o, "name", trust_rule_name(i));
		json_out_str(o, "text", trust_rule_text(i));
		json_out_bool(o, "applies", trust_rule_applies(i, &d->in));
		json_out_bool(o, "decides", i == d->verdict.rule);
		json_out_end(o);
	}
	json_out_end(o);
	json_out_arr(o, "changes");
	for (i = 0; i < ARRAY_LEN(changes); i++) {
		if (!would_change(d, i, &then))
			continue;
		json_out_obj(o, NULL);
		json_out_str(o, "change", changes[i].text);
		json_out_str(o, "decision", trust_choice_name(then));
		json_out_end(o);
	}
	json_out_end(o);
	return json_out_print(o, true, stdout, e);
}

static int explain(const struct cli *c, const char *bundle, bool json, struct err *e)
{
	_cleanup_close_ int rootfd = open(c->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir = -1;
	bool seen = rootfd >= 0 || errno == ENOENT;
	struct config config;
	struct fact f[FACTS];
	struct decision d;
	int rc = config_load(&config, e);

	if (rc < 0)
		return rc;
	dir = openat(rootfd, HANDED_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = decision_make(bundle, NULL, &config.trust, rootfd, dir, &d, e);
	if (rc < 0)
		return rc;
	gather(&d, &config.trust, seen, f);
	if (json)
		rc = print_json(&d, f, e);
	else
		print_table(&d, f);
	if (!rc && d.verdict.choice == TRUST_REFUSE)
		rc = TRUST_REFUSED;
	decision_done(&d);
	return rc;
}

/**
 * cmd_trust() - podvm trust explain
 */
int cmd_trust(struct cli *c, int argc, char **argv, struct err *e)
{
	bool json = false;
	const struct opt t[] = {OPT_FLAG(0, "json", &json, "for programs"), OPT_END};
	bool known = argc > 1 && !strcmp(argv[1], "explain");
	char *name = argv[0];
	int first, rc;

	/* What follows the second word is a command line like any other. */
	argv[known] = name;
	rc = cli_args(t, argc - known, argv + known, 1, 1, &first, e);
	if (rc <= 0)
		return rc;
	if (!known)
		return err_set(e, EINVAL, "usage: podvm trust explain [--json] BUNDLE");
	return explain(c, argv[known + first], json, e);
}
