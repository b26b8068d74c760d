/* One run of `longhaul generate`: when the next key is due, and when the run is over. key.h makes
 * the contents of a key, lane.h sends its commands to the node. */
#ifndef LONGHAUL_GENERATE_RUN_H
#define LONGHAUL_GENERATE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "generate/key.h"
#include "generate/lane.h"
#include "generate/settings.h"
#include "server/deployment.h"

struct gen_run;

/* Borrows everything. *stop ends the run in order. */
struct gen_run *gen_run_new(struct deployment *deployment, const struct gen_settings *settings,
                            const int *dbs, int n_dbs, const volatile bool *stop);
/* Leaves NULL. */
void gen_run_free(struct gen_run **run);

/* Writes until the last key, the end of --duration, or *stop. False when it cannot go on. */
bool gen_run_to_end(struct gen_run *run, struct err *err);

/* True if a run with these settings begins again after its last key. */
bool gen_run_is_endless(const struct gen_settings *settings);

int64_t gen_run_took_ms(const struct gen_run *run);
struct gen_stats gen_run_stats(const struct gen_run *run);
/* As gen_writer_trouble(). */
const char *gen_run_trouble(struct gen_run *run);

#endif
