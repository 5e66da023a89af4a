/* fc_list.h - circular doubly linked lists threaded through the entries.
 *
 * List number l starts and ends at place l of the entry array, its sentinel: sentinel.next is the
 * oldest, sentinel.prev the youngest.  Each step is a few stores and no branch. */
#ifndef FC_LIST_H
#define FC_LIST_H

#include "fc_entry.h"

/* Put right after, on the young side of, another entry or the sentinel. */
FC_INLINE void
fc_list_insert(fc_entry *entries, uint32_t after, uint32_t at)
{
    uint32_t next = entries[after].next;
    entries[at].prev = after;
    entries[at].next = next;
    entries[next].prev = at;
    entries[after].next = at;
}

/* Append at the young end. */
FC_INLINE void
fc_list_push(fc_entry *entries, uint32_t list, uint32_t at)
{
    uint32_t youngest = entries[list].prev;
    entries[at].prev = youngest;
    entries[at].next = list;
    entries[youngest].next = at;
    entries[list].prev = at;
}

FC_INLINE void
fc_list_remove(fc_entry *entries, uint32_t at)
{
    uint32_t prev = entries[at].prev, next = entries[at].next;
    entries[prev].next = next;
    entries[next].prev = prev;
}

/* Oldest entry, or FC_NIL. */
FC_INLINE uint32_t
fc_list_oldest(const fc_entry *entries, uint32_t list)
{
    uint32_t at = entries[list].next;
    return at == list ? FC_NIL : at;
}

/* Walk a list and its back links; the number of entries, or FC_NIL when it is broken. */
static inline uint32_t
fc_list_check(const fc_entry *entries, uint32_t list, uint32_t count_max)
{
    uint32_t count = 0, before = list;
    for (uint32_t at = entries[list].next; at != list; at = entries[at].next) {
        if (entries[at].prev != before || entries[at].list != list || count == count_max) {
            return FC_NIL;
        }
        before = at;
        count++;
    }
    return entries[list].prev == before ? count : FC_NIL;
}

#endif
