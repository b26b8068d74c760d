/* Any bytes as a reply: framing never reads past them and gives the same however they are cut; a
 * framed reply can be walked, and the walk ends where the frame does. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "resp/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In an allocation of exactly that size, so that the sanitizer sees a step too far. */
static enum resp_frame frame_tight(struct resp_framer *framer, const uint8_t *data, size_t size,
                                   struct err *err) {
    char *tight = mem_alloc(size);
    if (size > 0) memcpy(tight, data, size);
    enum resp_frame result = resp_frame(framer, bytes_of(tight, size), err);
    free(tight);
    return result;
}

/* Feeds steps that the data itself chooses; the result must be that of the whole. */
static void check_split(const uint8_t *data, size_t size, enum resp_frame whole, size_t whole_pos,
                        const struct err *whole_err) {
    struct resp_framer framer = { 0 };
    struct err err = { 0 };
    enum resp_frame result = RESP_NEED_MORE;
    for (size_t n = 0; result == RESP_NEED_MORE && n < size;) {
        size_t step = 1 + data[n] % 7;
        n = step < size - n ? n + step : size;
        result = frame_tight(&framer, data, n, &err);
        if (result == RESP_FRAMED && framer.pos > n) abort();
    }
    if (result != whole) abort();
    if (result == RESP_FRAMED && framer.pos != whole_pos) abort();
    if (result == RESP_BAD && strcmp(err.text, whole_err->text) != 0) abort();
}

static void walk(const uint8_t *data, size_t size) {
    char *tight = mem_alloc(size);
    memcpy(tight, data, size);
    struct resp_cursor c = resp_cursor_of(bytes_of(tight, size));
    struct resp_item item;
    int64_t left = 1;
    unsigned sum = 0;
    while (left > 0) {
        if (!resp_next(&c, &item)) abort();
        left += (resp_is_aggregate(&item) ? item.num : 0) - 1;
        for (size_t i = 0; i < item.str.len; i++) sum += (unsigned char)item.str.ptr[i];
    }
    if (c.pos != c.end || resp_next(&c, &item)) abort();
    c = resp_cursor_of(bytes_of(tight, size));
    if (!resp_skip(&c) || c.pos != c.end) abort();
    free(tight);
    if (sum == 1) return; /* the sum is only there to touch every byte */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct resp_framer framer = { 0 };
    struct err err = { 0 };
    if (size == 0) return 0;
    enum resp_frame result = frame_tight(&framer, data, size, &err);
    if (result == RESP_BAD && (err.code != ERR_PROTOCOL || err.text[0] == '\0')) abort();
    if (result == RESP_FRAMED && (framer.pos == 0 || framer.pos > size)) abort();
    check_split(data, size, result, framer.pos, &err);
    if (result == RESP_FRAMED) walk(data, framer.pos);
    return 0;
}
