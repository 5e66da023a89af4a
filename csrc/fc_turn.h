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

#include "fc_change.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

/* Forks so far, and the thread that went on in the child.  Of the process, not of an interpreter, and
 * counted before any Python code runs in the child. */
static unsigned long fc_forks = 0, fc_survivor = 0;

static inline void
fc_forked(void)
{
    fc_forks++;
    fc_survivor = PyThread_get_thread_ident();
}

static inline int
fc_watch_forks(void)
{
#if defined(_WIN32)
    return 0;
#else
    return pthread_atfork(NULL, NULL, fc_forked);
#endif
}

static inline fc_turn *
fc_turn_find(fc_turn *turns)
{
    unsigned long thread = PyThread_get_thread_ident();
    while (turns != NULL && turns->thread != thread) {
        turns = turns->outer;
    }
    return turns;
}

/* NULL: no memory. */
static inline fc_turn *
fc_turn_begin(fc_cache *c, fc_turn **turns)
{
    fc_turn *t = fc_alloc_resize(&c->alloc, NULL, 0, sizeof *t);
    if (t != NULL) {
        t->outer = *turns;
        t->thread = PyThread_get_thread_ident();
        t->depth = 0;
        t->told = 0;
        t->telling = false;
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

/* Close the gate, making it where there is none.  FC_ERROR: no memory. */
static inline int
fc_gate_close(fc_cache *c)
{
    if (c->gate == NULL) {
        c->gate = PyThread_allocate_lock();
    }
    if (c->gate == NULL) {
        PyErr_NoMemory();
        return FC_ERROR;
    }
    PyThread_acquire_lock(c->gate, WAIT_LOCK); /* at most a passing writer is in it */
    return FC_OK;
}

static inline void
fc_turn_keep_survivor(fc_turn **turns)
{
    while (*turns != NULL) {
        if ((*turns)->thread == fc_survivor) {
            turns = &(*turns)->outer;
        }
        else {
            *turns = (*turns)->outer;
        }
    }
}

/* In a forked child only the thread that forked goes on.  The turns of the others are leaked, for
 * they may have been in the middle of them; so is the gate, which one of them may hold. */
static inline int
fc_turn_prune(fc_cache *c)
{
    if (FC_LIKELY(c->forks == fc_forks)) {
        return FC_OK;
    }
    fc_turn_keep_survivor(&c->tellers);
    fc_turn_keep_survivor(&c->readers);
    c->gate = NULL;
    c->waiting = 0;
    if (c->readers == NULL) {
        c->store.on_hit = c->store.policy->on_hit;
    }
    else if (fc_gate_close(c) != FC_OK) {
        return FC_ERROR;
    }
    c->forks = fc_forks;
    return FC_OK;
}

/* Join the readers.  FC_ERROR: no memory. */
static inline int
fc_read_begin(fc_cache *c)
{
    fc_turn *t = fc_turn_find(c->readers);
    if (t == NULL) {
        bool first = c->readers == NULL;
        if ((t = fc_turn_begin(c, &c->readers)) == NULL) {
            PyErr_NoMemory();
            return FC_ERROR;
        }
        if (first && fc_gate_close(c) != FC_OK) {
            fc_turn_end(c, &c->readers, t);
            return FC_ERROR;
        }
        c->store.on_hit = fc_store_skip;
    }
    t->depth++;
    return FC_OK;
}

/* Leave the readers; the thread is among them. */
static inline void
fc_read_end(fc_cache *c)
{
    fc_turn *t = fc_turn_find(c->readers);
    if (--t->depth == 0) {
        fc_turn_end(c, &c->readers, t);
        if (c->readers == NULL) {
            c->store.on_hit = c->store.policy->on_hit;
            PyThread_release_lock(c->gate);
        }
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

#endif
