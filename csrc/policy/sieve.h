/* sieve.h - a queue in which what was used is passed over once.
 *
 * One list in the order of arrival and one bit per entry: used since the hand came by.  Where something
 * has to go, the hand walks from old to young, over the young end back to the old one, clears the bits
 * that it meets and takes the first entry without one; it stays there, and what it passed keeps its
 * place (Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is simpler than LRU", NSDI 2024).  Cost: a hit
 * moves nothing; an eviction is O(1) amortized over the hits; 4 bytes per cache.
 *
 * Right where hits should be cheap and newcomers are seldom asked for again, as on the web; one scan
 * that is larger than the cache empties it, and in a loop it does as badly as lru.
 *
 * A copy pops in the same order; its hand is at its oldest again. */
#ifndef FC_POLICY_SIEVE_H
#define FC_POLICY_SIEVE_H

#include "../fc_store.h"

typedef struct sieve_state {
    uint32_t hand; /* the next to be looked at; the sentinel: the oldest */
} sieve_state;

FC_INLINE uint32_t *
sieve_hand(const fc_store *s)
{
    return &((sieve_state *)s->state)->hand;
}

static int
sieve_open(fc_store *s)
{
    s->state = fc_alloc_resize(s->alloc, NULL, 0, sizeof(sieve_state));
    if (s->state == NULL) {
        return FC_NOMEM;
    }
    *sieve_hand(s) = 0;
    return FC_OK;
}

static void
sieve_close(fc_store *s)
{
    fc_alloc_release(s->alloc, s->state, sizeof(sieve_state));
}

static void
sieve_on_add(fc_store *s, uint32_t at, const fc_incoming *in)
{
    fc_store_push(s, 0, at);
    s->slab.entries[at].bits = in->memo != NULL && in->memo->bits != 0;
}

static void
sieve_on_hit(fc_store *s, uint32_t at)
{
    fc_store_mark(s, at, 1);
}

static void
sieve_on_remove(fc_store *s, uint32_t at, fc_cause cause FC_UNUSED)
{
    if (*sieve_hand(s) == at) {
        *sieve_hand(s) = s->slab.entries[at].next;
    }
    fc_store_unlink(s, at);
}

/* The next one without a bit; those before it lose theirs. */
static uint32_t
sieve_victim(fc_store *s, const fc_incoming *in)
{
    fc_entry *entries = s->slab.entries;
    uint32_t at = *sieve_hand(s);
    for (;; at = entries[at].next) {
        if (at < FC_LISTS || (in != NULL && at == in->spare)) {
            continue;
        }
        if (entries[at].bits == 0) {
            *sieve_hand(s) = at;
            return at;
        }
        entries[at].bits = 0;
    }
}

static void
sieve_save(const fc_store *s, uint32_t at, fc_memo *memo)
{
    memo->bits = s->slab.entries[at].bits;
}

/* From the hand on once around: first those without a bit, then the others. */
static void
sieve_order(const fc_store *s, uint32_t *out)
{
    const fc_entry *entries = s->slab.entries;
    for (unsigned bit = 0; bit < 2; bit++) {
        uint32_t at = *sieve_hand(s);
        do {
            if (at >= FC_LISTS && entries[at].bits == bit) {
                *out++ = at;
            }
            at = entries[at].next;
        } while (at != *sieve_hand(s));
    }
}

static const char *
sieve_check(const fc_store *s)
{
    uint32_t hand = *sieve_hand(s);
    if (hand != 0 && (hand < FC_LISTS || hand >= s->slab.used ||
                      s->slab.entries[hand].key == NULL || s->slab.entries[hand].list != 0)) {
        return "sieve: the hand points at nothing";
    }
    return s->list_count[0] == s->count ? NULL : "sieve: an entry that is not in the queue";
}

static const fc_policy FC_SIEVE = {
    .name = "sieve",
    .on_add = sieve_on_add,
    .on_hit = sieve_on_hit,
    .on_remove = sieve_on_remove,
    .victim = sieve_victim,
    .save = sieve_save,
    .open = sieve_open,
    .close = sieve_close,
    .order = sieve_order,
    .check = sieve_check,
};

#endif
