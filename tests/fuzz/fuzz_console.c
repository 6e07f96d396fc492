// SPDX-License-Identifier: Apache-2.0
/* Fuzzer of the console; its output goes nowhere. */
#include <fcntl.h>
#include <stdlib.h>

#include "tests/fuzz/drive.h"

/**
 * LLVMFuzzerTestOneInput() - a life of a console
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct drive t = { .back_end = NULL };
	struct virtio_dev *d;
	struct err e;

	drive_begin(&t, data, size);
	if (console_new(out, &t.mem, t.loop, &d, &e) < 0)
		abort();
	drive_run(&t, d);
	return 0;
}
