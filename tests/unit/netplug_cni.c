// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-netplug as a CNI plugin: what it is given by the environment and standard input,
 * what it answers, and what is in the kernel and in its state directory afterwards. Bad
 * input, of every kind, gets the error object with the right code and changes nothing.
 *
 * A test has a network namespace for the pod and one for the node, where it runs, and a
 * /run of its own. A command that is killed dies of SIGXFSZ in the write of a journal's
 * record, as in netplug_apply.c.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/cmd.h"
#include "netplug/cni.h"
#include "netplug/netplug.h"
#include "tests/kit/kit.h"
#include "tests/kit/net.h"

Suite *netplug_cni_suite(void);

#define MAC "02:00:00:00:00:02"
#define ETH0 "{\"name\":\"eth0\",\"mac\":\"" MAC "\",\"sandbox\":\"@\"}"
#define IFACES "\"interfaces\":[{\"name\":\"h0\",\"mac\":\"02:00:00:00:00:01\"}," ETH0 "]"
#define IPS "\"ips\":[{\"address\":\"10.1.0.2/24\",\"gateway\":\"10.1.0.1\",\"interface\":1}]"
#define PREV "\"prevResult\":{" IFACES "," IPS ",\"routes\":[{\"dst\":\"0.0.0.0/0\"}],\"dns\":{}}"
#define HEAD "\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"type\":\"podvm-netplug\""

/* As the engine would give it; '@' stands for the pod's namespace. */
#define CONF "{" HEAD "," PREV "}"

/**
 * struct node - a pod's namespace and a node
 */
struct node {
	struct kit_net n;
	char *before, *before_short;
};

static void own_run(void)
{
	ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
	ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	ck_assert_int_eq(mount("tmpfs", "/run", "tmpfs", 0, NULL), 0);
}

/*
 * Only the interfaces and what they are joined by: a whole state takes long. Without the
 * states that follow a second after the carrier.
 */
static char *short_state(void)
{
	return kit_output("ip -d link | sed 's/<.*>//; s/ state [A-Z]*//'; tc qdisc; tc filter "
			  "show dev eth0 ingress");
}

/* Namespaces without an interface, for what does not get as far as looking at one. */
static void node_empty(struct node *t)
{
	memset(t, 0, sizeof(*t));
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	t->n.pod = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	snprintf(t->n.path, sizeof(t->n.path), "/proc/%d/fd/%d", getpid(), t->n.pod);
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	t->n.host = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	own_run();
}

static void node_begin(struct node *t)
{
	kit_net_new(&t->n);
	own_run();
	kit_run("ip link set eth0 down && ip link set eth0 address " MAC " && "
		"ip link set eth0 up && ip addr add 10.1.0.2/24 dev eth0 && "
		"while ip addr | grep -q tentative; do sleep 0.1; done");
	t->before = kit_net_state();
	t->before_short = short_state();
	kit_net_enter(t->n.host);
}

static void no_file(void)
{
	DIR *d = opendir(ATTACH_STATE_DIR);
	struct dirent *de;

	while (d && (de = readdir(d)))
		ck_assert_msg(de->d_name[0] == '.', "%s", de->d_name);
	if (d)
		closedir(d);
}

/* Nothing is left, in the pod and in the state directory. */
static void node_unchanged(struct node *t)
{
	_cleanup_free_ char *after = NULL;

	no_file();
	kit_net_enter(t->n.pod);
	after = kit_net_state();
	kit_same_text(after, t->before);
	kit_net_enter(t->n.host);
}

/* The same, in a hurry. */
static void node_looks_unchanged(struct node *t)
{
	_cleanup_free_ char *after = NULL;

	no_file();
	kit_net_enter(t->n.pod);
	after = short_state();
	kit_same_text(after, t->before_short);
	kit_net_enter(t->n.host);
}

static void node_still_empty(struct node *t)
{
	struct if_nameindex *list;

	no_file();
	kit_net_enter(t->n.pod);
	list = if_nameindex();
	ck_assert(list && (!list[0].if_index || !list[1].if_index));
	if_freenameindex(list);
	kit_net_enter(t->n.host);
}

static void node_end(struct node *t)
{
	free(t->before);
	free(t->before_short);
	close(t->n.pod);
	close(t->n.host);
}

/* The text with '@' replaced by the namespace's path. */
static char *fill(const char *conf, const char *path)
{
	struct strbuf b = {.text = NULL};

	for (; *conf; conf++)
		strbuf_add(&b, "%.*s", *conf == '@' ? (int)strlen(path) : 1,
			   *conf == '@' ? path : conf);
	return b.text ? b.text : strdup("");
}

static void set_env(const char *id, const char *netns, const char *ifname)
{
	setenv("CNI_CONTAINERID", id, 1);
	setenv("CNI_NETNS", netns, 1);
	setenv("CNI_IFNAME", ifname, 1);
}

