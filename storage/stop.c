// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Work that would leave something half done when a signal ended it catches INT,
 * TERM and HUP, asks stop_check() in its loops, and cleans up on its way out. A
 * second signal ends the process at once: what is left then is what a KILL leaves.
 */
#include "storage/stop.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

static volatile sig_atomic_t got;

static void note(int sig)
{
	got = sig;
}

/**
 * stop_catch() - from here on signals are asked for
 *
 * Context: once, before any thread
 */
void stop_catch(void)
{
	struct sigaction sa = {.sa_handler = note, .sa_flags = SA_RESTART | (int)SA_RESETHAND};

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	/* A reader of ours that went away is an error of write(2), which has words. */
	signal(SIGPIPE, SIG_IGN);
}

/**
 * stop_signal() - the signal that asked us to stop; 0: none
 */
int stop_signal(void)
{
	return got;
}

/**
 * stop_check() - whether to go on
 *
 * Return: 0; -EINTR
 */
int stop_check(struct err *e)
{
	return got ? err_set(e, EINTR, "stopped by signal %d (%s)", got, strsignal(got)) : 0;
}
