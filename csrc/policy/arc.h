/* arc.h - recency and frequency share the cache, and their ghosts say who needs more.
 *
 * Two lists from cold to hot: what was used once (T1, list 0) and what was used again (T2, list 1);
 * and the ghosts of what left each of them (B1, B2).  A target p is the share of T1: one that comes
 * back from B1 raises it, one from B2 lowers it, and both then go to T2.  The coldest of T1 goes where
 * T1 has more than p, else the coldest of T2 (Megiddo and Modha, "ARC: a self-tuning, low overhead
 * replacement cache", FAST 2003).  Cost: O(1) amortized; 59 to 80 bytes per entry for the ghosts.
 *
 * Right where recency and frequency take turns; a loop larger than the cache defeats it, as lru.
 *
 * Where the paper leaves a choice: p is no whole number; it moves by the quotient of the ghosts, at
 * least by one entry, or, where only bytes bound, by as often what comes back weighs.  What T1 loses
 * while it has no ghosts and fills the cache leaves none.  A copy keeps the lists and p, not the ghosts. */
#ifndef FC_POLICY_ARC_H
#define FC_POLICY_ARC_H

#include "../fc_ghost.h"

enum { ARC_ONCE, ARC_AGAIN };

typedef struct arc_state {
    fc_store ghosts;    /* B1 on list 0, B2 on list 1 */
    double target;      /* p */
    bool by_weight;     /* what p and the lists are measured in */
    bool asked;         /* for the ghost of the newcomer with this hash */
    uint32_t ghost;     /* the list that its ghost was on, or FC_NIL */
    bool unmourned;     /* the next to go leaves no ghost */
    int64_t hash;
} arc_state;

FC_INLINE arc_state *
arc_of(const fc_store *s)
{
    return s->state;
}

FC_INLINE uint64_t
arc_size(const fc_store *s, const fc_store *lists, uint32_t list)
{
    return arc_of(s)->by_weight ? lists->list_weight[list] : lists->list_count[list];
}

FC_INLINE uint64_t
arc_room(const fc_store *s)
{
    return arc_of(s)->by_weight ? s->max_weight : s->max_entries;
}

/* Look for the ghost of a newcomer, once, and learn from it. */
static void
arc_ask(fc_store *s, const fc_incoming *in)
{
    arc_state *z = arc_of(s);
    double own, other, step, room = (double)arc_room(s);
    if (z->asked && z->hash == in->hash) {
        return;
    }
    own = (double)arc_size(s, &z->ghosts, ARC_ONCE);
    other = (double)arc_size(s, &z->ghosts, ARC_AGAIN);
    z->asked = true;
    z->hash = in->hash;
    z->ghost = fc_ghost_take(&z->ghosts, in->hash);
    if (z->ghost == FC_NIL) {
        return;
    }
    step = z->ghost == ARC_ONCE ? other / own : own / other; /* weights may be 0: inf, or NaN */
    step = step > 1 ? step : 1;
    step = z->by_weight ? step * (double)in->weight : step;
    step = step < room ? step : room;
    if (z->ghost == ARC_ONCE) {
        z->target = z->target + step < room ? z->target + step : room;
    }
    else {
        z->target = z->target > step ? z->target - step : 0;
    }
}

static void
arc_on_add(fc_store *s, uint32_t at, const fc_incoming *in)
{
    arc_state *z = arc_of(s);
    uint32_t list = in->memo != NULL && in->memo->list == ARC_AGAIN ? ARC_AGAIN : ARC_ONCE;
    if (in->memo == NULL) {
        arc_ask(s, in);
        list = z->ghost == FC_NIL ? ARC_ONCE : ARC_AGAIN;
        z->asked = false;
    }
    fc_store_push(s, list, at);
}

static void
arc_on_hit(fc_store *s, uint32_t at)
{
    fc_entry *entries = s->slab.entries;
    if (entries[at].list == ARC_ONCE) {
        fc_store_unlink(s, at);
        fc_store_push(s, ARC_AGAIN, at);
    }
    else if (entries[ARC_AGAIN].prev != at) {
        fc_list_remove(entries, at);
        fc_list_push(entries, ARC_AGAIN, at);
    }
}

static void
arc_on_remove(fc_store *s, uint32_t at, fc_cause cause)
{
    arc_state *z = arc_of(s);
    if (cause == FC_EVICTED && !z->unmourned) {
        fc_ghost_push(&z->ghosts, s, s->slab.entries[at].list, at);
    }
    z->unmourned = false;
    fc_store_unlink(s, at);
}

/* The coldest of the list that has more than its share. */
FC_INLINE uint32_t
arc_replace(fc_store *s, const fc_incoming *in, bool from_again)
{
    double once = (double)arc_size(s, s, ARC_ONCE), target = arc_of(s)->target;
    bool first = s->list_count[ARC_ONCE] > 0 && (once > target || (once == target && from_again));
    uint32_t at = fc_store_oldest(s, first ? ARC_ONCE : ARC_AGAIN, in);
    return at != FC_NIL ? at : fc_store_oldest(s, first ? ARC_AGAIN : ARC_ONCE, in);
}

