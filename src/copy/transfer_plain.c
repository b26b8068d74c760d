/* Strings, lists, sets, hashes and sorted sets: whole when they are small, else page by page,
 * watched.
 *
 * The next page is asked for when the previous one has been read and at most one piece waits for
 * the target, so two pieces are in memory. The size of a page follows the size of the elements so
 * far.
 */
#include <stdlib.h>

#include "copy/transfer_priv.h"
#include "rdb/score.h"

static bool plain_merges(const struct transfer *t) {
    enum value_type type = t->kind->value;
    return t->flight->plan->merge &&
           (type == VALUE_HASH || type == VALUE_SET || type == VALUE_ZSET);
}

/* ---- writing ---- */

static void plain_write_command(struct transfer *t, struct resp_cursor *elements, size_t words,
                                struct block *block) {
    struct outq *out = transfer_write(t);
    struct resp_item item, score;
    resp_write_head(out, 2 + words);
    resp_write_arg(out, bytes_of_str(t->kind->write));
    resp_write_arg(out, t->to);
    for (size_t i = 0; i < words && resp_next(elements, &item); i++) {
        t->bytes += item.str.len;
        if (t->kind->value == VALUE_ZSET && resp_next(elements, &score)) {
            /* Read as member and score, written as score and member. */
            resp_write_arg(out, score.str);
            i++;
        }
        resp_write_arg_ref(out, block, item.str);
    }
}

static bool plain_has_negative_zero(const struct transfer *t, struct resp_cursor elements,
                                    size_t words) {
    struct resp_item item;
    if (t->kind->value != VALUE_ZSET) return false;
    for (size_t i = 0; i < words && resp_next(&elements, &item); i++)
        if (i % 2 == 1 && score_text_is_negative_zero(item.str)) return true;
    return false;
}

/* Elements as words of the kind's write command, split by --max-args; the last command gets `last`.
 */
static void plain_write(struct transfer *t, struct resp_cursor elements, size_t words,
                        struct block *block, const struct transfer_step *last) {
    size_t most = (t->flight->plan->max_args - 2) / t->kind->words * t->kind->words;
    bool fills = !t->keeps_sign && plain_has_negative_zero(t, elements, words);
    if (fills)
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("ZADD"), t->to, BYTES_LITERAL("0"),
                      score_filler());
    for (size_t done = 0; done < words;) {
        size_t n = words - done < most ? words - done : most;
        plain_write_command(t, &elements, n, block);
        done += n;
        transfer_written(t, done == words ? last : &transfer_step_none);
    }
    if (fills) TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("ZREM"), t->to, score_filler());
    t->keeps_sign |= fills;
}

/* ---- whole ---- */

static void plain_send_set(struct transfer *t) {
    struct outq *out = transfer_write(t);
    resp_write_head(out, 3);
    resp_write_literal(out, "SET");
    resp_write_arg(out, t->to);
    resp_write_arg_ref(out, t->value.block, t->value.item.str);
    t->bytes += t->value.item.str.len;
    transfer_written(t, &transfer_step_none);
}

static void plain_write_whole(struct transfer *t) {
    bool string = t->kind->value == VALUE_STRING;
    transfer_begin_block(t);
    if (!plain_merges(t) && !string)
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("UNLINK"), t->to);
    if (string) {
        plain_send_set(t);
    } else {
        plain_write(t, t->value.elements, (size_t)t->value.item.num, t->value.block,
                    &transfer_step_none);
    }
    transfer_write_expiry(t);
    transfer_end_block(t);
}

static void on_plain_whole_times(struct transfer *t, const struct reply *reply) {
    /* Value and times are not of one moment: a hash with fields that expire is read watched. */
    if (field_times_any(t)) {
        transfer_enlarge(t);
    } else {
        plain_write_whole(t);
    }
}

static void plain_take_whole(struct transfer *t) {
    bool nothing =
        t->kind->value == VALUE_STRING ? !resp_is_string(&t->value.item) : t->value.item.num <= 0;
    if (nothing || t->expiry_ms == -2) {
        transfer_missing(t);
    } else if (field_times_wanted(t)) {
        field_times_ask(t, t->value.elements, (size_t)t->value.item.num / 2, t->value.block,
                        on_plain_whole_times);
    } else {
        plain_write_whole(t);
    }
}

static void on_plain_whole(struct transfer *t, const struct reply *reply) {
    t->value.item = reply->item;
    t->value.elements = reply->cursor;
    t->value.block = block_ref(reply->block);
}