static int call_bytes(const char *command, const char *conf, size_t len, char **ret)
{
	int fd = memfd_create("conf", MFD_CLOEXEC), rc;
	struct err e = {0};
	size_t n;
	FILE *f = open_memstream(ret, &n);

	ck_assert_int_eq(write_full(fd, conf, len, &e), 0);
	lseek(fd, 0, SEEK_SET);
	rc = cni_run(command, fd, f);
	fclose(f);
	close(fd);
	return rc;
}

/* Return: exit status; @ret gets what was printed */
static int call(struct node *t, const char *command, const char *conf, char **ret)
{
	_cleanup_free_ char *text = fill(conf, t->n.path);

	return call_bytes(command, text, strlen(text), ret);
}

static void call_ok(struct node *t, const char *command, const char *conf)
{
	_cleanup_free_ char *out = NULL;
	int rc = call(t, command, conf, &out);

	ck_assert_msg(!rc, "%s: %s", command, out);
}

/* An error object with this code, whose text has @want. */
static void is_error(const char *out, int rc, int code, const char *want)
{
	struct json_doc *doc = NULL;
	const char *msg = NULL, *details = NULL, *version = NULL;
	struct err e = {0};
	uint64_t got = 0;
	struct jnode root;

	ck_assert_msg(rc == 1 && !json_parse(out, strlen(out), &doc, &e), "%d: %s", rc, out);
	root = json_root(doc);
	ck_assert_int_eq(json_str(&root, "cniVersion", &version, &e), 1);
	ck_assert_int_eq(json_u64(&root, "code", &got, &e), 1);
	ck_assert_int_eq(json_str(&root, "msg", &msg, &e), 1);
	ck_assert_int_eq(json_str(&root, "details", &details, &e), 1);
	ck_assert_msg((int)got == code, "want %d: %s", code, out);
	ck_assert_msg(strstr(details, want), "want \"%s\": %s", want, out);
	json_free(doc);
}

static void call_fails(struct node *t, const char *command, const char *conf, int code,
		       const char *want)
{
	_cleanup_free_ char *out = NULL;
	int rc = call(t, command, conf, &out);

	is_error(out, rc, code, want);
}

/* ---- what is refused ------------------------------------------------------------ */

#define WITH(more) "{" HEAD "," more "," PREV "}"
#define RESULT(text) "{" HEAD ",\"prevResult\":{" text "}}"
#define NESTED_8 "[[[[[[[["

