/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intel EPT entries, 4 or 5 levels (SDM vol. 3C, 29.3.2 "EPT Translation Mechanism", formats in the
 * tables there; EPTP: 25.6.11).
 *
 * Without hardware A/D (EPTP bit 6 clear) the MMU ignores bits 8 and 9 and they stay what software
 * says. Without mode-based execute control it ignores bit 10, so that is written always. With it bit 10
 * alone makes a word present, so it is clear in all that is not. An access-tracked leaf has R, W, XS and XU
 * clear and a mark instead, and keeps R, XS and XU in ignored bits. Everything else in a non-present word
 * is ignored too, but for bit 63.
 */
#ifndef TDPI_FMT_EPT_H
#define TDPI_FMT_EPT_H

#include "fmt/contract.h"

#define EPT_R TDPI_BIT(0)
#define EPT_W TDPI_BIT(1)
#define EPT_XS TDPI_BIT(2)
#define EPT_MT_SHIFT 3
#define EPT_MT TDPI_MASK(5, 3)
#define EPT_IPAT TDPI_BIT(6)
#define EPT_PS TDPI_BIT(7)
#define EPT_A TDPI_BIT(8)
#define EPT_D TDPI_BIT(9)
#define EPT_XU TDPI_BIT(10)
#define EPT_RWX (EPT_R | EPT_W | EPT_XS | EPT_XU) /* any of them: present */
#define EPT_PA TDPI_MASK(51, 12)
#define EPT_HOST_W TDPI_BIT(52)
#define EPT_MMU_W TDPI_BIT(53)
#define EPT_TRACKED TDPI_BIT(54)
/* R, XS and XU of an access-tracked leaf; 57 and 58 mean something to the MMU in present words. */
#define EPT_SAVED_XS TDPI_BIT(55)
#define EPT_SAVED_XU TDPI_BIT(57)
#define EPT_SAVED_R TDPI_BIT(58)
#define EPT_SAVED (EPT_SAVED_R | EPT_SAVED_XS | EPT_SAVED_XU)
#define EPT_SW (TDPI_BIT(11) | TDPI_BIT(56) | TDPI_BIT(59) | TDPI_BIT(62))
/*
 * In present words 57, 58, 60 and 61 are verify guest paging, paging-write, supervisor shadow stack,
 * sub-page permissions: all left off.
 */
#define EPT_OFF (TDPI_BIT(60) | TDPI_BIT(61))
/*
 * Suppress #VE: set where the MMU looks at it, or a guest with #VE on would see the host's
 * absences.
 */
#define EPT_SVE TDPI_BIT(63)

/* In words with R, W, XS, XU and the mark clear, these two tell the kinds apart. */
#define EPT_IS_FROZEN EPT_HOST_W
#define EPT_IS_MMIO EPT_MMU_W
/* The generation of an MMIO word: 7 bits from 3 on, 1 bit at 11, 8 bits from 55 on. */
#define EPT_GEN (TDPI_MASK(9, 3) | TDPI_BIT(11) | TDPI_MASK(62, 55))

TDPI_STATIC_ASSERT((EPT_RWX | EPT_MT | EPT_IPAT | EPT_PS | EPT_A | EPT_D | EPT_PA | EPT_HOST_W |
		    EPT_MMU_W | EPT_TRACKED | EPT_SAVED | EPT_SW | EPT_OFF | EPT_SVE) ==
			   ~(uint64_t)0,
		   "every bit of a leaf is spoken for");
TDPI_STATIC_ASSERT((EPT_R + EPT_W + EPT_XS + EPT_MT + EPT_IPAT + EPT_PS + EPT_A + EPT_D + EPT_XU +
		    EPT_PA + EPT_HOST_W + EPT_MMU_W + EPT_TRACKED + EPT_SAVED_XS + EPT_SAVED_XU +
		    EPT_SAVED_R + EPT_SW + EPT_OFF + EPT_SVE) == ~(uint64_t)0,
		   "and only once");
