/* Sieve: the oldest without a mark from the hand on, which stays where it stopped. */
#include "policy/sieve.h"

#include "queues.h"

/* The model is one queue and the place of the hand in it. */
static void
model_add(queues *m, uint32_t k)
{
    m->hand = m->hand == m->held[0].count ? 0 : m->hand;
    m->marks[k] = 0;
    model_enter(m, 0, k);
}

static void
model_hit(queues *m, uint32_t k)
{
    m->marks[k] = 1;
}

static uint32_t
model_victim(queues *m, uint32_t spare, uint32_t newcomer FC_UNUSED)
{
    for (;; m->hand++) {
        uint32_t k;
        m->hand = m->hand == m->held[0].count ? 0 : m->hand;
        k = m->held[0].keys[m->hand];
        if (k != spare && m->marks[k] == 0) {
            return k;
        }
        m->marks[k] = k == spare && m->marks[k];
    }
}

static void
model_leave(queues *m FC_UNUSED, uint32_t k FC_UNUSED)
{
}

static void
model_copied(queues *m FC_UNUSED, const queues *of FC_UNUSED)
{
}

static void
model_rebound(queues *m FC_UNUSED, const fc_limits *limits FC_UNUSED)
{
}

/* Catches a hit that moves something, a mark that does not save, and a hand that goes back. */
static void
test_hand_stays_where_it_stopped(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_SIEVE, 4) == FC_OK);
    for (uint32_t k = 1; k <= 4; k++) {
        CHECK(request(&s, k) == 0);
    }
    CHECK(request(&s, 1) == 1 && request(&s, 3) == 1 && request(&s, 3) == 1);
    CHECK(ORDER_IS(&s, 2, 4, 1, 3));
    CHECK(request(&s, 5) == 0 && ORDER_IS(&s, 4, 5, 1, 3)); /* past 1, which has lost its mark */
    CHECK(request(&s, 1) == 1 && ORDER_IS(&s, 4, 5, 3, 1));
    CHECK(request(&s, 6) == 0 && ORDER_IS(&s, 5, 6, 3, 1)); /* past 3 */
    CHECK(request(&s, 7) == 0 && ORDER_IS(&s, 6, 7, 3, 1));
    CHECK(request(&s, 6) == 1 && request(&s, 7) == 1 && ORDER_IS(&s, 3, 6, 7, 1));
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a hand that dangles, or jumps, when what it is at is taken out. */
static void
test_removal_under_the_hand_moves_it_on(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_SIEVE, 4) == FC_OK);
    for (uint32_t k = 1; k <= 4; k++) {
        CHECK(request(&s, k) == 0);
    }
    CHECK(request(&s, 1) == 1 && request(&s, 5) == 0); /* out goes 2; the hand is at 3 */
    fc_store_remove(&s, place_of(&s, 3), FC_DELETED);
    CHECK(ORDER_IS(&s, 4, 5, 1));
    fc_store_remove(&s, place_of(&s, 4), FC_EXPIRED);
    fc_store_remove(&s, place_of(&s, 5), FC_EXPIRED);
    CHECK(ORDER_IS(&s, 1)); /* the hand is at the young end, and so at the oldest */
    CHECK(request(&s, 6) == 0 && ORDER_IS(&s, 1, 6));
    fc_store_remove(&s, place_of(&s, 1), FC_DELETED);
    fc_store_remove(&s, place_of(&s, 6), FC_DELETED);
    CHECK(request(&s, 7) == 0 && ORDER_IS(&s, 7));
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a check that finds nothing. */
static void
test_check_finds_what_is_off(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_SIEVE, 4) == FC_OK);
    CHECK(request(&s, 1) == 0 && fc_store_check(&s) == NULL);
    s.slab.entries[place_of(&s, 1)].bits = 2;
    CHECK(fc_store_check(&s) != NULL);
    s.slab.entries[place_of(&s, 1)].bits = 1;
    fc_store_unlink(&s, place_of(&s, 1));
    fc_store_push(&s, 2, place_of(&s, 1));
    CHECK(fc_store_check(&s) != NULL);
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

int
main(void)
{
    test_hand_stays_where_it_stopped();
    test_removal_under_the_hand_moves_it_on();
    test_check_finds_what_is_off();
    random_work_at_many_bounds(&FC_SIEVE);
    return 0;
}
