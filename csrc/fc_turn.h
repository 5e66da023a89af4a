/* fc_turn.h - who is at work in a cache: readers without the GIL, and operations that will be told.
 *
 * Readers may probe table and entries while other threads run Python.  As long as there are any,
 * writers wait at the gate, and a hit skips its policy step (on_hit is fc_store_skip), so that
 * nothing a reader looks at moves.  The first reader closes the gate, the last one opens it.
 *
 * Tellers are threads inside an operation whose departures a listener hears of.  Operations that
 * the listener makes on the same thread queue behind it instead of telling in the middle. */
#ifndef FC_TURN_H
#define FC_TURN_H

#include "fc_access.h"

static inline fc_turn *
fc_turn_find(fc_turn *turns, unsigned long thread)
{
    while (turns != NULL && turns->thread != thread) {
        turns = turns->outer;
    }
    return turns;
}

/* NULL: no memory. */
static inline fc_turn *
fc_turn_begin(fc_cache *c, fc_turn **turns, unsigned long thread, unsigned long forks)
{
    fc_turn *t = fc_alloc_resize(&c->alloc, NULL, 0, sizeof *t);
    if (t != NULL) {
        t->outer = *turns;
        t->thread = thread;
        t->fork = forks;
        t->depth = 0;
        fc_exits_init(&t->exits, true);
        *turns = t;
    }
    return t;
}

static inline void
fc_turn_end(fc_cache *c, fc_turn **turns, fc_turn *t)
{
    while (*turns != t) {
        turns = &(*turns)->outer;
    }
    *turns = t->outer;
    fc_exits_free(&t->exits, &c->alloc);
    fc_alloc_release(&c->alloc, t, sizeof *t);
}

/* Join the readers.  FC_ERROR: no memory. */
static inline int
fc_read_begin(fc_cache *c, unsigned long thread, unsigned long forks)
{
    fc_turn *t = fc_turn_find(c->readers, thread);
    if (t == NULL) {
        bool first = c->readers == NULL;
        if (c->gate == NULL) {
            c->gate = PyThread_allocate_lock();
        }
        if (c->gate == NULL || (t = fc_turn_begin(c, &c->readers, thread, forks)) == NULL) {
            PyErr_NoMemory();
            return FC_ERROR;
        }
        if (first) {
            PyThread_acquire_lock(c->gate, WAIT_LOCK); /* at most a passing writer is in it */
            c->store.on_hit = fc_store_skip;
        }
    }
    t->depth++;
    return FC_OK;
}

static inline void
fc_read_open(fc_cache *c)
{
    if (c->readers == NULL) {
        c->store.on_hit = c->store.policy->on_hit;
        PyThread_release_lock(c->gate);
    }
}

/* Leave the readers; the thread is among them. */
static inline void
fc_read_end(fc_cache *c, unsigned long thread)
{
    fc_turn *t = fc_turn_find(c->readers, thread);
    if (--t->depth == 0) {
        fc_turn_end(c, &c->readers, t);
        fc_read_open(c);
    }
}

/* Wait at the gate, for 50 ms at the most, without the GIL. */
static inline void
fc_read_wait(fc_cache *c)
{
    PyThread_type_lock gate = c->gate;
    c->waiting++;
    Py_BEGIN_ALLOW_THREADS
    if (PyThread_acquire_lock_timed(gate, 50000, 0) == PY_LOCK_ACQUIRED) {
        PyThread_release_lock(gate);
    }
    Py_END_ALLOW_THREADS
    c->waiting--;
}

/* In a forked child only the thread that forked goes on.  The turns of the others are leaked, for
 * they may have been in the middle of them; so is the gate they closed. */
static inline void
fc_turn_prune_list(fc_turn **turns, unsigned long forks, unsigned long survivor)
{
    while (*turns != NULL) {
        fc_turn *t = *turns;
        if (t->fork != forks && t->thread == survivor) {
            t->fork = forks;
        }
        if (t->fork == forks) {
            turns = &t->outer;
        }
        else {
            *turns = t->outer;
        }
    }
}

static inline void
fc_turn_prune(fc_cache *c, unsigned long forks, unsigned long survivor)
{
    bool reading = c->readers != NULL;
    fc_turn_prune_list(&c->tellers, forks, survivor);
    fc_turn_prune_list(&c->readers, forks, survivor);
    if (reading && c->readers == NULL) {
        c->gate = NULL;
        c->waiting = 0;
        c->store.on_hit = c->store.policy->on_hit;
    }
}

#endif
