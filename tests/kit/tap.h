/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_TAP_H
#define TESTS_KIT_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a network card's tap is opened with. */
#define KIT_TAP_FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

/* EtherType of test frames: local experimental. */
#define KIT_PROTO 0x88b5

void kit_tap_netns(void);
int kit_tap_open(const char *name, short flags);
int kit_macvtap_open(const char *name, short flags);
void kit_macvtap_make(const char *name, const uint8_t mac[6]);
void kit_link_set(const char *name, bool up, int mtu);
int kit_wire_open(const char *link, uint16_t protocol);
void kit_wire_bind(int s, const char *link, uint16_t protocol);
size_t kit_udp_frame(uint8_t *frame, const uint8_t mac[6], uint16_t port, size_t payload);
const char *kit_tap_missing(void);
const char *kit_macvtap_missing(void);
const char *kit_uso_missing(void);

#endif
