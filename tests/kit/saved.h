/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_SAVED_H
#define TESTS_KIT_SAVED_H

#include "vmm/vmm.h"

/**
 * struct kit_saved - a machine that was saved, in memory
 * @memory: for VMM_CONFIG; with @state for VMM_RESTORE; -1
 */
struct kit_saved {
	int memory, state;
};

int kit_saved_new(struct kit_saved *s, struct err *e);
int kit_saved_take(struct kit_saved *s, struct vmm *v, struct err *e);
int kit_saved_restore(const struct kit_saved *s, struct vmm *v, const struct vmm_config *c,
		      int console, struct err *e);
void kit_saved_done(struct kit_saved *s);

#endif
