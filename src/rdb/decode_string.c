/* Strings: type 0, raw, as an integer, or packed. */
#include "rdb/decode_priv.h"

bool decode_string_open(struct decoder *d, struct err *err) {
    struct bytes value;
    if (!rdb_read_string(&d->in, &d->scratch[SCRATCH_VALUE], &value, err)) return false;
    decode_note(d, value.len);
    d->step = NULL;
    return d->sink->on_string == NULL || d->sink->on_string(d->ctx, value, err);
}
