/* One line of output. Every text that came from a server, a record or a file goes through here or
 * through output/table.h, so that it can neither steer the terminal nor pretend to be a line of
 * longhaul's own. */
#ifndef LONGHAUL_OUTPUT_LINE_H
#define LONGHAUL_OUTPUT_LINE_H

#include <stdio.h>

/* Prints the text and a newline. Control characters in the text, line breaks too, become '?'. */
void line_print(FILE *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Replaces the control characters of a text in its place. */
void line_clean(char *text);

#endif
