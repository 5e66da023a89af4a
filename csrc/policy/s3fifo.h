/* s3fifo.h - three queues: what is not used again soon does not stay long.
 *
 * A small queue (list 0) of a tenth of the cache, a main one (list 1), and ghosts of keys that left
 * the small one, nine tenths as many.  A newcomer comes into the small queue; one whose ghost is there
 * into the main one; and as long as nothing had to go, what does not fit the small queue goes to the
 * main one at once.  A hit only counts, up to 3.  Where something has to go: from the main queue, if it
 * has more than its nine tenths or the small one is empty, else from the small one.  The oldest of the
 * small queue moves to the main one if it was used twice, else it goes.  The oldest of the main queue
 * goes around once more, for one use less, else it goes (Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues
 * are all you need for cache eviction", SOSP 2023; filling the main queue first as libCacheSim does
 * since 2024).  Cost: a hit moves nothing; O(1) amortized; 59 to 80 bytes per entry for the ghosts.
 *
 * Right where hits should be cheap and many keys come once, and in loops; behind lru where what comes
 * is asked for once more, but only once.
 *
 * A choice that the paper leaves: fewer than ten entries still have a small queue of one. A copy keeps
 * queues and counts, not the ghosts. */
#ifndef FC_POLICY_S3FIFO_H
#define FC_POLICY_S3FIFO_H

#include "../fc_ghost.h"

enum { S3FIFO_SMALL, S3FIFO_MAIN };
#define S3FIFO_MOST 3   /* uses that are counted */
#define S3FIFO_PROMOTES 2

typedef struct s3fifo_state {
    fc_store ghosts; /* on list 0 */
    bool full;       /* something had to go already */
    bool asked;      /* for the ghost of the newcomer with this hash */
    bool known;      /* there was one */
    int64_t hash;
} s3fifo_state;

FC_INLINE s3fifo_state *
s3fifo_of(const fc_store *s)
{
    return s->state;
}

/* Whether a list has more than so many tenths of the cache; the small queue's are rounded down. */
FC_INLINE bool
s3fifo_over(const fc_store *s, uint32_t list)
{
    uint32_t entries = s->max_entries / 10;
    uint64_t weight = s->max_weight / 10;
    entries = entries > 0 ? entries : 1;
    if (list == S3FIFO_MAIN) {
        entries = s->max_entries - entries;
        weight = s->max_weight - weight;
    }
    return s->list_count[list] > entries || s->list_weight[list] > weight;
}

/* Look for the ghost of a newcomer, once. */
static bool
s3fifo_ask(fc_store *s, const fc_incoming *in)
{
    s3fifo_state *z = s3fifo_of(s);
    if (!z->asked || z->hash != in->hash) {
        z->asked = true;
        z->hash = in->hash;
        z->known = fc_ghost_take(&z->ghosts, in->hash) != FC_NIL;
    }
    return z->known;
}

static void
s3fifo_on_add(fc_store *s, uint32_t at, const fc_incoming *in)
{
    s3fifo_state *z = s3fifo_of(s);
    if (in->memo != NULL) {
        fc_store_push(s, in->memo->list == S3FIFO_MAIN ? S3FIFO_MAIN : S3FIFO_SMALL, at);
        s->slab.entries[at].bits = in->memo->bits < S3FIFO_MOST ? in->memo->bits : S3FIFO_MOST;
        return;
    }
    fc_store_push(s, s3fifo_ask(s, in) ? S3FIFO_MAIN : S3FIFO_SMALL, at);
    z->asked = false;
    if (!z->full && s3fifo_over(s, S3FIFO_SMALL) && s->slab.entries[at].list == S3FIFO_SMALL) {
        fc_store_unlink(s, at);
        fc_store_push(s, S3FIFO_MAIN, at);
    }
}

static void
s3fifo_on_hit(fc_store *s, uint32_t at)
{
    fc_store_mark(s, at, S3FIFO_MOST);
}

static void
s3fifo_on_remove(fc_store *s, uint32_t at, fc_cause cause)
{
    const fc_entry *e = &s->slab.entries[at];
    fc_store *ghosts = &s3fifo_of(s)->ghosts;
    uint64_t weight = fc_store_weight(s, at);
    if (e->list == S3FIFO_SMALL && cause == FC_EVICTED) {
        /* Nine tenths of the bound, by entries and by weight. */
        uint32_t most = (uint32_t)((uint64_t)s->max_entries * 9 / 10);
        uint64_t heaviest = s->max_weight - s->max_weight / 10;
        while (ghosts->count > 0 && (ghosts->count >= most || ghosts->weight + weight > heaviest)) {
            fc_ghost_forget(ghosts, 0);
        }
        if (most > 0) {
            fc_ghost_push(ghosts, s, 0, at);
        }
    }
    fc_store_unlink(s, at);
}