static const struct {
	const char *command, *conf;
	int code;
	const char *want;
	const char *id, *netns, *ifname; /* NULL: as it should be */
} bad[] = {
	/* no JSON */
	{"ADD", "", 6, "JSON", NULL, NULL, NULL},
	{"ADD", "{", 6, "JSON", NULL, NULL, NULL},
	{"ADD", "null", 6, "object", NULL, NULL, NULL},
	{"ADD", "[]", 6, "object", NULL, NULL, NULL},
	{"ADD", "7", 6, "object", NULL, NULL, NULL},
	{"ADD", CONF "x", 6, "JSON", NULL, NULL, NULL},
	{"ADD", CONF CONF, 6, "JSON", NULL, NULL, NULL},
	{"ADD", "{'name':'net'}", 6, "JSON", NULL, NULL, NULL},
	{"ADD", "{\"name\":\"\xff\xfe\"}", 6, "JSON", NULL, NULL, NULL},
	{"ADD", "{\"a\":" NESTED_8 NESTED_8 NESTED_8 NESTED_8 NESTED_8 NESTED_8 "}", 6, "JSON",
	 NULL, NULL, NULL},
	/* versions */
	{"ADD", "{\"name\":\"net\"}", 1, "missing", NULL, NULL, NULL},
	{"ADD", "{\"cniVersion\":\"0.3.0\",\"name\":\"net\"}", 1, "none of 0.3.1", NULL, NULL,
	 NULL},
	{"ADD", "{\"cniVersion\":\"2.0.0\",\"name\":\"net\"}", 1, "none of 0.3.1", NULL, NULL,
	 NULL},
	{"DEL", "{\"cniVersion\":\"1.1\",\"name\":\"net\"}", 1, "none of", NULL, NULL, NULL},
	{"ADD", "{\"cniVersion\":\"1.1.0 \",\"name\":\"net\"}", 1, "none of", NULL, NULL, NULL},
	{"ADD", "{\"cniVersion\":11}", 6, "/cniVersion", NULL, NULL, NULL},
	{"ADD", "{\"cniVersion\":\"1.1.0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", 1, "too long",
	 NULL, NULL, NULL},
	{"VERSION", "{\"cniVersion\":[]}", 6, "/cniVersion", NULL, NULL, NULL},
	{"VERSION", "{", 6, "JSON", NULL, NULL, NULL},
	{"CHECK", "{\"cniVersion\":\"0.3.1\",\"name\":\"net\"}", 1, "0.4.0 does", NULL, NULL, NULL},
	{"GC", "{\"cniVersion\":\"1.0.0\",\"name\":\"net\"}", 1, "1.1.0 does", NULL, NULL, NULL},
	{"STATUS", "{\"cniVersion\":\"1.0.0\",\"name\":\"net\"}", 1, "1.1.0 does", NULL, NULL,
	 NULL},
	/* names */
	{"ADD", "{\"cniVersion\":\"1.1.0\"," PREV "}", 7, "/name", NULL, NULL, NULL},
	{"DEL", "{\"cniVersion\":\"1.1.0\"}", 7, "/name", NULL, NULL, NULL},
	{"ADD", "{\"cniVersion\":\"1.1.0\",\"name\":\"\"," PREV "}", 7, "/name", NULL, NULL, NULL},
	{"ADD", "{\"cniVersion\":\"1.1.0\",\"name\":\"../x\"," PREV "}", 7, "/name", NULL, NULL,
	 NULL},
	{"DEL", "{\"cniVersion\":\"1.1.0\",\"name\":\"a/b\"}", 7, "/name", NULL, NULL, NULL},
	{"ADD", "{\"cniVersion\":\"1.1.0\",\"name\":{}," PREV "}", 6, "/name", NULL, NULL, NULL},
	{"GC", "{\"cniVersion\":\"1.1.0\",\"name\":7}", 6, "/name", NULL, NULL, NULL},
	/* environment */
	{"ADD", CONF, 4, "CNI_CONTAINERID", "", NULL, NULL},
	{"ADD", CONF, 4, "CNI_CONTAINERID", "-x", NULL, NULL},
	{"ADD", CONF, 4, "CNI_CONTAINERID", "../../etc", NULL, NULL},
	{"DEL", CONF, 4, "CNI_CONTAINERID", "a:b", NULL, NULL},
	{"ADD", CONF, 4, "CNI_CONTAINERID", "\xc3\xa4", NULL, NULL},
	{"ADD", CONF, 4, "CNI_CONTAINERID",
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 NULL, NULL},
	{"ADD", CONF, 4, "CNI_IFNAME", NULL, NULL, ""},
	{"ADD", CONF, 4, "CNI_IFNAME", NULL, NULL, "abcdefghijklmnop"},
	{"DEL", CONF, 4, "CNI_IFNAME", NULL, NULL, "abcdefghijklmnop"},
	{"ADD", CONF, 4, "CNI_IFNAME", NULL, NULL, "a/b"},
	{"ADD", CONF, 4, "CNI_IFNAME", NULL, NULL, ".."},
	{"CHECK", CONF, 4, "CNI_IFNAME", NULL, NULL, "a b"},
	{"ADD", CONF, 4, "CNI_IFNAME", NULL, NULL, "\xff"},
	{"ADD", CONF, 4, "CNI_NETNS", NULL, "", NULL},
	{"CHECK", CONF, 4, "CNI_NETNS", NULL, "", NULL},
	{"ADD", CONF, 4, "CNI_NETNS", NULL, "\xff", NULL},
	{"NONSENSE", CONF, 4, "CNI_COMMAND", NULL, NULL, NULL},
	{"\xff\n", CONF, 4, "CNI_COMMAND", NULL, NULL, NULL},
	{"add", CONF, 4, "CNI_COMMAND", NULL, NULL, NULL},
	/* keys of ours, and of nobody */
	{"ADD", WITH("\"queue\":4"), 2, "\"queue\" with the value 4", NULL, NULL, NULL},
	{"ADD", WITH("\"ipam\":{\"type\":\"host-local\"}"), 2, "host-local", NULL, NULL, NULL},
	{"STATUS", WITH("\"mtu\":1400"), 2, "\"mtu\" with the value 1400", NULL, NULL, NULL},
	{"ADD", WITH("\"queues\":0"), 7, "/queues", NULL, NULL, NULL},
	{"ADD", WITH("\"queues\":257"), 7, "/queues", NULL, NULL, NULL},
	{"ADD", WITH("\"queues\":-1"), 7, "/queues", NULL, NULL, NULL},
	{"ADD", WITH("\"queues\":\"4\""), 7, "/queues", NULL, NULL, NULL},
	{"ADD", WITH("\"queues\":1e99"), 7, "/queues", NULL, NULL, NULL},
	{"ADD", WITH("\"owner\":1000"), 7, "/owner", NULL, NULL, NULL},
	{"ADD", WITH("\"owner\":{\"uid\":\"root\"}"), 7, "/owner/uid", NULL, NULL, NULL},
	{"ADD", WITH("\"owner\":{\"gid\":4294967295}"), 7, "/owner/gid", NULL, NULL, NULL},
	{"ADD", WITH("\"tap\":\"a%db\""), 7, "/tap", NULL, NULL, NULL},
	{"ADD", WITH("\"tap\":\"abcdefghijklmnop\""), 7, "/tap", NULL, NULL, NULL},
	{"ADD", WITH("\"tap\":\"\""), 7, "/tap", NULL, NULL, NULL},
	{"ADD", WITH("\"tap\":[]"), 7, "/tap", NULL, NULL, NULL},
	{"ADD", WITH("\"tap\":\"eth0\""), 100, "make tap eth0", NULL, NULL, NULL},
	/* prevResult */
	{"ADD", "{" HEAD "}", 7, "/prevResult", NULL, NULL, NULL},
	{"CHECK", "{" HEAD "}", 7, "/prevResult", NULL, NULL, NULL},
	{"ADD", "{" HEAD ",\"prevResult\":null}", 7, "/prevResult", NULL, NULL, NULL},
	{"ADD", "{" HEAD ",\"prevResult\":[]}", 6, "/prevResult", NULL, NULL, NULL},
	{"ADD", "{" HEAD ",\"prevResult\":\"x\"}", 6, "/prevResult", NULL, NULL, NULL},
	{"ADD", RESULT(""), 7, "/prevResult/interfaces", NULL, NULL, NULL},
	{"ADD", RESULT("\"interfaces\":[]"), 7, "/prevResult/interfaces", NULL, NULL, NULL},
	{"ADD", RESULT("\"interfaces\":{}"), 6, "/prevResult/interfaces", NULL, NULL, NULL},
	{"ADD", RESULT("\"interfaces\":[7]"), 6, "/prevResult/interfaces/0", NULL, NULL, NULL},
	{"ADD", RESULT("\"interfaces\":[null]"), 6, "/prevResult/interfaces/0", NULL, NULL, NULL},
	{"ADD", RESULT("\"interfaces\":[{\"name\":[]}]"), 6, "/interfaces/0/name", NULL, NULL,
	 NULL},
	{"ADD", RESULT("\"interfaces\":[{}]"), 7, "/interfaces/0/name", NULL, NULL, NULL},
	{"ADD", RESULT("\"interfaces\":[{\"name\":\"abcdefghijklmnop\"}]"), 7, "/interfaces/0/name",
	 NULL, NULL, NULL},
	{"ADD", RESULT("\"interfaces\":[{\"name\":\"eth0\"}]"), 7, "no plugin before has made eth0",
	 NULL, NULL, NULL},
	{"ADD", RESULT("\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"/run\"}]"), 7,
	 "no plugin before", NULL, NULL, NULL},
	{"ADD", RESULT("\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":7}]"), 6, "/0/sandbox", NULL,
	 NULL, NULL},
	{"ADD", RESULT("\"interfaces\":[{\"name\":\"eth0\",\"mac\":\"zz\",\"sandbox\":\"@\"}]"), 7,
	 "/0/mac", NULL, NULL, NULL},
	{"ADD",
	 RESULT("\"interfaces\":[{\"name\":\"eth0\",\"mac\":\"02:00:00:00:00:77\",\"sandbox\":\"@"
		"\"}]"),
	 100, "MAC", NULL, NULL, NULL},
	{"ADD", RESULT("\"interfaces\":[{\"name\":\"eth0\",\"mtu\":-7,\"sandbox\":\"@\"}]"), 6,
	 "/0/mtu", NULL, NULL, NULL},
	{"ADD", RESULT("\"interfaces\":[{\"name\":\"eth0\",\"mtu\":9000,\"sandbox\":\"@\"}]"), 100,
	 "MTU 9000", NULL, NULL, NULL},
	{"ADD", RESULT("\"cniVersion\":\"1.0.0\"," IFACES), 7, "/prevResult/cniVersion", NULL, NULL,
	 NULL},
	{"ADD", RESULT("\"cniVersion\":1," IFACES), 6, "/prevResult/cniVersion", NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"ips\":7"), 6, "/prevResult/ips", NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"ips\":[[]]"), 6, "/prevResult/ips/0", NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"ips\":[{}]"), 7, "/ips/0/address", NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"ips\":[{\"address\":\"10.1.0.2\"}]"), 7, "/ips/0/address", NULL,
	 NULL, NULL},
	{"ADD", RESULT(IFACES ",\"ips\":[{\"address\":\"10.1.0.2/33\"}]"), 7, "/ips/0/address",
	 NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"ips\":[{\"address\":\"300.1.0.2/8\"}]"), 7, "/ips/0/address",
	 NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"ips\":[{\"address\":\"fe80::1/129\"}]"), 7, "/ips/0/address",
	 NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"ips\":[{\"address\":\"10.1.0.2/24\",\"interface\":2}]"), 7,
	 "/ips/0/interface", NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"ips\":[{\"address\":\"10.1.0.2/24\",\"interface\":-1}]"), 6,
	 "/ips/0/interface", NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"ips\":[{\"address\":\"10.1.0.2/24\",\"gateway\":\"x\"}]"), 7,
	 "/ips/0/gateway", NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"routes\":{}"), 6, "/prevResult/routes", NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"routes\":[{\"dst\":\"x\"}]"), 7, "/routes/0/dst", NULL, NULL,
	 NULL},
	{"ADD", RESULT(IFACES ",\"routes\":[{\"dst\":\"::/0\",\"gw\":7}]"), 6, "/routes/0/gw", NULL,
	 NULL, NULL},
	{"ADD", RESULT(IFACES ",\"routes\":[{\"dst\":\"::/0\",\"mtu\":\"x\"}]"), 6, "/routes/0/mtu",
	 NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"dns\":[]"), 6, "/prevResult/dns", NULL, NULL, NULL},
	{"ADD", RESULT(IFACES ",\"dns\":{\"nameservers\":[7]}"), 6, "/dns/nameservers/0", NULL,
	 NULL, NULL},
	/* of a key that is there twice, the last counts, as with Go's decoder */
	{"ADD", WITH("\"queues\":4,\"queues\":0"), 7, "/queues", NULL, NULL, NULL},
	{"ADD", "{" HEAD "," PREV ",\"prevResult\":[]}", 6, "/prevResult", NULL, NULL, NULL},
	/* namespaces that are none */
	{"ADD", CONF, 7, "/prevResult/interfaces", NULL, "/run/gone", NULL},
	{"ADD",
	 "{" HEAD
	 ",\"prevResult\":{\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"/run/gone\"}]}}",
	 4, "CNI_NETNS", NULL, "/run/gone", NULL},
	{"ADD",
	 "{" HEAD
	 ",\"prevResult\":{\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"/dev/null\"}]}}",
	 4, "CNI_NETNS", NULL, "/dev/null", NULL},
	{"ADD",
	 "{" HEAD ",\"prevResult\":{\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"/proc/self/ns/"
		  "net\"}]}}",
	 4, "the node's own", NULL, "/proc/self/ns/net", NULL},
	/* interfaces that are not there, containers that are not known */
	{"ADD",
	 "{" HEAD ",\"prevResult\":{\"interfaces\":[{\"name\":\"net1\",\"sandbox\":\"@\"}]}}", 100,
	 "net1: there is none", NULL, NULL, "net1"},
	{"CHECK", CONF, 3, "no attachment", NULL, NULL, NULL},
	/* collection */
	{"GC", "{" HEAD "}", 7, "valid-attachments", NULL, NULL, NULL},
	{"GC", "{" HEAD ",\"cni.dev/valid-attachments\":{}}", 6, "valid-attachments", NULL, NULL,
	 NULL},
	{"GC", "{" HEAD ",\"cni.dev/valid-attachments\":[7]}", 6, "valid-attachments", NULL, NULL,
	 NULL},
	{"GC", "{" HEAD ",\"cni.dev/valid-attachments\":[{\"containerID\":\"a\"}]}", 7, "missing",
	 NULL, NULL, NULL},
	{"GC", "{" HEAD ",\"cni.dev/valid-attachments\":[{\"containerID\":1,\"ifname\":\"a\"}]}", 6,
	 "containerID", NULL, NULL, NULL},
};

