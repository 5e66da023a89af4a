/* The window: where newcomers come in, who is compared with whom, and the shares. */
#include "policy/window.h"

#include "requests.h"

/* A store with a sketch of its own, which only the tests write. */
typedef struct bench {
    fc_alloc a;
    fc_sketch sketch;
    window_state state;
    fc_store s;
} bench;

static void
open_bounded(bench *b, const fc_limits *limits, double share)
{
    memset(b, 0, sizeof *b);
    fc_alloc_init(&b->a);
    CHECK(fc_sketch_reserve(&b->sketch, &b->a, 1000) == FC_OK);
    CHECK(fc_store_init(&b->s, &b->a, &FC_WINDOW, limits, 1) == FC_OK);
    b->state.sketch = &b->sketch;
    b->state.candidate = FC_NIL;
    b->state.draw = 1;
    b->s.state = &b->state;
    window_set_share(&b->s, share);
}

static void
open_bench(bench *b, uint32_t max_entries, double share)
{
    const fc_limits limits = {.max_entries = max_entries, .max_weight = UINT64_MAX};
    open_bounded(b, &limits, share);
}

static void
close_bench(bench *b)
{
    CHECK_WHOLE(fc_store_check(&b->s));
    fc_store_free(&b->s);
    fc_sketch_free(&b->sketch, &b->a);
    CHECK(b->a.bytes == 0);
}

/* Let the sketch say that of a key. */
static void
rate(bench *b, uint32_t k, unsigned estimate)
{
    fc_sketch_raise(&b->sketch, window_mix(&b->s, k), estimate);
    CHECK(fc_sketch_estimate(&b->sketch, window_mix(&b->s, k)) == estimate);
}

static void
put(bench *b, uint32_t k, uint64_t weight)
{
    fc_incoming in = incoming_of(k, weight);
    uint32_t at;
    CHECK(put_in(&b->s, &in, &at) == FC_OK);
    CHECK_WHOLE(fc_store_check(&b->s));
    CHECK(place_of(&b->s, k) == at);
}

static uint32_t
list_of(const bench *b, uint32_t k)
{
    uint32_t at = place_of(&b->s, k);
    return at == FC_NIL ? FC_NIL : b->s.slab.entries[at].list;
}

/* Catches a newcomer on another list, an overflow of the youngest, or a use that promotes too far. */
static void
test_entries_go_from_list_to_list(void)
{
    bench b;
    open_bench(&b, 10, 0.2);
    CHECK(b.state.window == 2 && b.state.protected == 6);
    for (uint32_t k = 1; k <= 4; k++) {
        put(&b, k, 0);
    }
    CHECK(ORDER_IS(&b.s, 1, 2, 3, 4) && b.s.list_count[WINDOW_PROBATION] == 2);
    CHECK(request(&b.s, 3) == 1 && ORDER_IS(&b.s, 1, 2, 4, 3) && list_of(&b, 3) == WINDOW_WINDOW);
    CHECK(request(&b.s, 1) == 1 && list_of(&b, 1) == WINDOW_PROTECTED);
    CHECK(request(&b.s, 2) == 1 && ORDER_IS(&b.s, 4, 3, 1, 2));
    CHECK(request(&b.s, 1) == 1 && ORDER_IS(&b.s, 4, 3, 2, 1));
    for (uint32_t k = 5; k <= 10; k++) {
        put(&b, k, 0);
    }
    for (uint32_t k = 3; k <= 8; k++) { /* eight in all, of which the first two go back */
        CHECK(request(&b.s, k) == 1);
    }
    CHECK(b.s.list_count[WINDOW_PROTECTED] == 6 && b.s.list_count[WINDOW_WINDOW] == 2);
    CHECK(ORDER_IS(&b.s, 2, 1, 9, 10, 3, 4, 5, 6, 7, 8));
    close_bench(&b);
}

/* Catches an admission with no headstart or too much: a tie, and one above, keep the coldest. */
static void
test_candidate_must_be_above_by_two(void)
{
    for (unsigned cold = 0; cold < 5; cold++) {
        for (unsigned warm = 0; warm < WINDOW_WARM; warm++) {
            bench b;
            open_bench(&b, 5, 0.2);
            for (uint32_t k = 1; k <= 5; k++) { /* 5 is in the window, 1 the coldest */
                put(&b, k, 0);
            }
            rate(&b, 1, cold);
            rate(&b, 5, warm);
            rate(&b, 6, 15); /* not compared: it is the newcomer */
            put(&b, 6, 0);
            CHECK(list_of(&b, 6) == WINDOW_WINDOW);
            if (warm > cold + 1) {
                CHECK(ORDER_IS(&b.s, 2, 3, 4, 5, 6));
            }
            else {
                CHECK(ORDER_IS(&b.s, 1, 2, 3, 4, 6));
            }
            close_bench(&b);
        }
    }
}

