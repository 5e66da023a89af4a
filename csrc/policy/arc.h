/* arc.h - what was used once beside what was used again, and ghosts of both that tell which to favour.
 *
 * Two lists from cold to hot: list 0 (T1 of the paper) was used once, list 1 (T2) again.  A use
 * moves an entry to the hot end of T2.  What goes leaves its hash in a list of ghosts, B1 or B2.  A
 * newcomer whose ghost is in B1 says that T1 is too small, one in B2 that T2 is: the target for T1
 * moves that way, by one, or by the quotient of the ghosts if the other list has more; and it is put
 * in T2.  The coldest of T1 goes while T1 is over its target, else that of T2 (Megiddo and Modha,
 * "ARC: a self-tuning, low overhead replacement cache", FAST 2003).
 *
 * Cost: O(1); 28 bytes per entry for the ghosts.  Right where recency and frequency take turns, with
 * nothing to tune.  A loop a little larger than the cache leaves it as empty as lru does.
 *
 * The paper leaves choices.  Taken are those of libCacheSim, and counts on traces agree with it: the
 * target moves by a fraction where the quotient has one; T1 also gives way at its very target when
 * the newcomer's ghost was in B2.  T1 and B1 together are at most as many as the most entries that
 * there were, and so are B1 and B2.  The target is a share of max_entries, and holds for bytes as
 * well; where bytes alone are bounded it is in bytes, and moves by the newcomer's weight.  A copy
 * takes over the target, and has no ghosts.
 *
 * Not chosen: ghosts by weight (a ghost takes as much room whatever it weighed); car, the same with
 * clocks, whose hits are cheaper (s3fifo is the better one of that kind). */
#ifndef FC_POLICY_ARC_H
#define FC_POLICY_ARC_H

#include "../fc_ghost.h"
#include "../fc_store.h"

/* Numbers of T1 and T2, and of B1 and B2 among the ghosts. */
enum { ARC_ONCE, ARC_AGAIN };

typedef struct arc_state {
    fc_ghost ghosts;
    double target; /* for T1: entries, or bytes where these alone are bounded */
    double whole; /* the bound that it is a share of */
    uint64_t met; /* mixed hash of the newcomer that was met last, */
    bool meeting; /* while it is not in yet; */
    bool known; /* it had a ghost, */
    bool again; /* which was in B2 */
} arc_state;

FC_INLINE arc_state *
arc_of(const fc_store *s)
{
    return s->state;
}

FC_INLINE bool
arc_by_weight(const fc_store *s)
{
    return s->max_entries == FC_ENTRIES_MAX && s->max_weight != UINT64_MAX;
}

static double
arc_whole(const fc_store *s)
{
    return arc_by_weight(s) ? (double)s->max_weight : (double)s->max_entries;
}

/* How many ghosts there may be, and how many of B1 with T1. */
static uint32_t
arc_most(const fc_store *s)
{
    uint32_t most = s->slab.used - FC_LISTS;
    return most < s->max_entries ? most : s->max_entries;
}

static void
arc_trim(fc_store *s, uint32_t more)
{
    fc_ghost *g = &arc_of(s)->ghosts;
    uint32_t most = arc_most(s);
    while (g->count[ARC_ONCE] > 0 && s->list_count[ARC_ONCE] + g->count[ARC_ONCE] > most) {
        fc_ghost_drop(g, ARC_ONCE);
    }
    while (g->count[ARC_ONCE] + g->count[ARC_AGAIN] > most + more) {
        fc_ghost_drop(g, g->count[ARC_AGAIN] > 0 ? ARC_AGAIN : ARC_ONCE);
    }
}

static int
arc_reserve(fc_store *s)
{
    return fc_ghost_reserve(&arc_of(s)->ghosts, s->alloc, s->slab.room);
}

static void
arc_close(fc_store *s)
{
    fc_ghost_free(&arc_of(s)->ghosts, s->alloc);
    fc_alloc_release(s->alloc, s->state, sizeof(arc_state));
}

static int
arc_open(fc_store *s)
{
    s->state = fc_alloc_resize(s->alloc, NULL, 0, sizeof(arc_state));
    if (s->state == NULL) {
        return FC_NOMEM;
    }
    memset(s->state, 0, sizeof(arc_state));
    arc_of(s)->whole = arc_whole(s);
    if (arc_reserve(s) != FC_OK) {
        arc_close(s);
        s->state = NULL;
        return FC_NOMEM;
    }
    return FC_OK;
}

/* Move the target towards the list whose ghost has come back. */
static void
arc_adapt(fc_store *s, bool again, uint64_t weight)
{
    arc_state *a = s->state;
    double step = (double)a->ghosts.count[!again] / a->ghosts.count[again];
    step = step < 1 ? 1 : step;
    if (arc_by_weight(s)) {
        step *= weight == 0 ? 1 : (double)weight;
    }
    a->target += again ? -step : step;
    a->target = a->target < 0 ? 0 : a->target > a->whole ? a->whole : a->target;
}

