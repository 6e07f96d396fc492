/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_ERR_H
#define LIB_ERR_H

/* Longest error text in bytes, NUL included; longer ones are cut. */
#define ERR_TEXT_BYTES 768

/**
 * struct err - how every failure travels: a fixed-size object on the caller's stack
 * @code: positive errno, 0 while nothing failed
 * @text: one line for a person, without a newline
 */
struct err {
	int code;
	char text[ERR_TEXT_BYTES];
};

int err_set(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int err_sys(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int err_wrap(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
