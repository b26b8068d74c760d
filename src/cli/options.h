/* The command line as values.
 *
 * options.def is the one table of options; command.def the one table of commands. options_parse()
 * fills a struct options from four places, and the place further left wins:
 *
 *   command line  >  environment (LONGHAUL_<NAME>)
 *                 >  --config FILE, [command] then [defaults]  >  default text
 *
 * Texts are checked and turned into values here, so that a command finds only values that are in
 * their range.
 */
#ifndef LONGHAUL_CLI_OPTIONS_H
#define LONGHAUL_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "base/slot.h"
#include "cli/command.h"
#include "copy/filter.h"
#include "copy/settings.h"
#include "generate/settings.h"
#include "server/endpoint.h"

/* The bounds that options.def uses. */
enum {
    OPTIONS_THREADS_MAX = 64,
    OPTIONS_BATCH_MAX = 100000,
    OPTIONS_PIPELINE_MAX = 100000,
    OPTIONS_SCAN_COUNT_MAX = 1000000,
    OPTIONS_ARGS_MIN = 16,
    OPTIONS_ARGS_MAX = 1000000,
    OPTIONS_RATE_MAX = 100000000,
    OPTIONS_ELEMENTS_MAX = 100000000,
    OPTIONS_LIST_MAX = 1000,     /* values of one repeatable option */
    OPTIONS_DATABASES_MAX = 1024 /* databases that --databases may list */
};
#define OPTIONS_BUFFER_MIN (INT64_C(1) << 20)
#define OPTIONS_BUFFER_MAX (INT64_C(64) << 30)
#define OPTIONS_VALUE_MAX (INT64_C(512) << 20) /* largest string value of a stock server */
#define OPTIONS_ROUNDS_MAX 100
#define OPTIONS_KEYS_MAX INT64_C(100000000000)
#define OPTIONS_TIMEOUT_MAX_MS (INT64_C(24) * 3600 * 1000)
#define OPTIONS_POLL_MIN_MS 100
#define OPTIONS_GATHER_MAX_MS (INT64_C(10) * 60 * 1000)
#define OPTIONS_LEASE_MIN_MS INT64_C(1000)
#define OPTIONS_LEASE_MAX_MS (INT64_C(10) * 60 * 1000)
#define OPTIONS_DURATION_MAX_MS (INT64_C(3650) * 24 * 3600 * 1000)

/* Values of options that choose one of several words; the order is that of the words in
 * options.def. */
enum opt_mode { OPT_MODE_SCAN, OPT_MODE_LIVE, OPT_MODE_LIVEONLY };
enum opt_capture { OPT_CAPTURE_AUTO, OPT_CAPTURE_TRACKING, OPT_CAPTURE_NOTIFICATIONS };
enum opt_resync { OPT_RESYNC_AUTO, OPT_RESYNC_FULL };
enum opt_extra { OPT_EXTRA_HOLD, OPT_EXTRA_DELETE, OPT_EXTRA_KEEP };
enum opt_type { OPT_TYPE_DUMP, OPT_TYPE_STRUCT };
enum opt_compare { OPT_COMPARE_QUICK, OPT_COMPARE_FULL, OPT_COMPARE_NONE, OPT_COMPARE_DIGEST };
enum opt_read_from { OPT_READ_FROM_PRIMARY, OPT_READ_FROM_REPLICA };
enum opt_progress { OPT_PROGRESS_AUTO, OPT_PROGRESS_BAR, OPT_PROGRESS_LOG, OPT_PROGRESS_NONE };
enum opt_output { OPT_OUTPUT_TEXT, OPT_OUTPUT_JSON };
enum opt_unit { OPT_UNIT_MS, OPT_UNIT_US };
struct opt_list {
    char **items;
    size_t n;
};

struct opt_slots {
    bool given;
    struct slot_set set;
};

/* --databases. Neither all nor any listed: the database that the endpoint names. */
struct opt_databases {
    bool all;
    int *dbs; /* ascending, each once */
    size_t n;
};

/* The options of one endpoint: --source-tls and the like, or without prefix for commands with one
 * endpoint. */
struct opt_side {
    /* as it stood on the command line; NULL where the command line had none; may hold a password */
    char *uri;
    bool cluster;
    char *user;
    char *pass;
    char *pass_file;
    bool pass_prompt;
    bool tls;
    bool insecure;
    char *ca_file;
    char *ca_dir;
    char *cert_file;
    char *key_file;
    char *key_pass;
    char *server_name;
};

enum opt_side_id { OPT_SOURCE, OPT_TARGET, OPT_SERVER, OPT_SIDES };

