/* slru.h - what was used twice is kept from what was used once.
 *
 * Two lists from cold to hot: list 0 is on probation, list 1 is protected and has at most four
 * fifths of the cache.  A newcomer is on probation; a use promotes it; what overflows the protected
 * list goes back to the hot end of probation, for another chance.  The coldest on probation goes
 * first (Karedla, Love and Wherry, "Caching strategies to improve disk system performance", 1994).
 * Cost: O(1) amortized, as each demotion pays back a promotion; no bytes.
 *
 * Right where scans pass through a cache of things used again: they leave four fifths alone.  A
 * cache that is a little smaller than a loop over it does as badly as with lru.
 *
 * Not chosen: more than two segments (little more, and each has a share to be tuned); a share that
 * the caller sets (four fifths is what Caffeine and others found good nearly everywhere). */
#ifndef FC_POLICY_SLRU_H
#define FC_POLICY_SLRU_H

#include "../fc_store.h"

static inline bool
slru_over(const fc_store *s)
{
    uint64_t max_weight = s->max_weight;
    if (s->max_entries < FC_ENTRIES_MAX &&
        (uint64_t)s->list_count[1] * 5 > (uint64_t)s->max_entries * 4) {
        return true;
    }
    /* max_weight * 4 / 5, which might not fit 64 bits on the way */
    return max_weight != UINT64_MAX &&
           s->list_weight[1] > max_weight / 5 * 4 + max_weight % 5 * 4 / 5;
}

/* Bring the protected list back to its share, even by what has just come into it. */
static void
slru_demote(fc_store *s)
{
    while (slru_over(s)) {
        uint32_t at = s->slab.entries[1].next;
        fc_store_unlink(s, at);
        fc_store_push(s, 0, at);
    }
}

static void
slru_on_add(fc_store *s, uint32_t at, const fc_incoming *in)
{
    fc_store_push(s, in->memo != NULL && in->memo->list == 1, at);
    slru_demote(s);
}

FC_INLINE void
slru_move(fc_store *s, uint32_t list, uint32_t at)
{
    fc_list_remove(s->slab.entries, at);
    fc_list_push(s->slab.entries, list, at);
    s->slab.entries[at].list = (uint8_t)list;
}

static void
slru_on_hit(fc_store *s, uint32_t at)
{
    fc_entry *entries = s->slab.entries;
    if (entries[at].list == 0 && s->weighed) {
        fc_store_unlink(s, at);
        fc_store_push(s, 1, at);
        slru_demote(s);
    }
    else if (entries[at].list == 0) {
        slru_move(s, 1, at);
        s->list_count[0]--;
        s->list_count[1]++;
        if (slru_over(s)) { /* by one, which may be the same */
            slru_move(s, 0, entries[1].next);
            s->list_count[0]++;
            s->list_count[1]--;
        }
    }
    else if (entries[1].prev != at) {
        fc_list_remove(entries, at);
        fc_list_push(entries, 1, at);
    }
}

/* The weight may have grown. */
static void
slru_on_write(fc_store *s, uint32_t at, const fc_incoming *in FC_UNUSED)
{
    slru_on_hit(s, at);
    slru_demote(s);
}

static void
slru_on_remove(fc_store *s, uint32_t at, fc_cause cause FC_UNUSED)
{
    fc_store_unlink(s, at);
}

static uint32_t
slru_victim(fc_store *s, const fc_incoming *in)
{
    uint32_t at = fc_store_oldest(s, 0, in);
    return at != FC_NIL ? at : fc_store_oldest(s, 1, in);
}

static void
slru_save(const fc_store *s, uint32_t at, fc_memo *memo)
{
    memo->list = s->slab.entries[at].list;
}

static const char *
slru_check(const fc_store *s)
{
    if (s->list_count[0] + s->list_count[1] != s->count) {
        return "slru: an entry that is in neither segment";
    }
    return slru_over(s) ? "slru: the protected list is over its share" : NULL;
}

static const fc_policy FC_SLRU = {
    .name = "slru",
    .on_add = slru_on_add,
    .on_hit = slru_on_hit,
    .on_remove = slru_on_remove,
    .victim = slru_victim,
    .on_write = slru_on_write,
    .save = slru_save,
    .rebound = slru_demote,
    .check = slru_check,
};

#endif
