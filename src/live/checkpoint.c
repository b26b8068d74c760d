/* How far the first copy has come, so that a job that is killed need not begin it again.
 *
 * Every second the cursors of the running passes are noted, then marks go behind the names that
 * those had given. When the lanes have reached them, and barriers that were sent after that moment
 * have passed, this is true: what lies before the cursors was copied, and what changed before the
 * moment is on the target. It goes into the record.
 *
 * The next start scans from the cursors on, if the same process has the same slots; then what was
 * used since the moment is looked for in all of it, as after any gap. */
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/clock.h"
#include "live/live_priv.h"

enum { CHECKPOINT_MS = 1000 };

static uint64_t hash_of(const struct slot_set *slots) {
    return XXH3_64bits(slots, sizeof(*slots)) >> 1; /* JSON's numbers have a sign */
}

/* ---- noting ---- */

static void note_pass(struct checkpoint *c, const struct pass *pass) {
    struct record_cursor *to = record_add_cursor(&c->noted);
    to->db = pass->db;
    to->slots = hash_of(&pass->slots);
    address_format(&pass->primary, to->address, sizeof(to->address));
    snprintf(to->run_id, sizeof(to->run_id), "%s", pass->run_id);
    snprintf(to->cursor, sizeof(to->cursor), "%s",
             strcmp(pass->cursor, "0") == 0 ? "end" : pass->cursor);
}

static void copy_cursors(struct job_record *to, const struct job_record *from) {
    record_clear_cursors(to);
    for (size_t i = 0; i < from->n_cursors; i++) *record_add_cursor(to) = from->cursors[i];
}

/* Passes that have ended well are in the list of those that are over; a later one of the same slots
 * replaces them. */
static void note(struct live *live) {
    struct checkpoint *c = &live->checkpoint;
    struct job *job = live->job;
    record_clear_cursors(&c->noted);
    pthread_mutex_lock(&job->lock);
    for (const struct pass *p = job->forward.passes; p != NULL; p = p->next)
        if (p->cursor[0] != '\0' && slot_set_count(&p->whole) > 0) note_pass(c, p);
    for (const struct pass *p = job->over; p != NULL; p = p->next)
        if (!p->coverage->backward && p->end == SCAN_COMPLETE && slot_set_count(&p->whole) > 0)
            note_pass(c, p);
    pthread_mutex_unlock(&job->lock);
    c->taken_us = clock_mono_us();
    c->under_way = true;
    live_put_marks(live, c->marks, &c->marks_left);
}

static bool has_passed(const struct live *live, int64_t moment_us) {
    for (const struct live_node *n = live->nodes; n != NULL; n = n->next)
        if (atomic_load(&((struct live_node *)n)->passed_us) < moment_us) return false;
    return live->nodes != NULL;
}

/* With a gap beside it, changes of before the moment may be missing. */
static bool is_undisturbed(const struct live *live) {
    for (const struct live_node *n = live->nodes; n != NULL; n = n->next)
        if (n->gap_open || !n->ready) return false;
    for (size_t i = 0; i < live->job->forward.dbs_cap; i++)
        if (slot_set_count(&live->job->forward.again[i]) > 0) return false;
    return true;
}

void checkpoint_step(struct live *live) {
    struct checkpoint *c = &live->checkpoint;
    struct job_record *r = &live->record;
    if (live->copied_once) {
        r->checkpoint_us = 0;
        record_clear_cursors(r);
        return;
    }
    if (!c->under_way) {
        if (clock_mono_ms() >= c->next_ms && is_undisturbed(live)) note(live);
        return;
    }
    if (atomic_load(&c->marks_left) > 0 || !has_passed(live, c->taken_us)) return;
    c->under_way = false;
    c->next_ms = clock_mono_ms() + CHECKPOINT_MS;
    if (!is_undisturbed(live)) return;
    copy_cursors(r, &c->noted);
    r->checkpoint_us = live_to_wall_us(c->taken_us);
}

/* ---- going on ---- */

void checkpoint_load(struct live *live) {
    struct job_record *r = &live->record;
    if (!live->resumed || r->copied_once || r->checkpoint_us == 0) return;
    live->begun_us = live_to_mono_us(r->checkpoint_us);
    copy_cursors(&live->begun, r);
}

static struct record_cursor *begun_of(struct live *live, const struct pass *pass) {
    char where[RECORD_LABEL_MAX];
    address_format(&pass->primary, where, sizeof(where));
    for (size_t i = 0; i < live->begun.n_cursors; i++) {
        struct record_cursor *b = &live->begun.cursors[i];
        if (b->db == pass->db && strcmp(b->address, where) == 0 &&
            b->slots == hash_of(&pass->slots))
            return b;
    }
    return NULL;
}

void live_pass_begins(struct live *live, struct pass *pass, struct slot_set *again) {
    const struct live_node *node = live->nodes;
    while (node != NULL && !address_equal(&node->primary, &pass->primary)) node = node->next;
    if (node == NULL || !node->uses_cursors ||
        memcmp(&pass->whole, &pass->slots, sizeof(pass->slots)) != 0)
        return;
    struct record_cursor *from = begun_of(live, pass);
    if (from == NULL || from->cursor[0] == '\0' || strcmp(from->run_id, node->run_id) != 0) return;
    if (strcmp(from->cursor, "end") == 0) {
        pass->whole = (struct slot_set){ 0 };
    } else {
        snprintf(pass->start_cursor, sizeof(pass->start_cursor), "%s", from->cursor);
        snprintf(pass->start_run_id, sizeof(pass->start_run_id), "%s", from->run_id);
        slot_set_unite(again, &pass->slots);
    }
    from->cursor[0] = '\0'; /* once */
}
