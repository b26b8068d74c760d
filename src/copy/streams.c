/* See streams.h. A keyset is the table: every stream is queued in it, with its fingerprint in
 * key_entry.data. */
#include "copy/streams.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/log.h"
#include "base/mem.h"

struct streams {
    struct keyset *known;
    uint64_t bytes_max;
    bool warned;
};

struct streams *streams_new(uint64_t bytes_max) {
    struct streams *s = mem_zalloc(sizeof(*s));
    s->known = keyset_new();
    s->bytes_max = bytes_max;
    return s;
}

void streams_free(struct streams **streams) {
    if (*streams == NULL) return;
    keyset_free(&(*streams)->known);
    free(*streams);
    *streams = NULL;
}

bool streams_add(struct streams *s, int db, struct bytes key, uint16_t slot) {
    if (keyset_find(s->known, db, key) != NULL) return true;
    if (keyset_memory_bytes(s->known) + key.len <= s->bytes_max)
        return keyset_name(s->known, db, key, slot, REASON_CHANGED);
    if (!s->warned)
        log_warn(
            "source",
            "too many streams to poll: changes by consumer groups alone (XACK, XCLAIM) are not "
            "copied for all of them (see --buffer-memory)");
    s->warned = true;
    return false;
}

void streams_remove(struct streams *s, int db, struct bytes key) {
    if (keyset_queued(s->known) > 0) keyset_forget(s->known, db, key);
}

bool streams_changed(struct streams *s, int db, struct bytes key, uint16_t slot,
                     uint64_t fingerprint) {
    if (!streams_add(s, db, key, slot)) return true;
    struct key_entry *e = keyset_find(s->known, db, key);
    uint64_t before = e->data;
    e->data = fingerprint;
    /* At the first poll of a stream, its groups may have changed since it was copied. */
    return fingerprint != before;
}

struct key_entry *streams_first(struct streams *s) {
    return keyset_peek(s->known);
}

/* ---- fingerprints ---- */

/* The next value, whole. */
static struct bytes streams_take_value(struct resp_cursor *c) {
    const char *from = c->pos;
    resp_skip(c);
    return bytes_of(from, (size_t)(c->pos - from));
}

/* Of name and value in turn. */
static uint64_t hash_group(uint64_t hash, struct resp_cursor *c) {
    struct resp_item head, name;
    if (!resp_next(c, &head) || !resp_is_aggregate(&head)) return hash;
    for (int64_t i = 0; i + 1 < head.num; i += 2) {
        struct resp_cursor look = *c;
        bool named = resp_next(&look, &name) && resp_is_string(&name);
        streams_take_value(c);
        struct bytes value = streams_take_value(c);
        if (named && bytes_equal_str(name.str, "lag")) continue;
        hash = XXH3_64bits_withSeed(value.ptr, value.len, hash);
    }
    return hash;
}

static uint64_t hash_groups(uint64_t hash, struct resp_cursor *c) {
    struct resp_item head;
    if (!resp_next(c, &head) || !resp_is_aggregate(&head)) return STREAM_UNSEEN;
    for (int64_t i = 0; i < head.num; i++) hash = hash_group(hash, c);
    return hash == STREAM_UNSEEN ? STREAM_UNSEEN + 1 : hash;
}

/* The counters that XSETID sets. */
static bool is_counter(struct bytes name) {
    return bytes_equal_str(name, "last-generated-id") ||
           bytes_equal_str(name, "max-deleted-entry-id") || bytes_equal_str(name, "entries-added");
}

uint64_t streams_fingerprint(const struct resp_item *head, struct resp_cursor elements) {
    struct resp_item name;
    uint64_t hash = 0;
    if (!resp_is_aggregate(head)) return STREAM_UNSEEN;
    for (int64_t i = 0; i + 1 < head->num; i += 2) {
        if (!resp_next(&elements, &name)) break;
        if (resp_is_string(&name) && bytes_equal_str(name.str, "groups"))
            return hash_groups(hash, &elements);
        struct bytes value = streams_take_value(&elements);
        if (resp_is_string(&name) && is_counter(name.str))
            hash = XXH3_64bits_withSeed(value.ptr, value.len, hash);
    }
    return STREAM_UNSEEN;
}
