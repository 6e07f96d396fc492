// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Stage 2 of the sandbox (vmm/sandbox.c): which system calls a thread may make.
 * What devices need is in the lists of both, because a device starts and stops on
 * the vCPU thread that wrote its status. The I/O thread besides receives
 * descriptors, makes eventfds and timers for devices that are plugged later, gives
 * KVM memory that the guest plugs, changes when it preempts (vmm/batch.c), and enters the one
 * io_uring that was made before, which can do nothing but disk operations (vmm/uring.c); no other can be
 * made or changed. The workers of shares have a list of their own: they talk to the
 * broker, and do to files what virtio/fs-*.c say.
 * Everything else ends the process with SIGSYS: open, socket, execve and clone
 * among it. ioctl is cut down to single commands, and mmap and mprotect may not
 * make code.
 *
 * A filter is written out as BPF here and entered by each thread on its own.
 * libseccomp would do the same in 6 ms a list where this takes microseconds, and a
 * pod waits for it. All checks are for equality and in a row; the kernel
 * caches the verdict of calls whose arguments are not looked at, so only ioctl,
 * mmap and mprotect run the program, and ioctl comes first.
 *
 * Source: Linux Documentation/userspace-api/seccomp_filter.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/mem.h"
#include "vmm/sandbox.h"

#define CALL(name) SYS_##name

/* Threads, memory, clocks, and what devices do to descriptors that they have. */
static const uint32_t calls_both[] = {
	CALL(futex), CALL(exit), CALL(exit_group), CALL(rt_sigreturn),
	CALL(rt_sigprocmask), CALL(restart_syscall), CALL(sched_yield),
	CALL(getpid), CALL(gettid), CALL(tgkill), CALL(brk),
	CALL(munmap), CALL(madvise), CALL(mremap), CALL(membarrier),
	CALL(clock_gettime), CALL(gettimeofday), CALL(clock_nanosleep),
	CALL(nanosleep), CALL(getrandom), CALL(rseq),
	CALL(set_robust_list),
	CALL(read), CALL(write), CALL(readv), CALL(writev),
	CALL(pread64), CALL(pwrite64), CALL(preadv), CALL(pwritev),
	CALL(preadv2), CALL(pwritev2), CALL(fdatasync), CALL(fsync),
	CALL(fallocate), CALL(lseek), CALL(close), CALL(poll),
	CALL(ppoll), CALL(epoll_ctl), CALL(timerfd_settime),
	CALL(sendmsg), CALL(recvmsg), CALL(sendto), CALL(recvfrom),
	CALL(shutdown),
};

static const uint32_t calls_io[] = {
	CALL(epoll_wait), CALL(epoll_pwait), CALL(epoll_pwait2),
	CALL(eventfd2), CALL(timerfd_create), CALL(fstat),
	CALL(newfstatat), CALL(fcntl), CALL(getsockopt),
	CALL(statx), CALL(io_uring_enter), CALL(sched_setscheduler),
};

/* Files of shares; and what vmm/gmem-hot.c does when an answer comes late. */
static const uint32_t calls_fs[] = {
	CALL(futex), CALL(sendmsg), CALL(recvmsg), CALL(preadv),
	CALL(pwritev2), CALL(newfstatat), CALL(fstat), CALL(close),
	CALL(read), CALL(write), CALL(lseek), CALL(getdents64),
	CALL(fsync), CALL(fdatasync), CALL(fallocate), CALL(copy_file_range),
	CALL(flock), CALL(shutdown), CALL(clock_gettime),
	CALL(timerfd_settime),
	CALL(brk), CALL(munmap), CALL(mremap), CALL(madvise),
	CALL(exit), CALL(exit_group), CALL(rt_sigreturn), CALL(rt_sigprocmask),
	CALL(restart_syscall), CALL(getpid), CALL(gettid), CALL(tgkill),
	CALL(rseq), CALL(set_robust_list),
};

static const uint32_t fcntls_fs[] = {
	F_OFD_SETLK, F_OFD_GETLK, F_GETFL, F_DUPFD_CLOEXEC,
};

static const uint32_t ioctls_fs[] = { KVM_SIGNAL_MSI };

static const uint32_t ioctls_both[] = {
	KVM_SIGNAL_MSI, KVM_IOEVENTFD, KVM_IRQFD, KVM_SET_GSI_ROUTING,
};

static const uint32_t ioctls_vcpu[] = { KVM_RUN };

static const uint32_t ioctls_io[] = {
	BLKGETSIZE64, BLKSSZGET, BLKPBSZGET, BLKIOMIN, BLKIOOPT, TUNGETIFF, TUNSETVNETHDRSZ, KVM_KVMCLOCK_CTRL,
	TUNSETOFFLOAD, TUNSETQUEUE,
	VHOST_GET_FEATURES, VHOST_SET_FEATURES, VHOST_SET_OWNER, VHOST_SET_MEM_TABLE,
	VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
	VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR,
	VHOST_NET_SET_BACKEND,
	KVM_SET_USER_MEMORY_REGION,
};

/* What it takes to make a template of a machine (vmm/kvm-state.c, vmm/gmem-file.c). */
static const uint32_t ioctls_save[] = {
	KVM_GET_MSR_INDEX_LIST, KVM_CHECK_EXTENSION, KVM_GET_CLOCK, KVM_GET_MP_STATE,
	KVM_GET_REGS, KVM_GET_SREGS, KVM_GET_VCPU_EVENTS, KVM_GET_DEBUGREGS, KVM_GET_XCRS,
	KVM_GET_XSAVE, KVM_GET_XSAVE2, KVM_GET_MSRS, KVM_GET_LAPIC,
};

static const uint32_t calls_save[] = { CALL(mincore) };

