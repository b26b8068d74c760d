/* Errors: texts are made here, facts about codes come from errors.def.
 *
 * A `struct err` is filled in one go and never half: formatting happens first, into the caller's
 * struct, and text that comes from outside (a server's reply, a file name) is made harmless for a
 * terminal and for one-line logs by replacing control characters.
 */
#include "base/err.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

struct err_row {
    const char *label;
    enum err_class class;
    int exit_status;
    const char *reply;
    const char *sentence;
};

static const struct err_row rows[ERR_COUNT] = {
#define ERR(id, label, class, exit, reply, sentence)                                               \
    [ERR_##id] = { label, ERR_CLASS_##class, exit, reply, sentence },
#include "base/errors.def"
#undef ERR
};

/* Sentences behind ERR (or behind another first word) that mean more than "refused". Sources: redis
 * 7.0.15 src/server.c rejectCommand() and src/networking.c acceptCommonHandler(), src/cluster.c
 * restoreCommand(); up to 6.2 the subcommand sentence begins with a capital. */
static const struct {
    const char *part;
    enum err_code code;
} sentences[] = {
    { "unknown command", ERR_UNKNOWN_COMMAND },
    { "unknown subcommand", ERR_UNKNOWN_COMMAND },
    { "max number of clients", ERR_MAXCLIENTS },
    { "bad data format", ERR_BAD_PAYLOAD },
    { "dump payload version or checksum", ERR_BAD_PAYLOAD },
};

static void replace_control(char *text) {
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = '?';
    }
}

bool err_vset(struct err *err, enum err_code code, const char *place, const char *fmt, va_list ap) {
    if (err == NULL) return false;
    struct err made = { .code = code };
    /* Into a fresh struct: place and the arguments may point into *err itself when an error is
     * wrapped. */
    snprintf(made.place, sizeof(made.place), "%s", place != NULL ? place : "");
    vsnprintf(made.text, sizeof(made.text), fmt, ap);
    replace_control(made.place);
    replace_control(made.text);
    *err = made;
    return false;
}

bool err_set(struct err *err, enum err_code code, const char *place, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    err_vset(err, code, place, fmt, ap);
    va_end(ap);
    return false;
}

bool err_set_errno(struct err *err, enum err_code code, const char *place, int errnum,
                   const char *fmt, ...) {
    char text[ERR_TEXT_MAX];
    char reason[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return err_set(err, code, place, "%s: %s", text, strerror_r(errnum, reason, sizeof(reason)));
}

void err_clear(struct err *err) {
    if (err != NULL) *err = (struct err){ .code = ERR_NONE };
}

const char *err_format(const struct err *err, char *buf, size_t size) {
    snprintf(buf, size, "%s%s%s", err->place, err->place[0] != '\0' ? ": " : "", err->text);
    return buf;
}

static const struct err_row *row_of(enum err_code code) {
    assert((unsigned)code < ERR_COUNT);
    return &rows[code];
}

const char *err_label(enum err_code code) {
    return row_of(code)->label;
}

const char *err_sentence(enum err_code code) {
    return row_of(code)->sentence;
}

enum err_class err_class_of(enum err_code code) {
    return row_of(code)->class;
}

int err_exit_status(enum err_code code) {
    return row_of(code)->exit_status;
}

static bool has_part_nocase(struct bytes text, const char *part) {
    size_t len = strlen(part);
    for (size_t i = 0; i + len <= text.len; i++) {
        if (bytes_equal_nocase(bytes_of(text.ptr + i, len), part)) return true;
    }
    return false;
}

enum err_code err_code_of_reply(const char *text, size_t len_bytes) {
    struct bytes rest = bytes_of(text, len_bytes);
    struct bytes word = bytes_split(&rest, ' ');
    enum err_code code = ERR_SERVER;
    for (unsigned i = 0; i < ERR_COUNT; i++) {
        if (rows[i].reply[0] != '\0' && bytes_equal_str(word, rows[i].reply))
            code = (enum err_code)i;
    }
    if (code != ERR_SERVER) return code;
    for (size_t i = 0; i < sizeof(sentences) / sizeof(sentences[0]); i++) {
        if (has_part_nocase(rest, sentences[i].part)) return sentences[i].code;
    }
    return ERR_SERVER;
}
