/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_EMPTYROOT_H
#define LIB_EMPTYROOT_H

#include "lib/err.h"

int emptyroot_enter(struct err *e);

#endif
