# SPDX-License-Identifier: Apache-2.0
#
# Fuzzers: each fuzz_NAME.c has LLVMFuzzerTestOneInput(). Included by
# tests/tests.mk.
#
#   make fuzz                every fuzzer for FUZZ_S seconds (60), with libFuzzer
#   make fuzz FUZZ="blk net" these; findings and new inputs go to build/fuzz/
#   make fuzz-replay         every committed input once, under the sanitizers

FUZZERS   := $(sort $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)))
FUZZ      ?= $(FUZZERS)
FUZZ_S    ?= 60
FUZZ_DIR  := $(BUILD)/fuzz
FUZZ_KIT  := $(patsubst %,$(B)/obj/tests/fuzz/%.o,drive fakekvm home image maketree) \
	     $(B)/obj/tests/kit/eroread.o
FUZZ_MAIN := $(if $(filter fuzz,$(VARIANT)),,$(B)/obj/tests/fuzz/replay.o)

$(B)/tests/fuzz-%: $(B)/obj/tests/fuzz/fuzz_%.o $(FUZZ_KIT) $(FUZZ_MAIN) \
		   $(B)/libruntime.a $(B)/libnetplug.a $(B)/libstorage.a $(B)/libvmm.a $(B)/liblib.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link,$(FUZZ_WRAP) $(FUZZ_LINK) $(LIBS_NETPLUG) $(LIBS_STORAGE) $(LIBS_VMM) $(LIBS_RUNTIME) $(LIBS_LIB))

# Calls that fuzz_control.c stands in front of.
CONTROL_WRAPPED := calloc malloc eventfd timerfd_create pthread_create sandbox_enter
$(B)/tests/fuzz-control: FUZZ_WRAP = $(CONTROL_WRAPPED:%=-Wl,--wrap=%)

# It confines nobody; and machine_start() is the monitor's here, not the supervisor's.
$(B)/tests/fuzz-template: FUZZ_WRAP = -Wl,--wrap=sandbox_enter
$(B)/tests/fuzz-template: $(B)/obj/tests/fuzz/fuzz_template.o $(FUZZ_KIT) $(FUZZ_MAIN) \
			  $(B)/libvmm.a $(B)/libstorage.a $(B)/liblib.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link,$(FUZZ_WRAP) $(FUZZ_LINK) $(LIBS_STORAGE) $(LIBS_VMM) $(LIBS_LIB))

# Calls that fuzz_netlink.c stands for.
NETLINK_WRAPPED := mnl_socket_open2 mnl_socket_bind mnl_socket_setsockopt mnl_socket_get_fd \
		   mnl_socket_close mnl_socket_sendto mnl_socket_recvfrom netns_enter netns_leave
$(B)/tests/fuzz-netlink: FUZZ_WRAP = $(NETLINK_WRAPPED:%=-Wl,--wrap=%)

# Calls that fuzz_relay.c stands in front of.
RELAY_WRAPPED := calloc malloc realloc socket bind listen accept4 epoll_ctl timerfd_settime send recv \
		 sendmsg clock_ms
$(B)/tests/fuzz-relay: FUZZ_WRAP = $(RELAY_WRAPPED:%=-Wl,--wrap=%)

.SECONDARY:

.PHONY: fuzz-programs fuzz fuzz-replay
fuzz-programs: $(FUZZ:%=$(B)/tests/fuzz-%)

fuzz:
	$(Q)$(MAKE) --no-print-directory VARIANT=fuzz FUZZ="$(FUZZ)" fuzz-programs
	$(Q)tests/fuzz/run $(FUZZ_DIR) $(FUZZ_S) $(FUZZ)

fuzz-replay:
	$(Q)$(MAKE) --no-print-directory VARIANT=asan fuzz-programs
	$(Q)tests/fuzz/replay $(BUILD)/asan/tests $(FUZZERS)
