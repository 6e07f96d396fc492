// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Lists and metrics of many pods, by pods of this process: some answer, some stand
 * still, some end in the middle, and guests lie. What matters: one pod never costs
 * another one its answer, and nothing that a guest says gets into names.
 */
#include <check.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/frame.h"
#include "lib/mem.h"
#include "runtime/podview.h"
#include "tests/kit/dir.h"

Suite *runtime_pods_suite(void);

/* How a pod of these tests behaves. */
enum manner {
	ANSWERS,	/* with guest */
	NO_SOCKET,	/* starts */
	REFUSES,	/* a socket that nobody serves */
	SILENT,		/* takes requests and says nothing */
	HANGS_UP,	/* takes requests and goes */
	RUBBISH,	/* answers with what does not parse */
	FAILS,		/* answers each with an error */
	OLD,		/* knows no info */
	ENDED,		/* its machine has ended: no counters, no guest */
	GUEST_SILENT, GUEST_GONE, GUEST_RUBBISH, GUEST_HUGE, GUEST_OTHER, GUEST_ERROR, GUEST_LIES,
	MANNERS
};

struct fake {
	char id[20];
	enum manner manner;
	int listen_fd;
	pthread_t thread;
};

static struct fake fakes[MANNERS];
static size_t n_fakes;
static int rootfd = -1;

static void send_response(int fd, Podvm__Pod__Response *rs, int with)
{
	uint8_t buf[4096];
	size_t len = podvm__pod__response__pack(rs, buf);

	if (!len)
		buf[len++] = 0x08, buf[len++] = 0x00;
	fd_send(fd, buf, len, &with, with >= 0, NULL);
}

static void send_info(int fd, enum manner manner)
{
	Podvm__Pod__Response rs = PODVM__POD__RESPONSE__INIT;
	Podvm__Pod__Info info = PODVM__POD__INFO__INIT;
	Podvm__Pod__Size size = PODVM__POD__SIZE__INIT;
	Podvm__Pod__ContainerInfo c[2], *list[2] = { &c[0], &c[1] };
	char address[] = "10.0.0.7/24", *addresses[] = { address };

	podvm__pod__container_info__init(&c[0]);
	podvm__pod__container_info__init(&c[1]);
	c[0].id = strdupa("web");
	c[0].status = strdupa("running");
	c[0].shim_pid = (uint32_t)getpid();
	c[1].id = strdupa("db");
	c[1].status = strdupa("stopped");
	info.containers = list;
	info.n_containers = 2;
	info.addresses = addresses;
	info.n_addresses = 1;
	info.monitor_pid = manner == ENDED ? 0 : (uint32_t)getpid();
	info.supervisor_pid = (uint32_t)getpid();
	info.vcpus = 2;
	info.exits = 3;
	info.oom_kills = 1;
	info.guest_kernel = strdupa("6.1");
	info.details = strdupa("{\"x\":1}");
	size.memory = 256 << 20;
	info.size = manner == ENDED ? NULL : &size;
	rs.info = manner == OLD ? NULL : &info;
	send_response(fd, &rs, -1);
}

static void send_stats(int fd)
{
	Podvm__Pod__Response rs = PODVM__POD__RESPONSE__INIT;
	Podvm__Pod__Metrics m = PODVM__POD__METRICS__INIT;
	Podvm__Pod__Device d = PODVM__POD__DEVICE__INIT, *list[] = { &d };
	uint64_t exits[] = { 5, 6 }, counters[] = { 1, 2, 3, 4000, 5000 };

	d.kind = strdupa("net");
	d.name = strdupa("a\"b\\c\nd");
	d.counters = counters;
	d.n_counters = 5;
	m.exits = exits;
	m.n_exits = 2;
	m.devices = list;
	m.n_devices = 1;
	rs.metrics = &m;
	send_response(fd, &rs, -1);
}

static void send_error(int fd)
{
	Podvm__Pod__Response rs = PODVM__POD__RESPONSE__INIT;

	rs.error = ESRCH;
	rs.text = strdupa("the pod's machine has ended");
	send_response(fd, &rs, -1);
}

