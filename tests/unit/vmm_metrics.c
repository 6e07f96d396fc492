// SPDX-License-Identifier: Apache-2.0
/*
 * Counters as text: JSON that a parser takes, OpenMetrics by its grammar, strings
 * that nobody vouches for, and a monitor that lies about its devices.
 */
#include <check.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "vmm/vmm.h"

Suite *vmm_metrics_suite(void);

static struct vmm_device devices[3];
static struct vmm_metrics m;
static struct strbuf out;

static void setup(void)
{
	m = (struct vmm_metrics){ .devices = devices, .n_devices = 3 };
	memset(devices, 0, sizeof(devices));
	strcpy(devices[0].kind, "rng");
	strcpy(devices[1].kind, "blk");
	strcpy(devices[1].name, "podvm-0");
	devices[1].kicks = 7;
	devices[1].in_bytes = UINT64_MAX;
	devices[1].status = 15;
	strcpy(devices[2].kind, "net");
	strcpy(devices[2].name, "02:00:00:00:00:01");
	m.stats.exits[VMM_EXIT_PIO] = 19;
	m.stats.exits[VMM_EXIT_FAULT] = 3;
	m.stats.start_ns = 1000000000;
	m.stats.config_ns = 1000500000;
	m.stats.run_ns = 3000000001;
	out = (struct strbuf){ .text = NULL };
}

static void teardown(void)
{
	strbuf_done(&out);
}

static void has(const char *line)
{
	ck_assert_msg(strstr(out.text, line) != NULL, "%s\nis not in\n%s", line, out.text);
}

START_TEST(json)
{
	struct jnode root, exits, arr, d;
	struct json_doc *doc;
	const char *text;
	struct err e;
	uint64_t v;

	vmm_metrics_json(&m, &out);
	ck_assert_msg(!json_parse(out.text, out.len, &doc, &e), "%s", e.text);
	root = json_root(doc);
	ck_assert_int_eq(json_obj(&root, "exits", &exits, &e), 1);
	ck_assert_int_eq(json_u64(&exits, "pio", &v, &e), 1);
	ck_assert_uint_eq(v, 19);
	ck_assert_int_eq(json_u64(&exits, "fault", &v, &e), 1);
	ck_assert_uint_eq(v, 3);
	ck_assert_int_eq(json_arr(&root, "devices", &arr, &e), 1);
	ck_assert_uint_eq(json_len(&arr), 3);
	d = json_at(&arr, 1);
	ck_assert_int_eq(json_str(&d, "name", &text, &e), 1);
	ck_assert_str_eq(text, "podvm-0");
	ck_assert_int_eq(json_u64(&d, "kicks", &v, &e), 1);
	ck_assert_uint_eq(v, 7);
	json_free(doc);
	has("\"in_bytes\":18446744073709551615");
	has("\"guest_called_ns\":0");
}
END_TEST

static void as_openmetrics(const struct vmm_metrics *v, size_t n)
{
	vmm_metrics_openmetrics(v, n, &out);
	strbuf_add(&out, VMM_OPENMETRICS_END);
}

START_TEST(openmetrics)
{
	as_openmetrics(&m, 1);
	has("# TYPE podvm_vmm_exits counter\n");
	has("podvm_vmm_exits_total{reason=\"pio\"} 19\n");
	has("# UNIT podvm_vmm_device_in_bytes bytes\n");
	has("podvm_vmm_device_in_bytes_total{index=\"1\",kind=\"blk\",name=\"podvm-0\"} "
	    "18446744073709551615\n");
	has("podvm_vmm_device_status{index=\"1\",kind=\"blk\",name=\"podvm-0\"} 15\n");
	has("podvm_vmm_device_kicks_total{index=\"0\",kind=\"rng\",name=\"\"} 0\n");
	has("podvm_vmm_boot_stage_seconds{stage=\"configured\"} 0.000500000\n");
	has("podvm_vmm_boot_stage_seconds{stage=\"guest_entered\"} 2.000000001\n");
	ck_assert_ptr_null(strstr(out.text, "guest_called\"}"));
	ck_assert_str_eq(out.text + out.len - 6, "# EOF\n");
	strbuf_done(&out);
	m.machine = "pod1";
	as_openmetrics(&m, 1);
	has("podvm_vmm_exits_total{pod=\"pod1\",reason=\"hlt\"} 0\n");
	has("podvm_vmm_device_kicks_total{pod=\"pod1\",index=\"1\",kind=\"blk\"");
	has("podvm_vmm_boot_stage_seconds{pod=\"pod1\",stage=");
}
END_TEST

/* One line of the text format; the family that is described last is @family. */
static void check_line(const char *line, char *family, size_t room)
{
	char name[100], rest[100];
	const char *s;
	bool quoted = false;

	if (sscanf(line, "# TYPE %99s %99s", name, rest) == 2) {
		ck_assert(!strcmp(rest, "counter") || !strcmp(rest, "gauge"));
		snprintf(family, room, "%s", name);
		return;
	}
	if (sscanf(line, "# UNIT %99s %99s", name, rest) == 2) {
		ck_assert_str_eq(name, family);
		ck_assert_str_eq(name + strlen(name) - strlen(rest), rest);
		return;
	}
	if (sscanf(line, "# HELP %99s", name) == 1) {
		ck_assert_str_eq(name, family);
		return;
	}
	ck_assert_msg(!strncmp(line, family, strlen(family)), "%s: not of %s", line, family);
	s = line + strlen(family);
	s += strncmp(s, "_total", 6) ? 0 : 6;
	ck_assert_int_eq(*s, '{');
	for (s++; quoted || *s != '}'; s++) {
		ck_assert_int_gt(*s, 0x1f);
		ck_assert_int_lt(*s, 0x7f);
		if (*s == '\\')
			s++;
		else if (*s == '"')
			quoted = !quoted;
	}
	ck_assert_int_eq(s[1], ' ');
	for (s += 2; *s; s++)
		ck_assert_msg(isdigit((unsigned char)*s) || *s == '.', "%s", line);
}