TDPI_STATIC_ASSERT((EPT_GEN &
		    (EPT_RWX | EPT_TRACKED | EPT_PA | EPT_IS_FROZEN | EPT_IS_MMIO | EPT_SVE)) == 0,
		   "no generation makes an MMIO word present, frozen or an address");
TDPI_STATIC_ASSERT(EPT_R == TDP_R && EPT_W == TDP_W && EPT_XS == TDP_XS && EPT_XU == TDP_XU << 7,
		   "same bits, but for XU");

#define FMT_NS(name) tdpi_ept_##name
#define FMT_ID TDP_FMT_EPT
#define FMT_NAME "ept"
#define FMT_INDEX_LG2 9
#define FMT_LEVELS_MIN 4
#define FMT_LEVELS_MAX 5
#define FMT_LEAF_LEVELS 0x7
#define FMT_GPA_BITS_MAX 52
#define FMT_PA_BITS_MAX 52
#define FMT_ROOT_PAGES_MAX 1
#define FMT_AD_ALWAYS 0
#define FMT_TABLE_A EPT_A
#define FMT_TABLE_W EPT_W
#define FMT_EXEC_ONLY 1
#define FMT_EXEC_BY_MODE 1
#define FMT_AF_FAULT 0
#define FMT_BBM 0

static inline uint64_t ept_empty(unsigned level)
{
	(void)level;
	return EPT_SVE;
}

static inline uint64_t ept_empty_young(unsigned level)
{
	(void)level;
	return EPT_SVE | EPT_A;
}

static inline uint64_t ept_frozen(unsigned level)
{
	(void)level;
	return EPT_SVE | EPT_IS_FROZEN;
}

/*
 * All address bits set: an L1TF-vulnerable CPU that uses them in spite of R = W = X = 0 finds no
 * memory.
 */
static inline uint64_t ept_mmio(unsigned level, uint32_t gen)
{
	(void)level;
	return EPT_SVE | EPT_IS_MMIO | EPT_PA | (uint64_t)(gen & 0x7f) << 3 |
	       (uint64_t)(gen & 0x80) << 4 | (uint64_t)(gen & 0xff00) << 47;
}

static inline uint32_t ept_mmio_gen(uint64_t e, unsigned level)
{
	(void)level;
	return (uint32_t)((e >> 3 & 0x7f) | (e >> 4 & 0x80) | (e >> 47 & 0xff00));
}

TDPI_ALWAYS_INLINE enum tdp_entry_kind ept_kind(uint64_t e, unsigned level)
{
	if (e & EPT_RWX)
		return level && !(e & EPT_PS) ? TDP_ENTRY_TABLE : TDP_ENTRY_LEAF;
	if (e & EPT_TRACKED)
		return TDP_ENTRY_LEAF;
	if (e & EPT_IS_MMIO)
		return TDP_ENTRY_MMIO;
	return e & EPT_IS_FROZEN ? TDP_ENTRY_FROZEN : TDP_ENTRY_EMPTY;
}

static inline tdp_pa_t ept_pa(uint64_t e, unsigned level)
{
	(void)level;
	return e & EPT_PA;
}

/* A is set beforehand so that no walk has to (without hardware A/D the bit is ignored). */
static inline uint64_t ept_table(tdp_pa_t pa, unsigned level)
{
	(void)level;
	return pa | EPT_RWX | EPT_A;
}

/* WB 6, WT 4, WC 1, UC 0 (SDM vol. 3C, 29.3.7): one nibble per TDP_MT_*, lowest first. */
static inline uint64_t ept_from_mt(uint32_t prot)
{
	return (uint64_t)(0x0146u >> (prot & TDP_MT_MASK) / 4 & 0x7) << EPT_MT_SHIFT;
}

/* The inverse: one nibble per EPT type. Types that are never written (2, 3, 5, 7) read as WB. */
static inline uint32_t ept_to_mt(uint64_t e)
{
	return (0x00010023u >> (e & EPT_MT) / 2 & 0x7) << TDP_MT_SHIFT;
}

