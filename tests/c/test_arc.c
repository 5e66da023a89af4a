/* Arc: used once beside used again, and a target between them that ghosts move. */
#include "policy/arc.h"

#include "queues.h"

#include <math.h>

/* held[0] is T1, held[1] T2, ghosts[0] B1, ghosts[1] B2. */
static bool
by_weight(const fc_limits *limits)
{
    return limits->max_entries == FC_ENTRIES_MAX && limits->max_weight != UINT64_MAX;
}

static double
whole_of(const fc_limits *limits)
{
    return by_weight(limits) ? (double)limits->max_weight : (double)limits->max_entries;
}

static void
forget(queues *m, uint32_t more)
{
    queue *g = m->ghosts;
    while (g[0].count > 0 && m->held[0].count + g[0].count > model_limit(m)) {
        queue_drop(&g[0], g[0].keys[0]);
    }
    while (g[0].count + g[1].count > model_limit(m) + more) {
        queue *from = g[1].count > 0 ? &g[1] : &g[0];
        queue_drop(from, from->keys[0]);
    }
}

static void
meet(queues *m, uint32_t k)
{
    if (m->met == k) {
        return;
    }
    m->met = k;
    m->ghost = queue_of(m->ghosts, k);
    if (m->ghost < 2) {
        double step = 1.0 * m->ghosts[1 - m->ghost].count / m->ghosts[m->ghost].count;
        step = step > 1 ? step : 1;
        step *= by_weight(&m->limits) && m->weights[k] > 0 ? (double)m->weights[k] : 1;
        m->target = m->ghost == 0 ? m->target + step : m->target - step;
        m->target = m->target > 0 ? m->target : 0;
        m->target = m->target < whole_of(&m->limits) ? m->target : whole_of(&m->limits);
        queue_drop(&m->ghosts[m->ghost], k);
    }
}

static void
model_add(queues *m, uint32_t k)
{
    meet(m, k);
    model_enter(m, m->ghost < 2, k);
    m->met = FC_NIL;
    forget(m, 0);
}

static void
model_hit(queues *m, uint32_t k)
{
    queue_drop(&m->held[queue_of(m->held, k)], k);
    queue_push(&m->held[1], k);
}

static uint32_t
model_victim(queues *m, uint32_t spare, uint32_t newcomer)
{
    const fc_limits *limits = &m->limits;
    uint32_t once = queue_first(&m->held[0], spare), again = queue_first(&m->held[1], spare);
    double weight = (double)queue_weight(m, &m->held[0]);
    double size = by_weight(limits) ? weight : m->held[0].count;
    bool over;
    if (newcomer != FC_NIL) {
        meet(m, newcomer);
    }
    over = size > m->target || (size == m->target && newcomer != FC_NIL && m->ghost == 1);
    if (limits->max_weight != UINT64_MAX && !by_weight(limits)) {
        over |= weight > m->target / whole_of(limits) * (double)limits->max_weight;
    }
    return again == FC_NIL || (once != FC_NIL && over) ? once : again;
}

static void
model_leave(queues *m, uint32_t k)
{
    uint32_t list = queue_of(m->held, k);
    /* What is left of T1 counts. */
    queue rest = m->held[0];
    queue_push(&m->ghosts[list], k);
    queue_drop(&m->held[0], k);
    forget(m, 1);
    m->held[0] = rest;
}

static void
model_copied(queues *m, const queues *of)
{
    double share = of->target / whole_of(&of->limits), target = share * whole_of(&of->limits);
    double rounded = (double)(uint64_t)(target + 0.5);
    m->target = rounded / whole_of(&of->limits) == share ? rounded : target;
}

static void
model_rebound(queues *m, const fc_limits *limits)
{
    m->target = m->target / whole_of(&m->limits) * whole_of(limits);
    m->limits = *limits;
    forget(m, 0);
}

