/* fc_ghost.h - keys that have left: their hashes alone, from the one that left first on.
 *
 * Two lists, so that one search tells on which of them a key is; a hash is on one at most.  What is
 * kept is the whole hash of the key, mixed with the seed of the store by a function that is one to
 * one: keys are taken for one another only where Python gives them the same hash, and no order of
 * ints crowds the buckets.  Cost: O(1); 20 bytes per ghost and up to 8 for its bucket.
 *
 * Not chosen: open addressing (a removal from the middle shifts others, whose links are then to be
 * mended) and hashes of 32 bits (4 bytes less, and over a million misses beside ten thousand ghosts
 * two or three keys that are taken for others). */
#ifndef FC_GHOST_H
#define FC_GHOST_H

#include "fc_alloc.h"
#include "fc_hash.h"

#define FC_GHOST_LISTS 2

/* The first FC_GHOST_LISTS are no ghosts but the sentinels of the lists; no index is 0 but one. */
typedef struct fc_ghost_node {
    uint32_t low, high;       /* of the mixed hash */
    uint32_t prev, next;      /* next chains free nodes */
    uint32_t chain : 31;      /* the next in the same bucket; 0: none */
    uint32_t list : 1;
} fc_ghost_node;

typedef struct fc_ghost {
    fc_ghost_node *nodes;
    uint32_t *heads; /* of the buckets */
    uint32_t room;   /* of nodes, sentinels included */
    uint32_t buckets; /* a power of two, or 0 */
    uint32_t used;   /* nodes ever taken, sentinels included */
    uint32_t free;   /* first node to reuse, or 0 */
    uint32_t count[FC_GHOST_LISTS];
} fc_ghost;

FC_INLINE uint64_t
fc_ghost_mix(int64_t hash, uint64_t seed)
{
    uint64_t state = (uint64_t)hash ^ seed;
    return fc_hash_next(&state);
}

FC_INLINE uint32_t *
fc_ghost_bucket(const fc_ghost *g, uint32_t low)
{
    return &g->heads[low & (g->buckets - 1)];
}

static inline void
fc_ghost_free(fc_ghost *g, fc_alloc *alloc)
{
    fc_alloc_release(alloc, g->nodes, (size_t)g->room * sizeof *g->nodes);
    fc_alloc_release(alloc, g->heads, (size_t)g->buckets * sizeof *g->heads);
    memset(g, 0, sizeof *g);
}

/* Put every ghost into its bucket anew. */
static inline void
fc_ghost_rehash(fc_ghost *g)
{
    memset(g->heads, 0, (size_t)g->buckets * sizeof *g->heads);
    for (uint32_t list = 0; list < FC_GHOST_LISTS; list++) {
        for (uint32_t i = g->nodes[list].next; i != list; i = g->nodes[i].next) {
            uint32_t *head = fc_ghost_bucket(g, g->nodes[i].low);
            g->nodes[i].chain = *head & UINT32_C(0x7FFFFFFF);
            *head = i;
        }
    }
}

/* Make room for so many nodes, which is more than there are sentinels; a zeroed fc_ghost has none.
 * FC_NOMEM: nothing has changed. */
static inline int
fc_ghost_reserve(fc_ghost *g, fc_alloc *alloc, uint32_t room)
{
    fc_ghost_node *nodes;
    uint32_t buckets = g->buckets == 0 ? 1 : g->buckets;
    if (FC_LIKELY(g->room >= room)) {
        return FC_OK;
    }
    while (buckets < room) {
        buckets *= 2;
    }
    if (buckets > g->buckets) {
        uint32_t *heads = fc_alloc_resize(alloc, g->heads, (size_t)g->buckets * sizeof *heads,
                                          (size_t)buckets * sizeof *heads);
        if (heads == NULL) {
            return FC_NOMEM;
        }
        g->heads = heads;
        g->buckets = buckets;
        if (g->room > 0) {
            fc_ghost_rehash(g);
        }
    }
    nodes = fc_alloc_resize(alloc, g->nodes, (size_t)g->room * sizeof *nodes,
                            (size_t)room * sizeof *nodes);
    if (nodes == NULL) {
        return FC_NOMEM; /* more buckets than before are no harm */
    }
    g->nodes = nodes;
    if (g->room == 0) {
        memset(g->heads, 0, (size_t)g->buckets * sizeof *g->heads);
        for (uint32_t list = 0; list < FC_GHOST_LISTS; list++) {
            nodes[list] = (fc_ghost_node){.prev = list, .next = list, .list = list & 1};
        }
        g->used = FC_GHOST_LISTS;
    }
    g->room = room;
    return FC_OK;
}

