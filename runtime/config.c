// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Settings come from one JSON file (PODVM_CONFIG, else /etc/podvm/podvm.json);
 * every default works without it. Programs and images are looked for beside
 * the podvm program first, as a build tree has them, then where `make install`
 * puts them. An unknown member is refused, so that a slip of the pen shows.
 */
#include "runtime/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"

#define CONFIG_MAX_BYTES 65536

/* More is a slip of the pen; rounding up to it cannot wrap. */
#define CONFIG_BYTES_MAX (1ull << 56)

/* A day: who waits longer has forgotten. */
#define CONFIG_WRITE_BACK_MS_MAX 86400000
#define CONFIG_WATCHDOG_MS_MAX 86400000

/* First of the places that has the file; the last one if none has. */
static void locate(char *dst, size_t room, const char *self_dir,
		   const char *beside, const char *installed)
{
	if (snprintf(dst, room, "%s/%s", self_dir, beside) < (int)room &&
	    !access(dst, R_OK))
		return;
	snprintf(dst, room, "%s/%s", PODVM_LIBEXECDIR, installed);
}

/**
 * config_defaults() - the settings of a host without a configuration file
 */
void config_defaults(struct config *c)
{
	char self[PATH_MAX] = "";
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	memset(c, 0, sizeof(*c));
	self[n < 0 ? 0 : n] = 0;
	slash = strrchr(self, '/');
	if (slash)
		*slash = 0;
	locate(c->vmm, sizeof(c->vmm), self, "podvm-vmm", "podvm-vmm");
	locate(c->initramfs, sizeof(c->initramfs), self, "initramfs.cpio",
	       "initramfs.cpio");
	locate(c->kernel, sizeof(c->kernel), self, "../kernel/vmlinux", "vmlinux");
	c->ram_bytes = 256ull << 20;
	c->vcpus = 1;
	c->vcpus_max = c->ram_max_bytes = CONFIG_AUTO;
	c->scratch_bytes = 10ull << 30;
	snprintf(c->layer_cache, sizeof(c->layer_cache), "%s", CONFIG_LAYER_CACHE);
	c->boot_timeout_ms = 60000;
	c->write_back_ms = 900000;
	c->watchdog_period_ms = 10000;
	c->watchdog_limit_ms = 60000;
	c->vhost_net = true;
	c->relay = true;
}

static int get_text(const struct jnode *n, const char *key, char *dst,
		    size_t room, struct err *e)
{
	const char *v;
	int rc = json_str(n, key, &v, e);

	if (rc == 1 && str_copy(dst, room, v) < 0)
		return json_fail(n, key, e, "longer than %zu bytes", room - 1);
	return rc < 0 ? rc : 0;
}

/* A size is a number of bytes or a text such as "256M". */
static int get_size(const struct jnode *n, const char *key, uint64_t *ret,
		    struct err *e)
{
	const char *v;

	if (json_str(n, key, &v, NULL) == 1) {
		if (parse_size(v, ret) < 0)
			return json_fail(n, key, e, "not a size such as 256M");
		return 0;
	}
	return json_u64(n, key, ret, e) < 0 ? -EINVAL : 0;
}

/* "auto" or "off". */
static int get_auto(const struct jnode *n, const char *key, bool *ret, struct err *e)
{
	const char *v;
	int rc = json_str(n, key, &v, e);

	if (rc != 1)
		return rc;
	if (strcmp(v, "auto") && strcmp(v, "off"))
		return json_fail(n, key, e, "must be auto or off");
	*ret = !strcmp(v, "auto");
	return 0;
}

/* A directory by its absolute path, or "off". */
static int get_cache(const struct jnode *n, const char *key, char *dst, size_t room,
		     struct err *e)
{
	int rc = get_text(n, key, dst, room, e);

	if (rc < 0)
		return rc;
	if (!strcmp(dst, "off"))
		*dst = 0;
	else if (*dst != '/')
		return json_fail(n, key, e, "must be an absolute path or off");
	return 0;
}

/* One of @names; @ret: its index, untouched when the member is absent. */
static int get_choice(const struct jnode *n, const char *key, const char *const *names,
		      unsigned int n_names, const char *all, unsigned int *ret, struct err *e)
{
	const char *v;
	int rc = json_str(n, key, &v, e);
	unsigned int i;

	if (rc <= 0)
		return rc;
	for (i = 0; i < n_names; i++) {
		if (strcmp(v, names[i]))
			continue;
		*ret = i;
		return 0;
	}
	return json_fail(n, key, e, "must be %s", all);
}

