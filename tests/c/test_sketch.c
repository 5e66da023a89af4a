/* The sketch: never below the truth, aged by halves, and the same after it has grown. */
#include "fc_sketch.h"

#include "fc_hash.h"

#include "check.h"

enum { KEYS = 3000 };

static uint64_t
mix_of(uint32_t key)
{
    uint64_t state = key;
    return fc_hash_next(&state);
}

static fc_sketch
sketch_of(fc_alloc *a, uint32_t entries)
{
    fc_sketch k = {0};
    CHECK(fc_sketch_reserve(&k, a, entries) == FC_OK);
    return k;
}

static uint64_t
sum_of(const fc_sketch *k)
{
    uint64_t sum = 0;
    for (uint32_t b = 0; b < k->count; b++) {
        for (unsigned i = 0; i < 128; i++) {
            sum += k->blocks[b][i / 16] >> i % 16 * 4 & 15;
        }
    }
    return sum;
}

/* Catches a counter that is shared with a wrong key's, wraps at 16, or runs over into the next. */
static void
test_estimate_is_never_below_the_count(void)
{
    static uint8_t counts[KEYS];
    uint64_t state = 1, additions = 0, above = 0;
    fc_alloc a;
    fc_sketch k;
    fc_alloc_init(&a);
    memset(counts, 0, sizeof counts);
    k = sketch_of(&a, KEYS);
    for (uint32_t i = 0; i < 4 * KEYS; i++) {
        uint32_t key = random_below(&state, 1 + random_below(&state, KEYS));
        unsigned before = fc_sketch_estimate(&k, mix_of(key));
        bool moved = fc_sketch_add(&k, mix_of(key));
        additions += moved;
        counts[key] += counts[key] < FC_SKETCH_MOST;
        CHECK(k.additions == additions && (moved || before == FC_SKETCH_MOST));
        CHECK(fc_sketch_estimate(&k, mix_of(key)) ==
              (before < FC_SKETCH_MOST ? before + 1 : FC_SKETCH_MOST));
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        unsigned estimate = fc_sketch_estimate(&k, mix_of(key));
        CHECK(estimate >= counts[key] && estimate <= FC_SKETCH_MOST);
        above += estimate > counts[key];
    }
    CHECK(above < KEYS / 20); /* it is wide enough to tell keys apart */
    fc_sketch_free(&k, &a);
    CHECK(a.bytes == 0);
}

/* Catches an addition to a key with full counters that counts, or that changes any. */
static void
test_full_counters_stay(void)
{
    fc_alloc a;
    fc_sketch k;
    fc_alloc_init(&a);
    k = sketch_of(&a, 1);
    for (unsigned i = 0; i < 40; i++) {
        CHECK(fc_sketch_add(&k, mix_of(7)) == (i < FC_SKETCH_MOST));
        CHECK(fc_sketch_estimate(&k, mix_of(7)) == (i < FC_SKETCH_MOST ? i + 1 : FC_SKETCH_MOST));
    }
    CHECK(k.additions == FC_SKETCH_MOST && sum_of(&k) == 4 * FC_SKETCH_MOST);
    fc_sketch_free(&k, &a);
    CHECK(a.bytes == 0);
}

/* Catches a raise that adds, lowers, or touches counters that are high enough. */
static void
test_raise_is_a_maximum(void)
{
    uint64_t state = 2;
    fc_alloc a;
    fc_sketch k;
    fc_alloc_init(&a);
    k = sketch_of(&a, 200);
    for (uint32_t i = 0; i < 2000; i++) {
        uint64_t mix = mix_of(random_below(&state, 300));
        unsigned to = random_below(&state, 16), before = fc_sketch_estimate(&k, mix);
        uint64_t sum = sum_of(&k);
        fc_sketch_raise(&k, mix, to);
        CHECK(fc_sketch_estimate(&k, mix) == (to > before ? to : before));
        CHECK(k.additions == 0 && (to > before ? sum_of(&k) > sum : sum_of(&k) == sum));
    }
    fc_sketch_free(&k, &a);
    CHECK(a.bytes == 0);
}

