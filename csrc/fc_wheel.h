/* fc_wheel.h - which entries fall due: a hierarchical timer wheel over the places of the slab.
 *
 * Six levels of 64 buckets.  A tick of level 0 is 2^24 ns (16.8 ms), a tick of each further level
 * is 64 of the one below; the last level reaches 36 years, and what lies beyond waits in its
 * farthest bucket.  An entry is filed in the lowest level that reaches its deadline.  When a bucket
 * comes up, its entries move to lower levels, until one is due: Varghese and Lauck, "Hashed and
 * hierarchical timing wheels" (SOSP 1987), scheme 7.
 *
 * The wheel only finds; entries[at].expiry decides.  That may move later without telling the
 * wheel: when the bucket comes up and the entry is not due, it is filed anew.  One that moves
 * earlier must be removed and added.  An entry whose expiry no longer counts must be removed.
 *
 * Guarantee: once fc_wheel_due has returned FC_NIL with steps left, whatever is filed and due sits
 * in the bucket of the present tick.  So fc_wheel_due finds an entry at the latest when the clock
 * reaches the tick after its deadline (after its adding, when it was overdue already): 16.8 ms.
 * fc_wheel_due_now is exact: once it has returned FC_NIL, nothing that is filed has expiry <= now.
 * While the clock is behind a time that it has shown, fc_wheel_due may find nothing.
 *
 * Cost: add and remove O(1); an entry is filed anew at most 5 times for each deadline that it is
 * found to have; a gap of years costs O(levels).  8 bytes per place of the slab, in an array that a
 * cache without deadlines never allocates, and 3 KiB.
 *
 * Not chosen: a heap (O(log n) cache misses per change); a sorted list for each lifetime (any
 * number of them); one flat wheel (coarse, or as many buckets as ticks in the longest lifetime); a
 * wheel that never moves entries down (late by up to an eighth of the lifetime). */
#ifndef FC_WHEEL_H
#define FC_WHEEL_H

#include "fc_entry.h"

#define FC_WHEEL_TICK_BITS 24
#define FC_WHEEL_LEVEL_BITS 6
#define FC_WHEEL_LEVELS 6
#define FC_WHEEL_BUCKETS 64 /* per level: one bit each of a word */

/* In front of the places' nodes lie the sentinels: one per bucket, and one for what
 * fc_wheel_due_now found due before its bucket came up. */
#define FC_WHEEL_OVERDUE ((uint32_t)(FC_WHEEL_LEVELS * FC_WHEEL_BUCKETS))
#define FC_WHEEL_FIRST (FC_WHEEL_OVERDUE + 1) /* node of place 0 */

typedef struct fc_wheel_link {
    uint32_t prev, next; /* nodes; FC_NIL: the place is not filed */
} fc_wheel_link;

typedef struct fc_wheel {
    fc_wheel_link *links; /* NULL until something is reserved */
    uint32_t room;        /* places that have a node */
    uint32_t count;       /* places filed */
    int64_t wake;         /* tick of level 0; before it nothing comes up */
    int64_t soonest;      /* no expiry in the bucket at cursor[0] is earlier */
    int64_t cursor[FC_WHEEL_LEVELS];        /* next tick to process */
    uint64_t occupied[FC_WHEEL_LEVELS + 1]; /* a bit per sentinel: its list is not empty */
} fc_wheel;

static inline void
fc_wheel_init(fc_wheel *w)
{
    memset(w, 0, sizeof *w);
}

static inline void
fc_wheel_free(fc_wheel *w, fc_alloc *alloc)
{
    if (w->links != NULL) {
        fc_alloc_release(alloc, w->links,
                         ((size_t)FC_WHEEL_FIRST + w->room) * sizeof(fc_wheel_link));
    }
    fc_wheel_init(w);
}

static inline int
fc_wheel_resize(fc_wheel *w, fc_alloc *alloc, uint32_t room)
{
    size_t old_nodes = w->links == NULL ? 0 : (size_t)FC_WHEEL_FIRST + w->room;
    size_t nodes = (size_t)FC_WHEEL_FIRST + room;
    fc_wheel_link *links;
    if (room >= FC_NIL - FC_WHEEL_FIRST) {
        return FC_NOMEM;
    }
    links = fc_alloc_resize(alloc, w->links, old_nodes * sizeof *links, nodes * sizeof *links);
    if (links == NULL) {
        return FC_NOMEM;
    }
    memset(links + old_nodes, 0xFF, (nodes - old_nodes) * sizeof *links);
    for (uint32_t node = (uint32_t)old_nodes; node < FC_WHEEL_FIRST; node++) {
        links[node].prev = links[node].next = node;
    }
    w->links = links;
    w->room = room;
    return FC_OK;
}

