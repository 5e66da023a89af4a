/* fc_opt.h - a cache that knows the future: Belady's optimum.
 *
 * What goes is what is asked for again last (Belady, "A study of replacement algorithms for a
 * virtual-storage computer", 1966).  Where all objects count 1 no cache that stores what it has
 * missed has more hits.  By bytes the optimum is NP-hard; there this is a heuristic: of each
 * class of sizes between two powers of two the last one is looked at, the one with the greatest size
 * times distance goes, and a newcomer may be that one.
 *
 * What is never asked for again lies on a pile and goes first.  The others are in one heap for each
 * class, and a node is a time and a key in one word.  Cost: O(log entries) a request; 28 bytes a key
 * of the trace. */
#ifndef FC_OPT_H
#define FC_OPT_H

#include "fc_alloc.h"

#define FC_OPT_CLASSES 64

typedef struct fc_opt_heap {
    uint64_t *nodes; /* when again << 32 | key; the greatest first */
    uint32_t count, room;
} fc_opt_heap;

typedef struct fc_opt {
    uint32_t keys;
    uint64_t max_entries, max_weight;
    bool weighed; /* there is a bound by weight */
    uint64_t count, weight, stored; /* now; and how often one was stored that was absent */
    fc_opt_heap heaps[FC_OPT_CLASSES];
    uint64_t filled;   /* a bit for each heap that is not empty */
    fc_opt_heap pile;  /* of keys that never come again */
    uint32_t *place;   /* by key: in its heap, or FC_NIL */
    uint64_t *weights; /* by key; NULL unless weighed */
    uint64_t hits, hit_weight;
    fc_alloc *alloc;
} fc_opt;

static inline void
fc_opt_free(fc_opt *o)
{
    for (int c = 0; c < FC_OPT_CLASSES; c++) {
        fc_alloc_release(o->alloc, o->heaps[c].nodes, o->heaps[c].room * sizeof(uint64_t));
    }
    fc_alloc_release(o->alloc, o->pile.nodes, o->pile.room * sizeof(uint64_t));
    fc_alloc_release(o->alloc, o->place, o->keys * sizeof *o->place);
    if (o->weighed) {
        fc_alloc_release(o->alloc, o->weights, o->keys * sizeof *o->weights);
    }
}

/* For numbers below keys; UINT64_MAX: no such bound. */
static inline int
fc_opt_init(fc_opt *o, fc_alloc *alloc, uint32_t keys, uint64_t max_entries, uint64_t max_weight)
{
    memset(o, 0, sizeof *o);
    o->alloc = alloc;
    o->keys = keys;
    o->max_entries = max_entries;
    o->max_weight = max_weight;
    o->weighed = max_weight != UINT64_MAX;
    o->place = fc_alloc_resize(alloc, NULL, 0, keys * sizeof *o->place);
    if (o->weighed) {
        o->weights = fc_alloc_resize(alloc, NULL, 0, keys * sizeof *o->weights);
    }
    if (o->place == NULL || (o->weighed && o->weights == NULL)) {
        fc_opt_free(o);
        return FC_NOMEM;
    }
    memset(o->place, 0xFF, keys * sizeof *o->place);
    return FC_OK;
}

static inline int
fc_opt_reserve(fc_opt *o, fc_opt_heap *h)
{
    uint64_t *nodes;
    uint32_t room = h->room == 0 ? 64 : h->room * 2;
    if (FC_LIKELY(h->count < h->room)) {
        return FC_OK;
    }
    nodes = fc_alloc_resize(o->alloc, h->nodes, (size_t)h->room * sizeof *nodes,
                            (size_t)room * sizeof *nodes);
    if (nodes == NULL) {
        return FC_NOMEM;
    }
    h->nodes = nodes;
    h->room = room;
    return FC_OK;
}

/* ---- heaps of four children a node ---------------------------------------------------------- */

FC_INLINE void
fc_opt_file(fc_opt *o, fc_opt_heap *h, uint32_t i, uint64_t node)
{
    h->nodes[i] = node;
    o->place[(uint32_t)node] = i;
}

/* Move the hole at i to where a node belongs, and fill it. */
FC_INLINE void
fc_opt_rise(fc_opt *o, fc_opt_heap *h, uint32_t i, uint64_t node)
{
    while (i > 0 && node > h->nodes[(i - 1) / 4]) {
        fc_opt_file(o, h, i, h->nodes[(i - 1) / 4]);
        i = (i - 1) / 4;
    }
    fc_opt_file(o, h, i, node);
}

FC_INLINE void
fc_opt_sink(fc_opt *o, fc_opt_heap *h, uint32_t i, uint64_t node)
{
    for (;;) {
        uint64_t first = (uint64_t)i * 4 + 1, best = first;
        if (first >= h->count) {
            break;
        }
        for (uint64_t child = first + 1; child < first + 4 && child < h->count; child++) {
            best = h->nodes[child] > h->nodes[best] ? child : best;
        }
        if (h->nodes[best] <= node) {
            break;
        }
        fc_opt_file(o, h, i, h->nodes[best]);
        i = (uint32_t)best;
    }
    fc_opt_file(o, h, i, node);
}

