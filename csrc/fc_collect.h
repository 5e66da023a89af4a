/* fc_collect.h - what the cycle collector asks of a cache, and the check of what it relies on.
 *
 * An entry whose key or value belongs to a type that the collector tracks is marked as a container,
 * and the cache counts them.  While there is none, a traversal visits nothing: ten million str and
 * int cost the collector no time. */
#ifndef FC_COLLECT_H
#define FC_COLLECT_H

#include "fc_change.h"

static inline int
fc_visit(const fc_cache *c, visitproc visit, void *arg)
{
    if (c->containers == 0) {
        return 0;
    }
    for (uint32_t at = FC_LISTS; at < c->store.slab.used; at++) {
        const fc_entry *e = &c->store.slab.entries[at];
        if (e->flags & FC_ENTRY_CONTAINER && e->key != NULL) {
            Py_VISIT((PyObject *)e->key);
            Py_VISIT((PyObject *)e->value);
        }
    }
    return 0;
}

/* Empty the store for the collector, one entry at a time: needs no memory, and foreign code may use
 * the store all the while. */
static inline void
fc_drop_all(fc_cache *c)
{
    for (uint32_t at = FC_LISTS; at < c->store.slab.used; at++) {
        if (c->store.slab.entries[at].key != NULL) {
            fc_exits out;
            fc_exits_init(&out, false);
            fc_evict(c, at, FC_CLEARED, &out);
            fc_release(&out, &c->alloc);
        }
    }
}

/* Recount the containers too; NULL, or what is wrong. */
static inline const char *
fc_cache_check(const fc_cache *c)
{
    uint64_t containers = 0;
    for (uint32_t at = FC_LISTS; at < c->store.slab.used; at++) {
        const fc_entry *e = &c->store.slab.entries[at];
        if (e->key != NULL) {
            if ((e->flags & FC_ENTRY_CONTAINER) != fc_flags(e->key, e->value)) {
                return "cache: an entry's flags do not fit its key and value";
            }
            containers += e->flags & FC_ENTRY_CONTAINER;
        }
    }
    if (containers != c->containers) {
        return "cache: the count of containers is off";
    }
    if (c->rules != NULL && fc_rules_check(c->rules) != NULL) {
        return fc_rules_check(c->rules);
    }
    return fc_store_check(&c->store);
}

#endif
