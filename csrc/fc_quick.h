/* fc_quick.h - get and overwrite without a stack frame, for what nearly every hit is.
 *
 * Nearly every hit is of a str or bytes that carries its hash and is the very object in the entry,
 * under lru.  For it these functions have no frame and no call but the last one, which is worth 3
 * of 15 ns.  For anything else they say so, and have done nothing. */
#ifndef FC_QUICK_H
#define FC_QUICK_H

#include "fc_named.h"
#include "fc_weigh.h"

/* The place of a key that lies at home and is the very object in the entry, or FC_NIL: one straight
 * line, and nearly every hit.  A key that carries no hash yet is in no entry. */
FC_INLINE uint32_t
fc_glance(const fc_cache *c, PyObject *key)
{
    const fc_table *t = &c->store.table;
    uint64_t mixed = fc_hash_mix(fc_hash_cached(key), c->store.seed);
    fc_slot slot = t->slots[mixed >> (t->shift + 32)];
    if (FC_LIKELY(slot.tag == (uint32_t)(mixed >> 32)) && FC_LIKELY(slot.index != FC_NIL) &&
        FC_LIKELY(c->store.slab.entries[slot.index].key == key)) {
        return slot.index;
    }
    return FC_NIL;
}

/* The first slot from home on that has the tag, or is free. */
FC_INLINE uint32_t
fc_probe_quick(const fc_table *t, uint32_t tag)
{
    uint32_t at = fc_table_home(t, tag);
    while (FC_UNLIKELY(t->slots[at].tag != tag && t->slots[at].index != FC_NIL)) {
        at = fc_table_next(t, at);
    }
    return at;
}

/* The first place with the tag of a key that carries its hash, or FC_NIL. */
FC_INLINE uint32_t
fc_place_quick(const fc_cache *c, PyObject *key)
{
    const fc_table *t = &c->store.table;
    return t->slots[fc_probe_quick(t, fc_store_tag(&c->store, fc_hash_cached(key)))].index;
}

/* Whether the entry there has a key equal to one that carries its hash. */
static inline bool
fc_equals(const fc_cache *c, uint32_t at, PyObject *key)
{
    const fc_entry *e = &c->store.slab.entries[at];
    Py_hash_t hash = fc_hash_cached(key);
    return e->key == key || (hash != -1 && e->hash == hash && fc_same(e->key, key) == FC_HIT);
}

/* Whether a hit there calls nobody: lru, and no deadline. */
FC_INLINE bool
fc_is_quick(const fc_cache *c, uint32_t at)
{
    return FC_LIKELY(c->store.on_hit == lru_on_hit) &&
           FC_LIKELY(!(c->store.slab.entries[at].flags & FC_ENTRY_TIMED));
}

FC_INLINE PyObject *
fc_hit_quick(fc_cache *c, uint32_t at)
{
    PyObject *value = fc_hit(c, at);
    FC_UNLOCK(c);
    return value;
}

/* The same where a hit moves nothing. */
FC_INLINE bool
fc_is_marked(const fc_cache *c, uint32_t at)
{
    return c->store.on_hit == fc_store_mark &&
           FC_LIKELY(!(c->store.slab.entries[at].flags & FC_ENTRY_TIMED));
}

FC_INLINE PyObject *
fc_hit_marked(fc_cache *c, uint32_t at)
{
    PyObject *value = c->store.slab.entries[at].value;
    Py_INCREF(value);
    c->store.hits++;
    fc_store_mark(&c->store, at);
    FC_UNLOCK(c);
    return value;
}

/* Any other hit; NULL when it is none, or only an operation that reads the user's clock can tell. */
static inline PyObject *
fc_hit_called(fc_cache *c, uint32_t at)
{
    PyObject *value = NULL;
    if (!(c->store.slab.entries[at].flags & FC_ENTRY_TIMED)) {
        value = c->store.slab.entries[at].value;
        Py_INCREF(value);
        c->store.hits++;
        c->store.on_hit(&c->store, at);
    }
    else if (!c->clocked) {
        value = fc_hit_timed(c, at);
    }
    FC_UNLOCK(c);
    return value;
}

