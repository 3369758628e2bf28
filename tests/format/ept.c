/* SPDX-License-Identifier: BSD-2-Clause */
/* Intel EPT: the laws, and words composed by hand from the SDM, vol. 3C (29.3.2, 25.6.11). */
#include "fmt/ept.h"

#include "laws.h"
#include "walked.h"

static const struct traits traits = {
	.id = TDP_FMT_EPT,
	.name = "ept",
	.levels_min = 4,
	.levels_max = 5,
	.leaf_levels = 0x7,
	.index_lg2 = 9,
	.gpa_bits = 52,
	.pa_bits = 52,
	.root_pages = 1,
	.types = 0xf,
	.force = true,
	.exec_only = true,
	.exec_by_mode = true,
	.below = {0, 1, 2},
	.ads = {0, TDPI_HW_A, TDPI_HW_A | TDPI_HW_D},
	.ad_count = 3,
	/*
	 * Per type, FORCE, SW bits and level: R 4 (X) * 2 (A) * (3 + 1 if W, 2 with hardware D), X
	 * alone 3 * 2 * 3, and tracked, without hardware A, (4 + 3) * 3.
	 */
	.meanings = 4 * 2 * 16 * 3 * ((32 + 18 + 21) + (32 + 18) + (40 + 18)),
	.pa_field = UINT64_C(0x000ffffffffff000),
	.table_a = 1 << 8, /* SDM vol. 3C, tables 29-1, 29-3, 29-5, 29-7 */
	.table_w = 1 << 1, /* the same */
};

/* 29.3.2: an entry is present if any of bits 2:0 is 1, with mode-based execute control any of 10, 2:0. */
static bool mmu_present(uint64_t e, unsigned level)
{
	(void)level;
	return (e & 0x407) != 0;
}

/*
 * Tables 29-3, 29-5 and 29-7 (leaves of 1G, 2M, 4K): 2:0, 5:3, 6, 8, 9, 10, 51:12, 57, 58, 60, 63;
 * bit 7 in large ones, bit 61 in 4K ones.
 */
static uint64_t mmu_bits(unsigned level)
{
	return UINT64_C(0x960ffffffffff77f) | (level ? 0x80 : UINT64_C(1) << 61);
}

static void test_golden_leaves(void **state)
{
	struct tdpi_attr a = {
		.prot = TDP_RWX, .host_w = true, .mmu_w = true, .accessed = true, .dirty = true};

	(void)state;
	/* SVE 63; software 53, 52; XU 10, D 9, A 8; WB 6 at 5:3; XS, W, R */
	assert_int_equal(ept_leaf(UINT64_C(0x123456789000), 0, a, 3), UINT64_C(0x8030123456789737));
	assert_int_equal(ept_leaf(UINT64_C(0x123456789000), 0, a, 0), UINT64_C(0x8030123456789737));
	/* 63, 62 (SW3), 52, 11 (SW0), XU 10, A 8, PS 7, IPAT 6, WT 4 at 5:3, XS and R */
	a = (struct tdpi_attr){.prot = TDP_R | TDP_X | TDP_MT_WT | TDP_MT_FORCE | TDP_SW(0) |
				       TDP_SW(3),
			       .host_w = true,
			       .accessed = true};
	assert_int_equal(ept_leaf(0x40200000, 1, a, 3), UINT64_C(0xc010000040200de5));
	/* 63, 59 (SW2), 56 (SW1), XU 10, PS 7, UC 0, XS */
	a = (struct tdpi_attr){.prot = TDP_X | TDP_MT_UC | TDP_SW(1) | TDP_SW(2)};
	assert_int_equal(ept_leaf(0x80000000, 2, a, 3), UINT64_C(0x8900000080000484));
	/* access-tracked 54: 63, saved R 58, XU 57, XS 55; 53, 52, WC 1 at 5:3, nothing in 10, 2:0 */
	a = (struct tdpi_attr){
		.prot = TDP_R | TDP_X | TDP_MT_WC, .host_w = true, .mmu_w = true, .tracked = true};
	assert_int_equal(ept_leaf(UINT64_C(0xffffffffff000), 0, a, 0),
			 UINT64_C(0x86fffffffffff008));
	/* as an aged RWX leaf becomes without hardware A */
	assert_int_equal(ept_old(UINT64_C(0x8030123456789737), 0, 0), UINT64_C(0x86f0123456789030));
	assert_int_equal(ept_young(UINT64_C(0x86f0123456789030), 0, 0),
			 UINT64_C(0x8030123456789535));
	/* the fourth 4K of a 2M leaf has no bit 7 */
	assert_int_equal(ept_split(UINT64_C(0xc010000040200de5), 1, 3),
			 UINT64_C(0xc010000040203d65));
	assert_int_equal(ept_split(UINT64_C(0x8900000080000484), 2, 511),
			 UINT64_C(0x89000000bfe00484));
}

