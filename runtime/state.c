// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The state directory (--root) has two folders:
 *
 *   containers/ID.json   one record per container, replaced whole
 *   pods/POD/            one directory per pod: lock (held by its supervisor
 *                        for as long as it lives), control.sock, journal,
 *                        console.log, supervisor.log
 *
 * Only a pod's supervisor writes the records of its containers while it lives;
 * when it is dead, whoever holds the pod's lock does. Readers need no lock. A
 * record that says "running" while its supervisor is dead is put right by
 * pod_recover() before anybody reads it. Where the directory outlives the host's
 * kernel, which it does not in /run, a record says of which boot its pid is.
 */
#include "runtime/state.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/life.h"

#define STATE_MAX_BYTES (1u << 20)

/**
 * state_check_id() - whether a container or pod id can be a file name
 * @id: letters, digits, '_', '+', '-', '.'; not starting with '.'
 *
 * Return: 0 or -EINVAL
 */
int state_check_id(const char *id, struct err *e)
{
	char shown[80];
	const char *s;

	for (s = id; isalnum((unsigned char)*s) || (*s && strchr("_+-.", *s)); s++)
		;
	if (*id && !*s && *id != '.' && s - id < STATE_ID_BYTES)
		return 0;
	str_quote(shown, sizeof(shown), id);
	return err_set(e, EINVAL,
		       "id %s: use 1 to %d letters, digits, '_', '+', '-' and '.', not '.' first",
		       shown, STATE_ID_BYTES - 1);
}

static int open_dir(int at, const char *name, struct err *e)
{
	int fd;

	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "%s: mkdir", name);
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "%s", name) : fd;
}

/**
 * state_root_open() - open the state directory, made if it is missing
 *
 * Return: descriptor owned by the caller, or minus errno
 */
int state_root_open(const char *root, struct err *e)
{
	int fd, rc = dir_make(root, 0700, e);

	if (rc < 0)
		return err_wrap(e, "state directory");
	fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "state directory %s", root) : fd;
}

/**
 * state_containers_open() - the folder of the containers' records
 *
 * Return: descriptor owned by the caller, or minus errno
 */
int state_containers_open(int rootfd, struct err *e)
{
	return open_dir(rootfd, "containers", e);
}

/**
 * state_pods_open() - the folder of the pods
 *
 * Return: descriptor owned by the caller, or minus errno
 */
int state_pods_open(int rootfd, struct err *e)
{
	return open_dir(rootfd, "pods", e);
}

/**
 * state_status_name() - as the OCI runtime specification spells it; "paused" as runc does
 */
const char *state_status_name(enum state_status s)
{
	static const char *const names[] = { "created", "running", "stopped", "paused" };

	return names[s];
}

static int annotations_text(const struct spec *spec, char **ret, struct err *e)
{
	struct json_out *o = json_out_new();
	size_t i;
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < spec->n_annotations; i++)
		json_out_str(o, spec->annotations[i]->key,
			     spec->annotations[i]->value);
	rc = json_out_text(o, false, ret, e);
	json_out_free(o);
	return rc;
}

/**
 * state_new() - the record of a container that was just created
 * @bundle: absolute path
 * @ret:    owned by the caller, state_free()
 *
 * Return: 0 or minus errno
 */
