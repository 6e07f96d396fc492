// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What a command is about is one word, TARGET: a pod's id, a container's id, a
 * network namespace or a process. A word with a slash is a path. Any other is
 * looked for in all four places; found in several, it is fine as long as all of
 * them mean the same namespace (the id of a sandbox is that of its pod as well),
 * and an error that names them otherwise.
 *
 * Below podvm's state directory (runtime/state.c) containers/ID.json names the
 * container's pod, and pods/POD/control.sock leads to the pod's supervisor, who
 * gives the namespace's descriptor. A target that was named in another way is
 * looked for among the pods: whose supervisor holds the same namespace is its
 * pod. So a command finds the guest's half whichever way its target was named.
 *
 * Everything here only reads. What dead pods have left is podvm's to clean up.
 */
#include "netplug/target.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "netplug/netns.h"

/* Where ip(8) keeps the names of namespaces. */
#define NETNS_DIR "/run/netns"

/* A supervisor that is not asked by name gets no longer for its answer. */
#define LOOK_MS 2000

/* Longest record of a container (runtime/state.c). */
#define RECORD_BYTES (1u << 20)

enum source { FROM_POD, FROM_CONTAINER, FROM_NAME, FROM_PID, SOURCES };

/* One place where the word was found. */
struct found {
	int fd;			/* the namespace, owned; -1: not found here */
	int sock;		/* owned; of a pod's supervisor, or -1 */
	char pod[NAME_MAX + 1];
	char path[PATH_MAX];
};

static void found_done(struct found *f)
{
	fd_close(&f->fd);
	fd_close(&f->sock);
}

/* A word that can be an id: what it is joined to stays in its folder. */
static bool is_id(const char *word)
{
	return *word && *word != '.' && !strchr(word, '/') && strlen(word) < NAME_MAX - 8;
}

static bool is_number(const char *word)
{
	const char *s;

	for (s = word; isdigit((unsigned char)*s); s++)
		;
	return *word && !*s && s - word < 10;
}

/* A name for the namespace: the engine's, one of ip(8)'s, or the supervisor's descriptor. */
static void name_netns(int netns_fd, const Podvm__Pod__Network *n, char path[PATH_MAX])
{
	DIR *d;
	struct dirent *de;

	snprintf(path, PATH_MAX, "%s", n->netns_path);
	if (netns_leads(path, netns_fd))
		return;
	d = opendir(NETNS_DIR);
	while (d && (de = readdir(d))) {
		snprintf(path, PATH_MAX, NETNS_DIR "/%s", de->d_name);
		if (de->d_name[0] != '.' && netns_leads(path, netns_fd))
			break;
	}
	if (!d || !de)
		snprintf(path, PATH_MAX, "%s", n->netns_held);
	if (d)
		closedir(d);
}

static int ask(int sock, bool agent, bool devices, int fds[2], size_t *ret_n,
	       Podvm__Pod__Response **ret, struct err *e)
{
	Podvm__Pod__NetworkGet m = PODVM__POD__NETWORK_GET__INIT;
	Podvm__Pod__Request rq = POD_REQUEST(network = &m, NETWORK);
	int rc;

	m.agent = agent;
	m.devices = devices;
	rc = pod_call_fds(sock, &rq, fds, 1, 2, ret_n, ret, e);
	if (rc < 0 || (*ret)->network)
		return rc;
	while (*ret_n)
		close(fds[--*ret_n]);
	podvm__pod__response__free_unpacked(*ret, NULL);
	return err_set(e, EPROTO, "the pod's supervisor says nothing of its network; is it an older one?");
}

/* The namespace of a living pod. Return: 0; -ENOENT: there is no such pod; minus errno */
static int find_pod(int rootfd, const char *pod, int timeout_ms, struct found *ret,
		    struct err *e)
{
	_cleanup_close_ int dir = -1, sock = -1;
	char path[NAME_MAX + 8];
	Podvm__Pod__Response *rs;
	int fds[2], rc;
	size_t n;

