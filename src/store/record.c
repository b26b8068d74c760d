/* See record.h. Times are numbers of microseconds in JSON too, so that nothing is lost by rounding;
 * texts that are no UTF-8 are escaped, since JSON has no other texts. */
#include "store/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"

enum { ESCAPED_MAX = 4 * RECORD_LABEL_MAX + 8 };

/* ---- to JSON ---- */

static void set_text(json_t *object, const char *name, const char *text) {
    char escaped[ESCAPED_MAX];
    json_t *value = json_string(text);
    if (value == NULL)
        value = json_string(bytes_escape(bytes_of_str(text), escaped, sizeof(escaped)));
    json_object_set_new(object, name, value);
}

static void set_number(json_t *object, const char *name, uint64_t number) {
    json_object_set_new(object, name,
                        json_integer((json_int_t)(number > INT64_MAX ? INT64_MAX : number)));
}

static void set_time(json_t *object, const char *name, int64_t us) {
    json_object_set_new(object, name, json_integer(us));
}

static json_t *nodes_to_json(const struct job_record *record) {
    json_t *list = json_array();
    for (size_t i = 0; i < record->n_nodes; i++) {
        const struct record_node *node = &record->nodes[i];
        json_t *object = json_object();
        set_text(object, "address", node->address);
        set_text(object, "run_id", node->run_id);
        set_text(object, "replid", node->replid);
        set_time(object, "watermark_us", node->watermark_us);
        if (node->forks >= 0) set_time(object, "forks", node->forks);
        if (node->swaps >= 0) set_time(object, "swaps", node->swaps);
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *cursors_to_json(const struct job_record *record) {
    json_t *list = json_array();
    for (size_t i = 0; i < record->n_cursors; i++) {
        const struct record_cursor *cursor = &record->cursors[i];
        json_t *object = json_object();
        set_text(object, "address", cursor->address);
        set_text(object, "run_id", cursor->run_id);
        set_text(object, "cursor", cursor->cursor);
        set_time(object, "db", cursor->db);
        set_number(object, "slots", cursor->slots);
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *gaps_to_json(const struct job_record *record) {
    json_t *list = json_array();
    for (size_t i = 0; i < record->n_gaps; i++) {
        const struct record_gap *gap = &record->gaps[i];
        json_t *object = json_object();
        set_text(object, "place", gap->place);
        set_time(object, "since_us", gap->since_us);
        set_text(object, "why", gap->why);
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *holds_to_json(const struct job_record *record) {
    json_t *list = json_array();
    for (size_t i = 0; i < record->n_holds; i++) {
        const struct record_hold *hold = &record->holds[i];
        json_t *object = json_object();
        set_text(object, "place", hold->place);
        set_number(object, "deletions", hold->deletions);
        set_number(object, "seen", hold->seen);
        set_text(object, "why", hold->why);
        json_array_append_new(list, object);
    }
    return list;
}

json_t *record_to_json(const struct job_record *record) {
    json_t *object = json_object();
    set_text(object, "job", record->job);
    set_text(object, "source", record->source);
    set_text(object, "target", record->target);
    set_text(object, "settings", record->settings);
    set_text(object, "phase", record->phase);
    set_text(object, "owner", record->owner);
    json_object_set_new(object, "copied_once", json_boolean(record->copied_once));
    set_time(object, "watermark_us", record->watermark_us);
    set_time(object, "updated_us", record->updated_us);
    set_number(object, "epoch", record->epoch);
    set_number(object, "copied", record->copied);
    set_number(object, "deleted", record->deleted);
    set_number(object, "given_up", record->given_up);
    set_number(object, "waiting", record->waiting);
    set_time(object, "lag_p50_us", record->lag_p50_us);
    set_time(object, "lag_p99_us", record->lag_p99_us);
    set_time(object, "lag_max_us", record->lag_max_us);
    set_time(object, "gather_ms", record->gather_ms);
    json_object_set_new(object, "nodes", nodes_to_json(record));
    if (record->checkpoint_us > 0) {
        set_time(object, "checkpoint_us", record->checkpoint_us);
        json_object_set_new(object, "cursors", cursors_to_json(record));
    }
    json_object_set_new(object, "gaps", gaps_to_json(record));
    json_object_set_new(object, "holds", holds_to_json(record));
    return object;
}

/* ---- from JSON ---- */

/* One object that is read; errors name the field with what it lies in. */
struct reading {
    const json_t *object;
    const char *within; /* "", "nodes" */
    struct err *err;
};

static bool refuse(const struct reading *r, const char *name, const char *what) {
    return err_set(r->err, ERR_PROTOCOL, "record", "\"%s%s%s\" %s", r->within,
                   r->within[0] != '\0' ? "." : "", name, what);
}

/* What a record of another version does not have stays empty. */
static bool get_text(const struct reading *r, const char *name, char *text, size_t size) {
    const json_t *value = json_object_get(r->object, name);
    text[0] = '\0';
    if (value == NULL) return true;
    if (!json_is_string(value)) return refuse(r, name, "is no text");
    size_t len = json_string_length(value);
    if (len >= size || memchr(json_string_value(value), '\0', len) != NULL)
        return refuse(r, name, "is too long");
    memcpy(text, json_string_value(value), len + 1);
    return true;
}

/* What makes a record one. */
static bool need_text(const struct reading *r, const char *name, char *text, size_t size) {
    if (!get_text(r, name, text, size)) return false;
    return text[0] != '\0' || refuse(r, name, "is missing or empty");
}

static bool get_time(const struct reading *r, const char *name, int64_t *us) {
    const json_t *value = json_object_get(r->object, name);
    *us = 0;
    if (value == NULL) return true;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return refuse(r, name, "is no whole number from 0 on");
    *us = json_integer_value(value);
    return true;
}

static bool get_number(const struct reading *r, const char *name, uint64_t *number) {
    int64_t value;
    if (!get_time(r, name, &value)) return false;
    *number = (uint64_t)value;
    return true;
}

static bool get_bool(const struct reading *r, const char *name, bool *yes) {
    const json_t *value = json_object_get(r->object, name);
    *yes = json_is_true(value);
    return value == NULL || json_is_boolean(value) || refuse(r, name, "is neither true nor false");
}

static bool get_node(const struct reading *r, void *item) {
    struct record_node *node = item;
    bool ok = get_text(r, "address", node->address, sizeof(node->address)) &&
              get_text(r, "run_id", node->run_id, sizeof(node->run_id)) &&
              get_text(r, "replid", node->replid, sizeof(node->replid)) &&
              get_time(r, "watermark_us", &node->watermark_us) &&
              get_time(r, "forks", &node->forks) && get_time(r, "swaps", &node->swaps);
    if (ok && json_object_get(r->object, "forks") == NULL) node->forks = -1;
    if (ok && json_object_get(r->object, "swaps") == NULL) node->swaps = -1;
    return ok;
}

static bool get_cursor(const struct reading *r, void *item) {
    struct record_cursor *cursor = item;
    return get_text(r, "address", cursor->address, sizeof(cursor->address)) &&
           get_text(r, "run_id", cursor->run_id, sizeof(cursor->run_id)) &&
           get_text(r, "cursor", cursor->cursor, sizeof(cursor->cursor)) &&
           get_time(r, "db", &cursor->db) && get_number(r, "slots", &cursor->slots);
}

static bool get_gap(const struct reading *r, void *item) {
    struct record_gap *gap = item;
    return get_text(r, "place", gap->place, sizeof(gap->place)) &&
           get_time(r, "since_us", &gap->since_us) &&
           get_text(r, "why", gap->why, sizeof(gap->why));
}

static bool get_hold(const struct reading *r, void *item) {
    struct record_hold *hold = item;
    return get_text(r, "place", hold->place, sizeof(hold->place)) &&
           get_number(r, "deletions", &hold->deletions) && get_number(r, "seen", &hold->seen) &&
           get_text(r, "why", hold->why, sizeof(hold->why));
}

static bool get_list(const struct reading *r, const char *name, size_t *n, void *items, size_t size,
                     bool (*get)(const struct reading *r, void *item)) {
    const json_t *list = json_object_get(r->object, name);
    *n = 0;
    if (list == NULL) return true;
    if (!json_is_array(list)) return refuse(r, name, "is no list");
    if (json_array_size(list) > RECORD_LIST_MAX) return refuse(r, name, "is too long");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const struct reading item = { json_array_get(list, i), name, r->err };
        if (!json_is_object(item.object)) return refuse(r, name, "holds what is no object");
        if (!get(&item, (char *)items + i * size)) return false;
        ++*n;
    }
    return true;
}

static bool get_lists(const struct reading *r, struct job_record *record) {
    return get_list(r, "nodes", &record->n_nodes, record->nodes, sizeof(record->nodes[0]),
                    get_node) &&
           get_list(r, "cursors", &record->n_cursors, record->cursors, sizeof(record->cursors[0]),
                    get_cursor) &&
           get_list(r, "gaps", &record->n_gaps, record->gaps, sizeof(record->gaps[0]), get_gap) &&
           get_list(r, "holds", &record->n_holds, record->holds, sizeof(record->holds[0]),
                    get_hold);
}

bool record_from_json(struct job_record *record, const json_t *json, struct err *err) {
    const struct reading r = { json, "", err };
    *record = (struct job_record){ 0 };
    if (!json_is_object(json)) return err_set(err, ERR_PROTOCOL, "record", "is no JSON object");
    return need_text(&r, "job", record->job, sizeof(record->job)) &&
           need_text(&r, "source", record->source, sizeof(record->source)) &&
           need_text(&r, "target", record->target, sizeof(record->target)) &&
           get_text(&r, "settings", record->settings, sizeof(record->settings)) &&
           need_text(&r, "phase", record->phase, sizeof(record->phase)) &&
           get_text(&r, "owner", record->owner, sizeof(record->owner)) &&
           get_bool(&r, "copied_once", &record->copied_once) &&
           get_time(&r, "watermark_us", &record->watermark_us) &&
           get_time(&r, "updated_us", &record->updated_us) &&
           get_number(&r, "epoch", &record->epoch) && get_number(&r, "copied", &record->copied) &&
           get_number(&r, "deleted", &record->deleted) &&
           get_number(&r, "given_up", &record->given_up) &&
           get_number(&r, "waiting", &record->waiting) &&
           get_time(&r, "lag_p50_us", &record->lag_p50_us) &&
           get_time(&r, "lag_p99_us", &record->lag_p99_us) &&
           get_time(&r, "lag_max_us", &record->lag_max_us) &&
           get_time(&r, "gather_ms", &record->gather_ms) &&
           get_time(&r, "checkpoint_us", &record->checkpoint_us) && get_lists(&r, record);
}

bool record_from_text(struct job_record *record, struct bytes text, struct err *err) {
    json_error_t error;
    json_t *json = json_loadb(text.ptr, text.len, 0, &error);
    if (json == NULL) return err_set(err, ERR_PROTOCOL, "record", "is no JSON: %s", error.text);
    bool ok = record_from_json(record, json, err);
    json_decref(json);
    return ok;
}

char *record_to_text(const struct job_record *record) {
    json_t *json = record_to_json(record);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

/* ---- its name ---- */

void record_make_job(char job[RECORD_JOB_MAX], const char *source, const char *target,
                     const char *settings) {
    const char *const parts[] = { source, target, settings };
    XXH64_hash_t hash = 0;
    /* Each hash is the seed of the next, so that no text can move from one part into another. */
    for (size_t i = 0; i < 3; i++) hash = XXH64(parts[i], strlen(parts[i]), hash);
    snprintf(job, RECORD_JOB_MAX, "%016" PRIx64, (uint64_t)hash);
}
