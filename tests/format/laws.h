/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of lib/fmt/contract.h, for every level, attribute and A/D mode of one format. A .c file
 * includes a format header, says what it knows of the format from the manuals (struct traits,
 * mmu_*), then includes this. Operations on words are compared with the same operations on struct
 * tdpi_attr.
 */
#ifndef TESTS_FORMAT_LAWS_H
#define TESTS_FORMAT_LAWS_H

#include "fmt/contract_check.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What the test knows by itself. */
struct traits {
	uint32_t id;
	const char *name;
	unsigned levels_min, levels_max, leaf_levels, index_lg2;
	unsigned gpa_bits, pa_bits, root_pages;
	unsigned types; /* bit n: memory type n can be said */
	bool force, exec_only, exec_by_mode, ad_always, af_fault, bbm;
	unsigned below[3]; /* next level with leaves under level 1, 2, 3 */
	unsigned ads[3];   /* A/D modes, the last one with both */
	unsigned ad_count;
	unsigned meanings; /* leaves that for_each() finds: counted by hand */
	uint64_t pa_field; /* address bits of a word, 0: not to be checked */
	uint64_t table_a;  /* Accessed of entries that point to tables, 0: none */
	uint64_t table_w;  /* writable, of the same */
};
static const struct traits traits;
/* Would an MMU take this word for a translation or a table? */
static bool mmu_present(uint64_t e, unsigned level);
/* Bits of a leaf that an MMU looks at or writes. */
static uint64_t mmu_bits(unsigned level);

/* As many as fit in the width and are aligned to level. */
static uint64_t pa_at(unsigned level, uint64_t pattern)
{
	unsigned lg2 = 12 + traits.index_lg2 * level;

	return pattern & ((UINT64_C(1) << traits.pa_bits) - 1) & ~((UINT64_C(1) << lg2) - 1);
}

static bool representable(struct tdpi_attr a, unsigned ad)
{
	bool w = a.prot & TDP_W;
	uint32_t x = a.prot & TDP_X;

	if (!(a.prot & TDP_R) && (!traits.exec_only || w || !x))
		return false;
	if ((x == TDP_XS || x == TDP_XU) && !traits.exec_by_mode)
		return false;
	if ((w && !a.mmu_w) || (a.mmu_w && !a.host_w) || (a.dirty && !w))
		return false;
	if (!(ad & TDPI_HW_D) && a.dirty != w)
		return false;
	if (a.tracked && (a.accessed || w || ad & TDPI_HW_A || traits.af_fault))
		return false;
	if (a.prot & TDP_MT_FORCE && !traits.force)
		return false;
	return traits.types >> ((a.prot & TDP_MT_MASK) >> TDP_MT_SHIFT) & 1;
}

static bool same(struct tdpi_attr a, struct tdpi_attr b)
{
	return a.prot == b.prot && a.host_w == b.host_w && a.mmu_w == b.mmu_w &&
	       a.accessed == b.accessed && a.dirty == b.dirty && a.tracked == b.tracked;
}

static void show(char *buf, size_t len, struct tdpi_attr a)
{
	snprintf(buf, len, "prot %#x host_w %d mmu_w %d a %d d %d tracked %d", a.prot, a.host_w,
		 a.mmu_w, a.accessed, a.dirty, a.tracked);
}

/* e is the leaf for (pa, a), in every respect. */
static void is_leaf(const char *what, uint64_t e, unsigned level, uint64_t pa, struct tdpi_attr a,
		    unsigned ad)
{
	struct tdpi_attr got = fmt_attr(e, level);
	char want_text[96], got_text[96];

	show(want_text, sizeof(want_text), a);
	show(got_text, sizeof(got_text), got);
	if (fmt_kind(e, level) != TDP_ENTRY_LEAF)
		fail_msg("%s: %#" PRIx64 " level %u is no leaf (%s)", what, e, level, want_text);
	if (!same(a, got))
		fail_msg("%s: %#" PRIx64 " level %u ad %u: %s, not %s", what, e, level, ad,
			 got_text, want_text);
	if (fmt_pa(e, level) != pa)
		fail_msg("%s: %#" PRIx64 " level %u: pa %#" PRIx64 ", not %#" PRIx64, what, e,
			 level, fmt_pa(e, level), pa);
	if (e != fmt_leaf(pa, level, a, ad))
		fail_msg("%s: %#" PRIx64 " level %u ad %u is not the word for %s", what, e, level,
			 ad, want_text);
	if (!fmt_valid(e, level, traits.pa_bits))
		fail_msg("%s: %#" PRIx64 " level %u is not valid (%s)", what, e, level, want_text);
}

