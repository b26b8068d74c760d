/* See role.h. */
#include "store/role.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "store/job_store.h"
#include "store/job_store_priv.h"

enum { ROLE_TIME_MAX = 32 };

static void role_copy_text(char *to, size_t size, const json_t *json, const char *name) {
    const char *text = json_string_value(json_object_get(json, name));
    snprintf(to, size, "%s", text != NULL ? text : "");
}

static int64_t role_number(const json_t *json, const char *name) {
    json_int_t number = json_integer_value(json_object_get(json, name));
    return number > 0 ? number : 0;
}

bool role_from_text(struct role_record *role, struct bytes text, struct err *err) {
    json_error_t error;
    json_t *json = json_loadb(text.ptr, text.len, 0, &error);
    const char *word = json_string_value(json_object_get(json, "role"));
    *role = (struct role_record){ .active = word != NULL && strcmp(word, "active") == 0 };
    bool ok = role->active || (word != NULL && strcmp(word, "standby") == 0);
    if (ok) {
        role->since_us = role_number(json, "since_us");
        role->epoch = (uint64_t)role_number(json, "epoch");
        role->watermark_us = role_number(json, "watermark_us");
        role_copy_text(role->by, sizeof(role->by), json, "by");
        role_copy_text(role->peer, sizeof(role->peer), json, "peer");
    }
    json_decref(json);
    return ok || err_set(err, ERR_PROTOCOL, "role record",
                         "\"role\" is neither \"active\" nor \"standby\"");
}

struct role_reading {
    struct role_record *role;
    bool found;
    struct err err; /* the first record that cannot be read */
};

static void on_role_reset(void *ctx) {
    struct role_reading *r = ctx;
    r->found = false;
    err_clear(&r->err);
}

static void on_role_field(void *ctx, const char *place, int db, struct bytes name,
                          struct bytes value) {
    struct role_reading *r = ctx;
    struct role_record role;
    struct err err;
    if (!bytes_equal_str(name, ROLE_FIELD)) return;
    if (!role_from_text(&role, value, &err)) {
        r->err = err;
        snprintf(r->err.place, sizeof(r->err.place), "%s", place);
        return;
    }
    if (r->found && role.epoch < r->role->epoch) return;
    /* Of two with one epoch, the active one: nothing is written into a side that may be active. */
    if (r->found && role.epoch == r->role->epoch && r->role->active) return;
    *r->role = role;
    r->found = true;
}

bool role_read(struct deployment *side, struct role_record *role, bool *found, struct err *err) {
    struct role_reading reading = { .role = role };
    struct job_store_fields fields = { .on_field = on_role_field,
                                       .reset = on_role_reset,
                                       .ctx = &reading };
    *found = false;
    *role = (struct role_record){ 0 };
    if (!job_store_read_fields(side, JOB_STORE_ALL_DBS, &fields, err)) return false;
    *found = reading.found;
    if (reading.err.code == ERR_NONE) return true;
    *err = reading.err;
    return false;
}

bool role_check_target(const struct role_record *role, const char *label, struct err *err) {
    char when[ROLE_TIME_MAX];
    if (!role->active) return true;
    return err_set(err, ERR_USAGE, "target",
                   "%s was made the active side%s%s at %s (epoch %" PRIu64
                   "): nothing is copied into it. Copy from it instead, or remove its role record"
                   " (field " ROLE_FIELD " of its longhaul:{...}:state keys)",
                   label, role->by[0] != '\0' ? " by " : "", role->by,
                   units_format_time(role->since_us, when, sizeof(when)), role->epoch);
}
