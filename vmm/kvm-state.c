// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The state of a virtual machine that is KVM's: its clock and its processors. It is
 * read while no vCPU is in KVM_RUN, and put into vCPUs of the same host that have not
 * run yet and have the same CPUID.
 *
 * The order matters. To read: whether the processor runs comes first, since asking makes
 * KVM take pending INIT and SIPI. To write: the TSC of all processors comes first, those
 * included that have not run and have no other state; the special registers hold the base of the
 * local APIC, which is what the APIC's registers are for; the APIC's timer is in deadline
 * mode, and the TSC right, before its deadline is written, which is the last of the MSRs.
 * A deadline that had just passed reads as none: KVM clears it before the interrupt is in
 * the APIC. It is written as one that passes at once, lest the guest wait for ever.
 *
 * A guest's TSC goes on from what it was, and kvm-clock with it: the time that a template
 * lay there has not passed for its copies. KVM takes the TSC of a machine to be one and the same, and
 * a write that is less than a second from what it should be for a try to make it so: the first
 * one to a new machine, whose guest ran for no longer than that, would have no effect before Linux
 * 6.7. So the first processor's is written twice, the first time far away; for the others
 * that rule is what is wanted.
 *
 * Source: Linux Documentation/virt/kvm/api.rst; Intel SDM 3A, 10.5.4.1.
 */
#include "vmm/kvm-state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/mem.h"

#define MSR_TSC 0x10u
#define MSR_TSX_CTRL 0x122u
#define MSR_TSC_DEADLINE 0x6e0u

/* Far from any time that a guest has, in cycles: hours. */
#define TSC_FAR (1ull << 45)

/* The timer's entry of the local vector table, and its mode (Intel SDM 3A, 10.5.4). */
#define APIC_LVT_TIMER 0x320
#define APIC_TIMER_MODE (3u << 17)
#define APIC_TIMER_DEADLINE (2u << 17)
#define APIC_LVT_MASKED (1u << 16)

/**
 * kvm_clock_save() - what kvm-clock shows now
 * @ret_ns: nanoseconds
 *
 * Return: 0 or minus errno
 *
 * #syscalls as of a machine that is saved: ioctl
 */
int kvm_clock_save(const struct kvm *k, uint64_t *ret_ns, struct err *e)
{
	struct kvm_clock_data c = { 0 };

	if (ioctl(k->vm, KVM_GET_CLOCK, &c) < 0)
		return err_sys(e, "KVM_GET_CLOCK");
	*ret_ns = c.clock;
	return 0;
}

/**
 * kvm_clock_load() - let kvm-clock go on from @ns
 *
 * Return: 0 or minus errno
 *
 * #syscalls start: ioctl
 */
int kvm_clock_load(const struct kvm *k, uint64_t ns, struct err *e)
{
	struct kvm_clock_data c = { .clock = ns };

	return ioctl(k->vm, KVM_SET_CLOCK, &c) < 0 ? err_sys(e, "KVM_SET_CLOCK") : 0;
}

/* ---- MSRs ---------------------------------------------------------------------- */
/* One KVM_GET_MSRS or KVM_SET_MSRS. Return: how many of @n went well; minus errno */
static int transfer(int fd, unsigned long how, struct kvm_msr_entry *v, uint32_t n)
{
	_cleanup_free_ struct kvm_msrs *m = calloc(1, sizeof(*m) + n * sizeof(*v));
	int done;

	if (!m)
		return -ENOMEM;
	m->nmsrs = n;
	memcpy(m->entries, v, n * sizeof(*v));
	done = ioctl(fd, how, m);
	if (done < 0)
		return -errno;
	memcpy(v, m->entries, (size_t)done * sizeof(*v));
	return done;
}

static void swap(struct kvm_msr_entry *a, struct kvm_msr_entry *b)
{
	struct kvm_msr_entry t = *a;

	*a = *b;
	*b = t;
}

static void order(struct kvm_vcpu_state *s)
{
	uint32_t i;

	for (i = 0; i < s->n_msr; i++)
		if (s->msr[i].index == MSR_TSC)
			swap(&s->msr[i], &s->msr[0]);
	for (i = 0; i < s->n_msr; i++)
		if (s->msr[i].index == MSR_TSC_DEADLINE)
			swap(&s->msr[i], &s->msr[s->n_msr - 1]);
}

/**
 * kvm_vcpu_set_tsc() - let the TSC of a processor go on from where it was
 * @first: no other processor of this machine has been set yet
 * @tsc:   of the machine, the same for all
 *
 * Return: 0 or minus errno
 *
 * #syscalls start: ioctl
 */
