/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arm stage 2, 4K granule: the laws, and words composed by hand from DDI 0487 (D8.3 descriptors,
 * D8.6 stage 2 memory types, D8.2 concatenation; VTTBR_EL2 and VTCR_EL2 in D17.2).
 */
#include "fmt/s2.h"

#include "laws.h"
#include "walked.h"

static const struct traits traits = {
	.id = TDP_FMT_S2_4K,
	.name = "s2_4k",
	.levels_min = 2,
	.levels_max = 4,
	.leaf_levels = 0x7,
	.index_lg2 = 9,
	.gpa_bits = 48,
	.pa_bits = 48,
	.root_pages = 16,
	.types = 0xf,
	.exec_only = true,
	.exec_by_mode = true,
	.af_fault = true,
	.bbm = true,
	.below = {0, 1, 2},
	.ads = {0, TDPI_HW_A, TDPI_HW_A | TDPI_HW_D},
	.ad_count = 3,
	/* As in ept.c, but nothing is tracked and there is no FORCE. */
	.meanings = 4 * 16 * 3 * ((32 + 18) + (32 + 18) + (40 + 18)),
	.pa_field = UINT64_C(0x0000fffffffff000),
};

/* D8.3: bit 0 clear is an invalid descriptor, at level 3 (0 here) bit 1 clear is reserved. */
static bool mmu_present(uint64_t e, unsigned level)
{
	return (e & 1) && (level || e & 2);
}

/* All but 58:55, software's, and 62:59, which VTCR_EL2.HWU leaves to software, and 63. */
static uint64_t mmu_bits(unsigned level)
{
	(void)level;
	return UINT64_C(0x007fffffffffffff);
}

static void test_golden_leaves(void **state)
{
	struct tdpi_attr a = {
		.prot = TDP_RWX, .host_w = true, .mmu_w = true, .accessed = true, .dirty = true};
	const uint64_t pa = UINT64_C(0x123456789000);

	(void)state;
	/* software 56, 55; AF 10, SH 9:8 = 3, S2AP 7:6 = 3, MemAttr 5:2 = 15, page */
	assert_int_equal(s2_leaf(pa, 0, a, 0), UINT64_C(0x01801234567897ff));
	/* the MMU tracks dirty: DBM 51 as well */
	assert_int_equal(s2_leaf(pa, 0, a, 3), UINT64_C(0x01881234567897ff));
	/* clean: S2AP[1] clear */
	a.dirty = false;
	assert_int_equal(s2_leaf(pa, 0, a, 3), UINT64_C(0x018812345678977f));
	assert_int_equal(s2_volatile(UINT64_C(0x018812345678977f), 0, 3), 0x80);
	assert_int_equal(s2_volatile(UINT64_C(0x018812345678937f), 0, 3), 0x480);
	assert_int_equal(s2_volatile(UINT64_C(0x018812345678937f), 0, 1), 0x400);
	assert_int_equal(s2_perm(UINT64_C(0x018812345678977f), 0, 3), TDP_RWX);
	assert_int_equal(s2_perm(UINT64_C(0x018812345678977f), 0, 1), TDP_R | TDP_X);
	assert_int_equal(s2_perm(UINT64_C(0x018812345678937f), 0, 0), 0);
	/* SW3 60, SW0 57, 55; AF, SH, R, WT 0b1010, block */
	a = (struct tdpi_attr){.prot = TDP_R | TDP_X | TDP_MT_WT | TDP_SW(0) | TDP_SW(3),
			       .host_w = true,
			       .accessed = true};
	assert_int_equal(s2_leaf(0x40200000, 1, a, 3), UINT64_C(0x1280000040200769));
	/* SW2 59, SW1 58; SH, NC 0b0101, neither S2AP bit, block */
	a = (struct tdpi_attr){.prot = TDP_X | TDP_MT_WC | TDP_SW(1) | TDP_SW(2)};
	assert_int_equal(s2_leaf(0x80000000, 2, a, 3), UINT64_C(0x0c00000080000315));
	/* XN 54:53 = 0b10; AF, R, Device-nGnRE 0b0001, page */
	a = (struct tdpi_attr){.prot = TDP_R | TDP_MT_UC, .accessed = true};
	assert_int_equal(s2_leaf(UINT64_C(0xfffffffff000), 0, a, 0), UINT64_C(0x0040fffffffff447));
	/* XN 0b11, EL1 only; S2AP R; then 0b01, EL0 only, and without R (D8.4) */
	a = (struct tdpi_attr){.prot = TDP_R | TDP_XS, .accessed = true};
	assert_int_equal(s2_leaf(0x5000, 0, a, 0), UINT64_C(0x006000000000577f));
	assert_int_equal(s2_perm(UINT64_C(0x006000000000577f), 0, 0), TDP_R | TDP_XS);
	a.prot = TDP_XU;
	assert_int_equal(s2_leaf(0x5000, 0, a, 0), UINT64_C(0x002000000000573f));
	assert_int_equal(s2_perm(UINT64_C(0x002000000000573f), 0, 0), TDP_XU);
	/* the fourth 4K of a block is a page descriptor */
	assert_int_equal(s2_split(UINT64_C(0x1280000040200769), 1, 3),
			 UINT64_C(0x128000004020376b));
	assert_int_equal(s2_split(UINT64_C(0x0c00000080000315), 2, 2),
			 UINT64_C(0x0c00000080400315));
	assert_int_equal(s2_merge(UINT64_C(0x128000004020076b), 1), UINT64_C(0x1280000040200769));
}

