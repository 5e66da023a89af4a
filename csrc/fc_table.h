/* fc_table.h - open addressing from a 32-bit tag to a 32-bit index.
 *
 * 8-byte slots {tag, index}, linear probing, deletion by shifting back: no tombstones, so a table
 * never fills up with what was deleted and a probe always ends.  The home slot is the upper bits
 * of the tag, so growing and deleting read slots only, never the entries they point at, and a
 * doubling moves slots in their order.  The caller compares keys; this header knows none.
 *
 * At most a quarter full up to 65,536 slots, three quarters above, where memory is.  At a half twice
 * as many keys are not at home, which no branch predictor foresees: 1.5 x as long for an insert with
 * eviction.  4-byte slots for small tables brought nothing that could be measured.
 * Cost: O(1); 11 to 32 bytes per entry. */
#ifndef FC_TABLE_H
#define FC_TABLE_H

#include "fc_alloc.h"

#define FC_TABLE_BITS_MIN 3
#define FC_TABLE_BITS_MAX 31
#define FC_TABLE_BITS_SPARSE 16 /* up to here a quarter, above three quarters */

typedef struct fc_slot {
    uint32_t tag;
    uint32_t index; /* FC_NIL: free */
} fc_slot;

typedef struct fc_table {
    fc_slot *slots;
    uint32_t mask;
    uint32_t shift; /* 32 - bits: tag >> shift is the home slot */
    uint32_t count;
    uint32_t room; /* entries before it must grow */
} fc_table;

FC_INLINE uint32_t
fc_table_home(const fc_table *t, uint32_t tag)
{
    return tag >> t->shift;
}

FC_INLINE uint32_t
fc_table_next(const fc_table *t, uint32_t at)
{
    return (at + 1) & t->mask;
}

static inline uint32_t
fc_table_room(uint32_t bits)
{
    uint32_t slots = (uint32_t)1 << bits;
    return bits <= FC_TABLE_BITS_SPARSE ? slots / 4 : slots / 4 * 3;
}

static inline size_t
fc_table_bytes(const fc_table *t)
{
    return t->slots == NULL ? 0 : ((size_t)t->mask + 1) * sizeof(fc_slot);
}

/* Put into a free slot, the first from home on. */
FC_INLINE void
fc_table_put(fc_table *t, uint32_t at, uint32_t tag, uint32_t index)
{
    t->slots[at].tag = tag;
    t->slots[at].index = index;
    t->count++;
}

/* That slot. */
static inline uint32_t
fc_table_free_slot(const fc_table *t, uint32_t tag)
{
    uint32_t at = fc_table_home(t, tag);
    while (t->slots[at].index != FC_NIL) {
        at = fc_table_next(t, at);
    }
    return at;
}

/* Find it and put; the caller has reserved room. */
static inline void
fc_table_insert(fc_table *t, uint32_t tag, uint32_t index)
{
    fc_table_put(t, fc_table_free_slot(t, tag), tag, index);
}

static inline int
fc_table_resize(fc_table *t, fc_alloc *alloc, uint32_t bits)
{
    fc_table grown = {.mask = (uint32_t)(((uint64_t)1 << bits) - 1),
                      .shift = 32 - bits,
                      .room = fc_table_room(bits)};
    size_t bytes = ((size_t)grown.mask + 1) * sizeof(fc_slot);
    grown.slots = fc_alloc_resize(alloc, NULL, 0, bytes);
    if (grown.slots == NULL) {
        return FC_NOMEM;
    }
    memset(grown.slots, 0xFF, bytes);
    if (t->slots != NULL) {
        for (uint32_t at = 0; at <= t->mask; at++) {
            if (t->slots[at].index != FC_NIL) {
                fc_table_insert(&grown, t->slots[at].tag, t->slots[at].index);
            }
        }
        fc_alloc_release(alloc, t->slots, fc_table_bytes(t));
    }
    *t = grown;
    return FC_OK;
}

static inline int
fc_table_init(fc_table *t, fc_alloc *alloc)
{
    memset(t, 0, sizeof *t);
    return fc_table_resize(t, alloc, FC_TABLE_BITS_MIN);
}

static inline void
fc_table_free(fc_table *t, fc_alloc *alloc)
{
    fc_alloc_release(alloc, t->slots, fc_table_bytes(t));
    memset(t, 0, sizeof *t);
}

/* Make room for one more entry. */
static inline int
fc_table_reserve(fc_table *t, fc_alloc *alloc)
{
    uint32_t bits = 32 - t->shift;
    if (FC_LIKELY(t->count < t->room)) {
        return FC_OK;
    }
    return bits == FC_TABLE_BITS_MAX ? FC_NOMEM : fc_table_resize(t, alloc, bits + 1);
}

/* The slot that holds this index, which must be there. */
static inline uint32_t
fc_table_locate(const fc_table *t, uint32_t tag, uint32_t index)
{
    uint32_t at = fc_table_home(t, tag);
    while (t->slots[at].index != index) {
        at = fc_table_next(t, at);
    }
    return at;
}

/* Free a slot, and shift back what had to pass it. */
static inline void
fc_table_remove(fc_table *t, uint32_t hole)
{
    uint32_t at = hole;
    for (;;) {
        fc_slot slot;
        at = fc_table_next(t, at);
        slot = t->slots[at];
        if (slot.index == FC_NIL) {
            break;
        }
        /* It may move only as far back as its home. */
        if (((at - fc_table_home(t, slot.tag)) & t->mask) >= ((at - hole) & t->mask)) {
            t->slots[hole] = slot;
            hole = at;
        }
    }
    t->slots[hole].index = FC_NIL;
    t->count--;
}

/* Recount; NULL, or what is wrong. */
static inline const char *
fc_table_check(const fc_table *t)
{
    uint32_t count = 0;
    for (uint32_t at = 0; at <= t->mask; at++) {
        fc_slot slot = t->slots[at];
        if (slot.index == FC_NIL) {
            continue;
        }
        count++;
        for (uint32_t i = fc_table_home(t, slot.tag); i != at; i = fc_table_next(t, i)) {
            if (t->slots[i].index == FC_NIL) {
                return "table: a free slot between an entry and its home";
            }
        }
    }
    if (count != t->count) {
        return "table: the count is off";
    }
    return t->count > t->room ? "table: fuller than it may be" : NULL;
}

#endif
