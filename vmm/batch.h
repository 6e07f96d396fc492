/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BATCH_H
#define VMM_BATCH_H

/* Rounds of one request at most, after which a thread is woken for each one ... */
#define BATCH_LONE_MAX 16

/* ... and after how many such rounds it is tried again whether there are more by now. */
#define BATCH_RETRY 256

void batch_begin(void);
void batch_round(unsigned int found);

#endif
