/* size.h - what is cheap to make again for the room that it takes goes first.
 *
 * GreedyDual-Size-Frequency (Cherkasova, "Improving WWW proxies performance with
 * Greedy-Dual-Size-Frequency caching policy", 1998): rank = age + uses * (cost / weight), where age
 * is the rank of what was evicted last, so that what is not used any more grows old.  The smallest
 * rank goes first; among equals, the least recently used.
 *
 * A hit only notes a new rank, which is never smaller.  A binary heap holds each entry under the
 * rank that it had when it was filed; where that is out of date at the top, the entry is filed anew
 * and sinks, until the top is what it says.  Cost: a hit O(1); add, overwrite, remove and evict
 * O(log n), an eviction more by O(log n) for each entry at the top that was used since it was
 * filed.  56 bytes per entry, and its weight.
 *
 * Right where weights or costs differ much: many small things for one big one means more hits per
 * byte.  Where all are alike this is lfu that ages, at a higher price.
 *
 * Not chosen: a heap that is in order after each hit (O(log n), many cache lines); ranks rounded to
 * powers of two with a list for each (O(1), but not exact). */
#ifndef FC_POLICY_SIZE_H
#define FC_POLICY_SIZE_H

#include "../fc_store.h"

typedef struct size_standing {
    double rank;
    uint64_t tick; /* of the last use: no two entries have the same */
} size_standing;

typedef struct size_place {
    size_standing now;
    uint64_t uses;
    double cost;
} size_place;

typedef struct size_node {
    size_standing filed; /* never above the present one */
    uint32_t at;
} size_node;

/* The entries are on no list; their prev says where in the heap they are. */
typedef struct size_state {
    size_place *places; /* by place */
    size_node *heap;
    uint32_t places_room, heap_room;
    uint32_t count;
    uint64_t tick;
    double age;
} size_state;

static int
size_open(fc_store *s)
{
    s->state = fc_alloc_resize(s->alloc, NULL, 0, sizeof(size_state));
    if (s->state == NULL) {
        return FC_NOMEM;
    }
    memset(s->state, 0, sizeof(size_state));
    return FC_OK;
}

static void
size_close(fc_store *s)
{
    size_state *z = s->state;
    fc_alloc_release(s->alloc, z->places, z->places_room * sizeof *z->places);
    fc_alloc_release(s->alloc, z->heap, z->heap_room * sizeof *z->heap);
    fc_alloc_release(s->alloc, z, sizeof *z);
}

static int
size_reserve(fc_store *s)
{
    size_state *z = s->state;
    uint32_t room = s->slab.room;
    if (FC_UNLIKELY(z->places_room < room)) {
        size_place *places = fc_alloc_resize(s->alloc, z->places, z->places_room * sizeof *places,
                                             room * sizeof *places);
        if (places == NULL) {
            return FC_NOMEM;
        }
        z->places = places;
        z->places_room = room;
    }
    if (FC_UNLIKELY(z->heap_room < room)) {
        size_node *heap = fc_alloc_resize(s->alloc, z->heap, z->heap_room * sizeof *heap,
                                          room * sizeof *heap);
        if (heap == NULL) {
            return FC_NOMEM;
        }
        z->heap = heap;
        z->heap_room = room;
    }
    return FC_OK;
}

FC_INLINE bool
size_before(const size_standing *a, const size_standing *b)
{
    return a->rank < b->rank || (a->rank == b->rank && a->tick < b->tick);
}

FC_INLINE void
size_file(fc_store *s, uint32_t i, const size_node *node)
{
    size_state *z = s->state;
    z->heap[i] = *node;
    s->slab.entries[node->at].prev = i;
}

