// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * The configuration file: defaults without it, every member, and one row for
 * each mistake, with the path that the error must name.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "runtime/config.h"
#include "tests/kit/dir.h"

Suite *runtime_config_suite(void);

static void setup(void)
{
	kit_dir_enter();
	ck_assert_int_eq(setenv("PODVM_CONFIG", "c.json", 1), 0);
}

START_TEST(all_members)
{
	struct err e = { 0 };
	struct config c;

	kit_put("c.json", "{\"vmm\":\"/v\",\"kernel\":\"/k\",\"initramfs\":\"/i\",\"cmdline\":\"q\","
			  "\"ram\":\"512M\",\"vcpus\":2,\"scratch\":1073741824,"
			  "\"bootTimeoutMs\":5000,\"vhostNet\":\"off\",\"layerCache\":\"/c\",\"writeBack\":\"on\",\"writeBackTimeoutMs\":7,\"relay\":\"off\",\"debugShell\":\"on\",\"networkModel\":\"macvtap-passthru\",\"templates\":true,\"vcpusMax\":8,\"memory\":{\"max\":\"2G\",\"merge\":true,"
			  "\"hugepages\":\"always\",\"prefault\":true},"
			  "\"trust\":{\"default\":\"trusted\",\"trustedRuntime\":\"/r\","
			  "\"untrustedRuntime\":\"podvm-or-trusted\",\"privilegedAnnotation\":\"a\"}}");
	ck_assert_msg(!config_load(&c, &e), "%s", e.text);
	ck_assert_str_eq(c.vmm, "/v");
	ck_assert_str_eq(c.kernel, "/k");
	ck_assert_str_eq(c.initramfs, "/i");
	ck_assert_str_eq(c.cmdline, "q");
	ck_assert_uint_eq(c.ram_bytes, 512 << 20);
	ck_assert_uint_eq(c.vcpus, 2);
	ck_assert_uint_eq(c.scratch_bytes, 1 << 30);
	ck_assert_uint_eq(c.boot_timeout_ms, 5000);
	ck_assert(!c.vhost_net && !c.relay && c.templates);
	ck_assert_int_eq(c.debug_shell, CONFIG_SHELL_ON);
	ck_assert_str_eq(c.layer_cache, "/c");
	ck_assert_int_eq(c.write_back, CONFIG_WRITE_BACK_ON);
	ck_assert_uint_eq(c.write_back_ms, 7);
	ck_assert_int_eq(c.network_model, NETPLUG_MACVTAP_PASSTHRU);
	ck_assert_uint_eq(c.vcpus_max, 8);
	ck_assert_uint_eq(c.ram_max_bytes, 2ull << 30);
	ck_assert(c.merge && c.prefault);
	ck_assert_int_eq(c.pages, VMM_PAGES_ALWAYS);
	ck_assert_int_eq(c.trust.level, TRUST_LEVEL_TRUSTED);
	ck_assert_int_eq(c.trust.untrusted, TRUST_UNTRUSTED_PODVM_OR);
	ck_assert_str_eq(c.trust.runtime, "/r");
	ck_assert_str_eq(c.trust.privileged_key, "a");
}
END_TEST

START_TEST(defaults)
{
	static const char *const empty[] = { "{}", "{\"ram\":null,\"vmm\":null}",
					     "{\"memory\":{},\"vcpusMax\":null}",
					     "{\"vhostNet\":\"auto\"}",
					     "{\"layerCache\":null}", "{\"writeBack\":\"auto\"}" };
	struct err e = { 0 };
	struct config c;

	kit_put("c.json", empty[_i]);
	ck_assert_int_eq(config_load(&c, &e), 0);
	ck_assert_uint_eq(c.ram_bytes, 256 << 20);
	ck_assert_uint_eq(c.vcpus, 1);
	ck_assert_uint_eq(c.write_back_ms, 900000);
	ck_assert(c.vhost_net && c.relay);
	ck_assert_str_eq(c.layer_cache, CONFIG_LAYER_CACHE);
	ck_assert_int_ne(c.vmm[0], 0);
	ck_assert_int_ne(c.kernel[0], 0);
	ck_assert_str_eq(c.cmdline, "");
	ck_assert_uint_eq(c.vcpus_max, CONFIG_AUTO);
	ck_assert_uint_eq(c.ram_max_bytes, CONFIG_AUTO);
	ck_assert(!c.merge && !c.prefault && !c.templates);
	ck_assert_int_eq(c.pages, VMM_PAGES_HOST);
}
END_TEST