/* A hit of a key not at home, or of an equal object; or NULL. */
static inline PyObject *
fc_hit_equal(fc_cache *c, uint32_t at, PyObject *key)
{
    if (at != FC_NIL && fc_equals(c, at, key)) {
        return fc_hit_called(c, at);
    }
    FC_UNLOCK(c);
    return NULL;
}

/* Out of line, so that the quick ways have no frame.  First a hit that the glance found, then another
 * search; at last what Cython generated. */
FC_NOINLINE static PyObject *
fc_item_called(fc_cache *c, uint32_t at, PyObject *self, PyObject *key, binaryfunc generated)
{
    PyObject *value = fc_hit_called(c, at);
    return FC_LIKELY(value != NULL) ? value : generated(self, key);
}

/* Here, and not in the quick way itself, so that lru does not pay an instruction for it. */
FC_NOINLINE static PyObject *
fc_item_marked(fc_cache *c, uint32_t at, PyObject *self, PyObject *key, binaryfunc generated)
{
    return fc_is_marked(c, at) ? fc_hit_marked(c, at) : fc_item_called(c, at, self, key, generated);
}

FC_NOINLINE static PyObject *
fc_item_else(fc_cache *c, PyObject *self, PyObject *key, binaryfunc generated)
{
    PyObject *value = fc_hit_equal(c, fc_place_quick(c, key), key);
    return value != NULL ? value : generated(self, key);
}

typedef PyObject *(*fc_fastcall)(PyObject *, PyObject **, Py_ssize_t, PyObject *);

/* The same for get, whose miss is as frequent: a free slot before any entry of that tag is one. */
FC_NOINLINE static PyObject *
fc_get_else(fc_cache *c, uint32_t at, PyObject *self, PyObject **args, Py_ssize_t count,
            fc_fastcall generated)
{
    PyObject *value;
    if (at != FC_NIL) {
        value = fc_hit_called(c, at);
    }
    else {
        at = fc_place_quick(c, args[0]);
        if (at == FC_NIL && fc_hash_cached(args[0]) != -1 && !c->chained) {
            value = count == 2 ? args[1] : Py_None;
            c->store.misses++;
            FC_UNLOCK(c);
            Py_INCREF(value);
            return value;
        }
        value = fc_hit_equal(c, at, args[0]);
    }
    return value != NULL ? value : generated(self, args, count, NULL);
}

FC_NOINLINE static PyObject *
fc_setdefault_else(fc_cache *c, uint32_t at, PyObject *self, PyObject **args, Py_ssize_t count,
                   fc_fastcall generated)
{
    PyObject *value = at != FC_NIL ? fc_hit_called(c, at)
                                   : fc_hit_equal(c, fc_place_quick(c, args[0]), args[0]);
    return value != NULL ? value : generated(self, args, count, NULL);
}

/* c[key] */
FC_INLINE PyObject *
fc_item_quick(fc_cache *c, PyObject *self, PyObject *key, binaryfunc generated)
{
    uint32_t at;
    FC_LOCK(c);
    at = fc_glance(c, key);
    if (FC_UNLIKELY(at == FC_NIL)) {
        return fc_item_else(c, self, key, generated);
    }
    return fc_is_quick(c, at) ? fc_hit_quick(c, at) : fc_item_marked(c, at, self, key, generated);
}

/* c.get(key) and c.get(key, default) */
FC_INLINE PyObject *
fc_get_quick(fc_cache *c, PyObject *self, PyObject **args, Py_ssize_t count, fc_fastcall generated)
{
    uint32_t at;
    FC_LOCK(c);
    at = fc_glance(c, args[0]);
    if (FC_LIKELY(at != FC_NIL) && fc_is_quick(c, at)) {
        return fc_hit_quick(c, at);
    }
    return fc_get_else(c, at, self, args, count, generated);
}

