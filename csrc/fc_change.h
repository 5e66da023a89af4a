/* fc_change.h - one change of a store of Python objects: expire, overwrite, insert, put, remove.
 *
 * Nothing is released here: what leaves is pushed to an fc_exits, and the caller lets go of it when
 * the operation is over (fc_release).  What may fail comes before the first change; after FC_ERROR
 * nothing has changed, but that what was over, or had to make room for what then found no memory,
 * is gone. */
#ifndef FC_CHANGE_H
#define FC_CHANGE_H

#include "fc_access.h"

/* How many places share a fill token; see fc_token. */
#define FC_GENERATIONS 1024
/* A write takes out so many entries that are over, at most; see fc_wheel_due. */
#define FC_EXPIRE_STEPS 64
/* As the ttl of a change: the entry keeps its end. */
#define FC_KEEP (-1)
/* And: what the rules and the cache give it, to be found out before fc_put. */
#define FC_BY_RULES (-2)

enum { FC_MORE = 1 };

typedef enum fc_mode { FC_PUT, FC_PUT_NEW, FC_PUT_OLD } fc_mode;

/* A put, and all that is asked of it. */
typedef struct fc_change {
    fc_incoming in; /* key and value are borrowed */
    int64_t ttl;    /* nanoseconds, FC_NEVER or FC_KEEP (FC_BY_RULES) */
    int64_t left;   /* of a copied entry: it is over after that, whatever ttl and idle time say */
    fc_mode mode;
    PyObject *expected; /* store only over this very object; or NULL */
    int64_t now;        /* read once, where deadlines are in play */
    uint32_t configured; /* the weight and the ttl are of this configuration */
    const uint64_t *token; /* store only while it holds; or NULL */
} fc_change;

/* A write, removal or clear makes the fill tokens of its key worthless. */
FC_INLINE void
fc_outdate(fc_cache *c, Py_hash_t hash)
{
    if (FC_UNLIKELY(c->generations != NULL)) {
        c->generations[fc_store_tag(&c->store, hash) % FC_GENERATIONS]++;
    }
}

FC_INLINE bool
fc_is_container(PyObject *o)
{
    return PyType_HasFeature(Py_TYPE(o), Py_TPFLAGS_HAVE_GC);
}

FC_INLINE uint8_t
fc_flags(PyObject *key, PyObject *value)
{
    return fc_is_container(key) || fc_is_container(value) ? FC_ENTRY_CONTAINER : 0;
}

/* Take an entry out of the store, and queue what it held. */
static inline void
fc_evict(fc_cache *c, uint32_t at, fc_cause cause, fc_exits *out)
{
    fc_entry *e = &c->store.slab.entries[at];
    fc_exits_push(out, e->key, e->value, cause);
    c->containers -= e->flags & FC_ENTRY_CONTAINER;
    fc_store_remove(&c->store, at, cause);
}

/* What comes in with a plain put. */
FC_INLINE fc_incoming
fc_plain(PyObject *key, Py_hash_t hash, PyObject *value)
{
    return (fc_incoming){.key = key,
                         .value = value,
                         .hash = hash,
                         .cost = 1.0,
                         .spare = FC_NIL,
                         .flags = fc_flags(key, value)};
}

/* A plain put. */
FC_INLINE void
fc_change_init(fc_change *change, const fc_cache *c, PyObject *key, Py_hash_t hash, PyObject *value,
               fc_mode mode)
{
    change->in = fc_plain(key, hash, value);
    change->ttl = c->ttl;
    change->left = FC_NEVER;
    change->mode = mode;
    change->expected = NULL;
    change->configured = c->configured;
    change->token = NULL;
}

/* ---- expire ------------------------------------------------------------------------------- */

/* Take out what is over, as far as so many steps of the wheel and memory for the queue go. */
static inline void
fc_expire(fc_cache *c, int64_t now, uint32_t steps, fc_exits *out)
{
    fc_store *s = &c->store;
    if (FC_LIKELY(fc_wheel_asleep(&s->wheel, now))) {
        return;
    }
    while (fc_exits_reserve(out, s->alloc, 1) == FC_OK) {
        uint32_t at = fc_wheel_due(&s->wheel, s->slab.entries, now, &steps);
        if (at == FC_NIL) {
            break;
        }
        fc_evict(c, at, FC_EXPIRED, out);
    }
}

