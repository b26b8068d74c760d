/* See job_store.h. */
#include "store/job_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/slot.h"
#include "store/job_store_priv.h"
#include "store/keys_priv.h"
#include "store/lease_priv.h"
#include "store/role.h"

enum { MOVED_TRIES_MAX = 5 };

/* ---- calls ---- */

static struct client *store_open_primary(struct deployment *target, int db,
                                         const struct address *address, struct err *err) {
    struct client_settings settings = deployment_client_settings(target, address);
    settings.db = db;
    settings.fence = false;
    settings.reconnect = false;
    return call_open(deployment_loop(target), &settings,
                     settings.connect_timeout_ms + settings.reply_timeout_ms, err);
}

static bool store_call(struct deployment *target, struct client *client, struct call_reply *reply,
                       struct err *err, size_t argc, const struct bytes *argv) {
    return call_send(deployment_loop(target), client, deployment_reply_timeout_ms(target), reply,
                     err, argc, argv);
}

/* An error reply is a failure. */
static bool store_check_reply(const struct client *client, struct call_reply *reply,
                              struct err *err) {
    if (!resp_is_error(&reply->item)) return true;
    client_reply_error(client, &reply->item, err);
    call_reply_fini(reply);
    return false;
}

/* At the node that ASK has named. */
static bool store_call_asking(struct deployment *target, int db, const struct address *to,
                              struct call_reply *reply, struct err *err, size_t argc,
                              const struct bytes *argv) {
    struct client *client = store_open_primary(target, db, to, err);
    if (client == NULL) return false;
    client_asking(client);
    bool ok =
        store_call(target, client, reply, err, argc, argv) && store_check_reply(client, reply, err);
    client_close(&client);
    return ok;
}

/* One command about one key. */
static bool store_ask(struct deployment *target, int db, struct client *client,
                      struct call_reply *reply, struct err *err, size_t argc,
                      const struct bytes *argv) {
    struct redirect to;
    if (!store_call(target, client, reply, err, argc, argv)) return false;
    if (!client_redirect(client, &reply->item, &to) || !to.ask)
        return store_check_reply(client, reply, err);
    call_reply_fini(reply);
    return store_call_asking(target, db, &to.address, reply, err, argc, argv);
}

/* Is a step worth doing again? Slots may have moved since the topology was asked for. */
static bool store_try_again(struct deployment *target, const struct err *why, int *tries) {
    struct err err;
    if (err_class_of(why->code) != ERR_CLASS_THERE)
        return call_again(deployment_loop(target), why, tries);
    return ++*tries < MOVED_TRIES_MAX && deployment_refresh(target, &err);
}

static bool store_ask_owner_once(struct deployment *target, int db, const char *key, size_t argc,
                                 const struct bytes *argv, struct call_reply *reply,
                                 struct err *err) {
    struct topology *t = deployment_topology(target);
    int owner = t->owner[slot_of_key(bytes_of_str(key))];
    struct client *client =
        owner >= 0 ? store_open_primary(target, db, &t->nodes[owner].address, err) : NULL;
    topology_unref(&t);
    if (owner < 0)
        return err_set(err, ERR_CLUSTERDOWN, deployment_role(target), "%s",
                       err_sentence(ERR_CLUSTERDOWN));
    if (client == NULL) return false;
    bool ok = store_ask(target, db, client, reply, err, argc, argv);
    client_close(&client);
    return ok;
}

bool job_store_ask_owner(struct deployment *target, int db, const char *key, size_t argc,
                         const struct bytes *argv, struct call_reply *reply, struct err *err) {
    struct err last;
    int tries = 0;
    while (!store_ask_owner_once(target, db, key, argc, argv, reply, &last)) {
        if (store_try_again(target, &last, &tries)) continue;
        *err = last;
        return false;
    }
    return true;
}

/* ---- the state keys of all primaries ---- */

_Static_assert((int)JOB_STORE_KEY_MAX == (int)STORE_KEY_MAX, "one key, one bound");

bool job_store_record_key(const struct topology *t, int node, char key[JOB_STORE_KEY_MAX]) {
    int slot = store_lowest_slot(t, node);
    if (slot >= 0) store_state_key(key, (uint16_t)slot);
    return slot >= 0;
}

static bool store_read_state_key(struct deployment *side, int db, struct client *client,
                                 const char *key, struct job_store_fields *fields,
                                 struct err *err) {
    struct call_reply reply;
    struct resp_item name, value;
    const struct bytes words[] = { BYTES_LITERAL("HGETALL"), bytes_of_str(key) };
    if (!store_ask(side, db, client, &reply, err, 2, words)) {
        if (err->code != ERR_WRONGTYPE) return false;
        log_warn(client_place(client),
                 "%s is no record of jobs: another program wrote it; delete it while no longhaul "
                 "runs (DEL)",
                 key);
        return true;
    }
    while (resp_next(&reply.cursor, &name) && resp_next(&reply.cursor, &value))
        if (resp_is_string(&name) && resp_is_string(&value))
            fields->on_field(fields->ctx, client_place(client), db, name.str, value.str);
    call_reply_fini(&reply);
    return true;
}

