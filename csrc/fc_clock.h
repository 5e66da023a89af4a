/* fc_clock.h - monotonic time in nanoseconds, from a source that tests can set.
 *
 * The coarse clock is read: it moves in steps of 1 to 10 ms, and costs 4 ns where the exact one
 * costs 16.  Expiry needs no finer step.  A wall clock is never read: it jumps. */
#ifndef FC_CLOCK_H
#define FC_CLOCK_H

#include "fc_base.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <time.h>
#endif

typedef int64_t (*fc_clock_source)(void *context);

typedef struct fc_clock {
    fc_clock_source source; /* NULL: the system's */
    void *context;
} fc_clock;

static inline int64_t
fc_clock_system(void)
{
#if defined(_WIN32)
    return (int64_t)GetTickCount64() * 1000000;
#else
    struct timespec t;
#if defined(CLOCK_MONOTONIC_COARSE)
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
#else
    clock_gettime(CLOCK_MONOTONIC, &t);
#endif
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
#endif
}

static inline int64_t
fc_clock_now(const fc_clock *clock)
{
    return clock->source == NULL ? fc_clock_system() : clock->source(clock->context);
}

#endif