START_TEST(no_layer_cache)
{
	struct err e = { 0 };
	struct config c;

	kit_put("c.json", "{\"layerCache\":\"off\"}");
	ck_assert_int_eq(config_load(&c, &e), 0);
	ck_assert_str_eq(c.layer_cache, "");
}
END_TEST

/* A file that was asked for must be there. */
START_TEST(missing_file)
{
	struct err e = { 0 };
	struct config c;

	ck_assert_int_eq(config_load(&c, &e), -ENOENT);
	ck_assert_str_eq(e.text, "configuration: c.json: No such file or directory");
	setenv("PODVM_CONFIG", "", 1);
	ck_assert_int_eq(config_load(&c, &e), -ENOENT);
	setenv("PODVM_CONFIG", ".", 1);
	ck_assert_int_eq(config_load(&c, &e), -EISDIR);
}
END_TEST

static const struct {
	const char *text, *error;
} bad[] = {
	{ "", "not valid JSON" },
	{ "{\"ram\":\"1G\"", "not valid JSON" },
	{ "{\"networkModel\":1}", "/networkModel: must be" },
	{ "{\"debugShell\":true}", "/debugShell: must be" },
	{ "{\"debugShell\":\"yes\"}", "/debugShell: must be annotation, on or off" },
	{ "{\"networkModel\":\"bridge\"}",
	  "/networkModel: must be auto, tc, macvtap or macvtap-passthru, not \"bridge\"" },
	{ "null", "/: must be an object, not null" },
	{ "[]", "/: must be an object, not array" },
	{ "{\"Ram\":1}", "/Ram: unknown setting" },
	{ "{\"ram\":1048576,\"memori\":1}", "/memori: unknown setting" },
	{ "{\"memory\":1}", "/memory: must be object, not int" },
	{ "{\"trust\":\"untrusted\"}", "/trust: must be object, not string" },
	{ "{\"trust\":{\"trusted\":1}}", "/trust/trusted: unknown setting" },
	{ "{\"trust\":{\"default\":\"Trusted\"}}", "/trust/default: must be untrusted or trusted" },
	{ "{\"trust\":{\"default\":\"trusted\"}}", "/trust/default: trusted needs a trustedRuntime" },
	{ "{\"trust\":{\"trustedRuntime\":\"crun\"}}", "/trust/trustedRuntime: must be an absolute path" },
	{ "{\"trust\":{\"untrustedRuntime\":\"crun\"}}",
	  "/trust/untrustedRuntime: must be podvm, podvm-or-trusted or trusted" },
	{ "{\"trust\":{\"untrustedRuntime\":\"podvm-or-trusted\"}}",
	  "/trust/untrustedRuntime: what is not podvm needs a trustedRuntime" },
	{ "{\"memory\":{\"Max\":1}}", "/memory/Max: unknown setting" },
	{ "{\"memory\":{\"max\":\"x\"}}", "/memory/max: not a size" },
	{ "{\"memory\":{\"max\":18446744073709551615}}", "/memory/max: must be at most" },
	{ "{\"memory\":{\"merge\":1}}", "/memory/merge: must be" },
	{ "{\"memory\":{\"prefault\":\"yes\"}}", "/memory/prefault: must be" },
	{ "{\"memory\":{\"hugepages\":\"4M\"}}", "/memory/hugepages: must be default, never" },
	{ "{\"memory\":{\"hugepages\":true}}", "/memory/hugepages: must be string" },
	{ "{\"memory\":{\"hugepages\":\"2M\",\"merge\":true}}", "/memory/merge: excludes" },
	{ "{\"memory\":{\"hugepages\":\"1G\",\"max\":\"4G\"}}", "/memory/max: excludes" },
	{ "{\"vcpusMax\":-1}", "/vcpusMax: must not be negative" },
	{ "{\"vcpusMax\":4294967297}", "/vcpusMax: must be at most" },
	{ "{\"\":1}", "unknown setting" },
	{ "{\"ram\":\"1X\"}", "/ram: not a size such as 256M" },
	{ "{\"ram\":\"\"}", "/ram: not a size" },
	{ "{\"ram\":\"-1\"}", "/ram: not a size" },
	{ "{\"ram\":\"16777216T\"}", "/ram: not a size" },
	{ "{\"ram\":-1}", "/ram: must not be negative" },
	{ "{\"ram\":1.5}", "/ram: must be int, not double" },
	{ "{\"ram\":[]}", "/ram: must be int, not array" },
	{ "{\"ram\":0}", "/ram: must be 1 to" },
	{ "{\"ram\":18446744073709551615}", "/ram: must be 1 to" },
	{ "{\"scratch\":true}", "/scratch: must be int, not boolean" },
	{ "{\"vcpus\":0}", "/vcpus: must be 1 to" },
	{ "{\"vcpus\":\"2\"}", "/vcpus: must be int, not string" },
	{ "{\"vcpus\":4294967297}", "/vcpus: must be 1 to" },
	{ "{\"writeBackTimeoutMs\":0}", "/writeBackTimeoutMs: must be 1 to" },
	{ "{\"writeBackTimeoutMs\":86400001}", "/writeBackTimeoutMs: must be 1 to 86400000" },
	{ "{\"watchdogPeriodMs\":0}", "/watchdogPeriodMs: must be 1 to 86400000" },
	{ "{\"watchdogLimitMs\":86400001}", "/watchdogLimitMs: must be at most 86400000" },
	{ "{\"watchdogLimitMs\":19999}", "/watchdogLimitMs: must be 0 or two periods (watchdogPeriodMs, 10000) at least" },
	{ "{\"watchdogPeriodMs\":5,\"watchdogLimitMs\":9}", "/watchdogLimitMs: must be 0 or two periods" },
	{ "{\"bootTimeoutMs\":0}", "/bootTimeoutMs: must be 1 to" },
	{ "{\"bootTimeoutMs\":18446744073709551615}", "/bootTimeoutMs: must be 1 to" },
	{ "{\"templates\":\"on\"}", "/templates: must be" },
	{ "{\"vhostNet\":true}", "/vhostNet: must be string, not boolean" },
	{ "{\"writeBack\":false}", "/writeBack: must be string, not boolean" },
	{ "{\"writeBack\":\"yes\"}", "/writeBack: must be auto, on or off" },
	{ "{\"vhostNet\":\"on\"}", "/vhostNet: must be auto or off" },
	{ "{\"relay\":\"on\"}", "/relay: must be auto or off" },
	{ "{\"relay\":false}", "/relay: must be string, not boolean" },
	{ "{\"layerCache\":true}", "/layerCache: must be string, not boolean" },
	{ "{\"layerCache\":\"cache\"}", "/layerCache: must be an absolute path or off" },
	{ "{\"blockRootfs\":true}", "/blockRootfs: must be string, not boolean" },
	{ "{\"blockRootfs\":\"mount\"}", "/blockRootfs: must be return, leave-unmounted or refuse" },
	{ "{\"vmm\":1}", "/vmm: must be string, not int" },
	{ "{\"kernel\":\"a\\u0000b\"}", "/kernel: holds a NUL character" },
};

