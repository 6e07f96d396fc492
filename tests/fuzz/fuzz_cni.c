// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of what the CNI plugin reads: the first byte chooses the command, the rest is
 * the network configuration on standard input. It is checked as for ADD, and a result is
 * made of it; the kernel is not asked. What passes must give a result that is JSON; what
 * does not, a code and a text.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "lib/mem.h"
#include "netplug/cni.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct cni_env env = {.id = "pod", .netns = "/run/netns/pod", .ifname = "eth0"};

static void result_of(const struct cni_conf *c)
{
	static const struct plan_port port = {.name = "eth0", .tap = "tap2", .mtu = 1500};
	static const struct scan nothing;
	_cleanup_free_ char *text = NULL;
	struct json_doc *doc = NULL;
	struct err e = {0};

	if (cni_prev_check(c, &env, &e)) {
		if (!e.text[0])
			abort();
		return;
	}
	cni_prev_same(c, &env, &nothing, &port, true, &e);
	if (cni_result(c, &env, &port, &text, &e) < 0)
		return;
	if (json_parse(text, strlen(text), &doc, &e) < 0)
		abort();
	json_free(doc);
}

/**
 * LLVMFuzzerTestOneInput() - read one configuration
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cni_conf c = CNI_CONF_INIT;
	struct err e = {0};
	enum cni_command command;
	int code;

	if (!size)
		return 0;
	command = (enum cni_command)(data[0] % (CNI_VERSION + 1));
	code = cni_conf_parse((const char *)data + 1, size - 1, command, &c, &e);
	if (code && !e.text[0])
		abort();
	if (!code && c.has_prev)
		result_of(&c);
	cni_conf_done(&c);
	return 0;
}