static void test_golden_others(void **state)
{
	(void)state;
	for (unsigned level = 0; level < 4; level++) {
		assert_int_equal(s2_empty(level), 0);
		assert_int_equal(s2_empty_young(level), 0x400);
		assert_int_equal(s2_frozen(level), UINT64_C(0x0080000000000000));
		/* 56, all of 47:12; generation at 11:2 and 53:48 */
		assert_int_equal(s2_mmio(level, 0), UINT64_C(0x0100fffffffff000));
		assert_int_equal(s2_mmio(level, 0x1234), UINT64_C(0x0104fffffffff8d0));
		assert_int_equal(s2_mmio(level, 0xffff), UINT64_C(0x013ffffffffffffc));
		assert_int_equal(s2_table(UINT64_C(0x7654321000), level), UINT64_C(0x7654321003));
	}
}

static void test_reserved(void **state)
{
	const uint64_t page = UINT64_C(0x01801234567897ff), block = UINT64_C(0x1280000040200769);

	(void)state;
	assert_true(s2_valid(page, 0, 48) && s2_valid(block, 1, 48));
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t flip = UINT64_C(1) << bit;

		/* FnXS 11, RES0 50:48, Contiguous 52, 63:61; SH 9:8 other than inner */
		if (bit == 1 || bit == 8 || bit == 9 || bit == 11 || (bit >= 48 && bit <= 50) ||
		    bit == 52 || bit >= 61) {
			assert_false(s2_valid(page ^ flip, 0, 48));
			assert_false(s2_valid(block ^ flip, 1, 48));
		}
		/* nT 16 and the rest below a block's address */
		if (bit >= 12 && bit <= 20)
			assert_false(s2_valid(block ^ flip, 1, 48));
	}
	for (unsigned type = 0; type < 16; type++)
		assert_int_equal(s2_valid((page & ~UINT64_C(0x3c)) | type << 2, 0, 48),
				 type == 15 || type == 10 || type == 5);
	assert_false(s2_valid(UINT64_C(0x0000000000000769), 3, 48)); /* no 512G blocks */
	assert_false(s2_valid(UINT64_C(0x0000000040200769), 2, 48)); /* 29:12 of a 1G block */
	assert_false(s2_valid(UINT64_C(0x004012345678973f), 0, 48)); /* neither R nor X */
	assert_true(s2_valid(UINT64_C(0x006012345678973f), 0, 48));  /* X at EL1 */
	assert_true(s2_valid(UINT64_C(0x002012345678973f), 0, 48));  /* X at EL0 */
	assert_false(s2_valid(UINT64_C(0x01801234567897bf), 0, 48)); /* W without R */
	assert_false(s2_valid(UINT64_C(0x00881234567897ff), 0, 48)); /* W, not MMU-writable */
}

static void test_break_before_make(void **state)
{
	const uint64_t page = UINT64_C(0x01801234567897ff), block = UINT64_C(0x1280000040200769);

	(void)state;
	for (unsigned bbm_level = 0; bbm_level < 3; bbm_level++) {
		/* another memory type */
		assert_false(s2_live_change_ok(page, page ^ 0x28, 0, bbm_level));
		/* S2AP, XN, AF, DBM and software bits may change */
		assert_true(
			s2_live_change_ok(page, page ^ UINT64_C(0x1fc8000000000480), 0, bbm_level));
	}
	assert_false(s2_live_change_ok(block, UINT64_C(0x40200003), 1, 1));
	assert_true(s2_live_change_ok(block, UINT64_C(0x40200003), 1, 2));
	assert_true(s2_live_change_ok(UINT64_C(0x40200003), block, 1, 2));
	assert_false(s2_live_change_ok(UINT64_C(0x40200003), UINT64_C(0x40201003), 1, 2));
}

