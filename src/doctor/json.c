/* The facts about a side, as JSON. */
#include <stdio.h>

#include "doctor/doctor.h"
#include "output/json_out.h"

static const char *const answer_names[DOCTOR_ANSWERS] = { "not asked",    "available",
                                                          "refused",      "unknown",
                                                          "not all keys", "not all channels",
                                                          "not permitted" };

static const char *const check_names[DOCTOR_CHECKS] = { "tracking",     "subscribe",
                                                        "group_events", "notifications",
                                                        "transaction",  "own_keys" };

/* The requirements of --mode live. */
static json_t *live_json(const struct doctor_live *live, bool source) {
    json_t *json = json_object();
    for (int id = 0; id < DOCTOR_CHECKS; id++)
        if (live->checks[id].answer != ANSWER_NOT_ASKED)
            json_object_set_new(json, check_names[id],
                                json_string(answer_names[live->checks[id].answer]));
    if (!source) return json;
    json_object_set_new(json, "notify_keyspace_events",
                        live->notify_known ? json_string(live->notify) : json_null());
    json_object_set_new(json, "counts_commands", json_boolean(live->counts_calls));
    json_object_set_new(json, "counts_forks", json_boolean(live->counts_forks));
    json_object_set_new(json, "pubsub_buffer_hard",
                        live->buffer_known ? json_integer((json_int_t)live->buffer_hard)
                                           : json_null());
    json_object_set_new(json, "pubsub_buffer_soft",
                        live->buffer_known ? json_integer((json_int_t)live->buffer_soft)
                                           : json_null());
    return json;
}

static json_t *node_json(const struct doctor_node *node, bool source) {
    const struct server_info *info = &node->info;
    json_t *json = json_pack("{s:s, s:b}", "address", node->name, "reached", node->reached);
    if (!node->reached) {
        json_object_set_new(json, "error", json_of_error(&node->err));
        return json;
    }
    char version[64];
    json_object_set_new(json, "version",
                        json_string(server_info_name(info, version, sizeof(version))));
    json_object_set_new(json, "role", json_string(info->replica ? "replica" : "primary"));
    json_object_set_new(json, "loading", json_boolean(info->loading));
    json_object_set_new(json, "keys", json_integer((json_int_t)node->keys));
    json_object_set_new(json, "expires", json_integer((json_int_t)node->expires));
    json_object_set_new(json, "used_memory", json_integer((json_int_t)info->used_memory));
    json_object_set_new(json, "maxmemory", json_integer((json_int_t)info->maxmemory));
    json_object_set_new(json, "total_system_memory",
                        json_integer((json_int_t)info->total_system_memory));
    json_object_set_new(json, "maxmemory_policy", json_string(info->maxmemory_policy));
    if (node->has_clock) {
        json_object_set_new(json, "clock_ahead_us", json_integer((json_int_t)node->clock_ahead_us));
        json_object_set_new(json, "clock_within_us",
                            json_integer((json_int_t)node->clock_within_us));
    }
    json_object_set_new(json, "live", live_json(&node->live, source));
    return json;
}

static json_t *commands_json(const struct doctor_side *side) {
    json_t *json = json_object();
    for (int id = 0; id < DOCTOR_COMMANDS; id++)
        if (side->answers[id] != ANSWER_NOT_ASKED)
            json_object_set_new(json, doctor_commands[id].name,
                                json_string(answer_names[side->answers[id]]));
    return json;
}

static json_t *databases_json(const struct doctor_side *side) {
    json_t *json = json_object();
    for (int i = 0; i < side->n_dbs; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", side->dbs[i]);
        json_object_set_new(json, name, json_integer((json_int_t)side->db_keys[i]));
    }
    return json;
}

json_t *doctor_side_json(const struct doctor_side *side) {
    json_t *json = json_pack("{s:s, s:b, s:b}", "endpoint", side->label, "reached", side->reached,
                             "tls", side->tls);
    if (!side->reached) {
        json_object_set_new(json, "error", json_of_error(&side->err));
        return json;
    }
    json_object_set_new(json, "kind", json_string(side->kind));
    json_object_set_new(json, "primaries", json_integer(side->n_primaries));
    json_object_set_new(json, "replicas", json_integer(side->n_replicas));
    json_object_set_new(json, "uncovered_slots", json_integer(side->uncovered));
    json_object_set_new(json, "user",
                        side->user[0] != '\0' ? json_string(side->user) : json_null());
    json_object_set_new(json, "notify_keyspace_events",
                        side->notify_known ? json_string(side->notify) : json_null());
    json_object_set_new(json, "databases", databases_json(side));
    json_object_set_new(json, "commands", commands_json(side));
    json_t *nodes = json_array();
    for (int i = 0; i < side->n_nodes; i++)
        json_array_append_new(nodes, node_json(&side->nodes[i], side->id == DOCTOR_SOURCE));
    json_object_set_new(json, "nodes", nodes);
    return json;
}
