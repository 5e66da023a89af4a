/* lfu.h - the least often used goes first; among equals, the least recently used.
 *
 * One list, sorted by number of uses and then by last use, so that its old end is the victim.
 * Entries of equal count are a bucket, which knows its youngest: an entry used once more goes right
 * behind the youngest of the next bucket (Shah, Mitra and Matani, "An O(1) algorithm for
 * implementing the LFU cache eviction scheme", 2010).  Cost: O(1); 28 bytes per entry.
 *
 * Right where the same keys stay popular.  What was popular once stays until it is counted over:
 * counts are exact and never fade; where popularity moves, slru adapts and this does not.
 *
 * Not chosen: a heap (O(log n) per hit); a list of entries in each bucket (the same steps, and no
 * one order); counts of few bits that are halved now and then (not exact, and a pause). */
#ifndef FC_POLICY_LFU_H
#define FC_POLICY_LFU_H

#include "../fc_store.h"

/* Bucket 0 is the sentinel of the ring of buckets, and the sentinel of list 0 its youngest.  There are
 * never more buckets than entries, so they cannot run out. */
typedef struct lfu_node {
    uint64_t uses;
    uint32_t youngest;   /* place */
    uint32_t prev, next; /* buckets with fewer and more uses; next chains free ones */
} lfu_node;

typedef struct lfu_state {
    uint32_t room, free;
    lfu_node *nodes;
    uint32_t *bucket; /* of the entry at a place */
} lfu_state;

FC_INLINE lfu_node *
lfu_nodes(const fc_store *s)
{
    return ((lfu_state *)s->state)->nodes;
}

FC_INLINE uint32_t *
lfu_bucket(const fc_store *s)
{
    return ((lfu_state *)s->state)->bucket;
}

static int
lfu_reserve(fc_store *s)
{
    lfu_state *state = s->state;
    uint32_t room = s->slab.room, first = state->room;
    lfu_node *nodes;
    uint32_t *bucket;
    if (FC_LIKELY(first >= room)) {
        return FC_OK;
    }
    bucket = fc_alloc_resize(s->alloc, NULL, 0, room * sizeof *bucket);
    nodes = bucket == NULL ? NULL
                           : fc_alloc_resize(s->alloc, state->nodes, first * sizeof *nodes,
                                             room * sizeof *nodes);
    if (nodes == NULL) {
        fc_alloc_release(s->alloc, bucket, room * sizeof *bucket);
        return FC_NOMEM;
    }
    memset(bucket, 0, room * sizeof *bucket);
    if (first > 0) {
        memcpy(bucket, state->bucket, first * sizeof *bucket);
    }
    fc_alloc_release(s->alloc, state->bucket, first * sizeof *bucket);
    memset(&nodes[first], 0, (room - first) * sizeof *nodes);
    for (uint32_t b = first == 0 ? 1 : first; b < room; b++) {
        nodes[b].next = state->free;
        state->free = b;
    }
    state->nodes = nodes;
    state->bucket = bucket;
    state->room = room;
    return FC_OK;
}

static void
lfu_close(fc_store *s)
{
    lfu_state *state = s->state;
    fc_alloc_release(s->alloc, state->nodes, state->room * sizeof *state->nodes);
    fc_alloc_release(s->alloc, state->bucket, state->room * sizeof *state->bucket);
    fc_alloc_release(s->alloc, state, sizeof *state);
}

static int
lfu_open(fc_store *s)
{
    s->state = fc_alloc_resize(s->alloc, NULL, 0, sizeof(lfu_state));
    if (s->state == NULL) {
        return FC_NOMEM;
    }
    memset(s->state, 0, sizeof(lfu_state));
    if (lfu_reserve(s) != FC_OK) {
        lfu_close(s);
        s->state = NULL;
        return FC_NOMEM;
    }
    return FC_OK;
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
    uint32_t *bucket = lfu_bucket(s);
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
    bucket[at] = b;
}

static void
lfu_on_hit(fc_store *s, uint32_t at)
{
    fc_entry *entries = s->slab.entries;
    lfu_node *nodes = lfu_nodes(s);
    uint32_t *bucket = lfu_bucket(s);
    uint32_t b = bucket[at], above = nodes[b].next;
    uint64_t uses = nodes[b].uses + 1;
    bool listed = nodes[above].uses == uses; /* not the sentinel: that has 0 */
    bool alone = false;
    if (nodes[b].youngest == at) {
        uint32_t older = entries[at].prev;
        alone = bucket[older] != b; /* the list's sentinel is in bucket 0 */
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
    bucket[at] = above;
}

static void
lfu_on_remove(fc_store *s, uint32_t at, fc_cause cause FC_UNUSED)
{
    lfu_node *nodes = lfu_nodes(s);
    uint32_t *bucket = lfu_bucket(s);
    uint32_t b = bucket[at], older = s->slab.entries[at].prev;
    if (nodes[b].youngest == at) {
        nodes[b].youngest = older;
        if (bucket[older] != b) {
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
    memo->uses = lfu_nodes(s)[lfu_bucket(s)[at]].uses;
}

static const char *
lfu_check(const fc_store *s)
{
    const lfu_state *state = s->state;
    const lfu_node *nodes = state->nodes;
    const uint32_t *bucket = state->bucket;
    uint32_t at = s->slab.entries[0].next, below = 0, buckets = 1;
    if (state->room < s->slab.used) {
        return "lfu: fewer nodes than places";
    }
    if (nodes[0].uses != 0 || nodes[0].youngest != 0 || bucket[0] != 0) {
        return "lfu: the sentinel has changed";
    }
    for (uint32_t b = nodes[0].next; b != 0; below = b, b = nodes[b].next, buckets++) {
        uint32_t last = 0;
        if (buckets == state->room || nodes[b].prev != below ||
            nodes[b].uses <= nodes[below].uses) {
            return "lfu: the buckets are out of order";
        }
        for (; at != 0 && bucket[at] == b; at = s->slab.entries[at].next) {
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
    .open = lfu_open,
    .close = lfu_close,
    .reserve = lfu_reserve,
    .check = lfu_check,
};

#endif
