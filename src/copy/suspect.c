/* See suspect.h. */
#include "copy/suspect.h"

/* A large value is the likelier cause, so it is suspected at once. */
enum { SUSPECT_LARGE_BYTES = 64 * 1024 };

void suspects_init(struct suspects *s) {
    *s = (struct suspects){ .at_a_time = 1 };
}

void suspects_add(struct suspects *s, struct key_entry *entry) {
    key_list_add(&s->waiting, entry);
    s->n_waiting++;
}

struct key_entry *suspects_next(struct suspects *s, int64_t now_ms) {
    struct key_entry *entry = s->waiting.head;
    if (entry == NULL || s->under_way >= s->at_a_time || now_ms < s->not_before_ms) return NULL;
    s->waiting.head = entry->next;
    if (s->waiting.head == NULL) s->waiting.tail = NULL;
    s->n_waiting--;
    s->together = s->under_way++ > 0;
    entry->flags |= KEY_SENT_APART;
    return entry;
}

void suspects_note_end(struct suspects *s, struct key_entry *entry, bool acknowledged) {
    if ((entry->flags & KEY_SENT_APART) == 0) return;
    entry->flags &= ~(uint32_t)KEY_SENT_APART;
    if (--s->under_way == 0) s->together = false;
    if (!acknowledged) return;
    s->at_a_time =
        s->at_a_time * 2 > SUSPECT_AT_A_TIME_MAX ? SUSPECT_AT_A_TIME_MAX : s->at_a_time * 2;
}

static void suspects_pause(struct suspects *s, unsigned strikes, int64_t now_ms) {
    int64_t pause_ms = SUSPECT_PAUSE_MS;
    for (unsigned i = 1; i < strikes && pause_ms < SUSPECT_PAUSE_MAX_MS; i++) pause_ms *= 2;
    s->not_before_ms = now_ms + (pause_ms < SUSPECT_PAUSE_MAX_MS ? pause_ms : SUSPECT_PAUSE_MAX_MS);
}

unsigned suspects_note_loss(struct suspects *s, struct key_entry *entry,
                            const struct pool_node *node, int64_t now_ms) {
    unsigned losses = key_losses(entry);
    bool apart = (entry->flags & KEY_SENT_APART) != 0;
    if (!key_is_suspect(entry)) {
        key_set_losses(entry, entry->data >= SUSPECT_LARGE_BYTES ? KEY_SUSPECT_LOSSES : losses + 1);
        return 0;
    }
    if (!apart || !node->is_twin) return 0;
    s->at_a_time = 1;
    if (s->together) return 0;
    if (losses < KEY_LOSSES_MAX) key_set_losses(entry, losses + 1);
    unsigned strikes = key_losses(entry) - KEY_SUSPECT_LOSSES;
    suspects_pause(s, strikes, now_ms);
    return strikes;
}

void suspects_note_down(struct suspects *s) {
    if (s->under_way > 0) return;
    for (struct key_entry *e = s->waiting.head; e != NULL; e = e->next)
        key_set_losses(e, KEY_SUSPECT_LOSSES);
}
