/* lru.h - the least recently used goes first.
 *
 * One list from cold to hot; a hit moves its entry to the hot end.  O(1), no bits.  Right where
 * what was asked for lately is asked for again; a single long scan empties it. */
#ifndef FC_POLICY_LRU_H
#define FC_POLICY_LRU_H

#include "../fc_store.h"

static void
lru_on_add(fc_store *s, uint32_t at, const fc_incoming *in FC_UNUSED)
{
    fc_store_push(s, 0, at);
}

static void
lru_on_hit(fc_store *s, uint32_t at)
{
    fc_entry *entries = s->slab.entries;
    if (entries[0].prev != at) {
        fc_list_remove(entries, at);
        fc_list_push(entries, 0, at);
    }
}

static void
lru_on_remove(fc_store *s, uint32_t at, fc_cause cause FC_UNUSED)
{
    fc_store_unlink(s, at);
}

static uint32_t
lru_victim(fc_store *s, const fc_incoming *in)
{
    return fc_store_oldest(s, 0, in);
}

static const fc_policy FC_LRU = {
    .name = "lru",
    .on_add = lru_on_add,
    .on_hit = lru_on_hit,
    .on_remove = lru_on_remove,
    .victim = lru_victim,
};

#endif
