// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of what trace and capture take from outside. The first byte chooses: a flow's
 * three texts, whose expression must fit and name both ends; a packet's head; or a
 * message of a guest: packets, whose times must come out between the beginning and
 * now and whose bytes must all be there, or counters, whose names are text.
 */
#include <ctype.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "netplug/half.h"
#include "netplug/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define START_NS 1000000000000ull
#define NOW_NS (START_NS + 1000000000ull)
#define WITHIN_NS 1000000ull
#define SNAPLEN 128

/* The next text up to a newline, NULL when it is empty. */
static const char *word(char **at)
{
	char *s = strsep(at, "\n");

	return s && *s ? s : NULL;
}

static void fuzz_flow(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = strndup((const char *)data, size);
	char *at = text, expression[FLOW_EXPRESSION_BYTES], shown[192];
	const char *to, *from, *protocol;
	struct err e = { 0 };
	struct flow f;

	if (!text)
		abort();
	to = word(&at);
	from = word(&at);
	protocol = word(&at);
	if (flow_parse(to, from, protocol, &f, &e) < 0) {
		if (!e.text[0])
			abort();
		return;
	}
	flow_expression(&f, expression);
	flow_text(&f, shown, sizeof(shown));
	/* It was not cut: every parenthesis is closed. */
	for (at = expression, size = 0; *at; at++)
		size += *at == '(' ? 1 : *at == ')' ? (size_t)-1 : 0;
	if (size || !expression[0] || !shown[0])
		abort();
}

static int on_packet(void *arg, const struct packet *k, struct err *e)
{
	volatile uint8_t sum = 0;
	uint32_t i;

	(void)arg;
	(void)e;
	for (i = 0; i < k->caplen; i++)
		sum = (uint8_t)(sum + k->data[i]);
	if (k->caplen > SNAPLEN || k->len < k->caplen || k->len > PACKET_LEN_MAX ||
	    k->type > PACKET_OUTGOING || k->ts_ns < START_NS - WITHIN_NS ||
	    k->ts_ns > NOW_NS + WITHIN_NS)
		abort();
	if (flow_classify(k->data, k->caplen) >= FLOW_CLASSES)
		abort();
	return 0;
}

static void check_counters(const struct trace_counters *c)
{
	size_t i, k;

	for (i = 0; i < c->n; i++)
		for (k = 0; k == 0 || c->name[i][k]; k++)
			if (k == TRACE_NAME_BYTES - 1 ||
			    !(isalnum((unsigned char)c->name[i][k]) || c->name[i][k] == '_'))
				abort();
}

static void fuzz_guest(const uint8_t *data, size_t size)
{
	struct half h = { .clock = { -12345678901ll, WITHIN_NS }, .snaplen = SNAPLEN,
			  .start_ns = START_NS };
	Podvm__Response *rs = podvm__response__unpack(NULL, size, data);
	struct trace_counters *c = mem_new(struct trace_counters);
	struct err e = { 0 };

	if (!c)
		abort();
	if (rs && rs->body_case == PODVM__RESPONSE__BODY_CAPTURED &&
	    half_take(&h, rs->captured, NOW_NS, on_packet, NULL, &e) < 0 && !e.text[0])
		abort();
	if (rs && rs->body_case == PODVM__RESPONSE__BODY_TOLD) {
		trace_take_told(rs->told, c);
		check_counters(c);
	}
	free(c);
	if (rs)
		podvm__response__free_unpacked(rs, NULL);
}

/**
 * LLVMFuzzerTestOneInput() - a flow, a frame or a message
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] % 3 == 0)
		fuzz_flow(data + 1, size - 1);
	else if (data[0] % 3 == 1)
		(void)flow_classify(data + 1, size - 1);
	else
		fuzz_guest(data + 1, size - 1);
	return 0;
}
