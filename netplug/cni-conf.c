// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Reads a network configuration. What is of the wrong type, or no JSON, cannot be decoded
 * (6); what is of the right type and no good is an invalid configuration (7); a key that
 * nothing here knows is refused by name and value (2), since a misspelled one would be
 * ignored silently. DEL and GC are not strict: a configuration that was changed meanwhile
 * must not keep what was made. Of a key that is there twice, the last counts, as it
 * does in Go's decoder, which all other plugins and the engines use.
 *
 * Source: CNI specification 1.1.0, section 1 and section 2 "CNI protocol"
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/cni.h"

static const char *const versions[] = {"0.3.1", "0.4.0", "1.0.0", "1.1.0"};

/* The first version that has a command. */
static const int since[] = {[CNI_ADD] = 0, [CNI_DEL] = 0,    [CNI_CHECK] = 1,
			    [CNI_GC] = 3,  [CNI_STATUS] = 3, [CNI_VERSION] = 0};

/**
 * cni_version_index() - place of a version among those that are known
 *
 * Return: from 0, or -1
 */
int cni_version_index(const char *version)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(versions); i++)
		if (!strcmp(version, versions[i]))
			return (int)i;
	return -1;
}

/**
 * cni_versions() - add "supportedVersions"
 */
void cni_versions(struct json_out *o)
{
	size_t i;

	json_out_arr(o, "supportedVersions");
	for (i = 0; i < ARRAY_LEN(versions); i++)
		json_out_str(o, NULL, versions[i]);
	json_out_end(o);
}

/**
 * cni_name_ok() - whether this can be a container's id or a network's name
 */
bool cni_name_ok(const char *s)
{
	size_t i;

	for (i = 0; s[i]; i++)
		if (!isascii(s[i]) || (!isalnum(s[i]) && (!i || !strchr("_.-", s[i]))))
			return false;
	return i && i <= CNI_NAME_MAX;
}

static int get_version(struct cni_conf *c, enum cni_command command, struct err *e)
{
	const char *v = NULL;
	int rc = json_str(&c->root, "cniVersion", &v, e);

	if (rc < 0)
		return CNI_UNDECODABLE;
	if (rc && str_copy(c->version, sizeof(c->version), v) < 0) {
		json_fail(&c->root, "cniVersion", e, "too long");
		return CNI_BAD_VERSION;
	}
	if (command == CNI_VERSION)
		return CNI_OK;
	c->release = rc ? cni_version_index(v) : -1;
	if (c->release < 0) {
		json_fail(&c->root, "cniVersion", e, "%s is none of 0.3.1, 0.4.0, 1.0.0, 1.1.0",
			  rc ? "the version" : "it is missing, which means 0.1.0, and");
		return CNI_BAD_VERSION;
	}
	if (c->release < since[command]) {
		json_fail(&c->root, "cniVersion", e, "%s does not have this command; %s does",
			  c->version, versions[since[command]]);
		return CNI_BAD_VERSION;
	}
	return CNI_OK;
}

static int get_name(struct cni_conf *c, struct err *e)
{
	int rc = json_str(&c->root, "name", &c->name, e);

	if (rc < 0)
		return CNI_UNDECODABLE;
	if (rc && cni_name_ok(c->name))
		return CNI_OK;
	json_fail(&c->root, "name", e,
		  rc ? "letters, digits, '_', '.' and '-', the first a letter or digit, at most %d"
		     : "the network's name is missing",
		  CNI_NAME_MAX);
	return CNI_BAD_CONFIG;
}

/* A key of plugins that make interfaces says nothing where its value is empty. */
static bool says_nothing(const struct jnode *n)
{
	char text[8];

	json_show(n, text, sizeof(text));
	return !strcmp(text, "{}") || !strcmp(text, "null") || !strcmp(text, "false");
}

static int check_keys(const struct cni_conf *c, struct err *e)
{
	/* Those of the specification, those that engines add to every plugin, and ours. */
	static const char *const known[] = {
		"cniVersion",
		"cniVersions",
		"name",
		"type",
		"capabilities",
		"runtimeConfig",
		"args",
		"prevResult",
		"disableCheck",
		"disableGC",
		"loadOnlyInlinedPlugins",
		"deviceID",
		"pciBusID",
		"owner",
		"queues",
		"tap",
	};
	struct jnode n;
	size_t i, k;

	for (i = 0; !json_member(&c->root, i, &n); i++) {
		char shown[64], value[128];

		for (k = 0; k < ARRAY_LEN(known) && strcmp(n.key, known[k]); k++)
			;
		if (k < ARRAY_LEN(known) || *n.key == '_' || str_starts(n.key, "cni.dev/") ||
		    says_nothing(&n))
			continue;
		str_quote(shown, sizeof(shown), n.key);
		json_show(&n, value, sizeof(value));
		err_set(e, EOPNOTSUPP,
			"the key %s with the value %s is unknown; of its own podvm-netplug has "
			"\"owner\", \"queues\" and \"tap\"",
			shown, value);
		return CNI_BAD_FIELD;
	}
	return CNI_OK;
}

