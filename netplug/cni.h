/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_CNI_H
#define NETPLUG_CNI_H

#include <stdbool.h>
#include <stdio.h>

#include "lib/json.h"
#include "netplug/attach.h"

/* Error codes: below 100 the specification's, from 100 on ours. */
enum cni_code {
	CNI_OK = 0,
	CNI_BAD_VERSION = 1,
	CNI_BAD_FIELD = 2,
	CNI_UNKNOWN_CONTAINER = 3,
	CNI_BAD_ENVIRONMENT = 4,
	CNI_IO_FAILURE = 5,
	CNI_UNDECODABLE = 6,
	CNI_BAD_CONFIG = 7,
	CNI_TRY_AGAIN = 11,
	CNI_NOT_AVAILABLE = 50,
	CNI_NOT_JOINED = 100, /* ADD: the interface cannot be joined */
	CNI_DIFFERS = 101,    /* CHECK: something is not as ADD left it */
	CNI_NOT_UNDONE = 102, /* DEL, GC: something could not be taken away */
};

/* The newest version, which is spoken to who does not say his. */
#define CNI_VERSION_LATEST "1.1.0"

/* Longest network configuration in bytes. */
#define CNI_CONF_BYTES (1u << 20)

/* Longest container id and network name: both are in a file's name. */
#define CNI_NAME_MAX 128

enum cni_command { CNI_ADD, CNI_DEL, CNI_CHECK, CNI_GC, CNI_STATUS, CNI_VERSION };

/**
 * struct cni_env - the parameters in the environment; absent ones are ""
 */
struct cni_env {
	enum cni_command command;
	const char *id, *netns, *ifname;
};

/**
 * struct cni_conf - a network configuration; not to be moved
 * @version:  of it
 * @release:  place of @version among those that are known
 * @name:     of the network, borrowed from @doc; checked
 * @ask:      what the tap shall be like
 * @has_prev: @prev is there
 * @has_valid: @valid is there
 */
struct cni_conf {
	struct json_doc *doc;
	struct jnode root, prev, valid;
	char version[32];
	int release;
	const char *name;
	struct attach_ask ask;
	bool has_prev, has_valid;
};

#define CNI_CONF_INIT                                                                              \
	{                                                                                          \
		.version = CNI_VERSION_LATEST, .ask = ATTACH_ASK_INIT                              \
	}

int cni_version_index(const char *version);
void cni_versions(struct json_out *o);
bool cni_name_ok(const char *s);
int cni_conf_parse(const char *text, size_t len, enum cni_command command, struct cni_conf *c,
		   struct err *e);
void cni_conf_done(struct cni_conf *c);

int cni_prev_check(const struct cni_conf *c, const struct cni_env *env, struct err *e);
int cni_prev_same(const struct cni_conf *c, const struct cni_env *env, const struct scan *s,
		  const struct plan_port *port, bool tap, struct err *e);
int cni_result(const struct cni_conf *c, const struct cni_env *env, const struct plan_port *port,
	       char **ret, struct err *e);

int cni_add(const struct cni_env *env, const struct cni_conf *c, FILE *out, struct err *e);
int cni_del(const struct cni_env *env, const struct cni_conf *c, struct err *e);
int cni_check(const struct cni_env *env, const struct cni_conf *c, struct err *e);
int cni_gc(const struct cni_conf *c, struct err *e);
int cni_status(struct err *e);

#endif
