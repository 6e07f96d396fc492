// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The command "check": collects the state of a pod's network once
 * (check-collect.c), lets every rule judge it (check-tap.c, check-host.c,
 * check-node.c, check-guest.c), and prints what was found: a code that programs may rely on, how
 * bad it is, a sentence, and the command that mends it.
 *
 * Worst first; within that in the order of the path from the pod's namespace
 * outwards and then into the guest, since what is nearest causes the rest.
 *
 * Exit status: 0 nothing found but notes, 1 findings, 2 it could not check.
 */
#include "netplug/check.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/cmd.h"

#define STATUS_FOUND 1
#define STATUS_FAILED 2

static const struct {
	const struct check_rule *rules;
	const size_t *n;
} tables[] = {
	{ check_rules_tap, &check_n_rules_tap },
	{ check_rules_host, &check_n_rules_host },
	{ check_rules_node, &check_n_rules_node },
	{ check_rules_guest, &check_n_rules_guest },
};

static const char *severity_name(enum check_severity s)
{
	static const char *const names[] = { "note", "warning", "error" };

	return names[s];
}

/**
 * check_found() - report a finding of the rule under way
 * @link: that it is about, or ""
 */
void check_found(struct check_findings *f, const char *link, const char *fmt, ...)
{
	struct check_finding *x, *more;
	va_list ap;

	more = realloc(f->v, (f->n + 1) * sizeof(*more));
	if (!more) {
		f->failed = true;
		return;
	}
	f->v = more;
	x = &f->v[f->n++];
	*x = (struct check_finding){ .code = f->now->code, .severity = f->now->severity };
	snprintf(x->link, sizeof(x->link), "%s", link);
	va_start(ap, fmt);
	vsnprintf(x->text, sizeof(x->text), fmt, ap);
	va_end(ap);
}

/**
 * check_mend() - append to the command that mends the last finding
 */
void check_mend(struct check_findings *f, const char *fmt, ...)
{
	struct check_finding *x = f->n ? &f->v[f->n - 1] : NULL;
	size_t len = x ? strlen(x->mend) : 0;
	va_list ap;

	if (!x)
		return;
	va_start(ap, fmt);
	vsnprintf(x->mend + len, sizeof(x->mend) - len, fmt, ap);
	va_end(ap);
}

/**
 * check_word() - a name as the shell reads it, quoted where that is needed
 * @name: what does not fit is cut
 */
struct check_word check_word(const char *name)
{
	struct check_word w;
	size_t n = 0;
	const char *c;

	for (c = name; isalnum((unsigned char)*c) || (*c && strchr("_-./:@+", *c)); c++)
		;
	if (*name && !*c) {
		snprintf(w.s, sizeof(w.s), "%s", name);
		return w;
	}
	w.s[n++] = '\'';
	for (c = name; *c && n + 7 < sizeof(w.s); c++) {
		if (*c == '\'')
			n += (size_t)snprintf(w.s + n, sizeof(w.s) - n, "'\\''");
		else
			w.s[n++] = *c;
	}
	w.s[n++] = '\'';
	w.s[n] = 0;
	return w;
}

/**
 * check_in_subnet() - whether two addresses have their first @bits in common
 */
bool check_in_subnet(const uint8_t *ip, const uint8_t *net, unsigned int bits)
{
	unsigned int rest = bits % 8;

	return !memcmp(ip, net, bits / 8) &&
	       (!rest || !((ip[bits / 8] ^ net[bits / 8]) >> (8 - rest)));
}

static void judge(const struct check_state *s, struct check_findings *f)
{
	size_t t, i;

	for (t = 0; t < ARRAY_LEN(tables); t++)
		for (i = 0; i < *tables[t].n; i++) {
			f->now = &tables[t].rules[i];
			/* Without the other namespace there is nothing to judge there. */
			if ((tables[t].rules != check_rules_host &&
			     tables[t].rules != check_rules_node) || s->host.scan)
				f->now->judge(s, f);
		}
}

static size_t count(const struct check_findings *f, enum check_severity s)
{
	size_t i, n = 0;

	for (i = 0; i < f->n; i++)
		n += f->v[i].severity == s;
	return n;
}

static void print_text(const struct check_state *s, const struct check_findings *f, FILE *out)
{
	size_t i;
	int level;

	fprintf(out, "network namespace %s%s%s\n", s->t->shown, *s->t->pod ? ", pod " : "", s->t->pod);
	for (level = CHECK_ERROR; level >= CHECK_NOTE; level--)
		for (i = 0; i < f->n; i++) {
			const struct check_finding *x = &f->v[i];

			if ((int)x->severity != level)
				continue;
			fprintf(out, "\n%s %s%s%s: %s\n", severity_name(x->severity), x->code,
				*x->link ? " " : "", x->link, x->text);
			if (*x->mend)
				fprintf(out, "  mend: %s\n", x->mend);
		}
	fprintf(out, "%s%zu interfaces%s; %zu errors, %zu warnings, %zu notes\n", f->n ? "\n" : "",
		s->n_ports, s->guest.state ? ", compared with the guest" : "", count(f, CHECK_ERROR),
		count(f, CHECK_WARNING), count(f, CHECK_NOTE));
}

