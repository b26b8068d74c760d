/* See compare_report.h. */
#include "cli/compare_report.h"

#include <stdlib.h>

#include "base/units.h"
#include "cli/report.h"
#include "output/json_out.h"

enum { NUMBER_MAX = 32 };

/* Keys that are, or would be, copied. */
static uint64_t to_copy(const struct compare_report *r) {
    const uint64_t *count = r->found.count;
    return compare_result_different(&r->found) - count[DIFFERENCE_EXTRA] -
           count[DIFFERENCE_UNREADABLE];
}

static uint64_t to_delete(const struct compare_report *r) {
    return r->may_delete ? r->found.count[DIFFERENCE_EXTRA] : 0;
}

static json_t *json_repair(const struct compare_report *r) {
    if (!r->repairs) return json_null();
    return json_pack("{sb sI sI sI sI so}", "dry_run", (int)r->dry_run, "copied",
                     (json_int_t)(r->dry_run ? to_copy(r) : r->copied), "deleted",
                     (json_int_t)(r->dry_run ? to_delete(r) : r->deleted), "given_up",
                     (json_int_t)r->given_up, "deletions_held", (json_int_t)r->held, "compare",
                     r->compared_again ? report_compare(r->mode, &r->left) : json_null());
}

/* The members of the scope that leave keys out; empty: all keys were compared. */
static json_t *json_filters(const struct compare_report *r) {
    static const char *const names[] = { "key-pattern", "key-include", "key-exclude",
                                         "key-type",    "slots",       "mem-limit" };
    json_t *scope = r->scope != NULL ? json_loads(r->scope, 0, NULL) : NULL;
    json_t *filters = json_object();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        json_t *value = json_object_get(scope, names[i]);
        if (value != NULL) json_object_set(filters, names[i], value);
    }
    json_decref(scope);
    return filters;
}

/* only    keys within key-pattern "app:*", key-type ["string"] were compared */
static void print_filters(FILE *out, const struct compare_report *r) {
    json_t *filters = json_filters(r), *value;
    const char *name, *gap = "only    keys within ";
    json_object_foreach(filters, name, value) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
        fprintf(out, "%s%s %s", gap, name, text != NULL ? text : "");
        free(text);
        gap = ", ";
    }
    if (json_object_size(filters) > 0) fputs(" were compared\n", out);
    json_decref(filters);
}

json_t *compare_report_json(const struct compare_report *r) {
    return json_pack("{ss ss so so ss so sI so so so}", "command", "compare", "version",
                     LONGHAUL_VERSION, "source", report_side(r->source_endpoint, r->source),
                     "target", report_side(r->target_endpoint, r->target), "result",
                     report_result(r->error), "error", json_of_error(r->error), "duration_ms",
                     (json_int_t)(r->found.duration_ms + r->left.duration_ms), "compare",
                     r->began ? report_compare(r->mode, &r->found) : json_null(), "repair",
                     json_repair(r), "filters", json_filters(r));
}

static void print_repair(FILE *out, const struct compare_report *r) {
    char a[NUMBER_MAX], b[NUMBER_MAX];
    if (r->dry_run)
        fprintf(out, "repair would copy %s keys and delete %s\n",
                units_format_number(to_copy(r), a, sizeof(a)),
                units_format_number(to_delete(r), b, sizeof(b)));
    else
        fprintf(out, "repair: %s keys copied, %s deleted\n",
                units_format_number(r->copied, a, sizeof(a)),
                units_format_number(r->deleted, b, sizeof(b)));
    if (r->given_up > 0)
        fprintf(out, "  %s keys could not be copied\n",
                units_format_number(r->given_up, a, sizeof(a)));
    if (r->held > 0)
        fprintf(out,
                "  %s keys that only the target has were KEPT: more than --max-delete allows\n",
                units_format_number(r->held, a, sizeof(a)));
    if (!r->may_delete && r->held == 0 && r->found.count[DIFFERENCE_EXTRA] > 0)
        fputs("  keys that only the target has are deleted with --delete-extra\n", out);
}

void compare_report_text(FILE *out, const struct compare_report *r, bool show_diffs) {
    report_side_text(out, "source", r->source_endpoint, r->source);
    report_side_text(out, "target", r->target_endpoint, r->target);
    if (r->error->code != ERR_NONE)
        fprintf(out, "%s before the end; so far:\n", report_result(r->error));
    print_filters(out, r);
    report_compare_text(out, r->mode, &r->found);
    if (show_diffs) report_differences_text(out, &r->found);
    if (r->repairs) print_repair(out, r);
    if (r->compared_again) {
        fputs("after the repair ", out);
        report_compare_text(out, r->mode, &r->left);
        if (show_diffs) report_differences_text(out, &r->left);
    }
    fflush(out);
}
