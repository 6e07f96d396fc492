// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * podvm-storage serve: the synthetic disk of a rootfs as NBD at a unix socket, for
 * nbd-client, qemu, nbdcopy and others. Nothing is copied: nbdkit runs with a plugin
 * of ours (nbd/plugin.c, which tells why nbdkit), as a user without rights. It gets
 * three descriptors: the socket, the disk's sealed table, and a connection to this
 * process, which is the broker that opens the layers' files by number.
 *
 *	client ── socket ── nbdkit + plugin ── broker.h ── podvm-storage ── layers
 *
 * This process owns the socket's name and removes it at its end. When it is killed,
 * nbdkit ends with the connection, the name stays, and the next server at that name
 * or `podvm-storage gc` removes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/broker.h"
#include "lib/fd.h"
#include "lib/loop.h"
#include "lib/mem.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "storage/cmd.h"
#include "storage/place.h"
#include "storage/socket.h"
#include "storage/storage.h"

/* Systemd's way to hand over sockets: they begin at 3 (sd_listen_fds(3)). */
#define CHILD_LISTEN 3
#define CHILD_TABLE 4
#define CHILD_BROKER 5
#define CHILD_READY 6

/* "nobody" and its group, by number: their names differ between distributions. */
#define NOBODY "65534"

#define END_MS 5000
#define COMPLAINTS_MAX 20

/**
 * struct serve - a disk that is served
 * @broker:     our end of the plugin's connection, owned
 * @child:      pidfd of nbdkit, owned
 * @complaints: how many files could not be given out
 */
struct serve {
	struct storage_map *map;
	struct socket_place place;
	struct loop *loop;
	const struct opt_strs *filters, *params;
	int broker, child, signals, ready;
	unsigned int complaints;
	bool ended;
};

static int find_nbdkit(const char **ret, struct err *e)
{
	static const char *const paths[] = {"/usr/bin/nbdkit", "/usr/sbin/nbdkit",
					    "/usr/local/bin/nbdkit", "/usr/local/sbin/nbdkit"};
	size_t i;

	for (i = 0; i < ARRAY_LEN(paths); i++) {
		if (access(paths[i], X_OK))
			continue;
		*ret = paths[i];
		return 0;
	}
	return err_set(e, ENOENT, "nbdkit is not installed: install the package nbdkit");
}

/* In the child: socket activation asks for our pid, which only the child knows. */
static int listen_env(void *arg)
{
	char pid[16];

	(void)arg;
	snprintf(pid, sizeof(pid), "%d", getpid());
	return setenv("LISTEN_FDS", "1", 1) || setenv("LISTEN_PID", pid, 1) ||
			       unsetenv("LISTEN_FDNAMES")
		       ? -errno
		       : 0;
}

static int start_nbdkit(struct serve *s, int broker, int ready, struct err *e)
{
	char *argv[16 + 3 * OPT_STRS_MAX], plugin[PATH_MAX] = "";
	const struct storage_disk *d;
	const char *program = NULL;
	size_t n = 0, i;

	storage_map_disks(s->map, &d);
	if (find_nbdkit(&program, e) < 0 ||
	    place_libexec(plugin, sizeof(plugin), "podvm-nbd.so", e) < 0)
		return -ENOENT;
	const struct proc_fd fds[] = {
		{STDERR_FILENO, STDERR_FILENO}, {s->place.fd, CHILD_LISTEN}, {d->fd, CHILD_TABLE},
		{broker, CHILD_BROKER},		{ready, CHILD_READY},
	};
	struct proc_spec spec = {.path = program,
				 .argv = argv,
				 .fds = fds,
				 .n_fds = ARRAY_LEN(fds),
				 .before_exec = listen_env};
#define ARG(text) (argv[n++] = (char *)(uintptr_t)(text))
	ARG("nbdkit");
	ARG("--foreground");
	ARG("--readonly");
	if (!geteuid()) {
		ARG("--user=" NOBODY);
		ARG("--group=" NOBODY);
	}
	for (i = 0; i < s->filters->n; i++) {
		ARG("--filter");
		ARG(s->filters->v[i]);
	}
	ARG(plugin);
	ARG("table=4");
	ARG("broker=5");
	ARG("ready=6");
	for (i = 0; i < s->params->n; i++)
		ARG(s->params->v[i]);
#undef ARG
	argv[n] = NULL;
	return proc_spawn(&spec, NULL, &s->child, e);
}

