// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * configMaps, secrets and their like, inside a pod. Programs wait for their change by
 * inotify, of which a share tells nothing. So a read-only volume that is such a directory
 * (mirror-read.c) is not shared but mirrored: its content goes to the agent, which keeps
 * it in memory and replaces it in the same way, by a rename; that the guest's kernel
 * tells to whoever waits.
 *
 * Volumes of several containers with one source are one mirror, which has a key that
 * the pod never had before. It goes with the last of these containers.
 *
 * The source is watched by inotify, one instance for all mirrors of the pod. A change
 * starts a timer; when it runs off, the writer has finished, and what is new is sent.
 * Where the host has no instance left the timer runs all the time and looks itself.
 * What cannot be read or sent is tried again a few times; until then, and for a content
 * that has become too large, the guest keeps what it has.
 *
 * States of a mirror: known to the agent with @sent as its content; @tries left to bring
 * it up to date; without volumes (@refs 0), which the agent has to be told, again with
 * some @tries.
 *
 * An agent that does not answer holds us up once, for one call: while it owes an answer
 * nothing is asked, and no try is lost. One that is slow gets TREE_MS for a content, and
 * then the loop has its turn.
 *
 * Limits: MIRROR_*_MAX for each, MIRRORS_MAX for a pod.
 */
#include "runtime/supervisor/mirror.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "runtime/supervisor/supervisor.h"

#define MIRRORS_MAX 64u

/* For one answer; for all of a content's. */
#define AGENT_PUT_MS 5000
#define TREE_MS 10000

/* Until a writer has finished; between looks without inotify; before another try. */
#define SETTLE_MS 50
#define POLL_MS 500
#define RETRY_MS 1000
#define TRIES 5

/* Of one message, far below FRAME_MAX_BYTES; links are all in one. */
#define PART_BYTES (256u << 10)
#define PART_FILES 256u

/* What a writer does last: it renames, makes links, removes them. */
#define WATCHED (IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR)

/**
 * struct mirror - one mirrored directory
 * @key:   that the agent knows it by
 * @fd:    the directory, open for reading, owned
 * @dev, @ino: its
 * @watch: of inotify; -1: none
 * @refs:  volumes that show it; 0: it is gone but for the agent, and so is @fd
 * @sent:  content that the agent has, the data of its files left out
 * @tries: that are left to bring the agent up to date; 0: it is
 * @given_up: version that could not be had, and is not tried again; empty: none
 */
struct mirror {
	struct mirror *next;
	uint32_t key;
	int fd;
	dev_t dev;
	ino_t ino;
	int watch;
	unsigned int refs;
	struct mirror_tree sent;
	unsigned int tries;
	char given_up[MIRROR_VERSION_BYTES];
};

/**
 * struct mirrors - all of a pod
 * @inotify: owned; -1: the host has none for us
 * @timer:   owned; when mirrors are looked at
 */
struct mirrors {
	struct pod *pod;
	struct mirror *list;
	unsigned int n;
	uint32_t last_key;
	int inotify, timer;
	struct loop_src *inotify_src, *timer_src;
};

/* ---- to the agent --------------------------------------------------------------- */

/**
 * struct part - a message as it is put together
 * @file: borrows paths and data from the tree
 * @end_ms: of clock_ms(): the last of them must be answered
 */
struct part {
	Podvm__MirrorPut put;
	Podvm__MirrorFile file[MIRROR_FILES_MAX], *list[MIRROR_FILES_MAX];
	size_t bytes;
	uint64_t end_ms;
};

static int send_part(struct pod *p, struct part *t, struct err *e)
{
	Podvm__Request rq = AGENT_REQUEST(mirror_put = &t->put, MIRROR_PUT);
	int rc = clock_ms() < t->end_ms ? agent_call(&p->agent, &rq, AGENT_PUT_MS, NULL, e)
					: err_set(e, ETIMEDOUT, "the guest's agent is too slow");

	t->put.n_files = 0;
	t->put.begin = false;
	t->bytes = 0;
	return rc;
}

