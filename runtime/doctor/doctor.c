// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What keeps pods from running on this host, or from running well, and what mends it.
 * A check is a small function that looks at one thing and reports it, also when it is
 * well; it changes nothing, loads no module and starts no pod. Whatever it looks at
 * goes through struct doctor_host: files below a prefix, and a few calls, so that a test
 * can show it a host that is ill.
 *
 * Severities: an error keeps pods from starting, a warning makes some of them fail or run
 * badly, a note is what somebody may want to know. Only errors make the exit status 1.
 */
#include "runtime/doctor/doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "lib/mem.h"

static const struct doctor_check *const tables[] = {
	doctor_checks_machine, doctor_checks_files, doctor_checks_memory,
	doctor_checks_kernel, doctor_checks_network, doctor_checks_engines,
};

static const char *severity_name(enum doctor_severity s)
{
	static const char *const names[] = { "ok", "note", "warning", "error" };

	return names[s];
}

/**
 * doctor_found() - report something of the check under way
 * @fmt: a sentence without its full stop
 */
void doctor_found(struct doctor *d, enum doctor_severity s, const char *fmt, ...)
{
	struct doctor_finding *more = realloc(d->v, (d->n + 1) * sizeof(*more)), *x;
	va_list ap;

	if (!more) {
		d->failed = true;
		return;
	}
	d->v = more;
	x = &d->v[d->n++];
	*x = (struct doctor_finding){ .check = d->now->name, .severity = s };
	va_start(ap, fmt);
	vsnprintf(x->text, sizeof(x->text), fmt, ap);
	va_end(ap);
}

/**
 * doctor_mend() - what mends the last finding
 */
void doctor_mend(struct doctor *d, const char *fmt, ...)
{
	struct doctor_finding *x = d->n ? &d->v[d->n - 1] : NULL;
	va_list ap;

	if (!x)
		return;
	va_start(ap, fmt);
	vsnprintf(x->mend, sizeof(x->mend), fmt, ap);
	va_end(ap);
}

/**
 * doctor_run() - carry out all checks
 * @d: host, root and config are set; doctor_done(); check @d->failed afterwards
 */
void doctor_run(struct doctor *d)
{
	size_t t;

	for (t = 0; t < ARRAY_LEN(tables); t++)
		for (d->now = tables[t]; d->now->name; d->now++) {
			progress_wait_next(d->wait, d->now->name);
			d->now->look(d);
		}
	d->now = NULL;
}

/**
 * doctor_done() - free what was found
 */
void doctor_done(struct doctor *d)
{
	free(d->v);
	d->v = NULL;
	d->n = 0;
}

/**
 * doctor_count() - how many findings of a severity there are
 */
size_t doctor_count(const struct doctor *d, enum doctor_severity s)
{
	size_t i, n = 0;

	for (i = 0; i < d->n; i++)
		n += d->v[i].severity == s;
	return n;
}

/**
 * doctor_list() - print all checks and what they look at
 */
void doctor_list(FILE *f)
{
	const struct doctor_check *c;
	size_t t;

	for (t = 0; t < ARRAY_LEN(tables); t++)
		for (c = tables[t]; c->name; c++)
			fprintf(f, "%-14s %s\n", c->name, c->about);
}

/**
 * doctor_print() - print the findings for people
 */
void doctor_print(const struct doctor *d, FILE *f)
{
	size_t i;

	fprintf(f, "%-14s %-8s %s\n", "CHECK", "RESULT", "WHAT");
	for (i = 0; i < d->n; i++) {
		const struct doctor_finding *x = &d->v[i];

		fprintf(f, "%-14s %-8s %s\n", x->check, severity_name(x->severity), x->text);
		if (*x->mend)
			fprintf(f, "%-23s mend: %s\n", "", x->mend);
	}
	fprintf(f, "%zu errors, %zu warnings, %zu notes\n", doctor_count(d, DOCTOR_ERROR),
		doctor_count(d, DOCTOR_WARNING), doctor_count(d, DOCTOR_NOTE));
}

/**
 * doctor_print_json() - print the findings for programs
 *
 * Return: 0 or -ENOMEM
 */
int doctor_print_json(const struct doctor *d, FILE *f, struct err *e)
{
	struct json_out *o = json_out_new();
	size_t i;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_u64(o, "errors", doctor_count(d, DOCTOR_ERROR));
	json_out_u64(o, "warnings", doctor_count(d, DOCTOR_WARNING));
	json_out_u64(o, "notes", doctor_count(d, DOCTOR_NOTE));
	json_out_arr(o, "findings");
	for (i = 0; i < d->n; i++) {
		json_out_obj(o, NULL);
		json_out_str(o, "check", d->v[i].check);
		json_out_str(o, "severity", severity_name(d->v[i].severity));
		json_out_str(o, "text", d->v[i].text);
		if (*d->v[i].mend)
			json_out_str(o, "mend", d->v[i].mend);
		json_out_end(o);
	}
	json_out_end(o);
	return json_out_print(o, true, f, e);
}
