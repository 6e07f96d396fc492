/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_MAKETREE_H
#define TESTS_FUZZ_MAKETREE_H

#include "storage/scan.h"
#include "tests/fuzz/drive.h"

void maketree_layer(struct fuzz *f, struct scan *s);
void maketree_check(struct tree_node *root);

#endif
