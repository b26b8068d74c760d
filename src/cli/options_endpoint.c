/* One side of the job: its URI and its options together make a struct endpoint.
 *
 * A password comes from the URI, --pass, --pass-file or --pass-prompt. Two of them on the command
 * line are a contradiction; one on the command line beats one from the environment, and that one
 * from the file. The URI stands on the command line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/options_priv.h"
#include "cli/secrets.h"
#include "server/secret_file.h"

enum { FULL_NAME_MAX = OPTION_NAME_MAX + 8, PROMPT_MAX = 300 };

static const char *const roles[OPT_SIDES] = { "source", "target", "server" };

const char *options_side_prefix(enum opt_side_id side) {
    static const char *const prefixes[OPT_SIDES] = { "source-", "target-", "" };
    return prefixes[side];
}

bool options_has_side(const struct options *options, enum opt_side_id side) {
    return options->side[side].uri != NULL;
}

/* "--source-cacert" */
static const char *full_name(enum opt_side_id side, const char *name, char buf[FULL_NAME_MAX]) {
    snprintf(buf, FULL_NAME_MAX, "--%s%s", options_side_prefix(side), name);
    return buf;
}

static enum option_origin origin_of(const struct options *options, enum opt_side_id side,
                                    const char *name) {
    char buf[FULL_NAME_MAX];
    enum option_origin origin = options_origin(options, full_name(side, name, buf) + 2);
    return origin > ORIGIN_DEFAULT ? origin : ORIGIN_NONE;
}

