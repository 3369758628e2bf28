/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated walker's EPT decoder against literal words of the SDM (vol. 3C, 29.3, table 28-7).
 * The gpa 0x8080604xxx has the index 1, 2, 3, 4 at the levels 3, 2, 1, 0.
 */
#include "emu_tables.h"

#define G 0x8080604000ull
/* EPTP: write-back, walk length 4 or 5, A/D. */
#define EPTP (P(0) | 0x1e)
#define EPTP_AD (P(0) | 0x5e)
#define R 0x1ull
#define W 0x2ull
#define X 0x4ull
#define WB 0x30ull
#define BIG 0x80ull
#define A 0x100ull
#define D 0x200ull
#define XU 0x400ull
#define USER_X (TDP_X | TDP_EMU_USER)
#define OUT 0x123456000ull

/* P(0) -> P(1) -> P(2) -> P(3), the leaf at P(3)[4]. */
static void build(struct rig *r, struct tdp_emu_config cfg, uint64_t eptp)
{
	rig_open(r, cfg);
	r->page[0][1] = P(1) | R | W | X;
	r->page[1][2] = P(2) | R | W | X;
	r->page[2][3] = P(3) | R | W | X;
	r->page[3][4] = OUT | WB | R | W | X;
	assert_int_equal(load_root(r, r->v, TDP_FMT_EPT, eptp, 0, TDP_ROOT_FLUSH), TDP_OK);
}

static void no_root_is_reload(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, tdp_emu_config_default());
	assert_int_equal(tdp_emu_access(r.v, 0, TDP_R, &r.exit), TDP_EMU_RELOAD);
	assert_int_equal(tdp_emu_backend.root_load(r.emu, r.v, NULL), TDP_OK);
	assert_int_equal(tdp_emu_access(r.v, 0, TDP_R, &r.exit), TDP_EMU_RELOAD);
	rig_close(&r);
}

static void translates_each_level(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default(), EPTP);
	expect_pa(&r, G + 0x123, TDP_R, OUT + 0x123);
	assert_int_equal(r.exit.lg2, 12);
	assert_int_equal(r.exit.prot, TDP_RWX);
	assert_int_equal(r.exit.refs, 4);
	flush_all(&r);
	r.page[2][3] = 0x40a00000 | WB | BIG | R;
	expect_pa(&r, G + 0x123, TDP_R, 0x40a04123);
	assert_int_equal(r.exit.lg2, 21);
	assert_int_equal(r.exit.prot, TDP_R);
	assert_int_equal(r.exit.refs, 3);
	flush_all(&r);
	r.page[1][2] = 0x80000000ull | BIG | X; /* UC, execute only */
	expect_pa(&r, G + 0x123, TDP_X, 0x80000000 + 0x604123);
	assert_int_equal(r.exit.lg2, 30);
	assert_int_equal(r.exit.refs, 2);
	rig_close(&r);
}

static void five_levels(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default(), EPTP);
	r.page[4][7] = P(0) | R | W | X;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_EPT, P(4) | 0x26, 0, 0), TDP_OK);
	expect_pa(&r, 0x7000000000000ull + G, TDP_W, OUT);
	assert_int_equal(r.exit.refs, 5);
	/* Four levels end at 48 bits: nothing translates the rest. */
	assert_int_equal(load_root(&r, r.v, TDP_FMT_EPT, EPTP, 0, 0), TDP_OK);
	expect_ept(&r, 0x7000000000000ull + G, TDP_W, 0x182);
	rig_close(&r);
}

