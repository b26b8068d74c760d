/* See report.h. */
#include "cli/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/units.h"
#include "output/json_out.h"
#include "output/table.h"

enum { NUMBER_MAX = 32 };

/* ---- sides ---- */

static int report_primaries(struct deployment *deployment) {
    struct topology *t = deployment_topology(deployment);
    int n = t->n_primaries;
    topology_unref(&t);
    return n;
}

static const char *flavour_of(const struct server_info *info) {
    return info->flavour == SERVER_VALKEY ? "valkey" : "redis";
}

json_t *report_side(const struct endpoint *endpoint, struct deployment *deployment) {
    if (deployment == NULL)
        return json_pack("{ss? sn sn sn sn}", "endpoint", endpoint->label, "server",
                         "server_version", "topology", "primaries");
    const struct server_info *info = deployment_info(deployment);
    return json_pack("{ss? ss ss ss si}", "endpoint", endpoint->label, "server", flavour_of(info),
                     "server_version", info->version_text, "topology", deployment_kind(deployment),
                     "primaries", report_primaries(deployment));
}

void report_side_text(FILE *out, const char *name, const struct endpoint *endpoint,
                      struct deployment *deployment) {
    fprintf(out, "%-7s %s", name, endpoint->label != NULL ? endpoint->label : "?");
    if (deployment != NULL) {
        const struct server_info *info = deployment_info(deployment);
        fprintf(out, " (%s %s, %s", flavour_of(info), info->version_text,
                deployment_kind(deployment));
        if (deployment_is_cluster(deployment)) fprintf(out, " of %d", report_primaries(deployment));
        fputc(')', out);
    }
    fputc('\n', out);
}

/* ---- errors ---- */

const char *report_result(const struct err *error) {
    if (error->code == ERR_NONE) return "done";
    return error->code == ERR_INTERRUPTED ? "interrupted" : "failed";
}

/* ---- samples ---- */

/* Of n keys d differed: Wilson's interval for a share, and where none differed the exact bound, 1 -
 * 0.05^(1/n). A sample of all keys is no sample. */
void report_confidence(const struct compare_result *r, double *low, double *high) {
    double n = (double)r->keys,
           d = (double)(compare_result_different(r) - r->count[DIFFERENCE_EXTRA]);
    const double z = 1.959964;
    *low = 0;
    *high = 1;
    if (n == 0) return;
    if (r->keys >= r->sampled_of) {
        *low = *high = d / n;
        return;
    }
    if (d == 0) {
        *high = 1 - pow(0.05, 1 / n);
        return;
    }
    double share = d / n, square = z * z / n;
    double middle = (share + square / 2) / (1 + square);
    double wide = z * sqrt(share * (1 - share) / n + square / n / 4) / (1 + square);
    *low = middle - wide > 0 ? middle - wide : 0;
    *high = middle + wide < 1 ? middle + wide : 1;
}

static json_t *json_sample(const struct compare_result *r) {
    double low, high;
    report_confidence(r, &low, &high);
    return json_pack("{sI sf sf sf}", "of_keys", (json_int_t)r->sampled_of, "confidence", 0.95,
                     "different_at_least", low, "different_at_most", high);
}

static void print_confidence(FILE *out, const struct compare_result *r) {
    char n[NUMBER_MAX], of[NUMBER_MAX];
    double low, high;
    report_confidence(r, &low, &high);
    fprintf(out, "a sample of %s of about %s keys: ", units_format_number(r->keys, n, sizeof(n)),
            units_format_number(r->sampled_of, of, sizeof(of)));
    if (low == 0)
        fprintf(out, "with 95 %% confidence at most %.2g %% of the source's keys differ\n",
                high * 100);
    else
        fprintf(out, "with 95 %% confidence %.3g to %.3g %% of the source's keys differ\n",
                low * 100, high * 100);
}

/* ---- comparison ---- */

static json_t *json_unproved(const struct compare_result *result) {
    json_t *list = json_array();
    for (size_t i = 0; i < result->n_unproved_keys; i++) {
        const struct difference *d = &result->unproved_keys[i];
        json_array_append_new(
            list, json_pack("{so si so}", "key", json_of_bytes(bytes_of(d->key, d->key_len)), "db",
                            d->db, "detail", json_of_bytes(bytes_of_str(d->detail))));
    }
    return list;
}

static json_t *json_differences(const struct compare_result *result) {
    json_t *list = json_array();
    for (size_t i = 0; i < result->n_differences; i++) {
        const struct difference *d = &result->differences[i];
        json_t *one = json_pack("{so si ss so}", "key", json_of_bytes(bytes_of(d->key, d->key_len)),
                                "db", d->db, "kind", difference_label(d->kind), "detail",
                                json_of_bytes(bytes_of_str(d->detail)));
        if (d->parts != NULL)
            json_object_set_new(one, "parts", json_of_bytes(bytes_of_str(d->parts)));
        json_array_append_new(list, one);
    }
    return list;
}

