// SPDX-License-Identifier: Apache-2.0
/*
 * Both ends of the control socket: a monitor that has no KVM and is asked wrong
 * things, and a supervisor whose monitor lies.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "vmm/control.h"
#include "vmm/vmm.h"

#define CALL_MS 10000

Suite *vmm_control_suite(void);

static struct vmm vmm;
static pid_t monitor;
static int theirs;

static void join(void)
{
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	vmm = (struct vmm){ .sock = s[0], .pidfd = -1 };
	theirs = s[1];
}

static void start(const struct err *refuse)
{
	join();
	monitor = fork();
	if (!monitor) {
		struct err e;

		close(vmm.sock);
		_exit(control_run(theirs, refuse, &e) < 0);
	}
	close(theirs);
	theirs = -1;
}

static void finish(void)
{
	int status;

	vmm_done(&vmm);
	ck_assert_int_eq(waitpid(monitor, &status, 0), monitor);
	ck_assert_int_eq(status, 0);
}

static int ask(uint32_t type, size_t n_fds, struct err *e)
{
	struct vmm_request rq = { .type = type };
	int fds[FD_PASS_MAX], fd = open("/dev/null", O_RDWR | O_CLOEXEC), rc;
	struct vmm_reply rp;
	size_t i;

	for (i = 0; i < n_fds; i++)
		fds[i] = fd;
	if (type == VMM_CONFIG || type == VMM_RESTORE)
		rq.config = (struct vmm_config){ .ram_bytes = 64 << 20, .vcpus = 1,
						 .guest_cid = 3 };
	rc = vmm_call(&vmm, &rq, fds, n_fds, CALL_MS, &rp, e);
	close(fd);
	return rc;
}

static const struct {
	uint32_t type;
	size_t n_fds;
	int rc;
	const char *text;
} early[] = {
	{ VMM_START, 0, -EBUSY, "after CONFIG" }, { VMM_DISK, 1, -EBUSY, "after CONFIG" },
	{ VMM_NET, 1, -EBUSY, "after CONFIG" }, { VMM_LINK, 0, -EBUSY, "after CONFIG" }, { VMM_BROKER, 1, -EBUSY, "CONFIG" },
	{ VMM_SHARE, 1, -EBUSY, "after CONFIG" }, { VMM_SHARE, 4, -EBUSY, "after CONFIG" },
	{ VMM_LISTEN, 1, -EBUSY, "after CONFIG" }, { VMM_CONNECT, 1, -EBUSY, "while the guest runs" },
	{ VMM_STATS, 0, -EBUSY, "after CONFIG" }, { VMM_PAUSE, 0, -EBUSY, "while the guest runs" },
	{ VMM_RESUME, 0, -EBUSY, "after PAUSE" }, { VMM_UNPLUG, 0, -EBUSY, "after CONFIG" },
	{ VMM_CONSOLE_PORT, 1, -EBUSY, "between CONFIG and START" },
	{ VMM_RESIZE, 0, -EBUSY, "after CONFIG" }, { VMM_LIMIT, 0, -EBUSY, "after CONFIG" },
	{ VMM_BALLOON, 0, -EBUSY, "after CONFIG" }, { VMM_MEMORY, 0, -EBUSY, "after CONFIG" },
	{ VMM_MEMORY_STATE, 0, -EBUSY, "after CONFIG" },
	{ VMM_SAVE, 1, -EBUSY, "after PAUSE" }, { VMM_RESTORE, 3, -EINVAL, "it takes 4" },
	{ VMM_RESTORE, 5, -EINVAL, "it takes 4" },
	{ VMM_RESTORE, 4, -EINVAL, "memory file: not a regular file" },
	{ VMM_CONFIG, 5, -ENODEV, "not /dev/kvm" },
	{ 0, 0, -EINVAL, "unknown" }, { 0xffffffff, 0, -EINVAL, "unknown" },
	{ VMM_CONFIG, 3, -EINVAL, "it takes 4" }, { VMM_CONFIG, 16, -EINVAL, "it takes 4" },
	{ VMM_CONFIG, 4, -ENODEV, "not /dev/kvm" },
};

START_TEST(out_of_order)
{
	struct err e = { 0 };

	start(NULL);
	ck_assert_int_eq(ask(early[_i].type, early[_i].n_fds, &e), early[_i].rc);
	ck_assert_msg(strstr(e.text, early[_i].text) != NULL, "%s", e.text);
	ck_assert_int_eq(ask(VMM_STOP, 0, &e), 0);
	finish();
}
END_TEST

START_TEST(after_failure)
{
	struct err e;

	start(NULL);
	ck_assert_int_eq(ask(VMM_CONFIG, 4, &e), -ENODEV);
	ck_assert_int_eq(ask(VMM_CONFIG, 4, &e), -EBUSY);
	ck_assert_int_eq(ask(VMM_START, 0, &e), -EBUSY);
	ck_assert_int_eq(ask(VMM_BALLOON, 0, &e), -EBUSY);
	ck_assert_int_eq(ask(VMM_MEMORY_STATE, 0, &e), 0);
	finish();		/* ends with the socket, without STOP */
}
END_TEST

