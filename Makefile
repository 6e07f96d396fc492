# SPDX-License-Identifier: Apache-2.0
#
# One Makefile, no recursion. Everything that is made goes under build/:
#   build/gen/            generated sources (protobuf)
#   build/$(VARIANT)/     objects, archives, programs of a variant
#   build/kernel, node    guest kernel and test node, made once
#
# make help tells the targets.

.DEFAULT_GOAL := all

VARIANT ?= release
BUILD   := build
GEN     := $(BUILD)/gen
B       := $(BUILD)/$(VARIANT)

PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec/podvm
MANDIR     ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
VERSION    := 0.1.0

CC         ?= cc
OBJCOPY    ?= objcopy
PKG_CONFIG ?= pkg-config
Q          := $(if $(V),,@)
say        = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

# ---- libraries, one variable each ------------------------------------------
pc = $(shell $(PKG_CONFIG) $(2) $(1) 2>/dev/null)

LIB_JSON     := json-c
LIB_PROTOBUF := libprotobuf-c
LIB_NL       := libnl-3.0 libnl-route-3.0 libmnl
LIB_DM       := devmapper
LIB_BLKID    := blkid
LIB_SECCOMP  := libseccomp
LIB_CAP      := libcap
LIB_EXT2     := ext2fs
LIB_XXHASH   := libxxhash
LIB_URING    := liburing
LIB_NBDKIT   := nbdkit
LIB_PCAP     := libpcap
# Headers only: it is loaded when it is needed (runtime/systemd.c).
LIB_SYSTEMD  := libsystemd
LIB_CHECK    := check
ALL_LIBS     := $(LIB_JSON) $(LIB_PROTOBUF) $(LIB_NL) $(LIB_DM) $(LIB_BLKID) \
		$(LIB_SECCOMP) $(LIB_CAP) $(LIB_EXT2) $(LIB_XXHASH) $(LIB_URING) \
		$(LIB_NBDKIT) $(LIB_PCAP) $(LIB_SYSTEMD)

NO_BUILD_GOALS := help deps clean demo check bench format kernel node fuzz fuzz-replay
ifneq ($(filter-out $(NO_BUILD_GOALS),$(or $(MAKECMDGOALS),all)),)
MISSING := $(foreach l,$(ALL_LIBS),$(if $(shell $(PKG_CONFIG) --exists $(l) 2>/dev/null && echo y),,$(l)))
ifneq ($(strip $(MISSING)),)
$(error missing libraries: $(MISSING); 'make deps' installs them on Debian)
endif
endif

# ---- flags ------------------------------------------------------------------
WARN := -Wall -Wextra -Wformat=2 -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wimplicit-fallthrough
WERROR ?= 0
ifeq ($(WERROR),1)
WARN += -Werror
endif

FLAGS := -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -isystem $(GEN) -g -fPIE \
	 -DPODVM_VERSION='"$(VERSION)"' -DPODVM_LIBEXECDIR='"$(LIBEXECDIR)"' \
	 -fstack-protector-strong -fstack-clash-protection -pthread \
	 -fno-strict-aliasing -MD -MP $(WARN)
LINK  := -pie -pthread -Wl,-z,relro -Wl,-z,now

ifeq ($(VARIANT),release)
FLAGS += -O2 -D_FORTIFY_SOURCE=2
else ifeq ($(VARIANT),debug)
FLAGS += -O0
else ifeq ($(VARIANT),asan)
SAN   := -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
FLAGS += -O1 $(SAN)
LINK  += $(SAN)
else ifeq ($(VARIANT),fuzz)
# libFuzzer is clang's, which sees the casts in protobuf-c's macros, warns of GNU C, and
# of initializers that leave something out after others in order, as tables do.
CC    := clang
SAN   := -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
FLAGS += -O1 $(SAN) -Wno-cast-qual -Wno-gnu-variable-sized-type-not-at-end \
	 -Wno-missing-field-initializers
LINK  += $(SAN)
FUZZ_LINK := -fsanitize=fuzzer
else
$(error VARIANT is release, debug, asan or fuzz)
endif

# The agent is static and small; sanitizers need a C library of their own.
AGENT_FLAGS := $(filter-out $(SAN) -g -O0 -O1 -fPIE,$(FLAGS)) -Os -g -fno-pie \
	       -ffunction-sections -fdata-sections
AGENT_LINK  := -static -no-pie -pthread -Wl,--gc-sections -Wl,-z,relro

include guest/kernel.mk
include tests/node/node.mk