/* Give the first `room` places of the slab a node each; what is filed stays filed. */
FC_INLINE int
fc_wheel_reserve(fc_wheel *w, fc_alloc *alloc, uint32_t room)
{
    return FC_LIKELY(room <= w->room) ? FC_OK : fc_wheel_resize(w, alloc, room);
}

/* Times before zero count as zero. */
FC_INLINE int64_t
fc_wheel_tick(int64_t time, uint32_t level)
{
    return (time < 0 ? 0 : time) >> (FC_WHEEL_TICK_BITS + level * FC_WHEEL_LEVEL_BITS);
}

FC_INLINE uint32_t
fc_wheel_bucket(uint32_t level, int64_t tick)
{
    return level * FC_WHEEL_BUCKETS + (uint32_t)(tick & (FC_WHEEL_BUCKETS - 1));
}

/* A sentinel's bit in the word of its level. */
FC_INLINE uint64_t
fc_wheel_bit(uint32_t sentinel)
{
    return (uint64_t)1 << (sentinel % FC_WHEEL_BUCKETS);
}

/* Append a place that is on no list to that of a sentinel. */
static inline void
fc_wheel_link_in(fc_wheel *w, uint32_t sentinel, uint32_t at)
{
    uint32_t node = at + FC_WHEEL_FIRST, last = w->links[sentinel].prev;
    w->links[node].prev = last;
    w->links[node].next = sentinel;
    w->links[last].next = node;
    w->links[sentinel].prev = node;
    w->occupied[sentinel / FC_WHEEL_BUCKETS] |= fc_wheel_bit(sentinel);
    w->count++;
}

FC_INLINE bool
fc_wheel_has(const fc_wheel *w, uint32_t at)
{
    return at < w->room && w->links[at + FC_WHEEL_FIRST].next != FC_NIL;
}

/* Unfile a place; nothing happens when it is not filed. */
static inline void
fc_wheel_remove(fc_wheel *w, uint32_t at)
{
    fc_wheel_link *link;
    if (!fc_wheel_has(w, at)) {
        return;
    }
    link = &w->links[at + FC_WHEEL_FIRST];
    w->links[link->prev].next = link->next;
    w->links[link->next].prev = link->prev;
    if (link->prev == link->next) { /* the sentinel: it was the only one */
        w->occupied[link->next / FC_WHEEL_BUCKETS] &= ~fc_wheel_bit(link->next);
    }
    link->prev = link->next = FC_NIL;
    w->count--;
}

/* File in the lowest level that reaches the deadline: ticks [cursor, cursor + 64), so that a bucket
 * never holds two rounds, however far behind the cursors are.  Only on level 0 can the tick lie
 * before the cursor, and counts as the cursor: a deadline out of reach there is at least
 * cursor[0] + 64 >= cursor[1] << 6, and so on upwards (see fc_wheel_come_up). */
static inline void
fc_wheel_file(fc_wheel *w, uint32_t at, int64_t deadline)
{
    uint32_t level = 0;
    int64_t tick = fc_wheel_tick(deadline, 0);
    while (tick - w->cursor[level] >= FC_WHEEL_BUCKETS) {
        if (level == FC_WHEEL_LEVELS - 1) {
            tick = w->cursor[level] + FC_WHEEL_BUCKETS - 1;
            break;
        }
        tick = fc_wheel_tick(deadline, ++level);
    }
    if (level == 0 && tick <= w->cursor[0]) {
        tick = w->cursor[0];
        w->soonest = deadline < w->soonest ? deadline : w->soonest;
    }
    fc_wheel_link_in(w, fc_wheel_bucket(level, tick), at);
}

/* File a place, which has a node and is not filed, under a deadline no later than its expiry. */
static inline void
fc_wheel_add(fc_wheel *w, uint32_t at, int64_t deadline, int64_t now)
{
    if (w->count == 0) {
        for (uint32_t level = 0; level < FC_WHEEL_LEVELS; level++) {
            w->cursor[level] = fc_wheel_tick(now, level) + (level > 0);
        }
        w->wake = w->cursor[0] + 1;
    }
    fc_wheel_file(w, at, deadline);
}