int kvm_vcpu_set_tsc(int fd, bool first, uint64_t tsc, struct err *e)
{
	struct kvm_msr_entry far = { .index = MSR_TSC, .data = tsc + TSC_FAR };
	struct kvm_msr_entry right = { .index = MSR_TSC, .data = tsc };

	if ((first && transfer(fd, KVM_SET_MSRS, &far, 1) != 1) ||
	    transfer(fd, KVM_SET_MSRS, &right, 1) != 1)
		return err_set(e, EIO, "KVM_SET_MSRS: TSC");
	return 0;
}

/**
 * kvm_vcpu_tsc() - the TSC in the state of a processor; 0 where there is none
 */
uint64_t kvm_vcpu_tsc(const struct kvm_vcpu_state *s)
{
	return s->n_msr && s->msr[0].index == MSR_TSC ? s->msr[0].data : 0;
}

/* The numbers of all MSRs that this KVM saves; those that this processor lacks among them. */
static int list(const struct kvm *k, struct kvm_msr_list **ret, struct err *e)
{
	_cleanup_free_ struct kvm_msr_list *l =
		calloc(1, sizeof(*l) + KVM_STATE_MSRS_MAX * sizeof(l->indices[0]));

	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	l->nmsrs = KVM_STATE_MSRS_MAX;
	if (ioctl(k->sys, KVM_GET_MSR_INDEX_LIST, l) < 0)
		return err_sys(e, "KVM_GET_MSR_INDEX_LIST");
	/* Not in the list before Linux 6.5; twice is fine. */
	if (l->nmsrs < KVM_STATE_MSRS_MAX)
		l->indices[l->nmsrs++] = MSR_TSX_CTRL;
	*ret = l;
	l = NULL;
	return 0;
}

static int save_msrs(const struct kvm *k, int fd, struct kvm_vcpu_state *s, struct err *e)
{
	_cleanup_free_ struct kvm_msr_list *l = NULL;
	uint32_t i;
	int rc = list(k, &l, e);

	if (rc < 0)
		return rc;
	for (i = 0; i < l->nmsrs; i++) {
		s->msr[s->n_msr] = (struct kvm_msr_entry){ .index = l->indices[i] };
		rc = transfer(fd, KVM_GET_MSRS, &s->msr[s->n_msr], 1);
		if (rc < 0)
			return err_set(e, -rc, "KVM_GET_MSRS");
		s->n_msr += (uint32_t)rc;
	}
	order(s);
	return 0;
}

/*
 * KVM stops at the first one that it does not take. Such a one is passed over where
 * its value is there already: some can only be read.
 */
static int load_msrs(int fd, const struct kvm_vcpu_state *s, struct err *e)
{
	struct kvm_msr_entry v[KVM_STATE_MSRS_MAX], now;
	uint32_t at = kvm_vcpu_tsc(s) ? 1 : 0;
	int done;

	memcpy(v, s->msr, s->n_msr * sizeof(v[0]));
	while (at < s->n_msr) {
		done = transfer(fd, KVM_SET_MSRS, v + at, s->n_msr - at);
		if (done < 0)
			return err_set(e, -done, "KVM_SET_MSRS");
		at += (uint32_t)done;
		if (at == s->n_msr)
			break;
		now = (struct kvm_msr_entry){ .index = v[at].index };
		if (transfer(fd, KVM_GET_MSRS, &now, 1) != 1 || now.data != v[at].data)
			return err_set(e, EINVAL, "vCPU %u: KVM does not take MSR %#x", s->id,
				       v[at].index);
		at++;
	}
	return 0;
}

/* ---- processors ------------------------------------------------------------------ */
static uint32_t apic_reg(const struct kvm_lapic_state *a, size_t offset)
{
	uint32_t v;

	memcpy(&v, a->regs + offset, sizeof(v));
	return v;
}

/* See above: a deadline that had just passed. */
static void wake(struct kvm_vcpu_state *s)
{
	uint32_t lvt = apic_reg(&s->lapic, APIC_LVT_TIMER);
	struct kvm_msr_entry *last = s->n_msr ? &s->msr[s->n_msr - 1] : NULL;

	if (last && last->index == MSR_TSC_DEADLINE && !last->data && !(lvt & APIC_LVT_MASKED) &&
	    (lvt & APIC_TIMER_MODE) == APIC_TIMER_DEADLINE)
		last->data = kvm_vcpu_tsc(s);
}

