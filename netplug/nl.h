/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETPLUG_NL_H
#define NETPLUG_NL_H

#include <stddef.h>
#include <stdint.h>
#include <linux/netlink.h>

#include "lib/err.h"

struct nl;
struct nlattr;

/* Called for each message of a dump; a negative return ends the parsing. */
typedef int nl_fn(const struct nlmsghdr *h, void *arg, struct err *e);

int nl_open(int netns_fd, struct nl **ret, struct err *e);
void nl_free(struct nl *nl);
uint64_t nl_netns_cookie(const struct nl *nl);
struct nlmsghdr *nl_msg(struct nl *nl, uint16_t type, uint16_t flags,
			const void *head, size_t head_len);
int nl_talk(struct nl *nl, struct err *e);
int nl_get(struct nl *nl, nl_fn *fn, void *arg, struct err *e);
int nl_dump(struct nl *nl, nl_fn *fn, void *arg, struct err *e);

int nl_reply_error(const struct nlmsghdr *h, struct err *e);
const void *nl_attrs(const struct nlmsghdr *h, size_t head_len,
		     const struct nlattr **tb, size_t n);
void nl_nested(const struct nlattr *nest, const struct nlattr **tb, size_t n);
uint32_t nl_u32(const struct nlattr *a, uint32_t absent);
void nl_struct(const struct nlattr *a, void *dst, size_t size);
size_t nl_bytes(const struct nlattr *a, void *dst, size_t room);
void nl_str(const struct nlattr *a, char *dst, size_t room);

#endif
