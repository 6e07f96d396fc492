/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_SHIM_SHIM_H
#define RUNTIME_SHIM_SHIM_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/agent.h"
#include "lib/err.h"

/* Descriptors of a shim process, beside its stdio. */
#define SHIM_READY_FD 3
#define SHIM_CONTROL_FD 4
#define SHIM_PROCESS_FD 5	/* memfd with a packed Process: an exec */
#define SHIM_CONSOLE_FD 6	/* connected to the engine's console socket */
#define SHIM_LOG_FD 7		/* the engine's log */

/* For an answer of the guest's agent. */
#define SHIM_ANSWER_MS 30000

/* First byte of the packet that lets a shim go; a line for the log may follow. */
#define SHIM_SETTLED '+'

/**
 * struct shim_start - what a command wants of a new shim
 * @id:       container
 * @exec_id:  NULL: the container's init
 * @process:  of the exec; NULL with the init; borrowed
 * @terminal: the process has a terminal
 * @console_socket: path of the engine's socket for the terminal, or NULL
 * @foreground: the shim dies with the command
 * @control:  connection to the pod's supervisor, borrowed
 */
struct shim_start {
	const char *id;
	const char *exec_id;
	const Podvm__Process *process;
	bool terminal;
	const char *console_socket;
	bool foreground;
	int control;
};

int shim_spawn(const struct shim_start *s, pid_t *ret_pid, int *ret_pidfd,
	       struct err *e);
int shim_foreground(int pidfd, bool terminal, int *ret_status, struct err *e);
int shim_main(int argc, char **argv);

/* Of terminal.c. */
int terminal_to_engine(int console_sock, int *ret_slave, struct err *e);
int terminal_size(int fd, uint32_t *ret_rows, uint32_t *ret_columns);
void terminal_raw(int fd);

/**
 * struct shim_oom - files of the host by which a shim tells of an end for want of memory
 * @limit, @current: memory.max and memory.current of the container's cgroup; owned; -1
 * @score: oom_score_adj of the shim; owned; -1
 */
struct shim_oom {
	int limit, current, score;
};

/* Of oom.c. */
void shim_oom_open(struct shim_oom *o);
bool shim_oom_tell(const struct shim_oom *o);

struct relay;

/**
 * struct shim_streams - what a process in the guest reads and writes
 * @in, @out, @err: owned; -1: none. A terminal is @in and nothing else
 * @relay_out, @relay_err: relay_finish(); NULL: none
 */
struct shim_streams {
	int in, out, err;
	struct relay *relay_out, *relay_err;
};

#define SHIM_STREAMS_NONE { .in = -1, .out = -1, .err = -1 }

/* Of relay.c. */
int shim_terminal_join(int control, const char *id, const char *exec_id, int from, int to,
		       bool half_close, struct shim_streams *s, struct err *e);
int shim_streams_join(int control, const char *id, const char *exec_id, struct shim_streams *s,
		      struct err *e);
int relay_start(int from, int to, bool half_close, struct relay **ret,
		struct err *e);
void relay_finish(struct relay *r, uint32_t quiet_ms);

#endif
