/* fc_trace.h - a trace: the keys of requests in order, and what is worked out of them in one pass.
 *
 * A key is a 64-bit id, as it came.  What looks ahead or counts distances needs dense numbers: ids
 * are numbered in the order of first appearance, through a hash table of 16 bytes a slot.
 * Cost: O(1) a request; 4 bytes a request for the numbers, 4 for when each comes again. */
#ifndef FC_TRACE_H
#define FC_TRACE_H

#include "fc_alloc.h"
#include "fc_hash.h"

/* Positions and numbers are 32-bit, and FC_NIL is none. */
#define FC_TRACE_MAX (FC_NIL - 1)

/* What Python's hash() says of an int: the remainder by 2^61 - 1 with its sign, and never -1. */
FC_INLINE int64_t
fc_trace_hash(int64_t id, bool is_unsigned)
{
    const uint64_t prime = (UINT64_C(1) << 61) - 1;
    bool negative = id < 0 && !is_unsigned;
    uint64_t size = negative ? 0 - (uint64_t)id : (uint64_t)id;
    int64_t hash;
    size = (size & prime) + (size >> 61);
    size = size >= prime ? size - prime : size;
    hash = negative ? -(int64_t)size : (int64_t)size;
    return hash == -1 ? -2 : hash;
}

/* Numbers of 4 or 8 bytes, as 8. */
static inline void
fc_trace_widen(int64_t *out, const void *from, size_t count, size_t bytes, bool is_unsigned)
{
    if (bytes == sizeof *out) {
        memcpy(out, from, count * sizeof *out);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t number;
        memcpy(&number, (const char *)from + i * sizeof number, sizeof number);
        out[i] = is_unsigned ? (int64_t)number : (int64_t)(int32_t)number;
    }
}

/* The sum of sizes; false: one is negative or the sum is too large, and *at is which. */
static inline bool
fc_trace_sum(const int64_t *sizes, size_t count, int64_t *sum, size_t *at)
{
    *sum = 0;
    for (*at = 0; *at < count; ++*at) {
        if (sizes[*at] < 0 || sizes[*at] > INT64_MAX - *sum) {
            return false;
        }
        *sum += sizes[*at];
    }
    return true;
}

typedef struct fc_number {
    int64_t id;
    uint32_t number; /* FC_NIL: free */
} fc_number;

typedef struct fc_numbers {
    fc_number *slots;
    uint32_t bits;
    uint32_t count;
    fc_alloc *alloc;
} fc_numbers;

static inline size_t
fc_numbers_bytes(uint32_t bits)
{
    return ((size_t)1 << bits) * sizeof(fc_number);
}

static inline int
fc_numbers_init(fc_numbers *n, fc_alloc *alloc)
{
    n->alloc = alloc;
    n->bits = 10;
    n->count = 0;
    n->slots = fc_alloc_resize(alloc, NULL, 0, fc_numbers_bytes(n->bits));
    if (n->slots == NULL) {
        return FC_NOMEM;
    }
    memset(n->slots, 0xFF, fc_numbers_bytes(n->bits));
    return FC_OK;
}

static inline void
fc_numbers_free(fc_numbers *n)
{
    fc_alloc_release(n->alloc, n->slots, fc_numbers_bytes(n->bits));
    n->slots = NULL;
}

FC_INLINE size_t
fc_numbers_home(const fc_numbers *n, int64_t id)
{
    return (size_t)(fc_hash_mix(id, 0) >> (64 - n->bits));
}

/* The slot of an id, or the free one where it belongs. */
FC_INLINE fc_number *
fc_numbers_find(const fc_numbers *n, int64_t id)
{
    size_t mask = ((size_t)1 << n->bits) - 1, at = fc_numbers_home(n, id);
    while (n->slots[at].number != FC_NIL && n->slots[at].id != id) {
        at = (at + 1) & mask;
    }
    return &n->slots[at];
}

FC_COLD static int
fc_numbers_grow(fc_numbers *n)
{
    fc_numbers grown = *n;
    grown.bits++;
    grown.slots = fc_alloc_resize(n->alloc, NULL, 0, fc_numbers_bytes(grown.bits));
    if (grown.slots == NULL) {
        return FC_NOMEM;
    }
    memset(grown.slots, 0xFF, fc_numbers_bytes(grown.bits));
    for (size_t at = 0; at < (size_t)1 << n->bits; at++) {
        if (n->slots[at].number != FC_NIL) {
            *fc_numbers_find(&grown, n->slots[at].id) = n->slots[at];
        }
    }
    fc_numbers_free(n);
    *n = grown;
    return FC_OK;
}

/* Number so many ids; FC_NOMEM. */
static inline int
fc_numbers_run(fc_numbers *n, const int64_t *ids, size_t count, uint32_t *numbers)
{
    for (size_t i = 0; i < count; i++) {
        fc_number *slot;
        if (i + 16 < count) {
            FC_PREFETCH(&n->slots[fc_numbers_home(n, ids[i + 16])]);
        }
        slot = fc_numbers_find(n, ids[i]);
        if (slot->number == FC_NIL) {
            slot->id = ids[i];
            slot->number = n->count++;
        }
        numbers[i] = slot->number;
        if (FC_UNLIKELY((uint64_t)n->count * 2 > (uint64_t)1 << n->bits) &&
            fc_numbers_grow(n) != FC_OK) {
            return FC_NOMEM;
        }
    }
    return FC_OK;
}

/* For each request the position of the next one for its key, or FC_NIL.  last has room for every
 * number. */
static inline void
fc_trace_next(const uint32_t *numbers, uint32_t count, uint32_t keys, uint32_t *last,
              uint32_t *next)
{
    memset(last, 0xFF, keys * sizeof *last);
    for (uint32_t i = count; i-- > 0;) {
        next[i] = last[numbers[i]];
        last[numbers[i]] = i;
    }
}

#endif
