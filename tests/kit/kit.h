/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_KIT_H
#define TESTS_KIT_KIT_H

#include <stdint.h>

void kit_skip(const char *suite, const char *reason);
uint64_t kit_seed(const char *suite);
unsigned int kit_rounds(unsigned int usual);

#endif