int state_new(const char *id, const char *pod, const char *bundle,
	      const struct spec *spec, struct state **ret, struct err *e)
{
	struct state *s = mem_new(struct state);
	char when[STR_TIME_BYTES];
	int rc = 0;

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	str_time(time(NULL), when);
	if (str_copy(s->id, sizeof(s->id), id) < 0 ||
	    str_copy(s->pod, sizeof(s->pod), pod) < 0)
		rc = err_set(e, ENAMETOOLONG, "id too long");
	s->bundle = strdup(bundle);
	s->rootfs = strdup(spec->rootfs);
	s->oci_version = strdup(spec->oci_version);
	s->created = strdup(when);
	s->resources = strdup(spec->resources ? spec->resources : "{}");
	if (!rc && (!s->bundle || !s->rootfs || !s->oci_version || !s->created || !s->resources))
		rc = err_set(e, ENOMEM, "out of memory");
	if (!rc)
		rc = annotations_text(spec, &s->annotations, e);
	if (rc < 0) {
		state_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

/**
 * state_free() - free a record; NULL is fine
 */
void state_free(struct state *s)
{
	if (!s)
		return;
	free(s->bundle);
	free(s->rootfs);
	free(s->oci_version);
	free(s->created);
	free(s->annotations);
	free(s->resources);
	free(s->ended);
	free(s->boot);
	free(s);
}

/**
 * state_end() - a container has stopped, since its machine is gone
 * @code:  exit status, if none is known yet
 * @ended: how the machine ended
 *
 * Return: 0 or -ENOMEM, and the rest is done
 */
int state_end(struct state *s, int code, const char *ended, struct err *e)
{
	s->status = STATE_STOPPED;
	s->exit_code = code;
	free(s->ended);
	s->ended = strdup(ended);
	return s->ended ? 0 : err_set(e, ENOMEM, "out of memory");
}

/* Those of the bundle, and ours; a bundle cannot say how its machine ended. */
static void put_annotations(struct json_out *o, const struct state *s)
{
	struct json_doc *doc = NULL;
	struct jnode root, m;
	const char *v;
	size_t i;

	if (s->annotations)
		json_parse(s->annotations, strlen(s->annotations), &doc, NULL);
	if (!doc && !s->ended)
		return;
	json_out_obj(o, "annotations");
	if (doc)
		root = json_root(doc);
	for (i = 0; doc && !json_member(&root, i, &m); i++)
		if (strcmp(m.key, LIFE_ANNOTATION) && !json_as_str(&m, &v, NULL))
			json_out_str(o, m.key, v);
	if (s->ended)
		json_out_str(o, LIFE_ANNOTATION, s->ended);
	json_out_end(o);
	json_free(doc);
}

static int as_json(const struct state *s, const char *status, pid_t pid, bool pretty,
		   char **ret, struct err *e)
{
	struct json_out *o = json_out_new();
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "ociVersion", s->oci_version);
	json_out_str(o, "id", s->id);
	json_out_str(o, "status", status);
	json_out_i64(o, "pid", pid);
	json_out_str(o, "bundle", s->bundle);
	json_out_str(o, "rootfs", s->rootfs);
	json_out_str(o, "created", s->created);
	json_out_str(o, "owner", STATE_OWNER);
	json_out_str(o, "pod", s->pod);
	put_annotations(o, s);
	json_out_parsed(o, "resources", s->resources);
	rc = json_out_text(o, pretty, ret, e);
	json_out_free(o);
	return rc;
}

/**
 * state_json() - the state as `podvm state` prints it
 * @ret: malloc'd
 *
 * Return: 0 or -ENOMEM
 * Source: OCI runtime specification, runtime.md, "State"; "rootfs" and
 * "created" and "owner" are what runc adds; "pod" and "resources" are ours
 */
int state_json(const struct state *s, char **ret, struct err *e)
{
	return as_json(s, state_status_name(s->status), s->status == STATE_STOPPED ? 0 : s->pid,
		       true, ret, e);
}

/**
 * state_hook_json() - the state as hooks on the host get it
 * @status: "creating", "running" or "stopped", as the specification has it for them
 * @ret:    malloc'd
 *
 * Return: 0 or -ENOMEM
 */
int state_hook_json(const struct state *s, const char *status, char **ret, struct err *e)
{
	return as_json(s, status, strcmp(status, "stopped") ? s->pid : 0, false, ret, e);
}

/**
 * state_hooks() - put the state into the message about hooks in the guest
 *
 * Its first "pid" is the process's: what stands before it holds no quotation mark
 * that is not escaped.
 *
 * Return: 0 or -ENOMEM
 */
int state_hooks(const struct state *s, const char *status, Podvm__Hooks *h, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char *pid, *before, *after;
	int rc = as_json(s, status, 0, false, &text, e);

	if (rc < 0)
		return rc;
	pid = strchr(strstr(text, "\"pid\":"), '0');
	before = strndup(text, (size_t)(pid - text));
	after = strdup(pid + 1);
	if (!before || !after) {
		free(before);
		free(after);
		return err_set(e, ENOMEM, "out of memory");
	}
	h->state_before = before;
	h->state_after = after;
	return 0;
}

static int record_name(const char *id, char name[STATE_ID_BYTES + 8],
		       struct err *e)
{
	int rc = state_check_id(id, e);

	if (!rc)
		snprintf(name, STATE_ID_BYTES + 8, "%s.json", id);
	return rc;
}

/**
 * state_save() - write or replace a container's record
 *
 * Return: 0 or minus errno
 */
int state_save(int rootfd, const struct state *s, struct err *e)
{
	_cleanup_close_ int dir = -1;
	_cleanup_free_ char *text = NULL;
	char name[STATE_ID_BYTES + 8];
	struct json_out *o;
	int rc = record_name(s->id, name, e);

	if (rc < 0)
		return rc;
	dir = state_containers_open(rootfd, e);
	if (dir < 0)
		return dir;
	o = json_out_new();
	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_str(o, "pod", s->pod);
	json_out_str(o, "bundle", s->bundle);
	json_out_str(o, "rootfs", s->rootfs);
	json_out_str(o, "ociVersion", s->oci_version);
	json_out_str(o, "created", s->created);
	json_out_u64(o, "status", s->status);
	json_out_i64(o, "pid", s->pid);
	json_out_u64(o, "pidStart", s->pid_start);
	json_out_i64(o, "exitCode", s->exit_code);
	json_out_str(o, "annotations", s->annotations);
	json_out_str(o, "resources", s->resources);
	if (s->ended)
		json_out_str(o, "ended", s->ended);
	if (s->boot)
		json_out_str(o, "boot", s->boot);
	rc = json_out_text(o, false, &text, e);
	json_out_free(o);
	if (!rc)
		rc = file_replace(dir, name, text, strlen(text), 0600, e);
	return rc < 0 ? err_wrap(e, "container %s: state", s->id) : 0;
}

static int copy_str(const struct jnode *n, const char *key, char **ret,
		    struct err *e)
{
	const char *v;
	int rc = json_str(n, key, &v, e);

	if (rc < 0)
		return rc;
	if (rc == 1 && !(*ret = strdup(v)))
		return err_set(e, ENOMEM, "out of memory");
	return 0;
}

static int fill(struct state *s, const struct jnode *n, struct err *e)
{
	uint64_t status = STATE_STOPPED;
	int64_t pid = 0, code = 0;
	const char *pod = "";

	if (json_str(n, "pod", &pod, e) < 0 || json_u64(n, "status", &status, e) < 0 ||
	    json_i64(n, "pid", &pid, e) < 0 ||
	    json_u64(n, "pidStart", &s->pid_start, e) < 0 ||
	    json_i64(n, "exitCode", &code, e) < 0 ||
	    copy_str(n, "bundle", &s->bundle, e) < 0 ||
	    copy_str(n, "rootfs", &s->rootfs, e) < 0 ||
	    copy_str(n, "ociVersion", &s->oci_version, e) < 0 ||
	    copy_str(n, "created", &s->created, e) < 0 ||
	    copy_str(n, "annotations", &s->annotations, e) < 0 ||
	    copy_str(n, "resources", &s->resources, e) < 0 ||
	    copy_str(n, "ended", &s->ended, e) < 0 || copy_str(n, "boot", &s->boot, e) < 0)
		return -EINVAL;
	if (status > STATE_PAUSED || pid < 0 || pid > INT32_MAX || code < 0 ||
	    code > INT32_MAX || str_copy(s->pod, sizeof(s->pod), pod) < 0)
		return err_set(e, EINVAL, "damaged record");
	s->status = (enum state_status)status;
	s->pid = (pid_t)pid;
	s->exit_code = (int)code;
	return state_check_id(s->pod, e);
}

/**
 * state_load() - read a container's record
 * @ret: owned by the caller, state_free()
 *
 * Return: 0; -ENOENT "container does not exist", the words that engines look for
 */
int state_load(int rootfd, const char *id, struct state **ret, struct err *e)
{
	_cleanup_close_ int dir = -1;
	_cleanup_free_ char *text = NULL;
	char name[STATE_ID_BYTES + 8];
	struct json_doc *doc = NULL;
	struct state *s;
	struct jnode root;
	size_t len;
	int rc = record_name(id, name, e);

	if (rc < 0)
		return rc;
	dir = state_containers_open(rootfd, e);
	if (dir < 0)
		return dir;
	rc = file_read(dir, name, STATE_MAX_BYTES, &text, &len, e);
	if (rc == -ENOENT)
		return err_set(e, ENOENT, "container %s does not exist", id);
	if (rc < 0)
		return rc;
	s = mem_new(struct state);
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	str_copy(s->id, sizeof(s->id), id);
	rc = json_parse(text, len, &doc, e);
	if (!rc) {
		root = json_root(doc);
		rc = fill(s, &root, e);
		json_free(doc);
	}
	if (rc < 0) {
		state_free(s);
		return err_wrap(e, "container %s: state", id);
	}
	*ret = s;
	return 0;
}

/**
 * state_remove() - forget a container; a missing record is fine
 *
 * Return: 0 or minus errno
 */
int state_remove(int rootfd, const char *id, struct err *e)
{
	_cleanup_close_ int dir = -1;
	char name[STATE_ID_BYTES + 8];
	int rc = record_name(id, name, e);

	if (rc < 0)
		return rc;
	dir = state_containers_open(rootfd, e);
	if (dir < 0)
		return dir;
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, "container %s: state: unlink", id);
	return 0;
}

