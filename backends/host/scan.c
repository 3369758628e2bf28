/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking for bits in a row of entries with the widest vectors that this processor has. Each lane is a word that is
 * read whole, as the MMU's and the library's own updates are of whole words: x86 tears no aligned lane of 8 bytes.
 */
#include "host.h"

#if defined(__x86_64__) && !HOST_TSAN /* which would watch vectors as plain memory */

#include <immintrin.h>

/* Steps of 32 words as long as nothing is found: where the row has to be looked at word by word. */
__attribute__((target("avx512f"))) static unsigned pass_512(const uint64_t *words, unsigned i,
							    unsigned end, uint64_t bits)
{
	const __m512i want = _mm512_set1_epi64((long long)bits);

	for (; end - i >= 32; i += 32) {
		const uint64_t *w = words + i;
		__m512i any = _mm512_or_si512(
			_mm512_or_si512(_mm512_loadu_si512(w), _mm512_loadu_si512(w + 8)),
			_mm512_or_si512(_mm512_loadu_si512(w + 16), _mm512_loadu_si512(w + 24)));

		if (_mm512_test_epi64_mask(any, want))
			break;
	}
	return i;
}

#define LOAD_256(at) _mm256_loadu_si256((const __m256i *)(const void *)(at))

__attribute__((target("avx2"))) static unsigned pass_256(const uint64_t *words, unsigned i,
							 unsigned end, uint64_t bits)
{
	const __m256i want = _mm256_set1_epi64x((long long)bits);

	for (; end - i >= 16; i += 16) {
		const uint64_t *w = words + i;
		__m256i any = _mm256_or_si256(_mm256_or_si256(LOAD_256(w), LOAD_256(w + 4)),
					      _mm256_or_si256(LOAD_256(w + 8), LOAD_256(w + 12)));

		if (!_mm256_testz_si256(any, want))
			break;
	}
	return i;
}

static unsigned pass(const uint64_t *words, unsigned i, unsigned end, uint64_t bits)
{
	if (__builtin_cpu_supports("avx512f"))
		return pass_512(words, i, end, bits);
	if (__builtin_cpu_supports("avx2"))
		return pass_256(words, i, end, bits);
	return i;
}

#else

static unsigned pass(const uint64_t *words, unsigned i, unsigned end, uint64_t bits)
{
	(void)words;
	(void)end;
	(void)bits;
	return i;
}

#endif

unsigned tdpi_host_scan(void *priv, const uint64_t *words, unsigned from, unsigned end,
			uint64_t bits)
{
	unsigned i = pass(words, from, end, bits);

	(void)priv;
	while (i < end && !(__atomic_load_n(&words[i], __ATOMIC_RELAXED) & bits))
		i++;
	return i;
}
