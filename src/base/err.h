/* Errors: a code from errors.def, the place, and a sentence that a person can act on.
 *
 * A fallible function returns bool and takes a `struct err *` last; on false the error is set, on
 * true it is untouched. The function that handles an error logs the error, once. A `struct err` is
 * a plain value: copy it, no freeing.
 */
#ifndef LONGHAUL_BASE_ERR_H
#define LONGHAUL_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum err_code {
#define ERR(id, label, class, exit, reply, sentence) ERR_##id,
#include "base/errors.def"
#undef ERR
    ERR_COUNT
};

/* How a copying lane handles an error; see errors.def. */
enum err_class { ERR_CLASS_HERE, ERR_CLASS_THERE, ERR_CLASS_WAIT, ERR_CLASS_KEY, ERR_CLASS_STOP };

enum { ERR_PLACE_MAX = 192, ERR_TEXT_MAX = 512 };

struct err {
    enum err_code code;
    /* "source 10.0.0.5:6379", "--key-slot", "tests.conf line 4"; may be empty */
    char place[ERR_PLACE_MAX];
    char text[ERR_TEXT_MAX]; /* cause and remedy, one line, without the place */
};

/* Sets *err (which may be NULL: then nothing happens) and returns false, so that `return
 * err_set(...)` reads well. place may be NULL or "". Over-long texts are cut. Control characters
 * become '?'. */
bool err_set(struct err *err, enum err_code code, const char *place, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
bool err_vset(struct err *err, enum err_code code, const char *place, const char *fmt, va_list ap);

/* As err_set(), with ": " and strerror(errnum) behind the text. */
bool err_set_errno(struct err *err, enum err_code code, const char *place, int errnum,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Resets to ERR_NONE. */
void err_clear(struct err *err);

/* Writes "place: text" (or "text" where there is no place) into buf, cut to size; returns buf. */
const char *err_format(const struct err *err, char *buf, size_t size);

const char *err_label(enum err_code code);
const char *err_sentence(enum err_code code);
enum err_class err_class_of(enum err_code code);
int err_exit_status(enum err_code code);

/* The code that a server's error reply stands for, from its text without the leading '-'. Unlisted
 * first words give ERR_SERVER. Besides the first word, a few sentences of ERR replies are known
 * ("unknown command", "max number of clients", "Bad data format", "DUMP payload version or
 * checksum"). */
enum err_code err_code_of_reply(const char *text, size_t len_bytes);

#endif
