/* fc_deadline.h - when an entry of a store is over: by a ttl, by lying idle, or by both.
 *
 * An entry's expiry is the earlier of its end (put time + ttl) and its last use + idle.  Whether it
 * is over is decided by comparing that with the clock; the wheel only finds what may go.  A use
 * moves the expiry later and touches nothing else.  Deadlines too far for 64 bits are none. */
#ifndef FC_DEADLINE_H
#define FC_DEADLINE_H

#include "fc_store.h"

#define FC_NEVER INT64_MAX

FC_INLINE int64_t
fc_deadline_after(int64_t now, int64_t span)
{
    return span > FC_NEVER - (now > 0 ? now : 0) ? FC_NEVER : now + span;
}

/* Of an entry that has a deadline. */
FC_INLINE bool
fc_deadline_over(const fc_entry *e, int64_t now)
{
    return e->expiry <= now;
}

/* The end of an entry, apart from idleness. */
FC_INLINE int64_t
fc_deadline_end(const fc_store *s, uint32_t at)
{
    const fc_entry *e = &s->slab.entries[at];
    if (s->idle > 0) {
        return s->ends[at];
    }
    return e->flags & FC_ENTRY_TIMED ? e->expiry : FC_NEVER;
}

/* Under an idle time a use moves the expiry later.  A clock that has gone back moves nothing: the
 * wheel need not know only of what moves later.  Out of line: inlined, it costs a hit with a ttl 9 ns
 * of saved registers. */
FC_NOINLINE static void
fc_deadline_prolong(fc_store *s, uint32_t at, int64_t now)
{
    fc_entry *e = &s->slab.entries[at];
    int64_t lapse = fc_deadline_after(now, s->idle);
    int64_t expiry = lapse < s->ends[at] ? lapse : s->ends[at];
    e->expiry = expiry > e->expiry ? expiry : e->expiry;
}

/* Take note of a use of an entry that has a deadline. */
FC_INLINE void
fc_deadline_use(fc_store *s, uint32_t at, int64_t now)
{
    if (s->idle > 0) {
        fc_deadline_prolong(s, at, now);
    }
}

/* Give an entry an end, or FC_NEVER.  Unless that is FC_NEVER, deadlines are allowed. */
static inline void
fc_deadline_set(fc_store *s, uint32_t at, int64_t end, int64_t now)
{
    fc_entry *e = &s->slab.entries[at];
    int64_t expiry = end;
    bool was = (e->flags & FC_ENTRY_TIMED) != 0;
    if (s->idle > 0) {
        int64_t lapse = fc_deadline_after(now, s->idle);
        s->ends[at] = end;
        expiry = lapse < end ? lapse : end;
    }
    if (was && expiry >= e->expiry && expiry != FC_NEVER) {
        e->expiry = expiry; /* filed where it comes up in time */
        return;
    }
    if (was) {
        fc_wheel_remove(&s->wheel, at);
        e->flags &= (uint8_t)~FC_ENTRY_TIMED;
    }
    if (expiry != FC_NEVER) {
        e->expiry = expiry;
        e->flags |= FC_ENTRY_TIMED;
        fc_wheel_add(&s->wheel, at, expiry, now);
    }
}

/* Let an entry be over at the latest then. */
static inline void
fc_deadline_shorten(fc_store *s, uint32_t at, int64_t expiry, int64_t now)
{
    fc_entry *e = &s->slab.entries[at];
    if (e->flags & FC_ENTRY_TIMED && expiry < e->expiry) {
        fc_wheel_remove(&s->wheel, at);
        e->expiry = expiry;
        fc_wheel_add(&s->wheel, at, expiry, now);
    }
}

#endif
