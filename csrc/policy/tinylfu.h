/* tinylfu.h - W-TinyLFU whose window finds its own size.
 *
 * A newcomer has to be asked for more often than what would go for it (window.h).  How large the
 * window should be depends on the traffic: with 1 % scans and loops leave the rest alone, with 99 %
 * this is lru.  So five small shadow caches of keys alone, one for each share, see the same sample of
 * all keys; the share whose shadow had the best hit ratio over a while is taken.  The sample is by
 * key, 1 in a power of two, which keeps the pattern of reuse (Waldspurger, Saemundsson, Ahmad and
 * Park, "Cache modeling and optimization using miniature simulations", 2017).
 *
 * Every use and every insertion counts in the sketch, which is halved after ten times as many
 * additions as there are entries (Einziger, Friedman and Manes, "TinyLFU", 2017), but not before
 * something was evicted.  Two things make a hit in a cache that holds all that is asked for cost
 * little more than with lru: an entry that has itself added 15 since the last halving skips the
 * sketch, as its counters are full; and the shadows rest while nothing comes in.
 *
 * Cost: O(1) amortized, a hit twice that of lru where the shadows are at work; 16 to 32 bytes per
 * entry for the sketch, whose halving touches all of it, and up to 220 KiB for the shadows (twice
 * that where weights bound).
 *
 * Right nearly everywhere: the best mean hit ratio of all policies here, and never far from the best.
 *
 * A copy takes over the estimates of its entries, the share and the random numbers, but not what the
 * sketch knows of other keys, nor the shadows.
 *
 * Not chosen: climbing to a better window step by step (it needs tens of steps to arrive; 5 points
 * less); a deferred buffer of hits (no gain in C); a doorkeeper before the sketch (one more table). */
#ifndef FC_POLICY_TINYLFU_H
#define FC_POLICY_TINYLFU_H

#include "shadows.h"

/* A sketch that is halved too often forgets too soon. */
#define TINYLFU_COUNTED_MIN 256
#define TINYLFU_PERIOD 10
/* The low half of an entry's bits: what it has itself added since the last halving; the high half:
 * which halving that was. */
#define TINYLFU_ADDED 15

#define TINYLFU_SHARE_FIRST 0.10 /* before the shadows know better */
/* Weight of the newest period in a score, and by how much a share must beat the one in force. */
#define TINYLFU_NEWEST 0.1
#define TINYLFU_MARGIN 0.002

typedef struct tinylfu_state {
    window_state window; /* first: window.h finds it there */
    fc_sketch sketch;
    uint8_t full;    /* the bits of an entry whose counters are full */
    uint8_t watched; /* FC_ENTRY_SAMPLED, or 0 while the shadows rest */
    bool compared;   /* something has had to go since the last halving, */
    bool inserted;   /* and something has come since the shadows were judged last */
    bool counted;    /* the newcomer with this hash already */
    int64_t hash;
    double share;       /* of the window */
    double scores[SHADOWS];
    uint32_t periods;
    shadows_state shadows;
} tinylfu_state;

FC_INLINE tinylfu_state *
tinylfu_of(const fc_store *s)
{
    return s->state;
}

/* ---- shadows ------------------------------------------------------------------------------ */

/* Take the share whose shadow did best lately. */
static void
tinylfu_judge(fc_store *s)
{
    tinylfu_state *t = tinylfu_of(s);
    shadows_state *h = &t->shadows;
    uint32_t best = 0, now = SHADOWS;
    double newest = 1.0 / ++t->periods;
    newest = newest > TINYLFU_NEWEST ? newest : TINYLFU_NEWEST;
    for (uint32_t i = 0; i < SHADOWS; i++) {
        t->scores[i] += newest * ((double)h->hits[i] / h->seen - t->scores[i]);
        h->hits[i] = 0;
        best = t->scores[i] > t->scores[best] ? i : best;
        now = SHADOW_SHARE[i] == t->share ? i : now;
    }
    h->seen = 0;
    if (t->periods == 1 || now == SHADOWS || t->scores[best] > t->scores[now] + TINYLFU_MARGIN) {
        t->share = SHADOW_SHARE[best];
        window_set_share(s, t->share);
    }
    t->watched = t->inserted ? FC_ENTRY_SAMPLED : 0;
    t->inserted = false;
}

