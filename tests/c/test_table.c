/* The table against a naive one: an array of tags by index. */
#include "fc_table.h"

#include "check.h"

enum { INDICES = 500, STEPS = 1000000 };

static uint32_t tags[INDICES];
static bool present[INDICES];

/* Whether a probe for the tag comes by the index before it ends. */
static bool
finds(const fc_table *t, uint32_t tag, uint32_t index)
{
    uint32_t at = fc_table_home(t, tag);
    while (t->slots[at].index != FC_NIL) {
        if (t->slots[at].tag == tag && t->slots[at].index == index) {
            return true;
        }
        at = fc_table_next(t, at);
    }
    return false;
}

/* Catches a wrong backward shift, above all in clusters and around the end of the array. */
static void
test_random_operations_agree_with_the_naive_table(uint32_t spread)
{
    fc_alloc a;
    fc_table t;
    uint64_t state = 88172645463325252u + spread;
    uint32_t count = 0;
    fc_alloc_init(&a);
    memset(present, 0, sizeof present);
    CHECK(fc_table_init(&t, &a) == FC_OK);
    for (int step = 0; step < STEPS; step++) {
        uint32_t index = random_below(&state, INDICES);
        if (present[index]) {
            fc_table_remove(&t, fc_table_locate(&t, tags[index], index));
            count--;
        }
        else {
            /* Few different tags, half of them at the very end: clusters that wrap around. */
            tags[index] = random_below(&state, 2) ? UINT32_MAX - random_below(&state, spread)
                                                  : random_below(&state, spread) * 40503;
            CHECK(fc_table_reserve(&t, &a) == FC_OK);
            fc_table_insert(&t, tags[index], index);
            count++;
        }
        present[index] = !present[index];
        CHECK(t.count == count);
        CHECK(finds(&t, tags[index], index) == present[index]);
        if (step % (STEPS / 50) == 0) {
            CHECK_WHOLE(fc_table_check(&t));
            for (uint32_t i = 0; i < INDICES; i++) {
                CHECK(finds(&t, tags[i], i) == present[i]);
            }
        }
    }
    for (uint32_t i = 0; i < INDICES; i++) {
        if (present[i]) {
            fc_table_remove(&t, fc_table_locate(&t, tags[i], i));
        }
    }
    for (uint32_t at = 0; at <= t.mask; at++) {
        CHECK(t.slots[at].index == FC_NIL); /* no tombstones */
    }
    fc_table_free(&t, &a);
    CHECK(a.bytes == 0);
}

/* Catches a table that is fuller than promised, or forgets entries when it grows. */
static void
test_growth_keeps_the_load_and_the_entries(void)
{
    fc_alloc a;
    fc_table t;
    fc_alloc_init(&a);
    CHECK(fc_table_init(&t, &a) == FC_OK);
    for (uint32_t i = 0; i < 200000; i++) {
        CHECK(fc_table_reserve(&t, &a) == FC_OK);
        fc_table_insert(&t, i * 2654435761u, i);
        CHECK(t.count <= (t.mask < 65536 ? (t.mask + 1) / 4 : (t.mask + 1) / 4 * 3));
        CHECK(a.bytes == fc_table_bytes(&t));
    }
    for (uint32_t i = 0; i < 200000; i++) {
        CHECK(finds(&t, i * 2654435761u, i));
    }
    CHECK_WHOLE(fc_table_check(&t));
    fc_table_free(&t, &a);
}

/* Catches a growth that changes the table before it has the memory. */
static void
test_failed_growth_changes_nothing(void)
{
    fc_alloc a;
    fc_table t;
    fc_alloc_init(&a);
    CHECK(fc_table_init(&t, &a) == FC_OK);
    while (t.count < t.room) {
        fc_table_insert(&t, t.count * 2654435761u, t.count);
    }
    a.fail_after = 0;
    CHECK(fc_table_reserve(&t, &a) == FC_NOMEM);
    CHECK(t.count == t.room);
    CHECK_WHOLE(fc_table_check(&t));
    for (uint32_t i = 0; i < t.count; i++) {
        CHECK(finds(&t, i * 2654435761u, i));
    }
    fc_table_free(&t, &a);
    CHECK(a.bytes == 0);
}

/* Catches a check that sees nothing. */
static void
test_check_sees_damage(void)
{
    fc_alloc a;
    fc_table t;
    fc_alloc_init(&a);
    CHECK(fc_table_init(&t, &a) == FC_OK);
    fc_table_insert(&t, 0, 0);
    fc_table_insert(&t, 0, 1);
    CHECK_WHOLE(fc_table_check(&t));
    t.count++; /* still within room: nothing but the count is off */
    CHECK(t.count <= t.room + 1 && fc_table_check(&t) != NULL);
    t.count--;
    t.count--;
    CHECK(fc_table_check(&t) != NULL);
    t.count++;
    t.room = 1;
    CHECK(fc_table_check(&t) != NULL);
    t.room = fc_table_room(FC_TABLE_BITS_MIN);
    t.slots[1].tag = UINT32_MAX; /* would have been found at the end of the array */
    CHECK(fc_table_check(&t) != NULL);
    t.slots[1].tag = 0;
    CHECK_WHOLE(fc_table_check(&t));
    t.slots[0].index = FC_NIL; /* a hole before the second */
    t.count--;
    CHECK(fc_table_check(&t) != NULL);
    fc_table_free(&t, &a);
}

int
main(void)
{
    test_random_operations_agree_with_the_naive_table(8);
    test_random_operations_agree_with_the_naive_table(1000);
    test_random_operations_agree_with_the_naive_table(1000000);
    test_growth_keeps_the_load_and_the_entries();
    test_failed_growth_changes_nothing();
    test_check_sees_damage();
    return 0;
}