/* Permissions of all levels are ANDed, and bits 3 to 5 of the qualification are that AND. */
static void violations_exactly(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default(), EPTP);
	r.page[3][5] = OUT | WB | R;
	r.page[3][6] = OUT | WB | R | X;
	r.page[3][7] = OUT | WB | X;
	r.page[3][8] = OUT | WB | R | W;
	expect_ept(&r, G + 0x1000, TDP_W, 0x18a);
	expect_ept(&r, G + 0x1000, TDP_X, 0x18c);
	expect_ept(&r, G + 0x2008, TDP_W, 0x1aa);
	expect_ept(&r, G + 0x3000, TDP_R, 0x1a1);
	expect_ept(&r, G + 0x3000, TDP_W, 0x1a2);
	expect_ept(&r, G + 0x4000, TDP_X, 0x19c);
	/* Nothing there: at the last level, then higher up. */
	expect_ept(&r, G + 0x5000, TDP_R, 0x181);
	expect_ept(&r, G + 0x200000, TDP_W, 0x182);
	expect_ept(&r, G + 0x8000000000ull, TDP_X, 0x184);
	flush_all(&r);
	r.page[1][2] = P(2) | R | X;
	r.page[2][3] = P(3) | R | W;
	expect_ept(&r, G, TDP_W, 0x18a);
	expect_ept(&r, G, TDP_X, 0x18c);
	expect_pa(&r, G, TDP_R, OUT);
	assert_int_equal(r.exit.prot, TDP_R);
	assert_int_equal(stats_of(&r).exits, 11);
	rig_close(&r);
}

static void misconfigurations(void **state)
{
	static const uint64_t bad_leaf[] = {
		OUT | WB | W,           /* write without read */
		OUT | WB | W | X,
		OUT | 0x10 | R,         /* memory types 2, 3, 7 */
		OUT | 0x18 | R,
		OUT | 0x38 | R,
		0x1000000000000ull | WB | R, /* bit 48 of a 48-bit machine */
		0x8000000000000ull | WB | R, /* bit 51 */
	};
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct rig r;

	(void)state;
	cfg.pa_bits = 48;
	build(&r, cfg, EPTP);
	for (size_t i = 0; i < sizeof(bad_leaf) / sizeof(bad_leaf[0]); i++) {
		r.page[3][4] = bad_leaf[i];
		expect_misconfig(&r, G + 8);
	}
	/* Memory types 0, 1, 4, 5, 6 are; bits 6 (IPAT), 7..11 and 52..63 of a 4K leaf are free. */
	r.page[3][4] = OUT | R | 0x40 | 0xf80 | 0xfff0000000000000ull;
	expect_pa(&r, G, TDP_R, OUT);
	flush_all(&r);
	r.page[2][3] = P(3) | R | 0x8; /* reserved below a table address */
	expect_misconfig(&r, G);
	r.page[2][3] = P(3) | R | 0x40;
	expect_misconfig(&r, G);
	r.page[2][3] = 0x40001000 | WB | BIG | R; /* misaligned 2M */
	expect_misconfig(&r, G);
	r.page[1][2] = 0x40200000 | WB | BIG | R; /* misaligned 1G */
	expect_misconfig(&r, G);
	r.page[0][1] = P(1) | R | BIG; /* no 512G pages */
	expect_misconfig(&r, G);
	r.page[0][1] = P(1) | W;
	expect_misconfig(&r, G);
	rig_close(&r);
}

/* A machine without execute-only: X alone is a misconfiguration, as table entry too. */
static void execute_only_is_a_capability(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct rig r;

	(void)state;
	cfg.without_caps = TDP_CAP_EXEC_ONLY;
	cfg.leaf_levels = 0x3;
	build(&r, cfg, EPTP);
	r.page[3][5] = OUT | WB | X;
	expect_misconfig(&r, G + 0x1000);
	r.page[1][2] = P(2) | X;
	flush_all(&r);
	expect_misconfig(&r, G);
	/* And without 1G pages. */
	r.page[1][2] = 0x80000000ull | WB | BIG | R;
	expect_misconfig(&r, G);
	rig_close(&r);
}

/*
 * Mode-based execute control: bit 2 is for supervisor-mode addresses, bit 10 for user-mode ones; bits 5
 * and 6 of the qualification are their ANDs over all levels (table 28-7).
 */