/* Bit 2 is execution from supervisor-mode linear addresses, bit 10 from user-mode ones (table 29-7). */
static void test_execute_by_mode(void **state)
{
	struct tdpi_attr a = {.prot = TDP_R | TDP_XS, .accessed = true};
	const uint64_t user = UINT64_C(0x8000000000005530), system = UINT64_C(0x8000000000005135);

	(void)state;
	/* 63, A 8, WB 6 at 5:3, XS 2, R 0 */
	assert_int_equal(ept_leaf(0x5000, 0, a, 0), system);
	assert_int_equal(ept_perm(system, 0, 0), TDP_R | TDP_XS);
	/* 63, XU 10, A 8, WB: bit 10 alone makes it present */
	a.prot = TDP_XU;
	assert_int_equal(ept_leaf(0x5000, 0, a, 0), user);
	assert_int_equal(ept_kind(user, 0), TDP_ENTRY_LEAF);
	assert_int_equal(ept_perm(user, 0, 0), TDP_XU);
	assert_int_equal(ept_volatile(user & ~UINT64_C(0x100), 0, 3), 0x100);
	/* aged: 63, XU saved at 57 beside the mark at 54; XS at 55 and R at 58; and back */
	assert_int_equal(ept_old(user, 0, 0), UINT64_C(0x8240000000005030));
	assert_int_equal(ept_kind(UINT64_C(0x8240000000005030), 0), TDP_ENTRY_LEAF);
	assert_int_equal(ept_perm(UINT64_C(0x8240000000005030), 0, 0), 0);
	assert_int_equal(ept_young(UINT64_C(0x8240000000005030), 0, 0), user);
	assert_int_equal(ept_old(system, 0, 0), UINT64_C(0x84c0000000005030));
	assert_int_equal(ept_young(UINT64_C(0x84c0000000005030), 0, 0), system);
	/* a 2M page whose parts keep it: 0x5 in 2:0 */
	assert_int_equal(ept_split(UINT64_C(0x80000000400001b5), 1, 1),
			 UINT64_C(0x8000000040001135));
}

static void test_golden_others(void **state)
{
	(void)state;
	for (unsigned level = 0; level < 5; level++) {
		assert_int_equal(ept_empty(level), UINT64_C(0x8000000000000000));
		assert_int_equal(ept_empty_young(level), UINT64_C(0x8000000000000100));
		assert_int_equal(ept_frozen(level), UINT64_C(0x8010000000000000));
		/* 63, 53, all of 51:12; generation at 9:3, 11 and 62:55; never bit 10 */
		assert_int_equal(ept_mmio(level, 0), UINT64_C(0x802ffffffffff000));
		assert_int_equal(ept_mmio(level, 0x1234), UINT64_C(0x892ffffffffff1a0));
		assert_int_equal(ept_mmio(level, 0x0180), UINT64_C(0x80affffffffff800));
		assert_int_equal(ept_mmio(level, 0xffff), UINT64_C(0xffaffffffffffbf8));
		/* XU 10, A 8, XS, W, R */
		assert_int_equal(ept_table(UINT64_C(0x7654321000), level), UINT64_C(0x7654321507));
	}
	/* a table whose A was cleared may get it back; its bit 9 is ignored */
	assert_int_equal(ept_volatile(UINT64_C(0x7654321407), 1, 3), 0x100);
	assert_int_equal(ept_volatile(UINT64_C(0x7654321407), 1, 0), 0);
}

/* 29.3.3.1: what a processor calls a misconfiguration, and bits it acts upon that are never used.
 */
