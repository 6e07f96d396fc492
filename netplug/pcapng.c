// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Writes one section of pcapng: a header, a description of each interface, the
 * packets with nanoseconds, and each interface's counters at the end. Numbers are
 * in the machine's order, which the header tells.
 *
 * A block is put together in the buffer and counts only when it is whole; the
 * buffer goes out when the next block may not fit. Where writing fails in the
 * middle of it (a full disk), a file is cut behind the last whole buffer, so that
 * what is there can be read; a pipe cannot be helped.
 *
 * Source: draft-ietf-opsawg-pcapng, sections 3 and 4 (block and option codes).
 */
#include "netplug/pcapng.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/mem.h"

#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_STATS 5u
#define BLOCK_PACKET 6u

#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINKTYPE_ETHERNET 1u
#define TSRESOL_NS 9

enum {
	OPT_END_OF = 0,
	OPT_COMMENT = 1,
	SHB_OS = 3,
	SHB_APPLICATION = 4,
	IF_NAME = 2,
	IF_DESCRIPTION = 3,
	IF_MAC = 6,
	IF_TSRESOL = 9,
	IF_FILTER = 11,
	EPB_FLAGS = 2,
	ISB_START = 2,
	ISB_END = 3,
	ISB_RECEIVED = 4,
	ISB_DROPPED = 5,
};

/* Longest text of an option; ours are shorter. */
#define TEXT_MAX 4096

/* Room for the largest block, so that one always fits into an empty buffer. */
#define BUFFER_BYTES (PCAPNG_SNAPLEN_MAX + 65536u)

/**
 * struct pcapng - a file that is being written
 * @fd:         borrowed
 * @name:       for errors
 * @regular:    can be cut
 * @written:    bytes that are in the file, all of whole blocks
 * @block:      where the block that is being put together begins in @buf
 * @failed:     errno of a write; nothing is written from then on
 */
struct pcapng {
	int fd;
	char name[128];
	bool regular;
	off_t written;
	uint32_t n_interfaces;
	int failed;
	size_t block, len;
	uint8_t buf[BUFFER_BYTES];
};

static void put(struct pcapng *p, const void *data, size_t len)
{
	size_t pad = -len & 3;

	if (len)
		memcpy(p->buf + p->len, data, len);
	memset(p->buf + p->len + len, 0, pad);
	p->len += len + pad;
}

static void put_u32(struct pcapng *p, uint32_t v)
{
	put(p, &v, sizeof(v));
}

/* Times are two words, the high one first. */
static void put_time(struct pcapng *p, uint64_t ns)
{
	put_u32(p, (uint32_t)(ns >> 32));
	put_u32(p, (uint32_t)ns);
}

static void put_option(struct pcapng *p, uint16_t code, const void *data, size_t len)
{
	const uint16_t head[] = { code, (uint16_t)len };

	put(p, head, sizeof(head));
	put(p, data, len);
}

static void put_text(struct pcapng *p, uint16_t code, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	if (len)
		put_option(p, code, text, len < TEXT_MAX ? len : TEXT_MAX);
}

static void put_time_option(struct pcapng *p, uint16_t code, uint64_t ns)
{
	const uint32_t words[] = { (uint32_t)(ns >> 32), (uint32_t)ns };

	put_option(p, code, words, sizeof(words));
}

/**
 * pcapng_flush() - write what is in the buffer
 *
 * Return: 0; minus errno, also of an earlier failure
 */
int pcapng_flush(struct pcapng *p, struct err *e)
{
	int rc;

	if (p->failed)
		return err_set(e, p->failed, "write %s: %s", p->name, strerror(p->failed));
	rc = write_full(p->fd, p->buf, p->len, NULL);
	if (rc < 0) {
		p->failed = -rc;
		/* Best effort: readers stop at a block that is cut short. */
		if (p->regular && ftruncate(p->fd, p->written) == 0)
			lseek(p->fd, p->written, SEEK_SET);
		p->len = 0;
		return pcapng_flush(p, e);
	}
	p->written += (off_t)p->len;
	p->len = 0;
	return 0;
}

/* The length is put in when the block ends. */
static int begin(struct pcapng *p, uint32_t type, size_t room, struct err *e)
{
	if (p->len + room > sizeof(p->buf) || p->failed) {
		int rc = pcapng_flush(p, e);

		if (rc < 0)
			return rc;
	}
	p->block = p->len;
	put_u32(p, type);
	put_u32(p, 0);
	return 0;
}

static void end(struct pcapng *p)
{
	uint32_t len = (uint32_t)(p->len - p->block) + 4;

	memcpy(p->buf + p->block + 4, &len, sizeof(len));
	put_u32(p, len);
}

