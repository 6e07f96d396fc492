/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_PROBE_H
#define LIB_PROBE_H

#include "lib/agent.pb-c.h"
#include "lib/err.h"

int probe_send(const Podvm__Probe *p, struct err *e);

#endif