/* A request for a key of the sample. */
FC_NOINLINE static void
tinylfu_ask_shadows(fc_store *s, int64_t hash, uint64_t weight)
{
    shadows_state *h = &tinylfu_of(s)->shadows;
    fc_incoming in = {.key = h, .value = h, .hash = hash, .weight = weight, .spare = FC_NIL};
    for (uint32_t i = 0; i < SHADOWS; i++) {
        h->hits[i] += shadows_ask_one(&h->stores[i], &in);
    }
    if (++h->seen >= h->period) {
        tinylfu_judge(s);
    }
}

/* Which entries the shadows see. */
static void
tinylfu_mark_sampled(fc_store *s)
{
    const shadows_state *h = &tinylfu_of(s)->shadows;
    for (uint32_t at = fc_slab_live(&s->slab, FC_LISTS); at != FC_NIL;
         at = fc_slab_live(&s->slab, at + 1)) {
        fc_entry *e = &s->slab.entries[at];
        e->flags &= (uint8_t)~FC_ENTRY_SAMPLED;
        if (shadows_sample(h, window_mix(s, e->hash))) {
            e->flags |= FC_ENTRY_SAMPLED;
        }
    }
}

/* Shadows to the measure of so many entries; where there is no memory the old ones stay. */
static void
tinylfu_renew_shadows(fc_store *s, uint32_t entries)
{
    tinylfu_state *t = tinylfu_of(s);
    shadows_state fresh;
    if (shadows_open(s, &fresh, entries) != FC_OK) {
        return;
    }
    shadows_close(&t->shadows);
    t->shadows = fresh;
    for (uint32_t i = 0; i < SHADOWS; i++) {
        t->shadows.stores[i].state = &t->shadows.states[i];
        window_set_share(&t->shadows.stores[i], SHADOW_SHARE[i]);
    }
    tinylfu_mark_sampled(s);
}

/* ---- counting ----------------------------------------------------------------------------- */

/* Halve the counters; every entry's own additions are out of date by that. */
FC_NOINLINE static void
tinylfu_age(fc_store *s)
{
    tinylfu_state *t = tinylfu_of(s);
    if (!t->compared) { /* with nobody: nothing to forget for */
        t->sketch.additions = 0;
        return;
    }
    t->compared = false;
    fc_sketch_halve(&t->sketch);
    t->full = (uint8_t)(t->full + (1 << 4));
    if (t->full >> 4 == 0) { /* the numbers of halvings start again */
        for (uint32_t at = FC_LISTS; at < s->slab.used; at++) {
            s->slab.entries[at].bits = 0;
        }
    }
}

FC_INLINE void
tinylfu_count(fc_store *s, uint64_t mix)
{
    fc_sketch *k = &tinylfu_of(s)->sketch;
    uint32_t entries = s->count > TINYLFU_COUNTED_MIN ? s->count : TINYLFU_COUNTED_MIN;
    if (fc_sketch_add(k, mix) && FC_UNLIKELY(k->additions >= (uint64_t)entries * TINYLFU_PERIOD)) {
        tinylfu_age(s);
    }
}

/* A use that counts, or that the shadows see. */
FC_NOINLINE static void
tinylfu_note(fc_store *s, uint32_t at)
{
    tinylfu_state *t = tinylfu_of(s);
    fc_entry *e = &s->slab.entries[at];
    if (e->bits != t->full) {
        if ((e->bits ^ t->full) >> 4 != 0) {
            e->bits = t->full & (uint8_t)~TINYLFU_ADDED;
        }
        e->bits++;
        tinylfu_count(s, window_mix(s, e->hash));
    }
    if (e->flags & t->watched) {
        tinylfu_ask_shadows(s, e->hash, fc_store_weight(s, at));
    }
}

/* ---- the policy --------------------------------------------------------------------------- */

