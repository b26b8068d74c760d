/* The end of a batch: which step follows for each key, by its replies. fetch.c lists the steps. */
#include <stdlib.h>

#include "base/mem.h"
#include "copy/fetch_priv.h"
#include "copy/streams.h"
#include "rdb/payload.h"

enum {
    /* OBJECT IDLETIME is in whole seconds, by a clock that is up to a second late */
    IDLE_TIME_MAX_S = 1 << 23, /* half of the ring that idle times are counted in */
    IDLE_SLACK_S = 2,
};

void fetch_key_fail(struct fetch_key *key, const struct err *err) {
    if (key->result == RESULT_ERROR) return;
    key->result = RESULT_ERROR;
    key->err = mem_alloc(sizeof(*err));
    *key->err = *err;
}

/* ---- the end of a key ---- */

static void key_is_no_string(struct flight *flight, struct key_entry *entry) {
    bool measure = flight->plan->can.source_memory_usage && !(entry->flags & KEY_MEASURED);
    estimate_note_no_string(&flight->estimate);
    entry->flags |= KEY_NOT_STRING;
    flight_stage(flight, entry, measure ? STAGE_MEASURE : flight_value_stage(flight));
}

static void key_failed(struct batch *b, struct fetch_key *key) {
    struct flight *flight = b->flight;
    struct key_entry *entry = key->f.entry;
    if ((b->stage == STAGE_USED || b->stage == STAGE_GROUPS) &&
        err_class_of(key->err->code) == ERR_CLASS_KEY) {
        /* It cannot be told: idle times are not kept, groups not shown whole, or it is no stream
         * any more. */
        flight_copy_after_all(flight, entry);
        return;
    }
    if (key->err->code == ERR_WRONGTYPE && b->stage == STAGE_STRINGS) {
        key_is_no_string(flight, entry);
        return;
    }
    if (key->err->code == ERR_NOPERM && b->stage == STAGE_STRINGS && !(entry->flags & KEY_ALONE)) {
        /* One key of an MGET that the user may not read refuses all of them. */
        entry->flags |= KEY_ALONE;
        flight_stage(flight, entry, STAGE_STRINGS);
        return;
    }
    flight_failed(flight, entry, b->node, key->err);
}

static void key_gone(struct batch *b, struct key_entry *entry) {
    flight_missing(b->flight, entry, b->client);
}

static void key_unchanged(struct flight *flight, struct key_entry *entry) {
    stat_add(&flight->stats.unchanged, 1);
    flight_done(flight, entry);
}

/* After OBJECT IDLETIME (key->expiry, in seconds), REFCOUNT and TIME. All three are of one clock,
 * the source's, and so is the beginning of the gap. OBJECT IDLETIME counts seconds in a ring of 24
 * bits (redis 7.0.15 src/evict.c estimateObjectIdleTime()): a clock that was set back gives a
 * number near its end, which is no idle time. Keys that share an integer have the idle time of the
 * last use of any of these keys, or none. */
static bool key_was_idle_since(const struct batch *b, const struct fetch_key *key) {
    const struct copy_plan *plan = b->flight->plan;
    if (key->result != RESULT_VALUE || key->shared || plan->used_since_us == NULL) return false;
    int64_t since_us = plan->used_since_us(plan->ctx, key->f.entry->slot);
    if (since_us <= 0 || b->server_us < since_us || key->expiry > IDLE_TIME_MAX_S) return false;
    return key->expiry > (b->server_us - since_us) / 1000000 + IDLE_SLACK_S;
}

static void key_use_known(struct batch *b, struct fetch_key *key) {
    if (key->result == RESULT_NULL) {
        key_gone(b, key->f.entry);
    } else if (key_was_idle_since(b, key)) {
        key_unchanged(b->flight, key->f.entry);
    } else {
        flight_copy_after_all(b->flight, key->f.entry);
    }
}

/* Named to be checked: the source has it, and wants it. */
static void key_is_there(struct flight *flight, struct key_entry *entry) {
    stat_add(&flight->stats.looked, 1);
    flight_done(flight, entry);
}