static int add_file(struct pod *p, struct part *t, const struct mirror_file *f, size_t from,
		    size_t len, struct err *e)
{
	Podvm__MirrorFile *to;
	int rc;

	if (!t->put.commit && (t->put.n_files == PART_FILES || t->bytes + len > PART_BYTES)) {
		rc = send_part(p, t, e);
		if (rc < 0)
			return rc;
	}
	to = &t->file[t->put.n_files];
	t->list[t->put.n_files++] = to;
	podvm__mirror_file__init(to);
	to->path = f->path;
	to->mode = f->mode;
	to->uid = f->uid;
	to->gid = f->gid;
	to->mtime_ns = f->mtime_ns;
	to->data.data = f->data + from;
	to->data.len = len;
	to->more = from != 0;
	t->bytes += len + strlen(f->path) + 64;
	return 0;
}

/* A long file goes in parts. */
static int add_parts(struct pod *p, struct part *t, const struct mirror_file *f, struct err *e)
{
	size_t at = 0;
	int rc;

	do {
		size_t len = f->len - at < PART_BYTES ? f->len - at : PART_BYTES;

		rc = add_file(p, t, f, at, len, e);
		at += len;
	} while (rc >= 0 && at < f->len);
	return rc;
}

/* Directories once more: their times are those before they were filled. */
static int add_times(struct pod *p, struct part *t, const struct mirror_tree *tree, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = tree->n; i-- > tree->n_links + 1 && rc >= 0;)
		if (S_ISDIR(tree->file[i].mode))
			rc = add_file(p, t, &tree->file[i], 0, 0, e);
	return rc;
}

/* Content, unless the agent has it, then the links, in messages of their own. */
static int send_tree(struct pod *p, uint32_t key, struct mirror_tree *tree, bool content,
		     struct err *e)
{
	struct part *t = mem_new(struct part);
	char name[12];
	size_t i;
	int rc = 0;

	if (!t)
		return err_set(e, ENOMEM, "out of memory");
	podvm__mirror_put__init(&t->put);
	t->end_ms = clock_ms() + TREE_MS;
	snprintf(name, sizeof(name), "%u", key);
	t->put.key = name;
	t->put.version = tree->version;
	t->put.files = t->list;
	t->put.begin = true;
	for (i = tree->n_links + 1; content && i < tree->n && rc >= 0; i++)
		rc = add_parts(p, t, &tree->file[i], e);
	if (content && rc >= 0)
		rc = add_times(p, t, tree, e);
	if (rc >= 0 && t->put.n_files)
		rc = send_part(p, t, e);
	t->put.commit = true;
	for (i = 0; i <= tree->n_links && rc >= 0; i++)
		rc = add_file(p, t, &tree->file[i], 0, tree->file[i].len, e);
	if (rc >= 0)
		rc = send_part(p, t, e);
	free(t);
	return rc;
}

static void forget_data(struct mirror_tree *t)
{
	size_t i;

	for (i = t->n_links + 1; i < t->n; i++)
		free(mem_steal(t->file[i].data));
}

static int agent_remove(struct pod *p, uint32_t key, struct err *e)
{
	Podvm__MirrorRemove rm = PODVM__MIRROR_REMOVE__INIT;
	Podvm__Request rq = AGENT_REQUEST(mirror_remove = &rm, MIRROR_REMOVE);
	char name[12];

	if (p->dead || p->agent.fd < 0)
		return 0;
	snprintf(name, sizeof(name), "%u", key);
	rm.key = name;
	return agent_call(&p->agent, &rq, AGENT_PUT_MS, NULL, e);
}

/* ---- watching --------------------------------------------------------------------- */

/* Brings the agent up to date. Return: 0 also when there is nothing to do */
static int update(struct pod *p, struct mirror *m, struct err *e)
{
	struct mirror_tree t = { 0 };
	bool content;
	int rc = mirror_read(m->fd, &t, e);

	if (rc < 0)
		return rc;
	content = strcmp(t.version, m->sent.version) != 0;
	if (content || !mirror_same_links(&t, &m->sent))
		rc = send_tree(p, m->key, &t, content, e);
	if (rc < 0) {
		mirror_tree_done(&t);
		return rc;
	}
	forget_data(&t);
	mirror_tree_done(&m->sent);
	m->sent = t;
	if (content)
		log_debug("volume: mirror %u has a new content", m->key);
	return 0;
}

