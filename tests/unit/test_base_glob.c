/* Globs: a table of the server's answer to each oddity, random patterns against a plain recursive
 * matcher, and the patterns that make such a matcher exponential. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/glob.h"

static bool match(const char *pattern, const char *text) {
    return glob_match(bytes_of_str(pattern), bytes_of_str(text));
}

static void plain(void **state) {
    assert_true(match("", ""));
    assert_false(match("", "a"));
    assert_false(match("a", ""));
    assert_true(match("abc", "abc"));
    assert_false(match("abc", "abcd"));
    assert_false(match("abcd", "abc"));
    assert_false(match("ABC", "abc"));
    assert_true(match("h?llo", "hello"));
    assert_false(match("?", ""));
    assert_false(match("??", "a"));
}

static void stars(void **state) {
    assert_true(match("*", ""));
    assert_true(match("*", "anything"));
    assert_true(match("***", "x"));
    assert_true(match("a*", "a"));
    assert_true(match("*a", "bca"));
    assert_true(match("a*b*c", "aXbYbZc"));
    assert_false(match("a*b*c", "aXbYbZ"));
    assert_true(match("*ab*", "aab"));
    assert_false(match("*?", ""));
    assert_true(match("user:*:name", "user:1:2:name"));
}

static void classes(void **state) {
    assert_true(match("[abc]", "b"));
    assert_false(match("[abc]", "d"));
    assert_true(match("[a-cx]", "x"));
    assert_true(match("[c-a]", "b"));
    assert_true(match("[^a]", "b"));
    assert_false(match("[^a]", "a"));
    assert_false(match("[^a]", ""));
    assert_true(match("[a\\]b]", "]"));
    assert_true(match("[\\a-c]", "-"));
    assert_true(match("*[0-9]", "key7"));
    assert_true(match("[*]", "*"));
    assert_false(match("[*]", "x"));
}

static void odd_classes(void **state) {
    assert_false(match("[]", "a"));
    assert_false(match("[]a]", "a"));
    assert_true(match("[^]", "a"));
    assert_true(match("[abc", "c"));
    assert_false(match("[", "["));
    assert_true(match("[^", "x"));
    assert_true(match("[a-]x]", "^"));
    assert_true(match("[a-", "-"));
    assert_true(match("[\\", "\\"));
    assert_true(match("[-a]", "-"));
    assert_true(match("[a^]", "^"));
}

static void escapes(void **state) {
    assert_true(match("\\*", "*"));
    assert_false(match("\\*", "x"));
    assert_true(match("a\\?c", "a?c"));
    assert_true(match("\\", "\\"));
    assert_true(match("a\\", "a\\"));
    assert_true(match("\\\\", "\\"));
    assert_true(match("\\[a]", "[a]"));
}

static void binary(void **state) {
    assert_true(glob_match(BYTES_LITERAL("a\0*"), BYTES_LITERAL("a\0\xff")));
    assert_false(glob_match(BYTES_LITERAL("a\0b"), BYTES_LITERAL("a\0c")));
    assert_true(glob_match(BYTES_LITERAL("[\x80-\xff]"), BYTES_LITERAL("\xc3")));
    assert_false(glob_match(bytes_of("ab", 1), BYTES_LITERAL("ab")));
}

/* The server's rule, said again in the plainest way: one alternative after the other. */
static bool class_by_hand(struct bytes *p, char c) {
    bool found = false, negated = p->len > 0 && p->ptr[0] == '^';
    size_t i = negated;
    for (; i < p->len && p->ptr[i] != ']'; i++) {
        bool escaped = p->ptr[i] == '\\' && i + 1 < p->len;
        if (escaped) i++;
        if (!escaped && i + 2 < p->len && p->ptr[i + 1] == '-') {
            char a = p->ptr[i], b = p->ptr[i + 2];
            found |= (a <= c && c <= b) || (b <= c && c <= a);
            i += 2;
        } else {
            found |= p->ptr[i] == c;
        }
    }
    if (i < p->len) i++;
    *p = bytes_of(p->ptr + i, p->len - i);
    return found != negated;
}

static bool match_by_hand(struct bytes p, struct bytes t) {
    if (p.len == 0) return t.len == 0;
    char first = p.ptr[0];
    p = bytes_of(p.ptr + 1, p.len - 1);
    if (first == '*') {
        for (size_t i = 0; i <= t.len; i++) {
            if (match_by_hand(p, bytes_of(t.ptr + i, t.len - i))) return true;
        }
        return false;
    }
    if (t.len == 0) return false;
    struct bytes behind = bytes_of(t.ptr + 1, t.len - 1);
    if (first == '?') return match_by_hand(p, behind);
    if (first == '[') return class_by_hand(&p, t.ptr[0]) && match_by_hand(p, behind);
    if (first == '\\' && p.len > 0) {
        first = p.ptr[0];
        p = bytes_of(p.ptr + 1, p.len - 1);
    }
    return first == t.ptr[0] && match_by_hand(p, behind);
}

static void random_patterns(void **state) {
    int hits = 0;
    for (int round = 0; round < 300000; round++) {
        char pattern[9], text[7];
        size_t plen = (size_t)rand() % sizeof(pattern), tlen = (size_t)rand() % sizeof(text);
        for (size_t i = 0; i < plen; i++) pattern[i] = "aabc**?[]^-\\"[rand() % 12];
        for (size_t i = 0; i < tlen; i++) text[i] = "aaabc-]\\"[rand() % 8];
        struct bytes p = bytes_of(pattern, plen), t = bytes_of(text, tlen);
        bool want = match_by_hand(p, t);
        hits += want;
        if (glob_match(p, t) != want)
            fail_msg("'%.*s' and '%.*s'", (int)plen, pattern, (int)tlen, text);
    }
    assert_true(hits > 3000);
}

static void never_exponential(void **state) {
    char pattern[401], text[20001];
    for (int i = 0; i < 200; i++) memcpy(pattern + 2 * i, "*a", 2);
    pattern[399] = 'b';
    pattern[400] = '\0';
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    int64_t start = clock_mono_ms();
    assert_false(match(pattern, text));
    assert_false(match("*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*[^a]", text));
    assert_true(clock_mono_ms() - start < 2000);
}

int main(void) {
    srand(11);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),           cmocka_unit_test(stars),
        cmocka_unit_test(classes),         cmocka_unit_test(odd_classes),
        cmocka_unit_test(escapes),         cmocka_unit_test(binary),
        cmocka_unit_test(random_patterns), cmocka_unit_test(never_exponential),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
