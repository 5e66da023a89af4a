/* fc_base.h - what every other header needs: widths, branch hints, result codes.
 *
 * The headers here are C11, header-only and static inline, so that they land in one translation
 * unit, inline into each other, and can be tested one by one without an interpreter.  Only
 * fc_python.h knows Python. */
#ifndef FC_BASE_H
#define FC_BASE_H

/* clock_gettime and madvise under -std=c11; a no-op when a system header came first. */
#if !defined(_DEFAULT_SOURCE) && !defined(_GNU_SOURCE)
#define _DEFAULT_SOURCE 1
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* No entry: links and slots are 32-bit indices into one array, half the size of pointers. */
#define FC_NIL UINT32_MAX

enum {
    FC_OK = 0,
    FC_NOMEM = -1 /* an allocation failed; nothing has changed */
};

#if defined(__GNUC__) || defined(__clang__)
#define FC_LIKELY(x) __builtin_expect(!!(x), 1)
#define FC_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define FC_PREFETCH(p) __builtin_prefetch(p)
#define FC_COLD __attribute__((noinline, cold))
#define FC_NOINLINE __attribute__((noinline))
#define FC_NONNULL __attribute__((returns_nonnull))
#define FC_UNUSED __attribute__((unused))
#define FC_INLINE static inline __attribute__((always_inline))
#else
#define FC_LIKELY(x) (x)
#define FC_UNLIKELY(x) (x)
#define FC_PREFETCH(p) ((void)(p))
#define FC_COLD
#define FC_NOINLINE
#define FC_NONNULL
#define FC_UNUSED
#define FC_INLINE static inline
#endif

#endif
