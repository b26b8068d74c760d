/* One key of `longhaul generate`: from its number to the commands that write it.
 *
 * Everything about a key follows from (seed, number, round): its type from the number alone, so
 * that a key keeps its type while it is written again and again; sizes, contents and expiry from
 * all three. Commands are made one at a time, each of bounded size, so that a key of any length
 * needs little memory; making them anew gives the same ones again. */
#ifndef LONGHAUL_GENERATE_KEY_H
#define LONGHAUL_GENERATE_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/outq.h"
#include "generate/random.h"
#include "generate/settings.h"

enum {
    GEN_COMMAND_BYTES = 64 * 1024, /* a command is ended when its elements exceed this */
    GEN_CLAIM_MAX = 50,            /* entries of one XCLAIM */
};

/* The settings, made ready for use; the same for all keys. Borrows the settings. */
struct gen_plan {
    const struct gen_settings *settings;
    enum gen_type types[GEN_TYPES];
    int n_types;
    const int *dbs; /* databases that keys are spread over */
    int n_dbs;
};

void gen_plan_init(struct gen_plan *plan, const struct gen_settings *settings, const int *dbs,
                   int n_dbs);
/* "string", "list", ...; for people and JSON. */
const char *gen_type_name(enum gen_type type);

/* The first round writes every key; later rounds behave like applications. */
enum gen_action { GEN_WRITE, GEN_CHANGE, GEN_EXPIRE, GEN_DELETE, GEN_ACTIONS };

struct gen_key {
    const struct gen_plan *plan;
    uint64_t number, round;
    enum gen_type type;
    enum gen_action action;
    int db;
    char *name; /* owned */
    size_t name_len;

    struct gen_random random;
    enum gen_content content;
    struct int_range sizes;
    int64_t elements, done;
    int64_t expire_ms; /* 0: none */
    bool integers;     /* elements are numbers */
    bool at_head;      /* a list that is filled from its head */
    int step;
    int groups, group, consumers, consumer; /* of a stream */
};

void gen_key_init(struct gen_key *key, const struct gen_plan *plan, uint64_t number,
                  uint64_t round);
void gen_key_fini(struct gen_key *key);
/* Begins again with the first command. */
void gen_key_restart(struct gen_key *key);

static inline struct bytes gen_key_name(const struct gen_key *key) {
    return bytes_of(key->name, key->name_len);
}

/* Writes the next command; false when there is none left. */
bool gen_key_next(struct gen_key *key, struct outq *out);

#endif
