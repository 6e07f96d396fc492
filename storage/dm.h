/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_DM_H
#define STORAGE_DM_H

#include <stddef.h>
#include <stdint.h>

int dm_describe(uint32_t major, uint32_t minor, char *dst, size_t room);

#endif
