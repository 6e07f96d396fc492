// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Which engines are here, and whether their configuration names podvm. Their files are
 * TOML and JSON; what all of them have in common is that a runtime is a path in quotes,
 * so that is what is looked for, outside of comments.
 */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/doctor/doctor.h"

static const struct engine {
	const char *name;
	const char *programs[3];
	const char *files[3];	/* one that ends in '/': all *.conf and *.toml in it */
	const char *mend;
} engines[] = {
	{ "CRI-O", { "/usr/bin/crio", "/usr/local/bin/crio", NULL },
	  { "/etc/crio/crio.conf", "/etc/crio/crio.conf.d/", NULL },
	  "add [crio.runtime.runtimes.podvm] with runtime_path = \"/usr/local/bin/podvm\" to a file in /etc/crio/crio.conf.d" },
	{ "containerd", { "/usr/bin/containerd", "/usr/local/bin/containerd", NULL },
	  { "/etc/containerd/config.toml", "/etc/containerd/conf.d/", NULL },
	  "add a runtime of type io.containerd.runc.v2 with BinaryName = \"/usr/local/bin/podvm\" to /etc/containerd/config.toml" },
	{ "podman", { "/usr/bin/podman", "/usr/local/bin/podman", NULL },
	  { "/etc/containers/containers.conf", "/etc/containers/containers.conf.d/",
	    "/usr/share/containers/containers.conf" },
	  "add podvm = [\"/usr/local/bin/podvm\"] to [engine.runtimes] in /etc/containers/containers.conf, or use podman --runtime" },
	{ "docker", { "/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd" },
	  { "/etc/docker/daemon.json", NULL, NULL },
	  "add \"runtimes\": {\"podvm\": {\"path\": \"/usr/local/bin/podvm\"}} to /etc/docker/daemon.json" },
};

/* The first absolute path of a program podvm in quotes. Return: whether there is one */
static bool names_podvm(const char *text, char *dst, size_t room)
{
	const char *s, *end;

	for (s = text; *s; s = end + (*end != 0)) {
		size_t len;

		end = s + strcspn(s, "\"'#\n");
		if (*end == '#') {
			end += strcspn(end, "\n");
			continue;
		}
		if (*end != '"' && *end != '\'')
			continue;
		s = end + 1;
		end = s;
		while (*end && *end != s[-1] && *end != '\n')
			end++;
		len = (size_t)(end - s);
		if (*s != '/' || len < 6 || len >= room || memcmp(end - 6, "/podvm", 6))
			continue;
		memcpy(dst, s, len);
		dst[len] = 0;
		return true;
	}
	return false;
}

static bool file_names(const struct doctor_host *h, const char *path, char *dst, size_t room)
{
	_cleanup_free_ char *text = doctor_read(h, path);

	return text && names_podvm(text, dst, room);
}

static int is_config(const struct dirent *de)
{
	const char *dot = strrchr(de->d_name, '.');

	return dot && de->d_name[0] != '.' && (!strcmp(dot, ".conf") || !strcmp(dot, ".toml"));
}

/* @at: gets the file that names it */
static bool place_names(const struct doctor_host *h, const char *place, char at[PATH_MAX],
			char *dst, size_t room)
{
	struct dirent **list = NULL;
	char full[PATH_MAX];
	bool found = false;
	int i, n;

	snprintf(at, PATH_MAX, "%s", place);
	if (place[strlen(place) - 1] != '/')
		return file_names(h, place, dst, room);
	n = doctor_path(h, place, full, sizeof(full)) ?
		    scandir(full, &list, is_config, alphasort) : -1;
	for (i = 0; i < n; i++) {
		if (!found) {
			snprintf(at, PATH_MAX, "%s%s", place, list[i]->d_name);
			found = file_names(h, at, dst, room);
		}
		free(list[i]);
	}
	free(list);
	return found;
}

/* Return: whether the engine is here */
static bool look_engine(struct doctor *d, const struct engine *g)
{
	char at[PATH_MAX], path[PATH_MAX];
	bool here = false, named = false;
	size_t i;

	for (i = 0; i < ARRAY_LEN(g->programs) && g->programs[i]; i++)
		here |= doctor_runs(d->host, g->programs[i]);
	for (i = 0; i < ARRAY_LEN(g->files) && g->files[i] && !named; i++) {
		here |= g->files[i][strlen(g->files[i]) - 1] != '/' && doctor_has(d->host, g->files[i]);
		named = place_names(d->host, g->files[i], at, path, sizeof(path));
	}
	if (named && !doctor_runs(d->host, path)) {
		doctor_found(d, DOCTOR_WARNING, "%s: %.200s names %.200s, which is no program", g->name, at, path);
		doctor_mend(d, "install podvm there, or correct %.200s", at);
	} else if (named) {
		doctor_found(d, DOCTOR_OK, "%s: %.200s names %.200s", g->name, at, path);
	} else if (here) {
		doctor_found(d, DOCTOR_NOTE, "%s is here, and does not know podvm", g->name);
		doctor_mend(d, "%s", g->mend);
	}
	return here || named;
}

static void look_engines(struct doctor *d)
{
	bool any = false;
	size_t i;

	for (i = 0; i < ARRAY_LEN(engines); i++)
		any |= look_engine(d, &engines[i]);
	if (!any)
		doctor_found(d, DOCTOR_NOTE, "no engine is here: CRI-O, containerd, podman and docker are looked for");
}

const struct doctor_check doctor_checks_engines[] = {
	{ "engines", "whether configurations of CRI-O, containerd, podman and docker name podvm", look_engines },
	{ NULL, NULL, NULL },
};
