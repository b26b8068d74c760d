/* See compare_live.h. */
#include "cli/compare_live.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/compare_wait.h"
#include "store/job_store.h"

enum { SEARCH_PAUSE_MS = 5000 }; /* where no job was found */

struct compare_live {
    struct deployment *target;
    struct compare_live_settings settings;
    char job[RECORD_JOB_MAX]; /* empty: none known */
    bool explains;            /* the job copies all keys that are compared */
    int64_t searched_ms;      /* 0: never */
    struct compare_wait wait;
    bool told[COMPARE_WAIT_ENDS]; /* why it is not waited for: once for each reason */
    /* The last job that did not write its record any more, and that record's time: it counts again
     * when it writes. */
    char silent[RECORD_JOB_MAX];
    int64_t silent_us;
    struct job_record *record;
};

struct compare_live *compare_live_new(struct deployment *target,
                                      const struct compare_live_settings *settings) {
    struct compare_live *live = mem_zalloc(sizeof(*live));
    live->target = target;
    live->settings = *settings;
    live->record = mem_zalloc(sizeof(*live->record));
    record_init(live->record);
    return live;
}

/* ---- does the job copy the keys that are compared? ---- */

/* Members of a scope that leave out no key and change no value: every other one must be the same in
 * the comparison. So an option that comes later is never taken for harmless by mistake. */
static bool scope_member_is_harmless(const char *name) {
    static const char *const harmless[] = { "databases",        "mode",
                                            "no-functions",     "preserve-idle",
                                            "target_databases", "type" };
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
        if (strcmp(name, harmless[i]) == 0) return true;
    return false;
}

static bool scope_covers_databases(const json_t *job, const json_t *compared) {
    const char *copied = json_string_value(json_object_get(job, "databases"));
    const char *wanted = json_string_value(json_object_get(compared, "databases"));
    if (copied == NULL || wanted == NULL) return false;
    return strcmp(copied, "all") == 0 || strcmp(copied, wanted) == 0;
}

static bool scope_covers(json_t *job, const json_t *compared) {
    const char *name;
    json_t *value;
    json_object_foreach(job, name, value) {
        if (!scope_member_is_harmless(name) && !json_equal(value, json_object_get(compared, name)))
            return false;
    }
    return scope_covers_databases(job, compared);
}

/* A record without a scope is of an older version: it does not say which keys the job copies. */
static bool job_explains(const struct compare_live *live, const struct job_record *record) {
    if (record->scope == NULL || live->settings.scope == NULL) return false;
    json_t *job = json_loads(record->scope, 0, NULL);
    json_t *compared = json_loads(live->settings.scope, 0, NULL);
    bool covers = job != NULL && compared != NULL && scope_covers(job, compared);
    json_decref(job);
    json_decref(compared);
    return covers;
}

/* ---- the job ---- */

static bool is_still_silent(const struct compare_live *live, const struct job_record *record) {
    return strcmp(record->job, live->silent) == 0 && record->updated_us == live->silent_us;
}

static void compare_live_consider(struct compare_live *live, const struct job_record *record,
                                  bool lease_held) {
    bool ours = strcmp(record->source, live->settings.source_label) == 0 &&
                strcmp(record->target, live->settings.target_label) == 0;
    if (!ours || !lease_held || live->job[0] != '\0' || is_still_silent(live, record)) return;
    memcpy(live->job, record->job, sizeof(live->job));
    live->wait = (struct compare_wait){ 0 };
    live->explains = job_explains(live, record);
    log_info(
        "target",
        "live job %s runs; keys that differ are checked again when its watermark has passed them",
        live->job);
    if (!live->explains)
        log_info("target",
                 "live job %s does not copy all keys that are compared: it explains no changes",
                 live->job);
}

static void compare_live_search(struct compare_live *live, int64_t now_ms) {
    struct err ignored; /* a target in trouble is found by the comparison itself */
    if (live->searched_ms != 0 && now_ms - live->searched_ms < SEARCH_PAUSE_MS) return;
    live->searched_ms = now_ms;
    struct job_list list = { 0 };
    if (job_store_read_all(live->target, live->settings.db, &list, &ignored))
        for (size_t i = 0; i < list.n; i++)
            compare_live_consider(live, &list.jobs[i].record, list.jobs[i].lease_held);
    job_list_fini(&list);
}

static void compare_live_forget(struct compare_live *live) {
    live->job[0] = '\0';
}

static bool compare_live_read(struct compare_live *live) {
    struct err ignored; /* see compare_live_search() */
    bool found = false;
    return job_store_read(live->target, live->settings.db, live->job, live->record, &found,
                          &ignored) &&
           found;
}

/* The job is there and its watermark will not pass. */
static void compare_live_give_up(struct compare_live *live, enum compare_wait_end end,
                                 int64_t wall_us) {
    char why[COMPARE_WAIT_TEXT_MAX];
    if (!live->told[end]) {
        compare_wait_explain(end, live->record, wall_us, why);
        log_warn("target",
                 "live job %s %s: keys that differ do not wait for its watermark, and are checked "
                 "again by --interval",
                 live->job, why);
    }
    live->told[end] = true;
    if (end != COMPARE_WAIT_SILENT) return;
    memcpy(live->silent, live->job, sizeof(live->silent));
    live->silent_us = live->record->updated_us;
    compare_live_forget(live);
}

struct compare_watermark compare_live_watermark(void *ctx) {
    struct compare_live *live = ctx;
    if (live->job[0] == '\0') compare_live_search(live, clock_mono_ms());
    if (live->job[0] == '\0') return (struct compare_watermark){ 0 };
    if (!compare_live_read(live)) {
        compare_live_forget(live);
        return (struct compare_watermark){ 0 };
    }
    int64_t wall_us = clock_wall_us();
    enum compare_wait_end end =
        compare_wait_look(&live->wait, live->record, clock_mono_ms(), wall_us);
    if (end == COMPARE_WAIT_GOES_ON)
        return (struct compare_watermark){ live->record->watermark_us, live->explains };
    compare_live_give_up(live, end, wall_us);
    return (struct compare_watermark){ 0 };
}

void compare_live_free(struct compare_live **live) {
    if (*live == NULL) return;
    record_fini((*live)->record);
    free((*live)->record);
    free(*live);
    *live = NULL;
}
