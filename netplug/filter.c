// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Compiles the language of pcap-filter(7) to classic BPF, by libpcap; its compiler
 * is all that is used of it. The kernel runs the program, here or in the guest, over
 * Ethernet frames without the VLAN tag that a device keeps apart.
 *
 * The library comes by dlopen(3), because this program is a CNI plugin, too, which
 * an engine starts for every pod and which never needs it: with the libraries that it
 * wants for capture devices of other kinds, loading it takes half as long again as
 * starting a program (1.6 and 2.4 ms).
 */
#include "netplug/filter.h"

#include <dlfcn.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/packet.h"

#define LIBRARY "libpcap.so.0.8"

/* What is used of the library. */
struct library {
	__typeof__(pcap_open_dead) *open_dead;
	__typeof__(pcap_compile) *compile;
	__typeof__(pcap_geterr) *geterr;
	__typeof__(pcap_freecode) *freecode;
	__typeof__(pcap_close) *close;
};

static int load(struct library *l, struct err *e)
{
	void *lib = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		return err_set(e, ENOENT, "filters need libpcap (package libpcap0.8): %s",
			       dlerror());
	l->open_dead = (__typeof__(l->open_dead))dlsym(lib, "pcap_open_dead");
	l->compile = (__typeof__(l->compile))dlsym(lib, "pcap_compile");
	l->geterr = (__typeof__(l->geterr))dlsym(lib, "pcap_geterr");
	l->freecode = (__typeof__(l->freecode))dlsym(lib, "pcap_freecode");
	l->close = (__typeof__(l->close))dlsym(lib, "pcap_close");
	if (!l->open_dead || !l->compile || !l->geterr || !l->freecode || !l->close)
		return err_set(e, ENOSYS, LIBRARY " lacks what filters need");
	return 0; /* it stays loaded */
}

static int copy(const struct bpf_program *p, struct filter *ret, struct err *e)
{
	size_t i;

	if (p->bf_len > PACKET_FILTER_MAX)
		return err_set(e, E2BIG, "%u instructions, at most %u", p->bf_len,
			       PACKET_FILTER_MAX);
	ret->insn = mem_new_n(struct sock_filter, p->bf_len);
	if (!ret->insn)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < p->bf_len; i++) {
		const struct bpf_insn *in = &p->bf_insns[i];

		ret->insn[i] = (struct sock_filter){ in->code, in->jt, in->jf, in->k };
	}
	ret->n = p->bf_len;
	return 0;
}

/**
 * filter_compile() - compile an expression of pcap-filter(7)
 * @expression: NULL or empty: all packets, and the library is not needed
 * @ret:        owned by the caller, filter_done()
 *
 * Return: 0; -EINVAL with what is wrong with it; -ENOENT without the library; minus errno
 */
int filter_compile(const char *expression, struct filter *ret, struct err *e)
{
	struct bpf_program prog = { 0 };
	struct library l = { 0 };
	pcap_t *p;
	int rc;

	memset(ret, 0, sizeof(*ret));
	if (!expression || !*expression)
		return 0;
	rc = load(&l, e);
	if (rc < 0)
		return rc;
	p = l.open_dead(DLT_EN10MB, PACKET_SNAPLEN_MAX);
	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	if (l.compile(p, &prog, expression, 1, PCAP_NETMASK_UNKNOWN) < 0) {
		rc = err_set(e, EINVAL, "filter: %s; see pcap-filter(7)", l.geterr(p));
	} else {
		rc = copy(&prog, ret, e);
		l.freecode(&prog);
	}
	l.close(p);
	return rc;
}

/**
 * filter_done() - free a filter; one that is zero is fine
 */
void filter_done(struct filter *f)
{
	free(f->insn);
	memset(f, 0, sizeof(*f));
}
