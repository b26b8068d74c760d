/* Allocation that ends the process instead of failing.
 *
 * The line that says so is made without allocating and without stdio, since either may have just
 * failed. Asking for 0 bytes gives a real pointer, so that NULL never has to mean two things.
 */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MEM_EXIT_STATUS = 2 };

static void __attribute__((noreturn)) die(size_t size) {
    char line[96];
    int len = snprintf(line, sizeof(line), "longhaul: out of memory (%zu bytes asked for)\n", size);
    ssize_t ignored = write(STDERR_FILENO, line, (size_t)len);
    (void)ignored;
    _exit(MEM_EXIT_STATUS);
}

void *mem_alloc(size_t size) {
    void *ptr = malloc(size > 0 ? size : 1);
    if (ptr == NULL) die(size);
    return ptr;
}

void *mem_zalloc(size_t size) {
    void *ptr = calloc(1, size > 0 ? size : 1);
    if (ptr == NULL) die(size);
    return ptr;
}

void *mem_realloc(void *ptr, size_t size) {
    void *moved = realloc(ptr, size > 0 ? size : 1);
    if (moved == NULL) die(size);
    return moved;
}

void *mem_array(void *ptr, size_t n, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(n, size, &total)) die(SIZE_MAX);
    return mem_realloc(ptr, total);
}

char *mem_strdup(const char *s) {
    return mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t len) {
    size_t used = strnlen(s, len);
    char *copy = mem_alloc(used + 1);
    memcpy(copy, s, used);
    copy[used] = '\0';
    return copy;
}

char *mem_printf(const char *fmt, ...) {
    char *made = NULL;
    va_list ap;
    va_start(ap, fmt);
    int len = vasprintf(&made, fmt, ap);
    va_end(ap);
    if (len < 0) die(0);
    return made;
}
