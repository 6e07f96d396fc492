/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_NATIVE_TRAFFIC_H
#define TESTS_NATIVE_TRAFFIC_H

#include <stdint.h>

#include "lib/err.h"

int traffic_serve(uint16_t port, struct err *e);

#endif
