/* wheel.h - what the tests of the timer wheel share: one wheel over a few entries. */
#ifndef WHEEL_H
#define WHEEL_H

#include "fc_wheel.h"

#include "check.h"

enum { PLACES = 64 };

#define TICK ((int64_t)1 << FC_WHEEL_TICK_BITS)
#define YEAR ((int64_t)365 * 24 * 3600 * 1000000000)

static fc_alloc alloc;
static fc_wheel wheel;
static fc_entry entries[PLACES];

/* An empty wheel with a node for each of our places, which all look taken. */
static inline void
begin(void)
{
    fc_alloc_init(&alloc);
    fc_wheel_init(&wheel);
    CHECK(fc_wheel_reserve(&wheel, &alloc, PLACES) == FC_OK);
    memset(entries, 0, sizeof entries);
    for (uint32_t at = 0; at < PLACES; at++) {
        entries[at].key = entries;
    }
}

static inline void
end(void)
{
    fc_wheel_free(&wheel, &alloc);
    CHECK(alloc.bytes == 0);
}

static inline void
add(uint32_t at, int64_t deadline, int64_t now)
{
    entries[at].expiry = deadline;
    fc_wheel_add(&wheel, at, deadline, now);
}

/* All steps that anybody may need; FC_NIL: the wheel is through. */
static inline uint32_t
due(int64_t now)
{
    uint32_t steps = UINT32_MAX;
    return fc_wheel_due(&wheel, entries, now, &steps);
}

static inline uint32_t
due_now(int64_t now)
{
    return fc_wheel_due_now(&wheel, entries, now);
}

static inline void
check_whole(void)
{
    CHECK_WHOLE(fc_wheel_check(&wheel, entries, PLACES));
}

#endif
