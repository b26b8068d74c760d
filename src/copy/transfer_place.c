/* Placeholders: a server makes a pending entry only for a message that the stream has, and those of
 * deleted and trimmed messages are to arrive too. So where some were lost the copy begins anew and
 * first asks what is pending. Every ID that turns out to be no entry of the source is written as
 * one, claimed like the others, and removed before the stream is put in place.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "copy/transfer_priv.h"

enum { PLACES_MAX = 500000 }; /* 16 bytes each; beyond that the lost ones are told */

static int compare(const void *a, const void *b) {
    const struct entry_id *x = a, *y = b;
    if (x->ms != y->ms) return x->ms < y->ms ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static struct bytes id_text(struct entry_id id, char text[STREAM_ID_MAX]) {
    return bytes_of(text, (size_t)snprintf(text, STREAM_ID_MAX, "%llu-%llu",
                                           (unsigned long long)id.ms, (unsigned long long)id.seq));
}

void places_reset(struct places *p) {
    free(p->ids);
    *p = (struct places){ .wanted = p->wanted };
}

void places_expect(struct places *p, struct bytes text) {
    struct entry_id id;
    if (p->too_many || !stream_id_parse(text, &id.ms, &id.seq) || (id.ms == 0 && id.seq == 0))
        return;
    if (p->n == PLACES_MAX) {
        places_reset(p);
        p->too_many = true;
        return;
    }
    if (p->n == p->cap) {
        p->cap = p->cap == 0 ? 64 : 2 * p->cap;
        p->ids = mem_array(p->ids, p->cap, sizeof(*p->ids));
    }
    p->ids[p->n++] = id;
}

/* Several groups may wait for the same message. */
void places_sort(struct places *p) {
    size_t kept = 0;
    if (p->n == 0) return;
    qsort(p->ids, p->n, sizeof(*p->ids), compare);
    for (size_t i = 1; i < p->n; i++)
        if (compare(&p->ids[i], &p->ids[kept]) != 0) p->ids[++kept] = p->ids[i];
    p->n = kept + 1;
}

void places_until(struct transfer *t, struct bytes end_text, bool end_is_entry) {
    struct places *p = &t->places;
    struct entry_id end;
    char text[STREAM_ID_MAX];
    if (p->at == p->n || !stream_id_parse(end_text, &end.ms, &end.seq)) return;
    for (; p->at < p->n; p->at++) {
        struct entry_id id = p->ids[p->at];
        int order = compare(&id, &end);
        if (order > 0) return;
        if (order == 0 && end_is_entry) continue;
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XADD"), t->to, id_text(id, text),
                      BYTES_LITERAL("gone"), BYTES_LITERAL(""));
        p->ids[p->placed++] = id;
    }
}

static void write_deletion(struct transfer *t, const struct entry_id *ids, size_t n) {
    char text[STREAM_ID_MAX];
    struct outq *out = transfer_write(t);
    resp_write_head(out, 2 + n);
    resp_write_literal(out, "XDEL");
    resp_write_arg(out, t->to);
    for (size_t i = 0; i < n; i++) resp_write_arg(out, id_text(ids[i], text));
    transfer_written(t, &transfer_step_none);
}

void places_delete(struct transfer *t, const char *from) {
    const struct places *p = &t->places;
    struct entry_id first = { 0 };
    size_t most = t->lane->plan->max_args - 2, i = 0;
    if (most > CLAIM_IDS_MAX) most = CLAIM_IDS_MAX;
    stream_id_parse(bytes_of_str(from), &first.ms, &first.seq);
    while (i < p->placed && compare(&p->ids[i], &first) < 0) i++;
    while (i < p->placed) {
        size_t n = p->placed - i < most ? p->placed - i : most;
        write_deletion(t, p->ids + i, n);
        i += n;
    }
}
