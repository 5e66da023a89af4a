/* Fifo: the order of arrival, whatever is used. */
#include "policy/fifo.h"

#include "requests.h"

/* Catches a hit that moves something, and an entry that comes back to its old place. */
static void
test_hit_moves_nothing(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_FIFO, 3) == FC_OK);
    request(&s, 1);
    request(&s, 2);
    request(&s, 3);
    for (uint32_t k = 1; k <= 3; k++) {
        CHECK(request(&s, k) == 1 && ORDER_IS(&s, 1, 2, 3));
    }
    CHECK(s.policy->victim(&s, NULL) == place_of(&s, 1));
    CHECK(request(&s, 4) == 0 && ORDER_IS(&s, 2, 3, 4));
    CHECK(request(&s, 1) == 0 && ORDER_IS(&s, 3, 4, 1));
    fc_store_remove(&s, place_of(&s, 4), FC_DELETED);
    CHECK(ORDER_IS(&s, 3, 1));
    CHECK(request(&s, 4) == 0 && ORDER_IS(&s, 3, 1, 4));
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a policy that is nearly fifo: only fifo misses more with more room (Belady 1969). */
static void
test_anomaly_is_there(void)
{
    static const uint32_t pages[] = {1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5};
    CHECK(misses_of(&FC_FIFO, 1, pages, 12) == 12);
    CHECK(misses_of(&FC_FIFO, 3, pages, 12) == 9);
    CHECK(misses_of(&FC_FIFO, 4, pages, 12) == 10);
    CHECK(misses_of(&FC_FIFO, 5, pages, 12) == 5);
}

/* Catches a place in the line that is lost when the array grows or places are reused. */
static void
test_order_of_arrival_survives_growth_and_reuse(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_FIFO, 50) == FC_OK);
    for (uint32_t k = 0; k < 2000; k++) {
        CHECK(request(&s, k) == 0);
        request(&s, k / 2); /* in or out, a hit or a newcomer; below only newcomers count */
        CHECK(s.count <= 50);
    }
    CHECK_WHOLE(fc_store_check(&s));
    for (uint32_t k = 10000; k < 10050; k++) {
        CHECK(request(&s, k) == 0);
    }
    for (uint32_t k = 10000; k < 10050; k++) {
        uint32_t at = s.policy->victim(&s, NULL);
        CHECK(s.slab.entries[at].key == number(k));
        fc_store_remove(&s, at, FC_DELETED);
    }
    CHECK(s.count == 0);
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

int
main(void)
{
    test_hit_moves_nothing();
    test_anomaly_is_there();
    test_order_of_arrival_survives_growth_and_reuse();
    return 0;
}
