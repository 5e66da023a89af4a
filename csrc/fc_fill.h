/* fc_fill.h - putting in what a slow read has brought, unless the key was written meanwhile.
 *
 * Whoever reads a key from below takes a token before, and fills with it after.  A write, a removal
 * or a clear in between makes the token worthless, so that no stale value gets in.
 *
 * A write that goes below first is counted while it does: what is read meanwhile may be older than
 * what others have read since, so nothing is filled. */
#ifndef FC_FILL_H
#define FC_FILL_H

#include "fc_change.h"

/* A token taken before a slow read of a key: it holds until the key is written, removed or all is
 * cleared.  Keys share FC_GENERATIONS counters, so a stranger's write may outdate it, which costs
 * a fill and never lets a stale one in.  FC_ERROR: no memory. */
static inline int
fc_token(fc_cache *c, Py_hash_t hash, uint64_t *token)
{
    if (c->generations == NULL) {
        /* The second half has how many write there. */
        c->generations = calloc(2 * FC_GENERATIONS, sizeof *c->generations);
        if (c->generations == NULL) {
            PyErr_NoMemory();
            return FC_ERROR;
        }
        fc_cache_settle_care(c);
    }
    *token = fc_token_now(c, hash);
    return FC_OK;
}

/* The place of a key among the tokens. */
FC_INLINE uint32_t
fc_token_place(const fc_cache *c, Py_hash_t hash)
{
    return fc_store_tag(&c->store, hash) % FC_GENERATIONS;
}

/* Note that a key is being written below, and take a token.  FC_ERROR: no memory. */
static inline int
fc_writing_begin(fc_cache *c, uint32_t *place, Py_hash_t hash, uint64_t *token)
{
    int done;
    FC_LOCK(c);
    done = fc_token(c, hash, token);
    if (done == FC_OK) {
        *place = fc_token_place(c, hash);
        c->generations[FC_GENERATIONS + *place]++;
    }
    FC_UNLOCK(c);
    return done;
}

/* Whether others write at this place too. */
static inline bool
fc_writing_crosses(fc_cache *c, uint32_t place)
{
    bool crosses;
    FC_LOCK(c);
    crosses = c->generations[FC_GENERATIONS + place] > 1;
    if (crosses) {
        c->generations[place]++; /* of two writers at once neither keeps its value */
    }
    FC_UNLOCK(c);
    return crosses;
}

/* Whether anybody writes at the place of a key below. */
static inline bool
fc_is_writing(fc_cache *c, Py_hash_t hash)
{
    bool writing = false;
    FC_LOCK(c);
    if (c->generations != NULL) {
        writing = c->generations[FC_GENERATIONS + fc_token_place(c, hash)] > 0;
    }
    FC_UNLOCK(c);
    return writing;
}

static inline void
fc_writing_end(fc_cache *c, uint32_t place)
{
    FC_LOCK(c);
    c->generations[FC_GENERATIONS + place]--;
    FC_UNLOCK(c);
}

/* Insert what a slow read has brought, unless the key is there or the token is outdated: 1 or 0. */
static inline int
fc_fill(fc_cache *c, fc_change *change, uint64_t token, fc_exits *out)
{
    Py_hash_t hash = (Py_hash_t)change->in.hash;
    uint64_t now;
    uint32_t at;
    int done;
    FC_LOCK(c);
    if (FC_UNLIKELY(change->configured != c->configured)) {
        FC_UNLOCK(c);
        return fc_refuse_configured();
    }
    change->now = fc_now_to_change(c, change->ttl);
    done = fc_find_to_change(c, change->in.key, hash, change->now, &at, out);
    if (done >= 0 && (fc_token(c, hash, &now) != FC_OK ||
                      (change->ttl != FC_NEVER && fc_store_allow_deadlines(&c->store) != FC_OK))) {
        PyErr_NoMemory();
        done = FC_ERROR;
    }
    else if (done == FC_MISS && now == token &&
             c->generations[FC_GENERATIONS + fc_token_place(c, hash)] == 0) {
        done = fc_insert_with(c, change, out);
    }
    else if (done >= 0) {
        done = 0;
    }
    FC_UNLOCK(c);
    return done;
}

#endif