static void guest_answer(int fd, enum manner manner)
{
	Podvm__Response rs = PODVM__RESPONSE__INIT;
	Podvm__Guest g = PODVM__GUEST__INIT;
	Podvm__GuestContainer c[3], *list[3] = { &c[0], &c[1], &c[2] };
	Podvm__Pids pids = PODVM__PIDS__INIT;
	static const char *const names[] = { "web", "web", "evil\"} 1\n# EOF\n" };
	size_t i;

	for (i = 0; i < 3; i++) {
		podvm__guest_container__init(&c[i]);
		c[i].id = strdupa(names[i]);
		c[i].cpu_ns = 1500000001;
		c[i].memory = UINT64_MAX;
		c[i].processes = 3;
	}
	g.containers = list;
	g.n_containers = manner == GUEST_LIES ? 3 : 1;
	g.memory_total = 200 << 20;
	g.memory_available = manner == GUEST_LIES ? UINT64_MAX : 100 << 20;
	g.load_milli = 1250;
	rs.guest = &g;
	rs.body_case = PODVM__RESPONSE__BODY_GUEST;
	if (manner == GUEST_OTHER) {
		rs.body_case = PODVM__RESPONSE__BODY_PIDS;
		rs.pids = &pids;
	} else if (manner == GUEST_ERROR) {
		rs.error = ENOSYS;
		rs.text = strdupa("this agent does not know the request");
	}
	frame_send(fd, &rs.base, 1000, NULL);
}

/* Serves the guest's end of the connection until the other one closes. */
static void serve_guest(int fd, enum manner manner)
{
	struct frame_rx rx = { 0 };
	static const uint8_t huge[] = { 0xff, 0xff, 0xff, 0xff, 1, 2, 3 };
	static const uint8_t rubbish[] = { 3, 0, 0, 0, 0xff, 0xff, 0xff };
	char c;

	if (manner == GUEST_GONE || frame_recv(fd, &rx, 5000, NULL) < 0) {
		frame_done(&rx);
		close(fd);
		return;
	}
	frame_done(&rx);
	if (manner == GUEST_HUGE)
		ck_assert_int_gt(send(fd, huge, sizeof(huge), MSG_NOSIGNAL), 0);
	else if (manner == GUEST_RUBBISH)
		ck_assert_int_gt(send(fd, rubbish, sizeof(rubbish), MSG_NOSIGNAL), 0);
	else if (manner != GUEST_SILENT)
		guest_answer(fd, manner);
	while (recv(fd, &c, 1, 0) > 0)
		;
	close(fd);
}

