/* Streams (15, since 7.0 19, since 7.2 21).
 *
 *   nodes | length | last id | [19: first id | max deleted id | entries added] | groups
 *
 *   node    ID of its master entry, 16 bytes as a string | listpack:
 *             master entry   count | deleted | n | n fields | 0
 *             entry          flags | ms and seq minus the master's |
 *                              values, or n and n fields with values | length
 *   group   name | last ID | [19: entries read] |
 *             pending entries of the group: ( ID | delivered ms | deliveries )* |
 *             consumers: ( name | seen ms | [21: active ms] | IDs of its pending entries )*
 *
 * A consumer has only the IDs of its pending entries. Their delivery times and counts are in the
 * group's list, which is kept as offsets into the payload and searched by ID: both lists are
 * written in the order of IDs.
 *
 * Source: redis 7.2 src/rdb.c, rdbSaveObject() and rdbLoadObject(), src/t_stream.c, its head
 * comment.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "rdb/decode_priv.h"

enum {
    ID_LEN = 16,
    PENDING_LEN_MIN = ID_LEN + 8 + 1,
    FIELDS_MAX = 512 * 1024, /* a command has twice as many words at most */
    ENTRY_DELETED = 1,
    ENTRY_SAME_FIELDS = 2,
};

/* A flag beside the offset: a consumer owns this entry. */
static const uint64_t pending_taken = UINT64_C(1) << 63;

/* Elements of one entry: views, and their texts where they are integers. */
struct items {
    struct packed_item *items;
    size_t n, cap;
};

struct stream_decoder {
    struct stream_id master, before;     /* of the node; of the last entry read */
    uint64_t entries_left, deleted_left; /* in the node */
    struct items fields, values;
    struct bytes *words; /* of the entry, for the sink */
    size_t words_cap;
    struct stream_info info;
    bool has_entries;

    struct bytes group, consumer;
    uint64_t groups_left, consumers_left, ids_left;
    uint64_t *pending; /* offsets in the payload, in the order of ids */
    uint64_t pending_n, pending_read, pending_cap, pending_taken_n;
};

static decode_step_fn step_node, step_entry, step_group, step_group_pending, step_consumer,
    step_consumer_pending;

static bool has_counters(const struct decoder *d) {
    return d->type >= RDB_STREAM_2;
}

static struct stream_id id_at(const unsigned char *p) {
    return (struct stream_id){ .ms = rdb_be(p, 8), .seq = rdb_be(p + 8, 8) };
}

void decode_stream_close(struct decoder *d) {
    if (d->stream == NULL) return;
    free(d->stream->fields.items);
    free(d->stream->values.items);
    free(d->stream->words);
    free(d->stream->pending);
    free(d->stream);
    d->stream = NULL;
}

bool decode_stream_open(struct decoder *d, struct err *err) {
    d->stream = mem_zalloc(sizeof(*d->stream));
    d->step = step_node;
    return rdb_read_count(&d->in, 2, &d->left, err);
}

/* ---- entries ---- */

static bool items_read(struct decoder *d, struct items *items, uint64_t n, struct err *err) {
    if (n > 2 * FIELDS_MAX || n > rdb_left(&d->packed.in) / 2)
        return rdb_bad(&d->packed.in, err, "an entry has too many fields");
    if (n > items->cap) {
        free(items->items); /* its content is not needed any more */
        items->items = mem_array(NULL, n, sizeof(*items->items));
        items->cap = n;
    }
    for (items->n = 0; items->n < n; items->n++) {
        if (!packed_next(&d->packed, &items->items[items->n], err)) return false;
    }
    return true;
}

static bool read_count(struct decoder *d, uint64_t *out, struct err *err) {
    int64_t number;
    if (!packed_next_number(&d->packed, &number, err)) return false;
    *out = (uint64_t)number;
    return number >= 0 || rdb_bad(&d->packed.in, err, "a count below zero");
}

static bool read_master(struct decoder *d, struct err *err) {
    struct stream_decoder *s = d->stream;
    uint64_t n, end;
    if (!read_count(d, &s->entries_left, err) || !read_count(d, &s->deleted_left, err) ||
        !read_count(d, &n, err) || !items_read(d, &s->fields, n, err) || !read_count(d, &end, err))
        return false;
    return end == 0 || rdb_bad(&d->packed.in, err, "the master entry has no end");
}

static bool read_node_id(struct decoder *d, struct err *err) {
    struct rdb_cursor at = d->in;
    struct bytes id;
    if (!rdb_read_string(&d->in, &d->scratch[SCRATCH_FIELD], &id, err)) return false;
    if (id.len != ID_LEN) return rdb_bad(&at, err, "a stream node has an id of %zu bytes", id.len);
    d->stream->master = id_at((const unsigned char *)id.ptr);
    return true;
}

static bool step_tail(struct decoder *d, struct err *err);

