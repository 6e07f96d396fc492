// SPDX-License-Identifier: Apache-2.0
/* Whether this machine runs virtual machines: rights, KVM, clock. */
#include <errno.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/mem.h"
#include "runtime/doctor/doctor.h"

static void look_root(struct doctor *d)
{
	unsigned int uid = d->host->uid();

	if (!uid) {
		doctor_found(d, DOCTOR_OK, "this is root");
		return;
	}
	doctor_found(d, DOCTOR_ERROR, "user %u is not root: podvm needs root, and some checks see less without", uid);
	doctor_mend(d, "sudo podvm doctor");
}

/* The processor's virtualization by /proc/cpuinfo; NULL: it does not tell of any. */
static const char *vendor_module(const char *cpuinfo)
{
	if (cpuinfo && doctor_word(cpuinfo, "vmx"))
		return "kvm_intel";
	return cpuinfo && doctor_word(cpuinfo, "svm") ? "kvm_amd" : NULL;
}

static void kvm_missing(struct doctor *d, int code)
{
	_cleanup_free_ char *cpuinfo = doctor_read(d->host, "/proc/cpuinfo");
	const char *module = vendor_module(cpuinfo);
	bool guest = cpuinfo && doctor_word(cpuinfo, "hypervisor");

	doctor_found(d, DOCTOR_ERROR, "/dev/kvm: %s", strerror(code));
	if (code == EACCES || code == EPERM)
		doctor_mend(d, "run podvm as root; in a container, start that with --device /dev/kvm");
	else if (code == EBUSY)
		doctor_mend(d, "end the other hypervisor of this host");
	else if (module)
		doctor_mend(d, "modprobe %s", module);
	else if (guest)
		doctor_mend(d, "enable nested virtualization for this virtual machine, on its host");
	else
		doctor_mend(d, "enable virtualization (VT-x, AMD-V) in the firmware");
}

static void look_kvm(struct doctor *d)
{
	_cleanup_close_ int fd = d->host->open_device(d->host, "/dev/kvm");
	uint32_t vcpus = (uint32_t)(d->config.vcpus_max > d->config.vcpus ? d->config.vcpus_max :
								     d->config.vcpus);
	struct err e = { 0 };

	if (fd < 0) {
		kvm_missing(d, -fd);
		return;
	}
	if (vcpus > VMM_VCPUS_MAX)
		vcpus = VMM_VCPUS_MAX;
	if (d->host->kvm_check(fd, vcpus, &e) < 0) {
		doctor_found(d, DOCTOR_ERROR, "%s", e.text);
		doctor_mend(d, e.code == EINVAL ?
				       "lower vcpus and vcpusMax in the configuration" :
				       "use a newer host kernel, with KVM of its own");
		return;
	}
	if (d->host->kvm_probe(fd, &e) < 0) {
		doctor_found(d, DOCTOR_ERROR, "/dev/kvm does not run Linux guests: %s", e.text);
		doctor_mend(d, "use a host with hardware virtualization, or nested virtualization that is complete; this KVM is paravirtual or emulated");
		return;
	}
	doctor_found(d, DOCTOR_OK, "/dev/kvm has what the monitor needs, and runs instructions of Linux guests");
}

static void look_nested(struct doctor *d)
{
	_cleanup_free_ char *cpuinfo = doctor_read(d->host, "/proc/cpuinfo");

	if (!cpuinfo || !doctor_word(cpuinfo, "hypervisor"))
		doctor_found(d, DOCTOR_OK, "this host is no virtual machine itself");
	else
		doctor_found(d, DOCTOR_NOTE, "this host is a virtual machine: pods run nested, where each exit of a guest takes several times as long");
}

static void look_clock(struct doctor *d)
{
	static const char current[] = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
	_cleanup_free_ char *source = doctor_read(d->host, current);

	if (!source) {
		doctor_found(d, DOCTOR_NOTE, "the host does not say which clock source it has (%s)", current);
		return;
	}
	source[strcspn(source, "\n")] = 0;
	if (!strcmp(source, "tsc") || !strcmp(source, "kvm-clock") ||
	    !strcmp(source, "hyperv_clocksource_tsc_page")) {
		doctor_found(d, DOCTOR_OK, "the clock source is %s", source);
		return;
	}
	doctor_found(d, DOCTOR_WARNING, "the clock source is %.40s: where the host does not trust its TSC, clocks of guests, who do, drift and jump", source);
	doctor_mend(d, "dmesg | grep -i tsc tells why; boot the host with tsc=reliable if its hardware is fine");
}

const struct doctor_check doctor_checks_machine[] = {
	{ "root", "rights of the caller", look_root },
	{ "kvm", "/dev/kvm: there, to be opened, capabilities, a test of instructions that Linux needs", look_kvm },
	{ "nested", "whether the host is a virtual machine itself", look_nested },
	{ "clock", "clock source of the host", look_clock },
	{ NULL, NULL, NULL },
};