/* Does what is left to do about a mirror. Return: something is, for later */
static bool look(struct mirrors *all, struct mirror *m)
{
	char now[MIRROR_VERSION_BYTES] = "";
	struct err e = { 0 };
	int rc;

	if (!m->tries)
		return false;
	if (all->pod->agent.owed)
		return true;
	if (m->refs)
		mirror_version(m->fd, now);
	rc = m->refs ? update(all->pod, m, &e) : agent_remove(all->pod, m->key, &e);
	m->tries = rc < 0 && rc != -EOPNOTSUPP ? m->tries - 1 : 0;
	if (rc < 0)
		log_warn("volume: mirror %u %s%s: %s", m->key,
			 m->refs ? "keeps its content" : "stays in the guest",
			 m->tries ? " for now" : "", e.text);
	if (!m->tries)
		strcpy(m->given_up, rc < 0 ? now : ""); /* same size */
	return m->tries;
}

/* Without inotify. */
static bool is_new(const struct mirror *m)
{
	char now[MIRROR_VERSION_BYTES];

	return m->refs && m->watch < 0 && mirror_version(m->fd, now) &&
	       strcmp(now, m->sent.version) && strcmp(now, m->given_up);
}

static void mirror_free(struct mirror *m)
{
	fd_close(&m->fd);
	mirror_tree_done(&m->sent);
	free(m);
}

static void on_timer(void *arg, uint32_t events)
{
	struct mirrors *all = arg;
	bool again = false, poll = false;
	uint64_t end = clock_ms() + TREE_MS;
	struct mirror **at, *m;
	struct err e;

	(void)events;
	timer_ack(all->timer);
	if (all->pod->dead)
		return;
	for (at = &all->list; (m = *at);) {
		if (!m->tries && is_new(m))
			m->tries = TRIES;
		again |= (m->tries && clock_ms() >= end) || look(all, m);
		poll |= m->refs && m->watch < 0;
		if (m->refs || m->tries) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		mirror_free(m);
	}
	if (poll || again)
		timer_set(all->timer, poll ? POLL_MS : RETRY_MS, &e);
}

static void on_inotify(void *arg, uint32_t events)
{
	char buf[4096] __attribute__((aligned(8)));
	struct mirrors *all = arg;
	struct inotify_event ev;
	bool any = false;
	struct mirror *m;
	struct err e;
	ssize_t n, at;

	(void)events;
	n = read(all->inotify, buf, sizeof(buf));
	for (at = 0; at + (ssize_t)sizeof(ev) <= n; at += (ssize_t)(sizeof(ev) + ev.len)) {
		memcpy(&ev, buf + at, sizeof(ev));
		for (m = all->list; m; m = m->next) {
			if (!m->refs || (!(ev.mask & IN_Q_OVERFLOW) && m->watch != ev.wd))
				continue;
			/* What was removed is looked at in vain, and then no more. */
			if (ev.mask & IN_IGNORED)
				continue;
			m->tries = TRIES;
			any = true;
		}
	}
	if (any)
		timer_set(all->timer, SETTLE_MS, &e);
}

static void watch(struct mirrors *all, struct mirror *m)
{
	struct err e;

	m->watch = -1;
	if (all->inotify >= 0)
		m->watch = inotify_add_watch(all->inotify, fd_path(m->fd).s, WATCHED);
	if (m->watch >= 0)
		return;
	log_info("volume: no inotify for mirror %u: it is looked at every %d ms", m->key, POLL_MS);
	timer_set(all->timer, POLL_MS, &e);
}

/* ---- mirrors ------------------------------------------------------------------------ */

static void all_free(struct mirrors *all)
{
	loop_del(all->inotify_src);
	loop_del(all->timer_src);
	fd_close(&all->inotify);
	fd_close(&all->timer);
	free(all);
}