/* Move the hole at i to where a node belongs, and fill it. */
static void
size_rise(fc_store *s, uint32_t i, size_node node)
{
    size_state *z = s->state;
    while (i > 0 && size_before(&node.filed, &z->heap[(i - 1) / 2].filed)) {
        size_file(s, i, &z->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    size_file(s, i, &node);
}

static void
size_sink(fc_store *s, uint32_t i, size_node node)
{
    size_state *z = s->state;
    for (;;) {
        uint32_t child = 2 * i + 1; /* no more than 2^31 entries */
        if (child + 1 < z->count && size_before(&z->heap[child + 1].filed, &z->heap[child].filed)) {
            child++;
        }
        if (child >= z->count || !size_before(&z->heap[child].filed, &node.filed)) {
            break;
        }
        size_file(s, i, &z->heap[child]);
        i = child;
    }
    size_file(s, i, &node);
}

static void
size_move(fc_store *s, uint32_t i, size_node node)
{
    const size_state *z = s->state;
    if (i > 0 && size_before(&node.filed, &z->heap[(i - 1) / 2].filed)) {
        size_rise(s, i, node);
    }
    else {
        size_sink(s, i, node);
    }
}

/* File what is at i anew until that is up to date: then it is the first of all below it. */
static void
size_freshen(fc_store *s, uint32_t i)
{
    size_state *z = s->state;
    while (size_before(&z->heap[i].filed, &z->places[z->heap[i].at].now)) {
        size_node node = z->heap[i];
        node.filed = z->places[node.at].now;
        size_sink(s, i, node);
    }
}

/* Give an entry the rank of this moment; true: it may have to rise. */
FC_INLINE bool
size_touch(fc_store *s, uint32_t at)
{
    size_state *z = s->state;
    size_place *p = &z->places[at];
    uint64_t weight = fc_store_weight(s, at);
    double before = p->now.rank;
    /* Rounded before the sum, on every machine: not one fused step. */
    volatile double gain = (double)p->uses * (p->cost / (double)(weight > 0 ? weight : 1));
    p->now.rank = z->age + gain;
    p->now.tick = z->tick++;
    return p->now.rank < before;
}

static void
size_on_add(fc_store *s, uint32_t at, const fc_incoming *in)
{
    size_state *z = s->state;
    size_place *p = &z->places[at];
    const fc_memo *memo = in->memo != NULL && in->memo->uses > 0 ? in->memo : NULL;
    size_node node = {.at = at};
    p->uses = memo != NULL ? memo->uses : 1;
    p->cost = memo != NULL ? memo->cost : in->cost;
    p->now.rank = 0;
    size_touch(s, at);
    if (memo != NULL) {
        p->now.rank = memo->rank;
        z->age = memo->age > z->age ? memo->age : z->age;
    }
    node.filed = p->now;
    size_rise(s, z->count++, node);
}

static void
size_refile(fc_store *s, uint32_t at)
{
    const size_state *z = s->state;
    const size_node node = {z->places[at].now, at};
    size_move(s, s->slab.entries[at].prev, node);
}

/* Only where the rank was taken over from a store of other weights does a hit lower it. */
static void
size_on_hit(fc_store *s, uint32_t at)
{
    size_state *z = s->state;
    z->places[at].uses++;
    if (FC_UNLIKELY(size_touch(s, at))) {
        size_refile(s, at);
    }
}

static void
size_on_write(fc_store *s, uint32_t at, const fc_incoming *in)
{
    size_state *z = s->state;
    z->places[at].cost = in->cost;
    size_on_hit(s, at);
}

static void
size_on_remove(fc_store *s, uint32_t at, fc_cause cause)
{
    size_state *z = s->state;
    uint32_t i = s->slab.entries[at].prev;
    if (cause == FC_EVICTED && z->places[at].now.rank > z->age) {
        z->age = z->places[at].now.rank;
    }
    z->count--;
    if (i < z->count) {
        size_move(s, i, z->heap[z->count]);
    }
}

/* Choosing files what is out of date anew, and changes nothing else. */
static uint32_t
size_victim(fc_store *s, const fc_incoming *in)
{
    const size_state *z = s->state;
    uint32_t first = 1;
    size_freshen(s, 0);
    if (in == NULL || z->heap[0].at != in->spare) {
        return z->heap[0].at;
    }
    /* The next one is at the top of one of the two halves. */
    size_freshen(s, 1);
    if (z->count > 2) {
        size_freshen(s, 2);
        first += size_before(&z->heap[2].filed, &z->heap[1].filed);
    }
    return z->heap[first].at;
}

static void
size_save(const fc_store *s, uint32_t at, fc_memo *memo)
{
    const size_state *z = s->state;
    memo->uses = z->places[at].uses;
    memo->rank = z->places[at].now.rank;
    memo->cost = z->places[at].cost;
    memo->age = z->age;
}

/* Sink in a heap of places whose top goes last. */
static void
size_order_sink(const size_place *places, uint32_t *out, uint32_t count, uint32_t i)
{
    uint32_t at = out[i];
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child + 1 < count &&
            size_before(&places[out[child]].now, &places[out[child + 1]].now)) {
            child++;
        }
        if (child >= count || !size_before(&places[at].now, &places[out[child]].now)) {
            break;
        }
        out[i] = out[child];
        i = child;
    }
    out[i] = at;
}

/* Heapsort: in place, and no input is a bad one. */
static void
size_order(const fc_store *s, uint32_t *out)
{
    const size_state *z = s->state;
    for (uint32_t i = 0; i < z->count; i++) {
        out[i] = z->heap[i].at;
    }
    for (uint32_t i = z->count / 2; i-- > 0;) {
        size_order_sink(z->places, out, z->count, i);
    }
    for (uint32_t last = z->count; last-- > 1;) {
        uint32_t at = out[last];
        out[last] = out[0];
        out[0] = at;
        size_order_sink(z->places, out, last, 0);
    }
}

static const char *
size_check(const fc_store *s)
{
    const size_state *z = s->state;
    if (z->count != s->count || (z->count > 0 && z->places_room < s->slab.used)) {
        return "size: the count is off";
    }
    for (uint32_t i = 0; i < z->count; i++) {
        const size_node *node = &z->heap[i];
        const size_place *p = &z->places[node->at];
        if (node->at >= s->slab.used || s->slab.entries[node->at].key == NULL) {
            return "size: a free place is in the heap";
        }
        if (s->slab.entries[node->at].prev != i) {
            return "size: an entry that is elsewhere in the heap";
        }
        if (i > 0 && !size_before(&z->heap[(i - 1) / 2].filed, &node->filed)) {
            return "size: the heap is out of order";
        }
        if (size_before(&p->now, &node->filed)) {
            return "size: an entry is filed above its rank";
        }
        if (p->uses == 0 || p->now.tick >= z->tick) {
            return "size: an entry was never used, or will be";
        }
    }
    return NULL;
}

static const fc_policy FC_SIZE = {
    .name = "size",
    .on_add = size_on_add,
    .on_hit = size_on_hit,
    .on_remove = size_on_remove,
    .victim = size_victim,
    .on_write = size_on_write,
    .save = size_save,
    .open = size_open,
    .close = size_close,
    .reserve = size_reserve,
    .order = size_order,
    .check = size_check,
    .weighs = true,
    .unlisted = true,
};

#endif
