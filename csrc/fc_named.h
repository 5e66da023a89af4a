/* fc_named.h - which rule names a key: a str, or a bytes, by what it begins with.
 *
 * Neither an exact one nor one of a subclass is asked anything: what it consists of decides, for a
 * subclass's object may equal a plain key.  A rule for text names no bytes, and the other way. */
#ifndef FC_NAMED_H
#define FC_NAMED_H

#include "fc_change.h"

FC_INLINE fc_units
fc_units_of_text(PyObject *key)
{
    return (fc_units){PyUnicode_DATA(key), (size_t)PyUnicode_GET_LENGTH(key), PyUnicode_KIND(key)};
}

FC_INLINE fc_units
fc_units_of_bytes(PyObject *key)
{
    return (fc_units){PyBytes_AS_STRING(key), (size_t)PyBytes_GET_SIZE(key), 1};
}

/* Whether it is certain that no prefix names a key, which has been hashed; there are rules. */
FC_INLINE bool
fc_is_unnamed(const fc_rules *rules, PyObject *key)
{
    if (PyUnicode_CheckExact(key)) {
        fc_units units = fc_units_of_text(key);
        return units.width == 1 &&
               !fc_rules_may(&rules->text, (fc_units){units.data, units.length, 1});
    }
    if (PyBytes_CheckExact(key)) {
        return !fc_rules_may(&rules->bytes, fc_units_of_bytes(key));
    }
    return PyLong_CheckExact(key);
}

FC_INLINE bool
fc_has_rules(const fc_cache *c)
{
    return c->rules != NULL;
}

/* The search itself; out of line, for its registers cost a write that does without 8 ns. */
FC_NOINLINE static bool
fc_is_named_by(const fc_rules *rules, PyObject *key, int64_t *ttl)
{
    const fc_prefix *rule = NULL;
    if (PyUnicode_Check(key)) {
        rule = fc_rules_find(&rules->text, fc_units_of_text(key));
    }
    else if (PyBytes_Check(key)) {
        rule = fc_rules_find(&rules->bytes, fc_units_of_bytes(key));
    }
    if (rule != NULL) {
        *ttl = rule->ttl;
    }
    return rule != NULL;
}

/* Whether a prefix names a key, and the ttl that it gives. */
FC_INLINE bool
fc_is_named(const fc_cache *c, PyObject *key, int64_t *ttl)
{
    return c->rules != NULL && !fc_is_unnamed(c->rules, key) && fc_is_named_by(c->rules, key, ttl);
}

/* The same for who holds no lock. */
static inline bool
fc_ask_rules(fc_cache *c, PyObject *key, int64_t *ttl)
{
    bool named;
    FC_LOCK(c);
    named = fc_is_named(c, key, ttl);
    FC_UNLOCK(c);
    return named;
}

/* Take over other rules, or none (NULL). */
static inline void
fc_set_rules(fc_cache *c, fc_rules *rules)
{
    fc_rules *old;
    FC_LOCK(c);
    old = c->rules;
    c->rules = rules;
    fc_cache_settle_care(c);
    FC_UNLOCK(c);
    fc_rules_free(old, &c->alloc);
}

/* Another lifetime for what is stored from now on; FC_NOMEM. */
static inline int
fc_set_ttl(fc_cache *c, int64_t ttl)
{
    int done = FC_OK;
    FC_LOCK(c);
    if (ttl != FC_NEVER) {
        done = fc_store_allow_deadlines(&c->store);
    }
    if (done == FC_OK) {
        c->ttl = ttl;
        fc_cache_settle_care(c);
    }
    FC_UNLOCK(c);
    return done;
}

#endif
