/* model.h - a policy beside an array that is searched from end to end, with random work on both.
 *
 * In the model the order of entries is that of (list, rank, tick).  What a policy is, is one
 * function that gives an entry its list and rank when it comes in and when it is used. */
#ifndef MODEL_H
#define MODEL_H

#include "requests.h"

enum { KEYS = 40 };

typedef struct one {
    uint32_t key, list;
    uint64_t weight, uses, tick;
    double rank, cost;
} one;

typedef struct model {
    const fc_limits *limits;
    void (*renew)(struct model *m, one *o);
    one held[KEYS];
    uint32_t count;
    uint64_t tick;
    double age; /* rank of the last evicted, never lowered */
} model;

static inline bool
model_before(const one *a, const one *b)
{
    if (a->list != b->list) {
        return a->list < b->list;
    }
    return a->rank != b->rank ? a->rank < b->rank : a->tick < b->tick;
}

/* The first that is not the spare; NULL: none. */
static inline one *
model_first(model *m, uint32_t spare_key)
{
    one *first = NULL;
    for (uint32_t i = 0; i < m->count; i++) {
        one *o = &m->held[i];
        if (o->key != spare_key && (first == NULL || model_before(o, first))) {
            first = o;
        }
    }
    return first;
}

static inline one *
model_find(model *m, uint32_t key)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->held[i].key == key) {
            return &m->held[i];
        }
    }
    return NULL;
}

static inline void
model_use(model *m, one *o)
{
    o->uses++;
    o->tick = m->tick++;
    m->renew(m, o);
}

static inline void
model_add(model *m, const fc_incoming *in, uint32_t key)
{
    m->held[m->count] = (one){.key = key, .weight = in->weight, .cost = in->cost};
    model_use(m, &m->held[m->count++]);
}

static inline void
model_remove(model *m, one *o, bool evicted)
{
    m->age = evicted && o->rank > m->age ? o->rank : m->age;
    *o = m->held[--m->count];
}

static inline uint32_t
key_at(const fc_store *s, uint32_t at)
{
    return at == FC_NIL ? FC_NIL : (uint32_t)(uintptr_t)s->slab.entries[at].key - 1;
}

/* The same entries in the same order, and the same victim whoever is spared. */
static inline void
check_agreement(model *m, fc_store *s)
{
    model rest = *m;
    uint32_t order[2 * KEYS];
    CHECK_WHOLE(fc_store_check(s));
    CHECK(s->count == m->count);
    fc_store_order(s, order);
    for (uint32_t i = 0; i < s->count; i++) {
        one *o = model_first(&rest, FC_NIL);
        CHECK(key_at(s, order[i]) == o->key);
        CHECK(!s->weighed || fc_store_weight(s, order[i]) == o->weight);
        model_remove(&rest, o, false);
    }
}

static inline void
check_victims(model *m, fc_store *s, uint32_t spare)
{
    fc_incoming in = incoming_of(0, 1);
    if (m->count > 0) {
        CHECK(key_at(s, s->policy->victim(s, NULL)) == model_first(m, FC_NIL)->key);
        CHECK(key_at(s, s->policy->victim(s, &in)) == model_first(m, FC_NIL)->key);
    }
    if (m->count > 1) {
        in.spare = place_of(s, spare);
        CHECK(key_at(s, s->policy->victim(s, &in)) == model_first(m, spare)->key);
        in.spare = place_of(s, model_first(m, FC_NIL)->key);
        CHECK(key_at(s, s->policy->victim(s, &in)) ==
              model_first(m, model_first(m, FC_NIL)->key)->key);
        CHECK_WHOLE(fc_store_check(s));
    }
}

/* Evict one on both sides. */
static inline void
evict(model *m, fc_store *s, const fc_incoming *in)
{
    uint32_t at = s->policy->victim(s, in);
    one *o = model_first(m, in == NULL ? FC_NIL : key_at(s, in->spare));
    CHECK(at != FC_NIL && key_at(s, at) == o->key);
    fc_store_remove(s, at, FC_EVICTED);
    model_remove(m, o, true);
}

/* Put in what is not there; the last to go may leave its place to it. */
static inline void
put_both(model *m, fc_store *s, const fc_incoming *in, bool in_place)
{
    uint32_t key = (uint32_t)in->hash, at;
    while (!fc_store_fits(s, 1, in->weight)) {
        at = s->policy->victim(s, in);
        if (in_place && s->weight - fc_store_weight(s, at) + in->weight <= s->max_weight) {
            one *o = model_first(m, FC_NIL);
            CHECK(key_at(s, at) == o->key);
            fc_store_replace(s, s->policy, at,
                             fc_table_free_slot(&s->table, fc_store_tag(s, in->hash)), in);
            model_remove(m, o, true);
            model_add(m, in, key);
            return;
        }
        evict(m, s, in);
    }
    CHECK(put_in(s, in, &at) == FC_OK);
    model_add(m, in, key);
}

