/* fc_policy.h - what an eviction policy is.
 *
 * A policy keeps entries in an order and points at the next victim; the store removes it.  One
 * const table per policy, in a header of its own under policy/, and one line in policy/all.h.
 * Inlined, through a switch, and through this table all cost the same 20 ns for a whole get, so
 * the table is chosen, for it reads best.
 *
 * A policy has for each entry: prev, next, list and bits of fc_entry; FC_LISTS lists with their
 * sentinels and counts; and s->state for whatever else (sketch, ghost keys, shadow caches), made
 * in open and grown in reserve, the only two that may allocate and fail.  fc_store_weight tells an
 * entry's weight.  What a policy draws or mixes comes from s->seed, which is random for each store,
 * so that keys crafted for one are harmless in another.  No function of a policy runs foreign code,
 * and none changes the table. */
#ifndef FC_POLICY_H
#define FC_POLICY_H

#include "fc_base.h"

struct fc_store;

/* Why an entry leaves; the order is that of EvictionCause in Python. */
typedef enum fc_cause { FC_EVICTED, FC_EXPIRED, FC_REPLACED, FC_DELETED, FC_CLEARED } fc_cause;

/* The standing of an entry, which a copy takes over; what a policy does not have stays 0. */
typedef struct fc_memo {
    uint64_t uses;
    double rank, age, cost;
    uint8_t list, bits;
} fc_memo;

/* What a policy has learned that is not of one entry, which a copy takes over before the first
 * entry; what a policy does not have stays 0. */
typedef struct fc_learned {
    uint64_t draw; /* state of its stream of random numbers */
    double share;  /* of the cache that it has settled on */
} fc_learned;

/* What comes in: a new entry, or another value for one. */
typedef struct fc_incoming {
    void *key, *value;
    int64_t hash;
    uint64_t weight;
    double cost;         /* of making it again, in any unit */
    const fc_memo *memo; /* of the entry it is a copy of, or NULL */
    uint32_t spare;      /* no victim: the entry that the value is for, or FC_NIL */
    uint8_t flags;
} fc_incoming;

typedef struct fc_policy {
    const char *name;
    void (*on_add)(struct fc_store *s, uint32_t at, const fc_incoming *in);
    void (*on_hit)(struct fc_store *s, uint32_t at);
    void (*on_remove)(struct fc_store *s, uint32_t at, fc_cause cause);
    /* The next to go; there is one besides the spare.  in is NULL when nothing comes in its place. */
    uint32_t (*victim)(struct fc_store *s, const fc_incoming *in);
    /* Optional from here on: NULL does nothing. */
    /* Another value, whose weight is noted; by default this is a hit. */
    void (*on_write)(struct fc_store *s, uint32_t at, const fc_incoming *in);
    void (*save)(const struct fc_store *s, uint32_t at, fc_memo *memo); /* memo is zeroed */
    void (*learned)(const struct fc_store *s, fc_learned *learned); /* learned is zeroed */
    void (*learn)(struct fc_store *s, const fc_learned *learned);
    int (*open)(struct fc_store *s);     /* make s->state; FC_NOMEM */
    void (*close)(struct fc_store *s);   /* free s->state */
    int (*reserve)(struct fc_store *s);  /* make s->state fit the slab's room; FC_NOMEM */
    void (*rebound)(struct fc_store *s); /* the bounds have changed; all entries fit the new ones */
    /* Write all entries, the next victim first; by default list 0, then 1, ..., each from old to
     * young.  There is room for twice as many. */
    void (*order)(const struct fc_store *s, uint32_t *out);
    const char *(*check)(const struct fc_store *s); /* NULL, or what is wrong */
    bool weighs; /* wants weights where no bound does */
    bool unlisted; /* keeps entries on no list; order and check are its own */
    bool queues; /* a copy takes the entries from list to list, for the order does not tell all */
    uint8_t marks; /* with fc_store_mark as on_hit: how many hits are counted */
} fc_policy;

#endif
