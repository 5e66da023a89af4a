/* fc_msgpack.h - msgpack, written one item at a time, always in its shortest form.
 *
 * What is written here any msgpack reader can read.  What Python tells apart and msgpack does not is
 * an extension ("nested": the payload is one msgpack item):
 *
 *     code  name       payload
 *       -1  timestamp  datetime in timezone.utc, fold 0: the standard timestamp
 *        1  int        beyond 64 bits: two's complement, big endian, no byte more than needed
 *        2  tuple      nested: array
 *        3  set        nested: array, in no order
 *        4  frozenset  nested: array, in no order
 *        5  bytearray  the bytes
 *        6  complex    real, imaginary: two doubles
 *        7  decimal    its text, ASCII
 *        8  uuid       16 bytes; one more, 0 or 0xff, where is_safe is known: safe, unsafe
 *        9  date       year u16, month, day
 *       10  time       hour, minute, second, fold << 7 | microseconds u24; then a zone
 *       11  datetime   a date and a time; then a zone
 *       12  timedelta  days i32, seconds u32, microseconds u32
 *       13  object     nested: array of the registered name and the map of the fields
 *       14  member     nested: array of the registered name and the name of the enum's member
 *
 * A zone is nothing (naive), or one byte and: 0, timezone.utc; 1, i64 microseconds east; 2, the same
 * and a name in UTF-8; 3, the key of a ZoneInfo in UTF-8.  All numbers are big endian.
 *
 * The writer begins in its caller's memory and moves to the heap when that is full; a failed
 * allocation is remembered, drops what follows, and is asked for once, at the end.
 * An empty list is one byte here and 64 in memory.  So what all containers take in memory is estimated,
 * alike by writer and reader, and bounded by what a body takes: what can be written can be read, and
 * a small body never fills the memory of who reads it.
 * Cost: 1 to 3 ns per item.  Not chosen: a length of every extension measured beforehand, which takes
 * a second walk; instead the head is put before the payload once that is there.
 * fc_unpack.h reads all this. */
#ifndef FC_MSGPACK_H
#define FC_MSGPACK_H

#include "fc_alloc.h"

enum {
    FC_EXT_TIMESTAMP = -1,
    FC_EXT_INT = 1,
    FC_EXT_TUPLE,
    FC_EXT_SET,
    FC_EXT_FROZENSET,
    FC_EXT_BYTEARRAY,
    FC_EXT_COMPLEX,
    FC_EXT_DECIMAL,
    FC_EXT_UUID,
    FC_EXT_DATE,
    FC_EXT_TIME,
    FC_EXT_DATETIME,
    FC_EXT_TIMEDELTA,
    FC_EXT_OBJECT,
    FC_EXT_MEMBER
};

/* Bytes of a container in memory, beside the places of its items, as CPython 3.11 has them. */
enum {
    FC_COST_LIST = 64, /* a tuple too */
    FC_COST_DICT = 72,
    FC_COST_SET = 216,
    FC_COST_OBJECT = 64, /* beside the dict of its fields */
    FC_COST_FREE = 16 << 20,
    FC_COST_TIMES = 16
};

/* What the containers of a body may take.  Rows of a few bytes each stay below, however many. */
FC_INLINE uint64_t
fc_cost_max(size_t bytes)
{
    return FC_COST_FREE + FC_COST_TIMES * (uint64_t)bytes;
}

/* ---- big endian ------------------------------------------------------------------------------ */

FC_INLINE void
fc_store_be(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes; i-- > 0; value >>= 8) {
        at[i] = (uint8_t)value;
    }
}