static int put_section(struct pcapng *p, struct err *e)
{
	const uint16_t version[] = { 1, 0 };
	const int64_t unknown = -1;
	struct utsname u = { 0 };
	char os[160];
	int rc = begin(p, BLOCK_SECTION, 4096, e);

	if (rc < 0)
		return rc;
	uname(&u);
	snprintf(os, sizeof(os), "%.64s %.64s", u.sysname, u.release);
	put_u32(p, BYTE_ORDER_MAGIC);
	put(p, version, sizeof(version));
	put(p, &unknown, sizeof(unknown));
	put_text(p, SHB_OS, os);
	put_text(p, SHB_APPLICATION, "podvm-netplug " PODVM_VERSION);
	put_option(p, OPT_END_OF, NULL, 0);
	end(p);
	return 0;
}

/**
 * pcapng_new() - begin a file
 * @fd:   where it is written, from here on; borrowed
 * @name: of the file, for errors
 * @ret:  owned by the caller, pcapng_free()
 *
 * Return: 0; -ENOMEM
 */
int pcapng_new(int fd, const char *name, struct pcapng **ret, struct err *e)
{
	struct pcapng *p = mem_new(struct pcapng);
	struct stat st;

	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	p->fd = fd;
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->regular = !fstat(fd, &st) && S_ISREG(st.st_mode);
	p->written = p->regular ? lseek(fd, 0, SEEK_CUR) : 0;
	put_section(p, e); /* the buffer is empty: nothing is written */
	*ret = p;
	return 0;
}

/**
 * pcapng_free() - forget a file; what was not flushed is lost; NULL is fine
 */
void pcapng_free(struct pcapng *p)
{
	free(p);
}

/**
 * pcapng_interface() - describe where packets are seen
 *
 * Return: its number; -E2BIG; minus errno
 */
int pcapng_interface(struct pcapng *p, const struct pcapng_interface *i, struct err *e)
{
	const uint16_t link[] = { LINKTYPE_ETHERNET, 0 };
	const uint8_t resolution = TSRESOL_NS;
	char filter[TEXT_MAX + 1];
	int rc;

	if (p->n_interfaces == PCAPNG_INTERFACES_MAX)
		return err_set(e, E2BIG, "more than %d interfaces", PCAPNG_INTERFACES_MAX);
	rc = begin(p, BLOCK_INTERFACE, 5 * TEXT_MAX, e);
	if (rc < 0)
		return rc;
	put(p, link, sizeof(link));
	put_u32(p, i->snaplen);
	put_text(p, IF_NAME, i->name);
	put_text(p, IF_DESCRIPTION, i->description);
	if (i->mac)
		put_option(p, IF_MAC, i->mac, 6);
	put_option(p, IF_TSRESOL, &resolution, 1);
	if (i->filter && *i->filter) {
		/* The first byte says that a text follows. */
		int n = snprintf(filter + 1, sizeof(filter) - 1, "%s", i->filter);

		filter[0] = 0;
		put_option(p, IF_FILTER, filter,
			   1 + (n < TEXT_MAX ? (size_t)n : TEXT_MAX - 1));
	}
	put_text(p, OPT_COMMENT, i->comment);
	put_option(p, OPT_END_OF, NULL, 0);
	end(p);
	return (int)p->n_interfaces++;
}

/**
 * pcapng_packet() - write a packet
 * @k: its interface has been described; more than PCAPNG_SNAPLEN_MAX bytes are cut
 *
 * Return: 0; -EINVAL for an interface that is not known; minus errno
 */
int pcapng_packet(struct pcapng *p, const struct pcapng_packet *k, struct err *e)
{
	uint32_t caplen = k->caplen < PCAPNG_SNAPLEN_MAX ? k->caplen : PCAPNG_SNAPLEN_MAX;
	int rc;

	if (k->interface >= p->n_interfaces)
		return err_set(e, EINVAL, "packet of interface %u, there are %u", k->interface,
			       p->n_interfaces);
	rc = begin(p, BLOCK_PACKET, caplen + 64, e);
	if (rc < 0)
		return rc;
	put_u32(p, k->interface);
	put_time(p, k->ts_ns);
	put_u32(p, caplen);
	put_u32(p, k->len);
	put(p, k->data, caplen);
	put_option(p, EPB_FLAGS, &k->flags, sizeof(k->flags));
	put_option(p, OPT_END_OF, NULL, 0);
	end(p);
	return 0;
}

/**
 * pcapng_stats() - write the counters of an interface, behind its last packet
 *
 * Return: 0; -EINVAL for an interface that is not known; minus errno
 */
int pcapng_stats(struct pcapng *p, uint32_t interface, const struct pcapng_stats *s,
		 struct err *e)
{
	int rc;

	if (interface >= p->n_interfaces)
		return err_set(e, EINVAL, "counters of interface %u, there are %u", interface,
			       p->n_interfaces);
	rc = begin(p, BLOCK_STATS, 128, e);
	if (rc < 0)
		return rc;
	put_u32(p, interface);
	put_time(p, s->end_ns);
	put_time_option(p, ISB_START, s->start_ns);
	put_time_option(p, ISB_END, s->end_ns);
	put_option(p, ISB_RECEIVED, &s->received, sizeof(s->received));
	put_option(p, ISB_DROPPED, &s->dropped, sizeof(s->dropped));
	put_option(p, OPT_END_OF, NULL, 0);
	end(p);
	return 0;
}
