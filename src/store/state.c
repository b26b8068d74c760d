/* See state.h. The lock is flock() on a file beside the database: the kernel gives it back however
 * the process ends, and the file's text names the holder. Every statement is prepared, used
 * once and released: one a second is nothing worth keeping. */
#include "store/state.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/state_priv.h"

enum { STATE_VERSION = 1, STATE_BUSY_MS = 5000, STATE_DIR_MODE = 0700, STATE_FILE_MODE = 0600 };

struct state {
    sqlite3 *db;
    int lock_fd;
    char *path; /* of the database, for errors */
};

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS job(id INTEGER PRIMARY KEY CHECK(id=1), job TEXT NOT NULL,"
    "  source TEXT NOT NULL, target TEXT NOT NULL, settings TEXT NOT NULL, owner TEXT NOT NULL,"
    "  made_us INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS record(id INTEGER PRIMARY KEY CHECK(id=1), json TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS given_up(db INTEGER, key BLOB, reason TEXT NOT NULL,"
    "  at_us INTEGER NOT NULL, PRIMARY KEY(db, key)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS run(id INTEGER PRIMARY KEY, mode TEXT NOT NULL,"
    "  began_us INTEGER NOT NULL, ended_us INTEGER, compared INTEGER, different INTEGER,"
    "  outcome TEXT);"
    "CREATE TABLE IF NOT EXISTS finding(run INTEGER NOT NULL REFERENCES run(id),"
    "  db INTEGER NOT NULL, key BLOB NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS audit(id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL,"
    "  event TEXT NOT NULL, text TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS orders(n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    "  json TEXT NOT NULL);";

/* ---- SQL ---- */

bool state_sql_failed(sqlite3 *db, const char *path, struct err *err) {
    return err_set(err, ERR_IO, path, "%s",
                   db != NULL ? sqlite3_errmsg(db) : "no memory for a database");
}

/* Values in the order of the marks in `sql`: 'i' int64_t, 't' const char *, 'b' const struct bytes
 * *. */
static sqlite3_stmt *sql_prepare(sqlite3 *db, const char *path, struct err *err, const char *sql,
                                 const char *kinds, va_list ap) {
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        state_sql_failed(db, path, err);
        return NULL;
    }
    for (int i = 1; kinds[i - 1] != '\0'; i++) {
        if (kinds[i - 1] == 'i') {
            sqlite3_bind_int64(stmt, i, va_arg(ap, int64_t));
        } else if (kinds[i - 1] == 't') {
            sqlite3_bind_text(stmt, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
        } else {
            const struct bytes *b = va_arg(ap, const struct bytes *);
            sqlite3_bind_blob(stmt, i, b->len > 0 ? b->ptr : "", (int)b->len, SQLITE_TRANSIENT);
        }
    }
    return stmt;
}

/* A statement without rows. */
static bool sql_run(struct state *s, struct err *err, const char *sql, const char *kinds, ...) {
    va_list ap;
    va_start(ap, kinds);
    sqlite3_stmt *stmt = sql_prepare(s->db, s->path, err, sql, kinds, ap);
    va_end(ap);
    if (stmt == NULL) return false;
    bool ok = sqlite3_step(stmt) == SQLITE_DONE || state_sql_failed(s->db, s->path, err);
    sqlite3_finalize(stmt);
    return ok;
}

static bool sql_script(struct state *s, const char *sql, struct err *err) {
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ||
           state_sql_failed(s->db, s->path, err);
}

/* The first row's first n columns as text, into fresh memory (NULL for NULL); *found says whether
 * there is a row. */
static bool sql_texts(sqlite3 *db, const char *path, const char *sql, char **texts, int n,
                      bool *found, struct err *err) {
    sqlite3_stmt *stmt = NULL;
    *found = false;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return state_sql_failed(db, path, err);
    int step = sqlite3_step(stmt);
    *found = step == SQLITE_ROW;
    for (int i = 0; i < n && *found; i++) {
        const char *text = (const char *)sqlite3_column_text(stmt, i);
        texts[i] = text == NULL ? NULL : mem_strdup(text);
    }
    bool ok = step == SQLITE_ROW || step == SQLITE_DONE || state_sql_failed(db, path, err);
    sqlite3_finalize(stmt);
    return ok;
}

/* ---- directory and lock ---- */

static char *state_path_in(const char *dir, const char *name) {
    return mem_printf("%s/%s", dir, name);
}

