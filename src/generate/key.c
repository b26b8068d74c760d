/* See generate_key.h. A key that is no plain string is removed first, filled in as many commands as
 * it takes, and given its expiry last:
 *
 *   STEP_BEGIN ─▶ STEP_ELEMENTS ... ─▶ (STEP_GROUPS ...) ─▶ STEP_EXPIRE ─▶ STEP_END
 */
#include "generate/key.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "resp/writer.h"

enum { STEP_BEGIN, STEP_ELEMENTS, STEP_GROUPS, STEP_TRIM, STEP_EXPIRE, STEP_END };

enum {
    /* fits in the compact encodings (listpack-value 64) and in embedded strings (44) */
    GEN_SMALL_VALUE = 40,
    GEN_MANY_ELEMENTS = 600,  /* too many for the compact encodings (listpack-entries 128 to 512) */
    GEN_MANY_PERCENT = 5,     /* of keys, where --elements was not given */
    GEN_DENSE_ELEMENTS = 8000 /* turns a hyperloglog dense */
};

/* Identifiers of stream entries: any fixed moment will do. A round has this many of its own. */
#define GEN_STREAM_MS INT64_C(1700000000000)
#define GEN_ROUND_IDS INT64_C(1000000000)

static const char *const type_names[GEN_TYPES] = { "string", "list",   "hash",        "set",
                                                   "zset",   "stream", "hyperloglog", "bitmap",
                                                   "geo",    "counter" };

const char *gen_type_name(enum gen_type type) {
    return type_names[type];
}

void gen_plan_init(struct gen_plan *plan, const struct gen_settings *settings, const int *dbs,
                   int n_dbs) {
    *plan = (struct gen_plan){ .settings = settings, .dbs = dbs, .n_dbs = n_dbs };
    for (int type = 0; type < GEN_TYPES; type++)
        if ((settings->types >> type) & 1) plan->types[plan->n_types++] = (enum gen_type)type;
}

/* ---- properties of a key ---- */

static void name_key(struct gen_key *k) {
    const char *prefix = k->plan->settings->key_prefix;
    char *text =
        mem_printf("%s%s:%" PRIu64, prefix != NULL ? prefix : "", type_names[k->type], k->number);
    k->name = text;
    k->name_len = strlen(text);
    if (!k->plan->settings->binary_keys) return;
    /* Behind the name: a NUL, a line's end, a byte that is no UTF-8, and some by chance. */
    static const char odd[] = { '\0', '\r', '\n', (char)0xff };
    struct gen_random random;
    gen_random_seed(&random, (uint64_t)k->plan->settings->seed, k->number, UINT64_C(0x6e616d65));
    k->name = mem_realloc(text, k->name_len + sizeof(odd) + 8);
    memcpy(k->name + k->name_len, odd, sizeof(odd));
    k->name_len += sizeof(odd);
    size_t more = (size_t)gen_random_below(&random, 8);
    gen_random_fill(&random, GEN_BINARY, k->name + k->name_len, more);
    k->name_len += more;
}

static int64_t draw_elements(struct gen_key *k) {
    struct gen_random *r = &k->random;
    const struct gen_settings *o = k->plan->settings;
    if (!k->plan->settings->mixed_elements || !gen_random_chance(r, GEN_MANY_PERCENT))
        return gen_random_range(r, o->elements.first, o->elements.last);
    int64_t many = k->type == GEN_HYPERLOGLOG ? GEN_DENSE_ELEMENTS : GEN_MANY_ELEMENTS;
    return gen_random_range(r, many, many + many / 4);
}

static enum gen_action draw_action(struct gen_random *r, uint64_t round) {
    if (round == 0) return GEN_WRITE;
    uint64_t n = gen_random_below(r, 100);
    if (n < 60) return GEN_WRITE;
    if (n < 85) return GEN_CHANGE;
    return n < 92 ? GEN_EXPIRE : GEN_DELETE;
}

void gen_key_restart(struct gen_key *k) {
    const struct gen_settings *o = k->plan->settings;
    struct gen_random *r = &k->random;
    gen_random_seed(r, (uint64_t)o->seed, k->number, k->round);
    k->action = draw_action(r, k->round);
    k->content = (enum gen_content)gen_random_below(r, GEN_CONTENTS);
    k->sizes = o->value_size_bytes;
    k->integers = gen_random_chance(r, 12) && k->plan->settings->mixed_sizes;
    bool small =
        (gen_random_chance(r, 50) || k->type == GEN_HYPERLOGLOG) && k->plan->settings->mixed_sizes;
    if (small) k->sizes = (struct int_range){ 1, GEN_SMALL_VALUE };
    k->elements = draw_elements(k);
    k->expire_ms = gen_random_chance(r, o->expire_share)
                       ? gen_random_range(r, o->expire_ms.first, o->expire_ms.last)
                       : 0;
    k->at_head = gen_random_chance(r, 25);
    k->groups = k->type == GEN_STREAM ? (int)gen_random_below(r, 4) : 0;
    k->done = 0;
    k->step = STEP_BEGIN;
    k->group = k->consumer = 0;
    k->consumers = (int)gen_random_range(r, 1, 3);
}

