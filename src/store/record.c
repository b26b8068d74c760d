/* See record.h. One table of fields describes a record and the items of its lists: writing,
 * reading, copying and releasing all follow it, so that no field can be forgotten in one of them.
 * Times are numbers of microseconds in JSON too, so that nothing is lost by rounding. */
#include "store/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"

enum field_kind {
    FIELD_TEXT,   /* char[size] */
    FIELD_NEEDED, /* the same; a record without it is refused */
    FIELD_SCOPE,  /* char *, owned; NULL: none */
    FIELD_TIME,   /* int64_t, not negative */
    FIELD_COUNT,  /* uint64_t */
    FIELD_BOOL,
    FIELD_OBJECT, /* json_t *, owned; NULL: none */
    FIELD_IDS,    /* struct record_ids */
};

struct record_field {
    const char *name;
    enum field_kind kind;
    size_t offset, size;
};

#define FIELD_AS(type, member, name, kind)                                                         \
    { name, kind, offsetof(struct type, member), sizeof(((struct type *)0)->member) }
#define FIELD(type, member, kind) FIELD_AS(type, member, #member, kind)

static const struct record_field node_fields[] = {
    FIELD(record_node, address, FIELD_TEXT),    FIELD(record_node, run_id, FIELD_TEXT),
    FIELD(record_node, replid, FIELD_TEXT),     FIELD(record_node, watermark_us, FIELD_TIME),
    FIELD(record_node, evidence, FIELD_OBJECT),
};
static const struct record_field target_fields[] = {
    FIELD(record_target, run_id, FIELD_TEXT),     FIELD(record_target, evicted, FIELD_COUNT),
    FIELD(record_target, flushes, FIELD_COUNT),   FIELD(record_target, swaps, FIELD_COUNT),
    FIELD(record_target, incomplete, FIELD_BOOL),
};
static const struct record_field cursor_fields[] = {
    FIELD(record_cursor, address, FIELD_TEXT), FIELD(record_cursor, run_id, FIELD_TEXT),
    FIELD(record_cursor, cursor, FIELD_TEXT),  FIELD(record_cursor, db, FIELD_TIME),
    FIELD(record_cursor, slots, FIELD_COUNT),
};
static const struct record_field gap_fields[] = {
    FIELD(record_gap, place, FIELD_TEXT),
    FIELD(record_gap, since_us, FIELD_TIME),
    FIELD(record_gap, slots, FIELD_COUNT),
    FIELD(record_gap, why, FIELD_TEXT),
};
static const struct record_field hold_fields[] = {
    FIELD(record_hold, id, FIELD_TEXT),     FIELD(record_hold, place, FIELD_TEXT),
    FIELD(record_hold, cause, FIELD_TEXT),  FIELD(record_hold, deletions, FIELD_COUNT),
    FIELD(record_hold, seen, FIELD_COUNT),  FIELD(record_hold, since_us, FIELD_TIME),
    FIELD(record_hold, slots, FIELD_SCOPE), FIELD(record_hold, why, FIELD_TEXT),
};
static const struct record_field record_fields[] = {
    FIELD(job_record, job, FIELD_NEEDED),
    FIELD(job_record, source, FIELD_NEEDED),
    FIELD(job_record, target, FIELD_NEEDED),
    FIELD(job_record, settings, FIELD_TEXT),
    FIELD(job_record, scope, FIELD_SCOPE),
    FIELD(job_record, source_ids, FIELD_IDS),
    FIELD(job_record, target_ids, FIELD_IDS),
    FIELD(job_record, phase, FIELD_NEEDED),
    FIELD(job_record, owner, FIELD_TEXT),
    FIELD(job_record, only, FIELD_BOOL),
    FIELD(job_record, copied_once, FIELD_BOOL),
    FIELD(job_record, census_done, FIELD_BOOL),
    FIELD(job_record, watermark_us, FIELD_TIME),
    FIELD(job_record, source_time_us, FIELD_TIME),
    FIELD(job_record, updated_us, FIELD_TIME),
    FIELD(job_record, epoch, FIELD_COUNT),
    FIELD(job_record, lease_ms, FIELD_TIME),
    FIELD(job_record, copied, FIELD_COUNT),
    FIELD(job_record, deleted, FIELD_COUNT),
    FIELD(job_record, given_up, FIELD_COUNT),
    FIELD(job_record, waiting, FIELD_COUNT),
    FIELD(job_record, extra_keys, FIELD_COUNT),
    FIELD(job_record, target_evicted, FIELD_COUNT),
    FIELD_AS(job_record, lag.p50_us, "lag_p50_us", FIELD_TIME),
    FIELD_AS(job_record, lag.p99_us, "lag_p99_us", FIELD_TIME),
    FIELD_AS(job_record, lag.max_us, "lag_max_us", FIELD_TIME),
    FIELD_AS(job_record, lag.minute_max_us, "lag_minute_max_us", FIELD_TIME),
    FIELD_AS(job_record, lag.hour_max_us, "lag_hour_max_us", FIELD_TIME),
    FIELD(job_record, gather_ms, FIELD_TIME),
    FIELD(job_record, order_followed, FIELD_TEXT),
    FIELD_AS(job_record, trouble.text, "trouble", FIELD_TEXT),
    FIELD_AS(job_record, trouble.place, "trouble_place", FIELD_TEXT),
    FIELD_AS(job_record, trouble.since_us, "trouble_since_us", FIELD_TIME),
    FIELD(job_record, checkpoint_us, FIELD_TIME),
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

struct record_list {
    const char *name;
    size_t items, n; /* offsets of the pointer and of the number of items */
    size_t item_size;
    const struct record_field *fields;
    size_t n_fields;
};

#define LIST(member, item, fields)                                                                 \
    {                                                                                              \
#member, offsetof(struct job_record, member), offsetof(struct job_record, n_##member),     \
            sizeof(struct item), fields, COUNT_OF(fields)                                          \
    }

enum { LIST_NODES, LIST_TARGETS, LIST_CURSORS, LIST_GAPS, LIST_HOLDS, LISTS };

static const struct record_list record_lists[LISTS] = {
    [LIST_NODES] = LIST(nodes, record_node, node_fields),
    [LIST_TARGETS] = LIST(targets, record_target, target_fields),
    [LIST_CURSORS] = LIST(cursors, record_cursor, cursor_fields),
    [LIST_GAPS] = LIST(gaps, record_gap, gap_fields),
    [LIST_HOLDS] = LIST(holds, record_hold, hold_fields),
};

/* ---- lists ---- */

/* The list's pointer has another type in each list, so that it is moved by memcpy(). */
static char *list_items(const struct job_record *record, const struct record_list *list) {
    char *items;
    memcpy(&items, (const char *)record + list->items, sizeof(items));
    return items;
}

static size_t list_n(const struct job_record *record, const struct record_list *list) {
    size_t n;
    memcpy(&n, (const char *)record + list->n, sizeof(n));
    return n;
}

static void list_set(struct job_record *record, const struct record_list *list, char *items,
                     size_t n) {
    memcpy((char *)record + list->items, &items, sizeof(items));
    memcpy((char *)record + list->n, &n, sizeof(n));
}

static void *list_add(struct job_record *record, const struct record_list *list) {
    size_t n = list_n(record, list), size = list->item_size;
    char *items = list_items(record, list);
    /* Room doubles: it is full where the number is 0 or a power of two. */
    if ((n & (n - 1)) == 0) items = mem_array(items, n == 0 ? 1 : 2 * n, size);
    list_set(record, list, items, n + 1);
    return memset(items + n * size, 0, size);
}

/* ---- memory ---- */

void record_ids_clear(struct record_ids *ids) {
    for (size_t i = 0; i < ids->n; i++) free(ids->list[i]);
    free(ids->list);
    *ids = (struct record_ids){ 0 };
}

bool record_ids_has(const struct record_ids *ids, const char *id) {
    for (size_t i = 0; i < ids->n; i++)
        if (strcmp(ids->list[i], id) == 0) return true;
    return false;
}

static void ids_append(struct record_ids *ids, const char *id) {
    ids->list = mem_array(ids->list, ids->n + 1, sizeof(char *));
    ids->list[ids->n++] = mem_strdup(id);
}

void record_ids_add(struct record_ids *ids, const char *id) {
    if (id[0] != '\0' && !record_ids_has(ids, id)) ids_append(ids, id);
}

static void fields_fini(void *item, const struct record_field *fields, size_t n) {
    for (size_t i = 0; i < n; i++) {
        void *at = (char *)item + fields[i].offset;
        if (fields[i].kind == FIELD_SCOPE) free(*(char **)at);
        if (fields[i].kind == FIELD_OBJECT) json_decref(*(json_t **)at);
        if (fields[i].kind == FIELD_IDS) record_ids_clear(at);
    }
}

/* The item was copied byte by byte: texts and lists of the other become copies of its own. */
static void fields_own(void *item, const struct record_field *fields, size_t n) {
    for (size_t i = 0; i < n; i++) {
        void *at = (char *)item + fields[i].offset;
        if (fields[i].kind == FIELD_SCOPE && *(char **)at != NULL)
            *(char **)at = mem_strdup(*(char **)at);
        if (fields[i].kind == FIELD_OBJECT) *(json_t **)at = json_deep_copy(*(json_t **)at);
        if (fields[i].kind != FIELD_IDS) continue;
        struct record_ids others = *(struct record_ids *)at;
        *(struct record_ids *)at = (struct record_ids){ 0 };
        for (size_t k = 0; k < others.n; k++) ids_append(at, others.list[k]);
    }
}

static void list_clear(struct job_record *record, int which) {
    const struct record_list *list = &record_lists[which];
    char *items = list_items(record, list);
    for (size_t i = 0; i < list_n(record, list); i++)
        fields_fini(items + i * list->item_size, list->fields, list->n_fields);
    free(items);
    list_set(record, list, NULL, 0);
}

void record_init(struct job_record *record) {
    *record = (struct job_record){ 0 };
}

void record_fini(struct job_record *record) {
    fields_fini(record, record_fields, COUNT_OF(record_fields));
    for (int which = 0; which < LISTS; which++) list_clear(record, which);
    record_init(record);
}

void record_copy(struct job_record *to, const struct job_record *from) {
    if (to == from) return;
    record_fini(to);
    *to = *from;
    fields_own(to, record_fields, COUNT_OF(record_fields));
    for (int which = 0; which < LISTS; which++) {
        const struct record_list *list = &record_lists[which];
        list_set(to, list, NULL, 0);
        for (size_t i = 0; i < list_n(from, list); i++) {
            void *item = list_add(to, list);
            memcpy(item, list_items(from, list) + i * list->item_size, list->item_size);
            fields_own(item, list->fields, list->n_fields);
        }
    }
}

void record_move(struct job_record *to, struct job_record *from) {
    if (to == from) return;
    record_fini(to);
    *to = *from;
    record_init(from);
}

static void list_move(struct job_record *to, struct job_record *from, int which) {
    const struct record_list *list = &record_lists[which];
    list_clear(to, which);
    list_set(to, list, list_items(from, list), list_n(from, list));
    list_set(from, list, NULL, 0);
}

void record_take_proof(struct job_record *to, struct job_record *from) {
    to->watermark_us = from->watermark_us;
    to->source_time_us = from->source_time_us;
    to->copied_once = from->copied_once;
    to->checkpoint_us = from->checkpoint_us;
    list_move(to, from, LIST_NODES);
    list_move(to, from, LIST_TARGETS);
    list_move(to, from, LIST_CURSORS);
    list_move(to, from, LIST_GAPS);
}

void record_drop_proof(struct job_record *record) {
    record->watermark_us = record->source_time_us = record->checkpoint_us = 0;
    list_clear(record, LIST_CURSORS);
    for (size_t i = 0; i < record->n_nodes; i++) {
        record->nodes[i].watermark_us = 0;
        json_decref(record->nodes[i].evidence);
        record->nodes[i].evidence = NULL;
    }
}

struct record_node *record_add_node(struct job_record *record) {
    return list_add(record, &record_lists[LIST_NODES]);
}

struct record_target *record_add_target(struct job_record *record) {
    return list_add(record, &record_lists[LIST_TARGETS]);
}

struct record_cursor *record_add_cursor(struct job_record *record) {
    return list_add(record, &record_lists[LIST_CURSORS]);
}

struct record_gap *record_add_gap(struct job_record *record) {
    return list_add(record, &record_lists[LIST_GAPS]);
}

struct record_hold *record_add_hold(struct job_record *record) {
    return list_add(record, &record_lists[LIST_HOLDS]);
}

void record_clear_nodes(struct job_record *record) {
    list_clear(record, LIST_NODES);
}

void record_clear_targets(struct job_record *record) {
    list_clear(record, LIST_TARGETS);
}

void record_clear_cursors(struct job_record *record) {
    list_clear(record, LIST_CURSORS);
}

void record_clear_gaps(struct job_record *record) {
    list_clear(record, LIST_GAPS);
}

void record_clear_holds(struct job_record *record) {
    list_clear(record, LIST_HOLDS);
}

void record_set_scope(struct job_record *record, const char *scope) {
    char *copy = scope != NULL ? mem_strdup(scope) : NULL;
    free(record->scope);
    record->scope = copy;
}

/* ---- to JSON ---- */

/* JSON has no text but Unicode. An escaped text must still fit when it is read. */
static json_t *text_to_json(const char *text, size_t size) {
    json_t *value = json_string(text);
    if (value != NULL) return value;
    char *escaped = mem_alloc(size);
    value = json_string(bytes_escape(bytes_of_str(text), escaped, size));
    free(escaped);
    return value;
}

static json_t *count_to_json(uint64_t count) {
    return json_integer((json_int_t)(count > INT64_MAX ? INT64_MAX : count));
}

static json_t *ids_to_json(const struct record_ids *ids) {
    json_t *list = json_array();
    for (size_t i = 0; i < ids->n; i++)
        json_array_append_new(list, text_to_json(ids->list[i], RECORD_LABEL_MAX));
    return list;
}

/* NULL where the field has no value. */
static json_t *field_to_json(const void *at, const struct record_field *field) {
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_NEEDED:
        return text_to_json(at, field->size);
    case FIELD_SCOPE: {
        const char *text = *(char *const *)at;
        return text == NULL ? NULL : text_to_json(text, 4 * strlen(text) + 1);
    }
    case FIELD_TIME:
        return json_integer(*(const int64_t *)at);
    case FIELD_COUNT:
        return count_to_json(*(const uint64_t *)at);
    case FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case FIELD_OBJECT:
        return json_deep_copy(*(json_t *const *)at);
    case FIELD_IDS:
        return ids_to_json(at);
    }
    return NULL;
}

