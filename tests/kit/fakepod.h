/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_FAKEPOD_H
#define TESTS_KIT_FAKEPOD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/agent.pb-c.h"
#include "lib/pod.h"

/*
 * Answers what was asked of the agent. Its answer may point to what lives on.
 * Return: false: the connection is closed instead
 */
typedef bool fakepod_agent_fn(void *arg, const Podvm__Request *rq, Podvm__Response *rs);

/*
 * Answers what was asked of the supervisor and it does not know itself.
 * Return: errno, 0: success
 */
typedef int fakepod_control_fn(void *arg, const Podvm__Pod__Request *rq);

/*
 * Makes something else of a connection to the agent, whose descriptor is its own then.
 * Return: whether it did
 */
typedef bool fakepod_take_fn(void *arg, const Podvm__Request *rq, int fd);

/**
 * struct fakepod - a pod's supervisor and the agent of its guest, on a thread
 * @root:   state directory, made by fakepod_start()
 * @netns:  that it gives as the pod's, borrowed
 * @network: its answer to NetworkGet, borrowed
 * @given:  content of the last descriptor that came with a request, owned; NULL: none
 * @info:   its answer to InfoGet, borrowed; NULL: @control's
 * @agent:  NULL: there is no guest
 * @take:   asked before @agent; may be NULL
 * @control: may be NULL: EINVAL
 */
struct fakepod {
	char root[40];
	int netns;
	Podvm__Pod__Network network;
	char *given;
	Podvm__Pod__Info *info;
	fakepod_agent_fn *agent;
	fakepod_take_fn *take;
	fakepod_control_fn *control;
	void *arg;
	char held[48];
	int listen_fd, stop_fd, lock_fd;
	pthread_t thread;
};

void fakepod_init(struct fakepod *p, int netns);
void fakepod_start(struct fakepod *p, const char *id);
void fakepod_container(const struct fakepod *p, const char *id, const char *json);
void fakepod_end(struct fakepod *p);
void fakepod_stop(struct fakepod *p);

#endif
