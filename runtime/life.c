// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The life of a container as one table, and the ends of a pod's machine as another: who
 * decides whether something may happen asks here. README.md, "Life and death", has both for
 * people.
 *
 * To the outside CREATING has no state ("does not exist"), and ENDING is still what it was
 * before (running, paused): engines look at what a container left once it is "stopped".
 */
#include "runtime/life.h"

#define NO (-1)
#define CREATED LIFE_CREATED
#define RUNNING LIFE_RUNNING
#define PAUSED LIFE_PAUSED
#define ENDING LIFE_ENDING
#define STOPPED LIFE_STOPPED
#define GONE LIFE_GONE
#define CREATING LIFE_CREATING

/* By state and event; NO: refused, or it means nothing then. */
static const signed char table[LIFE_STATES][LIFE_EVENTS] = {
	/*                 COMMIT   START    PAUSE   RESUME   SIGNAL    EXEC     EXITED  SETTLED  LOST     DELETE FORCE */
	[LIFE_CREATING] = { CREATED, NO,      NO,     NO,      CREATING, NO,      STOPPED, NO,     GONE,    NO,   GONE },
	[LIFE_CREATED]  = { NO,      RUNNING, NO,     NO,      CREATED,  NO,      STOPPED, NO,     STOPPED, NO,   GONE },
	[LIFE_RUNNING]  = { NO,      NO,      PAUSED, NO,      RUNNING,  RUNNING, ENDING, NO,      STOPPED, NO,   GONE },
	[LIFE_PAUSED]   = { NO,      NO,      NO,     RUNNING, PAUSED,   NO,      ENDING, NO,      STOPPED, NO,   GONE },
	[LIFE_ENDING]   = { ENDING,  NO,      NO,     NO,      ENDING,   NO,      NO,     STOPPED, STOPPED, NO,   GONE },
	[LIFE_STOPPED]  = { STOPPED, NO,      NO,     NO,      NO,       NO,      NO,     NO,      STOPPED, GONE, GONE },
	[LIFE_GONE]     = { NO,      NO,      NO,     NO,      NO,       NO,      NO,     NO,      NO,      NO,   NO },
};

static const char *const names[LIFE_STATES] = {
	"being created", "created", "running", "paused", "ending", "stopped", "gone",
};

/*
 * @code: exit status of its containers' shims, where their processes had not ended before:
 *        255 means that nobody knows what became of them, 137 that we have killed the shim
 */
static const struct {
	const char *name;
	int code;
} ends[LIFE_ENDS] = {
	[LIFE_END_NONE] = { "", 255 },
	[LIFE_END_OFF] = { "guest-off", 255 },
	[LIFE_END_PANIC] = { "guest-panic", 255 },
	[LIFE_END_AGENT_CRASH] = { "agent-crash", 255 },
	[LIFE_END_RESET] = { "guest-reset", 255 },
	[LIFE_END_AGENT] = { "agent-lost", 255 },
	[LIFE_END_HANG] = { "guest-hang", 255 },
	[LIFE_END_MONITOR] = { "monitor-lost", 255 },
	[LIFE_END_TOLD] = { "told-to-end", 255 },
	[LIFE_END_SUPERVISOR] = { "supervisor-lost", 137 },
	[LIFE_END_REBOOT] = { "host-reboot", 137 },
};

/**
 * life_next() - what an event makes of a container
 *
 * Return: enum life, or -1: it is refused in this state
 */
int life_next(enum life from, enum life_event what)
{
	return table[from][what];
}

/**
 * life_name() - a state in a message
 */
const char *life_name(enum life s)
{
	return names[s];
}

/**
 * life_end_name() - an end of a machine, one word; empty for LIFE_END_NONE
 */
const char *life_end_name(enum life_end how)
{
	return ends[how].name;
}

/**
 * life_end_code() - exit status of containers whose machine has ended so
 */
int life_end_code(enum life_end how)
{
	return ends[how].code;
}