static const struct vmm_config bad[] = {
	{ .ram_bytes = 64 << 20, .vcpus = 0, .guest_cid = 3 },
	{ .ram_bytes = 64 << 20, .vcpus = VMM_VCPUS_MAX + 1, .guest_cid = 3 },
	{ .ram_bytes = 64 << 20, .vcpus = 1, .guest_cid = 2 },
	{ .ram_bytes = 64 << 20, .vcpus = 1, .guest_cid = UINT32_MAX },
	{ .ram_bytes = (64 << 20) + 1, .vcpus = 1, .guest_cid = 3 },
	{ .ram_bytes = 0, .vcpus = 1, .guest_cid = 3 },
	{ .ram_bytes = UINT64_MAX, .vcpus = 1, .guest_cid = 3 },
	{ .ram_bytes = 64 << 20, .vcpus = 1, .guest_cid = 3, .hotplug_bytes = 1 },
	{ .ram_bytes = 64 << 20, .vcpus = 1, .guest_cid = 3, .hotplug_bytes = UINT64_MAX },
	{ .ram_bytes = 64 << 20, .vcpus = 1, .guest_cid = 3, .pages = VMM_PAGES_KINDS },
	{ .ram_bytes = 64 << 20, .vcpus = 1, .guest_cid = 3, .pages = VMM_PAGES_1G },
	{ .ram_bytes = 64 << 20, .vcpus = 1, .guest_cid = 3, .pages = VMM_PAGES_2M, .merge = 1 },
	{ .ram_bytes = 64 << 20, .vcpus = 1, .guest_cid = 3, .cmdline = "endless" },
};

START_TEST(bad_config)
{
	struct vmm_request rq = { .type = VMM_CONFIG, .config = bad[_i] };
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fds[] = { fd, fd, fd, fd };
	struct vmm_reply rp;
	struct err e;

	if (rq.config.cmdline[0])
		memset(rq.config.cmdline, 'x', sizeof(rq.config.cmdline));
	start(NULL);
	ck_assert_int_eq(vmm_call(&vmm, &rq, fds, 4, CALL_MS, &rp, &e), -EINVAL);
	finish();
}
END_TEST

START_TEST(refused_sandbox)
{
	struct err why = { .code = EPERM, .text = "no namespaces here" }, e;

	start(&why);
	ck_assert_int_eq(ask(VMM_CONFIG, 4, &e), -EPERM);
	ck_assert_ptr_nonnull(strstr(e.text, "no namespaces here"));
	finish();
}
END_TEST