/* Take out all that is over.  FC_BUSY, or FC_ERROR with a part of it taken out. */
static inline int
fc_expire_all(fc_cache *c, fc_exits *out)
{
    fc_store *s = &c->store;
    int done = FC_OK;
    int64_t now;
    FC_LOCK(c);
    now = fc_now(c);
    if (c->readers != NULL) {
        done = FC_BUSY;
    }
    while (done == FC_OK) {
        uint32_t at;
        if (fc_exits_reserve(out, s->alloc, 1) != FC_OK) {
            PyErr_NoMemory();
            done = FC_ERROR;
            break;
        }
        at = fc_wheel_due_now(&s->wheel, s->slab.entries, now);
        if (at == FC_NIL) {
            break;
        }
        fc_evict(c, at, FC_EXPIRED, out);
    }
    FC_UNLOCK(c);
    return done;
}

/* ---- overwrite ---------------------------------------------------------------------------- */

/* Whether letting go of one reference is certain to run no foreign code. */
FC_INLINE bool
fc_is_shared(PyObject *o)
{
#ifdef Py_GIL_DISABLED
    return false;
#else
    return Py_REFCNT(o) > 1;
#endif
}

/* Put another value into an entry and queue or release the old one; room in out is reserved. */
FC_INLINE void
fc_exchange(fc_cache *c, uint32_t at, PyObject *value, fc_exits *out)
{
    fc_entry *e = &c->store.slab.entries[at];
    PyObject *old = e->value;
    if (old == value) {
        return;
    }
    if (FC_UNLIKELY(Py_TYPE(old) != Py_TYPE(value))) {
        uint8_t flags = fc_flags(e->key, value);
        c->containers += flags;
        c->containers -= (uint64_t)(e->flags & FC_ENTRY_CONTAINER);
        e->flags = (uint8_t)((e->flags & ~FC_ENTRY_CONTAINER) | flags);
    }
    Py_INCREF(value);
    e->value = value;
    if (FC_UNLIKELY(out->audience)) {
        Py_INCREF((PyObject *)e->key);
        fc_exits_push(out, e->key, old, FC_REPLACED);
    }
    else if (fc_is_shared(old)) {
        Py_DECREF(old);
    }
    else {
        fc_exits_push(out, NULL, old, FC_REPLACED);
    }
}

/* Put another value into an entry that has neither weight nor deadline. */
FC_INLINE void
fc_overwrite(fc_cache *c, uint32_t at, PyObject *value, fc_exits *out)
{
    fc_exchange(c, at, value, out);
    fc_touch(c, at);
}

/* Make others go until all fit, and leave room for one more in out.  FC_NOMEM: not all have gone. */
static inline int
fc_evict_others(fc_cache *c, uint32_t entries, const fc_incoming *in, uint64_t weight,
                fc_exits *out)
{
    while (!fc_store_fits(&c->store, entries, weight)) {
        if (fc_exits_reserve(out, c->store.alloc, 2) != FC_OK) {
            return FC_NOMEM;
        }
        fc_evict(c, c->store.policy->victim(&c->store, in), FC_EVICTED, out);
    }
    return FC_OK;
}

FC_INLINE void
fc_apply_deadline(fc_cache *c, uint32_t at, const fc_change *change)
{
    fc_store *s = &c->store;
    if (s->timed) {
        int64_t now = change->now;
        int64_t end = change->ttl == FC_KEEP ? fc_deadline_end(s, at)
                                             : fc_deadline_after(now, change->ttl);
        fc_deadline_set(s, at, end, now);
        if (FC_UNLIKELY(change->left != FC_NEVER)) {
            fc_deadline_shorten(s, at, fc_deadline_after(now, change->left), now);
        }
    }
}

/* The same with all that a change may bring; room for two in out is reserved.  The entry has its new
 * weight before others make room for it.  If there is no memory to queue these, it goes itself. */
static inline int
fc_overwrite_with(fc_cache *c, uint32_t at, fc_change *change, fc_exits *out)
{
    fc_store *s = &c->store;
    if (FC_UNLIKELY(change->in.weight > s->max_weight)) {
        return FC_HEAVY; /* the bound has changed since it was weighed */
    }
    change->in.spare = at;
    fc_exchange(c, at, change->in.value, out);
    fc_store_reweigh(s, at, change->in.weight);
    if (s->policy->on_write != NULL) {
        s->policy->on_write(s, at, &change->in);
    }
    else {
        fc_touch(c, at);
    }
    if (FC_UNLIKELY(fc_evict_others(c, 0, &change->in, 0, out) != FC_OK)) {
        fc_evict(c, at, FC_EVICTED, out);
        PyErr_NoMemory();
        return FC_ERROR;
    }
    fc_apply_deadline(c, at, change);
    return 1;
}

/* ---- insert ------------------------------------------------------------------------------- */

