// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * What the guest's network counts, for a trace that looks for where packets get
 * lost: an interface's statistics, and of the protocols' those that count what was
 * not delivered. Names are the kernel's, with the section in front where the file has
 * sections. What a kernel does not count is left out.
 *
 * Sources: kernel Documentation/networking/statistics.rst, snmp_counter.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/agent/agent.h"
#include "lib/fd.h"
#include "lib/mem.h"
#include "lib/str.h"

#define FILE_BYTES 65536
#define NAME_BYTES 48

static const char *const link_names[] = {
	"rx_packets", "rx_dropped", "rx_errors", "rx_nohandler",
	"tx_packets", "tx_dropped", "tx_errors", "tx_carrier_errors",
};

/* Section and name of /proc/net/snmp and netstat, written as one word. */
static const char *const protocol_names[] = {
	"IpInHdrErrors", "IpInAddrErrors", "IpInUnknownProtos", "IpInDiscards",
	"IpOutDiscards", "IpOutNoRoutes", "IpReasmFails", "IpFragFails",
	"IcmpInErrors", "IcmpInCsumErrors", "IcmpOutDestUnreachs",
	"TcpInErrs", "TcpInCsumErrors", "TcpOutRsts", "TcpAttemptFails",
	"UdpNoPorts", "UdpInErrors", "UdpRcvbufErrors", "UdpInCsumErrors",
	"TcpExtListenOverflows", "TcpExtListenDrops", "TcpExtTCPBacklogDrop",
	"TcpExtIPReversePathFilter", "TcpExtArpFilter", "TcpExtLockDroppedIcmps",
	"IpExtInNoRoutes", "IpExtInTruncatedPkts", "IpExtInCsumErrors",
};

/* Names of /proc/net/snmp6. */
static const char *const protocol6_names[] = {
	"Ip6InHdrErrors", "Ip6InTooBigErrors", "Ip6InNoRoutes", "Ip6InAddrErrors",
	"Ip6InDiscards", "Ip6OutDiscards", "Ip6OutNoRoutes", "Ip6ReasmFails",
	"Icmp6InErrors", "Icmp6InCsumErrors", "Icmp6OutDestUnreachs",
	"Udp6NoPorts", "Udp6InErrors", "Udp6RcvbufErrors", "Udp6InCsumErrors",
};

#define COUNTERS_MAX (ARRAY_LEN(link_names) + ARRAY_LEN(protocol_names) + ARRAY_LEN(protocol6_names))

/* All in one allocation. */
struct counters {
	Podvm__Counter *list[COUNTERS_MAX];
	Podvm__Counter counter[COUNTERS_MAX];
	char name[COUNTERS_MAX][NAME_BYTES];
};

static void add(Podvm__TraceTold *told, const char *name, const char *value)
{
	struct counters *v = (struct counters *)told->counters;
	size_t i = told->n_counters;
	uint64_t n;

	if (i == COUNTERS_MAX || parse_u64(value, &n) < 0)
		return;
	snprintf(v->name[i], NAME_BYTES, "%s", name);
	podvm__counter__init(&v->counter[i]);
	v->counter[i].name = v->name[i];
	v->counter[i].value = n;
	v->list[i] = &v->counter[i];
	told->n_counters++;
}

static bool wanted(const char *const *names, size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static void add_link(Podvm__TraceTold *told, const char *link)
{
	char path[128], *end;
	size_t i;

	for (i = 0; i < ARRAY_LEN(link_names); i++) {
		_cleanup_free_ char *text = NULL;

		snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", link,
			 link_names[i]);
		if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
			continue;
		end = strchr(text, '\n');
		if (end)
			*end = 0;
		add(told, link_names[i], text);
	}
}

/* Two lines per section: its name and the counters' names, then the same and the values. */
static void add_sections(Podvm__TraceTold *told, char *text)
{
	char *line_end = text, *names, *values, *name, *value, *at, *at2;
	char full[NAME_BYTES];

	while ((names = strsep(&line_end, "\n")) && (values = strsep(&line_end, "\n"))) {
		char *section = strtok_r(names, " :", &at);

		value = strtok_r(values, " :", &at2);
		while (section && value && (name = strtok_r(NULL, " ", &at)) &&
		       (value = strtok_r(NULL, " :", &at2))) {
			snprintf(full, sizeof(full), "%s%s", section, name);
			if (wanted(protocol_names, ARRAY_LEN(protocol_names), full))
				add(told, full, value);
		}
	}
}

/* A name and a value per line. */
static void add_lines(Podvm__TraceTold *told, char *text)
{
	char *line, *name, *value, *at;

	while ((line = strsep(&text, "\n"))) {
		name = strtok_r(line, " \t", &at);
		value = name ? strtok_r(NULL, " \t", &at) : NULL;
		if (value && wanted(protocol6_names, ARRAY_LEN(protocol6_names), name))
			add(told, name, value);
	}
}

static void add_file(Podvm__TraceTold *told, const char *path,
		     void (*parse)(Podvm__TraceTold *told, char *text))
{
	_cleanup_free_ char *text = NULL;

	if (!file_read(AT_FDCWD, path, FILE_BYTES, &text, NULL, NULL))
		parse(told, text);
}

/**
 * capture_counters() - read what the guest's network counts
 * @mac:  of an interface; empty: only what is not an interface's
 * @told: gets its counters, capture_counters_free()
 *
 * Return: 0; -ENODEV; -ENOMEM
 */
int capture_counters(const ProtobufCBinaryData *mac, Podvm__TraceTold *told, struct err *e)
{
	struct rtm_link link = { .name = "" };
	int rc = mac->len ? capture_link(mac, &link, e) : 0;

	if (rc < 0)
		return rc;
	told->counters = (Podvm__Counter **)mem_new(struct counters);
	if (!told->counters)
		return err_set(e, ENOMEM, "out of memory");
	if (*link.name)
		add_link(told, link.name);
	add_file(told, "/proc/net/snmp", add_sections);
	add_file(told, "/proc/net/netstat", add_sections);
	add_file(told, "/proc/net/snmp6", add_lines);
	return 0;
}

/**
 * capture_counters_free() - free what capture_counters() has put in
 */
void capture_counters_free(Podvm__TraceTold *told)
{
	free(told->counters);
	told->counters = NULL;
	told->n_counters = 0;
}
