/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_IDMAP_H
#define LIB_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/agent.pb-c.h"

bool idmap_outside(Podvm__IdMap *const *v, size_t n, uint64_t inside, uint32_t *ret);

#endif
