/* shadows.h - small caches of keys alone that tell how large the window should be.
 *
 * One for each share of the window (window.h), as many times smaller than the cache as keys are
 * left out of the sample that they see.  They use the sketch of the cache, and do not count.
 * Between 32 and 511 entries each, so 205 KiB at most; twice that where weights bound. */
#ifndef FC_POLICY_SHADOWS_H
#define FC_POLICY_SHADOWS_H

#include "window.h"

#define SHADOWS 5
static const double SHADOW_SHARE[SHADOWS] = {0.01, 0.10, 0.40, 0.80, 0.99};
/* A shadow has between so many entries and twice as many, by the size of the cache. */
#define SHADOW_MIN 32
#define SHADOW_MAX 256
/* Sampled requests per shadow entry before the shadows are judged, as if it had 64 at least. */
#define SHADOW_JUDGED 4
#define SHADOW_JUDGED_MIN 64

typedef struct shadows_state {
    fc_store stores[SHADOWS];
    window_state states[SHADOWS];
    uint32_t entries; /* that the cache had when they were made; 0: there are none */
    uint32_t rate;    /* 1 in so many keys is in the sample; a power of two */
    uint32_t period, seen;
    uint32_t hits[SHADOWS];
} shadows_state;

static void
shadows_close(shadows_state *h)
{
    for (uint32_t i = 0; i < SHADOWS; i++) {
        if (h->stores[i].alloc != NULL) {
            fc_store_free(&h->stores[i]);
        }
    }
    memset(h, 0, sizeof *h);
}

FC_INLINE bool
shadows_sample(const shadows_state *h, uint64_t mix)
{
    /* Bits that neither the block nor the counters come from: the upper ones of a product. */
    return h->entries > 0 && ((mix * UINT64_C(0xD1342543DE82EF95)) >> 32 & (h->rate - 1)) == 0;
}

/* Make shadows of a cache of so many entries. */
static int
shadows_open(const fc_store *s, shadows_state *h, uint32_t entries)
{
    uint32_t least = entries / 16, size = entries;
    fc_limits limits = {.max_weight = UINT64_MAX};
    least = least < SHADOW_MIN ? SHADOW_MIN : least;
    least = least > SHADOW_MAX ? SHADOW_MAX : least;
    memset(h, 0, sizeof *h);
    h->rate = 1;
    while (size / 2 >= least) {
        size /= 2;
        h->rate *= 2;
    }
    h->period = SHADOW_JUDGED * (size < SHADOW_JUDGED_MIN ? SHADOW_JUDGED_MIN : size);
    limits.max_entries = size;
    if (s->max_weight != UINT64_MAX) { /* more and lighter entries may come */
        limits.max_weight = s->max_weight / h->rate;
        limits.max_entries = 2 * size;
    }
    for (uint32_t i = 0; i < SHADOWS; i++) {
        fc_store *shadow = &h->stores[i];
        if (fc_store_init(shadow, s->alloc, &FC_WINDOW, &limits, s->seed) != FC_OK ||
            fc_store_prepare(shadow, limits.max_entries) != FC_OK) {
            shadows_close(h);
            return FC_NOMEM;
        }
        h->states[i].sketch = window_of(s)->sketch;
        h->states[i].candidate = FC_NIL;
        h->states[i].draw = window_of(s)->draw;
    }
    h->entries = entries;
    return FC_OK;
}

/* A shadow is asked for a key; whether it was there. */
static bool
shadows_ask_one(fc_store *shadow, const fc_incoming *in)
{
    uint32_t tag = fc_store_tag(shadow, in->hash), slot = fc_table_home(&shadow->table, tag);
    for (; shadow->table.slots[slot].index != FC_NIL; slot = fc_table_next(&shadow->table, slot)) {
        uint32_t at = shadow->table.slots[slot].index;
        if (shadow->table.slots[slot].tag == tag && shadow->slab.entries[at].hash == in->hash) {
            window_on_hit(shadow, at);
            return true;
        }
    }
    if (in->weight > shadow->max_weight) {
        return false;
    }
    while (!fc_store_fits(shadow, 1, in->weight)) {
        fc_store_remove(shadow, window_victim(shadow, in), FC_EVICTED);
    }
    fc_store_add(shadow, &FC_WINDOW, fc_table_free_slot(&shadow->table, tag), in);
    return false;
}

#endif
