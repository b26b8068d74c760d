/* Endpoints: accepted forms with their meaning, and refused ones with the words that the error must
 * have and those that it must not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/endpoint.h"

static struct endpoint parse(const char *text) {
    struct endpoint endpoint;
    struct err err = { 0 };
    if (!endpoint_parse(&endpoint, "source", text, &err)) fail_msg("%s: %s", text, err.text);
    return endpoint;
}

static void check_tcp(const char *text, const char *host, unsigned port, int db, bool tls) {
    struct endpoint endpoint = parse(text);
    assert_int_equal(endpoint.kind, ENDPOINT_TCP);
    assert_int_equal(endpoint.n_hosts, 1);
    assert_string_equal(endpoint.hosts[0].host, host);
    assert_int_equal(endpoint.hosts[0].port, port);
    assert_int_equal(endpoint.db, db);
    assert_int_equal(endpoint.tls.on, tls);
    endpoint_fini(&endpoint);
}

static void test_tcp_forms(void **state) {
    check_tcp("example.com:7000", "example.com", 7000, 0, false);
    check_tcp("example.com", "example.com", 6379, 0, false);
    check_tcp(":7000", "127.0.0.1", 7000, 0, false);
    check_tcp("[::1]:7000", "::1", 7000, 0, false);
    check_tcp("[fe80::1%eth0]", "fe80::1%eth0", 6379, 0, false);
    check_tcp("redis://[fe80::1%25eth0]:1/", "fe80::1%eth0", 1, 0, false);
    check_tcp("redis://h", "h", 6379, 0, false);
    check_tcp("redis://h/", "h", 6379, 0, false);
    check_tcp("redis://h:65535/15", "h", 65535, 15, false);
    check_tcp("REDISS://h:1", "h", 1, 0, true);
    check_tcp("valkey://h?db=3", "h", 6379, 3, false);
    check_tcp("valkeys://[2001:db8::2]/3?", "2001:db8::2", 6379, 3, true);
    check_tcp("my_redis-1.svc.local.:1", "my_redis-1.svc.local.", 1, 0, false);
}

static void check_login(const char *text, const char *user, const char *pass) {
    struct endpoint endpoint = parse(text);
    if (user == NULL)
        assert_null(endpoint.user);
    else
        assert_string_equal(endpoint.user, user);
    if (pass == NULL)
        assert_null(endpoint.pass);
    else
        assert_string_equal(endpoint.pass, pass);
    assert_null(strstr(endpoint.label, "@"));
    endpoint_fini(&endpoint);
    assert_null(endpoint.pass);
}

static void test_logins(void **state) {
    check_login("redis://h", NULL, NULL);
    check_login("redis://app:secret@h", "app", "secret");
    check_login("redis://:secret@h", NULL, "secret");
    check_login("redis://secret@h", NULL, "secret");
    check_login("redis://app:@h", "app", NULL);
    check_login("redis://@h", NULL, NULL);
    check_login("redis://a%40b:p%2Fq%3A%25%C3%A9@h:1/2", "a@b", "p/q:%\xc3\xa9");
    check_login("redis://app:p@ss:word@h", "app", "p@ss:word");
    check_login("unix:///s.sock?user=u&password=p%26q", "u", "p&q");
    check_login("unix://u:p@/s.sock", "u", "p");
}

static void test_unix(void **state) {
    static const char *const forms[] = { "/run/redis.sock", "unix:///run/redis.sock",
                                         "redis-socket:///run/redis.sock" };
    for (size_t i = 0; i < 3; i++) {
        struct endpoint endpoint = parse(forms[i]);
        assert_int_equal(endpoint.kind, ENDPOINT_UNIX);
        assert_string_equal(endpoint.path, "/run/redis.sock");
        assert_string_equal(endpoint.label, "/run/redis.sock");
        assert_false(endpoint.db_named);
        endpoint_fini(&endpoint);
    }
    struct endpoint endpoint = parse("unix:///run/a%20b.sock?db=2&timeout=250ms");
    assert_string_equal(endpoint.path, "/run/a b.sock");
    assert_int_equal(endpoint.db, 2);
    assert_true(endpoint.db_named);
    assert_int_equal(endpoint.uri_timeout_ms, 250);
    endpoint_fini(&endpoint);
}

static void test_sentinel(void **state) {
    struct endpoint endpoint =
        parse("rediss-sentinel://u:p@s1,s2:5000,[::1]/4?sentinelMasterId=my%20name&timeout=5s"
              "&sentinelUser=su&sentinelPassword=sp");
    assert_int_equal(endpoint.kind, ENDPOINT_SENTINEL);
    assert_true(endpoint.tls.on);
    assert_int_equal(endpoint.n_hosts, 3);
    assert_string_equal(endpoint.hosts[0].host, "s1");
    assert_int_equal(endpoint.hosts[0].port, 26379);
    assert_int_equal(endpoint.hosts[1].port, 5000);
    assert_string_equal(endpoint.hosts[2].host, "::1");
    assert_string_equal(endpoint.sentinel_name, "my name");
    assert_string_equal(endpoint.sentinel_user, "su");
    assert_string_equal(endpoint.sentinel_pass, "sp");
    assert_string_equal(endpoint.pass, "p");
    assert_int_equal(endpoint.db, 4);
    assert_int_equal(endpoint.uri_timeout_ms, 5000);
    assert_string_equal(endpoint.label, "my name via s1:26379");

    struct endpoint copy;
    endpoint_copy(&copy, &endpoint);
    endpoint_fini(&endpoint);
    assert_string_equal(copy.hosts[2].host, "::1");
    assert_string_equal(copy.pass, "p");
    assert_string_equal(copy.role, "source");
    endpoint_fini(&copy);
}

/* Each must be refused with a text that holds `says`. */
static const struct refused {
    const char *text;
    const char *says;
} refused[] = {
    { "", "empty" },
    { "h:", "1 to 65535" },
    { "h:0", "port 0 is not" },
    { "h:65536", "port 65536 is not" },
    { "h:99999999999999999999999", "1 to 65535" },
    { "h:+1", "1 to 65535" },
    { "h:12x", "1 to 65535" },
    { "::1", "brackets" },
    { "[::1", "lacks the ']'" },
    { "[::1]6379", "expected ':'" },
    { "[::g]", "not an IPv6 address" },
    { "[]", "not an IPv6 address" },
    { "[1.2.3.4]", "not an IPv6 address" },
    { "a b:1", "not a host name" },
    { "-h:1", "not a host name" },
    { "a..b", "not a host name" },
    { "h\xc3\xa9:1", "not a host name" },
    { ":", "1 to 65535" },
    { "h/0", "need a URI" },
    { "h:1?db=1", "need a URI" },
    { "app:SECRET@h:1", "need a URI" },
    { "http://h", "unknown scheme \"http\"" },
    { "://h", "unknown scheme" },
    { "SECRET://SECRET@h", "unknown scheme;" },
    { "redis://", "no host" },
    { "redis://app:SECRET@", "no host" },
    { "redis://app:SECRET@:x", "1 to 65535" },
    { "redis://app:SECRET", "1 to 65535" },
    { "redis://h1,h2", "only redis-sentinel://" },
    { "redis://h/x", "database \"x\"" },
    { "redis://h/-1", "database \"-1\"" },
    { "redis://h/1/2", "database \"1/2\"" },
    { "redis://h/1000000", "0 to 999999" },
    { "redis://h/1?db=1", "named twice" },
    { "redis://h?timeout=5", "timeout" },
    { "redis://h?timeout=-5s", "timeout" },
    { "redis://h?timeout=0s", "timeout" },
    { "redis://h?timeout=2d", "timeout" },
    { "redis://h?timeout=", "no value" },
    { "redis://h?timeout=1s&timeout=2s", "twice" },
    { "redis://h?tiemout=1s",
      "unknown parameter \"tiemout\"; known here are timeout, db, database" },
    { "redis://h?password=SECRET", "unknown parameter \"password\"" },
    { "redis://app:SECRET/x@h", "%2F" },
    { "redis://app:SECRET/x@y@h", "%2F" },
    { "redis://app:x@SECRET/y@h", "%2F" },
    { "redis://app:SECRET?x@h", "%3F" },
    { "redis://app:SECRET#x@h", "%23" },
    { "redis://h#SECRET", "'#'" },
    { "redis://app:%SECRET@h", "the password has a '%'" },
    { "redis://app:SECRET%4@h", "the password has a '%'" },
    { "redis://app:SECRET%00x@h", "the password has a '%'" },
    { "redis://a%:SECRET@h", "the user name has a '%'" },
    { "unix://run/redis.sock", "a host stands where" },
    { "unix://", "no absolute path" },
    { "unix:///s?password=SECRET&password=x", "the password is named twice" },
    { "unix://u:SECRET@/s?user=u", "the user is named twice" },
    { "unix:///s?user", "no value" },
    { "redis-sentinel://h1,h2", "sentinelMasterId" },
    { "redis-sentinel://h1,,h2?sentinelMasterId=m", "empty entry" },
    { "redis-sentinel://h1,?sentinelMasterId=m", "empty entry" },
    { "redis-sentinel://,h1?sentinelMasterId=m", "empty entry" },
    { "redis-sentinel://h1?sentinelMasterId=", "no value" },
};

