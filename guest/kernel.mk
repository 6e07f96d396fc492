# SPDX-License-Identifier: Apache-2.0
#
# The guest kernel.  Included by the top Makefile, which sets BUILD.
#
# $(KERNEL) is the kernel that pods boot.  By default it is built, once, from
# the distribution's kernel source package: an uncompressed ELF with a PVH
# note, without modules and without debug info.
#
#   KERNEL=path          use this kernel instead: an uncompressed ELF with a PVH
#                        note, or a bzImage
#   KERNEL_MODULES=dir   module tree of that kernel (lib/modules/<version>); a
#                        stock kernel needs virtio_pci, the virtio devices,
#                        vsock, overlay, erofs, ext4, fuse and virtiofs in the
#                        mini-OS.  The initramfs rule is the one that reads it;
#                        empty for the kernel built here
#   KERNEL_EXTRA=files   more configuration fragments; later lines win
#   KERNEL_SOURCE=tar    kernel source, as linux-source-<version> installs it
#   KERNEL_JOBS=n        parallel compilations

kernel_dir	:= $(BUILD)/kernel
kernel_obj	:= $(kernel_dir)/obj

KERNEL		?= $(kernel_dir)/vmlinux
KERNEL_MODULES	?=
KERNEL_EXTRA	?=
KERNEL_SOURCE	?= /usr/src/linux-source-6.1.tar.xz
KERNEL_JOBS	?= $(shell nproc)

# kbuild is a build system of its own: none of our flags may reach it, neither
# through MAKEFLAGS nor through the environment.
kernel_make = env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES \
	-u ARCH -u CROSS_COMPILE -u CFLAGS -u CPPFLAGS -u LDFLAGS -u CC \
	-u KCFLAGS -u KCPPFLAGS -u O -u V -u W -u C -u M -u KERNEL -u BUILD \
	LC_ALL=C KBUILD_BUILD_USER=podvm KBUILD_BUILD_HOST=podvm \
	KBUILD_BUILD_VERSION=1 \
	KBUILD_BUILD_TIMESTAMP="$$(date -u -r $(KERNEL_SOURCE))" \
	make -C $(abspath $(kernel_dir)/src) O=$(abspath $(kernel_obj))

# Compares what a fragment asks for ($2) with what kconfig made of it ($1).
define kernel_config_check
awk ' \
	function value(line) { return substr(line, index(line, "=") + 1) } \
	function name(line) { return substr(line, 1, index(line, "=") - 1) } \
	FNR == NR { if (/^CONFIG_/) have[name($$0)] = value($$0); next } \
	/^CONFIG_/ { want[name($$0)] = value($$0) } \
	/^# CONFIG_[A-Za-z0-9_]+ is not set$$/ { want[$$2] = "n" } \
	END { \
		for (o in want) { \
			is = (o in have) ? have[o] : "n"; \
			if (is == want[o]) continue; \
			printf "%s: wanted %s, is %s\n", o, want[o], is; \
			bad++ \
		} \
		exit bad != 0 \
	}' $1 $2
endef

$(KERNEL_SOURCE):
	@echo "kernel: $@ is missing: install linux-source-6.1, or set KERNEL_SOURCE, or set KERNEL to a built kernel" >&2
	@false

$(kernel_dir)/src.stamp: $(KERNEL_SOURCE)
	@echo "  UNPACK  $(KERNEL_SOURCE)"
	@rm -rf $(kernel_dir)/src
	@mkdir -p $(kernel_dir)/src
	@tar -xf $(KERNEL_SOURCE) -C $(kernel_dir)/src --strip-components=1
	@touch $@

$(kernel_obj)/config.stamp: guest/kernel.config $(KERNEL_EXTRA) $(kernel_dir)/src.stamp
	@echo "  CONFIG  guest/kernel.config $(KERNEL_EXTRA)"
	@mkdir -p $(kernel_obj)
	@cat guest/kernel.config $(KERNEL_EXTRA) >$(kernel_obj)/fragment
	@$(kernel_make) -s KCONFIG_ALLCONFIG=$(abspath $(kernel_obj)/fragment) \
		allnoconfig >$(kernel_obj)/config.log 2>&1 || \
		{ cat $(kernel_obj)/config.log >&2; exit 1; }
	@$(call kernel_config_check,$(kernel_obj)/.config,$(kernel_obj)/fragment) >&2 || \
		{ echo "kernel: these options of the fragment are not in the configuration" >&2; exit 1; }
	@touch $@

# Long (29 CPU minutes where it was measured), so it says every 5 seconds how far
# it is.
$(kernel_dir)/vmlinux: $(kernel_obj)/config.stamp
	@echo "  KERNEL  $@ (log: $(kernel_dir)/build.log)"
	@$(kernel_make) -j$(KERNEL_JOBS) vmlinux >$(kernel_dir)/build.log 2>&1 & \
	pid=$$!; trap 'kill $$pid 2>/dev/null; exit 130' INT TERM; n=0; \
	while kill -0 $$pid 2>/dev/null; do \
		sleep 1; n=$$((n + 1)); \
		test $$((n % 5)) -eq 0 || continue; \
		printf '  KERNEL  %3d s, %4d objects, %s\n' $$n \
			"$$(grep -c '^  CC' $(kernel_dir)/build.log)" \
			"$$(tail -n 1 $(kernel_dir)/build.log)"; \
	done; \
	wait $$pid || { tail -n 40 $(kernel_dir)/build.log >&2; exit 1; }
	@strip --strip-debug -o $@.tmp $(kernel_obj)/vmlinux
	@mv $@.tmp $@

.PHONY: kernel
kernel: $(KERNEL)
