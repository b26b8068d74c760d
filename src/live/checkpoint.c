/* See checkpoint.h. */
#include "live/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"

enum { CHECKPOINT_MS = 1000 };

/* Evidence and cursors of one moment. */
struct checkpoint_note {
    struct moment at;
    struct checkpoint_cursor *cursors;
    size_t n_cursors;
    struct follow_base *base; /* address and evidence are owned */
    size_t n_base;
};

struct checkpoint {
    struct engine *engine;
    struct ledger *ledger;
    struct follow *follow;
    struct checkpoint_cursor *remembered; /* of a former run; used once each */
    size_t n_remembered;
    bool under_way;
    int64_t next_ms;
    struct engine_marks marks;
    struct checkpoint_note noted, held; /* waits for its barriers; holds */
};

static uint64_t slots_hash(const struct slot_set *slots) {
    return XXH3_64bits(slots, sizeof(*slots)) >> 1; /* JSON's numbers have a sign */
}

/* ---- noting ---- */

static void note_fini(struct checkpoint_note *note) {
    follow_base_free(note->base, note->n_base);
    free(note->cursors);
    *note = (struct checkpoint_note){ .at = MOMENT_NEVER };
}

static void note_pass(void *ctx, const struct pass_view *pass) {
    struct checkpoint_note *note = ctx;
    if (pass->cursor[0] == '\0' || slot_set_count(pass->whole) == 0) return;
    note->cursors = mem_array(note->cursors, note->n_cursors + 1, sizeof(*note->cursors));
    struct checkpoint_cursor *to = &note->cursors[note->n_cursors++];
    bool end = strcmp(pass->cursor, "0") == 0;
    *to = (struct checkpoint_cursor){ .db = pass->db, .slots = slots_hash(pass->slots) };
    address_format(pass->primary, to->address, sizeof(to->address));
    snprintf(to->run_id, sizeof(to->run_id), "%s", pass->run_id);
    snprintf(to->cursor, sizeof(to->cursor), "%s", end ? CHECKPOINT_END : pass->cursor);
}

static void note_node(void *ctx, const struct follow_view *view) {
    struct checkpoint_note *note = ctx;
    if (view->evidence == NULL) return;
    struct evidence *e = mem_alloc(sizeof(*e));
    evidence_copy(e, view->evidence);
    note->base = mem_array(note->base, note->n_base + 1, sizeof(*note->base));
    note->base[note->n_base++] = (struct follow_base){ mem_strdup(view->address), e };
}

static bool checkpoint_is_undisturbed(const struct checkpoint *c) {
    return moment_is_none(ledger_changes_since(c->ledger)) && follow_all_ready(c->follow);
}

static void checkpoint_note(struct checkpoint *c) {
    note_fini(&c->noted);
    coverage_each_pass(c->engine, note_pass, &c->noted);
    follow_each(c->follow, note_node, &c->noted);
    c->noted.at = moment_now();
    c->under_way = true;
    engine_put_marks(c->engine, &c->marks);
}

void checkpoint_step(struct checkpoint *c) {
    if (!ledger_first_copy_goes_on(c->ledger)) {
        note_fini(&c->held);
        return;
    }
    int64_t now_ms = clock_mono_ms();
    if (!c->under_way) {
        if (now_ms >= c->next_ms && checkpoint_is_undisturbed(c)) checkpoint_note(c);
        return;
    }
    if (!engine_marks_reached(&c->marks) || !follow_all_passed(c->follow, c->noted.at)) return;
    c->under_way = false;
    c->next_ms = now_ms + CHECKPOINT_MS;
    if (!checkpoint_is_undisturbed(c)) return;
    note_fini(&c->held);
    c->held = c->noted;
    c->noted = (struct checkpoint_note){ .at = MOMENT_NEVER };
}

struct checkpoint_view checkpoint_look(const struct checkpoint *c) {
    return (struct checkpoint_view){ .at = c->held.at,
                                     .cursors = c->held.cursors,
                                     .n_cursors = c->held.n_cursors,
                                     .base = c->held.base,
                                     .n_base = c->held.n_base };
}

/* ---- going on ---- */

void checkpoint_remember(struct checkpoint *c, const struct checkpoint_cursor *cursors, size_t n) {
    c->remembered = mem_array(c->remembered, n, sizeof(*cursors));
    if (n > 0) memcpy(c->remembered, cursors, n * sizeof(*cursors));
    c->n_remembered = n;
}

bool checkpoint_starts_at(struct checkpoint *c, const struct pass_view *pass,
                          struct pass_start *start) {
    char where[ADDRESS_HOST_MAX + 32];
    if (memcmp(pass->whole, pass->slots, sizeof(*pass->slots)) != 0) return false;
    address_format(pass->primary, where, sizeof(where));
    for (size_t i = 0; i < c->n_remembered; i++) {
        struct checkpoint_cursor *from = &c->remembered[i];
        if (from->cursor[0] == '\0' || from->db != pass->db || strcmp(from->address, where) != 0 ||
            from->slots != slots_hash(pass->slots))
            continue;
        if (!follow_resumes(c->follow, pass->primary, from->run_id)) return false;
        start->copied = strcmp(from->cursor, CHECKPOINT_END) == 0;
        memcpy(start->cursor, from->cursor, sizeof(start->cursor));
        memcpy(start->run_id, from->run_id, sizeof(start->run_id));
        from->cursor[0] = '\0'; /* once */
        return true;
    }
    return false;
}

/* ---- life ---- */

struct checkpoint *checkpoint_new(struct engine *e, struct ledger *l, struct follow *f) {
    struct checkpoint *c = mem_zalloc(sizeof(*c));
    c->engine = e;
    c->ledger = l;
    c->follow = f;
    c->noted.at = c->held.at = MOMENT_NEVER;
    return c;
}

void checkpoint_free(struct checkpoint **checkpoint) {
    struct checkpoint *c = *checkpoint;
    *checkpoint = NULL;
    if (c == NULL) return;
    note_fini(&c->noted);
    note_fini(&c->held);
    engine_marks_fini(&c->marks);
    free(c->remembered);
    free(c);
}