/* The ghost of a mixed hash, or 0. */
FC_INLINE uint32_t
fc_ghost_find(const fc_ghost *g, uint64_t mixed)
{
    uint32_t i = *fc_ghost_bucket(g, (uint32_t)mixed);
    while (i != 0 &&
           (g->nodes[i].low != (uint32_t)mixed || g->nodes[i].high != (uint32_t)(mixed >> 32))) {
        i = g->nodes[i].chain;
    }
    return i;
}

static inline void
fc_ghost_remove(fc_ghost *g, uint32_t at)
{
    fc_ghost_node *nodes = g->nodes, *n = &nodes[at];
    uint32_t *head = fc_ghost_bucket(g, n->low), i = *head;
    if (i == at) {
        *head = n->chain;
    }
    else {
        while (nodes[i].chain != at) {
            i = nodes[i].chain;
        }
        nodes[i].chain = n->chain;
    }
    nodes[n->prev].next = n->next;
    nodes[n->next].prev = n->prev;
    g->count[n->list]--;
    n->next = g->free;
    g->free = at;
}

/* Forget the one that left first; there is one. */
static inline void
fc_ghost_drop(fc_ghost *g, uint32_t list)
{
    fc_ghost_remove(g, g->nodes[list].next);
}

/* Note a key that leaves; room is there, or made by forgetting. */
static inline void
fc_ghost_push(fc_ghost *g, uint32_t list, uint64_t mixed)
{
    uint32_t at = fc_ghost_find(g, mixed), *head = fc_ghost_bucket(g, (uint32_t)mixed);
    fc_ghost_node *nodes = g->nodes;
    if (FC_UNLIKELY(at != 0)) { /* of another key with the same hash */
        fc_ghost_remove(g, at);
    }
    else if (g->free == 0 && g->used == g->room) {
        fc_ghost_drop(g, g->count[list] > 0 ? list : 1 - list);
    }
    at = g->free;
    if (at != 0) {
        g->free = nodes[at].next;
    }
    else {
        at = g->used++;
    }
    nodes[at] = (fc_ghost_node){.low = (uint32_t)mixed,
                                .high = (uint32_t)(mixed >> 32),
                                .prev = nodes[list].prev,
                                .next = list,
                                .chain = *head & UINT32_C(0x7FFFFFFF),
                                .list = list & 1};
    nodes[nodes[list].prev].next = at;
    nodes[list].prev = at;
    *head = at;
    g->count[list]++;
}

/* Recount everything; NULL, or what is wrong. */
static inline const char *
fc_ghost_check(const fc_ghost *g)
{
    uint32_t listed = 0, chained = 0, unused = 0;
    for (uint32_t list = 0; list < FC_GHOST_LISTS; list++) {
        uint32_t before = list, count = 0;
        for (uint32_t i = g->nodes[list].next; i != list; before = i, i = g->nodes[i].next) {
            uint64_t mixed = (uint64_t)g->nodes[i].high << 32 | g->nodes[i].low;
            if (g->nodes[i].prev != before || g->nodes[i].list != list || ++count > g->used) {
                return "ghost: a list is broken";
            }
            if (fc_ghost_find(g, mixed) != i) {
                return "ghost: a hash that is not found, or is there twice";
            }
        }
        if (g->nodes[list].prev != before || count != g->count[list]) {
            return "ghost: the count of a list is off";
        }
        listed += count;
    }
    for (uint32_t b = 0; b < g->buckets; b++) {
        for (uint32_t i = g->heads[b]; i != 0; i = g->nodes[i].chain) {
            if (++chained > listed) {
                return "ghost: a chain is broken";
            }
        }
    }
    for (uint32_t i = g->free; i != 0; i = g->nodes[i].next) {
        if (++unused > g->used) {
            return "ghost: the chain of free nodes is broken";
        }
    }
    if (chained != listed || FC_GHOST_LISTS + listed + unused != g->used || g->used > g->room) {
        return "ghost: a node is neither in use nor free";
    }
    return NULL;
}

#endif
