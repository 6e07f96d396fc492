// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What `podvm-storage test` has found: a row for each check, with one of three
 * verdicts. What could not be tested on this host is a row of its own with the reason
 * and decides the exit status (3), so that it cannot be taken for passed.
 *
 * Source of the JUnit form: the schema of the Jenkins xUnit plugin (testsuite,
 * testcase, failure, skipped), which CI systems read.
 */
#include "storage/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/str.h"
#include "storage/cmd.h"

static const char *const names[] = {"pass", "fail", "not possible"};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/**
 * report_begin() - begin
 * @subject: borrowed
 */
void report_begin(struct report *r, const char *subject)
{
	*r = (struct report){.subject = subject, .mark_us = now_us()};
}

static void add(struct report *r, enum verdict v, const char *name, const char *fmt, va_list ap)
{
	struct report_row *row = &r->row[r->n];
	uint64_t now = now_us();

	if (r->n == REPORT_ROWS_MAX) {
		r->lost = true;
		return;
	}
	snprintf(row->name, sizeof(row->name), "%s", name);
	row->verdict = v;
	row->us = now - r->mark_us;
	if (vasprintf(&row->text, fmt, ap) < 0) {
		row->text = NULL;
		r->lost = true;
	}
	r->mark_us = now;
	r->n++;
}

/**
 * report_add() - add a row
 * @fmt: one line
 */
void report_add(struct report *r, enum verdict v, const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(r, v, name, fmt, ap);
	va_end(ap);
}

/**
 * report_result() - add a row for what a call returned
 * @rc:  0: passed, @fmt tells what was found; -EOPNOTSUPP: not possible, -EINTR: not
 *       possible either, both with @e's reason; else failed, with it
 */
void report_result(struct report *r, int rc, const char *name, const struct err *e, const char *fmt,
		   ...)
{
	va_list ap;

	if (rc < 0) {
		report_add(r,
			   rc == -EOPNOTSUPP || rc == -EINTR ? VERDICT_NOT_POSSIBLE : VERDICT_FAIL,
			   name, "%s", e->text);
		return;
	}
	va_start(ap, fmt);
	add(r, VERDICT_PASS, name, fmt, ap);
	va_end(ap);
}

/**
 * report_count() - how many rows have a verdict
 */
size_t report_count(const struct report *r, enum verdict v)
{
	size_t i, n = 0;

	for (i = 0; i < r->n; i++)
		n += r->row[i].verdict == v;
	return n;
}

/**
 * report_status() - exit status: 1: something failed; 3: something could not be
 * tested; 0
 */
int report_status(const struct report *r)
{
	if (report_count(r, VERDICT_FAIL) || r->lost || !r->n)
		return 1;
	return report_count(r, VERDICT_NOT_POSSIBLE) ? 3 : 0;
}

/**
 * report_table() - for people, on standard output
 */
int report_table(const struct report *r)
{
	size_t i;

	printf("%-32s  %-12s  %9s  %s\n", "CHECK", "RESULT", "MS", "");
	for (i = 0; i < r->n; i++)
		printf("%-32s  %-12s  %9.1f  %s\n", r->row[i].name, names[r->row[i].verdict],
		       (double)r->row[i].us / 1000, r->row[i].text ? r->row[i].text : "");
	printf("\n%zu passed, %zu failed, %zu not possible here%s\n", report_count(r, VERDICT_PASS),
	       report_count(r, VERDICT_FAIL), report_count(r, VERDICT_NOT_POSSIBLE),
	       r->lost ? "; the report is not complete" : "");
	return 0;
}

/**
 * report_json() - for programs, on standard output; podvm-storage(8) has the names
 */
int report_json(const struct report *r, struct err *e)
{
	struct json_out *o = json_out_new();
	size_t i;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	cmd_json_name(o, "subject", r->subject);
	json_out_u64(o, "passed", report_count(r, VERDICT_PASS));
	json_out_u64(o, "failed", report_count(r, VERDICT_FAIL));
	json_out_u64(o, "notPossible", report_count(r, VERDICT_NOT_POSSIBLE));
	json_out_arr(o, "checks");
	for (i = 0; i < r->n; i++) {
		json_out_obj(o, NULL);
		json_out_str(o, "name", r->row[i].name);
		json_out_str(o, "result", names[r->row[i].verdict]);
		json_out_u64(o, "microseconds", r->row[i].us);
		cmd_json_name(o, "text", r->row[i].text);
		json_out_end(o);
	}
	json_out_end(o);
	return json_out_print(o, true, stdout, e);
}

/* XML 1.0 has no control characters; bytes that are no ASCII become question marks. */
static void xml(struct strbuf *b, const char *s)
{
	for (; s && *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '<' || c == '>' || c == '&' || c == '"')
			strbuf_add(b, "&#%u;", c);
		else
			strbuf_add(b, "%c", c < 0x20 || c > 0x7e ? '?' : c);
	}
}

static void xml_row(struct strbuf *b, const struct report_row *row)
{
	static const char *const tag[] = {"system-out", "failure", "skipped"};
	bool attribute = row->verdict != VERDICT_PASS;

	strbuf_add(b, "  <testcase classname=\"podvm-storage\" name=\"");
	xml(b, row->name);
	strbuf_add(b, "\" time=\"%.6f\">\n    <%s%s", (double)row->us / 1e6, tag[row->verdict],
		   attribute ? " message=\"" : ">");
	xml(b, row->text);
	strbuf_add(b, attribute ? "\"/>\n" : "</%s>\n", tag[row->verdict]);
	strbuf_add(b, "  </testcase>\n");
}

/**
 * report_junit() - for CI systems, into a file that is made or replaced
 *
 * Return: 0 or minus errno
 */
int report_junit(const struct report *r, const char *path, struct err *e)
{
	struct strbuf b = {0};
	uint64_t us = 0;
	size_t i;
	int rc;

	for (i = 0; i < r->n; i++)
		us += r->row[i].us;
	strbuf_add(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"");
	xml(&b, r->subject);
	strbuf_add(
		&b,
		"\" tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"%zu\" time=\"%.6f\">\n",
		r->n, report_count(r, VERDICT_FAIL), report_count(r, VERDICT_NOT_POSSIBLE),
		(double)us / 1e6);
	for (i = 0; i < r->n; i++)
		xml_row(&b, &r->row[i]);
	strbuf_add(&b, "</testsuite>\n");
	rc = b.failed ? err_set(e, ENOMEM, "out of memory")
		      : file_replace(AT_FDCWD, path, b.text, b.len, 0644, e);
	strbuf_done(&b);
	return rc < 0 ? err_wrap(e, "--junit") : 0;
}

/**
 * report_done() - free the rows
 */
void report_done(struct report *r)
{
	while (r->n)
		free(r->row[--r->n].text);
}
