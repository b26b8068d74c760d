/* longhaul doctor: problems of a replication, found before it starts. Asks both sides
 * (doctor/probe.c), judges (doctor/judge.c), and shows the findings by side. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/help.h"
#include "cli/side.h"
#include "cli/signals.h"
#include "doctor/doctor.h"
#include "output/json_out.h"

/* Columns of the first words of a line: "  problem  eviction   ". */
enum {
    MARK_WIDTH = 7,
    TOPIC_WIDTH = 9,
    TEXT_INDENT = 2 + MARK_WIDTH + 2 + TOPIC_WIDTH + 2,
    TEXT_WIDTH_MIN = 30
};

struct doctor {
    const struct options *options;
    struct loop *loop;
    struct doctor_side sides[2]; /* by enum doctor_side_id */
    struct doctor_access access[2];
    bool accessible[2]; /* access is filled */
    struct doctor_pair pair;
    struct doctor_findings findings;
};

/* ---- text ---- */

/* Words of `text` in lines that end before `width`; the first line goes on where the cursor is. */
static void doctor_print_wrapped(const char *text, size_t width) {
    size_t column = 0,
           room = width > TEXT_INDENT + TEXT_WIDTH_MIN ? width - TEXT_INDENT : TEXT_WIDTH_MIN;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (column > 0 && column + 1 + len > room) {
            printf("\n%*s", TEXT_INDENT, "");
            column = 0;
        }
        printf("%s%.*s", column > 0 ? " " : "", (int)len, text);
        column += len + (column > 0);
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', stdout);
}

static void doctor_print_finding(const struct doctor_finding *finding, size_t width) {
    printf("  %-*s  %-*s  ", MARK_WIDTH, doctor_severity_name(finding->severity), TOPIC_WIDTH,
           finding->topic);
    doctor_print_wrapped(finding->text, width);
    if (finding->advice == NULL) return;
    printf("%*s-> ", TEXT_INDENT - 3, "");
    doctor_print_wrapped(finding->advice, width);
}

static void doctor_print_group(const struct doctor *d, const char *side, const char *label,
                               size_t width) {
    bool any = false;
    for (size_t i = 0; i < d->findings.n; i++) {
        const struct doctor_finding *finding = &d->findings.items[i];
        if (strcmp(finding->side, side) != 0) continue;
        if (!any) printf("%s%s%s\n", side, label[0] != '\0' ? " " : "", label);
        any = true;
        doctor_print_finding(finding, width);
    }
    if (any) fputc('\n', stdout);
}

static void doctor_print_text(const struct doctor *d) {
    size_t width = help_width(stdout);
    const unsigned *count = d->findings.count;
    doctor_print_group(d, "source", d->sides[DOCTOR_SOURCE].label, width);
    doctor_print_group(d, "target", d->sides[DOCTOR_TARGET].label, width);
    doctor_print_group(d, "both", "", width);
    printf("%u problem%s, %u warning%s\n", count[DOCTOR_PROBLEM],
           count[DOCTOR_PROBLEM] == 1 ? "" : "s", count[DOCTOR_WARNING],
           count[DOCTOR_WARNING] == 1 ? "" : "s");
}

/* ---- JSON ---- */

static json_t *doctor_findings_json(const struct doctor *d) {
    json_t *all = json_array();
    for (size_t i = 0; i < d->findings.n; i++) {
        const struct doctor_finding *f = &d->findings.items[i];
        json_array_append_new(all,
                              json_pack("{s:s, s:s, s:s, s:s, s:s?}", "severity",
                                        doctor_severity_name(f->severity), "side", f->side, "topic",
                                        f->topic, "text", f->text, "advice", f->advice));
    }
    return all;
}

static int doctor_print_json(const struct doctor *d, int status) {
    json_t *document = json_pack("{s:s}", "command", "doctor");
    for (int id = DOCTOR_SOURCE; id <= DOCTOR_TARGET; id++)
        if (d->sides[id].given)
            json_object_set_new(document, doctor_side_name(&d->sides[id]),
                                doctor_side_json(&d->sides[id]));
    json_object_set_new(document, "findings", doctor_findings_json(d));
    json_object_set_new(document, "problems", json_integer(d->findings.count[DOCTOR_PROBLEM]));
    json_object_set_new(document, "warnings", json_integer(d->findings.count[DOCTOR_WARNING]));
    struct err err;
    return json_out(document, status, &err) ? status : complain(&err);
}

/* ---- the command ---- */

static void doctor_examine_side(struct doctor *d, enum doctor_side_id id) {
    enum opt_side_id side = id == DOCTOR_SOURCE ? OPT_SOURCE : OPT_TARGET;
    d->sides[id].given = true;
    d->accessible[id] = side_describe(d->options, side, 0, &d->access[id].endpoint,
                                      &d->access[id].settings, &d->sides[id].err);
    if (d->accessible[id]) doctor_probe(&d->sides[id], d->loop, &d->access[id], id);
}

static void doctor_examine(struct doctor *d) {
    struct doctor_side *source = &d->sides[DOCTOR_SOURCE], *target = &d->sides[DOCTOR_TARGET];
    doctor_examine_side(d, DOCTOR_SOURCE);
    if (d->options->side[OPT_TARGET].uri != NULL && !*signals_stop_flag())
        doctor_examine_side(d, DOCTOR_TARGET);
    if (!source->reached || !target->reached) return;
    doctor_probe_databases(target, d->loop, &d->access[DOCTOR_TARGET], source);
    doctor_probe_pair(&d->pair, d->loop, &d->access[DOCTOR_SOURCE], &d->access[DOCTOR_TARGET]);
}

static int doctor_report(struct doctor *d) {
    struct err err;
    if (*signals_stop_flag()) {
        err_set(&err, ERR_INTERRUPTED, NULL, "%s", err_sentence(ERR_INTERRUPTED));
        return complain(&err);
    }
    doctor_judge_side(&d->findings, &d->sides[DOCTOR_SOURCE]);
    doctor_judge_side(&d->findings, &d->sides[DOCTOR_TARGET]);
    doctor_judge_both(&d->findings, &d->sides[DOCTOR_SOURCE], &d->sides[DOCTOR_TARGET]);
    doctor_judge_pair(&d->findings, &d->pair);
    int status = d->findings.count[DOCTOR_PROBLEM] > 0 ? STATUS_TROUBLE : STATUS_DONE;
    if (d->options->output == OPT_OUTPUT_JSON) return doctor_print_json(d, status);
    doctor_print_text(d);
    return status;
}

int cmd_doctor(const struct options *options) {
    struct err err;
    struct loop *loop = loop_new(&err);
    if (loop == NULL) return complain(&err);
    signals_install(loop);
    struct doctor *d = mem_zalloc(sizeof(*d));
    d->options = options;
    d->loop = loop;
    d->sides[DOCTOR_SOURCE].id = DOCTOR_SOURCE;
    d->sides[DOCTOR_TARGET].id = DOCTOR_TARGET;
    doctor_examine(d);
    int status = doctor_report(d);
    doctor_findings_fini(&d->findings);
    doctor_side_fini(&d->sides[DOCTOR_SOURCE]);
    doctor_side_fini(&d->sides[DOCTOR_TARGET]);
    for (int id = DOCTOR_SOURCE; id <= DOCTOR_TARGET; id++)
        if (d->accessible[id]) endpoint_fini(&d->access[id].endpoint);
    free(d);
    signals_uninstall();
    loop_run_once(loop, 0);
    loop_free(&loop);
    return status;
}
