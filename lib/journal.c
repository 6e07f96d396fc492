// SPDX-License-Identifier: Apache-2.0
/*
 * DOC: Theory of operation
 *
 * A journal is a file of lines, one JSON array of strings each. A record is
 * appended before the thing that it names is made; undoing runs through the
 * records backwards and calls the module that knows the kind. Undo is
 * idempotent, so a record whose thing was never made (the process died in
 * between) does no harm, and a crash during undo is followed by a whole new
 * undo. The file lives under /run: it need not survive a reboot, since nothing
 * that it names does; so nothing is synced.
 *
 * What cannot be undone yet, since somebody still uses it, does not keep the rest from being
 * undone: its record stays, for a later undo.
 *
 * What was made may be taken back long before the end, and must not be undone then:
 * its name may mean something else by now. Such a record is retired: the first
 * letter of its kind is overwritten in place, which no crash can leave half done. At the
 * journal's end such records are cut off, so that what comes and goes does not make it grow.
 *
 * A last line without its newline is a write that was cut off by a crash: the
 * thing was not made yet, and the line is ignored.
 */
#include "lib/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/str.h"

#define JOURNAL_MAX_BYTES (16u << 20)

struct journal {
	int fd;		/* owned; O_APPEND */
};

/**
 * journal_open() - open or make a journal
 * @dirfd: directory, borrowed
 * @name:  file in it
 * @ret:   owned by the caller, journal_free()
 *
 * Return: 0 or minus errno
 */
int journal_open(int dirfd, const char *name, struct journal **ret,
		 struct err *e)
{
	struct journal *j = mem_new(struct journal);

