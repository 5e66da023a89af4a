/* The clock never goes back, and reads what a test sets. */
#include "fc_clock.h"

#include "check.h"

static int64_t
read_set_time(void *context)
{
    return *(int64_t *)context;
}

/* Catches a wall clock, and milliseconds where nanoseconds are said. */
static void
test_system_clock_is_monotonic_nanoseconds(void)
{
    fc_clock clock = {NULL, NULL};
    int64_t first = fc_clock_now(&clock), last = first;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    CHECK(first > 0);
    CHECK(llabs((int64_t)t.tv_sec * 1000000000 + t.tv_nsec - first) < 1000000000);
    for (int i = 0; i < 100000; i++) {
        int64_t now = fc_clock_now(&clock);
        CHECK(now >= last);
        last = now;
    }
}

/* Catches a reader that goes past the source to the system. */
static void
test_source_is_what_is_read(void)
{
    int64_t now = 5;
    fc_clock clock = {read_set_time, &now};
    CHECK(fc_clock_now(&clock) == 5);
    now += 1000000;
    CHECK(fc_clock_now(&clock) == 1000005);
}

int
main(void)
{
    test_system_clock_is_monotonic_nanoseconds();
    test_source_is_what_is_read();
    return 0;
}
