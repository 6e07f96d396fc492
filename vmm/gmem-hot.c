// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Memory that the guest plugs and unplugs by blocks (vmm/virtio/mem.c). The whole
 * region is mapped from the start. A plugged block can be written and read; an
 * unplugged one holds no pages of the host and cannot be written. So a guest has
 * what it plugged and no more, whatever it touches, and KVM need not be told.
 *
 * Unplugged blocks can be read, as zeros: the kernel maps its page of zeros. A guest
 * that reads behind the end of a plugged block does so by accident (Linux reads
 * names by whole words, across the end of a page) and must not be killed for it.
 * What is left to a guest that reads all of the region is the memory of page
 * tables, 1/256 of the region at most. A guest that writes there gets KVM_RUN to
 * fail, which ends the machine.
 *
 * The monitor itself. gmem_span() gives no address in an unplugged block; but who
 * got one before may still hold it: rings, buffers of a request that waits for a
 * disk, a kernel thread. Nobody keeps account of those. Instead every such access
 * is harmless:
 *
 *   a read           zeros
 *   a system call    EFAULT; a device answers its request with an error
 *   a write by us    SIGSEGV; the handler below opens the block (a "stray" one) and
 *                    the write goes on, into memory that the guest has given up
 *
 * Stray blocks are closed and emptied by gmem_hot_sweep(), which a timer calls,
 * so that late writes hold memory for a second at most. Whoever is still in the middle
 * of one then meets the handler again. The handler knows the one machine of this
 * process, and lets every other fault go the way it would have gone.
 *
 * Order, so that no write gets lost and no block stays open unseen:
 *
 *   plug    writable, then the bit
 *   unplug  the bit, then not writable, then emptied
 *   handler sees no bit: writable, then the stray bit, then the timer
 *
 * A handler that comes in between plug and unplug opens at worst a block that is
 * unplugged, and has it swept.
 *
 * Limits: GMEM_BLOCKS_MAX blocks, since each may become a mapping of its own and
 * a process has 65530 (vm.max_map_count); larger regions have larger blocks.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <ucontext.h>

#include "vmm/gmem.h"

/* How long a stray block may stay. */
#define SWEEP_S 1

static struct gmem *watched;		/* atomic; borrowed */
static struct sigaction before;
static bool installed;

static bool test_bit(const uint64_t *map, uint32_t i)
{
	return __atomic_load_n(&map[i / 64], __ATOMIC_SEQ_CST) >> (i % 64) & 1;
}

static void set_bit(uint64_t *map, uint32_t i)
{
	__atomic_fetch_or(&map[i / 64], 1ull << (i % 64), __ATOMIC_SEQ_CST);
}

static void clear_bit(uint64_t *map, uint32_t i)
{
	__atomic_fetch_and(&map[i / 64], ~(1ull << (i % 64)), __ATOMIC_SEQ_CST);
}

static uint8_t *block_hva(const struct gmem_hot *h, uint32_t i)
{
	return h->r.hva + i * h->block_bytes;
}

static void sweep_later(const struct gmem_hot *h)
{
	struct itimerspec t = { .it_value.tv_sec = SWEEP_S };

	if (h->sweep_fd >= 0)
		timerfd_settime(h->sweep_fd, 0, &t, NULL);
}

/* In the handler: makes way for a write. Return: false if it is none of ours */
static bool let_in(struct gmem_hot *h, const uint8_t *at)
{
	uint32_t i;

	if (at < h->r.hva || (uint64_t)(at - h->r.hva) >= h->r.len)
		return false;
	i = (uint32_t)((uint64_t)(at - h->r.hva) / h->block_bytes);
	if (test_bit(h->plugged, i))
		return true;	/* plugged meanwhile */
	if (mprotect(block_hva(h, i), h->block_bytes, PROT_READ | PROT_WRITE) < 0)
		return false;
	set_bit(h->stray, i);
	if (!__atomic_exchange_n(&h->astray, true, __ATOMIC_SEQ_CST))
		sweep_later(h);
	return true;
}

/*
 * What is none of ours goes to the handler that was there before, or ends the
 * process: a fault whose signal is blocked does, without a system call that the
 * sandbox would have to allow.
 */
static void on_fault(int sig, siginfo_t *si, void *context)
{
	struct gmem *m = __atomic_load_n(&watched, __ATOMIC_SEQ_CST);
	ucontext_t *u = context;
	int saved = errno;

	if (m && si->si_code == SEGV_ACCERR && let_in(&m->hot, si->si_addr)) {
		errno = saved;
		return;
	}
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(sig, si, context);
	else
		sigaddset(&u->uc_sigmask, sig);
	errno = saved;
}

/**
 * gmem_hot_init() - map a region whose blocks are all unplugged
 * @m:   gets its @hot
 * @hva: in the reservation, a multiple of 2 MiB like @gpa
 * @len: multiple of VMM_HOTPLUG_STEP_BYTES, 1 TiB at most
 *
 * Return: 0 or minus errno
 */
int gmem_hot_init(struct gmem *m, uint8_t *hva, uint64_t gpa, uint64_t len, struct err *e)
{
	struct gmem_hot *h = &m->hot;
	uint64_t block = GMEM_BLOCK_MIN_BYTES;
	void *p;

	/* Up to 64 MiB, so that @len stays a multiple. */
	while (len / block > GMEM_BLOCKS_MAX)
		block *= 2;
	p = mmap(hva, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		 -1, 0);
	if (p == MAP_FAILED)
		return err_sys(e, "pluggable memory of %llu MiB", (unsigned long long)len >> 20);
	h->r = (struct gmem_region){ .gpa = gpa, .len = len, .hva = p };
	h->block_bytes = block;
	h->n = (uint32_t)(len / block);
	return 0;
}

