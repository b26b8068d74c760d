/* Any bytes as the envelope of a dumped value: a new footer is right, and both ways of computing
 * the CRC agree. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rdb/crc64.h"
#include "rdb/payload.h"

enum { CRC_LEN = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool crc_is_right(const char *payload, size_t size) {
    uint64_t said = 0, is = crc64_by_table(0, payload, size - CRC_LEN);
    for (int i = 0; i < CRC_LEN; i++)
        said |= (uint64_t)(unsigned char)payload[size - CRC_LEN + (size_t)i] << (8 * i);
    return said == is;
}

static void check_restamp(char *copy, size_t size, unsigned version) {
    struct bytes payload = bytes_of(copy, size);
    char footer[PAYLOAD_FOOTER_LEN];
    if (size < PAYLOAD_LEN_MIN) {
        if (payload_version(payload) != 0) abort();
        return;
    }
    bool right = crc_is_right(copy, size);
    payload_restamp(payload, version, footer);
    bool same = memcmp(footer, copy + size - PAYLOAD_FOOTER_LEN, sizeof(footer)) == 0;
    if (version == payload_version(payload) && same != right) abort();
    memcpy(copy + size - PAYLOAD_FOOTER_LEN, footer, sizeof(footer));
    if (!crc_is_right(copy, size) || payload_version(payload) != version) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = mem_alloc(size);
    if (size > 0) memcpy(copy, data, size);
    if (value_type_name(payload_type(bytes_of(copy, size)))[0] == '\0') abort();
    size_t cut = size > 0 ? data[0] % size : 0;
    uint64_t crc = crc64(crc64(0, copy, cut), copy + cut, size - cut);
    if (crc != crc64_by_table(0, copy, size)) abort();
    check_restamp(copy, size, payload_version(bytes_of(copy, size)));
    check_restamp(copy, size, (unsigned)(crc & 0xffff));
    free(copy);
    return 0;
}
