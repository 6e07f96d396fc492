// SPDX-License-Identifier: Apache-2.0
#include "lib/ethtool.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "lib/agent.pb-c.h"
#include "lib/mem.h"

/**
 * ethtool_features() - offloads of an interface that are on
 * @sock: any socket of its network namespace, borrowed
 *
 * Return: LinkState's Feature bits; what the driver does not know is off
 *
 * Source: linux/ethtool.h (ETHTOOL_G*).
 */
uint32_t ethtool_features(int sock, const char *name)
{
	static const struct { uint32_t cmd, bit; } ask[] = {
		{ ETHTOOL_GRXCSUM, PODVM__LINK_STATE__FEATURE__RX_CSUM },
		{ ETHTOOL_GTXCSUM, PODVM__LINK_STATE__FEATURE__TX_CSUM },
		{ ETHTOOL_GSG, PODVM__LINK_STATE__FEATURE__SG },
		{ ETHTOOL_GTSO, PODVM__LINK_STATE__FEATURE__TSO },
		{ ETHTOOL_GGSO, PODVM__LINK_STATE__FEATURE__GSO },
		{ ETHTOOL_GGRO, PODVM__LINK_STATE__FEATURE__GRO },
	};
	uint32_t bits = 0;
	size_t i;

	for (i = 0; i < ARRAY_LEN(ask); i++) {
		struct ethtool_value v = { .cmd = ask[i].cmd };
		struct ifreq r = { .ifr_data = (char *)&v };

		snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
		if (!ioctl(sock, SIOCETHTOOL, &r) && v.data)
			bits |= ask[i].bit;
	}
	return bits;
}
