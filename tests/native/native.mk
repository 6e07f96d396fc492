# SPDX-License-Identifier: Apache-2.0
#
# Tests of the wiring on this machine, without a virtual machine. Included by tests/tests.mk.
#
#   make native                 all of them
#   tests/native/run NAME.t     one of them, after make native-programs

NATIVE_TESTS := $(B)/tests/native-guest $(B)/tests/native-traffic $(B)/tests/native-attach \
		$(B)/tests/native-monitor

# The agent's own code configures the namespace that stands for the guest.
$(B)/tests/libagent.a: $(call obj,$(filter-out guest/agent/main.c,$(AGENT_SRC)))
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcsD $@ $^

$(B)/tests/native-guest: $(B)/obj/tests/native/guest.o $(B)/tests/libagent.a $(B)/libnetplug.a \
			 $(B)/liblib.a
$(B)/tests/native-attach: $(B)/obj/tests/native/attach.o $(B)/libnetplug.a $(B)/liblib.a
$(B)/tests/native-traffic: $(B)/obj/tests/native/traffic.o $(B)/obj/tests/native/traffic-serve.o \
			   $(B)/liblib.a
$(B)/tests/native-monitor: $(B)/obj/tests/native/monitor.o $(B)/liblib.a
$(NATIVE_TESTS):
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link,$(LIBS_NETPLUG) $(LIBS_LIB))

.PHONY: native native-programs
native-programs: $(NATIVE_TESTS)

native: native-programs
	$(Q)tests/native/run