static void on_plain_whole_expiry(struct transfer *t, const struct reply *reply) {
    transfer_take_expiry(t, &reply->item);
    if (t->flight->plan->can.source_pexpiretime) plain_take_whole(t);
}

static void on_plain_whole_clock(struct transfer *t, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    if (transfer_take_clock(t, &c)) plain_take_whole(t);
}

static void plain_read_whole(struct transfer *t) {
    static const struct transfer_step value = { on_plain_whole, false },
                                      expiry = { on_plain_whole_expiry, false },
                                      clock = { on_plain_whole_clock, false };
    struct bytes command = bytes_of_str(t->kind->whole);
    transfer_move(t, TRANSFER_READING);
    switch (t->kind->value) {
    case VALUE_LIST:
        TRANSFER_READ(t, &value, command, t->key, BYTES_LITERAL("0"), BYTES_LITERAL("-1"));
        break;
    case VALUE_ZSET:
        TRANSFER_READ(t, &value, command, t->key, BYTES_LITERAL("0"), BYTES_LITERAL("-1"),
                      BYTES_LITERAL("WITHSCORES"));
        break;
    default:
        TRANSFER_READ(t, &value, command, t->key);
        break;
    }
    transfer_ask_expiry(t, &expiry, &clock);
}

/* ---- pages ---- */

static size_t plain_page_elements(const struct transfer *t) {
    double elements =
        t->pieces.element_bytes <= 0 ? PIECE_ELEMENTS_START : PIECE_BYTES / t->pieces.element_bytes;
    return elements > PIECE_ELEMENTS_MAX ? PIECE_ELEMENTS_MAX : elements < 1 ? 1 : (size_t)elements;
}

/* Rises at once, so that a run of large elements is read in small pages. */
static void plain_learn_element(struct transfer *t, uint64_t bytes, size_t elements) {
    if (elements == 0) return;
    double seen = (double)bytes / (double)elements;
    t->pieces.element_bytes =
        seen > t->pieces.element_bytes ? seen : t->pieces.element_bytes * 0.9 + seen * 0.1;
}

static void plain_page_done(struct transfer *t, uint64_t bytes_before, size_t elements) {
    plain_learn_element(t, t->bytes - bytes_before, elements);
    t->pieces.elements += elements;
    t->pieces.page_asked = false;
    transfer_continue(t);
}

static void on_plain_page_times(struct transfer *t, const struct reply *reply) {
    uint64_t before = t->bytes;
    size_t fields = t->times.n;
    plain_write(t, t->times.elements, fields * 2, t->times.block, &transfer_step_piece);
    if (field_times_any(t)) {
        /* Some may have expired on the target before it counts. */
        t->expects_length = false;
        if (!field_times_write(t)) return;
    }
    field_times_fini(&t->times);
    plain_page_done(t, before, fields);
}

static void plain_take_elements(struct transfer *t, struct resp_cursor elements, size_t words,
                                struct block *block) {
    uint64_t before = t->bytes;
    if (words > 0 && field_times_wanted(t)) {
        field_times_ask(t, elements, words / 2, block, on_plain_page_times);
        return;
    }
    plain_write(t, elements, words, block, &transfer_step_piece);
    plain_page_done(t, before, words / t->kind->words);
}

static void on_plain_scan_page(struct transfer *t, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item cursor, elements;
    if (!resp_next(&c, &cursor) || !resp_next(&c, &elements) ||
        cursor.str.len >= sizeof(t->pieces.cursor) || elements.num < 0) {
        transfer_malformed(t, t->kind->page);
        return;
    }
    memcpy(t->pieces.cursor, cursor.str.ptr, cursor.str.len);
    t->pieces.cursor[cursor.str.len] = '\0';
    if (bytes_equal_str(cursor.str, "0")) transfer_move(t, TRANSFER_LAST_READ);
    plain_take_elements(t, c, (size_t)elements.num, reply->block);
}

static void on_plain_list_page(struct transfer *t, const struct reply *reply) {
    int64_t n = reply->item.num > 0 ? reply->item.num : 0;
    t->pieces.offset += n;
    if (n == 0 || t->pieces.offset >= t->length) transfer_move(t, TRANSFER_LAST_READ);
    plain_take_elements(t, reply->cursor, (size_t)n, reply->block);
}

