/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_EROREAD_H
#define TESTS_KIT_EROREAD_H

#include <stddef.h>
#include <stdint.h>

#include "storage/tree.h"

const char *eroread_compare(const uint8_t *image, uint64_t bytes, const struct tree_node *root);

#endif
