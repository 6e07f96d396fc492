/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_STOP_H
#define STORAGE_STOP_H

#include "lib/err.h"

void stop_catch(void);
int stop_signal(void);
int stop_check(struct err *e);

#endif
