/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The only accesses to entries of live tables. An entry changes through one of the three setters below, or loses A,
 * D or W by entry_clear(), many of them by entries_clear(); and only while its table is locked, which the token proves.
 */
#ifndef TDPI_BASE_ENTRY_H
#define TDPI_BASE_ENTRY_H

#include "base/atomic.h"
#include "base/bits.h"

#include <tdp/env.h>

struct tdpi_table;

/* One 64-bit word of a table; a struct so that nobody reads or writes it by accident. */
typedef struct {
	uint64_t word;
} tdpi_entry_t;

/* Proof that a table's lock is held and the table is not cut off. Only mm/table.h makes one. */
struct tdpi_locked {
	struct tdpi_table *t;
};

/* A leaf, or a word that is only judged. Orders nothing. */
static inline uint64_t tdpi_entry_load(const tdpi_entry_t *ref)
{
	return tdpi_load_relaxed(&ref->word);
}

/* A1: pairs with tdpi_entry_publish(); what the word points to is complete. */
static inline uint64_t tdpi_entry_load_table(const tdpi_entry_t *ref)
{
	return tdpi_load_acquire(&ref->word);
}

/* One of many in a row, which are one step together: what reads them is content with each as it is. */
static inline uint64_t tdpi_entry_load_quiet(const tdpi_entry_t *ref)
{
	return tdpi_load_quiet(&ref->word);
}

/*
 * Eight in a row, for loops that have nothing to do for most of them. Written out: compilers do not unroll loops over
 * atomic accesses.
 */
#define TDPI_EIGHT(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

TDPI_ALWAYS_INLINE uint64_t tdpi_entries_or8(const tdpi_entry_t *e)
{
	uint64_t any = 0;

#define X(i) any |= tdpi_entry_load_quiet(&e[i]);
	TDPI_EIGHT(X)
#undef X
	return any;
}

/*
 * The first of entries [i, end) with any of the bits set; `end`: none. It tells where looking is worth while, and has
 * no other meaning: what it passes over may change at once. So all of it is one step.
 */
static inline unsigned tdpi_entries_find(const tdpi_entry_t *entries, unsigned i, unsigned end,
					 uint64_t bits)
{
	TDPI_POINT(READ, &entries[i], (end - i) * sizeof(*entries));
	for (; i < end; i++) {
		if (tdpi_entry_load_quiet(&entries[i]) & bits)
			break;
		while (end - i > 8 && !(tdpi_entries_or8(&entries[i + 1]) & bits))
			i += 8;
	}
	return i;
}

/*
 * The same for the first look at a table, in most of which there may be nothing to find: by the host's vectors. Not in
 * loops that do something to what they find, whose registers a call would cost.
 */
static inline unsigned tdpi_entries_scan(const struct tdp_env *env, const tdpi_entry_t *entries,
					 unsigned i, unsigned end, uint64_t bits)
{
	if (!env->scan || end - i < 32)
		return tdpi_entries_find(entries, i, end, bits);
	TDPI_POINT(READ, &entries[i], (end - i) * sizeof(*entries));
	if (tdpi_entry_load_quiet(&entries[i]) & bits)
		return i;
	return env->scan(env->priv, &entries->word, i, end, bits);
}

/* The old entry is not present (the MMU ignores it), the new one is complete. */
static inline void tdpi_entry_publish(struct tdpi_locked l, tdpi_entry_t *ref, uint64_t e)
{
	(void)l;
	tdpi_store_release(&ref->word, e); /* A1: publish */
}

/* The old entry is present and live; what the MMU set until now comes back in the old value. */
static inline uint64_t tdpi_entry_exchange(struct tdpi_locked l, tdpi_entry_t *ref, uint64_t e)
{
	(void)l;
	return tdpi_xchg_acq_rel(&ref->word, e);
}

/*
 * Replace *old by e; false and *old refreshed when the MMU set a bit meanwhile (nobody else can: the
 * table is locked).
 */
static inline bool tdpi_entry_update(struct tdpi_locked l, tdpi_entry_t *ref, uint64_t *old,
				     uint64_t e)
{
	(void)l;
	return tdpi_cas_acq_rel(&ref->word, old, e);
}

/*
 * A6: the old entry is live but has no bit left that the MMU could set (fmt_volatile() is 0), so no
 * update of the MMU can fall between load and store. Never without the table's lock: it could bring
 * back an entry that was zapped in between.
 */
static inline void tdpi_entry_overwrite(struct tdpi_locked l, tdpi_entry_t *ref, uint64_t e)
{
	(void)l;
	tdpi_store_relaxed(&ref->word, e);
}

/* Clear bits (A, D or W) of a present leaf; what the MMU sets meanwhile stays. */
static inline uint64_t tdpi_entry_clear(struct tdpi_locked l, tdpi_entry_t *ref, uint64_t bits)
{
	(void)l;
	return tdpi_and_relaxed(&ref->word, ~bits);
}

/*
 * The first of n (at least 8) entries lose `bits`, as far as they all have `have`: how many, by eights that are alike.
 * What they were goes unseen: by `have` the caller knows of it all that he wants to. Where they also have `settled` the
 * MMU has no bit left to set, and while the table is locked it gets none back: a plain store does for each. Else it is
 * an atomic update (A6).
 */
unsigned tdpi_entries_clear(struct tdpi_locked l, tdpi_entry_t *e, unsigned n, uint64_t have,
			    uint64_t settled, uint64_t bits);

/* Which of n entries (a multiple of 8, at most 64) have all of `bits`? Bit by bit, each as it is. */
uint64_t tdpi_entries_with(const tdpi_entry_t *e, unsigned n, uint64_t bits);

/*
 * Set bits, as an MMU does on its way: legal without the lock, and only if the entry still is what *old says; false:
 * it is not, *old says what it is.
 */
static inline bool tdpi_entry_touch(tdpi_entry_t *ref, uint64_t *old, uint64_t bits)
{
	return tdpi_cas_acq_rel(&ref->word, old, *old | bits);
}

/*
 * Nobody can reach this table: it is being filled. So a plain store does, and compilers may make vectors of a loop:
 * what comes after is ordered by the publication (A1), what came before by a grace period (A2).
 */
static inline void tdpi_entry_init(tdpi_entry_t *ref, uint64_t e)
{
	ref->word = e;
}

#endif
