/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_CONFIG_H
#define VMM_VIRTIO_CONFIG_H

#include <stdint.h>
#include <string.h>

/**
 * config_copy() - answer a read of the device configuration
 * @config, @size: the whole of it
 * @offset: any; bytes behind the end read as zero
 */
static inline void config_copy(const void *config, uint32_t size, uint32_t offset,
			       void *buf, uint32_t len)
{
	memset(buf, 0, len);
	if (offset < size)
		memcpy(buf, (const uint8_t *)config + offset,
		       len < size - offset ? len : size - offset);
}

#endif
