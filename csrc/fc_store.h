/* fc_store.h - table, entries, policy, weights and deadlines as one bounded store.
 *
 * Keys and values are opaque pointers that the caller owns references to; whoever removes an
 * entry has taken its key and value out first.  A change is made in two steps: reserve, which
 * allocates, may fail and shows nothing, then add, which cannot fail.
 *
 * Cost: a lookup is one slot and one entry; 48 bytes per entry plus the table's 11 to 32.  Where
 * weights are asked for 8 bytes more, where an entry has a deadline 8 (fc_wheel.h), and where it has
 * one besides an idle time 8. */
#ifndef FC_STORE_H
#define FC_STORE_H

#include "fc_hash.h"
#include "fc_list.h"
#include "fc_policy.h"
#include "fc_table.h"
#include "fc_wheel.h"

/* More would not leave room for the sentinels and FC_NIL. */
#define FC_ENTRIES_MAX (UINT32_MAX / 2 - FC_LISTS)

typedef struct fc_store {
    fc_table table;
    fc_slab slab;
    /* The policy's, or fc_store_skip while readers without the GIL must see no links move. */
    void (*on_hit)(struct fc_store *s, uint32_t at);
    const fc_policy *policy;
    void *state; /* the policy's own */
    uint64_t seed;
    uint64_t version; /* moves with each entry added or removed */
    uint32_t count;
    uint32_t max_entries;
    uint32_t list_count[FC_LISTS];
    uint64_t list_weight[FC_LISTS]; /* 0 unless weighed */
    bool weighed, timed; /* weights are kept; deadlines can be */
    uint8_t marks;       /* of the policy */
    uint32_t sides;      /* places that the side arrays in use have room for */
    uint32_t weights_room, ends_room;
    uint64_t *weights;   /* by place */
    uint64_t weight;     /* of all entries */
    uint64_t max_weight; /* UINT64_MAX: no bound */
    int64_t idle;        /* nanoseconds that an entry may lie unused; 0: for ever */
    int64_t *ends;       /* by place: the deadline apart from the idle time; NULL without one */
    fc_wheel wheel;
    uint64_t hits, misses, inserts, evictions, expirations;
    fc_alloc *alloc;
} fc_store;

static inline void
fc_store_skip(fc_store *s FC_UNUSED, uint32_t at FC_UNUSED)
{
}

/* The hit of policies under which nothing moves: count it in the bits, up to a most. */
static inline void
fc_store_mark(fc_store *s, uint32_t at)
{
    fc_entry *e = &s->slab.entries[at];
    if (e->bits < s->marks) { /* storing what is there already would cost as much as a change */
        e->bits++;
    }
}

FC_INLINE uint64_t
fc_store_weight(const fc_store *s, uint32_t at)
{
    return s->weighed ? s->weights[at] : 0;
}

/* The list operations that policies use: they keep the list's count, its
 * weight and the entry's number. */
FC_INLINE void
fc_store_enlist(fc_store *s, uint32_t list, uint32_t at)
{
    s->slab.entries[at].list = (uint8_t)list;
    s->list_count[list]++;
    if (FC_UNLIKELY(s->weighed)) {
        s->list_weight[list] += s->weights[at];
    }
}

FC_INLINE void
fc_store_push(fc_store *s, uint32_t list, uint32_t at)
{
    fc_list_push(s->slab.entries, list, at);
    fc_store_enlist(s, list, at);
}

FC_INLINE void
fc_store_insert(fc_store *s, uint32_t list, uint32_t after, uint32_t at)
{
    fc_list_insert(s->slab.entries, after, at);
    fc_store_enlist(s, list, at);
}

FC_INLINE void
fc_store_unlink(fc_store *s, uint32_t at)
{
    uint32_t list = s->slab.entries[at].list;
    fc_list_remove(s->slab.entries, at);
    s->list_count[list]--;
    if (FC_UNLIKELY(s->weighed)) {
        s->list_weight[list] -= s->weights[at];
    }
}

/* The oldest of a list that is not the spare, or FC_NIL. */
FC_INLINE uint32_t
fc_store_oldest(const fc_store *s, uint32_t list, const fc_incoming *in)
{
    uint32_t at = fc_list_oldest(s->slab.entries, list);
    if (in != NULL && FC_UNLIKELY(at == in->spare) && at != FC_NIL) {
        at = s->slab.entries[at].next;
        at = at == list ? FC_NIL : at;
    }
    return at;
}

