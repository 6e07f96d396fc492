// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a bundle's annotations say about its pod's network. Who may set them: see
 * spec_storage.c.
 */
#include "runtime/spec_impl.h"

/**
 * spec_network() - set @s->network_model
 *
 * Return: 0; -EINVAL naming the annotation
 */
int spec_network(struct spec *s, struct err *e)
{
	const char *text = spec_annotation(s, SPEC_NETWORK_MODEL);

	s->network_model = NETPLUG_MODELS;
	if (text && netplug_model_parse(text, &s->network_model, e) < 0)
		return err_wrap(e, "/annotations/" SPEC_NETWORK_MODEL);
	return 0;
}
