// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzzer of the options of an overlay mount, as mountinfo shows them. What parses has
 * layers with names, data-only ones last; what does not has a text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "storage/overlay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/**
 * LLVMFuzzerTestOneInput() - parse one set of options
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = strndup((const char *)data, size);
	struct overlay *o = NULL;
	struct err e = { 0 };
	size_t i;
	int rc;

	if (!text)
		abort();
	rc = overlay_parse(text, &o, &e);
	if (rc < 0 && (o || !e.text[0] || rc != -e.code))
		abort();
	if (rc < 0)
		return 0;
	if (o->n_layers > OVERLAY_LAYERS_MAX || o->n_data + o->has_upper >= o->n_layers ||
	    o->has_upper != !!o->work)
		abort();
	for (i = 0; i < o->n_layers; i++)
		if (!o->layer[i].path || (!o->layer[i].path[0] && !(o->has_upper && !i)) ||
		    o->layer[i].fd != -1)
			abort();
	overlay_free(o);
	return 0;
}