/* To the young end of the main queue, with so many uses. */
FC_INLINE void
s3fifo_requeue(fc_store *s, uint32_t at, unsigned uses)
{
    s->slab.entries[at].bits = (uint8_t)uses;
    fc_store_unlink(s, at);
    fc_store_push(s, S3FIFO_MAIN, at);
}

static uint32_t
s3fifo_victim(fc_store *s, const fc_incoming *in)
{
    fc_entry *entries = s->slab.entries;
    if (in == NULL) { /* nobody comes: by order */
        uint32_t at = fc_store_oldest(s, S3FIFO_SMALL, in);
        return at != FC_NIL ? at : fc_store_oldest(s, S3FIFO_MAIN, in);
    }
    if (in->spare == FC_NIL && in->memo == NULL) {
        s3fifo_ask(s, in);
    }
    s3fifo_of(s)->full = true;
    if (!s3fifo_over(s, S3FIFO_MAIN)) {
        uint32_t at = fc_store_oldest(s, S3FIFO_SMALL, in);
        for (; at != FC_NIL; at = fc_store_oldest(s, S3FIFO_SMALL, in)) {
            if (entries[at].bits < S3FIFO_PROMOTES) {
                return at;
            }
            s3fifo_requeue(s, at, 0);
        }
    }
    for (;;) {
        uint32_t at = fc_store_oldest(s, S3FIFO_MAIN, in);
        if (at == FC_NIL) {
            return fc_store_oldest(s, S3FIFO_SMALL, in);
        }
        if (entries[at].bits == 0) {
            return at;
        }
        s3fifo_requeue(s, at, entries[at].bits - 1);
    }
}

static void
s3fifo_save(const fc_store *s, uint32_t at, fc_memo *memo)
{
    memo->list = s->slab.entries[at].list;
    memo->bits = s->slab.entries[at].bits;
}

static int
s3fifo_reserve(fc_store *s)
{
    return fc_store_prepare(&s3fifo_of(s)->ghosts, s->slab.room - FC_LISTS);
}

static void
s3fifo_close(fc_store *s)
{
    fc_store_free(&s3fifo_of(s)->ghosts);
    fc_alloc_release(s->alloc, s->state, sizeof(s3fifo_state));
}

static int
s3fifo_open(fc_store *s)
{
    s3fifo_state *z = fc_alloc_resize(s->alloc, NULL, 0, sizeof *z);
    if (z == NULL) {
        return FC_NOMEM;
    }
    memset(z, 0, sizeof *z);
    s->state = z;
    if (fc_ghost_init(&z->ghosts, s) != FC_OK || s3fifo_reserve(s) != FC_OK) {
        s3fifo_close(s);
        s->state = NULL;
        return FC_NOMEM;
    }
    return FC_OK;
}

static const char *
s3fifo_check(const fc_store *s)
{
    const fc_store *ghosts = &s3fifo_of(s)->ghosts;
    if (s->list_count[S3FIFO_SMALL] + s->list_count[S3FIFO_MAIN] != s->count) {
        return "s3fifo: an entry that is in neither queue";
    }
    for (uint32_t at = fc_slab_live(&s->slab, FC_LISTS); at != FC_NIL;
         at = fc_slab_live(&s->slab, at + 1)) {
        if (s->slab.entries[at].bits > S3FIFO_MOST) {
            return "s3fifo: an entry with more uses than are counted";
        }
    }
    return fc_store_check(ghosts) == NULL ? NULL : "s3fifo: the ghosts are broken";
}

static const fc_policy FC_S3FIFO = {
    .name = "s3fifo",
    .on_add = s3fifo_on_add,
    .on_hit = s3fifo_on_hit,
    .on_remove = s3fifo_on_remove,
    .victim = s3fifo_victim,
    .save = s3fifo_save,
    .open = s3fifo_open,
    .close = s3fifo_close,
    .reserve = s3fifo_reserve,
    .check = s3fifo_check,
};

#endif
