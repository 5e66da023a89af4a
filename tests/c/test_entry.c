/* Places of the entry array, and the lists through them. */
#include "fc_list.h"

#include "check.h"

/* Catches a field that makes the entry grow: a million entries would cost 16 MB more. */
static void
test_entry_is_48_bytes(void)
{
    CHECK(sizeof(fc_entry) == 48);
}

static uint32_t
take(fc_slab *s, fc_alloc *a, uint32_t max_entries)
{
    uint32_t at;
    CHECK(fc_slab_reserve(s, a, max_entries) == FC_OK);
    at = fc_slab_take(s);
    s->entries[at].key = s;
    s->entries[at].serial = at;
    return at;
}

/* Catches places given twice or lost, and an array larger than the bound will ever need. */
static void
test_places_are_reused_last_in_first_out(void)
{
    fc_alloc a;
    fc_slab s;
    uint32_t places[100];
    fc_alloc_init(&a);
    CHECK(fc_slab_init(&s, &a) == FC_OK);
    for (int i = 0; i < 100; i++) {
        places[i] = take(&s, &a, 100);
        CHECK(places[i] == FC_LISTS + (uint32_t)i);
    }
    CHECK(s.room == FC_LISTS + 100);
    CHECK(fc_slab_reserve(&s, &a, 100) == FC_NOMEM); /* full, and at the bound */
    fc_slab_give(&s, places[7]);
    fc_slab_give(&s, places[3]);
    CHECK(fc_slab_live(&s, places[3]) == places[4]);
    CHECK(take(&s, &a, 100) == places[3]);
    CHECK(take(&s, &a, 100) == places[7]);
    CHECK(s.used == FC_LISTS + 100 && s.free == FC_NIL);
    CHECK(fc_slab_live(&s, places[99] + 1) == FC_NIL);
    fc_slab_free(&s, &a);
    CHECK(a.bytes == 0);
}

/* Catches an iterator that takes a later entry for the one it has seen. */
static void
test_holds_tells_an_entry_from_its_successor(void)
{
    fc_alloc a;
    fc_slab s;
    uint32_t at;
    fc_alloc_init(&a);
    CHECK(fc_slab_init(&s, &a) == FC_OK);
    at = take(&s, &a, 10);
    s.entries[at].serial = 41;
    CHECK(fc_slab_holds(&s, at, 41));
    fc_slab_give(&s, at);
    CHECK(!fc_slab_holds(&s, at, 41));
    CHECK(take(&s, &a, 10) == at);
    s.entries[at].serial = 42;
    CHECK(!fc_slab_holds(&s, at, 41) && fc_slab_holds(&s, at, 42));
    s.entries[s.used].serial = 43; /* a place never taken may look like anything */
    s.entries[s.used].key = &s;
    CHECK(!fc_slab_holds(&s, s.used, 43) && !fc_slab_holds(&s, FC_NIL, 43));
    fc_slab_free(&s, &a);
}

/* Catches a failed growth that loses entries. */
static void
test_failed_growth_changes_nothing(void)
{
    fc_alloc a;
    fc_slab s;
    fc_alloc_init(&a);
    CHECK(fc_slab_init(&s, &a) == FC_OK);
    while (s.used < s.room) {
        take(&s, &a, 1000);
    }
    a.fail_after = 0;
    CHECK(fc_slab_reserve(&s, &a, 1000) == FC_NOMEM);
    CHECK(s.used == s.room && s.entries[s.used - 1].key == &s);
    fc_slab_free(&s, &a);
    a.fail_after = 0;
    CHECK(fc_slab_init(&s, &a) == FC_NOMEM && a.bytes == 0);
}

/* Catches links that are wrong at either end, and a check that misses them. */
static void
test_lists_keep_their_order(void)
{
    fc_alloc a;
    fc_slab s;
    uint32_t p[3];
    fc_alloc_init(&a);
    CHECK(fc_slab_init(&s, &a) == FC_OK);
    CHECK(fc_list_oldest(s.entries, 1) == FC_NIL);
    for (int i = 0; i < 3; i++) {
        p[i] = take(&s, &a, 10);
        s.entries[p[i]].list = 1;
        fc_list_push(s.entries, 1, p[i]);
    }
    CHECK(fc_list_check(s.entries, 1, 3) == 3);
    CHECK(fc_list_oldest(s.entries, 1) == p[0]);
    fc_list_remove(s.entries, p[0]);
    CHECK(fc_list_oldest(s.entries, 1) == p[1]);
    fc_list_push(s.entries, 1, p[0]);
    fc_list_remove(s.entries, p[2]);
    CHECK(s.entries[p[1]].next == p[0] && s.entries[1].prev == p[0]);
    CHECK(fc_list_check(s.entries, 1, 2) == 2);
    CHECK(fc_list_check(s.entries, 0, 2) == 0);
    CHECK(fc_list_check(s.entries, 1, 1) == FC_NIL);
    s.entries[p[0]].prev = p[2];
    CHECK(fc_list_check(s.entries, 1, 2) == FC_NIL);
    fc_slab_free(&s, &a);
}

int
main(void)
{
    test_entry_is_48_bytes();
    test_places_are_reused_last_in_first_out();
    test_holds_tells_an_entry_from_its_successor();
    test_failed_growth_changes_nothing();
    test_lists_keep_their_order();
    return 0;
}
