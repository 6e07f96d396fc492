// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * Gathers what a trust decision rests on: the bundle, the settings, this host, and
 * what was decided for the pod before; then asks the rules. create and `podvm trust
 * explain` come through here, so that the one does what the other says.
 */
#include "runtime/cli/decide.h"

#include <string.h>

#include "lib/mem.h"
#include "lib/str.h"
#include "runtime/handed.h"

/* The pod's runtime, where it has one already; else that of the settings. */
static int gather(struct decision *d, const struct trust_config *config, int rootfd, int dir,
		  struct err *e)
{
	int rc = 0;

	d->in.level = config->level;
	d->in.untrusted = config->untrusted;
	d->in.mark = trust_mark(d->trust.mark);
	d->in.privileged = d->trust.privileged || d->trust.said;
	d->in.host = d->trust.host;
	str_copy(d->runtime, sizeof(d->runtime), config->runtime);
	if (rootfd >= 0 && d->spec->role == SPEC_ROLE_CONTAINER)
		rc = handed_pod(rootfd, dir, d->pod, &d->in.pod, d->runtime, e);
	if (rc < 0)
		return rc;
	d->in.runtime = trust_runtime_probe(d->runtime, &d->runtime_why);
	d->in.kvm = trust_kvm_probe(&d->kvm_why);
	return 0;
}

/**
 * decision_make() - decide which runtime a container gets
 * @bundle: directory
 * @id:     of the container; NULL: none yet
 * @rootfd: state directory, or -1: what was decided for its pod is not known
 * @dir:    see handed_pod()
 * @ret:    decision_done()
 *
 * Return: 0; minus errno when its config.json cannot tell
 */
int decision_make(const char *bundle, const char *id, const struct trust_config *config, int rootfd,
		  int dir, struct decision *ret, struct err *e)
{
	struct decision *d = ret;
	int rc;

	memset(d, 0, sizeof(*d));
	d->source.config = -1;
	rc = spec_source_read(bundle, &d->source, e);
	if (!rc)
		rc = spec_load_trust(&d->source, config->privileged_key, &d->trust, &d->spec, e);
	if (!rc) {
		d->pod = d->spec->sandbox_id ? d->spec->sandbox_id : id;
		rc = id ? spec_check_id(d->spec, id, e) : 0;
	}
	if (!rc)
		rc = gather(d, config, rootfd, dir, e);
	if (rc < 0) {
		decision_done(d);
		return rc;
	}
	trust_decide(&d->in, &d->verdict);
	return 0;
}

/**
 * decision_done() - free what a decision owns
 */
void decision_done(struct decision *d)
{
	spec_free(d->spec);
	d->spec = NULL;
	spec_source_done(&d->source);
}
