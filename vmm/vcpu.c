// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * One thread per vCPU around KVM_RUN. Stages:
 *
 *   WAIT  threads exist and have confined themselves; none has entered the guest
 *   GO    they run
 *   PAUSE they leave the guest and wait; GO follows, or STOP
 *   STOP  they leave the guest and end; there is no way back
 *
 * Threads are made before the process is confined, since clone is fatal
 * afterwards. To make them leave, immediate_exit is set, which makes the next
 * KVM_RUN return at once, and then the thread is signalled, which makes the
 * current one return; so no order of the two is lost. A thread waits behind such a
 * return only: by then KVM has carried out what the guest's last access to a device
 * still wanted (a register that is to get what was read), so that the processor's
 * state is whole (vmm/kvm-state.c). While all are paused nobody
 * but the I/O thread looks at buses and devices, so it may take one away.
 *
 * An exit touches registers and wakes the I/O thread; it does no I/O itself. What
 * ends the machine is told to bus->event, and the thread ends.
 */
#include "vmm/vcpu.h"

#include <errno.h>
#include <limits.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "lib/mem.h"
#include "vmm/metrics.h"

#define SIGNAL_LEAVE SIGUSR1

static void on_signal(int sig)
{
	(void)sig;	/* its only effect is to interrupt KVM_RUN */
}

static void pio(struct vcpu *v)
{
	struct kvm_run *r = v->run;
	uint8_t *p = (uint8_t *)r + r->io.data_offset;
	uint32_t i;

	for (i = 0; i < r->io.count; i++, p += r->io.size)
		bus_pio(v->all->bus, r->io.port, p, r->io.size,
			r->io.direction == KVM_EXIT_IO_OUT);
}

static void fail(struct vcpu *v, const char *what, uint64_t number)
{
	char text[160];

	snprintf(text, sizeof(text), "vCPU %u: %s %#llx", v->id, what,
		 (unsigned long long)number);
	v->all->bus->event(v->all->bus->arg, VMM_EVENT_ERROR, text);
}

static void system_event(struct vcpu *v)
{
	struct bus *b = v->all->bus;

	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		b->event(b->arg, VMM_EVENT_SHUTDOWN, "the guest powered itself off");
		break;
	case KVM_SYSTEM_EVENT_RESET:
		b->event(b->arg, VMM_EVENT_RESET, "the guest asked for a reset");
		break;
	default:
		fail(v, "the guest crashed: system event", v->run->system_event.type);
	}
}

/* Return: false when this vCPU cannot go on */
static bool handle(struct vcpu *v)
{
	struct kvm_run *r = v->run;
	struct bus *b = v->all->bus;

	switch (r->exit_reason) {
	case KVM_EXIT_IO:
		metrics_exit(VMM_EXIT_PIO);
		pio(v);
		return true;
	case KVM_EXIT_MMIO:
		metrics_exit(VMM_EXIT_MMIO);
		bus_mmio(b, r->mmio.phys_addr, r->mmio.data, r->mmio.len,
			 r->mmio.is_write);
		return true;
	case KVM_EXIT_HLT:
		metrics_exit(VMM_EXIT_HLT);
		return true;
	case KVM_EXIT_INTR:
		metrics_exit(VMM_EXIT_INTR);
		return true;
	case KVM_EXIT_IOAPIC_EOI:
		metrics_exit(VMM_EXIT_EOI);
		return true;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		metrics_exit(VMM_EXIT_IRQ_WINDOW);
		return true;
	case KVM_EXIT_SHUTDOWN:
		metrics_exit(VMM_EXIT_SHUTDOWN);
		b->event(b->arg, VMM_EVENT_RESET, "the guest reset itself by a triple fault");
		return false;
	case KVM_EXIT_SYSTEM_EVENT:
		metrics_exit(VMM_EXIT_SYSTEM_EVENT);
		system_event(v);
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		metrics_exit(VMM_EXIT_INTERNAL_ERROR);
		fail(v, "KVM internal error, suberror", r->internal.suberror);
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		metrics_exit(VMM_EXIT_FAIL_ENTRY);
		fail(v, "KVM cannot enter the guest, hardware reason",
		     r->fail_entry.hardware_entry_failure_reason);
		return false;
	default:
		metrics_exit(VMM_EXIT_OTHER);
		fail(v, "KVM exit that is not handled:", r->exit_reason);
		return false;
	}
}

