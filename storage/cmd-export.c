// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-storage export: the disk that a pod's VM would get as a plain EROFS image,
 * in a file that appears when it is whole, or on standard output.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/opt.h"
#include "lib/str.h"
#include "storage/cmd.h"
#include "storage/disk.h"
#include "storage/export.h"
#include "storage/outfile.h"
#include "storage/stop.h"

static int to_stdout(struct export *x, struct err *e)
{
	int rc;

	if (isatty(STDOUT_FILENO))
		return err_set(
			e, EINVAL,
			"-o -: an image is nothing for a terminal: send it to a file or a program");
	x->out_fd = STDOUT_FILENO;
	x->stream = true;
	rc = export_disk(x, e);
	return rc == -EINVAL ? -EIO : rc;
}

static int to_file(struct export *x, const char *image, bool force, struct err *e)
{
	struct outfile o;
	int rc = outfile_open(&o, image, force, e);

	if (!rc) {
		x->out_fd = o.fd;
		rc = export_disk(x, e);
	}
	if (!rc)
		rc = stop_check(e);
	if (!rc)
		rc = outfile_commit(&o, e);
	outfile_done(&o);
	return rc == -EINVAL ? -EIO : rc;
}

/**
 * cmd_export() - podvm-storage export PATH -o IMAGE
 *
 * Return: 0 or minus errno; a failure leaves no image, and an old one as it was
 */
int cmd_export(int argc, char **argv, struct err *e)
{
	struct storage_request req = {.serial_stem = "export"};
	const char *image = NULL;
	bool force = false;
	const struct opt table[] = {
		OPT_STR('o', "output", &image, "IMAGE", "file to make; - is standard output"),
		OPT_FLAG('f', "force", &force, "replace IMAGE if it is there"),
		OPT_END,
	};
	struct progress p;
	struct export x = {.progress = &p};
	struct storage_map *m;
	int rc = cmd_args(table, argc, argv, &req.rootfs, e);

	if (rc <= 0)
		return rc;
	if (!req.rootfs)
		return err_set(e, EINVAL, "needs a path; see export --help");
	if (!image)
		return err_set(e, EINVAL, "needs -o IMAGE; see export --help");
	stop_catch();
	rc = storage_map_rootfs(&req, &m, e);
	if (rc < 0)
		return rc == -EINVAL ? -EIO : rc;
	x.map = m;
	progress_begin(&p, "export", "bytes",
		       storage_map_stats(m)->data_bytes + storage_map_stats(m)->meta_bytes);
	rc = strcmp(image, "-") ? to_file(&x, image, force, e) : to_stdout(&x, e);
	progress_end(&p);
	storage_map_free(m);
	return rc;
}
