/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hostile format: everything that the real ones have in common is different here, so that an
 * engine that takes something for granted fails. Defined in full in README.md.
 *
 * A stored word is a logical word rotated by the level of its table; functions unrotate first (in)
 * and rotate last (out), and all masks below are of logical words. A page of zeroes is no empty
 * table.
 */
#ifndef TDPI_FMT_TEST_H
#define TDPI_FMT_TEST_H

#include "fmt/contract.h"

#define TST_TYPE TDPI_MASK(1, 0)
#define TST_TABLE 1u
#define TST_LEAF 2u /* absent: an access-tracked leaf */
#define TST_MMIO 1u /* absent only, as the next */
#define TST_FROZEN 3u
#define TST_NO_R TDPI_BIT(2)
#define TST_W TDPI_BIT(3)
#define TST_XS TDPI_BIT(4)
#define TST_D TDPI_BIT(5)
#define TST_A TDPI_BIT(6)
#define TST_HOST_W TDPI_BIT(7)
#define TST_MMU_W TDPI_BIT(8)
#define TST_SW_SHIFT 9
#define TST_SW TDPI_MASK(12, 9)
#define TST_MT_SHIFT 13
#define TST_MT TDPI_MASK(15, 13)
#define TST_FORCE TDPI_BIT(16)
#define TST_SAVED_R TDPI_BIT(17)
#define TST_SAVED_XS TDPI_BIT(18)
#define TST_XU TDPI_BIT(19)
#define TST_SAVED (TST_SAVED_R | TST_SAVED_XS | TST_SAVED_XU)
#define TST_PA_SHIFT 20
#define TST_PA TDPI_MASK(55, 20) /* pa >> 12 */
#define TST_SAVED_XU TDPI_BIT(56)
#define TST_RES0 TDPI_MASK(62, 57)
#define TST_ABSENT TDPI_BIT(63)

TDPI_STATIC_ASSERT((TST_TYPE | TST_NO_R | TST_W | TST_XS | TST_D | TST_A | TST_HOST_W | TST_MMU_W |
		    TST_SW | TST_MT | TST_FORCE | TST_SAVED | TST_XU | TST_PA | TST_RES0 |
		    TST_ABSENT) == ~(uint64_t)0,
		   "every bit of a leaf is spoken for");
TDPI_STATIC_ASSERT((TST_TYPE + TST_NO_R + TST_W + TST_XS + TST_D + TST_A + TST_HOST_W + TST_MMU_W +
		    TST_SW + TST_MT + TST_FORCE + TST_SAVED_R + TST_SAVED_XS + TST_SAVED_XU +
		    TST_XU + TST_PA + TST_RES0 + TST_ABSENT) == ~(uint64_t)0,
		   "and only once");

#define FMT_NS(name) tdpi_test_##name
#define FMT_ID TDP_FMT_TEST
#define FMT_NAME "test"
#define FMT_INDEX_LG2 4
#define FMT_LEVELS_MIN 5
#define FMT_LEVELS_MAX 5
#define FMT_LEAF_LEVELS 0xb
#define FMT_GPA_BITS_MAX 32
#define FMT_PA_BITS_MAX 48
#define FMT_ROOT_PAGES_MAX 1
#define FMT_AD_ALWAYS 0
#define FMT_TABLE_A UINT64_C(0)
#define FMT_TABLE_W UINT64_C(0)
#define FMT_EXEC_ONLY 1
#define FMT_EXEC_BY_MODE 1
#define FMT_AF_FAULT 0
#define FMT_BBM 1

static inline uint64_t tst_out(uint64_t logical, unsigned level)
{
	return tdpi_rotl64(logical, 3 + 7 * level);
}

static inline uint64_t tst_in(uint64_t stored, unsigned level)
{
	return tdpi_rotl64(stored, 64 - (3 + 7 * level));
}

static inline unsigned tst_size_lg2(unsigned level)
{
	return TDP_PAGE_LG2 + FMT_INDEX_LG2 * level;
}

static inline uint64_t tst_empty(unsigned level)
{
	return tst_out(TST_ABSENT, level);
}

static inline uint64_t tst_empty_young(unsigned level)
{
	return tst_out(TST_ABSENT | TST_A, level);
}

static inline uint64_t tst_frozen(unsigned level)
{
	return tst_out(TST_ABSENT | TST_FROZEN, level);
}

static inline uint64_t tst_mmio(unsigned level, uint32_t gen)
{
	return tst_out(TST_ABSENT | TST_MMIO | (uint64_t)(gen & 0xffff) << TST_PA_SHIFT, level);
}

