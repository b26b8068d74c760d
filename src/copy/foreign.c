/* See foreign.h. */
#include "copy/foreign.h"

#include <stdlib.h>

#include "base/keyset.h"
#include "base/mem.h"

struct foreign {
    struct keyset *names; /* all of them stay queued */
    size_t bytes_max;
    bool full;
};

struct foreign *foreign_new(size_t bytes_max) {
    struct foreign *f = mem_zalloc(sizeof(*f));
    f->names = keyset_new();
    f->bytes_max = bytes_max;
    return f;
}

void foreign_free(struct foreign **foreign) {
    if (*foreign == NULL) return;
    keyset_free(&(*foreign)->names);
    free(*foreign);
    *foreign = NULL;
}

bool foreign_add(struct foreign *f, int db, struct bytes key, uint16_t slot) {
    if (keyset_memory_bytes(f->names) >= f->bytes_max) f->full = true;
    if (!f->full) keyset_name(f->names, db, key, slot, REASON_IF_MISSING);
    return !f->full;
}

void foreign_remove(struct foreign *f, int db, struct bytes key) {
    if (keyset_queued(f->names) > 0) keyset_forget(f->names, db, key);
}

bool foreign_has(const struct foreign *f, int db, struct bytes key) {
    return f->full || (keyset_queued(f->names) > 0 && keyset_find(f->names, db, key) != NULL);
}
