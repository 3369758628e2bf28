/* SPDX-License-Identifier: BSD-2-Clause */
/* Bit arithmetic and the few compiler builtins that lib/ uses; nothing else spells __builtin_*. */
#ifndef TDPI_BASE_BITS_H
#define TDPI_BASE_BITS_H

#include <tdp/base.h>

typedef uint64_t tdpi_gfn_t; /* guest frame number: gpa >> 12 */

#define TDPI_BIT(n) ((uint64_t)1 << (n))
/* Bits hi..lo, both included; hi <= 63. */
#define TDPI_MASK(hi, lo) ((~(uint64_t)0 >> (63 - (hi))) & (~(uint64_t)0 << (lo)))

#define TDPI_ALWAYS_INLINE static inline __attribute__((always_inline))
#define TDPI_COLD __attribute__((cold, noinline))
#define tdpi_likely(x) __builtin_expect(!!(x), 1)
#define tdpi_unlikely(x) __builtin_expect(!!(x), 0)

static inline unsigned tdpi_ctz64(uint64_t v)
{
	unsigned n = 0; /* v != 0 */

	/* The builtin may become a libgcc call (__ctzdi2), which a freestanding core has not. */
	for (unsigned step = 32; step; step /= 2) {
		unsigned shift = v & (TDPI_BIT(step) - 1) ? 0 : step;

		n += shift;
		v >>= shift;
	}
	return n;
}

/* Up to and with the highest bit that is set; 0: none is. */
static inline unsigned tdpi_bits64(uint64_t v)
{
	unsigned n = v != 0;

	for (unsigned step = 32; step; step /= 2) {
		unsigned shift = v >> step ? step : 0;

		n += shift;
		v >>= shift;
	}
	return n;
}

static inline unsigned tdpi_popcount64(uint64_t v)
{
	/* The builtin may become a libgcc call (__popcountdi2), too. Sums of 2, 4, 8 bits; then of all bytes. */
	v -= v >> 1 & UINT64_C(0x5555555555555555);
	v = (v & UINT64_C(0x3333333333333333)) + (v >> 2 & UINT64_C(0x3333333333333333));
	v = (v + (v >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (unsigned)(v * UINT64_C(0x0101010101010101) >> 56);
}

static inline uint64_t tdpi_rotl64(uint64_t v, unsigned n)
{
	return (v << (n & 63)) | (v >> (-n & 63));
}

static inline uint64_t tdpi_min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t tdpi_max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The object that holds a member. */
#define tdpi_container_of(ptr, type, member)                                                       \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