/* Whether an entry is a pod's directory or a record; cuts .json off the latter. */
static bool is_entry(int dirfd, char *name)
{
	size_t len = strlen(name);
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (S_ISREG(st.st_mode)) {
		if (len <= 5 || strcmp(name + len - 5, ".json"))
			return false;
		name[len - 5] = 0;
	} else if (!S_ISDIR(st.st_mode)) {
		return false;
	}
	return !state_check_id(name, NULL);
}

/**
 * state_each() - visit the entries of containers/ or pods/, sorted by name
 * @dirfd: folder, borrowed
 * @fn:    gets the id; what is no directory and no record, a temporary file, is left out
 *
 * Return: 0 or the negative return of @fn
 */
int state_each(int dirfd, state_fn *fn, void *arg, struct err *e)
{
	struct dirent **list = NULL;
	int i, n, rc = 0;

	n = scandirat(dirfd, ".", &list, NULL, alphasort);
	if (n < 0)
		return err_sys(e, "state directory");
	for (i = 0; i < n; i++) {
		if (!rc && is_entry(dirfd, list[i]->d_name))
			rc = fn(arg, list[i]->d_name, e);
		free(list[i]);
	}
	free(list);
	return rc;
}

/* Whether a name is that of a record's new text, of a process that has gone. */
static bool is_orphan(const char *name)
{
	const char *at = NULL, *next;
	int pid, len = 0;

	for (next = strstr(name, ".json."); next; next = strstr(next + 1, ".json."))
		at = next;
	return at && sscanf(at, ".json.%9d.tmp%n", &pid, &len) == 1 && len && !at[len] &&
	       pid > 0 && kill(pid, 0) < 0 && errno == ESRCH;
}

/**
 * state_sweep() - remove what processes have left that were killed as they wrote a record
 * @containers: folder, borrowed
 */
void state_sweep(int containers)
{
	struct dirent **list = NULL;
	int i, n = scandirat(containers, ".", &list, NULL, NULL);

	for (i = 0; i < n; i++) {
		if (is_orphan(list[i]->d_name))
			unlinkat(containers, list[i]->d_name, 0);
		free(list[i]);
	}
	free(list);
}
