/* What a store counts and stamps on its entries, and that its check recounts each of them. */
#include "fc_store.h"

#include "policy/lru.h"

#include "requests.h"

/* Catches a counter that misses a kind of removal, or counts one that is not its own. */
static void
test_counters_tell_the_causes_apart(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_LRU, 10) == FC_OK);
    for (uint32_t k = 0; k < 10; k++) {
        CHECK(fc_store_fits(&s, 1, 1) && request(&s, k) == 0);
    }
    CHECK(fc_store_fits(&s, 0, 0) && !fc_store_fits(&s, 1, 0));
    fc_store_remove(&s, place_of(&s, 0), FC_DELETED);
    fc_store_remove(&s, place_of(&s, 1), FC_CLEARED);
    CHECK(s.evictions == 0 && s.expirations == 0);
    fc_store_remove(&s, place_of(&s, 2), FC_EXPIRED);
    CHECK(s.evictions == 0 && s.expirations == 1);
    fc_store_remove(&s, place_of(&s, 3), FC_EVICTED);
    CHECK(s.evictions == 1 && s.expirations == 1);
    CHECK(s.inserts == 10 && s.count == 6 && s.version == 14);
    fc_store_free(&s);
}

/* Put in a key in the place of the next victim. */
static uint32_t
replace(fc_store *s, uint32_t k, uint8_t flags)
{
    uint32_t slot = fc_table_free_slot(&s->table, fc_store_tag(s, k));
    uint32_t at = s->policy->victim(s, NULL);
    fc_incoming in = incoming_of(k, 1);
    in.flags = flags;
    fc_store_replace(s, s->policy, at, slot, &in);
    return at;
}

/* Catches a newcomer that inherits from the entry whose place it takes, by either way in. */
static void
test_newcomer_inherits_nothing(void)
{
    fc_alloc a;
    fc_store s;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_LRU, 1) == FC_OK);
    CHECK(request(&s, 0) == 0);
    for (uint32_t k = 1; k < 100; k++) {
        uint64_t evictions = s.evictions, version = s.version;
        uint32_t at = place_of(&s, k - 1), serial = s.slab.entries[at].serial;
        fc_entry *e = &s.slab.entries[at];
        e->bits = 255;
        e->flags = (uint8_t)~FC_ENTRY_TIMED;
        if (k % 2) {
            CHECK(replace(&s, k, FC_ENTRY_CONTAINER) == at);
        }
        else {
            CHECK(request(&s, k) == 0 && place_of(&s, k) == at);
        }
        CHECK(e->key == number(k) && e->value == number(k) && e->hash == k);
        CHECK(e->bits == 0 && e->flags == (k % 2 ? FC_ENTRY_CONTAINER : 0));
        CHECK(!fc_slab_holds(&s.slab, at, serial) && fc_slab_holds(&s.slab, at, e->serial));
        CHECK(s.evictions == evictions + 1 && s.version == version + 2);
        CHECK(s.count == 1 && s.inserts == k + 1);
        CHECK_WHOLE(fc_store_check(&s));
    }
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

static bool
is_wrong(const fc_store *s, const char *word)
{
    const char *wrong = fc_store_check(s);
    return wrong != NULL && strstr(wrong, word) != NULL;
}

/* Catches a check that looks away: each kind of damage alone, told by its name. */
static void
test_check_names_the_damage(void)
{
    fc_alloc a;
    fc_store s;
    uint32_t at, gone, free_place, next, slot;
    fc_alloc_init(&a);
    CHECK(store_of(&s, &a, &FC_LRU, 10) == FC_OK);
    for (uint32_t k = 0; k < 9; k++) {
        request(&s, k);
    }
    gone = place_of(&s, 4);
    fc_store_remove(&s, gone, FC_DELETED);
    at = place_of(&s, 5);
    CHECK_WHOLE(fc_store_check(&s));

    s.count++;
    CHECK(is_wrong(&s, "count"));
    s.count--;
    slot = fc_table_locate(&s.table, fc_store_tag(&s, s.slab.entries[at].hash), at);
    s.table.slots[slot].tag ^= 1; /* the home is the same, the tag is not */
    CHECK(is_wrong(&s, "tag"));
    s.table.slots[slot].tag ^= 1;
    s.slab.entries[at].hash += 1000003;
    CHECK(fc_store_check(&s) != NULL);
    s.slab.entries[at].hash -= 1000003;
    free_place = s.slab.free;
    s.slab.free = FC_NIL;
    CHECK(is_wrong(&s, "neither"));
    s.slab.free = at; /* an entry in use among the free, the last of them */
    next = s.slab.entries[at].next;
    s.slab.entries[at].next = FC_NIL;
    CHECK(is_wrong(&s, "chain"));
    s.slab.entries[at].next = next;
    s.slab.free = free_place;
    s.slab.entries[gone].next = gone; /* a chain without an end */
    CHECK(is_wrong(&s, "chain"));
    s.slab.entries[gone].next = FC_NIL;
    s.list_count[0]--;
    CHECK(is_wrong(&s, "list"));
    s.list_count[0]++;
    fc_store_unlink(&s, at);
    CHECK(is_wrong(&s, "no list"));
    fc_store_push(&s, 0, at);
    s.max_entries = 7;
    CHECK(is_wrong(&s, "bound"));
    s.max_entries = 10;
    CHECK_WHOLE(fc_store_check(&s));
    fc_store_free(&s);
    CHECK(a.bytes == 0);
}

int
main(void)
{
    test_counters_tell_the_causes_apart();
    test_newcomer_inherits_nothing();
    test_check_names_the_damage();
    return 0;
}