static inline uint32_t tst_mmio_gen(uint64_t e, unsigned level)
{
	return (uint32_t)(tst_in(e, level) >> TST_PA_SHIFT & 0xffff);
}

/*
 * Present words of reserved types map nothing and lead nowhere, so they count as empty (and not as
 * valid).
 */
TDPI_ALWAYS_INLINE enum tdp_entry_kind tst_kind(uint64_t e, unsigned level)
{
	uint64_t v = tst_in(e, level);
	uint64_t type = v & TST_TYPE;

	if (type == TST_LEAF)
		return TDP_ENTRY_LEAF;
	if (!(v & TST_ABSENT))
		return type == TST_TABLE && level ? TDP_ENTRY_TABLE : TDP_ENTRY_EMPTY;
	if (type == TST_MMIO)
		return TDP_ENTRY_MMIO;
	return type == TST_FROZEN ? TDP_ENTRY_FROZEN : TDP_ENTRY_EMPTY;
}

static inline tdp_pa_t tst_pa(uint64_t e, unsigned level)
{
	return (tst_in(e, level) & TST_PA) >> TST_PA_SHIFT << TDP_PAGE_LG2;
}

static inline uint64_t tst_table(tdp_pa_t pa, unsigned level)
{
	return tst_out(pa >> TDP_PAGE_LG2 << TST_PA_SHIFT | TST_TABLE, level);
}

TDPI_ALWAYS_INLINE uint64_t tst_leaf(tdp_pa_t pa, unsigned level, struct tdpi_attr a, unsigned ad)
{
	uint64_t v = pa >> TDP_PAGE_LG2 << TST_PA_SHIFT | TST_LEAF;

	(void)ad;
	TDPI_ASSERT_DEBUG(FMT_LEAF_LEVELS >> level & 1);
	v |= (uint64_t)((a.prot & TDP_MT_MASK) >> TDP_MT_SHIFT) << TST_MT_SHIFT;
	v |= (uint64_t)((a.prot & TDP_SW_MASK) >> TDP_SW_SHIFT) << TST_SW_SHIFT;
	v |= a.prot & TDP_MT_FORCE ? TST_FORCE : 0;
	if (a.tracked) {
		v |= TST_ABSENT | TST_NO_R;
		v |= a.prot & TDP_R ? TST_SAVED_R : 0;
		v |= a.prot & TDP_XS ? TST_SAVED_XS : 0;
		v |= a.prot & TDP_XU ? TST_SAVED_XU : 0;
	} else {
		v |= a.prot & TDP_R ? 0 : TST_NO_R;
		v |= a.prot & TDP_W ? TST_W : 0;
		v |= a.prot & TDP_XS ? TST_XS : 0;
		v |= a.prot & TDP_XU ? TST_XU : 0;
	}
	v |= a.accessed ? TST_A : 0;
	v |= a.dirty ? TST_D : 0;
	v |= a.host_w ? TST_HOST_W : 0;
	v |= a.mmu_w ? TST_MMU_W : 0;
	return tst_out(v, level);
}

static inline uint64_t tst_next(uint64_t leaf, unsigned level)
{
	return tst_out(tst_in(leaf, level) + (TDPI_BIT(FMT_INDEX_LG2 * level) << TST_PA_SHIFT),
		       level);
}

/* What a leaf grants, or will grant again when it is touched. */
static inline unsigned tst_rwx(uint64_t v)
{
	if (v & TST_ABSENT)
		return (v & TST_SAVED_R ? TDP_R : 0) | (v & TST_SAVED_XS ? TDP_XS : 0) |
		       (v & TST_SAVED_XU ? TDP_XU : 0);
	return (v & TST_NO_R ? 0 : TDP_R) | (v & TST_W ? TDP_W : 0) | (v & TST_XS ? TDP_XS : 0) |
	       (v & TST_XU ? TDP_XU : 0);
}

static inline struct tdpi_attr tst_attr(uint64_t e, unsigned level)
{
	uint64_t v = tst_in(e, level);
	uint32_t mt = (uint32_t)((v & TST_MT) >> TST_MT_SHIFT) << TDP_MT_SHIFT;
	uint32_t sw = (uint32_t)((v & TST_SW) >> TST_SW_SHIFT) << TDP_SW_SHIFT;
	struct tdpi_attr a;

	a.prot = (uint16_t)(tst_rwx(v) | mt | sw | (v & TST_FORCE ? TDP_MT_FORCE : 0));
	a.host_w = (v & TST_HOST_W) != 0;
	a.mmu_w = (v & TST_MMU_W) != 0;
	a.accessed = (v & TST_A) != 0;
	a.dirty = (v & TST_D) != 0;
	a.tracked = (v & TST_ABSENT) != 0;
	return a;
}

