// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of podvm.json: the input is the file. What is read holds what runtime/config.h
 * promises: numbers that may be rounded up and multiplied, absolute paths, a trusted runtime
 * where work is handed to one, and names for all values that are shown. What is not has a
 * text that names the file.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/config.h"
#include "tests/fuzz/home.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BYTES_MAX (1ull << 56)
#define DAY_MS 86400000u

static bool in(uint64_t v, uint64_t max)
{
	return v && v <= max;
}

static bool grows(uint64_t v, uint64_t max)
{
	return v <= max || v == CONFIG_AUTO;
}

static bool sizes_hold(const struct config *c)
{
	return in(c->ram_bytes, BYTES_MAX) && in(c->scratch_bytes, BYTES_MAX) &&
	       in(c->vcpus, UINT32_MAX) && grows(c->vcpus_max, UINT32_MAX) &&
	       grows(c->ram_max_bytes, BYTES_MAX) && in(c->boot_timeout_ms, INT32_MAX) &&
	       in(c->write_back_ms, DAY_MS) && in(c->watchdog_period_ms, DAY_MS) &&
	       c->watchdog_limit_ms <= DAY_MS &&
	       (!c->watchdog_limit_ms || c->watchdog_limit_ms >= 2 * c->watchdog_period_ms);
}

static bool choices_hold(const struct config *c)
{
	return *config_pages_name(c->pages) && c->write_back <= CONFIG_WRITE_BACK_OFF &&
	       c->block_rootfs <= CONFIG_BLOCK_REFUSE && c->debug_shell <= CONFIG_SHELL_OFF &&
	       c->network_model < NETPLUG_MODELS && (!*c->layer_cache || *c->layer_cache == '/');
}

static bool trust_holds(const struct trust_config *t)
{
	if (!*config_level_name(t->level) || !*config_untrusted_name(t->untrusted))
		return false;
	if (*t->runtime)
		return *t->runtime == '/';
	return t->level == TRUST_LEVEL_UNTRUSTED && t->untrusted == TRUST_UNTRUSTED_PODVM;
}

/**
 * LLVMFuzzerTestOneInput() - read one configuration
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config c;
	const char *path = fuzz_file(data, size);
	struct err e = { 0 };

	if (setenv("PODVM_CONFIG", path, 1) < 0)
		abort();
	if (config_load(&c, &e) < 0) {
		if (!strstr(e.text, path))
			abort();
		return 0;
	}
	if (!sizes_hold(&c) || !choices_hold(&c) || !trust_holds(&c.trust))
		abort();
	return 0;
}
