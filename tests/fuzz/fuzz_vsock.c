// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzzer of the sockets: the host waits for calls, makes calls, writes, reads,
 * shuts down and hangs up.
 */
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <linux/vm_sockets.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/drive.h"

#define PORT 1024
#define CID 3
#define ENDS_MAX 16

static int end[ENDS_MAX];
static unsigned int n_ends;

static void new_end(struct virtio_dev *d, bool call)
{
	struct err e;
	int s[2], rc;

	if (n_ends == ENDS_MAX)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) < 0)
		abort();
	rc = call ? vsock_connect(d, PORT, s[1], &e) : vsock_listen(d, PORT + n_ends, s[1], &e);
	if (rc < 0) {
		close(s[0]);
		close(s[1]);
		return;
	}
	end[n_ends++] = s[0];
}

static void host(struct drive *t, struct virtio_dev *d, uint8_t what)
{
	char buf[2048] = { 0 };
	int fd = n_ends ? end[fuzz_take(&t->in, 1) % n_ends] : -1;
	ssize_t n = 0;

	switch (what & 7) {
	case 0: new_end(d, false); break;
	case 1: new_end(d, true); break;
	case 2: shutdown(fd, SHUT_WR); break;
	case 3: shutdown(fd, SHUT_RDWR); break;
	case 4:
	case 5: n = read(fd, buf, sizeof(buf)); break;
	default: n = write(fd, buf, fuzz_take(&t->in, 2) % sizeof(buf));
	}
	(void)n;
}

static void compose(struct drive *t, struct message *m)
{
	struct virtio_vsock_hdr h = {
		.src_cid = CID,
		.dst_cid = VMADDR_CID_HOST,
		.src_port = PORT + (uint32_t)fuzz_take(&t->in, 1) % 4,
		.dst_port = PORT + (uint32_t)fuzz_take(&t->in, 1) % ENDS_MAX,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = (uint16_t)(fuzz_take(&t->in, 1) % 8),
		.buf_alloc = (uint32_t)fuzz_take(&t->in, 2) << 4,
		.fwd_cnt = (uint32_t)fuzz_take(&t->in, 2),
	};
	uint8_t bytes[DRIVE_MESSAGE_BYTES] = { 0 };

	m->q = 1;
	if (h.op == VIRTIO_VSOCK_OP_RW)
		h.len = (uint32_t)fuzz_take(&t->in, 2) % 2048;
	if (h.op == VIRTIO_VSOCK_OP_SHUTDOWN)
		h.flags = (uint32_t)fuzz_take(&t->in, 1) & 3;
	/* The host's calls come from ports of their own. */
	if (fuzz_take(&t->in, 1) & 1)
		h.dst_port = (uint32_t)fuzz_take(&t->in, 1) + (1u << 30);
	if (fuzz_odd(&t->in))
		fuzz_take_bytes(&t->in, &h, sizeof(h));
	message_add(m, &h, sizeof(h));
	message_add(m, bytes, fuzz_odd(&t->in) ? fuzz_take(&t->in, 2) : h.len);
}

/**
 * LLVMFuzzerTestOneInput() - a life of a socket device
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drive t = { .compose = compose, .back_end = host };
	struct virtio_dev *d;
	struct err e;

	drive_begin(&t, data, size);
	if (vsock_new(CID, &t.mem, t.loop, &d, &e) < 0)
		abort();
	new_end(d, false);
	drive_run(&t, d);
	drive_end(&t);
	while (n_ends)
		close(end[--n_ends]);
	return 0;
}
