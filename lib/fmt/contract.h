/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an entry format must define. The engine (lib/engine) is written against these names and is
 * compiled once per format; a format is one header of functions (ept_leaf, …) that ends with one
 * alias for each of them (#define fmt_leaf ept_leaf). A translation unit includes one format
 * header, then contract_check.h, with which a missing function or one of another type does not
 * compile.
 *
 * Laws (tests/format checks them for every format, level and attribute):
 *   fmt_kind is total and kinds are disjoint; empty, frozen, mmio are not present for the MMU;
 *   fmt_attr(fmt_leaf(pa, l, a, ad), l) == a and fmt_pa(...) == pa for every representable a;
 *   whatever made a leaf, its word is the one that fmt_leaf() makes of what it means;
 *   fmt_split covers the leaf exactly; software bits never touch what the MMU reads;
 *   every function is pure; `level` is the level of the table that holds the entry (0: 4K leaves);
 *   what a function makes of a valid entry is valid: no illegal word is ever stored.
 *
 * `ad` is a constant of the root: which of A and D the MMU sets by itself. FMT_AD_ALWAYS formats do
 * not look at it and behave as with both.
 *
 * An encrypt_mask is part of every pa that goes in (also that of the root) and comes out. fmt_valid
 * knows nothing of it: clear it first, or have pa_bits include it.
 */
#ifndef TDPI_FMT_CONTRACT_H
#define TDPI_FMT_CONTRACT_H

#include "base/assert.h"
#include "base/bits.h"

#include <tdp/backend.h>
#include <tdp/walk.h>

#define TDPI_HW_A 1u
#define TDPI_HW_D 2u

/*
 * A leaf's meaning. Representable when: prot has R, or (exec-only formats) XS or XU without W; XS and XU
 * are alike, but in exec-by-mode formats; W implies mmu_w implies host_w; dirty implies W; with no
 * TDPI_HW_D: dirty == has W; tracked implies !accessed, no W, and no TDPI_HW_A (arm64: never tracked, a
 * clear AF is the tracking); fmt_mt_ok(prot); no TDP_MT_FORCE in formats that have no such bit (NPT,
 * arm64: dropped).
 */
struct tdpi_attr {
	uint16_t prot; /* TDP_R|W|XS|XU granted (tracked: saved), TDP_MT_*, FORCE, TDP_SW() */
	bool host_w;   /* backing permits writes */
	bool mmu_w;    /* the engine may grant W by itself (host_w and not write-tracked) */
	bool accessed;
	bool dirty;
	bool tracked; /* present for the engine, not for the MMU, until touched */
};

/* The next lower level that has leaves, of a bitmap of leaf levels with bit 0 set; level > 0. */
static inline unsigned tdpi_leaf_below(unsigned leaf_levels, unsigned level)
{
	while (!(leaf_levels >> --level & 1))
		;
	return level;
}

/* What a format needs from the mm to compose a root register value. */
struct tdpi_root_geom {
	tdp_pa_t pa;
	uint32_t gpa_bits;
	uint32_t levels;
	uint32_t pages; /* concatenated */
	uint32_t ad;    /* TDPI_HW_* */
	uint32_t vmid;
	uint32_t pa_bits;
};

/*
 * Constants that a format header defines:
 *   FMT_NS(name)       prefix of what an instance defines: tdpi_ept_name
 *   FMT_ID             enum tdp_format
 *   FMT_NAME           "ept"
 *   FMT_INDEX_LG2      9: log2 entries per table (a table is a 4 KiB page, whatever it uses of it)
 *   FMT_LEVELS_MIN/MAX of a tree
 *   FMT_LEAF_LEVELS    bitmap of levels where leaves exist (may have gaps; mask by tree height)
 *   FMT_GPA_BITS_MAX   widest input
 *   FMT_PA_BITS_MAX    widest output
 *   FMT_ROOT_PAGES_MAX 1, or 16 with concatenation
 *   FMT_AD_ALWAYS      1 when the MMU's A and D cannot be switched off (NPT)
 *   FMT_TABLE_A        the Accessed bit of entries that point to tables, which the MMU sets there when it sets it in
 *                      leaves; 0: there is none. fmt_table() has it set, as no walk then has to
 *   FMT_TABLE_W        the bit of entries that point to tables without which nothing below can be written; 0: such
 *                      entries carry no permissions
 *   FMT_EXEC_ONLY      1 when X without R exists
 *   FMT_EXEC_BY_MODE   1 when XS and XU can differ. Words with both or none mean the same for an MMU that
 *                      does not tell modes apart
 *   FMT_AF_FAULT       1 when a clear Accessed bit faults unless the MMU sets it (arm64)
 *   FMT_BBM            1 when live size or address changes need break-before-make
 *
 * Functions:
 *   uint64_t fmt_empty(unsigned level)  non-present value of a fresh table
 *   uint64_t fmt_empty_young(unsigned level)  non-present, remembers "was accessed"; kind EMPTY
 *   uint64_t fmt_frozen(unsigned level)  non-present, being changed; kind FROZEN
 *   uint64_t fmt_mmio(unsigned level, uint32_t gen)  non-present, gen < 2^16; kind MMIO
 *   uint32_t fmt_mmio_gen(uint64_t e, unsigned level)
 *   enum tdp_entry_kind fmt_kind(uint64_t e, unsigned level)
 *   tdp_pa_t fmt_pa(uint64_t e, unsigned level)  of a TABLE or LEAF, as stored (C-bit included)
 *   uint64_t fmt_table(tdp_pa_t pa, unsigned level)
 *          full permissions (narrowing is the leaves' job)
 *   uint64_t fmt_leaf(tdp_pa_t pa, unsigned level, struct tdpi_attr a, unsigned ad)
 *   uint64_t fmt_next(uint64_t leaf, unsigned level)  the same leaf over the next page of that size
 *   struct tdpi_attr fmt_attr(uint64_t e, unsigned level)
 *   uint64_t fmt_split(uint64_t leaf, unsigned level, unsigned i)
 *          part i of a huge leaf, itself a leaf at tdpi_leaf_below(FMT_LEAF_LEVELS, level). That is
 *          level - 1 in all formats but TEST (3 -> 1, i < 256: 16 tables below one).
 *          Same attributes, pa advanced by i pages of that level (arm64: block -> page at 0)
 *   uint64_t fmt_merge(uint64_t child, unsigned level)
 *          the leaf at `level` whose first part (as above) this is, inverse of
 *          fmt_split(., level, 0); the pa must be aligned
 *   unsigned fmt_perm(uint64_t e, unsigned level, unsigned ad)
 *          TDP_R|W|XS|XU the MMU grants now without a fault (arm64 DBM counts as W when ad has
 *          TDPI_HW_D; tracked or AF-clear without TDPI_HW_A: 0)
 *   bool fmt_accessed(uint64_t e, unsigned level);  bool fmt_dirty(...)  of a LEAF
 *   uint64_t fmt_a_bits(unsigned level)  to AND out to clear Accessed when the MMU sets it
 *   uint64_t fmt_d_bits(unsigned level)  to AND out to clear Dirty when the MMU sets it
 *   uint64_t fmt_w_bits(unsigned level)
 *          to AND out to write-protect: e & ~w_bits == fmt_wrprot(e) for any e, so also for what
 *          the MMU made of it meanwhile. (old ^ fmt_wrprot(old) lacks D, on arm64 even S2AP.W, when
 *          the MMU sets that just then.)
 *   uint64_t fmt_old(uint64_t e, unsigned level, unsigned ad)
 *          aged: Accessed cleared; without TDPI_HW_A made access-tracked: W and D dropped, the
 *          caller records dirty (AF_FAULT formats: AF cleared only)
 *   uint64_t fmt_young(uint64_t e, unsigned level, unsigned ad)
 *          touched: Accessed set, saved permissions restored (never W)
 *   uint64_t fmt_wrprot(uint64_t e, unsigned level)  W (and DBM, and D) cleared, mmu_w kept
 *   uint64_t fmt_mkwrite(uint64_t e, unsigned level, unsigned ad)
 *          W and D set (ad HW_D: DBM too); only for a leaf with R and mmu_w that is not tracked
 *          (fmt_young it first)
 *   uint64_t fmt_set_mmu_w(uint64_t e, unsigned level, bool on)
 *          on needs host_w; off implies wrprot done by caller
 *   uint64_t fmt_volatile(uint64_t e, unsigned level, unsigned ad)
 *          the bits the MMU could still set in this entry now (0: plain store is safe; always 0 in
 *          what is not present for the MMU, and in a fresh fmt_table); arm64 with HW_D: S2AP.W when
 *          DBM is set and W clear
 *   uint64_t fmt_settled(unsigned ad)
 *          a word of level 0 that has all of these bits is a leaf whose fmt_volatile() is 0 (not every such leaf has
 *          them); one that has those of them that are neither A nor D is a leaf all the same, that the MMU looks at,
 *          and each dirty leaf there has these; 0: there are no such bits
 *   bool fmt_valid(uint64_t e, unsigned level, unsigned pa_bits)
 *          no reserved bit, no illegal combination
 *   bool fmt_mt_ok(uint32_t prot)  the memory type can be said
 *   bool fmt_live_change_ok(uint64_t old, uint64_t new_, unsigned level, unsigned bbm_level)
 *          may replace old directly (else break before make); both present. x86: any change that
 *          keeps the address, and a table for a leaf or back (that it maps the same memory is the
 *          caller's knowledge)
 *   int  fmt_levels(unsigned gpa_bits, unsigned forced)
 *          number of levels; TDP_ERANGE: the format has no such width or levels; TDP_ENOTSUP:
 *          levels cannot be forced (arm64)
 *   unsigned fmt_root_pages(unsigned gpa_bits, unsigned levels)  the root is aligned to all of them
 *   void fmt_root_hw(const struct tdpi_root_geom *g, uint64_t hw[2])  register values
 */

#endif
