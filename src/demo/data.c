/* See demo_data.h. The record file is paragraphs of "Field: value" lines; lines that begin with a
 * space belong to the field before (deb-control(5), dpkg's status file). */
#include "demo/data.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/keyset.h"
#include "base/mem.h"

#define DPKG_STATUS "/var/lib/dpkg/status"
#define DPKG_INFO "/var/lib/dpkg/info"

enum {
    FIELDS_MAX = 40,
    EXPIRES_EVERY = 7,   /* of the file sums, one in so many expires */
    EXPIRE_MIN_S = 3600, /* later than any demo ends */
    EXPIRE_SPREAD_S = 604800,
    READ_ENTRIES = 50, /* of the stream, by its group */
    /* of the keys may be there when folders are done; the rest is left to file sums */
    FOLDERS_PERCENT = 60
};

struct record {
    char *names[FIELDS_MAX], *values[FIELDS_MAX];
    size_t n;
};

struct demo_data {
    struct feeder *feeder;
    struct keyset *names;      /* of the keys written so far */
    uint64_t max_keys, n_keys; /* max_keys: in the present stage */
    uint64_t sums, entries;
    FILE *status;
    char *line;
    size_t line_cap;
};

bool demo_data_is_there(void) {
    return access(DPKG_STATUS, R_OK) == 0;
}

/* ---- commands ---- */

/* Starts a command on a key; argc counts name and key too. False when there are enough keys, or
 * after an error. */
static bool data_begin(struct demo_data *d, size_t argc, const char *command, const char *prefix,
                       struct bytes name) {
    char key[1024];
    int len = snprintf(key, sizeof(key), "%s%.*s", prefix, (int)name.len, name.ptr);
    if (len <= 0 || (size_t)len >= sizeof(key)) return false;
    struct bytes view = bytes_of(key, (size_t)len);
    bool known = !keyset_name(d->names, 0, view, 0, REASON_CHANGED);
    if (!known && d->n_keys == d->max_keys) {
        keyset_forget(d->names, 0, view);
        return false;
    }
    if (!known) d->n_keys++;
    if (!feeder_begin(d->feeder, argc, command)) return false;
    feeder_word(d->feeder, view);
    return true;
}

static void add_two(struct demo_data *d, const char *command, const char *prefix, const char *name,
                    struct bytes value) {
    if (value.len == 0 || !data_begin(d, 3, command, prefix, bytes_of_str(name))) return;
    feeder_word(d->feeder, value);
    feeder_end(d->feeder);
}

/* ---- records ---- */

static void record_clear(struct record *r) {
    for (size_t i = 0; i < r->n; i++) {
        free(r->names[i]);
        free(r->values[i]);
    }
    r->n = 0;
}

static void record_continue(struct record *r, const char *line) {
    if (r->n == 0) return;
    char **value = &r->values[r->n - 1], *longer = mem_printf("%s\n%s", *value, line);
    free(*value);
    *value = longer;
}

static void record_add(struct record *r, char *line) {
    char *colon = strchr(line, ':');
    if (colon == NULL || r->n == FIELDS_MAX) return;
    *colon = '\0';
    r->names[r->n] = mem_strdup(line);
    r->values[r->n++] = mem_strdup(colon + 1 + strspn(colon + 1, " "));
}

static const char *record_get(const struct record *r, const char *name) {
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->names[i], name) == 0) return r->values[i];
    return "";
}

static bool read_record(struct demo_data *d, struct record *r) {
    record_clear(r);
    for (ssize_t len; (len = getline(&d->line, &d->line_cap, d->status)) >= 0;) {
        while (len > 0 && d->line[len - 1] == '\n') d->line[--len] = '\0';
        if (len == 0 && r->n > 0) return true;
        if (d->line[0] == ' ' || d->line[0] == '\t')
            record_continue(r, d->line + 1);
        else
            record_add(r, d->line);
    }
    return r->n > 0;
}

/* ---- packages ---- */

static void write_hash(struct demo_data *d, const struct record *r, const char *package) {
    if (!data_begin(d, 2 + 2 * r->n, "HSET", "package:", bytes_of_str(package))) return;
    for (size_t i = 0; i < r->n; i++) {
        feeder_text(d->feeder, r->names[i]);
        feeder_text(d->feeder, r->values[i]);
    }
    feeder_end(d->feeder);
}

/* "libc6 (>= 2.36), adduser | passwd": each name is a member. */
static void write_depends(struct demo_data *d, const char *package, const char *depends) {
    for (const char *at = depends + strspn(depends, " ,|"); *at != '\0';) {
        size_t len = strcspn(at, " ,|(:");
        add_two(d, "SADD", "depends:", package, bytes_of(at, len));
        at += len;
        at += strcspn(at, ",|");
        at += strspn(at, " ,|");
    }
}

static void write_section(struct demo_data *d, const struct record *r, const char *package) {
    const char *section = record_get(r, "Section"), *size = record_get(r, "Installed-Size");
    if (section[0] == '\0' || !data_begin(d, 4, "ZADD", "section:", bytes_of_str(section))) return;
    feeder_text(d->feeder, size[0] != '\0' ? size : "0");
    feeder_text(d->feeder, package);
    feeder_end(d->feeder);
}

static void data_write_entry(struct demo_data *d, const struct record *r, const char *package) {
    if (!data_begin(d, 9, "XADD", "installed", bytes_of("", 0))) return;
    feeder_text(d->feeder, "*");
    feeder_text(d->feeder, "package");
    feeder_text(d->feeder, package);
    feeder_text(d->feeder, "version");
    feeder_text(d->feeder, record_get(r, "Version"));
    feeder_text(d->feeder, "status");
    feeder_text(d->feeder, record_get(r, "Status"));
    feeder_end(d->feeder);
    d->entries++;
}

