/* Allocation that does not fail: out of memory ends the process with one line on standard error and
 * status 2. A length that a reply or a file announces must be checked against a bound before the
 * memory is asked for here. */
#ifndef LONGHAUL_BASE_MEM_H
#define LONGHAUL_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_realloc(void *ptr, size_t size);
/* Array of n elements of size bytes; the product is checked for overflow. */
void *mem_array(void *ptr, size_t n, size_t size);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t len);
/* printf into fresh memory; the caller frees it. */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
