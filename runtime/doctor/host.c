// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * How the checks see the host: the real one, and small readers of files that work
 * with any prefix.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/doctor/doctor.h"
#include "vmm/vmm.h"

/* Longest file that a check reads; modules.dep of a distribution has some 700 KiB. */
#define READ_BYTES (8u << 20)

static int open_device(const struct doctor_host *h, const char *path)
{
	char full[PATH_MAX];
	int fd;

	if (!doctor_path(h, path, full, sizeof(full)))
		return -ENAMETOOLONG;
	fd = open(full, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

static int space(const struct doctor_host *h, const char *path, struct doctor_space *ret)
{
	char full[PATH_MAX];
	struct statvfs st;

	if (!doctor_path(h, path, full, sizeof(full)))
		return -ENAMETOOLONG;
	if (statvfs(full, &st) < 0)
		return -errno;
	ret->bytes = (uint64_t)st.f_bavail * st.f_frsize;
	ret->files = st.f_files ? st.f_favail : UINT64_MAX;
	return 0;
}

static uint64_t files_max(void)
{
	struct rlimit r;

	return getrlimit(RLIMIT_NOFILE, &r) < 0 ? 0 : r.rlim_max;
}

static unsigned int uid(void)
{
	return geteuid();
}

const struct doctor_host doctor_this_host = {
	.prefix = "",
	.open_device = open_device,
	.kvm_check = vmm_check_kvm,
	.kvm_probe = vmm_probe_kvm,
	.images = vmm_check_images,
	.space = space,
	.files_max = files_max,
	.uid = uid,
};

/**
 * doctor_path() - where a file of the host is
 *
 * Return: whether it fits
 */
bool doctor_path(const struct doctor_host *h, const char *path, char *dst, size_t room)
{
	return snprintf(dst, room, "%s%s", h->prefix, path) < (int)room;
}

/**
 * doctor_has() - whether a path leads to something
 */
bool doctor_has(const struct doctor_host *h, const char *path)
{
	char full[PATH_MAX];
	struct stat st;

	return doctor_path(h, path, full, sizeof(full)) && !stat(full, &st);
}

/**
 * doctor_runs() - whether a path leads to a program
 */
bool doctor_runs(const struct doctor_host *h, const char *path)
{
	char full[PATH_MAX];
	struct stat st;

	return doctor_path(h, path, full, sizeof(full)) && !stat(full, &st) &&
	       S_ISREG(st.st_mode) && !access(full, X_OK);
}

/**
 * doctor_read() - a text file of the host
 *
 * Return: malloc'd, owned by the caller; NULL where it cannot be read
 */
char *doctor_read(const struct doctor_host *h, const char *path)
{
	char full[PATH_MAX], *text;

	if (!doctor_path(h, path, full, sizeof(full)) ||
	    file_read(AT_FDCWD, full, READ_BYTES, &text, NULL, NULL) < 0)
		return NULL;
	return text;
}

/**
 * doctor_number() - a file that begins with a number
 * @ret: untouched on failure
 *
 * Return: whether it does
 */
bool doctor_number(const struct doctor_host *h, const char *path, uint64_t *ret)
{
	_cleanup_free_ char *text = doctor_read(h, path);

	if (!text)
		return false;
	text[strcspn(text, " \t\n")] = 0;
	return !parse_u64(text, ret);
}

/**
 * doctor_word() - whether a text has a word, between blanks, brackets or commas
 */
bool doctor_word(const char *text, const char *word)
{
	static const char apart[] = " \t\n,[]:";
	size_t len = strlen(word);
	const char *s;

	for (s = text; (s = strstr(s, word)); s += len)
		if ((s == text || strchr(apart, s[-1])) && strchr(apart, s[len]))
			return true;
	return false;
}

/* Whether a list of modules has /NAME.ko; '-' and '_' are the same there. */
static bool lists(const char *text, const char *name)
{
	size_t len = strlen(name), i;
	const char *s;

	for (s = text; (s = strstr(s, ".ko")); s += 3) {
		if ((size_t)(s - text) <= len || s[-1 - (ptrdiff_t)len] != '/')
			continue;
		for (i = 0; i < len; i++) {
			char c = s[(ptrdiff_t)i - (ptrdiff_t)len];

			if (c != name[i] && !(c == '-' && name[i] == '_'))
				break;
		}
		if (i == len)
			return true;
	}
	return false;
}

/**
 * doctor_module() - whether the kernel has a module, or could load it
 * @name: with '_'
 */
enum doctor_module doctor_module(const struct doctor_host *h, const char *name)
{
	_cleanup_free_ char *release = doctor_read(h, "/proc/sys/kernel/osrelease");
	_cleanup_free_ char *builtin = NULL, *loadable = NULL;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	if (doctor_has(h, path))
		return DOCTOR_MODULE_THERE;
	if (!release)
		return DOCTOR_MODULE_MISSING;
	release[strcspn(release, "\n")] = 0;
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.builtin", release);
	builtin = doctor_read(h, path);
	if (builtin && lists(builtin, name))
		return DOCTOR_MODULE_THERE;
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", release);
	loadable = doctor_read(h, path);
	return loadable && lists(loadable, name) ? DOCTOR_MODULE_LOADABLE : DOCTOR_MODULE_MISSING;
}
