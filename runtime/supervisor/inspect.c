// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What the supervisor tells of its pod: figures that every list wants, and details for
 * who looks at one pod, as JSON, since nobody but people and their scripts reads them.
 * Nothing is asked of the guest: a guest that does not answer must not keep a list of
 * all pods waiting. The monitor is asked, who answers from memory.
 *
 * All of the answer is made with malloc() and freed by protobuf-c.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "runtime/supervisor/supervisor.h"

/* Of POD_MESSAGE_BYTES; what a network of thousands of routes makes longer is left out. */
#define DETAILS_BYTES 49152

static int set_text(char **at, const char *text, struct err *e)
{
	*at = strdup(text);
	return *at ? 0 : err_set(e, ENOMEM, "out of memory");
}

/* ---- figures --------------------------------------------------------------------- */

static size_t count_addresses(const Podvm__Network *n)
{
	size_t i, all = 0;

	for (i = 0; i < n->n_links; i++)
		all += n->links[i]->n_addresses;
	return all;
}

static void address_text(const Podvm__Address *a, char *dst, size_t room)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	inet_ntop(a->ip.len == 16 ? AF_INET6 : AF_INET, a->ip.data, ip, sizeof(ip));
	snprintf(dst, room, "%s/%u", ip, a->prefix_len);
}

static int put_addresses(const struct pod *p, Podvm__Pod__Info *r, struct err *e)
{
	const struct netplug_plan *plan = pod_plan(p);
	const Podvm__Network *n = plan ? netplug_plan_network(plan) : NULL;
	char text[80];
	size_t i, k;
	int rc = 0;

	if (!n)
		return 0;
	r->addresses = mem_new_n(char *, count_addresses(n) + 1);
	if (!r->addresses)
		return err_set(e, ENOMEM, "out of memory");
	for (i = 0; i < n->n_links; i++)
		for (k = 0; !rc && k < n->links[i]->n_addresses; k++) {
			address_text(n->links[i]->addresses[k], text, sizeof(text));
			rc = set_text(&r->addresses[r->n_addresses], text, e);
			r->n_addresses += !rc;
		}
	return rc;
}

static const char *status_of(const struct container *c)
{
	if (!c->committed || !c->state)
		return "creating";
	return c->ended && c->state->status != STATE_STOPPED ? "ending" :
							       state_status_name(c->state->status);
}

static int put_container(const struct container *c, Podvm__Pod__Info *r, struct err *e)
{
	Podvm__Pod__ContainerInfo *x = mem_new(Podvm__Pod__ContainerInfo);
	int rc;

	if (!x)
		return err_set(e, ENOMEM, "out of memory");
	podvm__pod__container_info__init(x);
	r->containers[r->n_containers++] = x;
	rc = set_text(&x->id, c->id, e);
	if (!rc)
		rc = set_text(&x->status, status_of(c), e);
	if (c->committed && c->state->status != STATE_STOPPED)
		x->shim_pid = (uint32_t)c->state->pid;
	return rc;
}

static int put_containers(const struct pod *p, Podvm__Pod__Info *r, struct err *e)
{
	const struct container *c;
	size_t n = 0;
	int rc = 0;

	for (c = p->containers; c; c = c->next)
		n++;
	r->containers = mem_new_n(Podvm__Pod__ContainerInfo *, n + 1);
	if (!r->containers)
		return err_set(e, ENOMEM, "out of memory");
	for (c = p->containers; c && !rc; c = c->next)
		rc = put_container(c, r, e);
	return rc;
}

static int put_size(struct pod *p, Podvm__Pod__Info *r, struct err *e)
{
	if (p->dead)
		return 0;
	r->size = mem_new(Podvm__Pod__Size);
	if (!r->size)
		return err_set(e, ENOMEM, "out of memory");
	podvm__pod__size__init(r->size);
	return machine_get_size(p, r->size, e);
}

/* ---- details ----------------------------------------------------------------------- */

static void put_machine(struct json_out *o, const struct pod *p)
{
	json_out_obj(o, "machine");
	json_out_str(o, "monitor", p->config.vmm);
	json_out_str(o, "kernel", p->config.kernel);
	json_out_str(o, "initramfs", p->config.initramfs);
	json_out_str(o, "cmdline", p->cmdline);
	json_out_u64(o, "vcpus", p->vcpus);
	json_out_u64(o, "vcpusMax", p->vcpus_max);
	json_out_u64(o, "memory", p->ram_bytes);
	json_out_u64(o, "memoryMax", p->ram_bytes + p->hotplug_bytes);
	json_out_str(o, "hugepages", config_pages_name(p->config.pages));
	json_out_bool(o, "merge", p->config.merge);
	json_out_bool(o, "prefault", p->config.prefault);
	json_out_bool(o, "ended", p->dead);
	json_out_end(o);
}

static void put_omitted(struct json_out *o)
{
	json_out_str(o, "planOmitted", "it is too long; podvm-netplug plan shows it");
}

static void put_plan(struct json_out *o, const struct netplug_plan *plan)
{
	_cleanup_free_ char *text = NULL;

	if (!plan || netplug_plan_json(plan, &text, NULL) < 0)
		return;
	if (strlen(text) > DETAILS_BYTES)
		put_omitted(o);
	else
		json_out_parsed(o, "plan", text);
}

