# SPDX-License-Identifier: Apache-2.0
#
# Programs of the story about shares (tests/e2e/67-share.t). Included by
# tests/tests.mk.
#
#   make share-programs    the load, the guest that runs it, and what boots it

SHARE_LOAD := $(call aobj,$(sort $(wildcard tests/share/load*.c)))

$(B)/tests/share-load: $(SHARE_LOAD)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(AGENT_LINK) $(CFLAGS) $^ $(LDFLAGS) -o $@

$(B)/tests/share-load.cpio: $(B)/tests/share-load guest/initramfs guest/initramfs.list
	$(call say,CPIO,$@)
	$(Q)guest/initramfs guest/initramfs.list $(B)/tests/share-load $@

$(B)/tests/share-boot: $(B)/obj/tests/share/boot.o $(B)/obj/tests/share/plug.o $(B)/libruntime.a $(B)/libnetplug.a \
		       $(B)/libstorage.a $(B)/libvmm.a $(B)/liblib.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link,$(LIBS_NETPLUG) $(LIBS_STORAGE) $(LIBS_VMM) $(LIBS_RUNTIME) $(LIBS_LIB))

.PHONY: share-programs
share-programs: $(B)/podvm-vmm $(B)/tests/share-boot $(B)/tests/share-load.cpio
