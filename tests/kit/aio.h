/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_AIO_H
#define TESTS_KIT_AIO_H

#include <stdbool.h>

#include "vmm/aio.h"

void kit_aio_fault(enum aio_kind kind, unsigned int nth, unsigned int times, int result);
unsigned int kit_aio_fired(void);
void kit_aio_hold(bool on);
unsigned int kit_aio_submits(void);
unsigned int kit_aio_count(enum aio_kind kind);
int kit_aio_flags(enum aio_kind kind);

#endif
