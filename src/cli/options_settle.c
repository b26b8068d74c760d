/* Options against each other: which of several that mean the same thing wins, and which
 * contradict each other.
 *
 * Only options of the same origin contradict. A flag on the command line beats a line of the
 * configuration file that says the opposite. */
#include <string.h>

#include "cli/options_priv.h"
#include "store/record.h"

/* The option of higher origin, NULL where neither is given. On false both are, in the same place.
 */
static bool pick(const struct options *options, const char *a, const char *b, const char **winner,
                 struct err *err) {
    enum option_origin origin_a = options_origin(options, a), origin_b = options_origin(options, b);
    *winner = NULL;
    if (origin_a <= ORIGIN_DEFAULT && origin_b <= ORIGIN_DEFAULT) return true;
    if (origin_a == origin_b)
        return err_set(err, ERR_USAGE, NULL, "--%s and --%s contradict each other", a, b);
    *winner = origin_a > origin_b ? a : b;
    return true;
}

/* `flag` is short for --choice with the word of index `meaning`; the same twice is no
 * contradiction. */
static bool settle_choice(const struct options *options, const char *flag, const char *choice,
                          int *value, int meaning, struct err *err) {
    const char *winner;
    if (options_origin(options, flag) > ORIGIN_DEFAULT && *value == meaning) return true;
    if (!pick(options, flag, choice, &winner, err)) return false;
    if (winner == flag) *value = meaning;
    return true;
}

static bool check_repair(const struct options *options, struct err *err) {
    static const char *const of_repair[] = { "--delete-extra", "--max-delete", "--dry-run" };
    for (size_t i = 0; i < sizeof(of_repair) / sizeof(of_repair[0]); i++)
        if (!options->repair && options_origin(options, of_repair[i] + 2) == ORIGIN_COMMAND_LINE)
            return err_set(err, ERR_USAGE, of_repair[i],
                           "is about what --repair does; add --repair");
    if (options->sample > 0 && options->key_file != NULL)
        return err_set(err, ERR_USAGE, "--sample",
                       "draws from all keys, --key-file names them; leave out one");
    if (options->sample > 0 && options->repair)
        return err_set(err, ERR_USAGE, "--sample",
                       "finds only some of what differs; leave it out to repair");
    return true;
}

static bool settle_strength(struct options *options, struct err *err) {
    static const struct {
        const char *name;
        int meaning;
    } ways[] = { { "quick", OPT_COMPARE_QUICK },
                 { "full", OPT_COMPARE_FULL },
                 { "digest", OPT_COMPARE_DIGEST } };
    const char *best = NULL, *winner;
    options->compare = OPT_COMPARE_FULL;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (options_origin(options, ways[i].name) <= ORIGIN_DEFAULT) continue;
        if (best != NULL && !pick(options, best, ways[i].name, &winner, err)) return false;
        if (best != NULL && winner == best) continue;
        best = ways[i].name;
        options->compare = ways[i].meaning;
    }
    return true;
}

struct no_effect {
    const char *name;
    const char *why;
};

/* Refuses options of the command line that would do nothing. */
static bool refuse_without_effect(const struct options *options, const struct no_effect *list,
                                  size_t n, struct err *err) {
    char place[OPTION_NAME_MAX + 2];
    for (size_t i = 0; i < n; i++) {
        if (options_origin(options, list[i].name) != ORIGIN_COMMAND_LINE) continue;
        snprintf(place, sizeof(place), "--%s", list[i].name);
        return err_set(err, ERR_USAGE, place, "has no effect here: %s", list[i].why);
    }
    return true;
}

#define REFUSE_WITHOUT_EFFECT(options, list, err)                                                  \
    refuse_without_effect(options, list, sizeof(list) / sizeof((list)[0]), err)

static bool settle_sample(const struct options *options, struct err *err) {
    static const struct no_effect without_sample[] = { { "seed", "add --sample N" } };
    static const struct no_effect without_ttl[] = {
        { "ttl-tolerance", "--no-ttl leaves expiry out of the comparison" }
    };
    if (options->sample == 0 && !REFUSE_WITHOUT_EFFECT(options, without_sample, err)) return false;
    return !options->copy.no_ttl || REFUSE_WITHOUT_EFFECT(options, without_ttl, err);
}

static bool settle_compare(struct options *options, struct err *err) {
    if (options->command == COMMAND_COMPARE) {
        return settle_strength(options, err) && check_repair(options, err) &&
               settle_sample(options, err);
    }
    if (!settle_choice(options, "quick", "compare", &options->compare, OPT_COMPARE_QUICK, err))
        return false;
    if (!options->copy.dry_run || options->compare == OPT_COMPARE_NONE) return true;
    if (options_origin(options, "compare") == ORIGIN_COMMAND_LINE ||
        options_origin(options, "quick") == ORIGIN_COMMAND_LINE)
        return err_set(err, ERR_USAGE, NULL,
                       "--dry-run writes nothing, so there is nothing to compare; leave out one");
    options->compare = OPT_COMPARE_NONE;
    return true;
}

