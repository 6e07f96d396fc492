/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_LIFE_H
#define RUNTIME_LIFE_H

/* Where a container is in its life. */
enum life {
	LIFE_CREATING,	/* no record yet: it belongs to the command that creates it */
	LIFE_CREATED,
	LIFE_RUNNING,
	LIFE_PAUSED,
	LIFE_ENDING,	/* its first process has ended; what is the host's comes back */
	LIFE_STOPPED,
	LIFE_GONE,
	LIFE_STATES
};

/* What happens to it. */
enum life_event {
	LIFE_COMMIT,	/* its shim is up, its hooks have run */
	LIFE_START,
	LIFE_PAUSE,
	LIFE_RESUME,
	LIFE_SIGNAL,
	LIFE_EXEC,
	LIFE_EXITED,	/* the agent tells that its first process has ended */
	LIFE_SETTLED,	/* all that is the host's is back */
	LIFE_LOST,	/* its pod's machine has come to its end */
	LIFE_DELETE,
	LIFE_FORCE,	/* delete --force; or the command that created it gives it up */
	LIFE_EVENTS
};

/* How a pod's machine has come to its end, when no command wanted that. */
enum life_end {
	LIFE_END_NONE,
	LIFE_END_OFF,
	LIFE_END_PANIC,
	LIFE_END_AGENT_CRASH,
	LIFE_END_RESET,
	LIFE_END_AGENT,
	LIFE_END_HANG,
	LIFE_END_MONITOR,
	LIFE_END_TOLD,
	LIFE_END_SUPERVISOR,
	LIFE_END_REBOOT,
	LIFE_ENDS
};

/* Annotation of podvm state that tells it: the name of the end, ": ", what is known of it. */
#define LIFE_ANNOTATION "io.podvm.ended"

int life_next(enum life from, enum life_event what);
const char *life_name(enum life s);
const char *life_end_name(enum life_end how);
int life_end_code(enum life_end how);

#endif