static void execute_by_mode(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct tdp_fault fault;
	struct rig r;

	(void)state;
	cfg.with_caps = TDP_CAP_EXEC_BY_MODE;
	build(&r, cfg, EPTP);
	/* Tables and leaf without bit 10. */
	expect_pa(&r, G, TDP_X, OUT);
	assert_int_equal(r.exit.prot, TDP_R | TDP_W | TDP_XS);
	expect_ept(&r, G, USER_X, 0x1bc);
	assert_int_equal(r.exit.fetch, TDP_XU);
	assert_int_equal(tdp_emu_decode(&r.exit, &fault), TDP_OK);
	assert_int_equal(fault.access, TDP_XU);
	/* At every level but one is not enough. */
	r.page[0][1] |= XU;
	r.page[2][3] |= XU;
	r.page[3][4] |= XU;
	flush_all(&r);
	expect_ept(&r, G, USER_X, 0x1bc);
	r.page[1][2] |= XU;
	flush_all(&r);
	expect_pa(&r, G, USER_X, OUT);
	assert_int_equal(r.exit.prot, TDP_RWX);
	r.page[3][5] = OUT | WB | R | XU;
	r.page[3][6] = OUT | WB | R | X;
	r.page[3][7] = OUT | WB | XU;
	expect_ept(&r, G + 0x1000, TDP_X, 0x1cc);
	assert_int_equal(r.exit.fetch, TDP_XS);
	expect_pa(&r, G + 0x1000, USER_X, OUT);
	expect_ept(&r, G + 0x2000, USER_X, 0x1ac);
	expect_pa(&r, G + 0x2000, TDP_X, OUT);
	/* Bit 10 alone is present, and executable only. */
	expect_pa(&r, G + 0x3000, USER_X, OUT);
	expect_ept(&r, G + 0x3000, TDP_R, 0x1c1);
	assert_int_equal(r.exit.fetch, 0);
	/* A table for user execution only. */
	r.page[2][3] = P(3) | XU;
	flush_all(&r);
	expect_pa(&r, G, USER_X, OUT);
	expect_ept(&r, G, TDP_X, 0x1c4);
	expect_ept(&r, G, TDP_W, 0x1c2);
	r.page[2][3] = P(3) | W | XU;
	flush_all(&r);
	expect_misconfig(&r, G);
	rig_close(&r);
}

/* 29.3.3.1: bit 10 without bit 0 needs execute-only; without the control bit 10 is ignored. */
static void execute_by_mode_is_a_capability(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct rig r;

	(void)state;
	cfg.with_caps = TDP_CAP_EXEC_BY_MODE;
	cfg.without_caps = TDP_CAP_EXEC_ONLY;
	build(&r, cfg, EPTP);
	r.page[3][5] = OUT | WB | XU;
	expect_misconfig(&r, G + 0x1000);
	r.page[3][5] = OUT | WB | R | XU;
	expect_pa(&r, G + 0x1000, TDP_R, OUT);
	r.page[1][2] = P(2) | XU;
	flush_all(&r);
	expect_misconfig(&r, G);
	rig_close(&r);
	build(&r, tdp_emu_config_default(), EPTP);
	r.page[3][5] = OUT | WB | R | XU;
	r.page[3][6] = OUT | WB | XU;
	r.page[3][7] = OUT | WB | R | X;
	expect_ept(&r, G + 0x1000, USER_X, 0x18c);
	assert_int_equal(r.exit.fetch, 0);
	expect_ept(&r, G + 0x2000, USER_X, 0x184);
	expect_pa(&r, G + 0x3000, USER_X, OUT);
	assert_int_equal(r.exit.prot, TDP_R | TDP_X);
	rig_close(&r);
}