/* Add a key that a search has not found, ending at slot, and that has no deadline.  If one entry has
 * to go for it, it is *gone.  FC_MORE: more have to, nothing changed. */
FC_INLINE int
fc_insert_under(fc_cache *c, const fc_policy *policy, uint32_t slot, const fc_incoming *in,
                fc_exit *gone)
{
    fc_store *s = &c->store;
    gone->key = gone->value = NULL;
    if (FC_LIKELY(!fc_store_fits(s, 1, in->weight))) {
        uint32_t at = policy->victim(s, in);
        const fc_entry *e = &s->slab.entries[at];
        if (s->weight - fc_store_weight(s, at) + in->weight > s->max_weight) {
            return FC_MORE;
        }
        gone->key = e->key;
        gone->value = e->value;
        c->containers -= e->flags & FC_ENTRY_CONTAINER;
        fc_store_replace(s, policy, at, slot, in);
    }
    else {
        const fc_slot *slots = s->table.slots;
        if (fc_store_reserve(s) != FC_OK) {
            PyErr_NoMemory();
            return FC_ERROR;
        }
        if (FC_UNLIKELY(slots != s->table.slots)) {
            slot = fc_table_free_slot(&s->table, fc_store_tag(s, in->hash));
        }
        fc_store_add(s, policy, slot, in);
    }
    Py_INCREF((PyObject *)in->key);
    Py_INCREF((PyObject *)in->value);
    c->containers += in->flags;
    return FC_OK;
}

/* The same.  FC_ERROR: no memory, nothing changed.  Under lru nothing is called: 5 ns of 45. */
FC_INLINE int
fc_insert_one(fc_cache *c, uint32_t slot, const fc_incoming *in, fc_exit *gone)
{
    const fc_policy *policy = c->store.policy;
    return FC_LIKELY(policy == &FC_LRU) ? fc_insert_under(c, &FC_LRU, slot, in, gone)
                                        : fc_insert_under(c, policy, slot, in, gone);
}

/* The same where nothing is weighed, and queue what goes; room for it in out is reserved. */
FC_INLINE int
fc_insert(fc_cache *c, uint32_t slot, const fc_incoming *in, fc_exits *out)
{
    fc_exit gone;
    if (fc_insert_one(c, slot, in, &gone) != FC_OK) {
        return FC_ERROR;
    }
    if (gone.value != NULL) {
        fc_exits_push(out, gone.key, gone.value, FC_EVICTED);
    }
    return FC_OK;
}

/* Add a key that is not there, with all that a change may bring: 1, FC_HEAVY or FC_ERROR. */
static inline int
fc_insert_with(fc_cache *c, fc_change *change, fc_exits *out)
{
    fc_store *s = &c->store;
    uint32_t at;
    if (FC_UNLIKELY(change->in.weight > s->max_weight)) {
        return FC_HEAVY;
    }
    /* Memory first.  A full slab has a place as soon as one has gone. */
    if ((s->count < s->max_entries && fc_store_reserve(s) != FC_OK) ||
        fc_evict_others(c, 1, &change->in, change->in.weight, out) != FC_OK) {
        PyErr_NoMemory();
        return FC_ERROR;
    }
    at = fc_table_free_slot(&s->table, fc_store_tag(s, change->in.hash));
    at = fc_store_add(s, s->policy, at, &change->in);
    Py_INCREF((PyObject *)change->in.key);
    Py_INCREF((PyObject *)change->in.value);
    c->containers += change->in.flags;
    fc_apply_deadline(c, at, change);
    return 1;
}

/* ---- put, touch, remove ------------------------------------------------------------------- */

/* What foreign code has configured anew no longer fits what has been weighed and timed before. */
static inline int
fc_refuse_configured(void)
{
    PyErr_SetString(PyExc_RuntimeError, "__init__ was called in the middle of an operation");
    return FC_ERROR;
}

/* What a token of this key is now; the generations are there. */
FC_INLINE uint64_t
fc_token_now(const fc_cache *c, Py_hash_t hash)
{
    return (uint64_t)c->epoch << 32 |
           c->generations[fc_store_tag(&c->store, hash) % FC_GENERATIONS];
}

/* The time, where anything has or gets a deadline. */
FC_INLINE int64_t
fc_now_to_change(const fc_cache *c, int64_t ttl)
{
    return c->store.timed || ttl != FC_NEVER ? fc_now(c) : 0;
}

/* Look for a key, with what is over out of the way: as fc_find, or FC_BUSY.  Room for two in out is
 * reserved. */
