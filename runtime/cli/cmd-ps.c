// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The table is for people: the numbers of all processes of the container, in the guest. JSON is
 * what engines read, who look the numbers up in the host's /proc: docker top runs ps(1) on
 * them. A guest's number would be somebody else's there, so that JSON has the processes
 * that the host has of the container: its shims, one for its init and for each exec.
 *
 * A shim is known by its user and its command line.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/cli/cli.h"

static bool is_shim_of(int proc, const char *pid, const char *id)
{
	char name[NAME_MAX + 16], line[STATE_ID_BYTES + 32], want[STATE_ID_BYTES + 32];
	int len = snprintf(want, sizeof(want), "podvm-shim%cshim%c%s", 0, 0, id) + 1;
	_cleanup_close_ int fd = -1;
	struct stat st;

	snprintf(name, sizeof(name), "%s/cmdline", pid);
	fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && !fstat(fd, &st) && !st.st_uid &&
	       read(fd, line, sizeof(line)) >= len && !memcmp(line, want, (size_t)len);
}

/* In the order of /proc, which is that of the numbers. */
static int print_shims(const char *id, struct err *e)
{
	DIR *proc = opendir("/proc");
	const char *before = "";
	struct dirent *d;

	if (!proc)
		return err_sys(e, "/proc");
	printf("[");
	while ((d = readdir(proc)))
		if (d->d_name[0] >= '1' && d->d_name[0] <= '9' &&
		    is_shim_of(dirfd(proc), d->d_name, id)) {
			printf("%s%s", before, d->d_name);
			before = ",";
		}
	printf("]\n");
	closedir(proc);
	return 0;
}

static int print_guest(int sock, char *id, struct err *e)
{
	Podvm__Pod__Pids m = PODVM__POD__PIDS__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(pids = &m, PIDS);
	Podvm__Pod__Response *rs;
	size_t i;
	int rc;

	m.id = id;
	rc = pod_call(sock, &rq, NULL, 0, &rs, e);
	if (rc < 0)
		return rc;
	printf("PID (in the guest)\n");
	for (i = 0; i < rs->n_pids; i++)
		printf("%u\n", rs->pids[i]);
	podvm__pod__response__free_unpacked(rs, NULL);
	return 0;
}

/**
 * cmd_ps() - podvm ps: a container's processes; for engines, those that the host has of it
 */
int cmd_ps(struct cli *c, int argc, char **argv, struct err *e)
{
	const char *format = "table";
	const struct opt t[] = {
		OPT_STR('f', "format", &format, "FORMAT", "table (the guest's) or json (the host's)"),
		OPT_END
	};
	_cleanup_close_ int sock = -1;
	int first, rc = cli_args(t, argc, argv, 1, -1, &first, e);
	struct state *s;
	bool json;

	if (rc <= 0)
		return rc;
	if (argc - first > 1)
		return err_set(e, ENOTSUP,
			       "ps options: not supported: the host's ps does not see the guest; podvm exec %s ps does",
			       argv[first]);
	json = !strcmp(format, "json");
	if (!json && strcmp(format, "table"))
		return err_set(e, EINVAL, "--format is table or json");
	rc = cli_connect(c, argv[first], &s, &sock, e);
	if (rc < 0)
		return rc;
	rc = json ? print_shims(s->id, e) : print_guest(sock, s->id, e);
	state_free(s);
	return rc;
}
