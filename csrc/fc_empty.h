/* fc_empty.h - taking out by order, or everything: pop, clear, other bounds, and the end of a store. */
#ifndef FC_EMPTY_H
#define FC_EMPTY_H

#include "fc_change.h"

/* Remove the policy's next victim, as fc_remove; what is over has been taken out before. */
static inline int
fc_pop(fc_cache *c, fc_exits *out)
{
    int found = c->store.count > 0;
    FC_LOCK(c);
    if (found && c->readers != NULL) {
        found = FC_BUSY;
    }
    else if (found && fc_exits_reserve(out, &c->alloc, 1) != FC_OK) {
        PyErr_NoMemory();
        found = FC_ERROR;
    }
    else if (found) {
        uint32_t at = c->store.policy->victim(&c->store, NULL);
        fc_outdate(c, c->store.slab.entries[at].hash);
        fc_evict(c, at, FC_DELETED, out);
    }
    FC_UNLOCK(c);
    return found;
}

/* The key that fc_pop would remove, as a new reference; NULL when there is none. */
static inline PyObject *
fc_victim_key(fc_cache *c)
{
    PyObject *key = NULL;
    FC_LOCK(c);
    if (c->store.count > 0) {
        key = c->store.slab.entries[c->store.policy->victim(&c->store, NULL)].key;
        Py_INCREF(key);
    }
    FC_UNLOCK(c);
    return key;
}

/* Leave an empty store; old holds all that was there, for fc_release_store, unless it is queued for
 * an audience.  FC_OK, FC_BUSY, or FC_ERROR. */
static inline int
fc_clear(fc_cache *c, fc_store *old, fc_exits *out)
{
    fc_store fresh, *s = &c->store;
    const fc_limits limits = {s->max_entries, s->max_weight, s->idle};
    uint32_t *order = NULL;
    int done = FC_ERROR;
    FC_LOCK(c);
    if (c->readers != NULL) {
        FC_UNLOCK(c);
        return FC_BUSY;
    }
    if (out->audience) {
        order = PyMem_Malloc(((size_t)s->count + 1) * 2 * sizeof *order);
    }
    if ((out->audience && (order == NULL || fc_exits_reserve(out, s->alloc, s->count) != FC_OK)) ||
        fc_store_init(&fresh, s->alloc, s->policy, &limits, s->seed) != FC_OK) {
        PyErr_NoMemory();
    }
    else {
        if (out->audience) {
            fc_store_order(s, order);
            for (uint32_t i = 0; i < s->count; i++) {
                fc_entry *e = &s->slab.entries[order[i]];
                fc_exits_push(out, e->key, e->value, FC_CLEARED);
                e->key = NULL;
            }
        }
        fresh.timed = s->timed;
        fresh.weighed = s->weighed; /* also where that bound has been lifted */
        fresh.version = s->version + 1;
        fresh.hits = s->hits;
        fresh.misses = s->misses;
        fresh.inserts = s->inserts;
        fresh.evictions = s->evictions;
        fresh.expirations = s->expirations;
        *old = *s;
        *s = fresh;
        c->containers = 0;
        c->epoch++;
        done = FC_OK;
    }
    FC_UNLOCK(c);
    PyMem_Free(order);
    return done;
}

enum { FC_BOUND_ENTRIES, FC_BOUND_WEIGHT };

/* Bring one of the bounds to this, or as near as so many entries go that have to: what is over first,
 * then the policy's victims.  FC_OK, FC_MORE: not there yet, FC_BUSY, FC_ERROR.  Whatever it is, all
 * entries fit the bounds in force.  Refused when configured is no longer that of the cache. */
static inline int
fc_rebound(fc_cache *c, int which, uint64_t bound, uint32_t configured, uint32_t slice,
           fc_exits *out)
{
    fc_store *s = &c->store;
    int done = FC_OK;
    FC_LOCK(c);
    if (configured != c->configured) {
        done = fc_refuse_configured();
    }
    else if (c->readers != NULL) {
        done = FC_BUSY;
    }
    else if ((which == FC_BOUND_ENTRIES ? s->count : s->weight) > bound &&
             fc_exits_reserve(out, s->alloc, slice) != FC_OK) {
        PyErr_NoMemory();
        done = FC_ERROR;
    }
    else {
        int64_t now = fc_now_to_change(c, FC_NEVER);
        uint64_t held;
        while ((held = which == FC_BOUND_ENTRIES ? s->count : s->weight) > bound && slice-- > 0) {
            uint32_t over = FC_NIL;
            if (s->wheel.count != 0) {
                over = fc_wheel_due_now(&s->wheel, s->slab.entries, now);
            }
            if (over != FC_NIL) {
                fc_evict(c, over, FC_EXPIRED, out);
            }
            else {
                fc_evict(c, s->policy->victim(s, NULL), FC_EVICTED, out);
            }
        }
        if (held > bound) {
            bound = held;
            done = FC_MORE;
        }
        if (which == FC_BOUND_ENTRIES) {
            s->max_entries = (uint32_t)bound;
        }
        else {
            s->max_weight = bound;
        }
        if (s->policy->rebound != NULL) {
            s->policy->rebound(s);
        }
    }
    FC_UNLOCK(c);
    return done;
}

/* Let go of all that a store holds which nobody can reach any more. */
static inline void
fc_release_store(fc_store *s)
{
    for (uint32_t at = FC_LISTS; at < s->slab.used; at++) {
        fc_entry *e = &s->slab.entries[at];
        if (e->key != NULL) {
            Py_DECREF((PyObject *)e->key);
            Py_DECREF((PyObject *)e->value);
        }
    }
    fc_store_free(s);
}

#endif
