/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_FAULT_H
#define TESTS_KIT_FAULT_H

#include <stdbool.h>

/* What can be made to fail. */
#define KIT_FAULT_MEMORY 1u
#define KIT_FAULT_FILES 2u
#define KIT_FAULT_THREADS 4u

void kit_fault_arm(unsigned int kinds, unsigned int nth, int code);
bool kit_fault_fired(void);

#endif
