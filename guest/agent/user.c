// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * From the agent's root to the container's user: limits, ids, capabilities,
 * environment, and where the program is. The program is looked for when the
 * process is made, with the rights of its user, so that a wrong command fails
 * the creation; the ids change for good only when it is about to run. The
 * kernel decides access by the file-system ids, so the try needs only those.
 *
 * Sources: capabilities(7), credentials(7), setfsuid(2), execvp(3), passwd(5).
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"

#define PASSWD_MAX (1u << 20)
#define HOME_BYTES 1024
#define NOFILE_SOFT 1024
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *env_value(const Podvm__Process *p, const char *key)
{
	size_t len = strlen(key), i;

	for (i = p->n_env; i-- > 0;)
		if (!strncmp(p->env[i], key, len) && p->env[i][len] == '=')
			return p->env[i] + len + 1;
	return NULL;
}

/* 0: a file that the current ids may run; else minus errno. */
static int runnable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

static int not_found(const char *name, int code, bool searched, struct err *e)
{
	if (code == EACCES || code == EPERM)
		return err_set(e, code, "exec: \"%s\": permission denied", name);
	if (searched)
		return err_set(e, code, "exec: \"%s\": executable file not found in $PATH", name);
	return err_set(e, code, "exec: \"%s\": stat %s: %s", name, name,
		       code == ENOENT ? "no such file or directory" : strerror(code));
}

/**
 * user_lookup() - the file that args[0] means
 * @cwd:      for an empty element of PATH
 * @ret_path: malloc'd, owned by the caller
 *
 * Return: 0; -ENOENT or -EACCES in the words that engines look for
 * Context: the child in the container's root, between user_try() and user_untry()
 */
int user_lookup(const Podvm__Process *p, const char *cwd, char **ret_path,
		struct err *e)
{
	const char *name = p->n_args ? p->args[0] : "";
	const char *path = env_value(p, "PATH");
	int code = ENOENT, rc;

	if (!*name)
		return err_set(e, EINVAL, "process: args[0] is empty");
	if (strchr(name, '/')) {
		rc = runnable(name);
		if (rc < 0)
			return not_found(name, -rc, false, e);
		*ret_path = strdup(name);
		return *ret_path ? 0 : err_set(e, ENOMEM, "out of memory");
	}
	for (path = path ? path : DEFAULT_PATH; path; path = *path ? path + 1 : NULL) {
		const char *end = strchrnul(path, ':');
		char file[PATH_MAX];

		if (snprintf(file, sizeof(file), "%.*s/%s",
			     (int)(end == path ? strlen(cwd) : (size_t)(end - path)),
			     end == path ? cwd : path, name) < (int)sizeof(file)) {
			rc = runnable(file);
			if (!rc) {
				*ret_path = strdup(file);
				return *ret_path ? 0 : err_set(e, ENOMEM, "out of memory");
			}
			if (rc == -EACCES)
				code = EACCES;
		}
		path = end;
	}
	return not_found(name, code, true, e);
}

/**
 * user_home() - the home directory of a uid
 * @passwd: text of /etc/passwd, hostile
 * @ret:    always NUL-terminated on success
 *
 * Return: 0, or -ENOENT when no well-formed line has that uid and a directory that fits
 */
int user_home(const char *passwd, size_t len, uint32_t uid, char *ret, size_t room)
{
	const char *end = passwd + len;

	while (passwd < end) {
		const char *eol = memchr(passwd, '\n', (size_t)(end - passwd));
		const char *f[7], *s = passwd;
		char number[16];
		uint64_t v;
		size_t n, home;

		eol = eol ? eol : end;
		for (n = 0; n < 7 && s; n++) {
			f[n] = s;
			s = memchr(s, ':', (size_t)(eol - s));
			s = s ? s + 1 : NULL;
		}
		passwd = eol + 1;
		if (n < 7 || (size_t)(f[3] - f[2]) > sizeof(number) || f[3] - f[2] < 2)
			continue;
		memcpy(number, f[2], (size_t)(f[3] - f[2] - 1));
		number[f[3] - f[2] - 1] = 0;
		if (!isdigit((unsigned char)*number) || parse_u64(number, &v) < 0 || v != uid)
			continue;
		home = (size_t)(f[6] - f[5] - 1);
		if (!home || home >= room || memchr(f[5], 0, home))
			continue;
		memcpy(ret, f[5], home);
		ret[home] = 0;
		return 0;
	}
	return -ENOENT;
}

/**
 * user_env() - the environment; HOME is added where it lacks
 * @ret: NULL-terminated; array and last string malloc'd, the rest borrowed from @p
 *
 * Return: 0 or minus errno
 * Context: the child in the container's root
 */
int user_env(const Podvm__Process *p, char ***ret, struct err *e)
{
	char **env = mem_new_n(char *, p->n_env + 2);
	_cleanup_free_ char *text = NULL;
	char home[HOME_BYTES] = "/";
	size_t len = 0;
	char *var;

	if (!env)
		return err_set(e, ENOMEM, "out of memory");
	memcpy(env, p->env, p->n_env * sizeof(*env));
	if (!env_value(p, "HOME")) {
		if (p->uid == 0)
			str_copy(home, sizeof(home), "/root");
		else if (!file_read(AT_FDCWD, "/etc/passwd", PASSWD_MAX, &text, &len, NULL))
			user_home(text, len, p->uid, home, sizeof(home));
		if (asprintf(&var, "HOME=%s", home) < 0) {
			free(env);
			return err_set(e, ENOMEM, "out of memory");
		}
		env[p->n_env] = var;
	}
	*ret = env;
	return 0;
}

