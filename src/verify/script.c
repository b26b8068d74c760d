/* See script.h. The texts are compiled in from the .lua files beside this one. */
#include "verify/script.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "resp/writer.h"

enum { SUM_BITS = 48, NAME_MAX_ON_STACK = 512 };

extern const char script_digest_lua[], script_names_lua[];

static const char *const texts[SCRIPTS] = {
    [SCRIPT_DIGEST] = script_digest_lua,
    [SCRIPT_NAMES] = script_names_lua,
};

static const char *hex_of(enum script_id id) {
    static char hex[SCRIPTS][SCRIPT_HEX + 1];
    unsigned char raw[SHA_DIGEST_LENGTH];
    if (hex[id][0] != '\0') return hex[id];
    SHA1((const unsigned char *)texts[id], strlen(texts[id]), raw);
    for (int i = 0; i < SHA_DIGEST_LENGTH; i++) sprintf(hex[id] + 2 * i, "%02x", raw[i]);
    return hex[id];
}

void script_begin(struct outq *out, enum script_id id, bool whole, size_t n_keys, size_t n_args) {
    resp_write_head(out, 3 + n_args);
    resp_write_arg(out, whole ? BYTES_LITERAL("EVAL") : BYTES_LITERAL("EVALSHA"));
    resp_write_arg(out, bytes_of_str(whole ? texts[id] : hex_of(id)));
    resp_write_arg_i64(out, (int64_t)n_keys);
}

static uint64_t word_at(const unsigned char *raw) {
    uint64_t word = 0;
    for (int i = 0; i < SUM_BITS / 8; i++) word = word << 8 | raw[i];
    return word;
}

void name_sum_add_page(struct name_sum *sum, uint64_t n, uint64_t low, uint64_t high) {
    const uint64_t mask = (UINT64_C(1) << SUM_BITS) - 1;
    sum->n += n;
    sum->low = (sum->low + low) & mask;
    sum->high = (sum->high + high) & mask;
}

void name_sum_add(struct name_sum *sum, struct bytes salt, struct bytes name) {
    char stack[NAME_MAX_ON_STACK], *text = stack;
    unsigned char raw[SHA_DIGEST_LENGTH];
    size_t len = salt.len + name.len;
    if (len > sizeof(stack)) text = mem_alloc(len);
    memcpy(text, salt.ptr, salt.len);
    if (name.len > 0) memcpy(text + salt.len, name.ptr, name.len);
    SHA1((const unsigned char *)text, len, raw);
    name_sum_add_page(sum, 1, word_at(raw), word_at(raw + SUM_BITS / 8));
    if (text != stack) free(text);
}
