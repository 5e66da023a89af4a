/* The store under each policy: against a naive model, at every capacity, with failing memory. */
#include "policy/all.h"

#include "requests.h"

enum { KEYS = 200, STEPS = 100000 };

/* A key is its number plus one, as a pointer; so is its hash, thinned out to make collisions. */
static void *
pointer(uint32_t key)
{
    return (void *)(uintptr_t)(key + 1);
}

static int64_t
hash_of(uint32_t key)
{
    return (int64_t)(key % 150) << 20;
}

/* The place of a key and the slot where its search has ended. */
static uint32_t
find(const fc_store *s, uint32_t key, uint32_t *slot)
{
    uint32_t tag = fc_store_tag(s, hash_of(key));
    for (*slot = fc_table_home(&s->table, tag);; *slot = fc_table_next(&s->table, *slot)) {
        uint32_t at = s->table.slots[*slot].index;
        if (at == FC_NIL || s->slab.entries[at].key == pointer(key)) {
            return at;
        }
    }
}

/* What a cache does on a miss; false: no memory, and nothing has changed. */
static bool
put(fc_store *s, uint32_t key, bool in_place)
{
    const fc_incoming in = {.key = pointer(key),
                            .value = pointer(key),
                            .hash = hash_of(key),
                            .weight = 1,
                            .cost = 1,
                            .spare = FC_NIL};
    uint32_t slot;
    find(s, key, &slot);
    if (fc_store_fits(s, 1, 1)) {
        if (fc_store_reserve(s) != FC_OK) {
            return false;
        }
    }
    else if (in_place) {
        fc_store_replace(s, s->policy, s->policy->victim(s, &in), slot, &in);
        return true;
    }
    else {
        fc_store_remove(s, s->policy->victim(s, &in), FC_EVICTED);
    }
    slot = fc_table_free_slot(&s->table, fc_store_tag(s, hash_of(key)));
    fc_store_add(s, s->policy, slot, &in);
    return true;
}

/* The model: keys from cold to hot. */
static uint32_t model[KEYS];
static uint32_t held;

static uint32_t
model_find(uint32_t key)
{
    uint32_t i = 0;
    while (i < held && model[i] != key) {
        i++;
    }
    return i;
}

static void
model_remove(uint32_t i)
{
    held--;
    memmove(&model[i], &model[i + 1], (held - i) * sizeof *model);
}

static void
check_agreement(fc_store *s)
{
    uint32_t order[KEYS];
    CHECK_WHOLE(fc_store_check(s));
    CHECK(s->count == held);
    fc_store_order(s, order);
    for (uint32_t i = 0; i < held; i++) {
        CHECK(s->slab.entries[order[i]].key == pointer(model[i]));
    }
}

/* Catches any step after which the store differs from the model, or is damaged. */
static void
test_random_operations_agree_with_the_model(const fc_policy *policy, uint32_t capacity)
{
    fc_alloc a;
    fc_store s;
    uint64_t state = 88172645463325252u + capacity, hits = 0, misses = 0;
    fc_alloc_init(&a);
    held = 0;
    CHECK(store_of(&s, &a, policy, capacity) == FC_OK);
    for (int step = 0; step < STEPS; step++) {
        uint32_t key = random_below(&state, KEYS), choice = random_below(&state, 16), slot;
        uint32_t at = find(&s, key, &slot), i = model_find(key);
        CHECK((at != FC_NIL) == (i < held));
        if (choice < 14 && at != FC_NIL) {
            s.on_hit(&s, at);
            if (policy == &FC_LRU) {
                model_remove(i);
                model[held++] = key;
            }
            hits++;
        }
        else if (choice < 14) {
            if (held == capacity) {
                CHECK(s.slab.entries[policy->victim(&s, NULL)].key == pointer(model[0]));
                model_remove(0);
            }
            CHECK(put(&s, key, choice % 2));
            model[held++] = key;
            misses++;
        }
        else if (choice == 14 && at != FC_NIL) {
            fc_store_remove(&s, at, FC_DELETED);
            model_remove(i);
        }
        else if (choice == 15 && held > 0) {
            fc_store_remove(&s, policy->victim(&s, NULL), FC_DELETED);
            model_remove(0);
        }
        check_agreement(&s);
    }
    CHECK(s.inserts == misses && hits > 0);
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

/* Catches a change made before all memory for it was had. */
static void
test_failing_memory_changes_nothing(const fc_policy *policy)
{
    for (int64_t fail = 0; fail < 60; fail++) {
        fc_alloc a;
        fc_store s;
        fc_alloc_init(&a);
        a.fail_after = fail;
        if (store_of(&s, &a, policy, KEYS) != FC_OK) {
            CHECK(a.bytes == 0);
            continue;
        }
        for (uint32_t key = 0; key < KEYS; key++) {
            uint32_t before = s.count;
            if (!put(&s, key, true)) {
                CHECK(s.count == before);
                CHECK_WHOLE(fc_store_check(&s));
                a.fail_after = -1;
                CHECK(put(&s, key, true));
            }
        }
        CHECK(s.count == KEYS);
        CHECK_WHOLE(fc_store_check(&s));
        fc_store_free(&s);
        CHECK(a.bytes == 0);
    }
}

/* Catches a policy that has changed its choices: hits of a fixed sequence, counted once. */
static void
test_golden_hits(const fc_policy *policy, uint32_t capacity, uint32_t expected)
{
    fc_alloc a;
    fc_store s;
    uint64_t state = 42;
    uint32_t hits = 0;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, policy, capacity) == FC_OK);
    for (int i = 0; i < 20000; i++) {
        uint32_t bound = 1 + random_below(&state, KEYS), key = random_below(&state, bound), slot;
        uint32_t at = find(&s, key, &slot);
        if (at != FC_NIL) {
            s.on_hit(&s, at);
            hits++;
        }
        else {
            put(&s, key, true);
        }
    }
    if (hits != expected) {
        fprintf(stderr, "%s at %u: %u hits\n", policy->name, capacity, hits);
    }
    CHECK(hits == expected);
    fc_store_free(&s);
}

/* Catches a check that sees nothing. */
static void
test_check_sees_damage(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_LRU, 10) == FC_OK);
    put(&s, 1, true);
    put(&s, 2, true);
    CHECK_WHOLE(fc_store_check(&s));
    s.count++;
    CHECK(fc_store_check(&s) != NULL);
    s.count--;
    s.list_count[0]--;
    CHECK(fc_store_check(&s) != NULL);
    s.list_count[0]++;
    s.slab.entries[FC_LISTS].hash ^= 1;
    CHECK(fc_store_check(&s) != NULL);
    s.slab.entries[FC_LISTS].hash ^= 1;
    s.max_entries = 1;
    CHECK(fc_store_check(&s) != NULL);
    fc_store_free(&s);
}

int
main(void)
{
    static const uint32_t capacities[] = {1, 2, 3, 7, 64};
    static const uint32_t golden[][5] = {{184, 381, 579, 1346, 10708}, {184, 381, 577, 1342, 9979}};
    const fc_policy *policies[] = {&FC_LRU, &FC_FIFO};
    for (int p = 0; p < 2; p++) {
        for (int c = 0; c < 5; c++) {
            test_random_operations_agree_with_the_model(policies[p], capacities[c]);
            test_golden_hits(policies[p], capacities[c], golden[p][c]);
        }
        test_failing_memory_changes_nothing(policies[p]);
        CHECK(fc_policy_find(policies[p]->name) == policies[p]);
    }
    CHECK(fc_policy_find("auto") != NULL && fc_policy_find("LRU") == NULL);
    test_check_sees_damage();
    return 0;
}
