/* fifo.h - the oldest goes first, used or not.
 *
 * One list in the order of arrival; neither a hit nor an overwrite moves anything.  O(1), no
 * bits.  Right where age alone decides; elsewhere every other policy keeps more of what is used. */
#ifndef FC_POLICY_FIFO_H
#define FC_POLICY_FIFO_H

#include "lru.h"

static const fc_policy FC_FIFO = {
    .name = "fifo",
    .on_add = lru_on_add,
    .on_hit = fc_store_mark,
    .on_remove = lru_on_remove,
    .victim = lru_victim,
};

#endif
