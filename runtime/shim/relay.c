// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A relay copies one stream in one direction on a thread of its own, with
 * blocking reads and writes: the shim's stdio is shared with other processes,
 * so it must not be made non-blocking. Back-pressure comes by itself.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/shim/shim.h"

#define RELAY_BYTES 32768

struct relay {
	pthread_t thread;
	int from, to;		/* borrowed */
	bool half_close;
};

static void *copy(void *arg)
{
	struct relay *r = arg;
	char buf[RELAY_BYTES];

	for (;;) {
		ssize_t n = read(r->from, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || write_full(r->to, buf, (size_t)n, NULL) < 0)
			break;
	}
	if (r->half_close)
		shutdown(r->to, SHUT_WR);
	return NULL;
}

/**
 * relay_start() - copy @from to @to until end of file or error
 * @from, @to:  borrowed until relay_join(), or the process's end
 * @half_close: @to is a socket: shut its sending side down afterwards
 * @ret:        relay_join() frees it; a relay that may block for ever is left
 *              to the process's end
 *
 * Return: 0 or minus errno
 */
int relay_start(int from, int to, bool half_close, struct relay **ret,
		struct err *e)
{
	struct relay *r = mem_new(struct relay);
	int rc;

	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	r->from = from;
	r->to = to;
	r->half_close = half_close;
	rc = pthread_create(&r->thread, NULL, copy, r);
	if (rc) {
		free(r);
		return err_set(e, rc, "cannot start a thread");
	}
	*ret = r;
	return 0;
}

/**
 * relay_join() - wait until everything is copied, and free; NULL is fine
 */
void relay_join(struct relay *r)
{
	if (!r)
		return;
	pthread_join(r->thread, NULL);
	free(r);
}
