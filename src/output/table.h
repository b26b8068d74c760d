/* Rows of cells, printed with their columns aligned.
 *
 *   table_text(t, "%s", "key"); table_number(t, "%s", "bytes"); table_end_row(t);
 *   table_text(t, "%s", name);  table_number(t, "%" PRIu64, n); table_end_row(t);
 *   table_print(t, stdout, 2);
 *
 * A table that grows while it is shown is printed in pieces: each table_print() prints the rows
 * since the last one, and columns only get wider. */
#ifndef LONGHAUL_OUTPUT_TABLE_H
#define LONGHAUL_OUTPUT_TABLE_H

#include <stdio.h>

struct table;

enum { TABLE_COLUMNS_MAX = 24, TABLE_GAP = 2 };

struct table *table_new(void);
/* Leaves NULL. */
void table_free(struct table **table);

/* Adds a cell to the present row: text stands left in its column, a number right. Columns past
 * TABLE_COLUMNS_MAX are dropped. Control characters become '?'. */
void table_text(struct table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_number(struct table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_end_row(struct table *table);

/* Prints the rows that are complete and forgets them; each line starts with `indent` spaces and has
 * none at its end. */
void table_print(struct table *table, FILE *out, int indent);

#endif
