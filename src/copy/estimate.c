/* See estimate.h. */
#include "copy/estimate.h"

/* The average protects memory, so it rises fast and falls slowly. */
#define VALUE_RISES (1.0 / 16)
#define VALUE_FALLS (1.0 / 256)
#define SHARE_MOVES (1.0 / 256)
/* With fewer strings the attempt to read a key as one costs more than it saves. */
#define STRINGS_WORTH 0.3
/* A size that is so many times the one told was hidden. */
#define HIDDEN_FACTOR 4

void estimate_init(struct estimate *e, uint64_t room_bytes) {
    *e = (struct estimate){ .value_bytes = ESTIMATE_VALUE_BYTES,
                            .string_share = 1,
                            .counted_left = ESTIMATE_MEASURED_AT_START,
                            .measured_left = ESTIMATE_MEASURED_AT_START,
                            .room_bytes = room_bytes };
}

static void estimate_note_kind(struct estimate *e, bool is_string) {
    e->string_share += ((is_string ? 1.0 : 0.0) - e->string_share) * SHARE_MOVES;
}

static void estimate_average(struct estimate *e, double len) {
    e->value_bytes += (len - e->value_bytes) * (len > e->value_bytes ? VALUE_RISES : VALUE_FALLS);
}

void estimate_note_value(struct estimate *e, bool is_string, uint64_t len) {
    estimate_note_kind(e, is_string);
    estimate_average(e, (double)len);
    e->values++;
    if (len >= ESTIMATE_LARGE_BYTES) e->measured_left = ESTIMATE_MEASURED_AFTER_LARGE;
    if (!is_string) return;
    if (len >= ESTIMATE_LARGE_BYTES) estimate_note_large_string(e);
    e->trust.small++;
}

void estimate_note_no_string(struct estimate *e) {
    estimate_note_kind(e, false);
    estimate_average(e, 0);
}

void estimate_note_size(struct estimate *e, uint64_t bytes) {
    if (bytes >= ESTIMATE_LARGE_BYTES) e->measured_left = ESTIMATE_MEASURED_AFTER_LARGE;
}

void estimate_note_large_string(struct estimate *e) {
    e->measured_left = ESTIMATE_MEASURED_AFTER_LARGE;
    e->trust.surprised = true;
}

void estimate_note_hidden(struct estimate *e, uint64_t told_bytes, uint64_t bytes) {
    if (bytes >= ESTIMATE_LARGE_BYTES && bytes / HIDDEN_FACTOR > told_bytes)
        e->counted_left = ESTIMATE_MEASURED_AFTER_LARGE;
}

void estimate_note_lost_connection(struct estimate *e) {
    e->measured_left = ESTIMATE_MEASURED_AFTER_LARGE;
}

void estimate_note_taken(struct estimate *e) {
    if (e->counted_left > 0) e->counted_left--;
    if (e->measured_left > 0) e->measured_left--;
}

bool estimate_expects_strings(const struct estimate *e) {
    return e->string_share >= STRINGS_WORTH;
}

bool estimate_allows_unbounded(const struct estimate *e) {
    return e->value_bytes <= ESTIMATE_BOUNDED_VALUE_BYTES &&
           bounded_is_earned(&e->trust, e->reading_bytes);
}
