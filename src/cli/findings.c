/* See findings.h. A line that cannot be written is noticed at the end, by the error flag of the
 * stream. */
#include "cli/findings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "output/json_out.h"

struct findings {
    FILE *file;
    char *path;
    char *part; /* written until the report is whole; NULL: path itself is written */
};

/* A device or a pipe cannot be replaced by a file. */
static bool is_written_directly(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

struct findings *findings_open(const char *path, struct err *err) {
    size_t size = strlen(path) + sizeof(".part");
    struct findings *f = mem_zalloc(sizeof(*f));
    f->path = bytes_dup(bytes_of_str(path));
    if (!is_written_directly(path)) {
        f->part = mem_alloc(size);
        snprintf(f->part, size, "%s.part", path);
    }
    f->file = fopen(f->part != NULL ? f->part : path, "we");
    if (f->file != NULL) return f;
    err_set_errno(err, ERR_IO, path, errno, "the report cannot be written");
    findings_close(&f);
    return NULL;
}

static void findings_write(struct findings *f, json_t *line) {
    json_dumpf(line, f->file, JSON_COMPACT);
    fputc('\n', f->file);
    json_decref(line);
}

void findings_add(struct findings *f, int pass, const struct difference *d) {
    findings_write(f, json_pack("{ss si si so ss so}", "record", "difference", "pass", pass, "db",
                                d->db, "key", json_of_bytes(bytes_of(d->key, d->key_len)), "kind",
                                difference_label(d->kind), "detail",
                                json_of_bytes(bytes_of_str(d->detail))));
}

void findings_add_unproved(struct findings *f, int pass, const struct difference *d) {
    findings_write(f, json_pack("{ss si si so so}", "record", "not_proved", "pass", pass, "db",
                                d->db, "key", json_of_bytes(bytes_of(d->key, d->key_len)), "detail",
                                json_of_bytes(bytes_of_str(d->detail))));
}

/* [[first, last], ...] */
static json_t *findings_json_slots(const struct slot_set *slots) {
    json_t *list = json_array();
    for (int s = 0; s < SLOT_COUNT; s++) {
        int first = s;
        if (!slot_set_has(slots, (uint16_t)s)) continue;
        while (s + 1 < SLOT_COUNT && slot_set_has(slots, (uint16_t)(s + 1))) s++;
        json_array_append_new(list, json_pack("[ii]", first, s));
    }
    return list;
}

void findings_take_back(struct findings *f, int pass, const struct slot_set *slots, bool backward) {
    findings_write(f, json_pack("{ss si so sb}", "record", "taken_back", "pass", pass, "slots",
                                findings_json_slots(slots), "backward", (int)backward));
}

bool findings_finish(struct findings *f, json_t *summary, struct err *err) {
    json_t *line = json_copy(summary);
    json_object_set_new(line, "record", json_string("summary"));
    findings_write(f, line);
    bool ok = fflush(f->file) == 0 && !ferror(f->file);
    if (ok && f->part == NULL) return true;
    if (ok && fsync(fileno(f->file)) == 0 && rename(f->part, f->path) == 0) return true;
    return err_set_errno(err, ERR_IO, f->path, errno, "the report cannot be written");
}

void findings_close(struct findings **findings) {
    struct findings *f = *findings;
    if (f == NULL) return;
    if (f->file != NULL) fclose(f->file);
    free(f->path);
    free(f->part);
    free(f);
    *findings = NULL;
}
