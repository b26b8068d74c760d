/* See progress.h. */
#include "cli/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/units.h"

enum { BAR_MAX = 30, BAR_MIN = 8, NUMBER_MAX = 32, PHASE_MAX = 32 };

/* The older a measurement, the less it weighs: after this long, a third. */
#define RATE_MEMORY_MS 3000.0

struct progress {
    bool bar, log;
    bool visible; /* the line stands on the terminal now */
    struct loop_timer *timer;
    progress_fill_fn *fill;
    void *ctx;
    char phase[PHASE_MAX];
    struct progress_rates rates;
    bool measured;
    uint64_t seen_keys, seen_bytes; /* at the last measurement */
    int64_t seen_ms, drawn_ms;
    char line[PROGRESS_LINE_MAX];
};

/* ---- the line ---- */

struct text {
    char *buf;
    size_t size, len;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->buf + t->len, t->size - t->len, fmt, ap);
    va_end(ap);
    if (n > 0) t->len = t->len + (size_t)n < t->size ? t->len + (size_t)n : t->size - 1;
}

static double share_of(const struct progress_state *s) {
    if (s->total == 0) return 0;
    double share = (double)s->keys / (double)s->total;
    return share > 1 ? 1 : share;
}

/* Never "100%" before the end: the last percent is shown only when all is done. */
static void progress_put_head(struct text *t, const struct progress_state *s) {
    put(t, "%s", s->phase != NULL ? s->phase : "working");
    if (s->total == 0) return;
    int percent = (int)(share_of(s) * 100);
    put(t, " %3d%%", s->keys < s->total && percent == 100 ? 99 : percent);
}

static void put_bar(struct text *t, double share, size_t width) {
    size_t full = (size_t)(share * (double)width);
    put(t, " [");
    for (size_t i = 0; i < width; i++) put(t, "%c", i < full ? '#' : '.');
    put(t, "]");
}

static void put_time_left(struct text *t, const struct progress_state *s,
                          const struct progress_rates *r) {
    char left[NUMBER_MAX];
    if (s->total == 0 || s->keys >= s->total || r->keys_per_s < 0.5) return;
    double left_s = (double)(s->total - s->keys) / r->keys_per_s;
    if (left_s > 1e7) return;
    if (left_s < 60)
        put(t, ", %d s left", (int)(left_s + 0.5));
    else
        put(t, ", %s left",
            units_format_duration((int64_t)(left_s + 0.5) * 1000, left, sizeof(left)));
}

static void put_counts(struct text *t, const struct progress_state *s,
                       const struct progress_rates *r) {
    char a[NUMBER_MAX], b[NUMBER_MAX];
    put(t, " %s", units_format_number(s->keys, a, sizeof(a)));
    if (s->total > 0) put(t, "/%s", units_format_number(s->total, b, sizeof(b)));
    put(t, " keys, %s/s", units_format_number((uint64_t)(r->keys_per_s + 0.5), a, sizeof(a)));
    if (s->bytes > 0)
        put(t, ", %s/s", units_format_bytes((uint64_t)(r->bytes_per_s + 0.5), a, sizeof(a)));
    put_time_left(t, s, r);
    if (s->given_up > 0) put(t, ", %s given up", units_format_number(s->given_up, a, sizeof(a)));
    if (s->different > 0) put(t, ", %s different", units_format_number(s->different, a, sizeof(a)));
    if (s->waiting > 0) put(t, ", %s waiting", units_format_number(s->waiting, a, sizeof(a)));
    if (s->has_lag) put(t, ", lag %s", units_format_duration(s->lag_ms, a, sizeof(a)));
    if (s->note != NULL) put(t, "; %s", s->note);
}

const char *progress_format(char *buf, size_t size, const struct progress_state *state,
                            const struct progress_rates *rates, size_t width) {
    char counts[PROGRESS_LINE_MAX];
    struct text line = { buf, size, 0 }, tail = { counts, sizeof(counts), 0 };
    buf[0] = counts[0] = '\0';
    progress_put_head(&line, state);
    put_counts(&tail, state, rates);
    size_t used = line.len + tail.len + 3; /* " [" and "]" */
    if (state->total > 0 && width >= used + BAR_MIN)
        put_bar(&line, share_of(state), width - used > BAR_MAX ? BAR_MAX : width - used);
    put(&line, width == 0 && state->total == 0 ? ":%s" : "%s", counts);
    if (width > 0 && line.len > width) buf[width] = '\0';
    for (char *p = buf; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f) *p = '?';
    return buf;
}

/* ---- the terminal; these run under the log's lock ---- */

static void write_terminal(const char *text, size_t len) {
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, text, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return; /* a terminal that went away must not end the job */
        text += n;
        len -= (size_t)n;
    }
}

