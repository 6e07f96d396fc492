// SPDX-License-Identifier: Apache-2.0
/*
 * The agent's parsers and generators, compiled for the host: passwd, PATH,
 * device program, route order, paths inside a hostile root, processors.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Each is a program of its own as far as static names go. */
#define not_found user_not_found
#include "guest/agent/user.c"
#include "guest/agent/devfilter.c"
#include "guest/agent/nl.c"
#undef SERIAL_PREFIX
#include "guest/agent/disk.c"
#include "guest/agent/net.c"
#include "guest/agent/netstate.c"
#include "guest/agent/netroute.c"
#include "guest/agent/setup.c"
#include "guest/agent/copyup.c"
#include "guest/agent/mount.c"
#include "guest/agent/share.c"
#include "guest/agent/mirror.c"
#include "guest/agent/cpu.c"

#include "lib/fd.h"

Suite *agent_guest_suite(void);

static int home(const char *text, uint32_t uid, char *buf, size_t room)
{
	return user_home(text, strlen(text), uid, buf, room);
}

START_TEST(passwd_finds_the_home)
{
	static const char text[] = "root:x:0:0:root:/root:/bin/sh\n"
				   "\n:::\nbad\nx:x:-7:0::/no:/\ny:x:7x:0::/no:/\n"
				   "long:x:99999999999999999999:0::/no:/\n"
				   "joe:x:7:7:Joe:/home/joe:/bin/sh";
	char buf[64];

	ck_assert_int_eq(home(text, 7, buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, "/home/joe");
	ck_assert_int_eq(home(text, 0, buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, "/root");
	ck_assert_int_eq(home(text, 8, buf, sizeof(buf)), -ENOENT);
	ck_assert_int_eq(home(text, 7, buf, 9), -ENOENT);
	ck_assert_int_eq(home("", 0, buf, sizeof(buf)), -ENOENT);
	ck_assert_int_eq(home("a:b:0:0:c::d", 0, buf, sizeof(buf)), -ENOENT);
}
END_TEST

START_TEST(passwd_survives_any_prefix)
{
	static const char text[] = "a:x:1:1:g:/h:/s\nb:x:2:2:g:/i:/s\n";
	char buf[8];
	size_t n;

	for (n = 0; n < sizeof(text); n++) {
		char *exact = malloc(n ? n : 1);

		memcpy(exact, text, n);
		user_home(exact, n, 2, buf, sizeof(buf));
		free(exact);
	}
}
END_TEST

/* A small interpreter of what devfilter_build() makes. */
static int run_prog(const struct bpf_insn *p, size_t n, const uint32_t ctx[3])
{
	uint64_t r[11] = { 0 };
	size_t pc;

	for (pc = 0; pc < n; pc++) {
		const struct bpf_insn *i = &p[pc];

		switch (i->code) {
		case BPF_LDX | BPF_MEM | BPF_W: r[i->dst_reg] = ctx[i->off / 4]; break;
		case BPF_ALU64 | BPF_MOV | BPF_X: r[i->dst_reg] = r[i->src_reg]; break;
		case BPF_ALU64 | BPF_MOV | BPF_K: r[i->dst_reg] = (uint64_t)i->imm; break;
		case BPF_ALU64 | BPF_AND | BPF_K: r[i->dst_reg] &= (uint64_t)(int64_t)i->imm; break;
		case BPF_ALU64 | BPF_RSH | BPF_K: r[i->dst_reg] >>= i->imm; break;
		case BPF_JMP | BPF_JNE | BPF_K:
			pc += r[i->dst_reg] != (uint64_t)(int64_t)i->imm ? (size_t)i->off : 0;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += r[i->dst_reg] == (uint64_t)(int64_t)i->imm ? (size_t)i->off : 0;
			break;
		case BPF_JMP | BPF_EXIT: return (int)r[0];
		default: ck_abort_msg("instruction 0x%x", i->code);
		}
	}
	ck_abort_msg("no exit");
	return -1;
}

struct rule_row { bool allow; char type; int major, minor; unsigned int access; };

static int ask(const struct rule_row *rows, size_t n, int type, uint32_t major,
	       uint32_t minor, uint32_t access)
{
	Podvm__DeviceRule r[8], *v[8];
	struct bpf_insn prog[128];
	uint32_t ctx[3] = { access << 16 | (uint32_t)type, major, minor };
	size_t i, len;

	for (i = 0; i < n; i++) {
		podvm__device_rule__init(&r[i]);
		r[i].allow = rows[i].allow;
		r[i].type = (uint32_t)rows[i].type;
		r[i].major = rows[i].major;
		r[i].minor = rows[i].minor;
		r[i].access = rows[i].access;
		v[i] = &r[i];
	}
	len = devfilter_build(v, n, prog, ARRAY_LEN(prog));
	ck_assert_uint_gt(len, 0);
	return run_prog(prog, len, ctx);
}

START_TEST(last_matching_device_rule_decides)
{
	static const struct rule_row rows[] = {
		{ false, 'a', -1, -1, 7 }, { true, 'c', 1, 3, 2 }, { true, 'c', 1, 3, 4 },
		{ true, 'b', 8, -1, 7 }, { false, 'b', 8, 1, 4 },
	};
	enum { C = BPF_DEVCG_DEV_CHAR, B = BPF_DEVCG_DEV_BLOCK };

	ck_assert_int_eq(ask(rows, 5, C, 1, 3, 2), 1);
	ck_assert_int_eq(ask(rows, 5, C, 1, 3, 6), 1); /* each kind by a rule of its own */
	ck_assert_int_eq(ask(rows, 5, C, 1, 3, 7), 0);
	ck_assert_int_eq(ask(rows, 5, C, 1, 5, 2), 0);
	ck_assert_int_eq(ask(rows, 5, B, 1, 3, 2), 0);
	ck_assert_int_eq(ask(rows, 5, B, 8, 0, 7), 1);
	ck_assert_int_eq(ask(rows, 5, B, 8, 1, 2), 1);
	ck_assert_int_eq(ask(rows, 5, B, 8, 1, 6), 0);
	ck_assert_int_eq(ask(rows, 0, C, 1, 3, 2), 0);
}
END_TEST

START_TEST(routes_without_a_gateway_come_first)
{
	uint8_t gw[4] = { 10, 0, 0, 1 };
	Podvm__Route r[4], *v[4];
	size_t i;

	for (i = 0; i < 4; i++) {
		podvm__route__init(&r[i]);
		r[i].priority = (uint32_t)i;
		v[i] = &r[i];
	}
	r[0].gateway.data = gw;
	r[0].gateway.len = 4;
	r[1].scope = RT_SCOPE_UNIVERSE;
	r[2].scope = RT_SCOPE_LINK;
	r[3].scope = RT_SCOPE_LINK;
	order_routes(v, 4);
	ck_assert_uint_eq(v[0]->priority, 2);
	ck_assert_uint_eq(v[1]->priority, 3);
	ck_assert_uint_eq(v[2]->priority, 1);
	ck_assert_uint_eq(v[3]->priority, 0);
}
END_TEST

START_TEST(netlink_message_does_not_overflow)
{
	static const uint8_t data[1024];
	struct rtm_msg m;
	uint32_t head = 0;
	int i;

	rtm_start(&m, RTM_NEWLINK, 0, &head, sizeof(head));
	for (i = 0; i < 5; i++)
		rtm_put(&m, 1, data, sizeof(data));
	ck_assert(m.overflow);
	ck_assert_uint_le(m.len, sizeof(m.b));
	ck_assert_int_eq(rtm_talk(-1, &m, NULL), -EMSGSIZE);
}
END_TEST

START_TEST(paths_stay_inside_the_root)
{
	char dir[] = "/tmp/agent-unit-XXXXXX", link[64];
	struct err e;
	struct stat st;
	int root, fd;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(root, 0);
	ck_assert_int_eq(symlinkat("/out", root, "abs"), 0);
	ck_assert_int_eq(symlinkat("../../../out", root, "up"), 0);
	ck_assert_int_eq(symlinkat("/nowhere", root, "dangling"), 0);
	ck_assert_int_eq(mkdirat(root, "out", 0755), 0);
	fd = path_make(root, "/abs/a/b", true, &e);
	ck_assert_int_ge(fd, 0);
	close(fd);
	fd = path_make(root, "/up/c", false, &e);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(faccessat(root, "out/a/b", F_OK, 0), 0);
	ck_assert_int_eq(faccessat(root, "out/c", F_OK, 0), 0);
	/* What a dangling link leads to is made, in the root. */
	fd = path_make(root, "/dangling/x", true, &e);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(faccessat(root, "nowhere/x", F_OK, 0), 0);
	ck_assert_int_eq(symlinkat("../../../run/a/../stub", root, "out/a/resolv.conf"), 0);
	fd = path_make(root, "/out/a/resolv.conf", false, &e);
	ck_assert_msg(fd >= 0, "%s", e.text);
	close(fd);
	ck_assert_int_eq(fstatat(root, "run/stub", &st, AT_SYMLINK_NOFOLLOW), 0);
	ck_assert(S_ISREG(st.st_mode));
	ck_assert_int_eq(symlinkat("two", root, "one"), 0);
	ck_assert_int_eq(symlinkat("/three/", root, "two"), 0);
	ck_assert_int_eq(symlinkat("four/five", root, "three"), 0);
	fd = path_make(root, "/one", true, &e);
	ck_assert_msg(fd >= 0, "%s", e.text);
	close(fd);
	ck_assert_int_eq(faccessat(root, "four/five", F_OK, 0), 0);
	ck_assert_int_eq(symlinkat("loop", root, "loop"), 0);
	ck_assert_int_eq(path_make(root, "/loop/x", true, &e), -ELOOP);
	ck_assert_int_eq(symlinkat("longer/longer", root, "longer"), 0);
	ck_assert_int_eq(path_make(root, "/longer", true, &e), -ELOOP);
	ck_assert_int_eq(path_make(root, "relative", true, &e), -EINVAL);
	ck_assert_int_eq(path_make(root, "/out/c/d", true, &e), -ENOTDIR);
	fd = path_make(root, "///", true, &e);
	ck_assert_int_ge(fd, 0);
	close(fd);
	snprintf(link, sizeof(link), "%s", dir);
	close(root);
	ck_assert_int_eq(dir_remove(AT_FDCWD, link, &e), 0);
}
END_TEST

START_TEST(copied_up)
{
	struct timespec t[2] = { { 1, 2 }, { 1234567890, 5 } };
	char dir[] = "/tmp/agent-unit-XXXXXX", to[32] = "", text[8] = "";
	struct err e = { 0 };
	int top, from, out, fd, i;
	struct stat st;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert(!mkdirat(top, "from", 0755) && !mkdirat(top, "to", 0755));
	from = openat(top, "from", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	out = openat(top, "to", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert(!mkdirat(from, "dir", 0750) && !mkfifoat(from, "fifo", 0622));
	fd = openat(from, "dir/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(write(fd, "text", 4), 4);
	ck_assert(!fchmod(fd, 04711) && !futimens(fd, t));
	close(fd);
	ck_assert(!fchmodat(from, "fifo", 0622, 0) && !symlinkat("/etc/passwd", from, "link"));
	ck_assert(!utimensat(from, "dir", t, 0));
	ck_assert_msg(!copy_up(from, out, &e), "%s", e.text);
	fd = openat(out, "dir/file", O_RDONLY | O_CLOEXEC);
	ck_assert(read(fd, text, sizeof(text)) == 4 && !strcmp(text, "text") && !fstat(fd, &st));
	close(fd);
	ck_assert(st.st_mode == (S_IFREG | 04711) && st.st_mtim.tv_sec == t[1].tv_sec);
	ck_assert(!fstatat(out, "dir", &st, 0) && st.st_mode == (S_IFDIR | 0750));
	ck_assert_int_eq(st.st_mtim.tv_sec, t[1].tv_sec);
	ck_assert(!fstatat(out, "fifo", &st, AT_SYMLINK_NOFOLLOW) && st.st_mode == (S_IFIFO | 0622));
	ck_assert_int_eq(readlinkat(out, "link", to, sizeof(to)), 11);
	/* What is there is not written over; and there is an end to the depth. */
	ck_assert_int_eq(copy_up(from, out, &e), -EEXIST);
	close(from);
	close(out);
	ck_assert(!mkdirat(top, "deep", 0755) && !mkdirat(top, "to2", 0755));
	from = openat(top, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	out = openat(top, "to2", O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (i = 0, fd = dup(from); i < 70; i++) {
		int next;

		ck_assert_int_eq(mkdirat(fd, "d", 0755), 0);
		next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	close(fd);
	ck_assert_int_eq(copy_up(from, out, &e), -ELOOP);
	close(from);
	close(out);
	close(top);
	ck_assert_int_eq(dir_remove(AT_FDCWD, dir, &e), 0);
}
END_TEST

/* Processors 0 to 3, of which 0 cannot go; a file in the way of 4. */
static void make_cpus(char *dir, const char *state)
{
	char path[64];
	int i;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	for (i = 0; state[i]; i++) {
		FILE *f;

		snprintf(path, sizeof(path), "%s/cpu%d", dir, i);
		ck_assert_int_eq(mkdir(path, 0755), 0);
		snprintf(path, sizeof(path), "%s/cpu%d/online", dir, i);
		if (!i)
			continue;
		f = fopen(path, "we");
		ck_assert_ptr_nonnull(f);
		fprintf(f, "%c\n", state[i]);
		fclose(f);
	}
}

static const struct {
	const char *before, *after;
	uint32_t want;
	int rc;
} cpus[] = {
	{ "1000", "1000", 0, 0 }, { "1000", "1000", 1, 0 }, { "1000", "1100", 2, 0 },
	{ "1000", "1111", 4, 0 }, { "1111", "1110", 3, 0 }, { "1111", "1000", 1, 0 },
	{ "1010", "1010", 2, 0 }, { "1010", "1110", 3, 0 }, { "1011", "1010", 2, 0 },
	{ "1", "1", 1, 0 }, { "1000", "1000", 5, -EINVAL }, { "1", "1", UINT32_MAX, -EINVAL },
};

/* "0000:00:03.2" below @dir, with a disk if @block. */
static void make_function(const char *dir, const char *place, const char *block)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "mkdir -p %s/%s/msi_irqs %s/%s/virtio7/%s", dir, place, dir,
		 place, block);
	ck_assert_int_eq(system(cmd), 0);
}

START_TEST(disks_by_their_place)
{
	char dir[] = "/tmp/agent-unit-XXXXXX", name[64], cmd[64];
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	make_function(dir, "0000:00:03.2", "block/vdc");
	make_function(dir, "0000:00:1f.7", "net/eth0");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert(name_at(fd, 3 << 3 | 2, name, sizeof(name)));
	ck_assert_str_eq(name, "vdc");
	ck_assert(!name_at(fd, 3 << 3, name, sizeof(name)));
	ck_assert(!name_at(fd, 0xff, name, sizeof(name)));
	close(fd);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

START_TEST(places_that_were_told)
{
	char name[64];

	ck_assert_int_eq(disk_tell("d1-ro", 256, NULL), -EINVAL);
	ck_assert_int_eq(disk_tell("", 1, NULL), -EINVAL);
	ck_assert_int_eq(disk_tell("123456789012345678901", 1, NULL), -EINVAL);
	ck_assert_int_eq(disk_tell("12345678901234567890", 0xff, NULL), 0);
	ck_assert_int_eq(disk_tell("d1-ro", 0, NULL), 0);
	ck_assert_int_eq(disk_tell("d1-ro", 9, NULL), 0);
	ck_assert_str_eq(told[0], "");
	ck_assert_str_eq(told[9], "d1-ro");
	/* Another disk in the place of one that went. */
	ck_assert_int_eq(disk_tell("d2-ro", 9, NULL), 0);
	ck_assert_str_eq(told[9], "d2-ro");
	ck_assert_int_eq(find_name("d2-ro", name, sizeof(name), NULL), -ENOENT);
	ck_assert_int_eq(find_name("", name, sizeof(name), NULL), -ENOENT);
	disk_remove("d2-ro");
	ck_assert_str_eq(told[0xff], "12345678901234567890");
}
END_TEST

START_TEST(processors_come_and_go)
{
	char dir[] = "/tmp/agent-unit-XXXXXX", path[64], after[8] = "1";
	uint32_t present = 77, online = 77;
	struct err e = { 0 };
	size_t i, n = strlen(cpus[_i].before);

	make_cpus(dir, cpus[_i].before);
	ck_assert_int_eq(cpu_set_online(dir, cpus[_i].want, &present, &online, &e), cpus[_i].rc);
	for (i = 1; i < n; i++) {
		FILE *f;

		snprintf(path, sizeof(path), "%s/cpu%zu/online", dir, i);
		f = fopen(path, "re");
		ck_assert_ptr_nonnull(f);
		after[i] = (char)fgetc(f);
		fclose(f);
	}
	ck_assert_str_eq(after, cpus[_i].after);
	ck_assert_uint_eq(present, cpus[_i].rc ? 77 : n);
	for (i = 0; !cpus[_i].rc && i < n; i++)
		online -= after[i] == '1';
	ck_assert_uint_eq(online, cpus[_i].rc ? 77 : 0);
	ck_assert_int_eq(dir_remove(AT_FDCWD, dir, &e), 0);
}
END_TEST

/* One that does not come leaves those before it, and is named. */
START_TEST(processor_that_fails)
{
	char dir[] = "/tmp/agent-unit-XXXXXX", path[64], target[64];
	int sealed = memfd_create("online", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint32_t present, online = 0;
	struct err e = { 0 };

	make_cpus(dir, "1000");
	snprintf(path, sizeof(path), "%s/cpu2/online", dir);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(write(sealed, "0", 1), 1);
	ck_assert_int_eq(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
	snprintf(target, sizeof(target), "/proc/self/fd/%d", sealed);
	ck_assert_int_eq(symlink(target, path), 0);
	ck_assert_int_lt(cpu_set_online(dir, 4, &present, &online, &e), 0);
	ck_assert_msg(strstr(e.text, "processor 2 cannot go online") != NULL, "%s", e.text);
	ck_assert_int_eq(cpu_set_online(dir, 0, &present, &online, &e), 0);
	ck_assert_uint_eq(online, 2);
	close(sealed);
	ck_assert_int_eq(dir_remove(AT_FDCWD, dir, &e), 0);
}
END_TEST

Suite *agent_guest_suite(void)
{
	Suite *s = suite_create("agent_guest");
	TCase *c = tcase_create("agent_guest");

	tcase_add_test(c, passwd_finds_the_home);
	tcase_add_test(c, passwd_survives_any_prefix);
	tcase_add_test(c, last_matching_device_rule_decides);
	tcase_add_test(c, routes_without_a_gateway_come_first);
	tcase_add_test(c, netlink_message_does_not_overflow);
	tcase_add_test(c, paths_stay_inside_the_root);
	tcase_add_test(c, copied_up);
	tcase_add_test(c, disks_by_their_place);
	tcase_add_test(c, places_that_were_told);
	tcase_add_loop_test(c, processors_come_and_go, 0, ARRAY_LEN(cpus));
	tcase_add_test(c, processor_that_fails);
	suite_add_tcase(s, c);
	return s;
}
