/* See filter.h. */
#include "copy/filter.h"

#include "base/glob.h"

static bool matches_any(char **globs, size_t n, struct bytes key) {
    for (size_t i = 0; i < n; i++)
        if (glob_match(bytes_of_str(globs[i]), key)) return true;
    return false;
}

static bool ends_with(struct bytes b, const char *end) {
    size_t len = strlen(end);
    return b.len >= len && memcmp(b.ptr + b.len - len, end, len) == 0;
}

bool key_is_temporary(struct bytes key) {
    return bytes_has_prefix(key, "longhaul:tmp:{") && ends_with(key, "}");
}

bool key_is_own(struct bytes key) {
    if (!bytes_has_prefix(key, "longhaul:")) return false;
    if (bytes_has_prefix(key, "longhaul:probe:") || bytes_has_prefix(key, "longhaul:doctor:"))
        return true;
    if (key_is_temporary(key)) return true;
    if (!bytes_has_prefix(key, "longhaul:{")) return false;
    return ends_with(key, "}:state") || ends_with(key, "}:lease") || ends_with(key, "}:epoch") ||
           ends_with(key, "}:order") || ends_with(key, "}:extra");
}

bool key_filter_wants(const struct key_filter *f, struct bytes key, uint16_t slot) {
    if (key_is_own(key)) return false;
    if (f->slots != NULL && !slot_set_has(f->slots, slot)) return false;
    if (f->pattern != NULL && !glob_match(bytes_of_str(f->pattern), key)) return false;
    if (f->n_include > 0 && !matches_any(f->include, f->n_include, key)) return false;
    return f->n_exclude == 0 || !matches_any(f->exclude, f->n_exclude, key);
}

bool key_filter_wants_type(const struct key_filter *f, struct bytes type) {
    for (size_t i = 0; i < f->n_types; i++)
        if (bytes_equal_nocase(type, f->types[i])) return true;
    return f->n_types == 0;
}
