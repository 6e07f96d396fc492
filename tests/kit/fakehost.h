/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_FAKEHOST_H
#define TESTS_KIT_FAKEHOST_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct fakehost - a host with one block device, 7:99, and one mount point
 * @point:     where it may be mounted
 * @mounted:   the file system is mounted there
 * @present:   the device exists
 * @covered:   another file system is mounted at the point when ours is not
 * @asleep:    the device is suspended
 * @autoclear: of the loop device
 * @rival:     somebody else has it claimed
 * @onlookers: others have it open without a claim
 * @busy:      the mount is in use
 * @dirty:     the ext4 on it has a journal to replay
 * @node:      of the device, when it must be a file that is there; NULL
 * @data:      options of the last mount
 * @ms:        its clock, which goes fast: nobody waits long
 * @steps:     calls so far
 * @fail_at:   this call fails with @code; 0: none
 * @kill_at:   before this call the process ends with status 9
 */
struct fakehost {
	const char *point;
	bool mounted, present, covered, asleep, autoclear, rival, busy, dirty;
	unsigned int onlookers;
	unsigned int steps, fail_at, kill_at;
	int code;
	const char *node;
	char data[200];
	uint64_t ms;
	int claim_fd;
	uint64_t claim_ino;
};

/* NULL: all calls go to the real ones. */
extern struct fakehost *kit_host;

/* syncfs() and fsync() do nothing: with the real ones a test waits for all that others write. */
extern bool kit_no_sync;

bool kit_host_claimed(struct fakehost *h);

#endif