	snprintf(path, sizeof(path), "pods/%s", pod);
	dir = openat(rootfd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT || errno == ENOTDIR ? -ENOENT : err_sys(e, "pod %s", pod);
	rc = pod_call_open(dir, timeout_ms, &sock, e);
	if (rc == -ENOENT || rc == -ECONNREFUSED)
		return err_set(e, ESRCH, "pod %s has ended; podvm list cleans up what it left", pod);
	if (!rc)
		rc = ask(sock, false, false, fds, &n, &rs, e);
	if (rc < 0)
		return err_wrap(e, "pod %s", pod);
	while (n > 1)
		close(fds[--n]);
	ret->fd = fds[0];
	ret->sock = fd_steal(&sock);
	snprintf(ret->pod, sizeof(ret->pod), "%s", pod);
	name_netns(ret->fd, rs->network, ret->path);
	podvm__pod__response__free_unpacked(rs, NULL);
	return 0;
}

/**
 * target_container_pod() - the pod of a container, by its record (runtime/state.c)
 *
 * Return: 0; -ENOENT: there is no such container; minus errno
 */
int target_container_pod(int rootfd, const char *id, char pod[NAME_MAX + 1], struct err *e)
{
	char path[NAME_MAX + 24];
	_cleanup_free_ char *text = NULL;
	struct json_doc *doc = NULL;
	const char *v = NULL;
	struct jnode root;
	size_t len;
	int rc;

	snprintf(path, sizeof(path), "containers/%s.json", id);
	rc = file_read(rootfd, path, RECORD_BYTES, &text, &len, e);
	if (rc == -ENOENT || rc == -ENOTDIR)
		return -ENOENT;
	if (!rc)
		rc = json_parse(text, len, &doc, e);
	if (rc < 0)
		return err_wrap(e, "container %s: state", id);
	root = json_root(doc);
	rc = json_str(&root, "pod", &v, e);
	if (rc >= 0)
		rc = v && is_id(v) && str_copy(pod, NAME_MAX + 1, v) >= 0 ?
			     0 :
			     err_set(e, EINVAL, "damaged record");
	json_free(doc);
	return rc < 0 ? err_wrap(e, "container %s: state", id) : 0;
}

static int find_in(enum source from, int rootfd, const char *word, struct found *ret,
		   struct err *e)
{
	char pod[NAME_MAX + 1];
	int rc;

