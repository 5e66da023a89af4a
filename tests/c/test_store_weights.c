/* Weights: their sum, the sums of the lists, the bound, and what a policy asks for by itself. */
#include "policy/all.h"

#include "requests.h"

enum { KEYS = 40 };

static fc_alloc alloc;
static fc_store s;

static void
begin(const fc_policy *policy, uint32_t max_entries, uint64_t max_weight)
{
    const fc_limits limits = {.max_entries = max_entries, .max_weight = max_weight};
    fc_alloc_init(&alloc);
    CHECK(fc_store_init(&s, &alloc, policy, &limits, 1) == FC_OK);
}

static void
end(void)
{
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(alloc.bytes == 0);
}

static uint32_t
put(uint32_t k, uint64_t weight)
{
    const fc_incoming in = incoming_of(k, weight);
    uint32_t at;
    CHECK(put_in(&s, &in, &at) == FC_OK);
    CHECK_WHOLE(fc_store_check(&s));
    return at;
}

/* Another value: the new weight is noted, and what it pushes out is not the entry itself. */
static void
write(uint32_t at, uint64_t weight)
{
    fc_incoming in = incoming_of(0, weight);
    in.spare = at;
    fc_store_reweigh(&s, at, weight);
    if (s.policy->on_write != NULL) {
        s.policy->on_write(&s, at, &in);
    }
    else {
        s.policy->on_hit(&s, at);
    }
    while (!fc_store_fits(&s, 0, 0)) {
        uint32_t victim = s.policy->victim(&s, &in);
        CHECK(victim != at);
        fc_store_remove(&s, victim, FC_EVICTED);
    }
    CHECK_WHOLE(fc_store_check(&s));
}

/* Catches a weight that is not added, not taken away, or counted in another list. */
static void
test_sum_follows_add_remove_and_reweigh(void)
{
    uint32_t at;
    begin(&FC_LRU, 10, 100);
    put(1, 10);
    at = put(2, 0);
    put(3, 30);
    CHECK(s.weight == 40 && s.list_weight[0] == 40 && fc_store_weight(&s, at) == 0);
    fc_store_reweigh(&s, at, 60);
    CHECK(s.weight == 100 && s.list_weight[0] == 100 && fc_store_weight(&s, at) == 60);
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_reweigh(&s, at, 5);
    CHECK(s.weight == 45 && s.list_weight[0] == 45);
    fc_store_unlink(&s, at);
    CHECK(s.list_weight[0] == 40);
    fc_store_push(&s, 3, at);
    CHECK(s.list_weight[3] == 5 && s.weight == 45);
    fc_store_reweigh(&s, at, 7);
    CHECK(s.list_weight[0] == 40 && s.list_weight[3] == 7 && s.weight == 47);
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_remove(&s, at, FC_DELETED);
    CHECK(s.weight == 40 && s.list_weight[3] == 0);
    fc_store_remove(&s, place_of(&s, 3), FC_EXPIRED);
    CHECK(s.weight == 10 && s.list_weight[0] == 10);
    end();
}

/* Catches an eviction too few or too many, and a bound that is off by one. */
static void
test_newcomer_evicts_until_it_fits(void)
{
    begin(&FC_LRU, 10, 100);
    for (uint32_t k = 0; k < 10; k++) {
        put(k, 10);
    }
    CHECK(fc_store_fits(&s, 0, 0) && !fc_store_fits(&s, 0, 1) && !fc_store_fits(&s, 1, 0));
    put(10, 35);
    CHECK(ORDER_IS(&s, 4, 5, 6, 7, 8, 9, 10) && s.weight == 95 && s.evictions == 4);
    put(11, 5);
    CHECK(s.weight == 100 && s.count == 8);
    put(12, 100);
    CHECK(ORDER_IS(&s, 12));
    put(13, 0);
    CHECK(ORDER_IS(&s, 12, 13));
    end();
}

/* Catches an overwrite that pushes out the entry it is for, at either end of the list. */
static void
test_heavier_value_evicts_others_only(void)
{
    begin(&FC_FIFO, 10, 100);
    for (uint32_t k = 0; k < 5; k++) {
        put(k, 20);
    }
    write(place_of(&s, 0), 21);
    CHECK(ORDER_IS(&s, 0, 2, 3, 4) && s.weight == 81);
    write(place_of(&s, 3), 100);
    CHECK(ORDER_IS(&s, 3) && s.weight == 100);
    write(place_of(&s, 3), 1);
    CHECK(s.weight == 1);
    end();
}

/* Catches an entry that keeps the weight of the one whose place it takes. */
static void
test_replace_takes_the_new_weight(void)
{
    fc_incoming in = incoming_of(7, 25);
    uint32_t at;
    begin(&FC_LRU, 2, 100);
    at = put(1, 70);
    put(2, 20);
    fc_store_replace(&s, s.policy, at, fc_table_free_slot(&s.table, fc_store_tag(&s, 7)), &in);
    CHECK(s.weight == 45 && s.list_weight[0] == 45 && ORDER_IS(&s, 2, 7));
    end();
}

