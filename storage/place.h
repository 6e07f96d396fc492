/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_PLACE_H
#define STORAGE_PLACE_H

#include <stddef.h>

#include "lib/err.h"

/* What podvm-storage keeps on a host while it runs; gc knows these places. */
#define PLACE_RUN "/run/podvm-storage"
#define PLACE_SERVE PLACE_RUN "/serve"
/* Where pods remember layers unless the configuration says otherwise. */
#define PLACE_CACHE "/var/lib/podvm/cache/layers"
#define PLACE_TEST PLACE_RUN "/test"

int place_make(const char *path, struct err *e);
int place_program(char *dst, size_t room, const char *name, struct err *e);
int place_libexec(char *dst, size_t room, const char *name, struct err *e);

#endif