static void test_reserved(void **state)
{
	const uint64_t page = UINT64_C(0x8030123456789737), large = UINT64_C(0xc010000040200de5);
	const unsigned off[] = {54, 55, 57, 58, 60, 61}; /* the first four: access-tracked only */

	(void)state;
	assert_true(ept_valid(page, 0, 48) && ept_valid(large, 1, 48));
	for (unsigned i = 0; i < 6; i++) {
		assert_false(ept_valid(page ^ UINT64_C(1) << off[i], 0, 48));
		assert_false(ept_valid(large ^ UINT64_C(1) << off[i], 1, 48));
	}
	for (unsigned type = 0; type < 8; type++) /* 2, 3, 7 reserved; 5 (WP) never used */
		assert_int_equal(ept_valid((page & ~UINT64_C(0x38)) | type << 3, 0, 48),
				 type == 0 || type == 1 || type == 4 || type == 6);
	assert_false(ept_valid(page & ~UINT64_C(1), 0, 48));         /* WX */
	assert_false(ept_valid(page & ~UINT64_C(0x405), 0, 48));     /* W alone */
	assert_false(ept_valid(page & ~UINT64_C(0x5), 0, 48));       /* W, XU */
	assert_false(ept_valid(page & ~(UINT64_C(1) << 63), 0, 48)); /* #VE for a host's absence */
	assert_false(ept_valid(large | 0x1000, 1, 48));              /* 20:12 of a 2M leaf */
	assert_false(
		ept_valid(UINT64_C(0x8000000040200080 | 0x31), 2, 48)); /* 29:12 of a 1G leaf */
	assert_false(ept_valid(UINT64_C(0x80000000000000b1), 3, 48));   /* no 512G leaves */
	assert_false(ept_valid(UINT64_C(0x80000000000000b1), 4, 48));
	assert_true(ept_valid(UINT64_C(0x80000000000000b1), 2, 48));
	for (unsigned bit = 3; bit < 8; bit++) /* 6:3 of a table are reserved, 7 makes it a leaf */
		assert_false(ept_valid(UINT64_C(0x7654321507) | UINT64_C(1) << bit, 1, 48));
	assert_true(ept_valid(UINT64_C(0x7654321507), 1, 48));
	assert_true(ept_valid(UINT64_C(0x7654321505), 1, 48));
	assert_false(ept_valid(UINT64_C(0x7654321503), 1, 48)); /* narrowed tables */
	assert_false(ept_valid(UINT64_C(0x7654321107), 1, 48));
	assert_false(ept_valid(UINT64_C(0x8040000000005030), 0, 48)); /* tracked, nothing saved */
}

static void test_geometry(void **state)
{
	struct tdpi_root_geom g = {.pa = 0x1000, .levels = 4, .pages = 1, .ad = 3};
	uint64_t hw[2] = {1, 1};

	(void)state;
	assert_int_equal(ept_levels(12, 0), TDP_ERANGE);
	assert_int_equal(ept_levels(13, 0), 4);
	assert_int_equal(ept_levels(48, 0), 4);
	assert_int_equal(ept_levels(49, 0), 5);
	assert_int_equal(ept_levels(52, 0), 5);
	assert_int_equal(ept_levels(53, 0), TDP_ERANGE);
	assert_int_equal(ept_levels(48, 4), 4);
	assert_int_equal(ept_levels(48, 5), 5);
	assert_int_equal(ept_levels(49, 4), TDP_ERANGE);
	assert_int_equal(ept_levels(40, 3), TDP_ERANGE);
	assert_int_equal(ept_levels(40, 6), TDP_ERANGE);
	assert_int_equal(ept_root_pages(48, 4), 1);
	/* table 25-9: 2:0 memory type 6, 5:3 walk length - 1, 6 A/D */
	ept_root_hw(&g, hw);
	assert_int_equal(hw[0], 0x105e);
	assert_int_equal(hw[1], 0);
	g = (struct tdpi_root_geom){.pa = UINT64_C(0xabcdef000), .levels = 5, .pages = 1};
	ept_root_hw(&g, hw);
	assert_int_equal(hw[0], UINT64_C(0xabcdef026));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAWS,
		WALKED,
		cmocka_unit_test(test_golden_leaves),
		cmocka_unit_test(test_execute_by_mode),
		cmocka_unit_test(test_golden_others),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_geometry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
