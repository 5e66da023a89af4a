/* Deadlines of a store's entries: ends, idle times, both, and what they leave behind. */
#include "fc_deadline.h"

#include "policy/lru.h"

#include "requests.h"

enum { MANY = 60 };

static fc_alloc alloc;
static fc_store s;

static void
begin(int64_t idle)
{
    const fc_limits limits = {.max_entries = MANY, .max_weight = UINT64_MAX, .idle = idle};
    fc_alloc_init(&alloc);
    CHECK(fc_store_init(&s, &alloc, &FC_LRU, &limits, 1) == FC_OK);
}

static void
end(void)
{
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(alloc.bytes == 0);
}

/* Put in a key with an end. */
static uint32_t
put(uint32_t k, int64_t end_time, int64_t now)
{
    const fc_incoming in = incoming_of(k, 1);
    uint32_t at;
    CHECK(end_time == FC_NEVER || fc_store_allow_deadlines(&s) == FC_OK);
    CHECK(put_in(&s, &in, &at) == FC_OK);
    fc_deadline_set(&s, at, end_time, now);
    CHECK_WHOLE(fc_store_check(&s));
    return at;
}

static void
set(uint32_t at, int64_t end_time, int64_t now)
{
    fc_deadline_set(&s, at, end_time, now);
    CHECK_WHOLE(fc_store_check(&s));
}

static void
use(uint32_t at, int64_t now)
{
    if (s.slab.entries[at].flags & FC_ENTRY_TIMED) {
        fc_deadline_use(&s, at, now);
    }
    CHECK_WHOLE(fc_store_check(&s));
}

/* When an entry is over, or FC_NEVER. */
static int64_t
expiry(uint32_t at)
{
    const fc_entry *e = &s.slab.entries[at];
    if (!(e->flags & FC_ENTRY_TIMED)) {
        return FC_NEVER;
    }
    CHECK(fc_deadline_over(e, e->expiry) && !fc_deadline_over(e, e->expiry - 1));
    return e->expiry;
}

/* Remove all that is over; the number of them. */
static uint32_t
expire(int64_t now)
{
    uint32_t at, found = 0;
    while ((at = fc_wheel_due_now(&s.wheel, s.slab.entries, now)) != FC_NIL) {
        CHECK(fc_deadline_over(&s.slab.entries[at], now));
        fc_store_remove(&s, at, FC_EXPIRED);
        CHECK_WHOLE(fc_store_check(&s));
        found++;
    }
    return found;
}

/* Catches an end that is lost, kept, or filed late when it moves to either side. */
static void
test_end_is_set_moved_and_taken_away(void)
{
    uint32_t at;
    begin(0);
    at = put(1, 1000, 0);
    put(2, FC_NEVER, 0);
    CHECK(expiry(at) == 1000 && fc_deadline_end(&s, at) == 1000);
    CHECK(fc_deadline_end(&s, place_of(&s, 2)) == FC_NEVER && s.ends == NULL);
    use(at, 900);
    CHECK(expiry(at) == 1000);
    CHECK(expire(999) == 0);
    set(at, 2000, 999);
    CHECK(expire(1999) == 0);
    set(at, 1999, 1998);
    CHECK(s.wheel.count == 1);
    set(at, FC_NEVER, 1998);
    CHECK(expiry(at) == FC_NEVER && s.wheel.count == 0 && fc_deadline_end(&s, at) == FC_NEVER);
    CHECK(expire(5000) == 0);
    set(at, FC_NEVER, 5000);
    set(at, 4000, 5000); /* over when it comes */
    CHECK(expire(5000) == 1 && place_of(&s, 1) == FC_NIL && s.expirations == 1);
    CHECK(s.count == 1);
    end();
}

/* Catches an idle time that a use does not move, or that goes on past the end. */
static void
test_idle_moves_with_uses_up_to_the_end(void)
{
    uint32_t lazy, both;
    begin(100);
    lazy = put(1, FC_NEVER, 0);
    both = put(2, 250, 0);
    CHECK(expiry(lazy) == 100 && fc_deadline_end(&s, lazy) == FC_NEVER);
    CHECK(expiry(both) == 100 && fc_deadline_end(&s, both) == 250);
    use(lazy, 90);
    use(both, 90);
    CHECK(expiry(lazy) == 190 && expiry(both) == 190 && expire(189) == 0);
    use(lazy, 180);
    use(both, 180);
    CHECK(expiry(lazy) == 280 && expiry(both) == 250 && fc_deadline_end(&s, both) == 250);
    CHECK(expire(249) == 0 && expire(250) == 1 && place_of(&s, 2) == FC_NIL);
    CHECK(expire(279) == 0);
    set(lazy, 290, 279); /* the idle time goes on from now */
    CHECK(expiry(lazy) == 290);
    set(lazy, FC_NEVER, 280);
    CHECK(expiry(lazy) == 380 && s.wheel.count == 1);
    set(lazy, 300, 280);
    CHECK(expiry(lazy) == 300 && expire(300) == 1 && s.count == 0);
    end();
}

