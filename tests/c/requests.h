/* requests.h - the smallest cache around a store: a request finds its key or puts it in. */
#ifndef REQUESTS_H
#define REQUESTS_H

#include "fc_store.h"

#include "check.h"

/* Bounds from 1 on, by entries, by weight, and by both. */
static const fc_limits MANY_BOUNDS[] = {
    {.max_entries = 1, .max_weight = UINT64_MAX},
    {.max_entries = 2, .max_weight = UINT64_MAX},
    {.max_entries = 3, .max_weight = UINT64_MAX},
    {.max_entries = 17, .max_weight = UINT64_MAX},
    {.max_entries = FC_ENTRIES_MAX, .max_weight = UINT64_MAX},
    {.max_entries = FC_ENTRIES_MAX, .max_weight = 1},
    {.max_entries = FC_ENTRIES_MAX, .max_weight = 64},
    {.max_entries = FC_ENTRIES_MAX, .max_weight = 333},
    {.max_entries = 11, .max_weight = 150},
};
#define MANY_BOUNDS_COUNT (sizeof MANY_BOUNDS / sizeof *MANY_BOUNDS)

/* Key and value of entry number k: the number plus one, as a pointer. */
static inline void *
number(uint32_t k)
{
    return (void *)(uintptr_t)(k + 1);
}

/* The place of a key, or FC_NIL; slow, and independent of the table. */
static inline uint32_t
place_of(const fc_store *s, uint32_t k)
{
    uint32_t at = fc_slab_live(&s->slab, FC_LISTS);
    while (at != FC_NIL && s->slab.entries[at].key != number(k)) {
        at = fc_slab_live(&s->slab, at + 1);
    }
    return at;
}

/* An empty store that only the number of entries bounds. */
static inline int
store_of(fc_store *s, fc_alloc *a, const fc_policy *policy, uint32_t max_entries)
{
    const fc_limits limits = {.max_entries = max_entries, .max_weight = UINT64_MAX};
    return fc_store_init(s, a, policy, &limits, 1);
}

static inline fc_incoming
incoming_of(uint32_t k, uint64_t weight)
{
    return (fc_incoming){.key = number(k),
                         .value = number(k),
                         .hash = k,
                         .weight = weight,
                         .cost = 1,
                         .spare = FC_NIL};
}

/* Put in what is not there, and evict until it fits; FC_NOMEM, or its place in *at. */
static inline int
put_in(fc_store *s, const fc_incoming *in, uint32_t *at)
{
    while (!fc_store_fits(s, 1, in->weight)) {
        fc_store_remove(s, s->policy->victim(s, in), FC_EVICTED);
    }
    if (fc_store_reserve(s) != FC_OK) {
        return FC_NOMEM;
    }
    *at = fc_store_add(s, s->policy, fc_table_free_slot(&s->table, fc_store_tag(s, in->hash)), in);
    return FC_OK;
}

/* FC_NOMEM, or 1 for a hit and 0 for a miss, after which the key is in. */
static inline int
request(fc_store *s, uint32_t k)
{
    const fc_incoming in = incoming_of(k, 1);
    uint32_t at = place_of(s, k);
    if (at != FC_NIL) {
        s->on_hit(s, at);
        return 1;
    }
    return put_in(s, &in, &at);
}

/* A request that goes by the table, for work that is long. */
static inline int
ask(fc_store *s, uint32_t k, uint64_t weight)
{
    const fc_incoming in = incoming_of(k, weight);
    uint32_t tag = fc_store_tag(s, k), slot = fc_table_home(&s->table, tag), at;
    for (; s->table.slots[slot].index != FC_NIL; slot = fc_table_next(&s->table, slot)) {
        at = s->table.slots[slot].index;
        if (s->slab.entries[at].key == number(k)) {
            s->on_hit(s, at);
            return 1;
        }
    }
    return put_in(s, &in, &at);
}

/* The misses of a sequence of keys in an empty store. */
static inline uint32_t
misses_of(const fc_policy *policy, uint32_t max_entries, const uint32_t *keys, uint32_t count)
{
    fc_alloc a;
    fc_store s;
    uint32_t misses = 0;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, policy, max_entries) == FC_OK);
    for (uint32_t i = 0; i < count; i++) {
        misses += request(&s, keys[i]) == 0;
        CHECK_WHOLE(fc_store_check(&s));
    }
    fc_store_free(&s);
    CHECK(a.bytes == 0);
    return misses;
}

/* Whether the keys of a store are these, the next victim first. */
static inline bool
order_is(const fc_store *s, const uint32_t *keys, uint32_t count)
{
    uint32_t order[2 * 64];
    if (s->count != count || count > 64) {
        return false;
    }
    fc_store_order(s, order);
    for (uint32_t i = 0; i < count; i++) {
        if (s->slab.entries[order[i]].key != number(keys[i])) {
            return false;
        }
    }
    return true;
}

#define ORDER_IS(s, ...)                         \
    order_is(s, (const uint32_t[]){__VA_ARGS__}, \
             sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

#endif
