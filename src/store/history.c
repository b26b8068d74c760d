/* See history.h. SQLite reads a database that another process writes without disturbing it (WAL).
 * Where the directory is read-only, SQLite cannot make the files of the WAL that it needs for that:
 * then the database is opened as one that nobody changes, which is right when no job runs. */
#include "store/history.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/state_priv.h"

enum { HISTORY_BUSY_MS = 2000 };

struct history {
    sqlite3 *db;
    char *path;
};

static bool history_connect(struct history *h, const char *name, int flags) {
    sqlite3_close(h->db);
    h->db = NULL;
    if (sqlite3_open_v2(name, &h->db, SQLITE_OPEN_READONLY | flags, NULL) != SQLITE_OK)
        return false;
    sqlite3_busy_timeout(h->db, HISTORY_BUSY_MS);
    return sqlite3_exec(h->db, "SELECT 1 FROM audit LIMIT 1", NULL, NULL, NULL) == SQLITE_OK;
}

struct history *history_open(const char *dir, struct err *err) {
    struct history *h = mem_zalloc(sizeof(*h));
    h->path = mem_printf("%s/" STATE_DATABASE, dir);
    char *uri = state_immutable_uri(h->path);
    bool good = access(h->path, R_OK) == 0;
    if (!good) {
        err_set_errno(err, ERR_IO, h->path, errno, "cannot be read");
    } else {
        good = history_connect(h, h->path, 0) || history_connect(h, uri, SQLITE_OPEN_URI) ||
               state_sql_failed(h->db, h->path, err);
    }
    free(uri);
    if (!good) history_close(&h);
    return h;
}

void history_close(struct history **history) {
    if (*history == NULL) return;
    sqlite3_close((*history)->db);
    free((*history)->path);
    free(*history);
    *history = NULL;
}

/* Calls row() for each row of the statement. */
static bool history_query(struct history *h, const char *sql,
                          void (*row)(sqlite3_stmt *stmt, const void *each, void *ctx),
                          const void *each, void *ctx, struct err *err) {
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(h->db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return state_sql_failed(h->db, h->path, err);
    int step;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) row(stmt, each, ctx);
    bool good = step == SQLITE_DONE || state_sql_failed(h->db, h->path, err);
    sqlite3_finalize(stmt);
    return good;
}

static const char *history_text(sqlite3_stmt *stmt, int column) {
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    return text != NULL ? text : "";
}

static void history_event_row(sqlite3_stmt *stmt, const void *each, void *ctx) {
    struct history_event event = { .at_us = sqlite3_column_int64(stmt, 0),
                                   .event = history_text(stmt, 1),
                                   .text = history_text(stmt, 2) };
    (*(void (*const *)(void *, const struct history_event *))each)(ctx, &event);
}

bool history_events(struct history *h, void (*each)(void *ctx, const struct history_event *event),
                    void *ctx, struct err *err) {
    return history_query(h, "SELECT at_us, event, text FROM audit ORDER BY id", history_event_row,
                         &each, ctx, err);
}

static void history_run_row(sqlite3_stmt *stmt, const void *each, void *ctx) {
    struct history_run run = { .began_us = sqlite3_column_int64(stmt, 0),
                               .ended_us = sqlite3_column_int64(stmt, 1),
                               .mode = history_text(stmt, 2),
                               .outcome = history_text(stmt, 3),
                               .compared = (uint64_t)sqlite3_column_int64(stmt, 4),
                               .different = (uint64_t)sqlite3_column_int64(stmt, 5) };
    (*(void (*const *)(void *, const struct history_run *))each)(ctx, &run);
}

bool history_runs(struct history *h, void (*each)(void *ctx, const struct history_run *run),
                  void *ctx, struct err *err) {
    return history_query(
        h, "SELECT began_us, ended_us, mode, outcome, compared, different FROM run ORDER BY id",
        history_run_row, &each, ctx, err);
}

static void history_key_row(sqlite3_stmt *stmt, const void *each, void *ctx) {
    const char *name = sqlite3_column_blob(stmt, 2);
    struct history_key key = { .at_us = sqlite3_column_int64(stmt, 0),
                               .db = sqlite3_column_int(stmt, 1),
                               .key = bytes_of(name != NULL ? name : "",
                                               (size_t)sqlite3_column_bytes(stmt, 2)),
                               .reason = history_text(stmt, 3) };
    (*(void (*const *)(void *, const struct history_key *))each)(ctx, &key);
}

bool history_given_up(struct history *h, void (*each)(void *ctx, const struct history_key *key),
                      void *ctx, struct err *err) {
    return history_query(h, "SELECT at_us, db, key, reason FROM given_up ORDER BY db, key",
                         history_key_row, &each, ctx, err);
}