static void
tinylfu_on_add(fc_store *s, uint32_t at, const fc_incoming *in)
{
    tinylfu_state *t = tinylfu_of(s);
    fc_entry *e = &s->slab.entries[at];
    uint64_t mix = window_mix(s, in->hash);
    e->flags &= (uint8_t)~FC_ENTRY_SAMPLED;
    if (shadows_sample(&t->shadows, mix)) {
        e->flags |= FC_ENTRY_SAMPLED;
    }
    if (in->memo != NULL) {
        fc_sketch_raise(&t->sketch, mix,
                        in->memo->uses < FC_SKETCH_MOST ? (unsigned)in->memo->uses
                                                        : FC_SKETCH_MOST);
    }
    else {
        if (!t->counted || t->hash != in->hash) {
            tinylfu_count(s, mix);
        }
        e->bits = (uint8_t)(t->full - TINYLFU_ADDED); /* its arrival may have been halved already */
        t->watched = FC_ENTRY_SAMPLED;
        t->inserted = true;
        if (e->flags & FC_ENTRY_SAMPLED) {
            tinylfu_ask_shadows(s, in->hash, in->weight);
        }
    }
    t->counted = false;
    window_on_add(s, at, in);
}

static void
tinylfu_on_hit(fc_store *s, uint32_t at)
{
    const tinylfu_state *t = tinylfu_of(s);
    const fc_entry *e = &s->slab.entries[at];
    if (FC_UNLIKELY(e->bits != t->full || (e->flags & t->watched) != 0)) {
        tinylfu_note(s, at);
    }
    window_on_hit(s, at);
}

/* The weight may have grown; where there is none this is a hit, as other ways to write have it. */
static void
tinylfu_on_write(fc_store *s, uint32_t at, const fc_incoming *in FC_UNUSED)
{
    tinylfu_on_hit(s, at);
    if (s->weighed) {
        window_demote(s);
    }
}

/* Bounded by weight, a cache shows how many entries it holds when it is full. */
FC_INLINE void
tinylfu_measure(fc_store *s)
{
    uint32_t made = tinylfu_of(s)->shadows.entries;
    if (FC_UNLIKELY(s->weighed) && s->max_weight != UINT64_MAX &&
        (s->count / 2 > made || s->count < made / 2 || made == 0)) {
        tinylfu_renew_shadows(s, s->count);
    }
}

/* A newcomer is counted before it is compared with anybody. */
static uint32_t
tinylfu_victim(fc_store *s, const fc_incoming *in)
{
    tinylfu_state *t = tinylfu_of(s);
    if (in != NULL && in->spare == FC_NIL && in->memo == NULL &&
        (!t->counted || t->hash != in->hash)) {
        tinylfu_count(s, window_mix(s, in->hash));
        t->counted = true;
        t->hash = in->hash;
        t->window.candidate = FC_NIL;
        tinylfu_measure(s);
    }
    if (in != NULL) {
        t->compared = true;
    }
    return window_victim(s, in);
}

static void
tinylfu_save(const fc_store *s, uint32_t at, fc_memo *memo)
{
    memo->uses = window_estimate(s, at);
    memo->list = s->slab.entries[at].list;
}

static void
tinylfu_learned(const fc_store *s, fc_learned *learned)
{
    learned->draw = window_of(s)->draw;
    learned->share = tinylfu_of(s)->share;
}

static void
tinylfu_learn(fc_store *s, const fc_learned *learned)
{
    window_of(s)->draw = learned->draw;
    for (uint32_t i = 0; i < SHADOWS; i++) {
        if (learned->share == SHADOW_SHARE[i]) {
            tinylfu_of(s)->share = learned->share;
            window_set_share(s, learned->share);
        }
    }
}

static void
tinylfu_close(fc_store *s)
{
    tinylfu_state *t = tinylfu_of(s);
    shadows_close(&t->shadows);
    fc_sketch_free(&t->sketch, s->alloc);
    fc_alloc_release(s->alloc, t, sizeof *t);
}

