/* fc_ghost.h - the hashes of keys that have left, in the order in which they did.
 *
 * A store of its own without keys and values: two lists, from old to young, and a table to find a hash
 * and take it out from the middle.  Whoever comes back soon after leaving says something about the
 * queue that it left; two keys with the same 64-bit hash are taken for one, which costs a wrong guess.
 * Cost: O(1); 59 to 80 bytes per entry of the cache, which is how many ghosts there can be.  The owner
 * prepares the ghosts for as many entries as the store has room for. */
#ifndef FC_GHOST_H
#define FC_GHOST_H

#include "fc_store.h"

static void
ghost_on_add(fc_store *g, uint32_t at, const fc_incoming *in)
{
    fc_store_push(g, in->memo->list, at);
}

static void
ghost_on_remove(fc_store *g, uint32_t at, fc_cause cause FC_UNUSED)
{
    fc_store_unlink(g, at);
}

static uint32_t
ghost_victim(fc_store *g, const fc_incoming *in)
{
    uint32_t at = fc_store_oldest(g, 0, in);
    return at != FC_NIL ? at : fc_store_oldest(g, 1, in);
}

static const fc_policy FC_GHOSTS = {
    .name = "ghosts",
    .on_add = ghost_on_add,
    .on_hit = fc_store_skip,
    .on_remove = ghost_on_remove,
    .victim = ghost_victim,
};

/* Ghosts of the entries of a store, weighed as they were. */
static inline int
fc_ghost_init(fc_store *g, const fc_store *s)
{
    /* A bound that is never met: it says that there are weights. */
    const fc_limits limits = {FC_ENTRIES_MAX, s->weighed ? UINT64_MAX - 1 : UINT64_MAX, 0};
    return fc_store_init(g, s->alloc, &FC_GHOSTS, &limits, s->seed);
}

/* Forget the oldest of a list, if there is one. */
static inline void
fc_ghost_forget(fc_store *g, uint32_t list)
{
    uint32_t at = fc_store_oldest(g, list, NULL);
    if (at != FC_NIL) {
        fc_store_remove(g, at, FC_DELETED);
    }
}

/* Remember a key that leaves a store, on a list; of more ghosts than the store has entries one that
 * left before is forgotten. */
static inline void
fc_ghost_push(fc_store *g, const fc_store *s, uint32_t list, uint32_t at)
{
    const fc_memo memo = {.list = (uint8_t)list};
    fc_incoming in = {.key = g,
                      .value = g,
                      .hash = s->slab.entries[at].hash,
                      .weight = fc_store_weight(s, at),
                      .memo = &memo,
                      .spare = FC_NIL};
    while (g->count > 0 && g->count >= s->count) {
        fc_ghost_forget(g, g->list_count[list] > 0 ? list : 1 - list);
    }
    fc_store_add(g, &FC_GHOSTS, fc_table_free_slot(&g->table, fc_store_tag(g, in.hash)), &in);
}

/* Take a key out: the list that it was on, or FC_NIL. */
static inline uint32_t
fc_ghost_take(fc_store *g, int64_t hash)
{
    uint32_t tag = fc_store_tag(g, hash), slot = fc_table_home(&g->table, tag);
    for (; g->table.slots[slot].index != FC_NIL; slot = fc_table_next(&g->table, slot)) {
        uint32_t at = g->table.slots[slot].index;
        if (g->table.slots[slot].tag == tag && g->slab.entries[at].hash == hash) {
            uint32_t list = g->slab.entries[at].list;
            fc_store_remove(g, at, FC_DELETED);
            return list;
        }
    }
    return FC_NIL;
}

#endif
