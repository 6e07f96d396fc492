/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_METRICS_H
#define VMM_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/vmm.h"

enum metrics_stamp { METRICS_START, METRICS_CONFIG, METRICS_RUN, METRICS_STAMPS };

void metrics_exit(enum vmm_exit kind);
void metrics_stamp(enum metrics_stamp which);
void metrics_fill(struct vmm_stats *ret);
bool metrics_may_log(void);

#endif