/* Waits out a pause; false when this thread has to end. */
static bool may_run(struct vcpus *c)
{
	bool go;

	pthread_mutex_lock(&c->lock);
	c->idle++;
	pthread_cond_broadcast(&c->changed);
	while (c->stage == VCPU_PAUSE)
		pthread_cond_wait(&c->changed, &c->lock);
	c->idle--;
	go = c->stage == VCPU_GO;
	pthread_mutex_unlock(&c->lock);
	return go;
}

/* Waits where the thread was told to leave the guest. Return: true at its end */
static bool must_leave(struct vcpus *c)
{
	return atomic_load_explicit(&c->leave, memory_order_acquire) && !may_run(c);
}

static void run(struct vcpu *v)
{
	struct vcpus *c = v->all;

	if (v->id == 0)
		metrics_stamp(METRICS_RUN);
	if (must_leave(c))
		return;
	for (;;) {
		int rc = kvm_vcpu_run(v->fd);

		if (rc == -EINTR || rc == -EAGAIN) {
			metrics_exit(VMM_EXIT_INTR);
			if (must_leave(c))
				return;
			continue;
		}
		if (rc < 0) {
			metrics_exit(VMM_EXIT_FAULT);
			fail(v, rc == -EFAULT ? "no host memory for the guest, or a write to memory that it has not plugged: KVM_RUN errno"
					      : "KVM_RUN errno", (uint64_t)-rc);
			return;
		}
		if (!handle(v))
			return;
	}
}

static void *thread(void *arg)
{
	struct vcpu *v = arg;
	struct vcpus *c = v->all;
	struct err e;
	char name[16];
	int rc;

	snprintf(name, sizeof(name), "vcpu%u", v->id);
	prctl(PR_SET_NAME, name);
	rc = sandbox_enter(c->filter, &e);
	pthread_mutex_lock(&c->lock);
	if (rc < 0 && !c->rc) {
		c->rc = rc;
		c->why = e;
	}
	c->ready++;
	pthread_cond_broadcast(&c->changed);
	while (c->stage == VCPU_WAIT)
		pthread_cond_wait(&c->changed, &c->lock);
	pthread_mutex_unlock(&c->lock);
	run(v);
	pthread_mutex_lock(&c->lock);
	c->idle++;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/**
 * vcpus_init() - make the virtual processors, without threads
 * @n:   1 to VMM_VCPUS_MAX
 * @kvm: has its memory; borrowed, like @bus, until vcpus_done()
 *
 * Return: 0 or minus errno; vcpus_done() is fine in both cases
 */
int vcpus_init(struct vcpus *c, struct kvm *kvm, struct bus *bus, uint32_t n,
	       struct err *e)
{
	uint32_t i;

	c->kvm = kvm;
	c->bus = bus;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	c->v = mem_new_n(struct vcpu, n);
	if (!c->v)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < n; i++) {
		struct vcpu *v = &c->v[i];
		int rc;

		v->all = c;
		v->id = i;
		v->joined = true;
		rc = kvm_vcpu_new(kvm, i, n, &v->fd, &v->run, e);
		if (rc < 0)
			return rc;
		c->n++;
	}
	return 0;
}

/* @made: how many there are, also after a failure */
static int make_threads(struct vcpus *c, uint32_t *made, struct err *e)
{
	pthread_attr_t attr;
	size_t stack = VCPU_STACK_BYTES;
	uint32_t i;
	int rc = 0;

	if (stack < (size_t)PTHREAD_STACK_MIN)
		stack = (size_t)PTHREAD_STACK_MIN;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, stack);
	for (i = 0; i < c->n && !rc; i++) {
		rc = pthread_create(&c->v[i].thread, &attr, thread, &c->v[i]);
		c->v[i].joined = rc != 0;
		*made += !rc;
	}
	pthread_attr_destroy(&attr);
	return rc ? err_set(e, rc, "thread of vCPU %u", *made) : 0;
}

