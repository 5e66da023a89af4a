/* Ghosts: hashes in two lists, found and taken out wherever they are. */
#include "fc_ghost.h"

#include "check.h"

enum { HASHES = 60 };

/* Catches a function that is not one to one, or takes the seed for nothing. */
static void
test_mixed_hashes_depend_on_every_bit(void)
{
    for (uint32_t bit = 0; bit < 64; bit++) {
        int64_t hash = (int64_t)(UINT64_C(1) << bit);
        CHECK(fc_ghost_mix(hash, 1) != fc_ghost_mix(0, 1));
        CHECK((uint32_t)fc_ghost_mix(hash, 1) != (uint32_t)fc_ghost_mix(0, 1));
        CHECK(fc_ghost_mix(5, (uint64_t)hash) != fc_ghost_mix(5, 0));
    }
}

/* The same with arrays that are searched from end to end. */
typedef struct plain {
    uint64_t hashes[2][HASHES];
    uint32_t count[2];
} plain;

static bool
plain_drop(plain *p, uint64_t mixed)
{
    for (uint32_t list = 0; list < 2; list++) {
        for (uint32_t i = 0; i < p->count[list]; i++) {
            if (p->hashes[list][i] == mixed) {
                uint64_t *at = &p->hashes[list][i];
                memmove(at, at + 1, (--p->count[list] - i) * sizeof *at);
                return true;
            }
        }
    }
    return false;
}

static void
check_same(const plain *p, const fc_ghost *g)
{
    CHECK_WHOLE(fc_ghost_check(g));
    for (uint32_t list = 0; list < 2; list++) {
        uint32_t at = g->nodes[list].next;
        CHECK(p->count[list] == g->count[list]);
        for (uint32_t i = 0; i < p->count[list]; i++, at = g->nodes[at].next) {
            CHECK(fc_ghost_find(g, p->hashes[list][i]) == at && g->nodes[at].list == list);
        }
        CHECK(at == list);
    }
}

/* Catches a list, a bucket or a free node that is off after any step, also after growing. */
static void
test_random_work(void)
{
    uint64_t state = 88172645463325252u;
    plain p = {0};
    fc_ghost g = {0};
    fc_alloc a;
    fc_alloc_init(&a);
    CHECK(fc_ghost_reserve(&g, &a, 5) == FC_OK);
    for (int step = 0; step < 30000; step++) {
        uint64_t few = random_below(&state, HASHES) / 4 * UINT64_C(0x100000001); /* crowded */
        uint64_t mixed = step % 2 ? few : fc_ghost_mix((int64_t)few, 1);
        uint32_t list = random_below(&state, 2), choice = random_below(&state, 4);
        uint32_t room = g.room - FC_GHOST_LISTS;
        if (choice < 2) {
            if (!plain_drop(&p, mixed) && p.count[0] + p.count[1] == room) {
                uint32_t from = p.count[list] > 0 ? list : 1 - list;
                plain_drop(&p, p.hashes[from][0]);
            }
            p.hashes[list][p.count[list]++] = mixed;
            fc_ghost_push(&g, list, mixed);
        }
        else if (choice == 2) {
            uint32_t at = fc_ghost_find(&g, mixed);
            CHECK((at != 0) == plain_drop(&p, mixed));
            if (at != 0) {
                fc_ghost_remove(&g, at);
            }
        }
        else if (p.count[list] > 0) {
            plain_drop(&p, p.hashes[list][0]);
            fc_ghost_drop(&g, list);
        }
        if (step % 1000 == 999 && g.room < HASHES - 2) {
            CHECK(fc_ghost_reserve(&g, &a, g.room + 1 + random_below(&state, 8)) == FC_OK);
        }
        check_same(&p, &g);
    }
    CHECK(fc_ghost_find(&g, 77) == 0);
    fc_ghost_free(&g, &a);
    CHECK(a.bytes == 0);
}

/* Catches growth that is half done when memory fails. */
static void
test_failing_growth_changes_nothing(void)
{
    for (int64_t n = 0; n < 2; n++) {
        fc_ghost g = {0};
        fc_alloc a;
        fc_alloc_init(&a);
        a.fail_after = n;
        CHECK(fc_ghost_reserve(&g, &a, 8) == FC_NOMEM);
        a.fail_after = -1;
        CHECK(fc_ghost_reserve(&g, &a, 8) == FC_OK);
        for (uint64_t k = 1; k <= 6; k++) {
            fc_ghost_push(&g, k % 2, k);
        }
        a.fail_after = n;
        CHECK(fc_ghost_reserve(&g, &a, 100) == FC_NOMEM && g.room == 8);
        CHECK_WHOLE(fc_ghost_check(&g));
        for (uint64_t k = 1; k <= 6; k++) {
            CHECK(fc_ghost_find(&g, k) != 0);
        }
        a.fail_after = -1;
        CHECK(fc_ghost_reserve(&g, &a, 100) == FC_OK && g.room == 100);
        CHECK_WHOLE(fc_ghost_check(&g));
        CHECK(fc_ghost_find(&g, 6) != 0 && g.count[0] == 3 && g.count[1] == 3);
        fc_ghost_free(&g, &a);
        CHECK(a.bytes == 0);
    }
}

int
main(void)
{
    test_mixed_hashes_depend_on_every_bit();
    test_random_work();
    test_failing_growth_changes_nothing();
    return 0;
}