/* Catches sums that wrap: a weight that does not fit would look as if it did. */
static void
test_weights_near_the_end_of_64_bits(void)
{
    begin(&FC_LRU, 10, UINT64_MAX - 1);
    put(1, UINT64_MAX - 1);
    CHECK(!fc_store_fits(&s, 1, 1) && !fc_store_fits(&s, 1, UINT64_MAX) && fc_store_fits(&s, 1, 0));
    put(2, 2);
    CHECK(ORDER_IS(&s, 2) && s.weight == 2);
    CHECK(fc_store_fits(&s, 1, UINT64_MAX - 3) && !fc_store_fits(&s, 1, UINT64_MAX - 2));
    s.max_weight = 1; /* over its bound: nothing fits, not even nothing */
    CHECK(!fc_store_fits(&s, 0, 0) && !fc_store_fits(&s, 1, UINT64_MAX));
    s.max_weight = 2;
    end();
}

/* Catches weights that cost memory where nobody asked, or are missing where a policy does. */
static void
test_weights_are_kept_only_where_wanted(void)
{
    fc_policy weighing = FC_LRU;
    begin(&FC_LRU, 10, UINT64_MAX);
    put(1, 12);
    fc_store_reweigh(&s, place_of(&s, 1), 40);
    CHECK(s.weights == NULL && s.weight == 0 && s.list_weight[0] == 0);
    CHECK(fc_store_weight(&s, place_of(&s, 1)) == 0);
    end();
    weighing.weighs = true;
    begin(&weighing, 10, UINT64_MAX);
    put(1, 12);
    put(2, UINT64_MAX - 12);
    CHECK(s.weights != NULL && s.weight == UINT64_MAX && s.list_weight[0] == UINT64_MAX);
    put(3, 5);
    CHECK(ORDER_IS(&s, 2, 3)); /* the sum stays within 64 bits */
    end();
}

/* Catches any step after which a sum, the order or the bound is off, under each policy. */
static void
test_random_work(const fc_policy *policy, uint32_t max_entries, uint64_t max_weight)
{
    uint64_t state = 7 + max_weight, weights[KEYS];
    begin(policy, max_entries, max_weight);
    for (int step = 0; step < 20000; step++) {
        uint32_t k = random_below(&state, KEYS), at = place_of(&s, k);
        uint64_t weight = random_below(&state, (uint32_t)max_weight + 1), sum = 0;
        switch (random_below(&state, 4)) {
        case 0:
            if (at == FC_NIL) {
                put(k, weight);
            }
            else {
                write(at, weight);
            }
            weights[k] = weight;
            break;
        case 1:
            if (at != FC_NIL) {
                fc_store_remove(&s, at, FC_DELETED);
            }
            break;
        default:
            if (at != FC_NIL) {
                s.on_hit(&s, at);
            }
        }
        CHECK_WHOLE(fc_store_check(&s));
        for (k = 0; k < KEYS; k++) {
            at = place_of(&s, k);
            if (at != FC_NIL) {
                CHECK(fc_store_weight(&s, at) == weights[k]);
                sum += weights[k];
            }
        }
        CHECK(sum == s.weight && sum <= max_weight);
    }
    end();
}

/* Catches a change made before the memory for the weights was had. */
static void
test_failing_memory_leaves_the_store_whole(void)
{
    bool failed = true;
    for (int64_t n = 0; failed; n++) {
        const fc_limits limits = {.max_entries = KEYS, .max_weight = 1000};
        fc_alloc_init(&alloc);
        alloc.fail_after = n;
        failed = fc_store_init(&s, &alloc, &FC_LRU, &limits, 1) != FC_OK;
        for (uint32_t k = 0; k < KEYS && !failed; k++) {
            const fc_incoming in = incoming_of(k, k);
            uint64_t weight = s.weight;
            uint32_t at, count = s.count;
            if (put_in(&s, &in, &at) == FC_NOMEM) {
                failed = true;
                CHECK(s.weight == weight && s.count == count && place_of(&s, k) == FC_NIL);
                CHECK_WHOLE(fc_store_check(&s));
                alloc.fail_after = -1;
                for (; k < KEYS; k++) {
                    put(k, k);
                }
                CHECK(s.count == KEYS && s.weight == KEYS * (KEYS - 1) / 2);
            }
        }
        fc_store_free(&s);
        CHECK(alloc.bytes == 0);
    }
}

/* Catches a check that does not add up. */
static void
test_check_sees_damage(void)
{
    uint32_t at;
    begin(&FC_LRU, 10, 100);
    at = put(1, 10);
    s.weight++;
    CHECK(fc_store_check(&s) != NULL);
    s.weight--;
    s.list_weight[0]++;
    CHECK(fc_store_check(&s) != NULL);
    s.list_weight[0]--;
    s.list_weight[3]++;
    CHECK(fc_store_check(&s) != NULL);
    s.list_weight[3]--;
    s.weights[at]++;
    CHECK(fc_store_check(&s) != NULL);
    s.weights[at]--;
    s.max_weight = 9;
    CHECK(fc_store_check(&s) != NULL);
    s.max_weight = 10;
    end();
}

int
main(void)
{
    test_sum_follows_add_remove_and_reweigh();
    test_newcomer_evicts_until_it_fits();
    test_heavier_value_evicts_others_only();
    test_replace_takes_the_new_weight();
    test_weights_near_the_end_of_64_bits();
    test_weights_are_kept_only_where_wanted();
    for (size_t i = 0; i < FC_POLICIES_COUNT; i++) {
        test_random_work(FC_POLICIES[i].policy, FC_ENTRIES_MAX, 30);
        test_random_work(FC_POLICIES[i].policy, 5, 300);
        test_random_work(FC_POLICIES[i].policy, 1, 7);
    }
    test_failing_memory_leaves_the_store_whole();
    test_check_sees_damage();
    return 0;
}