static int get_write_back(const struct jnode *n, const char *key, enum config_write_back *ret,
			  struct err *e)
{
	static const char *const names[] = {
		[CONFIG_WRITE_BACK_AUTO] = "auto", [CONFIG_WRITE_BACK_ON] = "on",
		[CONFIG_WRITE_BACK_OFF] = "off",
	};
	unsigned int i = *ret;
	int rc = get_choice(n, key, names, ARRAY_LEN(names), "auto, on or off", &i, e);

	*ret = (enum config_write_back)i;
	return rc;
}

static int get_model(const struct jnode *n, const char *key, enum netplug_model *ret,
		     struct err *e)
{
	const char *v;
	struct err word;
	int rc = json_str(n, key, &v, e);

	if (rc == 1 && netplug_model_parse(v, ret, &word) < 0)
		return json_fail(n, key, e, "%s", word.text);
	return rc < 0 ? rc : 0;
}

static int get_block(const struct jnode *n, const char *key, enum config_block *ret,
		     struct err *e)
{
	static const char *const names[] = {
		[CONFIG_BLOCK_RETURN] = "return", [CONFIG_BLOCK_LEAVE] = "leave-unmounted",
		[CONFIG_BLOCK_REFUSE] = "refuse",
	};
	unsigned int i = *ret;
	int rc = get_choice(n, key, names, ARRAY_LEN(names),
			    "return, leave-unmounted or refuse", &i, e);

	*ret = (enum config_block)i;
	return rc;
}

static int get_shell(const struct jnode *n, const char *key, enum config_shell *ret,
		     struct err *e)
{
	static const char *const names[] = {
		[CONFIG_SHELL_ANNOTATION] = "annotation", [CONFIG_SHELL_ON] = "on",
		[CONFIG_SHELL_OFF] = "off",
	};
	unsigned int i = *ret;
	int rc = get_choice(n, key, names, ARRAY_LEN(names), "annotation, on or off", &i, e);

	*ret = (enum config_shell)i;
	return rc;
}

static const char *const pages_names[VMM_PAGES_KINDS] = {
	[VMM_PAGES_HOST] = "default", [VMM_PAGES_NEVER] = "never",
	[VMM_PAGES_ALWAYS] = "always", [VMM_PAGES_2M] = "2M", [VMM_PAGES_1G] = "1G",
};

/**
 * config_pages_name() - a value of memory.hugepages
 */
const char *config_pages_name(enum vmm_pages pages)
{
	return pages_names[pages];
}

static int get_pages(const struct jnode *n, const char *key, enum vmm_pages *ret, struct err *e)
{
	unsigned int i = *ret;
	int rc = get_choice(n, key, pages_names, VMM_PAGES_KINDS,
			    "default, never, always, 2M or 1G", &i, e);

	*ret = (enum vmm_pages)i;
	return rc;
}

static int in_range(const struct jnode *n, const char *key, uint64_t v, uint64_t max,
		    struct err *e)
{
	if (v && v <= max)
		return 0;
	return json_fail(n, key, e, "must be 1 to %llu", (unsigned long long)max);
}

/* One that is not there is CONFIG_AUTO. */
static int at_most(const struct jnode *n, const char *key, uint64_t v, uint64_t max,
		   struct err *e)
{
	if (v <= max || !json_has(n, key))
		return 0;
	return json_fail(n, key, e, "must be at most %llu", (unsigned long long)max);
}

/* Names the first member that is not among @known. */
static int only_known(const struct jnode *n, const char *const *known, size_t n_known,
		      struct err *e)
{
	struct jnode m;
	size_t i, k;

	for (i = 0; !json_member(n, i, &m); i++) {
		for (k = 0; k < n_known && strcmp(m.key, known[k]); k++)
			;
		if (k == n_known)
			return json_fail(n, m.key, e, "unknown setting");
	}
	return 0;
}

static const char *const trust_level_names[] = {
	[TRUST_LEVEL_UNTRUSTED] = "untrusted", [TRUST_LEVEL_TRUSTED] = "trusted",
};

static const char *const trust_untrusted_names[] = {
	[TRUST_UNTRUSTED_PODVM] = "podvm", [TRUST_UNTRUSTED_PODVM_OR] = "podvm-or-trusted",
	[TRUST_UNTRUSTED_TRUSTED] = "trusted",
};

