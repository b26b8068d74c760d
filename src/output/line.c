/* See line.h. */
#include "output/line.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/mem.h"

/* C0 and DEL as one byte, C1 (U+0080 to U+009F) as UTF-8. */
void line_clean(char *text) {
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f) *c = '?';
        if (*c == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f) c[0] = c[1] = '?';
    }
}

void line_print(FILE *out, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = mem_alloc((size_t)(len > 0 ? len : 0) + 1);
    text[0] = '\0';
    vsnprintf(text, (size_t)(len > 0 ? len : 0) + 1, fmt, again);
    va_end(again);
    line_clean(text);
    fprintf(out, "%s\n", text);
    free(text);
}
