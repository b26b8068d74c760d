/* What a target knows of live jobs, asked by calls: for `longhaul status` and `longhaul resume`,
 * and for a job that starts. Each primary has a copy of each record; one that does not is a primary
 * that has lost writes, or that the job has not written to yet, and takes the watermark with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/keeper_priv.h"

enum { MOVED_TRIES_MAX = 5 };

/* A job as found so far. */
struct found_job {
    struct job_record record;
    int primaries; /* that have it */
};

struct reading {
    struct deployment *target;
    int db;
    const char *job; /* NULL: all */
    struct found_job **jobs;
    size_t n_jobs;
    int primaries;
};

static void reading_reset(struct reading *r) {
    for (size_t i = 0; i < r->n_jobs; i++) {
        record_fini(&r->jobs[i]->record);
        free(r->jobs[i]);
    }
    free(r->jobs);
    r->jobs = NULL;
    r->n_jobs = 0;
    r->primaries = 0;
}

static struct client *open_primary(struct deployment *target, int db, const struct address *address,
                                   struct err *err) {
    struct client_settings settings = deployment_client_settings(target, address);
    settings.db = db;
    settings.fence = false;
    settings.reconnect = false;
    return call_open(deployment_loop(target), &settings,
                     settings.connect_timeout_ms + settings.reply_timeout_ms, err);
}

/* An error reply is a failure. */
static bool ask(struct deployment *target, struct client *client, struct call_reply *reply,
                struct err *err, size_t argc, const struct bytes *argv) {
    if (!call_send(deployment_loop(target), client, deployment_reply_timeout_ms(target), reply, err,
                   argc, argv))
        return false;
    if (!resp_is_error(&reply->item)) return true;
    client_reply_error(client, &reply->item, err);
    call_reply_fini(reply);
    return false;
}

/* ---- records ---- */

static struct found_job *job_of(struct reading *r, const char *job) {
    for (size_t i = 0; i < r->n_jobs; i++)
        if (strcmp(r->jobs[i]->record.job, job) == 0) return r->jobs[i];
    if (r->n_jobs == KEEPER_JOBS_MAX) return NULL;
    r->jobs = mem_array(r->jobs, r->n_jobs + 1, sizeof(struct found_job *));
    return r->jobs[r->n_jobs++] = mem_zalloc(sizeof(struct found_job));
}

/* The newest record tells all but the proof, which is that of the oldest watermark. */
static void merge(struct found_job *job, struct job_record *record) {
    struct job_record *newest = &job->record;
    if (job->primaries++ == 0) {
        record_move(newest, record);
        return;
    }
    bool is_newer = record->updated_us > newest->updated_us;
    struct job_record other = { 0 };
    record_move(&other, is_newer ? newest : record);
    if (is_newer) record_move(newest, record);
    if (other.watermark_us < newest->watermark_us) record_take_proof(newest, &other);
    record_fini(&other);
}

static void take_record(struct reading *r, const char *place, struct bytes text) {
    struct job_record record = { 0 };
    struct err err;
    if (!record_from_text(&record, text, &err)) {
        log_warn(place, "a job's record cannot be read: %s", err.text);
    } else {
        struct found_job *job = job_of(r, record.job);
        if (job != NULL) merge(job, &record);
    }
    record_fini(&record);
}

static bool read_with(struct reading *r, struct client *client, const char *key, struct err *err) {
    struct call_reply reply;
    struct resp_item item;
    const struct bytes words[] = { r->job != NULL ? BYTES_LITERAL("HGET") : BYTES_LITERAL("HVALS"),
                                   bytes_of_str(key), bytes_of_str(r->job != NULL ? r->job : "") };
    if (!ask(r->target, client, &reply, err, r->job != NULL ? 3 : 2, words)) return false;
    if (resp_is_string(&reply.item)) take_record(r, client_place(client), reply.item.str);
    if (reply.item.type == RESP_ARRAY)
        while (resp_next(&reply.cursor, &item))
            if (resp_is_string(&item)) take_record(r, client_place(client), item.str);
    call_reply_fini(&reply);
    return true;
}

static bool read_primary(struct reading *r, const struct address *address, int slot,
                         struct err *err) {
    char key[KEEPER_KEY_MAX];
    struct client *client = open_primary(r->target, r->db, address, err);
    if (client == NULL) return false;
    bool ok = read_with(r, client, keeper_state_key(key, (uint16_t)slot), err);
    client_close(&client);
    r->primaries++;
    return ok;
}

