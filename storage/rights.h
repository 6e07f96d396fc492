/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_RIGHTS_H
#define STORAGE_RIGHTS_H

#include <stdint.h>

#include "lib/err.h"

int rights_reduce(uint64_t kept, uint64_t *ret_before, struct err *e);
void rights_restore(uint64_t before);

#endif