static void test_refused(void **state) {
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct endpoint endpoint;
        struct err err = { 0 };
        if (endpoint_parse(&endpoint, "source", refused[i].text, &err))
            fail_msg("accepted: %s", refused[i].text);
        assert_int_equal(err.code, ERR_USAGE);
        assert_string_equal(err.place, "source");
        if (strstr(err.text, refused[i].says) == NULL)
            fail_msg("%s: %s", refused[i].text, err.text);
        if (strstr(err.text, "SECRET") != NULL) fail_msg("the password shows: %s", err.text);
        endpoint_fini(&endpoint);
    }
}

static void test_bounds(void **state) {
    char *hosts = mem_strdup("redis-sentinel://h");
    for (int i = 0; i < ENDPOINT_HOSTS_MAX; i++) {
        char *longer = mem_printf("%s,h", hosts);
        free(hosts);
        hosts = longer;
    }
    char *longer = mem_printf("%s?sentinelMasterId=m", hosts);
    char *path = mem_alloc(200), *name = mem_alloc(9000);
    memset(path, '/', 199);
    path[199] = '\0';
    memset(name, 'h', 8999);
    name[8999] = '\0';
    struct endpoint endpoint;
    struct err err = { 0 };
    assert_false(endpoint_parse(&endpoint, "source", longer, &err));
    assert_non_null(strstr(err.text, "more than 32"));
    assert_false(endpoint_parse(&endpoint, "source", path, &err));
    assert_non_null(strstr(err.text, "longer than 107"));
    assert_false(endpoint_parse(&endpoint, "source", name, &err));
    assert_non_null(strstr(err.text, "longer than 4096"));
    name[300] = '\0';
    assert_false(endpoint_parse(&endpoint, "source", name, &err));
    assert_non_null(strstr(err.text, "not a host name"));
    free(name);
    free(path);
    free(longer);
    free(hosts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp_forms), cmocka_unit_test(test_logins),
        cmocka_unit_test(test_unix),      cmocka_unit_test(test_sentinel),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
