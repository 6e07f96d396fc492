// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A flow as a person names it: ends as ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT, with a
 * protocol behind a slash. It becomes an expression of pcap-filter(7), so that the
 * kernel picks its packets at every hop, here and in the guest: those of both
 * directions, fragments without ports, ARP and neighbour discovery for its ends,
 * and ICMP errors about it. What is which is told from the packet's head.
 *
 * Sources: pcap-filter(7); RFC 791, 792, 826, 8200, 4861.
 */
#include "netplug/flow.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/str.h"

static const struct { const char *name; uint8_t number; } protocols[] = {
	{ "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "icmp", IPPROTO_ICMP },
	{ "icmp6", IPPROTO_ICMP },
};

static const char *protocol_name(uint8_t number)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(protocols); i++)
		if (protocols[i].number == number)
			return protocols[i].name;
	return "any";
}

static int take_protocol(const char *text, struct flow *f, struct err *e)
{
	char shown[64];
	size_t i;

	for (i = 0; i < ARRAY_LEN(protocols); i++)
		if (!strcmp(text, protocols[i].name))
			break;
	if (i == ARRAY_LEN(protocols)) {
		str_quote(shown, sizeof(shown), text);
		return err_set(e, EINVAL, "protocol %s: tcp, udp and icmp are known", shown);
	}
	if (f->protocol && f->protocol != protocols[i].number)
		return err_set(e, EINVAL, "two protocols for one flow: %s and %s",
			       protocol_name(f->protocol), protocols[i].name);
	f->protocol = protocols[i].number;
	return 0;
}

static int take_port(const char *text, struct flow_end *end, struct err *e)
{
	char shown[64];
	uint64_t port;

	if (!parse_u64(text, &port) && port && port <= 65535) {
		end->port = (uint16_t)port;
		return 0;
	}
	str_quote(shown, sizeof(shown), text);
	return err_set(e, EINVAL, "port %s: 1 to 65535", shown);
}

static int take_address(const char *text, struct flow_end *end, struct err *e)
{
	char shown[64];

	if (inet_pton(AF_INET, text, end->ip) == 1)
		end->family = AF_INET;
	else if (inet_pton(AF_INET6, text, end->ip) == 1)
		end->family = AF_INET6;
	if (end->family)
		return 0;
	str_quote(shown, sizeof(shown), text);
	return err_set(e, EINVAL, "address %s: not as 10.1.2.3, 10.1.2.3:443, fd00::1 or [fd00::1]:443",
		       shown);
}

/* ADDRESS[:PORT][/PROTOCOL], :PORT */
static int take_end(const char *text, struct flow *f, struct flow_end *end, struct err *e)
{
	char copy[128], *address = copy, *port = NULL, *slash, *close;
	int rc = 0;

	if (str_copy(copy, sizeof(copy), text) < 0)
		return err_set(e, EINVAL, "address is too long");
	slash = strchr(copy, '/');
	if (slash) {
		*slash = 0;
		rc = take_protocol(slash + 1, f, e);
	}
	if (*copy == '[' && (close = strchr(copy, ']'))) {
		address = copy + 1;
		*close = 0;
		port = close[1] == ':' ? close + 2 : NULL;
		if (close[1] && !port)
			rc = err_set(e, EINVAL, "address: nothing but :PORT follows a ]");
	} else if (strchr(copy, ':') && strchr(copy, ':') == strrchr(copy, ':')) {
		port = strchr(copy, ':');
		*port++ = 0;
	}
	if (!rc && port)
		rc = take_port(port, end, e);
	if (!rc && (*address || !port))
		rc = take_address(address, end, e);
	return rc;
}

/**
 * flow_parse() - read a flow
 * @to, @from: its ends; NULL: any
 * @protocol:  NULL: any, or behind an end
 *
 * Return: 0; -EINVAL
 */
int flow_parse(const char *to, const char *from, const char *protocol, struct flow *ret,
	       struct err *e)
{
	struct flow f = { .protocol = 0 };
	int rc = protocol ? take_protocol(protocol, &f, e) : 0;

	if (!rc && to && (rc = take_end(to, &f, &f.to, e)) < 0)
		err_wrap(e, "--to");
	if (!rc && from && (rc = take_end(from, &f, &f.from, e)) < 0)
		err_wrap(e, "--from");
	if (rc < 0)
		return rc;
	if (f.to.family && f.from.family && f.to.family != f.from.family)
		return err_set(e, EINVAL, "--to and --from are of different families");
	if ((f.to.port || f.from.port) && f.protocol == IPPROTO_ICMP)
		return err_set(e, EINVAL, "ICMP has no ports");
	if (!to && !from && !protocol)
		return err_set(e, EINVAL, "which flow? say --to, --from, --proto, or --ping");
	*ret = f;
	return 0;
}

static void address_text(const struct flow_end *end, char dst[INET6_ADDRSTRLEN])
{
	if (!end->family || !inet_ntop(end->family, end->ip, dst, INET6_ADDRSTRLEN))
		snprintf(dst, INET6_ADDRSTRLEN, "any");
}

static void end_text(const struct flow_end *end, char *dst, size_t room)
{
	char ip[INET6_ADDRSTRLEN];

	address_text(end, ip);
	if (!end->port)
		snprintf(dst, room, "%s", ip);
	else
		snprintf(dst, room, end->family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip, end->port);
}

