/* See key_file.h. The file is read line by line, as often as the comparison asks, so that it may be
 * of any size. */
#include "cli/key_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct key_file {
    FILE *file;
    char *path, *line;
    size_t cap;
    uint64_t line_number;
    struct compare_names names;
};

static int key_hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that the escape at `text` (behind the backslash) stands for; -1: none. */
static int escaped_byte(const char *text, size_t left, size_t *used) {
    static const char letters[] = "nrt\\\"", bytes[] = "\n\r\t\\\"";
    const char *at = left > 0 && text[0] != '\0' ? strchr(letters, text[0]) : NULL;
    *used = 1;
    if (at != NULL) return (unsigned char)bytes[at - letters];
    if (left < 3 || text[0] != 'x') return -1;
    int high = key_hex_digit(text[1]), low = key_hex_digit(text[2]);
    *used = 3;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

long key_unescape(char *text, size_t len) {
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '\\') {
            text[out++] = text[i];
            continue;
        }
        size_t used;
        int byte = escaped_byte(text + i + 1, len - i - 1, &used);
        if (byte < 0) return -1;
        text[out++] = (char)byte;
        i += used;
    }
    return (long)out;
}

static bool next_name(void *ctx, int db, struct bytes *key, struct err *err) {
    struct key_file *f = ctx;
    ssize_t len;
    do {
        len = getline(&f->line, &f->cap, f->file);
        if (len < 0)
            return ferror(f->file) ? err_set_errno(err, ERR_IO, f->path, errno, "cannot be read")
                                   : false;
        f->line_number++;
        if (f->line[len - 1] == '\n') len--;
        if (len > 0 && f->line[len - 1] == '\r') len--;
    } while (len == 0);
    if (len == 2 && memcmp(f->line, "\"\"", 2) == 0) len = 0;
    long n = key_unescape(f->line, (size_t)len);
    if (n < 0)
        return err_set(err, ERR_USAGE, f->path,
                       "line %llu: a backslash is written as \\\\, other bytes as \\xNN",
                       (unsigned long long)f->line_number);
    *key = bytes_of(f->line, (size_t)n);
    return true;
}

static void rewind_names(void *ctx) {
    struct key_file *f = ctx;
    rewind(f->file);
    f->line_number = 0;
}

struct key_file *key_file_open(const char *path, struct err *err) {
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        err_set_errno(err, ERR_IO, path, errno, "cannot be opened");
        return NULL;
    }
    struct key_file *f = mem_zalloc(sizeof(*f));
    f->file = file;
    f->path = bytes_dup(bytes_of_str(path));
    f->names = (struct compare_names){ .next = next_name, .rewind = rewind_names, .ctx = f };
    return f;
}

void key_file_close(struct key_file **file) {
    struct key_file *f = *file;
    if (f == NULL) return;
    fclose(f->file);
    free(f->path);
    free(f->line);
    free(f);
    *file = NULL;
}

const struct compare_names *key_file_names(const struct key_file *file) {
    return &file->names;
}
