/* SPDX-License-Identifier: BSD-2-Clause */
/* AMD nested paging: the laws, and words composed by hand from the APM, vol. 2 (5.3, 5.4, 15.25).
 */
#include "fmt/npt.h"

#include "laws.h"
#include "walked.h"

static const struct traits traits = {
	.id = TDP_FMT_NPT,
	.name = "npt",
	.levels_min = 4,
	.levels_max = 5,
	.leaf_levels = 0x7,
	.index_lg2 = 9,
	.gpa_bits = 52,
	.pa_bits = 52,
	.root_pages = 1,
	.types = 0xb, /* no WC in the power-on PAT */
	.ad_always = true,
	.below = {0, 1, 2},
	.ads = {TDPI_HW_A | TDPI_HW_D},
	.ad_count = 1,
	/* Per type, SW bits and level: 2 (X) * 2 (A) * (3, and 2 if W). */
	.meanings = 3 * 16 * 3 * 20,
	.pa_field = UINT64_C(0x000ffffffffff000),
	.table_a = 1 << 5, /* APM vol. 2, 5.4.1 */
	.table_w = 1 << 1, /* the same */
};

static bool mmu_present(uint64_t e, unsigned level)
{
	(void)level;
	return e & 1;
}

/* 5.4.1: all but AVL (11:9, 58:52). */
static uint64_t mmu_bits(unsigned level)
{
	(void)level;
	return UINT64_C(0xf80ffffffffff1ff);
}

static void test_golden_leaves(void **state)
{
	struct tdpi_attr a = {
		.prot = TDP_RWX, .host_w = true, .mmu_w = true, .accessed = true, .dirty = true};

	(void)state;
	/* software 53, 52; D 6, A 5, U/S 2, R/W 1, P 0 */
	assert_int_equal(npt_leaf(UINT64_C(0x123456789000), 0, a, 3), UINT64_C(0x0030123456789067));
	/* SW3 57, SW0 54, 52; PS 7, A 5, PCD and PWT 4:3, U/S, P */
	a = (struct tdpi_attr){.prot = TDP_R | TDP_X | TDP_MT_UC | TDP_SW(0) | TDP_SW(3),
			       .host_w = true,
			       .accessed = true};
	assert_int_equal(npt_leaf(0x40200000, 1, a, 3), UINT64_C(0x02500000402000bd));
	/* NX 63, SW2 56, SW1 55; PS 7, PWT 3, U/S, P */
	a = (struct tdpi_attr){.prot = TDP_R | TDP_MT_WT | TDP_SW(1) | TDP_SW(2)};
	assert_int_equal(npt_leaf(0x80000000, 2, a, 3), UINT64_C(0x818000008000008d));
	/* X is for both modes or none */
	assert_int_equal(npt_attr(UINT64_C(0x818000008000008d), 2).prot & TDP_X, 0);
	assert_int_equal(npt_attr(UINT64_C(0x02500000402000bd), 1).prot & TDP_X, TDP_X);
	/* the fourth 4K of a 2M leaf has no bit 7, which would be PAT there */
	assert_int_equal(npt_split(UINT64_C(0x02500000402000bd), 1, 3),
			 UINT64_C(0x025000004020303d));
	assert_int_equal(npt_old(UINT64_C(0x0030123456789067), 0, 0), UINT64_C(0x0030123456789047));
	assert_int_equal(npt_wrprot(UINT64_C(0x0030123456789067), 0), UINT64_C(0x0030123456789025));
	/* A and D cannot be switched off: `ad` is not looked at */
	assert_int_equal(npt_volatile(UINT64_C(0x0030123456789007), 0, 0), 0x60);
}

static void test_golden_others(void **state)
{
	(void)state;
	for (unsigned level = 0; level < 5; level++) {
		assert_int_equal(npt_empty(level), 0);
		assert_int_equal(npt_empty_young(level), 0x20);
		assert_int_equal(npt_frozen(level), UINT64_C(0x0010000000000000));
		/* 53, all of 51:12; generation at 11:1 and 58:54 */
		assert_int_equal(npt_mmio(level, 0), UINT64_C(0x002ffffffffff000));
		assert_int_equal(npt_mmio(level, 0x1234), UINT64_C(0x00affffffffff468));
		assert_int_equal(npt_mmio(level, 0xffff), UINT64_C(0x07effffffffffffe));
		/* A 5, U/S, R/W, P */
		assert_int_equal(npt_table(UINT64_C(0x7654321000), level), UINT64_C(0x7654321027));
	}
	assert_int_equal(npt_volatile(UINT64_C(0x7654321007), 1, 3), 0x20);
}

static void test_reserved(void **state)
{
	const uint64_t page = UINT64_C(0x0030123456789067), large = UINT64_C(0x02500000402000bd);

	(void)state;
	assert_true(npt_valid(page, 0, 48) && npt_valid(large, 1, 48));
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t flip = UINT64_C(1) << bit;

		/* U/S, PAT (PS) and G, AVL and keys: never other than they are */
		if (bit == 2 || (bit >= 7 && bit <= 11) || (bit >= 58 && bit <= 62))
			assert_false(npt_valid(page ^ flip, 0, 48));
		if (bit == 2 || (bit >= 8 && bit <= 20) || (bit >= 58 && bit <= 62))
			assert_false(npt_valid(large ^ flip, 1, 48));
	}
	assert_false(npt_valid(page | 0x10, 0, 48));    /* UC- */
	assert_false(npt_valid(UINT64_C(0x85), 3, 48)); /* bit 7 of a PML4E */
	assert_false(npt_valid(UINT64_C(0x85), 4, 48));
	assert_true(npt_valid(UINT64_C(0x85), 2, 48));
	assert_true(npt_valid(UINT64_C(0x7654321025), 1, 48));
	assert_false(npt_valid(UINT64_C(0x7654321023), 1, 48));       /* narrowed table */
	assert_false(npt_valid(UINT64_C(0x8000007654321027), 1, 48)); /* NX on a table */
}

static void test_geometry(void **state)
{
	struct tdpi_root_geom g = {
		.pa = UINT64_C(0x8000000001000), .levels = 4, .pages = 1, .ad = 3};
	uint64_t hw[2] = {7, 7};

	(void)state;
	assert_int_equal(npt_levels(12, 0), TDP_ERANGE);
	assert_int_equal(npt_levels(48, 0), 4);
	assert_int_equal(npt_levels(49, 0), 5);
	assert_int_equal(npt_levels(52, 5), 5);
	assert_int_equal(npt_levels(53, 0), TDP_ERANGE);
	assert_int_equal(npt_levels(48, 5), 5);
	assert_int_equal(npt_levels(52, 4), TDP_ERANGE);
	assert_int_equal(npt_levels(32, 3), TDP_ERANGE);
	assert_int_equal(npt_root_pages(52, 5), 1);
	npt_root_hw(&g, hw);
	assert_int_equal(hw[0], UINT64_C(0x8000000001000));
	assert_int_equal(hw[1], 0);
	g.levels = 5;
	npt_root_hw(&g, hw);
	assert_int_equal(hw[1], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAWS,
		WALKED,
		cmocka_unit_test(test_golden_leaves),
		cmocka_unit_test(test_golden_others),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_geometry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
