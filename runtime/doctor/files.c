// SPDX-License-Identifier: Apache-2.0
/* What podvm brings and keeps: configuration, programs, images, state. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/pod.h"
#include "runtime/doctor/doctor.h"

#define MIB (1ull << 20)

/* A machine has that much memory at least (runtime/supervisor/resize.c). */
#define RAM_MIN_BYTES (64 * MIB)
#define RAM_STEP_BYTES (2 * MIB)

/* Records, journals and logs of a pod take some 100 KiB, and a console at most 16 MiB. */
#define STATE_LOW_BYTES (64 * MIB)
#define STATE_LEAST_BYTES (1 * MIB)
#define CACHE_LOW_BYTES (256 * MIB)
#define FILES_LOW 1000

/* Of a supervisor that is asked whether it lives. */
#define ALIVE_MS 1000

static const char *config_path(void)
{
	const char *env = getenv("PODVM_CONFIG");

	return env ? env : CONFIG_PATH;
}

static void look_config(struct doctor *d)
{
	if (d->config_why.code) {
		doctor_found(d, DOCTOR_ERROR, "%s", d->config_why.text);
		doctor_mend(d, "correct %s; podvm.json(5) describes it", config_path());
	} else if (doctor_has(d->host, config_path())) {
		doctor_found(d, DOCTOR_OK, "%s is valid", config_path());
	} else {
		doctor_found(d, DOCTOR_OK, "there is no %s: the defaults hold", config_path());
	}
}

static void look_monitor(struct doctor *d)
{
	if (doctor_runs(d->host, d->config.vmm)) {
		doctor_found(d, DOCTOR_OK, "%s is a program", d->config.vmm);
		return;
	}
	doctor_found(d, DOCTOR_ERROR, "the monitor %.300s %s", d->config.vmm,
		     doctor_has(d->host, d->config.vmm) ? "cannot be executed" : "does not exist");
	doctor_mend(d, "install podvm-vmm, or set vmm in %s", config_path());
}

static int open_image(struct doctor *d, const char *what, const char *path)
{
	char full[PATH_MAX];
	int fd;

	if (!doctor_path(d->host, path, full, sizeof(full)))
		full[0] = 0;
	fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		return fd;
	doctor_found(d, DOCTOR_ERROR, "the guest's %s %.300s: %s", what, path, strerror(errno));
	doctor_mend(d, "install it (make kernel && make install), or set %s in %s", what, config_path());
	return -1;
}

static void look_images(struct doctor *d)
{
	_cleanup_close_ int kernel = open_image(d, "kernel", d->config.kernel);
	_cleanup_close_ int initramfs = open_image(d, "initramfs", d->config.initramfs);
	uint64_t ram = d->config.ram_bytes < RAM_MIN_BYTES ? RAM_MIN_BYTES : d->config.ram_bytes;
	struct err e = { 0 };

	if (kernel < 0 || initramfs < 0)
		return;
	/* An image does not grow with memory: what does not fit a GiB fits no pod. */
	if (ram > 1024 * MIB)
		ram = 1024 * MIB;
	ram = (ram + RAM_STEP_BYTES - 1) / RAM_STEP_BYTES * RAM_STEP_BYTES;
	if (!d->host->images(kernel, initramfs, ram, &e)) {
		doctor_found(d, DOCTOR_OK, "kernel and initramfs load into %llu MiB of memory",
			     (unsigned long long)(ram / MIB));
		return;
	}
	doctor_found(d, DOCTOR_ERROR, "%s (kernel %.200s, initramfs %.200s)", e.text, d->config.kernel,
		     d->config.initramfs);
	doctor_mend(d, "set kernel to a bzImage or an ELF vmlinux for x86-64, initramfs to podvm's own (guest/README.md), and ram to what they need, in %s",
		    config_path());
}

static void one_space(struct doctor *d, const char *what, const char *path, uint64_t low,
		      uint64_t least)
{
	char at[PATH_MAX];
	struct doctor_space s = { 0 };
	int rc;

	snprintf(at, sizeof(at), "%s", path);
	/* What is not there yet will be made where its parent is. */
	while ((rc = d->host->space(d->host, at, &s)) == -ENOENT && strrchr(at, '/') > at)
		*strrchr(at, '/') = 0;
	if (rc == -ENOENT)
		rc = d->host->space(d->host, "/", &s);
	if (rc < 0) {
		doctor_found(d, DOCTOR_WARNING, "%s %.300s: %s", what, path, strerror(-rc));
		return;
	}
	if (s.bytes >= low && s.files >= FILES_LOW) {
		doctor_found(d, DOCTOR_OK, "%s %.300s: %llu MiB are free", what, path,
			     (unsigned long long)(s.bytes / MIB));
		return;
	}
	doctor_found(d, s.bytes < least || !s.files ? DOCTOR_ERROR : DOCTOR_WARNING,
		     "%s %.300s: %llu MiB and %llu files are free", what, path,
		     (unsigned long long)(s.bytes / MIB), (unsigned long long)s.files);
	doctor_mend(d, "make room in %.300s; df -h and df -i show what is used", at);
}

static void look_space(struct doctor *d)
{
	one_space(d, "state directory", d->root, STATE_LOW_BYTES, STATE_LEAST_BYTES);
	if (*d->config.layer_cache)
		one_space(d, "layer cache", d->config.layer_cache, CACHE_LOW_BYTES, 0);
	else
		doctor_found(d, DOCTOR_NOTE, "layers are not remembered (layerCache is off): each start reads them anew");
}

/*
 * Whether nobody keeps a pod alive. A supervisor has no socket before its machine runs;
 * then the lock tells, which is held for an instant by us: others then take the pod for
 * one that starts, and look again.
 */
static bool is_stale(int pods, const char *pod)
{
	_cleanup_close_ int dir = openat(pods, pod, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int sock = -1, lock = -1;

	if (dir < 0 || !pod_call_open(dir, ALIVE_MS, &sock, NULL))
		return false;
	lock = openat(dir, "lock", O_RDONLY | O_CLOEXEC);
	return lock >= 0 && !flock(lock, LOCK_SH | LOCK_NB);
}

static void look_stale(struct doctor *d)
{
	_cleanup_close_ int root = open(d->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), pods = -1;
	struct dirent **list = NULL;
	int i, n = -1, stale = 0;

	if (root >= 0)
		pods = openat(root, "pods", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pods >= 0)
		n = scandirat(pods, ".", &list, NULL, alphasort);
	for (i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.' && is_stale(pods, list[i]->d_name)) {
			stale++;
			doctor_found(d, DOCTOR_WARNING, "pod %.128s: its supervisor has died; the next command of podvm undoes what its journal names", list[i]->d_name);
			doctor_mend(d, "podvm --root %.300s list", d->root);
		}
		free(list[i]);
	}
	free(list);
	if (!stale)
		doctor_found(d, DOCTOR_OK, "no pod has left anything behind");
}

const struct doctor_check doctor_checks_files[] = {
	{ "configuration", "the configuration file, member by member", look_config },
	{ "monitor", "podvm-vmm, where the configuration says", look_monitor },
	{ "images", "guest kernel and initramfs, loaded as the monitor loads them", look_images },
	{ "space", "room for state and for remembered layers", look_space },
	{ "stale", "journals of pods whose supervisor has died", look_stale },
	{ NULL, NULL, NULL },
};
