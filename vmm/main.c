// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-vmm: one process per pod that runs its virtual machine. It is started
 * by the supervisor with two descriptors, the control socket (VMM_CONTROL_FD)
 * and the log (2), confines itself before it reads the first message, and
 * serves the socket until that closes.
 *
 * A person starts it with --kernel and gets the same with alone.c around it.
 *
 * It prints one line when it fails, and exits with 1.
 */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/opt.h"
#include "vmm/alone.h"
#include "vmm/control.h"
#include "vmm/metrics.h"
#include "vmm/sandbox.h"
#include "vmm/vmm.h"

static void usage(const struct opt *table)
{
	printf("usage: podvm-vmm --kernel FILE [OPTION]...\n\n"
	       "Runs a virtual machine until it powers itself off. Its console is standard output\n"
	       "and input; Ctrl-C stops it. The machine is the one that pods run in, sandbox\n"
	       "included.\n\n"
	       "  podvm-vmm --kernel /boot/vmlinuz-$(uname -r) --initramfs initramfs.cpio\n"
	       "  podvm-vmm --kernel vmlinux --cmdline 'console=hvc0 root=/dev/vda rw' \\\n"
	       "      --memory 1G --vcpus 2 --disk root.img --disk data.img,readonly --tap tap0\n\n");
	opt_help(stdout, table);
	printf("\nWithout --kernel it is the monitor of a pod: the podvm supervisor starts it with a\n"
	       "unix socket (SOCK_SEQPACKET) as descriptor %d, over which kernel, disks and network\n"
	       "interfaces arrive as descriptors. See podvm-vmm(8).\n", VMM_CONTROL_FD);
}

static bool is_control_socket(int fd)
{
	int type, domain;
	socklen_t n = sizeof(type), k = sizeof(domain);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) && type == SOCK_SEQPACKET &&
	       !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &k) && domain == AF_UNIX;
}

/* Return: exit status */
static int serve(bool weak)
{
	/* Of these the supervisor gets its own, and ends us when the guest has ended. */
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	size_t i;
	struct err e = { 0 }, refuse = { 0 };
	bool refused;
	int rc;

	for (i = 0; i < ARRAY_LEN(ends); i++)
		signal(ends[i], SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);	/* a write beyond RLIMIT_FSIZE fails, and that is all */
	syscall(SYS_close_range, VMM_CONTROL_FD + 1, ~0u, 0);
	tzset();	/* reads its file now; the log's gmtime_r() would do so in the sandbox */
	log_open(2, LOG_LEVEL_INFO, false);
	refused = sandbox_isolate(weak, &refuse) < 0;
	rc = control_run(VMM_CONTROL_FD, refused ? &refuse : NULL, &e);
	if (rc < 0)
		log_error("vmm: %s", e.text);
	return rc < 0;
}

static int fail(const char *text)
{
	fprintf(stderr, "podvm-vmm: %s\n", text);
	return 1;
}

static int run_alone(const struct alone *a)
{
	struct err e = { 0 };
	int rc = alone_run(a, &e);

	return rc < 0 ? fail(e.text) : rc;
}

int main(int argc, char **argv)
{
	struct alone a = { .cmdline = "console=hvc0 earlyprintk=ttyS0 panic=-1 reboot=t",
			   .console = "-", .vcpus = 1 };
	bool help = false, version = false;
	const struct opt table[] = {
		OPT_STR(0, "kernel", &a.kernel, "FILE", "a bzImage or an ELF vmlinux"),
		OPT_STR(0, "initramfs", &a.initramfs, "FILE", "none if not given"),
		OPT_STR(0, "cmdline", &a.cmdline, "TEXT", "of the kernel; the default shows the boot"),
		OPT_STR(0, "memory", &a.memory, "SIZE", "256M if not given; a multiple of 2M"),
		OPT_U64(0, "vcpus", &a.vcpus, "N", "1 if not given"),
		OPT_STRS(0, "disk", &a.disks, "FILE[,OPTION]", "raw; readonly, direct, serial=NAME; may be repeated"),
		OPT_STRS(0, "tap", &a.taps, "NAME[,OPTION]", "a tap interface, or fd:N[:N]...; vhost, queues=N, mac=MAC; may be repeated"),
		OPT_STR(0, "console", &a.console, "FILE", "output only, to a file; - is the default"),
		OPT_STRS(0, "port", &a.ports, "NAME=SOCKET", "a console port at a unix socket; may be repeated"),
		OPT_STR(0, "metrics", &a.metrics, "FILE", "counters at the end and on SIGUSR1; *.json or OpenMetrics"),
		OPT_FLAG(0, "weak-sandbox", &a.weak,
			 "go on where namespaces cannot be made (seccomp only)"),
		OPT_FLAG('h', "help", &help, "show this text"),
		OPT_FLAG('v', "version", &version, "show the version"),
		OPT_END
	};
	struct err e = { 0 };
	int first;

	metrics_stamp(METRICS_START);
	mallopt(M_ARENA_MAX, 1);
	if (opt_parse(table, argc, argv, &first, &e) < 0)
		return fail(e.text);
	if (help) {
		usage(table);
		return 0;
	}
	if (version) {
		printf("podvm-vmm %s\n", PODVM_VERSION);
		return 0;
	}
	if (first < argc)
		return fail("it takes no arguments, only options; see --help");
	if (a.kernel)
		return run_alone(&a);
	if (!is_control_socket(VMM_CONTROL_FD))
		return fail("descriptor 3 is no control socket: give --kernel FILE to run a machine by hand; see --help");
	return serve(a.weak);
}
