/* See findings.h. What cannot be written is found at the end, when the stream is asked. */
#include "cli/findings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "output/json_out.h"

struct findings {
    FILE *file;
    char *path, *part;
};

struct findings *findings_open(const char *path, struct err *err) {
    size_t size = strlen(path) + sizeof(".part");
    struct findings *f = mem_zalloc(sizeof(*f));
    f->path = bytes_dup(bytes_of_str(path));
    f->part = mem_alloc(size);
    snprintf(f->part, size, "%s.part", path);
    f->file = fopen(f->part, "we");
    if (f->file != NULL) return f;
    err_set_errno(err, ERR_IO, path, errno, "the report cannot be written");
    findings_close(&f);
    return NULL;
}

static void write_line(struct findings *f, json_t *line) {
    json_dumpf(line, f->file, JSON_COMPACT);
    fputc('\n', f->file);
    json_decref(line);
}

void findings_add(struct findings *f, int pass, const struct difference *d) {
    write_line(f, json_pack("{ss si si so ss so}", "record", "difference", "pass", pass, "db",
                            d->db, "key", json_of_bytes(bytes_of(d->key, d->key_len)), "kind",
                            difference_label(d->kind), "detail",
                            json_of_bytes(bytes_of_str(d->detail))));
}

/* [[first, last], ...] */
static json_t *json_slots(const struct slot_set *slots) {
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
    write_line(f, json_pack("{ss si so sb}", "record", "taken_back", "pass", pass, "slots",
                            json_slots(slots), "backward", (int)backward));
}

bool findings_finish(struct findings *f, json_t *summary, struct err *err) {
    json_t *line = json_copy(summary);
    json_object_set_new(line, "record", json_string("summary"));
    write_line(f, line);
    bool ok = fflush(f->file) == 0 && !ferror(f->file) && fsync(fileno(f->file)) == 0;
    if (ok && rename(f->part, f->path) == 0) return true;
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
