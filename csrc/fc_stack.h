/* fc_stack.h - the hits of an lru cache of every size in one pass: Mattson's stack distances.
 *
 * The distance of a request is the number of other keys asked for since its key was; lru with more
 * entries than that has a hit (Mattson, Gecsei, Slutz and Traiger, "Evaluation techniques for
 * storage hierarchies", 1970).  Each key stands at the time of its last request, and a Fenwick tree
 * counts those that stand later.  Times are given out anew when they run out, so that the tree is of
 * the size of the keys, not of the trace.  Exact; O(log keys) a request, 16 bytes a key.
 *
 * Not chosen: a balanced tree (as many steps, each a cache miss); a sample of the keys (SHARDS: 100 x
 * faster, and off by a tenth of a percent), since exact is fast enough here. */
#ifndef FC_STACK_H
#define FC_STACK_H

#include "fc_alloc.h"

typedef struct fc_stack {
    uint32_t keys;
    uint32_t times;   /* twice the keys: so many are given out before all stand anew */
    uint32_t now;     /* the last time given out; the first is 1 */
    uint32_t held;    /* keys that stand somewhere */
    uint32_t *stands; /* by key: when, or 0 */
    uint32_t *owner;  /* by time: who, or FC_NIL */
    uint32_t *tree;   /* by time */
    uint64_t *hits;   /* by distance: requests */
    fc_alloc *alloc;
} fc_stack;

static inline void
fc_stack_free(fc_stack *k)
{
    size_t keys = k->keys, times = (size_t)k->times + 1;
    fc_alloc_release(k->alloc, k->stands, keys * sizeof *k->stands);
    fc_alloc_release(k->alloc, k->owner, times * sizeof *k->owner);
    fc_alloc_release(k->alloc, k->tree, times * sizeof *k->tree);
    fc_alloc_release(k->alloc, k->hits, keys * sizeof *k->hits);
}

/* For numbers below keys, which is at least 1 and below 2^31. */
static inline int
fc_stack_init(fc_stack *k, fc_alloc *alloc, uint32_t keys)
{
    size_t times = (size_t)keys * 2 + 1;
    memset(k, 0, sizeof *k);
    k->alloc = alloc;
    k->keys = keys;
    k->times = keys * 2;
    k->stands = fc_alloc_resize(alloc, NULL, 0, keys * sizeof *k->stands);
    k->owner = fc_alloc_resize(alloc, NULL, 0, times * sizeof *k->owner);
    k->tree = fc_alloc_resize(alloc, NULL, 0, times * sizeof *k->tree);
    k->hits = fc_alloc_resize(alloc, NULL, 0, keys * sizeof *k->hits);
    if (k->stands == NULL || k->owner == NULL || k->tree == NULL || k->hits == NULL) {
        fc_stack_free(k);
        return FC_NOMEM;
    }
    memset(k->stands, 0, keys * sizeof *k->stands);
    memset(k->owner, 0xFF, times * sizeof *k->owner);
    memset(k->tree, 0, times * sizeof *k->tree);
    memset(k->hits, 0, keys * sizeof *k->hits);
    return FC_OK;
}

FC_INLINE void
fc_stack_change(fc_stack *k, uint32_t time, uint32_t by)
{
    for (; time <= k->times; time += time & (0 - time)) {
        k->tree[time] += by;
    }
}

/* How many stand at this time or before. */
FC_INLINE uint32_t
fc_stack_until(const fc_stack *k, uint32_t time)
{
    uint32_t sum = 0;
    for (; time > 0; time &= time - 1) {
        sum += k->tree[time];
    }
    return sum;
}

/* Give out the times anew, from 1 on and in the same order. */
FC_COLD static void
fc_stack_compact(fc_stack *k)
{
    k->now = 0;
    for (uint32_t time = 1; time <= k->times; time++) {
        uint32_t key = k->owner[time];
        k->owner[time] = FC_NIL;
        if (key != FC_NIL) {
            k->stands[key] = ++k->now;
            k->owner[k->now] = key;
        }
    }
    for (uint32_t time = 1; time <= k->times; time++) {
        k->tree[time] = time <= k->now;
    }
    for (uint32_t time = 1; time <= k->times; time++) {
        uint64_t above = (uint64_t)time + (time & (0 - time));
        if (above <= k->times) {
            k->tree[above] += k->tree[time];
        }
    }
}

/* So many requests. */
static inline void
fc_stack_run(fc_stack *k, const uint32_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t key = numbers[i], stood;
        if (FC_UNLIKELY(k->now == k->times)) {
            fc_stack_compact(k);
        }
        stood = k->stands[key];
        if (stood == 0) {
            k->held++;
        }
        else {
            k->hits[k->held - fc_stack_until(k, stood)]++;
            fc_stack_change(k, stood, UINT32_MAX);
            k->owner[stood] = FC_NIL;
        }
        k->stands[key] = ++k->now;
        k->owner[k->now] = key;
        fc_stack_change(k, k->now, 1);
    }
}

/* Recount; NULL, or what is wrong. */
static inline const char *
fc_stack_check(const fc_stack *k)
{
    uint32_t held = 0;
    for (uint32_t time = 1; time <= k->times; time++) {
        uint32_t key = k->owner[time];
        held += key != FC_NIL;
        if (key != FC_NIL && (time > k->now || k->stands[key] != time)) {
            return "stack: a key that stands elsewhere";
        }
        if (fc_stack_until(k, time) != held) {
            return "stack: a sum is off";
        }
    }
    return held == k->held ? NULL : "stack: the count is off";
}

#endif
