/* The knowledge and the findings of `longhaul doctor`. probe.c asks the servers and fills struct
 * doctor_side; judge.c turns their answers into findings without asking anybody, so that judge.c
 * can be tested alone. */
#ifndef LONGHAUL_DOCTOR_DOCTOR_H
#define LONGHAUL_DOCTOR_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"
#include "server/address.h"
#include "server/client.h"
#include "server/deployment.h"
#include "server/endpoint.h"
#include "server/info.h"

enum {
    DOCTOR_NODES_MAX = 512,
    DOCTOR_DATABASES_MAX = 1024,
    DOCTOR_CLOCK_SAMPLES = 7,
    DOCTOR_TEXT_MAX = 200
};

/* ---- commands ---- */

enum doctor_severity {
    DOCTOR_NONE = -1,
    DOCTOR_OK,
    DOCTOR_NOTE,
    DOCTOR_WARNING,
    DOCTOR_PROBLEM,
    DOCTOR_SEVERITIES
};

enum doctor_command_id {
#define DOCTOR_COMMAND(id, name, probe, source, target, consequence) DOCTOR_CMD_##id,
#include "doctor/commands.def"
#undef DOCTOR_COMMAND
    DOCTOR_COMMANDS
};

enum doctor_side_id { DOCTOR_SOURCE, DOCTOR_TARGET };

struct doctor_command {
    const char *name, *probe, *consequence;
    enum doctor_severity severity[2]; /* by enum doctor_side_id: source, target */
};

extern const struct doctor_command doctor_commands[DOCTOR_COMMANDS];

/* From good to bad; of several nodes the worst counts. */
enum doctor_answer {
    ANSWER_NOT_ASKED,
    ANSWER_GOOD,
    ANSWER_REFUSED,
    ANSWER_UNKNOWN,
    ANSWER_NO_KEYS,
    ANSWER_NO_CHANNELS,
    ANSWER_NOPERM,
    DOCTOR_ANSWERS
};

/* The meaning of an error reply (without its '-') to a probe. */
enum doctor_answer doctor_answer_of_error(struct bytes text);

/* ---- requirements of --mode live ---- */

/* Abilities whose test takes several commands, or a connection of its own. */
enum doctor_check_id {
    DOCTOR_CHECK_TRACKING,    /* HELLO 3 and CLIENT TRACKING ON BCAST */
    DOCTOR_CHECK_UNUSED,      /* SUBSCRIBE to the feed's channel that nobody uses */
    DOCTOR_CHECK_GROUPS,      /* PSUBSCRIBE to events of consumer groups */
    DOCTOR_CHECK_EVENTS,      /* PSUBSCRIBE to all keyspace events */
    DOCTOR_CHECK_TRANSACTION, /* WATCH, UNWATCH, MULTI, EXEC */
    /* commands of the record and the lease on keys with longhaul's own names */
    DOCTOR_CHECK_RECORD,
    DOCTOR_CHECKS
};

struct doctor_check {
    enum doctor_answer answer;
    char text[DOCTOR_TEXT_MAX]; /* the server's words where it is not good */
};

/* For one server. notify, buffers: empty or not known where CONFIG is refused. */
struct doctor_live {
    struct doctor_check checks[DOCTOR_CHECKS];
    bool notify_known;
    char notify[32];                 /* notify-keyspace-events */
    bool counts_calls, counts_forks; /* INFO commandstats; total_forks */
    bool buffer_known;
    /* bytes, client-output-buffer-limit of pubsub; 0: no limit */
    uint64_t buffer_hard, buffer_soft;
};

/* ---- facts ---- */

struct doctor_node {
    struct address address;
    char name[ADDRESS_HOST_MAX + 16];
    bool reached;
    struct err err; /* why not */
    struct server_info info;
    uint64_t keys, expires;
    bool has_clock;
    int64_t clock_ahead_us;              /* of this machine's clock */
    int64_t clock_within_us;             /* half of the round trip */
    char write_refusal[DOCTOR_TEXT_MAX]; /* OOM, READONLY, MISCONF...; empty: none */
    struct doctor_live live;
};

