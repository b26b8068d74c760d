/* See replicate_report.h. */
#include "cli/replicate_report.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/units.h"
#include "cli/report.h"
#include "output/json_out.h"
#include "output/table.h"

enum { GIVEN_UP_SHOWN = 20, GIVEN_UP_IN_JSON = 1000 };

/* The kernel's own record of this program; ru_maxrss would count the program that ran before exec()
 * too. */
static uint64_t peak_memory_bytes(void) {
    char line[256];
    unsigned long long kilobytes = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && fgets(line, sizeof(line), status) != NULL)
        if (sscanf(line, "VmHWM: %llu kB", &kilobytes) == 1) break;
    if (status != NULL) fclose(status);
    return (uint64_t)kilobytes * 1024;
}

static double per_second(uint64_t n, int64_t duration_ms) {
    return duration_ms > 0 ? (double)n * 1000 / (double)duration_ms : 0;
}

/* ---- text ---- */

static void print_types(FILE *out, const struct copy_stats *stats) {
    char bytes[32], keys[32];
    struct table *t = table_new();
    table_text(t, "type");
    table_number(t, "keys");
    table_number(t, "bytes");
    table_end_row(t);
    for (int type = 0; type < VALUE_TYPES; type++) {
        if (stat_get(&stats->type_keys[type]) == 0) continue;
        table_text(t, "%s", value_type_name((enum value_type)type));
        table_number(t, "%s",
                     units_format_number(stat_get(&stats->type_keys[type]), keys, sizeof(keys)));
        table_number(t, "%s",
                     units_format_bytes(stat_get(&stats->type_bytes[type]), bytes, sizeof(bytes)));
        table_end_row(t);
    }
    table_text(t, "total");
    table_number(t, "%s", units_format_number(stat_get(&stats->copied), keys, sizeof(keys)));
    table_number(t, "%s", units_format_bytes(stat_get(&stats->bytes), bytes, sizeof(bytes)));
    table_end_row(t);
    table_print(t, out, 2);
    table_free(&t);
}

static void print_count(struct table *t, const char *name, uint64_t n, const char *what) {
    char number[32];
    if (n == 0) return;
    table_text(t, "%s", name);
    table_number(t, "%s", units_format_number(n, number, sizeof(number)));
    table_text(t, "%s", what);
    table_end_row(t);
}

static void print_events(FILE *out, const struct replicate_result *r) {
    const struct copy_stats *s = &r->stats;
    struct table *t = table_new();
    print_count(t, "functions", r->functions, "function libraries copied");
    print_count(t, "vanished", stat_get(&s->vanished), "gone on the source before they were read");
    print_count(t, "skipped", stat_get(&s->skipped), "larger than --mem-limit, or of another type");
    print_count(t, "retried", stat_get(&s->retries), "read once more after a passing error");
    print_count(t, "redirected", stat_get(&s->redirects), "sent to another node of a cluster");
    print_count(t, "reconnects", stat_get(&s->reconnects), "connections made anew");
    print_count(t, "rescans", r->scan_restarts, "scans of a node started over");
    print_count(t, "given up", stat_get(&s->given_up), "could not be copied");
    table_print(t, out, 2);
    table_free(&t);
}

static void print_given_up(FILE *out, const struct giveup *giveup, uint64_t count) {
    size_t shown = giveup_kept(giveup) < GIVEN_UP_SHOWN ? giveup_kept(giveup) : GIVEN_UP_SHOWN;
    for (size_t i = 0; i < shown; i++) {
        const struct giveup_key *key = giveup_at(giveup, i);
        fprintf(out, "  given up: db %d \"%s\": %s\n", key->db, key->key, key->reason);
    }
    if (count > shown)
        fprintf(out, "  ... and %" PRIu64 " more; --output json lists up to %d\n", count - shown,
                GIVEN_UP_IN_JSON);
}

static void report_print_lag(FILE *out, const char *name, int64_t us) {
    char text[32];
    fprintf(out, ", %s %s", name, units_format_duration((us + 999) / 1000, text, sizeof(text)));
}

static void print_live(FILE *out, const struct replicate_result *r) {
    const struct facts *s = &r->facts;
    char when[64];
    fprintf(out, "job %s, changes captured by %s", r->job, r->capture);
    if (s->lag_max_us > 0) {
        report_print_lag(out, "lag p50", s->lag_p50_us);
        report_print_lag(out, "p99", s->lag_p99_us);
        report_print_lag(out, "max", s->lag_max_us);
    }
    if (s->gaps > 0) fprintf(out, ", %" PRId64 " %s", s->gaps, s->gaps == 1 ? "gap" : "gaps");
    fputc('\n', out);
    if (s->watermark_us > 0 && r->only)
        fprintf(
            out,
            "changes that the source acknowledged before %s are on the target; keys from before "
            "the start were not copied (--mode liveonly)\n",
            units_format_time(s->watermark_us, when, sizeof(when)));
    if (s->watermark_us > 0 && !r->only)
        fprintf(out, "every write that the source acknowledged before %s is on the target\n",
                units_format_time(s->watermark_us, when, sizeof(when)));
    if (s->deletions_held > 0)
        fprintf(out, "deletions held: %" PRId64 " keys; longhaul resume TARGET releases them\n",
                s->deletions_held);
}

