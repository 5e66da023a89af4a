/* queues.h - a policy of queues beside arrays of keys, with random work on both.
 *
 * A test gives the model by four functions; the rest is the same for all: after each step both agree
 * on the order, which the model finds by taking its own victims out of a copy of itself. */
#ifndef QUEUES_H
#define QUEUES_H

#include "requests.h"

enum { KEYS = 40 };

typedef struct queue {
    uint32_t keys[KEYS], count;
} queue;

typedef struct queues {
    fc_limits limits;
    queue held[2], ghosts[2]; /* each from old to young */
    uint64_t weights[KEYS];
    uint8_t marks[KEYS];
    uint32_t most;       /* entries that there were at one time */
    uint32_t hand;       /* sieve: an index in held[0] */
    bool began, turn;    /* s3fifo */
    double target;       /* arc */
    uint32_t met, ghost; /* arc: the newcomer, and which ghosts it was among, or 2 */
} queues;

static void model_add(queues *m, uint32_t k);
static void model_hit(queues *m, uint32_t k);
static void model_leave(queues *m, uint32_t k); /* evicted, right before it is taken out */
static uint32_t model_victim(queues *m, uint32_t spare, uint32_t newcomer);
static void model_copied(queues *m, const queues *of);
static void model_rebound(queues *m, const fc_limits *limits);

/* ---- for the models ------------------------------------------------------------------------ */

static inline uint32_t
queue_find(const queue *q, uint32_t k)
{
    uint32_t i = 0;
    while (i < q->count && q->keys[i] != k) {
        i++;
    }
    return i < q->count ? i : FC_NIL;
}

static inline void
queue_push(queue *q, uint32_t k)
{
    CHECK(q->count < KEYS);
    q->keys[q->count++] = k;
}

static inline bool
queue_drop(queue *q, uint32_t k)
{
    uint32_t i = queue_find(q, k);
    if (i == FC_NIL) {
        return false;
    }
    memmove(&q->keys[i], &q->keys[i + 1], (--q->count - i) * sizeof *q->keys);
    return true;
}

/* The oldest that is not the spare, or FC_NIL. */
static inline uint32_t
queue_first(const queue *q, uint32_t spare)
{
    for (uint32_t i = 0; i < q->count; i++) {
        if (q->keys[i] != spare) {
            return q->keys[i];
        }
    }
    return FC_NIL;
}

static inline uint64_t
queue_weight(const queues *m, const queue *q)
{
    uint64_t weight = 0;
    for (uint32_t i = 0; i < q->count; i++) {
        weight += m->weights[q->keys[i]];
    }
    return weight;
}

/* Which queue a key is in; 2: none. */
static inline uint32_t
queue_of(const queue *pair, uint32_t k)
{
    return queue_find(&pair[0], k) != FC_NIL ? 0 : queue_find(&pair[1], k) != FC_NIL ? 1 : 2;
}

static inline uint32_t
model_count(const queues *m)
{
    return m->held[0].count + m->held[1].count;
}

static inline uint32_t
model_limit(const queues *m)
{
    return m->most < m->limits.max_entries ? m->most : m->limits.max_entries;
}

static inline void
model_enter(queues *m, uint32_t list, uint32_t k)
{
    queue_push(&m->held[list], k);
    m->most = m->most > model_count(m) ? m->most : model_count(m);
}

static inline void
model_remove(queues *m, uint32_t k)
{
    m->hand -= queue_find(&m->held[0], k) < m->hand;
    CHECK(queue_drop(&m->held[0], k) || queue_drop(&m->held[1], k));
    m->turn = false;
}

/* ---- the work ------------------------------------------------------------------------------ */

static inline uint32_t
key_at(const fc_store *s, uint32_t at)
{
    return at == FC_NIL ? FC_NIL : (uint32_t)(uintptr_t)s->slab.entries[at].key - 1;
}

static inline void
check_agreement(const queues *m, const fc_store *s)
{
    queues rest = *m;
    uint32_t order[2 * KEYS];
    CHECK_WHOLE(fc_store_check(s));
    CHECK(s->count == model_count(m));
    fc_store_order(s, order);
    for (uint32_t i = 0; i < s->count; i++) {
        uint32_t k = model_victim(&rest, FC_NIL, FC_NIL);
        CHECK(key_at(s, order[i]) == k);
        CHECK(!s->weighed || fc_store_weight(s, order[i]) == m->weights[k]);
        model_remove(&rest, k);
    }
}

/* Whoever is spared is no victim, and asking again gives the same. */
static inline uint32_t
agreed_victim(queues *m, fc_store *s, const fc_incoming *in)
{
    uint32_t spare = in == NULL ? FC_NIL : key_at(s, in->spare);
    uint32_t at = s->policy->victim(s, in);
    uint32_t newcomer = in != NULL && in->spare == FC_NIL ? (uint32_t)in->hash : FC_NIL;
    uint32_t k = model_victim(m, spare, newcomer);
    CHECK(at != FC_NIL && key_at(s, at) == k && k != spare);
    CHECK(s->policy->victim(s, in) == at);
    if (fc_store_fits(s, 0, 0)) {
        check_agreement(m, s);
    }
    return at;
}

static inline void
evict(queues *m, fc_store *s, const fc_incoming *in)
{
    uint32_t at = agreed_victim(m, s, in), k = key_at(s, at);
    fc_store_remove(s, at, FC_EVICTED);
    model_leave(m, k);
    model_remove(m, k);
}