static void check_grammar(void)
{
	char family[100] = "", *line, *save = NULL;
	size_t n = 0;

	for (line = strtok_r(out.text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		n++;
		if (!strcmp(line, "# EOF")) {
			ck_assert_ptr_null(strtok_r(NULL, "\n", &save));
			return;
		}
		check_line(line, family, sizeof(family));
	}
	ck_abort_msg("no # EOF in %zu lines", n);
}

START_TEST(grammar)
{
	m.machine = "a \"pod\"\n";
	as_openmetrics(&m, 1);
	check_grammar();
}
END_TEST

/* Two machines: each family once, with the samples of both below it. */
START_TEST(several)
{
	struct vmm_metrics two[] = { m, m };
	const char *first;

	two[0].machine = "a";
	two[1].machine = "b";
	as_openmetrics(two, 2);
	first = strstr(out.text, "# TYPE podvm_vmm_device_kicks ");
	ck_assert_ptr_nonnull(first);
	ck_assert_ptr_null(strstr(first + 1, "# TYPE podvm_vmm_device_kicks "));
	has("podvm_vmm_exits_total{pod=\"a\",reason=\"hlt\"} 0\n");
	has("podvm_vmm_exits_total{pod=\"b\",reason=\"hlt\"} 0\n");
	check_grammar();
	strbuf_done(&out);
	as_openmetrics(NULL, 0);
	check_grammar();
}
END_TEST

/* Every byte in a name; two names that differ stay different. */
START_TEST(strings)
{
	struct json_doc *doc;
	struct err e;
	int i;

	for (i = 1; i < 256; i++) {
		devices[1].name[0] = (char)i;
		devices[2].kind[0] = (char)i;
		strbuf_done(&out);
		vmm_metrics_json(&m, &out);
		ck_assert_msg(!json_parse(out.text, out.len, &doc, &e), "%d: %s", i, e.text);
		json_free(doc);
		strbuf_done(&out);
		as_openmetrics(&m, 1);
		check_grammar();
	}
	devices[0].name[0] = '\n';
	strcpy(devices[1].name, "\\x0a");
	strbuf_done(&out);
	as_openmetrics(&m, 1);
	has("name=\"\\\\x0a\"");
	/* Without an end: cut where the field ends. */
	memset(devices[0].name, 'x', sizeof(devices[0].name));
	memset(devices[0].kind, 0xff, sizeof(devices[0].kind));
	strbuf_done(&out);
	vmm_metrics_table(&m, &out);
	as_openmetrics(&m, 1);
	vmm_metrics_json(&m, &out);
	has("\\xff");
}
END_TEST

START_TEST(table)
{
	vmm_metrics_table(&m, &out);
	has("podvm-0");
	has("DEVICE");
	has("exits: pio 19 mmio 0 hlt 0 intr 0 other 0 fault 3\n");
	ck_assert_ptr_null(strstr(out.text, "fail_entry"));
}
END_TEST

START_TEST(names)
{
	int i, k;

	for (i = 0; i < VMM_EXIT_KINDS; i++) {
		const char *name = vmm_exit_name((enum vmm_exit)i);

		ck_assert_msg(name && *name, "exit %d has no name", i);
		for (k = 0; k < i; k++)
			ck_assert_str_ne(name, vmm_exit_name((enum vmm_exit)k));
	}
}
END_TEST

/* A monitor that tells of @n devices, then of none or on for ever. */
static void fake_monitor(int sock, uint32_t n)
{
	struct vmm_request rq;

	while (recv(sock, &rq, sizeof(rq), 0) > 0) {
		struct vmm_reply rp = { .type = rq.type };

		if (rq.type == VMM_DEVICE) {
			memset(&rp.device, 'x', sizeof(rp.device));
			rp.error = rq.port >= n ? ENOENT : 0;
		}
		if (send(sock, &rp, sizeof(rp), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

static const struct {
	uint32_t n;
	int rc;
} monitors[] = { { 0, 0 }, { 3, 0 }, { 255, 0 }, { 256, -EPROTO }, { UINT32_MAX, -EPROTO } };

START_TEST(gather)
{
	struct vmm v = { .pidfd = -1 };
	struct vmm_metrics got = { .machine = NULL };
	struct err e;
	int s[2];
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	pid = fork();
	if (!pid) {
		close(s[0]);
		fake_monitor(s[1], monitors[_i].n);
	}
	close(s[1]);
	v.sock = s[0];
	ck_assert_int_eq(vmm_metrics_get(&v, 10000, &got, &e), monitors[_i].rc);
	if (!monitors[_i].rc) {
		ck_assert_uint_eq(got.n_devices, monitors[_i].n);
		vmm_metrics_json(&got, &out);
	}
	vmm_metrics_done(&got);
	vmm_metrics_done(&got);
	vmm_done(&v);
	waitpid(pid, NULL, 0);
}
END_TEST

Suite *vmm_metrics_suite(void)
{
	Suite *s = suite_create("vmm_metrics");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, json);
	tcase_add_test(t, openmetrics);
	tcase_add_test(t, grammar);
	tcase_add_test(t, several);
	tcase_add_test(t, strings);
	tcase_add_test(t, table);
	tcase_add_test(t, names);
	tcase_add_loop_test(t, gather, 0, (int)ARRAY_LEN(monitors));
	suite_add_tcase(s, t);
	return s;
}
