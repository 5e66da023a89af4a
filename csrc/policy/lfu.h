/* lfu.h - the least often used goes first; among equals, the least recently used.
 *
 * One list, sorted by number of uses and then by last use, so that its old end is the victim.
 * Entries of equal count are a bucket, which knows its youngest: an entry used once more goes right
 * behind the youngest of the next bucket (Shah, Mitra and Matani, "An O(1) algorithm for
 * implementing the LFU cache eviction scheme", 2010).  Cost: O(1); 24 bytes per entry.
 *
 * Right where the same keys stay popular.  What was popular once stays until it is counted over:
 * counts are exact and never fade; where popularity moves, slru adapts and this does not.
 *
 * Not chosen: a heap (O(log n) per hit); a list of entries in each bucket (the same steps, and no
 * one order); counts of few bits that are halved now and then (not exact, and a pause). */
#ifndef FC_POLICY_LFU_H
#define FC_POLICY_LFU_H

#include "../fc_store.h"

/* Node i is bucket number i, and says in which bucket the entry at place i is.  Bucket 0 is the
 * sentinel of the ring of buckets, and the sentinel of list 0 its youngest.  There are never more
 * buckets than entries, so they cannot run out. */
typedef struct lfu_node {
    uint64_t uses;
    uint32_t youngest;   /* place */
    uint32_t prev, next; /* buckets with fewer and more uses; next chains free ones */
    uint32_t bucket;     /* of the entry at this place */
} lfu_node;

typedef struct lfu_state {
    uint32_t room, free;
    lfu_node nodes[];
} lfu_state;

FC_INLINE lfu_node *
lfu_nodes(const fc_store *s)
{
    return ((lfu_state *)s->state)->nodes;
}

static inline size_t
lfu_bytes(const lfu_state *state)
{
    return state == NULL ? 0 : sizeof *state + state->room * sizeof(lfu_node);
}

static int
lfu_reserve(fc_store *s)
{
    lfu_state *state = s->state;
    uint32_t room = s->slab.room, first = state == NULL ? 0 : state->room;
    if (FC_LIKELY(first >= room)) {
        return FC_OK;
    }
    state = fc_alloc_resize(s->alloc, state, lfu_bytes(state),
                            sizeof *state + room * sizeof(lfu_node));
    if (state == NULL) {
        return FC_NOMEM;
    }
    memset(&state->nodes[first], 0, (room - first) * sizeof(lfu_node));
    if (first == 0) {
        first = 1;
        state->free = 0;
    }
    for (uint32_t b = first; b < room; b++) {
        state->nodes[b].next = state->free;
        state->free = b;
    }
    state->room = room;
    s->state = state;
    return FC_OK;
}

static void
lfu_close(fc_store *s)
{
    fc_alloc_release(s->alloc, s->state, lfu_bytes(s->state));
}

/* A new bucket on the upper side of another. */
FC_INLINE uint32_t
lfu_bucket_add(lfu_state *state, uint32_t below, uint64_t uses)
{
    lfu_node *nodes = state->nodes;
    uint32_t b = state->free, above = nodes[below].next;
    state->free = nodes[b].next;
    nodes[b].uses = uses;
    nodes[b].prev = below;
    nodes[b].next = above;
    nodes[below].next = b;
    nodes[above].prev = b;
    return b;
}

FC_INLINE void
lfu_bucket_remove(lfu_state *state, uint32_t b)
{
    lfu_node *nodes = state->nodes;
    nodes[nodes[b].prev].next = nodes[b].next;
    nodes[nodes[b].next].prev = nodes[b].prev;
    nodes[b].next = state->free;
    state->free = b;
}

static void
lfu_on_add(fc_store *s, uint32_t at, const fc_incoming *in)
{
    lfu_node *nodes = lfu_nodes(s);
    uint64_t uses = in->memo != NULL && in->memo->uses > 1 ? in->memo->uses : 1;
    uint32_t below = 0, b;
    if (uses > 1) { /* from the top: a copy comes in order */
        below = nodes[0].prev;
        while (nodes[below].uses > uses) {
            below = nodes[below].prev; /* ends at the sentinel, which has 0 uses */
        }
    }
    else if (nodes[nodes[0].next].uses == 1) {
        below = nodes[0].next;
    }
    b = nodes[below].uses == uses ? below : lfu_bucket_add(s->state, below, uses);
    fc_store_insert(s, 0, nodes[below].youngest, at);
    nodes[b].youngest = at;
    nodes[at].bucket = b;
}