/* c.setdefault(key) and c.setdefault(key, default) */
FC_INLINE PyObject *
fc_setdefault_quick(fc_cache *c, PyObject *self, PyObject **args, Py_ssize_t count,
                    fc_fastcall generated)
{
    uint32_t at;
    FC_LOCK(c);
    at = fc_glance(c, args[0]);
    if (FC_LIKELY(at != FC_NIL) && fc_is_quick(c, at)) {
        return fc_hit_quick(c, at);
    }
    return fc_setdefault_else(c, at, self, args, count, generated);
}

/* Whether a write has to do more than change one entry, or has to wait. */
FC_INLINE bool
fc_is_careful(const fc_cache *c)
{
    return c->readers != NULL || c->careful || c->store.wheel.count != 0;
}

/* The same when only rules are in its way, and a key that none of them names. */
FC_INLINE bool
fc_is_beside_rules(const fc_cache *c, PyObject *key)
{
    return c->careful == FC_CARE_RULES && c->readers == NULL && c->store.wheel.count == 0 &&
           fc_is_unnamed(c->rules, key);
}

/* Insert a key without a deadline; 0: not done. */
FC_INLINE int
fc_insert_quick(fc_cache *c, PyObject *key, uint32_t slot, PyObject *value, uint64_t weight)
{
    fc_exit gone;
    fc_incoming in = fc_plain(key, fc_hash_cached(key), value);
    int done;
    in.weight = weight;
    done = fc_insert_one(c, slot, &in, &gone);
    if (FC_UNLIKELY(done == FC_MORE)) {
        return 0;
    }
    FC_UNLOCK(c);
    if (gone.value != NULL) { /* only now: foreign code may run */
        Py_DECREF((PyObject *)gone.key);
        Py_DECREF((PyObject *)gone.value);
    }
    return done == FC_OK ? 1 : FC_ERROR;
}

/* Overwrite by a value of the same type; 0: not done.  The old value's end may run foreign code. */
FC_INLINE int
fc_overwrite_quick(fc_cache *c, uint32_t at, PyObject *value)
{
    fc_entry *e = &c->store.slab.entries[at];
    PyObject *old = e->value;
    if (FC_UNLIKELY(Py_TYPE(old) != Py_TYPE(value))) {
        FC_UNLOCK(c);
        return 0;
    }
    Py_INCREF(value);
    e->value = value;
    fc_touch(c, at);
    FC_UNLOCK(c);
    Py_DECREF(old);
    return 1;
}

/* An insert, or an overwrite of an equal key; 0: not done. */
FC_NOINLINE static int
fc_assign_else(fc_cache *c, PyObject *key, PyObject *value)
{
    const fc_table *t = &c->store.table;
    Py_hash_t hash = fc_hash_cached(key);
    uint32_t slot = fc_probe_quick(t, fc_store_tag(&c->store, hash));
    uint32_t at = t->slots[slot].index;
    if (hash != -1 && at == FC_NIL) {
        return fc_insert_quick(c, key, slot, value, 0);
    }
    if (at != FC_NIL && fc_equals(c, at, key)) {
        return fc_overwrite_quick(c, at, value);
    }
    FC_UNLOCK(c);
    return 0;
}

/* del c[key] without hooks and listener: 1 done, 0 not done. */
static inline int
fc_remove_quick(fc_cache *c, PyObject *key)
{
    PyObject *old_key, *old_value;
    uint32_t at;
    FC_LOCK(c);
    at = fc_place_quick(c, key);
    if (fc_is_burdened(c) || at == FC_NIL || !fc_equals(c, at, key)) {
        FC_UNLOCK(c);
        return 0;
    }
    old_key = c->store.slab.entries[at].key;
    old_value = c->store.slab.entries[at].value;
    c->containers -= c->store.slab.entries[at].flags & FC_ENTRY_CONTAINER;
    fc_store_remove(&c->store, at, FC_DELETED);
    FC_UNLOCK(c);
    Py_DECREF(old_key);
    Py_DECREF(old_value);
    return 1;
}

