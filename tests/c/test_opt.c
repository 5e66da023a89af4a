/* Belady's optimum against every possible choice, and by weight against its promises. */
#include "fc_opt.h"
#include "fc_trace.h"

#include "check.h"

enum { MOST = 14, KEYS = 5 };

/* The most hits of a cache that stores what it missed, over all choices of victims; held is a set
 * of keys. */
static uint32_t
most_hits(const uint32_t *keys, uint32_t count, uint32_t held, uint32_t room)
{
    uint32_t best = 0, key;
    if (count == 0) {
        return 0;
    }
    key = 1u << keys[0];
    if (held & key) {
        return 1 + most_hits(keys + 1, count - 1, held, room);
    }
    if (room > 0) {
        return most_hits(keys + 1, count - 1, held | key, room - 1);
    }
    for (uint32_t k = 0; k < KEYS; k++) {
        if (held >> k & 1) {
            uint32_t hits = most_hits(keys + 1, count - 1, (held & ~(1u << k)) | key, 0);
            best = hits > best ? hits : best;
        }
    }
    return best;
}

static void
run(fc_opt *o, fc_alloc *a, const uint32_t *keys, const uint64_t *sizes, uint32_t count,
    uint32_t unique, uint64_t max_entries, uint64_t max_weight)
{
    uint32_t last[64], next[4096];
    CHECK(unique <= 64 && count <= 4096);
    fc_trace_next(keys, count, unique, last, next);
    CHECK(fc_opt_init(o, a, unique, max_entries, max_weight) == FC_OK);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(fc_opt_run(o, keys, next, sizes, i, i + 1) == FC_OK);
        CHECK(o->count <= max_entries && o->weight <= max_weight);
    }
}

/* Catches a victim that is not the last to come again. */
static void
test_hits_are_the_most_of_all_choices(void)
{
    uint64_t state = 99;
    for (int round = 0; round < 400; round++) {
        uint32_t keys[MOST], count = 1 + random_below(&state, MOST);
        fc_alloc a;
        fc_alloc_init(&a);
        for (uint32_t i = 0; i < count; i++) {
            keys[i] = random_below(&state, KEYS);
        }
        for (uint32_t room = 1; room <= 4; room++) {
            fc_opt o;
            run(&o, &a, keys, NULL, count, KEYS, room, UINT64_MAX);
            CHECK(o.hits == most_hits(keys, count, 0, room));
            CHECK(o.stored == count - o.hits && o.count <= room);
            fc_opt_free(&o);
        }
        CHECK(a.bytes == 0);
    }
}

/* A heap that is in order, and places that are right. */
static void
check_heaps(const fc_opt *o)
{
    uint64_t count = o->pile.count;
    for (int c = 0; c < FC_OPT_CLASSES; c++) {
        const fc_opt_heap *h = &o->heaps[c];
        CHECK((o->filled >> c & 1) == (h->count > 0));
        for (uint32_t i = 0; i < h->count; i++) {
            CHECK(o->place[(uint32_t)h->nodes[i]] == i);
            CHECK(i == 0 || h->nodes[(i - 1) / 4] > h->nodes[i]);
        }
        count += h->count;
    }
    CHECK(count == o->count);
}

/* Catches a heap out of order, a bound that is passed, or a weight that is lost, among keys of many
 * sizes that change, are 0, or are more than the bound. */
static void
test_weighed_runs_stay_whole(void)
{
    enum { COUNT = 3000 };
    static uint32_t keys[COUNT], next[COUNT], last[64];
    static uint64_t sizes[COUNT];
    uint64_t state = 5;
    for (uint64_t max_weight = 1; max_weight < 5000; max_weight *= 7) {
        uint64_t asked = 0;
        fc_alloc a;
        fc_opt o;
        fc_alloc_init(&a);
        for (uint32_t i = 0; i < COUNT; i++) {
            keys[i] = random_below(&state, 64);
            sizes[i] = random_below(&state, 20) == 0 ? random_below(&state, 3000) : keys[i] * 3;
        }
        fc_trace_next(keys, COUNT, 64, last, next);
        CHECK(fc_opt_init(&o, &a, 64, 20, max_weight) == FC_OK);
        for (uint32_t i = 0; i < COUNT; i++) {
            uint64_t weight = 0, hits = o.hits;
            CHECK(fc_opt_run(&o, keys, next, sizes, i, i + 1) == FC_OK);
            asked += o.hits > hits ? sizes[i] : 0;
            check_heaps(&o);
            for (uint32_t k = 0; k < 64; k++) {
                weight += o.place[k] != FC_NIL ? o.weights[k] : 0;
            }
            CHECK(weight == o.weight && weight <= max_weight && o.count <= 20);
        }
        CHECK(o.hit_weight == asked && o.hits > 0);
        fc_opt_free(&o);
        CHECK(a.bytes == 0);
    }
}

/* Catches a heuristic that keeps the one large object instead of the many small ones, or the reverse
 * where the large one comes at once. */
static void
test_small_objects_that_come_again_are_kept(void)
{
    uint32_t keys[40];
    uint64_t sizes[40];
    fc_alloc a;
    fc_opt o;
    fc_alloc_init(&a);
    for (uint32_t i = 0; i < 40; i++) { /* 0 to 8, then 9, which is as heavy as eight of them */
        keys[i] = i % 10;
        sizes[i] = keys[i] == 9 ? 8 : 1;
    }
    run(&o, &a, keys, sizes, 40, 10, UINT64_MAX, 9);
    CHECK(o.hits == 27);
    fc_opt_free(&o);
    CHECK(a.bytes == 0);
}

/* Catches memory lost, or a run that goes on without it. */
static void
test_opt_without_memory_fails_whole(void)
{
    const uint32_t keys[] = {0, 1, 0, 1}, next[] = {2, 3, FC_NIL, FC_NIL};
    const uint64_t sizes[] = {1, 5, 1, 5};
    for (int64_t allowed = 0; allowed < 4; allowed++) {
        fc_alloc a;
        fc_opt o;
        fc_alloc_init(&a);
        a.fail_after = allowed;
        if (fc_opt_init(&o, &a, 2, 9, 9) == FC_OK) {
            CHECK(allowed >= 2 && fc_opt_run(&o, keys, next, sizes, 0, 4) == FC_NOMEM);
            fc_opt_free(&o);
        }
        CHECK(a.bytes == 0);
    }
}

int
main(void)
{
    test_hits_are_the_most_of_all_choices();
    test_weighed_runs_stay_whole();
    test_small_objects_that_come_again_are_kept();
    test_opt_without_memory_fails_whole();
    return 0;
}
