// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "runtime/spec_impl.h"

/**
 * spec_debug() - check the annotation that allows a shell in the guest
 *
 * What it says is read from the container's record, when a shell is asked for.
 *
 * Return: 0; -EINVAL naming the annotation
 */
int spec_debug(const struct spec *s, struct err *e)
{
	const char *text = spec_annotation(s, SPEC_DEBUG_SHELL);

	if (text && strcmp(text, "on") && strcmp(text, "off"))
		return err_set(e, EINVAL, "/annotations/" SPEC_DEBUG_SHELL ": must be on or off, not %s",
			       SPEC_Q(text));
	return 0;
}