static inline int
fc_find_to_change(fc_cache *c, PyObject *key, Py_hash_t hash, int64_t now, uint32_t *place,
                  fc_exits *out)
{
    uint32_t configured = c->configured;
    bool over;
    int found;
    if (c->store.wheel.count != 0 && c->readers == NULL) {
        fc_expire(c, now, FC_EXPIRE_STEPS, out);
    }
    found = fc_find(c, key, hash, place);
    if (found == FC_ERROR) {
        return FC_ERROR;
    }
    if (FC_UNLIKELY(c->configured != configured)) {
        return fc_refuse_configured();
    }
    if (FC_UNLIKELY(c->readers != NULL)) {
        return FC_BUSY;
    }
    over = found == FC_HIT && !fc_is_live(c, *place);
    if (FC_UNLIKELY(fc_exits_reserve(out, &c->alloc, over ? 3 : 2) != FC_OK)) {
        PyErr_NoMemory();
        return FC_ERROR;
    }
    if (FC_UNLIKELY(over)) {
        fc_evict(c, *place, FC_EXPIRED, out);
        *place = fc_table_free_slot(&c->store.table, fc_store_tag(&c->store, hash));
        found = FC_MISS;
    }
    return found;
}

/* Store a value: 1 stored, 0 refused by the mode, FC_BUSY, FC_HEAVY, FC_ERROR. */
static inline int
fc_put(fc_cache *c, fc_change *change, fc_exits *out)
{
    Py_hash_t hash = (Py_hash_t)change->in.hash;
    uint32_t at;
    int found, done = 0;
    FC_LOCK(c);
    if (FC_UNLIKELY(change->configured != c->configured)) {
        FC_UNLOCK(c);
        return fc_refuse_configured();
    }
    change->now = fc_now_to_change(c, change->ttl);
    found = fc_find_to_change(c, change->in.key, hash, change->now, &at, out);
    if (found < 0) {
        done = found;
    }
    else if (change->ttl != FC_NEVER && fc_store_allow_deadlines(&c->store) != FC_OK) {
        PyErr_NoMemory();
        done = FC_ERROR;
    }
    else if (change->token != NULL && *change->token != fc_token_now(c, hash)) {
        done = 0;
    }
    else if (found == FC_HIT) {
        if (change->mode != FC_PUT_NEW &&
            (change->expected == NULL || change->expected == c->store.slab.entries[at].value)) {
            done = fc_overwrite_with(c, at, change, out);
            fc_outdate(c, hash);
        }
    }
    else if (change->mode != FC_PUT_OLD) {
        done = fc_insert_with(c, change, out);
        fc_outdate(c, hash);
    }
    FC_UNLOCK(c);
    return done;
}

/* Give an entry another ttl, which is a use: 1, 0 absent, FC_BUSY, FC_ERROR. */
static inline int
fc_touch_key(fc_cache *c, PyObject *key, Py_hash_t hash, int64_t ttl, fc_exits *out)
{
    fc_change change = {.ttl = ttl, .left = FC_NEVER, .now = fc_now_to_change(c, ttl)};
    uint32_t at;
    int found;
    FC_LOCK(c);
    found = fc_find_to_change(c, key, hash, change.now, &at, out);
    if (found == FC_HIT) {
        if (ttl != FC_NEVER && fc_store_allow_deadlines(&c->store) != FC_OK) {
            PyErr_NoMemory();
            found = FC_ERROR;
        }
        else {
            fc_touch(c, at);
            fc_apply_deadline(c, at, &change);
        }
    }
    FC_UNLOCK(c);
    return found;
}

/* Remove a key; what it held is the last of out.  1 removed, 0 absent, FC_BUSY, FC_ERROR. */
static inline int
fc_remove(fc_cache *c, PyObject *key, Py_hash_t hash, fc_exits *out)
{
    uint32_t at;
    int found;
    FC_LOCK(c);
    found = fc_find_to_change(c, key, hash, fc_now_to_change(c, FC_NEVER), &at, out);
    if (found == FC_HIT) {
        fc_evict(c, at, FC_DELETED, out);
    }
    if (found >= 0) {
        fc_outdate(c, hash); /* also when absent: a load of it may be under way */
    }
    FC_UNLOCK(c);
    return found;
}

/* Let go of what is queued; foreign code may run. */
FC_INLINE void
fc_let_go(fc_exits *x)
{
    for (size_t i = 0; i < x->count; i++) {
        Py_XDECREF((PyObject *)x->items[i].key);
        Py_DECREF((PyObject *)x->items[i].value);
    }
    x->count = 0;
}

FC_INLINE void
fc_release(fc_exits *x, fc_alloc *alloc)
{
    fc_let_go(x);
    fc_exits_free(x, alloc);
}

#endif
