/* See side.h. */
#include "cli/side.h"

#include "output/json_out.h"

bool side_describe(const struct options *options, enum opt_side_id id, int64_t startup_timeout_ms,
                   struct endpoint *endpoint, struct deployment_settings *settings,
                   struct err *err) {
    if (!options_endpoint(options, id, endpoint, err)) return false;
    bool uri_decides = endpoint->uri_timeout_ms > 0 && !options_is_given(options, "timeout");
    *settings = (struct deployment_settings){
        .connect_timeout_ms = options->connect_timeout_ms,
        .reply_timeout_ms = uri_decides ? endpoint->uri_timeout_ms : options->timeout_ms,
        .startup_timeout_ms = startup_timeout_ms,
        .patient = options->command == COMMAND_REPLICATE && options->mode != OPT_MODE_SCAN,
        .read_from_replica = id == OPT_SOURCE && options->read_from == OPT_READ_FROM_REPLICA,
        .no_touch = id == OPT_SOURCE,
        .writes = id == OPT_TARGET,
    };
    return true;
}

struct deployment *side_open(struct loop *loop, const struct options *options, enum opt_side_id id,
                             int64_t startup_timeout_ms, struct err *err) {
    struct endpoint endpoint;
    struct deployment_settings settings;
    if (!side_describe(options, id, startup_timeout_ms, &endpoint, &settings, err)) return NULL;
    struct deployment *deployment = deployment_open(loop, &endpoint, &settings, err);
    endpoint_fini(&endpoint);
    return deployment;
}

json_t *side_label_json(const struct options *options, enum opt_side_id id) {
    struct endpoint endpoint;
    if (options->side[id].uri == NULL || !options_endpoint(options, id, &endpoint, NULL))
        return json_null();
    json_t *label = json_of_bytes(bytes_of_str(endpoint.label));
    endpoint_fini(&endpoint);
    return label;
}