/**
 * config_level_name() - a value of trust.default
 */
const char *config_level_name(enum trust_level level)
{
	return trust_level_names[level];
}

/**
 * config_untrusted_name() - a value of trust.untrustedRuntime
 */
const char *config_untrusted_name(enum trust_untrusted untrusted)
{
	return trust_untrusted_names[untrusted];
}

static int trust_levels(struct trust_config *t, const struct jnode *n, struct err *e)
{
	unsigned int level = t->level, untrusted = t->untrusted;

	if (get_choice(n, "default", trust_level_names, ARRAY_LEN(trust_level_names), "untrusted or trusted", &level,
		       e) < 0 ||
	    get_choice(n, "untrustedRuntime", trust_untrusted_names, ARRAY_LEN(trust_untrusted_names),
		       "podvm, podvm-or-trusted or trusted", &untrusted, e) < 0)
		return -EINVAL;
	t->level = (enum trust_level)level;
	t->untrusted = (enum trust_untrusted)untrusted;
	return 0;
}

static int read_trust(struct trust_config *t, const struct jnode *n, struct err *e)
{
	static const char *const known[] = { "default", "trustedRuntime", "untrustedRuntime",
					     "privilegedAnnotation" };

	if (only_known(n, known, ARRAY_LEN(known), e) < 0 || trust_levels(t, n, e) < 0 ||
	    get_text(n, "trustedRuntime", t->runtime, sizeof(t->runtime), e) < 0 ||
	    get_text(n, "privilegedAnnotation", t->privileged_key, sizeof(t->privileged_key), e) < 0)
		return -EINVAL;
	if (*t->runtime && *t->runtime != '/')
		return json_fail(n, "trustedRuntime", e, "must be an absolute path");
	if (*t->runtime)
		return 0;
	if (t->level == TRUST_LEVEL_TRUSTED)
		return json_fail(n, "default", e, "trusted needs a trustedRuntime");
	if (t->untrusted != TRUST_UNTRUSTED_PODVM)
		return json_fail(n, "untrustedRuntime", e, "what is not podvm needs a trustedRuntime");
	return 0;
}

static int read_memory(struct config *c, const struct jnode *n, struct err *e)
{
	static const char *const known[] = { "max", "merge", "hugepages", "prefault" };

	if (only_known(n, known, ARRAY_LEN(known), e) < 0 ||
	    get_size(n, "max", &c->ram_max_bytes, e) < 0 ||
	    at_most(n, "max", c->ram_max_bytes, CONFIG_BYTES_MAX, e) < 0 ||
	    json_flag(n, "merge", &c->merge, e) < 0 ||
	    json_flag(n, "prefault", &c->prefault, e) < 0 ||
	    get_pages(n, "hugepages", &c->pages, e) < 0)
		return -EINVAL;
	if (c->pages != VMM_PAGES_2M && c->pages != VMM_PAGES_1G)
		return 0;
	if (c->merge)
		return json_fail(n, "merge", e, "excludes hugepages 2M and 1G: those are not merged");
	if (c->ram_max_bytes && c->ram_max_bytes != CONFIG_AUTO)
		return json_fail(n, "max", e, "excludes hugepages 2M and 1G: memory of those does not grow");
	return 0;
}

/* One that misses an answer by less than two periods must not be given up. */
static int read_watchdog(struct config *c, const struct jnode *n, struct err *e)
{
	if (json_u64(n, "watchdogPeriodMs", &c->watchdog_period_ms, e) < 0 ||
	    json_u64(n, "watchdogLimitMs", &c->watchdog_limit_ms, e) < 0 ||
	    in_range(n, "watchdogPeriodMs", c->watchdog_period_ms, CONFIG_WATCHDOG_MS_MAX, e) < 0 ||
	    at_most(n, "watchdogLimitMs", c->watchdog_limit_ms, CONFIG_WATCHDOG_MS_MAX, e) < 0)
		return -EINVAL;
	if (c->watchdog_limit_ms && c->watchdog_limit_ms < 2 * c->watchdog_period_ms)
		return json_fail(n, "watchdogLimitMs", e, "must be 0 or two periods (watchdogPeriodMs, %llu) at least",
				 (unsigned long long)c->watchdog_period_ms);
	return 0;
}