static void
lfu_on_hit(fc_store *s, uint32_t at)
{
    fc_entry *entries = s->slab.entries;
    lfu_node *nodes = lfu_nodes(s);
    uint32_t b = nodes[at].bucket, above = nodes[b].next;
    uint64_t uses = nodes[b].uses + 1;
    bool listed = nodes[above].uses == uses; /* not the sentinel: that has 0 */
    bool alone = false;
    if (nodes[b].youngest == at) {
        uint32_t older = entries[at].prev;
        alone = nodes[older].bucket != b; /* the list's sentinel is in bucket 0 */
        if (alone && !listed) {
            nodes[b].uses = uses;
            return;
        }
        nodes[b].youngest = older;
    }
    if (listed || nodes[b].youngest != entries[at].prev) {
        uint32_t after = nodes[listed ? above : b].youngest;
        fc_list_remove(entries, at);
        fc_list_insert(entries, after, at);
    }
    if (alone) {
        lfu_bucket_remove(s->state, b);
    }
    if (!listed) {
        above = lfu_bucket_add(s->state, b, uses);
    }
    nodes[above].youngest = at;
    nodes[at].bucket = above;
}

static void
lfu_on_remove(fc_store *s, uint32_t at, fc_cause cause FC_UNUSED)
{
    lfu_node *nodes = lfu_nodes(s);
    uint32_t b = nodes[at].bucket, older = s->slab.entries[at].prev;
    if (nodes[b].youngest == at) {
        nodes[b].youngest = older;
        if (nodes[older].bucket != b) {
            lfu_bucket_remove(s->state, b);
        }
    }
    fc_store_unlink(s, at);
}

static uint32_t
lfu_victim(fc_store *s, const fc_incoming *in)
{
    return fc_store_oldest(s, 0, in);
}

static void
lfu_save(const fc_store *s, uint32_t at, fc_memo *memo)
{
    memo->uses = lfu_nodes(s)[lfu_nodes(s)[at].bucket].uses;
}

static const char *
lfu_check(const fc_store *s)
{
    const lfu_state *state = s->state;
    const lfu_node *nodes = state->nodes;
    uint32_t at = s->slab.entries[0].next, below = 0, buckets = 1;
    if (state->room < s->slab.used) {
        return "lfu: fewer nodes than places";
    }
    if (nodes[0].uses != 0 || nodes[0].youngest != 0 || nodes[0].bucket != 0) {
        return "lfu: the sentinel has changed";
    }
    for (uint32_t b = nodes[0].next; b != 0; below = b, b = nodes[b].next, buckets++) {
        uint32_t last = 0;
        if (buckets == state->room || nodes[b].prev != below ||
            nodes[b].uses <= nodes[below].uses) {
            return "lfu: the buckets are out of order";
        }
        for (; at != 0 && nodes[at].bucket == b; at = s->slab.entries[at].next) {
            last = at;
        }
        if (last == 0 || nodes[b].youngest != last) {
            return "lfu: a bucket is empty, or its youngest another";
        }
    }
    if (at != 0 || nodes[0].prev != below) {
        return "lfu: an entry that is in no bucket in turn";
    }
    for (uint32_t b = state->free; b != 0; b = nodes[b].next) {
        if (buckets++ == state->room) {
            return "lfu: the chain of free buckets is broken";
        }
    }
    return buckets == state->room ? NULL : "lfu: a bucket is neither in use nor free";
}

static const fc_policy FC_LFU = {
    .name = "lfu",
    .on_add = lfu_on_add,
    .on_hit = lfu_on_hit,
    .on_remove = lfu_on_remove,
    .victim = lfu_victim,
    .save = lfu_save,
    .open = lfu_reserve,
    .close = lfu_close,
    .reserve = lfu_reserve,
    .check = lfu_check,
};

#endif
