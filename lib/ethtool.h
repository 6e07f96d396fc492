/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_ETHTOOL_H
#define LIB_ETHTOOL_H

#include <stdint.h>

uint32_t ethtool_features(int sock, const char *name);

#endif