START_TEST(refused)
{
	_cleanup_free_ char *out = NULL;
	struct node t;
	int rc;

	if (bad[_i].code == CNI_NOT_JOINED)
		node_begin(&t);
	else
		node_empty(&t);
	set_env(bad[_i].id ? bad[_i].id : "pod", bad[_i].netns ? bad[_i].netns : t.n.path,
		bad[_i].ifname ? bad[_i].ifname : "eth0");
	rc = call(&t, bad[_i].command, bad[_i].conf, &out);
	is_error(out, rc, bad[_i].code, bad[_i].want);
	if (t.before)
		node_looks_unchanged(&t);
	else
		node_still_empty(&t);
	node_end(&t);
}
END_TEST

/* Much input: bytes, elements. */
START_TEST(too_much)
{
	size_t len = 10u << 20, i;
	struct strbuf b = {.text = NULL};
	char *text = malloc(len), *out = NULL;
	struct node t;
	int rc;

	node_empty(&t);
	set_env("pod", t.n.path, "eth0");
	memset(text, ' ', len);
	rc = call_bytes("ADD", text, len, &out);
	is_error(out, rc, 6, "more than");
	free(out);
	memset(text, '[', len);
	rc = call_bytes("DEL", text, 1000000, &out);
	is_error(out, rc, 6, "JSON");
	free(out);
	strbuf_add(&b, "{" HEAD ",\"prevResult\":{\"interfaces\":[" ETH0);
	for (i = 0; i < 10000; i++)
		strbuf_add(&b, ",{\"name\":\"h%zu\"}", i);
	strbuf_add(&b, "]}}");
	call_fails(&t, "ADD", b.text, 7, "more than 64");
	node_still_empty(&t);
	strbuf_done(&b);
	free(text);
	node_end(&t);
}
END_TEST

