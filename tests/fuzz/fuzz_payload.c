/* Any bytes as the envelope of a dumped value: checking and re-stamping agree, and both ways of
 * computing the CRC. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rdb/crc64.h"
#include "rdb/payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_restamp(char *copy, size_t size, unsigned version) {
    struct bytes payload = bytes_of(copy, size);
    struct err err = { 0 };
    char footer[PAYLOAD_FOOTER_LEN];
    if (!payload_restamp(payload, version, footer, &err)) {
        if (size >= PAYLOAD_LEN_MIN || payload_check(payload, NULL) ||
            payload_version(payload) != 0)
            abort();
        return;
    }
    bool right = payload_check(payload, NULL),
         same = memcmp(footer, copy + size - PAYLOAD_FOOTER_LEN, sizeof(footer)) == 0;
    if (right && version == payload_version(payload) && !same) abort();
    memcpy(copy + size - PAYLOAD_FOOTER_LEN, footer, sizeof(footer));
    if (!payload_check(payload, &err) || payload_version(payload) != version) abort();
    copy[0] = (char)(copy[0] ^ 1);
    if (payload_check(payload, &err) || err.code != ERR_BAD_PAYLOAD) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = mem_alloc(size);
    if (size > 0) memcpy(copy, data, size);
    struct payload_module module;
    if (payload_module(bytes_of(copy, size), &module) && strlen(module.name) != MODULE_NAME_LEN)
        abort();
    if (value_type_name(payload_type(bytes_of(copy, size)))[0] == '\0') abort();
    size_t cut = size > 0 ? data[0] % size : 0;
    uint64_t crc = crc64(crc64(0, copy, cut), copy + cut, size - cut);
    if (crc != crc64_by_table(0, copy, size)) abort();
    check_restamp(copy, size, payload_version(bytes_of(copy, size)));
    check_restamp(copy, size, (unsigned)(crc & 0xffff));
    free(copy);
    return 0;
}