static inline uint64_t ept_from_sw(uint32_t prot)
{
	uint64_t sw = (prot & TDP_SW_MASK) >> TDP_SW_SHIFT;

	if (tdpi_likely(!sw))
		return 0;
	return (sw & 1) << 11 | (sw & 2) << 55 | (sw & 4) << 57 | (sw & 8) << 59;
}

static inline uint32_t ept_to_sw(uint64_t e)
{
	uint64_t sw = (e >> 11 & 1) | (e >> 55 & 2) | (e >> 57 & 4) | (e >> 59 & 8);

	return tdpi_likely(!(e & EPT_SW)) ? 0 : (uint32_t)sw << TDP_SW_SHIFT;
}

/* Where an access-tracked leaf keeps what the permissions of a word were. */
static inline uint64_t ept_save(uint64_t e)
{
	return EPT_TRACKED | (e & EPT_R) << 58 | (e & EPT_XS) << 53 | (e & EPT_XU) << 47;
}

/* The inverse; nothing for a leaf that is not tracked. */
static inline uint64_t ept_saved(uint64_t e)
{
	if (tdpi_likely(!(e & EPT_TRACKED)))
		return 0;
	return (e & EPT_SAVED_R) >> 58 | (e & EPT_SAVED_XS) >> 53 | (e & EPT_SAVED_XU) >> 47;
}

TDPI_ALWAYS_INLINE uint64_t ept_leaf(tdp_pa_t pa, unsigned level, struct tdpi_attr a, unsigned ad)
{
	uint64_t rwx = (a.prot & (TDP_R | TDP_W | TDP_XS)) | (uint64_t)(a.prot & TDP_XU) << 7;
	uint64_t e = pa | EPT_SVE | ept_from_mt(a.prot) | ept_from_sw(a.prot);

	(void)ad;
	TDPI_ASSERT_DEBUG(FMT_LEAF_LEVELS >> level & 1);
	e |= a.tracked ? ept_save(rwx) : rwx;
	e |= a.prot & TDP_MT_FORCE ? EPT_IPAT : 0;
	e |= level ? EPT_PS : 0;
	e |= a.accessed ? EPT_A : 0;
	e |= a.dirty ? EPT_D : 0;
	e |= a.host_w ? EPT_HOST_W : 0;
	e |= a.mmu_w ? EPT_MMU_W : 0;
	return e;
}

/* The address is a number in the word's middle. */
static inline uint64_t ept_next(uint64_t leaf, unsigned level)
{
	return leaf + TDPI_BIT(TDP_PAGE_LG2 + FMT_INDEX_LG2 * level);
}

static inline unsigned ept_perm(uint64_t e, unsigned level, unsigned ad)
{
	(void)level;
	(void)ad;
	return (unsigned)((e & (EPT_R | EPT_W | EPT_XS)) | (e & EPT_XU) >> 7);
}

static inline struct tdpi_attr ept_attr(uint64_t e, unsigned level)
{
	uint32_t rwx = ept_perm(e | ept_saved(e), level, 0);
	uint32_t force = e & EPT_IPAT ? TDP_MT_FORCE : 0;
	struct tdpi_attr a;

	a.prot = (uint16_t)(rwx | ept_to_mt(e) | ept_to_sw(e) | force);
	a.host_w = (e & EPT_HOST_W) != 0;
	a.mmu_w = (e & EPT_MMU_W) != 0;
	a.accessed = (e & EPT_A) != 0;
	a.dirty = (e & EPT_D) != 0;
	a.tracked = !(e & EPT_RWX);
	return a;
}

static inline uint64_t ept_split(uint64_t leaf, unsigned level, unsigned i)
{
	uint64_t e = leaf | (uint64_t)i << (TDP_PAGE_LG2 + FMT_INDEX_LG2 * (level - 1));

	return level == 1 ? e & ~EPT_PS : e;
}

