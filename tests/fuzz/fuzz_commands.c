/* Any bytes as a dumped value, written as commands for a server whose abilities and limits the last
 * bytes choose: no command has too many words or bytes, and each names the key. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rdb/commands.h"
#include "rdb/decode.h"
#include "rdb/payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct bytes key = { .ptr = "the key", .len = 7 };

struct output {
    const struct commands_options *options;
    uint64_t sum;
};

/* Names of the words that belong to the command, not to elements. */
static bool is_stream_command(struct bytes name) {
    return name.ptr[0] == 'X' && !bytes_equal_str(name, "XDEL");
}

static bool on_emit(void *ctx, size_t argc, const struct bytes *argv, struct err *err) {
    struct output *o = ctx;
    size_t len = 0, elements = argc - 2, at = 0;
    if (argc < 3) abort();
    for (size_t i = 0; i < argc; i++) {
        for (size_t j = 0; j < argv[i].len; j++) o->sum += (unsigned char)argv[i].ptr[j];
        if (i >= 2) len += argv[i].len;
        if (argv[i].ptr == key.ptr) at++;
    }
    if (at != 1) abort();
    if (bytes_equal_str(argv[0], "XADD")) return true;
    if (argc > o->options->max_args && argc > COMMANDS_ARGS_MIN) abort();
    if (is_stream_command(argv[0]) || bytes_equal_str(argv[0], "HPEXPIREAT") || elements <= 2)
        return true;
    if (len > o->options->max_bytes) abort();
    return true;
}

static bool on_lost(void *ctx, enum commands_loss what, struct bytes element, struct err *err) {
    if (commands_loss_text(what)[0] == '\0') abort();
    for (size_t j = 0; j < element.len; j++)
        ((struct output *)ctx)->sum += (unsigned char)element.ptr[j];
    return true;
}

static struct commands_options options_of(const uint8_t *data, size_t size) {
    uint8_t flags = data[size - 1];
    return (struct commands_options){
        .can = { .field_expiry = flags & 1,
                 .stream_counters = flags & 2,
                 .create_consumer = flags & 4 },
        .max_args = COMMANDS_ARGS_MIN + (size_t)(flags >> 3) * 8,
        .max_bytes = (size_t)data[size - 2] * 8,
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < PAYLOAD_LEN_MIN) return 0;
    struct commands_options options = options_of(data, size);
    struct output o = { .options = &options };
    struct commands_output output = { .emit = on_emit, .lost = on_lost, .ctx = &o };
    struct commands *commands = commands_new(key, &options, &output);
    char *tight = mem_alloc(size);
    struct err err = { 0 };
    memcpy(tight, data, size);
    struct bytes payload = bytes_of(tight, size);
    bool ok = commands_expect_payload(commands, payload, &err) &&
              decode_value(payload, commands_sink(), commands, &err) &&
              commands_finish(commands, &err);
    if (!ok && err.code != ERR_BAD_PAYLOAD) abort();
    commands_free(&commands);
    free(tight);
    return 0;
}
