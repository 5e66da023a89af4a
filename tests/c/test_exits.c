/* The queue of what has left, inline at first and then on the heap. */
#include "fc_exits.h"

#include "check.h"

/* Catches items lost or mixed up when the queue moves to the heap and grows there. */
static void
test_items_survive_growth(void)
{
    static int marks[1000];
    fc_alloc a;
    fc_exits x;
    fc_alloc_init(&a);
    fc_exits_init(&x, true);
    CHECK(x.audience && a.bytes == 0);
    for (int i = 0; i < 1000; i++) {
        CHECK(fc_exits_reserve(&x, &a, 1) == FC_OK);
        CHECK(i >= FC_EXITS_FEW || a.bytes == 0);
        fc_exits_push(&x, &marks[i], &marks[999 - i], i % 2 ? FC_EVICTED : FC_DELETED);
    }
    CHECK(x.count == 1000 && x.audience);
    for (int i = 0; i < 1000; i++) {
        CHECK(x.items[i].key == &marks[i] && x.items[i].value == &marks[999 - i]);
        CHECK(x.items[i].cause == (i % 2 ? FC_EVICTED : FC_DELETED));
    }
    fc_exits_free(&x, &a);
    CHECK(a.bytes == 0);
    x.count = 0; /* and used again, with what is inline */
    CHECK(fc_exits_reserve(&x, &a, FC_EXITS_FEW) == FC_OK && a.bytes == 0);
    fc_exits_push(&x, &marks[1], &marks[2], FC_EXPIRED);
    CHECK(x.items[0].key == &marks[1]);
    fc_exits_free(&x, &a);
}

/* Catches a growth that fails half way: from inline to the heap, and on the heap. */
static void
test_failed_growth_keeps_the_items(void)
{
    static int marks[100];
    fc_alloc a;
    fc_exits x;
    fc_alloc_init(&a);
    fc_exits_init(&x, true);
    for (size_t i = 0; i < 100; i++) {
        size_t bytes = a.bytes;
        a.fail_after = 0;
        if (fc_exits_reserve(&x, &a, 1) != FC_OK) {
            CHECK(x.count == i && x.room == i && a.bytes == bytes);
            for (size_t j = 0; j < i; j++) {
                CHECK(x.items[j].key == &marks[j]);
            }
        }
        a.fail_after = -1;
        CHECK(fc_exits_reserve(&x, &a, 1) == FC_OK);
        fc_exits_push(&x, &marks[i], NULL, FC_CLEARED);
    }
    fc_exits_free(&x, &a);
    CHECK(a.bytes == 0);
}

/* Catches a reservation that promises less than asked for. */
static void
test_reserve_makes_room_for_all(void)
{
    fc_alloc a;
    fc_exits x;
    fc_alloc_init(&a);
    fc_exits_init(&x, false);
    CHECK(fc_exits_reserve(&x, &a, 500) == FC_OK);
    CHECK(x.room - x.count >= 500);
    a.fail_after = 0;
    CHECK(fc_exits_reserve(&x, &a, x.room) == FC_OK);
    CHECK(fc_exits_reserve(&x, &a, x.room + 1) == FC_NOMEM);
    for (size_t i = 0; i < 500; i++) {
        fc_exits_push(&x, &a, &x, FC_CLEARED);
    }
    fc_exits_free(&x, &a);
    CHECK(a.bytes == 0);
}

int
main(void)
{
    test_items_survive_growth();
    test_failed_growth_keeps_the_items();
    test_reserve_makes_room_for_all();
    return 0;
}
