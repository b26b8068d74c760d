/* An engine between two real sides, fixture.h's source and target. */
#ifndef LONGHAUL_TESTS_ENGINE_RIG_H
#define LONGHAUL_TESTS_ENGINE_RIG_H

#include "engine/coverage.h"
#include "engine/engine.h"
#include "support/fixture.h"

struct engine_rig {
    struct engine_settings settings; /* sides and filter are filled in */
    struct key_filter filter;
    struct deployment *sides[2];
    struct engine *engine;
    struct giveup *giveup;
    _Atomic bool closed; /* the lanes may not write: names wait */
    int descriptors;     /* before it was made */
};

/* One thread, the same databases on both sides. */
#define ENGINE_RIG                                                                                 \
    {                                                                                              \
        .settings = {                                                                              \
            .target_db = -1,                                                                       \
            .threads = 1,                                                                          \
            .scan_count = 100,                                                                     \
            .buffer_bytes = 64 * 1024 * 1024                                                       \
        }                                                                                          \
    }

/* Empties both sides where they are standalone, opens them, makes an engine for database 0. Its
 * plan may be changed then. */
void engine_rig_new(struct engine_rig *rig);
/* Starts the threads. The lanes of a live engine trust the source's processes. */
void engine_rig_begin(struct engine_rig *rig);
/* The engine and the sides are freed; a descriptor that stays open fails the test. */
void engine_rig_end(struct engine_rig *rig);

struct copy_stats engine_rig_stats(struct engine_rig *rig);

/* All slots are to be scanned in all databases. */
void engine_rig_open(struct engine_rig *rig, enum coverage_kind kind, bool whole);

/* Rounds of a job until nothing is left to scan and every name is served: topologies that the
 * engine wishes are asked for. The test fails when the engine does, or after a minute. */
void engine_rig_cover(struct engine_rig *rig, enum coverage_kind kind);
/* The same until the engine is idle. */
void engine_rig_settle(struct engine_rig *rig);

#endif