/* One question of the plugin. What it asks for is checked by storage_map_open(). */
static void on_broker(void *arg, uint32_t events)
{
	_cleanup_close_ int fd = -1;
	struct serve *s = arg;
	struct broker_request rq;
	struct broker_reply rp;
	struct err e = {0};
	ssize_t n = recv(s->broker, &rq, sizeof(rq), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(rq)) {
		loop_stop(s->loop);
		return;
	}
	rp = (struct broker_reply){.file = rq.file};
	rp.error = storage_map_open(s->map, rq.file, &fd, &e);
	if (rp.error && s->complaints++ < COMPLAINTS_MAX)
		fprintf(stderr, "podvm-storage: serve: %s\n", e.text);
	if (fd_send(s->broker, &rp, sizeof(rp), &fd, fd >= 0, &e) < 0)
		loop_stop(s->loop);
}

static void on_signal(void *arg, uint32_t events)
{
	struct serve *s = arg;

	(void)events;
	s->ended = true;
	loop_stop(s->loop);
}

static void on_child(void *arg, uint32_t events)
{
	struct serve *s = arg;

	(void)events;
	loop_stop(s->loop);
}

/* Waits until nbdkit takes clients: its plugin writes one byte. */
static int wait_ready(struct serve *s, struct err *e)
{
	int status = 0;
	char byte;
	ssize_t n;

	do {
		n = read(s->ready, &byte, 1);
	} while (n < 0 && errno == EINTR);
	fd_close(&s->ready);
	if (n == 1)
		return 0;
	if (!proc_wait(s->child, END_MS, &status, e))
		fd_close(&s->child);
	return err_set(e, EIO, "nbdkit did not start: exit status %d", status);
}

static int start(struct serve *s, struct err *e)
{
	_cleanup_close_ int theirs = -1, ready = -1;
	int sv[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, "socketpair");
	s->broker = sv[0];
	theirs = sv[1];
	if (pipe2(sv, O_CLOEXEC) < 0)
		return err_sys(e, "pipe2");
	s->ready = sv[0];
	ready = sv[1];
	rc = start_nbdkit(s, theirs, ready, e);
	if (rc < 0)
		return rc;
	fd_close(&ready);
	return wait_ready(s, e);
}

static int run(struct serve *s, struct err *e)
{
	struct loop_src *src[3] = {0};
	int rc, status;
	size_t i;

	rc = loop_add(s->loop, s->broker, EPOLLIN, on_broker, s, &src[0], e);
	if (!rc)
		rc = loop_add(s->loop, s->signals, EPOLLIN, on_signal, s, &src[1], e);
	if (!rc)
		rc = loop_add(s->loop, s->child, EPOLLIN, on_child, s, &src[2], e);
	if (!rc)
		rc = loop_run(s->loop, e);
	for (i = 0; i < ARRAY_LEN(src); i++)
		if (src[i])
			loop_del(src[i]);
	if (rc < 0 || s->ended)
		return rc;
	rc = proc_wait(s->child, END_MS, &status, e);
	if (!rc)
		fd_close(&s->child);
	return rc < 0 ? rc : err_set(e, EIO, "nbdkit has ended: exit status %d", status);
}

static void stop(struct serve *s)
{
	int status;

	fd_close(&s->broker);
	if (s->child >= 0) {
		proc_kill(s->child, SIGTERM);
		if (proc_wait(s->child, END_MS, &status, NULL) < 0) {
			proc_kill(s->child, SIGKILL);
			proc_wait(s->child, END_MS, &status, NULL);
		}
	}
	fd_close(&s->child);
	fd_close(&s->ready);
	fd_close(&s->signals);
	loop_free(s->loop);
	socket_done(&s->place);
}