/* Catches a gamble for the cold, none for the warm, or one that is won too often. */
static void
test_only_the_warm_gamble(void)
{
    for (unsigned warm = WINDOW_WARM - 1; warm <= WINDOW_WARM; warm++) {
        uint32_t admitted = 0;
        bench b;
        open_bench(&b, 5, 0.2);
        for (uint32_t k = 1; k <= 5; k++) {
            put(&b, k, 0);
        }
        for (uint32_t k = 1; k <= 4; k++) {
            rate(&b, k, 15);
        }
        rate(&b, 5, warm);
        for (uint32_t turn = 0; turn < 12800; turn++) {
            fc_incoming in = incoming_of(1000, 0);
            uint32_t at;
            b.state.candidate = FC_NIL;
            at = FC_WINDOW.victim(&b.s, &in);
            admitted += at != place_of(&b.s, 5);
            if (list_of(&b, 5) == WINDOW_PROBATION) { /* back to the window */
                window_move(&b.s, place_of(&b.s, 5), WINDOW_WINDOW);
            }
        }
        CHECK(warm < WINDOW_WARM ? admitted == 0 : admitted > 70 && admitted < 130);
        close_bench(&b);
    }
}

/* Catches a heavy candidate that is compared with one light victim, or with more than need to go. */
static void
test_price_is_of_all_that_had_to_go(void)
{
    for (unsigned warm = 4; warm <= 5; warm++) {
        const fc_limits limits = {.max_entries = FC_ENTRIES_MAX, .max_weight = 20};
        bench b;
        open_bounded(&b, &limits, 0.4);
        CHECK(b.state.window_weight == 8 && b.state.protected_weight == 9);
        for (uint32_t k = 1; k <= 6; k++) { /* 1 to 6 overflow, two of weight 2 each */
            put(&b, k, 2);
            rate(&b, k, 1);
        }
        put(&b, 7, 8);
        CHECK(list_of(&b, 6) == WINDOW_PROBATION && b.s.weight == 20);
        rate(&b, 7, warm);
        /* 7 would have to push out 1, 2 and 3 for the 6 that are lacking. */
        put(&b, 8, 6);
        if (warm > 3 + WINDOW_HEADSTART) {
            CHECK(ORDER_IS(&b.s, 4, 5, 6, 7, 8));
        }
        else {
            CHECK(ORDER_IS(&b.s, 1, 2, 3, 4, 5, 6, 8));
        }
        close_bench(&b);
    }
}

/* Catches a newcomer heavier than the window that is moved on at once, or its own victim. */
static void
test_newcomer_heavier_than_the_window_stays_in_it(void)
{
    const fc_limits limits = {.max_entries = FC_ENTRIES_MAX, .max_weight = 20};
    bench b;
    open_bounded(&b, &limits, 0.1);
    put(&b, 1, 1);
    put(&b, 2, 15);
    CHECK(ORDER_IS(&b.s, 1, 2) && list_of(&b, 2) == WINDOW_WINDOW);
    put(&b, 3, 20);
    CHECK(ORDER_IS(&b.s, 3) && list_of(&b, 3) == WINDOW_WINDOW);
    put(&b, 4, 0);
    CHECK(ORDER_IS(&b.s, 3, 4) && list_of(&b, 3) == WINDOW_PROBATION);
    close_bench(&b);
}