/* The class of a key. */
FC_INLINE int
fc_opt_class(const fc_opt *o, uint32_t key)
{
    uint64_t weight = o->weighed ? o->weights[key] : 0;
    int c = 0;
    while (weight >>= 1) {
        c++;
    }
    return c;
}

/* ---- in and out ----------------------------------------------------------------------------- */

FC_INLINE void
fc_opt_leave(fc_opt *o, uint32_t key)
{
    o->count--;
    o->weight -= o->weighed ? o->weights[key] : 0;
    o->place[key] = FC_NIL;
}

/* Take a key that comes again out of its heap. */
static inline void
fc_opt_remove(fc_opt *o, uint32_t key)
{
    int c = fc_opt_class(o, key);
    fc_opt_heap *h = &o->heaps[c];
    uint32_t i = o->place[key];
    uint64_t last = h->nodes[--h->count];
    if (i < h->count) {
        if (i > 0 && last > h->nodes[(i - 1) / 4]) {
            fc_opt_rise(o, h, i, last);
        }
        else {
            fc_opt_sink(o, h, i, last);
        }
    }
    else if (h->count == 0) {
        o->filled &= ~(UINT64_C(1) << c);
    }
    fc_opt_leave(o, key);
}

/* Put in a key that comes again at next, or never (FC_NIL); FC_NOMEM. */
static inline int
fc_opt_add(fc_opt *o, uint32_t key, uint32_t next, uint64_t weight)
{
    fc_opt_heap *h = &o->pile;
    int c = 0;
    if (o->weighed) {
        o->weights[key] = weight;
    }
    if (next != FC_NIL) {
        c = fc_opt_class(o, key);
        h = &o->heaps[c];
    }
    if (fc_opt_reserve(o, h) != FC_OK) {
        return FC_NOMEM;
    }
    o->count++;
    o->weight += o->weighed ? weight : 0;
    h->count++;
    if (next == FC_NIL) {
        fc_opt_file(o, h, h->count - 1, key);
    }
    else {
        o->filled |= UINT64_C(1) << c;
        fc_opt_rise(o, h, h->count - 1, (uint64_t)next << 32 | key);
    }
    return FC_OK;
}

/* Who goes, at a time. */
static inline uint32_t
fc_opt_victim(const fc_opt *o, uint32_t now)
{
    uint32_t victim = FC_NIL;
    double greatest = -1;
    for (int c = 0; o->filled >> c != 0; c++) {
        if (o->filled >> c & 1) {
            uint32_t key = (uint32_t)o->heaps[c].nodes[0];
            double distance = (double)((o->heaps[c].nodes[0] >> 32) - now);
            double worth = distance * (o->weighed ? (double)o->weights[key] : 1);
            if (worth > greatest) {
                greatest = worth;
                victim = key;
            }
            if (!o->weighed) {
                break;
            }
        }
    }
    return victim;
}

/* Whether so many more fit. */
FC_INLINE bool
fc_opt_fits(const fc_opt *o, uint64_t entries)
{
    return o->count + entries <= o->max_entries && o->weight <= o->max_weight;
}

static inline void
fc_opt_evict(fc_opt *o, uint32_t now)
{
    if (o->pile.count > 0) {
        fc_opt_leave(o, (uint32_t)o->pile.nodes[--o->pile.count]);
    }
    else {
        fc_opt_remove(o, fc_opt_victim(o, now));
    }
}

/* The request at now; FC_NOMEM.  Where objects are weighed, what never comes again is not stored. */
FC_INLINE int
fc_opt_request(fc_opt *o, uint32_t key, uint32_t next, uint64_t weight, uint32_t now)
{
    bool hit = o->place[key] != FC_NIL;
    if (hit) {
        o->hits++;
        o->hit_weight += weight;
        weight = o->weighed ? o->weights[key] : weight; /* as it was stored */
        fc_opt_remove(o, key); /* it comes again: now */
    }
    if (o->weighed && (weight > o->max_weight || next == FC_NIL)) {
        return FC_OK;
    }
    while (!o->weighed && !fc_opt_fits(o, 1)) {
        fc_opt_evict(o, now);
    }
    if (fc_opt_add(o, key, next, weight) != FC_OK) {
        return FC_NOMEM;
    }
    while (!fc_opt_fits(o, 0)) {
        fc_opt_evict(o, now);
    }
    o->stored += !hit && o->place[key] != FC_NIL;
    return FC_OK;
}

/* The requests from one position to another; sizes NULL: each counts 1.  FC_NOMEM. */
static inline int
fc_opt_run(fc_opt *o, const uint32_t *numbers, const uint32_t *next, const uint64_t *sizes,
           uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        if (i + 8 < to) {
            FC_PREFETCH(&o->place[numbers[i + 8]]);
        }
        if (fc_opt_request(o, numbers[i], next[i], sizes == NULL ? 1 : sizes[i], i) != FC_OK) {
            return FC_NOMEM;
        }
    }
    return FC_OK;
}

#endif