static json_t *fields_to_json(const void *item, const struct record_field *fields, size_t n) {
    json_t *object = json_object();
    for (size_t i = 0; i < n; i++) {
        json_t *value = field_to_json((const char *)item + fields[i].offset, &fields[i]);
        if (value != NULL) json_object_set_new(object, fields[i].name, value);
    }
    return object;
}

json_t *record_to_json(const struct job_record *record) {
    json_t *object = fields_to_json(record, record_fields, COUNT_OF(record_fields));
    for (int which = 0; which < LISTS; which++) {
        const struct record_list *list = &record_lists[which];
        json_t *items = json_array();
        for (size_t i = 0; i < list_n(record, list); i++)
            json_array_append_new(items,
                                  fields_to_json(list_items(record, list) + i * list->item_size,
                                                 list->fields, list->n_fields));
        json_object_set_new(object, list->name, items);
    }
    return object;
}

/* ---- from JSON ---- */

/* The object that is read; errors name the field, and the list that the object lies in. */
struct record_reader {
    const json_t *object;
    const char *within; /* "", "nodes" */
    struct err *err;
};

static bool reader_refuse(const struct record_reader *r, const char *name, const char *why) {
    return err_set(r->err, ERR_PROTOCOL, "record", "\"%s%s%s\" %s", r->within,
                   r->within[0] != '\0' ? "." : "", name, why);
}