static int read_file(struct config *c, const struct jnode *n, struct err *e)
{
	static const char *const known[] = {
		"vmm", "kernel", "initramfs", "cmdline", "ram", "vcpus",
		"scratch", "bootTimeoutMs", "vcpusMax", "memory", "vhostNet",
		"layerCache", "blockRootfs", "writeBack", "writeBackTimeoutMs", "relay",
		"networkModel", "debugShell", "watchdogPeriodMs", "watchdogLimitMs", "templates",
		"trust",
	};
	struct jnode memory, trust;
	int rc;

	if (json_as_obj(n, e) < 0 || only_known(n, known, ARRAY_LEN(known), e) < 0)
		return -EINVAL;
	rc = json_obj(n, "memory", &memory, e);
	if (rc < 0 || (rc && read_memory(c, &memory, e) < 0) || read_watchdog(c, n, e) < 0)
		return -EINVAL;
	rc = json_obj(n, "trust", &trust, e);
	if (rc < 0 || (rc && read_trust(&c->trust, &trust, e) < 0))
		return -EINVAL;
	if (get_text(n, "vmm", c->vmm, sizeof(c->vmm), e) < 0 ||
	    get_text(n, "kernel", c->kernel, sizeof(c->kernel), e) < 0 ||
	    get_text(n, "initramfs", c->initramfs, sizeof(c->initramfs), e) < 0 ||
	    get_text(n, "cmdline", c->cmdline, sizeof(c->cmdline), e) < 0 ||
	    get_size(n, "ram", &c->ram_bytes, e) < 0 ||
	    json_u64(n, "vcpus", &c->vcpus, e) < 0 ||
	    json_u64(n, "vcpusMax", &c->vcpus_max, e) < 0 ||
	    get_size(n, "scratch", &c->scratch_bytes, e) < 0 ||
	    json_u64(n, "bootTimeoutMs", &c->boot_timeout_ms, e) < 0 ||
	    get_auto(n, "vhostNet", &c->vhost_net, e) < 0 ||
	    get_auto(n, "relay", &c->relay, e) < 0 ||
	    json_flag(n, "templates", &c->templates, e) < 0 ||
	    get_cache(n, "layerCache", c->layer_cache, sizeof(c->layer_cache), e) < 0 ||
	    get_write_back(n, "writeBack", &c->write_back, e) < 0 ||
	    json_u64(n, "writeBackTimeoutMs", &c->write_back_ms, e) < 0 ||
	    get_model(n, "networkModel", &c->network_model, e) < 0 ||
	    get_block(n, "blockRootfs", &c->block_rootfs, e) < 0 ||
	    get_shell(n, "debugShell", &c->debug_shell, e) < 0 ||
	    in_range(n, "ram", c->ram_bytes, CONFIG_BYTES_MAX, e) < 0 ||
	    in_range(n, "vcpus", c->vcpus, UINT32_MAX, e) < 0 ||
	    at_most(n, "vcpusMax", c->vcpus_max, UINT32_MAX, e) < 0 ||
	    in_range(n, "scratch", c->scratch_bytes, CONFIG_BYTES_MAX, e) < 0 ||
	    in_range(n, "bootTimeoutMs", c->boot_timeout_ms, INT32_MAX, e) < 0 ||
	    in_range(n, "writeBackTimeoutMs", c->write_back_ms, CONFIG_WRITE_BACK_MS_MAX, e) < 0)
		return -EINVAL;
	return 0;
}

/**
 * config_load() - defaults, then what the configuration file says
 * @ret: filled on success
 *
 * Return: 0 or minus errno naming file and member
 */
int config_load(struct config *ret, struct err *e)
{
	const char *env = getenv("PODVM_CONFIG");
	const char *path = env ? env : CONFIG_PATH;
	_cleanup_free_ char *text = NULL;
	struct json_doc *doc;
	struct jnode root;
	size_t len;
	int rc;

	config_defaults(ret);
	rc = file_read(AT_FDCWD, path, CONFIG_MAX_BYTES, &text, &len, e);
	if (rc == -ENOENT && !env)
		return 0;
	if (rc < 0)
		return err_wrap(e, "configuration");
	rc = json_parse(text, len, &doc, e);
	if (rc < 0)
		return err_wrap(e, "configuration %s", path);
	root = json_root(doc);
	rc = read_file(ret, &root, e);
	json_free(doc);
	return rc < 0 ? err_wrap(e, "configuration %s", path) : 0;
}