static inline void
write_both(model *m, fc_store *s, uint32_t at, fc_incoming *in)
{
    one *o = model_find(m, key_at(s, at));
    in->spare = at;
    o->weight = in->weight;
    o->cost = in->cost;
    model_use(m, o);
    fc_store_reweigh(s, at, in->weight);
    if (s->policy->on_write != NULL) {
        s->policy->on_write(s, at, in);
    }
    else {
        s->policy->on_hit(s, at);
    }
    while (!fc_store_fits(s, 0, 0)) {
        evict(m, s, in);
    }
}

/* Copy the store, entry by entry, and use both for a while: they must not drift apart. */
static inline void
check_copy(model *m, fc_store *s, uint64_t *state)
{
    model same = *m;
    uint32_t order[2 * KEYS];
    fc_alloc a;
    fc_store t;
    fc_alloc_init(&a);
    CHECK(fc_store_init(&t, &a, s->policy, m->limits, 5) == FC_OK);
    fc_store_order(s, order);
    for (uint32_t i = 0; i < s->count; i++) {
        fc_memo memo = {0};
        fc_incoming in = incoming_of(key_at(s, order[i]), fc_store_weight(s, order[i]));
        uint32_t at;
        s->policy->save(s, order[i], &memo);
        in.memo = &memo;
        in.cost = -1; /* the memo's counts */
        CHECK(put_in(&t, &in, &at) == FC_OK);
        CHECK_WHOLE(fc_store_check(&t));
    }
    check_agreement(m, &t);
    if (m->count == 0) {
        same.age = 0; /* nobody there to hand it on */
    }
    for (uint32_t i = 0; i < 60; i++) {
        uint32_t k = random_below(state, KEYS), at = place_of(&t, k);
        fc_incoming in = incoming_of(k, 1 + random_below(state, 3));
        in.weight = in.weight <= t.max_weight ? in.weight : t.max_weight;
        if (at == FC_NIL) {
            put_both(&same, &t, &in, i % 2);
        }
        else {
            t.on_hit(&t, at);
            model_use(&same, model_find(&same, k));
        }
        check_agreement(&same, &t);
    }
    fc_store_free(&t);
    CHECK(a.bytes == 0);
}

/* Catches any step after which the order, a victim, a weight or a structure is off. */
static inline void
random_work(const fc_policy *policy, void (*renew)(model *, one *), const fc_limits *limits)
{
    static const double costs[] = {0, 1, 1, 1, 0.1, 1e9, 1.0 / 3, 7};
    uint64_t state = 88172645463325252u + limits->max_entries + limits->max_weight;
    uint32_t heaviest = limits->max_weight < 30 ? (uint32_t)limits->max_weight : 30;
    model m = {.limits = limits, .renew = renew};
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(fc_store_init(&s, &a, policy, limits, 3) == FC_OK);
    for (int step = 0; step < 12000; step++) {
        uint32_t k = random_below(&state, 1 + random_below(&state, KEYS));
        uint32_t at = place_of(&s, k), choice = random_below(&state, 16);
        fc_incoming in = incoming_of(k, random_below(&state, heaviest + 1));
        in.cost = costs[random_below(&state, sizeof costs / sizeof *costs)];
        CHECK((at != FC_NIL) == (model_find(&m, k) != NULL));
        if (at == FC_NIL) {
            put_both(&m, &s, &in, choice % 2);
        }
        else if (choice < 11) {
            s.on_hit(&s, at);
            model_use(&m, model_find(&m, k));
        }
        else if (choice < 14) {
            write_both(&m, &s, at, &in);
        }
        else if (choice == 14) {
            fc_store_remove(&s, at, k % 2 ? FC_DELETED : FC_EXPIRED);
            model_remove(&m, model_find(&m, k), false);
        }
        else {
            evict(&m, &s, NULL);
        }
        check_agreement(&m, &s);
        if (random_below(&state, 8) == 0) { /* seldom: choosing puts things in order */
            check_victims(&m, &s, k);
        }
        if (step % 499 == 0) {
            check_copy(&m, &s, &state);
        }
    }
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* The same at many bounds, from 1 on. */
static inline void
random_work_at_many_bounds(const fc_policy *policy, void (*renew)(model *, one *))
{
    for (size_t i = 0; i < MANY_BOUNDS_COUNT; i++) {
        random_work(policy, renew, &MANY_BOUNDS[i]);
    }
}

#endif