static int announce(const struct serve *s, const char *path, bool json, struct err *e)
{
	const struct storage_disk *d;
	struct json_out *o;
	char shown[PATH_MAX];
	int rc;

	storage_map_disks(s->map, &d);
	if (json) {
		o = json_out_new();
		if (!o)
			return err_set(e, ENOMEM, "out of memory");
		cmd_json_name(o, "socket", path);
		json_out_u64(o, "sizeBytes", d->size_bytes);
		json_out_u64(o, "pid", (uint64_t)getpid());
		rc = json_out_print(o, true, stdout, e);
		if (rc < 0)
			return rc;
	} else {
		str_quote(shown, sizeof(shown), path);
		printf("serving %llu bytes, read-only, at %s until Ctrl-C or SIGTERM; try\n"
		       "  nbdinfo 'nbd+unix:///?socket=%s'\n"
		       "  nbd-client -unix %s /dev/nbd0 -readonly && mount -t erofs -o ro "
		       "/dev/nbd0 /mnt\n",
		       (unsigned long long)d->size_bytes, shown, path, path);
	}
	return fflush(stdout) ? err_sys(e, "standard output") : 0;
}

static int catch_signals(struct serve *s, struct err *e)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };

	signal(SIGPIPE, SIG_IGN);
	s->signals = signals_new(ends, ARRAY_LEN(ends), e);
	return s->signals < 0 ? s->signals : 0;
}

static int serve(struct serve *s, const char *path, bool json, struct err *e)
{
	const struct storage_disk *d;
	char own[64];
	int rc = 0;

	storage_map_disks(s->map, &d);
	if (d->kind != STORAGE_DISK_SYNTHETIC)
		return err_set(e, EOPNOTSUPP, "it is a block device: nbdkit file DEVICE serves that");
	if (!path) {
		snprintf(own, sizeof(own), PLACE_SERVE "/%d.sock", getpid());
		path = own;
		rc = place_make(PLACE_SERVE, e);
	}
	if (!rc)
		rc = catch_signals(s, e);
	if (!rc)
		rc = loop_new(&s->loop, e);
	if (!rc)
		rc = socket_listen(&s->place, path, e);
	if (!rc)
		rc = start(s, e);
	if (!rc)
		rc = announce(s, path, json, e);
	if (!rc)
		rc = run(s, e);
	stop(s);
	return rc == -EINVAL ? -EIO : rc;
}

/**
 * cmd_serve() - podvm-storage serve PATH [--socket S]
 *
 * Return: 0 after a signal; minus errno
 */
int cmd_serve(int argc, char **argv, struct err *e)
{
	struct storage_request req = {.serial_stem = "serve"};
	struct opt_strs filters = {0}, params = {0};
	const char *path = NULL;
	bool json = false;
	const struct opt table[] = {
		OPT_STR('s', "socket", &path, "SOCKET",
			"where to listen (default: below " PLACE_SERVE ")"),
		OPT_STRS(0, "filter", &filters, "NAME",
			 "a filter of nbdkit, as error or stats; may be repeated"),
		OPT_STRS(0, "param", &params, "KEY=VALUE",
			 "a parameter of a filter; may be repeated"),
		OPT_FLAG('j', "json", &json, "say as JSON where it listens"),
		OPT_END,
	};
	struct serve s = {.broker = -1,
			  .child = -1,
			  .signals = -1,
			  .ready = -1,
			  .place = {.fd = -1, .dir_fd = -1},
			  .filters = &filters,
			  .params = &params};
	int rc = cmd_args(table, argc, argv, &req.rootfs, e);

	if (rc <= 0)
		return rc;
	if (!req.rootfs)
		return err_set(e, EINVAL, "needs a path; see serve --help");
	rc = storage_map_rootfs(&req, &s.map, e);
	if (rc < 0)
		return rc == -EINVAL ? -EIO : rc;
	rc = serve(&s, path, json, e);
	storage_map_free(s.map);
	return rc;
}
