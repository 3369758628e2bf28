/* SPDX-License-Identifier: BSD-2-Clause */
/* Many entries at once. Not compiled into each loop: compilers make slower code of masks that they know. */
#include "base/entry.h"

/* The bits that eight entries in a row all have. One step: under the lock it stays true. */
TDPI_ALWAYS_INLINE uint64_t all_of_eight(const tdpi_entry_t *e)
{
	uint64_t all = ~(uint64_t)0;

	TDPI_POINT(READ, e, 8 * sizeof(*e));
#define X(i) all &= tdpi_entry_load_quiet(&e[i]);
	TDPI_EIGHT(X)
#undef X
	return all;
}

/* Looks at all before it changes the first: no load waits for an atomic update to end. */
unsigned tdpi_entries_clear(struct tdpi_locked l, tdpi_entry_t *e, unsigned n, uint64_t have,
			    uint64_t settled, uint64_t bits)
{
	uint64_t seen = all_of_eight(e) & (have | settled), word;
	tdpi_entry_t *const first = e, *end = e + 8;

	if ((seen & have) != have)
		return 0;
	while (first + n - end >= 8 && (all_of_eight(end) & (have | settled)) == seen)
		end += 8;
	if ((seen & settled) == settled) {
		for (; e < end; e += 8) {
#define X(i)                                                                                       \
	word = tdpi_entry_load(&e[i]);                                                             \
	tdpi_entry_overwrite(l, &e[i], word & ~bits);
			TDPI_EIGHT(X)
#undef X
		}
	} else {
		for (; e < end; e++)
			(void)tdpi_entry_clear(l, e, bits);
	}
	return (unsigned)(end - first);
}

/* Mostly all of eight have them, or none. */
uint64_t tdpi_entries_with(const tdpi_entry_t *e, unsigned n, uint64_t bits)
{
	uint64_t with = 0;

	for (unsigned i = 0; i < n; i += 8, e += 8) {
		uint64_t word, all = ~(uint64_t)0, any = 0, byte = 0;

#define X(k) word = tdpi_entry_load_quiet(&e[k]), all &= word, any |= word;
		TDPI_EIGHT(X)
#undef X
		if ((all & bits) == bits)
			byte = 0xff;
		else if ((any & bits) == bits)
			for (unsigned k = 0; k < 8; k++)
				byte |= (uint64_t)((~tdpi_entry_load_quiet(&e[k]) & bits) == 0)
					<< k;
		with |= byte << i;
	}
	return with;
}
