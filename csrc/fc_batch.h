/* fc_batch.h - many plain keys at once, so that their cache misses overlap.
 *
 * A lookup in a large cache waits for memory three times: for the slot, the entry, the value.  Over
 * a batch each of these is prefetched for all keys before the first is needed.  A run stops at a
 * key that is not an exact str, bytes or int, or that has to be compared with one: the caller does
 * that one alone and goes on, so that no foreign code runs in here. */
#ifndef FC_BATCH_H
#define FC_BATCH_H

#include "fc_named.h"

/* Keys of one batch whose slots, entries and values are fetched together. */
#define FC_BATCH 32
/* Up to so many entries all is in a near cache, and prefetching only costs: 2 ns of 10 a key. */
#define FC_NEAR 8192

/* Hash keys from the first on; stops at one that is not plain.  Returns how many. */
static inline Py_ssize_t
fc_hash_run(PyObject *const *keys, Py_ssize_t count, Py_hash_t *hashes)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!fc_is_plain(keys[i])) {
            return i;
        }
        hashes[i] = fc_hash(keys[i]);
    }
    return count;
}

/* Find the places of plain keys, FC_NIL where absent.  Each step is done for the whole batch, so
 * that its cache misses overlap.  Returns how many were decided without asking anybody; needs no
 * GIL while the caller is among the readers. */
static inline Py_ssize_t
fc_probe_run(const fc_cache *c, PyObject *const *keys, const Py_hash_t *hashes, Py_ssize_t count,
             uint32_t *places)
{
    const fc_store *s = &c->store;
    for (Py_ssize_t from = 0; from < count; from += FC_BATCH) {
        Py_ssize_t to = count - from < FC_BATCH ? count : from + FC_BATCH;
        Py_ssize_t far = s->count < FC_NEAR ? from : to; /* nothing to prefetch: it is near */
        for (Py_ssize_t i = from; i < far; i++) {
            FC_PREFETCH(&s->table.slots[fc_table_home(&s->table, fc_store_tag(s, hashes[i]))]);
        }
        for (Py_ssize_t i = from; i < far; i++) {
            uint32_t home = fc_table_home(&s->table, fc_store_tag(s, hashes[i]));
            uint32_t index = s->table.slots[home].index;
            if (index != FC_NIL) {
                const char *entry = (const char *)&s->slab.entries[index];
                FC_PREFETCH(entry);
                FC_PREFETCH(entry + sizeof(fc_entry) - 1);
            }
        }
        for (Py_ssize_t i = from; i < to; i++) {
            int found = fc_probe(c, keys[i], hashes[i], &places[i]);
            if (found == FC_ASK) {
                return i;
            }
            if (found == FC_MISS) {
                places[i] = FC_NIL;
            }
        }
    }
    return count;
}

/* Let the policy know of the hits and take references; absent (which may be NULL) for misses. */
static inline void
fc_hit_run(fc_cache *c, const uint32_t *places, Py_ssize_t count, PyObject *absent,
           PyObject **values)
{
    const fc_entry *entries = c->store.slab.entries;
    for (Py_ssize_t from = 0; from < count; from += FC_BATCH) {
        Py_ssize_t to = count - from < FC_BATCH ? count : from + FC_BATCH;
        Py_ssize_t far = c->store.count < FC_NEAR ? from : to;
        for (Py_ssize_t i = from; i < far; i++) {
            if (places[i] != FC_NIL) {
                const fc_entry *e = &entries[places[i]];
                FC_PREFETCH(e->value);
                FC_PREFETCH(&entries[e->prev].prev);
                FC_PREFETCH(&entries[e->next].prev);
            }
        }
        for (Py_ssize_t i = from; i < to; i++) {
            PyObject *value = places[i] != FC_NIL ? fc_hit_live(c, places[i]) : NULL;
            if (value == NULL) {
                c->store.misses++;
                Py_XINCREF(absent);
                value = absent;
            }
            values[i] = value;
        }
    }
}

/* Get plain keys; returns how many were done before one that needs foreign code. */
static inline Py_ssize_t
fc_get_run(fc_cache *c, PyObject *const *keys, Py_ssize_t count, PyObject *absent,
           PyObject **values)
{
    Py_hash_t hashes[FC_BATCH];
    uint32_t places[FC_BATCH];
    Py_ssize_t done = 0;
    FC_LOCK(c);
    while (done < count) {
        Py_ssize_t step = count - done < FC_BATCH ? count - done : FC_BATCH;
        Py_ssize_t plain = fc_hash_run(keys + done, step, hashes);
        plain = fc_probe_run(c, keys + done, hashes, plain, places);
        fc_hit_run(c, places, plain, absent, values + done);
        done += plain;
        if (plain < step) {
            break;
        }
    }
    FC_UNLOCK(c);
    return done;
}

/* How many keys a run of writes may begin with: all, as far as none needs care. */
FC_INLINE Py_ssize_t
fc_carefree_run(const fc_cache *c, PyObject *const *keys, Py_ssize_t count)
{
    Py_ssize_t run = 0;
    if (fc_is_burdened(c)) {
        return 0;
    }
    if (FC_LIKELY(c->rules == NULL)) {
        return count;
    }
    while (run < count && fc_is_unnamed(c->rules, keys[run])) {
        run++;
    }
    return run;
}

/* Put up to FC_BATCH plain keys; returns how many were done before one that needs care: foreign
 * code, waiting for readers, or memory.  out has room for 2 x FC_BATCH. */
static inline Py_ssize_t
fc_put_run(fc_cache *c, PyObject *const *keys, PyObject *const *values, Py_ssize_t count,
           fc_exits *out)
{
    Py_hash_t hashes[FC_BATCH];
    uint32_t places[FC_BATCH];
    uint64_t version;
    Py_ssize_t done = 0;
    FC_LOCK(c);
    version = c->store.version;
    count = fc_hash_run(keys, fc_carefree_run(c, keys, count), hashes);
    count = fc_probe_run(c, keys, hashes, count, places);
    for (; done < count; done++) {
        uint32_t at = places[done];
        /* An insert before this one may have brought this key, or have evicted it. */
        int found = FC_HIT;
        if (FC_UNLIKELY(at == FC_NIL || c->store.version != version)) {
            found = fc_probe(c, keys[done], hashes[done], &at);
        }
        if (FC_LIKELY(found == FC_HIT)) {
            fc_overwrite(c, at, values[done], out);
        }
        else {
            fc_incoming in = fc_plain(keys[done], hashes[done], values[done]);
            if (found == FC_ASK || fc_insert(c, at, &in, out) != FC_OK) {
                PyErr_Clear(); /* of memory; the caller will meet it again */
                break;
            }
        }
    }
    FC_UNLOCK(c);
    return done;
}

#endif
