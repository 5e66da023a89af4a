/* s3fifo.h - a small queue sifts newcomers; what is used twice there, or comes back soon, goes on to
 * the main queue.
 *
 * Two queues in the order of arrival: list 0 is small, for a tenth of the cache, list 1 is main, for
 * the rest.  A hit is counted, up to 3, and moves nothing.  The oldest in small goes to main, with
 * its count at 0, if it was used twice, else out, and its hash to the ghosts.  The oldest in main
 * goes out if its count is 0, else back to the young end with one less.  A newcomer whose ghost is
 * there goes to main, any other to small (Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you
 * need for cache eviction", SOSP 2023).
 *
 * Cost: a hit O(1), of which most store nothing; an eviction O(1) amortized, as each step is paid by
 * a hit; 28 bytes per entry for the ghosts.  Right where most of what comes is not asked for again.
 * Where an entry is used once more, and that late, slru or arc keep more.
 *
 * The paper leaves choices.  Taken are those of libCacheSim since 2024, and counts on traces agree
 * with it: until the first eviction main takes what small has no room for; main gives way while it
 * is over its share or small is empty, else small does, and one turn of small goes on until it has
 * found a victim; small needs two uses, not one; there are as many ghosts as nine tenths of the most
 * entries that there were, and only what small has evicted becomes one.  A tenth is rounded down,
 * but is one entry, or byte, at least.  With both bounds a queue is over its share when either
 * tells so.  A copy has no ghosts.
 *
 * Not chosen: ghosts by weight (a ghost takes as much room whatever it weighed); a ring buffer for
 * each queue (a removal from the middle would leave holes). */
#ifndef FC_POLICY_S3FIFO_H
#define FC_POLICY_S3FIFO_H

#include "../fc_ghost.h"
#include "../fc_store.h"

enum { S3_SMALL, S3_MAIN };

#define S3_USES 2 /* in small, to go on to main */
#define S3_COUNTED (UINT32_C(1) << 31) /* in s3_order: came from small, with its count at 0 */

typedef struct s3_state {
    fc_ghost ghosts;
    bool evicted; /* something, ever */
    bool turn; /* of small: it was chosen to give way, and has not yet */
} s3_state;

FC_INLINE uint64_t
s3_tenth(uint64_t whole)
{
    return whole < 20 ? 1 : whole / 10;
}

/* Whether a main queue of this size is over its share. */
FC_INLINE bool
s3_over(const fc_store *s, uint64_t count, uint64_t weight)
{
    return count > s->max_entries - s3_tenth(s->max_entries) ||
           (s->max_weight != UINT64_MAX && weight > s->max_weight - s3_tenth(s->max_weight));
}

static bool
s3_small_full(const fc_store *s)
{
    return s->list_count[S3_SMALL] >= s3_tenth(s->max_entries) ||
           (s->max_weight != UINT64_MAX && s->list_weight[S3_SMALL] >= s3_tenth(s->max_weight));
}

/* How many ghosts there may be. */
static uint32_t
s3_ghosts(const fc_store *s)
{
    uint64_t most = s->slab.used - FC_LISTS;
    return (uint32_t)((most < s->max_entries ? most : s->max_entries) * 9 / 10);
}

static void
s3_trim(fc_store *s, uint32_t most)
{
    fc_ghost *ghosts = &((s3_state *)s->state)->ghosts;
    while (ghosts->count[0] > most) {
        fc_ghost_drop(ghosts, 0);
    }
}

static int
s3_reserve(fc_store *s)
{
    return fc_ghost_reserve(&((s3_state *)s->state)->ghosts, s->alloc, s->slab.room);
}

static void
s3_close(fc_store *s)
{
    fc_ghost_free(&((s3_state *)s->state)->ghosts, s->alloc);
    fc_alloc_release(s->alloc, s->state, sizeof(s3_state));
}

static int
s3_open(fc_store *s)
{
    s->state = fc_alloc_resize(s->alloc, NULL, 0, sizeof(s3_state));
    if (s->state == NULL) {
        return FC_NOMEM;
    }
    memset(s->state, 0, sizeof(s3_state));
    if (s3_reserve(s) != FC_OK) {
        s3_close(s);
        s->state = NULL;
        return FC_NOMEM;
    }
    return FC_OK;
}

static void
s3_on_add(fc_store *s, uint32_t at, const fc_incoming *in)
{
    s3_state *state = s->state;
    uint32_t list = S3_SMALL;
    if (in->memo != NULL) {
        list = in->memo->list == S3_MAIN;
        s->slab.entries[at].bits = in->memo->bits < 3 ? in->memo->bits : 3;
    }
    else {
        uint32_t ghost = fc_ghost_find(&state->ghosts, fc_ghost_mix(in->hash, s->seed));
        if (ghost != 0) {
            fc_ghost_remove(&state->ghosts, ghost);
            list = S3_MAIN;
        }
        else if (!state->evicted && s3_small_full(s)) {
            list = S3_MAIN;
        }
    }
    state->turn = false;
    fc_store_push(s, list, at);
    s3_trim(s, s3_ghosts(s));
}

/* What goes for a newcomer becomes a ghost before the ghost of that is looked for, so that there may
 * be one more for a while. */