START_TEST(odd_size)
{
	char text[sizeof(struct vmm_request) + 8] = { 1 };
	struct vmm_reply rp;

	start(NULL);
	ck_assert_int_eq(send(vmm.sock, text, 5, 0), 5);
	ck_assert_int_eq(recv(vmm.sock, &rp, sizeof(rp), 0), sizeof(rp));
	ck_assert_int_eq(rp.error, EPROTO);
	ck_assert_int_eq(send(vmm.sock, text, sizeof(text), 0), sizeof(text));
	ck_assert_int_eq(recv(vmm.sock, &rp, sizeof(rp), 0), 0);
	finish();
}
END_TEST

/* What a lying monitor sends before the supervisor asks. */
static void lie(uint32_t type, int32_t error, size_t len)
{
	struct vmm_reply rp = { .type = type, .error = error, .event = VMM_EVENT_RESET };

	memset(rp.text, 'x', sizeof(rp.text));
	ck_assert_int_eq(send(theirs, &rp, len, 0), (ssize_t)len);
}

START_TEST(liar)
{
	struct vmm_reply rp = { 0 };
	struct err e;

	join();
	lie(VMM_START, 0, sizeof(rp));
	ck_assert_int_eq(ask(VMM_STATS, 0, &e), -EPROTO);
	lie(VMM_STATS, 0, 8);
	ck_assert_int_eq(ask(VMM_STATS, 0, &e), -EPROTO);
	lie(VMM_STATS, -5, sizeof(rp));
	ck_assert_int_eq(ask(VMM_STATS, 0, &e), -EPROTO);
	lie(VMM_STATS, ENOSPC, sizeof(rp));
	ck_assert_int_eq(ask(VMM_STATS, 0, &e), -ENOSPC);
	lie(VMM_EVENT, 0, sizeof(rp));
	lie(VMM_STATS, 0, sizeof(rp));
	ck_assert_int_eq(ask(VMM_STATS, 0, &e), 0);
	ck_assert(vmm.have_event);
	ck_assert_int_eq(vmm_event(&vmm, &rp, &e), 0);
	ck_assert_uint_eq(rp.event, VMM_EVENT_RESET);
	ck_assert_uint_eq(strlen(rp.text), sizeof(rp.text) - 1);
	lie(VMM_STATS, 0, sizeof(rp));
	ck_assert_int_eq(vmm_event(&vmm, &rp, &e), -EPROTO);
	close(theirs);
	ck_assert_int_eq(vmm_event(&vmm, &rp, &e), -EPIPE);
	ck_assert_int_eq(ask(VMM_STATS, 0, &e), -EPIPE);
	vmm_done(&vmm);
	vmm_done(&vmm);
}
END_TEST

START_TEST(silent)
{
	struct vmm_request rq = { .type = VMM_STATS };
	struct vmm_reply rp;
	struct err e;

	join();
	ck_assert_int_eq(vmm_call(&vmm, &rq, NULL, 0, 50, &rp, &e), -ETIMEDOUT);
	close(theirs);
	vmm_done(&vmm);
}
END_TEST

START_TEST(no_program)
{
	struct vmm_spawn how = { .log_fd = 2, .cgroup_fd = -1 };
	struct vmm v;
	struct err e;

	ck_assert_int_lt(vmm_spawn("/nonexistent/podvm-vmm", &how, &v, &e), 0);
}
END_TEST

Suite *vmm_control_suite(void)
{
	Suite *s = suite_create("vmm_control");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, out_of_order, 0, (int)ARRAY_LEN(early));
	tcase_add_test(t, after_failure);
	tcase_add_loop_test(t, bad_config, 0, (int)ARRAY_LEN(bad));
	tcase_add_test(t, refused_sandbox);
	tcase_add_test(t, odd_size);
	tcase_add_test(t, liar);
	tcase_add_test(t, silent);
	tcase_add_test(t, no_program);
	suite_add_tcase(s, t);
	return s;
}
