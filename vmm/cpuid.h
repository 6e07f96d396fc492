/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CPUID_H
#define VMM_CPUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kvm_cpuid_entry2;

size_t cpuid_prepare(struct kvm_cpuid_entry2 *e, size_t n, size_t room, uint32_t id,
		     uint32_t vcpus, bool deadline);

#endif