/* Catches sums that wrap: what lasts too long would be over at once. */
static void
test_times_too_far_are_never(void)
{
    uint32_t at;
    CHECK(fc_deadline_after(0, FC_NEVER) == FC_NEVER);
    CHECK(fc_deadline_after(1, FC_NEVER) == FC_NEVER);
    CHECK(fc_deadline_after(1, FC_NEVER - 1) == FC_NEVER);
    CHECK(fc_deadline_after(1, FC_NEVER - 2) == FC_NEVER - 1);
    CHECK(fc_deadline_after(FC_NEVER, 1) == FC_NEVER);
    CHECK(fc_deadline_after(-5, FC_NEVER) == FC_NEVER - 5);
    CHECK(fc_deadline_after(INT64_MIN, FC_NEVER) == -1 && fc_deadline_after(-5, 3) == -2);
    begin(FC_NEVER - 10);
    at = put(1, FC_NEVER, 5);
    CHECK(expiry(at) == FC_NEVER - 5);
    use(at, 20); /* lies idle for ever from here on, and may stay filed */
    CHECK(!fc_deadline_over(&s.slab.entries[at], FC_NEVER - 1));
    set(at, FC_NEVER, 20);
    CHECK(s.wheel.count == 0 && !(s.slab.entries[at].flags & FC_ENTRY_TIMED));
    put(2, FC_NEVER, 20);
    CHECK(s.wheel.count == 0);
    set(at, FC_NEVER - 1, 20);
    CHECK(expire(FC_NEVER - 2) == 0 && expire(FC_NEVER - 1) == 1);
    end();
}

/* Catches an entry that leaves but stays filed, for any cause, or hands on its deadline. */
static void
test_what_leaves_is_filed_no_more(void)
{
    for (fc_cause cause = FC_EVICTED; cause <= FC_CLEARED; cause++) {
        const fc_incoming in = incoming_of(7, 1);
        uint32_t at;
        begin(cause % 2 ? 100 : 0);
        put(1, 50, 0);
        at = put(2, 60, 0);
        fc_store_remove(&s, place_of(&s, 1), cause);
        CHECK(s.wheel.count == 1);
        CHECK_WHOLE(fc_store_check(&s));
        fc_store_replace(&s, s.policy, at, fc_table_free_slot(&s.table, fc_store_tag(&s, 7)), &in);
        CHECK(s.wheel.count == 0 && !(s.slab.entries[at].flags & FC_ENTRY_TIMED));
        CHECK_WHOLE(fc_store_check(&s));
        set(at, FC_NEVER, 0);
        CHECK(expiry(at) == (cause % 2 ? 100 : FC_NEVER) && fc_deadline_end(&s, at) == FC_NEVER);
        put(8, 200, 0); /* in the place of the first */
        CHECK(expire(199) == (cause % 2 ? 2 : 0) && expire(200) == (cause % 2 ? 0 : 1));
        end();
    }
}

/* Catches entries that came before deadlines were allowed and have no room for one. */
static void
test_deadlines_may_come_late(void)
{
    size_t bytes;
    begin(0);
    for (uint32_t k = 0; k < 30; k++) {
        put(k, FC_NEVER, 0);
    }
    CHECK(s.wheel.links == NULL && s.ends == NULL && !s.timed);
    bytes = alloc.bytes;
    alloc.fail_after = 0;
    CHECK(fc_store_allow_deadlines(&s) == FC_NOMEM && !s.timed && alloc.bytes == bytes);
    CHECK_WHOLE(fc_store_check(&s));
    CHECK(request(&s, 30) == 0); /* entries without one still come in */
    alloc.fail_after = -1;
    CHECK(fc_store_allow_deadlines(&s) == FC_OK && s.timed && alloc.bytes > bytes);
    bytes = alloc.bytes;
    alloc.fail_after = 0;
    CHECK(fc_store_allow_deadlines(&s) == FC_OK && alloc.bytes == bytes);
    alloc.fail_after = -1;
    for (uint32_t k = 0; k < 30; k++) {
        set(place_of(&s, k), 100 + k, 0);
    }
    for (uint32_t k = 31; k < MANY; k++) { /* and where the slab grows after it */
        put(k, 100 + k, 0);
    }
    CHECK(s.wheel.count == MANY - 1);
    CHECK(expire(100 + 29) == 30 && expire(100 + MANY) == MANY - 31 && ORDER_IS(&s, 30));
    end();
}