/* After EXISTS. */
static void key_looked_at(struct batch *b, struct fetch_key *key) {
    struct flight *flight = b->flight;
    struct key_entry *entry = key->f.entry;
    if (key->result == RESULT_VALUE && key->expiry == 0) {
        key_gone(b, entry);
    } else if (entry->flags & KEY_PROBE) {
        flight_park(flight, entry);
    } else {
        key_is_there(flight, entry);
    }
}

/* After XINFO STREAM. */
static void key_groups_seen(struct flight *flight, struct fetch_key *key) {
    struct key_entry *entry = key->f.entry;
    bool told = flight->streams != NULL && key->groups != STREAM_UNSEEN;
    if (told && !streams_changed(flight->streams, entry->db, key_entry_bytes(entry), entry->slot,
                                 key->groups)) {
        key_unchanged(flight, entry);
    } else {
        flight_copy_after_all(flight, entry);
    }
}

/* After TYPE. */
static void key_typed(struct batch *b, struct fetch_key *key) {
    struct flight *flight = b->flight;
    struct key_entry *entry = key->f.entry;
    if (key->result == RESULT_NULL || bytes_equal_str(key->f.value, "none")) {
        key_gone(b, entry);
    } else if (!key_filter_wants_type(flight->plan->filter, key->f.value)) {
        flight_unwanted(flight, entry, b->client);
    } else if (entry->reason == REASON_IF_MISSING && flight->plan->mem_limit_bytes == 0) {
        key_is_there(flight, entry);
    } else {
        bool string = bytes_equal_str(key->f.value, "string");
        entry->flags |= KEY_TYPED | (string ? 0 : KEY_NOT_STRING);
        bool measure = flight_measures_first(flight, entry) ||
                       (!string && flight->plan->can.source_memory_usage);
        bool dump = !string || !flight->plan->can.target_set_pxat;
        flight_stage(flight, entry,
                     measure ? STAGE_MEASURE
                     : dump  ? flight_value_stage(flight)
                             : STAGE_STRINGS);
    }
}

/* Its size, in data, is an estimate of which less is proved than is at stake. */
static bool may_be_larger(const struct copy_plan *plan, const struct fetch_key *key) {
    const struct key_entry *entry = key->f.entry;
    uint64_t exact = key->sampled_many ? MEASURE_EXACT_BYTES : MEASURE_FEW_BYTES;
    return entry->data >= exact && entry->data < plan->big_key_bytes &&
           (entry->flags & KEY_COUNT_ALL) == 0;
}

/* After MEMORY USAGE: key->expiry holds the size. */
static void key_measured(struct batch *b, struct fetch_key *key) {
    struct flight *flight = b->flight;
    struct key_entry *entry = key->f.entry;
    if (key->result == RESULT_NULL) {
        key_gone(b, entry);
        return;
    }
    uint64_t size = key->expiry > 0 ? (uint64_t)key->expiry : 0;
    if (flight->plan->mem_limit_bytes > 0 && size > flight->plan->mem_limit_bytes) {
        flight_unwanted(flight, entry, b->client);
        return;
    }
    if (entry->reason == REASON_IF_MISSING) {
        key_is_there(flight, entry);
        return;
    }
    estimate_note_size(&flight->estimate, size);
    if (entry->flags & KEY_COUNT_ALL) estimate_note_hidden(&flight->estimate, entry->data, size);
    entry->data = size;
    if (may_be_larger(flight->plan, key)) {
        entry->flags |= KEY_COUNT_ALL;
        flight_stage(flight, entry, STAGE_MEASURE);
        return;
    }
    entry->flags |= KEY_MEASURED;
    if (flight->plan->big_key_bytes > 0 && size >= flight->plan->big_key_bytes) {
        if (!(entry->flags & KEY_NOT_STRING)) estimate_note_large_string(&flight->estimate);
        entry->flags |= KEY_LARGE;
        flight_stage(flight, entry, STAGE_TRANSFER);
        return;
    }
    bool maybe_string = !(entry->flags & KEY_NOT_STRING) && flight->plan->can.target_set_pxat &&
                        flight->plan->preserve == PRESERVE_NONE;
    bool try_string = (entry->flags & KEY_TYPED) || estimate_expects_strings(&flight->estimate) ||
                      size >= VALUE_ALONE;
    flight_stage(flight, entry,
                 maybe_string && try_string ? STAGE_STRINGS : flight_value_stage(flight));
}

