/* See database.h. */
#include "copy/database.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

enum database_state { DATABASE_ASKED, DATABASE_THERE, DATABASE_LACKING };

struct database {
    struct database *next;
    struct databases *all;
    int number;
    enum database_state state;
    int64_t known_ms;
    struct client *client; /* while it is asked for */
};

struct databases {
    struct flight *flight;
    struct database *first;
};

struct databases *databases_new(struct flight *flight) {
    struct databases *all = mem_zalloc(sizeof(*all));
    all->flight = flight;
    return all;
}

static void database_close_client(void *ctx) {
    struct database *d = ctx;
    client_close(&d->client);
}

void databases_free(struct databases **databases) {
    struct databases *all = *databases;
    *databases = NULL;
    if (all == NULL) return;
    while (all->first != NULL) {
        struct database *d = all->first;
        all->first = d->next;
        loop_undefer(all->flight->loop, d);
        client_close(&d->client);
        free(d);
    }
    free(all);
}

static void database_know(struct database *d, enum database_state state) {
    d->state = state;
    d->known_ms = clock_mono_ms();
    loop_defer(d->all->flight->loop, database_close_client, d);
    flight_schedule(d->all->flight);
}

static void on_database_ready(void *ctx) {
    database_know(ctx, DATABASE_THERE);
}

/* Anything else that ends the connection for good ends the others, too, and is told there. */
static void on_database_down(void *ctx, const struct err *err, bool final) {
    if (final && err->code == ERR_UNSUPPORTED) database_know(ctx, DATABASE_LACKING);
}

static void database_ask(struct database *d) {
    static const struct client_events events = { .on_ready = on_database_ready,
                                                 .on_down = on_database_down };
    const struct flight *flight = d->all->flight;
    const struct pool_node *node = pool_first(flight->target);
    if (node == NULL || d->client != NULL) return;
    struct client_settings settings =
        deployment_client_settings(flight->plan->target, &node->address);
    settings.db = d->number;
    d->state = DATABASE_ASKED;
    d->client = client_open(flight->loop, &settings, &events, d);
}

static struct database *database_find(struct databases *all, int number) {
    struct database *d = all->first;
    while (d != NULL && d->number != number) d = d->next;
    if (d != NULL) return d;
    d = mem_zalloc(sizeof(*d));
    d->all = all;
    d->number = number;
    d->next = all->first;
    all->first = d;
    return d;
}

static void database_refuse(struct flight *flight, struct key_entry *entry, int number) {
    struct err err;
    err_set(&err, ERR_SERVER, deployment_role(flight->plan->target),
            "the target has no database %d; give it more (databases), or leave this one out "
            "(--databases)",
            number);
    flight_failed(flight, entry, NULL, &err);
}

bool database_admits(struct flight *flight, struct key_entry *entry) {
    int number = database_of(flight, entry);
    if (number == 0) return true;
    struct database *d = database_find(flight->databases, number);
    bool again =
        d->state == DATABASE_LACKING && clock_mono_ms() - d->known_ms >= DATABASE_ASK_AGAIN_MS;
    if (d->state == DATABASE_ASKED || again) database_ask(d);
    if (d->state == DATABASE_THERE) return true;
    if (d->state == DATABASE_ASKED) {
        flight_park(flight, entry);
    } else if (entry->flags & KEY_GONE) {
        flight_done(flight, entry);
    } else {
        database_refuse(flight, entry, number);
    }
    return false;
}