static inline void
fc_store_free(fc_store *s)
{
    if (s->policy != NULL && s->policy->close != NULL) {
        s->policy->close(s);
    }
    fc_slab_free(&s->slab, s->alloc);
    fc_table_free(&s->table, s->alloc);
    fc_wheel_free(&s->wheel, s->alloc);
    fc_alloc_release(s->alloc, s->weights, s->weights_room * sizeof *s->weights);
    fc_alloc_release(s->alloc, s->ends, s->ends_room * sizeof *s->ends);
    s->weights = NULL;
    s->ends = NULL;
    s->policy = NULL;
}

typedef struct fc_limits {
    uint32_t max_entries; /* FC_ENTRIES_MAX: no bound */
    uint64_t max_weight;  /* UINT64_MAX: no bound */
    int64_t idle;
} fc_limits;

/* An empty store; on FC_NOMEM it is zeroed and may be freed. */
static inline int
fc_store_init(fc_store *s, fc_alloc *alloc, const fc_policy *policy, const fc_limits *limits,
              uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->alloc = alloc;
    s->max_entries = limits->max_entries;
    s->max_weight = limits->max_weight;
    s->weighed = policy->weighs || limits->max_weight != UINT64_MAX;
    s->idle = limits->idle;
    s->timed = limits->idle > 0;
    s->seed = seed;
    s->on_hit = policy->on_hit;
    s->marks = policy->marks;
    if (fc_slab_init(&s->slab, alloc) == FC_OK && fc_table_init(&s->table, alloc) == FC_OK &&
        (policy->open == NULL || policy->open(s) == FC_OK)) {
        s->policy = policy;
        return FC_OK;
    }
    fc_store_free(s);
    return FC_NOMEM;
}

FC_INLINE uint32_t
fc_store_tag(const fc_store *s, int64_t hash)
{
    return fc_hash_tag(hash, s->seed);
}

FC_COLD static int
fc_store_reserve_side(fc_store *s, void *side, uint32_t *side_room)
{
    uint64_t *grown, *old;
    memcpy(&old, side, sizeof old);
    if (*side_room < s->slab.room) {
        grown = fc_alloc_resize(s->alloc, old, *side_room * sizeof *grown,
                                s->slab.room * sizeof *grown);
        if (grown == NULL) {
            return FC_NOMEM;
        }
        memcpy(side, &grown, sizeof grown);
        *side_room = s->slab.room;
    }
    return FC_OK;
}

FC_COLD static int
fc_store_reserve_sides(fc_store *s)
{
    if ((s->weighed && fc_store_reserve_side(s, &s->weights, &s->weights_room) != FC_OK) ||
        (s->idle > 0 && fc_store_reserve_side(s, &s->ends, &s->ends_room) != FC_OK) ||
        (s->timed && fc_wheel_reserve(&s->wheel, s->alloc, s->slab.room) != FC_OK)) {
        return FC_NOMEM;
    }
    s->sides = s->slab.room;
    return FC_OK;
}

/* Make room in memory for one more entry; slots move when the table grows. */
FC_INLINE int
fc_store_reserve(fc_store *s)
{
    if (fc_slab_reserve(&s->slab, s->alloc, s->max_entries) != FC_OK ||
        fc_table_reserve(&s->table, s->alloc) != FC_OK ||
        (FC_UNLIKELY(s->sides < s->slab.room) && fc_store_reserve_sides(s) != FC_OK)) {
        return FC_NOMEM;
    }
    return s->policy->reserve == NULL ? FC_OK : s->policy->reserve(s);
}

/* Make room for so many entries in all; FC_NOMEM. */
static inline int
fc_store_prepare(fc_store *s, uint32_t entries)
{
    uint32_t bits = 32 - s->table.shift;
    while (fc_table_room(bits) < entries) {
        bits++;
    }
    if ((s->slab.room - FC_LISTS < entries &&
         fc_slab_resize(&s->slab, s->alloc, entries + FC_LISTS) != FC_OK) ||
        (bits > 32 - s->table.shift && fc_table_resize(&s->table, s->alloc, bits) != FC_OK)) {
        return FC_NOMEM;
    }
    return s->sides < s->slab.room ? fc_store_reserve_sides(s) : FC_OK;
}

