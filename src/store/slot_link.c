/* See slot_link_priv.h.
 *
 *   command ─▶ owner ──reply──────────────────────────────▶ fn
 *                └──ASK──▶ asked node: ASKING, command ──reply─▶ fn
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/slot_link_priv.h"

enum { LINK_REOPEN_MS = 2000, LINK_WORDS_MAX = 8 };

struct link_command {
    struct slot_link *link;
    slot_link_fn *fn; /* NULL: called already, the client's callback is still to come */
    void *ctx;
    size_t argc;
    struct bytes words[LINK_WORDS_MAX]; /* their bytes lie behind the struct */
    bool waits;                         /* for the asked node: no client has it */
    struct link_command *next, **previous;
};

struct slot_link {
    struct deployment *target;
    int db;
    int64_t reply_ms;
    const char *name;
    struct slot_link_events events;
    void *ctx;
    struct address owner_address, asked_address;
    struct client *owner, *asked;  /* NULL: none */
    int64_t reopen_ms;             /* of the owner, which gave up; 0: it did not */
    struct link_command *commands; /* under way */
    bool asked_is_dead;            /* it gave up */
    bool closing;
};

/* ---- clients ---- */

static void link_name_client(const struct slot_link *link, struct client *client) {
    if (link->name == NULL || client == NULL || !client_is_ready(client)) return;
    const struct bytes words[] = { BYTES_LITERAL("CLIENT"), BYTES_LITERAL("SETNAME"),
                                   bytes_of_str(link->name) };
    client_command(client, NULL, NULL, NULL, 3, words);
}

static struct client *link_open_client(struct slot_link *link, const struct address *address,
                                       const struct client_events *events) {
    struct client_settings settings = deployment_client_settings(link->target, address);
    settings.db = link->db;
    settings.fence = false;
    settings.identify = true;
    settings.name = NULL;
    if (settings.connect_timeout_ms > link->reply_ms) settings.connect_timeout_ms = link->reply_ms;
    if (settings.reply_timeout_ms > link->reply_ms) settings.reply_timeout_ms = link->reply_ms;
    return client_open(deployment_loop(link->target), &settings, events, link);
}

static void on_owner_ready(void *ctx) {
    struct slot_link *link = ctx;
    link_name_client(link, link->owner);
    link->events.on_ready(link->ctx);
}

static void on_owner_down(void *ctx, const struct err *err, bool final) {
    struct slot_link *link = ctx;
    if (link->closing) return;
    link->events.on_down(link->ctx);
    if (!final) return;
    log_err(LOG_WARN, err);
    link->reopen_ms = clock_mono_ms() + LINK_REOPEN_MS;
}

/* Once: takes it out of the list and tells its owner. */
static void link_command_tell(struct link_command *command, struct client *client,
                              const struct reply *reply) {
    slot_link_fn *fn = command->fn;
    if (fn == NULL) return;
    *command->previous = command->next;
    if (command->next != NULL) command->next->previous = command->previous;
    command->fn = NULL;
    fn(command->ctx, client, reply);
}

/* Those that wait for the asked node, or all: a client that is closed calls back later. */
static void link_fail_commands(struct slot_link *link, bool all, const struct err *err) {
    const struct reply reply = { .err = err };
    struct link_command *command = link->commands;
    while (command != NULL) {
        struct link_command *next = command->next;
        bool waits = command->waits;
        if (all || waits) link_command_tell(command, link->owner, &reply);
        if (waits) free(command);
        command = next;
    }
}

static void on_asked_down(void *ctx, const struct err *err, bool final) {
    struct slot_link *link = ctx;
    link->asked_is_dead = final;
    link_fail_commands(link, false, err);
    if (!link->closing) link->events.on_down(link->ctx);
}

/* ---- commands ---- */

static void on_asked_reply(void *ctx, void *arg, const struct reply *reply) {
    struct link_command *command = ctx;
    if (command->fn != NULL) link_command_tell(command, command->link->asked, reply);
    free(command);
}

static void link_send_asking(struct link_command *command) {
    struct client *asked = command->link->asked;
    command->waits = false;
    client_asking(asked);
    client_command(asked, on_asked_reply, command, NULL, command->argc, command->words);
}

static void on_asked_ready(void *ctx) {
    struct slot_link *link = ctx;
    link_name_client(link, link->asked);
    for (struct link_command *c = link->commands; c != NULL; c = c->next)
        if (c->waits && client_is_ready(link->asked)) link_send_asking(c);
}

