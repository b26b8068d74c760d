/* Placeholders. A server makes a pending entry only for a message that its stream has, but pending
 * entries of deleted and trimmed messages must be copied too. So if an attempt lost some, the copy
 * begins again and first reads all pending entries. Each ID that is no entry of the source is
 * written as an entry, claimed like the others, and deleted before the stream is put in place.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "copy/transfer_priv.h"

enum { PLACES_MAX = 500000 }; /* 16 bytes each; beyond it lost entries are reported */

static int compare_places(const void *a, const void *b) {
    return stream_id_compare(*(const struct stream_id *)a, *(const struct stream_id *)b);
}

void places_reset(struct places *p) {
    free(p->ids);
    *p = (struct places){ .wanted = p->wanted };
}

void places_expect(struct places *p, struct bytes text) {
    struct stream_id id;
    if (p->too_many || !stream_id_parse(text, &id) || stream_id_is_zero(id)) return;
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

/* The same message may be pending in several groups. */
void places_sort(struct places *p) {
    size_t kept = 0;
    if (p->n == 0) return;
    qsort(p->ids, p->n, sizeof(*p->ids), compare_places);
    for (size_t i = 1; i < p->n; i++)
        if (stream_id_compare(p->ids[i], p->ids[kept]) != 0) p->ids[++kept] = p->ids[i];
    p->n = kept + 1;
}

void places_until(struct transfer *t, struct stream_id end, bool end_is_entry) {
    struct places *p = &t->places;
    char text[STREAM_ID_TEXT_MAX];
    for (; p->at < p->n; p->at++) {
        struct stream_id id = p->ids[p->at];
        int order = stream_id_compare(id, end);
        if (order > 0) return;
        if (order == 0 && end_is_entry) continue;
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XADD"), t->to,
                      stream_id_text(id, text), BYTES_LITERAL("gone"), BYTES_LITERAL(""));
        p->ids[p->placed++] = id;
    }
}

static void places_write_deletion(struct transfer *t, const struct stream_id *ids, size_t n) {
    char text[STREAM_ID_TEXT_MAX];
    struct outq *out = transfer_write(t);
    resp_write_head(out, 2 + n);
    resp_write_literal(out, "XDEL");
    resp_write_arg(out, t->to);
    for (size_t i = 0; i < n; i++) resp_write_arg(out, stream_id_text(ids[i], text));
    transfer_written(t, &transfer_step_none);
}

void places_delete(struct transfer *t, struct stream_id from) {
    const struct places *p = &t->places;
    size_t most = t->flight->plan->max_args - 2, i = 0;
    if (most > CLAIM_IDS_MAX) most = CLAIM_IDS_MAX;
    while (i < p->placed && stream_id_compare(p->ids[i], from) < 0) i++;
    while (i < p->placed) {
        size_t n = p->placed - i < most ? p->placed - i : most;
        places_write_deletion(t, p->ids + i, n);
        i += n;
    }
}
