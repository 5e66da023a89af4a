/* fc_simulate.h - a trace through a store: what a cache would have done, without its objects.
 *
 * A request finds its key or puts it in, by the same steps, in the same order, as a cache of Python
 * objects makes them (fc_change.h), so the counts are those of the real one.  The key of an entry
 * is the id of the trace, kept where a deadline would be; its hash is what Python's would be.
 *
 * A request waits for memory three times: for the slot, the entry, the entry's neighbours.  The trace
 * is known, so each is fetched some requests ahead. */
#ifndef FC_SIMULATE_H
#define FC_SIMULATE_H

#include "fc_trace.h"
#include "policy/all.h"

/* How far ahead slots, entries and neighbours are fetched: 100 ns and more before they are needed,
 * and few enough to stay in the nearest cache. */
#define FC_AHEAD_SLOT 24
#define FC_AHEAD_ENTRY 12
#define FC_AHEAD_LINKS 6

typedef struct fc_simulation {
    fc_alloc alloc;
    fc_store store;
    uint64_t hits, hit_weight; /* so many requests, and the sizes that they asked for */
} fc_simulation;

/* A trace that several simulations may read at the same time. */
typedef struct fc_requests {
    const int64_t *ids;
    const uint64_t *sizes; /* NULL: each counts 1 */
    size_t count;
    bool is_unsigned; /* the ids are uint64_t */
} fc_requests;

static inline int
fc_simulation_init(fc_simulation *m, const fc_policy *policy, const fc_limits *limits,
                   uint64_t seed)
{
    memset(m, 0, sizeof *m);
    fc_alloc_init(&m->alloc);
    return fc_store_init(&m->store, &m->alloc, policy, limits, seed);
}

static inline void
fc_simulation_free(fc_simulation *m)
{
    fc_store_free(&m->store);
}

/* The place of a key, or FC_NIL and the slot where the search ended. */
FC_INLINE uint32_t
fc_simulation_find(const fc_store *s, int64_t id, uint32_t tag, uint32_t *slot)
{
    const fc_table *t = &s->table;
    uint32_t at = fc_table_home(t, tag);
    for (;; at = fc_table_next(t, at)) {
        fc_slot found = t->slots[at];
        if (FC_LIKELY(found.tag == tag) && found.index != FC_NIL) {
            if (FC_LIKELY(s->slab.entries[found.index].expiry == id)) {
                return found.index;
            }
        }
        else if (found.index == FC_NIL) {
            *slot = at;
            return FC_NIL;
        }
    }
}

/* As fc_insert_under, and then fc_insert_with, do it; FC_NOMEM. */
FC_INLINE int
fc_simulation_insert(fc_store *s, const fc_policy *policy, uint32_t slot, int64_t id,
                     const fc_incoming *in)
{
    bool moved = false;
    uint32_t at;
    while (!fc_store_fits(s, 1, in->weight)) {
        at = policy->victim(s, in);
        if (!moved && s->weight - fc_store_weight(s, at) + in->weight <= s->max_weight) {
            fc_store_replace(s, policy, at, slot, in);
            s->slab.entries[at].expiry = id;
            return FC_OK;
        }
        fc_store_remove(s, at, FC_EVICTED);
        moved = true;
    }
    if (!moved) {
        const fc_slot *slots = s->table.slots;
        if (fc_store_reserve(s) != FC_OK) {
            return FC_NOMEM;
        }
        moved = slots != s->table.slots;
    }
    if (FC_UNLIKELY(moved)) {
        slot = fc_table_free_slot(&s->table, fc_store_tag(s, in->hash));
    }
    at = fc_store_add(s, policy, slot, in);
    s->slab.entries[at].expiry = id;
    return FC_OK;
}

/* A request for the id that has this tag; FC_NOMEM. */
FC_INLINE int
fc_simulation_request(fc_simulation *m, const fc_policy *policy, int64_t id, bool is_unsigned,
                      uint32_t tag, uint64_t weight)
{
    fc_store *s = &m->store;
    uint32_t slot = 0, at = fc_simulation_find(s, id, tag, &slot);
    fc_incoming in;
    if (FC_LIKELY(at != FC_NIL)) { /* what is there is as large as it was stored */
        m->hits++;
        m->hit_weight += weight;
        policy->on_hit(s, at);
        return FC_OK;
    }
    if (FC_UNLIKELY(s->weighed && weight > s->max_weight)) {
        return FC_OK;
    }
    in = (fc_incoming){.key = s,
                       .value = s,
                       .hash = fc_trace_hash(id, is_unsigned),
                       .weight = weight,
                       .cost = 1.0,
                       .spare = FC_NIL};
    return fc_simulation_insert(s, policy, slot, id, &in);
}

FC_INLINE void
fc_simulation_fetch_entry(const fc_store *s, uint32_t tag)
{
    uint32_t index = s->table.slots[fc_table_home(&s->table, tag)].index;
    if (index != FC_NIL) {
        const char *entry = (const char *)&s->slab.entries[index];
        FC_PREFETCH(entry);
        FC_PREFETCH(entry + sizeof(fc_entry) - 1);
    }
}

FC_INLINE void
fc_simulation_fetch_links(const fc_store *s, uint32_t tag)
{
    uint32_t index = s->table.slots[fc_table_home(&s->table, tag)].index;
    if (index != FC_NIL && s->slab.entries[index].prev < s->slab.used &&
        s->slab.entries[index].next < s->slab.used) {
        FC_PREFETCH(&s->slab.entries[s->slab.entries[index].prev].prev);
        FC_PREFETCH(&s->slab.entries[s->slab.entries[index].next].prev);
    }
}

/* The requests from one position to another under a policy, which is the store's; where the caller
 * names a constant, its functions are inlined. */
FC_INLINE int
fc_simulation_run_under(fc_simulation *m, const fc_policy *policy, const fc_requests *r,
                        size_t from, size_t to)
{
    enum { RING = 32 };
    const fc_store *s = &m->store;
    uint32_t tags[RING];
    for (size_t i = from; i < to && i < from + FC_AHEAD_SLOT; i++) {
        tags[i % RING] = fc_store_tag(s, fc_trace_hash(r->ids[i], r->is_unsigned));
    }
    for (size_t i = from; i < to; i++) {
        if (FC_LIKELY(i + FC_AHEAD_SLOT < to)) {
            size_t ahead = i + FC_AHEAD_SLOT;
            uint32_t tag = fc_store_tag(s, fc_trace_hash(r->ids[ahead], r->is_unsigned));
            tags[ahead % RING] = tag;
            FC_PREFETCH(&s->table.slots[fc_table_home(&s->table, tag)]);
            fc_simulation_fetch_entry(s, tags[(i + FC_AHEAD_ENTRY) % RING]);
            fc_simulation_fetch_links(s, tags[(i + FC_AHEAD_LINKS) % RING]);
        }
        if (fc_simulation_request(m, policy, r->ids[i], r->is_unsigned, tags[i % RING],
                                  r->sizes == NULL ? 1 : r->sizes[i]) != FC_OK) {
            return FC_NOMEM;
        }
    }
    return FC_OK;
}

/* The same under whatever policy the store has. */
static inline int
fc_simulation_run(fc_simulation *m, const fc_requests *r, size_t from, size_t to)
{
    const fc_policy *policy = m->store.policy;
    return policy == &FC_LRU ? fc_simulation_run_under(m, &FC_LRU, r, from, to)
                             : fc_simulation_run_under(m, policy, r, from, to);
}

#endif