static inline uint64_t ept_merge(uint64_t child, unsigned level)
{
	(void)level;
	return child | EPT_PS;
}

static inline bool ept_accessed(uint64_t e, unsigned level)
{
	(void)level;
	return e & EPT_A;
}

static inline bool ept_dirty(uint64_t e, unsigned level)
{
	(void)level;
	return e & EPT_D;
}

static inline uint64_t ept_a_bits(unsigned level)
{
	(void)level;
	return EPT_A;
}

static inline uint64_t ept_d_bits(unsigned level)
{
	(void)level;
	return EPT_D;
}

static inline uint64_t ept_old(uint64_t e, unsigned level, unsigned ad)
{
	(void)level;
	if (ad & TDPI_HW_A)
		return e & ~EPT_A;
	/*
	 * Idempotent: a leaf that is tracked already has no R and X to save and keeps what it
	 * saved.
	 */
	return (e & ~(EPT_RWX | EPT_A | EPT_D)) | ept_save(e);
}

static inline uint64_t ept_young(uint64_t e, unsigned level, unsigned ad)
{
	(void)level;
	(void)ad;
	return (e & ~(EPT_TRACKED | EPT_SAVED)) | EPT_A | ept_saved(e);
}

static inline uint64_t ept_w_bits(unsigned level)
{
	(void)level;
	return EPT_W | EPT_D;
}

static inline uint64_t ept_wrprot(uint64_t e, unsigned level)
{
	return e & ~ept_w_bits(level);
}

/* W without R is a misconfiguration, so only a leaf that grants R can become writable. */
static inline uint64_t ept_mkwrite(uint64_t e, unsigned level, unsigned ad)
{
	(void)level;
	(void)ad;
	TDPI_ASSERT((e & EPT_R) && (e & EPT_MMU_W) && (e & EPT_HOST_W));
	return e | EPT_W | EPT_D;
}

static inline uint64_t ept_set_mmu_w(uint64_t e, unsigned level, bool on)
{
	(void)level;
	TDPI_ASSERT(on ? (e & EPT_HOST_W) != 0 : !(e & EPT_W));
	return on ? e | EPT_MMU_W : e & ~EPT_MMU_W;
}

/* EPTP bit 6 switches A and D together. Tables have A only; bit 9 is nothing there. */
static inline uint64_t ept_volatile(uint64_t e, unsigned level, unsigned ad)
{
	uint64_t set = EPT_A;

	if (!(ad & TDPI_HW_A) || !(e & EPT_RWX))
		return 0;
	if ((e & EPT_W) && ept_kind(e, level) == TDP_ENTRY_LEAF)
		set |= EPT_D;
	return set & ~e;
}

/* D stands only beside W. */
static inline uint64_t ept_settled(unsigned ad)
{
	return ad & TDPI_HW_A ? EPT_R | EPT_A | EPT_D : EPT_R;
}

static inline bool ept_leaf_valid(uint64_t e, unsigned level, unsigned pa_bits)
{
	uint64_t size_lg2 = TDP_PAGE_LG2 + FMT_INDEX_LG2 * (uint64_t)level;

	if (!(FMT_LEAF_LEVELS >> level & 1) || !(e & EPT_SVE) || (e & EPT_OFF))
		return false;
	if ((e & EPT_PA) >> pa_bits || (e & EPT_PA & ~(~(uint64_t)0 << size_lg2)))
		return false;
	if (!(e & EPT_PS) != !level || ept_from_mt(ept_to_mt(e)) != (e & EPT_MT))
		return false;
	/* Tracked: nothing granted, nothing accessed. Else nothing saved, and W only beside R. */
	if (e & EPT_TRACKED ? (e & (EPT_RWX | EPT_A | EPT_D)) || !(e & EPT_SAVED)
			    : (e & EPT_SAVED) || (e & (EPT_R | EPT_W)) == EPT_W)
		return false;
	if ((e & EPT_D) && !(e & EPT_W))
		return false;
	return (!(e & EPT_W) || (e & EPT_MMU_W)) && (!(e & EPT_MMU_W) || (e & EPT_HOST_W));
}