static bool refuse(enum opt_side_id side, const char *name, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static bool refuse(enum opt_side_id side, const char *name, struct err *err, const char *fmt, ...) {
    char place[FULL_NAME_MAX];
    va_list ap;
    va_start(ap, fmt);
    err_vset(err, ERR_USAGE, full_name(side, name, place), fmt, ap);
    va_end(ap);
    return false;
}

/* The option that gives the password, NULL for none; false where two of the same origin do. */
static bool pick_password(const struct options *options, enum opt_side_id side, const char **winner,
                          struct err *err) {
    static const char *const names[] = { "pass", "pass-file", "pass-prompt" };
    char buf[FULL_NAME_MAX];
    enum option_origin best = ORIGIN_NONE;
    *winner = NULL;
    for (size_t i = 0; i < 3; i++) {
        enum option_origin origin = origin_of(options, side, names[i]);
        if (origin == ORIGIN_NONE || origin < best) continue;
        if (origin == best)
            return refuse(side, names[i], err, "%s gives a password too; leave out one",
                          full_name(side, *winner, buf));
        best = origin;
        *winner = names[i];
    }
    return true;
}

static bool apply_user(const struct options *options, enum opt_side_id side,
                       struct endpoint *endpoint, struct err *err) {
    const char *user = options->side[side].user;
    if (user == NULL || (endpoint->user != NULL && strcmp(user, endpoint->user) == 0)) return true;
    if (endpoint->user == NULL) {
        endpoint->user = mem_strdup(user);
    } else if (origin_of(options, side, "user") == ORIGIN_COMMAND_LINE) {
        return refuse(side, "user", err, "the URI of the %s names another user; leave out one",
                      roles[side]);
    }
    return true;
}

static bool apply_password(const struct options *options, enum opt_side_id side,
                           struct endpoint *endpoint, struct err *err) {
    const struct opt_side *given = &options->side[side];
    const char *winner;
    if (!pick_password(options, side, &winner, err)) return false;
    if (winner == NULL) return true;
    if (endpoint->pass != NULL) {
        bool same = given->pass != NULL && strcmp(given->pass, endpoint->pass) == 0;
        if (same || origin_of(options, side, winner) != ORIGIN_COMMAND_LINE) return true;
        return refuse(
            side, winner, err,
            "the URI of the %s has a password too (a word alone before '@' is one); leave out one",
            roles[side]);
    }
    if (given->pass != NULL) endpoint->pass = mem_strdup(given->pass);
    /* Read again when the password is refused, see server/credentials.h. */
    if (strcmp(winner, "pass-file") == 0) endpoint->pass_file = mem_strdup(given->pass_file);
    return true;
}

static void set_text(char **field, const char *text) {
    free(*field);
    *field = text == NULL ? NULL : mem_strdup(text);
}

static bool check_tls_files(const struct options *options, enum opt_side_id side, struct err *err) {
    const struct opt_side *given = &options->side[side];
    if (given->key_file != NULL && given->cert_file == NULL)
        return refuse(side, "key", err, "a key needs its certificate; add --%scert FILE",
                      options_side_prefix(side));
    if (given->key_pass != NULL && given->cert_file == NULL)
        return refuse(side, "key-pass", err, "there is no key to open; add --%scert and --%skey",
                      options_side_prefix(side), options_side_prefix(side));
    if (given->insecure && (given->ca_file != NULL || given->ca_dir != NULL))
        return refuse(side, "insecure", err,
                      "verifies nothing, so that --%s%s means nothing; leave out one",
                      options_side_prefix(side), given->ca_file != NULL ? "cacert" : "cacert-dir");
    return true;
}

static bool check_tls_is_on(const struct options *options, enum opt_side_id side,
                            const struct endpoint *endpoint, struct err *err) {
    static const char *const names[] = { "cacert",   "cacert-dir", "cert",    "key",
                                         "key-pass", "sni",        "insecure" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !endpoint->tls.on; i++)
        if (origin_of(options, side, names[i]) != ORIGIN_NONE)
            return refuse(side, names[i], err,
                          "means nothing without TLS; add --%stls or write rediss://",
                          options_side_prefix(side));
    return true;
}

static bool apply_tls(const struct options *options, enum opt_side_id side,
                      struct endpoint *endpoint, struct err *err) {
    const struct opt_side *given = &options->side[side];
    if (given->tls) endpoint->tls.on = true;
    if (endpoint->tls.on && endpoint->kind == ENDPOINT_UNIX)
        return refuse(side, "tls", err, "a Unix socket has no TLS");
    if (!check_tls_is_on(options, side, endpoint, err) || !check_tls_files(options, side, err))
        return false;
    endpoint->tls.insecure = given->insecure;
    set_text(&endpoint->tls.ca_file, given->ca_file);
    set_text(&endpoint->tls.ca_dir, given->ca_dir);
    set_text(&endpoint->tls.cert_file, given->cert_file);
    /* One PEM file may hold both. */
    set_text(&endpoint->tls.key_file, given->key_file != NULL ? given->key_file : given->cert_file);
    set_text(&endpoint->tls.key_pass, given->key_pass);
    set_text(&endpoint->tls.server_name, given->server_name);
    return true;
}

static bool apply_cluster(const struct options *options, enum opt_side_id side,
                          struct endpoint *endpoint, struct err *err) {
    static const char *const kinds[] = { "one server", "a Unix socket",
                                         "a primary behind sentinels" };
    bool own = options->side[side].cluster;
    endpoint->cluster_wanted = own || options->cluster;
    if (!endpoint->cluster_wanted || endpoint->kind == ENDPOINT_TCP) return true;
    char place[FULL_NAME_MAX];
    return err_set(err, ERR_USAGE, own ? full_name(side, "cluster", place) : "--cluster",
                   "the %s is %s, which is no cluster; name host:port of one of its nodes",
                   roles[side], kinds[endpoint->kind]);
}

bool options_endpoint(const struct options *options, enum opt_side_id side,
                      struct endpoint *endpoint, struct err *err) {
    if (!endpoint_parse(endpoint, roles[side], options->side[side].uri, err)) return false;
    if (apply_user(options, side, endpoint, err) && apply_password(options, side, endpoint, err) &&
        apply_tls(options, side, endpoint, err) && apply_cluster(options, side, endpoint, err))
        return true;
    endpoint_fini(endpoint);
    return false;
}

static bool uri_has_password(const struct options *options, enum opt_side_id side) {
    struct endpoint endpoint;
    bool has = endpoint_parse(&endpoint, roles[side], options->side[side].uri, NULL) &&
               endpoint.pass != NULL;
    endpoint_fini(&endpoint);
    return has;
}

static bool load_side(struct options *options, enum opt_side_id id, struct err *err) {
    struct opt_side *side = &options->side[id];
    char place[FULL_NAME_MAX], question[PROMPT_MAX];
    const char *winner;
    if (!pick_password(options, id, &winner, err)) return false;
    if (winner == NULL || strcmp(winner, "pass") == 0 || uri_has_password(options, id)) return true;

    char *secret = NULL;
    full_name(id, winner, place);
    if (strcmp(winner, "pass-file") == 0) {
        if (!secret_file_read(side->pass_file, place, &secret, err)) return false;
    } else {
        snprintf(question, sizeof(question), "Password of the %s%s%s: ", roles[id],
                 side->user != NULL ? " for user " : "", side->user != NULL ? side->user : "");
        if (!secrets_prompt(question, place, &secret, err)) return false;
    }
    endpoint_wipe(&side->pass);
    side->pass = secret;
    return true;
}

bool options_load_secrets(struct options *options, struct err *err) {
    for (int id = 0; id < OPT_SIDES; id++)
        if (options_has_side(options, (enum opt_side_id)id) &&
            !load_side(options, (enum opt_side_id)id, err))
            return false;
    return true;
}
