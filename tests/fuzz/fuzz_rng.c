// SPDX-License-Identifier: Apache-2.0
/* Fuzzer of the entropy device. */
#include <stdlib.h>

#include "tests/fuzz/drive.h"

/**
 * LLVMFuzzerTestOneInput() - a life of an entropy device
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drive t = { .back_end = NULL };
	struct virtio_dev *d;
	struct err e;

	drive_begin(&t, data, size);
	if (rng_new(&t.mem, t.loop, &d, &e) < 0)
		abort();
	drive_run(&t, d);
	drive_end(&t);
	return 0;
}