/* Catches a side array that fails after something has changed, at each allocation there is. */
static void
test_failing_memory_leaves_the_store_whole(int64_t idle)
{
    bool failed = true;
    for (int64_t n = 0; failed; n++) {
        const fc_limits limits = {.max_entries = MANY, .max_weight = 1000, .idle = idle};
        fc_alloc_init(&alloc);
        alloc.fail_after = n;
        failed = fc_store_init(&s, &alloc, &FC_LRU, &limits, 1) != FC_OK;
        for (uint32_t k = 0; k < MANY && !failed; k++) {
            const fc_incoming in = incoming_of(k, 1);
            uint32_t at = FC_NIL, count = s.count, filed = s.wheel.count;
            failed = (k > 3 && fc_store_allow_deadlines(&s) != FC_OK) ||
                     put_in(&s, &in, &at) != FC_OK;
            if (!failed) {
                set(at, k > 3 ? 100 + k : FC_NEVER, 0);
                continue;
            }
            CHECK(at == FC_NIL && s.count == count && s.wheel.count == filed);
            CHECK_WHOLE(fc_store_check(&s));
            for (uint32_t old = 4; old < k; old++) { /* moving and expiring take no memory */
                set(place_of(&s, old), 300 - old, 50);
            }
            CHECK(expire(300) == (k < 4 ? 0 : k - 4));
            alloc.fail_after = -1;
            put(k, 1000, 300);
        }
        fc_store_free(&s);
        CHECK(alloc.bytes == 0);
    }
}

/* Catches any step after which what is over differs from an array of ends and last uses. */
static void
test_random_work_agrees_with_an_array(int64_t idle)
{
    int64_t ends[MANY] = {0}, used[MANY] = {0}, now = 0;
    bool in[MANY] = {false};
    uint64_t state = 99 + (uint64_t)idle;
    begin(idle);
    for (int step = 0; step < 20000; step++) {
        uint32_t k = random_below(&state, MANY), at = place_of(&s, k), over = 0;
        int64_t end_time = now + (int64_t)random_below(&state, 900) * 7000000;
        end_time = random_below(&state, 4) == 0 ? FC_NEVER : end_time;
        switch (random_below(&state, 5)) {
        case 0:
            now += (int64_t)random_below(&state, 300) * 1000000;
            for (uint32_t i = 0; i < MANY; i++) {
                if (in[i] && (ends[i] <= now || (idle > 0 && used[i] + idle <= now))) {
                    in[i] = false;
                    over++;
                }
            }
            CHECK(expire(now) == over);
            break;
        case 1:
            if (at != FC_NIL) {
                use(at, now);
                used[k] = now;
            }
            break;
        case 2:
            if (at != FC_NIL) {
                fc_store_remove(&s, at, FC_DELETED);
                in[k] = false;
            }
            break;
        default:
            if (at == FC_NIL) {
                put(k, end_time, now);
            }
            else {
                CHECK(end_time == FC_NEVER || fc_store_allow_deadlines(&s) == FC_OK);
                set(at, end_time, now);
            }
            in[k] = true;
            ends[k] = end_time;
            used[k] = now;
        }
        for (k = 0; k < MANY; k++) {
            CHECK((place_of(&s, k) != FC_NIL) == in[k]);
            CHECK(!in[k] || fc_deadline_end(&s, place_of(&s, k)) == ends[k]);
        }
        CHECK_WHOLE(fc_store_check(&s));
    }
    end();
}

/* Catches a check that believes the flags. */
static void
test_check_sees_damage(void)
{
    uint32_t at;
    begin(100);
    at = put(1, 50, 0);
    s.slab.entries[at].flags = 0;
    CHECK(fc_store_check(&s) != NULL);
    s.slab.entries[at].flags = FC_ENTRY_TIMED;
    s.slab.entries[at].expiry = 51;
    CHECK(fc_store_check(&s) != NULL);
    s.slab.entries[at].expiry = 50;
    fc_wheel_remove(&s.wheel, at);
    CHECK(fc_store_check(&s) != NULL);
    fc_wheel_add(&s.wheel, at, 50, 0);
    end();
}

int
main(void)
{
    test_end_is_set_moved_and_taken_away();
    test_idle_moves_with_uses_up_to_the_end();
    test_times_too_far_are_never();
    test_what_leaves_is_filed_no_more();
    test_deadlines_may_come_late();
    test_failing_memory_leaves_the_store_whole(0);
    test_failing_memory_leaves_the_store_whole(1000);
    test_random_work_agrees_with_an_array(0);
    test_random_work_agrees_with_an_array(1500000000);
    test_check_sees_damage();
    return 0;
}
