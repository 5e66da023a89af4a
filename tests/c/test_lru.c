/* Lru: what was used last stays longest. */
#include "policy/lru.h"

#include "requests.h"

/* Catches a hit that moves nothing, or breaks the list at an end or with a single entry. */
static void
test_hit_moves_to_the_hot_end(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_LRU, 4) == FC_OK);
    request(&s, 1);
    CHECK(request(&s, 1) == 1 && ORDER_IS(&s, 1));
    request(&s, 2);
    request(&s, 3);
    CHECK(ORDER_IS(&s, 1, 2, 3));
    CHECK(request(&s, 1) == 1 && ORDER_IS(&s, 2, 3, 1)); /* the coldest */
    CHECK(request(&s, 3) == 1 && ORDER_IS(&s, 2, 1, 3)); /* one in the middle */
    CHECK(request(&s, 3) == 1 && ORDER_IS(&s, 2, 1, 3)); /* the hottest */
    CHECK_WHOLE(fc_store_check(&s));
    request(&s, 4);
    CHECK(request(&s, 5) == 0 && ORDER_IS(&s, 1, 3, 4, 5));
    CHECK(s.policy->victim(&s, NULL) == place_of(&s, 1));
    fc_store_free(&s);
}

/* Catches a policy that is nearly lru: the page faults of a textbook sequence (Belady 1969). */
static void
test_textbook_sequence_misses_as_in_the_book(void)
{
    static const uint32_t pages[] = {1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5};
    CHECK(misses_of(&FC_LRU, 1, pages, 12) == 12);
    CHECK(misses_of(&FC_LRU, 3, pages, 12) == 10);
    CHECK(misses_of(&FC_LRU, 4, pages, 12) == 8);
    CHECK(misses_of(&FC_LRU, 5, pages, 12) == 5);
}

/* Catches a victim out of turn: a larger lru always holds what a smaller one does (Mattson 1970). */
static void
test_larger_holds_what_smaller_holds(void)
{
    enum { STORES = 8 };
    fc_alloc a;
    fc_store stores[STORES];
    uint64_t state = 20260101;
    fc_alloc_init(&a);
    for (uint32_t i = 0; i < STORES; i++) {
        CHECK(store_of(&stores[i], &a, &FC_LRU, i + 1) == FC_OK);
    }
    for (int step = 0; step < 20000; step++) {
        uint32_t k = random_below(&state, 1 + random_below(&state, 30));
        int before = 0;
        for (uint32_t i = 0; i < STORES; i++) {
            int hit = request(&stores[i], k);
            CHECK(hit >= before);
            before = hit;
        }
    }
    for (uint32_t i = 0; i < STORES; i++) {
        CHECK_WHOLE(fc_store_check(&stores[i]));
        fc_store_free(&stores[i]);
    }
    CHECK(a.bytes == 0);
}

int
main(void)
{
    test_hit_moves_to_the_hot_end();
    test_textbook_sequence_misses_as_in_the_book();
    test_larger_holds_what_smaller_holds();
    return 0;
}
