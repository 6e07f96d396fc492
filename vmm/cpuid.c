// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Turns what KVM supports into what one vCPU shows. The processor's features
 * pass through. Changed are: the APIC id and the topology (one package, one
 * thread per core), the hypervisor bit, the TSC deadline timer where the local
 * APIC has it, and nested virtualization, which is hidden: it is a large part
 * of KVM that a pod has no business to reach.
 *
 * Source: Intel SDM 2A, CPUID; AMD APM 3, appendix E.
 */
#include "vmm/cpuid.h"

#include <linux/kvm.h>
#include <string.h>

#define ECX1_VMX (1u << 5)
#define ECX1_DEADLINE (1u << 24)
#define ECX1_HYPERVISOR (1u << 31)
#define EDX1_HTT (1u << 28)
#define ECX80000001_CMP_LEGACY (1u << 1)
#define ECX80000001_SVM (1u << 2)

/* Bits of an APIC id that tell @n cores apart. */
static uint32_t id_bits(uint32_t n)
{
	uint32_t bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

static void fix(struct kvm_cpuid_entry2 *c, uint32_t id, uint32_t vcpus, bool deadline)
{
	switch (c->function) {
	case 1:
		c->ebx = (c->ebx & 0xffff) | vcpus << 16 | id << 24;
		c->ecx = (c->ecx & ~(ECX1_VMX | ECX1_DEADLINE)) | ECX1_HYPERVISOR |
			 (deadline ? ECX1_DEADLINE : 0);
		c->edx = (c->edx & ~EDX1_HTT) | (vcpus > 1 ? EDX1_HTT : 0);
		break;
	case 4:
	case 0x8000001d:
		/* Caches: each core has its own below level 3, all share level 3. */
		c->eax &= 0x3fff;
		if ((c->eax >> 5 & 7) == 3)
			c->eax |= (vcpus - 1) << 14;
		if (c->function == 4)
			c->eax |= ((1u << id_bits(vcpus)) - 1) << 26;
		break;
	case 0x80000001:
		c->ecx &= ~(ECX80000001_SVM | ECX80000001_CMP_LEGACY);
		if (vcpus > 1)
			c->ecx |= ECX80000001_CMP_LEGACY;
		break;
	case 0x80000008:
		c->ecx = (c->ecx & ~0xf0ffu) | id_bits(vcpus) << 12 | (vcpus - 1);
		break;
	case 0x8000000a:
		c->eax = c->ebx = c->ecx = c->edx = 0;
		break;
	case 0x8000001e:
		c->eax = id;
		c->ebx = id & 0xff;
		c->ecx = 0;
		break;
	default:
		break;
	}
}

/* Leaf 0xb: level 0 threads, level 1 cores, level 2 the end. */
static size_t add_topology(struct kvm_cpuid_entry2 *e, size_t n, uint32_t id,
			   uint32_t vcpus)
{
	static const uint32_t type[] = { 1, 2, 0 };
	uint32_t level;

	for (level = 0; level < 3; level++) {
		struct kvm_cpuid_entry2 *c = &e[n++];

		memset(c, 0, sizeof(*c));
		c->function = 0xb;
		c->index = level;
		c->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		c->eax = level == 1 ? id_bits(vcpus) : 0;
		c->ebx = level == 0 ? 1 : level == 1 ? vcpus : 0;
		c->ecx = level | type[level] << 8;
		c->edx = id;
	}
	return n;
}

/**
 * cpuid_prepare() - make the table of one vCPU
 * @e:        what KVM supports; changed in place
 * @n:        entries
 * @room:     of @e in entries; 3 more than @n are enough
 * @id:       APIC id, below @vcpus
 * @deadline: the local APIC has the TSC deadline timer
 *
 * Return: entries
 */
size_t cpuid_prepare(struct kvm_cpuid_entry2 *e, size_t n, size_t room, uint32_t id,
		     uint32_t vcpus, bool deadline)
{
	bool topology = n && e[0].function == 0 && e[0].eax >= 0xb;
	size_t i, kept = 0;

	for (i = 0; i < n; i++) {
		if (e[i].function == 0xb || e[i].function == 0x1f)
			continue;
		e[kept] = e[i];
		fix(&e[kept++], id, vcpus, deadline);
	}
	return topology && room - kept >= 3 ? add_topology(e, kept, id, vcpus) : kept;
}
