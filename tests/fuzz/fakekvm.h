/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_FAKEKVM_H
#define TESTS_FUZZ_FAKEKVM_H

#include <stdbool.h>

void fakekvm_begin(bool guest_ends);

#endif