void replicate_report_text(FILE *out, const struct replicate_report *report) {
    const struct replicate_result *r = report->result;
    report_side_text(out, "source", report->source_endpoint, report->source);
    report_side_text(out, "target", report->target_endpoint, report->target);
    if (r == NULL) return;
    fputc('\n', out);
    print_types(out, &r->stats);
    print_events(out, r);
    if (giveup_count(r->giveup) > 0) print_given_up(out, r->giveup, giveup_count(r->giveup));
    char duration[32], rate[32], bytes[32], number[32];
    uint64_t copied = stat_get(&r->stats.copied);
    fprintf(out, "\n%s %s keys in %s: %s keys/s, %s/s\n",
            report->options->copy.dry_run ? "dry run: read"
            : r->complete                 ? "copied"
                                          : "stopped after",
            units_format_number(copied, number, sizeof(number)),
            units_format_duration(r->duration_ms, duration, sizeof(duration)),
            units_format_number((uint64_t)per_second(copied, r->duration_ms), rate, sizeof(rate)),
            units_format_bytes((uint64_t)per_second(stat_get(&r->stats.bytes), r->duration_ms),
                               bytes, sizeof(bytes)));
    if (r->facts.live) print_live(out, r);
    if (report->compared == NULL) return;
    fputc('\n', out);
    report_compare_text(out, report->compare_mode, report->compared);
    if (report->options->show_diffs) report_differences_text(out, report->compared);
}

/* ---- JSON ---- */

static json_t *json_live(const struct replicate_result *r) {
    const struct facts *s = &r->facts;
    char when[64];
    json_t *live =
        json_pack("{ss ss sI sI sI sI sI sI sb}", "job", r->job, "capture", r->capture,
                  "watermark_us", (json_int_t)s->watermark_us, "lag_p50_us",
                  (json_int_t)s->lag_p50_us, "lag_p99_us", (json_int_t)s->lag_p99_us, "lag_max_us",
                  (json_int_t)s->lag_max_us, "gaps", (json_int_t)s->gaps, "deletions_held",
                  (json_int_t)s->deletions_held, "idle", r->idle ? 1 : 0);
    if (s->watermark_us > 0)
        json_object_set_new(live, "watermark",
                            json_string(units_format_time(s->watermark_us, when, sizeof(when))));
    return live;
}

static json_t *json_types(const struct copy_stats *stats) {
    json_t *types = json_object();
    for (int type = 0; type < VALUE_TYPES; type++) {
        if (stat_get(&stats->type_keys[type]) == 0) continue;
        json_object_set_new(types, value_type_name((enum value_type)type),
                            json_pack("{sI sI}", "keys",
                                      (json_int_t)stat_get(&stats->type_keys[type]), "bytes",
                                      (json_int_t)stat_get(&stats->type_bytes[type])));
    }
    return types;
}

static json_t *json_given_up(const struct giveup *giveup) {
    json_t *list = json_array();
    for (size_t i = 0; i < giveup_kept(giveup) && i < GIVEN_UP_IN_JSON; i++) {
        const struct giveup_key *key = giveup_at(giveup, i);
        json_array_append_new(
            list, json_pack("{ss si ss}", "key", key->key, "db", key->db, "reason", key->reason));
    }
    return list;
}

static void add_result(json_t *doc, const struct replicate_result *r) {
    const struct copy_stats *s = &r->stats;
    json_object_set_new(doc, "duration_ms", json_integer(r->duration_ms));
    json_object_set_new(doc, "threads", json_integer(r->threads));
    if (r->facts.live) json_object_set_new(doc, "live", json_live(r));
    json_object_set_new(doc, "facts", facts_to_json(&r->facts));
    json_object_set_new(doc, "keys",
                        json_pack("{sI sI sI sI sI}", "scanned", (json_int_t)r->facts.scanned,
                                  "copied", (json_int_t)stat_get(&s->copied), "vanished",
                                  (json_int_t)stat_get(&s->vanished), "skipped",
                                  (json_int_t)stat_get(&s->skipped), "given_up",
                                  (json_int_t)stat_get(&s->given_up)));
    json_object_set_new(doc, "bytes", json_integer((json_int_t)stat_get(&s->bytes)));
    json_object_set_new(doc, "types", json_types(s));
    json_object_set_new(doc, "functions", json_integer((json_int_t)r->functions));
    json_object_set_new(doc, "retries", json_integer((json_int_t)stat_get(&s->retries)));
    json_object_set_new(doc, "reconnects", json_integer((json_int_t)stat_get(&s->reconnects)));
    json_object_set_new(doc, "redirects", json_integer((json_int_t)stat_get(&s->redirects)));
    json_object_set_new(doc, "scan_restarts", json_integer((json_int_t)r->scan_restarts));
    json_object_set_new(doc, "given_up", json_given_up(r->giveup));
}

json_t *replicate_report_json(const struct replicate_report *report) {
    char *mode = options_word(report->options, "mode");
    json_t *doc =
        json_pack("{ss ss so so ss ss so}", "command", "replicate", "version", LONGHAUL_VERSION,
                  "source", report_side(report->source_endpoint, report->source), "target",
                  report_side(report->target_endpoint, report->target), "mode", mode, "result",
                  report_result(report->error), "error", json_of_error(report->error));
    free(mode);
    if (report->result != NULL) add_result(doc, report->result);
    json_object_set_new(doc, "dry_run", json_boolean(report->options->copy.dry_run));
    json_object_set_new(doc, "compare",
                        report->compared != NULL
                            ? report_compare(report->compare_mode, report->compared)
                            : json_null());
    json_object_set_new(doc, "peak_memory_bytes", json_integer((json_int_t)peak_memory_bytes()));
    return doc;
}
