/* What tinylfu is for: its hits beside those of lru, its memory, and copies that go on as it did. */
#include "policy/tinylfu.h"

#include "policy/lru.h"

#include "requests.h"

/* Catches a sketch or shadows that grow beyond what is promised. */
static void
test_memory_is_as_promised(void)
{
    enum { MANY = 1000000 };
    fc_alloc a, b;
    fc_store s, t;
    fc_alloc_init(&a);
    fc_alloc_init(&b);
    CHECK(store_of(&s, &a, &FC_TINYLFU, MANY) == FC_OK && store_of(&t, &b, &FC_LRU, MANY) == FC_OK);
    CHECK(a.bytes < b.bytes + 256 * 1024);
    for (uint32_t k = 0; k < MANY; k++) {
        CHECK(ask(&s, k, 0) == 0 && ask(&t, k, 0) == 0);
    }
    CHECK(a.bytes > b.bytes && a.bytes - b.bytes < 24u * MANY + 256 * 1024);
    fc_store_free(&s);
    fc_store_free(&t);
    CHECK(a.bytes == 0 && b.bytes == 0);
}

/* Catches a policy that lets scans and loops push out what is used, or that holds on for ever. */
static void
test_hits_where_others_miss(void)
{
    enum { MOST = 200 };
    uint64_t state = 11;
    uint32_t hits = 0, lru_hits = 0;
    fc_alloc a;
    fc_store s, t;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_TINYLFU, MOST) == FC_OK && store_of(&t, &a, &FC_LRU, MOST) == FC_OK);
    for (uint32_t step = 0; step < 20000; step++) { /* a warm set, and two in three come once */
        uint32_t k = step % 3 == 0 ? random_below(&state, 150) : 1000 + step;
        hits += ask(&s, k, 0) == 1;
        lru_hits += ask(&t, k, 0) == 1;
    }
    CHECK(hits > 5900 && lru_hits < 3000); /* of 6667, 150 of which must miss */
    hits = 0;
    for (uint32_t step = 0; step < 100 * 300; step++) { /* a loop over half as many more */
        hits += ask(&s, 100000 + step % 300, 0) == 1;
    }
    CHECK(hits > 30000 * (MOST - 1) / 299 * 9 / 10); /* nine tenths of what OPT hits */
    fc_store_free(&s);
    fc_store_free(&t);
    CHECK(a.bytes == 0);
}

/* Catches a window that never grows: where only what is recent is asked for again, lru is best. */
static void
test_pure_recency_ends_as_lru(void)
{
    enum { MOST = 200, STEPS = 60000 };
    uint64_t state = 13;
    uint32_t hits = 0, lru_hits = 0, late = 0, lru_late = 0;
    fc_alloc a;
    fc_store s, t;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_TINYLFU, MOST) == FC_OK && store_of(&t, &a, &FC_LRU, MOST) == FC_OK);
    for (uint32_t step = 0; step < STEPS; step++) { /* each key new, then once more, 150 later */
        uint32_t k = step % 2 == 0 ? step
                     : step > 300  ? step - 1 - 2 * random_below(&state, 150)
                                   : 1;
        int hit = ask(&s, k, 0), lru_hit = ask(&t, k, 0);
        hits += hit == 1;
        lru_hits += lru_hit == 1;
        late += step > STEPS / 2 && hit == 1;
        lru_late += step > STEPS / 2 && lru_hit == 1;
    }
    CHECK(tinylfu_of(&s)->share > 0.5 && late > lru_late * 95 / 100 && hits > lru_hits * 85 / 100);
    fc_store_free(&s);
    fc_store_free(&t);
    CHECK(a.bytes == 0);
}

static unsigned
uses_of(const fc_store *s, uint32_t k)
{
    return fc_sketch_estimate(&tinylfu_of(s)->sketch, window_mix(s, k));
}

/* Catches a copy that counts anew, stands otherwise, draws again, or forgets the share. */
static void
test_copy_goes_on_as_the_original(void)
{
    enum { MOST = 60 };
    uint64_t state = 17;
    uint32_t order[MOST], again[MOST];
    fc_learned learned, same;
    fc_alloc a;
    fc_store s, t;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_TINYLFU, MOST) == FC_OK);
    for (uint32_t step = 0; step < 30000; step++) {
        ask(&s, random_below(&state, 1 + random_below(&state, 300)), 0);
    }
    fc_store_learned(&s, &learned);
    CHECK(learned.share == tinylfu_of(&s)->share && learned.draw != s.seed);
    CHECK(store_of(&t, &a, &FC_TINYLFU, MOST) == FC_OK);
    fc_store_learn(&t, &learned);
    fc_store_learned(&t, &same);
    CHECK(same.draw == learned.draw && same.share == learned.share);
    fc_store_order(&s, order);
    for (uint32_t i = 0; i < s.count; i++) {
        fc_memo memo = {0};
        fc_incoming in = incoming_of((uint32_t)s.slab.entries[order[i]].hash, 0);
        uint32_t at;
        s.policy->save(&s, order[i], &memo);
        in.memo = &memo;
        CHECK(put_in(&t, &in, &at) == FC_OK && t.slab.entries[at].list == memo.list);
        CHECK_WHOLE(fc_store_check(&t));
    }
    fc_store_order(&t, again);
    CHECK(t.count == s.count && tinylfu_of(&t)->sketch.additions == 0);
    for (uint32_t i = 0; i < s.count; i++) {
        uint32_t k = (uint32_t)s.slab.entries[order[i]].hash;
        CHECK(t.slab.entries[again[i]].hash == k);
        CHECK(uses_of(&t, k) >= uses_of(&s, k) && uses_of(&t, k) <= uses_of(&s, k) + 2);
    }
    learned.share = 0.3; /* no share that there is */
    learned.draw = 5;
    fc_store_learn(&t, &learned);
    fc_store_learned(&t, &learned);
    CHECK(learned.share == same.share && learned.draw == 5);
    fc_store_free(&s);
    fc_store_free(&t);
    CHECK(a.bytes == 0);
}

int
main(void)
{
    test_memory_is_as_promised();
    test_hits_where_others_miss();
    test_pure_recency_ends_as_lru();
    test_copy_goes_on_as_the_original();
    return 0;
}