static void put_network(struct json_out *o, const struct pod *p, bool with_plan)
{
	char held[48];

	snprintf(held, sizeof(held), "/proc/%d/fd/%d", getpid(), p->netns_fd);
	json_out_obj(o, "network");
	json_out_str(o, "netns", p->netns_path ? p->netns_path : held);
	json_out_str(o, "model", netplug_model_name(p->config.network_model));
	json_out_bool(o, "vhostNet", p->config.vhost_net);
	json_out_bool(o, "followed", p->netwatch);
	if (with_plan)
		put_plan(o, pod_plan(p));
	else
		put_omitted(o);
	json_out_end(o);
	json_out_obj(o, "relay");
	json_out_bool(o, "running", p->relay.pidfd >= 0);
	json_out_u64(o, "starts", p->relay.starts);
	json_out_bool(o, "dns", p->relay.dns);
	json_out_end(o);
}

static void put_disks(struct json_out *o, const struct container *c)
{
	const struct storage_disk *disks = NULL;
	size_t i;

	if (c->map)
		storage_map_disks(c->map, &disks);
	json_out_arr(o, "disks");
	for (i = 0; i < c->n_disks; i++) {
		json_out_obj(o, NULL);
		json_out_str(o, "serial", disks[i].serial);
		json_out_u64(o, "number", c->disk[i]);
		json_out_str(o, "kind", disks[i].kind == STORAGE_DISK_SYNTHETIC ? "layers" : "raw");
		json_out_bool(o, "readonly", disks[i].readonly);
		json_out_u64(o, "bytes", disks[i].size_bytes);
		json_out_end(o);
	}
	json_out_end(o);
}

static void put_numbers(struct json_out *o, const char *key, const uint32_t *v, size_t n)
{
	size_t i;

	json_out_arr(o, key);
	for (i = 0; i < n; i++)
		json_out_u64(o, NULL, v[i]);
	json_out_end(o);
}

static const char *rootfs_kind(const struct container *c)
{
	struct storage_root root;

	if (!c->map)
		return "shared directory";
	return storage_map_root(c->map, &root) ? "block device" : "overlay as disks";
}

static void put_container_details(struct json_out *o, const struct container *c)
{
	json_out_obj(o, NULL);
	json_out_str(o, "id", c->id);
	json_out_str(o, "status", status_of(c));
	json_out_str(o, "cgroup", c->cgroup.path);
	if (*c->cgroup.unit)
		json_out_str(o, "unit", c->cgroup.unit);
	json_out_str(o, "rootfsKind", rootfs_kind(c));
	put_disks(o, c);
	put_numbers(o, "shares", c->trees, c->n_trees);
	put_numbers(o, "mirrors", c->mirrors, c->n_mirrors);
	json_out_u64(o, "rawVolumes", c->n_rawvols);
	json_out_bool(o, "writeBack", c->back.way);
	json_out_bool(o, "lent", c->lent);
	json_out_end(o);
}

static int details_text(const struct pod *p, bool with_plan, char **ret, struct err *e)
{
	struct json_out *o = json_out_new();
	const struct container *c;
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	put_machine(o, p);
	put_network(o, p, with_plan);
	json_out_arr(o, "containers");
	for (c = p->containers; c; c = c->next)
		put_container_details(o, c);
	json_out_end(o);
	rc = json_out_text(o, false, ret, e);
	json_out_free(o);
	return rc;
}

static int put_details(const struct pod *p, Podvm__Pod__Info *r, struct err *e)
{
	int rc = details_text(p, true, &r->details, e);

	if (rc < 0 || strlen(r->details) < DETAILS_BYTES)
		return rc;
	free(r->details);
	r->details = NULL;
	return details_text(p, false, &r->details, e);
}

static int fill(struct pod *p, bool details, Podvm__Pod__Info *r, struct err *e)
{
	int rc;

	r->supervisor_pid = (uint32_t)getpid();
	r->monitor_pid = p->dead ? 0 : (uint32_t)p->vmm.pid;
	r->relay_pid = p->relay.pidfd < 0 ? 0 : (uint32_t)p->relay.pid;
	r->began_ns = p->began_ns;
	r->vcpus = p->vcpus;
	r->vcpus_max = p->vcpus_max;
	r->exits = p->exits;
	r->oom_kills = p->oom_kills;
	if ((rc = set_text(&r->guest_kernel, p->guest_kernel, e)) < 0 ||
	    (rc = put_size(p, r, e)) < 0 || (rc = put_addresses(p, r, e)) < 0 ||
	    (rc = put_containers(p, r, e)) < 0)
		return rc;
	return details ? put_details(p, r, e) : 0;
}

/**
 * inspect_info() - what the supervisor knows of its pod
 * @details: with all that only people want
 * @ret:     podvm__pod__info__free_unpacked()
 *
 * Return: 0 or minus errno
 */
int inspect_info(struct pod *p, bool details, Podvm__Pod__Info **ret, struct err *e)
{
	Podvm__Pod__Info *r = mem_new(Podvm__Pod__Info);
	int rc;

	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	podvm__pod__info__init(r);
	rc = fill(p, details, r, e);
	if (rc < 0)
		podvm__pod__info__free_unpacked(r, NULL);
	else
		*ret = r;
	return rc;
}