static void link_ask(struct link_command *command, const struct address *to) {
    static const struct client_events events = { .on_ready = on_asked_ready,
                                                 .on_down = on_asked_down };
    struct slot_link *link = command->link;
    if (link->asked == NULL || link->asked_is_dead || !address_equal(&link->asked_address, to)) {
        client_close(&link->asked);
        link->asked_is_dead = false;
        link->asked_address = *to;
        link->asked = link_open_client(link, to, &events);
    }
    if (client_is_ready(link->asked)) {
        link_send_asking(command);
        return;
    }
    command->waits = true;
}

static void on_owner_reply(void *ctx, void *arg, const struct reply *reply) {
    struct link_command *command = ctx;
    struct redirect to;
    if (command->fn == NULL) {
        free(command);
        return;
    }
    struct slot_link *link = command->link;
    if (reply->err == NULL && !link->closing && client_redirect(link->owner, &reply->item, &to) &&
        to.ask) {
        link_ask(command, &to.address);
        return;
    }
    link_command_tell(command, link->owner, reply);
    free(command);
}

void slot_link_send(struct slot_link *link, slot_link_fn *fn, void *ctx, size_t argc,
                    const struct bytes *argv) {
    size_t size = sizeof(struct link_command);
    for (size_t i = 0; i < argc; i++) size += argv[i].len;
    struct link_command *command = mem_zalloc(size);
    char *at = (char *)(command + 1);
    command->link = link;
    command->fn = fn;
    command->ctx = ctx;
    command->argc = argc;
    command->next = link->commands;
    command->previous = &link->commands;
    if (link->commands != NULL) link->commands->previous = &command->next;
    link->commands = command;
    for (size_t i = 0; i < argc; at += argv[i++].len) {
        if (argv[i].len > 0) memcpy(at, argv[i].ptr, argv[i].len);
        command->words[i] = bytes_of(at, argv[i].len);
    }
    client_command(link->owner, on_owner_reply, command, NULL, argc, command->words);
}

/* ---- the link ---- */

struct slot_link *slot_link_new(struct deployment *target, int db, int64_t reply_ms,
                                const char *name, const struct slot_link_events *events,
                                void *ctx) {
    struct slot_link *link = mem_zalloc(sizeof(*link));
    *link = (struct slot_link){ .target = target,
                                .db = db,
                                .reply_ms = reply_ms,
                                .name = name,
                                .events = *events,
                                .ctx = ctx };
    return link;
}

static void link_open_owner(struct slot_link *link) {
    static const struct client_events events = { .on_ready = on_owner_ready,
                                                 .on_down = on_owner_down };
    link->reopen_ms = 0;
    link->owner = link_open_client(link, &link->owner_address, &events);
}

/* Nobody is told that the connection ended, but for those whose commands are under way. */
static void link_close_clients(struct slot_link *link) {
    struct err err;
    link->closing = true;
    err_set(&err, ERR_CLOSED, "target", "%s", err_sentence(ERR_CLOSED));
    link_fail_commands(link, true, &err);
    client_close(&link->asked);
    client_close(&link->owner);
    link->closing = false;
    link->reopen_ms = 0;
}

void slot_link_set_owner(struct slot_link *link, const struct address *owner) {
    if (owner != NULL && link->owner != NULL && address_equal(&link->owner_address, owner)) return;
    bool had_owner = link->owner != NULL;
    link_close_clients(link);
    if (had_owner) link->events.on_down(link->ctx);
    if (owner == NULL) return;
    link->owner_address = *owner;
    link_open_owner(link);
}

void slot_link_set_name(struct slot_link *link, const char *name) {
    link->name = name;
    link_name_client(link, link->owner);
    link_name_client(link, link->asked);
}

bool slot_link_is_ready(const struct slot_link *link) {
    return link->owner != NULL && client_is_ready(link->owner);
}

struct client *slot_link_client(const struct slot_link *link) {
    return link->owner;
}

void slot_link_step(struct slot_link *link) {
    if (link->reopen_ms == 0 || clock_mono_ms() < link->reopen_ms) return;
    client_close(&link->owner);
    link_open_owner(link);
}

void slot_link_free(struct slot_link **link) {
    struct slot_link *l = *link;
    *link = NULL;
    if (l == NULL) return;
    link_close_clients(l);
    free(l);
}