static void send_stream(int fd, enum manner manner)
{
	Podvm__Pod__Response rs = PODVM__POD__RESPONSE__INIT;
	int s[2];

	ck_assert(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	send_response(fd, &rs, s[0]);
	close(s[0]);
	serve_guest(s[1], manner);
}

static void answer_one(int fd, const Podvm__Pod__Request *rq, enum manner manner)
{
	bool info = rq->body_case == PODVM__POD__REQUEST__BODY_INFO;

	if (manner == RUBBISH)
		/* Whoever asked has hung up after the first one, if it came in time. */
		ck_assert(send(fd, "\xff\xff", 2, MSG_NOSIGNAL) == 2 || errno == EPIPE);
	else if (manner == FAILS || (manner == ENDED && !info))
		send_error(fd);
	else if (info)
		send_info(fd, manner);
	else if (rq->body_case == PODVM__POD__REQUEST__BODY_STATS)
		send_stats(fd);
	else
		send_stream(fd, manner);
}

static void *serve(void *arg)
{
	struct fake *f = arg;
	uint8_t buf[4096];
	int fd;

	while ((fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		size_t n_fds;
		ssize_t n;

		while ((n = fd_recv(fd, buf, sizeof(buf), NULL, 0, &n_fds, NULL)) > 0) {
			Podvm__Pod__Request *rq = podvm__pod__request__unpack(NULL, (size_t)n, buf);

			if (f->manner == HANGS_UP) {
				podvm__pod__request__free_unpacked(rq, NULL);
				break;
			}
			if (f->manner != SILENT)
				answer_one(fd, rq, f->manner);
			podvm__pod__request__free_unpacked(rq, NULL);
		}
		close(fd);
	}
	return NULL;
}

static void add_fake(const char *id, enum manner manner)
{
	struct fake *f = &fakes[n_fakes++];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char path[64];

	*f = (struct fake){ .manner = manner, .listen_fd = -1 };
	snprintf(f->id, sizeof(f->id), "%s", id);
	snprintf(path, sizeof(path), "pods/%s", id);
	ck_assert_int_ge(dir_make(path, 0700, NULL), 0);
	if (manner == NO_SOCKET)
		return;
	f->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "pods/%s/control.sock", id);
	ck_assert(!bind(f->listen_fd, (struct sockaddr *)&sa, sizeof(sa)));
	if (manner == REFUSES)
		return;
	ck_assert(!listen(f->listen_fd, 8));
	ck_assert(!pthread_create(&f->thread, NULL, serve, f));
}

static void setup(void)
{
	kit_dir_enter();
	ck_assert(!mkdir("pods", 0700) && !mkdir("containers", 0700));
	rootfd = state_root_open(".", NULL);
	n_fakes = 0;
}

static void teardown(void)
{
	size_t i;

	for (i = 0; i < n_fakes; i++) {
		if (fakes[i].listen_fd >= 0)
			shutdown(fakes[i].listen_fd, SHUT_RDWR);
		if (fakes[i].thread)
			pthread_join(fakes[i].thread, NULL);
		fd_close(&fakes[i].listen_fd);
	}
	fd_close(&rootfd);
	kit_dir_leave();
}

/* ---- one pod of each manner ------------------------------------------------------- */

static const struct {
	enum manner manner;
	enum gather_state state;
	bool info, stats, guest;
	const char *why;
} rows[] = {
	{ ANSWERS, GATHER_ANSWERED, true, true, true, "" },
	{ NO_SOCKET, GATHER_STARTING, false, false, false, "No such file" },
	{ REFUSES, GATHER_GONE, false, false, false, "refused" },
	{ SILENT, GATHER_SILENT, false, false, false, "did not answer within" },
	{ HANGS_UP, GATHER_GONE, false, false, false, "ended" },
	{ RUBBISH, GATHER_GONE, false, false, false, "does not parse" },
	{ FAILS, GATHER_GONE, false, false, false, "machine has ended" },
	{ OLD, GATHER_GONE, false, false, false, "older one" },
	{ ENDED, GATHER_ANSWERED, true, false, false, "" },
	{ GUEST_SILENT, GATHER_ANSWERED, true, true, false, "" },
	{ GUEST_GONE, GATHER_ANSWERED, true, true, false, "" },
	{ GUEST_RUBBISH, GATHER_ANSWERED, true, true, false, "" },
	{ GUEST_HUGE, GATHER_ANSWERED, true, true, false, "" },
	{ GUEST_OTHER, GATHER_ANSWERED, true, true, false, "" },
	{ GUEST_ERROR, GATHER_ANSWERED, true, true, false, "" },
	{ GUEST_LIES, GATHER_ANSWERED, true, true, true, "" },
};

#define ALL (GATHER_MACHINE | GATHER_GUEST)

static void check_pod(const struct gather_pod *p, size_t row)
{
	ck_assert_int_eq(p->state, rows[row].state);
	ck_assert_msg(!!p->info == rows[row].info, "%s: %s", p->id, p->why.text);
	ck_assert_msg(!!p->stats == rows[row].stats, "%s: counters", p->id);
	ck_assert_msg(!!p->guest == rows[row].guest, "%s: guest", p->id);
	ck_assert_msg(strstr(p->why.text, rows[row].why), "%s: %s", p->id, p->why.text);
	ck_assert_int_eq(p->sock, -1);
	ck_assert_int_eq(p->agent.fd, -1);
}

START_TEST(each_manner)
{
	struct gather g = { .v = NULL };
	int slow = rows[_i].manner == SILENT || rows[_i].manner == GUEST_SILENT;

	add_fake("p", rows[_i].manner);
	ck_assert(!gather_pod(&g, "p", NULL));
	gather_ask(rootfd, &g, ALL, slow ? 100 : 20000);
	check_pod(g.v, (size_t)_i);
	gather_done(&g);
	gather_done(&g);
}
END_TEST

/* All at once: those that stand still cost the others nothing. */
START_TEST(all_manners)
{
	struct gather g;
	char id[20];
	size_t i;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(id, sizeof(id), "p%02zu", i);
		add_fake(id, rows[i].manner);
	}
	ck_assert(!gather_pods(rootfd, &g, NULL));
	ck_assert_uint_eq(g.n, ARRAY_LEN(rows));
	gather_ask(rootfd, &g, ALL, 3000);
	for (i = 0; i < g.n; i++)
		check_pod(&g.v[i], i);
	gather_done(&g);
}
END_TEST

