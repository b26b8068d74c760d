/* See score.h. */
#include "rdb/score.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "rdb/decode.h"
#include "rdb/decode_priv.h"
#include "rdb/payload.h"

enum { FILLER_RANDOM_LEN = 16, SCORE_TEXT_MAX = 64 };

static char filler[SCORE_FILLER_LEN];

bool score_text_is_negative_zero(struct bytes text) {
    char copy[SCORE_TEXT_MAX];
    if (text.len < 2 || text.len >= sizeof(copy) || text.ptr[0] != '-' || text.ptr[1] != '0')
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return score_is_negative_zero(strtod(copy, NULL));
}

static bool on_member(void *ctx, struct bytes member, double score, struct err *err) {
    *(bool *)ctx |= score_is_negative_zero(score);
    return true;
}

/* Only skiplists, whose scores stand as text (3) or in binary (5), lose the sign. Members may have
 * the same bytes, so a hit is decoded. */
bool payload_has_negative_zero(struct bytes payload) {
    static const char binary[8] = { 0, 0, 0, 0, 0, 0, 0, (char)0x80 }, text[] = { '-', '0' };
    static const struct value_sink sink = { .on_zset_member = on_member };
    unsigned type = payload.len > 0 ? (unsigned char)payload.ptr[0] : 0;
    struct err err;
    bool found = false;
    if (type != RDB_ZSET && type != RDB_ZSET_2) return false;
    const void *hit = type == RDB_ZSET ? memmem(payload.ptr, payload.len, text, sizeof(text))
                                       : memmem(payload.ptr, payload.len, binary, sizeof(binary));
    return hit != NULL && decode_value(payload, &sink, &found, &err) && found;
}

static void make_filler(void) {
    char *random_part = filler + sizeof(filler) - FILLER_RANDOM_LEN;
    memset(filler, '.', sizeof(filler));
    memcpy(filler, "longhaul:", strlen("longhaul:"));
    ssize_t got = getrandom(random_part, FILLER_RANDOM_LEN, 0);
    (void)got;
}

struct bytes score_filler(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_filler);
    return bytes_of(filler, sizeof(filler));
}
