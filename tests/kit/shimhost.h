/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_SHIMHOST_H
#define TESTS_KIT_SHIMHOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct shimhost - what a shim has around it: its supervisor and its guest
 * @control: the supervisor's end of its connection
 * @agent:   the guest's end of the connection that owns the process
 * @hold:    the supervisor's end of what it waits on before it exits
 * @streams: the guest's ends of standard input, output and error
 * @out:     reading end of its standard output, or -1: that is /dev/null
 * @ready:   what it tells the command that started it
 * @log:     file that is the engine's log
 */
struct shimhost {
	int control, agent, hold, streams[3], out, ready, log;
	pid_t pid;
};

void shimhost_spawn(struct shimhost *h, int (*shim)(int argc, char **argv), bool output);
void shimhost_join(struct shimhost *h, uint32_t settle_ms, bool write_back);
void shimhost_answer(int fd);
void shimhost_stream(struct shimhost *h, int i);
void shimhost_streams(struct shimhost *h);
void shimhost_exited(int fd, uint32_t code, uint32_t sig);
int shimhost_end(struct shimhost *h, char said[500]);

#endif