/* Levels 3 and 1 have leaves, 2 has not: the parts of a 16M leaf are 256 leaves at level 1. */
static inline uint64_t tst_split(uint64_t leaf, unsigned level, unsigned i)
{
	unsigned to = tdpi_leaf_below(FMT_LEAF_LEVELS, level);
	uint64_t step = (uint64_t)i << (tst_size_lg2(to) - TDP_PAGE_LG2) << TST_PA_SHIFT;

	return tst_out(tst_in(leaf, level) + step, to);
}

static inline uint64_t tst_merge(uint64_t child, unsigned level)
{
	return tst_out(tst_in(child, tdpi_leaf_below(FMT_LEAF_LEVELS, level)), level);
}

static inline unsigned tst_perm(uint64_t e, unsigned level, unsigned ad)
{
	uint64_t v = tst_in(e, level);

	(void)ad;
	if (v & TST_ABSENT)
		return 0;
	if ((v & TST_TYPE) == TST_LEAF)
		return tst_rwx(v);
	return tst_kind(e, level) == TDP_ENTRY_TABLE ? TDP_RWX : 0;
}

static inline uint64_t tst_a_bits(unsigned level)
{
	return tst_out(TST_A, level);
}

static inline uint64_t tst_d_bits(unsigned level)
{
	return tst_out(TST_D, level);
}

static inline bool tst_accessed(uint64_t e, unsigned level)
{
	return e & tst_a_bits(level);
}

static inline bool tst_dirty(uint64_t e, unsigned level)
{
	return e & tst_d_bits(level);
}

static inline uint64_t tst_old(uint64_t e, unsigned level, unsigned ad)
{
	uint64_t v = tst_in(e, level);

	if (!(ad & TDPI_HW_A) && !(v & TST_ABSENT)) {
		v |= TST_ABSENT | (v & TST_NO_R ? 0 : TST_SAVED_R);
		v |= v & TST_XS ? TST_SAVED_XS : 0;
		v |= v & TST_XU ? TST_SAVED_XU : 0;
		v = (v | TST_NO_R) & ~(TST_W | TST_XS | TST_XU | TST_D);
	}
	return tst_out(v & ~TST_A, level);
}

static inline uint64_t tst_young(uint64_t e, unsigned level, unsigned ad)
{
	uint64_t v = tst_in(e, level);

	(void)ad;
	if (v & TST_ABSENT) {
		v &= ~(v & TST_SAVED_R ? TST_ABSENT | TST_NO_R : TST_ABSENT);
		v |= v & TST_SAVED_XS ? TST_XS : 0;
		v |= v & TST_SAVED_XU ? TST_XU : 0;
		v &= ~TST_SAVED;
	}
	return tst_out(v | TST_A, level);
}

static inline uint64_t tst_w_bits(unsigned level)
{
	return tst_out(TST_W | TST_D, level);
}

static inline uint64_t tst_wrprot(uint64_t e, unsigned level)
{
	return e & ~tst_w_bits(level);
}

static inline uint64_t tst_mkwrite(uint64_t e, unsigned level, unsigned ad)
{
	(void)ad;
	TDPI_ASSERT(tst_perm(e, level, ad) & TDP_R);
	TDPI_ASSERT((~tst_in(e, level) & (TST_MMU_W | TST_HOST_W)) == 0);
	return e | tst_out(TST_W | TST_D, level);
}

static inline uint64_t tst_set_mmu_w(uint64_t e, unsigned level, bool on)
{
	uint64_t bit = tst_out(TST_MMU_W, level);

	TDPI_ASSERT(on ? (tst_in(e, level) & TST_HOST_W) != 0 : !(tst_in(e, level) & TST_W));
	return on ? e | bit : e & ~bit;
}

static inline uint64_t tst_volatile(uint64_t e, unsigned level, unsigned ad)
{
	uint64_t v = tst_in(e, level);
	uint64_t set = ad & TDPI_HW_A ? TST_A : 0;

	if ((v & TST_ABSENT) || (v & TST_TYPE) != TST_LEAF)
		return 0;
	if (ad & TDPI_HW_D && v & TST_W)
		set |= TST_D;
	return tst_out(set & ~v, level);
}

/* Absence is a bit that is set here, so there is nothing that only leaves have. */
static inline uint64_t tst_settled(unsigned ad)
{
	(void)ad;
	return 0;
}

