/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a format writes, walked by the emulated MMU, which decodes it from the manuals by itself:
 * every representable leaf at the end of a path of tables, in several geometries. Included after
 * laws.h.
 */
#ifndef TESTS_FORMAT_WALKED_H
#define TESTS_FORMAT_WALKED_H

#include <tdp/emu.h>

/* One table per level; each has one entry that is not empty. */
static struct path {
	tdp_pa_t table[TDP_LEVELS_MAX];
	uint64_t index[TDP_LEVELS_MAX];
	uint64_t entry[TDP_LEVELS_MAX];
	unsigned levels;
	uint64_t hw[2];
	tdp_gpa_t gpa;
} path;

static int read_path(void *arg, tdp_pa_t pa, uint64_t *entry)
{
	const struct path *p = arg;

	for (unsigned level = 0; level < p->levels; level++) {
		if (pa >> 16 != p->table[level] >> 16)
			continue;
		*entry = (pa - p->table[level]) / 8 == p->index[level] ? p->entry[level]
								       : fmt_empty(level);
		return 0;
	}
	return -1;
}

/* A path to an address of gpa_bits; tables are 64K apart and aligned, so that 16 roots fit. */
static bool make_path(unsigned gpa_bits, unsigned ad)
{
	struct tdpi_root_geom g = {
		.gpa_bits = gpa_bits, .ad = ad, .vmid = 5, .pa_bits = traits.pa_bits};
	int levels = gpa_bits <= traits.gpa_bits ? fmt_levels(gpa_bits, 0) : TDP_ERANGE;

	if (levels < 0)
		return false;
	path.levels = (unsigned)levels;
	path.gpa = UINT64_C(0xfedcba9876543210) & ((UINT64_C(1) << gpa_bits) - 1);
	path.gpa |= UINT64_C(1) << (gpa_bits - 1);
	for (unsigned level = 0; level < path.levels; level++) {
		path.table[level] = UINT64_C(0x7ab0000000) + (level << 16);
		path.index[level] = path.gpa >> (12 + traits.index_lg2 * level);
		if (level < path.levels - 1)
			path.index[level] &= (1u << traits.index_lg2) - 1;
		if (level)
			path.entry[level] = fmt_table(path.table[level - 1], level);
	}
	g.pa = path.table[path.levels - 1];
	g.levels = path.levels;
	g.pages = fmt_root_pages(gpa_bits, path.levels);
	assert_in_range(g.pages, 1, traits.root_pages);
	fmt_root_hw(&g, path.hw);
	return true;
}

static const unsigned widths[] = {32, 34, 39, 40, 43, 44, 48, 52};

static uint32_t walk_caps = TDP_CAP_EXEC_ONLY | TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY;

static struct tdp_emu_exit walk_path(uint32_t access)
{
	struct tdp_emu_exit exit;
	int reason = tdp_emu_walk_foreign(traits.id, path.hw, walk_caps, read_path, &path, path.gpa,
					  access, &exit);

	if (reason < 0)
		fail_msg("registers %#" PRIx64 " %#" PRIx64 " refused: %d", path.hw[0], path.hw[1],
			 reason);
	return exit;
}

/* A fault that tdp_fault() can mend: at the right place, for the right access, no reserved bit. */
static uint32_t expect_fault(const struct tdp_emu_exit *exit, uint32_t access, uint64_t e)
{
	struct tdp_fault fault;

	if (tdp_emu_decode(exit, &fault) != TDP_OK)
		fail_msg("%#" PRIx64 ": exit %u for access %u is no fault", e, exit->reason,
			 access);
	assert_int_equal(fault.gpa, path.gpa);
	assert_int_equal(fault.access, access);
	if (fault.flags & TDP_FAULT_RSVD)
		fail_msg("%#" PRIx64 " is reserved for the MMU", e);
	return fault.flags;
}

static unsigned walk_ad, granted, refused;