START_TEST(mistake)
{
	struct err e = { 0 };
	struct config c;

	kit_put("c.json", bad[_i].text);
	ck_assert_msg(config_load(&c, &e) == -EINVAL, "row %d", _i);
	ck_assert_msg(!strncmp(e.text, "configuration c.json: ", 22), "%s", e.text);
	ck_assert_msg(strstr(e.text, bad[_i].error), "%s", e.text);
}
END_TEST

START_TEST(too_long)
{
	char text[70000];
	struct err e = { 0 };
	struct config c;

	memset(text, 'x', sizeof(text));
	memcpy(text, "{\"vmm\":\"", 8);
	memcpy(text + 8 + PATH_MAX, "\"}", 3);
	kit_put("c.json", text);
	ck_assert_int_eq(config_load(&c, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "/vmm: longer than 4095 bytes"));
	memset(text, ' ', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	kit_put("c.json", text);
	ck_assert_int_eq(config_load(&c, &e), -EFBIG);
}
END_TEST

Suite *runtime_config_suite(void)
{
	Suite *s = suite_create("runtime_config");
	TCase *t = tcase_create("config");

	tcase_add_checked_fixture(t, setup, kit_dir_leave);
	tcase_add_test(t, all_members);
	tcase_add_loop_test(t, defaults, 0, 6);
	tcase_add_test(t, no_layer_cache);
	tcase_add_test(t, missing_file);
	tcase_add_loop_test(t, mistake, 0, ARRAY_LEN(bad));
	tcase_add_test(t, too_long);
	suite_add_tcase(s, t);
	return s;
}