/* C0, DEL, and both bytes of C1 in UTF-8. */
static void text_remove_controls(char *text) {
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c < ' ' || *c == 0x7f) *c = '?';
        if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) c[0] = c[1] = '?';
    }
}

static bool reader_get_text(const struct record_reader *r, const struct record_field *field,
                            const json_t *value, char *text) {
    if (!json_is_string(value)) return reader_refuse(r, field->name, "is no text");
    size_t len = json_string_length(value);
    if (len >= field->size) return reader_refuse(r, field->name, "is too long");
    memcpy(text, json_string_value(value), len + 1);
    text_remove_controls(text);
    return true;
}

static bool reader_get_time(const struct record_reader *r, const struct record_field *field,
                            const json_t *value, int64_t *time) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return reader_refuse(r, field->name, "is no whole number from 0 on");
    *time = json_integer_value(value);
    return true;
}

static bool reader_get_ids(const struct record_reader *r, const struct record_field *field,
                           const json_t *value, struct record_ids *ids) {
    if (!json_is_array(value)) return reader_refuse(r, field->name, "is no list");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *id = json_string_value(json_array_get(value, i));
        if (id == NULL) return reader_refuse(r, field->name, "holds something that is no text");
        ids_append(ids, id);
        text_remove_controls(ids->list[i]);
    }
    return true;
}

