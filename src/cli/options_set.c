/* One value into its field, and where it came from: below the places that options are read from. */
#include <string.h>

#include "cli/options_priv.h"

static void *options_field(struct options *options, const struct option *option) {
    return (char *)options + option->offset;
}

bool options_set(struct options *options, const struct option *option, enum option_origin origin,
                 const char *text, const char *place, struct err *err) {
    unsigned char *current = &options->origin[option - option_table];
    if (*current > origin) return true;
    if (*current == origin && !option_is_repeatable(option))
        return err_set(err, ERR_USAGE, place, "given twice");
    void *field = options_field(options, option);
    if (*current < origin) {
        option_value_free(option, field);
        if (option->type == OPTION_CHOICES) *(uint64_t *)field = 0;
        if (option->type == OPTION_SLOTS) *(struct opt_slots *)field = (struct opt_slots){ 0 };
    }
    *current = (unsigned char)origin;
    return option_value_parse(option, field, text, place, err);
}

enum option_origin options_origin(const struct options *options, const char *name) {
    const struct option *option = option_find(name, strlen(name), options->command);
    if (option == NULL) return ORIGIN_NONE;
    const char *field = (const char *)options + option->offset;
    if (option->type == OPTION_FLAG && !*(const bool *)field) return ORIGIN_NONE;
    return options->origin[option - option_table];
}

bool options_is_set(const struct options *options, const char *name) {
    const struct option *option = option_find(name, strlen(name), options->command);
    return option != NULL && options->origin[option - option_table] > ORIGIN_DEFAULT;
}

bool options_is_on(const struct options *options, const char *name) {
    const struct option *option = option_find(name, strlen(name), options->command);
    return option != NULL && *(const bool *)((const char *)options + option->offset);
}

bool options_is_given(const struct options *options, const char *name) {
    return options_origin(options, name) > ORIGIN_DEFAULT;
}
