/* Sets: member by member (2), as one intset (11), as one listpack (20). */
#include "rdb/decode_priv.h"
#include "rdb/intset.h"

static bool set_hand_member(struct decoder *d, struct bytes member, struct err *err) {
    decode_note(d, member.len);
    return d->sink->on_set_member == NULL || d->sink->on_set_member(d->ctx, member, err);
}

static bool set_step_plain(struct decoder *d, struct err *err) {
    struct bytes member;
    if (d->left == 0) {
        d->step = NULL;
        return true;
    }
    d->left--;
    return rdb_read_string(&d->in, &d->scratch[SCRATCH_VALUE], &member, err) &&
           set_hand_member(d, member, err);
}

static bool step_intset(struct decoder *d, struct err *err) {
    char text[RDB_NUMBER_TEXT_MAX];
    if (rdb_left(&d->node) == 0) {
        d->step = NULL;
        return true;
    }
    const unsigned char *p = rdb_take(&d->node, (uint64_t)d->number_bytes, err);
    return p != NULL &&
           set_hand_member(d, rdb_number_text(rdb_le_signed(p, d->number_bytes), text), err);
}

static bool step_listpack(struct decoder *d, struct err *err) {
    struct packed_item item;
    if (!packed_has_more(&d->packed)) {
        d->step = NULL;
        return true;
    }
    return packed_next(&d->packed, &item, err) && set_hand_member(d, packed_bytes(&item), err);
}

bool decode_set_open(struct decoder *d, struct err *err) {
    if (d->type == RDB_SET) {
        d->step = set_step_plain;
        return rdb_read_count(&d->in, 1, &d->left, err);
    }
    if (d->type == RDB_SET_LISTPACK) {
        d->step = step_listpack;
        return decode_open_listpack(d, err);
    }
    struct bytes blob;
    size_t offset;
    d->step = step_intset;
    return decode_read_node(d, &blob, &offset, err) &&
           intset_open(&d->node, &d->number_bytes, blob, offset, err);
}
