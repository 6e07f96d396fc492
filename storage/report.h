/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_REPORT_H
#define STORAGE_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define REPORT_ROWS_MAX 128

enum verdict {
	VERDICT_PASS,
	VERDICT_FAIL,
	VERDICT_NOT_POSSIBLE, /* could not be tested here; never counted as passed */
};

/**
 * struct report_row - one check
 * @text: what was found, or why it failed or is not possible; owned
 * @us:   since the row before
 */
struct report_row {
	char name[48];
	enum verdict verdict;
	char *text;
	uint64_t us;
};

/**
 * struct report - checks in the order they were made; zero-initialised, report_done()
 * @subject: what was tested, borrowed
 * @lost:    a row did not fit, or memory was short: the report is not complete
 */
struct report {
	const char *subject;
	struct report_row row[REPORT_ROWS_MAX];
	size_t n;
	uint64_t mark_us;
	bool lost;
};

void report_begin(struct report *r, const char *subject);
void report_add(struct report *r, enum verdict v, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void report_result(struct report *r, int rc, const char *name, const struct err *e, const char *fmt,
		   ...) __attribute__((format(printf, 5, 6)));
size_t report_count(const struct report *r, enum verdict v);
int report_table(const struct report *r);
int report_json(const struct report *r, struct err *e);
int report_junit(const struct report *r, const char *path, struct err *e);
int report_status(const struct report *r);
void report_done(struct report *r);

#endif