static bool read_all(struct reading *r, struct err *err) {
    struct topology *t = deployment_topology(r->target);
    bool ok = true;
    for (int i = 0; i < t->n_nodes && ok; i++) {
        int slot = topology_is_primary(t, i) ? keeper_lowest_slot(t, i) : -1;
        if (slot >= 0) ok = read_primary(r, &t->nodes[i].address, slot, err);
    }
    topology_unref(&t);
    for (size_t i = 0; i < r->n_jobs; i++)
        if (r->jobs[i]->primaries < r->primaries) record_drop_proof(&r->jobs[i]->record);
    return ok;
}

/* Is a step worth doing again? Slots may have moved since the topology was asked for. */
static bool try_again(struct deployment *target, const struct err *why, int *tries) {
    struct err err;
    if (err_class_of(why->code) != ERR_CLASS_THERE)
        return call_again(deployment_loop(target), why, tries);
    return ++*tries < MOVED_TRIES_MAX && deployment_refresh(target, &err);
}

static bool reading_run(struct reading *r, struct err *err) {
    struct err last;
    int tries = 0;
    while (!read_all(r, &last)) {
        reading_reset(r);
        if (try_again(r->target, &last, &tries)) continue;
        *err = last;
        return false;
    }
    return true;
}

bool keeper_read(struct deployment *target, int db, const char *job, struct job_record *record,
                 bool *found, struct err *err) {
    struct reading r = { .target = target, .db = db, .job = job };
    bool ok = reading_run(&r, err);
    *found = ok && r.n_jobs > 0 && strcmp(r.jobs[0]->record.job, job) == 0;
    if (*found) record_move(record, &r.jobs[0]->record);
    reading_reset(&r);
    return ok;
}

/* ---- keys of a job ---- */

/* One command about a key of a job, at its slot's owner. */
static bool ask_owner(struct deployment *target, int db, const char *key, size_t argc,
                      const struct bytes *argv, struct call_reply *reply, struct err *err) {
    struct err last;
    int tries = 0;
    for (;;) {
        struct topology *t = deployment_topology(target);
        int owner = t->owner[slot_of_key(bytes_of_str(key))];
        struct client *client =
            owner >= 0 ? open_primary(target, db, &t->nodes[owner].address, &last) : NULL;
        if (owner < 0)
            err_set(&last, ERR_CLUSTERDOWN, deployment_role(target), "%s",
                    err_sentence(ERR_CLUSTERDOWN));
        bool ok = client != NULL && ask(target, client, reply, &last, argc, argv);
        client_close(&client);
        topology_unref(&t);
        if (ok) return true;
        if (try_again(target, &last, &tries)) continue;
        *err = last;
        return false;
    }
}

static bool is_lease_held(struct deployment *target, int db, const char *job, bool *held,
                          struct err *err) {
    char key[KEEPER_KEY_MAX];
    struct call_reply reply;
    const struct bytes words[] = { BYTES_LITERAL("EXISTS"),
                                   bytes_of_str(keeper_job_key(key, job, "lease")) };
    if (!ask_owner(target, db, key, 2, words, &reply, err)) return false;
    *held = reply.item.num > 0;
    call_reply_fini(&reply);
    return true;
}

static int compare_names(const void *a, const void *b) {
    const struct found_job *const *x = a, *const *y = b;
    return strcmp((*x)->record.job, (*y)->record.job);
}

bool keeper_read_all(struct deployment *target, int db, keeper_job_fn *fn, void *ctx,
                     struct err *err) {
    struct reading r = { .target = target, .db = db };
    bool ok = reading_run(&r, err);
    if (r.n_jobs > 0) qsort(r.jobs, r.n_jobs, sizeof(r.jobs[0]), compare_names);
    for (size_t i = 0; i < r.n_jobs && ok; i++) {
        bool held = false;
        ok = is_lease_held(target, db, r.jobs[i]->record.job, &held, err);
        if (ok) fn(ctx, &r.jobs[i]->record, held);
    }
    reading_reset(&r);
    return ok;
}

bool keeper_order_release(struct deployment *target, int db, const char *job, struct err *err) {
    struct job_record record = { 0 };
    char key[KEEPER_KEY_MAX], order[64], life[16];
    struct call_reply reply;
    bool found = false, ok = keeper_read(target, db, job, &record, &found, err);
    record_fini(&record);
    if (!ok) return false;
    if (!found) return err_set(err, ERR_USAGE, deployment_role(target), "knows no job \"%s\"", job);
    snprintf(order, sizeof(order), "release %lld", (long long)clock_wall_us());
    snprintf(life, sizeof(life), "%d", KEEPER_ORDER_S);
    const struct bytes words[] = { BYTES_LITERAL("SET"),
                                   bytes_of_str(keeper_job_key(key, job, "order")),
                                   bytes_of_str(order), BYTES_LITERAL("EX"), bytes_of_str(life) };
    if (!ask_owner(target, db, key, 5, words, &reply, err)) return false;
    call_reply_fini(&reply);
    return true;
}