static void write_package(struct demo_data *d, const struct record *r) {
    const char *package = record_get(r, "Package"), *maintainer = record_get(r, "Maintainer");
    if (package[0] == '\0') return;
    write_hash(d, r, package);
    write_depends(d, package, record_get(r, "Depends"));
    add_two(d, "SET", "about:", package, bytes_of_str(record_get(r, "Description")));
    write_section(d, r, package);
    if (maintainer[0] != '\0') add_two(d, "SADD", "maintainer:", maintainer, bytes_of_str(package));
    data_write_entry(d, r, package);
}

static void data_write_packages(struct demo_data *d) {
    struct record record = { .n = 0 };
    d->status = fopen(DPKG_STATUS, "re");
    if (d->status == NULL) return;
    while (d->feeder->err.code == ERR_NONE && read_record(d, &record)) write_package(d, &record);
    record_clear(&record);
    fclose(d->status);
}

/* ---- the stream's group ---- */

static void data_write_group(struct demo_data *d) {
    if (d->entries == 0 || !feeder_begin(d->feeder, 5, "XGROUP")) return;
    feeder_text(d->feeder, "CREATE");
    feeder_text(d->feeder, "installed");
    feeder_text(d->feeder, "auditors");
    feeder_text(d->feeder, "0");
    feeder_end(d->feeder);
    if (!feeder_begin(d->feeder, 9, "XREADGROUP")) return;
    feeder_text(d->feeder, "GROUP");
    feeder_text(d->feeder, "auditors");
    feeder_text(d->feeder, "first");
    feeder_text(d->feeder, "COUNT");
    feeder_number(d->feeder, READ_ENTRIES);
    feeder_text(d->feeder, "STREAMS");
    feeder_text(d->feeder, "installed");
    feeder_text(d->feeder, ">");
    feeder_end(d->feeder);
}

/* ---- files ---- */

typedef void line_fn(struct demo_data *d, const char *package, struct bytes line);

static void write_sum(struct demo_data *d, const char *package, struct bytes line) {
    struct bytes sum = bytes_split(&line, ' ');
    while (line.len > 0 && line.ptr[0] == ' ') line = bytes_of(line.ptr + 1, line.len - 1);
    if (line.len == 0) return;
    bool expires = ++d->sums % EXPIRES_EVERY == 0;
    if (!data_begin(d, expires ? 5 : 3, "SET", "sum:/", line)) return;
    feeder_word(d->feeder, sum);
    if (expires) {
        feeder_text(d->feeder, "EX");
        feeder_number(d->feeder, EXPIRE_MIN_S + (int64_t)(d->sums * 7919 % EXPIRE_SPREAD_S));
    }
    feeder_end(d->feeder);
}

static void write_list(struct demo_data *d, const char *package, struct bytes line) {
    add_two(d, "RPUSH", "files:", package, line);
}

static void write_folder(struct demo_data *d, const char *package, struct bytes line) {
    const char *slash = memrchr(line.ptr, '/', line.len);
    if (slash == NULL || slash == line.ptr) return;
    struct bytes folder = bytes_of(line.ptr, (size_t)(slash - line.ptr));
    struct bytes name = bytes_of(slash + 1, line.len - folder.len - 1);
    if (name.len == 0 || !data_begin(d, 3, "SADD", "folder:", folder)) return;
    feeder_word(d->feeder, name);
    feeder_end(d->feeder);
}

static void each_line(struct demo_data *d, int directory, const char *file, const char *suffix,
                      line_fn *fn) {
    char package[256];
    int fd = openat(directory, file, O_RDONLY | O_CLOEXEC);
    FILE *in = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (in == NULL) return;
    snprintf(package, sizeof(package), "%.*s", (int)(strlen(file) - strlen(suffix)), file);
    for (ssize_t len;
         d->feeder->err.code == ERR_NONE && (len = getline(&d->line, &d->line_cap, in)) >= 0;) {
        while (len > 0 && d->line[len - 1] == '\n') len--;
        fn(d, package, bytes_of(d->line, (size_t)len));
    }
    fclose(in);
}

/* Every file of that suffix, by name, so that the same machine gives the same keys. */
static void each_file(struct demo_data *d, const char *suffix, line_fn *fn) {
    struct dirent **entries;
    int n = scandir(DPKG_INFO, &entries, NULL, alphasort);
    int directory = open(DPKG_INFO, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        size_t len = strlen(name), suffix_len = strlen(suffix);
        if (directory >= 0 && len > suffix_len && strcmp(name + len - suffix_len, suffix) == 0)
            each_line(d, directory, name, suffix, fn);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    if (directory >= 0) close(directory);
}

bool demo_data_write(struct feeder *feeder, uint64_t max_keys) {
    struct demo_data d = { .feeder = feeder, .max_keys = max_keys, .names = keyset_new() };
    data_write_packages(&d);
    data_write_group(&d);
    each_file(&d, ".list", write_list);
    d.max_keys = max_keys / 100 * FOLDERS_PERCENT;
    if (d.max_keys < d.n_keys) d.max_keys = d.n_keys;
    each_file(&d, ".list", write_folder);
    d.max_keys = max_keys;
    each_file(&d, ".md5sums", write_sum);
    keyset_free(&d.names);
    free(d.line);
    return feeder_sync(feeder);
}
