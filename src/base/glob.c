/* Glob matching without recursion.
 *
 * Everything in a pattern but `*` takes exactly one byte of the text, so when a match fails behind
 * a star only the last star has to be tried again, one byte further: at most pattern × text steps.
 *
 * Oddities kept from the server: a class that is never closed ends with the pattern; `[]` matches
 * nothing and `[^]` any byte; in `[a-]x]` the bracket behind the dash is the end of the range; a
 * reversed range is turned round; a backslash at the very end stands for itself. Ranges compare
 * bytes as unsigned, as servers on ARM do (on x86 they compare them as signed, which differs only
 * for ranges across 0x80).
 */
#include "base/glob.h"

/* Reads one member of a class at *at (there is at least one byte left) and moves behind it. */
static bool member_matches(struct bytes pattern, size_t *at, unsigned char c) {
    const unsigned char *p = (const unsigned char *)pattern.ptr + *at;
    size_t left = pattern.len - *at;
    if (p[0] == '\\' && left >= 2) {
        *at += 2;
        return p[1] == c;
    }
    if (left >= 3 && p[1] == '-') {
        *at += 3;
        unsigned char low = p[0] < p[2] ? p[0] : p[2];
        unsigned char high = p[0] < p[2] ? p[2] : p[0];
        return c >= low && c <= high;
    }
    *at += 1;
    return p[0] == c;
}

/* *at stands behind the '['; leaves it behind the ']' or at the pattern's end. */
static bool class_matches(struct bytes pattern, size_t *at, unsigned char c) {
    bool negated = *at < pattern.len && pattern.ptr[*at] == '^';
    if (negated) ++*at;
    bool found = false;
    while (*at < pattern.len && pattern.ptr[*at] != ']') {
        if (member_matches(pattern, at, c)) found = true;
    }
    if (*at < pattern.len) ++*at;
    return found != negated;
}

/* Matches one byte against the element at *at, which is not a star, and moves behind the element.
 */
static bool element_matches(struct bytes pattern, size_t *at, unsigned char c) {
    char kind = pattern.ptr[(*at)++];
    if (kind == '?') return true;
    if (kind == '[') return class_matches(pattern, at, c);
    if (kind == '\\' && *at < pattern.len) kind = pattern.ptr[(*at)++];
    return (unsigned char)kind == c;
}

bool glob_match(struct bytes pattern, struct bytes text) {
    size_t p = 0, t = 0;
    /* behind the last star; the byte of the text where it was tried */
    size_t star_p = 0, star_t = 0;
    bool star = false;
    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = true;
            star_p = ++p;
            star_t = t;
            if (p == pattern.len) return true;
        } else if (p < pattern.len && element_matches(pattern, &p, (unsigned char)text.ptr[t])) {
            t++;
        } else if (star) {
            p = star_p;
            t = ++star_t;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*') p++;
    return p == pattern.len;
}
