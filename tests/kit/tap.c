// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Taps, macvtaps and packet sockets for tests of network cards. All lie in a
 * network namespace that the test's process moves into; it has a view of sysfs
 * of its own, where a macvtap's device number is.
 */
#include "tests/kit/tap.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* A private place for sysfs of the new network namespace and for device nodes. */
#define PLACE "/tmp"

/**
 * kit_tap_netns() - move into a network namespace that is silent
 */
void kit_tap_netns(void)
{
	FILE *p;

	ck_assert(!unshare(CLONE_NEWNET | CLONE_NEWNS));
	ck_assert(!mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
	p = fopen("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w");
	if (p) {
		fputs("1", p);
		fclose(p);
	}
}

/**
 * kit_tap_open() - make a tap, or open another end of it
 * @flags: KIT_TAP_FLAGS, IFF_MULTI_QUEUE, ...
 *
 * Return: descriptor
 */
int kit_tap_open(const char *name, short flags)
{
	struct ifreq ifr = { .ifr_flags = flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	ck_assert_msg(!ioctl(fd, TUNSETIFF, &ifr), "%s", strerror(errno));
	return fd;
}

/**
 * kit_macvtap_make() - a macvtap called @name; what it sends leaves through "wire1"
 */
void kit_macvtap_make(const char *name, const uint8_t mac[6])
{
	char cmd[400];

	ck_assert(!mount("none", PLACE, "tmpfs", 0, NULL));
	ck_assert(!mkdir(PLACE "/sys", 0700));
	ck_assert(!mount("none", PLACE "/sys", "sysfs", 0, NULL));
	snprintf(cmd, sizeof(cmd),
		 "ip link add wire0 numtxqueues 8 numrxqueues 8 type veth peer name wire1 && "
		 "ip link add link wire0 name %s numtxqueues 8 numrxqueues 8 "
		 "address %02x:%02x:%02x:%02x:%02x:%02x type macvtap mode bridge && "
		 "ip link set wire0 up && ip link set wire1 up && ip link set %s up",
		 name, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], name);
	ck_assert_int_eq(system(cmd), 0);
}

/**
 * kit_macvtap_open() - open an end of a macvtap
 *
 * Return: descriptor
 */
int kit_macvtap_open(const char *name, short flags)
{
	struct ifreq ifr = { .ifr_flags = flags };
	unsigned int index = if_nametoindex(name), ma, mi;
	char path[120];
	FILE *f;
	int fd;

	snprintf(path, sizeof(path), PLACE "/sys/class/net/%s/macvtap/tap%u/dev", name, index);
	f = fopen(path, "r");
	ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(fscanf(f, "%u:%u", &ma, &mi), 2);
	fclose(f);
	snprintf(path, sizeof(path), PLACE "/tap%u", index);
	unlink(path);
	ck_assert(!mknod(path, S_IFCHR | 0600, makedev(ma, mi)));
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_msg(!ioctl(fd, TUNSETIFF, &ifr), "%s", strerror(errno));
	return fd;
}

/**
 * kit_link_set() - set an interface up or down, with an MTU
 */
void kit_link_set(const char *name, bool up, int mtu)
{
	struct ifreq ifr = { .ifr_flags = up ? IFF_UP : 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	ck_assert(!ioctl(s, SIOCSIFFLAGS, &ifr));
	ifr.ifr_mtu = mtu;
	ck_assert(!ioctl(s, SIOCSIFMTU, &ifr));
	close(s);
}

/**
 * kit_wire_bind() - see and send only frames of @protocol at @link
 */
void kit_wire_bind(int s, const char *link, uint16_t protocol)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(protocol),
				 .sll_ifindex = (int)if_nametoindex(link) };

	ck_assert(!bind(s, (struct sockaddr *)&a, sizeof(a)));
}

/**
 * kit_wire_open() - a packet socket at @link
 *
 * Return: non-blocking descriptor
 */
int kit_wire_open(const char *link, uint16_t protocol)
{
	int s = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	ck_assert_int_ge(s, 0);
	kit_wire_bind(s, link, protocol);
	return s;
}

static uint32_t add16(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	return sum;
}

/**
 * kit_udp_frame() - an Ethernet frame with IPv4 and UDP, without a UDP checksum
 * @frame:   room for 42 bytes and @payload
 * @mac:     of the receiver
 * @port:    of the sender, so that it is a flow of its own
 * @payload: bytes of 0x6b behind the headers
 *
 * Return: bytes
 */
size_t kit_udp_frame(uint8_t *frame, const uint8_t mac[6], uint16_t port, size_t payload)
{
	size_t ip = 28 + payload, udp = 8 + payload;
	const uint8_t head[42] = {
		mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 2, 0, 0, 0, 0, 9, 8, 0,
		0x45, 0, (uint8_t)(ip >> 8), (uint8_t)ip, 0, 1, 0x40, 0, 64, 17, 0, 0,
		10, 0, 0, 1, 10, 0, 0, 2,
		(uint8_t)(port >> 8), (uint8_t)port, 0, 9, (uint8_t)(udp >> 8), (uint8_t)udp, 0, 0,
	};
	uint32_t sum;

	memcpy(frame, head, sizeof(head));
	sum = add16(frame + 14, 20);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
	frame[24] = (uint8_t)(sum >> 8);
	frame[25] = (uint8_t)sum;
	memset(frame + sizeof(head), 0x6b, payload);
	return sizeof(head) + payload;
}

/* In a child: whether @body succeeds in a namespace of its own. */
static bool in_child(bool (*body)(void))
{
	pid_t pid = fork();
	int status = 1;

	if (!pid)
		_exit(unshare(CLONE_NEWNET | CLONE_NEWNS) || !body());
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

static bool try_tap(void)
{
	struct ifreq ifr = { .ifr_name = "tap0", .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	return fd >= 0 && !ioctl(fd, TUNSETIFF, &ifr);
}

/* TUN_F_USO4 and TUN_F_USO6, which older headers do not name. */
#define USO 0x60ul

static bool try_uso(void)
{
	struct ifreq ifr = { .ifr_name = "tap0", .ifr_flags = KIT_TAP_FLAGS };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	return fd >= 0 && !ioctl(fd, TUNSETIFF, &ifr) &&
	       !ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | USO);
}

static bool try_macvtap(void)
{
	return !system("ip link add v0 type veth peer name v1 && "
		       "ip link add link v0 name m0 type macvtap mode bridge");
}

/**
 * kit_tap_missing() - what this machine lacks for tests with taps
 *
 * Return: NULL if nothing; else the reason to skip
 */
const char *kit_tap_missing(void)
{
	return in_child(try_tap) ? NULL : "no network namespace or /dev/net/tun (root?)";
}

/**
 * kit_macvtap_missing() - the same for tests with macvtaps
 */
const char *kit_macvtap_missing(void)
{
	return in_child(try_macvtap) ? NULL : "no macvtap or veth, or no ip(8)";
}

/**
 * kit_uso_missing() - the same for UDP segmentation
 */
const char *kit_uso_missing(void)
{
	return in_child(try_uso) ? NULL : "no UDP segmentation in this kernel's tun (6.2 has it)";
}
