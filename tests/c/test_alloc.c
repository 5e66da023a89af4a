/* The allocator counts what is held, and fails when told to. */
#include "fc_alloc.h"

#include "check.h"

/* Catches bytes that are counted twice or never given back. */
static void
test_bytes_follow_resize_and_release(void)
{
    fc_alloc a;
    char *block;
    fc_alloc_init(&a);
    block = fc_alloc_resize(&a, NULL, 0, 100);
    CHECK(block != NULL && a.bytes == 100);
    memset(block, 7, 100);
    block = fc_alloc_resize(&a, block, 100, 1000);
    CHECK(a.bytes == 1000 && block[99] == 7);
    block = fc_alloc_resize(&a, block, 1000, 10);
    CHECK(a.bytes == 10 && block[9] == 7);
    fc_alloc_release(&a, block, 10);
    fc_alloc_release(&a, NULL, 10);
    CHECK(a.bytes == 0);
}

/* Catches an injected failure that comes one early or late, or that loses the old block. */
static void
test_failure_comes_after_the_given_number(void)
{
    fc_alloc a;
    char *block;
    fc_alloc_init(&a);
    a.fail_after = 1;
    block = fc_alloc_resize(&a, NULL, 0, 8);
    CHECK(block != NULL);
    block[7] = 3;
    CHECK(fc_alloc_resize(&a, block, 8, 16) == NULL);
    CHECK(fc_alloc_resize(&a, NULL, 0, 16) == NULL);
    CHECK(a.bytes == 8 && block[7] == 3);
    a.fail_after = -1;
    block = fc_alloc_resize(&a, block, 8, 16);
    CHECK(block != NULL && a.bytes == 16);
    fc_alloc_release(&a, block, 16);
}

int
main(void)
{
    test_bytes_follow_resize_and_release();
    test_failure_comes_after_the_given_number();
    return 0;
}
