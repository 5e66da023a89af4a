/* sieve.h - a queue that a hand goes round, taking out what was not used since it came by.
 *
 * Entries stay in the order of arrival.  A hit sets a mark and moves nothing.  The hand starts at
 * the oldest, goes towards the young end, takes the mark from what has one, and stops at the first
 * that has none: the victim.  There it stays, so that what it has passed is left alone for a whole
 * round while newcomers are looked at soon (Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is
 * simpler than LRU", NSDI 2024).
 *
 * The round is two lists: ahead of the hand and behind it, each from old to young.  Newcomers go to
 * the young end ahead; what the hand passes goes to the young end behind; when nothing is ahead, the
 * two change their parts.  So the hand is always at the oldest ahead, no removal can leave it
 * dangling, and an entry tells on which side of it it is, which a copy has to know.
 *
 * Cost: a hit O(1), of which most store nothing; an eviction O(1) amortized, as each mark taken pays
 * for a step; no bytes.  Right where much comes once and the rest stays popular for long, as on the
 * web.  Loops and long scans a little larger than the cache leave nothing in it.
 *
 * Not chosen: one list and the place of the hand (a copy would have to carry it, and each removal to
 * look at it; passing an entry would be two stores cheaper). */
#ifndef FC_POLICY_SIEVE_H
#define FC_POLICY_SIEVE_H

#include "../fc_store.h"

/* Which list is ahead, 0 or 1; kept in the sentinel of list 0, which has no other use for it. */
FC_INLINE uint32_t
sieve_ahead(const fc_store *s)
{
    return s->slab.entries[0].bits;
}

/* At the young end the hand goes on to the oldest, before anything else comes in. */
FC_INLINE void
sieve_turn(fc_store *s)
{
    s->slab.entries[0].bits ^= s->list_count[sieve_ahead(s)] == 0;
}

static void
sieve_on_add(fc_store *s, uint32_t at, const fc_incoming *in)
{
    const fc_memo *memo = in->memo;
    if (memo == NULL) {
        sieve_turn(s);
        fc_store_push(s, sieve_ahead(s), at);
    }
    else {
        s->slab.entries[at].bits = memo->bits != 0;
        fc_store_push(s, sieve_ahead(s) ^ (memo->list == 1), at);
    }
}

static void
sieve_on_remove(fc_store *s, uint32_t at, fc_cause cause FC_UNUSED)
{
    fc_store_unlink(s, at);
}

/* Ends within two rounds, for the first takes every mark. */
static uint32_t
sieve_victim(fc_store *s, const fc_incoming *in)
{
    fc_entry *entries = s->slab.entries;
    uint32_t spare = in == NULL ? FC_NIL : in->spare;
    for (;;) {
        uint32_t ahead, at;
        sieve_turn(s);
        ahead = sieve_ahead(s);
        at = entries[ahead].next;
        if (at != spare) {
            if (entries[at].bits == 0) {
                return at;
            }
            entries[at].bits = 0;
        }
        fc_store_unlink(s, at);
        fc_store_push(s, ahead ^ 1, at);
    }
}

static void
sieve_save(const fc_store *s, uint32_t at, fc_memo *memo)
{
    memo->list = (uint8_t)(s->slab.entries[at].list ^ sieve_ahead(s));
    memo->bits = s->slab.entries[at].bits;
}

/* The first round takes what has no mark, the second the rest. */
static void
sieve_order(const fc_store *s, uint32_t *out)
{
    const fc_entry *entries = s->slab.entries;
    for (uint32_t marked = 0; marked <= 1; marked++) {
        for (uint32_t side = 0; side <= 1; side++) {
            uint32_t list = sieve_ahead(s) ^ side;
            for (uint32_t at = entries[list].next; at != list; at = entries[at].next) {
                if (entries[at].bits == marked) {
                    *out++ = at;
                }
            }
        }
    }
}

static const char *
sieve_check(const fc_store *s)
{
    if (sieve_ahead(s) > 1 || s->list_count[0] + s->list_count[1] != s->count) {
        return "sieve: an entry that is on neither side of the hand";
    }
    for (uint32_t at = fc_slab_live(&s->slab, FC_LISTS); at != FC_NIL;
         at = fc_slab_live(&s->slab, at + 1)) {
        if (s->slab.entries[at].bits > 1) {
            return "sieve: more than one mark";
        }
    }
    return NULL;
}

static const fc_policy FC_SIEVE = {
    .name = "sieve",
    .on_add = sieve_on_add,
    .on_hit = fc_store_mark,
    .on_remove = sieve_on_remove,
    .victim = sieve_victim,
    .save = sieve_save,
    .order = sieve_order,
    .check = sieve_check,
    .queues = true,
    .marks = 1,
};

#endif
