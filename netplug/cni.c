// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What podvm-netplug answers when a container runtime calls it as a CNI
 * plugin (CNI_COMMAND is set): VERSION is answered; the others are refused
 * with the error object, so that the runtime shows a reason. The configuration
 * on standard input is bounded, and only its version is looked at.
 *
 * Source: CNI specification 1.0.0 and 1.1.0, section 2 "Execution Protocol"
 * and section 5 "Result Types": "Error" and "Version".
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/cmd.h"

/* Longest configuration in bytes. */
#define CNI_CONF_BYTES (1u << 20)

/* The version that is spoken to who does not say his. */
#define CNI_VERSION_LATEST "1.1.0"

/* Error codes: below 100 the specification's, from 100 on ours. */
enum { CNI_BAD_ENVIRONMENT = 4, CNI_IO_FAILURE = 5, CNI_UNDECODABLE = 6,
       CNI_NOT_SUPPORTED = 100 };

static const char *const versions[] = { "0.3.1", "0.4.0", "1.0.0", "1.1.0" };

static int print_out(struct json_out *o, FILE *out)
{
	_cleanup_free_ char *text = NULL;
	int rc = o ? json_out_text(o, true, &text, NULL) : -ENOMEM;

	json_out_free(o);
	if (rc < 0)
		return rc;
	fprintf(out, "%s\n", text);
	return fflush(out) ? -EIO : 0;
}

static int fail(FILE *out, const char *version, unsigned int code,
		const char *msg, const char *details)
{
	struct json_out *o = json_out_new();

	if (o) {
		json_out_str(o, "cniVersion", version);
		json_out_u64(o, "code", code);
		json_out_str(o, "msg", msg);
		json_out_str(o, "details", details);
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

/* The configuration's version. Return: 0; a CNI error code with @e set */
static int conf_version(int in, char *version, size_t room, struct err *e)
{
	_cleanup_free_ char *buf = malloc(CNI_CONF_BYTES);
	struct json_doc *doc = NULL;
	const char *v = NULL;
	struct jnode root;
	ssize_t len;
	int rc;

	len = buf ? read_conf(in, buf, CNI_CONF_BYTES) : -ENOMEM;
	if (len < 0) {
		err_set(e, (int)-len, "network configuration: %s",
			strerror((int)-len));
		return CNI_IO_FAILURE;
	}
	if (!len)
		return 0;
	rc = json_parse(buf, (size_t)len, &doc, e);
	if (!rc) {
		root = json_root(doc);
		rc = json_as_obj(&root, e);
	}
	if (!rc)
		rc = json_str(&root, "cniVersion", &v, e);
	if (rc == 1 && str_copy(version, room, v) < 0)
		rc = err_set(e, EINVAL, "/cniVersion: too long");
	json_free(doc);
	return rc < 0 ? CNI_UNDECODABLE : 0;
}

static int answer_version(FILE *out, const char *version)
{
	struct json_out *o = json_out_new();
	size_t i;

	if (o) {
		json_out_str(o, "cniVersion", version);
		json_out_arr(o, "supportedVersions");
		for (i = 0; i < ARRAY_LEN(versions); i++)
			json_out_str(o, NULL, versions[i]);
		json_out_end(o);
	}
	return print_out(o, out) < 0;
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
	static const char *const known[] = { "ADD", "DEL", "CHECK", "GC", "STATUS" };
	char version[32] = CNI_VERSION_LATEST, shown[64], msg[160];
	struct err e = { 0 };
	size_t i;
	int code;

	code = conf_version(in, version, sizeof(version), &e);
	if (code)
		return fail(out, version, (unsigned int)code,
			    "cannot read the network configuration", e.text);
	if (!strcmp(command, "VERSION"))
		return answer_version(out, version);
	str_quote(shown, sizeof(shown), command);
	for (i = 0; i < ARRAY_LEN(known); i++)
		if (!strcmp(command, known[i])) {
			snprintf(msg, sizeof(msg), "podvm-netplug: CNI command %s is "
				 "not supported yet", command);
			return fail(out, version, CNI_NOT_SUPPORTED, msg,
				    "take podvm-netplug out of the plugin list: podvm "
				    "joins the pod's interfaces to its VM by itself");
		}
	snprintf(msg, sizeof(msg), "podvm-netplug: CNI_COMMAND %s is unknown", shown);
	return fail(out, version, CNI_BAD_ENVIRONMENT, msg, NULL);
}
