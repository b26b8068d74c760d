/* Fields of hashes that expire (Redis 7.4, Valkey 9.0): read by HPEXPIRETIME after the fields,
 * written by HPEXPIREAT, since Redis and Valkey do not read each other's payloads of such hashes.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "copy/transfer_priv.h"

enum { FIELD_NO_EXPIRY = -1, FIELD_GONE = -2 };

bool field_times_wanted(const struct transfer *t) {
    return t->kind->value == VALUE_HASH && t->flight->plan->can.source_field_ttl &&
           !t->flight->plan->no_ttl;
}

void field_times_fini(struct field_times *times) {
    block_unref(&times->block);
    free(times->ms);
    *times = (struct field_times){ 0 };
}

static void on_field_times(struct transfer *t, const struct reply *reply) {
    struct field_times *times = &t->times;
    struct resp_cursor c = reply->cursor;
    struct resp_item item;
    int64_t n = resp_is_aggregate(&reply->item) ? reply->item.num : 0;
    for (int64_t i = 0; i < n && times->got < times->n && resp_next(&c, &item); i++)
        times->ms[times->got++] = item.num;
    if (--times->due > 0) return;
    /* A missing key has no times at all. */
    if (times->got < times->n) {
        transfer_again(t);
    } else {
        times->then(t, NULL);
    }
}

void field_times_ask(struct transfer *t, struct resp_cursor elements, size_t fields,
                     struct block *block, transfer_step_fn *then) {
    static const struct transfer_step step = { on_field_times, false };
    size_t most = t->flight->plan->max_args - 4;
    struct bytes *words = mem_array(NULL, 4 + (fields < most ? fields : most), sizeof(*words));
    struct resp_item item;
    char count[24];
    t->times = (struct field_times){ .block = block_ref(block),
                                     .elements = elements,
                                     .n = fields,
                                     .then = then,
                                     .ms = mem_array(NULL, fields, sizeof(int64_t)),
                                     .due = (fields + most - 1) / most };
    for (size_t done = 0; done < fields;) {
        size_t n = fields - done < most ? fields - done : most;
        words[0] = BYTES_LITERAL("HPEXPIRETIME");
        words[1] = t->key;
        words[2] = BYTES_LITERAL("FIELDS");
        words[3] = transfer_number((int64_t)n, count);
        for (size_t i = 0; i < n && resp_next(&elements, &item); i++) {
            words[4 + i] = item.str;
            resp_skip(&elements);
        }
        done += n;
        transfer_read(t, &step, 4 + n, words);
    }
    free(words);
}

bool field_times_any(const struct transfer *t) {
    for (size_t i = 0; i < t->times.n; i++)
        if (t->times.ms[i] != FIELD_NO_EXPIRY) return true;
    return false;
}

/* HPEXPIREAT or HDEL for a run of fields that expire at the same moment. */
static void field_times_write_run(struct transfer *t, int64_t ms, const struct bytes *fields,
                                  size_t n) {
    struct outq *out = transfer_write(t);
    resp_write_head(out, n + (ms == FIELD_GONE ? 2 : 5));
    if (ms == FIELD_GONE) {
        resp_write_literal(out, "HDEL");
        resp_write_arg(out, t->to);
    } else {
        resp_write_literal(out, "HPEXPIREAT");
        resp_write_arg(out, t->to);
        resp_write_arg_i64(out, ms);
        resp_write_literal(out, "FIELDS");
        resp_write_arg_i64(out, (int64_t)n);
    }
    for (size_t i = 0; i < n; i++) resp_write_arg(out, fields[i]);
    transfer_written(t, &transfer_step_none);
}

bool field_times_write(struct transfer *t) {
    struct field_times *times = &t->times;
    size_t most = t->flight->plan->max_args - 5, n = 0;
    if (!t->flight->plan->can.target_field_ttl) {
        struct err err;
        err_set(&err, ERR_FIELD_EXPIRY, "target", "%s", err_sentence(ERR_FIELD_EXPIRY));
        transfer_fail(t, t->target, &err);
        return false;
    }
    struct bytes *run = mem_array(NULL, times->n, sizeof(*run));
    struct resp_cursor c = times->elements;
    struct resp_item item;
    for (size_t i = 0; i < times->n && resp_next(&c, &item); i++) {
        resp_skip(&c);
        if (times->ms[i] == FIELD_NO_EXPIRY) continue;
        run[n++] = item.str;
        bool ends = n == most || i + 1 == times->n || times->ms[i + 1] != times->ms[i];
        if (!ends) continue;
        field_times_write_run(t, times->ms[i], run, n);
        n = 0;
    }
    free(run);
    return true;
}
