# SPDX-License-Identifier: Apache-2.0
#
# The test node: a virtual machine that runs tests where /dev/kvm cannot run
# Linux guests.  Included by the top Makefile, which sets BUILD.  See README.md
# in this folder.  Everything lies under $(BUILD); nothing is installed.
#
#   make node            all that tests/node/run needs
#   NODE_PACKAGE=name    kernel package; by default the one that the
#                        distribution's linux-image-amd64 depends on

node_dir	:= $(BUILD)/node
node_probe	:= $(BUILD)/tests/node/probe
node_tsc	:= $(BUILD)/tests/node/tsc

# What the initramfs loads: what it takes to reach the root file system, and what
# the kernel does not load by itself when it is first used.
node_boot_modules := virtio_pci virtio_console 9p 9pnet_virtio overlay \
		     kvm-amd br_netfilter

NODE_PACKAGE	?= $(shell apt-cache depends linux-image-amd64 2>/dev/null | \
			sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p')

.PHONY: node
node: $(node_probe) $(node_tsc) $(node_dir)/vmlinux $(node_dir)/initramfs

$(node_probe): tests/node/probe.c vmm/probe.c lib/err.c lib/str.c
	@mkdir -p $(@D)
	@echo "  CC      $@"
	$(if $(V),,@)$(CC) -std=gnu17 -D_GNU_SOURCE -I. -O2 -Wall -Wextra \
		$(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^

$(node_tsc): tests/node/tsc.c
	@mkdir -p $(@D)
	@echo "  CC      $@"
	$(if $(V),,@)$(CC) -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra \
		$(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

# The package is fetched and unpacked, never installed.
$(node_dir)/kernel.stamp:
	@test -n "$(NODE_PACKAGE)" || \
		{ echo "node: apt knows no linux-image-amd64: set NODE_PACKAGE" >&2; exit 1; }
	@echo "  FETCH   $(NODE_PACKAGE)"
	@rm -rf $(node_dir)/fetch $(node_dir)/lib $(node_dir)/boot
	@mkdir -p $(node_dir)/fetch
	@cd $(node_dir)/fetch && apt-get -q download $(NODE_PACKAGE) \
		>fetch.log 2>&1 || { cat fetch.log >&2; exit 1; }
	@dpkg-deb -x $(node_dir)/fetch/*.deb $(node_dir)/fetch
	@mv $(node_dir)/fetch/lib $(node_dir)/fetch/boot $(node_dir)
	@/sbin/depmod -b $(node_dir) $$(ls $(node_dir)/lib/modules)
	@rm -rf $(node_dir)/fetch
	@touch $@

# The ELF kernel out of the bzImage, so that the node need not decompress it.
# The header says where the payload is: boot protocol 2.08, fields 0x1f1
# (setup_sects), 0x248 (payload_offset) and 0x24c (payload_length).
$(node_dir)/vmlinux: $(node_dir)/kernel.stamp
	@echo "  EXTRACT $@"
	@set -e; image=$$(ls $(node_dir)/boot/vmlinuz-*); \
	field() { od -An -j $$(($$1)) -N $$2 -t u$$2 "$$image" | tr -d ' '; }; \
	start=$$((($$(field 0x1f1 1) + 1) * 512 + $$(field 0x248 4))); \
	tail -c +$$((start + 1)) "$$image" | head -c $$(field 0x24c 4) | \
		xz -dc --single-stream >$@.tmp
	@mv $@.tmp $@

# busybox, the modules in the order in which they are loaded, and init.
$(node_dir)/initramfs: $(node_dir)/kernel.stamp tests/node/init tests/node/node.mk
	@echo "  CPIO    $@"
	@rm -rf $(node_dir)/initramfs.d
	@mkdir -p $(node_dir)/initramfs.d/bin $(node_dir)/initramfs.d/modules
	@cp "$$(command -v busybox)" $(node_dir)/initramfs.d/bin/busybox
	@cp tests/node/init $(node_dir)/initramfs.d/init
	@set -e; release=$$(ls $(node_dir)/lib/modules); n=100; \
	for module in $(node_boot_modules); do \
		/sbin/modprobe -d $(abspath $(node_dir)) -S $$release \
			--show-depends $$module; \
	done | awk '$$1 == "insmod" && !seen[$$2]++ { print $$2 }' | \
	while read -r file; do \
		n=$$((n + 1)); \
		cp "$$file" $(node_dir)/initramfs.d/modules/$$n-$${file##*/}; \
	done
	@cd $(node_dir)/initramfs.d && find . | sort | \
		cpio -o -H newc -R 0:0 --quiet >../initramfs.tmp
	@rm -rf $(node_dir)/initramfs.d
	@mv $(node_dir)/initramfs.tmp $@
