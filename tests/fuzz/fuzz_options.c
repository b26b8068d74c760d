/* Any command line: NULs part the arguments in the input. No crash, no leak, and an error where the
 * line is not accepted. Options that open files are left out. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/options.h"
#include "cli/secrets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARGS_MAX = 64 };

static int split(char *text, size_t size, char **argv) {
    int argc = 0;
    for (size_t at = 0; at < size && argc < ARGS_MAX; at += strlen(text + at) + 1)
        if (strncmp(text + at, "--config", 8) != 0) argv[argc++] = text + at;
    return argc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char program[] = "longhaul";
    char *text = mem_alloc(size + 1), *argv[ARGS_MAX + 1] = { program };
    if (size > 0) memcpy(text, data, size);
    text[size] = '\0';
    int argc = 1 + split(text, size, argv + 1);

    struct options options;
    struct err err = { 0 };
    if (options_parse(&options, argc, argv, NULL, &err) ? err.code != ERR_NONE
                                                        : err.text[0] == '\0')
        abort();
    options_fini(&options);
    secrets_hide(argc, argv);
    free(text);
    return 0;
}
