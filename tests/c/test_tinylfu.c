/* Tinylfu: the sketch and the shadows around the window, and what they are told. */
#include "policy/tinylfu.h"

#include "requests.h"

/* The same decisions without what only saves time: each use is counted, and the shadows never rest. */
static void
naive_on_hit(fc_store *s, uint32_t at)
{
    tinylfu_state *t = tinylfu_of(s);
    t->watched = FC_ENTRY_SAMPLED;
    s->slab.entries[at].bits = (uint8_t)(t->full - TINYLFU_ADDED);
    tinylfu_on_hit(s, at);
}

static void
naive_on_write(fc_store *s, uint32_t at, const fc_incoming *in FC_UNUSED)
{
    naive_on_hit(s, at);
    if (s->weighed) {
        window_demote(s);
    }
}

static fc_policy
naive(void)
{
    fc_policy p = FC_TINYLFU;
    p.on_hit = naive_on_hit;
    p.on_write = naive_on_write;
    return p;
}

static unsigned
uses_of(const fc_store *s, uint32_t k)
{
    return fc_sketch_estimate(&tinylfu_of(s)->sketch, window_mix(s, k));
}

static void
write_one(fc_store *s, uint32_t at, uint64_t weight)
{
    fc_incoming in = incoming_of((uint32_t)s->slab.entries[at].hash, weight);
    in.spare = at;
    fc_store_reweigh(s, at, weight);
    s->policy->on_write(s, at, &in);
    while (!fc_store_fits(s, 0, 0)) {
        uint32_t victim = s->policy->victim(s, &in);
        CHECK(victim != at && victim != FC_NIL);
        fc_store_remove(s, victim, FC_EVICTED);
    }
}

/* Shrink or grow, as a cache does whose bounds are changed while it runs. */
static void
rebound(fc_store *s, uint32_t max_entries, uint64_t max_weight)
{
    s->max_entries = max_entries;
    s->max_weight = max_weight;
    while (!fc_store_fits(s, 0, 0)) {
        fc_store_remove(s, s->policy->victim(s, NULL), FC_EVICTED);
    }
    s->policy->rebound(s);
}

