/* The timer wheel: bounded work, its links and its check. */
#include "wheel.h"

enum { MANY = 1000000, BUDGET = 64 };

/* Catches a drain that skips a bucket, or sleeps, when its steps run out in the middle. */
static void
test_no_steps_change_nothing(void)
{
    uint32_t steps = 0;
    begin();
    for (uint32_t at = 0; at < PLACES; at++) {
        add(at, (int64_t)at * 50 * TICK, 0);
    }
    for (int64_t now = 0; now < PLACES * 50 * TICK; now += 17 * TICK) {
        CHECK(fc_wheel_due(&wheel, entries, now, &steps) == FC_NIL && steps == 0);
        CHECK(wheel.count == PLACES);
        check_whole();
    }
    for (uint32_t at = 0; at < PLACES; at++) {
        CHECK(due(PLACES * 50 * TICK) != FC_NIL);
    }
    CHECK(wheel.count == 0);
    end();
}

/* Catches a removal that writes through links that are not there. */
static void
test_removing_what_is_not_filed_does_nothing(void)
{
    begin();
    end();
    CHECK(!fc_wheel_has(&wheel, 0) && !fc_wheel_has(&wheel, FC_NIL));
    fc_wheel_remove(&wheel, 0);
    fc_wheel_remove(&wheel, FC_NIL);
    CHECK(due(YEAR) == FC_NIL && due_now(YEAR) == FC_NIL);
    check_whole();
    fc_wheel_free(&wheel, &alloc);

    begin();
    add(3, TICK, 0);
    fc_wheel_remove(&wheel, 2);
    fc_wheel_remove(&wheel, PLACES);
    fc_wheel_remove(&wheel, FC_NIL);
    CHECK(wheel.count == 1 && !fc_wheel_has(&wheel, 2) && fc_wheel_has(&wheel, 3));
    fc_wheel_remove(&wheel, 3);
    fc_wheel_remove(&wheel, 3);
    CHECK(wheel.count == 0 && due(YEAR) == FC_NIL);
    check_whole();
    end();
}

/* Catches links that are lost, or half set up, when the array moves. */
static void
test_links_grow_while_entries_are_filed(void)
{
    begin();
    end();
    for (uint32_t at = 0; at < PLACES; at++) {
        if (at % 7 == 0) {
            CHECK(fc_wheel_reserve(&wheel, &alloc, at + 7) == FC_OK);
            CHECK(fc_wheel_reserve(&wheel, &alloc, 1) == FC_OK && wheel.room == at + 7);
            CHECK(alloc.bytes == (FC_WHEEL_FIRST + at + 7) * sizeof(fc_wheel_link));
        }
        add(at, (int64_t)at * at * at * TICK, 0);
        check_whole();
    }
    for (uint32_t at = 0; at < PLACES; at++) {
        CHECK(due_now((int64_t)at * at * at * TICK) == at);
    }
    CHECK(wheel.count == 0);
    end();
}

/* Catches a failed growth that has changed something, or cannot be tried again. */
static void
test_failed_growth_changes_nothing(void)
{
    fc_wheel before;
    fc_alloc_init(&alloc);
    alloc.fail_after = 0;
    fc_wheel_init(&wheel);
    CHECK(fc_wheel_reserve(&wheel, &alloc, 0) == FC_OK);
    CHECK(fc_wheel_reserve(&wheel, &alloc, 8) == FC_NOMEM && wheel.links == NULL);
    check_whole();
    begin();
    add(1, TICK, 0);
    before = wheel;
    alloc.fail_after = 0;
    CHECK(fc_wheel_reserve(&wheel, &alloc, PLACES + 1) == FC_NOMEM);
    CHECK(memcmp(&before, &wheel, sizeof wheel) == 0);
    CHECK(fc_wheel_reserve(&wheel, &alloc, PLACES) == FC_OK); /* fits: asks for nothing */
    alloc.fail_after = -1;
    CHECK(fc_wheel_reserve(&wheel, &alloc, FC_NIL) == FC_NOMEM); /* no node would have a number */
    CHECK(memcmp(&before, &wheel, sizeof wheel) == 0);
    CHECK(fc_wheel_reserve(&wheel, &alloc, PLACES + 1) == FC_OK);
    CHECK(due_now(TICK) == 1);
    end();
}

static fc_entry *
many_entries(int64_t deadline, int64_t now)
{
    fc_entry *many = calloc(MANY, sizeof *many);
    CHECK(many != NULL);
    fc_alloc_init(&alloc);
    fc_wheel_init(&wheel);
    CHECK(fc_wheel_reserve(&wheel, &alloc, MANY) == FC_OK);
    for (uint32_t at = 0; at < MANY; at++) {
        many[at].key = many;
        many[at].expiry = deadline;
        fc_wheel_add(&wheel, at, deadline, now);
    }
    CHECK_WHOLE(fc_wheel_check(&wheel, many, MANY));
    return many;
}

/* As a write drains: up to 64 steps; the number of entries that were due. */
static uint32_t
drain_some(const fc_entry *many, int64_t now, uint32_t *steps)
{
    uint32_t found = 0;
    *steps = BUDGET;
    while (fc_wheel_due(&wheel, many, now, steps) != FC_NIL) {
        found++;
    }
    return found;
}

static uint32_t
list_length(uint32_t sentinel)
{
    uint32_t length = 0;
    for (uint32_t node = wheel.links[sentinel].next; node != sentinel;
         node = wheel.links[node].next) {
        length++;
    }
    return length;
}

