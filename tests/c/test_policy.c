/* The seam between store and policy, with a policy that uses every function of it. */
#include "fc_policy.h"

#include "policy/all.h"

#include "requests.h"

/* Two lists: newcomers on 2, what was hit on 1; a mark per place, in a block as large as the slab.
 * Victims come from 2 first, so the default order would be wrong. */
static uint32_t marks_room, closed;

static int
twice_reserve(fc_store *s)
{
    uint8_t *marks = s->state;
    if (s->slab.room <= marks_room) {
        return FC_OK;
    }
    marks = fc_alloc_resize(s->alloc, marks, marks_room, s->slab.room);
    if (marks == NULL) {
        return FC_NOMEM;
    }
    memset(marks + marks_room, 0, s->slab.room - marks_room);
    marks_room = s->slab.room;
    s->state = marks;
    return FC_OK;
}

static int
twice_open(fc_store *s)
{
    marks_room = 0;
    return twice_reserve(s);
}

static void
twice_close(fc_store *s)
{
    fc_alloc_release(s->alloc, s->state, marks_room);
    closed++;
}

static void
twice_on_add(fc_store *s, uint32_t at, const fc_incoming *in FC_UNUSED)
{
    fc_store_push(s, 2, at);
    ((uint8_t *)s->state)[at] = 1;
}

static void
twice_on_hit(fc_store *s, uint32_t at)
{
    fc_store_unlink(s, at);
    fc_store_push(s, 1, at);
    ((uint8_t *)s->state)[at] = 2;
}

static void
twice_on_remove(fc_store *s, uint32_t at, fc_cause cause FC_UNUSED)
{
    fc_store_unlink(s, at);
    ((uint8_t *)s->state)[at] = 0;
}

static uint32_t
twice_victim(fc_store *s, const fc_incoming *in)
{
    uint32_t at = fc_store_oldest(s, 2, in);
    return at != FC_NIL ? at : fc_store_oldest(s, 1, in);
}

static void
twice_order(const fc_store *s, uint32_t *out)
{
    for (uint32_t list = 2; list > 0; list--) {
        for (uint32_t at = s->slab.entries[list].next; at != list; at = s->slab.entries[at].next) {
            *out++ = at;
        }
    }
}

static const char *
twice_check(const fc_store *s)
{
    uint32_t marked = 0;
    for (uint32_t at = 0; at < marks_room; at++) {
        marked += ((uint8_t *)s->state)[at] != 0;
    }
    return marked == s->count ? NULL : "twice: the marks are off";
}

static const fc_policy TWICE = {
    .name = "twice",
    .on_add = twice_on_add,
    .on_hit = twice_on_hit,
    .on_remove = twice_on_remove,
    .victim = twice_victim,
    .open = twice_open,
    .close = twice_close,
    .reserve = twice_reserve,
    .order = twice_order,
    .check = twice_check,
};

/* Catches a function of the policy that the store forgets to call, or calls too late. */
static void
test_every_function_is_called(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    closed = 0;
    CHECK(store_of(&s, &a, &TWICE, 20) == FC_OK);
    for (uint32_t k = 0; k < 20; k++) {
        CHECK(request(&s, k) == 0);
        CHECK(marks_room == s.slab.room);
        CHECK_WHOLE(fc_store_check(&s));
    }
    for (uint32_t k = 0; k < 17; k++) {
        CHECK(request(&s, k) == 1);
    }
    CHECK(s.list_count[1] == 17 && s.list_count[2] == 3);
    CHECK(ORDER_IS(&s, 17, 18, 19, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16));
    CHECK(request(&s, 20) == 0 && place_of(&s, 17) == FC_NIL);
    ((uint8_t *)s.state)[place_of(&s, 20)] = 0;
    CHECK(fc_store_check(&s) != NULL);
    fc_store_free(&s);
    CHECK(closed == 1 && a.bytes == 0);
}

/* Catches a change made before all memory for it was had: content, order and numbers stay. */
static void
test_failing_memory_at_every_allocation(const fc_policy *policy)
{
    enum { KEYS = 60 };
    bool failed = true;
    for (int64_t n = 0; failed; n++) {
        fc_alloc a;
        fc_store s, before;
        uint32_t order[2 * KEYS], again[2 * KEYS];
        fc_alloc_init(&a);
        a.fail_after = n;
        failed = store_of(&s, &a, policy, KEYS) != FC_OK;
        for (uint32_t k = 0; k < KEYS && !failed; k++) {
            before = s;
            fc_store_order(&s, order);
            if (request(&s, k) == FC_NOMEM) {
                failed = true;
                CHECK_WHOLE(fc_store_check(&s));
                CHECK(s.count == before.count && s.version == before.version);
                CHECK(s.inserts == before.inserts && place_of(&s, k) == FC_NIL);
                fc_store_order(&s, again);
                CHECK(memcmp(order, again, s.count * sizeof *order) == 0);
                /* What needs no memory works while there is none. */
                for (uint32_t hit = 0; hit < k; hit++) {
                    CHECK(request(&s, hit) == 1);
                }
                if (k > 0) {
                    fc_store_remove(&s, place_of(&s, 0), FC_DELETED);
                    CHECK(request(&s, 0) == FC_NOMEM || s.count == k);
                }
                CHECK_WHOLE(fc_store_check(&s));
                a.fail_after = -1;
                CHECK(request(&s, k) == 0);
                CHECK_WHOLE(fc_store_check(&s));
            }
        }
        CHECK(n > 0 || failed);
        fc_store_free(&s);
        CHECK(a.bytes == 0);
    }
}

/* Catches a name that means another policy, or a policy that lacks what it must have. */
static void
test_names(void)
{
    CHECK(fc_policy_find("lru") == &FC_LRU && fc_policy_find("fifo") == &FC_FIFO);
    CHECK(fc_policy_find("lfu") == &FC_LFU && fc_policy_find("slru") == &FC_SLRU);
    CHECK(fc_policy_find("size") == &FC_SIZE && fc_policy_find("auto") == &FC_TINYLFU);
    CHECK(fc_policy_find("sieve") == &FC_SIEVE && fc_policy_find("s3fifo") == &FC_S3FIFO);
    CHECK(fc_policy_find("arc") == &FC_ARC && fc_policy_find("tinylfu") == &FC_TINYLFU);
    CHECK(fc_policy_find("LRU") == NULL && fc_policy_find("") == NULL);
    for (size_t i = 0; i < FC_POLICIES_COUNT; i++) {
        const fc_policy *p = FC_POLICIES[i].policy;
        CHECK(p->on_add && p->on_hit && p->on_remove && p->victim);
        CHECK(strcmp(p->name, FC_POLICIES[i].name) == 0 ||
              strcmp(FC_POLICIES[i].name, "auto") == 0);
    }
}

int
main(void)
{
    test_every_function_is_called();
    test_failing_memory_at_every_allocation(&TWICE);
    for (size_t i = 0; i < FC_POLICIES_COUNT; i++) {
        test_failing_memory_at_every_allocation(FC_POLICIES[i].policy);
    }
    test_names();
    return 0;
}
