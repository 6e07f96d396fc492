// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Reads a command line that may be the trusted runtime's: it can have options that
 * podvm does not know, and must reach that runtime word for word. All that is
 * wanted is where the command, the container's id, --root and --bundle are, so all
 * that has to be known of an option is whether the next word is its value. The
 * tables below are those of runc 1.2, crun 1.21 and podvm together.
 *
 * An option that is in none of them is taken for a flag. Should it have a value, that
 * value is looked up as a container's id, is none, and podvm's own parser refuses the
 * option by its name.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/pod.h"
#include "runtime/cli/handover.h"

/* Options whose value may be the next word. */
static const char *const global_values[] = {
	"cgroup-manager", "criu", "log", "log-format", "log-level", "root", "rootless", NULL,
};

static const char *const verb_values[] = {
	"additional-gids",
	"apparmor",
	"blkio-weight",
	"bundle",
	"cap",
	"cgroup",
	"config",
	"console-socket",
	"cpu-burst",
	"cpu-idle",
	"cpu-period",
	"cpu-quota",
	"cpu-rt-period",
	"cpu-rt-runtime",
	"cpu-share",
	"cpuset-cpus",
	"cpuset-mems",
	"cwd",
	"empty-ns",
	"env",
	"format",
	"image-path",
	"interval",
	"kernel-memory",
	"kernel-memory-tcp",
	"l3-cache-schema",
	"lsm-mount-context",
	"lsm-profile",
	"manage-cgroups-mode",
	"mem-bw-schema",
	"memory",
	"memory-reservation",
	"memory-swap",
	"page-server",
	"parent-path",
	"pid-file",
	"pidfd-socket",
	"pids-limit",
	"preserve-fds",
	"process",
	"process-label",
	"resources",
	"status-fd",
	"timeout",
	"user",
	"vcpus",
	"work-path",
	NULL,
};

static const struct verb {
	const char *name;
	const char *letters; /* short options with a value */
	bool makes, own;
} verbs[] = {
	{"create", "bf", true, false}, {"run", "bf", true, false},
	{"restore", "b", true, false}, {"start", "", false, false},
	{"state", "", false, false},   {"kill", "", false, false},
	{"delete", "", false, false},  {"exec", "cegpu", false, false},
	{"ps", "f", false, false},     {"pause", "", false, false},
	{"resume", "", false, false},  {"update", "r", false, false},
	{"events", "", false, false},  {"checkpoint", "", false, false},
	{"timeline", "", false, true}, {"stats", "f", false, true},
	{"resize", "mc", false, true},
};

/**
 * struct option - one option of a command line
 * @name, @len: without dashes and value
 * @value: NULL when it has none
 * @next:  index of the word behind it
 */
struct option {
	const char *name;
	size_t len;
	const char *value;
	int next;
};

static bool listed(const char *const *list, const char *name, size_t len)
{
	for (; *list; list++)
		if (strlen(*list) == len && !strncmp(*list, name, len))
			return true;
	return false;
}

static bool is(const struct option *o, const char *name)
{
	return strlen(name) == o->len && !strncmp(name, o->name, o->len);
}

/* -x, -xVALUE, or several flags in one word, of which the last may have a value. */
static void letters_of(struct option *o, int argc, char **argv, int i, const char *letters)
{
	const char *s = argv[i] + 1;

	for (; *s; s++) {
		if (!strchr(letters, *s))
			continue;
		o->name = s;
		o->len = 1;
		o->value = s[1] ? s + 1 : i + 1 < argc ? argv[i + 1] : NULL;
		o->next = i + 1 + !s[1];
		return;
	}
}

/* The option at argv[i]; long ones with one dash or two, as Go's flag package has them. */
static struct option option_at(int argc, char **argv, int i, const char *const *values,
			       const char *letters)
{
	const char *name = argv[i] + 1 + (argv[i][1] == '-');
	const char *eq = strchr(name, '=');
	struct option o = {.name = name,
			   .len = eq ? (size_t)(eq - name) : strlen(name),
			   .value = eq ? eq + 1 : NULL,
			   .next = i + 1};

	if (listed(values, o.name, o.len)) {
		if (!eq) {
			o.value = i + 1 < argc ? argv[i + 1] : NULL;
			o.next = i + 2;
		}
	} else if (argv[i][1] != '-') {
		letters_of(&o, argc, argv, i, letters);
	}
	return o;
}

static bool is_option(const char *word)
{
	return word[0] == '-' && word[1] && strcmp(word, "--");
}

/* Index of the first word behind the options, which @each sees. */
static int options(struct call *c, int i, const char *const *values, const char *letters,
		   void (*each)(struct call *c, const struct option *o))
{
	while (i < c->argc && is_option(c->argv[i])) {
		struct option o = option_at(c->argc, c->argv, i, values, letters);

		if (each)
			each(c, &o);
		i = o.next;
	}
	if (i < c->argc && !strcmp(c->argv[i], "--"))
		i++;
	return i < c->argc ? i : c->argc;
}

static void global_option(struct call *c, const struct option *o)
{
	if (is(o, "root") && o->value)
		c->root = o->value;
}

static void verb_option(struct call *c, const struct option *o)
{
	if ((is(o, "bundle") || is(o, "b")) && o->value)
		c->bundle = o->value;
	if (c->makes && (is(o, "config") || is(o, "f")))
		c->config = true;
}

/**
 * call_read() - find what matters in a command line
 * @c: its strings are @argv's
 *
 * Return: whether the command is one that a container's runtime decides about
 */
bool call_read(struct call *c, int argc, char **argv)
{
	size_t i;
	int at;

	*c = (struct call){.argc = argc, .argv = argv, .root = POD_DEFAULT_ROOT, .bundle = "."};
	c->verb = options(c, 1, global_values, "", global_option);
	if (c->verb >= argc)
		return false;
	for (i = 0; i < ARRAY_LEN(verbs) && strcmp(verbs[i].name, argv[c->verb]); i++)
		;
	if (i == ARRAY_LEN(verbs))
		return false;
	c->makes = verbs[i].makes;
	c->own = verbs[i].own;
	at = options(c, c->verb + 1, verb_values, verbs[i].letters, verb_option);
	c->id = at < argc ? argv[at] : NULL;
	return true;
}

/**
 * call_argv() - the same command line for another runtime, with a --root of its own
 * @runtime: becomes argv[0], borrowed
 * @root:    takes the place of every --root, borrowed
 * @ret:     malloc'd, NULL-terminated; its strings are borrowed
 *
 * Return: 0 or -ENOMEM
 */
int call_argv(const struct call *c, const char *runtime, const char *root, char ***ret,
	      struct err *e)
{
	char **v = mem_new_n(char *, (size_t)c->argc + 3);
	int i = 1, n = 0;

	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	v[n++] = (char *)(uintptr_t)runtime;
	v[n++] = (char *)(uintptr_t) "--root";
	v[n++] = (char *)(uintptr_t)root;
	while (i < c->verb) {
		struct option o = option_at(c->argc, c->argv, i, global_values, "");
		int next = o.next < c->verb ? o.next : c->verb;

		for (; i < next; i++)
			if (!is(&o, "root"))
				v[n++] = c->argv[i];
	}
	for (; i < c->argc; i++)
		v[n++] = c->argv[i];
	*ret = v;
	return 0;
}