static bool step_node(struct decoder *d, struct err *err) {
    if (d->left == 0) return step_tail(d, err);
    d->left--;
    if (!read_node_id(d, err)) return false;
    if (d->sink->on_stream_entry == NULL) {
        uint64_t len;
        return rdb_skip_string(&d->in, &len, err);
    }
    d->step = step_entry;
    return decode_open_listpack(d, err) && read_master(d, err);
}

/* The differences wrap round: a later ms may go with a smaller seq. */
static bool read_entry_id(struct decoder *d, struct stream_id *id, struct err *err) {
    int64_t ms, seq;
    if (!packed_next_number(&d->packed, &ms, err) || !packed_next_number(&d->packed, &seq, err))
        return false;
    id->ms = d->stream->master.ms + (uint64_t)ms;
    id->seq = d->stream->master.seq + (uint64_t)seq;
    return true;
}

static size_t join_words(struct stream_decoder *s, bool same_fields) {
    size_t n = same_fields ? s->fields.n : s->values.n / 2, bytes = 0;
    if (2 * n > s->words_cap) {
        s->words = mem_array(s->words, 2 * n, sizeof(*s->words));
        s->words_cap = 2 * n;
    }
    for (size_t i = 0; i < n; i++) {
        struct packed_item *field = same_fields ? &s->fields.items[i] : &s->values.items[2 * i];
        struct packed_item *value = &s->values.items[same_fields ? i : 2 * i + 1];
        s->words[2 * i] = packed_bytes(field);
        s->words[2 * i + 1] = packed_bytes(value);
        bytes += s->words[2 * i].len + s->words[2 * i + 1].len;
    }
    return bytes;
}

static bool hand_entry(struct decoder *d, struct stream_id id, bool same_fields, struct err *err) {
    struct stream_decoder *s = d->stream;
    if (s->has_entries && stream_id_compare(id, s->before) <= 0)
        return rdb_bad(&d->packed.in, err, "the ids do not ascend");
    if (id.ms == 0 && id.seq == 0) return rdb_bad(&d->packed.in, err, "an entry has the id 0-0");
    if (!s->has_entries) s->info.first = id;
    s->has_entries = true;
    s->before = id;
    decode_note(d, join_words(s, same_fields));
    return d->sink->on_stream_entry(d->ctx, id, same_fields ? s->fields.n : s->values.n / 2,
                                    s->words, err);
}

static bool read_entry(struct decoder *d, uint64_t flags, struct err *err) {
    struct stream_decoder *s = d->stream;
    bool same_fields = (flags & ENTRY_SAME_FIELDS) != 0, deleted = (flags & ENTRY_DELETED) != 0;
    struct stream_id id;
    uint64_t n = s->fields.n, length;
    if (!read_entry_id(d, &id, err) || (!same_fields && !read_count(d, &n, err))) return false;
    if (n == 0 || n > FIELDS_MAX)
        return rdb_bad(&d->packed.in, err, "an entry with too few or too many fields");
    if (!items_read(d, &s->values, same_fields ? n : 2 * n, err) || !read_count(d, &length, err))
        return false;
    uint64_t *left = deleted ? &s->deleted_left : &s->entries_left;
    if (*left == 0)
        return rdb_bad(&d->packed.in, err, "the node has more entries than its master entry says");
    --*left;
    return deleted || hand_entry(d, id, same_fields, err);
}

static bool step_entry(struct decoder *d, struct err *err) {
    uint64_t flags;
    if (packed_has_more(&d->packed)) return read_count(d, &flags, err) && read_entry(d, flags, err);
    if (d->stream->entries_left > 0 || d->stream->deleted_left > 0)
        return rdb_bad(&d->packed.in, err, "the node has fewer entries than its master entry says");
    d->step = step_node;
    return true;
}

/* ---- after the entries ---- */

static bool read_id(struct decoder *d, struct stream_id *id, struct err *err) {
    return rdb_read_len(&d->in, &id->ms, err) && rdb_read_len(&d->in, &id->seq, err);
}

static bool read_info(struct decoder *d, struct stream_info *info, struct err *err) {
    if (!rdb_read_len(&d->in, &info->length, err) || !read_id(d, &info->last, err)) return false;
    info->has_counters = has_counters(d);
    info->entries_added = info->length;
    if (!info->has_counters) return true;
    return read_id(d, &info->first, err) && read_id(d, &info->max_deleted, err) &&
           rdb_read_len(&d->in, &info->entries_added, err);
}

static bool step_tail(struct decoder *d, struct err *err) {
    struct stream_decoder *s = d->stream;
    if (!read_info(d, &s->info, err)) return false;
    if (s->has_entries && stream_id_compare(s->before, s->info.last) > 0)
        return rdb_bad(&d->in, err, "the last id is below that of an entry");
    if (!rdb_read_count(&d->in, 3, &s->groups_left, err)) return false;
    d->step = step_group;
    return d->sink->on_stream_info == NULL || d->sink->on_stream_info(d->ctx, &s->info, err);
}

/* ---- groups ---- */

