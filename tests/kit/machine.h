/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_MACHINE_H
#define TESTS_KIT_MACHINE_H

#include <pthread.h>

struct pod;

/**
 * struct kit_machine - a pod's monitor and guest, played by two threads of the test
 * @vmm:   the monitor's end of its socket, owned
 * @agent: the agent's end of its connection, owned
 */
struct kit_machine {
	int vmm, agent;
	pthread_t thread[2];
};

void kit_machine_begin(struct kit_machine *m, struct pod *p, void *(*monitor)(void *),
		       void *(*guest)(void *));
void kit_machine_end(struct kit_machine *m, struct pod *p);

#endif