void gen_key_init(struct gen_key *k, const struct gen_plan *plan, uint64_t number, uint64_t round) {
    *k = (struct gen_key){ .plan = plan, .number = number, .round = round };
    k->type = plan->types[number % (uint64_t)plan->n_types];
    /* Not by the same remainder as the type, or a database would hold only some types. */
    k->db = plan->dbs[number / (uint64_t)plan->n_types % (uint64_t)plan->n_dbs];
    name_key(k);
    gen_key_restart(k);
}

void gen_key_fini(struct gen_key *k) {
    free(k->name);
    k->name = NULL;
}

/* ---- arguments ---- */

static void put_word(struct outq *out, const char *word) {
    resp_write_arg(out, bytes_of_str(word));
}

static void gen_put_head(const struct gen_key *k, struct outq *out, size_t argc,
                         const char *command) {
    resp_write_head(out, argc);
    put_word(out, command);
    resp_write_arg(out, gen_key_name(k));
}

/* A value whose first bytes are `head`, as far as they fit. */
static void fill_value(struct gen_key *k, const char *head, char *value, size_t len) {
    size_t head_len = strlen(head) < len ? strlen(head) : len;
    memcpy(value, head, head_len);
    gen_random_fill(&k->random, k->content, value + head_len, len - head_len);
}

static void put_value(struct gen_key *k, struct outq *out, const char *head) {
    size_t len = (size_t)gen_random_range(&k->random, k->sizes.first, k->sizes.last);
    if (len < OUTQ_REF_MIN) {
        char value[OUTQ_REF_MIN];
        fill_value(k, head, value, len);
        resp_write_arg(out, bytes_of(value, len));
        return;
    }
    struct block *block = block_new(len);
    fill_value(k, head, block->data, len);
    resp_write_arg_ref(out, block, bytes_of(block->data, len));
    block_unref(&block);
}

static void put_number(struct gen_key *k, struct outq *out) {
    /* Of all widths: integer encodings have several. */
    int bits = (int)gen_random_range(&k->random, 4, 62);
    int64_t number = (int64_t)gen_random_below(&k->random, UINT64_C(1) << bits);
    resp_write_arg_i64(out, gen_random_chance(&k->random, 30) ? -number : number);
}

/* A member that its index makes unlike the others, where the size leaves room for it. */
static void put_member(struct gen_key *k, struct outq *out, int64_t index) {
    char head[32];
    if (k->integers) {
        put_number(k, out);
        return;
    }
    snprintf(head, sizeof(head), "%" PRId64 ":", index);
    put_value(k, out, head);
}

static void put_score(struct gen_key *k, struct outq *out) {
    uint64_t n = gen_random_below(&k->random, 40);
    char text[32];
    if (n == 0) {
        put_word(out, "inf");
    } else if (n == 1) {
        put_word(out, "-inf");
    } else if (n < 20) {
        resp_write_arg_i64(out, gen_random_range(&k->random, -1000, 1000));
    } else {
        snprintf(text, sizeof(text), "%.17g",
                 (double)gen_random_range(&k->random, -1000000000, 1000000000) / 977.0);
        put_word(out, text);
    }
}

/* Longitude and latitude, whole degrees and thousandths, so that no formatting of floats is in the
 * way. */
static void put_position(struct gen_key *k, struct outq *out) {
    const int64_t bounds[] = { 179, 84 };
    for (int i = 0; i < 2; i++) {
        char text[32];
        int64_t degrees = gen_random_range(&k->random, -bounds[i], bounds[i]);
        snprintf(text, sizeof(text), "%" PRId64 ".%03" PRId64, degrees,
                 gen_random_range(&k->random, 0, 999));
        put_word(out, text);
    }
}

static void put_field(struct outq *out, int64_t index) {
    char field[32];
    snprintf(field, sizeof(field), "field:%" PRId64, index);
    put_word(out, field);
}

static void put_entry_id(const struct gen_key *k, struct outq *out, int64_t index) {
    char id[64];
    int64_t ms = GEN_STREAM_MS + (int64_t)k->round * GEN_ROUND_IDS + index / 4;
    snprintf(id, sizeof(id), "%" PRId64 "-%" PRId64, ms, index % 4 + 1);
    put_word(out, id);
}

/* ---- whole values ---- */

