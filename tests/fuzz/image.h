/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_IMAGE_H
#define TESTS_FUZZ_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for an image, with what patches write behind its end. */
#define IMAGE_BYTES 8192u

size_t image_elf(uint8_t *image, bool pvh);
size_t image_bzimage(uint8_t *image);

#endif