START_TEST(only_info)
{
	struct gather g = { .v = NULL };

	add_fake("p", GUEST_SILENT);
	ck_assert(!gather_pod(&g, "p", NULL));
	gather_ask(rootfd, &g, 0, 20000);
	ck_assert(g.v->info && !g.v->stats && !g.v->guest);
	gather_done(&g);
}
END_TEST

START_TEST(no_pods)
{
	struct gather g;

	ck_assert(!gather_pods(rootfd, &g, NULL));
	ck_assert_uint_eq(g.n, 0);
	gather_ask(rootfd, &g, ALL, 100);
	gather_done(&g);
	ck_assert_int_eq(gather_pod(&g, "../x", NULL), -EINVAL);
	ck_assert_ptr_null(g.v);
}
END_TEST

/* ---- what is made of it --------------------------------------------------------------- */

static struct strbuf out;

/* One line of the text format; @family is the one described last. */
static void check_line(const char *line, char *family, size_t room)
{
	char name[100], rest[100];
	const char *s = line;
	bool quoted = false;

	if (sscanf(line, "# TYPE %99s %99s", name, rest) == 2) {
		ck_assert(!strcmp(rest, "counter") || !strcmp(rest, "gauge"));
		snprintf(family, room, "%s", name);
		return;
	}
	if (line[0] == '#') {
		ck_assert_int_eq(sscanf(line + 7, "%99s", name), 1);
		ck_assert_str_eq(name, family);
		return;
	}
	ck_assert_msg(!strncmp(s, family, strlen(family)), "%s: not of %s", line, family);
	s += strlen(family);
	s += strncmp(s, "_total", 6) ? 0 : 6;
	ck_assert_msg(*s == '{', "%s", line);
	for (s++; quoted || *s != '}'; s++) {
		ck_assert_msg(*s > 0x1f && *s < 0x7f, "%s", line);
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
	_cleanup_free_ char *text = strdup(out.text);
	char family[100] = "", described[64][100], *line, *save = NULL;
	size_t n = 0, i;

	ck_assert_str_eq(out.text + out.len - 6, "# EOF\n");
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!strcmp(line, "# EOF")) {
			ck_assert_ptr_null(strtok_r(NULL, "\n", &save));
			return;
		}
		check_line(line, family, sizeof(family));
		if (strncmp(line, "# TYPE ", 7))
			continue;
		for (i = 0; i < n; i++)
			ck_assert_str_ne(described[i], family);
		ck_assert_uint_lt(n, 64);
		strcpy(described[n++], family);
	}
	ck_abort_msg("no end");
}

static void has(const char *text)
{
	ck_assert_msg(strstr(out.text, text), "no %s", text);
}

static void metrics_of(struct gather *g)
{
	struct podview *v;

	ck_assert(!podview_make(rootfd, g, &v, NULL));
	podview_openmetrics(v, g->n, &out);
	ck_assert(!out.failed);
	podview_free(v, g->n);
}

