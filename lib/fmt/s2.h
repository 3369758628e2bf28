/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arm VMSAv8-64 stage 2, 4 KiB granule, 48 bits (DDI 0487, D8.3 "Translation table descriptor
 * formats"). Our level l is the architecture's level 3 - l.
 *
 * Needs HCR_EL2.FWB = 0 and leaves VTCR_EL2.DS and HWU59..62 clear. A clear Access flag faults
 * unless the MMU sets it, so it is the access tracking. Dirty is S2AP[1] (write); with hardware
 * dirty state a writable leaf has DBM set and is clean while S2AP[1] is clear (D8.5, "Hardware
 * management of the Access flag and dirty state"). Without it DBM is never set.
 */
#ifndef TDPI_FMT_S2_H
#define TDPI_FMT_S2_H

#include "fmt/contract.h"

#define S2_VALID TDPI_BIT(0)
#define S2_NEXT TDPI_BIT(1) /* level > 0: a table, not a block; level 0: must be set */
#define S2_MT_SHIFT 2
#define S2_MT TDPI_MASK(5, 2)
#define S2_R TDPI_BIT(6)
#define S2_W TDPI_BIT(7)
#define S2_SH TDPI_MASK(9, 8) /* 0b11: inner shareable */
#define S2_AF TDPI_BIT(10)
#define S2_FNXS TDPI_BIT(11)
#define S2_PA TDPI_MASK(47, 12)
#define S2_RES0 TDPI_MASK(50, 48)
#define S2_DBM TDPI_BIT(51)
#define S2_CONT TDPI_BIT(52)
#define S2_XN0 TDPI_BIT(53) /* FEAT_XNX: XS is not as XU. Without it RES0, and never set */
#define S2_XN1 TDPI_BIT(54) /* no XU */
#define S2_HOST_W TDPI_BIT(55)
#define S2_MMU_W TDPI_BIT(56)
#define S2_SW_SHIFT 57
#define S2_SW TDPI_MASK(60, 57)
#define S2_OFF TDPI_MASK(63, 61)

#define S2_IS_FROZEN S2_HOST_W
#define S2_IS_MMIO S2_MMU_W
/* The generation of an MMIO word: 10 bits from 2 on, 6 bits from 48 on. */
#define S2_GEN_LO TDPI_MASK(11, 2)
#define S2_GEN_HI TDPI_MASK(53, 48)

TDPI_STATIC_ASSERT((S2_VALID | S2_NEXT | S2_MT | S2_R | S2_W | S2_SH | S2_AF | S2_FNXS | S2_PA |
		    S2_RES0 | S2_DBM | S2_CONT | S2_XN0 | S2_XN1 | S2_HOST_W | S2_MMU_W | S2_SW |
		    S2_OFF) == ~(uint64_t)0,
		   "every bit of a leaf is spoken for");
TDPI_STATIC_ASSERT((S2_VALID + S2_NEXT + S2_MT + S2_R + S2_W + S2_SH + S2_AF + S2_FNXS + S2_PA +
		    S2_RES0 + S2_DBM + S2_CONT + S2_XN0 + S2_XN1 + S2_HOST_W + S2_MMU_W + S2_SW +
		    S2_OFF) == ~(uint64_t)0,
		   "and only once");
TDPI_STATIC_ASSERT(((S2_GEN_LO | S2_GEN_HI) & (S2_VALID | S2_PA | S2_IS_FROZEN | S2_IS_MMIO)) == 0,
		   "no generation makes an MMIO word valid, frozen or an address");

#define FMT_NS(name) tdpi_s2_##name
#define FMT_ID TDP_FMT_S2_4K
#define FMT_NAME "s2_4k"
#define FMT_INDEX_LG2 9
#define FMT_LEVELS_MIN 2
#define FMT_LEVELS_MAX 4
/* Fewer with fewer levels: a tree of 2 starts with 2M entries. */
#define FMT_LEAF_LEVELS 0x7
#define FMT_GPA_BITS_MAX 48
#define FMT_PA_BITS_MAX 48
#define FMT_ROOT_PAGES_MAX 16
#define FMT_AD_ALWAYS 0
#define FMT_TABLE_A UINT64_C(0)
#define FMT_TABLE_W UINT64_C(0)
#define FMT_EXEC_ONLY 1
#define FMT_EXEC_BY_MODE 1
#define FMT_AF_FAULT 1
#define FMT_BBM 1

static inline uint64_t s2_empty(unsigned level)
{
	(void)level;
	return 0;
}

static inline uint64_t s2_empty_young(unsigned level)
{
	(void)level;
	return S2_AF;
}

static inline uint64_t s2_frozen(unsigned level)
{
	(void)level;
	return S2_IS_FROZEN;
}

static inline uint64_t s2_mmio(unsigned level, uint32_t gen)
{
	(void)level;
	return S2_IS_MMIO | S2_PA | (uint64_t)(gen & 0x3ff) << 2 |
	       (uint64_t)(gen >> 10 & 0x3f) << 48;
}

static inline uint32_t s2_mmio_gen(uint64_t e, unsigned level)
{
	(void)level;
	return (uint32_t)((e & S2_GEN_LO) >> 2 | (e & S2_GEN_HI) >> 48 << 10);
}

TDPI_ALWAYS_INLINE enum tdp_entry_kind s2_kind(uint64_t e, unsigned level)
{
	if (e & S2_VALID)
		return level && (e & S2_NEXT) ? TDP_ENTRY_TABLE : TDP_ENTRY_LEAF;
	if (e & S2_IS_MMIO)
		return TDP_ENTRY_MMIO;
	return e & S2_IS_FROZEN ? TDP_ENTRY_FROZEN : TDP_ENTRY_EMPTY;
}

static inline tdp_pa_t s2_pa(uint64_t e, unsigned level)
{
	(void)level;
	return e & S2_PA;
}

static inline uint64_t s2_table(tdp_pa_t pa, unsigned level)
{
	(void)level;
	return pa | S2_VALID | S2_NEXT;
}

/*
 * MemAttr[3:0] (D8.6, stage 2 with FWB off): WB 0b1111, WT 0b1010, WC as Normal-NC 0b0101, UC as
 * Device-nGnRE 0b0001; one nibble per TDP_MT_*. Normal memory is inner shareable; the field means
 * nothing for Device.
 */
static inline uint64_t s2_from_mt(uint32_t prot)
{
	uint64_t attr = 0x15afu >> (prot & TDP_MT_MASK) / 4 & 0xf;

	return attr << S2_MT_SHIFT | (attr & 0xc ? S2_SH : 0);
}

/* The inverse: two bits per MemAttr value. Others are never written and read as WB. */
static inline uint32_t s2_to_mt(uint64_t e)
{
	uint32_t attr = (uint32_t)((e & S2_MT) >> S2_MT_SHIFT);
	uint32_t table = TDP_MT_UC >> TDP_MT_SHIFT << 2 | TDP_MT_WC >> TDP_MT_SHIFT << 10 |
			 TDP_MT_WT >> TDP_MT_SHIFT << 20;

	return (table >> 2 * attr & 3) << TDP_MT_SHIFT;
}

/*
 * XN[1:0] (D8.4, stage 2 instruction execution): 00 EL1 and EL0, 01 EL0 only, 10 none, 11 EL1 only. Both or
 * none leave XN[0] clear, which is right with and without FEAT_XNX.
 */
static inline uint64_t s2_from_x(uint32_t prot)
{
	return (prot & TDP_XU ? 0 : S2_XN1) | (!(prot & TDP_XS) != !(prot & TDP_XU) ? S2_XN0 : 0);
}

static inline uint32_t s2_to_x(uint64_t e)
{
	return (e & S2_XN1 ? 0 : TDP_XU) | (!(e & S2_XN1) == !(e & S2_XN0) ? TDP_XS : 0);
}

TDPI_ALWAYS_INLINE uint64_t s2_leaf(tdp_pa_t pa, unsigned level, struct tdpi_attr a, unsigned ad)
{
	uint64_t e = pa | S2_VALID | s2_from_mt(a.prot);

	TDPI_ASSERT_DEBUG(!a.tracked && (FMT_LEAF_LEVELS >> level & 1));
	e |= (uint64_t)((a.prot & TDP_SW_MASK) >> TDP_SW_SHIFT) << S2_SW_SHIFT;
	e |= level ? 0 : S2_NEXT;
	e |= a.prot & TDP_R ? S2_R : 0;
	e |= a.dirty ? S2_W : 0;
	e |= a.prot & TDP_W && ad & TDPI_HW_D ? S2_DBM : 0;
	e |= s2_from_x(a.prot);
	e |= a.accessed ? S2_AF : 0;
	e |= a.host_w ? S2_HOST_W : 0;
	e |= a.mmu_w ? S2_MMU_W : 0;
	return e;
}

static inline struct tdpi_attr s2_attr(uint64_t e, unsigned level)
{
	uint32_t sw = (uint32_t)((e & S2_SW) >> S2_SW_SHIFT) << TDP_SW_SHIFT;
	uint32_t rwx = (e & S2_R ? TDP_R : 0) | (e & (S2_W | S2_DBM) ? TDP_W : 0) | s2_to_x(e);
	struct tdpi_attr a;

	(void)level;
	a.prot = (uint16_t)(rwx | s2_to_mt(e) | sw);
	a.host_w = (e & S2_HOST_W) != 0;
	a.mmu_w = (e & S2_MMU_W) != 0;
	a.accessed = (e & S2_AF) != 0;
	a.dirty = (e & S2_W) != 0;
	a.tracked = false;
	return a;
}

/* A page descriptor has bit 1 set where a block has it clear. */
static inline uint64_t s2_split(uint64_t leaf, unsigned level, unsigned i)
{
	uint64_t e = leaf | (uint64_t)i << (TDP_PAGE_LG2 + FMT_INDEX_LG2 * (level - 1));

	return level == 1 ? e | S2_NEXT : e;
}

static inline uint64_t s2_merge(uint64_t child, unsigned level)
{
	(void)level;
	return child & ~S2_NEXT;
}

/* The address is a number in the word's middle. */
static inline uint64_t s2_next(uint64_t leaf, unsigned level)
{
	return leaf + TDPI_BIT(TDP_PAGE_LG2 + FMT_INDEX_LG2 * level);
}

static inline unsigned s2_perm(uint64_t e, unsigned level, unsigned ad)
{
	unsigned perm;

	if (!(e & S2_VALID))
		return 0;
	if (s2_kind(e, level) == TDP_ENTRY_TABLE)
		return TDP_RWX;
	if (!(e & S2_AF) && !(ad & TDPI_HW_A))
		return 0;
	perm = (e & S2_R ? TDP_R : 0) | (e & S2_W ? TDP_W : 0) | s2_to_x(e);
	return e & S2_DBM && ad & TDPI_HW_D ? perm | TDP_W : perm;
}

static inline bool s2_accessed(uint64_t e, unsigned level)
{
	(void)level;
	return e & S2_AF;
}

static inline bool s2_dirty(uint64_t e, unsigned level)
{
	(void)level;
	return e & S2_W;
}

static inline uint64_t s2_a_bits(unsigned level)
{
	(void)level;
	return S2_AF;
}

/* With DBM set this leaves a writable, clean leaf. */
static inline uint64_t s2_d_bits(unsigned level)
{
	(void)level;
	return S2_W;
}

static inline uint64_t s2_old(uint64_t e, unsigned level, unsigned ad)
{
	(void)level;
	(void)ad;
	return e & ~S2_AF;
}

static inline uint64_t s2_young(uint64_t e, unsigned level, unsigned ad)
{
	(void)level;
	(void)ad;
	return e | S2_AF;
}

static inline uint64_t s2_w_bits(unsigned level)
{
	(void)level;
	return S2_W | S2_DBM;
}

static inline uint64_t s2_wrprot(uint64_t e, unsigned level)
{
	return e & ~s2_w_bits(level);
}

static inline uint64_t s2_mkwrite(uint64_t e, unsigned level, unsigned ad)
{
	(void)level;
	TDPI_ASSERT((e & S2_R) && (e & S2_MMU_W) && (e & S2_HOST_W));
	return e | S2_W | (ad & TDPI_HW_D ? S2_DBM : 0);
}

static inline uint64_t s2_set_mmu_w(uint64_t e, unsigned level, bool on)
{
	(void)level;
	TDPI_ASSERT(on ? (e & S2_HOST_W) != 0 : !(e & (S2_W | S2_DBM)));
	return on ? e | S2_MMU_W : e & ~S2_MMU_W;
}

/* Tables have no Access flag (FEAT_HAFT stays off). */
static inline uint64_t s2_volatile(uint64_t e, unsigned level, unsigned ad)
{
	uint64_t set = ad & TDPI_HW_A ? S2_AF : 0;

	if (!(e & S2_VALID) || s2_kind(e, level) == TDP_ENTRY_TABLE)
		return 0;
	if (ad & TDPI_HW_D && e & S2_DBM)
		set |= S2_W;
	return set & ~e;
}

static inline uint64_t s2_settled(unsigned ad)
{
	return S2_VALID | (ad & TDPI_HW_A ? S2_AF : 0) | (ad & TDPI_HW_D ? S2_W : 0);
}

static inline bool s2_leaf_valid(uint64_t e, unsigned level, unsigned pa_bits)
{
	uint64_t size_lg2 = TDP_PAGE_LG2 + FMT_INDEX_LG2 * (uint64_t)level;
	bool w = e & (S2_W | S2_DBM);

	if (!(FMT_LEAF_LEVELS >> level & 1) || !(e & S2_NEXT) != !!level)
		return false;
	if (e & (S2_OFF | S2_FNXS | S2_RES0 | S2_CONT))
		return false;
	if ((e & S2_PA) >> pa_bits || (e & S2_PA & ~(~(uint64_t)0 << size_lg2)))
		return false;
	if (s2_from_mt(s2_to_mt(e)) != (e & (S2_MT | S2_SH)))
		return false;
	if (!(e & S2_R) && (w || !s2_to_x(e)))
		return false;
	return (!w || (e & S2_MMU_W)) && (!(e & S2_MMU_W) || (e & S2_HOST_W));
}

static inline bool s2_valid(uint64_t e, unsigned level, unsigned pa_bits)
{
	switch (s2_kind(e, level)) {
	case TDP_ENTRY_EMPTY: return e == s2_empty(level) || e == s2_empty_young(level);
	case TDP_ENTRY_FROZEN: return e == s2_frozen(level);
	case TDP_ENTRY_MMIO: return e == s2_mmio(level, s2_mmio_gen(e, level));
	case TDP_ENTRY_TABLE:
		return (e & ~S2_PA) == (S2_VALID | S2_NEXT) && !((e & S2_PA) >> pa_bits);
	case TDP_ENTRY_LEAF: return s2_leaf_valid(e, level, pa_bits);
	}
	return false;
}

static inline bool s2_mt_ok(uint32_t prot)
{
	return (prot & TDP_MT_MASK) <= TDP_MT_UC;
}

/*
 * Another size needs FEAT_BBM level 2 (level 1 would need the nT bit), another address or memory
 * type always needs break-before-make ("Using break-before-make when updating translation table
 * entries"). Permissions, AF and DBM may change in place.
 */
static inline bool s2_live_change_ok(uint64_t old, uint64_t new_, unsigned level,
				     unsigned bbm_level)
{
	if (s2_kind(old, level) != s2_kind(new_, level))
		return bbm_level >= 2;
	return ((old ^ new_) & (S2_PA | S2_MT | S2_SH | S2_CONT)) == 0;
}

/*
 * Concatenates wherever it saves a level: an initial lookup with up to 4 bits more than a table has
 * uses up to 16 tables side by side (D8.2, concatenated translation tables). A start at the
 * architecture's level 0 would be refused by CPUs with less than 44 output bits anyway.
 */
static inline int s2_levels(unsigned gpa_bits, unsigned forced)
{
	unsigned levels = 2;

	if (forced)
		return TDP_ENOTSUP;
	/* T0SZ is at most 39 without FEAT_TTST. */
	if (gpa_bits < 25 || gpa_bits > FMT_GPA_BITS_MAX)
		return TDP_ERANGE;
	while (gpa_bits > TDP_PAGE_LG2 + FMT_INDEX_LG2 * levels + 4)
		levels++;
	return (int)levels;
}

static inline unsigned s2_root_pages(unsigned gpa_bits, unsigned levels)
{
	unsigned one = TDP_PAGE_LG2 + FMT_INDEX_LG2 * levels;

	return gpa_bits > one ? 1u << (gpa_bits - one) : 1;
}

/* VTCR_EL2.PS for an output width: the smallest size that holds it (D17.2, VTCR_EL2). */
static inline uint64_t s2_ps(uint32_t pa_bits)
{
	if (pa_bits > 44)
		return 5;
	if (pa_bits > 42)
		return 4;
	if (pa_bits > 40)
		return 3;
	if (pa_bits > 36)
		return 2;
	return pa_bits > 32;
}

/*
 * VTTBR_EL2 (VMID, BADDR; CnP clear) and VTCR_EL2: T0SZ, SL0 (4K: levels - 2), IRGN0 and ORGN0
 * write-back, SH0 inner, TG0 4K, PS, VS 16-bit VMID, HA, HD, RES1 bit 31.
 */
static inline void s2_root_hw(const struct tdpi_root_geom *g, uint64_t hw[2])
{
	hw[0] = g->pa | (uint64_t)(g->vmid & 0xffff) << 48;
	hw[1] = (64 - g->gpa_bits) | (uint64_t)(g->levels - 2) << 6 | 1 << 8 | 1 << 10 | 3 << 12 |
		s2_ps(g->pa_bits) << 16 | TDPI_BIT(19) | (g->ad & TDPI_HW_A ? TDPI_BIT(21) : 0) |
		(g->ad & TDPI_HW_D ? TDPI_BIT(22) : 0) | TDPI_BIT(31);
}

#define fmt_empty s2_empty
#define fmt_empty_young s2_empty_young
#define fmt_frozen s2_frozen
#define fmt_mmio s2_mmio
#define fmt_mmio_gen s2_mmio_gen
#define fmt_kind s2_kind
#define fmt_pa s2_pa
#define fmt_table s2_table
#define fmt_leaf s2_leaf
#define fmt_next s2_next
#define fmt_attr s2_attr
#define fmt_split s2_split
#define fmt_merge s2_merge
#define fmt_perm s2_perm
#define fmt_accessed s2_accessed
#define fmt_dirty s2_dirty
#define fmt_a_bits s2_a_bits
#define fmt_d_bits s2_d_bits
#define fmt_w_bits s2_w_bits
#define fmt_old s2_old
#define fmt_young s2_young
#define fmt_wrprot s2_wrprot
#define fmt_mkwrite s2_mkwrite
#define fmt_set_mmu_w s2_set_mmu_w
#define fmt_volatile s2_volatile
#define fmt_settled s2_settled
#define fmt_valid s2_valid
#define fmt_mt_ok s2_mt_ok
#define fmt_live_change_ok s2_live_change_ok
#define fmt_levels s2_levels
#define fmt_root_pages s2_root_pages
#define fmt_root_hw s2_root_hw

#endif