/* Learn from the ghost of a newcomer, once, and take it away.  Whether it had one. */
static bool
arc_meet(fc_store *s, const fc_incoming *in)
{
    arc_state *a = s->state;
    uint64_t mixed = fc_ghost_mix(in->hash, s->seed);
    uint32_t ghost;
    if (a->meeting && a->met == mixed) {
        return a->known; /* what has gone for it may be a ghost of the same hash by now */
    }
    ghost = fc_ghost_find(&a->ghosts, mixed);
    a->meeting = true;
    a->met = mixed;
    a->known = ghost != 0;
    if (a->known) {
        a->again = a->ghosts.nodes[ghost].list == ARC_AGAIN;
        arc_adapt(s, a->again, in->weight);
        fc_ghost_remove(&a->ghosts, ghost);
    }
    return a->known;
}

static void
arc_on_add(fc_store *s, uint32_t at, const fc_incoming *in)
{
    bool again = in->memo != NULL ? in->memo->list == ARC_AGAIN : arc_meet(s, in);
    fc_store_push(s, again ? ARC_AGAIN : ARC_ONCE, at);
    arc_of(s)->meeting = false;
    arc_trim(s, 0);
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

/* The newcomer will be in T1 or has taken its ghost away, so that there may be one more till then. */
static void
arc_on_remove(fc_store *s, uint32_t at, fc_cause cause)
{
    const fc_entry *e = &s->slab.entries[at];
    fc_store_unlink(s, at);
    if (cause == FC_EVICTED) {
        fc_ghost_push(&arc_of(s)->ghosts, e->list, fc_ghost_mix(e->hash, s->seed));
        arc_trim(s, 1);
    }
}

/* Whether T1 of this size is to give way; equal: also at its very target. */
FC_INLINE bool
arc_over(const fc_store *s, uint64_t count, uint64_t weight, bool equal)
{
    const arc_state *a = s->state;
    double size = arc_by_weight(s) ? (double)weight : (double)count;
    if (size > a->target || (equal && size == a->target)) {
        return true;
    }
    return s->max_weight != UINT64_MAX && !arc_by_weight(s) &&
           (double)weight > a->target / a->whole * (double)s->max_weight;
}

static uint32_t
arc_victim(fc_store *s, const fc_incoming *in)
{
    uint32_t once = fc_store_oldest(s, ARC_ONCE, in), again = fc_store_oldest(s, ARC_AGAIN, in);
    bool new = in != NULL && in->spare == FC_NIL && in->memo == NULL;
    bool equal = new && arc_meet(s, in) && arc_of(s)->again;
    if (once == FC_NIL || again == FC_NIL) {
        return once == FC_NIL ? again : once;
    }
    return arc_over(s, s->list_count[ARC_ONCE], s->list_weight[ARC_ONCE], equal) ? once : again;
}

static void
arc_save(const fc_store *s, uint32_t at, fc_memo *memo)
{
    memo->list = s->slab.entries[at].list;
}

static void
arc_learned(const fc_store *s, fc_learned *learned)
{
    learned->share = arc_of(s)->target / arc_of(s)->whole;
}

/* A whole number stays one.  A share may come from a pickle that somebody has changed. */
static void
arc_learn(fc_store *s, const fc_learned *learned)
{
    arc_state *a = s->state;
    double share = learned->share > 0 ? learned->share < 1 ? learned->share : 1 : 0; /* NaN: 0 */
    double target = share * a->whole, near = (double)(uint64_t)(target + 0.5);
    a->target = near / a->whole == share ? near : target;
}

/* The target stays the same share. */
static void
arc_rebound(fc_store *s)
{
    arc_state *a = s->state;
    double whole = arc_whole(s);
    a->target = a->target / a->whole * whole;
    a->whole = whole;
    arc_trim(s, 0);
}

/* T1 down to its target, T2, and what is left of T1. */
static void
arc_order(const fc_store *s, uint32_t *out)
{
    const fc_entry *entries = s->slab.entries;
    uint64_t count = s->list_count[ARC_ONCE], weight = s->list_weight[ARC_ONCE];
    uint32_t at = entries[ARC_ONCE].next;
    for (; at != ARC_ONCE && arc_over(s, count, weight, false); at = entries[at].next) {
        count--;
        weight -= fc_store_weight(s, at);
        *out++ = at;
    }
    for (uint32_t i = entries[ARC_AGAIN].next; i != ARC_AGAIN; i = entries[i].next) {
        *out++ = i;
    }
    for (; at != ARC_ONCE; at = entries[at].next) {
        *out++ = at;
    }
}

static const char *
arc_check(const fc_store *s)
{
    const arc_state *a = s->state;
    uint32_t once = a->ghosts.count[ARC_ONCE], again = a->ghosts.count[ARC_AGAIN];
    if (s->list_count[ARC_ONCE] + s->list_count[ARC_AGAIN] != s->count) {
        return "arc: an entry that is on neither list";
    }
    if (a->whole != arc_whole(s) || !(a->target >= 0 && a->target <= a->whole)) {
        return "arc: the target is no share of the bound";
    }
    if (a->ghosts.room < s->slab.used || once + again > arc_most(s) + 1 ||
        (once > 0 && once + s->list_count[ARC_ONCE] > arc_most(s))) {
        return "arc: more ghosts than there may be";
    }
    return fc_ghost_check(&a->ghosts);
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
    .queues = true,
};

#endif