/* Catches an entry on the wrong list, a ghost that teaches nothing or the wrong way. */
static void
test_ghosts_move_the_target(void)
{
    fc_alloc a;
    fc_store s;
    arc_state *state;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_ARC, 4) == FC_OK);
    state = s.state;
    for (uint32_t k = 1; k <= 4; k++) {
        CHECK(request(&s, k) == 0);
    }
    CHECK(request(&s, 1) == 1 && request(&s, 2) == 1 && ORDER_IS(&s, 3, 4, 1, 2));
    CHECK(request(&s, 5) == 0 && ORDER_IS(&s, 4, 5, 1, 2)); /* B1: 3 */
    CHECK(state->target == 0 && state->ghosts.count[ARC_ONCE] == 1);
    CHECK(request(&s, 3) == 0 && state->target == 1 && ORDER_IS(&s, 1, 2, 3, 5)); /* B1: 4 */
    CHECK(s.list_count[ARC_ONCE] == 1 && state->ghosts.count[ARC_ONCE] == 1);
    CHECK(request(&s, 6) == 0 && ORDER_IS(&s, 5, 2, 3, 6)); /* B1: 4; B2: 1 */
    CHECK(state->ghosts.count[ARC_AGAIN] == 1);
    CHECK(request(&s, 1) == 0 && state->target == 0 && ORDER_IS(&s, 6, 2, 3, 1)); /* B1: 4, 5 */
    CHECK(state->ghosts.count[ARC_ONCE] == 2 && state->ghosts.count[ARC_AGAIN] == 0);
    CHECK_WHOLE(fc_store_check(&s));
    state->target = 5;
    CHECK(fc_store_check(&s) != NULL);
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a step that is always one: few ghosts that come back weigh more. */
static void
test_step_is_the_quotient_of_the_ghosts(void)
{
    fc_alloc a;
    fc_store s;
    arc_state *state;
    fc_incoming in = incoming_of(7, 1);
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_ARC, 20) == FC_OK);
    state = s.state;
    for (uint32_t k = 0; k < 20; k++) {
        CHECK(request(&s, 100 + k) == 0);
    }
    for (uint64_t k = 0; k < 8; k++) {
        fc_ghost_push(&state->ghosts, k < 3, fc_ghost_mix((int64_t)k + 5, s.seed));
    }
    s.policy->victim(&s, &in); /* 7 was used again: one of 3 against 5 */
    CHECK(state->target == 0 && state->ghosts.count[ARC_AGAIN] == 2);
    in.hash = 8;
    s.policy->victim(&s, &in); /* one of 5 against 2 */
    CHECK(state->target == 1 && state->ghosts.count[ARC_ONCE] == 4);
    s.policy->victim(&s, &in); /* the same one again */
    CHECK(state->target == 1 && state->ghosts.count[ARC_ONCE] == 4);
    state->target = 10;
    in.hash = 6;
    s.policy->victim(&s, &in); /* one of 2 against 4 */
    CHECK(state->target == 8 && state->again && state->ghosts.count[ARC_AGAIN] == 1);
    CHECK(place_of(&s, 6) == FC_NIL && s.count == 20);
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a target that is lost, or not in proportion, when the bound changes. */
static void
test_target_is_a_share_of_the_bound(void)
{
    const fc_limits limits = {.max_entries = FC_ENTRIES_MAX, .max_weight = 1000};
    fc_alloc a;
    fc_store s;
    arc_state *state;
    fc_learned learned;
    fc_alloc_init(&a);
    CHECK(fc_store_init(&s, &a, &FC_ARC, &limits, 1) == FC_OK);
    state = s.state;
    state->target = 250;
    s.max_weight = 2000;
    CHECK(fc_store_check(&s) != NULL);
    s.policy->rebound(&s);
    CHECK(state->target == 500);
    s.max_entries = 10;
    s.policy->rebound(&s);
    CHECK(state->target == 2.5);
    CHECK_WHOLE(fc_store_check(&s));
    for (uint32_t i = 0; i < 4; i++) { /* shares that nobody has had */
        static const double shares[] = {(double)NAN, -1, 2, (double)INFINITY};
        learned.share = shares[i];
        fc_store_learn(&s, &learned);
        CHECK(state->target == (i < 2 ? 0 : 10));
    }
    for (uint32_t bound = 1; bound < 100; bound++) {
        s.max_entries = bound;
        s.policy->rebound(&s);
        for (uint32_t target = 0; target <= bound; target++) {
            state->target = target;
            fc_store_learned(&s, &learned);
            state->target = 0;
            fc_store_learn(&s, &learned);
            CHECK(state->target == target);
        }
    }
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

int
main(void)
{
    test_ghosts_move_the_target();
    test_step_is_the_quotient_of_the_ghosts();
    test_target_is_a_share_of_the_bound();
    random_work_at_many_bounds(&FC_ARC);
    return 0;
}