static bool reader_get_field(const struct record_reader *r, const struct record_field *field,
                             const json_t *value, void *at) {
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_NEEDED:
        return reader_get_text(r, field, value, at);
    case FIELD_SCOPE:
        if (!json_is_string(value)) return reader_refuse(r, field->name, "is no text");
        *(char **)at = mem_strdup(json_string_value(value));
        return true;
    case FIELD_TIME:
        return reader_get_time(r, field, value, at);
    case FIELD_COUNT: {
        int64_t count = 0;
        if (!reader_get_time(r, field, value, &count)) return false;
        *(uint64_t *)at = (uint64_t)count;
        return true;
    }
    case FIELD_BOOL:
        *(bool *)at = json_is_true(value);
        return json_is_boolean(value) || reader_refuse(r, field->name, "is neither true nor false");
    case FIELD_OBJECT:
        if (!json_is_object(value)) return reader_refuse(r, field->name, "is no object");
        *(json_t **)at = json_deep_copy(value);
        return true;
    case FIELD_IDS:
        return reader_get_ids(r, field, value, at);
    }
    return true;
}

/* A field that a record of another version lacks stays empty. */
static bool reader_get_fields(const struct record_reader *r, void *item,
                              const struct record_field *fields, size_t n) {
    for (size_t i = 0; i < n; i++) {
        void *at = (char *)item + fields[i].offset;
        const json_t *value = json_object_get(r->object, fields[i].name);
        if (value != NULL && !reader_get_field(r, &fields[i], value, at)) return false;
        if (fields[i].kind == FIELD_NEEDED && *(const char *)at == '\0')
            return reader_refuse(r, fields[i].name, "is missing or empty");
    }
    return true;
}

