/* Sieve: the oldest without a mark from the hand on, which stays where it stopped. */
#include "policy/sieve.h"

#include "queues.h"

/* The model is one queue and the place of the hand in it; held[1] is not used. */
static uint32_t hand_of(const queues *m);

static void
model_add(queues *m, uint32_t k)
{
    m->met = hand_of(m); /* a hand past the young end goes to the oldest */
    m->marks[k] = 0;
    model_enter(m, 0, k);
}

static void
model_hit(queues *m, uint32_t k)
{
    m->marks[k] = 1;
}

/* The hand is the key that it is at: held[1] has it in front of what was taken out since. */
static uint32_t
hand_of(const queues *m)
{
    if (m->held[0].count == 0) {
        return FC_NIL;
    }
    return queue_find(&m->held[0], m->met) == FC_NIL ? m->held[0].keys[0] : m->met;
}

static uint32_t
next_of(const queues *m, uint32_t k)
{
    uint32_t i = queue_find(&m->held[0], k) + 1;
    return m->held[0].keys[i < m->held[0].count ? i : 0];
}

static uint32_t
model_victim(queues *m, uint32_t spare, uint32_t newcomer FC_UNUSED)
{
    m->met = hand_of(m);
    while (m->met == spare || m->marks[m->met]) {
        m->marks[m->met] = m->met == spare && m->marks[m->met];
        m->met = next_of(m, m->met);
    }
    return m->met;
}

static void
model_leave(queues *m FC_UNUSED, uint32_t k FC_UNUSED)
{
}

static void
model_copied(queues *m, const queues *of)
{
    m->met = of->met;
}

static void
model_rebound(queues *m FC_UNUSED, const fc_limits *limits FC_UNUSED)
{
}
