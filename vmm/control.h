/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H

#include "lib/err.h"

int control_run(int sock, const struct err *refuse, struct err *e);

#endif
