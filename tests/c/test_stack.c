/* Stack distances against a list that is searched. */
#include "fc_stack.h"

#include "check.h"

enum { KEYS = 60, COUNT = 6000 };

/* The keys from the last used one back, and what the distances were. */
typedef struct plain {
    uint32_t list[KEYS], count;
    uint64_t hits[KEYS];
} plain;

static void
plain_request(plain *p, uint32_t key)
{
    uint32_t at = 0;
    while (at < p->count && p->list[at] != key) {
        at++;
    }
    if (at < p->count) {
        p->hits[at]++;
    }
    else {
        p->count++;
    }
    for (; at > 0; at--) {
        p->list[at] = p->list[at - 1];
    }
    p->list[0] = key;
}

/* Catches a distance that is off by one, and times that are given out anew wrongly: there are only
 * twice as many as keys, so that happens every few requests. */
static void
test_distances_are_those_of_a_list(void)
{
    uint64_t state = 7;
    fc_alloc a;
    fc_alloc_init(&a);
    for (uint32_t keys = 1; keys <= KEYS; keys += 1 + keys / 2) {
        plain p = {.count = 0};
        fc_stack k;
        CHECK(fc_stack_init(&k, &a, keys) == FC_OK);
        for (uint32_t i = 0; i < COUNT; i++) {
            uint32_t key = random_below(&state, 1 + random_below(&state, keys));
            fc_stack_run(&k, &key, 1);
            plain_request(&p, key);
            CHECK_WHOLE(fc_stack_check(&k));
        }
        CHECK(memcmp(k.hits, p.hits, keys * sizeof *k.hits) == 0 && k.held == p.count);
        fc_stack_free(&k);
    }
    CHECK(a.bytes == 0);
}

/* Catches memory lost where there is not enough of it. */
static void
test_stack_without_memory_fails_whole(void)
{
    for (int64_t allowed = 0; allowed <= 4; allowed++) {
        fc_alloc a;
        fc_stack k;
        fc_alloc_init(&a);
        a.fail_after = allowed;
        if (fc_stack_init(&k, &a, 5) == FC_OK) {
            CHECK(allowed == 4);
            fc_stack_free(&k);
        }
        CHECK(a.bytes == 0);
    }
}

/* Catches a check that finds nothing. */
static void
test_check_sees_what_is_broken(void)
{
    const uint32_t keys[] = {0, 1, 2, 1};
    fc_alloc a;
    fc_stack k;
    fc_alloc_init(&a);
    CHECK(fc_stack_init(&k, &a, 3) == FC_OK);
    fc_stack_run(&k, keys, 4);
    CHECK_WHOLE(fc_stack_check(&k));
    k.tree[3]++;
    CHECK(fc_stack_check(&k) != NULL);
    k.tree[3]--;
    k.stands[2]++;
    CHECK(fc_stack_check(&k) != NULL);
    k.stands[2]--;
    k.held--;
    CHECK(fc_stack_check(&k) != NULL);
    fc_stack_free(&k);
}

int
main(void)
{
    test_distances_are_those_of_a_list();
    test_stack_without_memory_fails_whole();
    test_check_sees_what_is_broken();
    return 0;
}
