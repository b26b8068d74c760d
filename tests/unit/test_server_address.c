/* Addresses: which texts fit, how addresses are compared and shown, and the "host:port" of MOVED
 * and ASK. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/address.h"

static void setting(void **state) {
    struct address a;
    char host[ADDRESS_HOST_MAX + 1];
    memset(host, 'h', sizeof(host));
    assert_true(address_set(&a, bytes_of(host, ADDRESS_HOST_MAX - 1), 1));
    assert_int_equal(strlen(a.host), ADDRESS_HOST_MAX - 1);
    assert_false(address_set(&a, bytes_of(host, ADDRESS_HOST_MAX), 1));
    assert_false(address_set(&a, bytes_of("", 0), 1));
    assert_false(address_set(&a, bytes_of("a\0b", 3), 1));
    assert_true(address_set_unix(&a, "/run/s.sock"));
    assert_true(a.is_unix);
    assert_false(address_set_unix(&a, ""));
}

static struct address at(const char *host, uint16_t port) {
    struct address a;
    assert_true(address_set(&a, bytes_of_str(host), port));
    return a;
}

static void comparing(void **state) {
    struct address a = at("Node.Example", 6379), b = at("node.example", 6379),
                   c = at("node.example", 6380), u;
    assert_true(address_equal(&a, &b));
    assert_false(address_equal(&a, &c));
    assert_true(address_set_unix(&u, "node.example"));
    u.port = 6379;
    assert_false(address_equal(&b, &u));
}

static void assert_shown(const struct address *a, const char *expected) {
    char buf[ADDRESS_HOST_MAX + 16];
    assert_string_equal(address_format(a, buf, sizeof(buf)), expected);
}

static void showing(void **state) {
    struct address v4 = at("10.0.0.5", 6379), v6 = at("fe80::1", 65535), u;
    char small[6];
    assert_shown(&v4, "10.0.0.5:6379");
    assert_shown(&v6, "[fe80::1]:65535");
    address_set_unix(&u, "/tmp/x.sock");
    assert_shown(&u, "/tmp/x.sock");
    assert_string_equal(address_format(&v4, small, sizeof(small)), "10.0.");
}

static void redirects(void **state) {
    struct address from = at("10.0.0.5", 6379), a, u;
    assert_true(address_parse(&a, BYTES_LITERAL("10.0.0.6:7000"), &from));
    assert_shown(&a, "10.0.0.6:7000");
    assert_true(address_parse(&a, BYTES_LITERAL(":7001"), &from));
    assert_shown(&a, "10.0.0.5:7001");
    assert_true(address_parse(&a, BYTES_LITERAL("fe80::1:7001"), &from));
    assert_shown(&a, "[fe80::1]:7001");
    assert_true(address_parse(&a, BYTES_LITERAL("n1.cache.example:6379"), &from));
    assert_string_equal(a.host, "n1.cache.example");
    /* Behind a Unix socket "the host you asked" is this machine. */
    address_set_unix(&u, "/tmp/x.sock");
    assert_true(address_parse(&a, BYTES_LITERAL(":7001"), &u));
    assert_shown(&a, "127.0.0.1:7001");
}

static void malformed_redirects(void **state) {
    static const char *const bad[] = { "",           ":",      "host",    "host:",     "host:0",
                                       "host:65536", "host:x", "host:-1", "host:70 00" };
    struct address from = at("10.0.0.5", 6379), a;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(address_parse(&a, bytes_of_str(bad[i]), &from));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setting),
        cmocka_unit_test(comparing),
        cmocka_unit_test(showing),
        cmocka_unit_test(redirects),
        cmocka_unit_test(malformed_redirects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
