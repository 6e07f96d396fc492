/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_BROKER_H
#define LIB_BROKER_H

#include <stdint.h>

/*
 * DOC: File broker
 *
 * The VMM opens nothing. For the files behind a synthetic disk it asks the
 * pod's supervisor over a SOCK_SEQPACKET socket: one struct broker_request,
 * answered by one struct broker_reply, in order. A reply with @error 0 carries
 * one read-only descriptor (SCM_RIGHTS). The broker treats the VMM as hostile:
 * it hands out only files of the pod's own disks, by number, and only while
 * they are what they were when the disk was made (-ESTALE otherwise).
 */

/**
 * struct broker_request - open a file
 * @disk: number that the supervisor gave the disk when it plugged it
 * @file: number in the disk's table (lib/disktab.h)
 */
struct broker_request {
	uint32_t disk;
	uint32_t file;
};

/**
 * struct broker_reply - the answer
 * @error: 0, or a negative errno and no descriptor
 * @file:  as asked
 */
struct broker_reply {
	int32_t error;
	uint32_t file;
};

#endif