typedef void visit_fn(unsigned level, unsigned ad, uint64_t pa, struct tdpi_attr a);

/* Call fn for every representable leaf meaning; returns how many there were. */
static unsigned for_each(visit_fn *fn)
{
	const uint64_t patterns[] = {0, UINT64_C(0xa5a5a5a5a5a5a5a5), ~UINT64_C(0)};
	unsigned n = 0;

	for (unsigned i = 0; i < traits.ad_count; i++) {
		for (uint32_t bits = 0; bits < 1u << 17; bits++) {
			unsigned ad = traits.ads[i];
			struct tdpi_attr a = {
				.prot = (uint16_t)((bits & 0xf) |
						   (bits >> 4 & 0x7) << TDP_MT_SHIFT |
						   (bits >> 7 & 0x1) << 7 | (bits >> 8 & 0xf) << 8),
				.host_w = bits >> 12 & 1,
				.mmu_w = bits >> 13 & 1,
				.accessed = bits >> 14 & 1,
				.dirty = bits >> 15 & 1,
				.tracked = bits >> 16 & 1,
			};

			if (!representable(a, ad))
				continue;
			for (unsigned level = 0; level < traits.levels_max; level++) {
				if (!(traits.leaf_levels >> level & 1))
					continue;
				fn(level, ad, pa_at(level, patterns[n % 3]), a);
				n++;
			}
		}
	}
	return n;
}

static void test_constants(void **state)
{
	(void)state;
	assert_int_equal(FMT_ID, traits.id);
	assert_string_equal(FMT_NAME, traits.name);
	assert_int_equal(FMT_LEVELS_MIN, traits.levels_min);
	assert_int_equal(FMT_LEVELS_MAX, traits.levels_max);
	assert_int_equal(FMT_LEAF_LEVELS, traits.leaf_levels);
	assert_int_equal(FMT_INDEX_LG2, traits.index_lg2);
	assert_int_equal(FMT_GPA_BITS_MAX, traits.gpa_bits);
	assert_int_equal(FMT_PA_BITS_MAX, traits.pa_bits);
	assert_int_equal(FMT_ROOT_PAGES_MAX, traits.root_pages);
	assert_int_equal(FMT_EXEC_ONLY, traits.exec_only);
	assert_int_equal(FMT_EXEC_BY_MODE, traits.exec_by_mode);
	assert_int_equal(FMT_AD_ALWAYS, traits.ad_always);
	assert_int_equal(FMT_AF_FAULT, traits.af_fault);
	assert_int_equal(FMT_BBM, traits.bbm);
	for (unsigned mt = 0; mt < 8; mt++)
		assert_int_equal(fmt_mt_ok(mt << TDP_MT_SHIFT | TDP_RWX), traits.types >> mt & 1);
	for (unsigned level = 1; level < 4; level++)
		assert_int_equal(tdpi_leaf_below(FMT_LEAF_LEVELS, level), traits.below[level - 1]);
}

static void law_leaf(unsigned level, unsigned ad, uint64_t pa, struct tdpi_attr a)
{
	uint64_t e = fmt_leaf(pa, level, a, ad);
	unsigned perm = a.tracked ? 0 : a.prot & TDP_RWX;

	is_leaf("leaf", e, level, pa, a, ad);
	assert_int_equal(fmt_accessed(e, level), a.accessed);
	assert_int_equal(fmt_dirty(e, level), a.dirty);
	assert_int_equal(mmu_present(e, level), !a.tracked);
	if (traits.af_fault && !a.accessed && !(ad & TDPI_HW_A))
		perm = 0;
	assert_int_equal(fmt_perm(e, level, ad), perm);
}

static void test_leaves(void **state)
{
	(void)state;
	assert_int_equal(for_each(law_leaf), traits.meanings);
}

/* E18, E26: what the MMU reads does not depend on what only software reads. */
static void law_software(unsigned level, unsigned ad, uint64_t pa, struct tdpi_attr a)
{
	struct tdpi_attr b = a;

	b.prot = (uint16_t)(b.prot & ~TDP_SW_MASK);
	if (!(b.prot & TDP_W))
		b.host_w = b.mmu_w = false;
	assert_int_equal(
		(fmt_leaf(pa, level, a, ad) ^ fmt_leaf(pa, level, b, ad)) &
			(mmu_present(fmt_leaf(pa, level, a, ad), level) ? mmu_bits(level) : 0),
		0);
	/* And every meaning but its absence for the MMU is seen by the MMU. */
	for (unsigned x = TDP_XS; x <= TDP_X; x += TDP_XS) {
		b = a;
		b.prot = (uint16_t)(b.prot ^ x);
		if (!a.tracked && representable(b, ad))
			assert_int_not_equal(fmt_leaf(pa, level, a, ad) & mmu_bits(level),
					     fmt_leaf(pa, level, b, ad) & mmu_bits(level));
	}
}

