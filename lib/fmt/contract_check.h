/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Holds the format header included before it to contract.h: each constant must be defined, each
 * function must exist with exactly the promised type. Included once per translation unit, after the
 * format.
 *
 * The functions are checked by _Generic on their address: one that is missing is an undeclared
 * identifier, one of another type selects no association. Neither compiles.
 */
#ifndef TDPI_FMT_CONTRACT_CHECK_H
#define TDPI_FMT_CONTRACT_CHECK_H

#include "fmt/contract.h"

#if !defined(FMT_NS) || !defined(FMT_ID) || !defined(FMT_NAME) || !defined(FMT_INDEX_LG2) ||       \
	!defined(FMT_LEVELS_MIN) || !defined(FMT_LEVELS_MAX) || !defined(FMT_LEAF_LEVELS) ||       \
	!defined(FMT_GPA_BITS_MAX) || !defined(FMT_PA_BITS_MAX) || !defined(FMT_ROOT_PAGES_MAX) || \
	!defined(FMT_AD_ALWAYS) || !defined(FMT_TABLE_A) || !defined(FMT_TABLE_W) ||               \
	!defined(FMT_EXEC_ONLY) || !defined(FMT_EXEC_BY_MODE) || !defined(FMT_AF_FAULT) ||         \
	!defined(FMT_BBM)
#error "the format header does not define all constants of fmt/contract.h"
#endif

#define TDPI_FMT_IS(fn, ...)                                                                       \
	_Static_assert(_Generic(&fn, __VA_ARGS__ : 1, default : 0), #fn " breaks fmt/contract.h")

TDPI_FMT_IS(fmt_empty, uint64_t (*)(unsigned));
TDPI_FMT_IS(fmt_empty_young, uint64_t (*)(unsigned));
TDPI_FMT_IS(fmt_frozen, uint64_t (*)(unsigned));
TDPI_FMT_IS(fmt_mmio, uint64_t (*)(unsigned, uint32_t));
TDPI_FMT_IS(fmt_mmio_gen, uint32_t (*)(uint64_t, unsigned));
TDPI_FMT_IS(fmt_kind, enum tdp_entry_kind (*)(uint64_t, unsigned));
TDPI_FMT_IS(fmt_pa, tdp_pa_t (*)(uint64_t, unsigned));
TDPI_FMT_IS(fmt_table, uint64_t (*)(tdp_pa_t, unsigned));
TDPI_FMT_IS(fmt_leaf, uint64_t (*)(tdp_pa_t, unsigned, struct tdpi_attr, unsigned));
TDPI_FMT_IS(fmt_next, uint64_t (*)(uint64_t, unsigned));
TDPI_FMT_IS(fmt_attr, struct tdpi_attr (*)(uint64_t, unsigned));
TDPI_FMT_IS(fmt_split, uint64_t (*)(uint64_t, unsigned, unsigned));
TDPI_FMT_IS(fmt_merge, uint64_t (*)(uint64_t, unsigned));
TDPI_FMT_IS(fmt_perm, unsigned (*)(uint64_t, unsigned, unsigned));
TDPI_FMT_IS(fmt_accessed, bool (*)(uint64_t, unsigned));
TDPI_FMT_IS(fmt_dirty, bool (*)(uint64_t, unsigned));
TDPI_FMT_IS(fmt_a_bits, uint64_t (*)(unsigned));
TDPI_FMT_IS(fmt_d_bits, uint64_t (*)(unsigned));
TDPI_FMT_IS(fmt_w_bits, uint64_t (*)(unsigned));
TDPI_FMT_IS(fmt_old, uint64_t (*)(uint64_t, unsigned, unsigned));
TDPI_FMT_IS(fmt_young, uint64_t (*)(uint64_t, unsigned, unsigned));
TDPI_FMT_IS(fmt_wrprot, uint64_t (*)(uint64_t, unsigned));
TDPI_FMT_IS(fmt_mkwrite, uint64_t (*)(uint64_t, unsigned, unsigned));
TDPI_FMT_IS(fmt_set_mmu_w, uint64_t (*)(uint64_t, unsigned, bool));
TDPI_FMT_IS(fmt_volatile, uint64_t (*)(uint64_t, unsigned, unsigned));
TDPI_FMT_IS(fmt_settled, uint64_t (*)(unsigned));
TDPI_FMT_IS(fmt_valid, bool (*)(uint64_t, unsigned, unsigned));
TDPI_FMT_IS(fmt_mt_ok, bool (*)(uint32_t));
TDPI_FMT_IS(fmt_live_change_ok, bool (*)(uint64_t, uint64_t, unsigned, unsigned));
TDPI_FMT_IS(fmt_levels, int (*)(unsigned, unsigned));
TDPI_FMT_IS(fmt_root_pages, unsigned (*)(unsigned, unsigned));
TDPI_FMT_IS(fmt_root_hw, void (*)(const struct tdpi_root_geom *, uint64_t *));

TDPI_STATIC_ASSERT(FMT_LEVELS_MIN >= 1 && FMT_LEVELS_MIN <= FMT_LEVELS_MAX, "levels");
TDPI_STATIC_ASSERT(FMT_LEVELS_MAX <= TDP_LEVELS_MAX, "a struct tdp_path holds every level");
TDPI_STATIC_ASSERT((FMT_LEAF_LEVELS)&1, "4K leaves always exist");
TDPI_STATIC_ASSERT((FMT_LEAF_LEVELS) < 1 << FMT_LEVELS_MAX, "no leaf above the root");
TDPI_STATIC_ASSERT(FMT_INDEX_LG2 + 3 <= TDP_PAGE_LG2, "a table fits its page");
TDPI_STATIC_ASSERT(!(FMT_AF_FAULT && FMT_AD_ALWAYS), "a clear Accessed bit cannot do both");

#endif