static void state_read_holder(int fd, char holder[RECORD_OWNER_MAX]) {
    ssize_t n = pread(fd, holder, RECORD_OWNER_MAX - 1, 0);
    holder[n > 0 ? n : 0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
    if (holder[0] == '\0') snprintf(holder, RECORD_OWNER_MAX, "another process");
}

static bool state_write_holder(int fd, const char *owner, const char *path, struct err *err) {
    size_t len = strlen(owner);
    if (ftruncate(fd, 0) == 0 && pwrite(fd, owner, len, 0) == (ssize_t)len) return true;
    return err_set_errno(err, ERR_IO, path, errno, "cannot be written");
}

/* For the user alone, with any umask; a link is not followed. -1, with the error. */
static int state_open_file(const char *path, struct err *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, STATE_FILE_MODE);
    if (fd < 0 && errno == ELOOP) {
        err_set(err, ERR_IO, path, "is a symbolic link, which is not followed; remove it");
    } else if (fd < 0) {
        err_set_errno(err, ERR_IO, path, errno, "cannot be opened for writing");
    } else {
        fchmod(fd, STATE_FILE_MODE); /* another user's file stays as it is */
    }
    return fd;
}

static bool state_lock_fd(struct state *s, const char *dir, const char *path, struct err *err) {
    char holder[RECORD_OWNER_MAX];
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK) return err_set_errno(err, ERR_IO, path, errno, "cannot be locked");
    state_read_holder(s->lock_fd, holder);
    return err_set(err, ERR_IO, dir,
                   "the state directory is in use by %s; end it, or name another --state-dir",
                   holder);
}

static bool state_take_lock(struct state *s, const char *dir, const char *owner, struct err *err) {
    char *path = state_path_in(dir, "lock");
    s->lock_fd = state_open_file(path, err);
    bool ok = s->lock_fd >= 0 && state_lock_fd(s, dir, path, err) &&
              state_write_holder(s->lock_fd, owner, path, err);
    free(path);
    return ok;
}

static bool state_is_locked(const char *dir) {
    char *path = state_path_in(dir, "lock");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (fd >= 0) close(fd);
    free(path);
    return locked;
}

static bool state_make_one(const char *dir, struct err *err) {
    struct stat st;
    if (mkdir(dir, STATE_DIR_MODE) == 0)
        return chmod(dir, STATE_DIR_MODE) == 0 ||
               err_set_errno(err, ERR_IO, dir, errno, "the state directory cannot be made private");
    if (errno != EEXIST)
        return err_set_errno(err, ERR_IO, dir, errno, "the state directory cannot be made");
    if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode)) return true;
    return err_set(err, ERR_IO, dir, "is no directory");
}

/* With its parents. */
static bool state_make_directory(const char *dir, struct err *err) {
    char *path = mem_strdup(dir);
    bool ok = true;
    for (char *slash = strchr(path + 1, '/'); dir[0] != '\0' && slash != NULL && ok;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ok = access(path, F_OK) == 0 || state_make_one(path, err);
        *slash = '/';
    }
    ok = ok && state_make_one(dir, err);
    free(path);
    return ok;
}

/* ---- opening ---- */

static bool state_check_version(struct state *s, struct err *err) {
    char *text = NULL;
    bool found;
    if (!sql_texts(s->db, s->path, "PRAGMA user_version", &text, 1, &found, err)) return false;
    int version = text != NULL ? atoi(text) : 0;
    free(text);
    if (version <= STATE_VERSION) return true;
    return err_set(err, ERR_IO, s->path,
                   "was written by a newer longhaul (version %d of its tables, not %d)", version,
                   STATE_VERSION);
}

static bool state_open_database(struct state *s, struct err *err) {
    char version[40];
    /* The files beside the database get its mode. */
    int fd = state_open_file(s->path, err);
    if (fd < 0) return false;
    close(fd);
    snprintf(version, sizeof(version), "PRAGMA user_version=%d", STATE_VERSION);
    if (sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
        SQLITE_OK)
        return state_sql_failed(s->db, s->path, err);
    sqlite3_busy_timeout(s->db, STATE_BUSY_MS);
    return state_check_version(s, err) &&
           sql_script(s, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE",
                      err) &&
           sql_script(s, schema, err) && sql_script(s, version, err) &&
           sql_script(s, "COMMIT", err);
}

static bool state_load_record(sqlite3 *db, const char *path, struct job_record *record, bool *found,
                              struct err *err) {
    char *text = NULL;
    if (!sql_texts(db, path, "SELECT json FROM record", &text, 1, found, err)) return false;
    bool ok = !*found || record_from_text(record, bytes_of_str(text), err);
    if (!ok && err != NULL) snprintf(err->place, sizeof(err->place), "%s", path);
    free(text);
    return ok;
}

/* The same server under another name is the same server, if the record has its ids. */
static bool state_is_same_side(const char *kept, const char *now, const struct record_ids *kept_ids,
                               const struct record_ids *ids) {
    bool same = kept != NULL && strcmp(kept, now) == 0;
    for (size_t i = 0; i < ids->n && !same; i++) same = record_ids_has(kept_ids, ids->list[i]);
    return same;
}

