/* Traces: numbers for ids, when each comes again, and hashes as Python has them. */
#include "fc_trace.h"

#include "check.h"

/* Catches a hash that is not Python's: expected values are those of CPython's hash(). */
static void
test_hash_is_that_of_python(void)
{
    static const struct {
        int64_t id, hash;
    } cases[] = {
        {0, 0},
        {1, 1},
        {-1, -2},
        {-2, -2},
        {(INT64_C(1) << 61) - 2, (INT64_C(1) << 61) - 2},
        {(INT64_C(1) << 61) - 1, 0},
        {INT64_C(1) << 61, 1},
        {-(INT64_C(1) << 61), -2},
        {1 - (INT64_C(1) << 61), 0},
        {INT64_MAX, 3},
        {INT64_MIN, -4},
        {INT64_MIN + 1, -3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(fc_trace_hash(cases[i].id, false) == cases[i].hash);
    }
    CHECK(fc_trace_hash(-1, true) == 7); /* 2^64 - 1 */
    CHECK(fc_trace_hash(INT64_MIN, true) == 4);
    CHECK(fc_trace_hash(5, true) == 5);
}

/* Catches sign extension where there is none to be, and the reverse. */
static void
test_widening_keeps_the_value(void)
{
    const uint32_t from[] = {0, 1, UINT32_MAX, UINT32_C(1) << 31};
    const int64_t same[] = {INT64_MIN, -1};
    int64_t out[4];
    fc_trace_widen(out, from, 4, 4, true);
    CHECK(out[1] == 1 && out[2] == UINT32_MAX && out[3] == INT64_C(1) << 31);
    fc_trace_widen(out, from, 4, 4, false);
    CHECK(out[1] == 1 && out[2] == -1 && out[3] == INT32_MIN);
    fc_trace_widen(out, same, 2, 8, false);
    CHECK(out[0] == INT64_MIN && out[1] == -1);
}

/* Catches a sum that wraps, and a negative size that goes under in it. */
static void
test_sum_names_the_size_that_is_wrong(void)
{
    const int64_t fine[] = {0, 3, INT64_MAX - 3}, negative[] = {5, 0, -1}, large[] = {1, INT64_MAX};
    int64_t sum;
    size_t at;
    CHECK(fc_trace_sum(fine, 3, &sum, &at) && sum == INT64_MAX);
    CHECK(fc_trace_sum(fine, 0, &sum, &at) && sum == 0);
    CHECK(!fc_trace_sum(negative, 3, &sum, &at) && at == 2);
    CHECK(!fc_trace_sum(large, 2, &sum, &at) && at == 1);
}

/* Catches two numbers for one id, one for two, or an order that is not that of appearance; ids that
 * all fall into one slot, and the largest number of all, are among them. */
static void
test_numbers_are_dense_and_in_order(void)
{
    enum { COUNT = 20000 };
    static int64_t ids[COUNT], first[COUNT];
    static uint32_t numbers[COUNT];
    uint64_t state = 1;
    uint32_t seen = 0;
    fc_alloc a;
    fc_numbers n;
    fc_alloc_init(&a);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t k = random_below(&state, 3000);
        ids[i] = k % 3 == 0 ? (int64_t)((uint64_t)k << 45) : k % 3 == 1 ? -(int64_t)k : (int64_t)k;
    }
    ids[7] = INT64_MIN;
    ids[9] = -1; /* all bits, as a free slot has */
    CHECK(fc_numbers_init(&n, &a) == FC_OK);
    CHECK(fc_numbers_run(&n, ids, COUNT, numbers) == FC_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(numbers[i] <= seen);
        if (numbers[i] == seen) {
            for (uint32_t k = 0; k < seen; k++) {
                CHECK(first[k] != ids[i]);
            }
            first[seen++] = ids[i];
        }
        CHECK(first[numbers[i]] == ids[i]);
    }
    CHECK(n.count == seen && seen > 2000);
    fc_numbers_free(&n);
    CHECK(a.bytes == 0);
}

/* Catches a failed allocation that loses memory or goes on. */
static void
test_numbers_without_memory_fail_whole(void)
{
    int64_t ids[4000];
    uint32_t numbers[4000];
    for (int64_t i = 0; i < 4000; i++) {
        ids[i] = i;
    }
    for (int64_t allowed = 0; allowed < 3; allowed++) {
        fc_alloc a;
        fc_numbers n;
        fc_alloc_init(&a);
        a.fail_after = allowed;
        if (fc_numbers_init(&n, &a) == FC_OK) {
            CHECK(allowed > 0);
            CHECK(fc_numbers_run(&n, ids, 4000, numbers) == FC_NOMEM);
            fc_numbers_free(&n);
        }
        CHECK(a.bytes == 0);
    }
}

/* Catches a next request that is not the next, or not of that key. */
static void
test_next_is_the_next_request_of_the_key(void)
{
    const uint32_t numbers[] = {0, 1, 0, 0, 2, 1};
    const uint32_t expected[] = {2, 5, 3, FC_NIL, FC_NIL, FC_NIL};
    uint32_t last[3], next[6];
    fc_trace_next(numbers, 6, 3, last, next);
    CHECK(memcmp(next, expected, sizeof next) == 0);
}

int
main(void)
{
    test_hash_is_that_of_python();
    test_widening_keeps_the_value();
    test_sum_names_the_size_that_is_wrong();
    test_numbers_are_dense_and_in_order();
    test_numbers_without_memory_fail_whole();
    test_next_is_the_next_request_of_the_key();
    return 0;
}
