/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AMD nested page tables: long-mode entries, 4 or 5 levels (AMD64 APM vol. 2, 15.25 "Nested
 * Paging"; entry formats 5.3.4, 5.3.5 and 5.4.1; PAT 7.8).
 *
 * Nested walks are user accesses (15.25.5), so U/S is set everywhere. The MMU's A and D cannot be
 * switched off: `ad` is not looked at, leaves are never access-tracked. The host must run with
 * EFER.NXE = 1, CR0.WP = 1 and the power-on PAT.
 */
#ifndef TDPI_FMT_NPT_H
#define TDPI_FMT_NPT_H

#include "fmt/contract.h"

#define NPT_P TDPI_BIT(0)
#define NPT_RW TDPI_BIT(1)
#define NPT_US TDPI_BIT(2)
#define NPT_MT TDPI_MASK(4, 3) /* PWT, PCD */
#define NPT_A TDPI_BIT(5)
#define NPT_D TDPI_BIT(6)
#define NPT_PS TDPI_BIT(7)          /* in a 4K leaf this is PAT and stays 0 */
#define NPT_UNUSED TDPI_MASK(11, 8) /* G and AVL */
#define NPT_PA TDPI_MASK(51, 12)    /* large leaves: bit 12 is PAT and, by alignment, 0 */
#define NPT_HOST_W TDPI_BIT(52)
#define NPT_MMU_W TDPI_BIT(53)
#define NPT_SW_SHIFT 54
#define NPT_SW TDPI_MASK(57, 54)
#define NPT_OFF TDPI_MASK(62, 58) /* AVL and protection key */
#define NPT_NX TDPI_BIT(63)

#define NPT_IS_FROZEN NPT_HOST_W
#define NPT_IS_MMIO NPT_MMU_W
/* The generation of an MMIO word: 11 bits from 1 on, 5 bits from 54 on. */
#define NPT_GEN_LO TDPI_MASK(11, 1)
#define NPT_GEN_HI TDPI_MASK(58, 54)

TDPI_STATIC_ASSERT((NPT_P | NPT_RW | NPT_US | NPT_MT | NPT_A | NPT_D | NPT_PS | NPT_UNUSED |
		    NPT_PA | NPT_HOST_W | NPT_MMU_W | NPT_SW | NPT_OFF | NPT_NX) == ~(uint64_t)0,
		   "every bit of a leaf is spoken for");
TDPI_STATIC_ASSERT((NPT_P + NPT_RW + NPT_US + NPT_MT + NPT_A + NPT_D + NPT_PS + NPT_UNUSED +
		    NPT_PA + NPT_HOST_W + NPT_MMU_W + NPT_SW + NPT_OFF + NPT_NX) == ~(uint64_t)0,
		   "and only once");
TDPI_STATIC_ASSERT(((NPT_GEN_LO | NPT_GEN_HI) & (NPT_P | NPT_PA | NPT_IS_FROZEN | NPT_IS_MMIO)) ==
			   0,
		   "no generation makes an MMIO word present, frozen or an address");

#define FMT_NS(name) tdpi_npt_##name
#define FMT_ID TDP_FMT_NPT
#define FMT_NAME "npt"
#define FMT_INDEX_LG2 9
#define FMT_LEVELS_MIN 4
#define FMT_LEVELS_MAX 5
#define FMT_LEAF_LEVELS 0x7
#define FMT_GPA_BITS_MAX 52
#define FMT_PA_BITS_MAX 52
#define FMT_ROOT_PAGES_MAX 1
#define FMT_AD_ALWAYS 1
#define FMT_TABLE_A NPT_A
#define FMT_TABLE_W NPT_RW
#define FMT_EXEC_ONLY 0
#define FMT_EXEC_BY_MODE 0
#define FMT_AF_FAULT 0
#define FMT_BBM 0

static inline uint64_t npt_empty(unsigned level)
{
	(void)level;
	return 0;
}

static inline uint64_t npt_empty_young(unsigned level)
{
	(void)level;
	return NPT_A;
}

static inline uint64_t npt_frozen(unsigned level)
{
	(void)level;
	return NPT_IS_FROZEN;
}

/* All address bits set, for the reason told in ept.h. */
static inline uint64_t npt_mmio(unsigned level, uint32_t gen)
{
	(void)level;
	return NPT_IS_MMIO | NPT_PA | (uint64_t)(gen & 0x7ff) << 1 |
	       (uint64_t)(gen >> 11 & 0x1f) << 54;
}

static inline uint32_t npt_mmio_gen(uint64_t e, unsigned level)
{
	(void)level;
	return (uint32_t)((e & NPT_GEN_LO) >> 1 | (e & NPT_GEN_HI) >> 54 << 11);
}

TDPI_ALWAYS_INLINE enum tdp_entry_kind npt_kind(uint64_t e, unsigned level)
{
	if (e & NPT_P)
		return level && !(e & NPT_PS) ? TDP_ENTRY_TABLE : TDP_ENTRY_LEAF;
	if (e & NPT_IS_MMIO)
		return TDP_ENTRY_MMIO;
	return e & NPT_IS_FROZEN ? TDP_ENTRY_FROZEN : TDP_ENTRY_EMPTY;
}

static inline tdp_pa_t npt_pa(uint64_t e, unsigned level)
{
	(void)level;
	return e & NPT_PA;
}

/* A is set beforehand so that no walk has to. */
static inline uint64_t npt_table(tdp_pa_t pa, unsigned level)
{
	(void)level;
	return pa | NPT_P | NPT_RW | NPT_US | NPT_A;
}

/*
 * With the power-on PAT, PCD:PWT select WB, WT, UC-, UC (APM vol. 2, 7.8), the numbers of
 * TDP_MT_*, but for UC- where WC would be: npt_mt_ok() refuses that one.
 */
TDPI_ALWAYS_INLINE uint64_t npt_leaf(tdp_pa_t pa, unsigned level, struct tdpi_attr a, unsigned ad)
{
	uint64_t e = pa | NPT_P | NPT_US | (a.prot & TDP_W ? NPT_RW : 0);

	(void)ad;
	TDPI_ASSERT_DEBUG((a.prot & TDP_R) && !a.tracked);
	TDPI_ASSERT_DEBUG(FMT_LEAF_LEVELS >> level & 1);
	e |= (uint64_t)(a.prot >> TDP_MT_SHIFT & 3) << 3;
	e |= (uint64_t)((a.prot & TDP_SW_MASK) >> TDP_SW_SHIFT) << NPT_SW_SHIFT;
	e |= level ? NPT_PS : 0;
	e |= a.accessed ? NPT_A : 0;
	e |= a.dirty ? NPT_D : 0;
	e |= a.host_w ? NPT_HOST_W : 0;
	e |= a.mmu_w ? NPT_MMU_W : 0;
	e |= a.prot & TDP_X ? 0 : NPT_NX;
	return e;
}

/* The address is a number in the word's middle. */
static inline uint64_t npt_next(uint64_t leaf, unsigned level)
{
	return leaf + TDPI_BIT(TDP_PAGE_LG2 + FMT_INDEX_LG2 * level);
}

static inline unsigned npt_perm(uint64_t e, unsigned level, unsigned ad)
{
	(void)level;
	(void)ad;
	if (!(e & NPT_P))
		return 0;
	return TDP_R | (e & NPT_RW ? TDP_W : 0) | (e & NPT_NX ? 0 : TDP_X);
}

static inline struct tdpi_attr npt_attr(uint64_t e, unsigned level)
{
	uint32_t mt = (uint32_t)((e & NPT_MT) >> 3) << TDP_MT_SHIFT;
	uint32_t sw = (uint32_t)((e & NPT_SW) >> NPT_SW_SHIFT) << TDP_SW_SHIFT;
	struct tdpi_attr a;

	a.prot = (uint16_t)(npt_perm(e, level, 0) | mt | sw);
	a.host_w = (e & NPT_HOST_W) != 0;
	a.mmu_w = (e & NPT_MMU_W) != 0;
	a.accessed = (e & NPT_A) != 0;
	a.dirty = (e & NPT_D) != 0;
	a.tracked = false;
	return a;
}

/* PS becomes 0 in a 4K leaf, where bit 7 would select another half of the PAT. */
static inline uint64_t npt_split(uint64_t leaf, unsigned level, unsigned i)
{
	uint64_t e = leaf | (uint64_t)i << (TDP_PAGE_LG2 + FMT_INDEX_LG2 * (level - 1));

	return level == 1 ? e & ~NPT_PS : e;
}

static inline uint64_t npt_merge(uint64_t child, unsigned level)
{
	(void)level;
	return child | NPT_PS;
}

static inline bool npt_accessed(uint64_t e, unsigned level)
{
	(void)level;
	return e & NPT_A;
}

static inline bool npt_dirty(uint64_t e, unsigned level)
{
	(void)level;
	return e & NPT_D;
}

static inline uint64_t npt_a_bits(unsigned level)
{
	(void)level;
	return NPT_A;
}

static inline uint64_t npt_d_bits(unsigned level)
{
	(void)level;
	return NPT_D;
}

static inline uint64_t npt_old(uint64_t e, unsigned level, unsigned ad)
{
	(void)level;
	(void)ad;
	return e & ~NPT_A;
}

static inline uint64_t npt_young(uint64_t e, unsigned level, unsigned ad)
{
	(void)level;
	(void)ad;
	return e | NPT_A;
}

static inline uint64_t npt_w_bits(unsigned level)
{
	(void)level;
	return NPT_RW | NPT_D;
}

static inline uint64_t npt_wrprot(uint64_t e, unsigned level)
{
	return e & ~npt_w_bits(level);
}

static inline uint64_t npt_mkwrite(uint64_t e, unsigned level, unsigned ad)
{
	(void)level;
	(void)ad;
	TDPI_ASSERT((e & NPT_P) && (e & NPT_MMU_W) && (e & NPT_HOST_W));
	return e | NPT_RW | NPT_D;
}

static inline uint64_t npt_set_mmu_w(uint64_t e, unsigned level, bool on)
{
	(void)level;
	TDPI_ASSERT(on ? (e & NPT_HOST_W) != 0 : !(e & NPT_RW));
	return on ? e | NPT_MMU_W : e & ~NPT_MMU_W;
}

static inline uint64_t npt_volatile(uint64_t e, unsigned level, unsigned ad)
{
	uint64_t set = NPT_A;

	(void)ad;
	if (!(e & NPT_P))
		return 0;
	if ((e & NPT_RW) && npt_kind(e, level) == TDP_ENTRY_LEAF)
		set |= NPT_D;
	return set & ~e;
}

static inline uint64_t npt_settled(unsigned ad)
{
	(void)ad;
	return NPT_P | NPT_A | NPT_D;
}

static inline bool npt_mt_ok(uint32_t prot)
{
	uint32_t mt = prot & TDP_MT_MASK;

	return mt == TDP_MT_WB || mt == TDP_MT_WT || mt == TDP_MT_UC;
}

static inline bool npt_leaf_valid(uint64_t e, unsigned level, unsigned pa_bits)
{
	uint64_t size_lg2 = TDP_PAGE_LG2 + FMT_INDEX_LG2 * (uint64_t)level;

	if (!(FMT_LEAF_LEVELS >> level & 1) || !(e & NPT_US) || (e & (NPT_OFF | NPT_UNUSED)))
		return false;
	if ((e & NPT_PA) >> pa_bits || (e & NPT_PA & ~(~(uint64_t)0 << size_lg2)))
		return false;
	if (!(e & NPT_PS) != !level || !npt_mt_ok(npt_attr(e, level).prot))
		return false;
	if ((e & NPT_D) && !(e & NPT_RW))
		return false;
	return (!(e & NPT_RW) || (e & NPT_MMU_W)) && (!(e & NPT_MMU_W) || (e & NPT_HOST_W));
}

static inline bool npt_valid(uint64_t e, unsigned level, unsigned pa_bits)
{
	switch (npt_kind(e, level)) {
	case TDP_ENTRY_EMPTY: return e == npt_empty(level) || e == npt_empty_young(level);
	case TDP_ENTRY_FROZEN: return e == npt_frozen(level);
	case TDP_ENTRY_MMIO: return e == npt_mmio(level, npt_mmio_gen(e, level));
	case TDP_ENTRY_TABLE:
		return (e & ~(NPT_PA | NPT_A | NPT_RW)) == (NPT_P | NPT_US) &&
		       !((e & NPT_PA) >> pa_bits);
	case TDP_ENTRY_LEAF: return npt_leaf_valid(e, level, pa_bits);
	}
	return false;
}

/* As EPT: another address never directly. */
static inline bool npt_live_change_ok(uint64_t old, uint64_t new_, unsigned level,
				      unsigned bbm_level)
{
	(void)bbm_level;
	return npt_kind(old, level) != npt_kind(new_, level) ||
	       npt_pa(old, level) == npt_pa(new_, level);
}

static inline int npt_levels(unsigned gpa_bits, unsigned forced)
{
	unsigned need = gpa_bits <= 48 ? 4 : 5;

	if (gpa_bits <= TDP_PAGE_LG2 || gpa_bits > FMT_GPA_BITS_MAX)
		return TDP_ERANGE;
	if (!forced)
		return (int)need;
	return forced >= need && forced <= FMT_LEVELS_MAX ? (int)forced : TDP_ERANGE;
}

static inline unsigned npt_root_pages(unsigned gpa_bits, unsigned levels)
{
	(void)gpa_bits;
	(void)levels;
	return 1;
}

/*
 * nCR3; the number of levels is the host's CR4.LA57 at VMRUN (APM vol. 2, 15.25.3), so it is told
 * apart.
 */
static inline void npt_root_hw(const struct tdpi_root_geom *g, uint64_t hw[2])
{
	hw[0] = g->pa;
	hw[1] = g->levels == 5;
}

#define fmt_empty npt_empty
#define fmt_empty_young npt_empty_young
#define fmt_frozen npt_frozen
#define fmt_mmio npt_mmio
#define fmt_mmio_gen npt_mmio_gen
#define fmt_kind npt_kind
#define fmt_pa npt_pa
#define fmt_table npt_table
#define fmt_leaf npt_leaf
#define fmt_next npt_next
#define fmt_attr npt_attr
#define fmt_split npt_split
#define fmt_merge npt_merge
#define fmt_perm npt_perm
#define fmt_accessed npt_accessed
#define fmt_dirty npt_dirty
#define fmt_a_bits npt_a_bits
#define fmt_d_bits npt_d_bits
#define fmt_w_bits npt_w_bits
#define fmt_old npt_old
#define fmt_young npt_young
#define fmt_wrprot npt_wrprot
#define fmt_mkwrite npt_mkwrite
#define fmt_set_mmu_w npt_set_mmu_w
#define fmt_volatile npt_volatile
#define fmt_settled npt_settled
#define fmt_valid npt_valid
#define fmt_mt_ok npt_mt_ok
#define fmt_live_change_ok npt_live_change_ok
#define fmt_levels npt_levels
#define fmt_root_pages npt_root_pages
#define fmt_root_hw npt_root_hw

#endif
