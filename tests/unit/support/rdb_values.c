/* See rdb_values.h. */
#include "rdb_values.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rdb/decode.h"

static const char *tests_directory = ".";

void rdb_values_at(const char *directory) {
    tests_directory = directory;
}

/* ---- files ---- */

static struct bytes read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s is missing; see tests/servers/make-corpus\n", path);
        abort();
    }
    char *data = mem_alloc(64 * 1024);
    size_t len = fread(data, 1, 64 * 1024, file);
    fclose(file);
    char *exact = mem_alloc(len); /* so that a sanitizer sees a step too far */
    memcpy(exact, data, len);
    free(data);
    return bytes_of(exact, len);
}

static void each_of_server(const char *server, rdb_value_fn *call, void *ctx) {
    char *path = mem_printf("%s/unit/data/rdb/%s.json", tests_directory, server);
    json_error_t error;
    json_t *all = json_load_file(path, JSON_ALLOW_NUL, &error), *expected;
    const char *name;
    if (all == NULL) {
        fprintf(stderr, "%s: %s\n", path, error.text);
        abort();
    }
    free(path);
    json_object_foreach(all, name, expected) {
        path = mem_printf("%s/fuzz/corpus/fuzz_decode/%s-%s.bin", tests_directory, server, name);
        struct bytes payload = read_file(path);
        call(ctx, server, name, payload, expected);
        free((char *)payload.ptr);
        free(path);
    }
    json_decref(all);
}

void rdb_values_each(rdb_value_fn *call, void *ctx) {
    char *path = mem_printf("%s/unit/data/rdb", tests_directory);
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    if (n <= 2) abort();
    for (int i = 0; i < n; i++) {
        char *end = strstr(names[i]->d_name, ".json");
        if (end != NULL) {
            *end = '\0';
            each_of_server(names[i]->d_name, call, ctx);
        }
        free(names[i]);
    }
    free(names);
    free(path);
}

/* ---- JSON ---- */

/* UTF-8 of characters with the numbers of the bytes; *len its length. */
static char *utf8_of(struct bytes b, size_t *len) {
    char *out = mem_alloc(2 * b.len + 1);
    *len = 0;
    for (size_t i = 0; i < b.len; i++) {
        unsigned char c = (unsigned char)b.ptr[i];
        if (c < 0x80) {
            out[(*len)++] = (char)c;
        } else {
            out[(*len)++] = (char)(0xc0 | c >> 6);
            out[(*len)++] = (char)(0x80 | (c & 63));
        }
    }
    out[*len] = '\0';
    return out;
}

static json_t *json_of(struct bytes b) {
    size_t len;
    char *text = utf8_of(b, &len);
    json_t *json = json_stringn(text, len);
    free(text);
    return json;
}

/* Names hold no NUL in the corpus. */
static void set_new(json_t *object, struct bytes name, json_t *value) {
    size_t len;
    char *text = utf8_of(name, &len);
    json_object_set_new(object, text, value);
    free(text);
}

static json_t *child(json_t *object, const char *name, json_t *fresh) {
    json_t *found = json_object_get(object, name);
    if (found != NULL) {
        json_decref(fresh);
        return found;
    }
    json_object_set_new(object, name, fresh);
    return fresh;
}

static json_t *child_of(json_t *object, struct bytes name) {
    size_t len;
    char *text = utf8_of(name, &len);
    json_t *found = child(object, text, json_object());
    free(text);
    return found;
}

