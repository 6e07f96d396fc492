/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KIT_PBTEXT_H
#define TESTS_KIT_PBTEXT_H

#include <protobuf-c/protobuf-c.h>

#include "lib/str.h"

void pbtext(struct strbuf *to, const char *name, const ProtobufCMessage *m);

#endif
