/* fc_rules.h - how long a key lives by the prefix it begins with.
 *
 * The rules are sorted, and each knows the longest other one that is a prefix of it.  The longest
 * prefix of a key is then the greatest rule not above the key, or one of the rules that this one
 * begins with: one binary search, and one walk along rules that get shorter.  Text and bytes are
 * two sets, for neither is ever a prefix of the other.
 *
 * Nearly every key is one that no rule names, and a write may not pay for being asked.  So there is a
 * filter in front: for each of the first 8 units a bit per byte value says whether some rule has it
 * there, or has ended before.  A key is out at the first unit that no rule has in its place.
 *
 * Cost: 1.5 ns where the first unit decides, some 10 ns where only the search does; 256 bytes a
 * set, 32 a rule and 4 a unit of a prefix, in one block.  Not chosen: a trie (a cache miss per unit,
 * and ten times the code); hashing every length that a prefix has (a hash per length and key). */
#ifndef FC_RULES_H
#define FC_RULES_H

#include "fc_alloc.h"

#define FC_RULE_FILTERED 8 /* units that the filter looks at: bits of a byte */

/* A prefix, in units of text (code points) or bytes, and the nanoseconds that its keys live. */
typedef struct fc_prefix {
    const uint32_t *units;
    size_t length;
    uint32_t outer; /* the longest other rule that is a prefix of this one, or FC_NIL */
    int64_t ttl;
} fc_prefix;

typedef struct fc_rule_set {
    fc_prefix *list;
    uint32_t count;
    uint8_t may[256]; /* by the low byte of a unit: a bit for each place that it may have */
} fc_rule_set;

typedef struct fc_rules {
    fc_rule_set bytes, text;
    bool asks; /* whom no prefix names is asked for elsewhere */
    size_t size;
    uint32_t *units, *end;
} fc_rules;

/* The units of a key or prefix: bytes, or text of 1, 2 or 4 bytes a unit. */
typedef struct fc_units {
    const void *data;
    size_t length;
    int width;
} fc_units;

FC_INLINE uint32_t
fc_unit(const void *data, int width, size_t i)
{
    return width == 1   ? ((const uint8_t *)data)[i]
           : width == 2 ? ((const uint16_t *)data)[i]
                        : ((const uint32_t *)data)[i];
}

/* Room for so many rules with so many units altogether; NULL: no memory. */
static inline fc_rules *
fc_rules_new(fc_alloc *alloc, uint32_t bytes, uint32_t text, size_t units)
{
    size_t size = sizeof(fc_rules) + ((size_t)bytes + text) * sizeof(fc_prefix) +
                  units * sizeof(uint32_t);
    fc_rules *r = fc_alloc_resize(alloc, NULL, 0, size);
    if (r != NULL) {
        memset(r, 0, sizeof *r);
        r->size = size;
        r->bytes.list = (fc_prefix *)(r + 1);
        r->text.list = r->bytes.list + bytes;
        r->units = (uint32_t *)(r->text.list + text);
        r->end = r->units + units;
    }
    return r;
}

static inline void
fc_rules_free(fc_rules *r, fc_alloc *alloc)
{
    if (r != NULL) {
        fc_alloc_release(alloc, r, r->size);
    }
}

/* Take in a rule; room for it is there, and no other has this prefix. */
static inline void
fc_rules_add(fc_rules *r, bool text, fc_units prefix, int64_t ttl)
{
    fc_rule_set *set = text ? &r->text : &r->bytes;
    fc_prefix *rule = &set->list[set->count++];
    rule->units = r->units;
    rule->length = prefix.length;
    rule->outer = FC_NIL;
    rule->ttl = ttl;
    for (size_t i = 0; i < prefix.length; i++) {
        *r->units++ = fc_unit(prefix.data, prefix.width, i);
    }
}