/* Catches a spare that is chosen, or priced although it stays, wherever it stands. */
static void
test_spare_is_never_the_victim(void)
{
    static const fc_limits limits[] = {{.max_entries = 6, .max_weight = UINT64_MAX},
                                       {.max_entries = 6, .max_weight = 60}};
    for (uint32_t l = 0; l < 2; l++) {
        for (uint32_t spare = 1; spare <= 6; spare++) {
            for (uint32_t warm = 1; warm <= 6; warm++) {
                fc_incoming in = incoming_of(spare, 10);
                bench b;
                open_bounded(&b, &limits[l], 0.2);
                for (uint32_t k = 1; k <= 6; k++) {
                    put(&b, k, 10);
                }
                CHECK(request(&b.s, 4) == 1 && request(&b.s, 1) == 1);
                rate(&b, warm, 15);
                in.spare = place_of(&b.s, spare);
                for (uint32_t left = 5; left > 0; left--) {
                    uint32_t at = FC_WINDOW.victim(&b.s, &in);
                    CHECK(at != FC_NIL && at != in.spare);
                    fc_store_remove(&b.s, at, FC_EVICTED);
                    CHECK_WHOLE(fc_store_check(&b.s));
                }
                close_bench(&b);
            }
        }
    }
}

/* Catches a spare whose worth is added to the price of those that go, though it stays. */
static void
test_spare_has_no_price(void)
{
    const fc_limits limits = {.max_entries = FC_ENTRIES_MAX, .max_weight = 60};
    fc_incoming in = incoming_of(2, 30);
    bench b;
    open_bounded(&b, &limits, 0.2);
    for (uint32_t k = 1; k <= 6; k++) { /* all but 6 overflow */
        put(&b, k, 10);
    }
    rate(&b, 2, 15);
    rate(&b, 6, 3);
    in.spare = place_of(&b.s, 2);
    fc_store_reweigh(&b.s, in.spare, 30);
    fc_store_reweigh(&b.s, place_of(&b.s, 6), 20);
    fc_store_remove(&b.s, place_of(&b.s, 5), FC_DELETED);
    CHECK(b.s.weight == 80); /* 6 would have to push out 1 and 3 */
    CHECK(FC_WINDOW.victim(&b.s, &in) == place_of(&b.s, 1));
    while (!fc_store_fits(&b.s, 0, 0)) {
        fc_store_remove(&b.s, FC_WINDOW.victim(&b.s, &in), FC_EVICTED);
    }
    close_bench(&b);
}

/* Catches a share of nothing where there is one entry, or two, or three. */
static void
test_smallest_caches(void)
{
    static const double shares[] = {0.01, 0.10, 0.40, 0.80, 0.99};
    for (uint32_t i = 0; i < 5; i++) {
        for (uint32_t most = 1; most <= 3; most++) {
            uint64_t state = 7;
            bench b;
            open_bench(&b, most, shares[i]);
            CHECK(b.state.window >= 1 && b.state.window <= most);
            CHECK(b.state.window + b.state.protected <= most);
            for (uint32_t step = 0; step < 500; step++) {
                uint32_t k = random_below(&state, 6);
                request(&b.s, k);
                CHECK(place_of(&b.s, k) != FC_NIL);
                CHECK_WHOLE(fc_store_check(&b.s));
                CHECK(b.s.list_count[WINDOW_WINDOW] <= b.state.window);
                CHECK(b.s.list_count[WINDOW_PROTECTED] <= b.state.protected);
                CHECK(most > 1 || b.s.list_count[WINDOW_WINDOW] == 1);
            }
            close_bench(&b);
        }
    }
}

static uint32_t
moved_between(const uint8_t *before, const fc_store *s, uint32_t but)
{
    uint32_t moved = 0;
    for (uint32_t at = fc_slab_live(&s->slab, FC_LISTS); at != FC_NIL;
         at = fc_slab_live(&s->slab, at + 1)) {
        moved += at != but && before[at] != s->slab.entries[at].list;
    }
    return moved;
}

/* Catches a share that is never come to, or at the cost of one operation that moves everything. */
static void
test_changed_share_moves_few_at_a_time(void)
{
    enum { MOST = 1000 };
    static const double shares[] = {0.99, 0.01, 0.80, 0.10, 0.40};
    static uint8_t before[MOST + FC_LISTS];
    uint64_t state = 9;
    uint32_t next = MOST;
    bench b;
    open_bench(&b, MOST, 0.4);
    for (uint32_t k = 0; k < MOST; k++) {
        CHECK(request(&b.s, k) == 0);
    }
    for (uint32_t i = 0; i < 5; i++) {
        window_set_share(&b.s, shares[i]);
        for (uint32_t step = 0; step < 3000; step++) {
            uint32_t k = step % 2 ? next++ : random_below(&state, next);
            for (uint32_t at = 0; at < b.s.slab.used; at++) {
                before[at] = b.s.slab.entries[at].list;
            }
            request(&b.s, k);
            /* What a newcomer needs: demoted, overflowed for it, and once it is in. */
            CHECK(moved_between(before, &b.s, place_of(&b.s, k)) <= 3 * WINDOW_STEPS);
        }
        CHECK_WHOLE(fc_store_check(&b.s));
        CHECK(b.s.list_count[WINDOW_WINDOW] <= b.state.window);
        CHECK(b.s.list_count[WINDOW_PROTECTED] <= b.state.protected);
    }
    close_bench(&b);
}

