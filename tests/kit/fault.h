/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_FAULT_H
#define TESTS_KIT_FAULT_H

#include <stdbool.h>

/* What can be made to fail. */
#define KIT_FAULT_MEMORY 1u
#define KIT_FAULT_FILES 2u
#define KIT_FAULT_THREADS 4u
/* Calls that change a tree: mkdirat, linkat, mount, fchownat, … (fault-tree.c). */
#define KIT_FAULT_TREE 8u
/* Sockets, requests and answers of netlink, and ioctl() (fault-net.c). */
#define KIT_FAULT_NETLINK 16u
/* Sockets, what is sent on them, and sources of a loop (fault-sock.c). */
#define KIT_FAULT_SOCKETS 32u
/* Fork, exec, pipes, descriptors and waiting, where a suite has them replaced. */
#define KIT_FAULT_PROCESSES 64u

void kit_fault_arm(unsigned int kinds, unsigned int nth, int code);
bool kit_fault_fired(void);
bool kit_fault_now(unsigned int kind);
bool kit_fault_armed(unsigned int kind);

#endif
