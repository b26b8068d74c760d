/* See compare_live.h. */
#include "cli/compare_live.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/job_store.h"

enum {
    SEARCH_PAUSE_MS = 5000, /* where no job was found */
    /* a record that has not changed for so long is of a job that has ended */
    SILENT_MS = 15000
};

struct compare_live {
    struct deployment *target;
    int db;
    const char *source_label, *target_label;
    char job[RECORD_JOB_MAX]; /* empty: none known */
    int64_t searched_ms;      /* 0: never */
    int64_t updated_us, changed_ms;
    struct job_record *record;
};

struct compare_live *compare_live_new(struct deployment *target, int db, const char *source_label,
                                      const char *target_label) {
    struct compare_live *live = mem_zalloc(sizeof(*live));
    *live = (struct compare_live){
        .target = target, .db = db, .source_label = source_label, .target_label = target_label
    };
    live->record = mem_zalloc(sizeof(*live->record));
    return live;
}

static void consider(struct compare_live *live, const struct job_record *record, bool lease_held) {
    bool ours = strcmp(record->source, live->source_label) == 0 &&
                strcmp(record->target, live->target_label) == 0;
    if (!ours || !lease_held || live->job[0] != '\0') return;
    memcpy(live->job, record->job, sizeof(live->job));
    live->updated_us = 0;
    log_info("target",
             "live job %s runs; keys that differ are looked at again when it has passed them",
             live->job);
}

static void search(struct compare_live *live, int64_t now_ms) {
    struct err ignored; /* a target in trouble is found by the comparison itself */
    if (live->searched_ms != 0 && now_ms - live->searched_ms < SEARCH_PAUSE_MS) return;
    live->searched_ms = now_ms;
    struct job_list list = { 0 };
    if (job_store_read_all(live->target, live->db, &list, &ignored))
        for (size_t i = 0; i < list.n; i++)
            consider(live, &list.jobs[i].record, list.jobs[i].lease_held);
    job_list_fini(&list);
}

/* By this machine's clock alone: the job's may be another. */
static bool is_silent(struct compare_live *live, int64_t now_ms) {
    if (live->record->updated_us != live->updated_us) {
        live->updated_us = live->record->updated_us;
        live->changed_ms = now_ms;
    }
    return now_ms - live->changed_ms > SILENT_MS;
}

int64_t compare_live_watermark_us(void *ctx) {
    struct compare_live *live = ctx;
    struct err ignored;
    int64_t now_ms = clock_mono_ms();
    bool found = false;
    if (live->job[0] == '\0') search(live, now_ms);
    if (live->job[0] == '\0') return 0;
    bool ok = job_store_read(live->target, live->db, live->job, live->record, &found, &ignored);
    if (ok && found && !is_silent(live, now_ms)) return live->record->watermark_us;
    live->job[0] = '\0';
    return 0;
}

void compare_live_free(struct compare_live **live) {
    if (*live == NULL) return;
    record_fini((*live)->record);
    free((*live)->record);
    free(*live);
    *live = NULL;
}
