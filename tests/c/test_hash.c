/* Tags spread keys whatever their hashes look like. */
#include "fc_hash.h"

#include "check.h"

enum { KEYS = 4096, BUCKETS = 8192 };

/* The number of keys that share their home slot with an earlier one; 21 % is chance. */
static int
collisions(const int64_t *hashes, uint64_t seed)
{
    static uint8_t seen[BUCKETS];
    int count = 0;
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < KEYS; i++) {
        uint32_t home = fc_hash_tag(hashes[i], seed) >> 19;
        count += seen[home];
        seen[home] = 1;
    }
    return count;
}

/* Catches a mix that ignores the lower or the upper bits of a hash: ints hash to themselves. */
static void
test_patterns_do_not_pile_up(void)
{
    static int64_t hashes[KEYS];
    uint64_t state = 1;
    for (int round = 0; round < 100; round++) {
        uint64_t seed = fc_hash_next(&state);
        for (int i = 0; i < KEYS; i++) {
            hashes[i] = i;
        }
        CHECK(collisions(hashes, seed) < KEYS / 50);
        for (int shift = 1; shift < 52; shift++) {
            for (int i = 0; i < KEYS; i++) {
                hashes[i] = (int64_t)i << shift;
            }
            CHECK(collisions(hashes, seed) < KEYS * 5 / 8);
        }
        for (int i = 0; i < KEYS; i++) {
            hashes[i] = (int64_t)fc_hash_next(&state);
        }
        CHECK(collisions(hashes, seed) < KEYS * 3 / 10);
    }
}

/* Catches a seed that does not matter: ints crafted to collide would collide in every cache. */
static void
test_crafted_collisions_do_not_carry_over(void)
{
    static int64_t crafted[KEYS];
    uint64_t state = 1, mine = 12345, theirs = fc_hash_next(&state);
    int count = 0;
    for (int64_t i = 0; count < KEYS; i++) {
        if (fc_hash_tag(i, mine) >> 24 == 77) {
            crafted[count++] = i;
        }
    }
    CHECK(collisions(crafted, mine) > KEYS * 9 / 10);
    CHECK(collisions(crafted, theirs) < KEYS * 5 / 8);
}

int
main(void)
{
    test_patterns_do_not_pile_up();
    test_crafted_collisions_do_not_carry_over();
    return 0;
}
