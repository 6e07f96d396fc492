/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_HOME_H
#define TESTS_FUZZ_HOME_H

#include <stdbool.h>
#include <stddef.h>

int fuzz_home(bool *ret_fresh);
const char *fuzz_file(const void *data, size_t len);

#endif
