/* The scripts of compare --digest, to be run by the servers. */
#ifndef LONGHAUL_VERIFY_SCRIPT_H
#define LONGHAUL_VERIFY_SCRIPT_H

#include <stdint.h>

#include "base/bytes.h"
#include "server/client.h"

enum script_id { SCRIPT_DIGEST, SCRIPT_NAMES, SCRIPTS };

enum { SCRIPT_HEX = 40 };

/* Writes EVAL (whole: with the script's text) or EVALSHA, the number of keys and nothing more;
 * n_args words follow, keys first. */
void script_begin(struct outq *out, enum script_id id, bool whole, size_t n_keys, size_t n_args);

/* The same sums as names.lua makes. */
struct name_sum {
    uint64_t n, low, high;
};
void name_sum_add(struct name_sum *sum, struct bytes salt, struct bytes name);
void name_sum_add_page(struct name_sum *sum, uint64_t n, uint64_t low, uint64_t high);

#endif
