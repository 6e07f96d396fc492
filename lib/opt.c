// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A command's options are one table; --help is printed from the same table.
 * Accepted: --name value, --name=value, -n value, -nvalue, flags as --name,
 * --name=true and --name=false (Go's flag package, which container engines
 * write), and -name for a long name (the same package). Parsing stops at the
 * first argument that is no option, or behind "--". Where a number may be left
 * out, the next argument is it if it begins with a digit.
 */
#include "lib/opt.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "lib/str.h"

static const struct opt *find(const struct opt *t, const char *name, size_t len)
{
	for (; t->kind != OPT_KIND_END; t++) {
		if (len == 1 && t->letter == name[0])
			return t;
		if (strlen(t->name) == len && !strncmp(t->name, name, len))
			return t;
	}
	return NULL;
}

static int set_flag(const struct opt *o, const char *value, struct err *e)
{
	bool on = true;

	if (value && !strcmp(value, "false"))
		on = false;
	else if (value && strcmp(value, "true"))
		return err_set(e, EINVAL, "--%s takes no value, or true or false",
			       o->name);
	*(bool *)o->target = on;
	return 0;
}

static int set_value(const struct opt *o, const char *value, struct err *e)
{
	struct opt_strs *list = o->target;
	char shown[64];

	switch (o->kind) {
	case OPT_KIND_STR:
		*(const char **)o->target = value;
		return 0;
	case OPT_KIND_U64:
	case OPT_KIND_MAYBE_U64:
		if (!parse_u64(value, o->target))
			return 0;
		str_quote(shown, sizeof(shown), value);
		return err_set(e, EINVAL, "--%s: %s is not a number", o->name, shown);
	default:
		if (list->n == OPT_STRS_MAX)
			return err_set(e, E2BIG, "--%s given more than %d times",
				       o->name, OPT_STRS_MAX);
		list->v[list->n++] = value;
		return 0;
	}
}

/**
 * opt_parse() - set the targets of a table from a command line
 * @table:     ends with OPT_END
 * @argv:      argv[0] is the command's name and is skipped
 * @ret_first: index of the first argument that is no option; may be @argc
 *
 * Return: 0 or -EINVAL, -E2BIG
 */
int opt_parse(const struct opt *table, int argc, char **argv, int *ret_first,
	      struct err *e)
{
	int i;

	for (i = 1; i < argc; i++) {
		const char *a = argv[i], *eq, *name, *value;
		const struct opt *o;
		int rc;

		if (a[0] != '-' || !a[1])
			break;
		if (!strcmp(a, "--")) {
			i++;
			break;
		}
		name = a + 1 + (a[1] == '-');
		eq = strchr(name, '=');
		value = eq ? eq + 1 : NULL;
		o = find(table, name, eq ? (size_t)(eq - name) : strlen(name));
		if (!o && a[1] != '-' && *name) {
			o = find(table, name, 1); /* -nvalue; a flag takes none */
			if (o && (o->kind == OPT_KIND_FLAG || o->letter != name[0]))
				o = NULL;
			value = name + 1;
		}
		if (!o) {
			char shown[64];

			str_quote(shown, sizeof(shown), a);
			return err_set(e, EINVAL, "unknown option %s; see --help", shown);
		}
		if (o->kind == OPT_KIND_FLAG) {
			rc = set_flag(o, value, e);
		} else if (o->kind == OPT_KIND_MAYBE_U64 && !value &&
			   (i + 1 >= argc || !isdigit((unsigned char)argv[i + 1][0]))) {
			rc = set_value(o, "1", e);
		} else {
			if (!value && i + 1 >= argc)
				return err_set(e, EINVAL, "--%s needs a value: %s",
					       o->name, o->arg);
			rc = set_value(o, value ? value : argv[++i], e);
		}
		if (rc < 0)
			return rc;
	}
	*ret_first = i;
	return 0;
}

/**
 * opt_help() - print a table's options for people
 */
void opt_help(FILE *f, const struct opt *table)
{
	for (; table->kind != OPT_KIND_END; table++) {
		char left[64];

		snprintf(left, sizeof(left), "%c%c%s--%s%s%s",
			 table->letter ? '-' : ' ', table->letter ? table->letter : ' ',
			 table->letter ? ", " : "  ", table->name,
			 table->arg ? " " : "", table->arg ? table->arg : "");
		fprintf(f, "  %-34s %s\n", left, table->help);
	}
}
