/* See giveup.h. */
#include "copy/giveup.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

enum { GIVEUP_LOGGED_MAX = 10 };

struct giveup {
    pthread_mutex_t lock;
    struct giveup_key *keys;
    size_t n, cap;
    uint64_t count;
};

struct giveup *giveup_new(void) {
    struct giveup *g = mem_zalloc(sizeof(*g));
    pthread_mutex_init(&g->lock, NULL);
    return g;
}

void giveup_free(struct giveup **giveup) {
    struct giveup *g = *giveup;
    *giveup = NULL;
    if (g == NULL) return;
    for (size_t i = 0; i < g->n; i++) {
        free(g->keys[i].key);
        free(g->keys[i].reason);
    }
    free(g->keys);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

void giveup_add(struct giveup *g, int db, struct bytes key, const struct err *why) {
    char name[GIVEUP_KEY_MAX], reason[ERR_PLACE_MAX + ERR_TEXT_MAX];
    bytes_escape(key, name, sizeof(name));
    err_format(why, reason, sizeof(reason));
    pthread_mutex_lock(&g->lock);
    uint64_t count = ++g->count;
    if (g->n < GIVEUP_KEPT_MAX) {
        if (g->n == g->cap) {
            g->cap = g->cap == 0 ? 16 : g->cap * 2;
            g->keys = mem_array(g->keys, g->cap, sizeof(*g->keys));
        }
        g->keys[g->n++] =
            (struct giveup_key){ .db = db, .key = mem_strdup(name), .reason = mem_strdup(reason) };
    }
    pthread_mutex_unlock(&g->lock);
    if (count <= GIVEUP_LOGGED_MAX)
        log_warn("given up", "db %d key \"%.200s\": %s", db, name, reason);
    if (count == GIVEUP_LOGGED_MAX)
        log_warn("given up", "further keys are counted and listed at the end");
}

void giveup_add_once(struct giveup *g, int db, struct bytes key, const struct err *why) {
    char name[GIVEUP_KEY_MAX], reason[ERR_PLACE_MAX + ERR_TEXT_MAX];
    bool listed = false;
    bytes_escape(key, name, sizeof(name));
    err_format(why, reason, sizeof(reason));
    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->n && !listed; i++) {
        struct giveup_key *k = &g->keys[i];
        listed = k->db == db && strcmp(k->key, name) == 0;
        if (!listed) continue;
        free(k->reason);
        k->reason = mem_strdup(reason);
    }
    pthread_mutex_unlock(&g->lock);
    if (!listed) giveup_add(g, db, key, why);
}

size_t giveup_kept(const struct giveup *g) {
    return g->n;
}

const struct giveup_key *giveup_at(const struct giveup *g, size_t index) {
    return &g->keys[index];
}

uint64_t giveup_count(struct giveup *g) {
    pthread_mutex_lock(&g->lock);
    uint64_t count = g->count;
    pthread_mutex_unlock(&g->lock);
    return count;
}
