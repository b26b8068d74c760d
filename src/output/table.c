/* See table.h. Cells are kept in one growing array, row by row; a row's end is a cell without text.
 */
#include "output/table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"
#include "output/line.h"

struct cell {
    char *text; /* NULL: the end of the row */
    bool right;
};

struct table {
    struct cell *cells;
    size_t n, cap;
    size_t complete; /* cells of rows that have ended */
    int column;      /* of the next cell */
    int width[TABLE_COLUMNS_MAX];
};

struct table *table_new(void) {
    return mem_zalloc(sizeof(struct table));
}

void table_free(struct table **table) {
    struct table *t = *table;
    *table = NULL;
    if (t == NULL) return;
    for (size_t i = 0; i < t->n; i++) free(t->cells[i].text);
    free(t->cells);
    free(t);
}

/* Columns that a text takes: the bytes of UTF-8 that start a character. */
static int text_width(const char *text) {
    int width = 0;
    for (; *text != '\0'; text++)
        if (((unsigned char)*text & 0xc0) != 0x80) width++;
    return width;
}

static void push(struct table *t, struct cell cell) {
    if (t->n == t->cap) {
        t->cap = t->cap == 0 ? 64 : t->cap * 2;
        t->cells = mem_array(t->cells, t->cap, sizeof(*t->cells));
    }
    t->cells[t->n++] = cell;
}

static void add(struct table *t, bool right, const char *fmt, va_list ap) {
    if (t->column == TABLE_COLUMNS_MAX) return;
    va_list again;
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    size_t size = len < 0 ? 1 : (size_t)len + 1;
    char *text = mem_zalloc(size);
    vsnprintf(text, size, fmt, ap);
    line_clean(text);
    int width = text_width(text);
    if (width > t->width[t->column]) t->width[t->column] = width;
    t->column++;
    push(t, (struct cell){ text, right });
}

void table_text(struct table *table, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    add(table, false, fmt, ap);
    va_end(ap);
}

void table_number(struct table *table, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    add(table, true, fmt, ap);
    va_end(ap);
}

void table_end_row(struct table *table) {
    push(table, (struct cell){ NULL, false });
    table->complete = table->n;
    table->column = 0;
}

/* Spaces are owed until a text follows, so that no line ends with them. */
static void print_cell(FILE *out, const struct cell *cell, int width, int *owed) {
    int text = text_width(cell->text), fill = width > text ? width - text : 0;
    if (text == 0) {
        *owed += fill + TABLE_GAP;
        return;
    }
    fprintf(out, "%*s%s", *owed + (cell->right ? fill : 0), "", cell->text);
    *owed = TABLE_GAP + (cell->right ? 0 : fill);
}

void table_print(struct table *table, FILE *out, int indent) {
    int column = 0, owed = indent;
    for (size_t i = 0; i < table->complete; i++) {
        struct cell *cell = &table->cells[i];
        if (cell->text != NULL) {
            print_cell(out, cell, table->width[column++], &owed);
            free(cell->text);
        } else {
            fputc('\n', out);
            column = 0;
            owed = indent;
        }
    }
    size_t rest = table->n - table->complete;
    for (size_t i = 0; i < rest; i++) table->cells[i] = table->cells[table->complete + i];
    table->n = rest;
    table->complete = 0;
}