static void on_plain_string_page(struct transfer *t, const struct reply *reply) {
    t->pieces.offset += (int64_t)reply->item.str.len;
    if (reply->item.str.len < PIECE_STRING_BYTES || t->pieces.offset >= t->length)
        transfer_move(t, TRANSFER_LAST_READ);
    if (t->pieces.offset == 0) {
        /* Nothing to append would leave no key. */
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("SET"), t->to, BYTES_LITERAL(""));
        plain_page_done(t, t->bytes, 1);
        return;
    }
    /* The reply itself is the only element. */
    plain_take_elements(t, resp_cursor_of(reply->raw), 1, reply->block);
}

static void plain_read_page(struct transfer *t) {
    static const struct transfer_step scan = { on_plain_scan_page, false },
                                      list = { on_plain_list_page, false },
                                      string = { on_plain_string_page, false };
    struct bytes command = bytes_of_str(t->kind->page);
    char from[24], to[24];
    t->pieces.page_asked = true;
    if (t->kind->scans) {
        TRANSFER_READ(t, &scan, command, t->key, bytes_of_str(t->pieces.cursor),
                      BYTES_LITERAL("COUNT"), transfer_number((int64_t)plain_page_elements(t), to));
        return;
    }
    bool is_string = t->kind->value == VALUE_STRING;
    int64_t n = is_string ? PIECE_STRING_BYTES : (int64_t)plain_page_elements(t);
    TRANSFER_READ(t, is_string ? &string : &list, command, t->key,
                  transfer_number(t->pieces.offset, from),
                  transfer_number(t->pieces.offset + n - 1, to));
}

/* ---- the end of a watched key ---- */

/* Length, expiry and, before 7.0, the clock, all of one moment. Null if the watched key changed. */
static void on_plain_seal(struct transfer *t, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item length, expiry, clock;
    if (reply->item.type == RESP_NULL || !resp_next(&c, &length) || !resp_next(&c, &expiry)) {
        transfer_again(t);
        return;
    }
    transfer_take_expiry(t, &expiry);
    if (!t->flight->plan->can.source_pexpiretime && resp_next(&c, &clock))
        transfer_take_clock(t, &c);
    if (t->expiry_ms == -2) {
        transfer_again(t);
    } else if (t->pieces.elements == 0) {
        transfer_missing(t);
    } else {
        t->length = length.num;
        transfer_check(t);
    }
}

static void plain_seal(struct transfer *t) {
    static const struct transfer_step step = { on_plain_seal, false };
    transfer_move(t, TRANSFER_SEALING);
    TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("MULTI"));
    TRANSFER_READ(t, &transfer_step_none, bytes_of_str(t->kind->length), t->key);
    transfer_ask_expiry(t, &transfer_step_none, &transfer_step_none);
    TRANSFER_READ(t, &step, BYTES_LITERAL("EXEC"));
}

void plain_continue(struct transfer *t) {
    if (!t->large || t->pieces.page_asked) return;
    if (t->state == TRANSFER_LAST_READ) {
        plain_seal(t);
    } else if (t->state == TRANSFER_READING && t->pieces.unacked < PIECES_UNACKED_MAX) {
        plain_read_page(t);
    }
}

/* ---- beginning ---- */

static void on_plain_weight(struct transfer *t, const struct reply *reply) {
    bool string = t->kind->value == VALUE_STRING;
    uint64_t most = string ? t->flight->plan->big_key_bytes : DUMPED_LENGTH_MAX;
    if ((uint64_t)reply->item.num < most) {
        transfer_by_dump(t);
    } else {
        transfer_enlarge(t);
    }
}

void plain_weigh(struct transfer *t) {
    static const struct transfer_step step = { on_plain_weight, false };
    TRANSFER_READ(t, &step, bytes_of_str(t->kind->length), t->key);
}

static void on_plain_length(struct transfer *t, const struct reply *reply) {
    t->length = reply->item.num;
    bool few = t->length <=
               (t->kind->value == VALUE_STRING ? TRANSFER_SMALL_BYTES : TRANSFER_SMALL_LENGTH);
    if (!t->large && few) {
        plain_read_whole(t);
    } else if (!t->large) {
        transfer_enlarge(t);
    } else {
        if (t->length > 0 && t->measured)
            t->pieces.element_bytes = (double)t->measured_bytes / (double)t->length;
        transfer_move(t, TRANSFER_READING);
        plain_continue(t);
    }
}

void plain_begin(struct transfer *t) {
    static const struct transfer_step step = { on_plain_length, false };
    if (!t->large && t->measured) {
        plain_read_whole(t);
        return;
    }
    t->expects_length = !plain_merges(t);
    if (t->large && !plain_merges(t) && !transfer_take_name(t)) return;
    TRANSFER_READ(t, &step, bytes_of_str(t->kind->length), t->key);
}