static void draw(void *ctx) {
    struct progress *p = ctx;
    char out[PROGRESS_LINE_MAX + 8];
    int n = snprintf(out, sizeof(out), "\r%s\x1b[K", p->line);
    write_terminal(out, (size_t)n);
    p->visible = true;
}

static void erase(void *ctx) {
    struct progress *p = ctx;
    if (p->visible) write_terminal("\r\x1b[K", 4);
    p->visible = false;
}

static void redraw(void *ctx) {
    struct progress *p = ctx;
    if (p->line[0] != '\0') draw(p);
}

/* One column stays free: a terminal that has its last one filled may begin a new line. */
static size_t terminal_width(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 2)
        return PROGRESS_WIDTH_DEFAULT - 1;
    return size.ws_col - 1u < PROGRESS_LINE_MAX ? size.ws_col - 1u : PROGRESS_LINE_MAX - 1;
}

/* ---- measuring ---- */

static double smoothed(double old, uint64_t from, uint64_t to, double passed_ms, bool first) {
    double now = to > from ? (double)(to - from) * 1000 / passed_ms : 0;
    double weight = first ? 1 : passed_ms / (passed_ms + RATE_MEMORY_MS);
    return old + (now - old) * weight;
}

static void measure(struct progress *p, const struct progress_state *s, int64_t now_ms) {
    const char *phase = s->phase != NULL ? s->phase : "";
    if (p->seen_ms == 0 || strncmp(p->phase, phase, sizeof(p->phase) - 1) != 0) {
        snprintf(p->phase, sizeof(p->phase), "%s", phase);
        p->rates = (struct progress_rates){ 0 };
        p->measured = false;
    } else {
        double passed_ms = (double)(now_ms - p->seen_ms);
        if (passed_ms < 1) return;
        p->rates.keys_per_s =
            smoothed(p->rates.keys_per_s, p->seen_keys, s->keys, passed_ms, !p->measured);
        p->rates.bytes_per_s =
            smoothed(p->rates.bytes_per_s, p->seen_bytes, s->bytes, passed_ms, !p->measured);
        p->measured = true;
    }
    p->seen_ms = now_ms;
    p->seen_keys = s->keys;
    p->seen_bytes = s->bytes;
}

void progress_update(struct progress *p, const struct progress_state *state) {
    int64_t now_ms = clock_mono_ms();
    int64_t pace_ms = p->bar           ? PROGRESS_DRAW_MS
                      : state->has_lag ? PROGRESS_LIVE_LOG_MS
                                       : PROGRESS_LOG_MS;
    if (!p->bar && !p->log) return;
    if (p->drawn_ms != 0 && now_ms - p->drawn_ms < pace_ms - PROGRESS_DRAW_MS / 5) return;
    bool first = p->drawn_ms == 0;
    p->drawn_ms = now_ms;
    measure(p, state, now_ms);
    if (p->bar) {
        progress_format(p->line, sizeof(p->line), state, &p->rates, terminal_width());
        log_with_lock(draw, p);
    } else if (!first) { /* nothing is known at the start, and a short job needs no line at all */
        log_info(NULL, "%s", progress_format(p->line, sizeof(p->line), state, &p->rates, 0));
    }
}

/* ---- beginning and ending ---- */

static void on_timer(void *ctx) {
    struct progress *p = ctx;
    struct progress_state state = { 0 };
    p->fill(p->ctx, &state);
    progress_update(p, &state);
    loop_timer_start(p->timer, p->bar ? PROGRESS_DRAW_MS : PROGRESS_LOG_MS);
}

struct progress *progress_new(int mode) {
    struct progress *p = mem_zalloc(sizeof(*p));
    bool terminal = isatty(STDERR_FILENO) == 1;
    p->bar = mode == OPT_PROGRESS_BAR || (mode == OPT_PROGRESS_AUTO && terminal);
    p->log = mode == OPT_PROGRESS_LOG || (mode == OPT_PROGRESS_AUTO && !terminal);
    if (p->bar) log_set_hooks(erase, redraw, p);
    return p;
}

void progress_drive(struct progress *p, struct loop *loop, progress_fill_fn *fill, void *ctx) {
    if (!p->bar && !p->log) return;
    p->fill = fill;
    p->ctx = ctx;
    loop_timer_free(&p->timer);
    p->timer = loop_timer_new(loop, on_timer, p);
    on_timer(p);
}

void progress_end(struct progress **progress) {
    struct progress *p = *progress;
    *progress = NULL;
    if (p == NULL) return;
    loop_timer_free(&p->timer);
    if (p->bar) {
        log_set_hooks(NULL, NULL, NULL);
        log_with_lock(erase, p);
    }
    free(p);
}
