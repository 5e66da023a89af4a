/* The timer wheel against a plain array of deadlines, and at the edges of time. */
#include "wheel.h"

enum { STEPS = 40000 };

static int64_t
plus(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

/* A length of time of any magnitude up to 2^bits ns, or one on the edge of a tick or a level. */
static int64_t
any_span(uint64_t *state, uint32_t bits)
{
    uint32_t width = random_below(state, bits + 1);
    uint64_t number = (uint64_t)random_below(state, UINT32_MAX) << 32;
    number |= random_below(state, UINT32_MAX);
    if (random_below(state, 4) == 0) {
        return ((int64_t)1 << width) - 1 + random_below(state, 3);
    }
    return (int64_t)(number & (((uint64_t)1 << width) - 1));
}

typedef struct model {
    bool filed[PLACES];
    int64_t late[PLACES]; /* overdue when added: counts from then */
    uint32_t count;
} model;

static void
model_popped(model *m, uint32_t at, int64_t now)
{
    CHECK(at < PLACES && m->filed[at] && !fc_wheel_has(&wheel, at));
    CHECK(entries[at].expiry <= now);
    m->filed[at] = false;
    m->count--;
}

/* Adds, removals, moves, time steps and drains at random; goes_back: the clock may, too. */
static void
random_run(uint64_t state, int64_t start, uint32_t step_bits, bool goes_back)
{
    model m = {.count = 0};
    int64_t now = start;
    begin();
    for (int step = 0; step < STEPS; step++) {
        uint32_t at = random_below(&state, PLACES), steps, before;
        switch (random_below(&state, 8)) {
        case 0:
        case 1:
        case 2:
            if (m.filed[at]) {
                fc_wheel_remove(&wheel, at);
                m.count--;
            }
            else {
                int64_t span = any_span(&state, random_below(&state, 4) == 0 ? 62 : step_bits + 3);
                bool overdue = random_below(&state, 8) == 0;
                add(at, overdue ? now - span / 2 : plus(now, span), now);
                m.late[at] = overdue ? now : INT64_MIN;
                m.count++;
            }
            m.filed[at] = !m.filed[at];
            break;
        case 3: /* without telling the wheel */
            entries[at].expiry = plus(entries[at].expiry, any_span(&state, step_bits + 3));
            break;
        case 4:
            if (goes_back && random_below(&state, 8) == 0) {
                now -= any_span(&state, step_bits);
            }
            else if (random_below(&state, 500) == 0) {
                now = plus(now, any_span(&state, 58));
            }
            else {
                now = plus(now, any_span(&state, step_bits));
            }
            if (now > INT64_MAX / 2) { /* begin again, near the other end */
                for (at = 0; at < PLACES; at++) {
                    fc_wheel_remove(&wheel, at);
                    m.filed[at] = false;
                }
                m.count = 0;
                now = start;
            }
            break;
        case 5:
        case 6:
            before = steps = random_below(&state, 4);
            at = fc_wheel_due(&wheel, entries, now, &steps);
            CHECK(steps <= before);
            if (at != FC_NIL) {
                model_popped(&m, at, now);
                CHECK(steps < before);
            }
            break;
        default:
            if (random_below(&state, 2) == 0) {
                while ((at = due_now(now)) != FC_NIL) {
                    model_popped(&m, at, now);
                }
                for (at = 0; at < PLACES; at++) {
                    CHECK(!m.filed[at] || entries[at].expiry > now);
                }
                break;
            }
            while ((at = due(now)) != FC_NIL) {
                model_popped(&m, at, now);
            }
            for (at = 0; at < PLACES && !goes_back; at++) {
                int64_t from = entries[at].expiry > m.late[at] ? entries[at].expiry : m.late[at];
                CHECK(!m.filed[at] || fc_wheel_tick(from, 0) >= fc_wheel_tick(now, 0));
            }
        }
        check_whole();
        CHECK(wheel.count == m.count);
        for (at = 0; at < PLACES; at++) {
            CHECK(fc_wheel_has(&wheel, at) == m.filed[at]);
        }
    }
    end();
}

/* Catches an entry lost, found early, found late, or found twice, at any pace of time. */
static void
test_random_work_agrees_with_an_array(void)
{
    random_run(20260102, 0, 20, false);
    random_run(20260103, 12345678901234567, 26, false);
    random_run(20260104, 3, 32, false);
    random_run(20260105, -5 * TICK, 22, false);
    random_run(20260106, YEAR, 46, false);
}

/* Catches an entry lost or missed by the exact drain when the clock goes back. */
static void
test_random_work_with_a_clock_that_goes_back(void)
{
    random_run(20260107, 0, 25, true);
    random_run(20260108, YEAR, 31, true);
    random_run(20260109, YEAR, 50, true);
}

/* One entry: in one jump or in halves, with each drain, it comes at its time and not before. */
static void
one_deadline(int64_t now, int64_t deadline)
{
    int64_t passed = fc_wheel_tick(deadline, 0) + 1; /* this tick finds it at the latest */
    for (int halves = 0; halves < 2; halves++) {
        for (int exact = 0; exact < 2; exact++) {
            uint32_t steps = UINT32_MAX;
            add(0, deadline, now);
            for (int64_t left = (deadline - 1 - now) / 2; halves && left > 0; left /= 2) {
                CHECK(fc_wheel_due(&wheel, entries, deadline - 1 - left, &steps) == FC_NIL);
                check_whole();
            }
            CHECK(fc_wheel_due(&wheel, entries, deadline - 1, &steps) == FC_NIL);
            check_whole();
            if (exact || passed > INT64_MAX / TICK) {
                CHECK(due_now(deadline - 1) == FC_NIL);
                CHECK(due_now(deadline) == 0);
            }
            else {
                CHECK(fc_wheel_due(&wheel, entries, passed * TICK, &steps) == 0);
            }
            check_whole();
            CHECK(wheel.count == 0);
            /* Down one level at a time; beyond the last level a round takes one more each. */
            CHECK(UINT32_MAX - steps <= 6 || deadline - now >= (int64_t)1 << 59);
        }
    }
}

/* Catches an edge off by one: spans, and times, one below, at and above each power of two. */
static void
test_deadline_at_every_boundary_comes_at_its_time(void)
{
    const int64_t starts[] = {0, 1, TICK - 1, TICK, 63 * TICK, 64 * TICK - 1, 12345678901234567};
    begin();
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        for (uint32_t bit = 1; bit < 63; bit++) {
            for (int64_t delta = -1; delta <= 1; delta++) {
                int64_t span = ((int64_t)1 << bit) + delta, now = starts[i];
                int64_t edge = (((now >> bit) + 1) << bit) + delta;
                if (plus(now, span) < INT64_MAX) {
                    one_deadline(now, now + span);
                }
                if (edge > now) {
                    one_deadline(now, edge);
                }
            }
        }
        one_deadline(starts[i], INT64_MAX);
        one_deadline(starts[i], INT64_MAX - 1);
    }
    end();
}

