/* Prefixes beside a plain loop over all of them. */
#include "fc_rules.h"

#include "check.h"

#define RULES 40
#define LONGEST 12

typedef struct word {
    uint32_t units[LONGEST];
    size_t length;
} word;

static word
random_word(uint64_t *seed, uint32_t letters)
{
    static const uint32_t alphabet[] = {'a', 'b', 0, 0x161, 0x1F600, 'a' + 256};
    word w = {.length = random_below(seed, LONGEST + 1)};
    for (size_t i = 0; i < w.length; i++) {
        w.units[i] = alphabet[random_below(seed, letters)];
    }
    return w;
}

/* The units of a word in an array of so many bytes each. */
static fc_units
narrow(const word *w, int width, void *room)
{
    for (size_t i = 0; i < w->length; i++) {
        if (width == 1) {
            ((uint8_t *)room)[i] = (uint8_t)w->units[i];
        }
        else if (width == 2) {
            ((uint16_t *)room)[i] = (uint16_t)w->units[i];
        }
        else {
            ((uint32_t *)room)[i] = w->units[i];
        }
    }
    return (fc_units){room, w->length, width};
}

static bool
begins(const word *key, const word *prefix)
{
    return prefix->length <= key->length &&
           memcmp(key->units, prefix->units, prefix->length * sizeof *key->units) == 0;
}

/* Catches a shorter prefix that wins, a wide unit taken for its low byte, and a filter that leaves
 * out a key that a rule names. */
static void
test_longest_prefix_wins(void)
{
    uint64_t seed = 7;
    uint32_t found = 0, filtered = 0;
    for (int round = 0; round < 400; round++) {
        /* 2 letters fit one byte, 4 two, and all of them four. */
        uint32_t letters = 2 + 2 * (uint32_t)(round % 3);
        int width = 1 << (round % 3);
        word prefixes[RULES];
        uint32_t count = 0, wanted = random_below(&seed, RULES + 1) >> (round % 5);
        size_t units = 0;
        uint32_t room[LONGEST + 1];
        fc_alloc a;
        fc_rules *r;
        fc_alloc_init(&a);
        for (uint32_t i = 0; i < wanted; i++) {
            word w = random_word(&seed, letters);
            bool twice = false;
            for (uint32_t j = 0; j < count; j++) {
                twice |= w.length == prefixes[j].length && begins(&w, &prefixes[j]);
            }
            if (!twice) {
                prefixes[count++] = w;
                units += w.length;
            }
        }
        r = fc_rules_new(&a, 0, count, units);
        CHECK(r != NULL && a.bytes > 0);
        for (uint32_t i = 0; i < count; i++) {
            fc_rules_add(r, true, narrow(&prefixes[i], width, room), i);
        }
        CHECK(r->units == r->end);
        fc_rules_close(r);
        CHECK_WHOLE(fc_rules_check(r));
        for (int i = 0; i < 300; i++) {
            word key = random_word(&seed, letters);
            fc_units asked = narrow(&key, width, room);
            const fc_prefix *answer = fc_rules_find(&r->text, asked);
            uint32_t best = FC_NIL;
            for (uint32_t j = 0; j < count; j++) {
                if (begins(&key, &prefixes[j]) &&
                    (best == FC_NIL || prefixes[j].length > prefixes[best].length)) {
                    best = j;
                }
            }
            CHECK((answer == NULL) == (best == FC_NIL));
            CHECK(answer == NULL || answer->ttl == best);
            CHECK(answer == NULL || fc_rules_may(&r->text, asked));
            CHECK(fc_rules_find(&r->bytes, asked) == NULL && !fc_rules_may(&r->bytes, asked));
            found += answer != NULL;
            filtered += !fc_rules_may(&r->text, asked);
        }
        fc_rules_free(r, &a);
        CHECK(a.bytes == 0);
    }
    CHECK(found > 10000 && filtered > 1000);
}

/* Catches a filter that lets everything through. */
static void
test_filter_tells_keys_from_a_single_rule(void)
{
    static const char *const outside[] = {"user:1", "sess", "sessiom:1", "x", "\xFF"};
    fc_alloc a;
    fc_rules *r;
    fc_alloc_init(&a);
    r = fc_rules_new(&a, 1, 0, 8);
    fc_rules_add(r, false, (fc_units){"session:", 8, 1}, 60);
    fc_rules_close(r);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        fc_units key = {outside[i], strlen(outside[i]), 1};
        CHECK(fc_rules_find(&r->bytes, key) == NULL);
        CHECK(fc_rules_may(&r->bytes, key) == (i == 1)); /* too short to tell */
    }
    CHECK(fc_rules_find(&r->bytes, (fc_units){"session:9", 9, 1})->ttl == 60);
    fc_rules_free(r, &a);
}

/* Catches a write past a block that was not there. */
static void
test_no_memory_gives_no_rules(void)
{
    fc_alloc a;
    fc_alloc_init(&a);
    a.fail_after = 0;
    CHECK(fc_rules_new(&a, 1, 1, 10) == NULL && a.bytes == 0);
    fc_rules_free(NULL, &a);
}

int
main(void)
{
    test_longest_prefix_wins();
    test_filter_tells_keys_from_a_single_rule();
    test_no_memory_gives_no_rules();
    return 0;
}