START_TEST(metrics)
{
	struct gather g;

	add_fake("good", ANSWERS);
	add_fake("liar", GUEST_LIES);
	add_fake("mute", SILENT);
	add_fake("new", NO_SOCKET);
	add_fake("over", ENDED);
	ck_assert(!gather_pods(rootfd, &g, NULL));
	gather_ask(rootfd, &g, ALL, 3000);
	metrics_of(&g);
	check_grammar();
	has("podvm_pods{state=\"running\"} 3\n");
	has("podvm_pods{state=\"silent\"} 1\n");
	has("podvm_pods{state=\"starting\"} 1\n");
	has("podvm_pod_up{pod=\"mute\"} 0\n");
	has("podvm_pod_up{pod=\"good\"} 1\n");
	has("podvm_pod_guest_up{pod=\"over\"} 0\n");
	has("podvm_pod_memory_bytes{pod=\"good\"} 268435456\n");
	has("podvm_pod_container_exits_total{pod=\"good\"} 3\n");
	has("podvm_pod_oom_kills_total{pod=\"good\"} 1\n");
	has("podvm_container_state{pod=\"good\",container=\"db\",state=\"stopped\"} 1\n");
	has("podvm_container_state{pod=\"good\",container=\"db\",state=\"running\"} 0\n");
	has("podvm_container_cpu_seconds_total{pod=\"good\",container=\"web\"} 1.500000001\n");
	has("podvm_container_memory_bytes{pod=\"liar\",container=\"web\"} 18446744073709551615\n");
	has("podvm_guest_load{pod=\"good\"} 1.250\n");
	has("podvm_process_resident_memory_bytes{pod=\"good\",process=\"supervisor\"} ");
	has("podvm_vmm_device_in_bytes_total{pod=\"good\",index=\"0\",kind=\"net\",name=\"a\\\"b\\\\c\\\\x0ad\"} 4000\n");
	ck_assert_ptr_null(strstr(out.text, "evil"));
	ck_assert_ptr_null(strstr(out.text, "pod=\"mute\",process"));
	strbuf_done(&out);
	gather_done(&g);
}
END_TEST

START_TEST(metrics_of_none)
{
	struct gather g;

	ck_assert(!gather_pods(rootfd, &g, NULL));
	metrics_of(&g);
	check_grammar();
	has("podvm_pods{state=\"running\"} 0\n");
	strbuf_done(&out);
	gather_done(&g);
}
END_TEST

static char *shown(const struct podview *v, bool json)
{
	struct json_out *o = json_out_new();
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (json) {
		podview_json(v, o);
		ck_assert(!json_out_print(o, false, f, NULL));
	} else {
		json_out_free(o);
		podview_table_head(f);
		podview_table(v, f);
	}
	ck_assert(!fclose(f));
	return text;
}

static const struct {
	enum manner manner;
	const char *table, *json[4];
} views[] = {
	{ ANSWERS, "p                        running  1/2             2    256M ",
	  { "\"state\":\"running\"", "\"addresses\":[\"10.0.0.7/24\"]", "\"id\":\"web\",\"status\":\"running\"", "\"cpuMs\":1500" } },
	{ SILENT, "p                        silent", { "\"state\":\"silent\"", "\"why\":\"pod p did not answer", "", "" } },
	{ NO_SOCKET, "p                        starting", { "\"state\":\"starting\"", "", "", "" } },
	{ ENDED, "p                        ended    1/2             2       - ", { "\"state\":\"ended\"", "", "", "" } },
};

START_TEST(view)
{
	_cleanup_free_ char *table = NULL, *json = NULL;
	struct gather g = { .v = NULL };
	struct podview *v;
	size_t i;

	add_fake("p", views[_i].manner);
	ck_assert(!gather_pod(&g, "p", NULL));
	gather_ask(rootfd, &g, ALL, views[_i].manner == SILENT ? 100 : 20000);
	ck_assert(!podview_make(rootfd, &g, &v, NULL));
	table = shown(v, false);
	ck_assert_msg(strstr(table, views[_i].table), "%s", table);
	json = shown(v, true);
	for (i = 0; i < 4; i++)
		ck_assert_msg(strstr(json, views[_i].json[i]), "%s", json);
	podview_free(v, g.n);
	gather_done(&g);
}
END_TEST

