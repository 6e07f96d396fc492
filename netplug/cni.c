// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-netplug as a CNI plugin (CNI_COMMAND is set), chained behind any plugin that makes
 * an interface. It gives the interface a tap that waits for a VMM: podvm takes it, and so
 * can any other, which learns of it from the result. This file is what the engine sees:
 * the environment, the configuration on standard input, which is bounded, and the error
 * object. cni-conf.c reads the configuration, cni-result.c prevResult, cni-do.c does it.
 *
 * Every failure is one error object on standard output and exit status 1. Text from
 * outside goes out as text: what is not UTF-8 is replaced.
 *
 * Source: CNI specification 0.3.1, 0.4.0, 1.0.0 and 1.1.0, section 2 "Execution Protocol"
 * and section 5 "Result Types": "Error" and "Version".
 */
#include "netplug/cni.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/cmd.h"

static const char *const commands[] = {
	[CNI_ADD] = "ADD", [CNI_DEL] = "DEL",	    [CNI_CHECK] = "CHECK",
	[CNI_GC] = "GC",   [CNI_STATUS] = "STATUS", [CNI_VERSION] = "VERSION",
};

static const char *message(int code)
{
	switch (code) {
	case CNI_BAD_VERSION:
		return "incompatible CNI version";
	case CNI_BAD_FIELD:
		return "unsupported field in the network configuration";
	case CNI_UNKNOWN_CONTAINER:
		return "unknown container";
	case CNI_BAD_ENVIRONMENT:
		return "invalid environment variable";
	case CNI_IO_FAILURE:
		return "I/O failure";
	case CNI_UNDECODABLE:
		return "cannot decode the network configuration";
	case CNI_BAD_CONFIG:
		return "invalid network configuration";
	case CNI_TRY_AGAIN:
		return "try again later";
	case CNI_NOT_AVAILABLE:
		return "podvm-netplug cannot work on this node";
	case CNI_DIFFERS:
		return "the attachment is not as ADD left it";
	case CNI_NOT_UNDONE:
		return "an attachment could not be taken away";
	default:
		return "the interface cannot be joined to a tap";
	}
}

/* Whether JSON can hold it. */
static bool is_text(const char *s)
{
	struct json_out *o = json_out_new();
	_cleanup_free_ char *text = NULL;
	struct json_doc *doc = NULL;
	struct err ignored;
	int rc;

	if (o)
		json_out_str(o, "s", s);
	rc = o ? json_out_text(o, false, &text, &ignored) : -ENOMEM;
	if (!rc)
		rc = json_parse(text, strlen(text), &doc, &ignored);
	json_out_free(o);
	json_free(doc);
	return !rc;
}

static void clean(char *s)
{
	if (is_text(s))
		return;
	for (; *s; s++)
		if ((unsigned char)*s >= 0x80)
			*s = '?';
}

static int print_out(struct json_out *o, FILE *out)
{
	int rc = json_out_print(o, true, out, NULL);

	return !rc && fflush(out) ? -EIO : rc;
}

static int fail(FILE *out, const char *version, int code, struct err *e)
{
	struct json_out *o = json_out_new();

	clean(e->text);
	if (o) {
		json_out_str(o, "cniVersion", version);
		json_out_u64(o, "code", (uint64_t)code);
		json_out_str(o, "msg", message(code));
		json_out_str(o, "details", e->text);
	}
	print_out(o, out);
	return 1;
}

/* Reads the configuration. Return: bytes, or minus errno */
static ssize_t read_conf(int in, char *buf, size_t room)
{
	size_t len = 0;

	for (;;) {
		ssize_t n = read(in, buf + len, room - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return (ssize_t)len;
		len += (size_t)n;
		if (len == room)
			return -EFBIG;
	}
}

static int get_conf(int in, enum cni_command command, struct cni_conf *c, struct err *e)
{
	_cleanup_free_ char *buf = malloc(CNI_CONF_BYTES);
	ssize_t len = buf ? read_conf(in, buf, CNI_CONF_BYTES) : -ENOMEM;

	if (len == -EFBIG) {
		err_set(e, EFBIG, "it has more than %u bytes", CNI_CONF_BYTES - 1);
		return CNI_UNDECODABLE;
	}
	if (len < 0) {
		err_set(e, (int)-len, "network configuration: %s", strerror((int)-len));
		return CNI_IO_FAILURE;
	}
	return cni_conf_parse(buf, (size_t)len, command, c, e);
}

static const char *env_of(const char *name)
{
	const char *v = getenv(name);

	return v ? v : "";
}

static int bad_env(struct err *e, const char *name, const char *value, const char *why)
{
	char shown[160];

	str_quote(shown, sizeof(shown), value);
	err_set(e, EINVAL, "%s=%s: %s", name, shown, why);
	return CNI_BAD_ENVIRONMENT;
}

static int check_env(const struct cni_env *env, struct err *e)
{
	if (env->command > CNI_CHECK)
		return CNI_OK;
	if (!cni_name_ok(env->id))
		return bad_env(e, "CNI_CONTAINERID", env->id,
			       "letters, digits, '_', '.' and '-', the first a letter or digit, at "
			       "most 128");
	if (!attach_name_ok(env->ifname) || !is_text(env->ifname))
		return bad_env(e, "CNI_IFNAME", env->ifname,
			       "1 to 15 characters, without '/', ':', '%' and blanks");
	if (env->command == CNI_DEL)
		return CNI_OK;
	if (!*env->netns || strlen(env->netns) >= PATH_MAX || !is_text(env->netns))
		return bad_env(e, "CNI_NETNS", env->netns, "a path of a network namespace");
	return CNI_OK;
}

static int answer_version(FILE *out, const char *version)
{
	struct json_out *o = json_out_new();

	if (o) {
		json_out_str(o, "cniVersion", version);
		cni_versions(o);
	}
	return print_out(o, out) < 0;
}

static int run(const struct cni_env *env, const struct cni_conf *c, FILE *out, struct err *e)
{
	switch (env->command) {
	case CNI_ADD:
		return cni_add(env, c, out, e);
	case CNI_DEL:
		return cni_del(env, c, e);
	case CNI_CHECK:
		return cni_check(env, c, e);
	case CNI_GC:
		return cni_gc(c, e);
	default:
		return cni_status(e);
	}
}

/**
 * cni_run() - answer as a CNI plugin
 * @command: value of CNI_COMMAND
 * @in:      the network configuration, borrowed
 * @out:     gets the result or the error object
 *
 * Return: exit status
 */
int cni_run(const char *command, int in, FILE *out)
{
	struct cni_env env = {.id = env_of("CNI_CONTAINERID"),
			      .netns = env_of("CNI_NETNS"),
			      .ifname = env_of("CNI_IFNAME")};
	struct cni_conf c = CNI_CONF_INIT;
	struct err e = {0};
	size_t i;
	int code;

	for (i = 0; i < ARRAY_LEN(commands) && strcmp(command, commands[i]); i++)
		;
	env.command = (enum cni_command)i;
	if (i == ARRAY_LEN(commands))
		code = bad_env(&e, "CNI_COMMAND", command,
			       "none of ADD, DEL, CHECK, GC, STATUS, VERSION");
	else
		code = get_conf(in, env.command, &c, &e);
	if (!code)
		code = check_env(&env, &e);
	if (!code && env.command == CNI_VERSION) {
		cni_conf_done(&c);
		return answer_version(out, c.version);
	}
	if (!code)
		code = run(&env, &c, out, &e);
	cni_conf_done(&c);
	return code ? fail(out, c.version, code, &e) : 0;
}
