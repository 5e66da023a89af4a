/* fc_policy.h - what an eviction policy is.
 *
 * A policy keeps entries in an order and points at the next victim; the store removes it.  One
 * const table per policy, in a header of its own under policy/, and one line in policy/all.h.
 * Inlined, through a switch, and through this table all cost the same 20 ns for a whole get, so
 * the table is chosen, for it reads best.
 *
 * A policy has for each entry: prev, next, list and bits of fc_entry; FC_LISTS lists with their
 * sentinels and counts; and s->state for whatever else (sketch, ghost keys, shadow caches), made
 * in open and grown in reserve, the only two that may allocate and fail.  No function of a policy
 * runs foreign code, and none changes the table. */
#ifndef FC_POLICY_H
#define FC_POLICY_H

#include "fc_base.h"

struct fc_store;

/* Why an entry leaves; the order is that of EvictionCause in Python. */
typedef enum fc_cause { FC_EVICTED, FC_EXPIRED, FC_REPLACED, FC_DELETED, FC_CLEARED } fc_cause;

/* The newcomer that room is made for: policies with ghosts or admission ask for its hash. */
typedef struct fc_incoming {
    int64_t hash;
} fc_incoming;

typedef struct fc_policy {
    const char *name;
    void (*on_add)(struct fc_store *s, uint32_t at);
    void (*on_hit)(struct fc_store *s, uint32_t at);
    void (*on_remove)(struct fc_store *s, uint32_t at, fc_cause cause);
    /* The next to go; the store is not empty.  incoming is NULL when nothing comes in its place. */
    uint32_t (*victim)(struct fc_store *s, const fc_incoming *incoming);
    /* Optional from here on: NULL does nothing. */
    int (*open)(struct fc_store *s);    /* make s->state; FC_NOMEM */
    void (*close)(struct fc_store *s);  /* free s->state */
    int (*reserve)(struct fc_store *s); /* make s->state fit the slab's room; FC_NOMEM */
    /* Write all entries, the next victim first; by default list 0, then 1, ..., each from old to
     * young. */
    void (*order)(const struct fc_store *s, uint32_t *out);
    const char *(*check)(const struct fc_store *s); /* NULL, or what is wrong */
} fc_policy;

#endif
