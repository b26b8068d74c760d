/* Nodes: strings inside a dumped value that hold many elements. */
#include "rdb/decode_priv.h"

bool decode_read_node(struct decoder *d, struct bytes *node, size_t *offset, struct err *err) {
    *offset = d->in.pos;
    return rdb_read_string(&d->in, &d->scratch[SCRATCH_NODE], node, err);
}

bool decode_open_ziplist(struct decoder *d, struct err *err) {
    struct bytes node;
    size_t offset;
    return decode_read_node(d, &node, &offset, err) && ziplist_open(&d->packed, node, offset, err);
}

bool decode_open_listpack(struct decoder *d, struct err *err) {
    struct bytes node;
    size_t offset;
    return decode_read_node(d, &node, &offset, err) && listpack_open(&d->packed, node, offset, err);
}
