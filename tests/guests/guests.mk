# SPDX-License-Identifier: Apache-2.0
#
# Small guests for podvm-vmm, and the program that boots any guest with it.
# Included by tests/tests.mk.
#
#   make guests     build them, and run them on the test node

GUESTS := $(patsubst tests/guests/%.S,$(B)/guests/%,$(sort $(wildcard tests/guests/*.S)))

$(B)/tests/vmm-boot: $(B)/obj/tests/guests/vmm-boot.o $(B)/obj/tests/kit/saved.o $(B)/libvmm.a $(B)/liblib.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(call link,$(LIBS_VMM))

# 32-bit code in an ELF64 file, entered by its PVH note at 1 MiB.
$(B)/guests/%: tests/guests/%.S tests/guests/guest.h
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -m64 -nostdlib -static -no-pie -ffreestanding -Itests/guests \
		-Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 \
		-Wl,-Ttext-segment=0x100000 -o $@ $<

# A flat file, which is a kernel as it comes from a distribution.
$(B)/guests/bzimage: tests/guests/bzimage.S
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -c -o $@.o $<
	$(Q)$(OBJCOPY) -O binary -j .text $@.o $@
# A guest that is one static program, and the same program on the host.
$(B)/tests/disk: tests/guests/disk.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(AGENT_FLAGS) $(CFLAGS) -MF $(B)/tests/disk.d $< $(AGENT_LINK) -o $@

$(B)/tests/disk.cpio: $(B)/tests/disk guest/initramfs guest/initramfs.list
	$(call say,CPIO,$@)
	$(Q)guest/initramfs guest/initramfs.list $(B)/tests/disk $@

e2e-programs: $(B)/tests/disk.cpio $(B)/tests/vmm-boot

.PHONY: guests
guests: $(B)/podvm-vmm $(B)/tests/vmm-boot $(GUESTS)
	tests/node/run tests/guests/run $(B)
	tests/node/run tests/guests/alone $(B)