START_TEST(nothing_to_read)
{
	_cleanup_free_ char *out = NULL;
	size_t n;
	FILE *f = open_memstream(&out, &n);
	int rc = cni_run("ADD", -1, f);

	fclose(f);
	is_error(out, rc, 5, "Bad file descriptor");
}
END_TEST

/* ---- what works ------------------------------------------------------------------- */

static const char *const versions[] = {"0.3.1", "0.4.0", "1.0.0", "1.1.0"};

START_TEST(there_and_back)
{
	char conf[1024];
	_cleanup_free_ char *out = NULL, *tap = NULL;
	struct node t;

	node_begin(&t);
	set_env("pod", t.n.path, "eth0");
	snprintf(conf, sizeof(conf), "{\"cniVersion\":\"%s\",\"name\":\"net\"," PREV "}",
		 versions[_i]);
	ck_assert_msg(!call(&t, "ADD", conf, &out), "%s", out);
	ck_assert_msg(strstr(out, "\"tap2\"") && strstr(out, versions[_i]), "%s", out);
	ck_assert_msg(strstr(out, "\"10.1.0.2\\/24\"") || strstr(out, "\"10.1.0.2/24\""), "%s",
		      out);
	ck_assert_msg(!!strstr(out, "\"mtu\":") == (_i == 3), "%s", out);
	kit_net_enter(t.n.pod);
	tap = kit_output("ip -d link show dev tap2");
	kit_net_enter(t.n.host);
	ck_assert_msg(strstr(tap, "persist on") && strstr(tap, "qdisc noqueue") &&
			      strstr(tap, "link/ether " MAC) && strstr(tap, "alias podvm:eth0") &&
			      !strstr(tap, "multi_queue on"),
		      "%s", tap);
	call_ok(&t, "DEL", conf);
	node_unchanged(&t);
	call_ok(&t, "DEL", conf);
	node_end(&t);
}
END_TEST