static int get_owner(struct cni_conf *c, struct err *e)
{
	uint64_t uid = UINT32_MAX, gid = UINT32_MAX;
	struct jnode owner;
	int rc = json_obj(&c->root, "owner", &owner, e);

	if (rc <= 0)
		return rc;
	rc = json_u64(&owner, "uid", &uid, e);
	if (rc == 1 && uid >= UINT32_MAX)
		rc = json_fail(&owner, "uid", e, "too great");
	if (rc >= 0)
		rc = json_u64(&owner, "gid", &gid, e);
	if (rc == 1 && gid >= UINT32_MAX)
		rc = json_fail(&owner, "gid", e, "too great");
	c->ask.uid = (uint32_t)uid;
	c->ask.gid = (uint32_t)gid;
	return rc;
}

static int get_ask(struct cni_conf *c, struct err *e)
{
	const char *tap = NULL;
	uint64_t queues = 1;
	int rc = get_owner(c, e);

	if (rc >= 0)
		rc = json_u64(&c->root, "queues", &queues, e);
	if (rc == 1 && (!queues || queues > ATTACH_QUEUES_MAX))
		rc = json_fail(&c->root, "queues", e, "1 to %d", ATTACH_QUEUES_MAX);
	c->ask.queues = (uint32_t)queues;
	if (rc >= 0)
		rc = json_str(&c->root, "tap", &tap, e);
	if (rc == 1 && !attach_name_ok(tap))
		rc = json_fail(&c->root, "tap", e,
			       "no name of an interface: 1 to 15 characters, without '/', ':', "
			       "'%%' and blanks");
	else if (rc == 1)
		str_copy(c->ask.tap, sizeof(c->ask.tap), tap);
	return rc < 0 ? CNI_BAD_CONFIG : CNI_OK;
}

static int get_prev(struct cni_conf *c, enum cni_command command, struct err *e)
{
	int rc = json_obj(&c->root, "prevResult", &c->prev, e);

	if (rc < 0)
		return CNI_UNDECODABLE;
	c->has_prev = rc;
	if (rc || command == CNI_STATUS)
		return CNI_OK;
	json_fail(&c->root, "prevResult", e,
		  "it is missing: podvm-netplug comes behind a plugin that makes the interface "
		  "(bridge, ptp, macvlan, ...)");
	return CNI_BAD_CONFIG;
}

static int get_valid(struct cni_conf *c, struct err *e)
{
	int rc = json_arr(&c->root, "cni.dev/valid-attachments", &c->valid, e);

	if (rc < 0)
		return CNI_UNDECODABLE;
	c->has_valid = rc;
	if (rc)
		return CNI_OK;
	json_fail(&c->root, "cni.dev/valid-attachments", e,
		  "it is missing: GC would remove every attachment");
	return CNI_BAD_CONFIG;
}

/**
 * cni_conf_parse() - read a network configuration
 * @text:    not all of it need be there for VERSION: empty is fine
 * @command: what is needed depends on it
 * @c:       from CNI_CONF_INIT; cni_conf_done() it also after a failure, when
 *           @version is what was read of it
 *
 * Return: CNI_OK or a CNI error code with @e set
 */
int cni_conf_parse(const char *text, size_t len, enum cni_command command, struct cni_conf *c,
		   struct err *e)
{
	int rc;

	if (!len && command == CNI_VERSION)
		return CNI_OK;
	if (json_parse(text, len, &c->doc, e) < 0)
		return CNI_UNDECODABLE;
	c->root = json_root(c->doc);
	if (json_as_obj(&c->root, e) < 0)
		return CNI_UNDECODABLE;
	rc = get_version(c, command, e);
	if (!rc && command != CNI_VERSION)
		rc = get_name(c, e);
	if (!rc && command == CNI_GC)
		rc = get_valid(c, e);
	if (!rc && (command == CNI_ADD || command == CNI_CHECK || command == CNI_STATUS)) {
		rc = check_keys(c, e);
		if (!rc)
			rc = get_ask(c, e);
		if (!rc)
			rc = get_prev(c, command, e);
	}
	return rc;
}

/**
 * cni_conf_done() - free what a configuration holds; twice is fine
 */
void cni_conf_done(struct cni_conf *c)
{
	json_free(c->doc);
	c->doc = NULL;
}