/* All that a put may be asked to do, for a key and value that need no foreign code to be weighed. */
FC_NOINLINE static int
fc_assign_with(fc_cache *c, PyObject *key, PyObject *value, int64_t weight, int64_t ttl)
{
    fc_change change;
    fc_exits few;
    int done;
    FC_UNLOCK(c);
    fc_change_init(&change, c, key, fc_hash_cached(key), value, FC_PUT);
    change.in.weight = (uint64_t)weight;
    change.ttl = ttl;
    fc_exits_init(&few, false);
    done = fc_put(c, &change, &few);
    fc_release(&few, &c->alloc);
    return done == FC_BUSY || done == FC_HEAVY ? 0 : done;
}

/* With weights, deadlines or rules: an overwrite that fits, and an insert that one eviction makes room
 * for, need no queue where there are no deadlines. */
FC_NOINLINE static int
fc_assign_carefully(fc_cache *c, PyObject *key, PyObject *value)
{
    fc_store *s = &c->store;
    int64_t weight = s->weighed ? fc_weight_known(key, value) : 0;
    int64_t ttl = c->ttl;
    uint32_t slot, at;
    if (FC_UNLIKELY(c->foreign || c->readers != NULL || weight < 0 ||
                    (uint64_t)weight > s->max_weight || fc_hash_cached(key) == -1)) {
        FC_UNLOCK(c);
        return 0;
    }
    if (fc_is_named(c, key, &ttl) || s->timed || s->policy->on_write != NULL) {
        return fc_assign_with(c, key, value, weight, ttl);
    }
    at = fc_glance(c, key);
    if (at == FC_NIL) {
        slot = fc_probe_quick(&s->table, fc_store_tag(s, fc_hash_cached(key)));
        at = s->table.slots[slot].index;
        if (at == FC_NIL) {
            int done = fc_insert_quick(c, key, slot, value, (uint64_t)weight);
            return done != 0 ? done : fc_assign_with(c, key, value, weight, ttl);
        }
        if (!fc_equals(c, at, key)) {
            return fc_assign_with(c, key, value, weight, ttl);
        }
    }
    if (FC_LIKELY(s->weight - fc_store_weight(s, at) + (uint64_t)weight <= s->max_weight) &&
        FC_LIKELY(Py_TYPE((PyObject *)s->slab.entries[at].value) == Py_TYPE(value))) {
        fc_store_reweigh(s, at, (uint64_t)weight);
        return fc_overwrite_quick(c, at, value);
    }
    return fc_assign_with(c, key, value, weight, ttl);
}

/* An assignment that has something to see to; beside rules it is as quick as any other. */
FC_NOINLINE static int
fc_assign_unless_named(fc_cache *c, PyObject *key, PyObject *value)
{
    uint32_t at;
    if (FC_UNLIKELY(!fc_is_beside_rules(c, key))) {
        return fc_assign_carefully(c, key, value);
    }
    at = fc_glance(c, key);
    return FC_LIKELY(at != FC_NIL) ? fc_overwrite_quick(c, at, value)
                                   : fc_assign_else(c, key, value);
}

/* c[key] = value without hooks and listener: 1 done, 0 not done, FC_ERROR. */
FC_INLINE int
fc_assign_quick(fc_cache *c, PyObject *key, PyObject *value)
{
    uint32_t at;
    FC_LOCK(c);
    if (FC_UNLIKELY(fc_is_careful(c))) {
        return fc_assign_unless_named(c, key, value);
    }
    at = fc_glance(c, key);
    return FC_LIKELY(at != FC_NIL) ? fc_overwrite_quick(c, at, value)
                                   : fc_assign_else(c, key, value);
}

#endif
