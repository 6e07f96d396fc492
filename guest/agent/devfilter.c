// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The device rules of a container as a BPF program on its cgroup. OCI's rules
 * are a list in which the last one that matches decides; so the program asks
 * them from the last to the first. A request may want several kinds of access
 * at once, and each kind is decided by itself: an allowing rule takes its
 * kinds off the wish, which is granted once nothing of it is left; a denying
 * rule that has one of what is left refuses. No rule left: refused. The
 * program is loaded with the container's creation but attached when its child
 * is ready: until then the child opens disks and makes device nodes.
 *
 * Sources: OCI runtime-spec config-linux.md "Allowed Device list"; kernel
 * Documentation/admin-guide/cgroup-v2.rst "Device controller"; linux/bpf.h
 * struct bpf_cgroup_dev_ctx.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/agent/agent.h"
#include "lib/mem.h"

#define RULES_MAX 512
#define INSNS_PER_RULE 9
#define INSNS_MAX (RULES_MAX * INSNS_PER_RULE + 8)

#define INSN(c, d, s, o, i) \
	((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define LOAD_U32(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_W, d, s, o, 0)
#define JUMP_NOT(d, i, o) INSN(BPF_JMP | BPF_JNE | BPF_K, d, 0, o, i)
#define MOVE(d, i) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* Registers of the program: what is asked for. */
enum { R_RESULT, R_CTX, R_TYPE, R_WISH, R_MAJOR, R_MINOR, R_TMP };

static int32_t type_of(uint32_t letter)
{
	return letter == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR;
}

/* One rule; jumps over itself where the device does not match. */
static size_t rule_insns(const Podvm__DeviceRule *r, struct bpf_insn *p)
{
	int32_t access = (int32_t)(r->access & 7);
	size_t n = 0, i;

	if (r->type != 'a')
		p[n++] = JUMP_NOT(R_TYPE, type_of(r->type), 0);
	if (r->major >= 0)
		p[n++] = JUMP_NOT(R_MAJOR, (int32_t)r->major, 0);
	if (r->minor >= 0)
		p[n++] = JUMP_NOT(R_MINOR, (int32_t)r->minor, 0);
	if (r->allow) {
		p[n++] = INSN(BPF_ALU64 | BPF_AND | BPF_K, R_WISH, 0, 0, ~access & 7);
		p[n++] = JUMP_NOT(R_WISH, 0, 2);
		p[n++] = MOVE(R_RESULT, 1);
	} else {
		p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, R_TMP, R_WISH, 0, 0);
		p[n++] = INSN(BPF_ALU64 | BPF_AND | BPF_K, R_TMP, 0, 0, access);
		p[n++] = INSN(BPF_JMP | BPF_JEQ | BPF_K, R_TMP, 0, 2, 0);
		p[n++] = MOVE(R_RESULT, 0);
	}
	p[n++] = EXIT;
	for (i = 0; i < n && p[i].code == (BPF_JMP | BPF_JNE | BPF_K) &&
		    p[i].dst_reg != R_WISH; i++)
		p[i].off = (int16_t)(n - i - 1);
	return n;
}

/**
 * devfilter_build() - the program for a list of rules
 * @rules: as in the message; types other than 'a', 'b', 'c' are the caller's mistake
 * @ret:   room for @room instructions
 *
 * Return: number of instructions; 0 when they do not fit
 */
size_t devfilter_build(Podvm__DeviceRule *const *rules, size_t n,
		       struct bpf_insn *ret, size_t room)
{
	size_t len = 0, i;

	if (n > RULES_MAX || room < n * INSNS_PER_RULE + 8)
		return 0;
	ret[len++] = LOAD_U32(R_TYPE, R_CTX, 0);
	ret[len++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, R_WISH, R_TYPE, 0, 0);
	ret[len++] = INSN(BPF_ALU64 | BPF_AND | BPF_K, R_TYPE, 0, 0, 0xffff);
	ret[len++] = INSN(BPF_ALU64 | BPF_RSH | BPF_K, R_WISH, 0, 0, 16);
	ret[len++] = LOAD_U32(R_MAJOR, R_CTX, 4);
	ret[len++] = LOAD_U32(R_MINOR, R_CTX, 8);
	for (i = n; i-- > 0;)
		len += rule_insns(rules[i], ret + len);
	ret[len++] = MOVE(R_RESULT, 0);
	ret[len++] = EXIT;
	return len;
}

static int check_rules(Podvm__DeviceRule *const *rules, size_t n, struct err *e)
{
	size_t i;

	if (n > RULES_MAX)
		return err_set(e, E2BIG, "%zu device rules, at most %d", n, RULES_MAX);
	for (i = 0; i < n; i++) {
		const Podvm__DeviceRule *r = rules[i];

		if (r->type != 'a' && r->type != 'b' && r->type != 'c')
			return err_set(e, EINVAL, "device rule %zu: type %u is not a, b or c",
				       i, r->type);
		if (r->major > INT32_MAX || r->minor > INT32_MAX || r->access > 7)
			return err_set(e, EINVAL, "device rule %zu: number out of range", i);
	}
	return 0;
}

/**
 * devfilter_load() - hand a list of rules to the kernel
 * @rules:  none: no restriction
 * @ret_fd: the program, owned by the caller; -1 without rules
 *
 * Return: 0 or minus errno
 */
int devfilter_load(Podvm__DeviceRule *const *rules, size_t n, int *ret_fd,
		   struct err *e)
{
	static const char licence[] = "Apache-2.0";
	_cleanup_free_ struct bpf_insn *prog = NULL;
	union bpf_attr attr;
	int rc;

	*ret_fd = -1;
	if (!n)
		return 0;
	rc = check_rules(rules, n, e);
	if (rc < 0)
		return rc;
	prog = mem_new_n(struct bpf_insn, INSNS_MAX);
	if (!prog)
		return err_set(e, ENOMEM, "out of memory");
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insn_cnt = (uint32_t)devfilter_build(rules, n, prog, INSNS_MAX);
	attr.insns = (uint64_t)(uintptr_t)prog;
	attr.license = (uint64_t)(uintptr_t)licence;
	*ret_fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	return *ret_fd < 0 ? err_sys(e, "device rules: load of the program") : 0;
}

/**
 * devfilter_attach() - let a cgroup's processes reach only what the rules allow
 * @cgroup_fd: directory, borrowed
 * @prog_fd:   of devfilter_load(), borrowed; -1: no restriction
 *
 * Return: 0 or minus errno
 */
int devfilter_attach(int cgroup_fd, int prog_fd, struct err *e)
{
	union bpf_attr attr;

	if (prog_fd < 0)
		return 0;
	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)cgroup_fd;
	attr.attach_bpf_fd = (uint32_t)prog_fd;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)) < 0)
		return err_sys(e, "device rules: attach to the cgroup");
	return 0;
}