static json_t *json_id(struct stream_id id) {
    char text[48];
    snprintf(text, sizeof(text), "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
    return json_string(text);
}

static bool on_string(void *ctx, struct bytes value, struct err *err) {
    json_object_set_new(ctx, "string", json_of(value));
    return true;
}

static bool on_list_item(void *ctx, struct bytes item, struct err *err) {
    json_array_append_new(child(ctx, "list", json_array()), json_of(item));
    return true;
}

static bool on_set_member(void *ctx, struct bytes member, struct err *err) {
    set_new(child(ctx, "set", json_object()), member, json_true());
    return true;
}

static bool on_zset_member(void *ctx, struct bytes member, double score, struct err *err) {
    char text[32];
    snprintf(text, sizeof(text), "%.17g", score);
    set_new(child(ctx, "zset", json_object()), member, json_string(text));
    return true;
}

static bool on_hash_field(void *ctx, struct bytes field, struct bytes value, int64_t expiry_ms,
                          struct err *err) {
    json_t *pair = json_array();
    json_array_append_new(pair, json_of(value));
    json_array_append_new(pair, json_integer(expiry_ms));
    set_new(child(ctx, "hash", json_object()), field, pair);
    return true;
}

static bool on_stream_entry(void *ctx, struct stream_id id, size_t n, const struct bytes *fields,
                            struct err *err) {
    json_t *stream = child(ctx, "stream", json_object()), *entry = json_array();
    json_array_append_new(entry, json_id(id));
    for (size_t i = 0; i < 2 * n; i++) json_array_append_new(entry, json_of(fields[i]));
    json_array_append_new(child(stream, "entries", json_array()), entry);
    return true;
}

static bool on_stream_info(void *ctx, const struct stream_info *info, struct err *err) {
    json_t *stream = child(ctx, "stream", json_object());
    child(stream, "entries", json_array());
    child(stream, "groups", json_object());
    json_object_set_new(stream, "length", json_integer((json_int_t)info->length));
    json_object_set_new(stream, "last", json_id(info->last));
    if (!info->has_counters) return true;
    json_object_set_new(stream, "added", json_integer((json_int_t)info->entries_added));
    json_object_set_new(stream, "deleted", json_id(info->max_deleted));
    return true;
}

static json_t *group_of(json_t *value, struct bytes name) {
    return child_of(json_object_get(json_object_get(value, "stream"), "groups"), name);
}

static bool on_group(void *ctx, struct bytes group, struct stream_id last, int64_t entries_read,
                     struct err *err) {
    json_t *g = group_of(ctx, group);
    child(g, "consumers", json_object());
    json_object_set_new(g, "last", json_id(last));
    json_object_set_new(g, "read", json_integer(entries_read));
    return true;
}

static bool on_consumer(void *ctx, struct bytes group, struct bytes consumer, int64_t seen_ms,
                        int64_t active_ms, struct err *err) {
    child_of(json_object_get(group_of(ctx, group), "consumers"), consumer);
    return true;
}

static bool on_pending(void *ctx, struct bytes group, struct bytes consumer, struct stream_id id,
                       int64_t delivered_ms, uint64_t deliveries, struct err *err) {
    json_t *pending = child_of(json_object_get(group_of(ctx, group), "consumers"), consumer),
           *pair = json_array();
    json_t *name = json_id(id);
    json_array_append_new(pair, json_integer(delivered_ms));
    json_array_append_new(pair, json_integer((json_int_t)deliveries));
    json_object_set_new(pending, json_string_value(name), pair);
    json_decref(name);
    return true;
}

const struct value_sink *rdb_json_sink(void) {
    static const struct value_sink sink = {
        .on_string = on_string,
        .on_list_item = on_list_item,
        .on_set_member = on_set_member,
        .on_zset_member = on_zset_member,
        .on_hash_field = on_hash_field,
        .on_stream_entry = on_stream_entry,
        .on_stream_info = on_stream_info,
        .on_group = on_group,
        .on_consumer = on_consumer,
        .on_pending = on_pending,
    };
    return &sink;
}

json_t *rdb_value_json(struct bytes payload, size_t chunk, struct err *err) {
    json_t *value = json_object();
    struct decoder *decoder = decoder_new(payload, rdb_json_sink(), value);
    enum decode_status status;
    while ((status = decoder_run(decoder, chunk, err)) == DECODE_MORE) {
    }
    decoder_free(&decoder);
    if (status == DECODE_DONE) return value;
    json_decref(value);
    return NULL;
}