static inline bool ept_valid(uint64_t e, unsigned level, unsigned pa_bits)
{
	switch (ept_kind(e, level)) {
	case TDP_ENTRY_EMPTY: return e == ept_empty(level) || e == ept_empty_young(level);
	case TDP_ENTRY_FROZEN: return e == ept_frozen(level);
	case TDP_ENTRY_MMIO: return e == ept_mmio(level, ept_mmio_gen(e, level));
	case TDP_ENTRY_TABLE:
		return (e & ~(EPT_PA | EPT_A | EPT_W)) == (EPT_RWX & ~EPT_W) &&
		       !((e & EPT_PA) >> pa_bits);
	case TDP_ENTRY_LEAF: return ept_leaf_valid(e, level, pa_bits);
	}
	return false;
}

static inline bool ept_mt_ok(uint32_t prot)
{
	return (prot & TDP_MT_MASK) <= TDP_MT_UC;
}

/*
 * Any change of attributes, and a table for a leaf of the same memory; another address never
 * directly.
 */
static inline bool ept_live_change_ok(uint64_t old, uint64_t new_, unsigned level,
				      unsigned bbm_level)
{
	(void)bbm_level;
	return ept_kind(old, level) != ept_kind(new_, level) ||
	       ept_pa(old, level) == ept_pa(new_, level);
}

static inline int ept_levels(unsigned gpa_bits, unsigned forced)
{
	unsigned need = gpa_bits <= 48 ? 4 : 5;

	if (gpa_bits <= TDP_PAGE_LG2 || gpa_bits > FMT_GPA_BITS_MAX)
		return TDP_ERANGE;
	if (!forced)
		return (int)need;
	return forced >= need && forced <= FMT_LEVELS_MAX ? (int)forced : TDP_ERANGE;
}

static inline unsigned ept_root_pages(unsigned gpa_bits, unsigned levels)
{
	(void)gpa_bits;
	(void)levels;
	return 1;
}

/* EPTP: write-back walks, walk length - 1, A/D enable (SDM vol. 3C, table 25-9). */
static inline void ept_root_hw(const struct tdpi_root_geom *g, uint64_t hw[2])
{
	hw[0] = g->pa | 6 | (uint64_t)(g->levels - 1) << 3 | (g->ad & TDPI_HW_A ? TDPI_BIT(6) : 0);
	hw[1] = 0;
}

#define fmt_empty ept_empty
#define fmt_empty_young ept_empty_young
#define fmt_frozen ept_frozen
#define fmt_mmio ept_mmio
#define fmt_mmio_gen ept_mmio_gen
#define fmt_kind ept_kind
#define fmt_pa ept_pa
#define fmt_table ept_table
#define fmt_leaf ept_leaf
#define fmt_next ept_next
#define fmt_attr ept_attr
#define fmt_split ept_split
#define fmt_merge ept_merge
#define fmt_perm ept_perm
#define fmt_accessed ept_accessed
#define fmt_dirty ept_dirty
#define fmt_a_bits ept_a_bits
#define fmt_d_bits ept_d_bits
#define fmt_w_bits ept_w_bits
#define fmt_old ept_old
#define fmt_young ept_young
#define fmt_wrprot ept_wrprot
#define fmt_mkwrite ept_mkwrite
#define fmt_set_mmu_w ept_set_mmu_w
#define fmt_volatile ept_volatile
#define fmt_settled ept_settled
#define fmt_valid ept_valid
#define fmt_mt_ok ept_mt_ok
#define fmt_live_change_ok ept_live_change_ok
#define fmt_levels ept_levels
#define fmt_root_pages ept_root_pages
#define fmt_root_hw ept_root_hw

#endif
