// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Whether a kernel and an initramfs are what a machine boots from: they are loaded as
 * the monitor loads them, into memory that no guest ever sees. The monitor takes any
 * initramfs, since only its kernel can say; here the formats that Linux knows are told
 * from the rest, so that a wrong path shows before a pod waits for an agent in vain.
 *
 * Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/mem.h"
#include "vmm/boot-impl.h"
#include "vmm/vmm.h"

static int check_initramfs(int fd, struct err *e)
{
	static const struct {
		const char *magic;
		size_t len;
	} known[] = {
		{ "070701", 6 }, { "070702", 6 }, { "\x1f\x8b", 2 }, { "\xfd" "7zXZ", 5 },
		{ "\x28\xb5\x2f\xfd", 4 }, { "BZh", 3 }, { "\x02\x21\x4c\x18", 4 },
		{ "\x5d\0\0", 3 }, { "\x89LZO", 4 },
	};
	char head[6];
	size_t i;
	int rc = boot_read_at(fd, head, sizeof(head), 0, e);

	if (rc < 0)
		return err_wrap(e, "initramfs");
	for (i = 0; i < ARRAY_LEN(known); i++)
		if (!memcmp(head, known[i].magic, known[i].len))
			return 0;
	return err_set(e, ENOEXEC, "initramfs: neither a cpio archive (newc) nor a compressed one");
}

/**
 * vmm_check_images() - whether a machine could boot from these files
 * @kernel_fd, @initramfs_fd: borrowed
 * @ram_bytes: of the machine; as in struct vmm_config
 *
 * Return: 0; what boot_load_kernel() and boot_load_initramfs() say; -ENOEXEC
 * Context: takes as much memory as the images need, for the while
 *
 * #syscalls none
 */
int vmm_check_images(int kernel_fd, int initramfs_fd, uint64_t ram_bytes, struct err *e)
{
	struct gmem m = { .n = 0 };
	struct boot b;
	int rc = gmem_init(&m, ram_bytes, e);

	if (rc < 0)
		return rc;
	rc = boot_load_kernel(&m, kernel_fd, &b, e);
	if (!rc)
		rc = boot_load_initramfs(&m, initramfs_fd, &b, e);
	if (!rc)
		rc = check_initramfs(initramfs_fd, e);
	gmem_done(&m);
	return rc;
}
