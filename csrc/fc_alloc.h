/* fc_alloc.h - the one door to the heap.
 *
 * Every structure allocates through an fc_alloc, which counts what is held and can be told to
 * fail.  Structures hold offsets only, so that a mapping shared by processes can take the place
 * of the heap here and nowhere else. */
#ifndef FC_ALLOC_H
#define FC_ALLOC_H

#include <stdlib.h>

#include "fc_base.h"

typedef struct fc_alloc {
    int64_t fail_after; /* allocations that still succeed; negative: all of them */
    size_t bytes;       /* held now */
} fc_alloc;

static inline void
fc_alloc_init(fc_alloc *a)
{
    a->fail_after = -1;
    a->bytes = 0;
}

/* Grow or shrink a block (NULL: a new one); NULL when it fails, and the old block stays. */
static inline void *
fc_alloc_resize(fc_alloc *a, void *block, size_t old_bytes, size_t new_bytes)
{
    void *moved;
    if (a->fail_after == 0) {
        return NULL;
    }
    moved = realloc(block, new_bytes);
    if (moved != NULL) {
        a->fail_after -= a->fail_after > 0;
        a->bytes += new_bytes - old_bytes;
    }
    return moved;
}

static inline void
fc_alloc_release(fc_alloc *a, void *block, size_t bytes)
{
    if (block != NULL) {
        a->bytes -= bytes;
        free(block);
    }
}

#endif