/**
 * gmem_hot_watch() - make late writes to unplugged blocks harmless from now on
 * @m: stays where it is until gmem_done()
 *
 * Return: 0 or minus errno
 * Context: the process's handler of SIGSEGV is ours afterwards, for good; it may run in
 * every thread that touches guest memory, under each filter
 *
 * #syscalls start: rt_sigaction
 * #syscalls mprotect timerfd_settime rt_sigreturn
 */
int gmem_hot_watch(struct gmem *m, struct err *e)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	__atomic_store_n(&watched, m, __ATOMIC_SEQ_CST);
	if (installed)
		return 0;
	if (sigaction(SIGSEGV, &sa, &before) < 0)
		return err_sys(e, "sigaction");
	installed = true;
	return 0;
}

/**
 * gmem_hot_done() - watch no longer; a zeroed one is fine
 * Context: nobody accesses the region any more
 */
void gmem_hot_done(struct gmem *m)
{
	struct gmem *expected = m;

	__atomic_compare_exchange_n(&watched, &expected, NULL, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
}

/**
 * gmem_hot_span() - gmem_span() for the pluggable region
 *
 * Return: 0; -EFAULT unless every block that the range touches is plugged
 * Context: any thread; does not block, allocate or log
 *
 * #syscalls none
 */
int gmem_hot_span(const struct gmem *m, uint64_t gpa, uint64_t len, void **ret_hva)
{
	const struct gmem_hot *h = &m->hot;
	uint64_t at = gpa - h->r.gpa;
	uint32_t i;

	if (gpa < h->r.gpa || at >= h->r.len || len > h->r.len - at)
		return -EFAULT;
	for (i = (uint32_t)(at / h->block_bytes); i <= (at + len - 1) / h->block_bytes; i++)
		if (!test_bit(h->plugged, i))
			return -EFAULT;
	*ret_hva = h->r.hva + at;
	return 0;
}

/**
 * gmem_hot_count() - how many of the blocks @first to @first + @n - 1 are plugged
 * @first, @n: inside the region
 *
 * #syscalls none
 */
uint32_t gmem_hot_count(const struct gmem *m, uint32_t first, uint32_t n)
{
	uint32_t i, sum = 0;

	for (i = first; i - first < n; i++)
		sum += test_bit(m->hot.plugged, i);
	return sum;
}

/**
 * gmem_hot_run() - how many blocks from @first on are in one state
 * @n: blocks to look at, inside the region
 *
 * Return: 0 to @n
 *
 * #syscalls none
 */
uint32_t gmem_hot_run(const struct gmem *m, uint32_t first, uint32_t n, bool plugged)
{
	uint32_t i = 0;

	while (i < n && test_bit(m->hot.plugged, first + i) == plugged)
		i++;
	return i;
}

/**
 * gmem_hot_plug() - make unplugged blocks usable
 * @first, @n: inside the region
 *
 * Return: 0; minus errno with nothing changed
 * Context: I/O thread
 *
 * #syscalls mprotect
 */
int gmem_hot_plug(struct gmem *m, uint32_t first, uint32_t n)
{
	struct gmem_hot *h = &m->hot;
	uint32_t i;

	if (mprotect(block_hva(h, first), n * h->block_bytes, PROT_READ | PROT_WRITE) < 0)
		return -errno;
	for (i = first; i - first < n; i++)
		set_bit(h->plugged, i);
	return 0;
}

/* Not writable, and empty. */
static int shut(const struct gmem_hot *h, uint32_t first, uint32_t n)
{
	if (mprotect(block_hva(h, first), n * h->block_bytes, PROT_READ) < 0)
		return -errno;
	return madvise(block_hva(h, first), n * h->block_bytes, MADV_DONTNEED) < 0 ? -errno : 0;
}

/**
 * gmem_hot_unplug() - take plugged blocks away from the guest and give them back
 * @first, @n: inside the region
 *
 * Return: 0; minus errno: they are plugged as before, if the host lets them, and
 * their content may be gone
 * Context: I/O thread; takes about a millisecond for each 32 MiB that are in use
 *
 * #syscalls mprotect madvise
 */
int gmem_hot_unplug(struct gmem *m, uint32_t first, uint32_t n)
{
	struct gmem_hot *h = &m->hot;
	uint32_t i;
	int rc;

	for (i = first; i - first < n; i++)
		clear_bit(h->plugged, i);
	rc = shut(h, first, n);
	if (rc < 0)
		gmem_hot_plug(m, first, n);
	return rc;
}

/**
 * gmem_hot_sweep() - close and empty the blocks that late writes have opened
 *
 * A block that the host refuses to close is tried again with the next sweep.
 *
 * Context: I/O thread
 *
 * #syscalls mprotect madvise timerfd_settime
 */
void gmem_hot_sweep(struct gmem *m)
{
	struct gmem_hot *h = &m->hot;
	bool again = false;
	uint32_t i;

	/* Before the first look: who opens one behind us arms the timer again. */
	__atomic_store_n(&h->astray, false, __ATOMIC_SEQ_CST);
	for (i = 0; i < h->n; i++) {
		if (!test_bit(h->stray, i))
			continue;
		clear_bit(h->stray, i);
		if (test_bit(h->plugged, i) || !shut(h, i, 1))
			continue;
		set_bit(h->stray, i);
		again = true;
	}
	if (again && !__atomic_exchange_n(&h->astray, true, __ATOMIC_SEQ_CST))
		sweep_later(h);
}
