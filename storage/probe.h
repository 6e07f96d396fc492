/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_PROBE_H
#define STORAGE_PROBE_H

#include <stddef.h>
#include <stdint.h>

int probe_devname(uint32_t major, uint32_t minor, char *dst, size_t room);
int probe_whole(uint32_t major, uint32_t minor, char *dst, size_t room);

#endif
