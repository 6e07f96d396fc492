# SPDX-License-Identifier: Apache-2.0
#
# Figures beside those of others. Included by tests/tests.mk.
#
#   make bench    installs what is missing, builds, measures on the test node;
#                 the table goes to standard output and to build/bench/

BENCH_TESTS := $(B)/tests/bench-boot $(B)/tests/bench-timed $(B)/tests/bench-wired \
	       $(B)/tests/bench-delay

$(B)/tests/bench-boot: $(B)/obj/tests/bench/boot.o $(B)/obj/tests/kit/saved.o $(B)/obj/tests/bench/sample.o \
		       $(B)/libvmm.a $(B)/liblib.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link,$(LIBS_VMM) $(LIBS_LIB))

$(B)/tests/bench-timed: $(B)/obj/tests/bench/timed.o $(B)/obj/tests/bench/sample.o \
			$(B)/liblib.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link,$(LIBS_LIB))

$(B)/tests/bench-wired: $(B)/obj/tests/bench/wired.o $(B)/libnetplug.a $(B)/liblib.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link,$(LIBS_NETPLUG) $(LIBS_LIB))

$(B)/tests/bench-delay: $(B)/obj/tests/bench/delay.o
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link)

$(B)/tests/bench-counted: tests/bench/counted.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(WARN) -std=gnu17 -D_GNU_SOURCE -static $< -o $@

$(B)/counted.cpio: $(B)/tests/bench-counted guest/initramfs guest/initramfs.list
	$(call say,CPIO,$@)
	$(Q)guest/initramfs guest/initramfs.list $< $@

.PHONY: bench bench-programs bench-counted
bench-counted: $(B)/counted.cpio

bench-programs: $(BENCH_TESTS)

bench:
	$(Q)tests/bench/bench
