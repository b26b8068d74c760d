/* See stream_id.h. */
#include "rdb/stream_id.h"

#include <inttypes.h>
#include <stdio.h>

/* Takes the digits at the start of the text; false without digits or beyond 64 bits. */
static bool stream_id_take_number(struct bytes *text, uint64_t *number) {
    size_t n = 0;
    *number = 0;
    for (; n < text->len && text->ptr[n] >= '0' && text->ptr[n] <= '9'; n++) {
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, (uint64_t)(text->ptr[n] - '0'), number))
            return false;
    }
    *text = bytes_of(text->ptr + n, text->len - n);
    return n > 0;
}

bool stream_id_parse(struct bytes text, struct stream_id *id) {
    struct stream_id read;
    if (!stream_id_take_number(&text, &read.ms) || text.len == 0 || text.ptr[0] != '-')
        return false;
    text = bytes_of(text.ptr + 1, text.len - 1);
    if (!stream_id_take_number(&text, &read.seq) || text.len > 0) return false;
    *id = read;
    return true;
}

struct bytes stream_id_text(struct stream_id id, char buf[STREAM_ID_TEXT_MAX]) {
    return bytes_of(
        buf, (size_t)snprintf(buf, STREAM_ID_TEXT_MAX, "%" PRIu64 "-%" PRIu64, id.ms, id.seq));
}

bool stream_id_advance(struct stream_id *id) {
    if (id->ms == UINT64_MAX && id->seq == UINT64_MAX) return false;
    if (++id->seq == 0) id->ms++;
    return true;
}