static inline void
put_both(queues *m, fc_store *s, const fc_incoming *in, bool in_place)
{
    uint32_t k = (uint32_t)in->hash, at;
    m->weights[k] = in->weight;
    while (!fc_store_fits(s, 1, in->weight)) {
        at = agreed_victim(m, s, in);
        if (in_place && s->weight - fc_store_weight(s, at) + in->weight <= s->max_weight) {
            uint32_t gone = key_at(s, at);
            fc_store_replace(s, s->policy, at,
                             fc_table_free_slot(&s->table, fc_store_tag(s, in->hash)), in);
            model_leave(m, gone);
            model_remove(m, gone);
            model_add(m, k);
            return;
        }
        evict(m, s, in);
    }
    CHECK(put_in(s, in, &at) == FC_OK);
    model_add(m, k);
}

static inline void
hit_both(queues *m, fc_store *s, uint32_t at)
{
    s->on_hit(s, at);
    model_hit(m, key_at(s, at));
}

static inline void
write_both(queues *m, fc_store *s, uint32_t at, fc_incoming *in)
{
    in->spare = at;
    fc_store_reweigh(s, at, in->weight);
    m->weights[key_at(s, at)] = in->weight;
    hit_both(m, s, at);
    while (!fc_store_fits(s, 0, 0)) {
        evict(m, s, in);
    }
}

static inline void
one_step(queues *m, fc_store *s, uint64_t *state)
{
    uint64_t heaviest = s->max_weight < 30 ? s->max_weight : 30;
    uint32_t k = random_below(state, 1 + random_below(state, KEYS));
    uint32_t at = place_of(s, k), choice = random_below(state, 16);
    fc_incoming in = incoming_of(k, random_below(state, (uint32_t)heaviest + 1));
    if (at == FC_NIL) {
        put_both(m, s, &in, choice % 2);
    }
    else if (choice < 11) {
        hit_both(m, s, at);
    }
    else if (choice < 14) {
        write_both(m, s, at, &in);
    }
    else if (choice == 14) {
        fc_store_remove(s, at, k % 2 ? FC_DELETED : FC_EXPIRED);
        model_remove(m, k);
    }
    else {
        at = agreed_victim(m, s, NULL);
        model_remove(m, key_at(s, at));
        fc_store_remove(s, at, FC_DELETED);
    }
    check_agreement(m, s);
}

/* Copy the store, entry by entry, and use the copy for a while. */
static inline void
check_copy(const queues *m, const fc_store *s, uint64_t *state)
{
    queues same = *m;
    uint32_t line[2 * KEYS];
    fc_learned learned;
    fc_alloc a;
    fc_store t;
    fc_alloc_init(&a);
    CHECK(fc_store_init(&t, &a, s->policy, &m->limits, 5) == FC_OK);
    fc_store_learned(s, &learned);
    fc_store_learn(&t, &learned);
    fc_store_line(s, line);
    for (uint32_t i = 0; i < s->count; i++) {
        fc_memo memo = {0};
        fc_incoming in = incoming_of(key_at(s, line[i]), fc_store_weight(s, line[i]));
        uint32_t at;
        s->policy->save(s, line[i], &memo);
        in.memo = &memo;
        CHECK(put_in(&t, &in, &at) == FC_OK);
        CHECK_WHOLE(fc_store_check(&t));
    }
    same.ghosts[0].count = same.ghosts[1].count = 0;
    same.most = model_count(m);
    same.turn = false;
    same.met = FC_NIL;
    model_copied(&same, m);
    check_agreement(&same, &t);
    for (uint32_t i = 0; i < 60; i++) {
        one_step(&same, &t, state);
    }
    fc_store_free(&t);
    CHECK(a.bytes == 0);
}

/* Other bounds, as they are changed at run time: first what does not fit goes. */
static inline void
rebound_both(queues *m, fc_store *s, const fc_limits *limits)
{
    while (s->count > limits->max_entries || s->weight > limits->max_weight) {
        evict(m, s, NULL);
    }
    s->max_entries = limits->max_entries;
    s->max_weight = limits->max_weight;
    if (s->policy->rebound != NULL) {
        s->policy->rebound(s);
    }
    model_rebound(m, limits);
    m->limits = *limits;
    check_agreement(m, s);
}

static inline void
random_work(const fc_policy *policy, const fc_limits *limits)
{
    uint64_t state = 88172645463325252u + limits->max_entries + limits->max_weight;
    queues m = {.limits = *limits, .met = FC_NIL};
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(fc_store_init(&s, &a, policy, limits, 3) == FC_OK);
    for (int step = 0; step < 6000; step++) {
        one_step(&m, &s, &state);
        if (step % 199 == 0) {
            check_copy(&m, &s, &state);
        }
        if (step % 53 == 0) {
            fc_limits other = *limits;
            if (other.max_entries != FC_ENTRIES_MAX) {
                other.max_entries = 1 + random_below(&state, limits->max_entries * 2);
            }
            if (other.max_weight != UINT64_MAX) {
                other.max_weight = 1 + random_below(&state, (uint32_t)limits->max_weight * 2);
            }
            rebound_both(&m, &s, &other);
        }
    }
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches any step after which the order, a victim, a weight or a structure is off. */
static inline void
random_work_at_many_bounds(const fc_policy *policy)
{
    const fc_limits tenths = {.max_entries = 25, .max_weight = UINT64_MAX};
    for (size_t i = 0; i < MANY_BOUNDS_COUNT; i++) {
        random_work(policy, &MANY_BOUNDS[i]);
    }
    random_work(policy, &tenths); /* more than one in the small queue of s3fifo */
}

#endif
