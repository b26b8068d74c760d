/* Lists: item by item (1), as one ziplist (10), as ziplists in a row (14), and the same with
 * listpacks, where a large item is a node of its own (18).
 */
#include "rdb/decode_priv.h"

enum { CONTAINER_PLAIN = 1, CONTAINER_PACKED = 2 };

static bool hand_item(struct decoder *d, struct bytes item, struct err *err) {
    decode_note(d, item.len);
    return d->sink->on_list_item == NULL || d->sink->on_list_item(d->ctx, item, err);
}

static bool list_step_plain(struct decoder *d, struct err *err) {
    struct bytes item;
    if (d->left == 0) {
        d->step = NULL;
        return true;
    }
    d->left--;
    return rdb_read_string(&d->in, &d->scratch[SCRATCH_VALUE], &item, err) &&
           hand_item(d, item, err);
}

static bool open_node(struct decoder *d, struct err *err) {
    uint64_t container;
    if (d->type != RDB_LIST_QUICKLIST_2) return decode_open_ziplist(d, err);
    if (!rdb_read_len(&d->in, &container, err)) return false;
    if (container == CONTAINER_PACKED) return decode_open_listpack(d, err);
    if (container != CONTAINER_PLAIN)
        return rdb_bad(&d->in, err, "list nodes of kind %u are not known", (unsigned)container);
    struct bytes item;
    return rdb_read_string(&d->in, &d->scratch[SCRATCH_VALUE], &item, err) &&
           hand_item(d, item, err);
}

static bool step_nodes(struct decoder *d, struct err *err) {
    if (packed_has_more(&d->packed)) {
        struct packed_item item;
        return packed_next(&d->packed, &item, err) && hand_item(d, packed_bytes(&item), err);
    }
    if (d->left == 0) {
        d->step = NULL;
        return true;
    }
    d->left--;
    return open_node(d, err);
}

bool decode_list_open(struct decoder *d, struct err *err) {
    d->step = d->type == RDB_LIST ? list_step_plain : step_nodes;
    d->left = 1;
    return d->type == RDB_LIST_ZIPLIST || rdb_read_count(&d->in, 1, &d->left, err);
}
