// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a bundle's annotations say about its writable side. Engines pass annotations of
 * users on only where their administrator has allowed it (CRI-O allowed_annotations,
 * containerd pod_annotations); podman and docker users are the host's administrators.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "lib/mem.h"
#include "runtime/spec_impl.h"

/* podman run --rm (podman pkg/annotations). */
#define PODMAN_AUTOREMOVE "io.podman.annotations.autoremove"

static int write_back(struct spec *s, struct err *e)
{
	static const char *const names[] = {
		[SPEC_WRITE_BACK_DEFAULT] = "auto", [SPEC_WRITE_BACK_ON] = "on",
		[SPEC_WRITE_BACK_OFF] = "off",
	};
	const char *text = spec_annotation(s, SPEC_WRITE_BACK);
	size_t i;

	for (i = 0; text && i < ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i]))
			continue;
		s->write_back = (enum spec_write_back)i;
		return 0;
	}
	return text ? err_set(e, EINVAL, "/annotations/" SPEC_WRITE_BACK ": must be auto, on or off, not %s",
			      SPEC_Q(text)) : 0;
}

static int scratch_size(struct spec *s, struct err *e)
{
	const char *text = spec_annotation(s, SPEC_SCRATCH_SIZE);

	if (!text)
		return 0;
	if (parse_size(text, &s->scratch_bytes) < 0 ||
	    s->scratch_bytes < SPEC_SCRATCH_BYTES_MIN || s->scratch_bytes > SPEC_SCRATCH_BYTES_MAX)
		return err_set(e, EINVAL, "/annotations/" SPEC_SCRATCH_SIZE ": must be a size such as 20G, 4M to 16000G, not %s",
			       SPEC_Q(text));
	return 0;
}

/**
 * spec_storage() - set @s->write_back, @s->throwaway and @s->scratch_bytes
 *
 * Return: 0; -EINVAL naming the annotation
 */
int spec_storage(struct spec *s, struct err *e)
{
	const char *remove = spec_annotation(s, PODMAN_AUTOREMOVE);
	int rc = write_back(s, e);

	s->throwaway = remove && !strcasecmp(remove, "true");

	return rc < 0 ? rc : scratch_size(s, e);
}