struct doctor_side {
    enum doctor_side_id id; /* DOCTOR_SOURCE or DOCTOR_TARGET */
    bool given;             /* doctor may look at one side only */
    bool reached;
    struct err err; /* why not */
    char label[ADDRESS_HOST_MAX + 64];
    bool tls, elasticache; /* as the endpoint says */
    int db;                /* of the endpoint */
    const char *kind;      /* "standalone", "cluster", "sentinel" */
    bool cluster;
    int n_primaries, n_replicas;
    unsigned uncovered;        /* slots */
    struct doctor_node *nodes; /* the primaries; or the server that was named */
    int n_nodes;
    enum doctor_answer answers[DOCTOR_COMMANDS];
    char answer_texts[DOCTOR_COMMANDS][DOCTOR_TEXT_MAX];
    char user[64];     /* ACL WHOAMI; empty: not known */
    bool psync_denied; /* ACL DRYRUN says so */
    bool notify_known;
    char notify[32];          /* notify-keyspace-events */
    uint64_t functions_bytes; /* of FUNCTION DUMP; an empty one has 10 */
    int n_dbs;                /* databases that hold keys */
    int dbs[DOCTOR_DATABASES_MAX];
    uint64_t db_keys[DOCTOR_DATABASES_MAX];
    int n_unselectable; /* of the other side's databases */
    int unselectable[DOCTOR_DATABASES_MAX];
};

/* How a side is reached. */
struct doctor_access {
    struct endpoint endpoint;
    struct deployment_settings settings;
};

/* Opens the side and asks everything. Failures are in *side. */
void doctor_probe(struct doctor_side *side, struct loop *loop, const struct doctor_access *access,
                  enum doctor_side_id id);
/* Which of the databases of `other` can be selected here? Asked on the first node. */
void doctor_probe_databases(struct doctor_side *side, struct loop *loop,
                            const struct doctor_access *access, const struct doctor_side *other);
/* Asks one server for the requirements of --mode live: client is a connection to it, others are
 * made and closed. Nothing is written. */
void doctor_probe_live(struct doctor_side *side, struct deployment *deployment,
                       struct client *client, struct doctor_node *node);
void doctor_side_fini(struct doctor_side *side);

/* Reasons to refuse the two sides together; ERR_NONE: none. */
struct doctor_pair {
    struct err sides;   /* one server, one replication group, one cluster, or too old */
    struct err role;    /* the target was promoted */
    struct err reverse; /* a job copies from the target into the source */
    struct err others;  /* a job writes to the target already */
};

/* Asks both sides the questions of a starting job. Nothing is written. */
void doctor_probe_pair(struct doctor_pair *pair, struct loop *loop,
                       const struct doctor_access *source_access,
                       const struct doctor_access *target_access);

/* ---- findings ---- */

struct doctor_finding {
    enum doctor_severity severity;
    const char *side;  /* "source", "target", "both"; static */
    const char *topic; /* one word; static */
    char *text;        /* the fact and its consequence */
    char *advice;      /* the remedy; NULL: none */
};

struct doctor_findings {
    struct doctor_finding *items;
    size_t n, cap;
    unsigned count[DOCTOR_SEVERITIES];
};

void doctor_findings_add(struct doctor_findings *findings, enum doctor_severity severity,
                         const char *side, const char *topic, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* To the finding added last. */
void doctor_findings_advise(struct doctor_findings *findings, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* To the finding added last: how the user gets the rights that `rules` names ("+get ~*"). Where
 * ACL SETUSER is not allowed, as on ElastiCache, the rules belong into the access string. */
void doctor_findings_advise_access(struct doctor_findings *findings, const struct doctor_side *side,
                                   const char *rules);
void doctor_findings_fini(struct doctor_findings *findings);

void doctor_judge_side(struct doctor_findings *findings, const struct doctor_side *side);
/* Of --mode live alone; part of doctor_judge_side(). */
void doctor_judge_live(struct doctor_findings *findings, const struct doctor_side *side);
/* Findings that need both sides. None when one is not reached. */
void doctor_judge_both(struct doctor_findings *findings, const struct doctor_side *source,
                       const struct doctor_side *target);

/* The version of the RDB format that the server's DUMP writes, and whether it takes one of another
 * version. */
int doctor_rdb_version(const struct server_info *info);
bool doctor_takes_rdb(const struct server_info *info, int rdb_version);

/* After doctor_judge_both(). */
void doctor_judge_pair(struct doctor_findings *findings, const struct doctor_pair *pair);

const char *doctor_severity_name(enum doctor_severity severity);
/* "source" or "target". */
const char *doctor_side_name(const struct doctor_side *side);
json_t *doctor_side_json(const struct doctor_side *side);

#endif
