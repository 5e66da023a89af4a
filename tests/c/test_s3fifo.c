/* S3fifo: what is used twice while it is new, or comes back soon, goes on to the main queue. */
#include "policy/s3fifo.h"

#include "queues.h"

/* held[0] is small, held[1] main. */
static uint64_t
share_of_small(uint64_t bound)
{
    return bound / 10 > 0 ? bound / 10 : 1;
}

static bool
main_is_over(const queues *m)
{
    const fc_limits *limits = &m->limits;
    uint64_t most = limits->max_entries - share_of_small(limits->max_entries);
    return m->held[1].count > most ||
           (limits->max_weight != UINT64_MAX &&
            queue_weight(m, &m->held[1]) > limits->max_weight - share_of_small(limits->max_weight));
}

static void
forget(queues *m, uint32_t more)
{
    while (m->ghosts[0].count > (uint64_t)model_limit(m) * 9 / 10 + more) {
        queue_drop(&m->ghosts[0], m->ghosts[0].keys[0]);
    }
}

static void
model_add(queues *m, uint32_t k)
{
    const fc_limits *limits = &m->limits;
    bool full = m->held[0].count >= share_of_small(limits->max_entries) ||
                (limits->max_weight != UINT64_MAX &&
                 queue_weight(m, &m->held[0]) >= share_of_small(limits->max_weight));
    bool known = queue_drop(&m->ghosts[0], k);
    m->marks[k] = 0;
    m->turn = false;
    model_enter(m, known || (!m->began && full), k);
    forget(m, 0);
}

static void
model_hit(queues *m, uint32_t k)
{
    m->marks[k] = m->marks[k] == 3 ? 3 : m->marks[k] + 1;
}

static uint32_t
model_victim(queues *m, uint32_t spare, uint32_t newcomer FC_UNUSED)
{
    for (;;) {
        uint32_t small = queue_first(&m->held[0], spare), main = queue_first(&m->held[1], spare);
        if (small == FC_NIL || (main != FC_NIL && !m->turn && main_is_over(m))) {
            m->turn = false;
            if (m->marks[main] == 0) {
                return main;
            }
            m->marks[main]--;
            queue_drop(&m->held[1], main);
            queue_push(&m->held[1], main);
        }
        else {
            m->turn = true;
            if (m->marks[small] < 2) {
                return small;
            }
            m->marks[small] = 0;
            queue_drop(&m->held[0], small);
            queue_push(&m->held[1], small);
        }
    }
}

static void
model_leave(queues *m, uint32_t k)
{
    m->began = true;
    if (queue_of(m->held, k) == 0) {
        queue_push(&m->ghosts[0], k);
        forget(m, 1);
    }
}

static void
model_copied(queues *m FC_UNUSED, const queues *of FC_UNUSED)
{
}

static void
model_rebound(queues *m, const fc_limits *limits)
{
    m->limits = *limits;
    forget(m, 0);
}

/* Catches a newcomer in the wrong queue, a count that saves too soon or too late, a lost ghost. */
static void
test_second_use_or_a_ghost_leads_to_main(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_S3FIFO, 20) == FC_OK);
    for (uint32_t k = 0; k < 20; k++) { /* main is filled first: small takes two */
        CHECK(request(&s, k) == 0);
        CHECK(s.list_count[S3_SMALL] == (k < 2 ? k + 1 : 2));
    }
    CHECK(request(&s, 0) == 1 && request(&s, 1) == 1 && request(&s, 1) == 1);
    CHECK(request(&s, 20) == 0 && place_of(&s, 0) == FC_NIL); /* one use was not enough */
    CHECK(s.list_count[S3_SMALL] == 2 && s.list_count[S3_MAIN] == 18);
    CHECK(request(&s, 21) == 0 && place_of(&s, 20) == FC_NIL);
    CHECK(s.slab.entries[place_of(&s, 1)].list == S3_MAIN); /* and two were */
    CHECK(s.slab.entries[place_of(&s, 1)].bits == 0);
    CHECK(s.list_count[S3_MAIN] == 19);
    CHECK(request(&s, 0) == 0 && s.slab.entries[place_of(&s, 0)].list == S3_MAIN); /* a ghost */
    CHECK(place_of(&s, 2) == FC_NIL); /* for main was over its share */
    CHECK(request(&s, 2) == 0 && s.slab.entries[place_of(&s, 2)].list == S3_SMALL); /* no ghost */
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a main queue that forgets its counts, or looks at them once only. */
static void
test_main_gives_as_many_chances_as_there_were_uses(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_S3FIFO, 4) == FC_OK);
    for (uint32_t k = 0; k < 4; k++) {
        CHECK(request(&s, k) == 0);
    }
    for (uint32_t n = 0; n < 7; n++) {
        CHECK(request(&s, 1) == 1 && (n > 0 || request(&s, 2) == 1));
    }
    fc_store_remove(&s, place_of(&s, 0), FC_DELETED); /* small is empty */
    CHECK(s.slab.entries[place_of(&s, 1)].bits == 3 && ORDER_IS(&s, 3, 2, 1));
    CHECK(s.policy->victim(&s, NULL) == place_of(&s, 3));
    CHECK(s.slab.entries[place_of(&s, 1)].bits == 2 && ORDER_IS(&s, 3, 2, 1));
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches ghosts without a bound, or kept past a smaller one, and a check that finds nothing. */
static void
test_ghosts_are_nine_tenths_of_the_most_entries(void)
{
    fc_alloc a;
    fc_store s;
    s3_state *state;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_S3FIFO, 100) == FC_OK);
    state = s.state;
    for (uint32_t k = 0; k < 1000; k++) {
        CHECK(request(&s, k) == 0);
        CHECK(state->ghosts.count[0] <= 90);
    }
    CHECK(state->ghosts.count[0] == 90);
    while (s.count > 50) {
        fc_store_remove(&s, s.policy->victim(&s, NULL), FC_EVICTED);
    }
    s.max_entries = 50;
    CHECK(fc_store_check(&s) != NULL);
    s.policy->rebound(&s);
    CHECK(state->ghosts.count[0] == 45);
    CHECK_WHOLE(fc_store_check(&s));
    s.slab.entries[fc_slab_live(&s.slab, FC_LISTS)].bits = 4;
    CHECK(fc_store_check(&s) != NULL);
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

int
main(void)
{
    test_second_use_or_a_ghost_leads_to_main();
    test_main_gives_as_many_chances_as_there_were_uses();
    test_ghosts_are_nine_tenths_of_the_most_entries();
    random_work_at_many_bounds(&FC_S3FIFO);
    return 0;
}