/* The sketch grows with the entries. */
static int
tinylfu_reserve(fc_store *s)
{
    tinylfu_state *t = tinylfu_of(s);
    return fc_sketch_reserve(&t->sketch, s->alloc, s->slab.room - FC_LISTS);
}

static int
tinylfu_open(fc_store *s)
{
    tinylfu_state *t = fc_alloc_resize(s->alloc, NULL, 0, sizeof *t);
    if (t == NULL) {
        return FC_NOMEM;
    }
    memset(t, 0, sizeof *t);
    s->state = t;
    t->full = TINYLFU_ADDED;
    t->share = TINYLFU_SHARE_FIRST;
    t->window.sketch = &t->sketch;
    t->window.draw = s->seed;
    t->window.candidate = FC_NIL;
    window_set_share(s, t->share);
    if (s->max_weight == UINT64_MAX) {
        tinylfu_renew_shadows(s, s->max_entries);
    }
    if ((s->max_weight == UINT64_MAX && t->shadows.entries == 0) || tinylfu_reserve(s) != FC_OK) {
        tinylfu_close(s);
        s->state = NULL;
        return FC_NOMEM;
    }
    return FC_OK;
}

FC_INLINE bool
tinylfu_apart(uint64_t one, uint64_t other)
{
    return one / 2 >= other || other / 2 >= one;
}

/* Shadows of another order of magnitude are made anew; by weight not before the cache is full. */
static void
tinylfu_rebound(fc_store *s)
{
    tinylfu_state *t = tinylfu_of(s);
    shadows_state *h = &t->shadows;
    window_set_share(s, t->share);
    if (s->max_weight == UINT64_MAX) {
        if (tinylfu_apart(s->max_entries, h->entries)) {
            tinylfu_renew_shadows(s, s->max_entries);
        }
    }
    else if (h->entries > 0 && tinylfu_apart(s->max_weight / h->rate, h->stores[0].max_weight)) {
        shadows_close(h);
        tinylfu_mark_sampled(s);
    }
}

static const char *
tinylfu_check(const fc_store *s)
{
    const tinylfu_state *t = tinylfu_of(s);
    const char *wrong = NULL;
    if (s->list_count[WINDOW_PROBATION] + s->list_count[WINDOW_WINDOW] +
            s->list_count[WINDOW_PROTECTED] !=
        s->count) {
        return "tinylfu: an entry that is in no segment";
    }
    if (t->sketch.count < fc_sketch_blocks(s->slab.used - FC_LISTS)) {
        return "tinylfu: the sketch is too small";
    }
    for (uint32_t at = fc_slab_live(&s->slab, FC_LISTS); at != FC_NIL;
         at = fc_slab_live(&s->slab, at + 1)) {
        const fc_entry *e = &s->slab.entries[at];
        uint64_t mix = window_mix(s, e->hash);
        if (shadows_sample(&t->shadows, mix) != ((e->flags & FC_ENTRY_SAMPLED) != 0)) {
            return "tinylfu: an entry that is wrongly in the sample, or out of it";
        }
        if (e->bits >> 4 == t->full >> 4 &&
            fc_sketch_estimate(&t->sketch, mix) < (e->bits & TINYLFU_ADDED)) {
            return "tinylfu: an entry that has added more than the sketch says";
        }
    }
    for (uint32_t i = 0; wrong == NULL && t->shadows.entries > 0 && i < SHADOWS; i++) {
        wrong = fc_store_check(&t->shadows.stores[i]) != NULL ? "tinylfu: a shadow is broken"
                                                              : NULL;
    }
    return wrong;
}

static const fc_policy FC_TINYLFU = {
    .name = "tinylfu",
    .on_add = tinylfu_on_add,
    .on_hit = tinylfu_on_hit,
    .on_remove = window_on_remove,
    .victim = tinylfu_victim,
    .on_write = tinylfu_on_write,
    .save = tinylfu_save,
    .learned = tinylfu_learned,
    .learn = tinylfu_learn,
    .open = tinylfu_open,
    .close = tinylfu_close,
    .reserve = tinylfu_reserve,
    .rebound = tinylfu_rebound,
    .check = tinylfu_check,
};

#endif