/* Catches an overdue entry that is filed a whole round away, or under a negative tick. */
static void
test_past_deadline_is_found_at_once_or_with_the_next_tick(void)
{
    const int64_t pasts[] = {INT64_MIN, -1, 0, 1, YEAR - 64 * TICK, YEAR - TICK, YEAR - 1, YEAR};
    begin();
    for (size_t i = 0; i < sizeof pasts / sizeof *pasts; i++) {
        add(5, pasts[i], YEAR);
        check_whole();
        CHECK(due(YEAR) == FC_NIL);
        CHECK(due_now(YEAR) == 5);
        add(5, pasts[i], YEAR);
        add(6, INT64_MAX, YEAR);
        CHECK(due(YEAR + TICK) == 5 && due(YEAR + TICK) == FC_NIL);
        CHECK(due_now(YEAR + TICK) == FC_NIL);
        check_whole();
        fc_wheel_remove(&wheel, 6);
    }
    end();
}

/* Catches a shift of, or an overflow from, a time before zero. */
static void
test_times_before_zero_are_exact_when_asked(void)
{
    begin();
    add(1, INT64_MIN + 1, INT64_MIN);
    add(2, -TICK, INT64_MIN);
    add(3, -1, INT64_MIN);
    check_whole();
    CHECK(due_now(INT64_MIN) == FC_NIL);
    CHECK(due_now(INT64_MIN + 1) == 1 && due_now(-TICK - 1) == FC_NIL);
    CHECK(due_now(-TICK) == 2 && due_now(-2) == FC_NIL);
    CHECK(due(-1) == FC_NIL && due(0) == FC_NIL && due(TICK - 1) == FC_NIL && due(TICK) == 3);
    end();
}

/* Catches a last tick that overflows when the cursor would pass it. */
static void
test_end_of_time_is_reached(void)
{
    begin();
    add(1, INT64_MAX, 0);
    CHECK(due(INT64_MAX - 2) == FC_NIL);
    add(2, INT64_MAX - 1, INT64_MAX - 2);
    CHECK(due(INT64_MAX) == FC_NIL); /* the last tick never passes */
    check_whole();
    CHECK(due_now(INT64_MAX - 1) == 2 && due_now(INT64_MAX - 1) == FC_NIL);
    CHECK(due_now(INT64_MAX) == 1 && due_now(INT64_MAX) == FC_NIL);
    add(3, INT64_MAX, INT64_MAX);
    CHECK(due_now(INT64_MAX) == 3);
    check_whole();
    end();
}

