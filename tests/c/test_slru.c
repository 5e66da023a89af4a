/* Slru: what was used again is protected from what came once, up to four fifths of the cache. */
#include "policy/slru.h"

#include "model.h"

static void
renew(model *m, one *o)
{
    o->list = o->uses > 1;
    for (;;) {
        uint64_t weight = 0, count = 0;
        one *oldest = NULL;
        for (uint32_t i = 0; i < m->count; i++) {
            one *other = &m->held[i];
            if (other->list == 1) {
                weight += other->weight;
                count++;
                oldest = oldest == NULL || other->tick < oldest->tick ? other : oldest;
            }
        }
        if ((m->limits->max_entries == FC_ENTRIES_MAX ||
             count <= (uint64_t)m->limits->max_entries * 4 / 5) &&
            (m->limits->max_weight == UINT64_MAX || weight <= m->limits->max_weight * 4 / 5)) {
            return;
        }
        oldest->list = 0;
        oldest->tick = m->tick++;
    }
}

/* Catches an entry on the wrong list, at the wrong end, or a share that is off by one. */
static void
test_second_use_protects(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_SLRU, 5) == FC_OK);
    for (uint32_t k = 1; k <= 5; k++) {
        CHECK(request(&s, k) == 0);
    }
    CHECK(ORDER_IS(&s, 1, 2, 3, 4, 5) && s.list_count[1] == 0);
    CHECK(request(&s, 2) == 1 && ORDER_IS(&s, 1, 3, 4, 5, 2) && s.list_count[1] == 1);
    CHECK(request(&s, 1) == 1 && request(&s, 2) == 1 && ORDER_IS(&s, 3, 4, 5, 1, 2));
    CHECK(request(&s, 6) == 0 && ORDER_IS(&s, 4, 5, 6, 1, 2));
    CHECK(request(&s, 4) == 1 && request(&s, 5) == 1 && ORDER_IS(&s, 6, 1, 2, 4, 5));
    CHECK(s.list_count[1] == 4);
    CHECK(request(&s, 6) == 1 && ORDER_IS(&s, 1, 2, 4, 5, 6) && s.list_count[1] == 4);
    for (uint32_t k = 100; k < 200; k++) { /* a scan leaves four fifths alone */
        CHECK(request(&s, k) == 0);
        CHECK_WHOLE(fc_store_check(&s));
    }
    CHECK(ORDER_IS(&s, 199, 2, 4, 5, 6));
    fc_store_remove(&s, place_of(&s, 199), FC_DELETED);
    CHECK(s.policy->victim(&s, NULL) == place_of(&s, 2));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a share of less than one entry that is taken for one: then this is lru. */
static void
test_single_entry_is_never_protected(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_SLRU, 1) == FC_OK);
    CHECK(request(&s, 1) == 0 && request(&s, 1) == 1 && s.list_count[1] == 0);
    CHECK(request(&s, 2) == 0 && ORDER_IS(&s, 2));
    fc_store_free(&s);
    CHECK(store_of(&s, &a, &FC_SLRU, 2) == FC_OK);
    CHECK(request(&s, 1) == 0 && request(&s, 1) == 1 && s.list_count[1] == 1);
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

static void
put(fc_store *s, uint32_t k, uint64_t weight, const fc_memo *memo)
{
    fc_incoming in = incoming_of(k, weight);
    uint32_t at;
    in.memo = memo;
    CHECK(put_in(s, &in, &at) == FC_OK);
    CHECK_WHOLE(fc_store_check(s));
}

/* Catches a share by weight that wraps, is rounded up, or is not looked at after an overwrite. */
static void
test_share_holds_by_weight(void)
{
    static const struct {
        uint64_t max_weight, share;
    } cases[] = {{4, 3}, {5, 4}, {9, 7}, {UINT64_MAX - 1, 14757395258967641291u}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const fc_limits limits = {.max_entries = FC_ENTRIES_MAX, .max_weight = cases[i].max_weight};
        uint64_t share = cases[i].share;
        fc_incoming in = incoming_of(1, share + 1);
        fc_alloc a;
        fc_store s;
        uint32_t at;
        fc_alloc_init(&a);
        CHECK(fc_store_init(&s, &a, &FC_SLRU, &limits, 1) == FC_OK);
        put(&s, 1, share, NULL);
        put(&s, 2, 1, NULL);
        CHECK(request(&s, 1) == 1 && s.list_weight[1] == share);
        CHECK(request(&s, 2) == 1 && s.list_weight[1] == 1 && ORDER_IS(&s, 1, 2));
        fc_store_remove(&s, place_of(&s, 2), FC_DELETED);
        CHECK(request(&s, 1) == 1 && s.list_count[1] == 1);
        at = place_of(&s, 1);
        fc_store_reweigh(&s, at, share + 1);
        s.policy->on_write(&s, at, &in);
        CHECK(s.list_count[1] == 0 && s.list_weight[0] == share + 1);
        CHECK_WHOLE(fc_store_check(&s));
        fc_store_free(&s);
        CHECK(a.bytes == 0);
    }
}

/* Catches a copy that loses its segment, or brings in more than the share. */
static void
test_memo_puts_an_entry_in_its_segment(void)
{
    const fc_memo cold = {0}, hot = {.list = 1}, unknown = {.list = 3};
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_SLRU, 5) == FC_OK);
    put(&s, 1, 1, &hot);
    put(&s, 2, 1, &unknown);
    put(&s, 3, 1, &hot);
    put(&s, 4, 1, &cold);
    CHECK(ORDER_IS(&s, 2, 4, 1, 3) && s.list_count[1] == 2);
    fc_store_free(&s);
    CHECK(store_of(&s, &a, &FC_SLRU, 5) == FC_OK);
    for (uint32_t k = 1; k <= 5; k++) {
        put(&s, k, 1, &hot);
    }
    CHECK(ORDER_IS(&s, 1, 2, 3, 4, 5) && s.list_count[1] == 4);
    s.max_entries = 4;
    CHECK(s.policy->check(&s) != NULL); /* more than its share */
    s.max_entries = 5;
    fc_store_unlink(&s, place_of(&s, 1));
    fc_store_push(&s, 2, place_of(&s, 1));
    CHECK(s.policy->check(&s) != NULL); /* in neither segment */
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

int
main(void)
{
    test_second_use_protects();
    test_single_entry_is_never_protected();
    test_share_holds_by_weight();
    test_memo_puts_an_entry_in_its_segment();
    random_work_at_many_bounds(&FC_SLRU, renew);
    return 0;
}