/* How many units a rule and a key have in common at their beginning. */
FC_INLINE size_t
fc_prefix_common(const fc_prefix *rule, fc_units key)
{
    size_t most = rule->length < key.length ? rule->length : key.length, i = 0;
    while (i < most && rule->units[i] == fc_unit(key.data, key.width, i)) {
        i++;
    }
    return i;
}

static int
fc_prefix_compare(const void *left, const void *right)
{
    const fc_prefix *a = left, *b = right;
    const fc_units units = {b->units, b->length, 4};
    size_t common = fc_prefix_common(a, units);
    if (common == a->length || common == b->length) {
        return (a->length > common) - (b->length > common);
    }
    return a->units[common] < b->units[common] ? -1 : 1;
}

static inline void
fc_rule_set_close(fc_rule_set *set)
{
    size_t shortest = FC_RULE_FILTERED;
    if (set->count > 1) {
        qsort(set->list, set->count, sizeof *set->list, fc_prefix_compare);
    }
    for (uint32_t at = 0; at < set->count; at++) {
        fc_prefix *rule = &set->list[at];
        const fc_units units = {rule->units, rule->length, 4};
        uint32_t outer = at == 0 ? FC_NIL : at - 1; /* what it begins with is here or further out */
        while (outer != FC_NIL &&
               fc_prefix_common(&set->list[outer], units) < set->list[outer].length) {
            outer = set->list[outer].outer;
        }
        rule->outer = outer;
        for (size_t i = 0; i < FC_RULE_FILTERED && i < rule->length; i++) {
            set->may[rule->units[i] & 0xFF] |= (uint8_t)(1 << i);
        }
        shortest = rule->length < shortest ? rule->length : shortest;
    }
    for (uint32_t unit = 0; set->count > 0 && unit < 256; unit++) {
        set->may[unit] |= (uint8_t)(0xFF << shortest); /* after its end anything may come */
    }
}

/* Make ready for questions: all rules are in. */
static inline void
fc_rules_close(fc_rules *r)
{
    fc_rule_set_close(&r->bytes);
    fc_rule_set_close(&r->text);
}

/* Whether a rule may name a key; false is certain. */
FC_INLINE bool
fc_rules_may(const fc_rule_set *set, fc_units key)
{
    for (size_t i = 0; i < FC_RULE_FILTERED && i < key.length; i++) {
        if (!(set->may[fc_unit(key.data, key.width, i) & 0xFF] >> i & 1)) {
            return false;
        }
    }
    return set->count != 0;
}

/* The longest rule that a key begins with, or NULL. */
static inline const fc_prefix *
fc_rules_find(const fc_rule_set *set, fc_units key)
{
    uint32_t low = 0, high = set->count; /* below low are rules not above the key */
    const fc_prefix *rule;
    size_t common;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        rule = &set->list[middle];
        common = fc_prefix_common(rule, key);
        if (common == rule->length ||
            (common < key.length && rule->units[common] < fc_unit(key.data, key.width, common))) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    if (low == 0) {
        return NULL;
    }
    rule = &set->list[low - 1];
    common = fc_prefix_common(rule, key);
    while (rule->length > common) {
        if (rule->outer == FC_NIL) {
            return NULL;
        }
        rule = &set->list[rule->outer];
    }
    return rule;
}

/* NULL, or what is wrong. */
static inline const char *
fc_rules_check(const fc_rules *r)
{
    const fc_rule_set *sets[] = {&r->bytes, &r->text};
    for (int i = 0; i < 2; i++) {
        const fc_rule_set *set = sets[i];
        for (uint32_t at = 0; at < set->count; at++) {
            const fc_prefix *rule = &set->list[at];
            const fc_units units = {rule->units, rule->length, 4};
            if (at > 0 && fc_prefix_compare(rule - 1, rule) >= 0) {
                return "rules: out of order, or one prefix twice";
            }
            if (!fc_rules_may(set, units) || fc_rules_find(set, units) != rule) {
                return "rules: a rule that does not find itself";
            }
        }
    }
    return NULL;
}

#endif
