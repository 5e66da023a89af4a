/* fc_record.h - write down what the policy sees: each hit, overwrite and insert, as one number.
 *
 * While a cache records, its store's policy is a copy whose on_add, on_hit and on_write note the
 * entry's hash and then call the real one: a cache that does not record pays nothing, and a recorded
 * lru hit takes the way of the other policies.  Numbers go to a buffer and, when it is full, to a
 * .npy file: first the numbers, then their count in its header, so that the file is whole at any
 * moment.  Cost: 5 to 10 ns a request, 512 KiB.
 *
 * A hash is mixed with a random number, so that it tells nothing of the key.  A forked child has the
 * parent's file and half its buffer, and writes neither. */
#ifndef FC_RECORD_H
#define FC_RECORD_H

#include "fc_python.h"

#include <errno.h>
#include <stdio.h>
#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

#define FC_RECORD_ROOM 65536
#define FC_RECORD_HEADER 128

typedef struct fc_recorder {
    fc_policy policy;       /* first: the store points here */
    const fc_policy *plain; /* the real one */
    uint64_t salt;
    uint64_t written; /* numbers that are in the file */
    uint32_t count;   /* numbers that wait */
    int file;         /* owned */
    int error;        /* errno of a write that has failed: nothing is written any more */
    int process;
    uint64_t waiting[FC_RECORD_ROOM];
} fc_recorder;

static inline int
fc_record_process(void)
{
#if defined(_WIN32)
    return 0;
#else
    return (int)getpid();
#endif
}

/* Write at a place of the file; 0, or errno. */
static inline int
fc_record_write(int file, const void *data, size_t bytes, uint64_t at)
{
    const char *from = data;
    while (bytes > 0) {
#if defined(_WIN32)
        int done = _lseeki64(file, (long long)at, SEEK_SET) < 0
                       ? -1
                       : _write(file, from, (unsigned)bytes);
#else
        ssize_t done = pwrite(file, from, bytes, (off_t)at);
#endif
        if (done < 0 && errno != EINTR) {
            return errno;
        }
        if (done > 0) {
            from += done;
            at += (uint64_t)done;
            bytes -= (size_t)done;
        }
    }
    return 0;
}

/* The header of a .npy of so many uint64; 0, or errno. */
static inline int
fc_record_write_header(int file, uint64_t count)
{
    const uint16_t probe = 1;
    char low_first, header[FC_RECORD_HEADER];
    int length;
    memcpy(&low_first, &probe, 1);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10); /* version 1.0; 118 bytes follow */
    length = snprintf(header + 10, sizeof header - 10,
                      "{'descr': '%cu8', 'fortran_order': False, 'shape': (%llu,), }",
                      low_first ? '<' : '>', (unsigned long long)count);
    memset(header + 10 + length, ' ', sizeof header - 11 - (size_t)length);
    header[sizeof header - 1] = '\n';
    return fc_record_write(file, header, FC_RECORD_HEADER, 0);
}

/* Write what waits, and forget it. */
FC_COLD static void
fc_record_flush(fc_recorder *r)
{
    if (r->count > 0 && r->error == 0 && r->process == fc_record_process()) {
        int kept = errno;
        r->error = fc_record_write(r->file, r->waiting, r->count * sizeof *r->waiting,
                                   FC_RECORD_HEADER + r->written * sizeof *r->waiting);
        if (r->error == 0) {
            r->written += r->count;
            r->error = fc_record_write_header(r->file, r->written);
        }
        errno = kept;
    }
    r->count = 0;
}

FC_INLINE void
fc_record_note(fc_store *s, uint32_t at)
{
    fc_recorder *r = (fc_recorder *)(void *)s->policy;
    uint64_t state = (uint64_t)s->slab.entries[at].hash ^ r->salt;
    r->waiting[r->count++] = fc_hash_next(&state);
    if (FC_UNLIKELY(r->count == FC_RECORD_ROOM)) {
        fc_record_flush(r);
    }
}

static void
record_on_add(fc_store *s, uint32_t at, const fc_incoming *in)
{
    fc_record_note(s, at);
    ((const fc_recorder *)s->policy)->plain->on_add(s, at, in);
}

static void
record_on_hit(fc_store *s, uint32_t at)
{
    fc_record_note(s, at);
    ((const fc_recorder *)s->policy)->plain->on_hit(s, at);
}

static void
record_on_write(fc_store *s, uint32_t at, const fc_incoming *in)
{
    fc_record_note(s, at);
    ((const fc_recorder *)s->policy)->plain->on_write(s, at, in);
}

/* Put the policy in, or back; while there are readers their end sets on_hit. */
static inline void
fc_record_swap(fc_cache *c, const fc_policy *policy)
{
    c->store.policy = policy;
    if (c->readers == NULL) {
        c->store.on_hit = policy->on_hit;
    }
}

/* Let the recorder, if there is one, hear what a new store sees. */
static inline void
fc_record_attach(fc_cache *c)
{
    fc_recorder *r = c->recorder;
    if (r != NULL) {
        r->plain = c->store.policy;
        r->policy = *r->plain;
        r->policy.on_add = record_on_add;
        r->policy.on_hit = record_on_hit;
        r->policy.on_write = r->plain->on_write == NULL ? NULL : record_on_write;
        fc_record_swap(c, &r->policy);
    }
}

/* Let an old store, which may outlive the recorder, have its policy back. */
static inline void
fc_record_forget(const fc_cache *c, fc_store *old)
{
    if (c->recorder != NULL && old->policy == &c->recorder->policy) {
        old->policy = c->recorder->plain;
        old->on_hit = old->policy->on_hit;
    }
}

/* Begin, with a file that is the recorder's from now on unless this fails: 0, or errno. */
static inline int
fc_record_begin(fc_cache *c, int file, uint64_t salt)
{
    int error = fc_record_write_header(file, 0);
    fc_recorder *r = error == 0 ? malloc(sizeof *r) : NULL;
    if (r == NULL) {
        return error != 0 ? error : ENOMEM;
    }
    r->salt = salt;
    r->written = 0;
    r->count = 0;
    r->file = file;
    r->error = 0;
    r->process = fc_record_process();
    FC_LOCK(c);
    if (c->recorder != NULL) {
        error = EBUSY; /* another thread was faster */
        free(r);
    }
    else {
        c->recorder = r;
        fc_record_attach(c);
    }
    FC_UNLOCK(c);
    return error;
}

/* The requests that were noted, of a recorder that may be none. */
static inline uint64_t
fc_record_count(fc_cache *c)
{
    uint64_t count = 0;
    FC_LOCK(c);
    if (c->recorder != NULL) {
        count = c->recorder->written + c->recorder->count;
    }
    FC_UNLOCK(c);
    return count;
}

/* End, if there is a recorder, and close its file: 0, or the errno of a write that has failed. */
static inline int
fc_record_end(fc_cache *c)
{
    fc_recorder *r;
    int error = 0;
    FC_LOCK(c);
    r = c->recorder;
    if (r != NULL) {
        fc_record_swap(c, r->plain);
        c->recorder = NULL;
    }
    FC_UNLOCK(c);
    if (r != NULL) {
        fc_record_flush(r);
        error = r->error;
#if defined(_WIN32)
        _close(r->file);
#else
        if (close(r->file) != 0 && error == 0 && errno != EINTR) {
            error = errno;
        }
#endif
        free(r);
    }
    return error;
}

#endif