/* Let entries have deadlines from now on; FC_NOMEM. */
FC_INLINE int
fc_store_allow_deadlines(fc_store *s)
{
    if (FC_LIKELY(s->timed)) {
        return FC_OK;
    }
    s->timed = true;
    if (fc_store_reserve_sides(s) != FC_OK) {
        s->timed = false;
        return FC_NOMEM;
    }
    return FC_OK;
}

/* Fill a place that the table points at, and tell the policy. */
FC_INLINE void
fc_store_settle(fc_store *s, const fc_policy *policy, uint32_t at, const fc_incoming *in)
{
    fc_entry *e = &s->slab.entries[at];
    e->key = in->key;
    e->value = in->value;
    e->hash = in->hash;
    e->serial = (uint32_t)s->version++;
    e->list = e->bits = 0;
    e->flags = in->flags;
    s->inserts++;
    if (FC_UNLIKELY(s->weighed)) {
        s->weights[at] = in->weight;
        s->weight += in->weight;
    }
    policy->on_add(s, at, in);
}

/* Take note of another weight. */
FC_INLINE void
fc_store_reweigh(fc_store *s, uint32_t at, uint64_t weight)
{
    if (s->weighed) {
        uint64_t more = weight - s->weights[at];
        s->weight += more;
        if (!s->policy->unlisted) {
            s->list_weight[s->slab.entries[at].list] += more;
        }
        s->weights[at] = weight;
    }
}

/* What an entry leaves behind when it goes. */
FC_INLINE void
fc_store_unsettle(fc_store *s, const fc_policy *policy, uint32_t at, fc_cause cause)
{
    policy->on_remove(s, at, cause);
    if (FC_UNLIKELY(s->weighed)) {
        s->weight -= s->weights[at];
        s->weights[at] = 0;
    }
    if (s->slab.entries[at].flags & FC_ENTRY_TIMED) {
        fc_wheel_remove(&s->wheel, at);
    }
    s->version++;
}

/* Put in an entry that is not there; room is reserved.  slot is where a search for it ends.  Returns
 * its place. */
FC_INLINE uint32_t
fc_store_add(fc_store *s, const fc_policy *policy, uint32_t slot, const fc_incoming *in)
{
    uint32_t at = fc_slab_take(&s->slab);
    fc_table_put(&s->table, slot, fc_store_tag(s, in->hash), at);
    s->count++;
    fc_store_settle(s, policy, at, in);
    return at;
}

/* Put in an entry in the place of another that is evicted.  slot is where a search for it ends; it
 * goes in before the other goes out, so that nothing shifts in between.  policy is the store's; where
 * the caller names a constant, its functions are inlined. */
FC_INLINE void
fc_store_replace(fc_store *s, const fc_policy *policy, uint32_t at, uint32_t slot,
                 const fc_incoming *in)
{
    uint32_t tag = fc_store_tag(s, s->slab.entries[at].hash);
    uint32_t old = fc_table_locate(&s->table, tag, at);
    fc_store_unsettle(s, policy, at, FC_EVICTED);
    fc_table_put(&s->table, slot, fc_store_tag(s, in->hash), at);
    fc_table_remove(&s->table, old);
    s->evictions++;
    fc_store_settle(s, policy, at, in);
}

/* Take an entry out.  Its key and value are the caller's, read before. */
static inline void
fc_store_remove(fc_store *s, uint32_t at, fc_cause cause)
{
    uint32_t tag = fc_store_tag(s, s->slab.entries[at].hash);
    fc_store_unsettle(s, s->policy, at, cause);
    fc_table_remove(&s->table, fc_table_locate(&s->table, tag, at));
    fc_slab_give(&s->slab, at);
    s->count--;
    s->evictions += cause == FC_EVICTED;
    s->expirations += cause == FC_EXPIRED;
}

/* Whether so many more entries with so much more weight fit; also while the store is over its
 * bound, and where the sum would not fit 64 bits. */
FC_INLINE bool
fc_store_fits(const fc_store *s, uint32_t entries, uint64_t weight)
{
    return s->count + entries <= s->max_entries && s->weight <= s->max_weight &&
           weight <= s->max_weight - s->weight;
}

/* What the policy has learned, for a copy; and its taking over. */
static inline void
fc_store_learned(const fc_store *s, fc_learned *learned)
{
    memset(learned, 0, sizeof *learned);
    if (s->policy->learned != NULL) {
        s->policy->learned(s, learned);
    }
}

