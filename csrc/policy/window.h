/* window.h - a window of newcomers before a main part that admits by frequency: W-TinyLFU.
 *
 * Three lists, each from cold to hot.  A newcomer comes into the window (list 1).  What overflows the
 * window goes to the hot end of probation (list 0), and where something has to go, the first that
 * overflowed is the candidate: if its estimate in the sketch is above that of the coldest on
 * probation by more than one, that one goes, otherwise the candidate.  A use promotes from probation
 * to the protected list (list 2), which has at most four fifths of the main part; what overflows that
 * goes back to the hot end of probation (Einziger, Friedman and Manes, "TinyLFU: a highly efficient
 * cache admission policy", 2017).
 *
 * By more than one, since the request that brought the candidate has counted, while the other may be
 * about to be asked for: in a loop over more keys than fit all counts are equal but for that one.  By
 * weight, a candidate is compared with all that would have to go for it together.
 *
 * Whoever can predict the counters could keep a candidate out for ever by making the victim look
 * popular.  So a candidate that loses, but is itself warm, is let in once in 128 times.
 *
 * Cost: O(1) amortized.  The shares hold after each operation, but for a while after they changed: a
 * step moves at most WINDOW_STEPS entries, and an insertion is three steps.  The sketch is somebody
 * else's, who counts; here it is only read. */
#ifndef FC_POLICY_WINDOW_H
#define FC_POLICY_WINDOW_H

#include "../fc_sketch.h"
#include "../fc_store.h"

#define WINDOW_STEPS 64
/* What a candidate's own arrival has added to its estimate. */
#define WINDOW_HEADSTART 1
/* Counters read 7 or less right after an ageing, so that ordinary cold candidates never gamble. */
#define WINDOW_WARM 6
#define WINDOW_CHANCE 128
/* How many victims are looked at for one candidate, where weights bound. */
#define WINDOW_VICTIMS 16

enum { WINDOW_PROBATION, WINDOW_WINDOW, WINDOW_PROTECTED };

typedef struct window_state {
    const fc_sketch *sketch;
    uint64_t draw; /* state of the random numbers */
    uint64_t window_weight, protected_weight; /* caps; those of what is not bounded are never met */
    uint32_t window, protected;
    uint32_t candidate; /* of the insertion under way, or FC_NIL */
} window_state;

FC_INLINE window_state *
window_of(const fc_store *s)
{
    return s->state;
}

FC_INLINE uint64_t
window_mix(const fc_store *s, int64_t hash)
{
    uint64_t state = (uint64_t)hash ^ s->seed;
    return fc_hash_next(&state);
}

/* Give the window that share of the cache, and the protected list four fifths of what is left. */
static void
window_set_share(fc_store *s, double share)
{
    window_state *w = window_of(s);
    w->window = w->protected = UINT32_MAX;
    w->window_weight = w->protected_weight = UINT64_MAX;
    if (s->max_entries < FC_ENTRIES_MAX) {
        w->window = (uint32_t)(share * s->max_entries + 0.5);
        w->window = w->window > 0 ? w->window : 1;
        w->protected = (uint32_t)((uint64_t)(s->max_entries - w->window) * 4 / 5);
    }
    if (s->max_weight != UINT64_MAX) {
        uint64_t rest;
        w->window_weight = (uint64_t)(share * (double)s->max_weight);
        rest = s->max_weight - w->window_weight;
        w->protected_weight = rest / 5 * 4 + rest % 5 * 4 / 5;
    }
}

FC_INLINE bool
window_over(const fc_store *s, uint32_t entries, uint64_t weight)
{
    const window_state *w = window_of(s);
    return (uint64_t)s->list_count[WINDOW_WINDOW] + entries > w->window ||
           (s->weighed && s->list_weight[WINDOW_WINDOW] + weight > w->window_weight);
}

FC_INLINE bool
window_over_protected(const fc_store *s)
{
    const window_state *w = window_of(s);
    return s->list_count[WINDOW_PROTECTED] > w->protected ||
           (s->weighed && s->list_weight[WINDOW_PROTECTED] > w->protected_weight);
}

FC_INLINE void
window_move(fc_store *s, uint32_t at, uint32_t list)
{
    fc_store_unlink(s, at);
    fc_store_push(s, list, at);
}

/* Bring the protected list back to its share. */
FC_INLINE void
window_demote(fc_store *s)
{
    for (uint32_t i = 0; i < WINDOW_STEPS && window_over_protected(s); i++) {
        window_move(s, s->slab.entries[WINDOW_PROTECTED].next, WINDOW_PROBATION);
    }
}

/* Let the window overflow until so much more fits, but for so many of its youngest; returns the first
 * to leave it, or FC_NIL. */
static uint32_t
window_overflow(fc_store *s, uint32_t entries, uint64_t weight, uint32_t keep)
{
    uint32_t first = FC_NIL;
    for (uint32_t i = 0;
         i < WINDOW_STEPS && s->list_count[WINDOW_WINDOW] > keep && window_over(s, entries, weight);
         i++) {
        uint32_t at = s->slab.entries[WINDOW_WINDOW].next;
        window_move(s, at, WINDOW_PROBATION);
        first = first == FC_NIL ? at : first;
    }
    return first;
}