static void
s3_on_remove(fc_store *s, uint32_t at, fc_cause cause)
{
    s3_state *state = s->state;
    const fc_entry *e = &s->slab.entries[at];
    if (cause == FC_EVICTED) {
        state->evicted = true;
        if (e->list == S3_SMALL) {
            fc_ghost_push(&state->ghosts, 0, fc_ghost_mix(e->hash, s->seed));
            s3_trim(s, s3_ghosts(s) + 1);
        }
    }
    state->turn = false;
    fc_store_unlink(s, at);
}

static void
s3_move(fc_store *s, uint32_t at, uint8_t bits)
{
    fc_store_unlink(s, at);
    fc_store_push(s, S3_MAIN, at);
    s->slab.entries[at].bits = bits;
}

/* Each step takes from a count or from small, so it ends. */
static uint32_t
s3_victim(fc_store *s, const fc_incoming *in)
{
    s3_state *state = s->state;
    for (;;) {
        uint32_t small = fc_store_oldest(s, S3_SMALL, in), main = fc_store_oldest(s, S3_MAIN, in);
        state->turn = small != FC_NIL &&
                      (main == FC_NIL || state->turn ||
                       !s3_over(s, s->list_count[S3_MAIN], s->list_weight[S3_MAIN]));
        if (state->turn) {
            if (s->slab.entries[small].bits < S3_USES) {
                return small;
            }
            s3_move(s, small, 0);
        }
        else {
            uint8_t bits = s->slab.entries[main].bits;
            if (bits == 0) {
                return main;
            }
            s3_move(s, main, bits - 1);
        }
    }
}

static void
s3_save(const fc_store *s, uint32_t at, fc_memo *memo)
{
    memo->list = s->slab.entries[at].list;
    memo->bits = s->slab.entries[at].bits;
}

/* 1 once small no longer shares its newcomers with main. */
static void
s3_learned(const fc_store *s, fc_learned *learned)
{
    learned->share = ((s3_state *)s->state)->evicted;
}

static void
s3_learn(fc_store *s, const fc_learned *learned)
{
    ((s3_state *)s->state)->evicted = learned->share > 0;
}

static void
s3_rebound(fc_store *s)
{
    s3_trim(s, s3_ghosts(s));
}

/* Do what s3_victim would do, over and over, on a copy of main: a ring in the second half of out.
 * The counts need no copy: what was in main from the start has lost one for each lap. */
static void
s3_order(const fc_store *s, uint32_t *out)
{
    const fc_entry *entries = s->slab.entries;
    uint32_t all = s->count, *ring = out + all, first = 0, held = s->list_count[S3_MAIN];
    uint32_t small = entries[S3_SMALL].next, lap = 0, left = held, kept = 0, n = 0;
    uint64_t weight = s->list_weight[S3_MAIN];
    bool turn = ((s3_state *)s->state)->turn;
    for (uint32_t at = entries[S3_MAIN].next; at != S3_MAIN; at = entries[at].next) {
        ring[n++] = at;
    }
    for (n = 0; n < all;) {
        turn = small != S3_SMALL && (held == 0 || turn || !s3_over(s, held, weight));
        if (turn) {
            uint32_t at = small;
            small = entries[small].next;
            if (entries[at].bits < S3_USES) {
                out[n++] = at;
                turn = false;
                continue;
            }
            ring[(first + held++) % all] = at | S3_COUNTED;
            weight += fc_store_weight(s, at);
        }
        else {
            uint32_t at = ring[first];
            bool counted = (at & S3_COUNTED) != 0;
            first = (first + 1) % all;
            held--;
            if (counted || entries[at].bits <= lap) {
                at &= ~S3_COUNTED;
                out[n++] = at;
                weight -= fc_store_weight(s, at);
            }
            else {
                ring[(first + held++) % all] = at;
                kept++;
            }
            if (!counted && --left == 0) {
                lap++;
                left = kept;
                kept = 0;
            }
        }
    }
}

static const char *
s3_check(const fc_store *s)
{
    const s3_state *state = s->state;
    if (s->list_count[S3_SMALL] + s->list_count[S3_MAIN] != s->count) {
        return "s3fifo: an entry that is in neither queue";
    }
    for (uint32_t at = fc_slab_live(&s->slab, FC_LISTS); at != FC_NIL;
         at = fc_slab_live(&s->slab, at + 1)) {
        if (s->slab.entries[at].bits > 3) {
            return "s3fifo: a count of more than 3";
        }
    }
    if (state->ghosts.room < s->slab.used || state->ghosts.count[1] != 0 ||
        state->ghosts.count[0] > s3_ghosts(s) + 1) {
        return "s3fifo: more ghosts than there may be";
    }
    return fc_ghost_check(&state->ghosts);
}

static const fc_policy FC_S3FIFO = {
    .name = "s3fifo",
    .on_add = s3_on_add,
    .on_hit = fc_store_mark,
    .on_remove = s3_on_remove,
    .victim = s3_victim,
    .save = s3_save,
    .learned = s3_learned,
    .learn = s3_learn,
    .open = s3_open,
    .close = s3_close,
    .reserve = s3_reserve,
    .rebound = s3_rebound,
    .order = s3_order,
    .check = s3_check,
    .queues = true,
    .marks = 3,
};

#endif