/* The lowest set bit of a word that is not zero. */
FC_INLINE uint32_t
fc_wheel_lowest(uint64_t word)
{
#if defined(__GNUC__) || defined(__clang__)
    return (uint32_t)__builtin_ctzll(word);
#else
    uint32_t bit = 0;
    while ((word >> bit & 1) == 0) {
        bit++;
    }
    return bit;
#endif
}

/* The first tick from the cursor on whose bucket is not empty, or INT64_MAX. */
static inline int64_t
fc_wheel_occupied_from(const fc_wheel *w, uint32_t level)
{
    uint64_t word = w->occupied[level];
    uint32_t turn = (uint32_t)(w->cursor[level] & (FC_WHEEL_BUCKETS - 1));
    if (word == 0) {
        return INT64_MAX;
    }
    word = word >> turn | word << ((FC_WHEEL_BUCKETS - turn) & (FC_WHEEL_BUCKETS - 1));
    return w->cursor[level] + fc_wheel_lowest(word);
}

/* Move the cursors on, to now or to the first bucket that comes up and is not empty: that one's
 * sentinel, or FC_NIL.
 *
 * Level 0 gives up ticks that have passed, the levels above also the present one.  Lower levels go
 * first, so cursor[l] >= (cursor[l + 1] - 1) << 6 always, and when a bucket of level l comes up,
 * every lower level is through up to now.  Hence filing anew cannot loop: an entry that is not due
 * has a tick >= that of now.  Where that is equal, the next lower level reaches the entry, down to
 * level 0, which keeps the present tick; so it lands in a bucket that does not come up at this
 * now.  A clock that went back only makes the cursors go ahead of now. */
static inline uint32_t
fc_wheel_come_up(fc_wheel *w, int64_t now)
{
    if (w->occupied[FC_WHEEL_LEVELS] != 0) {
        return FC_WHEEL_OVERDUE;
    }
    for (uint32_t level = 0; level < FC_WHEEL_LEVELS; level++) {
        int64_t end = fc_wheel_tick(now, level) + (level > 0);
        int64_t tick = fc_wheel_occupied_from(w, level);
        int64_t reach = tick < end ? tick : end;
        if (reach > w->cursor[level]) {
            w->cursor[level] = reach;
            w->soonest = level == 0 ? INT64_MIN : w->soonest; /* another bucket: unknown */
        }
        if (tick < end) {
            return fc_wheel_bucket(level, tick);
        }
    }
    w->wake = fc_wheel_tick(now, 0) + 1;
    return FC_NIL;
}

static inline uint32_t
fc_wheel_pop(fc_wheel *w, const fc_entry *entries, int64_t now, uint32_t *steps)
{
    while (*steps > 0) {
        uint32_t sentinel = fc_wheel_come_up(w, now), at;
        if (sentinel == FC_NIL) {
            return FC_NIL;
        }
        at = w->links[sentinel].next - FC_WHEEL_FIRST;
        fc_wheel_remove(w, at);
        --*steps;
        if (entries[at].expiry <= now) {
            return at;
        }
        fc_wheel_file(w, at, entries[at].expiry);
    }
    return FC_NIL;
}

/* Whether nothing can have come up by now, which is cheap to ask. */
FC_INLINE bool
fc_wheel_asleep(const fc_wheel *w, int64_t now)
{
    return fc_wheel_tick(now, 0) < w->wake;
}

/* Unfile and return the next place that is due, or FC_NIL when none is left or the steps are used
 * up.  Each entry that is taken out of a bucket, due or filed anew, takes one of the steps, so a
 * caller bounds its work however many fall due at once, and goes on another time. */
FC_INLINE uint32_t
fc_wheel_due(fc_wheel *w, const fc_entry *entries, int64_t now, uint32_t *steps)
{
    return FC_LIKELY(fc_wheel_asleep(w, now)) ? FC_NIL : fc_wheel_pop(w, entries, now, steps);
}

/* The same without bound, and exact: also what is due in the bucket of the present tick.  That is
 * walked at most once per reading of the clock, and only when something in it may be due. */
