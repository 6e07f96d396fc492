// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-storage: one verb per file (cmd-*.c), all of them in one table (cmd.c).
 * Errors are one line on standard error. Exit status 0, 1 for a failure, 2 for a
 * wrong command line, 128 and the signal's number when a signal ended the work in
 * order; a verb may have others of its own, which its --help tells.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "storage/cmd.h"
#include "storage/stop.h"

static void usage(FILE *f)
{
	const struct command *c;

	fprintf(f, "usage: podvm-storage COMMAND ...\n\n"
		   "Shows how a container's root file system becomes disks of a virtual machine.\n"
		   "The layers of an overlay, merged as the kernel merges them, are one read-only\n"
		   "EROFS disk: metadata is built in memory, contents are read from the layers'\n"
		   "files and never copied.\n\n");
	for (c = cmd_table(); c->name; c++)
		fprintf(f, "  %-8s %-38s %s\n", c->name, c->args, c->help);
	fprintf(f, "\n  --help, --version; COMMAND --help tells its options\n\n"
		   "Try, with a container of podman that runs or was mounted:\n\n"
		   "  root=$(podman mount CONTAINER)\n"
		   "  podvm-storage inspect $root\n"
		   "  podvm-storage plan $root --scratch 10G\n"
		   "  podvm-storage export $root -o /tmp/root.erofs && mount -o loop,ro "
		   "/tmp/root.erofs /mnt\n");
}

static int run(const struct command *c, int argc, char **argv)
{
	struct err e = {0};
	int rc = c->run(argc, argv, &e);

	if (rc >= 0 && (fflush(stdout) < 0 || ferror(stdout)))
		rc = err_sys(&e, "standard output");
	if (rc >= 0)
		return rc;
	fprintf(stderr, "podvm-storage: %s: %s\n", c->name, e.text);
	if (rc == -EINTR && stop_signal())
		return 128 + stop_signal();
	return rc == -EINVAL ? 2 : 1;
}

int main(int argc, char **argv)
{
	const struct command *c;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		usage(stdout);
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "--version")) {
		printf("podvm-storage %s\n", PODVM_VERSION);
		return 0;
	}
	for (c = cmd_table(); argc > 1 && c->name; c++)
		if (!strcmp(argv[1], c->name))
			return run(c, argc - 1, argv + 1);
	if (argc > 1)
		fprintf(stderr, "podvm-storage: unknown command; see podvm-storage --help\n");
	else
		usage(stderr);
	return 2;
}
