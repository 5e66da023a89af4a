/* Size: what is cheap to make again for its weight goes first, and what is not used grows old. */
#include "policy/size.h"

#include <math.h>

#include "model.h"

static void
renew(model *m, one *o)
{
    double gain = o->cost / (double)(o->weight > 0 ? o->weight : 1);
    gain = (double)o->uses * gain;
    o->rank = m->age + gain;
}

static fc_alloc a;
static fc_store s;

static void
begin(uint32_t max_entries, uint64_t max_weight)
{
    const fc_limits limits = {.max_entries = max_entries, .max_weight = max_weight};
    fc_alloc_init(&a);
    CHECK(fc_store_init(&s, &a, &FC_SIZE, &limits, 1) == FC_OK);
}

static void
end(void)
{
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

static void
put(uint32_t k, uint64_t weight, double cost)
{
    fc_incoming in = incoming_of(k, weight);
    uint32_t at;
    in.cost = cost;
    CHECK(put_in(&s, &in, &at) == FC_OK);
    CHECK_WHOLE(fc_store_check(&s));
}

static void
hit(uint32_t k, uint32_t times)
{
    while (times-- > 0) {
        CHECK(request(&s, k) == 1);
        CHECK_WHOLE(fc_store_check(&s));
    }
}

static void
write(uint32_t k, uint64_t weight, double cost)
{
    fc_incoming in = incoming_of(k, weight);
    uint32_t at = place_of(&s, k);
    in.cost = cost;
    in.spare = at;
    fc_store_reweigh(&s, at, weight);
    s.policy->on_write(&s, at, &in);
    CHECK_WHOLE(fc_store_check(&s));
}

static fc_memo
memo_of(uint32_t k)
{
    fc_memo memo = {0};
    s.policy->save(&s, place_of(&s, k), &memo);
    return memo;
}

/* Catches a rank that is not the one in the book. */
static void
test_ranks_follow_the_formula(void)
{
    begin(10, 110);
    put(1, 20, 10); /* 0.5 */
    put(2, 40, 40); /* 1 */
    put(3, 0, 7);   /* 7: nothing weighs less than 1 */
    put(4, 40, 30); /* 0.75 */
    CHECK(ORDER_IS(&s, 1, 4, 2, 3));
    hit(1, 1);
    CHECK(memo_of(1).rank == 1 && memo_of(1).uses == 2 && memo_of(1).cost == 10);
    CHECK(ORDER_IS(&s, 4, 2, 1, 3)); /* as 2, but used later */
    put(5, 40, 2);                   /* evicts 4: from now on all are 0.75 older */
    CHECK(ORDER_IS(&s, 5, 2, 1, 3) && memo_of(5).rank == 0.75 + 1 * (2 / 40.0));
    CHECK(memo_of(5).age == 0.75 && memo_of(1).rank == 1);
    hit(2, 1);
    CHECK(memo_of(2).rank == 2.75 && ORDER_IS(&s, 5, 1, 2, 3));
    write(3, 10, 10); /* less than before: it must rise at once */
    CHECK(memo_of(3).rank == 2.75 && memo_of(3).uses == 2 && ORDER_IS(&s, 5, 1, 2, 3));
    write(3, 10, 0);
    CHECK(memo_of(3).rank == 0.75 && ORDER_IS(&s, 3, 5, 1, 2));
    fc_store_remove(&s, place_of(&s, 2), FC_DELETED); /* no eviction: nothing ages */
    CHECK(memo_of(1).age == 0.75);
    fc_store_remove(&s, place_of(&s, 1), FC_EVICTED); /* out of turn, and higher */
    CHECK(memo_of(3).age == 1);
    fc_store_remove(&s, place_of(&s, 3), FC_EVICTED); /* lower: age never goes back */
    CHECK(memo_of(5).age == 1 && ORDER_IS(&s, 5));
    end();
}

/* Catches a tie that is broken by chance, or costs without bound that break the order. */
static void
test_ties_go_by_last_use(void)
{
    begin(100, UINT64_MAX);
    for (uint32_t k = 0; k < 50; k++) {
        put(k, 1, k < 25 ? 0 : INFINITY);
    }
    for (uint32_t k = 0; k < 50; k += 2) {
        hit(k, 1);
    }
    for (uint32_t k = 0; k < 50; k++) {
        uint32_t expected[] = {1, 0, 25, 26};
        uint32_t i = k < 12 ? 0 : k < 25 ? 1 : k < 38 ? 2 : 3;
        uint32_t past[] = {0, 12, 25, 38};
        uint32_t at = s.policy->victim(&s, NULL);
        CHECK(key_at(&s, at) == expected[i] + 2 * (k - past[i]));
        fc_store_remove(&s, at, FC_EVICTED);
        CHECK_WHOLE(fc_store_check(&s));
    }
    end();
}

/* Catches a spare that is chosen, or a second that is not the second, with ranks out of date. */
static void
test_spare_is_passed_over(void)
{
    begin(100, UINT64_MAX);
    for (uint32_t k = 0; k < 40; k++) {
        put(k, 1 + k % 7, 5);
    }
    for (uint32_t round = 0; s.count > 1; round++) {
        fc_incoming in = incoming_of(0, 1);
        uint32_t order[40], at;
        for (uint32_t k = 0; k < 40; k++) { /* many stand too low in the heap now */
            if (place_of(&s, k) != FC_NIL) {
                hit(k, (k * 5 + round) % 4);
            }
        }
        fc_store_order(&s, order);
        in.spare = order[0];
        at = s.policy->victim(&s, &in);
        CHECK(at == order[1]);
        CHECK_WHOLE(fc_store_check(&s));
        fc_store_remove(&s, at, FC_DELETED);
        CHECK_WHOLE(fc_store_check(&s));
    }
    end();
}

/* Catches a copy that loses rank, age, uses or cost, and a hit that lowers a rank taken over. */
static void
test_memo_takes_over_rank_and_age(void)
{
    const fc_memo first = {.uses = 3, .rank = 12.5, .age = 5, .cost = 2};
    const fc_memo second = {.uses = 1, .rank = 9, .age = 4, .cost = 1};
    fc_incoming in = incoming_of(1, 1);
    uint32_t at;
    begin(10, UINT64_MAX);
    in.memo = &first;
    CHECK(put_in(&s, &in, &at) == FC_OK);
    in = incoming_of(2, 1);
    in.memo = &second;
    CHECK(put_in(&s, &in, &at) == FC_OK);
    CHECK(ORDER_IS(&s, 2, 1) && memo_of(2).age == 5 && memo_of(2).rank == 9);
    CHECK(memo_of(1).uses == 3 && memo_of(1).cost == 2);
    put(3, 1, 4);
    CHECK(memo_of(3).rank == 9 && ORDER_IS(&s, 2, 3, 1));
    hit(2, 1); /* 5 + 2 * 1, where it came with 9 */
    CHECK(memo_of(2).rank == 7 && ORDER_IS(&s, 2, 3, 1));
    hit(1, 1);
    CHECK(memo_of(1).rank == 13 && ORDER_IS(&s, 2, 3, 1));
    end();
}

/* Catches a check that is blind: each kind of damage alone. */
static void
test_check_sees_damage(void)
{
    size_state *z;
    size_node node;
    begin(10, UINT64_MAX);
    CHECK_WHOLE(fc_store_check(&s));
    for (uint32_t k = 0; k < 6; k++) {
        put(k, 1, k);
    }
    z = s.state;
    z->count--;
    CHECK(fc_store_check(&s) != NULL);
    z->count++;
    z->heap[3].filed.rank += 100;
    CHECK(fc_store_check(&s) != NULL); /* filed above its rank */
    z->heap[3].filed.rank = -1;
    CHECK(fc_store_check(&s) != NULL); /* out of order */
    z->heap[3].filed.rank = z->places[z->heap[3].at].now.rank;
    s.slab.entries[z->heap[2].at].prev = 1;
    CHECK(fc_store_check(&s) != NULL);
    s.slab.entries[z->heap[2].at].prev = 2;
    node = z->heap[5];
    z->heap[5].at = z->heap[4].at;
    CHECK(fc_store_check(&s) != NULL);
    z->heap[5] = node;
    z->places[node.at].uses = 0;
    CHECK(fc_store_check(&s) != NULL);
    z->places[node.at].uses = 1;
    end();
}

int
main(void)
{
    test_ranks_follow_the_formula();
    test_ties_go_by_last_use();
    test_spare_is_passed_over();
    test_memo_takes_over_rank_and_age();
    test_check_sees_damage();
    random_work_at_many_bounds(&FC_SIZE, renew);
    return 0;
}