/* Catches a table that grows by blocks of zeros, or fails and is lost. */
static void
test_growth_changes_no_estimate(void)
{
    uint64_t state = 3;
    unsigned before[KEYS];
    fc_alloc a;
    fc_sketch k;
    fc_alloc_init(&a);
    k = sketch_of(&a, 1);
    CHECK(k.count == FC_SKETCH_BLOCKS_MIN && a.bytes == 64 * FC_SKETCH_BLOCKS_MIN);
    for (uint32_t i = 0; i < KEYS; i++) {
        fc_sketch_add(&k, mix_of(random_below(&state, KEYS)));
    }
    for (uint32_t entries = 100; entries < 20000; entries *= 3) {
        uint64_t additions = k.additions;
        for (uint32_t key = 0; key < KEYS; key++) {
            before[key] = fc_sketch_estimate(&k, mix_of(key));
        }
        a.fail_after = 0;
        CHECK(fc_sketch_reserve(&k, &a, entries) ==
              (fc_sketch_blocks(entries) > k.count ? FC_NOMEM : FC_OK));
        a.fail_after = -1;
        for (uint32_t again = 0; again < 2; again++) {
            for (uint32_t key = 0; key < KEYS; key++) {
                CHECK(fc_sketch_estimate(&k, mix_of(key)) == before[key]);
            }
            CHECK(fc_sketch_reserve(&k, &a, entries) == FC_OK);
        }
        CHECK(k.additions == additions && (uint64_t)k.count * 4 >= entries);
        CHECK((uint64_t)k.count * 2 < entries || k.count == FC_SKETCH_BLOCKS_MIN);
        CHECK(fc_sketch_reserve(&k, &a, 1) == FC_OK && (uint64_t)k.count * 4 >= entries);
        for (uint32_t i = 0; i < KEYS; i++) { /* now twins differ */
            fc_sketch_add(&k, mix_of(random_below(&state, KEYS)));
        }
    }
    fc_sketch_free(&k, &a);
    CHECK(a.bytes == 0);
}

/* Catches a halving that lets a bit into the next counter, or loses count of what is left. */
static void
test_halving_halves_each_counter(void)
{
    uint64_t state = 4;
    unsigned before[KEYS];
    fc_alloc a;
    fc_sketch k;
    fc_alloc_init(&a);
    k = sketch_of(&a, KEYS);
    for (uint32_t i = 0; i < 8 * KEYS; i++) {
        fc_sketch_add(&k, mix_of(random_below(&state, 1 + random_below(&state, KEYS))));
    }
    for (uint32_t times = 0; times < 5; times++) {
        uint64_t additions = k.additions, odd = 0;
        for (uint32_t key = 0; key < KEYS; key++) {
            before[key] = fc_sketch_estimate(&k, mix_of(key));
        }
        for (uint32_t b = 0; b < k.count; b++) {
            for (unsigned i = 0; i < 128; i++) {
                odd += k.blocks[b][i / 16] >> i % 16 * 4 & 1;
            }
        }
        fc_sketch_halve(&k);
        for (uint32_t key = 0; key < KEYS; key++) {
            CHECK(fc_sketch_estimate(&k, mix_of(key)) == before[key] / 2);
        }
        CHECK(k.additions == (odd / 4 < additions ? (additions - odd / 4) / 2 : 0));
    }
    CHECK(sum_of(&k) == 0);
    fc_sketch_add(&k, mix_of(1));
    k.additions = 0; /* as where nothing was evicted: less than the odd ones */
    fc_sketch_halve(&k);
    CHECK(k.additions == 0 && sum_of(&k) == 0);
    fc_sketch_free(&k, &a);
    CHECK(a.bytes == 0);
}

/* Catches a sketch that forgets its count where there was no memory for its first block. */
static void
test_no_memory_makes_no_sketch(void)
{
    fc_alloc a;
    fc_sketch k = {0};
    fc_alloc_init(&a);
    a.fail_after = 0;
    CHECK(fc_sketch_reserve(&k, &a, 100) == FC_NOMEM && k.blocks == NULL && k.count == 0);
    fc_sketch_free(&k, &a);
    CHECK(a.bytes == 0);
    CHECK(fc_sketch_blocks(UINT32_MAX) == UINT32_C(1) << 30);
}

int
main(void)
{
    test_estimate_is_never_below_the_count();
    test_full_counters_stay();
    test_raise_is_a_maximum();
    test_growth_changes_no_estimate();
    test_halving_halves_each_counter();
    test_no_memory_makes_no_sketch();
    return 0;
}
