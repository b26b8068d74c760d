/* Counters of a copy: written by one lane each, read by others while it runs. */
#ifndef LONGHAUL_COPY_STATS_H
#define LONGHAUL_COPY_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "rdb/payload.h"

struct copy_stats {
    _Atomic uint64_t copied;   /* keys acknowledged by the target (dry run: read) */
    _Atomic uint64_t vanished; /* named, and gone when they were read; deleted on the target */
    _Atomic uint64_t skipped;  /* larger than --mem-limit, or of another type than --key-type */
    /* their copies were removed from the target, as the filters leave them out by now; they also
     * count as vanished */
    _Atomic uint64_t unwanted;
    /* not used since their slot's gap began, or their groups not: not read */
    _Atomic uint64_t unchanged;
    _Atomic uint64_t looked;    /* only looked at: still on the source */
    _Atomic uint64_t given_up;  /* could not be copied */
    _Atomic uint64_t retries;   /* keys fetched once more because of an error that passed */
    _Atomic uint64_t redirects; /* MOVED and ASK */
    _Atomic uint64_t bytes;     /* of values, as read */
    _Atomic uint64_t type_keys[VALUE_TYPES];
    _Atomic uint64_t type_bytes[VALUE_TYPES];
    /* How it stands now. */
    /* keys named and not yet clean, nodes of the target not yet cleaned */
    _Atomic uint64_t waiting;
    _Atomic uint64_t in_flight;     /* of those, being read or written */
    _Atomic uint64_t waiting_bytes; /* memory that their names take */
    _Atomic uint64_t reconnects;
};

/* One writer: no locked instruction is needed. */
static inline void stat_add(_Atomic uint64_t *stat, uint64_t n) {
    atomic_store_explicit(stat, atomic_load_explicit(stat, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline uint64_t stat_get(const _Atomic uint64_t *stat) {
    return atomic_load_explicit((_Atomic uint64_t *)stat, memory_order_relaxed);
}

/* Adds all of `from` to *into (which nobody else uses). */
void copy_stats_sum(struct copy_stats *into, const struct copy_stats *from);

#endif
