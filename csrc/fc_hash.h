/* fc_hash.h - from a 64-bit hash to the 32-bit tag that a table slot keeps.
 *
 * Fibonacci hashing (Knuth, TAOCP 3, 6.4): one multiplication by 2^64 over the golden ratio; the
 * upper half of the product depends on every lower bit, and runs of ints, which hash to themselves,
 * fall evenly over the table.  A seed per store goes in first, so that an order of ints crafted to
 * collide in one table is harmless in another.  Not chosen: a random multiplier (an unlucky one
 * piles up nine of ten consecutive ints) and a finalizer of several steps (2 ns more per lookup, and
 * no shorter probes for str and bytes, whose hashes are mixed and keyed already). */
#ifndef FC_HASH_H
#define FC_HASH_H

#include "fc_base.h"

FC_INLINE uint64_t
fc_hash_mix(int64_t hash, uint64_t seed)
{
    return ((uint64_t)hash ^ seed) * UINT64_C(0x9E3779B97F4A7C15);
}

FC_INLINE uint32_t
fc_hash_tag(int64_t hash, uint64_t seed)
{
    return (uint32_t)(fc_hash_mix(hash, seed) >> 32);
}

/* SplitMix64 (Steele, Lea, Flood 2014): the next number of a stream, any seed will do. */
static inline uint64_t
fc_hash_next(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

#endif
