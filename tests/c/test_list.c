/* Lists through the entries, against arrays that are shifted by hand. */
#include "fc_list.h"

#include "check.h"

enum { PLACES = 40, STEPS = 100000 };

static fc_entry entries[FC_LISTS + PLACES];

static void
begin(void)
{
    memset(entries, 0, sizeof entries);
    for (uint32_t list = 0; list < FC_LISTS; list++) {
        entries[list].prev = entries[list].next = list;
    }
}

static void
push(uint32_t list, uint32_t at)
{
    entries[at].list = (uint8_t)list;
    fc_list_push(entries, list, at);
}

/* Catches a link left behind: at either end, in a list of one, or into another list. */
static void
test_random_pushes_and_removals_agree_with_arrays(void)
{
    uint32_t model[FC_LISTS][PLACES], held[FC_LISTS] = {0}, on[FC_LISTS + PLACES];
    uint64_t state = 20260101;
    begin();
    memset(on, 0xFF, sizeof on);
    for (int step = 0; step < STEPS; step++) {
        uint32_t at = FC_LISTS + random_below(&state, PLACES), list = on[at];
        if (list != FC_NIL) {
            uint32_t i = 0;
            while (model[list][i] != at) {
                i++;
            }
            held[list]--;
            memmove(&model[list][i], &model[list][i + 1], (held[list] - i) * sizeof at);
            fc_list_remove(entries, at);
            on[at] = FC_NIL;
        }
        else {
            on[at] = list = random_below(&state, FC_LISTS);
            model[list][held[list]++] = at;
            push(list, at);
        }
        for (list = 0; list < FC_LISTS; list++) {
            uint32_t walk = list;
            CHECK(fc_list_check(entries, list, PLACES) == held[list]);
            CHECK(fc_list_oldest(entries, list) == (held[list] ? model[list][0] : FC_NIL));
            for (uint32_t i = 0; i < held[list]; i++) {
                walk = entries[walk].next;
                CHECK(walk == model[list][i]);
            }
            CHECK(entries[walk].next == list && entries[list].prev == walk);
        }
    }
}

static void
three_on_list_1(void)
{
    begin();
    for (uint32_t at = FC_LISTS; at < FC_LISTS + 3; at++) {
        push(1, at);
    }
    CHECK(fc_list_check(entries, 1, 3) == 3);
}

/* Catches a check that is blind on one eye: each kind of damage alone. */
static void
test_check_sees_damage(void)
{
    three_on_list_1();
    CHECK(fc_list_check(entries, 1, 2) == FC_NIL); /* more than there may be */
    entries[FC_LISTS + 1].list = 2;
    CHECK(fc_list_check(entries, 1, 3) == FC_NIL);

    three_on_list_1();
    entries[FC_LISTS + 1].prev = FC_LISTS + 2;
    CHECK(fc_list_check(entries, 1, 3) == FC_NIL);

    three_on_list_1();
    entries[1].prev = FC_LISTS; /* the sentinel's own link back */
    CHECK(fc_list_check(entries, 1, 3) == FC_NIL);

    three_on_list_1();
    entries[FC_LISTS + 1].next = 1; /* a short cut past the last */
    CHECK(fc_list_check(entries, 1, 3) == FC_NIL);

    three_on_list_1();
    entries[FC_LISTS + 2].next = FC_LISTS; /* a ring without the sentinel: must end */
    CHECK(fc_list_check(entries, 1, 3) == FC_NIL);
    entries[FC_LISTS].prev = FC_LISTS + 2;
    CHECK(fc_list_check(entries, 1, 3) == FC_NIL);
}

/* Catches a check that can run for ever: a ring whose links back are right. */
static void
test_check_ends_in_a_ring(void)
{
    begin();
    push(1, FC_LISTS);
    entries[FC_LISTS].next = FC_LISTS + 1;
    entries[FC_LISTS + 1] = (fc_entry){.prev = FC_LISTS, .next = FC_LISTS, .list = 1};
    CHECK(fc_list_check(entries, 1, PLACES) == FC_NIL);
}

int
main(void)
{
    test_random_pushes_and_removals_agree_with_arrays();
    test_check_sees_damage();
    test_check_ends_in_a_ring();
    return 0;
}