static inline uint32_t
fc_wheel_due_now(fc_wheel *w, const fc_entry *entries, int64_t now)
{
    uint32_t steps = UINT32_MAX, sentinel, next;
    uint32_t at = fc_wheel_due(w, entries, now, &steps);
    if (at != FC_NIL || w->count == 0 || w->soonest > now) {
        return at;
    }
    sentinel = fc_wheel_bucket(0, w->cursor[0]);
    w->soonest = INT64_MAX;
    for (uint32_t node = w->links[sentinel].next; node != sentinel; node = next) {
        int64_t expiry = entries[node - FC_WHEEL_FIRST].expiry;
        next = w->links[node].next;
        if (expiry <= now) {
            fc_wheel_remove(w, node - FC_WHEEL_FIRST);
            fc_wheel_link_in(w, FC_WHEEL_OVERDUE, node - FC_WHEEL_FIRST);
            w->wake = 0;
        }
        else if (expiry < w->soonest) {
            w->soonest = expiry;
        }
    }
    return fc_wheel_due(w, entries, now, &steps);
}

/* Walk the list of a sentinel; NULL, or what is wrong. */
static inline const char *
fc_wheel_check_list(const fc_wheel *w, const fc_entry *entries, uint32_t used, uint32_t sentinel,
                    uint32_t *count)
{
    uint32_t before = sentinel, level = sentinel / FC_WHEEL_BUCKETS;
    uint32_t bit = sentinel % FC_WHEEL_BUCKETS;
    for (uint32_t node = w->links[sentinel].next; node != sentinel; node = w->links[node].next) {
        uint32_t at = node - FC_WHEEL_FIRST;
        if (node < FC_WHEEL_FIRST || at >= w->room || w->links[node].prev != before) {
            return "wheel: a broken link";
        }
        if (at >= used || entries[at].key == NULL) {
            return "wheel: a free place is filed";
        }
        if ((*count)++ == w->count) {
            return "wheel: more entries than the count";
        }
        if (sentinel != FC_WHEEL_OVERDUE) {
            int64_t behind = (int64_t)((bit - (uint64_t)w->cursor[level]) % FC_WHEEL_BUCKETS);
            bool at_cursor = level == 0 && behind == 0;
            if (at_cursor && entries[at].expiry < w->soonest) {
                return "wheel: an entry is due sooner than the soonest";
            }
            if (!at_cursor &&
                fc_wheel_tick(entries[at].expiry, level) < w->cursor[level] + behind) {
                return "wheel: a bucket comes up after a deadline in it";
            }
        }
        before = node;
    }
    if (w->links[sentinel].prev != before) {
        return "wheel: a broken link";
    }
    return (w->occupied[level] >> bit & 1) == (before != sentinel) ? NULL : "wheel: a bit is wrong";
}

/* Recount; NULL, or what is wrong.  The places below `used` have been taken at some time. */
static inline const char *
fc_wheel_check(const fc_wheel *w, const fc_entry *entries, uint32_t used)
{
    uint32_t listed = 0, filed = 0;
    if (w->links == NULL) {
        return w->room == 0 && w->count == 0 ? NULL : "wheel: places but no links";
    }
    for (uint32_t sentinel = 0; sentinel < FC_WHEEL_FIRST; sentinel++) {
        const char *wrong = fc_wheel_check_list(w, entries, used, sentinel, &listed);
        if (wrong != NULL) {
            return wrong;
        }
    }
    for (uint32_t at = 0; at < w->room; at++) {
        const fc_wheel_link *link = &w->links[at + FC_WHEEL_FIRST];
        if ((link->prev == FC_NIL) != (link->next == FC_NIL)) {
            return "wheel: half a link";
        }
        filed += fc_wheel_has(w, at);
    }
    if (listed != w->count || filed != w->count) {
        return "wheel: the count is off";
    }
    for (uint32_t level = 0; level < FC_WHEEL_LEVELS; level++) {
        int64_t cursor = w->cursor[level];
        if (cursor < 0 || (level > 0 && w->cursor[level - 1] < (cursor - 1) * FC_WHEEL_BUCKETS)) {
            return "wheel: a cursor is ahead of the one below";
        }
        /* Through up to the tick before wake: wake is one past it. */
        if (w->wake > 0 &&
            cursor < ((w->wake - 1) >> (level * FC_WHEEL_LEVEL_BITS)) + (level > 0)) {
            return "wheel: asleep while something comes up";
        }
    }
    if (w->occupied[FC_WHEEL_LEVELS] > 1) {
        return "wheel: a bit is wrong";
    }
    return w->wake > 0 && w->occupied[FC_WHEEL_LEVELS] != 0 ? "wheel: asleep with entries overdue"
                                                            : NULL;
}

#endif
