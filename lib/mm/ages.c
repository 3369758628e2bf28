/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Idle ages. Nothing but bytes of the caller, so all loops are over 64 of them, the pages of one word of a bitmap, and
 * have no branch inside: compilers make vectors of that. What is compared with a byte is an array of it: with one byte
 * for all, clang 14 makes every page an int first.
 */
#include "mm/ages.h"

#include "base/bits.h"
#include "base/mem.h"

#define WORD 64u
/*
 * So many stay in the nearest cache from when they change until the last bucket has counted them; and less than 256,
 * as what counts them are bytes.
 */
#define PART_WORDS 64u

bool tdpi_ages_buckets_ok(const struct tdp_idle_bucket *buckets, uint64_t count)
{
	if (!buckets != !count)
		return false;
	/* Ends at the 257th at the latest. */
	for (uint64_t i = 0; i < count; i++)
		if (buckets[i].age > TDP_IDLE_NEVER || buckets[i].reserved ||
		    (i > 0 && buckets[i].age <= buckets[i - 1].age))
			return false;
	return true;
}

/* One byte for each bit, by halves: eight bits, four, two, one. */
TDPI_ALWAYS_INLINE void spread(uint64_t word, uint8_t *restrict bit)
{
	uint8_t by8[WORD / 8], by4[WORD / 4], by2[WORD / 2];

	for (unsigned i = 0; i < WORD / 8; i++)
		by8[i] = (uint8_t)(word >> 8 * i);
	for (unsigned i = 0; i < WORD / 8; i++) {
		by4[2 * i] = by8[i] & 15;
		by4[2 * i + 1] = by8[i] >> 4;
	}
	for (unsigned i = 0; i < WORD / 4; i++) {
		by2[2 * i] = by4[i] & 3;
		by2[2 * i + 1] = by4[i] >> 2;
	}
	for (unsigned i = 0; i < WORD / 2; i++) {
		bit[2 * i] = by2[i] & 1;
		bit[2 * i + 1] = by2[i] >> 1;
	}
}

/* TDP_IDLE_MOST and TDP_IDLE_NEVER stay what they are. */
TDPI_ALWAYS_INLINE void older(uint8_t *ages, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ages[i] = (uint8_t)(ages[i] + (ages[i] < TDP_IDLE_MOST));
}

/* Most words of a guest are all idle, or all in use. */
TDPI_ALWAYS_INLINE void take_word(uint8_t *restrict ages, uint64_t *restrict young, unsigned n)
{
	uint8_t bit[WORD];

	if (*young == ~(uint64_t)0) {
		memset(ages, 0, n);
	} else {
		older(ages, n);
		if (!*young)
			return;
		spread(*young, bit);
		for (unsigned i = 0; i < n; i++)
			ages[i] = (uint8_t)(ages[i] & (bit[i] - 1));
	}
	*young = 0;
}

TDPI_ALWAYS_INLINE void count_word(const uint8_t *ages, const uint8_t *age, uint8_t *pages,
				   unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pages[i] = (uint8_t)(pages[i] + (ages[i] >= age[i]));
}

/* How many of a part's are that old. First by place in the word: each of these sums stays small. */
static uint64_t count_from(const uint8_t *ages, unsigned n, uint32_t from)
{
	uint8_t age[WORD], at[WORD] = {0};
	uint64_t pages = 0;

	memset(age, (int)from, sizeof(age));
	for (; n >= WORD; n -= WORD, ages += WORD)
		count_word(ages, age, at, WORD);
	count_word(ages, age, at, n);
	for (unsigned i = 0; i < WORD; i++)
		pages += at[i];
	return pages;
}

static void take_part(uint8_t *ages, uint64_t *bits, unsigned n, struct tdp_idle_bucket *buckets,
		      uint64_t count)
{
	uint64_t older_ones = 0;

	for (unsigned i = 0; i + WORD <= n; i += WORD)
		take_word(ages + i, &bits[i / WORD], WORD);
	if (n % WORD)
		take_word(ages + n - n % WORD, &bits[n / WORD], n % WORD);
	for (uint64_t i = count; i-- > 0;) {
		uint64_t pages = count_from(ages, n, buckets[i].age);

		buckets[i].pages += pages - older_ones;
		older_ones = pages;
	}
}

void tdpi_ages_take(uint8_t *ages, uint64_t *bits, uint64_t pages, struct tdp_idle_bucket *buckets,
		    uint64_t count)
{
	while (pages > 0) {
		unsigned n = (unsigned)tdpi_min64(pages, PART_WORDS * WORD);

		take_part(ages, bits, n, buckets, count);
		ages += n;
		bits += n / WORD;
		pages -= n;
	}
}