/* Catches a write that pays for more than its share when a million entries fall due at once. */
static void
test_million_due_at_once_drains_in_bounded_steps(void)
{
    const int64_t deadline = 3000 * TICK, near = deadline - 10 * TICK;
    fc_entry *many = many_entries(deadline, 0);
    uint32_t steps, moved = fc_wheel_bucket(0, fc_wheel_tick(deadline, 0));

    /* Their bucket comes up: each call moves 64 of them down, no more. */
    for (uint32_t call = 1; call <= MANY / BUDGET; call++) {
        CHECK(drain_some(many, near, &steps) == 0 && steps == 0);
        if (call <= 50) {
            CHECK(list_length(moved) == call * BUDGET);
        }
        if (call == MANY / BUDGET / 2) {
            CHECK_WHOLE(fc_wheel_check(&wheel, many, MANY));
        }
    }
    CHECK(drain_some(many, near, &steps) == 0 && steps == BUDGET);
    CHECK(list_length(moved) == MANY);

    for (uint32_t call = 1; call <= MANY / BUDGET; call++) {
        CHECK(drain_some(many, deadline + TICK, &steps) == BUDGET && steps == 0);
        CHECK(wheel.count == MANY - call * BUDGET);
        if (call == MANY / BUDGET / 2) {
            CHECK_WHOLE(fc_wheel_check(&wheel, many, MANY));
        }
    }
    CHECK(drain_some(many, deadline + TICK, &steps) == 0 && steps == BUDGET);
    CHECK_WHOLE(fc_wheel_check(&wheel, many, MANY));
    free(many);
    end();
}

/* Catches an exact drain that walks the present bucket again for each entry: that takes hours. */
static void
test_million_in_the_present_tick_are_walked_once(void)
{
    fc_entry *many = many_entries(5 * TICK + 9, 5 * TICK);
    uint32_t found = 0;
    for (uint32_t at = 0; at < MANY; at += 2) {
        many[at].expiry = 5 * TICK + 11; /* those stay, in front of the others */
    }
    while (fc_wheel_due_now(&wheel, many, 5 * TICK + 10) != FC_NIL) {
        found++;
    }
    for (uint32_t call = 0; call < MANY; call++) { /* and nothing due: no walk */
        CHECK(fc_wheel_due_now(&wheel, many, 5 * TICK + 10) == FC_NIL);
    }
    CHECK(found == MANY / 2 && wheel.count == MANY / 2);
    CHECK_WHOLE(fc_wheel_check(&wheel, many, MANY));
    while (fc_wheel_due_now(&wheel, many, 5 * TICK + 11) != FC_NIL) {
        found++;
    }
    CHECK(found == MANY && wheel.count == 0);
    free(many);
    end();
}

static void
three_filed(void)
{
    fc_wheel_free(&wheel, &alloc);
    begin();
    add(1, 70 * TICK, 0);
    add(2, 70 * TICK, 0);
    add(3, 5 * TICK, 0);
    check_whole();
}

static bool
is_wrong(void)
{
    return fc_wheel_check(&wheel, entries, PLACES) != NULL;
}

/* Catches a check that is blind on one eye: each kind of damage alone. */
static void
test_check_sees_damage(void)
{
    fc_wheel_link *link;
    begin();
    three_filed();
    CHECK(fc_wheel_check(&wheel, entries, 3) != NULL); /* place 3 has never been taken */
    wheel.count--;
    CHECK(is_wrong());
    three_filed();
    wheel.count++;
    CHECK(is_wrong());
    three_filed();
    wheel.occupied[0] = 0;
    CHECK(is_wrong());
    three_filed();
    wheel.occupied[2] |= 1;
    CHECK(is_wrong());
    three_filed();
    wheel.occupied[FC_WHEEL_LEVELS] |= 2; /* no such list */
    CHECK(is_wrong());
    three_filed();
    wheel.cursor[0] = 6; /* past an entry */
    CHECK(is_wrong());
    three_filed();
    wheel.cursor[1] = 5; /* ahead of level 0 */
    CHECK(is_wrong());
    three_filed();
    wheel.wake = 9;
    CHECK(is_wrong());
    three_filed();
    entries[3].expiry = 5 * TICK - 1; /* earlier than its bucket */
    CHECK(is_wrong());
    three_filed();
    entries[2].expiry = 64 * TICK - 1;
    CHECK(is_wrong());
    three_filed();
    entries[2].key = NULL; /* freed, but still filed */
    CHECK(is_wrong());
    three_filed();
    add(4, 0, 0);
    entries[4].expiry = -1; /* earlier than the soonest */
    CHECK(is_wrong());

    for (int damage = 0; damage < 5; damage++) {
        three_filed();
        link = &wheel.links[FC_WHEEL_FIRST];
        switch (damage) {
        case 0:
            link[1].prev = FC_WHEEL_FIRST + 2;
            break;
        case 1:
            link[2].next = FC_WHEEL_FIRST + 1; /* a ring without the sentinel: must end */
            break;
        case 2:
            link[9].next = FC_WHEEL_FIRST + 9; /* filed in no bucket */
            link[9].prev = FC_WHEEL_FIRST + 9;
            break;
        case 3:
            link[9].prev = 0;
            break;
        default:
            link[2].next = 3; /* into another bucket */
        }
        CHECK(is_wrong());
    }
    end();
}

int
main(void)
{
    test_no_steps_change_nothing();
    test_removing_what_is_not_filed_does_nothing();
    test_links_grow_while_entries_are_filed();
    test_failed_growth_changes_nothing();
    test_million_due_at_once_drains_in_bounded_steps();
    test_million_in_the_present_tick_are_walked_once();
    test_check_sees_damage();
    return 0;
}
