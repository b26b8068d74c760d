/* See spool.h. A record is its head and the name behind it. */
#include "engine/spool.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

struct spool_head {
    uint32_t len;
    int32_t db;
    uint32_t tag;
};

struct spool {
    FILE *file;
    uint64_t n;
    char *name;
    size_t name_cap;
};

static bool spool_failed(struct err *err) {
    return err_set(err, ERR_IO, "temporary file",
                   "names of keys could not be kept; look at TMPDIR and its free space");
}

struct spool *spool_new(struct err *err) {
    FILE *file = tmpfile();
    if (file == NULL) {
        spool_failed(err);
        return NULL;
    }
    struct spool *spool = mem_zalloc(sizeof(*spool));
    spool->file = file;
    return spool;
}

void spool_free(struct spool **spool) {
    if (*spool == NULL) return;
    fclose((*spool)->file);
    free((*spool)->name);
    free(*spool);
    *spool = NULL;
}

bool spool_add(struct spool *spool, const struct spooled *one, struct err *err) {
    struct spool_head head = { .len = (uint32_t)one->key.len, .db = one->db, .tag = one->tag };
    bool ok = fwrite(&head, sizeof(head), 1, spool->file) == 1 &&
              (head.len == 0 || fwrite(one->key.ptr, head.len, 1, spool->file) == 1);
    spool->n += ok;
    return ok || spool_failed(err);
}

uint64_t spool_count(const struct spool *spool) {
    return spool->n;
}

void spool_rewind(struct spool *spool) {
    rewind(spool->file);
}

bool spool_next(struct spool *spool, struct spooled *one, struct err *err) {
    struct spool_head head;
    if (fread(&head, sizeof(head), 1, spool->file) != 1)
        return ferror(spool->file) ? spool_failed(err) : false;
    if (head.len > spool->name_cap) {
        spool->name_cap = head.len;
        spool->name = mem_realloc(spool->name, spool->name_cap);
    }
    if (head.len > 0 && fread(spool->name, head.len, 1, spool->file) != 1) return spool_failed(err);
    *one =
        (struct spooled){ .key = bytes_of(spool->name, head.len), .db = head.db, .tag = head.tag };
    return true;
}