/**
 * vcpus_start() - make the threads; each confines itself and waits
 * @filter: borrowed until this returns
 *
 * Return: 0; the failure of the first thread that could not be made or confine itself
 */
int vcpus_start(struct vcpus *c, const struct sandbox_filter *filter, struct err *e)
{
	struct sigaction sa = { .sa_handler = on_signal };
	uint32_t made = 0;
	int rc;

	if (sigaction(SIGNAL_LEAVE, &sa, NULL) < 0)
		return err_sys(e, "sigaction");
	c->filter = filter;
	rc = make_threads(c, &made, e);
	/* Those before the one that could not be made read the filter, too. */
	pthread_mutex_lock(&c->lock);
	while (c->ready < made)
		pthread_cond_wait(&c->changed, &c->lock);
	if (!rc && c->rc < 0) {
		rc = c->rc;
		*e = c->why;
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

static void set_stage(struct vcpus *c, enum vcpu_stage stage)
{
	pthread_mutex_lock(&c->lock);
	c->stage = stage;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

/**
 * vcpus_go() - enter the guest
 */
void vcpus_go(struct vcpus *c)
{
	set_stage(c, VCPU_GO);
}

/* Makes all threads leave the guest and look at @stage. */
static void leave(struct vcpus *c, enum vcpu_stage stage)
{
	uint32_t i;

	/* The flag first: one that still waits for its start must not enter. */
	atomic_store_explicit(&c->leave, true, memory_order_release);
	for (i = 0; i < c->n; i++)
		__atomic_store_n(&c->v[i].run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	set_stage(c, stage);
	for (i = 0; i < c->n; i++)
		if (!c->v[i].joined)
			pthread_kill(c->v[i].thread, SIGNAL_LEAVE);
}

/**
 * vcpus_pause() - make all threads leave the guest until vcpus_resume()
 *
 * Does nothing unless they run.
 *
 * Context: I/O thread, without any lock; waits for the threads
 */
void vcpus_pause(struct vcpus *c)
{
	if (c->stage != VCPU_GO)
		return;
	leave(c, VCPU_PAUSE);
	pthread_mutex_lock(&c->lock);
	while (c->idle < c->n)
		pthread_cond_wait(&c->changed, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

/**
 * vcpus_resume() - the end of vcpus_pause()
 *
 * The guest is told that it stood still, so that its watchdogs do not bite.
 * Does nothing unless they are paused.
 *
 * Context: I/O thread, without any lock
 */
void vcpus_resume(struct vcpus *c)
{
	uint32_t i;

	if (c->stage != VCPU_PAUSE)
		return;
	for (i = 0; i < c->n; i++) {
		__atomic_store_n(&c->v[i].run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		kvm_vcpu_stood_still(c->v[i].fd);
	}
	atomic_store_explicit(&c->leave, false, memory_order_release);
	set_stage(c, VCPU_GO);
}

/**
 * vcpus_stop() - make all threads leave the guest and wait for their end
 *
 * Context: I/O thread, without any lock; may be called twice
 */
void vcpus_stop(struct vcpus *c)
{
	uint32_t i;

	if (!c->v)
		return;
	leave(c, VCPU_STOP);
	for (i = 0; i < c->n; i++) {
		if (c->v[i].joined)
			continue;
		pthread_join(c->v[i].thread, NULL);
		c->v[i].joined = true;
	}
}

/**
 * vcpus_done() - stop and free; a zeroed one is fine
 */
void vcpus_done(struct vcpus *c)
{
	uint32_t i;

	vcpus_stop(c);
	for (i = 0; i < c->n; i++)
		kvm_vcpu_done(c->kvm, &c->v[i].fd, &c->v[i].run);
	free(c->v);
	c->v = NULL;
	c->n = 0;
}