START_TEST(as_configured)
{
	_cleanup_free_ char *tap = NULL;
	struct node t;

	node_begin(&t);
	set_env("pod", t.n.path, "eth0");
	call_ok(&t, "ADD",
		WITH("\"queues\":4,\"owner\":{\"uid\":54321,\"gid\":54322},\"tap\":\"vm0\""));
	kit_net_enter(t.n.pod);
	tap = kit_output("ip -d link show dev vm0");
	kit_net_enter(t.n.host);
	ck_assert_msg(strstr(tap, "multi_queue") && strstr(tap, "user 54321") &&
			      strstr(tap, "group 54322"),
		      "%s", tap);
	call_ok(&t, "DEL", "{" HEAD ",\"queues\":\"no matter\"}");
	node_unchanged(&t);
	/* A name that somebody has. */
	kit_run_in(t.n.pod, "ip link add vm0 type veth peer name vm1");
	call_fails(&t, "ADD", WITH("\"tap\":\"vm0\""), 100, "vm0");
	kit_run_in(t.n.pod, "ip link del vm0");
	node_unchanged(&t);
	node_end(&t);
}
END_TEST

/* The same ADD once more changes nothing, another one makes the tap anew. */
START_TEST(add_twice)
{
	_cleanup_free_ char *one = NULL, *two = NULL, *before = NULL, *after = NULL;
	struct node t;

	node_begin(&t);
	set_env("pod", t.n.path, "eth0");
	ck_assert_int_eq(call(&t, "ADD", CONF, &one), 0);
	kit_net_enter(t.n.pod);
	before = short_state();
	kit_net_enter(t.n.host);
	ck_assert_int_eq(call(&t, "ADD", CONF, &two), 0);
	ck_assert_str_eq(one, two);
	kit_net_enter(t.n.pod);
	after = short_state();
	kit_net_enter(t.n.host);
	kit_same_text(after, before);
	/* A failed ADD of somebody else leaves it alone. */
	set_env("other", t.n.path, "eth0");
	call_fails(&t, "ADD", CONF, 100, "cni:net:pod:eth0");
	set_env("pod", t.n.path, "eth0");
	call_ok(&t, "CHECK",
		"{" HEAD ",\"prevResult\":{\"interfaces\":[" ETH0
		",{\"name\":\"tap2\",\"sandbox\":\"@\"}]}}");
	call_ok(&t, "ADD", WITH("\"queues\":2"));
	kit_run_in(t.n.pod, "ip -d link show dev tap2 | grep -q multi_queue");
	call_ok(&t, "DEL", CONF);
	node_unchanged(&t);
	node_end(&t);
}
END_TEST

static const struct {
	const char *fault, *want;
} faults[] = {
	{"tc filter del dev eth0 ingress", "filter is missing"},
	{"tc qdisc del dev tap2 ingress", "filter is missing"},
	{"ip link del tap2", "is gone"},
	{"ip link set tap2 down", "is down"},
	{"ip link set tap2 mtu 1300", "MTU"},
	{"ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:99; ip link set eth0 up",
	 "MAC"},
	{"ip addr del 10.1.0.2/24 dev eth0", "10.1.0.2/24"},
	{"ip link del eth0", "there is none"},
};

START_TEST(check_finds)
{
	static const char conf[] =
		"{" HEAD ",\"prevResult\":{\"interfaces\":[" ETH0
		",{\"name\":\"tap2\",\"mac\":\"" MAC "\",\"mtu\":1500,\"sandbox\":\"@\"}],"
		"\"ips\":[{\"address\":\"10.1.0.2/24\",\"interface\":0}]}}";
	struct node t;

	node_begin(&t);
	set_env("pod", t.n.path, "eth0");
	call_ok(&t, "ADD", CONF);
	call_ok(&t, "CHECK", conf);
	call_fails(&t, "CHECK", CONF, 101, "does not name the tap");
	kit_run_in(t.n.pod, "%s", faults[_i].fault);
	call_fails(&t, "CHECK", conf, 101, faults[_i].want);
	call_ok(&t, "DEL", CONF);
	kit_run_in(t.n.pod, "! ip link show dev tap2");
	node_end(&t);
}
END_TEST