struct options {
    enum command_id command;
    bool help;     /* --help was given: nothing else is checked */
    bool help_all; /* --help all */
    /* positional arguments that are no endpoints (help COMMAND, completion SHELL) */
    char *words[COMMAND_WORDS_MAX];
    size_t n_words;

    struct opt_side side[OPT_SIDES];
    bool cluster; /* --cluster where a command has two sides */
    int64_t timeout_ms;
    int64_t connect_timeout_ms;

    int read_from; /* enum opt_read_from */
    struct opt_databases databases;
    char *key_pattern; /* NULL: all */
    /* lower case as TYPE answers, module types as they are; empty: all */
    struct opt_list key_types;
    struct opt_list key_include;
    struct opt_list key_exclude;
    struct opt_slots key_slots;
    bool no_functions;

    struct copy_settings copy; /* structured follows from type */
    int mode;                  /* enum opt_mode */
    int type;                  /* enum opt_type; --struct is in it */
    bool struct_type;          /* --struct as given */

    int capture; /* enum opt_capture */
    int64_t poll_ms, lease_ms;
    int64_t gather_ms;       /* 0: never */
    int64_t idle_timeout_ms; /* 0: none */
    char *state_dir, *job;   /* NULL: none; one made from the scope */
    int resync;              /* enum opt_resync */
    int64_t max_lag_ms;      /* status: an older watermark needs attention; 0: none does */
    bool history, given_up;  /* status */
    bool release_deletions;
    char *beside; /* a job whose keys this one may write too; NULL: none */
    int extra;    /* enum opt_extra */

    int64_t threads; /* 0: automatic */
    int64_t scan_count;
    uint64_t buffer_memory_bytes;
    int64_t sleep_ms; /* replicate, compare: after each page of a scan; ping: between iterations */
    int64_t rate;     /* keys a second; 0: unlimited */

    /* enum opt_compare; --quick, --full and --digest are in it; never NONE for the compare command
     */
    int compare;
    bool quick;  /* as given */
    bool full;   /* as given */
    bool digest; /* as given */
    bool show_diffs;
    int64_t ttl_tolerance_ms;
    int64_t rounds, interval_ms;
    char *key_file, *report_file; /* NULL: none */
    int64_t sample;               /* 0: all */
    int64_t seed;                 /* of the sample; 0: another one each time */
    bool repair, delete_extra;
    int64_t max_delete; /* percent of the target's keys; replicate, compare */

    int64_t iterations; /* ping: 0: until interrupted */
    int64_t count;      /* ping: round trips of one iteration */
    int unit;           /* enum opt_unit */

    /* key_prefix is owned here; of demo: keys from 1 to N */
    struct gen_settings generate;
    bool keep;

    int progress;  /* enum opt_progress */
    int output;    /* enum opt_output */
    int log_level; /* enum log_level; --quiet and --verbose are in it */
    bool quiet;
    bool verbose;
    char *config_file;

    unsigned char *origin; /* private to options.c: where each row of the table got its value */
};

/* Fills *options from argv (argv[0] is the program), the environment `env` (as environ; may be
 * NULL) and the file that --config names. *options is overwritten; release it with options_fini,
 * also on false. An error is one line about the first thing that is wrong, without any secret.
 * Neither reads password files nor prompts. */
bool options_parse(struct options *options, int argc, char *const *argv, char *const *env,
                   struct err *err);

/* Reads --*-pass-file and asks for --*-pass-prompt, into side[].pass. */
bool options_load_secrets(struct options *options, struct err *err);

/* Was the option (its long name) given anywhere, be it with its default value? */
bool options_is_given(const struct options *options, const char *name);

/* Builds the endpoint from its URI and the options of its side. OPT_SERVER for commands with one
 * endpoint. A contradiction between both is an error. On true release *endpoint with endpoint_fini.
 */
bool options_endpoint(const struct options *options, enum opt_side_id side,
                      struct endpoint *endpoint, struct err *err);

/* Which keys the options choose; borrows from them. */
struct key_filter options_filter(const struct options *options);

/* The scope of a live job: canonical JSON (an object with sorted keys) of every option that decides
 * the content of the target, and of the databases. Equal choices give equal text, different choices
 * different text. To be freed. */
char *options_scope(const struct options *options, int source_db, int target_db);

/* The word of an option of the kind CHOICE, as `command` has it: "scan" for --mode. New text, the
 * caller's. */
char *options_word(const struct options *options, const char *name);

/* Frees the contents; secrets are wiped before. */
void options_fini(struct options *options);

#endif