static void test_software_bits(void **state)
{
	(void)state;
	for_each(law_software);
}

static void test_addresses(void **state)
{
	struct tdpi_attr a = {.prot = TDP_R | TDP_SW(1), .accessed = true};
	unsigned ad = traits.ads[traits.ad_count - 1];

	(void)state;
	for (unsigned level = 0; level < traits.levels_max; level++) {
		unsigned lg2 = 12 + traits.index_lg2 * level;

		for (unsigned bit = 12; bit < traits.pa_bits; bit++) {
			uint64_t pa = UINT64_C(1) << bit;

			if (level) {
				uint64_t t = fmt_table(pa, level);

				assert_int_equal(fmt_kind(t, level), TDP_ENTRY_TABLE);
				assert_int_equal(fmt_pa(t, level), pa);
				assert_true(fmt_valid(t, level, bit + 1));
				assert_false(fmt_valid(t, level, bit));
			}
			if (!(traits.leaf_levels >> level & 1) || bit < lg2)
				continue;
			is_leaf("bit", fmt_leaf(pa, level, a, ad), level, pa, a, ad);
			assert_true(fmt_valid(fmt_leaf(pa, level, a, ad), level, bit + 1));
			assert_false(fmt_valid(fmt_leaf(pa, level, a, ad), level, bit));
		}
	}
}

static bool settled(uint64_t e, unsigned ad)
{
	return fmt_settled(ad) && (e & fmt_settled(ad)) == fmt_settled(ad);
}

/* Also with A and D as the MMU has left them. */
static bool settled_but_ad(uint64_t e, unsigned ad)
{
	return settled(e | fmt_a_bits(0) | fmt_d_bits(0), ad);
}

/* E03, E04, E21, IO03: what is not there is told apart, and nothing of it is there for the MMU. */
static void absent(uint64_t e, unsigned level, enum tdp_entry_kind kind)
{
	uint64_t field = e & traits.pa_field;

	assert_int_equal(fmt_kind(e, level), kind);
	assert_false(mmu_present(e, level));
	assert_true(fmt_valid(e, level, traits.pa_bits));
	assert_true(field == 0 || field == traits.pa_field);
	for (unsigned i = 0; i < traits.ad_count; i++) {
		assert_int_equal(fmt_perm(e, level, traits.ads[i]), 0);
		assert_int_equal(fmt_volatile(e, level, traits.ads[i]), 0);
		assert_false(level == 0 && settled_but_ad(e, traits.ads[i]));
	}
}

static void test_absent(void **state)
{
	(void)state;
	for (unsigned level = 0; level < traits.levels_max; level++) {
		absent(fmt_empty(level), level, TDP_ENTRY_EMPTY);
		absent(fmt_empty_young(level), level, TDP_ENTRY_EMPTY);
		absent(fmt_frozen(level), level, TDP_ENTRY_FROZEN);
		assert_int_not_equal(fmt_empty(level), fmt_empty_young(level));
		for (uint32_t gen = 0; gen < 0x10000; gen++) {
			absent(fmt_mmio(level, gen), level, TDP_ENTRY_MMIO);
			assert_int_equal(fmt_mmio_gen(fmt_mmio(level, gen), level), gen);
		}
	}
}

/* E28, E29: tables permit everything, and the MMU has nothing left to set in a fresh one. */
static void test_tables(void **state)
{
	(void)state;
	for (unsigned level = 1; level < traits.levels_max; level++) {
		uint64_t pa = pa_at(0, UINT64_C(0x123456789abcdef0));
		uint64_t e = fmt_table(pa, level);

		assert_int_equal(fmt_kind(e, level), TDP_ENTRY_TABLE);
		assert_int_equal(fmt_pa(e, level), pa);
		assert_true(mmu_present(e, level));
		assert_true(fmt_valid(e, level, traits.pa_bits));
		for (unsigned i = 0; i < traits.ad_count; i++) {
			assert_int_equal(fmt_perm(e, level, traits.ads[i]), TDP_RWX);
			assert_int_equal(fmt_volatile(e, level, traits.ads[i]), 0);
		}
	}
}