/* DEL without a namespace, without prevResult, and when the namespace is gone. */
START_TEST(del_of_what_is_gone)
{
	char path[64];
	struct node t;
	int other;

	node_begin(&t);
	set_env("pod", t.n.path, "eth0");
	call_ok(&t, "ADD", CONF);
	set_env("pod", "", "eth0");
	call_ok(&t, "DEL", "{" HEAD "}");
	node_unchanged(&t);
	set_env("pod", t.n.path, "eth0");
	call_ok(&t, "ADD", CONF);
	/* The path leads to another namespace now. */
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	other = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s", t.n.path);
	ck_assert_int_eq(dup2(other, t.n.pod), t.n.pod);
	call_ok(&t, "DEL", "{" HEAD "}");
	ck_assert(!kit_try("ls " ATTACH_STATE_DIR "/* 2>/dev/null"));
	close(other);
	node_end(&t);
}
END_TEST

/* What is not valid goes, of this network alone. */
START_TEST(collected)
{
	struct node t;

	node_begin(&t);
	kit_run_in(t.n.pod, "ip link add eth1 type veth peer name p1 && ip link set eth1 up");
	set_env("pod", t.n.path, "eth0");
	call_ok(&t, "ADD", CONF);
	set_env("pod2", t.n.path, "eth1");
	call_ok(&t, "ADD",
		"{" HEAD
		",\"prevResult\":{\"interfaces\":[{\"name\":\"eth1\",\"sandbox\":\"@\"}]}}");
	call_ok(&t, "GC",
		"{\"cniVersion\":\"1.1.0\",\"name\":\"ne\",\"cni.dev/valid-attachments\":[]}");
	call_ok(&t, "GC",
		"{" HEAD
		",\"cni.dev/valid-attachments\":[{\"containerID\":\"pod2\",\"ifname\":\"eth0\"},"
		"{\"containerID\":\"pod\",\"ifname\":\"eth0\"}]}");
	kit_run_in(t.n.pod, "ip link show dev tap2 && ! ip link show | grep -q podvm:eth1");
	call_ok(&t, "GC", "{" HEAD ",\"cni.dev/valid-attachments\":[]}");
	kit_run_in(t.n.pod, "ip link del eth1");
	node_unchanged(&t);
	node_end(&t);
}
END_TEST

START_TEST(told)
{
	_cleanup_free_ char *out = NULL, *unknown = NULL;
	struct node t;

	node_begin(&t);
	set_env("", "", "");
	call_ok(&t, "STATUS", "{" HEAD "}");
	ck_assert_int_eq(call(&t, "VERSION", "", &out), 0);
	ck_assert_msg(strstr(out, "0.3.1") && strstr(out, "1.1.0"), "%s", out);
	ck_assert_int_eq(call(&t, "VERSION", "{\"cniVersion\":\"9.9.9\"}", &unknown), 0);
	ck_assert_msg(strstr(unknown, "\"cniVersion\": \"9.9.9\""), "%s", unknown);
	/* What a node may lack. */
	kit_run("mount -t tmpfs none /dev");
	call_fails(&t, "STATUS", "{" HEAD "}", 50, "/dev/net/tun");
	set_env("pod", t.n.path, "eth0");
	call_fails(&t, "ADD", CONF, 100, "/dev/net/tun");
	ck_assert_int_eq(umount2("/dev", MNT_DETACH), 0);
	node_unchanged(&t);
	node_end(&t);
}
END_TEST

/* ---- locks, crashes -------------------------------------------------------------- */

START_TEST(two_at_work)
{
	struct attachment a = ATTACHMENT_INIT;
	struct err e = {0};
	struct node t;
	int store;

	node_empty(&t);
	set_env("pod", t.n.path, "eth0");
	ck_assert_int_eq(attach_store(&store, &e), 0);
	ck_assert_int_eq(attachment_open(store, "cni:net:pod:eth0", true, &a, &e), 0);
	call_fails(&t, "ADD", CONF, 11, "another command");
	call_fails(&t, "DEL", CONF, 11, "another command");
	call_ok(&t, "GC", "{" HEAD ",\"cni.dev/valid-attachments\":[]}");
	attachment_close(&a);
	node_still_empty(&t);
	close(store);
	node_end(&t);
}
END_TEST

