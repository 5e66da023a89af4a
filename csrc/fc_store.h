/* fc_store.h - table, entries and policy as one bounded store of (key, value, hash).
 *
 * Keys and values are opaque pointers that the caller owns references to; whoever removes an
 * entry has taken its key and value out first.  A change is made in two steps: reserve, which
 * allocates, may fail and shows nothing, then add, which cannot fail.
 *
 * Cost: a lookup is one slot and one entry; 48 bytes per entry plus the table's 11 to 32. */
#ifndef FC_STORE_H
#define FC_STORE_H

#include "fc_hash.h"
#include "fc_list.h"
#include "fc_policy.h"
#include "fc_table.h"

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
    uint64_t hits, misses, inserts, evictions, expirations;
    fc_alloc *alloc;
} fc_store;

static inline void
fc_store_skip(fc_store *s FC_UNUSED, uint32_t at FC_UNUSED)
{
}

/* The list operations that policies use: they keep the list's count and the entry's number. */
FC_INLINE void
fc_store_push(fc_store *s, uint32_t list, uint32_t at)
{
    fc_list_push(s->slab.entries, list, at);
    s->slab.entries[at].list = (uint8_t)list;
    s->list_count[list]++;
}

FC_INLINE void
fc_store_unlink(fc_store *s, uint32_t at)
{
    fc_list_remove(s->slab.entries, at);
    s->list_count[s->slab.entries[at].list]--;
}

static inline void
fc_store_free(fc_store *s)
{
    if (s->policy != NULL && s->policy->close != NULL) {
        s->policy->close(s);
    }
    fc_slab_free(&s->slab, s->alloc);
    fc_table_free(&s->table, s->alloc);
    s->policy = NULL;
}

/* An empty store; on FC_NOMEM it is zeroed and may be freed. */
static inline int
fc_store_init(fc_store *s, fc_alloc *alloc, const fc_policy *policy, uint32_t max_entries,
              uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->alloc = alloc;
    s->max_entries = max_entries;
    s->seed = seed;
    s->on_hit = policy->on_hit;
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

/* Make room in memory for one more entry; slots move when the table grows. */
FC_INLINE int
fc_store_reserve(fc_store *s)
{
    if (fc_slab_reserve(&s->slab, s->alloc, s->max_entries) != FC_OK ||
        fc_table_reserve(&s->table, s->alloc) != FC_OK) {
        return FC_NOMEM;
    }
    return s->policy->reserve == NULL ? FC_OK : s->policy->reserve(s);
}

/* Fill a place that the table points at, and tell the policy. */
FC_INLINE void
fc_store_settle(fc_store *s, const fc_policy *policy, uint32_t at, void *key, void *value,
                int64_t hash, uint8_t flags)
{
    fc_entry *e = &s->slab.entries[at];
    e->key = key;
    e->value = value;
    e->hash = hash;
    e->expiry = 0;
    e->serial = (uint32_t)s->version++;
    e->bits = 0;
    e->flags = flags;
    s->inserts++;
    policy->on_add(s, at);
}

/* Put in an entry that is not there; room is reserved.  slot is where a search for it ends.  Returns
 * its place. */
FC_INLINE uint32_t
fc_store_add(fc_store *s, uint32_t slot, void *key, void *value, int64_t hash, uint8_t flags)
{
    uint32_t at = fc_slab_take(&s->slab);
    fc_table_put(&s->table, slot, fc_store_tag(s, hash), at);
    s->count++;
    fc_store_settle(s, s->policy, at, key, value, hash, flags);
    return at;
}

/* Put in an entry in the place of another that is evicted.  slot is where a search for it ends; it
 * goes in before the other goes out, so that nothing shifts in between.  policy is the store's; where
 * the caller names a constant, its functions are inlined. */
FC_INLINE void
fc_store_replace(fc_store *s, const fc_policy *policy, uint32_t at, uint32_t slot, void *key,
                 void *value, int64_t hash, uint8_t flags)
{
    uint32_t tag = fc_store_tag(s, s->slab.entries[at].hash);
    uint32_t old = fc_table_locate(&s->table, tag, at);
    policy->on_remove(s, at, FC_EVICTED);
    fc_table_put(&s->table, slot, fc_store_tag(s, hash), at);
    fc_table_remove(&s->table, old);
    s->evictions++;
    s->version++;
    fc_store_settle(s, policy, at, key, value, hash, flags);
}

/* Take an entry out.  Its key and value are the caller's, read before. */
static inline void
fc_store_remove(fc_store *s, uint32_t at, fc_cause cause)
{
    uint32_t tag = fc_store_tag(s, s->slab.entries[at].hash);
    s->policy->on_remove(s, at, cause);
    fc_table_remove(&s->table, fc_table_locate(&s->table, tag, at));
    fc_slab_give(&s->slab, at);
    s->count--;
    s->version++;
    s->evictions += cause == FC_EVICTED;
    s->expirations += cause == FC_EXPIRED;
}

/* How many must go before one more fits. */
FC_INLINE uint32_t
fc_store_excess(const fc_store *s)
{
    return s->count < s->max_entries ? 0 : s->count - s->max_entries + 1;
}

/* Write the places of all entries to out (s->count of them), the next victim first. */
static inline void
fc_store_order(const fc_store *s, uint32_t *out)
{
    if (s->policy->order != NULL) {
        s->policy->order(s, out);
        return;
    }
    for (uint32_t list = 0; list < FC_LISTS; list++) {
        const fc_entry *entries = s->slab.entries;
        for (uint32_t at = entries[list].next; at != list; at = entries[at].next) {
            *out++ = at;
        }
    }
}

/* Recount everything; NULL, or what is wrong. */
static inline const char *
fc_store_check(const fc_store *s)
{
    uint32_t live = 0, linked = 0, unused = 0;
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
    if (s->count > s->max_entries) {
        return "store: over its bound";
    }
    for (uint32_t list = 0; list < FC_LISTS; list++) {
        uint32_t count = fc_list_check(s->slab.entries, list, s->count);
        if (count == FC_NIL || count != s->list_count[list]) {
            return "store: a list is broken";
        }
        linked += count;
    }
    if (linked != s->count) {
        return "store: an entry that is on no list";
    }
    return s->policy->check == NULL ? NULL : s->policy->check(s);
}

#endif
