/* fc_sketch.h - how often a key was asked for lately, in 16 to 32 bytes for each entry of the cache.
 *
 * A count-min sketch (Cormode and Muthukrishnan, "An improved data stream summary", 2005) of four
 * rows with counters of 4 bits, aged by halving as in TinyLFU (Einziger, Friedman and Manes,
 * "TinyLFU: a highly efficient cache admission policy", 2017).  The four counters of a key lie in one
 * block of 64 bytes, so that each use of it is one cache line: row i has words 2i and 2i + 1 of the
 * block, with 16 counters each.  An estimate is never below the true count since the last halving,
 * as far as that is no more than 15.
 *
 * Keys are given by a mix of 64 random bits: the lower half chooses the block, the upper the counters.
 * Doubling the table copies it behind itself, so that no estimate changes. */
#ifndef FC_SKETCH_H
#define FC_SKETCH_H

#include "fc_alloc.h"

#define FC_SKETCH_MOST 15
/* Blocks at least; 2 KiB. */
#define FC_SKETCH_BLOCKS_MIN 32
/* More would need more than the half of a mix. */
#define FC_SKETCH_BLOCKS_MAX (UINT32_C(1) << 31)

typedef struct fc_sketch {
    uint64_t (*blocks)[8];
    uint32_t count; /* of blocks, a power of two */
    uint64_t additions; /* that changed a counter, since the last halving; aged with them */
} fc_sketch;

/* The blocks for so many entries: two words each. */
static inline uint32_t
fc_sketch_blocks(uint32_t entries)
{
    uint32_t blocks = FC_SKETCH_BLOCKS_MIN;
    while (blocks < FC_SKETCH_BLOCKS_MAX && (uint64_t)blocks * 4 < entries) {
        blocks *= 2;
    }
    return blocks;
}

static inline size_t
fc_sketch_bytes(const fc_sketch *k)
{
    return (size_t)k->count * sizeof *k->blocks;
}

static inline void
fc_sketch_free(fc_sketch *k, fc_alloc *alloc)
{
    fc_alloc_release(alloc, k->blocks, fc_sketch_bytes(k));
    memset(k, 0, sizeof *k);
}

/* Make it wide enough for so many entries; a zeroed one is made. */
static inline int
fc_sketch_reserve(fc_sketch *k, fc_alloc *alloc, uint32_t entries)
{
    uint32_t count = fc_sketch_blocks(entries), have = k->count;
    uint64_t (*blocks)[8];
    if (count <= have) {
        return FC_OK;
    }
    blocks = fc_alloc_resize(alloc, k->blocks, fc_sketch_bytes(k), count * sizeof *blocks);
    if (blocks == NULL) {
        return FC_NOMEM;
    }
    if (have == 0) {
        memset(blocks, 0, count * sizeof *blocks);
        have = count;
    }
    for (; have < count; have *= 2) {
        memcpy(blocks + have, blocks, have * sizeof *blocks);
    }
    k->blocks = blocks;
    k->count = count;
    return FC_OK;
}

/* The word of row i, and how far its counter is to the left in it. */
FC_INLINE uint64_t *
fc_sketch_row(const fc_sketch *k, uint64_t mix, unsigned i, unsigned *left)
{
    unsigned chosen = (unsigned)(mix >> (32 + 8 * i));
    *left = (chosen >> 1 & 15) * 4;
    return &k->blocks[(uint32_t)mix & (k->count - 1)][2 * i + (chosen & 1)];
}

FC_INLINE unsigned
fc_sketch_estimate(const fc_sketch *k, uint64_t mix)
{
    unsigned least = FC_SKETCH_MOST, left;
    for (unsigned i = 0; i < 4; i++) {
        const uint64_t *row = fc_sketch_row(k, mix, i, &left);
        unsigned counter = *row >> left & 15;
        least = counter < least ? counter : least;
    }
    return least;
}

/* Count one; false: all its counters are full, and nothing has changed. */
static inline bool
fc_sketch_add(fc_sketch *k, uint64_t mix)
{
    bool moved = false;
    unsigned left;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t *row = fc_sketch_row(k, mix, i, &left);
        if ((*row >> left & 15) < FC_SKETCH_MOST) {
            *row += UINT64_C(1) << left;
            moved = true;
        }
    }
    k->additions += moved;
    return moved;
}

/* Let the estimate be no less than that; it becomes no more than the larger of both. */
static inline void
fc_sketch_raise(fc_sketch *k, uint64_t mix, unsigned estimate)
{
    unsigned left;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t *row = fc_sketch_row(k, mix, i, &left);
        unsigned counter = *row >> left & 15;
        if (counter < estimate) {
            *row += (uint64_t)(estimate - counter) << left;
        }
    }
}

/* How many of the 16 counters of a word are odd. */
FC_INLINE unsigned
fc_sketch_odd(uint64_t word)
{
    const uint64_t low = UINT64_C(0x0101010101010101);
    return (unsigned)(((word & low) + (word >> 4 & low)) * low >> 56);
}

/* Halve all counters.  What an odd one loses by rounding is taken off the additions, a quarter of
 * one each, as four counters make an addition. */
static inline void
fc_sketch_halve(fc_sketch *k)
{
    uint64_t odd = 0;
    for (uint32_t b = 0; b < k->count; b++) {
        for (unsigned i = 0; i < 8; i++) {
            uint64_t word = k->blocks[b][i];
            odd += fc_sketch_odd(word);
            k->blocks[b][i] = word >> 1 & UINT64_C(0x7777777777777777);
        }
    }
    k->additions = (k->additions - (odd / 4 < k->additions ? odd / 4 : k->additions)) / 2;
}

#endif
