# SPDX-License-Identifier: Apache-2.0
#
# Tests, demo, bench, lint. Included by the top Makefile.

# ---- unit tests -------------------------------------------------------------
# Calls that tests/kit/fault.c, fault-net.c, fault-sock.c, aio.c, storage.c and fakehost.c stand in front of.
UNIT_WRAPPED := malloc calloc realloc strdup write renameat ftruncate64 pthread_create \
	uring_add uring_submit uring_peek uring_pop preadv64v2 pwritev64v2 fdatasync fallocate64 time \
	openat64 mkdirat linkat unlinkat mknodat symlinkat mount umount2 renameat2 syncfs fsync fchown \
	fchownat fchmod chmod futimens utimensat fsetxattr setxattr pwrite64 statx \
	mountopt_mount blockdev_open blockdev_autoclear \
	blockdev_same blockdev_probe dm_openers holders_name holders_mount holders_count clock_ms \
	mnl_socket_open2 mnl_socket_sendto mnl_socket_recvfrom ioctl \
	socket bind listen accept4 epoll_ctl timerfd_create timerfd_settime send sendmsg
UNIT_WRAP    := $(UNIT_WRAPPED:%=-Wl,--wrap=%)

# These include sources whole, with some of their calls replaced: what they define so is
# theirs alone, and all others have the library's.
UNIT_PRIVATE := agent_shell lib_hook_fault runtime_create runtime_hostile runtime_hostile_shim runtime_life runtime_ps runtime_shim_spawn runtime_source
UNIT_OBJ     := $(call obj,$(filter-out $(UNIT_PRIVATE:%=tests/unit/%.c),$(UNIT_SRC))) \
		$(UNIT_PRIVATE:%=$(B)/obj/tests/private/%.o)

$(UNIT_PRIVATE:%=$(B)/obj/tests/private/%.o): $(B)/obj/tests/private/%.o: $(B)/obj/tests/unit/%.o
	$(Q)mkdir -p $(@D)
	$(Q)$(OBJCOPY) --keep-global-symbol=$*_suite $< $@

$(B)/obj/tests/suites.h: $(wildcard tests/unit) tests/tests.mk
	$(Q)mkdir -p $(@D)
	$(Q)printf 'SUITE(%s)\n' $(UNIT_SUITES) > $@

$(B)/obj/tests/kit/runner.o: $(B)/obj/tests/suites.h

$(B)/tests/unit: $(UNIT_OBJ) $(B)/libruntime.a $(B)/libnetplug.a \
		 $(B)/libstorage.a $(B)/libvmm.a $(B)/liblib.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link,$(UNIT_WRAP) $(LIBS_NETPLUG) $(LIBS_STORAGE) $(LIBS_VMM) $(LIBS_RUNTIME) $(LIBS_LIB) $(call pc,$(LIB_CHECK) $(LIB_SYSTEMD),--libs))

.PHONY: unit
unit: $(B)/tests/unit
	$(Q)tests/unit/run $(B)/tests/unit $(SUITES)

-include tests/guests/guests.mk
-include tests/bench/bench.mk
-include tests/fuzz/fuzz.mk
-include tests/share/share.mk
-include tests/native/native.mk

# ---- demo, check -------------------------------------------------------------
.PHONY: demo check e2e
demo:
	$(Q)tests/demo

check:
	$(Q)tests/check

$(B)/tests/echo-port: $(B)/obj/tests/e2e/echo-port.o
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link)

$(B)/tests/dns-stub: $(B)/obj/tests/e2e/dns-stub.o
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link)

$(B)/tests/nic-drive: $(B)/obj/tests/e2e/nic-drive.o $(B)/libruntime.a $(B)/libnetplug.a \
		      $(B)/libstorage.a $(B)/libvmm.a $(B)/liblib.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link,$(LIBS_NETPLUG) $(LIBS_STORAGE) $(LIBS_RUNTIME) $(LIBS_LIB))

STACK_WRAP := -Wl,--wrap=time -Wl,--wrap=openat64
$(B)/tests/tree-stack: $(B)/obj/tests/e2e/tree-stack.o $(B)/obj/tests/kit/stack.o \
		       $(B)/obj/tests/kit/storage.o $(B)/libstorage.a $(B)/liblib.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link,$(STACK_WRAP) $(LIBS_STORAGE) $(LIBS_LIB) $(call pc,$(LIB_CHECK),--libs))

# These run in a container, of which the first is the only program.
$(B)/tests/tree-list: $(B)/agent/tests/e2e/tree-list.o
$(B)/tests/inside: $(call aobj,tests/e2e/inside.c)
$(B)/tests/traffic: $(call aobj,tests/native/traffic.c tests/native/traffic-serve.c lib/err.c lib/fd.c \
		    lib/opt.c lib/proc.c lib/str.c)
$(B)/tests/tree-list $(B)/tests/inside $(B)/tests/traffic:
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(AGENT_LINK) $(CFLAGS) $^ $(LDFLAGS) -o $@

# Engines whose daemons a machine may not want: fetched and unpacked, never installed.
ENGINE_PACKAGES := containerd docker.io runc tini
engines_dir := $(BUILD)/engines
# To be raised with what is made of them: all are fetched anew.
engines_stamp := $(engines_dir)/stamp-5

$(engines_stamp):
	@echo "  FETCH   $(ENGINE_PACKAGES)"
	@rm -rf $(engines_dir)
	@mkdir -p $(engines_dir)/fetch
	@cd $(engines_dir)/fetch && apt-get -q download $(ENGINE_PACKAGES) \
		> fetch.log 2>&1 || { cat fetch.log >&2; exit 1; }
	@set -e; for deb in $(engines_dir)/fetch/*.deb; do dpkg-deb -x $$deb $(engines_dir)/fetch; done
	@mv $(engines_dir)/fetch/usr/bin $(engines_dir)
	@mv $(engines_dir)/fetch/usr/sbin/* $(engines_dir)/bin
	@rm -rf $(engines_dir)/fetch
	@# As docker's own, which runs in images of any libc.
	@ln -sf tini-static $(engines_dir)/bin/docker-init
	@touch $@

# What stories need besides the programs themselves.
.PHONY: e2e-programs tools
e2e-programs: $(engines_stamp) $(B)/tests/echo-port $(B)/tests/dns-stub $(B)/tests/nic-drive $(B)/tests/inside \
	      $(B)/tests/traffic $(B)/tests/tree-list \
	      $(B)/tests/tree-stack share-programs

# Command-line tools that need no virtual machine; root, on this machine.
tools: all
	$(Q)tests/tools/run

e2e: all e2e-programs
	$(Q)tests/e2e/run

# ---- lint, format --------------------------------------------------------------
.PHONY: lint format
lint: $(GEN_HDR)
	$(Q)tests/lint $(FLAGS) $(NL_CFLAGS) $(CHECK_CFLAGS) $(DM_CFLAGS)

format:
	$(Q)git ls-files '*.c' '*.h' | xargs clang-format -i
