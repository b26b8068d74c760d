/* See stats.h. */
#include "copy/stats.h"

void copy_stats_sum(struct copy_stats *into, const struct copy_stats *from) {
    stat_add(&into->copied, stat_get(&from->copied));
    stat_add(&into->vanished, stat_get(&from->vanished));
    stat_add(&into->skipped, stat_get(&from->skipped));
    stat_add(&into->unwanted, stat_get(&from->unwanted));
    stat_add(&into->unchanged, stat_get(&from->unchanged));
    stat_add(&into->looked, stat_get(&from->looked));
    stat_add(&into->given_up, stat_get(&from->given_up));
    stat_add(&into->retries, stat_get(&from->retries));
    stat_add(&into->redirects, stat_get(&from->redirects));
    stat_add(&into->bytes, stat_get(&from->bytes));
    for (int t = 0; t < VALUE_TYPES; t++) {
        stat_add(&into->type_keys[t], stat_get(&from->type_keys[t]));
        stat_add(&into->type_bytes[t], stat_get(&from->type_bytes[t]));
    }
    stat_add(&into->waiting, stat_get(&from->waiting));
    stat_add(&into->in_flight, stat_get(&from->in_flight));
    stat_add(&into->waiting_bytes, stat_get(&from->waiting_bytes));
    stat_add(&into->reconnects, stat_get(&from->reconnects));
}