	if (!j)
		return err_set(e, ENOMEM, "out of memory");
	j->fd = openat(dirfd, name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (j->fd < 0) {
		int rc = err_sys(e, "journal %s", name);

		free(j);
		return rc;
	}
	*ret = j;
	return 0;
}

/**
 * journal_free() - close; the file stays; NULL is fine
 */
void journal_free(struct journal *j)
{
	if (!j)
		return;
	fd_close(&j->fd);
	free(j);
}

/**
 * journal_add() - write down what is about to be made
 * @...: kind and arguments, const char *, closed by NULL; at most JOURNAL_WORDS_MAX;
 *       UTF-8
 *
 * Return: 0 or minus errno: then do not make the thing
 */
int journal_add(struct journal *j, struct err *e, ...)
{
	struct json_out *o = json_out_new();
	_cleanup_free_ char *text = NULL;
	struct json_doc *doc;
	const char *w;
	size_t n = 0, len, end;
	va_list ap;
	int rc;

	if (!o)
		return err_set(e, ENOMEM, "out of memory");
	json_out_arr(o, "r");
	va_start(ap, e);
	while ((w = va_arg(ap, const char *)) && ++n <= JOURNAL_WORDS_MAX)
		json_out_str(o, NULL, w);
	va_end(ap);
	json_out_end(o);
	rc = n > JOURNAL_WORDS_MAX ? err_set(e, E2BIG, "journal: too many words")
				   : json_out_text(o, false, &text, e);
	json_out_free(o);
	if (rc < 0)
		return rc;
	len = strlen(text);
	/* What could not be read back could never be undone: bytes that are no UTF-8. */
	rc = json_parse(text, len, &doc, e);
	if (rc < 0)
		return err_wrap(e, "journal: record");
	json_free(doc);
	end = journal_mark(j);
	text[len] = '\n'; /* one write: a crash cuts, it does not interleave */
	rc = write_full(j->fd, text, len + 1, e);
	if (rc < 0 && ftruncate(j->fd, (off_t)end) < 0)
		return err_sys(e, "journal: truncate");
	return rc < 0 ? err_wrap(e, "journal") : 0;
}

/**
 * journal_mark() - the journal's end now, for journal_undo_to()
 */
size_t journal_mark(const struct journal *j)
{
	struct stat st;

	return fstat(j->fd, &st) < 0 ? 0 : (size_t)st.st_size;
}

/**
 * journal_retire() - what a record names was taken back: it needs no undo any more
 * @mark: from journal_mark() right before the record was added
 *
 * Return: 0; -EINVAL if no record begins there; minus errno
 */
int journal_retire(struct journal *j, size_t mark, struct err *e)
{
	static const char begin[] = "{\"r\":[\"";
	char there[sizeof(begin)] = "";
	size_t len = sizeof(begin) - 1;
	int flags = fcntl(j->fd, F_GETFL), rc = 0;

	if (pread(j->fd, there, len, (off_t)mark) != (ssize_t)len || strcmp(there, begin))
		return err_set(e, EINVAL, "journal: no record at %zu", mark);
	/* With O_APPEND a write goes to the end, wherever it is meant to go. */
	if (flags < 0 || fcntl(j->fd, F_SETFL, flags & ~O_APPEND) < 0)
		return err_sys(e, "journal: fcntl");
	if (pwrite(j->fd, "-", 1, (off_t)(mark + len)) != 1)
		rc = err_sys(e, "journal: retire");
	if (fcntl(j->fd, F_SETFL, flags) < 0)
		return err_sys(e, "journal: fcntl");
	return rc;
}

/* @text: of the whole journal, brought up to date */
static int retire_line(struct journal *j, char *text, size_t start, struct err *e)
{
	int rc = journal_retire(j, start, e);

	if (!rc)
		text[start + sizeof("{\"r\":[\"") - 1] = '-';
	return rc;
}

/* Return: of @fn; 0 for a record that is retired; minus errno */
static int use_line(const char *line, size_t len, journal_undo_fn *fn,
		     void *arg, struct err *e)
{
	struct journal_rec r = { .n = 0 };
	struct json_doc *doc;
	struct jnode root, arr;
	size_t i;
	int rc = json_parse(line, len, &doc, e);

	if (rc < 0)
		return err_wrap(e, "journal");
	root = json_root(doc);
	rc = json_arr(&root, "r", &arr, e);
	if (!rc || (rc == 1 && (!json_len(&arr) || json_len(&arr) > JOURNAL_WORDS_MAX))) {
		rc = err_set(e, EINVAL, "journal: damaged record");
	} else if (rc == 1) {
		rc = 0;
		for (i = 0; i < json_len(&arr) && !rc; i++) {
			struct jnode el = json_at(&arr, i);

			rc = json_as_str(&el, &r.word[r.n++], e);
		}
		if (!rc && r.word[0][0] != '-')
			rc = fn(arg, &r, e);
	}
	json_free(doc);
	return rc;
}

/* Cuts off what is at the end and retired. @text: all of the journal, @end bytes */
static int cut_retired(struct journal *j, const char *text, size_t end, struct err *e)
{
	size_t start, whole = end;

	for (;; end = start) {
		for (start = end ? end - 1 : 0; start && text[start - 1] != '\n';)
			start--;
		if (!end || !str_starts(text + start, "{\"r\":[\"-"))
			break;
	}
	return end < whole && ftruncate(j->fd, (off_t)end) < 0 ?
	       err_sys(e, "journal: truncate") : 0;
}

/* @ret: malloc'd, with a NUL behind it */
static int read_all(const struct journal *j, char **ret, size_t *ret_len, struct err *e)
{
	size_t len = journal_mark(j);
	_cleanup_free_ char *text = NULL;

	if (len > JOURNAL_MAX_BYTES)
		return err_set(e, EFBIG, "journal: longer than %u bytes", JOURNAL_MAX_BYTES);
	text = malloc(len + 1);
	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	if (len && pread(j->fd, text, len, 0) != (ssize_t)len)
		return err_sys(e, "journal: read");
	text[len] = 0;
	*ret = mem_steal(text);
	*ret_len = len;
	return 0;
}

/**
 * journal_undo_span() - undo some records, last first, while later ones stay
 * @from: from journal_mark() right before the first of them was added
 * @to:   from journal_mark() right after the last one
 * @fn:   called once per record; those that it has undone are retired
 *
 * Return: 0; 1: records stay of which @fn says so; -EINVAL for marks of another journal; the
 * first failure of @fn: the records up to the failed one stay
 */
int journal_undo_span(struct journal *j, size_t from, size_t to, journal_undo_fn *fn,
		      void *arg, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len, start, end;
	int rc = read_all(j, &text, &len, e), stay = 0;

	if (rc < 0)
		return rc;
	if (from > to || to > len || (from && text[from - 1] != '\n') ||
	    (to && text[to - 1] != '\n'))
		return err_set(e, EINVAL, "journal: no records from %zu to %zu", from, to);
	for (end = to; end > from; end = start) {
		for (start = end - 1; start > from && text[start - 1] != '\n';)
			start--;
		rc = use_line(text + start, end - 1 - start, fn, arg, e);
		stay |= rc > 0;
		if (!rc)
			rc = retire_line(j, text, start, e);
		if (rc < 0)
			return rc;
	}
	rc = cut_retired(j, text, len, e);
	return rc < 0 ? rc : stay;
}

/**
 * journal_each() - look at the records, first to last; nothing is undone
 * @fn: called once per record; what it returns, if not 0, ends the walk
 *
 * Return: 0; what @fn returned; minus errno
 */
int journal_each(struct journal *j, journal_undo_fn *fn, void *arg, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t end = 0, start = 0;
	int rc = read_all(j, &text, &end, e);

	while (!rc && start < end) {
		char *nl = memchr(text + start, '\n', end - start);

		if (!nl) /* cut off by a crash */
			break;
		rc = use_line(text + start, (size_t)(nl - text) - start, fn, arg, e);
		start = (size_t)(nl - text) + 1;
	}
	return rc;
}

/**
 * journal_undo_to() - undo, last first, what was recorded behind a mark, and cut it off
 * @mark: from journal_mark(); 0 undoes everything
 * @fn:   called once per record
 *
 * Return: 0; 1: records stay of which @fn says so, and the others are undone; the first
 * failure of @fn: the records up to the failed one stay, too. The next command tries again
 */
int journal_undo_to(struct journal *j, size_t mark, journal_undo_fn *fn,
		    void *arg, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t end, start;
	int rc = read_all(j, &text, &end, e), stay = 0;

	if (rc < 0)
		return rc;
	for (start = end; end > mark && text[end - 1] != '\n';)
		end--;
	/* Else the next record would be appended to the cut line. */
	if (end < start && ftruncate(j->fd, (off_t)end) < 0)
		return err_sys(e, "journal: truncate");
	while (end > mark) {
		for (start = end - 1; start > mark && text[start - 1] != '\n';)
			start--;
		rc = use_line(text + start, end - 1 - start, fn, arg, e);
		stay |= rc > 0;
		/* Behind one that stays nothing can be cut off. */
		if (!rc && stay)
			rc = retire_line(j, text, start, e);
		else if (!rc && ftruncate(j->fd, (off_t)start) < 0)
			rc = err_sys(e, "journal: truncate");
		if (rc < 0)
			return rc;
		end = start;
	}
	return stay;
}

/**
 * journal_undo() - undo everything, last first
 *
 * Return: as journal_undo_to()
 */
int journal_undo(struct journal *j, journal_undo_fn *fn, void *arg,
		 struct err *e)
{
	return journal_undo_to(j, 0, fn, arg, e);
}
