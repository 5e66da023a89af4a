/* fc_exits.h - what has left a store and is not yet told and released.
 *
 * Releasing a key or value, or calling a listener, runs foreign code, which may use the very same
 * store.  So whatever leaves is queued here, and let go when the structures are whole again.
 * Room is reserved before the first change; a push cannot fail.  The first few need no heap. */
#ifndef FC_EXITS_H
#define FC_EXITS_H

#include "fc_alloc.h"
#include "fc_policy.h"

#define FC_EXITS_FEW 2

typedef struct fc_exit {
    void *key; /* owned; NULL where nobody will be told */
    void *value;
    fc_cause cause;
} fc_exit;

typedef struct fc_exits {
    fc_exit *items;
    size_t count, room;
    bool audience; /* somebody will be told: keep the keys */
    fc_exit few[FC_EXITS_FEW];
} fc_exits;

FC_INLINE void
fc_exits_init(fc_exits *x, bool audience)
{
    x->items = x->few;
    x->count = 0;
    x->room = FC_EXITS_FEW;
    x->audience = audience;
}

static inline void
fc_exits_free(fc_exits *x, fc_alloc *alloc)
{
    if (x->items != x->few) {
        fc_alloc_release(alloc, x->items, x->room * sizeof(fc_exit));
        x->items = x->few;
        x->room = FC_EXITS_FEW;
    }
}

FC_COLD static int
fc_exits_grow(fc_exits *x, fc_alloc *alloc, size_t more)
{
    size_t room = x->room * 2 > x->count + more ? x->room * 2 : x->count + more;
    bool few = x->items == x->few;
    fc_exit *items = fc_alloc_resize(alloc, few ? NULL : x->items,
                                     few ? 0 : x->room * sizeof(fc_exit), room * sizeof(fc_exit));
    if (items == NULL) {
        return FC_NOMEM;
    }
    if (few) {
        memcpy(items, x->few, x->count * sizeof(fc_exit));
    }
    x->items = items;
    x->room = room;
    return FC_OK;
}

FC_INLINE int
fc_exits_reserve(fc_exits *x, fc_alloc *alloc, size_t more)
{
    return FC_LIKELY(x->room - x->count >= more) ? FC_OK : fc_exits_grow(x, alloc, more);
}

FC_INLINE void
fc_exits_push(fc_exits *x, void *key, void *value, fc_cause cause)
{
    fc_exit *item = &x->items[x->count++];
    item->key = key;
    item->value = value;
    item->cause = cause;
}

#endif
