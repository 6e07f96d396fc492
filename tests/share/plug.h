/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SHARE_PLUG_H
#define TESTS_SHARE_PLUG_H

#include "lib/err.h"
#include "vmm/vmm.h"

#define CALL_MS 60000

int plug_disk(struct vmm *v, const char *path, struct err *e);
int plug_tap(struct vmm *v, const char *text, struct err *e);
int plug_port(struct vmm *v, const char *name, struct err *e);
int look(const struct vmm *v, uint64_t ram_bytes, struct err *e);

#endif
