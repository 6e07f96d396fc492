// SPDX-License-Identifier: Apache-2.0
#include "lib/idmap.h"

/**
 * idmap_outside() - an id of a user namespace as the machine has it
 * @v:      mappings; no sum of one wraps (runtime/spec_userns.c)
 * @inside: the id; one that is too great for the kernel has none
 * @ret:    untouched when there is none; may be where @inside came from
 *
 * Return: whether it is mapped
 */
bool idmap_outside(Podvm__IdMap *const *v, size_t n, uint64_t inside, uint32_t *ret)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (inside < v[i]->inside || inside - v[i]->inside >= v[i]->size)
			continue;
		*ret = v[i]->outside + (uint32_t)(inside - v[i]->inside);
		return true;
	}
	return false;
}
