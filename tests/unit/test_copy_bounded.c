/* When a source has room for a reply of unknown size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "copy/bounded.h"

#define MIB (UINT64_C(1) << 20)

static struct server_info info_of(uint64_t used, uint64_t data, uint64_t maxmemory, uint64_t machine) {
    return (struct server_info){ .used_memory = used * MIB,
                                 .used_memory_dataset = data * MIB,
                                 .maxmemory = maxmemory * MIB,
                                 .total_system_memory = machine * MIB };
}

static void room_below_maxmemory(void **state) {
    struct server_info info = info_of(7000, 6000, 8000, 16000);
    /* 32 MB of output and a string of 512 MB, for each connection. */
    assert_true(bounded_fits(&info, 1));
    assert_false(bounded_fits(&info, 2));
    info = info_of(7500, 6000, 8000, 16000);
    assert_false(bounded_fits(&info, 1));
}

static void room_in_the_machine(void **state) {
    struct server_info info = info_of(7000, 6000, 0, 16000);
    assert_true(bounded_fits(&info, 4));
    info = info_of(7000, 6000, 0, 7100);
    assert_false(bounded_fits(&info, 1));
}

/* No string is larger than all data together. */
static void little_data_needs_little_room(void **state) {
    struct server_info info = info_of(20, 10, 64, 0);
    assert_true(bounded_fits(&info, 1));
    info = info_of(30, 10, 64, 0);
    assert_false(bounded_fits(&info, 1));
}

static void what_is_not_said_is_not_believed(void **state) {
    struct server_info info = info_of(0, 0, 0, 0);
    assert_false(bounded_fits(&info, 1));
    info = info_of(100, 50, 0, 0);
    assert_false(bounded_fits(&info, 1));
    info = info_of(0, 0, 8000, 16000);
    assert_false(bounded_fits(&info, 1));
    info = info_of(900, 50, 800, 16000);
    assert_false(bounded_fits(&info, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_below_maxmemory),
        cmocka_unit_test(room_in_the_machine),
        cmocka_unit_test(little_data_needs_little_room),
        cmocka_unit_test(what_is_not_said_is_not_believed),
    };
    return cmocka_run_group_tests_name("copy/bounded", tests, NULL, NULL);
}
