// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-storage export: writes the disk that a pod's VM would get as a plain
 * EROFS image. It reads the disk as a monitor does, from the sealed table and
 * with files opened by number, and so shows what a guest would see.
 */
#include "storage/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/disktab.h"
#include "lib/fd.h"
#include "lib/opt.h"
#include "storage/storage.h"

#define COPY_BYTES (1u << 20)

/* Bytes from @from on that are a hole; all of @len behind the last data. */
static uint64_t hole(int in, uint64_t from, uint64_t len)
{
	off_t data = lseek(in, (off_t)from, SEEK_DATA);

	if (data < 0)
		return errno == ENXIO ? len : 0;
	return (uint64_t)data - from < len ? (uint64_t)data - from : len;
}

/* Copies until @len bytes or the end of the file; the rest, and holes, read as zeros. */
static int copy_run(int in, uint64_t from, int out, uint64_t to, uint64_t len,
		    struct err *e)
{
	static char buf[COPY_BYTES];

	while (len) {
		uint64_t skip = hole(in, from, len);
		ssize_t done = 0, n;
		size_t want;

		from += skip;
		to += skip;
		len -= skip;
		want = len < sizeof(buf) ? (size_t)len : sizeof(buf);
		n = pread(in, buf, want, (off_t)from);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read");
		if (!n)
			return 0;
		while (done < n) {
			ssize_t w = pwrite(out, buf + done, (size_t)(n - done),
					   (off_t)(to + (uint64_t)done));

			if (w < 0 && errno != EINTR)
				return err_sys(e, "write");
			done += w > 0 ? w : 0;
		}
		from += (uint64_t)n;
		to += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int copy_extent(const struct storage_map *m, int table_fd,
		       const struct disktab_extent *x, int out, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int in = table_fd, rc;

	if (x->file != DISKTAB_FILE_SELF) {
		rc = storage_map_open(m, x->file, &fd, e);
		if (rc < 0)
			return rc;
		in = fd;
	}
	return copy_run(in, x->offset, out, x->first_block * DISKTAB_BLOCK_BYTES,
			x->n_blocks * DISKTAB_BLOCK_BYTES, e);
}

/**
 * export_image() - write the synthetic disk of a map into a file
 * @out_fd: regular file, empty, borrowed
 *
 * Return: 0 or minus errno
 */
int export_image(const struct storage_map *m, int out_fd, struct err *e)
{
	const struct disktab_extent *x;
	const struct disktab_head *h;
	const struct storage_disk *d;
	struct stat st;
	uint64_t i;
	void *map;
	int rc = 0;

	storage_map_disks(m, &d);
	if (d->kind != STORAGE_DISK_SYNTHETIC)
		return err_set(e, EOPNOTSUPP, "it is a block device: that is an image already");
	if (fstat(d->fd, &st) < 0)
		return err_sys(e, "disk table");
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, d->fd, 0);
	if (map == MAP_FAILED)
		return err_sys(e, "disk table: mmap");
	h = map;
	x = (const void *)((const char *)map + h->extents_offset);
	if (ftruncate(out_fd, (off_t)d->size_bytes) < 0)
		rc = err_sys(e, "image of %llu bytes", (unsigned long long)d->size_bytes);
	for (i = 0; !rc && i < h->n_extents; i++)
		rc = copy_extent(m, d->fd, &x[i], out_fd, e);
	munmap(map, (size_t)st.st_size);
	return rc;
}

static int export_path(const char *rootfs, const char *image, struct err *e)
{
	struct storage_request req = { .rootfs = rootfs, .serial_stem = "export" };
	_cleanup_close_ int fd = -1;
	struct storage_map *m;
	int rc;

	rc = storage_map_rootfs(&req, &m, e);
	if (rc < 0)
		return rc;
	fd = open(image, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		rc = err_sys(e, "%s", image);
	} else {
		rc = export_image(m, fd, e);
		if (rc < 0)
			unlink(image);
	}
	storage_map_free(m);
	return rc;
}

/**
 * cmd_export() - podvm-storage export PATH -o IMAGE
 *
 * Return: 0 or minus errno; a failure leaves no image
 */
int cmd_export(int argc, char **argv, struct err *e)
{
	const char *image = NULL;
	bool help = false;
	const struct opt table[] = {
		OPT_STR('o', "output", &image, "IMAGE", "file to make; must not exist"),
		OPT_FLAG('h', "help", &help, "print this"),
		OPT_END,
	};
	int first, next, rc;

	rc = opt_parse(table, argc, argv, &first, e);
	if (rc < 0)
		return rc;
	if (help) {
		printf("usage: podvm-storage export PATH -o IMAGE\n\n"
		       "Writes the read-only disk that a VM would get for the overlay mounted at PATH\n"
		       "as an EROFS image: mount it (mount -o loop,ro IMAGE DIR) or check it with\n"
		       "fsck.erofs.\n\n");
		opt_help(stdout, table);
		return 0;
	}
	if (first == argc)
		return err_set(e, EINVAL, "export needs a path; see export --help");
	rc = opt_parse(table, argc - first, argv + first, &next, e);
	if (rc < 0)
		return rc;
	if (first + next != argc)
		return err_set(e, EINVAL, "export takes one path; see export --help");
	if (!image)
		return err_set(e, EINVAL, "export needs -o IMAGE; see export --help");
	return export_path(argv[first], image, e);
}
