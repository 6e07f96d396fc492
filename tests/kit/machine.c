// SPDX-License-Identifier: Apache-2.0
#include "tests/kit/machine.h"

#include <check.h>
#include <sys/socket.h>

#include "lib/fd.h"
#include "runtime/supervisor/supervisor.h"

/**
 * kit_machine_begin() - connect a pod with a monitor and a guest
 * @m:       both threads get their ends by it, so it outlives them
 * @p:       gets the other ends
 * @monitor: reads @m->vmm until that ends
 * @guest:   reads @m->agent until that ends
 */
void kit_machine_begin(struct kit_machine *m, struct pod *p, void *(*monitor)(void *),
		       void *(*guest)(void *))
{
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	p->vmm = (struct vmm){ .sock = s[0], .pidfd = -1 };
	m->vmm = s[1];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	p->agent.fd = s[0];
	m->agent = s[1];
	ck_assert_int_eq(pthread_create(&m->thread[0], NULL, monitor, NULL), 0);
	ck_assert_int_eq(pthread_create(&m->thread[1], NULL, guest, NULL), 0);
}

/**
 * kit_machine_end() - hang up, and wait for both threads
 */
void kit_machine_end(struct kit_machine *m, struct pod *p)
{
	vmm_done(&p->vmm);
	agent_done(&p->agent);
	pthread_join(m->thread[0], NULL);
	pthread_join(m->thread[1], NULL);
	fd_close(&m->vmm);
	fd_close(&m->agent);
}
