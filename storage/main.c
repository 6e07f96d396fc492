// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-storage: one verb per file (cmd-*.c); errors are one line on standard
 * error, exit status 1, or 2 for a wrong command line.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/mem.h"
#include "storage/cmd.h"

static const struct command {
	const char *name, *args, *help;
	int (*run)(int argc, char **argv, struct err *e);
} commands[] = {
	{ "inspect", "PATH [--json]", "what is behind a directory, and can it be mapped",
	  cmd_inspect },
	{ "plan", "PATH [--scratch SIZE] [--read-only] [--json]", "disks that a VM would get, and what they take",
	  cmd_plan },
	{ "export", "PATH -o IMAGE", "the read-only disk as an EROFS image", cmd_export },
};

static void usage(FILE *f)
{
	size_t i;

	fprintf(f, "usage: podvm-storage COMMAND ...\n\n"
		"Shows how a container's root file system becomes disks of a virtual machine.\n"
		"The layers of an overlay, merged as the kernel merges them, are one read-only\n"
		"EROFS disk: metadata is built in memory, contents are read from the layers'\n"
		"files and never copied.\n\n");
	for (i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(f, "  %-8s %-32s %s\n", commands[i].name, commands[i].args,
			commands[i].help);
	fprintf(f, "\n  --help, --version; COMMAND --help tells its options\n\n"
		"Try, with a container of podman that runs or was mounted:\n\n"
		"  root=$(podman mount CONTAINER)\n"
		"  podvm-storage inspect $root\n"
		"  podvm-storage plan $root --scratch 10G\n"
		"  podvm-storage export $root -o /tmp/root.erofs && mount -o loop,ro /tmp/root.erofs /mnt\n");
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	size_t i;
	int rc;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		usage(stdout);
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "--version")) {
		printf("podvm-storage %s\n", PODVM_VERSION);
		return 0;
	}
	for (i = 0; argc > 1 && i < ARRAY_LEN(commands); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		rc = commands[i].run(argc - 1, argv + 1, &e);
		if (!rc && fflush(stdout) < 0)
			rc = err_sys(&e, "standard output");
		if (rc < 0)
			fprintf(stderr, "podvm-storage: %s: %s\n", argv[1], e.text);
		return rc == -EINVAL ? 2 : rc < 0;
	}
	if (argc > 1)
		fprintf(stderr, "podvm-storage: unknown command; see podvm-storage --help\n");
	else
		usage(stderr);
	return 2;
}