static bool settle_log_level(struct options *options, struct err *err) {
    const char *winner;
    if (!pick(options, "quiet", "verbose", &winner, err)) return false;
    if (winner == NULL) return true;
    int level = strcmp(winner, "quiet") == 0 ? LOG_WARN : LOG_DEBUG;
    return settle_choice(options, winner, "log-level", &options->log_level, level, err);
}

static bool refuse_pair(const struct options *options, const char *a, const char *b,
                        const char *why, struct err *err) {
    if (options_origin(options, a) != ORIGIN_COMMAND_LINE ||
        options_origin(options, b) != ORIGIN_COMMAND_LINE)
        return true;
    return err_set(err, ERR_USAGE, NULL, "--%s and --%s contradict each other: %s", a, b, why);
}

#define JOB_NAME_RULE "a name has 1 to %d letters, digits, '.', '_' and '-'"

/* The name becomes part of keys on the target, between braces, and a field of the record. */
static bool is_job_name(const char *name) {
    size_t plain =
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return name[0] != '\0' && name[plain] == '\0' && plain < RECORD_JOB_MAX;
}

static bool check_job(const struct options *options, struct err *err) {
    if (options->beside != NULL && !is_job_name(options->beside))
        return err_set(err, ERR_USAGE, "--beside", JOB_NAME_RULE, RECORD_JOB_MAX - 1);
    if (options->job == NULL || is_job_name(options->job)) return true;
    return err_set(err, ERR_USAGE, "--job", JOB_NAME_RULE, RECORD_JOB_MAX - 1);
}

/* Options that the mode leaves without effect. */
static bool check_live(const struct options *options, struct err *err) {
    if (options->copy.dry_run)
        return err_set(err, ERR_USAGE, "--dry-run",
                       "a live job has no end to report at; use --mode scan with it");
    return check_job(options, err);
}

#define NEVER_COMPARES                                                                             \
    "a live job compares only when --idle-timeout ends it; add that, or run longhaul compare"

static bool check_effects(const struct options *options, struct err *err) {
    static const struct no_effect compared[] = { { "compare", NEVER_COMPARES } };
    static const struct no_effect without_end[] = { { "quick", NEVER_COMPARES },
                                                    { "show-diffs", NEVER_COMPARES },
                                                    { "ttl-tolerance", NEVER_COMPARES } };
    static const struct no_effect liveonly[] = {
        { "extra", "--mode liveonly makes no first copy, so it knows no keys that are extra" }
    };
    static const struct no_effect without_ttl[] = {
        { "ttl-tolerance", "--no-ttl leaves expiry out of the comparison" }
    };
    static const struct no_effect not_compared[] = { { "ttl-tolerance", "nothing is compared" } };
    bool endless = options->mode != OPT_MODE_SCAN && options->idle_timeout_ms == 0;
    if (endless && options->compare != OPT_COMPARE_NONE &&
        !REFUSE_WITHOUT_EFFECT(options, compared, err))
        return false;
    if (endless && !REFUSE_WITHOUT_EFFECT(options, without_end, err)) return false;
    if (options->mode == OPT_MODE_LIVEONLY && !REFUSE_WITHOUT_EFFECT(options, liveonly, err))
        return false;
    if (options->copy.no_ttl && !REFUSE_WITHOUT_EFFECT(options, without_ttl, err)) return false;
    return options->compare != OPT_COMPARE_NONE ||
           REFUSE_WITHOUT_EFFECT(options, not_compared, err);
}

static bool settle_live(const struct options *options, struct err *err) {
    char place[OPTION_NAME_MAX + 2];
    if (options->mode != OPT_MODE_SCAN) return check_live(options, err);
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (option->section != OPTION_SECTION_LIVE ||
            !option_belongs_to(option, options->command) ||
            options_origin(options, option->name) != ORIGIN_COMMAND_LINE)
            continue;
        snprintf(place, sizeof(place), "--%s", option->name);
        return err_set(err, ERR_USAGE, place, "is for following changes; add --mode live");
    }
    return check_job(options, err);
}

static bool settle_replicate(struct options *options, struct err *err) {
    if (!settle_choice(options, "struct", "type", &options->type, OPT_TYPE_STRUCT, err))
        return false;
    options->copy.structured = options->type == OPT_TYPE_STRUCT;
    if (options->compare == OPT_COMPARE_NONE &&
        !refuse_pair(options, "show-diffs", "compare", "nothing is compared", err))
        return false;
    static const char *const structured[] = { "--merge", "--no-stream-id", "--stream-prune" };
    for (size_t i = 0; i < sizeof(structured) / sizeof(structured[0]); i++)
        if (options->type != OPT_TYPE_STRUCT &&
            options_origin(options, structured[i] + 2) == ORIGIN_COMMAND_LINE)
            return err_set(err, ERR_USAGE, structured[i],
                           "is for copies by commands; add --type struct");
    return settle_live(options, err) && check_effects(options, err);
}