/* Catches any step after which a structure, a mark or a count is off; a sample of what changed. */
static void
random_work(const fc_limits *limits, bool rebounds)
{
    uint64_t state = 88172645463325252u + limits->max_entries + limits->max_weight;
    uint32_t heaviest = limits->max_weight < 30 ? (uint32_t)limits->max_weight : 30;
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(fc_store_init(&s, &a, &FC_TINYLFU, limits, 3) == FC_OK);
    for (int step = 0; step < 8000; step++) {
        uint32_t k = random_below(&state, 1 + random_below(&state, 60)), at = place_of(&s, k);
        uint32_t choice = random_below(&state, 16), order[64];
        fc_incoming in = incoming_of(k, random_below(&state, heaviest + 1));
        if (at == FC_NIL) {
            CHECK(put_in(&s, &in, &at) == FC_OK && place_of(&s, k) == at);
        }
        else if (choice < 10) {
            s.on_hit(&s, at);
        }
        else if (choice < 13) {
            write_one(&s, at, in.weight);
        }
        else if (choice == 13) {
            fc_store_remove(&s, at, k % 2 ? FC_DELETED : FC_EXPIRED);
        }
        else if (choice == 14) {
            fc_store_order(&s, order);
            at = s.policy->victim(&s, NULL);
            CHECK(at == order[0]);
            fc_store_remove(&s, at, FC_DELETED);
        }
        else if (rebounds && random_below(&state, 8) == 0) {
            bool many = limits->max_entries == FC_ENTRIES_MAX;
            bool light = limits->max_weight == UINT64_MAX;
            a.fail_after = step % 2 ? (int64_t)random_below(&state, 20) : -1;
            rebound(&s, many ? FC_ENTRIES_MAX : 1 + random_below(&state, 600),
                    light ? UINT64_MAX : heaviest + random_below(&state, 400));
            a.fail_after = -1;
        }
        CHECK_WHOLE(fc_store_check(&s));
    }
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

static void
test_random_work(void)
{
    for (size_t i = 0; i < MANY_BOUNDS_COUNT; i++) {
        random_work(&MANY_BOUNDS[i], false);
        random_work(&MANY_BOUNDS[i], true);
    }
}

/* Catches an entry that skips the sketch while its counters could rise, or shadows that miss any. */
static void
test_skipping_changes_no_estimate(void)
{
    const fc_policy counted = naive();
    static const uint32_t most[] = {3, 40, 300};
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t state = 5;
        uint32_t ages = 0, skipped = 0;
        fc_alloc a;
        fc_store s, t;
        fc_alloc_init(&a);
        CHECK(store_of(&s, &a, &FC_TINYLFU, most[i]) == FC_OK);
        CHECK(store_of(&t, &a, &counted, most[i]) == FC_OK);
        for (uint32_t step = 0; step < 120000; step++) {
            uint32_t k = random_below(&state,
                                      1 + random_below(&state, 1 + random_below(&state, 900)));
            uint8_t full = tinylfu_of(&s)->full;
            uint32_t at = most[i] > 3 || step % 16 ? FC_NIL : place_of(&s, k);
            skipped += at != FC_NIL && s.slab.entries[at].bits == full;
            CHECK(ask(&s, k, 0) == ask(&t, k, 0));
            ages += full != tinylfu_of(&s)->full;
            CHECK(uses_of(&s, k) == uses_of(&t, k));
            CHECK(tinylfu_of(&s)->sketch.additions == tinylfu_of(&t)->sketch.additions);
            CHECK(full == tinylfu_of(&t)->full || full != tinylfu_of(&s)->full);
            while (step % 3000 == 0 && s.count > 100) { /* fewer entries are halved sooner */
                fc_store_remove(&s, s.policy->victim(&s, NULL), FC_DELETED);
                fc_store_remove(&t, t.policy->victim(&t, NULL), FC_DELETED);
            }
        }
        CHECK(memcmp(tinylfu_of(&s)->sketch.blocks, tinylfu_of(&t)->sketch.blocks,
                     fc_sketch_bytes(&tinylfu_of(&s)->sketch)) == 0);
        CHECK(ages > 16 && (most[i] > 3 || skipped > 0)); /* once round the numbers of halvings */
        CHECK_WHOLE(fc_store_check(&s));
        fc_store_free(&s);
        fc_store_free(&t);
        CHECK(a.bytes == 0);
    }
}

/* Catches an entry unused for sixteen halvings that is taken for one that is up to date. */
static void
test_numbers_of_halvings_start_again(void)
{
    for (uint32_t halvings = 1; halvings <= 40; halvings++) {
        const unsigned left = 15u >> (halvings < 4 ? halvings : 4);
        fc_alloc a;
        fc_store s;
        fc_alloc_init(&a);
        CHECK(store_of(&s, &a, &FC_TINYLFU, 5) == FC_OK);
        for (uint32_t step = 0; step < 20; step++) {
            ask(&s, 1, 0);
        }
        CHECK(uses_of(&s, 1) == FC_SKETCH_MOST);
        for (uint32_t i = 0; i < halvings; i++) {
            tinylfu_of(&s)->compared = true;
            tinylfu_age(&s);
            CHECK_WHOLE(fc_store_check(&s));
        }
        CHECK(uses_of(&s, 1) == left);
        CHECK(ask(&s, 1, 0) == 1 && uses_of(&s, 1) == left + 1);
        fc_store_free(&s);
        CHECK(a.bytes == 0);
    }
}