static int64_t key_absolute_expiry(const struct batch *b, const struct fetch_key *key) {
    if (key->expiry < 0) return key->expiry;
    return b->flight->plan->can.source_pexpiretime ? key->expiry : b->server_ms + key->expiry;
}

bool fetch_reads_part(const struct batch *b, const struct key_entry *entry) {
    bool usual = b->client == b->node->client;
    return b->stage == STAGE_STRINGS && usual && !(entry->flags & KEY_MEASURED) &&
           b->flight->plan->can.source_getrange;
}

static void key_too_long(struct flight *flight, struct key_entry *entry) {
    estimate_note_large_string(&flight->estimate);
    if (flight->plan->can.source_memory_usage) {
        flight_stage(flight, entry, STAGE_MEASURE);
        return;
    }
    entry->flags |= KEY_MEASURED; /* as far as can be known here */
    entry->data = VALUE_LARGE;
    flight_stage(flight, entry, STAGE_STRINGS);
}

/* After GET or DUMP; true when the value goes on to the target. */
static bool key_read(struct batch *b, struct fetch_key *key) {
    struct flight *flight = b->flight;
    struct key_entry *entry = key->f.entry;
    int64_t expiry_ms = key_absolute_expiry(b, key);
    if (fetch_reads_part(b, entry) && key->f.value.len >= VALUE_LARGE) {
        key_too_long(flight, entry);
        return false;
    }
    if (key->result == RESULT_NULL && b->stage == STAGE_STRINGS && expiry_ms != -2) {
        key_is_no_string(flight, entry);
        return false;
    }
    if (key->result == RESULT_NULL || expiry_ms == -2) {
        key_gone(b, entry);
        return false;
    }
    key->f.is_payload = b->stage == STAGE_DUMP;
    key->f.expiry_ms = flight->plan->no_ttl ? -1 : expiry_ms;
    bool string = !key->f.is_payload || payload_type(key->f.value) == VALUE_STRING;
    estimate_note_value(&flight->estimate, string, key->f.value.len);
    if (entry->flags & KEY_MEASURED)
        estimate_note_hidden(&flight->estimate, entry->data, key->f.value.len);
    return true;
}

/* True when the value goes on to the target. */
static bool key_answered(struct batch *b, struct fetch_key *key) {
    switch (b->stage) {
    case STAGE_TYPE:
        key_typed(b, key);
        return false;
    case STAGE_MEASURE:
        key_measured(b, key);
        return false;
    case STAGE_USED:
        key_use_known(b, key);
        return false;
    case STAGE_EXISTS:
        key_looked_at(b, key);
        return false;
    case STAGE_GROUPS:
        key_groups_seen(b->flight, key);
        return false;
    case STAGE_STRINGS:
    case STAGE_DUMP:
    case STAGE_TRANSFER:
        break;
    }
    return key_read(b, key);
}

/* ---- the end of a batch ---- */

void fetch_batch_free(struct batch *b) {
    estimate_release(&b->flight->estimate, b->bytes);
    for (size_t i = 0; i < b->n; i++) {
        block_unref(&b->keys[i].f.block);
        free(b->keys[i].err);
    }
    free(b->keys);
    free(b);
}

void fetch_batch_end(struct batch *b) {
    struct flight *flight = b->flight;
    const struct fetched **values = mem_array(NULL, b->n, sizeof(*values));
    size_t n_values = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct fetch_key *key = &b->keys[i];
        if (key->result != RESULT_ERROR) flight_node_works(flight, b->node);
        if (key->result == RESULT_ERROR) {
            key_failed(b, key);
        } else if (key_answered(b, key)) {
            values[n_values++] = &key->f;
        }
    }
    if (n_values > 0) flight_values(flight, values, n_values);
    free(values);
    fetch_batch_free(b);
    flight_schedule(flight);
}