static void write_plain(struct gen_key *k, struct outq *out) {
    gen_put_head(k, out, k->expire_ms > 0 ? 5 : 3, "SET");
    if (k->type == GEN_COUNTER || k->integers) {
        put_number(k, out);
    } else {
        put_value(k, out, "");
    }
    if (k->expire_ms == 0) return;
    put_word(out, "PX");
    resp_write_arg_i64(out, k->expire_ms);
}

/* ---- elements ---- */

struct element_command {
    const char *name;
    size_t words; /* arguments of one element */
};

static struct element_command element_command(const struct gen_key *k) {
    switch (k->type) {
    case GEN_LIST:
        return (struct element_command){ k->at_head ? "LPUSH" : "RPUSH", 1 };
    case GEN_HASH:
        return (struct element_command){ "HSET", 2 };
    case GEN_SET:
        return (struct element_command){ "SADD", 1 };
    case GEN_ZSET:
        return (struct element_command){ "ZADD", 2 };
    case GEN_HYPERLOGLOG:
        return (struct element_command){ "PFADD", 1 };
    case GEN_BITMAP:
        return (struct element_command){ "BITFIELD", 4 };
    case GEN_GEO:
        return (struct element_command){ "GEOADD", 3 };
    default:
        return (struct element_command){ "XADD", 0 };
    }
}

static void put_bit(struct gen_key *k, struct outq *out) {
    int64_t bits = k->sizes.last * 8;
    put_word(out, "SET");
    put_word(out, "u1");
    resp_write_arg_i64(out, gen_random_range(&k->random, 0, bits > 8 ? bits - 1 : 7));
    put_word(out, "1");
}

static void put_element(struct gen_key *k, struct outq *out, int64_t index) {
    switch (k->type) {
    case GEN_HASH:
        put_field(out, index);
        if (k->integers) {
            put_number(k, out);
        } else {
            put_value(k, out, "");
        }
        return;
    case GEN_ZSET:
        put_score(k, out);
        put_member(k, out, index);
        return;
    case GEN_BITMAP:
        put_bit(k, out);
        return;
    case GEN_GEO:
        put_position(k, out);
        put_member(k, out, index);
        return;
    default:
        put_member(k, out, index);
        return;
    }
}

/* As many elements as fit one command. */
static void write_elements(struct gen_key *k, struct outq *out) {
    struct element_command command = element_command(k);
    int64_t left = k->elements - k->done;
    int64_t by_args = (k->plan->settings->max_args - 2) / (int64_t)command.words;
    int64_t by_bytes = GEN_COMMAND_BYTES / (k->sizes.last + 16) + 1;
    int64_t n = left < by_args ? left : by_args;
    if (n > by_bytes) n = by_bytes;
    gen_put_head(k, out, 2 + (size_t)n * command.words, command.name);
    for (int64_t i = 0; i < n; i++) put_element(k, out, k->done + i);
    k->done += n;
}

/* Most entries have the same fields, which streams store once; some have one more. */
static void gen_write_entry(struct gen_key *k, struct outq *out) {
    bool more = gen_random_chance(&k->random, 20);
    gen_put_head(k, out, more ? 9 : 7, "XADD");
    put_entry_id(k, out, k->done);
    put_field(out, 1);
    put_member(k, out, k->done);
    put_field(out, 2);
    resp_write_arg_i64(out, k->done);
    if (more) {
        put_field(out, k->done + 3);
        put_value(k, out, "");
    }
    k->done++;
}

/* ---- groups of a stream ---- */

static void put_group(const struct gen_key *k, struct outq *out) {
    char name[32];
    snprintf(name, sizeof(name), "group:%d", k->group + 1);
    put_word(out, name);
}

static void gen_write_group(struct gen_key *k, struct outq *out) {
    resp_write_head(out, 5);
    put_word(out, "XGROUP");
    put_word(out, "CREATE");
    resp_write_arg(out, gen_key_name(k));
    put_group(k, out);
    put_entry_id(k, out, gen_random_range(&k->random, 0, k->elements - 1));
}

/* Pending entries by XCLAIM and not by XREADGROUP, because it takes the time of the delivery. Every
 * third entry from the consumer's own on, so that no two have the same; the last entry is nobody's,
 * it may be deleted. */