# ---- sources: a file in a folder is built --------------------------------------
src = $(filter-out %/main.c,$(sort $(wildcard $(addsuffix /*.c,$(1)))))

LIB_SRC     := $(call src,lib)
NETPLUG_SRC := $(call src,netplug)
STORAGE_SRC := $(call src,storage)
VMM_SRC     := $(call src,vmm vmm/virtio)
RUNTIME_SRC := $(call src,runtime runtime/cli runtime/supervisor runtime/shim runtime/doctor)
AGENT_SRC   := $(sort $(wildcard guest/agent/*.c))
UNIT_SRC    := $(sort $(wildcard tests/unit/*.c tests/kit/*.c))
UNIT_SUITES := $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/*.c)))

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
aobj = $(patsubst %.c,$(B)/agent/%.o,$(1))

GEN_SRC := $(GEN)/lib/agent.pb-c.c $(GEN)/lib/pod.pb-c.c
GEN_HDR := $(GEN_SRC:.c=.h)

PROGRAMS := $(B)/podvm $(B)/podvm-vmm $(B)/podvm-netplug $(B)/podvm-storage \
	    $(B)/podvm-agent $(B)/initramfs.cpio $(B)/podvm-nbd.so

.PHONY: all help
all: $(PROGRAMS)

help:
	@echo 'make demo     install what is missing, build, and show a pod in a virtual machine'
	@echo 'make check    install what is missing, build, and run every test'
	@echo 'make          build the programs of VARIANT=release|debug|asan (now: $(VARIANT))'
	@echo 'make unit     unit tests; make tools: the command-line tools; make native: networks'
	@echo '              without a machine; make guests: small guests; make e2e: stories on the test node'
	@echo 'make fuzz     fuzzers of every parser and device; FUZZ="blk net" FUZZ_S=600 choose'
	@echo 'make bench    figures beside QEMU microvm and crun, on the test node'
	@echo 'make kernel   the guest kernel (KERNEL=path uses another one)'
	@echo 'make lint     clang-tidy, cppcheck, shellcheck, include rules, banned calls'
	@echo 'make format   clang-format over all sources'
	@echo 'make install  into DESTDIR, PREFIX=$(PREFIX)'
	@echo 'make deps     install Debian packages that are missing; make clean'
	@echo 'V=1 shows commands; WERROR=1 makes warnings errors'

# ---- generated sources -----------------------------------------------------------
$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h &: %.proto
	$(call say,PROTOC,$<)
	$(Q)mkdir -p $(GEN)
	$(Q)protoc-c --c_out=$(GEN) $<

$(B)/obj/%.pb-c.o: $(GEN)/%.pb-c.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

$(B)/agent/%.pb-c.o: $(GEN)/%.pb-c.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(AGENT_FLAGS) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

# ---- objects -----------------------------------------------------------------------
NL_CFLAGS    := $(call pc,$(LIB_NL),--cflags)
CHECK_CFLAGS := $(call pc,$(LIB_CHECK),--cflags)
DM_CFLAGS    := $(call pc,$(LIB_DM) $(LIB_BLKID) $(LIB_EXT2) $(LIB_XXHASH),--cflags)

$(B)/obj/netplug/%.o $(B)/obj/tests/%.o: MODULE_FLAGS = $(NL_CFLAGS)
$(B)/obj/storage/%.o: MODULE_FLAGS = $(DM_CFLAGS)
$(B)/obj/runtime/template.o: MODULE_FLAGS = $(call pc,$(LIB_XXHASH),--cflags)
$(B)/obj/tests/%.o: MODULE_FLAGS += $(CHECK_CFLAGS) -I$(B)/obj/tests

$(B)/obj/%.o: %.c | $(GEN_HDR)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS) $(MODULE_FLAGS) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

$(B)/agent/%.o: %.c | $(GEN_HDR)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(AGENT_FLAGS) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

# ---- archives ----------------------------------------------------------------------
LIB_OBJ := $(call obj,$(LIB_SRC)) $(B)/obj/lib/agent.pb-c.o $(B)/obj/lib/pod.pb-c.o
$(B)/liblib.a:     $(LIB_OBJ)
$(B)/libnetplug.a: $(call obj,$(NETPLUG_SRC))
$(B)/libstorage.a: $(call obj,$(STORAGE_SRC))
$(B)/libvmm.a:     $(call obj,$(VMM_SRC))
$(B)/libruntime.a: $(call obj,$(RUNTIME_SRC))
$(B)/lib%.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcsD $@ $^

# ---- programs ------------------------------------------------------------------------
LIBS_LIB     = $(call pc,$(LIB_JSON) $(LIB_PROTOBUF),--libs)
LIBS_NETPLUG = $(call pc,$(LIB_NL),--libs)
LIBS_STORAGE = $(call pc,$(LIB_DM) $(LIB_BLKID) $(LIB_EXT2) $(LIB_XXHASH),--libs)
# Static: the shared one of Debian 12 (2.3) does not export what restricts a ring.
LIBS_URING   = $(patsubst -luring,-l:liburing.a,$(call pc,$(LIB_URING),--libs))
LIBS_VMM     = $(call pc,$(LIB_SECCOMP),--libs) $(LIBS_URING)
LIBS_RUNTIME = $(call pc,$(LIB_SECCOMP) $(LIB_CAP) $(LIB_XXHASH),--libs)

link = $(Q)$(CC) $(LINK) $(CFLAGS) $^ $(LDFLAGS) -Wl,--as-needed $(1) -o $@

$(B)/podvm: $(B)/obj/runtime/cli/main.o $(B)/libruntime.a $(B)/libnetplug.a \
	    $(B)/libstorage.a $(B)/libvmm.a $(B)/liblib.a
	$(call say,LD,$@)
	$(call link,$(LIBS_NETPLUG) $(LIBS_STORAGE) $(LIBS_RUNTIME) $(LIBS_LIB))

$(B)/podvm-vmm: $(B)/obj/vmm/main.o $(B)/libvmm.a $(B)/liblib.a
	$(call say,LD,$@)
	$(call link,$(LIBS_VMM))

$(B)/podvm-netplug: $(B)/obj/netplug/main.o $(B)/libnetplug.a $(B)/liblib.a
	$(call say,LD,$@)
	$(call link,$(LIBS_NETPLUG) $(LIBS_LIB))

$(B)/podvm-storage: $(B)/obj/storage/main.o $(B)/libstorage.a $(B)/liblib.a
	$(call say,LD,$@)
	$(call link,$(LIBS_STORAGE) $(LIBS_LIB))

# Loaded by nbdkit, which knows no sanitizers; stands alone, on headers of lib/.
$(B)/podvm-nbd.so: storage/nbd/plugin.c lib/broker.h lib/disktab.h
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(filter-out $(SAN) -fPIE -MD -MP,$(FLAGS)) $(call pc,$(LIB_NBDKIT),--cflags) $(CPPFLAGS) $(CFLAGS) \
		-fPIC -shared -pthread -Wl,-z,relro -Wl,-z,now $< $(LDFLAGS) -o $@

AGENT_OBJ := $(call aobj,$(AGENT_SRC) lib/err.c lib/ethtool.c lib/fd.c lib/str.c lib/log.c \
	     lib/hook.c lib/idmap.c lib/loop.c lib/packet.c lib/probe.c lib/proc.c lib/pump.c \
	     lib/frame.c) $(B)/agent/lib/agent.pb-c.o
$(B)/podvm-agent: $(AGENT_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(AGENT_LINK) $(CFLAGS) $^ $(LDFLAGS) \
		$(call pc,--static $(LIB_PROTOBUF),--libs) -o $@

# ---- mini-OS -------------------------------------------------------------------------
# A stock kernel brings its drivers as modules: KERNEL= and KERNEL_MODULES=.
INITRAMFS_MODULES ?= $(if $(KERNEL_MODULES),$(shell guest/modules $(KERNEL_MODULES)))

$(B)/initramfs.cpio: $(B)/podvm-agent guest/initramfs guest/initramfs.list $(wildcard $(INITRAMFS_MODULES))
	$(call say,CPIO,$@)
	$(Q)guest/initramfs guest/initramfs.list $(B)/podvm-agent $@ $(INITRAMFS_MODULES)

include tests/tests.mk

# The same mini-OS for the distribution's own kernel, as the test node has it.
$(B)/initramfs-stock.cpio: $(B)/podvm-agent guest/initramfs guest/initramfs.list guest/modules $(BUILD)/node/kernel.stamp
	$(call say,CPIO,$@)
	$(Q)guest/initramfs guest/initramfs.list $(B)/podvm-agent $@ \
		$$(guest/modules $(BUILD)/node/lib/modules/*)

# ---- install ---------------------------------------------------------------------------
.PHONY: install
install: all $(KERNEL)
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(MANDIR)/man5 \
		$(DESTDIR)$(MANDIR)/man8 $(DESTDIR)$(COMPLETIONDIR)
	install -m 755 $(B)/podvm $(B)/podvm-netplug $(B)/podvm-storage $(DESTDIR)$(BINDIR)
	install -m 755 $(B)/podvm-vmm $(DESTDIR)$(LIBEXECDIR)
	install -m 644 $(B)/podvm-nbd.so $(DESTDIR)$(LIBEXECDIR)
	install -m 644 $(B)/initramfs.cpio $(KERNEL) $(DESTDIR)$(LIBEXECDIR)
	install -m 644 $(wildcard */*.5) $(DESTDIR)$(MANDIR)/man5
	install -m 644 $(wildcard */*.8) $(DESTDIR)$(MANDIR)/man8
	install -m 644 runtime/podvm.bash-completion $(DESTDIR)$(COMPLETIONDIR)/podvm
	for p in podvm-netplug podvm-storage podvm-vmm; do ln -sf podvm $(DESTDIR)$(COMPLETIONDIR)/$$p; done

.PHONY: clean deps
clean:
	rm -rf $(BUILD)/gen $(BUILD)/release $(BUILD)/debug $(BUILD)/asan $(BUILD)/fuzz

deps:
	$(Q)tests/deps

-include $(shell find $(B)/obj $(B)/agent -name '*.d' 2>/dev/null)