static bool state_is_same_scope(const char *kept_settings, const struct job_record *kept,
                                const struct job_record *now) {
    if (kept->scope != NULL && now->scope != NULL) return strcmp(kept->scope, now->scope) == 0;
    return kept_settings != NULL && strcmp(kept_settings, now->settings) == 0;
}

/* kept: job, source, target and settings of the directory; an error names the one that differs. */
static bool state_check_identity(const struct state *s, char *const kept[4],
                                 const struct job_record *record, const struct job_record *now,
                                 struct err *err) {
    static const char *const names[] = { "job", "source", "target", "keys" };
    const char *const wanted[] = { now->job, now->source, now->target, now->settings };
    int differs = -1;
    if (strcmp(kept[0], now->job) != 0) differs = 0;
    if (!state_is_same_scope(kept[3], record, now)) differs = 3;
    if (!state_is_same_side(kept[2], now->target, &record->target_ids, &now->target_ids))
        differs = 2;
    if (!state_is_same_side(kept[1], now->source, &record->source_ids, &now->source_ids))
        differs = 1;
    if (differs < 0) return true;
    return err_set(err, ERR_USAGE, s->path,
                   "belongs to job %s from %s to %s; its %s: \"%.100s\", but now \"%.100s\";"
                   " name another --state-dir",
                   kept[0], kept[1], kept[2], names[differs], kept[differs], wanted[differs]);
}

static bool state_take_identity(struct state *s, const struct job_record *identity,
                                const struct job_record *record, char *predecessor,
                                struct err *err) {
    char *kept[5] = { 0 };
    bool found;
    bool ok = sql_texts(s->db, s->path, "SELECT job, source, target, settings, owner FROM job",
                        kept, 5, &found, err) &&
              (!found || state_check_identity(s, kept, record, identity, err));
    if (predecessor != NULL)
        snprintf(predecessor, RECORD_OWNER_MAX, "%s", kept[4] != NULL ? kept[4] : "");
    for (int i = 0; i < 5; i++) free(kept[i]);
    if (!ok) return false;
    if (found) return sql_run(s, err, "UPDATE job SET owner=?", "t", identity->owner);
    return sql_run(s, err, "INSERT INTO job VALUES(1, ?, ?, ?, ?, ?, ?)", "ttttti", identity->job,
                   identity->source, identity->target, identity->settings, identity->owner,
                   clock_wall_us());
}

struct state *state_open(const char *dir, const struct job_record *identity,
                         struct job_record *record, bool *found, char *predecessor,
                         struct err *err) {
    struct state *s = mem_zalloc(sizeof(*s));
    s->lock_fd = -1;
    s->path = state_path_in(dir, STATE_DATABASE);
    if (predecessor != NULL) predecessor[0] = '\0';
    bool ok = state_make_directory(dir, err) && state_take_lock(s, dir, identity->owner, err) &&
              state_open_database(s, err) &&
              state_load_record(s->db, s->path, record, found, err) &&
              state_take_identity(s, identity, record, predecessor, err);
    if (!ok) state_close(&s);
    return s;
}

void state_close(struct state **state) {
    struct state *s = *state;
    *state = NULL;
    if (s == NULL) return;
    sqlite3_close(s->db);
    if (s->lock_fd >= 0) close(s->lock_fd);
    free(s->path);
    free(s);
}

/* ---- by others ---- */

char *state_immutable_uri(const char *path) {
    char *uri = mem_alloc(3 * strlen(path) + 32), *at = uri + sprintf(uri, "file:");
    for (; *path != '\0'; path++) {
        if (strchr("?#%", *path) != NULL) {
            at += sprintf(at, "%%%02X", (unsigned char)*path);
        } else {
            *at++ = *path;
        }
    }
    strcpy(at, "?immutable=1");
    return uri;
}

static bool state_read_with(const char *name, int flags, const char *path,
                            struct job_record *record, bool *found, struct err *err) {
    sqlite3 *db = NULL;
    bool ok = sqlite3_open_v2(name, &db, SQLITE_OPEN_READONLY | flags, NULL) == SQLITE_OK ||
              state_sql_failed(db, path, err);
    if (ok) sqlite3_busy_timeout(db, STATE_BUSY_MS);
    ok = ok && state_load_record(db, path, record, found, err);
    sqlite3_close(db);
    return ok;
}

bool state_read(const char *dir, struct job_record *record, bool *locked, struct err *err) {
    char *path = state_path_in(dir, STATE_DATABASE), *uri = state_immutable_uri(path);
    bool found = false, ok = access(path, R_OK) == 0;
    *locked = state_is_locked(dir);
    if (!ok) {
        err_set_errno(err, ERR_IO, path, errno, "cannot be read");
    } else {
        ok = state_read_with(path, 0, path, record, &found, err) ||
             (!*locked && state_read_with(uri, SQLITE_OPEN_URI, path, record, &found, err));
    }
    if (ok && !found) ok = err_set(err, ERR_IO, path, "holds no record yet");
    free(path);
    free(uri);
    return ok;
}

