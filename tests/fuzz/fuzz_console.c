// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzzer of the console: one with further ports, if the input wants that, whose other
 * ends the input reads, writes and closes. Output of hvc0 goes nowhere.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/drive.h"

#define PORTS 2

static int peers[PORTS];

static void compose(struct drive *t, struct message *m)
{
	uint16_t words[4] = { (uint16_t)(fuzz_take(&t->in, 1) & 3), 0,
			      (uint16_t)(fuzz_take(&t->in, 1) & 7),
			      (uint16_t)(fuzz_take(&t->in, 1) & 1) };

	m->q = 3;
	message_add(m, words, sizeof(words));
	if (!fuzz_odd(&t->in))
		return;
	m->q = (uint16_t)fuzz_take(&t->in, 1);
	m->in_len = (size_t)fuzz_take(&t->in, 2);
}

static void back_end(struct drive *t, struct virtio_dev *d, uint8_t what)
{
	int *fd = &peers[what % PORTS];
	char text[4096] = "";

	(void)d;
	switch (what / PORTS) {
	case 0:
	case 1:
	case 2:
		if (send(*fd, text, fuzz_take(&t->in, 1) + 1, MSG_DONTWAIT) < 0)
			return;
		break;
	case 6:
		shutdown(*fd, SHUT_WR);
		break;
	case 7:
		close(*fd);
		*fd = -1;
		break;
	default:
		if (recv(*fd, text, sizeof(text), MSG_DONTWAIT) < 0)
			return;
	}
}

/**
 * LLVMFuzzerTestOneInput() - a life of a console
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char names[PORTS][VMM_NAME_BYTES] = { "one", "two" };
	int out = open("/dev/null", O_WRONLY | O_CLOEXEC), s[2], i, n;
	struct drive t = { .compose = compose, .back_end = back_end };
	struct virtio_dev *d;
	struct err e;

	drive_begin(&t, data, size);
	if (console_new(out, &t.mem, t.loop, &d, &e) < 0)
		abort();
	n = (int)(fuzz_take(&t.in, 1) % (PORTS + 1));
	for (i = 0; i < PORTS; i++) {
		peers[i] = -1;
		if (i >= n)
			continue;
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0 ||
		    console_add_port(d, names[i], s[1], &e) < 0)
			abort();
		peers[i] = s[0];
	}
	drive_run(&t, d);
	drive_end(&t);
	for (i = 0; i < PORTS; i++)
		if (peers[i] >= 0)
			close(peers[i]);
	return 0;
}