/**
 * user_limits() - resource limits and umask
 *
 * Return: 0 or minus errno
 * Context: the child, still root
 */
int user_limits(const Podvm__Process *p, struct err *e)
{
	struct rlimit files;
	size_t i;

	/* The agent's own is high; programs that close all of theirs would be slow. */
	if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur > NOFILE_SOFT) {
		files.rlim_cur = NOFILE_SOFT;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	for (i = 0; i < p->n_rlimits; i++) {
		const Podvm__Rlimit *l = p->rlimits[i];
		struct rlimit v = { .rlim_cur = l->soft, .rlim_max = l->hard };

		if (l->resource >= RLIM_NLIMITS)
			return err_set(e, EINVAL, "rlimit %u: unknown", l->resource);
		if (setrlimit((__rlimit_resource_t)l->resource, &v) < 0)
			return err_sys(e, "rlimit %u: %llu, %llu", l->resource,
				       (unsigned long long)l->soft,
				       (unsigned long long)l->hard);
	}
	umask((mode_t)(p->umask & 0777));
	return 0;
}

static int set_groups(const Podvm__Process *p, struct err *e)
{
	_cleanup_free_ gid_t *groups = mem_new_n(gid_t, p->n_additional_gids + 1);
	size_t i;

	if (!groups)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < p->n_additional_gids; i++)
		groups[i] = p->additional_gids[i];
	/* glibc's own would signal threads, which there are none of. */
	if (syscall(SYS_setgroups, p->n_additional_gids, groups) < 0)
		return err_sys(e, "setgroups");
	return 0;
}

/**
 * user_try() - look at files with the rights of the process's user
 *
 * Return: 0 or minus errno
 * Context: the child, root; until user_untry()
 */
int user_try(const Podvm__Process *p, struct err *e)
{
	int rc = set_groups(p, e);

	if (rc < 0)
		return rc;
	setfsgid(p->gid);
	setfsuid(p->uid);
	if ((uid_t)setfsuid((uid_t)-1) != p->uid)
		return err_set(e, EINVAL, "uid %u: not a user id", p->uid);
	return 0;
}

/**
 * user_untry() - root again
 *
 * Return: 0 or minus errno
 */
int user_untry(struct err *e)
{
	setfsuid(0);
	setfsgid(0);
	if (setfsuid((uid_t)-1) || syscall(SYS_setgroups, 0, NULL) < 0)
		return err_set(e, EPERM, "cannot get back to root");
	return 0;
}

static int drop_bounding(uint64_t keep, struct err *e)
{
	int cap;

	for (cap = 0; cap < 64; cap++) {
		int has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (has < 0)
			break;
		if (has && !(keep & 1ull << cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_sys(e, "capability %d: drop from the bounding set", cap);
	}
	return 0;
}

static int set_caps(const Podvm__Capabilities *c, struct err *e)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];
	int cap, i;

	for (i = 0; i < 2; i++) {
		d[i].effective = (uint32_t)(c->effective >> 32 * i);
		d[i].permitted = (uint32_t)(c->permitted >> 32 * i);
		d[i].inheritable = (uint32_t)(c->inheritable >> 32 * i);
	}
	if (syscall(SYS_capset, &h, d) < 0)
		return err_sys(e, "capset");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_sys(e, "ambient capabilities");
	for (cap = 0; cap < 64; cap++)
		if ((c->ambient & 1ull << cap) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return err_sys(e, "ambient capability %d", cap);
	return 0;
}

/* Capabilities that this kernel does not know are not asked of it. */
static uint64_t known_caps(void)
{
	uint64_t mask = 0;
	int cap;

	for (cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		mask |= 1ull << cap;
	return mask;
}

/**
 * user_become() - take on the process's ids and capabilities for good
 *
 * Return: 0 or minus errno
 * Context: the child, root, about to exec
 */
int user_become(const Podvm__Process *p, struct err *e)
{
	const Podvm__Capabilities *given = p->capabilities;
	Podvm__Capabilities c;
	uint64_t known = known_caps();
	int rc;

	if (given) {
		c = *given;
		c.bounding &= known;
		c.effective &= known;
		c.permitted &= known;
		c.inheritable &= known;
		c.ambient &= known;
		rc = drop_bounding(c.bounding, e);
		if (rc < 0)
			return rc;
		if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
			return err_sys(e, "keepcaps");
	}
	rc = set_groups(p, e);
	if (rc < 0)
		return rc;
	if (syscall(SYS_setresgid, p->gid, p->gid, p->gid) < 0)
		return err_sys(e, "setgid %u", p->gid);
	if (syscall(SYS_setresuid, p->uid, p->uid, p->uid) < 0)
		return err_sys(e, "setuid %u", p->uid);
	if (!given)
		return 0;
	rc = set_caps(&c, e);
	if (rc < 0)
		return rc;
	return prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 ? err_sys(e, "keepcaps") : 0;
}
