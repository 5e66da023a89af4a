/* fc_unpack.h - msgpack, read one item at a time, by a reader that trusts no byte.
 *
 * Nothing but the shortest form is taken, so bytes that are accepted are bytes that fc_msgpack.h
 * writes.  A length above the bytes that are left is refused before anything is made of it.  An item
 * takes one byte or more; so a count above the bytes that are left, less those that are owed to the
 * items of open containers, is refused too, and all containers together, however they are nested,
 * never ask for more places than there are bytes.
 * Cost: 1 to 3 ns per item; no recursion, no allocation.  Not chosen: a library for msgpack, which
 * would make the same tests of lengths out of our sight. */
#ifndef FC_UNPACK_H
#define FC_UNPACK_H

#include "fc_msgpack.h"

typedef enum fc_kind {
    FC_BAD, /* the reader says what is wrong */
    FC_NULL,
    FC_FALSE,
    FC_TRUE,
    FC_INT,  /* signed */
    FC_UINT, /* number: above INT64_MAX */
    FC_REAL,
    FC_STR,
    FC_BIN,
    FC_ARRAY,
    FC_MAP,
    FC_EXT
} fc_kind;

typedef struct fc_read {
    fc_kind kind;
    int8_t code;         /* of an extension */
    uint32_t count;      /* bytes of STR, BIN, EXT; items of ARRAY; pairs of MAP */
    uint64_t number;     /* of INT, two's complement, and UINT; the bits of REAL */
    const uint8_t *data; /* `count` bytes, in the reader's */
} fc_read;

typedef struct fc_unpack {
    const uint8_t *start, *at, *end; /* end: of the extension that is being read */
    const uint8_t *stop;             /* of all */
    size_t owed;                     /* items that open containers still promise */
    uint64_t left;                   /* of what containers may still take in memory */
    const char *wrong;
    bool foreign; /* the caller's: code that is not ours may run from here on */
} fc_unpack;

static inline void
fc_unpack_init(fc_unpack *r, const uint8_t *data, size_t bytes)
{
    r->start = r->at = data;
    r->end = r->stop = data + bytes;
    r->owed = 1;
    r->left = fc_cost_max(bytes);
    r->wrong = NULL;
    r->foreign = false;
}

FC_COLD static fc_kind
fc_unpack_fail(fc_unpack *r, const char *wrong)
{
    r->wrong = wrong;
    return FC_BAD;
}

/* Read a number of 1, 2, 4 or 8 bytes that is at least `least`, or a shorter form had done. */
FC_INLINE bool
fc_unpack_number(fc_unpack *r, int bytes, uint64_t least, uint64_t *value)
{
    if (r->end - r->at < bytes) {
        fc_unpack_fail(r, "it ends within a number");
        return false;
    }
    *value = fc_load_be(r->at, bytes);
    r->at += bytes;
    if (*value < least) {
        fc_unpack_fail(r, "a number is not in its shortest form");
        return false;
    }
    return true;
}

FC_INLINE fc_kind
fc_unpack_unsigned(fc_unpack *r, fc_read *t, int bytes, uint64_t least)
{
    if (!fc_unpack_number(r, bytes, least, &t->number)) {
        return FC_BAD;
    }
    return t->number > INT64_MAX ? FC_UINT : FC_INT;
}

/* A negative number below `below`; positive ones are written unsigned. */
FC_INLINE fc_kind
fc_unpack_signed(fc_unpack *r, fc_read *t, int bytes, int64_t below)
{
    uint64_t value;
    int spare = 64 - 8 * bytes;
    if (!fc_unpack_number(r, bytes, 0, &value)) {
        return FC_BAD;
    }
    if (value >> (8 * bytes - 1) == 0) {
        return fc_unpack_fail(r, "a number is not in its shortest form");
    }
    t->number = spare == 0 ? value : value | UINT64_MAX << (8 * bytes);
    if (t->number >= (uint64_t)below) {
        return fc_unpack_fail(r, "a number is not in its shortest form");
    }
    return FC_INT;
}

FC_INLINE fc_kind
fc_unpack_data(fc_unpack *r, fc_read *t, fc_kind kind, uint64_t bytes)
{
    if (bytes > (uint64_t)(r->end - r->at)) {
        return fc_unpack_fail(r, "a length goes beyond its end");
    }
    t->count = (uint32_t)bytes;
    t->data = r->at;
    r->at += bytes;
    return kind;
}

FC_INLINE fc_kind
fc_unpack_sized(fc_unpack *r, fc_read *t, fc_kind kind, int bytes, uint64_t least)
{
    uint64_t length;
    return fc_unpack_number(r, bytes, least, &length) ? fc_unpack_data(r, t, kind, length) : FC_BAD;
}

FC_INLINE fc_kind
fc_unpack_items(fc_unpack *r, fc_read *t, fc_kind kind, uint64_t count)
{
    uint64_t items = kind == FC_MAP ? 2 * count : count, left = (uint64_t)(r->stop - r->at);
    if (left < r->owed || items > left - r->owed) {
        return fc_unpack_fail(r, "a count goes beyond its end");
    }
    r->owed += items;
    t->count = (uint32_t)count;
    return kind;
}

FC_INLINE fc_kind
fc_unpack_counted(fc_unpack *r, fc_read *t, fc_kind kind, int bytes, uint64_t least)
{
    uint64_t count;
    return fc_unpack_number(r, bytes, least, &count) ? fc_unpack_items(r, t, kind, count) : FC_BAD;
}

