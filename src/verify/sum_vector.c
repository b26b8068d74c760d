/* Vector sets (redis 8.0): their members in no order, each with its stored vector and its
 * attributes. The graph between them is left out: it is made by chance, and even DUMP after RESTORE
 * shows another one.
 *
 *   VINFO ─▶ VRANDMEMBER (all names) ─▶ per batch of names: VEMB RAW and VGETATTR
 *
 * Source: the vector sets' command pages. Names are kept in the block that they arrived in. */
#include "verify/sum_priv.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

enum { NUMBER_TEXT_MAX = 24, VECTOR_BATCH = 200 };

static void next_batch(struct sum *s);

/* The name of the vector's form, its bytes, then numbers. */
static void take_vector(struct sum *s, struct digest member, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item word;
    for (int i = 0; resp_next(&c, &word); i++)
        member = i < 2 ? digest_chain(member, word.str) : digest_chain_score(member, word.str);
    sum_add(s, SUM_ELEMENTS, member);
}

static void take_attributes(struct sum *s, struct digest member, const struct reply *reply) {
    if (resp_is_string(&reply->item))
        sum_add(s, SUM_ATTRIBUTES, digest_chain(member, reply->item.str));
}

/* All answers of a batch are waited for, also after an error: the value lives until the last. arg
 * is twice the member's place in the batch, and one more for its attributes. */
static void on_member(void *ctx, void *arg, const struct reply *reply) {
    struct sum *s = ctx;
    uintptr_t which = (uintptr_t)arg;
    s->due--;
    if (reply->err != NULL) {
        s->trouble = *reply->err;
    } else if (resp_is_error(&reply->item)) {
        client_reply_error(s->request.client, &reply->item, &s->trouble);
    } else if (which % 2 == 0) {
        take_vector(s, s->fields[which / 2], reply);
    } else {
        take_attributes(s, s->fields[which / 2], reply);
    }
    if (s->due > 0) return;
    if (s->trouble.code != ERR_NONE) {
        sum_fail(s, &s->trouble);
    } else {
        next_batch(s);
    }
}

static void vector_ask(struct sum *s, uintptr_t which, size_t argc, const struct bytes *words) {
    struct client *client = s->request.client;
    if (s->due > 0 && s->request.asking) client_asking(client);
    client_command(client, on_member, s, (void *)which, argc, words);
    s->due++;
}

static void next_batch(struct sum *s) {
    struct resp_item name;
    s->n_fields = 0;
    if (s->names_at.pos == s->names_at.end) {
        sum_finish(s);
        return;
    }
    if (!sum_prepare(s)) {
        sum_fail(s, client_last_error(s->request.client));
        return;
    }
    while (s->n_fields < VECTOR_BATCH && resp_next(&s->names_at, &name)) {
        uintptr_t which = 2 * s->n_fields;
        sum_keep_field(s, digest_chain((struct digest){ 0 }, name.str));
        const struct bytes vector[] = { BYTES_LITERAL("VEMB"), s->request.key, name.str,
                                        BYTES_LITERAL("RAW") };
        const struct bytes attributes[] = { BYTES_LITERAL("VGETATTR"), s->request.key, name.str };
        vector_ask(s, which, 4, vector);
        vector_ask(s, which + 1, 3, attributes);
    }
}

static void on_names(struct sum *s, const struct reply *reply) {
    s->names = block_ref(reply->block);
    s->names_at = reply->cursor;
    next_batch(s);
}

/* The parameters that were chosen when the set was made. */
static void on_info(struct sum *s, const struct reply *reply) {
    static const char *const lasting[] = { "quant-type", "hnsw-m", "vector-dim",
                                           "projection-input-dim" };
    struct resp_cursor c = reply->cursor;
    struct resp_item name, value;
    while (resp_next(&c, &name) && resp_next(&c, &value))
        for (size_t i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++)
            if (bytes_equal_str(name.str, lasting[i])) sum_append(s, SUM_PARAMETERS, value.str);
    char count[NUMBER_TEXT_MAX];
    snprintf(count, sizeof(count), "%" PRIu64, s->length);
    SUM_SEND(s, on_names, BYTES_LITERAL("VRANDMEMBER"), s->request.key, bytes_of_str(count));
}

void sum_read_vectors(struct sum *s) {
    SUM_SEND(s, on_info, BYTES_LITERAL("VINFO"), s->request.key);
}
