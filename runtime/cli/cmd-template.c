// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm template: the saved machines that pods begin from (runtime/template.c), to look at
 * and to remove. Nobody has to: they are made by the first pod that finds none, and what is not
 * used goes. A third table of commands, as that of podvm pod.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/progress.h"
#include "runtime/cli/cli.h"
#include "runtime/podview.h"
#include "runtime/template.h"

/* A pod that is making one has the store; it takes seconds, or its boot timeout. */
#define REMOVE_MS 90000

static int cmd_list_templates(struct cli *c, int argc, char **argv, struct err *e);
static int cmd_remove_template(struct cli *c, int argc, char **argv, struct err *e);

static const struct command template_commands[] = {
	{ "template list", "[--json]", "saved machines: size, what they take, age and last use",
	  cmd_list_templates },
	{ "template remove", "[--all] [KEY]",
	  "remove a saved machine; pods that run are not touched", cmd_remove_template },
	{ NULL, NULL, NULL, NULL },
};

#define TEXT(x) #x
#define TEXT_OF(x) TEXT(x)

/* podvm template */
const struct command_group cli_template = {
	.name = "template",
	.commands = template_commands,
	.about = "A template is a machine that was saved when its kernel and agent were up, before\n"
		 "anything of a pod was in it. With the setting \"templates\": true a pod begins as a\n"
		 "copy of one, and the first pod that finds none for its machine makes it. KEY\n"
		 "stands for all that the machine depends on: size, command line, monitor, kernel,\n"
		 "initramfs, the host's boot. What is changed there leads to another template.\n",
	.more = "At most " TEXT_OF(TEMPLATES_MAX) " are kept; the least recently used one goes.\n"
		"podvm timeline POD tells which one a pod was made of.\n",
};

/**
 * cmd_template() - podvm template
 */
int cmd_template(struct cli *c, int argc, char **argv, struct err *e)
{
	return cli_group_run(&cli_template, c, argc, argv, e);
}

static void put_time(struct json_out *o, const char *key, int64_t s)
{
	char when[STR_TIME_BYTES];

	str_time(s, when);
	json_out_str(o, key, when);
}

static int add_json(void *arg, const struct template_info *t, struct err *e)
{
	struct json_out *o = arg;

	(void)e;
	json_out_obj(o, NULL);
	json_out_str(o, "key", t->key);
	json_out_bool(o, "damaged", t->damaged);
	json_out_u64(o, "ramBytes", t->ram_bytes);
	json_out_u64(o, "hotplugBytes", t->hotplug_bytes);
	json_out_u64(o, "vcpus", t->vcpus);
	json_out_u64(o, "memoryBytes", t->memory_bytes);
	put_time(o, "made", t->made_s);
	put_time(o, "used", t->used_s);
	json_out_end(o);
	return 0;
}

static int print_json(struct cli *c, struct err *e)
{
	struct json_out *o = json_out_new();
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_arr(o, "templates");
	rc = templates_each(c->rootfd, add_json, o, e);
	json_out_end(o);
	if (rc < 0) {
		json_out_free(o);
		return rc;
	}
	return json_out_print(o, true, stdout, e);
}

static int print_row(void *arg, const struct template_info *t, struct err *e)
{
	char ram[24], vcpus[24], taken[24], age[24], used[24];
	int64_t now = *(const int64_t *)arg;

	(void)e;
	podview_size_text(t->ram_bytes, ram);
	podview_size_text(t->memory_bytes, taken);
	podview_time_text((double)(now - t->made_s), age);
	podview_time_text((double)(now - t->used_s), used);
	snprintf(vcpus, sizeof(vcpus), "%llu", (unsigned long long)t->vcpus);
	printf("%-16s %7s %6s %7s %8s %8s%s\n", t->key, t->damaged ? "-" : ram,
	       t->damaged ? "-" : vcpus, taken, age, used, t->damaged ? "  damaged" : "");
	return 0;
}

static int cmd_list_templates(struct cli *c, int argc, char **argv, struct err *e)
{
	bool json = false;
	const struct opt t[] = {
		OPT_FLAG(0, "json", &json, "for programs"),
		OPT_END
	};
	int first, rc = cli_args(t, argc, argv, 0, 0, &first, e);
	int64_t now = time(NULL);

	if (rc <= 0)
		return rc;
	if (json)
		return print_json(c, e);
	printf("%-16s %7s %6s %7s %8s %8s\n", "KEY", "MEMORY", "VCPUS", "TAKES", "AGE", "UNUSED");
	return templates_each(c->rootfd, print_row, &now, e);
}

/* With no folder there is nothing to remove. */
static int remove_them(struct cli *c, const char *key, struct err *e)
{
	int lock = -1, rc = templates_lock(c->rootfd, false, REMOVE_MS, &lock, e);

	if (!rc)
		rc = key ? template_remove(lock, key, 0, e) : templates_remove_all(lock, e);
	templates_unlock(c->rootfd, &lock);
	if (rc != -ENOENT)
		return rc;
	return key ? err_set(e, ENOENT, "there is no template %.40s; see podvm template list", key) : 0;
}

static int cmd_remove_template(struct cli *c, int argc, char **argv, struct err *e)
{
	bool all = false;
	const struct opt t[] = {
		OPT_FLAG(0, "all", &all, "all of them, and what was left of any"),
		OPT_END
	};
	struct progress_wait *w;
	int first, rc = cli_args(t, argc, argv, 0, 1, &first, e);

	if (rc <= 0)
		return rc;
	if (all == (first < argc))
		return err_set(e, EINVAL, "podvm template remove takes a KEY, or --all");
	w = progress_wait("waiting for a pod that makes one");
	rc = remove_them(c, all ? NULL : argv[first], e);
	progress_wait_end(w);
	return rc;
}
