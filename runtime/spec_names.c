// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Names of the operating system and their numbers: capabilities, signals,
 * resource limits. The numbers are the guest's, Linux on x86_64, which are the
 * host's as well. The tables are flat and searched from the front; they are
 * short and asked a few dozen times per container.
 *
 * Sources: capabilities(7), signal(7), getrlimit(2).
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

#include "lib/mem.h"
#include "runtime/spec_impl.h"

struct number {
	const char *name;
	int value;
};

/* Position is the capability's number. */
static const char *const capabilities[] = {
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER",
	"CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
	"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
	"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
	"CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
	"CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};

static const struct number rlimits[] = {
	{ "RLIMIT_AS", RLIMIT_AS },	  { "RLIMIT_CORE", RLIMIT_CORE },
	{ "RLIMIT_CPU", RLIMIT_CPU },	  { "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE }, { "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "RLIMIT_NICE", RLIMIT_NICE },	  { "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_NPROC", RLIMIT_NPROC }, { "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
	{ "RLIMIT_STACK", RLIMIT_STACK },
};

static const struct number signals[] = {
	{ "HUP", SIGHUP },     { "INT", SIGINT },     { "QUIT", SIGQUIT },
	{ "ILL", SIGILL },     { "TRAP", SIGTRAP },   { "ABRT", SIGABRT },
	{ "IOT", SIGIOT },     { "BUS", SIGBUS },     { "FPE", SIGFPE },
	{ "KILL", SIGKILL },   { "USR1", SIGUSR1 },   { "SEGV", SIGSEGV },
	{ "USR2", SIGUSR2 },   { "PIPE", SIGPIPE },   { "ALRM", SIGALRM },
	{ "TERM", SIGTERM },   { "STKFLT", SIGSTKFLT }, { "CHLD", SIGCHLD },
	{ "CLD", SIGCHLD },    { "CONT", SIGCONT },   { "STOP", SIGSTOP },
	{ "TSTP", SIGTSTP },   { "TTIN", SIGTTIN },   { "TTOU", SIGTTOU },
	{ "URG", SIGURG },     { "XCPU", SIGXCPU },   { "XFSZ", SIGXFSZ },
	{ "VTALRM", SIGVTALRM }, { "PROF", SIGPROF }, { "WINCH", SIGWINCH },
	{ "IO", SIGIO },       { "POLL", SIGPOLL },   { "PWR", SIGPWR },
	{ "SYS", SIGSYS },
};

/* What programs call SIGRTMIN: the two below are the C library's own. */
#define SIGNAL_RTMIN 34
#define SIGNAL_MAX 64

/**
 * spec_capability_find() - number of a capability
 * @name: as in capabilities(7), with CAP_ in front
 *
 * Return: 0 to 40, or -1 when unknown
 */
int spec_capability_find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(capabilities); i++)
		if (!strcmp(capabilities[i], name))
			return (int)i;
	return -1;
}

/**
 * spec_capability_name() - name of capability @i; NULL behind the last one
 */
const char *spec_capability_name(size_t i)
{
	return i < ARRAY_LEN(capabilities) ? capabilities[i] : NULL;
}

/**
 * spec_rlimit_find() - number of a resource limit
 * @name: with RLIMIT_ in front
 *
 * Return: RLIMIT_*, or -1 when unknown
 */
int spec_rlimit_find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(rlimits); i++)
		if (!strcmp(rlimits[i].name, name))
			return rlimits[i].value;
	return -1;
}

/* RTMIN, RTMIN+n, RTMAX, RTMAX-n without their "RT"; -1 when it is none of them. */
static int realtime_signal(const char *name)
{
	bool min = !strncasecmp(name, "MIN", 3);
	uint64_t n = 0;

	if (!min && strncasecmp(name, "MAX", 3))
		return -1;
	name += 3;
	if (*name && (*name != (min ? '+' : '-') || parse_u64(name + 1, &n) < 0))
		return -1;
	if (n > SIGNAL_MAX - SIGNAL_RTMIN)
		return -1;
	return min ? SIGNAL_RTMIN + (int)n : SIGNAL_MAX - (int)n;
}

/**
 * spec_signal() - number of a signal
 * @name: "TERM", "SIGTERM", "15", "RTMIN+3", "SIGRTMAX-1"; case does not matter
 * @ret:  1 to 64; untouched on failure
 *
 * Return: 0 or -EINVAL
 */
int spec_signal(const char *name, int *ret, struct err *e)
{
	const char *bare = strncasecmp(name, "SIG", 3) ? name : name + 3;
	uint64_t n;
	int rt;
	size_t i;

	if (!parse_u64(name, &n)) {
		if (n < 1 || n > SIGNAL_MAX)
			return err_set(e, EINVAL, "signal %s: must be 1 to %d",
				       SPEC_Q(name), SIGNAL_MAX);
		*ret = (int)n;
		return 0;
	}
	for (i = 0; i < ARRAY_LEN(signals); i++) {
		if (!strcasecmp(signals[i].name, bare)) {
			*ret = signals[i].value;
			return 0;
		}
	}
	rt = strncasecmp(bare, "RT", 2) ? -1 : realtime_signal(bare + 2);
	if (rt < 0)
		return err_set(e, EINVAL, "signal %s: unknown", SPEC_Q(name));
	*ret = rt;
	return 0;
}