	switch (from) {
	case FROM_POD:
		return rootfd < 0 ? -ENOENT : find_pod(rootfd, word, POD_ANSWER_MS, ret, e);
	case FROM_CONTAINER:
		rc = rootfd < 0 ? -ENOENT : target_container_pod(rootfd, word, pod, e);
		if (!rc && (rc = find_pod(rootfd, pod, POD_ANSWER_MS, ret, e)) == -ENOENT)
			rc = err_set(e, ESRCH, "container %s: its pod %s has ended", word, pod);
		return rc;
	case FROM_NAME:
		snprintf(ret->path, sizeof(ret->path), NETNS_DIR "/%s", word);
		break;
	default:
		if (!is_number(word))
			return -ENOENT;
		snprintf(ret->path, sizeof(ret->path), "/proc/%s/ns/net", word);
	}
	rc = netns_open(ret->path, e);
	if (rc >= 0)
		ret->fd = rc;
	return rc < 0 ? rc : 0;
}

static int ambiguous(const char *word, const struct found *f, struct err *e)
{
	static const char *const what[SOURCES] = { "a pod", "a container", "a named network namespace",
						   "a process" };
	struct strbuf list = { .text = NULL };
	int i, rc;

	for (i = 0; i < SOURCES; i++)
		if (f[i].fd >= 0)
			strbuf_add(&list, "%s%s", list.len ? " and " : "", what[i]);
	rc = err_set(e, ENOTUNIQ, "%s is %s, with different network namespaces; say --netns " NETNS_DIR
		     "/%s or --pid %s, or the id of another container of the pod", word,
		     list.text ? list.text : "several things", word, word);
	strbuf_done(&list);
	return rc;
}

static void take(struct target *t, struct found *f)
{
	t->netns_fd = fd_steal(&f->fd);
	t->sock = fd_steal(&f->sock);
	memcpy(t->pod, f->pod, sizeof(t->pod));
	memcpy(t->path, f->path, sizeof(t->path));
}

/* Looks for the word everywhere. */
static int open_word(struct target *t, int rootfd, struct err *e)
{
	struct found f[SOURCES];
	char shown[64];
	int i, first = -1, rc = 0, failed = 0;
	struct err why = { 0 };

	str_quote(shown, sizeof(shown), t->word);
	for (i = 0; i < SOURCES; i++) {
		f[i] = (struct found){ .fd = -1, .sock = -1 };
		rc = is_id(t->word) ? find_in(i, rootfd, t->word, &f[i], &why) : -ENOENT;
		if (rc < 0 && rc != -ENOENT && !failed) {
			failed = rc;
			*e = why;
		}
		if (!rc && first < 0)
			first = i;
	}
	rc = 0;
	for (i = 0; first >= 0 && i < SOURCES && !rc; i++)
		if (f[i].fd >= 0 && netns_same(f[first].fd, f[i].fd, NULL) != 1)
			rc = ambiguous(shown, f, e);
	if (first < 0)
		rc = failed ? failed : err_set(e, ENOENT, "%s is no pod or container below %s, no network namespace in "
					       NETNS_DIR " and no process; podvm list and ip netns list show what there is",
					       shown, t->root);
	if (!rc)
		take(t, &f[first]);
	for (i = 0; i < SOURCES; i++)
		found_done(&f[i]);
	return rc;
}

static int open_path(struct target *t, const char *path, struct err *e)
{
	int fd;

	if (str_copy(t->path, sizeof(t->path), path) < 0)
		return err_set(e, ENAMETOOLONG, "path of the network namespace is too long");
	fd = netns_open(path, e);
	if (fd < 0)
		return fd;
	t->netns_fd = fd;
	return 0;
}

/* The pod whose namespace it is; none is fine, and so is one that does not answer. */
static void look_for_pod(struct target *t, int rootfd)
{
	_cleanup_close_ int pods = openat(rootfd, "pods", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = pods < 0 ? NULL : fdopendir(pods);
	struct dirent *de;
	struct err ignored;

	if (!d)
		return;
	pods = -1;
	while (t->sock < 0 && (de = readdir(d))) {
		struct found f = { .fd = -1, .sock = -1 };

		if (is_id(de->d_name) && !find_pod(rootfd, de->d_name, LOOK_MS, &f, &ignored) &&
		    netns_same(f.fd, t->netns_fd, NULL) == 1) {
			t->sock = fd_steal(&f.sock);
			memcpy(t->pod, f.pod, sizeof(t->pod));
		}
		found_done(&f);
	}
	closedir(d);
}

/**
 * target_parse() - parse the options and TARGET of a command
 * @table: with TARGET_OPTIONS()
 * @help:  text before the options
 *
 * Options may come before TARGET and behind it.
 *
 * Return: 0; 1 if --help was all; -EINVAL
 */
int target_parse(const struct opt *table, struct target *t, int argc, char **argv,
		 const char *help, struct err *e)
{
	char shown[64];
	int first, more, rc = opt_parse(table, argc, argv, &first, e);

	if (!rc && first < argc) {
		t->word = argv[first];
		rc = opt_parse(table, argc - first, argv + first, &more, e);
		first += more;
	}
	if (rc < 0)
		return rc;
	if (t->help) {
		printf("%s" TARGET_HELP, help);
		opt_help(stdout, table);
		return 1;
	}
	if (first < argc) {
		str_quote(shown, sizeof(shown), argv[first]);
		return err_set(e, EINVAL, "unknown argument %s; see --help", shown);
	}
	if (!!t->word + !!t->netns + (t->pid != UINT64_MAX) > 1)
		return err_set(e, EINVAL, "TARGET, --netns and --pid exclude each other");
	return 0;
}

/**
 * target_open() - open the target's network namespace, and find its pod
 * @t: from target_parse(); target_close() it also after a failure
 *
 * Return: 0; -ENOENT; -ENOTUNIQ; -ESRCH for a pod that has ended; minus errno
 */
int target_open(struct target *t, struct err *e)
{
	_cleanup_close_ int rootfd = open(t->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char path[64] = "/proc/self/ns/net";
	int rc;

	if (t->pid != UINT64_MAX)
		snprintf(path, sizeof(path), "/proc/%llu/ns/net", (unsigned long long)t->pid);
	if (t->word && !strchr(t->word, '/'))
		rc = open_word(t, rootfd, e);
	else
		rc = open_path(t, t->word ? t->word : t->netns ? t->netns : path, e);
	if (rc < 0)
		return rc;
	if (!*t->pod && rootfd >= 0)
		look_for_pod(t, rootfd);
	if (t->pid != UINT64_MAX)
		snprintf(t->shown, sizeof(t->shown), "of process %llu",
			 (unsigned long long)t->pid);
	else if (t->word || t->netns)
		snprintf(t->shown, sizeof(t->shown), "%.180s", t->path);
	else
		snprintf(t->shown, sizeof(t->shown), "of this process");
	return 0;
}

/**
 * target_network() - what the pod's supervisor knows of its network, with counters
 * @ret: podvm__pod__response__free_unpacked(); its member network is set
 *
 * Return: 0; -ENOENT for a namespace that is no pod's; minus errno
 */
int target_network(const struct target *t, Podvm__Pod__Response **ret, struct err *e)
{
	size_t n = 0;
	int fds[2], rc;

	if (t->sock < 0)
		return err_set(e, ENOENT, "no pod below %s has this network namespace", t->root);
	rc = ask(t->sock, false, true, fds, &n, ret, e);
	while (n)
		close(fds[--n]);
	return rc;
}

/**
 * target_agent() - a new connection to the agent in the pod's guest
 * @ret: owned by the caller, agent_done()
 *
 * Return: 0; -ENOENT for a namespace that is no pod's; -ESRCH without a guest; minus errno
 */
int target_agent(const struct target *t, struct agent *ret, struct err *e)
{
	Podvm__Pod__Response *rs;
	size_t n = 0;
	int fds[2], rc;

	if (t->sock < 0)
		return err_set(e, ENOENT, "no pod below %s has this network namespace", t->root);
	rc = ask(t->sock, true, false, fds, &n, &rs, e);
	if (rc < 0)
		return rc;
	podvm__pod__response__free_unpacked(rs, NULL);
	close(fds[0]);
	if (n < 2)
		return err_set(e, ESRCH, "the pod's machine has ended");
	*ret = (struct agent){ .fd = fds[1] };
	return 0;
}

/**
 * target_close() - close what target_open() opened; twice is fine
 */
void target_close(struct target *t)
{
	fd_close(&t->netns_fd);
	fd_close(&t->sock);
}