static inline void
fc_store_learn(fc_store *s, const fc_learned *learned)
{
    if (s->policy->learn != NULL) {
        s->policy->learn(s, learned);
    }
}

/* Write the places of all entries to out: list 0, then 1, ..., each from old to young. */
static inline void
fc_store_walk(const fc_store *s, uint32_t *out)
{
    for (uint32_t list = 0; list < FC_LISTS; list++) {
        const fc_entry *entries = s->slab.entries;
        for (uint32_t at = entries[list].next; at != list; at = entries[at].next) {
            *out++ = at;
        }
    }
}

/* Write the places of all entries to out (s->count of them, with room for as many again), the next
 * victim first. */
static inline void
fc_store_order(const fc_store *s, uint32_t *out)
{
    if (s->policy->order != NULL) {
        s->policy->order(s, out);
    }
    else {
        fc_store_walk(s, out);
    }
}

/* The same in the order in which a copy takes them over. */
static inline void
fc_store_line(const fc_store *s, uint32_t *out)
{
    if (s->policy->queues) {
        fc_store_walk(s, out);
    }
    else {
        fc_store_order(s, out);
    }
}

static inline const char *
fc_store_check_lists(const fc_store *s)
{
    uint32_t linked = 0;
    for (uint32_t list = 0; list < FC_LISTS; list++) {
        const fc_entry *entries = s->slab.entries;
        uint32_t count = fc_list_check(entries, list, s->count);
        uint64_t weight = 0;
        if (count == FC_NIL || count != s->list_count[list]) {
            return "store: a list is broken";
        }
        for (uint32_t at = entries[list].next; at != list; at = entries[at].next) {
            weight += fc_store_weight(s, at);
        }
        if (weight != s->list_weight[list]) {
            return "store: the weight of a list is off";
        }
        linked += count;
    }
    return linked == (s->policy->unlisted ? 0 : s->count) ? NULL
                                                          : "store: an entry that is on no list";
}

/* Recount everything; NULL, or what is wrong. */
static inline const char *
fc_store_check(const fc_store *s)
{
    uint32_t live = 0, unused = 0, timed = 0;
    uint64_t weight = 0;
    const char *wrong = fc_table_check(&s->table);
    if (wrong != NULL) {
        return wrong;
    }
    for (uint32_t at = fc_slab_live(&s->slab, FC_LISTS); at != FC_NIL;
         at = fc_slab_live(&s->slab, at + 1)) {
        const fc_entry *e = &s->slab.entries[at];
        uint32_t tag = fc_store_tag(s, e->hash), slot = fc_table_home(&s->table, tag);
        while (s->table.slots[slot].index != at) {
            if (s->table.slots[slot].index == FC_NIL) {
                return "store: an entry that the table does not find";
            }
            slot = fc_table_next(&s->table, slot);
        }
        if (s->table.slots[slot].tag != tag) {
            return "store: a slot with a wrong tag";
        }
        if ((e->flags & FC_ENTRY_TIMED) != 0) {
            if (!fc_wheel_has(&s->wheel, at)) {
                return "store: an entry with a deadline that is not filed";
            }
            if (s->idle > 0 && e->expiry > s->ends[at]) {
                return "store: an entry that stays past its end";
            }
            timed++;
        }
        weight += fc_store_weight(s, at);
        live++;
    }
    for (uint32_t at = s->slab.free; at != FC_NIL; at = s->slab.entries[at].next) {
        if (s->slab.entries[at].key != NULL || ++unused > s->slab.used) {
            return "store: the chain of free places is broken";
        }
    }
    if (live != s->count || s->table.count != s->count) {
        return "store: the count is off";
    }
    if (FC_LISTS + live + unused != s->slab.used) {
        return "store: a place is neither in use nor free";
    }
    if (s->count > s->max_entries || s->weight > s->max_weight) {
        return "store: over its bound";
    }
    if (weight != s->weight) {
        return "store: the weight is off";
    }
    if (timed != s->wheel.count) {
        return "store: an entry without a deadline that is filed";
    }
    wrong = fc_store_check_lists(s);
    if (wrong != NULL) {
        return wrong;
    }
    wrong = fc_wheel_check(&s->wheel, s->slab.entries, s->slab.used);
    if (wrong != NULL) {
        return wrong;
    }
    return s->policy->check == NULL ? NULL : s->policy->check(s);
}

#endif