static uint32_t
arc_victim(fc_store *s, const fc_incoming *in)
{
    arc_state *z = arc_of(s);
    uint64_t once, room = arc_room(s), comes;
    z->unmourned = false;
    if (in == NULL || in->spare != FC_NIL || in->memo != NULL) {
        return arc_replace(s, in, false);
    }
    arc_ask(s, in);
    if (z->ghost != FC_NIL) {
        return arc_replace(s, in, z->ghost == ARC_AGAIN);
    }
    comes = z->by_weight ? in->weight : 1;
    once = arc_size(s, s, ARC_ONCE);
    if (once + arc_size(s, &z->ghosts, ARC_ONCE) + comes > room) {
        if (z->ghosts.list_count[ARC_ONCE] == 0) {
            uint32_t at = fc_store_oldest(s, ARC_ONCE, in);
            z->unmourned = at != FC_NIL;
            return at != FC_NIL ? at : fc_store_oldest(s, ARC_AGAIN, in);
        }
        fc_ghost_forget(&z->ghosts, ARC_ONCE);
    }
    else if (once + arc_size(s, s, ARC_AGAIN) + arc_size(s, &z->ghosts, ARC_ONCE) +
                 arc_size(s, &z->ghosts, ARC_AGAIN) >=
             2 * room) {
        fc_ghost_forget(&z->ghosts, ARC_AGAIN);
    }
    return arc_replace(s, in, false);
}

static void
arc_save(const fc_store *s, uint32_t at, fc_memo *memo)
{
    memo->list = s->slab.entries[at].list;
}

static void
arc_learned(const fc_store *s, fc_learned *learned)
{
    learned->share = arc_of(s)->target / (double)arc_room(s);
}

static void
arc_learn(fc_store *s, const fc_learned *learned)
{
    double room = (double)arc_room(s), target = learned->share * room;
    if (target > 0) { /* no NaN */
        arc_of(s)->target = target < room ? target : room;
    }
}

static void
arc_order(const fc_store *s, uint32_t *out)
{
    const fc_entry *entries = s->slab.entries;
    uint64_t once = arc_size(s, s, ARC_ONCE);
    uint32_t at = entries[ARC_ONCE].next;
    for (; at != ARC_ONCE && (double)once > arc_of(s)->target; at = entries[at].next) {
        once -= arc_of(s)->by_weight ? s->weights[at] : 1;
        *out++ = at;
    }
    for (uint32_t again = entries[ARC_AGAIN].next; again != ARC_AGAIN;
         again = entries[again].next) {
        *out++ = again;
    }
    for (; at != ARC_ONCE; at = entries[at].next) {
        *out++ = at;
    }
}

static int
arc_reserve(fc_store *s)
{
    return fc_store_prepare(&arc_of(s)->ghosts, s->slab.room - FC_LISTS);
}

static void
arc_rebound(fc_store *s)
{
    arc_state *z = arc_of(s);
    uint64_t room;
    z->by_weight = s->max_entries == FC_ENTRIES_MAX;
    room = arc_room(s);
    z->target = z->target < (double)room ? z->target : (double)room;
    for (uint32_t list = 0; list < 2; list++) {
        while (arc_size(s, s, list) + arc_size(s, &z->ghosts, list) > room &&
               z->ghosts.list_count[list] > 0) {
            fc_ghost_forget(&z->ghosts, list);
        }
    }
}

static void
arc_close(fc_store *s)
{
    fc_store_free(&arc_of(s)->ghosts);
    fc_alloc_release(s->alloc, s->state, sizeof(arc_state));
}

static int
arc_open(fc_store *s)
{
    arc_state *z = fc_alloc_resize(s->alloc, NULL, 0, sizeof *z);
    if (z == NULL) {
        return FC_NOMEM;
    }
    memset(z, 0, sizeof *z);
    s->state = z;
    z->by_weight = s->max_entries == FC_ENTRIES_MAX;
    z->ghost = FC_NIL;
    if (fc_ghost_init(&z->ghosts, s) != FC_OK || arc_reserve(s) != FC_OK) {
        arc_close(s);
        s->state = NULL;
        return FC_NOMEM;
    }
    return FC_OK;
}

static const char *
arc_check(const fc_store *s)
{
    const arc_state *z = arc_of(s);
    if (s->list_count[ARC_ONCE] + s->list_count[ARC_AGAIN] != s->count) {
        return "arc: an entry that is on neither list";
    }
    if (!(z->target >= 0 && z->target <= (double)arc_room(s))) {
        return "arc: the target is more than the whole cache";
    }
    return fc_store_check(&z->ghosts) == NULL ? NULL : "arc: the ghosts are broken";
}

static const fc_policy FC_ARC = {
    .name = "arc",
    .on_add = arc_on_add,
    .on_hit = arc_on_hit,
    .on_remove = arc_on_remove,
    .victim = arc_victim,
    .save = arc_save,
    .learned = arc_learned,
    .learn = arc_learn,
    .open = arc_open,
    .close = arc_close,
    .reserve = arc_reserve,
    .rebound = arc_rebound,
    .order = arc_order,
    .check = arc_check,
};

#endif
