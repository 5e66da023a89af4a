/* all.h - the policies by name: a new one is its header and one line here. */
#ifndef FC_POLICY_ALL_H
#define FC_POLICY_ALL_H

#include "arc.h"
#include "fifo.h"
#include "lfu.h"
#include "lru.h"
#include "s3fifo.h"
#include "sieve.h"
#include "size.h"
#include "slru.h"

typedef struct fc_policy_name {
    const char *name;
    const fc_policy *policy;
} fc_policy_name;

static const fc_policy_name FC_POLICIES[] = {
    {"lru", &FC_LRU},     {"fifo", &FC_FIFO},     {"lfu", &FC_LFU},
    {"slru", &FC_SLRU},   {"size", &FC_SIZE},     {"auto", &FC_LRU},
    {"sieve", &FC_SIEVE}, {"s3fifo", &FC_S3FIFO}, {"arc", &FC_ARC},
};

#define FC_POLICIES_COUNT (sizeof FC_POLICIES / sizeof *FC_POLICIES)

static inline const fc_policy *
fc_policy_find(const char *name)
{
    for (size_t i = 0; i < FC_POLICIES_COUNT; i++) {
        if (strcmp(FC_POLICIES[i].name, name) == 0) {
            return FC_POLICIES[i].policy;
        }
    }
    return NULL;
}

#endif