/* Lines "db3:keys=7,...". */
static bool store_read_keyspace(struct deployment *side, struct client *client, const char *key,
                                struct bytes info, struct job_store_fields *fields,
                                struct err *err) {
    bool ok = true;
    while (info.len > 0 && ok) {
        struct bytes line = bytes_split(&info, '\n'), name = bytes_split(&line, ':');
        int64_t db;
        if (!bytes_has_prefix(name, "db") ||
            !bytes_to_i64(bytes_of(name.ptr + 2, name.len - 2), &db))
            continue;
        client_select(client, (int)db);
        ok = store_read_state_key(side, (int)db, client, key, fields, err);
    }
    return ok;
}

static bool store_read_primary(struct deployment *side, int db, const struct address *address,
                               int slot, struct job_store_fields *fields, struct err *err) {
    char key[STORE_KEY_MAX];
    struct call_reply info;
    struct client *client = store_open_primary(side, db < 0 ? 0 : db, address, err);
    if (client == NULL) return false;
    store_state_key(key, (uint16_t)slot);
    bool ok;
    if (db >= 0) {
        ok = store_read_state_key(side, db, client, key, fields, err);
    } else {
        const struct bytes words[] = { BYTES_LITERAL("INFO"), BYTES_LITERAL("keyspace") };
        ok =
            store_call(side, client, &info, err, 2, words) && store_check_reply(client, &info, err);
        if (ok) {
            ok = store_read_keyspace(side, client, key, info.item.str, fields, err);
            call_reply_fini(&info);
        }
    }
    client_close(&client);
    fields->primaries++;
    return ok;
}

static bool store_read_primaries(struct deployment *side, int db, struct job_store_fields *fields,
                                 struct err *err) {
    struct topology *t = deployment_topology(side);
    bool ok = true;
    for (int i = 0; i < t->n_nodes && ok; i++) {
        int slot = store_lowest_slot(t, i);
        if (slot >= 0) ok = store_read_primary(side, db, &t->nodes[i].address, slot, fields, err);
    }
    topology_unref(&t);
    return ok;
}

bool job_store_read_fields(struct deployment *side, int db, struct job_store_fields *fields,
                           struct err *err) {
    struct err last;
    int tries = 0;
    while (!store_read_primaries(side, db, fields, &last)) {
        fields->reset(fields->ctx);
        fields->primaries = 0;
        if (store_try_again(side, &last, &tries)) continue;
        *err = last;
        return false;
    }
    return true;
}

/* ---- jobs ---- */

struct job_reading {
    const char *job; /* NULL: all */
    struct job_list list;
    int *primaries; /* that have the record; one number for each job */
    bool too_many;
};

static void reading_reset(void *ctx) {
    struct job_reading *r = ctx;
    job_list_fini(&r->list);
    free(r->primaries);
    r->primaries = NULL;
    r->too_many = false;
}

/* The place of the job in the list; a new one where it is not yet there. */
static size_t reading_find_job(struct job_reading *r, int db, const char *job) {
    struct job_list *list = &r->list;
    for (size_t i = 0; i < list->n; i++)
        if (list->jobs[i].db == db && strcmp(list->jobs[i].record.job, job) == 0) return i;
    list->jobs = mem_array(list->jobs, list->n + 1, sizeof(list->jobs[0]));
    r->primaries = mem_array(r->primaries, list->n + 1, sizeof(r->primaries[0]));
    list->jobs[list->n] = (struct stored_job){ .db = db };
    r->primaries[list->n] = 0;
    return list->n++;
}

/* The newest record tells all but the proof, which is that of the oldest watermark. */
static void reading_merge(struct job_record *newest, struct job_record *record) {
    bool is_newer = record->updated_us > newest->updated_us;
    struct job_record other = { 0 };
    record_move(&other, is_newer ? newest : record);
    if (is_newer) record_move(newest, record);
    if (other.watermark_us < newest->watermark_us) record_take_proof(newest, &other);
    record_fini(&other);
}

static void reading_take_record(struct job_reading *r, int db, struct job_record *record) {
    if (r->list.n == JOB_STORE_JOBS_MAX) {
        r->too_many = true;
        return;
    }
    size_t i = reading_find_job(r, db, record->job);
    if (r->primaries[i]++ == 0) {
        record_move(&r->list.jobs[i].record, record);
    } else {
        reading_merge(&r->list.jobs[i].record, record);
    }
}

static void on_job_field(void *ctx, const char *place, int db, struct bytes name,
                         struct bytes value) {
    struct job_reading *r = ctx;
    struct job_record record = { 0 };
    struct err err;
    if (bytes_equal_str(name, ROLE_FIELD)) return;
    if (r->job != NULL && !bytes_equal_str(name, r->job)) return;
    if (!record_from_text(&record, value, &err)) {
        log_warn(place, "a job's record cannot be read: %s", err.text);
    } else {
        reading_take_record(r, db, &record);
    }
    record_fini(&record);
}