/* Catches a cursor that walks each tick of a gap (10^10 of them), or files behind itself after. */
static void
test_years_without_work_cost_nothing(void)
{
    begin();
    add(1, YEAR * 250, 0); /* keeps the cursors where they are */
    for (int64_t now = 0; now < 240 * YEAR; now += 6 * YEAR) {
        CHECK(due_now(now) == FC_NIL);
        add(2, now + TICK, now);
        add(3, now + 5 * YEAR, now);
        check_whole();
        CHECK(due_now(now + TICK) == 2 && due_now(now + TICK) == FC_NIL);
        CHECK(due(now + 5 * YEAR - 1) == FC_NIL && due(now + 5 * YEAR + TICK) == 3);
        check_whole();
    }
    CHECK(due(251 * YEAR) == 1);
    add(4, 290 * YEAR + 1, 290 * YEAR); /* and when it was empty */
    CHECK(due(290 * YEAR) == FC_NIL && due_now(290 * YEAR + 1) == 4);
    end();
}

/* Catches an expiry moved later that is taken for due, or that is looked at in every call. */
static void
test_entry_moved_later_is_filed_anew_once(void)
{
    uint32_t steps = 10;
    begin();
    add(1, 10 * TICK, 0);
    entries[1].expiry = 40 * TICK;
    CHECK(fc_wheel_due(&wheel, entries, 20 * TICK, &steps) == FC_NIL && steps == 9);
    CHECK(fc_wheel_due(&wheel, entries, 20 * TICK, &steps) == FC_NIL && steps == 9);
    CHECK(fc_wheel_due(&wheel, entries, 40 * TICK, &steps) == FC_NIL && steps == 9);
    CHECK(fc_wheel_due(&wheel, entries, 41 * TICK, &steps) == 1 && steps == 8);
    check_whole();

    /* Found due, and moved before it was taken. */
    add(1, TICK + 1, TICK);
    add(2, TICK + 1, TICK);
    CHECK(due_now(TICK + 1) == 1 && fc_wheel_has(&wheel, 2));
    entries[2].expiry = 9 * TICK;
    check_whole();
    CHECK(due_now(TICK + 2) == FC_NIL && due_now(9 * TICK - 1) == FC_NIL);
    CHECK(due_now(9 * TICK) == 2);
    end();
}

/* Catches an exact drain that stops early when the caller files, removes or waits within it. */
static void
test_exact_drain_goes_on_after_changes(void)
{
    begin();
    for (uint32_t at = 0; at < 10; at++) {
        add(at, 7 * TICK + at, 7 * TICK);
    }
    CHECK(due_now(7 * TICK + 5) == 0);
    fc_wheel_remove(&wheel, 1); /* one that waits among the overdue */
    fc_wheel_remove(&wheel, 7); /* and one that is not due */
    add(0, 7 * TICK + 2, 7 * TICK + 5);
    check_whole();
    CHECK(due(7 * TICK + 5) == 2); /* the cheap drain takes what the exact one has found */
    CHECK(due_now(7 * TICK + 5) == 3 && due_now(7 * TICK + 5) == 4);
    CHECK(due_now(7 * TICK + 5) == 5 && due_now(7 * TICK + 5) == 0);
    CHECK(due_now(7 * TICK + 5) == FC_NIL && due_now(7 * TICK + 6) == 6);
    CHECK(due(8 * TICK) == 8 && due_now(8 * TICK) == 9 && due_now(8 * TICK) == FC_NIL);
    check_whole();
    end();
}

/* Catches entries that are lost while the clock is behind the cursors, or a drain without end. */
static void
test_clock_that_went_back_loses_nothing(void)
{
    begin();
    add(1, YEAR + 100 * TICK, YEAR);
    CHECK(due(YEAR + 50 * TICK) == FC_NIL);
    add(2, 20 * TICK, 10 * TICK);
    check_whole();
    CHECK(due(15 * TICK) == FC_NIL && due_now(15 * TICK) == FC_NIL);
    CHECK(due(30 * TICK) == FC_NIL && due_now(30 * TICK) == 2);
    add(2, 20 * TICK, 10 * TICK);
    CHECK(due(YEAR + 51 * TICK) == 2 && due_now(YEAR + 100 * TICK - 1) == FC_NIL);
    CHECK(due_now(YEAR + 100 * TICK) == 1);
    add(3, 12 * TICK, 10 * TICK); /* empty: the cursors follow the clock back */
    CHECK(due(12 * TICK) == FC_NIL && due(13 * TICK) == 3);
    check_whole();
    end();
}

int
main(void)
{
    test_random_work_agrees_with_an_array();
    test_random_work_with_a_clock_that_goes_back();
    test_deadline_at_every_boundary_comes_at_its_time();
    test_past_deadline_is_found_at_once_or_with_the_next_tick();
    test_times_before_zero_are_exact_when_asked();
    test_end_of_time_is_reached();
    test_years_without_work_cost_nothing();
    test_entry_moved_later_is_filed_anew_once();
    test_exact_drain_goes_on_after_changes();
    test_clock_that_went_back_loses_nothing();
    return 0;
}