static void accessed_and_dirty(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default(), EPTP_AD);
	r.page[3][5] = OUT | WB | R;
	/* A fault sets A on the way, never in the leaf. */
	expect_ept(&r, G + 0x1000, TDP_W, 0x18a);
	assert_int_equal(r.page[0][1], P(1) | R | W | X | A);
	assert_int_equal(r.page[1][2], P(2) | R | W | X | A);
	assert_int_equal(r.page[2][3], P(3) | R | W | X | A);
	assert_int_equal(r.page[3][5], OUT | WB | R);
	expect_pa(&r, G, TDP_R, OUT);
	assert_int_equal(r.page[3][4], OUT | WB | R | W | X | A);
	assert_int_equal(stats_of(&r).dirty_set, 0);
	/* Cached clean: the first write walks to set D, the second does not. */
	expect_pa(&r, G, TDP_W, OUT);
	assert_true(r.exit.refs > 0);
	assert_int_equal(r.page[3][4], OUT | WB | R | W | X | A | D);
	expect_pa(&r, G, TDP_W, OUT);
	assert_int_equal(r.exit.refs, 0);
	assert_int_equal(stats_of(&r).accessed_set, 4);
	assert_int_equal(stats_of(&r).dirty_set, 1);
	/* Cleared behind the TLB's back, they stay clear until a flush. */
	r.page[3][4] &= ~(A | D);
	expect_pa(&r, G, TDP_W, OUT);
	assert_int_equal(r.page[3][4], OUT | WB | R | W | X);
	flush_range(&r, G, 0x1000);
	expect_pa(&r, G, TDP_W, OUT);
	assert_int_equal(r.page[3][4], OUT | WB | R | W | X | A | D);
	rig_close(&r);
}

static void no_bits_without_ad(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default(), EPTP);
	expect_pa(&r, G, TDP_W, OUT);
	expect_pa(&r, G, TDP_W, OUT);
	assert_int_equal(r.exit.refs, 0);
	assert_int_equal(r.page[0][1], P(1) | R | W | X);
	assert_int_equal(r.page[3][4], OUT | WB | R | W | X);
	assert_int_equal(stats_of(&r).accessed_set, 0);
	rig_close(&r);
}

static void bad_eptp_is_refused(void **state)
{
	static const uint64_t bad[] = {
		P(0) | 0x1f,       /* memory type 7 */
		P(0) | 0x1c,       /* 4 */
		P(0) | 0x16,       /* 3 levels */
		P(0) | 0x2e,       /* 6 levels */
		P(0) | 0x9e,       /* bit 7 */
		P(0) | 0x81e,      /* bit 11 */
		P(0) | 0x1e | 1ull << 48, /* beyond the width */
		P(0) | 0x1e | 1ull << 60,
		P(0) | 0x26,       /* 5 levels, this machine has 4 */
		P(0) | 0x5e,       /* A/D, this machine has none */
	};
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct rig r;

	(void)state;
	cfg.pa_bits = 48;
	cfg.max_levels = 4;
	cfg.without_caps = TDP_CAP_HW_DIRTY;
	build(&r, cfg, EPTP);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(load_root(&r, r.v, TDP_FMT_EPT, bad[i], 0, 0), TDP_EINVAL);
		/* As after a failed VM entry: no root. */
		assert_int_equal(tdp_emu_access(r.v, G, TDP_R, &r.exit), TDP_EMU_RELOAD);
	}
	assert_int_equal(load_root(&r, r.v, TDP_FMT_EPT, EPTP, 0, 0), TDP_OK);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_EPT, P(0) | 0x18, 0, 0), TDP_OK); /* UC */
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_root_is_reload),
		cmocka_unit_test(translates_each_level),
		cmocka_unit_test(five_levels),
		cmocka_unit_test(violations_exactly),
		cmocka_unit_test(misconfigurations),
		cmocka_unit_test(execute_only_is_a_capability),
		cmocka_unit_test(execute_by_mode),
		cmocka_unit_test(execute_by_mode_is_a_capability),
		cmocka_unit_test(accessed_and_dirty),
		cmocka_unit_test(no_bits_without_ad),
		cmocka_unit_test(bad_eptp_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
