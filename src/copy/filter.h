/* Which keys a job is about: --key-pattern, --key-include, --key-exclude, --key-slot, --key-type.
 * Everything is borrowed and never changes while a job runs, so all threads may use one filter. */
#ifndef LONGHAUL_COPY_FILTER_H
#define LONGHAUL_COPY_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/slot.h"

struct key_filter {
    const char *pattern; /* for SCAN MATCH; NULL: all */
    char **include;      /* globs; a key must match one of them; none: all */
    size_t n_include;
    char **exclude; /* globs; a key must match none of them */
    size_t n_exclude;
    const struct slot_set *slots; /* NULL: all */
    char **types;                 /* as TYPE answers; none: all */
    size_t n_types;
};

/* Of those, the copy of a large key on its way to its place: on the source it never is. */
bool key_is_temporary(struct bytes key);

/* Is it one of longhaul's own keys, which are never copied, compared or deleted?
 *
 *   longhaul:{...}:state, :lease, :epoch, :order, :extra   of live jobs (store/lease.h)
 *   longhaul:tmp:{...}                             a large key on its way (copy/transfer.h)
 *   longhaul:probe:... and longhaul:doctor:...     keys of the checks before a job
 */
bool key_is_own(struct bytes key);

/* By name alone: also false for longhaul's own keys. (Without pattern, which the server applies,
 * and types.) slot is the key's. */
bool key_filter_wants(const struct key_filter *filter, struct bytes key, uint16_t slot);

/* By type, as TYPE answers. */
bool key_filter_wants_type(const struct key_filter *filter, struct bytes type);

#endif