static int all_new(struct pod *p, struct mirrors **ret, struct err *e)
{
	struct mirrors *all = mem_new(struct mirrors);
	int rc;

	if (!all)
		return err_set(e, ENOMEM, "out of memory");
	all->pod = p;
	all->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	rc = all->timer = timer_new(e);
	if (rc >= 0)
		rc = loop_add(p->loop, all->timer, EPOLLIN, on_timer, all, &all->timer_src, e);
	if (rc >= 0 && all->inotify >= 0)
		rc = loop_add(p->loop, all->inotify, EPOLLIN, on_inotify, all, &all->inotify_src,
			      e);
	if (rc < 0) {
		all_free(all);
		return rc;
	}
	*ret = all;
	return 0;
}

/* @fd: taken over */
static int mirror_new(struct mirrors *all, int fd, const struct stat *st, struct mirror **ret,
		      struct err *e)
{
	struct mirror *m = mem_new(struct mirror);
	int rc;

	if (!m) {
		close(fd);
		return err_set(e, ENOMEM, "out of memory");
	}
	*m = (struct mirror){
		.key = all->last_key + 1, .fd = fd, .dev = st->st_dev, .ino = st->st_ino
	};
	/* Watched first: nothing that happens meanwhile is missed. */
	watch(all, m);
	rc = update(all->pod, m, e);
	if (rc < 0) {
		if (m->watch >= 0)
			inotify_rm_watch(all->inotify, m->watch);
		mirror_free(m);
		return rc;
	}
	all->last_key = m->key;
	m->next = all->list;
	all->list = m;
	all->n++;
	*ret = m;
	return 0;
}

static struct mirror *find(struct mirrors *all, const struct stat *st)
{
	struct mirror *m;

	for (m = all->list; m; m = m->next)
		if (m->refs && m->dev == st->st_dev && m->ino == st->st_ino)
			break;
	return m;
}

/**
 * mirror_add() - mirror a directory that is replaced as a whole
 * @fd:      any descriptor of it, borrowed
 * @ret_key: that the agent knows it by; mirror_remove()
 *
 * Return: 0; -EOPNOTSUPP, with the reason, for what must be shared; minus errno
 */
int mirror_add(struct pod *p, int fd, uint32_t *ret_key, struct err *e)
{
	char version[MIRROR_VERSION_BYTES];
	struct mirror *m;
	struct stat st;
	int dir, rc;

	if (!mirror_version(fd, version))
		return err_set(e, EOPNOTSUPP, "not written as a whole");
	if (fstat(fd, &st) < 0)
		return err_sys(e, "mirror");
	if (!p->mirrors && (rc = all_new(p, &p->mirrors, e)) < 0)
		return rc;
	m = find(p->mirrors, &st);
	if (!m) {
		if (p->mirrors->n == MIRRORS_MAX)
			return err_set(e, EOPNOTSUPP, "the pod has %u mirrors already",
				       MIRRORS_MAX);
		dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			return err_sys(e, "mirror");
		rc = mirror_new(p->mirrors, dir, &st, &m, e);
		if (rc < 0)
			return rc;
	}
	m->refs++;
	*ret_key = m->key;
	return 0;
}

/**
 * mirror_remove() - a volume that mirror_add() was for is gone
 * @key: one that is not known is fine
 */
void mirror_remove(struct pod *p, uint32_t key)
{
	struct mirrors *all = p->mirrors;
	struct mirror *m, *same;
	struct err e;

	for (m = all ? all->list : NULL; m && (m->key != key || !m->refs); m = m->next)
		;
	if (!m || --m->refs)
		return;
	all->n--;
	/* A directory that was removed and made again may have the other's watch. */
	for (same = all->list; same && (same == m || same->watch != m->watch); same = same->next)
		;
	if (m->watch >= 0 && !same)
		inotify_rm_watch(all->inotify, m->watch);
	m->watch = -1;
	fd_close(&m->fd);
	m->tries = TRIES;
	/* At once, or later; the list loses it then. */
	look(all, m);
	timer_set(all->timer, SETTLE_MS, &e);
}

/**
 * mirrors_done() - forget all mirrors; fine if there are none, and the guest is gone
 */
void mirrors_done(struct pod *p)
{
	struct mirrors *all = p->mirrors;

	if (!all)
		return;
	while (all->list) {
		struct mirror *m = all->list;

		all->list = m->next;
		mirror_free(m);
	}
	all_free(all);
	p->mirrors = NULL;
}