/* Catches a main part that nobody can enter any more: all of it protected, when its share shrinks. */
static void
test_protected_list_gives_way_to_a_larger_window(void)
{
    bench b;
    open_bench(&b, 100, 0.01);
    for (uint32_t k = 0; k < 100; k++) {
        put(&b, k, 0);
    }
    while (b.s.list_count[WINDOW_PROBATION] > 0) { /* as if all on probation had gone */
        fc_store_remove(&b.s, b.s.slab.entries[WINDOW_PROBATION].next, FC_DELETED);
    }
    for (uint32_t k = 200; b.s.count < 99; k++) {
        put(&b, k, 0);
        window_move(&b.s, place_of(&b.s, k), WINDOW_PROTECTED);
    }
    window_set_share(&b.s, 0.4);
    for (uint32_t k = 1000; k < 2000; k++) {
        rate(&b, k, k % 3 ? 5 : 15);
        put(&b, k, 0);
    }
    CHECK(b.s.list_count[WINDOW_PROTECTED] <= b.state.protected);
    CHECK(b.s.list_count[WINDOW_PROBATION] >= 12);
    close_bench(&b);
}

/* Catches any step after which a structure or a count is off, or the newcomer is not there. */
static void
random_work(const fc_limits *limits, double share)
{
    uint64_t state = 88172645463325252u + limits->max_entries + limits->max_weight;
    uint32_t heaviest = limits->max_weight < 30 ? (uint32_t)limits->max_weight : 30;
    bench b;
    open_bounded(&b, limits, share);
    for (int step = 0; step < 6000; step++) {
        uint32_t k = random_below(&state, 1 + random_below(&state, 60)), at = place_of(&b.s, k);
        uint32_t choice = random_below(&state, 16);
        fc_incoming in = incoming_of(k, random_below(&state, heaviest + 1));
        fc_sketch_add(&b.sketch, window_mix(&b.s, k));
        if (at == FC_NIL) {
            put(&b, k, in.weight);
        }
        else if (choice < 10) {
            b.s.on_hit(&b.s, at);
        }
        else if (choice < 13) {
            in.spare = at;
            fc_store_reweigh(&b.s, at, in.weight);
            b.s.on_hit(&b.s, at);
            while (!fc_store_fits(&b.s, 0, 0)) {
                fc_store_remove(&b.s, FC_WINDOW.victim(&b.s, &in), FC_EVICTED);
            }
            CHECK(place_of(&b.s, k) == at);
        }
        else if (choice == 13) {
            fc_store_remove(&b.s, at, k % 2 ? FC_DELETED : FC_EXPIRED);
        }
        else if (choice == 14) {
            uint32_t order[64];
            fc_store_order(&b.s, order);
            at = FC_WINDOW.victim(&b.s, NULL);
            CHECK(at == order[0]);
            fc_store_remove(&b.s, at, FC_DELETED);
        }
        else {
            window_set_share(&b.s, step % 3 ? share : 0.5);
        }
        CHECK_WHOLE(fc_store_check(&b.s));
        if (step % 1000 == 999) {
            fc_sketch_halve(&b.sketch);
        }
    }
    close_bench(&b);
}

int
main(void)
{
    test_entries_go_from_list_to_list();
    test_candidate_must_be_above_by_two();
    test_only_the_warm_gamble();
    test_price_is_of_all_that_had_to_go();
    test_newcomer_heavier_than_the_window_stays_in_it();
    test_spare_is_never_the_victim();
    test_spare_has_no_price();
    test_smallest_caches();
    test_changed_share_moves_few_at_a_time();
    test_protected_list_gives_way_to_a_larger_window();
    for (size_t i = 0; i < MANY_BOUNDS_COUNT; i++) {
        random_work(&MANY_BOUNDS[i], 0.01);
        random_work(&MANY_BOUNDS[i], 0.4);
        random_work(&MANY_BOUNDS[i], 0.99);
    }
    return 0;
}