FC_INLINE uint64_t
fc_load_be(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

FC_INLINE uint64_t
fc_bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

FC_INLINE double
fc_double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct fc_pack {
    uint8_t *data;
    size_t size, room;
    uint8_t *lent;   /* the caller's memory; data, until that is full */
    bool failed;     /* an allocation has failed: what was written is of no use */
    fc_alloc *alloc; /* of the memory that follows */
} fc_pack;

static inline void
fc_pack_init(fc_pack *p, uint8_t *lent, size_t room, fc_alloc *alloc)
{
    p->data = p->lent = lent;
    p->size = 0;
    p->room = room;
    p->failed = false;
    p->alloc = alloc;
}

static inline void
fc_pack_free(fc_pack *p)
{
    if (p->data != p->lent) {
        fc_alloc_release(p->alloc, p->data, p->room);
        p->data = p->lent;
    }
}

FC_COLD static bool
fc_pack_grow(fc_pack *p, size_t more)
{
    uint8_t *old = p->data == p->lent ? NULL : p->data, *moved = NULL;
    if (!p->failed && more <= SIZE_MAX / 4 && p->size <= SIZE_MAX / 4) {
        size_t room = 2 * (p->size + more);
        moved = fc_alloc_resize(p->alloc, old, old == NULL ? 0 : p->room, room);
        if (moved != NULL) {
            if (old == NULL && p->size > 0) {
                memcpy(moved, p->lent, p->size);
            }
            p->data = moved;
            p->room = room;
        }
    }
    p->failed = moved == NULL;
    return moved != NULL;
}

/* Take the next bytes, for the caller to fill; NULL when there is no memory. */
FC_INLINE uint8_t *
fc_pack_take(fc_pack *p, size_t bytes)
{
    uint8_t *at;
    if (FC_UNLIKELY(bytes > p->room - p->size || p->failed) && !fc_pack_grow(p, bytes)) {
        return NULL;
    }
    at = p->data + p->size;
    p->size += bytes;
    return at;
}

FC_INLINE void
fc_pack_raw(fc_pack *p, const void *data, size_t bytes)
{
    uint8_t *at = fc_pack_take(p, bytes);
    if (at != NULL && bytes > 0) {
        memcpy(at, data, bytes);
    }
}

/* One byte, and a number of that many bytes. */
FC_INLINE void
fc_pack_number(fc_pack *p, uint8_t head, uint64_t value, int bytes)
{
    uint8_t *at = fc_pack_take(p, 1 + (size_t)bytes);
    if (at != NULL) {
        at[0] = head;
        fc_store_be(at + 1, value, bytes);
    }
}

FC_INLINE void
fc_pack_nil(fc_pack *p)
{
    fc_pack_number(p, 0xc0, 0, 0);
}

FC_INLINE void
fc_pack_bool(fc_pack *p, bool value)
{
    fc_pack_number(p, value ? 0xc3 : 0xc2, 0, 0);
}

FC_INLINE void
fc_pack_double(fc_pack *p, double value)
{
    fc_pack_number(p, 0xcb, fc_bits_of(value), 8);
}

static inline void
fc_pack_uint(fc_pack *p, uint64_t value)
{
    if (value < 0x80) {
        fc_pack_number(p, (uint8_t)value, 0, 0);
    }
    else if (value <= UINT8_MAX) {
        fc_pack_number(p, 0xcc, value, 1);
    }
    else if (value <= UINT16_MAX) {
        fc_pack_number(p, 0xcd, value, 2);
    }
    else if (value <= UINT32_MAX) {
        fc_pack_number(p, 0xce, value, 4);
    }
    else {
        fc_pack_number(p, 0xcf, value, 8);
    }
}

static inline void
fc_pack_int(fc_pack *p, int64_t value)
{
    if (value >= 0) {
        fc_pack_uint(p, (uint64_t)value);
    }
    else if (value >= -32) {
        fc_pack_number(p, (uint8_t)value, 0, 0);
    }
    else if (value >= INT8_MIN) {
        fc_pack_number(p, 0xd0, (uint64_t)value, 1);
    }
    else if (value >= INT16_MIN) {
        fc_pack_number(p, 0xd1, (uint64_t)value, 2);
    }
    else if (value >= INT32_MIN) {
        fc_pack_number(p, 0xd2, (uint64_t)value, 4);
    }
    else {
        fc_pack_number(p, 0xd3, (uint64_t)value, 8);
    }
}

/* Heads of what has a length, which the caller has found to fit into 32 bits; the bytes follow. */
FC_INLINE void
fc_pack_str_head(fc_pack *p, size_t bytes)
{
    if (bytes < 32) {
        fc_pack_number(p, (uint8_t)(0xa0 | bytes), 0, 0);
    }
    else if (bytes <= UINT8_MAX) {
        fc_pack_number(p, 0xd9, bytes, 1);
    }
    else if (bytes <= UINT16_MAX) {
        fc_pack_number(p, 0xda, bytes, 2);
    }
    else {
        fc_pack_number(p, 0xdb, bytes, 4);
    }
}

static inline void
fc_pack_bin_head(fc_pack *p, size_t bytes)
{
    int width = bytes <= UINT8_MAX ? 1 : bytes <= UINT16_MAX ? 2 : 4;
    fc_pack_number(p, (uint8_t)(0xc4 + width / 2), bytes, width);
}

static inline void
fc_pack_array_head(fc_pack *p, size_t items)
{
    if (items < 16) {
        fc_pack_number(p, (uint8_t)(0x90 | items), 0, 0);
    }
    else {
        bool small = items <= UINT16_MAX;
        fc_pack_number(p, small ? 0xdc : 0xdd, items, small ? 2 : 4);
    }
}

static inline void
fc_pack_map_head(fc_pack *p, size_t pairs)
{
    if (pairs < 16) {
        fc_pack_number(p, (uint8_t)(0x80 | pairs), 0, 0);
    }
    else {
        bool small = pairs <= UINT16_MAX;
        fc_pack_number(p, small ? 0xde : 0xdf, pairs, small ? 2 : 4);
    }
}

/* Write the head of an extension at `at`: its length; with NULL only tell the length. */
static inline size_t
fc_ext_head(uint8_t *at, size_t bytes, int8_t code)
{
    bool fixed = bytes > 0 && bytes <= 16 && (bytes & (bytes - 1)) == 0;
    int width = fixed ? 0 : bytes <= UINT8_MAX ? 1 : bytes <= UINT16_MAX ? 2 : 4;
    if (at != NULL) {
        at[0] = (uint8_t)(0xc7 + width / 2);
        if (fixed) {
            at[0] = (uint8_t)(0xd4 + (bytes > 1) + (bytes > 2) + (bytes > 4) + (bytes > 8));
        }
        fc_store_be(at + 1, bytes, width);
        at[1 + width] = (uint8_t)code;
    }
    return 2 + (size_t)width;
}

/* An extension whose payload the caller fills in; NULL when there is no memory. */
FC_INLINE uint8_t *
fc_pack_ext(fc_pack *p, size_t bytes, int8_t code)
{
    size_t head = fc_ext_head(NULL, bytes, code);
    uint8_t *at = fc_pack_take(p, head + bytes);
    if (at != NULL) {
        fc_ext_head(at, bytes, code);
        at += head;
    }
    return at;
}

enum { FC_EXT_GUESS = 3 }; /* the length of most heads */

/* Begin an extension whose length is not known yet; what this returns ends it. */
FC_INLINE size_t
fc_pack_open(fc_pack *p)
{
    fc_pack_take(p, FC_EXT_GUESS);
    return p->size;
}

/* Put the head before what was written since; false when it is longer than an extension can be. */
static inline bool
fc_pack_close(fc_pack *p, size_t start, int8_t code)
{
    size_t bytes = p->size - start, head = fc_ext_head(NULL, bytes, code);
    if (p->failed) {
        return true; /* which the end will tell */
    }
    if (bytes > UINT32_MAX) {
        return false;
    }
    if (head > FC_EXT_GUESS) {
        fc_pack_take(p, head - FC_EXT_GUESS);
    }
    if (!p->failed) {
        uint8_t *first = p->data + start - FC_EXT_GUESS;
        if (head != FC_EXT_GUESS) {
            memmove(first + head, first + FC_EXT_GUESS, bytes);
        }
        fc_ext_head(first, bytes, code);
        p->size = start - FC_EXT_GUESS + head + bytes;
    }
    return true;
}

#endif