/* A12: Accessed of a table can be cleared and is set again, and is no other bit's meaning. */
static void test_accessed_tables(void **state)
{
	(void)state;
	assert_int_equal(FMT_TABLE_A, traits.table_a);
	for (unsigned level = 1; level < traits.levels_max; level++) {
		uint64_t pa = pa_at(0, UINT64_C(0x123456789abcdef0));
		uint64_t e = fmt_table(pa, level), unused = e & ~FMT_TABLE_A;

		assert_int_equal(e & FMT_TABLE_A, FMT_TABLE_A);
		assert_int_equal(fmt_kind(unused, level), TDP_ENTRY_TABLE);
		assert_int_equal(fmt_pa(unused, level), pa);
		assert_true(mmu_present(unused, level));
		assert_true(fmt_valid(unused, level, traits.pa_bits));
		for (unsigned i = 0; i < traits.ad_count; i++) {
			unsigned ad = traits.ads[i];
			bool sets = ad & TDPI_HW_A || traits.ad_always;

			assert_int_equal(fmt_perm(unused, level, ad), TDP_RWX);
			assert_int_equal(fmt_volatile(unused, level, ad), sets ? FMT_TABLE_A : 0);
		}
	}
}

/* D16: without that one bit a table permits everything but to write. */
static void test_shut_tables(void **state)
{
	(void)state;
	assert_int_equal(FMT_TABLE_W, traits.table_w);
	for (unsigned level = 1; FMT_TABLE_W && level < traits.levels_max; level++) {
		uint64_t pa = pa_at(0, UINT64_C(0x123456789abcdef0));
		uint64_t e = fmt_table(pa, level), shut = e & ~FMT_TABLE_W;

		assert_int_equal(e & FMT_TABLE_W, FMT_TABLE_W);
		assert_int_equal(fmt_kind(shut, level), TDP_ENTRY_TABLE);
		assert_int_equal(fmt_pa(shut, level), pa);
		assert_true(mmu_present(shut, level));
		assert_true(fmt_valid(shut, level, traits.pa_bits));
		assert_true(fmt_valid(shut & ~FMT_TABLE_A, level, traits.pa_bits));
		for (unsigned i = 0; i < traits.ad_count; i++) {
			assert_int_equal(fmt_perm(shut, level, traits.ads[i]), TDP_R | TDP_X);
			assert_int_equal(fmt_volatile(shut, level, traits.ads[i]), 0);
		}
	}
}

/* E13, A07: aging and touching. */
static void law_age(unsigned level, unsigned ad, uint64_t pa, struct tdpi_attr a)
{
	uint64_t e = fmt_leaf(pa, level, a, ad);
	struct tdpi_attr old = a, young = a;

	old.accessed = false;
	if (!(ad & TDPI_HW_A) && !traits.af_fault && !traits.ad_always) {
		old.tracked = true;
		old.prot = (uint16_t)(old.prot & ~TDP_W);
		old.dirty = false;
	}
	young.accessed = true;
	young.tracked = false;
	is_leaf("old", fmt_old(e, level, ad), level, pa, old, ad);
	is_leaf("old twice", fmt_old(fmt_old(e, level, ad), level, ad), level, pa, old, ad);
	is_leaf("young", fmt_young(e, level, ad), level, pa, young, ad);
	young = old;
	young.accessed = true;
	young.tracked = false;
	is_leaf("old, young", fmt_young(fmt_old(e, level, ad), level, ad), level, pa, young, ad);
}

static void test_aging(void **state)
{
	(void)state;
	for_each(law_age);
}

/* E10, E14: write protection and back. */
static void law_write(unsigned level, unsigned ad, uint64_t pa, struct tdpi_attr a)
{
	uint64_t e = fmt_leaf(pa, level, a, ad);
	struct tdpi_attr ro = a, rw = a, b;

	ro.prot = (uint16_t)(ro.prot & ~TDP_W);
	ro.dirty = false;
	is_leaf("wrprot", fmt_wrprot(e, level), level, pa, ro, ad);
	/* The same when the MMU sets A and D between the look and the AND. */
	ro.accessed |= (ad & TDPI_HW_A) && !a.tracked;
	is_leaf("W cleared", (e | fmt_volatile(e, level, ad)) & ~fmt_w_bits(level), level, pa, ro,
		ad);
	ro.accessed = a.accessed;
	b = ro;
	b.mmu_w = false;
	is_leaf("mmu_w off", fmt_set_mmu_w(fmt_wrprot(e, level), level, false), level, pa, b, ad);
	if (a.host_w) {
		b = a;
		b.mmu_w = true;
		is_leaf("mmu_w on", fmt_set_mmu_w(e, level, true), level, pa, b, ad);
	}
	if (!a.mmu_w || a.tracked || !(a.prot & TDP_R))
		return;
	rw.prot |= TDP_W;
	rw.dirty = true;
	is_leaf("mkwrite", fmt_mkwrite(e, level, ad), level, pa, rw, ad);
	is_leaf("wrprot, mkwrite", fmt_mkwrite(fmt_wrprot(e, level), level, ad), level, pa, rw, ad);
}

