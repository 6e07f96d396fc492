// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Changes the size of a pod's machine and waits until the guest has followed, or
 * only shows it. The supervisor answers at once with what there is, so that waiting
 * for a guest that does not follow is this command's matter and nobody else's.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "runtime/cli/cli.h"

#define POLL_MS 100
#define TIMEOUT_S 30

static int print(const Podvm__Pod__Size *s, struct err *e)
{
	struct json_out *o = json_out_new();

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_obj(o, "memory");
	json_out_u64(o, "bytes", s->memory);
	json_out_u64(o, "boot", s->memory_boot);
	json_out_u64(o, "max", s->memory_max);
	json_out_u64(o, "plugged", s->plugged);
	json_out_u64(o, "balloon", s->balloon);
	json_out_u64(o, "reported", s->reported);
	json_out_obj(o, "guest");
	json_out_u64(o, "total", s->guest_total);
	json_out_u64(o, "free", s->guest_free);
	json_out_u64(o, "available", s->guest_available);
	json_out_end(o);
	json_out_end(o);
	json_out_obj(o, "vcpus");
	json_out_u64(o, "online", s->vcpus);
	json_out_u64(o, "max", s->vcpus_max);
	json_out_end(o);
	return json_out_print(o, true, stdout, e);
}

static int ask(int sock, uint64_t memory, uint32_t vcpus, Podvm__Pod__Response **ret,
	       struct err *e)
{
	Podvm__Pod__Resize m = PODVM__POD__RESIZE__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(resize = &m, RESIZE);
	int rc;

	m.memory = memory;
	m.vcpus = vcpus;
	rc = pod_call(sock, &rq, NULL, 0, ret, e);
	if (rc < 0 || (*ret)->size)
		return rc;
	podvm__pod__response__free_unpacked(*ret, NULL);
	return err_set(e, EPROTO, "the supervisor did not tell a size");
}

static bool reached(const Podvm__Pod__Size *s)
{
	return s->plugged == s->plug_target && s->balloon == s->balloon_target;
}

/* Asks until the guest has followed. The last answer is the caller's. */
static int wait_for_guest(int sock, Podvm__Pod__Response **rs, uint64_t timeout_s,
			  struct err *e)
{
	uint64_t end = clock_ms() + timeout_s * 1000;
	struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };

	while (!reached((*rs)->size)) {
		int rc;

		if (clock_ms() >= end)
			return err_set(e, ETIMEDOUT,
				       "the guest has not followed: %llu of %llu MiB are plugged, %llu of %llu MiB are in the balloon; it goes on trying",
				       (unsigned long long)(*rs)->size->plugged >> 20,
				       (unsigned long long)(*rs)->size->plug_target >> 20,
				       (unsigned long long)(*rs)->size->balloon >> 20,
				       (unsigned long long)(*rs)->size->balloon_target >> 20);
		nanosleep(&pause, NULL);
		podvm__pod__response__free_unpacked(*rs, NULL);
		*rs = NULL;
		rc = ask(sock, 0, 0, rs, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/**
 * cmd_resize() - podvm resize
 */
int cmd_resize(struct cli *c, int argc, char **argv, struct err *e)
{
	const char *memory = NULL;
	uint64_t bytes = 0, vcpus = 0, timeout_s = TIMEOUT_S;
	const struct opt t[] = {
		OPT_STR('m', "memory", &memory, "SIZE", "memory that the pod shall have"),
		OPT_U64('c', "vcpus", &vcpus, "N", "processors that it shall use"),
		OPT_U64(0, "timeout", &timeout_s, "S", "how long to wait for the guest (30)"),
		OPT_END
	};
	_cleanup_close_ int sock = -1;
	int first, rc = cli_args(t, argc, argv, 1, 1, &first, e);
	Podvm__Pod__Response *rs = NULL;
	struct state *s;

	if (rc <= 0)
		return rc;
	if (memory && (parse_size(memory, &bytes) < 0 || !bytes))
		return err_set(e, EINVAL, "--memory %s: not a size such as 512M", memory);
	if (vcpus > UINT32_MAX || timeout_s > INT32_MAX)
		return err_set(e, EINVAL, "--vcpus, --timeout: too large");
	rc = cli_connect(c, argv[first], &s, &sock, e);
	if (rc < 0)
		return rc;
	state_free(s);
	rc = ask(sock, bytes, (uint32_t)vcpus, &rs, e);
	if (!rc && memory)
		rc = wait_for_guest(sock, &rs, timeout_s, e);
	if (!rc)
		rc = print(rs->size, e);
	if (rs)
		podvm__pod__response__free_unpacked(rs, NULL);
	return rc;
}
