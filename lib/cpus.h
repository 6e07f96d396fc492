/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_CPUS_H
#define LIB_CPUS_H

#include <sched.h>

/* Room for any set as text, with its NUL: at most two of three numbers, of four digits and a mark. */
#define CPUS_TEXT_BYTES (CPU_SETSIZE * 4)

int cpus_parse(const char *list, cpu_set_t *ret);
void cpus_text(const cpu_set_t *set, char ret[CPUS_TEXT_BYTES]);

#endif
