/* Averages of a lane's data, and the bytes it expects of the values being read now. It decides how
 * the next keys are read: as strings or not, with their size known before or not, and how many at a
 * time. Pure: no clock, no connection. */
#ifndef LONGHAUL_COPY_ESTIMATE_H
#define LONGHAUL_COPY_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#include "copy/bounded.h"

enum {
    ESTIMATE_VALUE_BYTES = 128, /* the average before anything is known */
    /* keys measured before they are read: at the start, and after a large value */
    ESTIMATE_MEASURED_AT_START = 512,
    ESTIMATE_MEASURED_AFTER_LARGE = 100 * 1000,
    ESTIMATE_LARGE_BYTES = 64 * 1024,    /* from here on a value counts as large */
    ESTIMATE_BOUNDED_VALUE_BYTES = 4096, /* larger strings gain nothing by MGET */
};

struct estimate {
    double value_bytes;         /* moving average of a value */
    uint64_t values;            /* that the average is made of */
    double string_share;        /* moving average: the part of the keys that are strings */
    uint64_t counted_left;      /* keys of which many elements are still to be counted */
    uint64_t measured_left;     /* keys still to be measured before they are read */
    struct bounded_trust trust; /* in strings of unknown size */
    uint64_t reading_bytes;     /* expected of everything that is being read */
    uint64_t room_bytes;        /* most that may be */
};

void estimate_init(struct estimate *e, uint64_t room_bytes);

/* A value of so many bytes was read. */
void estimate_note_value(struct estimate *e, bool is_string, uint64_t len);
/* A key that was read as a string is none. */
void estimate_note_no_string(struct estimate *e);
/* A value is this large, as the server says. */
void estimate_note_size(struct estimate *e, uint64_t bytes);
/* A string was large, or may have been: the next ones are measured before they are read. */
void estimate_note_large_string(struct estimate *e);
/* A size that was told turns out to be another: if it hid a large value, many elements of the next
 * keys are counted. */
void estimate_note_hidden(struct estimate *e, uint64_t told_bytes, uint64_t bytes);
/* The server ended the connection for strings, perhaps because one was large: the next keys are
 * measured, which finds it. */
void estimate_note_lost_connection(struct estimate *e);
/* A key is taken up. */
void estimate_note_taken(struct estimate *e);

/* Must the size of the next key be known before it is read? */
static inline bool estimate_measures(const struct estimate *e) {
    return e->measured_left > 0;
}
/* Are many elements of the next key to be counted when it is measured? */
static inline bool estimate_counts_all(const struct estimate *e) {
    return e->counted_left > 0;
}
/* Are so many keys strings that reading a key as one is worth the attempt? */
bool estimate_expects_strings(const struct estimate *e);
/* May strings of unknown size be read whole, on a connection that the server bounds? */
bool estimate_allows_unbounded(const struct estimate *e);
/* The size that is assumed for a key of unknown size. */
static inline uint64_t estimate_value(const struct estimate *e) {
    return (uint64_t)e->value_bytes;
}

/* Reading of so many bytes begins, or has ended. */
static inline void estimate_reserve(struct estimate *e, uint64_t bytes) {
    e->reading_bytes += bytes;
}
static inline void estimate_release(struct estimate *e, uint64_t bytes) {
    e->reading_bytes -= bytes;
}
/* Is there room to read so many bytes? Always when nothing is being read. */
static inline bool estimate_has_room(const struct estimate *e, uint64_t bytes) {
    return e->reading_bytes == 0 || e->reading_bytes + bytes <= e->room_bytes;
}
/* Bytes that may still be read, and how many average values of a part of the room fit. */
static inline uint64_t estimate_free_bytes(const struct estimate *e) {
    return e->reading_bytes < e->room_bytes ? e->room_bytes - e->reading_bytes : 0;
}
static inline uint64_t estimate_values_in(const struct estimate *e, uint64_t bytes) {
    return (uint64_t)((double)bytes / (e->value_bytes + 1)) + 1;
}

#endif
