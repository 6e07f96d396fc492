// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Fuzzer of a share that is a set of trees; all of it is in fuzz_fuse.c.
 */
#define FUZZ_TREES 1
#include "tests/fuzz/fuzz_fuse.c"