/* An extension whose head has `width` bytes of length, or none and a fixed length. */
static inline fc_kind
fc_unpack_ext(fc_unpack *r, fc_read *t, int width, uint64_t length)
{
    uint64_t code;
    if (width > 0 && !fc_unpack_number(r, width, 0, &length)) {
        return FC_BAD;
    }
    if (fc_ext_head(NULL, length, 0) != 2 + (size_t)width) {
        return fc_unpack_fail(r, "a length is not in its shortest form");
    }
    if (!fc_unpack_number(r, 1, 0, &code)) {
        return FC_BAD;
    }
    t->code = (int8_t)code;
    return fc_unpack_data(r, t, FC_EXT, length);
}

/* Read the next item; of a container only its head, of an extension all. */
static inline fc_kind
fc_unpack_kind(fc_unpack *r, fc_read *t)
{
    uint8_t head;
    if (r->at >= r->end) {
        return fc_unpack_fail(r, "it ends before its last item");
    }
    r->owed -= r->owed > 0;
    head = *r->at++;
    if (head < 0x80 || head >= 0xe0) {
        t->number = (uint64_t)(int64_t)(int8_t)head;
        return FC_INT;
    }
    if (head >= 0xa0 && head < 0xc0) {
        return fc_unpack_data(r, t, FC_STR, head & 0x1f);
    }
    if (head < 0xa0) {
        return fc_unpack_items(r, t, head < 0x90 ? FC_MAP : FC_ARRAY, head & 0x0f);
    }
    switch (head) {
    case 0xc0:
        return FC_NULL;
    case 0xc2:
        return FC_FALSE;
    case 0xc3:
        return FC_TRUE;
    case 0xc4:
        return fc_unpack_sized(r, t, FC_BIN, 1, 0);
    case 0xc5:
        return fc_unpack_sized(r, t, FC_BIN, 2, UINT8_MAX + 1);
    case 0xc6:
        return fc_unpack_sized(r, t, FC_BIN, 4, UINT16_MAX + 1);
    case 0xc7:
    case 0xc8:
        return fc_unpack_ext(r, t, head - 0xc6, 0);
    case 0xc9:
        return fc_unpack_ext(r, t, 4, 0);
    case 0xcb:
        return fc_unpack_number(r, 8, 0, &t->number) ? FC_REAL : FC_BAD;
    case 0xcc:
        return fc_unpack_unsigned(r, t, 1, 0x80);
    case 0xcd:
        return fc_unpack_unsigned(r, t, 2, UINT8_MAX + 1);
    case 0xce:
        return fc_unpack_unsigned(r, t, 4, UINT16_MAX + 1);
    case 0xcf:
        return fc_unpack_unsigned(r, t, 8, (uint64_t)UINT32_MAX + 1);
    case 0xd0:
        return fc_unpack_signed(r, t, 1, -32);
    case 0xd1:
        return fc_unpack_signed(r, t, 2, INT8_MIN);
    case 0xd2:
        return fc_unpack_signed(r, t, 4, INT16_MIN);
    case 0xd3:
        return fc_unpack_signed(r, t, 8, INT32_MIN);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return fc_unpack_ext(r, t, 0, UINT64_C(1) << (head - 0xd4));
    case 0xd9:
        return fc_unpack_sized(r, t, FC_STR, 1, 32);
    case 0xda:
        return fc_unpack_sized(r, t, FC_STR, 2, UINT8_MAX + 1);
    case 0xdb:
        return fc_unpack_sized(r, t, FC_STR, 4, UINT16_MAX + 1);
    case 0xdc:
        return fc_unpack_counted(r, t, FC_ARRAY, 2, 16);
    case 0xdd:
        return fc_unpack_counted(r, t, FC_ARRAY, 4, UINT16_MAX + 1);
    case 0xde:
        return fc_unpack_counted(r, t, FC_MAP, 2, 16);
    case 0xdf:
        return fc_unpack_counted(r, t, FC_MAP, 4, UINT16_MAX + 1);
    default: /* never used (0xc1), or float 32 */
        return fc_unpack_fail(r, "there is an item of a kind that is never written");
    }
}

FC_INLINE fc_kind
fc_unpack_next(fc_unpack *r, fc_read *t)
{
    *t = (fc_read){0}; /* what a kind does not set, a compiler cannot tell from what it must */
    t->kind = fc_unpack_kind(r, t);
    return t->kind;
}

/* Take note of a container before it is made; false when all of them are too large for the body. */
FC_INLINE bool
fc_unpack_pay(fc_unpack *r, uint64_t cost)
{
    if (FC_UNLIKELY(cost > r->left)) {
        fc_unpack_fail(r, "its containers take too much memory for its length");
        return false;
    }
    r->left -= cost;
    return true;
}

/* Read the payload of the extension read last as one item; fc_unpack_leave gets its return value. */
FC_INLINE const uint8_t *
fc_unpack_enter(fc_unpack *r, const fc_read *t)
{
    const uint8_t *end = r->end;
    r->at = t->data;
    r->end = t->data + t->count;
    r->owed += 1;
    return end;
}

FC_INLINE bool
fc_unpack_leave(fc_unpack *r, const uint8_t *end)
{
    if (r->at != r->end) {
        fc_unpack_fail(r, "an extension is longer than its item");
        return false;
    }
    r->end = end;
    return true;
}

#endif
