/* Simulations against the smallest cache, which searches its entries from end to end. */
#include "fc_simulate.h"

#include "requests.h"

enum { COUNT = 4000, KEYS = 150 };

static int64_t ids[COUNT];
static uint64_t sizes[COUNT];

/* Keys near and far from 0, and sizes of which some change, are 0, or too large. */
static void
make_trace(void)
{
    uint64_t state = 4711;
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t k = random_below(&state, 1 + random_below(&state, KEYS));
        ids[i] = (int64_t)k;
        sizes[i] = random_below(&state, 25) == 0 ? random_below(&state, 120) : k % 10;
    }
}

/* A run in pieces of a few requests, whose structures are checked between them. */
static void
run_in_pieces(fc_simulation *m, const fc_requests *r)
{
    for (size_t from = 0; from < r->count; from += 37) {
        size_t to = from + 37 < r->count ? from + 37 : r->count;
        CHECK(fc_simulation_run(m, r, from, to) == FC_OK);
        CHECK_WHOLE(fc_store_check(&m->store));
    }
}

/* Catches a step that a real cache does not make, or makes in another order, under any policy. */
static void
test_hits_are_those_of_a_searched_cache(void)
{
    const fc_requests r = {ids, NULL, COUNT, false};
    uint32_t keys[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        keys[i] = (uint32_t)ids[i];
    }
    for (size_t p = 0; p < FC_POLICIES_COUNT; p++) {
        for (uint32_t entries = 1; entries < 2 * KEYS; entries = entries * 3 + 1) {
            const fc_limits limits = {.max_entries = entries, .max_weight = UINT64_MAX};
            const fc_policy *policy = FC_POLICIES[p].policy;
            fc_simulation whole, pieces;
            CHECK(fc_simulation_init(&whole, policy, &limits, 1) == FC_OK);
            CHECK(fc_simulation_init(&pieces, policy, &limits, 1) == FC_OK);
            CHECK(fc_simulation_run(&whole, &r, 0, COUNT) == FC_OK);
            run_in_pieces(&pieces, &r);
            CHECK(whole.hits == COUNT - misses_of(policy, entries, keys, COUNT));
            CHECK(pieces.hits == whole.hits && whole.hit_weight == whole.hits);
            CHECK(whole.store.evictions == COUNT - whole.hits - whole.store.count);
            fc_simulation_free(&whole);
            fc_simulation_free(&pieces);
            CHECK(whole.alloc.bytes == 0 && pieces.alloc.bytes == 0);
        }
    }
}

/* A request with a size to the smallest cache; whether it was a hit. */
static bool
request_of(fc_store *s, uint32_t k, uint64_t weight)
{
    fc_incoming in = incoming_of(k, weight);
    uint32_t at = place_of(s, k);
    if (at != FC_NIL) {
        s->on_hit(s, at);
        return true;
    }
    CHECK(weight > s->max_weight || put_in(s, &in, &at) == FC_OK);
    return false;
}

/* Catches a weight that changes at a hit, an object that is too heavy and stays,
 * and bytes of hits that are counted wrongly. */
static void
test_weighed_hits_are_those_of_a_searched_cache(void)
{
    const fc_requests r = {ids, sizes, COUNT, false};
    for (size_t p = 0; p < FC_POLICIES_COUNT; p++) {
        for (uint64_t bytes = 1; bytes < 1000; bytes = bytes * 3 + 2) {
            const fc_limits limits = {.max_entries = 60, .max_weight = bytes};
            uint64_t hits = 0, hit_weight = 0;
            fc_simulation m;
            fc_alloc a;
            fc_store s;
            fc_alloc_init(&a);
            CHECK(fc_store_init(&s, &a, FC_POLICIES[p].policy, &limits, 9) == FC_OK);
            for (uint32_t i = 0; i < COUNT; i++) {
                if (request_of(&s, (uint32_t)ids[i], sizes[i])) {
                    hits++;
                    hit_weight += sizes[i];
                }
            }
            CHECK(fc_simulation_init(&m, FC_POLICIES[p].policy, &limits, 9) == FC_OK);
            run_in_pieces(&m, &r);
            CHECK(m.hits == hits && m.hit_weight == hit_weight);
            CHECK(m.store.evictions == s.evictions && m.store.weight == s.weight);
            fc_simulation_free(&m);
            fc_store_free(&s);
            CHECK(a.bytes == 0);
        }
    }
}

/* Catches ids that are told apart by their hashes only: 2^61 - 1 has that of 0, and -1 that of -2. */
static void
test_ids_of_one_hash_are_different_keys(void)
{
    const int64_t same[] = {0, (INT64_C(1) << 61) - 1, -1, -2, 0, (INT64_C(1) << 61) - 1, -1, -2};
    const fc_requests r = {same, NULL, 8, false};
    const fc_limits limits = {.max_entries = 4, .max_weight = UINT64_MAX};
    fc_simulation m;
    CHECK(fc_simulation_init(&m, &FC_LRU, &limits, 3) == FC_OK);
    CHECK(fc_simulation_run(&m, &r, 0, 8) == FC_OK);
    CHECK(m.hits == 4 && m.store.count == 4);
    CHECK_WHOLE(fc_store_check(&m.store));
    fc_simulation_free(&m);
}

/* Catches a run that goes on without memory, or loses some. */
static void
test_simulation_without_memory_fails_whole(void)
{
    const fc_requests r = {ids, NULL, COUNT, false};
    const fc_limits limits = {.max_entries = 100, .max_weight = UINT64_MAX};
    for (size_t p = 0; p < FC_POLICIES_COUNT; p++) {
        for (int64_t allowed = 0; allowed < 4; allowed++) {
            fc_simulation m;
            CHECK(fc_simulation_init(&m, FC_POLICIES[p].policy, &limits, 3) == FC_OK);
            m.alloc.fail_after = allowed;
            CHECK(fc_simulation_run(&m, &r, 0, COUNT) == FC_NOMEM);
            CHECK_WHOLE(fc_store_check(&m.store));
            fc_simulation_free(&m);
            CHECK(m.alloc.bytes == 0);
        }
    }
}

int
main(void)
{
    make_trace();
    test_hits_are_those_of_a_searched_cache();
    test_weighed_hits_are_those_of_a_searched_cache();
    test_ids_of_one_hash_are_different_keys();
    test_simulation_without_memory_fails_whole();
    return 0;
}
