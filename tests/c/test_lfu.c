/* Lfu: what was used most stays longest; among equals, what was used last. */
#include "policy/lfu.h"

#include "model.h"

static void
renew(model *m FC_UNUSED, one *o)
{
    o->rank = (double)o->uses;
}

static uint64_t
uses_of(const fc_store *s, uint32_t k)
{
    fc_memo memo = {0};
    s->policy->save(s, place_of(s, k), &memo);
    return memo.uses;
}

static void
hit(fc_store *s, uint32_t k, uint32_t times)
{
    while (times-- > 0) {
        CHECK(request(s, k) == 1);
        CHECK_WHOLE(fc_store_check(s));
    }
}

/* Catches a count that is off by one, or an entry in the wrong half of its equals. */
static void
test_order_is_by_uses_then_by_last_use(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_LFU, 4) == FC_OK);
    for (uint32_t k = 1; k <= 4; k++) {
        CHECK(request(&s, k) == 0);
    }
    CHECK(ORDER_IS(&s, 1, 2, 3, 4));
    hit(&s, 2, 1);
    CHECK(ORDER_IS(&s, 1, 3, 4, 2));
    hit(&s, 1, 1); /* joins 2, as the younger */
    CHECK(ORDER_IS(&s, 3, 4, 2, 1));
    hit(&s, 4, 1); /* the youngest of its equals */
    CHECK(ORDER_IS(&s, 3, 2, 1, 4));
    hit(&s, 3, 1); /* alone, and the next bucket is one up */
    CHECK(ORDER_IS(&s, 2, 1, 4, 3));
    hit(&s, 3, 1); /* the youngest, and there is no bucket above */
    CHECK(ORDER_IS(&s, 2, 1, 4, 3) && uses_of(&s, 3) == 3);
    hit(&s, 3, 5); /* alone at the top */
    CHECK(uses_of(&s, 3) == 8 && ORDER_IS(&s, 2, 1, 4, 3));
    hit(&s, 1, 1); /* a bucket between two */
    CHECK(ORDER_IS(&s, 2, 4, 1, 3));
    CHECK(request(&s, 5) == 0 && ORDER_IS(&s, 5, 4, 1, 3));
    CHECK(request(&s, 6) == 0 && ORDER_IS(&s, 6, 4, 1, 3)); /* newcomers push out each other */
    hit(&s, 6, 1);
    CHECK(ORDER_IS(&s, 4, 6, 1, 3));
    CHECK(request(&s, 4) == 1 && request(&s, 7) == 0 && ORDER_IS(&s, 7, 1, 4, 3));
    CHECK(uses_of(&s, 7) == 1 && uses_of(&s, 1) == 3 && uses_of(&s, 4) == 3);
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a count that goes on where it was, in an entry that went and came back. */
static void
test_count_is_forgotten_with_its_entry(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_LFU, 3) == FC_OK);
    request(&s, 1);
    hit(&s, 1, 9);
    fc_store_remove(&s, place_of(&s, 1), FC_DELETED);
    CHECK_WHOLE(fc_store_check(&s));
    request(&s, 1);
    request(&s, 2);
    CHECK(uses_of(&s, 1) == 1 && ORDER_IS(&s, 1, 2));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a copy that is put in out of order, or whose count does not go on. */
static void
test_memo_puts_an_entry_where_it_was(void)
{
    static const uint64_t uses[] = {5, UINT64_MAX - 1, 1, 7, 5, 6, 0};
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_LFU, 10) == FC_OK);
    for (uint32_t k = 0; k < 7; k++) {
        const fc_memo memo = {.uses = uses[k]};
        fc_incoming in = incoming_of(k, 1);
        uint32_t at;
        in.memo = &memo;
        CHECK(put_in(&s, &in, &at) == FC_OK);
        CHECK_WHOLE(fc_store_check(&s));
    }
    CHECK(ORDER_IS(&s, 2, 6, 0, 4, 5, 3, 1) && uses_of(&s, 6) == 1);
    hit(&s, 1, 1);
    CHECK(uses_of(&s, 1) == UINT64_MAX);
    hit(&s, 0, 1);
    CHECK(ORDER_IS(&s, 2, 6, 4, 5, 0, 3, 1) && uses_of(&s, 0) == 6);
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a check that is blind: each kind of damage alone. */
static void
test_check_sees_damage(void)
{
    fc_alloc a;
    fc_store s;
    lfu_node *nodes;
    lfu_state *state;
    uint32_t *bucket, b;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_LFU, 10) == FC_OK);
    for (uint32_t k = 0; k < 6; k++) {
        request(&s, k);
        request(&s, k / 2);
    }
    state = s.state;
    nodes = state->nodes;
    bucket = state->bucket;
    b = bucket[place_of(&s, 5)];
    CHECK_WHOLE(fc_store_check(&s));
    nodes[b].uses += 100;
    CHECK(fc_store_check(&s) != NULL);
    nodes[b].uses -= 100;
    bucket[place_of(&s, 5)] = bucket[place_of(&s, 0)];
    CHECK(fc_store_check(&s) != NULL);
    bucket[place_of(&s, 5)] = b;
    nodes[b].youngest = place_of(&s, 0);
    CHECK(fc_store_check(&s) != NULL);
    nodes[b].youngest = place_of(&s, 5);
    nodes[0].uses = 1;
    CHECK(fc_store_check(&s) != NULL);
    nodes[0].uses = 0;
    b = state->free;
    state->free = nodes[b].next;
    CHECK(fc_store_check(&s) != NULL);
    state->free = b;
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

int
main(void)
{
    test_order_is_by_uses_then_by_last_use();
    test_count_is_forgotten_with_its_entry();
    test_memo_puts_an_entry_where_it_was();
    test_check_sees_damage();
    random_work_at_many_bounds(&FC_LFU, renew);
    return 0;
}