static bool read_group(struct decoder *d, struct err *err) {
    struct stream_decoder *s = d->stream;
    struct stream_id last;
    uint64_t entries_read = (uint64_t)ENTRIES_READ_UNKNOWN;
    if (!rdb_read_string(&d->in, &d->scratch[SCRATCH_GROUP], &s->group, err) ||
        !read_id(d, &last, err))
        return false;
    if (has_counters(d) && !rdb_read_len(&d->in, &entries_read, err)) return false;
    if (!rdb_read_count(&d->in, PENDING_LEN_MIN, &s->pending_n, err)) return false;
    decode_note(d, s->group.len);
    return d->sink->on_group == NULL ||
           d->sink->on_group(d->ctx, s->group, last, (int64_t)entries_read, err);
}

static bool step_group(struct decoder *d, struct err *err) {
    struct stream_decoder *s = d->stream;
    if (s->groups_left == 0) {
        d->step = NULL;
        return true;
    }
    s->groups_left--;
    if (!read_group(d, err)) return false;
    if (s->pending_n > s->pending_cap) {
        free(s->pending); /* the group before has ended */
        s->pending = mem_array(NULL, s->pending_n, sizeof(*s->pending));
        s->pending_cap = s->pending_n;
    }
    s->pending_read = s->pending_taken_n = 0;
    d->step = step_group_pending;
    return true;
}

static struct stream_id pending_id(const struct decoder *d, uint64_t index) {
    return id_at(d->in.base + (d->stream->pending[index] & ~pending_taken));
}

static bool step_group_pending(struct decoder *d, struct err *err) {
    struct stream_decoder *s = d->stream;
    if (s->pending_read == s->pending_n) {
        d->step = step_consumer;
        return rdb_read_count(&d->in, 10, &s->consumers_left, err);
    }
    s->pending[s->pending_read] = d->in.pos;
    int64_t delivered_ms;
    uint64_t deliveries;
    if (rdb_take(&d->in, ID_LEN, err) == NULL || !rdb_read_i64(&d->in, &delivered_ms, err) ||
        !rdb_read_len(&d->in, &deliveries, err))
        return false;
    if (s->pending_read > 0 &&
        stream_id_compare(pending_id(d, s->pending_read - 1), pending_id(d, s->pending_read)) >= 0)
        return rdb_bad(&d->in, err, "the ids of the pending entries do not ascend");
    s->pending_read++;
    return true;
}

static bool step_consumer(struct decoder *d, struct err *err) {
    struct stream_decoder *s = d->stream;
    int64_t seen_ms, active_ms = -1;
    if (s->consumers_left == 0) {
        d->step = step_group;
        return s->pending_taken_n == s->pending_n ||
               rdb_bad(&d->in, err, "a pending entry belongs to no consumer");
    }
    s->consumers_left--;
    if (!rdb_read_string(&d->in, &d->scratch[SCRATCH_CONSUMER], &s->consumer, err) ||
        !rdb_read_i64(&d->in, &seen_ms, err) ||
        (d->type >= RDB_STREAM_3 && !rdb_read_i64(&d->in, &active_ms, err)) ||
        !rdb_read_count(&d->in, ID_LEN, &s->ids_left, err))
        return false;
    decode_note(d, s->consumer.len);
    d->step = step_consumer_pending;
    return d->sink->on_consumer == NULL ||
           d->sink->on_consumer(d->ctx, s->group, s->consumer, seen_ms, active_ms, err);
}

/* The offset of the ID in the group's list, or NULL. */
static uint64_t *find_pending(const struct decoder *d, struct stream_id id) {
    uint64_t low = 0, high = d->stream->pending_n;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = stream_id_compare(pending_id(d, middle), id);
        if (order == 0) return &d->stream->pending[middle];
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static bool hand_pending(struct decoder *d, struct stream_id id, uint64_t offset, struct err *err) {
    struct rdb_cursor at = d->in;
    int64_t delivered_ms;
    uint64_t deliveries;
    at.pos = (size_t)offset + ID_LEN;
    if (!rdb_read_i64(&at, &delivered_ms, err) || !rdb_read_len(&at, &deliveries, err))
        return false;
    decode_note(d, sizeof(id));
    if (d->sink->on_pending == NULL) return true;
    return d->sink->on_pending(d->ctx, d->stream->group, d->stream->consumer, id, delivered_ms,
                               deliveries, err);
}

static bool step_consumer_pending(struct decoder *d, struct err *err) {
    struct stream_decoder *s = d->stream;
    if (s->ids_left == 0) {
        d->step = step_consumer;
        return true;
    }
    s->ids_left--;
    struct rdb_cursor start = d->in;
    const unsigned char *p = rdb_take(&d->in, ID_LEN, err);
    if (p == NULL) return false;
    uint64_t *at = find_pending(d, id_at(p));
    if (at == NULL || (*at & pending_taken) != 0)
        return rdb_bad(&start, err, "the entry is not pending in the group, or for two consumers");
    uint64_t offset = *at;
    *at |= pending_taken;
    s->pending_taken_n++;
    return hand_pending(d, id_at(p), offset, err);
}