static bool reader_get_list(const struct record_reader *r, struct job_record *record,
                            const struct record_list *list) {
    const json_t *items = json_object_get(r->object, list->name);
    if (items == NULL) return true;
    if (!json_is_array(items)) return reader_refuse(r, list->name, "is no list");
    for (size_t i = 0; i < json_array_size(items); i++) {
        const struct record_reader item = { json_array_get(items, i), list->name, r->err };
        if (!json_is_object(item.object))
            return reader_refuse(r, list->name, "holds something that is no object");
        if (!reader_get_fields(&item, list_add(record, list), list->fields, list->n_fields))
            return false;
    }
    return true;
}

static bool record_from_json(struct job_record *record, const json_t *json, struct err *err) {
    const struct record_reader r = { json, "", err };
    record_fini(record);
    if (!json_is_object(json)) return err_set(err, ERR_PROTOCOL, "record", "is no JSON object");
    bool ok = reader_get_fields(&r, record, record_fields, COUNT_OF(record_fields));
    for (int which = 0; which < LISTS && ok; which++)
        ok = reader_get_list(&r, record, &record_lists[which]);
    if (!ok) record_fini(record);
    return ok;
}

bool record_from_text(struct job_record *record, struct bytes text, struct err *err) {
    json_error_t error;
    record_fini(record);
    if (text.len > RECORD_BYTES_MAX)
        return err_set(err, ERR_PROTOCOL, "record", "has %zu bytes, more than the %d of a record",
                       text.len, RECORD_BYTES_MAX);
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
                     const char *scope) {
    const char *const parts[] = { source, target, scope };
    XXH64_hash_t hash = 0;
    /* Each hash is the seed of the next, so that no text can move from one part into another. */
    for (size_t i = 0; i < COUNT_OF(parts); i++) hash = XXH64(parts[i], strlen(parts[i]), hash);
    snprintf(job, RECORD_JOB_MAX, "%016" PRIx64, (uint64_t)hash);
}
