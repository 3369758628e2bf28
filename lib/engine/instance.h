/* SPDX-License-Identifier: BSD-2-Clause */
/* The last include of an instance (lib/fmt/inst_<format>.c): all templates, and the engine object. */
#ifndef TDPI_ENGINE_INSTANCE_H
#define TDPI_ENGINE_INSTANCE_H

#include "engine/look.h"
#include "engine/mmio.h"
#include "engine/straight.h"
#include "engine/track.h"
#include "engine/zap.h"

static int instance_levels(unsigned gpa_bits, unsigned forced)
{
	return fmt_levels(gpa_bits, forced);
}

static unsigned instance_root_pages(unsigned gpa_bits, unsigned levels)
{
	return fmt_root_pages(gpa_bits, levels);
}

static void instance_root_hw(const struct tdpi_root_geom *g, uint64_t hw[2])
{
	fmt_root_hw(g, hw);
}

/* Can a leaf say this? Every leaf has R, or X alone, and X for both modes or none; less where that exists. */
static bool instance_prot_ok(uint32_t prot, uint32_t caps)
{
	uint32_t x = prot & TDP_X;

	if (prot & ~TDP_PROT_MASK || !fmt_mt_ok(prot))
		return false;
	if (x && x != TDP_X && !(FMT_EXEC_BY_MODE && caps & TDP_CAP_EXEC_BY_MODE))
		return false;
	return prot & TDP_R || (FMT_EXEC_ONLY && caps & TDP_CAP_EXEC_ONLY && x && !(prot & TDP_W));
}

/*
 * Tables one fault can take: a path down, or a split at each level on the way; where leaves skip a level
 * (no leaf at level 2) one split is a table and one below each of its entries.
 */
#define FAULT_TABLES (FMT_LEVELS_MAX + (FMT_LEAF_LEVELS & 4 ? 0u : ENTRIES + 1))

const struct tdpi_engine FMT_NS(engine) = {
	.format = FMT_ID,
	.index_lg2 = FMT_INDEX_LG2,
	.leaf_levels = FMT_LEAF_LEVELS,
	.levels_max = FMT_LEVELS_MAX,
	.gpa_bits_max = FMT_GPA_BITS_MAX,
	.pa_bits_max = FMT_PA_BITS_MAX,
	.fault_tables = FAULT_TABLES,
	.ad_always = FMT_AD_ALWAYS,
	.table_a = FMT_TABLE_A != 0,
	.table_w = FMT_TABLE_W != 0,
	.levels = instance_levels,
	.root_pages = instance_root_pages,
	.root_hw = instance_root_hw,
	.prot_ok = instance_prot_ok,
	.fill = fill,
	.straight = straight,
	.fast = fast,
	.map = map,
	.map_mmio = map_mmio,
	.missing = missing,
	.zap = zap,
	.edge_tables = edge_tables,
	.zap_table = zap_table,
	.compact = compact,
	.teardown = teardown,
	.cut_off = cut_off,
	.collect = collect,
	.write_protect = write_protect,
	.harvest = harvest,
	.rearm = rearm,
	.arm_lazily = arm_lazily,
	.age = age,
	.split_need = split_need,
	.split = split,
	.candidate = candidate,
	.collapse = collapse,
	.translate = translate,
	.present = present,
	.leaf_info = leaf_info,
	.path = path,
	.walk = walk,
	.check = check,
};

#endif
