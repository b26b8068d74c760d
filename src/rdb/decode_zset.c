/* Sorted sets: member and score one by one, with scores as text (3) or in binary (5), as one
 * ziplist (12), as one listpack (17).
 */
#include "rdb/decode_priv.h"

static bool zset_hand_member(struct decoder *d, struct bytes member, double score,
                             struct err *err) {
    decode_note(d, member.len + sizeof(score));
    return d->sink->on_zset_member == NULL || d->sink->on_zset_member(d->ctx, member, score, err);
}

static bool zset_step_plain(struct decoder *d, struct err *err) {
    struct bytes member;
    double score;
    if (d->left == 0) {
        d->step = NULL;
        return true;
    }
    d->left--;
    if (!rdb_read_string(&d->in, &d->scratch[SCRATCH_FIELD], &member, err)) return false;
    bool ok = d->type == RDB_ZSET ? rdb_read_double_text(&d->in, &score, err)
                                  : rdb_read_double(&d->in, &score, err);
    return ok && zset_hand_member(d, member, score, err);
}

static bool zset_step_packed(struct decoder *d, struct err *err) {
    struct packed_item member, score;
    double number;
    if (!packed_has_more(&d->packed)) {
        d->step = NULL;
        return true;
    }
    return packed_next(&d->packed, &member, err) && packed_next(&d->packed, &score, err) &&
           packed_double(&d->packed, &score, &number, err) &&
           zset_hand_member(d, packed_bytes(&member), number, err);
}

bool decode_zset_open(struct decoder *d, struct err *err) {
    if (d->type == RDB_ZSET || d->type == RDB_ZSET_2) {
        d->step = zset_step_plain;
        return rdb_read_count(&d->in, 2, &d->left, err);
    }
    d->step = zset_step_packed;
    return d->type == RDB_ZSET_ZIPLIST ? decode_open_ziplist(d, err) : decode_open_listpack(d, err);
}
