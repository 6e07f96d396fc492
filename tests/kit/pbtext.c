// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A message as text, by its descriptor: one line for each value, "a.b.0.c=value";
 * of bytes their number, of enums the number, and a newline inside is a "?". So a test can ask for a field without
 * knowing the type that holds it.
 */
#include "tests/kit/pbtext.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void value(struct strbuf *to, const char *name, const ProtobufCFieldDescriptor *f,
		  const void *at)
{
	ProtobufCMessage *sub;
	ProtobufCBinaryData b;
	const char *s;
	uint32_t u;
	uint64_t l;

	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		memcpy(&sub, at, sizeof(sub));
		if (sub)
			pbtext(to, name, sub);
		break;
	case PROTOBUF_C_TYPE_STRING:
		memcpy(&s, at, sizeof(s));
		strbuf_add(to, "%s=", name);
		for (; s && *s; s++)
			strbuf_add(to, "%c", *s == '\n' ? '?' : *s);
		strbuf_add(to, "\n");
		break;
	case PROTOBUF_C_TYPE_BYTES:
		memcpy(&b, at, sizeof(b));
		strbuf_add(to, "%s=%zu bytes\n", name, b.len);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
		memcpy(&l, at, sizeof(l));
		strbuf_add(to, "%s=%lld\n", name, (long long)l);
		break;
	case PROTOBUF_C_TYPE_UINT64:
		memcpy(&l, at, sizeof(l));
		strbuf_add(to, "%s=%llu\n", name, (unsigned long long)l);
		break;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_BOOL:
	case PROTOBUF_C_TYPE_ENUM:
		memcpy(&u, at, sizeof(u));
		strbuf_add(to, "%s=%d\n", name, (int)u);
		break;
	default:
		memcpy(&u, at, sizeof(u));
		strbuf_add(to, "%s=%u\n", name, u);
	}
}

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
	case PROTOBUF_C_TYPE_STRING:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_UINT64:
		return sizeof(uint64_t);
	default:
		return sizeof(uint32_t);
	}
}

/**
 * pbtext() - append a message as lines
 * @name: in front of each
 */
void pbtext(struct strbuf *to, const char *name, const ProtobufCMessage *m)
{
	char inner[200];
	unsigned int i;
	size_t n, k;

	for (i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const char *base = (const char *)m, *list;

		if (f->label != PROTOBUF_C_LABEL_REPEATED) {
			snprintf(inner, sizeof(inner), "%s.%s", name, f->name);
			value(to, inner, f, base + f->offset);
			continue;
		}
		memcpy(&n, base + f->quantifier_offset, sizeof(n));
		memcpy(&list, base + f->offset, sizeof(list));
		for (k = 0; k < n; k++) {
			snprintf(inner, sizeof(inner), "%s.%s.%zu", name, f->name, k);
			value(to, inner, f, list + k * size_of(f));
		}
	}
}