/* ADD in a child that may write @limit bytes of its journal. Return: it got through */
static bool add_limited(struct node *t, rlim_t limit, bool killed)
{
	struct rlimit r = {.rlim_cur = limit, .rlim_max = RLIM_INFINITY};
	int status, rc;
	char *out;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct rlimit none = {0};
		_cleanup_free_ char *text = fill(CONF, t->n.path);
		int in[2];
		size_t n;
		FILE *f = open_memstream(&out, &n);

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGXFSZ, killed ? SIG_DFL : SIG_IGN);
		if (pipe(in) < 0 || write(in[1], text, strlen(text)) < 0)
			_exit(2);
		close(in[1]);
		setrlimit(RLIMIT_FSIZE, &r);
		rc = cni_run("ADD", in[0], f);
		fclose(f);
		_exit(rc);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) ? WEXITSTATUS(status) < 2 : WTERMSIG(status) == SIGXFSZ);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

START_TEST(killed_at_every_step)
{
	static const char *const cleaner[] = {"DEL", "GC", "ADD"};
	unsigned int how = (unsigned int)_i % 3, steps = 0;
	bool killed = _i < 3, through = false;
	struct node t;
	rlim_t limit;

	node_begin(&t);
	set_env("pod", t.n.path, "eth0");
	for (limit = 0; !through && limit < 4096; limit += 67) {
		through = add_limited(&t, limit, killed);
		if (!killed && !through)
			node_looks_unchanged(&t);
		steps += !through && kit_try("test -s " ATTACH_STATE_DIR "/cni:net:pod:eth0");
		call_ok(&t, cleaner[how],
			how == 1 ? "{" HEAD ",\"cni.dev/valid-attachments\":[]}" : CONF);
		if (how == 2)
			call_ok(&t, "DEL", CONF);
		node_looks_unchanged(&t);
	}
	ck_assert(through);
	ck_assert(!killed || steps > 2);
	node_unchanged(&t);
	node_end(&t);
}
END_TEST

/* ---- VMMs ------------------------------------------------------------------------ */

/* podvm takes the tap that is there, and leaves it there. */
START_TEST(taken)
{
	struct netplug_port port[NETPLUG_PORTS_MAX], none[NETPLUG_PORTS_MAX];
	_cleanup_free_ char *before = NULL, *after = NULL;
	const struct netplug_options any = { .model = NETPLUG_AUTO };
	struct netplug_plan *p = NULL, *q = NULL;
	struct journal *j = NULL;
	struct err e = {0};
	struct node t;
	size_t n = 0, i;

	node_begin(&t);
	set_env("pod", t.n.path, "eth0");
	call_ok(&t, "ADD", _i ? WITH("\"queues\":4") : CONF);
	kit_net_enter(t.n.pod);
	before = short_state();
	ck_assert_int_eq(journal_open(AT_FDCWD, "/run/journal", &j, &e), 0);
	ck_assert_msg(!netplug_plan(t.n.pod, &any, &p, &e), "%s", e.text);
	ck_assert_msg(!netplug_apply(p, t.n.pod, t.n.path, 4, j, port, &n, &e), "%s", e.text);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(port[0].n_taps, _i ? 4 : 1);
	ck_assert_mem_eq(port[0].mac, "\x02\0\0\0\0\x02", 6);
	ck_assert_uint_eq(journal_mark(j), 0);
	/* A second VMM gets nothing. */
	ck_assert_msg(!netplug_plan(t.n.pod, &any, &q, &e), "%s", e.text);
	ck_assert_int_eq(netplug_apply(q, t.n.pod, t.n.path, 4, j, none, &i, &e), -EBUSY);
	ck_assert_msg(strstr(e.text, "a VM has it"), "%s", e.text);
	netplug_plan_free(q);
	netplug_port_close(&port[0]);
	after = short_state();
	kit_same_text(after, before);
	kit_net_enter(t.n.host);
	call_ok(&t, "DEL", CONF);
	/* The plan was made before. */
	ck_assert_int_eq(netplug_apply(p, t.n.pod, t.n.path, 1, j, port, &n, &e), -ESTALE);
	node_unchanged(&t);
	netplug_plan_free(p);
	journal_free(j);
	node_end(&t);
}
END_TEST

Suite *netplug_cni_suite(void)
{
	Suite *s = suite_create("netplug_cni");
	TCase *tc = tcase_create("cni");
	const char *missing = kit_net_missing(true);

	if (missing) {
		kit_skip("netplug_cni", missing);
		return s;
	}
	tcase_add_loop_test(tc, refused, 0, ARRAY_LEN(bad));
	tcase_add_test(tc, too_much);
	tcase_add_test(tc, nothing_to_read);
	tcase_add_loop_test(tc, there_and_back, 0, ARRAY_LEN(versions));
	tcase_add_test(tc, as_configured);
	tcase_add_test(tc, add_twice);
	tcase_add_loop_test(tc, check_finds, 0, ARRAY_LEN(faults));
	tcase_add_test(tc, del_of_what_is_gone);
	tcase_add_test(tc, collected);
	tcase_add_test(tc, told);
	tcase_add_test(tc, two_at_work);
	tcase_add_loop_test(tc, killed_at_every_step, 0, 6);
	tcase_add_loop_test(tc, taken, 0, 2);
	tcase_set_timeout(tc, 300);
	suite_add_tcase(s, tc);
	return s;
}