static void test_geometry(void **state)
{
	/* clang-format off */
	/* gpa_bits: levels, root pages (D8.2, initial lookup of stage 2, 4K granule) */
	static const struct { unsigned bits; int levels; unsigned pages; } want[] = {
		{25, 2, 1}, {30, 2, 1}, {31, 2, 2}, {32, 2, 4}, {33, 2, 8}, {34, 2, 16}, {35, 3, 1},
		{36, 3, 1}, {39, 3, 1}, {40, 3, 2}, {42, 3, 8}, {43, 3, 16}, {44, 4, 1}, {48, 4, 1},
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_int_equal(s2_levels(want[i].bits, 0), want[i].levels);
		assert_int_equal(s2_root_pages(want[i].bits, (unsigned)want[i].levels),
				 want[i].pages);
	}
	assert_int_equal(s2_levels(24, 0), TDP_ERANGE);
	assert_int_equal(s2_levels(49, 0), TDP_ERANGE);
	assert_int_equal(s2_levels(0, 0), TDP_ERANGE);
	assert_int_equal(s2_levels(40, 4), TDP_ENOTSUP);
}

/*
 * VTCR_EL2: T0SZ 5:0, SL0 7:6, IRGN0 9:8 = 1, ORGN0 11:10 = 1, SH0 13:12 = 3, TG0 15:14 = 0, PS
 * 18:16, VS 19 = 1, HA 21, HD 22, RES1 31. VTTBR_EL2: VMID 63:48.
 */
static void test_registers(void **state)
{
	/* clang-format off */
	static const struct {
		struct tdpi_root_geom g;
		uint64_t vttbr, vtcr;
	} want[] = {
		/* 40 bits, level 1 with 2 tables: T0SZ 24, SL0 1, PS 2 */
		{{.pa = 0x80002000, .gpa_bits = 40, .levels = 3, .pages = 2, .vmid = 0x1234,
		  .pa_bits = 40}, UINT64_C(0x1234000080002000), 0x800a3558},
		/* 48 bits, level 0: T0SZ 16, SL0 2, PS 5, HA, HD */
		{{.pa = UINT64_C(0xfffffffff000), .gpa_bits = 48, .levels = 4, .pages = 1, .ad = 3,
		  .vmid = 0xffff, .pa_bits = 48}, UINT64_C(0xfffffffffffff000), 0x806d3590},
		/* 32 bits, level 2 with 4 tables: T0SZ 32, SL0 0, PS 4, HA */
		{{.pa = 0x4000, .gpa_bits = 32, .levels = 2, .pages = 4, .ad = 1, .pa_bits = 44},
		 0x4000, 0x802c3520},
		/* 39 bits, level 1: T0SZ 25, SL0 1, PS 0 */
		{{.pa = 0x5000, .gpa_bits = 39, .levels = 3, .pages = 1, .vmid = 1, .pa_bits = 32},
		 UINT64_C(0x0001000000005000), 0x80083559},
		/* 43 bits, level 1 with 16 tables: T0SZ 21, SL0 1, PS 3; VMID beyond 16 bits */
		{{.pa = 0x10000, .gpa_bits = 43, .levels = 3, .pages = 16, .vmid = 0x50007,
		  .pa_bits = 42}, UINT64_C(0x0007000000010000), 0x800b3555},
		/* 34 bits, level 2 with 16 tables: T0SZ 30, SL0 0, PS 1; 33 needs the 36 of PS 1 */
		{{.pa = 0x20000, .gpa_bits = 34, .levels = 2, .pages = 16, .pa_bits = 36}, 0x20000,
		 0x8009351e},
		{{.pa = 0x20000, .gpa_bits = 34, .levels = 2, .pages = 16, .pa_bits = 33}, 0x20000,
		 0x8009351e},
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		uint64_t hw[2] = {0, 0};

		s2_root_hw(&want[i].g, hw);
		assert_int_equal(hw[0], want[i].vttbr);
		assert_int_equal(hw[1], want[i].vtcr);
	}
}

/* VTCR_EL2.PS, the smallest that holds an output width. */
static void test_output_sizes(void **state)
{
	static const unsigned bits[] = {32, 36, 40, 42, 44, 48};
	struct tdpi_root_geom g = {.gpa_bits = 39, .levels = 3, .pages = 1};
	uint64_t hw[2];

	(void)state;
	for (unsigned ps = 0; ps < 6; ps++) {
		for (g.pa_bits = ps ? bits[ps - 1] + 1 : 25; g.pa_bits <= bits[ps]; g.pa_bits++) {
			s2_root_hw(&g, hw);
			assert_int_equal(hw[1] >> 16 & 7, ps);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAWS,
		WALKED,
		cmocka_unit_test(test_golden_leaves),
		cmocka_unit_test(test_golden_others),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_break_before_make),
		cmocka_unit_test(test_geometry),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_output_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
