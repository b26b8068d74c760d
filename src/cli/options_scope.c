/* The part of the source that a job keeps on the target: as a filter for its lanes, and as the
 * canonical text by which two jobs are told apart.
 *
 * The text is made from the rows of options.def whose effect is CONTENT, and from the databases of
 * both endpoints. Equal choices give equal text however they were written: lists are sorted and
 * free of duplicates, slots become ranges, an option that has its default value is left out. So a
 * new option with a default does not change the identity of the jobs that exist. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/options_priv.h"

struct key_filter options_filter(const struct options *o) {
    return (struct key_filter){ .pattern = o->key_pattern,
                                .include = o->key_include.items,
                                .n_include = o->key_include.n,
                                .exclude = o->key_exclude.items,
                                .n_exclude = o->key_exclude.n,
                                .slots = o->key_slots.given ? &o->key_slots.set : NULL,
                                .types = o->key_types.items,
                                .n_types = o->key_types.n };
}

/* Bytes that are no UTF-8 as {"hex": "ff00"}, so that no other text looks the same. */
static json_t *scope_text(const char *text) {
    json_t *json = json_string(text);
    if (json != NULL) return json;
    size_t len = strlen(text);
    char *hex = mem_alloc(2 * len + 1);
    for (size_t i = 0; i < len; i++) snprintf(hex + 2 * i, 3, "%02x", (unsigned char)text[i]);
    json = json_pack("{ss}", "hex", hex);
    free(hex);
    return json;
}

static int scope_compare_texts(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static json_t *scope_list(const struct opt_list *list) {
    if (list->n == 0) return NULL;
    json_t *json = json_array();
    char **sorted = mem_array(NULL, list->n, sizeof(*sorted));
    memcpy(sorted, list->items, list->n * sizeof(*sorted));
    qsort(sorted, list->n, sizeof(*sorted), scope_compare_texts);
    for (size_t i = 0; i < list->n; i++)
        if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0)
            json_array_append_new(json, scope_text(sorted[i]));
    free(sorted);
    return json;
}

/* "0-99,200": ascending, ranges as long as they can be. */
static json_t *scope_slots(const struct opt_slots *slots) {
    if (!slots->given || slot_set_count(&slots->set) == SLOT_COUNT) return NULL;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (unsigned first = 0, n = 0; first < SLOT_COUNT; first++) {
        if (!slot_set_has(&slots->set, (uint16_t)first)) continue;
        unsigned last = first;
        while (last + 1 < SLOT_COUNT && slot_set_has(&slots->set, (uint16_t)(last + 1))) last++;
        fprintf(out, last > first ? "%s%u-%u" : "%s%u", n++ > 0 ? "," : "", first, last);
        first = last;
    }
    fclose(out);
    json_t *json = json_string(text);
    free(text);
    return json;
}

/* "all", "0,3,5", or "2->5" where both endpoints name a database of their own. */
static json_t *scope_databases(const struct opt_databases *databases, int source_db,
                               int target_db) {
    if (databases->all) return json_string("all");
    if (databases->n == 0)
        return source_db == target_db ? json_sprintf("%d", source_db)
                                      : json_sprintf("%d->%d", source_db, target_db);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; i < databases->n; i++)
        fprintf(out, "%s%d", i > 0 ? "," : "", databases->dbs[i]);
    fclose(out);
    json_t *json = json_string(text);
    free(text);
    return json;
}

/* [0,3]: databases that the job writes to, for the search for jobs that write there too; NULL for
 * all. */
static json_t *scope_target_databases(const struct opt_databases *databases, int target_db) {
    if (databases->all) return NULL;
    if (databases->n == 0) return json_pack("[i]", target_db);
    json_t *json = json_array();
    for (size_t i = 0; i < databases->n; i++)
        json_array_append_new(json, json_integer(databases->dbs[i]));
    return json;
}

static void choice_word(const struct option *option, int index, char word[OPTION_WORD_MAX]) {
    const char *words = option->limits.words;
    for (int i = 0; i <= index; i++) option_next_word(&words, word);
}

static json_t *scope_word(const struct option *option, int index) {
    char word[OPTION_WORD_MAX] = "";
    choice_word(option, index, word);
    return json_string(word);
}

char *options_word(const struct options *options, const char *name) {
    const struct option *option = option_find(name, strlen(name), options->command);
    char word[OPTION_WORD_MAX] = "";
    choice_word(option, *(const int *)((const char *)options + option->offset), word);
    return mem_strdup(word);
}

static bool scope_is_default(const struct option *option, const void *field, size_t size) {
    char value[sizeof(int64_t)] = { 0 };
    if (option->text != NULL) option_value_parse(option, value, option->text, option->name, NULL);
    return memcmp(value, field, size) == 0;
}

/* NULL where the option has its default value. */
static json_t *scope_value(const struct option *option, const void *field) {
    switch (option->type) {
    case OPTION_FLAG:
        return *(const bool *)field ? json_true() : NULL;
    case OPTION_NUMBER:
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_CHOICES:
        return scope_is_default(option, field, sizeof(int64_t))
                   ? NULL
                   : json_integer(*(const json_int_t *)field);
    case OPTION_CHOICE:
        return scope_is_default(option, field, sizeof(int))
                   ? NULL
                   : scope_word(option, *(const int *)field);
    case OPTION_STRING:
    case OPTION_SECRET:
        return *(char *const *)field == NULL ? NULL : scope_text(*(char *const *)field);
    case OPTION_LIST:
    case OPTION_TYPES:
        return scope_list(field);
    case OPTION_SLOTS:
        return scope_slots(field);
    case OPTION_RANGE:
    case OPTION_SIZES:
    case OPTION_DURATIONS: {
        const struct int_range *range = field;
        return json_pack("[II]", (json_int_t)range->first, (json_int_t)range->last);
    }
    case OPTION_DATABASES:
        break; /* scope_databases() */
    }
    return NULL;
}

char *options_scope(const struct options *options, int source_db, int target_db) {
    json_t *scope = json_object();
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (option->effect != OPTION_EFFECT_CONTENT || !option_belongs_to(option, options->command))
            continue;
        json_t *value = scope_value(option, (const char *)options + option->offset);
        const char *name = option->type == OPTION_SLOTS ? "slots" : option->name;
        if (value != NULL) json_object_set_new(scope, name, value);
    }
    /* The same job: started with liveonly and then with live, it makes up for the first copy. */
    if (options->mode == OPT_MODE_LIVEONLY) json_object_set_new(scope, "mode", json_string("live"));
    json_t *target_databases = scope_target_databases(&options->databases, target_db);
    if (target_databases != NULL) json_object_set_new(scope, "target_databases", target_databases);
    json_object_set_new(scope, "databases",
                        scope_databases(&options->databases, source_db, target_db));
    char *text = json_dumps(scope, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);
    json_decref(scope);
    return text;
}