static bool check_history(const struct options *options, struct err *err) {
    if ((!options->history && !options->given_up) || options->state_dir != NULL) return true;
    return err_set(err, ERR_USAGE, options->history ? "--history" : "--given-up",
                   "is kept in the state directory only; add --state-dir DIR");
}

/* Of one of both places the job must be known. */
static bool check_asked(const struct options *options, struct err *err) {
    char usage[128];
    if (!check_job(options, err) || !check_history(options, err)) return false;
    if (options->side[OPT_TARGET].uri != NULL || options->state_dir != NULL) return true;
    return err_set(err, ERR_USAGE, NULL, "TARGET is missing, or --state-dir; usage: %s",
                   command_usage(options->command, usage, sizeof(usage)));
}

static bool settle_generate(struct options *options, struct err *err) {
    if (!refuse_pair(options, "forever", "duration", "one has no end, the other has", err))
        return false;
    bool share_given = options_origin(options, "expire-share") > ORIGIN_DEFAULT;
    if (options_origin(options, "expire") > ORIGIN_DEFAULT && !share_given)
        options->generate.expire_share = 100;
    struct gen_settings *generate = &options->generate;
    if (generate->types == 0) generate->types = GEN_TYPES_ALL;
    generate->rate = options->rate;
    generate->pipeline = (int64_t)options->copy.pipeline;
    generate->batch = (int64_t)options->copy.batch_keys;
    generate->max_args = (int64_t)options->copy.max_args;
    generate->timeout_ms = options->timeout_ms;
    generate->outage_timeout_ms = options->copy.outage_timeout_ms;
    generate->mixed_sizes = !options_is_given(options, "value-size");
    generate->mixed_elements = !options_is_given(options, "elements");
    return true;
}

static bool check_demo(const struct options *options, struct err *err) {
    if (options->generate.keys.first == 1) return true;
    return err_set(err, ERR_USAGE, "--keys", "demo takes a number of keys, not a range");
}

/* A database in the URI and a list of databases are two answers to one question. */
static bool check_databases(const struct options *options, const struct endpoint *endpoint,
                            struct err *err) {
    if (!endpoint->db_named || !options_is_given(options, "databases")) return true;
    return err_set(err, ERR_USAGE, "--databases", "the %s names database %d; leave out one of both",
                   endpoint->role, endpoint->db);
}

/* Switched off by hand although the URI asks for it: one of both is a mistake. */
static bool check_tls(const struct options *options, enum opt_side_id side,
                      const struct endpoint *endpoint, struct err *err) {
    char name[OPTION_NAME_MAX], place[OPTION_NAME_MAX + 16];
    snprintf(name, sizeof(name), "%stls", options_side_prefix(side));
    if (!endpoint->tls.on || options_is_on(options, name) || !options_is_set(options, name))
        return true;
    snprintf(place, sizeof(place), "--%s=false", name);
    return err_set(err, ERR_USAGE, place,
                   "the URI of the %s asks for TLS; write redis:// there, or leave this option out",
                   endpoint->role);
}

static bool is_same_place(const struct endpoint *a, const struct endpoint *b) {
    return a->kind == b->kind && a->db == b->db && strcmp(a->label, b->label) == 0;
}

/* Builds the endpoints once, so that an error in them is told before anything starts. */
static bool settle_sides(const struct options *options, struct err *err) {
    struct endpoint endpoints[OPT_SIDES] = { 0 };
    bool good = true;
    for (int id = 0; id < OPT_SIDES && good; id++) {
        if (!options_has_side(options, (enum opt_side_id)id)) continue;
        good = options_endpoint(options, (enum opt_side_id)id, &endpoints[id], err) &&
               check_databases(options, &endpoints[id], err) &&
               check_tls(options, (enum opt_side_id)id, &endpoints[id], err);
    }
    if (good && options->command == COMMAND_REPLICATE &&
        is_same_place(&endpoints[OPT_SOURCE], &endpoints[OPT_TARGET]))
        good = err_set(err, ERR_USAGE, NULL, "source and target are the same: %s",
                       endpoints[OPT_SOURCE].label);
    for (int id = 0; id < OPT_SIDES; id++) endpoint_fini(&endpoints[id]);
    return good;
}

bool options_settle(struct options *options, struct err *err) {
    if (!settle_log_level(options, err)) return false;
    if (options->command == COMMAND_REPLICATE || options->command == COMMAND_COMPARE)
        if (!settle_compare(options, err)) return false;
    if (options->command == COMMAND_REPLICATE && !settle_replicate(options, err)) return false;
    if (options->command == COMMAND_STATUS || options->command == COMMAND_RESUME ||
        options->command == COMMAND_FORGET)
        if (!check_asked(options, err)) return false;
    if (options->command == COMMAND_GENERATE && !settle_generate(options, err)) return false;
    if (options->command == COMMAND_DEMO && !check_demo(options, err)) return false;
    return settle_sides(options, err);
}
