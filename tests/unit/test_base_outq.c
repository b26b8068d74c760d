/* The output queue: any mixture of copied, reserved and referred pieces comes out in order, in
 * portions of any size, and every block is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/outq.h"

enum { PIECES_MAX = 100 };

struct mirror {
    char *data;
    size_t len;
};

static void mirror_add(struct mirror *m, const void *ptr, size_t len) {
    m->data = mem_realloc(m->data, m->len + len);
    if (len > 0) memcpy(m->data + m->len, ptr, len);
    m->len += len;
}

static void fill(char *to, size_t len) {
    for (size_t i = 0; i < len; i++) to[i] = (char)rand();
}

/* Takes len bytes from the front of the queue and compares them. */
static void take(struct outq *q, const char *expected, size_t len) {
    struct iovec iov[8];
    size_t seen = 0;
    int n = outq_peek(q, iov, 8);
    for (int i = 0; i < n && seen < len; i++) {
        size_t part = iov[i].iov_len < len - seen ? iov[i].iov_len : len - seen;
        assert_memory_equal(iov[i].iov_base, expected + seen, part);
        seen += part;
    }
    outq_consume(q, seen);
    if (seen < len) {
        assert_true(seen > 0);
        take(q, expected + seen, len - seen);
    }
}

static void random_mixtures(void **state) {
    for (int round = 0; round < 200; round++) {
        struct outq q;
        struct mirror m = { 0 };
        struct block *block = block_new(200000);
        size_t taken = 0;
        fill(block->data, block->cap);
        outq_init(&q);
        for (int i = 0; i < PIECES_MAX; i++) {
            size_t len = (size_t)rand() % (rand() % 4 == 0 ? 100000 : 300);
            size_t at = (size_t)rand() % (block->cap - len);
            switch (rand() % 4) {
            case 0:
                outq_write(&q, block->data + at, len);
                break;
            case 1:
                outq_write_ref(&q, block, bytes_of(block->data + at, len));
                break;
            case 2:
                if (len > 0) memcpy(outq_reserve(&q, len + 100), block->data + at, len);
                if (len > 0) outq_commit(&q, len);
                break;
            default: {
                size_t some = m.len > taken ? (size_t)rand() % (m.len - taken + 1) : 0;
                take(&q, m.data + taken, some);
                taken += some;
                len = 0;
            }
            }
            mirror_add(&m, block->data + at, len);
            assert_int_equal(outq_bytes(&q), m.len - taken);
        }
        if (round % 2 == 0) {
            take(&q, m.data + taken, m.len - taken);
            struct iovec iov;
            assert_int_equal(outq_peek(&q, &iov, 1), 0);
        }
        outq_fini(&q);
        free(m.data);
        assert_int_equal(block->refs, 1);
        block_unref(&block);
    }
    assert_int_equal(block_total_bytes(), 0);
}

static void large_views_are_referred_to(void **state) {
    struct outq q;
    struct iovec iov;
    outq_init(&q);
    struct block *block = block_new(2 * OUTQ_REF_MIN);
    fill(block->data, block->cap);
    outq_write_ref(&q, block, bytes_of(block->data + 5, OUTQ_REF_MIN));
    assert_int_equal(block->refs, 2);
    assert_int_equal(outq_peek(&q, &iov, 1), 1);
    assert_ptr_equal(iov.iov_base, block->data + 5);
    outq_consume(&q, OUTQ_REF_MIN - 1);
    assert_int_equal(block->refs, 2);
    outq_consume(&q, 1);
    assert_int_equal(block->refs, 1);
    outq_write_ref(&q, block, bytes_of(block->data, OUTQ_REF_MIN - 1));
    assert_int_equal(block->refs, 1);
    outq_fini(&q);
    block_unref(&block);
    assert_null(block);
    assert_int_equal(block_total_bytes(), 0);
}

/* A queue that is emptied again and again keeps one block and does not grow. */
static void emptied_queue_does_not_grow(void **state) {
    struct outq q;
    outq_init(&q);
    outq_write(&q, "x", 1);
    size_t bytes = block_total_bytes();
    for (int i = 0; i < 100000; i++) {
        outq_consume(&q, outq_bytes(&q));
        outq_write(&q, "0123456789", 10);
    }
    assert_int_equal(block_total_bytes(), bytes);
    outq_fini(&q);
    assert_int_equal(block_total_bytes(), 0);
}

static void a_view_outlives_the_reader(void **state) {
    struct outq q;
    outq_init(&q);
    struct block *block = block_new(OUTQ_REF_MIN);
    memset(block->data, 'v', block->cap);
    outq_write_ref(&q, block, bytes_of(block->data, block->cap));
    block_unref(&block);
    struct iovec iov;
    assert_int_equal(outq_peek(&q, &iov, 1), 1);
    assert_int_equal(((char *)iov.iov_base)[OUTQ_REF_MIN - 1], 'v');
    outq_fini(&q);
    assert_int_equal(block_total_bytes(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_mixtures),
        cmocka_unit_test(large_views_are_referred_to),
        cmocka_unit_test(emptied_queue_does_not_grow),
        cmocka_unit_test(a_view_outlives_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
