// SPDX-License-Identifier: Apache-2.0
/* What pods' networks are joined by, and what makes them. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "runtime/doctor/doctor.h"

#define CNI_DIR "/etc/cni/net.d"

static void look_tun(struct doctor *d)
{
	_cleanup_close_ int fd = d->host->open_device(d->host, "/dev/net/tun");
	int code = fd < 0 ? -fd : 0;

	if (fd < 0)
		fd = -1;
	if (!code) {
		doctor_found(d, DOCTOR_OK, "/dev/net/tun can be opened");
		return;
	}
	doctor_found(d, DOCTOR_ERROR, "/dev/net/tun: %s: no pod gets a network", strerror(code));
	if (code == EACCES || code == EPERM)
		doctor_mend(d, "run podvm as root; in a container, start that with --device /dev/net/tun");
	else
		doctor_mend(d, "modprobe tun%s", code == ENOENT ?
			    " && mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200" : "");
}

static void look_macvtap(struct doctor *d)
{
	bool wanted = d->config.network_model == NETPLUG_MACVTAP ||
		      d->config.network_model == NETPLUG_MACVTAP_PASSTHRU;

	switch (doctor_module(d->host, "macvtap")) {
	case DOCTOR_MODULE_THERE:
	case DOCTOR_MODULE_LOADABLE:
		doctor_found(d, DOCTOR_OK, "macvtap is there, or loads when it is used");
		return;
	default:
		doctor_found(d, wanted ? DOCTOR_ERROR : DOCTOR_NOTE,
			     "no macvtap is found: networkModel %s",
			     wanted ? "asks for it" : "macvtap would fail; tc is the usual one");
		if (wanted)
			doctor_mend(d, "use a kernel with CONFIG_MACVTAP, or set networkModel to auto");
	}
}

static void look_vhost(struct doctor *d)
{
	_cleanup_close_ int fd = d->host->open_device(d->host, "/dev/vhost-net");
	int code = fd < 0 ? -fd : 0;

	if (fd < 0)
		fd = -1;
	if (!d->config.vhost_net) {
		doctor_found(d, DOCTOR_OK, "vhostNet is off: the monitor moves packets");
	} else if (!code) {
		doctor_found(d, DOCTOR_OK, "/dev/vhost-net can be opened: the kernel moves packets");
	} else {
		doctor_found(d, DOCTOR_NOTE, "/dev/vhost-net: %s: the monitor moves packets, which is slower",
			     strerror(code));
		doctor_mend(d, doctor_module(d->host, "vhost_net") == DOCTOR_MODULE_MISSING ?
				       "use a host kernel with CONFIG_VHOST_NET, or set vhostNet to off" :
				       "modprobe vhost_net");
	}
}

static void look_vsock(struct doctor *d)
{
	doctor_found(d, DOCTOR_OK, "vhost-vsock is not needed: each monitor has a vsock of its own");
}

static int is_config(const struct dirent *de)
{
	const char *dot = strrchr(de->d_name, '.');

	return dot && de->d_name[0] != '.' &&
	       (!strcmp(dot, ".conflist") || !strcmp(dot, ".conf") || !strcmp(dot, ".json"));
}

/* What engines take is the first by name. */
static void first_network(struct doctor *d, const char *name)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	struct json_doc *doc;
	struct err e = { 0 };

	snprintf(path, sizeof(path), CNI_DIR "/%s", name);
	text = doctor_read(d->host, path);
	if (!text || json_parse(text, strlen(text), &doc, &e) < 0) {
		doctor_found(d, DOCTOR_WARNING, "%.300s, which engines take first: %s", path,
			     text ? e.text : "cannot be read");
		doctor_mend(d, "correct or remove %.300s", path);
		return;
	}
	json_free(doc);
	doctor_found(d, DOCTOR_OK, "%.300s is what engines with CNI take first", path);
}

static void look_cni(struct doctor *d)
{
	static const char *const places[] = { "/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni" };
	struct dirent **list = NULL;
	char full[PATH_MAX];
	size_t i;
	int n = -1;

	if (doctor_path(d->host, CNI_DIR, full, sizeof(full)))
		n = scandir(full, &list, is_config, alphasort);
	if (n <= 0) {
		doctor_found(d, DOCTOR_NOTE, CNI_DIR " has no network: CRI-O and containerd give pods none without");
		doctor_mend(d, "install -D -m 644 cni-examples/10-podvm-bridge.conflist -t " CNI_DIR);
	} else {
		first_network(d, list[0]->d_name);
	}
	while (n > 0)
		free(list[--n]);
	free(list);
	for (i = 0; i < ARRAY_LEN(places); i++)
		if (doctor_has(d->host, places[i]))
			return;
	doctor_found(d, DOCTOR_NOTE, "no CNI plugins are in /opt/cni/bin or /usr/lib/cni");
	doctor_mend(d, "apt-get install containernetworking-plugins");
}

const struct doctor_check doctor_checks_network[] = {
	{ "tun", "/dev/net/tun, for taps", look_tun },
	{ "macvtap", "the module, for the model of that name", look_macvtap },
	{ "vhost-net", "/dev/vhost-net against vhostNet", look_vhost },
	{ "vsock", "nothing: it says that nothing is needed", look_vsock },
	{ "cni", CNI_DIR " and plugins", look_cni },
	{ NULL, NULL, NULL },
};
