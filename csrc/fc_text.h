/* fc_text.h - str to UTF-8 and back, with nothing kept beside the object.
 *
 * CPython's own way to UTF-8 keeps a copy in the str for its whole life, which would double what a
 * memory cache holds; here the bytes go to where they are wanted.  A lone surrogate has three bytes
 * as any other code point of its size ("surrogatepass").  ASCII, known from a flag, is one memcpy.
 *
 * The keys of stored dicts are few and come again: up to 512 of at most 32 ASCII characters are
 * kept, each in the one place its bytes choose, which saves making and hashing them (30 of 45 ns).
 * Without a GIL there is no such table. */
#ifndef FC_TEXT_H
#define FC_TEXT_H

#include "fc_python.h"

enum { FC_KEYS_KEPT = 512, FC_KEY_LONGEST = 32 };

FC_INLINE size_t
fc_text_width(Py_UCS4 c)
{
    return 1 + (size_t)(c > 0x7f) + (size_t)(c > 0x7ff) + (size_t)(c > 0xffff);
}

/* The bytes of an exact str in UTF-8. */
static inline size_t
fc_text_bytes(PyObject *text)
{
    Py_ssize_t count = PyUnicode_GET_LENGTH(text);
    size_t bytes = 0;
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        return (size_t)count;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        bytes += fc_text_width(PyUnicode_READ(PyUnicode_KIND(text), PyUnicode_DATA(text), i));
    }
    return bytes;
}

/* Write them. */
static inline void
fc_text_write(PyObject *text, uint8_t *at)
{
    Py_ssize_t count = PyUnicode_GET_LENGTH(text);
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        memcpy(at, PyUnicode_DATA(text), (size_t)count);
        return;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_UCS4 c = PyUnicode_READ(PyUnicode_KIND(text), PyUnicode_DATA(text), i);
        size_t width = fc_text_width(c);
        for (size_t rest = width; rest-- > 1; c >>= 6) {
            at[rest] = (uint8_t)(0x80 | (c & 0x3f));
        }
        /* The first byte says how many there are by that many leading ones. */
        at[0] = (uint8_t)(width == 1 ? c : (0xf00u >> width) | c);
        at += width;
    }
}

FC_INLINE bool
fc_is_ascii(const uint8_t *data, size_t bytes)
{
    uint64_t all = 0, word;
    for (; bytes >= sizeof word; bytes -= sizeof word, data += sizeof word) {
        memcpy(&word, data, sizeof word);
        all |= word;
    }
    for (; bytes > 0; bytes--) {
        all |= *data++;
    }
    return (all & UINT64_C(0x8080808080808080)) == 0;
}

/* The str of these bytes, or NULL with an exception. */
static inline PyObject *
fc_text_read(const uint8_t *data, size_t bytes)
{
    PyObject *text;
    if (bytes < 2 || !fc_is_ascii(data, bytes)) { /* those of one byte exist already */
        return PyUnicode_DecodeUTF8((const char *)data, (Py_ssize_t)bytes, "surrogatepass");
    }
    text = PyUnicode_New((Py_ssize_t)bytes, 0x7f);
    if (text != NULL) {
        memcpy(PyUnicode_DATA(text), data, bytes);
    }
    return text;
}

#ifdef Py_GIL_DISABLED
#define fc_text_read_key fc_text_read
#else
static PyObject *fc_keys_kept[FC_KEYS_KEPT]; /* owned */

/* The same for the key of a dict. */
static inline PyObject *
fc_text_read_key(const uint8_t *data, size_t bytes)
{
    uint64_t sum = bytes, word = 0;
    PyObject *kept, **place;
    if (bytes < 2 || bytes > FC_KEY_LONGEST) {
        return fc_text_read(data, bytes);
    }
    for (size_t i = 0; i < bytes; i += sizeof word) {
        if (bytes - i >= sizeof word) {
            memcpy(&word, data + i, sizeof word);
        }
        else {
            word = 0;
            for (size_t j = i; j < bytes; j++) {
                word = word << 8 | data[j];
            }
        }
        sum = (sum ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        sum ^= sum >> 29;
    }
    place = &fc_keys_kept[(sum * UINT64_C(0x9E3779B97F4A7C15)) >> 55];
    kept = *place;
    if (kept != NULL && (size_t)PyUnicode_GET_LENGTH(kept) == bytes &&
        memcmp(PyUnicode_DATA(kept), data, bytes) == 0) {
        Py_INCREF(kept);
        return kept;
    }
    kept = fc_text_read(data, bytes);
    if (kept != NULL && PyUnicode_IS_COMPACT_ASCII(kept)) {
        PyObject *old = *place;
        Py_INCREF(kept);
        *place = kept;
        Py_XDECREF(old);
    }
    return kept;
}
#endif

#endif
