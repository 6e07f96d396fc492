/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_TEMPLATE_H
#define RUNTIME_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/journal.h"
#include "vmm/vmm.h"

/* Room for a key: hexadecimal digits. */
#define TEMPLATE_KEY_BYTES 17

/* Most templates that are kept; the least recently used one goes. */
#define TEMPLATES_MAX 8

/**
 * struct template_id - which saved machine is meant
 * @key:   digest of @about, the template's name
 * @about: all that the machine depends on, as JSON text, owned
 * @ram_bytes: of the machine
 */
struct template_id {
	char key[TEMPLATE_KEY_BYTES];
	char *about;
	uint64_t ram_bytes;
};

/**
 * struct template - a template that a machine is made of
 * @memory, @state: for reading, owned; -1
 * @ino: which directory it was, to remove that and no other; 0: there was none
 */
struct template {
	int memory, state;
	uint64_t ino;
};
#define TEMPLATE_NONE ((struct template){ .memory = -1, .state = -1 })

/**
 * struct template_new - a template that is being made
 * @memory, @state: empty files, for reading and writing, owned; -1
 * @name: of its directory
 */
struct template_new {
	int memory, state;
	char name[24];
};
#define TEMPLATE_NEW_NONE ((struct template_new){ .memory = -1, .state = -1 })

/**
 * struct template_info - what a list shows
 * @ram_bytes, @vcpus, @hotplug_bytes: of the machine; zeros where it is damaged
 * @memory_bytes: that its memory takes of the file system
 * @made_s, @used_s: time(2)
 */
struct template_info {
	char key[TEMPLATE_KEY_BYTES];
	bool damaged;
	uint64_t ram_bytes, hotplug_bytes, vcpus;
	uint64_t memory_bytes;
	int64_t made_s, used_s;
};

/* Visits one; a negative return stops the walk. */
typedef int template_fn(void *arg, const struct template_info *t, struct err *e);

int template_id(const struct vmm_config *c, int vmm, int kernel, int initramfs,
		struct template_id *ret, struct err *e);
void template_id_done(struct template_id *id);

int template_open(int rootfd, const struct template_id *id, struct template *ret, struct err *e);
void template_close(struct template *t);
bool template_in_making(int rootfd, const struct template_id *id);

int templates_lock(int rootfd, bool make, int timeout_ms, int *ret_lock, struct err *e);
void templates_unlock(int rootfd, int *lock);
int template_begin(int lock, const struct template_id *id, struct journal *j,
		   struct template_new *ret, struct err *e);
int template_finish(int lock, const struct template_id *id, const struct template_new *n,
		    struct err *e);
void template_new_done(struct template_new *n);
int template_remove(int lock, const char *key, uint64_t ino, struct err *e);
int templates_remove_all(int lock, struct err *e);
int template_undo(const struct journal_rec *r, struct err *e);

int templates_each(int rootfd, template_fn *fn, void *arg, struct err *e);

#endif
