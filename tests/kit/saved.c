// SPDX-License-Identifier: Apache-2.0
/* Machines that are saved and go on as copies, for programs that drive a monitor themselves. */
#include "tests/kit/saved.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fd.h"

#define CALL_MS 60000

/**
 * kit_saved_new() - files for a machine that is to be saved
 * @s: kit_saved_done(), also after a failure
 *
 * Return: 0 or minus errno
 */
int kit_saved_new(struct kit_saved *s, struct err *e)
{
	s->memory = memfd_create("template-memory", MFD_CLOEXEC);
	s->state = memfd_create("template-state", MFD_CLOEXEC);
	return s->memory < 0 || s->state < 0 ? err_sys(e, "memfd_create") : 0;
}

/**
 * kit_saved_take() - save a machine that runs; it is of no use any more then
 * @v: its CONFIG had @s->memory
 *
 * Return: 0 or minus errno
 */
int kit_saved_take(struct kit_saved *s, struct vmm *v, struct err *e)
{
	struct vmm_request pause = { .type = VMM_PAUSE }, save = { .type = VMM_SAVE };
	struct vmm_reply rp;
	int rc = vmm_call(v, &pause, NULL, 0, CALL_MS, &rp, e);

	if (!rc)
		rc = vmm_call(v, &save, &s->state, 1, CALL_MS, &rp, e);
	if (!rc && lseek(s->state, 0, SEEK_SET) < 0)
		rc = err_sys(e, "lseek");
	return rc;
}

/**
 * kit_saved_restore() - a copy, up to its START
 * @s: once, since its state is read from where it is
 * @c: as of the machine that was saved
 * @console: borrowed
 *
 * Return: 0 or minus errno
 */
int kit_saved_restore(const struct kit_saved *s, struct vmm *v, const struct vmm_config *c,
		      int console, struct err *e)
{
	_cleanup_close_ int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct vmm_request rq = { .type = VMM_RESTORE, .config = *c };
	int fds[] = { kvm, s->memory, s->state, console };
	struct vmm_reply rp;

	if (kvm < 0)
		return err_sys(e, "/dev/kvm");
	return vmm_call(v, &rq, fds, 4, CALL_MS, &rp, e);
}

/**
 * kit_saved_done() - close it; at any stage
 */
void kit_saved_done(struct kit_saved *s)
{
	fd_close(&s->memory);
	fd_close(&s->state);
}