/* A primary without the record has lost writes, or was not written to yet. */
static bool reading_run(struct job_reading *r, struct deployment *target, int db, struct err *err) {
    struct job_store_fields fields = { .on_field = on_job_field, .reset = reading_reset, .ctx = r };
    if (!job_store_read_fields(target, db, &fields, err)) return false;
    for (size_t i = 0; i < r->list.n; i++)
        if (r->primaries[i] < fields.primaries) record_drop_proof(&r->list.jobs[i].record);
    return !r->too_many || err_set(err, ERR_UNSUPPORTED, deployment_role(target),
                                   "knows more than %d jobs; remove old ones by longhaul forget",
                                   JOB_STORE_JOBS_MAX);
}

bool job_store_read(struct deployment *target, int db, const char *job, struct job_record *record,
                    bool *found, struct err *err) {
    struct job_reading r = { .job = job };
    bool ok = reading_run(&r, target, db, err);
    *found = ok && r.list.n > 0 && strcmp(r.list.jobs[0].record.job, job) == 0;
    if (*found) record_move(record, &r.list.jobs[0].record);
    reading_reset(&r);
    return ok;
}

static bool store_read_holder(struct deployment *target, int db, const char *job,
                              char holder[RECORD_OWNER_MAX], struct err *err) {
    char key[STORE_KEY_MAX], value[LEASE_VALUE_MAX] = "";
    struct call_reply reply;
    const struct bytes words[] = { BYTES_LITERAL("GET"),
                                   bytes_of_str(store_job_key(key, job, "lease")) };
    if (!job_store_ask_owner(target, db, key, 2, words, &reply, err)) return false;
    if (resp_is_string(&reply.item) && reply.item.str.len < sizeof(value))
        memcpy(value, reply.item.str.ptr, reply.item.str.len);
    call_reply_fini(&reply);
    snprintf(holder, RECORD_OWNER_MAX, "%s",
             lease_is_given_back(value) ? "" : lease_owner_of(value));
    return true;
}

static int compare_jobs(const void *a, const void *b) {
    const struct stored_job *x = a, *y = b;
    int by_name = strcmp(x->record.job, y->record.job);
    return by_name != 0 ? by_name : x->db - y->db;
}

bool job_store_read_all(struct deployment *target, int db, struct job_list *list, struct err *err) {
    struct job_reading r = { 0 };
    bool ok = reading_run(&r, target, db, err);
    free(r.primaries);
    *list = r.list;
    for (size_t i = 0; i < list->n && ok; i++) {
        struct stored_job *job = &list->jobs[i];
        ok = store_read_holder(target, job->db, job->record.job, job->holder, err);
        job->lease_held = job->holder[0] != '\0';
    }
    if (list->n > 0) qsort(list->jobs, list->n, sizeof(list->jobs[0]), compare_jobs);
    return ok;
}

void job_list_fini(struct job_list *list) {
    for (size_t i = 0; i < list->n; i++) record_fini(&list->jobs[i].record);
    free(list->jobs);
    *list = (struct job_list){ 0 };
}

/* ---- forgetting ---- */

static bool store_forget_key(struct deployment *target, int db, const char *job, const char *name,
                             struct err *err) {
    char key[STORE_KEY_MAX];
    struct call_reply reply;
    const struct bytes words[] = { BYTES_LITERAL("DEL"),
                                   bytes_of_str(store_job_key(key, job, name)) };
    if (!job_store_ask_owner(target, db, key, 2, words, &reply, err)) return false;
    call_reply_fini(&reply);
    return true;
}

/* The slots of all primaries' state keys. */
static bool store_forget_records(struct deployment *target, int db, const char *job,
                                 struct err *err) {
    struct topology *t = deployment_topology(target);
    bool ok = true;
    for (int i = 0; i < t->n_nodes && ok; i++) {
        char key[STORE_KEY_MAX];
        struct call_reply reply;
        int slot = store_lowest_slot(t, i);
        if (slot < 0) continue;
        const struct bytes words[] = { BYTES_LITERAL("HDEL"),
                                       bytes_of_str(store_state_key(key, (uint16_t)slot)),
                                       bytes_of_str(job) };
        ok = job_store_ask_owner(target, db, key, 3, words, &reply, err);
        if (ok) call_reply_fini(&reply);
    }
    topology_unref(&t);
    return ok;
}

/* The record goes last: should something fail before, the job can be forgotten again. */
bool job_store_forget(struct deployment *target, int db, const char *job, struct err *err) {
    char holder[RECORD_OWNER_MAX];
    if (!store_read_holder(target, db, job, holder, err)) return false;
    if (holder[0] != '\0')
        return err_set(err, ERR_LEASE, deployment_role(target),
                       "job %s is held by %s; end that longhaul first, or wait until its lease has"
                       " expired",
                       job, holder);
    return store_forget_key(target, db, job, "lease", err) &&
           store_forget_key(target, db, job, "extra", err) &&
           store_forget_key(target, db, job, "order", err) &&
           store_forget_key(target, db, job, "epoch", err) &&
           store_forget_records(target, db, job, err);
}