/* What an access by this walker needs, of the permissions that a word means. */
static uint32_t need(uint32_t access)
{
	if (!(access & TDP_X) || !traits.exec_by_mode || !(walk_caps & TDP_CAP_EXEC_BY_MODE))
		return access & TDP_RWX;
	return access & TDP_EMU_USER ? TDP_XU : TDP_XS;
}

static void law_walk(unsigned level, unsigned ad, uint64_t pa, struct tdpi_attr a)
{
	uint64_t e = fmt_leaf(pa, level, a, ad);
	uint64_t offset = (UINT64_C(1) << (12 + traits.index_lg2 * level)) - 1;
	uint32_t x = a.prot & TDP_X;
	uint64_t saved;

	/* What tells modes apart is only for walkers that do. */
	if (x && x != TDP_X && !(walk_caps & TDP_CAP_EXEC_BY_MODE))
		return;
	if (ad != walk_ad || level >= path.levels || (a.prot & TDP_SW_MASK) > TDP_SW(1))
		return;
	saved = path.entry[level];
	path.entry[level] = e;
	for (unsigned i = 0; i < 4; i++) {
		static const uint32_t accesses[] = {TDP_R, TDP_W, TDP_X, TDP_X | TDP_EMU_USER};
		uint32_t access = accesses[i];
		struct tdp_emu_exit exit = walk_path(access);

		if (need(access) & ~fmt_perm(e, level, ad)) {
			uint32_t flags = expect_fault(&exit, need(access), e);

			/* Bit 6 of a qualification, XU, is undefined for most: it is not asked. */
			assert_int_equal(!(flags & TDP_FAULT_PRESENT),
					 a.tracked || (traits.id == TDP_FMT_EPT &&
						       (a.prot & TDP_RWX) == TDP_XU));
			refused++;
			continue;
		}
		if (exit.reason != TDP_EMU_OK)
			fail_msg("%#" PRIx64 " level %u: access %u refused (%u)", e, level, access,
				 exit.reason);
		assert_int_equal(exit.pa, pa + (path.gpa & offset));
		assert_int_equal(exit.lg2, 12 + traits.index_lg2 * level);
		granted++;
	}
	path.entry[level] = saved;
}

/* In every geometry, or in the first that the format has; returns in how many. */
static unsigned walk_geometries(bool all)
{
	unsigned walked = 0;

	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		for (unsigned j = 0; j < traits.ad_count; j++) {
			walk_ad = traits.ads[j];
			if (!make_path(widths[i], walk_ad))
				continue;
			for_each(law_walk);
			walked++;
		}
		if (walked && !all)
			break;
	}
	return walked;
}

static void test_walked_leaves(void **state)
{
	(void)state;
	assert_true(walk_geometries(false) >= traits.ad_count);
	/* A format that cannot tell modes apart does not begin to. */
	walk_caps |= TDP_CAP_EXEC_BY_MODE;
	assert_true(walk_geometries(true) >= traits.ad_count);
	assert_true(granted > 1000 && refused > 1000);
}

static void test_walked_absent(void **state)
{
	(void)state;
	walk_caps |= TDP_CAP_EXEC_BY_MODE; /* such an MMU takes more words for present */
	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		if (!make_path(widths[i], traits.ads[0]))
			continue;
		for (unsigned level = 0; level < path.levels; level++) {
			const uint64_t words[] = {fmt_empty(level),	   fmt_empty_young(level),
						  fmt_frozen(level),	   fmt_mmio(level, 0),
						  fmt_mmio(level, 0xffff), fmt_mmio(level, 0x5a5a)};
			uint64_t saved = path.entry[level];

			for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++) {
				struct tdp_emu_exit exit;

				path.entry[level] = words[w];
				exit = walk_path(TDP_W);
				assert_false(expect_fault(&exit, TDP_W, words[w]) &
					     TDP_FAULT_PRESENT);
			}
			path.entry[level] = saved;
		}
	}
}

#define WALKED cmocka_unit_test(test_walked_leaves), cmocka_unit_test(test_walked_absent)

#endif
