/* SPDX-License-Identifier: BSD-2-Clause */
/* The hostile format: the laws, and words composed by hand from its definition in
 * lib/fmt/README.md. */
#include "fmt/test.h"

#include "laws.h"
#include "walked.h"

static const struct traits traits = {
	.id = TDP_FMT_TEST,
	.name = "test",
	.levels_min = 5,
	.levels_max = 5,
	.leaf_levels = 0xb,
	.index_lg2 = 4,
	.gpa_bits = 32,
	.pa_bits = 48,
	.root_pages = 1,
	.types = 0xf,
	.force = true,
	.exec_only = true,
	.exec_by_mode = true,
	.bbm = true,
	.below = {0, 1, 1},
	.ads = {0, TDPI_HW_A, TDPI_HW_A | TDPI_HW_D},
	.ad_count = 3,
	.meanings = 4 * 2 * 16 * 3 * ((32 + 18 + 21) + (32 + 18) + (40 + 18)), /* as in ept.c */
};

/* Which bit of a stored word bit n of the logical word is. */
static uint64_t at(unsigned n, unsigned level)
{
	return UINT64_C(1) << (n + 3 + 7 * level) % 64;
}

static bool mmu_present(uint64_t e, unsigned level)
{
	return !(e & at(63, level));
}

/* ABSENT, type, permissions, D, A, memory type, FORCE, address, and all that must be 0. */
static uint64_t mmu_bits(unsigned level)
{
	uint64_t bits = 0;

	for (unsigned n = 0; n < 64; n++)
		bits |= (n >= 7 && n <= 12) || n == 17 || n == 18 || n == 56 ? 0 : at(n, level);
	return bits;
}

static void test_golden_leaves(void **state)
{
	struct tdpi_attr a = {
		.prot = TDP_RWX, .host_w = true, .mmu_w = true, .accessed = true, .dirty = true};

	(void)state;
	/* XU 0x80000: 0x5801fa, by 3 */
	assert_int_equal(tst_leaf(0x5000, 0, a, 3), 0x2c00fd0);
	/* X alone 0x80010 with read denied 0x4, UC 0x6000, FORCE, SW0 and SW3 0x1200:
	 * 0xff00097216, by 24 */
	a = (struct tdpi_attr){.prot = TDP_X | TDP_MT_UC | TDP_MT_FORCE | TDP_SW(0) | TDP_SW(3)};
	assert_int_equal(tst_leaf(0xff000000, 3, a, 3), UINT64_C(0xff00097216000000));
	/* tracked: saved XU 56, XS and R 0x60000, WT 0x2000, 0x180, denied, type 2:
	 * 0x8100000001062186, by 10 */
	a = (struct tdpi_attr){
		.prot = TDP_R | TDP_X | TDP_MT_WT, .host_w = true, .mmu_w = true, .tracked = true};
	assert_int_equal(tst_leaf(0x10000, 1, a, 0), UINT64_C(0x418861a04));
	/* the last of the 256 pages of 64K of that 16M, at level 1: 0xffff097216, by 10 */
	assert_int_equal(tst_split(UINT64_C(0xff00097216000000), 3, 255),
			 UINT64_C(0x3fffc25c85800));
	/* R, XS 0x10, A 0x40: 0x500052, by 3; R, XU, A: 0x580042, by 3 */
	a = (struct tdpi_attr){.prot = TDP_R | TDP_XS, .accessed = true};
	assert_int_equal(tst_leaf(0x5000, 0, a, 3), 0x2800290);
	a.prot = TDP_R | TDP_XU;
	assert_int_equal(tst_leaf(0x5000, 0, a, 3), 0x2c00210);
	/* tracked, XU alone: 0x8100000001000006, by 10 */
	a = (struct tdpi_attr){.prot = TDP_XU, .tracked = true};
	assert_int_equal(tst_leaf(0x10000, 1, a, 0), UINT64_C(0x400001a04));
	assert_int_equal(tst_a_bits(0), 0x200);
	assert_int_equal(tst_d_bits(4), UINT64_C(1) << 36);
}

static void test_golden_others(void **state)
{
	static const uint64_t empty[5] = {0x4, 0x200, 0x10000, 0x800000, 0x40000000};

	(void)state;
	for (unsigned level = 0; level < 5; level++) {
		assert_int_equal(tst_empty(level), empty[level]);
		/* a page of zeroes is reserved all over, and so is type 3 */
		assert_int_equal(tst_perm(0, level, 3), 0);
		assert_int_equal(tst_perm(tst_out(3, level), level, 3), 0);
		assert_int_equal(tst_kind(tst_out(3, level), level), TDP_ENTRY_EMPTY);
		assert_false(tst_valid(tst_out(3, level), level, 48));
		assert_false(tst_valid(0, level, 48));
		assert_true(mmu_present(0, level));
	}
	assert_int_equal(tst_empty_young(0), 0x204);
	assert_int_equal(tst_frozen(0), 0x1c);
	assert_int_equal(tst_mmio(0, 0x1234), UINT64_C(0x91a00000c));
	/* 0x765432100001, by 10 and by 31 */
	assert_int_equal(tst_table(UINT64_C(0x7654321000), 1), UINT64_C(0x01d950c840000400));
	assert_int_equal(tst_table(UINT64_C(0x7654321000), 4), UINT64_C(0x1908000080003b2a));
}

static void test_reserved(void **state)
{
	const uint64_t page = 0x2c00fd0, table = UINT64_C(0x01d950c840000400);

	(void)state;
	assert_true(tst_valid(page, 0, 48) && tst_valid(table, 1, 48));
	for (unsigned n = 0; n < 64; n++) {
		if (n == 15 || n >= 57)
			assert_false(tst_valid(page ^ at(n, 0), 0, 48));
		/* saved permissions of a present leaf; of a table nothing but type and address */
		if (n == 17 || n == 18 || n == 56)
			assert_false(tst_valid(page ^ at(n, 0), 0, 48));
		if (n < 20 || n >= 56)
			assert_false(tst_valid(table ^ at(n, 1), 1, 48));
	}
	assert_false(tst_valid(page ^ at(2, 0), 0, 48));   /* W with read denied */
	assert_false(tst_valid(tst_out(0x102, 2), 2, 48)); /* no leaves at 2 and 4 */
	assert_false(tst_valid(tst_out(0x102, 4), 4, 48));
	assert_false(tst_valid(tst_out(UINT64_C(0x100002), 1), 1, 48)); /* 4K address at 64K */
	assert_true(tst_valid(tst_out(UINT64_C(0x1000002), 1), 1, 48));
	assert_int_equal(tst_kind(tst_out(0x1, 0), 0), TDP_ENTRY_EMPTY); /* nothing below level 0 */
}

static void test_geometry(void **state)
{
	struct tdpi_root_geom g = {.pa = 0x9000, .levels = 5, .pages = 1, .ad = 3};
	uint64_t hw[2] = {0, 0};

	(void)state;
	assert_int_equal(tst_levels(32, 0), 5);
	assert_int_equal(tst_levels(13, 5), 5);
	assert_int_equal(tst_levels(33, 0), TDP_ERANGE);
	assert_int_equal(tst_levels(12, 0), TDP_ERANGE);
	assert_int_equal(tst_levels(32, 4), TDP_ERANGE);
	assert_int_equal(tst_root_pages(32, 5), 1);
	tst_root_hw(&g, hw);
	assert_int_equal(hw[0], 0x9000);
	assert_int_equal(hw[1], 0x305);
	g.ad = TDPI_HW_A;
	tst_root_hw(&g, hw);
	assert_int_equal(hw[1], 0x105);
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
