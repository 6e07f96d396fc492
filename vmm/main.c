// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-vmm: one process per pod that runs its virtual machine. It is started
 * by the supervisor with two descriptors, the control socket (VMM_CONTROL_FD)
 * and the log (2), confines itself before it reads the first message, and
 * serves the socket until that closes. It prints one line when it fails, and exits
 * with 1; with 2 for wrong usage.
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
#include "lib/opt.h"
#include "vmm/control.h"
#include "vmm/metrics.h"
#include "vmm/sandbox.h"
#include "vmm/vmm.h"

static void usage(const struct opt *table)
{
	printf("usage: podvm-vmm [OPTION]...\n\n"
	       "The virtual machine monitor of one pod. The podvm supervisor starts it with a\n"
	       "unix socket (SOCK_SEQPACKET) as descriptor %d, over which kernel, disks and\n"
	       "network interfaces arrive as descriptors; standard error is its log. It opens\n"
	       "nothing by itself and is of no use from a shell: see podvm --help.\n\n",
	       VMM_CONTROL_FD);
	opt_help(stdout, table);
}

static bool is_control_socket(int fd)
{
	int type, domain;
	socklen_t n = sizeof(type), k = sizeof(domain);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) && type == SOCK_SEQPACKET &&
	       !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &k) && domain == AF_UNIX;
}

int main(int argc, char **argv)
{
	bool help = false, version = false, weak = false, refused;
	const struct opt table[] = {
		OPT_FLAG('h', "help", &help, "show this text"),
		OPT_FLAG('v', "version", &version, "show the version"),
		OPT_FLAG(0, "weak-sandbox", &weak,
			 "go on where namespaces cannot be made (seccomp only)"),
		OPT_END
	};
	struct err e = { 0 }, refuse = { 0 };
	int first, rc;

	metrics_stamp(METRICS_START);
	mallopt(M_ARENA_MAX, 1);
	if (opt_parse(table, argc, argv, &first, &e) < 0) {
		fprintf(stderr, "podvm-vmm: %s\n", e.text);
		return 2;
	}
	if (help) {
		usage(table);
		return 0;
	}
	if (version) {
		printf("podvm-vmm %s\n", PODVM_VERSION);
		return 0;
	}
	if (first < argc || !is_control_socket(VMM_CONTROL_FD)) {
		fprintf(stderr, "podvm-vmm: %s; see --help\n", first < argc
			? "it takes no arguments"
			: "it is started by the podvm supervisor, with a control socket");
		return 2;
	}
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