static void test_writes(void **state)
{
	(void)state;
	for_each(law_write);
}

/* A06: what the MMU may set meanwhile is exactly what clearing takes away and fmt_volatile() says.
 */
static void law_hardware(unsigned level, unsigned ad, uint64_t pa, struct tdpi_attr a)
{
	uint64_t e = fmt_leaf(pa, level, a, ad);
	uint64_t want = 0;
	struct tdpi_attr b;

	if (ad & TDPI_HW_A) {
		b = a;
		b.accessed = false;
		is_leaf("A cleared", e & ~fmt_a_bits(level), level, pa, b, ad);
		want |= a.accessed ? 0 : fmt_a_bits(level);
	}
	if (ad & TDPI_HW_D) {
		b = a;
		b.dirty = false;
		is_leaf("D cleared", e & ~fmt_d_bits(level), level, pa, b, ad);
		if (a.prot & TDP_W)
			want |= a.dirty ? 0 : fmt_d_bits(level);
	}
	assert_int_equal(fmt_volatile(e, level, ad), want);
	if (pa + (UINT64_C(1) << (12 + traits.index_lg2 * level)) <= pa_at(level, ~UINT64_C(0)))
		is_leaf("the next page", fmt_next(e, level), level,
			pa + (UINT64_C(1) << (12 + traits.index_lg2 * level)), a, ad);
	if (level == 0 && settled(e, ad))
		assert_int_equal(want, 0);
	else if (level == 0 && fmt_settled(ad)) /* what guests use most is among them */
		assert_false(a.accessed && a.dirty && a.prot & TDP_R);
	if (level == 0 && fmt_settled(ad) && fmt_dirty(e, level))
		assert_true(settled_but_ad(e, ad));
	if (want) {
		b = a;
		b.accessed = true;
		b.dirty = a.prot & TDP_W && ad & TDPI_HW_D ? true : a.dirty;
		is_leaf("set by the MMU", e | want, level, pa, b, ad);
		assert_int_equal(fmt_perm(e | want, level, ad), fmt_perm(e, level, ad));
		assert_int_equal(want & ~mmu_bits(level), 0);
	}
}

static void test_hardware(void **state)
{
	(void)state;
	for_each(law_hardware);
}

static void law_split(unsigned level, unsigned ad, uint64_t pa, struct tdpi_attr a)
{
	uint64_t e = fmt_leaf(pa, level, a, ad);
	unsigned to, count;
	uint64_t size;

	if (!level)
		return;
	to = traits.below[level - 1];
	count = 1u << traits.index_lg2 * (level - to);
	size = UINT64_C(1) << (12 + traits.index_lg2 * to);
	/* All of them for one set of software bits, else the first, one inside and the last. */
	for (unsigned i = 0; i < count;
	     i += a.prot & TDP_SW_MASK && i < count - 1 ? count / 2 - 1 : 1)
		is_leaf("split", fmt_split(e, level, i), to, pa + i * size, a, ad);
	assert_int_equal(fmt_merge(fmt_split(e, level, 0), level), e);
}

static void test_split(void **state)
{
	(void)state;
	for_each(law_split);
}

/*
 * The oracle of fmt_valid: a word is valid if the format could have written it (the MMU may have
 * set or software cleared A in a table, and software W).
 */
