/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_DOCTOR_DOCTOR_H
#define RUNTIME_DOCTOR_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/err.h"
#include "lib/progress.h"
#include "runtime/config.h"

/**
 * struct doctor_space - what a file system has left
 * @bytes: for who is not privileged
 * @files: that can be made; UINT64_MAX where it does not count them
 */
struct doctor_space {
	uint64_t bytes, files;
};

/**
 * struct doctor_host - the host, as the checks see it
 * @prefix:      before each path; empty for the host itself
 * @open_device: a device node; descriptor owned by the caller, or minus errno
 * @kvm_check, @kvm_probe, @images: as vmm_check_kvm() and its neighbours
 * @space:       of the file system of an existing path; 0 or minus errno
 * @files_max:   descriptors that a process may have at most
 * @uid:         of the caller
 */
struct doctor_host {
	const char *prefix;
	int (*open_device)(const struct doctor_host *h, const char *path);
	int (*kvm_check)(int kvm_fd, uint32_t vcpus, struct err *e);
	int (*kvm_probe)(int kvm_fd, struct err *e);
	int (*images)(int kernel_fd, int initramfs_fd, uint64_t ram_bytes, struct err *e);
	int (*space)(const struct doctor_host *h, const char *path, struct doctor_space *ret);
	uint64_t (*files_max)(void);
	unsigned int (*uid)(void);
};

extern const struct doctor_host doctor_this_host;

enum doctor_severity { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_WARNING, DOCTOR_ERROR };

/**
 * struct doctor_finding - what a check found
 * @check: its name
 * @text:  a sentence without its full stop
 * @mend:  shell command where there is one, else what to do; empty: nothing
 */
struct doctor_finding {
	const char *check;
	enum doctor_severity severity;
	char text[ERR_TEXT_BYTES];
	char mend[512];
};

/**
 * struct doctor - one examination
 * @host:   borrowed
 * @root:   state directory, borrowed
 * @config: the settings; the defaults where the file is wrong
 * @config_why: what is wrong with the file; code 0: nothing
 * @now:    check under way
 * @wait:   is told which that is; borrowed, may be NULL
 * @v:      findings, owned, @n of them
 * @failed: memory was short
 */
struct doctor {
	const struct doctor_host *host;
	const char *root;
	struct config config;
	struct err config_why;
	const struct doctor_check *now;
	struct progress_wait *wait;
	struct doctor_finding *v;
	size_t n;
	bool failed;
};

/**
 * struct doctor_check - one question
 * @name:  stable: programs may depend on it
 * @about: what it looks at
 * @look:  reports with doctor_found(), also that all is well; changes nothing
 */
struct doctor_check {
	const char *name;
	const char *about;
	void (*look)(struct doctor *d);
};

/* By subject, each closed by one without a name. */
extern const struct doctor_check doctor_checks_machine[], doctor_checks_files[],
	doctor_checks_memory[], doctor_checks_kernel[], doctor_checks_network[],
	doctor_checks_engines[];

void doctor_run(struct doctor *d);
void doctor_done(struct doctor *d);
size_t doctor_count(const struct doctor *d, enum doctor_severity s);
void doctor_list(FILE *f);
void doctor_print(const struct doctor *d, FILE *f);
int doctor_print_json(const struct doctor *d, FILE *f, struct err *e);

/* For the checks. */
void doctor_found(struct doctor *d, enum doctor_severity s, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void doctor_mend(struct doctor *d, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

enum doctor_module { DOCTOR_MODULE_MISSING, DOCTOR_MODULE_LOADABLE, DOCTOR_MODULE_THERE };

bool doctor_path(const struct doctor_host *h, const char *path, char *dst, size_t room);
bool doctor_has(const struct doctor_host *h, const char *path);
bool doctor_runs(const struct doctor_host *h, const char *path);
char *doctor_read(const struct doctor_host *h, const char *path);
bool doctor_number(const struct doctor_host *h, const char *path, uint64_t *ret);
enum doctor_module doctor_module(const struct doctor_host *h, const char *name);
bool doctor_word(const char *text, const char *word);

#endif