/* Catches an insertion that counts twice, once for the comparison and once for coming in, or never. */
static void
test_insertion_counts_once(void)
{
    const fc_limits limits = {.max_entries = FC_ENTRIES_MAX, .max_weight = 12};
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(fc_store_init(&s, &a, &FC_TINYLFU, &limits, 1) == FC_OK);
    for (uint32_t k = 0; k < 600; k++) { /* with room, for one victim, for several */
        uint64_t before = tinylfu_of(&s)->sketch.additions;
        CHECK(ask(&s, k, k % 13) == 0);
        CHECK(tinylfu_of(&s)->sketch.additions == before + 1 && !tinylfu_of(&s)->counted);
        CHECK_WHOLE(fc_store_check(&s));
    }
    fc_store_free(&s);
    CHECK(store_of(&s, &a, &FC_TINYLFU, 4) == FC_OK);
    for (uint32_t k = 0; k < 4; k++) {
        CHECK(ask(&s, k, 0) == 0);
    }
    for (uint32_t again = 0; again < 3; again++) { /* it never got in for want of memory */
        fc_incoming in = incoming_of(77, 0);
        CHECK(s.policy->victim(&s, &in) != FC_NIL);
        CHECK(tinylfu_of(&s)->sketch.additions == 5 && uses_of(&s, 77) == 1);
    }
    CHECK(ask(&s, 77, 0) == 0 && uses_of(&s, 77) == 1);
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches counters that are halved although nobody was compared since: nothing to forget for. */
static void
test_nothing_is_halved_without_an_eviction(void)
{
    uint64_t state = 3;
    uint8_t full;
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_TINYLFU, 500) == FC_OK);
    full = tinylfu_of(&s)->full;
    for (uint32_t step = 0; step < 40000; step++) {
        uint32_t k = random_below(&state, 400);
        ask(&s, k, 0);
        if (step % 10 == 0) { /* so that there is something to count */
            fc_store_remove(&s, place_of(&s, k), FC_DELETED);
        }
        CHECK(tinylfu_of(&s)->sketch.additions < 500 * TINYLFU_PERIOD);
    }
    CHECK(tinylfu_of(&s)->full == full && uses_of(&s, 1) == FC_SKETCH_MOST);
    for (uint32_t step = 0; step < 40000; step++) {
        ask(&s, 1000 + step, 0);
    }
    CHECK(tinylfu_of(&s)->full != full && uses_of(&s, 1) < FC_SKETCH_MOST);
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

static uint64_t
asked_of(const fc_store *s)
{
    return (uint64_t)tinylfu_of(s)->periods * tinylfu_of(s)->shadows.period +
           tinylfu_of(s)->shadows.seen;
}

