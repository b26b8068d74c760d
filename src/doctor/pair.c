/* Reasons why two sides cannot be source and target; see doctor.h. The same functions refuse
 * the job when it starts. */
#include "doctor/doctor.h"

#include <stdio.h>

#include "job/others.h"
#include "probe/sides.h"
#include "store/role.h"

static void ask_role(struct doctor_pair *pair, struct deployment *target) {
    struct role_record role;
    bool found;
    if (!role_read(target, &role, &found, &pair->role)) return;
    err_clear(&pair->role);
    if (found) role_check_target(&role, deployment_endpoint(target)->label, &pair->role);
}

/* As a snapshot without filters would. */
static void ask_others(struct doctor_pair *pair, struct deployment *source,
                       struct deployment *target) {
    char scope[64];
    struct others others = { 0 };
    const struct job_purpose purpose = { .source = deployment_endpoint(source)->label,
                                         .target = deployment_endpoint(target)->label,
                                         .scope = scope };
    snprintf(scope, sizeof(scope), "{\"target_databases\":[%d]}", deployment_endpoint(target)->db);
    if (others_check_reverse(source, target, &purpose, &pair->reverse))
        others_check_snapshot(source, target, &purpose, &others, &pair->others);
    others_fini(&others);
}

void doctor_probe_pair(struct doctor_pair *pair, struct loop *loop,
                       const struct doctor_access *source_access,
                       const struct doctor_access *target_access) {
    *pair = (struct doctor_pair){ 0 };
    struct deployment *source =
        deployment_open(loop, &source_access->endpoint, &source_access->settings, &pair->sides);
    struct deployment *target =
        deployment_open(loop, &target_access->endpoint, &target_access->settings, &pair->sides);
    if (source != NULL && target != NULL) {
        bool other_database = source_access->endpoint.db != target_access->endpoint.db;
        err_clear(&pair->sides);
        sides_check(source, target, other_database, &pair->sides);
        ask_role(pair, target);
        ask_others(pair, source, target);
    }
    deployment_free(&source);
    deployment_free(&target);
}

static bool has_topic(const struct doctor_findings *f, const char *topic) {
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->items[i].topic, topic) == 0) return true;
    return false;
}

void doctor_judge_pair(struct doctor_findings *f, const struct doctor_pair *pair) {
    char text[ERR_PLACE_MAX + ERR_TEXT_MAX + 4];
    if (pair->sides.code != ERR_NONE && !has_topic(f, "same"))
        doctor_findings_add(f, DOCTOR_PROBLEM, "both", "sides", "%s",
                            err_format(&pair->sides, text, sizeof(text)));
    /* Only what the records say: trouble with a side is told elsewhere. */
    if (pair->reverse.code == ERR_USAGE)
        doctor_findings_add(f, DOCTOR_PROBLEM, "source", "jobs", "%s",
                            err_format(&pair->reverse, text, sizeof(text)));
    if (pair->others.code == ERR_USAGE)
        doctor_findings_add(f, DOCTOR_WARNING, "target", "jobs", "%s",
                            err_format(&pair->others, text, sizeof(text)));
    if (pair->role.code != ERR_NONE)
        doctor_findings_add(f, DOCTOR_PROBLEM, "target", "role", "%s",
                            err_format(&pair->role, text, sizeof(text)));
}
