/* fc_entry.h - the entries, in one array that grows; freed places are reused last in, first out.
 *
 * 48 bytes an entry.  What only few entries need lives in side arrays, not here.  The first
 * FC_LISTS places are no entries but the sentinels of the policy's lists (fc_list.h), so that
 * linking has no special case at either end.  An index stays valid until its entry is removed;
 * a pointer only until the array grows.
 *
 * Not chosen: one allocation per entry (16 bytes of malloc's own, a cache miss per link, and
 * nothing to copy or map as a whole). */
#ifndef FC_ENTRY_H
#define FC_ENTRY_H

#include "fc_alloc.h"

#define FC_LISTS 4

/* What a hit reads and writes comes first: the other fields may lie in the next cache line. */
typedef struct fc_entry {
    void *key;           /* owned; NULL in a free place */
    void *value;         /* owned */
    uint32_t prev, next; /* towards the old and the young end; next chains free places */
    uint32_t serial;     /* tells an entry from a later one in the same place */
    uint8_t list;        /* which of the policy's lists it is on */
    uint8_t bits;        /* the policy's own */
    uint8_t flags;       /* FC_ENTRY_... */
    uint8_t spare;
    int64_t hash;
    int64_t expiry; /* with FC_ENTRY_TIMED: when it is over */
} fc_entry;

_Static_assert(sizeof(fc_entry) == 48 || sizeof(void *) != 8, "an entry is 48 bytes");

enum {
    FC_ENTRY_CONTAINER = 1, /* key or value may be part of a reference cycle */
    FC_ENTRY_TIMED = 2,     /* it has a deadline, and is filed in the wheel */
    FC_ENTRY_SAMPLED = 4    /* the policy watches it closely */
};

typedef struct fc_slab {
    fc_entry *entries;
    uint32_t room;
    uint32_t used; /* places ever taken, sentinels included */
    uint32_t free; /* first place to reuse, or FC_NIL */
} fc_slab;

static inline int
fc_slab_resize(fc_slab *s, fc_alloc *alloc, uint32_t room)
{
    fc_entry *entries = fc_alloc_resize(alloc, s->entries, (size_t)s->room * sizeof(fc_entry),
                                        (size_t)room * sizeof(fc_entry));
    if (entries == NULL) {
        return FC_NOMEM;
    }
    s->entries = entries;
    s->room = room;
    return FC_OK;
}

static inline int
fc_slab_init(fc_slab *s, fc_alloc *alloc)
{
    memset(s, 0, sizeof *s);
    s->free = FC_NIL;
    if (fc_slab_resize(s, alloc, 2 * FC_LISTS) != FC_OK) {
        return FC_NOMEM;
    }
    memset(s->entries, 0, FC_LISTS * sizeof(fc_entry));
    for (uint32_t list = 0; list < FC_LISTS; list++) {
        s->entries[list].prev = s->entries[list].next = list;
    }
    s->used = FC_LISTS;
    return FC_OK;
}

static inline void
fc_slab_free(fc_slab *s, fc_alloc *alloc)
{
    fc_alloc_release(alloc, s->entries, (size_t)s->room * sizeof(fc_entry));
    memset(s, 0, sizeof *s);
}

/* Make sure one place is free; never more places than max_entries will ever need. */
static inline int
fc_slab_reserve(fc_slab *s, fc_alloc *alloc, uint32_t max_entries)
{
    uint64_t room;
    if (FC_LIKELY(s->free != FC_NIL || s->used < s->room)) {
        return FC_OK;
    }
    room = (uint64_t)s->room * 2;
    if (room > (uint64_t)max_entries + FC_LISTS) {
        room = (uint64_t)max_entries + FC_LISTS;
    }
    return room > s->room ? fc_slab_resize(s, alloc, (uint32_t)room) : FC_NOMEM;
}

/* Take a place; the caller has reserved it and fills in the rest. */
static inline uint32_t
fc_slab_take(fc_slab *s)
{
    uint32_t at = s->free;
    if (at != FC_NIL) {
        s->free = s->entries[at].next;
    }
    else {
        at = s->used++;
    }
    return at;
}

static inline void
fc_slab_give(fc_slab *s, uint32_t at)
{
    fc_entry *e = &s->entries[at];
    e->key = e->value = NULL;
    e->next = s->free;
    s->free = at;
}

/* Whether the entry that had this serial is still in this place. */
static inline bool
fc_slab_holds(const fc_slab *s, uint32_t at, uint32_t serial)
{
    return at < s->used && s->entries[at].serial == serial && s->entries[at].key != NULL;
}

/* The next entry in use at or after a place, or FC_NIL. */
static inline uint32_t
fc_slab_live(const fc_slab *s, uint32_t at)
{
    while (at < s->used && s->entries[at].key == NULL) {
        at++;
    }
    return at < s->used ? at : FC_NIL;
}

#endif
