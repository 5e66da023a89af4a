/* check.h - what the plain-C tests share: a check that names its line, and seeded numbers. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

/* For functions that return NULL or what is wrong. */
#define CHECK_WHOLE(call)                                               \
    do {                                                                \
        const char *wrong_ = (call);                                    \
        if (wrong_ != NULL) {                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, wrong_); \
            exit(1);                                                    \
        }                                                               \
    } while (0)

/* Xorshift (Marsaglia 2003): the same numbers on every machine. */
static inline uint32_t
random_below(uint64_t *state, uint32_t bound)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)((*state >> 32) % bound);
}

#endif
