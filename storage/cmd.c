// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What the verbs of podvm-storage share: one table of them, from which usage lines
 * and --help are printed, one way to read a command line (options on both sides of
 * one argument), and names in JSON. Names of files are bytes; JSON is UTF-8: a name
 * that is not UTF-8 has U+FFFD for each byte that is wrong, and its bytes in
 * hexadecimal beside it, under the same key with "Hex" behind it.
 */
#include "storage/cmd.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/str.h"

/* clang-format off */
static const struct command commands[] = {
	{ "inspect", "PATH [--json]", "what is behind a directory, and can it be mapped",
	  "Tells what is behind a directory: the mount it is on, the layers of an overlay\n"
	  "(topmost first) with the names that each holds, and whether podvm can map it.\n"
	  "The exit status is 0 in both cases: scripts read \"supported\" of the JSON.\n", cmd_inspect },
	{ "plan", "BUNDLE|PATH [--scratch SIZE] [--read-only]",
	  "disks that a VM would get, and what they take",
	  "Maps a root file system as a pod would, shows the disks that the VM would get and\n"
	  "what they took to make, and lets go of them. Contents of files are not read or\n"
	  "copied: the disk refers to the layers' files. BUNDLE is a directory with an OCI\n"
	  "config.json, whose root.path and root.readonly are used; PATH a root file system.\n"
	  "What no disk can show, such as a plain directory, is shared by virtio-fs, and why.\n"
	  "Of a block device it shows how it would be handed over, and does nothing to it.\n",
	  cmd_plan },
	{ "export", "PATH -o IMAGE [--force]", "the read-only disk as an EROFS image",
	  "Writes the read-only disk that a VM would get for the overlay mounted at PATH\n"
	  "as an EROFS image: mount it (mount -o loop,ro IMAGE DIR) or check it with\n"
	  "fsck.erofs. IMAGE appears when it is whole, never before; - is standard output.\n",
	  cmd_export },
	{ "serve", "PATH [--socket SOCKET]", "the same disk by NBD at a unix socket, nothing copied",
	  "Serves the read-only disk that a VM would get as NBD at a unix socket, until Ctrl-C\n"
	  "or SIGTERM. Contents are read from the layers' files when a client asks for them.\n"
	  "nbdkit does the talking; its filters can be put in between:\n\n"
	  "  podvm-storage serve $root --filter error --param error-pread-rate=1%\n", cmd_serve },
	{ "test", "PATH|--driver DRIVER [--json]", "checks of a root file system or a driver, with a report",
	  "Checks of the root file system at PATH, or of a storage driver of this host with\n"
	  "layers or a thin pool that the test makes and removes: how it is mapped, that nothing\n"
	  "is copied, the tree on the disk against the tree of the mount, entry by entry, and,\n"
	  "where /dev/kvm runs Linux, the tree in a guest, its writes and their way back.\n"
	  "Exit status: 0 all passed, 1 a check failed, 3 something could not be tested here.\n", cmd_test },
	{ "gc", "[--dry-run] [--json]", "remove what crashes have left on this host",
	  "Finds what crashes have left on this host and removes it: sockets of servers, and\n"
	  "what tests have made. What a living process uses is never touched.\n", cmd_gc },
	{ NULL, NULL, NULL, NULL, NULL },
};
/* clang-format on */

/**
 * cmd_table() - the verbs, closed by one without a name
 */
const struct command *cmd_table(void)
{
	return commands;
}

static const struct command *find(const char *name)
{
	const struct command *c = commands;

	while (c->name && strcmp(c->name, name))
		c++;
	return c;
}

/**
 * cmd_args() - read the command line of a verb: options and at most one argument
 * @table:    options; --help is added
 * @argv:     argv[0] is the verb
 * @ret_path: the argument, borrowed from @argv; NULL if there is none
 *
 * Return: 1: go on; 0: --help was printed; -EINVAL
 */
int cmd_args(const struct opt *table, int argc, char **argv, const char **ret_path, struct err *e)
{
	const struct command *c = find(argv[0]);
	const char *path = NULL;
	int at = 0, first, rc, i;

	for (i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		if (strcmp(argv[i], "--help") && strcmp(argv[i], "-h"))
			continue;
		printf("usage: podvm-storage %s %s\n\n%s\n", c->name, c->args, c->text);
		opt_help(stdout, table);
		printf("  %-34s %s\n", "-h, --help", "print this");
		return 0;
	}
	while (at < argc) {
		rc = opt_parse(table, argc - at, argv + at, &first, e);
		if (rc < 0)
			return rc == -E2BIG ? -EINVAL : rc;
		at += first;
		if (at == argc)
			break;
		if (path)
			return err_set(e, EINVAL,
				       "more than one argument: usage: podvm-storage %s %s",
				       c->name, c->args);
		path = argv[at];
	}
	*ret_path = path;
	return 1;
}

/* Bytes of the UTF-8 character at @s; 0 when it is none. No overlong ones, no surrogates. */
static size_t utf8_bytes(const unsigned char *s)
{
	uint32_t v;
	size_t n, i;

	if (s[0] < 0x80)
		return 1;
	n = s[0] >= 0xf0 && s[0] < 0xf5	  ? 4
	    : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
	    : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
					  : 0;
	if (!n)
		return 0;
	v = s[0] & (0xffu >> (n + 1));
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s[i] & 0x3f);
	}
	if (v > 0x10ffff || (v >= 0xd800 && v < 0xe000) || (n == 3 && v < 0x800) ||
	    (n == 4 && v < 0x10000))
		return 0;
	return n;
}

/**
 * cmd_json_name() - a name of a file as a member of JSON; NULL adds nothing
 */
void cmd_json_name(struct json_out *o, const char *key, const char *name)
{
	struct strbuf text = {0}, hex = {0};
	bool wrong = false;
	char hex_key[80];
	const char *s;

	for (s = name; s && *s;) {
		size_t n = utf8_bytes((const unsigned char *)s);

		strbuf_add_bytes(&text, n ? s : "\xef\xbf\xbd", n ? n : 3);
		wrong |= !n;
		s += n ? n : 1;
	}
	json_out_str(o, key, name && !text.text ? "" : text.text);
	if (wrong) {
		for (s = name; *s; s++)
			strbuf_add(&hex, "%02x", (unsigned char)*s);
		snprintf(hex_key, sizeof(hex_key), "%sHex", key);
		json_out_str(o, hex_key, hex.text);
	}
	strbuf_done(&text);
	strbuf_done(&hex);
}