static int xsave_bytes(const struct kvm *k)
{
	int n = ioctl(k->vm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	return n < (int)sizeof(struct kvm_xsave) ? (int)sizeof(struct kvm_xsave) : n;
}

static int save_xsave(const struct kvm *k, int fd, struct kvm_vcpu_state *s, struct err *e)
{
	int n = xsave_bytes(k);

	if (n > KVM_STATE_XSAVE_BYTES)
		return err_set(e, E2BIG, "vCPU %u: XSAVE of %d bytes, %d at most", s->id, n,
			       KVM_STATE_XSAVE_BYTES);
	if (ioctl(fd, n > (int)sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE,
		  s->xsave) < 0)
		return err_sys(e, "KVM_GET_XSAVE");
	return 0;
}

/**
 * kvm_vcpu_save() - read the state of a processor
 * @fd:  the vCPU, which is not in KVM_RUN and has nothing to finish (vmm/vcpu.c)
 * @ret: zeroed but for its id
 *
 * Return: 0 or minus errno
 *
 * #syscalls as of a machine that is saved: ioctl
 */
int kvm_vcpu_save(const struct kvm *k, int fd, struct kvm_vcpu_state *ret, struct err *e)
{
	int rc;

	if (ioctl(fd, KVM_GET_MP_STATE, &ret->mp) < 0)
		return err_sys(e, "KVM_GET_MP_STATE");
	if (ioctl(fd, KVM_GET_REGS, &ret->regs) < 0)
		return err_sys(e, "KVM_GET_REGS");
	if (ioctl(fd, KVM_GET_SREGS, &ret->sregs) < 0)
		return err_sys(e, "KVM_GET_SREGS");
	if (ioctl(fd, KVM_GET_VCPU_EVENTS, &ret->events) < 0)
		return err_sys(e, "KVM_GET_VCPU_EVENTS");
	if (ioctl(fd, KVM_GET_DEBUGREGS, &ret->debug) < 0)
		return err_sys(e, "KVM_GET_DEBUGREGS");
	if (ioctl(fd, KVM_GET_XCRS, &ret->xcrs) < 0)
		return err_sys(e, "KVM_GET_XCRS");
	if ((rc = save_xsave(k, fd, ret, e)) < 0 || (rc = save_msrs(k, fd, ret, e)) < 0)
		return rc;
	if (ioctl(fd, KVM_GET_LAPIC, &ret->lapic) < 0)
		return err_sys(e, "KVM_GET_LAPIC");
	wake(ret);
	return 0;
}

/**
 * kvm_vcpu_load() - put a processor into a state
 * @fd: a vCPU that has never run; its TSC is set
 * @s:  of one with the same CPUID; what KVM does not take is refused
 *
 * Return: 0; -EINVAL and others naming what KVM refused
 *
 * #syscalls start: ioctl
 */
int kvm_vcpu_load(int fd, const struct kvm_vcpu_state *s, struct err *e)
{
	int rc;

	if (s->n_msr > KVM_STATE_MSRS_MAX)
		return err_set(e, EINVAL, "vCPU %u: %u MSRs, %d at most", s->id, s->n_msr,
			       KVM_STATE_MSRS_MAX);
	if (ioctl(fd, KVM_SET_MP_STATE, &s->mp) < 0)
		return err_sys(e, "vCPU %u: KVM_SET_MP_STATE", s->id);
	if (ioctl(fd, KVM_SET_REGS, &s->regs) < 0)
		return err_sys(e, "vCPU %u: KVM_SET_REGS", s->id);
	if (ioctl(fd, KVM_SET_SREGS, &s->sregs) < 0)
		return err_sys(e, "vCPU %u: KVM_SET_SREGS", s->id);
	if (ioctl(fd, KVM_SET_XCRS, &s->xcrs) < 0)
		return err_sys(e, "vCPU %u: KVM_SET_XCRS", s->id);
	if (ioctl(fd, KVM_SET_XSAVE, s->xsave) < 0)
		return err_sys(e, "vCPU %u: KVM_SET_XSAVE", s->id);
	if (ioctl(fd, KVM_SET_DEBUGREGS, &s->debug) < 0)
		return err_sys(e, "vCPU %u: KVM_SET_DEBUGREGS", s->id);
	if (ioctl(fd, KVM_SET_LAPIC, &s->lapic) < 0)
		return err_sys(e, "vCPU %u: KVM_SET_LAPIC", s->id);
	rc = load_msrs(fd, s, e);
	if (rc < 0)
		return rc;
	if (ioctl(fd, KVM_SET_VCPU_EVENTS, &s->events) < 0)
		return err_sys(e, "vCPU %u: KVM_SET_VCPU_EVENTS", s->id);
	return 0;
}