/* Catches shadows that work on while nothing comes in, or sleep on when something does. */
static void
test_shadows_rest_and_wake(void)
{
    uint64_t before;
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_TINYLFU, 40) == FC_OK);
    CHECK(tinylfu_of(&s)->shadows.rate == 1);
    for (uint32_t step = 0; step < 1000; step++) {
        ask(&s, step % 30, 0);
    }
    before = asked_of(&s);
    CHECK(before > 2 * tinylfu_of(&s)->shadows.period - 1 && tinylfu_of(&s)->watched == 0);
    for (uint32_t step = 0; step < 1000; step++) {
        CHECK(ask(&s, step % 30, 0) == 1);
    }
    CHECK(asked_of(&s) == before);
    CHECK(ask(&s, 1000, 0) == 0 && asked_of(&s) == before + 1);
    CHECK(ask(&s, 1, 0) == 1 && asked_of(&s) == before + 2);
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches marks that belong to another rate, right after the bounds have changed. */
static void
test_marks_are_right_after_new_bounds(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_TINYLFU, 40) == FC_OK);
    for (uint32_t bound = 64; bound < 20000; bound = bound * 3 - 50) {
        rebound(&s, bound, UINT64_MAX);
        CHECK_WHOLE(fc_store_check(&s));
        CHECK(!tinylfu_apart(tinylfu_of(&s)->shadows.entries, bound));
        CHECK(tinylfu_of(&s)->shadows.stores[0].max_entries ==
              tinylfu_of(&s)->shadows.entries / tinylfu_of(&s)->shadows.rate);
        CHECK(tinylfu_of(&s)->shadows.stores[0].max_entries < 2 * SHADOW_MAX);
        for (uint32_t k = 0; k < bound; k++) {
            ask(&s, k, 0);
        }
        CHECK_WHOLE(fc_store_check(&s));
    }
    a.fail_after = 3; /* no memory: the old ones stay */
    rebound(&s, 50, UINT64_MAX);
    a.fail_after = -1;
    CHECK(tinylfu_of(&s)->shadows.entries != 50);
    CHECK_WHOLE(fc_store_check(&s));
    for (uint32_t k = 0; k < 300; k++) {
        ask(&s, k, 0);
        CHECK_WHOLE(fc_store_check(&s));
    }
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a cache bounded by weight that never learns how many entries that is. */
static void
test_shadows_follow_the_entries_where_weights_bound(void)
{
    const fc_limits limits = {.max_entries = FC_ENTRIES_MAX, .max_weight = 1000};
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(fc_store_init(&s, &a, &FC_TINYLFU, &limits, 1) == FC_OK);
    for (uint32_t k = 0; k < 1000; k++) {
        CHECK(ask(&s, k, 1) == 0 && tinylfu_of(&s)->shadows.entries == 0);
    }
    for (uint32_t k = 1000; k < 1010; k++) {
        CHECK(ask(&s, k, 1) == 0);
    }
    CHECK(tinylfu_of(&s)->shadows.entries >= 990);
    for (uint32_t k = 0; k < 900; k++) { /* make way for heavier ones */
        fc_store_remove(&s, s.policy->victim(&s, NULL), FC_DELETED);
    }
    for (uint32_t k = 2000; k < 2400; k++) {
        CHECK(ask(&s, k, 10) == 0);
        CHECK_WHOLE(fc_store_check(&s));
    }
    CHECK(tinylfu_of(&s)->shadows.entries < 500);
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a shadow, or a sketch, that is half made when memory ends at any point of the way. */
static void
test_failing_memory_at_every_allocation(void)
{
    static const fc_limits limits[] = {{.max_entries = 300, .max_weight = UINT64_MAX},
                                       {.max_entries = FC_ENTRIES_MAX, .max_weight = 300}};
    for (uint32_t l = 0; l < 2; l++) {
        bool failed = true;
        for (int64_t n = 0; failed && n < 400; n++) {
            fc_alloc a;
            fc_store s;
            fc_alloc_init(&a);
            a.fail_after = n;
            failed = fc_store_init(&s, &a, &FC_TINYLFU, &limits[l], 1) != FC_OK;
            if (failed) {
                CHECK(a.bytes == 0);
                continue;
            }
            for (uint32_t k = 0; k < 700; k++) {
                uint32_t count = s.count;
                if (ask(&s, k, 1) != 0) {
                    failed = true;
                    CHECK(s.count <= count);
                    CHECK_WHOLE(fc_store_check(&s));
                    a.fail_after = -1;
                    CHECK(ask(&s, k, 1) == 0);
                }
                failed = failed || a.fail_after == 0;
            }
            CHECK_WHOLE(fc_store_check(&s));
            fc_store_free(&s);
            CHECK(a.bytes == 0);
        }
        CHECK(!failed);
    }
}

/* Catches a check that finds nothing. */
static void
test_check_finds_what_is_wrong(void)
{
    fc_alloc a;
    fc_store s;
    tinylfu_state *t;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_TINYLFU, 300) == FC_OK);
    for (uint32_t k = 0; k < 300; k++) {
        CHECK(ask(&s, k, 0) == 0);
    }
    CHECK_WHOLE(fc_store_check(&s));
    t = tinylfu_of(&s);
    s.slab.entries[10].flags ^= FC_ENTRY_SAMPLED;
    CHECK(s.policy->check(&s) != NULL);
    s.slab.entries[10].flags ^= FC_ENTRY_SAMPLED;
    s.slab.entries[10].bits = t->full;
    CHECK(s.policy->check(&s) != NULL);
    s.slab.entries[10].bits = (uint8_t)(t->full - TINYLFU_ADDED);
    t->shadows.stores[2].count++;
    CHECK(s.policy->check(&s) != NULL);
    t->shadows.stores[2].count--;
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

int
main(void)
{
    test_random_work();
    test_skipping_changes_no_estimate();
    test_numbers_of_halvings_start_again();
    test_insertion_counts_once();
    test_nothing_is_halved_without_an_eviction();
    test_shadows_rest_and_wake();
    test_marks_are_right_after_new_bounds();
    test_shadows_follow_the_entries_where_weights_bound();
    test_failing_memory_at_every_allocation();
    test_check_finds_what_is_wrong();
    return 0;
}