json_t *report_compare(enum compare_mode mode, const struct compare_result *r) {
    json_t *doc = json_pack("{ss sI sI}", "mode", compare_mode_name(mode), "keys",
                            (json_int_t)r->keys, "equal", (json_int_t)r->equal);
    for (int kind = 0; kind < DIFFERENCE_KINDS; kind++)
        json_object_set_new(doc, difference_label((enum difference_kind)kind),
                            json_integer((json_int_t)r->count[kind]));
    json_object_set_new(doc, "skipped", json_integer((json_int_t)r->skipped));
    json_object_set_new(doc, "rechecked", json_integer((json_int_t)r->rechecked_away));
    json_object_set_new(doc, "moving", json_integer((json_int_t)r->moving));
    json_object_set_new(doc, "not_proved", json_integer((json_int_t)r->unproved));
    json_object_set_new(doc, "uncopied", json_integer((json_int_t)r->uncopied));
    json_object_set_new(doc, "absent", json_integer((json_int_t)r->absent));
    json_object_set_new(doc, "duration_ms", json_integer(r->duration_ms));
    json_object_set_new(doc, "sample", r->sampled_of > 0 ? json_sample(r) : json_null());
    json_object_set_new(doc, "differences", json_differences(r));
    json_object_set_new(doc, "not_proved_keys", json_unproved(r));
    return doc;
}

static void print_row(struct table *t, const char *name, uint64_t n) {
    char number[NUMBER_MAX];
    table_text(t, "%s", name);
    table_number(t, "%s", units_format_number(n, number, sizeof(number)));
    table_end_row(t);
}

/* "2 different, 1 not proved" */
static void print_conclusion(FILE *out, const struct compare_result *r) {
    char number[NUMBER_MAX];
    uint64_t n = compare_result_different(r);
    if (n == 0)
        fputs("no difference", out);
    else
        fprintf(out, "%s different", units_format_number(n, number, sizeof(number)));
    if (r->unproved > 0)
        fprintf(out, ", %s not proved", units_format_number(r->unproved, number, sizeof(number)));
    fputc('\n', out);
}

void report_compare_text(FILE *out, enum compare_mode mode, const struct compare_result *r) {
    char keys[NUMBER_MAX], duration[NUMBER_MAX], rate[NUMBER_MAX];
    double seconds = (double)(r->duration_ms > 0 ? r->duration_ms : 1) / 1000;
    fprintf(out,
            "compared %s keys in %s (%s/s), %s: ", units_format_number(r->keys, keys, sizeof(keys)),
            units_format_duration(r->duration_ms, duration, sizeof(duration)),
            units_format_number((uint64_t)((double)r->keys / seconds), rate, sizeof(rate)),
            mode == COMPARE_QUICK    ? "without values"
            : mode == COMPARE_DIGEST ? "with values, by digest"
                                     : "with values");
    print_conclusion(out, r);
    struct table *t = table_new();
    print_row(t, "equal", r->equal);
    for (int kind = 0; kind < DIFFERENCE_KINDS; kind++)
        if (r->count[kind] > 0)
            print_row(t, difference_title((enum difference_kind)kind), r->count[kind]);
    if (r->skipped > 0) print_row(t, "skipped, larger than --mem-limit", r->skipped);
    if (r->rechecked_away > 0)
        print_row(t, "different at first, not when checked again", r->rechecked_away);
    if (r->unproved > 0) print_row(t, "not proved, changing on both sides", r->unproved);
    if (r->moving > r->unproved)
        print_row(t, "changing, behind the live job's watermark", r->moving - r->unproved);
    if (r->uncopied > 0) print_row(t, "missing, not copied by a liveonly job", r->uncopied);
    if (r->absent > 0) print_row(t, "listed, but on neither side", r->absent);
    table_print(t, out, 2);
    table_free(&t);
    if (r->sampled_of > 0) print_confidence(out, r);
}

static void print_differences(FILE *out, const struct difference *list, size_t n,
                              const char *label) {
    struct table *t = table_new();
    for (size_t i = 0; i < n; i++) {
        const struct difference *d = &list[i];
        size_t size = d->key_len * 4 + 1;
        char *key = mem_alloc(size);
        table_text(t, "db%d", d->db);
        table_text(t, "\"%s\"", bytes_escape(bytes_of(d->key, d->key_len), key, size));
        table_text(t, "%s", label != NULL ? label : difference_label(d->kind));
        table_text(t, "%s", d->parts != NULL ? d->parts : d->detail);
        table_end_row(t);
        free(key);
    }
    table_print(t, out, 2);
    table_free(&t);
}

/* Each kind that occurs, with the sentence that says its meaning. */
static void print_legend(FILE *out, const struct compare_result *r) {
    struct table *t = table_new();
    for (int kind = 0; kind < DIFFERENCE_KINDS; kind++) {
        if (r->count[kind] == 0) continue;
        table_text(t, "%s", difference_label((enum difference_kind)kind));
        table_text(t, "%s", difference_sentence((enum difference_kind)kind));
        table_end_row(t);
    }
    if (r->unproved > 0) {
        table_text(t, "not_proved");
        table_text(t, "the key changes on both sides all the time, and no live job explains that");
        table_end_row(t);
    }
    table_print(t, out, 2);
    table_free(&t);
}

void report_differences_text(FILE *out, const struct compare_result *r) {
    uint64_t all = compare_result_different(r) + r->unproved,
             shown = r->n_differences + r->n_unproved_keys;
    print_differences(out, r->differences, r->n_differences, NULL);
    print_differences(out, r->unproved_keys, r->n_unproved_keys, "not_proved");
    if (all > shown) fprintf(out, "  and %" PRIu64 " more\n", all - shown);
    print_legend(out, r);
}
