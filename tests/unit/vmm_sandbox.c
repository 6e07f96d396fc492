// SPDX-License-Identifier: Apache-2.0
/*
 * The sandbox as a probe process meets it: what is left after stage 1, and which
 * system calls end the process after stage 2. A control socket without a machine
 * is tested here too, since it needs no KVM.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/loop.h"
#include "tests/kit/kit.h"
#include "vmm/gmem.h"
#include "vmm/sandbox.h"

Suite *vmm_sandbox_suite(void);

/* Runs @body in a child; returns its wait status. */
static int probe(void (*body)(int), int arg)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		body(arg);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

#define NEED(x) do { if (!(x)) { fprintf(stderr, "line %d: %s\n", __LINE__, #x); _exit(1); } } while (0)

static void isolated(int unused)
{
	struct rlimit r;
	struct err e = { 0 };
	char text[64];
	int rc;

	(void)unused;
	rc = sandbox_isolate(false, &e);
	if (rc < 0) {
		fprintf(stderr, "sandbox: %s\n", e.text);
		_exit(1);
	}
	NEED(open("/etc/passwd", O_RDONLY) < 0 && errno == ENOENT);
	NEED(open("/proc/self/status", O_RDONLY) < 0);
	NEED(open("/new", O_RDWR | O_CREAT, 0600) < 0 && (errno == EROFS || errno == EACCES));
	NEED(open("/..", O_RDONLY | O_DIRECTORY) >= 0);
	NEED(!getcwd(text, sizeof(text)) || !strcmp(text, "/"));
	NEED(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	NEED(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	NEED(mount("none", "/", "tmpfs", 0, NULL) < 0 && errno == EPERM);
	NEED(sethostname("x", 1) < 0 && errno == EPERM);
	NEED(setuid(0) < 0);
	NEED(getuid() >= SANDBOX_UID_BASE || getuid() == SANDBOX_UID_NOBODY);
	NEED(getuid() == geteuid() && getgid() == getegid());
	NEED(getgroups(0, NULL) == 0);
	NEED(!getrlimit(RLIMIT_CORE, &r) && r.rlim_max == 0);
	NEED(!getrlimit(RLIMIT_NOFILE, &r) && r.rlim_cur >= 1024);
	NEED(kill(1, 0) < 0 && errno == EPERM);
}

START_TEST(stage1)
{
	int status = probe(isolated, 0);

	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
}
END_TEST

static void confine(enum sandbox_kind kind)
{
	struct sandbox_filter f;
	struct err e;

	NEED(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	NEED(sandbox_compile(kind, &f, &e) >= 0);
	NEED(sandbox_enter(&f, &e) >= 0);
}

#define FORBIDDEN(X) \
	X(openat, AT_FDCWD, "/", O_RDONLY) \
	X(open, "/", O_RDONLY) \
	X(openat2, AT_FDCWD, "/", NULL, 0) \
	X(creat, "/tmp/x", 0600) \
	X(socket, AF_UNIX, SOCK_STREAM, 0) \
	X(socketpair, AF_UNIX, SOCK_STREAM, 0, NULL) \
	X(connect, 0, NULL, 0) \
	X(execve, "/bin/true", NULL, NULL) \
	X(execveat, 0, "", NULL, NULL, 0) \
	X(clone, SIGCHLD, 0, 0, 0, 0) \
	X(clone3, NULL, 0) \
	X(fork) \
	X(vfork) \
	X(ptrace, 0, 0, 0, 0) \
	X(process_vm_readv, 1, NULL, 0, NULL, 0, 0) \
	X(mount, "a", "b", "c", 0, NULL) \
	X(unshare, CLONE_NEWUSER) \
	X(setns, 0, 0) \
	X(io_uring_setup, 1, NULL) \
	X(io_uring_register, 0, 0, NULL, 0) \
	X(memfd_create, "x", 0) \
	X(bpf, 0, NULL, 0) \
	X(kill, 1, 0) \
	X(prctl, PR_GET_DUMPABLE, 0, 0, 0, 0) \
	X(setuid, 0) \
	X(ioctl, 0, 0x5401, NULL) \
	X(ioctl, 0, 0xae01, 0) /* KVM_CREATE_VM */ \
	X(mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) \
	X(mprotect, NULL, 4096, PROT_READ | PROT_EXEC) \
	X(unlink, "/x") \
	X(userfaultfd, 0) \
	X(pidfd_getfd, 0, 0, 0) \
	X(keyctl, 0) \
	X(ioctl, 0, 0x40086602, NULL) /* FS_IOC_SETFLAGS */

#define FORBIDDEN_NAME(name, ...) #name,
#define FORBIDDEN_CASE(name, ...) if (which == at++) { syscall(SYS_##name, ##__VA_ARGS__); }

static const char *const forbidden_names[] = { FORBIDDEN(FORBIDDEN_NAME) };
#define N_FORBIDDEN ((int)(sizeof(forbidden_names) / sizeof(*forbidden_names)))

/* enum sandbox_kind counts from 0. */
#define N_KINDS (SANDBOX_FS + 1)

static void forbidden(int which)
{
	int at = 0;

	confine((enum sandbox_kind)(which / N_FORBIDDEN));
	which %= N_FORBIDDEN;
	FORBIDDEN(FORBIDDEN_CASE)
	syscall(SYS_exit_group, 0);
}

START_TEST(killed)
{
	int status = probe(forbidden, _i);

	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: status %#x",
		      forbidden_names[_i % N_FORBIDDEN], status);
}
END_TEST

/* What a worker of shares does, and no other thread. */
static void files(int kind)
{
	struct flock w = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open("/tmp", O_RDWR | O_TMPFILE, 0600), dir = open("/", O_RDONLY | O_DIRECTORY);
	char room[1024];

	NEED(fd >= 0 && dir >= 0);
	confine((enum sandbox_kind)kind);
	NEED(syscall(SYS_getdents64, dir, room, sizeof(room)) > 0);
	NEED(!fcntl(fd, F_OFD_SETLK, &w));
	NEED(!flock(fd, LOCK_EX | LOCK_NB));
	NEED(copy_file_range(fd, NULL, fd, NULL, 0, 0) == 0);
	NEED(!fsync(fd) && !lseek(fd, 0, SEEK_SET) && !close(dir));
	syscall(SYS_exit_group, 0);
}

static void other_fcntl(int unused)
{
	(void)unused;
	confine(SANDBOX_FS);
	syscall(SYS_fcntl, 0, F_SETOWN, 1);
	syscall(SYS_exit_group, 0);
}

START_TEST(workers)
{
	int status = probe(files, SANDBOX_FS);

	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
	status = probe(files, SANDBOX_IO);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status %#x", status);
	status = probe(files, SANDBOX_VCPU);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status %#x", status);
	status = probe(other_fcntl, 0);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status %#x", status);
}
END_TEST

/* A vCPU thread may not take descriptors in or make some; the I/O thread may. */
static void descriptors(int kind)
{
	confine((enum sandbox_kind)kind);
	syscall(SYS_eventfd2, 0, 0);
	syscall(SYS_exit_group, 0);
}

static void enter_ring(int kind)
{
	confine((enum sandbox_kind)kind);
	syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0);
	syscall(SYS_exit_group, 0);
}

START_TEST(ring)
{
	int status = probe(enter_ring, SANDBOX_IO);

	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
	status = probe(enter_ring, SANDBOX_VCPU);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status %#x", status);
}
END_TEST

START_TEST(kinds)
{
	int status = probe(descriptors, SANDBOX_IO);

	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
	status = probe(descriptors, SANDBOX_VCPU);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status %#x", status);
	status = probe(descriptors, SANDBOX_FS);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status %#x", status);
}
END_TEST

/* Taps and vhosts are the I/O thread's alone; lines of interrupts are both's. */
static void ioctls(int kind)
{
	confine(kind < 2 ? SANDBOX_IO : SANDBOX_VCPU);
	if (kind % 2)
		syscall(SYS_ioctl, -1, KVM_IRQFD, NULL);
	else
		syscall(SYS_ioctl, -1, VHOST_NET_SET_BACKEND, NULL);
	if (kind % 2)
		syscall(SYS_ioctl, -1, KVM_SET_GSI_ROUTING, NULL);
	else
		syscall(SYS_ioctl, -1, TUNSETQUEUE, NULL);
	syscall(SYS_exit_group, 0);
}

START_TEST(net_ioctls)
{
	int status = probe(ioctls, _i);

	if (_i == 2)
		ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status %#x", status);
	else
		ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
}
END_TEST

static void allowed(int unused)
{
	int ep = epoll_create1(0), p[2];
	struct epoll_event ev = { .events = EPOLLIN };
	char c = 1;

	(void)unused;
	NEED(!pipe(p));
	confine(SANDBOX_IO);
	NEED(!epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
	NEED(write(p[1], &c, 1) == 1);
	NEED(epoll_wait(ep, &ev, 1, -1) == 1);
	NEED(read(p[0], &c, 1) == 1);
	NEED(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	     MAP_FAILED);
	syscall(SYS_exit_group, 0);
}

START_TEST(works)
{
	int status = probe(allowed, 0);

	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
}
END_TEST

/* A write to memory that was unplugged goes on, in each kind of thread; */
static void late_write(int kind)
{
	struct gmem_policy p = { .ram_bytes = 32 << 20, .hotplug_bytes = VMM_HOTPLUG_STEP_BYTES };
	static struct gmem m;
	struct err e;

	signal(SIGSEGV, SIG_DFL);
	NEED(!gmem_init_policy(&m, &p, &e));
	m.hot.sweep_fd = timer_new(&e);
	NEED(!gmem_hot_plug(&m, 0, 1) && !gmem_hot_unplug(&m, 0, 1));
	confine((enum sandbox_kind)(kind / 2));
	*(volatile uint8_t *)m.hot.r.hva = 1;
	NEED(m.hot.astray);
	/* any other one ends the process as it should. */
	if (kind & 1)
		*(volatile uint8_t *)(m.hot.r.hva - 1) = 1;
	syscall(SYS_exit_group, 0);
}

START_TEST(late)
{
	int status = probe(late_write, _i);

	if (_i & 1)
		ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "status %#x", status);
	else
		ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
}
END_TEST

/* Memory is given to KVM by the I/O thread alone. */
static void memory_slot(int kind)
{
	confine((enum sandbox_kind)kind);
	syscall(SYS_ioctl, -1, 0x4020ae46, NULL);	/* KVM_SET_USER_MEMORY_REGION */
	syscall(SYS_exit_group, 0);
}

START_TEST(slots)
{
	int status = probe(memory_slot, SANDBOX_IO);

	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
	status = probe(memory_slot, SANDBOX_VCPU);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status %#x", status);
}
END_TEST

/* Registers are read where a machine becomes a template, and in no other. */
static void registers(int kind)
{
	confine((enum sandbox_kind)kind);
	syscall(SYS_ioctl, -1, KVM_GET_REGS, NULL);
	syscall(SYS_exit_group, 0);
}

START_TEST(save_ioctls)
{
	static const enum sandbox_kind others[] = { SANDBOX_IO, SANDBOX_VCPU, SANDBOX_FS };
	int status = probe(registers, SANDBOX_IO_SAVE);
	size_t i;

	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		status = probe(registers, (int)others[i]);
		ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
			      "kind %d: status %#x", others[i], status);
	}
	/* All else is as in any I/O thread. */
	status = probe(descriptors, SANDBOX_IO_SAVE);
	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
}
END_TEST

Suite *vmm_sandbox_suite(void)
{
	Suite *s = suite_create("vmm_sandbox");
	TCase *t = tcase_create("all");

	if (geteuid() == 0)
		tcase_add_test(t, stage1);
	else
		kit_skip("vmm_sandbox", "stage 1 is tested as root");
	tcase_add_test(t, ring);
	tcase_add_loop_test(t, killed, 0, N_KINDS * N_FORBIDDEN);
	tcase_add_test(t, kinds);
	tcase_add_loop_test(t, net_ioctls, 0, 4);
	tcase_add_test(t, workers);
	tcase_add_test(t, works);
	tcase_add_loop_test(t, late, 0, 2 * (SANDBOX_FS + 1));
	tcase_add_test(t, slots);
	tcase_add_test(t, save_ioctls);
	suite_add_tcase(s, t);
	return s;
}