/* A directory that another process may have open, for one statement. */
static bool state_run_on(const char *dir, const char *sql, const char *kinds, const char *first,
                         const char *second, struct err *err) {
    struct state s = { .lock_fd = -1, .path = state_path_in(dir, STATE_DATABASE) };
    bool ok = sqlite3_open_v2(s.path, &s.db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK ||
              state_sql_failed(s.db, s.path, err);
    if (ok) sqlite3_busy_timeout(s.db, STATE_BUSY_MS);
    ok = ok && sql_run(&s, err, sql, kinds, first, second);
    sqlite3_close(s.db);
    free(s.path);
    return ok;
}

bool state_give_order(const char *dir, const struct order *order, struct err *err) {
    char *text = order_to_text(order);
    bool ok = state_run_on(dir, "INSERT OR IGNORE INTO orders(id, json) VALUES(?, ?)", "tt",
                           order->id, text, err);
    free(text);
    return ok;
}

bool state_forget(const char *dir, struct err *err) {
    struct state s = { .lock_fd = -1, .path = state_path_in(dir, STATE_DATABASE) };
    bool ok = access(s.path, W_OK) == 0 ||
              err_set_errno(err, ERR_IO, s.path, errno, "cannot be written to");
    ok = ok && state_take_lock(&s, dir, "longhaul forget", err) &&
         state_run_on(dir, "DELETE FROM record", "", NULL, NULL, err) &&
         state_run_on(dir, "DELETE FROM orders", "", NULL, NULL, err) &&
         state_run_on(dir, "DELETE FROM job", "", NULL, NULL, err);
    if (s.lock_fd >= 0) close(s.lock_fd);
    free(s.path);
    return ok;
}

bool state_remove_order(struct state *s, const char *id, struct err *err) {
    return sql_run(s, err, "DELETE FROM orders WHERE id=?", "t", id);
}

bool state_next_order(struct state *s, struct order *order) {
    char *texts[2] = { 0 };
    bool found, ok;
    struct err err;
    if (!sql_texts(s->db, s->path, "SELECT id, json FROM orders ORDER BY n LIMIT 1", texts, 2,
                   &found, &err) ||
        !found)
        return false;
    ok = order_from_text(order, bytes_of_str(texts[1]), &err);
    if (!ok) {
        log_warn(s->path, "an order cannot be read and is removed: %s", err.text);
        state_remove_order(s, texts[0], NULL);
    }
    free(texts[0]);
    free(texts[1]);
    return ok;
}

/* ---- writing ---- */

bool state_put(struct state *s, const struct job_record *record, struct err *err) {
    char *text = record_to_text(record);
    bool ok = sql_run(s, err, "INSERT OR REPLACE INTO record VALUES(1, ?)", "t", text);
    free(text);
    return ok;
}

bool state_audit(struct state *s, const char *event, const char *text, struct err *err) {
    if (!sql_run(s, err, "INSERT INTO audit(at_us, event, text) VALUES(?, ?, ?)", "itt",
                 clock_wall_us(), event, text))
        return false;
    int64_t last = sqlite3_last_insert_rowid(s->db);
    return last <= STATE_AUDIT_MAX ||
           sql_run(s, err, "DELETE FROM audit WHERE id <= ?", "i", last - STATE_AUDIT_MAX);
}

bool state_give_up(struct state *s, int db, struct bytes key, const char *reason, struct err *err) {
    return sql_run(s, err, "INSERT OR REPLACE INTO given_up VALUES(?, ?, ?, ?)", "ibti",
                   (int64_t)db, &key, reason, clock_wall_us());
}

bool state_run_begin(struct state *s, const char *mode, int64_t *run, struct err *err) {
    if (!sql_run(s, err, "INSERT INTO run(mode, began_us) VALUES(?, ?)", "ti", mode,
                 clock_wall_us()))
        return false;
    *run = sqlite3_last_insert_rowid(s->db);
    return true;
}

bool state_finding(struct state *s, int64_t run, const struct state_finding *f, struct err *err) {
    return sql_run(s, err, "INSERT INTO finding VALUES(?, ?, ?, ?, ?)", "iibtt", run,
                   (int64_t)f->db, &f->key, f->kind, f->detail != NULL ? f->detail : "");
}

bool state_run_end(struct state *s, int64_t run, uint64_t compared, uint64_t different,
                   const char *outcome, struct err *err) {
    return sql_run(s, err,
                   "UPDATE run SET ended_us=?, compared=?, different=?, outcome=? WHERE id=?",
                   "iiiti", clock_wall_us(), (int64_t)compared, (int64_t)different, outcome, run);
}