static const struct {
	const char *annotations, *bundle, *engine;
} engines[] = {
	{ "{\"io.kubernetes.cri-o.ContainerType\":\"sandbox\"}", "/run/b", "CRI-O" },
	{ "{\"io.kubernetes.cri.container-type\":\"sandbox\"}", "/run/b", "containerd" },
	{ "{\"io.podman.annotations.autoremove\":\"TRUE\"}", "/run/b", "podman" },
	{ "{}", "/run/containerd/io.containerd.runtime.v2.task/moby/1", "docker" },
	{ NULL, "/run/containerd/io.containerd.runtime.v2.task/k8s.io/1", "containerd" },
	{ NULL, "/var/lib/containers/storage/overlay-containers/1/userdata", "podman" },
	{ "{\"a\":\"b\"}", "/tmp/b", "-" },
	{ NULL, NULL, "-" },
};

START_TEST(engine)
{
	struct state s = { .annotations = (char *)(uintptr_t)engines[_i].annotations,
			   .bundle = (char *)(uintptr_t)engines[_i].bundle };

	ck_assert_str_eq(podview_engine(&s), engines[_i].engine);
}
END_TEST

/* ---- words that mean a pod -------------------------------------------------------------- */

static const struct {
	const char *word;
	int rc;
	const char *pod;
} words[] = {
	{ "alone", 0, "alone" }, { "member", 0, "shared" }, { "shared", 0, "shared" },
	{ "both", -ENOTUNIQ, "" }, { "same", 0, "same" }, { "ended", 0, "gone" },
	{ "nobody", -ENOENT, "" }, { "../x", -EINVAL, "" }, { "", -EINVAL, "" },
};

static void record(const char *id, const char *pod)
{
	char path[64], text[256];

	snprintf(path, sizeof(path), "containers/%s.json", id);
	snprintf(text, sizeof(text),
		 "{\"pod\":\"%s\",\"bundle\":\"/b\",\"rootfs\":\"/b/rootfs\",\"ociVersion\":\"1.0.0\","
		 "\"created\":\"now\",\"status\":2,\"pid\":0,\"pidStart\":0,\"exitCode\":0}", pod);
	kit_put(path, text);
}

START_TEST(which_pod)
{
	static const char *const pods[] = { "alone", "shared", "both", "same" };
	char pod[STATE_ID_BYTES] = "", path[64];
	struct err e = { 0 };
	size_t i;

	for (i = 0; i < ARRAY_LEN(pods); i++) {
		snprintf(path, sizeof(path), "pods/%s", pods[i]);
		ck_assert(!mkdir(path, 0700));
	}
	record("member", "shared");
	record("both", "shared");
	record("same", "same");
	record("ended", "gone");
	ck_assert_msg(pod_of(rootfd, words[_i].word, pod, &e) == words[_i].rc, "%s", e.text);
	ck_assert_str_eq(pod, words[_i].pod);
}
END_TEST

START_TEST(usage)
{
	struct usage u = { 0, 7 };

	ck_assert(!usage_of(getpid(), &u));
	ck_assert_uint_gt(u.resident_bytes, 1 << 20);
	ck_assert_uint_lt(u.resident_bytes, 1ull << 40);
	u.resident_bytes = 7;
	ck_assert_int_eq(usage_of(0, &u), -ESRCH);
	ck_assert_int_eq(usage_of(INT32_MAX, &u), -ESRCH);
	ck_assert_uint_eq(u.resident_bytes, 7);
}
END_TEST

Suite *runtime_pods_suite(void)
{
	Suite *s = suite_create("runtime_pods");
	TCase *t = tcase_create("pods");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, each_manner, 0, ARRAY_LEN(rows));
	tcase_add_test(t, all_manners);
	tcase_add_test(t, only_info);
	tcase_add_test(t, no_pods);
	tcase_add_test(t, metrics);
	tcase_add_test(t, metrics_of_none);
	tcase_add_loop_test(t, view, 0, ARRAY_LEN(views));
	tcase_add_loop_test(t, engine, 0, ARRAY_LEN(engines));
	tcase_add_loop_test(t, which_pod, 0, ARRAY_LEN(words));
	tcase_add_test(t, usage);
	suite_add_tcase(s, t);
	return s;
}