static bool writable_by_format(uint64_t e, unsigned level)
{
	uint64_t pa = fmt_pa(e, level);

	switch (fmt_kind(e, level)) {
	case TDP_ENTRY_EMPTY: return e == fmt_empty(level) || e == fmt_empty_young(level);
	case TDP_ENTRY_FROZEN: return e == fmt_frozen(level);
	case TDP_ENTRY_MMIO: return e == fmt_mmio(level, fmt_mmio_gen(e, level));
	case TDP_ENTRY_TABLE:
		return level && pa == pa_at(0, pa) &&
		       (e | traits.table_a | traits.table_w) == fmt_table(pa, level);
	case TDP_ENTRY_LEAF:
		if (!(traits.leaf_levels >> level & 1) || pa != pa_at(level, pa))
			return false;
		for (unsigned i = 0; i < traits.ad_count; i++) {
			struct tdpi_attr a = fmt_attr(e, level);

			if (representable(a, traits.ads[i]) &&
			    e == fmt_leaf(pa, level, a, traits.ads[i]))
				return true;
		}
		return false;
	}
	fail_msg("%#" PRIx64 " level %u is of no kind", e, level);
	return false;
}

static void check_valid(uint64_t e, unsigned level)
{
	bool want = writable_by_format(e, level);

	if (fmt_valid(e, level, traits.pa_bits) != want)
		fail_msg("%#" PRIx64 " level %u: valid is %d", e, level, !want);
}

/* Every word that is one or two bits away from e. */
static void check_neighbours(uint64_t e, unsigned level)
{
	for (unsigned i = 0; i < 64; i++)
		for (unsigned j = i; j < 64; j++)
			check_valid(e ^ UINT64_C(1) << i ^ (i == j ? 0 : UINT64_C(1) << j), level);
}

static unsigned sampled;

static void law_valid(unsigned level, unsigned ad, uint64_t pa, struct tdpi_attr a)
{
	if (sampled++ % 7 == 0)
		check_neighbours(fmt_leaf(pa, level, a, ad), level);
}

static void test_valid(void **state)
{
	uint64_t x = UINT64_C(0x9e3779b97f4a7c15);

	(void)state;
	sampled = 0;
	for_each(law_valid);
	for (unsigned level = 0; level < traits.levels_max; level++) {
		check_neighbours(fmt_empty(level), level);
		check_neighbours(fmt_empty_young(level), level);
		check_neighbours(fmt_frozen(level), level);
		check_neighbours(fmt_mmio(level, 0x5a5a), level);
		if (level)
			check_neighbours(fmt_table(pa_at(0, x), level), level);
		/* Total: any word has a kind, and is only present for the engine if that can be. */
		for (unsigned i = 0; i < 200000; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			check_valid(x, level);
		}
	}
}

/* E16: another address is never written over a live leaf; attributes are. */
static void law_live_change(unsigned level, unsigned ad, uint64_t pa, struct tdpi_attr a)
{
	uint64_t e = fmt_leaf(pa, level, a, ad);
	uint64_t other =
		fmt_leaf(pa ^ UINT64_C(1) << (12 + traits.index_lg2 * level), level, a, ad);
	uint64_t table = level ? fmt_table(pa, level) : 0;

	for (unsigned bbm_level = 0; bbm_level < 3; bbm_level++) {
		assert_true(fmt_live_change_ok(e, e, level, bbm_level));
		assert_true(fmt_live_change_ok(e, fmt_wrprot(e, level), level, bbm_level));
		assert_true(fmt_live_change_ok(fmt_wrprot(e, level), e, level, bbm_level));
		assert_true(fmt_live_change_ok(fmt_old(e, level, ad), fmt_young(e, level, ad),
					       level, bbm_level));
		assert_false(fmt_live_change_ok(e, other, level, bbm_level));
		if (table && !traits.bbm) {
			assert_true(fmt_live_change_ok(e, table, level, bbm_level));
			assert_true(fmt_live_change_ok(table, e, level, bbm_level));
		}
	}
	if (table && traits.bbm) {
		assert_false(fmt_live_change_ok(e, table, level, 0));
		assert_false(fmt_live_change_ok(table, e, level, 0));
		assert_false(fmt_live_change_ok(e, table, level, 1));
	}
}

static void test_live_change(void **state)
{
	(void)state;
	for_each(law_live_change);
}

#define LAWS                                                                                       \
	cmocka_unit_test(test_constants), cmocka_unit_test(test_leaves),                           \
		cmocka_unit_test(test_software_bits), cmocka_unit_test(test_addresses),            \
		cmocka_unit_test(test_absent), cmocka_unit_test(test_tables),                      \
		cmocka_unit_test(test_accessed_tables), cmocka_unit_test(test_shut_tables),        \
		cmocka_unit_test(test_aging), cmocka_unit_test(test_writes),                       \
		cmocka_unit_test(test_hardware), cmocka_unit_test(test_split),                     \
		cmocka_unit_test(test_valid), cmocka_unit_test(test_live_change)

#endif