static inline bool tst_leaf_valid(uint64_t v, unsigned level, unsigned pa_bits)
{
	uint64_t pa = (v & TST_PA) >> TST_PA_SHIFT << TDP_PAGE_LG2;
	unsigned rwx = tst_rwx(v);

	if (!(FMT_LEAF_LEVELS >> level & 1) || (v & TST_RES0) || !rwx)
		return false;
	if (pa >> pa_bits || (pa & ~(~(uint64_t)0 << tst_size_lg2(level))))
		return false;
	if ((v & TST_MT) >> TST_MT_SHIFT > TDP_MT_UC >> TDP_MT_SHIFT)
		return false;
	if (v & TST_ABSENT ? (v & (TST_NO_R | TST_W | TST_XS | TST_XU | TST_D | TST_A)) != TST_NO_R
			   : (v & TST_SAVED) || (rwx & (TDP_R | TDP_W)) == TDP_W)
		return false;
	if ((v & TST_D) && !(v & TST_W))
		return false;
	return (!(v & TST_W) || (v & TST_MMU_W)) && (!(v & TST_MMU_W) || (v & TST_HOST_W));
}

static inline bool tst_valid(uint64_t e, unsigned level, unsigned pa_bits)
{
	uint64_t v = tst_in(e, level);

	switch (tst_kind(e, level)) {
	case TDP_ENTRY_EMPTY: return e == tst_empty(level) || e == tst_empty_young(level);
	case TDP_ENTRY_FROZEN: return e == tst_frozen(level);
	case TDP_ENTRY_MMIO: return e == tst_mmio(level, tst_mmio_gen(e, level));
	case TDP_ENTRY_TABLE: return (v & ~TST_PA) == TST_TABLE && !(tst_pa(e, level) >> pa_bits);
	case TDP_ENTRY_LEAF: return tst_leaf_valid(v, level, pa_bits);
	}
	return false;
}

static inline bool tst_mt_ok(uint32_t prot)
{
	return (prot & TDP_MT_MASK) <= TDP_MT_UC;
}

/* Break before make for another size or address, whatever the backend says of itself. */
static inline bool tst_live_change_ok(uint64_t old, uint64_t new_, unsigned level,
				      unsigned bbm_level)
{
	(void)bbm_level;
	return tst_kind(old, level) == tst_kind(new_, level) &&
	       tst_pa(old, level) == tst_pa(new_, level);
}

static inline int tst_levels(unsigned gpa_bits, unsigned forced)
{
	if (gpa_bits <= TDP_PAGE_LG2 || gpa_bits > FMT_GPA_BITS_MAX)
		return TDP_ERANGE;
	return !forced || forced == FMT_LEVELS_MAX ? FMT_LEVELS_MAX : TDP_ERANGE;
}

static inline unsigned tst_root_pages(unsigned gpa_bits, unsigned levels)
{
	(void)gpa_bits;
	(void)levels;
	return 1;
}

static inline void tst_root_hw(const struct tdpi_root_geom *g, uint64_t hw[2])
{
	hw[0] = g->pa;
	hw[1] = g->levels | (g->ad & TDPI_HW_A ? TDPI_BIT(8) : 0) |
		(g->ad & TDPI_HW_D ? TDPI_BIT(9) : 0);
}

#define fmt_empty tst_empty
#define fmt_empty_young tst_empty_young
#define fmt_frozen tst_frozen
#define fmt_mmio tst_mmio
#define fmt_mmio_gen tst_mmio_gen
#define fmt_kind tst_kind
#define fmt_pa tst_pa
#define fmt_table tst_table
#define fmt_leaf tst_leaf
#define fmt_next tst_next
#define fmt_attr tst_attr
#define fmt_split tst_split
#define fmt_merge tst_merge
#define fmt_perm tst_perm
#define fmt_accessed tst_accessed
#define fmt_dirty tst_dirty
#define fmt_a_bits tst_a_bits
#define fmt_d_bits tst_d_bits
#define fmt_w_bits tst_w_bits
#define fmt_old tst_old
#define fmt_young tst_young
#define fmt_wrprot tst_wrprot
#define fmt_mkwrite tst_mkwrite
#define fmt_set_mmu_w tst_set_mmu_w
#define fmt_volatile tst_volatile
#define fmt_settled tst_settled
#define fmt_valid tst_valid
#define fmt_mt_ok tst_mt_ok
#define fmt_live_change_ok tst_live_change_ok
#define fmt_levels tst_levels
#define fmt_root_pages tst_root_pages
#define fmt_root_hw tst_root_hw

#endif
