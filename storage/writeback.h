/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_WRITEBACK_H
#define STORAGE_WRITEBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/delta.h"
#include "lib/err.h"
#include "storage/storage.h"

/* Names of what lies in the staging directory. */
#define WRITEBACK_NEW "new"
#define WRITEBACK_WORK "work"
#define WRITEBACK_MERGED "merged"

/* Staging directories are called this and 16 hexadecimal digits. */
#define WRITEBACK_PREFIX ".podvm-writeback."
#define WRITEBACK_NAME_BYTES sizeof(WRITEBACK_PREFIX "0123456789abcdef")

/* writeback-stage.c */
int upper_copy(int from, int to, struct err *e);

/* writeback-read.c */
struct delta_reader;
int delta_reader_new(int stream, struct delta_reader **ret, struct err *e);
void delta_reader_free(struct delta_reader *r);
int delta_read(struct delta_reader *r, struct delta_head *ret, char ret_name[DELTA_NAME_MAX + 1],
	       const uint8_t **ret_data, struct err *e);

/* writeback-apply.c */
int delta_apply(int root, int stream, const struct writeback_config *config,
		struct writeback_stats *ret, struct err *e);

#endif