static void write_claims(struct gen_key *k, struct outq *out) {
    int64_t ids[GEN_CLAIM_MAX];
    int n = 0;
    int max = k->plan->settings->max_args - 12 < GEN_CLAIM_MAX
                  ? (int)k->plan->settings->max_args - 12
                  : GEN_CLAIM_MAX;
    for (int64_t i = k->consumer - 1; i < k->elements - 1 && n < max; i += 3) ids[n++] = i;
    if (n == 0) ids[n++] = 0;
    gen_put_head(k, out, 5 + (size_t)n + 6, "XCLAIM");
    put_group(k, out);
    char name[32];
    snprintf(name, sizeof(name), "consumer:%d", k->consumer);
    put_word(out, name);
    put_word(out, "0");
    for (int i = 0; i < n; i++) put_entry_id(k, out, ids[i]);
    put_word(out, "TIME");
    resp_write_arg_i64(out, GEN_STREAM_MS + gen_random_range(&k->random, 0, 1000000));
    put_word(out, "RETRYCOUNT");
    resp_write_arg_i64(out, gen_random_range(&k->random, 1, 9));
    put_word(out, "FORCE");
    put_word(out, "JUSTID");
}

/* Consumer 0 stands for the group itself. */
static void write_groups(struct gen_key *k, struct outq *out) {
    if (k->consumer == 0) {
        gen_write_group(k, out);
    } else {
        write_claims(k, out);
    }
    if (k->consumer++ < k->consumers) return;
    k->consumer = 0;
    k->group++;
}

static void write_trim(struct gen_key *k, struct outq *out) {
    gen_put_head(k, out, 3, "XDEL");
    put_entry_id(k, out, k->elements - 1);
}

/* ---- the steps of a written key ---- */

static bool write_filled(struct gen_key *k, struct outq *out) {
    bool stream = k->type == GEN_STREAM;
    if (k->step == STEP_BEGIN) {
        gen_put_head(k, out, 2, "UNLINK");
        k->step = STEP_ELEMENTS;
        return true;
    }
    if (k->step == STEP_ELEMENTS && k->done < k->elements) {
        if (stream) {
            gen_write_entry(k, out);
        } else {
            write_elements(k, out);
        }
        return true;
    }
    if (k->step == STEP_ELEMENTS) k->step = STEP_GROUPS;
    if (k->step == STEP_GROUPS && k->group < k->groups) {
        write_groups(k, out);
        return true;
    }
    if (k->step == STEP_GROUPS) k->step = STEP_TRIM;
    if (k->step == STEP_TRIM) {
        k->step = STEP_EXPIRE;
        if (stream && k->elements > 2 && gen_random_chance(&k->random, 30)) {
            write_trim(k, out);
            return true;
        }
    }
    if (k->step == STEP_END || k->expire_ms == 0) return false;
    gen_put_head(k, out, 3, "PEXPIRE");
    resp_write_arg_i64(out, k->expire_ms);
    k->step = STEP_END;
    return true;
}

/* ---- single changes of later rounds ---- */

static void write_removal(struct gen_key *k, struct outq *out) {
    switch (k->type) {
    case GEN_LIST:
        gen_put_head(k, out, 2, "LPOP");
        return;
    case GEN_HASH:
        gen_put_head(k, out, 3, "HDEL");
        put_field(out, 0);
        return;
    case GEN_SET:
        gen_put_head(k, out, 2, "SPOP");
        return;
    default:
        gen_put_head(k, out, 2, "ZPOPMIN");
        return;
    }
}

static void write_change(struct gen_key *k, struct outq *out) {
    bool removable =
        k->type == GEN_LIST || k->type == GEN_HASH || k->type == GEN_SET || k->type == GEN_ZSET;
    if (k->type == GEN_STRING) {
        gen_put_head(k, out, 4, "SETRANGE");
        resp_write_arg_i64(out, 0);
        put_value(k, out, "");
    } else if (k->type == GEN_COUNTER) {
        gen_put_head(k, out, 3, "INCRBY");
        resp_write_arg_i64(out, gen_random_range(&k->random, -9, 9));
    } else if (k->type == GEN_STREAM) {
        gen_write_entry(k, out);
    } else if (removable && gen_random_chance(&k->random, 40)) {
        write_removal(k, out);
    } else {
        k->elements = 1;
        write_elements(k, out);
    }
}

bool gen_key_next(struct gen_key *k, struct outq *out) {
    bool plain = k->type == GEN_STRING || k->type == GEN_COUNTER;
    if (k->action == GEN_WRITE && !plain) return write_filled(k, out);
    if (k->step == STEP_END) return false;
    k->step = STEP_END;
    if (k->action == GEN_WRITE) {
        write_plain(k, out);
    } else if (k->action == GEN_CHANGE) {
        write_change(k, out);
    } else if (k->action == GEN_DELETE) {
        gen_put_head(k, out, 2, "UNLINK");
    } else {
        const struct gen_settings *o = k->plan->settings;
        gen_put_head(k, out, 3, "PEXPIRE");
        resp_write_arg_i64(out,
                           gen_random_range(&k->random, o->expire_ms.first, o->expire_ms.last));
    }
    return true;
}