static bool is_io(enum sandbox_kind kind)
{
	return kind == SANDBOX_IO || kind == SANDBOX_IO_SAVE;
}

/* Room for all checks of the longer list. */
#define CODE_MAX 256

/* A jump over more than this does not fit into an instruction. */
#define JUMP_MAX 255

/* A program under construction; what does not fit sets @failed. */
struct code {
	struct sock_filter i[CODE_MAX];
	unsigned short n;
	bool failed;
};

static void emit(struct code *c, uint16_t op, uint32_t k, uint8_t if_true, uint8_t if_not)
{
	if (c->n == CODE_MAX)
		c->failed = true;
	else
		c->i[c->n++] = (struct sock_filter){ op, if_true, if_not, k };
}

static void emit_return(struct code *c, uint32_t action)
{
	emit(c, BPF_RET | BPF_K, action, 0, 0);
}

/* Loads 32 bits of struct seccomp_data. */
static void emit_load(struct code *c, size_t offset)
{
	emit(c, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* Low half of an argument, which is all that an int or a command has. */
#define ARG(n) (offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t))

/* Allows the values of a list. */
static void emit_allow(struct code *c, const uint32_t *v, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		emit(c, BPF_JMP | BPF_JEQ | BPF_K, v[i], 0, 1);
		emit_return(c, SECCOMP_RET_ALLOW);
	}
}

/* Begins a block that only @call enters; end_block() with the result closes it. */
static unsigned short begin_block(struct code *c, uint32_t call)
{
	emit(c, BPF_JMP | BPF_JEQ | BPF_K, call, 0, 0);
	return c->n;
}

static void end_block(struct code *c, unsigned short from)
{
	unsigned int len = (unsigned int)c->n - from;

	if (c->failed || len > JUMP_MAX)
		c->failed = true;
	else
		c->i[from - 1].jf = (uint8_t)len;
}

static void emit_no_code(struct code *c, uint32_t call)
{
	unsigned short from = begin_block(c, call);

	emit_load(c, ARG(2));
	emit(c, BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1);
	emit_return(c, SECCOMP_RET_KILL_PROCESS);
	emit_return(c, SECCOMP_RET_ALLOW);
	end_block(c, from);
}

static void emit_ioctl(struct code *c, enum sandbox_kind kind)
{
	unsigned short from = begin_block(c, SYS_ioctl);

	emit_load(c, ARG(1));
	if (kind == SANDBOX_VCPU)
		emit_allow(c, ioctls_vcpu, ARRAY_LEN(ioctls_vcpu));
	if (kind == SANDBOX_FS)
		emit_allow(c, ioctls_fs, ARRAY_LEN(ioctls_fs));
	else
		emit_allow(c, ioctls_both, ARRAY_LEN(ioctls_both));
	if (is_io(kind))
		emit_allow(c, ioctls_io, ARRAY_LEN(ioctls_io));
	if (kind == SANDBOX_IO_SAVE)
		emit_allow(c, ioctls_save, ARRAY_LEN(ioctls_save));
	emit_return(c, SECCOMP_RET_KILL_PROCESS);
	end_block(c, from);
}

static void emit_fcntl_fs(struct code *c)
{
	unsigned short from = begin_block(c, SYS_fcntl);

	emit_load(c, ARG(1));
	emit_allow(c, fcntls_fs, ARRAY_LEN(fcntls_fs));
	emit_return(c, SECCOMP_RET_KILL_PROCESS);
	end_block(c, from);
}

/**
 * sandbox_compile() - make the filter of a kind of thread
 * @ret: owned by the caller, sandbox_done()
 *
 * Return: 0 or minus errno
 */
int sandbox_compile(enum sandbox_kind kind, struct sandbox_filter *ret, struct err *e)
{
	struct code c = { .n = 0 };
	struct sock_filter *copy;

	/* Numbers mean what they say on x86-64 only; x32 numbers are in no list. */
	emit_load(&c, offsetof(struct seccomp_data, arch));
	emit(&c, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	emit_return(&c, SECCOMP_RET_KILL_PROCESS);
	emit_load(&c, offsetof(struct seccomp_data, nr));
	emit_ioctl(&c, kind);
	emit_no_code(&c, SYS_mmap);
	emit_no_code(&c, SYS_mprotect);
	if (kind == SANDBOX_FS) {
		emit_fcntl_fs(&c);
		emit_allow(&c, calls_fs, ARRAY_LEN(calls_fs));
	} else {
		emit_allow(&c, calls_both, ARRAY_LEN(calls_both));
	}
	if (is_io(kind))
		emit_allow(&c, calls_io, ARRAY_LEN(calls_io));
	if (kind == SANDBOX_IO_SAVE)
		emit_allow(&c, calls_save, ARRAY_LEN(calls_save));
	emit_return(&c, SECCOMP_RET_KILL_PROCESS);
	if (c.failed)
		return err_set(e, E2BIG, "seccomp filter: more than %d instructions", CODE_MAX);
	copy = malloc(c.n * sizeof(*copy));
	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	memcpy(copy, c.i, c.n * sizeof(*copy));
	ret->code = copy;
	ret->n = c.n;
	return 0;
}

/**
 * sandbox_enter() - confine the calling thread for good
 *
 * Return: 0 or minus errno
 * Context: no_new_privs is set
 */
int sandbox_enter(const struct sandbox_filter *f, struct err *e)
{
	struct sock_fprog p = { .len = f->n, .filter = f->code };

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) < 0)
		return err_sys(e, "seccomp");
	return 0;
}

/**
 * sandbox_done() - free a filter; those who entered it stay in it
 */
void sandbox_done(struct sandbox_filter *f)
{
	free(f->code);
	*f = (struct sandbox_filter){ 0 };
}