/**
 * flow_text() - a flow for people
 */
void flow_text(const struct flow *f, char *dst, size_t room)
{
	char to[64], from[64];

	end_text(&f->to, to, sizeof(to));
	end_text(&f->from, from, sizeof(from));
	snprintf(dst, room, "%s from %s to %s",
		 f->protocol ? protocol_name(f->protocol) : "any protocol", from, to);
}

/* Of the packets of one direction. */
static void one_way(struct strbuf *b, const struct flow_end *to, const struct flow_end *from)
{
	const struct { const char *side; const struct flow_end *end; } sides[] = {
		{ "dst", to }, { "src", from },
	};
	char ip[INET6_ADDRSTRLEN];
	size_t i;

	for (i = 0; i < 2; i++) {
		address_text(sides[i].end, ip);
		if (sides[i].end->family)
			strbuf_add(b, " and %s host %s", sides[i].side, ip);
		if (sides[i].end->port)
			strbuf_add(b, " and %s port %u", sides[i].side, sides[i].end->port);
	}
}

static void both_ends(struct strbuf *b, const struct flow *f)
{
	const struct flow_end *const ends[] = { &f->to, &f->from };
	char ip[INET6_ADDRSTRLEN];
	size_t i;

	for (i = 0; i < 2; i++) {
		address_text(ends[i], ip);
		if (ends[i]->family)
			strbuf_add(b, " and host %s", ip);
	}
}

static uint32_t word(const struct flow_end *end, int i)
{
	uint32_t v;

	memcpy(&v, end->ip + 4 * i, 4);
	return ntohl(v);
}

/* Who asks for an end's address, and the errors about what goes there. */
static void helpers(struct strbuf *b, const struct flow_end *end)
{
	char ip[INET6_ADDRSTRLEN];
	int i;

	address_text(end, ip);
	if (end->family == AF_INET) {
		strbuf_add(b, " or (arp host %s)", ip);
		strbuf_add(b, " or ((icmp[0] == 3 or icmp[0] == 11) and icmp[24:4] == 0x%08x)",
			   word(end, 0));
	} else if (end->family == AF_INET6) {
		strbuf_add(b, " or (ip6[6] == 58 and (ip6[40] == 135 or ip6[40] == 136)");
		for (i = 0; i < 4; i++)
			strbuf_add(b, " and ip6[%d:4] == 0x%08x", 48 + 4 * i, word(end, i));
		strbuf_add(b, ")");
	}
}

/**
 * flow_expression() - a flow in the language of pcap-filter(7)
 */
void flow_expression(const struct flow *f, char dst[FLOW_EXPRESSION_BYTES])
{
	const char *proto = f->protocol == IPPROTO_TCP ? "tcp" :
			    f->protocol == IPPROTO_UDP ? "udp" :
			    f->protocol == IPPROTO_ICMP ? "(icmp or icmp6)" : "(ip or ip6)";
	struct strbuf b = { .text = NULL };

	strbuf_add(&b, "((%s", proto);
	one_way(&b, &f->to, &f->from);
	strbuf_add(&b, ") or (%s", proto);
	one_way(&b, &f->from, &f->to);
	strbuf_add(&b, "))");
	if ((f->to.port || f->from.port) && f->to.family != AF_INET6 &&
	    f->from.family != AF_INET6) {
		strbuf_add(&b, " or (%s and ip[6:2] & 0x1fff != 0",
			   f->protocol ? proto : "(udp or tcp)");
		both_ends(&b, f);
		strbuf_add(&b, ")");
	}
	helpers(&b, &f->to);
	helpers(&b, &f->from);
	snprintf(dst, FLOW_EXPRESSION_BYTES, "%s", b.text ? b.text : "");
	strbuf_done(&b);
}

/**
 * flow_classify() - what a packet that flow_expression() let through is
 * @frame: Ethernet frame, the first @len bytes of it; anything can be in it
 */
enum flow_class flow_classify(const uint8_t *frame, size_t len)
{
	size_t at = 12;
	uint16_t type;

	while (len >= at + 2 && (frame[at] << 8 | frame[at + 1]) == ETHERTYPE_VLAN)
		at += 4;
	if (len < at + 2)
		return FLOW_PACKET;
	type = (uint16_t)(frame[at] << 8 | frame[at + 1]);
	frame += at + 2;
	len -= at + 2;
	if (type == ETHERTYPE_ARP)
		return FLOW_NEIGHBOUR;
	if (type == ETHERTYPE_IPV6 && len > 40 && frame[6] == IPPROTO_ICMPV6) {
		if (frame[40] == 135 || frame[40] == 136)
			return FLOW_NEIGHBOUR;
		return frame[40] < 128 ? FLOW_ERROR : FLOW_PACKET;
	}
	if (type == ETHERTYPE_IP && len > 20 && frame[9] == IPPROTO_ICMP) {
		size_t head = (size_t)(frame[0] & 15) * 4;

		if (head >= 20 && len > head && (frame[head] == 3 || frame[head] == 11))
			return FLOW_ERROR;
	}
	return FLOW_PACKET;
}