static int print_json(const struct check_state *s, const struct check_findings *f, FILE *out,
		      struct err *e)
{
	struct json_out *o = json_out_new();
	size_t i;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "netns", s->t->path);
	if (*s->t->pod)
		json_out_str(o, "pod", s->t->pod);
	json_out_bool(o, "guest", s->guest.state);
	json_out_u64(o, "errors", count(f, CHECK_ERROR));
	json_out_u64(o, "warnings", count(f, CHECK_WARNING));
	json_out_u64(o, "notes", count(f, CHECK_NOTE));
	json_out_arr(o, "findings");
	for (i = 0; i < f->n; i++) {
		json_out_obj(o, NULL);
		json_out_str(o, "code", f->v[i].code);
		json_out_str(o, "severity", severity_name(f->v[i].severity));
		if (*f->v[i].link)
			json_out_str(o, "interface", f->v[i].link);
		json_out_str(o, "text", f->v[i].text);
		json_out_str(o, "mend", f->v[i].mend);
		json_out_end(o);
	}
	json_out_end(o);
	return json_out_print(o, true, out, e);
}

static int list(FILE *out)
{
	size_t t, i;

	for (t = 0; t < ARRAY_LEN(tables); t++)
		for (i = 0; i < *tables[t].n; i++)
			fprintf(out, "%-20s %-8s %s\n", tables[t].rules[i].code,
				severity_name(tables[t].rules[i].severity), tables[t].rules[i].about);
	return 0;
}

/**
 * check_run() - check a target, and print what was found
 * @t: from target_parse(); closed afterwards
 *
 * Return: 0; 1 errors or warnings were found; minus errno
 */
int check_run(struct target *t, FILE *out, struct err *e)
{
	struct check_state *s = mem_new(struct check_state);
	struct check_findings f = { .v = NULL };
	int rc = s ? target_open(t, e) : err_set(e, ENOMEM, "out of memory");

	if (!rc) {
		rc = check_collect(t, s, e);
		if (rc < 0)
			err_wrap(e, "network namespace %s", t->shown);
	}
	if (!rc) {
		judge(s, &f);
		rc = f.failed ? err_set(e, ENOMEM, "out of memory") : 0;
	}
	if (!rc && t->json)
		rc = print_json(s, &f, out, e);
	else if (!rc)
		print_text(s, &f, out);
	if (!rc)
		rc = count(&f, CHECK_ERROR) + count(&f, CHECK_WARNING) ? STATUS_FOUND : 0;
	if (s)
		check_done(s);
	free(s);
	free(f.v);
	target_close(t);
	return rc;
}

static int check_again(struct target *t, uint64_t seconds, struct err *e)
{
	const char *clear = isatty(STDOUT_FILENO) && seconds && !t->json ? "\033[H\033[2J" : "";
	int rc;

	do {
		printf("%s", clear);
		rc = check_run(t, stdout, e);
	} while (rc >= 0 && seconds && !fflush(stdout) && cmd_wait(seconds));
	return rc;
}

/**
 * cmd_check() - the command "check"
 *
 * Return: exit status
 */
int cmd_check(int argc, char **argv)
{
	static const char help[] =
		"Usage: podvm-netplug check TARGET [OPTION...]\n"
		"\n"
		"Looks for what keeps packets from a pod: between its interface and its tap, on\n"
		"the host's side (bridge, routes, forwarding, firewall, duplicates), and in the\n"
		"guest, which is compared with the pod's namespace. Each finding has a code, a\n"
		"sentence, and the command that mends it. Changes nothing. Run it where the other\n"
		"end of the pod's veth is: on the host.\n"
		"\n"
		"Exit status: 0 nothing but notes, 1 something was found, 2 it could not check.\n"
		"\n"
		"  podvm-netplug check web-0\n"
		"  podvm-netplug check cni-1234 --json | jq -r '.findings[].mend'\n"
		"  podvm-netplug check --list          # all codes, and what they mean\n"
		"\n";
	struct target t = TARGET_INIT;
	bool all = false;
	uint64_t seconds = 0;
	const struct opt table[] = {
		OPT_FLAG('l', "list", &all, "list what is looked for, and end"),
		OPT_MAYBE_U64('w', "watch", &seconds, "[SECONDS]",
			      "again every second, or so many; until interrupted"),
		TARGET_OPTIONS(t),
		OPT_END,
	};
	struct err e = { 0 };
	int rc = target_parse(table, &t, argc, argv, help, &e);

	if (rc == 1)
		rc = 0;
	else if (!rc && all)
		rc = list(stdout);
	else if (!rc)
		rc = check_again(&t, seconds, &e);
	if (rc >= 0 && (fflush(stdout) || ferror(stdout)))
		rc = err_sys(&e, "write the output");
	if (rc < 0)
		fprintf(stderr, "podvm-netplug check: %s\n", e.text);
	return rc < 0 ? STATUS_FAILED : rc;
}
