// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a trust decision asks of the host: whether the trusted runtime can be run,
 * and whether there is KVM. Nothing is started for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/trust.h"

/* Linux Documentation/admin-guide/devices.txt: character device 10, 232. */
#define KVM_MAJOR 10
#define KVM_MINOR 232

/**
 * trust_runtime_probe() - whether the trusted runtime can be run
 * @path: absolute; "": none is set
 * @e:    says what is wrong with it; untouched when nothing is
 *
 * podvm itself is none: it would hand over to itself for ever.
 */
enum trust_runtime trust_runtime_probe(const char *path, struct err *e)
{
	struct stat st, self;

	if (!*path)
		return TRUST_RUNTIME_UNSET;
	if (stat(path, &st) < 0 || access(path, X_OK) < 0) {
		err_sys(e, "%s", path);
		return TRUST_RUNTIME_MISSING;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(e, EACCES, "%s: not a program", path);
		return TRUST_RUNTIME_MISSING;
	}
	if (!stat("/proc/self/exe", &self) && st.st_dev == self.st_dev &&
	    st.st_ino == self.st_ino) {
		err_set(e, ELOOP, "%s: is podvm itself", path);
		return TRUST_RUNTIME_MISSING;
	}
	return TRUST_RUNTIME_READY;
}

/**
 * trust_kvm_probe() - whether a virtual machine can be started
 * @e: why not; also filled, with true, when only root could tell
 */
bool trust_kvm_probe(struct err *e)
{
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0) {
		int rc = err_sys(e, "/dev/kvm");

		return geteuid() && (rc == -EACCES || rc == -EPERM);
	}
	if (!fstat(fd, &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(KVM_MAJOR, KVM_MINOR))
		return true;
	err_set(e, ENODEV, "/dev/kvm: is not KVM");
	return false;
}