static void
window_on_add(fc_store *s, uint32_t at, const fc_incoming *in)
{
    window_of(s)->candidate = FC_NIL;
    if (in->memo != NULL) { /* where the original stands, whatever its share may just be */
        fc_store_push(s, in->memo->list <= WINDOW_PROTECTED ? in->memo->list : WINDOW_PROBATION,
                      at);
        return;
    }
    fc_store_push(s, WINDOW_WINDOW, at);
    if (FC_UNLIKELY(window_over(s, 0, 0))) {
        window_overflow(s, 0, 0, 1);
    }
}

FC_INLINE void
window_on_hit(fc_store *s, uint32_t at)
{
    fc_entry *entries = s->slab.entries;
    uint32_t list = entries[at].list;
    if (list == WINDOW_PROBATION) {
        window_move(s, at, WINDOW_PROTECTED);
        if (window_over_protected(s)) {
            window_demote(s);
        }
    }
    else if (entries[list].prev != at) {
        fc_list_remove(entries, at);
        fc_list_push(entries, list, at);
    }
}

static void
window_on_remove(fc_store *s, uint32_t at, fc_cause cause FC_UNUSED)
{
    window_state *w = window_of(s);
    if (FC_UNLIKELY(w->candidate == at)) {
        uint32_t next = s->slab.entries[at].next;
        w->candidate = next >= FC_LISTS ? next : FC_NIL;
    }
    fc_store_unlink(s, at);
}

FC_INLINE unsigned
window_estimate(const fc_store *s, uint32_t at)
{
    return fc_sketch_estimate(window_of(s)->sketch, window_mix(s, s->slab.entries[at].hash));
}

/* What those would be worth that had to go for the candidate: the coldest on, until they weigh as
 * much as it does, or as what comes in still lacks. */
static unsigned
window_price(const fc_store *s, const fc_incoming *in, uint32_t candidate, uint32_t at)
{
    uint64_t needed = s->weights[candidate], weight = 0;
    uint64_t lacking = s->weight + (in->spare == FC_NIL ? in->weight : 0);
    unsigned price = 0;
    lacking = lacking > s->max_weight ? lacking - s->max_weight : 0;
    needed = lacking < needed ? lacking : needed;
    for (uint32_t i = 0; i < WINDOW_VICTIMS && at >= FC_LISTS && at != candidate; i++) {
        if (at != in->spare) {
            price += window_estimate(s, at);
            weight += s->weights[at];
        }
        if (weight >= needed) {
            break;
        }
        at = s->slab.entries[at].next;
    }
    return price;
}

FC_INLINE bool
window_gamble(window_state *w)
{
    return fc_hash_next(&w->draw) % WINDOW_CHANCE == 0;
}

/* The coldest on probation, or the candidate. */
static uint32_t
window_victim(fc_store *s, const fc_incoming *in)
{
    window_state *w = window_of(s);
    uint32_t coldest = fc_store_oldest(s, WINDOW_PROBATION, in), candidate;
    unsigned estimate, price;
    if (in == NULL) { /* nobody comes: by order */
        coldest = coldest != FC_NIL ? coldest : fc_store_oldest(s, WINDOW_WINDOW, in);
        return coldest != FC_NIL ? coldest : fc_store_oldest(s, WINDOW_PROTECTED, in);
    }
    if (w->candidate != FC_NIL &&
        (in->spare != FC_NIL || /* left over from an insertion that failed */
         s->slab.entries[w->candidate].list != WINDOW_PROBATION)) {
        w->candidate = FC_NIL;
    }
    if (in->spare == FC_NIL && w->candidate == FC_NIL) {
        window_demote(s); /* or nobody could ever come to where it is over a smaller share */
        w->candidate = window_overflow(s, 1, in->weight, 0);
        coldest = fc_store_oldest(s, WINDOW_PROBATION, in);
    }
    candidate = w->candidate != FC_NIL ? w->candidate : fc_store_oldest(s, WINDOW_WINDOW, in);
    if (coldest == FC_NIL) {
        coldest = fc_store_oldest(s, WINDOW_PROTECTED, in);
    }
    if (coldest == FC_NIL || candidate == FC_NIL || candidate == coldest) {
        return coldest != FC_NIL ? coldest : candidate;
    }
    estimate = window_estimate(s, candidate);
    price = s->max_weight != UINT64_MAX ? window_price(s, in, candidate, coldest)
                                        : window_estimate(s, coldest);
    if (estimate > price + WINDOW_HEADSTART || (estimate >= WINDOW_WARM && window_gamble(w))) {
        if (w->candidate != FC_NIL) { /* it is in: the next that overflowed is the candidate */
            uint32_t next = s->slab.entries[candidate].next;
            w->candidate = next >= FC_LISTS ? next : FC_NIL;
        }
        return coldest;
    }
    return candidate;
}

static const fc_policy FC_WINDOW = {
    .name = "window",
    .on_add = window_on_add,
    .on_hit = window_on_hit,
    .on_remove = window_on_remove,
    .victim = window_victim,
};

#endif
