/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_HOME_H
#define TESTS_FUZZ_HOME_H

#include <stdbool.h>

int fuzz_home(bool *ret_fresh);

#endif
